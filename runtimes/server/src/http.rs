//! One HTTP connection: which request gets which answer, within the limits.
//!
//! Every answer has `Content-Length` and none is chunked (the ESP32 client reads no other).
//! Errors of the peer end its connection and nothing else.

use std::convert::Infallible;
use std::future::Future;
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
use smallrtc_smol::Handle;
use smol::Timer;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use tracing::debug;

use crate::limits::{
    HEADER_TIME_MAX, HTTP_BODY_MAX, HTTP_HEAD_MAX, HTTP_HEADERS_MAX, REQUEST_TIME_MAX,
};
use crate::page::{self, Asset};

type Answer = Response<Full<Bytes>>;

/// Every method that a client of the protocol uses, now or with file uploads.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
/// How long a browser may remember a preflight's answer: Starlette's default, which Pipecat uses.
const PREFLIGHT_AGE_S: &str = "600";

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

/// Serves a connection until its peer leaves or breaks a limit.
pub(crate) async fn serve(io: impl AsyncRead + AsyncWrite + Unpin, handle: Handle, times: Times) {
    let service = service_fn(|request| answer(&handle, request, times.request));
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(times.header)
        .max_buf_size(HTTP_HEAD_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(FuturesIo::new(io), service)
        .await;
    if let Err(error) = served {
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
    handle: &Handle,
    request: Request<Incoming>,
    time: Duration,
) -> Result<Answer, Infallible> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let answered = within(time, route(handle, request)).await;
    let mut answer = answered.unwrap_or_else(|| {
        let mut late = refuse(StatusCode::REQUEST_TIMEOUT, "the request took too long");
        // The rest of its body may still be on the way.
        late.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        late
    });
    share(&mut answer, origin);
    Ok(answer)
}

async fn route(handle: &Handle, request: Request<Incoming>) -> Answer {
    if is_preflight(&request) {
        return preflight(request.headers());
    }
    let path = request.uri().path();
    if path.starts_with("/api/") {
        return signal(handle, request).await;
    }
    match page::asset(path) {
        Some(asset) if [Method::GET, Method::HEAD].contains(request.method()) => file(asset),
        Some(_) => {
            let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "expected GET");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            answer
        }
        None => refuse(StatusCode::NOT_FOUND, "Not Found"),
    }
}

/// Reads the body and lets signalling answer.
async fn signal(handle: &Handle, request: Request<Incoming>) -> Answer {
    let announced = request.body().size_hint().lower();
    if announced > HTTP_BODY_MAX as u64 {
        return too_large();
    }
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, HTTP_BODY_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return too_large(),
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the body ended early"),
    };
    let response = handle.request(head.method.as_str(), head.uri.path(), &body).await;
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, response.body)
}

fn too_large() -> Answer {
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

/// A browser that asks whether a page from elsewhere may send what it wants to send.
fn is_preflight(request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight(asked: &HeaderMap) -> Answer {
    let mut answer = Response::new(Full::default());
    set(&mut answer, header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    set(&mut answer, header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE_S);
    if let Some(headers) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
    answer
}

/// Lets a page from `origin` read the answer. Clients are usually served from another port, and
/// they send credentials, for which the standard forbids `*` (Fetch section 3.3.5).
fn share(answer: &mut Answer, origin: Option<HeaderValue>) {
    set(answer, header::VARY, "Origin");
    let Some(origin) = origin else { return };
    answer.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(answer, header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
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
                serve(stream, handle, times).await;
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
