//! From packets to pages.

use bytes::BytesMut;

use super::page::{FIRST, LAST, write_page};
use super::{OpusHead, OpusTags, PACKET_BYTES_MAX};
use crate::media::FileWrite;
use crate::media::toc;

/// How much sound a page holds, in samples per channel at 48 kHz. 400 ms: what is lost with a
/// process that is killed, for 27 bytes and as many more as there are packets.
pub(in crate::media) const PAGE_SAMPLES: u32 = 19_200;

/// The most segments of a page (RFC 3533 section 6).
const SEGMENTS_MAX: usize = 255;

/// How many bytes of pages wait at most to be polled before packets are refused. 1 MiB: 17 minutes
/// of speech; a disk that hangs for longer does not take the call's memory.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// Writes an Ogg Opus file. Pages hold 400 ms and come out whole, so a file is readable after each
/// write. The last packet is held back until the next one or the end comes, for the last page says
/// that it is the last.
#[derive(Debug)]
pub struct OggOpusWriter {
    serial: u32,
    sequence: u32,
    /// Samples of all packets that were taken.
    granule: u64,
    lacing: Vec<u8>,
    body: Vec<u8>,
    /// Samples on the page in the making.
    page_samples: u32,
    output: BytesMut,
    /// Where the output begins in the file.
    offset: u64,
    is_finished: bool,
}

impl OggOpusWriter {
    /// Begins a stream. `serial` tells streams of one file apart.
    #[must_use]
    pub fn new(head: OpusHead, tags: &OpusTags, serial: u32) -> OggOpusWriter {
        let mut writer = OggOpusWriter {
            serial,
            sequence: 0,
            granule: 0,
            lacing: Vec::new(),
            body: Vec::new(),
            page_samples: 0,
            output: BytesMut::new(),
            offset: 0,
            is_finished: false,
        };
        writer.headers(head, tags);
        writer
    }

    fn headers(&mut self, head: OpusHead, tags: &OpusTags) {
        self.append(&head.to_bytes());
        self.write_page(FIRST, 0);
        self.append(&tags.to_bytes());
        self.write_page(0, 0);
    }

    /// Ends the stream as [`OggOpusWriter::finish`] does and begins another behind it: a chain. Its
    /// time begins anew, and its serial number is the next one.
    pub fn chain(&mut self, head: OpusHead, tags: &OpusTags) {
        self.finish(0);
        self.serial = self.serial.wrapping_add(1);
        (self.sequence, self.granule, self.is_finished) = (0, 0, false);
        self.headers(head, tags);
    }

    /// Appends a packet. False, and nothing is written, when it is no Opus packet or longer than
    /// 61440 bytes, when more than 1 MiB of pages were not polled, and after the end.
    #[must_use = "a packet that is not taken is missing in the file's time"]
    pub fn write(&mut self, packet: &[u8]) -> bool {
        let Some(samples) = toc::packet_samples(packet) else { return false };
        let is_full = self.output.len() >= OUTPUT_BYTES_MAX;
        if packet.len() > PACKET_BYTES_MAX || is_full || self.is_finished {
            return false;
        }
        let segments = self.lacing.len() + packet.len() / 255 + 1;
        if self.page_samples + samples > PAGE_SAMPLES || segments > SEGMENTS_MAX {
            self.flush();
        }
        self.append(packet);
        self.page_samples += samples;
        self.granule += u64::from(samples);
        true
    }

    fn append(&mut self, packet: &[u8]) {
        self.lacing.resize(self.lacing.len() + packet.len() / 255, 255);
        self.lacing.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
    }

    /// Makes a page of what there is: call it when no packet is expected for some time.
    pub fn flush(&mut self) {
        if !self.lacing.is_empty() {
            self.write_page(0, self.granule);
        }
    }

    /// Ends the stream, `trim` samples per channel at 48 kHz before the end of its last packet. Of
    /// what is on earlier pages nothing is trimmed.
    pub fn finish(&mut self, trim: u32) {
        if !self.is_finished {
            self.is_finished = true;
            self.write_page(LAST, self.granule - u64::from(trim.min(self.page_samples)));
        }
    }

    /// Samples per channel at 48 kHz of all packets that were taken since the stream began.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.granule
    }

    /// The next bytes of the file; `None` when all were given out.
    pub fn poll_write(&mut self) -> Option<FileWrite> {
        if self.output.is_empty() {
            return None;
        }
        let bytes = self.output.split().freeze();
        let write = FileWrite::new(self.offset, bytes);
        self.offset += write.bytes.len() as u64;
        Some(write)
    }

    fn write_page(&mut self, flags: u8, granule: u64) {
        let numbers = [self.serial, self.sequence];
        write_page(&mut self.output, flags, granule, numbers, &self.lacing, &self.body);
        self.lacing.clear();
        self.body.clear();
        self.page_samples = 0;
        self.sequence = self.sequence.wrapping_add(1);
    }
}
