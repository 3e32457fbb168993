//! One call, as the application sees it.

use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use smallrtc::signaling::Call;
use smallrtc::{
    AudioCleared, AudioFrame, AudioId, AudioProgress, EncodedFrame, Message, SendError, SessionId,
    Stats, TrackId,
};

use crate::Received;
use crate::link::{AudioCommand, ControlCommand, Inbound, MessageCommand, Outbound};
use crate::reply::{self, Answer};

/// One call. Dropping it and all its senders closes the call.
#[derive(Debug)]
pub struct Peer {
    shard: u16,
    call: Call,
    request_data: Option<String>,
    inbound: Inbound,
    sender: PeerSender,
}

/// The sending half of a call: cheap to clone, to be used from any task.
#[derive(Clone, Debug)]
pub struct PeerSender {
    outbound: Arc<Outbound>,
}

impl Peer {
    pub(crate) fn new(shard: u16, call: Call, inbound: Inbound, outbound: Outbound) -> Peer {
        let request_data = call.request_data.as_ref().map(ToString::to_string);
        let sender = PeerSender { outbound: Arc::new(outbound) };
        Peer { shard, call, request_data, inbound, sender }
    }

    /// Tells the session that the application is there. The lane is empty, so there is room.
    pub(crate) fn start(&self) {
        let outbound = &self.sender.outbound;
        let _ = outbound.control.try_send(ControlCommand::Start);
        outbound.shared.bell.ring();
    }

    /// The shard that has the call (`Config::place`).
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// The name of the call at its endpoint; another shard may have a call of the same name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.call.id
    }

    /// The name of the call in signalling (`pc_id`).
    #[must_use]
    pub fn pc_id(&self) -> &str {
        &self.call.pc_id
    }

    /// The JSON text of the client's `request_data`, if it sent any.
    #[must_use]
    pub fn request_data(&self) -> Option<&str> {
        self.request_data.as_deref()
    }

    /// The session of `/start` by which the call came (`sessionId`); none when it came without.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.call.session_id.as_deref()
    }

    /// The call of the same shard whose place this one took (`restart_pc`): the same caller goes
    /// on.
    #[must_use]
    pub fn replaces(&self) -> Option<SessionId> {
        self.call.replaces
    }

    /// The sending half; clone it for other tasks. The methods below are the same ones.
    #[must_use]
    pub fn sender(&self) -> &PeerSender {
        &self.sender
    }

    /// What comes next; `None` after [`Received::Closed`], which always comes. Safe to cancel.
    ///
    /// Read it all the time: what is not read waits in the session, where sound and pictures that
    /// are too old are dropped, and too many messages end the call.
    pub async fn recv(&mut self) -> Option<Received> {
        self.inbound.recv().await
    }

    /// See [`PeerSender::send_audio`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_audio(&self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        self.sender.send_audio(frame).await
    }

    /// See [`PeerSender::try_send_audio`].
    ///
    /// # Errors
    /// See there.
    pub async fn try_send_audio(&self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        self.sender.try_send_audio(frame).await
    }

    /// See [`PeerSender::clear_audio`].
    pub async fn clear_audio(&self) -> AudioCleared {
        self.sender.clear_audio().await
    }

    /// See [`PeerSender::pause_audio`].
    pub async fn pause_audio(&self) {
        self.sender.pause_audio().await;
    }

    /// See [`PeerSender::resume_audio`].
    pub async fn resume_audio(&self) {
        self.sender.resume_audio().await;
    }

    /// See [`PeerSender::audio_progress`].
    pub async fn audio_progress(&self, id: AudioId) -> Option<AudioProgress> {
        self.sender.audio_progress(id).await
    }

    /// See [`PeerSender::send_dtmf`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_dtmf(
        &self,
        keys: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), SendError> {
        self.sender.send_dtmf(keys, duration, gap).await
    }

    /// See [`PeerSender::clear_dtmf`].
    pub async fn clear_dtmf(&self) {
        self.sender.clear_dtmf().await;
    }

    /// See [`PeerSender::send_message`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_message(&self, message: Message) -> Result<(), SendError> {
        self.sender.send_message(message).await
    }

    /// See [`PeerSender::send_encoded`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_encoded(&self, track: TrackId, frame: EncodedFrame) -> Result<(), SendError> {
        self.sender.send_encoded(track, frame).await
    }

    /// See [`PeerSender::request_keyframe`].
    pub async fn request_keyframe(&self, track: TrackId) {
        self.sender.request_keyframe(track).await;
    }

    /// See [`PeerSender::request_renegotiation`].
    pub async fn request_renegotiation(&self) {
        self.sender.request_renegotiation().await;
    }

    /// See [`PeerSender::stats`].
    pub async fn stats(&self) -> Option<Stats> {
        self.sender.stats().await
    }

    /// See [`PeerSender::close`].
    pub async fn close(&self) {
        self.sender.close().await;
    }
}

