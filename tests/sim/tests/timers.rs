//! Every timer of a session: one nanosecond before its time, and at it.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{CloseReason, ConnectionState, Event};
use smallrtc_sim::{Kind, Pair, Setup};

const NANOSECOND: Duration = Duration::from_nanos(1);
const CONNECTING: Duration = Duration::from_secs(60);
const ICE: Duration = Duration::from_secs(15);
const CHANNEL: Duration = Duration::from_secs(10);
const LIVENESS: Duration = Duration::from_secs(5);
const DISCONNECTED: Duration = Duration::from_secs(15);
const LINGER: Duration = Duration::from_secs(2);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_session_without_an_offer_ends_after_the_connecting_time() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.drive_to(CONNECTING - NANOSECOND);
        assert_eq!(pair.session.state(), ConnectionState::New);
        assert_eq!(pair.closed(), None);
        pair.drive_to(CONNECTING);
        assert_eq!(pair.closed(), Some((CONNECTING, CloseReason::NeverConnected)));
    }
}

#[test]
fn a_browser_that_never_checks_ends_after_the_time_for_checks() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.drive_for(seconds(30));
        pair.browser.vanish();
        pair.negotiate().unwrap();
        let end = seconds(30) + ICE;
        pair.drive_to(end - NANOSECOND);
        assert_eq!(pair.session.state(), ConnectionState::Connecting);
        assert_eq!(pair.closed(), None);
        pair.drive_to(end);
        assert_eq!(pair.closed(), Some((end, CloseReason::NeverConnected)));
        let failed = Event::StateChanged(ConnectionState::Failed);
        assert!(pair.events().any(|event| *event == failed));
    }
}

#[test]
fn an_answer_late_in_the_connecting_time_gives_no_more_than_is_left_of_it() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.drive_for(seconds(50));
        pair.browser.vanish();
        pair.negotiate().unwrap();
        let end = pair.drive_until_closed(seconds(20));
        assert_eq!(end, (CONNECTING, CloseReason::NeverConnected));
    }
}

#[test]
fn an_offer_that_is_repeated_gives_the_time_for_checks_anew() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.up.set_down(true);
        pair.negotiate().unwrap();
        pair.drive_to(ICE - NANOSECOND);
        pair.negotiate().unwrap();
        pair.drive_to(ICE + ICE - NANOSECOND - NANOSECOND);
        assert_eq!(pair.closed(), None);
        pair.drive_to(ICE + ICE - NANOSECOND);
        assert_eq!(pair.closed(), Some((ICE + ICE - NANOSECOND, CloseReason::NeverConnected)));
    }
}

#[test]
fn a_connection_at_the_last_moment_counts_and_a_nanosecond_later_does_not() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let took = pair.entered(ConnectionState::Connected).unwrap();

        let with =
            |timeout| Setup::new(kind, 1).config(|config| config.connecting_timeout(timeout));
        let mut pair = Pair::new(with(took));
        pair.connect();
        assert_eq!(pair.entered(ConnectionState::Connected), Some(took));
        pair.drive_for(seconds(5));
        assert_eq!(pair.session.state(), ConnectionState::Connected);

        let mut pair = Pair::new(with(took - NANOSECOND));
        pair.negotiate().unwrap();
        let end = pair.drive_until_closed(seconds(5));
        assert_eq!(end, (took - NANOSECOND, CloseReason::NeverConnected), "{kind:?}");
    }
}

/// A call that was connected at the given time, without a channel, and with a message waiting.
fn without_channel() -> (Pair, Duration) {
    let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.channel = None);
    let mut pair = Pair::new(setup);
    pair.say("waiting");
    pair.connect();
    let connected = pair.entered(ConnectionState::Connected).unwrap();
    (pair, connected)
}

#[test]
fn a_channel_at_the_last_moment_counts_and_a_nanosecond_later_does_not() {
    let way = Duration::from_millis(10);
    for (late, heard) in [(Duration::ZERO, true), (NANOSECOND, false)] {
        let (mut pair, connected) = without_channel();
        pair.drive_to(connected + CHANNEL - way + late);
        let now = pair.now();
        pair.browser.open_channel("late", now);
        pair.drive_for(Duration::from_millis(100));
        let dropped = Event::MessagesDropped { count: 1 };
        assert_eq!(pair.browser_messages().contains(&"waiting".to_owned()), heard);
        assert_eq!(pair.events().any(|event| *event == dropped), !heard);
    }
}

