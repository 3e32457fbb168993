//! Whole sessions over the scripted transport, on virtual time.

mod coded;
mod keys;
mod later;
mod levels;
mod losses;
mod refusals;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::scripted::{Chunk, Content, Frame, Media, decode, encode, stun};
use crate::{
    AudioCleared, AudioFrame, AudioId, CloseReason, Datagram, EncodedFrame, LocalCandidate,
    NegotiateError, Offer, RemoteCandidate, TransportId,
};

const SECOND: Duration = Duration::from_secs(1);

const SDP: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=sctp-port:5000\r\n";

#[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
fn epoch() -> Instant {
    Instant::now()
}

fn here() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7860))
}

/// A session and the peer's side of its wire.
struct Rig {
    session: Session,
    now: Instant,
    answer: String,
    /// The number of the next chunk of the peer's stream.
    chunk: u32,
    /// One past the last chunk of the session's stream.
    expected: u32,
}

impl Rig {
    fn new() -> Rig {
        Rig::not_started().started()
    }

    fn started(mut self) -> Rig {
        self.session.start(self.now);
        self
    }

    fn not_started() -> Rig {
        Rig::offered(SDP)
    }

    fn offered(sdp: &str) -> Rig {
        Rig::with(Config::new().dangerous().null_codec(true).done(), sdp)
    }

    fn with(config: Config, sdp: &str) -> Rig {
        let now = epoch();
        let config = config.dangerous().scripted_transport(true).done();
        let mut session = Session::new(config.shared(), Seed::from_number(1), now);
        session.add_local_candidate(LocalCandidate::host(TransportId(0), here()), now).unwrap();
        let mut rig = Rig { session, now, answer: String::new(), chunk: 0, expected: 0 };
        rig.offer(sdp).unwrap();
        rig
    }

    /// ICE and DTLS are done, no channel is open.
    fn connected() -> Rig {
        Rig::new().connect()
    }

    fn connect(mut self) -> Rig {
        self.check();
        self.send(encode(&[Frame::Hello]));
        assert_eq!(self.session.state(), ConnectionState::Connected);
        self.events();
        self
    }

    fn offer(&mut self, sdp: &str) -> Result<(), NegotiateError> {
        let answer = self.session.accept_offer(&Offer::parse(sdp).unwrap(), self.now)?;
        self.answer = answer.sdp().to_owned();
        Ok(())
    }

    fn answered(&self, name: &str) -> String {
        let line = self.answer.lines().find_map(|line| line.strip_prefix(name));
        line.expect("answers have credentials").trim().to_owned()
    }

    fn send(&mut self, payload: Vec<u8>) {
        let there = SocketAddr::from(([198, 51, 100, 7], 50_000));
        let datagram = Datagram::udp(TransportId(0), there, here(), Bytes::from(payload));
        self.session.handle_datagram(datagram, self.now);
    }

    fn chunk(&mut self, content: Content, data: &[u8]) {
        let chunk = Chunk { number: self.chunk, channel: 1, content, data };
        self.chunk += 1;
        self.send(encode(&[Frame::Chunk(chunk)]));
    }

    /// Everything that was sent, read: the messages of the channel.
    fn messages(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(transmit) = self.session.poll_transmit() {
            for frame in decode(&transmit.payload).into_iter().flatten() {
                let Frame::Chunk(chunk) = frame else { continue };
                if chunk.number >= self.expected {
                    self.expected = chunk.number + 1;
                    messages.push(String::from_utf8_lossy(chunk.data).into_owned());
                }
            }
        }
        messages
    }

    fn acknowledge(&mut self) {
        self.send(encode(&[Frame::Ack { next: self.expected }]));
    }

    fn events(&mut self) -> Vec<Event> {
        while self.session.poll_transmit().is_some() {}
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// A check that proves that the peer is there.
    fn check(&mut self) {
        let (ufrag, pwd) = (self.answered("a=ice-ufrag:"), self.answered("a=ice-pwd:"));
        self.send(stun::request([1; 12], &ufrag, "page", &pwd, true));
    }

    /// Lets time pass, timer by timer; what was told meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<Event> {
        let until = self.now + time;
        let mut events = self.events();
        let mut turns = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            turns += 1;
            assert!(turns < 100_000, "a session that is due again and again");
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            events.extend(self.events());
        }
        self.now = until;
        events
    }
}

