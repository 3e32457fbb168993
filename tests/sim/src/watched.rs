//! A session whose public calls are put to the books: one of a pair's own, or one that an endpoint
//! lends out.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use smallrtc::{
    Answer, AudioCleared, AudioFrame, AudioId, AudioInfo, Delivery, EncodedFrame, Event, Message,
    NegotiateError, Offer, SendError, Session, SessionGuard, TrackId,
};

use crate::Ledger;

/// A session, called as a [`Session`] is. Calls that the [`Ledger`] keeps an account of go through
/// methods of the same name here; all others reach the session by dereference.
#[derive(Debug)]
pub struct Watched {
    session: Session,
    ledger: Option<Ledger>,
}

impl Watched {
    pub(crate) fn new(session: Session, is_checked: bool) -> Watched {
        Watched { session, ledger: is_checked.then(Ledger::default) }
    }

    /// The accounts; `None` in a call that is not checked ([`crate::Setup::unchecked`]).
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    pub(crate) fn ledger_mut(&mut self) -> Option<&mut Ledger> {
        self.ledger.as_mut()
    }

    /// Whether the queues are as long as the accounts say; for each turn of the pump.
    pub(crate) fn settle(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.settle(&self.session.stats());
        }
    }

    /// As [`Session::accept_offer`].
    ///
    /// # Errors
    /// What the session says.
    pub fn accept_offer(&mut self, offer: &Offer, now: Instant) -> Result<Answer, NegotiateError> {
        let answer = self.session.accept_offer(offer, now);
        if let Some(ledger) = &mut self.ledger {
            ledger.negotiated(offer, answer.is_ok(), self.session.tracks());
        }
        answer
    }

    /// As [`Session::close`].
    pub fn close(&mut self, now: Instant) {
        self.session.close(now);
        if let Some(ledger) = &mut self.ledger {
            ledger.touch();
            ledger.silenced();
        }
    }

    /// As [`Session::send_audio`].
    ///
    /// # Errors
    /// What the session says.
    pub fn send_audio(
        &mut self,
        frame: AudioFrame<'_>,
        now: Instant,
    ) -> Result<AudioId, SendError> {
        let sent = self.session.send_audio(frame, now);
        if let (Some(ledger), Ok(id)) = (&mut self.ledger, &sent) {
            ledger.audio_taken(*id, &frame);
        }
        sent
    }

    /// As [`Session::clear_audio`].
    pub fn clear_audio(&mut self, now: Instant) -> AudioCleared {
        let cleared = self.session.clear_audio(now);
        if let Some(ledger) = &mut self.ledger {
            ledger.cleared(&cleared);
        }
        cleared
    }

    /// As [`Session::send_message`].
    ///
    /// # Errors
    /// What the session says.
    pub fn send_message(&mut self, message: Message, now: Instant) -> Result<Delivery, SendError> {
        let Some(ledger) = &mut self.ledger else {
            return self.session.send_message(message, now);
        };
        let sent = self.session.send_message(message.clone(), now);
        ledger.touch();
        ledger.message_sent(&message, &sent, &self.session.stats());
        sent
    }

    /// As [`Session::recv_audio`].
    pub fn recv_audio(&mut self, track: TrackId, samples: &mut [i16]) -> Option<AudioInfo> {
        let info = self.session.recv_audio(track, samples);
        if let (Some(ledger), Some(info)) = (&mut self.ledger, &info) {
            ledger.block_read(info);
        }
        info
    }

    /// As [`Session::recv_encoded`].
    pub fn recv_encoded(&mut self, track: TrackId) -> Option<EncodedFrame> {
        let frame = self.session.recv_encoded(track);
        if let (Some(ledger), Some(frame)) = (&mut self.ledger, &frame) {
            ledger.frame_read(track, frame);
        }
        frame
    }

    /// As [`Session::poll_event`].
    #[must_use]
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        // Most calls give nothing: without books the answer goes by unread.
        if self.ledger.is_none() { self.session.poll_event() } else { self.account_event() }
    }

    fn account_event(&mut self) -> Option<Event> {
        let event = self.session.poll_event();
        match (&mut self.ledger, &event) {
            (Some(ledger), Some(event)) => ledger.told(event),
            (Some(ledger), None) => ledger.drained(),
            (None, _) => {}
        }
        event
    }
}

