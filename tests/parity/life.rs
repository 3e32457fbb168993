//! L: the life of a call.

use std::time::Duration;

use serde_json::json;
use smallrtc::signaling::Options;
use smallrtc::{CloseReason, Config, ConnectionState, Event, Message, SendError, TrackId};
use smallrtc_sim::{BrowserEvent, ClientKind, Kind, LinkConfig, Lobby, Pair, Setup};

use crate::desk::{Desk, page};

const PEER_LEFT: &str = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;
const RENEGOTIATE: &str = r#"{"type":"signalling","message":{"type":"renegotiate"}}"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn told(pair: &Pair, event: &Event) -> usize {
    pair.events().filter(|told| *told == event).count()
}

#[test]
fn l1_connected_and_messages_wait_for_start_and_a_pli_asks_for_the_picture() {
    let setup = Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true).held();
    let mut pair = Pair::new(setup);
    pair.negotiate().unwrap();
    pair.drive_for(seconds(1));
    let now = pair.now();
    assert!(pair.browser.send_text("\"early\"", now));
    pair.drive_for(seconds(1));
    let (connected, early) = (
        Event::StateChanged(ConnectionState::Connected),
        Event::Message(Message::text("\"early\"")),
    );
    assert_eq!((told(&pair, &connected), told(&pair, &early)), (0, 0));
    for _ in 0..2 {
        let now = pair.now();
        pair.session.start(now);
        pair.drive_for(seconds(1));
        assert_eq!((told(&pair, &connected), told(&pair, &early)), (1, 1), "once");
    }
    assert!(!pair.browser_messages().contains(&RENEGOTIATE.to_owned()));
    assert_eq!(pair.session.stats().keyframes_requested, 1);
}

#[test]
fn l2_a_thousand_and_24_messages_wait_for_start_and_one_more_ends_the_call() {
    for (count, ends) in [(1024, false), (1025, true)] {
        let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.chatters = false);
        let mut pair = Pair::new(setup.held());
        pair.negotiate().unwrap();
        pair.drive_for(seconds(1));
        for _ in 0..count {
            let now = pair.now();
            assert!(pair.browser.send_text("1", now));
            pair.drive_for(Duration::from_millis(1));
        }
        pair.drive_for(seconds(1));
        let reason = pair.closed().map(|(_, reason)| reason);
        assert_eq!(reason, ends.then_some(CloseReason::ApplicationTooSlow));
    }
}

/// A call in which both sides speak for some time, and nobody pings any more.
fn a_minute_without_pings() -> Pair {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    // Pings were seen, and end here: the page goes into the background.
    pair.drive_for(seconds(3));
    assert!(pair.session.stats().pings > 0);
    pair.browser.stop_pinging();
    pair.drive_for(seconds(60));
    pair
}

#[test]
fn l3_a_page_whose_pings_end_stays_connected() {
    let mut pair = a_minute_without_pings();
    assert_eq!(pair.session.state(), ConnectionState::Connected);
    assert_eq!(told(&pair, &Event::StateChanged(ConnectionState::Disconnected)), 0);
    assert_eq!(pair.send_message(Message::text("1")), Ok(smallrtc::Delivery::Sent));
}

#[test]
fn l4_a_call_that_is_never_made_ends_after_15_s_without_checks() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.browser.vanish();
    pair.negotiate().unwrap();
    assert_eq!(pair.drive_until_closed(seconds(60)), (seconds(15), CloseReason::NeverConnected));
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    assert_eq!(pair.drive_until_closed(seconds(61)), (seconds(60), CloseReason::NeverConnected));
}

#[test]
fn l5_a_peer_that_is_gone_is_noticed_after_5_s_and_given_up_after_20() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    let last = pair.last_sign_of_life();
    let (ended, reason) = pair.drive_until_closed(seconds(30));
    assert_eq!(pair.entered(ConnectionState::Disconnected), Some(last + seconds(5)));
    assert_eq!((ended, reason), (last + seconds(20), CloseReason::Lost));
}

#[test]
fn l6_what_failed_is_closed_and_its_name_is_free() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let (id, pc_id) = desk.call(&mut page, &json!({}));
    desk.pass(&mut [&mut page], 1_000);
    page.vanish();
    desk.pass(&mut [&mut page], 25_000);
    let states: Vec<_> = desk.events.iter().map(|(_, _, event)| event.clone()).collect();
    assert!(states.contains(&Event::StateChanged(ConnectionState::Failed)));
    assert_eq!(states.last(), Some(&Event::Closed { reason: CloseReason::Lost }));
    assert!(desk.endpoint.session(id).is_none() && desk.endpoint.is_empty());
    assert_eq!(desk.signaling.session_of(&pc_id), None);
}

