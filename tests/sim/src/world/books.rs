//! The books of a world's calls: as those of a pair ([`Ledger`]), one for each call.
//!
//! What goes through [`World::session`] is on them. A bot that sits at an endpoint calls its
//! sessions itself: what goes out of those is not accounted for, but for the order of sound that
//! is told of as finished; what comes in is. Whoever sends through [`World::endpoint`] in another
//! way has sent what nobody said, and the books object.

use smallrtc::Event;

use super::{Outcome, World, at};
use crate::{BrowserEvent, Ledger, WatchedCall};

impl World {
    /// The session of a browser's call, until its end was told.
    pub fn session(&mut self, number: usize) -> Option<WatchedCall<'_>> {
        let caller = &mut self.callers[number];
        let Outcome { id, endpoint, .. } = caller.outcome;
        let session = at(&mut self.endpoint, &mut self.others, endpoint).session(id?)?;
        Some(WatchedCall::new(session, caller.ledger.as_mut()))
    }

    /// The books of a browser's call. `None` before the call, and in a world that is not checked
    /// ([`crate::Setup::unchecked`]).
    #[must_use]
    pub fn ledger(&self, number: usize) -> Option<&Ledger> {
        self.callers[number].ledger.as_ref()
    }

    /// Closes all calls of an endpoint, as [`smallrtc::Endpoint::close`].
    pub fn close(&mut self, endpoint: usize) {
        let now = self.now;
        self.endpoint_at(endpoint).close(now);
        self.ledgers_at(endpoint).for_each(Ledger::silenced);
        self.flush();
    }

    /// A bot was seated at an endpoint.
    pub(super) fn bot_sits(&mut self, endpoint: usize) {
        self.ledgers_at(endpoint).for_each(Ledger::bot_sits);
    }

    /// Whether a bot sits at any endpoint.
    pub(crate) fn has_bots(&self) -> bool {
        self.seats.iter().any(|seat| !seat.is_free())
    }

    fn ledgers_at(&mut self, endpoint: usize) -> impl Iterator<Item = &mut Ledger> {
        let there = self.callers.iter_mut().filter(move |of| of.outcome.endpoint == endpoint);
        there.filter_map(|caller| caller.ledger.as_mut())
    }

    /// A browser's call was accepted.
    pub(super) fn open_books(&mut self, number: usize, endpoint: usize) {
        if !self.setup.checks {
            return;
        }
        let caller = &mut self.callers[number];
        let _from_now_on = caller.browser.take_said();
        let mut ledger = Ledger::default();
        if !self.seats[endpoint].is_free() {
            ledger.bot_sits();
        }
        caller.ledger = Some(ledger);
    }

    /// What a page said since, before what it hears.
    pub(super) fn account_said(&mut self, number: usize) {
        let caller = &mut self.callers[number];
        let Some(ledger) = &mut caller.ledger else { return };
        for digest in caller.browser.take_said() {
            ledger.page_said(digest);
        }
    }

    /// A page hears something.
    pub(super) fn account_heard(&mut self, number: usize, event: &BrowserEvent) {
        let Some(ledger) = &mut self.callers[number].ledger else { return };
        match event {
            BrowserEvent::ChannelOpen | BrowserEvent::ChannelClosed => ledger.channel_changed(),
            BrowserEvent::Message { data, .. } => ledger.page_heard(data),
            _ => {}
        }
    }

    /// A session tells something; a bot may have called it since it told the last.
    pub(super) fn account_told(&mut self, number: usize, event: &Event, is_bot_there: bool) {
        let Some(ledger) = &mut self.callers[number].ledger else { return };
        if is_bot_there {
            ledger.touch();
        }
        ledger.told(event);
    }

    /// Those who told something have told all.
    pub(super) fn account_drained(&mut self, told: &[usize]) {
        for number in told {
            if let Some(ledger) = &mut self.callers[*number].ledger {
                ledger.drained();
            }
        }
    }

    /// Whether the queues of calls whose words are on their way are as long as their books say.
    pub(super) fn settle(&mut self) {
        for number in 0..self.callers.len() {
            if self.callers[number].ledger.as_ref().is_some_and(Ledger::has_words_out) {
                drop(self.session(number));
            }
        }
    }
}
