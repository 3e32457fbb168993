//! What went into a session, what came out of it, and that the two agree.
//!
//! | what | rule | where it is seen |
//! | --- | --- | --- |
//! | sound out | ids rise by one; a piece is told of once, in order; accepted = sent + dropped + queued, to the sample; nothing is queued after `Closed` | `send_audio`, `clear_audio`, `AudioFinished` |
//! | sound out | a piece begins once, in order and before it is told of, if and only if any of it is sent | `AudioStarted` |
//! | sound out | at most 60 s wait, in at most 8192 pieces | `send_audio` |
//! | messages out | at most 50 wait before a channel opened, ever 4096, and 1 MiB; `Sent` only when none waits | `send_message`, `Stats` |
//! | messages out | the page hears them in order and once; on one channel none is left out but those that were told of | the model browser |
//! | messages in | the bot hears them in order and once; at most 1024 and 4 MiB at once, each at most 256 KiB | the model browser, `Message` |
//! | events | one of each kind and track at once, none after `Closed`, `MessagesDrained` only after a refusal | `poll_event` |
//! | sound in | at most 1 s at once and the longest pause | `recv_audio` |
//! | coded frames in | at most 800, 8 MiB, 2 s of one track at once | `recv_encoded` |
//! | an offer | at most 64 KiB and 16 m-lines are taken | `accept_offer` |
//!
//! "At once" is what can be had by one call after the other with none in between that could bring
//! more. It never looks inside a session: what has no public sign has its test at its limit.
//!
//! A bot that sits in a [`crate::Pair`] calls the session itself, past these books. From then on
//! what goes out is not accounted for, but for the order of [`AudioId`]s; what comes in is.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use smallrtc::{
    AudioCleared, AudioFrame, AudioId, AudioInfo, Delivery, EncodedFrame, Event, MediaKind,
    Message, Offer, SendError, Stats, Track, TrackId,
};

// The limits of ARCHITECTURE.md, said again: a limit that is moved by mistake has to show.
const AUDIO_PIECES_MAX: usize = 8192;
const AUDIO_MAX: Duration = Duration::from_secs(60);
const QUEUED_MAX: u64 = 50;
const QUEUED_OPEN_MAX: u64 = 4096;
const QUEUED_BYTES_MAX: usize = 1024 * 1024;
const MESSAGE_LEN_MAX: usize = 256 * 1024;
const INBOUND_MAX: usize = 1024;
const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;
const PCM_MAX: Duration = Duration::from_secs(1);
const FRAMES_MAX: usize = 800;
const FRAMES_BYTES_MAX: usize = 8 * 1024 * 1024;
const FRAMES_SPAN_MAX: Duration = Duration::from_secs(2);
const OFFER_LEN_MAX: usize = 64 * 1024;
const OFFER_LINES_MAX: usize = 16;

/// The longest packet and the delay of the longest filter: what of a piece may have left the queue
/// before the piece is told of as finished.
const AUDIO_SLACK: Duration = Duration::from_millis(80);

/// Samples of one piece that was accepted and not told of.
#[derive(Debug)]
struct Piece {
    id: AudioId,
    len: u64,
    duration: Duration,
    has_begun: bool,
    /// A re-offer or an ending may have cut it short.
    may_be_short: bool,
}

/// Samples of all pieces, each at its own rate and per channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sound {
    /// Accepted by `send_audio`.
    pub accepted: u64,
    /// Told of as gone out.
    pub sent: u64,
    /// Told of as dropped.
    pub dropped: u64,
    /// Not told of yet.
    pub queued: u64,
    /// Pieces that were told of, as gone out or as dropped.
    pub pieces: u64,
}

/// What one side said and the other has not heard.
#[derive(Debug, Default)]
struct Said {
    messages: VecDeque<u64>,
    /// Left out by what was heard after them.
    skipped: u64,
    /// Several channels do not keep order among each other.
    is_mixed: bool,
}

impl Said {
    fn push(&mut self, data: &[u8]) {
        self.messages.push_back(digest(data));
    }

