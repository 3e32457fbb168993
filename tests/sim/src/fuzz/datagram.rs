//! Datagrams, of strangers and of the peer.

use std::time::Duration;

use bytes::Bytes;
use smallrtc::scripted::{Chunk, Content, Frame, encode, stun};
use smallrtc::{CloseReason, ConnectionState, Endpoint, Event, Seed};

use super::script::{Script, split};
use super::subject::credentials;
use super::text::drain;
use super::{STEPS_MAX, THERE, config, datagram_from, local, offer, origin, real_session};
use crate::{BrowserEvent, Kind, Packet, Pair, Setup, bot_address};

/// Somebody who was never heard from.
const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 5], 4_444);

/// Changed copies that one run of the real wire takes; the handshake before them is what costs.
const COPIES_MAX: usize = 64;

/// Datagrams into what lives: an endpoint and a session over the real engine that still connect,
/// an endpoint with a connected session, or a connected call over the real engine, by the first
/// byte. No stranger ends a session, and the engine never fails by what it is sent.
pub fn datagrams(data: &[u8]) {
    let Some((head, rest)) = data.split_first() else { return };
    match head & 7 {
        0 => into_real_call(rest, head & 8 != 0),
        1..=3 => into_scripted_endpoint(rest),
        4 | 5 => into_new_session(rest),
        _ => into_new_endpoint(rest),
    }
}

fn into_new_endpoint(data: &[u8]) {
    let now = origin();
    let mut endpoint = Endpoint::new(config(false), Seed::from_number(2), now);
    endpoint.add_local_candidate(local());
    let (id, _) = endpoint.accept(&offer(), now).expect("the fixture is accepted");
    for (index, payload) in split(data).into_iter().take(STEPS_MAX).enumerate() {
        let now = now + Duration::from_millis(index as u64);
        let _ = endpoint.handle_datagram(datagram_from(THERE, payload), now);
        while endpoint.poll_transmit().is_some() {}
        while let Some((_, event)) = endpoint.poll_event() {
            assert!(!matches!(event, Event::Closed { .. }), "strangers ended a session");
        }
    }
    assert_eq!(endpoint.session_ids(), [id]);
}

fn into_new_session(data: &[u8]) {
    let now = origin();
    let mut session = real_session(6);
    for payload in split(data).into_iter().take(STEPS_MAX) {
        session.handle_datagram(datagram_from(THERE, payload), now);
        assert_eq!(drain(&mut session), [], "a datagram ended a call that connects");
    }
}

/// A connected session in an endpoint, and datagrams of strangers and of its peer.
fn into_scripted_endpoint(data: &[u8]) {
    let mut now = origin();
    let mut endpoint = Endpoint::new(config(true), Seed::from_number(2), now);
    endpoint.add_local_candidate(local());
    let (id, answer) = endpoint.accept(&offer(), now).expect("the fixture is accepted");
    endpoint.session(id).expect("it was accepted").start(now);
    let (ufrag, pwd) = credentials(&answer);
    let check = stun::request([1; 12], &ufrag, "EEtu", &pwd, true);
    let open = Chunk { number: 0, channel: 1, content: Content::Open, data: b"chat" };
    for payload in [check, encode(&[Frame::Hello, Frame::Chunk(open)])] {
        let _ = endpoint.handle_datagram(datagram_from(THERE, &payload), now);
    }
    let (mut script, mut spoken) = (Script(data), false);
    for _ in 0..STEPS_MAX {
        let Some(command) = script.command() else { break };
        let source = if command & 1 == 0 { THERE } else { STRANGER };
        spoken |= source == THERE;
        let payload = match command & 6 {
            0 => script.take().to_vec(),
            _ => encode(&[script.frame(1, u64::from(command))]),
        };
        now += Duration::from_millis(u64::from(command >> 3));
        let _ = endpoint.handle_datagram(datagram_from(source, &payload), now);
        for _ in 0..64 {
            if endpoint.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
            endpoint.handle_timeout(now);
            while let Some((_, event)) = endpoint.poll_event() {
                let over = matches!(event, Event::Closed { reason } if reason != CloseReason::Lost);
                assert!(spoken || !over, "strangers ended a session");
            }
            while let Some(transmit) = endpoint.poll_transmit() {
                assert_eq!(transmit.destination, THERE.into(), "a stranger was answered");
            }
        }
        assert!(endpoint.poll_timeout().is_none_or(|at| at > now), "due without work");
    }
    now += Duration::from_secs(10);
    for _ in 0..64 {
        endpoint.handle_timeout(now);
        while endpoint.poll_event().is_some() || endpoint.poll_transmit().is_some() {}
        now += Duration::from_secs(1);
    }
    assert!(endpoint.is_empty(), "a ghost");
}

/// A connected call over the real engine: changed copies of what the page sends, and bytes that
/// nobody sent, from its own address and from elsewhere. The call goes on. Some calls hear
/// strangers before they connect, and connect all the same.
fn into_real_call(data: &[u8], hears_before: bool) {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).untraced().unrecorded());
    let copies = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = copies.clone();
    pair.up.lose(move |packet| {
        kept.lock().expect("nothing panics with the lock held").push(packet.payload.clone());
        false
    });
    let mut script = Script(data);
    if hears_before {
        pair.negotiate().expect("the first offer is accepted");
        for payload in split(script.take()) {
            let (source, payload) = (STRANGER.into(), Bytes::copy_from_slice(payload));
            pair.inject(Packet { source, destination: bot_address(), payload });
        }
    }
    pair.connect();
    let page = pair.browser.address();
    // A check can be replayed, and is answered where it comes from.
    pair.checks.allow(STRANGER.into());
    for number in 0..COPIES_MAX {
        let Some(command) = script.command() else { break };
        let now = pair.now();
        // What the engine takes of it is media; the answer is the page's business.
        let _ = pair.browser.send_media(0, number as u64 * 960, script.take(), now);
        pair.drive_for(Duration::from_millis(u64::from(command >> 3)));
        let mut bytes = script.take().to_vec();
        if command & 1 == 0 {
            let copies = copies.lock().expect("nothing panics with the lock held");
            let mut copy = copies[usize::from(script.byte()) % copies.len()].to_vec();
            for (index, byte) in bytes.iter().enumerate() {
                let at = (index + usize::from(command)) % copy.len();
                copy[at] ^= byte;
            }
            bytes = copy;
        }
        let source = if command & 2 == 0 { page } else { STRANGER.into() };
        let payload = Bytes::from(bytes);
        pair.inject(Packet { source, destination: bot_address(), payload });
    }
    assert_eq!(pair.session.state(), ConnectionState::Connected, "{:?}", pair.closed());
    pair.forget();
    pair.say("unhurt");
    pair.drive_for(Duration::from_secs(1));
    assert!(pair.browser_messages().contains(&"unhurt".to_owned()));
    let heard = pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { .. }));
    assert!((48..=52).contains(&heard.count()), "the sound goes on");
}
