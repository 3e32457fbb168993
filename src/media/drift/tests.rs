//! Hours of two clocks, waveforms included.

use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::stretch::{ONE, Stretch};
use super::{DriftCorrector, JUMPS};
use crate::AudioFrame;

const MS: Duration = Duration::from_millis(1);
const BLOCK: Duration = Duration::from_millis(20);
const HOURS: u64 = 3_600;

/// Samples per second.
const RATE: usize = 8_000;

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn epoch() -> Instant {
    Instant::now()
}

/// Delays from 0 to 30 ms that look like jitter.
fn jitter(block: u64) -> Duration {
    let mixed = block.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_micros((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) % 30_000)
}

/// When, by our clock, a block of a peer begins whose clock is off.
pub(in crate::media) fn our_time(block: u64, ppm: i64) -> Duration {
    let own = (BLOCK * block as u32).as_nanos() as i64;
    Duration::from_nanos((own + own / 1_000_000 * ppm) as u64)
}

/// A tone of so many whole turns a second.
pub(in crate::media) struct Voice {
    /// Radians of a sample.
    turn: f64,
    second: Vec<i16>,
    at: usize,
}

impl Voice {
    pub(in crate::media) fn new(frequency: f64, loudness: f64) -> Voice {
        let turn = TAU * frequency / RATE as f64;
        let sample = |at| (f64::from(at) * turn).sin() * loudness;
        let second = (0..RATE as u32).map(|at| sample(at).round() as i16).collect();
        Voice { turn, second, at: 0 }
    }

    pub(in crate::media) fn say(&mut self, out: &mut [i16]) {
        for sample in out {
            *sample = self.second[self.at % RATE];
            self.at += 1;
        }
    }
}

/// Looks at a tone sample by sample: what of three in a row is no tone of its pitch. A click, a
/// hole or a repetition is as loud as the tone; a pitch that is off by 1000 ppm is not.
pub(in crate::media) struct Ear {
    twice_cosine: f64,
    last: [f64; 2],
    pub(in crate::media) worst: f64,
    heard: u64,
}

impl Ear {
    pub(in crate::media) fn new(voice: &Voice) -> Ear {
        Ear { twice_cosine: 2.0 * voice.turn.cos(), last: [0.0; 2], worst: 0.0, heard: 0 }
    }

    pub(in crate::media) fn hear(&mut self, samples: &[i16]) {
        for &sample in samples {
            let sample = f64::from(sample);
            let off = (sample - self.twice_cosine * self.last[1] + self.last[0]).abs();
            // The first samples come out of nothing.
            if self.heard >= 64 {
                self.worst = self.worst.max(off);
            }
            self.last = [self.last[1], sample];
            self.heard += 1;
        }
    }
}

/// A call whose peer's clock is off, and a queue that ours empties.
struct Call {
    drift: DriftCorrector,
    start: Instant,
    ppm: i64,
    block: u64,
    /// Samples that went into the queue.
    queued: u64,
}

impl Call {
    fn new(ppm: i64) -> Call {
        Call { drift: DriftCorrector::new(), start: epoch(), ppm, block: 0, queued: 0 }
    }

    /// When, by our clock, the next block would come without jitter.
    fn due(&self) -> Duration {
        our_time(self.block + 1, self.ppm)
    }

    /// The next block; gives how much of the sound waits that was queued when there is no jitter.
    fn hear(&mut self, samples: &[i16], ear: Option<&mut Ear>) -> f64 {
        let now = self.due() + jitter(self.block);
        let frame = AudioFrame::mono(samples, 8_000);
        let said = self.drift.correct(frame, BLOCK * self.block as u32, self.start + now);
        if let Some(ear) = ear {
            ear.hear(said.samples);
        }
        self.queued += said.samples.len() as u64;
        let waits = self.queued as f64 / 8.0 - self.due().as_secs_f64() * 1_000.0;
        self.block += 1;
        waits
    }

