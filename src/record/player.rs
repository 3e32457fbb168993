//! The seams while a session is replayed: what was recorded is given, and what the session does is
//! compared with what it did.
//!
//! The first step that differs is kept. From then on the session is on its own: it hears nothing
//! and is refused everything, until the call returns and the replay ends.

#[cfg(test)]
mod bounds;

use std::collections::VecDeque;
use std::fmt;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::coding::{Digest, append};
use super::entry::{
    Crossing, Heard, Meaning, Negotiation, Path, Value, Written, codec_of, refused,
};
use super::recorder::Wants;
use super::seams::{media_crossing, message_crossing, short, tone_crossing};
use super::tape::{lock, sized};
use super::{Detail, Keep, RECORD_LEN_MAX};
use crate::audio::codec::{AudioDecoder, AudioEncoder, Coder};
use crate::audio::voice::{self, VoiceDetector};
use crate::config::{AudioIn, AudioOut};
use crate::message::{PEER_LEFT, RENEGOTIATE};
use crate::session::messages::MESSAGE_LEN_MAX;
use crate::transport::{
    ChannelId, ChannelWritten, IceCredentials, Line, MediaPacket, MediaWrite, MediaWritten,
    Negotiated, Received, TonePacket, ToneWrite, Transport, TransportEvent,
};
use crate::{
    Answer, Datagram, LocalCandidate, NegotiateError, Offer, Transmit, TransportId, UdpCandidate,
};

/// Samples of the longest packet at 48 kHz (RFC 6716 section 3.2.5). A log that tells of more was
/// not written by a session, and must not decide how much memory a replay takes.
const PACKET_SAMPLES_MAX: u32 = 9_600;

/// A step that differs: what is in the log, and what the session did; `None` for nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mismatch {
    pub(crate) recorded: Option<Crossing>,
    pub(crate) replayed: Option<Crossing>,
}

/// What was recorded of the call that is replayed, and how far it has come.
pub(crate) struct Player {
    keep: Keep,
    at: Instant,
    steps: VecDeque<Crossing>,
    wants: Wants,
    path_out: Option<Path>,
    mismatch: Option<Mismatch>,
    crossings: u64,
    pub(super) decisions: Digest,
    pub(super) media: Digest,
    scratch: Vec<u8>,
}

impl Player {
    pub(super) fn new(keep: Keep, start: Instant) -> Player {
        Player {
            keep,
            at: start,
            steps: VecDeque::new(),
            wants: (false, None),
            path_out: None,
            mismatch: None,
            crossings: 0,
            decisions: Digest::START,
            media: Digest::START,
            scratch: Vec::new(),
        }
    }

    /// The next call, with the steps that it took.
    pub(super) fn load(&mut self, steps: VecDeque<Crossing>, at: Instant) {
        (self.steps, self.at) = (steps, at);
    }

    pub(super) fn mismatch(&self) -> Option<&Mismatch> {
        self.mismatch.as_ref()
    }

    /// Steps that were the same.
    pub(super) fn crossings(&self) -> u64 {
        self.crossings
    }

    /// The session returned from the call.
    pub(super) fn returned(&mut self, value: Value) {
        self.step(|_| (Crossing::Returned(value), ()));
    }

    /// What the session returned is compared with this.
    pub(super) fn front(&self) -> Option<&Crossing> {
        self.steps.front()
    }

    /// The step in front says nothing.
    pub(super) fn skip(&mut self) {
        self.steps.pop_front();
    }

    /// The session waits until then after the call.
    pub(super) fn deadline(&mut self, offset: Option<i64>) {
        self.step(|_| (Crossing::Deadline(offset), ()));
    }

    /// The call is over: nothing may be left.
    pub(super) fn finish(&mut self) {
        if let (None, Some(left)) = (&self.mismatch, self.steps.pop_front()) {
            self.mismatch = Some(Mismatch { recorded: Some(left), replayed: None });
        }
    }

    /// The session takes a step. `step` is given what is recorded and says what the session did,
    /// with the recorded result where it fits, and what to give it.
    fn step<T>(&mut self, step: impl FnOnce(Option<&Crossing>) -> (Crossing, T)) -> T {
        if self.mismatch.is_some() {
            return step(None).1;
        }
        let recorded = self.steps.front();
        let (replayed, result) = step(recorded);
        if recorded != Some(&replayed) {
            let recorded = recorded.cloned();
            self.mismatch = Some(Mismatch { recorded, replayed: Some(replayed) });
            return result;
        }
        if replayed.is_decision() {
            self.scratch.clear();
            append(&replayed, &mut self.scratch);
            self.decisions.fold(&self.scratch);
        }
        self.advance();
        result
    }

