//! A session, lent out by its endpoint.
//!
//! Whatever is done to a session may move its deadline and give it something to say. The guard
//! lends no `&mut Session`, so nothing can be done that the endpoint does not hear of.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Endpoint, SessionId};
use crate::{
    Answer, AudioCleared, AudioFrame, AudioId, AudioInfo, AudioProgress, CandidateError,
    CloseReason, Codec, ConnectionState, Delivery, EncodedFrame, Message, NegotiateError, Offer,
    RemoteCandidate, SendError, Session, Stats, Track, TrackId,
};

/// A session of an endpoint: re-arms deadline and readiness when dropped.
///
/// Each method is that of [`Session`]; what it gives out or needs to be told is polled from the
/// endpoint.
pub struct SessionGuard<'a> {
    endpoint: &'a mut Endpoint,
    id: SessionId,
}

impl<'a> SessionGuard<'a> {
    /// The session must be there.
    pub(super) fn new(endpoint: &'a mut Endpoint, id: SessionId) -> SessionGuard<'a> {
        SessionGuard { endpoint, id }
    }
}

impl SessionGuard<'_> {
    /// The session's name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// See [`Session::accept_offer`].
    ///
    /// # Errors
    /// See there.
    pub fn accept_offer(&mut self, offer: &Offer, now: Instant) -> Result<Answer, NegotiateError> {
        self.session_mut().accept_offer(offer, now)
    }

    /// See [`Session::add_remote_candidate`].
    ///
    /// # Errors
    /// See there.
    pub fn add_remote_candidate(
        &mut self,
        candidate: &RemoteCandidate,
        now: Instant,
    ) -> Result<(), CandidateError> {
        self.session_mut().add_remote_candidate(candidate, now)
    }

    /// See [`Session::start`].
    pub fn start(&mut self, now: Instant) {
        self.session_mut().start(now);
    }

    /// See [`Session::close`].
    pub fn close(&mut self, now: Instant) {
        self.session_mut().close(now);
    }

    pub(crate) fn close_for(&mut self, reason: CloseReason, now: Instant) {
        self.session_mut().close_for(reason, now);
    }

    /// See [`Session::hold_events`].
    pub fn hold_events(&mut self, hold: bool) {
        self.session_mut().hold_events(hold);
    }

    /// See [`Session::request_renegotiation`].
    pub fn request_renegotiation(&mut self, now: Instant) {
        self.session_mut().request_renegotiation(now);
    }

    /// See [`Session::send_audio`].
    ///
    /// # Errors
    /// See there.
    pub fn send_audio(
        &mut self,
        frame: AudioFrame<'_>,
        now: Instant,
    ) -> Result<AudioId, SendError> {
        self.session_mut().send_audio(frame, now)
    }

    /// See [`Session::clear_audio`].
    pub fn clear_audio(&mut self, now: Instant) -> AudioCleared {
        self.session_mut().clear_audio(now)
    }

    /// See [`Session::audio_progress`].
    #[must_use]
    pub fn audio_progress(&mut self, id: AudioId) -> Option<AudioProgress> {
        self.session_mut().audio_progress(id)
    }

    /// See [`Session::pause_audio`].
    pub fn pause_audio(&mut self, now: Instant) {
        self.session_mut().pause_audio(now);
    }

    /// See [`Session::resume_audio`].
    pub fn resume_audio(&mut self, now: Instant) {
        self.session_mut().resume_audio(now);
    }

    /// See [`Session::send_dtmf`].
    ///
    /// # Errors
    /// See there.
    pub fn send_dtmf(
        &mut self,
        keys: &str,
        duration: Duration,
        gap: Duration,
        now: Instant,
    ) -> Result<(), SendError> {
        self.session_mut().send_dtmf(keys, duration, gap, now)
    }

    /// See [`Session::clear_dtmf`].
    pub fn clear_dtmf(&mut self, now: Instant) {
        self.session_mut().clear_dtmf(now);
    }

    /// See [`Session::recv_audio`].
    pub fn recv_audio(&mut self, track: TrackId, samples: &mut [i16]) -> Option<AudioInfo> {
        self.session_mut().recv_audio(track, samples)
    }

    /// See [`Session::send_encoded`].
    ///
    /// # Errors
    /// See there.
    pub fn send_encoded(
        &mut self,
        track: TrackId,
        frame: EncodedFrame,
        now: Instant,
    ) -> Result<(), SendError> {
        self.session_mut().send_encoded(track, frame, now)
    }

    /// See [`Session::recv_encoded`].
    pub fn recv_encoded(&mut self, track: TrackId) -> Option<EncodedFrame> {
        self.session_mut().recv_encoded(track)
    }

    /// See [`Session::request_keyframe`].
    pub fn request_keyframe(&mut self, track: TrackId, now: Instant) {
        self.session_mut().request_keyframe(track, now);
    }

    /// See [`Session::send_message`].
    ///
    /// # Errors
    /// See there.
    pub fn send_message(&mut self, message: Message, now: Instant) -> Result<Delivery, SendError> {
        self.session_mut().send_message(message, now)
    }

    /// See [`Session::state`].
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.session().state()
    }

    /// See [`Session::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.session().stats()
    }

    /// See [`Session::tracks`].
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        self.session().tracks()
    }

    /// See [`Session::send_codec`].
    #[must_use]
    pub fn send_codec(&self, track: TrackId) -> Option<Codec> {
        self.session().send_codec(track)
    }

    fn session(&self) -> &Session {
        let call = self.endpoint.calls.find(self.id);
        &call.expect("a guard is made only for a session that is there").session
    }

    fn session_mut(&mut self) -> &mut Session {
        let call = self.endpoint.calls.at_mut(self.id.slot);
        &mut call.expect("a guard is made only for a session that is there").session
    }
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.endpoint.refile(self.id.slot);
    }
}

impl fmt::Debug for SessionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionGuard({})", self.id)
    }
}
