//! Keys of a telephone, in and out: the telephone events of RFC 4733, one event a key press.
//!
//! In ([`ToneReceiver`]): every packet of a press repeats what it is and how long it has lasted, so
//! one of them is enough.
//!
//! | packet | becomes |
//! | --- | --- |
//! | of a new time, or with the marker | a press; one that was not over is over now |
//! | of the time of the press | it lasts longer |
//! | where it has come to, or up to 29 ms later, no marker | its next segment: 16 bits were full |
//! | with the end bit | the press is told |
//! | of the rest of a press that ended with a full segment | nothing |
//! | again, or of a time before | nothing |
//! | of an event that is no key | nothing, counted |
//! | none for 200 ms | the press is told with what it lasted so far |
//!
//! Out ([`ToneSender`]): a bounded queue, and a clock that says when the next key is due. The
//! packets of a key are the transport's.
//!
//! | state | when due | next |
//! | --- | --- | --- |
//! | nothing to send | never | [`ToneSender::push`]: now |
//! | a key | it sounds | its duration and the gap later |
//! | a comma | nothing | 2 s later |
//! | the last one is over | it is told | nothing to send |
//!
//! A clock that is late sends what is due then, and nothing twice as fast.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::SendError;

/// The keys, by their event codes (RFC 4733 section 3.2).
pub(crate) const KEYS: &str = "0123456789*#ABCD";

/// After so long without a packet a press is over, though nobody said so. 200 ms: four packets of
/// the slowest usual senders (50 ms; section 2.5.2.2 asks for three), and a burst of loss.
const SILENT_MAX: Duration = Duration::from_millis(200);

/// Units of the clock that one segment of a long press lasts at most (section 2.5.1.3).
const SEGMENT_MAX: u64 = 0xffff;

/// How many segments in a row may be lost of a press that goes on. 6: what is between two seconds
/// of blackout and a call that is over.
const SEGMENTS_LOST_MAX: u64 = 6;

/// How far a stream's time may fall before it is taken to have begun anew, in seconds. 10: far more
/// than any packet is late.
const BACK_MAX: u64 = 10;

/// Keys and commas that wait. 256: a calling card, its number and a menu, three times.
pub(crate) const TONES_MAX: usize = 256;

/// What a comma waits (W3C `RTCDTMFSender`).
const COMMA: Duration = Duration::from_secs(2);

/// What lies at most between the last packet of a segment and the next one's beginning. 29 ms: one
/// less than the shortest gap between keys (W3C `RTCDTMFSender`). Browsers begin a segment with the
/// packet of sound in which the one before was full, up to 20 ms late.
const SEGMENT_LATE_MS: u64 = 29;

/// How long a key and a gap may be (W3C `RTCDTMFSender`), in milliseconds.
const DURATIONS_MS: std::ops::RangeInclusive<u128> = 40..=6_000;
const GAPS_MS: std::ops::RangeInclusive<u128> = 30..=6_000;

/// The shortest gap that is sent. 50 ms: the last packet of a key is repeated for 40 ms, and the
/// engine wants 10 more.
const GAP_LEAST: Duration = Duration::from_millis(50);

/// A packet of the peer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TonePacket {
    pub(crate) line: u8,
    /// Extended over wraps, of the numbers that the packets of sound have.
    pub(crate) seq: u64,
    /// When the press, or its segment, began: extended over wraps, in units of `rate`.
    pub(crate) rtp_time: u64,
    pub(crate) ssrc: u32,
    pub(crate) rate: u32,
    pub(crate) code: u8,
    /// The marker: the first packet of a press.
    pub(crate) is_first: bool,
    pub(crate) is_end: bool,
    /// How long it has lasted so far, in units of `rate`.
    pub(crate) ticks: u16,
}

/// A key was pressed for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pressed {
    pub(crate) line: u8,
    pub(crate) digit: char,
    pub(crate) duration: Duration,
}

/// The key of an event code.
pub(crate) fn digit(code: u8) -> Option<char> {
    KEYS.chars().nth(usize::from(code))
}

/// The event code of a key.
fn code(digit: char) -> Option<u8> {
    let at = KEYS.find(digit.to_ascii_uppercase())?;
    u8::try_from(at).ok()
}

/// How a press stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Lasts,
    /// Told because its end came.
    Ended,
    /// Told because nothing came any more; what comes later of it is known.
    GivenUp,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    packet: TonePacket,
    /// When its first segment began.
    began: u64,
    /// When its last packet came.
    heard: Instant,
    stage: Stage,
}

