//! A transport without cryptography, that speaks in plain frames: for simulators and fuzzers.
//!
//! It plays ICE, DTLS, SRTP and SCTP over the same datagrams and addresses, at a hundredth of
//! their cost, and says what a real engine might say. A session runs on it with
//! [`DangerousConfig::scripted_transport`](crate::DangerousConfig::scripted_transport) and in no
//! other way. Nothing is encrypted, and whoever sees one check can forge the next. The format of
//! the wire follows the needs of the simulator and may change in any release.
//!
//! What is played, and how:
//!
//! | real | scripted |
//! | --- | --- |
//! | ICE check | the same STUN request ([`stun`]), its integrity a checksum; the browser decides |
//! | consent | a check of ours every second, answered by the browser; ICE is lost after 15 s |
//! | DTLS handshake | [`Frame::Hello`], answered by the same |
//! | close_notify | [`Frame::Goodbye`] |
//! | SRTP packet | [`Frame::Media`], one or several for a coded frame |
//! | RED, from us | the frame before, in the same datagram, once more |
//! | packets of a key of a telephone | [`Frame::Tone`]: of ours one for each segment, at once |
//! | PLI, receiver report | [`Frame::Keyframe`], [`Frame::Report`] and [`Frame::Arrived`] |
//! | SCTP | [`Frame::Chunk`] and [`Frame::Ack`], see [`Stream`] |
//! | the engine's own doings | [`Frame::IceLost`], [`Frame::IceFound`], [`Frame::Refused`], [`Frame::Fault`] |
//!
//! Frames count only from an address that a verified check came from, at most 16 of them;
//! others are ignored, like packets that SRTP cannot authenticate. A datagram is taken whole or,
//! when any of it is malformed, not at all.

mod answer;
mod stream;
pub mod stun;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::{
    ChannelId, ChannelWritten, IceCredentials, Line, MediaPacket, MediaWrite, MediaWritten,
    Negotiated, NegotiatedLine, Received, TRANSMIT_BYTES_MAX, TonePacket, ToneWrite, Transport,
    TransportEvent, TransportSetup, TransportStats,
};
use crate::offer::MediaLine;
use crate::time::earlier;
use crate::{
    Answer, Codec, Config, Datagram, LocalCandidate, NegotiateError, Offer, Redundancy, Transmit,
    TransportId, UdpCandidate,
};

pub use stream::{Arrival, BUFFERED_BYTES_MAX, MESSAGE_LEN_MAX, Stream};
pub use wire::{
    CHUNK_OVERHEAD, Chunk, Content, Frame, Frames, HEADER_LEN, MAGIC, MEDIA_OVERHEAD, Malformed,
    Media, Tone, VERSION, datagram, decode, encode, frames, lone_media,
};

/// How often consent is asked for: as often as the real engine does.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// ICE is lost after so long without a verified message, as with the real engine.
const ICE_LOST_AFTER: Duration = Duration::from_secs(15);
/// Addresses of the peer, as many as an endpoint binds to a session.
const ADDRESSES_MAX: usize = 16;
/// Channels that the peer opens in a call. Clients open one, and another after a reconnect.
const CHANNELS_MAX: usize = 16;
/// A coded frame that is put together from pieces, in bytes: a keyframe of high definition.
const PICTURE_LEN_MAX: usize = 1024 * 1024;

/// The oldest copy, in samples at 48 kHz, and the longest, in bytes (RFC 2198 section 3: 14 bits
/// and 10).
const COPY_AGE_MAX: u64 = 0x3fff;
const COPY_LEN_MAX: usize = 0x3ff;

