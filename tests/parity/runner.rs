//! R: the request handler and the runner.

use std::num::NonZeroU32;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use smallrtc::signaling::{Options, RateLimit, Reply, Request};
use smallrtc::{CloseReason, Config, Event};

use crate::desk::{Desk, page};

fn nobody() -> serde_json::Value {
    json!({})
}

#[test]
fn r1_names_lead_to_calls_and_go_with_them_also_those_from_before_a_restart() {
    let (mut desk, mut old, mut new) = (Desk::new(), page(1), page(2));
    let (first, before) = desk.call(&mut old, &nobody());
    assert_eq!(desk.signaling.session_of(&before), Some(first));
    desk.pass(&mut [&mut old], 500);
    let (second, after) = desk.call(&mut new, &json!({ "pc_id": before, "restart_pc": true }));
    assert_eq!(desk.signaling.session_of(&before), None);
    assert_eq!(desk.signaling.session_of(&after), Some(second));
    let now = desk.now;
    desk.endpoint.session(second).unwrap().close(now);
    desk.pass(&mut [&mut old, &mut new], 3_000);
    assert_eq!(desk.signaling.session_of(&after), None);
    assert!(desk.endpoint.is_empty());
}

#[test]
fn r2_a_call_that_no_bot_serves_ends_like_any_other() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let (status, _) = desk.offer(&mut page, &nobody());
    assert_eq!(status, 200);
    // Nobody polls it, starts it or speaks; then the page goes.
    desk.pass(&mut [&mut page], 3_000);
    page.vanish();
    desk.pass(&mut [&mut page], 21_000);
    let ends: Vec<_> =
        desk.events.iter().filter(|(_, _, event)| matches!(event, Event::Closed { .. })).collect();
    assert_eq!(ends.len(), 1);
    assert!(desk.endpoint.is_empty());
}

#[test]
fn r3_candidates_for_a_call_that_is_not_there_yet_get_404() {
    let mut desk = Desk::new();
    let body = json!({ "pc_id": "SmallWebRTCConnection#0-00000000000000000000000000000000", "candidates": [] });
    let (status, answer) = desk.ask("PATCH", "/api/offer", &body.to_string());
    assert_eq!((status, answer["detail"].as_str()), (404, Some("Peer connection not found")));
}

#[test]
fn r4_closing_ends_all_calls_each_by_itself() {
    let (mut desk, mut one, mut other) = (Desk::new(), page(1), page(2));
    let (first, _) = desk.call(&mut one, &nobody());
    let (second, _) = desk.call(&mut other, &nobody());
    desk.pass(&mut [&mut one, &mut other], 1_000);
    // One of them cannot be told any more.
    one.vanish();
    let now = desk.now;
    desk.endpoint.close(now);
    desk.pass(&mut [&mut one, &mut other], 2_100);
    for id in [first, second] {
        let ended = (id, Event::Closed { reason: CloseReason::Application });
        assert!(desk.events.iter().any(|(_, id, event)| (*id, event) == (ended.0, &ended.1)));
    }
    assert!(desk.endpoint.is_empty());
}

#[test]
fn r5_a_session_of_start_lives_as_long_as_its_call_and_60_s_without_one() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let session = |desk: &mut Desk| {
        let (status, body) = desk.ask("POST", "/start", r#"{"transport":"webrtc","body":{"a":1}}"#);
        assert_eq!(status, 200);
        format!("/sessions/{}/api/offer", body["sessionId"].as_str().unwrap())
    };
    let (used, unused) = (session(&mut desk), session(&mut desk));
    let body = json!({ "sdp": page.offer(desk.now), "type": "offer" }).to_string();
    let (status, answer) = desk.ask("POST", &used, &body);
    assert_eq!(status, 200);
    page.accept_answer(answer["sdp"].as_str().unwrap(), desk.now);
    let call = desk.signaling.poll_call().unwrap();
    assert_eq!(call.request_data, Some(json!({ "a": 1 })));
    desk.pass(&mut [&mut page], 61_000);
    let patch = json!({ "pc_id": answer["pc_id"], "candidates": [] }).to_string();
    let now = desk.now;
    desk.signaling.handle_timeout(&mut desk.endpoint, now);
    assert_eq!(desk.ask("PATCH", &used, &patch).0, 200);
    assert_eq!(desk.ask("PATCH", &unused, &patch).0, 404);
    let now = desk.now;
    desk.endpoint.session(call.id).unwrap().close(now);
    desk.pass(&mut [&mut page], 3_000);
    assert_eq!(desk.ask("PATCH", &used, &patch).0, 404);
}

