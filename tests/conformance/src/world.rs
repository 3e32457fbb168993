//! A driver's loop on virtual time, with browsers and links around it.
//!
//! The loop is that of the real drivers, with a model of a socket in place of theirs. One turn:
//! take what the socket holds within [`RECEIVE_BUDGET`], step, send within [`SEND_BUDGET`], let the
//! application run. When a budget was used up or the deadline has passed, the next turn follows at
//! once; else the driver waits, with the deadline that it read last, and is woken by a datagram,
//! by that deadline, or by the bell of a command. A deadline that moves without a bell is not
//! noticed, exactly as in a real wait.
//!
//! Whenever the driver would wait, [`World`] checks that nothing due is left undone: the deadline
//! lies ahead, nothing is to be sent, every order has been carried out, and one more step changes
//! nothing at all. Every datagram is checked for its order, its size and its addresses, and every
//! call for its one end. These checks hold in every test of the suite.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::signaling::Response;
use smallrtc::{Datagram, LocalCandidate, Seed, SessionId, Transmit, TransportId};
use smallrtc_sim::{Browser, BrowserEvent, Checks, Link, Packet, Setup, Trace, bot_address, start};
use smallrtc_smol::SEND_BUDGET;
use smallrtc_udp::RECEIVE_BUDGET;

use crate::subject::{Bot, Command, Figures, Order, Report, Subject, Ticket, Told};
use crate::watch::Watch;

mod outcome;

/// The socket, as the simulator's checks know it.
const TRANSPORT: TransportId = TransportId(5);

/// Datagrams that the model of a kernel keeps: as many of 250 bytes as 1 MiB holds.
const SOCKET_MAX: usize = 4096;

/// Turns that may follow one another without time passing: far more than any burst needs.
const TURNS_MAX: usize = 20_000;

/// How often a driver whose socket is blocked steps.
const BLOCKED_STEP: Duration = Duration::from_millis(1);

/// What each part of a turn takes of virtual time. Nothing, unless a test says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Each datagram taken.
    pub datagram: Duration,
    /// Each step.
    pub step: Duration,
    /// Each datagram sent.
    pub transmit: Duration,
    /// Each thing that the application is told.
    pub told: Duration,
}

/// Makes the datagram with a number.
pub type Source = Box<dyn FnMut(u64) -> Packet>;

/// Datagrams from nowhere, so many at each interval.
pub struct Flood {
    /// When the next come.
    pub at: Instant,
    /// How long until the next ones.
    pub interval: Duration,
    /// How many at once.
    pub count: usize,
    /// Makes the one with this number.
    pub make: Source,
}

/// A subject in the model of a driver, and the browsers that call it.
pub struct World<S> {
    /// What is driven.
    pub subject: S,
    /// What each part of a turn takes.
    pub costs: Costs,
    /// What comes from nowhere.
    pub flood: Option<Flood>,
    /// Orders may wait for room while the driver waits.
    pub orders_may_wait: bool,
    /// Whether each wait is preceded by one more step, which must do nothing.
    pub probes: bool,
    setup: Setup,
    clients: Vec<Client>,
    by_address: BTreeMap<SocketAddr, usize>,
    by_session: BTreeMap<SessionId, usize>,
    by_name: BTreeMap<String, SessionId>,
    calling: BTreeMap<Ticket, usize>,
    /// Browsers that were answered before the application accepted their calls.
    nameless: BTreeMap<String, usize>,
    schedule: BTreeSet<(Instant, usize)>,
    socket: VecDeque<Packet>,
    socket_overflowed: u64,
    flooded: u64,
    now: Instant,
    driver: Driver,
    is_blocked: bool,
    turns: usize,
    full_sends: u64,
    reports: usize,
    next_ticket: u64,
    open_orders: BTreeSet<Ticket>,
    answers: BTreeMap<Ticket, Response>,
    ended: BTreeSet<Ticket>,
    figures: Option<Figures>,
    strangers: Vec<(SessionId, Told)>,
}

