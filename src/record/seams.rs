//! The seams while a session is recorded: each call goes through and is noted with what it gave.

#[cfg(test)]
mod bounds;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::entry::{Crossing, Heard, Meaning, Negotiation, Written, codec_number, nanos, refusal};
use super::mask::mask;
use super::recorder::Recorder;
use super::tape::{kept_label, lock, sized};
use super::{Detail, Keep};
use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::dtmf::digit;
use crate::audio::voice::VoiceDetector;
use crate::message::{Inbound, classify};
use crate::offer::LineKind;
use crate::session::messages::MESSAGE_LEN_MAX;
use crate::transport::{
    ChannelId, ChannelWritten, IceCredentials, Line, MediaPacket, MediaWrite, MediaWritten,
    Negotiated, Received, TonePacket, ToneWrite, Transport, TransportEvent,
};
use crate::{Datagram, LocalCandidate, NegotiateError, Offer, Transmit, UdpCandidate};

/// Bytes of a fault's text that are kept: enough to know it by.
const FAULT_LEN_MAX: usize = 256;

/// A transport that is listened to.
pub(super) struct Tapped {
    inner: Box<dyn Transport>,
    recorder: Arc<Mutex<Recorder>>,
}

impl Tapped {
    pub(super) fn new(inner: Box<dyn Transport>, recorder: Arc<Mutex<Recorder>>) -> Tapped {
        Tapped { inner, recorder }
    }

    /// Notes a call that may have changed what the transport wants.
    fn note(&self, crossing: Crossing) {
        self.note_with(|_| crossing);
    }

    fn note_with(&self, crossing: impl FnOnce(&mut Recorder) -> Crossing) {
        let mut recorder = lock(&self.recorder);
        let crossing = crossing(&mut recorder);
        recorder.cross(&crossing);
        recorder.wants((self.inner.has_transmit(), self.inner.poll_timeout()));
    }
}

impl fmt::Debug for Tapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Transport for Tapped {
    fn add_local_candidate(&mut self, candidate: LocalCandidate, now: Instant) {
        self.inner.add_local_candidate(candidate, now);
        self.note(Crossing::LocalCandidate);
    }

    fn add_remote_candidate(&mut self, candidate: &UdpCandidate, now: Instant) {
        self.inner.add_remote_candidate(candidate, now);
        self.note(Crossing::RemoteCandidate);
    }

    fn accept_offer(
        &mut self,
        offer: &Offer,
        fresh: IceCredentials,
        now: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        let ufrag = fresh.ufrag.clone();
        let outcome = self.inner.accept_offer(offer, fresh, now);
        let noted = match &outcome {
            Ok(negotiated) => Ok(negotiation(negotiated)),
            Err(error) => Err(refusal(error).to_owned()),
        };
        if outcome.is_ok() {
            let mut lines = offer.media().iter();
            let first = lines.position(|line| line.kind == LineKind::Audio);
            lock(&self.recorder).microphone = first.and_then(|line| Line::try_from(line).ok());
        }
        self.note(Crossing::Offer { fresh: ufrag, outcome: noted });
        outcome
    }

    fn verifies(&self, payload: &[u8]) -> bool {
        self.inner.verifies(payload)
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) -> Received {
        let received = self.inner.handle_datagram(datagram, now);
        let Received { authenticated, malformed } = received;
        self.note(Crossing::Datagram { authenticated, malformed });
        received
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.inner.handle_timeout(now);
        self.note(Crossing::Timeout);
    }

    fn write_media(&mut self, frame: &MediaWrite<'_>, now: Instant) -> MediaWritten {
        let written = self.inner.write_media(frame, now);
        self.note_with(|recorder| media_crossing(frame, recorder.keep().media, written.into()));
        written
    }

    fn write_tone(&mut self, tone: &ToneWrite, now: Instant) -> MediaWritten {
        let written = self.inner.write_tone(tone, now);
        self.note_with(|recorder| tone_crossing(tone, recorder.keep(), written.into()));
        written
    }

