//! The functions that filters are made of, against values from elsewhere: the Bessel function by
//! its integral instead of its series.

#![allow(unused_imports, dead_code, reason = "a bench takes the file in without its tests")]

use super::*;

fn assert_near(value: f64, expected: f64) {
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{value}, {expected}");
}

#[test]
fn the_bessel_function_is_what_its_integral_gives() {
    assert_near(bessel(0.0), 1.0);
    assert_near(bessel(1.0), 1.266_065_877_752_010_6);
    assert_near(bessel(2.5), 3.289_839_144_050_072_5);
    assert_near(bessel(8.3), 566.255_055_846_501_3);
}

#[test]
fn the_window_is_one_in_the_middle_and_falls_evenly_to_its_edges() {
    assert_near(kaiser(0.0), 1.0);
    for (x, expected) in
        [(0.5, 0.354_393_351_026), (0.9, 0.014_393_103_305), (1.0, 0.001_765_988_647)]
    {
        assert_near(kaiser(x), expected);
        assert_near(kaiser(-x), expected);
    }
    assert_near(kaiser(1.1), kaiser(1.0));
}

#[test]
fn sinc_is_one_at_zero_and_nothing_at_whole_numbers() {
    assert_near(sinc(0.0), 1.0);
    assert_near(sinc(1e-13), 1.0);
    assert_near(sinc(0.5), std::f64::consts::FRAC_2_PI);
    assert_near(sinc(-0.5), std::f64::consts::FRAC_2_PI);
    assert_near(sinc(1.0), 0.0);
    assert_near(sinc(1.5), -std::f64::consts::FRAC_2_PI / 3.0);
}

#[test]
fn rates_are_brought_to_their_lowest_terms() {
    assert_eq!([gcd(48_000, 44_100), gcd(8_000, 48_000), gcd(7, 5)], [300, 8_000, 1]);
    let filter = Filter::new(48_000, 44_100);
    assert_eq!((filter.phases, filter.step, filter.taps), (147, 160, 64));
    assert_eq!(filter.rows.len(), 147 * 64);
    let filter = Filter::new(8_000, 48_000);
    assert_eq!((filter.phases, filter.step, filter.taps), (6, 1, 48));
    for phase in 0..filter.phases {
        let sum: f32 = filter.row(phase).iter().sum();
        assert!((sum - 1.0).abs() < 1e-5, "a constant passes unchanged: {sum}");
    }
}

#[test]
fn samples_are_rounded_to_the_nearest_and_clipped() {
    for (sample, expected) in [
        (0.4, 0),
        (0.5, 0),
        (0.6, 1),
        (1.5, 2),
        (-0.6, -1),
        (-1.5, -2),
        (32_767.4, 32_767),
        (40_000.0, 32_767),
        (-40_000.0, -32_768),
    ] {
        assert_eq!(nearest(sample), expected, "{sample}");
    }
}

#[test]
fn a_sum_of_products_takes_every_tap() {
    let taps: Vec<f32> = (0..48u8).map(f32::from).collect();
    for place in 0..48 {
        let mut samples = vec![0.0; 48];
        samples[place] = 2.0;
        assert_eq!(dot(&taps, &samples).to_bits(), (2.0 * taps[place]).to_bits(), "{place}");
    }
    assert_eq!(dot(&taps, &[1.0; 48]).to_bits(), 1_128.0f32.to_bits());
}

#[test]
fn at_equal_rates_each_sample_of_a_channel_counts_once() {
    for channels in [1, 2] {
        let mut resampler = Resampler::new(16_000, 16_000, channels);
        let mut output = Vec::new();
        resampler.process(&vec![3; 100 * usize::from(channels)], &mut output);
        assert_eq!((resampler.passed(), output.len()), (100, 100 * usize::from(channels)));
        assert_eq!(resampler.skip_zeros(7), 7);
        assert_eq!(resampler.passed(), 107);
        resampler.reset();
        assert_eq!(resampler.skip_zeros(5), 5);
        assert_eq!(resampler.passed(), 5);
    }
}
