//! The driver's inner step, without clock or socket.
//!
//! A machine is an endpoint, its signalling, and the application. Whoever drives it hands in
//! datagrams and time, calls [`Machine::step`], and sends what [`Machine::poll_transmit`] gives:
//! the [`Driver`](crate::Driver) with real ones, a simulation with its own. All it does in one step
//! is bounded, so that a busy call delays the others and the sockets by a known amount of work.
//!
//! A machine may be one of several of a node, each with an endpoint of its own: its shards. They
//! share nothing but a few numbers, by which new calls are placed, and where they put down what is
//! for another.
//!
//! What a step does, in this order, each part within its budget:
//! 1. time: the sessions and offers that are due;
//! 2. commands of the handles, the calls that they made, and what other machines put down;
//! 3. the application's own deadline;
//! 4. events, to the application.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

use smallrtc::signaling::{self, Reply, Request, RequestBuf, Response, Signaling, Token};
use smallrtc::{
    CloseReason, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, Transmit,
};
use smallrtc_udp::{OnWay, SocketStats, Turns, shard_configs, shard_seeds};
use tracing::warn;

use crate::bell::{Bell, Hearing};
use crate::exchange::{Exchange, Seat, seats};
use crate::handle::{Answer, COMMANDS_MAX, Command, HandleStats, Line};
use crate::{App, Handle};

/// Commands in one step. Most cost microseconds: 64 of them are less than a packet's pacing.
pub const COMMANDS_BUDGET: usize = 64;

/// HTTP requests among them. An offer costs about a millisecond, most of it cryptography.
pub const REQUESTS_BUDGET: usize = 4;

/// Events in one step.
pub const EVENTS_BUDGET: usize = 256;

/// Whether a machine has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a machine that has more to do is to be stepped again without waiting"]
#[non_exhaustive]
pub enum Step {
    /// Nothing before [`Machine::poll_timeout`], to be read once everything was sent, a datagram
    /// or a command.
    Idle,
    /// A budget was used up.
    More,
}

/// An endpoint and the application of its calls, without clock or socket.
///
/// ```
/// use smallrtc::{Config, Endpoint, Event, Seed, SessionId};
/// use smallrtc_mio::{App, Machine, Step};
/// use std::time::Instant;
///
/// struct Silent;
/// impl App for Silent {
///     fn on_event(&mut self, _: SessionId, _: Event, _: &mut Endpoint, _: Instant) {}
/// }
///
/// let now = Instant::now();
/// let (config, seed) = (Config::new().shared(), Seed::from_number(1));
/// let (mut machine, handle) = Machine::new(config, &seed, &[], Silent, now);
/// assert_eq!(machine.step(now), Step::Idle);
/// assert_eq!(machine.poll_timeout(), None);
/// // Nobody is left to make calls.
/// drop(handle);
/// assert_eq!(machine.step(now), Step::Idle);
/// assert!(machine.is_finished());
/// ```
#[derive(Debug)]
pub struct Machine<A> {
    // Dropped first, in the order of the fields: what the application asks a handle for while it is
    // dropped is refused then, and does not wait for itself.
    /// Nothing when all has ended.
    commands: Option<Receiver<Command>>,
    later: BTreeMap<Token, Answer<Response>>,
    /// Whoever waits for the end. They are told by being dropped.
    closers: Vec<Answer<()>>,
    /// Whoever waits for the last call to end while no new one is taken. They are told likewise.
    drainers: Vec<Answer<()>>,
    app: A,
    config: Arc<Config>,
    endpoint: Endpoint,
    signaling: Signaling,
    exchange: Exchange,
    hearing: Hearing,
    is_closing: bool,
    /// Every handle is gone.
    is_abandoned: bool,
    sockets: SocketStats,
    turns: Turns,
}

