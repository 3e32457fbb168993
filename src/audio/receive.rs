//! Packets in, sound out: its own order, waiting and gaps. Time never shrinks.
//!
//! What is given out lasts as long as the media that the peer's RTP times tell of, to the sample,
//! whatever is lost. Nothing is delayed on a clean stream: a packet that follows the one before is
//! decoded as it comes.
//!
//! What becomes of a packet:
//! - Next in sequence, or next in time: decoded at once.
//! - Next in sequence, later in time: a pause that the peer did not send (DTX). Silence, no wait.
//! - Ahead in sequence and time: held for those that are missing, as long as the network's own
//!   reordering makes it worth ([`reorder`]) and at most as long as the configuration allows. Then
//!   these are given up. Of a gap the end is decoded from the copy that the packet after it holds,
//!   if it does (in-band FEC); what is before that is concealed for at most 100 ms, then silent.
//! - After one that is missing of which it holds a copy, where nothing was overtaken lately: the
//!   copy is used and nothing waits.
//! - Taken before: counted as duplicate. Given up before, or of a stream that just ended: late.
//! - No sound, but a number of the stream (a key of a telephone): it is not missing. The time in
//!   which such packets take the place of sound is a pause.
//! - The copy of a missing one that stood in another packet (RED): as if it had come, but repaired.
//!   Of one that is not missing: nothing.
//! - Cannot be read: its time is filled like that of a missing one.
//! - More than 10 s ahead in time: the peer's clock was set anew; nothing is filled, media time
//!   goes on. Next in sequence, but earlier in time: the same, as if it followed.
//! - Of another SSRC, or far off in sequence and followed by its successor (RFC 3550 A.1): a new
//!   stream. The decoder forgets, media time goes on.
//! - Of another codec (its payload type changed): what is missing before it is concealed by the
//!   decoder before, and its own begins anew. Where the clock of its RTP times is another one, its
//!   time is what the packets before it lasted ([`clock`]).
//!
//! Time is counted in 48ths of a millisecond, whatever the codec: the clock of Opus, and six ticks
//! for one of the others.
//!
//! What nobody reads for 2 s is discarded, and what comes after it is not even decoded, until
//! somebody reads again: its time passes all the same. Where speech is looked for ([`Voice`]) it is
//! decoded either way.
//!
//! Media time never waits for a packet that may not come: a gap's length is known only when the
//! packet after it has come. There is no playout clock here.

#[cfg(test)]
mod bounds;
mod clock;
mod lane;
mod reorder;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::audio::codec::AudioDecoder;
use crate::audio::pcm::Pcm;
use crate::audio::receive::clock::Clock;
use crate::audio::receive::lane::Lane;
use crate::audio::receive::reorder::Reordering;
use crate::audio::resample::per_channel;
use crate::audio::voice::{Speech, Voice, VoiceActivity, VoiceDetector};
use crate::config::AudioIn;
use crate::time::earlier;
use crate::{AudioInfo, AudioOrigin, Codec};

/// How long packets of a stream that just ended are stragglers and do not bring it back. 60 ms:
/// the default of the longest wait for a packet that was overtaken.
const STRAGGLER_MAX: Duration = Duration::from_millis(60);

/// How many packets are held behind a gap. 32: 60 ms of the shortest packets (2.5 ms), and a third
/// more; 640 ms of the usual ones, more than the longest wait that can be configured. 48 KB at the
/// largest datagram.
const HELD_MAX: usize = 32;

/// How much of a gap is concealed, at 48 kHz. 100 ms: longer concealment is a drone that was never
/// said (libopus itself has faded to nothing by then).
const CONCEAL_MAX: u64 = 4_800;

/// The longest gap that is filled, at 48 kHz. 10 s: longer than a call survives an outage without
/// being told of it, and far below the steps of a clock that was set anew.
const FILL_MAX: u64 = 480_000;

/// How much sound comes, at 48 kHz, before nobody is taken to read it. 2 s: Pipecat's idle discard
/// (`SmallWebRTCTrack`). Decoding is most of what a call costs.
const UNREAD_MAX: u64 = 96_000;

