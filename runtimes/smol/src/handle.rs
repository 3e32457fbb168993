//! The application's side of a driver.

use std::net::SocketAddr;
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use smallrtc::EndpointStats;
use smallrtc::signaling::Response;
use smallrtc_udp::SocketStats;

use crate::Peer;
use crate::link::{Answer, Bell};

/// Requests on their way to the machine. More wait in the caller's hands.
pub const REQUESTS_MAX: usize = 64;

/// Calls that nobody accepted yet; one more is closed. 64: a burst of callers that a task which
/// accepts and spawns takes in its next turn.
pub const BACKLOG_MAX: usize = 64;

/// Speaks to a [`Driver`](crate::Driver): HTTP requests in, calls out. Cheap to clone; the driver
/// ends when every handle is gone and every call has ended.
#[derive(Clone, Debug)]
pub struct Handle {
    inner: Arc<Inner>,
    addresses: Arc<[SocketAddr]>,
}

#[derive(Debug)]
struct Inner {
    bell: Arc<Bell>,
    requests: Sender<HandleCommand>,
    calls: Receiver<Peer>,
}

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum HandleCommand {
    Request {
        method: String,
        path: String,
        body: Vec<u8>,
        answer: Answer<Response>,
    },
    Stats(Answer<HandleStats>),
    /// Answered by being dropped, when all has ended.
    Close(Answer<()>),
}

/// Figures of a driver and its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleStats {
    /// Calls that are open.
    pub sessions: usize,
    /// Calls that were closed because nobody accepted them in time.
    pub calls_refused: u64,
    /// The endpoint's figures.
    pub endpoint: EndpointStats,
    /// The figures of all sockets together, as of the turn before.
    pub sockets: SocketStats,
}

impl Handle {
    pub(crate) fn new(
        bell: Arc<Bell>,
        requests: Sender<HandleCommand>,
        calls: Receiver<Peer>,
    ) -> Handle {
        Handle { inner: Arc::new(Inner { bell, requests, calls }), addresses: Arc::new([]) }
    }

    pub(crate) fn at(mut self, addresses: Vec<SocketAddr>) -> Handle {
        self.addresses = addresses.into();
        self
    }

    /// Answers an HTTP request of a SmallWebRTC client (`POST` or `PATCH /api/offer`). `path` has
    /// no query. The answer's body is JSON; its status is 503 when the driver is gone or closing.
    pub async fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        let (method, path, body) = (method.to_owned(), path.to_owned(), body.to_vec());
        let response =
            self.ask(|answer| HandleCommand::Request { method, path, body, answer }).await;
        response.unwrap_or_else(|| Response::unavailable("the server is shutting down"))
    }

    /// The next call; `None` when the driver is gone or closing. Each call is given out once,
    /// usually before it is connected. A call that nobody accepts is closed when [`BACKLOG_MAX`]
    /// of them wait. Safe to cancel.
    pub async fn accept(&self) -> Option<Peer> {
        let peer = self.inner.calls.recv().await.ok()?;
        peer.start();
        Some(peer)
    }

    /// Ends every call (clients get `peerLeft`) and takes no new one; returns when all have
    /// ended and the last datagrams are sent, at the latest after `Config::linger`.
    /// `Driver::run` returns then, too.
    pub async fn close(&self) {
        let _ = self.ask(HandleCommand::Close).await;
    }

    /// Figures; `None` when the driver is gone.
    pub async fn stats(&self) -> Option<HandleStats> {
        self.ask(HandleCommand::Stats).await
    }

    /// The local addresses of the UDP sockets, in the order of `Options::udp`.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> HandleCommand) -> Option<T> {
        let (answer, answered) = async_channel::bounded(1);
        self.inner.requests.send(command(answer)).await.ok()?;
        self.inner.bell.ring();
        answered.recv().await.ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Calls that nobody can accept any more are dropped, and so closed.
        self.calls.close();
        while self.calls.try_recv().is_ok() {}
        self.requests.close();
        self.bell.ring();
    }
}
