//! `smallrtc load` as a program: what it prints and how it ends.

#![expect(clippy::disallowed_methods, reason = "a program ends in real time, within its bounds")]

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{end, serve, signal, smallrtc};
use crate::support::figure;

/// What anything here may take that does not wait for its time.
const SOON: Duration = Duration::from_secs(20);

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

/// A load that is sent a signal when so many calls are open at the bot; its exit code and report.
fn stopped(flags: &[&str], at: usize) -> (Option<i32>, Value) {
    let (child, url) = bot(&["--bot", "pass"]);
    let address = url.trim_start_matches("http://").trim_end_matches('/').parse();
    let address = address.expect("an address");
    let load = smallrtc(&[&["load", &url, "--json"], flags].concat());
    let opened = r#"smallrtc_sessions{shard="0"}"#;
    let since = Instant::now();
    while smol::block_on(figure(address, opened)) < at as f64 {
        assert!(since.elapsed() < SOON, "the calls do not come");
    }
    signal(&load, "-INT");
    let since = Instant::now();
    let output = load.wait_with_output().expect("it ends");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let closed = r#"smallrtc_endpoint_closed_hung_up_total{shard="0"}"#;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let report: Value = serde_json::from_str(&text).expect("a report");
    let completed = report["outcomes"]["completed"].as_u64().unwrap_or_default();
    let since = Instant::now();
    while smol::block_on(figure(address, closed)) < completed as f64 {
        assert!(since.elapsed() < SOON, "its calls hung up");
    }
    stop(child);
    (output.status.code(), report)
}

#[test]
fn ctrl_c_ends_the_calls_of_a_load_and_its_report_tells_of_what_they_did() {
    let (code, report) = stopped(&["--calls", "2", "--duration", "10m"], 2);
    let outcomes = report["outcomes"].as_object().unwrap();
    let completed = outcomes.get("completed").and_then(Value::as_u64).unwrap_or_default();
    // A signal may come between a session's being made and its call's being open.
    let others = outcomes.get("failed: the load was stopped before").and_then(Value::as_u64);
    assert_eq!(completed + others.unwrap_or_default(), 2, "{outcomes:?}");
    assert_eq!(code, Some(i32::from(completed < 2)), "{outcomes:?}");
    assert_eq!(report["is_stopped"], true);
    assert_eq!(report["calls"].as_array().unwrap().len(), 2);
}

#[test]
fn ctrl_c_while_calls_begin_makes_no_more_of_them() {
    let (code, report) = stopped(&["--calls", "500", "--rate", "10"], 3);
    assert_eq!(code, Some(1), "not all of them came about");
    // Of the three that were on their way some may not have come through before the signal.
    let outcomes = &report["outcomes"];
    let stopped = outcomes["failed: the load was stopped before"].as_u64().unwrap_or_default();
    let completed = outcomes["completed"].as_u64().unwrap_or_default();
    assert!(stopped >= 400 && completed + stopped == 500, "{outcomes:?}");
    assert_eq!((&report["is_stopped"], &report["steady_us"]), (&true.into(), &0.into()));
    assert_eq!(report["calls"].as_array().unwrap().len(), 500);
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
