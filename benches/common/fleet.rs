//! A side with its browsers: the script that all sides run through, and what is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::browser::Browser;
use super::{PACKET_TIME, browser_address, browser_at};

/// Datagrams that a side sent, with their destinations.
pub type Outbox<T> = Vec<(SocketAddr, T)>;

/// When, within its 20 ms, the side speaks: neither when the browsers do nor halfway.
const SPEAKS_AT: Duration = Duration::from_millis(7);

/// The longest that browsers may take to connect, on virtual time.
const CONNECTING_MAX: Duration = Duration::from_secs(10);

/// What answers the browsers. Only calls that a server would make in their place: each leaves the
/// side drained.
pub trait Side {
    /// A datagram as the socket layer hands it over.
    type In;
    /// The payload of a datagram that is to be sent.
    type Out;

    /// Answers the next browser's offer.
    fn accept(&mut self, offer: &str, now: Instant) -> String;
    /// What the socket layer does before the side sees a datagram.
    fn arrival(source: SocketAddr, payload: Vec<u8>) -> Self::In;
    fn bytes(out: &Self::Out) -> &[u8];
    /// Takes datagrams, each with its browser's index.
    fn receive(
        &mut self,
        arrivals: &mut Vec<(usize, Self::In)>,
        out: &mut Outbox<Self::Out>,
        now: Instant,
    );
    /// Sends 20 ms of sound on every call.
    fn speak(&mut self, turn: usize, out: &mut Outbox<Self::Out>, now: Instant);
    /// Lets time pass for those that asked for it; gives how many did.
    fn wake(&mut self, out: &mut Outbox<Self::Out>, now: Instant) -> u64;
    fn next_wake(&self) -> Option<Instant>;
    fn is_connected(&self) -> bool;
    /// Packets of sound that came out at the top.
    fn heard(&self) -> u64;
}

/// Measures what the side does.
pub trait Meter {
    /// A call of the side.
    fn work<T>(&mut self, call: impl FnOnce() -> T) -> T;
    /// What belongs to the side's memory, but not to its work: making and dropping datagrams.
    fn upkeep<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// Measures nothing.
pub struct NoMeter;

impl Meter for NoMeter {
    fn work<T>(&mut self, call: impl FnOnce() -> T) -> T {
        call()
    }
}

/// A side with its browsers.
pub struct Fleet<S: Side, M: Meter> {
    pub side: S,
    pub meter: M,
    pub now: Instant,
    /// How often the side was woken, over all calls.
    pub wakes: u64,
    /// Datagrams from and to the side.
    pub sent: u64,
    pub received: u64,
    browsers: Vec<Browser>,
    arrivals: Vec<(usize, S::In)>,
    outbox: Outbox<S::Out>,
    turn: usize,
}

impl<S: Side, M: Meter> Fleet<S, M> {
    /// Connects `calls` browsers to a side.
    pub fn connect(side: S, meter: M, calls: usize, now: Instant) -> Fleet<S, M> {
        let mut fleet = Fleet {
            side,
            meter,
            now,
            wakes: 0,
            sent: 0,
            received: 0,
            browsers: Vec::new(),
            arrivals: Vec::new(),
            outbox: Vec::new(),
            turn: 0,
        };
        // In groups, as an endpoint bounds those that are on their way.
        while fleet.browsers.len() < calls {
            for _ in 0..50.min(calls - fleet.browsers.len()) {
                fleet.call();
            }
            let deadline = fleet.now + CONNECTING_MAX;
            while !(fleet.side.is_connected() && fleet.browsers.iter().all(Browser::is_ready)) {
                assert!(fleet.now < deadline, "the browsers connect");
                fleet.run_until(fleet.now + Duration::from_millis(10));
            }
        }
        fleet
    }

    fn call(&mut self) {
        let now = self.now;
        let (mut browser, offer) = Browser::new(self.browsers.len(), now);
        let answer = self.meter.work(|| self.side.accept(&offer, now));
        browser.accept(&answer, now);
        self.browsers.push(browser);
    }

    pub fn len(&self) -> usize {
        self.browsers.len()
    }

    /// Packets of sound that the browsers heard.
    pub fn heard_by_browsers(&self) -> u64 {
        self.browsers.iter().map(|browser| browser.heard).sum()
    }

    /// 20 ms: each browser speaks, then each call does.
    pub fn talk(&mut self, packets: &[Vec<u8>]) {
        let begin = self.now;
        for browser in &mut self.browsers {
            browser.speak(&packets[self.turn % packets.len()], begin);
        }
        self.exchange();
        self.run_until(begin + SPEAKS_AT);
        let (side, out, turn) = (&mut self.side, &mut self.outbox, self.turn);
        self.meter.work(|| side.speak(turn, out, begin + SPEAKS_AT));
        self.exchange();
        self.run_until(begin + PACKET_TIME);
        self.turn += 1;
    }

    /// Lets time pass, waking the side exactly when it asks for it.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(at) = self.side.next_wake().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let (side, out, now) = (&mut self.side, &mut self.outbox, self.now);
            self.wakes += self.meter.work(|| side.wake(out, now));
            self.exchange();
        }
        self.now = end;
        for browser in &mut self.browsers {
            browser.wake(end);
        }
        self.exchange();
    }

    /// Carries datagrams both ways until nobody has anything to say.
    fn exchange(&mut self) {
        let now = self.now;
        loop {
            for (destination, payload) in &self.outbox {
                self.browsers[browser_at(*destination)].receive(S::bytes(payload), now);
            }
            self.sent += self.outbox.len() as u64;
            self.meter.upkeep(|| self.outbox.clear());
            for (index, browser) in self.browsers.iter_mut().enumerate() {
                for payload in browser.outbox.drain(..) {
                    let source = browser_address(index);
                    let arrival = self.meter.upkeep(|| S::arrival(source, payload.clone()));
                    self.arrivals.push((index, arrival));
                }
            }
            if self.arrivals.is_empty() {
                return;
            }
            self.received += self.arrivals.len() as u64;
            let (side, arrivals, out) = (&mut self.side, &mut self.arrivals, &mut self.outbox);
            self.meter.work(|| side.receive(arrivals, out, now));
        }
    }
}
