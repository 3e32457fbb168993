//! What small devices and clients of other makes need of an answer over HTTP: its length, its
//! size, and a text that says what was wrong.

use serde_json::{Value, json};
use smallrtc_server::limits::HTTP_BODY_MAX;
use smallrtc_server::{Options, Server};

use crate::support::{Answer, address, ask, get, loopback, send};

/// An offer in the form of libpeer, on which the ESP32 client is built: sound and one data channel,
/// and nothing said that may be left out.
const ESP32: &str = "v=0\r\no=- 1495799811084970 1495799811084970 IN IP4 0.0.0.0\r\ns=-\r\n\
    t=0 0\r\na=msid-semantic: iot\r\na=group:BUNDLE audio datachannel\r\n\
    m=audio 9 UDP/TLS/RTP/SAVP 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
    a=ssrc:4 cname:webrtc-opus\r\na=sendrecv\r\na=mid:audio\r\na=rtcp-mux\r\n{ice}\
    m=application 50712 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=mid:datachannel\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n{ice}";

/// What stands in each of its lines.
const ICE: &str = "a=setup:actpass\r\na=ice-ufrag:esp3\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 \
    00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\
    \r\na=candidate:1 1 UDP 2122317823 192.168.1.7 50000 typ host\r\n";

/// All that the device reads of an answer, head included (`http.cpp` of pipecat-esp32).
const ESP32_ANSWER_MAX: usize = 4096;

async fn esp32(options: Options, offer: &str) -> (Answer, String) {
    let server = Server::bind(options).await.expect("loopback is free");
    let body = json!({ "sdp": offer.replace("{ice}", ICE), "type": "offer" }).to_string();
    let answer = ask(address(&server), send("POST", "/api/offer", &body)).await;
    server.close().await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let sdp = json["sdp"].as_str().expect("an answer").to_owned();
    (answer, sdp)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn the_answer_to_an_esp32_has_a_length_and_fits_into_what_it_reads() {
    smol::block_on(async {
        let sound_alone = ESP32.split_once("m=application").expect("two lines").0;
        let sound_alone = sound_alone.replace("BUNDLE audio datachannel", "BUNDLE audio");
        // More public addresses than a machine has; they stand in the place of its own.
        let public = |count| {
            let hosts = 1..=count;
            let addresses = hosts.map(|host| format!("203.0.113.{host}").parse().expect("one"));
            addresses.fold(loopback(), Options::advertise)
        };
        let many = public(5);
        for (options, offer, addresses) in [
            (loopback(), ESP32, 1),
            (loopback(), sound_alone.as_str(), 1),
            (many.clone(), ESP32, 5),
            (many, &sound_alone, 5),
            // It has room for ten (`AGENT_MAX_CANDIDATES` of libpeer).
            (public(14), ESP32, 10),
        ] {
            let (answer, sdp) = esp32(options, offer).await;
            let length = answer.body.len();
            let whole = answer.head.len() + 4 + length;
            println!("{addresses} addresses: {whole} bytes with the head");
            assert!(whole < ESP32_ANSWER_MAX, "{whole} bytes for {addresses} addresses");
            assert_eq!(answer.header("content-length"), Some(&*length.to_string()));
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let beginning = |name: &str| sdp.lines().filter(|line| line.starts_with(name)).count();
            let prints = beginning("a=fingerprint:");
            assert_eq!((prints, beginning("a=fingerprint:sha-256 ")), (beginning("m="), prints));
            assert!(sdp.contains("UDP/TLS/RTP/SAVP 111\r\n"), "as it was offered: {sdp}");
            let mut candidates: Vec<&str> =
                sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
            assert_eq!(candidates.len(), addresses, "{candidates:?}");
            candidates.sort_unstable();
            candidates.dedup();
            assert_eq!(candidates.len(), addresses, "each once");
        }
    });
}

#[test]
fn paths_and_methods_that_are_not_there_are_said_so_in_every_form_of_request() {
    smol::block_on(async {
        let server = Server::bind(loopback()).await.unwrap();
        let to = address(&server);
        let (not_found, not_allowed) = ("Not Found", "Method Not Allowed");
        let signalling = Some("POST, PATCH, OPTIONS");
        for (method, path, status, allow, detail) in [
            ("GET", "/nowhere", 404, None, not_found),
            ("POST", "/nowhere", 404, None, not_found),
            ("OPTIONS", "/nowhere", 404, None, not_found),
            ("BREW", "/nowhere", 404, None, not_found),
            ("POST", "/api/offers", 404, None, not_found),
            ("POST", "/api/offer/", 404, None, not_found),
            ("GET", "/api/offer", 405, signalling, not_allowed),
            ("HEAD", "/api/offer", 405, signalling, ""),
            ("DELETE", "/api/offer", 405, signalling, not_allowed),
            ("BREW", "/api/offer", 405, signalling, not_allowed),
            ("HEAD", "/nowhere", 404, None, ""),
            ("GET", "/start", 405, Some("POST, OPTIONS"), not_allowed),
            ("POST", "/status", 405, Some("GET, HEAD, OPTIONS"), not_allowed),
            ("BREW", "/", 405, Some("GET, HEAD"), "expected GET"),
            ("OPTIONS", "/metrics", 405, Some("GET, HEAD"), "expected GET"),
        ] {
            let asked = format!("{method} {path}");
            let answer = ask(to, send(method, path, "{}")).await;
            assert_eq!((answer.status, answer.header("allow")), (status, allow), "{asked}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{asked}");
            let length = answer.header("content-length").expect("a length");
            if method == "HEAD" {
                assert!(answer.body.is_empty() && length != "0", "{asked}");
            } else {
                assert_eq!(
                    (answer.detail(), length),
                    (detail.into(), &*answer.body.len().to_string())
                );
            }
        }
        for (path, allow) in
            [("/api/offer", "POST, PATCH, OPTIONS"), ("/status", "GET, HEAD, OPTIONS")]
        {
            let answer = ask(to, get(path).replace("GET", "OPTIONS")).await;
            assert_eq!((answer.status, answer.header("allow")), (200, Some(allow)), "{path}");
        }
        let answer = ask(to, get("/status").replace("GET", "HEAD")).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0));
        server.close().await;
    });
}