/// The longest packet, at 48 kHz. 200 ms: what RFC 3551 section 4.2 asks receivers to take; Opus
/// has 120 ms at most.
const PACKET_MAX: u64 = 9_600;

/// How far a packet may be ahead or behind in sequence before it is doubted (RFC 3550 A.1:
/// MAX_DROPOUT and MAX_MISORDER).
const DROPOUT_MAX: u64 = 3_000;
const MISORDER_MAX: u64 = 100;

/// What a receiver counted. Samples are per channel at 48 kHz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveCounters {
    /// Packets that came, all of them.
    pub(crate) packets: u64,
    /// Packets that came twice, or after their time was given out, or that could not be read.
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    /// How often a stream began anew or its clock jumped.
    pub(crate) restarts: u64,
    /// Samples that were decoded from a copy in another packet.
    pub(crate) repaired_samples: u64,
    pub(crate) concealed_samples: u64,
    pub(crate) silence_samples: u64,
    /// Samples that were dropped because nobody read them.
    pub(crate) dropped_samples: u64,
}

/// Where a stream stands.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// The sequence number and the time that follow what was given out.
    next_seq: u64,
    next_time: u64,
    clock: Clock,
    /// Which packets before `next_seq` came: bit n for `next_seq - 1 - n`.
    came: u128,
    /// Whether the last packet in sequence could not be read: what follows is a loss, no pause.
    is_broken: bool,
    /// The sequence number that would prove that a doubted packet was right.
    doubted: Option<u64>,
}

impl Stream {
    fn new(ssrc: u32, seq: u64, rtp_time: u64, codec: Codec) -> Stream {
        Stream {
            ssrc,
            next_seq: seq,
            next_time: rtp_time,
            clock: Clock::new(codec, seq, rtp_time),
            came: 0,
            is_broken: false,
            doubted: None,
        }
    }

    /// Notes that `seq`, at or after `next_seq`, was given out.
    fn advance(&mut self, seq: u64) {
        let step = (seq - self.next_seq).saturating_add(1);
        let shift = u32::try_from(step).unwrap_or(u32::MAX);
        self.came = self.came.checked_shl(shift).unwrap_or_default() | 1;
        self.next_seq = seq.saturating_add(1);
    }

    /// Whether `seq`, before `next_seq`, came already; it has come now.
    fn came_before(&mut self, seq: u64) -> bool {
        let back = self.next_seq - 1 - seq;
        let bit = u32::try_from(back).ok().and_then(|back| 1u128.checked_shl(back));
        let before = self.came & bit.unwrap_or_default() != 0;
        self.came |= bit.unwrap_or_default();
        before
    }

    /// Whether `seq` is too far off to be believed at once. A second packet that follows it is.
    fn doubts(&self, seq: u64) -> bool {
        seq > self.next_seq.saturating_add(DROPOUT_MAX)
            || seq.saturating_add(MISORDER_MAX) < self.next_seq
    }
}

/// What a packet is besides its bytes.
#[derive(Clone, Copy, Debug)]
struct Packet {
    seq: u64,
    /// At 48 kHz.
    rtp_time: u64,
    codec: Codec,
    origin: Origin,
    /// How loud its sender says it is (RFC 6464).
    level: Option<(u8, bool)>,
}

/// A packet that waits for those before it. Without bytes: it came, and could not be read.
#[derive(Debug)]
struct Held {
    packet: Packet,
    /// When what is missing before it is given up.
    due: Instant,
    data: Vec<u8>,
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Itself,
    /// As a copy in another one.
    Copy,
    /// Itself, and it is no sound.
    Other,
}