impl<A: App> Machine<A> {
    /// A machine without calls, and the handle that speaks to it.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        app: A,
        now: Instant,
    ) -> (Machine<A>, Handle) {
        let first = config.shard();
        let seat = seats(first, 1).pop().expect("there is one seat for one");
        let placing = seat.exchange.placing().clone();
        let (machine, line) = Machine::on(seat, config, seed, candidates, app, now);
        (machine, Handle::new(first, vec![line], placing))
    }

    /// The machines of one node, one for each list of candidates, and the handle that speaks to
    /// all. They have places that follow each other from that of `config` on, and each a seed of
    /// its own and the application that is made for its number.
    ///
    /// # Errors
    /// `InvalidInput`: no lists, or more than `smallrtc_udp::SHARDS_MAX`; or places past the last.
    pub fn shards(
        config: &Config,
        seed: &Seed,
        candidates: &[Vec<LocalCandidate>],
        mut app: impl FnMut(u16) -> A,
        now: Instant,
    ) -> io::Result<(Vec<Machine<A>>, Handle)> {
        let shards = u16::try_from(candidates.len()).unwrap_or(u16::MAX);
        let configs = shard_configs(config, shards)?;
        let seats = seats(config.shard(), shards);
        let placing = seats.first().map(|seat| seat.exchange.placing().clone());
        let placing = placing.expect("no shards are refused above");
        let seeds = shard_seeds(seed, shards);
        let parts = seats.into_iter().zip(configs).zip(seeds).zip(candidates);
        let made = parts.map(|(((seat, config), seed), candidates)| {
            let app = app(config.shard());
            Machine::on(seat, config.shared(), &seed, candidates, app, now)
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
        app: A,
        now: Instant,
    ) -> (Machine<A>, Line) {
        let Seat { mut exchange, bell } = seat;
        let (endpoint_seed, signaling_seed) = seed.split();
        let mut endpoint = Endpoint::new(Arc::clone(&config), endpoint_seed, now);
        for candidate in candidates {
            endpoint.add_local_candidate(*candidate);
        }
        exchange.publish(&endpoint, 0);
        let (sender, commands) = sync_channel(COMMANDS_MAX);
        let line = Line::new(sender, Arc::clone(&bell));
        let machine = Machine {
            app,
            config,
            endpoint,
            signaling: Signaling::new(signaling_seed),
            exchange,
            commands: Some(commands),
            hearing: Hearing(bell),
            later: BTreeMap::new(),
            closers: Vec::new(),
            drainers: Vec::new(),
            is_closing: false,
            is_abandoned: false,
            sockets: SocketStats::default(),
            turns: Turns::new(),
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

    /// Takes what other machines put down, which a step does as well; true when there may be more.
    /// To be called before the datagrams of a turn, because it may say what is to become of them.
    pub(crate) fn take_posts(&mut self, now: Instant) -> bool {
        self.exchange.take_posts(&mut self.endpoint, now)
    }

    /// Does what is due at `now`, within the budgets.
    pub fn step(&mut self, now: Instant) -> Step {
        self.turns.begin(now);
        let core = [self.endpoint.poll_timeout(), self.signaling.poll_timeout()];
        if core.into_iter().flatten().any(|due| due <= now) {
            self.endpoint.handle_timeout(now);
            self.signaling.handle_timeout(&mut self.endpoint, now);
        }
        let mut step = self.take_commands(now);
        self.take_signaling(now);
        if self.take_posts(now) {
            step = Step::More;
        }
        if self.app.poll_timeout().is_some_and(|due| due <= now) {
            self.app.handle_timeout(&mut self.endpoint, now);
        }
        if self.tell_events(now) {
            step = Step::More;
        }
        self.publish();
        if self.endpoint.is_empty() {
            self.drainers.clear();
        }
        step
    }

    /// Answers an HTTP request at once: for whoever drives the machine, as [`Handle::request`] is
    /// for others. It knows the calls of this machine only. An offer that cannot be answered yet,
    /// for want of a local candidate, gets 503.
    pub fn request(&mut self, request: Request<'_>, now: Instant) -> Response {
        let reply = self.signaling.handle(&mut self.endpoint, request, now);
        // The application knows of the call before its client is answered, and so do the others.
        self.take_signaling(now);
        self.publish();
        match reply {
            Reply::Now(response) => response,
            Reply::Later(token) => {
                self.signaling.cancel(token);
                Response::unavailable("no address to be called at is known yet")
            }
            _ => Response::unavailable("signalling gave a reply that this adapter does not know"),
        }
    }

    /// Ends every call and takes no new one, as [`Handle::close`] does; step on until
    /// [`Machine::is_finished`].
    pub fn close(&mut self, now: Instant) {
        self.is_closing = true;
        self.endpoint.close(now);
    }

    /// Takes no new call any more, as [`Handle::drain`] does; those that there are go on.
    pub fn drain(&mut self) {
        self.signaling.set_draining(true);
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
        [self.endpoint.poll_timeout(), self.signaling.poll_timeout(), self.app.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether it was closed, or nobody is left to make calls, and every call of it and of the
    /// node's other machines has ended. Send what [`Machine::poll_transmit`] still gives, then drop
    /// it: `Handle::close` returns then.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let is_wanted = !self.is_closing && !self.is_abandoned;
        !is_wanted && self.endpoint.is_empty() && self.exchange.is_quiet()
    }

    /// Nothing can carry datagrams any more: every call ends here and now, and the application is
    /// told so as [`CloseReason::Internal`]. The machine has no call afterwards and takes none.
    pub fn fail(&mut self, now: Instant) {
        self.is_closing = true;
        // What was there before the end is told before it; what a session holds is bounded.
        while let Some((id, event)) = self.endpoint.poll_event() {
            self.on_event(id, event, now);
        }
        // In the place of an endpoint that can go nowhere comes one that has no calls and takes
        // none, so that nothing follows the end.
        let mut empty = Endpoint::new(Arc::clone(&self.config), Seed::from_number(0), now);
        empty.close(now);
        let failed = std::mem::replace(&mut self.endpoint, empty);
        for id in failed.session_ids() {
            self.on_event(id, Event::Closed { reason: CloseReason::Internal }, now);
        }
        self.publish();
    }

    /// The application.
    pub fn app(&self) -> &A {
        &self.app
    }

    /// The application.
    pub fn app_mut(&mut self) -> &mut A {
        &mut self.app
    }

    /// The application, when the machine has come to its end.
    pub fn into_app(self) -> A {
        self.app
    }

    /// The calls. Read [`Machine::poll_timeout`] again after a change.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// The application and the calls, for what needs both.
    pub(crate) fn parts(&mut self) -> (&mut A, &mut Endpoint) {
        (&mut self.app, &mut self.endpoint)
    }

    /// What to do, on the thread of whoever asks, when a handle asked for something: wake the
    /// thread that steps the machine, which steps it once before it waits. A simulation that steps
    /// anyhow needs none.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.hearing.0.wakes(Some(Box::new(wake)));
    }

    /// This thread drives the machine: whoever asks on it waits for nothing.
    pub(crate) fn is_driven_here(&self) {
        self.hearing.0.is_driven_by(Some(thread::current().id()));
    }

    /// What wakes whoever steps the machine.
    pub(crate) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.hearing.0)
    }

    /// There is nobody to wake any more.
    pub(crate) fn wake_nobody(&self) {
        self.hearing.0.wakes(None);
    }

    /// All has ended: whoever waits for it is told, and commands are refused from now on.
    pub(crate) fn end(&mut self) {
        self.commands = None;
        self.hearing.0.is_driven_by(None);
        self.later.clear();
        self.closers.clear();
        self.drainers.clear();
        self.exchange.leave();
    }

    /// True when there may be more.
    fn tell_events(&mut self, now: Instant) -> bool {
        for _ in 0..EVENTS_BUDGET {
            let Some((id, event)) = self.endpoint.poll_event() else { return false };
            self.on_event(id, event, now);
        }
        true
    }

    fn take_commands(&mut self, now: Instant) -> Step {
        self.hearing.0.answer();
        if self.hearing.0.is_to_close() && !self.is_closing {
            self.close(now);
        }
        let mut requests = 0;
        for _ in 0..COMMANDS_BUDGET {
            let Some(commands) = &self.commands else { return Step::Idle };
            match commands.try_recv() {
                Ok(command) => {
                    requests += usize::from(matches!(command, Command::Request { .. }));
                    self.serve(command, now);
                }
                Err(TryRecvError::Empty) => return Step::Idle,
                Err(TryRecvError::Disconnected) => {
                    self.is_abandoned = true;
                    return Step::Idle;
                }
            }
            if requests == REQUESTS_BUDGET {
                break;
            }
        }
        Step::More
    }

    fn serve(&mut self, command: Command, now: Instant) {
        match command {
            // Told by the answer being dropped.
            Command::Request { named: Some(name), .. } if !self.signaling.knows(&name) => {}
            Command::Request { request, on_way, answer, .. } => {
                self.on_request(&request, on_way, answer, now);
            }
            Command::Run(task) => task(&mut self.endpoint, now),
            Command::Stats(answer) => {
                let _ = answer.try_send(self.stats());
            }
            Command::Drain(answer) => {
                self.drain();
                self.drainers.push(answer);
            }
            Command::Close(answer) => {
                self.closers.push(answer);
                self.close(now);
            }
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
        on_way: Option<OnWay>,
        answer: Answer<Response>,
        now: Instant,
    ) {
        match self.signaling.handle(&mut self.endpoint, request.as_request(), now) {
            Reply::Now(response) => {
                // The application knows of the call before its client is answered, and it counts
                // before the client can ask for another.
                self.take_signaling(now);
                self.publish();
                drop(on_way);
                let _ = answer.try_send(response);
            }
            Reply::Later(token) => {
                self.later.insert(token, answer);
            }
            _ => warn!("signalling gave a reply that this adapter does not know"),
        }
    }

    /// Hands over the calls that were made, then the answers that had to wait for something.
    fn take_signaling(&mut self, now: Instant) {
        while let Some(call) = self.signaling.poll_call() {
            self.app.on_call(call, &mut self.endpoint, now);
        }
        while let Some((token, response)) = self.signaling.poll_response() {
            if let Some(answer) = self.later.remove(&token) {
                let _ = answer.try_send(response);
            }
        }
    }

    fn on_event(&mut self, id: SessionId, event: Event, now: Instant) {
        if matches!(event, Event::Closed { .. }) {
            self.signaling.session_closed(id);
        }
        self.app.on_event(id, event, &mut self.endpoint, now);
    }
}
