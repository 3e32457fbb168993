//! What stands in a log: entries, crossings of the seams, returned values.
//!
//! The order of variants and fields is the format: new variants go to the end, anything else is a
//! new [`VERSION`](super::VERSION). What is left out at a [`Detail`] is `None` or empty.

#[cfg(test)]
mod bounds;
mod settings;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use self::settings::Settings;
use super::Detail;
use crate::audio::codec::Coder;
use crate::transport::{MediaWritten, NegotiatedLine, TransportStats};
use crate::{
    AudioInfo, AudioLevel, AudioOrigin, Codec, Config, EncodedFrame, Event, MediaKind,
    NegotiateError, Track,
};

/// A whole record's meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    Header(Box<Header>),
    /// `after` the call before it, in nanoseconds. Its crossings follow.
    Call {
        after: u64,
        call: Call,
    },
    Mark(Mark),
    End(End, Mark),
    /// What the endpoint decided for this session.
    Routing {
        after: u64,
        routing: Routing,
    },
}

/// What a replay has to know before the first call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) crate_version: String,
    /// [`BEHAVIOUR`](super::BEHAVIOUR) of the build that wrote it.
    pub(crate) behaviour: String,
    /// 0 `None`, 1 `Sizes`, 2 `Full`.
    pub(crate) media: u8,
    pub(crate) messages: u8,
    pub(crate) node: u16,
    pub(crate) shard: u16,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// Gives what can be seen on the wire anyway.
    pub(crate) public_seed: [u8; 32],
    pub(crate) settings: Settings,
    /// The names of what coded and decoded, in the order of `Settings::audio_codecs`; empty for
    /// none.
    pub(crate) coders: Vec<String>,
}

/// A public call that may change something, with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Call {
    Start,
    RequestRenegotiation,
    Close {
        replaced: bool,
    },
    /// The SDP is masked.
    AcceptOffer {
        sdp: String,
    },
    AddLocalCandidate {
        transport: u32,
        base: SocketAddr,
        advertised: SocketAddr,
    },
    /// Without a line: none that can be tried.
    AddRemoteCandidate {
        line: Option<String>,
    },
    /// The path stands there when it is another one than that of the datagram before.
    HandleDatagram {
        path: Option<Path>,
        len: Option<u32>,
    },
    HandleTimeout,
    SendMessage {
        binary: Option<bool>,
        len: u64,
        data: Vec<u8>,
    },
    SendAudio {
        rate: u32,
        channels: u8,
        samples: u64,
        pcm: Vec<i16>,
    },
    ClearAudio,
    /// Room for so many samples.
    RecvAudio {
        track: u8,
        room: u64,
    },
    SendEncoded {
        track: u8,
        codec: u8,
        time: u64,
        keyframe: bool,
        len: u64,
        data: Vec<u8>,
    },
    RecvEncoded {
        track: u8,
    },
    RequestKeyframe {
        track: u8,
    },
    HoldEvents(bool),
    PollTransmit,
    PollEvent,
    PauseAudio,
    ResumeAudio,
    /// Where content is not kept, every key is a zero. Times are in nanoseconds.
    SendDtmf {
        keys: String,
        duration: u64,
        gap: u64,
    },
    ClearDtmf,
}

/// The way of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Path {
    pub(crate) transport: u32,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
}