/// Sound in: packets in, samples out.
#[derive(Debug)]
pub(crate) struct AudioReceiver {
    /// One for each codec that came, and the place of the one that is heard.
    lanes: Vec<Lane>,
    heard: usize,
    /// How the next packet is coded.
    arriving: Codec,
    channels: usize,
    rate: u32,
    pcm: Pcm,
    /// Finds speech in what is given out, if that is asked for.
    voice: Option<Voice>,
    stream: Option<Stream>,
    /// The stream before this one, and when it ended.
    ended: Option<(u32, Instant)>,
    reordering: Reordering,
    /// In order of sequence numbers; all of them lie behind a gap.
    held: VecDeque<Held>,
    /// Buffers of packets that were held.
    spare: Vec<Vec<u8>>,
    /// How long the sound is that was given out, at 48 kHz and in samples at the reader's rate.
    given: u64,
    emitted: u64,
    /// How much sound came since somebody read or there was nothing to read, at 48 kHz.
    unread: u64,
    /// Nobody reads: nothing is decoded.
    is_idle: bool,
    /// Scratch: samples at the decoder's rate and at the reader's.
    decoded: Vec<i16>,
    resampled: Vec<i16>,
    counters: ReceiveCounters,
}

impl AudioReceiver {
    #[cfg(test)]
    pub(crate) fn new(config: AudioIn, codec: crate::audio::codec::AudioCodec) -> AudioReceiver {
        AudioReceiver::with_decoder(config, Codec::Opus, codec.decoder(config))
    }

    /// Begins with this codec.
    pub(crate) fn with_decoder(
        config: AudioIn,
        codec: Codec,
        decoder: Box<dyn AudioDecoder>,
    ) -> AudioReceiver {
        AudioReceiver {
            lanes: vec![Lane::new(codec, decoder, config)],
            heard: 0,
            arriving: codec,
            channels: usize::from(config.channels),
            rate: config.rate,
            pcm: Pcm::new(config.rate, config.channels, config.frame),
            voice: None,
            stream: None,
            ended: None,
            reordering: Reordering::new(config.reorder_wait),
            held: VecDeque::new(),
            spare: Vec::new(),
            given: 0,
            emitted: 0,
            unread: 0,
            is_idle: false,
            decoded: Vec::new(),
            resampled: Vec::new(),
            counters: ReceiveCounters::default(),
        }
    }

    /// Whether packets of this codec can be decoded.
    pub(crate) fn knows(&self, codec: Codec) -> bool {
        self.lanes.iter().any(|lane| lane.codec == codec)
    }

    /// Adds the decoder of another codec; to be called once for each.
    pub(crate) fn add(&mut self, codec: Codec, config: AudioIn, decoder: Box<dyn AudioDecoder>) {
        debug_assert!(!self.knows(codec), "one decoder for each codec");
        self.lanes.push(Lane::new(codec, decoder, config));
    }

    /// The packets that are taken from now on are coded like this, which is known.
    pub(crate) fn switch(&mut self, codec: Codec) {
        debug_assert!(self.knows(codec), "its decoder was added before");
        self.arriving = codec;
    }

    /// Finds speech from now on.
    pub(crate) fn find_speech(
        &mut self,
        activity: VoiceActivity,
        detector: Box<dyn VoiceDetector>,
    ) {
        let form = (self.rate, self.channels as u8);
        self.voice = Some(Voice::new(activity, detector, form));
    }

    /// When somebody began or ended to speak, oldest first. To be called until `None` after each
    /// call that takes something.
    pub(crate) fn poll_speech(&mut self) -> Option<Speech> {
        self.voice.as_mut()?.poll_found()
    }

    /// The track or the call ends, and with it whatever is said.
    pub(crate) fn end_speech(&mut self) {
        if let Some(voice) = &mut self.voice {
            voice.end();
        }
    }

    /// Sound came, or was given up.
    fn note_sound(&mut self, now: Instant) {
        if let Some(voice) = &mut self.voice {
            voice.packet(now);
        }
    }

    /// Takes a packet whose sender does not say how loud it is.
    #[cfg(test)]
    pub(crate) fn handle_packet(
        &mut self,
        seq: u64,
        rtp_time: u64,
        ssrc: u32,
        data: &[u8],
        now: Instant,
    ) {
        self.handle_leveled((seq, rtp_time), ssrc, data, None, now);
    }

