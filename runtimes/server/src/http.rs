//! One HTTP connection: which request gets which answer, within the limits.
//!
//! | path | answered by |
//! | --- | --- |
//! | what `smallrtc::signaling` handles, every preflight | the shards |
//! | `/health` | 200 while every shard answers within [`HEALTH_TIME_MAX`], else 503 |
//! | `/ready` | 200 while a call would be taken; 503 while draining, full or closing |
//! | `/metrics` | every figure, for Prometheus |
//! | those of the page | its files |
//!
//! Every answer has `Content-Length` and none is chunked (the ESP32 client reads no other).
//! Errors of the peer end its connection and nothing else.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncWrite};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use smallrtc::signaling;
use smallrtc_smol::Handle;
use smol::Timer;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use tracing::debug;

use crate::limits::{
    HEADER_TIME_MAX, HEALTH_TIME_MAX, HTTP_BODY_MAX, HTTP_HEAD_MAX, HTTP_HEADERS_MAX,
    REQUEST_TIME_MAX,
};
use crate::metrics;
use crate::page::{self, Asset};
use crate::proxies::{Network, Unreadable, client_of};

type Answer = Response<Full<Bytes>>;

/// Where a proxy says whom it took a request from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// When a client is to ask again, in seconds, as signalling says it.
const RETRY_AFTER_S: &str = "2";

/// What all connections of a server have in common.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) handle: Handle,
    pub(crate) signaling: signaling::Options,
    trusted_proxies: Vec<Network>,
    pub(crate) counters: Counters,
    /// No new call is taken any more.
    pub(crate) is_draining: AtomicBool,
}

/// What is counted of connections and requests, on whichever thread they are.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) requests_late: AtomicU64,
    pub(crate) requests_too_large: AtomicU64,
    pub(crate) connections_broken: AtomicU64,
    pub(crate) forwarded_unreadable: AtomicU64,
}

smallrtc::figures! {
    /// What a server counted of its HTTP since its beginning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct HttpStats {
        /// Connections that were taken.
        pub connections: u64,
        /// Connections that were closed because there were too many
        /// ([`HTTP_CONNECTIONS_MAX`](crate::limits::HTTP_CONNECTIONS_MAX)).
        pub connections_refused: u64,
        /// Connections that the system could not give.
        pub accept_errors: u64,
        /// TLS handshakes that failed or took too long.
        pub handshakes_failed: u64,
        /// Requests.
        pub requests: u64,
        /// Requests that took longer than [`REQUEST_TIME_MAX`]: 408.
        pub requests_late: u64,
        /// Requests whose body is longer than [`HTTP_BODY_MAX`]: 413.
        pub requests_too_large: u64,
        /// Connections whose peer broke a limit or the protocol, or left in the middle.
        pub connections_broken: u64,
        /// Requests of a trusted proxy that did not say readably whom it took them from: they count
        /// for the proxy.
        pub forwarded_unreadable: u64,
    }
}

impl Front {
    pub(crate) fn new(handle: Handle, signaling: signaling::Options) -> Front {
        let counters = Counters::default();
        let (trusted_proxies, is_draining) = (Vec::new(), AtomicBool::new(false));
        Front { handle, signaling, trusted_proxies, counters, is_draining }
    }

    /// Behind these proxies.
    pub(crate) fn behind(self, trusted_proxies: Vec<Network>) -> Front {
        Front { trusted_proxies, ..self }
    }

    /// Whom a request comes from.
    fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let forwarded = headers.get_all(FORWARDED_FOR).iter().map(|value| value.to_str().ok());
        // The values have no other order than their own.
        let forwarded: Vec<Option<&str>> = forwarded.collect();
        let client = client_of(peer, &self.trusted_proxies, forwarded.into_iter());
        client.unwrap_or_else(|Unreadable| {
            Counters::count(&self.counters.forwarded_unreadable);
            peer
        })
    }
}

