//! M: messages.

use std::time::Duration;

use smallrtc::{Delivery, Event, Message, SendError, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn connected() -> Pair {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.connect();
    pair
}

/// What the application hears of what the page says.
fn heard(say: impl FnOnce(&mut Pair)) -> (Vec<Message>, Pair) {
    let mut pair = connected();
    say(&mut pair);
    pair.flush();
    pair.drive_for(seconds(1));
    (pair.messages().into_iter().cloned().collect(), pair)
}

fn text(text: &'static str) -> impl FnOnce(&mut Pair) {
    move |pair| {
        let now = pair.now();
        assert!(pair.browser.send_text(text, now));
    }
}

fn binary(data: &'static [u8]) -> impl FnOnce(&mut Pair) {
    move |pair| {
        let now = pair.now();
        assert!(pair.browser.send_binary(data, now));
    }
}

#[test]
fn m1_fifty_messages_wait_for_the_channel_and_the_next_is_refused() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    for _ in 0..50 {
        assert_eq!(pair.send_message(Message::text("1")), Ok(Delivery::Queued));
    }
    let refused = pair.send_message(Message::text("1"));
    assert_eq!(refused, Err(SendError::QueueFull { limit: 50, wait: None }));
    pair.connect();
    pair.drive_for(seconds(1));
    assert_eq!(pair.browser_messages().len(), 50);
}

#[test]
fn m2_without_a_channel_for_10_s_they_are_given_up_and_a_late_channel_is_used() {
    let setup = Setup::new(Kind::Real, 1).browser(|browser| browser.channel = None);
    let mut pair = Pair::new(setup);
    assert_eq!(pair.send_message(Message::text("lost")), Ok(Delivery::Queued));
    pair.connect();
    pair.drive_for(Duration::from_millis(9_900));
    assert_eq!(pair.session.stats().messages_dropped, 0);
    pair.drive_for(Duration::from_millis(200));
    assert!(pair.events().any(|event| *event == Event::MessagesDropped { count: 1 }));
    assert_eq!(pair.send_message(Message::text("1")), Err(SendError::NoChannel));

    let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.channel = None);
    let mut pair = Pair::new(setup);
    pair.connect();
    pair.drive_for(seconds(11));
    let now = pair.now();
    pair.browser.open_channel("late", now);
    pair.drive_for(seconds(1));
    assert_eq!(pair.send_message(Message::text("heard")), Ok(Delivery::Sent));
    pair.drive_for(seconds(1));
    assert_eq!(pair.browser_messages(), ["heard"]);
}

#[test]
fn m3_what_waited_leaves_in_order() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    let words: Vec<String> = (0..50).map(|number| format!("[{number}]")).collect();
    for word in &words {
        assert_eq!(pair.send_message(Message::text(word)), Ok(Delivery::Queued));
    }
    pair.connect();
    pair.drive_for(seconds(1));
    assert_eq!(pair.browser_messages(), words);
}

#[test]
fn m4_a_ping_is_counted_and_no_message_and_its_bytes_are_one() {
    let (messages, pair) = heard(text("ping: 1790000000123"));
    assert!(messages.is_empty());
    assert!(pair.session.stats().pings >= 1);
    let (messages, _) = heard(binary(b"ping"));
    assert_eq!(messages, [Message::Binary(b"ping".as_slice().into())]);
}

#[test]
fn m5_what_is_no_signalling_is_the_applications_whatever_it_is() {
    let bare = r#"{"type":"signalling"}"#;
    let label = r#"{"label":"rtvi-ai"}"#;
    for said in ["{}", "[]", "[1,2]", label, bare, "null", "\"signalling\"", "{broken"] {
        assert_eq!(heard(text(said)).0, [Message::text(said)]);
    }
    let unknown = r#"{"type":"signalling","message":{"type":"dance"}}"#;
    let (messages, pair) = heard(text(unknown));
    assert_eq!((messages.len(), pair.session.stats().messages_noise), (0, noise() + 1));
}

/// What the client's own words count as noise: two of its three `trackStatus` are of tracks that
/// this page does not have.
fn noise() -> u64 {
    heard(|_| {}).1.session.stats().messages_noise
}

#[test]
fn m6_track_status_of_microphone_camera_and_screen_is_told_and_another_ignored() {
    let setup = Setup::new(Kind::Real, 1).browser(|browser| {
        (browser.camera, browser.screen, browser.chatters) = (true, true, false);
    });
    let mut pair = Pair::new(setup);
    pair.connect();
    for index in 0..4 {
        let status = format!(
            r#"{{"type":"signalling","message":{{"type":"trackStatus","receiver_index":{index},"enabled":false}}}}"#
        );
        let now = pair.now();
        assert!(pair.browser.send_text(&status, now));
    }
    pair.drive_for(seconds(1));
    for index in 0..4 {
        let told = Event::TrackStatus { track: TrackId(index), enabled: false };
        assert_eq!(pair.events().any(|event| *event == told), index < 3, "{index}");
    }
    assert_eq!(pair.session.stats().messages_noise, 1);
}

#[test]
fn m7_what_the_channel_does_not_take_is_refused_and_room_is_told() {
    let mut pair = connected();
    let large = || Message::text("x".repeat(64 * 1024));
    let mut taken = 0;
    let refused = loop {
        match pair.send_message(large()) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SendError::QueueFull { limit, .. } if limit == 1024 * 1024));
    assert!((16..=24).contains(&taken), "{taken}");
    pair.drive_for(seconds(5));
    assert!(pair.events().any(|event| *event == Event::MessagesDrained));
    assert_eq!(pair.browser_messages().len(), taken);
}

#[test]
fn m8_binary_json_is_read_and_other_bytes_are_passed_on() {
    let status = br#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":0,"enabled":false}}"#;
    let (messages, pair) = heard(binary(status));
    let told = Event::TrackStatus { track: TrackId(0), enabled: false };
    assert!(messages.is_empty() && pair.events().any(|event| *event == told));
    let (messages, _) = heard(binary(br#"{"label":"rtvi-ai","type":"x"}"#));
    let value: serde_json::Value = messages[0].parse().unwrap();
    assert_eq!(value["type"], "x");
    let (messages, pair) = heard(binary(b"\xff\xfe\x00"));
    assert_eq!(messages, [Message::Binary(b"\xff\xfe\x00".as_slice().into())]);
    assert!(!pair.browser_events().any(|event| *event == BrowserEvent::HungUp));
}
