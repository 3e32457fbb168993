//! How a server lives and ends: sessions of `/start`, what it tells of itself, limits of a client,
//! draining.

#![expect(clippy::disallowed_methods, reason = "a program ends in real time, within its bounds")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::signaling::{self, Mode, Origins, RateLimit};
use smallrtc_server::{Options, Received, Server};

use crate::program;
use crate::support::{Answer, address, ask, figure, get, loopback, send, serve};

const OFFER: &str = include_str!("../../../../tests/sim/src/fixtures/offer.sdp");

/// What anything here may take that is over at once.
const SOON: Duration = Duration::from_secs(5);

fn offer() -> String {
    json!({ "type": "offer", "sdp": OFFER }).to_string()
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

async fn post(to: SocketAddr, path: &str, body: &str) -> Answer {
    ask(to, send("POST", path, body)).await
}

/// A session of `/start`.
async fn session(to: SocketAddr, body: &str) -> String {
    let answer = post(to, "/start", body).await;
    assert_eq!(answer.status, 200);
    json_of(&answer)["sessionId"].as_str().expect("an id").to_owned()
}

async fn bind(options: Options) -> (Server, SocketAddr) {
    let server = Server::bind(options).await.expect("loopback is free");
    let address = address(&server);
    (server, address)
}

fn signaling(options: signaling::Options) -> Options {
    loopback().signaling(options)
}

#[test]
fn a_session_of_any_shard_leads_to_its_call_and_what_was_kept() {
    smol::block_on(async {
        let (server, http) = bind(loopback().shards(2)).await;
        let mut peers = Vec::new();
        // Promised calls count, so that sessions are divided as calls are.
        let ids = [session(http, r#"{"body":0}"#).await, session(http, r#"{"body":1}"#).await];
        for (shard, id) in ids.iter().enumerate().rev() {
            let path = format!("/sessions/{id}/api/offer");
            let answer = post(http, &path, &offer()).await;
            assert_eq!(answer.status, 200);
            let pc_id = json_of(&answer)["pc_id"].clone();
            let peer = server.accept().await.unwrap();
            assert_eq!((usize::from(peer.shard()), peer.pc_id()), (shard, pc_id.as_str().unwrap()));
            assert_eq!(peer.session_id(), Some(id.as_str()));
            assert_eq!(peer.request_data(), Some(&*shard.to_string()));
            let trickle = json!({ "pc_id": pc_id, "candidates": [] }).to_string();
            assert_eq!(ask(http, send("PATCH", &path, &trickle)).await.status, 200);
            let empty = ask(http, get(&format!("/sessions/{id}/files"))).await;
            assert_eq!((empty.status, empty.body.len()), (200, 0));
            assert_eq!(empty.header("content-length"), Some("0"));
            peers.push(peer);
        }
        let unknown = post(http, "/sessions/nobody/api/offer", &offer()).await;
        assert_eq!(unknown.status, 404);
        assert_eq!(unknown.body, b"Invalid or not-yet-ready session_id");
        server.close().await;
    });
}

#[test]
fn the_status_is_pipecats() {
    smol::block_on(async {
        let (_server, http) = serve().await;
        let answer = ask(http, get("/status?x=1")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(json_of(&answer), json!({ "status": "ready", "transports": ["webrtc"] }));
    });
}

#[test]
fn only_origins_on_the_list_are_named_whatever_answers() {
    smol::block_on(async {
        let only = Origins::Only(vec!["https://good.example".to_owned()]);
        let (_server, http) =
            bind(signaling(signaling::Options::new().allowed_origins(only))).await;
        for path in ["/status", "/", "/nowhere", "/ready"] {
            for (origin, named) in [("https://good.example", true), ("https://evil.example", false)]
            {
                let request = get(path).replace("Host:", &format!("Origin: {origin}\r\nHost:"));
                let answer = ask(http, request).await;
                let told = answer.header("access-control-allow-origin");
                assert_eq!(told, named.then_some(origin), "{path}");
                assert_eq!(answer.header("vary"), Some("Origin"));
            }
        }
    });
}

#[test]
fn one_call_alone_is_refused_company() {
    smol::block_on(async {
        let single = signaling::Options::new().mode(Mode::Single);
        let (server, http) = bind(signaling(single.clone())).await;
        assert_eq!(post(http, "/api/offer", &offer()).await.status, 200);
        let _peer = server.accept().await.unwrap();
        let refused = post(http, "/api/offer", &offer()).await;
        assert_eq!(refused.status, 400);
        assert_eq!(
            refused.detail(),
            "Cannot create new connection with existing connection active"
        );
        let error = Server::bind(signaling(single).shards(2)).await.unwrap_err();
        assert_eq!(error.to_string(), "shards 2: expected 1 with a single call (mode)");
    });
}

#[test]
fn a_client_that_asks_too_often_is_told_when_to_come_again_whatever_the_shards() {
    smol::block_on(async {
        for shards in [1, 2] {
            let number = |number| NonZeroU32::new(number).unwrap();
            let limit = RateLimit::new(number(4), number(1));
            let options = signaling::Options::new().rate_limit(limit);
            let (_server, http) = bind(signaling(options).shards(shards)).await;
            let mut statuses = Vec::new();
            // More than four when the machine is so slow that the fifth has its turn by then.
            while statuses.len() < 20 && statuses.last() != Some(&503) {
                let answer = post(http, "/api/offer", "{}").await;
                statuses.push(answer.status);
                let told = answer.header("retry-after");
                assert_eq!(told.is_some(), answer.status == 503, "{shards}: {told:?}");
            }
            assert_eq!(statuses[..4], [400; 4], "{shards} shards");
            assert_eq!(statuses.last(), Some(&503), "{shards} shards: {statuses:?}");
            let counted = figure(http, r#"smallrtc_signaling_refused_rate_total{shard="0"}"#).await;
            assert!(counted >= 1.0);
        }
    });
}

#[test]
fn health_readiness_and_figures_are_told() {
    smol::block_on(async {
        let config = smallrtc::Config::new().max_sessions(1);
        let (server, http) = bind(loopback().config(config)).await;
        for path in ["/health", "/ready", "/metrics"] {
            assert_eq!(ask(http, get(path)).await.status, 200, "{path}");
            let refused = post(http, path, "").await;
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
        }
        assert_eq!(post(http, "/api/offer", &offer()).await.status, 200);
        let _peer = server.accept().await.unwrap();
        let full = ask(http, get("/ready")).await;
        assert_eq!((full.status, json_of(&full)["status"].clone()), (503, json!("full")));
        assert_eq!(full.header("retry-after"), Some("2"));
        let refused = post(http, "/api/offer", &offer()).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
        for (name, value) in [
            ("sessions", 1.0),
            ("room", 0.0),
            ("signaling_calls_total", 1.0),
            ("signaling_refused_full_total", 1.0),
            ("endpoint_sessions_refused_total", 1.0),
        ] {
            let name = format!("smallrtc_{name}{{shard=\"0\"}}");
            assert!((figure(http, &name).await - value).abs() < 0.5, "{name}");
        }
        assert!(figure(http, "smallrtc_http_requests_total").await >= 9.0);
        assert_eq!(server.http_stats().requests_late, 0);
        server.close().await;
    });
}

#[test]
fn as_many_calls_as_allowed_are_on_their_way_to_a_server_and_one_more_gets_503() {
    smol::block_on(async {
        let config = smallrtc::Config::new().max_half_open(2).unwrap();
        let (server, http) = bind(loopback().config(config)).await;
        let mut peers = Vec::new();
        for _ in 0..2 {
            assert_eq!(post(http, "/api/offer", &offer()).await.status, 200);
            peers.push(server.accept().await.unwrap());
        }
        let refused = post(http, "/api/offer", &offer()).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
        assert!(refused.detail().starts_with("2 sessions are open"), "{}", refused.detail());
        let counted = figure(http, r#"smallrtc_endpoint_sessions_refused_total{shard="0"}"#).await;
        assert!((counted - 1.0).abs() < 0.5, "{counted}");
        server.close().await;
    });
}

#[test]
fn draining_refuses_new_calls_and_ends_with_the_last() {
    smol::block_on(async {
        let (server, http) = bind(loopback().shards(2)).await;
        let id = session(http, "").await;
        let answer = post(http, "/api/offer", &offer()).await;
        let pc_id = json_of(&answer)["pc_id"].clone();
        let mut peer = server.accept().await.unwrap();
        assert!(!server.drain(Duration::from_millis(50)).await, "the call goes on");
        for (path, status) in [("/ready", 503), ("/health", 200), ("/status", 200)] {
            assert_eq!(ask(http, get(path)).await.status, status, "{path}");
        }
        let by_session = format!("/sessions/{id}/api/offer");
        for path in ["/api/offer", &by_session, "/start"] {
            let refused = post(http, path, &offer()).await;
            assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")), "{path}");
        }
        let trickle = json!({ "pc_id": pc_id, "candidates": [] }).to_string();
        assert_eq!(ask(http, send("PATCH", "/api/offer", &trickle)).await.status, 200);
        let again = json!({ "type": "offer", "sdp": OFFER, "pc_id": pc_id, "restart_pc": true });
        assert_eq!(post(http, "/api/offer", &again.to_string()).await.status, 200);
        let mut heir = server.accept().await.unwrap();
        assert_eq!(heir.replaces(), Some(peer.id()));
        let leave = async {
            heir.close().await;
            for peer in [&mut peer, &mut heir] {
                while !matches!(peer.recv().await, None | Some(Received::Closed(_))) {}
            }
        };
        let (drained, ()) = futures_lite::future::zip(server.drain(SOON), leave).await;
        assert!(drained, "every call has ended");
        server.close().await;
    });
}

#[test]
fn a_server_with_a_caller_that_never_comes_ends_within_its_bounds() {
    let (child, line) = program::serve(&["--drain-timeout", "300ms"]);
    let http: SocketAddr =
        line.trim_start_matches("open http://").trim_end_matches('/').parse().unwrap();
    smol::block_on(async {
        // A ghost: it is answered, and never heard of again.
        assert_eq!(post(http, "/api/offer", &offer()).await.status, 200);
    });
    let since = Instant::now();
    program::signal(&child, "-TERM");
    let (code, error) = program::end(child);
    assert_eq!(code, Some(0), "{error}");
    assert!(since.elapsed() >= Duration::from_millis(300), "it was given its time");
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert!(error.contains("draining"), "{error}");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (child, line) = program::serve(&["--drain-timeout", "5m"]);
    let http: SocketAddr =
        line.trim_start_matches("open http://").trim_end_matches('/').parse().unwrap();
    smol::block_on(async {
        assert_eq!(post(http, "/api/offer", &offer()).await.status, 200);
        program::signal(&child, "-TERM");
        // It drains once it says so.
        let since = Instant::now();
        while ask(http, get("/ready")).await.status == 200 {
            assert!(since.elapsed() < SOON, "it does not drain");
        }
    });
    let since = Instant::now();
    program::signal(&child, "-INT");
    let (code, error) = program::end(child);
    assert_eq!(code, Some(130), "{error}");
    assert!(since.elapsed() < SOON);
}
