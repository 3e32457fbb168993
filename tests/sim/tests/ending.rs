//! How calls end: from both sides, in every state, once.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::scripted::{self, Frame};
use smallrtc::{CloseReason, ConnectionState, Event, Message, NegotiateError, Offer, SendError};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Packet, Pair, Setup, bot_address, run};

const PEER_LEFT: &str = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn close_delivers_what_was_queued_and_then_peer_left_before_the_connection_ends() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        for number in 0..20 {
            pair.say(&format!("[{number}]"));
        }
        let now = pair.now();
        pair.session.close(now);
        assert_eq!(pair.send_message(Message::text("late")), Err(SendError::Closed));
        let (_, reason) = pair.drive_until_closed(seconds(2));
        assert_eq!(reason, CloseReason::Application);
        pair.drive_for(seconds(1));
        let mut expected: Vec<_> = (0..20).map(|number| format!("[{number}]")).collect();
        expected.push(PEER_LEFT.to_owned());
        assert_eq!(pair.browser_messages(), expected, "{kind:?}");
        let last = pair.browser_events().last();
        assert_eq!(last, Some(&BrowserEvent::HungUp), "{kind:?}");
    }
}

#[test]
fn close_delivers_peer_left_over_a_bad_link() {
    run("close_delivers_peer_left_over_a_bad_link", 5, |seed| {
        for kind in Kind::ALL {
            let setup = Setup::new(kind, seed)
                .links(LinkConfig { loss: 0.1, ..LinkConfig::clean() })
                .config(|config| config.linger(seconds(30)));
            let mut pair = Pair::new(setup);
            pair.connect();
            pair.drive_for(seconds(3));
            let now = pair.now();
            pair.session.close(now);
            pair.drive_until_closed(seconds(31));
            assert!(pair.browser_messages().contains(&PEER_LEFT.to_owned()), "{kind:?}");
        }
    });
}

#[test]
fn a_page_that_closes_ends_the_call_in_one_latency() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        let (at, now) = (pair.elapsed(), pair.now());
        pair.browser.hang_up(now);
        let (closed, reason) = pair.drive_until_closed(seconds(1));
        assert_eq!(reason, CloseReason::HungUp, "{kind:?}");
        assert_eq!(closed, at + Duration::from_millis(10));
    }
}

#[test]
fn a_goodbye_is_no_fault_even_when_an_acknowledgement_is_due_at_the_same_instant() {
    // SCTP acknowledges 200 ms after a chunk (RFC 9260 section 6.2). A driver that was away hands
    // in the goodbye when that has passed.
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        let now = pair.now();
        assert!(pair.browser.send_text("[1]", now));
        pair.drive_for(Duration::from_millis(50));
        pair.stall(Duration::from_millis(300));
        let now = pair.now();
        pair.browser.hang_up(now);
        assert_eq!(pair.drive_until_closed(seconds(1)).1, CloseReason::HungUp, "{kind:?}");
    }
}

#[test]
fn a_peer_that_says_it_leaves_ends_the_call_in_one_latency() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        let (at, now) = (pair.elapsed(), pair.now());
        assert!(pair.browser.send_text(PEER_LEFT, now));
        let (closed, reason) = pair.drive_until_closed(seconds(1));
        assert_eq!(reason, CloseReason::PeerLeft);
        assert_eq!(closed, at + Duration::from_millis(10));
    }
}

#[test]
fn both_sides_that_close_at_once_end_once() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        let now = pair.now();
        pair.session.close(now);
        pair.browser.hang_up(now);
        pair.session.close(now);
        let (_, reason) = pair.drive_until_closed(seconds(3));
        assert_eq!(reason, CloseReason::Application, "what ended it first");
        pair.drive_for(seconds(60));
        let ends = pair.events().filter(|event| matches!(event, Event::Closed { .. })).count();
        assert_eq!(ends, 1);
    }
}

#[test]
fn close_ends_at_once_where_nobody_can_be_told() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        let now = pair.now();
        pair.session.close(now);
        assert_eq!(pair.drive_until_closed(seconds(1)).1, CloseReason::Application);

        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.negotiate().unwrap();
        let (at, now) = (pair.elapsed(), pair.now());
        pair.session.close(now);
        assert_eq!(pair.drive_until_closed(seconds(1)), (at, CloseReason::Application));

        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.channel = None));
        pair.connect();
        let (at, now) = (pair.elapsed(), pair.now());
        pair.session.close(now);
        assert_eq!(pair.drive_until_closed(seconds(1)), (at, CloseReason::Application));
        pair.drive_for(seconds(1));
        assert!(pair.browser_events().any(|event| *event == BrowserEvent::HungUp), "{kind:?}");
    }
}

