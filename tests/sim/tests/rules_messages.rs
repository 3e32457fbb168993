//! The rules of messages where they meet: the largest in either encoding and direction, one byte
//! more, channels that come and go, and a path that is dark or moves while a message is on its way.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::scripted::{Chunk, Content, Frame, decode, encode};
use smallrtc::{
    CloseReason, Config, ConnectionState, Datagram, Delivery, Event, LocalCandidate, Message,
    Offer, Seed, SendError, Session, TransportId,
};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup, bot_address, start};

const LARGEST: usize = 256 * 1024;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Letters and digits, so that it is text as well; another one for each number.
fn content(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| b'a' + ((at * 7 + at / 251 + number) % 26) as u8).collect()
}

fn message(binary: bool, data: Vec<u8>) -> Message {
    match binary {
        true => Message::Binary(data.into()),
        false => Message::text(String::from_utf8(data).expect("letters")),
    }
}

/// What the page heard that is no signalling: the encoding and the bytes.
fn heard(pair: &Pair) -> Vec<(bool, Vec<u8>)> {
    let messages = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Message { binary, data } => Some((*binary, data.clone())),
        _ => None,
    });
    messages.filter(|(_, data)| !data.starts_with(b"{\"type\":\"signalling\"")).collect()
}

fn told(pair: &Pair) -> Vec<(bool, Vec<u8>)> {
    let messages = pair.messages();
    messages.iter().map(|message| (message.is_binary(), message.as_bytes().to_vec())).collect()
}

#[test]
fn the_largest_message_arrives_both_ways_in_both_encodings_and_a_byte_more_is_refused() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let mut expected = Vec::new();
        for (number, binary) in [(0, false), (1, true)] {
            let data = content(number, LARGEST);
            assert!(pair.send_message(message(binary, data.clone())).is_ok());
            let now = pair.now();
            let said = match binary {
                true => pair.browser.send_binary(&data, now),
                false => pair.browser.send_text(std::str::from_utf8(&data).unwrap(), now),
            };
            assert!(said, "{kind:?}");
            let refused = pair.send_message(message(binary, content(number, LARGEST + 1)));
            let limits = SendError::TooLarge { len: LARGEST + 1, limit: LARGEST };
            assert_eq!(refused, Err(limits), "{kind:?}");
            expected.push((binary, data));
            pair.drive_for(seconds(20));
        }
        assert!(heard(&pair) == expected, "{kind:?}");
        assert!(told(&pair) == expected, "{kind:?}");
    }
}

/// The answer says 262144, which every browser keeps to. To an engine that does not, SCTP says
/// ABORT, which ends the call: nothing of the message is told, and the end is told once.
#[test]
fn a_page_that_says_more_than_it_may_is_not_heard_and_its_call_ends_once() {
    for len in [LARGEST, LARGEST + 1] {
        let mut pair = Pair::new(Setup::new(Kind::Real, 1));
        let now = pair.now();
        let offer = Offer::parse(&pair.browser.offer(now)).unwrap();
        let answer = pair.session.accept_offer(&offer, now).unwrap().sdp().to_owned();
        let lie = answer.replace("a=max-message-size:262144", "a=max-message-size:400000");
        assert_ne!(lie, answer);
        pair.browser.accept_answer(&lie, now);
        pair.drive_until(seconds(5), "the channel is open", |pair| pair.browser.is_open());
        pair.drive_for(seconds(1));
        let now = pair.now();
        assert!(pair.browser.send_binary(&content(0, len), now));
        pair.drive_for(seconds(30));
        let ends = pair.events().filter(|event| matches!(event, Event::Closed { .. })).count();
        let heard: Vec<usize> = pair.messages().iter().map(|message| message.len()).collect();
        match len > LARGEST {
            true => assert_eq!((heard, ends), (vec![], 1)),
            false => assert_eq!((heard, ends), (vec![LARGEST], 0)),
        }
    }
}

