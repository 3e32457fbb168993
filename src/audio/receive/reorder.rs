//! How long a gap is worth waiting for: what the network's own reordering has shown so far.
//!
//! It looks at packets that came after a later one (overtaken ones, also those that came too late
//! to be used) and remembers by how much. A packet that never comes, and one that comes twice,
//! teach nothing: waiting would not have helped. It never looks at a clock, never waits itself, and
//! never adds anything to a stream in which nothing is missing.
//!
//! | what was seen | a gap waits |
//! | --- | --- |
//! | nothing was overtaken, or longer than a minute ago | [`WAIT_MIN`]; not at all when a copy of what is missing is at hand |
//! | a packet came `late` after the one that overtook it | `late` and a quarter of it, for ten seconds |
//! | nothing since | half as long after each [`HALF_LIFE`] |
//! | a packet came later than the most that a gap may wait | as before: no wait would have caught it |
//!
//! Never longer than the most that the caller allows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a gap waits in a stream in which nothing was overtaken yet. 10 ms: what paths of equal
/// length differ by, and half of a packet time, so that a stream of mere losses is hardly delayed.
/// A longer reordering is learned from the packet that comes too late once.
pub(super) const WAIT_MIN: Duration = Duration::from_millis(10);

/// How long what was learned counts in full, and then by a half for each such time. 10 s: 500
/// packets, in which a network that overtakes one packet in a hundred shows it five times.
pub(super) const HALF_LIFE: Duration = Duration::from_secs(10);

/// What is left of a lateness when it is forgotten: less than timers tell apart.
const NOTHING: Duration = Duration::from_millis(1);

/// How much longer than the longest lateness that was seen is waited: a quarter. Each is a sample
/// of a spread, and the next one may be a little longer.
const MARGIN: u32 = 4;

/// How many arrivals are remembered. 64: 640 ms of packets of 10 ms, longer than any wait that the
/// configuration allows.
pub(super) const RISES_MAX: usize = 64;

/// What a stream's arrivals have shown.
#[derive(Debug)]
pub(super) struct Reordering {
    /// The longest wait that is allowed.
    most: Duration,
    /// Each packet that was ahead of all others when it came, and when that was.
    rises: VecDeque<(u64, Instant)>,
    /// The longest lateness, and when it was seen.
    learned: Option<(Duration, Instant)>,
}

impl Reordering {
    pub(super) fn new(most: Duration) -> Reordering {
        Reordering { most, rises: VecDeque::new(), learned: None }
    }

    /// Another stream begins: its numbers are others. What was learned of the network stays.
    pub(super) fn restart(&mut self) {
        self.rises.clear();
    }

    /// A packet came for the first time.
    pub(super) fn came(&mut self, seq: u64, now: Instant) {
        if self.rises.back().is_none_or(|&(last, _)| seq > last) {
            if self.rises.len() == RISES_MAX {
                self.rises.pop_front();
            }
            self.rises.push_back((seq, now));
            return;
        }
        let Some(late) = self.lateness(seq, now) else { return };
        if late <= self.most && late >= self.seen(now) {
            self.learned = Some((late, now));
        }
    }

