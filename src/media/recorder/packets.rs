//! One direction's Opus packets as they are, in an Ogg file: no decoder, no encoder.
//!
//! The file is as long as the call. What is missing is filled with packets of one byte, which
//! decoders take for losses: they conceal, then fade. Such a packet is the last packet's first byte
//! without its count (RFC 6716 section 3.2.1); what a whole frame is too long for is filled with
//! frames of 2.5 ms to 10 ms.
//!
//! Nothing is dropped at the start (a pre-skip of zero, which `opusinfo` finds implausibly low):
//! the first packet of a call is seldom the first that its coder made, and the file is to be as
//! long as its packets.
//!
//! | what comes | becomes |
//! | --- | --- |
//! | the next packet in time | written |
//! | one after a gap | the gap filled, then written |
//! | one after a gap of more than 60 s | a new chained stream |
//! | one whose time was written already | dropped, counted |
//! | one more than 10 s before that | the track began anew: a new chained stream |
//! | what is no Opus packet | dropped, counted; its time is a gap |
//! | a time a little off the grid | 2.5 ms at most, made good by the next gap |

use std::time::{Duration, Instant};

use crate::media::{FileWrite, OggOpusWriter, OpusHead, OpusTags, toc};
use crate::{Codec, EncodedFrame};

/// The longest gap that is filled, at 48 kHz. 60 s: 3000 packets of one byte; longer, and the peer
/// was gone.
const FILL_MAX: u64 = 60 * 48_000;

/// How far a packet may lie before what was written, at 48 kHz, and still be late. 10 s: no network
/// holds one for longer, so the track's time was set anew.
const LATE_MAX: i64 = 10 * 48_000;

/// The shortest frame, 2.5 ms: what a gap is filled to.
const STEP: u64 = 120;

/// CELT, full band, of 2.5 ms; 5, 10 and 20 ms follow.
const CELT: u8 = 28;

/// How long a page may wait for more packets. 500 ms: a file that is cut off lacks less than a
/// second.
const FLUSH: Duration = Duration::from_millis(500);

/// What a recorder of packets counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketCounters {
    /// Packets that were written as they came.
    pub written: u64,
    /// Samples at 48 kHz that were filled.
    pub filled: u64,
    /// Packets whose time was written already: late, or twice.
    pub late: u64,
    /// Packets that could not be read, or are not Opus.
    pub malformed: u64,
    /// Packets that had no room, because nobody polled the writes.
    pub unpolled: u64,
    /// Streams that were begun because a gap was too long or the track's time was set anew.
    pub chained: u64,
}

/// Records one direction's Opus packets: what `Session::recv_encoded` gave, or what
/// `Session::send_encoded` took.
#[derive(Debug)]
pub struct PacketRecorder {
    writer: OggOpusWriter,
    head: OpusHead,
    start: Instant,
    /// The track's time, at 48 kHz, of the stream's first sample. It may lie before the track's.
    base: Option<i64>,
    /// What gaps are filled with.
    toc: u8,
    deadline: Option<Instant>,
    is_finished: bool,
    counters: PacketCounters,
}

impl PacketRecorder {
    /// A file that begins now, of 1 or 2 channels. Files of both directions that begin at one
    /// moment are as long as each other.
    #[must_use]
    pub fn new(channels: u8, now: Instant) -> PacketRecorder {
        let head = OpusHead::new(channels.clamp(1, 2));
        PacketRecorder {
            writer: OggOpusWriter::new(head, &tags(), 1),
            head,
            start: now,
            base: None,
            toc: (CELT + 3) << 3,
            deadline: None,
            is_finished: false,
            counters: PacketCounters::default(),
        }
    }

    /// Takes a packet. The first one's end stands at `now`; those after it stand where their times
    /// say.
    pub fn write(&mut self, frame: &EncodedFrame, now: Instant) {
        let samples = toc::packet_samples(&frame.data).filter(|_| frame.codec == Codec::Opus);
        let Some(samples) = samples.filter(|_| !self.is_finished) else {
            self.counters.malformed += 1;
            return;
        };
        let time = samples_of(frame.time);
        let elapsed = samples_of(now.saturating_duration_since(self.start));
        let lead = elapsed.saturating_sub(i64::from(samples)).max(0);
        let base = *self.base.get_or_insert(time.saturating_sub(lead));
        let position = time.saturating_sub(base);
        let written = i64::try_from(self.writer.samples()).unwrap_or(i64::MAX);
        let is_anew = position.saturating_add(LATE_MAX) < written;
        if !is_anew && position.saturating_add(STEP as i64) <= written {
            self.counters.late += 1;
            return;
        }
        let gap = position.saturating_sub(written).max(0) as u64;
        if self.counters.written == 0 {
            self.toc = frame.data[0];
        }
        if is_anew || gap > FILL_MAX {
            self.chain(time);
        } else if !self.fill(gap) {
            return;
        }
        self.toc = frame.data[0];
        if self.writer.write(&frame.data) {
            self.counters.written += 1;
            self.deadline.get_or_insert(now + FLUSH);
        } else {
            self.counters.unpolled += 1;
        }
    }

    fn chain(&mut self, time: i64) {
        self.writer.chain(self.head, &tags());
        self.base = Some(time);
        self.counters.chained += 1;
    }

    /// Fills a gap up to 2.5 ms; false when there is no room, and the next packet tries again.
    fn fill(&mut self, gap: u64) -> bool {
        let frame = u64::from(toc::frame_samples(self.toc));
        let mut left = gap;
        while left >= STEP {
            let (fill, samples) = if left >= frame {
                (self.toc & 0xFC, frame)
            } else {
                let size = (0..3).rev().find(|size| STEP << size <= left).unwrap_or_default();
                ((CELT + size as u8) << 3 | self.toc & 4, STEP << size)
            };
            if !self.writer.write(&[fill]) {
                self.counters.unpolled += 1;
                return false;
            }
            self.counters.filled += samples;
            left -= samples;
        }
        true
    }

    /// When [`PacketRecorder::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Lets time pass: brings out what waits, when it has waited for half a second.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.writer.flush();
        }
    }

    /// Ends the file. What comes after is not taken.
    pub fn finish(&mut self) {
        self.writer.finish(0);
        (self.deadline, self.is_finished) = (None, true);
    }

    /// The next bytes of the file and their place; `None` when all were given out.
    pub fn poll_write(&mut self) -> Option<FileWrite> {
        self.writer.poll_write()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> PacketCounters {
        self.counters
    }
}

fn tags() -> OpusTags {
    OpusTags::new(concat!("smallrtc ", env!("CARGO_PKG_VERSION")))
}

/// A duration at 48 kHz, to the nearest sample.
fn samples_of(duration: Duration) -> i64 {
    let samples = (duration.as_nanos() * 48_000 + 500_000_000) / 1_000_000_000;
    i64::try_from(samples).unwrap_or(i64::MAX)
}
