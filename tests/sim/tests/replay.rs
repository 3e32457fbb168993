//! Recorded calls: what a log of a whole call proves, beyond that every scenario replays.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::record::{Detail, Log, replay};
use smallrtc::{ConnectionState, Event};
use smallrtc_sim::{
    BrowserEvent, Kind, LinkConfig, Pair, Setup, World, recorded, run, start, tone,
};

/// Sound both ways, which the browser sends back as it comes, and a word; then the end.
fn talk(pair: &mut Pair) {
    pair.connect();
    let _ = pair.send_audio(&tone(440.0, 24_000, 24_000), 24_000).unwrap();
    for _ in 0..50 {
        let heard = pair.browser_events().count();
        pair.drive_for(Duration::from_millis(20));
        let now = pair.now();
        let echo: Vec<_> = pair.browser_events().skip(heard).cloned().collect();
        for event in echo {
            if let BrowserEvent::Media { line, time, data, .. } = event {
                let _ = pair.browser.send_media(line, time, &data, now);
            }
        }
        let mut samples = [0; 960];
        let track = pair.session.tracks()[0].id;
        while pair.session.recv_audio(track, &mut samples).is_some() {}
    }
    pair.say("a word");
    pair.drive_for(Duration::from_millis(500));
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(Duration::from_secs(5));
}

fn lossy() -> LinkConfig {
    let mut link = LinkConfig::clean();
    link.loss = 0.05;
    link.delay = Duration::from_millis(30);
    link.jitter = Duration::from_millis(30);
    link
}

#[test]
fn a_call_with_opus_replays_to_the_sample_over_a_link_that_loses() {
    run("a_call_with_opus_replays_to_the_sample_over_a_link_that_loses", 2, |seed| {
        let setup = Setup::new(Kind::Real, seed).opus().links(lossy());
        let bytes = recorded(setup, Detail::Full, talk);
        let log = Log::read(&bytes).unwrap();
        let first = replay(&log, start()).unwrap();
        assert!(first.is_identical(), "{first}");
        let again = replay(&log, start() + Duration::from_secs(77)).unwrap();
        assert_eq!((first.decisions, first.media), (again.decisions, again.media));
        let heard = log.timeline().filter(|line| line.contains("  decoded ")).count();
        assert!(heard > 30, "{heard} packets were decoded");
    });
}

#[test]
fn one_seed_gives_one_log() {
    for kind in Kind::ALL {
        let setup = || Setup::new(kind, 3).links(lossy());
        let first = recorded(setup(), Detail::Full, talk);
        let second = recorded(setup(), Detail::Full, talk);
        assert_eq!(Log::read(&first).unwrap().calls(), Log::read(&second).unwrap().calls());
        // Handshakes carry random signatures of 70 to 72 bytes, and the log has the lengths of
        // datagrams.
        if kind == Kind::Scripted {
            assert!(first == second, "the logs of one seed differ");
        }
    }
}

#[test]
fn a_recording_changes_nothing() {
    for kind in Kind::ALL {
        let trace = |setup: Setup| {
            let mut pair = Pair::new(setup.links(lossy()));
            talk(&mut pair);
            pair.trace.clone()
        };
        let (with, without) = (trace(Setup::new(kind, 4)), trace(Setup::new(kind, 4).unrecorded()));
        assert_eq!(with.difference(&without), None);
    }
}

#[test]
fn no_password_and_no_key_of_a_real_call_is_in_its_log() {
    let mut passwords = Vec::new();
    let bytes = recorded(Setup::new(Kind::Real, 5), Detail::Full, |pair| {
        let now = pair.now();
        let offer = pair.browser.offer(now);
        let offer = smallrtc::Offer::parse(&offer).unwrap();
        let answer = pair.session.accept_offer(&offer, now).unwrap();
        pair.browser.accept_answer(answer.sdp(), now);
        for sdp in [offer.sdp(), answer.sdp()] {
            let secrets = sdp.lines().filter_map(|line| line.strip_prefix("a=ice-pwd:"));
            passwords.extend(secrets.map(str::to_owned));
        }
        pair.drive_until(Duration::from_secs(10), "connected", |pair| {
            pair.session.state() == ConnectionState::Connected
        });
    });
    assert!(passwords.len() >= 2);
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    for password in passwords {
        assert!(!contains(password.as_bytes()), "{password}");
    }
    let key = include_bytes!("../fixtures/bot.key.der");
    assert!(!key.windows(16).any(contains), "a part of the private key");
    assert!(contains(b"a=fingerprint:sha-256"), "fingerprints stay");
}

#[test]
fn the_endpoints_decisions_stand_in_the_log_of_their_session() {
    let mut world = World::new(Setup::new(Kind::Scripted, 6));
    let number = world.add_browser(|_| {});
    world.call(number).unwrap();
    world.drive_until(Duration::from_secs(10), "the channel is open", |world| {
        world.outcome(number).page_told(&BrowserEvent::ChannelOpen)
    });
    let id = world.outcome(number).id.unwrap();
    let now = world.now();
    world.session(number).unwrap().close(now);
    world.drive_until(Duration::from_secs(10), "the call ends", |world| {
        world.outcome(number).events.iter().any(|(_, event)| matches!(event, Event::Closed { .. }))
    });
    world.drive_for(Duration::from_secs(1));
    let (name, bytes) = world.logs().remove(0);
    assert!(name.starts_with(&format!("{id}-")), "{name}");
    let log = Log::read(&bytes).unwrap();
    assert!(log.is_whole(), "the session is gone, its log has an end");
    let lines: Vec<_> = log.timeline().filter(|line| line.contains("endpoint ")).collect();
    let words = ["admitted beside 0", "bound 10.7.0.0:50000", "freed"];
    assert_eq!(lines.len(), words.len(), "{lines:?}");
    for (line, word) in lines.iter().zip(words) {
        assert!(line.contains(word), "{line}");
    }
}

#[test]
fn strangers_fill_no_log() {
    let mut world = World::new(Setup::new(Kind::Scripted, 7));
    let number = world.add_browser(|_| {});
    world.call(number).unwrap();
    world.drive_for(Duration::from_secs(3));
    let lines = |world: &World| -> Vec<String> {
        let (_, bytes) = world.logs().remove(0);
        Log::read(&bytes).unwrap().timeline().collect()
    };
    let text = lines(&world).concat();
    let at = text.find("accepted, ufrag ").expect("the negotiation tells it") + 16;
    let ufrag = &text[at..at + 20];
    for turn in 0..600u32 {
        let id = turn.to_be_bytes().repeat(3);
        let forged = smallrtc::scripted::stun::request(
            id.try_into().unwrap(),
            ufrag,
            "EEtu",
            "not the password",
            true,
        );
        let source = "203.0.113.9:9".parse().unwrap();
        let destination = smallrtc_sim::bot_address();
        let packet = smallrtc_sim::Packet { source, destination, payload: forged.into() };
        let _ = world.inject(packet);
    }
    world.drive_for(Duration::from_secs(3));
    assert_eq!(world.endpoint.stats().requests_forged, 600);
    let refused = |line: &&String| line.contains("refused a forged request");
    let count = lines(&world).iter().filter(refused).count();
    assert_eq!(count, 256, "the limit of refusals in one log");
}
