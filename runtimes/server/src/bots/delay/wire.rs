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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::now;

    const MS: Duration = Duration::from_millis(1);

    /// Three packets are queued, in pieces of one each; the first has left at the returned time.
    fn begun() -> (Wire, Instant) {
        let (mut wire, start) = (Wire::default(), now());
        assert_eq!(wire.dry_at(0), None);
        (0..3).for_each(|id| wire.push(AudioId(id), PACKET));
        wire.began(AudioId(0), start);
        (wire, start)
    }

    #[test]
    fn the_queue_runs_dry_when_the_last_whole_packet_has_left() {
        let (mut wire, start) = begun();
        assert_eq!(wire.dry_at(0), Some(start + 60 * MS));
        assert_eq!(wire.dry_at(1), Some(start + 40 * MS));
        wire.push(AudioId(3), PACKET - 1);
        assert_eq!(wire.dry_at(0), Some(start + 60 * MS));
        wire.push(AudioId(4), 1);
        assert_eq!(wire.dry_at(0), Some(start + 80 * MS));
        assert!(!wire.rests(start + 259 * MS) && wire.rests(start + 260 * MS));
    }

    #[test]
    fn a_word_that_is_late_moves_no_packet_and_one_that_is_early_does() {
        let (mut wire, start) = begun();
        wire.began(AudioId(1), start + 39 * MS);
        assert_eq!(wire.dry_at(0), Some(start + 60 * MS + FOLLOW));
        wire.began(AudioId(2), start + 35 * MS);
        assert_eq!(wire.dry_at(0), Some(start + 55 * MS));
    }

    #[test]
    fn a_clock_that_slips_is_followed_by_whole_packets() {
        for (late, slipped) in [(20, 20), (21, 20), (22, 40), (100, 100), (135, 140)] {
            let (mut wire, start) = begun();
            wire.began(AudioId(1), start + (20 + late) * MS);
            assert_eq!(wire.dry_at(0), Some(start + (60 + slipped) * MS), "{late} ms late");
        }
    }

    #[test]
    fn what_was_not_sent_meanwhile_is_known_when_it_goes_on() {
        let (mut wire, start) = begun();
        wire.ran_dry(start + 75 * MS);
        assert_eq!((wire.left(), wire.dry_at(0)), (0, Some(start + 80 * MS)));
        wire.began(AudioId(1), start + 500 * MS);
        assert_eq!((wire.left(), wire.dry_at(0)), (PACKET, Some(start + 540 * MS)));
    }

    #[test]
    fn pieces_whose_beginning_was_not_told_began_before_a_later_one() {
        let (mut wire, start) = begun();
        assert_eq!(wire.waiting(), 2 * PACKET);
        wire.began(AudioId(2), start + 40 * MS);
        assert_eq!((wire.waiting(), wire.left()), (0, 0));
        wire.began(AudioId(2), start + 400 * MS);
        assert_eq!(wire.dry_at(0), Some(start + 60 * MS));
    }

    #[test]
    fn sound_is_as_long_as_its_samples() {
        assert_eq!((nanos(PACKET), ticks(882, 44_100)), (20_000_000, PACKET));
        assert_eq!((samples(PACKET, 44_100), samples(PACKET - 1, 48_000)), (882, 959));
        assert_eq!((samples(-PACKET, 48_000), samples(PACKET, 0), ticks(1, 0)), (0, 0, 14_112_000));
        let now = now();
        assert_eq!(nanos_until(now, now + MS), 1_000_000);
        assert_eq!(nanos_until(now + MS, now), -1_000_000);
    }
}
