//! Clocks that run a little faster or slower than the bots', and which of some instants is first.

use std::time::{Duration, Instant};

use crate::start;

const MILLION: u128 = 1_000_000;

/// A browser's clock. Both clocks agree when virtual time begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    drift_ppm: i32,
}

impl Clock {
    /// A clock that gains so many microseconds in a second, or loses them.
    ///
    /// # Panics
    /// When it would stand or run backwards.
    pub(crate) fn new(drift_ppm: i32) -> Clock {
        assert!(drift_ppm.unsigned_abs() < 1_000_000, "a clock that runs: {drift_ppm} ppm");
        Clock { drift_ppm }
    }

    /// What it shows at an instant.
    #[inline]
    pub(crate) fn shows(self, now: Instant) -> Instant {
        if self.drift_ppm == 0 {
            return now;
        }
        match now.checked_duration_since(start()) {
            Some(elapsed) => start() + nanos(self.shown(elapsed.as_nanos())),
            // Whatever lies before the beginning is just past.
            None => now,
        }
    }

    /// The first instant at which it shows this time or a later one.
    pub(crate) fn when(self, shown: Instant) -> Instant {
        if self.drift_ppm == 0 {
            return shown;
        }
        match shown.checked_duration_since(start()) {
            Some(shown) => {
                let shown = shown.as_nanos();
                let mut elapsed = shown * MILLION / self.rate();
                while self.shown(elapsed) < shown {
                    elapsed += 1;
                }
                start() + nanos(elapsed)
            }
            None => shown,
        }
    }

    /// Its microseconds in a second of the bots'.
    fn rate(self) -> u128 {
        MILLION.checked_add_signed(i128::from(self.drift_ppm)).expect("checked when it was made")
    }

    fn shown(self, elapsed: u128) -> u128 {
        elapsed * self.rate() / MILLION
    }
}

/// The first of some instants. A plain loop, which is a fraction of what an iterator over those
/// that are there costs, and this runs several times for each packet.
pub(crate) fn earliest(instants: [Option<Instant>; 3]) -> Option<Instant> {
    let mut first = None;
    for instant in instants {
        if instant.is_some() && (first.is_none() || instant < first) {
            first = instant;
        }
    }
    first
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).expect("virtual time is shorter than 500 years"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_ppm_are_seven_tenths_of_a_second_in_an_hour() {
        let hour = Duration::from_secs(3_600);
        let gained = Clock::new(200).shows(start() + hour) - (start() + hour);
        assert_eq!(gained, Duration::from_millis(720));
        let lost = (start() + hour) - Clock::new(-200).shows(start() + hour);
        assert_eq!(lost, Duration::from_millis(720));
    }

    #[test]
    fn an_alarm_rings_as_soon_as_the_clock_shows_its_time_and_not_before() {
        for drift_ppm in [-500_000, -200, -1, 0, 1, 3, 200, 500_000] {
            let clock = Clock::new(drift_ppm);
            for step in 0..2_000_u64 {
                let shown = start() + Duration::from_nanos(step * 1_234_567 + step);
                let at = clock.when(shown);
                assert!(clock.shows(at) >= shown, "{drift_ppm} ppm, step {step}");
                if at > start() {
                    let before = at - Duration::from_nanos(1);
                    assert!(clock.shows(before) < shown, "{drift_ppm} ppm, step {step}");
                }
            }
        }
    }

    #[test]
    fn a_clock_may_run_at_a_millionth_of_the_pace() {
        let second = Duration::from_secs(1);
        let slow = Clock::new(-999_999);
        assert_eq!(slow.shows(start() + second) - start(), Duration::from_micros(1));
        assert_eq!(slow.when(start() + Duration::from_micros(1)), start() + second);
    }

    #[test]
    #[should_panic(expected = "a clock that runs: -1000000 ppm")]
    fn a_clock_may_not_stand() {
        let _ = Clock::new(-1_000_000);
    }
}