impl Counters {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> HttpStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HttpStats {
            connections: read(&self.connections),
            connections_refused: read(&self.connections_refused),
            accept_errors: read(&self.accept_errors),
            handshakes_failed: read(&self.handshakes_failed),
            requests: read(&self.requests),
            requests_late: read(&self.requests_late),
            requests_too_large: read(&self.requests_too_large),
            connections_broken: read(&self.connections_broken),
            forwarded_unreadable: read(&self.forwarded_unreadable),
        }
    }
}

/// How long a connection waits for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) header: Duration,
    pub(crate) request: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times { header: HEADER_TIME_MAX, request: REQUEST_TIME_MAX }
    }
}

/// Serves a connection of a client until it leaves or breaks a limit.
pub(crate) async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    front: Arc<Front>,
    times: Times,
) {
    let service = service_fn(|request| answer(&front, client, request, times.request));
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(times.header)
        .max_buf_size(HTTP_HEAD_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(FuturesIo::new(io), service)
        .await;
    if let Err(error) = served {
        Counters::count(&front.counters.connections_broken);
        debug!(%error, "an HTTP connection ended early");
    }
}

/// The result of `work`, or `None` when `time` is up first.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    future::or(async { Some(work.await) }, async {
        Timer::after(time).await;
        None
    })
    .await
}

async fn answer(
    front: &Front,
    client: IpAddr,
    request: Request<Incoming>,
    time: Duration,
) -> Result<Answer, Infallible> {
    Counters::count(&front.counters.requests);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let answered = within(time, route(front, client, request)).await;
    let mut answer = answered.unwrap_or_else(|| {
        Counters::count(&front.counters.requests_late);
        let mut late = refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long");
        // The rest of its body may still be on the way.
        late.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        late
    });
    // What signalling answers says already who may read it.
    if !answer.headers().contains_key(header::VARY) {
        let origin = origin.as_ref().and_then(|origin| origin.to_str().ok());
        put(answer.headers_mut(), front.signaling.cors(origin));
    }
    Ok(answer)
}

