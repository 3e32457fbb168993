//! `smallrtc serve --record`, `show` and `replay`, over real sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::program::{end, serve, signal, smallrtc};

/// A directory for one test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("smallrtc-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Directory(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the server has made it");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exit code and what was printed.
fn run(command: &str, file: &Path) -> (Option<i32>, String, String) {
    run_with(&[command, utf8(file)])
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run_with(flags: &[&str]) -> (Option<i32>, String, String) {
    let child = smallrtc(flags);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Two calls of a second against a server that records; gives its files when it has ended.
fn record(directory: &Directory, flags: &[&str]) -> Vec<PathBuf> {
    let path = directory.0.to_str().expect("UTF-8");
    let (child, line) = serve(&[&["--record", path], flags].concat());
    let url = line.strip_prefix("open ").expect("an address");
    let load = smallrtc(&["load", url, "--calls", "2", "--duration", "1s", "--messages", "10"]);
    let output = load.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    signal(&child, "-INT");
    assert_eq!(end(child).0, Some(0));
    let files = directory.files();
    assert_eq!(files.len(), 2, "one for each call: {files:?}");
    files
}

#[test]
fn calls_over_sockets_are_recorded_and_replay_identical() {
    for details in ["none", "sizes", "full"] {
        let directory = Directory::new(&format!("replay-{details}"));
        let flags = ["--record-media", details, "--record-messages", details];
        for file in record(&directory, &flags) {
            let (code, told, noted) = run("replay", &file);
            assert_eq!(code, Some(0), "{told}{noted}");
            assert!(told.contains("\nidentical: "), "{told}");
            assert_eq!(noted, "", "a whole log of this build");
            let (code, shown, _) = run("show", &file);
            assert_eq!(code, Some(0));
            for word in
                ["accept_offer", "< connected", "bound 127.0.0.1", "= closed: ", "end Dropped"]
            {
                assert!(shown.contains(word), "no {word}: {shown}");
            }
            let pwd = shown.find("a=ice-pwd:").map(|at| &shown[at + 10..at + 14]);
            assert_eq!(pwd, Some("xxxx"));
        }
    }
}

#[test]
fn a_cut_log_is_read_up_to_there_and_a_damaged_one_gives_1() {
    let directory = Directory::new("damage");
    let file = record(&directory, &[]).remove(0);
    let bytes = fs::read(&file).expect("a log");

    fs::write(&file, &bytes[..bytes.len() - 3]).expect("a file of ours");
    let (code, told, noted) = run("replay", &file);
    assert_eq!(code, Some(0), "{told}{noted}");
    assert!(told.contains("identical") && noted.contains("cut in the record at byte"), "{noted}");

    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    fs::write(&file, &changed).expect("a file of ours");
    let (code, told, noted) = run("replay", &file);
    assert_eq!(code, Some(1), "{told}{noted}");
    assert!(told.contains("identical") && noted.contains("at byte"), "{noted}");

    let mut newer = bytes;
    newer[8] = 77;
    fs::write(&file, &newer).expect("a file of ours");
    let (code, _, error) = run("show", &file);
    assert_eq!(code, Some(2));
    assert!(error.contains("format version 77"), "{error}");
    let (code, _, error) = run("replay", &directory.0.join("none"));
    assert_eq!(code, Some(2), "{error}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another program is waited for, and not for ever")]
fn a_killed_program_leaves_a_log_that_is_read_up_to_where_it_ends() {
    let directory = Directory::new("killed");
    let (mut server, line) = serve(&["--record", utf8(&directory.0)]);
    let url = line.strip_prefix("open ").expect("an address");
    let mut load = smallrtc(&["load", url, "--duration", "1m", "--messages", "10"]);
    let give_up = Instant::now() + Duration::from_secs(30);
    let is_long = |file: &PathBuf| {
        // A call that goes on is read as well.
        let (code, shown, _) = run("show", file);
        code == Some(0) && shown.lines().count() > 500
    };
    while !directory.files().first().is_some_and(is_long) {
        assert!(Instant::now() < give_up, "no log grows in {:?}", directory.files());
    }
    server.kill().expect("SIGKILL");
    server.wait().expect("it is dead");
    load.kill().expect("nobody is there to be called");
    load.wait().expect("it is dead");

    let file = directory.files().remove(0);
    let len = fs::metadata(&file).expect("it is there").len();
    for command in ["show", "replay"] {
        let (code, told, noted) = run(command, &file);
        assert_eq!(code, Some(0), "{told}{noted}");
        let at = noted.split_once("at byte ").map_or("", |(_, rest)| rest);
        let at = at.split([' ', ':']).next().and_then(|at| at.parse::<u64>().ok());
        assert!(at.is_some_and(|at| (len / 2..=len).contains(&at)), "{noted} of {len}");
        assert!(noted.contains("what recorded it was killed"), "{noted}");
        let word = if command == "show" { "channel opened" } else { "\nidentical: " };
        assert!(told.to_lowercase().contains(word), "no {word}: {told}");
        assert!(!told.contains("end Dropped"), "{told}");
    }
}

/// A log as another build would have written it: another number for what it does.
fn of_another_build(mut bytes: Vec<u8>) -> Vec<u8> {
    // Magic and version; then length, check, and the body of the header.
    const HEAD: usize = 10;
    let len = u32::from_le_bytes(bytes[HEAD..HEAD + 4].try_into().expect("four bytes"));
    let body = &mut bytes[HEAD + 8..][..len as usize];
    // The kind of the record, the version of the crate, and the number, each text by its length.
    let digit = 1 + 1 + usize::from(body[1]) + 1;
    assert!(body[digit].is_ascii_digit());
    body[digit] = if body[digit] == b'1' { b'2' } else { b'1' };
    let check = check(len, body);
    bytes[HEAD + 4..HEAD + 8].copy_from_slice(&check.to_le_bytes());
    bytes
}

/// The check of a record, as `src/record` has it.
fn check(len: u32, body: &[u8]) -> u32 {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for bytes in [&len.to_le_bytes()[..], body] {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let words = words.iter().chain([&last]).map(|word| u64::from_le_bytes(*word));
        for word in [bytes.len() as u64].into_iter().chain(words) {
            digest = (digest ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }
    (digest ^ digest >> 32) as u32
}

#[test]
fn a_log_of_another_build_is_replayed_with_a_warning() {
    let directory = Directory::new("build");
    let file = record(&directory, &[]).remove(0);
    let bytes = fs::read(&file).expect("a log");
    fs::write(&file, of_another_build(bytes)).expect("a file of ours");
    for (command, word) in [("replay", "\nidentical: "), ("show", "accept_offer")] {
        let (code, told, noted) = run(command, &file);
        assert_eq!(code, Some(0), "{told}{noted}");
        assert!(told.contains(word), "no {word}: {told}");
        assert!(noted.starts_with("warning: written by another build"), "{noted}");
    }
}

#[test]
fn a_call_is_drawn_and_a_picture_that_is_there_is_replaced() {
    let directory = Directory::new("plot");
    let file = record(&directory, &[]).remove(0);
    let picture = directory.0.join("call.svg");
    fs::write(&picture, "x".repeat(4_000_000)).expect("a file of ours");
    for (command, replayed) in [("show", false), ("replay", true)] {
        let (code, told, noted) = run_with(&[command, utf8(&file), "--plot", utf8(&picture)]);
        assert_eq!((code, noted.as_str()), (Some(0), ""), "{told}");
        let svg = fs::read_to_string(&picture).expect("it was written");
        let document = roxmltree::Document::parse(&svg).expect("nothing is left of the old one");
        let texts: Vec<_> = document.descendants().filter_map(|node| node.text()).collect();
        let says = |word: &str| texts.iter().any(|text| text.contains(word));
        assert!(says(file.file_name().and_then(|name| name.to_str()).expect("UTF-8")));
        assert!(says("connected") && says("closed: "), "{texts:?}");
        assert_eq!(says("replay identical"), replayed);
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_named_with_the_reason_and_gives_2() {
    let directory = Directory::new("no-plot");
    let file = record(&directory, &[]).remove(0);
    let log = fs::read(&file).expect("a log");
    let missing = directory.0.join("no").join("call.svg");
    for (picture, reason) in [
        (&missing, "No such file or directory"),
        (&directory.0, "Is a directory"),
        (&file, "this is the log itself"),
    ] {
        for (command, word) in [("replay", "\nidentical: "), ("show", "end Dropped")] {
            let (code, told, error) = run_with(&[command, utf8(&file), "--plot", utf8(picture)]);
            assert_eq!(code, Some(2), "{error}");
            assert!(error.contains(&format!("--plot {}: {reason}", utf8(picture))), "{error}");
            assert!(told.contains(word), "the rest is told all the same: {told}");
        }
    }
    assert!(fs::read(&file).expect("it is there") == log, "the log is as it was");
}

#[test]
fn flags_of_recording_that_cannot_be_used_are_named_and_give_2() {
    for (flags, word) in [
        (&["--record", "/dev/null/no"][..], "--record /dev/null/no"),
        (&["--record-media", "full"], "--record"),
        (&["--record", "x", "--record-media", "loud"], "--record-media"),
        (&["--record", "x", "--record-max", "0"], "--record-max"),
        (&["replay"], "<FILE>"),
    ] {
        let (code, error) = end(smallrtc(flags));
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        assert!(error.contains(word), "{flags:?}: {error}");
    }
}