/// The scripted implementation of the seam.
#[derive(Debug)]
pub(crate) struct Scripted {
    mtu: usize,
    /// Whether a peer that takes sound with copies gets it.
    sends_copies: bool,
    random: fastrand::Rng,
    credentials: IceCredentials,
    offer: Option<Offer>,
    lines: Vec<NegotiatedLine>,
    locals: Vec<LocalCandidate>,
    addresses: Vec<SocketAddr>,
    path: Option<Path>,
    /// What ICE last said; `None` before it said anything.
    ice: Option<bool>,
    is_secure: bool,
    is_closing: bool,
    consent: Option<Consent>,
    stream: Stream,
    channels: Vec<Channel>,
    /// The next sequence number of each line.
    next_seq: Vec<u64>,
    /// The sequence number that each line expects of the peer.
    expected_seq: Vec<Option<u64>>,
    /// Whether something is missing on each line since its last whole frame.
    is_broken: Vec<bool>,
    picture: Option<Picture>,
    /// The last frame, which the next one may take along.
    copied: Option<Copied>,
    events: VecDeque<TransportEvent>,
    transmits: VecDeque<Transmit>,
    transmit_bytes: usize,
}

/// Where the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    transport: TransportId,
    local: SocketAddr,
    remote: SocketAddr,
}

/// The checks of ours.
#[derive(Clone, Copy, Debug)]
struct Consent {
    check_at: Instant,
    transaction: stun::TransactionId,
    /// When a verified message came last.
    heard: Instant,
}

/// A data channel; its place in the list is its `ChannelId`.
#[derive(Debug)]
struct Channel {
    number: u16,
    is_open: bool,
    /// What `buffered_amount` was when it was last compared with the threshold.
    buffered: usize,
    low_threshold: usize,
}

/// A frame that the next one on its line may take a copy of along.
#[derive(Debug)]
struct Copied {
    line: Line,
    seq: u64,
    time: u64,
    data: Vec<u8>,
}

/// A coded frame whose last piece is still to come.
#[derive(Debug)]
struct Picture {
    line: Line,
    next_seq: u64,
    data: Vec<u8>,
}

impl Scripted {
    pub(crate) fn new(config: &Config, setup: TransportSetup, _now: Instant) -> Scripted {
        Scripted {
            mtu: config.mtu,
            sends_copies: config.audio_out.redundancy != Redundancy::Off,
            random: fastrand::Rng::with_seed(setup.public_seed),
            credentials: setup.credentials,
            offer: None,
            lines: Vec::new(),
            locals: Vec::new(),
            addresses: Vec::new(),
            path: None,
            ice: None,
            is_secure: false,
            is_closing: false,
            consent: None,
            stream: Stream::new(config.mtu),
            channels: Vec::new(),
            next_seq: Vec::new(),
            expected_seq: Vec::new(),
            is_broken: Vec::new(),
            picture: None,
            copied: None,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            transmit_bytes: 0,
        }
    }

    /// Whether the goodbye has been handed out and nothing more will come.
    #[cfg(test)]
    fn is_closed(&self) -> bool {
        self.is_closing && self.transmits.is_empty()
    }
}

impl Transport for Scripted {
    fn add_local_candidate(&mut self, candidate: LocalCandidate, _now: Instant) {
        self.locals.push(candidate);
    }

    /// The browser's checks come first, as towards an ICE-lite agent, so there is nothing to try.
    fn add_remote_candidate(&mut self, _candidate: &UdpCandidate, _now: Instant) {}

    fn accept_offer(
        &mut self,
        offer: &Offer,
        fresh: IceCredentials,
        _now: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        self.check_compatible(offer)?;
        let lines: Vec<_> =
            offer.media().iter().map(|line| answer::negotiate(line, self.sends_copies)).collect();
        if lines.iter().all(|line| *line == NegotiatedLine::Rejected) {
            return Err(NegotiateError::NoUsableMedia);
        }
        let restarts = self.offer.as_ref().is_some_and(|old| old.ice_ufrag() != offer.ice_ufrag());
        if restarts {
            self.credentials = fresh;
            // Media flows on the old path until a check with the new credentials comes.
            let path = self.path.map(|path| path.remote);
            self.addresses.retain(|address| Some(*address) == path);
        }
        self.next_seq.resize(lines.len(), 0);
        self.expected_seq.resize(lines.len(), None);
        self.is_broken.resize(lines.len(), false);
        self.lines.clone_from(&lines);
        self.offer = Some(offer.clone());
        let sdp = answer::write(offer, &lines, &self.credentials, &self.locals);
        let (answer, credentials) = (Answer::new(sdp), self.credentials.clone());
        Ok(Negotiated { answer, credentials, lines, message_max: MESSAGE_LEN_MAX })
    }