/// The browser's offer, with the last digit of its fingerprint changed.
fn with_another_certificate(offer: &str) -> String {
    let change = |line: &str| match line.strip_prefix("a=fingerprint:") {
        Some(value) => {
            let (kept, last) = value.split_at(value.len() - 1);
            format!("a=fingerprint:{kept}{}", if last == "0" { "1" } else { "0" })
        }
        None => line.to_owned(),
    };
    offer.lines().map(|line| change(line) + "\r\n").collect()
}

#[test]
fn who_shakes_hands_with_another_certificate_than_the_offers_is_refused() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    let now = pair.now();
    let offer = with_another_certificate(&pair.browser.offer(now));
    let answer = pair.session.accept_offer(&Offer::parse(&offer).unwrap(), now).unwrap();
    pair.browser.accept_answer(answer.sdp(), now);
    let (at, reason) = pair.drive_until_closed(seconds(2));
    assert_eq!(reason, CloseReason::Refused);
    assert_eq!(pair.entered(ConnectionState::Connected), None);
    pair.drive_for(seconds(90));
    assert_eq!(pair.closed(), Some((at, CloseReason::Refused)), "once, and nothing is left");
    assert!(pair.session.is_finished());
}

#[test]
fn a_refusal_by_the_engine_ends_a_scripted_call_as_well() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    pair.negotiate().unwrap();
    pair.drive_for(Duration::from_millis(25));
    assert_eq!(pair.session.state(), ConnectionState::Connecting);
    let payload = scripted::encode(&[Frame::Refused("another certificate")]).into();
    let (source, destination) = (pair.browser.address(), bot_address());
    pair.inject(Packet { source, destination, payload });
    assert_eq!(pair.closed().map(|(_, reason)| reason), Some(CloseReason::Refused));
}

#[test]
fn a_peer_that_vanishes_at_any_moment_leaves_a_session_that_ends_in_time() {
    run("a_peer_that_vanishes_at_any_moment_leaves_a_session_that_ends_in_time", 2, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed));
            pair.connect();
            let connected = pair.elapsed();
            for tenth in 0..=20_u32 {
                let mut pair = Pair::new(Setup::new(kind, seed));
                pair.negotiate().unwrap();
                pair.drive_to(connected * tenth / 10);
                let was = pair.session.state();
                pair.browser.vanish();
                let (_, reason) = pair.drive_until_closed(seconds(61));
                let expected = match was {
                    ConnectionState::Connected => CloseReason::Lost,
                    _ if pair.entered(ConnectionState::Connected).is_some() => CloseReason::Lost,
                    _ => CloseReason::NeverConnected,
                };
                assert_eq!(reason, expected, "{kind:?} {was} {tenth}");
            }
        }
    });
}

#[test]
fn a_peer_that_vanishes_while_disconnected_or_closing_leaves_nothing() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.up.set_down(true);
        pair.drive_for(seconds(8));
        assert_eq!(pair.session.state(), ConnectionState::Disconnected);
        pair.browser.vanish();
        assert_eq!(pair.drive_until_closed(seconds(20)).1, CloseReason::Lost);

        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let now = pair.now();
        pair.browser.vanish();
        pair.session.close(now);
        assert_eq!(pair.drive_until_closed(seconds(2)).1, CloseReason::Application);

        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.up.set_down(true);
        pair.drive_for(seconds(8));
        let now = pair.now();
        pair.session.close(now);
        assert_eq!(pair.drive_until_closed(seconds(2)).1, CloseReason::Application);
    }
}

#[test]
fn after_the_end_every_call_is_refused_and_nothing_happens() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let offer = pair.browser.offer(pair.now());
        let now = pair.now();
        pair.browser.hang_up(now);
        pair.drive_until_closed(seconds(1));
        let now = pair.now();
        assert_eq!(pair.send_message(Message::text("x")), Err(SendError::Closed));
        assert_eq!(pair.send_audio(&[0; 160], 16_000).unwrap_err(), SendError::Closed);
        let offer = smallrtc::Offer::parse(&offer).unwrap();
        let refused = pair.session.accept_offer(&offer, now).unwrap_err();
        assert_eq!(refused, NegotiateError::Closed);
        pair.session.start(now);
        pair.session.close(now);
        pair.session.request_renegotiation(now);
        pair.session.clear_audio(now);
        pair.session.handle_timeout(now + seconds(100));
        assert_eq!(pair.session.poll_event(), None);
        assert_eq!(pair.session.poll_transmit(), None);
        assert_eq!(pair.session.poll_timeout(), None);
    }
}

#[test]
fn a_short_outage_is_told_and_the_call_goes_on() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        for link in [&mut pair.up, &mut pair.down] {
            link.set_down(true);
        }
        pair.drive_for(seconds(10));
        for link in [&mut pair.up, &mut pair.down] {
            link.set_down(false);
        }
        pair.say("still there?");
        pair.drive_for(seconds(30));
        assert!(pair.entered(ConnectionState::Disconnected).is_some());
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        assert!(pair.browser_messages().contains(&"still there?".to_owned()), "{kind:?}");
    }
}
