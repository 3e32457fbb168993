//! From samples to bytes.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use super::PCM;
use crate::media::FileWrite;

/// The length of the header: `RIFF`, `fmt ` of 16 bytes, and the start of `data`.
const HEADER: u64 = 44;

/// Where the two sizes stand that change while the file grows, and how much of the file they leave
/// out.
const RIFF_SIZE: u64 = 4;
const DATA_SIZE: u64 = 40;
const BEFORE_RIFF: u64 = 8;

/// Writes a WAV file of 16-bit samples. The header's sizes follow what was written, so the file is
/// whole up to the last [`WavWriter::flush`], whatever becomes of its process.
///
/// Past 4 GiB, which the sizes cannot say (6 hours of stereo at 48 kHz), they stay 0xFFFFFFFF: most
/// programs, and [`WavReader`](super::WavReader), read such a file to its end.
#[derive(Debug)]
pub struct WavWriter {
    output: BytesMut,
    patches: VecDeque<FileWrite>,
    /// Where the output begins in the file.
    offset: u64,
    /// Where the file ended when its sizes were written.
    told: u64,
}

impl WavWriter {
    /// Begins a file of `rate` samples per second and 1 or 2 channels.
    #[must_use]
    pub fn new(rate: u32, channels: u8) -> WavWriter {
        let frame = u16::from(channels) * 2;
        let mut output = BytesMut::new();
        output.put_slice(b"RIFF");
        output.put_u32_le((HEADER - BEFORE_RIFF) as u32);
        output.put_slice(b"WAVEfmt ");
        output.put_u32_le(16);
        output.put_u16_le(PCM);
        output.put_u16_le(u16::from(channels));
        output.put_u32_le(rate);
        output.put_u32_le(rate.saturating_mul(u32::from(frame)));
        output.put_u16_le(frame);
        output.put_u16_le(16);
        output.put_slice(b"data");
        output.put_u32_le(0);
        WavWriter { output, patches: VecDeque::new(), offset: 0, told: HEADER }
    }

    /// Appends samples, interleaved where there are two channels.
    pub fn write(&mut self, samples: &[i16]) {
        self.output.reserve(samples.len() * 2);
        samples.iter().for_each(|&sample| self.output.put_i16_le(sample));
    }

    /// Sets the header right for all that was written. At the end, and at least once a second.
    pub fn flush(&mut self) {
        let end = self.offset + self.output.len() as u64;
        if end == self.told {
            return;
        }
        self.told = end;
        // Only the newest sizes matter: what was not polled is replaced.
        self.patches.clear();
        for (at, size) in [(RIFF_SIZE, end - BEFORE_RIFF), (DATA_SIZE, end - HEADER)] {
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let bytes = Bytes::copy_from_slice(&size.to_le_bytes());
            self.patches.push_back(FileWrite::new(at, bytes));
        }
    }

    /// The next bytes of the file and their place; `None` when all were given out. Samples come
    /// before the sizes that tell of them.
    pub fn poll_write(&mut self) -> Option<FileWrite> {
        if self.output.is_empty() {
            return self.patches.pop_front();
        }
        let write = FileWrite::new(self.offset, self.output.split().freeze());
        self.offset += write.bytes.len() as u64;
        Some(write)
    }

    /// Bytes that were not polled.
    pub(in crate::media) fn queued(&self) -> usize {
        self.output.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_four_gigabytes_the_sizes_say_that_they_do_not_know() {
        let mut writer = WavWriter::new(48_000, 2);
        while writer.poll_write().is_some() {}
        let mut sizes = |end: u64| {
            writer.offset = end;
            writer.flush();
            [0, 1].map(|_| writer.poll_write().unwrap().bytes.to_vec())
        };
        let top = u64::from(u32::MAX);
        assert_eq!(sizes(top + 8), [vec![255; 4], (u32::MAX - 36).to_le_bytes().to_vec()]);
        assert_eq!(sizes(top + 50), [vec![255; 4], vec![255; 4]]);
    }
}
