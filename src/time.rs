//! Time that logs and other languages can hold.

use std::time::{Duration, Instant};

/// The earlier of two deadlines, if either is set. What an iterator over those that are set costs
/// is several times as much, and this is asked several times for each packet.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A fixed point that maps `Instant`, which has no value of its own, to a `Duration`.
///
/// ```
/// use smallrtc::Epoch;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let epoch = Epoch::new(start);
/// let later = start + Duration::from_millis(20);
/// assert_eq!(epoch.since(later), Duration::from_millis(20));
/// assert_eq!(epoch.at(Duration::from_millis(20)), later);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(Instant);

impl Epoch {
    /// An epoch that begins at `start`.
    #[must_use]
    pub fn new(start: Instant) -> Epoch {
        Epoch(start)
    }

    /// The time from the epoch to `now`; zero when `now` lies before it.
    #[must_use]
    pub fn since(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0)
    }

    /// The instant that lies `elapsed` after the epoch.
    ///
    /// # Panics
    /// When there is no such `Instant`: some hundred years ahead on every platform.
    #[must_use]
    pub fn at(self, elapsed: Duration) -> Instant {
        self.0 + elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    fn times_before_the_epoch_are_zero_and_later_ones_come_back() {
        let start = Instant::now();
        let (epoch, second) = (Epoch::new(start), Duration::from_secs(1));
        assert_eq!(epoch.since(start), Duration::ZERO);
        assert_eq!(Epoch::new(start + second).since(start), Duration::ZERO);
        for later in [Duration::ZERO, Duration::from_nanos(1), 86_400 * second] {
            assert_eq!(epoch.since(epoch.at(later)), later);
        }
    }
}
