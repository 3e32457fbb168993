//! What is said: a second of sound at 24 kHz, over and over, and its packets.

use opus_pure::{Application, OpusDecoder, OpusEncoder};

/// Samples per second of what the bot says, and of the encoder.
pub const RATE: u32 = 24_000;

/// Samples of 20 ms.
pub const FRAME: usize = RATE as usize / 50;

/// How many different frames there are: a second of them.
pub const FRAMES: usize = 50;

/// Something like a voice: a tone that glides, its overtones, and syllables.
pub fn frames() -> Vec<Vec<i16>> {
    let mut phase = 0.0f64;
    let sample = |at: usize| {
        let time = at as f64 / f64::from(RATE);
        phase += std::f64::consts::TAU * (140.0 + 40.0 * (3.0 * time).sin()) / f64::from(RATE);
        let voice: f64 = (1..12).map(|n| (phase * f64::from(n)).sin() / f64::from(n)).sum();
        let syllable = (std::f64::consts::PI * 4.0 * time).sin().abs();
        (voice * syllable * 6_000.0) as i16
    };
    let samples: Vec<i16> = (0..FRAME * FRAMES).map(sample).collect();
    samples.chunks_exact(FRAME).map(<[i16]>::to_vec).collect()
}

/// The packets of the null codec: two chunks of 10 ms, one channel (`src/audio/null.rs`).
pub fn null_packets() -> Vec<Vec<u8>> {
    let packet = |frame: &Vec<i16>| {
        let sum = frame.iter().fold(0u32, |sum, sample| sum.wrapping_add(*sample as u32));
        let mut packet = vec![b'N', 1, 2];
        packet.extend_from_slice(&sum.to_le_bytes());
        for chunk in frame.chunks_exact(FRAME / 2) {
            packet.extend_from_slice(&chunk[0].to_le_bytes());
        }
        packet
    };
    frames().iter().map(packet).collect()
}

/// The packets of Opus, coded as a session codes them.
pub fn opus_packets() -> Vec<Vec<u8>> {
    let mut coder = Coder::new();
    frames().iter().map(|frame| coder.encode(frame).to_vec()).collect()
}

/// Opus both ways, set as a session's default configuration sets it: the encoder at 24 kHz,
/// 32 kbit/s, complexity 5, the decoder at 48 kHz, one channel.
pub struct Coder {
    encoder: OpusEncoder,
    decoder: OpusDecoder,
    packet: Vec<u8>,
    samples: Vec<i16>,
}

impl Coder {
    pub fn new() -> Coder {
        let mut encoder = OpusEncoder::new(RATE as i32, 1, Application::Voip).expect("legal");
        encoder.bitrate_bps = 32_000;
        encoder.complexity = 5;
        let decoder = OpusDecoder::new(48_000, 1).expect("legal");
        Coder { encoder, decoder, packet: vec![0; 1275 + 6], samples: vec![0; 960] }
    }

    pub fn encode(&mut self, frame: &[i16]) -> &[u8] {
        let coded = self.encoder.encode_s16(frame, frame.len(), &mut self.packet);
        &self.packet[..coded.expect("20 ms are coded")]
    }

    pub fn decode(&mut self, packet: &[u8]) -> &[i16] {
        let decoded = self.decoder.decode_s16(packet, 960, &mut self.samples);
        &self.samples[..decoded.expect("our own packets are decoded")]
    }
}