    fn verifies(&self, payload: &[u8]) -> bool {
        stun::Binding::parse(payload).is_some_and(|binding| self.is_request_to_us(&binding))
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) -> Received {
        if self.is_closing {
            return Received::default();
        }
        let received = if stun::is_stun(&datagram.payload) {
            self.handle_stun(&datagram, now)
        } else {
            self.handle_frames(datagram, now)
        };
        self.send_stream(now);
        received
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.is_closing {
            return;
        }
        self.check_consent(now);
        self.stream.handle_timeout(now);
        self.send_stream(now);
    }

    fn write_media(&mut self, frame: &MediaWrite<'_>, _now: Instant) -> MediaWritten {
        let sends = self.is_secure && !self.is_closing && self.sends(frame.line, frame.codec);
        if !sends || frame.data.is_empty() {
            return MediaWritten::NotReady;
        }
        let copied = self.copied.take_if(|copied| copied.line == frame.line);
        let copied = copied.filter(|copied| self.fits_with_copy(copied, frame));
        let piece_max = self.mtu - HEADER_LEN - MEDIA_OVERHEAD;
        // Sound fits one piece; a division would be the dearest step of its way.
        let count =
            if frame.data.len() <= piece_max { 1 } else { frame.data.len().div_ceil(piece_max) };
        let copy_len = copied.as_ref().map_or(0, |copied| MEDIA_OVERHEAD + copied.data.len());
        let needed = copy_len + frame.data.len() + count * (HEADER_LEN + MEDIA_OVERHEAD);
        if self.transmit_bytes + needed > TRANSMIT_BYTES_MAX {
            return MediaWritten::Dropped;
        }
        for (index, data) in frame.data.chunks(piece_max).enumerate() {
            let seq = &mut self.next_seq[usize::from(frame.line)];
            let media = Media {
                line: frame.line,
                codec: frame.codec,
                first: index == 0,
                more: index + 1 < count,
                keyframe: frame.codec.is_audio(),
                talkspurt: frame.talkspurt,
                level: frame.level.zip(frame.voice),
                ssrc: u32::from(frame.line),
                seq: *seq,
                time: frame.rtp_time,
                data,
            };
            *seq += 1;
            match &copied {
                Some(Copied { seq, time, data, .. }) => {
                    let (seq, time, talkspurt, level) = (*seq, *time, false, None);
                    let copy = Media { seq, time, talkspurt, level, data, ..media };
                    self.send(encode(&[Frame::Media(copy), Frame::Media(media)]));
                }
                None => self.send(encode(&[Frame::Media(media)])),
            }
        }
        if frame.redundant {
            let (line, time) = (frame.line, frame.rtp_time);
            let seq = self.next_seq[usize::from(line)] - 1;
            self.copied = Some(Copied { line, seq, time, data: frame.data.to_vec() });
        }
        MediaWritten::Taken
    }

    /// The engine's packets are one every 20 ms; here all that they say leaves at once. They take
    /// no numbers of the sound.
    fn write_tone(&mut self, tone: &ToneWrite, _now: Instant) -> MediaWritten {
        let sends = self.is_secure && !self.is_closing && self.sends(tone.line, Codec::Opus);
        if !sends {
            return MediaWritten::NotReady;
        }
        let total = u64::try_from(tone.duration.as_millis()).unwrap_or(u64::MAX) * 48;
        let mut begin = 0;
        let mut segments = Vec::new();
        while begin == 0 || begin < total {
            let ticks = (total - begin).min(u16::MAX.into());
            segments.push(Frame::Tone(Tone {
                line: tone.line,
                code: tone.code,
                first: begin == 0,
                end: begin + ticks == total,
                ticks: ticks as u16,
                rate: 48_000,
                ssrc: u32::from(tone.line),
                seq: self.next_seq[usize::from(tone.line)],
                time: tone.rtp_time + begin,
            }));
            begin += ticks.max(1);
        }
        let bytes = encode(&segments);
        if self.transmit_bytes + bytes.len() > TRANSMIT_BYTES_MAX {
            return MediaWritten::Dropped;
        }
        self.send(bytes);
        MediaWritten::Taken
    }

