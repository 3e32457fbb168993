//! What a later offer brings.

use super::*;

/// The description without its first line, and that line.
fn without_sound() -> (String, String) {
    let (start, end) = (SDP.find("m=audio").unwrap(), SDP.find("m=video").unwrap());
    (format!("{}{}", &SDP[..start], &SDP[end..]), SDP[start..end].to_owned())
}

fn packets_of_sound(rig: &mut Rig) -> usize {
    let mut packets = 0;
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        rig.session.handle_timeout(rig.now);
        while let Some(transmit) = rig.session.poll_transmit() {
            let frames = decode(&transmit.payload).into_iter().flatten();
            packets += frames.filter(|frame| matches!(frame, Frame::Media(_))).count();
        }
    }
    packets
}

#[test]
fn sound_that_a_later_offer_brings_to_a_connected_call_goes_out_at_once() {
    let (silent, sound) = without_sound();
    let mut rig = Rig::offered(&silent);
    rig.session.start(rig.now);
    rig.check();
    rig.send(encode(&[Frame::Hello]));
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert_eq!(packets_of_sound(&mut rig), 0);
    let sound = sound.replace("a=mid:0", "a=mid:3");
    rig.offer(&format!("{silent}{sound}")).unwrap();
    assert_eq!(packets_of_sound(&mut rig), 51, "one at once, then one each 20 ms");
}

#[test]
fn no_sound_is_made_before_the_call_is_connected() {
    let mut rig = Rig::new();
    assert_eq!(packets_of_sound(&mut rig), 0);
    let stats = rig.session.stats();
    assert_eq!((stats.audio_packets_sent, stats.media_dropped), (0, 0));
}

#[test]
fn sound_that_a_reoffer_stops_is_told_of_and_takes_no_place_afterwards() {
    let mut rig = Rig::connected();
    let held = SDP.replacen("a=sendrecv", "a=sendonly", 1);
    let block = [1000; 160];
    let mut ids = Vec::new();
    for round in 0..4 {
        for _ in 0..5_000 {
            let id = rig.session.send_audio(AudioFrame::mono(&block, 16_000), rig.now);
            ids.push(id.unwrap_or_else(|error| panic!("round {round}: {error}")));
        }
        rig.offer(&held).unwrap();
        let refused = rig.session.send_audio(AudioFrame::mono(&block, 16_000), rig.now);
        assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
        let finished =
            rig.events().into_iter().filter(|e| matches!(e, Event::AudioFinished { .. }));
        assert_eq!(finished.count(), 5_000);
        rig.offer(SDP).unwrap();
    }
    assert!(ids.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "ids rise by one");
}

#[test]
fn a_wish_whose_offer_was_refused_can_be_said_again_and_one_that_waits_is_said_once() {
    let renamed = SDP.replace("a=mid:0", "a=mid:9");
    for opens_first in [true, false] {
        let mut rig = Rig::connected();
        if opens_first {
            rig.chunk(Content::Open, b"chat");
        }
        let mut wishes = Vec::new();
        for _ in 0..3 {
            rig.session.request_renegotiation(rig.now);
            wishes.extend(rig.messages());
            rig.acknowledge();
            assert!(rig.offer(&renamed).is_err());
        }
        if !opens_first {
            rig.chunk(Content::Open, b"chat");
            wishes.extend(rig.messages());
        }
        assert!(wishes.iter().all(|wish| wish.contains("renegotiate")), "{wishes:?}");
        assert_eq!(wishes.len(), if opens_first { 3 } else { 1 });
    }
}

/// The ids that are told as begun, and those that are told as finished with what went out.
fn told_of_sound(events: &[Event]) -> (Vec<u64>, Vec<(u64, u64)>) {
    let begun = events.iter().filter_map(|event| match event {
        Event::AudioStarted { id } => Some(id.0),
        _ => None,
    });
    let finished = events.iter().filter_map(|event| match event {
        Event::AudioFinished { id, samples } => Some((id.0, *samples)),
        _ => None,
    });
    (begun.collect(), finished.collect())
}

