//! `a=sctp-init` from peers that mean badly, or write it wrongly: no offer fails because of it, no
//! call ends, and whoever gets no answer to it shakes hands.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{ConnectionState, Event, NegotiateError, Offer};
use smallrtc_sim::{BrowserEvent, Dtls, Kind, Pair, Setup};

/// What becomes of an offer.
type Change<'a> = Box<dyn Fn(&str) -> String + 'a>;

const ATTRIBUTE: &str = "a=sctp-init:";
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648 section 4.
fn encoded(data: &[u8]) -> String {
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// An INIT chunk as the engine makes them: type, flags, length, tag, window, streams, TSN, and
/// the extensions that it knows.
fn init() -> Vec<u8> {
    let mut chunk = vec![1, 0, 0, 26];
    chunk.extend([0x12, 0x34, 0x56, 0x78]);
    chunk.extend([0, 16, 0, 0]);
    chunk.extend([0xff, 0xff, 0xff, 0xff]);
    chunk.extend([0, 0, 0, 99]);
    chunk.extend([0x80, 0x08, 0, 6, 130, 192]);
    chunk
}

fn init_with(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut chunk = init();
    change(&mut chunk);
    encoded(&chunk)
}

fn value(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix(ATTRIBUTE))
}

/// A pair whose browser can, or cannot, do without the handshake.
fn pair(snap: bool) -> Pair {
    let setup = Setup::new(Kind::Real, 1);
    Pair::new(setup.browser(|browser| (browser.dtls, browser.snap) = (Dtls::Auto, snap)))
}

/// Shows the bot another offer than the browser made; gives the answer.
fn exchange(
    pair: &mut Pair,
    change: impl FnOnce(String) -> String,
) -> Result<String, NegotiateError> {
    let now = pair.now();
    let offer = change(pair.browser.offer(now));
    let answer = pair.session.accept_offer(&Offer::parse(&offer)?, now)?;
    pair.browser.accept_answer(answer.sdp(), now);
    Ok(answer.sdp().to_owned())
}

fn drive_until_open(pair: &mut Pair) {
    let opened = |event: &Event| matches!(event, Event::ChannelOpened { .. });
    pair.drive_until(Duration::from_secs(10), "the channel is open", |pair| {
        pair.browser.is_open() && pair.events().any(opened)
    });
}

fn talk(pair: &mut Pair, text: &str) {
    pair.say(text);
    pair.drive_for(Duration::from_millis(200));
    assert_eq!(pair.session.state(), ConnectionState::Connected);
    let heard = BrowserEvent::Message { binary: false, data: text.as_bytes().to_vec() };
    assert!(pair.browser_events().any(|event| *event == heard), "{text}");
}

/// Adds lines to the last section, which is the data channel's.
fn with_lines(offer: &str, lines: &str) -> String {
    assert!(offer.rfind("m=application") > offer.rfind("m=audio"), "{offer}");
    format!("{offer}{lines}")
}

fn line(value: &str) -> String {
    format!("{ATTRIBUTE}{value}\r\n")
}

#[test]
fn an_init_that_can_be_used_is_answered_and_one_that_cannot_is_not() {
    let answered = |text: &str| {
        let mut pair = pair(false);
        let now = pair.now();
        let offer = with_lines(&pair.browser.offer(now), &line(text));
        let answer = pair.session.accept_offer(&Offer::parse(&offer).unwrap(), now).unwrap();
        value(answer.sdp()).is_some()
    };
    assert!(answered(&encoded(&init())), "what follows differs from this in one thing each");
    let unusable = [
        ("nothing", String::new()),
        ("no base64", "!!!".to_owned()),
        ("a space", " ".to_owned()),
        ("bits beyond the end", encoded(&init()).replace("sA=", "sB=")),
        ("text", encoded(b"not a chunk at all, but long enough to be one")),
        ("another chunk", init_with(|chunk| chunk[0] = 0)),
        ("an INIT ACK", init_with(|chunk| chunk[0] = 2)),
        ("flags", init_with(|chunk| chunk[1] = 1)),
        ("a length beyond the end", init_with(|chunk| chunk[3] = 200)),
        ("a length before the end of the header", init_with(|chunk| chunk[3] = 3)),
        ("a length of half an INIT", init_with(|chunk| chunk[3] = 12)),
        ("half an INIT", init_with(|chunk| chunk.truncate(12))),
        ("the tag 0", init_with(|chunk| chunk[4..8].fill(0))),
        ("no window", init_with(|chunk| chunk[8..12].fill(0))),
        ("no streams out", init_with(|chunk| chunk[12..14].fill(0))),
        ("no streams in", init_with(|chunk| chunk[14..16].fill(0))),
        ("the TSN 0", init_with(|chunk| chunk[16..20].fill(0))),
        ("a parameter beyond the end", init_with(|chunk| chunk[23] = 60)),
        ("a parameter without a length", init_with(|chunk| chunk[23] = 0)),
    ];
    for (what, text) in unusable {
        assert_ne!(text, encoded(&init()), "{what}");
        assert!(!answered(&text), "{what}");
    }
}