#[test]
fn what_was_counted_stays_when_the_session_ends() {
    let mut rig = Rig::connected();
    rig.pass(SECOND);
    // The driver was stalled.
    rig.now += SECOND;
    rig.session.handle_timeout(rig.now);
    let before = rig.session.stats();
    assert!(before.audio_slips > 0);
    rig.session.close(rig.now);
    assert_eq!(rig.session.stats().audio_slips, before.audio_slips);
}

#[test]
fn messages_in_front_of_a_channel_that_is_gone_are_given_up_like_any() {
    let mut rig = Rig::connected();
    rig.session.on_channel_open(transport::ChannelId(7), "unknown below".to_owned());
    rig.events();
    let sent = rig.session.send_message(Message::text("lost"), rig.now);
    assert_eq!(sent, Ok(Delivery::Queued));
    assert_eq!(rig.events(), [Event::ChannelClosed]);
    let told = rig.pass(11 * SECOND);
    assert!(told.contains(&Event::MessagesDropped { count: 1 }), "{told:?}");
}

#[test]
fn closing_before_the_channel_is_open_delivers_what_waits_for_it() {
    let mut rig = Rig::connected();
    let waits = rig.session.send_message(Message::text("the last word"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    rig.session.close(rig.now);
    assert_eq!(rig.events(), []);
    rig.chunk(Content::Open, b"chat");
    assert_eq!(rig.messages(), ["the last word"]);
    rig.acknowledge();
    assert_eq!(rig.messages(), [crate::message::PEER_LEFT]);
    assert_eq!(rig.events(), [Event::ChannelOpened { label: "chat".to_owned() }]);
    rig.acknowledge();
    assert_eq!(rig.events(), [Event::Closed { reason: CloseReason::Application }]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn a_channel_that_never_opens_keeps_no_session_longer_than_the_linger_time() {
    let mut rig = Rig::connected();
    let waits = rig.session.send_message(Message::text("for nobody"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    rig.session.close(rig.now);
    assert_eq!(rig.pass(2 * SECOND - Duration::from_millis(1)), []);
    let end = rig.pass(Duration::from_millis(1));
    let closed = Event::Closed { reason: CloseReason::Application };
    assert_eq!(end, [Event::MessagesDropped { count: 1 }, closed]);
}

#[test]
fn closing_with_nothing_to_deliver_and_no_channel_ends_at_once() {
    let mut rig = Rig::connected();
    rig.session.close(rig.now);
    assert_eq!(rig.events(), [Event::Closed { reason: CloseReason::Application }]);
}

#[test]
fn a_stopped_line_is_used_anew_under_another_name() {
    let mut rig = Rig::connected();
    let stopped = SDP.replace("m=video 9", "m=video 0");
    rig.offer(&stopped).unwrap();
    assert_eq!(rig.events(), [Event::TrackEnded(TrackId(1))]);
    rig.offer(&SDP.replace("a=mid:1", "a=mid:7")).unwrap();
    let told = rig.events();
    assert!(matches!(told[..], [Event::TrackStarted(Track { id: TrackId(1), .. })]), "{told:?}");
}

#[test]
fn a_reoffer_with_another_certificate_or_other_lines_is_refused_and_changes_nothing() {
    let mut rig = Rig::connected();
    for other in [
        SDP.replace("00:11:22", "00:11:23"),
        SDP.replace("a=mid:1", "a=mid:7"),
        SDP[..SDP.find("m=application").unwrap()].to_owned(),
    ] {
        let refused = rig.offer(&other);
        assert!(matches!(refused, Err(NegotiateError::Incompatible { .. })), "{refused:?}");
        assert_eq!(rig.events(), []);
    }
    rig.offer(SDP).unwrap();
}

#[test]
fn as_many_candidates_as_allowed_are_taken_and_an_ice_restart_makes_room_again() {
    let mut rig = Rig::connected();
    let add = |rig: &mut Rig, port: usize| {
        let line = format!("candidate:1 1 udp 1 198.51.100.7 {port} typ host");
        let candidate = RemoteCandidate::parse(&line).unwrap();
        rig.session.add_remote_candidate(&candidate, rig.now)
    };
    for ufrag in ["page", "page2", "page3"] {
        rig.offer(&SDP.replace("page", ufrag)).unwrap();
        for port in 1..=64 {
            assert_eq!(add(&mut rig, port), Ok(()));
        }
        assert_eq!(add(&mut rig, 65), Err(crate::CandidateError::TooMany { limit: 64 }));
    }
    assert_eq!(rig.session.stats().candidates_refused, 3);
}

#[test]
fn as_many_pieces_as_have_a_place_for_their_end_are_taken_and_one_more_is_counted() {
    let mut rig = Rig::connected();
    for _ in 0..8_192 {
        rig.session.send_audio(AudioFrame::mono(&[1; 8], 16_000), rig.now).unwrap();
    }
    let refused = rig.session.send_audio(AudioFrame::mono(&[1; 8], 16_000), rig.now);
    assert_eq!(refused, Err(SendError::QueueFull { limit: 8_192, wait: None }));
    assert_eq!(rig.session.stats().audio_refused, 1);
    let told = rig.pass(5 * SECOND);
    assert_eq!(told.iter().filter(|e| matches!(e, Event::AudioFinished { .. })).count(), 8_192);
    rig.session.send_audio(AudioFrame::mono(&[1; 8], 16_000), rig.now).unwrap();
}

#[test]
fn a_peer_that_comes_and_goes_gives_messages_no_more_time() {
    let mut rig = Rig::connected();
    let waits = rig.session.send_message(Message::text("for nobody"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    let gone = rig.pass(9 * SECOND);
    assert_eq!(gone.last(), Some(&Event::StateChanged(ConnectionState::Disconnected)));
    rig.check();
    assert_eq!(rig.events(), [Event::StateChanged(ConnectionState::Connected)]);
    let dropped = Event::MessagesDropped { count: 1 };
    assert_eq!(rig.pass(SECOND - Duration::from_millis(1)), []);
    assert_eq!(rig.pass(Duration::from_millis(1)), [dropped]);
}

#[test]
fn a_wish_for_an_offer_that_went_with_its_channel_can_be_said_again() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    for _ in 0..2 {
        rig.session.request_renegotiation(rig.now);
        assert_eq!(rig.messages(), [RENEGOTIATE]);
        rig.session.request_renegotiation(rig.now);
        rig.acknowledge();
        assert_eq!(rig.messages(), [""; 0], "once is enough");
        rig.chunk(Content::Close, b"");
        rig.chunk(Content::Open, b"chat");
    }
}

#[test]
fn at_the_end_sound_that_did_not_go_out_is_told_of_to_the_sample() {
    let hello = |rig: &mut Rig| {
        rig.chunk(Content::Open, b"chat");
        let ids = [(); 3]
            .map(|()| rig.session.send_audio(AudioFrame::mono(&[1000; 1600], 16_000), rig.now));
        rig.pass(Duration::from_millis(150));
        ids.map(|id| id.unwrap())
    };
    let told = |events: Vec<Event>| {
        let told = events.into_iter().filter_map(|event| match event {
            Event::AudioFinished { id, samples } => Some((id, samples)),
            Event::Closed { .. } => Some((AudioId(u64::MAX), 0)),
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let end = (AudioId(u64::MAX), 0);

    let mut rig = Rig::connected();
    let [_, second, third] = hello(&mut rig);
    rig.session.close(rig.now);
    let events = told(rig.events());
    let &[(id, sent), rest] = &events[..] else { panic!("{events:?}") };
    assert_eq!((id, rest), (second, (third, 0)), "at once, though the call lingers");
    // A packet of 20 ms went out each 20 ms; the filter keeps a part of a millisecond back.
    assert!((900..=960).contains(&sent), "{sent}");
    rig.acknowledge();
    assert_eq!(rig.session.clear_audio(rig.now), AudioCleared::default(), "it is told once");
    assert_eq!(told(rig.pass(3 * SECOND)), [end]);

    let mut rig = Rig::connected();
    let [_, second, third] = hello(&mut rig);
    rig.send(encode(&[Frame::Goodbye]));
    assert_eq!(told(rig.events()), [(second, sent), (third, 0), end]);
}

#[test]
fn messages_that_wait_when_the_call_ends_are_told_of() {
    let mut rig = Rig::connected();
    for text in ["one", "two"] {
        assert_eq!(rig.session.send_message(Message::text(text), rig.now), Ok(Delivery::Queued));
    }
    rig.send(encode(&[Frame::Goodbye]));
    let reason = CloseReason::HungUp;
    let end = [Event::MessagesDropped { count: 2 }, Event::Closed { reason }];
    let told = rig.events();
    assert_eq!(told[told.len() - 2..], end, "{told:?}");
    assert_eq!(rig.session.stats().messages_dropped, 2);
}

#[test]
fn a_label_at_the_limit_is_told_whole_and_a_longer_one_is_cut_between_characters() {
    let told = |label: &str| {
        let mut rig = Rig::connected();
        rig.chunk(Content::Open, label.as_bytes());
        match rig.events().as_slice() {
            [Event::ChannelOpened { label }] => label.clone(),
            other => panic!("one channel opened: {other:?}"),
        }
    };
    let (full, wide) = ("x".repeat(256), "é".repeat(128));
    assert_eq!(told(&full), full);
    assert_eq!(told(&format!("{full}y")), full);
    assert_eq!(told(&wide), wide);
    assert_eq!(told(&format!("x{wide}")), format!("x{}", "é".repeat(127)));
}

#[test]
fn closing_waits_for_a_channel_even_when_its_time_to_open_ends_meanwhile() {
    let mut rig = Rig::connected();
    let waits = rig.session.send_message(Message::text("the last word"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    for _ in 0..3 {
        rig.pass(3 * SECOND);
        rig.check();
    }
    assert_eq!(rig.pass(SECOND / 2), []);
    rig.session.close(rig.now);
    assert_eq!(rig.pass(SECOND), [], "ten seconds after the connection nothing is given up");
    rig.chunk(Content::Open, b"chat");
    assert_eq!(rig.messages(), ["the last word"]);
}

#[test]
fn a_client_whose_call_is_replaced_is_not_told_that_its_peer_left() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    rig.session.close_for(CloseReason::Replaced, rig.now);
    assert_eq!(rig.messages(), [""; 0]);
    assert_eq!(rig.events(), [Event::Closed { reason: CloseReason::Replaced }]);
}

#[test]
fn a_second_start_and_one_after_the_end_tell_nothing_again() {
    let mut rig = Rig::connected();
    rig.session.start(rig.now);
    assert_eq!(rig.events(), []);
    rig.chunk(Content::Open, b"chat");
    rig.events();
    rig.session.close(rig.now);
    rig.session.start(rig.now);
    assert_eq!(rig.events(), []);
}

#[test]
fn what_is_polled_is_counted_and_frees_the_place_of_messages_that_arrived() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    let (mut datagrams, mut bytes) =
        (rig.session.stats().datagrams_sent, rig.session.stats().bytes_sent);
    assert!(datagrams > 0 && bytes > 0, "the answers to the check and the hello");
    for number in 0..=messages::INBOUND_MAX {
        rig.chunk(Content::Text, number.to_string().as_bytes());
        while let Some(transmit) = rig.session.poll_transmit() {
            datagrams += 1;
            bytes += transmit.payload.len() as u64;
        }
        let told = rig.events();
        assert!(told.contains(&Event::Message(Message::text(number.to_string()))), "{told:?}");
    }
    let stats = rig.session.stats();
    assert_eq!((stats.datagrams_sent, stats.bytes_sent), (datagrams, bytes));
    assert_eq!(stats.messages_received, messages::INBOUND_MAX as u64 + 1);
}

#[test]
fn the_codecs_of_both_lines_are_told_and_debug_output_has_no_password() {
    let rig = Rig::connected();
    assert_eq!(rig.session.send_codec(TrackId(0)), Some(Codec::Opus));
    assert_eq!(rig.session.send_codec(TrackId(1)), Some(Codec::Vp8));
    assert_eq!(rig.session.send_codec(TrackId(2)), None);
    let text = format!("{:?}", rig.session);
    assert!(text.contains("state: Connected"), "{text}");
    assert!(!text.contains(&rig.answered("a=ice-pwd:")), "{text}");
}

#[test]
fn what_came_before_the_start_is_told_after_it_and_in_order() {
    let mut rig = Rig::not_started();
    rig.check();
    rig.send(encode(&[Frame::Hello]));
    rig.chunk(Content::Open, b"chat");
    rig.chunk(Content::Text, b"one");
    rig.chunk(Content::Text, b"two");
    let told = rig.events();
    let connected = Event::StateChanged(ConnectionState::Connected);
    let early = |event: &Event| matches!(event, Event::Message(_)) || *event == connected;
    assert!(!told.iter().any(early), "{told:?}");
    rig.session.start(rig.now);
    let messages = ["one", "two"].map(|text| Event::Message(Message::text(text)));
    let [one, two] = messages;
    assert_eq!(rig.events(), [connected, one, two]);
}

#[test]
fn messages_that_waited_for_the_channel_go_out_in_order() {
    let mut rig = Rig::connected();
    for text in ["one", "two", "three"] {
        assert_eq!(rig.session.send_message(Message::text(text), rig.now), Ok(Delivery::Queued));
    }
    rig.chunk(Content::Open, b"chat");
    let mut heard = rig.messages();
    rig.acknowledge();
    heard.extend(rig.messages());
    assert_eq!(heard, ["one", "two", "three"]);
}

#[test]
fn a_channel_that_opened_in_time_is_there_when_its_time_to_open_is_over() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    for _ in 0..4 {
        rig.pass(3 * SECOND);
        rig.check();
    }
    let sent = rig.session.send_message(Message::text("still there"), rig.now);
    assert_eq!(sent, Ok(Delivery::Sent));
}

#[test]
fn checks_that_prove_nothing_are_no_sign_of_life() {
    let mut rig = Rig::connected();
    let mut told = Vec::new();
    for _ in 0..9 {
        let ufrag = rig.answered("a=ice-ufrag:");
        rig.send(stun::request([1; 12], &ufrag, "page", "a password that was guessed", true));
        told.extend(rig.pass(SECOND));
    }
    assert_eq!(told.last(), Some(&Event::StateChanged(ConnectionState::Disconnected)));
}

#[test]
fn a_peer_that_came_back_is_not_lost_when_the_time_of_its_silence_is_over() {
    let mut rig = Rig::connected();
    rig.pass(9 * SECOND);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    for _ in 0..30 {
        rig.check();
        rig.pass(2 * SECOND);
        assert_eq!(rig.session.state(), ConnectionState::Connected);
    }
}

#[test]
fn a_peer_that_stays_away_is_lost_and_the_end_is_told() {
    let mut rig = Rig::connected();
    let told = rig.pass(60 * SECOND);
    assert_eq!(told.last(), Some(&Event::Closed { reason: CloseReason::Lost }));
    assert_eq!(rig.session.poll_timeout(), None);
}

#[test]
fn the_reason_that_is_told_is_what_ended_the_call_first() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    rig.session.close(rig.now);
    rig.send(encode(&[Frame::Goodbye]));
    assert_eq!(rig.events(), [Event::Closed { reason: CloseReason::Application }]);
}

#[test]
fn an_older_instant_counts_as_the_newest_that_was_seen() {
    let mut rig = Rig::connected();
    let newest = rig.now + SECOND;
    rig.session.handle_timeout(newest);
    rig.events();
    // Its answer waits to be sent.
    rig.check();
    assert_eq!(rig.session.poll_timeout(), Some(newest));
}

/// One frame of media, whole in a datagram.
fn media(line: u8, codec: Codec, (seq, time): (u64, u64), data: &[u8]) -> Vec<u8> {
    let media = Media { line, keyframe: seq == 0, ..Media::whole(codec, seq, time, data) };
    encode(&[Frame::Media(media)])
}

#[test]
fn pictures_that_arrive_are_told_of_once_counted_and_asked_for_when_one_is_missing() {
    let mut rig = Rig::connected();
    let camera = TrackId(1);
    let asked = rig.session.stats().keyframes_requested;
    for (seq, told) in [(0, vec![Event::EncodedReadable(camera)]), (1, vec![])] {
        rig.send(media(1, Codec::Vp8, (seq, seq * 3_000), b"picture"));
        assert_eq!(rig.events(), told);
    }
    assert_eq!(rig.session.stats().encoded_received, 2);
    assert_eq!(rig.session.stats().keyframes_requested, asked);
    assert!(rig.session.recv_encoded(camera).is_some_and(|frame| frame.keyframe));
    let second = rig.session.recv_encoded(camera).map(|frame| frame.time.as_millis());
    assert_eq!((second, rig.session.recv_encoded(camera)), (Some(33), None));
    rig.pass(SECOND);
    // The third is missing.
    rig.send(media(1, Codec::Vp8, (3, 9_000), b"picture"));
    assert_eq!(rig.session.stats().keyframes_requested, asked + 1);
    assert_eq!(rig.session.stats().encoded_received, 3);
    rig.session.request_keyframe(camera, rig.now);
    assert_eq!(rig.session.stats().keyframes_requested, asked + 1, "asked already");
    rig.pass(SECOND);
    rig.session.request_keyframe(camera, rig.now);
    assert_eq!(rig.session.stats().keyframes_requested, asked + 2);
    rig.session.request_keyframe(TrackId(0), rig.now);
    assert_eq!(rig.session.stats().keyframes_requested, asked + 2, "sound has no keyframes");
}

#[cfg(feature = "opus")]
#[test]
fn sound_that_arrives_is_told_of_when_there_is_some_after_there_was_none() {
    let mut rig = Rig::connected();
    let told = [Event::AudioReadable(TrackId(0))];
    let packet = [b'N', 1, 2, 0, 0, 0, 0, 1, 0, 1, 0];
    let sound = |seq| media(0, Codec::Opus, (seq, 960 * seq), &packet);
    rig.send(sound(0));
    assert_eq!(rig.events(), told);
    rig.send(sound(1));
    assert_eq!(rig.events(), [], "nobody has read the first one");
    let mut samples = [0; 16_000];
    while rig.session.recv_audio(TrackId(0), &mut samples).is_some() {}
    assert!(rig.session.recv_audio(TrackId(1), &mut samples).is_none());
    // The third is missing: what came after it is held until it was waited for long enough.
    rig.send(sound(3));
    assert_eq!(rig.events(), []);
    assert_eq!(rig.pass(SECOND), told);
    assert_eq!(rig.session.stats().audio_packets_received, 3);
}

#[test]
fn coded_frames_that_are_sent_are_counted_and_their_time_never_goes_back() {
    let picture = |ms| {
        let time = Duration::from_millis(ms);
        EncodedFrame::new(Codec::Vp8, time, true, Bytes::from_static(b"picture"))
    };
    let camera = TrackId(1);
    let mut rig = Rig::new();
    assert_eq!(rig.session.send_encoded(camera, picture(5_000), rig.now), Ok(()));
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_sent, stats.media_dropped), (0, 1), "nobody is there yet");

    let mut rig = Rig::connected();
    for ms in [2_000, 3_000, 3_000] {
        assert_eq!(rig.session.send_encoded(camera, picture(ms), rig.now), Ok(()));
    }
    let back = rig.session.send_encoded(camera, picture(2_999), rig.now);
    assert!(matches!(back, Err(SendError::Unsupported { field: "time", value: 2_999, .. })));
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_sent, stats.media_dropped), (3, 0));
    let mut times = Vec::new();
    while let Some(transmit) = rig.session.poll_transmit() {
        for frame in decode(&transmit.payload).into_iter().flatten() {
            times.extend(if let Frame::Media(media) = frame { Some(media.time) } else { None });
        }
    }
    assert_eq!((times[1] - times[0], times[2] - times[1]), (90_000, 0), "{times:?}");
}

#[test]
fn packets_of_sound_are_counted_as_they_go_and_places_of_cleared_pieces_are_free_again() {
    let mut rig = Rig::connected();
    let mut packets = 0;
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        rig.session.handle_timeout(rig.now);
        while let Some(transmit) = rig.session.poll_transmit() {
            let frames = decode(&transmit.payload);
            let is_sound = |frame: &Frame<'_>| matches!(frame, Frame::Media(_));
            packets += frames.into_iter().flatten().filter(is_sound).count() as u64;
        }
    }
    assert!(packets >= 50, "{packets}");
    let stats = rig.session.stats();
    assert_eq!((stats.audio_packets_sent, stats.media_dropped), (packets, 0));

    for _ in 0..3 {
        for _ in 0..8_192 {
            rig.session.send_audio(AudioFrame::mono(&[1; 8], 16_000), rig.now).unwrap();
        }
        assert_eq!(rig.session.clear_audio(rig.now).pieces.len(), 8_192);
    }
}

#[test]
fn what_the_channel_brings_is_counted_as_what_it_is() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    let before = rig.session.stats();
    for text in ["ping: 1", "ping: 2", "ping: 3"] {
        rig.chunk(Content::Text, text.as_bytes());
    }
    assert_eq!(rig.session.stats().pings, 3);
    rig.chunk(Content::Binary, b"");
    rig.chunk(Content::Text, b"");
    assert_eq!(rig.session.stats().messages_noise, 2);
    let status = r#"{"type":"signalling",
        "message":{"type":"trackStatus","receiver_index":9,"enabled":true}}"#;
    for (noise, text) in [(3, status), (4, RENEGOTIATE)] {
        rig.chunk(Content::Text, text.as_bytes());
        assert_eq!(rig.session.stats().messages_noise, noise, "{text}");
    }
    assert_eq!(rig.events(), []);
    let received = rig.session.stats().datagrams_received - before.datagrams_received;
    assert_eq!(received, 7);
    assert!(rig.session.stats().bytes_received > before.bytes_received + 5);
    assert_eq!(rig.session.stats().datagrams_malformed, 0);
    rig.send(vec![0xff; 9]);
    assert_eq!(rig.session.stats().datagrams_malformed, 1);
    rig.send(encode(&[Frame::Report { rtt_ms: 80, lost_per_mille: 250, jitter_ms: 7 }]));
    rig.pass(5 * SECOND);
    assert_eq!(rig.session.stats().rtt, Some(Duration::from_millis(80)));
}

#[test]
fn messages_are_counted_as_they_go() {
    let mut rig = Rig::connected();
    for _ in 0..3 {
        assert_eq!(rig.session.send_message(Message::text("x"), rig.now), Ok(Delivery::Queued));
        assert_eq!(rig.session.stats().messages_sent, 0);
    }
    rig.chunk(Content::Open, b"chat");
    rig.acknowledge();
    assert_eq!(rig.session.stats().messages_sent, 3);
    assert_eq!(rig.session.send_message(Message::text(""), rig.now), Err(SendError::Empty));
    let stats = rig.session.stats();
    assert_eq!((stats.messages_sent, stats.messages_refused), (3, 1));
}

#[test]
fn what_is_not_acknowledged_is_bounded_and_so_is_what_waits_behind_it() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    // Twice 64 KiB fill the window of a call whose round trip is not known.
    let message = |len: usize| Message::text("x".repeat(len));
    for delivery in [Delivery::Sent, Delivery::Sent, Delivery::Queued] {
        assert_eq!(rig.session.send_message(message(64 * 1024), rig.now), Ok(delivery));
    }
    while !rig.messages().is_empty() {
        rig.acknowledge();
    }
    assert_eq!(rig.session.stats().messages_sent, 3);
    // The first goes out, four wait.
    for _ in 0..5 {
        let taken = rig.session.send_message(message(256 * 1024), rig.now);
        assert!(taken.is_ok(), "{taken:?}");
    }
    let full = SendError::QueueFull { limit: messages::QUEUED_BYTES_MAX, wait: None };
    assert_eq!(rig.session.send_message(message(1), rig.now), Err(full));
}

