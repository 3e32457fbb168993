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
    assert!(!rig.endpoint.is_empty());
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
    let mut rig = Rig::with(Config::new().max_half_open(3).unwrap());
    let mut callers: Vec<Caller> = (0..3).map(|_| rig.call()).collect();
    let full = NegotiateError::Full { limit: 3 };
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
    for (most, half_open, room) in [(3, 256, 3), (1_000, 256, 256), (5, 2, 2)] {
        let config = Config::new().max_sessions(most).max_half_open(half_open).unwrap();
        let mut rig = Rig::with(config);
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
fn a_call_on_its_way_makes_room_for_the_one_that_replaces_it() {
    let mut rig = Rig::with(Config::new().max_half_open(9).unwrap());
    let callers: Vec<Caller> = (0..9).map(|_| rig.call()).collect();
    let (new, _) = rig.endpoint.replace(callers[7].id, &offer(), rig.now).unwrap();
    let full = NegotiateError::Full { limit: 9 };
    assert_eq!(rig.try_call(), Err(full), "until the old one's end was polled and after it");
    rig.drain();
    assert_eq!(rig.endpoint.half_open, 9);
    assert!(rig.endpoint.session_ids().contains(&new));
}

#[test]
fn a_connected_call_makes_no_room_among_those_on_their_way() {
    let mut rig = Rig::with(Config::new().max_half_open(9).unwrap());
    let old = rig.connected(1);
    for _ in 0..9 {
        rig.call();
    }
    let full = NegotiateError::Full { limit: 9 };
    let refused = rig.endpoint.replace(old.id, &offer(), rig.now).map(|(id, _)| id);
    assert_eq!(refused, Err(full));
    assert_eq!(rig.state(&old), Some(ConnectionState::Connected), "and stays");
}

#[test]
fn however_many_sessions_are_configured_every_one_has_a_slot_that_a_ufrag_can_name() {
    let rig = Rig::with(Config::new().max_sessions(usize::MAX));
    assert_eq!(rig.endpoint.sessions_max(), Ufrag::SLOTS as usize - 1);
    let rig = Rig::with(Config::new().max_sessions(5));
    assert_eq!(rig.endpoint.sessions_max(), 5);
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

#[test]
fn a_lent_session_does_what_a_session_does() {
    let mut rig = Rig::with(Config::new().dangerous().null_codec(true).done());
    let media = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:2\r\na=rtpmap:96 VP8/90000\r\n";
    let both = Offer::parse(&format!("{SDP}{media}")).unwrap();
    let (id, _) = rig.endpoint.accept(&both, rig.now).unwrap();
    let now = rig.now;
    let mut guard = rig.endpoint.session(id).unwrap();
    let [sound, picture] = guard.tracks() else { panic!("two tracks: {:?}", guard.tracks()) };
    let (sound, picture) = (sound.id, picture.id);
    assert_eq!(guard.send_codec(sound), Some(crate::Codec::Opus));
    assert_eq!(guard.send_codec(picture), Some(crate::Codec::Vp8));
    assert_eq!(format!("{guard:?}"), format!("SessionGuard({id})"));

    let piece = guard.send_audio(crate::AudioFrame::mono(&[1; 160], 16_000), now).unwrap();
    let cleared = guard.clear_audio(now);
    assert_eq!(cleared.pieces.iter().map(|piece| piece.id).collect::<Vec<_>>(), [piece]);
    let empty = crate::EncodedFrame::new(crate::Codec::Vp8, Duration::ZERO, true, Bytes::new());
    assert_eq!(guard.send_encoded(picture, empty, now), Err(crate::SendError::Empty));
    assert_eq!(guard.recv_encoded(picture), None);
    assert_eq!(guard.recv_audio(sound, &mut [0; 160]), None);
    let asked = guard.stats().keyframes_requested;
    guard.request_keyframe(picture, now);
    assert_eq!(guard.stats().keyframes_requested, asked + 1);

    guard.hold_events(true);
    drop(guard);
    assert_eq!(rig.drain(), [], "they are held");
    rig.endpoint.session(id).unwrap().hold_events(false);
    assert!(!rig.drain().is_empty());

    let mut guard = rig.endpoint.session(id).unwrap();
    guard.request_renegotiation(now);
    let waits = guard.send_message(crate::Message::text("for the channel"), now);
    assert_eq!(waits, Ok(crate::Delivery::Queued));
}

#[test]
fn what_arrives_is_read_through_a_lent_session() {
    let config = Config::new().audio_out_encoded();
    let mut rig = Rig::with(config);
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
    let both = Offer::parse(&format!("{SDP}{video}")).unwrap();
    let (id, answer) = rig.endpoint.accept(&both, rig.now).unwrap();
    let value = |name: &str| {
        let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        line.expect("answers have credentials").to_owned()
    };
    let here = Routed::Session(id);
    assert_eq!(rig.send(1, check(&value("a=ice-ufrag:"), &value("a=ice-pwd:"))), here);
    assert_eq!(rig.send(1, hello()), here);
    rig.endpoint.session(id).unwrap().request_renegotiation(rig.now);
    let open = Chunk { number: 0, channel: 1, content: Content::Open, data: b"chat" };
    assert_eq!(rig.send(1, encode(&[Frame::Chunk(open)])), here);
    let sent: Vec<u8> =
        std::iter::from_fn(|| rig.endpoint.poll_transmit()).flat_map(|sent| sent.payload).collect();
    let wish = crate::message::RENEGOTIATE.as_bytes();
    assert!(sent.windows(wish.len()).any(|part| part == wish), "the wish went out");
    let picture = Media { line: 1, ..Media::whole(crate::Codec::Vp8, 0, 0, b"picture") };
    assert_eq!(rig.send(1, encode(&[Frame::Media(picture)])), here);
    let mut guard = rig.endpoint.session(id).unwrap();
    let frame = guard.recv_encoded(guard.tracks()[0].id).expect("it arrived");
    assert_eq!(frame.data, b"picture"[..]);
}
