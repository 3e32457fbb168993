//! `smallrtc load` as a program: what it prints and how it ends.

use std::process::Child;

use serde_json::Value;

use crate::program::{end, serve, signal, smallrtc};

/// The exit code and what was printed.
fn load(flags: &[&str]) -> (Option<i32>, String) {
    let child = smallrtc(&[&["load"], flags].concat());
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn bot(flags: &[&str]) -> (Child, String) {
    let (child, line) = serve(flags);
    let url = line.strip_prefix("open ").expect("an address").to_owned();
    (child, url)
}

fn stop(child: Child) {
    signal(&child, "-INT");
    assert_eq!(end(child).0, Some(0));
}

#[test]
fn a_load_on_the_pass_bot_succeeds_with_a_table_and_with_json() {
    let (child, url) = bot(&["--bot", "pass"]);
    let (code, table) = load(&[&url, "--calls", "2", "--duration", "1s", "--expect-echo"]);
    assert_eq!(code, Some(0), "{table}");
    for words in ["2  completed", "post to answer", "own tone", "round trip"] {
        assert!(table.contains(words), "no {words}: {table}");
    }
    let (code, text) = load(&[&url, "--duration", "500ms", "--messages", "10", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(report["calls"][0]["outcome"], "completed");
    assert!(report["total"]["messages"]["round_trip"]["p50_us"].as_u64() > Some(0), "{text}");
    assert!(report["total"]["audio"]["received"].as_u64() > Some(10), "{text}");
    stop(child);
}

#[test]
fn calls_that_fail_give_1() {
    let (child, url) = bot(&["--max-sessions", "1"]);
    let (code, table) = load(&[&url, "--calls", "2", "--duration", "100ms"]);
    assert_eq!(code, Some(1), "{table}");
    assert!(table.contains("1  failed: refused with 503"), "{table}");
    stop(child);
}

#[test]
fn flags_that_cannot_be_used_are_named_and_give_2() {
    for (flags, word) in [
        (&["load"][..], "<URL>"),
        (&["load", "nowhere"], "url nowhere"),
        (&["load", "http://127.0.0.1:9", "--calls", "0"], "--calls"),
        (&["load", "http://127.0.0.1:9", "--duration", "soon"], "--duration"),
        (&["load", "http://127.0.0.1:9", "--threads", "1000"], "--threads"),
        (&["load", "https://127.0.0.1:9"], "--insecure"),
        (&["load", "http://127.0.0.1:9", "--no-audio", "--expect-echo"], "--expect-echo"),
    ] {
        let (code, error) = end(smallrtc(flags));
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        assert!(error.contains(word), "{flags:?}: {error}");
    }
}

#[test]
fn the_help_says_when_it_succeeds() {
    let (code, help) = load(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(help.contains("Exit code 0: every call connected"), "{help}");
}
