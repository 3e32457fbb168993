//! Endpoints, their browsers, and the links between them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use smallrtc::{
    Config, Datagram, Endpoint, Event, LocalCandidate, NegotiateError, Offer, Routed, Seed,
    SessionId, Transmit,
};

mod balancer;
mod books;
mod caller;
mod desk;
#[cfg(test)]
mod thief;

pub use caller::Outcome;
#[cfg(test)]
pub(crate) use thief::Lost;

use crate::bot::Seat;
use crate::driver::Driver;
use crate::pair::brief;
use crate::replays::Replays;
use crate::setup::BOT_TRANSPORT;
use crate::{
    Bot, Browser, BrowserConfig, Checks, Link, Nat, NatConfig, Packet, Setup, Trace, bot_address,
    start,
};

use balancer::{BALANCER, Balancer};
use caller::{Caller, Reading};
use desk::Desk;

/// Endpoints of one world, each of which has an address of its own in a /24.
const ENDPOINTS_MAX: usize = 200;

/// Endpoints, each with a driver, and their browsers.
///
/// There is one endpoint unless the setup names more [places](Setup::places). Browsers have
/// numbers from 0 on, in the order in which they were added; endpoints too.
///
/// A world keeps everything that was told, in its [outcomes](Outcome) and its trace, and the log of
/// each session up to 16 MiB: tens of MiB for an hour of one call, of which
/// [`Setup::untraced`] and [`Setup::unrecorded`] save the most.
#[derive(Debug)]
pub struct World {
    /// The bots' side: the first endpoint. Calls may go to it directly; the next step polls it.
    /// What is sent through its sessions goes by way of [`World::session`], which keeps the books.
    pub endpoint: Endpoint,
    /// What happened.
    pub trace: Trace,
    others: Vec<Endpoint>,
    /// One for each endpoint, as the seats.
    desks: Vec<Desk>,
    seats: Vec<Seat<Endpoint>>,
    setup: Setup,
    callers: Vec<Caller>,
    /// Every address that a browser ever had, in the simulation's omniscience.
    by_address: BTreeMap<SocketAddr, usize>,
    by_session: BTreeMap<(usize, SessionId), usize>,
    balancer: Balancer,
    now: Instant,
    #[cfg(test)]
    thief: thief::Thief,
    /// Dropped after the sessions, which end their logs.
    replays: Option<Replays>,
}

impl World {
    /// Endpoints without calls. The setup's browser, router, links and driver are the model of
    /// every one's.
    ///
    /// # Panics
    /// With no place, or more than 200.
    #[must_use]
    pub fn new(setup: Setup) -> World {
        let now = start();
        let places = setup.places.len();
        let is_valid = (1..=ENDPOINTS_MAX).contains(&places);
        assert!(is_valid, "places: {places} of at most {ENDPOINTS_MAX}, and at least one");
        let replays = setup.records.then(Replays::default);
        let config = setup.config.clone();
        let config = match &replays {
            Some(replays) => replays.record(config, setup.seed),
            None => config,
        };
        let desks: Vec<_> = (0..setup.places.len()).map(|index| desk(&setup, index)).collect();
        let mut endpoints =
            desks.iter().enumerate().map(|(index, desk)| endpoint(&setup, &config, index, desk));
        World {
            endpoint: endpoints.next().expect("there is a place"),
            others: endpoints.collect(),
            trace: Trace::of_scenario(setup.traces),
            seats: desks.iter().map(|_| Seat::new()).collect(),
            desks,
            setup,
            callers: Vec::new(),
            by_address: BTreeMap::new(),
            by_session: BTreeMap::new(),
            balancer: Balancer::default(),
            now,
            #[cfg(test)]
            thief: thief::Thief::default(),
            replays,
        }
    }

    /// Seats the bot of the first endpoint, in the place of one that sat there. It is told every
    /// event of all calls from now on, at once, and may do to the endpoint what it likes.
    pub fn set_bot(&mut self, bot: impl Bot<Endpoint> + 'static) {
        self.set_bot_at(0, bot);
    }

    /// Seats the bot of an endpoint. What it sends is not accounted for ([`World::ledger`]): what
    /// has to be heard is its test's to say.
    pub fn set_bot_at(&mut self, endpoint: usize, bot: impl Bot<Endpoint> + 'static) {
        self.seats[endpoint].take(bot);
        self.bot_sits(endpoint);
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

    /// How many endpoints there are.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.desks.len()
    }

