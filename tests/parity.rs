//! Line by line what Pipecat's SmallWebRTC does, and what is done here: one test for each line.
//!
//! [`list`] names each behaviour of the original with its constant, its source and what became of
//! it. Each line's test is a function whose name begins with the line's id; the table in
//! `docs/parity.md` is written from the list (`SMALLRTC_BLESS=1 cargo test -p smallrtc-server
//! --test parity`).

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[path = "parity/audio.rs"]
mod audio;
#[path = "parity/connection.rs"]
mod connection;
#[path = "parity/desk.rs"]
mod desk;
#[path = "parity/inputs.rs"]
mod inputs;
#[path = "parity/life.rs"]
mod life;
#[path = "parity/list.rs"]
mod list;
#[path = "parity/messages.rs"]
mod messages;
#[path = "parity/pains.rs"]
mod pains;
#[path = "parity/runner.rs"]
mod runner;
#[path = "parity/tracks.rs"]
mod tracks;
#[path = "parity/transport.rs"]
mod transport;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use list::{Here, LINES, Line};
use pains::PAINS;

/// What may be refused, for a reason that lies in the protocol.
const REFUSED_MAX: usize = 5;

fn sources() -> String {
    let folder = root().join("tests/parity");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn every_line_has_one_test_that_is_named_after_it() {
    let sources = sources();
    let mut tests = BTreeSet::new();
    for (index, _) in sources.match_indices("#[test]\n") {
        let name = sources[index..].lines().find_map(|line| line.strip_prefix("fn ")).unwrap();
        let name = name.split('(').next().unwrap();
        let id = name.split('_').next().unwrap();
        assert!(tests.insert(id.to_owned()), "two tests for {id}");
        assert!(name.len() > id.len() + 8, "{name} says what is so");
    }
    let lines: BTreeSet<String> = LINES.iter().map(|line| line.id.to_lowercase()).collect();
    assert_eq!(lines.len(), LINES.len(), "no line stands twice");
    assert_eq!(tests, lines);
}

#[test]
fn at_most_five_lines_are_refused() {
    let refused = LINES.iter().filter(|line| matches!(line.here, Here::Refused(_)));
    let ids: Vec<_> = refused.map(|line| line.id).collect();
    assert!(ids.len() <= REFUSED_MAX, "{ids:?}");
}

fn row(text: &mut String, line: &Line) {
    let (word, how) = match line.here {
        Here::Same => ("as it is", ""),
        Here::Better(how) => ("better", how),
        Here::Refused(why) => ("refused", why),
    };
    let constant = if line.constant.is_empty() { "" } else { line.constant };
    writeln!(
        text,
        "| {} | {} | {constant} | {} | {word} | {how} |",
        line.id, line.behaviour, line.source
    )
    .unwrap();
}

#[test]
fn the_table_in_the_documents_is_this_list() {
    let mut table = String::from(
        "# What Pipecat's SmallWebRTC does, and what is done here\n\n\
         Pipecat 1.14.0 over aiortc 1.16.0, measured; files are in its `transports/smallwebrtc/`, \
         `run.py` in `runner/`, the pipeline's\n`base_*.py` in `transports/`. Each line has a test \
         of its name in `tests/parity/`; this table is\nwritten from `tests/parity/list.rs`.\n\n\
         | | behaviour | constant | source | here | how |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    LINES.iter().for_each(|line| row(&mut table, line));
    assert_written("docs/parity.md", &table);
}

/// The document is this text; `SMALLRTC_BLESS=1` writes it.
#[track_caller]
fn assert_written(name: &str, text: &str) {
    let path = root().join(name);
    if env::var_os("SMALLRTC_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "SMALLRTC_BLESS=1 writes it");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn each_pain_has_a_test_that_there_is_and_the_table_is_this_list() {
    let mut table = String::from(
        "# What users of SmallWebRTC suffered from, and what shows that it is not so here\n\n\
         Reports are of pipecat-ai/pipecat unless another repository is named. This table is \
         written from `tests/parity/pains.rs`.\n\n\
         | told in | what | here | shown by |\n| --- | --- | --- | --- |\n",
    );
    for pain in PAINS {
        let (file, name) = pain.test;
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert!(source.contains(&format!("#[test]\nfn {name}()")), "{file}: {name}");
        let (told, symptom, here) = (pain.told, pain.symptom, pain.here);
        writeln!(table, "| {told} | {symptom} | {here} | `{name}` in `{file}` |").unwrap();
    }
    assert_written("docs/pains.md", &table);
}
