//! Each of Pipecat's clients, through its whole life.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;
use smallrtc::signaling::{Options, RateLimit, Reply, Request};
use smallrtc::{CloseReason, Config, ConnectionState, Event, Message};
use smallrtc_sim::{BrowserEvent, ClientKind, ClientState, Kind, LinkConfig, Lobby, run};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lobby(wire: Kind, seed: u64) -> Lobby {
    let mut lobby = Lobby::new(Config::new(), Options::new(), wire, seed);
    lobby.speak();
    lobby
}

fn connected(lobby: &mut Lobby, kind: ClientKind, link: LinkConfig) -> usize {
    let number = lobby.add(kind, link);
    lobby.connect(number);
    lobby.drive_until(seconds(5), "it is connected and hears", |lobby| {
        lobby.client(number).state() == ClientState::Connected && !lobby.heard(number).is_empty()
    });
    lobby.drive_for(seconds(2));
    number
}

fn closed(lobby: &Lobby) -> Vec<CloseReason> {
    let reason = |(_, _, event): &(_, _, Event)| match event {
        Event::Closed { reason } => Some(*reason),
        _ => None,
    };
    lobby.events().iter().filter_map(reason).collect()
}

#[track_caller]
fn assert_nothing_is_left(lobby: &Lobby) {
    assert!(lobby.endpoint.is_empty());
    assert_eq!(lobby.signaling.poll_timeout(), None, "nothing is due");
}

fn for_all(name: &str, test: impl Fn(ClientKind, Kind, u64)) {
    run(name, 2, |seed| {
        for kind in ClientKind::ALL {
            for wire in Kind::ALL {
                test(kind, wire, seed);
            }
        }
    });
}

#[test]
fn each_client_connects_hears_and_is_heard_and_leaves_nothing() {
    for_all("each_client_connects_hears_and_is_heard_and_leaves_nothing", |kind, wire, seed| {
        let mut lobby = lobby(wire, seed);
        let number = connected(&mut lobby, kind, LinkConfig::clean());
        let now = lobby.now();
        assert!(lobby.client(number).say(&json!({ "label": "rtvi-ai", "type": "x" }), now));
        lobby.drive_for(seconds(1));
        let messages: Vec<&Message> = lobby
            .events()
            .iter()
            .filter_map(|(_, _, event)| match event {
                Event::Message(message) => Some(message),
                _ => None,
            })
            .collect();
        let [message] = messages[..] else { panic!("{messages:?}") };
        assert_eq!(message.is_binary(), kind == ClientKind::Ios);
        assert_eq!(message.parse::<serde_json::Value>().unwrap()["type"], "x");
        lobby.leave(number);
        lobby.drive_for(seconds(3));
        assert_eq!(closed(&lobby), [CloseReason::HungUp], "{kind:?} {wire:?}");
        assert_nothing_is_left(&lobby);
    });
}

#[test]
fn each_client_that_vanishes_without_a_word_is_lost_after_20_s_and_leaves_nothing() {
    for_all("each_client_that_vanishes_is_lost_after_20_s", |kind, wire, seed| {
        let mut lobby = lobby(wire, seed);
        let number = connected(&mut lobby, kind, LinkConfig::clean());
        lobby.client(number).vanish();
        lobby.drive_for(seconds(19));
        assert_eq!(closed(&lobby), [], "{kind:?} {wire:?}");
        lobby.drive_for(seconds(2));
        assert_eq!(closed(&lobby), [CloseReason::Lost], "{kind:?} {wire:?}");
        assert_nothing_is_left(&lobby);
    });
}

#[test]
fn a_first_request_that_is_lost_is_made_again_after_2_s_by_the_javascript_client_alone() {
    for kind in ClientKind::ALL {
        let mut lobby = lobby(Kind::Scripted, 1);
        let number = lobby.add(kind, LinkConfig::clean());
        lobby.set_dark(number, true);
        lobby.connect(number);
        lobby.drive_for(seconds(1));
        lobby.set_dark(number, false);
        lobby.drive_for(seconds(4));
        let comes = kind == ClientKind::JavaScript;
        let expected = if comes { ClientState::Connected } else { ClientState::Failed(0) };
        assert_eq!(lobby.client(number).state(), expected, "{kind:?}");
        assert_eq!(lobby.endpoint.len(), usize::from(comes), "{kind:?}: nobody else is there");
    }
}

