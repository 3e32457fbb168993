//! The other table of endings: wherever a call stands when somebody ends it, by whatever means,
//! `Closed` is told once and last, for the reason of who was first, and nothing is left.
//!
//! | who ends it | where nobody can be told yet | anywhere else |
//! | --- | --- | --- |
//! | the page closes its connection | never connected, 15 s after its last check | hung up |
//! | the page says `peerLeft`, as text or binary | | peer left |
//! | the bot, and the page before the end | | closed by the application |

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{CloseReason, Codec, ConnectionState, EncodedFrame, Event, Message, TrackId};
use smallrtc_sim::{Kind, Pair, Setup};

const PEER_LEFT: &str = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;

/// One way, and what a link needs to notice it.
const LATENCY: Duration = Duration::from_millis(15);

/// The same for a message, before which others may wait for an acknowledgement.
const MESSAGE_LATENCY: Duration = Duration::from_millis(60);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Stand {
    name: &'static str,
    reach: fn(&mut Pair),
    /// DTLS is done, so that a goodbye can be said.
    is_connected: bool,
}

fn stands() -> Vec<Stand> {
    let stand = |name, is_connected, reach: fn(&mut Pair)| Stand { name, reach, is_connected };
    vec![
        stand("answered", false, answer),
        stand("checking", false, |pair| {
            answer(pair);
            pair.drive_for(Duration::from_millis(15));
        }),
        stand("connected", true, connect),
        stand("the channel has just opened", true, Pair::connect),
        stand("asked for an offer", true, |pair| {
            connect(pair);
            let now = pair.now();
            pair.session.request_renegotiation(now);
        }),
        stand("an offer was answered", true, |pair| {
            connect(pair);
            answer(pair);
        }),
        stand("a restart has found its path", true, |pair| {
            connect(pair);
            pair.restart_from_port(41_000).expect("a restart is answered");
            pair.drive_for(Duration::from_millis(500));
        }),
        stand("disconnected and heard again", true, |pair| {
            connect(pair);
            dark(pair, seconds(8));
            assert_eq!(pair.session.state(), ConnectionState::Disconnected);
        }),
        stand("messages wait", true, |pair| {
            connect(pair);
            while pair.send_message(Message::text("x".repeat(50_000))).is_ok() {}
        }),
    ]
}

fn answer(pair: &mut Pair) {
    pair.negotiate().expect("a page's offer is answered");
}

fn connect(pair: &mut Pair) {
    pair.connect();
    pair.drive_for(seconds(2));
}

fn dark(pair: &mut Pair, time: Duration) {
    pair.up.set_down(true);
    pair.down.set_down(true);
    pair.drive_for(time);
    pair.up.set_down(false);
    pair.down.set_down(false);
}