/// What the model of a driver is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    /// The next turn follows at once.
    Busy,
    /// It waits, for this deadline at the latest.
    Waits(Option<Instant>),
    /// It cannot run before this: its thread is taken, or the machine sleeps.
    Stalled(Instant),
    /// It is not driven any more.
    Gone,
}

/// A browser with its path and what came of its call.
struct Client {
    browser: Browser,
    up: Link,
    down: Link,
    checks: Checks,
    trace: Trace,
    watch: Watch,
    wake: Option<Instant>,
    /// What the bot answered.
    answer: String,
    id: Option<SessionId>,
    told: Vec<(Duration, Told)>,
    page: Vec<(Duration, BrowserEvent)>,
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flood({} each {:?})", self.count, self.interval)
    }
}

impl<S> fmt::Debug for World<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({} calls, driver {:?})", self.clients.len(), self.driver)
    }
}

impl<S: Subject> World<S> {
    /// A subject without calls. The setup's browser and links are the model of every call's.
    #[must_use]
    pub fn new(setup: Setup, bot: Bot) -> World<S> {
        let now = start();
        let candidates = [LocalCandidate::host(TRANSPORT, bot_address())];
        let seed = Seed::from_number(setup.seed);
        let subject = S::new(setup.config.clone().shared(), &seed, &candidates, bot, now);
        World {
            subject,
            costs: Costs::default(),
            flood: None,
            orders_may_wait: false,
            probes: true,
            setup,
            clients: Vec::new(),
            by_address: BTreeMap::new(),
            by_session: BTreeMap::new(),
            by_name: BTreeMap::new(),
            calling: BTreeMap::new(),
            nameless: BTreeMap::new(),
            schedule: BTreeSet::new(),
            socket: VecDeque::new(),
            socket_overflowed: 0,
            flooded: 0,
            now,
            driver: Driver::Busy,
            is_blocked: false,
            turns: 0,
            full_sends: 0,
            reports: 0,
            next_ticket: 0,
            open_orders: BTreeSet::new(),
            answers: BTreeMap::new(),
            ended: BTreeSet::new(),
            figures: None,
            strangers: Vec::new(),
        }
    }

    /// A world with so many calls whose channels are open and whose first second has passed.
    #[must_use]
    pub fn connected(setup: Setup, bot: Bot, calls: usize) -> World<S> {
        let mut world = World::new(setup, bot);
        for _ in 0..calls {
            let number = world.add_browser();
            world.call(number);
        }
        world.drive_for(Duration::from_secs(1));
        for number in 0..calls {
            assert!(world.clients[number].browser.is_open(), "call {number} has no channel");
        }
        world
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - start()
    }

    /// Turns that had more to send than [`SEND_BUDGET`].
    #[must_use]
    pub fn full_sends(&self) -> u64 {
        self.full_sends
    }

    /// Datagrams that the model of a kernel had no room for.
    #[must_use]
    pub fn socket_overflowed(&self) -> u64 {
        self.socket_overflowed
    }

    /// Adds a browser with an address of its own, and gives its number.
    pub fn add_browser(&mut self) -> usize {
        let number = self.clients.len();
        let [high, low] = u16::try_from(number).expect("fewer than 65536 browsers").to_be_bytes();
        let seed = self.setup.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let mut config = self.setup.browser.clone();
        config.seed = seed;
        config.address = SocketAddr::from(([10, 7, high, low], 50_000));
        let address = config.address;
        self.by_address.insert(address, number);
        self.clients.push(Client {
            browser: Browser::new(config, self.now),
            up: Link::new(self.setup.up, seed ^ 0x1111),
            down: Link::new(self.setup.down, seed ^ 0x2222),
            checks: Checks::new(self.setup.mtu, &[bot_address()], address, self.now),
            trace: if self.setup.traces { Trace::default() } else { Trace::off() },
            watch: Watch::default(),
            wake: None,
            answer: String::new(),
            id: None,
            told: Vec::new(),
            page: Vec::new(),
        });
        number
    }

