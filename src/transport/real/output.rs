//! What the engine gives, in words of ours and in bounded queues.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use str0m::channel::ChannelId as EngineChannel;
use str0m::format::Codec as EngineCodec;
use str0m::media::{Frequency, MediaData, Mid, Pt};
use str0m::stats::{MediaEgressStats, MediaIngressStats, PeerStats};
use str0m::{Event, IceConnectionState, Rtc};

use crate::transport::{
    ChannelId, Line, MediaPacket, TRANSMIT_BYTES_MAX, TonePacket, TransportEvent, TransportStats,
};
use crate::{Codec, MediaKind, Offer, Transmit, TransportId};

/// Events that wait to be polled. The session polls them after every call, and one datagram
/// brings a handful; 4096 small messages fit the engine's whole receive window.
pub(super) const EVENTS_MAX: usize = 4096;

/// Channels that are remembered. Pipecat's clients open one; each reconnect of the channel within
/// a call counts again until it is closed.
pub(super) const CHANNELS_MAX: usize = 256;

/// Streams of ours whose numbers are followed: two for each line that an offer may have.
const STREAMS_MAX: usize = 2 * Offer::MEDIA_LINES_MAX;

/// Packets of a stream that are no sound, and whose places in it are known. 1024: what is sent of
/// keys between two reports is a quarter of that.
const TONES_MAX: usize = 1024;

/// Datagrams are copied into blocks of this size and handed out as slices of them; a block that
/// nobody holds any more is used again, so sending allocates nothing in the steady state.
const BLOCK: usize = 8 * 1024;

/// The engine says "never" as a hundred years.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// One m-line of the running call.
#[derive(Clone, Debug)]
pub(super) struct LineState {
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    pub(super) sends: bool,
    /// What both sides know, in our order, with the payload type that it is sent with.
    pub(super) codecs: Vec<(Codec, Pt)>,
    /// The codec of the last packet that came: its clock is what the engine's jitter is told in.
    pub(super) heard: Codec,
    /// The payload type of keys of a telephone at the clock of sound, if the peer takes them.
    pub(super) tone: Option<Pt>,
    /// Added to every RTP time: a stream does not start at zero (RFC 3550 section 5.1).
    pub(super) time_offset: u32,
    /// Whether the peer takes frames with copies (RED), and is to get them.
    pub(super) copies: bool,
    /// The length of the frame that the next one may take a copy of along: that of the one before,
    /// if it was redundant.
    pub(super) copied_len: Option<usize>,
}

/// What was dropped or refused, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Frames that were not taken because the transmit queue was at its limit.
    pub(crate) media_refused: u64,
    /// Datagrams that were dropped because the transmit queue was at its limit.
    pub(crate) transmits_dropped: u64,
    /// Events that were dropped because nobody polled them.
    pub(crate) events_dropped: u64,
    /// Verified STUN messages from a new address, beyond `SOURCES_MAX`.
    pub(crate) sources_refused: u64,
    /// STUN messages whose integrity did not hold.
    pub(crate) stun_refused: u64,
    /// Channels beyond `CHANNELS_MAX`: they are closed at once.
    pub(crate) channels_refused: u64,
    /// Datagrams that nothing could read.
    pub(crate) malformed: u64,
    /// Datagrams to an address that is none of ours.
    pub(crate) misdirected: u64,
    /// Frames, sent or received, that their codec's packets cannot carry.
    pub(crate) bad_frames: u64,
    /// Remote candidates beyond `REMOTE_CANDIDATES_MAX`.
    pub(crate) candidates_ignored: u64,
}

#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) lines: Vec<Option<LineState>>,
    /// Base address and transport of each local candidate.
    pub(super) bases: Vec<(SocketAddr, TransportId)>,
    pub(super) counters: Counters,
    pub(super) timeout: Option<Instant>,
    pub(super) connected: bool,
    /// The sequence number and the SSRC of the RTP packet that is being handled.
    pub(super) seq: u16,
    pub(super) ssrc: u32,
    pub(super) faulted: bool,
    events: VecDeque<TransportEvent>,
    transmits: VecDeque<Transmit>,
    transmit_bytes: usize,
    drain: Drain,
    block: BytesMut,
    channels: Vec<(ChannelId, EngineChannel)>,
    channels_opened: u32,
    /// Channels that are to be closed, because there are too many.
    pub(super) surplus: Vec<EngineChannel>,
    /// Channels that were refused a message because the engine's buffer, which all share, was
    /// full.
    crowded: Vec<ChannelId>,
    low: Vec<ChannelId>,
    media: Vec<MediaPacket>,
    tones: Vec<TonePacket>,
    /// Lines whose keyframe is wanted; one datagram may ask for several.
    keyframes: Vec<Line>,
    stats: StatsBatch,
    streams: Vec<Stream>,
    /// What the peer's reports name, per line.
    reports: Vec<LineReport>,
    ice_up: bool,
    hung_up: bool,
}

