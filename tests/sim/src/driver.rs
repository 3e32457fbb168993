//! How punctual the bots' driver is.

use std::time::{Duration, Instant};

/// How a driver wakes. The core promises that early, late and repeated wake-ups do no harm.
/// Whoever names some of it takes the rest from [`DriverConfig::punctual`], which is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverConfig {
    /// Up to so late it wakes after a deadline or an arrival, evenly distributed.
    pub late: Duration,
    /// Up to so many timeouts more than are due it handles at one instant.
    pub burst: usize,
    /// It wakes without a reason, so often on average, while it waits for anything at all.
    pub spurious: Option<Duration>,
}

impl DriverConfig {
    /// At once, once, and only with a reason.
    #[must_use]
    pub fn punctual() -> DriverConfig {
        DriverConfig { late: Duration::ZERO, burst: 0, spurious: None }
    }

    /// What a loaded machine does: up to 15 ms late, up to three timeouts too many, and awake
    /// for nothing every 40 ms.
    #[must_use]
    pub fn sloppy() -> DriverConfig {
        DriverConfig {
            late: Duration::from_millis(15),
            burst: 3,
            spurious: Some(Duration::from_millis(40)),
        }
    }
}

impl Default for DriverConfig {
    fn default() -> DriverConfig {
        DriverConfig::punctual()
    }
}

/// Draws the wake-ups of one driver.
#[derive(Debug)]
pub(crate) struct Driver {
    config: DriverConfig,
    is_punctual: bool,
    random: fastrand::Rng,
    /// What is waited for, and when the driver wakes for it.
    plan: Option<Plan>,
    spurious_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Plan {
    due: Instant,
    at: Instant,
}

impl Driver {
    pub(crate) fn new(config: DriverConfig, seed: u64) -> Driver {
        Driver {
            config,
            is_punctual: config == DriverConfig::punctual(),
            random: fastrand::Rng::with_seed(seed),
            plan: None,
            spurious_at: None,
        }
    }

    /// When it wakes, if `due` is what it waits for. Asking again changes nothing.
    #[inline]
    pub(crate) fn wake_at(&mut self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        let Some(due) = due else {
            (self.plan, self.spurious_at) = (None, None);
            return None;
        };
        if self.is_punctual {
            // Nothing to draw, and so no plan to keep.
            return Some(due);
        }
        self.planned(due, now)
    }

    #[inline(never)]
    fn planned(&mut self, due: Instant, now: Instant) -> Option<Instant> {
        if self.plan.is_none_or(|plan| plan.due != due) {
            let drawn = due + self.draw(self.config.late);
            // What comes before a deadline makes no wake-up later than it was to be.
            let at =
                self.plan.filter(|plan| due < plan.due).map_or(drawn, |plan| drawn.min(plan.at));
            self.plan = Some(Plan { due, at });
        }
        if let (None, Some(mean)) = (self.spurious_at, self.config.spurious) {
            self.spurious_at = Some(now + Duration::from_nanos(1) + self.draw(mean * 2));
        }
        let planned = self.plan.map(|plan| plan.at);
        [planned, self.spurious_at].into_iter().flatten().min()
    }

    /// Whether it is awake, when it was to wake at this time.
    pub(crate) fn wakes(&mut self, wake_at: Option<Instant>, now: Instant) -> bool {
        let wakes = wake_at.is_some_and(|at| at <= now);
        if wakes {
            self.plan = None;
            self.spurious_at = self.spurious_at.filter(|at| *at > now);
        }
        wakes
    }

    /// How many timeouts it handles beside those that are due.
    pub(crate) fn too_many(&mut self) -> usize {
        let spurious = usize::from(self.config.spurious.is_some());
        spurious + if self.config.burst == 0 { 0 } else { self.random.usize(..=self.config.burst) }
    }

    /// A punctual driver draws nothing.
    fn draw(&mut self, most: Duration) -> Duration {
        if most.is_zero() { most } else { most.mul_f64(self.random.f64()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_punctual_driver_wakes_when_it_is_due() {
        let mut driver = Driver::new(DriverConfig::punctual(), 1);
        assert_eq!(driver.wake_at(Some(start() + MS), start()), Some(start() + MS));
        assert_eq!(driver.wake_at(None, start()), None);
        assert_eq!(driver.too_many(), 0);
    }

    #[test]
    fn a_late_driver_is_late_within_its_bound_and_asking_again_changes_nothing() {
        let late = DriverConfig { late: 10 * MS, ..DriverConfig::punctual() };
        let mut driver = Driver::new(late, 1);
        let mut total = Duration::ZERO;
        for step in 0..1_000 {
            let due = start() + 20 * MS * step;
            let at = driver.wake_at(Some(due), start());
            assert_eq!(at, driver.wake_at(Some(due), start()));
            let late = at.unwrap() - due;
            assert!(late < 10 * MS);
            total += late;
            assert!(driver.wakes(at, at.unwrap()));
        }
        assert!((4_500 * MS..5_500 * MS).contains(&total), "{total:?} in a thousand");
    }

    #[test]
    fn an_earlier_deadline_makes_no_wake_up_later() {
        let late = DriverConfig { late: 100 * MS, ..DriverConfig::punctual() };
        for seed in 0..100 {
            let mut driver = Driver::new(late, seed);
            let first = driver.wake_at(Some(start() + 10 * MS), start()).unwrap();
            let second = driver.wake_at(Some(start() + 9 * MS), start()).unwrap();
            assert!(second <= first);
        }
    }

    #[test]
    fn a_restless_driver_wakes_for_nothing_only_while_it_waits() {
        let restless = DriverConfig { spurious: Some(5 * MS), ..DriverConfig::punctual() };
        let mut driver = Driver::new(restless, 1);
        let far = start() + Duration::from_secs(10);
        let mut now = start();
        let mut wakes = 0;
        while now < far {
            let at = driver.wake_at(Some(far), now);
            now = at.unwrap();
            assert!(driver.wakes(at, now));
            wakes += 1;
        }
        assert!((1_800..2_200).contains(&wakes), "{wakes} wake-ups in 10 s");
        assert_eq!(driver.wake_at(None, now), None);
    }
}