/// One step over a seam, in the order in which the session takes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Crossing {
    // Calls to the transport, with what they gave.
    LocalCandidate,
    RemoteCandidate,
    Offer {
        /// The ufrag for the case of a restart.
        fresh: String,
        outcome: Result<Negotiation, String>,
    },
    Datagram {
        authenticated: bool,
        malformed: bool,
    },
    Timeout,
    Media {
        line: u8,
        codec: u8,
        rtp_time: u64,
        talkspurt: bool,
        /// Whether it holds sound of a piece; `None` for pictures and coded sound.
        voice: Option<bool>,
        level: Option<u8>,
        /// Whether it was to take a copy of the one before along.
        redundant: bool,
        len: Option<u32>,
        written: Written,
    },
    Keyframe {
        line: u8,
    },
    Message {
        channel: u32,
        binary: Option<bool>,
        len: u64,
        digest: Option<u32>,
        written: Written,
    },
    Buffered {
        channel: u32,
        amount: u64,
    },
    Threshold {
        channel: u32,
        threshold: u64,
    },
    Goodbye,
    /// What the transport wants from now on, where the step before changed it. The deadline is in
    /// nanoseconds from the call's time.
    Wants {
        has_transmit: bool,
        deadline: Option<i64>,
    },
    /// What the transport told.
    Heard(Heard),
    /// A datagram that it gave out.
    Transmit {
        path: Option<Path>,
        len: Option<u32>,
    },
    // The coders.
    Encoded {
        samples: u32,
        len: Option<u32>,
        digest: Option<u32>,
    },
    /// Silence, or the word that begins and keeps a pause.
    SilenceEncoded {
        len: Option<u32>,
    },
    Duration(Option<u32>),
    Decoded {
        frames: u32,
        digest: Option<u32>,
    },
    Concealed {
        frames: u32,
        digest: Option<u32>,
    },
    DecoderReset,
    /// What the call gave.
    Returned(Value),
    /// When the session wants to be called next, in nanoseconds from the call's time, if that
    /// changed.
    Deadline(Option<i64>),
    /// The deadline after the call was not seen: the session was dropped.
    DeadlineUnseen,
    /// How much of the sound before it a packet holds a copy of.
    Copied(u32),
    /// What was decoded from such a copy.
    Repaired {
        frames: u32,
        digest: Option<u32>,
    },
    /// The encoder was told to expect so much loss.
    LossExpected {
        percent: u8,
    },
    /// The detector's score of 16 ms of sound.
    VoiceScored {
        score: u8,
    },
    DetectorReset,
    /// A key of a telephone that the session sends; which one, where content is kept.
    Tone {
        line: u8,
        code: Option<u8>,
        rtp_time: u64,
        duration: u64,
        written: Written,
    },
}

impl Crossing {
    /// Whether it says what the session decided.
    pub(super) fn is_decision(&self) -> bool {
        use Crossing as C;
        match self {
            C::LocalCandidate | C::RemoteCandidate | C::Offer { .. } | C::Timeout => true,
            C::Media { .. } | C::Keyframe { .. } | C::Message { .. } | C::Goodbye => true,
            C::Threshold { .. } | C::Returned(_) | C::Deadline(_) => true,
            C::LossExpected { .. } | C::Tone { .. } => true,
            C::Datagram { .. } | C::Buffered { .. } | C::Wants { .. } | C::Heard(_) => false,
            C::Transmit { .. } | C::Encoded { .. } | C::SilenceEncoded { .. } => false,
            C::Duration(_) | C::Decoded { .. } | C::Concealed { .. } | C::DecoderReset => false,
            C::DeadlineUnseen | C::Copied(_) | C::Repaired { .. } => false,
            C::VoiceScored { .. } | C::DetectorReset => false,
        }
    }
}

/// What the transport made of a frame or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Written {
    Taken,
    /// Dropped, or later.
    Full,
    TooLarge(u64),
    /// Not connected, or gone.
    Gone,
}

impl From<MediaWritten> for Written {
    fn from(written: MediaWritten) -> Written {
        match written {
            MediaWritten::Taken => Written::Taken,
            MediaWritten::Dropped => Written::Full,
            MediaWritten::TooLarge(limit) => Written::TooLarge(limit as u64),
            MediaWritten::NotReady => Written::Gone,
        }
    }
}

/// The outcome of an accepted offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Negotiation {
    /// Masked.
    pub(crate) answer: String,
    /// In force now.
    pub(crate) ufrag: String,
    pub(crate) lines: Vec<LineOutcome>,
    pub(crate) message_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum LineOutcome {
    Media { video: bool, receives: bool, sends: bool, codec: u8, copies: bool },
    Channels,
    Rejected,
}

impl From<NegotiatedLine> for LineOutcome {
    fn from(line: NegotiatedLine) -> LineOutcome {
        match line {
            NegotiatedLine::Media { kind, receives, sends, codec, copies } => {
                let (video, codec) = (kind == MediaKind::Video, codec_number(codec));
                LineOutcome::Media { video, receives, sends, codec, copies }
            }
            NegotiatedLine::Channels => LineOutcome::Channels,
            NegotiatedLine::Rejected => LineOutcome::Rejected,
        }
    }
}

impl From<LineOutcome> for NegotiatedLine {
    fn from(line: LineOutcome) -> NegotiatedLine {
        match line {
            LineOutcome::Media { video, receives, sends, codec, copies } => NegotiatedLine::Media {
                kind: if video { MediaKind::Video } else { MediaKind::Audio },
                receives,
                sends,
                codec: codec_of(codec),
                copies,
            },
            LineOutcome::Channels => NegotiatedLine::Channels,
            LineOutcome::Rejected => NegotiatedLine::Rejected,
        }
    }
}

