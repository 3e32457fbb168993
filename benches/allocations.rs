//! Heap allocations of one call: 20 ms of sound in and 20 ms out, beside the engine alone.
//!
//! The null codec allocates nothing, so what a session allocates beyond the engine is its own.
//! Counted are allocations and reallocations inside the answering side's calls, after ten seconds
//! of call in which buffers reach their size.

mod common;

use std::alloc::System;
use std::time::Instant;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use common::fleet::{Fleet, Meter, Side};
use common::ours::{Sessions, Shared, null_config};
use common::raw::Raw;
use common::{sound, verdict};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: usize = 20;

/// Ten seconds to settle, then a minute that counts.
const SETTLING: usize = 500;
const TURNS: usize = 3_000;

#[derive(Default)]
struct Allocations(usize);

impl Meter for Allocations {
    fn work<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let region = Region::new(ALLOCATOR);
        let result = call();
        let change = region.change();
        self.0 += change.allocations + change.reallocations;
        result
    }
}

/// Allocations of one call in 20 ms.
fn count<S: Side>(side: S, now: Instant) -> f64 {
    let packets = sound::null_packets();
    let mut fleet = Fleet::connect(side, Allocations::default(), CALLS, now);
    for _ in 0..SETTLING {
        fleet.talk(&packets);
    }
    fleet.meter.0 = 0;
    let before = (fleet.side.heard(), fleet.heard_by_browsers());
    for _ in 0..TURNS {
        fleet.talk(&packets);
    }
    let packets = (CALLS * TURNS) as u64;
    assert_eq!(fleet.side.heard() - before.0, packets, "all sound came in");
    assert_eq!(fleet.heard_by_browsers() - before.1, packets, "all sound went out");
    fleet.meter.0 as f64 / (CALLS * TURNS) as f64
}

#[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let now = Instant::now();
    let raw = count(Raw::new(sound::null_packets()), now);
    println!("heap allocations for 20 ms in and 20 ms out, timers and reports included");
    println!("  raw engine                   {raw:7.4}");
    let lanes = [
        ("session, 48 kHz", count(Sessions::new(null_config(48_000)), now)),
        ("session, resampled to 16 kHz", count(Sessions::new(null_config(16_000)), now)),
        ("endpoint, 48 kHz", count(Shared::new(null_config(48_000), now), now)),
    ];
    for (name, ours) in lanes {
        let above = ours - raw;
        let verdict = verdict(above <= 0.0);
        println!("  {name:<28} {ours:7.4}, above the engine {above:+.4} (goal 0): {verdict}");
    }
}