    /// Takes the message out. `false` when nobody said it, or only before what was heard already.
    fn hear(&mut self, data: &[u8]) -> bool {
        let heard = digest(data);
        let Some(at) = self.messages.iter().position(|said| *said == heard) else { return false };
        if self.is_mixed {
            self.messages.remove(at);
        } else {
            self.skipped += at as u64;
            self.messages.drain(..=at);
        }
        true
    }
}

/// A number that stands for a message.
pub(crate) fn digest(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish()
}

/// What can be had at once.
#[derive(Debug, Default)]
struct AtOnce {
    kinds: Vec<(Discriminant<Event>, Option<TrackId>)>,
    messages: usize,
    message_bytes: usize,
    pcm: Duration,
    pause: Duration,
    frames: Vec<(TrackId, usize, usize, Duration)>,
}

/// The accounts of one session.
#[derive(Debug, Default)]
pub struct Ledger {
    pieces: VecDeque<Piece>,
    /// Pieces that were cleared, went out in part, and were not told of as begun.
    owed: VecDeque<AudioId>,
    next_id: u64,
    sound: Sound,
    heard: u64,
    /// A piece that ended short, although nothing but the session's end explains it.
    short: Option<AudioId>,
    /// Lengths of messages that were accepted and wait.
    waiting: VecDeque<usize>,
    waiting_bytes: usize,
    /// How many messages were handed to a channel or dropped, how many of them were dropped; and
    /// how many were refused at once.
    gone: u64,
    lost: u64,
    refused: u64,
    out: Said,
    within: Said,
    channels: u32,
    /// The session told of a channel.
    has_opened: bool,
    owes_drained: bool,
    at_once: AtOnce,
    is_closed: bool,
    /// Datagrams were forged: what comes in need not be the model browser's.
    is_forged: bool,
    /// A bot calls the session itself: nobody knows what was accepted.
    has_bot: bool,
}

impl Ledger {
    /// What became of all sound so far: accepted is sent, dropped and queued together.
    #[must_use]
    pub fn sound(&self) -> Sound {
        Sound { queued: self.pieces.iter().map(|piece| piece.len).sum(), ..self.sound }
    }

    /// Samples per channel that the bot has read of what the page says, silence left out.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Whether all that was said is heard or was told of as dropped, either way, and all sound has
    /// gone out. The page must have said messages of the application only.
    pub(crate) fn is_at_rest(&self) -> bool {
        let unheard = self.out.messages.len() as u64 + self.out.skipped;
        let is_heard = self.within.messages.is_empty() && self.within.skipped == 0;
        self.pieces.is_empty() && unheard == self.lost && is_heard
    }

    /// Whether messages were accepted that are not heard.
    pub(crate) fn has_words_out(&self) -> bool {
        !self.out.messages.is_empty() || self.out.skipped > self.lost
    }

    /// A call may have brought more of everything.
    pub(crate) fn touch(&mut self) {
        self.at_once.kinds.clear();
        self.at_once.frames.clear();
        (self.at_once.messages, self.at_once.message_bytes) = (0, 0);
        (self.at_once.pcm, self.at_once.pause) = (Duration::ZERO, Duration::ZERO);
    }

    pub(crate) fn forged(&mut self) {
        self.is_forged = true;
    }

    /// A bot was seated.
    pub(crate) fn bot_sits(&mut self) {
        self.has_bot = true;
        // The oldest piece that waits is the first that may finish.
        self.next_id = self.pieces.pop_front().map_or(self.next_id, |piece| piece.id.0);
        self.pieces.clear();
        self.owed.clear();
        (self.sound, self.out) = (Sound::default(), Said::default());
    }

    /// An offer was answered or refused; these tracks are left.
    pub(crate) fn negotiated(&mut self, offer: &Offer, is_taken: bool, tracks: &[Track]) {
        self.touch();
        if is_taken {
            self.offered(offer.sdp());
        }
        if !tracks.iter().any(|track| track.sends && track.kind == MediaKind::Audio) {
            self.silenced();
        }
    }

