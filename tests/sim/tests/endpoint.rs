//! Many calls behind one socket: routing, strangers, and who may take whose address.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::net::SocketAddr;
use std::time::Duration;

use smallrtc::scripted::{self, Frame, stun};
use smallrtc::{
    AudioFrame, AudioIdle, CloseReason, ConnectionState, Event, Message, NegotiateError, Offer,
    Routed, Ufrag,
};
use smallrtc_sim::{
    Browser, BrowserConfig, BrowserEvent, Kind, LinkConfig, Packet, Setup, World, bot_address, run,
};

fn packet(source: &str, payload: Vec<u8>) -> Packet {
    let source = source.parse().expect("an address");
    Packet { source, destination: bot_address(), payload: payload.into() }
}

fn connected(world: &World, number: usize) -> bool {
    world.outcome(number).told(&Event::StateChanged(ConnectionState::Connected))
}

/// Adds browsers, lets all of them call, and waits until all are connected with a channel.
fn connect(world: &mut World, count: usize) -> Vec<usize> {
    let numbers: Vec<_> = (0..count).map(|_| world.add_browser(|_| {})).collect();
    for number in &numbers {
        world.call(*number).unwrap();
    }
    world.drive_until(Duration::from_secs(30), "all are connected", |world| {
        numbers.iter().all(|number| {
            world.outcome(*number).page_told(&BrowserEvent::ChannelOpen)
                && connected(world, *number)
        })
    });
    world.drive_for(Duration::from_millis(200));
    numbers
}

fn messages(world: &World, number: usize) -> Vec<&Message> {
    let mut messages = Vec::new();
    for (_, event) in &world.outcome(number).events {
        if let Event::Message(message) = event {
            messages.push(message);
        }
    }
    messages
}

/// Each browser says its number, each bot says it back: nobody hears another's.
fn assert_own_words(world: &mut World, numbers: &[usize]) {
    let now = world.now();
    for number in numbers {
        assert!(world.browser(*number).send_text(&format!("[{number}]"), now));
    }
    world.drive_for(Duration::from_secs(2));
    for number in numbers {
        let text = format!("[{number}]");
        assert_eq!(messages(world, *number), [&Message::text(&text)]);
        let now = world.now();
        let mut session = world.session(*number).expect("the call goes on");
        assert!(session.send_message(Message::text(&text), now).is_ok());
    }
    world.drive_for(Duration::from_secs(2));
    for number in numbers {
        let own = BrowserEvent::Message { binary: false, data: format!("[{number}]").into_bytes() };
        let heard = world.outcome(*number).browser_events.iter();
        let words = heard.filter(|(_, event)| matches!(event, BrowserEvent::Message { .. }));
        assert_eq!(words.map(|(_, event)| event).collect::<Vec<_>>(), [&own]);
    }
}

#[test]
fn a_thousand_calls_behind_one_socket_hear_their_own_words_and_end() {
    let setup = Setup::new(Kind::Scripted, 1)
        .untraced()
        .browser(|browser| {
            browser.chatters = false;
            browser.audio = false;
        })
        .config(|config| config.max_sessions(1000));
    let mut world = World::new(setup);
    let mut numbers = Vec::new();
    for _ in 0..5 {
        numbers.extend(connect(&mut world, 200));
    }
    assert_eq!(world.endpoint.len(), 1000);
    let stats = world.endpoint.stats();
    assert_eq!((stats.datagrams_unroutable, stats.requests_forged), (0, 0));
    assert_own_words(&mut world, &numbers);

    let one_more = world.add_browser(|_| {});
    assert_eq!(world.call(one_more).unwrap_err(), NegotiateError::Full { limit: 1000 });

    let now = world.now();
    for number in &numbers {
        match number % 3 {
            0 => world.browser(*number).hang_up(now),
            1 => world.browser(*number).vanish(),
            _ => world.session(*number).expect("the call goes on").close(now),
        }
    }
    world.drive_for(Duration::from_secs(25));
    assert!(world.endpoint.is_empty());
    for number in numbers {
        let expected =
            [CloseReason::HungUp, CloseReason::Lost, CloseReason::Application][number % 3];
        assert_eq!(world.outcome(number).closed(), Some(expected));
    }
    assert_eq!(world.endpoint.poll_timeout(), None, "an empty endpoint sleeps");
}

#[test]
fn forty_real_calls_behind_one_socket_hear_their_own_words() {
    let mut world = World::new(Setup::new(Kind::Real, 1).untraced());
    let numbers = connect(&mut world, 40);
    assert_own_words(&mut world, &numbers);
    world.close(0);
    world.drive_for(Duration::from_secs(5));
    assert!(world.endpoint.is_empty());
}

