//! Two clocks: sound that comes at the peer's is brought to ours.
//!
//! What is heard counts time by the peer's clock, and what is sent goes out by ours. They differ:
//! 200 millionths (ppm) are 0.7 s an hour, by which an echo would lag, or have holes. A
//! [`DriftCorrector`] stands where the one becomes the other.
//!
//! It measures how late each block comes by its media time. The least delay within a window is what
//! no jitter added to; by how much it has changed since the first window is what the clocks have
//! drifted apart. That is worked off:
//!
//! | sound | by |
//! | --- | --- |
//! | not off by more than what follows | nothing: it is passed on to the bit |
//! | quiet for more than a block, 1 ms off | stretching or shortening by 3 % |
//! | loud, 5 ms off | 33 ppm for each further millisecond, at most 1000 ppm (1.7 cents) |
//!
//! So speech with pauses is not touched, and without a pause the delay is 11 ms from its start at a
//! steady drift of 200 ppm, 20 ms at 450 ppm. Nothing is cut or put in: sound is interpolated
//! between its samples, which costs 16 samples of delay from the first correction on.
//!
//! | what comes | becomes |
//! | --- | --- |
//! | a window with less than 5 s of sound | no window: it goes on |
//! | a delay that changes by more than 100 ms at once, three windows long | the delay from now on: no clock does that |
//! | media time with a hole, another rate, other channels | a new beginning |
//!
//! It reads no clock, and drops nothing.

mod stretch;

#[cfg(test)]
pub(super) mod tests;

use std::time::{Duration, Instant};

use self::stretch::ONE;
pub use self::stretch::Stretch;
use crate::AudioFrame;

/// Over how long the least delay is looked for. 10 s: some packet in it was not delayed, and a
/// clock that is off by 200 ppm moves by 2 ms meanwhile.
const WINDOW: Duration = Duration::from_secs(10);

/// So much sound has to be in a window: the one block that comes after a stall says nothing.
const WINDOW_SOUND: Duration = Duration::from_secs(5);

/// In how many seconds at the ratio of the moment nothing would be off any more. 30: three windows,
/// so that what a correction does is seen before it is too much.
const SETTLE_SECS: i64 = 30;

/// The most that sound is stretched or shortened. 1000 ppm: a sixtieth of a semitone.
const LOUD_MAX: i64 = ONE / 1_000;

/// The same of quiet sound. 3 %: half a semitone of what is hardly heard; 20 ms make 0.6.
const QUIET_MAX: i64 = ONE / 32;

/// Quiet sound is left alone while no more is off. 1 ms: the jitter of a least delay.
const QUIET_LEAST_NS: i64 = 1_000_000;

/// The same of loud sound. 5 ms: what bad clocks drift from one pause of speech to the next, and a
/// quarter of what a delay may change.
const LOUD_LEAST_NS: i64 = 5_000_000;

/// Delays beyond are taken for this. 36 years: no sum of two overflows.
const DELAY_MAX_NS: i128 = 1 << 60;

/// Sound below this is quiet: -50 dB.
const QUIET: u16 = 100;

/// A least delay that differs by more from that of the window before is no drift. 100 ms: a
/// thousand times what 10 s of it are.
const JUMP_NS: i64 = 100_000_000;

/// After how many windows in a row such a delay is the usual one.
const JUMPS: u8 = 3;

/// By how much media times may be rounded before there is a hole between them.
const ROUNDED: Duration = Duration::from_millis(1);

/// What a [`DriftCorrector`] did. Samples are per channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriftCounters {
    /// Samples that it took.
    pub taken: u64,
    /// Samples that it gave: what was taken, and how much longer or shorter it was made. Sixteen
    /// are held back from the first correction on.
    pub given: u64,
    /// Windows whose delay was no drift.
    pub jumps: u64,
    /// How often media time had a hole, or the sound another form: it began anew.
    pub restarts: u64,
}

