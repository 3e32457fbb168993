//! Offers over HTTP: what is posted where, and what comes back.
//!
//! | limit | value | beyond it |
//! | --- | --- | --- |
//! | [`POSTING_MAX`] | 16 requests at once | offers wait, and the waiting is measured |
//! | [`ANSWER_TIME_MAX`] | 10 s | the call fails |
//! | [`ANSWER_LEN_MAX`] | 128 KiB | the call fails |

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncWrite};
use futures_rustls::TlsConnector;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Response, Uri, header};
use rustls_pki_types::ServerName;
use serde::Deserialize;
use serde_json::json;
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;

use super::report::Failure;
use crate::OptionError;
use crate::http::within;

/// Threads that post offers, one request each: enough for 160 calls a second of a server that
/// takes 100 ms for an answer.
pub(super) const POSTING_MAX: usize = 16;

/// What the ESP32 client waits for an answer, the least patient of all (pipecat-esp32 `http.cpp`).
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// An answer is about 2 KiB; this is what our own server takes for an offer.
const ANSWER_LEN_MAX: usize = 128 * 1024;

/// What a report tells of a refusal.
const DETAIL_LEN_MAX: usize = 200;

/// Where signalling is when the URL names no path: Pipecat's runner's, and ours.
const PATH: &str = "/api/offer";

/// Where offers go.
#[derive(Clone)]
pub(super) struct Target {
    uri: Uri,
    host: String,
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({} at {})", self.uri, self.address)
    }
}

#[derive(Deserialize)]
struct Answer {
    sdp: String,
}

impl Target {
    /// Reads the URL and looks its host up.
    pub(super) fn find(url: &str, insecure: bool) -> Result<Target, OptionError> {
        let bad = |reason: &dyn fmt::Display| OptionError::new("url", url, reason);
        let uri: Uri = url.parse().map_err(|error| bad(&error))?;
        let is_encrypted = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad(&"expected http:// or https://")),
        };
        if is_encrypted && !insecure {
            let reason = "no certificates are trusted here: https needs --insecure";
            return Err(OptionError::new("insecure", url, reason));
        }
        let host = uri.host().ok_or_else(|| bad(&"expected a host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let mut found = (host.as_str(), port).to_socket_addrs().map_err(|error| bad(&error))?;
        let address = found.next().ok_or_else(|| bad(&"the host has no address"))?;
        let tls =
            is_encrypted.then(super::trust::anyone).transpose().map_err(|error| bad(&error))?;
        Ok(Target { uri, host, address, tls })
    }

    /// The address of this machine that the operating system routes from.
    pub(super) fn local_ip(&self) -> Result<IpAddr, OptionError> {
        let any = if self.address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        // Connecting a UDP socket looks the route up and sends nothing.
        let routed = UdpSocket::bind(any).and_then(|socket| {
            socket.connect(self.address)?;
            socket.local_addr()
        });
        let routed = routed.map_err(|error| OptionError::new("url", &self.uri, error))?;
        Ok(routed.ip())
    }

    /// Posts an offer, and gives the answer's SDP. Blocks.
    pub(super) fn post(&self, offer: &str) -> Result<String, Failure> {
        let body = json!({ "type": "offer", "sdp": offer }).to_string();
        let answered = smol::block_on(within(ANSWER_TIME_MAX, self.ask(body)));
        answered.unwrap_or_else(|| Err(Failure::NoAnswer("not in time".to_owned())))
    }

    async fn ask(&self, body: String) -> Result<String, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(none)?;
        let Some(tls) = &self.tls else { return self.exchange(stream, body).await };
        let name = ServerName::try_from(self.host.clone()).map_err(none)?;
        let stream = tls.connect(name, stream).await.map_err(none)?;
        self.exchange(stream, body).await
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        body: String,
    ) -> Result<String, Failure> {
        let (mut sender, connection) =
            http1::handshake(FuturesIo::new(stream)).await.map_err(none)?;
        let path = match self.uri.path_and_query().map(|path| path.as_str()) {
            None | Some("/") => PATH,
            Some(path) => path,
        };
        let authority = self.uri.authority().map_or(self.host.as_str(), |named| named.as_str());
        let request = Request::post(path)
            .header(header::HOST, authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(none)?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(none)?;
            read(response).await
        };
        let driven = async {
            let error = connection.await.err();
            // The answer decides; a connection that has ended well gives it in its own time.
            match error {
                Some(error) => Err(none(error)),
                None => future::pending().await,
            }
        };
        future::or(answer, driven).await
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<String, Failure> {
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_LEN_MAX).collect().await.map_err(none)?;
    let body = body.to_bytes();
    if !status.is_success() {
        return Err(Failure::Refused { status: status.as_u16(), detail: detail(&body) });
    }
    let answer: Result<Answer, _> = serde_json::from_slice(&body);
    answer.map(|answer| answer.sdp).map_err(|error| Failure::BadAnswer(error.to_string()))
}

