//! The loop that waits, feeds, flushes and hands over; alone, or in turns in somebody else's.
//!
//! One turn: read the clock once, take datagrams from the sockets that are readable, step the
//! [`Machine`], send. Each part has its budget; when one was used up the driver wants another turn
//! without waiting, otherwise it waits for whatever comes first: a socket that is readable, one
//! that is writable again while it is blocked, the deadline, a command.
//!
//! No wake-up is lost: a socket counts as readable until it was read empty; the deadline is read
//! after everything was sent; a command that comes during a turn rings again; and a wake-up for
//! nothing costs one turn.

use std::io;
use std::ops::{Add, Range};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Registry, Token};
use smallrtc::signaling::{Request, Response};
use smallrtc::{Config, Endpoint};
use smallrtc_udp::{Sent, SocketStats, send_all};

use crate::bell::Bell;
use crate::crew::Fate;
use crate::machine::{Machine, Step};
use crate::port::Port;
use crate::timer::Timer;
use crate::wake::Wakeup;
use crate::{App, Handle, Options};

/// Events of one wait of a driver that runs alone. It has one token for each socket and two more,
/// so this is all of them at once; what finds no place is told by the next wait.
const WAIT_EVENTS: usize = 64;

/// What a driver wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a driver that wants another turn must get it without waiting"]
#[non_exhaustive]
pub enum Turn {
    /// Nothing before one of its tokens is ready or [`Driver::timeout`] is over.
    Wait,
    /// A budget was used up, or something is due already: another turn without waiting, after the
    /// host's other work. [`Driver::timeout`] is zero.
    More,
    /// All has ended; further turns do nothing.
    Finished,
}

/// Moves datagrams and time, and calls the application. When it is dropped every call ends, at
/// once and without a goodbye: close it before.
///
/// Alone it [runs](Driver::run) on a thread of its own. Nested, the host does what `run` does:
///
/// ```
/// use mio::{Events, Poll, Token};
/// use std::io::ErrorKind::Interrupted;
/// # use smallrtc::{Config, Endpoint, Event, SessionId};
/// # use smallrtc_mio::{App, Driver, Options, Turn};
/// # use std::time::Instant;
/// # struct Bot;
/// # impl App for Bot {
/// #     fn on_event(&mut self, _: SessionId, _: Event, _: &mut Endpoint, _: Instant) {}
/// # }
///
/// let options = Options::new().udp("127.0.0.1:0".parse()?);
/// let (mut driver, handle) = Driver::bind(Config::new(), options, Bot)?;
/// let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
/// let tokens = driver.register(poll.registry(), Token(1000))?;
/// assert_eq!(tokens, 1000..1003);
/// # drop(handle);
/// while driver.turn()? != Turn::Finished {
///     match poll.poll(&mut events, driver.timeout()) {
///         Err(error) if error.kind() != Interrupted => return Err(error.into()),
///         _ => {}
///     }
///     for event in &events {
///         if !driver.on_ready(event) {
///             // It is one of the host's own.
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a driver does nothing unless it is run or turned"]
pub struct Driver<A> {
    machine: Machine<A>,
    ports: Vec<Port>,
    timer: Timer,
    registered: Option<Registered>,
    /// That of those which it runs with.
    fate: Option<Arc<Fate>>,
    /// Another turn is wanted without waiting.
    more: bool,
    is_finished: bool,
}

/// The `Poll` that tells of readiness.
#[derive(Debug)]
struct Registered {
    registry: Registry,
    first: usize,
    wakeup: Wakeup,
}