#[test]
fn a_dark_path_of_4_s_is_told_nobody_and_one_of_8_s_comes_back_by_itself() {
    for_all("a_dark_path_of_4_s_is_told_nobody_and_one_of_8_s_comes_back", |kind, wire, seed| {
        for (dark, disconnects) in [(4, false), (8, true)] {
            let mut lobby = lobby(wire, seed);
            let number = connected(&mut lobby, kind, LinkConfig::clean());
            lobby.set_path_dark(number, true);
            lobby.drive_for(seconds(dark));
            lobby.set_path_dark(number, false);
            let back = lobby.elapsed();
            lobby.drive_for(seconds(4));
            let gone = Event::StateChanged(ConnectionState::Disconnected);
            let told = lobby.events().iter().any(|(_, _, event)| *event == gone);
            assert_eq!(told, disconnects, "{kind:?} {wire:?}");
            assert_eq!(lobby.client(number).restarts(), 0);
            assert!(lobby.heard(number).iter().any(|at| *at > back + seconds(3)));
            assert_eq!(closed(&lobby), []);
        }
    });
}

#[test]
fn the_javascript_client_restarts_after_10_s_and_is_heard_within_half_a_second() {
    run("the_javascript_client_restarts_after_10_s_and_is_heard", 3, |seed| {
        for wire in Kind::ALL {
            let mut lobby = lobby(wire, seed);
            let number = connected(&mut lobby, ClientKind::JavaScript, LinkConfig::clean());
            let before = lobby.client(number).pc_id().unwrap().to_owned();
            lobby.set_path_dark(number, true);
            lobby.drive_until(seconds(12), "it restarts", |lobby| {
                lobby.client(number).restarts() == 1
            });
            lobby.set_path_dark(number, false);
            let offered = lobby.elapsed();
            lobby.drive_for(seconds(2));
            let heard = lobby.heard(number).into_iter().find(|at| *at > offered).unwrap();
            assert!(heard - offered <= Duration::from_millis(500), "{:?}", heard - offered);
            assert_ne!(lobby.client(number).pc_id(), Some(before.as_str()));
            assert_eq!(lobby.signaling.session_of(&before), None);
            assert_eq!(closed(&lobby), [CloseReason::Replaced]);
            assert_eq!(lobby.endpoint.len(), 1);
            // The answer to its candidates came after sound had begun.
            let patch = lobby.responses(number).iter().rev().find(|got| got.method == "PATCH");
            assert!(patch.unwrap().at > heard, "{wire:?}");
            lobby.drive_for(seconds(60));
            assert_eq!(lobby.client(number).restarts(), 1, "and it stays");
        }
    });
}

#[test]
fn the_javascript_client_restarts_at_once_when_its_checks_fail() {
    run("the_javascript_client_restarts_at_once_when_its_checks_fail", 3, |seed| {
        for wire in Kind::ALL {
            let mut lobby = lobby(wire, seed);
            let number = lobby.add(ClientKind::JavaScript, LinkConfig::clean());
            lobby.set_path_dark(number, true);
            lobby.connect(number);
            lobby.drive_until(seconds(16), "it restarts", |lobby| {
                lobby.client(number).restarts() == 1
            });
            lobby.set_path_dark(number, false);
            let offered = lobby.elapsed();
            lobby.drive_for(seconds(2));
            assert_eq!(lobby.client(number).state(), ClientState::Connected);
            let heard = lobby.heard(number)[0];
            assert!(heard - offered <= Duration::from_millis(500), "{:?}", heard - offered);
            let [reason] = closed(&lobby)[..] else { panic!("{:?}", closed(&lobby)) };
            assert!(matches!(reason, CloseReason::NeverConnected | CloseReason::Replaced));
            assert_eq!(lobby.endpoint.len(), 1);
        }
    });
}

