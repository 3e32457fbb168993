//! Whole sessions over the scripted transport, on virtual time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::scripted::{Chunk, Content, Frame, decode, encode, stun};
use crate::{
    AudioFrame, CloseReason, Datagram, LocalCandidate, NegotiateError, Offer, RemoteCandidate,
    TransportId,
};

const SECOND: Duration = Duration::from_secs(1);

const SDP: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
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
        let now = epoch();
        let config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
        let mut session = Session::new(config.shared(), Seed::from_number(1), now);
        session.add_local_candidate(LocalCandidate::host(TransportId(0), here()), now).unwrap();
        let mut rig = Rig { session, now, answer: String::new(), chunk: 0, expected: 0 };
        rig.offer(SDP).unwrap();
        rig.session.start(now);
        rig
    }

    /// ICE and DTLS are done, no channel is open.
    fn connected() -> Rig {
        let mut rig = Rig::new();
        rig.check();
        rig.send(encode(&[Frame::Hello]));
        assert_eq!(rig.session.state(), ConnectionState::Connected);
        rig.events();
        rig
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
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            events.extend(self.events());
        }
        self.now = until;
        events
    }
}

#[test]
fn sound_that_a_reoffer_stops_is_told_of_and_takes_no_place_afterwards() {
    let mut rig = Rig::connected();
    let held = SDP.replacen("a=sendrecv", "a=sendonly", 1);
    let block = [1000; 160];
    let mut ids = Vec::new();
    for round in 0..4 {
        for _ in 0..5_000 {
            let id = rig.session.send_audio(AudioFrame::mono(&block, 16_000), rig.now);
            ids.push(id.unwrap_or_else(|error| panic!("round {round}: {error}")));
        }
        rig.offer(&held).unwrap();
        let refused = rig.session.send_audio(AudioFrame::mono(&block, 16_000), rig.now);
        assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
        let finished =
            rig.events().into_iter().filter(|e| matches!(e, Event::AudioFinished { .. }));
        assert_eq!(finished.count(), 5_000);
        rig.offer(SDP).unwrap();
    }
    assert!(ids.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "ids rise by one");
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
    assert_eq!(end, [Event::Closed { reason: CloseReason::Application }]);
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
