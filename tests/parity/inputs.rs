//! H: inputs that hurt the original.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::{AudioFrame, ConnectionState, Event, Message, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_packet, null_words};

use crate::desk::{Desk, page};
use crate::runner::is_empty_after;

/// What the page hears of the bot that is not silence, in packets.
fn heard(pair: &Pair) -> usize {
    let words = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Media { line: 0, data, .. } => null_words(data),
        _ => None,
    });
    words.filter(|words| words.iter().any(|word| *word != 0)).count()
}

fn detail(answer: &Value) -> &str {
    answer["detail"].as_str().expect("an error says what is wrong")
}

#[test]
fn h1_empty_or_broken_sdp_is_refused_and_nothing_is_kept() {
    let mut desk = Desk::new();
    for sdp in ["", "garbage", "v=0\r\n", "v=0\r\nm=audio 9 x 0\r\n"] {
        let body = json!({ "sdp": sdp, "type": "offer" }).to_string();
        let (status, answer) = desk.ask("POST", "/api/offer", &body);
        assert_eq!(status, 400, "{sdp}");
        assert!(detail(&answer).starts_with("sdp: "), "{answer}");
        assert!(desk.signaling.poll_call().is_none() && desk.endpoint.is_empty());
    }
}

/// A server on loopback, and the address that it serves pages at.
fn serve() -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_smallrtc"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("it is piped")).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("open http://").trim_end_matches('/').to_owned();
    (child, address)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program is asked over a socket and ends in real time, within its bound"
)]
fn h2_a_server_with_ghosts_ends_when_it_is_told_to() {
    let (mut child, address) = serve();
    let body = json!({ "sdp": page(1).offer(smallrtc_sim::start()), "type": "offer" }).to_string();
    let mut stream = std::net::TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /api/offer HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let told = Instant::now();
    // The shell's own, because not every machine has the program.
    let kill = ["-c", "kill -TERM \"$0\"", &child.id().to_string()];
    assert!(Command::new("sh").args(kill).status().unwrap().success());
    child.wait().unwrap();
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
}

#[test]
fn h3_an_answered_offer_whose_page_never_checks_is_gone_after_15_s() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let _ = desk.call(&mut page, &json!({}));
    assert!(!is_empty_after(&mut desk, Duration::from_millis(14_900)));
    assert!(is_empty_after(&mut desk, Duration::from_millis(200)));
}

#[test]
fn h4_a_restart_leaves_one_name_of_the_call() {
    let (mut desk, mut page_before) = (Desk::new(), page(1));
    let (_, mut pc_id) = desk.call(&mut page_before, &json!({}));
    for number in 2..12 {
        let mut next = page(number);
        let old = pc_id.clone();
        (_, pc_id) = desk.call(&mut next, &json!({ "pc_id": old, "restart_pc": true }));
        assert_eq!(desk.signaling.session_of(&old), None);
        desk.pass(&mut [&mut next], 10);
        assert_eq!(desk.endpoint.len(), 1);
    }
}

#[test]
fn h5_a_broken_candidate_is_refused_by_its_place_and_none_of_the_list_is_taken() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let (_, pc_id) = desk.call(&mut page, &json!({}));
    let good = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host";
    let place = "192.0.2.7:50000".parse().unwrap();
    let mut list = |candidates: &[&str]| {
        let candidates: Vec<_> =
            candidates.iter().map(|candidate| json!({ "candidate": candidate })).collect();
        let body = json!({ "pc_id": pc_id, "candidates": candidates }).to_string();
        let (status, answer) = desk.ask("PATCH", "/api/offer", &body);
        // Whatever was taken is checked within a second.
        desk.pass(&mut [&mut page], 1_000);
        (status, answer, desk.destinations.contains(&place))
    };
    for broken in
        ["candidate:garbage", "garbage", "candidate:1 1 udp x 192.0.2.7 50000 typ host", "a=x"]
    {
        for (candidates, wrong) in
            [(&[good, broken][..], "candidates[1]"), (&[broken, good], "candidates[0]")]
        {
            let (status, answer, is_tried) = list(candidates);
            assert_eq!((status, is_tried), (400, false), "{broken}: none is taken");
            assert!(detail(&answer).starts_with(wrong), "{answer}");
        }
    }
    let (status, _, is_tried) = list(&[good]);
    assert_eq!((status, is_tried), (200, true), "by itself it is");
}

#[test]
fn h6_an_unknown_name_is_404_by_either_way() {
    let mut desk = Desk::new();
    let (_, started) = desk.ask("POST", "/start", "{}");
    let session = format!("/sessions/{}/api/offer", started["sessionId"].as_str().unwrap());
    let body = json!({ "pc_id": "SmallWebRTCConnection#9-x", "candidates": [] }).to_string();
    for path in ["/api/offer", session.as_str()] {
        assert_eq!(desk.ask("PATCH", path, &body).0, 404, "{path}");
    }
}