    /// The session takes a step of which the log alone knows the number: none where the log has
    /// another step.
    fn recall(&mut self, did: impl Fn(Option<u32>) -> Crossing) -> Option<u32> {
        self.step(|recorded| {
            let kind = discriminant(&did(None));
            let number = recorded.filter(|step| discriminant(*step) == kind).and_then(number);
            (did(number), number)
        })
    }

    /// Goes on behind the step in front, which was the same.
    fn advance(&mut self) {
        self.steps.pop_front();
        self.crossings += 1;
        if let Some(Crossing::Wants { has_transmit, deadline }) = self.steps.front() {
            self.wants = (*has_transmit, deadline.map(|offset| moved(self.at, offset)));
            self.steps.pop_front();
            self.crossings += 1;
        }
    }

    /// An event, if the next step is one.
    fn hear(&mut self) -> Option<Heard> {
        if self.mismatch.is_some() {
            return None;
        }
        let Some(Crossing::Heard(heard)) = self.steps.front() else { return None };
        let heard = heard.clone();
        self.advance();
        Some(heard)
    }

    /// A datagram, if the next step is one.
    fn transmit(&mut self) -> Option<Transmit> {
        if self.mismatch.is_some() {
            return None;
        }
        let Some(Crossing::Transmit { path, len }) = self.steps.front() else { return None };
        self.path_out = path.or(self.path_out);
        let (path, payload) = (self.path_out?, zeros(*len));
        self.advance();
        let Path { transport, source, destination } = path;
        Some(Transmit::udp(TransportId(transport), source, destination, payload))
    }

    fn digest_bytes(&mut self, bytes: &[u8]) -> Option<u32> {
        self.media.fold(bytes);
        Some(self.media.short())
    }

    pub(super) fn digest_samples(&mut self, samples: &[i16]) -> Option<u32> {
        self.media.fold_samples(samples);
        Some(self.media.short())
    }

    pub(super) fn digest_frame(&mut self, bytes: &[u8]) -> Option<u32> {
        (self.keep.media == Detail::Full).then(|| self.digest_bytes(bytes)).flatten()
    }
}

/// An instant before or after another one.
pub(super) fn moved(from: Instant, offset: i64) -> Instant {
    let distance = Duration::from_nanos(offset.unsigned_abs());
    let to = if offset < 0 { from.checked_sub(distance) } else { from.checked_add(distance) };
    to.unwrap_or(from)
}

/// Bytes without content, as many as there were.
fn zeros(len: Option<u32>) -> Bytes {
    Bytes::from(vec![0; bounded(len)])
}

/// A length of a log, as far as it can be true.
fn bounded(len: Option<u32>) -> usize {
    len.map_or(1, |len| usize::try_from(len).unwrap_or(usize::MAX).min(RECORD_LEN_MAX))
}

/// The number that a step of a coder has, as far as it can be true.
fn number(step: &Crossing) -> Option<u32> {
    match step {
        Crossing::Encoded { len, .. } | Crossing::SilenceEncoded { len } => *len,
        Crossing::Decoded { frames, .. }
        | Crossing::Repaired { frames, .. }
        | Crossing::Copied(frames) => Some((*frames).min(PACKET_SAMPLES_MAX)),
        Crossing::Duration(frames) => frames.filter(|frames| *frames <= PACKET_SAMPLES_MAX),
        _ => None,
    }
}

/// The transport of a session that is replayed.
pub(super) struct Played(Shared);

impl Played {
    pub(super) fn new(player: Arc<Mutex<Player>>) -> Played {
        Played(Shared(player))
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played")
    }
}

impl Transport for Played {
    fn add_local_candidate(&mut self, _: LocalCandidate, _: Instant) {
        self.0.lock().step(|_| (Crossing::LocalCandidate, ()));
    }

    fn add_remote_candidate(&mut self, _: &UdpCandidate, _: Instant) {
        self.0.lock().step(|_| (Crossing::RemoteCandidate, ()));
    }

    fn accept_offer(
        &mut self,
        _: &Offer,
        fresh: IceCredentials,
        _: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        self.0.lock().step(|recorded| {
            let outcome = match recorded {
                Some(Crossing::Offer { outcome, .. }) => outcome.clone(),
                _ => Err("Closed".to_owned()),
            };
            let result = outcome.clone().map(negotiated).map_err(|kind| refused(&kind));
            (Crossing::Offer { fresh: fresh.ufrag, outcome }, result)
        })
    }

    fn verifies(&self, _: &[u8]) -> bool {
        false
    }