    fn request_keyframe(&mut self, line: Line, _now: Instant) {
        if self.is_secure && !self.is_closing && self.receives(line) {
            self.send(encode(&[Frame::Keyframe { line }]));
        }
    }

    fn write_channel(
        &mut self,
        channel: ChannelId,
        binary: bool,
        data: &[u8],
        now: Instant,
    ) -> ChannelWritten {
        let Some(number) = self.open_channel(channel).filter(|_| !self.is_closing) else {
            return ChannelWritten::Gone;
        };
        if data.len() > MESSAGE_LEN_MAX {
            return ChannelWritten::TooLarge(MESSAGE_LEN_MAX);
        }
        if !self.stream.write(number, binary, data) {
            return ChannelWritten::Full;
        }
        self.channels[channel.0 as usize].buffered += data.len();
        self.send_stream(now);
        ChannelWritten::Taken
    }

    fn buffered_amount(&mut self, channel: ChannelId) -> usize {
        self.open_channel(channel).map_or(0, |number| self.stream.buffered(number))
    }

    fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, threshold: usize) {
        if let Some(channel) = self.channels.get_mut(channel.0 as usize) {
            channel.low_threshold = threshold;
        }
    }

    fn close(&mut self, _now: Instant) {
        if !self.is_closing && self.is_secure {
            self.send(encode(&[Frame::Goodbye]));
        }
        self.is_closing = true;
        self.consent = None;
        self.stream = Stream::new(self.mtu);
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        // Counted before it is taken, so that it is copied once.
        self.transmit_bytes -= self.transmits.front()?.payload.len();
        self.transmits.pop_front()
    }

    fn has_transmit(&self) -> bool {
        !self.transmits.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let consent = self.consent.map(|consent| consent.check_at);
        earlier(consent, self.stream.poll_timeout())
    }
}

impl Scripted {
    fn check_compatible(&self, offer: &Offer) -> Result<(), NegotiateError> {
        let Some(old) = &self.offer else { return Ok(()) };
        let incompatible =
            |reason: &str| Err(NegotiateError::Incompatible { reason: reason.into() });
        if old.fingerprint() != offer.fingerprint() {
            return incompatible("a=fingerprint changed");
        }
        let mut news = offer.media().iter();
        for line in old.media() {
            let same = |new: &MediaLine| (&new.mid, new.kind) == (&line.mid, line.kind);
            if !news.next().is_some_and(|new| line.stopped || same(new)) {
                return incompatible("the m-lines are others");
            }
        }
        Ok(())
    }

    fn is_request_to_us(&self, binding: &stun::Binding<'_>) -> bool {
        binding.is_request
            && binding.receiver == self.credentials.ufrag.as_bytes()
            && binding.verifies(&self.credentials.pwd)
    }

    fn handle_stun(&mut self, datagram: &Datagram, now: Instant) -> Received {
        let Some(binding) = stun::Binding::parse(&datagram.payload) else {
            return Received { malformed: true, authenticated: false };
        };
        let authenticated = if binding.is_request {
            self.handle_request(&binding, datagram)
        } else {
            self.is_response_to_us(&binding)
        };
        if authenticated {
            self.hear(now);
        }
        Received { authenticated, malformed: false }
    }

    fn is_response_to_us(&self, binding: &stun::Binding<'_>) -> bool {
        let asked = self.consent.is_some_and(|consent| consent.transaction == binding.transaction);
        asked && self.offer.as_ref().is_some_and(|offer| binding.verifies(offer.ice_pwd()))
    }

