//! The programs of these tests, run again as processes of their own, and the traces that they
//! leave there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;
use std::{env, fs};

/// The test that runs all others, and not itself.
const RUNNER: &str = "every_scenario_of_the_suite_repeats_in_a_process_and_in_two";

/// The one seed and the cases of each property: chance is searched elsewhere, here it is repeated.
const ENVIRONMENT: [(&str, &str); 2] = [("SMALLRTC_SEED", "1"), ("SMALLRTC_CASES", "2")];

/// A program of tests, as Cargo built it.
pub(crate) struct Program {
    pub(crate) name: String,
    path: PathBuf,
}

/// The program of each file in `tests/`, and of each folder with a `main.rs`.
pub(crate) fn programs() -> Vec<Program> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let entries = fs::read_dir(folder).expect("the tests are where they were built from");
    let mut sources: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    sources.sort();
    let is_program = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
    };
    sources.into_iter().filter(is_program).map(program).collect()
}

fn program(source: PathBuf) -> Program {
    let name = source.file_stem().and_then(|name| name.to_str()).expect("a plain name").to_owned();
    let path = newest(&name).unwrap_or_else(|| {
        panic!("{name} is not built: cargo test -p smallrtc-sim --tests builds all");
    });
    Program { name, path }
}

/// What was built last of those with a name beside this program, of this package: Cargo writes
/// beside each what it was built from.
fn newest(name: &str) -> Option<PathBuf> {
    let here = env::current_exe().expect("this test is a program");
    let entries = fs::read_dir(here.parent()?).expect("the folder of this program");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let built = |path: PathBuf| -> Option<(SystemTime, PathBuf)> {
        let stem = path.file_stem()?.to_str()?;
        let (of, hash) = stem.rsplit_once('-')?;
        let is_plain = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if of != name || !is_plain || path.extension().is_some_and(|other| other != "exe") {
            return None;
        }
        let from = fs::read_to_string(path.with_extension("d")).ok()?.replace('\\', "/");
        let is_ours = [format!("tests/sim/tests/{name}.rs"), format!("tests/sim/tests/{name}/")];
        let time = fs::metadata(&path).and_then(|data| data.modified()).ok()?;
        is_ours.iter().any(|source| from.contains(source)).then_some((time, path))
    };
    paths.filter_map(built).max().map(|(_, path)| path)
}

impl Program {
    /// Two processes at once, in the first of which each test runs twice.
    pub(crate) fn run_in_two_processes(&self) -> (Traces, Traces) {
        let (once, again) = (self.start("a", true), self.start("b", false));
        (self.end(once), self.end(again))
    }

    fn start(&self, which: &str, twice: bool) -> (Child, PathBuf) {
        let file = format!("{}-{}-{which}.traces", self.name, std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let _of_a_process_that_was_killed = fs::remove_file(&file);
        let mut command = Command::new(&self.path);
        // With one thread the tests would run on the main one, which is not named after them.
        command.args(["--test-threads=2", "--skip", RUNNER]);
        command.envs(ENVIRONMENT).env("SMALLRTC_TRACES", &file);
        if twice {
            command.env("SMALLRTC_TWICE", "1");
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        (command.spawn().expect("a program of tests can be started"), file)
    }

    fn end(&self, (child, file): (Child, PathBuf)) -> Traces {
        let output = child.wait_with_output().expect("it was started here");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{} fails when it runs again:\n{said}", self.name);
        let traces = fs::read_to_string(&file).unwrap_or_default();
        let _as_nobody_reads_it_again = fs::remove_file(&file);
        Traces::parse(&traces)
    }
}

/// What each trace of a process came to, by the name of its test.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    by_test: BTreeMap<String, Vec<String>>,
    /// The tests that ran twice, with how many traces were equal.
    repeated: BTreeMap<String, String>,
}

impl Traces {
    /// Reads lines of a test's name, a trace's number in it, how much it noted, and a digest; or of
    /// a test's name, `twice`, and how many traces were equal.
    pub(crate) fn parse(text: &str) -> Traces {
        let mut traces = Traces::default();
        for line in text.lines() {
            let (name, trace) = line.split_once('\t').expect("a name and a trace");
            if let Some(equal) = trace.strip_prefix("twice\t") {
                traces.repeated.insert(name.to_owned(), equal.to_owned());
                continue;
            }
            traces.by_test.entry(name.to_owned()).or_default().push(trace.to_owned());
        }
        traces
    }

    pub(crate) fn len(&self) -> usize {
        self.by_test.values().map(Vec::len).sum()
    }

    /// The tests that left any.
    pub(crate) fn tests(&self) -> usize {
        self.by_test.len()
    }

    /// How many are of calls that need not be the same in another process: video with gaps.
    pub(crate) fn local(&self) -> usize {
        let traces = self.by_test.values().flatten();
        traces.filter(|trace| trace.ends_with("\tlocal")).count()
    }

    /// The tests that left traces and did not run twice, or not with as many.
    pub(crate) fn unrepeated(&self) -> Vec<String> {
        let is_repeated = |(name, traces): &(&String, &Vec<String>)| {
            self.repeated.get(*name).is_some_and(|equal| *equal == traces.len().to_string())
        };
        let tests = self.by_test.iter().filter(|test| !is_repeated(test));
        tests.map(|(name, _)| name.clone()).collect()
    }

    /// The tests whose traces differ, each with the first of them: its number, how much it noted,
    /// and the digest.
    pub(crate) fn differences(&self, other: &Traces) -> Vec<String> {
        let names: BTreeSet<_> = self.by_test.keys().chain(other.by_test.keys()).collect();
        let differing = |name: &String| {
            let of = |traces: &Traces| traces.by_test.get(name).cloned().unwrap_or_default();
            let (left, right) = (of(self), of(other));
            let mut both = left.iter().zip(&right);
            if let Some((left, right)) = both.find(|(left, right)| left != right) {
                return Some(format!("{name}: {left:?} and {right:?}"));
            }
            let (left, right) = (left.len(), right.len());
            (left != right).then(|| format!("{name}: {left} traces and {right}"))
        };
        names.into_iter().filter_map(differing).collect()
    }
}
