//! Text and files: what is parsed before there is a call, or after it.

use std::time::Duration;

use smallrtc::record::{Log, replay};
use smallrtc::signaling::{Reply, Request, Signaling, named_call};
use smallrtc::{CloseReason, Endpoint, Event, Offer, RemoteCandidate, Seed, Session, Ufrag};

use super::{STEPS_MAX, config, local, offer, origin, real_session};

/// How long a session tries the candidates that it was given.
const TRIES: Duration = Duration::from_secs(2);

/// A `candidate` attribute: parsing is total, and what is usable reads back as itself. Several, a
/// line each, are given to a session over the real engine: it asks nobody else, and lives.
pub fn candidate(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(RemoteCandidate::Udp(candidate)) = RemoteCandidate::parse(&text) {
        let again = RemoteCandidate::parse(candidate.line());
        assert_eq!(again, Ok(RemoteCandidate::Udp(candidate)));
    }
    if text.trim().contains('\n') {
        candidates(text.lines().take(STEPS_MAX));
    }
}

fn candidates<'a>(lines: impl Iterator<Item = &'a str>) {
    let (mut session, mut now, mut known) = (real_session(7), origin(), Vec::new());
    for candidate in lines.filter_map(|line| RemoteCandidate::parse(line).ok()) {
        let taken = session.add_remote_candidate(&candidate, now).is_ok();
        if let (true, RemoteCandidate::Udp(candidate)) = (taken, candidate) {
            known.push(candidate.address());
        }
    }
    while now < origin() + TRIES {
        session.handle_timeout(now);
        while let Some(transmit) = session.poll_transmit() {
            assert!(known.contains(&transmit.destination), "{transmit:?} for nobody");
        }
        assert_eq!(drain(&mut session), [], "a candidate ended the call");
        let next = session.poll_timeout().expect("a session that connects has a time limit");
        assert!(next > now, "due without work");
        now = next;
    }
}

/// An offer, given to a new session over the real engine: it is answered or refused, and a
/// refused one leaves the session as new as it was.
pub fn offer_text(data: &[u8]) {
    let Ok(parsed) = Offer::parse(&String::from_utf8_lossy(data)) else { return };
    let now = origin();
    let mut session = Session::new(config(false), Seed::from_number(1), now);
    session.add_local_candidate(local(), now).expect("the first address is taken");
    let lines = |sdp: &str| sdp.lines().filter(|line| line.starts_with("m=")).count();
    match session.accept_offer(&parsed, now) {
        // RFC 3264 section 6.
        Ok(answer) => {
            assert_eq!(lines(answer.sdp()), lines(parsed.sdp()), "an m-line for each");
        }
        Err(_) => {
            session.accept_offer(&offer(), now).expect("a refused offer leaves nothing behind");
        }
    }
    assert_eq!(drain(&mut session), [], "an offer ended the call");
    session.handle_timeout(now + Duration::from_secs(1));
    assert_eq!(drain(&mut session), [], "an offer broke the engine");
}

/// A body for each of the signalling requests: a refusal leaves the endpoint empty.
pub fn signaling(data: &[u8]) {
    let now = origin();
    let mut endpoint = Endpoint::new(config(true), Seed::from_number(3), now);
    endpoint.add_local_candidate(local());
    let mut signaling = Signaling::new(Seed::from_number(4));
    for (method, path) in
        [("POST", "/api/offer"), ("PATCH", "/api/offer"), ("GET", "/api/offer"), ("POST", "/start")]
    {
        let request = Request::new(method, path, data);
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
        let request = Request::new("PATCH", "/api/offer", body.as_bytes());
        assert_eq!(named_call(request).map(|named| named.shard), Some(endpoint.place().1));
    }
}

/// The log of a call: it is read, shown and put in figures up to its damage, and what can be read
/// is replayed.
/// Under a fuzzer the checks of records count for nothing, so that changed ones are read as well.
pub fn log(data: &[u8]) {
    let Ok(log) = Log::read(data) else { return };
    let lines = log.timeline().count();
    assert!(lines >= log.calls());
    let mut last = Duration::ZERO;
    for (at, figure) in log.figures() {
        assert!(at >= last, "{figure:?} at {at:?}, after what happened at {last:?}");
        last = at;
    }
    if let Ok(replay) = replay(&log, crate::start()) {
        assert!(replay.calls <= log.calls() as u64);
        assert!(replay.is_identical() || !replay.to_string().is_empty());
    }
}

/// Polls everything, and gives the reasons of the endings that were told: at most one.
pub(super) fn drain(session: &mut Session) -> Vec<CloseReason> {
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
