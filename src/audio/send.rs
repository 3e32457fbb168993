//! The pacing clock: sound out, one packet each packet time.
//!
//! Deadlines are absolute. They count from the first packet on, never from construction, and a
//! packet that is made late does not move the next deadline: over any time the clock keeps its
//! pace. RTP time is a function of the deadline alone (48 kHz since the first packet), so silence
//! that was not sent and time that was lost show in it as they should.
//!
//! - At [`AudioSender::start`], when silence is sent (`Silence`, `Dtx`) or sound is queued, the
//!   first deadline is now.
//! - Late by less than a packet time: a packet for its deadline; the grid stays.
//! - Late by a packet time or more: the clock slips by whole packet times, to the first point of
//!   its grid that is not past. That point's packet leaves at once; the next one packet time after
//!   the point, so from one packet time to two after this one. Nothing is dropped, nothing is sent
//!   twice as fast, RTP time misses whole packets only.
//! - Sound ends: zeros for 100 ms; then silent packets go on (`Silence`). Or one of silence, and
//!   one that says that a pause begins; then another one that says so goes out every 400 ms
//!   (`Dtx`), or none (`Nothing`).
//! - Sound comes in such a pause: due now, or one packet time after the last packet.
//! - At [`AudioSender::stop`]: no deadline. What is queued stays.
//!
//! Whether the queue is spoken is another matter than whether the clock runs:
//!
//! | state | what is spoken | ends with |
//! | --- | --- | --- |
//! | speaking | the queue | [`AudioSender::hold`]: the next 5 ms of sound are faded out |
//! | held | that fade, then silence as in any pause; the queue stays and takes more | [`AudioSender::release`] |
//! | released | the queue, its first 5 ms faded in where it goes on from a fade | the next packet with sound |
//!
//! What is faded is sound that goes out: it counts as sent, once, when it is cut for the fade. So
//! a pause takes nothing from a piece and says nothing twice. [`AudioSender::clear`] fades in the
//! same way, while speaking; while held there is nothing to fade.
//!
//! A clock keeps its grid through a slip for the sake of others: all calls of a process stall
//! together, and clocks that began anew at the moment of waking would tick together ever after,
//! each packet late by all those in front of it. The packet at waking does not wait for its point,
//! or a driver that is late each time would never send.
//!
//! The zeros after sound are coded: they carry what the encoder's lookahead holds (6.5 ms) and
//! bring both ends to rest. Silence after that costs no coding.
//!
//! How a listener of libwebrtc's kind (NetEq) hears a pause:
//!
//! | idle | packets | hears | counts as concealed |
//! | --- | --- | --- | --- |
//! | `Silence` | each packet time | zeros | nothing |
//! | `Dtx` | the word of a pause, and again every 400 ms | what its decoder makes of silence | nothing: it knows that a pause has begun |
//! | `Nothing` | the word of a pause, once | the same | nothing |
//!
//! Sound after a pause has the marker bit; in `Silence` there is none but after a slip.

use std::time::{Duration, Instant};

use crate::audio::codec::AudioEncoder;
use crate::audio::level::{LEVEL_SILENCE, level};
use crate::audio::loss::LossEstimate;
use crate::audio::progress::Progress;
use crate::audio::queue::{Queue, Told};
use crate::config::{AudioIdle, AudioOut};
use crate::transport::Line;
use crate::{AudioCleared, AudioFrame, AudioId, AudioProgress, Redundancy, SendError};

/// Between two packets of silence in a pause: RFC 7587 section 3.1.3, what libopus does.
const DTX_INTERVAL: Duration = Duration::from_millis(400);

/// How many 10 ms of zeros are coded after sound, whatever is sent in the pause. 100 ms: with fewer
/// than 60 ms a decoder that changes from speech to silence conceals the change with an echo of
/// the speech (RFC 6716 section 4.5; 1150 of 12000 was measured after 20 ms).
const SETTLE_CHUNKS: u32 = 10;

/// Packets between the zeros and a pause: one of silence, so that what the listener makes up in the
/// pause is silent, and one that says that a pause begins, or it takes what does not come for lost.
const FAREWELLS: u32 = 2;