async fn route(front: &Front, client: IpAddr, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    // A preflight asks for whatever path, and names what it wants to send there.
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    if is_preflight || signaling::handles(path) || path.starts_with("/api/") {
        return signal(front, client, request).await;
    }
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    match (path, page::asset(path)) {
        ("/health" | "/ready" | "/metrics", _) | (_, Some(_)) if !is_read => {
            let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "expected GET");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            answer
        }
        ("/health", _) => health(front).await,
        ("/ready", _) => ready(front),
        ("/metrics", _) => figures(front).await,
        (_, Some(asset)) => file(asset),
        (_, None) => refuse(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// Reads the body and lets signalling answer.
async fn signal(front: &Front, client: IpAddr, request: Request<Incoming>) -> Answer {
    let announced = request.body().size_hint().lower();
    if announced > HTTP_BODY_MAX as u64 {
        return too_large(front);
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, HTTP_BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return too_large(front),
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the body ended early"),
    };
    let client = front.client_of(client, &head.headers);
    let fields = head.headers.iter();
    let fields = fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let asked = signaling::Request::new(head.method.as_str(), head.uri.path(), &body);
    let response = front.handle.serve(asked.headers(fields).client(client)).await;
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = Response::new(Full::new(Bytes::from(response.body)));
    *answer.status_mut() = status;
    put(answer.headers_mut(), response.headers);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

/// Whether the server works: every shard answers.
async fn health(front: &Front) -> Answer {
    let stats = within(HEALTH_TIME_MAX, front.handle.shard_stats()).await;
    match stats {
        Some(shards) if shards.iter().all(Option::is_some) => state(StatusCode::OK, "ok"),
        Some(_) => state(StatusCode::SERVICE_UNAVAILABLE, "a shard is gone"),
        None => state(StatusCode::SERVICE_UNAVAILABLE, "a shard does not answer"),
    }
}

/// Whether the server takes calls: for a load balancer.
fn ready(front: &Front) -> Answer {
    if front.is_draining.load(Ordering::Relaxed) {
        return state(StatusCode::SERVICE_UNAVAILABLE, "draining");
    }
    match front.handle.load() {
        (_, 0) => state(StatusCode::SERVICE_UNAVAILABLE, "full"),
        _ => state(StatusCode::OK, "ready"),
    }
}

fn state(status: StatusCode, state: &str) -> Answer {
    let mut answer = json(status, serde_json::json!({ "status": state }).to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut answer, header::RETRY_AFTER, RETRY_AFTER_S);
    }
    answer
}

async fn figures(front: &Front) -> Answer {
    let shards = within(HEALTH_TIME_MAX, front.handle.shard_stats()).await.unwrap_or_default();
    let text = metrics::write(&shards, &front.counters.stats());
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    set(&mut answer, header::CONTENT_TYPE, metrics::CONTENT_TYPE);
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    answer
}

fn too_large(front: &Front) -> Answer {
    Counters::count(&front.counters.requests_too_large);
    let mut answer = refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        &format!("the body is larger than the limit of {HTTP_BODY_MAX} bytes"),
    );
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// An error in the form of Pipecat's runner (FastAPI): `{"detail": ".."}`.
fn refuse(status: StatusCode, detail: &str) -> Answer {
    json(status, serde_json::json!({ "detail": detail }).to_string())
}

fn json(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    set(&mut answer, header::CONTENT_TYPE, "application/json");
    set(&mut answer, header::CACHE_CONTROL, "no-store");
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

fn file(asset: Asset) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(asset.body.as_bytes())));
    set(&mut answer, header::CONTENT_TYPE, asset.content_type);
    // The files belong together and to this version of the program.
    set(&mut answer, header::CACHE_CONTROL, "no-cache");
    set(&mut answer, header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY);
    set(&mut answer, HeaderName::from_static("permissions-policy"), page::PERMISSIONS_POLICY);
    set(&mut answer, header::REFERRER_POLICY, "no-referrer");
    set(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

fn set(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Adds the header fields that signalling gives.
fn put(headers: &mut HeaderMap, fields: Vec<(&'static str, String)>) {
    for (name, value) in fields {
        // It promises that they can be written.
        if let Ok(value) = HeaderValue::from_str(&value)
            && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
        {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::{TcpListener, TcpStream};

    /// What a client that sends `request` and no more reads until it is hung up on.
    fn wait_for_the_end(request: &'static [u8], times: Times) -> String {
        smol::block_on(async {
            let udp = smallrtc_smol::Options::new().udp(([127, 0, 0, 1], 0).into());
            let (driver, handle) = smallrtc_smol::bind(smallrtc::Config::new(), udp).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let server = async {
                let front = Arc::new(Front::new(handle, signaling::Options::new()));
                serve(stream, std::net::Ipv4Addr::LOCALHOST.into(), front, times).await;
                future::pending().await
            };
            let run = async {
                driver.run().await.unwrap();
                future::pending().await
            };
            let read = async {
                client.write_all(request).await.unwrap();
                let mut text = String::new();
                let _ = client.read_to_string(&mut text).await;
                text
            };
            let late = async {
                Timer::after(Duration::from_secs(5)).await;
                panic!("the connection was never closed");
            };
            future::or(future::or(read, late), future::or(server, run)).await
        })
    }

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_head_that_does_not_end_ends_the_connection() {
        let times = Times { header: SHORT, ..Times::default() };
        assert_eq!(wait_for_the_end(b"GET / HTTP/1.1\r\nHost:", times), "");
    }

    #[test]
    fn a_connection_that_asks_nothing_more_is_ended() {
        let times = Times { header: SHORT, ..Times::default() };
        let text = wait_for_the_end(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", times);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }

    #[test]
    fn a_body_that_does_not_come_is_answered_by_408() {
        let times = Times { request: SHORT, ..Times::default() };
        let request = b"POST /api/offer HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n{";
        let text = wait_for_the_end(request, times);
        assert!(text.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{text}");
        assert!(text.contains("connection: close\r\n"), "{text}");
        assert!(text.ends_with(r#"{"detail":"the request took too long"}"#), "{text}");
    }
}
