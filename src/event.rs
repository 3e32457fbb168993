//! What a session tells its application.

use std::fmt;
use std::time::Duration;

use crate::{AudioLevel, Message};

/// The state of a session, in W3C words (`RTCPeerConnectionState`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectionState {
    /// No offer has been accepted.
    #[default]
    New,
    /// An offer has been answered; ICE and DTLS are on their way.
    Connecting,
    /// ICE and DTLS are done, and authenticated traffic arrived within `Config::liveness_timeout`.
    Connected,
    /// No authenticated traffic for `Config::liveness_timeout`; it may come back.
    Disconnected,
    /// The session cannot go on; `Closed` follows at once.
    Failed,
    /// The end. `Event::Closed` told the reason.
    Closed,
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConnectionState::New => "new",
            ConnectionState::Connecting => "connecting",
            ConnectionState::Connected => "connected",
            ConnectionState::Disconnected => "disconnected",
            ConnectionState::Failed => "failed",
            ConnectionState::Closed => "closed",
        })
    }
}

/// Why a session ended. Each reason comes within the time that its line gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed the DTLS connection (a tab that was closed, `pc.close()`): one network
    /// latency after it did. Or SCTP broke off, by the peer's word or at a message of more than 256
    /// KiB, which the answer forbids: at once. The engine tells one as the other.
    HungUp,
    /// The peer said `peerLeft` over the data channel: one network latency after it did.
    PeerLeft,
    /// Nothing authenticated came for `Config::liveness_timeout` and then for
    /// `Config::disconnected_timeout` more: 20 s with the defaults.
    Lost,
    /// The peer did not check for `Config::ice_timeout`, 15 s by default, after the answer or
    /// after its last check; or ICE and DTLS were not done, or no offer was accepted, within
    /// `Config::connecting_timeout`, 60 s by default.
    NeverConnected,
    /// The application called `close`: at once when nothing was connected, else at most
    /// `Config::linger` later.
    Application,
    /// A restart of the call under a new id took this session's place: at once.
    Replaced,
    /// 1024 messages or 4 MiB of them arrived that the application did not poll: at once with the
    /// next one.
    ApplicationTooSlow,
    /// Who shook hands is not who made the offer: the certificate has another fingerprint (RFC 8122
    /// section 6.2), or one that cannot be checked. At once, before anything else was taken.
    Refused,
    /// The engine reported a fault that it cannot go on from: at once.
    Internal,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::HungUp => "hung up",
            CloseReason::PeerLeft => "peer left",
            CloseReason::Lost => "lost",
            CloseReason::NeverConnected => "never connected",
            CloseReason::Application => "closed by the application",
            CloseReason::Replaced => "replaced",
            CloseReason::ApplicationTooSlow => "application too slow",
            CloseReason::Refused => "refused",
            CloseReason::Internal => "internal",
        })
    }
}

/// One m-line of the call, named by its index in the offer. A track may carry media both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u8);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "track {}", self.0)
    }
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

/// What the peer calls a track, by the order of m-lines (Pipecat's `connection.py`): the first
/// audio is the microphone, the first video the camera, the second video the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The first audio m-line.
    Microphone,
    /// The first video m-line.
    Camera,
    /// The second video m-line.
    ScreenVideo,
    /// Any further m-line.
    Other,
}

impl Source {
    /// The name that Pipecat uses for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Microphone => "microphone",
            Source::Camera => "camera",
            Source::ScreenVideo => "screenVideo",
            Source::Other => "other",
        }
    }
}

/// A track of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Track {
    /// Its name in calls and events.
    pub id: TrackId,
    /// What it carries.
    pub kind: MediaKind,
    /// What the peer feeds it from.
    pub source: Source,
    /// Whether the peer may send on it.
    pub receives: bool,
    /// Whether this side may send on it.
    pub sends: bool,
    /// Whether the peer says that it is switched on (Pipecat `trackStatus`); true until it says
    /// something. A word for the application alone: what comes on the track is taken either way.
    pub enabled: bool,
}

impl Track {
    pub(crate) fn new(
        id: TrackId,
        kind: MediaKind,
        source: Source,
        receives: bool,
        sends: bool,
    ) -> Track {
        Track { id, kind, source, receives, sends, enabled: true }
    }
}

/// Names one piece of audio that `send_audio` took. Ids rise by one, from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudioId(pub u64);

