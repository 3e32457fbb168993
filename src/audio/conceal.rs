//! What is heard in the place of a lost packet where the codec itself has no answer (G.711, G.722):
//! the last period of the voice again and again, ever softer. After ITU-T G.711 appendix I, but
//! without its delay: what was given out stays as it is, and the seam to it is mended behind it.
//!
//! | since the loss | what is heard |
//! | --- | --- |
//! | 0 to 10 ms | the last period, repeated |
//! | 10 to 60 ms | the same, fading to nothing |
//! | after that | zeros |
//! | the first 4 ms that come again | faded in over what went on |
//!
//! It never changes what is not next to a loss, and never makes a sample louder than it was heard.

/// Periods that are looked for, in hertz: a deep voice's, and three times that of a high one's
/// (G.711 appendix I: 66 to 200 Hz; a higher voice repeats in several of its periods).
const PITCH_MIN: usize = 66;
const PITCH_MAX: usize = 200;

/// How much of the past has to look the same one period before, in parts of a second. 20 ms: two of
/// the shortest periods and one of the longest.
const MATCH_PART: usize = 50;

/// How long the repetition is as loud as what was heard, and when it has faded to nothing, in
/// milliseconds (G.711 appendix I: a fifth less every 10 ms from the second on).
const LOUD_MS: usize = 10;
const FADED_MS: usize = 60;

/// How long what comes again is faded in, in milliseconds (G.711 appendix I: 4 ms, and more after
/// longer losses).
const RETURN_MS: usize = 4;

/// A repetition that goes on.
#[derive(Debug)]
struct Loss {
    period: Vec<i16>,
    /// How far the first repeated sample is from where the last heard one would have gone.
    jump: i32,
    /// Samples that were given so far.
    given: usize,
}

/// Conceals losses in one channel.
#[derive(Debug)]
pub(super) struct Concealment {
    rate: usize,
    /// What was heard last, zeros before the first.
    past: Vec<i16>,
    loss: Option<Loss>,
}

impl Concealment {
    pub(super) fn new(rate: u32) -> Concealment {
        let rate = rate as usize;
        let len = rate / MATCH_PART + rate.div_ceil(PITCH_MIN) + 1;
        Concealment { rate, past: vec![0; len], loss: None }
    }

    /// Takes what was decoded, and fades it in where it follows a loss.
    pub(super) fn heard(&mut self, samples: &mut [i16]) {
        if let Some(mut loss) = self.loss.take() {
            let len = (self.rate * RETURN_MS / 1_000).min(samples.len());
            for (at, sample) in samples[..len].iter_mut().enumerate() {
                let (goes, comes) = (self.next(&mut loss), i32::from(*sample));
                let part = at as i32 + 1;
                let whole = len as i32 + 1;
                *sample = ((goes * (whole - part) + comes * part) / whole) as i16;
            }
        }
        let kept = self.past.len();
        if samples.len() >= kept {
            self.past.copy_from_slice(&samples[samples.len() - kept..]);
        } else {
            self.past.copy_within(samples.len().., 0);
            self.past[kept - samples.len()..].copy_from_slice(samples);
        }
    }