/// What one drain has put into the queue of transmits.
#[derive(Debug, Default)]
struct Drain {
    transmits: usize,
    /// The stream of its first RTP packet.
    stream: Option<u32>,
    /// There is another one.
    is_mixed: bool,
}

/// A stream of ours.
#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    /// The number of its newest packet, and how many there were.
    last: u16,
    packets: u64,
    /// Which of them were no sound, counted from one; and how many before those.
    tones: VecDeque<u64>,
    tones_before: u64,
}

impl Stream {
    fn new(ssrc: u32) -> Stream {
        Stream { ssrc, last: 0, packets: 0, tones: VecDeque::new(), tones_before: 0 }
    }

    fn sent(&mut self, number: u16, packets: u64, is_tone: bool) {
        (self.last, self.packets) = (number, self.packets + packets);
        if is_tone {
            if self.tones.len() == TONES_MAX {
                self.tones.pop_front();
                self.tones_before += 1;
            }
            self.tones.push_back(self.packets);
        }
    }

    /// How many of its first packets are sound.
    fn frames(&self, packets: u64) -> u64 {
        let tones = self.tones.partition_point(|at| *at <= packets) as u64;
        packets.saturating_sub(self.tones_before + tones)
    }
}

/// What the peer's reports name of a line's packets.
#[derive(Clone, Copy, Debug)]
struct LineReport {
    line: Line,
    ssrc: u32,
    /// The packets of streams that the line had before.
    before: u64,
    packets: u64,
    is_news: bool,
}

/// The engine's figures of one interval. They come in hash order and are put together here.
#[derive(Debug, Default)]
struct StatsBatch {
    peer: Option<PeerStats>,
    ingress: Vec<MediaIngressStats>,
    egress: Vec<MediaEgressStats>,
}