    pub(crate) fn offered(&self, sdp: &str) {
        let len = sdp.len();
        let lines = sdp.lines().filter(|line| line.starts_with("m=")).count();
        assert!(len <= OFFER_LEN_MAX, "an offer of {len} bytes was taken");
        assert!(lines <= OFFER_LINES_MAX, "an offer of {lines} m-lines was taken");
    }

    /// Sound is taken no more: what is queued may be told of as cut short.
    pub(crate) fn silenced(&mut self) {
        self.pieces.iter_mut().for_each(|piece| piece.may_be_short = true);
    }

    pub(crate) fn audio_taken(&mut self, id: AudioId, frame: &AudioFrame<'_>) {
        let samples = frame.samples.len() / usize::from(frame.channels);
        self.audio_sent(id, samples, frame.rate);
    }

    fn audio_sent(&mut self, id: AudioId, samples: usize, rate: u32) {
        if self.has_bot {
            return;
        }
        assert_eq!(id, AudioId(self.next_id), "ids of audio rise by one");
        self.next_id += 1;
        let len = samples as u64;
        let duration = Duration::from_secs(len) / rate;
        self.pieces.push_back(Piece { id, len, duration, has_begun: false, may_be_short: false });
        self.sound.accepted += len;
        let count = self.pieces.len();
        assert!(count <= AUDIO_PIECES_MAX, "{count} pieces of audio wait");
        let behind: Duration = self.pieces.iter().skip(1).map(|piece| piece.duration).sum();
        assert!(behind <= AUDIO_MAX + AUDIO_SLACK, "{behind:?} of sound wait");
    }

    pub(crate) fn cleared(&mut self, cleared: &AudioCleared) {
        let pieces = cleared.pieces.iter().map(|piece| (piece.id, piece.sent, piece.dropped));
        self.audio_cleared(&pieces.collect::<Vec<_>>());
    }

    /// Pieces that were cleared are the last of those that wait, in order, each to the sample;
    /// those before them have gone out and are told of as finished.
    ///
    /// Each is its name, what was sent and what was dropped.
    fn audio_cleared(&mut self, cleared: &[(AudioId, u64, u64)]) {
        if self.has_bot {
            return;
        }
        let kept = self.pieces.len().checked_sub(cleared.len());
        let kept = kept.expect("no more pieces are cleared than wait");
        for (piece, (id, sent, dropped)) in self.pieces.drain(kept..).zip(cleared) {
            assert_eq!(piece.id, *id, "pieces are cleared in order");
            assert_eq!(sent + dropped, piece.len, "{id:?}: sent and dropped are all of it");
            assert!(*sent > 0 || !piece.has_begun, "{id:?} began and nothing of it was sent");
            if *sent > 0 && !piece.has_begun {
                self.owed.push_back(*id);
            }
            self.sound.sent += sent;
            self.sound.dropped += dropped;
            self.sound.pieces += 1;
        }
    }

    fn audio_started(&mut self, id: AudioId) {
        if self.has_bot {
            return;
        }
        let waits = self.pieces.iter_mut().find(|piece| !piece.has_begun);
        // What was cleared was accepted before what waits now.
        match (self.owed.pop_front(), waits) {
            (Some(owed), _) => assert_eq!(owed, id, "pieces begin once and in order"),
            (None, Some(piece)) => {
                assert_eq!(piece.id, id, "pieces begin once and in order");
                piece.has_begun = true;
            }
            (None, None) => panic!("{id:?} begins, and no piece is left that can"),
        }
    }

