//! How loud sound is (RFC 6464): what is measured of it, and what its sender says.

/// The level of silence (RFC 6464 section 3).
pub(super) const LEVEL_SILENCE: u8 = 127;

/// How loud a block of received sound is.
///
/// Where any of the block was decoded from packets whose sender told their level, it is that of the
/// loudest of these packets: browsers measure what their microphone gave, before it was coded.
/// Everything else is measured on the samples that were given, when it is asked for: sound whose
/// packets tell nothing, because the peer did not agree on it or because only a copy of them came
/// (RED, in-band FEC); what was concealed; and silence, which has 127.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioLevel {
    /// dB below full scale (-dBov), from 0, a square wave of full scale, to 127, digital silence
    /// (RFC 6464 section 3).
    pub below_full_scale_db: u8,
    /// Whether the sender takes it for a voice, for any of the packets that are in the block;
    /// `None` where the level was measured here.
    pub voice: Option<bool>,
}

impl AudioLevel {
    pub(super) fn told((below_full_scale_db, voice): (u8, bool)) -> AudioLevel {
        AudioLevel { below_full_scale_db, voice: Some(voice) }
    }

    /// Measures samples, of one channel or interleaved; none are silence.
    ///
    /// ```
    /// use smallrtc::AudioLevel;
    ///
    /// assert_eq!(AudioLevel::of(&[16_384; 160]).below_full_scale_db, 6);
    /// assert_eq!(AudioLevel::of(&[0; 160]).below_full_scale_db, 127);
    /// ```
    #[must_use]
    pub fn of(samples: &[i16]) -> AudioLevel {
        AudioLevel { below_full_scale_db: level(samples), voice: None }
    }

    /// What the sender told, if it did.
    pub(crate) fn of_sender(self) -> Option<(u8, bool)> {
        Some((self.below_full_scale_db, self.voice?))
    }
}

/// The louder of two levels that a sender told, and whether either is a voice.
pub(super) fn louder(one: Option<(u8, bool)>, other: Option<(u8, bool)>) -> Option<(u8, bool)> {
    match (one, other) {
        (Some((level, voice)), Some((other_level, other_voice))) => {
            Some((level.min(other_level), voice || other_voice))
        }
        (one, other) => one.or(other),
    }
}

/// The sum of the samples' squares. Two squares are added, and their sum is counted in 32 bits that
/// wrap and, without its low half, in 32 that do not: that is what vector instructions have, and
/// this is done for every packet (measured: a third of the time that 64 bits a square take).
fn energy(samples: &[i16]) -> u64 {
    // As many halves as 32 bits are sure to hold.
    const BLOCK: usize = 1 << 16;
    // At most 2^30: two of them fit.
    let square = |sample: i16| i32::from(sample).pow(2) as u32;
    let mut sum = 0;
    for block in samples.chunks(BLOCK) {
        let (pairs, odd) = block.as_chunks::<2>();
        let (mut whole, mut high) = (0u32, 0u32);
        for [left, right] in pairs {
            let both = square(*left) + square(*right);
            whole = whole.wrapping_add(both);
            high += both >> 16;
        }
        // What `whole` holds besides the high halves: the low ones, which are too few to wrap.
        let low = whole.wrapping_sub(high << 16);
        let odd: u64 = odd.iter().map(|sample| u64::from(square(*sample))).sum();
        sum += odd + u64::from(low) + (u64::from(high) << 16);
    }
    sum
}

/// The samples' level in -dBov: 0 is a square wave of full scale (RFC 6464 section 3).
pub(super) fn level(samples: &[i16]) -> u8 {
    let sum = energy(samples);
    if sum == 0 {
        return LEVEL_SILENCE;
    }
    // A sum of squares of 16 bits is far below the largest `i64`, whose conversion is one step.
    let mean = sum as i64 as f64 / samples.len() as f64 / (32_768.0 * 32_768.0);
    // How often full scale has to be halved to come to the mean or below it, from its exponent. A
    // half is 3.01 dB: the level is three for each before the last, or up to four more.
    let halvings = 1_023usize.saturating_sub((mean.to_bits() >> 52) as usize);
    let level = (3 * halvings).saturating_sub(3).min(usize::from(LEVEL_SILENCE));
    let passed = LEAST_MEANS[level..level + 4].iter().filter(|least| mean < **least).count();
    ((level + passed) as u8).min(LEVEL_SILENCE)
}

/// The smallest mean square that is rounded to each level, as a share of full scale: from one to
/// the next a tenth of a decade, which is 1 dB, beginning at 0.5 dB below full scale. To look a
/// level up takes a third of the time of a logarithm, and this is done for every packet.
const LEAST_MEANS: [f64; LEVEL_SILENCE as usize + 4] = {
    // 10 to the power of -1/10 and of -1/20.
    const DECIBEL: f64 = 0.794_328_234_724_281_5;
    const HALF_A_DECIBEL: f64 = 0.891_250_938_133_745_6;
    let mut means = [HALF_A_DECIBEL; LEVEL_SILENCE as usize + 4];
    let mut level = 1;
    while level < means.len() {
        means[level] = means[level - 1] * DECIBEL;
        level += 1;
    }
    means
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn energy_is_the_sum_of_squares(
            mut samples in prop::collection::vec(any::<i16>(), 0..6_000),
        ) {
            let plain = |samples: &[i16]| samples.iter().map(|s| i64::from(*s).pow(2) as u64).sum();
            let sum: u64 = plain(&samples);
            prop_assert_eq!(energy(&samples), sum);
            samples.fill(i16::MIN);
            let sum: u64 = plain(&samples);
            prop_assert_eq!(energy(&samples), sum);
        }

        #[test]
        fn a_level_is_ten_decimal_logarithms_rounded(
            samples in prop::collection::vec(any::<i16>(), 1..1_000),
            quieter in 0..16,
        ) {
            let samples: Vec<i16> = samples.iter().map(|sample| sample >> quieter).collect();
            let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
            let mean = sum / samples.len() as f64 / (32_768.0 * 32_768.0);
            let plain = (-10.0 * mean.log10()).round().clamp(0.0, f64::from(LEVEL_SILENCE));
            prop_assert_eq!(level(&samples), plain as u8);
        }
    }

    #[test]
    fn a_level_of_one_sample_is_ten_decimal_logarithms_rounded() {
        for sample in i16::MIN..0 {
            let mean = f64::from(sample).powi(2) / (32_768.0 * 32_768.0);
            assert_eq!(level(&[sample]), (-10.0 * mean.log10()).round() as u8, "{sample}");
        }
        assert_eq!(level(&[0]), LEVEL_SILENCE);
    }

    #[test]
    fn one_loud_sample_in_ever_more_zeros_goes_through_all_levels() {
        let mut samples = vec![i16::MIN];
        for len in 1..1_000 {
            samples.resize(len, 0);
            assert_eq!(level(&samples), (10.0 * (len as f64).log10()).round() as u8, "{len}");
        }
        for len in [1 << 10, 1 << 15, 1 << 20] {
            samples.resize(len, 0);
            for shift in 0..15 {
                samples[0] = 1 << shift;
                let mean = 4f64.powi(shift - 15) / len as f64;
                let plain = (-10.0 * mean.log10()).round().min(f64::from(LEVEL_SILENCE));
                assert_eq!(level(&samples), plain as u8, "{} in {len}", samples[0]);
            }
        }
    }

    #[test]
    fn energy_of_the_loudest_block_does_not_overflow() {
        for len in [65_535, 65_536, 65_537, 200_001] {
            assert_eq!(energy(&vec![i16::MIN; len]), len as u64 * (1 << 30));
        }
    }
}