#[test]
fn silence_for_the_liveness_time_is_disconnected_and_not_a_nanosecond_less() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let last = pair.last_sign_of_life();
        pair.drive_to(last + LIVENESS - NANOSECOND);
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        pair.drive_to(last + LIVENESS);
        assert_eq!(pair.session.state(), ConnectionState::Disconnected, "{kind:?}");
        assert_eq!(pair.entered(ConnectionState::Disconnected), Some(last + LIVENESS));
    }
}

#[test]
fn a_sign_of_life_at_the_last_moment_keeps_the_session_connected() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let last = pair.last_sign_of_life();
        pair.drive_to(last + LIVENESS - Duration::from_millis(10));
        pair.up.set_down(false);
        let now = pair.now();
        assert!(pair.browser.send_media(0, 960, &[0; 20], now));
        pair.drive_to(last + LIVENESS + Duration::from_millis(10));
        assert_eq!(pair.entered(ConnectionState::Disconnected), None);
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}

#[test]
fn disconnected_for_its_time_is_lost_and_not_a_nanosecond_less() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let last = pair.last_sign_of_life();
        pair.drive_to(last + LIVENESS + DISCONNECTED - NANOSECOND);
        assert_eq!(pair.session.state(), ConnectionState::Disconnected, "{kind:?}");
        assert_eq!(pair.closed(), None);
        pair.drive_to(last + LIVENESS + DISCONNECTED);
        assert_eq!(pair.closed(), Some((last + LIVENESS + DISCONNECTED, CloseReason::Lost)));
    }
}

#[test]
fn a_sign_of_life_brings_a_disconnected_session_back_until_the_last_moment() {
    let way = Duration::from_millis(10);
    for (late, returns) in [(Duration::ZERO, true), (NANOSECOND, false)] {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, 1));
            pair.connect();
            let last = pair.last_sign_of_life();
            pair.drive_to(last + LIVENESS + DISCONNECTED - way + late);
            assert_eq!(pair.session.state(), ConnectionState::Disconnected);
            pair.up.set_down(false);
            let now = pair.now();
            assert!(pair.browser.send_media(0, 960, &[0; 20], now));
            pair.drive_for(way);
            let state = pair.session.state();
            if returns {
                assert_eq!(state, ConnectionState::Connected, "{kind:?}");
                // And it is watched as before.
                pair.up.set_down(true);
                pair.drive_for(LIVENESS + way);
                assert_eq!(pair.session.state(), ConnectionState::Disconnected);
            } else {
                assert_eq!(state, ConnectionState::Closed, "{kind:?}");
            }
        }
    }
}

#[test]
fn an_idle_call_without_pings_stays_connected_by_consent_alone() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.chatters = false));
        pair.connect();
        pair.drive_for(seconds(300));
        assert_eq!(pair.entered(ConnectionState::Disconnected), None, "{kind:?}");
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}

#[test]
fn close_waits_for_the_acknowledgement_as_long_as_the_linger_time_and_no_longer() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        pair.up.set_down(true);
        pair.drive_for(Duration::from_millis(50));
        let (closed_at, now) = (pair.elapsed(), pair.now());
        pair.session.close(now);
        pair.drive_to(closed_at + LINGER - NANOSECOND);
        assert_eq!(pair.closed(), None);
        pair.drive_to(closed_at + LINGER);
        assert_eq!(pair.closed(), Some((closed_at + LINGER, CloseReason::Application)));
    }
}

#[test]
fn timeouts_that_come_early_or_late_do_no_harm() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        for step in 0..2_000_u64 {
            let now = pair.now();
            pair.session.handle_timeout(now);
            // An instant that lies in the past counts as the newest that was seen.
            pair.session.handle_timeout(now - seconds(1));
            pair.drive_for(Duration::from_micros(step * 7 % 13_000));
        }
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        assert_eq!(pair.entered(ConnectionState::Disconnected), None);
    }
}

#[test]
fn a_driver_that_was_away_for_a_minute_finds_a_session_that_still_ends_rightly() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.stall(seconds(60));
        pair.drive_for(seconds(90));
        // What arrived meanwhile is handled before time is: the browser was there all along.
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        pair.browser.vanish();
        let (_, reason) = pair.drive_until_closed(seconds(30));
        assert_eq!(reason, CloseReason::Lost);
    }
}
