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