/// Brings sound that comes at a peer's clock to ours.
///
/// For an echo, for what one call hears and another says, and for whatever else sends on what a
/// call hears: without it the queue of `send_audio` grows, or runs dry, by as much as the clocks
/// drift. Give it each block of `recv_audio` in order, and send what it gives.
///
/// ```
/// use smallrtc::AudioFrame;
/// use smallrtc::media::DriftCorrector;
/// use std::time::{Duration, Instant};
///
/// let mut drift = DriftCorrector::new();
/// let (start, block) = (Instant::now(), [7; 320]);
/// let heard = AudioFrame::mono(&block, 16_000);
/// // What `recv_audio` gave, with its media time; now goes to `send_audio`.
/// let said = drift.correct(heard, Duration::ZERO, start);
/// assert_eq!(said.samples, block);
/// ```
#[derive(Debug, Default)]
pub struct DriftCorrector {
    /// When it was used first.
    begin: Option<Instant>,
    meter: Meter,
    stretch: Option<(u32, Stretch)>,
    /// Where the next block is expected in media time.
    next: Option<Duration>,
    given: Vec<i16>,
    counters: DriftCounters,
}

impl DriftCorrector {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> DriftCorrector {
        DriftCorrector::default()
    }

    /// Takes a block that came now, and its media time (`AudioInfo::time`); gives what to send on
    /// in its place, of the same form, some samples longer or shorter. Blocks that were read late
    /// are no harm as long as some in ten seconds are not.
    ///
    /// A block of a form that `Session::send_audio` would not take is given back as it is.
    pub fn correct<'a>(
        &'a mut self,
        frame: AudioFrame<'a>,
        time: Duration,
        now: Instant,
    ) -> AudioFrame<'a> {
        let AudioFrame { samples, rate, channels } = frame;
        let is_known = (1..=2).contains(&channels) && rate > 0;
        let frames = samples.len() / usize::from(channels.max(1));
        if !is_known || frames == 0 || !samples.len().is_multiple_of(usize::from(channels)) {
            return frame;
        }
        self.follow_form(rate, channels);
        let nanos = frames as u128 * 1_000_000_000 / u128::from(rate);
        let len = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let end = time.saturating_add(len);
        let is_next = |next: Duration| next.abs_diff(time) <= ROUNDED;
        if self.next.replace(end).is_some_and(|next| !is_next(next)) {
            self.counters.restarts += 1;
            self.meter = Meter::default();
        }
        let now = now.saturating_duration_since(*self.begin.get_or_insert(now));
        if let Some(jump) = self.meter.hear(end, len, now) {
            self.counters.jumps += 1;
            if self.meter.jumps >= JUMPS {
                self.meter.accept(jump);
            }
        }
        let is_quiet = self.meter.is_quiet(samples);
        let ratio = self.meter.ratio(is_quiet);
        let Some((_, stretch)) = &mut self.stretch else { return frame };
        self.counters.taken += frames as u64;
        if stretch.passes_through() && ratio == 0 {
            stretch.pass(samples);
            self.counters.given += frames as u64;
            return frame;
        }
        if is_quiet && ratio == 0 {
            stretch.snap();
        }
        self.given.clear();
        let given = stretch.process(samples, ratio, &mut self.given);
        self.counters.given += given as u64;
        self.meter.worked_off(nanos_of(given as i64 - frames as i64, rate));
        AudioFrame { samples: &self.given, rate, channels }
    }

    /// What it did.
    #[must_use]
    pub fn counters(&self) -> DriftCounters {
        self.counters
    }

    fn follow_form(&mut self, rate: u32, channels: u8) {
        let is_known = |(known, stretch): &(u32, Stretch)| {
            *known == rate && stretch.channels() == usize::from(channels)
        };
        if !self.stretch.as_ref().is_some_and(is_known) {
            self.counters.restarts += u64::from(self.stretch.is_some());
            self.stretch = Some((rate, Stretch::new(channels)));
            self.meter = Meter::default();
            self.next = None;
        }
    }
}