    fn request_keyframe(&mut self, line: Line, now: Instant) {
        self.inner.request_keyframe(line, now);
        self.note(Crossing::Keyframe { line });
    }

    fn write_channel(
        &mut self,
        channel: ChannelId,
        binary: bool,
        data: &[u8],
        now: Instant,
    ) -> ChannelWritten {
        let written = self.inner.write_channel(channel, binary, data, now);
        self.note_with(|recorder| {
            message_crossing(channel, binary, data, recorder.keep(), written)
        });
        written
    }

    fn buffered_amount(&mut self, channel: ChannelId) -> usize {
        let amount = self.inner.buffered_amount(channel);
        self.note(Crossing::Buffered { channel: channel.0, amount: amount as u64 });
        amount
    }

    fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, threshold: usize) {
        self.inner.set_buffered_amount_low_threshold(channel, threshold);
        self.note(Crossing::Threshold { channel: channel.0, threshold: threshold as u64 });
    }

    fn close(&mut self, now: Instant) {
        self.inner.close(now);
        self.note(Crossing::Goodbye);
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        let event = self.inner.poll_event()?;
        self.note_with(|recorder| {
            Crossing::Heard(heard(&event, recorder.keep(), recorder.microphone))
        });
        Some(event)
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.inner.poll_transmit()?;
        self.note_with(|recorder| {
            let len = sized(recorder.keep().media, transmit.payload.len());
            Crossing::Transmit { path: recorder.path_out(&transmit), len }
        });
        Some(transmit)
    }

    fn has_transmit(&self) -> bool {
        self.inner.has_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.inner.poll_timeout()
    }
}

/// A frame that the session sends.
pub(super) fn media_crossing(frame: &MediaWrite<'_>, detail: Detail, written: Written) -> Crossing {
    let level = frame.level.filter(|_| detail != Detail::None);
    Crossing::Media {
        line: frame.line,
        codec: codec_number(frame.codec),
        rtp_time: frame.rtp_time,
        talkspurt: frame.talkspurt,
        voice: frame.voice,
        level,
        redundant: frame.redundant,
        len: sized(detail, frame.data.len()),
        written,
    }
}

/// A key of a telephone that the session sends.
pub(super) fn tone_crossing(tone: &ToneWrite, keep: Keep, written: Written) -> Crossing {
    let &ToneWrite { line, code, rtp_time, duration } = tone;
    let code = (keep.media == Detail::Full).then_some(code);
    Crossing::Tone { line, code, rtp_time, duration: nanos(duration), written }
}

/// A packet of the peer's keys. Which of the keys it was decides nothing that the session does.
fn heard_tone(packet: &TonePacket, keep: Keep) -> Heard {
    let TonePacket { line, seq, rtp_time, ssrc, rate, code, is_first, is_end, ticks } = *packet;
    let is_kept = keep.media == Detail::Full || digit(code).is_none();
    let code = if is_kept { code } else { 0 };
    Heard::Tone { line, seq, rtp_time, ssrc, rate, code, is_first, is_end, ticks }
}

/// A message that the session sends.
pub(super) fn message_crossing(
    channel: ChannelId,
    binary: bool,
    data: &[u8],
    keep: Keep,
    written: ChannelWritten,
) -> Crossing {
    Crossing::Message {
        channel: channel.0,
        binary: keep.binary(binary),
        len: data.len() as u64,
        digest: keep.message_digest(data),
        written: match written {
            ChannelWritten::Taken => Written::Taken,
            ChannelWritten::Full => Written::Full,
            ChannelWritten::TooLarge(limit) => Written::TooLarge(limit as u64),
            ChannelWritten::Gone => Written::Gone,
        },
    }
}

