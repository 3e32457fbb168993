//! A session whose public calls are put to the books.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use smallrtc::{
    Answer, AudioCleared, AudioFrame, AudioId, AudioInfo, AudioOrigin, Delivery, EncodedFrame,
    Event, Message, NegotiateError, Offer, SendError, Session, TrackId,
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
        let sends =
            |track: &smallrtc::Track| track.sends && track.kind == smallrtc::MediaKind::Audio;
        let is_silent = !self.session.tracks().iter().any(sends);
        if let Some(ledger) = &mut self.ledger {
            ledger.touch();
            if answer.is_ok() {
                ledger.offered(offer.sdp());
            }
            if is_silent {
                ledger.silenced();
            }
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
            let samples = frame.samples.len() / usize::from(frame.channels);
            ledger.audio_sent(*id, samples, frame.rate);
        }
        sent
    }

    /// As [`Session::clear_audio`].
    pub fn clear_audio(&mut self, now: Instant) -> AudioCleared {
        let cleared = self.session.clear_audio(now);
        if let Some(ledger) = &mut self.ledger {
            let told = |piece: &smallrtc::ClearedPiece| (piece.id, piece.sent, piece.dropped);
            ledger.audio_cleared(&cleared.pieces.iter().map(told).collect::<Vec<_>>());
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
            ledger.audio_read(info.samples, info.rate, info.origin == AudioOrigin::Silence);
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
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.session.poll_event();
        if let Some(ledger) = &mut self.ledger {
            match &event {
                Some(event) => ledger.told(event),
                None => ledger.drained(),
            }
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
