//! Many calls behind shared sockets.
//!
//! An endpoint owns sessions, hands each datagram to the one that it is for, wakes each when its
//! time has come and lets them speak in turn. It reads no more of a datagram than that takes, and
//! never anything of a call's content.
//!
//! # Routing
//! 1. An address that a session has proven its own (see [`demux`]) leads straight there. Only a
//!    STUN request that names another session is looked at, and it takes the address over only
//!    when that session verifies it and the first has not proven itself there for a while.
//! 2. From elsewhere, a STUN request names its session by the ufrag: node, shard, slot, generation.
//!    It is for another endpoint (`NotMine`), for nobody (`Unroutable`), not made with the
//!    session's password (`Refused`), or it proves the address.
//! 3. Anything else from elsewhere is dropped and counted. A response to a check of ours that comes
//!    before the first request from there is among it; ICE repeats the check.
//!
//! What a stranger sends costs one look-up and, with a ufrag that names a live session, one HMAC.
//! It leaves nothing behind.
//!
//! # Life of a session
//! [`Endpoint::accept`] makes it or leaves nothing. Its addresses are freed when it is closed; it
//! is gone for the caller when [`Event::Closed`] was polled, and its place is free when its last
//! datagram was polled too.
//!
//! # Limits
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | sessions | `Config::max_sessions` | refused as `Full`, counted |
//! | sessions never connected | `Config::max_half_open` | refused as `Full`, counted |
//! | addresses of a session | 16 | the stalest goes or the newest is refused; both counted |
//! | local candidates | [`Endpoint::LOCAL_CANDIDATES_MAX`] | ignored, counted |
//! | deadlines, turns | one for each session | none is needed |
//! | datagrams of a turn | [`Endpoint::TURN_DATAGRAMS_MAX`] | the next session has its turn |
//! | events of a turn | 1 | the next session has its turn |

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

mod deadline;
mod demux;
mod guard;
mod ring;
mod slab;
#[cfg(test)]
mod tests;

use crate::entropy::Entropy;
use crate::figures::Value;
use crate::record::{Path, Routing};
use crate::{
    Answer, CloseReason, Config, ConnectionState, Datagram, EndpointStats, Event, LocalCandidate,
    NegotiateError, Offer, Seed, Session, Stats, Transmit, TransportId, Ufrag,
};

pub use guard::SessionGuard;

use deadline::Deadlines;
use demux::{Address, Claim, Demux, Vouched};
use ring::Ring;
use slab::Slab;

/// Names a session of an endpoint; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// Where a datagram went.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routed {
    /// To this session.
    Session(SessionId),
    /// It belongs to another endpoint: hand it there.
    NotMine {
        /// The node.
        node: u16,
        /// The shard.
        shard: u16,
    },
    /// Nobody's: counted and dropped.
    Unroutable,
    /// Nothing that WebRTC sends: counted and dropped.
    Malformed,
    /// It names a session and was not made with its password, or its address cannot be bound to
    /// that session (both have limits): counted and dropped.
    Refused,
}

/// Many calls behind shared sockets.
///
/// Like a session it is driven by three polls, legal in any order and as often as one likes. Feed
/// it datagrams and time, then poll until nothing comes, then wait for [`Endpoint::poll_timeout`].
///
/// ```
/// use smallrtc::{Config, Endpoint, NegotiateError, Offer, Seed};
/// use std::time::Instant;
///
/// let now = Instant::now();
/// let mut endpoint = Endpoint::new(Config::new().shared(), Seed::from_number(1), now);
/// # let sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
/// #     a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 00:11:22\r\n";
/// let offer = Offer::parse(sdp)?;
/// assert_eq!(endpoint.accept(&offer, now).unwrap_err(), NegotiateError::NoLocalCandidate);
/// assert!(endpoint.is_empty());
/// # Ok::<(), NegotiateError>(())
/// ```
#[derive(Debug)]
pub struct Endpoint {
    config: Arc<Config>,
    last_now: Instant,
    entropy: Entropy,
    local_candidates: Vec<LocalCandidate>,
    calls: Slab<Box<Call>>,
    demux: Demux,
    deadlines: Deadlines,
    /// Sessions that may have datagrams to send.
    senders: Ring,
    /// Sessions that may have events.
    speakers: Ring,
    /// Those whose deadline came, kept to be used again.
    due: Vec<u32>,
    half_open: usize,
    /// Sessions whose `Closed` was polled and that may still have datagrams.
    gone: usize,
    is_closed: bool,
    stats: EndpointStats,
    /// What the sessions that are gone have counted.
    ended: Stats,
}

