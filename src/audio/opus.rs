//! Opus (RFC 6716) in pure Rust.
//!
//! The crate decodes wrongly at rates below 48 kHz (measured: 1 to 35 dB against libopus), so
//! the decoder always runs at 48 kHz and [`resample`](super::resample) does the rest. Its encoder
//! is right at every rate that Opus knows.

use std::fmt;

use opus_pure::{
    Application, MAX_PACKET_SAMPLES, OpusDecoder, OpusEncoder, OpusMode, Repacketizer,
};

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::opus_packet::{CONCEAL_STEP, bytes_max, has_copy, write_pause, write_silence};
use crate::config::{AudioIn, AudioOut};

/// 48 kHz: the clock of RTP for Opus (RFC 7587 section 4.1).
const DECODER_RATE: i32 = 48_000;

/// Codes with opus-pure.
pub(crate) struct PureEncoder {
    opus: OpusEncoder,
    channels: u8,
    chunks: usize,
}

impl PureEncoder {
    pub(crate) fn new(config: AudioOut) -> PureEncoder {
        let channels = usize::from(config.channels);
        let mut opus = OpusEncoder::new(config.rate as i32, channels, Application::Voip)
            .expect("the configuration holds only rates and channels that Opus codes");
        opus.bitrate_bps = config.bitrate as i32;
        opus.complexity = i32::from(config.complexity);
        PureEncoder { opus, channels: config.channels, chunks: config.packet_time.chunks() }
    }
}

impl AudioEncoder for PureEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        packet.resize(bytes_max(self.chunks), 0);
        let frames = samples.len() / usize::from(self.channels);
        match self.opus.encode_s16(samples, frames, packet) {
            Ok(len) => packet.truncate(len),
            Err(error) => {
                debug_assert!(false, "a packet of legal length is coded: {error}");
                self.silence(packet);
            }
        }
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        write_silence(self.chunks, self.channels, packet);
    }

    fn pause(&mut self, packet: &mut Vec<u8>) {
        write_pause(self.chunks, self.channels, packet);
    }

    fn set_loss(&mut self, percent: u8) {
        self.opus.use_inband_fec = percent > 0;
        self.opus.packet_loss_perc = i32::from(percent);
    }
}

impl fmt::Debug for PureEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.opus.fmt(f)
    }
}

/// Decodes with opus-pure.
pub(crate) struct PureDecoder {
    opus: OpusDecoder,
    channels: usize,
    /// The layers of the last packet that was decoded.
    mode: Option<OpusMode>,
}

/// How many samples the copy of what came before lasts that the packet holds (LBRR, RFC 6716
/// section 4.2.5); zero when there is none.
fn copy_len(packet: &[u8]) -> opus_pure::Result<usize> {
    if opus_pure::packet::mode(packet)? == OpusMode::CeltOnly {
        return Ok(0);
    }
    let len = opus_pure::packet::samples_per_frame(packet, DECODER_RATE)?;
    let mut frames = Repacketizer::new();
    frames.cat(packet)?;
    let first = frames.out_range(0, 1)?;
    let is_stereo = opus_pure::packet::channels(packet)? == 2;
    let has_copy = first.get(1..).is_some_and(|first| has_copy(first, len, is_stereo));
    Ok(if has_copy { len } else { 0 })
}

impl PureDecoder {
    pub(crate) fn new(config: AudioIn) -> PureDecoder {
        let channels = usize::from(config.channels);
        let opus = OpusDecoder::new(DECODER_RATE, channels).expect("48 kHz and 1 or 2 channels");
        PureDecoder { opus, channels, mode: None }
    }

    /// Decodes into the end of `samples`; an empty packet asks for concealment.
    fn append(&mut self, packet: &[u8], frames: usize, samples: &mut Vec<i16>) -> usize {
        let start = samples.len();
        samples.resize(start + frames * self.channels, 0);
        let decoded =
            self.opus.decode_s16(packet, frames, &mut samples[start..]).unwrap_or_default();
        samples.truncate(start + decoded * self.channels);
        decoded
    }
}

impl AudioDecoder for PureDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let Some(frames) = self.duration(packet) else { return 0 };
        let decoded = self.append(packet, frames, samples);
        // A packet without coded sound is concealed, and changes nothing.
        if decoded > 0 && packet.len() > 2 {
            self.mode = opus_pure::packet::mode(packet).ok();
        }
        decoded
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        let end = samples.len() + frames * self.channels;
        let mut left = frames.next_multiple_of(CONCEAL_STEP);
        while left > 0 {
            let step = left.min(MAX_PACKET_SAMPLES / 6);
            match self.append(&[], step, samples) {
                0 => break,
                concealed => left = left.saturating_sub(concealed),
            }
        }
        samples.resize(end, 0);
    }

    fn copied(&self, packet: &[u8]) -> usize {
        // As in libopus, SILK has no state to decode a copy with when CELT came before.
        let can_decode = self.mode != Some(OpusMode::CeltOnly) && self.duration(packet).is_some();
        if can_decode { copy_len(packet).unwrap_or_default() } else { 0 }
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let frames = self.copied(packet);
        if frames == 0 {
            return 0;
        }
        let start = samples.len();
        samples.resize(start + frames * self.channels, 0);
        let decoded = self.opus.decode_fec_s16(packet, frames, &mut samples[start..]);
        let decoded = decoded.unwrap_or_default();
        samples.truncate(start + decoded * self.channels);
        if decoded > 0 {
            self.mode = opus_pure::packet::mode(packet).ok();
        }
        decoded
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        opus_pure::packet::samples_48k(packet).ok().filter(|&frames| frames > 0)
    }

    fn reset(&mut self) {
        self.mode = None;
        let reset = self.opus.reset_state();
        debug_assert!(reset.is_ok(), "what was built once can be built again");
    }
}

impl fmt::Debug for PureDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureDecoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}