    /// Takes a packet: its sequence number and RTP time, both extended over wraps, the time at
    /// 48 kHz, and how loud its sender says it is (RFC 6464).
    pub(crate) fn handle_leveled(
        &mut self,
        (seq, rtp_time): (u64, u64),
        ssrc: u32,
        data: &[u8],
        level: Option<(u8, bool)>,
        now: Instant,
    ) {
        self.counters.packets += 1;
        if self.admit(seq, rtp_time, ssrc, now) {
            let origin = Origin::Itself;
            let packet = Packet { seq, rtp_time, codec: self.arriving, origin, level };
            self.take(packet, data, now);
        }
        self.note_sound(now);
    }

    /// Takes the copy of a packet that stood in another one (RED). It fills a gap or is nothing.
    pub(crate) fn handle_copy(
        &mut self,
        seq: u64,
        rtp_time: u64,
        ssrc: u32,
        data: &[u8],
        now: Instant,
    ) {
        let is_missing = self.stream.as_ref().is_some_and(|stream| {
            stream.ssrc == ssrc && seq >= stream.next_seq && !stream.doubts(seq)
        });
        if is_missing && self.held.iter().all(|held| held.packet.seq != seq) {
            let codec = self.arriving;
            let packet = Packet { seq, rtp_time, codec, origin: Origin::Copy, level: None };
            self.take(packet, data, now);
        }
        self.note_sound(now);
    }

    /// Takes a packet of the stream that is no sound. It begins none, and is not counted.
    pub(crate) fn handle_other(&mut self, seq: u64, ssrc: u32, now: Instant) {
        let is_new = self.stream.as_ref().is_some_and(|stream| {
            stream.ssrc == ssrc && seq >= stream.next_seq && !stream.doubts(seq)
        });
        if !is_new || self.held.iter().any(|held| held.packet.seq == seq) {
            return;
        }
        self.reordering.came(seq, now);
        let (codec, origin) = (self.arriving, Origin::Other);
        let packet = Packet { seq, rtp_time: 0, codec, origin, level: None };
        if self.stream.as_ref().is_some_and(|stream| stream.next_seq == seq) {
            self.play(packet, &[]);
            self.release();
        } else {
            let due = now + self.reordering.wait(now);
            self.hold(Held { packet, due, data: Vec::new() }, &[]);
            self.handle_timeout(now);
        }
        self.note_sound(now);
    }

    /// How long a packet is, at 48 kHz; `None` for one that cannot be read.
    fn duration(&self, codec: Codec, data: &[u8]) -> Option<u64> {
        let lane = self.lanes.iter().find(|lane| lane.codec == codec)?;
        let duration = lane.decoder.duration(data)? as u64 * lane.ticks;
        (1..=PACKET_MAX).contains(&duration).then_some(duration)
    }

    /// Takes a packet of the stream that has not come before.
    fn take(&mut self, packet: Packet, data: &[u8], now: Instant) {
        let duration = self.duration(packet.codec, data);
        let stream = self.stream.as_mut().expect("a packet was admitted to it");
        let Packet { codec, seq, rtp_time, .. } = packet;
        let rtp_time = stream.clock.time(codec, seq, rtp_time, duration.unwrap_or_default());
        let packet = Packet { rtp_time, ..packet };
        let data = if duration.is_some() {
            data
        } else {
            self.counters.malformed += 1;
            if packet.origin == Origin::Copy {
                return;
            }
            &[]
        };
        let stream = self.stream.as_ref().expect("a packet was admitted to it");
        let is_next = seq == stream.next_seq || (rtp_time == stream.next_time && !data.is_empty());
        if is_next {
            self.play(packet, data);
            self.release();
        } else {
            let due = now + self.wait(seq, rtp_time, data, now);
            self.hold(Held { packet, due, data: Vec::new() }, data);
            self.handle_timeout(now);
        }
    }