impl<A: App> Driver<A> {
    /// Opens the sockets and makes the driver. Nothing happens before it is run or turned.
    ///
    /// # Errors
    /// What the operating system says of a socket, its address, the interfaces or its randomness.
    /// `InvalidInput`: more than one shard, which [`Driver::bind_shards`] makes.
    pub fn bind(config: Config, options: Options, app: A) -> io::Result<(Driver<A>, Handle)> {
        if options.shards != 1 {
            let text = format!("shards: {} (expected 1; see bind_shards)", options.shards);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut app = Some(app);
        let app = |_| app.take().expect("one shard has one app");
        let (mut drivers, handle) = Driver::bind_shards(config, options, app)?;
        Ok((drivers.pop().expect("there is one driver for one shard"), handle))
    }

    /// Opens the sockets of [`Options::shards`] and makes a driver for each, with the application
    /// that `app` makes for its number (`Config::place`), and the handle that speaks to all. A new
    /// call goes to the one that has the least to do. Each is to be run on a thread of its own, as
    /// [`run_shards`](crate::run_shards) does, or nested; one that is dropped takes no calls.
    ///
    /// # Errors
    /// What the operating system says of a socket, its address, the interfaces or its randomness.
    /// `InvalidInput`: a number of shards that is not possible, one whose ports do not fit, or more
    /// than one for a single call.
    pub fn bind_shards(
        config: Config,
        options: Options,
        app: impl FnMut(u16) -> A,
    ) -> io::Result<(Vec<Driver<A>>, Handle)> {
        let opened = options.open(&config)?;
        let addresses = opened.addresses();
        let ports = opened.sockets.into_iter().map(|own| own.into_iter().map(Port::new).collect());
        let ports: Vec<Vec<Port>> = ports.collect::<io::Result<_>>()?;
        let (seed, candidates) = (&opened.seed, &opened.candidates);
        let (mut machines, handle) =
            Machine::shards(&config, seed, candidates, app, Instant::now())?;
        for machine in &mut machines {
            machine.set_signaling(Arc::clone(&opened.signaling));
        }
        let drivers = machines.into_iter().zip(ports);
        let drivers = drivers.map(|(machine, ports)| Driver::new(machine, ports)).collect();
        Ok((drivers, handle.at(addresses)))
    }

    fn new(machine: Machine<A>, ports: Vec<Port>) -> Driver<A> {
        Driver {
            machine,
            ports,
            timer: Timer::new(),
            registered: None,
            fate: None,
            more: true,
            is_finished: false,
        }
    }

    /// Its number among the shards of its node (`Config::place`).
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.machine.shard()
    }

    /// Runs alone, on this thread, until [`Handle::close`] has ended, or until every handle is gone
    /// and every call has ended, those of other shards too. Gives the application back.
    ///
    /// # Errors
    /// A socket that cannot be waited for or received from any more; the calls end then, as
    /// `CloseReason::Internal`, and other shards go on. A send that fails is packet loss and no
    /// error.
    pub fn run(mut self) -> io::Result<A> {
        match self.turns() {
            Ok(()) => Ok(self.machine.into_app()),
            Err(error) => {
                self.fail();
                Err(error)
            }
        }
    }

    /// Runs beside others, whose failure is its end.
    pub(crate) fn run_with(mut self, fate: Arc<Fate>) -> io::Result<A> {
        self.fate = Some(fate);
        self.run()
    }

    pub(crate) fn bell(&self) -> Arc<Bell> {
        self.machine.bell()
    }