    fn handle_datagram(&mut self, _: Datagram, _: Instant) -> Received {
        self.0.lock().step(|recorded| {
            let (authenticated, malformed) = match recorded {
                Some(Crossing::Datagram { authenticated, malformed }) => {
                    (*authenticated, *malformed)
                }
                _ => (false, false),
            };
            let did = Crossing::Datagram { authenticated, malformed };
            (did, Received { authenticated, malformed })
        })
    }

    fn handle_timeout(&mut self, _: Instant) {
        self.0.lock().step(|_| (Crossing::Timeout, ()));
    }

    fn write_media(&mut self, frame: &MediaWrite<'_>, _: Instant) -> MediaWritten {
        let mut player = self.0.lock();
        let detail = player.keep.media;
        player.step(|recorded| {
            let result = match recorded {
                Some(Crossing::Media { written, .. }) => *written,
                _ => Written::Gone,
            };
            let mut did = media_crossing(frame, detail, result);
            // Without its content, how loud it was and how long its code is the log knows alone.
            if let (
                Crossing::Media { level, len, .. },
                Some(Crossing::Media { level: loud, len: long, .. }),
            ) = (&mut did, recorded)
                && detail != Detail::Full
            {
                (*level, *len) = (*loud, *long);
            }
            (did, media_written(result))
        })
    }

    fn write_tone(&mut self, tone: &ToneWrite, _: Instant) -> MediaWritten {
        let mut player = self.0.lock();
        let keep = player.keep;
        player.step(|recorded| {
            let result = match recorded {
                Some(Crossing::Tone { written, .. }) => *written,
                _ => Written::Gone,
            };
            (tone_crossing(tone, keep, result), media_written(result))
        })
    }

    fn request_keyframe(&mut self, line: Line, _: Instant) {
        self.0.lock().step(|_| (Crossing::Keyframe { line }, ()));
    }

    fn write_channel(
        &mut self,
        channel: ChannelId,
        binary: bool,
        data: &[u8],
        _: Instant,
    ) -> ChannelWritten {
        let mut player = self.0.lock();
        let keep = player.keep;
        player.step(|recorded| {
            let written = match recorded {
                Some(Crossing::Message { written, .. }) => *written,
                _ => Written::Gone,
            };
            let written = match written {
                Written::Taken => ChannelWritten::Taken,
                Written::Full => ChannelWritten::Full,
                Written::TooLarge(limit) => ChannelWritten::TooLarge(size(limit)),
                Written::Gone => ChannelWritten::Gone,
            };
            (message_crossing(channel, binary, data, keep, written), written)
        })
    }

    fn buffered_amount(&mut self, channel: ChannelId) -> usize {
        self.0.lock().step(|recorded| {
            let amount = match recorded {
                Some(Crossing::Buffered { amount, .. }) => *amount,
                _ => 0,
            };
            (Crossing::Buffered { channel: channel.0, amount }, size(amount))
        })
    }

    fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, threshold: usize) {
        let did = Crossing::Threshold { channel: channel.0, threshold: threshold as u64 };
        self.0.lock().step(|_| (did, ()));
    }

    fn close(&mut self, _: Instant) {
        self.0.lock().step(|_| (Crossing::Goodbye, ()));
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        let heard = self.0.lock().hear()?;
        Some(event(heard))
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.lock().transmit()
    }

    fn has_transmit(&self) -> bool {
        self.0.lock().wants.0
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.lock().wants.1
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn negotiated(negotiation: Negotiation) -> Negotiated {
    let Negotiation { answer, ufrag, lines, message_max } = negotiation;
    Negotiated {
        answer: Answer::new(answer),
        credentials: IceCredentials { ufrag, pwd: "not recorded".to_owned() },
        lines: lines.into_iter().map(Into::into).collect(),
        message_max: size(message_max),
    }
}

fn event(heard: Heard) -> TransportEvent {
    match heard {
        Heard::IceConnected => TransportEvent::IceConnected,
        Heard::IceDisconnected => TransportEvent::IceDisconnected,
        Heard::Connected => TransportEvent::Connected,
        Heard::Media {
            line,
            codec,
            seq,
            rtp_time,
            ssrc,
            contiguous,
            keyframe,
            repaired,
            level,
            len,
            data,
        } => TransportEvent::Media(MediaPacket {
            line,
            codec: codec_of(codec),
            seq,
            rtp_time,
            ssrc,
            contiguous,
            keyframe,
            repaired,
            level,
            data: if data.is_empty() { vec![0; bounded(len)].into() } else { data.into() },
        }),
        Heard::KeyframeRequest(line) => TransportEvent::KeyframeRequest(line),
        Heard::ChannelOpen { channel, label } => {
            TransportEvent::ChannelOpen(ChannelId(channel), label)
        }
        Heard::Message { channel, binary, len, meaning, data } => {
            let binary = binary.unwrap_or(false);
            let data = if data.is_empty() { stand_in(binary, size(len), meaning) } else { data };
            TransportEvent::ChannelData(ChannelId(channel), binary, data)
        }
        Heard::ChannelClose(channel) => TransportEvent::ChannelClose(ChannelId(channel)),
        Heard::BufferedAmountLow(channel) => TransportEvent::BufferedAmountLow(ChannelId(channel)),
        Heard::Stats(stats) => TransportEvent::Stats(stats),
        Heard::PeerReport { line, packets } => TransportEvent::PeerReport { line, packets },
        Heard::Tone { line, seq, rtp_time, ssrc, rate, code, is_first, is_end, ticks } => {
            let packet =
                TonePacket { line, seq, rtp_time, ssrc, rate, code, is_first, is_end, ticks };
            TransportEvent::Tone(packet)
        }
        Heard::HungUp => TransportEvent::HungUp,
        Heard::Refused(why) => TransportEvent::Refused(why),
        Heard::Fault(fault) => TransportEvent::Fault(fault),
    }
}

fn media_written(written: Written) -> MediaWritten {
    match written {
        Written::Taken => MediaWritten::Taken,
        Written::Full => MediaWritten::Dropped,
        Written::TooLarge(limit) => MediaWritten::TooLarge(size(limit)),
        Written::Gone => MediaWritten::NotReady,
    }
}

/// A message that means the same and, where that counts, is as long.
fn stand_in(binary: bool, len: usize, meaning: Meaning) -> Vec<u8> {
    let len = len.min(MESSAGE_LEN_MAX + 1);
    match meaning {
        Meaning::Ping => b"ping".to_vec(),
        Meaning::TrackStatus { receiver_index, enabled } => format!(
            r#"{{"type":"signalling","message":{{"type":"trackStatus","receiver_index":{receiver_index},"enabled":{enabled}}}}}"#
        )
        .into_bytes(),
        Meaning::PeerLeft => PEER_LEFT.as_bytes().to_vec(),
        Meaning::Renegotiate => RENEGOTIATE.as_bytes().to_vec(),
        Meaning::Noise => br#"{"type":"signalling","message":0}"#.to_vec(),
        Meaning::Application | Meaning::Unread => vec![if binary { 0 } else { b'x' }; len],
    }
}

/// The encoder of a session that is replayed: the real one where content was kept.
#[derive(Debug)]
pub(super) struct PlayedEncoder {
    inner: Option<Box<dyn AudioEncoder>>,
    player: Shared,
}

impl PlayedEncoder {
    pub(super) fn new(
        coder: impl Into<Coder>,
        config: AudioOut,
        player: Arc<Mutex<Player>>,
    ) -> Self {
        let is_full = lock(&player).keep.media == Detail::Full;
        let inner = is_full.then(|| coder.into().encoder(config));
        PlayedEncoder { inner, player: Shared(player) }
    }
}

impl PlayedEncoder {
    /// A packet that is not coded from sound.
    fn write(&mut self, packet: &mut Vec<u8>, real: impl Fn(&mut dyn AudioEncoder, &mut Vec<u8>)) {
        let mut player = self.player.lock();
        if let Some(inner) = &mut self.inner {
            real(&mut **inner, packet);
            let len = sized(Detail::Full, packet.len());
            player.step(|_| (Crossing::SilenceEncoded { len }, ()));
            return;
        }
        let len = player.recall(|len| Crossing::SilenceEncoded { len });
        packet.clear();
        packet.resize(bounded(len), 0);
    }
}

impl AudioEncoder for PlayedEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        let mut player = self.player.lock();
        let count = short(samples.len());
        if let Some(inner) = &mut self.inner {
            inner.encode(samples, packet);
            let len = sized(Detail::Full, packet.len());
            let digest = player.digest_bytes(packet);
            player.step(|_| (Crossing::Encoded { samples: count, len, digest }, ()));
            return;
        }
        let len = player.recall(|len| Crossing::Encoded { samples: count, len, digest: None });
        packet.clear();
        packet.resize(bounded(len), 0);
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        self.write(packet, |encoder, packet| encoder.silence(packet));
    }

    fn pause(&mut self, packet: &mut Vec<u8>) {
        self.write(packet, |encoder, packet| encoder.pause(packet));
    }

    fn set_loss(&mut self, percent: u8) {
        if let Some(inner) = &mut self.inner {
            inner.set_loss(percent);
        }
        self.player.lock().step(|_| (Crossing::LossExpected { percent }, ()));
    }
}