/// Messages of both sides, accepted before and while nothing passes for 5 s, and then from another
/// address as well: a change of network in the middle of the largest message.
fn dark_while_large_messages_are_on_their_way(moves: bool) {
    for kind in Kind::ALL {
        let link = LinkConfig { rate: Some(1_000_000), queue: seconds(1), ..LinkConfig::clean() };
        let mut pair = Pair::new(Setup::new(kind, 3).links(link));
        pair.connect();
        pair.drive_for(seconds(1));
        let mut expected = Vec::new();
        let mut say = |pair: &mut Pair, number: usize, len: usize| {
            let data = content(number, len);
            assert!(pair.send_message(message(number.is_multiple_of(2), data.clone())).is_ok());
            let now = pair.now();
            let taken = match number.is_multiple_of(2) {
                true => pair.browser.send_binary(&data, now),
                false => pair.browser.send_text(std::str::from_utf8(&data).expect("letters"), now),
            };
            assert!(taken, "{number}");
            expected.push((number.is_multiple_of(2), data));
        };
        say(&mut pair, 0, LARGEST);
        say(&mut pair, 1, 1_000);
        pair.drive_for(Duration::from_millis(60));
        assert!(heard(&pair).is_empty() && told(&pair).is_empty(), "in the middle of it");
        pair.up.set_down(true);
        pair.down.set_down(true);
        pair.drive_for(Duration::from_millis(2_500));
        say(&mut pair, 2, 100_000);
        pair.drive_for(Duration::from_millis(2_500));
        if moves {
            pair.restart_from_port(41_000).expect("a restart is answered");
        }
        pair.up.set_down(false);
        pair.down.set_down(false);
        say(&mut pair, 3, 20);
        pair.drive_for(seconds(40));
        assert!(heard(&pair) == expected, "{kind:?}: {} heard", heard(&pair).len());
        assert!(told(&pair) == expected, "{kind:?}: {} told", told(&pair).len());
        assert_eq!(pair.session.stats().messages_dropped, 0);
    }
}

#[test]
fn nothing_accepted_is_lost_over_5_s_of_darkness_in_the_middle_of_the_largest_message() {
    dark_while_large_messages_are_on_their_way(false);
}

#[test]
fn nothing_accepted_is_lost_when_the_address_changes_in_the_middle_of_the_largest_message() {
    dark_while_large_messages_are_on_their_way(true);
}

#[test]
fn the_goodbye_reaches_a_page_past_a_full_queue_and_nothing_follows_it() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let mut count = 0;
        while pair.send_message(message(true, content(count, 1_000))).is_ok() {
            count += 1;
        }
        assert!(count > 1_000, "{count}");
        let now = pair.now();
        pair.session.request_renegotiation(now);
        pair.session.close(now);
        let (_, reason) = pair.drive_until_closed(seconds(3));
        assert_eq!(reason, CloseReason::Application);
        pair.drive_for(seconds(1));
        let all: Vec<_> = pair.browser_messages();
        assert_eq!(all.len(), count + 2, "{kind:?}");
        assert!(all[count].contains("renegotiate") && all[count + 1].contains("peerLeft"));
    }
}

const SDP: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\na=sctp-port:5000\r\n";

/// A session on the scripted wire whose peer opens and closes channels as the test says.
struct Wire {
    session: Session,
    now: std::time::Instant,
    next: u32,
    /// One past the last chunk of the session's.
    expected: u32,
}

impl Wire {
    fn connected() -> Wire {
        let now = start();
        let config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
        let mut session = Session::new(config.shared(), Seed::from_number(1), now);
        let local = LocalCandidate::host(TransportId(0), bot_address());
        session.add_local_candidate(local, now).expect("there is room for one");
        let offer = Offer::parse(SDP).expect("a whole offer");
        let answer = session.accept_offer(&offer, now).expect("it can be answered");
        session.start(now);
        let value = |name| {
            let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
            line.expect("answers have credentials").to_owned()
        };
        let mut wire = Wire { session, now, next: 0, expected: 0 };
        let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        wire.send(smallrtc::scripted::stun::request([1; 12], &ufrag, "page", &pwd, true));
        wire.send(encode(&[Frame::Hello]));
        assert_eq!(wire.session.state(), ConnectionState::Connected);
        wire
    }

    fn send(&mut self, payload: Vec<u8>) {
        let there = "198.51.100.7:50000".parse().expect("an address");
        let datagram = Datagram::udp(TransportId(0), there, bot_address(), payload.into());
        self.session.handle_datagram(datagram, self.now);
    }

    fn chunk(&mut self, channel: u16, content: Content, data: &[u8]) {
        let chunk = Chunk { number: self.next, channel, content, data };
        self.next += 1;
        self.send(encode(&[Frame::Chunk(chunk)]));
    }

