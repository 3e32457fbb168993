//! The fuzz targets' code on their committed corpora, on the fixtures, and on mutations of both.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use smallrtc::record::Log;
use smallrtc_sim::fuzz;

/// Mutations of each input; the search proper is libFuzzer's.
const MUTATIONS: usize = 4;

/// The most inputs of a corpus, and their bytes: they are replayed in every run of the tests.
const INPUTS_MAX: usize = 30;
const BYTES_MAX: usize = 200_000;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("every target has a corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("readable")).collect()
}

fn mutate(input: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..=bytes.len());
        match rng.u8(..4) {
            0 => bytes.insert(at, rng.u8(..)),
            1 if at < bytes.len() => bytes[at] = rng.u8(..),
            2 => bytes.truncate(at),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

/// The names of what a folder of `fuzz/` holds.
fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder);
    let entries = fs::read_dir(&folder).expect("the folder is committed");
    let name = |entry: fs::DirEntry| {
        let path = entry.path();
        path.file_stem().expect("a name").to_str().expect("plain").to_owned()
    };
    entries.map(|entry| name(entry.expect("readable"))).collect()
}

#[test]
fn every_target_has_a_binary_a_corpus_and_a_place_in_these_tests() {
    let tested: BTreeSet<String> =
        fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names("fuzz_targets"), tested);
    assert_eq!(names("corpus"), tested);
    assert!(names("dictionaries").is_subset(&tested), "a dictionary of no target");
    let manifest = include_str!("../../../fuzz/Cargo.toml");
    for name in tested {
        let line = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&line), "fuzz/Cargo.toml builds no {name}");
    }
}

#[test]
fn corpora_are_small() {
    for (name, _) in fuzz::TARGETS {
        let inputs = corpus(name);
        let bytes: usize = inputs.iter().map(Vec::len).sum();
        assert!(inputs.len() <= INPUTS_MAX && bytes <= BYTES_MAX, "{name}: {bytes} bytes");
    }
}

/// Logs of another version are refused before anything is read: what grows from them tries nothing.
#[test]
fn most_logs_of_the_corpus_are_of_the_version_that_is_read() {
    let inputs = corpus("log");
    let read = inputs.iter().filter(|input| Log::read(input).is_ok()).count();
    assert!(read * 2 > inputs.len(), "{read} of {} are read: choose the corpus anew", inputs.len());
}

#[test]
fn every_target_takes_its_corpus_and_what_grows_from_it() {
    for (name, target) in fuzz::TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        let mut rng = fastrand::Rng::with_seed(1);
        for input in &inputs {
            target(input);
            for _ in 0..MUTATIONS {
                target(&mutate(input, &mut rng));
            }
        }
    }
}

#[test]
fn every_target_takes_nothing_and_noise() {
    let mut rng = fastrand::Rng::with_seed(2);
    for (_, target) in fuzz::TARGETS {
        target(&[]);
        for length in [1, 13, 200, 2000] {
            target(&std::iter::repeat_with(|| rng.u8(..)).take(length).collect::<Vec<_>>());
        }
    }
}
