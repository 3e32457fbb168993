//! The seam below the session: calls go down with their return values, events come up.
//!
//! Two implementations stand behind it from the first: [`real`] owns the engine (ICE, DTLS, SRTP,
//! SCTP), [`scripted`] speaks the same interface over plain datagrams, without cryptography. What
//! crosses the seam is plain data of ours, so it can be logged, replayed and invented. Nothing
//! above names the engine.
//!
//! Rules of the seam, for both implementations:
//! - Every call leaves the engine drained. Events and transmits wait in queues of ours, and popping
//!   them needs no time.
//! - `now` never falls; the session clamps it.
//! - Nothing that a peer sends panics or comes back as an error.
//! - Order of events is the order in which they happened; what the engine gives in hash order is
//!   sorted.

mod certificate;
mod real;
pub mod scripted;
pub(crate) mod stun;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use self::certificate::Certificate;
use self::real::Real;
pub(crate) use crate::audio::dtmf::TonePacket;
use crate::{
    Answer, Codec, Config, Datagram, LocalCandidate, MediaKind, NegotiateError, Offer, Transmit,
    UdpCandidate,
};

/// The transport that the configuration asks for.
pub(crate) fn build(config: &Config, setup: TransportSetup, now: Instant) -> Box<dyn Transport> {
    if config.dangerous.scripted_transport {
        return Box::new(scripted::Scripted::new(config, setup, now));
    }
    // The engine is built with the first offer, and its clock starts then.
    Box::new(Real::new(config, setup))
}

/// The credentials that STUN requests to us are checked with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct IceCredentials {
    pub(crate) ufrag: String,
    /// At least 128 random bits (RFC 8445 section 5.3).
    pub(crate) pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

/// Bytes that wait to be sent; at the limit media is dropped and messages wait. 256 KiB: two
/// seconds of a 1 Mbit/s stream, more than a socket that still works ever leaves behind.
pub(crate) const TRANSMIT_BYTES_MAX: usize = 256 * 1024;

/// One m-line, by its index in the offer.
pub(crate) type Line = u8;

/// A data channel, in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChannelId(pub(crate) u32);

/// What the session asks of the transport.
pub(crate) trait Transport: fmt::Debug + Send {
    /// Adds an address of ours. Before the first offer it stands in the answer.
    fn add_local_candidate(&mut self, candidate: LocalCandidate, now: Instant);

    /// Adds an address of the peer's.
    fn add_remote_candidate(&mut self, candidate: &UdpCandidate, now: Instant);

    /// Answers an offer. `fresh` are credentials for the case that the offer asks for an ICE
    /// restart; without a restart the old ones stay. Refuses a re-offer that changes certificate or
    /// m-lines, but for lines that were stopped before. An error leaves the running call untouched:
    /// re-offers are tried on a shadow engine first.
    fn accept_offer(
        &mut self,
        offer: &Offer,
        fresh: IceCredentials,
        now: Instant,
    ) -> Result<Negotiated, NegotiateError>;

    /// Whether a STUN request is meant for this session: its integrity was made with our password.
    fn verifies(&self, payload: &[u8]) -> bool;

    /// Takes a datagram.
    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) -> Received;

    /// Lets time pass.
    fn handle_timeout(&mut self, now: Instant);

    /// Sends a coded frame.
    fn write_media(&mut self, frame: &MediaWrite<'_>, now: Instant) -> MediaWritten;

    /// Sends a key of a telephone: all its packets, each at its time. The next one at the earliest
    /// 50 ms after its end.
    fn write_tone(&mut self, tone: &ToneWrite, now: Instant) -> MediaWritten;

    /// Asks the peer for a keyframe (PLI).
    fn request_keyframe(&mut self, line: Line, now: Instant);

    /// Sends one message. Either the whole of it is taken, or nothing.
    fn write_channel(
        &mut self,
        channel: ChannelId,
        binary: bool,
        data: &[u8],
        now: Instant,
    ) -> ChannelWritten;

    /// Bytes that were taken and not yet acknowledged.
    fn buffered_amount(&mut self, channel: ChannelId) -> usize;

    /// Asks for `BufferedAmountLow` when `buffered_amount` falls to `threshold` or below.
    fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, threshold: usize);

    /// Says goodbye (RTCP BYE, close_notify). Further media and messages are refused.
    fn close(&mut self, now: Instant);

    fn poll_event(&mut self) -> Option<TransportEvent>;
    fn poll_transmit(&mut self) -> Option<Transmit>;
    fn has_transmit(&self) -> bool;
    /// When `handle_timeout` is wanted; `None` for never.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// The outcome of an accepted offer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Negotiated {
    pub(crate) answer: Answer,
    /// The credentials in force now.
    pub(crate) credentials: IceCredentials,
    /// One for each m-line, in order.
    pub(crate) lines: Vec<NegotiatedLine>,
    /// The largest message that both sides take, in bytes.
    pub(crate) message_max: usize,
}

