//! The driver's inner step, without clock or socket.
//!
//! A machine is an endpoint, its signalling, and the application's ends of its calls. Whoever
//! drives it hands in datagrams and time, calls [`Machine::step`], and sends what
//! [`Machine::poll_transmit`] gives: the [`Driver`](crate::Driver) with real ones, a simulation
//! with its own. All it does in one step is bounded, so that a busy call delays the others and the
//! sockets by a known amount of work.
//!
//! The machines of a node ([`Machine::shards`]) share nothing but where they put down what is for
//! another.
//!
//! What a step does, in this order, each part within its budget:
//! 1. time: the sessions and offers that are due;
//! 2. commands: of the handles, and of each call that rang, a few of each kind; and what other
//!    machines put down;
//! 3. commands that waited for room and may have it now;
//! 4. events, over to the application, as far as its inbox has room.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use async_channel::Sender;
use smallrtc::signaling::{self, Reply, RequestBuf, Response, Signaling, Token};
use smallrtc::{
    CloseReason, Config, ConnectionState, Datagram, Endpoint, Event, LocalCandidate, Seed,
    SessionId, Transmit,
};
use smallrtc_udp::{OnWay, SocketStats, Turns, shard_configs, shard_seeds};
use tracing::warn;

use crate::deliver::BLOCK_LEN;
use crate::exchange::{Exchange, Seat, seats};
use crate::handle::{BACKLOG_MAX, HandleCommand, HandleStats, Line, REQUESTS_MAX};
use crate::link::{Bell, Caller, Lane, Link, lane, link};
use crate::reply::{Answer, Queue};
use crate::{Handle, Peer};

/// Bells answered in one step.
pub const BELLS_BUDGET: usize = 64;

/// HTTP requests in one step. An offer costs about a millisecond, most of it cryptography.
pub const REQUESTS_BUDGET: usize = 4;

/// Commands of one lane of one call in one step. The dearest is a block of sound, whose resampling
/// costs microseconds; a whole inbox of messages is 16.
pub const LANE_BUDGET: usize = 16;

/// Events in one step.
pub const EVENTS_BUDGET: usize = 256;

/// Whether a machine has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a machine that has more to do is to be stepped again without waiting"]
#[non_exhaustive]
pub enum Step {
    /// Nothing before [`Machine::poll_timeout`], a datagram or a command.
    Idle,
    /// A budget was used up.
    More,
}

/// An endpoint and the calls that an application has of it, without clock or socket.
#[derive(Debug)]
pub struct Machine {
    endpoint: Endpoint,
    signaling: Signaling,
    exchange: Exchange,
    bells: Arc<Queue<Caller>>,
    /// The bell that a driver heard while it waited.
    heard: Option<Caller>,
    handle_bell: Arc<Bell>,
    requests: Lane<HandleCommand>,
    backlog: Sender<Peer>,
    links: BTreeMap<SessionId, Link>,
    later: BTreeMap<Token, Answer<Option<Response>>>,
    /// Calls with a command that waits for room, and until when.
    parked: BTreeMap<SessionId, Instant>,
    /// Calls whose events are held.
    held: BTreeSet<SessionId>,
    /// Whoever waits for the end. They are told by being dropped.
    closers: Vec<Answer<()>>,
    /// Whoever waits for the last call to end while no new one is taken. They are told likewise.
    drainers: Vec<Answer<()>>,
    is_closing: bool,
    calls_refused: u64,
    sockets: SocketStats,
    turns: Turns,
    block: Vec<i16>,
}