/// How long the fade of [`AudioSender::clear`] takes: long enough that nothing clicks, too short
/// for a syllable.
const FADE_MS: u32 = 5;

/// One packet for the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioPacket<'a> {
    /// The coded sound.
    pub(crate) data: &'a [u8],
    /// At 48 kHz, since the first packet.
    pub(crate) rtp_time: u64,
    /// Time was left out before it: sets the marker bit (RFC 3551 section 4.1).
    pub(crate) talkspurt: bool,
    /// It holds sound of a piece.
    pub(crate) is_sound: bool,
    /// -dBov from 0, the loudest, to 127 (RFC 6464), if the peer takes levels: nobody else is
    /// measured for.
    pub(crate) level: Option<u8>,
    /// It is to take a copy of the packet before along (RED, RFC 2198).
    pub(crate) redundant: bool,
}

/// What a sender counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendCounters {
    /// Packets made, silent ones included.
    pub(crate) packets: u64,
    /// How often the clock was late by a packet time or more, and by how much it slipped in all:
    /// whole packet times.
    pub(crate) slips: u64,
    pub(crate) slipped: Duration,
}

/// Sound out: pieces in, packets out.
#[derive(Debug)]
pub(crate) struct AudioSender {
    config: AudioOut,
    encoder: Box<dyn AudioEncoder>,
    queue: Queue,
    progress: Progress,
    loss: LossEstimate,
    /// Whether the peer makes use of what repairs lost packets.
    repairs: bool,
    /// Whether the peer takes packets with copies.
    takes_copies: bool,
    /// Whether the peer takes levels of packets.
    takes_levels: bool,
    /// What the encoder was told last, in percent.
    told_loss: u8,
    running: bool,
    /// When the next packet is due.
    deadline: Option<Instant>,
    /// The first packet's deadline: RTP time zero.
    epoch: Option<Instant>,
    /// The last packet's deadline.
    last: Option<Instant>,
    /// Whether time was left out before the next packet.
    gap: bool,
    /// How many silent packets are still to follow the sound: those coded from zeros, and what
    /// says that a pause begins.
    settling: u32,
    /// How many packets [`SETTLE_CHUNKS`] are.
    zeros: u32,
    /// The first part of the next packet, faded out, after a clear or when the queue is held.
    fade: Vec<i16>,
    is_held: bool,
    /// The queue goes on from where it was faded out.
    fades_in: bool,
    /// Scratch: the next packet's samples and bytes.
    samples: Vec<i16>,
    coded: Vec<u8>,
    counters: SendCounters,
}

impl AudioSender {
    #[cfg(test)]
    pub(crate) fn new(config: AudioOut, codec: crate::audio::codec::AudioCodec) -> AudioSender {
        AudioSender::with_encoder(config, codec.encoder(config))
    }

    pub(crate) fn with_encoder(config: AudioOut, encoder: Box<dyn AudioEncoder>) -> AudioSender {
        AudioSender {
            config,
            encoder,
            queue: Queue::new(config),
            progress: Progress::new(config.packet_time.duration()),
            loss: LossEstimate::default(),
            repairs: false,
            takes_copies: false,
            takes_levels: false,
            told_loss: 0,
            running: false,
            deadline: None,
            epoch: None,
            last: None,
            gap: false,
            settling: 0,
            zeros: SETTLE_CHUNKS.div_ceil(config.packet_time.chunks() as u32),
            fade: Vec::new(),
            is_held: false,
            fades_in: false,
            samples: Vec::new(),
            coded: Vec::new(),
            counters: SendCounters::default(),
        }
    }

    /// What is made from now on is coded by another encoder, which takes the same sound. What is
    /// queued stays, and so do ids and the clock.
    pub(crate) fn set_encoder(&mut self, encoder: Box<dyn AudioEncoder>, idle: AudioIdle) {
        (self.encoder, self.config.idle) = (encoder, idle);
        if self.told_loss > 0 {
            self.encoder.set_loss(self.told_loss);
        }
    }

