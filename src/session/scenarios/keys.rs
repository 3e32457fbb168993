//! Keys of a telephone, both ways.

use super::*;
use crate::AudioOrigin;
use crate::scripted::Tone;
use crate::session::tones::PRESSES_MAX;

const MS: Duration = Duration::from_millis(1);
const KEY: Duration = Duration::from_millis(100);
const GAP: Duration = Duration::from_millis(70);

/// The description with telephone events at this clock.
fn with_keys(clock: &str) -> String {
    let opus = "a=rtpmap:111 opus/48000/2\r\n";
    let keys = format!("{opus}a=rtpmap:110 telephone-event/{clock}\r\n");
    SDP.replace(" 111\r\n", " 111 110\r\n").replace(opus, &keys)
}

fn connected(sdp: &str) -> Rig {
    let mut rig = Rig::offered(sdp);
    rig.session.start(rig.now);
    rig.check();
    rig.send(encode(&[Frame::Hello]));
    rig.events();
    rig
}

/// What was sent of keys and of sound, and when, while time passes.
fn sent(rig: &mut Rig, time: Duration) -> (Vec<(Duration, Tone)>, usize, Vec<Event>) {
    let (start, until) = (rig.now, rig.now + time);
    let (mut tones, mut loud, mut events) = (Vec::new(), 0, Vec::new());
    loop {
        while let Some(transmit) = rig.session.poll_transmit() {
            for frame in decode(&transmit.payload).into_iter().flatten() {
                match frame {
                    Frame::Tone(tone) => tones.push((rig.now - start, tone)),
                    Frame::Media(media) => loud += usize::from(media.level.is_some_and(|it| it.1)),
                    _ => {}
                }
            }
        }
        events.extend(std::iter::from_fn(|| rig.session.poll_event()));
        let Some(due) = rig.session.poll_timeout().filter(|due| *due <= until) else { break };
        rig.now = rig.now.max(due);
        rig.session.handle_timeout(rig.now);
    }
    rig.now = until;
    (tones, loud, events)
}

/// A packet of a press that began at `time`.
fn tone(seq: u64, time: u64, end: bool) -> Tone {
    let ticks = 4_800;
    Tone { line: 0, code: 5, first: false, end, ticks, rate: 48_000, ssrc: 0, seq, time }
}

#[test]
fn keys_are_sent_on_the_time_of_the_sound_which_is_held_back_meanwhile() {
    let mut rig = connected(&with_keys("48000"));
    let id = rig.session.send_audio(AudioFrame::mono(&[9_000; 16_000], 16_000), rig.now).unwrap();
    sent(&mut rig, 200 * MS);
    rig.session.send_dtmf("1#", KEY, GAP, rig.now).unwrap();
    let (tones, loud, events) = sent(&mut rig, 340 * MS);
    let [(first_at, first), (second_at, second)] = tones[..] else { panic!("{tones:?}") };
    assert_eq!((first_at, second_at), (Duration::ZERO, KEY + GAP));
    assert_eq!((first.code, second.code, first.ticks), (1, 11, 4_800));
    assert!(first.first && first.end);
    assert_eq!(second.time - first.time, 170 * 48);
    assert!(first.time >= 180 * 48 && first.time <= 200 * 48, "{}", first.time);
    assert_eq!(loud, 1, "the packet with the fade");
    assert_eq!(events, [Event::DtmfSent]);
    let (_, loud, events) = sent(&mut rig, SECOND);
    assert!(loud >= 39, "{loud} packets of the 40 that were left");
    assert_eq!(events, [Event::AudioFinished { id, samples: 16_000 }]);
    assert_eq!((rig.session.stats().dtmf_sent, rig.session.stats().media_dropped), (2, 0));
}

#[test]
fn sound_that_the_application_holds_back_stays_so_after_keys() {
    let mut rig = connected(&with_keys("48000"));
    rig.session.pause_audio(rig.now);
    let _ = rig.session.send_audio(AudioFrame::mono(&[9_000; 16_000], 16_000), rig.now).unwrap();
    rig.session.send_dtmf("1", KEY, GAP, rig.now).unwrap();
    let (tones, loud, _) = sent(&mut rig, SECOND);
    assert_eq!((tones.len(), loud), (1, 0));
    rig.session.send_dtmf("1", KEY, GAP, rig.now).unwrap();
    sent(&mut rig, 50 * MS);
    rig.session.resume_audio(rig.now);
    assert_eq!(sent(&mut rig, 100 * MS).1, 0, "the key holds it back still");
    assert!(sent(&mut rig, SECOND).1 > 40);
}

