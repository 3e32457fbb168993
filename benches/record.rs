//! What a log costs: CPU time of one call with 20 ms of sound in and out, recorded and not.
//!
//! The lanes run in turns in one process, as in `benches/session.rs`, on the real engine. The goal
//! is that of a call as it is in production, with Opus; the null codec shows what a log costs where
//! nothing else costs much. The sink counts bytes and drops them: what a disk does is no work of
//! the call's thread.
//!
//! What is held against the goal is the median of the rounds' ratios: both sides of a ratio ran
//! within a second, so what else the machine does falls on both. One lane is there twice, not
//! recorded either time: how far its ratio is from one tells what a difference is worth. A session
//! that is not recorded has no recorder: nothing is off that could be left out of a third lane.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use common::fleet::{Fleet, Meter};
use common::ours::{Sessions, null_config};
use common::sound;
use common::{median, verdict};
use smallrtc::Config;
use smallrtc::record::{Archive, Detail, LogSink, Recording};

const CALLS: usize = 20;

/// Rounds of a fifth of a second of call.
const ROUNDS: usize = 151;

const TURNS: usize = 10;

/// The most that recording sizes may cost.
const GOAL: f64 = 1.03;

/// CPU time of the side's calls.
#[derive(Default)]
struct Cpu(Duration);

impl Meter for Cpu {
    fn work<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let begin = ThreadTime::now();
        let result = call();
        self.0 += begin.elapsed();
        result
    }
}

/// Counts what it is given.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Archive for Counter {
    fn open(&self, _: &str) -> Option<Box<dyn LogSink>> {
        Some(Box::new(self.clone()))
    }
}

impl LogSink for Counter {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        true
    }
}

struct Lane {
    name: &'static str,
    fleet: Fleet<Sessions, Cpu>,
    packets: Vec<Vec<u8>>,
    written: Counter,
    figures: Vec<f64>,
}

impl Lane {
    fn new(
        name: &'static str,
        config: Config,
        detail: Option<Detail>,
        packets: Vec<Vec<u8>>,
        now: Instant,
    ) -> Lane {
        let written = Counter::default();
        let config = match detail {
            None => config,
            Some(detail) => {
                let recording = Recording::new(Arc::new(written.clone())).bytes_max(u64::MAX);
                config.record(recording.media(detail).messages(detail))
            }
        };
        let fleet = Fleet::connect(Sessions::new(config), Cpu::default(), CALLS, now);
        Lane { name, fleet, packets, written, figures: Vec::new() }
    }

    /// The median of the rounds' ratios to another lane.
    fn beside(&self, other: &Lane) -> f64 {
        let pairs = self.figures.iter().zip(&other.figures);
        median(&mut pairs.map(|(this, other)| this / other).collect::<Vec<_>>())
    }

    fn kilobytes_per_second(&self) -> f64 {
        let seconds = (CALLS * (ROUNDS + 1) * TURNS) as f64 / 50.0;
        self.written.0.load(Ordering::Relaxed) as f64 / 1000.0 / seconds
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let now = Instant::now();
    let (null, opus) = (sound::null_packets(), sound::opus_packets());
    let opus_lane = |name, detail| Lane::new(name, Config::new(), detail, opus.clone(), now);
    let null_lane = |name, detail| Lane::new(name, null_config(48_000), detail, null.clone(), now);
    let mut lanes = [
        opus_lane("Opus", None),
        opus_lane("Opus, the same again", None),
        opus_lane("Opus, recorded: none", Some(Detail::None)),
        opus_lane("Opus, recorded: sizes", Some(Detail::Sizes)),
        opus_lane("Opus, recorded: full", Some(Detail::Full)),
        null_lane("null codec", None),
        null_lane("null codec, recorded: sizes", Some(Detail::Sizes)),
    ];
    let count = lanes.len();
    // The first round fills caches, buffers and filters.
    for round in 0..=ROUNDS {
        for place in 0..count {
            // Another lane goes first each time.
            let lane = &mut lanes[(place + round) % count];
            for _ in 0..TURNS {
                lane.fleet.talk(&lane.packets);
            }
        }
        for lane in &mut lanes {
            let spent = std::mem::take(&mut lane.fleet.meter.0);
            if round > 0 {
                lane.figures.push(spent.as_secs_f64() * 1e6 / (CALLS * TURNS) as f64);
            }
        }
    }
    println!("CPU time for 20 ms in and 20 ms out, median of {ROUNDS} rounds, {CALLS} calls");
    for lane in &lanes {
        let median = median(&mut lane.figures.clone());
        let written = lane.kilobytes_per_second();
        println!("  {:<28} {median:8.2} us   {written:8.2} kB/s of log", lane.name);
    }
    let [opus, again, none, sizes, full, null, null_sizes] = &lanes;
    let ratio = sizes.beside(opus);
    let met = verdict(ratio <= GOAL);
    println!("recorded at sizes / not, Opus: {ratio:.4} (goal {GOAL}): {met}");
    println!("  at none {:.4}, at full {:.4}", none.beside(opus), full.beside(opus));
    println!("  not recorded either, which should be one: {:.4}", again.beside(opus));
    println!("  at sizes with the null codec {:.4}", null_sizes.beside(null));
}
