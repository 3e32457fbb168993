//! The suite's application in its synchronous form: called back with the endpoint in hand.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Instant;

use smallrtc::signaling::Call;
use smallrtc::{AudioCleared, AudioFrame, Endpoint, Event, SendError, SessionId, TrackId};

use crate::subject::{Bot, Command, Mind, Outcome, RATE, Report, Told};

/// Samples that one pull takes: 60 ms of two channels at 48 kHz, the longest packet of a browser.
const BLOCK_LEN: usize = 5760;

/// An application that acts at once, within the callback.
#[derive(Debug)]
pub(crate) struct Application {
    bot: Bot,
    minds: BTreeMap<SessionId, Mind>,
    reports: Sender<Report>,
    block: Vec<i16>,
}

impl Application {
    pub(crate) fn new(bot: Bot, reports: Sender<Report>) -> Application {
        Application { bot, minds: BTreeMap::new(), reports, block: vec![0; BLOCK_LEN] }
    }

    pub(crate) fn report(&self, report: Report) {
        // The suite may have gone.
        let _ = self.reports.send(report);
    }

    pub(crate) fn teller(&self) -> Sender<Report> {
        self.reports.clone()
    }

    /// A call was made.
    pub(crate) fn on_call(&mut self, call: &Call) {
        self.minds.insert(call.id, Mind::new(self.bot));
        let told = Told::Called { pc_id: call.pc_id.clone() };
        self.report(Report::Told(call.id, told));
    }

    /// The calls that have not been told their end.
    pub(crate) fn calls(&self) -> Vec<SessionId> {
        self.minds.keys().copied().collect()
    }

    /// A call has something to tell.
    pub(crate) fn on_event(
        &mut self,
        id: SessionId,
        event: Event,
        endpoint: &mut Endpoint,
        now: Instant,
    ) {
        match event {
            Event::AudioReadable(track) => self.pull(id, track, endpoint, now),
            Event::EncodedReadable(_) | Event::MessagesDrained => {}
            Event::Message(message) => self.tell(id, Told::Message(message), endpoint, now),
            Event::Closed { reason } => {
                self.tell(id, Told::Closed(reason), endpoint, now);
                self.minds.remove(&id);
            }
            event => self.tell(id, Told::Event(event), endpoint, now),
        }
    }

    fn tell(&mut self, id: SessionId, told: Told, endpoint: &mut Endpoint, now: Instant) {
        let commands = self.minds.get_mut(&id).map(|mind| mind.react(&told)).unwrap_or_default();
        self.report(Report::Told(id, told));
        for command in commands {
            let _ = carry_out(id, command, endpoint, now);
        }
    }

    fn pull(&mut self, id: SessionId, track: TrackId, endpoint: &mut Endpoint, now: Instant) {
        loop {
            let Some(mut session) = endpoint.session(id) else { return };
            let Some(info) = session.recv_audio(track, &mut self.block) else { return };
            drop(session);
            let samples = self.block[..info.samples * usize::from(info.channels)].to_vec();
            let told = Told::Audio { samples, rate: info.rate, channels: info.channels };
            self.tell(id, told, endpoint, now);
        }
    }
}

/// Does what was ordered.
pub(crate) fn carry_out(
    id: SessionId,
    command: Command,
    endpoint: &mut Endpoint,
    now: Instant,
) -> Outcome {
    let Some(mut session) = endpoint.session(id) else { return gone(&command) };
    match command {
        Command::Audio(samples) => {
            let sent = session.send_audio(AudioFrame::mono(&samples, RATE), now);
            Outcome::Sent(sent.map(|_| ()))
        }
        Command::Message(message) => Outcome::Sent(session.send_message(message, now).map(|_| ())),
        Command::Clear => Outcome::Cleared(session.clear_audio(now)),
        Command::Pause => {
            session.pause_audio(now);
            Outcome::Told
        }
        Command::Resume => {
            session.resume_audio(now);
            Outcome::Told
        }
        Command::Close => {
            session.close(now);
            Outcome::Closing
        }
    }
}

/// Stops reading, or goes on.
pub(crate) fn hold(id: SessionId, hold: bool, endpoint: &mut Endpoint) {
    if let Some(mut session) = endpoint.session(id) {
        session.hold_events(hold);
    }
}

/// The call has ended.
pub(crate) fn gone(command: &Command) -> Outcome {
    match command {
        Command::Audio(_) | Command::Message(_) => Outcome::Sent(Err(SendError::Closed)),
        Command::Clear => Outcome::Cleared(AudioCleared::default()),
        Command::Pause | Command::Resume => Outcome::Told,
        Command::Close => Outcome::Closing,
    }
}
