//! The timer that a driver waits on.
//!
//! A wait with a timeout in milliseconds, which is what most reactors offer, is late by half a
//! millisecond at the median and by two at the 99th percentile, for rounding alone. A timer file
//! descriptor counts nanoseconds, and is waited for like a socket. It is set to a point in time,
//! not to a duration: what a driver does between reading the clock and setting the timer does not
//! delay it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{Errno, read};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

/// Fires at once. Zero would mean never.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 1 };

/// A timer that is readable once its deadline has passed, and never before (`timerfd` of Linux,
/// monotonic clock). Other systems have none: drivers there wait with the timeout that their
/// reactor offers.
///
/// ```
/// use smallrtc_udp::Alarm;
/// use std::time::{Duration, Instant};
///
/// let mut alarm = Alarm::new()?;
/// let deadline = Instant::now() + Duration::from_millis(1);
/// alarm.set(Some(deadline))?;
/// // A driver waits here until `alarm.io()` is readable.
/// while !alarm.take_fired()? {}
/// assert!(Instant::now() >= deadline);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Alarm {
    timer: Arc<OwnedFd>,
    /// One point in time, as the standard library and as the kernel names it. Both read the same
    /// clock, so it holds for good.
    anchor: (Instant, Timespec),
    at: Option<Instant>,
}

impl Alarm {
    /// A timer that is not set. Reads the clock, once, to know the kernel's name for an `Instant`.
    ///
    /// # Errors
    /// What the operating system says: too many files are open.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // In this order, so that what passes between the two makes it late, not early.
        let anchor = (Instant::now(), clock_gettime(ClockId::Monotonic));
        Ok(Alarm { timer: Arc::new(timer), anchor, at: None })
    }

    /// The timer itself, to wait on until it is readable.
    #[must_use]
    pub fn io(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.timer)
    }

    /// Moves the deadline; `None` is never. One that has passed fires at once. Costs a system call
    /// only when the deadline really moves.
    ///
    /// A timer that fired is not readable any more once the deadline was moved: who waits for the
    /// level of readiness needs no [`Alarm::take_fired`].
    ///
    /// # Errors
    /// What the operating system says; never, as long as the timer is open.
    pub fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        let Some(value) = self.moved_to(at) else { return Ok(()) };
        let value = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value)?;
        self.at = at;
        Ok(())
    }

    /// Whether it fired since it was set; it is not set then any more, and setting it to the same
    /// deadline makes it fire again. Who waits for edges calls this at each of them.
    ///
    /// # Errors
    /// What the operating system says; never, as long as the timer is open.
    pub fn take_fired(&mut self) -> io::Result<bool> {
        match read(&self.timer, &mut [0; 8]) {
            Ok(_) => {
                self.at = None;
                Ok(true)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What the kernel is to be told; `None` when the deadline stays where it is.
    fn moved_to(&self, at: Option<Instant>) -> Option<Timespec> {
        (self.at != at).then(|| at.map_or_else(Timespec::default, |at| self.kernel_time(at)))
    }

    fn kernel_time(&self, at: Instant) -> Timespec {
        let (instant, kernel) = self.anchor;
        let anchor = Duration::try_from(kernel).unwrap_or_default();
        let time = match at.checked_duration_since(instant) {
            Some(after) => anchor.checked_add(after),
            None => Some(anchor.saturating_sub(instant.saturating_duration_since(at))),
        };
        let time = time.unwrap_or(Duration::MAX);
        if time.is_zero() {
            return AT_ONCE;
        }
        // More than the kernel can count is never reached either way.
        Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        }
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a loaded machine needs to notice a timer.
    const PATIENCE: Duration = Duration::from_secs(5);
    /// Far enough away that no test reaches it.
    const FAR: Duration = Duration::from_secs(3600);
    const SOON: Duration = Duration::from_millis(2);

    /// Spins until the alarm fires: no reactor is needed, and none makes it late.
    fn wait(alarm: &mut Alarm) -> Instant {
        let give_up = Instant::now() + PATIENCE;
        while !alarm.take_fired().unwrap() {
            assert!(Instant::now() < give_up, "it does not fire");
        }
        Instant::now()
    }

    fn spin_past(at: Instant) {
        while Instant::now() <= at {}
    }

    #[test]
    fn it_fires_after_its_deadline_and_never_before() {
        let mut alarm = Alarm::new().unwrap();
        for nanos in [1, 999, 50_000, 999_999, 1_000_001, 2_345_678] {
            for _ in 0..20 {
                let deadline = Instant::now() + Duration::from_nanos(nanos);
                alarm.set(Some(deadline)).unwrap();
                assert!(wait(&mut alarm) >= deadline, "early for {nanos} ns");
            }
        }
    }

    #[test]
    fn one_that_was_moved_earlier_fires_then() {
        let mut alarm = Alarm::new().unwrap();
        let start = Instant::now();
        alarm.set(Some(start + FAR)).unwrap();
        assert!(!alarm.take_fired().unwrap());
        alarm.set(Some(start + SOON)).unwrap();
        assert!(wait(&mut alarm) >= start + SOON);
    }

    #[test]
    fn one_that_was_moved_later_or_cleared_does_not_fire_at_the_old_deadline() {
        let mut alarm = Alarm::new().unwrap();
        for moved in [Some(Instant::now() + FAR), None] {
            let old = Instant::now() + SOON;
            alarm.set(Some(old)).unwrap();
            alarm.set(moved).unwrap();
            spin_past(old + SOON);
            assert!(!alarm.take_fired().unwrap());
        }
    }

    #[test]
    fn one_that_fired_is_not_readable_any_more_once_it_was_moved_or_cleared() {
        let mut alarm = Alarm::new().unwrap();
        for moved in [Some(Instant::now() + FAR), None] {
            let deadline = Instant::now();
            alarm.set(Some(deadline)).unwrap();
            spin_past(deadline);
            alarm.set(moved).unwrap();
            assert!(!alarm.take_fired().unwrap());
        }
    }

    #[test]
    fn a_deadline_that_has_passed_fires_at_once_even_if_it_was_before_the_alarm() {
        let now = Instant::now();
        let mut alarm = Alarm::new().unwrap();
        let before_the_machine = now.checked_sub(Duration::from_secs(1 << 40)).unwrap_or(now);
        for passed in [now, now - Duration::from_millis(1), before_the_machine] {
            alarm.set(Some(passed)).unwrap();
            wait(&mut alarm);
            assert!(!alarm.take_fired().unwrap(), "once");
        }
    }

    #[test]
    fn the_same_deadline_tells_the_kernel_nothing_and_fires_again_after_it_fired() {
        let mut alarm = Alarm::new().unwrap();
        assert_eq!(alarm.moved_to(None), None);
        let deadline = Instant::now() + SOON;
        assert!(alarm.moved_to(Some(deadline)).is_some());
        alarm.set(Some(deadline)).unwrap();
        assert_eq!(alarm.moved_to(Some(deadline)), None);
        alarm.set(Some(deadline)).unwrap();
        wait(&mut alarm);
        alarm.set(Some(deadline)).unwrap();
        wait(&mut alarm);
    }

    #[test]
    fn a_deadline_beyond_what_the_kernel_counts_is_never() {
        let mut alarm = Alarm::new().unwrap();
        let mut end_of_time = Instant::now();
        for power in (0..63).rev() {
            let further = end_of_time.checked_add(Duration::from_secs(1 << power));
            end_of_time = further.unwrap_or(end_of_time);
        }
        alarm.set(Some(end_of_time)).unwrap();
        assert!(!alarm.take_fired().unwrap());
    }
}
