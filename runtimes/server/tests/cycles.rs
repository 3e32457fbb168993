//! A thousand calls that come and go, by a goodbye or without a word: nothing of them is left.
//!
//! A program of its own, because it counts what its process holds.

#![cfg(target_os = "linux")]

use std::alloc::System;
use std::fs;
use std::time::{Duration, Instant};

use smallrtc::Config;
use smallrtc::signaling::{self, RateLimit};
use smallrtc_server::load::Load;
use smallrtc_server::{Options, Peer, Received, Server};
use smallrtc_smol::Handle;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Calls that have to come and go whole.
const COMPLETED: usize = 1_000;

/// In one round.
const CALLS: usize = 100;

/// Ten are enough where there is time for every call. On a machine that is busy some come to
/// nothing: they must leave nothing either, and others are made in their place.
const ROUNDS_MAX: usize = 15;

/// Rounds until caches, pools and threads have their size.
const WARM_UP: usize = 3;

/// What memory may grow by after the warm-up, in bytes: a hundredth of what 700 calls hold, 100 KiB
/// each (`cargo bench --bench memory`). What is counted is what was asked for and not given back,
/// because the system's allocator keeps pages for itself.
const GROWTH_MAX: usize = 700 * 1024;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What the process holds: bytes, descriptors, threads.
#[derive(Clone, Copy, Debug)]
struct Held {
    memory: usize,
    descriptors: usize,
    threads: usize,
}

fn held() -> Held {
    let count = |path| fs::read_dir(path).expect("Linux tells").count();
    let allocated = ALLOCATOR.stats();
    Held {
        memory: allocated.bytes_allocated - allocated.bytes_deallocated,
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
    }
}

async fn echo(mut peer: Peer) {
    while let Some(received) = peer.recv().await {
        if let Received::Audio(block) = received {
            peer.send_audio(block.frame()).await.ok();
        }
    }
}

/// Waits until no call is left, as long as lost ones may take.
#[expect(clippy::disallowed_methods, reason = "calls over sockets end in real time")]
fn until_empty(handle: &Handle) {
    let since = Instant::now();
    while smol::block_on(handle.stats()).expect("it serves").sessions > 0 {
        assert!(since.elapsed() < Duration::from_secs(20), "calls are left");
        smol::block_on(smol::Timer::after(Duration::from_millis(20)));
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
#[test]
fn a_thousand_calls_leave_no_session_no_memory_no_descriptor_and_no_thread() {
    // A peer that is gone is given up after 2 s, so that the test need not wait for 20.
    let config = Config::new()
        .liveness_timeout(Duration::from_millis(1_500))
        .disconnected_timeout(Duration::from_millis(500));
    let listen = "127.0.0.1:0".parse().expect("an address");
    let signaling = signaling::Options::new().rate_limit(RateLimit::OFF);
    let options = Options::new().listen(listen).config(config).signaling(signaling);
    let server = smol::block_on(Server::bind(options)).expect("loopback is free");
    let (handle, url) = (server.handle().clone(), server.url().to_owned());
    let serving = smol::spawn(async move {
        while let Some(peer) = server.accept().await {
            smol::spawn(echo(peer)).detach();
        }
    });
    let load = Load::new(url).calls(CALLS).rate(200).duration(Duration::from_millis(300));
    let load = load.messages(0).listen_every(CALLS);
    let (mut rounds, mut completed, mut outcomes) = (Vec::new(), 0, Vec::new());
    while completed < COMPLETED {
        let round = rounds.len();
        assert!(round < ROUNDS_MAX, "{completed} calls were whole: {outcomes:?}");
        let report = load.clone().abrupt(round % 2 == 1).run().expect("loopback is fine");
        completed += report.outcomes.get("completed").copied().unwrap_or(0);
        outcomes.push(report.outcomes);
        until_empty(&handle);
        rounds.push(held());
    }
    let (warm, last) = (rounds[WARM_UP - 1], rounds[rounds.len() - 1]);
    println!("{completed} calls in {} rounds, then {warm:?}, at last {last:?}", rounds.len());
    assert!(last.memory <= warm.memory + GROWTH_MAX, "{rounds:?}");
    assert!(last.descriptors <= warm.descriptors, "{rounds:?}");
    assert!(last.threads <= warm.threads, "{rounds:?}");
    drop(serving);
}
