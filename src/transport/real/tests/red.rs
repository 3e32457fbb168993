//! Sound that the peer sends twice (RED, RFC 2198).

use std::time::Duration;

use str0m::media::{Frequency, MediaTime, Mid};

use super::pair::{Pair, audio};
use crate::Config;
use crate::transport::{MediaPacket, TransportEvent};

/// Connected with a browser that offers RED.
fn connected(config: &Config) -> (Pair, Mid, String) {
    let mut pair = Pair::with_browser(config, 1, |browser| browser.enable_opus(true, true));
    let answer = pair.negotiate(|api| {
        audio(api);
    });
    pair.run_for(Duration::from_secs(1));
    assert!(pair.events.contains(&TransportEvent::Connected), "{:?}", pair.events);
    let mid = pair.bot.out.lines[0].as_ref().unwrap().mid;
    (pair, mid, answer.answer.sdp().to_owned())
}

/// The browser says packets of 20 ms; those that `arrives` does not name are lost, the others take
/// so many milliseconds more than the rest of the way.
fn speak(pair: &mut Pair, mid: Mid, count: u64, arrives: impl Fn(u64) -> Option<u64>) {
    for frame in 0..count {
        let now = pair.now;
        let before = pair.wire.len();
        pair.browser_do(|rtc| {
            let writer = rtc.writer(mid).unwrap();
            let pt = writer.payload_params().next().unwrap().pt();
            let time = MediaTime::new(frame * 960, Frequency::FORTY_EIGHT_KHZ);
            writer.write(pt, now, time, frame.to_be_bytes().to_vec()).unwrap();
        });
        let is_sound =
            |payload: &[u8]| payload[0] & 0xc0 == 0x80 && !(64..96).contains(&(payload[1] & 0x7f));
        let sent = (before..pair.wire.len()).find(|&at| is_sound(&pair.wire[at].payload));
        let sent = sent.expect("it is sent at once");
        match arrives(frame) {
            Some(late) => pair.wire[sent].at += Duration::from_millis(late),
            None => drop(pair.wire.remove(sent)),
        }
        pair.run_for(Duration::from_millis(20));
    }
    pair.run_for(Duration::from_secs(1));
}

/// Number, the number that it says, and whether it is a copy.
fn heard(pair: &Pair) -> Vec<(u64, u64, bool)> {
    let packets: Vec<&MediaPacket> = pair
        .events
        .iter()
        .filter_map(|event| match event {
            TransportEvent::Media(packet) => Some(packet),
            _ => None,
        })
        .collect();
    let first = packets[0];
    let each = packets.iter().map(|packet| {
        let number = packet.seq - first.seq;
        assert_eq!(packet.rtp_time - first.rtp_time, number * 960);
        assert_eq!((packet.ssrc, packet.line), (first.ssrc, 0));
        let said = u64::from_be_bytes(packet.data[..].try_into().unwrap());
        (number, said, packet.repaired)
    });
    each.collect()
}

#[test]
fn a_lost_packet_comes_with_the_next_one_in_order_and_is_marked() {
    let (mut pair, mid, _) = connected(&Config::new());
    speak(&mut pair, mid, 20, |frame| (![7, 12, 13].contains(&frame)).then_some(0));
    let expected: Vec<_> =
        (0..20).filter(|&at| at != 12).map(|at| (at, at, at == 7 || at == 13)).collect();
    assert_eq!(heard(&pair), expected, "of two in a row the first is gone");
}

#[test]
fn a_packet_that_was_overtaken_by_its_copy_does_not_come_again() {
    let (mut pair, mid, _) = connected(&Config::new());
    speak(&mut pair, mid, 20, |frame| Some(if frame == 7 { 30 } else { 0 }));
    let expected: Vec<_> = (0..20).map(|at| (at, at, at == 7)).collect();
    assert_eq!(heard(&pair), expected);
}

#[test]
fn the_answer_puts_the_copies_first_and_what_goes_out_has_none() {
    let (mut pair, _, answer) = connected(&Config::new());
    let line = answer.lines().find(|line| line.starts_with("m=audio")).unwrap();
    let formats: Vec<&str> = line.split(' ').skip(3).collect();
    let [red, opus] = formats[..] else { panic!("{line}") };
    assert!(answer.contains(&format!("a=rtpmap:{red} red/48000/2\r\n")), "{answer}");
    assert!(answer.contains(&format!("a=fmtp:{red} {opus}/{opus}\r\n")), "{answer}");
    pair.sent.clear();
    pair.bot_speaks(0..10);
    let opus: u8 = opus.parse().unwrap();
    let formats = pair.sent.iter().filter(|sent| sent.payload[0] & 0xc0 == 0x80);
    let formats: Vec<u8> = formats.map(|sent| sent.payload[1] & 0x7f).collect();
    let sound = formats.iter().filter(|format| !(64..96).contains(*format));
    assert!(sound.clone().count() >= 10 && sound.clone().all(|&format| format == opus));
    assert_eq!(pair.browser.media().len(), 10);
}

#[test]
fn whoever_wants_no_copies_does_not_ask_for_them() {
    let (mut pair, mid, answer) = connected(&Config::new().audio_in_redundancy(false));
    assert!(!answer.contains("red/48000"), "{answer}");
    speak(&mut pair, mid, 10, |frame| (frame != 5).then_some(0));
    let expected: Vec<_> = (0..10).filter(|&at| at != 5).map(|at| (at, at, false)).collect();
    assert_eq!(heard(&pair), expected);
}
