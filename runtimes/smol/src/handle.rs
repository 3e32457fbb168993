//! The application's side of a driver.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::ops::Add;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_channel::{Receiver, RecvError, Sender};
use smallrtc::signaling::{Request, RequestBuf, Response, SignalingStats, named_call};
use smallrtc::{EndpointStats, Stats};
use smallrtc_udp::{ForwardStats, Lateness, OnWay, Placing, SocketStats};

use crate::Peer;
use crate::link::Bell;
use crate::reply::{self, Answer, Answered};

/// Requests on their way to a machine. More wait in the caller's hands.
pub const REQUESTS_MAX: usize = 64;

/// Calls of a shard that nobody accepted yet; one more is closed. 64: a burst of callers that a
/// task which accepts and spawns takes in its next turn.
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
    /// The number of the first shard; the others follow.
    first: u16,
    shards: Vec<Line>,
    placing: Placing,
    /// The shard whose calls are looked at first by whoever accepts next.
    turn: AtomicUsize,
}

/// What leads to one shard.
#[derive(Debug)]
pub(crate) struct Line {
    bell: Arc<Bell>,
    requests: Sender<HandleCommand>,
    calls: Receiver<Peer>,
}

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum HandleCommand {
    Request {
        request: Box<RequestBuf>,
        /// The call or session that it was sent to this shard for: when there is none here, another
        /// shard is to see it, and the answer is none.
        named: Option<String>,
        /// Counts until it was served.
        on_way: OnWay,
        answer: Answer<Option<Response>>,
    },
    Stats(Answer<HandleStats>),
    /// Take no new call. Answered by being dropped, when no call is left.
    Drain(Answer<()>),
    /// Answered by being dropped, when all has ended.
    Close(Answer<()>),
}

smallrtc::figures! {
    /// Figures of a driver and its endpoints.
    #[derive(Clone, Debug, Default, PartialEq)]
    #[non_exhaustive]
    pub struct HandleStats {
        /// Calls that are open.
        pub sessions: usize,
        /// How many more it would take now.
        pub room: usize,
        /// Whether it takes no new ones, because it is about to end ([`Handle::drain`]).
        pub is_draining: bool,
        /// Calls that were closed because nobody accepted them in time.
        pub calls_refused: u64,
        /// The figures of all calls together, those that ended included; what is measured is the
        /// worst of the calls that are open (`Endpoint::totals`).
        pub calls: Stats,
        /// The figures of signalling.
        pub signaling: SignalingStats,
        /// The endpoint's figures.
        pub endpoint: EndpointStats,
        /// The figures of all sockets together, as of the turn before.
        pub sockets: SocketStats,
        /// How late the driver's turns were, each against the earliest deadline that it served.
        pub lateness: Lateness,
        /// Datagrams that reached another shard than their own.
        pub forward: ForwardStats,
    }
}

impl Handle {
    /// A handle on the shards that follow each other from `first` on.
    pub(crate) fn new(first: u16, shards: Vec<Line>, placing: Placing) -> Handle {
        let inner = Inner { first, shards, placing, turn: AtomicUsize::new(0) };
        Handle { inner: Arc::new(inner), addresses: Arc::new([]) }
    }

    pub(crate) fn at(mut self, addresses: Vec<SocketAddr>) -> Handle {
        self.addresses = addresses.into();
        self
    }

