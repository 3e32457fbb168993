//! A server whose calls are divided among threads.

use std::net::SocketAddr;

use serde_json::{Value, json};
use smallrtc_server::{Options, Server};

use crate::support::{Answer, address, ask, loopback, send};

const OFFER: &str = include_str!("../../../../tests/sim/src/fixtures/offer.sdp");

async fn offer(to: SocketAddr, fields: Value) -> Answer {
    let mut body = json!({ "type": "offer", "sdp": OFFER });
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    ask(to, send("POST", "/api/offer", &body.to_string())).await
}

/// A call that is made; its pc_id and the port that its answer names.
async fn call(to: SocketAddr, fields: Value) -> (String, u16) {
    let answer = offer(to, fields).await;
    assert_eq!(answer.status, 200);
    let answer: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let sdp = answer["sdp"].as_str().expect("an answer");
    let candidate = sdp.lines().find(|line| line.starts_with("a=candidate:")).expect("a candidate");
    let port = candidate.split(' ').nth(5).and_then(|port| port.parse().ok()).expect("a port");
    (answer["pc_id"].as_str().expect("a name").to_owned(), port)
}

async fn sessions(server: &Server) -> Vec<usize> {
    let stats = server.handle().shard_stats().await;
    stats.into_iter().map(|stats| stats.expect("the shard is there").sessions).collect()
}

#[test]
fn calls_are_divided_and_whatever_names_one_reaches_it() {
    smol::block_on(async {
        let server = Server::bind(loopback().shards(2)).await.unwrap();
        let http = address(&server);
        let ports: Vec<u16> = server.udp_addresses().iter().map(SocketAddr::port).collect();
        // Accepted and kept, or their calls would end.
        let mut peers = Vec::new();
        for expected in [0, 1, 0, 1] {
            let (pc_id, port) = call(http, json!({})).await;
            let peer = server.accept().await.unwrap();
            assert_eq!((peer.shard(), peer.pc_id()), (expected, pc_id.as_str()));
            assert_eq!(port, ports[usize::from(expected)]);
            peers.push(peer);
        }
        for peer in &peers {
            let pc_id = peer.pc_id();
            assert_eq!(call(http, json!({ "pc_id": pc_id })).await.0, pc_id);
            let candidate = "candidate:1 1 udp 2113937151 127.0.0.1 9 typ host";
            let body = json!({ "pc_id": pc_id, "candidates": [{ "candidate": candidate }] });
            let answer = ask(http, send("PATCH", "/api/offer", &body.to_string())).await;
            assert_eq!(answer.status, 200);
        }
        assert_eq!(sessions(&server).await, [2, 2]);
        let second = peers[1].pc_id();
        let (restarted, port) = call(http, json!({ "pc_id": second, "restart_pc": true })).await;
        assert_ne!(restarted, second);
        assert_eq!(port, ports[1]);
        assert_eq!(server.accept().await.unwrap().replaces(), Some(peers[1].id()));
        server.close().await;
    });
}

#[test]
fn a_server_is_full_when_every_shard_is() {
    smol::block_on(async {
        let config = smallrtc::Config::new().max_sessions(1);
        let server = Server::bind(loopback().config(config).shards(2)).await.unwrap();
        let http = address(&server);
        let mut peers = Vec::new();
        for _ in 0..2 {
            call(http, json!({})).await;
            peers.push(server.accept().await.unwrap());
        }
        assert_eq!(offer(http, json!({})).await.status, 503);
        let second = peers[1].pc_id();
        call(http, json!({ "pc_id": second, "restart_pc": true })).await;
        server.close().await;
    });
}

#[test]
fn a_number_of_shards_that_cannot_be_is_named() {
    smol::block_on(async {
        for (options, text) in [
            (loopback().shards(0), "shards 0: expected 1 to 256"),
            (loopback().shards(257), "shards 257: expected 1 to 256"),
        ] {
            let error = Server::bind(options).await.unwrap_err();
            assert_eq!((error.option(), error.to_string().as_str()), ("shards", text));
        }
        let last = Options::new().listen("127.0.0.1:0".parse().unwrap()).udp_port(65535).shards(2);
        let error = Server::bind(last).await.unwrap_err();
        assert_eq!(error.option(), "udp-port");
        assert!(error.to_string().contains("2 shards take ports up to 65536"), "{error}");
    });
}