    /// What was sent: the channel and the text of each message. It is acknowledged.
    fn messages(&mut self) -> Vec<(u16, String)> {
        let mut messages = Vec::new();
        while let Some(transmit) = self.session.poll_transmit() {
            for frame in decode(&transmit.payload).into_iter().flatten() {
                let Frame::Chunk(chunk) = frame else { continue };
                if chunk.number >= self.expected {
                    self.expected = chunk.number + 1;
                    messages
                        .push((chunk.channel, String::from_utf8_lossy(chunk.data).into_owned()));
                }
            }
        }
        self.send(encode(&[Frame::Ack { next: self.expected }]));
        messages
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn say(&mut self, text: &str) -> Result<Delivery, SendError> {
        self.session.send_message(Message::text(text), self.now)
    }
}

#[test]
fn when_the_newest_channel_closes_the_one_before_it_is_used_again() {
    let mut wire = Wire::connected();
    wire.chunk(1, Content::Open, b"chat");
    wire.chunk(2, Content::Open, b"files");
    assert_eq!(wire.say("over the newest"), Ok(Delivery::Sent));
    assert_eq!(wire.messages(), [(2, "over the newest".to_owned())]);
    wire.chunk(2, Content::Close, b"");
    assert_eq!(wire.say("over the first"), Ok(Delivery::Sent));
    assert_eq!(wire.messages(), [(1, "over the first".to_owned())]);
    // Nothing is given up later, because there is a channel.
    wire.now += seconds(4);
    wire.session.handle_timeout(wire.now);
    wire.chunk(1, Content::Close, b"");
    assert_eq!(wire.say("waits"), Ok(Delivery::Queued));
    let told = wire.events();
    assert!(told.contains(&Event::ChannelClosed), "{told:?}");
}

#[test]
fn a_channel_that_closes_beside_the_one_in_use_changes_nothing() {
    let mut wire = Wire::connected();
    wire.chunk(1, Content::Open, b"chat");
    wire.chunk(2, Content::Open, b"files");
    wire.events();
    wire.chunk(1, Content::Close, b"");
    assert_eq!(wire.events(), []);
    assert_eq!(wire.say("over the newest"), Ok(Delivery::Sent));
    assert_eq!(wire.messages(), [(2, "over the newest".to_owned())]);
}

/// The offer says how much its page takes; what was accepted before it came cannot be sent.
#[test]
fn a_message_that_was_accepted_and_is_larger_than_the_page_takes_is_told_as_dropped() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    assert_eq!(pair.send_message(message(false, content(0, 100_000))), Ok(Delivery::Queued));
    assert_eq!(pair.send_message(Message::text("[1]")), Ok(Delivery::Queued));
    let now = pair.now();
    let offer = pair.browser.offer(now);
    let small: String = offer
        .lines()
        .filter(|line| !line.starts_with("a=max-message-size"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let answer = pair.session.accept_offer(&Offer::parse(&small).unwrap(), now).unwrap();
    pair.browser.accept_answer(answer.sdp(), now);
    pair.drive_for(seconds(3));
    assert_eq!(pair.browser_messages(), ["[1]"]);
    assert!(pair.events().any(|event| *event == Event::MessagesDropped { count: 1 }));
}

#[test]
fn signalling_is_read_in_either_encoding_and_what_only_looks_like_it_is_the_applications() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(|browser| browser.chatters = false));
    pair.connect();
    let status = |on: bool| {
        format!(
            r#" {{"message":{{"enabled":{on},"type":"trackStatus","receiver_index":0}},"type":"signalling"}} "#
        )
    };
    let now = pair.now();
    assert!(pair.browser.send_text(&status(false), now));
    pair.drive_for(seconds(1));
    assert!(!pair.session.tracks()[0].enabled);
    let now = pair.now();
    assert!(pair.browser.send_binary(status(true).as_bytes(), now));
    pair.drive_for(seconds(1));
    assert!(pair.session.tracks()[0].enabled);
    let others = [r#"["signalling"]"#, r#"{"type":"other","message":{}}"#, r#"{"a":"signalling"}"#];
    for text in others {
        let now = pair.now();
        assert!(pair.browser.send_text(text, now));
    }
    pair.drive_for(seconds(1));
    assert_eq!(pair.messages(), others.map(Message::text).iter().collect::<Vec<_>>());
}

/// What the page takes may change with each offer; the engine reads it once.
#[test]
fn a_later_offer_that_allows_more_lets_larger_messages_through() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    let now = pair.now();
    let offer = pair.browser.offer(now);
    let small: String = offer
        .lines()
        .filter(|line| !line.starts_with("a=max-message-size"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let answer = pair.session.accept_offer(&Offer::parse(&small).unwrap(), now).unwrap();
    pair.browser.accept_answer(answer.sdp(), now);
    pair.drive_until(seconds(5), "the channel is open", |pair| pair.browser.is_open());
    pair.drive_for(seconds(1));
    let refused = pair.send_message(message(true, content(0, 100_000)));
    assert_eq!(refused, Err(SendError::TooLarge { len: 100_000, limit: 65_536 }));
    let now = pair.now();
    let allowing = format!("{small}a=max-message-size:262144\r\n");
    let _ = pair.session.accept_offer(&Offer::parse(&allowing).unwrap(), now).unwrap();
    pair.flush();
    let data = content(0, LARGEST);
    assert!(pair.send_message(message(true, data.clone())).is_ok());
    pair.say("[1]");
    pair.drive_for(seconds(5));
    assert!(!pair.events().any(|event| *event == Event::ChannelClosed));
    assert!(heard(&pair) == [(true, data), (false, b"[1]".to_vec())]);
}
