//! How other threads wake the `Poll` that a driver is registered in.
//!
//! mio allows one `Waker` in a `Poll`, and that one is the host's: in debug builds a second one
//! panics, and otherwise it is unspecified what it does. So on unix the driver has a pipe of its
//! own, which may be registered beside anything. Elsewhere there is no such thing, and the driver
//! takes the `Waker`.

use std::io;

use mio::{Registry, Token};

/// Registered for as long as it lives.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Wakeup {
    pipe: mio::unix::pipe::Receiver,
}

#[cfg(unix)]
impl Wakeup {
    /// Gives what wakes, from any thread, with it.
    pub(crate) fn register(
        registry: &Registry,
        token: Token,
    ) -> io::Result<(Wakeup, impl Fn() + Send + Sync + use<>)> {
        use std::io::Write;

        let (sender, mut pipe) = mio::unix::pipe::new()?;
        registry.register(&mut pipe, token, mio::Interest::READABLE)?;
        // A pipe that is full wakes as it is, and one that is closed has nobody to wake.
        let wake = move || while is_interrupted(&(&sender).write(&[1])) {};
        Ok((Wakeup { pipe }, wake))
    }

    pub(crate) fn deregister(mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.pipe)
    }

    /// Empties the pipe, so that the next byte is news. Whoever rings does so at most once a turn,
    /// so there is hardly more than one.
    pub(crate) fn on_ready(&mut self) {
        use std::io::Read;

        let mut bytes = [0; 64];
        loop {
            match (&self.pipe).read(&mut bytes) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
            }
        }
    }
}

#[cfg(unix)]
fn is_interrupted(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
}

/// Registered for as long as it lives.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Wakeup {
    _waker: std::sync::Arc<mio::Waker>,
}

#[cfg(not(unix))]
impl Wakeup {
    /// Gives what wakes, from any thread, with it.
    pub(crate) fn register(
        registry: &Registry,
        token: Token,
    ) -> io::Result<(Wakeup, impl Fn() + Send + Sync + use<>)> {
        let waker = std::sync::Arc::new(mio::Waker::new(registry, token)?);
        let other = std::sync::Arc::clone(&waker);
        let wake = move || {
            if let Err(error) = other.wake() {
                tracing::warn!(%error, "the driver's thread was not woken");
            }
        };
        Ok((Wakeup { _waker: waker }, wake))
    }

    pub(crate) fn deregister(self, _: &Registry) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn on_ready(&mut self) {}
}
