//! An endpoint, its browsers, and the links between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallrtc::{
    CloseReason, Datagram, Endpoint, Event, LocalCandidate, NegotiateError, Offer, Routed, Seed,
    SessionId, Transmit,
};

use crate::replays::Replays;
use crate::setup::BOT_TRANSPORT;
use crate::{
    Browser, BrowserConfig, BrowserEvent, Checks, Link, Packet, Setup, Trace, bot_address, start,
};

/// One endpoint and its browsers.
#[derive(Debug)]
pub struct World {
    /// The bots' side. Calls may go to it directly; the next step polls it.
    pub endpoint: Endpoint,
    /// What happened.
    pub trace: Trace,
    setup: Setup,
    clients: Vec<Client>,
    /// Every address that a browser ever had, in the simulation's omniscience.
    by_address: BTreeMap<SocketAddr, usize>,
    by_session: BTreeMap<SessionId, usize>,
    now: Instant,
    /// Dropped after the sessions, which end their logs.
    replays: Option<Replays>,
}

/// A browser with its path to the endpoint and what came of its call.
#[derive(Debug)]
struct Client {
    browser: Browser,
    up: Link,
    down: Link,
    checks: Checks,
    outcome: Outcome,
}

/// What came of a call.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The session, once the offer was accepted.
    pub id: Option<SessionId>,
    /// What the session told.
    pub events: Vec<(Duration, Event)>,
    /// What the page was told.
    pub browser_events: Vec<(Duration, BrowserEvent)>,
}

impl Outcome {
    /// Why the call ended.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.events.iter().find_map(|(_, event)| match event {
            Event::Closed { reason } => Some(*reason),
            _ => None,
        })
    }

    /// Whether the session told this.
    #[must_use]
    pub fn told(&self, wanted: &Event) -> bool {
        self.events.iter().any(|(_, event)| event == wanted)
    }

    /// Whether the page was told this.
    #[must_use]
    pub fn page_told(&self, wanted: &BrowserEvent) -> bool {
        self.browser_events.iter().any(|(_, event)| event == wanted)
    }
}

impl World {
    /// An endpoint without calls. The setup's browser and links are the model of every call's.
    #[must_use]
    pub fn new(setup: Setup) -> World {
        let now = start();
        let replays = setup.records.then(Replays::default);
        let config = setup.config.clone();
        let config = match &replays {
            Some(replays) => replays.record(config, setup.seed),
            None => config,
        };
        let config = config.shared();
        let mut endpoint = Endpoint::new(config, Seed::from_number(setup.seed), now);
        endpoint.add_local_candidate(LocalCandidate::host(BOT_TRANSPORT, bot_address()));
        World {
            endpoint,
            trace: if setup.traces { Trace::default() } else { Trace::off() },
            setup,
            clients: Vec::new(),
            by_address: BTreeMap::new(),
            by_session: BTreeMap::new(),
            now,
            replays,
        }
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

    /// Adds a browser with an address of its own, and gives its number.
    pub fn add_browser(&mut self, change: impl FnOnce(&mut BrowserConfig)) -> usize {
        let number = self.clients.len();
        let [high, low] = u16::try_from(number).expect("fewer than 65536 browsers").to_be_bytes();
        let seed = self.setup.seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let mut config = self.setup.browser.clone();
        config.seed = seed;
        config.address = SocketAddr::from(([10, 7, high, low], 50_000));
        change(&mut config);
        let address = config.address;
        self.by_address.insert(address, number);
        self.clients.push(Client {
            browser: Browser::new(config, self.now),
            up: Link::new(self.setup.up, seed ^ 0x1111),
            down: Link::new(self.setup.down, seed ^ 0x2222),
            checks: Checks::new(self.setup.mtu, &[bot_address()], address, self.now),
            outcome: Outcome::default(),
        });
        number
    }

    /// The browser with a number.
    pub fn browser(&mut self, number: usize) -> &mut Browser {
        &mut self.clients[number].browser
    }

    /// Both directions of a browser's path, up and down.
    pub fn links(&mut self, number: usize) -> (&mut Link, &mut Link) {
        let client = &mut self.clients[number];
        (&mut client.up, &mut client.down)
    }

    /// What came of a browser's call.
    #[must_use]
    pub fn outcome(&self, number: usize) -> &Outcome {
        &self.clients[number].outcome
    }

    /// The logs of all sessions so far, in the order in which they were made.
    #[must_use]
    pub fn logs(&self) -> Vec<(String, Vec<u8>)> {
        self.replays.as_ref().map_or_else(Vec::new, Replays::logs)
    }

    /// What came of every call, in the order of their numbers.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.clients.iter().map(|client| &client.outcome)
    }