    fn audio_finished(&mut self, id: AudioId, samples: u64) {
        if self.has_bot {
            assert!(id.0 >= self.next_id, "{id:?} finishes twice or out of order");
            self.next_id = id.0 + 1;
            return;
        }
        let piece = self.pieces.pop_front().expect("a piece that finishes was accepted");
        assert_eq!(piece.id, id, "pieces finish once and in order");
        assert_eq!(piece.has_begun, samples > 0, "{id:?} begins if any of it is sent: {samples}");
        assert!(samples <= piece.len, "{id:?}: {samples} of {} samples went out", piece.len);
        if samples < piece.len && !piece.may_be_short {
            self.short = self.short.or(Some(id));
        }
        self.sound.sent += samples;
        self.sound.dropped += piece.len - samples;
        self.sound.pieces += 1;
    }

    pub(crate) fn message_sent(
        &mut self,
        message: &Message,
        sent: &Result<Delivery, SendError>,
        stats: &Stats,
    ) {
        if self.has_bot {
            return;
        }
        match sent {
            Ok(delivery) => {
                let len = message.len();
                assert!((1..=MESSAGE_LEN_MAX).contains(&len), "a message of {len} bytes is taken");
                self.out.push(message.as_bytes());
                self.waiting.push_back(len);
                self.waiting_bytes += len;
                self.settle(stats);
                let waits = self.waiting.len();
                assert!(*delivery != Delivery::Sent || waits == 0, "Sent, but {waits} wait");
            }
            Err(SendError::Closed) => {}
            Err(refusal) => {
                self.refused += 1;
                self.owes_drained |= matches!(refusal, SendError::QueueFull { .. });
            }
        }
    }

    /// The queue in front of the channel is as long as what was accepted and did not go.
    pub(crate) fn settle(&mut self, stats: &Stats) {
        if self.has_bot {
            return;
        }
        // One that turns out to be too large for the peer leaves the queue as a refusal.
        let too_large = stats.messages_refused.saturating_sub(self.refused);
        let lost = stats.messages_dropped + too_large;
        let gone = stats.messages_sent + lost;
        for _ in self.gone..gone {
            self.waiting_bytes -= self.waiting.pop_front().expect("what goes was accepted");
        }
        (self.gone, self.lost) = (gone, lost);
        let limit =
            if self.channels == 0 && !self.has_opened { QUEUED_MAX } else { QUEUED_OPEN_MAX };
        let (waits, bytes) = (self.waiting.len() as u64, self.waiting_bytes);
        assert!(waits <= limit, "{waits} messages wait, the limit is {limit}");
        assert!(bytes <= QUEUED_BYTES_MAX, "{bytes} bytes of messages wait");
        let skipped = self.out.skipped;
        let is_told = self.out.is_mixed || skipped <= lost;
        assert!(is_told, "{skipped} messages did not arrive, {lost} were told of");
    }

    /// The page opened one more channel, or saw one close: what is on its way in the old one may
    /// be lost, and is overtaken.
    pub(crate) fn channel_changed(&mut self) {
        self.channels += 1;
        if self.channels > 1 {
            (self.out.is_mixed, self.within.is_mixed) = (true, true);
        }
    }

