//! G.722 at 64 kbit/s: 16 kHz in two bands of 8 kHz, each coded as the difference from what an
//! adaptive predictor expects (ITU-T G.722). Two samples are one byte: six bits of the lower band,
//! two of the upper.
//!
//! Names of steps and tables are those of the recommendation (sections 3 and 4, figures 9 to 14,
//! tables 15 to 20), and the arithmetic is its own, to the bit. Both ends adapt by what is on the
//! wire: a lost packet leaves them apart, and they come together again within some tens of
//! milliseconds, because each coefficient leaks.

/// The coefficients of the filters that split and join the bands (table 11), one of the two
/// symmetric halves, interleaved.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// The inverse quantisers: of the lower band with all bits (QM6), of its four upper bits, which are
/// what the predictor sees (QM4), and of the upper band (QM2).
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// How much the scale changes with what was coded (WL by the magnitude that RL4 gives, WH
/// likewise).
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL4: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const WH: [i32; 3] = [0, -214, 798];
const RH2: [usize; 4] = [2, 1, 2, 1];

/// 2048 times two to the power of each 32nd: the scale is kept as a logarithm.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// The decision levels of the lower band's quantiser (table 17), in eighths of the scale.
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// That of the upper band.
const Q2: i32 = 564;

/// The largest logarithms of the scale.
const NB_MAX_LOW: i32 = 18_432;
const NB_MAX_HIGH: i32 = 22_528;

fn saturated(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

/// Whether two values count as of one sign.
fn same_sign(a: i32, b: i32) -> bool {
    (a < 0) == (b < 0)
}

/// A product of two numbers in Q15.
fn product(a: i32, b: i32) -> i32 {
    (a * b) >> 15
}

/// One band's predictor and scale: the same in coder and decoder.
#[derive(Clone, Debug)]
struct Band {
    /// What is expected next: the sum of what both filters give.
    s: i32,
    /// Of it, what the zeros give.
    sz: i32,
    /// The last two reconstructed samples, partial reconstructions, and coefficients of the poles.
    r: [i32; 2],
    p: [i32; 2],
    a: [i32; 2],
    /// The last six differences, and the coefficients of the zeros.
    d: [i32; 6],
    b: [i32; 6],
    /// The scale's logarithm, and the scale.
    nb: i32,
    det: i32,
}

impl Band {
    fn new(det: i32) -> Band {
        let (r, p, a) = ([0; 2], [0; 2], [0; 2]);
        Band { s: 0, sz: 0, r, p, a, d: [0; 6], b: [0; 6], nb: 0, det }
    }

    /// Blocks 3L and 3H: LOGSCL or LOGSCH, then SCALEL or SCALEH.
    fn rescale(&mut self, change: i32, most: i32, shift: i32) {
        self.nb = (product(self.nb, 32_512) + change).clamp(0, most);
        let mantissa = ILB[(self.nb >> 6 & 31) as usize];
        let exponent = shift - (self.nb >> 11);
        let det = if exponent < 0 { mantissa << -exponent } else { mantissa >> exponent };
        self.det = det << 2;
    }

    /// Block 4: adapts the predictor to the difference that was coded, and predicts.
    fn adapt(&mut self, difference: i32) {
        let r = saturated(self.s + difference);
        let p = saturated(self.sz + difference);
        self.adapt_poles(p);
        // UPZERO.
        let step = if difference == 0 { 0 } else { 128 };
        for (b, d) in self.b.iter_mut().zip(self.d) {
            let turn = if same_sign(d, difference) { step } else { -step };
            *b = saturated(turn + product(*b, 32_640));
        }
        self.d.copy_within(..5, 1);
        self.d[0] = difference;
        self.r = [r, self.r[0]];
        self.p = [p, self.p[0]];
        // FILTEP, FILTEZ, PREDIC.
        let pole = |at: usize| product(self.a[at], saturated(2 * self.r[at]));
        let poles = saturated(pole(0) + pole(1));
        let zeros = self.b.iter().zip(self.d).map(|(b, d)| product(*b, saturated(2 * d)));
        self.sz = saturated(zeros.sum());
        self.s = saturated(poles + self.sz);
    }

    /// UPPOL2 and UPPOL1.
    fn adapt_poles(&mut self, p: i32) {
        let [first, second] = self.a;
        let turn = saturated(first << 2);
        let turn = if same_sign(p, self.p[0]) { -turn } else { turn }.min(32_767);
        let pull = if same_sign(p, self.p[1]) { 128 } else { -128 };
        let second = ((turn >> 7) + pull + product(second, 32_512)).clamp(-12_288, 12_288);
        let pull = if same_sign(p, self.p[0]) { 192 } else { -192 };
        let most = saturated(15_360 - second);
        let first = saturated(pull + product(first, 32_640)).clamp(-most, most);
        self.a = [first, second];
    }

    /// The lower band goes on from its six coded bits, of which the predictor sees four.
    fn take_low(&mut self, coded: u8) {
        let seen = usize::from(coded >> 2);
        let difference = product(self.det, QM4[seen]);
        self.rescale(WL[RL4[seen]], NB_MAX_LOW, 8);
        self.adapt(difference);
    }

    /// The upper band goes on from its two.
    fn take_high(&mut self, coded: u8) {
        let coded = usize::from(coded);
        let difference = product(self.det, QM2[coded]);
        self.rescale(WH[RH2[coded]], NB_MAX_HIGH, 10);
        self.adapt(difference);
    }
}

/// Both bands at rest.
fn bands() -> (Band, Band) {
    (Band::new(32), Band::new(8))
}

/// The last samples in front of the filters that split or join the bands.
#[derive(Clone, Debug, Default)]
struct Delay([i32; 24]);

impl Delay {
    fn push(&mut self, pair: [i32; 2]) {
        self.0.copy_within(2.., 0);
        self.0[22..].copy_from_slice(&pair);
    }

    /// The sums over the even and the odd places.
    fn sums(&self) -> (i32, i32) {
        let (mut even, mut odd) = (0, 0);
        for (at, pair) in self.0.chunks_exact(2).enumerate() {
            even += pair[0] * QMF[at];
            odd += pair[1] * QMF[11 - at];
        }
        (even, odd)
    }
}

/// Codes 16 kHz.
#[derive(Clone, Debug)]
pub(super) struct Encoder {
    low: Band,
    high: Band,
    delay: Delay,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        let (low, high) = bands();
        Encoder { low, high, delay: Delay::default() }
    }

    /// Appends a byte for each two samples; a last one alone is left out.
    pub(super) fn encode(&mut self, samples: &[i16], bytes: &mut Vec<u8>) {
        bytes.extend(samples.as_chunks::<2>().0.iter().map(|pair| self.pair(*pair)));
    }

    fn pair(&mut self, pair: [i16; 2]) -> u8 {
        self.delay.push(pair.map(i32::from));
        let (even, odd) = self.delay.sums();
        let (low, high) = ((even + odd) >> 14, (odd - even) >> 14);
        let low_coded = quantised_low(saturated(low - self.low.s), self.low.det);
        self.low.take_low(low_coded);
        let high_coded = quantised_high(saturated(high - self.high.s), self.high.det);
        self.high.take_high(high_coded);
        high_coded << 6 | low_coded
    }
}

