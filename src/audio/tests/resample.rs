//! What the resampler keeps, what it removes, and that it counts exactly.

use proptest::prelude::*;

use super::sine;
use crate::audio::resample::{RATES, Resampler};

fn resample(input: &[i16], from: u32, to: u32) -> Vec<i16> {
    let mut output = Vec::new();
    Resampler::new(from, to, 1).process(input, &mut output);
    output
}

/// The amplitude of the tone in `samples`, and the mean square of what is left without it.
pub(super) fn fit(samples: &[i16], hertz: f64, rate: u32) -> (f64, f64) {
    let turn = |at: usize| at as f64 * hertz / f64::from(rate) * std::f64::consts::TAU;
    let (mut a, mut b, mut cc, mut ss, mut cs) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (at, &sample) in samples.iter().enumerate() {
        let (sin, cos) = turn(at).sin_cos();
        a += f64::from(sample) * sin;
        b += f64::from(sample) * cos;
        (ss, cc, cs) = (ss + sin * sin, cc + cos * cos, cs + cos * sin);
    }
    let det = ss * cc - cs * cs;
    let (sin_part, cos_part) = ((a * cc - b * cs) / det, (b * ss - a * cs) / det);
    let rest = samples.iter().enumerate().map(|(at, &sample)| {
        let (sin, cos) = turn(at).sin_cos();
        (f64::from(sample) - sin_part * sin - cos_part * cos).powi(2)
    });
    (sin_part.hypot(cos_part), rest.sum::<f64>() / samples.len() as f64)
}

pub(super) fn decibels(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    RATES.iter().flat_map(|&from| RATES.iter().map(move |&to| (from, to)))
}

#[test]
fn ten_milliseconds_in_give_ten_milliseconds_out() {
    for (from, to) in pairs().filter(|(from, to)| from % 100 == 0 && to % 100 == 0) {
        let mut resampler = Resampler::new(from, to, 1);
        for _ in 0..50 {
            let mut output = Vec::new();
            resampler.process(&vec![100; from as usize / 100], &mut output);
            assert_eq!(output.len(), to as usize / 100, "{from} to {to}");
        }
    }
}

#[test]
fn a_second_in_gives_a_second_out_for_every_pair() {
    for (from, to) in pairs() {
        let output = resample(&vec![1; from as usize * 3], from, to);
        assert_eq!(output.len(), to as usize * 3, "{from} to {to}");
    }
}