/// What became of an m-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NegotiatedLine {
    /// Media, with what each side may do.
    Media {
        kind: MediaKind,
        /// The peer may send.
        receives: bool,
        /// We may send.
        sends: bool,
        /// What we send with, the first codec that both sides know.
        codec: Codec,
        /// The peer takes packets of sound that hold a copy of the one before (RED, RFC 2198), and
        /// the configuration wants to send them.
        copies: bool,
    },
    /// The data channels.
    Channels,
    /// Refused or stopped.
    Rejected,
}

/// What a datagram was.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// A STUN request or response whose integrity was verified.
    pub(crate) authenticated: bool,
    /// Nothing that WebRTC sends (RFC 7983), or too malformed to be read.
    pub(crate) malformed: bool,
}

/// A coded frame to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MediaWrite<'a> {
    pub(crate) line: Line,
    pub(crate) codec: Codec,
    /// In units of the codec's clock (`Codec::clock_rate`). Starts where it likes,
    /// the transport adds a random offset, and wraps nowhere.
    pub(crate) rtp_time: u64,
    /// First after silence that was not sent: sets the marker bit.
    pub(crate) talkspurt: bool,
    /// Of sound that this side codes: whether it holds any of what was queued (the voice flag of
    /// RFC 6464), and -dBov, 0 (loudest) to 127, if the peer takes levels.
    pub(crate) voice: Option<bool>,
    pub(crate) level: Option<u8>,
    /// It takes a copy of the frame before along, if that was redundant too and both fit a
    /// datagram; only on lines with `copies`.
    pub(crate) redundant: bool,
    pub(crate) data: &'a [u8],
}

/// A key of a telephone to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToneWrite {
    pub(crate) line: Line,
    /// Of the event (RFC 4733 section 3.2).
    pub(crate) code: u8,
    /// When it begins, as in [`MediaWrite`].
    pub(crate) rtp_time: u64,
    /// 40 ms to 6 s.
    pub(crate) duration: Duration,
}

#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaWritten {
    Taken,
    /// The transmit queue is at its limit: the frame is a counted loss.
    Dropped,
    /// An audio frame is not split, and at most so many bytes of it fit a datagram.
    TooLarge(usize),
    /// Not connected, or the line does not send that.
    NotReady,
}

#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelWritten {
    Taken,
    /// Later: when transmits were polled, or `BufferedAmountLow` tells.
    Full,
    /// The peer takes at most so many bytes.
    TooLarge(usize),
    /// The channel is gone.
    Gone,
}

/// What the transport tells the session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TransportEvent {
    /// ICE found a pair (first, or again after it was lost).
    IceConnected,
    /// ICE has no pair that works.
    IceDisconnected,
    /// ICE and DTLS are done.
    Connected,
    Media(MediaPacket),
    Tone(TonePacket),
    KeyframeRequest(Line),
    ChannelOpen(ChannelId, String),
    ChannelData(ChannelId, bool, Vec<u8>),
    ChannelClose(ChannelId),
    /// The peer has acknowledged so much of what was written to a channel.
    BufferedAmountLow(ChannelId),
    Stats(TransportStats),
    /// The peer's reports name, of the frames of sound that were taken for a line, these first
    /// ones: the last of them arrived, those before it arrived or are lost. Never a step back.
    PeerReport {
        line: Line,
        packets: u64,
    },
    /// The peer closed the DTLS connection.
    HungUp,
    /// The peer's certificate is not the one that its offer names.
    Refused(String),
    /// The engine cannot go on.
    Fault(String),
}

/// A received frame: one audio packet or one picture.
#[derive(Clone, PartialEq)]
pub(crate) struct MediaPacket {
    pub(crate) line: Line,
    pub(crate) codec: Codec,
    /// Extended sequence number of the frame's last packet; falls when packets arrive late.
    pub(crate) seq: u64,
    /// In units of the codec's clock, extended over wraps.
    pub(crate) rtp_time: u64,
    /// The stream it belongs to; another one starts anew.
    pub(crate) ssrc: u32,
    pub(crate) contiguous: bool,
    pub(crate) keyframe: bool,
    /// It did not come itself: it is the copy of it that stood in another packet (RED, RFC 2198).
    pub(crate) repaired: bool,
    pub(crate) level: Option<(u8, bool)>,
    pub(crate) data: Bytes,
}

impl fmt::Debug for MediaPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "MediaPacket(line {} {:?} seq {} time {} {} bytes)",
            self.line,
            self.codec,
            self.seq,
            self.rtp_time,
            self.data.len()
        )
    }
}

/// Figures of the engine, taken every `Config::stats_interval`.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct TransportStats {
    pub(crate) rtt: Option<Duration>,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Fraction of our packets that the peer missed, 0 to 1, from its last report.
    pub(crate) loss_sent: Option<f32>,
    /// Fraction of the peer's packets that we missed since the last figures.
    pub(crate) loss_received: Option<f32>,
    pub(crate) jitter_received: Option<Duration>,
}

/// What the transport needs to be built.
#[derive(Clone, Debug)]
pub(crate) struct TransportSetup {
    pub(crate) credentials: IceCredentials,
    /// Seeds the engine's generator: what it draws can be seen on the wire.
    pub(crate) public_seed: u64,
}