    /// A browser posts its first offer; what comes of it follows when time passes.
    pub fn call(&mut self, number: usize) {
        let sdp = self.clients[number].browser.offer(self.now);
        let body = json!({ "type": "offer", "sdp": sdp }).to_string();
        let ticket = self.post(body);
        self.calling.insert(ticket, number);
    }

    /// Posts an offer.
    pub fn post(&mut self, body: String) -> Ticket {
        self.request("POST", "/api/offer", body)
    }

    /// Makes an HTTP request.
    pub fn request(&mut self, method: &'static str, path: &'static str, body: String) -> Ticket {
        let ticket = self.ticket();
        self.order(Order::Request { ticket, method, path, body: body.into_bytes() });
        ticket
    }

    /// Puts down a command for a browser's call.
    pub fn command(&mut self, number: usize, command: Command) -> Ticket {
        let id = self.id(number);
        let ticket = self.ticket();
        self.order(Order::Command(id, Some(ticket), command));
        ticket
    }

    /// Puts a command down while the next step runs. See [`Subject::order_during_step`].
    pub fn command_during_step(&mut self, number: usize, command: Command) -> Ticket {
        let id = self.id(number);
        let ticket = self.ticket();
        self.subject.order_during_step(Order::Command(id, Some(ticket), command));
        ticket
    }

    /// The application stops reading a call, or goes on.
    pub fn hold(&mut self, number: usize, hold: bool) {
        let id = self.id(number);
        self.order(Order::Hold(id, hold));
    }

    /// The application closes everything.
    pub fn close(&mut self) -> Ticket {
        let ticket = self.ticket();
        self.order(Order::Close(ticket));
        ticket
    }

    /// The sockets break: the machine is told so, and dropped.
    pub fn fail(&mut self) {
        self.subject.fail(self.now);
        self.drop_machine();
    }

    /// What the driver tells of itself.
    ///
    /// # Panics
    /// When it does not answer at once.
    pub fn figures(&mut self) -> Figures {
        self.settle();
        let ticket = self.ticket();
        self.order(Order::Figures(ticket));
        self.settle();
        self.figures.take().expect("a driver answers within the instant")
    }

    /// Gives an order, while the driver waits or is in between two turns.
    pub fn order(&mut self, order: Order) {
        self.subject.order(order);
        self.subject.run_application();
        self.collect();
    }

