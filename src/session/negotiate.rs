//! Offers, answers and candidates.
//!
//! A re-offer keeps the m-lines of the first one in their order and its certificate; it may add
//! lines, stop some, use stopped ones anew, change directions, or ask for an ICE restart. What it
//! may not do the transport refuses. A refused offer changes nothing: the transport tries it on a
//! shadow first.

use std::time::Instant;

use super::state::Input;
use super::{Session, credentials};
use crate::message::RENEGOTIATE;
use crate::record::{Call, of_candidate, of_offer};
use crate::{
    Answer, CandidateError, ConnectionState, LocalCandidate, NegotiateError, Offer, RemoteCandidate,
};

/// Addresses of ours in one session: more than any machine has that serves calls.
const LOCAL_CANDIDATES_MAX: usize = 16;

/// Candidates of the peer that are tried: a browser with four interfaces, IPv4 and IPv6, STUN and
/// TURN, sends about 30.
const REMOTE_CANDIDATES_MAX: usize = 64;

/// What was negotiated so far.
#[derive(Debug, Default)]
pub(super) struct Negotiation {
    /// Of the last offer: another one is an ICE restart.
    ice_ufrag: String,
    local_candidates: usize,
    remote_candidates: usize,
    wanted: bool,
}

impl Negotiation {
    /// Whether the client was asked for an offer that has not come.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    pub(super) fn unwant(&mut self) {
        self.wanted = false;
    }

    fn accepted(&mut self, offer: &Offer) {
        if self.ice_ufrag != offer.ice_ufrag() {
            // A restart makes the candidates from before it void (RFC 8445 section 9).
            self.remote_candidates = 0;
            offer.ice_ufrag().clone_into(&mut self.ice_ufrag);
        }
        self.wanted = false;
    }
}

impl Session {
    /// Answers an offer: the first one, a re-offer, or one that asks for an ICE restart. The
    /// answer holds every local candidate, so add those before.
    ///
    /// # Errors
    /// A refused offer changes nothing, a running call goes on. `NoLocalCandidate` when no
    /// address was added, `Closed` at the end, else what is wrong with the offer.
    pub fn accept_offer(&mut self, offer: &Offer, now: Instant) -> Result<Answer, NegotiateError> {
        self.note(now, |_| Call::offer(offer));
        let answered = self.answer(offer, now);
        self.noted(|_| of_offer(&answered));
        answered
    }

    fn answer(&mut self, offer: &Offer, now: Instant) -> Result<Answer, NegotiateError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(NegotiateError::Closed);
        }
        if self.negotiation.local_candidates == 0 {
            return Err(NegotiateError::NoLocalCandidate);
        }
        let (_, fresh) = credentials(&mut self.entropy, self.place);
        let negotiated = match self.transport.accept_offer(offer, fresh, now) {
            Ok(negotiated) => negotiated,
            Err(error) => {
                // The client has done as it was asked: the next wish is said again.
                if !self.outbox.holds(RENEGOTIATE) {
                    self.negotiation.unwant();
                }
                // The refusal may be a fault of the engine, which ends the session.
                self.pump(now);
                return Err(error);
            }
        };
        self.negotiation.accepted(offer);
        // A wish that was not said yet has been fulfilled.
        self.outbox.take_back(RENEGOTIATE);
        self.outbox.limit(negotiated.message_max);
        self.apply_lines(offer, &negotiated.lines, now);
        self.input(Input::OfferAccepted, now);
        if self.state == ConnectionState::Connecting {
            self.await_checks(now);
        }
        self.pump(now);
        Ok(negotiated.answer)
    }

    /// Adds an address of ours. Only those that are added before `accept_offer` stand in the
    /// answer; the protocol has no other way to tell the client.
    ///
    /// # Errors
    /// `TooMany` past 16, `Closed` at the end.
    pub fn add_local_candidate(
        &mut self,
        candidate: LocalCandidate,
        now: Instant,
    ) -> Result<(), CandidateError> {
        self.note(now, |_| Call::local_candidate(&candidate));
        let taken = self.take_local(candidate, now);
        self.noted(|_| of_candidate(&taken));
        taken
    }

    fn take_local(
        &mut self,
        candidate: LocalCandidate,
        now: Instant,
    ) -> Result<(), CandidateError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(CandidateError::Closed);
        }
        if self.negotiation.local_candidates >= LOCAL_CANDIDATES_MAX {
            return Err(CandidateError::TooMany { limit: LOCAL_CANDIDATES_MAX });
        }
        self.negotiation.local_candidates += 1;
        self.transport.add_local_candidate(candidate, now);
        self.pump(now);
        Ok(())
    }

    /// Adds an address of the peer's, as it trickles in. One that cannot be tried and the end of
    /// the list are fine and do nothing.
    ///
    /// # Errors
    /// `TooMany` past 64 since the offer or the last ICE restart, `Closed` at the end.
    pub fn add_remote_candidate(
        &mut self,
        candidate: &RemoteCandidate,
        now: Instant,
    ) -> Result<(), CandidateError> {
        self.note(now, |_| Call::remote_candidate(candidate));
        let taken = self.take_remote(candidate, now);
        self.noted(|_| of_candidate(&taken));
        taken
    }

    fn take_remote(
        &mut self,
        candidate: &RemoteCandidate,
        now: Instant,
    ) -> Result<(), CandidateError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(CandidateError::Closed);
        }
        let RemoteCandidate::Udp(candidate) = candidate else { return Ok(()) };
        if self.negotiation.remote_candidates >= REMOTE_CANDIDATES_MAX {
            self.stats.candidates_refused += 1;
            return Err(CandidateError::TooMany { limit: REMOTE_CANDIDATES_MAX });
        }
        self.negotiation.remote_candidates += 1;
        self.transport.add_remote_candidate(candidate, now);
        self.pump(now);
        Ok(())
    }
}
