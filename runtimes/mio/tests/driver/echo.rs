//! The application of these tests: all that comes goes back.

use std::sync::mpsc::Sender;
use std::time::Instant;

use smallrtc::signaling::Call;
use smallrtc::{AudioFrame, CloseReason, Endpoint, Event, SendError, SessionId};
use smallrtc_mio::App;

/// Repeats what it hears and reads, and tells what happened to it.
#[derive(Debug)]
pub(crate) struct Echo {
    told: Sender<Told>,
}

/// What the application was told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Call(SessionId),
    Event(SessionId, Event),
}

impl Told {
    pub(crate) fn end(&self) -> Option<CloseReason> {
        match self {
            Told::Event(_, Event::Closed { reason }) => Some(*reason),
            _ => None,
        }
    }
}

impl Echo {
    pub(crate) fn new(told: Sender<Told>) -> Echo {
        Echo { told }
    }
}

/// What was heard last of a call may be told when the call has ended.
fn is_sent<T>(sent: Result<T, SendError>) -> bool {
    matches!(sent, Ok(_) | Err(SendError::Closed))
}

impl App for Echo {
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        self.told.send(Told::Call(call.id)).ok();
        endpoint.session(call.id).unwrap().start(now);
    }

    fn on_event(&mut self, id: SessionId, event: Event, endpoint: &mut Endpoint, now: Instant) {
        self.told.send(Told::Event(id, event.clone())).ok();
        let Some(mut session) = endpoint.session(id) else { return };
        match event {
            Event::AudioReadable(track) => {
                let mut samples = [0; 5760];
                while let Some(block) = session.recv_audio(track, &mut samples) {
                    let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                    assert!(is_sent(session.send_audio(heard, now)));
                }
            }
            Event::Message(message) => {
                assert!(is_sent(session.send_message(message, now)));
            }
            _ => {}
        }
    }
}
