//! What other threads have of a driver.

use std::fmt;
use std::net::SocketAddr;
use std::ops::{Add, Range};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use smallrtc::signaling::{Request, RequestBuf, Response, SignalingStats, named_call};
use smallrtc::{Endpoint, EndpointStats, Stats};
use smallrtc_udp::{ForwardStats, Lateness, OnWay, Placing, SocketStats};
use tracing::error;

use crate::bell::{Bell, RingOnDrop};

/// Commands on their way to a driver. 256: what a driver that is busy for 20 ms is sent by a
/// hundred threads that each answer one call. More wait in the caller's hands.
pub const COMMANDS_MAX: usize = 256;

/// Speaks to a driver from other threads. Cheap to clone; the driver ends when every handle is gone
/// and every call has ended.
///
/// It is for other threads than the driver's: an [`App`](crate::App) has the core itself, and
/// whoever turns a [`Driver`](crate::Driver) has its methods. On the thread that took the driver's
/// last turn nothing waits, because it would wait for itself: there what needs an answer gets that
/// of a driver that is gone, [`Handle::close`] begins the end and returns, and [`Handle::post`] is
/// refused while the queue is full. Before the first turn no thread is the driver's: what is asked
/// then waits for somebody else to take it.
#[derive(Clone, Debug)]
pub struct Handle {
    inner: Arc<Inner>,
    /// Which of the shards it speaks to.
    only: Range<usize>,
    /// Of all shards.
    addresses: Arc<[SocketAddr]>,
}

#[derive(Debug)]
struct Inner {
    /// The number of the first shard; the others follow.
    first: u16,
    shards: Vec<Line>,
    placing: Placing,
}

/// What leads to one shard.
#[derive(Debug)]
pub(crate) struct Line {
    commands: SyncSender<Command>,
    // Dropped after the sender, in the order of the fields: whoever is woken by the last handle's
    // end finds the channel without senders.
    bell: RingOnDrop,
}

/// Where the answer to a command goes.
pub(crate) type Answer<T> = SyncSender<T>;

/// Something to be done on the driver's thread.
pub(crate) type Task = Box<dyn FnOnce(&mut Endpoint, Instant) + Send>;

/// What a handle asks for.
pub(crate) enum Command {
    Request {
        request: Box<RequestBuf>,
        /// The call or session that it was sent to this shard for: when there is none here, another
        /// shard is to see it, and there is no answer.
        named: Option<String>,
        /// Counts until it was served.
        on_way: Option<OnWay>,
        answer: Answer<Response>,
    },
    Run(Task),
    Stats(Answer<HandleStats>),
    /// Take no new call. Answered by being dropped, when no call is left.
    Drain(Answer<()>),
    /// Answered by being dropped, when all has ended.
    Close(Answer<()>),
}

impl Command {
    fn request(
        request: Request<'_>,
        named: Option<String>,
        on_way: Option<OnWay>,
        answer: Answer<Response>,
    ) -> Command {
        let request = Box::new(RequestBuf::from(request));
        Command::Request { request, named, on_way, answer }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Command::Request { .. } => "Request",
            Command::Run(_) => "Run",
            Command::Stats(_) => "Stats",
            Command::Drain(_) => "Drain",
            Command::Close(_) => "Close",
        })
    }
}

smallrtc::figures! {
    /// Figures of a driver and its endpoint.
    #[derive(Clone, Debug, Default, PartialEq)]
    #[non_exhaustive]
    pub struct HandleStats {
        /// Calls that are open.
        pub sessions: usize,
        /// How many more it would take now.
        pub room: usize,
        /// Whether it takes no new ones, because it is about to end ([`Handle::drain`]).
        pub is_draining: bool,
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

/// Why something was not left to the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostError {
    /// [`COMMANDS_MAX`] commands wait already.
    Full,
    /// The driver is gone.
    Gone,
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PostError::Full => write!(f, "{COMMANDS_MAX} commands wait, which is the limit"),
            PostError::Gone => f.write_str("the driver is gone"),
        }
    }
}