#[test]
fn a_tone_of_speech_passes_unchanged_and_clean() {
    for (from, to) in pairs() {
        for part in [0.05, 0.4, 0.8] {
            let hertz = f64::from(from.min(to)) / 2.0 * part;
            let output = resample(&sine(hertz, from, from as usize), from, to);
            let (amplitude, rest) = fit(&output[to as usize / 10..], hertz, to);
            let gain = decibels(amplitude / 12_000.0);
            assert!(gain.abs() < 0.1, "{from} to {to} at {hertz} Hz: gain {gain:.2} dB");
            // Rounding alone leaves -86 dB below this tone.
            let noise = decibels(rest.sqrt() / (12_000.0 / 2f64.sqrt()));
            assert!(noise < -80.0, "{from} to {to} at {hertz} Hz: noise {noise:.1} dB");
        }
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_gone() {
    for (from, to) in pairs().filter(|(from, to)| to < from) {
        let nyquist = f64::from(to) / 2.0;
        let mut hertz = nyquist * 1.06;
        while hertz < f64::from(from) / 2.0 {
            let input: Vec<i16> =
                sine(hertz, from, from as usize / 2).iter().map(|sample| sample * 2).collect();
            let output = resample(&input, from, to);
            let rest = &output[to as usize / 10..];
            let mean: f64 = rest.iter().map(|&sample| f64::from(sample).powi(2)).sum();
            let level = decibels((mean / rest.len() as f64).sqrt() / (24_000.0 / 2f64.sqrt()));
            assert!(level < -80.0, "{from} to {to} at {hertz:.0} Hz: {level:.1} dB");
            hertz *= 1.17;
        }
    }
}

#[test]
fn the_delay_is_what_it_says_and_short() {
    for (from, to) in pairs().filter(|(from, to)| from != to) {
        let resampler = Resampler::new(from, to, 1);
        let delay = resampler.delay() as f64 / f64::from(from);
        assert!(delay <= 32.0 / f64::from(from.min(to)), "{from} to {to}: {delay} s");
        let mut input = vec![0i16; from as usize / 10];
        input[0] = 30_000;
        let output = resample(&input, from, to);
        let peak = (0..output.len()).max_by_key(|&at| output[at].unsigned_abs()).unwrap();
        let error = (peak as f64 / f64::from(to) - delay).abs();
        assert!(error <= 1.0 / f64::from(to), "{from} to {to}: off by {error} s");
    }
}

#[test]
fn loud_sound_saturates_and_does_not_wrap() {
    let square: Vec<i16> =
        (0..4_800).map(|at| if at / 100 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let output = resample(&square, 48_000, 16_000);
    let wrapped = output.windows(2).filter(|pair| {
        let step = (i32::from(pair[0]) - i32::from(pair[1])).abs();
        step > 60_000
    });
    assert_eq!(wrapped.count(), 0);
}

#[test]
fn two_channels_do_not_mix() {
    let left = sine(440.0, 24_000, 2_400);
    let input: Vec<i16> = left.iter().flat_map(|&sample| [sample, 0]).collect();
    let mut output = Vec::new();
    Resampler::new(24_000, 48_000, 2).process(&input, &mut output);
    let alone = resample(&left, 24_000, 48_000);
    assert!(output.chunks(2).zip(&alone).all(|(pair, &alone)| pair == [alone, 0]));
}

fn rate() -> impl Strategy<Value = u32> {
    proptest::sample::select(RATES.to_vec())
}

proptest! {
    #[test]
    fn blocks_of_any_length_give_the_same_samples(
        from in rate(), to in rate(), blocks in prop::collection::vec(1usize..3_000, 1..12),
    ) {
        let total = blocks.iter().sum::<usize>();
        let input = sine(300.0, from, total);
        let whole = resample(&input, from, to);
        let mut resampler = Resampler::new(from, to, 1);
        let (mut output, mut at) = (Vec::new(), 0);
        for block in blocks {
            resampler.process(&input[at..at + block], &mut output);
            at += block;
        }
        prop_assert_eq!(whole.len(), (total * to as usize).div_ceil(from as usize));
        prop_assert_eq!(output, whole);
    }

    #[test]
    fn outputs_asked_for_come_exactly_and_no_input_is_wasted(
        from in rate(), to in rate(), wanted in prop::collection::vec(1usize..2_000, 1..12),
    ) {
        let mut resampler = Resampler::new(from, to, 1);
        let (mut taken, mut given) = (0u64, 0u64);
        for outputs in wanted {
            let mut output = Vec::new();
            let inputs = resampler.inputs_for(outputs);
            let made = resampler.process_at_most(&vec![1; inputs], outputs, &mut output);
            prop_assert_eq!((made, output.len()), (outputs, outputs));
            taken += inputs as u64;
            given += outputs as u64;
            let last = (given - 1) * u64::from(from) / u64::from(to);
            prop_assert_eq!(taken, last + 1);
        }
    }

    #[test]
    fn zeros_that_are_skipped_count_like_zeros_that_are_made(
        from in rate(), to in rate(), before in 0usize..2_000, zeros in 0u64..100_000,
    ) {
        let (mut made, mut skipped) = (Resampler::new(from, to, 1), Resampler::new(from, to, 1));
        for resampler in [&mut made, &mut skipped] {
            resampler.process(&vec![5; before], &mut Vec::new());
            resampler.process(&vec![0; resampler.settle() as usize], &mut Vec::new());
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        made.process(&vec![0; zeros as usize], &mut a);
        prop_assert_eq!(skipped.skip_zeros(zeros), a.len() as u64);
        prop_assert!(a.iter().all(|&sample| sample == 0));
        prop_assert_eq!(made.passed(), skipped.passed());
        a.clear();
        made.process(&[9; 1_000], &mut a);
        skipped.process(&[9; 1_000], &mut b);
        prop_assert_eq!(a, b);
    }
}