#[test]
fn a_channel_that_came_and_went_again_is_not_waited_for_at_the_end() {
    let mut rig = Rig::connected();
    let waits = rig.session.send_message(Message::text("the last word"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    rig.session.close(rig.now);
    rig.chunk(Content::Open, b"chat");
    rig.chunk(Content::Close, b"");
    let told = rig.events();
    assert!(matches!(told.last(), Some(Event::Closed { .. })), "{told:?}");
}

#[test]
fn a_channel_that_closed_may_open_again_for_ten_seconds() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.chunk(Content::Close, b"");
    rig.events();
    let waits = rig.session.send_message(Message::text("for the next one"), rig.now);
    assert_eq!(waits, Ok(Delivery::Queued));
    for _ in 0..3 {
        rig.check();
        assert_eq!(rig.pass(3 * SECOND), []);
    }
    rig.check();
    assert_eq!(rig.pass(SECOND), [Event::MessagesDropped { count: 1 }]);
}

#[test]
fn an_open_channel_is_not_waited_for_after_the_peer_came_back() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.pass(9 * SECOND);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
    for _ in 0..5 {
        rig.check();
        rig.pass(3 * SECOND);
    }
    let sent = rig.session.send_message(Message::text("still there"), rig.now);
    assert_eq!(sent, Ok(Delivery::Sent));
}

#[test]
fn the_largest_message_there_may_be_arrives_whole() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    let data = vec![7; messages::MESSAGE_LEN_MAX];
    let (last, parts) = {
        let mut parts: Vec<&[u8]> = data.chunks(1_024).collect();
        (parts.pop().expect("there are many"), parts)
    };
    for part in parts {
        rig.chunk(Content::More, part);
    }
    rig.chunk(Content::Binary, last);
    assert_eq!(rig.events(), [Event::Message(Message::Binary(data.clone().into()))]);
    assert_eq!(rig.session.stats().messages_noise, 0);
}
