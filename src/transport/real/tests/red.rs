//! Sound that the peer sends twice (RED, RFC 2198).

use std::time::Duration;

use str0m::media::{Frequency, MediaTime, Mid};

use super::pair::{Pair, audio, frame_of};
use crate::transport::real::negotiate::Settings;
use crate::transport::{
    MediaPacket, MediaWrite, MediaWritten, Negotiated, NegotiatedLine, Transport, TransportEvent,
};
use crate::{Config, Redundancy};

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

/// The payload types of the first m-line for sound.
fn formats(sdp: &str) -> Vec<u8> {
    let line = sdp.lines().find(|line| line.starts_with("m=audio")).unwrap();
    line.split(' ').skip(3).map(|format| format.parse().unwrap()).collect()
}

#[test]
fn the_answer_puts_the_copies_first_and_a_frame_without_goes_as_it_is() {
    let (mut pair, _, answer) = connected(&Config::new());
    let [red, opus] = formats(&answer)[..] else { panic!("{answer}") };
    assert!(answer.contains(&format!("a=rtpmap:{red} red/48000/2\r\n")), "{answer}");
    assert!(answer.contains(&format!("a=fmtp:{red} {opus}/{opus}\r\n")), "{answer}");
    pair.sent.clear();
    pair.bot_speaks(0..10);
    let formats = sound_formats(&pair);
    assert!(formats.len() >= 10 && formats.iter().all(|&format| format == opus));
    assert_eq!(pair.browser.media().len(), 10);
}

#[test]
fn whoever_wants_no_copies_does_not_ask_for_them() {
    let neither = Config::new().audio_in_redundancy(false).audio_out_redundancy(Redundancy::Off);
    let (mut pair, mid, answer) = connected(&neither);
    assert!(!answer.contains("red/48000"), "{answer}");
    speak(&mut pair, mid, 10, |frame| (frame != 5).then_some(0));
    let expected: Vec<_> = (0..10).filter(|&at| at != 5).map(|at| (at, at, false)).collect();
    assert_eq!(heard(&pair), expected);
}

/// The payload types of the sound that the bot has sent.
fn sound_formats(pair: &Pair) -> Vec<u8> {
    let formats = pair.sent.iter().filter(|sent| sent.payload[0] & 0xc0 == 0x80);
    let formats = formats.map(|sent| sent.payload[1] & 0x7f);
    formats.filter(|format| !(64..96).contains(format)).collect()
}

fn takes_copies(negotiated: &Negotiated) -> bool {
    matches!(negotiated.lines[0], NegotiatedLine::Media { copies: true, .. })
}

/// The bot says redundant frames of these lengths; those that `is_lost` names do not arrive. What
/// the browser has in the end: the number of each, in order.
fn bot_says(pair: &mut Pair, lens: &[usize], is_lost: impl Fn(usize) -> bool) -> Vec<u64> {
    let heard_before = pair.browser.media().len();
    for (at, len) in lens.iter().enumerate() {
        let number = at as u64;
        let mut data = number.to_be_bytes().to_vec();
        data.resize(*len, 0x55);
        let frame = MediaWrite { redundant: true, ..frame_of(number, &data) };
        let before = pair.wire.len();
        assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::Taken, "{len} bytes");
        pair.flush();
        let is_sound =
            |payload: &[u8]| payload[0] & 0xc0 == 0x80 && !(64..96).contains(&(payload[1] & 0x7f));
        let sent = (before..pair.wire.len()).find(|&at| is_sound(&pair.wire[at].payload));
        let sent = sent.expect("it is sent at once");
        if is_lost(at) {
            drop(pair.wire.remove(sent));
        }
        pair.run_for(Duration::from_millis(20));
    }
    pair.run_for(Duration::from_secs(1));
    let media = pair.browser.media();
    let numbers = media[heard_before..].iter().map(|(_, data)| {
        let number = u64::from_be_bytes(data[..8].try_into().unwrap());
        assert_eq!(data.len(), lens[number as usize], "frame {number} is whole");
        number
    });
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn what_is_lost_alone_on_the_way_to_the_peer_comes_with_the_next_packet() {
    let (mut pair, ..) = connected(&Config::new());
    pair.sent.clear();
    let heard = bot_says(&mut pair, &[80; 40], |at| [7, 20, 21].contains(&at));
    let expected: Vec<u64> = (0..40).filter(|at| *at != 20).collect();
    assert_eq!(heard, expected, "of two in a row the first is gone");
    let red = sound_formats(&pair)[0];
    assert!(sound_formats(&pair).iter().all(|format| *format == red) && red == 63);
}