#[test]
fn h7_unknown_fields_no_candidates_and_names_of_mdns_are_fine() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let offer = page.offer(desk.now);
    let without: String = offer
        .lines()
        .filter(|line| !line.starts_with("a=candidate:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let body = json!({ "sdp": without, "type": "offer", "colour": [1, { "a": null }] });
    let (status, answer) = desk.ask("POST", "/api/offer", &body.to_string());
    assert_eq!(status, 200);
    let hidden =
        "candidate:1 1 udp 2113937151 3c2d5c5e-aaaa-4bbb-8ccc-123456789abc.local 50000 typ host";
    let tcp = "candidate:2 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active";
    let body = json!({
        "pc_id": answer["pc_id"],
        "candidates": [{ "candidate": hidden }, { "candidate": tcp }, { "candidate": "" }],
    });
    assert_eq!(desk.ask("PATCH", "/api/offer", &body.to_string()).0, 200);
    page.accept_answer(answer["sdp"].as_str().unwrap(), desk.now);
    desk.pass(&mut [&mut page], 1_000);
    let id = desk.signaling.session_of(answer["pc_id"].as_str().unwrap()).unwrap();
    assert_eq!(desk.endpoint.session(id).unwrap().state(), ConnectionState::Connected);
}

#[test]
fn h8_what_lacks_sdp_or_is_no_json_is_refused_with_the_field() {
    let mut desk = Desk::new();
    for (body, field) in [("{}", "sdp"), ("{", "body"), ("", "body"), (r#"{"sdp":1}"#, "sdp")] {
        let (status, answer) = desk.ask("POST", "/api/offer", body);
        assert_eq!(status, 400, "{body}");
        assert!(detail(&answer).starts_with(field), "{body}: {answer}");
    }
}

/// A call whose page pinged for a while, then went into the background.
fn in_the_background() -> Pair {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    pair.drive_for(Duration::from_secs(3));
    pair.browser.stop_pinging();
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair
}

#[test]
fn h9_a_page_in_the_background_is_heard_and_hears_for_a_minute_without_pings() {
    let mut pair = in_the_background();
    let (mut samples, mut read) = ([0; 4_800], 0);
    for _ in 0..600 {
        let now = pair.now();
        pair.session.send_audio(AudioFrame::mono(&[900; 2_400], 24_000), now).unwrap();
        pair.drive_for(Duration::from_millis(100));
        while let Some(info) = pair.session.recv_audio(TrackId(0), &mut samples) {
            read += info.samples;
        }
    }
    assert!(read > 16_000 * 59, "{read}");
    assert!(heard(&pair) > 2_950, "{}", heard(&pair));
    let _ = pair.send_message(Message::text("[1]")).unwrap();
    pair.drive_for(Duration::from_secs(1));
    assert!(pair.browser_messages().contains(&"[1]".to_owned()));
}

#[test]
fn h10_noise_on_the_channel_is_the_applications_or_counted_and_the_call_lives() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    pair.drive_for(Duration::from_millis(500));
    let now = pair.now();
    let unknown = r#"{"type":"signalling","message":{"type":"unknown"}}"#;
    for text in ["[]", "{}", "text", unknown] {
        assert!(pair.browser.send_text(text, now));
    }
    assert!(pair.browser.send_binary(&[0xff, 0, 1], now));
    let noise = pair.session.stats().messages_noise;
    pair.drive_for(Duration::from_secs(1));
    assert_eq!(pair.messages().len(), 4);
    assert_eq!(pair.session.stats().messages_noise, noise + 1);
    assert_eq!(pair.session.state(), ConnectionState::Connected);
}

#[test]
fn h11_a_microphone_that_is_said_to_be_off_is_heard_all_the_same() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    pair.connect();
    let now = pair.now();
    let off = r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":0,"enabled":false}}"#;
    assert!(pair.browser.send_text(off, now));
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair.drive_for(Duration::from_secs(1));
    let told = Event::TrackStatus { track: TrackId(0), enabled: false };
    assert!(pair.events().any(|event| *event == told));
    let mut samples = [0; 16_000];
    let info = pair.session.recv_audio(TrackId(0), &mut samples).expect("it speaks");
    assert!(samples[..info.samples].iter().any(|sample| *sample != 0));
}

#[test]
fn h12_a_page_that_stops_to_send_gets_sound_at_its_pace() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    pair.connect();
    pair.drive_for(Duration::from_secs(1));
    pair.forget();
    pair.drive_for(Duration::from_secs(10));
    let media = |event: &&BrowserEvent| matches!(event, BrowserEvent::Media { line: 0, .. });
    let packets = pair.browser_events().filter(media).count();
    assert!((499..=501).contains(&packets), "{packets}");
}
