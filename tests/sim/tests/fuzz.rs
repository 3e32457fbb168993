//! The fuzz targets' code on their committed corpora, on the fixtures, and on mutations of both.

use std::fs;
use std::path::Path;

use smallrtc_sim::fuzz;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 7] = [
    ("candidate", fuzz::candidate),
    ("datagram", fuzz::datagrams),
    ("log", fuzz::log),
    ("message", fuzz::message),
    ("offer", fuzz::offer_text),
    ("scripted", fuzz::scripted),
    ("signaling", fuzz::signaling),
];

/// Mutations of each input; the search proper is libFuzzer's.
const MUTATIONS: usize = 24;

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

#[test]
fn every_target_takes_its_corpus_and_what_grows_from_it() {
    for (name, target) in TARGETS {
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
    for (_, target) in TARGETS {
        target(&[]);
        for length in [1, 13, 200, 2000] {
            target(&std::iter::repeat_with(|| rng.u8(..)).take(length).collect::<Vec<_>>());
        }
    }
}