#[test]
fn l7_peer_left_arrives_after_everything_that_was_said_before() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    for number in 0..200 {
        let _ = pair.send_message(Message::text(format!("[{number}]"))).unwrap();
    }
    let now = pair.now();
    pair.session.close(now);
    let (_, reason) = pair.drive_until_closed(seconds(2));
    assert_eq!(reason, CloseReason::Application);
    pair.drive_for(seconds(1));
    let heard = pair.browser_messages();
    assert_eq!(heard.len(), 201);
    assert_eq!(heard[199..], ["[199]".to_owned(), PEER_LEFT.to_owned()]);
    assert!(pair.browser_events().any(|event| *event == BrowserEvent::HungUp));
}

#[test]
fn l8_an_offer_with_a_known_name_goes_on_with_the_same_call() {
    let (mut desk, mut page) = (Desk::new(), page(1));
    let (id, pc_id) = desk.call(&mut page, &json!({}));
    desk.pass(&mut [&mut page], 1_000);
    let (status, answer) = desk.offer(&mut page, &json!({ "pc_id": pc_id, "restart_pc": false }));
    assert_eq!((status, answer["pc_id"].as_str()), (200, Some(pc_id.as_str())));
    assert_eq!(desk.signaling.session_of(&pc_id), Some(id));
    desk.pass(&mut [&mut page], 1_000);
    let state = desk.endpoint.session(id).unwrap().state();
    assert_eq!((desk.endpoint.len(), state), (1, ConnectionState::Connected));
}

/// How long after its offer the JavaScript client, whose path was dark for 10 s, hears the bot
/// again; a datagram takes `delay`, a request and its response 15 ms each.
fn heard_after_a_restart(delay: Duration) -> Duration {
    let mut lobby = Lobby::new(Config::new(), Options::new(), Kind::Real, 1);
    lobby.speak();
    let number = lobby.add(ClientKind::JavaScript, LinkConfig { delay, ..LinkConfig::clean() });
    lobby.connect(number);
    lobby.drive_for(seconds(3));
    lobby.set_path_dark(number, true);
    lobby.drive_until(seconds(12), "it restarts", |lobby| lobby.client(number).restarts() == 1);
    lobby.set_path_dark(number, false);
    let offered = lobby.elapsed();
    lobby.drive_for(seconds(2));
    let heard = lobby.heard(number).into_iter().find(|at| *at > offered);
    heard.expect("it is heard") - offered
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn l9_a_restarted_call_is_heard_within_half_a_second_and_the_old_one_is_gone() {
    for round_trip_ms in [0, 20, 50, 100] {
        let delay = Duration::from_millis(round_trip_ms / 2);
        let heard = heard_after_a_restart(delay);
        println!("round trip {round_trip_ms} ms: heard {} ms after the offer", heard.as_millis());
        assert!(heard <= Duration::from_millis(500), "round trip {round_trip_ms} ms: {heard:?}");
    }
    let (mut desk, mut old, mut new) = (Desk::new(), page(1), page(2));
    let (before, pc_id) = desk.call(&mut old, &json!({}));
    desk.pass(&mut [&mut old], 2_000);
    let (after, name) = desk.call(&mut new, &json!({ "pc_id": pc_id, "restart_pc": true }));
    desk.pass(&mut [&mut new], 500);
    assert_ne!((after, &name), (before, &pc_id));
    let told = |wanted| {
        let of_it = desk.events.iter().filter(move |(_, id, _)| *id == wanted);
        of_it.map(|(_, _, event)| event.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(before).last(), Some(&Event::Closed { reason: CloseReason::Replaced }));
    let connected = Event::StateChanged(ConnectionState::Connected);
    assert_eq!(told(after).iter().filter(|event| **event == connected).count(), 1);
    assert_eq!((desk.endpoint.len(), desk.signaling.session_of(&pc_id)), (1, None));
}

#[test]
fn l10_the_wish_for_an_offer_is_said_once_until_the_offer_comes_and_then_again() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    for round in 1..=3 {
        for _ in 0..5 {
            let now = pair.now();
            pair.session.request_renegotiation(now);
            pair.drive_for(Duration::from_millis(50));
        }
        let wishes = pair.browser_messages().iter().filter(|text| *text == RENEGOTIATE).count();
        assert_eq!(wishes, round);
        // No time is waited for after the answer.
        pair.negotiate().unwrap();
    }
}

#[test]
fn l11_pictures_begin_on_a_line_that_was_negotiated_long_before_without_an_offer() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true));
    pair.connect();
    pair.drive_for(seconds(30));
    let mut keyframe = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    keyframe.resize(3_000, 7);
    let frame = smallrtc::EncodedFrame::new(
        smallrtc::Codec::Vp8,
        Duration::ZERO,
        true,
        keyframe.clone().into(),
    );
    let now = pair.now();
    assert_eq!(pair.session.send_encoded(TrackId(1), frame, now), Ok::<(), SendError>(()));
    assert!(pair.browser.send_media(1, 0, &keyframe, now));
    pair.drive_for(seconds(1));
    let shown = |event: &BrowserEvent| matches!(event, BrowserEvent::Media { line: 1, .. });
    assert!(pair.browser_events().any(shown));
    assert!(pair.session.recv_encoded(TrackId(1)).is_some());
    assert!(!pair.browser_messages().contains(&RENEGOTIATE.to_owned()));
}
