//! What the fuzz targets run. Each function takes any bytes, must neither panic nor run long, and
//! asserts what has to hold whatever the bytes are. `tests/fuzz.rs` runs them on the committed
//! corpora and on mutations of valid input.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::record::{Log, replay};
use smallrtc::scripted::{Chunk, Content, Frame, stun};
use smallrtc::signaling::{Reply, Request, Signaling, named_call};
use smallrtc::{
    Answer, AudioFrame, CloseReason, Config, Datagram, Endpoint, Event, LocalCandidate, Message,
    Offer, RemoteCandidate, Seed, Session, TrackId, TransportId, Ufrag,
};

use crate::replays::Replays;

/// An offer as Chromium makes it: audio, a camera and a data channel.
pub const OFFER: &str = include_str!("fixtures/offer.sdp");

/// Steps of a script in one run; more tell nothing new and slow the search.
const STEPS_MAX: usize = 256;

const HERE: ([u8; 4], u16) = ([192, 0, 2, 1], 7860);
const THERE: ([u8; 4], u16) = ([198, 51, 100, 7], 50_000);

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    *ORIGIN.get_or_init(Instant::now)
}

fn local() -> LocalCandidate {
    LocalCandidate::host(TransportId(0), SocketAddr::from(HERE))
}

fn datagram(payload: &[u8]) -> Datagram {
    let (source, here) = (SocketAddr::from(THERE), SocketAddr::from(HERE));
    Datagram::udp(TransportId(0), source, here, Bytes::copy_from_slice(payload))
}

fn offer() -> Offer {
    Offer::parse(OFFER).expect("the fixture is an offer")
}

fn config(scripted: bool) -> Arc<Config> {
    Config::new().dangerous().scripted_transport(scripted).null_codec(true).done().shared()
}

/// A `candidate` attribute: parsing is total, and what is usable reads back as itself.
pub fn candidate(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(RemoteCandidate::Udp(candidate)) = RemoteCandidate::parse(&text) {
        let again = RemoteCandidate::parse(candidate.line());
        assert_eq!(again, Ok(RemoteCandidate::Udp(candidate)));
    }
}

/// An offer, given to a new session over the real engine: it is answered or refused, and a
/// refused one leaves the session as new as it was.
pub fn offer_text(data: &[u8]) {
    let Ok(parsed) = Offer::parse(&String::from_utf8_lossy(data)) else { return };
    let now = origin();
    let mut session = Session::new(config(false), Seed::from_number(1), now);
    session.add_local_candidate(local(), now).expect("the first address is taken");
    if session.accept_offer(&parsed, now).is_err() {
        session.accept_offer(&offer(), now).expect("a refused offer leaves nothing behind");
    }
    drain(&mut session);
}

/// Datagrams into a live endpoint and, past its routing, into a session over the real engine. In
/// the endpoint no stranger ends a session; in the session the engine never fails by them.
pub fn datagrams(data: &[u8]) {
    let now = origin();
    let mut endpoint = Endpoint::new(config(false), Seed::from_number(2), now);
    endpoint.add_local_candidate(local());
    let (id, _) = endpoint.accept(&offer(), now).expect("the fixture is accepted");
    for (index, payload) in split(data).into_iter().take(STEPS_MAX).enumerate() {
        let now = now + Duration::from_millis(index as u64);
        let _ = endpoint.handle_datagram(datagram(payload), now);
        while endpoint.poll_transmit().is_some() {}
        while let Some((_, event)) = endpoint.poll_event() {
            assert!(!matches!(event, Event::Closed { .. }), "strangers ended a session");
        }
    }
    assert_eq!(endpoint.session_ids(), [id]);
    let mut session = Session::new(config(false), Seed::from_number(6), now);
    session.add_local_candidate(local(), now).expect("the first address is taken");
    session.accept_offer(&offer(), now).expect("the fixture is accepted");
    for payload in split(data).into_iter().take(STEPS_MAX) {
        session.handle_datagram(datagram(payload), now);
        let reasons = drain(&mut session);
        assert!(!reasons.contains(&CloseReason::Internal), "a datagram broke the engine");
    }
}

/// A message of the peer's data channel, as text and as binary: the session goes on, unless the
/// message says that the peer leaves.
pub fn message(data: &[u8]) {
    for content in [Content::Text, Content::Binary] {
        let (mut session, now) = connected(None);
        let chunk = Chunk { number: 1, channel: 1, content, data };
        let mut bytes = smallrtc::scripted::datagram();
        Frame::Chunk(chunk).encode(&mut bytes);
        session.handle_datagram(datagram(&bytes), now);
        session.handle_timeout(now + Duration::from_millis(20));
        let ends: Vec<_> = drain(&mut session);
        assert!(ends.iter().all(|reason| *reason == CloseReason::PeerLeft), "{ends:?}");
    }
}