fn negotiation(negotiated: &Negotiated) -> Negotiation {
    Negotiation {
        answer: mask(negotiated.answer.sdp()),
        ufrag: negotiated.credentials.ufrag.clone(),
        lines: negotiated.lines.iter().map(|line| (*line).into()).collect(),
        message_max: negotiated.message_max as u64,
    }
}

fn heard(event: &TransportEvent, keep: Keep, microphone: Option<u8>) -> Heard {
    match event {
        TransportEvent::IceConnected => Heard::IceConnected,
        TransportEvent::IceDisconnected => Heard::IceDisconnected,
        TransportEvent::Connected => Heard::Connected,
        TransportEvent::Media(packet) => heard_media(packet, keep, microphone),
        TransportEvent::Tone(packet) => heard_tone(packet, keep),
        TransportEvent::KeyframeRequest(line) => Heard::KeyframeRequest(*line),
        TransportEvent::ChannelOpen(channel, label) => {
            Heard::ChannelOpen { channel: channel.0, label: kept_label(label, keep) }
        }
        TransportEvent::ChannelData(channel, binary, data) => Heard::Message {
            channel: channel.0,
            binary: keep.binary(*binary),
            len: data.len() as u64,
            meaning: meaning(*binary, data),
            data: keep.message(data),
        },
        TransportEvent::ChannelClose(channel) => Heard::ChannelClose(channel.0),
        TransportEvent::BufferedAmountLow(channel) => Heard::BufferedAmountLow(channel.0),
        TransportEvent::Stats(stats) => Heard::Stats(*stats),
        TransportEvent::PeerReport { line, packets } => {
            Heard::PeerReport { line: *line, packets: *packets }
        }
        TransportEvent::HungUp => Heard::HungUp,
        TransportEvent::Refused(why) => Heard::Refused(why.chars().take(FAULT_LEN_MAX).collect()),
        TransportEvent::Fault(fault) => Heard::Fault(fault.chars().take(FAULT_LEN_MAX).collect()),
    }
}

fn heard_media(packet: &MediaPacket, keep: Keep, microphone: Option<u8>) -> Heard {
    // What is queued as it came counts towards a limit in bytes; what is decoded does not.
    let is_counted = microphone != Some(packet.line);
    let detail = if is_counted { Detail::Sizes } else { keep.media };
    Heard::Media {
        line: packet.line,
        codec: codec_number(packet.codec),
        seq: packet.seq,
        rtp_time: packet.rtp_time,
        ssrc: packet.ssrc,
        contiguous: packet.contiguous,
        keyframe: packet.keyframe,
        repaired: packet.repaired,
        level: packet.level.filter(|_| keep.media != Detail::None),
        len: sized(detail, packet.data.len()),
        data: keep.media(&packet.data),
    }
}

fn meaning(binary: bool, data: &[u8]) -> Meaning {
    if data.is_empty() || data.len() > MESSAGE_LEN_MAX {
        return Meaning::Unread;
    }
    match classify(binary, data.to_vec()) {
        Inbound::Ping => Meaning::Ping,
        Inbound::TrackStatus { receiver_index, enabled } => {
            Meaning::TrackStatus { receiver_index, enabled }
        }
        Inbound::PeerLeft => Meaning::PeerLeft,
        Inbound::Renegotiate => Meaning::Renegotiate,
        Inbound::Noise => Meaning::Noise,
        Inbound::Application(_) => Meaning::Application,
    }
}

/// The length of what was coded, where it is kept. That it is nothing is kept always: nothing is
/// sent then.
fn coded_len(detail: Detail, packet: &[u8]) -> Option<u32> {
    if packet.is_empty() { Some(0) } else { sized(detail, packet.len()) }
}

/// An encoder that is listened to.
#[derive(Debug)]
pub(super) struct TappedEncoder {
    inner: Box<dyn AudioEncoder>,
    recorder: Shared,
}