fn none(error: impl fmt::Display) -> Failure {
    Failure::NoAnswer(error.to_string())
}

/// What FastAPI and our server say in `detail`, else the body.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        detail: String,
    }
    let named: Result<Refusal, _> = serde_json::from_slice(body);
    let text = named.map_or_else(|_| String::from_utf8_lossy(body).into_owned(), |it| it.detail);
    text.chars().take(DETAIL_LEN_MAX).collect()
}

/// An offer on its way to the threads that post.
pub(super) struct Offer {
    pub(super) sdp: String,
    /// Takes the answer, on the thread that has it.
    pub(super) reply: Box<dyn FnOnce(Result<String, Failure>) + Send>,
}

/// Posts offers until there are no more to come.
pub(super) fn post_all(target: &Arc<Target>, offers: &async_channel::Receiver<Offer>) {
    while let Ok(offer) = offers.recv_blocking() {
        (offer.reply)(target.post(&offer.sdp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str, insecure: bool) -> String {
        Target::find(url, insecure).unwrap_err().to_string()
    }

    #[test]
    fn a_url_that_cannot_be_called_is_named() {
        for url in ["", "ftp://127.0.0.1/", "127.0.0.1:7860", "http://"] {
            let error = error(url, false);
            assert!(error.starts_with(&format!("url {url}")), "{error}");
        }
        assert!(error("https://127.0.0.1/", false).contains("--insecure"));
    }

    #[test]
    fn ports_and_addresses_come_from_the_url() {
        for (url, address) in [
            ("http://127.0.0.1/", "127.0.0.1:80"),
            ("https://127.0.0.1", "127.0.0.1:443"),
            ("http://127.0.0.1:7860/other", "127.0.0.1:7860"),
            ("http://[::1]:7860", "[::1]:7860"),
        ] {
            let target = Target::find(url, true).unwrap();
            assert_eq!(target.address, address.parse().unwrap(), "{url}");
        }
        let local = Target::find("http://127.0.0.1:9", false).unwrap().local_ip().unwrap();
        assert!(local.is_loopback());
    }

    /// Answers one request with these bytes, and gives what becomes of the offer.
    fn answered(body: Vec<u8>) -> Result<String, Failure> {
        let http = tiny_http::Server::http("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", http.server_addr().to_ip().unwrap());
        let answer = std::thread::spawn(move || {
            let request = http.recv().unwrap();
            assert_eq!((request.method(), request.url()), (&tiny_http::Method::Post, PATH));
            // Whoever has read too much does not wait for the rest.
            let _ = request.respond(tiny_http::Response::from_data(body));
        });
        let posted = Target::find(&url, false).unwrap().post("v=0");
        answer.join().unwrap();
        posted
    }

    #[test]
    fn an_answer_may_be_as_long_as_the_limit_and_no_longer() {
        let json = |len: usize| {
            let around = r#"{"sdp":""}"#.len();
            format!(r#"{{"sdp":"{}"}}"#, "x".repeat(len - around)).into_bytes()
        };
        assert!(answered(json(ANSWER_LEN_MAX)).is_ok());
        let longer = answered(json(ANSWER_LEN_MAX + 1));
        assert!(matches!(longer, Err(Failure::NoAnswer(_))), "{longer:?}");
    }

    #[test]
    fn an_answer_without_sdp_is_bad() {
        for body in ["", "{}", r#"{"sdp":7}"#, "<html>"] {
            let posted = answered(body.as_bytes().to_vec());
            assert!(matches!(posted, Err(Failure::BadAnswer(_))), "{body}: {posted:?}");
        }
    }

    #[test]
    fn a_refusal_tells_its_detail_shortened() {
        assert_eq!(detail(br#"{"detail":"full"}"#), "full");
        assert_eq!(detail(b"plain"), "plain");
        assert_eq!(detail(&[b'x'; 3 * DETAIL_LEN_MAX]).len(), DETAIL_LEN_MAX);
    }
}