    /// Answers a check, and follows the peer to where it nominates.
    fn handle_request(&mut self, binding: &stun::Binding<'_>, datagram: &Datagram) -> bool {
        let is_ours = self.locals.iter().any(|local| local.base() == datagram.destination);
        if !is_ours || self.offer.is_none() || !self.is_request_to_us(binding) {
            return false;
        }
        if !self.addresses.contains(&datagram.source) {
            if self.addresses.len() == ADDRESSES_MAX {
                return false;
            }
            self.addresses.push(datagram.source);
        }
        let path = Path {
            transport: datagram.transport,
            local: datagram.destination,
            remote: datagram.source,
        };
        if binding.nominates || self.path.is_none() {
            self.path = Some(path);
        }
        let response = stun::response(binding.transaction, datagram.source, &self.credentials.pwd);
        self.send_on(path, response);
        true
    }

    /// A verified message came.
    fn hear(&mut self, now: Instant) {
        match &mut self.consent {
            Some(consent) => consent.heard = now,
            None => {
                self.consent = Some(Consent { check_at: now, transaction: [0; 12], heard: now })
            }
        }
        self.set_ice(true);
    }

    fn set_ice(&mut self, is_connected: bool) {
        if self.ice.replace(is_connected) != Some(is_connected) {
            self.events.push_back(match is_connected {
                true => TransportEvent::IceConnected,
                false => TransportEvent::IceDisconnected,
            });
        }
    }

    fn check_consent(&mut self, now: Instant) {
        let Some(mut consent) = self.consent.filter(|consent| consent.check_at <= now) else {
            return;
        };
        if now.saturating_duration_since(consent.heard) >= ICE_LOST_AFTER {
            self.set_ice(false);
        }
        consent.check_at = now + CHECK_INTERVAL;
        self.random.fill(&mut consent.transaction);
        self.consent = Some(consent);
        if let Some(offer) = &self.offer {
            let (theirs, ours) = (offer.ice_ufrag(), &self.credentials.ufrag);
            let request = stun::request(consent.transaction, theirs, ours, offer.ice_pwd(), false);
            self.send(request);
        }
    }

    fn handle_frames(&mut self, datagram: Datagram, now: Instant) -> Received {
        // Nearly all are one packet of sound, which is read once and stays where it is.
        if let Some(media) = lone_media(&datagram.payload) {
            if self.is_secure && self.addresses.contains(&datagram.source) {
                self.handle_whole(media, datagram.payload);
            }
            return Received::default();
        }
        let Ok(frames) = frames(&datagram.payload) else {
            return Received { malformed: true, authenticated: false };
        };
        if self.addresses.contains(&datagram.source) {
            for frame in frames {
                self.handle_frame(frame, now);
            }
        }
        Received::default()
    }

    fn handle_frame(&mut self, frame: Frame<'_>, now: Instant) {
        match frame {
            Frame::Hello => {
                self.send(encode(&[Frame::Hello]));
                if !self.is_secure {
                    self.is_secure = true;
                    self.events.push_back(TransportEvent::Connected);
                }
            }
            Frame::IceLost => self.set_ice(false),
            Frame::IceFound => self.set_ice(true),
            Frame::Refused(text) => {
                self.events.push_back(TransportEvent::Refused(text.to_owned()));
            }
            Frame::Fault(text) => self.events.push_back(TransportEvent::Fault(text.to_owned())),
            // What follows would be encrypted with keys that do not exist yet.
            _ if !self.is_secure => {}
            Frame::Goodbye => self.events.push_back(TransportEvent::HungUp),
            Frame::Keyframe { line } if self.sends_video(line) => {
                self.events.push_back(TransportEvent::KeyframeRequest(line));
            }
            Frame::Keyframe { .. } => {}
            Frame::Report { rtt_ms, lost_per_mille, jitter_ms } => {
                self.events.push_back(TransportEvent::Stats(TransportStats {
                    rtt: Some(Duration::from_millis(u64::from(rtt_ms))),
                    loss_sent: Some(f32::from(lost_per_mille.min(1000)) / 1000.0),
                    jitter_received: Some(Duration::from_millis(u64::from(jitter_ms))),
                    ..TransportStats::default()
                }));
            }
            // More than was sent is no report of a peer.
            Frame::Arrived { line, packets } => {
                let sent = self.next_seq.get(usize::from(line)).copied().unwrap_or(0);
                let packets = u64::from(packets);
                if packets <= sent {
                    self.events.push_back(TransportEvent::PeerReport { line, packets });
                }
            }
            Frame::Ack { next } => {
                self.stream.handle_ack(next, now);
                self.tell_low_amounts();
            }
            Frame::Chunk(chunk) => {
                if let Some(arrival) = self.stream.handle_chunk(&chunk) {
                    self.handle_arrival(arrival);
                }
            }
            Frame::Media(ref media) => self.handle_media(media),
            Frame::Tone(tone) => self.handle_tone(&tone),
        }
    }