impl TappedEncoder {
    pub(super) fn new(inner: Box<dyn AudioEncoder>, recorder: Arc<Mutex<Recorder>>) -> Self {
        TappedEncoder { inner, recorder: Shared(recorder) }
    }

    /// A packet was written that is not coded from sound.
    fn uncoded(&self, packet: &[u8]) {
        let mut recorder = self.recorder.lock();
        let len = coded_len(recorder.keep().media, packet);
        recorder.cross(&Crossing::SilenceEncoded { len });
    }
}

impl AudioEncoder for TappedEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        self.inner.encode(samples, packet);
        let mut recorder = self.recorder.lock();
        let len = coded_len(recorder.keep().media, packet);
        let digest = recorder.digest_bytes(packet);
        let samples = u32::try_from(samples.len()).unwrap_or(u32::MAX);
        recorder.cross(&Crossing::Encoded { samples, len, digest });
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        self.inner.silence(packet);
        self.uncoded(packet);
    }

    fn pause(&mut self, packet: &mut Vec<u8>) {
        self.inner.pause(packet);
        self.uncoded(packet);
    }

    fn set_loss(&mut self, percent: u8) {
        self.inner.set_loss(percent);
        self.recorder.lock().cross(&Crossing::LossExpected { percent });
    }
}

/// A decoder that is listened to.
#[derive(Debug)]
pub(super) struct TappedDecoder {
    inner: Box<dyn AudioDecoder>,
    recorder: Shared,
}

impl TappedDecoder {
    pub(super) fn new(inner: Box<dyn AudioDecoder>, recorder: Arc<Mutex<Recorder>>) -> Self {
        TappedDecoder { inner, recorder: Shared(recorder) }
    }
}

impl AudioDecoder for TappedDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let start = samples.len();
        let frames = self.inner.decode(packet, samples);
        let mut recorder = self.recorder.lock();
        let digest = recorder.digest_samples(&samples[start..]);
        recorder.cross(&Crossing::Decoded { frames: short(frames), digest });
        frames
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        let start = samples.len();
        self.inner.conceal(frames, samples);
        let mut recorder = self.recorder.lock();
        let digest = recorder.digest_samples(&samples[start..]);
        recorder.cross(&Crossing::Concealed { frames: short(frames), digest });
    }

    fn copied(&self, packet: &[u8]) -> usize {
        let copied = self.inner.copied(packet);
        self.recorder.lock().cross(&Crossing::Copied(short(copied)));
        copied
    }

    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let start = samples.len();
        let frames = self.inner.repair(packet, samples);
        let mut recorder = self.recorder.lock();
        let digest = recorder.digest_samples(&samples[start..]);
        recorder.cross(&Crossing::Repaired { frames: short(frames), digest });
        frames
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        let duration = self.inner.duration(packet);
        self.recorder.lock().cross(&Crossing::Duration(duration.map(short)));
        duration
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.recorder.lock().cross(&Crossing::DecoderReset);
    }
}

/// A detector of voices that is listened to.
#[derive(Debug)]
pub(super) struct TappedDetector {
    inner: Box<dyn VoiceDetector>,
    recorder: Shared,
}

impl TappedDetector {
    pub(super) fn new(inner: Box<dyn VoiceDetector>, recorder: Arc<Mutex<Recorder>>) -> Self {
        TappedDetector { inner, recorder: Shared(recorder) }
    }
}

impl VoiceDetector for TappedDetector {
    fn score(&mut self, frame: &[i16]) -> u8 {
        let score = self.inner.score(frame);
        self.recorder.lock().cross(&Crossing::VoiceScored { score });
        score
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.recorder.lock().cross(&Crossing::DetectorReset);
    }
}

/// A shared recorder that says nothing of itself.
struct Shared(Arc<Mutex<Recorder>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Recorder> {
        lock(&self.0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

/// A number of samples; a packet has at most 9600.
pub(super) fn short(frames: usize) -> u32 {
    u32::try_from(frames).unwrap_or(u32::MAX)
}