    /// Carries a browser's first offer to the endpoint and the answer back, in no time, and
    /// starts the session if the setup says so.
    ///
    /// # Errors
    /// What the endpoint says to the offer.
    pub fn call(&mut self, number: usize) -> Result<SessionId, NegotiateError> {
        let offer = Offer::parse(&self.clients[number].browser.offer(self.now))?;
        let (id, answer) = self.endpoint.accept(&offer, self.now)?;
        let client = &mut self.clients[number];
        client.outcome.id = Some(id);
        self.by_session.insert(id, number);
        if self.setup.starts {
            self.endpoint.session(id).expect("it was just accepted").start(self.now);
        }
        self.clients[number].browser.accept_answer(answer.sdp(), self.now);
        self.flush();
        Ok(id)
    }

    /// Restarts a browser's ICE from another address.
    ///
    /// # Errors
    /// What the session says to the offer.
    ///
    /// # Panics
    /// When the call has ended.
    pub fn restart(&mut self, number: usize, address: SocketAddr) -> Result<(), NegotiateError> {
        let client = &mut self.clients[number];
        client.checks.allow(address);
        self.by_address.insert(address, number);
        let offer = Offer::parse(&client.browser.restart(address, self.now))?;
        let id = client.outcome.id.expect("a call that was accepted");
        let mut session = self.endpoint.session(id).expect("a call that goes on");
        let answer = session.accept_offer(&offer, self.now)?;
        drop(session);
        self.clients[number].browser.accept_answer(answer.sdp(), self.now);
        self.flush();
        Ok(())
    }

    /// Hands a datagram to the endpoint as if it came from the network just now.
    pub fn inject(&mut self, packet: Packet) -> Routed {
        let routed = self.deliver(packet);
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
        for number in 0..self.clients.len() {
            self.step_client(number);
        }
        for _ in 0..=1000 {
            if self.endpoint.poll_timeout().is_none_or(|at| at > self.now) {
                return Some(self.now);
            }
            self.endpoint.handle_timeout(self.now);
            self.flush_endpoint();
        }
        panic!("poll_timeout of the endpoint lies in the past and stays there");
    }

    fn step_client(&mut self, number: usize) {
        let now = self.now;
        self.clients[number].checks.turn(now);
        while let Some(packet) = self.clients[number].up.receive(now) {
            let _routed = self.deliver(packet);
            self.flush_endpoint();
        }
        let client = &mut self.clients[number];
        let mut is_touched = false;
        while let Some(packet) = client.down.receive(now) {
            client.browser.handle_packet(&packet, now);
            is_touched = true;
        }
        if client.browser.poll_timeout().is_some_and(|at| at <= now) {
            client.browser.handle_timeout(now);
            is_touched = true;
        }
        if is_touched {
            self.flush_client(number);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let of_clients = self.clients.iter().flat_map(|client| {
            let Client { browser, up, down, .. } = client;
            [browser.poll_timeout(), up.poll_timeout(), down.poll_timeout()]
        });
        of_clients.chain([self.endpoint.poll_timeout()]).flatten().min()
    }

    fn deliver(&mut self, packet: Packet) -> Routed {
        let Packet { source, destination, payload } = packet;
        self.trace.packet(self.now, source, destination, &payload);
        let datagram = Datagram::udp(BOT_TRANSPORT, source, destination, payload);
        self.endpoint.handle_datagram(datagram, self.now)
    }

    /// Polls everything that all sides have to say.
    pub fn flush(&mut self) {
        self.flush_endpoint();
        for number in 0..self.clients.len() {
            self.flush_client(number);
        }
    }

    fn flush_client(&mut self, number: usize) {
        let at = self.elapsed();
        let client = &mut self.clients[number];
        while let Some(packet) = client.browser.poll_packet() {
            client.up.send(packet, self.now);
        }
        while let Some(event) = client.browser.poll_event() {
            client.outcome.browser_events.push((at, event));
        }
    }

    fn flush_endpoint(&mut self) {
        let at = self.elapsed();
        while let Some((id, event)) = self.endpoint.poll_event() {
            self.trace.note(self.now, format_args!("bot {id} {event:?}"));
            // A test may have accepted an offer that is no browser's of this world.
            let Some(number) = self.by_session.get(&id) else { continue };
            let client = &mut self.clients[*number];
            client.checks.event(&event);
            client.outcome.events.push((at, event));
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let Transmit { source, destination, .. } = transmit;
            self.trace.packet(self.now, source, destination, &transmit.payload);
            let Some(number) = self.by_address.get(&destination) else {
                panic!("sent to {destination}, which is nobody");
            };
            let client = &mut self.clients[*number];
            client.checks.transmit(&transmit);
            let payload = transmit.payload;
            client.down.send(Packet { source, destination, payload }, self.now);
        }
    }
}
