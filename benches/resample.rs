//! Our resampler beside rubato's: what 20 ms cost, and what comes out.
//!
//! | resampler | what it is |
//! | --- | --- |
//! | ours | `src/audio/resample.rs`: polyphase, 48 taps at the lower rate |
//! | rubato fft | what rubato advises for fixed rates, in its default setting, on blocks of 20 ms |
//! | rubato sinc 64 | a sinc about as short as ours, linear between points: it loses high pitches |
//! | rubato sinc 256 | its default for streams |
//!
//! All take and give 16-bit samples, as a session's do; for rubato they are brought to floats and
//! back. CPU time is the thread's, the median of rounds in which all take turns.
//!
//! Quality is that of a sweep from 100 Hz to 0.8 of the lower Nyquist frequency at half of full
//! scale: the ratio of what should have come to what came besides, once the delay and the gain that
//! fit best are taken out. 16 bits alone allow 92 dB. *Rejected* is how much a sweep above 1.1 of
//! the lower Nyquist frequency is attenuated, where the rate falls. *Delay* is what fits best.
//!
//! ```sh
//! cargo bench --bench resample
//! ```

#![expect(clippy::print_stdout, reason = "a bench prints")]

mod common;
#[expect(dead_code, reason = "the bench needs the way that every packet goes, no more")]
#[path = "../src/audio/resample.rs"]
mod resample;

use std::f64::consts::TAU;
use std::hint::black_box;