    /// Hours of a voice; the least and the most that waited, in milliseconds.
    fn talk(&mut self, seconds: u64, voice: &mut Voice, ear: &mut Ear) -> (f64, f64) {
        let mut samples = [0; 160];
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for _ in 0..seconds * 50 {
            voice.say(&mut samples);
            let waits = self.hear(&samples, Some(ear));
            (least, most) = (least.min(waits), most.max(waits));
        }
        (least, most)
    }
}

/// Four hours without a pause, at the drift of bad clocks, with jitter: the delay stays within
/// 20 ms, and in the whole waveform there is nothing but the tone.
fn four_hours(ppm: i64) {
    let mut call = Call::new(ppm);
    let mut voice = Voice::new(440.0, 10_000.0);
    let mut ear = Ear::new(&voice);
    let (least, most) = call.talk(4 * HOURS, &mut voice, &mut ear);
    assert!(least > -16.0 && most < 16.0, "{ppm} ppm: from {least} to {most} ms");
    // 1000 ppm of 440 Hz at 8 kHz are 2.3, and three samples are rounded.
    assert!(ear.worst < 7.0, "{ppm} ppm: {}", ear.worst);
    let counters = call.drift.counters();
    assert_eq!((counters.jumps, counters.restarts), (0, 0));
    // 2.88 s, which would be the delay.
    let more = counters.given as i64 - counters.taken as i64;
    assert!((more - 23_040 * ppm.signum()).abs() < 200, "{more} samples");
}

#[test]
fn four_hours_of_a_slow_clock_are_heard_without_delay_and_without_a_click() {
    four_hours(200);
}

#[test]
fn four_hours_of_a_fast_clock_are_heard_without_delay_and_without_a_click() {
    four_hours(-200);
}

/// Without it the same call is off by seconds: what is measured above is there.
#[test]
fn four_hours_of_a_clock_that_is_off_are_nearly_three_seconds_without_correction() {
    let mut call = Call::new(200);
    call.block = 4 * HOURS * 50 - 1;
    let off = call.due().as_secs_f64() - 4.0 * HOURS as f64;
    assert!((2.87..2.89).contains(&off), "{off} s");
}

#[test]
fn the_ear_hears_a_sample_that_is_left_out() {
    let mut voice = Voice::new(440.0, 10_000.0);
    let mut ear = Ear::new(&voice);
    let mut samples = [0; 1_000];
    voice.say(&mut samples);
    ear.hear(&samples);
    assert!(ear.worst < 3.0);
    voice.at += 1;
    voice.say(&mut samples);
    ear.hear(&samples);
    assert!(ear.worst > 300.0, "{}", ear.worst);
}

#[test]
fn even_clocks_and_their_jitter_change_no_sample() {
    let mut call = Call::new(0);
    let mut voice = Voice::new(440.0, 10_000.0);
    let mut ear = Ear::new(&voice);
    call.talk(HOURS, &mut voice, &mut ear);
    assert!(call.drift.stretch.as_ref().unwrap().1.passes_through());
    let counters = call.drift.counters();
    assert_eq!(counters.given, counters.taken);
}

#[test]
fn what_clocks_drift_is_worked_off_in_quiet_and_what_is_said_is_not_touched() {
    for ppm in [200, -200] {
        let mut call = Call::new(ppm);
        let mut voice = Voice::new(440.0, 10_000.0);
        let (mut samples, mut off) = ([0; 160], 0.0f64);
        // Two seconds of speech, one of a pause.
        for block in 0..HOURS * 50 {
            match block % 150 {
                0..100 => voice.say(&mut samples),
                _ => samples.fill(0),
            }
            off = off.max(call.hear(&samples, None).abs());
        }
        assert!(off < 8.0, "{ppm} ppm: {off} ms");
        let counters = call.drift.counters();
        let more = counters.given as i64 - counters.taken as i64;
        assert!((more - 5_760 * ppm.signum()).abs() < 100, "{more} samples");
    }
}

