//! Which datagram reaches which session, whoever sends it.

use super::*;
use crate::endpoint::demux::{ADDRESS_HELD, ADDRESSES_MAX};

#[test]
fn a_verified_request_binds_its_address_and_everything_from_there_follows() {
    let mut rig = Rig::new();
    let caller = rig.call();
    assert_eq!(rig.send(1, hello()), Routed::Unroutable);
    assert_eq!(rig.send(1, caller.check()), Routed::Session(caller.id));
    assert_eq!(rig.send(1, hello()), Routed::Session(caller.id));
    assert_eq!(rig.send(1, vec![0xff; 9]), Routed::Session(caller.id), "even what is malformed");
    assert_eq!(rig.endpoint.session(caller.id).unwrap().stats().datagrams_malformed, 1);
    assert_eq!(rig.endpoint.stats().datagrams_unroutable, 1);
}

#[test]
fn garbage_and_strangers_are_counted_and_leave_nothing() {
    let mut rig = Rig::new();
    let caller = rig.call();
    assert_eq!(rig.send(1, vec![]), Routed::Malformed);
    assert_eq!(rig.send(1, vec![0xff; 1500]), Routed::Malformed);
    assert_eq!(rig.send(1, caller.check()[..30].to_vec()), Routed::Malformed);
    assert_eq!(rig.send(1, check("abcd", &caller.pwd)), Routed::Unroutable);
    let response = stun::response([7; 12], local(), &caller.pwd);
    assert_eq!(rig.send(1, response), Routed::Unroutable);
    assert_eq!(rig.endpoint.stats().datagrams_malformed, 3);
    assert_eq!(rig.endpoint.stats().datagrams_unroutable, 2);
    assert_eq!(rig.endpoint.demux.len(), 0);
    assert_eq!(rig.endpoint.session(caller.id).unwrap().stats().datagrams_received, 0);
}

#[test]
fn a_forged_request_is_refused_and_binds_nothing() {
    let mut rig = Rig::new();
    let (victim, attacker) = (rig.call(), rig.call());
    // The victim's ufrag can be seen on the wire; its password cannot.
    for pwd in ["", "guess", attacker.pwd.as_str()] {
        assert_eq!(rig.send(66, check(&victim.ufrag, pwd)), Routed::Refused);
    }
    assert_eq!(rig.endpoint.stats().requests_forged, 3);
    assert_eq!(rig.endpoint.demux.len(), 0);
    assert_eq!(rig.send(66, hello()), Routed::Unroutable);
}

#[test]
fn an_invented_ufrag_reaches_nobody() {
    let mut rig = Rig::new();
    let caller = rig.call();
    let ours = Ufrag::parse(caller.ufrag.as_bytes()).unwrap();
    for ufrag in [
        Ufrag { slot: 1, ..ours },
        Ufrag { slot: Ufrag::SLOTS - 1, ..ours },
        Ufrag { generation: 1, ..ours },
        Ufrag { generation: Ufrag::GENERATIONS - 1, ..ours },
    ] {
        assert_eq!(rig.send(66, check(&ufrag.to_string(), &caller.pwd)), Routed::Unroutable);
    }
    let other = Ufrag { random: ours.random ^ 1, ..ours }.to_string();
    assert_eq!(rig.send(66, check(&other, &caller.pwd)), Routed::Refused);
    assert_eq!(rig.endpoint.demux.len(), 0);
}

#[test]
fn a_request_for_another_endpoint_is_handed_back_and_changes_no_binding() {
    let mut rig = Rig::with(Config::new().place(3, 4).unwrap());
    let caller = rig.connected(1);
    let ours = Ufrag::parse(caller.ufrag.as_bytes()).unwrap();
    assert_eq!((ours.node, ours.shard), (3, 4));
    for (node, shard) in [(3, 5), (2, 4), (0, 0)] {
        let ufrag = Ufrag { node, shard, ..ours }.to_string();
        let expected = Routed::NotMine { node, shard };
        assert_eq!(rig.send(2, check(&ufrag, &caller.pwd)), expected);
        assert_eq!(rig.send(1, check(&ufrag, &caller.pwd)), expected);
    }
    assert_eq!(rig.endpoint.stats().datagrams_not_mine, 6);
    assert_eq!(rig.send(1, hello()), Routed::Session(caller.id));
    assert_eq!(rig.send(2, hello()), Routed::Unroutable);
}

#[test]
fn an_address_is_bound_from_its_first_verified_request_until_its_session_ends() {
    let mut rig = Rig::new();
    let caller = rig.call();
    let source = |port| SocketAddr::from(([192, 0, 2, 1], port));
    assert_eq!(rig.send(1, check(&caller.ufrag, "another password")), Routed::Refused);
    assert!(!rig.endpoint.is_bound(TransportId(0), source(1)));
    assert_eq!(rig.send(1, caller.check()), Routed::Session(caller.id));
    assert!(rig.endpoint.is_bound(TransportId(0), source(1)));
    assert!(!rig.endpoint.is_bound(TransportId(0), source(2)));
    assert!(!rig.endpoint.is_bound(TransportId(1), source(1)));
    rig.hang_up(&caller);
    assert!(!rig.endpoint.is_bound(TransportId(0), source(1)));
}

#[test]
fn a_bound_address_is_not_taken_by_a_request_without_the_password() {
    let mut rig = Rig::new();
    let (victim, attacker) = (rig.connected(1), rig.connected(2));
    rig.now += ADDRESS_HELD;
    assert_eq!(rig.send(1, check(&attacker.ufrag, "guess")), Routed::Refused);
    assert_eq!(rig.send(1, hello()), Routed::Session(victim.id));
}

