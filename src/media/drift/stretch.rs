//! Makes sound a little longer or shorter: interpolation at any step near one.
//!
//! A windowed-sinc filter of 32 taps, whose coefficients are interpolated between 128 phases: what
//! it adds to a tone below 0.8 of the Nyquist frequency lies below -70 dB (tested in
//! `src/media/drift/tests.rs`). Positions are integers, so nothing drifts within.
//!
//! | state | out | ends with |
//! | --- | --- | --- |
//! | passes through | what comes in, undelayed, to the bit | the first ratio that is not zero |
//! | interpolates | 16 samples later, which are held back once | never |

use std::sync::OnceLock;

use crate::audio::{dot, kaiser, nearest, sinc};

/// The most that [`Stretch::stretch`] does. 100,000: a tenth, 1.7 semitones, beyond which tones
/// that nearly fill the band would fold.
const PPM_MAX: i32 = 100_000;

/// The step of unstretched sound, in which ratios are counted.
pub(in crate::media) const ONE: i64 = 1 << 32;

/// Filter length in samples. 32: two blocks of what the sum has side by side, 1 ms of delay at
/// 16 kHz.
const TAPS: usize = 32;

/// Samples after an output's position that it needs.
const AHEAD: usize = TAPS / 2;

/// Samples before an output's own that it needs.
const BEHIND: usize = TAPS - 1 - AHEAD;

/// Between two of them coefficients are interpolated. 128: the error is the square of the phase's
/// step, pi / 128, by eight: -82 dB.
const PHASES: usize = 128;

/// `PHASES + 1` rows of coefficients.
fn rows() -> &'static [f32] {
    static ROWS: OnceLock<Vec<f32>> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows = Vec::with_capacity((PHASES + 1) * TAPS);
        for phase in 0..=PHASES {
            let row = (0..TAPS).map(|tap| {
                let offset = tap as f64 - BEHIND as f64 - phase as f64 / PHASES as f64;
                let edge = (offset / AHEAD as f64).abs();
                if edge > 1.0 { 0.0 } else { sinc(offset) * kaiser(edge) }
            });
            let row: Vec<f64> = row.collect();
            // Every phase passes a constant unchanged: no tone at the phases' own rate.
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|tap| (tap / sum) as f32));
        }
        rows
    })
}

/// Makes sound some millionths longer or shorter, as two clocks that differ need it. One stream of
/// it, one or two interleaved channels.
///
/// Until it is first asked for anything but 0 it gives what it takes, to the bit. From then on it
/// interpolates between samples, and gives each 16 samples later ([`Stretch::held`]). Nothing that
/// it is given makes it panic.
///
/// ```
/// use smallrtc::media::Stretch;
///
/// let (mut stretch, mut out) = (Stretch::new(1), Vec::new());
/// let second = [7; 48_000];
/// stretch.stretch(&second, 0, &mut out);
/// assert_eq!(out, second);
/// out.clear();
/// // 1000 millionths of a second are 48 samples.
/// let given = stretch.stretch(&second, 1_000, &mut out);
/// assert!(given.abs_diff(48_048 - stretch.held()) <= 1);
/// ```
#[derive(Clone, Debug)]
pub struct Stretch {
    channels: usize,
    /// Per channel: the past that the next output needs, and what is not used up yet.
    history: [Vec<f32>; 2],
    /// Where the next output lies in the history, in parts of [`ONE`]; none while it passes
    /// through.
    position: Option<u64>,
}

impl Stretch {
    /// `channels` is 1 or 2; what is beyond counts as the nearer of them.
    #[must_use]
    pub fn new(channels: u8) -> Stretch {
        let channels = usize::from(channels.clamp(1, 2));
        let mut history = [Vec::new(), Vec::new()];
        history[..channels].iter_mut().for_each(|history| history.resize(BEHIND, 0.0));
        Stretch { channels, history, position: None }
    }

    pub(in crate::media) fn channels(&self) -> usize {
        self.channels
    }

    /// Whether nothing was stretched yet.
    pub(in crate::media) fn passes_through(&self) -> bool {
        self.position.is_none()
    }

    /// Takes samples and appends what they give, longer by so many millionths, shorter where that
    /// is negative; gives how many of each channel. More than a tenth counts as a tenth, and a
    /// right sample that is missing at the end as if its left one were not there.
    pub fn stretch(&mut self, samples: &[i16], ppm: i32, output: &mut Vec<i16>) -> usize {
        let samples = &samples[..samples.len() / self.channels * self.channels];
        if ppm == 0 && self.passes_through() {
            self.pass(samples);
            output.extend_from_slice(samples);
            return samples.len() / self.channels;
        }
        let ppm = i64::from(ppm.clamp(-PPM_MAX, PPM_MAX));
        let step = ONE * 1_000_000 / (1_000_000 + ppm);
        self.process(samples, ONE - step, output)
    }

    /// How many samples of each channel came and are not given yet.
    #[must_use]
    pub fn held(&self) -> usize {
        if self.passes_through() { 0 } else { AHEAD }
    }

    /// Moves to the nearest whole sample, by half a one at most: what follows is given to the bit.
    /// For quiet sound, where nobody hears it.
    pub fn snap(&mut self) {
        let half = ONE as u64 / 2;
        self.position = self.position.map(|at| (at + half) & !(ONE as u64 - 1));
    }

    /// Forgets the past: the next sample begins a stream.
    pub(in crate::media) fn reset(&mut self) {
        *self = Stretch::new(self.channels as u8);
    }

    /// Sound that went on as it is, while that is allowed.
    pub(in crate::media) fn pass(&mut self, samples: &[i16]) {
        debug_assert!(self.passes_through(), "what is held back would be overtaken");
        // Only the last of it is needed.
        let needed = samples.len().min(BEHIND * self.channels);
        self.append(&samples[samples.len() - needed..]);
        for history in &mut self.history[..self.channels] {
            history.drain(..history.len() - BEHIND);
        }
    }

    /// Takes samples and appends what they give, longer by `ratio` parts of [`ONE`]; gives how many
    /// of each channel.
    pub(in crate::media) fn process(
        &mut self,
        samples: &[i16],
        ratio: i64,
        output: &mut Vec<i16>,
    ) -> usize {
        let step = (ONE - ratio) as u64;
        let mut position = self.position.unwrap_or(BEHIND as u64 * ONE as u64);
        self.append(samples);
        let (rows, end) = (rows(), self.history[0].len());
        let mut given = 0;
        while (position >> 32) as usize + AHEAD < end {
            let first = (position >> 32) as usize - BEHIND;
            let fraction = position as u32;
            let (phase, between) = (fraction >> 25, fraction & ((1 << 25) - 1));
            let between = between as f32 / (1u32 << 25) as f32;
            let (row, next) = rows[phase as usize * TAPS..][..2 * TAPS].split_at(TAPS);
            for history in &self.history[..self.channels] {
                let samples = &history[first..first + TAPS];
                let (low, high) = (dot(row, samples), dot(next, samples));
                let sample = low + between * (high - low);
                output.push(nearest(sample));
            }
            given += 1;
            position += step;
        }
        let used = ((position >> 32) as usize - BEHIND).min(end);
        for history in &mut self.history[..self.channels] {
            history.drain(..used);
        }
        self.position = Some(position - used as u64 * ONE as u64);
        given
    }

    fn append(&mut self, samples: &[i16]) {
        for (channel, history) in self.history[..self.channels].iter_mut().enumerate() {
            let own = samples.iter().skip(channel).step_by(self.channels);
            history.extend(own.map(|&sample| f32::from(sample)));
        }
    }
}
