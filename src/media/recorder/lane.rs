//! One direction's sound on the recorder's line of time, from what is not written yet on.

use std::collections::VecDeque;
use std::iter::repeat_n;
use std::time::Duration;

use crate::AudioFrame;
use crate::audio::{RATES, Resampler};
use crate::media::drift::{Meter, Stretch, nanos_of};

/// How much may wait to be written, in seconds. 61: what a session queues, and what is held behind.
const AHEAD_MAX: u64 = 61;

/// How far heard sound may lie ahead of the present, or behind what was heard, in milliseconds,
/// before its clock is taken to have been set anew.
const JUMP_MS: u64 = 2_000;

/// Media times beyond this many samples are taken for it: 50 years.
const SAMPLE_MAX: u128 = 1 << 46;

/// How far behind the piece before it one may start that follows it, in milliseconds. 60: the
/// longest packet, or a driver under load.
const SLACK_MS: u64 = 60;

/// How heard media time lies on the line of time.
#[derive(Debug)]
struct Anchor {
    rate: u32,
    /// Samples of media time that stand at `position`, which corrections may move before zero.
    sample: u64,
    position: i64,
    /// The sample of media time that is expected next.
    next: u64,
    /// How far the peer's clock has drifted from ours.
    meter: Meter,
    /// Samples to be put in, or taken out when it is negative, because the delay has jumped.
    jump: i64,
}

impl Anchor {
    /// Where a sample of media time stands at `rate` samples per second.
    fn at(&self, sample: u64, rate: u32) -> u64 {
        let since = u128::from(sample.saturating_sub(self.sample));
        let scaled = since * u128::from(rate) / u128::from(self.rate);
        let position = self.position.saturating_add(i64::try_from(scaled).unwrap_or(i64::MAX));
        u64::try_from(position).unwrap_or_default()
    }

    /// Whether a block cannot be of the same clock.
    fn is_jump(&self, rate: u32, sample: u64, line_rate: u32, now: u64) -> bool {
        let jump = |rate: u32| JUMP_MS * u64::from(rate) / 1_000;
        rate != self.rate
            || self.next > sample + jump(rate)
            || self.at(sample, line_rate) > now + jump(line_rate)
    }
}

#[derive(Debug)]
pub(super) struct Lane {
    rate: u32,
    base: u64,
    samples: VecDeque<i16>,
    anchor: Option<Anchor>,
    /// With the rate that it converts.
    resampler: Option<(u32, Resampler)>,
    /// Works off what the clocks drift apart.
    stretch: Stretch,
    /// Scratch: one channel, at its own rate, at ours, and stretched.
    mono: Vec<i16>,
    converted: Vec<i16>,
    stretched: Vec<i16>,
    pub(super) late: u64,
    pub(super) filled: u64,
    pub(super) dropped: u64,
    /// How often the peer's clock was set anew.
    pub(super) restarts: u64,
    corrected: u64,
}

impl Lane {
    pub(super) fn new(rate: u32) -> Lane {
        Lane {
            rate,
            base: 0,
            samples: VecDeque::new(),
            anchor: None,
            resampler: None,
            stretch: Stretch::new(1),
            mono: Vec::new(),
            converted: Vec::new(),
            stretched: Vec::new(),
            late: 0,
            filled: 0,
            dropped: 0,
            restarts: 0,
            corrected: 0,
        }
    }

    pub(super) fn base(&self) -> u64 {
        self.base
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.samples.len() as u64
    }

    pub(super) fn corrected(&self) -> u64 {
        self.corrected
    }

    fn ms(&self, ms: u64) -> u64 {
        u64::from(self.rate) * ms / 1_000
    }

    pub(super) fn slack(&self) -> u64 {
        self.ms(SLACK_MS)
    }

    /// The next samples to be written; zeros where there are none.
    pub(super) fn take(&mut self, len: usize) -> impl Iterator<Item = i16> {
        self.base += len as u64;
        let held = len.min(self.samples.len());
        self.samples.drain(..held).chain(repeat_n(0, len - held))
    }

