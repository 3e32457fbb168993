//! Who may have a session's datagrams, with the checks of a real browser's engine.
//!
//! The rules themselves are tested inside `src/endpoint`, over the scripted transport; here the
//! integrity is a real HMAC.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{
    Config, Datagram, Endpoint, LocalCandidate, Offer, Routed, Seed, SessionId, TransportId,
};
use str0m::change::SdpAnswer;
use str0m::{Candidate, Input, Output, Rtc};

fn bot() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 3478))
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], port))
}

/// An endpoint and a browser's first check of each of its sessions.
fn calls(count: u16) -> (Endpoint, Vec<(SessionId, Vec<u8>)>, Instant) {
    #[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
    let now = Instant::now();
    let mut endpoint = Endpoint::new(Config::new().shared(), Seed::from_number(1), now);
    endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), bot()));
    let calls = (0..count).map(|index| call(&mut endpoint, address(1000 + index), now)).collect();
    (endpoint, calls, now)
}

fn call(endpoint: &mut Endpoint, from: SocketAddr, now: Instant) -> (SessionId, Vec<u8>) {
    let mut browser = Rtc::new(now);
    browser.add_local_candidate(Candidate::host(from, "udp").expect("an address"));
    let mut api = browser.sdp_api();
    api.add_channel("chat".to_owned());
    let (offer, pending) = api.apply().expect("there is something to offer");
    let offer = Offer::parse(&offer.to_sdp_string()).expect("browsers' offers are read");
    let (id, answer) = endpoint.accept(&offer, now).expect("there is room");
    let answer = SdpAnswer::from_sdp_string(answer.sdp()).expect("the answer is SDP");
    browser.sdp_api().accept_answer(pending, answer).expect("the answer fits");
    (id, first_check(browser, now))
}

fn first_check(mut browser: Rtc, mut now: Instant) -> Vec<u8> {
    let limit = now + Duration::from_secs(2);
    while now < limit {
        match browser.poll_output().expect("the engine goes on") {
            Output::Transmit(transmit) => return transmit.contents.into(),
            Output::Timeout(at) => {
                now = now.max(at);
                browser.handle_input(Input::Timeout(now)).expect("time passes");
            }
            Output::Event(_) => {}
        }
    }
    panic!("the browser checks nothing");
}

fn send(endpoint: &mut Endpoint, port: u16, payload: &[u8], now: Instant) -> Routed {
    let payload = Bytes::copy_from_slice(payload);
    endpoint.handle_datagram(Datagram::udp(TransportId(0), address(port), bot(), payload), now)
}

#[test]
fn a_real_check_binds_its_address_and_a_changed_one_does_not() {
    let (mut endpoint, calls, now) = calls(1);
    let (id, check) = &calls[0];
    let dtls = [22, 254, 253];
    // The last 8 bytes are FINGERPRINT, which proves nothing; before it stand 20 of the HMAC.
    for index in [21, 40, check.len() - 9, check.len() - 28] {
        let mut forged = check.clone();
        forged[index] ^= 1;
        let routed = send(&mut endpoint, 66, &forged, now);
        assert!(!matches!(routed, Routed::Session(_)), "byte {index}: {routed:?}");
        assert_eq!(send(&mut endpoint, 66, &dtls, now), Routed::Unroutable);
    }
    assert!(endpoint.stats().requests_forged > 0);
    assert_eq!(send(&mut endpoint, 1000, check, now), Routed::Session(*id));
    assert_eq!(send(&mut endpoint, 1000, &dtls, now), Routed::Session(*id));
}

#[test]
fn a_check_of_one_call_does_not_take_the_address_of_another() {
    let (mut endpoint, calls, now) = calls(2);
    let [(victim, check), (attacker, own)] = &calls[..] else { panic!("two calls") };
    assert_eq!(send(&mut endpoint, 1000, check, now), Routed::Session(*victim));
    assert_eq!(send(&mut endpoint, 1001, own, now), Routed::Session(*attacker));
    assert_eq!(send(&mut endpoint, 1000, own, now), Routed::Refused);
    assert_eq!(send(&mut endpoint, 1000, &[22, 254, 253], now), Routed::Session(*victim));
    assert_eq!(endpoint.stats().addresses_refused, 1);
}

#[test]
fn a_replayed_check_binds_where_it_comes_from_and_takes_nothing_away() {
    let (mut endpoint, calls, now) = calls(1);
    let (id, check) = &calls[0];
    assert_eq!(send(&mut endpoint, 1000, check, now), Routed::Session(*id));
    assert_eq!(send(&mut endpoint, 66, check, now), Routed::Session(*id));
    assert_eq!(send(&mut endpoint, 1000, &[22, 254, 253], now), Routed::Session(*id));
    assert_eq!(endpoint.len(), 1);
}
