//! One call: negotiation, states, timers, messages, tracks, liveness and its end.
//!
//! A session is logic only. It opens no socket and reads no clock: datagrams and time are handed
//! in, datagrams and events are polled out. Everything that needs cryptography stands behind
//! [`crate::transport`], everything that codes sound behind [`crate::audio`].
//!
//! What holds at every moment:
//! - Every mutator leaves the transport drained. The three polls only pop, so they may be called in
//!   any order, interleaved, as often as one likes.
//! - While output is queued, `poll_timeout` is due at once: a driver that forgets to flush cannot
//!   oversleep.
//! - Time never goes back: an older `now` counts as the newest that was seen.
//! - `Closed` comes exactly once, as the last event. After it nothing is taken and nothing is
//!   sent but what the goodbye left in the queue.
//!
//! | state | what it waits for | who ends the waiting |
//! | --- | --- | --- |
//! | `New` | an offer | `Timer::Connecting` |
//! | `Connecting` | ICE and DTLS | `Timer::Ice` when no check comes, `Timer::Connecting` |
//! | `Connected` | traffic | `Timer::Liveness` |
//! | `Disconnected` | traffic that returns | `Timer::Disconnected` |
//! | closing (`close` was called) | acknowledgement of `peerLeft` | `Timer::Linger` |
//! | `Closed` | nothing | |
//!
//! The transitions are data in [`state`], the timers a table in [`timer`].

mod closing;
mod drive;
mod events;
mod media;
pub(crate) mod messages;
mod negotiate;
mod recorded;
#[cfg(test)]
mod scenarios;
mod state;
mod timer;
mod tones;
mod tracks;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use tracing::Span;

use crate::audio::dtmf::{ToneReceiver, ToneSender};
use crate::audio::{AudioReceiver, AudioSender};
use crate::entropy::Entropy;
use crate::message::RENEGOTIATE;
use crate::record::{Call, Tape, of_message};
use crate::time::earlier;
use crate::transport::{self, IceCredentials, Transport, TransportSetup};
use crate::ufrag::ice_text;
use crate::{
    Codec, Config, ConnectionState, Delivery, Event, Message, Seed, SendError, Stats, Track,
    TrackId, Transmit, Ufrag,
};
use events::EventQueue;
use messages::{Inbox, Outbox};
use timer::{Timer, TimerTable};
use tracks::Tracks;

/// The characters of an ICE password: 24 of 6 bits are 144, RFC 8445 section 5.3 asks for 128.
const PWD_LEN: usize = 24;

/// One call with one browser.
///
/// ```
/// use std::time::Instant;
/// use smallrtc::{Config, LocalCandidate, Seed, Session, TransportId};
///
/// let now = Instant::now();
/// let mut session = Session::new(Config::new().shared(), Seed::from_number(1), now);
/// let local = LocalCandidate::host(TransportId(0), "192.0.2.1:7860".parse()?);
/// session.add_local_candidate(local, now)?;
/// assert!(session.poll_event().is_none());
/// // A call that nobody ever makes ends as well: this is when.
/// assert!(session.poll_timeout().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    config: Arc<Config>,
    entropy: Entropy,
    span: Span,
    place: Ufrag,
    last_now: Instant,
    state: ConnectionState,
    started: bool,
    closing: Option<closing::Closing>,
    closed_polled: bool,
    held: bool,
    flush_is_due: bool,
    transport: Box<dyn Transport>,
    tape: Option<Tape>,
    negotiation: negotiate::Negotiation,
    events: EventQueue,
    timers: TimerTable,
    last_alive: Instant,
    outbox: Outbox,
    inbox: Inbox,
    tracks: Tracks,
    sender: Option<AudioSender>,
    speaks_with: Option<Codec>,
    receiver: Option<AudioReceiver>,
    /// `pause_audio` was called, and `resume_audio` was not.
    audio_paused: bool,
    /// Events about pieces of sound that were taken: each has two.
    audio_places: usize,
    /// Whether the peer's offer has telephone events that go with the sound.
    takes_keys: bool,
    keys_in: ToneReceiver,
    keys_out: ToneSender,
    /// Key presses whose event was not polled.
    presses: usize,
    stats: Stats,
}