    /// Goes on at `position`; what stands before is dropped.
    pub(super) fn jump(&mut self, position: u64) {
        let before = (position - self.base).min(self.samples.len() as u64);
        self.samples.drain(..before as usize);
        self.base = position;
        self.anchor = None;
    }

    /// Makes one channel of a frame, from its sample `from` on. False when its form is not known.
    fn fold(&mut self, frame: AudioFrame<'_>, from: u64) -> bool {
        self.mono.clear();
        let is_known = RATES.contains(&frame.rate) && (1..=2).contains(&frame.channels);
        if !is_known {
            return false;
        }
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if frame.channels == 1 {
            self.mono.extend(frame.samples.iter().skip(from));
        } else {
            let pairs = frame.samples.chunks_exact(2).skip(from);
            let middle = |pair: &[i16]| i32::midpoint(pair[0].into(), pair[1].into()) as i16;
            self.mono.extend(pairs.map(middle));
        }
        true
    }

    /// Converts the one channel to the file's rate.
    fn convert(&mut self, rate: u32, is_new: bool) {
        let stale = self.resampler.as_ref().is_none_or(|(from, _)| *from != rate);
        if stale {
            self.resampler = Some((rate, Resampler::new(rate, self.rate, 1)));
        }
        let Some((_, resampler)) = &mut self.resampler else { return };
        if is_new && !stale {
            resampler.reset();
        }
        self.converted.clear();
        resampler.process(&self.mono, &mut self.converted);
    }

    /// Puts what was converted at a position not before the end; gives where it ends.
    fn put(&mut self, position: u64) {
        let room = self.room();
        let skipped = self.base.saturating_sub(position).min(self.converted.len() as u64);
        // A receiver gives the silence of a pause when the pause is over. It was written already.
        let is_silent = self.converted[..skipped as usize].iter().all(|&sample| sample == 0);
        self.late += if is_silent { 0 } else { skipped };
        let position = position.max(self.end());
        let gap = position - self.end();
        let len = self.converted.len() as u64 - skipped;
        if position - self.base + len > room {
            self.dropped += len;
            return;
        }
        self.samples.extend(repeat_n(0, gap as usize));
        self.samples.extend(&self.converted[skipped as usize..]);
    }

    /// Places heard sound by its media time; `now` is the position of the present.
    pub(super) fn hear(&mut self, frame: AudioFrame<'_>, time: Duration, now: u64) {
        let per_channel = (frame.samples.len() / usize::from(frame.channels.max(1))) as u64;
        // Media times are rounded down to a nanosecond; samples are tens of thousands of them.
        let sample = (time.as_nanos() * u128::from(frame.rate) + 500_000_000) / 1_000_000_000;
        let sample = sample.min(SAMPLE_MAX) as u64;
        let is_jump = |anchor: &Anchor| anchor.is_jump(frame.rate, sample, self.rate, now);
        let begins = self.anchor.as_ref().is_none_or(is_jump);
        if begins && !self.begin(frame, sample, per_channel, now) {
            return;
        }
        let Some(anchor) = &self.anchor else { return };
        let seen = anchor.next.saturating_sub(sample).min(per_channel);
        let gap = sample.saturating_sub(anchor.next);
        self.late += seen;
        if seen == per_channel || !self.fold(frame, seen) {
            return;
        }
        self.convert(frame.rate, begins || gap > 0);
        self.forget_held(begins || gap > 0);
        self.watch(sample + per_channel, per_channel, now);
        self.jump_over();
        let Some(anchor) = &mut self.anchor else { return };
        let start = anchor.at(anchor.next + gap, self.rate);
        self.filled += start - anchor.at(anchor.next, self.rate);
        anchor.next = sample + per_channel;
        self.follow();
        self.put(start);
    }

    /// The first block: it ends now. False when its form is not known.
    fn begin(&mut self, frame: AudioFrame<'_>, sample: u64, len: u64, now: u64) -> bool {
        if !self.fold(frame, 0) {
            return false;
        }
        let len = len * u64::from(self.rate) / u64::from(frame.rate);
        let position = now.saturating_sub(len).max(self.end());
        self.restarts += u64::from(self.anchor.is_some());
        self.anchor = Some(Anchor {
            rate: frame.rate,
            sample,
            position: position as i64,
            next: sample,
            meter: Meter::default(),
            jump: 0,
        });
        true
    }

