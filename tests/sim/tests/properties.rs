//! Whole calls of random acts, shrunk to the shortest script that fails, which prints as a test.
//!
//! Whatever happens: the pump's checks hold ([`smallrtc_sim::Checks`], [`smallrtc_sim::Ledger`]),
//! and the call ends as [`smallrtc_sim::script`] says. `SMALLRTC_CASES` says how many calls are
//! tried, `SMALLRTC_SEED` where they are drawn from.

#[macro_use]
extern crate smallrtc_sim_twice;

mod calls;

use std::collections::BTreeSet;

use calls::{drawn, printed, search};
use smallrtc_sim::script::{Act, Script};
use smallrtc_sim::{Kind, cases, seeds};

/// The gate tries the same calls each time; another seed searches elsewhere.
fn holds(kind: Kind, wanted: u32) {
    let (seed, cases) = (seeds(1)[0], cases(wanted));
    let run = |script: &Script| {
        script.run();
    };
    if let Err(found) = search(kind, seed, cases, run) {
        let (cause, script) = (found.cause, found.script);
        panic!("{cause}\nThe shortest call that fails, as a test:\n\n{script}");
    }
}

#[test]
fn whatever_is_done_in_a_scripted_call_it_ends_once_and_nothing_is_lost_or_mixed_up() {
    holds(Kind::Scripted, 150);
}

#[test]
fn whatever_is_done_in_a_real_call_it_ends_once_and_nothing_is_lost_or_mixed_up() {
    holds(Kind::Real, 16);
}

/// The name of an act without what it is given.
fn name(act: &Act) -> String {
    let text = format!("{act:?}");
    text.split(|at: char| !at.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn the_calls_that_are_drawn_do_everything_end_in_every_way_and_reach_limits() {
    let scripts = drawn(Kind::Scripted, 1, 400);
    let acts: BTreeSet<String> =
        scripts.iter().flat_map(|script| script.acts.iter().map(name)).collect();
    assert_eq!(acts.len(), 30, "{acts:?}");
    let endings: Vec<_> = scripts.iter().map(|script| script.run()).collect();
    let reasons: BTreeSet<String> =
        endings.iter().map(|ending| format!("{:?}", ending.reason)).collect();
    for reason in ["Application", "HungUp", "Lost", "NeverConnected"] {
        assert!(reasons.contains(reason), "none of {reason} in {reasons:?}");
    }
    let connected = endings.iter().filter(|ending| ending.was_connected).count();
    assert!(connected > 160, "{connected} of 400 were still connected at the end");
    let count = |what: fn(&smallrtc::Stats) -> u64| -> u64 {
        endings.iter().map(|ending| what(&ending.stats)).sum()
    };
    assert!(count(|stats| stats.messages_sent) > 10_000);
    assert!(count(|stats| stats.messages_received) > 5_000);
    assert!(count(|stats| stats.messages_refused) > 100, "the queue's limit was reached");
    assert!(count(|stats| stats.messages_dropped) > 100);
    let sent: u64 = endings.iter().map(|ending| ending.sound.sent).sum();
    let dropped: u64 = endings.iter().map(|ending| ending.sound.dropped).sum();
    assert!(sent > 1_000_000 && dropped > 1_000_000, "{sent} and {dropped} samples");
}

/// The pump is told of a smaller MTU than the bot has: the first long datagram is a fault.
#[test]
fn a_fault_is_found_and_shrunk_to_the_one_act_that_shows_it() {
    let claimed = 400;
    let found = search(Kind::Scripted, 1, 200, |script| {
        let mut setup = script.setup();
        setup.mtu = claimed;
        script.run_on(setup);
    });
    let found = found.expect_err("a datagram above the claimed MTU");
    assert!(found.cause.contains("the limit is 400"), "{}", found.cause);
    let [act] = found.script.acts[..] else { panic!("not the shortest: {}", found.script) };
    let text = found.script.to_string();
    assert!(text.starts_with("#[test]\nfn a_call_that_was_found() {"), "{text}");
    assert!(text.contains(&format!("vec![Act::{act:?}]")), "{text}");
    // A byte or a picture less, and there is no fault.
    let mut shorter = found.script.clone();
    shorter.acts.clear();
    let mut setup = shorter.setup();
    setup.mtu = claimed;
    shorter.run_on(setup);
}

#[test]
fn a_script_prints_as_a_test_that_compiles_as_it_stands() {
    // The module is compiled, and its test run, with the others of this file.
    let file = include_str!("calls/pasted.rs");
    let text = printed().to_string();
    assert_eq!(file.split_once("\n\n").map(|(_, pasted)| pasted), Some(&*text), "\n{text}");
    for (kind, acts) in [(Kind::Real, vec![]), (Kind::Scripted, vec![Act::BotCloses])] {
        let script = Script { acts, ..Script::new(kind, 5) };
        let text = script.to_string();
        assert!(text.contains(&format!("Script::new(Kind::{kind:?}, 5)")), "{text}");
        assert_eq!(text.contains("Act::BotCloses"), kind == Kind::Scripted, "{text}");
    }
}