/// Something that happened. `Closed` comes exactly once and last.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The session is in another state. `Connected` is held back until `start`.
    StateChanged(ConnectionState),
    /// A data channel is open and is now the one that messages go through, until it closes.
    ChannelOpened {
        /// The label that the peer gave it.
        label: String,
    },
    /// The data channel in use was closed by the peer. Messages go through the one that opened
    /// before it, if that is open still; else they wait for another one.
    ChannelClosed,
    /// An application message; held back until `start`.
    Message(Message),
    /// After a `SendError::QueueFull` for a message: there is room again.
    MessagesDrained,
    /// Messages that were queued before the channel opened, given up after
    /// `Config::channel_timeout`; or that still waited when the call ended; or that are larger than
    /// the peer's offer, which came after them, allows.
    MessagesDropped {
        /// How many.
        count: usize,
    },
    /// The peer may send on this track, or this side may.
    TrackStarted(Track),
    /// The track ended: a re-offer stopped it.
    TrackEnded(TrackId),
    /// The peer switched its microphone, camera or screen on or off (Pipecat `trackStatus`).
    TrackStatus {
        /// The track.
        track: TrackId,
        /// Whether it is on.
        enabled: bool,
    },
    /// Decoded audio can be pulled with `recv_audio`: a frame at least. Comes once until
    /// `recv_audio` has nothing to give.
    AudioReadable(TrackId),
    /// An encoded frame can be pulled with `recv_encoded`. Comes once until the queue is read
    /// empty.
    EncodedReadable(TrackId),
    /// The peer began to speak (`Config::voice_activity`). Comes in turn with `SpeechStopped`.
    SpeechStarted {
        /// The microphone.
        track: TrackId,
        /// The media time at which it began, as in [`AudioInfo::time`]; to 16 ms. It lies
        /// `VoiceActivity::min_speech` or more before what was received last.
        time: Duration,
    },
    /// The peer ended to speak, nothing of it came any more, or the track or the call ended. Comes
    /// after each `SpeechStarted`, before the track's or the call's end is told.
    SpeechStopped {
        /// The microphone.
        track: TrackId,
        /// The media time at which it ended.
        time: Duration,
    },
    /// The first sample of a piece of audio has been handed to the wire. Comes once for each piece
    /// of which anything goes out, in the order of their ids, and before its `AudioFinished`; never
    /// for a piece that was dropped whole.
    AudioStarted {
        /// The piece.
        id: AudioId,
    },
    /// The last sample of a piece of audio has been handed to the wire; or a re-offer takes sound
    /// no more or the call ends, and the rest was dropped. Comes once for each piece, but for those
    /// that [`clear_audio`](crate::Session::clear_audio) told of: what that returns is their end.
    AudioFinished {
        /// The piece.
        id: AudioId,
        /// How many samples of it (per channel, at the piece's own rate) went out.
        samples: u64,
    },
    /// The peer wants a keyframe of what this side sends on the track.
    KeyframeRequested(TrackId),
    /// The peer pressed a key of a telephone (DTMF) and let go of it, or nothing was heard of it
    /// for 200 ms. Once for each press, however many of its packets were lost, but all.
    Dtmf {
        /// The track that it came on.
        track: TrackId,
        /// `0` to `9`, `A` to `D`, `*` or `#`.
        digit: char,
        /// How long it was pressed, as far as is known.
        duration: Duration,
    },
    /// The keys that [`send_dtmf`](crate::Session::send_dtmf) took are sent, and the gap after the
    /// last one is over; or a re-offer takes none any more or the call ends, and the rest was
    /// dropped.
    DtmfSent,
    /// The end, with its reason.
    Closed {
        /// Why.
        reason: CloseReason,
    },
}

/// What became of a message that `send_message` took.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// It was handed to the open channel, which repeats it until the peer has it: over black-outs
    /// and changes of address, for as long as the call lives. When the call ends before, by a
    /// client that begins anew as well (`restart_pc`), nobody is told whether it arrived.
    Sent,
    /// It waits: for the channel to open, or for the write window. If it cannot be sent,
    /// [`Event::MessagesDropped`] tells.
    Queued,
}

/// Where a decoded block of audio comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AudioOrigin {
    /// Decoded from a packet that arrived.
    Decoded,
    /// Rebuilt from redundancy in a later packet.
    Repaired,
    /// Invented by the decoder's concealment.
    Concealed,
    /// Filled with zeros, because concealment would be longer than it can be trusted.
    Silence,
}

/// How many samples per channel of a block come from where. Together they are all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioParts {
    /// [`AudioOrigin::Decoded`].
    pub decoded: usize,
    /// [`AudioOrigin::Repaired`].
    pub repaired: usize,
    /// [`AudioOrigin::Concealed`].
    pub concealed: usize,
    /// [`AudioOrigin::Silence`].
    pub silence: usize,
}

impl AudioParts {
    pub(crate) fn add(&mut self, origin: AudioOrigin, samples: usize) {
        *match origin {
            AudioOrigin::Decoded => &mut self.decoded,
            AudioOrigin::Repaired => &mut self.repaired,
            AudioOrigin::Concealed => &mut self.concealed,
            AudioOrigin::Silence => &mut self.silence,
        } += samples;
    }

    /// The origin that matters most: the first in the order of [`AudioOrigin`] that is there.
    fn origin(self) -> AudioOrigin {
        let AudioParts { decoded, repaired, concealed, .. } = self;
        match (decoded, repaired, concealed) {
            (1.., _, _) => AudioOrigin::Decoded,
            (_, 1.., _) => AudioOrigin::Repaired,
            (_, _, 1..) => AudioOrigin::Concealed,
            _ => AudioOrigin::Silence,
        }
    }
}

