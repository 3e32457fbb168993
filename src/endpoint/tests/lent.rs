//! Sound that is read through a lent session.

use super::*;
use crate::{AudioInfo, AudioOrigin, TrackId};

#[test]
fn sound_that_arrived_is_read_through_a_lent_session_until_there_is_none_left() {
    let mut rig = Rig::with(Config::new().dangerous().null_codec(true).done());
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\n";
    let both = Offer::parse(&format!("{SDP}{audio}")).unwrap();
    let (id, answer) = rig.endpoint.accept(&both, rig.now).unwrap();
    let value = |name: &str| {
        let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        line.expect("answers have credentials").to_owned()
    };
    let here = Routed::Session(id);
    assert_eq!(rig.send(1, check(&value("a=ice-ufrag:"), &value("a=ice-pwd:"))), here);
    assert_eq!(rig.send(1, hello()), here);
    let data = [b'N', 1, 2, 0, 0, 0, 0, 1, 0, 1, 0];
    let packet = Media { line: 1, ..Media::whole(crate::Codec::Opus, 0, 0, &data) };
    assert_eq!(rig.send(1, encode(&[Frame::Media(packet)])), here);

    let mut guard = rig.endpoint.session(id).unwrap();
    let mut samples = [0; 100];
    let mut read = Vec::new();
    let sound = TrackId(1);
    while let Some(AudioInfo { samples: len, origin, .. }) = guard.recv_audio(sound, &mut samples) {
        assert!((1..=100).contains(&len), "{len}");
        assert_eq!(origin, AudioOrigin::Decoded);
        read.extend_from_slice(&samples[..len]);
        assert!(read.len() <= 320, "sound without end");
    }
    // 20 ms at 16 kHz, less what the filter holds back.
    assert!(read.len() > 200, "{}", read.len());
    assert!(read.contains(&1));
}
