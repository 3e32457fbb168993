//! The deadline that a driver waits for.
//!
//! On Linux and Android a timer of nanoseconds in the `Poll` ends the wait, and no timeout is
//! needed. Elsewhere, and for whoever waits without a `Poll`, the wait has a timeout in
//! milliseconds: rounded up, because a wait that ends before the deadline is one for nothing.

use std::io;
use std::time::{Duration, Instant};

use mio::{Registry, Token};

#[cfg(any(target_os = "linux", target_os = "android"))]
use fine::Fine;

/// The deadline, and on systems that have one the timer that is set to it.
#[derive(Debug)]
pub(crate) struct Timer {
    at: Option<Instant>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fine: Option<Fine>,
}

impl Timer {
    pub(crate) fn new() -> Timer {
        Timer {
            at: None,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            fine: None,
        }
    }

    /// Moves the deadline.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        self.at = at;
        match &mut self.fine {
            Some(fine) => fine.set(at),
            None => Ok(()),
        }
    }

    /// Moves the deadline.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
        self.at = at;
        Ok(())
    }

    /// How long to wait at most: `None` when the timer ends the wait, or nothing does.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.fine.is_some() {
            return None;
        }
        self.at.map(|at| whole_millis(at.saturating_duration_since(Instant::now())))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.fine = Some(Fine::register(registry, token)?);
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.fine.take().map_or(Ok(()), |fine| fine.deregister(registry))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn deregister(&mut self, _: &Registry) -> io::Result<()> {
        Ok(())
    }

    /// The timer fired.
    pub(crate) fn on_ready(&mut self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(fine) = &mut self.fine {
            fine.take_fired();
        }
    }
}

/// Rounded up.
fn whole_millis(wait: Duration) -> Duration {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod fine {
    use std::io;
    use std::os::fd::AsRawFd;
    use std::time::Instant;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use smallrtc_udp::Alarm;

    /// A timer in a `Poll`.
    #[derive(Debug)]
    pub(super) struct Fine(Alarm);

    impl Fine {
        pub(super) fn register(registry: &Registry, token: Token) -> io::Result<Fine> {
            let alarm = Alarm::new()?;
            registry.register(&mut SourceFd(&alarm.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Fine(alarm))
        }

        pub(super) fn deregister(self, registry: &Registry) -> io::Result<()> {
            registry.deregister(&mut SourceFd(&self.0.as_raw_fd()))
        }

        pub(super) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
            self.0.set(at)
        }

        /// Setting it again would do as well, but not to the same time.
        pub(super) fn take_fired(&mut self) {
            if let Err(error) = self.0.take_fired() {
                tracing::warn!(%error, "a timer that is open cannot be read");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_in_milliseconds_never_ends_before_its_deadline() {
        let rounded = [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2)];
        for (nanos, millis) in rounded {
            assert_eq!(whole_millis(Duration::from_nanos(nanos)), Duration::from_millis(millis));
        }
        let forever = Duration::MAX;
        assert!(whole_millis(forever) > Duration::from_secs(60 * 60 * 24 * 365));
    }

    #[test]
    fn without_a_timer_the_deadline_is_the_timeout() {
        let mut timer = Timer::new();
        assert_eq!(timer.timeout(), None);
        timer.set(Some(Instant::now())).unwrap();
        assert_eq!(timer.timeout(), Some(Duration::ZERO));
        timer.set(Some(Instant::now() + Duration::from_secs(60))).unwrap();
        let wait = timer.timeout().unwrap();
        assert!(wait > Duration::from_secs(59) && wait <= Duration::from_secs(60), "{wait:?}");
        timer.set(None).unwrap();
        assert_eq!(timer.timeout(), None);
    }
}