#[test]
fn candidates_before_the_answer_do_no_harm_and_each_new_connection_is_heard() {
    run("candidates_before_the_answer_do_no_harm", 3, |seed| {
        for wire in Kind::ALL {
            let mut lobby = lobby(wire, seed);
            let number = lobby.add(ClientKind::JavaScript, LinkConfig::clean());
            lobby.client(number).trickle_early();
            lobby.connect(number);
            lobby.drive_for(seconds(2));
            assert_eq!(lobby.client(number).state(), ClientState::Connected, "{wire:?}");
            // The first offer's come without a name, and the answer says so.
            let patches = |lobby: &Lobby| -> Vec<(u16, String)> {
                let all = lobby.responses(number).iter().filter(|got| got.method == "PATCH");
                all.map(|got| (got.status, got.body.clone())).collect()
            };
            let [(status, body)] = &patches(&lobby)[..] else { panic!("{:?}", patches(&lobby)) };
            assert!((400..500).contains(status) && body.contains("pc_id"), "{status} {body}");

            let (id, now) = (lobby.session_of(number).unwrap(), lobby.now());
            lobby.endpoint.session(id).unwrap().request_renegotiation(now);
            lobby.drive_for(seconds(1));
            assert_eq!(patches(&lobby)[1].0, 200, "the running call's are taken");
            assert_eq!(lobby.session_of(number), Some(id));

            lobby.set_path_dark(number, true);
            lobby.drive_until(seconds(12), "it restarts", |lobby| {
                lobby.client(number).restarts() == 1
            });
            lobby.set_path_dark(number, false);
            let offered = lobby.elapsed();
            lobby.drive_for(seconds(2));
            let heard = lobby.heard(number).into_iter().find(|at| *at > offered).unwrap();
            assert!(heard - offered <= Duration::from_millis(500), "{:?}", heard - offered);
            assert_eq!(closed(&lobby), [CloseReason::Replaced]);
        }
    });
}

#[test]
fn a_client_whose_network_is_gone_for_good_stops_after_three_attempts() {
    let mut lobby = lobby(Kind::Scripted, 1);
    let number = connected(&mut lobby, ClientKind::JavaScript, LinkConfig::clean());
    lobby.set_dark(number, true);
    lobby.drive_for(seconds(60));
    assert_eq!(lobby.client(number).state(), ClientState::Failed(0));
    assert_eq!(closed(&lobby), [CloseReason::Lost]);
    assert_nothing_is_left(&lobby);
}

#[test]
fn a_wish_for_an_offer_is_answered_on_the_same_call_while_sound_goes_on() {
    for_all("a_wish_for_an_offer_is_answered_on_the_same_call", |kind, wire, seed| {
        let mut lobby = lobby(wire, seed);
        let number = connected(&mut lobby, kind, LinkConfig::clean());
        let (id, posts) = (lobby.session_of(number).unwrap(), lobby.responses(number).len());
        for _ in 0..3 {
            let now = lobby.now();
            lobby.endpoint.session(id).unwrap().request_renegotiation(now);
            lobby.drive_for(seconds(1));
        }
        let offers = if kind == ClientKind::Esp32 { 0 } else { 3 };
        let posts = lobby.responses(number)[posts..].iter().filter(|got| got.method == "POST");
        assert_eq!(posts.filter(|got| got.status == 200).count(), offers, "{kind:?}");
        assert_eq!(lobby.session_of(number), Some(id));
        let heard = lobby.heard(number);
        let longest = heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(longest <= Duration::from_millis(40), "{kind:?} {wire:?}: {longest:?}");
    });
}

#[test]
fn peer_left_ends_the_android_client_and_the_others_are_hung_up() {
    for_all("peer_left_ends_the_android_client_and_the_others_are_hung_up", |kind, wire, seed| {
        let mut lobby = lobby(wire, seed);
        let number = connected(&mut lobby, kind, LinkConfig::clean());
        let now = lobby.now();
        lobby.endpoint.session(lobby.session_of(number).unwrap()).unwrap().close(now);
        lobby.drive_for(seconds(3));
        let says = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => data.windows(8).any(|part| part == b"peerLeft"),
            _ => false,
        };
        assert!(lobby.told(number).iter().any(|(_, event)| says(event)), "{kind:?}");
        let left = lobby.client(number).state() == ClientState::Left;
        assert_eq!(left, kind != ClientKind::JavaScript, "{kind:?} {wire:?}");
        assert_nothing_is_left(&lobby);
    });
}

#[test]
fn an_esp32_gets_its_answer_in_4_kib() {
    for wire in Kind::ALL {
        let mut lobby = lobby(wire, 1);
        let number = connected(&mut lobby, ClientKind::Esp32, LinkConfig::clean());
        let answer = &lobby.responses(number)[0];
        assert!(answer.body.len() + 512 <= 4096, "{} bytes and headers", answer.body.len());
    }
}

