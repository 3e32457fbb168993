//! Hours of a peer whose clock is off, in one file with what this side says.

use std::f64::consts::TAU;

use super::*;

const RATE: u32 = 8_000;
const BLOCK: u64 = 160;
const HOURS: u64 = 4;

/// When the peer's tone begins and ends, in its blocks: after a second, with the last hour.
const BEGINS: u64 = 50;
const ENDS: u64 = HOURS * 3_600 * 50;

/// Reads a file while it is written: where sound begins and ends, and what is no tone of 440 Hz.
struct Reader {
    at: u64,
    first: Option<u64>,
    last: u64,
    recent: [f64; 2],
    worst: f64,
    /// Where the tone ends at the earliest.
    ends: u64,
}

impl Reader {
    fn new(ends: u64) -> Reader {
        Reader { at: 0, first: None, last: 0, recent: [0.0; 2], worst: 0.0, ends }
    }

    fn read(&mut self, write: &FileWrite) {
        // The header, which is set right again and again.
        if write.offset < 44 {
            return;
        }
        let twice_cosine = 2.0 * (TAU * 440.0 / f64::from(RATE)).cos();
        for bytes in write.bytes.as_chunks::<2>().0 {
            let sample = i16::from_le_bytes(*bytes);
            if sample.unsigned_abs() > 500 {
                self.first.get_or_insert(self.at);
                self.last = self.at;
            }
            let sample = f64::from(sample);
            let off = (sample - twice_cosine * self.recent[1] + self.recent[0]).abs();
            // Not where the tone comes and goes.
            if self.first.is_some_and(|first| self.at > first + 8_000) && self.at < self.ends {
                self.worst = self.worst.max(off);
            }
            (self.recent, self.at) = ([self.recent[1], sample], self.at + 1);
        }
    }
}

/// A tone of hours, in a file whose time is ours: it begins and ends in its place, to 20 ms, and
/// nothing is in it that is no tone.
fn record(ppm: i64) {
    let start = origin();
    let mut recorder = Recorder::wav(RATE, RecordLayout::Mixed, start).unwrap();
    let our_time = |block: u64| {
        let own = 20_000_000 * block as i64;
        Duration::from_nanos((own + own / 1_000_000 * ppm) as u64)
    };
    let mut reader = Reader::new((our_time(ENDS).as_millis() as u64 - 1_000) * 8);
    let mut samples = [0; BLOCK as usize];
    for block in 0..ENDS + 100 {
        let now = start + our_time(block + 1) + ms(30) + ms(block * 7 % 25);
        for (at, sample) in samples.iter_mut().enumerate() {
            let turn = (block * BLOCK + at as u64) as f64 * 440.0 / f64::from(RATE);
            let is_loud = (BEGINS..ENDS).contains(&block);
            *sample =
                if is_loud { ((turn % 1.0 * TAU).sin() * 10_000.0).round() as i16 } else { 0 };
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
    assert!(reader.worst < 7.0, "{ppm} ppm: {}", reader.worst);
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
