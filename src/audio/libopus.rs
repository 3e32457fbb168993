//! Opus (RFC 6716) by libopus, the C library, which the `opus` crate brings and builds.
//!
//! It decodes at 48 kHz as the pure Rust one does, so that whoever changes between the two changes
//! nothing else.

use std::fmt;

use opus::{Application, Bitrate, Channels, Decoder, Encoder, packet};

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::opus_packet::{CONCEAL_STEP, bytes_max, has_copy, write_pause, write_silence};
use crate::config::{AudioIn, AudioOut};

/// 48 kHz: the clock of RTP for Opus (RFC 7587 section 4.1).
const DECODER_RATE: u32 = 48_000;

/// The most that is concealed in one step: 20 ms, in samples.
const CONCEAL_MAX: usize = 960;

/// Whether a packet has no layer but CELT's: configurations 16 to 31 (RFC 6716 section 3.1).
fn is_celt(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x80 != 0)
}

fn channels(count: u8) -> Channels {
    if count == 2 { Channels::Stereo } else { Channels::Mono }
}

/// Codes with libopus.
pub(crate) struct LibEncoder {
    opus: Encoder,
    channels: u8,
    chunks: usize,
}

impl LibEncoder {
    pub(crate) fn new(config: AudioOut) -> LibEncoder {
        let legal = "the configuration holds only what Opus codes";
        let mut opus =
            Encoder::new(config.rate, channels(config.channels), Application::Voip).expect(legal);
        opus.set_bitrate(Bitrate::Bits(config.bitrate as i32)).expect(legal);
        opus.set_complexity(i32::from(config.complexity)).expect(legal);
        LibEncoder { opus, channels: config.channels, chunks: config.packet_time.chunks() }
    }
}

impl AudioEncoder for LibEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        packet.resize(bytes_max(self.chunks), 0);
        match self.opus.encode(samples, packet) {
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
        let told = self.opus.set_inband_fec(percent > 0);
        let told = told.and(self.opus.set_packet_loss_perc(i32::from(percent.min(100))));
        debug_assert!(told.is_ok(), "a share of a hundred is legal");
    }
}

impl fmt::Debug for LibEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LibEncoder { channels, chunks, .. } = self;
        f.debug_struct("LibEncoder")
            .field("channels", channels)
            .field("chunks", chunks)
            .finish_non_exhaustive()
    }
}

/// Decodes with libopus.
pub(crate) struct LibDecoder {
    opus: Decoder,
    channels: usize,
    /// Whether the last packet that was decoded had no layer that a copy could be decoded with;
    /// `None` before the first.
    was_celt: Option<bool>,
}

/// How many samples the copy of what came before lasts that the packet holds (LBRR, RFC 6716
/// section 4.2.5); zero when there is none.
fn copy_len(packet: &[u8]) -> opus::Result<usize> {
    if is_celt(packet) {
        return Ok(0);
    }
    let len = packet::get_samples_per_frame(packet, DECODER_RATE)?;
    let is_stereo = packet::get_nb_channels(packet)? == Channels::Stereo;
    let frames = packet::parse(packet)?.frames;
    let has_copy = frames.first().is_some_and(|first| has_copy(first, len, is_stereo));
    Ok(if has_copy { len } else { 0 })
}

impl LibDecoder {
    pub(crate) fn new(config: AudioIn) -> LibDecoder {
        let opus = Decoder::new(DECODER_RATE, channels(config.channels));
        let opus = opus.expect("48 kHz and 1 or 2 channels");
        LibDecoder { opus, channels: usize::from(config.channels), was_celt: None }
    }

    /// Decodes into the end of `samples`; an empty packet asks for concealment.
    fn append(&mut self, packet: &[u8], frames: usize, fec: bool, samples: &mut Vec<i16>) -> usize {
        let start = samples.len();
        samples.resize(start + frames * self.channels, 0);
        let decoded = self.opus.decode(packet, &mut samples[start..], fec).unwrap_or_default();
        samples.truncate(start + decoded * self.channels);
        decoded
    }
}

impl AudioDecoder for LibDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let Some(frames) = self.duration(packet) else { return 0 };
        let decoded = self.append(packet, frames, false, samples);
        // A packet without coded sound is concealed, and changes nothing.
        if decoded > 0 && packet.len() > 2 {
            self.was_celt = Some(is_celt(packet));
        }
        decoded
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        let end = samples.len() + frames * self.channels;
        let mut left = frames.next_multiple_of(CONCEAL_STEP);
        while left > 0 {
            match self.append(&[], left.min(CONCEAL_MAX), false, samples) {
                0 => break,
                concealed => left = left.saturating_sub(concealed),
            }
        }
        samples.resize(end, 0);
    }

    fn copied(&self, packet: &[u8]) -> usize {
        // SILK has no state to decode a copy with when CELT came before.
        let can_decode = self.was_celt != Some(true) && self.duration(packet).is_some();
        if can_decode { copy_len(packet).unwrap_or_default() } else { 0 }
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let frames = self.copied(packet);
        if frames == 0 {
            return 0;
        }
        let decoded = self.append(packet, frames, true, samples);
        if decoded > 0 {
            self.was_celt = Some(is_celt(packet));
        }
        decoded
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        packet::get_nb_samples(packet, DECODER_RATE).ok().filter(|&frames| frames > 0)
    }

    fn reset(&mut self) {
        self.was_celt = None;
        let reset = self.opus.reset_state();
        debug_assert!(reset.is_ok(), "what was built once can be reset");
    }
}

impl fmt::Debug for LibDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LibDecoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}