#[test]
fn whatever_is_wrong_with_it_the_call_connects_and_the_channel_opens() {
    let good = encoded(&init());
    let audio = |offer: &str, line: &str| {
        offer.replacen("a=setup:actpass\r\n", &format!("a=setup:actpass\r\n{line}"), 1)
    };
    let session =
        |offer: &str, line: &str| offer.replacen("t=0 0\r\n", &format!("t=0 0\r\n{line}"), 1);
    let cases: [(&str, Change<'_>); 7] = [
        ("no base64", Box::new(|offer| with_lines(offer, &line("%%%")))),
        ("garbage", Box::new(|offer| with_lines(offer, &line(&encoded(&[0xff; 300]))))),
        ("huge", Box::new(|offer| with_lines(offer, &line(&encoded(&[1; 40_000]))))),
        ("twice", Box::new(|offer| with_lines(offer, &line(&good).repeat(2)))),
        ("a thousand times", Box::new(|offer| with_lines(offer, &line(&good).repeat(1000)))),
        ("in the audio section", Box::new(|offer| audio(offer, &line(&good)))),
        ("at session level", Box::new(|offer| session(offer, &line(&good)))),
    ];
    for (what, change) in &cases {
        let mut pair = pair(false);
        let changed = |offer: String| {
            let changed = change(&offer);
            assert!(changed.len() > offer.len(), "{what}");
            changed
        };
        let answer = exchange(&mut pair, changed).unwrap();
        assert_eq!(value(&answer), None, "{what}");
        drive_until_open(&mut pair);
        talk(&mut pair, what);
        // It comes again in a re-offer, as everything does.
        let answer = exchange(&mut pair, |offer| change(&offer)).unwrap();
        assert_eq!(value(&answer), None, "{what}");
        talk(&mut pair, "and on");
    }
}

#[test]
fn a_reoffer_repeats_it_or_leaves_it_out_and_the_call_goes_on() {
    let mut pair = pair(true);
    let first = exchange(&mut pair, |offer| offer).unwrap();
    drive_until_open(&mut pair);
    talk(&mut pair, "first");

    let again = exchange(&mut pair, |offer| offer).unwrap();
    assert!(value(&first).is_some());
    assert_eq!(value(&again), value(&first), "ours does not change either");
    talk(&mut pair, "again");

    let without = |offer: String| {
        let lines = offer.split_inclusive('\n');
        lines.filter(|line| !line.starts_with(ATTRIBUTE)).collect()
    };
    let left_out = exchange(&mut pair, without).unwrap();
    assert_eq!(value(&left_out), None, "not asked, not answered");
    talk(&mut pair, "left out");

    let back = exchange(&mut pair, |offer| offer).unwrap();
    assert_eq!(value(&back), value(&first));
    talk(&mut pair, "back");
}

#[test]
fn a_reoffer_with_another_one_is_refused_by_name_and_changes_nothing() {
    for other in [encoded(&init()), "!!!".to_owned()] {
        let mut pair = pair(true);
        exchange(&mut pair, |offer| offer).unwrap();
        drive_until_open(&mut pair);
        let now = pair.now();
        let offer = pair.browser.offer(now);
        let own = line(value(&offer).unwrap());
        let changed = Offer::parse(&offer.replace(&own, &line(&other))).unwrap();
        let refused = pair.session.accept_offer(&changed, now);
        assert!(
            matches!(&refused, Err(NegotiateError::Incompatible { reason })
                if reason.contains("a=sctp-init")),
            "{refused:?}"
        );
        talk(&mut pair, "unchanged");
        exchange(&mut pair, |offer| offer).unwrap();
        talk(&mut pair, "and can be offered again");
    }
}

#[test]
fn a_stopped_channel_line_needs_none() {
    let mut pair = pair(true);
    exchange(&mut pair, |offer| offer).unwrap();
    drive_until_open(&mut pair);
    let now = pair.now();
    let offer = pair.browser.offer(now);
    let own = line(value(&offer).unwrap());
    let stopped = offer.replace(&own, "").replace("m=application 9 ", "m=application 0 ");
    let group = stopped.lines().find(|line| line.starts_with("a=group:BUNDLE")).unwrap();
    let last = group.rsplit(' ').next().unwrap();
    let stopped = stopped.replace(group, group.strip_suffix(&format!(" {last}")).unwrap());
    pair.session.accept_offer(&Offer::parse(&stopped).unwrap(), now).unwrap();
    pair.drive_for(Duration::from_secs(2));
    assert_eq!(pair.session.state(), ConnectionState::Connected);
}

#[test]
fn an_association_that_shook_hands_is_not_changed_by_one_that_comes_later() {
    let mut pair = pair(false);
    exchange(&mut pair, |offer| offer).unwrap();
    drive_until_open(&mut pair);
    let good = encoded(&init());
    for text in [good.as_str(), "!!!", &init_with(|chunk| chunk[7] = 9)] {
        let answer = exchange(&mut pair, |offer| with_lines(&offer, &line(text))).unwrap();
        assert_eq!(value(&answer), None, "{text}");
        talk(&mut pair, text);
    }
}

#[test]
fn an_ice_restart_keeps_the_association() {
    let mut pair = pair(true);
    exchange(&mut pair, |offer| offer).unwrap();
    drive_until_open(&mut pair);
    pair.restart_from_port(41_000).unwrap();
    pair.drive_for(Duration::from_secs(3));
    talk(&mut pair, "from elsewhere");
}

#[test]
fn a_second_channel_opens_over_an_association_that_began_established() {
    let mut pair = pair(true);
    pair.connect();
    let now = pair.now();
    pair.browser.open_channel("second", now);
    pair.drive_for(Duration::from_secs(1));
    let opened = Event::ChannelOpened { label: "second".to_owned() };
    assert!(pair.events().any(|event| *event == opened));
    talk(&mut pair, "on the second");
}