/// It ended once, nothing comes after it, and nothing is due.
fn assert_over(pair: &mut Pair, name: &str) -> (Duration, CloseReason) {
    pair.drive_for(seconds(120));
    let ends: Vec<_> = pair
        .timed_events()
        .iter()
        .filter_map(|(at, event)| match event {
            Event::Closed { reason } => Some((*at, *reason)),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "{name}: {ends:?}");
    assert!(matches!(pair.events().last(), Some(Event::Closed { .. })), "{name}: it is the last");
    assert_eq!(pair.session.state(), ConnectionState::Closed, "{name}");
    assert!(pair.session.is_finished(), "{name}");
    assert_eq!(pair.session.poll_timeout(), None, "{name}");
    ends[0]
}

fn each(test: impl Fn(&Stand, &str, Pair)) {
    for kind in Kind::ALL {
        for stand in stands() {
            for held in [false, true] {
                let setup = Setup::new(kind, 1);
                let setup = if held { setup.held() } else { setup };
                let name = format!("{kind:?}, {}, held: {held}", stand.name);
                let mut pair = Pair::new(setup);
                (stand.reach)(&mut pair);
                test(&stand, &name, pair);
            }
        }
    }
}

#[test]
fn a_page_that_closes_its_connection_is_told_as_hung_up_or_never_connected() {
    each(|stand, name, mut pair| {
        let (begin, now) = (pair.elapsed(), pair.now());
        pair.browser.hang_up(now);
        let (at, reason) = assert_over(&mut pair, name);
        let within = if stand.is_connected { LATENCY } else { seconds(15) + LATENCY };
        let expected = match stand.is_connected {
            true => CloseReason::HungUp,
            false => CloseReason::NeverConnected,
        };
        assert_eq!(reason, expected, "{name}");
        assert!(at - begin <= within, "{name}: {:?}", at - begin);
    });
}

#[test]
fn a_page_that_says_that_it_leaves_is_believed_in_either_encoding() {
    for binary in [false, true] {
        each(|stand, name, mut pair| {
            if !stand.is_connected {
                return;
            }
            let (begin, now) = (pair.elapsed(), pair.now());
            let taken = match binary {
                true => pair.browser.send_binary(PEER_LEFT.as_bytes(), now),
                false => pair.browser.send_text(PEER_LEFT, now),
            };
            assert!(taken, "{name}");
            let (at, reason) = assert_over(&mut pair, name);
            assert_eq!(reason, CloseReason::PeerLeft, "{name}");
            // After a dark time its stream waits for its own timer.
            let was_dark = stand.name.starts_with("disconnected");
            let within = if was_dark { seconds(9) } else { MESSAGE_LATENCY };
            assert!(at - begin <= within, "{name}: {:?}", at - begin);
        });
    }
}

#[test]
fn when_both_sides_end_it_at_any_distance_it_ends_once_for_the_first_reason() {
    for ms in [0, 1, 5, 10, 15, 25, 100] {
        each(|stand, name, mut pair| {
            let name = format!("{name}, {ms} ms");
            let now = pair.now();
            pair.session.close(now);
            pair.drive_for(Duration::from_millis(ms));
            let now = pair.now();
            let _ = pair.browser.send_text(PEER_LEFT, now);
            pair.browser.hang_up(now);
            let (_, reason) = assert_over(&mut pair, &name);
            assert_eq!(reason, CloseReason::Application, "{name}");
            let told = pair.events().filter(|event| matches!(event, Event::Message(_))).count();
            assert_eq!(told, 0, "{}", stand.name);
        });
    }
}

/// What was acknowledged is told before the end, also when the word of the end comes at the limit
/// of what may wait; one message more, and the reason is another one.
#[test]
fn a_goodbye_behind_as_many_messages_as_may_wait_is_told_after_all_of_them() {
    for (count, expected) in
        [(1024, CloseReason::PeerLeft), (1025, CloseReason::ApplicationTooSlow)]
    {
        let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.chatters = false);
        let mut pair = Pair::new(setup);
        pair.connect();
        pair.session.hold_events(true);
        for number in 0..count {
            let now = pair.now();
            assert!(pair.browser.send_text(&number.to_string(), now));
            pair.drive_for(Duration::from_millis(1));
        }
        let now = pair.now();
        assert!(pair.browser.send_text(PEER_LEFT, now));
        let (_, reason) = assert_over(&mut pair, &count.to_string());
        assert_eq!(reason, expected);
        assert_eq!(pair.messages().len(), 1024);
    }
}

/// Room in the queue of datagrams is made by this side alone: it says nothing of the peer.
#[test]
fn a_bot_that_goes_on_talking_notices_a_page_that_is_gone_as_soon_as_any_other() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).browser(|browser| browser.camera = true);
        let mut pair = Pair::new(setup);
        connect(&mut pair);
        let last = pair.last_sign_of_life();
        for number in 0..60 {
            let mut keyframe = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
            keyframe.resize(400_000, 7);
            let frame = EncodedFrame::new(
                Codec::Vp8,
                Duration::from_millis(number * 500),
                true,
                keyframe.into(),
            );
            let now = pair.now();
            let _ = pair.session.send_encoded(TrackId(1), frame, now);
            let _ = pair.send_message(Message::text("[1]"));
            pair.drive_for(Duration::from_millis(500));
        }
        let (at, reason) = assert_over(&mut pair, "it talks");
        assert_eq!(reason, CloseReason::Lost, "{kind:?}");
        let gone = pair.entered(ConnectionState::Disconnected).unwrap();
        assert_eq!((gone - last, at - last), (seconds(5), seconds(20)), "{kind:?}");
    }
}