/// A body for each of the signalling requests: a refusal leaves the endpoint empty.
pub fn signaling(data: &[u8]) {
    let now = origin();
    let mut endpoint = Endpoint::new(config(true), Seed::from_number(3), now);
    endpoint.add_local_candidate(local());
    let mut signaling = Signaling::new(Seed::from_number(4));
    for method in ["POST", "PATCH", "GET"] {
        let request = Request { method, path: "/api/offer", body: data };
        let named = named_call(request);
        assert!(named.is_none_or(|named| named.shard < Ufrag::NODES), "a shard that cannot be");
        match signaling.handle(&mut endpoint, request, now) {
            Reply::Now(response) => {
                let json: Result<serde_json::Value, _> = serde_json::from_str(&response.body);
                assert!(json.is_ok(), "the answer is JSON: {}", response.body);
                assert!(response.status < 500 || response.status == 503, "{}", response.status);
            }
            Reply::Later(_) => panic!("nothing is gathered here"),
            _ => {}
        }
    }
    assert!(endpoint.len() <= 1, "one request makes at most one session");
    for id in endpoint.session_ids() {
        let name = signaling.pc_id_of(id).expect("each session has a name");
        let body = format!(r#"{{"pc_id":"{name}"}}"#);
        let request = Request { method: "PATCH", path: "/api/offer", body: body.as_bytes() };
        assert_eq!(named_call(request).map(|named| named.shard), Some(endpoint.place().1));
    }
}

/// A session over the scripted transport under an arbitrary script: commands, datagrams and
/// time. After it, silence: the session ends, once, within its bounds. It is recorded, and the log
/// replays identical.
pub fn scripted(data: &[u8]) {
    // Dropped after the session, which ends its log.
    let replays = Replays::default();
    let (mut session, mut now) = connected(Some((&replays, data.len() as u64)));
    let mut closed = 0;
    let mut script = Script(data);
    for _ in 0..STEPS_MAX {
        let Some(command) = script.byte() else { break };
        now += Duration::from_millis(u64::from(command >> 4) * 7);
        step(&mut session, command & 15, &mut script, now);
        session.handle_timeout(now);
        closed += drain(&mut session).len();
        assert!(session.poll_timeout().is_none_or(|at| at > now), "due without work");
    }
    for _ in 0..100_000 {
        let Some(at) = session.poll_timeout() else { break };
        now = now.max(at);
        session.handle_timeout(now);
        closed += drain(&mut session).len();
    }
    assert_eq!(closed, 1, "the session ends once");
    assert!(session.is_finished());
}

fn step(session: &mut Session, command: u8, script: &mut Script<'_>, now: Instant) {
    let track = TrackId(script.byte().unwrap_or(0) & 3);
    match command {
        0..=5 => session.handle_datagram(datagram(script.take()), now),
        6 => session.handle_timeout(now),
        7 => {
            let samples = vec![1000; usize::from(script.byte().unwrap_or(0)) * 7];
            let _ = session.send_audio(AudioFrame::mono(&samples, 16_000), now);
        }
        8 => drop(session.clear_audio(now)),
        9 => {
            let bytes = Bytes::copy_from_slice(script.take());
            let _ = session.send_message(Message::Binary(bytes), now);
        }
        10 => {
            let mut samples = [0; 320];
            while session.recv_audio(track, &mut samples).is_some() {}
            while session.recv_encoded(track).is_some() {}
        }
        11 => session.start(now),
        12 => session.request_renegotiation(now),
        13 => session.request_keyframe(track, now),
        14 => drop(session.accept_offer(&offer(), now)),
        _ => session.close(now),
    }
}

/// Polls everything, and gives the reasons of the endings that were told: at most one.
fn drain(session: &mut Session) -> Vec<CloseReason> {
    let mut reasons = Vec::new();
    while session.poll_transmit().is_some() {}
    while let Some(event) = session.poll_event() {
        assert!(reasons.is_empty(), "nothing follows Closed: {event:?}");
        if let Event::Closed { reason } = event {
            reasons.push(reason);
        }
    }
    reasons
}

/// The log of a call: it is read and shown up to its damage, and what can be read is replayed.
/// Under a fuzzer the checks of records count for nothing, so that changed ones are read as well.
pub fn log(data: &[u8]) {
    let Ok(log) = Log::read(data) else { return };
    let lines = log.timeline().count();
    assert!(lines >= log.calls());
    if let Ok(replay) = replay(&log, crate::start()) {
        assert!(replay.calls <= log.calls() as u64);
        assert!(replay.is_identical() || !replay.to_string().is_empty());
    }
}

/// A session over the scripted transport, connected, started, with an open channel.
fn connected(replays: Option<(&Replays, u64)>) -> (Session, Instant) {
    let now = origin();
    let config = config(true);
    let config = match replays {
        Some((replays, seed)) => replays.record(Config::clone(&config), seed).shared(),
        None => config,
    };
    let mut session = Session::new(config, Seed::from_number(5), now);
    session.add_local_candidate(local(), now).expect("the first address is taken");
    let answer = session.accept_offer(&offer(), now).expect("the fixture is accepted");
    session.start(now);
    let (ufrag, pwd) = credentials(&answer);
    session.handle_datagram(datagram(&stun::request([1; 12], &ufrag, "EEtu", &pwd, true)), now);
    let mut bytes = smallrtc::scripted::datagram();
    Frame::Hello.encode(&mut bytes);
    let open = Chunk { number: 0, channel: 1, content: Content::Open, data: b"chat" };
    Frame::Chunk(open).encode(&mut bytes);
    session.handle_datagram(datagram(&bytes), now);
    let _ = drain(&mut session);
    assert_eq!(session.state(), smallrtc::ConnectionState::Connected);
    (session, now)
}

fn credentials(answer: &Answer) -> (String, String) {
    let value = |name: &str| {
        let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        line.expect("the answer has credentials").trim().to_owned()
    };
    (value("a=ice-ufrag:"), value("a=ice-pwd:"))
}

/// Reads a script from bytes.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Bytes with their length in front.
    fn take(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or(0));
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// Cuts bytes into pieces with their lengths in front.
fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut script = Script(data);
    let mut pieces = Vec::new();
    while !script.0.is_empty() {
        pieces.push(script.take());
    }
    pieces
}