    pub(crate) fn page_heard(&mut self, data: &[u8]) {
        if self.has_bot {
            return;
        }
        let is_said = self.out.hear(data);
        // What the session itself says is signalling.
        let is_own = data.starts_with(br#"{"type":"signalling""#);
        let text = String::from_utf8_lossy(&data[..data.len().min(40)]);
        assert!(is_said || is_own, "the page hears {text:?}: never said, twice or out of order");
    }

    /// The page said a message with this [`digest`].
    pub(crate) fn page_said(&mut self, digest: u64) {
        self.within.messages.push_back(digest);
    }

    /// What the session tells.
    pub(crate) fn told(&mut self, event: &Event) {
        assert!(!self.is_closed, "{event:?} after Closed");
        let is_one_of_many = matches!(
            event,
            Event::Message(_)
                | Event::AudioStarted { .. }
                | Event::AudioFinished { .. }
                | Event::SpeechStarted { .. }
                | Event::SpeechStopped { .. }
                | Event::Dtmf { .. }
        );
        if !is_one_of_many {
            let kind = (discriminant(event), track_of(event));
            assert!(!self.at_once.kinds.contains(&kind), "{event:?} waits twice");
            self.at_once.kinds.push(kind);
        }
        match event {
            Event::Message(message) => self.message_told(message),
            Event::AudioStarted { id } => self.audio_started(*id),
            Event::AudioFinished { id, samples } => self.audio_finished(*id, *samples),
            Event::ChannelOpened { .. } => self.has_opened = true,
            Event::MessagesDrained => {
                assert!(
                    self.owes_drained || self.has_bot,
                    "MessagesDrained, but nothing was refused"
                );
                self.owes_drained = false;
            }
            Event::Closed { .. } => {
                self.is_closed = true;
                self.short = None;
                let missing: Vec<_> = self.pieces.iter().map(|piece| piece.id).collect();
                assert!(missing.is_empty(), "audio that nothing was told of: {missing:?}");
                assert!(self.owed.is_empty(), "pieces began unsaid: {:?}", self.owed);
                let Sound { accepted, sent, dropped, .. } = self.sound;
                assert_eq!(accepted, sent + dropped, "samples accepted, and sent and dropped");
            }
            _ => {}
        }
    }

    /// Nothing waits any more.
    pub(crate) fn drained(&mut self) {
        self.touch();
        if let Some(id) = self.short {
            panic!("{id:?} was cut short and the call goes on");
        }
    }

    fn message_told(&mut self, message: &Message) {
        let data = message.as_bytes();
        assert!(data.len() <= MESSAGE_LEN_MAX, "a message of {} bytes came in", data.len());
        self.at_once.messages += 1;
        self.at_once.message_bytes += data.len();
        let (count, bytes) = (self.at_once.messages, self.at_once.message_bytes);
        assert!(count <= INBOUND_MAX, "{count} messages waited");
        assert!(bytes <= INBOUND_BYTES_MAX, "{bytes} bytes of messages waited");
        let is_said = self.within.hear(data) || self.is_forged;
        let text = String::from_utf8_lossy(&data[..data.len().min(40)]);
        assert!(is_said, "the bot hears {text:?}: never said, twice or out of order");
    }

    pub(crate) fn block_read(&mut self, info: &AudioInfo) {
        self.audio_read(info.samples, info.parts.silence, info.rate);
    }

    /// So many samples, some of them silence.
    fn audio_read(&mut self, samples: usize, silence: usize, rate: u32) {
        let time = |samples: usize| Duration::from_secs(samples as u64) / rate;
        let AtOnce { pcm, pause, .. } = &mut self.at_once;
        *pcm += time(samples);
        *pause += time(silence);
        self.heard += (samples - silence) as u64;
        // How long the longest pause was does not show when it was read in parts, and is at most
        // all silence together.
        assert!(*pcm <= PCM_MAX + *pause, "{pcm:?} of sound waited, {pause:?} of it silence");
    }

    pub(crate) fn frame_read(&mut self, track: TrackId, frame: &EncodedFrame) {
        let frames = &mut self.at_once.frames;
        let at = frames.iter().position(|(of, ..)| *of == track).unwrap_or(frames.len());
        if at == frames.len() {
            frames.push((track, 0, 0, frame.time));
        }
        let (_, count, bytes, first) = &mut frames[at];
        (*count, *bytes) = (*count + 1, *bytes + frame.data.len());
        assert!(*count <= FRAMES_MAX, "{count} frames waited");
        assert!(*bytes <= FRAMES_BYTES_MAX, "{bytes} bytes of frames waited");
        let span = frame.time.saturating_sub(*first);
        assert!(span <= FRAMES_SPAN_MAX, "frames of {span:?} waited");
    }
}

fn track_of(event: &Event) -> Option<TrackId> {
    match event {
        Event::TrackStarted(track) => Some(track.id),
        Event::TrackEnded(track)
        | Event::TrackStatus { track, .. }
        | Event::AudioReadable(track)
        | Event::EncodedReadable(track)
        | Event::KeyframeRequested(track) => Some(*track),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
