//! A few lines of HTTP client: what goes over the wire is what the tests are about.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;

use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use smallrtc_server::{Options, Server};
use smol::net::TcpStream;

/// An answer, read to the end of the connection.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The `detail` of an error.
    pub(crate) fn detail(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

/// A server on a free port of loopback.
pub(crate) async fn serve() -> (Server, SocketAddr) {
    let server = Server::bind(loopback()).await.expect("loopback is free");
    let address = address(&server);
    (server, address)
}

pub(crate) fn loopback() -> Options {
    Options::new().listen(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// Where the server listens.
pub(crate) fn address(server: &Server) -> SocketAddr {
    let (_, rest) = server.url().split_once("://").expect("a URL");
    rest.trim_end_matches('/').parse().expect("an address")
}

/// Sends a request on a connection of its own and reads all that comes.
pub(crate) async fn ask(address: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    ask_on(stream, request).await
}

pub(crate) async fn ask_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: impl AsRef<[u8]>,
) -> Answer {
    // The server may refuse, answer and close before it has read everything.
    let _ = stream.write_all(request.as_ref()).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("ASCII");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// A request without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

/// A request with a JSON body.
pub(crate) fn send(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// The value of a figure of the first shard.
pub(crate) async fn figure(to: SocketAddr, name: &str) -> f64 {
    let answer = ask(to, get("/metrics")).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(answer.body).expect("UTF-8");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in {text}")).parse().expect("a number")
}
