//! The timer of a driver, as its reactor knows it: one for the whole life of the driver, moved only
//! when the deadline moves.
//!
//! | system | timer | late by |
//! | --- | --- | --- |
//! | Linux, Android | a timer file descriptor, watched like a socket | tens of microseconds |
//! | others | the reactor's own, which some poll in milliseconds | up to two milliseconds |

pub(crate) use timer::Alarm;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod timer {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Instant;

    use async_io::Async;

    #[derive(Debug)]
    pub(crate) struct Alarm {
        timer: smallrtc_udp::Alarm,
        watched: Async<Arc<OwnedFd>>,
    }

    impl Alarm {
        pub(crate) fn new() -> io::Result<Alarm> {
            let timer = smallrtc_udp::Alarm::new()?;
            let watched = Async::new_nonblocking(timer.io())?;
            Ok(Alarm { timer, watched })
        }

        pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
            self.timer.set(at)
        }

        /// Whether a turn is due. It stays so until the deadline is moved, which the turn does, so
        /// that nothing has to be read. What the reactor saw before the deadline was moved may
        /// cost a turn for nothing.
        pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
            match self.watched.poll_readable(cx) {
                Poll::Ready(result) => result.map(|()| true),
                Poll::Pending => Ok(false),
            }
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod timer {
    use std::io;
    use std::pin::Pin;
    use std::task::Context;
    use std::time::Instant;

    use async_io::Timer;
    use futures_lite::Stream;

    #[derive(Debug)]
    pub(crate) struct Alarm {
        timer: Timer,
        at: Option<Instant>,
    }

    impl Alarm {
        pub(crate) fn new() -> io::Result<Alarm> {
            Ok(Alarm { timer: Timer::never(), at: None })
        }

        pub(crate) fn set(&mut self, at: Option<Instant>) -> io::Result<()> {
            if self.at == at {
                return Ok(());
            }
            self.at = at;
            match at {
                Some(at) => self.timer.set_at(at),
                None => self.timer.clear(),
            }
            Ok(())
        }

        /// Whether a turn is due.
        pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
            let fired = Pin::new(&mut self.timer).poll_next(cx).is_ready();
            if fired {
                self.at = None;
            }
            Ok(fired)
        }
    }
}