/// How long so many samples are, which may be less than none.
pub(super) fn nanos_of(samples: i64, rate: u32) -> i64 {
    samples * 1_000_000_000 / i64::from(rate)
}

/// How far two clocks have drifted apart, and how much of it is still to be worked off.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the window ends, how much sound was in it, and the least of its delays, which count
    /// from anywhere.
    window_ends: Option<Duration>,
    sound: Duration,
    least_ns: i64,
    /// The least delay of the first window, when it was over.
    usual_ns: Option<i64>,
    /// By how much later than usual blocks came in the last window.
    late_ns: i64,
    /// How much of that was put in.
    done_ns: i64,
    /// How many windows in a row had a delay that is no drift.
    jumps: u8,
    /// Whether the last block was quiet.
    was_quiet: bool,
}

impl Meter {
    /// A block came now whose media time ends at `end`. By how much the delay changed, when a
    /// window is over and that was no drift.
    pub(super) fn hear(&mut self, end: Duration, len: Duration, now: Duration) -> Option<i64> {
        let ends = *self.window_ends.get_or_insert(now.saturating_add(WINDOW));
        let delay = now.as_nanos() as i128 - end.as_nanos() as i128;
        let delay = delay.clamp(-DELAY_MAX_NS, DELAY_MAX_NS) as i64;
        // At a window's end it belongs to the next one: it may have come after a stall.
        let is_over = now >= ends && self.sound >= WINDOW_SOUND;
        let jump = if is_over { self.end_window(now) } else { None };
        if self.sound.is_zero() {
            self.least_ns = delay;
        }
        self.least_ns = self.least_ns.min(delay);
        self.sound = self.sound.saturating_add(len);
        jump
    }

    fn end_window(&mut self, now: Duration) -> Option<i64> {
        (self.window_ends, self.sound) = (Some(now.saturating_add(WINDOW)), Duration::ZERO);
        let usual = *self.usual_ns.get_or_insert(self.least_ns);
        let late = self.least_ns - usual;
        let jump = late - self.late_ns;
        if jump.abs() <= JUMP_NS {
            (self.late_ns, self.jumps) = (late, 0);
            return None;
        }
        self.jumps += 1;
        // Until it is accepted, or gone again, it is compared with what was usual.
        Some(jump)
    }

    /// Takes the delay after a jump for the usual one. What is off stays so.
    pub(super) fn accept(&mut self, jump: i64) {
        self.usual_ns = self.usual_ns.map(|usual| usual.saturating_add(jump));
        self.jumps = 0;
    }

    /// Whether a block is quiet, and the one before it was: what is held back of that is so too.
    pub(super) fn is_quiet(&mut self, samples: &[i16]) -> bool {
        let is_quiet = samples.iter().all(|sample| sample.unsigned_abs() < QUIET);
        std::mem::replace(&mut self.was_quiet, is_quiet) && is_quiet
    }

    /// By which part of itself sound is to be longer now, in units of [`ONE`].
    pub(super) fn ratio(&self, is_quiet: bool) -> i64 {
        let off = self.late_ns.saturating_sub(self.done_ns);
        if is_quiet {
            return if off.abs() <= QUIET_LEAST_NS { 0 } else { off.signum() * QUIET_MAX };
        }
        let off = off.signum() * (off.abs() - LOUD_LEAST_NS).max(0);
        let ratio = i128::from(off) * i128::from(ONE) / i128::from(SETTLE_SECS * 1_000_000_000);
        ratio.clamp(i128::from(-LOUD_MAX), i128::from(LOUD_MAX)) as i64
    }

    /// So much was put in, or taken out when it is negative.
    pub(super) fn worked_off(&mut self, ns: i64) {
        self.done_ns = self.done_ns.saturating_add(ns);
    }
}
