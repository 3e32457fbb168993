//! The programs of these tests, run again as processes of their own, and the traces that they
//! leave there.
//!
//! Cargo builds what it was asked for: one test program alone leaves the others as they were, or
//! missing. So each is compared with what it is made of: a program that is older than one of its
//! own sources, or than a source of a library of this workspace that it is linked with, is another
//! program, and is not run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;
use std::{env, fs, io};

/// The tests that start processes, of which none starts more.
const RUNNERS: [&str; 2] = [
    "every_scenario_of_the_suite_repeats_in_a_process_and_in_two",
    "what_is_planted_is_caught_between_processes",
];

/// What a process is told to plant, if it is told.
pub(crate) const PLANT_VARIABLE: &str = "SMALLRTC_PLANT";

/// The one seed and the cases of each property: chance is searched elsewhere, here it is repeated.
const ENVIRONMENT: [(&str, &str); 2] = [("SMALLRTC_SEED", "1"), ("SMALLRTC_CASES", "2")];

/// What builds all of them.
const COMMAND: &str = "cargo test -p smallrtc-sim --tests";

/// The libraries of this workspace that the programs are linked with, by the names of their files.
const LIBRARIES: [&str; 5] =
    ["smallrtc", "smallrtc_sim", "smallrtc_sim_twice", "smallrtc_mio", "smallrtc_udp"];

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
    let sources = sources.into_iter().filter(is_program);
    let of_libraries: Vec<_> = LIBRARIES.into_iter().flat_map(sources_of_library).collect();
    sources.map(|source| program(source, &of_libraries)).collect()
}

fn program(source: PathBuf, of_libraries: &[PathBuf]) -> Program {
    let name = source.file_stem().and_then(|name| name.to_str()).expect("a plain name").to_owned();
    let path = newest(&name).unwrap_or_else(|| panic!("{name} is not built: {COMMAND} builds all"));
    let mut sources = sources_in(&path.with_extension("d"));
    assert!(!sources.is_empty(), "{name} is made of something");
    sources.extend_from_slice(of_libraries);
    if let Some(stale) = newer_than(&path, &sources).expect("what it is made of is there") {
        panic!("{name} is older than {}: {COMMAND} builds all", stale.display());
    }
    Program { name, path }
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// The first of these sources that was changed after a program was built. One that is gone was
/// changed as well.
pub(crate) fn newer_than(program: &Path, sources: &[PathBuf]) -> io::Result<Option<PathBuf>> {
    let built = modified(program)?;
    let is_newer = |source: &&PathBuf| modified(source).map_or(true, |changed| changed > built);
    Ok(sources.iter().find(is_newer).cloned())
}

/// The sources that a file of rustc's, beside each thing that it makes, names: relative to the
/// workspace.
pub(crate) fn sources_in(list: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(list).unwrap_or_default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = folder.ancestors().nth(2).expect("the workspace");
    // `what: source source`, once for each thing that is made; a space in a name is escaped.
    let first = text.lines().find_map(|line| line.split_once(": "));
    let names = first.map(|(_, names)| names.replace("\\ ", "\0")).unwrap_or_default();
    let names = names.split_whitespace().map(|name| name.replace('\0', " "));
    let sources = names.map(|name| root.join(name));
    // What a tool of another place has left in the list is none of ours.
    sources.filter(|source| source.starts_with(root)).collect()
}

/// The sources of a library, as it was built last.
fn sources_of_library(name: &str) -> Vec<PathBuf> {
    let here = env::current_exe().expect("this test is a program");
    let entries = fs::read_dir(here.parent().expect("it lies somewhere")).expect("its folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_list = |path: &PathBuf| {
        let of = path.file_stem().and_then(|stem| stem.to_str()?.rsplit_once('-'));
        path.extension().is_some_and(|end| end == "d") && of.is_some_and(|(of, _)| of == name)
    };
    // The program of a library's own tests has sources that the library has not.
    let is_library = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut made = text.lines().filter_map(|line| line.split_once(": "));
        made.any(|(made, _)| [".rlib", ".so", ".dylib", ".dll"].iter().any(|e| made.ends_with(e)))
    };
    let newest = paths.filter(|path| is_list(path) && is_library(path));
    let newest = newest.max_by_key(|list| modified(list).ok());
    sources_in(&newest.unwrap_or_else(|| panic!("{name} is not built: {COMMAND} builds all")))
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
        let time = modified(&path).ok()?;
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

    /// The same for one test of this very program, with something planted.
    pub(crate) fn run_planted(test: &str, plant: &str) -> (Traces, Traces) {
        let path = env::current_exe().expect("this test is a program");
        let here = Program { name: format!("planted-{plant}"), path };
        let only = ["--exact", test];
        let start = |which, twice| here.start_with(which, twice, &only, Some(plant));
        let (once, again) = (start("a", true), start("b", false));
        (here.end(once), here.end(again))
    }

    fn start(&self, which: &str, twice: bool) -> (Child, PathBuf) {
        self.start_with(which, twice, &[], None)
    }

    fn start_with(
        &self,
        which: &str,
        twice: bool,
        only: &[&str],
        plant: Option<&str>,
    ) -> (Child, PathBuf) {
        let file = format!("{}-{}-{which}.traces", self.name, std::process::id());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        let _of_a_process_that_was_killed = fs::remove_file(&file);
        let mut command = Command::new(&self.path);
        // With one thread the tests would run on the main one, which is not named after them.
        command.arg("--test-threads=2").args(only);
        command.args(RUNNERS.iter().flat_map(|runner| ["--skip", runner]));
        command.envs(ENVIRONMENT).env("SMALLRTC_TRACES", &file);
        command.env_remove("SMALLRTC_TWICE").env_remove(PLANT_VARIABLE);
        command.envs(twice.then_some(("SMALLRTC_TWICE", "1")));
        command.envs(plant.map(|plant| (PLANT_VARIABLE, plant)));
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
