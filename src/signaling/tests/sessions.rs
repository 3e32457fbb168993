//! `/start`, its sessions, modes, pages from elsewhere, limits of a client, and the end.

use std::net::IpAddr;
use std::num::NonZeroU32;

use super::*;

const ORIGIN: &str = "http://localhost:5173";

impl Rig {
    fn with(options: Options) -> Rig {
        Rig::with_both(options, Config::new())
    }

    fn with_both(options: Options, config: Config) -> Rig {
        let mut rig = Rig::without_candidates(config);
        rig.endpoint.add_local_candidate(local());
        rig.signaling = Signaling::with_options(Seed::from_number(2), options.shared());
        rig
    }

    fn now(&mut self, request: Request<'_>) -> Response {
        match self.handle(request) {
            Reply::Now(response) => response,
            Reply::Later(token) => panic!("{token:?} instead of an answer"),
        }
    }

    fn start(&mut self, body: &str) -> (u16, Value) {
        self.request("POST", "/start", body.as_bytes())
    }

    /// A session of `/start`.
    fn session(&mut self, body: &str) -> String {
        let (status, answer) = self.start(body);
        assert_eq!(status, 200, "{answer}");
        answer["sessionId"].as_str().unwrap().to_owned()
    }

    fn by_session(&mut self, id: &str, method: &str, body: &str) -> Response {
        let path = format!("/sessions/{id}/api/offer");
        self.now(Request::new(method, &path, body.as_bytes()))
    }

    /// A call that came by a session.
    fn call_by(&mut self, id: &str, fields: &str) -> Call {
        let response = self.by_session(id, "POST", &offer(fields));
        assert_eq!(response.status, 200, "{}", response.body);
        self.signaling.poll_call().unwrap()
    }

    fn end(&mut self, call: &Call) {
        self.endpoint.session(call.id).unwrap().close(self.now);
        self.drain();
    }

