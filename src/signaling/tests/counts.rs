//! What is counted to the last one, and what is at a limit to the last byte.

use std::net::Ipv4Addr;

use super::*;
use crate::signaling::limiter::CLIENTS_MAX;

fn retry_after(wait: Duration) -> String {
    let response = Refusal::Rate(wait).into_response();
    response.header("Retry-After").expect("it says when").to_owned()
}

/// Polls what the endpoint tells, and passes nothing on.
fn tell_nobody(rig: &mut Rig) {
    while rig.endpoint.poll_event().is_some() {}
    while rig.endpoint.poll_transmit().is_some() {}
}

#[test]
fn a_server_is_about_to_end_from_when_it_was_said_until_it_was_taken_back() {
    let mut rig = Rig::new();
    for is_so in [false, true, false] {
        rig.signaling.set_draining(is_so);
        assert_eq!(rig.signaling.is_draining(), is_so);
    }
    assert!(!Rig::new().signaling.is_draining());
}

#[test]
fn offers_that_wait_leave_or_wait_too_long_are_counted_one_by_one() {
    let mut rig = Rig::new();
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    let tokens = [(); 3].map(|()| rig.later(&offer("")));
    assert_eq!(rig.signaling.stats().waits, 3);
    rig.signaling.cancel(tokens[1]);
    rig.signaling.cancel(tokens[1]);
    assert_eq!(rig.signaling.stats().waits_cancelled, 1);
    rig.now += GATHERING_TIMEOUT;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    assert_eq!(rig.signaling.stats().waits_timed_out, 2);
}

#[test]
fn clients_that_made_room_for_others_are_counted() {
    let mut rig = Rig::new();
    for client in 0..=u32::try_from(CLIENTS_MAX).unwrap() {
        let address = Ipv4Addr::from(client).into();
        let request = Request::new("POST", "/api/offer", b"{}").client(address);
        let Reply::Now(response) = rig.handle(request) else { panic!("it waits") };
        assert_eq!(response.status, 400);
    }
    let stats = rig.signaling.stats();
    assert_eq!((stats.clients, stats.clients_evicted), (CLIENTS_MAX as u64, 1));
}

#[test]
fn names_never_outnumber_the_sessions_when_a_new_one_is_given() {
    for ended in 1..4 {
        let mut rig = Rig::new();
        for _ in 0..ended {
            rig.call(&offer(""));
        }
        rig.endpoint.session_ids().into_iter().for_each(|id| {
            rig.endpoint.session(id).unwrap().close(rig.now);
        });
        tell_nobody(&mut rig);
        assert_eq!((rig.endpoint.len(), rig.signaling.names.len()), (0, ended));
        rig.call(&offer(""));
        assert_eq!(rig.signaling.names.len(), 1, "beside {ended} that ended");
    }
}

#[test]
fn a_body_at_the_limit_is_read_and_one_byte_more_is_not_on_this_thread_and_on_another() {
    let mut rig = Rig::new();
    for (path, len, status) in [
        ("/start", BODY_LEN_MAX, 200),
        ("/start", BODY_LEN_MAX + 1, 413),
        ("/api/offer", BODY_LEN_MAX, 400),
        ("/api/offer", BODY_LEN_MAX + 1, 413),
        ("/api/offer", 2 * BODY_LEN_MAX, 413),
    ] {
        let body = vec![b' '; len];
        let request = Request::new("POST", path, &body);
        let copy = RequestBuf::from(request);
        for request in [request, copy.as_request()] {
            let Reply::Now(response) = rig.handle(request) else { panic!("it waits") };
            assert_eq!(response.status, status, "{path} with {len} bytes");
        }
    }
}

#[test]
fn a_client_is_told_whole_seconds_and_never_too_few() {
    for (ms, seconds) in [(1, "1"), (1_000, "1"), (1_001, "2"), (1_999, "2"), (3_000, "3")] {
        assert_eq!(retry_after(MS * ms), seconds, "{ms} ms");
    }
}

#[test]
fn a_server_for_ice_shows_where_it_is_and_not_its_password() {
    let server = IceServer::new(["turn:turn.example:3478"]).unwrap();
    let shown = format!("{:?}", server.credentials("bot", "secret").unwrap());
    assert!(shown.contains("turn:turn.example:3478"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
