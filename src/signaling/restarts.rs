//! Calls that took another's place, and what their clients are kept waiting for.
//!
//! Pipecat's JavaScript client restarts a call by an offer with `restart_pc`, sends candidates, and
//! closes its old connection when that request is answered. With the old connection's tracks it
//! forgets the new one's of the same name, unless they have begun by then: its page is never told
//! of the bot's sound (`smallWebRTCTransport.ts` 1.10.8 keeps tracks by name; measured in Chromium:
//! told in 2 of 8 restarts, and in 8 of 8 when the answer waited). So the answer to the first
//! candidates of such a call waits until sound has gone out.
//!
//! | the call | its answer |
//! | --- | --- |
//! | took no place, or its candidates were answered before | at once |
//! | is not connected | waits, [`HELD_AT_MOST`] at most |
//! | is connected | [`LEAD`] after that was seen |
//! | has ended | at once |
//!
//! How many may wait is the limit of all responses that wait ([`WAITING_MAX`]); beyond it an answer
//! is given at once.
//!
//! [`WAITING_MAX`]: super::WAITING_MAX

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Token;
use crate::{ConnectionState, Endpoint, SessionId};

/// How long an answer waits for a call that does not connect. 400 ms: four round trips of a slow
/// network, and less than the client waits for anything.
pub(super) const HELD_AT_MOST: Duration = Duration::from_millis(400);

/// How much sound goes out before the answer: three packets, so that a lost one decides nothing.
pub(super) const LEAD: Duration = Duration::from_millis(60);

/// How often a call is looked at meanwhile: once a packet.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The calls that took another's place.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    /// Those whose candidates were not answered yet.
    fresh: BTreeSet<SessionId>,
    held: Vec<Held>,
    look_at: Option<Instant>,
}

/// An answer that waits.
#[derive(Debug)]
struct Held {
    token: Token,
    id: SessionId,
    origin: Option<String>,
    deadline: Instant,
    connected_at: Option<Instant>,
}

impl Restarts {
    /// A call took another's place.
    pub(super) fn add(&mut self, id: SessionId) {
        self.fresh.insert(id);
    }

    /// A call has ended.
    pub(super) fn remove(&mut self, id: SessionId) {
        self.fresh.remove(&id);
    }

    /// Whether the answer to a call's candidates is to wait.
    pub(super) fn holds(&self, id: SessionId) -> bool {
        self.fresh.contains(&id)
    }

    /// Keeps an answer.
    pub(super) fn hold(
        &mut self,
        token: Token,
        id: SessionId,
        origin: Option<String>,
        now: Instant,
    ) {
        let deadline = now + HELD_AT_MOST;
        self.held.push(Held { token, id, origin, deadline, connected_at: None });
        self.look_at = Some(now);
    }

    /// How many answers wait.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// The client does not wait any more.
    pub(super) fn cancel(&mut self, token: Token) {
        self.held.retain(|held| held.token != token);
    }

    /// When [`Restarts::due`] is to be asked next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// The answers whose time has come, in the order in which they were asked for: to whom, and
    /// from what origin it asked.
    pub(super) fn due(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Vec<(Token, Option<String>)> {
        let Restarts { fresh, held, look_at } = self;
        let mut due = Vec::new();
        held.retain_mut(|held| {
            let waits = held.waits(endpoint, now);
            if !waits {
                fresh.remove(&held.id);
                due.push((held.token, held.origin.take()));
            }
            waits
        });
        *look_at = (!held.is_empty()).then(|| now + LOOK_INTERVAL);
        due
    }
}

impl Held {
    fn waits(&mut self, endpoint: &mut Endpoint, now: Instant) -> bool {
        match endpoint.session(self.id).map(|session| session.state()) {
            Some(ConnectionState::New | ConnectionState::Connecting) => now < self.deadline,
            Some(ConnectionState::Connected) => now < *self.connected_at.get_or_insert(now) + LEAD,
            _ => false,
        }
    }
}
