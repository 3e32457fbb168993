//! How close sound has come to its packet lately, and where that leads.
//!
//! A margin is by how much a block came before the packet was due that it was needed for. Of each
//! second the least is kept: no jitter added to it. What that changes by from second to second is
//! what the two clocks drift: the median of all slopes, which one late block does not move.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Of how many seconds the least margin is kept. 30: "all the time".
const SECONDS_MAX: usize = 30;

/// How many of them tell of the drift. 10 of them; and 3 at least.
const SLOPE_SECONDS: usize = 10;
const SLOPE_SECONDS_MIN: usize = 3;

/// No two clocks drift more. 500 ppm, in nanoseconds a second.
const SLOPE_MAX: i64 = 500_000;

const SECOND: Duration = Duration::from_secs(1);

/// Margins, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// When the second ends that runs, and the least of its margins.
    ends: Option<Instant>,
    least: Option<i64>,
    /// Of each of the seconds before, oldest first.
    seconds: VecDeque<i64>,
    /// By how much margins change in a second.
    slope: i64,
}

impl Watch {
    /// A block came.
    pub(super) fn note(&mut self, margin: i64, now: Instant) {
        if now >= *self.ends.get_or_insert(now + SECOND) {
            self.ends = Some(now + SECOND);
            if self.seconds.len() == SECONDS_MAX {
                self.seconds.pop_front();
            }
            self.seconds.extend(self.least.take());
            self.slope = self.median_slope();
        }
        self.least = Some(self.least.map_or(margin, |least| least.min(margin)));
    }

    /// The least of all margins, as it would be now at the drift that is seen.
    pub(super) fn least(&self) -> Option<i64> {
        let ages = (1..=self.seconds.len() as i64).rev();
        let before = self.seconds.iter().zip(ages).map(|(least, age)| least + age * self.slope);
        before.chain(self.least).min()
    }

    /// The least of the last seconds, `None` before there were as many.
    pub(super) fn least_of(&self, seconds: usize) -> Option<i64> {
        let first = self.seconds.len().checked_sub(seconds)?;
        self.seconds.range(first..).copied().chain(self.least).min()
    }

    /// By how much margins change in a second.
    pub(super) fn slope(&self) -> i64 {
        self.slope
    }

    /// Whether margins were watched for as long as they are kept.
    pub(super) fn is_full(&self) -> bool {
        self.seconds.len() == SECONDS_MAX
    }

    /// Margins are larger by so much from now on, and count as if they had been.
    pub(super) fn shift(&mut self, nanos: i64) {
        self.seconds.iter_mut().chain(&mut self.least).for_each(|least| *least += nanos);
    }

    /// Of two medians the one nearer to none.
    fn median_slope(&self) -> i64 {
        let first = self.seconds.len().saturating_sub(SLOPE_SECONDS);
        let recent: Vec<i64> = self.seconds.range(first..).copied().collect();
        if recent.len() < SLOPE_SECONDS_MIN {
            return 0;
        }
        let mut slopes = Vec::new();
        for (at, from) in recent.iter().enumerate() {
            let after = recent[at + 1..].iter().zip(1..);
            slopes.extend(after.map(|(to, seconds): (_, i64)| (to - from) / seconds));
        }
        slopes.sort_unstable();
        let (low, high) = (slopes[(slopes.len() - 1) / 2], slopes[slopes.len() / 2]);
        let median = 0.clamp(low, high);
        median.clamp(-SLOPE_MAX, SLOPE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each second's margins, three of them.
    fn watched(seconds: impl IntoIterator<Item = i64>) -> Watch {
        let mut watch = Watch::default();
        let mut now = crate::tape::now();
        for least in seconds {
            for more in [5, 0, 9] {
                watch.note(least + more, now);
                now += SECOND / 3 + Duration::from_nanos(1);
            }
        }
        watch
    }

    #[test]
    fn the_least_margin_counts_for_thirty_seconds() {
        let margins = |after| std::iter::once(3).chain(std::iter::repeat_n(7, after));
        let watch = watched(margins(29));
        assert_eq!((watch.least(), watch.is_full()), (Some(3), false));
        let watch = watched(margins(30));
        assert_eq!((watch.least(), watch.is_full()), (Some(3), true));
        let watch = watched(margins(31));
        assert_eq!((watch.least(), watch.seconds.len()), (Some(7), SECONDS_MAX));
        assert_eq!(Watch::default().least(), None);
    }

    #[test]
    fn what_clocks_drift_is_known_after_three_seconds_and_one_late_block_is_no_drift() {
        let drift = |second: i64| 14_000_000 - 200_000 * second;
        assert_eq!(watched((0..3).map(drift)).slope(), 0);
        assert_eq!(watched((0..4).map(drift)).slope(), -200_000);
        let late = |second: i64| if second == 12 { 1_000_000 } else { drift(second) };
        assert_eq!(watched((0..20).map(late)).slope(), -200_000);
        assert_eq!(watched((0..9).map(|second| second * 9_000_000)).slope(), SLOPE_MAX);
        assert_eq!(watched([9, 9, 9, 9, -9_000_000, 0]).slope(), 0);
    }

    #[test]
    fn margins_of_before_count_as_what_they_would_be_now() {
        let watch = watched((0..20).map(|second| second * 100_000));
        assert_eq!(watch.least(), Some(1_900_000));
        assert_eq!(watch.least_of(4), Some(1_500_000));
        assert_eq!(watched([1, 2]).least_of(4), None);
        let mut watch = watched([1, 2, 3, 4, 5]);
        watch.shift(10);
        assert_eq!(watch.least_of(4), Some(11));
    }
}