    /// What is held back was said before a hole: it does not come after it.
    fn forget_held(&mut self, is_hole: bool) {
        if !is_hole {
            return;
        }
        let held = self.stretch.held() as i64;
        self.stretch.reset();
        if let Some(anchor) = &mut self.anchor {
            anchor.position += held;
            anchor.meter.worked_off(nanos_of(held, self.rate));
        }
    }

    /// Looks at the delay of what was heard: `len` samples, up to this one of media time.
    fn watch(&mut self, end: u64, len: u64, now: u64) {
        let at = |samples: u64, rate: u32| {
            let nanos = u128::from(samples) * 1_000_000_000 / u128::from(rate);
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let Some(anchor) = &mut self.anchor else { return };
        let (end, len) = (at(end, anchor.rate), at(len, anchor.rate));
        if let Some(jump) = anchor.meter.hear(end, len, at(now, self.rate)) {
            // What comes later by more than is held behind would never be in time again.
            anchor.meter.accept(jump);
            anchor.jump += (i128::from(jump) * i128::from(self.rate) / 1_000_000_000) as i64;
        }
    }

    /// Puts silence in, or takes sound out, where the delay has jumped.
    fn jump_over(&mut self) {
        let Some(anchor) = &mut self.anchor else { return };
        let size = anchor.jump.unsigned_abs();
        if anchor.jump > 0 {
            anchor.position += size as i64;
            self.corrected += size;
            anchor.jump = 0;
        } else if anchor.jump < 0 {
            let taken = size.min(self.converted.len() as u64);
            anchor.position -= taken as i64;
            self.converted.drain(..taken as usize);
            self.corrected += taken;
            anchor.jump += taken as i64;
        }
    }

    /// Follows the clocks: what was converted becomes a little longer or shorter.
    fn follow(&mut self) {
        let Some(anchor) = &mut self.anchor else { return };
        let is_quiet = anchor.meter.is_quiet(&self.converted);
        let ratio = anchor.meter.ratio(is_quiet);
        if ratio == 0 && self.stretch.passes_through() {
            return self.stretch.pass(&self.converted);
        }
        if ratio == 0 && is_quiet {
            self.stretch.snap();
        }
        let was_held = self.stretch.held() as i64;
        self.stretched.clear();
        let given = self.stretch.process(&self.converted, ratio, &mut self.stretched) as i64;
        let more = given - self.converted.len() as i64;
        anchor.position += more;
        anchor.meter.worked_off(nanos_of(more, self.rate));
        // What is held back from now on is not taken out.
        self.corrected += (more + self.stretch.held() as i64 - was_held).unsigned_abs();
        std::mem::swap(&mut self.converted, &mut self.stretched);
    }

    /// How many samples may wait.
    pub(super) fn room(&self) -> u64 {
        AHEAD_MAX * u64::from(self.rate)
    }

    /// Converts sound that is to be said; gives how many samples per channel it has and what they
    /// are at the file's rate. `None` when its form is not known.
    pub(super) fn convert_said(
        &mut self,
        frame: AudioFrame<'_>,
        is_new: bool,
    ) -> Option<(u64, Vec<i16>)> {
        if !self.fold(frame, 0) {
            return None;
        }
        self.convert(frame.rate, is_new);
        Some((self.mono.len() as u64, self.converted.clone()))
    }

    /// Places what is said at a position not before the end.
    pub(super) fn say(&mut self, position: u64, samples: &[i16]) {
        self.converted.clear();
        self.converted.extend_from_slice(samples);
        self.put(position);
    }

    /// Forgets what stands at `position` and after it.
    pub(super) fn cut(&mut self, position: u64) {
        let kept = position.saturating_sub(self.base);
        self.samples.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        if let Some((_, resampler)) = &mut self.resampler {
            resampler.reset();
        }
    }
}