/// An event of the transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Heard {
    IceConnected,
    IceDisconnected,
    Connected,
    Media {
        line: u8,
        codec: u8,
        seq: u64,
        rtp_time: u64,
        ssrc: u32,
        contiguous: bool,
        keyframe: bool,
        /// Not the packet, but its copy in another one.
        repaired: bool,
        level: Option<(u8, bool)>,
        /// Of the sound of a microphone that is decoded it is left out at `None`.
        len: Option<u32>,
        data: Vec<u8>,
    },
    KeyframeRequest(u8),
    ChannelOpen {
        channel: u32,
        label: String,
    },
    Message {
        channel: u32,
        binary: Option<bool>,
        len: u64,
        meaning: Meaning,
        data: Vec<u8>,
    },
    ChannelClose(u32),
    BufferedAmountLow(u32),
    Stats(TransportStats),
    HungUp,
    Fault(String),
    Refused(String),
    PeerReport {
        line: u8,
        packets: u64,
    },
    /// A packet of a key of a telephone. Where content is not kept, every key is a zero.
    Tone {
        line: u8,
        seq: u64,
        rtp_time: u64,
        ssrc: u32,
        rate: u32,
        code: u8,
        is_first: bool,
        is_end: bool,
        ticks: u16,
    },
}

/// What a received message is to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Meaning {
    Ping,
    TrackStatus {
        receiver_index: u8,
        enabled: bool,
    },
    PeerLeft,
    Renegotiate,
    Noise,
    Application,
    /// Empty or too long: it was not read.
    Unread,
}

/// What a call gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Value {
    Done,
    Error(String),
    /// A message: whether it was handed to the channel at once.
    Message {
        sent: bool,
    },
    AudioId(u64),
    /// Id, sent, dropped.
    Cleared(Vec<(u64, u64, u64)>),
    Audio {
        samples: u64,
        time: u64,
        origin: u8,
        /// What the peer said of it.
        level: Option<(u8, bool)>,
        digest: Option<u32>,
    },
    Encoded {
        codec: u8,
        time: u64,
        keyframe: bool,
        contiguous: bool,
        len: Option<u32>,
        digest: Option<u32>,
    },
    Event(Told),
    /// Id, sent, dropped, confirmed, played.
    ClearedPieces(Vec<(u64, u64, u64, u64, u64)>),
}

/// An event of the session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Told {
    State(String),
    ChannelOpened(String),
    ChannelClosed,
    Message {
        binary: Option<bool>,
        len: u64,
        digest: Option<u32>,
    },
    MessagesDrained,
    MessagesDropped(u64),
    TrackStarted {
        track: u8,
        source: String,
        receives: bool,
        sends: bool,
    },
    TrackEnded(u8),
    TrackStatus {
        track: u8,
        enabled: bool,
    },
    AudioReadable(u8),
    EncodedReadable(u8),
    AudioFinished {
        id: u64,
        samples: u64,
    },
    KeyframeRequested(u8),
    Closed(String),
    AudioStarted {
        id: u64,
    },
    SpeechStarted {
        track: u8,
        time: u64,
    },
    SpeechStopped {
        track: u8,
        time: u64,
    },
    /// The key where content is kept; the duration in nanoseconds.
    Dtmf {
        track: u8,
        digit: Option<char>,
        duration: u64,
    },
    DtmfSent,
}

/// What the endpoint decided for a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Routing {
    /// It was admitted beside so many sessions, so many of them never connected.
    Admitted { sessions: u64, half_open: u64 },
    /// A request from there was verified.
    Bound(Path),
    /// It was, and another address had to go.
    BoundInsteadOf(Path),
    /// The address is held by another session, or too many are.
    AddressRefused(Path),
    /// A request named the session and was not made with its password.
    Forged(Path),
    /// Its addresses are free.
    Released,
}

/// Where a log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    pub(crate) calls: u64,
    pub(crate) decisions: u64,
    pub(crate) media: u64,
}

/// Why a log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    /// The session was dropped.
    Dropped,
    /// The log is as long as it may be.
    Full,
}