#[test]
fn calls_behind_bad_links_do_not_mix() {
    run("calls_behind_bad_links_do_not_mix", 2, |seed| {
        for kind in Kind::ALL {
            let link = LinkConfig { loss: 0.05, duplicate: 0.05, ..LinkConfig::clean() };
            let setup = Setup::new(kind, seed).untraced().links(link);
            let mut world = World::new(setup.browser(|browser| browser.chatters = false));
            let numbers = connect(&mut world, 10);
            let now = world.now();
            for number in &numbers {
                assert!(world.browser(*number).send_text(&format!("[{number}]"), now));
            }
            world.drive_for(Duration::from_secs(20));
            for number in numbers {
                assert_eq!(messages(&world, number), [&Message::text(format!("[{number}]"))]);
            }
        }
    });
}

#[test]
fn a_slot_that_is_used_again_is_another_session() {
    for kind in Kind::ALL {
        let mut world = World::new(Setup::new(kind, 1));
        let first = connect(&mut world, 1)[0];
        let old = world.outcome(first).id.unwrap();
        let now = world.now();
        world.browser(first).hang_up(now);
        world.drive_for(Duration::from_secs(1));
        assert!(world.endpoint.session(old).is_none());
        let second = connect(&mut world, 1)[0];
        let new = world.outcome(second).id.unwrap();
        assert_ne!(old, new);
        assert!(world.endpoint.session(old).is_none(), "the old name leads nowhere");
        // What the first browser still sends reaches nobody.
        world.drive_for(Duration::from_secs(20));
        assert_eq!(world.outcome(second).closed(), None);
    }
}

/// Everything that a stranger can try from an address of its own.
fn stranger(random: &mut fastrand::Rng, ufrag: &str) -> Vec<u8> {
    match random.u8(..6) {
        0 => stun::request([random.u8(..); 12], ufrag, "evil", "guess", true),
        1 => stun::request(
            [1; 12],
            &Ufrag { slot: 99, ..Ufrag::default() }.to_string(),
            "e",
            "x",
            true,
        ),
        2 => stun::response([random.u8(..); 12], bot_address(), "guess"),
        3 => scripted::encode(&[Frame::Hello, Frame::Goodbye, Frame::Fault("evil")]),
        4 => (0..random.usize(..200)).map(|_| random.u8(..)).collect(),
        _ => [&[0x80, 111][..], &[random.u8(..); 40]].concat(),
    }
}

#[test]
fn a_stranger_who_knows_the_ufrag_is_refused_counted_and_never_answered() {
    run("a_stranger_who_knows_the_ufrag_is_refused_counted_and_never_answered", 3, |seed| {
        for kind in Kind::ALL {
            let mut world = World::new(Setup::new(kind, seed));
            let number = world.add_browser(|_| {});
            let now = world.now();
            let offer = Offer::parse(&world.browser(number).offer(now)).unwrap();
            let (_, answer) = world.endpoint.accept(&offer, now).unwrap();
            let ufrag = answer.sdp().lines().find_map(|line| line.strip_prefix("a=ice-ufrag:"));
            let ufrag = ufrag.expect("an answer has a ufrag").to_owned();
            let mut random = fastrand::Rng::with_seed(seed);
            for count in 0..2_000_u32 {
                let source = format!("203.0.113.{}:{}", count % 250 + 1, 1000 + count);
                let routed = world.inject(packet(&source, stranger(&mut random, &ufrag)));
                let refused =
                    matches!(routed, Routed::Refused | Routed::Unroutable | Routed::Malformed);
                let elsewhere = matches!(routed, Routed::NotMine { .. });
                assert!(refused || elsewhere, "{kind:?}: {routed:?}");
                // The pump fails when anything is sent to somebody who is not a browser.
            }
            let stats = world.endpoint.stats();
            assert!(stats.requests_forged > 0 && stats.datagrams_unroutable > 0);
            assert_eq!(world.endpoint.len(), 1);
        }
    });
}

#[test]
fn strangers_and_forged_addresses_do_not_disturb_calls() {
    run("strangers_and_forged_addresses_do_not_disturb_calls", 3, |seed| {
        for kind in Kind::ALL {
            let mut world = World::new(Setup::new(kind, seed));
            let numbers = connect(&mut world, 3);
            let victim = world.browser(numbers[0]).address().to_string();
            let mut random = fastrand::Rng::with_seed(seed);
            for _ in 0..1_000 {
                let payload = stranger(&mut random, "AAAAAAAAAAAAAAAAAAAA");
                let _routed = world.inject(packet("203.0.113.9:9", payload.clone()));
                // With the script's wire, frames from the victim's own address would count.
                if kind == Kind::Real || payload.first().is_some_and(|first| *first < 4) {
                    let _routed = world.inject(packet(&victim, payload));
                }
                world.drive_for(Duration::from_millis(5));
            }
            assert_own_words_after(&mut world, &numbers);
        }
    });
}

fn assert_own_words_after(world: &mut World, numbers: &[usize]) {
    let now = world.now();
    for number in numbers {
        assert!(world.browser(*number).send_text(&format!("[{number}]"), now));
    }
    world.drive_for(Duration::from_secs(1));
    for number in numbers {
        assert_eq!(messages(world, *number), [&Message::text(format!("[{number}]"))]);
        assert_eq!(world.outcome(*number).closed(), None);
    }
}

