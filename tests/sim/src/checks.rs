//! What holds always: checked on every datagram and every event of every run.
//!
//! | what holds | where it is checked |
//! | --- | --- |
//! | time does not fall, and does not stand still for ever | [`Checks::turn`] |
//! | `poll_timeout` never lies in the past without work, or for ever with it | [`Checks::timeout_done`]; of an endpoint [`crate::World::step`] |
//! | no datagram is empty or above the MTU; each goes where somebody asked for it | [`Checks::transmit`] |
//! | what waits to be sent is bounded | [`Checks::transmit`] |
//! | nothing follows `Closed` | [`Checks::event`], [`crate::Ledger`] |
//! | `Closed` comes once, and nothing is due after it | [`crate::Pair::drive_until_closed`], [`crate::script`] |
//! | sound adds up to the sample, messages come in order or are told of, queues keep to their limits | [`crate::Ledger`] |
//! | the log of a session replays identical | when a [`crate::Pair`] or [`crate::World`] ends |
//!
//! Each has a test beside it that breaks the rule.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use smallrtc::{Event, Transmit};

use crate::setup::BOT_TRANSPORT;

/// Bytes that one session may hand out between two drains: its transmit limit is 256 KiB, and
/// handshake flights, which are never dropped, come on top.
const DRAIN_BYTES_MAX: usize = 256 * 1024 + 64 * 1024;

/// Timeouts in a row, at one instant, that neither give output nor set another deadline.
const IDLE_TIMEOUTS_MAX: usize = 1;

/// Timeouts at one instant, whatever comes of them: a session that has much to do does it in a few.
const TIMEOUTS_MAX: usize = 1_000;

/// Turns of the pump at one instant.
const TURNS_MAX: usize = 10_000;

/// Watches one session.
#[derive(Debug)]
pub struct Checks {
    mtu: usize,
    local: BTreeSet<SocketAddr>,
    remote: BTreeSet<SocketAddr>,
    now: Instant,
    turns: usize,
    idle_timeouts: usize,
    timeouts: usize,
    drained: usize,
    is_closed: bool,
}

impl Checks {
    /// A session with this MTU, that may send from `local` to `remote`.
    #[must_use]
    pub fn new(mtu: usize, local: &[SocketAddr], remote: SocketAddr, now: Instant) -> Checks {
        Checks {
            mtu,
            local: local.iter().copied().collect(),
            remote: BTreeSet::from([remote]),
            now,
            turns: 0,
            idle_timeouts: 0,
            timeouts: 0,
            drained: 0,
            is_closed: false,
        }
    }

    /// The session may send here as well.
    pub fn allow(&mut self, remote: SocketAddr) {
        self.remote.insert(remote);
    }

