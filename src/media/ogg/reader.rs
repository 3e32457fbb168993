//! From bytes to packets with their times.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::page::{CONTINUED, FIRST, LAST, Page, Pages};
use super::{OpusHead, OpusTags, PACKET_BYTES_MAX};
use crate::media::toc;

/// Headers and packets that were read and not asked for. A page has 255 at most and no page is read
/// before they are gone.
const ITEMS_MAX: usize = 255 + 2;

/// One Opus packet of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OggPacket {
    /// The packet.
    pub data: Bytes,
    /// Where its first sample lies: samples per channel at 48 kHz since the stream's first one,
    /// those that are dropped at the start included. Later than the end of the packet before when
    /// something between them is missing.
    pub position: u64,
    /// How many samples per channel at 48 kHz it holds.
    pub samples: u32,
    /// How many of them are to be dropped at its start (`OpusHead::pre_skip`).
    pub trim_start: u32,
    /// How many of them are to be dropped at its end, which is the stream's.
    pub trim_end: u32,
}

/// What comes out of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OggItem {
    /// A stream begins: the first, or one of a chain. Positions begin anew.
    Head(OpusHead),
    /// What the stream says about itself. It is missing where its page was damaged.
    Tags(OpusTags),
    /// A packet.
    Packet(OggPacket),
}

/// What a reader counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OggCounters {
    /// Pages that were read.
    pub pages: u64,
    /// Pages that were skipped for a wrong checksum or version.
    pub damaged_pages: u64,
    /// Bytes outside of pages.
    pub skipped_bytes: u64,
    /// How often pages were missing by their numbers.
    pub lost_pages: u64,
    /// Pages of other streams.
    pub foreign_pages: u64,
    /// Packets that were cut by a missing page, longer than 61440 bytes, or no Opus packets.
    pub dropped_packets: u64,
    /// Pages whose granule position lies before what was read already.
    pub clock_faults: u64,
    /// Streams of Opus that one decoder of two channels cannot play.
    pub unsupported_streams: u64,
}

/// The stream that is read.
#[derive(Debug)]
struct Link {
    serial: u32,
    head: OpusHead,
    /// The next page's number.
    sequence: u32,
    /// The packet that the next page goes on with. `None` when none is open.
    open: Option<BytesMut>,
    has_tags: bool,
    /// The granule position of the first sample: not zero where a live stream was cut.
    base: Option<u64>,
    /// Samples since the first one.
    position: u64,
    /// Whether a page came after the first, and whether one was missing.
    has_gone_on: bool,
    has_lost: bool,
    is_ended: bool,
}

/// Reads an Ogg Opus file that comes in pieces.
///
/// ```
/// use smallrtc::media::{OggItem, OggOpusReader, OggOpusWriter, OpusHead, OpusTags};
///
/// let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("example"), 1);
/// // 20 ms of silence.
/// assert!(writer.write(&[31 << 3, 0xFF, 0xFE]));
/// writer.finish(0);
/// let mut file = Vec::new();
/// while let Some(write) = writer.poll_write() {
///     write.apply(&mut file);
/// }
///
/// let mut reader = OggOpusReader::new();
/// let mut samples = 0;
/// for mut piece in file.chunks(10) {
///     while !piece.is_empty() {
///         piece = &piece[reader.push(piece)..];
///         while let Some(item) = reader.read() {
///             if let OggItem::Packet(packet) = item {
///                 samples += packet.samples;
///             }
///         }
///     }
/// }
/// assert_eq!(samples, 960);
/// ```
#[derive(Debug, Default)]
pub struct OggOpusReader {
    pages: Pages,
    link: Option<Link>,
    items: VecDeque<OggItem>,
    counters: OggCounters,
}

impl OggOpusReader {
    /// A reader at the start of a file.
    #[must_use]
    pub fn new() -> OggOpusReader {
        OggOpusReader::default()
    }

    /// Takes the next bytes of the file, as many as there is room for, and gives how many: read
    /// until there is nothing before the rest is pushed. All of 64 KiB are taken after that.
    #[must_use = "what was not taken has to be pushed again"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.pages.push(bytes)
    }

    /// Says that the file ends here. What is not a whole page is skipped.
    pub fn finish(&mut self) {
        self.pages.finish();
    }

    /// The next header or packet; `None` until more bytes came.
    pub fn read(&mut self) -> Option<OggItem> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Some(item);
            }
            let page = self.pages.next()?;
            self.counters.pages += 1;
            self.handle_page(&page);
            debug_assert!(self.items.len() <= ITEMS_MAX, "one page's packets");
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> OggCounters {
        let (damaged_pages, skipped_bytes) = (self.pages.damaged_pages, self.pages.skipped_bytes);
        OggCounters { damaged_pages, skipped_bytes, ..self.counters }
    }

    fn handle_page(&mut self, page: &Page) {
        if page.flags & FIRST != 0 && self.begins_link(page) {
            self.begin(page);
            return;
        }
        let Some(link) = self.link.as_mut().filter(|link| link.serial == page.serial) else {
            self.counters.foreign_pages += 1;
            return;
        };
        let packets = link.packets(page, &mut self.counters);
        let packets = link.headers(packets, &mut self.items);
        link.time(page, packets, &mut self.counters, &mut self.items);
    }

    /// Whether a first page is one to follow. Streams side by side all begin before any of them
    /// goes on (RFC 3533 section 4), so one that begins while ours has not gone on is beside it.
    fn begins_link(&self, page: &Page) -> bool {
        let is_beside = self.link.as_ref().is_some_and(|link| link.sequence == 1 && !link.is_ended);
        OpusHead::is_head(&page.body) && !is_beside
    }

    fn begin(&mut self, page: &Page) {
        let Some(head) = OpusHead::parse(&page.body) else {
            self.counters.unsupported_streams += 1;
            self.link = None;
            return;
        };
        self.link = Some(Link {
            serial: page.serial,
            head,
            sequence: page.sequence.wrapping_add(1),
            open: None,
            has_tags: false,
            base: None,
            position: 0,
            has_gone_on: false,
            has_lost: false,
            is_ended: page.flags & LAST != 0,
        });
        self.items.push_back(OggItem::Head(head));
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let open = self.link.as_ref().and_then(|link| link.open.as_ref());
        let open = open.map_or(0, BytesMut::capacity);
        let item = size_of::<OggItem>();
        self.pages.held() + open + self.items.capacity() * item
    }
}