impl std::error::Error for PostError {}

impl Handle {
    /// A handle on the shards that follow each other from `first` on.
    pub(crate) fn new(first: u16, shards: Vec<Line>, placing: Placing) -> Handle {
        let only = 0..shards.len();
        let inner = Inner { first, shards, placing };
        Handle { inner: Arc::new(inner), only, addresses: Arc::new([]) }
    }

    pub(crate) fn at(mut self, addresses: Vec<SocketAddr>) -> Handle {
        self.addresses = addresses.into();
        self
    }

    /// How many shards it speaks to.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.only.len()
    }

    /// A handle that speaks to one of them, by its number (`Config::place`): to that one's calls.
    #[must_use]
    pub fn of_shard(&self, number: u16) -> Option<Handle> {
        let index = usize::from(number.checked_sub(self.inner.first)?);
        let only = self.only.contains(&index).then_some(index..index + 1)?;
        Some(Handle { only, ..self.clone() })
    }

    /// Answers an HTTP request of a SmallWebRTC client of whom nothing is known: without its
    /// address no limit holds for it, and without its headers no page from elsewhere reads the
    /// answer. What a server takes in belongs to [`Handle::serve`].
    #[must_use]
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        self.serve(Request::new(method, path, body))
    }

    /// Answers an HTTP request of a SmallWebRTC client (`smallrtc::signaling` says which there
    /// are). Its status is 503 when the driver is gone or closing. Waits for the driver.
    ///
    /// Of several shards the one of the call that it names (`pc_id`) or by whose session it comes
    /// answers, or if there is neither the one with the fewest calls and requests on their way, of
    /// equals the first. One that is full or gone is chosen only when all are. The rate limit of a
    /// client is one for all shards.
    #[must_use]
    pub fn serve(&self, request: Request<'_>) -> Response {
        let response = if self.would_wait_for_itself() { None } else { self.place(request) };
        response.unwrap_or_else(|| Response::unavailable("the server is shutting down"))
    }

    /// As [`Handle::try_serve`], of a client of whom nothing is known.
    ///
    /// # Errors
    /// Those of [`Handle::try_serve`].
    pub fn try_request(
        &self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<Receiver<Response>, PostError> {
        self.try_serve(Request::new(method, path, body))
    }

    /// As [`Handle::serve`], and never waits: the answer comes through the channel, which ends
    /// without one when the driver ends before. Of several shards only one is asked, so that a call
    /// that ended meanwhile is not looked for elsewhere.
    ///
    /// # Errors
    /// [`PostError::Full`], [`PostError::Gone`]: nothing was asked then.
    pub fn try_serve(&self, request: Request<'_>) -> Result<Receiver<Response>, PostError> {
        let Inner { shards, placing, .. } = &*self.inner;
        let going = match self.lines() {
            [_] => Some(placing.send_to(self.only.start)),
            _ => match self.named(request) {
                Some((index, _)) => Some(placing.send_to(index)),
                None => placing.least_loaded(&[]),
            },
        };
        let going = going.ok_or(PostError::Gone)?;
        let line = &shards[going.index()];
        let (answer, answered) = sync_channel(1);
        line.try_put(Command::request(request, None, Some(going), answer))?;
        Ok(answered)
    }

    /// What the right shard answers; `None` when all are gone.
    fn place(&self, mut request: Request<'_>) -> Option<Response> {
        if let [one] = self.lines() {
            return one.request(request, None, None);
        }
        if let Some(response) = self.ask_named(request) {
            return Some(response);
        }
        let Inner { shards, placing, .. } = &*self.inner;
        let (mut tried, mut refused) = (Vec::new(), None);
        while let Some(on_way) = placing.least_loaded(&tried) {
            let index = on_way.index();
            match shards[index].request(request, None, Some(on_way)) {
                Some(response) if !response.is_for_another() => return Some(response),
                other => refused = other.or(refused),
            }
            tried.push(index);
            // It is one request of its client, however many shards are asked.
            request.client = request.client.filter(|_| refused.is_none());
        }
        refused
    }

    /// What the shard answers whose call the request names; `None` when that is no call.
    fn ask_named(&self, request: Request<'_>) -> Option<Response> {
        let (index, name) = self.named(request)?;
        let on_way = self.inner.placing.send_to(index);
        self.inner.shards[index].request(request, Some(name), Some(on_way))
    }

    /// The shard of the call that a request names, if there is such a shard, and that name.
    fn named(&self, request: Request<'_>) -> Option<(usize, String)> {
        let named = named_call(request)?;
        let index = usize::from(named.shard.checked_sub(self.inner.first)?);
        (index < self.inner.shards.len()).then_some((index, named.name))
    }

    /// Does something with the calls, on the driver's thread, and gives what it gives; `None` when
    /// the driver is gone. Waits for the driver. What it does must be quick, like all that the
    /// [`App`](crate::App) does. Of several shards the first does it: a session is one of its
    /// shard, so take [`Handle::of_shard`].
    ///
    /// ```no_run
    /// # use smallrtc::{AudioCleared, SessionId};
    /// # fn barge_in(handle: &smallrtc_mio::Handle, id: SessionId) -> Option<AudioCleared> {
    /// handle.run(move |endpoint, now| Some(endpoint.session(id)?.clear_audio(now)))?
    /// # }
    /// ```
    pub fn run<T, F>(&self, task: F) -> Option<T>
    where
        F: FnOnce(&mut Endpoint, Instant) -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.would_wait_for_itself() {
            return None;
        }
        let answered = self.line()?.ask(|answer| {
            Command::Run(Box::new(move |endpoint, now| {
                let _ = answer.try_send(task(endpoint, now));
            }))
        });
        answered?.recv().ok()
    }

    /// Leaves something to be done to the driver, and does not wait for it to be done. The tasks
    /// of one thread are done in their order. Waits while [`COMMANDS_MAX`] commands do. Of several
    /// shards the first does it, as in [`Handle::run`].
    ///
    /// # Errors
    /// [`PostError::Gone`]. A driver that ends right afterwards may leave it undone.
    pub fn post<F>(&self, task: F) -> Result<(), PostError>
    where
        F: FnOnce(&mut Endpoint, Instant) + Send + 'static,
    {
        if self.is_driver_thread() {
            return self.try_post(task);
        }
        let line = self.line().ok_or(PostError::Gone)?;
        line.put(Command::Run(Box::new(task))).ok_or(PostError::Gone)
    }

    /// As [`Handle::post`], and never waits: for threads that must not, the driver's own among
    /// them.
    ///
    /// # Errors
    /// [`PostError::Full`], [`PostError::Gone`]. The task is dropped then.
    pub fn try_post<F>(&self, task: F) -> Result<(), PostError>
    where
        F: FnOnce(&mut Endpoint, Instant) + Send + 'static,
    {
        self.line().ok_or(PostError::Gone)?.try_put(Command::Run(Box::new(task)))
    }

    /// Takes no new call any more: such requests get 503. Calls that there are go on; returns when
    /// the last has ended by itself, at the latest after `at_most`: true when none is left. Call
    /// [`Handle::close`] then. It cannot be taken back.
    ///
    /// On a driver's own thread it begins and returns at once, as one that has calls.
    pub fn drain(&self, at_most: Duration) -> bool {
        if self.is_driver_thread() {
            let (answer, _) = sync_channel(1);
            for line in self.lines() {
                line.try_put(Command::Drain(answer.clone())).ok();
            }
            return false;
        }
        let until = Instant::now().checked_add(at_most);
        let rest =
            || until.map_or(Duration::MAX, |it| it.saturating_duration_since(Instant::now()));
        let answers = self.ask_all(Command::Drain);
        // Told by being dropped.
        let is_over = |answer: Receiver<()>| {
            answer.recv_timeout(rest()) == Err(RecvTimeoutError::Disconnected)
        };
        answers.into_iter().flatten().all(is_over)
    }

    /// Ends every call (clients get `peerLeft`) and takes no new one; returns when all have
    /// ended and the last datagrams are sent, at the latest after `Config::linger`.
    /// `Driver::run` returns then, too. One shard alone ([`Handle::of_shard`]) stays until the
    /// calls of the others have ended, whose datagrams may reach it first.
    pub fn close(&self) {
        if self.is_driver_thread() {
            return self.lines().iter().for_each(|line| line.bell.0.close());
        }
        for answer in self.ask_all(Command::Close).into_iter().flatten() {
            // Told by being dropped.
            let _ = answer.recv();
        }
    }

    /// Figures of all shards together; `None` when the driver is gone. Waits for the driver.
    #[must_use]
    pub fn stats(&self) -> Option<HandleStats> {
        self.shard_stats().into_iter().flatten().reduce(HandleStats::add)
    }

    /// Figures of each shard, in their order; `None` for one that is gone. Waits for the drivers.
    #[must_use]
    pub fn shard_stats(&self) -> Vec<Option<HandleStats>> {
        if self.would_wait_for_itself() {
            return vec![None; self.only.len()];
        }
        let answers = self.ask_all(Command::Stats);
        answers.into_iter().map(|answer| answer?.recv().ok()).collect()
    }

    /// The local addresses of the UDP sockets: of each shard in turn those of `Options::udp`, in
    /// that order.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        let each = self.addresses.len() / self.inner.shards.len().max(1);
        &self.addresses[self.only.start * each..self.only.end * each]
    }

    fn lines(&self) -> &[Line] {
        &self.inner.shards[self.only.clone()]
    }

    /// The one that does what is not said whose it is.
    fn line(&self) -> Option<&Line> {
        self.lines().first()
    }

    fn would_wait_for_itself(&self) -> bool {
        let would = self.is_driver_thread();
        if would {
            error!("asked on a driver's own thread, which would wait for itself: not answered");
        }
        would
    }

    /// Whether to wait would be to wait for oneself, be it by way of another shard.
    fn is_driver_thread(&self) -> bool {
        self.inner.shards.iter().any(|line| line.bell.0.is_own_thread())
    }

    /// Asks every shard before any has answered; none for one that is gone.
    fn ask_all<T>(&self, command: impl Fn(Answer<T>) -> Command) -> Vec<Option<Receiver<T>>> {
        self.lines().iter().map(|line| line.ask(&command)).collect()
    }
}

impl Line {
    pub(crate) fn new(commands: SyncSender<Command>, bell: Arc<Bell>) -> Line {
        Line { commands, bell: RingOnDrop(bell) }
    }

    /// `None` when the shard is gone, or has not the call that it was asked for.
    fn request(
        &self,
        request: Request<'_>,
        named: Option<String>,
        on_way: Option<OnWay>,
    ) -> Option<Response> {
        self.ask(|answer| Command::request(request, named, on_way, answer))?.recv().ok()
    }

    /// Where the answer will come; `None` when the shard is gone.
    fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Option<Receiver<T>> {
        let (answer, answered) = sync_channel(1);
        self.put(command(answer))?;
        Some(answered)
    }

    /// Waits for room; `None` when the shard is gone.
    fn put(&self, command: Command) -> Option<()> {
        self.commands.send(command).ok()?;
        self.bell.0.ring();
        Some(())
    }

    fn try_put(&self, command: Command) -> Result<(), PostError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => PostError::Full,
            TrySendError::Disconnected(_) => PostError::Gone,
        })?;
        self.bell.0.ring();
        Ok(())
    }
}
