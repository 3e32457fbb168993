//! How sessions come and go, and what the limits do.

use super::*;
use crate::CloseReason;

fn closed(id: SessionId, reason: CloseReason) -> (SessionId, Event) {
    (id, Event::Closed { reason })
}

#[test]
fn a_session_that_was_closed_and_polled_leaves_nothing_behind() {
    let mut rig = Rig::new();
    let callers = [rig.connected(1), rig.call(), rig.connected(3)];
    for caller in &callers {
        rig.endpoint.session(caller.id).unwrap().close(rig.now);
    }
    assert_eq!(rig.endpoint.len(), 3, "until Closed was polled");
    let events = rig.drain();
    for caller in &callers {
        let own: Vec<_> = events.iter().filter(|(id, _)| *id == caller.id).collect();
        assert_eq!(**own.last().unwrap(), closed(caller.id, CloseReason::Application));
    }
    rig.assert_nothing_is_left();
    assert_eq!(rig.endpoint.stats().sessions_accepted, 3);
    assert_eq!(rig.endpoint.stats().sessions_closed, 3);
}

#[test]
fn the_last_datagrams_are_sent_although_closed_was_polled_first() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    rig.drain();
    rig.endpoint.session(caller.id).unwrap().close(rig.now);
    while rig.endpoint.poll_event().is_some() {}
    assert!(rig.endpoint.is_empty());
    assert!(rig.endpoint.session(caller.id).is_none());
    assert!(rig.endpoint.poll_timeout().is_some_and(|due| due <= rig.now), "there is output");
    let last = rig.endpoint.poll_transmit().expect("the goodbye");
    assert_eq!(last.payload, encode(&[Frame::Goodbye]));
    rig.assert_nothing_is_left();
}

#[test]
fn a_session_that_nobody_polls_for_keeps_its_place_and_no_more() {
    let mut rig = Rig::with(Config::new().max_sessions(1));
    let caller = rig.connected(1);
    rig.endpoint.session(caller.id).unwrap().close(rig.now);
    assert_eq!(rig.try_call(), Err(NegotiateError::Full { limit: 1 }));
    rig.drain();
    rig.call();
}

#[test]
fn silence_ends_every_session_by_timeouts_alone() {
    let mut rig = Rig::new();
    rig.connected(1);
    rig.call();
    let limit = rig.now + Duration::from_secs(61);
    while let Some(deadline) = rig.endpoint.poll_timeout() {
        rig.now = rig.now.max(deadline);
        assert!(rig.now <= limit);
        rig.endpoint.handle_timeout(rig.now);
        rig.drain();
    }
    rig.assert_nothing_is_left();
}

#[test]
fn as_many_sessions_as_configured_are_accepted_and_one_more_is_not() {
    let mut rig = Rig::with(Config::new().max_sessions(3));
    let callers: Vec<Caller> = (0..3).map(|_| rig.call()).collect();
    assert_eq!(rig.try_call(), Err(NegotiateError::Full { limit: 3 }));
    assert_eq!(rig.endpoint.stats().sessions_refused, 1);
    assert_eq!(rig.endpoint.len(), 3);
    rig.hang_up(&callers[1]);
    rig.call();
    assert_eq!(rig.try_call(), Err(NegotiateError::Full { limit: 3 }));
}

#[test]
fn as_many_calls_as_allowed_are_on_their_way_and_one_more_is_not() {
    let mut rig = Rig::new();
    let mut callers: Vec<Caller> = (0..Endpoint::HALF_OPEN_MAX).map(|_| rig.call()).collect();
    let full = NegotiateError::Full { limit: Endpoint::HALF_OPEN_MAX };
    assert_eq!(rig.try_call(), Err(full.clone()));
    // One that connects makes room, and so does one that leaves.
    let first = callers.remove(0);
    assert_eq!(rig.send(1, first.check()), Routed::Session(first.id));
    assert_eq!(rig.send(1, hello()), Routed::Session(first.id));
    rig.call();
    assert_eq!(rig.try_call(), Err(full.clone()));
    rig.hang_up(&callers.remove(0));
    rig.call();
    assert_eq!(rig.try_call(), Err(full));
    assert_eq!(rig.endpoint.stats().sessions_refused, 3);
}

#[test]
fn the_room_that_an_endpoint_tells_of_is_what_it_accepts() {
    for (most, room) in [(3, 3), (1_000, Endpoint::HALF_OPEN_MAX)] {
        let mut rig = Rig::with(Config::new().max_sessions(most));
        for left in (0..room).rev() {
            rig.call();
            assert_eq!(rig.endpoint.room(), left);
        }
        assert!(rig.try_call().is_err());
    }
    let mut rig = Rig::new();
    rig.endpoint.close(rig.now);
    assert_eq!(rig.endpoint.room(), 0);
}