    fn handle_arrival(&mut self, arrival: Arrival) {
        let id = |channels: &[Channel], number| {
            let of_number = |channel: &Channel| channel.is_open && channel.number == number;
            let index = channels.iter().position(of_number)?;
            Some(ChannelId(u32::try_from(index).expect("at most CHANNELS_MAX")))
        };
        match arrival {
            Arrival::Opened { channel, label } => {
                if self.channels.len() < CHANNELS_MAX && id(&self.channels, channel).is_none() {
                    self.channels.push(Channel {
                        number: channel,
                        is_open: true,
                        buffered: 0,
                        low_threshold: 0,
                    });
                    if let Some(id) = id(&self.channels, channel) {
                        self.events.push_back(TransportEvent::ChannelOpen(id, label));
                    }
                }
            }
            Arrival::Closed { channel } => {
                if let Some(id) = id(&self.channels, channel) {
                    self.channels[id.0 as usize].is_open = false;
                    self.events.push_back(TransportEvent::ChannelClose(id));
                }
            }
            Arrival::Message { channel, binary, data } => {
                if let Some(id) = id(&self.channels, channel) {
                    self.events.push_back(TransportEvent::ChannelData(id, binary, data));
                }
            }
        }
    }

    fn tell_low_amounts(&mut self) {
        for (index, channel) in self.channels.iter_mut().enumerate() {
            let amount = self.stream.buffered(channel.number);
            let before = std::mem::replace(&mut channel.buffered, amount);
            if channel.is_open && before > channel.low_threshold && amount <= channel.low_threshold
            {
                let id = ChannelId(u32::try_from(index).expect("at most CHANNELS_MAX"));
                self.events.push_back(TransportEvent::BufferedAmountLow(id));
            }
        }
    }

