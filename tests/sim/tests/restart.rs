//! Calls that go on from another address: ICE restarts, and a browser that moves.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::collections::BTreeSet;
use std::time::Duration;

use smallrtc::{Codec, ConnectionState, EncodedFrame, Event, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup, kind_of, run};

fn media(pair: &Pair) -> usize {
    pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { .. })).count()
}

#[test]
fn a_restart_from_a_new_port_keeps_the_call() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(Duration::from_secs(3));
        pair.restart_from_port(41_000).unwrap();
        pair.drive_for(Duration::from_secs(2));
        pair.forget();
        pair.keep_transmits();
        pair.say("after the restart");
        pair.drive_for(Duration::from_secs(20));
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        assert!(pair.browser_messages().contains(&"after the restart".to_owned()), "{kind:?}");
        assert!((998..=1002).contains(&media(&pair)), "{kind:?} {}", media(&pair));
        let states = pair.events().filter(|event| matches!(event, Event::StateChanged(_)));
        assert_eq!(states.count(), 0, "{kind:?}: nothing is told");
        for (_, sent) in pair.transmits() {
            // ICE may go on to check the old address; everything else has moved.
            let is_check = kind_of(&sent.payload).starts_with("stun");
            assert!(is_check || sent.destination.port() == 41_000, "{kind:?}");
        }
    }
}

#[test]
fn a_restart_loses_less_than_a_second_of_sound() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(Duration::from_secs(3));
        let before = media(&pair);
        pair.restart_from_port(41_000).unwrap();
        pair.drive_for(Duration::from_secs(3));
        let heard = media(&pair) - before;
        assert!(heard >= 100, "{kind:?}: {heard} of 150 packets");
    }
}

#[test]
fn the_answer_to_a_restart_has_fresh_credentials_and_that_to_a_reoffer_the_old_ones() {
    let credentials = |sdp: &str| {
        let line = |name| sdp.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        (line("a=ice-ufrag:").expect("a ufrag"), line("a=ice-pwd:").expect("a password"))
    };
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        let now = pair.now();
        let mut answers = Vec::new();
        for round in 0..3 {
            let offer = match round {
                0 | 1 => pair.browser.offer(now),
                _ => pair.browser.restart("198.51.100.7:41000".parse().unwrap(), now),
            };
            let offer = smallrtc::Offer::parse(&offer).unwrap();
            let answer = pair.session.accept_offer(&offer, now).unwrap();
            pair.browser.accept_answer(answer.sdp(), now);
            answers.push(credentials(answer.sdp()));
        }
        assert_eq!(answers[0], answers[1], "{kind:?}");
        assert_ne!(answers[1].0, answers[2].0, "{kind:?}");
        assert_ne!(answers[1].1, answers[2].1, "{kind:?}");
        let length = "a=ice-ufrag:".len() + smallrtc::Ufrag::LEN;
        assert!(answers.iter().all(|(ufrag, _)| ufrag.len() == length), "ours, always");
        assert!(answers.iter().all(|(_, pwd)| pwd.len() >= "a=ice-pwd:".len() + 22));
    }
}

#[test]
fn a_disconnected_browser_comes_back_by_a_restart() {
    run("a_disconnected_browser_comes_back_by_a_restart", 3, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed).links(LinkConfig::bad()));
            pair.connect();
            pair.drive_for(Duration::from_secs(2));
            pair.up.set_down(true);
            pair.down.set_down(true);
            pair.drive_for(Duration::from_secs(9));
            assert_eq!(pair.session.state(), ConnectionState::Disconnected);
            pair.up.set_down(false);
            pair.down.set_down(false);
            pair.restart_from_port(42_000).unwrap();
            pair.drive_for(Duration::from_secs(5));
            assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
            pair.say("back");
            pair.drive_for(Duration::from_secs(60));
            assert!(pair.browser_messages().contains(&"back".to_owned()), "{kind:?}");
        }
    });
}

#[test]
fn many_restarts_in_a_row_leave_a_call_that_works() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        // More ports than the addresses that a session keeps.
        for port in 41_000..41_024 {
            pair.restart_from_port(port).unwrap();
            pair.drive_for(Duration::from_secs(2));
        }
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        pair.say("still here");
        pair.drive_for(Duration::from_secs(2));
        assert!(pair.browser_messages().contains(&"still here".to_owned()), "{kind:?}");
    }
}

/// The engine keeps its streams in a map whose order is another in each process, and in each call
/// of one. Frames of all lines that are written at one instant, before, while and after a path is
/// looked for, must not leave in that order.
#[test]
fn sound_and_pictures_of_one_instant_leave_in_one_order_while_a_restart_looks_for_its_path() {
    let call = || {
        let setup = Setup::new(Kind::Real, 1).browser(|browser| {
            (browser.camera, browser.screen) = (true, true);
        });
        let mut pair = Pair::new(setup);
        pair.connect();
        for turn in 0..60_u64 {
            if turn % 20 == 5 {
                pair.restart_from_port(41_000 + u16::try_from(turn).unwrap()).unwrap();
            }
            let now = pair.now();
            let time = Duration::from_millis(turn * 20);
            let picture = EncodedFrame::new(Codec::Vp8, time, true, vec![0; 3_000].into());
            let _ = pair.session.send_encoded(TrackId(1), picture, now);
            let _ = pair.send_audio(&[700; 480], 24_000);
            pair.browser.send_media(0, turn * 960, &[b'N', 1, 2, 0, 0, 0, 0, 1, 0, 2, 0], now);
            pair.browser.send_media(1, turn * 1_800, &[0; 2_000], now);
            pair.browser.send_media(2, turn * 1_800, &[0; 2_500], now);
            pair.browser.request_keyframe(1, now);
            pair.drive_for(Duration::from_millis(20));
        }
        let heard: BTreeSet<u8> = pair
            .browser_events()
            .filter_map(|event| match event {
                BrowserEvent::Media { line, .. } => Some(*line),
                _ => None,
            })
            .collect();
        assert_eq!(heard, BTreeSet::from([0, 1]), "the bot was heard and seen");
        pair.trace.clone()
    };
    let first = call();
    for _ in 0..6 {
        assert_eq!(first.difference(&call()), None);
    }
}
