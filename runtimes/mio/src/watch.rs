//! How a socket that is not mio's own is watched by mio.
//!
//! On unix that takes its file descriptor. Elsewhere mio only watches sockets of its own kind, so
//! it gets a second name of the same socket; and because it does not see what is done through the
//! first one, it must be told when that would have blocked, or it tells of no readiness again.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

#[cfg(unix)]
use std::os::fd::AsRawFd;

use mio::event::Source;
#[cfg(unix)]
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

#[derive(Debug)]
pub(crate) struct Watched {
    #[cfg(unix)]
    io: Arc<UdpSocket>,
    #[cfg(not(unix))]
    io: mio::net::UdpSocket,
}

#[cfg(unix)]
impl Watched {
    pub(crate) fn new(io: Arc<UdpSocket>) -> io::Result<Watched> {
        Ok(Watched { io })
    }

    fn source<T>(&mut self, with: impl FnOnce(&mut SourceFd<'_>) -> T) -> T {
        with(&mut SourceFd(&self.io.as_raw_fd()))
    }

    /// What was done through the socket's other name would have blocked.
    pub(crate) fn was_exhausted(&self) {}
}

#[cfg(not(unix))]
impl Watched {
    pub(crate) fn new(io: Arc<UdpSocket>) -> io::Result<Watched> {
        Ok(Watched { io: mio::net::UdpSocket::from_std(io.try_clone()?) })
    }

    fn source<T>(&mut self, with: impl FnOnce(&mut mio::net::UdpSocket) -> T) -> T {
        with(&mut self.io)
    }

    /// What was done through the socket's other name would have blocked.
    pub(crate) fn was_exhausted(&self) {
        let _ = self.io.try_io(|| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    }
}

impl Watched {
    pub(crate) fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source(|source| source.register(registry, token, interest))
    }

    pub(crate) fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.source(|source| source.reregister(registry, token, interest))
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.source(|source| source.deregister(registry))
    }
}
