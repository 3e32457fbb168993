//! What a peer or a stranger may send, and what must not come of it.

use std::time::Duration;

use bytes::Bytes;

use super::pair::{BOT, BROWSER, Pair, address, audio};
use crate::transport::real::SOURCES_MAX;
use crate::transport::{Received, Transport, TransportEvent};
use crate::{Config, Datagram, TransportId};

fn datagram(source: &str, payload: impl Into<Bytes>) -> Datagram {
    Datagram::udp(TransportId(3), address(source), address(BOT), payload.into())
}

/// A binding request as a browser would send it, made with `pwd`.
fn request(username: &str, pwd: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut attribute = |kind: u16, value: &[u8]| {
        body.extend_from_slice(&kind.to_be_bytes());
        body.extend_from_slice(&(value.len() as u16).to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    };
    attribute(0x0006, username.as_bytes());
    attribute(0x0024, &[0x6e, 0, 1, 0xff]);
    attribute(0x802a, &[7; 8]);
    let mut message = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    message.extend_from_slice(&[9; 12]);
    message.extend_from_slice(&body);
    let len = (message.len() + 24 - 20) as u16;
    message[2..4].copy_from_slice(&len.to_be_bytes());
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let made = hmac.sha1_hmac(pwd.as_bytes(), &[&message]);
    message.extend_from_slice(&[0, 8, 0, 20]);
    message.extend_from_slice(&made);
    message
}

#[test]
fn only_a_request_made_with_our_password_is_ours() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
    });
    let ours = super::pair::credentials(0);
    let good = request(&format!("{}:abcd", ours.ufrag), &ours.pwd);
    assert!(pair.bot.verifies(&good));
    let forged = [
        request(&format!("{}:abcd", ours.ufrag), "another-password-of-128-bits"),
        request("AAAAAAAAAAAAAAAAAA99:abcd", &ours.pwd),
        request(&ours.ufrag, &ours.pwd),
        request(&format!("abcd:{}", ours.ufrag), &ours.pwd),
    ];
    for (index, forged) in forged.iter().enumerate() {
        assert!(!pair.bot.verifies(forged), "{index}");
        let received = pair.bot.handle_datagram(datagram(BROWSER, forged.clone()), pair.now);
        assert_eq!(received, Received::default(), "{index}");
        assert_eq!(pair.bot.counters().stun_refused, index as u64 + 1);
    }
    let received = pair.bot.handle_datagram(datagram(BROWSER, good), pair.now);
    assert!(received.authenticated && !received.malformed);
}

#[test]
fn a_response_is_authentic_only_with_the_peers_password() {
    let mut pair = Pair::connected(&Config::new());
    let ours = super::pair::credentials(0);
    let mut forged = request(&format!("{}:abcd", ours.ufrag), &ours.pwd);
    forged[0] = 1;
    let received = pair.bot.handle_datagram(datagram(BROWSER, forged), pair.now);
    assert_eq!(received, Received::default());
}

#[test]
fn a_datagram_to_an_address_that_is_not_ours_is_counted_and_nothing_else() {
    let mut pair = Pair::connected(&Config::new());
    let elsewhere = address("192.0.2.99:1");
    let stray =
        Datagram::udp(TransportId(3), address(BROWSER), elsewhere, Bytes::from_static(b"x"));
    assert_eq!(pair.bot.handle_datagram(stray, pair.now), Received::default());
    assert_eq!(pair.bot.counters().misdirected, 1);
}

#[test]
fn what_no_protocol_of_webrtc_begins_with_is_malformed() {
    let mut pair = Pair::connected(&Config::new());
    let mut payloads: Vec<Vec<u8>> = vec![vec![], vec![0; 19], vec![22; 2], vec![128; 7]];
    for first in (4..20).chain(64..128).chain(192..=255) {
        payloads.push(vec![first; 100]);
    }
    payloads.push(vec![128; 2049]);
    let longest = pair.bot.handle_datagram(datagram(BROWSER, vec![128; 2048]), pair.now);
    assert_eq!(longest, Received::default());
    for (index, payload) in payloads.into_iter().enumerate() {
        let first = payload.first().copied();
        let received = pair.bot.handle_datagram(datagram(BROWSER, payload), pair.now);
        assert!(received.malformed && !received.authenticated, "{first:?}");
        assert_eq!(pair.bot.counters().malformed, index as u64 + 1);
    }
}

fn noise(rng: &mut fastrand::Rng, len: std::ops::Range<usize>) -> Vec<u8> {
    let len = rng.usize(len);
    std::iter::repeat_with(|| rng.u8(..)).take(len).collect()
}

#[test]
fn garbage_never_panics_and_the_call_goes_on() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..20);
    let mid = pair.bot.out.lines.iter().flatten().next().unwrap().mid;
    pair.browser_speaks(mid, 0..20);
    let mut samples: Vec<Vec<u8>> = pair.sent.iter().map(|sent| sent.payload.to_vec()).collect();
    let ours = super::pair::credentials(0);
    samples.push(request(&format!("{}:abcd", ours.ufrag), &ours.pwd));
    let mut rng = fastrand::Rng::with_seed(4);
    for round in 0..30_000 {
        let mut payload = samples[rng.usize(..samples.len())].clone();
        for _ in 0..rng.usize(1..6) {
            let index = rng.usize(..payload.len());
            match rng.u8(..4) {
                0 => payload[index] = rng.u8(..),
                1 => payload[index] ^= 1 << rng.u8(..8),
                2 => payload.truncate(index + 1),
                _ => payload.insert(index, rng.u8(..)),
            }
        }
        if rng.u8(..4) == 0 {
            payload = noise(&mut rng, 0..300);
        }
        if samples.contains(&payload) {
            continue;
        }
        let source = if rng.bool() { BROWSER } else { "203.0.113.66:666" };
        let received = pair.bot.handle_datagram(datagram(source, payload), pair.now);
        assert!(!received.authenticated, "round {round}");
    }
    pair.flush();
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::Fault(_))), 0);
    let before = pair.browser.media().len();
    pair.bot_speaks(20..40);
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.browser.media().len(), before + 20);
    assert_eq!(pair.count(|event| *event == TransportEvent::HungUp), 0);
}

#[test]
fn garbage_during_the_handshake_does_not_keep_the_call_from_connecting() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
    });
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        for _ in 0..20 {
            let mut payload = noise(&mut rng, 1..300);
            payload[0] = [0, 22, 23, 44, 128, 144][rng.usize(..6)];
            let _ = pair.bot.handle_datagram(datagram("203.0.113.66:666", payload), pair.now);
        }
        pair.run_for(Duration::from_millis(20));
    }
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::Fault(_))), 0);
    assert!(pair.events.contains(&TransportEvent::Connected));
}

#[test]
fn as_many_addresses_as_allowed_are_remembered_and_one_more_is_not() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
    });
    let ours = super::pair::credentials(0);
    let good = request(&format!("{}:abcd", ours.ufrag), &ours.pwd);
    let mut check = |port: usize| {
        let source = format!("198.51.100.9:{port}");
        let received = pair.bot.handle_datagram(datagram(&source, good.clone()), pair.now);
        while pair.bot.poll_transmit().is_some() {}
        (received.authenticated, pair.bot.counters().sources_refused)
    };
    for port in 1..=SOURCES_MAX {
        assert_eq!(check(port), (true, 0), "{port}");
    }
    assert_eq!(check(SOURCES_MAX + 1), (false, 1));
    assert_eq!(check(SOURCES_MAX + 2), (false, 2));
    assert_eq!(check(SOURCES_MAX), (true, 2), "what is known goes on");
}