#[test]
fn without_a_local_candidate_nothing_is_accepted() {
    let mut rig = Rig::new();
    rig.endpoint.local_candidates.clear();
    assert_eq!(rig.try_call(), Err(NegotiateError::NoLocalCandidate));
    rig.assert_nothing_is_left();
}

#[test]
fn an_offer_that_cannot_be_answered_leaves_nothing() {
    let mut rig = Rig::new();
    let useless = SDP.replace("m=application 9 UDP/DTLS/SCTP", "m=image 9 udptl");
    let offer = Offer::parse(&useless).unwrap();
    let refused = rig.endpoint.accept(&offer, rig.now).map(|(id, _)| id);
    assert_eq!(refused, Err(NegotiateError::NoUsableMedia));
    rig.assert_nothing_is_left();
    assert_eq!(rig.call().id, SessionId { slot: 0, generation: 0 });
}

#[test]
fn a_replaced_session_is_closed_and_the_new_one_stands() {
    let mut rig = Rig::with(Config::new().max_sessions(1));
    let old = rig.connected(1);
    rig.drain();
    let (new, _) = rig.endpoint.replace(old.id, &offer(), rig.now).unwrap();
    assert_ne!(new, old.id);
    // Both are there until the old one's end was polled; a third is not.
    assert_eq!(rig.try_call(), Err(NegotiateError::Full { limit: 1 }));
    let events = rig.drain();
    assert!(events.contains(&closed(old.id, CloseReason::Replaced)), "{events:?}");
    assert_eq!(rig.endpoint.session_ids(), [new]);
    // The old one is gone, so it makes no room any more.
    let again = rig.endpoint.replace(old.id, &offer(), rig.now).map(|(id, _)| id);
    assert_eq!(again, Err(NegotiateError::Full { limit: 1 }));
}

#[test]
fn a_replacement_that_fails_leaves_the_old_session_as_it_was() {
    let mut rig = Rig::new();
    let old = rig.connected(1);
    rig.drain();
    let useless = SDP.replace("m=application 9 UDP/DTLS/SCTP", "m=image 9 udptl");
    let offer = Offer::parse(&useless).unwrap();
    assert!(rig.endpoint.replace(old.id, &offer, rig.now).is_err());
    assert_eq!(rig.state(&old), Some(ConnectionState::Connected));
    assert_eq!(rig.drain(), []);
    assert_eq!(rig.endpoint.session_ids(), [old.id]);
}

#[test]
fn a_closed_endpoint_ends_its_sessions_and_accepts_none() {
    let mut rig = Rig::new();
    let callers = [rig.connected(1), rig.call()];
    rig.endpoint.close(rig.now);
    assert_eq!(rig.try_call(), Err(NegotiateError::Closed));
    let events = rig.drain();
    for caller in callers {
        assert!(events.contains(&closed(caller.id, CloseReason::Application)));
    }
    rig.assert_nothing_is_left();
}

#[test]
fn local_candidates_count_once_and_up_to_the_limit() {
    let mut rig = Rig::new();
    let candidate =
        |port| LocalCandidate::host(TransportId(1), SocketAddr::from(([198, 51, 100, 2], port)));
    for port in 1..20 {
        rig.endpoint.add_local_candidate(candidate(port));
        rig.endpoint.add_local_candidate(candidate(1));
    }
    assert_eq!(rig.endpoint.local_candidates().len(), Endpoint::LOCAL_CANDIDATES_MAX);
    assert_eq!(rig.endpoint.stats().local_candidates_refused, 4);
    let (_, answer) = rig.endpoint.accept(&offer(), rig.now).unwrap();
    let lines = answer.sdp().lines().filter(|line| line.starts_with("a=candidate:")).count();
    assert_eq!(lines, Endpoint::LOCAL_CANDIDATES_MAX);
}

#[test]
fn one_seed_gives_the_same_sessions_and_another_seed_others() {
    let names = |seed| {
        let mut rig = Rig::new();
        rig.endpoint.entropy = Entropy::new(&Seed::from_number(seed));
        [rig.call(), rig.call()]
    };
    assert_eq!(names(5), names(5));
    assert_ne!(names(5), names(6));
}

#[test]
fn a_place_that_was_used_more_often_than_a_ufrag_can_count_still_works() {
    let mut rig = Rig::new();
    let first = rig.call();
    rig.hang_up(&first);
    rig.endpoint.calls.skip_to(0, Ufrag::GENERATIONS + 7);
    let late = rig.connected(1);
    assert_eq!(late.id.generation, Ufrag::GENERATIONS + 7);
    assert_eq!(Ufrag::parse(late.ufrag.as_bytes()).unwrap().generation, 7);
}
