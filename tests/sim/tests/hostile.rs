//! Strangers and liars on the wire of one session. Nothing they send may hurt the call, panic,
//! or be answered.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use smallrtc::scripted::{self, Frame, stun};
use smallrtc::{CloseReason, ConnectionState, Event};
use smallrtc_sim::{BrowserEvent, Kind, Packet, Pair, Setup, bot_address, run};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn packet(source: SocketAddr, payload: impl Into<Bytes>) -> Packet {
    Packet { source, destination: bot_address(), payload: payload.into() }
}

/// Bytes that look like something: the first byte decides which parser reads them.
fn garbage(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.usize(..1300)).map(|_| random.u8(..)).collect();
    let starts: [&[u8]; 8] = [
        &[0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42],
        &[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42],
        &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0],
        &[23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0],
        &[0x80, 111],
        &[0x81, 200, 0, 1],
        &[scripted::MAGIC, scripted::VERSION],
        &[],
    ];
    let start = starts[random.usize(..starts.len())];
    if start.len() <= bytes.len() {
        bytes[..start.len()].copy_from_slice(start);
    }
    bytes
}

fn heard(pair: &Pair) -> usize {
    pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { .. })).count()
}

#[test]
fn garbage_from_anywhere_does_not_disturb_a_call() {
    run("garbage_from_anywhere_does_not_disturb_a_call", 3, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed));
            pair.connect();
            pair.drive_for(Duration::from_secs(1));
            pair.forget();
            let mut random = fastrand::Rng::with_seed(seed);
            let page = pair.browser.address();
            for count in 0..2_000_u32 {
                let source = match kind {
                    // Nothing authenticates the script: what comes from the page's address counts.
                    Kind::Real if count % 2 == 0 => page,
                    _ => address("203.0.113.5:4444"),
                };
                pair.inject(packet(source, garbage(&mut random)));
                pair.drive_for(Duration::from_millis(5));
            }
            assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
            assert!((499..=501).contains(&heard(&pair)), "{kind:?}: {}", heard(&pair));
            let told = pair.events().any(|event| matches!(event, Event::StateChanged(_)));
            assert!(!told, "{kind:?}");
            assert!(pair.session.stats().datagrams_malformed > 0);
        }
    });
}

#[test]
fn garbage_before_the_handshake_does_not_prevent_it() {
    run("garbage_before_the_handshake_does_not_prevent_it", 5, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed));
            let mut random = fastrand::Rng::with_seed(seed);
            pair.negotiate().unwrap();
            for _ in 0..300 {
                pair.inject(packet(address("203.0.113.5:4444"), garbage(&mut random)));
                if kind == Kind::Real {
                    let page = pair.browser.address();
                    pair.inject(packet(page, garbage(&mut random)));
                }
                pair.drive_for(Duration::from_millis(1));
            }
            pair.drive_until(Duration::from_secs(20), "connected", |pair| {
                pair.session.state() == ConnectionState::Connected
            });
        }
    });
}

/// Keeps a copy of all that the browser sends, and sends changed copies back in between.
struct Mutator {
    random: fastrand::Rng,
    copies: Arc<Mutex<Vec<Packet>>>,
}

impl Mutator {
    fn new(pair: &mut Pair, seed: u64) -> Mutator {
        let copies = Arc::new(Mutex::new(Vec::new()));
        let kept = copies.clone();
        pair.up.lose(move |packet| {
            kept.lock().expect("nothing panics with the lock held").push(packet.clone());
            false
        });
        Mutator { random: fastrand::Rng::with_seed(seed), copies }
    }

    fn mutant(&mut self) -> Option<Packet> {
        let copies = self.copies.lock().expect("nothing panics with the lock held");
        let mut packet = copies.get(self.random.usize(..copies.len().max(1)))?.clone();
        let mut bytes = packet.payload.to_vec();
        for _ in 0..self.random.usize(1..4) {
            let index = self.random.usize(..bytes.len());
            bytes[index] ^= self.random.u8(1..);
        }
        if self.random.bool() {
            bytes.truncate(self.random.usize(..bytes.len()));
        }
        packet.payload = bytes.into();
        Some(packet)
    }
}

#[test]
fn changed_copies_of_real_datagrams_do_not_disturb_a_call() {
    run("changed_copies_of_real_datagrams_do_not_disturb_a_call", 5, |seed| {
        let mut pair = Pair::new(Setup::new(Kind::Real, seed));
        let mut mutator = Mutator::new(&mut pair, seed);
        pair.connect();
        for _ in 0..3_000 {
            pair.drive_for(Duration::from_millis(2));
            pair.inject(mutator.mutant().expect("the browser has sent something"));
        }
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        pair.forget();
        pair.say("unhurt");
        pair.drive_for(Duration::from_secs(2));
        assert!(pair.browser_messages().contains(&"unhurt".to_owned()));
        assert!((99..=101).contains(&heard(&pair)));
    });
}

#[test]
fn changed_copies_of_the_handshake_end_in_a_call_or_in_its_end() {
    // Who can send from the page's own address can break an unauthenticated handshake, and
    // nothing more.
    run("changed_copies_of_the_handshake_end_in_a_call_or_in_its_end", 20, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed));
            let mut mutator = Mutator::new(&mut pair, seed);
            pair.negotiate().unwrap();
            for _ in 0..500 {
                pair.drive_for(Duration::from_micros(500));
                if let Some(mutant) = mutator.mutant() {
                    pair.inject(mutant);
                }
            }
            pair.drive_for(Duration::from_secs(100));
            let is_over = pair.closed().is_some();
            assert!(is_over || pair.session.state() == ConnectionState::Connected, "{kind:?}");
        }
    });
}

