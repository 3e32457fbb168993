//! Many channels become two.

/// Where a speaker stands: what of it goes left and right.
const LEFT: [f32; 2] = [1.0, 0.0];
const RIGHT: [f32; 2] = [0.0, 1.0];
const NONE: [f32; 2] = [0.0, 0.0];
/// Half the power each: the square root of one half.
const BOTH: [f32; 2] = [std::f32::consts::FRAC_1_SQRT_2; 2];

/// The speakers by their bits in `dwChannelMask`: front left, right and centre, bass, back left
/// and right, front left and right of centre, back centre, side left and right, top centre, top
/// front left, centre and right, top back left, centre and right.
const SPEAKERS: [[f32; 2]; 18] = [
    LEFT, RIGHT, BOTH, NONE, LEFT, RIGHT, LEFT, RIGHT, BOTH, LEFT, RIGHT, BOTH, LEFT, BOTH, RIGHT,
    LEFT, BOTH, RIGHT,
];

/// The speakers of files that name none, by their number of channels (Microsoft's
/// `KSAUDIO_SPEAKER` layouts): from three to eight.
const DEFAULT_MASKS: [u32; 6] = [0x7, 0x33, 0x37, 0x3F, 0x13F, 0x63F];

/// How channels go into one or two.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fold {
    /// By channel; empty when one or two channels stay as they are.
    weights: Vec<[f32; 2]>,
    channels: usize,
}

impl Fold {
    pub(super) fn new(channels: u16, mask: u32) -> Fold {
        let channels = usize::from(channels);
        if channels <= 2 {
            return Fold { weights: Vec::new(), channels };
        }
        let default = DEFAULT_MASKS.get(channels - 3).copied().unwrap_or_default();
        let mask = if mask == 0 { default } else { mask };
        let named = (0..32).filter(|bit| mask >> bit & 1 == 1);
        let speakers = named.map(|bit| SPEAKERS.get(bit).copied().unwrap_or(BOTH));
        // Channels beyond the named speakers stand nowhere, so they are heard on both sides.
        let mut weights: Vec<_> = speakers.chain(std::iter::repeat(BOTH)).take(channels).collect();
        // What is loudest everywhere at once is as loud as it was, and nothing clips.
        for side in 0..2 {
            let sum: f32 = weights.iter().map(|weight| weight[side]).sum();
            let scale = if sum > 0.0 { 1.0 / sum } else { 0.0 };
            weights.iter_mut().for_each(|weight| weight[side] *= scale);
        }
        Fold { weights, channels }
    }

    /// Channels that come in.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Channels that go out: 1 or 2.
    pub(super) fn channels_out(&self) -> usize {
        self.channels.min(2)
    }

    /// Folds one sample of all channels.
    pub(super) fn apply(&self, samples: &[i16], out: &mut [i16]) {
        if self.weights.is_empty() {
            out.copy_from_slice(samples);
            return;
        }
        for (side, out) in out.iter_mut().enumerate() {
            let weighted = samples
                .iter()
                .zip(&self.weights)
                .map(|(&sample, weight)| f32::from(sample) * weight[side]);
            *out = weighted.sum::<f32>().round() as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(channels: u16, mask: u32, samples: &[i16]) -> [i16; 2] {
        let mut out = [0; 2];
        Fold::new(channels, mask).apply(samples, &mut out);
        out
    }

    #[test]
    fn one_and_two_channels_stay_as_they_are() {
        let mut out = [0];
        Fold::new(1, 0).apply(&[-5], &mut out);
        assert_eq!(out, [-5]);
        assert_eq!(folded(2, 0x3, &[7, -9]), [7, -9]);
    }

    #[test]
    fn surround_goes_to_its_sides_and_the_bass_channel_nowhere() {
        let sides = |channel: usize| {
            let mut samples = [0; 6];
            samples[channel] = 24_142;
            folded(6, 0, &samples)
        };
        // Front and back at 1, the centre at 0.7071: a sum of 2.7071 a side.
        assert_eq!(sides(0), [8_918, 0]);
        assert_eq!(sides(1), [0, 8_918]);
        assert_eq!(sides(2), [6_306, 6_306]);
        assert_eq!(sides(3), [0, 0]);
        assert_eq!(sides(4), [8_918, 0]);
        assert_eq!(folded(6, 0, &[i16::MAX; 6]), [i16::MAX; 2], "nothing clips");
    }

    #[test]
    fn speakers_that_are_named_count_and_others_are_heard_on_both_sides() {
        // Front right, bass, side left.
        assert_eq!(folded(3, 1 << 1 | 1 << 3 | 1 << 9, &[100, 50, 30]), [30, 100]);
        assert_eq!(folded(4, 1 << 3, &[5_000, 30, 30, 30]), [30, 30]);
        assert_eq!(folded(64, 0, &[11; 64]), [11, 11]);
    }

    #[test]
    fn a_side_without_a_speaker_is_silent() {
        assert_eq!(folded(3, 1 | 1 << 4 | 1 << 6, &[30, 30, 30]), [30, 0]);
    }
}