/// The decoder of a session that is replayed.
#[derive(Debug)]
pub(super) struct PlayedDecoder {
    inner: Option<Box<dyn AudioDecoder>>,
    channels: usize,
    player: Shared,
}

impl PlayedDecoder {
    pub(super) fn new(
        coder: impl Into<Coder>,
        config: AudioIn,
        player: Arc<Mutex<Player>>,
    ) -> Self {
        let is_full = lock(&player).keep.media == Detail::Full;
        let inner = is_full.then(|| coder.into().decoder(config));
        PlayedDecoder { inner, channels: usize::from(config.channels), player: Shared(player) }
    }
}

impl PlayedDecoder {
    /// Sound of a packet.
    fn append(
        &mut self,
        samples: &mut Vec<i16>,
        real: impl Fn(&mut dyn AudioDecoder, &mut Vec<i16>) -> usize,
        did: impl Fn(u32, Option<u32>) -> Crossing,
    ) -> usize {
        let mut player = self.player.lock();
        if let Some(inner) = &mut self.inner {
            let start = samples.len();
            let frames = real(&mut **inner, samples);
            let digest = player.digest_samples(&samples[start..]);
            player.step(|_| (did(short(frames), digest), ()));
            return frames;
        }
        let frames = player.recall(|frames| did(frames.unwrap_or_default(), None));
        let frames = frames.unwrap_or_default() as usize;
        samples.resize(samples.len() + frames * self.channels, 0);
        frames
    }
}

impl AudioDecoder for PlayedDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let did = |frames, digest| Crossing::Decoded { frames, digest };
        self.append(samples, |decoder, samples| decoder.decode(packet, samples), did)
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        let mut player = self.player.lock();
        let start = samples.len();
        let mut digest = None;
        match &mut self.inner {
            Some(inner) => {
                inner.conceal(frames, samples);
                digest = player.digest_samples(&samples[start..]);
            }
            None => samples.resize(start + frames * self.channels, 0),
        }
        player.step(|_| (Crossing::Concealed { frames: short(frames), digest }, ()));
    }

    fn copied(&self, packet: &[u8]) -> usize {
        let mut player = self.player.lock();
        if let Some(inner) = &self.inner {
            let copied = inner.copied(packet);
            player.step(|_| (Crossing::Copied(short(copied)), ()));
            return copied;
        }
        let copied = player.recall(|copied| Crossing::Copied(copied.unwrap_or_default()));
        copied.unwrap_or_default() as usize
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let did = |frames, digest| Crossing::Repaired { frames, digest };
        self.append(samples, |decoder, samples| decoder.repair(packet, samples), did)
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        let mut player = self.player.lock();
        if let Some(inner) = &self.inner {
            let duration = inner.duration(packet);
            player.step(|_| (Crossing::Duration(duration.map(short)), ()));
            return duration;
        }
        player.recall(Crossing::Duration).map(|frames| frames as usize)
    }

    fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
        self.player.lock().step(|_| (Crossing::DecoderReset, ()));
    }
}

/// The detector of voices of a session that is replayed: where sound was kept, that of this build,
/// if it has one.
#[derive(Debug)]
pub(super) struct PlayedDetector {
    inner: Option<Box<dyn VoiceDetector>>,
    player: Shared,
}

impl PlayedDetector {
    pub(super) fn new(player: Arc<Mutex<Player>>) -> Self {
        let is_full = lock(&player).keep.media == Detail::Full;
        let inner = if is_full { voice::detector() } else { None };
        PlayedDetector { inner, player: Shared(player) }
    }
}

impl VoiceDetector for PlayedDetector {
    fn score(&mut self, frame: &[i16]) -> u8 {
        let score = self.inner.as_mut().map(|inner| inner.score(frame));
        self.player.lock().step(|recorded| {
            let recorded = match recorded {
                Some(Crossing::VoiceScored { score }) => *score,
                _ => 0,
            };
            let score = score.unwrap_or(recorded);
            (Crossing::VoiceScored { score }, score)
        })
    }

    fn reset(&mut self) {
        if let Some(inner) = &mut self.inner {
            inner.reset();
        }
        self.player.lock().step(|_| (Crossing::DetectorReset, ()));
    }
}

/// A shared player that says nothing of itself.
struct Shared(Arc<Mutex<Player>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Player> {
        lock(&self.0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Player")
    }
}