/// What stands in the buffer that `recv_audio` filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioInfo {
    /// How many samples per channel were written.
    pub samples: usize,
    /// Samples per second: `Config::audio_in`'s rate.
    pub rate: u32,
    /// 1 or 2; samples of two channels are interleaved.
    pub channels: u8,
    /// The media time of the first sample since the track's first packet.
    pub time: Duration,
    /// Where the block comes from. Of several origins the one that matters most: decoded before
    /// repaired, before concealed, before silence. Whoever skips what was invented loses nothing
    /// that was said.
    pub origin: AudioOrigin,
    /// How much of it comes from where.
    pub parts: AudioParts,
    /// How loud it is, if any of it was decoded from packets whose sender told their level.
    pub sender_level: Option<AudioLevel>,
}

impl AudioInfo {
    pub(crate) fn new(
        samples: usize,
        (rate, channels): (u32, u8),
        time: Duration,
        parts: AudioParts,
        sender_level: Option<AudioLevel>,
    ) -> AudioInfo {
        let origin = parts.origin();
        AudioInfo { samples, rate, channels, time, origin, parts, sender_level }
    }

    /// How loud it is: by its sender's word, or measured on the beginning of `samples`, the buffer
    /// that was filled. Nothing is measured before somebody asks.
    #[must_use]
    pub fn level(&self, samples: &[i16]) -> AudioLevel {
        let len = (self.samples * usize::from(self.channels)).min(samples.len());
        self.sender_level.unwrap_or_else(|| AudioLevel::of(&samples[..len]))
    }
}

/// How far a piece of audio has come, in samples per channel at the piece's own rate. None of the
/// figures ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioProgress {
    /// Samples that were handed to the wire.
    pub sent: u64,
    /// Samples that lie in packets up to the newest that the peer's receiver reports name (RFC 3550
    /// section 6.4.1). Some of those packets may be lost: `Stats::loss_sent` tells how many.
    /// Browsers report on sound every 5 s, and reports are read every `Config::stats_interval`;
    /// without it there are none.
    pub confirmed: u64,
    /// An estimate of what the peer has played, at most `sent`: what left half a round trip, a
    /// packet and 80 ms ago, which is where a browser's jitter buffer begins. Exact to a packet,
    /// and rather too low; of loudspeakers with a delay of their own it knows nothing.
    pub played_estimate: u64,
}

impl AudioProgress {
    pub(crate) fn new(sent: u64, confirmed: u64, played_estimate: u64) -> AudioProgress {
        AudioProgress { sent, confirmed, played_estimate }
    }
}

/// What `clear_audio` did: for each piece that was not finished, what of it went out. The third
/// word on a piece, beside [`Event::AudioStarted`] and in place of [`Event::AudioFinished`]; an
/// `AudioStarted` that was not polled before still comes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioCleared {
    /// The pieces, oldest first.
    pub pieces: Vec<ClearedPiece>,
}

/// One unfinished piece of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClearedPiece {
    /// The piece.
    pub id: AudioId,
    /// Samples (per channel, at the piece's own rate) that were handed to the wire before, plus
    /// those that go out while the packet in the making is faded.
    pub sent: u64,
    /// Samples that were dropped.
    pub dropped: u64,
    /// Of those that were sent: see [`AudioProgress::confirmed`].
    pub confirmed: u64,
    /// Of those that were sent: see [`AudioProgress::played_estimate`].
    pub played_estimate: u64,
}

impl ClearedPiece {
    pub(crate) fn new(id: AudioId, sent: u64, dropped: u64) -> ClearedPiece {
        ClearedPiece { id, sent, dropped, confirmed: 0, played_estimate: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_states_and_tracks_have_the_words_that_logs_and_pages_show() {
        use CloseReason as R;
        let reasons = [
            (R::HungUp, "hung up"),
            (R::PeerLeft, "peer left"),
            (R::Lost, "lost"),
            (R::NeverConnected, "never connected"),
            (R::Application, "closed by the application"),
            (R::Replaced, "replaced"),
            (R::ApplicationTooSlow, "application too slow"),
            (R::Internal, "internal"),
        ];
        for (reason, words) in reasons {
            assert_eq!(reason.to_string(), words);
        }
        use ConnectionState as S;
        let states = [S::New, S::Connecting, S::Connected, S::Disconnected, S::Failed, S::Closed];
        // The words of RTCPeerConnectionState.
        let words = ["new", "connecting", "connected", "disconnected", "failed", "closed"];
        assert_eq!(states.map(|state| state.to_string()), words);
        assert_eq!(TrackId(2).to_string(), "track 2");
    }

    #[test]
    fn sources_have_the_names_that_pipecat_gives_them() {
        let sources = [Source::Microphone, Source::Camera, Source::ScreenVideo, Source::Other];
        let names = sources.map(Source::name);
        assert_eq!(names, ["microphone", "camera", "screenVideo", "other"]);
    }
}
