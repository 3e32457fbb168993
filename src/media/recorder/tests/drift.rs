//! Hours of a peer whose clock is off, in one file with what this side says.

use super::*;
use crate::media::drift::tests::{Ear, Voice, our_time};

const RATE: u32 = 8_000;
const HOURS: u64 = 4;

/// When the peer's tone begins and ends, in its blocks: after a second, with the last hour.
const BEGINS: u64 = 50;
const ENDS: u64 = HOURS * 3_600 * 50;

/// Reads a file while it is written: where sound begins and ends, and what is no tone.
struct Reader {
    at: u64,
    first: Option<u64>,
    last: u64,
    ear: Ear,
    /// Where the tone ends at the earliest.
    ends: u64,
}

impl Reader {
    fn read(&mut self, write: &FileWrite) {
        // The header, which is set right again and again.
        if write.offset < 44 {
            return;
        }
        for bytes in write.bytes.as_chunks::<2>().0 {
            let sample = i16::from_le_bytes(*bytes);
            if sample.unsigned_abs() > 500 {
                self.first.get_or_insert(self.at);
                self.last = self.at;
            }
            // Not where the tone comes and goes.
            if self.first.is_some_and(|first| self.at > first + 8_000) && self.at < self.ends {
                self.ear.hear(&[sample]);
            }
            self.at += 1;
        }
    }
}

/// A tone of hours, in a file whose time is ours: it begins and ends in its place, to 20 ms, and
/// nothing is in it that is no tone.
fn record(ppm: i64) {
    let start = origin();
    let mut recorder = Recorder::wav(RATE, RecordLayout::Mixed, start).unwrap();
    let our_time = |block| our_time(block, ppm);
    let mut voice = Voice::new(440.0, 10_000.0);
    let ends = (our_time(ENDS).as_millis() as u64 - 1_000) * 8;
    let mut reader = Reader { at: 0, first: None, last: 0, ear: Ear::new(&voice), ends };
    let mut samples = [0; 160];
    for block in 0..ENDS + 100 {
        let now = start + our_time(block + 1) + ms(30) + ms(block * 7 % 25);
        match block {
            BEGINS..ENDS => voice.say(&mut samples),
            _ => samples.fill(0),
        }
        recorder.heard(AudioFrame::mono(&samples, RATE), ms(20 * block), now);
        recorder.handle_timeout(now);
        while let Some(write) = recorder.poll_write() {
            reader.read(&write);
        }
    }
    recorder.finish(start + our_time(ENDS + 101));
    while let Some(write) = recorder.poll_write() {
        reader.read(&write);
    }
    let ms_of = |samples: u64| samples as f64 / 8.0;
    let first = ms_of(reader.first.unwrap()) - our_time(BEGINS).as_secs_f64() * 1_000.0;
    let last = ms_of(reader.last) - our_time(ENDS).as_secs_f64() * 1_000.0;
    assert!((last - first).abs() < 20.0, "{ppm} ppm: {first:.1} ms late, then {last:.1} ms");
    assert!(reader.ear.worst < 7.0, "{ppm} ppm: {}", reader.ear.worst);
    let counters = recorder.counters();
    assert_eq!((counters.late, counters.dropped, counters.restarts), (0, 0, 0), "{counters:?}");
    let corrected = ms_of(counters.corrected);
    assert!((2_800.0..2_960.0).contains(&corrected), "{corrected} ms of 2880 were corrected");
}

#[test]
fn four_hours_of_a_fast_clock_are_recorded_in_their_place_and_without_a_click() {
    record(-200);
}

#[test]
fn four_hours_of_a_slow_clock_are_recorded_in_their_place_and_without_a_click() {
    record(200);
}
