//! The detector of this build on sound that is a voice, and on sound that is none.

use super::*;

const LEN: usize = 16_000 * 4;

/// Random numbers that are the same everywhere.
fn noise() -> impl FnMut() -> f64 {
    let mut state = 12_345_u32;
    move || {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0
    }
}

/// A resonance of the mouth (Klatt 1980): gives the next output.
struct Formant {
    past: [f64; 2],
}

impl Formant {
    fn next(&mut self, input: f64, hertz: f64, width: f64) -> f64 {
        let radius = (-std::f64::consts::PI * width / 16_000.0).exp();
        let turn = std::f64::consts::TAU * hertz / 16_000.0;
        let (b, c) = (2.0 * radius * turn.cos(), -radius * radius);
        let output = (1.0 - b - c) * input + b * self.past[0] + c * self.past[1];
        self.past = [output, self.past[0]];
        output
    }
}

/// Vowels in syllables of a quarter of a second, from a gliding voice with some breath in it.
pub(crate) fn speech(len: usize) -> Vec<i16> {
    const VOWELS: [[f64; 3]; 5] = [
        [730.0, 1_090.0, 2_440.0],
        [270.0, 2_290.0, 3_010.0],
        [530.0, 1_840.0, 2_480.0],
        [570.0, 840.0, 2_410.0],
        [300.0, 870.0, 2_240.0],
    ];
    let mut breath = noise();
    let mut formants = [[0.0; 2]; 3].map(|past| Formant { past });
    let (mut turn, mut at_vowel) = (0.0, VOWELS[0]);
    let sample = |at: usize| {
        let time = at as f64 / 16_000.0;
        turn += (125.0 + 25.0 * (time * 2.3).sin() + 6.0 * (time * 31.0).sin()) / 16_000.0;
        let is_pulse = turn >= 1.0;
        turn -= f64::from(u8::from(is_pulse));
        let syllable = time * 4.0;
        let vowel = VOWELS[syllable as usize * 7 % 5];
        let loudness = (syllable.fract() * std::f64::consts::PI).sin().powf(0.5);
        let source = if is_pulse { 60.0 } else { 0.0 } + breath() * 0.5;
        let mut sound = 0.0;
        for (formant, (hertz, target)) in formants.iter_mut().zip(at_vowel.iter_mut().zip(vowel)) {
            *hertz += (target - *hertz) * 0.001;
            sound += formant.next(source, *hertz, 60.0 + *hertz * 0.04);
        }
        (sound * loudness * 6_000.0).clamp(-30_000.0, 30_000.0) as i16
    };
    (0..len).map(sample).collect()
}

fn tone(len: usize, hertz: f64) -> Vec<i16> {
    let turn = std::f64::consts::TAU * hertz / 16_000.0;
    (0..len).map(|at| ((at as f64 * turn).sin() * 12_000.0) as i16).collect()
}

fn hiss(len: usize, loudness: f64) -> Vec<i16> {
    let mut noise = noise();
    (0..len).map(|_| (noise() * loudness) as i16).collect()
}

/// What is found in sound, given in blocks of this length.
fn found(sound: &[i16], block: usize) -> Vec<Speech> {
    let detector = detector().expect("this build has one");
    let mut voice = Voice::new(VoiceActivity::new(), detector, (16_000, 1));
    let mut found = Vec::new();
    for block in sound.chunks(block) {
        voice.hear(block);
        found.extend(std::iter::from_fn(|| voice.poll_found()));
    }
    voice.end();
    found.extend(std::iter::from_fn(|| voice.poll_found()));
    found
}

#[test]
fn somebody_who_speaks_between_two_pauses_starts_once_and_stops_once() {
    let quiet = hiss(16_000 * 2, 30.0);
    let sound = [&quiet[..], &speech(LEN), &quiet].concat();
    let found = found(&sound, 320);
    let [Speech::Started(from), Speech::Stopped(until)] = found[..] else { panic!("{found:?}") };
    let near = |at: Duration, then: u64| at.abs_diff(Duration::from_millis(then));
    // The first syllables of a machine are not yet believed.
    assert!(near(from, 2_000) < Duration::from_millis(700), "from {from:?}");
    assert!(near(until, 6_000) < Duration::from_millis(400), "until {until:?}");
}

#[test]
fn silence_noise_hum_and_tones_above_and_below_a_voice_are_none() {
    let hums: Vec<_> = (1..6).map(|number| tone(LEN, 50.0 * f64::from(number))).collect();
    let hum = (0..LEN).map(|at| hums.iter().map(|hum| hum[at] / 20).sum()).collect();
    for (name, sound) in [
        ("silence", vec![0; LEN]),
        ("a soft hiss", hiss(LEN, 100.0)),
        ("a hiss as loud as an old recording has", hiss(LEN, 400.0)),
        ("a low tone", tone(LEN, 100.0)),
        ("a high tone", tone(LEN, 2_000.0)),
        ("the hum of the mains", hum),
        ("clicks", (0..LEN).map(|at| if at % 4_000 == 0 { 20_000 } else { 0 }).collect()),
    ] {
        assert_eq!(found(&sound, 320), [], "{name}");
    }
}

#[test]
fn the_same_sound_is_found_the_same_in_blocks_of_any_length() {
    let sound = [hiss(16_000, 30.0), speech(LEN), hiss(16_000, 30.0)].concat();
    let expected = found(&sound, 320);
    assert!(!expected.is_empty());
    for block in [1, 160, 256, 257, 960, sound.len()] {
        assert_eq!(found(&sound, block), expected, "{block}");
    }
}

#[test]
fn a_detector_that_was_reset_scores_as_a_new_one() {
    let sound = speech(LEN);
    let scores = |detector: &mut dyn VoiceDetector| -> Vec<u8> {
        sound.chunks_exact(FRAME).map(|frame| detector.score(frame)).collect()
    };
    let mut detector = detector().unwrap();
    let first = scores(&mut *detector);
    assert!(first.iter().max() > Some(&128), "there is a voice");
    detector.reset();
    assert_eq!(scores(&mut *detector), first);
}