#[test]
fn what_is_wrong_with_a_body_is_named_by_its_field_or_its_place() {
    smol::block_on(async {
        let server = Server::bind(loopback()).await.unwrap();
        let to = address(&server);
        let offer = "a WebRTC offer";
        for (method, path, body, expected) in [
            ("POST", "/api/offer", "", "body: not an object".to_owned()),
            ("POST", "/api/offer", "7", "body: not an object".to_owned()),
            ("POST", "/api/offer", r#"{"sdp":"#, "body: EOF while parsing".to_owned()),
            (
                "POST",
                "/api/offer",
                r#"{"type":"offer"}"#,
                format!("sdp: missing (expected {offer})"),
            ),
            ("POST", "/api/offer", r#"{"sdp":7,"type":"offer"}"#, "sdp: ".to_owned()),
            ("POST", "/api/offer", r#"{"sdp":"v=0"}"#, "type: missing".to_owned()),
            ("POST", "/api/offer", r#"{"sdp":"v=0","type":"answer"}"#, "type: `answer`".to_owned()),
            ("PATCH", "/api/offer", "{}", "pc_id: missing".to_owned()),
            ("PATCH", "/api/offer", r#"{"pc_id":"x"}"#, "candidates: missing".to_owned()),
            ("PATCH", "/api/offer", r#"{"pc_id":"x","candidates":7}"#, "candidates: ".to_owned()),
            ("POST", "/start", "[]", "body: not an object".to_owned()),
            ("POST", "/start", r#"{"transport":7}"#, "transport: ".to_owned()),
        ] {
            let answer = ask(to, send(method, path, body)).await;
            let detail = answer.detail();
            assert_eq!(answer.status, 400, "{method} {path} {body}: {detail}");
            assert!(detail.starts_with(&expected), "{method} {path} {body}: {detail}");
        }
        server.close().await;
    });
}

#[test]
fn a_body_past_the_limit_is_413_with_the_limit_whatever_the_method() {
    smol::block_on(async {
        let server = Server::bind(loopback()).await.unwrap();
        let to = address(&server);
        let body = |len: usize| format!("{{\"pc_id\":\"{}\"}}", "x".repeat(len - 12));
        for (method, path) in [("POST", "/api/offer"), ("PATCH", "/api/offer"), ("POST", "/start")]
        {
            let taken = ask(to, send(method, path, &body(HTTP_BODY_MAX))).await;
            assert_ne!(taken.status, 413, "{method} {path}");
            let refused = ask(to, send(method, path, &body(HTTP_BODY_MAX + 1))).await;
            assert_eq!(refused.status, 413, "{method} {path}");
            let detail = refused.detail();
            assert_eq!(detail, "the body is larger than the limit of 131072 bytes");
            assert_eq!(refused.header("connection"), Some("close"));
        }
        server.close().await;
    });
}