    /// How long a gap that is noticed now is waited for.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let seen = self.seen(now);
        (seen + seen / MARGIN).max(WAIT_MIN).min(self.most)
    }

    /// The lateness that is to be expected: zero when nothing was overtaken lately.
    pub(super) fn seen(&self, now: Instant) -> Duration {
        let Some((late, at)) = self.learned else { return Duration::ZERO };
        let halvings = now.saturating_duration_since(at).as_nanos() / HALF_LIFE.as_nanos();
        let divisor = u32::try_from(halvings).ok().and_then(|by| 1u32.checked_shl(by));
        let left = divisor.map_or(Duration::ZERO, |divisor| late / divisor);
        if left < NOTHING { Duration::ZERO } else { left }
    }

    /// How long before `now` the first packet came that overtook this one; `None` when that is
    /// forgotten.
    fn lateness(&self, seq: u64, now: Instant) -> Option<Duration> {
        let first = self.rises.partition_point(|&(other, _)| other < seq);
        if first == 0 && self.rises.len() == RISES_MAX {
            return None;
        }
        let (_, at) = self.rises.get(first)?;
        Some(now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_millis(60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    fn origin() -> Instant {
        Instant::now()
    }

    /// Packet 1 comes so long after packet 2 overtook it.
    fn overtaken(late: Duration) -> (Reordering, Instant) {
        let (mut reordering, start) = (Reordering::new(MOST), origin());
        reordering.came(0, start);
        reordering.came(2, start);
        reordering.came(1, start + late);
        (reordering, start + late)
    }

    #[test]
    fn where_nothing_was_overtaken_the_wait_is_the_least() {
        let (mut reordering, start) = (Reordering::new(MOST), origin());
        assert_eq!(reordering.wait(start), WAIT_MIN);
        for seq in [5, 6, 9, 20] {
            reordering.came(seq, start);
            assert_eq!((reordering.wait(start), reordering.seen(start)), (WAIT_MIN, ms(0)));
        }
        assert_eq!(Reordering::new(ms(3)).wait(start), ms(3), "or what is allowed");
    }

    #[test]
    fn the_wait_is_what_was_seen_and_a_quarter_and_never_more_than_is_allowed() {
        for (late, expected) in [(1, 10), (8, 10), (20, 25), (48, 60), (50, 60), (60, 60)] {
            let (reordering, now) = overtaken(ms(late));
            assert_eq!(reordering.wait(now), ms(expected), "{late}");
            assert_eq!(reordering.seen(now), ms(late));
        }
        let (reordering, now) = overtaken(MOST + Duration::from_nanos(1));
        assert_eq!(reordering.wait(now), WAIT_MIN, "no wait would have caught it");
    }

    #[test]
    fn what_was_seen_halves_every_ten_seconds_until_it_is_forgotten() {
        let (reordering, now) = overtaken(ms(40));
        let nanosecond = Duration::from_nanos(1);
        for (halvings, seen) in [(1, 40), (2, 20), (3, 10), (4, 5)] {
            let end = now + HALF_LIFE * halvings;
            assert_eq!(reordering.seen(end - nanosecond), ms(seen));
            assert_eq!(reordering.seen(end), ms(seen) / 2);
        }
        assert_eq!(reordering.seen(now + HALF_LIFE * 6), ms(0));
        assert_eq!(reordering.seen(now + HALF_LIFE * 1_000), ms(0));
        assert_eq!(reordering.wait(now + HALF_LIFE * 6), WAIT_MIN);
    }

    #[test]
    fn a_shorter_lateness_takes_the_place_of_a_longer_one_only_when_that_has_faded() {
        let (mut reordering, now) = overtaken(ms(40));
        let at = now + ms(5_000);
        reordering.came(4, at);
        reordering.came(3, at + ms(15));
        assert_eq!(reordering.seen(at + ms(15)), ms(40));
        let at = now + HALF_LIFE * 2;
        reordering.came(6, at);
        reordering.came(5, at + ms(15));
        assert_eq!(reordering.seen(at + ms(15)), ms(15));
    }

    #[test]
    fn the_first_packet_that_overtook_another_counts_and_is_remembered_for_64_packets() {
        let (mut reordering, start) = (Reordering::new(MOST), origin());
        // Number 0 is missing; those after it come one a millisecond.
        for seq in 1..RISES_MAX as u64 {
            reordering.came(seq, start + ms(seq));
        }
        reordering.came(0, start + ms(11));
        assert_eq!(reordering.seen(start + ms(11)), ms(10), "since number 1");
        // One more: it cannot be told any longer which one was the first.
        let (mut reordering, start) = (Reordering::new(MOST), origin());
        for seq in 1..=RISES_MAX as u64 {
            reordering.came(seq, start);
        }
        reordering.came(0, start + ms(30));
        assert_eq!(reordering.seen(start + ms(30)), ms(0));
    }

    #[test]
    fn another_stream_begins_with_what_the_network_has_shown() {
        let (mut reordering, now) = overtaken(ms(40));
        reordering.restart();
        reordering.came(0, now);
        assert_eq!(reordering.seen(now), ms(40));
    }
}
