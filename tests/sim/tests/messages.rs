//! Messages: waiting for the channel, flowing through it, and the limits on the way.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{ConnectionState, Delivery, Event, Message, SendError};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup, run};

/// Pipecat's MAX_MESSAGE_QUEUE_SIZE.
const QUEUE_MAX: usize = 50;

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{\"number\":{number}}}")).collect()
}

#[test]
fn messages_wait_for_the_channel_and_are_flushed_in_order() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        for text in numbered(QUEUE_MAX) {
            assert_eq!(pair.send_message(Message::text(text)), Ok(Delivery::Queued));
        }
        pair.connect();
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.browser_messages(), numbered(QUEUE_MAX), "{kind:?}");
        assert_eq!(pair.session.stats().messages_sent, QUEUE_MAX as u64);
    }
}

#[test]
fn fifty_messages_wait_and_the_next_is_refused() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        for text in numbered(QUEUE_MAX) {
            pair.say(&text);
        }
        let refused = pair.send_message(Message::text("one too many"));
        let full = matches!(refused, Err(SendError::QueueFull { limit: QUEUE_MAX, .. }));
        assert!(full, "{refused:?}");
        assert_eq!(pair.session.stats().messages_refused, 1);
        pair.connect();
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.browser_messages(), numbered(QUEUE_MAX), "the oldest are kept");
        pair.say("there is room again");
    }
}

#[test]
fn what_waits_for_a_channel_that_never_comes_is_given_up_and_told() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.channel = None));
        for text in numbered(3) {
            pair.say(&text);
        }
        pair.connect();
        let connected = pair.entered(ConnectionState::Connected).unwrap();
        pair.drive_for(Duration::from_secs(15));
        let given_up = pair.timed_events().iter().find_map(|(at, event)| match event {
            Event::MessagesDropped { count } => Some((*at, *count)),
            _ => None,
        });
        assert_eq!(given_up, Some((connected + Duration::from_secs(10), 3)));
        assert_eq!(pair.session.stats().messages_dropped, 3);
        let refused = pair.send_message(Message::text("late"));
        assert_eq!(refused, Err(SendError::NoChannel));
        assert_eq!(pair.session.state(), ConnectionState::Connected, "the call goes on");
    }
}

#[test]
fn a_channel_that_opens_after_all_was_given_up_is_used() {
    let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.channel = None);
    let mut pair = Pair::new(setup);
    pair.say("lost");
    pair.connect();
    pair.drive_for(Duration::from_secs(12));
    let now = pair.now();
    pair.browser.open_channel("late", now);
    pair.drive_for(Duration::from_millis(100));
    pair.say("heard");
    pair.drive_for(Duration::from_millis(100));
    assert_eq!(pair.browser_messages(), ["heard"]);
}

#[test]
fn the_newest_channel_is_the_one_that_is_used() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let now = pair.now();
        pair.browser.open_channel("second", now);
        pair.drive_for(Duration::from_millis(200));
        let opened = Event::ChannelOpened { label: "second".to_owned() };
        assert!(pair.events().any(|event| *event == opened), "{kind:?}");
        pair.say("over the second");
        pair.drive_for(Duration::from_millis(200));
        assert!(pair.browser_messages().contains(&"over the second".to_owned()));
        let now = pair.now();
        assert!(pair.browser.send_text("[1]", now));
        pair.drive_for(Duration::from_millis(200));
        assert_eq!(pair.messages(), [&Message::text("[1]")]);
    }
}

#[test]
fn an_empty_message_and_one_too_large_are_refused_and_the_largest_arrives() {
    let largest = 256 * 1024;
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        assert_eq!(pair.send_message(Message::text("")), Err(SendError::Empty));
        let refused = pair.send_message(Message::text("x".repeat(largest + 1)));
        assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{refused:?}");
        pair.say(&"x".repeat(largest));
        pair.say("after");
        pair.drive_for(Duration::from_secs(20));
        let lengths: Vec<_> = pair.browser_messages().iter().map(String::len).collect();
        assert_eq!(lengths, [largest, 5], "{kind:?}");
    }
}

#[test]
fn a_full_channel_refuses_and_tells_when_there_is_room() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let block = "x".repeat(100 * 1024);
        let mut taken = 0;
        let refused = loop {
            match pair.send_message(Message::text(block.clone())) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken < 100, "the queue has no limit");
        };
        assert!(matches!(refused, SendError::QueueFull { .. }), "{refused:?}");
        pair.drive_until(Duration::from_secs(60), "there is room", |pair| {
            pair.events().any(|event| *event == Event::MessagesDrained)
        });
        pair.say("room");
        pair.drive_for(Duration::from_secs(60));
        let heard = pair.browser_messages();
        assert_eq!(heard.len(), taken + 1, "{kind:?}");
        assert_eq!(heard.last().map(String::as_str), Some("room"));
    }
}

#[test]
fn messages_survive_a_bad_link_in_order_both_ways() {
    run("messages_survive_a_bad_link_in_order_both_ways", 3, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed).links(LinkConfig::bad()));
            pair.connect();
            for text in numbered(100) {
                pair.say(&text);
                let now = pair.now();
                assert!(pair.browser.send_text(&text, now));
                pair.drive_for(Duration::from_millis(50));
            }
            pair.drive_for(Duration::from_secs(60));
            assert_eq!(pair.browser_messages(), numbered(100), "{kind:?}");
            let heard: Vec<_> = pair
                .messages()
                .into_iter()
                .map(|message| String::from_utf8_lossy(message.as_bytes()).into_owned())
                .collect();
            assert_eq!(heard, numbered(100), "{kind:?}");
        }
    });
}

#[test]
fn signalling_of_the_client_is_not_a_message() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(Duration::from_millis(5_500));
        assert!(pair.messages().is_empty());
        assert_eq!(pair.session.stats().pings, 5, "{kind:?}");
        let is_status = |event: &&Event| matches!(event, Event::TrackStatus { .. });
        assert_eq!(pair.events().filter(is_status).count(), 1, "of the one track there is");
    }
}

#[test]
fn a_renegotiation_is_asked_for_once_until_the_offer_comes() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let asked = |pair: &Pair| {
            pair.browser_messages().iter().filter(|text| text.contains("renegotiate")).count()
        };
        let now = pair.now();
        pair.session.request_renegotiation(now);
        pair.session.request_renegotiation(now);
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(asked(&pair), 1);
        pair.negotiate().unwrap();
        let now = pair.now();
        pair.session.request_renegotiation(now);
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(asked(&pair), 2);
    }
}

#[test]
fn a_message_with_every_byte_comes_through_as_it_is() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let every: Vec<u8> = (0..=255).collect();
        assert!(pair.send_message(Message::Binary(every.clone().into())).is_ok());
        let now = pair.now();
        assert!(pair.browser.send_binary(&every, now));
        pair.drive_for(Duration::from_millis(100));
        let binary = BrowserEvent::Message { binary: true, data: every.clone() };
        assert!(pair.browser_events().any(|event| *event == binary));
        assert_eq!(pair.messages(), [&Message::Binary(every.into())]);
    }
}