#[test]
fn a_caller_who_forges_anothers_address_with_an_own_password_is_undone_by_the_next_check() {
    // Mallory has a call of its own and can forge source addresses: the worst there is without a
    // key of Alice's. Its check moves Alice's address to its session; Alice's next one takes it
    // back, long before she is lost.
    let mut world = World::new(Setup::new(Kind::Scripted, 1));
    let alice = connect(&mut world, 1)[0];
    let mut config = BrowserConfig::new(Kind::Scripted, 9);
    config.address = "10.9.9.9:9".parse().unwrap();
    let mut mallory = Browser::new(config, world.now());
    let now = world.now();
    let offer = Offer::parse(&mallory.offer(now)).unwrap();
    let (id, answer) = world.endpoint.accept(&offer, now).unwrap();
    let line = |name| answer.sdp().lines().find_map(|line| line.strip_prefix(name));
    let (ufrag, pwd) = (line("a=ice-ufrag:").unwrap(), line("a=ice-pwd:").unwrap());
    let request = stun::request([7; 12], ufrag, "evil", pwd, true);
    let address = world.browser(alice).address();
    let routed = world.inject(packet(&address.to_string(), request));
    assert!(routed == Routed::Session(id) || routed == Routed::Refused, "{routed:?}");
    world.drive_for(Duration::from_secs(10));
    assert_own_words_after(&mut world, &[alice]);
    assert!(!world.outcome(alice).told(&Event::StateChanged(ConnectionState::Disconnected)));
}

#[test]
fn a_datagram_for_another_place_comes_out_as_not_mine() {
    let mut world = World::new(Setup::new(Kind::Scripted, 1));
    let ufrag = Ufrag { node: 7, shard: 3, ..Ufrag::default() }.to_string();
    let request = stun::request([7; 12], &ufrag, "page", "whatever", true);
    let routed = world.inject(packet("198.51.100.1:1", request));
    assert_eq!(routed, Routed::NotMine { node: 7, shard: 3 });
    assert_eq!(world.endpoint.stats().datagrams_not_mine, 1);
}

#[test]
fn a_restart_from_another_address_is_routed_and_the_old_one_can_be_used_by_another() {
    for kind in Kind::ALL {
        let mut world = World::new(Setup::new(kind, 1));
        let numbers = connect(&mut world, 2);
        let moved: SocketAddr = "10.200.0.1:6000".parse().unwrap();
        world.restart(numbers[0], moved).unwrap();
        world.drive_for(Duration::from_secs(10));
        assert_own_words_after(&mut world, &numbers);
    }
}

#[test]
fn half_open_calls_have_a_limit_and_end_after_the_connecting_time() {
    let setup = Setup::new(Kind::Scripted, 1).untraced();
    let mut world = World::new(setup.config(|config| config.max_half_open(100).unwrap()));
    let mut refused = 0;
    for _ in 0..100 + 10 {
        let number = world.add_browser(|_| {});
        world.browser(number).vanish();
        refused += usize::from(world.call(number).is_err());
    }
    assert_eq!((refused, world.endpoint.stats().sessions_refused), (10, 10));
    world.drive_for(Duration::from_secs(61));
    assert!(world.endpoint.is_empty());
    let late = world.add_browser(|_| {});
    world.call(late).unwrap();
    world.drive_for(Duration::from_secs(1));
    assert!(connected(&world, late));
}

#[test]
fn what_is_done_through_the_guard_is_due_at_once() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1)
            .browser(|browser| browser.chatters = false)
            .config(|config| config.audio_idle(AudioIdle::Nothing));
        let mut world = World::new(setup);
        let number = connect(&mut world, 1)[0];
        world.drive_for(Duration::from_secs(10));
        let now = world.now();
        let is_due = |world: &World| world.endpoint.poll_timeout().is_some_and(|at| at <= now);
        assert!(!is_due(&world), "{kind:?}: an idle call has nothing to do");

        let mut session = world.session(number).expect("the call goes on");
        assert!(session.send_message(Message::text("[1]"), now).is_ok());
        drop(session);
        assert!(is_due(&world), "{kind:?}: a message");
        world.flush();
        assert!(!is_due(&world));

        let mut session = world.session(number).expect("the call goes on");
        session.send_audio(AudioFrame::mono(&[1; 320], 16_000), now).unwrap();
        drop(session);
        assert!(is_due(&world), "{kind:?}: sound");
        world.drive_for(Duration::from_secs(2));

        let now = world.now();
        world.session(number).expect("the call goes on").close(now);
        assert!(world.endpoint.poll_timeout().is_some_and(|at| at <= now), "{kind:?}: the end");
        world.drive_for(Duration::from_secs(1));
        assert_eq!(world.outcome(number).closed(), Some(CloseReason::Application));
    }
}
