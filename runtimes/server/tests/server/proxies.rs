//! Clients behind a reverse proxy: whom their requests count for.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use smallrtc::signaling::{self, RateLimit};
use smallrtc_server::{Network, Options, Server};

use crate::support::{address, ask, figure, loopback, send};

/// Requests of a client until one is refused, at most: more than the limit when the machine is so
/// slow that it lets one in again meanwhile.
const ASKED_MAX: usize = 50;

/// So many requests of a client at once, and one a second.
fn limited(burst: u32) -> Options {
    let number = |number| NonZeroU32::new(number).expect("not 0");
    let limit = RateLimit::new(number(burst), number(1));
    loopback().signaling(signaling::Options::new().rate_limit(limit))
}

fn network(text: &str) -> Network {
    text.parse().expect("a network")
}

/// A request that a proxy forwards with this header.
async fn forwarded(to: SocketAddr, list: &str) -> u16 {
    let head = format!("X-Forwarded-For: {list}\r\nHost:");
    ask(to, send("PATCH", "/api/offer", "{}").replace("Host:", &head)).await.status
}

/// Asks until it is refused, each time with one of these lists; what came before.
async fn until_refused(to: SocketAddr, lists: &[&str]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for list in lists.iter().cycle().take(ASKED_MAX) {
        match forwarded(to, list).await {
            429 => return statuses,
            status => statuses.push(status),
        }
    }
    panic!("never refused: {statuses:?}")
}

/// Requests whose list could not be read, and clients that are known.
async fn unreadable_and_known(to: SocketAddr) -> (u64, u64) {
    let unreadable = figure(to, "smallrtc_http_forwarded_unreadable_total").await;
    let known = figure(to, r#"smallrtc_signaling_clients{shard="0"}"#).await;
    (unreadable as u64, known as u64)
}

#[test]
fn each_client_behind_a_trusted_proxy_has_a_limit_of_its_own() {
    smol::block_on(async {
        let options = limited(2).trusted_proxy(network("127.0.0.0/8"));
        let server = Server::bind(options).await.unwrap();
        let to = address(&server);
        for client in ["198.51.100.1", "198.51.100.2", "2001:db8::1"] {
            // It is the same one whatever it wrote itself, and whichever proxies it came through.
            let lists = [
                client.to_owned(),
                format!("203.0.113.9, {client}"),
                format!("no address, {client},127.0.0.9"),
            ];
            let passed = until_refused(to, &lists.each_ref().map(String::as_str)).await;
            assert!(passed.len() >= 2 && passed.iter().all(|status| *status == 400), "{passed:?}");
        }
        assert_eq!(unreadable_and_known(to).await.0, 0);
        server.close().await;
    });
}

#[test]
fn a_trusted_proxy_whose_list_cannot_be_read_is_the_client_and_that_is_counted() {
    smol::block_on(async {
        let options = limited(500).trusted_proxy(network("127.0.0.1"));
        let server = Server::bind(options).await.unwrap();
        let to = address(&server);
        for list in ["unknown", "198.51.100.1,", "\u{e9}", "198.51.100.1, _hidden"] {
            for _ in 0..5 {
                assert_eq!(forwarded(to, list).await, 400);
            }
        }
        assert_eq!(unreadable_and_known(to).await, (20, 1));
        assert_eq!(forwarded(to, "198.51.100.1").await, 400);
        assert_eq!(unreadable_and_known(to).await, (20, 2), "the proxy, and a client");
        server.close().await;
    });
}

#[test]
fn without_a_trusted_proxy_nobody_chooses_whom_its_requests_count_for() {
    smol::block_on(async {
        for options in [limited(2), limited(2).trusted_proxy(network("10.0.0.0/8"))] {
            let server = Server::bind(options).await.unwrap();
            let to = address(&server);
            let lists: Vec<String> =
                (0..ASKED_MAX).map(|client| format!("198.51.100.{client}")).collect();
            let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
            assert!(until_refused(to, &lists).await.len() >= 2);
            assert_eq!(unreadable_and_known(to).await, (0, 1));
            server.close().await;
        }
    });
}
