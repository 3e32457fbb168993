//! Random calls and worlds with fresh seeds, on all cores, for a given time.
//!
//! `smallrtc-soak HOURS [SEED]` runs storms ([`smallrtc_sim::storm`]) and whole calls of random
//! acts ([`smallrtc_sim::script`]) over both wires. Seeds count from SEED on, or from the clock's
//! seconds. Once a minute it tells what it has done; each finding comes with its seed and the
//! command that runs it again, as soon as it is there.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | resident memory | [`soak::MEMORY_MAX`] | a finding: something grows; it ends |
//! | time of one round | [`soak::ROUND_MAX`] | a finding: something does not end; it ends |
//! | findings | [`soak::FINDINGS_MAX`] | it ends early |
//!
//! It ends with 0 when nothing was found, 1 when something was, 2 when it was called wrongly. It
//! reads no file of the tree and writes none, so a copy of the program can run anywhere.

#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports, reason = "the tests of the simulator use more of it")]
#[path = "../../sim/tests/calls/mod.rs"]
mod calls;
mod soak;
mod tasks;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use soak::Plan;

const USAGE: &str = "usage: smallrtc-soak HOURS [SEED]   (HOURS may be a fraction: 0.1)";

/// A year: more is a mistake.
const HOURS_MAX: f64 = 366.0 * 24.0;

#[expect(clippy::print_stderr, reason = "a program that is called wrongly says so")]
fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let Some((duration, first_seed)) = read(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = Plan { duration, first_seed, workers, rounds_max: u64::MAX };
    let total = soak::run(&plan, tasks::ALL, &mut std::io::stdout());
    if total.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The time, and the first seed.
fn read(arguments: &[String]) -> Option<(Duration, u64)> {
    let (hours, seed) = match arguments {
        [hours] => (hours, None),
        [hours, seed] => (hours, Some(seed.parse().ok()?)),
        _ => return None,
    };
    let hours: f64 = hours.parse().ok().filter(|hours| (0.0..=HOURS_MAX).contains(hours))?;
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    Some((Duration::from_secs_f64(hours * 3_600.0), seed.unwrap_or_else(fresh)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn hours_may_be_a_fraction_and_a_seed_may_be_named() {
        assert_eq!(read(&words("0.5 77")), Some((Duration::from_secs(1_800), 77)));
        assert_eq!(read(&words("8784")).map(|read| read.0.as_secs()), Some(8_784 * 3_600));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in ["", "-1", "NaN", "8785", "an hour", "1 x", "1 2 3"] {
            assert_eq!(read(&words(wrong)), None, "{wrong}");
        }
    }
}