    /// An endpoint by its number.
    pub fn endpoint_at(&mut self, number: usize) -> &mut Endpoint {
        at(&mut self.endpoint, &mut self.others, number)
    }

    /// Adds a browser with an address of its own, and gives its number.
    pub fn add_browser(&mut self, change: impl FnOnce(&mut BrowserConfig)) -> usize {
        let number = self.callers.len();
        let [high, low] = u16::try_from(number).expect("fewer than 65536 browsers").to_be_bytes();
        let seed = self.setup.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let mut config = self.setup.browser.clone();
        config.seed = seed;
        config.address = SocketAddr::from(([10, 7, high, low], 50_000));
        change(&mut config);
        let address = config.address;
        self.by_address.insert(address, number);
        let local: Vec<_> = self.desks.iter().map(|desk| desk.address).collect();
        self.callers.push(Caller {
            browser: Browser::new(config, self.now),
            nat: None,
            up: Link::new(self.setup.up, seed ^ 0x1111),
            down: Link::new(self.setup.down, seed ^ 0x2222),
            checks: Checks::new(self.setup.mtu, &local, address, self.now),
            ledger: None,
            reading: None,
            outcome: Outcome::default(),
        });
        if let Some(config) = self.setup.nat {
            self.put_behind(number, config);
        }
        number
    }

    /// Puts a browser behind a router of its own. From then on its own address is seen by nobody.
    pub fn put_behind(&mut self, number: usize, config: NatConfig) {
        let [high, low] = u16::try_from(number).expect("fewer than 65536 browsers").to_be_bytes();
        self.callers[number].nat = Some(Nat::new(config, Ipv4Addr::new(100, 64, high, low)));
    }

    /// The router before a browser.
    pub fn nat(&mut self, number: usize) -> Option<&mut Nat> {
        self.callers[number].nat.as_mut()
    }

    /// Loses for so long what a browser and the bots send to each other. What is on its way
    /// arrives.
    pub fn black_out(&mut self, number: usize, duration: Duration) {
        let (until, caller) = (self.now + duration, &mut self.callers[number]);
        caller.up.black_out(until);
        caller.down.black_out(until);
    }

    /// Loses for so long what anybody sends.
    pub fn black_out_all(&mut self, duration: Duration) {
        for number in 0..self.callers.len() {
            self.black_out(number, duration);
        }
    }

    /// For so long, the driver of an endpoint does not run: datagrams and timeouts wait for it.
    pub fn stall(&mut self, endpoint: usize, duration: Duration) {
        self.desks[endpoint].stalled_until = Some(self.now + duration);
    }

    /// How many datagrams an endpoint's socket lost, because its driver slept while they came.
    #[must_use]
    pub fn socket_lost(&self, endpoint: usize) -> u64 {
        self.desks[endpoint].lost()
    }

    /// From now on, the application reads the events of a browser's call only so often, and the
    /// session holds them meanwhile; `None` reads them at once.
    ///
    /// # Panics
    /// With an interval of zero.
    pub fn read_every(&mut self, number: usize, interval: Option<Duration>) {
        assert_ne!(interval, Some(Duration::ZERO), "time passes between two looks");
        let now = self.now;
        let reading = interval.map(|interval| Reading { interval, next: now + interval });
        self.callers[number].reading = reading;
        if let Some(mut session) = self.session(number) {
            session.hold_events(interval.is_some());
        }
        self.flush();
    }

    /// The browser with a number.
    pub fn browser(&mut self, number: usize) -> &mut Browser {
        &mut self.callers[number].browser
    }

    /// Both directions of a browser's path, up and down.
    pub fn links(&mut self, number: usize) -> (&mut Link, &mut Link) {
        let caller = &mut self.callers[number];
        (&mut caller.up, &mut caller.down)
    }

    /// What came of a browser's call.
    #[must_use]
    pub fn outcome(&self, number: usize) -> &Outcome {
        &self.callers[number].outcome
    }

