//! The HTTP side on loopback: page, signalling, limits, CORS.

use crate::support::{ask, get, send, serve};
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
use smallrtc_server::limits::{HTTP_BODY_MAX, HTTP_CONNECTIONS_MAX, HTTP_HEADERS_MAX};
use smol::net::TcpStream;

#[test]
fn the_page_comes_whole_with_its_length_and_its_policy() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let answer = ask(address, get("/")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(answer.header("content-length"), Some(&*answer.body.len().to_string()));
        assert_eq!(answer.header("transfer-encoding"), None);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(String::from_utf8(answer.body).unwrap().contains("<title>smallrtc</title>"));
    });
}

#[test]
fn head_gives_the_length_and_no_body() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let answer = ask(address, get("/app.js").replace("GET", "HEAD")).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-length").unwrap().parse::<usize>().unwrap() > 1000);
        assert!(answer.body.is_empty());
    });
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_said_in_json() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        for path in ["/favicon.ico", "/../Cargo.toml", "/assets/app.js", "//"] {
            let answer = ask(address, get(path)).await;
            assert_eq!((answer.status, answer.detail()), (404, "Not Found".to_owned()), "{path}");
        }
        let answer = ask(address, send("POST", "/", "{}")).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    });
}

#[test]
fn a_page_from_elsewhere_may_call() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let preflight = "OPTIONS /api/offer HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
            Origin: http://localhost:5173\r\nAccess-Control-Request-Method: PATCH\r\n\
            Access-Control-Request-Headers: content-type, x-token\r\n\r\n";
        let answer = ask(address, preflight).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:5173"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let headers = answer.header("access-control-allow-headers");
        assert_eq!(headers, Some("content-type, x-token"));
        assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
        assert_eq!(answer.header("vary"), Some("Origin"));

        let request = send("POST", "/api/offer", "{}").replace("Host:", "Origin: null\r\nHost:");
        let answer = ask(address, request).await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("null"));
        let answer = ask(address, send("POST", "/api/offer", "{}")).await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
    });
}

#[test]
fn offers_that_are_none_are_refused_with_the_field_named_and_leave_nothing() {
    smol::block_on(async {
        let (server, address) = serve().await;
        for (body, field) in [
            (r#"{"type":"offer"}"#, "sdp"),
            (r#"{"sdp":"","type":"offer"}"#, "sdp"),
            (r#"{"sdp":"garbage","type":"offer"}"#, "sdp"),
        ] {
            let answer = ask(address, send("POST", "/api/offer", body)).await;
            assert_eq!(answer.status, 400, "{body}");
            assert!(answer.detail().contains(field), "{body}: {}", answer.detail());
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        let body = r#"{"pc_id":"nobody","candidates":[]}"#;
        assert_eq!(ask(address, send("PATCH", "/api/offer", body)).await.status, 404);
        assert_eq!(server.handle().stats().await.unwrap().sessions, 0);
    });
}

#[test]
fn a_body_at_the_limit_is_read_and_one_past_it_is_not() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let body = " ".repeat(HTTP_BODY_MAX);
        assert_eq!(ask(address, send("POST", "/api/offer", &body)).await.status, 400);
        let body = " ".repeat(HTTP_BODY_MAX + 1);
        assert_eq!(ask(address, send("POST", "/api/offer", &body)).await.status, 413);
    });
}

#[test]
fn a_body_whose_length_is_not_announced_has_the_same_limit() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let chunk = format!("{:x}\r\n{}\r\n", 0x1000, " ".repeat(0x1000));
        for (chunks, status) in [(HTTP_BODY_MAX / 0x1000, 400), (HTTP_BODY_MAX / 0x1000 + 1, 413)] {
            let request = format!(
                "POST /api/offer HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
                chunk.repeat(chunks)
            );
            assert_eq!(ask(address, request).await.status, status, "{chunks} chunks");
        }
    });
}

#[test]
fn a_head_at_the_limit_is_read_and_one_past_it_is_not() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        // Two fields are in every request already.
        for (more, status) in [(HTTP_HEADERS_MAX - 2, 200), (HTTP_HEADERS_MAX - 1, 431)] {
            let fields: String = (0..more).map(|number| format!("X-{number}: 1\r\n")).collect();
            let request = get("/").replace("Host:", &format!("{fields}Host:"));
            assert_eq!(ask(address, request).await.status, status, "{more} more fields");
        }
    });
}

#[test]
fn garbage_ends_its_own_connection_only() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let mut kept = TcpStream::connect(address).await.unwrap();
        for garbage in
            [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n"]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(garbage).await.unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        kept.write_all(get("/").as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        kept.read_to_end(&mut rest).await.unwrap();
        assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn as_many_connections_as_the_limit_are_served_and_the_next_is_closed() {
    smol::block_on(async {
        let (_server, address) = serve().await;
        let mut kept = Vec::new();
        for _ in 0..HTTP_CONNECTIONS_MAX {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            kept.push(stream);
        }
        let mut next = TcpStream::connect(address).await.unwrap();
        let mut rest = Vec::new();
        let _ = next.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "the next one was answered");

        kept.clear();
        // Its ending is seen when the server next looks at the connection.
        let mut served = false;
        for _ in 0..200 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(get("/").as_bytes()).await;
            rest.clear();
            let _ = stream.read_to_end(&mut rest).await;
            served = !rest.is_empty();
            if served {
                break;
            }
            smol::Timer::after(std::time::Duration::from_millis(10)).await;
        }
        assert!(served, "there is room again");
    });
}