    fn turns(&mut self) -> io::Result<()> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(WAIT_EVENTS));
        self.register(poll.registry(), Token(0))?;
        while self.turn()? != Turn::Finished {
            match poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => waited?,
            }
            for event in &events {
                self.on_ready(event);
            }
        }
        Ok(())
    }

    /// How many tokens it takes: one for each socket, one for commands, one for the timer.
    #[must_use]
    pub fn token_count(&self) -> usize {
        self.ports.len() + 2
    }

    /// The tokens that it took; empty while it is not registered.
    #[must_use]
    pub fn tokens(&self) -> Range<usize> {
        let count = self.token_count();
        self.registered.as_ref().map_or(0..0, |poll| poll.first..poll.first + count)
    }

    /// Registers everything with a `Poll`, under the tokens from `first` on, and gives their range.
    /// A driver that is registered elsewhere is deregistered there.
    ///
    /// One that is not registered tries each of its sockets in every turn, which is right for a
    /// loop that ticks at a fixed rate and has no `Poll`.
    ///
    /// On unix the host may have a `mio::Waker` of its own; elsewhere this takes the one that mio
    /// allows in a `Poll`.
    ///
    /// # Errors
    /// What the operating system says; nothing is registered then.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<Range<usize>> {
        self.deregister()?;
        first.0.checked_add(self.token_count()).ok_or(io::ErrorKind::InvalidInput)?;
        match self.register_all(registry, first.0) {
            Ok(registered) => self.registered = Some(registered),
            Err(error) => {
                self.deregister_ports(registry).ok();
                return Err(error);
            }
        }
        Ok(self.tokens())
    }

    fn register_all(&mut self, registry: &Registry, first: usize) -> io::Result<Registered> {
        let registry = registry.try_clone()?;
        for (port, token) in self.ports.iter_mut().zip(first..) {
            port.register(&registry, Token(token))?;
        }
        let commands = first + self.ports.len();
        self.timer.register(&registry, Token(commands + 1))?;
        let (wakeup, wake) = Wakeup::register(&registry, Token(commands))?;
        // What came before was told to nobody: one turn, and be it that the host waits before.
        wake();
        self.machine.wake_with(wake);
        self.more = true;
        Ok(Registered { registry, first, wakeup })
    }

    /// Takes everything out of the `Poll` again; does nothing when it is in none.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn deregister(&mut self) -> io::Result<()> {
        let Some(Registered { registry, wakeup, .. }) = self.registered.take() else {
            return Ok(());
        };
        self.machine.wake_nobody();
        self.deregister_ports(&registry).and(wakeup.deregister(&registry))
    }

    fn deregister_ports(&mut self, registry: &Registry) -> io::Result<()> {
        let mut all = self.timer.deregister(registry);
        for port in &mut self.ports {
            all = all.and(port.deregister(registry));
        }
        all
    }

    /// Takes note of an event of the `Poll`; false when it is not the driver's. Take a turn after
    /// all events of a wait.
    pub fn on_ready(&mut self, event: &Event) -> bool {
        let Token(token) = event.token();
        let tokens = self.tokens();
        if !tokens.contains(&token) {
            return false;
        }
        let (index, commands) = (token - tokens.start, self.ports.len());
        match (self.ports.get_mut(index), &mut self.registered) {
            (Some(port), _) => port.on_ready(event),
            (None, Some(poll)) if index == commands => poll.wakeup.on_ready(),
            (None, _) => self.timer.on_ready(),
        }
        true
    }

    /// How long the host's `Poll` may wait: zero when there is more to do; `None` when a token
    /// tells everything, the deadline too (Linux, Android); otherwise until the deadline, rounded
    /// up to a millisecond.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        match (self.more, self.is_finished) {
            (_, true) => None,
            (true, false) => Some(Duration::ZERO),
            (false, false) => self.timer.timeout(),
        }
    }

    /// Does what there is to do, within the budgets: takes datagrams, lets time pass, calls the
    /// application, sends. Call it after each wait, whatever ended it; too often does no harm.
    ///
    /// # Errors
    /// A socket that cannot be waited for or received from any more. Every call has ended then, as
    /// `CloseReason::Internal`, and so has the driver.
    pub fn turn(&mut self) -> io::Result<Turn> {
        if self.has_fate_failed() {
            self.fail();
        }
        if self.is_finished {
            return Ok(Turn::Finished);
        }
        self.machine.is_driven_here();
        let turned = self.take_turn(Instant::now());
        match &turned {
            Ok(Turn::Finished) => self.end(),
            Ok(turn) => self.more = *turn == Turn::More,
            Err(_) => self.fail(),
        }
        turned
    }

    fn take_turn(&mut self, now: Instant) -> io::Result<Turn> {
        let mut more = self.machine.take_posts(now);
        let Driver { machine, ports, .. } = self;
        for port in ports {
            more |= port.receive(|datagram| machine.handle_datagram(datagram, now))?;
        }
        more |= self.machine.step(now) == Step::More;
        // The step answered the bell, and may have answered for this.
        more |= self.has_fate_failed();
        more |= self.send(now);
        self.watch()?;
        let sockets = self.ports.iter().map(|port| port.socket.stats());
        self.machine.note_sockets(sockets.fold(SocketStats::default(), SocketStats::add));
        // What was just sent may have been what made the machine due.
        let deadline = self.machine.end_turn(now);
        if self.machine.is_finished() && !more {
            return Ok(Turn::Finished);
        }
        if more || deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Turn::More);
        }
        self.timer.set(deadline)?;
        Ok(Turn::Wait)
    }

    /// Sends what waited and what there is; true when there is more.
    fn send(&mut self, now: Instant) -> bool {
        send_all(&mut self.ports, now, || self.machine.poll_transmit()) == Sent::More
    }

    fn watch(&mut self) -> io::Result<()> {
        let Some(poll) = &self.registered else { return Ok(()) };
        for (port, token) in self.ports.iter_mut().zip(poll.first..) {
            port.watch(&poll.registry, Token(token))?;
        }
        Ok(())
    }

    /// Answers an HTTP request at once: for a host whose HTTP server is in the same loop, as
    /// [`Handle::serve`] is for other threads. It knows the calls of this driver only, not those
    /// of other shards. Take a turn afterwards.
    pub fn serve(&mut self, request: Request<'_>) -> Response {
        self.more = true;
        self.machine.request(request, Instant::now())
    }

    /// As [`Driver::serve`], of a client of whom nothing is known: see [`Handle::request`].
    pub fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Response {
        self.serve(Request::new(method, path, body))
    }

    /// Takes no new call any more, as [`Handle::drain`] does; those that there are go on.
    pub fn drain(&mut self) {
        self.machine.drain();
    }

    /// Does something with the application and the calls, as [`Handle::run`] does for other
    /// threads with the calls. Take a turn afterwards.
    pub fn with<T>(&mut self, task: impl FnOnce(&mut A, &mut Endpoint, Instant) -> T) -> T {
        self.more = true;
        let (app, endpoint) = self.machine.parts();
        task(app, endpoint, Instant::now())
    }

    /// The application.
    pub fn app(&self) -> &A {
        self.machine.app()
    }

    /// Ends every call and takes no new one, as [`Handle::close`] does; take turns until
    /// [`Turn::Finished`].
    pub fn close(&mut self) {
        self.more = true;
        self.machine.close(Instant::now());
    }

    /// The application, when the driver has come to its end.
    pub fn into_app(self) -> A {
        self.machine.into_app()
    }

    fn has_fate_failed(&self) -> bool {
        self.fate.as_ref().is_some_and(|fate| fate.has_failed())
    }

    fn fail(&mut self) {
        if !self.is_finished {
            self.machine.fail(Instant::now());
            self.end();
        }
    }

    fn end(&mut self) {
        self.is_finished = true;
        self.machine.end();
    }
}