use cpu_time::ThreadTime;
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{
    Async, Fft, FixedAsync, FixedSync, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use common::median;
use resample::Resampler;

/// From and to, in samples per second.
const PAIRS: [(u32, u32); 4] =
    [(48_000, 16_000), (16_000, 48_000), (24_000, 48_000), (44_100, 48_000)];

const ROUNDS: usize = 31;
/// Blocks of 20 ms in a round.
const BLOCKS: usize = 500;

/// Half of full scale.
const AMPLITUDE: f64 = 16_384.0;
/// How long a sweep lasts, and how much of its beginning and end is left out: what a filter needs
/// to fill, and more.
const SWEEP_SECONDS: f64 = 2.0;
const EDGE_SECONDS: f64 = 0.1;

/// Something that changes the rate, in blocks of 20 ms.
trait Converter {
    fn convert(&mut self, block: &[i16], output: &mut Vec<i16>);
    /// About so late, in seconds.
    fn delay(&self) -> f64;
}

struct Ours {
    resampler: Resampler,
    from: u32,
}

impl Converter for Ours {
    fn convert(&mut self, block: &[i16], output: &mut Vec<i16>) {
        self.resampler.process(block, output);
    }

    fn delay(&self) -> f64 {
        self.resampler.delay() as f64 / f64::from(self.from)
    }
}

struct Rubato {
    resampler: Box<dyn rubato::Resampler<f32>>,
    to: u32,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Rubato {
    fn boxed(resampler: impl rubato::Resampler<f32> + 'static, to: u32) -> Box<dyn Converter> {
        let output = vec![0.0; resampler.output_frames_max()];
        Box::new(Rubato { resampler: Box::new(resampler), to, input: Vec::new(), output })
    }
}

impl Converter for Rubato {
    fn convert(&mut self, block: &[i16], output: &mut Vec<i16>) {
        self.input.clear();
        self.input.extend(block.iter().map(|sample| f32::from(*sample)));
        let room = self.output.len();
        let input = InterleavedSlice::new(&self.input, 1, block.len()).expect("one channel");
        let mut room = InterleavedSlice::new_mut(&mut self.output, 1, room).expect("one channel");
        let done = self.resampler.process_into_buffer(&input, &mut room, None);
        let (read, written) = done.expect("a block of the agreed length");
        assert_eq!(read, block.len(), "a block is taken whole");
        output.extend(self.output[..written].iter().map(|sample| sample.round_ties_even() as i16));
    }

    fn delay(&self) -> f64 {
        self.resampler.output_delay() as f64 / f64::from(self.to)
    }
}

type Make = fn(u32, u32) -> Box<dyn Converter>;

fn sinc(from: u32, to: u32, parameters: &SincInterpolationParameters) -> Box<dyn Converter> {
    let (ratio, block) = (f64::from(to) / f64::from(from), from as usize / 50);
    let made = Async::<f32>::new_sinc(ratio, 1.0, parameters, block, 1, FixedAsync::Input);
    Rubato::boxed(made.expect("legal rates"), to)
}

const CONVERTERS: [(&str, Make); 4] = [
    ("ours", |from, to| Box::new(Ours { resampler: Resampler::new(from, to, 1), from })),
    ("rubato fft", |from, to| {
        let block = from as usize / 50;
        let made = Fft::<f32>::new(from as usize, to as usize, block, 1, FixedSync::Both);
        Rubato::boxed(made.expect("legal rates"), to)
    }),
    ("rubato sinc 64", |from, to| {
        let short = SincInterpolationParameters::new(64, WindowFunction::BlackmanHarris2);
        sinc(from, to, &short.interpolation(SincInterpolationType::Linear))
    }),
    ("rubato sinc 256", |from, to| sinc(from, to, &SincInterpolationParameters::default())),
];

/// A tone that glides.
#[derive(Clone, Copy)]
struct Sweep {
    from_hz: f64,
    to_hz: f64,
}

impl Sweep {
    fn at(self, seconds: f64) -> f64 {
        let glide = (self.to_hz - self.from_hz) / (2.0 * SWEEP_SECONDS);
        AMPLITUDE * (TAU * (self.from_hz + glide * seconds) * seconds).sin()
    }

    fn samples(self, rate: u32) -> Vec<i16> {
        let count = (SWEEP_SECONDS * f64::from(rate)) as usize;
        let sample = |at: usize| self.at(at as f64 / f64::from(rate)).round_ties_even() as i16;
        (0..count).map(sample).collect()
    }
}

fn converted(make: Make, (from, to): (u32, u32), sweep: Sweep) -> Vec<i16> {
    let (mut converter, mut output) = (make(from, to), Vec::new());
    for block in sweep.samples(from).chunks_exact(from as usize / 50) {
        converter.convert(block, &mut output);
    }
    output
}

/// Without the edges, with each sample's time.
fn middle(output: &[i16], rate: u32) -> impl Iterator<Item = (f64, f64)> {
    let edge = (EDGE_SECONDS * f64::from(rate)) as usize;
    let inner = edge..output.len() - edge;
    inner.map(move |at| (at as f64 / f64::from(rate), f64::from(output[at])))
}

/// The ratio of a sweep to all else that came out, in decibels, if it was so late.
fn ratio_db(output: &[i16], rate: u32, sweep: Sweep, delay: f64) -> f64 {
    let (mut came, mut wanted, mut both) = (0.0, 0.0, 0.0);
    for (time, sample) in middle(output, rate) {
        let ideal = sweep.at(time - delay);
        came += sample * sample;
        wanted += ideal * ideal;
        both += sample * ideal;
    }
    let fits = both * both / wanted;
    10.0 * (fits / (came - fits)).log10()
}

/// The delay that fits best, and the ratio with it. The ratio rises towards it from both sides
/// within a quarter of a period of the highest pitch.
fn best_fit(output: &[i16], rate: u32, sweep: Sweep, about: f64) -> (f64, f64) {
    let ratio = |delay| ratio_db(output, rate, sweep, delay);
    let step = 1.0 / (8.0 * sweep.to_hz);
    // A delay that is told is whole samples; the true one lies within some of them.
    let steps = (-32..=32).map(|number| about + step * f64::from(number));
    let coarse = steps.max_by(|a, b| ratio(*a).total_cmp(&ratio(*b))).expect("there are steps");
    let (mut low, mut high) = (coarse - step, coarse + step);
    for _ in 0..40 {
        let third = (high - low) / 3.0;
        if ratio(low + third) < ratio(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    (low, ratio(low))
}

/// By how much a sweep that cannot be kept is attenuated, in decibels.
fn rejected_db(make: Make, (from, to): (u32, u32)) -> Option<f64> {
    let sweep = Sweep { from_hz: f64::from(to) * 0.55, to_hz: f64::from(from) * 0.475 };
    if to >= from {
        return None;
    }
    let output = converted(make, (from, to), sweep);
    let (mut power, mut count) = (0.0, 0.0);
    for (_, sample) in middle(&output, to) {
        power += sample * sample;
        count += 1.0;
    }
    Some(10.0 * (AMPLITUDE * AMPLITUDE / 2.0 / (power / count).max(1e-9)).log10())
}

/// CPU time of 20 ms for each converter, by rounds, in microseconds.
fn times(pair: (u32, u32)) -> [Vec<f64>; CONVERTERS.len()] {
    let (from, to) = pair;
    let sweep = Sweep { from_hz: 100.0, to_hz: 4_000.0 };
    let sound = sweep.samples(from);
    let blocks: Vec<&[i16]> = sound.chunks_exact(from as usize / 50).collect();
    let mut converters = CONVERTERS.map(|(_, make)| make(from, to));
    let mut times = [const { Vec::new() }; CONVERTERS.len()];
    let mut output = Vec::new();
    for round in 0..=ROUNDS {
        for (converter, times) in converters.iter_mut().zip(&mut times) {
            let begin = ThreadTime::now();
            for block in blocks.iter().cycle().take(BLOCKS) {
                output.clear();
                converter.convert(block, &mut output);
                black_box(&output);
            }
            if round > 0 {
                times.push(begin.elapsed().as_secs_f64() * 1e6 / BLOCKS as f64);
            }
        }
    }
    times
}

fn main() {
    println!("20 ms of one channel, median of {ROUNDS} rounds; a sweep at half of full scale");
    for pair @ (from, to) in PAIRS {
        println!("{from} to {to}");
        let times = times(pair);
        let ours = times[0].clone();
        let sweep = Sweep { from_hz: 100.0, to_hz: f64::from(from.min(to)) * 0.4 };
        for ((name, make), mut times) in CONVERTERS.into_iter().zip(times) {
            let ratios = ours.iter().zip(&times).map(|(ours, theirs)| ours / theirs);
            let ratio = median(&mut ratios.collect::<Vec<f64>>());
            let output = converted(make, pair, sweep);
            let (delay, quality) = best_fit(&output, to, sweep, make(from, to).delay());
            let rejected = rejected_db(make, pair);
            let rejected = rejected.map_or("-".to_owned(), |rejected| format!("{rejected:.1}"));
            println!(
                "  {name:<16} {:7.2} us   ours takes {ratio:5.2} of it   {quality:5.1} dB   \
                 rejected {rejected:>5} dB   delay {:6.3} ms",
                median(&mut times),
                delay * 1e3
            );
        }
    }
}
