//! Mistakes of the caller, one small enum for each operation.
//!
//! What the peer does wrong never shows here: it is counted in [`Stats`](crate::Stats) or ends
//! the session with a [`CloseReason`](crate::CloseReason).

use std::time::Duration;

use crate::TrackId;

/// Why an offer was not accepted. A refused offer changes nothing in the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiateError {
    /// The text is not an offer that can be answered.
    #[error("sdp: {reason} (expected a WebRTC offer)")]
    InvalidSdp {
        /// What was expected and what came, naming the line or the attribute.
        reason: String,
    },
    /// The text is longer than [`Offer::LEN_MAX`](crate::Offer::LEN_MAX).
    #[error("sdp: {len} bytes, the limit is {limit}")]
    TooLarge {
        /// The length of the text in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Nothing in the offer can be carried: no Opus audio, VP8 or H.264 video, nor data channel.
    #[error(
        "sdp: no m-line that can be carried (expected audio with Opus, video with VP8 or H264, or a data channel)"
    )]
    NoUsableMedia,
    /// The offer belongs to another session: mids, their order or the DTLS fingerprint changed.
    #[error("sdp: {reason} (a re-offer keeps the m-lines and the certificate of the first offer)")]
    Incompatible {
        /// What differs.
        reason: String,
    },
    /// The session, or the endpoint that should make one, is closing or closed.
    #[error("the session or endpoint is closed: make a new one")]
    Closed,
    /// The endpoint holds as many sessions as it may.
    #[error("{limit} sessions are open, which is the limit: try again later")]
    Full {
        /// The limit that was reached.
        limit: usize,
    },
    /// The endpoint has no local address to offer to the peer.
    #[error("no local candidate: add a local address before accepting an offer")]
    NoLocalCandidate,
}

/// Why a candidate was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// The text does not follow RFC 8839 section 5.1.
    #[error(
        "candidate: {reason} (expected RFC 8839, e.g. `candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host`)"
    )]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The session holds as many candidates of this side as it may.
    #[error("{limit} candidates are known, which is the limit")]
    TooMany {
        /// The limit that was reached.
        limit: usize,
    },
    /// The session is closing or closed.
    #[error("the session is closed")]
    Closed,
}

/// Why audio, video or a message was not taken. Nothing of it is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The queue holds as much as it may. Try again after `wait`, or when the event comes that
    /// tells of room (`MessagesDrained`, `AudioFinished`).
    #[error("the queue is full (limit {limit}): try again later")]
    QueueFull {
        /// The limit: messages or bytes for messages, milliseconds or pieces for audio.
        limit: usize,
        /// How long until there is room, where that is known.
        wait: Option<Duration>,
    },
    /// One message is larger than the peer or this side allows.
    #[error("{len} bytes, the limit is {limit}")]
    TooLarge {
        /// The length in bytes.
        len: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A message without a byte cannot be told from none on a data channel (the engine would
    /// block the channel for good), and audio without a sample has no duration.
    #[error("empty: send at least one byte or sample")]
    Empty,
    /// The data channel did not open in time (`Config::channel_timeout`), or the peer closed it.
    #[error("no data channel is open")]
    NoChannel,
    /// No such track, or it does not carry this kind in this direction.
    #[error("{track} does not send this: expected {expected}")]
    NoTrack {
        /// The track that was named.
        track: TrackId,
        /// What was expected of it.
        expected: &'static str,
    },
    /// The form of the audio or video is not supported.
    #[error("{field}: {value} (expected {expected})")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// The value that came.
        value: u64,
        /// The values that are possible.
        expected: &'static str,
    },
    /// A value could not be written as JSON.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The session is closing or closed.
    #[error("the session is closed")]
    Closed,
}

/// Why a configuration was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number lies outside its range.
    #[error("{field}: {value} (expected {expected})")]
    OutOfRange {
        /// The setting.
        field: &'static str,
        /// The value that came.
        value: u64,
        /// The range in words.
        expected: &'static str,
    },
    /// A certificate or its key could not be read.
    #[error("certificate: {0}")]
    Certificate(String),
}
