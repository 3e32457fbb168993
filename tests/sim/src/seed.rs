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

/// The variable that names the number of cases of each property.
const CASES_VARIABLE: &str = "SMALLRTC_CASES";

/// How many cases a property is tried with: `wanted`, or what the environment says.
///
/// # Panics
/// When the environment names no number.
#[must_use]
pub fn cases(wanted: u32) -> u32 {
    let named = std::env::var(CASES_VARIABLE).ok();
    named.map_or(wanted, |text| text.parse().expect("SMALLRTC_CASES is a number"))
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

/// A seed with which a scenario fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What the scenario said when it panicked.
    pub message: String,
}

impl Failure {
    /// The command that runs a test of this name, of the package that asks, with this seed alone;
    /// in an example, the command that runs the example.
    #[must_use]
    pub fn replay_line(&self, name: &str) -> String {
        replay_line(name, self.seed)
    }
}

/// The first of these seeds with which a scenario fails, if there is one: for a test of a test,
/// which plants a fault and wants it found. Whatever the panic prints is printed.
///
/// ```
/// let found = smallrtc_sim::find(1..=10, |seed| assert!(seed < 7, "{seed} is too many"));
/// let failure = found.expect("the seventh fails");
/// assert_eq!((failure.seed, &*failure.message), (7, "7 is too many"));
/// assert!(failure.replay_line("a_test").starts_with("SMALLRTC_SEED=7 cargo "));
/// assert_eq!(smallrtc_sim::find(1..=6, |seed| assert!(seed < 7)), None);
/// ```
pub fn find(seeds: impl IntoIterator<Item = u64>, scenario: impl Fn(u64)) -> Option<Failure> {
    seeds.into_iter().find_map(|seed| {
        let cause = panic::catch_unwind(AssertUnwindSafe(|| scenario(seed))).err()?;
        let text = cause.downcast_ref::<String>().cloned();
        let text = text.or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string));
        Some(Failure { seed, message: text.unwrap_or_default() })
    })
}

#[expect(clippy::print_stderr, reason = "a failing test says how to run it again")]
fn tell(name: &str, seed: u64) {
    eprintln!("SEED={seed}");
    eprintln!("{}", replay_line(name, seed));
}

/// Cargo says which package it runs, and a test's name tells the rest. An example is told by the
/// folder that it lies in.
fn replay_line(name: &str, seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let program = std::env::args().next().unwrap_or_default();
    line(&package, &program, name, seed)
}

fn line(package: &str, program: &str, name: &str, seed: u64) -> String {
    let mut path = program.rsplit(['/', '\\']);
    let file = path.next().unwrap_or_default();
    let is_example = path.next() == Some("examples");
    let (command, what) = match is_example {
        true => ("run", format!("--example {}", file.trim_end_matches(".exe"))),
        false => ("test", name.to_owned()),
    };
    let package = if package.is_empty() { String::new() } else { format!("-p {package} ") };
    format!("{SEED_VARIABLE}={seed} cargo {command} {package}{what}")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_test_is_run_again_by_its_package_and_its_name() {
        let program = "/work/target/debug/deps/calls-0123456789abcdef";
        let of_a_file = line("my-bot", program, "it_answers", 7);
        assert_eq!(of_a_file, "SMALLRTC_SEED=7 cargo test -p my-bot it_answers");
        // Beside the code of a library, and of a program, it is the same.
        let program = r"C:\target\debug\deps\my_bot-0123456789abcdef.exe";
        assert_eq!(line("my-bot", program, "it_answers", 7), of_a_file);
        assert_eq!(line("", program, "it_answers", 7), "SMALLRTC_SEED=7 cargo test it_answers");
    }

    #[test]
    fn an_example_is_run_again_as_one() {
        for program in ["target/debug/examples/shows", r"target\debug\examples\shows.exe"] {
            let told = line("my-bot", program, "a_function_of_it", 7);
            assert_eq!(told, "SMALLRTC_SEED=7 cargo run -p my-bot --example shows");
        }
    }
}