    /// The logs of all sessions so far, in the order in which they were made.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, Vec<u8>)> {
        self.replays.as_ref().map_or_else(Vec::new, Replays::logs)
    }

    /// What came of every call, in the order of their numbers.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.callers.iter().map(|caller| &caller.outcome)
    }

    /// How long all calls together lasted so far, each from its answer to its end.
    #[must_use]
    pub fn call_time(&self) -> Duration {
        self.outcomes().map(|outcome| outcome.lasted(self.elapsed())).sum()
    }

    /// Carries a browser's first offer to the endpoint with the fewest calls and the answer back,
    /// in no time, and starts the session if the setup says so.
    ///
    /// # Errors
    /// What the endpoint says to the offer.
    pub fn call(&mut self, number: usize) -> Result<SessionId, NegotiateError> {
        let fewest = (0..self.desks.len()).min_by_key(|endpoint| self.endpoint_at(*endpoint).len());
        self.call_at(number, fewest.expect("there is an endpoint"))
    }

    /// [`World::call`] at an endpoint of one's choice.
    ///
    /// # Errors
    /// What the endpoint says to the offer.
    pub fn call_at(&mut self, number: usize, endpoint: usize) -> Result<SessionId, NegotiateError> {
        let now = self.now;
        let offer = Offer::parse(&self.callers[number].browser.offer(now))?;
        let (id, answer) = self.endpoint_at(endpoint).accept(&offer, now)?;
        let called = Some(self.elapsed());
        let outcome = &mut self.callers[number].outcome;
        (outcome.id, outcome.endpoint, outcome.called) = (Some(id), endpoint, called);
        self.by_session.insert((endpoint, id), number);
        if let Some(replays) = &mut self.replays {
            replays.session_made();
        }
        self.open_books(number, endpoint);
        if self.setup.starts {
            self.session(number).expect("it was just accepted").start(now);
        }
        self.callers[number].browser.accept_answer(answer.sdp(), now);
        self.flush();
        Ok(id)
    }

    /// Carries another offer of a browser whose call goes on, and the answer back, in no time.
    ///
    /// # Errors
    /// What the session says to the offer.
    ///
    /// # Panics
    /// When the call has ended.
    pub fn offer_again(&mut self, number: usize) -> Result<(), NegotiateError> {
        let offer = self.callers[number].browser.offer(self.now);
        self.exchange(number, &offer)
    }

    /// Restarts a browser's ICE from another address.
    ///
    /// # Errors
    /// What the session says to the offer.
    ///
    /// # Panics
    /// When the call has ended.
    pub fn restart(&mut self, number: usize, address: SocketAddr) -> Result<(), NegotiateError> {
        let caller = &mut self.callers[number];
        caller.checks.allow(address);
        self.by_address.insert(address, number);
        let offer = caller.browser.restart(address, self.now);
        self.exchange(number, &offer)
    }

    fn exchange(&mut self, number: usize, offer: &str) -> Result<(), NegotiateError> {
        let (offer, now) = (Offer::parse(offer)?, self.now);
        let mut session = self.session(number).expect("a call that goes on");
        let answer = session.accept_offer(&offer, now)?;
        drop(session);
        self.callers[number].browser.accept_answer(answer.sdp(), self.now);
        self.flush();
        Ok(())
    }

    /// Hands a datagram to the endpoint that it is addressed to, as if it came from the network
    /// just now; to the first one when it is addressed to none.
    pub fn inject(&mut self, packet: Packet) -> Routed {
        let endpoint = self.endpoint_with(packet.destination).unwrap_or(0);
        let forged = self.by_address.get(&packet.source);
        if let Some(ledger) = forged.and_then(|number| self.callers[*number].ledger.as_mut()) {
            ledger.forged();
        }
        let routed = self.deliver(endpoint, packet);
        self.flush();
        routed
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.flush();
        while self.next_wake().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Steps until something is so.
    ///
    /// # Panics
    /// When it is not so within `limit`.
    pub fn drive_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut World) -> bool,
    ) {
        let end = self.now + limit;
        loop {
            self.flush();
            if is_so(self) {
                return;
            }
            let next = self.next_wake();
            assert!(next.is_some_and(|next| next <= end), "not within {limit:?}: {what}");
            self.step();
        }
    }

    /// Goes to the next wake-up and does what is due there. `None` when nothing is left to do.
    pub fn step(&mut self) -> Option<Instant> {
        self.flush();
        self.now = self.now.max(self.next_wake()?);
        for number in 0..self.callers.len() {
            let caller = &mut self.callers[number];
            if self.setup.checks {
                caller.checks.turn(self.now);
            }
            let has_gaps = caller.up.has_gaps() || caller.down.has_gaps();
            if has_gaps && caller.browser.rounds_by_the_clock() {
                self.trace.stays_here();
            }
            while let Some(packet) = self.callers[number].up.receive(self.now) {
                self.arrive(packet);
            }
            self.read(number);
        }
        for endpoint in 0..self.desks.len() {
            self.step_endpoint(endpoint);
        }
        for number in 0..self.callers.len() {
            if self.callers[number].step(self.now) {
                self.flush_caller(number);
            }
        }
        self.settle();
        Some(self.now)
    }

    fn step_endpoint(&mut self, endpoint: usize) {
        let wake_at = self.driver_wake(endpoint);
        if !self.desks[endpoint].wakes(wake_at, self.now) {
            return;
        }
        while let Some(packet) = self.desks[endpoint].take() {
            let routed = self.deliver(endpoint, packet.clone());
            self.flush_endpoint(endpoint);
            self.hand_on(routed, packet);
        }
        let now = self.now;
        let core = at(&mut self.endpoint, &mut self.others, endpoint);
        self.seats[endpoint].wake(core, now);
        self.flush_endpoint(endpoint);
        for _ in 0..self.desks[endpoint].driver.too_many() {
            self.endpoint_at(endpoint).handle_timeout(now);
            self.flush_endpoint(endpoint);
        }
        for _ in 0..=1000 {
            if self.endpoint_at(endpoint).poll_timeout().is_none_or(|at| at > now) {
                return;
            }
            self.endpoint_at(endpoint).handle_timeout(now);
            self.flush_endpoint(endpoint);
        }
        panic!("poll_timeout of the endpoint lies in the past and stays there");
    }

    /// A slow application looks at a call's events, if it is time.
    fn read(&mut self, number: usize) {
        let now = self.now;
        let Some(reading) = self.callers[number].reading.as_mut() else { return };
        if reading.next > now {
            return;
        }
        reading.next = now + reading.interval;
        for hold in [false, true] {
            let Some(mut session) = self.session(number) else {
                self.callers[number].reading = None;
                return;
            };
            session.hold_events(hold);
            drop(session);
            self.flush_endpoint(self.callers[number].outcome.endpoint);
        }
    }

    fn next_wake(&mut self) -> Option<Instant> {
        let of_drivers: Vec<_> =
            (0..self.desks.len()).map(|number| self.driver_wake(number)).collect();
        let of_callers = self.callers.iter().map(Caller::poll_timeout);
        of_callers.chain(of_drivers).flatten().min()
    }

    /// When the driver of an endpoint runs next.
    fn driver_wake(&mut self, endpoint: usize) -> Option<Instant> {
        let due = [self.endpoint_at(endpoint).poll_timeout(), self.seats[endpoint].poll_timeout()];
        self.desks[endpoint].wake_at(due.into_iter().flatten().min(), self.now)
    }

    fn endpoint_with(&self, address: SocketAddr) -> Option<usize> {
        self.desks.iter().position(|desk| desk.address == address)
    }

    /// A datagram comes out of a link: into the socket that it is for.
    fn arrive(&mut self, mut packet: Packet) {
        let endpoint = if packet.destination == BALANCER {
            let endpoint = self.balancer.endpoint(packet.source);
            packet.destination = self.desks[endpoint].address;
            Some(endpoint)
        } else {
            self.endpoint_with(packet.destination)
        };
        if let Some(endpoint) = endpoint {
            self.desks[endpoint].put(packet, self.now);
        }
    }

    /// The balancer hears that a request names another endpoint: there it goes, and all that
    /// follows from its address.
    fn hand_on(&mut self, routed: Routed, mut packet: Packet) {
        let Routed::NotMine { node, shard } = routed else { return };
        let named = self.setup.places.iter().position(|place| *place == (node, shard));
        let Some(endpoint) = named.filter(|_| self.setup.balances) else { return };
        self.balancer.learn(packet.source, endpoint);
        packet.destination = self.desks[endpoint].address;
        self.desks[endpoint].put(packet, self.now);
    }

    fn deliver(&mut self, endpoint: usize, packet: Packet) -> Routed {
        let Packet { source, destination, payload } = packet;
        self.trace.packet(self.now, source, destination, &payload);
        let (datagram, now) =
            (Datagram::udp(BOT_TRANSPORT, source, destination, payload), self.now);
        self.endpoint_at(endpoint).handle_datagram(datagram, now)
    }

    /// Polls everything that all sides have to say.
    pub fn flush(&mut self) {
        for endpoint in 0..self.desks.len() {
            self.flush_endpoint(endpoint);
        }
        for number in 0..self.callers.len() {
            self.flush_caller(number);
        }
    }

    fn flush_caller(&mut self, number: usize) {
        let at = self.elapsed();
        let caller = &mut self.callers[number];
        while let Some(packet) = caller.poll_packet(self.now) {
            caller.checks.allow(packet.source);
            self.by_address.insert(packet.source, number);
            caller.up.send(packet, self.now);
        }
        self.account_said(number);
        while let Some(event) = self.callers[number].browser.poll_event() {
            #[cfg(test)]
            if self.thief.takes(Lost::Heard(&event)) {
                continue;
            }
            self.account_heard(number, &event);
            self.trace.note(self.now, format_args!("page {number} {}", brief(&event)));
            self.callers[number].outcome.browser_events.push((at, event));
        }
    }

    fn flush_endpoint(&mut self, endpoint: usize) {
        let now = self.now;
        let mut told = Vec::new();
        while let Some((id, event)) = self.endpoint_at(endpoint).poll_event() {
            told.extend(self.tell(endpoint, id, event));
        }
        self.account_drained(&told);
        while let Some(transmit) = self.endpoint_at(endpoint).poll_transmit() {
            let Transmit { source, destination, .. } = transmit;
            self.trace.packet(now, source, destination, &transmit.payload);
            let Some(number) = self.by_address.get(&destination) else {
                panic!("sent to {destination}, which is nobody");
            };
            let caller = &mut self.callers[*number];
            if self.setup.checks {
                caller.checks.transmit(&transmit);
            }
            let source = if self.setup.balances { BALANCER } else { source };
            let payload = transmit.payload;
            caller.down.send(Packet { source, destination, payload }, now);
        }
    }

    /// A session tells something: the bot is told. Gives whose call it is of.
    fn tell(&mut self, endpoint: usize, id: SessionId, event: Event) -> Option<usize> {
        let (elapsed, now) = (self.elapsed(), self.now);
        #[cfg(test)]
        if self.thief.takes(Lost::Told(&event)) {
            return None;
        }
        self.trace.note(now, format_args!("bot {endpoint} {id} {event:?}"));
        // A test may have accepted an offer that is no browser's of this world.
        let number = self.by_session.get(&(endpoint, id)).copied();
        if let Some(number) = number {
            let is_bot_there = !self.seats[endpoint].is_free();
            self.account_told(number, &event, is_bot_there);
            let caller = &mut self.callers[number];
            // Cheap, and it tells the end.
            caller.checks.event(&event);
            caller.outcome.events.push((elapsed, event.clone()));
        }
        let core = at(&mut self.endpoint, &mut self.others, endpoint);
        self.seats[endpoint].tell(id, &event, core, now);
        number
    }
}