    /// Packets can be sent from now on. Does nothing when it was called before.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.running {
            return;
        }
        self.running = true;
        if self.config.idle != AudioIdle::Nothing || self.has_sound() {
            self.resume(now);
        }
    }

    /// Packets cannot be sent any longer. What is queued stays.
    pub(crate) fn stop(&mut self) {
        self.running = false;
        self.deadline = None;
    }

    /// Takes a piece of sound, whole or not at all; before [`AudioSender::start`] too.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] when more than 60 s or 8192 pieces would wait: `wait` is the time
    /// until there is room, `None` while the clock does not run or the queue is held.
    /// [`SendError::Empty`], [`SendError::Unsupported`]: the piece's form, or its length past 60 s.
    pub(crate) fn send(
        &mut self,
        frame: AudioFrame<'_>,
        now: Instant,
    ) -> Result<AudioId, SendError> {
        let id = self.queue.push(frame).map_err(|error| self.waiting(error, now))?;
        if !self.is_held {
            self.speak(now);
        }
        Ok(id)
    }

    /// Forgets all queued sound: no new sound is in any packet from now on. When sound is being
    /// spoken that would go on, its next 5 ms go out faded, and count as sent.
    pub(crate) fn clear(&mut self) -> AudioCleared {
        self.fades_in = false;
        let before = self.fade.len();
        let cleared = self.queue.clear(self.fade_frames(), &mut self.fade);
        fade(self.fade[before..].chunks_exact_mut(usize::from(self.config.channels)));
        cleared.pieces.iter().for_each(|piece| self.progress.ended(piece.id, piece.sent));
        cleared
    }

    /// Holds the queue back: no new sound is in any packet until [`AudioSender::release`]. When
    /// sound is being spoken that would go on, its next 5 ms go out faded, and count as sent. Does
    /// nothing when it is held.
    pub(crate) fn hold(&mut self) {
        if std::mem::replace(&mut self.is_held, true) {
            return;
        }
        let before = self.fade.len();
        self.fades_in |= self.queue.cut_fade(self.fade_frames(), &mut self.fade);
        fade(self.fade[before..].chunks_exact_mut(usize::from(self.config.channels)));
        if self.config.idle == AudioIdle::Nothing && !self.has_sound() && self.settling == 0 {
            // What it was set for is not to be said.
            self.deadline = None;
        }
    }

    /// Speaks on where [`AudioSender::hold`] stopped. Does nothing when nothing is held.
    pub(crate) fn release(&mut self, now: Instant) {
        if std::mem::replace(&mut self.is_held, false) && self.has_sound() {
            self.speak(now);
        }
    }

    /// Sends no more, and forgets all queued sound. There is no packet left to fade in, so what
    /// was not cut yet counts as dropped.
    pub(crate) fn abandon(&mut self) -> AudioCleared {
        self.stop();
        self.fade.clear();
        self.fades_in = false;
        let cleared = self.queue.clear(0, &mut self.fade);
        cleared.pieces.iter().for_each(|piece| self.progress.ended(piece.id, piece.sent));
        cleared
    }

    /// Whether the peer makes use of in-band FEC. Without it none is coded.
    pub(crate) fn set_repairs(&mut self, repairs: bool) {
        self.repairs = repairs;
        self.tell_loss();
    }

    /// Whether the peer takes packets that hold a copy of the one before. Without it none does.
    pub(crate) fn set_takes_copies(&mut self, takes_copies: bool) {
        self.takes_copies = takes_copies;
    }

    /// Whether the peer takes the level of each packet. Without it none is measured.
    pub(crate) fn set_takes_levels(&mut self, takes_levels: bool) {
        self.takes_levels = takes_levels;
    }

    /// The peer reports what fraction of the packets it missed, 0 to 1.
    pub(crate) fn report_loss(&mut self, fraction: f32) {
        self.loss.report(fraction);
        self.tell_loss();
    }

    fn tell_loss(&mut self) {
        let percent = if self.repairs { self.loss.percent() } else { 0 };
        if std::mem::replace(&mut self.told_loss, percent) != percent {
            self.encoder.set_loss(percent);
        }
    }

    /// The RTP time of now, for what goes out beside the sound: not before the last packet's.
    pub(crate) fn time_at(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        let at = self.last.map_or(now, |last| last.max(now));
        rtp_time(at.saturating_duration_since(epoch))
    }

    /// When [`AudioSender::handle_timeout`] has something to do.
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Makes the packet that is due. Called again until it gives `None`; there is at most one
    /// packet for each deadline.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<AudioPacket<'_>> {
        let mut due = self.deadline.filter(|&deadline| deadline <= now)?;
        let packet_time = self.config.packet_time.duration();
        if due + packet_time <= now {
            let point = first_point(due, packet_time, now);
            self.counters.slips += 1;
            self.counters.slipped += point.saturating_duration_since(due);
            self.gap = true;
            due = point;
        }
        let epoch = *self.epoch.get_or_insert(due);
        let (is_sound, level) = self.fill();
        let talkspurt = self.gap && (is_sound || self.config.idle == AudioIdle::Silence);
        self.gap &= !talkspurt;
        self.counters.packets += 1;
        self.last = Some(due);
        self.deadline = self.pause().map(|pause| due + pause);
        let rtp_time = rtp_time(due.saturating_duration_since(epoch));
        let redundant = self.takes_copies
            && match self.config.redundancy {
                Redundancy::Off => false,
                Redundancy::ByLoss => self.loss.percent() > 0,
                Redundancy::Always => true,
            };
        Some(AudioPacket { data: &self.coded, rtp_time, talkspurt, is_sound, level, redundant })
    }

    /// A piece whose first or last sample was handed out with the packet before. To be called until
    /// `None` after each [`AudioSender::handle_timeout`], and before [`AudioSender::abandon`].
    pub(crate) fn poll_told(&mut self) -> Option<Told> {
        let told = self.queue.poll_told()?;
        if let Told::Ended(id, samples) = told {
            self.progress.ended(id, samples);
        }
        Some(told)
    }

    /// What [`AudioSender::handle_timeout`] gave went to a line; whether the transport took it.
    pub(crate) fn written(&mut self, line: Line, is_taken: bool, now: Instant) {
        self.progress.packet((line, is_taken), self.queue.place(), now);
    }

    /// The peer reports on the first `packets` that the transport took for a line.
    pub(crate) fn report(&mut self, line: Line, packets: u64) {
        self.progress.report(line, packets);
    }

    pub(crate) fn set_round_trip(&mut self, trip: Duration, now: Instant) {
        self.progress.set_round_trip(trip, now);
    }

    /// How far a piece has come; `None` when it was never taken or ended too long ago.
    pub(crate) fn progress(&self, id: AudioId, now: Instant) -> Option<AudioProgress> {
        let sent = self.queue.sent(id).or_else(|| self.progress.past(id, now))?;
        Some(self.progress.of(id, sent, now))
    }

    /// Says of cleared pieces how far they have come.
    pub(crate) fn judge(&self, cleared: &mut AudioCleared, now: Instant) {
        for piece in &mut cleared.pieces {
            let progress = self.progress.of(piece.id, piece.sent, now);
            piece.confirmed = progress.confirmed;
            piece.played_estimate = progress.played_estimate;
        }
    }

    pub(crate) fn counters(&self) -> SendCounters {
        self.counters
    }

    /// The samples that the last packet was coded from.
    #[cfg(test)]
    pub(super) fn coded_samples(&self) -> &[i16] {
        &self.samples
    }

    /// What the encoder expects, in percent.
    #[cfg(test)]
    pub(crate) fn told_loss(&self) -> u8 {
        self.told_loss
    }

    fn has_sound(&self) -> bool {
        !self.fade.is_empty() || !self.is_held && !self.queue.is_empty()
    }

    fn fade_frames(&self) -> usize {
        (self.config.rate / 1_000 * FADE_MS) as usize
    }

    /// There is sound: the next packet must not wait for the end of a pause.
    fn speak(&mut self, now: Instant) {
        let rests = self.deadline.is_none_or(|deadline| {
            deadline.saturating_duration_since(now) > self.config.packet_time.duration()
        });
        if self.running && rests {
            self.resume(now);
        }
    }

    /// Sets the next deadline as near as the last packet allows.
    fn resume(&mut self, now: Instant) {
        let earliest = self.last.map(|last| last + self.config.packet_time.duration());
        let deadline = earliest.map_or(now, |earliest| earliest.max(now));
        self.gap |= earliest != Some(deadline);
        self.deadline = Some(deadline);
    }

    /// Codes the next packet into `coded`. Gives whether it holds sound, and its level if that is
    /// wanted.
    fn fill(&mut self) -> (bool, Option<u8>) {
        let channels = usize::from(self.config.channels);
        let frames = self.config.rate as usize / 100 * self.config.packet_time.chunks();
        self.samples.clear();
        let is_sound = if !self.fade.is_empty() {
            let most = self.fade.len().min(frames * channels);
            self.samples.extend(self.fade.drain(..most));
            self.samples.resize(frames * channels, 0);
            true
        } else if self.is_held {
            self.samples.resize(frames * channels, 0);
            false
        } else {
            let is_sound = self.queue.cut(frames, &mut self.samples);
            if is_sound && std::mem::take(&mut self.fades_in) {
                let within = self.fade_frames() * channels;
                fade(self.samples[..within].chunks_exact_mut(channels).rev());
            }
            is_sound
        };
        if is_sound {
            self.settling = self.zeros + self.farewells();
        } else if self.settling <= self.farewells() {
            if self.farewells() > 0 && self.settling < FAREWELLS {
                self.encoder.pause(&mut self.coded);
            } else {
                self.encoder.silence(&mut self.coded);
            }
            self.settling = self.settling.saturating_sub(1);
            return (false, self.takes_levels.then_some(LEVEL_SILENCE));
        } else {
            self.settling -= 1;
        }
        self.encoder.encode(&self.samples, &mut self.coded);
        (is_sound, self.takes_levels.then(|| level(&self.samples)))
    }

    /// How many packets follow the zeros before a pause that is not sent.
    fn farewells(&self) -> u32 {
        if self.config.idle == AudioIdle::Silence { 0 } else { FAREWELLS }
    }

    /// The time from the packet just made to the next one.
    fn pause(&self) -> Option<Duration> {
        if self.has_sound() || self.settling > 0 {
            return Some(self.config.packet_time.duration());
        }
        match self.config.idle {
            AudioIdle::Silence => Some(self.config.packet_time.duration()),
            AudioIdle::Dtx => Some(DTX_INTERVAL),
            AudioIdle::Nothing => None,
        }
    }

    /// Turns the sound that has to go out first into the time until that has happened.
    fn waiting(&self, error: SendError, now: Instant) -> SendError {
        let SendError::QueueFull { limit, wait } = error else { return error };
        let wait = self.deadline.filter(|_| !self.is_held).zip(wait).map(|(deadline, sound)| {
            let packet_time = self.config.packet_time.duration();
            let packets = sound.as_nanos().div_ceil(packet_time.as_nanos()).max(1) as u32;
            deadline.saturating_duration_since(now) + packet_time * (packets - 1)
        });
        SendError::QueueFull { limit, wait }
    }
}