impl Output {
    pub(super) fn event(&mut self, event: Event, rtc: &mut Rtc) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.push(TransportEvent::Connected);
            }
            Event::IceConnectionStateChange(state) => self.ice(state),
            Event::MediaData(data) => self.media(data, rtc),
            Event::KeyframeRequest(request) => {
                let line = self.line(request.mid).map(|(line, _)| line);
                self.keyframes.extend(line);
            }
            Event::ChannelOpen(channel, label) => self.channel_open(channel, label),
            Event::ChannelData(data) => {
                if let Some(channel) = self.ours(data.id) {
                    self.push(TransportEvent::ChannelData(channel, data.binary, data.data));
                }
            }
            Event::ChannelClose(channel) => {
                if let Some(ours) = self.ours(channel) {
                    self.channels.retain(|(known, _)| *known != ours);
                    self.push(TransportEvent::ChannelClose(ours));
                    self.low.append(&mut self.crowded);
                }
            }
            Event::ChannelBufferedAmountLow(channel) => {
                self.low.extend(self.ours(channel));
                self.low.append(&mut self.crowded);
            }
            Event::PeerStats(stats) => self.stats.peer = Some(stats),
            Event::MediaIngressStats(stats) => self.stats.ingress.push(stats),
            Event::MediaEgressStats(stats) => {
                self.peer_report(&stats, rtc);
                self.stats.egress.push(stats);
            }
            Event::Closed => self.hang_up(),
            _ => {}
        }
    }

    /// Ends a drain: what came in hash order is sorted and handed on. Frames of one codec and line
    /// keep their order.
    pub(super) fn drained(&mut self, timeout: Instant, now: Instant) {
        self.timeout = (timeout.saturating_duration_since(now) < NEVER).then_some(timeout);
        let drain = std::mem::take(&mut self.drain);
        if drain.is_mixed {
            self.sort_streams(drain.transmits);
        }
        if !self.keyframes.is_empty() {
            let mut keyframes = std::mem::take(&mut self.keyframes);
            keyframes.sort_unstable();
            for line in keyframes.drain(..) {
                self.push(TransportEvent::KeyframeRequest(line));
            }
            self.keyframes = keyframes;
        }
        if !self.media.is_empty() {
            let mut media = std::mem::take(&mut self.media);
            media.sort_by_key(|packet| (packet.line, packet.codec));
            for packet in media.drain(..) {
                self.push(TransportEvent::Media(packet));
            }
            self.media = media;
        }
        if !self.tones.is_empty() {
            self.tones.sort_by_key(|packet| packet.line);
            for packet in std::mem::take(&mut self.tones) {
                self.push(TransportEvent::Tone(packet));
            }
        }
        if !self.low.is_empty() {
            let mut low = std::mem::take(&mut self.low);
            low.sort_unstable();
            low.dedup();
            low.retain(|channel| self.theirs(*channel).is_some());
            for channel in low.drain(..) {
                self.push(TransportEvent::BufferedAmountLow(channel));
            }
            self.low = low;
        }
        for at in 0..self.reports.len() {
            let report = &mut self.reports[at];
            if std::mem::take(&mut report.is_news) {
                let LineReport { line, packets, .. } = *report;
                self.push(TransportEvent::PeerReport { line, packets });
            }
        }
        if let Some(peer) = self.stats.peer.take() {
            let stats = self.figures(&peer);
            self.stats.ingress.clear();
            self.stats.egress.clear();
            self.push(TransportEvent::Stats(stats));
        }
    }

    /// The engine cannot go on. Told once.
    pub(super) fn fault(&mut self, reason: String) {
        self.stop(TransportEvent::Fault(reason));
    }

    /// The peer's certificate is another one. Told once, in place of a fault.
    pub(super) fn refused(&mut self, reason: String) {
        self.stop(TransportEvent::Refused(reason));
    }

    fn stop(&mut self, last: TransportEvent) {
        self.timeout = None;
        if !std::mem::replace(&mut self.faulted, true) {
            tracing::warn!(?last, "the engine has stopped");
            self.events.push_back(last);
        }
    }

    fn push(&mut self, event: TransportEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
            return;
        }
        match event {
            // Acknowledged data must not vanish without a word.
            TransportEvent::ChannelData(..) => {
                self.fault(format!("{EVENTS_MAX} events were not polled"));
            }
            TransportEvent::Media(_)
            | TransportEvent::Tone(_)
            | TransportEvent::Stats(_)
            | TransportEvent::PeerReport { .. }
            | TransportEvent::KeyframeRequest(_) => self.counters.events_dropped += 1,
            // Few by nature: states, and channels of which there are at most CHANNELS_MAX.
            other => self.events.push_back(other),
        }
    }

    pub(super) fn pop_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    fn ice(&mut self, state: IceConnectionState) {
        let up = match state {
            IceConnectionState::Connected | IceConnectionState::Completed => true,
            IceConnectionState::Disconnected => false,
            // On its way to either.
            _ => return,
        };
        if std::mem::replace(&mut self.ice_up, up) != up {
            self.push(match up {
                true => TransportEvent::IceConnected,
                false => TransportEvent::IceDisconnected,
            });
        }
    }

    fn hang_up(&mut self) {
        if !std::mem::replace(&mut self.hung_up, true) {
            self.push(TransportEvent::HungUp);
        }
    }

    fn media(&mut self, data: MediaData, rtc: &mut Rtc) {
        let Some((line, state)) = self.line(data.mid) else { return };
        if data.params.spec().codec == EngineCodec::Tele {
            self.tones.extend(tone(line, self.ssrc, &data));
            return;
        }
        let Some(codec) = codec(data.params.spec().codec) else { return };
        let ssrc = match state.kind {
            MediaKind::Audio => self.ssrc,
            // A picture may be completed by a packet of the repair stream.
            MediaKind::Video => {
                let mut api = rtc.direct_api();
                api.stream_rx_by_mid(data.mid, data.rid).map_or(self.ssrc, |rx| *rx.ssrc())
            }
        };
        let level = data.ext_vals.audio_level.map(|level| {
            (level.unsigned_abs().min(127), data.ext_vals.voice_activity.unwrap_or(false))
        });
        let is_audio = state.kind == MediaKind::Audio;
        if let Some(state) = self.lines.get_mut(usize::from(line)).and_then(Option::as_mut) {
            state.heard = codec;
        }
        let seq = **data.seq_range.end();
        self.media.push(MediaPacket {
            line,
            codec,
            seq,
            // The engine tells G.722's in samples, of which RTP counts every other one.
            rtp_time: data.time.rebase(clock(codec)).numer(),
            ssrc,
            contiguous: data.contiguous,
            keyframe: codec.is_audio() || data.is_keyframe(),
            // A packet of sound is given out in the call that brings it; what is given out with it
            // under another number was in it as a copy.
            repaired: is_audio && seq as u16 != self.seq,
            level,
            data: Bytes::from_owner(data.data),
        });
    }

    fn line(&self, mid: Mid) -> Option<(Line, &LineState)> {
        self.lines.iter().zip(0..).find_map(|(line, index)| {
            let line = line.as_ref().filter(|line| line.mid == mid)?;
            Some((index, line))
        })
    }

    fn channel_open(&mut self, channel: EngineChannel, label: String) {
        if self.channels.len() >= CHANNELS_MAX {
            self.counters.channels_refused += 1;
            self.surplus.push(channel);
            return;
        }
        let ours = ChannelId(self.channels_opened);
        self.channels_opened += 1;
        self.channels.push((ours, channel));
        self.push(TransportEvent::ChannelOpen(ours, label));
    }

    fn ours(&self, channel: EngineChannel) -> Option<ChannelId> {
        self.channels.iter().find(|(_, theirs)| *theirs == channel).map(|(ours, _)| *ours)
    }

    pub(super) fn theirs(&self, channel: ChannelId) -> Option<EngineChannel> {
        self.channels.iter().find(|(ours, _)| *ours == channel).map(|(_, theirs)| *theirs)
    }

    pub(super) fn transmit(&mut self, transmit: &str0m::net::Transmit) {
        let source = transmit.source;
        let base = self.bases.iter().find(|(base, _)| *base == source);
        let Some(&(_, transport)) = base else {
            debug_assert!(false, "the engine sends from {source}, which is none of ours");
            return;
        };
        self.follow(&transmit.contents);
        if self.is_full() && !self.is_handshake(&transmit.contents) {
            self.counters.transmits_dropped += 1;
            return;
        }
        let payload = self.copy(&transmit.contents);
        self.transmit_bytes += payload.len();
        if let Some(stream) = stream_of(&payload) {
            self.drain.is_mixed |= *self.drain.stream.get_or_insert(stream) != stream;
        }
        self.drain.transmits += 1;
        self.transmits.push_back(Transmit::udp(transport, source, transmit.destination, payload));
    }

    /// Follows the numbers of our streams.
    fn follow(&mut self, contents: &[u8]) {
        let Some(ssrc) = stream_of(contents) else { return };
        let number = u16::from_be_bytes([contents[2], contents[3]]);
        let is_tone = self.is_tone(contents[1] & 0x7f);
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            let ahead = number.wrapping_sub(stream.last);
            // What is repeated lies behind.
            if (1..1 << 15).contains(&ahead) {
                stream.sent(number, ahead.into(), is_tone);
            }
        } else if self.streams.len() < STREAMS_MAX {
            let mut stream = Stream::new(ssrc);
            stream.sent(number, 1, is_tone);
            self.streams.push(stream);
        }
    }

    fn is_tone(&self, payload_type: u8) -> bool {
        let tones = self.lines.iter().flatten().filter_map(|line| line.tone);
        tones.into_iter().any(|tone| *tone == payload_type)
    }

    /// What the peer's last report says of a line's sound. Counted from the newest packet back: how
    /// often the peer saw the numbers wrap depends on when it began to listen.
    fn peer_report(&mut self, stats: &MediaEgressStats, rtc: &mut Rtc) {
        let Some(remote) = &stats.remote else { return };
        let Some((line, state)) = self.line(stats.mid) else { return };
        if state.kind != MediaKind::Audio {
            return;
        }
        let mut api = rtc.direct_api();
        let Some(tx) = api.stream_tx_by_mid(stats.mid, stats.rid) else { return };
        let ssrc = *tx.ssrc();
        let stream = |ssrc: u32| self.streams.iter().find(|stream| stream.ssrc == ssrc);
        let Some(known) = stream(ssrc) else { return };
        let behind = known.last.wrapping_sub(*remote.maximum_sequence_number as u16);
        let Some(packets) = known.packets.checked_sub(u64::from(behind)) else { return };
        let packets = known.frames(packets);
        let at = self.reports.partition_point(|report| report.line < line);
        if self.reports.get(at).is_none_or(|report| report.line != line) {
            let new = LineReport { line, ssrc, before: 0, packets: 0, is_news: false };
            self.reports.insert(at, new);
        }
        let old = self.reports[at].ssrc;
        let before = if old == ssrc {
            0
        } else {
            stream(old).map_or(0, |stream| stream.frames(stream.packets))
        };
        let report = &mut self.reports[at];
        report.ssrc = ssrc;
        report.before += before;
        let packets = report.before + packets;
        if packets > report.packets {
            (report.packets, report.is_news) = (packets, true);
        }
    }

    /// Packets of several streams in one drain, as when one report misses some of each, come
    /// stream by stream in hash order. Here they get the order of their SSRCs, which the session's
    /// seed gives; what lies between them stays where it is.
    fn sort_streams(&mut self, drained: usize) {
        let begin = self.transmits.len() - drained;
        let stream_at = |at: &usize| stream_of(&self.transmits[*at].payload).is_some();
        let places: Vec<usize> = (begin..self.transmits.len()).filter(stream_at).collect();
        let mut packets: Vec<_> = places.iter().map(|at| self.transmits[*at].clone()).collect();
        packets.sort_by_key(|packet| stream_of(&packet.payload));
        for (at, packet) in places.into_iter().zip(packets) {
            self.transmits[at] = packet;
        }
    }

    fn copy(&mut self, contents: &[u8]) -> Bytes {
        if self.block.capacity() < contents.len() {
            self.block.reserve(BLOCK.max(contents.len()));
        }
        self.block.extend_from_slice(contents);
        self.block.split().freeze()
    }

    pub(super) fn is_full(&self) -> bool {
        self.transmit_bytes >= TRANSMIT_BYTES_MAX
    }

    /// Whether a datagram belongs to a DTLS handshake: change_cipher_spec, alert and handshake
    /// (RFC 6347 section 4.1); of DTLS 1.3 also what it encrypts before it is done, which looks
    /// like data. The library bounds them: a few resends of a flight of some kilobytes.
    fn is_handshake(&self, contents: &[u8]) -> bool {
        match contents.first() {
            Some(20..=22) => true,
            Some(23..=63) => !self.connected,
            _ => false,
        }
    }

    /// Remembers to say so when any channel's messages have left the engine.
    pub(super) fn wait_for_engine(&mut self, channel: ChannelId) {
        if !self.crowded.contains(&channel) {
            self.crowded.push(channel);
        }
    }

    pub(super) fn pop_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.transmits.pop_front()?;
        self.transmit_bytes -= transmit.payload.len();
        Some(transmit)
    }

    pub(super) fn has_transmit(&self) -> bool {
        !self.transmits.is_empty()
    }

    fn figures(&self, peer: &PeerStats) -> TransportStats {
        let batch = &self.stats;
        let place = |mid: Mid| self.line(mid).map(|(line, _)| line);
        let received = batch.ingress.iter().filter(|stats| place(stats.mid).is_some());
        let received = received.min_by_key(|stats| place(stats.mid));
        let sent = batch.egress.iter().filter(|stats| stats.loss.is_some());
        let sent = sent.min_by_key(|stats| place(stats.mid));
        let pair = peer.selected_candidate_pair.as_ref();
        let clock = received
            .and_then(|stats| self.line(stats.mid))
            .map(|(_, line)| f64::from(line.heard.clock_rate()));
        TransportStats {
            rtt: pair.and_then(|pair| pair.current_round_trip_time).or(peer.rtt),
            bytes_sent: peer.peer_bytes_tx,
            bytes_received: peer.peer_bytes_rx,
            loss_sent: sent.and_then(|stats| stats.loss).or(peer.egress_loss_fraction),
            loss_received: received.and_then(|stats| stats.loss).or(peer.ingress_loss_fraction),
            jitter_received: received
                .zip(clock)
                .map(|(stats, clock)| Duration::from_secs_f64(f64::from(stats.jitter) / clock)),
        }
    }
}

