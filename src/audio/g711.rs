//! G.711: one sample, one byte, on a scale that is nearly logarithmic (PCMU, PCMA).
//!
//! The rules are those of ITU-T G.711, as its software library (G.191) computes them: what is coded
//! is rounded towards the level below in its segment, and a byte decodes to the middle of what is
//! coded to it. There is no state, so nothing here can be lost.

/// Zero in µ-law: the positive one, which is what silence is coded to.
pub(super) const ULAW_ZERO: u8 = 0xFF;

/// The least level in A-law, 8 of 32768; there is no zero.
pub(super) const ALAW_ZERO: u8 = 0xD5;

/// What µ-law adds to a magnitude before it takes the logarithm, in steps of 4 (G.711 table 2).
const ULAW_BIAS: i32 = 33;

/// The largest magnitude with its bias that has a segment.
const ULAW_MAX: i32 = 0x1FFF;

/// A-law as it is sent has every other bit inverted (G.711 table 1, note 2).
const ALAW_EVEN_BITS: u8 = 0x55;

pub(super) fn ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = (i32::from(if sample < 0 { !sample } else { sample }) >> 2) + ULAW_BIAS;
    let magnitude = magnitude.min(ULAW_MAX);
    // The segment is where the highest bit stands; the bias puts it at 5 or above.
    let segment = magnitude.ilog2() - 5;
    let step = (magnitude >> (segment + 1)) & 0x0F;
    sign | !((segment << 4) as u8 | step as u8) & 0x7F
}

pub(super) fn from_ulaw(byte: u8) -> i16 {
    let magnitude = i32::from(!byte & 0x7F);
    let (segment, step) = (magnitude >> 4, magnitude & 0x0F);
    let level = (((step << 1) + ULAW_BIAS) << segment) - ULAW_BIAS;
    let sample = (level * 4) as i16;
    if byte & 0x80 == 0 { -sample } else { sample }
}

pub(super) fn alaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0 } else { 0x80 };
    let magnitude = i32::from(if sample < 0 { !sample } else { sample }) >> 4;
    // The two lowest segments are one line.
    let coded = match magnitude {
        0..32 => magnitude,
        _ => {
            let segment = magnitude.ilog2() as i32 - 3;
            (segment << 4) | ((magnitude >> (segment - 1)) & 0x0F)
        }
    };
    (sign | coded as u8) ^ ALAW_EVEN_BITS
}

pub(super) fn from_alaw(byte: u8) -> i16 {
    let coded = byte ^ ALAW_EVEN_BITS;
    let (segment, step) = (i32::from(coded >> 4 & 7), i32::from(coded & 0x0F));
    let level = match segment {
        0 => (step << 4) + 8,
        _ => (((step + 16) << 4) + 8) << (segment - 1),
    };
    let sample = level as i16;
    if byte & 0x80 == 0 { -sample } else { sample }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_byte_decodes_to_is_coded_to_that_byte() {
        for byte in 0..=255 {
            // µ-law has two zeros, and codes to the positive one.
            let ulaw_back = if byte == 0x7F { ULAW_ZERO } else { byte };
            assert_eq!(ulaw(from_ulaw(byte)), ulaw_back, "{byte:#x}");
            assert_eq!(alaw(from_alaw(byte)), byte, "{byte:#x}");
        }
        assert_eq!((ulaw(0), alaw(0)), (ULAW_ZERO, ALAW_ZERO));
    }

    #[test]
    fn the_levels_are_those_of_the_recommendation() {
        // G.711 tables 1 and 2: the ends of the scale, and each segment's first level.
        assert_eq!([0x80, 0x00, 0xFF, 0x7F, 0xFE].map(from_ulaw), [32_124, -32_124, 0, 0, 8]);
        let firsts = [0xEF, 0xDF, 0xCF, 0xBF, 0xAF, 0x9F, 0x8F].map(from_ulaw);
        assert_eq!(firsts, [132, 396, 924, 1_980, 4_092, 8_316, 16_764]);
        assert_eq!([0xAA, 0x2A, 0xD5, 0x55].map(from_alaw), [32_256, -32_256, 8, -8]);
        let firsts = [0xC5, 0xF5, 0xE5, 0x95, 0x85, 0xB5, 0xA5].map(from_alaw);
        assert_eq!(firsts, [264, 528, 1_056, 2_112, 4_224, 8_448, 16_896]);
    }

    #[test]
    fn every_sample_is_coded_to_a_level_next_to_it() {
        for sample in i16::MIN..=i16::MAX {
            for (name, back, max) in
                [("u", from_ulaw(ulaw(sample)), 32_124), ("A", from_alaw(alaw(sample)), 32_256)]
            {
                let clipped = i32::from(sample).clamp(-max, max);
                let error = (i32::from(back) - clipped).abs();
                // Half a step of its segment: a 32nd of the magnitude, and of the bias.
                let most = (clipped.abs() + 132) / 32 + 8;
                assert!(error <= most, "{name}-law: {sample} comes back as {back}");
            }
        }
    }
}