// A driver moves to the thread that runs it if its application does, and handles go anywhere.
const _: () = {
    const fn assert_send<T: Send>() {}
    const fn assert_sync<T: Sync>() {}
    assert_send::<Driver<()>>();
    assert_send::<Handle>();
    assert_sync::<Handle>();
};

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::{Sender, channel};

    use smallrtc::{CloseReason, Event, SessionId, TransportId};
    use smallrtc_udp::{RECEIVE_BUDGET, Socket};

    use crate::run_shards;

    struct Told(Sender<Event>);

    impl App for Told {
        fn on_event(&mut self, _: SessionId, event: Event, _: &mut Endpoint, _: Instant) {
            self.0.send(event).unwrap();
        }
    }

    fn offer() -> String {
        let fingerprint = ["AB"; 32].join(":");
        let sdp = format!(
            "v=0\\r\\no=- 1 1 IN IP4 0.0.0.0\\r\\ns=-\\r\\nt=0 0\\r\\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\\r\\nc=IN IP4 0.0.0.0\\r\\n\
             a=mid:0\\r\\na=ice-ufrag:abcd\\r\\na=ice-pwd:abcdefghijklmnopqrstuv\\r\\n\
             a=fingerprint:sha-256 {fingerprint}\\r\\na=setup:actpass\\r\\n\
             a=sctp-port:5000\\r\\n"
        );
        format!(r#"{{"type":"offer","sdp":"{sdp}"}}"#)
    }

    fn bind() -> (Driver<Told>, Handle, std::sync::mpsc::Receiver<Event>) {
        let (tell, told) = channel();
        let options = Options::new().udp("127.0.0.1:0".parse().unwrap());
        let (driver, handle) = Driver::bind(Config::new(), options, Told(tell)).unwrap();
        (driver, handle, told)
    }

    #[test]
    fn a_socket_that_breaks_ends_the_calls_as_internal_and_the_driver() {
        let (mut driver, handle, told) = bind();
        assert_eq!(driver.request("POST", "/api/offer", offer().as_bytes()).status, 200);
        let _ = driver.turn().unwrap();
        driver.ports[0] = broken();
        assert!(driver.run().is_err());
        let told: Vec<Event> = told.iter().collect();
        let closed = Event::Closed { reason: CloseReason::Internal };
        assert_eq!(told.iter().filter(|event| matches!(event, Event::Closed { .. })).count(), 1);
        assert_eq!(told.last(), Some(&closed));
        assert_eq!(handle.request("GET", "/", b"").status, 503);
    }

    /// A socket of which nothing can be received, because it listens for connections.
    fn broken() -> Port {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broken = UdpSocket::from(OwnedFd::from(listener));
        Port::new(Socket::adopt(TransportId(0), broken).unwrap()).unwrap()
    }

    fn bind_two() -> (Vec<Driver<Told>>, Handle, std::sync::mpsc::Receiver<Event>) {
        let (tell, told) = channel();
        let options = Options::new().udp("127.0.0.1:0".parse().unwrap()).shards(2);
        let app = |_| Told(tell.clone());
        let (drivers, handle) = Driver::bind_shards(Config::new(), options, app).unwrap();
        (drivers, handle, told)
    }

    #[test]
    fn a_shard_that_fails_ends_the_calls_of_the_others_as_internal() {
        for fails in [0, 1] {
            let (mut drivers, handle, told) = bind_two();
            let works = &mut drivers[1 - fails];
            assert_eq!(works.request("POST", "/api/offer", offer().as_bytes()).status, 200);
            drivers[fails].ports[0] = broken();
            assert!(run_shards(drivers).is_err());
            let told: Vec<Event> = told.iter().collect();
            assert_eq!(told.last(), Some(&Event::Closed { reason: CloseReason::Internal }));
            assert_eq!(handle.request("GET", "/", b"").status, 503);
            assert_eq!(handle.shard_stats(), [None, None]);
        }
    }

    #[test]
    fn a_failure_within_a_turn_that_answers_the_bell_for_something_else_is_seen() {
        let (mut driver, handle, _told) = bind();
        while driver.turn().unwrap() == Turn::More {}
        let fate = Arc::new(Fate::of(vec![driver.bell()]));
        driver.fate = Some(Arc::clone(&fate));
        handle.try_post(|_, _| ()).unwrap();
        // As if the turn had looked at the fate already.
        fate.fail();
        assert_eq!(driver.take_turn(Instant::now()).unwrap(), Turn::More);
        assert_eq!(driver.turn().unwrap(), Turn::Finished);
    }

    #[test]
    fn an_app_that_panics_ends_the_calls_of_the_others_and_its_panic_goes_on() {
        for panics in [0, 1] {
            let (mut drivers, handle, told) = bind_two();
            let works = &mut drivers[1 - usize::from(panics)];
            assert_eq!(works.request("POST", "/api/offer", offer().as_bytes()).status, 200);
            let shard = handle.of_shard(panics).unwrap();
            shard.post(|_, _| panic!("an app panicked")).unwrap();
            let run = AssertUnwindSafe(|| run_shards(drivers).map(|apps| apps.len()));
            let panic = catch_unwind(run).unwrap_err();
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"an app panicked"));
            let told: Vec<Event> = told.iter().collect();
            assert_eq!(told.last(), Some(&Event::Closed { reason: CloseReason::Internal }));
        }
    }

    #[test]
    fn a_flood_that_is_told_once_is_read_to_its_end_in_turns_without_waiting() {
        const FLOOD: usize = 2 * RECEIVE_BUDGET;
        let (mut driver, handle, _told) = bind();
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        driver.register(poll.registry(), Token(0)).unwrap();
        while driver.turn().unwrap() == Turn::More {}
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..FLOOD {
            peer.send_to(b"noise", handle.udp_addresses()[0]).unwrap();
        }
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        assert!(events.iter().all(|event| driver.on_ready(event)));
        // No event is taken from the poll from here on.
        let mut turns = 1;
        while driver.turn().unwrap() == Turn::More {
            assert_eq!(driver.timeout(), Some(Duration::ZERO));
            turns += 1;
        }
        assert_eq!(driver.ports[0].socket.stats().received, FLOOD as u64);
        assert_eq!(turns, FLOOD / RECEIVE_BUDGET + 1);
        assert_eq!(driver.timeout(), None);
    }
}