impl Deref for Watched {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Session {
        if let Some(ledger) = &mut self.ledger {
            ledger.touch();
        }
        &mut self.session
    }
}

/// A call of a [`World`](crate::World), lent out as a [`SessionGuard`] is and called as one. Calls
/// that the [`Ledger`] keeps an account of go through methods of the same name here; all others
/// reach the session by dereference.
#[derive(Debug)]
pub struct WatchedCall<'a> {
    session: SessionGuard<'a>,
    ledger: Option<&'a mut Ledger>,
}

impl<'a> WatchedCall<'a> {
    pub(crate) fn new(
        session: SessionGuard<'a>,
        mut ledger: Option<&'a mut Ledger>,
    ) -> WatchedCall<'a> {
        if let Some(ledger) = &mut ledger {
            ledger.touch();
            ledger.settle(&session.stats());
        }
        WatchedCall { session, ledger }
    }

    /// As [`Session::accept_offer`].
    ///
    /// # Errors
    /// What the session says.
    pub fn accept_offer(&mut self, offer: &Offer, now: Instant) -> Result<Answer, NegotiateError> {
        let answer = self.session.accept_offer(offer, now);
        if let Some(ledger) = &mut self.ledger {
            ledger.negotiated(offer, answer.is_ok(), self.session.tracks());
        }
        answer
    }

    /// As [`Session::close`].
    pub fn close(&mut self, now: Instant) {
        self.session.close(now);
        if let Some(ledger) = &mut self.ledger {
            ledger.silenced();
        }
    }

    /// As [`Session::send_audio`].
    ///
    /// # Errors
    /// What the session says.
    pub fn send_audio(
        &mut self,
        frame: AudioFrame<'_>,
        now: Instant,
    ) -> Result<AudioId, SendError> {
        let sent = self.session.send_audio(frame, now);
        if let (Some(ledger), Ok(id)) = (&mut self.ledger, &sent) {
            ledger.audio_taken(*id, &frame);
        }
        sent
    }

    /// As [`Session::clear_audio`].
    pub fn clear_audio(&mut self, now: Instant) -> AudioCleared {
        let cleared = self.session.clear_audio(now);
        if let Some(ledger) = &mut self.ledger {
            ledger.cleared(&cleared);
        }
        cleared
    }

    /// As [`Session::send_message`].
    ///
    /// # Errors
    /// What the session says.
    pub fn send_message(&mut self, message: Message, now: Instant) -> Result<Delivery, SendError> {
        let Some(ledger) = &mut self.ledger else {
            return self.session.send_message(message, now);
        };
        let sent = self.session.send_message(message.clone(), now);
        ledger.message_sent(&message, &sent, &self.session.stats());
        sent
    }

    /// As [`Session::recv_audio`].
    pub fn recv_audio(&mut self, track: TrackId, samples: &mut [i16]) -> Option<AudioInfo> {
        let info = self.session.recv_audio(track, samples);
        if let (Some(ledger), Some(info)) = (&mut self.ledger, &info) {
            ledger.block_read(info);
        }
        info
    }

    /// As [`Session::recv_encoded`].
    pub fn recv_encoded(&mut self, track: TrackId) -> Option<EncodedFrame> {
        let frame = self.session.recv_encoded(track);
        if let (Some(ledger), Some(frame)) = (&mut self.ledger, &frame) {
            ledger.frame_read(track, frame);
        }
        frame
    }
}

impl<'a> Deref for WatchedCall<'a> {
    type Target = SessionGuard<'a>;

    fn deref(&self) -> &SessionGuard<'a> {
        &self.session
    }
}

impl DerefMut for WatchedCall<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        if let Some(ledger) = &mut self.ledger {
            ledger.touch();
        }
        &mut self.session
    }
}
