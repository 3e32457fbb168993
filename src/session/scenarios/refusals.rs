//! What a session does not take from its application, and what it says then.

use super::*;
use crate::transport::TRANSMIT_BYTES_MAX;
use crate::{CandidateError, Codec, SendError};

fn frame(codec: Codec, time: Duration, len: usize) -> EncodedFrame {
    EncodedFrame::new(codec, time, true, vec![7; len].into())
}

/// A connected session that is given sound as coded packets.
fn coded() -> Rig {
    let config = Config::new().audio_out_encoded().dangerous().null_codec(true).done();
    Rig::with(config, SDP).started().connect()
}

#[test]
fn a_coded_frame_is_refused_with_what_is_wrong_about_it() {
    let mut rig = Rig::connected();
    let mut refused = |track, codec, len| {
        let frame = frame(codec, Duration::ZERO, len);
        rig.session.send_encoded(TrackId(track), frame, rig.now).unwrap_err().to_string()
    };
    let video = "expected a video track, or audio with Config::audio_out_encoded";
    assert_eq!(refused(0, Codec::Opus, 9), format!("track 0 does not send this: {video}"));
    let none = "does not send this: expected a track that this side sends on";
    assert_eq!(refused(2, Codec::Vp8, 9), format!("track 2 {none}"));
    assert_eq!(refused(9, Codec::Vp8, 9), format!("track 9 {none}"));
    let codec = "codec: 0 (expected the codec that Session::send_codec names)";
    assert_eq!(refused(1, Codec::H264, 9), codec);
    assert_eq!(refused(1, Codec::Vp8, 0), "empty: send at least one byte or sample");
    assert_eq!(rig.session.stats().media_dropped, 0, "nothing of it was tried");
    rig.session.close(rig.now);
    let picture = frame(Codec::Vp8, Duration::ZERO, 9);
    assert_eq!(rig.session.send_encoded(TrackId(1), picture, rig.now), Err(SendError::Closed));
}

#[test]
fn sound_that_is_given_coded_goes_out_as_it_is_and_pcm_is_refused() {
    let mut rig = coded();
    let packet = frame(Codec::Opus, Duration::from_millis(20), 60);
    assert_eq!(rig.session.send_encoded(TrackId(0), packet, rig.now), Ok(()));
    let sent = rig.session.poll_transmit().unwrap();
    let frames = decode(&sent.payload).unwrap();
    let [Frame::Media(media)] = &frames[..] else { panic!("a packet of sound: {frames:?}") };
    assert_eq!((media.line, media.codec, media.time), (0, Codec::Opus, 960));
    assert_eq!((media.data, media.level), (&[7; 60][..], None));
    let pcm = rig.session.send_audio(AudioFrame::mono(&[1; 160], 16_000), rig.now);
    assert!(matches!(pcm, Err(SendError::NoTrack { .. })), "{pcm:?}");
    assert_eq!(rig.session.stats().encoded_sent, 1);
}

#[test]
fn pictures_are_refused_while_nobody_takes_the_datagrams_and_go_again_afterwards() {
    let mut rig = Rig::connected();
    let step = Duration::from_millis(40);
    let mut sent = 0;
    let refused = loop {
        let picture = frame(Codec::Vp8, sent * step, 10_000);
        match rig.session.send_encoded(TrackId(1), picture, rig.now) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100, "far more than the limit is taken");
    };
    assert_eq!(refused, SendError::QueueFull { limit: TRANSMIT_BYTES_MAX, wait: None });
    let mut waiting = 0;
    while let Some(transmit) = rig.session.poll_transmit() {
        waiting += transmit.payload.len();
    }
    assert!(waiting <= TRANSMIT_BYTES_MAX, "{waiting}");
    assert!(waiting > TRANSMIT_BYTES_MAX - 12_000, "{waiting}: the room is used");
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_sent, stats.media_dropped), (u64::from(sent), 1));
    let picture = frame(Codec::Vp8, sent * step, 10_000);
    assert_eq!(rig.session.send_encoded(TrackId(1), picture, rig.now), Ok(()));
}

#[test]
fn sixteen_addresses_of_ours_are_taken_and_none_more_nor_one_after_the_end() {
    let now = epoch();
    let config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
    let mut session = Session::new(config.shared(), Seed::from_number(1), now);
    let offer = Offer::parse(SDP).unwrap();
    assert_eq!(session.accept_offer(&offer, now), Err(NegotiateError::NoLocalCandidate));
    let add = |session: &mut Session, port| {
        let address = SocketAddr::from(([192, 0, 2, 1], port));
        session.add_local_candidate(LocalCandidate::host(TransportId(0), address), now)
    };
    for port in 1..=16 {
        assert_eq!(add(&mut session, port), Ok(()));
    }
    assert_eq!(add(&mut session, 17), Err(CandidateError::TooMany { limit: 16 }));
    let answer = session.accept_offer(&offer, now).unwrap();
    // Each m-line repeats them.
    let told = answer.sdp().lines().filter(|line| line.starts_with("a=candidate:"));
    assert_eq!(told.collect::<std::collections::BTreeSet<_>>().len(), 16);
    session.close(now);
    assert_eq!(add(&mut session, 18), Err(CandidateError::Closed));
    assert_eq!(session.accept_offer(&offer, now), Err(NegotiateError::Closed));
    let remote = RemoteCandidate::EndOfCandidates;
    assert_eq!(session.add_remote_candidate(&remote, now), Err(CandidateError::Closed));
    let message = session.send_message(Message::text("late"), now);
    assert_eq!(message, Err(SendError::Closed));
    let sound = session.send_audio(AudioFrame::mono(&[1; 160], 16_000), now);
    assert_eq!(sound, Err(SendError::Closed));
}