#[test]
fn a_full_bot_is_tried_again_by_the_javascript_client_alone() {
    for kind in ClientKind::ALL {
        let config = Config::new().max_sessions(1);
        let mut lobby = Lobby::new(config, Options::new(), Kind::Scripted, 1);
        lobby.speak();
        let first = connected(&mut lobby, ClientKind::Android, LinkConfig::clean());
        let late = lobby.add(kind, LinkConfig::clean());
        lobby.connect(late);
        lobby.drive_for(seconds(1));
        assert_eq!(lobby.responses(late)[0].status, 503);
        lobby.leave(first);
        lobby.drive_for(seconds(4));
        let comes = kind == ClientKind::JavaScript;
        let state = lobby.client(late).state();
        let expected = if comes { ClientState::Connected } else { ClientState::Failed(503) };
        assert_eq!(state, expected, "{kind:?}");
    }
}

/// As it may be behind one address with many: somebody else has used up what it may ask.
#[test]
fn an_offer_beyond_the_rate_is_made_again_by_the_javascript_client_alone() {
    for kind in ClientKind::ALL {
        let limit = RateLimit::new(NonZeroU32::MIN, NonZeroU32::MIN);
        let options = Options::new().rate_limit(limit);
        let mut lobby = Lobby::new(Config::new(), options, Kind::Scripted, 1);
        let late = lobby.add(kind, LinkConfig::clean());
        let address = "198.51.100.1".parse().expect("that of the first");
        let request = Request::new("POST", "/api/offer", b"{}").client(address);
        let now = lobby.now();
        let Reply::Now(response) = lobby.signaling.handle(&mut lobby.endpoint, request, now) else {
            panic!("it is refused at once")
        };
        assert_eq!(response.status, 400);
        lobby.connect(late);
        lobby.drive_for(seconds(1));
        assert_eq!(lobby.responses(late)[0].status, 503);
        lobby.drive_for(seconds(4));
        let comes = kind == ClientKind::JavaScript;
        let expected = if comes { ClientState::Connected } else { ClientState::Failed(503) };
        assert_eq!(lobby.client(late).state(), expected, "{kind:?}");
    }
}

#[test]
fn clients_of_every_kind_live_through_a_bad_network_side_by_side() {
    run("clients_of_every_kind_live_through_a_bad_network_side_by_side", 2, |seed| {
        let mut lobby = lobby(Kind::Scripted, seed);
        let numbers: Vec<usize> =
            ClientKind::ALL.iter().map(|kind| lobby.add(*kind, LinkConfig::bad())).collect();
        numbers.iter().for_each(|number| lobby.connect(*number));
        lobby.drive_for(seconds(60));
        for number in &numbers {
            assert_eq!(lobby.client(*number).state(), ClientState::Connected);
            let heard = lobby.heard(*number).len();
            assert!(heard > 2_400, "{heard} packets");
        }
        numbers.iter().for_each(|number| lobby.leave(*number));
        lobby.drive_for(seconds(25));
        assert_nothing_is_left(&lobby);
    });
}

#[test]
fn twice_as_many_callers_as_there_is_room_for_leave_the_pace_of_those_that_came_first() {
    run("twice_as_many_callers_as_there_is_room_for_leave_the_pace", 2, |seed| {
        for wire in Kind::ALL {
            let config = Config::new().max_sessions(8);
            let mut lobby = Lobby::new(config, Options::new(), wire, seed);
            lobby.speak();
            let numbers: Vec<usize> = (0..16)
                .map(|number| lobby.add(ClientKind::ALL[number % 4], LinkConfig::clean()))
                .collect();
            numbers.iter().for_each(|number| lobby.connect(*number));
            lobby.drive_for(seconds(10));
            let (mut admitted, mut refused) = (0, 0);
            for number in &numbers {
                if lobby.client(*number).state() != ClientState::Connected {
                    let statuses = lobby.responses(*number).iter().map(|got| got.status);
                    assert!(statuses.clone().all(|status| status == 503), "{wire:?}");
                    refused += 1;
                    continue;
                }
                admitted += 1;
                let heard = lobby.heard(*number);
                let longest = heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                assert!(longest <= Duration::from_millis(21), "{wire:?}: {longest:?}");
                assert!(heard.len() > 450, "{} packets", heard.len());
            }
            assert_eq!((admitted, refused), (8, 8), "{wire:?}");
            assert_eq!(lobby.endpoint.len(), 8);
        }
    });
}
