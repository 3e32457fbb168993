//! The timer that a driver waits on.
//!
//! A wait with a timeout in milliseconds, which is what most reactors offer, is late by half a
//! millisecond at the median and by two at the 99th percentile, for rounding alone. A timer file
//! descriptor counts nanoseconds, and is waited for like a socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Instant;

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that is readable once its deadline has passed (`timerfd` of Linux, monotonic clock).
/// Other systems have none: drivers there wait with the timeout that their reactor offers.
///
/// ```
/// use smallrtc_udp::Alarm;
/// use std::time::{Duration, Instant};
///
/// let mut alarm = Alarm::new()?;
/// let now = Instant::now();
/// alarm.set(Some(now + Duration::from_millis(1)), now)?;
/// // A driver waits here until `alarm.as_fd()` is readable.
/// while !alarm.take_fired()? {}
/// assert!(now.elapsed() >= Duration::from_millis(1));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    at: Option<Instant>,
}

impl Alarm {
    /// A timer that is not set.
    ///
    /// # Errors
    /// What the operating system says: too many files are open.
    pub fn new() -> io::Result<Alarm> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Alarm { timer, at: None })
    }

    /// Moves the deadline; `None` is never. One that has passed fires at once. Costs a system call
    /// only when the deadline really moves.
    ///
    /// # Errors
    /// What the operating system says; never, as long as the timer is open.
    pub fn set(&mut self, at: Option<Instant>, now: Instant) -> io::Result<()> {
        if self.at == at {
            return Ok(());
        }
        // Zero would mean never.
        let wait = at.map(|at| at.saturating_duration_since(now).as_nanos().max(1));
        let value = wait.map_or_else(Timespec::default, |wait| Timespec {
            tv_sec: i64::try_from(wait / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (wait % 1_000_000_000) as _,
        });
        let value = Itimerspec { it_interval: Timespec::default(), it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value)?;
        self.at = at;
        Ok(())
    }

    /// Whether it fired since it was set; it is not set then any more.
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
