//! `smallrtc serve --record`, `show` and `replay`, over real sockets.

use std::fs;
use std::path::{Path, PathBuf};

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
    let child = smallrtc(&[command, file.to_str().expect("UTF-8")]);
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
