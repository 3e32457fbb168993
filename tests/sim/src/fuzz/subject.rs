//! A session on the scripted transport, and what must hold of it whatever is done to it: what the
//! [`Checks`] and the [`Ledger`](crate::Ledger) hold it to, and what is asserted here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallrtc::scripted::{Chunk, Content, Frame, decode, encode, stun};
use smallrtc::{
    Answer, AudioFrame, CloseReason, Codec, Config, Event, Message, Seed, Session, Transmit,
};

use super::{HERE, THERE, datagram_from, local, offer, origin};
use crate::{Checks, Watched};

/// Wake-ups in one run: two minutes of a call have some 10,000.
const TURNS_MAX: usize = 100_000;

/// Events of one drain: one of each kind and track, 1024 messages, 8192 finished pieces.
const EVENTS_MAX: usize = 10_000;

/// A session ends within so long when its peer is silent: 60 s while it connects, 5 s and 15 s
/// after, 2 s of farewell. One second for what was on its way.
const ENDS_WITHIN: Duration = Duration::from_secs(63);

/// A session under test.
pub(super) struct Subject {
    pub(super) session: Watched,
    pub(super) now: Instant,
    pub(super) closed: Option<CloseReason>,
    /// RTP times of the audio packets that were sent, with when.
    pub(super) audio: Vec<(Instant, u64)>,
    /// The peer's messages that were told of.
    pub(super) messages: Vec<Message>,
    checks: Checks,
}

impl Subject {
    /// A session over the scripted transport, connected, started, with an open channel.
    pub(super) fn connected(config: Arc<Config>) -> Subject {
        let now = origin();
        let mut session = Watched::new(Session::new(config, Seed::from_number(5), now), true);
        // What the peer says here is no model browser's.
        session.ledger_mut().expect("it is checked").forged();
        session.add_local_candidate(local(), now).expect("the first address is taken");
        let answer = session.accept_offer(&offer(), now).expect("the fixture is accepted");
        session.start(now);
        let (here, there) = (SocketAddr::from(HERE), SocketAddr::from(THERE));
        let mut subject = Subject {
            session,
            now,
            closed: None,
            audio: Vec::new(),
            messages: Vec::new(),
            checks: Checks::new(1150, &[here], there, now),
        };
        let (ufrag, pwd) = credentials(&answer);
        subject.hear(&stun::request([1; 12], &ufrag, "EEtu", &pwd, true));
        let open = Chunk { number: 0, channel: 1, content: Content::Open, data: b"chat" };
        subject.hear(&encode(&[Frame::Hello, Frame::Chunk(open)]));
        subject.settle();
        assert_eq!(subject.session.state(), smallrtc::ConnectionState::Connected);
        subject
    }

    /// Takes a datagram from the peer's address.
    pub(super) fn hear(&mut self, payload: &[u8]) {
        self.session.handle_datagram(datagram_from(THERE, payload), self.now);
    }

    pub(super) fn speak(&mut self, samples: usize, rate: u32, channels: u8) {
        let pcm = vec![1_000; samples * usize::from(channels)];
        let frame = match channels {
            2 => AudioFrame::stereo(&pcm, rate),
            _ => AudioFrame::mono(&pcm, rate),
        };
        let _ = self.session.send_audio(frame, self.now);
    }

    pub(super) fn clear(&mut self) {
        let _ = self.session.clear_audio(self.now);
    }

    /// Polls some of what waits, in the order that the bits say.
    pub(super) fn poll_some(&mut self, mut order: u8) {
        self.checks.turn(self.now);
        while order > 1 {
            if order & 1 == 0 {
                let event = self.session.poll_event();
                event.into_iter().for_each(|event| self.on_event(&event));
            } else {
                let transmit = self.session.poll_transmit();
                transmit.into_iter().for_each(|transmit| self.on_transmit(&transmit));
            }
            order >>= 1;
        }
    }

    /// Polls everything, and lets the session do all that is due.
    pub(super) fn settle(&mut self) {
        self.checks.turn(self.now);
        self.session.settle();
        self.drain();
        while self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            let had_output = self.drain();
            self.checks.timeout_done(had_output, self.session.poll_timeout());
        }
    }

    fn drain(&mut self) -> bool {
        let mut count = 0;
        while let Some(event) = self.session.poll_event() {
            count += 1;
            self.on_event(&event);
        }
        assert!(count <= EVENTS_MAX, "{count} events waited");
        while let Some(transmit) = self.session.poll_transmit() {
            count += 1;
            self.on_transmit(&transmit);
        }
        count > 0
    }

    fn on_event(&mut self, event: &Event) {
        self.checks.event(event);
        match event {
            Event::Closed { reason } => self.closed = Some(*reason),
            Event::Message(message) => self.messages.push(message.clone()),
            _ => {}
        }
    }

    fn on_transmit(&mut self, transmit: &Transmit) {
        self.checks.transmit(transmit);
        let frames = decode(&transmit.payload).unwrap_or_default();
        let mut times = frames.iter().filter_map(|frame| match frame {
            Frame::Media(media) if media.codec == Codec::Opus => Some(media.time),
            _ => None,
        });
        // The copy of the one before stands in front of it.
        self.audio.extend(times.next_back().map(|time| (self.now, time)));
    }

    /// Lets so much time pass, from wake-up to wake-up.
    pub(super) fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= end) {
            assert!(at > self.now, "due without work");
            self.now = at;
            self.settle();
        }
        self.now = end;
    }

    /// The application ends the call.
    pub(super) fn close(mut self) {
        self.session.close(self.now);
        self.end();
    }

    /// The peer is silent from now on: the session ends, once, and in time.
    pub(super) fn end(mut self) {
        let last = self.now + ENDS_WITHIN;
        self.session.hold_events(false);
        self.settle();
        for _ in 0..TURNS_MAX {
            let Some(at) = self.session.poll_timeout() else { break };
            assert!(at > self.now, "due without work");
            assert!(at <= last, "still there after {ENDS_WITHIN:?}: {:?}", self.session);
            self.now = at;
            self.settle();
        }
        assert!(self.closed.is_some(), "a ghost: {:?}", self.session);
        assert!(self.session.is_finished(), "nothing is left after the end");
        assert_eq!(self.session.poll_timeout(), None, "nothing is due after the end");
    }
}

pub(super) fn credentials(answer: &Answer) -> (String, String) {
    let value = |name: &str| {
        let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        line.expect("the answer has credentials").trim().to_owned()
    };
    (value("a=ice-ufrag:"), value("a=ice-pwd:"))
}