    /// Answers an HTTP request of a SmallWebRTC client of whom nothing is known: without its
    /// address no limit holds for it, and without its headers no page from elsewhere reads the
    /// answer. What a server takes in belongs to [`Handle::serve`].
    pub async fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.serve(Request::new(method, path, body)).await
    }

    /// Answers an HTTP request of a SmallWebRTC client (`smallrtc::signaling` says which there
    /// are). Its status is 503 when the driver is gone or closing.
    ///
    /// Of several shards the one of the call that it names (`pc_id`) or by whose session it comes
    /// answers, or if there is neither the one with the fewest calls and requests on their way, of
    /// equals the first. One that is full or gone is chosen only when all are. The rate limit of a
    /// client is one for all shards.
    pub async fn serve(&self, mut request: Request<'_>) -> Response {
        if let Some(response) = self.ask_named(request).await {
            return response;
        }
        let Inner { shards, placing, .. } = &*self.inner;
        let (mut tried, mut refused) = (Vec::new(), None);
        while let Some(on_way) = placing.least_loaded(&tried) {
            let index = on_way.index();
            match shards[index].request(request, None, on_way).await {
                Some(response) if !response.is_for_another() => return response,
                other => refused = other.or(refused),
            }
            tried.push(index);
            // It is one request of its client, however many shards are asked.
            request.client = request.client.filter(|_| refused.is_none());
        }
        refused.unwrap_or_else(|| Response::unavailable("the server is shutting down"))
    }

    /// What the shard answers whose call the request names; `None` when that is no call.
    async fn ask_named(&self, request: Request<'_>) -> Option<Response> {
        let Inner { first, shards, placing, .. } = &*self.inner;
        if shards.len() == 1 {
            return None;
        }
        let named = named_call(request)?;
        let index = usize::from(named.shard.checked_sub(*first)?);
        let shard = shards.get(index)?;
        shard.request(request, Some(named.name), placing.send_to(index)).await
    }

    /// The next call, of each shard in turn; `None` when the driver is gone or closing. Each call
    /// is given out once, usually before it is connected. A call that nobody accepts is closed when
    /// [`BACKLOG_MAX`] of its shard wait. Safe to cancel.
    pub async fn accept(&self) -> Option<Peer> {
        let Inner { shards, turn, .. } = &*self.inner;
        let mut waits: Vec<Option<Wait<'_>>> =
            shards.iter().map(|shard| Some(Box::pin(shard.calls.recv()) as Wait<'_>)).collect();
        let first = turn.load(Ordering::Relaxed);
        let (index, peer) = poll_fn(|cx| poll_calls(&mut waits, first, cx)).await?;
        // Two who accept at once may look in the same order; the calls come all the same.
        turn.store((index + 1) % shards.len(), Ordering::Relaxed);
        peer.start();
        Some(peer)
    }

    /// Takes no new call any more: such requests get 503. Calls that there are go on; returns when
    /// the last has ended by itself. Whoever does not want to wait longer drops this and calls
    /// [`Handle::close`]. It cannot be taken back.
    pub async fn drain(&self) {
        for mut answer in self.ask_all(HandleCommand::Drain).await.into_iter().flatten() {
            let _ = answer.wait().await;
        }
    }

    /// Calls that are open, and how many more would be taken, as the shards last said: without
    /// asking them.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let placing = &self.inner.placing;
        (placing.sessions(), placing.room())
    }

    /// Ends every call (clients get `peerLeft`) and takes no new one; returns when all have
    /// ended and the last datagrams are sent, at the latest after `Config::linger`.
    /// `Driver::run` returns then, too.
    pub async fn close(&self) {
        for mut answer in self.ask_all(HandleCommand::Close).await.into_iter().flatten() {
            let _ = answer.wait().await;
        }
    }

    /// Figures of all shards together; `None` when the driver is gone.
    pub async fn stats(&self) -> Option<HandleStats> {
        self.shard_stats().await.into_iter().flatten().reduce(HandleStats::add)
    }

    /// Figures of each shard, in their order; `None` for one that is gone.
    pub async fn shard_stats(&self) -> Vec<Option<HandleStats>> {
        let mut stats = Vec::new();
        for answer in self.ask_all(HandleCommand::Stats).await {
            stats.push(match answer {
                Some(mut answer) => answer.wait().await,
                None => None,
            });
        }
        stats
    }

    /// The local addresses of the UDP sockets: of each shard in turn those of `Options::udp`, in
    /// that order.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.inner.shards.len()
    }

    /// Asks every shard before any has answered; none for one that is gone.
    async fn ask_all<T>(
        &self,
        command: impl Fn(Answer<T>) -> HandleCommand,
    ) -> Vec<Option<Answered<T>>> {
        let mut answers = Vec::new();
        for shard in &self.inner.shards {
            answers.push(shard.ask(&command).await);
        }
        answers
    }
}

/// A wait for a call of one shard.
type Wait<'a> = Pin<Box<dyn Future<Output = Result<Peer, RecvError>> + Send + 'a>>;

/// The first call that is there, looking at shard `first` first, and whose it is. Nothing when no
/// shard can have calls any more.
fn poll_calls(
    waits: &mut [Option<Wait<'_>>],
    first: usize,
    cx: &mut Context<'_>,
) -> Poll<Option<(usize, Peer)>> {
    let (before, after) = (0..waits.len()).partition::<Vec<_>, _>(|index| *index < first);
    for index in after.into_iter().chain(before) {
        let Some(wait) = &mut waits[index] else { continue };
        match wait.as_mut().poll(cx) {
            Poll::Ready(Ok(peer)) => return Poll::Ready(Some((index, peer))),
            Poll::Ready(Err(_)) => waits[index] = None,
            Poll::Pending => {}
        }
    }
    if waits.iter().all(Option::is_none) { Poll::Ready(None) } else { Poll::Pending }
}

impl Line {
    pub(crate) fn new(
        bell: Arc<Bell>,
        requests: Sender<HandleCommand>,
        calls: Receiver<Peer>,
    ) -> Line {
        Line { bell, requests, calls }
    }

    /// `None` when the shard is gone, or has not the call that it was asked for.
    async fn request(
        &self,
        request: Request<'_>,
        named: Option<String>,
        on_way: OnWay,
    ) -> Option<Response> {
        let request = Box::new(RequestBuf::from(request));
        let command = |answer| HandleCommand::Request { request, named, on_way, answer };
        self.ask(command).await?.wait().await?
    }

    /// Where the answer will come; `None` when the shard is gone.
    async fn ask<T>(
        &self,
        command: impl FnOnce(Answer<T>) -> HandleCommand,
    ) -> Option<Answered<T>> {
        let (answer, answered) = reply::answer();
        self.requests.send(command(answer)).await.ok()?;
        self.bell.ring();
        Some(answered)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Calls that nobody can accept any more are dropped, and so closed.
        self.calls.close();
        while self.calls.try_recv().is_ok() {}
        self.requests.close();
        self.bell.ring();
    }
}
