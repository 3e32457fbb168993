//! Commands of the application, carried out on its session.

use std::time::{Duration, Instant};

use smallrtc::{AudioFrame, AudioId, Event, SendError, SessionGuard};

use crate::link::{AUDIO_LANE_MAX, AudioCommand, ControlCommand, Link, MessageCommand};
use crate::reply::Answer;

/// After how long a command that waits for room is tried again when no event told of room before.
/// For sound the session often says when, and sound that is held back has room only when the
/// application lets it go or drops it. Events may be held back while the application does not
/// read, and it may not read because it waits to send: then this alone goes on. 50 ms: too short to
/// be heard in a queue of 60 s, long enough to cost nothing.
const RETRY_AFTER: Duration = Duration::from_millis(50);

impl Link {
    /// Carries out commands, at most `budget` of each lane; rings for itself when more are there.
    pub(crate) fn serve(&mut self, session: &mut SessionGuard<'_>, budget: usize, now: Instant) {
        for _ in 0..budget {
            let Some(command) = self.control.next(now) else { break };
            self.control(command, session, now);
        }
        for _ in 0..budget {
            let Some(command) = self.messages.next(now) else { break };
            self.message(command, session, now);
        }
        for _ in 0..budget {
            let Some(command) = self.audio.next(now) else { break };
            let _ = self.sound(command, session, now);
        }
        if self.control.is_abandoned() {
            session.close(now);
        }
        if self.control.is_ready() || self.messages.is_ready() || self.audio.is_ready() {
            self.shared.bell.ring();
        }
    }

    /// Whether commands that wait may have room after this event; they are tried again then.
    pub(crate) fn tells_of_room(&mut self, event: &Event, now: Instant) -> bool {
        match event {
            Event::MessagesDrained
            | Event::MessagesDropped { .. }
            | Event::ChannelOpened { .. }
            | Event::ChannelClosed => self.messages.retry_now(now),
            Event::AudioFinished { .. } => self.audio.retry_now(now),
            _ => return false,
        }
        true
    }

    fn message(&mut self, command: MessageCommand, session: &mut SessionGuard<'_>, now: Instant) {
        // Whoever sent it does not wait any more: it is taken back.
        if command.answer.is_unwanted() {
            return;
        }
        // The session keeps nothing of what it refuses, so that this keeps a copy for then.
        match session.send_message(command.message.clone(), now) {
            Err(SendError::QueueFull { .. }) => {
                self.messages.park(command, Some(now + RETRY_AFTER));
            }
            sent => command.answer.give(sent.map(|_| ())),
        }
    }

    /// Gives the refusal of sound that waits now.
    fn sound(
        &mut self,
        command: AudioCommand,
        session: &mut SessionGuard<'_>,
        now: Instant,
    ) -> Option<SendError> {
        if command.answer.is_unwanted() {
            return None;
        }
        match session.send_audio(command.frame(), now) {
            Err(full @ SendError::QueueFull { wait, .. }) => {
                let retry_at = (!self.is_paused).then(|| now + wait.unwrap_or(RETRY_AFTER));
                self.audio.park(command, retry_at);
                Some(full)
            }
            sent => {
                command.answer.give(sent);
                None
            }
        }
    }

    /// Sound that does not wait; nor does it take the room that other sound waits for, which goes
    /// first.
    fn try_sound(&mut self, command: AudioCommand, session: &mut SessionGuard<'_>, now: Instant) {
        self.audio.retry_now(now);
        for _ in 0..=AUDIO_LANE_MAX {
            let Some(first) = self.audio.next(now) else { break };
            if let Some(full) = self.sound(first, session, now) {
                return command.answer.give(Err(full));
            }
        }
        let sent = session.send_audio(command.frame(), now);
        command.answer.give(sent);
    }

    fn control(&mut self, command: ControlCommand, session: &mut SessionGuard<'_>, now: Instant) {
        match command {
            ControlCommand::Start => session.start(now),
            ControlCommand::TryAudio(command) => self.try_sound(command, session, now),
            ControlCommand::ClearAudio(answer) => {
                answer.give(session.clear_audio(now));
                self.audio.retry_now(now);
            }
            ControlCommand::PauseAudio => {
                session.pause_audio(now);
                self.is_paused = true;
                self.audio.retry_now(now);
            }
            ControlCommand::ResumeAudio => {
                session.resume_audio(now);
                self.is_paused = false;
                self.audio.retry_now(now);
            }
            ControlCommand::AudioProgress(id, answer) => answer.give(session.audio_progress(id)),
            ControlCommand::SendDtmf(keys, duration, gap, answer) => {
                answer.give(session.send_dtmf(&keys, duration, gap, now));
            }
            ControlCommand::ClearDtmf => session.clear_dtmf(now),
            ControlCommand::SendEncoded(track, frame, answer) => {
                answer.give(session.send_encoded(track, frame, now))
            }
            ControlCommand::RequestKeyframe(track) => session.request_keyframe(track, now),
            ControlCommand::RequestRenegotiation => session.request_renegotiation(now),
            ControlCommand::Stats(answer) => answer.give(session.stats()),
            ControlCommand::Close => session.close(now),
        }
    }
}

impl AudioCommand {
    pub(crate) fn new(
        frame: AudioFrame<'_>,
        answer: Answer<Result<AudioId, SendError>>,
    ) -> AudioCommand {
        let AudioFrame { samples, rate, channels } = frame;
        AudioCommand { samples: samples.to_vec(), rate, channels, answer }
    }

    fn frame(&self) -> AudioFrame<'_> {
        let AudioCommand { samples, rate, channels, .. } = self;
        AudioFrame { samples, rate: *rate, channels: *channels }
    }
}
