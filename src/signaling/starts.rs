//! The sessions that `/start` made: who may call, and what is kept for them until they do.
//!
//! | a session | until | then |
//! | --- | --- | --- |
//! | waits for its offer | it comes, `Options::start_timeout` at most | in use, or forgotten and counted |
//! | is in use | the last call that came by it has ended | forgotten |
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | sessions that wait | `Options::starts_max` | 503, counted |
//! | sessions in use | one for each call | none is needed |
//! | what is kept of each | [`START_BODY_LEN_MAX`](super::START_BODY_LEN_MAX) | 413, counted |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use serde_json::Value;

use crate::SessionId;

/// The sessions by their ids, which clients were told.
#[derive(Debug, Default)]
pub(super) struct Starts {
    starts: BTreeMap<String, Start>,
    /// Those that wait for their offer, the first whose time is over first.
    waiting: BTreeSet<(Instant, String)>,
    /// By which session each call came.
    calls: BTreeMap<SessionId, String>,
}

#[derive(Debug)]
struct Start {
    /// `body` of `/start`, as JSON text: what is read from it may take many times the room.
    body: Option<String>,
    /// While it waits for its offer.
    deadline: Option<Instant>,
    calls: usize,
}

impl Starts {
    pub(super) fn insert(&mut self, id: String, body: Option<String>, deadline: Instant) {
        self.waiting.insert((deadline, id.clone()));
        self.starts.insert(id, Start { body, deadline: Some(deadline), calls: 0 });
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.starts.contains_key(id)
    }

    /// What was kept for the application.
    pub(super) fn body_of(&self, id: &str) -> Option<Value> {
        let text = self.starts.get(id)?.body.as_deref()?;
        Some(serde_json::from_str(text).expect("it was written by this module's owner"))
    }

    /// The session by which a call came.
    pub(super) fn of_call(&self, call: SessionId) -> Option<&str> {
        self.calls.get(&call).map(String::as_str)
    }

    /// A call came by a session.
    pub(super) fn join(&mut self, id: &str, call: SessionId) {
        let Some(start) = self.starts.get_mut(id) else { return };
        if let Some(deadline) = start.deadline.take() {
            self.waiting.remove(&(deadline, id.to_owned()));
        }
        start.calls += 1;
        self.calls.insert(call, id.to_owned());
    }

    /// A call ended.
    pub(super) fn leave(&mut self, call: SessionId) {
        let Some(id) = self.calls.remove(&call) else { return };
        let Some(start) = self.starts.get_mut(&id) else { return };
        start.calls -= 1;
        if start.calls == 0 {
            self.starts.remove(&id);
        }
    }

    /// Forgets the sessions whose time is over; how many there were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while let Some((deadline, _)) = self.waiting.first()
            && *deadline <= now
            && let Some((_, id)) = self.waiting.pop_first()
        {
            self.starts.remove(&id);
            expired += 1;
        }
        expired
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.first().map(|(deadline, _)| *deadline)
    }

    /// How many wait for their offer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.waiting.is_empty() && self.calls.is_empty()
    }
}