/// The SSRC of an RTP packet (RFC 3550 section 5.1, RFC 5761 section 4); `None` for anything else.
fn stream_of(payload: &[u8]) -> Option<u32> {
    match payload {
        [128..=191, 192..=223, ..] => None,
        [128..=191, _, _, _, _, _, _, _, a, b, c, d, ..] => {
            Some(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => None,
    }
}

/// The clock of a codec's RTP times.
pub(super) fn clock(codec: Codec) -> Frequency {
    match codec {
        Codec::Opus => Frequency::FORTY_EIGHT_KHZ,
        Codec::Pcmu | Codec::Pcma | Codec::G722 => Frequency::EIGHT_KHZ,
        Codec::Vp8 | Codec::H264 => Frequency::NINETY_KHZ,
    }
}

/// A packet of the peer's keys: its first report (RFC 4733 section 2.3). The engine has found it
/// whole.
fn tone(line: Line, ssrc: u32, data: &MediaData) -> Option<TonePacket> {
    let &[code, flags, high, low, ..] = &data.data[..] else { return None };
    Some(TonePacket {
        line,
        seq: **data.seq_range.end(),
        rtp_time: data.time.numer(),
        ssrc,
        rate: data.params.spec().clock_rate.get(),
        code,
        is_first: data.audio_start_of_talk_spurt,
        is_end: flags & 0x80 != 0,
        ticks: u16::from_be_bytes([high, low]),
    })
}

pub(super) fn codec(codec: EngineCodec) -> Option<Codec> {
    match codec {
        EngineCodec::Opus => Some(Codec::Opus),
        EngineCodec::Vp8 => Some(Codec::Vp8),
        EngineCodec::H264 => Some(Codec::H264),
        EngineCodec::PCMU => Some(Codec::Pcmu),
        EngineCodec::PCMA => Some(Codec::Pcma),
        EngineCodec::G722 => Some(Codec::G722),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use str0m::media::{KeyframeRequest, KeyframeRequestKind};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    fn epoch() -> Instant {
        Instant::now()
    }

    const BASE: &str = "192.0.2.1:3478";

    fn output() -> Output {
        let base: SocketAddr = BASE.parse().unwrap();
        Output { bases: vec![(base, TransportId(1))], ..Output::default() }
    }

    fn send(out: &mut Output, first: u8, len: usize) {
        let mut contents = vec![0; len];
        contents[0] = first;
        out.transmit(&str0m::net::Transmit {
            proto: str0m::net::Protocol::Udp,
            source: BASE.parse().unwrap(),
            destination: "198.51.100.7:5".parse().unwrap(),
            contents: contents.into(),
        });
    }

    #[test]
    fn at_the_transmit_limit_media_is_dropped_and_handshakes_are_not() {
        let mut out = output();
        out.connected = true;
        for _ in 0..TRANSMIT_BYTES_MAX / 1024 - 1 {
            send(&mut out, 128, 1024);
        }
        send(&mut out, 128, 1023);
        send(&mut out, 128, 1);
        assert_eq!((out.transmits.len(), out.counters.transmits_dropped), (257, 0));
        assert!(out.is_full());
        for (first, dropped) in [(128, 1), (0, 2), (23, 3), (22, 3), (21, 3)] {
            send(&mut out, first, 100);
            assert_eq!(out.counters.transmits_dropped, dropped, "first byte {first}");
        }
        // Before the handshake is done, what is encrypted belongs to it.
        out.connected = false;
        send(&mut out, 44, 100);
        assert_eq!(out.counters.transmits_dropped, 3);
        while out.pop_transmit().is_some() {}
        assert_eq!(out.transmit_bytes, 0);
    }

    #[test]
    fn at_the_event_limit_media_is_dropped_and_messages_are_a_fault() {
        let mut out = output();
        let stats = || TransportEvent::Stats(TransportStats::default());
        for _ in 0..EVENTS_MAX {
            out.push(stats());
        }
        assert_eq!((out.events.len(), out.counters.events_dropped), (EVENTS_MAX, 0));
        out.push(stats());
        assert_eq!((out.events.len(), out.counters.events_dropped), (EVENTS_MAX, 1));
        out.push(TransportEvent::HungUp);
        assert_eq!(out.events.back(), Some(&TransportEvent::HungUp), "states are never dropped");
        for _ in 0..2 {
            out.push(TransportEvent::ChannelData(ChannelId(0), true, vec![1]));
        }
        let faults = out.events.iter().filter(|e| matches!(e, TransportEvent::Fault(_)));
        assert_eq!(faults.count(), 1);
    }

    #[test]
    fn a_block_is_used_again_when_nobody_holds_its_datagrams() {
        let mut out = output();
        send(&mut out, 128, 100);
        let first = out.pop_transmit().unwrap().payload.as_ptr();
        let mut again = 0;
        for _ in 0..10 * BLOCK / 100 {
            send(&mut out, 128, 100);
            again += usize::from(out.pop_transmit().unwrap().payload.as_ptr() == first);
        }
        assert!(again >= 8, "{again}");
    }

    /// Sends a packet of RTP, or a report, that a number tells from others.
    fn send_rtp(out: &mut Output, kind: u8, stream: u32, number: u8) {
        let mut contents = vec![128, kind, number, 0, 0, 0, 0, 0];
        contents.extend(stream.to_be_bytes());
        out.transmit(&str0m::net::Transmit {
            proto: str0m::net::Protocol::Udp,
            source: BASE.parse().unwrap(),
            destination: "198.51.100.7:5".parse().unwrap(),
            contents: contents.into(),
        });
    }

    #[test]
    fn packets_of_several_streams_in_one_drain_leave_in_one_order_whatever_the_engines_is() {
        let now = epoch();
        let numbers = |out: &mut Output| -> Vec<u8> {
            std::iter::from_fn(|| out.pop_transmit()).map(|sent| sent.payload[2]).collect()
        };
        for order in [[(7, 1), (7, 2), (9, 3), (9, 4)], [(9, 3), (9, 4), (7, 1), (7, 2)]] {
            let mut out = output();
            // What an earlier drain left is not touched, and neither is a report.
            send_rtp(&mut out, 96, 99, 0);
            out.drained(now, now);
            for (stream, number) in &order[..2] {
                send_rtp(&mut out, 96, *stream, *number);
            }
            send_rtp(&mut out, 200, 1, 50);
            for (stream, number) in &order[2..] {
                send_rtp(&mut out, 96, *stream, *number);
            }
            out.drained(now, now);
            assert_eq!(numbers(&mut out), [0, 1, 2, 50, 3, 4]);
            // The next drain begins anew, after some were taken.
            send_rtp(&mut out, 96, 9, 5);
            out.drained(now, now);
            send_rtp(&mut out, 96, 7, 6);
            out.drained(now, now);
            assert_eq!(numbers(&mut out), [5, 6]);
        }
    }

    /// The engine gives them in hash order, which differs from process to process.
    #[test]
    fn keyframes_that_one_datagram_asks_for_are_told_in_the_order_of_their_lines() {
        let (mut rtc, now) = (Rtc::new(epoch()), epoch());
        let mids: [Mid; 3] = ["cam".into(), "screen".into(), "more".into()];
        let line = |mid| LineState {
            mid,
            kind: MediaKind::Video,
            sends: true,
            codecs: Vec::new(),
            heard: Codec::Vp8,
            tone: None,
            time_offset: 0,
            copies: false,
            copied_len: None,
        };
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0], [2, 1, 0]] {
            let mut out = output();
            out.lines = mids.iter().map(|mid| Some(line(*mid))).collect();
            for index in order {
                let (mid, kind) = (mids[index], KeyframeRequestKind::Pli);
                let request = KeyframeRequest { mid, rid: None, kind };
                out.event(Event::KeyframeRequest(request), &mut rtc);
            }
            out.drained(now, now);
            let told: Vec<_> = std::iter::from_fn(|| out.pop_event()).collect();
            assert_eq!(told, [0, 1, 2].map(TransportEvent::KeyframeRequest), "{order:?}");
        }
    }

    #[test]
    fn what_is_refused_for_want_of_room_is_told_once_and_in_order() {
        let mut rtc = Rtc::new(epoch());
        let now = epoch();
        let mut out = output();
        let api = &mut rtc.direct_api();
        for number in 0..2 {
            let id = api.create_data_channel(Default::default());
            out.channel_open(id, number.to_string());
        }
        for channel in [1, 0, 1] {
            out.wait_for_engine(ChannelId(channel));
        }
        out.low.append(&mut out.crowded);
        out.drained(now, now);
        let events: Vec<_> = std::iter::from_fn(|| out.pop_event()).skip(2).collect();
        let low = |number| TransportEvent::BufferedAmountLow(ChannelId(number));
        assert_eq!(events, [low(0), low(1)]);
    }
}