/// QUANTL.
fn quantised_low(difference: i32, det: i32) -> u8 {
    let is_negative = difference < 0;
    let magnitude = if is_negative { !difference } else { difference };
    let passed = Q6.iter().take_while(|level| magnitude >= (**level * det) >> 12).count() as u8;
    match (is_negative, passed) {
        // Of the 30 codes of each sign the two smallest stand apart (table 18).
        (true, 0) => 63,
        (true, 1) => 62,
        (true, _) => 33 - passed,
        (false, _) => 61 - passed,
    }
}

/// QUANTH.
fn quantised_high(difference: i32, det: i32) -> u8 {
    let is_negative = difference < 0;
    let magnitude = if is_negative { !difference } else { difference };
    let is_large = magnitude >= (Q2 * det) >> 12;
    match (is_negative, is_large) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    }
}

/// Decodes to 16 kHz.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    low: Band,
    high: Band,
    delay: Delay,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        let (low, high) = bands();
        Decoder { low, high, delay: Delay::default() }
    }

    /// Appends two samples for each byte.
    pub(super) fn decode(&mut self, bytes: &[u8], samples: &mut Vec<i16>) {
        samples.reserve(2 * bytes.len());
        bytes.iter().for_each(|byte| samples.extend(self.pair(*byte)));
    }

    fn pair(&mut self, byte: u8) -> [i16; 2] {
        let (low_coded, high_coded) = (byte & 0x3F, byte >> 6);
        let limited = |value: i32| value.clamp(-16_384, 16_383);
        let difference = product(self.low.det, QM6[usize::from(low_coded)]);
        let low = limited(self.low.s + difference);
        self.low.take_low(low_coded);
        let difference = product(self.high.det, QM2[usize::from(high_coded)]);
        let high = limited(self.high.s + difference);
        self.high.take_high(high_coded);
        self.delay.push([low + high, low - high]);
        let (even, odd) = self.delay.sums();
        [odd, even].map(|sum| saturated(sum >> 11) as i16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_stays_silent_from_the_first_sample_on() {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        let (mut bytes, mut samples) = (Vec::new(), Vec::new());
        encoder.encode(&[0; 16_000], &mut bytes);
        decoder.decode(&bytes, &mut samples);
        assert_eq!((bytes.len(), samples.len()), (8_000, 16_000));
        let loudest = samples.iter().map(|sample| sample.unsigned_abs()).max();
        // The quantiser has no zero: coded zeros are a hiss at the last two bits.
        assert!(loudest <= Some(4), "{loudest:?}");
    }

    #[test]
    fn whatever_bytes_come_nothing_overflows() {
        let mut decoder = Decoder::new();
        let mut samples = Vec::new();
        let mut state = 1u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            decoder.decode(&[(state >> 24) as u8], &mut samples);
        }
        for byte in 0..=255 {
            decoder.decode(&[byte; 2_000], &mut samples);
        }
        assert_eq!(samples.len(), 2 * (200_000 + 256 * 2_000));
    }

    #[test]
    fn the_loudest_sound_is_coded_without_overflow() {
        let (mut encoder, mut bytes) = (Encoder::new(), Vec::new());
        for period in [2, 3, 16, 160] {
            let square =
                (0..16_000).map(|at| if at / period % 2 == 0 { i16::MAX } else { i16::MIN });
            encoder.encode(&square.collect::<Vec<_>>(), &mut bytes);
        }
        assert_eq!(bytes.len(), 4 * 8_000);
    }
}
