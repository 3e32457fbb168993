//! The queue of events: in order, and bounded without ever losing one that matters.
//!
//! | event | bound | at the bound |
//! | --- | --- | --- |
//! | state, tracks, channel, readiness, keyframe wishes, `MessagesDrained`, `MessagesDropped` | one of each key | the newer value takes the place of the one that waits |
//! | `Message` | counted by the inbox (`session/messages.rs`) | the session ends |
//! | `DtmfSent` | one | it waits already |
//! | `Dtmf` | 256, counted by `session/tones.rs` | the newest is dropped, counted |
//! | `AudioStarted`, `AudioFinished` | places are reserved when the piece is accepted | `send_audio` refuses |
//! | `SpeechStarted`, `SpeechStopped` | 64 | the oldest two are dropped and counted: they still alternate |
//! | `Closed` | one | comes last, nothing after it |

use std::collections::VecDeque;

use crate::{Event, TrackId};

/// Events of one key say the same thing, so only the newest has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    State,
    Channel,
    Drained,
    Dropped,
    Track(TrackId),
    TrackStatus(TrackId),
    AudioReadable(TrackId),
    EncodedReadable(TrackId),
    Keyframe(TrackId),
    DtmfSent,
}

fn key(event: &Event) -> Option<Key> {
    Some(match event {
        Event::StateChanged(_) => Key::State,
        Event::ChannelOpened { .. } | Event::ChannelClosed => Key::Channel,
        Event::MessagesDrained => Key::Drained,
        Event::MessagesDropped { .. } => Key::Dropped,
        Event::TrackStarted(track) => Key::Track(track.id),
        Event::TrackEnded(id) => Key::Track(*id),
        Event::TrackStatus { track, .. } => Key::TrackStatus(*track),
        Event::AudioReadable(id) => Key::AudioReadable(*id),
        Event::EncodedReadable(id) => Key::EncodedReadable(*id),
        Event::KeyframeRequested(id) => Key::Keyframe(*id),
        Event::DtmfSent => Key::DtmfSent,
        Event::Message(_) | Event::Closed { .. } | Event::Dtmf { .. } => return None,
        Event::AudioStarted { .. } | Event::AudioFinished { .. } => return None,
        Event::SpeechStarted { .. } | Event::SpeechStopped { .. } => return None,
    })
}

/// Events of speech that wait. 64: somebody who speaks for a second and is quiet for one takes a
/// minute to fill it.
const SPEECH_MAX: usize = 64;

fn is_speech(event: &Event) -> bool {
    matches!(event, Event::SpeechStarted { .. } | Event::SpeechStopped { .. })
}

/// Events that wait to be polled.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    queue: VecDeque<Event>,
    closed: bool,
}

impl EventQueue {
    /// Adds an event. After `Closed` nothing is taken.
    pub(crate) fn push(&mut self, event: Event) {
        if self.closed {
            return;
        }
        self.closed = matches!(event, Event::Closed { .. });
        match key(&event) {
            // Nothing waits that it could take the place of: so it is with a bot that keeps up.
            _ if self.queue.is_empty() => self.queue.push_back(event),
            Some(wanted) => self.coalesce(wanted, event),
            None => self.queue.push_back(event),
        }
    }

    /// Adds an event of speech. How many others it took the place of.
    pub(crate) fn push_speech(&mut self, event: Event) -> u64 {
        let is_full = self.queue.iter().filter(|event| is_speech(event)).count() >= SPEECH_MAX;
        if is_full {
            for _ in 0..2 {
                let oldest = self.queue.iter().position(is_speech);
                self.queue.remove(oldest.expect("there are many"));
            }
        }
        self.push(event);
        if is_full { 2 } else { 0 }
    }

    fn coalesce(&mut self, wanted: Key, event: Event) {
        let waiting = self.queue.iter_mut().find(|waiting| key(waiting) == Some(wanted));
        match (waiting, event) {
            (Some(Event::MessagesDropped { count }), Event::MessagesDropped { count: more }) => {
                *count += more;
            }
            (Some(waiting), event) => *waiting = event,
            (None, event) => self.queue.push_back(event),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CloseReason, ConnectionState, Message};

    #[test]
    fn the_newest_of_a_key_takes_the_place_of_the_one_that_waits() {
        let mut events = EventQueue::default();
        events.push(Event::StateChanged(ConnectionState::Connected));
        events.push(Event::Message(Message::text("a")));
        events.push(Event::StateChanged(ConnectionState::Disconnected));
        events.push(Event::MessagesDropped { count: 2 });
        events.push(Event::MessagesDropped { count: 3 });
        assert_eq!(events.pop(), Some(Event::StateChanged(ConnectionState::Disconnected)));
        assert_eq!(events.pop(), Some(Event::Message(Message::text("a"))));
        assert_eq!(events.pop(), Some(Event::MessagesDropped { count: 5 }));
        assert!(events.is_empty());
    }

    #[test]
    fn the_oldest_pair_of_speech_goes_when_one_more_than_fits_waits() {
        let mut events = EventQueue::default();
        let track = TrackId(0);
        let speech = |number: u64| {
            let time = std::time::Duration::from_secs(number);
            match number % 2 {
                0 => Event::SpeechStarted { track, time },
                _ => Event::SpeechStopped { track, time },
            }
        };
        events.push(Event::MessagesDrained);
        for number in 0..SPEECH_MAX as u64 {
            assert_eq!(events.push_speech(speech(number)), 0);
        }
        assert_eq!(events.push_speech(speech(SPEECH_MAX as u64)), 2);
        assert_eq!(events.pop(), Some(Event::MessagesDrained));
        let left: Vec<Event> = std::iter::from_fn(|| events.pop()).collect();
        assert_eq!(left, (2..=SPEECH_MAX as u64).map(speech).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_follows_closed() {
        let mut events = EventQueue::default();
        events.push(Event::Closed { reason: CloseReason::Lost });
        events.push(Event::Closed { reason: CloseReason::Internal });
        events.push(Event::MessagesDrained);
        assert_eq!(events.pop(), Some(Event::Closed { reason: CloseReason::Lost }));
        assert_eq!(events.pop(), None);
    }

    #[test]
    fn a_peer_that_flaps_makes_the_queue_no_longer() {
        let mut events = EventQueue::default();
        for round in 0..10_000 {
            for track in 0..16 {
                let track = TrackId(track);
                events.push(Event::AudioReadable(track));
                events.push(Event::EncodedReadable(track));
                events.push(Event::KeyframeRequested(track));
                events.push(Event::TrackStatus { track, enabled: round % 2 == 0 });
                events.push(Event::TrackEnded(track));
            }
            events.push(Event::ChannelClosed);
            events.push(Event::ChannelOpened { label: String::new() });
            events.push(Event::StateChanged(ConnectionState::Connected));
        }
        assert_eq!(events.queue.len(), 16 * 5 + 2);
    }
}
