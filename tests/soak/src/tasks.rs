//! What is soaked: each task turns a seed into a round.

use std::cell::Cell;
use std::time::Duration;

use smallrtc_sim::Kind;
use smallrtc_sim::script::Script;

use crate::calls::search;

/// Calls of one round of scripts: some seconds of work, so that a finding is not long shrunk while
/// nothing is told, and the line that replays it is quick.
const SCRIPTED_CASES: u32 = 60;
const REAL_CASES: u32 = 8;

/// A kind of round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) name: &'static str,
    /// Runs it with a seed, and gives how long its calls lasted. Panics when it finds something.
    pub(crate) round: fn(u64) -> Duration,
    /// The command that runs the same again, with the seed for `SEED`.
    pub(crate) replay: &'static str,
}

/// Everything that is soaked; workers take one after the other.
pub(crate) const ALL: &[Task] = &[
    Task {
        name: "scripted storm",
        round: |seed| smallrtc_sim::storm(Kind::Scripted, seed, |_| {}).call_time(),
        replay: STORM,
    },
    Task {
        name: "real storm",
        round: |seed| smallrtc_sim::storm(Kind::Real, seed, |_| {}).call_time(),
        replay: STORM,
    },
    Task {
        name: "scripted calls",
        round: |seed| calls(Kind::Scripted, seed, SCRIPTED_CASES),
        replay: "SMALLRTC_SEED=SEED SMALLRTC_CASES=60 cargo test -p smallrtc-sim --test properties \
                 whatever_is_done_in_a_scripted_call",
    },
    Task {
        name: "real calls",
        round: |seed| calls(Kind::Real, seed, REAL_CASES),
        replay: "SMALLRTC_SEED=SEED SMALLRTC_CASES=8 cargo test -p smallrtc-sim --test properties \
                 whatever_is_done_in_a_real_call",
    },
];

const STORM: &str = "SMALLRTC_SEED=SEED cargo test -p smallrtc-sim --test world storms_";

/// Whole calls that a seed draws. The shortest that fails is told as a test.
fn calls(kind: Kind, seed: u64, cases: u32) -> Duration {
    let lasted = Cell::new(Duration::ZERO);
    let run = |script: &Script| lasted.set(lasted.get() + script.run().elapsed);
    if let Err(found) = search(kind, seed, cases, run) {
        let (cause, script) = (found.cause, found.script);
        panic!("{cause}\nThe shortest call that fails, as a test:\n\n{script}");
    }
    lasted.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTIES: &str = include_str!("../../sim/tests/properties.rs");
    const STORMS: &str = include_str!("../../sim/tests/world/storms.rs");

    #[test]
    fn each_replay_line_names_a_test_that_there_is_and_as_many_cases() {
        for task in ALL {
            let test = task.replay.rsplit(' ').next().unwrap();
            let source = if task.replay.contains("properties") { PROPERTIES } else { STORMS };
            assert!(source.contains(&format!("fn {test}")), "{test}");
            assert!(task.replay.starts_with("SMALLRTC_SEED=SEED "), "{}", task.name);
        }
        let cases = [SCRIPTED_CASES, REAL_CASES].map(|cases| format!("SMALLRTC_CASES={cases} "));
        let calls = ALL.iter().filter(|task| task.name.ends_with("calls"));
        assert!(calls.zip(cases).all(|(task, cases)| task.replay.contains(&cases)));
    }

    #[test]
    fn a_round_of_each_task_has_calls_that_last() {
        for task in ALL.iter().filter(|task| !task.name.starts_with("real")) {
            assert!((task.round)(1) > Duration::from_secs(60), "{}", task.name);
        }
    }
}