#[test]
fn a_piece_begins_before_it_finishes_and_never_when_it_was_dropped_whole() {
    let mut rig = Rig::connected();
    for _ in 0..4 {
        rig.session.send_audio(AudioFrame::mono(&[1000; 1600], 16_000), rig.now).unwrap();
    }
    let events = rig.pass(Duration::from_millis(150));
    let finished = |event: &Event| matches!(event, Event::AudioFinished { .. });
    let first = events.iter().position(finished).unwrap();
    assert!(events[..first].contains(&Event::AudioStarted { id: crate::AudioId(0) }));
    assert_eq!(told_of_sound(&events), (vec![0, 1], vec![(0, 1600)]));
    let cleared = rig.session.clear_audio(rig.now);
    let sent: Vec<_> = cleared.pieces.iter().map(|piece| (piece.id.0, piece.sent > 0)).collect();
    assert_eq!(sent, [(1, true), (2, false), (3, false)]);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![]));

    rig.session.send_audio(AudioFrame::mono(&[1000; 1600], 16_000), rig.now).unwrap();
    rig.session.send_audio(AudioFrame::mono(&[1000; 1600], 16_000), rig.now).unwrap();
    rig.pass(Duration::from_millis(30));
    rig.session.close(rig.now);
    let (begun, finished) = told_of_sound(&rig.events());
    assert_eq!((begun.len(), finished.len()), (0, 2), "the last one never began");
    assert_eq!(finished[1], (5, 0));
}

#[test]
fn beginnings_that_nobody_polls_keep_their_places_through_clears() {
    let mut rig = Rig::connected();
    // A clear frees the place of the end alone of each piece that has begun.
    let refused = loop {
        let sent = rig.session.send_audio(AudioFrame::mono(&[1; 320], 16_000), rig.now);
        if let Err(refused) = sent {
            break refused;
        }
        rig.now += Duration::from_millis(20);
        rig.check();
        rig.session.handle_timeout(rig.now);
        while rig.session.poll_transmit().is_some() {}
        let _ = rig.session.clear_audio(rig.now);
    };
    assert_eq!(refused, SendError::QueueFull { limit: 8_192, wait: None });
    let (begun, finished) = told_of_sound(&rig.events());
    let waited = begun.len() + finished.len();
    assert!((2 * 8_192 - 1..=2 * 8_192).contains(&waited), "{waited}");
    rig.session.send_audio(AudioFrame::mono(&[1; 320], 16_000), rig.now).unwrap();
}

#[test]
fn a_pause_holds_over_a_reoffer_and_takes_no_sound_from_a_piece() {
    let mut rig = Rig::connected();
    let held = SDP.replacen("a=sendrecv", "a=sendonly", 1);
    let send = |rig: &mut Rig| {
        rig.session.send_audio(AudioFrame::mono(&[1000; 3200], 16_000), rig.now).unwrap();
    };
    send(&mut rig);
    rig.pass(Duration::from_millis(50));
    rig.session.pause_audio(rig.now);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![]));
    rig.session.resume_audio(rig.now);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![(0, 3200)]));

    rig.session.pause_audio(rig.now);
    rig.offer(&held).unwrap();
    rig.offer(SDP).unwrap();
    send(&mut rig);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![]), "the pause goes on");
    rig.check();
    rig.session.resume_audio(rig.now);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![1], vec![(1, 3200)]));

    rig.session.pause_audio(rig.now);
    send(&mut rig);
    rig.session.close(rig.now);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![(2, 0)]), "the end is told of");
}

#[test]
fn a_pause_from_before_the_call_holds_when_it_connects() {
    let mut rig = Rig::new();
    rig.session.pause_audio(rig.now);
    rig.check();
    rig.send(encode(&[Frame::Hello]));
    rig.session.send_audio(AudioFrame::mono(&[1000; 320], 16_000), rig.now).unwrap();
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![], vec![]));
    rig.session.resume_audio(rig.now);
    assert_eq!(told_of_sound(&rig.pass(SECOND)), (vec![0], vec![(0, 320)]));
}