    /// When [`AudioReceiver::handle_timeout`] has something to do.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let speech = self.voice.as_ref().and_then(Voice::poll_timeout);
        earlier(self.held_due(), speech)
    }

    /// When what is missing is given up.
    fn held_due(&self) -> Option<Instant> {
        self.held.iter().map(|held| held.due).min()
    }

    /// Gives up what was waited for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while self.held_due().is_some_and(|deadline| deadline <= now) {
            self.give_up();
            self.note_sound(now);
        }
        if let Some(voice) = &mut self.voice {
            voice.handle_timeout(now);
        }
    }

    /// Moves a frame to `samples`, interleaved, or sound of one origin, as the configuration says;
    /// `None` when there is none, or no room for a sample of each channel.
    pub(crate) fn recv(&mut self, samples: &mut [i16]) -> Option<AudioInfo> {
        let info = self.pcm.read(samples)?;
        self.unread = 0;
        Some(info)
    }

    /// Whether nothing is decoded, because nobody reads. [`AudioReceiver::wake`] ends it.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Somebody reads again: what comes from now on is decoded.
    pub(crate) fn wake(&mut self) {
        (self.is_idle, self.unread) = (false, 0);
        self.lanes[self.heard].decoder.reset();
    }

    /// Counts sound that is about to be given out, and finds out that nobody reads it.
    fn count_unread(&mut self, duration: u64) {
        if !self.pcm.is_readable() {
            self.unread = 0;
        }
        self.unread += duration;
        self.is_idle |= self.unread > UNREAD_MAX && self.voice.is_none();
    }

    /// Lets time pass that nobody hears.
    fn pass(&mut self, len: u64) {
        self.zeros(len);
        self.pcm.discard();
    }

    /// Whether [`AudioReceiver::recv`] has something to give.
    #[must_use]
    pub(crate) fn is_readable(&self) -> bool {
        self.pcm.is_readable()
    }

    pub(crate) fn counters(&self) -> ReceiveCounters {
        let dropped = self.pcm.dropped() * 48_000 / u64::from(self.rate);
        ReceiveCounters { dropped_samples: dropped, ..self.counters }
    }

    /// Decides whether a packet is new, and begins a stream where it shows one.
    fn admit(&mut self, seq: u64, rtp_time: u64, ssrc: u32, now: Instant) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) else {
            let is_late = self.ended.is_some_and(|(ended, at)| {
                ended == ssrc && now.saturating_duration_since(at) < STRAGGLER_MAX
            });
            if is_late {
                self.counters.late += 1;
                return false;
            }
            self.begin(seq, rtp_time, ssrc, now);
            return true;
        };
        if stream.doubts(seq) {
            if stream.doubted == Some(seq) {
                self.begin(seq, rtp_time, ssrc, now);
                return true;
            }
            stream.doubted = Some(seq.saturating_add(1));
            self.counters.late += 1;
            return false;
        }
        if seq < stream.next_seq {
            if stream.came_before(seq) {
                self.counters.duplicates += 1;
            } else {
                self.counters.late += 1;
                self.reordering.came(seq, now);
            }
            return false;
        }
        if self.held.iter().any(|held| held.packet.seq == seq) {
            self.counters.duplicates += 1;
            return false;
        }
        self.reordering.came(seq, now);
        true
    }

    /// Begins a stream; what was held of the one before is given out first.
    fn begin(&mut self, seq: u64, rtp_time: u64, ssrc: u32, now: Instant) {
        while !self.held.is_empty() {
            self.give_up();
        }
        self.reordering.restart();
        self.reordering.came(seq, now);
        let stream = Stream::new(ssrc, seq, rtp_time, self.arriving);
        if let Some(stream) = self.stream.replace(stream) {
            if stream.ssrc != ssrc {
                self.ended = Some((stream.ssrc, now));
            }
            self.lanes[self.heard].decoder.reset();
            self.counters.restarts += 1;
            if let Some(voice) = &mut self.voice {
                voice.restart();
            }
        }
    }

    /// How long what is missing before a packet that came early is waited for.
    fn wait(&self, seq: u64, rtp_time: u64, data: &[u8], now: Instant) -> Duration {
        let stream = self.stream.as_ref().expect("a packet was admitted to it");
        let is_one_missing = seq.checked_sub(stream.next_seq) == Some(1);
        let is_calm = is_one_missing && self.reordering.seen(now).is_zero() && !self.is_idle;
        if is_calm && !data.is_empty() {
            let copied = self.copied(self.arriving, data);
            if copied > 0 && rtp_time.checked_sub(stream.next_time) == Some(copied) {
                return Duration::ZERO;
            }
        }
        self.reordering.wait(now)
    }

    /// Keeps a packet until those before it have come.
    fn hold(&mut self, mut held: Held, data: &[u8]) {
        if self.held.len() == HELD_MAX {
            self.give_up();
        }
        held.data = self.spare.pop().unwrap_or_default();
        held.data.extend_from_slice(data);
        let at = self.held.partition_point(|other| other.packet.seq < held.packet.seq);
        self.held.insert(at, held);
        self.release();
    }

    /// Gives the packets out that nothing is missing before.
    fn release(&mut self) {
        while let (Some(held), Some(stream)) = (self.held.front(), &self.stream) {
            let is_next = held.packet.seq <= stream.next_seq
                || (held.packet.rtp_time == stream.next_time && !held.data.is_empty());
            if !is_next {
                return;
            }
            self.play_held();
        }
    }

    /// Gives the first held packet out, whatever is missing before it, and those that follow.
    fn give_up(&mut self) {
        self.play_held();
        self.release();
    }

    /// Gives the first held packet out, or drops it when one that came later in sequence but next
    /// in time took its place.
    fn play_held(&mut self) {
        let Some(mut held) = self.held.pop_front() else { return };
        if self.stream.as_ref().is_some_and(|stream| held.packet.seq < stream.next_seq) {
            self.counters.late += 1;
        } else {
            self.play(held.packet, &held.data);
        }
        held.data.clear();
        self.spare.push(held.data);
    }

    /// Gives a packet out, after what fills the time before it.
    fn play(&mut self, packet: Packet, data: &[u8]) {
        let Packet { seq, rtp_time, codec, origin, .. } = packet;
        let stream = self.stream.as_mut().expect("packets are played in a stream");
        let is_pause = seq == stream.next_seq && !stream.is_broken;
        let next_time = stream.next_time;
        stream.advance(seq);
        stream.doubted = None;
        stream.is_broken = data.is_empty() && (origin != Origin::Other || !is_pause);
        if data.is_empty() {
            // Its time may be as wrong as the rest of it: the next packet tells.
            return;
        }
        if rtp_time > next_time {
            let gap = rtp_time - next_time;
            if gap > FILL_MAX {
                self.lanes[self.heard].decoder.reset();
                self.counters.restarts += 1;
            } else {
                self.fill(gap, if is_pause { None } else { Some((codec, data)) });
            }
        } else if rtp_time < next_time {
            self.counters.restarts += 1;
        }
        self.hear(codec);
        let duration = self.decode(packet, data);
        let stream = self.stream.as_mut().expect("packets are played in a stream");
        stream.next_time = rtp_time.saturating_add(duration);
    }

    /// What is decoded from now on is coded like this.
    fn hear(&mut self, codec: Codec) {
        if self.lanes[self.heard].codec == codec {
            return;
        }
        let known = self.lanes.iter().position(|lane| lane.codec == codec);
        self.heard = known.expect("packets of unknown codecs are not taken");
        self.lanes[self.heard].begin(self.given, self.emitted, self.rate);
    }

    /// How much of the time before a packet it holds a copy of, at 48 kHz: none after a change of
    /// codec, because a decoder that begins has nothing that the copy goes on from.
    fn copied(&self, codec: Codec, packet: &[u8]) -> u64 {
        let lane = &self.lanes[self.heard];
        if lane.codec == codec { lane.decoder.copied(packet) as u64 * lane.ticks } else { 0 }
    }

    /// Gives a packet's samples out, as many as it says it holds.
    fn decode(&mut self, packet: Packet, data: &[u8]) -> u64 {
        let lane = &self.lanes[self.heard];
        // It was read when it came; a log that is replayed may tell otherwise.
        let duration = self.duration(lane.codec, data).unwrap_or_default();
        self.count_unread(duration);
        if self.is_idle {
            self.pass(duration);
            return duration;
        }
        let lane = &mut self.lanes[self.heard];
        let frames = lane.samples(duration) as usize;
        self.decoded.clear();
        let decoded = lane.decoder.decode(data, &mut self.decoded).min(frames);
        let (decoded, frames) = (decoded as u64 * lane.ticks, frames as u64 * lane.ticks);
        let origin = if packet.origin == Origin::Copy {
            AudioOrigin::Repaired
        } else {
            AudioOrigin::Decoded
        };
        self.emit_leveled(decoded, origin, packet.level);
        self.counters.repaired_samples += if packet.origin == Origin::Copy { decoded } else { 0 };
        self.conceal(frames - decoded);
        duration
    }

    /// Fills the time before a packet: a gap, which `after` ends, or a pause.
    fn fill(&mut self, len: u64, after: Option<(Codec, &[u8])>) {
        if self.is_idle {
            return self.pass(len);
        }
        let Some((codec, after)) = after else { return self.silence(len) };
        let copied = self.copied(codec, after);
        let copied = if copied > len { 0 } else { copied };
        let concealed = (len - copied).min(CONCEAL_MAX);
        self.conceal(concealed);
        self.silence(len - copied - concealed);
        self.repair(after, copied);
    }

    /// Gives out what a packet holds of the sound before it: `len` samples.
    fn repair(&mut self, packet: &[u8], len: u64) {
        if len == 0 {
            return;
        }
        let lane = &mut self.lanes[self.heard];
        self.decoded.clear();
        let repaired = lane.decoder.repair(packet, &mut self.decoded) as u64 * lane.ticks;
        let repaired = repaired.min(len);
        self.emit(repaired, AudioOrigin::Repaired);
        self.counters.repaired_samples += repaired;
        self.conceal(len - repaired);
    }

    fn conceal(&mut self, len: u64) {
        if len == 0 {
            return;
        }
        let lane = &mut self.lanes[self.heard];
        self.decoded.clear();
        lane.decoder.conceal(lane.frames(self.given, len), &mut self.decoded);
        self.emit(len, AudioOrigin::Concealed);
        self.counters.concealed_samples += len;
    }

    fn silence(&mut self, len: u64) {
        self.zeros(len);
        self.counters.silence_samples += len;
    }

    /// Zeros: until the resampler gives nothing else as samples, then as a number.
    fn zeros(&mut self, len: u64) {
        let lane = &self.lanes[self.heard];
        let stored = len.min(lane.resampler.settle() * lane.ticks);
        self.decoded.clear();
        self.emit(stored, AudioOrigin::Silence);
        if len > stored {
            let lane = &mut self.lanes[self.heard];
            let frames = lane.frames(self.given, len - stored) as u64;
            let zeros = lane.resampler.skip_zeros(frames);
            self.given += len - stored;
            self.emitted += zeros;
            self.pcm.push_silence(zeros);
            if let Some(voice) = &mut self.voice {
                voice.hear_silence(zeros);
            }
        }
    }

    fn emit(&mut self, len: u64, origin: AudioOrigin) {
        self.emit_leveled(len, origin, None);
    }

    /// Brings the decoded samples, which last `len`, to the reader's rate and queues them. A
    /// decoder that gave fewer or more than it said changes no time.
    fn emit_leveled(&mut self, len: u64, origin: AudioOrigin, level: Option<(u8, bool)>) {
        let lane = &mut self.lanes[self.heard];
        self.decoded.resize(lane.frames(self.given, len) * self.channels, 0);
        self.given += len;
        let samples = if lane.resampler.passes_through() {
            &self.decoded
        } else {
            self.resampled.clear();
            lane.resampler.process(&self.decoded, &mut self.resampled);
            &self.resampled
        };
        self.emitted += per_channel(samples.len(), self.channels) as u64;
        self.pcm.push_leveled(samples, origin, level);
        if let Some(voice) = &mut self.voice {
            voice.hear(samples);
        }
    }
}