#[derive(Debug)]
struct Call {
    session: Session,
    /// It was never connected.
    is_half_open: bool,
    /// Its `Closed` was polled.
    is_gone: bool,
}

/// Why a datagram reached no session; each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Miss {
    NotMine { node: u16, shard: u16 },
    Unroutable,
    Malformed,
    Forged,
    AddressRefused,
}

impl Endpoint {
    /// Local candidates, each of which stands in every answer. 16: IPv4 and IPv6 of eight
    /// interfaces.
    pub const LOCAL_CANDIDATES_MAX: usize = 16;

    /// Datagrams that a session with many of them gives before the next session has its turn.
    ///
    /// Drivers hand neighbours of one length to the system in one call, so turns of one datagram
    /// would undo that whenever two sessions send a keyframe or a file at once. 8: seven of eight
    /// system calls are saved, and more saves little. A packet of sound waits for 9.6 kB of each
    /// such session, which a link of 1 Gbit/s carries in 0.08 ms.
    pub const TURN_DATAGRAMS_MAX: usize = 8;

    /// An endpoint without sessions. All its randomness comes from the seed.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: Seed, now: Instant) -> Endpoint {
        Endpoint {
            config,
            last_now: now,
            entropy: Entropy::new(&seed),
            local_candidates: Vec::new(),
            calls: Slab::new(),
            demux: Demux::default(),
            deadlines: Deadlines::default(),
            senders: Ring::new(Endpoint::TURN_DATAGRAMS_MAX),
            speakers: Ring::new(1),
            due: Vec::new(),
            half_open: 0,
            gone: 0,
            is_closed: false,
            stats: EndpointStats::default(),
            ended: Stats::default(),
        }
    }

    /// Adds an address that peers may send to. It counts for the sessions accepted from now on.
    ///
    /// The same candidate twice is one; more than [`Endpoint::LOCAL_CANDIDATES_MAX`] are ignored
    /// and counted.
    pub fn add_local_candidate(&mut self, candidate: LocalCandidate) {
        if self.local_candidates.contains(&candidate) {
            return;
        }
        if self.local_candidates.len() >= Endpoint::LOCAL_CANDIDATES_MAX {
            self.stats.local_candidates_refused += 1;
            tracing::warn!(address = %candidate.advertised(), "too many local candidates");
            return;
        }
        self.local_candidates.push(candidate);
    }

    /// The addresses that stand in answers, in the order in which they were added.
    #[must_use]
    pub fn local_candidates(&self) -> &[LocalCandidate] {
        &self.local_candidates
    }

    /// Where this endpoint stands among others, as `Config::place` says: node and shard.
    #[must_use]
    pub fn place(&self) -> (u16, u16) {
        (self.config.node, self.config.shard)
    }

    /// How many more sessions it would accept now: 0 when it is full or closed.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.is_closed {
            return 0;
        }
        let sessions = self.sessions_max().saturating_sub(self.calls.len());
        sessions.min(self.config.max_half_open.saturating_sub(self.half_open))
    }

    /// Whether an address, as one of the transports sees it, has been proven by a session: what
    /// comes from there goes to that session.
    #[must_use]
    pub fn is_bound(&self, transport: TransportId, source: SocketAddr) -> bool {
        self.demux.slot_of(Address::new(transport, source)).is_some()
    }

    /// Makes a session and answers the offer. All local candidates stand in the answer.
    ///
    /// # Errors
    /// [`NegotiateError::Full`] at a limit, [`NegotiateError::NoLocalCandidate`] before
    /// [`Endpoint::add_local_candidate`], [`NegotiateError::Closed`] after [`Endpoint::close`], or
    /// what is wrong with the offer. Nothing of a refused call is kept.
    pub fn accept(
        &mut self,
        offer: &Offer,
        now: Instant,
    ) -> Result<(SessionId, Answer), NegotiateError> {
        let now = self.clamp(now);
        self.admit(None)?;
        self.open(offer, now)
    }

    /// Makes a session in the place of another, which is closed as [`CloseReason::Replaced`] once
    /// the new one stands. For the limits only one of the two counts, so a caller can start anew
    /// while the endpoint is full. When `old` is gone this is [`Endpoint::accept`].
    ///
    /// # Errors
    /// Those of [`Endpoint::accept`]; the old session goes on then.
    pub fn replace(
        &mut self,
        old: SessionId,
        offer: &Offer,
        now: Instant,
    ) -> Result<(SessionId, Answer), NegotiateError> {
        let now = self.clamp(now);
        self.admit(Some(old))?;
        let accepted = self.open(offer, now)?;
        if let Some(mut session) = self.session(old) {
            session.close_for(CloseReason::Replaced, now);
        }
        Ok(accepted)
    }

    /// The session of that id, until its [`Event::Closed`] was polled.
    ///
    /// The guard takes the session's new deadline and output into account when it is dropped. One
    /// that is leaked (`mem::forget`) leaves them as they were until the session is next touched.
    #[must_use]
    pub fn session(&mut self, id: SessionId) -> Option<SessionGuard<'_>> {
        let is_there = self.calls.find(id).is_some_and(|call| !call.is_gone);
        is_there.then(|| SessionGuard::new(self, id))
    }

    /// Takes a datagram that one of the transports received, and tells where it went.
    pub fn handle_datagram(&mut self, datagram: Datagram, now: Instant) -> Routed {
        let now = self.clamp(now);
        match self.route(&datagram, now) {
            Ok(slot) => {
                if let Some(call) = self.calls.at_mut(slot) {
                    call.session.handle_datagram(datagram, now);
                }
                self.refile(slot);
                Routed::Session(self.calls.id(slot))
            }
            Err(miss) => self.count(miss),
        }
    }

    /// Lets time pass for the sessions whose deadline has come. Call it at
    /// [`Endpoint::poll_timeout`]; earlier and later do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clamp(now);
        // A session whose output waits is due again at once, so each is taken out before any is
        // put back: one call wakes each session at most once.
        let mut due = std::mem::take(&mut self.due);
        due.extend(std::iter::from_fn(|| self.deadlines.pop_due(now)));
        for slot in due.drain(..) {
            if let Some(call) = self.calls.at_mut(slot) {
                call.session.handle_timeout(now);
            }
            self.refile(slot);
        }
        self.due = due;
    }

    /// The next datagram to send, of each session in turn: up to
    /// [`Endpoint::TURN_DATAGRAMS_MAX`] of one, then of the next.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        while let Some(slot) = self.senders.first() {
            let call = self.calls.at_mut(slot);
            let Some(transmit) = call.and_then(|call| call.session.poll_transmit()) else {
                self.senders.skip();
                continue;
            };
            self.senders.gave();
            self.rearm(slot);
            return Some(transmit);
        }
        None
    }

    /// The next event, of each session in turn.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<(SessionId, Event)> {
        while let Some(slot) = self.speakers.first() {
            let call = self.calls.at_mut(slot);
            let Some(event) = call.and_then(|call| call.session.poll_event()) else {
                self.speakers.skip();
                continue;
            };
            self.speakers.gave();
            let id = self.calls.id(slot);
            if let Event::Closed { reason } = event {
                self.leave(slot, reason);
            }
            self.refile(slot);
            return Some((id, event));
        }
        None
    }

    /// When to call [`Endpoint::handle_timeout`]; due at once while output is queued. `None` while
    /// there is nothing to wait for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first()
    }

    /// How many sessions there are whose [`Event::Closed`] was not polled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len() - self.gone
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes every session as [`CloseReason::Application`], and accepts none any more. The
    /// endpoint is to be driven on until it [is empty](Endpoint::is_empty), at most
    /// `Config::linger` later.
    pub fn close(&mut self, now: Instant) {
        let now = self.clamp(now);
        self.is_closed = true;
        for id in self.session_ids() {
            if let Some(mut session) = self.session(id) {
                session.close(now);
            }
        }
    }

    /// What was counted since the endpoint was made.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.stats
    }

    /// The figures of all sessions since the endpoint was made, those that ended included: what was
    /// counted never falls. Of what is measured (round trip, loss, jitter) it is the worst of the
    /// sessions that there are.
    #[must_use]
    pub fn totals(&self) -> Stats {
        let calls = self.calls.slots().filter_map(|slot| self.calls.at(slot));
        let figures = calls.map(|call| {
            let stats = call.session.stats();
            if call.is_gone { stats.of_the_ended() } else { stats }
        });
        figures.fold(self.ended, Stats::together)
    }

    /// The ids of the sessions that [`Endpoint::len`] counts, in slot order.
    #[must_use]
    pub fn session_ids(&self) -> Vec<SessionId> {
        let mut slots: Vec<u32> = self.calls.slots().collect();
        slots.retain(|slot| self.calls.at(*slot).is_some_and(|call| !call.is_gone));
        slots.into_iter().map(|slot| self.calls.id(slot)).collect()
    }

    /// Time never goes back, as in a session.
    fn clamp(&mut self, now: Instant) -> Instant {
        self.last_now = self.last_now.max(now);
        self.last_now
    }

    /// Whether one more session may be made, where `replaced` is about to go.
    fn admit(&mut self, replaced: Option<SessionId>) -> Result<(), NegotiateError> {
        if self.is_closed {
            return Err(NegotiateError::Closed);
        }
        let replaced = replaced.and_then(|id| self.calls.find(id));
        let sessions = self.calls.len() - usize::from(replaced.is_some());
        let half_open = self.half_open - usize::from(replaced.is_some_and(|old| old.is_half_open));
        for (count, limit) in
            [(sessions, self.sessions_max()), (half_open, self.config.max_half_open)]
        {
            if count >= limit {
                self.stats.sessions_refused += 1;
                tracing::debug!(limit, "offer refused: full");
                return Err(NegotiateError::Full { limit });
            }
        }
        if self.local_candidates.is_empty() {
            return Err(NegotiateError::NoLocalCandidate);
        }
        Ok(())
    }

    fn sessions_max(&self) -> usize {
        let slots = usize::try_from(Ufrag::SLOTS - 1).unwrap_or(usize::MAX);
        self.config.max_sessions.min(slots)
    }

    fn open(&mut self, offer: &Offer, now: Instant) -> Result<(SessionId, Answer), NegotiateError> {
        let id = self.calls.next_id();
        let seed = self.entropy.child();
        let generation = id.generation % Ufrag::GENERATIONS;
        let mut session = Session::at_slot(self.config.clone(), &seed, id.slot, generation, now);
        for candidate in &self.local_candidates {
            // A session takes at least as many as the endpoint keeps, so none is refused; and if
            // one were, the call would go on with the others.
            let taken = session.add_local_candidate(*candidate, now);
            debug_assert!(taken.is_ok(), "{taken:?}");
        }
        let answer = session.accept_offer(offer, now)?;
        session.note_routing(|| self.admitted(), now);
        let call = Call { session, is_half_open: true, is_gone: false };
        self.calls.insert(Box::new(call));
        self.half_open += 1;
        self.stats.sessions_accepted += 1;
        self.refile(id.slot);
        Ok((id, answer))
    }

    /// Beside which sessions one more was admitted.
    fn admitted(&self) -> Routing {
        let (sessions, half_open) = (self.calls.len() as u64, self.half_open as u64);
        Routing::Admitted { sessions, half_open }
    }

    /// The slot that a datagram is for.
    fn route(&mut self, datagram: &Datagram, now: Instant) -> Result<u32, Miss> {
        let address = Address::new(datagram.transport, datagram.source);
        let bound = self.demux.slot_of(address);
        match Claim::of(&datagram.payload) {
            Claim::Names(ufrag) => self.route_request(datagram, ufrag, bound, now),
            Claim::Nameless => bound.ok_or(Miss::Unroutable),
            Claim::Garbage => bound.ok_or(Miss::Malformed),
        }
    }

    fn route_request(
        &mut self,
        datagram: &Datagram,
        ufrag: Ufrag,
        bound: Option<u32>,
        now: Instant,
    ) -> Result<u32, Miss> {
        let Ufrag { node, shard, slot, generation, .. } = ufrag;
        if (node, shard) != (self.config.node, self.config.shard) {
            return Err(Miss::NotMine { node, shard });
        }
        let named = self.calls.at(slot).filter(|call| {
            let current = self.calls.id(slot).generation % Ufrag::GENERATIONS;
            current == generation && call.session.state() != ConnectionState::Closed
        });
        let Some(named) = named else { return bound.ok_or(Miss::Unroutable) };
        let note = |routing: Routing| named.session.note_routing(|| routing, now);
        let path = || Path::from(datagram);
        if !named.session.verifies(&datagram.payload) {
            note(Routing::Forged(path()));
            // From the session's own address it may still mean something to it: a request with
            // the credentials before an ICE restart.
            return bound.filter(|bound| *bound == slot).ok_or(Miss::Forged);
        }
        match self.demux.vouch(Address::new(datagram.transport, datagram.source), slot, now) {
            Vouched::Bound => {
                // A bound address is verified again every few seconds, which decides nothing.
                if bound != Some(slot) {
                    note(Routing::Bound(path()));
                }
                Ok(slot)
            }
            Vouched::BoundInsteadOf(_) => {
                note(Routing::BoundInsteadOf(path()));
                self.stats.addresses_evicted += 1;
                Ok(slot)
            }
            Vouched::Refused => {
                note(Routing::AddressRefused(path()));
                Err(Miss::AddressRefused)
            }
        }
    }

    fn count(&mut self, miss: Miss) -> Routed {
        let (counter, routed) = match miss {
            Miss::NotMine { node, shard } => {
                (&mut self.stats.datagrams_not_mine, Routed::NotMine { node, shard })
            }
            Miss::Unroutable => (&mut self.stats.datagrams_unroutable, Routed::Unroutable),
            Miss::Malformed => (&mut self.stats.datagrams_malformed, Routed::Malformed),
            Miss::Forged => (&mut self.stats.requests_forged, Routed::Refused),
            Miss::AddressRefused => (&mut self.stats.addresses_refused, Routed::Refused),
        };
        *counter += 1;
        routed
    }

    /// Takes into account that a session was touched: its deadline, its turns, its state.
    fn refile(&mut self, slot: u32) {
        let Some(call) = self.calls.at_mut(slot) else { return };
        let state = call.session.state();
        let is_young = matches!(state, ConnectionState::New | ConnectionState::Connecting);
        if call.is_half_open && !is_young {
            call.is_half_open = false;
            self.half_open -= 1;
        }
        if state == ConnectionState::Closed && self.demux.release(slot) {
            call.session.note_routing(|| Routing::Released, self.last_now);
        }
        self.senders.join(slot);
        self.speakers.join(slot);
        self.rearm(slot);
    }

    /// Takes the session's next deadline, or gives its place to the next session when it is done.
    fn rearm(&mut self, slot: u32) {
        let Some(call) = self.calls.at(slot) else { return };
        let deadline = call.session.poll_timeout();
        let is_done = call.is_gone && call.session.is_finished();
        self.deadlines.set(slot, deadline.filter(|_| !is_done));
        if is_done {
            // Its turns in the rings may outlast it: they find nobody, or count for the next.
            if let Some(call) = self.calls.remove(slot) {
                self.ended = self.ended + call.session.stats().of_the_ended();
            }
            self.gone -= 1;
        }
    }

    /// The session's `Closed` was polled: for the caller it is gone.
    fn leave(&mut self, slot: u32, reason: CloseReason) {
        let Some(call) = self.calls.at_mut(slot) else { return };
        debug_assert!(!call.is_gone, "Closed comes once");
        call.is_gone = true;
        self.gone += 1;
        self.stats.sessions_closed += 1;
        *self.stats.closed_for(reason) += 1;
    }
}

// Endpoints live one on each thread; they and their sessions must be free to move there.
const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Endpoint>();
    assert_send::<Session>();
};
