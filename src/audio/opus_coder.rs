//! Coders of Opus (RFC 6716): what is the same whatever make of it codes, around what each make
//! does by itself.
//!
//! Decoders run at 48 kHz, so that whoever changes between makes changes nothing else.

use std::fmt;

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::opus_packet::{CONCEAL_STEP, bytes_max, is_celt, write_pause, write_silence};
use crate::config::{AudioIn, AudioOut};

/// The most that is concealed in one step: 20 ms, in samples.
const CONCEAL_MAX: usize = 960;

/// A make's own encoder.
pub(super) trait Codes: Send {
    type Error: fmt::Display;

    /// Codes one packet of sound; gives its length.
    fn code(
        &mut self,
        samples: &[i16],
        channels: u8,
        packet: &mut [u8],
    ) -> Result<usize, Self::Error>;

    /// So many percent of the packets will be lost.
    fn expect_loss(&mut self, percent: u8);
}

/// A make's own decoder.
pub(super) trait Decodes: Send {
    /// Decodes `frames` samples per channel into `samples`, or the copy of them that the packet
    /// holds; an empty packet asks for concealment. Gives how many there were, zero for none.
    fn fill(&mut self, packet: &[u8], frames: usize, is_copy: bool, samples: &mut [i16]) -> usize;

    /// How many samples the packet holds.
    fn len(packet: &[u8]) -> Option<usize>;

    /// How many samples the copy of what came before lasts that the packet holds (LBRR, RFC 6716
    /// section 4.2.5); not to be asked of one of CELT alone.
    fn copy_len(packet: &[u8]) -> Option<usize>;

    /// Forgets the past; whether it could.
    fn forget(&mut self) -> bool;
}

/// Codes with one make of Opus.
pub(super) struct OpusEncoder<E> {
    opus: E,
    channels: u8,
    chunks: usize,
}

impl<E> OpusEncoder<E> {
    pub(super) fn new(opus: E, config: AudioOut) -> OpusEncoder<E> {
        OpusEncoder { opus, channels: config.channels, chunks: config.packet_time.chunks() }
    }
}

impl<E: Codes> AudioEncoder for OpusEncoder<E> {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        packet.resize(bytes_max(self.chunks), 0);
        match self.opus.code(samples, self.channels, packet) {
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
        self.opus.expect_loss(percent);
    }
}

impl<E> fmt::Debug for OpusEncoder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpusEncoder { channels, chunks, .. } = self;
        f.debug_struct("OpusEncoder")
            .field("channels", channels)
            .field("chunks", chunks)
            .finish_non_exhaustive()
    }
}

/// Decodes with one make of Opus.
pub(super) struct OpusDecoder<D> {
    opus: D,
    channels: usize,
    /// Whether the last packet that was decoded had no layer that a copy could be decoded with.
    was_celt: bool,
}

impl<D: Decodes> OpusDecoder<D> {
    pub(super) fn new(opus: D, config: AudioIn) -> OpusDecoder<D> {
        OpusDecoder { opus, channels: usize::from(config.channels), was_celt: false }
    }

    /// Decodes into the end of `samples`.
    fn append(
        &mut self,
        packet: &[u8],
        frames: usize,
        is_copy: bool,
        samples: &mut Vec<i16>,
    ) -> usize {
        let start = samples.len();
        samples.resize(start + frames * self.channels, 0);
        let decoded = self.opus.fill(packet, frames, is_copy, &mut samples[start..]);
        samples.truncate(start + decoded * self.channels);
        decoded
    }
}

impl<D: Decodes> AudioDecoder for OpusDecoder<D> {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let Some(frames) = self.duration(packet) else { return 0 };
        let decoded = self.append(packet, frames, false, samples);
        // A packet without coded sound is concealed, and changes nothing.
        if decoded > 0 && packet.len() > 2 {
            self.was_celt = is_celt(packet);
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
        // As in libopus, SILK has no state to decode a copy with when CELT came before.
        let can_decode = !self.was_celt && !is_celt(packet) && self.duration(packet).is_some();
        if can_decode { D::copy_len(packet).unwrap_or_default() } else { 0 }
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let frames = self.copied(packet);
        if frames == 0 {
            return 0;
        }
        // What holds a copy is not of CELT alone, so the next one's can be decoded as before.
        self.append(packet, frames, true, samples)
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        D::len(packet).filter(|&frames| frames > 0)
    }

    fn reset(&mut self) {
        self.was_celt = false;
        let is_reset = self.opus.forget();
        debug_assert!(is_reset, "what was built once can be built again");
    }
}

impl<D> fmt::Debug for OpusDecoder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpusDecoder").field("channels", &self.channels).finish_non_exhaustive()
    }
}
