//! C: construction and SDP.

use std::time::Duration;

use serde_json::json;
use smallrtc::signaling::{IceServer, Options};
use smallrtc::{Config, ConnectionState, Event, Message, Offer, TrackId};
use smallrtc_sim::{BrowserConfig, BrowserEvent, Kind, Pair, Setup};

use crate::desk::{Desk, page};
use crate::tracks::without_camera;

/// The JavaScript client's offer: microphone, camera, screen, channel.
fn javascript(browser: &mut BrowserConfig) {
    (browser.camera, browser.screen) = (true, true);
}

fn answer(pair: &mut Pair) -> String {
    let now = pair.now();
    let offer = Offer::parse(&pair.browser.offer(now)).unwrap();
    let answer = pair.session.accept_offer(&offer, now).unwrap().sdp().to_owned();
    pair.browser.accept_answer(&answer, now);
    answer
}

/// The values of the lines that begin so.
fn values<'a>(sdp: &'a str, name: &str) -> Vec<&'a str> {
    sdp.lines().filter_map(|line| line.strip_prefix(name)).collect()
}

#[test]
fn c1_all_ice_servers_are_handed_to_the_client() {
    let stun = IceServer::new(["stun:192.0.2.3:3478"]).unwrap();
    let turn = IceServer::new(["turn:192.0.2.4:3478", "turns:192.0.2.4:5349"]).unwrap();
    let turn = turn.credentials("user", "secret").unwrap();
    let options = Options::new().ice_server(stun).unwrap().ice_server(turn).unwrap();
    let mut desk = Desk::with(Config::new(), options);
    let (status, body) = desk.ask("POST", "/start", "{}");
    assert_eq!(status, 200);
    let servers = body["iceConfig"]["iceServers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    assert_eq!(servers[1]["username"], "user");
    assert!(IceServer::new(["http://192.0.2.3"]).is_err());
}

#[test]
fn c2_names_of_calls_are_as_the_originals_and_never_the_same() {
    let (mut desk, mut first, mut second) = (Desk::new(), page(1), page(2));
    let (_, one) = desk.call(&mut first, &json!({}));
    let (_, other) = desk.call(&mut second, &json!({}));
    for name in [&one, &other] {
        let rest = name.strip_prefix("SmallWebRTCConnection#").unwrap();
        let (number, hex) = rest.split_once('-').unwrap();
        assert!(number.parse::<u64>().is_ok(), "{name}");
        assert!(hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
    assert_ne!(one[one.len() - 20..], other[other.len() - 20..]);
    let mut again = page(3);
    let fields = json!({ "pc_id": one, "restart_pc": true });
    let (_, restarted) = desk.call(&mut again, &fields);
    assert_ne!(restarted, one);
}

#[test]
fn c3_every_event_of_the_original_is_told_and_disconnected_too() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true));
    pair.connect();
    let now = pair.now();
    assert!(pair.browser.send_text("\"hello\"", now));
    let off = r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":0,"enabled":false}}"#;
    assert!(pair.browser.send_text(off, now));
    pair.drive_for(Duration::from_secs(1));
    let now = pair.now();
    let offer = Offer::parse(&without_camera(&pair.browser.offer(now))).unwrap();
    let _ = pair.session.accept_offer(&offer, now).unwrap();
    pair.browser.vanish();
    pair.drive_until_closed(Duration::from_secs(30));
    let state = Event::StateChanged;
    for told in [
        state(ConnectionState::Connecting),
        state(ConnectionState::Connected),
        Event::Message(Message::text("\"hello\"")),
        Event::TrackStatus { track: TrackId(0), enabled: false },
        Event::TrackEnded(TrackId(1)),
        state(ConnectionState::Disconnected),
        state(ConnectionState::Failed),
    ] {
        assert!(pair.events().any(|event| *event == told), "{told:?}");
    }
    let started = |event: &&Event| matches!(event, Event::TrackStarted(_));
    assert_eq!(pair.events().filter(started).count(), 2);
    assert!(matches!(pair.events().last(), Some(Event::Closed { .. })));
}

#[test]
fn c4_an_offer_gives_the_answer_and_before_it_there_is_nothing() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    assert_eq!(pair.session.state(), ConnectionState::New);
    assert!(pair.session.tracks().is_empty());
    let sdp = answer(&mut pair);
    assert!(sdp.starts_with("v=0\r\n"));
    assert_eq!(pair.session.state(), ConnectionState::Connecting);
}

#[test]
fn c5_microphone_and_camera_are_answered_sendrecv_and_the_screen_recvonly() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(javascript));
    let sdp = answer(&mut pair);
    let directions: Vec<&str> = sdp
        .lines()
        .filter(|line| ["a=sendrecv", "a=recvonly", "a=sendonly", "a=inactive"].contains(line))
        .collect();
    assert_eq!(directions[..3], ["a=sendrecv", "a=sendrecv", "a=recvonly"], "{sdp}");
    assert_eq!(values(&sdp, "m=").len(), 4);
    let kinds: Vec<&str> =
        values(&sdp, "m=").iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["audio", "video", "video", "application"]);
}

#[test]
fn c6_the_largest_message_leaves_in_datagrams_for_a_path_of_1280_bytes() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    pair.keep_transmits();
    let _ = pair.send_message(Message::text("x".repeat(256 * 1024))).unwrap();
    pair.drive_for(Duration::from_secs(5));
    let longest = pair.transmits().iter().map(|(_, sent)| sent.payload.len()).max().unwrap();
    assert!((1_000..=1_150).contains(&longest), "{longest}");
    assert_eq!(pair.browser_messages().last().unwrap().len(), 256 * 1024);
}

#[test]
fn c7_everything_is_bundled_and_a_keyframe_of_the_screen_arrives_whole() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(javascript));
    let sdp = answer(&mut pair);
    let mids = values(&sdp, "a=mid:").join(" ");
    assert_eq!(values(&sdp, "a=group:BUNDLE "), [mids.as_str()]);
    pair.drive_until(Duration::from_secs(5), "the page is connected", |pair| {
        pair.browser_events().any(|event| *event == BrowserEvent::Connected)
            && pair.session.state() == ConnectionState::Connected
    });
    let mut keyframe = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    keyframe.resize(600_000, 7);
    let now = pair.now();
    assert!(pair.browser.send_media(2, 0, &keyframe, now));
    pair.drive_for(Duration::from_secs(1));
    let frame = pair.session.recv_encoded(TrackId(2)).expect("more than 512 packets of it");
    assert_eq!((frame.keyframe, frame.data.len()), (true, 600_000));
}

#[test]
fn c8_a_call_without_pictures_without_sound_or_without_a_channel_connects() {
    let changes: [fn(&mut BrowserConfig); 3] = [
        |_| {},
        |browser| (browser.audio, browser.camera) = (false, true),
        |browser| browser.channel = None,
    ];
    for change in changes {
        let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(change));
        pair.connect();
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}
