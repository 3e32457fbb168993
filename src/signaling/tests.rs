//! Requests over a whole endpoint on the scripted transport.

mod counts;
mod restarts;
mod sessions;

use super::*;
use crate::{CloseReason, Config, Event, LocalCandidate, TransportId};

const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    a=mid:0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

const CANDIDATE: &str = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host";
const MS: Duration = Duration::from_millis(1);

struct Rig {
    endpoint: Endpoint,
    signaling: Signaling,
    now: Instant,
}

#[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
fn start() -> Instant {
    Instant::now()
}

fn local() -> LocalCandidate {
    LocalCandidate::host(TransportId(0), "198.51.100.1:7860".parse().unwrap())
}

/// A whole offer, with more fields behind.
fn offer(fields: &str) -> String {
    format!(r#"{{"sdp":{},"type":"offer"{fields}}}"#, Value::from(SDP))
}

fn named(pc_id: &str, restart: bool) -> String {
    offer(&format!(r#","pc_id":"{pc_id}","restart_pc":{restart}"#))
}

fn trickle(pc_id: &str, candidates: &[&str]) -> String {
    let list: Vec<Value> = candidates
        .iter()
        .map(|line| json!({ "candidate": line, "sdp_mid": "0", "sdp_mline_index": 0 }))
        .collect();
    json!({ "pc_id": pc_id, "candidates": list }).to_string()
}

impl Rig {
    fn new() -> Rig {
        let mut rig = Rig::without_candidates(Config::new());
        rig.endpoint.add_local_candidate(local());
        rig
    }

    fn without_candidates(config: Config) -> Rig {
        let now = start();
        let config = config.dangerous().scripted_transport(true).done().shared();
        let endpoint = Endpoint::new(config, Seed::from_number(1), now);
        Rig { endpoint, signaling: Signaling::new(Seed::from_number(2)), now }
    }

    fn reply(&mut self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.handle(Request::new(method, path, body))
    }

    fn handle(&mut self, request: Request<'_>) -> Reply {
        self.signaling.handle(&mut self.endpoint, request, self.now)
    }

    fn request(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        match self.reply(method, path, body) {
            Reply::Now(response) => read(&response),
            Reply::Later(token) => panic!("{token:?} instead of an answer"),
        }
    }

    fn post(&mut self, body: &str) -> (u16, Value) {
        self.request("POST", "/api/offer", body.as_bytes())
    }

    fn patch(&mut self, body: &str) -> (u16, Value) {
        self.request("PATCH", "/api/offer", body.as_bytes())
    }

    /// A call that is made; its pc_id.
    fn call(&mut self, body: &str) -> String {
        let (status, answer) = self.post(body);
        assert_eq!((status, &answer["type"]), (200, &Value::from("answer")), "{answer}");
        answer["pc_id"].as_str().unwrap().to_owned()
    }

    fn later(&mut self, body: &str) -> Token {
        match self.reply("POST", "/api/offer", body.as_bytes()) {
            Reply::Later(token) => token,
            Reply::Now(response) => panic!("{response:?} instead of waiting"),
        }
    }

    /// Polls the endpoint, and tells of what ended as a driver does.
    fn drain(&mut self) -> Vec<(SessionId, Event)> {
        let mut events = Vec::new();
        while let Some((id, event)) = self.endpoint.poll_event() {
            if matches!(event, Event::Closed { .. }) {
                self.signaling.session_closed(id);
            }
            events.push((id, event));
        }
        while self.endpoint.poll_transmit().is_some() {}
        events
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(self.endpoint.len(), 0);
        assert_eq!(self.signaling.names.len(), 0);
        assert!(self.signaling.calls.is_empty());
        assert!(self.signaling.starts.is_empty());
        assert!(self.signaling.waiting.is_empty());
        assert!(self.signaling.responses.is_empty());
        assert_eq!(self.signaling.poll_timeout(), None);
    }
}

fn read(response: &Response) -> (u16, Value) {
    (response.status, serde_json::from_str(&response.body).unwrap())
}

#[test]
fn an_offer_makes_a_call_and_tells_of_it_once() {
    let mut rig = Rig::new();
    let body = offer(r#","requestData":{"name":"Ada"},"new_field":[1]"#);
    let (status, answer) = rig.post(&body);
    assert_eq!(status, 200);
    assert!(answer["sdp"].as_str().unwrap().contains("198.51.100.1 7860"), "{answer}");
    let pc_id = answer["pc_id"].as_str().unwrap();
    assert_eq!(rig.signaling.poll_timeout(), Some(rig.now), "a call waits to be polled");
    let call = rig.signaling.poll_call().unwrap();
    assert_eq!(rig.endpoint.session_ids(), [call.id]);
    assert_eq!((call.pc_id.as_str(), call.replaces), (pc_id, None));
    assert_eq!(call.request_data, Some(json!({ "name": "Ada" })));
    assert_eq!(rig.signaling.session_of(pc_id), Some(call.id));
    assert_eq!(rig.signaling.pc_id_of(call.id), Some(pc_id));
    assert_eq!((rig.signaling.poll_call(), rig.signaling.poll_timeout()), (None, None));
}

#[test]
fn the_next_offer_of_a_call_is_answered_by_the_same_session() {
    let mut rig = Rig::new();
    let pc_id = rig.call(&offer(""));
    let call = rig.signaling.poll_call().unwrap();
    assert_eq!(rig.call(&named(&pc_id, false)), pc_id);
    assert_eq!(rig.endpoint.session_ids(), [call.id]);
    assert_eq!(rig.signaling.poll_call(), None, "it is served already");
}

#[test]
fn an_unknown_null_or_empty_name_makes_a_new_call() {
    let mut rig = Rig::new();
    for fields in [r#","pc_id":null"#, r#","pc_id":"""#, r#","pc_id":"x","restart_pc":true"#, ""] {
        rig.call(&offer(fields));
    }
    assert_eq!((rig.endpoint.len(), rig.signaling.names.len()), (4, 4));
}

#[test]
fn a_restart_replaces_session_and_name_and_frees_the_old_at_once() {
    let mut rig = Rig::new();
    let old_name = rig.call(&offer(""));
    let old = rig.signaling.poll_call().unwrap().id;
    let new_name = rig.call(&named(&old_name, true));
    let call = rig.signaling.poll_call().unwrap();
    assert_ne!(new_name, old_name);
    assert_eq!((call.replaces, call.pc_id), (Some(old), new_name));
    assert_eq!(rig.signaling.session_of(&old_name), None);
    let events = rig.drain();
    assert!(events.contains(&(old, Event::Closed { reason: CloseReason::Replaced })));
    assert_eq!(rig.endpoint.session_ids(), [call.id]);
    assert_eq!(rig.patch(&trickle(&old_name, &[])).0, 404);
}

#[test]
fn a_restart_works_while_the_endpoint_is_full() {
    let mut rig = Rig::without_candidates(Config::new().max_sessions(1));
    rig.endpoint.add_local_candidate(local());
    let name = rig.call(&offer(""));
    assert_eq!(rig.post(&offer("")).0, 503);
    let name = rig.call(&named(&name, true));
    rig.drain();
    rig.call(&named(&name, true));
}

#[test]
fn a_refused_re_offer_or_restart_leaves_the_call_as_it_was() {
    let mut rig = Rig::new();
    let name = rig.call(&offer(""));
    let call = rig.signaling.poll_call().unwrap();
    let other = SDP.replace("sha-256 00", "sha-256 99").replace("m=application", "m=image");
    for restart in [false, true] {
        let body = json!({ "sdp": other, "type": "offer", "pc_id": name, "restart_pc": restart });
        let (status, detail) = rig.post(&body.to_string());
        assert_eq!(status, 400);
        assert!(detail["detail"].as_str().unwrap().starts_with("sdp: "), "{detail}");
    }
    rig.drain();
    assert_eq!(rig.signaling.session_of(&name), Some(call.id));
    let state = rig.endpoint.session(call.id).unwrap().state();
    assert_eq!((state, rig.signaling.poll_call()), (ConnectionState::Connecting, None));
}

#[test]
fn the_name_of_a_call_that_ended_makes_a_new_call() {
    let mut rig = Rig::new();
    let name = rig.call(&offer(""));
    let call = rig.signaling.poll_call().unwrap();
    // It is closed but that was not polled, then polled and not told, then told.
    rig.endpoint.session(call.id).unwrap().close(rig.now);
    assert_ne!(rig.call(&named(&name, false)), name);
    while rig.endpoint.poll_event().is_some() {}
    assert_ne!(rig.call(&named(&name, true)), name);
    rig.signaling.session_closed(call.id);
    assert_ne!(rig.call(&named(&name, false)), name);
    assert_eq!(rig.endpoint.len(), 3);
}

#[test]
fn candidates_are_taken_and_their_end_is_no_error() {
    let mut rig = Rig::new();
    let name = rig.call(&offer(""));
    for list in [&[CANDIDATE][..], &[""], &[CANDIDATE, ""], &[]] {
        let (status, body) = rig.patch(&trickle(&name, list));
        assert_eq!((status, body), (200, json!({ "status": "success" })));
    }
    let mdns = "candidate:1 1 udp 2113937151 4fd1d3e8.local 50000 typ host";
    assert_eq!(rig.patch(&trickle(&name, &[mdns])).0, 200);
}

#[test]
fn one_bad_candidate_keeps_the_good_ones_of_its_request_out() {
    let mut rig = Rig::new();
    let name = rig.call(&offer(""));
    let good: Vec<String> = (0..CANDIDATES_MAX - 1)
        .map(|n| CANDIDATE.replace("50000", &(50_000 + n).to_string()))
        .collect();
    let mut list: Vec<&str> = good.iter().map(String::as_str).collect();
    list.push("garbage");
    let (status, body) = rig.patch(&trickle(&name, &list));
    assert_eq!(status, 400);
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.starts_with("candidates[63].candidate: "), "{detail}");
    // Had they been taken, there would be no room for as many again.
    list.pop();
    assert_eq!(rig.patch(&trickle(&name, &list)).0, 200);
    assert_eq!(rig.patch(&trickle(&name, &[CANDIDATE])).0, 200);
    let (status, body) = rig.patch(&trickle(&name, &[CANDIDATE]));
    assert_eq!(status, 400);
    assert!(body["detail"].as_str().unwrap().contains("64"), "{body}");
}

#[test]
fn a_patch_for_nobody_is_not_found() {
    let mut rig = Rig::new();
    let not_found = (404, json!({ "detail": "Peer connection not found" }));
    assert_eq!(rig.patch(&trickle("who", &[CANDIDATE])), not_found);
    let name = rig.call(&offer(""));
    let call = rig.signaling.poll_call().unwrap();
    rig.endpoint.session(call.id).unwrap().close(rig.now);
    assert_eq!(rig.patch(&trickle(&name, &[CANDIDATE])), not_found);
    rig.drain();
    assert_eq!(rig.patch(&trickle(&name, &[CANDIDATE])), not_found);
    rig.assert_nothing_is_left();
}

/// Method, path, body, status and what `detail` begins with.
type Refused = (&'static str, &'static str, String, u16, &'static str);

fn refused_offers() -> Vec<Refused> {
    let sdp = Value::from(SDP);
    let fields = [
        ("", 400, "body: not an object"),
        ("[]", 400, "body: not an object"),
        ("null", 400, "body: not an object"),
        ("{", 400, "body: "),
        (r#"{"sdp":"x","type":"offer"}}"#, 400, "body: "),
        ("{}", 400, "sdp: missing"),
        (r#"{"sdp":null,"type":"offer"}"#, 400, "sdp: missing"),
        (r#"{"sdp":7,"type":"offer"}"#, 400, "sdp: a number"),
        (r#"{"sdp":"","type":"offer"}"#, 400, "sdp: empty"),
        (r#"{"sdp":"garbage","type":"offer"}"#, 400, "sdp: the first line is not `v=0`"),
        (r#"{"sdp":"v=0\r\n","type":"offer"}"#, 400, "sdp: there is no m-line"),
        (r#"{"sdp":"v=0\r\nm=audio 9 x 0\r\n","type":"offer"}"#, 400, "sdp: a=ice-ufrag"),
    ];
    let mut table: Vec<Refused> = fields
        .into_iter()
        .map(|(body, status, detail)| ("POST", "/api/offer", body.to_owned(), status, detail))
        .collect();
    let mut post = |body: String, status, detail| {
        table.push(("POST", "/api/offer", body, status, detail));
    };
    post(format!(r#"{{"sdp":{sdp}}}"#), 400, "type: missing");
    post(format!(r#"{{"sdp":{sdp},"type":"answer"}}"#), 400, "type: `answer`");
    post(format!(r#"{{"sdp":{sdp},"type":["offer"]}}"#), 400, "type: a list");
    post(offer(r#","pc_id":5"#), 400, "pc_id: a number");
    post(offer(r#","pc_id":true"#), 400, "pc_id: a boolean");
    post(offer(r#","restart_pc":"yes""#), 400, "restart_pc: a string");
    let useless = SDP.replace("m=application 9 UDP/DTLS/SCTP", "m=image 9 udptl");
    post(json!({ "sdp": useless, "type": "offer" }).to_string(), 400, "sdp: no m-line");
    let long = format!("{SDP}{}", "a=x\r\n".repeat(14_000));
    post(json!({ "sdp": long, "type": "offer" }).to_string(), 400, "sdp: 70");
    post(" ".repeat(BODY_LEN_MAX + 1), 413, "body: the limit is 131072 bytes");
    table
}

fn refused_patches() -> Vec<Refused> {
    let mut table = Vec::new();
    for (body, detail) in [
        ("", "body: not an object"),
        (r#"{"candidates":[]}"#, "pc_id: missing"),
        (r#"{"pc_id":null,"candidates":[]}"#, "pc_id: missing"),
        (r#"{"pc_id":"","candidates":[]}"#, "pc_id: empty"),
        (r#"{"pc_id":"p"}"#, "candidates: missing"),
        (r#"{"pc_id":"p","candidates":{}}"#, "candidates: an object"),
        (r#"{"pc_id":"p","candidates":[1]}"#, "candidates[0]: a number"),
        (r#"{"pc_id":"p","candidates":[{"candidate":""},{}]}"#, "candidates[1].candidate: missing"),
        (r#"{"pc_id":"p","candidates":[{"candidate":1}]}"#, "candidates[0].candidate: a number"),
        (
            r#"{"pc_id":"p","candidates":[{"candidate":"","sdp_mid":0}]}"#,
            "candidates[0].sdp_mid: a number",
        ),
        (
            r#"{"pc_id":"p","candidates":[{"candidate":"","sdp_mline_index":-1}]}"#,
            "candidates[0].sdp_mline_index: a number",
        ),
        (
            r#"{"pc_id":"p","candidates":[{"candidate":"garbage"}]}"#,
            "candidates[0].candidate: it does not begin",
        ),
    ] {
        table.push(("PATCH", "/api/offer", body.to_owned(), 400, detail));
    }
    table.push(("PATCH", "/api/offer", " ".repeat(BODY_LEN_MAX + 1), 413, "body: the limit"));
    table
}

#[test]
fn every_refusal_names_its_reason_and_leaves_nothing_behind() {
    let mut table = refused_offers();
    table.extend(refused_patches());
    for (method, path) in [("GET", "/api/offer"), ("DELETE", "/api/offer"), ("post", "/api/offer")]
    {
        table.push((method, path, offer(""), 405, "Method Not Allowed"));
    }
    for path in ["/", "/api/offer/", "/api", "/API/offer", ""] {
        table.push(("POST", path, offer(""), 404, "Not Found"));
    }
    let mut rig = Rig::new();
    for (method, path, body, status, detail) in table {
        let shown: String = body.chars().take(80).collect();
        let (got, value) = rig.request(method, path, body.as_bytes());
        let got_detail = value["detail"].as_str().unwrap();
        assert_eq!(got, status, "{method} {path} {shown}: {got_detail}");
        assert!(got_detail.starts_with(detail), "{method} {path} {shown}: {got_detail}");
        assert!(got_detail.len() < 200, "{got_detail}");
        assert_eq!(value.as_object().unwrap().len(), 1);
        rig.assert_nothing_is_left();
    }
    assert_eq!(rig.endpoint.stats().sessions_accepted, 0);
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let mut rig = Rig::new();
    let Reply::Now(response) = rig.reply("GET", "/api/offer", b"") else { panic!("it waits") };
    assert_eq!(response.header("allow"), Some("POST, PATCH, OPTIONS"));
}

#[test]
fn who_cannot_pass_a_request_on_says_so_in_the_form_of_every_error() {
    let response = Response::unavailable("the shard is gone");
    assert_eq!(read(&response), (503, json!({ "detail": "the shard is gone" })));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn a_full_or_closed_endpoint_is_unavailable() {
    let mut rig = Rig::without_candidates(Config::new().max_sessions(1));
    rig.endpoint.add_local_candidate(local());
    rig.call(&offer(""));
    assert_eq!(rig.post(&offer("")).0, 503);
    assert_eq!((rig.endpoint.len(), rig.signaling.names.len()), (1, 1));
    rig.endpoint.close(rig.now);
    rig.drain();
    assert_eq!(rig.post(&offer("")).0, 503);
    rig.assert_nothing_is_left();
}

#[test]
fn offers_wait_while_candidates_are_gathered_and_are_answered_in_order() {
    let mut rig = Rig::new();
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    let tokens = [rig.later(&offer("")), rig.later(&offer(""))];
    assert_eq!(rig.signaling.poll_timeout(), Some(rig.now + GATHERING_TIMEOUT));
    assert_eq!((rig.signaling.poll_response(), rig.endpoint.len()), (None, 0));
    rig.signaling.set_gathering(&mut rig.endpoint, false, rig.now);
    assert_eq!(rig.signaling.poll_timeout(), Some(rig.now), "there are responses");
    for token in tokens {
        let (of, response) = rig.signaling.poll_response().unwrap();
        assert_eq!((of, response.status), (token, 200));
        assert!(rig.signaling.poll_call().is_some());
    }
    assert_eq!((rig.signaling.poll_response(), rig.signaling.poll_timeout()), (None, None));
}

#[test]
fn an_offer_before_the_first_candidate_waits_for_it() {
    let mut rig = Rig::without_candidates(Config::new());
    let token = rig.later(&offer(r#","request_data":5"#));
    rig.endpoint.add_local_candidate(local());
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now + MS);
    let (of, response) = rig.signaling.poll_response().unwrap();
    assert_eq!((of, response.status), (token, 200));
    assert!(response.body.contains("198.51.100.1 7860"));
    assert_eq!(rig.signaling.poll_call().unwrap().request_data, Some(Value::from(5)));
}

#[test]
fn gathering_that_takes_too_long_is_not_waited_for() {
    for (has_candidate, status) in [(true, 200), (false, 503)] {
        let mut rig = Rig::without_candidates(Config::new());
        rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
        let token = rig.later(&offer(""));
        if has_candidate {
            rig.endpoint.add_local_candidate(local());
        }
        let deadline = rig.now + GATHERING_TIMEOUT;
        rig.signaling.handle_timeout(&mut rig.endpoint, deadline - MS);
        assert_eq!(rig.signaling.poll_response(), None);
        rig.signaling.handle_timeout(&mut rig.endpoint, deadline);
        let (of, response) = rig.signaling.poll_response().unwrap();
        assert_eq!((of, response.status), (token, status));
        assert_eq!(rig.endpoint.len(), usize::from(has_candidate));
    }
}

#[test]
fn as_many_offers_wait_as_allowed_and_one_more_does_not() {
    let mut rig = Rig::without_candidates(Config::new());
    let tokens: Vec<Token> = (0..WAITING_MAX).map(|_| rig.later(&offer(""))).collect();
    assert_eq!(rig.post(&offer("")).0, 503);
    assert_eq!(rig.post("{}").0, 400, "what is wrong is told at once");
    rig.signaling.cancel(tokens[7]);
    let last = rig.later(&offer(""));
    assert_eq!(rig.post(&offer("")).0, 503);
    rig.now += GATHERING_TIMEOUT;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    let answered: Vec<Token> =
        std::iter::from_fn(|| rig.signaling.poll_response()).map(|(token, _)| token).collect();
    assert_eq!((answered.len(), answered.last()), (WAITING_MAX, Some(&last)));
    assert!(!answered.contains(&tokens[7]));
    rig.assert_nothing_is_left();
}

#[test]
fn responses_that_nobody_polls_do_not_pile_up() {
    let mut rig = Rig::without_candidates(Config::new());
    for _ in 0..WAITING_MAX {
        rig.later(&offer(""));
    }
    rig.now += GATHERING_TIMEOUT;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    assert_eq!(rig.post(&offer("")).0, 503);
    while rig.signaling.poll_response().is_some() {}
    rig.later(&offer(""));
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_not_given_out() {
    let mut rig = Rig::new();
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    let [left, stays] = [rig.later(&offer("")), rig.later(&offer(""))];
    rig.signaling.set_gathering(&mut rig.endpoint, false, rig.now);
    rig.signaling.cancel(left);
    let (of, response) = rig.signaling.poll_response().unwrap();
    assert_eq!((of, response.status), (stays, 200));
    assert_eq!(rig.signaling.poll_response(), None);
    assert_eq!(rig.endpoint.len(), 2, "a call that was made ends by itself");
}

#[test]
fn a_call_that_ends_before_it_was_polled_is_not_given_out() {
    let mut rig = Rig::new();
    rig.call(&offer(""));
    let id = rig.endpoint.session_ids()[0];
    rig.endpoint.session(id).unwrap().close(rig.now);
    rig.drain();
    assert_eq!(rig.signaling.poll_call(), None);
    rig.assert_nothing_is_left();
}

#[test]
fn names_do_not_pile_up_even_when_nobody_tells_of_endings() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        rig.call(&offer(""));
        let id = *rig.endpoint.session_ids().last().unwrap();
        rig.endpoint.session(id).unwrap().close(rig.now);
        while rig.endpoint.poll_event().is_some() {}
    }
    rig.call(&offer(""));
    assert_eq!((rig.signaling.names.len(), rig.signaling.calls.len()), (1, 1));
}

#[test]
fn names_are_drawn_from_the_seed_and_do_not_repeat() {
    let names = |seed| {
        let mut rig = Rig::new();
        rig.signaling = Signaling::new(Seed::from_number(seed));
        [rig.call(&offer("")), rig.call(&offer(""))]
    };
    assert_eq!(names(1), names(1));
    let ([first, second], [other, _]) = (names(1), names(2));
    assert!(first != second && first != other);
}

#[test]
fn a_request_tells_the_shard_of_the_call_that_it_names() {
    let config = Config::new().place(9, 0xabc).unwrap();
    let mut rig = Rig::without_candidates(config);
    rig.endpoint.add_local_candidate(local());
    let pc_id = rig.call(&offer(""));
    let expected = NamedCall { name: pc_id.clone(), shard: 0xabc };
    let again = named(&pc_id, true);
    for (method, path, body) in [
        ("POST", "/api/offer", again.as_str()),
        ("POST", "/elsewhere", &again),
        ("PATCH", "/api/offer", &trickle(&pc_id, &[])),
    ] {
        let request = Request::new(method, path, body.as_bytes());
        assert_eq!(named_call(request), Some(expected.clone()), "{method} {path}");
    }
}

#[test]
fn a_request_that_names_no_call_of_our_shape_tells_no_shard() {
    let told = |body: &str| named_call(Request::new("POST", "/api/offer", body.as_bytes()));
    let name = format!("SmallWebRTCConnection#0-{}", "0".repeat(32));
    assert!(told(&format!(r#"{{"pc_id":"{name}"}}"#)).is_some());
    for body in [
        String::new(),
        "{}".to_owned(),
        offer(""),
        r#"{"pc_id":null}"#.to_owned(),
        r#"{"pc_id":7}"#.to_owned(),
        r#"{"pc_id":"SmallWebRTCConnection#0"}"#.to_owned(),
        format!(r#"["{name}"]"#),
        format!(r#"{{"pc_id":"{name}""#),
        format!(r#"{{"pc_id":"{name}","pc_id":"{name}"}}"#),
        format!(r#"{{"pc_id":"{name}","x":"{}"}}"#, "y".repeat(BODY_LEN_MAX)),
    ] {
        assert_eq!(told(&body), None, "{}", body.chars().take(80).collect::<String>());
    }
}

#[test]
fn a_name_that_was_guessed_with_the_right_shard_reaches_no_call() {
    let mut rig = Rig::new();
    let pc_id = rig.call(&offer(""));
    let last = if pc_id.ends_with('0') { "1" } else { "0" };
    let guessed = format!("{}{last}", &pc_id[..pc_id.len() - 1]);
    assert_eq!(rig.patch(&trickle(&guessed, &[])).0, 404);
    let other = rig.call(&named(&guessed, true));
    assert!(other != pc_id && other != guessed);
    assert_eq!(rig.endpoint.len(), 2, "the call that was guessed for goes on");
}