impl Session {
    /// A session that waits for its offer, until `Config::connecting_timeout` from `now` on.
    ///
    /// The seed decides every random choice. In production it must come from the operating
    /// system: whoever knows it knows the ICE password.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: Seed, now: Instant) -> Session {
        Session::at_slot(config, &seed, 0, 0, now)
    }

    /// A session whose ufrag says where in an endpoint it stands.
    pub(crate) fn at_slot(
        config: Arc<Config>,
        seed: &Seed,
        slot: u32,
        generation: u32,
        now: Instant,
    ) -> Session {
        let place = Ufrag { node: config.node, shard: config.shard, slot, generation, random: 0 };
        let mut entropy = Entropy::new(seed);
        let public_seed = entropy.public_seed();
        let (ufrag, credentials) = credentials(&mut entropy, place);
        let tape = Tape::record(&config, ufrag, public_seed, now);
        let setup = TransportSetup { credentials, public_seed: entropy.public_u64() };
        let span = tracing::info_span!("session", ufrag = %ufrag);
        let transport = match &tape {
            None => transport::build(&config, setup, now),
            Some(tape) => tape.transport(transport::build(&config, setup, now)),
        };
        Session::over(transport, tape, (config, entropy, place, span), now)
    }

    /// The session that a log tells of: everything below it comes from the tape.
    pub(crate) fn replayed(
        config: Arc<Config>,
        public_seed: [u8; 32],
        place: Ufrag,
        (transport, tape): (Box<dyn Transport>, Tape),
        now: Instant,
    ) -> Session {
        let mut entropy = Entropy::replayed(public_seed);
        let (ufrag, _) = credentials(&mut entropy, place);
        let _drawn_for_the_engine = entropy.public_u64();
        let span = tracing::info_span!("replay", ufrag = %ufrag);
        Session::over(transport, Some(tape), (config, entropy, place, span), now)
    }

    fn over(
        transport: Box<dyn Transport>,
        tape: Option<Tape>,
        (config, entropy, place, span): (Arc<Config>, Entropy, Ufrag, Span),
        now: Instant,
    ) -> Session {
        let mut timers = TimerTable::default();
        timers.set(Timer::Connecting, now + config.connecting_timeout);
        Session {
            transport,
            tape,
            entropy,
            span,
            place,
            last_now: now,
            state: ConnectionState::New,
            started: false,
            closing: None,
            closed_polled: false,
            held: false,
            flush_is_due: false,
            negotiation: negotiate::Negotiation::default(),
            events: EventQueue::default(),
            timers,
            last_alive: now,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            tracks: Tracks::default(),
            sender: None,
            speaks_with: None,
            receiver: None,
            audio_paused: false,
            audio_places: 0,
            takes_keys: false,
            keys_in: ToneReceiver::default(),
            keys_out: ToneSender::default(),
            presses: 0,
            stats: Stats::default(),
            config,
        }
    }

    /// Says that the application is ready: from now on `Connected` and messages are told, those
    /// that came before first. Cameras and screens are asked for a keyframe, so that the
    /// application sees a picture at once. A second call does nothing.
    pub fn start(&mut self, now: Instant) {
        self.note(now, |_| Call::Start);
        let now = self.clamp(now);
        if self.started || self.closing.is_some() {
            return;
        }
        self.started = true;
        if matches!(self.state, ConnectionState::Connected | ConnectionState::Disconnected) {
            self.events.push(Event::StateChanged(self.state));
        }
        for message in self.inbox.release() {
            self.events.push(Event::Message(message));
        }
        for track in self.tracks.incoming_video() {
            self.ask_for_keyframe(track, now);
        }
        self.pump(now);
    }

    /// Asks the client for a new offer, once: until it comes, and is answered or refused, further
    /// calls do nothing. Before the channel is open the wish waits with the messages.
    pub fn request_renegotiation(&mut self, now: Instant) {
        self.note(now, |_| Call::RequestRenegotiation);
        let now = self.clamp(now);
        if self.closing.is_some() || self.negotiation.is_wanted() {
            return;
        }
        self.negotiation.want();
        self.outbox.push_own(RENEGOTIATE);
        self.pump(now);
    }

    /// Sends a message over the data channel, or queues it until the channel opens.
    ///
    /// # Errors
    /// Nothing of a refused message is kept. `QueueFull` past 50 messages before the channel
    /// opens, and past 1 MiB or 4096 messages after it; then `MessagesDrained` tells of room.
    /// `TooLarge` past 256 KiB or what the peer takes (`a=max-message-size` of its offer; one that
    /// was queued before the offer came is dropped and told of), `Empty` for none, `NoChannel` when
    /// the channel did not open within `Config::channel_timeout`, `Closed` at the end.
    pub fn send_message(&mut self, message: Message, now: Instant) -> Result<Delivery, SendError> {
        self.note(now, |recorder| Call::message(&message, recorder));
        let sent = self.queue_message(message, now);
        self.noted(|_| of_message(&sent));
        sent
    }

    fn queue_message(&mut self, message: Message, now: Instant) -> Result<Delivery, SendError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(SendError::Closed);
        }
        if let Err(error) = self.outbox.push(message) {
            self.stats.messages_refused += 1;
            return Err(error);
        }
        self.pump(now);
        Ok(self.outbox.delivery())
    }

    /// The next datagram to send. Poll until `None` after each call that takes `now`.
    #[must_use]
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.note_if(Session::has_transmit, || Call::PollTransmit);
        let transmit = self.transport.poll_transmit()?;
        self.stats.datagrams_sent += 1;
        self.stats.bytes_sent += transmit.payload.len() as u64;
        // Messages that were refused because transmits were at their limit may go now.
        self.flush_is_due = !self.outbox.is_empty();
        Some(transmit)
    }

    /// The next thing that happened. Poll until `None` after each call that takes `now`.
    #[must_use]
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        // Asked after each call, and most times there is nothing.
        if self.events.is_empty() || self.is_held() { None } else { self.pop_event() }
    }

    fn pop_event(&mut self) -> Option<Event> {
        self.note(self.last_now, |_| Call::PollEvent);
        let event = self.events.pop()?;
        match &event {
            Event::Message(message) => {
                self.inbox.polled(message.len());
                self.stats.messages_received += 1;
            }
            Event::AudioStarted { .. } | Event::AudioFinished { .. } => self.audio_places -= 1,
            Event::Dtmf { .. } => self.presses -= 1,
            Event::Closed { .. } => self.closed_polled = true,
            _ => {}
        }
        self.noted(|recorder| recorder.told(&event));
        Some(event)
    }

    /// Holds events back, or lets them come again: for an adapter whose application has no room.
    /// Meanwhile `poll_event` gives none and the session is not due for them, and the limits of
    /// what is not polled hold: sound and pictures that are too old are dropped, too many messages
    /// end the session. A session that is closed is not held any more.
    pub fn hold_events(&mut self, hold: bool) {
        self.note(self.last_now, |_| Call::HoldEvents(hold));
        self.held = hold;
    }

    /// When `handle_timeout` is wanted next; `None` for never. Due at once while there is output
    /// to poll. Ask again after each call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let has_event = !self.events.is_empty() && !self.is_held();
        if has_event || self.transport.has_transmit() {
            return Some(self.last_now);
        }
        if self.is_closed() {
            return None;
        }
        if self.flush_is_due {
            return Some(self.last_now);
        }
        let own = self.timers.next().map(|(_, deadline)| deadline);
        earlier(own, self.transport.poll_timeout())
    }

    /// The state, also while `Connected` is held back from the application.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        self.state
    }

    /// Whether `Closed` was polled and nothing is left to send: the session can be dropped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.closed_polled && !self.transport.has_transmit()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        if let Some(receiver) = &self.receiver {
            let counters = receiver.counters();
            stats.audio_packets_received = counters.packets;
            stats.audio_packets_duplicate = counters.duplicates;
            stats.audio_packets_late = counters.late;
            stats.audio_packets_malformed = counters.malformed;
            stats.audio_restarts = counters.restarts;
            stats.audio_repaired_samples = counters.repaired_samples;
            stats.audio_concealed_samples = counters.concealed_samples;
            stats.audio_silence_samples = counters.silence_samples;
            stats.audio_dropped_samples = counters.dropped_samples;
        }
        stats.dtmf_ignored = self.keys_in.ignored();
        stats.calls_unrecorded = self.tape.as_ref().map_or(0, Tape::missed);
        if let Some(sender) = &self.sender {
            let counters = sender.counters();
            stats.audio_slips = counters.slips;
            stats.audio_slipped = counters.slipped;
        }
        stats
    }

    /// The tracks of the call, in the order of m-lines.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        self.tracks.all()
    }

    /// The codec that this side sends with on a track; `None` when it does not send there.
    #[must_use]
    pub fn send_codec(&self, track: TrackId) -> Option<Codec> {
        self.tracks.send_codec(track)
    }

    /// Whether a STUN request was made with this session's password.
    pub(crate) fn verifies(&self, payload: &[u8]) -> bool {
        self.transport.verifies(payload)
    }

    fn is_closed(&self) -> bool {
        self.state == ConnectionState::Closed
    }

    fn is_held(&self) -> bool {
        self.held && !self.is_closed()
    }

    /// Time never goes back; whoever hands in an older instant gets the newest that was seen.
    fn clamp(&mut self, now: Instant) -> Instant {
        self.last_now = self.last_now.max(now);
        self.last_now
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("place", &self.place)
            .field("state", &self.state)
            .field("closing", &self.closing)
            .field("tracks", &self.tracks)
            .finish_non_exhaustive()
    }
}

