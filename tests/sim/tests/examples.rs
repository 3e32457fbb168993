//! The examples do what they say.

#[macro_use]
extern crate smallrtc_sim_twice;

use smallrtc_sim::{LinkConfig, find};

#[expect(dead_code, reason = "its `main` is for the command line")]
#[path = "../examples/finds_a_bug.rs"]
mod finds_a_bug;

use finds_a_bug::{Hasty, Patient, SEEDS, every_word_is_heard};

#[test]
#[expect(clippy::print_stdout, reason = "what was found, for who asks with --nocapture")]
fn the_bug_is_found_by_a_bad_network_and_again_by_the_seed_that_was_told() {
    let hasty = |seed| every_word_is_heard(seed, LinkConfig::bad(), Hasty::default());
    let found = find(1..=SEEDS, hasty).expect("a seed finds it");
    assert!(found.message.contains("words are missing"), "{}", found.message);
    assert_eq!(find([found.seed], hasty), Some(found.clone()), "the same seed, the same words");

    let line = found.replay_line("a_name");
    assert!(line.starts_with(&format!("SMALLRTC_SEED={} cargo test ", found.seed)), "{line}");
    assert!(line.ends_with("cargo test -p smallrtc-sim a_name"), "{line}");
    println!("seed {}: {}\n{line}", found.seed, found.message);
}

#[test]
fn a_good_network_never_shows_the_bug() {
    for seed in 1..=SEEDS {
        every_word_is_heard(seed, LinkConfig::clean(), Hasty::default());
    }
}

#[test]
fn the_mended_bot_passes_with_every_seed() {
    smallrtc_sim::run("the_mended_bot_passes_with_every_seed", SEEDS, |seed| {
        every_word_is_heard(seed, LinkConfig::bad(), Patient::default());
    });
}