#[test]
fn a_caller_that_forges_its_neighbours_address_does_not_cut_it_off() {
    let mut rig = Rig::new();
    let (victim, attacker) = (rig.connected(1), rig.connected(2));
    // The attacker knows its own password and forges the victim's address, once a millisecond
    // for a minute, while the victim does no more than check consent every 5 s.
    for millis in 0..60_000u64 {
        rig.now += MS;
        if millis % 5_000 == 0 {
            assert_eq!(rig.send(1, victim.check()), Routed::Session(victim.id));
        }
        assert_eq!(rig.send(1, attacker.check()), Routed::Refused);
    }
    assert_eq!(rig.endpoint.stats().addresses_refused, 60_000);
    assert_eq!(rig.send(1, hello()), Routed::Session(victim.id));
}

#[test]
fn an_address_that_a_silent_session_left_goes_to_the_next_that_proves_it() {
    let mut rig = Rig::new();
    let (old, new) = (rig.connected(1), rig.call());
    rig.now += ADDRESS_HELD - MS;
    assert_eq!(rig.send(1, new.check()), Routed::Refused);
    rig.now += MS;
    assert_eq!(rig.send(1, new.check()), Routed::Session(new.id));
    assert_eq!(rig.send(1, hello()), Routed::Session(new.id));
    assert_eq!(rig.state(&new), Some(ConnectionState::Connected));
    assert!(rig.state(&old).is_some(), "it may come back from elsewhere");
    assert_eq!(rig.send(9, old.check()), Routed::Session(old.id));
}

#[test]
fn an_address_of_a_closed_session_is_free_at_once() {
    let mut rig = Rig::new();
    let (old, new) = (rig.connected(1), rig.call());
    rig.endpoint.session(old.id).unwrap().close(rig.now);
    assert_eq!(rig.state(&old), Some(ConnectionState::Closed), "and not polled yet");
    assert_eq!(rig.send(1, hello()), Routed::Unroutable);
    assert_eq!(rig.send(1, old.check()), Routed::Unroutable);
    assert_eq!(rig.send(1, new.check()), Routed::Session(new.id));
}

#[test]
fn a_replayed_request_binds_the_place_it_came_from_and_takes_nothing_away() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    let overheard = caller.check();
    rig.drain();
    assert_eq!(rig.send(66, overheard), Routed::Session(caller.id));
    // The session answers there, once, and goes on where it was.
    let destination = rig.endpoint.poll_transmit().unwrap().destination;
    assert_eq!(destination.port(), 66);
    assert_eq!(rig.send(1, hello()), Routed::Session(caller.id));
    assert_eq!(rig.endpoint.demux.len(), 2);
}

#[test]
fn replays_from_everywhere_do_not_push_out_the_path_in_use() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    for port in 1_000..5_000 {
        rig.now += 5 * MS;
        if port % 1_000 == 0 {
            assert_eq!(rig.send(1, caller.check()), Routed::Session(caller.id));
        }
        let _ = rig.send(port, caller.check());
        assert_eq!(rig.send(1, hello()), Routed::Session(caller.id));
    }
    assert!(rig.endpoint.demux.len() <= ADDRESSES_MAX);
}

#[test]
fn the_sixteenth_address_is_bound_and_the_seventeenth_waits_for_a_stale_one() {
    let mut rig = Rig::new();
    let caller = rig.call();
    for port in 0..16 {
        assert_eq!(rig.send(port, caller.check()), Routed::Session(caller.id));
    }
    assert_eq!(rig.endpoint.demux.len(), ADDRESSES_MAX);
    assert_eq!(rig.send(16, caller.check()), Routed::Refused);
    let stats = rig.endpoint.stats();
    assert_eq!((stats.addresses_refused, stats.addresses_evicted), (1, 0));
    rig.now += ADDRESS_HELD;
    assert_eq!(rig.send(16, caller.check()), Routed::Session(caller.id));
    let stats = rig.endpoint.stats();
    assert_eq!((stats.addresses_refused, stats.addresses_evicted), (1, 1));
    assert_eq!(rig.endpoint.demux.len(), ADDRESSES_MAX);
}

#[test]
fn what_was_meant_for_an_earlier_session_never_reaches_the_next_in_its_place() {
    let mut rig = Rig::new();
    let old = rig.connected(1);
    rig.hang_up(&old);
    let new = rig.call();
    assert_eq!((new.id.slot, new.id.generation), (old.id.slot, old.id.generation + 1));
    assert_eq!(rig.send(1, old.check()), Routed::Unroutable);
    assert_eq!(rig.send(1, hello()), Routed::Unroutable);
    assert_eq!(rig.send(1, check(&old.ufrag, &new.pwd)), Routed::Unroutable);
    assert!(rig.endpoint.session(old.id).is_none());
    assert_eq!(rig.endpoint.session(new.id).unwrap().stats().datagrams_received, 0);
}

#[test]
fn a_thousand_sessions_are_told_apart_by_address_and_by_name() {
    let mut rig = Rig::new();
    let callers: Vec<Caller> = (0..1_000).map(|port| rig.connected(port)).collect();
    let mut names: Vec<&String> = callers.iter().map(|caller| &caller.ufrag).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1_000);
    rig.drain();
    for (port, caller) in (0..).zip(&callers) {
        assert_eq!(rig.send(port, hello()), Routed::Session(caller.id));
        assert_eq!(rig.send(port + 1_000, caller.check()), Routed::Session(caller.id));
        let answers: Vec<u16> = std::iter::from_fn(|| rig.endpoint.poll_transmit())
            .map(|transmit| transmit.destination.port())
            .collect();
        assert!(answers.iter().all(|to| *to == port || *to == port + 1_000), "{port} {answers:?}");
        rig.drain();
    }
    assert_eq!(rig.endpoint.len(), 1_000);
}