    /// Appends `frames` samples of what may have been lost.
    pub(super) fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        let mut loss = self.loss.take().unwrap_or_else(|| self.begin());
        samples.extend((0..frames).map(|_| self.next(&mut loss) as i16));
        self.loss = Some(loss);
    }

    pub(super) fn reset(&mut self) {
        self.past.fill(0);
        self.loss = None;
    }

    /// Finds the period, and makes its end lead into its beginning.
    fn begin(&self) -> Loss {
        let past = &self.past;
        let lag = self.period();
        let first = past.len() - lag;
        let mut period = past[first..].to_vec();
        let seam = lag / 4;
        for at in 0..seam {
            let (ends, leads) = (i32::from(past[past.len() - seam + at]), first - seam + at);
            let part = at as i32 + 1;
            let whole = seam as i32 + 1;
            let mixed = (ends * (whole - part) + i32::from(past[leads]) * part) / whole;
            period[lag - seam + at] = mixed as i16;
        }
        let jump = i32::from(past[past.len() - 1]) - i32::from(past[first - 1]);
        Loss { period, jump, given: 0 }
    }

    /// The lag at which the past is most like itself.
    fn period(&self) -> usize {
        let past = &self.past;
        let window = self.rate / MATCH_PART;
        let newest = &past[past.len() - window..];
        let likeness = |lag: usize| {
            let older = &past[past.len() - window - lag..past.len() - lag];
            let product = |(a, b): (&i16, &i16)| i64::from(*a) * i64::from(*b);
            let (mut common, mut energy) = (0, 1);
            for pair in newest.iter().zip(older) {
                common += product(pair);
                energy += product((pair.1, pair.1));
            }
            // The sum of 320 products at most is below 2^39: an `f64` holds it as it is.
            let common = common.max(0) as f64;
            common * common / energy as f64
        };
        let (mut best, mut most) = (self.rate / PITCH_MAX, 0.0);
        for lag in self.rate / PITCH_MAX..=self.rate / PITCH_MIN {
            let likeness = likeness(lag);
            if likeness > most {
                (best, most) = (lag, likeness);
            }
        }
        best
    }

    /// The next sample of a repetition.
    fn next(&self, loss: &mut Loss) -> i32 {
        let (loud, faded) = (self.rate * LOUD_MS / 1_000, self.rate * FADED_MS / 1_000);
        let at = loss.given;
        if at >= faded {
            return 0;
        }
        loss.given += 1;
        let lag = loss.period.len();
        let mend = lag / 4;
        let mended = if at < mend { loss.jump * (mend - at) as i32 / mend as i32 } else { 0 };
        let sample = (i32::from(loss.period[at % lag]) + mended).clamp(-32_768, 32_767);
        let left = (faded - at).min(faded - loud) as i32;
        sample * left / (faded - loud) as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 2] = [8_000, 16_000];

    fn tone(rate: u32, hertz: f64, from: usize, len: usize) -> Vec<i16> {
        let wave = |at| (at as f64 * hertz / f64::from(rate) * std::f64::consts::TAU).sin();
        (from..from + len).map(|at| (wave(at) * 10_000.0) as i16).collect()
    }

    fn steepest(samples: &[i16]) -> u16 {
        samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or_default()
    }

    #[test]
    fn a_lost_packet_of_a_voice_goes_on_at_its_pitch_and_does_not_click() {
        for rate in RATES {
            for hertz in [80.0, 125.0, 210.0, 330.0] {
                let mut concealment = Concealment::new(rate);
                let (before, lost) = (rate as usize / 5, rate as usize / 50);
                let mut heard = tone(rate, hertz, 0, before);
                concealment.heard(&mut heard);
                concealment.conceal(lost, &mut heard);
                let mut after = tone(rate, hertz, before + lost, lost);
                concealment.heard(&mut after);
                heard.extend(after);
                let whole = tone(rate, hertz, 0, before + 2 * lost);
                let (most, usual) = (steepest(&heard), steepest(&whole));
                assert!(most < 2 * usual + 100, "{rate} {hertz}: a step of {most}, {usual} before");
                // The first 10 ms are as loud, and what was said.
                let error = |at: usize| i32::from(heard[at]) - i32::from(whole[at]);
                let worst = (before..before + lost / 2).map(|at| error(at).abs()).max();
                assert!(worst < Some(2_500), "{rate} {hertz}: {worst:?} beside what was said");
            }
        }
    }

    #[test]
    fn it_fades_to_nothing_within_60_ms_and_is_never_louder_than_what_was_heard() {
        for rate in RATES {
            let mut concealment = Concealment::new(rate);
            let mut samples = tone(rate, 100.0, 0, rate as usize / 5);
            concealment.heard(&mut samples);
            let mut lost = Vec::new();
            concealment.conceal(rate as usize / 10, &mut lost);
            let faded = rate as usize * 60 / 1_000;
            assert!(lost[..faded].iter().all(|sample| sample.unsigned_abs() < 10_100));
            assert!(lost[faded / 2..faded].iter().any(|sample| *sample != 0));
            assert!(lost[faded..].iter().all(|sample| *sample == 0));
            assert!(lost[faded - 20..faded].iter().all(|sample| sample.unsigned_abs() < 600));
            // What comes again comes softly.
            let mut after = vec![10_000; rate as usize / 50];
            concealment.heard(&mut after);
            assert!(after[0] < 400 && after[rate as usize / 250] == 10_000, "{}", after[0]);
        }
    }

    #[test]
    fn noise_and_nothing_are_concealed_without_a_click_of_full_scale() {
        for rate in RATES {
            let mut concealment = Concealment::new(rate);
            let mut lost = Vec::new();
            concealment.conceal(1_000, &mut lost);
            assert!(lost.iter().all(|sample| *sample == 0), "nothing was heard");
            let mut state = 7u32;
            let mut noise: Vec<i16> = (0..2_000)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 16) as i16
                })
                .collect();
            concealment.heard(&mut noise);
            lost.clear();
            concealment.conceal(1_000, &mut lost);
            assert_eq!(lost.len(), 1_000);
            concealment.reset();
            lost.clear();
            concealment.conceal(1_000, &mut lost);
            assert!(lost.iter().all(|sample| *sample == 0), "it was forgotten");
        }
    }

    #[test]
    fn in_two_steps_it_is_the_same_as_in_one() {
        let mut samples = tone(8_000, 150.0, 0, 1_000);
        let (mut one, mut two) = (Concealment::new(8_000), Concealment::new(8_000));
        one.heard(&mut samples.clone());
        two.heard(&mut samples);
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        one.conceal(400, &mut whole);
        for len in [1, 0, 119, 280] {
            two.conceal(len, &mut parts);
        }
        assert_eq!(whole, parts);
    }
}
