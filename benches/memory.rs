//! Resident memory of a connected audio call: 500 in one endpoint, after ten seconds of sound.
//!
//! Two figures, since peers live in the same process:
//! - *Heap* is exact and ours alone: what the answering side's calls asked of the allocator and
//!   did not give back, datagrams included. It leaves out what the allocator itself wastes.
//! - *Resident* is what the system says (`/proc/self/statm`), in a process for each setup. A call's
//!   share of it is what the process grew by for one call with its browser, less half of what it
//!   grew by for an engine with its browser, which are two of a kind.
//!
//! The state of the codec is the difference between Opus and a codec that has none.

mod common;

use std::alloc::System;
use std::process::Command;
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use common::fleet::{Fleet, Meter, NoMeter, Side};
use common::ours::{Shared, null_config};
use common::raw::Raw;
use common::{sound, verdict};
use smallrtc::Config;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CALLS: usize = 500;

/// Ten seconds.
const TURNS: usize = 500;

const GOAL_KIB: f64 = 160.0;

/// Bytes that the side's calls hold.
#[derive(Default)]
struct Heap(isize);

impl Meter for Heap {
    fn work<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let region = Region::new(ALLOCATOR);
        let result = call();
        let change = region.change();
        // Both sums hold what reallocations grew and shrank by.
        self.0 += change.bytes_allocated as isize - change.bytes_deallocated as isize;
        result
    }

    fn upkeep<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.work(call)
    }
}

/// KiB of memory that this process has in use.
fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a Linux system");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.expect("the second number is the resident pages") * 4.0
}

fn talk<S: Side, M: Meter>(side: S, meter: M, calls: usize, packets: &[Vec<u8>]) -> Fleet<S, M> {
    #[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
    let mut fleet = Fleet::connect(side, meter, calls, Instant::now());
    for _ in 0..TURNS {
        fleet.talk(packets);
    }
    // What is sent and not acknowledged yet, and what waits for a timer, settles.
    fleet.run_until(fleet.now + Duration::from_millis(1));
    assert!(fleet.side.heard() >= (calls * TURNS) as u64, "all sound came in");
    fleet
}

/// KiB for one call: heap of the side, growth of the process.
fn measure<S: Side>(make: impl Fn() -> S, packets: &[Vec<u8>]) -> (f64, f64) {
    // Filters, tables, the certificate: once in a process.
    drop(talk(make(), NoMeter, 1, packets));
    let before = resident();
    let fleet = talk(make(), Heap::default(), CALLS, packets);
    let grown = resident() - before;
    let heap = fleet.meter.0 as f64 / 1024.0;
    (heap / CALLS as f64, grown / CALLS as f64)
}

fn measure_setup(setup: &str) -> (f64, f64) {
    #[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
    let now = Instant::now();
    let (null, opus) = (sound::null_packets(), sound::opus_packets());
    match setup {
        "raw" => measure(|| Raw::new(null.clone()), &null),
        "null" => measure(|| Shared::new(null_config(16_000), now), &null),
        "opus" => measure(|| Shared::new(Config::new(), now), &opus),
        other => panic!("no setup {other}"),
    }
}

/// The same in a process of its own.
fn in_process(setup: &str) -> (f64, f64) {
    let this = std::env::current_exe().expect("this program has a path");
    let output = Command::new(this).arg("--setup").arg(setup).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut numbers = text.split_whitespace().map(|word| word.parse().expect("a number"));
    (numbers.next().expect("the heap"), numbers.next().expect("the growth"))
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--setup") {
        let (heap, grown) = measure_setup(&arguments[place + 1]);
        println!("{heap} {grown}");
        return;
    }
    let (raw_heap, raw_pair) = in_process("raw");
    let (null_heap, null_pair) = in_process("null");
    let (opus_heap, opus_pair) = in_process("opus");
    let browser = raw_pair / 2.0;
    println!("KiB for one of {CALLS} calls after 10 s of sound both ways");
    println!("                                heap    resident   (with its browser)");
    let line = |name: &str, heap: f64, resident: f64, pair: f64| {
        println!("  {name:<26} {heap:9.1}   {resident:9.1}   {pair:9.1}");
    };
    line("raw engine", raw_heap, browser, raw_pair);
    line("session, null codec", null_heap, null_pair - browser, null_pair);
    line("session, Opus", opus_heap, opus_pair - browser, opus_pair);
    line("of it codec state", opus_heap - null_heap, opus_pair - null_pair, opus_pair - null_pair);
    let resident = null_pair - browser;
    println!(
        "session without codec state: {resident:.1} KiB resident, {:.2} of the raw engine \
         (goal {GOAL_KIB} KiB): {}",
        resident / browser,
        verdict(resident <= GOAL_KIB)
    );
}
