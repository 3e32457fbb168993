//! What came of the calls of a world.

use std::time::Duration;

use smallrtc::CloseReason;
use smallrtc::signaling::Response;
use smallrtc_sim::{BrowserEvent, Trace};

use super::World;
use crate::subject::{Subject, Ticket, Told};
use crate::watch::{Watch, words};

impl<S: Subject> World<S> {
    /// What is seen of a call at the socket.
    pub fn watch(&mut self, number: usize) -> &mut Watch {
        &mut self.clients[number].watch
    }

    /// The datagrams of a call, as lines of text.
    #[must_use]
    pub fn trace(&self, number: usize) -> &Trace {
        &self.clients[number].trace
    }

    /// What the application was told in a call.
    pub fn told(&self, number: usize) -> impl Iterator<Item = &Told> {
        self.clients[number].told.iter().map(|(_, told)| told)
    }

    /// What the application was told in a call, with times since the beginning.
    #[must_use]
    pub fn timed_told(&self, number: usize) -> &[(Duration, Told)] {
        &self.clients[number].told
    }

    /// What the page was told.
    pub fn page(&self, number: usize) -> impl Iterator<Item = &BrowserEvent> {
        self.clients[number].page.iter().map(|(_, event)| event)
    }

    /// The words that the page heard, without silence.
    #[must_use]
    pub fn heard(&self, number: usize) -> Vec<i16> {
        let of_event = |event: &BrowserEvent| match event {
            BrowserEvent::Media { line: 0, data, .. } => words(data),
            _ => Vec::new(),
        };
        self.page(number).flat_map(of_event).filter(|word| *word != 0).collect()
    }

    /// The texts that the page read, without signalling.
    #[must_use]
    pub fn texts(&self, number: usize) -> Vec<String> {
        let text = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => String::from_utf8(data.clone()).ok(),
            _ => None,
        };
        self.page(number).filter_map(text).filter(|text| !text.contains("signalling")).collect()
    }

    /// How often, and why, a call was told its end.
    #[must_use]
    pub fn ends(&self, number: usize) -> Vec<CloseReason> {
        let reason = |told: &Told| match told {
            Told::Closed(reason) => Some(*reason),
            _ => None,
        };
        self.told(number).filter_map(reason).collect()
    }

    /// What became of a command.
    #[must_use]
    pub fn outcome(&self, number: usize, ticket: Ticket) -> Option<&crate::Outcome> {
        self.told(number).find_map(|told| match told {
            Told::Done(done, outcome) if *done == ticket => Some(outcome),
            _ => None,
        })
    }

    /// The answer to a request.
    #[must_use]
    pub fn answer(&self, ticket: Ticket) -> Option<&Response> {
        self.answers.get(&ticket)
    }

    /// Whether a close has ended.
    #[must_use]
    pub fn has_ended(&self, ticket: Ticket) -> bool {
        self.ended.contains(&ticket)
    }
}