#[test]
fn a_datagram_with_a_copy_is_never_longer_than_the_mtu() {
    for mtu in [576, 600, 620, 700, 1150, 1200, 1500] {
        let config = Config::new().mtu(mtu).unwrap();
        let (mut pair, ..) = connected(&config);
        let most = Settings::new(&config).audio_max();
        pair.sent.clear();
        // One that is near the limit with its copy, and those about it; then the longest that goes.
        let half = (most - 5) / 2;
        let lens: Vec<usize> =
            (half - 12..half + 12).chain([most, most, 10, most - 6, 10]).collect();
        let heard = bot_says(&mut pair, &lens, |_| false);
        assert_eq!(heard.len(), lens.len(), "MTU {mtu}: each arrives once");
        let longest = pair.sent.iter().map(|sent| sent.payload.len()).max().unwrap();
        assert!(longest <= mtu, "MTU {mtu}: {longest} bytes");
        let formats = sound_formats(&pair);
        assert!(formats.contains(&63) && formats.iter().any(|format| *format != 63), "MTU {mtu}");
    }
}

#[test]
fn copies_that_are_only_given_stand_behind_and_those_only_taken_in_front() {
    let given = Config::new().audio_in_redundancy(false);
    let (mut pair, _, answer) = connected(&given);
    let [opus, red] = formats(&answer)[..] else { panic!("{answer}") };
    assert!(answer.contains(&format!("a=rtpmap:{red} red/48000/2\r\n")), "{answer}");
    assert_eq!(bot_says(&mut pair, &[80; 20], |at| at == 7).len(), 20);
    let taken = Config::new().audio_out_redundancy(Redundancy::Off);
    let (pair, mid, answer) = connected(&taken);
    assert_eq!(formats(&answer), [red, opus]);
    assert_eq!(pair.bot.out.lines[0].as_ref().unwrap().mid, mid);
}

#[test]
fn a_peer_without_copies_is_neither_told_of_them_nor_sent_any() {
    let mut pair =
        Pair::with_browser(&Config::new(), 1, |browser| browser.enable_opus(true, false));
    let negotiated = pair.negotiate(|api| {
        audio(api);
    });
    assert!(!takes_copies(&negotiated));
    let answer = negotiated.answer.sdp();
    assert!(!answer.contains("red/") && formats(answer).len() == 1, "{answer}");
    pair.run_for(Duration::from_secs(1));
    pair.bot_speaks(0..10);
    assert_eq!(sound_formats(&pair), vec![formats(answer)[0]; 10]);
}

/// The offer of a browser that has been told to leave RED away.
fn without_red(offer: &str) -> String {
    let lines = offer.lines().filter(|line| !line.contains(":63 "));
    let lines = lines.map(|line| match line.strip_prefix("m=audio") {
        Some(rest) => format!("m=audio{}\r\n", rest.replace(" 63", "")),
        None => format!("{line}\r\n"),
    });
    lines.collect()
}

#[test]
fn an_offer_that_takes_copies_back_gets_none_and_one_that_adds_them_does() {
    let mut pair = Pair::with_browser(&Config::new(), 1, |browser| browser.enable_opus(true, true));
    let (with, pending) = pair.browser.offer(|api| {
        audio(api);
    });
    let without = without_red(&with);
    assert!(with.contains("red/48000") && !without.contains("red/48000"), "{with}");
    // The browser keeps on knowing RED, whatever its page has made of its offer.
    let negotiated = pair.offered(&with).unwrap();
    assert!(takes_copies(&negotiated));
    pair.browser.accept(pending, &negotiated);
    pair.browser_do(|_| ());
    pair.run_for(Duration::from_secs(1));
    let mut seen = Vec::new();
    for (offer, takes) in [(&without, false), (&with, true), (&without, false), (&with, true)] {
        let negotiated = pair.offered(offer).unwrap();
        assert_eq!(takes_copies(&negotiated), takes);
        let answer = negotiated.answer.sdp();
        assert_eq!(answer.contains("red/48000"), takes, "{answer}");
        assert_eq!(answer.contains("a=fmtp:63"), takes, "{answer}");
        assert_eq!(formats(answer).contains(&63), takes, "{answer}");
        pair.sent.clear();
        assert_eq!(bot_says(&mut pair, &[80; 10], |_| false).len(), 10);
        seen.push(sound_formats(&pair)[0] == 63);
    }
    // The session asks for none where none are taken; the transport sends none even if it did.
    assert_eq!(seen, [false, true, false, true]);
}

#[test]
fn a_call_that_began_without_copies_can_have_them_later() {
    let mut pair = Pair::with_browser(&Config::new(), 1, |browser| browser.enable_opus(true, true));
    let (with, _) = pair.browser.offer(|api| {
        audio(api);
    });
    let without = without_red(&with);
    let first = pair.offered(&without).unwrap();
    assert!(!takes_copies(&first) && !first.answer.sdp().contains("red/"), "{:?}", first.answer);
    let later = pair.offered(&with).unwrap();
    assert!(takes_copies(&later));
    assert_eq!(formats(later.answer.sdp()), formats(&with));
}
