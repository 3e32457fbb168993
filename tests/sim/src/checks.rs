//! What holds always: checked on every datagram and every event of every run.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use smallrtc::{Event, Transmit};

use crate::setup::BOT_TRANSPORT;

/// Bytes that one session may hand out between two drains: its transmit limit is 256 KiB, and
/// handshake flights, which are never dropped, come on top.
const DRAIN_BYTES_MAX: usize = 256 * 1024 + 64 * 1024;

/// Timeouts in a row, at one instant, that neither give output nor set another deadline.
const IDLE_TIMEOUTS_MAX: usize = 16;

/// Turns of the pump at one instant.
const TURNS_MAX: usize = 200_000;

/// Watches one session.
#[derive(Debug)]
pub struct Checks {
    mtu: usize,
    local: BTreeSet<SocketAddr>,
    remote: BTreeSet<SocketAddr>,
    now: Instant,
    turns: usize,
    idle_timeouts: usize,
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
            (self.now, self.turns, self.idle_timeouts) = (now, 0, 0);
        }
        self.turns += 1;
        assert!(self.turns < TURNS_MAX, "time stands still: something spins");
        self.drained = 0;
    }

    /// The session was drained after a timeout that was due.
    ///
    /// # Panics
    /// When it wants timeouts again and again without doing anything.
    pub fn timeout_done(&mut self, had_output: bool, next: Option<Instant>) {
        let wants_again = next.is_some_and(|next| next <= self.now);
        self.idle_timeouts = if wants_again && !had_output { self.idle_timeouts + 1 } else { 0 };
        assert!(
            self.idle_timeouts <= IDLE_TIMEOUTS_MAX,
            "poll_timeout lies in the past and handle_timeout does nothing"
        );
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
