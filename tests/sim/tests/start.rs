//! What waits until the application says that it is ready.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{CloseReason, ConnectionState, Event, Message};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup};

fn told(pair: &Pair, state: ConnectionState) -> usize {
    pair.events().filter(|event| **event == Event::StateChanged(state)).count()
}

#[test]
fn connected_and_messages_are_held_back_until_start_and_told_once() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).held());
        pair.connect();
        let now = pair.now();
        assert!(pair.browser.send_text("{\"type\":\"client-ready\"}", now));
        pair.drive_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        assert_eq!(told(&pair, ConnectionState::Connected), 0);
        assert!(pair.messages().is_empty());

        let now = pair.now();
        pair.session.start(now);
        pair.session.start(now);
        pair.flush();
        assert_eq!(told(&pair, ConnectionState::Connected), 1);
        assert_eq!(pair.messages(), [&Message::text("{\"type\":\"client-ready\"}")]);
        let order: Vec<_> = pair
            .events()
            .filter(|event| {
                matches!(event, Event::Message(_) | Event::StateChanged(ConnectionState::Connected))
            })
            .collect();
        assert!(matches!(order[..], [Event::StateChanged(_), Event::Message(_)]), "{order:?}");
        pair.drive_for(Duration::from_secs(2));
        assert_eq!(told(&pair, ConnectionState::Connected), 1);
        assert_eq!(pair.messages().len(), 1);
    }
}

#[test]
fn start_before_the_connection_changes_nothing_of_the_order() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    pair.connect();
    assert_eq!(told(&pair, ConnectionState::Connected), 1);
}

#[test]
fn start_asks_the_camera_for_a_keyframe() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).held().browser(|browser| browser.camera = true);
        let mut pair = Pair::new(setup);
        pair.connect();
        for frame in 0..5_u64 {
            let now = pair.now();
            assert!(pair.browser.send_media(1, frame * 3000, &[0; 500], now));
            pair.drive_for(Duration::from_millis(33));
        }
        pair.forget();
        let now = pair.now();
        pair.session.start(now);
        pair.drive_for(Duration::from_millis(500));
        let asked = BrowserEvent::KeyframeRequest { line: 1 };
        assert!(pair.browser_events().any(|event| *event == asked), "{kind:?}");
    }
}

#[test]
fn what_waits_for_start_is_bounded_and_one_more_ends_the_session() {
    // 1024 messages or 4 MiB wait; acknowledged data is never dropped silently.
    for (limit, size) in [(1024, 10), (16, 256 * 1024)] {
        let mut pair = Pair::new(Setup::new(Kind::Scripted, 1).held());
        pair.connect();
        let text = "x".repeat(size);
        for _ in 0..limit {
            let now = pair.now();
            assert!(pair.browser.send_text(&text, now));
            pair.drive_for(Duration::from_secs(1));
        }
        assert_eq!(pair.closed(), None, "at the limit");
        let now = pair.now();
        assert!(pair.browser.send_text(&text, now));
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.closed().map(|(_, reason)| reason), Some(CloseReason::ApplicationTooSlow));
        assert!(pair.messages().is_empty());
    }
}

#[test]
fn a_session_that_is_never_started_ends_like_any_other() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).held());
        pair.connect();
        pair.browser.vanish();
        let (_, reason) = pair.drive_until_closed(Duration::from_secs(30));
        assert_eq!(reason, CloseReason::Lost);
    }
}