#[test]
fn replayed_datagrams_are_heard_once() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        let mut config = smallrtc_sim::LinkConfig::clean();
        config.duplicate = 1.0;
        pair.up.set_config(config);
        pair.connect();
        for number in 0..50_u64 {
            let now = pair.now();
            assert!(pair.browser.send_text(&format!("[{number}]"), now));
            assert!(pair.browser.send_media(0, number * 960, &[b'N', 1, 1, 0, 0, 0, 0, 1, 0], now));
            pair.drive_for(Duration::from_millis(20));
        }
        pair.drive_for(Duration::from_secs(1));
        assert_eq!(pair.messages().len(), 50, "{kind:?}");
        let stats = pair.session.stats();
        assert_eq!(stats.audio_packets_received - stats.audio_packets_duplicate, 50, "{kind:?}");
    }
}

#[test]
fn a_check_with_a_wrong_password_or_to_another_session_is_not_answered_nor_a_sign_of_life() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    let now = pair.now();
    let offer = smallrtc::Offer::parse(&pair.browser.offer(now)).unwrap();
    let answer = pair.session.accept_offer(&offer, now).unwrap();
    let line = |name| answer.sdp().lines().find_map(|line| line.strip_prefix(name));
    let (ufrag, pwd) = (line("a=ice-ufrag:").unwrap(), line("a=ice-pwd:").unwrap());
    for (ufrag, pwd) in [(ufrag, "guess"), ("another", pwd), ("", ""), (&ufrag[1..], pwd)] {
        let request = stun::request([7; 12], ufrag, "page", pwd, true);
        pair.inject(packet(pair.browser.address(), request));
        assert_eq!(pair.down.sent(), 0);
    }
    let request = stun::request([7; 12], ufrag, "page", pwd, true);
    pair.inject(packet(pair.browser.address(), request));
    assert_eq!(pair.down.sent(), 1, "the right one is");
}

#[test]
fn forged_checks_do_not_keep_a_dead_call_alive() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let page = pair.browser.address();
        pair.browser.vanish();
        let began = pair.elapsed();
        let mut random = fastrand::Rng::with_seed(1);
        while pair.closed().is_none() {
            let mut payload = stun::request([7; 12], "whoever", "page", "guess", true);
            if random.bool() {
                payload = vec![0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3];
            }
            if kind == Kind::Scripted {
                payload = stun::response([9; 12], page, "guess");
            }
            pair.inject(packet(page, payload));
            pair.drive_for(Duration::from_millis(500));
            assert!(pair.elapsed() - began < Duration::from_secs(25), "{kind:?}: a ghost");
        }
        assert_eq!(pair.closed().unwrap().1, CloseReason::Lost, "{kind:?}");
    }
}

#[test]
fn whatever_a_scripted_peer_says_the_session_ends_at_most_once_and_in_time() {
    run("whatever_a_scripted_peer_says_the_session_ends_at_most_once_and_in_time", 30, |seed| {
        let mut pair = Pair::new(Setup::new(Kind::Scripted, seed));
        pair.connect();
        let page = pair.browser.address();
        let mut random = fastrand::Rng::with_seed(seed);
        let allowed: Vec<Vec<u8>> = (0..4).map(|_| garbage(&mut random)).collect();
        for _ in 0..500 {
            let frames = [
                Frame::IceLost,
                Frame::IceFound,
                Frame::Hello,
                Frame::Keyframe { line: random.u8(..4) },
                Frame::Ack { next: random.u32(..) },
                Frame::Report { rtt_ms: 9, lost_per_mille: random.u16(..), jitter_ms: 1 },
                Frame::Media(scripted::Media {
                    line: random.u8(..3),
                    codec: smallrtc::Codec::Opus,
                    more: random.bool(),
                    first: random.bool(),
                    keyframe: true,
                    talkspurt: random.bool(),
                    level: Some((random.u8(..128), true)),
                    ssrc: random.u32(..3),
                    seq: random.u64(..),
                    time: random.u64(..),
                    data: &allowed[random.usize(..4)],
                }),
                Frame::Chunk(scripted::Chunk {
                    number: random.u32(..8),
                    channel: random.u16(..3),
                    content: scripted::Content::Text,
                    data: &allowed[random.usize(..4)],
                }),
            ];
            let frame = frames[random.usize(..frames.len())];
            pair.inject(packet(page, scripted::encode(&[frame])));
            pair.drive_for(Duration::from_millis(random.u64(..40)));
            let mut samples = [0; 1920];
            let _ = pair.session.recv_audio(smallrtc::TrackId(0), &mut samples);
        }
        if pair.closed().is_none() {
            let last = if random.bool() { Frame::Goodbye } else { Frame::Fault("broken") };
            pair.inject(packet(page, scripted::encode(&[last])));
            pair.browser.vanish();
            let (_, reason) = pair.drive_until_closed(Duration::from_secs(1));
            assert!(matches!(reason, CloseReason::HungUp | CloseReason::Internal), "{reason}");
        }
    });
}