impl Press {
    fn new(packet: TonePacket, now: Instant) -> Press {
        Press { packet, began: packet.rtp_time, heard: now, stage: Stage::Lasts }
    }

    /// Whether a packet goes on where this press has come to. Which key it names decides nothing:
    /// a log that keeps no keys is replayed by the same steps.
    fn is_continued_by(&self, packet: &TonePacket) -> bool {
        let since = packet.rtp_time.saturating_sub(self.packet.rtp_time);
        let is_segment =
            since.is_multiple_of(SEGMENT_MAX) && since <= SEGMENT_MAX * (1 + SEGMENTS_LOST_MAX);
        let late = since.checked_sub(u64::from(self.packet.ticks));
        let late_max = SEGMENT_LATE_MS * u64::from(packet.rate) / 1_000;
        let is_next = is_segment || late.is_some_and(|late| late <= late_max);
        !packet.is_first && self.stage != Stage::Ended && since > 0 && is_next
    }

    /// Whether a packet is the rest of this press, which ended with a full segment. Browsers end
    /// both when the end of a key falls into the packet of sound in which the segment was full.
    fn is_ended_by(&self, packet: &TonePacket) -> bool {
        let since = packet.rtp_time.saturating_sub(self.packet.rtp_time);
        let is_full = u64::from(self.packet.ticks) == SEGMENT_MAX;
        let is_rest = since == SEGMENT_MAX + u64::from(packet.ticks);
        self.stage == Stage::Ended && is_full && is_rest && packet.is_end && !packet.is_first
    }

    fn pressed(&self) -> Option<Pressed> {
        let TonePacket { line, rtp_time, rate, code, ticks, .. } = self.packet;
        let units = u128::from(rtp_time - self.began) + u128::from(ticks);
        let nanos = units * 1_000_000_000 / u128::from(rate.max(1));
        let duration = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Some(Pressed { line, digit: digit(code)?, duration })
    }
}

/// Packets in, presses out.
#[derive(Debug, Default)]
pub(crate) struct ToneReceiver {
    press: Option<Press>,
    ignored: u64,
}

impl ToneReceiver {
    /// Takes a packet; gives a press that is over, and a second one when this packet also is all of
    /// another.
    pub(crate) fn handle(&mut self, packet: TonePacket, now: Instant) -> [Option<Pressed>; 2] {
        if digit(packet.code).is_none() || packet.rate == 0 {
            self.ignored += 1;
            return [None; 2];
        }
        let same = |press: &&mut Press| {
            (press.packet.ssrc, press.packet.rate) == (packet.ssrc, packet.rate)
        };
        let mut before = None;
        if let Some(press) = self.press.as_mut().filter(same) {
            let at = press.packet.rtp_time;
            let is_new_stream =
                at.saturating_sub(packet.rtp_time) > BACK_MAX * u64::from(packet.rate);
            if packet.rtp_time < at && !is_new_stream {
                return [None; 2];
            }
            let goes_on = press.is_continued_by(&packet) || press.is_ended_by(&packet);
            if packet.rtp_time == at || goes_on {
                return [Self::go_on(press, packet, now), None];
            }
        }
        if let Some(press) = self.press.filter(|press| press.stage == Stage::Lasts) {
            before = press.pressed();
        }
        let press = self.press.insert(Press::new(packet, now));
        [before, Self::end(press)]
    }

    /// A packet of the press that is known.
    fn go_on(press: &mut Press, packet: TonePacket, now: Instant) -> Option<Pressed> {
        let is_repeated = packet.rtp_time == press.packet.rtp_time;
        let ticks = if is_repeated { packet.ticks.max(press.packet.ticks) } else { packet.ticks };
        let TonePacket { rtp_time, is_end, .. } = packet;
        press.packet = TonePacket { rtp_time, ticks, is_end, ..press.packet };
        press.heard = now;
        if press.stage == Stage::Lasts { Self::end(press) } else { None }
    }

    fn end(press: &mut Press) -> Option<Pressed> {
        if !press.packet.is_end {
            return None;
        }
        press.stage = Stage::Ended;
        press.pressed()
    }

