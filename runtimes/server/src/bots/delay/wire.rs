//! The call's pacing queue, as it is seen from outside: which packet takes which sound, and when.
//!
//! Packets of 20 ms leave at points 20 ms apart (`src/audio/send.rs`). A bot is told of each
//! piece's beginning when the packet has left in which it is, and from these words, each of which
//! may be late, the points and what each packet took are known:
//!
//! | word | means |
//! | --- | --- |
//! | when it was expected, or later by less than a packet time | nothing: whoever is told is late |
//! | earlier | the points are earlier than was thought |
//! | later by packet times | the clock has slipped by as many |
//! | of what was thought to be long gone | what is queued was not sent meanwhile |

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallrtc::AudioId;

/// How much sound a packet takes, and how far apart packets are: what calls have unless they are
/// configured otherwise.
pub(in crate::bots) const PACKET_TIME: Duration = Duration::from_millis(20);

/// Units of sound in a second: the least common multiple of all rates that calls have, so that no
/// duration is rounded.
const TICKS_PER_SECOND: i64 = 14_112_000;

/// [`PACKET_TIME`] in these.
pub(in crate::bots) const PACKET: i64 = ticks(20, 1_000);

/// How much later the points are taken to be after a word that was late. 20 us: a clock that is
/// slower by 1000 ppm is followed, and what a busy machine is late now and then is not.
const FOLLOW: Duration = Duration::from_micros(20);

/// A word that is so much late at most, beyond whole packet times, is as late as these.
const LATE: Duration = Duration::from_millis(1);

/// How long after it ran dry the clock certainly stands still, if it ever does (`AudioIdle`): 100
/// ms of zeros, two packets that say so, and two more.
const REST: Duration = Duration::from_millis(180);

/// So many samples of a rate, in ticks.
pub(in crate::bots) const fn ticks(samples: usize, rate: u32) -> i64 {
    // Rates of calls divide it; no rate of zero is heard.
    samples as i64 * (TICKS_PER_SECOND / if rate == 0 { 1 } else { rate as i64 })
}

/// So many ticks in samples of a rate, rounded down.
pub(in crate::bots) const fn samples(ticks: i64, rate: u32) -> usize {
    if ticks <= 0 || rate == 0 {
        return 0;
    }
    (ticks / (TICKS_PER_SECOND / rate as i64)) as usize
}

/// How long so many ticks are, which may be less than none, in nanoseconds.
pub(in crate::bots) const fn nanos(ticks: i64) -> i64 {
    ticks * 1_000_000 / (TICKS_PER_SECOND / 1_000)
}

/// From one moment to another, which may be before it, in nanoseconds.
pub(in crate::bots) fn nanos_until(from: Instant, to: Instant) -> i64 {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    nanos(to.saturating_duration_since(from)) - nanos(from.saturating_duration_since(to))
}

/// What is queued, in ticks since sound began.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// When the latest packet was due that is known of.
    point: Option<Instant>,
    /// How much that one and those before it took.
    cut: i64,
    queued: i64,
    /// Where the pieces begin that were not told to have begun. Bounded by who queues them:
    /// [`Wire::waiting`] tells how much sound they are.
    pieces: VecDeque<(AudioId, i64)>,
}

impl Wire {
    /// When the packet leaves for which too little is queued, if so many ticks less were. `None`
    /// while no packet is known to have left.
    pub(super) fn dry_at(&self, less: i64) -> Option<Instant> {
        let whole = (self.left() - less).max(0) / PACKET;
        Some(self.point? + PACKET_TIME * (1 + u32::try_from(whole).unwrap_or(u32::MAX)))
    }

    /// What no packet took that is known of.
    pub(super) fn left(&self) -> i64 {
        (self.queued - self.cut).max(0)
    }

    /// How much sound is in pieces that have not begun.
    pub(super) fn waiting(&self) -> i64 {
        self.pieces.front().map_or(0, |(_, start)| self.queued - start)
    }

    /// Whether the clock stands still, or may be left to: it ran dry long ago.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.dry_at(0).is_some_and(|dry_at| now >= dry_at + REST)
    }

    /// A piece was queued.
    pub(super) fn push(&mut self, id: AudioId, ticks: i64) {
        self.pieces.push_back((id, self.queued));
        self.queued += ticks;
    }

    /// A packet left short: what comes next is the first of a packet.
    pub(super) fn ran_dry(&mut self, now: Instant) {
        self.cut = self.queued;
        if let Some(point) = &mut self.point {
            let past = now.saturating_duration_since(*point).as_nanos() / PACKET_TIME.as_nanos();
            *point += PACKET_TIME * u32::try_from(past).unwrap_or(u32::MAX);
        }
    }

    /// The first sample of a piece has left with a packet.
    pub(super) fn began(&mut self, id: AudioId, now: Instant) {
        let Some(start) = self.forget(id) else { return };
        let Some(point) = self.point else {
            self.cut = start + PACKET;
            self.point = Some(now);
            return;
        };
        let mut due = point;
        if start >= self.cut {
            let packets = 1 + (start - self.cut) / PACKET;
            self.cut += packets * PACKET;
            due += PACKET_TIME * u32::try_from(packets).unwrap_or(u32::MAX);
        } else if start < self.cut - PACKET {
            (self.cut, due) = (start + PACKET, now);
        }
        let late = now.saturating_duration_since(due);
        let slipped = late.saturating_sub(LATE).as_nanos().div_ceil(PACKET_TIME.as_nanos());
        self.point = Some(if now < due {
            now
        } else if late >= PACKET_TIME {
            due + PACKET_TIME * u32::try_from(slipped).unwrap_or(u32::MAX)
        } else {
            due + late.min(FOLLOW)
        });
    }

    /// A piece, and so every one before it, is no longer queued. Where it began, and whether it
    /// was not told of before.
    pub(super) fn forget(&mut self, id: AudioId) -> Option<i64> {
        let mut start = None;
        while let Some(&(first, at)) = self.pieces.front().filter(|(first, _)| *first <= id) {
            start = (first == id).then_some(at);
            self.pieces.pop_front();
        }
        start
    }
}
