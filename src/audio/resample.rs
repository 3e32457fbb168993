//! Changes the sample rate of a stream: a polyphase windowed-sinc filter.
//!
//! Any pair of [`RATES`], one or two interleaved channels, blocks of any length. After `n` samples
//! in, `ceil(n * to / from)` have come out, or fewer where the caller bounds them: nothing drifts,
//! and 10 ms in give 10 ms out wherever both rates divide by 100.
//!
//! The filter is causal: what goes in comes out [`Resampler::delay`] samples later (24 to 32 of the
//! lower rate: 1.5 ms at 16 kHz). Equal rates pass unchanged and undelayed.
//!
//! Filters depend on the two rates alone, so all sessions of a process share them. Design: Kaiser
//! window, 48 taps at the lower rate, -6 dB at 0.95 of its Nyquist frequency; aliases and images
//! from 1.06 of it on lie below -80 dB (tested below).

// A bench includes this file from elsewhere.
#[cfg(test)]
#[path = "resample/bounds.rs"]
mod bounds;

use std::f64::consts::PI;
use std::sync::OnceLock;

/// The sample rates that sound may have, in samples per second: those of speech synthesis, files
/// and Opus.
pub(crate) const RATES: [u32; 9] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Filter length in samples of the lower rate. 48: the shortest whose transition band (0.21 of the
/// Nyquist frequency at 80 dB, Kaiser's formula) leaves speech alone; 1.5 ms of delay at 16 kHz.
const TAPS: usize = 48;

/// Where the filter has lost half the amplitude, as a fraction of the lower Nyquist frequency.
const CUTOFF: f64 = 0.95;

/// Kaiser's window parameter for 84 dB in the stop band: 0.1102 (A - 8.7).
const BETA: f64 = 8.3;

/// How many products the inner loop sums side by side. 16: four vectors of four, enough to hide
/// the latency of an addition on every x86-64.
const LANES: usize = 16;

/// The most samples per channel that stand in the history at once. 960: 20 ms at 48 kHz; longer
/// blocks are cut, so that scratch memory stays small.
const BLOCK_MAX: usize = 960;

/// Filters that were used, by the two rates' places in [`RATES`]. The array is its bound.
static FILTERS: [OnceLock<Filter>; RATES.len() * RATES.len()] =
    [const { OnceLock::new() }; RATES.len() * RATES.len()];

/// One filter: `phases` rows of `taps` coefficients, each row in the order of the history.
#[derive(Debug)]
struct Filter {
    /// Output steps per `step` input steps, in lowest terms.
    phases: usize,
    step: usize,
    taps: usize,
    rows: Vec<f32>,
}

impl Filter {
    fn shared(from: u32, to: u32) -> &'static Filter {
        let place = |rate| {
            RATES.iter().position(|&known| known == rate).expect("rates are checked by the caller")
        };
        FILTERS[place(from) * RATES.len() + place(to)].get_or_init(|| Filter::new(from, to))
    }

    fn new(from: u32, to: u32) -> Filter {
        let divisor = gcd(from, to);
        let (phases, step) = ((to / divisor) as usize, (from / divisor) as usize);
        let span = TAPS as f64 * (f64::from(from) / f64::from(to)).max(1.0);
        let taps = (span.ceil() as usize).next_multiple_of(LANES);
        // The cutoff in cycles per input sample.
        let cutoff = 0.5 * CUTOFF * (f64::from(to) / f64::from(from)).min(1.0);
        let mut rows = Vec::with_capacity(phases * taps);
        for phase in 0..phases {
            let row: Vec<f64> = (0..taps)
                .map(|tap| {
                    // History ends with the newest sample; the filter's centre lies taps / 2
                    // samples before the output's own position.
                    let age = (taps - 1 - tap) as f64 + phase as f64 / phases as f64;
                    let offset = age - taps as f64 / 2.0;
                    2.0 * cutoff * sinc(2.0 * cutoff * offset) * kaiser(2.0 * offset / taps as f64)
                })
                .collect();
            // Every phase passes a constant unchanged: no tone at the phases' own rate.
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|tap| (tap / sum) as f32));
        }
        Filter { phases, step, taps, rows }
    }

    fn row(&self, phase: usize) -> &[f32] {
        &self.rows[phase * self.taps..(phase + 1) * self.taps]
    }
}

