//! How loud sound is, both ways: what a session reads of a packet, and what it writes on one.

use super::*;

/// A packet of sound of 20 ms, as loud as it says.
fn sound(seq: u64, level: Option<(u8, bool)>) -> Vec<u8> {
    let data = [b'N', 1, 2, 0, 0, 0, 0, 0, 16, 0, 16];
    let media = Media { level, ..Media::whole(Codec::Opus, seq, seq * 960, &data) };
    encode(&[Frame::Media(media)])
}

#[test]
fn a_frame_has_the_level_of_its_packet_and_one_without_is_measured() {
    for (level, expected) in [(Some((33, true)), (33, Some(true))), (None, (18, None))] {
        let mut rig = Rig::connected();
        for seq in 0..3 {
            rig.send(sound(seq, level));
        }
        // What the filter gives first rises to what was said.
        let mut samples = [0; 320];
        assert!(rig.session.recv_audio(TrackId(0), &mut samples).is_some());
        let info = rig.session.recv_audio(TrackId(0), &mut samples).expect("a second frame");
        let loud = info.level(&samples);
        assert_eq!((loud.below_full_scale_db, loud.voice), expected);
        assert_eq!(info.sender_level.is_some(), level.is_some());
    }
}

#[test]
fn each_packet_that_goes_out_says_how_loud_it_is_and_whether_somebody_speaks() {
    let levels: Vec<_> = levels_of_a_second_of_sound(Rig::connected()).collect();
    let levels: Vec<_> = levels.into_iter().map(|level| level.expect("each has one")).collect();
    // An eighth of full scale is 18 dB below it; after it silence, which is no voice.
    assert_eq!(levels.iter().filter(|level| **level == (18, true)).count(), 50);
    let silent = levels.iter().filter(|level| **level == (127, false)).count();
    assert!(silent > 20 && silent + 50 == levels.len(), "{levels:?}");
}

#[test]
fn a_peer_that_takes_no_levels_is_told_none() {
    let without: String =
        SDP.split_inclusive('\n').filter(|line| !line.contains("extmap")).collect();
    let rig = Rig::offered(&without).started().connect();
    let levels: Vec<_> = levels_of_a_second_of_sound(rig).collect();
    assert!(levels.len() > 70 && levels.iter().all(Option::is_none), "{levels:?}");
}

/// What the packets say of a second of sound and of the silence after it.
fn levels_of_a_second_of_sound(mut rig: Rig) -> impl Iterator<Item = Option<(u8, bool)>> {
    rig.pass(SECOND);
    let frame = AudioFrame::mono(&[4_096; 24_000], 24_000);
    rig.session.send_audio(frame, rig.now).unwrap();
    let mut levels = Vec::new();
    for _ in 0..100 {
        rig.now = rig.session.poll_timeout().expect("sound goes on").max(rig.now);
        rig.session.handle_timeout(rig.now);
        while rig.session.poll_event().is_some() {}
        while let Some(transmit) = rig.session.poll_transmit() {
            for frame in decode(&transmit.payload).into_iter().flatten() {
                if let Frame::Media(media) = frame {
                    levels.push(media.level);
                }
            }
        }
    }
    levels.into_iter()
}
