//! One browser of a world, with its way to the bots and what came of its call.

use std::time::{Duration, Instant};

use smallrtc::{CloseReason, Event, Message, SessionId};

use crate::{Browser, BrowserEvent, Checks, Ledger, Link, Nat, Packet};

/// A browser with its path to the bots and what came of its call.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) browser: Browser,
    pub(super) nat: Option<Nat>,
    pub(super) up: Link,
    pub(super) down: Link,
    pub(super) checks: Checks,
    /// Once there is a call, in a world that is checked.
    pub(super) ledger: Option<Ledger>,
    pub(super) reading: Option<Reading>,
    pub(super) outcome: Outcome,
}

/// An application that reads a call's events now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) interval: Duration,
    pub(super) next: Instant,
}

/// What came of a call.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The session, once the offer was accepted. Endpoints name their sessions each for itself.
    pub id: Option<SessionId>,
    /// The number of the endpoint that it is of.
    pub endpoint: usize,
    /// When the offer was accepted, since the beginning.
    pub called: Option<Duration>,
    /// What the session told.
    pub events: Vec<(Duration, Event)>,
    /// What the page was told.
    pub browser_events: Vec<(Duration, BrowserEvent)>,
}

impl Outcome {
    /// Why the call ended.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        self.ended().map(|(_, reason)| reason)
    }

    /// When the call ended, since the beginning, and why.
    #[must_use]
    pub fn ended(&self) -> Option<(Duration, CloseReason)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Closed { reason } => Some((*at, *reason)),
            _ => None,
        })
    }

    /// How long the call lasted, up to its end or to `elapsed`; zero without a call.
    pub(super) fn lasted(&self, elapsed: Duration) -> Duration {
        let end = self.ended().map_or(elapsed, |(at, _)| at);
        self.called.map_or(Duration::ZERO, |called| end.saturating_sub(called))
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

    /// The application messages that the session told.
    #[must_use]
    pub fn messages<'a>(&'a self) -> Vec<&'a Message> {
        let message = |(_, event): &'a (Duration, Event)| match event {
            Event::Message(message) => Some(message),
            _ => None,
        };
        self.events.iter().filter_map(message).collect()
    }

    /// The messages that the page got, signalling included, as text.
    #[must_use]
    pub fn browser_messages(&self) -> Vec<String> {
        let text = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => Some(String::from_utf8_lossy(data).into_owned()),
            _ => None,
        };
        self.browser_events.iter().filter_map(|(_, event)| text(event)).collect()
    }

    /// When sound reached the page: the time since the beginning, and the RTP time of each frame.
    #[must_use]
    pub fn heard(&self) -> Vec<(Duration, u64)> {
        let frame = |(at, event): &(Duration, BrowserEvent)| match event {
            BrowserEvent::Media { line: 0, time, .. } => Some((*at, *time)),
            _ => None,
        };
        self.browser_events.iter().filter_map(frame).collect()
    }
}

impl Caller {
    /// What the browser sends next, as it leaves the router.
    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        let packet = self.browser.poll_packet()?;
        Some(match &mut self.nat {
            Some(nat) => nat.outbound(packet, now),
            None => packet,
        })
    }

    /// Takes what has arrived, and time. Gives whether the browser was touched.
    pub(super) fn step(&mut self, now: Instant) -> bool {
        let mut is_touched = false;
        while let Some(packet) = self.down.receive(now) {
            let inside = match &mut self.nat {
                Some(nat) => nat.inbound(packet, now),
                None => Some(packet),
            };
            if let Some(packet) = inside {
                self.browser.handle_packet(packet, now);
                is_touched = true;
            }
        }
        if self.browser.poll_timeout().is_some_and(|at| at <= now) {
            self.browser.handle_timeout(now);
            is_touched = true;
        }
        is_touched
    }

    /// When something happens on this side.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let reading = self.reading.map(|reading| reading.next);
        let wakes = [
            self.browser.poll_timeout(),
            self.up.poll_timeout(),
            self.down.poll_timeout(),
            reading,
        ];
        wakes.into_iter().flatten().min()
    }
}