#[test]
fn a_stall_of_the_driver_changes_nothing() {
    let mut call = Call::new(0);
    for block in 0..100 * 50 {
        let samples = [700; 160];
        let now = match block {
            // Twelve seconds come at once.
            2_000..2_600 => BLOCK * 2_600,
            _ => BLOCK * block + jitter(block.into()),
        };
        let frame = AudioFrame::mono(&samples, 8_000);
        let said = call.drift.correct(frame, BLOCK * block, call.start + now);
        assert_eq!(said.samples, samples, "block {block}");
    }
}

/// The way of the packets changes, and they come half a second later from then on.
#[test]
fn a_delay_that_jumps_is_the_usual_one_from_then_on() {
    let mut call = Call::new(0);
    for block in 0..100 * 50 {
        let samples = [700; 160];
        let late = if block < 2_000 { Duration::ZERO } else { 500 * MS };
        let now = call.start + BLOCK * block + late;
        let said = call.drift.correct(AudioFrame::mono(&samples, 8_000), BLOCK * block, now);
        assert_eq!(said.samples, samples, "block {block}");
    }
    assert_eq!(call.drift.counters().jumps, u64::from(JUMPS));
}

#[test]
fn a_hole_in_media_time_and_another_form_begin_anew() {
    let mut drift = DriftCorrector::new();
    let (start, samples) = (epoch(), [5; 320]);
    let frame = AudioFrame::mono(&samples, 16_000);
    drift.correct(frame, Duration::ZERO, start);
    drift.correct(frame, 20 * MS, start + 20 * MS);
    assert_eq!(drift.counters().restarts, 0);
    drift.correct(frame, 60 * MS, start + 60 * MS);
    assert_eq!(drift.counters().restarts, 1);
    let stereo = AudioFrame { samples: &samples, rate: 16_000, channels: 2 };
    drift.correct(stereo, 80 * MS, start + 80 * MS);
    assert_eq!(drift.counters().restarts, 2);
}

#[test]
fn what_is_no_sound_is_given_back() {
    let mut drift = DriftCorrector::new();
    for (len, channels) in [(0, 1), (3, 2), (3, 0), (3, 3)] {
        let samples = vec![1; len];
        let frame = AudioFrame { samples: &samples, rate: 8_000, channels };
        assert_eq!(drift.correct(frame, Duration::MAX, epoch()).samples, samples);
    }
    let frame = AudioFrame { samples: &[1], rate: 0, channels: 1 };
    assert_eq!(drift.correct(frame, Duration::ZERO, epoch()).samples, [1]);
    assert_eq!(drift.counters().taken, 0);
}

/// A tone that is stretched is a tone: everything else in it lies 70 dB below.
#[test]
fn stretched_tones_are_clean_up_to_four_fifths_of_the_band() {
    for frequency in [100.0, 440.0, 1_000.0, 2_500.0, 3_200.0] {
        for ratio in [ONE / 1_000, -ONE / 1_000, ONE / 5_000, 1 << 20] {
            let mut voice = Voice::new(frequency, 10_000.0);
            let mut samples = vec![0; 32_000];
            voice.say(&mut samples);
            let (mut stretch, mut out) = (Stretch::new(1), Vec::new());
            for block in samples.chunks(160) {
                stretch.process(block, ratio, &mut out);
            }
            let rest = rest(&out[100..31_000], voice.turn * (1.0 - ratio as f64 / ONE as f64));
            let decibels = 20.0 * (rest / (10_000.0 / 2f64.sqrt())).log10();
            assert!(decibels < -70.0, "{frequency} Hz by {ratio}: {decibels:.1} dB");
        }
    }
}