impl Machine {
    /// A machine without calls, and the handle that speaks to it.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        now: Instant,
    ) -> (Machine, Handle) {
        let first = config.shard();
        let seat = seats(first, 1).pop().expect("there is one seat for one");
        let placing = seat.exchange.placing().clone();
        let (machine, line) = Machine::on(seat, config, seed, candidates, now);
        (machine, Handle::new(first, vec![line], placing))
    }

    /// The machines of one node, one for each list of candidates, and the handle that speaks to
    /// all. They have places that follow each other from that of `config` on, and each a seed of
    /// its own.
    ///
    /// # Errors
    /// `InvalidInput`: no lists, or more than `smallrtc_udp::SHARDS_MAX`; or places past the last.
    pub fn shards(
        config: &Config,
        seed: &Seed,
        candidates: &[Vec<LocalCandidate>],
        now: Instant,
    ) -> io::Result<(Vec<Machine>, Handle)> {
        let shards = u16::try_from(candidates.len()).unwrap_or(u16::MAX);
        let configs = shard_configs(config, shards)?;
        let seats = seats(config.shard(), shards);
        let placing = seats.first().map(|seat| seat.exchange.placing().clone());
        let placing = placing.expect("no shards are refused above");
        let seeds = shard_seeds(seed, shards);
        let parts = seats.into_iter().zip(configs).zip(seeds).zip(candidates);
        let made = parts.map(|(((seat, config), seed), candidates)| {
            Machine::on(seat, config.shared(), &seed, candidates, now)
        });
        let (mut machines, lines): (Vec<_>, _) = made.unzip();
        if let Some((first, others)) = machines.split_first_mut() {
            others.iter_mut().for_each(|other| other.signaling.share_clients(&first.signaling));
        }
        Ok((machines, Handle::new(config.shard(), lines, placing)))
    }

    fn on(
        seat: Seat,
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        now: Instant,
    ) -> (Machine, Line) {
        let Seat { mut exchange, bells } = seat;
        let (endpoint_seed, signaling_seed) = seed.split();
        let mut endpoint = Endpoint::new(config, endpoint_seed, now);
        for candidate in candidates {
            endpoint.add_local_candidate(*candidate);
        }
        exchange.publish(&endpoint, 0);
        let (commands, requests) = lane(REQUESTS_MAX);
        let (backlog, calls) = async_channel::bounded(BACKLOG_MAX);
        let handle_bell = Arc::new(Bell::new(Caller::Handle, Arc::clone(&bells)));
        let line = Line::new(Arc::clone(&handle_bell), commands, calls);
        let machine = Machine {
            endpoint,
            signaling: Signaling::new(signaling_seed),
            exchange,
            bells,
            heard: None,
            handle_bell,
            requests,
            backlog,
            links: BTreeMap::new(),
            later: BTreeMap::new(),
            parked: BTreeMap::new(),
            held: BTreeSet::new(),
            closers: Vec::new(),
            drainers: Vec::new(),
            is_closing: false,
            calls_refused: 0,
            sockets: SocketStats::default(),
            turns: Turns::new(),
            block: vec![0; BLOCK_LEN],
        };
        (machine, line)
    }

    /// Takes other settings of signalling than the default. To be called before the first request.
    pub fn set_signaling(&mut self, options: Arc<signaling::Options>) {
        self.signaling.set_options(options);
    }

    /// The machine's number among those of its node (`Config::place`).
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.exchange.shard()
    }

    /// Takes a datagram. What comes of it is told by the next [`Machine::step`].
    pub fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        self.exchange.receive(datagram, &mut self.endpoint, now);
    }

    /// Takes what other machines put down, which a step does as well. To be called before the
    /// datagrams of a turn, because it may say what is to become of them.
    pub(crate) fn take_posts(&mut self, now: Instant) {
        self.exchange.take_posts(&mut self.endpoint, now);
    }

    /// Does what is due at `now`, within the budgets.
    pub fn step(&mut self, now: Instant) -> Step {
        self.turns.begin(now);
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
            self.signaling.handle_timeout(&mut self.endpoint, now);
        }
        // Only those that rang before: who has more than its budget rings again for the next step.
        let rang = self.bells.len() + usize::from(self.heard.is_some());
        for _ in 0..rang.min(BELLS_BUDGET) {
            let heard = self.heard.take();
            let Some(caller) = heard.or_else(|| self.bells.pop()) else { break };
            self.answer_bell(caller, now);
        }
        self.take_signaling();
        self.retry_parked(now);
        self.release_closed();
        for _ in 0..EVENTS_BUDGET {
            let Some((id, event)) = self.endpoint.poll_event() else { break };
            self.on_event(id, event, now);
        }
        self.publish();
        if self.endpoint.is_empty() {
            self.drainers.clear();
        }
        let is_due = self.poll_timeout().is_some_and(|due| due <= now);
        if is_due || !self.bells.is_empty() { Step::More } else { Step::Idle }
    }

    /// Notes the figures of whatever carries the datagrams, for `Handle::stats`.
    pub fn note_sockets(&mut self, stats: SocketStats) {
        self.sockets = stats;
    }

    /// Ends the turn that [`Machine::step`] began at `now`, after the last transmit, and tells when
    /// the next one is due, as [`Machine::poll_timeout`] does. How late that one comes is counted
    /// in `Handle::stats`; who drives without it only goes unmeasured.
    pub fn end_turn(&mut self, now: Instant) -> Option<Instant> {
        let deadline = self.poll_timeout();
        self.turns.end(deadline, now);
        deadline
    }

    /// The next datagram to send. Poll until `None` after each step.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// When to call [`Machine::step`] if nothing else happens before; due at once while there is
    /// something to poll.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let parked = self.parked.values().copied().min();
        [self.endpoint.poll_timeout(), self.signaling.poll_timeout(), parked]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether it was closed, or nobody is left to make calls, and every call of it and of the
    /// node's other machines has ended. Send what [`Machine::poll_transmit`] still gives, then drop
    /// it: `Handle::close` returns then.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let is_wanted = !self.is_closing && !self.requests.is_abandoned();
        !is_wanted && self.endpoint.is_empty() && self.exchange.is_quiet()
    }

    /// Nothing can carry datagrams any more: every call is told its end as
    /// [`CloseReason::Internal`]. Drop the machine then; one that is only dropped tells them
    /// [`CloseReason::Application`].
    pub fn fail(&mut self) {
        for link in self.links.values_mut() {
            link.end(CloseReason::Internal);
        }
    }

    /// Whether a command came that no step has looked at: a driver that waits is woken by it, so
    /// that whoever drives the machine in another way steps it instead of waiting.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        self.heard.is_some() || !self.bells.is_empty()
    }

    /// What rings when a command came, for a driver to wait on. It says what it heard.
    pub(crate) fn bells(&self) -> Arc<Queue<Caller>> {
        Arc::clone(&self.bells)
    }

    /// A bell that rang while the driver waited; the next step answers it.
    pub(crate) fn hear(&mut self, caller: Caller) {
        debug_assert!(self.heard.is_none(), "each wait is followed by a step");
        self.heard = Some(caller);
    }

    /// Looks at what the caller put down.
    fn answer_bell(&mut self, caller: Caller, now: Instant) {
        match caller {
            Caller::Handle => self.serve_handles(now),
            Caller::Peer(id) => self.serve_link(id, now),
            Caller::Shard => self.exchange.answer_bell(&mut self.endpoint, now),
        }
    }

    fn serve_handles(&mut self, now: Instant) {
        self.handle_bell.answer();
        for _ in 0..REQUESTS_BUDGET {
            let Some(command) = self.requests.next(now) else { return };
            match command {
                HandleCommand::Request { request, named, on_way, answer } => {
                    if named.is_some_and(|name| !self.signaling.knows(&name)) {
                        answer.give(None);
                        continue;
                    }
                    self.on_request(&request, on_way, answer, now);
                }
                HandleCommand::Stats(answer) => {
                    answer.give(self.stats());
                }
                HandleCommand::Drain(answer) => {
                    self.signaling.set_draining(true);
                    self.drainers.push(answer);
                }
                HandleCommand::Close(answer) => {
                    self.is_closing = true;
                    self.closers.push(answer);
                    self.backlog.close();
                    self.endpoint.close(now);
                }
            }
        }
        // The rest in the next step, after the calls had their turn.
        if self.requests.is_ready() {
            self.handle_bell.ring();
        }
    }

    /// Tells the others how much there is to do here, and is likely to be.
    fn publish(&mut self) {
        self.exchange.publish(&self.endpoint, self.signaling.promised());
    }

    fn stats(&mut self) -> HandleStats {
        HandleStats {
            sessions: self.endpoint.len(),
            room: self.endpoint.room(),
            is_draining: self.signaling.is_draining(),
            calls_refused: self.calls_refused,
            calls: self.endpoint.totals(),
            signaling: self.signaling.stats(),
            endpoint: self.endpoint.stats(),
            sockets: self.sockets,
            lateness: self.turns.lateness().clone(),
            forward: self.exchange.stats(),
        }
    }

    fn on_request(
        &mut self,
        request: &RequestBuf,
        on_way: OnWay,
        answer: Answer<Option<Response>>,
        now: Instant,
    ) {
        // Whoever asked may be gone; a call that it made then ends by itself.
        if answer.is_unwanted() {
            return;
        }
        match self.signaling.handle(&mut self.endpoint, request.as_request(), now) {
            Reply::Now(response) => {
                // The call is in the backlog before its client is answered.
                self.take_signaling();
                // And counts before the client can ask for another.
                self.publish();
                drop(on_way);
                answer.give(Some(response));
            }
            Reply::Later(token) => {
                self.later.insert(token, answer);
            }
            _ => warn!("signalling gave a reply that this adapter does not know"),
        }
    }

    /// Takes the calls that were made, then the answers that had to wait for something.
    fn take_signaling(&mut self) {
        let shard = self.exchange.shard();
        while let Some(call) = self.signaling.poll_call() {
            let id = call.id;
            let (link, inbound, outbound) =
                link(Bell::new(Caller::Peer(id), Arc::clone(&self.bells)));
            self.links.insert(id, link);
            // A peer that has no place is dropped, and rings for its call to be closed.
            if self.backlog.try_send(Peer::new(shard, call, inbound, outbound)).is_err() {
                self.calls_refused += 1;
                warn!(shard, call = %id, limit = BACKLOG_MAX, "nobody accepts calls: closed");
            }
        }
        while let Some((token, response)) = self.signaling.poll_response() {
            if let Some(answer) = self.later.remove(&token) {
                answer.give(Some(response));
            }
        }
    }

    /// Serves a call that rang: its commands, and what it holds for an inbox that has room now.
    fn serve_link(&mut self, id: SessionId, now: Instant) {
        // The bell of a call that has ended.
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(mut session) = self.endpoint.session(id) else { return };
        link.shared.bell.answer();
        link.serve(&mut session, LANE_BUDGET, now);
        if self.held.contains(&id) && link.has_room() {
            self.held.remove(&id);
            link.release();
            session.hold_events(false);
            link.pull(&mut session, &mut self.block);
        }
        drop(session);
        self.settle(id);
    }

    /// Tries again what waited long enough for room.
    fn retry_parked(&mut self, now: Instant) {
        let due = self.parked.iter().filter(|(_, retry_at)| **retry_at <= now);
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.serve_link(id, now);
        }
    }

    /// A session that has ended is held no longer (`Session::hold_events`): what it still has goes
    /// over whole, and `Closed` after it.
    fn release_closed(&mut self) {
        let Machine { held, endpoint, .. } = self;
        held.retain(|id| {
            endpoint.session(*id).is_some_and(|call| call.state() != ConnectionState::Closed)
        });
    }

    fn on_event(&mut self, id: SessionId, event: Event, now: Instant) {
        if let Event::Closed { reason } = event {
            self.signaling.session_closed(id);
            self.parked.remove(&id);
            self.held.remove(&id);
            if let Some(mut link) = self.links.remove(&id) {
                link.end(reason);
            }
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(mut session) = self.endpoint.session(id) else { return };
        if link.tells_of_room(&event, now) {
            link.serve(&mut session, LANE_BUDGET, now);
        }
        link.deliver(event, &mut session, &mut self.block);
        drop(session);
        self.settle(id);
    }

    /// Holds the session when its inbox is full, and notes when it wants to be tried again.
    fn settle(&mut self, id: SessionId) {
        let Some(link) = self.links.get(&id) else { return };
        match link.retry_at() {
            Some(retry_at) => self.parked.insert(id, retry_at),
            None => self.parked.remove(&id),
        };
        if link.is_full()
            && !self.held.contains(&id)
            && let Some(mut session) = self.endpoint.session(id)
            && link.hold()
        {
            session.hold_events(true);
            self.held.insert(id);
        }
    }
}
