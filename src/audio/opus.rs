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
use crate::config::{AudioIdle, AudioIn, AudioOut};

/// 48 kHz: the clock of RTP for Opus (RFC 7587 section 4.1).
const DECODER_RATE: i32 = 48_000;

/// The longest coded frame of at most 20 ms, in bytes (RFC 6716 section 3.4).
const FRAME_MAX: usize = 1275;

/// What surrounds up to three frames of different sizes: a TOC byte, their number, and two bytes
/// of length for each but the last (RFC 6716 section 3.2.5).
const FRAMING_MAX: usize = 6;

/// Concealment comes in steps of 2.5 ms, the shortest frame (RFC 6716 section 2.1.4).
const CONCEAL_STEP: usize = 120;

/// A frame of 20 ms that says "silence" in two bytes: the range coder's first symbol in CELT
/// (RFC 6716 section 4.3, `silence`) with all bits set.
const SILENT_FRAME: [u8; 2] = [0xFF, 0xFE];

/// CELT, full band, 10 ms and 20 ms: configurations 30 and 31 of RFC 6716 section 3.1.
const TOC_10_MS: u8 = 30 << 3;
const TOC_20_MS: u8 = 31 << 3;
const TOC_STEREO: u8 = 1 << 2;

/// Codes with opus-pure.
pub(crate) struct PureEncoder {
    opus: OpusEncoder,
    channels: u8,
    chunks: usize,
    /// In a pause most packets are not sent.
    pauses: bool,
    /// The last packet left the decoder silent, and it knows nothing else.
    is_silent: bool,
}

impl PureEncoder {
    pub(crate) fn new(config: AudioOut) -> PureEncoder {
        let channels = usize::from(config.channels);
        let mut opus = OpusEncoder::new(config.rate as i32, channels, Application::Voip)
            .expect("the configuration holds only rates and channels that Opus codes");
        opus.bitrate_bps = config.bitrate as i32;
        opus.complexity = i32::from(config.complexity);
        PureEncoder {
            opus,
            channels: config.channels,
            chunks: config.packet_time.chunks(),
            pauses: config.idle != AudioIdle::Silence,
            is_silent: true,
        }
    }
}

impl AudioEncoder for PureEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        self.is_silent = false;
        // The encoder takes the length for its budget, and it is zeroed for each packet: as much
        // as a packet of this duration can hold, and not the six frames of the longest.
        packet.resize(self.chunks.div_ceil(2) * FRAME_MAX + FRAMING_MAX, 0);
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
        let stereo = if self.channels == 2 { TOC_STEREO } else { 0 };
        packet.clear();
        match self.chunks {
            1 => packet.push(TOC_10_MS | stereo),
            2 => packet.push(TOC_20_MS | stereo),
            // Code 3 (RFC 6716 section 3.2.5): several frames of one size, and their number.
            chunks => packet.extend_from_slice(&[TOC_20_MS | stereo | 3, chunks as u8 / 2]),
        }
        // A packet of empty frames is what Opus sends in a pause (RFC 6716 section 2.1.9): one of
        // at most two bytes tells libwebrtc's receiver that what does not follow is not lost. To
        // the decoder it is a lost one, in place of which it goes on with what it has: after SILK
        // that is noise, as loud as the sound was, after silent frames of CELT it is silence.
        if std::mem::replace(&mut self.is_silent, true) && self.pauses {
            return;
        }
        for _ in 0..self.chunks.div_ceil(2) {
            packet.extend_from_slice(&SILENT_FRAME);
        }
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

/// The longest frame of SILK, in samples; a longer one of Opus holds several (RFC 6716 section
/// 4.2.2).
const SILK_FRAME: usize = 960;

/// How many samples the copy of what came before lasts that the packet holds (LBRR, RFC 6716
/// section 4.2.5); zero when there is none. The rules are those of libopus
/// (`opus_packet_has_lbrr`): the copy stands in the first frame, before it the flags, one bit for
/// the voice activity of each SILK frame and one for the copy, for each channel.
fn copy_len(packet: &[u8]) -> opus_pure::Result<usize> {
    if opus_pure::packet::mode(packet)? == OpusMode::CeltOnly {
        return Ok(0);
    }
    let len = opus_pure::packet::samples_per_frame(packet, DECODER_RATE)?;
    let mut frames = Repacketizer::new();
    frames.cat(packet)?;
    let first = frames.out_range(0, 1)?;
    let [_toc, flags, ..] = first[..] else { return Ok(0) };
    let silk_frames = len.div_ceil(SILK_FRAME);
    let bit = |at: usize| flags & (0x80 >> at) != 0;
    let is_stereo = opus_pure::packet::channels(packet)? == 2;
    let has_copy = bit(silk_frames) || is_stereo && bit(2 * silk_frames + 1);
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
