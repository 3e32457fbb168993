//! What a crew waits on: a timer of nanoseconds where there is one, else the timeout of the
//! readiness queue, which is rounded up to a millisecond.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

/// The wait of a crew.
#[derive(Debug)]
pub(super) struct Clock {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    alarm: smallrtc_udp::Alarm,
}

impl Clock {
    /// One that wakes up with `token` where it has a timer of its own.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Clock> {
        use std::os::fd::AsRawFd;
        let alarm = smallrtc_udp::Alarm::new()?;
        let fd = alarm.as_raw_fd();
        let source = &mut mio::unix::SourceFd(&fd);
        registry.register(source, token, mio::Interest::READABLE)?;
        Ok(Clock { alarm })
    }

    /// One that has no timer of its own.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Clock> {
        Ok(Clock {})
    }

    /// Waits for an event, at most until `at`.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        at: Option<Instant>,
    ) -> io::Result<()> {
        let now = Instant::now();
        if at.is_some_and(|at| at <= now) {
            return poll.poll(events, Some(Duration::ZERO));
        }
        self.alarm.set(at)?;
        poll.poll(events, None)?;
        // Edges only are told of, so what fired is always taken; it costs a call to ask.
        if at.is_some_and(|at| at <= Instant::now()) {
            self.alarm.take_fired()?;
        }
        Ok(())
    }

    /// Waits for an event, at most until `at`.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        at: Option<Instant>,
    ) -> io::Result<()> {
        let wait = at.map(|at| at.saturating_duration_since(Instant::now()));
        poll.poll(events, wait.map(|wait| wait.max(Duration::ZERO)))
    }
}