/// The effective value of what is left when a tone is taken away.
fn rest(samples: &[i16], turn: f64) -> f64 {
    // Least squares: the sums of the two parts with each other and with the samples.
    let phase = |at: usize| (at as f64 * turn) % TAU;
    let [mut ss, mut cc, mut sc, mut sx, mut cx] = [0.0; 5];
    for (at, &sample) in samples.iter().enumerate() {
        let (s, c) = phase(at).sin_cos();
        let x = f64::from(sample);
        (ss, cc, sc, sx, cx) = (ss + s * s, cc + c * c, sc + s * c, sx + s * x, cx + c * x);
    }
    let whole = ss * cc - sc * sc;
    let (sine, cosine) = ((sx * cc - cx * sc) / whole, (cx * ss - sx * sc) / whole);
    let left = samples.iter().enumerate().map(|(at, &sample)| {
        let tone = sine * phase(at).sin() + cosine * phase(at).cos();
        (f64::from(sample) - tone).powi(2)
    });
    (left.sum::<f64>() / samples.len() as f64).sqrt()
}

proptest! {
    /// However it is cut, and whatever the ratios are: the same sound, and as long as they say.
    #[test]
    fn stretched_sound_is_as_long_as_its_ratios_say(
        blocks in prop::collection::vec((1usize..400, -ONE / 32..ONE / 32), 1..50),
        channels in 1u8..=2,
    ) {
        let mut stretch = Stretch::new(channels);
        let (mut out, mut exact) = (Vec::new(), 0.0);
        let mut given = 0;
        for (len, ratio) in blocks {
            let samples = vec![1_000; len * usize::from(channels)];
            given += stretch.process(&samples, ratio, &mut out);
            exact += len as f64 / (1.0 - ratio as f64 / ONE as f64);
            // Sixteen are held back, and what is held back gets the next block's ratio.
            prop_assert!(((exact - 16.0).max(0.0) - given as f64).abs() < 3.0, "{} of {}", given, exact);
        }
        prop_assert_eq!(out.len(), given * usize::from(channels));
        // A constant is a constant; before it there was nothing.
        let settled = out.iter().skip(40 * usize::from(channels));
        prop_assert!(settled.clone().all(|sample| (999..=1_001).contains(sample)));
    }

    /// Whatever an application says of time, nothing panics, and no more comes than went in.
    #[test]
    fn any_times_are_taken(
        blocks in prop::collection::vec((0u64..u64::MAX, 0u64..1 << 40, 0usize..800), 1..60),
    ) {
        let (mut drift, start) = (DriftCorrector::new(), epoch());
        for (time, now, len) in blocks {
            let samples = vec![3_000; len];
            let now = start + Duration::from_micros(now);
            let frame = AudioFrame::mono(&samples, 48_000);
            let said = drift.correct(frame, Duration::from_nanos(time), now);
            prop_assert!(said.samples.len() <= len + len / 30 + 17);
        }
    }
}

#[test]
fn stretch_takes_whatever_it_is_given() {
    for channels in [0, 1, 2, 3, 255] {
        let (mut stretch, mut out) = (Stretch::new(channels), Vec::new());
        for ppm in [0, i32::MIN, 1, i32::MAX, -1_000] {
            for len in [0, 1, 2, 959, 960] {
                let before = out.len();
                let given = stretch.stretch(&vec![7; len], ppm, &mut out);
                assert_eq!(given * usize::from(channels.clamp(1, 2)), out.len() - before);
            }
        }
        stretch.snap();
        // A tenth more, and a tenth less, is the most.
        assert!((3 * 1_920..6 * 1_920).contains(&out.len()), "{}", out.len());
    }
}

#[test]
fn stretch_gives_what_its_millionths_say_and_nothing_else_until_it_has_to() {
    let second: Vec<i16> = (0..48_000).map(|at| (at % 997) as i16).collect();
    for (ppm, more) in [(1_000, 48), (-1_000, -48), (100_000, 4_800), (900_000, 4_800)] {
        let (mut stretch, mut out) = (Stretch::new(1), Vec::new());
        assert_eq!(stretch.stretch(&second, 0, &mut out), 48_000);
        assert_eq!((&out, stretch.held()), (&second, 0));
        let given = stretch.stretch(&second, ppm, &mut out) as i64;
        let off = given + stretch.held() as i64 - 48_000 - more;
        // What is held back is not stretched yet.
        assert!(off.abs() <= 2, "{off} samples at {ppm} ppm");
    }
}