impl Link {
    /// Puts the page's segments together to packets.
    fn packets(&mut self, page: &Page, counters: &mut OggCounters) -> Vec<Bytes> {
        let is_next = page.sequence == self.sequence;
        counters.lost_pages += u64::from(!is_next);
        self.has_lost |= !is_next;
        self.has_gone_on = true;
        self.sequence = page.sequence.wrapping_add(1);
        self.is_ended = page.flags & LAST != 0;
        let continues = page.flags & CONTINUED != 0;
        if self.open.is_some() && !(continues && is_next) {
            counters.dropped_packets += 1;
            self.open = None;
        }
        // The rest of a packet whose start is missing belongs to nothing.
        let mut is_orphan = continues && self.open.is_none();
        let (mut packets, mut start, mut end) = (Vec::new(), 0, 0);
        for &len in &page.lacing {
            end += usize::from(len);
            if len == 255 {
                continue;
            }
            let part = page.body.slice(start..end);
            start = end;
            if std::mem::take(&mut is_orphan) {
                counters.dropped_packets += 1;
            } else if let Some(mut open) = self.open.take() {
                open.extend_from_slice(&part[..part.len().min(PACKET_BYTES_MAX)]);
                packets.push(open.freeze());
            } else {
                packets.push(part);
            }
        }
        if page.lacing.last() == Some(&255) && !is_orphan {
            let part = &page.body[start..];
            let open = self.open.get_or_insert_default();
            // One byte more than may be, so that a packet that is too long stays one.
            let room = (PACKET_BYTES_MAX + 1).saturating_sub(open.len());
            open.extend_from_slice(&part[..part.len().min(room)]);
        }
        packets
    }

    /// Takes the second header off, where the packets begin with it.
    fn headers(&mut self, mut packets: Vec<Bytes>, items: &mut VecDeque<OggItem>) -> Vec<Bytes> {
        if !self.has_tags && !packets.is_empty() {
            self.has_tags = true;
            if OpusTags::is_tags(&packets[0]) {
                items.push_back(OggItem::Tags(OpusTags::parse(&packets.remove(0))));
            }
        }
        packets
    }

    /// Gives the packets that end on a page their places.
    fn time(
        &mut self,
        page: &Page,
        packets: Vec<Bytes>,
        counters: &mut OggCounters,
        items: &mut VecDeque<OggItem>,
    ) {
        let readable = |data: &Bytes| {
            let fits = data.len() <= PACKET_BYTES_MAX;
            toc::packet_samples(data).filter(|_| fits)
        };
        let timed: Vec<(Bytes, u32)> = packets
            .into_iter()
            .filter_map(|data| {
                let samples = readable(&data);
                counters.dropped_packets += u64::from(samples.is_none());
                Some((data, samples?))
            })
            .collect();
        if timed.is_empty() {
            return;
        }
        let sum: u64 = timed.iter().map(|&(_, samples)| u64::from(samples)).sum();
        let mut excess = self.place(page, sum, counters);
        let first = items.len();
        for (data, samples) in timed {
            let position = self.position;
            let left = u64::from(self.head.pre_skip).saturating_sub(position);
            let trim_start = u32::try_from(left).map_or(samples, |left| left.min(samples));
            self.position = position.saturating_add(u64::from(samples));
            items.push_back(OggItem::Packet(OggPacket {
                data,
                position,
                samples,
                trim_start,
                trim_end: 0,
            }));
        }
        for item in items.iter_mut().skip(first).rev() {
            let OggItem::Packet(packet) = item else { continue };
            let room = packet.samples - packet.trim_start;
            packet.trim_end = u32::try_from(excess).map_or(room, |excess| excess.min(room));
            excess -= u64::from(packet.trim_end);
        }
    }

    /// Moves the position to the page's first sample, and gives how many samples too many its
    /// packets hold for what it says to be the end.
    fn place(&mut self, page: &Page, sum: u64, counters: &mut OggCounters) -> u64 {
        let Some(granule) = page.granule else { return 0 };
        // A stream that was cut out of a longer one begins late (RFC 7845 section 4.5). One whose
        // first page was lost looks the same and is more common.
        let late = if self.has_lost { 0 } else { granule.saturating_sub(sum) };
        let base = *self.base.get_or_insert(late);
        let end = granule.saturating_sub(base);
        let own_end = self.position.saturating_add(sum);
        if end >= own_end {
            self.position = end - sum;
            return 0;
        }
        if page.flags & LAST != 0 {
            return own_end - end;
        }
        counters.clock_faults += 1;
        0
    }
}