    /// Takes a coded frame that a datagram holds and nothing else: its data is the datagram's end.
    fn handle_whole(&mut self, (media, start): (Media<'static>, usize), mut payload: Bytes) {
        payload.advance(start);
        if !payload.is_empty() && self.count(&media) {
            self.give(&media, payload);
        }
    }

    fn handle_media(&mut self, media: &Media<'_>) {
        if !media.data.is_empty()
            && self.count(media)
            && let Some(data) = self.assemble(media)
        {
            self.give(media, data);
        }
    }

    /// Whether it belongs to a line that receives; what is missing before it is noticed.
    fn count(&mut self, media: &Media<'_>) -> bool {
        if !self.receives(media.line) {
            return false;
        }
        let expected = &mut self.expected_seq[usize::from(media.line)];
        let in_order = expected.is_none_or(|expected| expected == media.seq);
        *expected = Some(expected.unwrap_or_default().max(media.seq + 1));
        let is_broken = &mut self.is_broken[usize::from(media.line)];
        *is_broken |= !in_order;
        true
    }

    fn give(&mut self, media: &Media<'_>, data: Bytes) {
        let contiguous = !std::mem::take(&mut self.is_broken[usize::from(media.line)]);
        self.events.push_back(TransportEvent::Media(MediaPacket {
            line: media.line,
            codec: media.codec,
            seq: media.seq,
            rtp_time: media.time,
            ssrc: media.ssrc,
            contiguous,
            keyframe: media.keyframe,
            repaired: false,
            level: media.level,
            data,
        }));
    }

    fn handle_tone(&mut self, tone: &Tone) {
        if !self.receives(tone.line) {
            return;
        }
        let Tone { line, code, first, end, ticks, rate, ssrc, seq, time } = *tone;
        let expected = &mut self.expected_seq[usize::from(line)];
        *expected = expected.map(|expected| expected.max(seq + 1));
        self.events.push_back(TransportEvent::Tone(TonePacket {
            line,
            seq,
            rtp_time: time,
            ssrc,
            rate,
            code,
            is_first: first,
            is_end: end,
            ticks,
        }));
    }

    /// Puts a coded frame together. One that misses a piece, or has one out of order, is lost.
    fn assemble(&mut self, media: &Media<'_>) -> Option<Bytes> {
        if media.first && !media.more {
            return Some(Bytes::copy_from_slice(media.data));
        }
        let mut picture = match self.picture.take() {
            _ if media.first => {
                let (line, next_seq) = (media.line, media.seq);
                Picture { line, next_seq, data: Vec::new() }
            }
            Some(picture) => picture,
            None => return None,
        };
        let follows = (picture.line, picture.next_seq) == (media.line, media.seq);
        if !follows || picture.data.len() + media.data.len() > PICTURE_LEN_MAX {
            self.is_broken[usize::from(media.line)] = true;
            return None;
        }
        picture.data.extend(media.data);
        picture.next_seq += 1;
        if media.more {
            self.picture = Some(picture);
            return None;
        }
        Some(Bytes::from(picture.data))
    }

    /// Whether a frame takes a copy along: within the limits of RED (RFC 2198 section 3), and in a
    /// datagram that is not cut.
    fn fits_with_copy(&self, copied: &Copied, frame: &MediaWrite<'_>) -> bool {
        let len = HEADER_LEN + 2 * MEDIA_OVERHEAD + copied.data.len() + frame.data.len();
        let takes = matches!(self.line(frame.line), NegotiatedLine::Media { copies: true, .. });
        takes
            && frame.redundant
            && frame.rtp_time - copied.time <= COPY_AGE_MAX
            && copied.data.len() <= COPY_LEN_MAX
            && len <= self.mtu
    }

    fn line(&self, line: Line) -> NegotiatedLine {
        self.lines.get(usize::from(line)).copied().unwrap_or(NegotiatedLine::Rejected)
    }

    fn receives(&self, line: Line) -> bool {
        matches!(self.line(line), NegotiatedLine::Media { receives: true, .. })
    }

    fn sends(&self, line: Line, with: Codec) -> bool {
        matches!(self.line(line), NegotiatedLine::Media { sends: true, codec, .. } if codec == with)
    }

    fn sends_video(&self, line: Line) -> bool {
        self.sends(line, Codec::Vp8)
    }

    fn open_channel(&self, channel: ChannelId) -> Option<u16> {
        let channel = self.channels.get(channel.0 as usize)?;
        channel.is_open.then_some(channel.number)
    }

    /// Hands out what the stream wants to send, as far as there is room.
    fn send_stream(&mut self, now: Instant) {
        while self.path.is_some() && self.transmit_bytes + self.mtu <= TRANSMIT_BYTES_MAX {
            let Some(bytes) = self.stream.poll_datagram(now) else { return };
            self.send(bytes);
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        if let Some(path) = self.path {
            self.send_on(path, bytes);
        }
    }

    /// At the limit the datagram is lost: the peer asks again for what it needs.
    fn send_on(&mut self, path: Path, bytes: Vec<u8>) {
        if self.transmit_bytes + bytes.len() > TRANSMIT_BYTES_MAX {
            return;
        }
        self.transmit_bytes += bytes.len();
        let Path { transport, local, remote } = path;
        self.transmits.push_back(Transmit::udp(transport, local, remote, Bytes::from(bytes)));
    }
}

#[cfg(test)]
mod tests;