#[test]
fn keys_wait_for_the_connection_and_end_with_the_call() {
    let mut rig = Rig::offered(&with_keys("48000"));
    rig.session.start(rig.now);
    rig.session.send_dtmf("123", KEY, GAP, rig.now).unwrap();
    assert_eq!(sent(&mut rig, SECOND).0, []);
    rig.check();
    rig.send(encode(&[Frame::Hello]));
    assert_eq!(sent(&mut rig, 200 * MS).0.len(), 2);
    rig.session.clear_dtmf(rig.now);
    let (tones, _, events) = sent(&mut rig, SECOND);
    assert_eq!((tones.len(), events), (0, vec![Event::DtmfSent]));
    rig.session.send_dtmf("123", KEY, GAP, rig.now).unwrap();
    rig.session.close(rig.now);
    let (tones, _, events) = sent(&mut rig, 10 * SECOND);
    assert_eq!(tones, []);
    assert_eq!(events.iter().filter(|event| **event == Event::DtmfSent).count(), 1);
    assert_eq!(rig.session.send_dtmf("1", KEY, GAP, rig.now), Err(SendError::Closed));
}

#[test]
fn a_reoffer_without_keys_drops_those_that_wait() {
    let mut rig = connected(&with_keys("48000"));
    rig.session.send_dtmf("123", KEY, GAP, rig.now).unwrap();
    sent(&mut rig, 20 * MS);
    rig.offer(SDP).unwrap();
    let (tones, _, events) = sent(&mut rig, SECOND);
    assert_eq!((tones.len(), events), (0, vec![Event::DtmfSent]));
    let refused = rig.session.send_dtmf("1", KEY, GAP, rig.now);
    assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
    rig.offer(&with_keys("48000")).unwrap();
    rig.session.send_dtmf("4", KEY, GAP, rig.now).unwrap();
    assert_eq!(sent(&mut rig, SECOND).0.len(), 1);
}

#[test]
fn a_peer_that_takes_none_or_at_another_clock_is_sent_none() {
    for sdp in [SDP.to_owned(), with_keys("8000")] {
        let mut rig = connected(&sdp);
        let refused = rig.session.send_dtmf("1", KEY, GAP, rig.now);
        assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
    }
}

#[test]
fn a_key_that_the_peer_presses_is_told_once() {
    let mut rig = connected(SDP);
    for packet in [tone(0, 960, false), tone(1, 960, true), tone(2, 960, true)] {
        rig.send(encode(&[Frame::Tone(packet)]));
    }
    let pressed = Event::Dtmf { track: TrackId(0), digit: '5', duration: KEY };
    assert_eq!(rig.events(), std::slice::from_ref(&pressed));
    // Its end is lost.
    rig.send(encode(&[Frame::Tone(tone(3, 96_000, false))]));
    assert_eq!(rig.pass(199 * MS), []);
    assert_eq!(rig.pass(MS), [pressed]);
    assert_eq!(rig.session.stats().dtmf_received, 2);
    rig.send(encode(&[Frame::Tone(Tone { code: 16, ..tone(4, 196_000, true) })]));
    rig.send(encode(&[Frame::Tone(Tone { line: 1, ..tone(4, 296_000, true) })]));
    rig.send(encode(&[Frame::Tone(Tone { line: 200, ..tone(4, 296_000, true) })]));
    assert_eq!(rig.pass(SECOND), []);
    assert_eq!(rig.session.stats().dtmf_ignored, 1);
}

#[test]
fn as_many_presses_wait_to_be_polled_as_allowed_and_one_more_is_dropped() {
    let mut rig = connected(SDP);
    let press = |rig: &mut Rig, number: usize| {
        let time = 9_600 * (number as u64 + 1);
        rig.send(encode(&[Frame::Tone(Tone { first: true, ..tone(number as u64, time, true) })]));
    };
    for number in 0..PRESSES_MAX {
        press(&mut rig, number);
    }
    assert_eq!(rig.session.stats().dtmf_dropped, 0);
    press(&mut rig, PRESSES_MAX);
    assert_eq!(rig.session.stats().dtmf_dropped, 1);
    assert_eq!(rig.events().len(), PRESSES_MAX);
    press(&mut rig, PRESSES_MAX + 1);
    assert_eq!(rig.events().len(), 1);
    assert_eq!(rig.session.stats().dtmf_received, PRESSES_MAX as u64 + 1);
}

/// The numbers of a key's packets are those of the sound: it is no loss, and its time is a pause.
#[test]
fn sound_around_a_key_is_not_taken_to_be_lost() {
    for arrives in [true, false] {
        let mut rig = connected(SDP);
        let (mut origins, mut samples) = (Vec::new(), [0; 960]);
        for seq in 0..40 {
            let is_key = (10..20).contains(&seq);
            if !is_key {
                let data = [b'N', 1, 2, 0, 0, 0, 0, 1, 0, 1, 0];
                rig.send(encode(&[Frame::Media(sound(seq, &data))]));
            } else if arrives {
                rig.send(encode(&[Frame::Tone(tone(seq, 9_600, seq == 19))]));
            }
            rig.pass(20 * MS);
            while let Some(info) = rig.session.recv_audio(TrackId(0), &mut samples) {
                origins.push(info.origin);
            }
        }
        let concealed = origins.iter().filter(|it| **it == AudioOrigin::Concealed).count();
        assert_eq!(concealed > 0, !arrives, "{origins:?}");
    }
}

fn sound(seq: u64, data: &[u8]) -> Media<'_> {
    Media { ssrc: 0, ..Media::whole(Codec::Opus, seq, seq * 960, data) }
}
