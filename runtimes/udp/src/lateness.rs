//! How late a driver is.
//!
//! [`Lateness`] is the histogram, [`Turns`] the rule by which a driver fills it.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use smallrtc::figures::{Figure, Kind, Value};

/// The longest lateness that is told apart: more is counted as this much.
pub const LATENESS_MAX: Duration = Duration::from_secs(60);

/// Two digits: a histogram of 60 s in nanoseconds takes 30 KiB with two, and 220 KiB
/// with three.
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

impl Value for Lateness {
    fn together(self, other: Lateness) -> Lateness {
        self + other
    }

    /// Nothing: it is more than a number ([`Lateness::quantile`]).
    fn tell(&self, _: &str, _: &'static str, _: Kind, _: &mut dyn FnMut(Figure)) {}
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

/// What a driver tells of its turns, so that its lateness is known.
///
/// A driver calls [`Turns::begin`] when it has read the clock, and [`Turns::end`] when it has sent
/// what there was. Whatever was due meanwhile was late by the time from its deadline to the next
/// turn, whether the driver waited for it or was busy. What is due at once when a turn ends, being
/// more than the budgets of that turn, counts from that turn: no later deadline hides behind it.
///
/// ```
/// use smallrtc_udp::Turns;
/// use std::time::{Duration, Instant};
///
/// let mut turns = Turns::new();
/// let now = Instant::now();
/// turns.begin(now);
/// turns.end(Some(now + Duration::from_millis(20)), now);
/// turns.begin(now + Duration::from_millis(21));
/// assert_eq!(turns.lateness().count(), 1);
/// ```
#[derive(Clone, Default, Debug)]
pub struct Turns {
    due: Option<Instant>,
    lateness: Lateness,
}

impl Turns {
    /// No turn yet.
    #[must_use]
    pub fn new() -> Turns {
        Turns::default()
    }

    /// A turn begins, at the `now` that the sessions are told.
    pub fn begin(&mut self, now: Instant) {
        self.lateness.record_due(self.due.take(), now);
    }

    /// A turn ends that began at `now`; `deadline` is what the sessions want next.
    pub fn end(&mut self, deadline: Option<Instant>, now: Instant) {
        self.due = deadline.map(|deadline| deadline.max(now));
    }

    /// The figures.
    #[must_use]
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn recorded(lateness: &Lateness) -> Vec<(u64, u64)> {
        let micros = |at: Duration| (at.as_nanos() as f64 / 1000.0).round() as u64;
        lateness.iter().map(|(at, count)| (micros(at), count)).collect()
    }

    #[test]
    fn what_is_later_than_the_limit_counts_as_the_limit() {
        let mut lateness = Lateness::new();
        lateness.record(LATENESS_MAX);
        let limit = lateness.max();
        assert!(limit >= LATENESS_MAX && limit.as_secs_f64() < 60.6, "{limit:?}");
        lateness.record(LATENESS_MAX + Duration::from_nanos(1));
        lateness.record(Duration::MAX);
        assert_eq!(lateness.iter().collect::<Vec<_>>(), [(limit, 3)]);
    }

    #[test]
    fn two_digits_are_told_apart_from_nanoseconds_to_the_limit() {
        for nanos in [1, 99, 4_321, 1_000_000, 59_000_000_000] {
            let mut lateness = Lateness::new();
            lateness.record(Duration::from_nanos(nanos));
            let told = lateness.quantile(0.5).as_nanos() as f64;
            assert!((told / nanos as f64 - 1.0).abs() < 0.01, "{nanos} ns became {told}");
        }
    }

    #[test]
    fn two_drivers_are_added_and_none_is_zero() {
        let (mut one, mut two) = (Lateness::new(), Lateness::new());
        assert_eq!(
            (one.count(), one.quantile(0.99), one.max()),
            (0, Duration::ZERO, Duration::ZERO)
        );
        one.record(10 * Duration::from_micros(1));
        two.record(10 * Duration::from_micros(1));
        two.record(50 * Duration::from_micros(1));
        let both = one.clone() + two;
        assert_eq!(recorded(&both), [(10, 2), (50, 1)]);
        assert_eq!(both.clone() + Lateness::default(), both);
        let shown = both.to_string();
        assert_eq!(shown, "3 deadlines, late by p50 10 us, p99 50 us, max 50 us");
    }

    #[test]
    fn a_deadline_counts_from_the_instant_on_at_which_it_is_due() {
        let start = Instant::now();
        let mut lateness = Lateness::new();
        lateness.record_due(None, start);
        lateness.record_due(Some(start + Duration::from_nanos(1)), start);
        assert_eq!(lateness.count(), 0, "not due yet");
        lateness.record_due(Some(start), start);
        assert_eq!((lateness.count(), lateness.max()), (1, Duration::ZERO));
        lateness.record_due(Some(start), start + MILLI);
        assert_eq!(recorded(&lateness).last().map(|(_, count)| *count), Some(1));
        assert!(lateness.max() >= MILLI);
    }

    /// Turns at these milliseconds, each with the deadline that it ends with.
    fn driven(turns: &[(u32, Option<u32>)]) -> Vec<u64> {
        let start = Instant::now();
        let mut driver = Turns::new();
        for (at, deadline) in turns {
            let now = start + MILLI * *at;
            driver.begin(now);
            driver.end(deadline.map(|deadline| start + MILLI * deadline), now);
        }
        let millis = |(at, count)| vec![(at as f64 / 1000.0).round() as u64; count as usize];
        recorded(driver.lateness()).into_iter().flat_map(millis).collect()
    }

    #[test]
    fn a_turn_that_comes_before_the_deadline_counts_nothing() {
        let turns = [(0, Some(20)), (5, Some(20)), (19, Some(40)), (30, None), (99, None)];
        assert_eq!(driven(&turns), Vec::<u64>::new());
    }

    #[test]
    fn a_deadline_that_was_waited_for_counts_once() {
        assert_eq!(
            driven(&[(0, Some(20)), (22, Some(40)), (40, Some(60)), (41, Some(60))]),
            [0, 2]
        );
    }

    #[test]
    fn a_driver_that_never_waits_is_measured_too() {
        // Busy with datagrams: the deadline lies ahead at the end of one turn, behind at the next.
        assert_eq!(driven(&[(0, Some(3)), (8, Some(23)), (16, Some(23)), (24, Some(43))]), [1, 5]);
        // Busy with its own output: something is due at once when each turn ends.
        assert_eq!(driven(&[(10, Some(0)), (14, Some(0)), (20, None)]), [4, 6]);
    }
}