    /// When [`ToneReceiver::handle_timeout`] has something to do.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lasting = self.press.filter(|press| press.stage == Stage::Lasts);
        lasting.map(|press| press.heard + SILENT_MAX)
    }

    /// Gives a press up whose end nobody told.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<Pressed> {
        self.poll_timeout().filter(|deadline| *deadline <= now)?;
        let press = self.press.as_mut()?;
        press.stage = Stage::GivenUp;
        press.pressed()
    }

    /// Packets of events that are no key.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }
}

/// Something to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// An event code, how long, and what follows.
    Key(u8, Duration, Duration),
    Comma,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToneDue {
    /// This event for so long.
    Key(u8, Duration),
    /// All is over.
    Done,
}

/// Keys that are to be sent, one after another.
#[derive(Debug, Default)]
pub(crate) struct ToneSender {
    tones: VecDeque<Tone>,
    running: bool,
    deadline: Option<Instant>,
    /// When what was sent last, and the gap after it, is over.
    free: Option<Instant>,
}

impl ToneSender {
    /// Queues keys: all of them or none.
    ///
    /// # Errors
    /// [`SendError::Unsupported`] for a character, with its place, and for times outside of their
    /// ranges; [`SendError::Empty`]; [`SendError::QueueFull`] when more than [`TONES_MAX`] would
    /// wait.
    pub(crate) fn push(
        &mut self,
        keys: &str,
        duration: Duration,
        gap: Duration,
        now: Instant,
    ) -> Result<(), SendError> {
        within("duration", duration, &DURATIONS_MS, "40 to 6000 milliseconds")?;
        within("gap", gap, &GAPS_MS, "30 to 6000 milliseconds")?;
        let tone = |(at, key): (usize, char)| match key {
            ',' => Ok(Tone::Comma),
            key => code(key).map(|code| Tone::Key(code, duration, gap.max(GAP_LEAST))).ok_or({
                let expected = "0 to 9, A to D, #, * or a comma at this place";
                SendError::Unsupported { field: "keys", value: at as u64, expected }
            }),
        };
        // One more than there is room for is enough to refuse them.
        let tones = keys.chars().enumerate().take(TONES_MAX + 1).map(tone);
        let tones = tones.collect::<Result<Vec<_>, _>>()?;
        if tones.is_empty() {
            return Err(SendError::Empty);
        }
        if self.tones.len() + tones.len() > TONES_MAX {
            return Err(SendError::QueueFull { limit: TONES_MAX, wait: None });
        }
        self.tones.extend(tones);
        self.resume(now);
        Ok(())
    }

    /// Keys can be sent from now on.
    pub(crate) fn start(&mut self, now: Instant) {
        self.running = true;
        self.resume(now);
    }

    /// Keys cannot be sent any longer, and those that wait never will; gives how many.
    pub(crate) fn stop(&mut self) -> usize {
        (self.running, self.deadline) = (false, None);
        std::mem::take(&mut self.tones).len()
    }

    /// Drops what has not begun.
    pub(crate) fn clear(&mut self) {
        self.tones.clear();
    }

    /// Whether keys are being sent, with the gaps between them and after the last.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        self.deadline.is_some()
    }

    fn resume(&mut self, now: Instant) {
        if self.running && self.deadline.is_none() && !self.tones.is_empty() {
            self.deadline = Some(self.free.map_or(now, |free| free.max(now)));
        }
    }

    /// When [`ToneSender::handle_timeout`] has something to do.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// What is due now. Called again until it gives `None`.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<ToneDue> {
        while self.deadline.is_some_and(|deadline| deadline <= now) {
            let Some(tone) = self.tones.pop_front() else {
                self.deadline = None;
                return Some(ToneDue::Done);
            };
            let next = match tone {
                Tone::Key(_, duration, gap) => now + duration + gap,
                Tone::Comma => now + COMMA,
            };
            (self.deadline, self.free) = (Some(next), Some(next));
            if let Tone::Key(code, duration, _) = tone {
                return Some(ToneDue::Key(code, duration));
            }
        }
        None
    }
}

fn within(
    field: &'static str,
    time: Duration,
    range: &std::ops::RangeInclusive<u128>,
    expected: &'static str,
) -> Result<(), SendError> {
    let value = time.as_millis();
    // What is less than a millisecond too long is too long.
    let is_whole = time <= Duration::from_millis(*range.end() as u64);
    if range.contains(&value) && is_whole {
        return Ok(());
    }
    let value = u64::try_from(value).unwrap_or(u64::MAX);
    Err(SendError::Unsupported { field, value, expected })
}