    /// How many browsers there are.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.clients.len()
    }

    /// The name of a browser's call.
    ///
    /// # Panics
    /// When it has none yet.
    #[must_use]
    pub fn id(&self, number: usize) -> SessionId {
        self.clients[number].id.expect("the call was answered")
    }

    /// Loses everything that is sent to a browser, or stops doing so.
    pub fn set_deaf(&mut self, number: usize, is_deaf: bool) {
        self.clients[number].down.set_down(is_deaf);
    }

    /// The SDP that a browser was answered with.
    #[must_use]
    pub fn answer_sdp(&self, number: usize) -> &str {
        &self.clients[number].answer
    }

    /// The browser with a number. Call [`World::touched`] after having it do something.
    pub fn browser(&mut self, number: usize) -> &mut Browser {
        &mut self.clients[number].browser
    }

    /// The browser sends a message.
    pub fn send_text(&mut self, number: usize, text: &str) {
        let now = self.now;
        assert!(self.clients[number].browser.send_text(text, now), "the channel takes it");
        self.touched(number);
    }

    /// What a browser sent goes on its way.
    pub fn touched(&mut self, number: usize) {
        self.flush_client(number);
        self.refile(number);
    }

    /// Orders that have not been carried out.
    #[must_use]
    pub fn open_orders(&self) -> usize {
        self.open_orders.len()
    }

    /// The deadline that the driver waits for.
    ///
    /// # Panics
    /// When it does not wait.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let Driver::Waits(deadline) = self.driver else { panic!("the driver does not wait") };
        deadline
    }

    /// The driver's thread is taken for so long; browsers and links go on.
    pub fn stall(&mut self, duration: Duration) {
        self.driver = Driver::Stalled(self.now + duration);
    }

    /// The socket takes nothing any more, or is writable again. A driver that is blocked leaves
    /// datagrams where they are, and steps each millisecond for the sake of other deadlines,
    /// which what is due at once hides.
    pub fn set_blocked(&mut self, is_blocked: bool) {
        self.is_blocked = is_blocked;
        self.driver = Driver::Busy;
    }

    /// Makes one turn of the driver, and tells how many things its application reported in it.
    pub fn turn_once(&mut self) -> usize {
        let before = self.reports;
        self.turn();
        self.reports - before
    }

    /// Whether the next turn follows without a wait.
    #[must_use]
    pub fn is_busy(&mut self) -> bool {
        self.must_turn()
    }

    /// Lets links go on for so long without the driver, and hands everything that came to the
    /// subject at once. The next turn is the caller's.
    pub fn hand_over_datagrams(&mut self, duration: Duration) {
        self.stall(duration + Duration::from_nanos(1));
        self.drive_for(duration);
        let now = self.now;
        for Packet { source, destination, payload } in std::mem::take(&mut self.socket) {
            let datagram = Datagram::udp(TRANSPORT, source, destination, payload);
            self.subject.handle_datagram(datagram, now);
        }
    }

    /// When a link or a browser has something to do.
    #[must_use]
    pub fn next_event(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.pump(end) {}
    }

    /// Lets happen what takes no time.
    pub fn settle(&mut self) {
        self.drive_for(Duration::ZERO);
    }

    /// Drives until something is so.
    ///
    /// # Panics
    /// When it is not so within `limit`.
    pub fn drive_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut World<S>) -> bool,
    ) {
        let end = self.now + limit;
        while !is_so(self) {
            assert!(self.pump(end), "not within {limit:?}: {what}");
        }
    }

    /// The machine is dropped; the application and the network stay.
    pub fn drop_machine(&mut self) {
        self.subject.drop_machine();
        self.driver = Driver::Gone;
        self.subject.run_application();
        self.collect();
    }

    /// One turn of the driver or one jump of time; false when nothing is left before `end`.
    fn pump(&mut self, end: Instant) -> bool {
        self.run_network();
        if self.must_turn() {
            self.turn();
            return true;
        }
        let next = self.next_wake().filter(|next| *next <= end);
        match next {
            Some(next) if next > self.now => self.turns = 0,
            Some(_) => self.spin(),
            None => {
                self.turns = 0;
                self.now = self.now.max(end);
                return false;
            }
        }
        self.now = self.now.max(next.unwrap_or(end));
        true
    }

    fn must_turn(&mut self) -> bool {
        match self.driver {
            Driver::Busy => true,
            Driver::Stalled(until) if until > self.now => false,
            Driver::Stalled(_) => true,
            Driver::Waits(deadline) => {
                deadline.is_some_and(|at| at <= self.now)
                    || !self.socket.is_empty()
                    || self.subject.is_rung()
            }
            Driver::Gone => false,
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let of_driver = match self.driver {
            Driver::Busy => Some(self.now),
            Driver::Waits(deadline) => deadline,
            Driver::Stalled(until) => Some(until),
            Driver::Gone => None,
        };
        let of_clients = self.schedule.first().map(|(at, _)| *at);
        let of_flood = self.flood.as_ref().map(|flood| flood.at);
        [of_driver, of_clients, of_flood].into_iter().flatten().min()
    }

    fn spin(&mut self) {
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "time stands still: the driver spins");
    }

    /// One turn of the driver.
    fn turn(&mut self) {
        self.spin();
        let now = self.now;
        for _ in 0..RECEIVE_BUDGET {
            let Some(Packet { source, destination, payload }) = self.socket.pop_front() else {
                break;
            };
            self.charge(self.costs.datagram);
            let datagram = Datagram::udp(TRANSPORT, source, destination, payload);
            self.subject.handle_datagram(datagram, now);
        }
        let mut more = !self.socket.is_empty();
        self.charge(self.costs.step);
        more |= self.subject.step(now);
        if self.is_blocked {
            self.subject.run_application();
            self.collect();
            self.driver = Driver::Waits(Some(now + BLOCKED_STEP));
            return;
        }
        more |= self.send();
        let deadline = self.subject.end_turn(now);
        if self.subject.is_finished() && !more {
            self.driver = Driver::Gone;
            self.subject.drop_machine();
        }
        self.subject.run_application();
        self.collect();
        if self.driver == Driver::Gone {
            return;
        }
        // Bells that rang while the application ran, and datagrams, end the wait at once.
        self.driver = if more || deadline.is_some_and(|at| at <= now) {
            Driver::Busy
        } else {
            Driver::Waits(deadline)
        };
        if self.driver != Driver::Busy && self.now == now && !self.must_turn() {
            self.check_rest(deadline);
        }
    }

    /// The driver is about to wait: nothing is left undone.
    fn check_rest(&mut self, deadline: Option<Instant>) {
        let now = self.now;
        assert!(deadline.is_none_or(|at| at > now), "the deadline has passed, and it waits");
        assert!(self.subject.poll_transmit().is_none(), "a datagram is left, and it waits");
        let open = &self.open_orders;
        assert!(self.orders_may_wait || open.is_empty(), "{open:?} are open, and it waits");
        if !self.probes {
            return;
        }
        assert!(!self.subject.step(now), "it waited, and a step has more to do");
        assert!(self.subject.poll_transmit().is_none(), "it waited, and a step sends");
        self.subject.run_application();
        assert_eq!(self.subject.poll_report(), None, "it waited, and a step tells");
        assert_eq!(self.subject.end_turn(now), deadline, "it waited for another deadline");
        assert!(!self.subject.is_rung(), "it waited, and a step rings");
    }

    /// Sends within the budget; true when there may be more.
    fn send(&mut self) -> bool {
        for _ in 0..SEND_BUDGET {
            let Some(transmit) = self.subject.poll_transmit() else { return false };
            self.charge(self.costs.transmit);
            self.on_transmit(transmit);
        }
        self.full_sends += 1;
        true
    }

    fn charge(&mut self, cost: Duration) {
        if cost > Duration::ZERO {
            self.now += cost;
            self.turns = 0;
        }
    }

    fn on_transmit(&mut self, transmit: Transmit) {
        let (now, at) = (self.now, self.elapsed());
        let Transmit { source, destination, .. } = transmit;
        let Some(number) = self.by_address.get(&destination).copied() else {
            panic!("sent to {destination}, which is nobody");
        };
        let client = &mut self.clients[number];
        client.checks.turn(now);
        client.checks.transmit(&transmit);
        client.watch.see(&transmit.payload, at);
        client.trace.packet(now, source, destination, &transmit.payload);
        let payload = transmit.payload;
        client.down.send(Packet { source, destination, payload }, now);
        self.refile(number);
    }

    /// Takes what the application has to tell.
    fn collect(&mut self) {
        while let Some(report) = self.subject.poll_report() {
            self.reports += 1;
            match report {
                Report::Told(id, told) => {
                    self.charge(self.costs.told);
                    self.on_told(id, told);
                }
                Report::Answer(ticket, response) => self.on_answer(ticket, response),
                Report::Figures(ticket, figures) => {
                    self.open_orders.remove(&ticket);
                    self.figures = Some(figures);
                }
                Report::Ended(ticket) => {
                    self.open_orders.remove(&ticket);
                    self.ended.insert(ticket);
                }
            }
        }
    }

    fn on_told(&mut self, id: SessionId, told: Told) {
        if let Told::Called { pc_id } = &told {
            self.by_name.insert(pc_id.clone(), id);
            if let Some(number) = self.nameless.remove(pc_id) {
                self.introduce(number, id);
            }
        }
        if let Told::Done(ticket, _) = &told {
            self.open_orders.remove(ticket);
        }
        let Some(number) = self.by_session.get(&id) else {
            // It may be told of before its browser is answered.
            self.strangers.push((id, told));
            return;
        };
        let (at, client) = (self.elapsed(), &mut self.clients[*number]);
        assert!(
            !client.checks.is_closed() || matches!(told, Told::Done(..)),
            "{told:?} after the end"
        );
        if let Told::Closed(reason) = told {
            client.checks.event(&smallrtc::Event::Closed { reason });
        }
        client.told.push((at, told));
    }

    fn on_answer(&mut self, ticket: Ticket, response: Response) {
        self.open_orders.remove(&ticket);
        if let Some(number) = self.calling.remove(&ticket) {
            assert_eq!(response.status, 200, "{}", response.body);
            let answer: Value = serde_json::from_str(&response.body).expect("answers are JSON");
            let text = |field: &str| answer[field].as_str().expect("an answer has it").to_owned();
            let sdp = text("sdp");
            self.clients[number].browser.accept_answer(&sdp, self.now);
            self.clients[number].answer = sdp;
            self.touched(number);
            let name = text("pc_id");
            match self.by_name.get(&name).copied() {
                Some(id) => self.introduce(number, id),
                None => drop(self.nameless.insert(name, number)),
            }
        }
        self.answers.insert(ticket, response);
    }

    /// This call is that browser's.
    fn introduce(&mut self, number: usize, id: SessionId) {
        self.clients[number].id = Some(id);
        self.by_session.insert(id, number);
        for (of, told) in std::mem::take(&mut self.strangers) {
            self.on_told(of, told);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open_orders.insert(ticket);
        ticket
    }

    /// Everything that links and browsers have to do by now.
    fn run_network(&mut self) {
        while let Some((at, number)) = self.schedule.first().copied() {
            if at > self.now {
                break;
            }
            self.run_client(number);
            self.refile(number);
        }
        while let Some(flood) = &mut self.flood {
            if flood.at > self.now {
                break;
            }
            for _ in 0..flood.count {
                let packet = (flood.make)(self.flooded);
                self.flooded += 1;
                if self.socket.len() < SOCKET_MAX {
                    self.socket.push_back(packet);
                } else {
                    self.socket_overflowed += 1;
                }
            }
            flood.at += flood.interval;
        }
    }

    fn run_client(&mut self, number: usize) {
        let now = self.now;
        let client = &mut self.clients[number];
        while let Some(packet) = client.up.receive(now) {
            let Packet { source, destination, payload } = &packet;
            client.trace.packet(now, *source, *destination, payload);
            if self.socket.len() < SOCKET_MAX {
                self.socket.push_back(packet);
            } else {
                self.socket_overflowed += 1;
            }
        }
        while let Some(packet) = client.down.receive(now) {
            client.browser.handle_packet(packet, now);
        }
        if client.browser.poll_timeout().is_some_and(|at| at <= now) {
            client.browser.handle_timeout(now);
        }
        self.flush_client(number);
    }

    fn flush_client(&mut self, number: usize) {
        let at = self.elapsed();
        let client = &mut self.clients[number];
        while let Some(packet) = client.browser.poll_packet() {
            client.up.send(packet, self.now);
        }
        while let Some(event) = client.browser.poll_event() {
            client.page.push((at, event));
        }
    }

    fn refile(&mut self, number: usize) {
        let Client { browser, up, down, wake, .. } = &mut self.clients[number];
        let wakes = [browser.poll_timeout(), up.poll_timeout(), down.poll_timeout()];
        let next = wakes.into_iter().flatten().min();
        if *wake != next {
            if let Some(old) = wake.take() {
                self.schedule.remove(&(old, number));
            }
            if let Some(new) = next {
                self.schedule.insert((new, number));
            }
            *wake = next;
        }
    }
}

/// Where the suite's browsers and floods send to.
#[must_use]
pub fn destination() -> SocketAddr {
    bot_address()
}