#[test]
fn r6_calls_sessions_and_requests_of_an_address_have_limits() {
    let rate = RateLimit::new(NonZeroU32::new(3).unwrap(), NonZeroU32::new(1).unwrap());
    let options = Options::new().rate_limit(rate).starts_max(2);
    let mut desk = Desk::with(Config::new().max_sessions(1), options);
    let (mut first, mut second) = (page(1), page(2));
    assert_eq!(desk.offer(&mut first, &nobody()).0, 200);
    assert_eq!(desk.offer(&mut second, &nobody()).0, 503);
    let statuses: Vec<u16> = (0..3).map(|_| desk.ask("POST", "/start", "{}").0).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let mut request = Request::new("POST", "/api/offer", b"{}");
        request.client = Some("198.51.100.9".parse().unwrap());
        let Reply::Now(response) = desk.signaling.handle(&mut desk.endpoint, request, desk.now)
        else {
            panic!("it is refused at once")
        };
        statuses.push(response.status);
    }
    assert_eq!(statuses, [400, 400, 400, 503, 503]);
}

/// What the program says to such options: the code and the text.
fn program(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_smallrtc")).args(arguments).output().expect("it starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn r7_options_are_the_originals_and_a_wrong_one_is_named() {
    let help = Command::new(env!("CARGO_BIN_EXE_smallrtc")).args(["serve", "--help"]).output();
    let help = String::from_utf8(help.expect("it starts").stdout).unwrap();
    for option in ["--ice-servers", "PIPECAT_ICE_SERVERS", "--allowed-origins", "--listen"] {
        assert!(help.contains(option), "{option}");
    }
    assert!(help.contains("127.0.0.1:7860"), "host and port are the original's");
    for (arguments, named) in [
        (["serve", "--ice-servers", "http://192.0.2.3"], "--ice-servers"),
        (["serve", "--ice-servers", r#"[{"url":"stun:x"}]"#], "--ice-servers"),
        (["serve", "--allowed-origins", "example.com"], "--allowed-origins"),
        (["serve", "--listen", "nowhere"], "--listen"),
    ] {
        let (code, error) = program(&arguments);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn r8_calls_are_divided_among_shards_each_with_a_loop_of_its_own() {
    smol::block_on(async {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let options = smallrtc_server::Options::new().listen(listen).shards(2);
        let server = smallrtc_server::Server::bind(options).await.expect("loopback is free");
        // A call that nobody holds ends, and its shard would have the fewest again.
        let mut calls = Vec::new();
        for number in 0..4 {
            let body = json!({ "sdp": page(number).offer(smallrtc_sim::start()), "type": "offer" });
            let body = body.to_string();
            let answer = server.handle().request("POST", "/api/offer", body.as_bytes()).await;
            assert_eq!(answer.status, 200);
            calls.push(server.accept().await.expect("a call"));
        }
        let shards: Vec<_> = calls.iter().map(|call| call.shard()).collect();
        assert_eq!(shards, [0, 1, 0, 1]);
        server.close().await;
    });
}

/// `/start` of a runner without uploads says nothing of files, and clients offer none.
#[test]
fn r9_no_files_are_taken_and_clients_are_told_so_as_by_the_original() {
    let mut desk = Desk::new();
    let (status, started) = desk.ask("POST", "/start", "{}");
    assert_eq!((status, started.get("fileUploadUrl")), (200, None));
    let session = started["sessionId"].as_str().unwrap();
    // As in the original without `-u` and `-f`.
    let files = desk.ask("POST", &format!("/sessions/{session}/files"), "x");
    assert_eq!(files, (200, serde_json::Value::String(String::new())));
    assert_eq!(desk.ask("POST", "/files", "x").0, 404);
    assert_eq!(desk.ask("GET", "/files/x", "").0, 404);
}

/// What an endpoint keeps of an ended call is nothing, whatever the time.
pub(crate) fn is_empty_after(desk: &mut Desk, time: Duration) -> bool {
    desk.pass(&mut [], u64::try_from(time.as_millis()).unwrap());
    desk.endpoint.is_empty()
}