    /// Time goes on.
    ///
    /// # Panics
    /// When it falls, or when it stands still for too many turns.
    pub fn turn(&mut self, now: Instant) {
        assert!(now >= self.now, "time fell by {:?}", self.now - now);
        if now > self.now {
            (self.now, self.turns) = (now, 0);
            (self.idle_timeouts, self.timeouts) = (0, 0);
        }
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "time stands still: something spins");
        self.drain();
    }

    /// The session is polled until it has nothing more to say, once more.
    pub fn drain(&mut self) {
        self.drained = 0;
    }

    /// The session was drained after a timeout that was due.
    ///
    /// # Panics
    /// When it wants timeouts again and again without doing anything, or without end.
    pub fn timeout_done(&mut self, had_output: bool, next: Option<Instant>) {
        let wants_again = next.is_some_and(|next| next <= self.now);
        self.idle_timeouts = if wants_again && !had_output { self.idle_timeouts + 1 } else { 0 };
        assert!(
            self.idle_timeouts <= IDLE_TIMEOUTS_MAX,
            "poll_timeout lies in the past and handle_timeout does nothing"
        );
        self.timeouts += 1;
        assert!(self.timeouts <= TIMEOUTS_MAX, "timeouts at one instant have no end");
    }

    /// The session sends a datagram.
    ///
    /// # Panics
    /// When it is too long, too much, empty, or goes where nobody asked for it.
    pub fn transmit(&mut self, transmit: &Transmit) {
        let len = transmit.payload.len();
        let limit = self.mtu;
        assert!((1..=limit).contains(&len), "a datagram of {len} bytes, the limit is {limit}");
        let Transmit { source, destination, .. } = *transmit;
        assert!(self.local.contains(&source), "sent from {source}, which is not ours");
        assert_eq!(transmit.transport, BOT_TRANSPORT, "sent through a socket that is not ours");
        assert!(self.remote.contains(&destination), "sent to {destination}, which is nobody");
        self.drained += len;
        assert!(self.drained <= DRAIN_BYTES_MAX, "{} bytes wait at once", self.drained);
    }

    /// The session tells an event.
    ///
    /// # Panics
    /// When it told `Closed` before.
    pub fn event(&mut self, event: &Event) {
        assert!(!self.is_closed, "{event:?} after Closed");
        self.is_closed = matches!(event, Event::Closed { .. });
    }

    /// Whether `Closed` was told.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use smallrtc::{CloseReason, ConnectionState};

    use super::*;
    use crate::{Kind, Pair, Setup, bot_address, start};

    fn page() -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 7], 40_000))
    }

    fn checks() -> Checks {
        Checks::new(1200, &[bot_address()], page(), start())
    }

    /// A datagram as sessions send them, with this payload.
    fn transmit(len: usize) -> Transmit {
        let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
        pair.keep_transmits();
        pair.connect();
        let mut transmit = pair.transmits()[0].1.clone();
        transmit.payload = Bytes::from(vec![0; len]);
        transmit
    }

    #[test]
    fn what_is_allowed_passes() {
        let mut checks = checks();
        checks.turn(start());
        checks.transmit(&transmit(1));
        checks.transmit(&transmit(1200));
        checks.timeout_done(false, Some(start() + Duration::from_nanos(1)));
        checks.turn(start());
        checks.event(&Event::StateChanged(ConnectionState::Failed));
        checks.event(&Event::Closed { reason: CloseReason::Lost });
        assert!(checks.is_closed());
    }

    #[test]
    #[should_panic(expected = "time fell by")]
    fn time_that_falls_is_found() {
        checks().turn(start() - Duration::from_nanos(1));
    }

    #[test]
    #[should_panic(expected = "timeouts at one instant have no end")]
    fn timeouts_without_end_are_found_though_each_gives_something() {
        let mut checks = checks();
        (0..=TIMEOUTS_MAX).for_each(|_| checks.timeout_done(true, Some(start())));
    }

    #[test]
    #[should_panic(expected = "something spins")]
    fn time_that_stands_still_is_found() {
        let mut checks = checks();
        (0..TURNS_MAX).for_each(|_| checks.turn(start()));
    }

    #[test]
    #[should_panic(expected = "poll_timeout lies in the past")]
    fn a_timeout_without_work_is_found() {
        let mut checks = checks();
        (0..=IDLE_TIMEOUTS_MAX).for_each(|_| checks.timeout_done(false, Some(start())));
    }

    #[test]
    #[should_panic(expected = "a datagram of 1201 bytes")]
    fn a_datagram_above_the_mtu_is_found() {
        checks().transmit(&transmit(1201));
    }

    #[test]
    #[should_panic(expected = "a datagram of 0 bytes")]
    fn a_datagram_of_nothing_is_found() {
        checks().transmit(&transmit(0));
    }

    #[test]
    #[should_panic(expected = "which is nobody")]
    fn a_datagram_to_a_stranger_is_found() {
        let mut sent = transmit(1);
        sent.destination = SocketAddr::from(([203, 0, 113, 1], 1));
        checks().transmit(&sent);
    }

    #[test]
    #[should_panic(expected = "which is not ours")]
    fn a_datagram_from_a_strange_address_is_found() {
        let mut sent = transmit(1);
        sent.source = page();
        checks().transmit(&sent);
    }

    #[test]
    #[should_panic(expected = "bytes wait at once")]
    fn a_queue_of_transmits_without_a_limit_is_found() {
        let mut checks = checks();
        let transmit = transmit(1200);
        for _ in 0..300 {
            checks.drain();
            checks.transmit(&transmit);
        }
        (0..300).for_each(|_| checks.transmit(&transmit));
    }

    #[test]
    #[should_panic(expected = "after Closed")]
    fn an_event_after_the_end_is_found() {
        let mut checks = checks();
        checks.event(&Event::Closed { reason: CloseReason::Lost });
        checks.event(&Event::MessagesDrained);
    }
}