/// The first point at or after `now` of the grid on which `point` lies.
fn first_point(point: Instant, spacing: Duration, now: Instant) -> Instant {
    let past = now.saturating_duration_since(point).as_nanos() % spacing.as_nanos();
    // Less than the spacing, which is at most 60 ms.
    let past = Duration::from_nanos(past as u64);
    if past.is_zero() { now } else { now + (spacing - past) }
}

/// Nanoseconds to samples at 48 kHz, rounded down: exact wherever deadlines lie on a grid.
fn rtp_time(elapsed: Duration) -> u64 {
    elapsed.as_secs() * 48_000 + u64::from(elapsed.subsec_nanos()) * 6 / 125_000
}

/// Half a period of a raised cosine, from all of the first frame to nothing.
fn fade<'a>(samples: impl ExactSizeIterator<Item = &'a mut [i16]>) {
    let frames = samples.len();
    for (at, frame) in samples.enumerate() {
        let turn = std::f32::consts::PI * (at + 1) as f32 / (frames + 1) as f32;
        let gain = 0.5 + 0.5 * turn.cos();
        for sample in frame {
            *sample = (f32::from(*sample) * gain).round_ties_even() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rtp_time_is_the_time_in_samples_rounded_down(nanos in 0..u64::MAX / 1_000) {
            let samples = u128::from(nanos) * 48_000 / 1_000_000_000;
            prop_assert_eq!(u128::from(rtp_time(Duration::from_nanos(nanos))), samples);
        }
    }
}
