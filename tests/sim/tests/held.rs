//! Events that an adapter holds back, because its application has no room.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{CloseReason, Message};
use smallrtc_sim::{Kind, Pair, Setup};

/// Messages in, not polled (`session/messages.rs`).
const INBOUND_MAX: usize = 1024;

const MOMENT: Duration = Duration::from_millis(500);

fn connected(kind: Kind) -> Pair {
    let mut pair = Pair::new(Setup::new(kind, 1));
    pair.connect();
    pair.drive_for(MOMENT);
    pair.session.hold_events(true);
    pair
}

fn say(pair: &mut Pair, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        let now = pair.now();
        assert!(pair.browser.send_text(&text, now));
        pair.drive_for(Duration::from_millis(5));
    }
    pair.drive_for(MOMENT);
}

/// The pump of the simulation fails when a session is due at once and nothing comes of it, so that
/// this shows as well that one that is held does not spin.
#[test]
fn what_is_held_back_comes_whole_and_in_order_when_it_is_let_go() {
    for kind in Kind::ALL {
        let mut pair = connected(kind);
        let texts: Vec<String> = (0..20).map(|number| format!("[{number}]")).collect();
        say(&mut pair, texts.clone());
        assert_eq!(pair.messages(), Vec::<&Message>::new(), "{kind:?}");
        assert!(pair.session.poll_timeout().is_some_and(|at| at > pair.now()), "{kind:?}");
        pair.session.hold_events(false);
        pair.drive_for(MOMENT);
        let texts: Vec<Message> = texts.into_iter().map(Message::text).collect();
        assert_eq!(pair.messages(), texts.iter().collect::<Vec<_>>(), "{kind:?}");
    }
}

#[test]
fn a_session_that_ended_is_not_held_any_more() {
    for kind in Kind::ALL {
        let mut pair = connected(kind);
        say(&mut pair, ["[1]".to_owned()]);
        let now = pair.now();
        pair.browser.hang_up(now);
        let (_, reason) = pair.drive_until_closed(MOMENT);
        assert_eq!(reason, CloseReason::HungUp, "{kind:?}");
        assert_eq!(pair.messages(), [&Message::text("[1]")], "{kind:?}");
    }
}

#[test]
fn messages_that_are_held_count_as_not_polled() {
    let mut pair = connected(Kind::Scripted);
    say(&mut pair, (0..INBOUND_MAX).map(|number| number.to_string()));
    assert_eq!(pair.closed(), None, "at the limit");
    say(&mut pair, ["one past it".to_owned()]);
    let (_, reason) = pair.closed().expect("the application is too slow");
    assert_eq!(reason, CloseReason::ApplicationTooSlow);
    assert_eq!(pair.messages().len(), INBOUND_MAX, "what was taken is told");
}