/// Credentials for this session: the way to it in the ufrag, the secret in the password.
fn credentials(entropy: &mut Entropy, place: Ufrag) -> (Ufrag, IceCredentials) {
    let ufrag = Ufrag { random: entropy.public_u64() & Ufrag::RANDOM_MASK, ..place };
    let mut secret = [0; PWD_LEN];
    entropy.fill_secret(&mut secret);
    (ufrag, IceCredentials { ufrag: ufrag.to_string(), pwd: ice_text(&secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send>() {}

    #[test]
    fn a_session_can_be_moved_between_threads() {
        assert_send::<Session>();
    }

    #[test]
    fn credentials_carry_the_place_and_are_long_enough() {
        let place = Ufrag { node: 3, shard: 2, slot: 77, generation: 5, random: 0 };
        let mut entropy = Entropy::new(&Seed::from_number(1));
        let (ufrag, first) = credentials(&mut entropy, place);
        let (_, second) = credentials(&mut entropy, place);
        assert_ne!(first, second);
        assert!(first.pwd.len() * 6 >= 128);
        let parsed = Ufrag::parse(first.ufrag.as_bytes()).expect("our own layout");
        assert_eq!(Ufrag { random: 0, ..parsed }, place);
        assert_eq!(parsed, ufrag, "what the session is called is what the peer says");
    }
}
