//! What all crews of a load work by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_channel::Sender;

use super::caller::Script;
use super::engine::Engines;
use super::offers::Offer;
use super::tone::Tone;

/// What all crews of a load work by.
pub(super) struct Plan {
    pub(super) local_ip: IpAddr,
    pub(super) engines: Engines,
    pub(super) abrupt: bool,
    pub(super) offers: Sender<Offer>,
    /// When the first call begins.
    pub(super) start: Instant,
    /// The time from one call's beginning to the next.
    pub(super) pause: Duration,
    /// What calls say in turn; nothing when there is none.
    pub(super) tones: Vec<Arc<Tone>>,
    /// One call of so many is listened to.
    pub(super) listen_every: usize,
    pub(super) messages: Option<Duration>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plan(..)")
    }
}

impl Plan {
    /// When a call begins.
    pub(super) fn begins(&self, number: usize) -> Instant {
        self.start + self.pause * u32::try_from(number).unwrap_or(u32::MAX)
    }

    /// What a caller does.
    pub(super) fn script(&self, number: usize) -> Script {
        let tone = self.tones.get(number % self.tones.len().max(1)).map(Arc::clone);
        let listens = number.is_multiple_of(self.listen_every);
        Script { tone, listens, messages: self.messages }
    }
}
