//! Opus (RFC 6716) in pure Rust.
//!
//! The crate decodes wrongly at rates below 48 kHz (measured: 1 to 35 dB against libopus), so
//! the decoder always runs at 48 kHz and [`resample`](super::resample) does the rest. Its encoder
//! is right at every rate that Opus knows.

use opus_pure::{Application, OpusDecoder, OpusEncoder, Repacketizer, packet};

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::opus_coder::{self, Codes, Decodes};
use crate::audio::opus_packet::has_copy;
use crate::config::{AudioIn, AudioOut};

/// 48 kHz: the clock of RTP for Opus (RFC 7587 section 4.1).
const DECODER_RATE: i32 = 48_000;

pub(super) fn encoder(config: AudioOut) -> Box<dyn AudioEncoder> {
    let channels = usize::from(config.channels);
    let mut opus = OpusEncoder::new(config.rate as i32, channels, Application::Voip)
        .expect("the configuration holds only rates and channels that Opus codes");
    opus.bitrate_bps = config.bitrate as i32;
    opus.complexity = i32::from(config.complexity);
    Box::new(opus_coder::OpusEncoder::new(opus, config))
}

impl Codes for OpusEncoder {
    type Error = opus_pure::Error;

    fn code(
        &mut self,
        samples: &[i16],
        channels: u8,
        packet: &mut [u8],
    ) -> opus_pure::Result<usize> {
        self.encode_s16(samples, samples.len() / usize::from(channels), packet)
    }

    fn expect_loss(&mut self, percent: u8) {
        self.use_inband_fec = percent > 0;
        self.packet_loss_perc = i32::from(percent);
    }
}

pub(super) fn decoder(config: AudioIn) -> Box<dyn AudioDecoder> {
    let opus = OpusDecoder::new(DECODER_RATE, usize::from(config.channels));
    let opus = opus.expect("48 kHz and 1 or 2 channels");
    Box::new(opus_coder::OpusDecoder::new(opus, config))
}

impl Decodes for OpusDecoder {
    fn fill(&mut self, packet: &[u8], frames: usize, is_copy: bool, samples: &mut [i16]) -> usize {
        let decoded = if is_copy {
            self.decode_fec_s16(packet, frames, samples)
        } else {
            self.decode_s16(packet, frames, samples)
        };
        decoded.unwrap_or_default()
    }

    fn len(packet: &[u8]) -> Option<usize> {
        packet::samples_48k(packet).ok()
    }

    fn copy_len(packet: &[u8]) -> Option<usize> {
        let len = packet::samples_per_frame(packet, DECODER_RATE).ok()?;
        let mut frames = Repacketizer::new();
        frames.cat(packet).ok()?;
        let first = frames.out_range(0, 1).ok()?;
        let is_stereo = packet::channels(packet).ok()? == 2;
        has_copy(first.get(1..)?, len, is_stereo).then_some(len)
    }

    fn forget(&mut self) -> bool {
        self.reset_state().is_ok()
    }
}