#[test]
fn the_encoder_expects_the_loss_that_the_peer_reports_if_the_peer_can_repair_it() {
    let opus = "a=rtpmap:111 opus/48000/2\r\n";
    let repairs = SDP.replace(opus, &format!("{opus}a=fmtp:111 minptime=10;useinbandfec=1\r\n"));
    let cannot = repairs.replace("useinbandfec=1", "useinbandfec=0");
    let told = |rig: &Rig| rig.session.sender.as_ref().unwrap().told_loss();
    let mut rig = Rig::connected();
    for _ in 0..5 {
        rig.send(encode(&[Frame::Report { rtt_ms: 80, lost_per_mille: 100, jitter_ms: 7 }]));
    }
    assert_eq!(told(&rig), 0, "the offer does not speak of it");
    for (sdp, percent) in [(&*repairs, 10), (&cannot, 0), (&repairs, 10), (SDP, 0)] {
        rig.offer(sdp).unwrap();
        assert_eq!(told(&rig), percent, "{sdp}");
    }
    rig.offer(&repairs).unwrap();
    for _ in 0..30 {
        rig.send(encode(&[Frame::Report { rtt_ms: 80, lost_per_mille: 0, jitter_ms: 7 }]));
    }
    assert_eq!(told(&rig), 0);
}

#[test]
fn reports_confirm_what_was_sent_and_a_clear_tells_how_far_it_came() {
    let mut rig = Rig::connected();
    let send = |rig: &mut Rig| {
        rig.session.send_audio(AudioFrame::mono(&[1000; 16_000], 16_000), rig.now).unwrap()
    };
    let (first, second) = (send(&mut rig), send(&mut rig));
    let progress = |rig: &Rig, id| {
        let told = rig.session.audio_progress(id).map(|p| (p.sent, p.confirmed, p.played_estimate));
        told.expect("the piece is known")
    };
    assert_eq!(rig.session.audio_progress(crate::AudioId(2)), None);
    assert_eq!(progress(&rig, second), (0, 0, 0));
    rig.send(encode(&[Frame::Report { rtt_ms: 40, lost_per_mille: 0, jitter_ms: 7 }]));
    rig.pass(Duration::from_millis(500));
    let (sent, confirmed, played) = progress(&rig, first);
    // What the filter keeps back, and what lies on the way: 20 ms, 80 ms, and the packet.
    assert!((7_900..=8_320).contains(&sent) && confirmed == 0, "{sent} {confirmed}");
    assert!((sent - 2_240..=sent - 1_600).contains(&played), "{sent} {played}");

    let packets = u32::try_from(rig.session.stats().audio_packets_sent).unwrap();
    rig.send(encode(&[Frame::Arrived { line: 0, packets: packets - 5 }]));
    assert_eq!(progress(&rig, first), (sent, sent - 1_600, played));
    // More than was sent, and another line's.
    rig.send(encode(&[Frame::Arrived { line: 0, packets: packets + 1 }]));
    rig.send(encode(&[Frame::Arrived { line: 1, packets: 1 }]));
    rig.send(encode(&[Frame::Arrived { line: 99, packets: 1 }]));
    assert_eq!(progress(&rig, first), (sent, sent - 1_600, played));

    let cleared = rig.session.clear_audio(rig.now);
    let piece = cleared.pieces[0];
    assert_eq!((piece.confirmed, piece.played_estimate), (sent - 1_600, played));
    assert_eq!((piece.sent + piece.dropped, cleared.pieces[1].confirmed), (16_000, 0));
    rig.pass(SECOND);
    let packets = u32::try_from(rig.session.stats().audio_packets_sent).unwrap();
    rig.send(encode(&[Frame::Arrived { line: 0, packets }]));
    assert_eq!(progress(&rig, first), (piece.sent, piece.sent, piece.sent), "the fade included");
    assert_eq!(rig.session.audio_progress(second), None, "nothing of it was sent");
    rig.pass(5 * SECOND);
    rig.check();
    rig.pass(5 * SECOND);
    assert_eq!(rig.session.audio_progress(first), None, "it is long over");
}
