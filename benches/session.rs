//! CPU time of one call: 20 ms of sound in and 20 ms out, beside the engine alone.
//!
//! All lanes run in one process, a second of each in turn, and only the calls of the answering side
//! count: a packet in and its sound read, sound handed over and its packet out, and every timer.
//! The unit is the thread's CPU time, not the clock on the wall, and what is printed is the median
//! of many rounds.
//!
//! The baseline for Opus is the engine with the codec put to it by hand, set as a session sets it.
//! The codec by itself is measured too, but a sum of parts leaves out that each finds the caches
//! as the other left them. The resampler has no
//! door of its own: it is the difference between sessions that hand sound out at 16 kHz and at
//! 48 kHz with a codec that costs next to nothing.

mod common;

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use common::fleet::{Fleet, Meter, Side};
use common::ours::{Sessions, Shared, null_config};
use common::raw::Raw;
use common::sound::{self, Coder};
use common::{median, verdict};
use smallrtc::Config;

/// Calls in each lane: enough that a reading of the clock costs nothing beside them, and that the
/// caches are as cold as a server's.
const CALLS: usize = 40;

/// Rounds of one second of call.
const ROUNDS: usize = 31;

const TURNS: usize = 50;

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

/// Something that is measured.
trait Lane {
    /// 20 ms of all calls.
    fn turn(&mut self);
    /// The CPU time since it was last asked.
    fn spent(&mut self) -> Duration;
    /// Checks that what was measured has worked.
    fn check(&self) {}
}

struct CallLane<S: Side> {
    fleet: Fleet<S, Cpu>,
    packets: Vec<Vec<u8>>,
}

impl<S: Side + 'static> CallLane<S> {
    fn boxed(side: S, packets: Vec<Vec<u8>>, now: Instant) -> Box<dyn Lane> {
        Box::new(CallLane { fleet: Fleet::connect(side, Cpu::default(), CALLS, now), packets })
    }
}

impl<S: Side> Lane for CallLane<S> {
    fn turn(&mut self) {
        self.fleet.talk(&self.packets);
    }

    fn spent(&mut self) -> Duration {
        std::mem::take(&mut self.fleet.meter.0)
    }

    fn check(&self) {
        let packets = (CALLS * TURNS * ROUNDS) as u64;
        assert!(self.fleet.side.heard() >= packets, "all sound came in");
        assert!(self.fleet.heard_by_browsers() >= packets, "all sound went out");
    }
}

/// The codec alone, for as many calls.
struct CodecLane {
    coders: Vec<Coder>,
    frames: Vec<Vec<i16>>,
    packets: Vec<Vec<u8>>,
    turn: usize,
    meter: Cpu,
}

impl Lane for CodecLane {
    fn turn(&mut self) {
        let place = self.turn % sound::FRAMES;
        let (frame, packet) = (&self.frames[place], &self.packets[place]);
        let coders = &mut self.coders;
        self.meter.work(|| {
            // As calls do it: all of them hear, then all of them speak.
            for coder in coders.iter_mut() {
                std::hint::black_box(coder.decode(packet));
            }
            for coder in coders {
                std::hint::black_box(coder.encode(frame));
            }
        });
        self.turn += 1;
    }

    fn spent(&mut self) -> Duration {
        std::mem::take(&mut self.meter.0)
    }
}

/// The lanes by name.
fn lanes(now: Instant) -> Vec<(&'static str, Box<dyn Lane>)> {
    let (null, opus) = (sound::null_packets(), sound::opus_packets());
    let codec = CodecLane {
        coders: (0..CALLS).map(|_| Coder::new()).collect(),
        frames: sound::frames(),
        packets: opus.clone(),
        turn: 0,
        meter: Cpu::default(),
    };
    let null_48 = Sessions::new(null_config(48_000));
    let null_16 = Sessions::new(null_config(16_000));
    vec![
        ("raw engine, 11 bytes", CallLane::boxed(Raw::new(null.clone()), null.clone(), now)),
        ("session, null codec", CallLane::boxed(null_48, null.clone(), now)),
        (
            "endpoint, null codec",
            CallLane::boxed(Shared::new(null_config(48_000), now), null.clone(), now),
        ),
        ("session, null codec, 16 kHz", CallLane::boxed(null_16, null, now)),
        ("raw engine, Opus packets", CallLane::boxed(Raw::new(opus.clone()), opus.clone(), now)),
        ("codec alone", Box::new(codec)),
        ("raw engine with the codec", CallLane::boxed(Raw::with_coders(), opus.clone(), now)),
        ("session, Opus", CallLane::boxed(Sessions::new(Config::new()), opus, now)),
    ]
}

#[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let mut lanes = lanes(Instant::now());
    let mut rounds = vec![Vec::new(); lanes.len()];
    // The first round fills caches, buffers and filters.
    for round in 0..=ROUNDS {
        for place in 0..lanes.len() {
            // Another lane goes first each time.
            let lane = (place + round) % lanes.len();
            for _ in 0..TURNS {
                lanes[lane].1.turn();
            }
        }
        for ((_, lane), figures) in lanes.iter_mut().zip(&mut rounds) {
            let spent = lane.spent();
            if round > 0 {
                figures.push(spent.as_secs_f64() * 1e6 / (CALLS * TURNS) as f64);
            }
        }
    }
    println!("CPU time for 20 ms in and 20 ms out, median of {ROUNDS} rounds, {CALLS} calls");
    let mut medians = Vec::new();
    for ((name, lane), figures) in lanes.iter().zip(&mut rounds) {
        lane.check();
        let median = median(figures);
        println!("  {name:<28} {median:8.2} us   (from {:.2})", figures[0]);
        medians.push(median);
    }
    let [raw, null, endpoint, null_16, raw_opus, codec, by_hand, opus] = medians[..] else {
        unreachable!("as many medians as lanes")
    };
    for (name, value) in [("session", null), ("endpoint", endpoint)] {
        let (ratio, above) = (value / raw, value - raw);
        let is_met = ratio <= 1.3 && above <= 3.0;
        println!(
            "{name} / raw engine: {ratio:.3} (goal 1.3), {above:.2} us above (goal 3): {}",
            verdict(is_met)
        );
    }
    let resampler = null_16 - null;
    let baseline = by_hand + resampler;
    let ratio = opus / baseline;
    println!(
        "session with Opus / (engine with the codec {by_hand:.2} + resampler {resampler:.2}): \
         {ratio:.3} (goal 1.05), {:.2} us above: {}",
        opus - baseline,
        verdict(ratio <= 1.05)
    );
    let parts = codec + resampler + raw_opus;
    println!(
        "session with Opus / the parts, each alone (codec {codec:.2} + resampler {resampler:.2} + \
         engine {raw_opus:.2}): {:.3}",
        opus / parts
    );
}
