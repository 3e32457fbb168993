//! Where time and chance come from, and how a failure is run again.

use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The variable that names the one seed to run.
const SEED_VARIABLE: &str = "SMALLRTC_SEED";

/// When virtual time begins.
///
/// `Instant` has no value of its own, so the clock is read once in a process, here. The beginning
/// lies a day ahead of it: the SCTP of a model browser arms its first timer from the real clock
/// (`sctp-proto`, `connect`), and only when that is always past is it always the same.
#[must_use]
pub fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an `Instant` can be had in no other way")]
    *START.get_or_init(|| Instant::now() + Duration::from_secs(24 * 3600))
}

/// The seeds that a test runs with: `wanted` of them, counted from 1, or the one that the
/// environment names.
#[must_use]
pub fn seeds(wanted: u64) -> Vec<u64> {
    let named = std::env::var(SEED_VARIABLE).ok();
    match named.map(|text| text.parse()) {
        Some(Ok(seed)) => vec![seed],
        Some(Err(error)) => panic!("{SEED_VARIABLE} is not a number: {error}"),
        None => (1..=wanted).collect(),
    }
}

/// Runs a scenario with several seeds. When one fails, tells the seed and the command that runs
/// it alone.
///
/// ```
/// smallrtc_sim::run("no_seed_is_zero", 3, |seed| assert_ne!(seed, 0));
/// ```
///
/// # Panics
/// When the scenario does.
pub fn run(name: &str, wanted: u64, scenario: impl Fn(u64)) {
    for seed in seeds(wanted) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| scenario(seed)));
        if let Err(cause) = outcome {
            tell(name, seed);
            panic::resume_unwind(cause);
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failing test says how to run it again")]
fn tell(name: &str, seed: u64) {
    let test = std::env::args().next().unwrap_or_default();
    let file = test.rsplit('/').next().and_then(|file| file.rsplit_once('-'));
    let target = file.map_or("<file>", |(target, _hash)| target);
    eprintln!("SEED={seed}");
    eprintln!("{SEED_VARIABLE}={seed} cargo test -p smallrtc-sim --test {target} {name}");
}
