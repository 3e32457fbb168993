//! Words of the script that no engine would say on its own.

use super::*;

#[test]
fn the_script_loses_and_finds_ice_and_each_change_is_told_once() {
    let mut bench = Bench::connected();
    assert_eq!(bench.say(&[Frame::IceFound]), [], "it was not lost");
    assert_eq!(
        bench.say(&[Frame::IceLost, Frame::IceLost, Frame::IceFound]),
        [TransportEvent::IceDisconnected, TransportEvent::IceConnected]
    );
}

#[test]
fn a_fault_is_told_with_its_words_also_before_keys_are_there() {
    let fault = TransportEvent::Fault("out of order".to_owned());
    assert_eq!(
        Bench::connected().say(&[Frame::Fault("out of order")]),
        std::slice::from_ref(&fault)
    );
    let mut bench = Bench::new();
    assert!(bench.check("bot", "198.51.100.1:5000").authenticated);
    assert_eq!(
        bench.say(&[Frame::Fault("out of order"), Frame::Goodbye, Frame::Keyframe { line: 1 }]),
        [TransportEvent::IceConnected, fault],
        "what would be encrypted is dropped"
    );
}

#[test]
fn a_keyframe_is_asked_for_on_lines_of_pictures_only() {
    let mut bench = Bench::connected();
    let ask = |line| Frame::Keyframe { line };
    assert_eq!(
        bench.say(&[ask(0), ask(1), ask(2), ask(9)]),
        [TransportEvent::KeyframeRequest(1)],
        "sound, data and what is no line have none"
    );
}

#[test]
fn lines_are_answered_with_the_other_sides_view_of_their_direction() {
    for (theirs, ours) in [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ] {
        let mut bench = Bench::new();
        let offer = OFFER.replace("a=mid:0\r\n", &format!("a=mid:0\r\na={theirs}\r\n"));
        let offer = Offer::parse(&offer).unwrap();
        let negotiated = bench.transport.accept_offer(&offer, credentials("new"), bench.now);
        let answer = negotiated.unwrap().answer.sdp().to_owned();
        assert!(answer.contains(&format!("a=mid:0\r\na={ours}\r\n")), "{theirs}: {answer}");
    }
}