impl PeerSender {
    /// Queues sound behind what is queued already, to be sent at the pace of speech. Waits while
    /// the queue is full (60 s of sound), also for [`PeerSender::resume_audio`] when the queue is
    /// held back. Dropping the future while it waits takes the sound back.
    ///
    /// # Errors
    /// As `Session::send_audio`, never `QueueFull`; `Closed` when the call has ended.
    pub async fn send_audio(&self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        let command = |answer| AudioCommand::new(frame, answer);
        self.ask(&self.outbound.audio, command).await.unwrap_or(Err(SendError::Closed))
    }

    /// As [`PeerSender::send_audio`], and waits for no room: only for the driver's next turn. For
    /// sound that is worth nothing later.
    ///
    /// # Errors
    /// As `Session::send_audio`: `QueueFull` says when there will be room, if that is known. So it
    /// does, too, while a `send_audio` waits, because that one is first. `Closed` when the call has
    /// ended.
    pub async fn try_send_audio(&self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        let command = |answer| ControlCommand::TryAudio(AudioCommand::new(frame, answer));
        self.ask(&self.outbound.control, command).await.unwrap_or(Err(SendError::Closed))
    }

    /// Barge-in: drops all sound that is queued and not yet sent, and tells how far each piece
    /// got. Empty when the call has ended. A `send_audio` that still waits for room goes on: drop
    /// its future first.
    pub async fn clear_audio(&self) -> AudioCleared {
        self.ask(&self.outbound.control, ControlCommand::ClearAudio).await.unwrap_or_default()
    }

    /// Holds the queued sound back until [`PeerSender::resume_audio`]; see `Session::pause_audio`.
    /// A `send_audio` that finds the queue full waits until then.
    pub async fn pause_audio(&self) {
        self.tell(ControlCommand::PauseAudio).await;
    }

    /// Lets go of the sound that [`PeerSender::pause_audio`] holds back.
    pub async fn resume_audio(&self) {
        self.tell(ControlCommand::ResumeAudio).await;
    }

    /// How far a piece of sound has come; see `Session::audio_progress`. `None` for a piece that is
    /// not known any more, and when the call has ended.
    pub async fn audio_progress(&self, id: AudioId) -> Option<AudioProgress> {
        let command = |answer| ControlCommand::AudioProgress(id, answer);
        self.ask(&self.outbound.control, command).await.flatten()
    }

    /// Queues keys of a telephone; see `Session::send_dtmf`. Waits for the driver's next turn, not
    /// for the keys: `Event::DtmfSent` tells of those.
    ///
    /// # Errors
    /// As `Session::send_dtmf`; `Closed` when the call has ended.
    pub async fn send_dtmf(
        &self,
        keys: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), SendError> {
        let command = |answer| ControlCommand::SendDtmf(keys.to_owned(), duration, gap, answer);
        self.ask(&self.outbound.control, command).await.unwrap_or(Err(SendError::Closed))
    }

    /// Drops the keys that have not begun.
    pub async fn clear_dtmf(&self) {
        self.tell(ControlCommand::ClearDtmf).await;
    }

    /// Sends a message, or queues it until the data channel opens. Waits while the queue is full.
    /// Dropping the future while it waits takes the message back.
    ///
    /// # Errors
    /// As `Session::send_message`, never `QueueFull`; `Closed` when the call has ended.
    pub async fn send_message(&self, message: Message) -> Result<(), SendError> {
        let command = |answer| MessageCommand { message, answer };
        self.ask(&self.outbound.messages, command).await.unwrap_or(Err(SendError::Closed))
    }

    /// Sends a coded frame on a track: video, or audio that is coded already. Nothing is paced and
    /// nothing waits: send it when it is due.
    ///
    /// # Errors
    /// As `Session::send_encoded`; `Closed` when the call has ended.
    pub async fn send_encoded(&self, track: TrackId, frame: EncodedFrame) -> Result<(), SendError> {
        let command = |answer| ControlCommand::SendEncoded(track, frame, answer);
        self.ask(&self.outbound.control, command).await.unwrap_or(Err(SendError::Closed))
    }

    /// Asks the peer for a keyframe on a track.
    pub async fn request_keyframe(&self, track: TrackId) {
        self.tell(ControlCommand::RequestKeyframe(track)).await;
    }

    /// Asks the client for a new offer (`renegotiate` over the data channel).
    pub async fn request_renegotiation(&self) {
        self.tell(ControlCommand::RequestRenegotiation).await;
    }

    /// The call's figures; `None` when it has ended.
    pub async fn stats(&self) -> Option<Stats> {
        self.ask(&self.outbound.control, ControlCommand::Stats).await
    }

    /// Begins to end the call: what is queued and `peerLeft` are delivered, then
    /// `Received::Closed(CloseReason::Application)` comes, at most `Config::linger` later.
    pub async fn close(&self) {
        self.tell(ControlCommand::Close).await;
    }

    async fn tell(&self, command: ControlCommand) {
        if self.outbound.control.send(command).await.is_ok() {
            self.outbound.shared.bell.ring();
        }
    }

    /// `None` when the call has ended before the answer.
    async fn ask<C, T>(&self, lane: &Sender<C>, command: impl FnOnce(Answer<T>) -> C) -> Option<T> {
        let (answer, mut answered) = reply::answer();
        lane.send(command(answer)).await.ok()?;
        self.outbound.shared.bell.ring();
        answered.wait().await
    }
}