/// A sample of the input in units of the filter's phases, and the distance of two outputs in them;
/// `None` when the rates are equal.
pub(super) fn phases(from: u32, to: u32) -> Option<(u64, u64)> {
    let divisor = gcd(from, to);
    (from != to).then_some((u64::from(to / divisor), u64::from(from / divisor)))
}

/// How many samples of each channel so many interleaved ones are. Nearly all sound has one channel,
/// and a division by what the compiler does not know takes as long as copying a hundred samples.
pub(super) fn per_channel(samples: usize, channels: usize) -> usize {
    if channels == 1 { samples } else { samples / channels }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

pub(crate) fn sinc(x: f64) -> f64 {
    if x.abs() < 1e-12 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The window at `x` from -1 to 1.
pub(crate) fn kaiser(x: f64) -> f64 {
    bessel(BETA * (1.0 - x * x).max(0.0).sqrt()) / bessel(BETA)
}

/// The modified Bessel function of order zero, by its series.
fn bessel(x: f64) -> f64 {
    let mut sum = 1.0;
    let mut term = 1.0;
    for k in 1..50 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// The sum of products. `LANES` partial sums, in a fixed order: the same bits on every machine,
/// and a loop that the compiler vectorises.
pub(crate) fn dot(taps: &[f32], samples: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (taps, samples) in taps.chunks_exact(LANES).zip(samples.chunks_exact(LANES)) {
        for lane in 0..LANES {
            lanes[lane] += taps[lane] * samples[lane];
        }
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Rounds to the nearest integer, ties to even, and clips. At 1.5 * 2^23 a float's last bit is one,
/// so the addition itself rounds; without SSE4.1 `round_ties_even` is a call into the C library.
pub(crate) fn nearest(sample: f32) -> i16 {
    const ONES: f32 = 12_582_912.0;
    ((sample + ONES) - ONES) as i16
}

/// One stream on its way from one rate to another.
#[derive(Debug)]
pub(crate) struct Resampler {
    /// `None` when the rates are equal.
    filter: Option<&'static Filter>,
    channels: usize,
    /// Per channel: `taps - 1` samples of the past and what is not used up yet.
    history: [Vec<f32>; 2],
    /// Where the next output lies: in whole samples of the history's end part, and phases.
    index: usize,
    phase: usize,
    /// Input samples per channel that lie before the history's end part.
    before: u64,
}

impl Resampler {
    /// `from` and `to` stand in [`RATES`]; `channels` is 1 or 2.
    pub(crate) fn new(from: u32, to: u32, channels: u8) -> Resampler {
        assert!((1..=2).contains(&channels), "one or two channels");
        let filter = (from != to).then(|| Filter::shared(from, to));
        let mut resampler = Resampler {
            filter,
            channels: usize::from(channels),
            history: [Vec::new(), Vec::new()],
            index: 0,
            phase: 0,
            before: 0,
        };
        resampler.reset();
        resampler
    }

    /// Forgets the past: the next sample begins a stream.
    pub(crate) fn reset(&mut self) {
        let past = self.past();
        for history in &mut self.history[..self.channels] {
            history.clear();
            history.reserve(past + BLOCK_MAX);
            history.resize(past, 0.0);
        }
        (self.index, self.phase, self.before) = (0, 0, 0);
    }

    /// The first output is not to lie at the first input, but so many phases after it. To be called
    /// before anything went in.
    pub(super) fn set_position(&mut self, position: u64) {
        debug_assert_eq!(self.before, 0, "nothing went in yet");
        if let Some(filter) = self.filter {
            let phases = filter.phases as u64;
            (self.index, self.phase) = ((position / phases) as usize, (position % phases) as usize);
        }
    }

    /// Whether the rates are equal: what goes in is what would come out.
    pub(crate) fn passes_through(&self) -> bool {
        self.filter.is_none()
    }

    /// By how many input samples the output lags.
    pub(crate) fn delay(&self) -> u64 {
        self.filter.map_or(0, |filter| filter.taps as u64 / 2)
    }

    /// After how many zeros in nothing but zeros comes out.
    pub(crate) fn settle(&self) -> u64 {
        self.filter.map_or(0, |filter| filter.taps as u64)
    }

    /// How many input samples per channel lie before the next output.
    pub(crate) fn passed(&self) -> u64 {
        self.before + self.index as u64
    }

    /// How many more input samples per channel are needed for `outputs` outputs.
    pub(crate) fn inputs_for(&self, outputs: usize) -> usize {
        let Some(filter) = self.filter else { return outputs };
        if outputs == 0 {
            return 0;
        }
        let last = self.index + (self.phase + (outputs - 1) * filter.step) / filter.phases;
        (last + 1).saturating_sub(self.unused())
    }

    /// Takes `input`, interleaved, and appends to `output` all that it gives.
    pub(crate) fn process(&mut self, input: &[i16], output: &mut Vec<i16>) {
        self.process_at_most(input, usize::MAX, output);
    }

    /// Takes `input` and appends at most `outputs` samples per channel; gives how many. What is
    /// held back comes with a later call.
    pub(crate) fn process_at_most(
        &mut self,
        input: &[i16],
        outputs: usize,
        output: &mut Vec<i16>,
    ) -> usize {
        debug_assert_eq!(input.len() % self.channels, 0, "whole samples");
        let Some(filter) = self.filter else {
            let given = per_channel(input.len(), self.channels);
            debug_assert!(given <= outputs, "equal rates hold nothing back");
            output.extend_from_slice(input);
            self.pass(given as u64);
            return given;
        };
        let mut given = self.filter(filter, outputs, output);
        for block in input.chunks(BLOCK_MAX * self.channels) {
            for (channel, history) in self.history[..self.channels].iter_mut().enumerate() {
                // Every sample of one channel, or one of each pair: a step that the compiler does
                // not know costs it the vectors.
                match self.channels {
                    1 => history.extend(block.iter().map(|&sample| f32::from(sample))),
                    _ => history.extend(block.chunks_exact(2).map(|pair| f32::from(pair[channel]))),
                }
            }
            given += self.filter(filter, outputs - given, output);
        }
        given
    }

    /// Counts samples per channel that the caller, at equal rates, has put out by itself.
    pub(crate) fn pass(&mut self, count: u64) {
        debug_assert!(self.passes_through(), "the rates are equal");
        self.before += count;
    }

    /// Like `count` samples of zero, when as many as [`Resampler::settle`] came before them: gives
    /// the number of zeros per channel that come out, without making them.
    pub(crate) fn skip_zeros(&mut self, count: u64) -> u64 {
        let Some(filter) = self.filter else {
            self.before += count;
            return count;
        };
        debug_assert_eq!(self.unused(), 0, "no output is held back");
        let (phases, step) = (filter.phases as u64, filter.step as u64);
        let position = self.index as u64 * phases + self.phase as u64;
        let end = count * phases;
        let outputs = end.saturating_sub(position).div_ceil(step);
        let position = position + outputs * step - end;
        for history in &mut self.history[..self.channels] {
            history.fill(0.0);
        }
        self.before += count;
        (self.index, self.phase) = ((position / phases) as usize, (position % phases) as usize);
        outputs
    }

    fn past(&self) -> usize {
        self.filter.map_or(0, |filter| filter.taps - 1)
    }

    /// Input samples per channel in the history's end part.
    fn unused(&self) -> usize {
        self.history[0].len() - self.past()
    }

    /// Makes outputs while there are inputs for them, then forgets inputs that no output needs.
    fn filter(&mut self, filter: &Filter, outputs: usize, output: &mut Vec<i16>) -> usize {
        let unused = self.unused();
        let (jump, turn) = (filter.step / filter.phases, filter.step % filter.phases);
        let mut given = 0;
        while self.index < unused && given < outputs {
            let row = filter.row(self.phase);
            for history in &self.history[..self.channels] {
                let sample = dot(row, &history[self.index..self.index + filter.taps]);
                output.push(nearest(sample));
            }
            given += 1;
            self.index += jump;
            self.phase += turn;
            if self.phase >= filter.phases {
                self.phase -= filter.phases;
                self.index += 1;
            }
        }
        let used = self.index.min(unused);
        for history in &mut self.history[..self.channels] {
            history.copy_within(used.., 0);
            history.truncate(history.len() - used);
        }
        self.index -= used;
        self.before += used as u64;
        given
    }
}
