//! What both implementations have in common: who is built, and what is printed of them.

use std::time::Instant;

use super::*;

const PWD: &str = "a-password-of-128-bits-00";

fn credentials() -> IceCredentials {
    IceCredentials { ufrag: "AAAAAAAAAAAAAAAAAA00".to_owned(), pwd: PWD.to_owned() }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn the_configuration_decides_which_transport_is_built_and_neither_prints_its_password() {
    let now = Instant::now();
    for scripted in [false, true] {
        let config = Config::new().dangerous().scripted_transport(scripted).done();
        let setup = TransportSetup { credentials: credentials(), public_seed: 1 };
        let text = format!("{:?}", build(&config, setup, now));
        let name = if scripted { "Scripted {" } else { "Real {" };
        assert!(text.starts_with(name), "{text}");
        assert!(text.contains("IceCredentials(AAAAAAAAAAAAAAAAAA00)"), "{text}");
        assert!(!text.contains(PWD), "{text}");
    }
}

#[test]
fn a_received_frame_prints_its_numbers_and_not_its_content() {
    let packet = MediaPacket {
        line: 1,
        codec: Codec::Vp8,
        seq: 7,
        rtp_time: 900,
        ssrc: 5,
        contiguous: true,
        keyframe: false,
        repaired: false,
        level: None,
        data: bytes::Bytes::from_static(b"a picture"),
    };
    assert_eq!(format!("{packet:?}"), "MediaPacket(line 1 Vp8 seq 7 time 900 9 bytes)");
}