    fn stats(&self) -> SignalingStats {
        self.signaling.stats()
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn limit(burst: u32, per_second: u32) -> RateLimit {
    let number = |number| NonZeroU32::new(number).unwrap();
    RateLimit::new(number(burst), number(per_second))
}

fn turn() -> IceServer {
    let server = IceServer::new(["turn:turn.example:3478", "turns:turn.example"]).unwrap();
    server.credentials("bot", "secret").unwrap()
}

#[test]
fn a_start_gives_a_session_and_ice_servers_only_when_there_are() {
    let mut rig = Rig::new();
    for body in ["", "{}", "no json", r#"{"transport":"webrtc","enableDefaultIceServers":false}"#] {
        let (status, answer) = rig.start(body);
        assert_eq!((status, keys(&answer)), (200, vec!["sessionId"]), "{body}");
    }
    let (_, answer) = rig.start(r#"{"enableDefaultIceServers":true}"#);
    assert_eq!(
        answer["iceConfig"],
        json!({ "iceServers": [{ "urls": ["stun:stun.l.google.com:19302"] }] })
    );
    let mut rig = Rig::with(Options::new().ice_server(turn()).unwrap());
    for body in ["{}", r#"{"enableDefaultIceServers":true}"#] {
        let (_, answer) = rig.start(body);
        let server = json!({
            "urls": ["turn:turn.example:3478", "turns:turn.example"],
            "username": "bot",
            "credential": "secret",
        });
        assert_eq!(answer["iceConfig"], json!({ "iceServers": [server] }), "{body}");
    }
}

#[test]
fn session_ids_are_drawn_from_the_seed_and_do_not_repeat() {
    let ids = |seed| {
        let mut rig = Rig::new();
        rig.signaling = Signaling::new(Seed::from_number(seed));
        [rig.session(""), rig.session("")]
    };
    assert_eq!(ids(1), ids(1));
    let ([first, second], [other, _]) = (ids(1), ids(2));
    assert!(first != second && first != other);
}

#[test]
fn a_session_leads_its_offer_and_candidates_to_a_call() {
    let mut rig = Rig::new();
    let id = rig.session(r#"{"body":{"name":"Ada"}}"#);
    let response = rig.by_session(&id, "POST", &offer(""));
    let (status, answer) = read(&response);
    assert_eq!((status, keys(&answer)), (200, vec!["pc_id", "sdp", "type"]));
    let call = rig.signaling.poll_call().unwrap();
    assert_eq!(call.request_data, Some(json!({ "name": "Ada" })));
    assert_eq!(call.session_id.as_deref(), Some(id.as_str()));
    let trickled = rig.by_session(&id, "PATCH", &trickle(&call.pc_id, &[CANDIDATE]));
    assert_eq!(read(&trickled), (200, json!({ "status": "success" })));
    let unknown = rig.by_session(&id, "PATCH", &trickle("who", &[CANDIDATE]));
    assert_eq!(read(&unknown), (404, json!({ "detail": "Peer connection not found" })));
    let bad = rig.by_session(&id, "POST", "{}");
    assert_eq!(read(&bad).1["detail"], "sdp: missing (expected a WebRTC offer)");
}

#[test]
fn what_an_offer_says_goes_before_what_was_kept_and_nothing_gives_way() {
    let mut rig = Rig::new();
    let id = rig.session(r#"{"body":{"kept":1}}"#);
    for (fields, data) in [
        (r#","request_data":{"a":1},"requestData":{"b":1}"#, json!({ "a": 1 })),
        (r#","requestData":{"b":1}"#, json!({ "b": 1 })),
        (r#","request_data":{},"requestData":{"b":1}"#, json!({ "b": 1 })),
        (r#","requestData":{}"#, json!({ "kept": 1 })),
        (r#","requestData":null"#, json!({ "kept": 1 })),
        ("", json!({ "kept": 1 })),
    ] {
        assert_eq!(rig.call_by(&id, fields).request_data, Some(data), "{fields}");
    }
    let bare = rig.session("{}");
    assert_eq!(rig.call_by(&bare, "").request_data, None);
    assert_eq!(rig.call_by(&bare, r#","requestData":{}"#).request_data, Some(json!({})));
}

#[test]
fn a_session_ends_with_its_last_call() {
    let mut rig = Rig::new();
    let id = rig.session("");
    let [first, second] = [rig.call_by(&id, ""), rig.call_by(&id, "")];
    rig.end(&first);
    let third = rig.call_by(&id, "");
    rig.end(&second);
    rig.end(&third);
    let gone = rig.by_session(&id, "POST", &offer(""));
    assert_eq!((gone.status, gone.body.as_str()), (404, "Invalid or not-yet-ready session_id"));
    rig.assert_nothing_is_left();
}

#[test]
fn a_restart_keeps_the_session_by_whichever_path_it_comes() {
    let mut rig = Rig::new();
    let id = rig.session(r#"{"body":7}"#);
    let first = rig.call_by(&id, "");
    let by_session = rig.by_session(&id, "POST", &named(&first.pc_id, true));
    assert_eq!(by_session.status, 200);
    let second = rig.signaling.poll_call().unwrap();
    rig.call(&named(&second.pc_id, true));
    let third = rig.signaling.poll_call().unwrap();
    for (call, before) in [(&second, &first), (&third, &second)] {
        assert_eq!(call.replaces, Some(before.id));
        assert_eq!(call.session_id.as_deref(), Some(id.as_str()));
        assert_eq!(call.request_data, Some(json!(7)));
    }
    rig.drain();
    assert!(rig.signaling.knows(&id));
    rig.end(&third);
    assert!(!rig.signaling.knows(&id));
    rig.assert_nothing_is_left();
}

#[test]
fn a_session_that_nobody_uses_is_forgotten_in_time_and_one_in_use_is_not() {
    let mut rig = Rig::with(Options::new().start_timeout(MS * 100));
    let [idle, used] = [rig.session(""), rig.session("")];
    assert_eq!(rig.signaling.poll_timeout(), Some(rig.now + MS * 100));
    rig.call_by(&used, "");
    rig.now += MS * 99;
    assert_eq!(rig.by_session(&idle, "GET", "").status, 200, "at the limit");
    rig.now += MS;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    assert_eq!((rig.stats().starts, rig.stats().starts_expired), (2, 1));
    assert_eq!(rig.by_session(&idle, "GET", "").status, 404);
    assert_eq!(rig.by_session(&used, "GET", "").status, 200);
    assert_eq!(rig.signaling.poll_timeout(), None);
}

#[test]
fn as_many_sessions_wait_as_allowed_and_one_more_does_not() {
    let mut rig = Rig::with(Options::new().starts_max(2));
    let ids = [rig.session(""), rig.session("")];
    assert_eq!(rig.signaling.promised(), 2);
    let refused = rig.now(Request::new("POST", "/start", b""));
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("2")));
    rig.call_by(&ids[0], "");
    assert_eq!(rig.signaling.promised(), 1);
    rig.session("");
    assert_eq!((rig.stats().refused_starts, rig.stats().starts_waiting), (1, 2));
}

#[test]
fn other_paths_of_a_session_are_there_and_empty_and_of_no_session_are_not() {
    let mut rig = Rig::new();
    let id = rig.session("");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        for rest in ["", "files", "a/b/c"] {
            let path = format!("/sessions/{id}/{rest}");
            let response = rig.now(Request::new(method, &path, b"{}"));
            assert_eq!((response.status, response.body.as_str()), (200, ""), "{method} {path}");
            let response = rig.now(Request::new(method, &format!("/sessions/x/{rest}"), b"{}"));
            assert_eq!(response.status, 404, "{method} {rest}");
            assert_eq!(response.body, "Invalid or not-yet-ready session_id");
            assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        }
    }
    assert_eq!(rig.request("TRACE", &format!("/sessions/{id}/x"), b"").0, 405);
    for path in [format!("/sessions/{id}"), "/sessions/".to_owned(), "/sessions".to_owned()] {
        assert_eq!(rig.request("GET", &path, b"").1, json!({ "detail": "Not Found" }), "{path}");
        assert!(!handles(&path));
    }
    assert!(handles("/sessions/x/") && handles("/start") && handles("/status"));
}

#[test]
fn the_status_tells_what_there_is() {
    let mut rig = Rig::new();
    let ready = json!({ "status": "ready", "transports": ["webrtc"] });
    assert_eq!(rig.request("GET", "/status", b""), (200, ready));
    rig.signaling.set_draining(true);
    assert_eq!(rig.request("GET", "/status", b"").1["status"], "draining");
    assert_eq!(rig.request("POST", "/status", b"").0, 405);
    assert_eq!(rig.request("GET", "/start", b"").0, 405);
}

#[test]
fn one_call_alone_is_refused_company_with_the_words_of_the_original() {
    let mut rig = Rig::with(Options::new().mode(Mode::Single));
    let name = rig.call(&offer(""));
    let call = rig.signaling.poll_call().unwrap();
    let beside = "Cannot create new connection with existing connection active";
    assert_eq!(rig.post(&offer("")), (400, json!({ "detail": beside })));
    for restart in [false, true] {
        let mismatch = json!({ "detail": "PC ID mismatch with existing connection" });
        assert_eq!(rig.post(&named("another", restart)), (400, mismatch));
    }
    assert_eq!(rig.call(&named(&name, false)), name);
    let restarted = rig.call(&named(&name, true));
    assert_ne!(restarted, name);
    rig.drain();
    let second = rig.signaling.poll_call().unwrap();
    assert_eq!(second.replaces, Some(call.id));
    assert_eq!((rig.stats().refused_single, rig.endpoint.len()), (3, 1));
    // A call that is closed makes room before its end was told.
    rig.endpoint.session(second.id).unwrap().close(rig.now);
    rig.call(&offer(""));
}

#[test]
fn a_page_from_elsewhere_is_named_with_credentials_and_never_by_a_star() {
    let mut rig = Rig::new();
    for (method, path, status) in
        [("GET", "/status", 200), ("POST", "/api/offer", 400), ("GET", "/sessions/x/y", 404)]
    {
        let response = rig.now(Request::new(method, path, b"").headers([("ORIGIN", ORIGIN)]));
        assert_eq!(response.status, status);
        assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN), "{path}");
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(response.header("access-control-expose-headers"), Some("Retry-After"));
        assert_eq!(response.header("vary"), Some("Origin"));
        let response = rig.now(Request::new(method, path, b""));
        assert_eq!(response.header("access-control-allow-origin"), None);
        assert_eq!(response.header("vary"), Some("Origin"));
    }
    for odd in ["", "a b", "x\r\nSet-Cookie: y", &"x".repeat(273)] {
        let response = rig.now(Request::new("GET", "/status", b"").headers([("origin", odd)]));
        assert_eq!(response.header("access-control-allow-origin"), None, "{odd}");
    }
}

fn preflight<'a>(path: &'a str, origin: &'a str, headers: &'a str) -> Request<'a> {
    Request::new("OPTIONS", path, b"").headers([
        ("Origin", origin),
        ("Access-Control-Request-Method", "PATCH"),
        ("Access-Control-Request-Headers", headers),
    ])
}

#[test]
fn a_preflight_is_answered_for_every_path_and_repeats_only_what_is_harmless() {
    let mut rig = Rig::new();
    for path in ["/api/offer", "/start", "/sessions/x/api/offer", "/elsewhere"] {
        let response = rig.now(preflight(path, ORIGIN, "content-type, x-token"));
        assert_eq!((response.status, response.body.as_str()), (200, ""), "{path}");
        assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN));
        assert_eq!(response.header("access-control-allow-headers"), Some("content-type, x-token"));
        let methods = response.header("access-control-allow-methods").unwrap();
        assert!(methods.contains("PATCH") && methods.contains("POST"), "{methods}");
        assert_eq!(response.header("access-control-max-age"), Some("600"));
    }
    let fits = "x".repeat(1024);
    let response = rig.now(preflight("/start", ORIGIN, &fits));
    assert_eq!(response.header("access-control-allow-headers"), Some(fits.as_str()));
    for bad in ["a\r\nb: c", "\u{e9}", "", &"x".repeat(1025)] {
        let response = rig.now(preflight("/start", ORIGIN, bad));
        assert_eq!((response.status, response.header("access-control-allow-headers")), (200, None));
    }
    let response = rig.now(Request::new("OPTIONS", "/start", b""));
    assert_eq!((response.status, response.header("Allow")), (200, Some("POST, OPTIONS")));
    assert_eq!(rig.now(Request::new("OPTIONS", "/elsewhere", b"")).status, 404);
}

#[test]
fn an_origin_that_is_not_on_the_list_is_not_named() {
    let only = Origins::Only(vec![ORIGIN.to_owned()]);
    let mut rig = Rig::with(Options::new().allowed_origins(only));
    assert_eq!(rig.now(preflight("/start", ORIGIN, "x")).status, 200);
    for other in ["http://localhost:5174", "http://localhost", "null", "https://localhost:5173"] {
        let refused = rig.now(preflight("/start", other, "x"));
        assert_eq!(read(&refused), (400, json!({ "detail": "Origin: not allowed" })), "{other}");
        assert_eq!(refused.header("access-control-allow-origin"), None);
        let headers = [("Origin", other)];
        let answered = rig.now(Request::new("GET", "/status", b"").headers(headers));
        assert_eq!((answered.status, answered.header("access-control-allow-origin")), (200, None));
    }
    assert_eq!((rig.stats().preflights, rig.stats().origins_refused), (1, 4));
}

#[test]
fn an_answer_that_had_to_wait_names_its_page_as_well() {
    let mut rig = Rig::new();
    let id = rig.session(r#"{"body":1}"#);
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    let (path, body) = (format!("/sessions/{id}/api/offer"), offer(""));
    let request = Request::new("POST", &path, body.as_bytes()).headers([("Origin", ORIGIN)]);
    let Reply::Later(token) = rig.handle(request) else { panic!("it does not wait") };
    rig.signaling.set_gathering(&mut rig.endpoint, false, rig.now);
    let (of, response) = rig.signaling.poll_response().unwrap();
    assert_eq!((of, response.status), (token, 200));
    assert_eq!(response.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(rig.signaling.poll_call().unwrap().session_id, Some(id));
}

#[test]
fn an_offer_that_waited_longer_than_its_session_is_refused() {
    let mut rig = Rig::with(Options::new().start_timeout(MS));
    let id = rig.session("");
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    let (path, body) = (format!("/sessions/{id}/api/offer"), offer(""));
    let Reply::Later(_) = rig.handle(Request::new("POST", &path, body.as_bytes())) else {
        panic!("it does not wait")
    };
    rig.now += MS;
    rig.signaling.set_gathering(&mut rig.endpoint, false, rig.now);
    assert_eq!(rig.signaling.poll_response().unwrap().1.status, 404);
    rig.assert_nothing_is_left();
}

#[test]
fn a_client_that_asks_too_often_is_told_how_long_to_wait() {
    let mut rig = Rig::with(Options::new().rate_limit(limit(2, 1)));
    let [client, other]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    let ask = |rig: &mut Rig, method, client| {
        let request = Request::new(method, "/api/offer", b"{}").client(client);
        let response = rig.now(request);
        (response.status, response.header("Retry-After").map(str::to_owned))
    };
    for _ in 0..2 {
        assert_eq!(ask(&mut rig, "POST", client), (400, None));
    }
    assert_eq!(ask(&mut rig, "PATCH", client), (429, Some("1".to_owned())));
    assert_eq!(ask(&mut rig, "POST", client), (503, Some("1".to_owned())), "and offers again");
    let start = rig.now(Request::new("POST", "/start", b"{}").client(client));
    assert_eq!((start.status, start.is_for_another()), (429, false));
    assert_eq!(ask(&mut rig, "GET", client), (405, None), "only what costs counts");
    assert_eq!(ask(&mut rig, "POST", other), (400, None));
    assert_eq!(rig.post("{}").0, 400, "who is not known is not limited");
    rig.now += Duration::from_secs(1);
    assert_eq!(ask(&mut rig, "POST", client), (400, None));
    assert_eq!((rig.stats().refused_rate, rig.stats().clients), (3, 1));
    rig.signaling.set_options(Options::new().rate_limit(RateLimit::OFF).shared());
    for _ in 0..1000 {
        assert_eq!(ask(&mut rig, "POST", client), (400, None));
    }
    assert_eq!(rig.stats().clients, 0);
}

#[test]
fn the_default_lets_a_crowd_behind_one_address_in_and_no_flood() {
    let mut rig = Rig::new();
    let client = "2001:db8::1".parse().unwrap();
    let mut ask = || {
        let request = Request::new("POST", "/api/offer", b"{}").client(client);
        rig.now(request).status
    };
    assert!((0..500).all(|_| ask() == 400));
    assert_eq!(ask(), 503);
}

#[test]
fn a_server_that_is_about_to_end_finishes_its_calls_and_takes_no_more() {
    let mut rig = Rig::new();
    let id = rig.session("");
    let name = rig.call(&offer(""));
    rig.signaling.poll_call().unwrap();
    rig.signaling.set_draining(true);
    let body = offer("");
    for (path, body) in
        [("/api/offer".to_owned(), &*body), (format!("/sessions/{id}/api/offer"), &body)]
    {
        let refused = rig.now(Request::new("POST", &path, body.as_bytes()));
        assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("2")), "{path}");
    }
    assert_eq!(rig.start("{}").0, 503);
    assert_eq!(rig.patch(&trickle(&name, &[CANDIDATE])).0, 200);
    assert_eq!(rig.call(&named(&name, false)), name);
    rig.call(&named(&name, true));
    assert_eq!((rig.stats().refused_draining, rig.signaling.is_draining()), (3, true));
    rig.signaling.set_draining(false);
    rig.call(&offer(""));
}

#[test]
fn every_503_says_when_to_come_again() {
    let mut rig = Rig::with_both(Options::new(), Config::new().max_sessions(1));
    rig.call(&offer(""));
    let body = offer("");
    let full = rig.now(Request::new("POST", "/api/offer", body.as_bytes()));
    assert_eq!((full.status, full.header("retry-after")), (503, Some("2")));
    assert!(full.is_for_another() && Response::unavailable("x").is_for_another());
    assert_eq!(Response::unavailable("x").header("retry-after"), Some("2"));
    assert_eq!(rig.stats().refused_full, 1);
    rig.signaling.set_gathering(&mut rig.endpoint, true, rig.now);
    for _ in 0..WAITING_MAX {
        rig.later(&offer(""));
    }
    let waits = rig.now(Request::new("POST", "/api/offer", body.as_bytes()));
    assert_eq!((waits.status, waits.header("retry-after")), (503, Some("2")));
    assert_eq!((rig.stats().refused_waiting, rig.stats().offers_waiting), (1, 64));
}

#[test]
fn every_request_is_counted_as_what_it_became() {
    let mut rig = Rig::new();
    let name = rig.call(&offer(""));
    rig.call(&named(&name, false));
    rig.patch(&trickle(&name, &[CANDIDATE]));
    rig.call(&named(&name, true));
    rig.session("");
    rig.post("{}");
    rig.request("GET", "/nowhere", b"");
    rig.request("GET", "/api/offer", b"");
    rig.patch(&trickle("who", &[]));
    rig.now(Request::new("GET", "/sessions/x/y", b""));
    rig.post(&" ".repeat(BODY_LEN_MAX + 1));
    rig.now(preflight("/start", ORIGIN, "x"));
    assert_eq!(
        rig.stats(),
        SignalingStats {
            requests: 12,
            calls: 2,
            calls_replaced: 1,
            renegotiations: 1,
            trickles: 1,
            starts: 1,
            starts_waiting: 1,
            preflights: 1,
            refused_malformed: 1,
            refused_path: 1,
            refused_method: 1,
            refused_unknown: 2,
            refused_too_large: 1,
            ..SignalingStats::default()
        }
    );
    let twice = rig.stats() + rig.stats();
    assert_eq!((twice.requests, twice.calls, twice.refused_unknown), (24, 4, 4));
}

#[test]
fn a_session_tells_its_shard_whatever_its_requests_name() {
    let config = Config::new().place(9, 0xabc).unwrap();
    let mut rig = Rig::with_both(Options::new(), config);
    let id = rig.session("");
    let path = format!("/sessions/{id}/api/offer");
    let elsewhere = format!("SmallWebRTCConnection#0-{}", "0".repeat(32));
    for body in [offer(""), trickle(&elsewhere, &[]), String::new()] {
        let told = named_call(Request::new("POST", &path, body.as_bytes())).unwrap();
        assert_eq!((told.name.as_str(), told.shard), (id.as_str(), 0xabc));
        assert!(rig.signaling.knows(&told.name));
    }
    let body = trickle(&elsewhere, &[]);
    let told = |path| named_call(Request::new("PATCH", path, body.as_bytes()));
    assert_eq!(told("/sessions/7/api/offer"), None);
    assert_eq!(told("/api/offer").unwrap().shard, 0);
}