impl Told {
    pub(super) fn new(event: &Event, binary: Option<bool>, digest: Option<u32>) -> Told {
        match event {
            Event::StateChanged(state) => Told::State(state.to_string()),
            Event::ChannelOpened { label } => Told::ChannelOpened(label.clone()),
            Event::ChannelClosed => Told::ChannelClosed,
            Event::Message(message) => Told::Message { binary, len: message.len() as u64, digest },
            Event::MessagesDrained => Told::MessagesDrained,
            Event::MessagesDropped { count } => Told::MessagesDropped(*count as u64),
            Event::TrackStarted(track) => started(track),
            Event::TrackEnded(track) => Told::TrackEnded(track.0),
            Event::TrackStatus { track, enabled } => {
                Told::TrackStatus { track: track.0, enabled: *enabled }
            }
            Event::AudioReadable(track) => Told::AudioReadable(track.0),
            Event::EncodedReadable(track) => Told::EncodedReadable(track.0),
            Event::AudioStarted { id } => Told::AudioStarted { id: id.0 },
            Event::AudioFinished { id, samples } => {
                Told::AudioFinished { id: id.0, samples: *samples }
            }
            Event::SpeechStarted { track, time } => {
                Told::SpeechStarted { track: track.0, time: nanos(*time) }
            }
            Event::SpeechStopped { track, time } => {
                Told::SpeechStopped { track: track.0, time: nanos(*time) }
            }
            Event::KeyframeRequested(track) => Told::KeyframeRequested(track.0),
            Event::Dtmf { track, duration, .. } => {
                Told::Dtmf { track: track.0, digit: None, duration: nanos(*duration) }
            }
            Event::DtmfSent => Told::DtmfSent,
            Event::Closed { reason } => Told::Closed(reason.to_string()),
        }
    }
}

fn started(track: &Track) -> Told {
    let Track { id, source, receives, sends, .. } = *track;
    Told::TrackStarted { track: id.0, source: source.name().to_owned(), receives, sends }
}

impl Value {
    pub(super) fn audio(info: &AudioInfo, detail: Detail, digest: Option<u32>) -> Value {
        let origin = match info.origin {
            AudioOrigin::Decoded => 0,
            AudioOrigin::Repaired => 1,
            AudioOrigin::Concealed => 2,
            AudioOrigin::Silence => 3,
        };
        let time = nanos(info.time);
        let level =
            info.sender_level.and_then(AudioLevel::of_sender).filter(|_| detail != Detail::None);
        Value::Audio { samples: info.samples as u64, time, origin, level, digest }
    }

    pub(super) fn encoded(frame: &EncodedFrame, len: Option<u32>, digest: Option<u32>) -> Value {
        Value::Encoded {
            codec: codec_number(frame.codec),
            time: nanos(frame.time),
            keyframe: frame.keyframe,
            contiguous: frame.contiguous,
            len,
            digest,
        }
    }
}

/// The names of the coders that a configuration gives in this build.
pub(crate) fn coders(config: &Config) -> Vec<String> {
    let name = |codec| Coder::of(config, codec).map_or(String::new(), |it| it.name().to_owned());
    config.audio_codecs.iter().map(|codec| name(*codec)).collect()
}

pub(crate) fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 0,
        Codec::Vp8 => 1,
        Codec::H264 => 2,
        Codec::Pcmu => 3,
        Codec::Pcma => 4,
        Codec::G722 => 5,
    }
}

/// A number of a log that names none is H.264: the replay differs and says where.
pub(crate) fn codec_of(number: u8) -> Codec {
    match number {
        0 => Codec::Opus,
        1 => Codec::Vp8,
        3 => Codec::Pcmu,
        4 => Codec::Pcma,
        5 => Codec::G722,
        _ => Codec::H264,
    }
}

pub(crate) fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The kind of a refusal. Its text may quote an SDP.
pub(crate) fn refusal(error: &NegotiateError) -> &'static str {
    match error {
        NegotiateError::InvalidSdp { .. } => "InvalidSdp",
        NegotiateError::TooLarge { .. } => "TooLarge",
        NegotiateError::NoUsableMedia => "NoUsableMedia",
        NegotiateError::Incompatible { .. } => "Incompatible",
        NegotiateError::Closed => "Closed",
        NegotiateError::Full { .. } => "Full",
        NegotiateError::NoLocalCandidate => "NoLocalCandidate",
    }
}

/// A refusal of that kind.
pub(crate) fn refused(kind: &str) -> NegotiateError {
    let reason = "as it was recorded".to_owned();
    match kind {
        "TooLarge" => NegotiateError::TooLarge { len: 0, limit: 0 },
        "NoUsableMedia" => NegotiateError::NoUsableMedia,
        "Incompatible" => NegotiateError::Incompatible { reason },
        "Closed" => NegotiateError::Closed,
        "Full" => NegotiateError::Full { limit: 0 },
        "NoLocalCandidate" => NegotiateError::NoLocalCandidate,
        _ => NegotiateError::InvalidSdp { reason },
    }
}
