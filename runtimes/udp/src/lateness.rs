//! How late a driver is.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The longest lateness that is told apart: more is counted as this much.
pub const LATENESS_MAX: Duration = Duration::from_secs(60);

/// Two digits: a histogram of 60 s in nanoseconds takes 50 KiB with three, 7 KiB with two.
const DIGITS: u8 = 2;

/// The lateness of a driver's turns: how long after a deadline the sessions were told of it.
///
/// ```
/// use smallrtc_udp::Lateness;
/// use std::time::Duration;
///
/// let mut lateness = Lateness::new();
/// for late in 1..=100 {
///     lateness.record(Duration::from_micros(late));
/// }
/// assert_eq!(lateness.count(), 100);
/// assert_eq!(lateness.quantile(0.5).as_micros(), 50);
/// assert_eq!(lateness.max().as_micros(), 100);
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Lateness {
    nanos: Histogram<u64>,
}

impl Lateness {
    /// No deadline yet.
    #[must_use]
    pub fn new() -> Lateness {
        let nanos = Histogram::new_with_bounds(1, LATENESS_MAX.as_nanos() as u64, DIGITS)
            .expect("the bounds are apart and the digits at most five");
        Lateness { nanos }
    }

    /// Takes note of one deadline.
    pub fn record(&mut self, late: Duration) {
        self.nanos.saturating_record(late.min(LATENESS_MAX).as_nanos() as u64);
    }

    /// Takes note of a deadline if it has passed at `now`.
    pub fn record_due(&mut self, deadline: Option<Instant>, now: Instant) {
        if let Some(late) = deadline.and_then(|deadline| now.checked_duration_since(deadline)) {
            self.record(late);
        }
    }

    /// Deadlines that passed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// The lateness that a part of the deadlines, 0 to 1, did not exceed, to two digits; zero
    /// when there was none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.nanos.value_at_quantile(part))
    }

    /// The longest one, to two digits.
    #[must_use]
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.nanos.max())
    }

    /// Each lateness that occurred, shortest first, to two digits, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.nanos
            .iter_recorded()
            .map(|step| (Duration::from_nanos(step.value_iterated_to()), step.count_at_value()))
    }
}

impl Default for Lateness {
    fn default() -> Lateness {
        Lateness::new()
    }
}

impl Add for Lateness {
    type Output = Lateness;

    /// The deadlines of two drivers together.
    fn add(mut self, other: Lateness) -> Lateness {
        self.nanos += &other.nanos;
        self
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |at: Duration| at.as_nanos() as f64 / 1000.0;
        write!(
            f,
            "{} deadlines, late by p50 {:.0} us, p99 {:.0} us, max {:.0} us",
            self.count(),
            micros(self.quantile(0.5)),
            micros(self.quantile(0.99)),
            micros(self.max())
        )
    }
}
