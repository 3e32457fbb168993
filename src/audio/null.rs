//! A code for simulation: cheap, and it says what it holds.
//!
//! A packet is `b'N'`, the number of channels, the number of 10 ms chunks, the sum of all samples
//! wrapped to 16 bits (4 bytes, little endian), and then the first sample of each chunk and channel
//! (2 bytes each, little endian). It decodes to those first samples, each held for 10 ms: a test
//! that sends steps finds them again, to the chunk and in order. It is not meant to be listened to.
//!
//! With `b'F'` in place of `b'N'` a copy of the packet before follows: the number of its chunks,
//! and their first samples. Tests write such packets; the encoder here never does.

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::resample::per_channel;
use crate::config::{AudioIn, AudioOut};

const TAG: u8 = b'N';
const TAG_WITH_COPY: u8 = b'F';

/// Tag, channels, chunks, sum.
const HEADER: usize = 7;
const CHUNKS_AT: usize = 2;

/// 10 ms at 48 kHz.
const CHUNK: usize = 480;

/// The longest packet: 120 ms, as in Opus (RFC 6716 section 3.2.5).
const CHUNKS_MAX: usize = 12;

/// Codes by summary.
#[derive(Debug)]
pub(crate) struct NullEncoder {
    channels: u8,
    /// Samples of all channels in 10 ms.
    chunk: usize,
    chunks: usize,
}

impl NullEncoder {
    pub(crate) fn new(config: AudioOut) -> NullEncoder {
        NullEncoder {
            channels: config.channels,
            chunk: config.rate as usize / 100 * usize::from(config.channels),
            chunks: config.packet_time.chunks(),
        }
    }

    fn header(&self, chunks: usize, sum: u32, packet: &mut Vec<u8>) {
        packet.clear();
        packet.extend_from_slice(&[TAG, self.channels, chunks as u8]);
        packet.extend_from_slice(&sum.to_le_bytes());
    }
}

impl AudioEncoder for NullEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        self.header(0, wrapping_sum(samples), packet);
        let (mut chunks, mut rest) = (0, samples);
        // Neither counted nor cut by a division, which takes as long as their sum.
        while let Some((chunk, behind)) = rest.split_at_checked(self.chunk) {
            for sample in &chunk[..usize::from(self.channels)] {
                packet.extend_from_slice(&sample.to_le_bytes());
            }
            (chunks, rest) = (chunks + 1, behind);
        }
        packet[CHUNKS_AT] = chunks;
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        self.header(self.chunks, 0, packet);
        packet.resize(HEADER + self.chunks * usize::from(self.channels) * 2, 0);
    }

    /// A summary repairs no other.
    fn set_loss(&mut self, _percent: u8) {}
}

/// In 16 bits, of which vector instructions add eight at once: it would else be most of what it
/// takes to code a packet.
fn wrapping_sum(samples: &[i16]) -> u32 {
    samples.iter().fold(0_i16, |sum, sample| sum.wrapping_add(*sample)) as u16 as u32
}

/// Reads summaries.
#[derive(Debug)]
pub(crate) struct NullDecoder {
    channels: usize,
    /// What the last chunk held; concealment repeats it.
    last: [i16; 2],
}

impl NullDecoder {
    pub(crate) fn new(config: AudioIn) -> NullDecoder {
        NullDecoder { channels: usize::from(config.channels), last: [0; 2] }
    }

    fn hold(&self, frames: usize, samples: &mut Vec<i16>) {
        let start = samples.len();
        // `resize` moves the last value in by itself, which leaves up to 15 before it that no
        // vector has room for.
        samples.extend((0..frames * self.channels).map(|_| self.last[0]));
        if self.channels == 2 {
            let right = samples[start..].iter_mut().skip(1).step_by(2);
            right.for_each(|sample| *sample = self.last[1]);
        }
    }
}

impl NullDecoder {
    /// Appends chunks of which these are the first samples, and gives their samples per channel.
    fn chunks(&mut self, channels: usize, firsts: &[u8], samples: &mut Vec<i16>) -> usize {
        let (values, _) = firsts.as_chunks();
        let value = |at: usize| i16::from_le_bytes(values[at]);
        let chunks = per_channel(values.len(), channels);
        for chunk in 0..chunks {
            // The right channel of a packet that has one is the left.
            let (left, right) = (chunk * channels, (chunk + 1) * channels - 1);
            self.last = [value(left), value(right)];
            self.hold(CHUNK, samples);
        }
        chunks * CHUNK
    }
}

/// A packet that is well-formed.
struct Packet<'a> {
    channels: usize,
    chunks: usize,
    /// The first samples of its chunks.
    body: &'a [u8],
    /// Those of the packet before, when it holds a copy.
    copy: &'a [u8],
}

impl Packet<'_> {
    /// How many chunks the copy has.
    fn copied(&self) -> usize {
        self.copy.len() / (self.channels * 2)
    }
}

/// Reads a packet; `None` when it is malformed.
fn parse(packet: &[u8]) -> Option<Packet<'_>> {
    let (header, body) = packet.split_at_checked(HEADER)?;
    let (channels, chunks) = (usize::from(header[1]), usize::from(header[2]));
    let are_chunks = |chunks: usize| (1..=CHUNKS_MAX).contains(&chunks);
    if !(1..=2).contains(&channels) || !are_chunks(chunks) {
        return None;
    }
    let (body, rest) = body.split_at_checked(chunks * channels * 2)?;
    let copy = match (header[0], rest) {
        (TAG, []) => rest,
        (TAG_WITH_COPY, [copied, copy @ ..])
            if are_chunks(usize::from(*copied))
                && copy.len() == usize::from(*copied) * channels * 2 =>
        {
            copy
        }
        _ => return None,
    };
    Some(Packet { channels, chunks, body, copy })
}

impl AudioDecoder for NullDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let Some(Packet { channels, body, .. }) = parse(packet) else { return 0 };
        self.chunks(channels, body, samples)
    }

    fn copied(&self, packet: &[u8]) -> usize {
        parse(packet).map_or(0, |packet| packet.copied() * CHUNK)
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let Some(Packet { channels, copy, .. }) = parse(packet) else { return 0 };
        self.chunks(channels, copy, samples)
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        self.hold(frames, samples);
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        Some(parse(packet)?.chunks * CHUNK)
    }

    fn reset(&mut self) {
        self.last = [0; 2];
    }
}