fn at<'a>(first: &'a mut Endpoint, others: &'a mut [Endpoint], number: usize) -> &'a mut Endpoint {
    if number == 0 { first } else { &mut others[number - 1] }
}

/// The socket and driver of an endpoint. The first has the bot's usual address.
fn desk(setup: &Setup, index: usize) -> Desk {
    let mut address = bot_address();
    let last = u8::try_from(index + 1).expect("at most 200 endpoints");
    address.set_ip(Ipv4Addr::new(192, 0, 2, last).into());
    let seed = setup.seed.wrapping_add((index as u64) << 32);
    Desk::new(address, Driver::new(setup.driver, seed ^ 0x5555))
}

fn endpoint(setup: &Setup, config: &Config, index: usize, desk: &Desk) -> Endpoint {
    let (node, shard) = setup.places[index];
    let config = config.clone().place(node, shard).expect("a place that there is").shared();
    let seed = Seed::from_number(setup.seed.wrapping_add((index as u64) << 32));
    let mut endpoint = Endpoint::new(config, seed, start());
    endpoint.add_local_candidate(if setup.balances {
        LocalCandidate::mapped(BOT_TRANSPORT, BALANCER, desk.address)
    } else {
        LocalCandidate::host(BOT_TRANSPORT, desk.address)
    });
    endpoint
}
