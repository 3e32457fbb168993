//! What goes in and out: requests, responses, and the calls that come of them.

use std::net::IpAddr;

use serde_json::Value;

use super::BODY_LEN_MAX;
use crate::SessionId;

/// An HTTP request, as far as signalling needs it.
///
/// ```
/// use smallrtc::signaling::Request;
///
/// let head = [("Host", "localhost:7860"), ("origin", "http://localhost:5173")];
/// let request = Request::new("PATCH", "/api/offer", b"{}")
///     .headers(head)
///     .client("192.0.2.7".parse()?);
/// assert_eq!(request.origin, Some("http://localhost:5173"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// GET, POST, PATCH...
    pub method: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// Who asks: the address that limits are counted for; `None` when it is not known, and then
    /// there are none. Behind a proxy it is the proxy's, unless the server takes what that says for
    /// the truth.
    pub client: Option<IpAddr>,
    /// The header `Origin`: from where the page is that asks.
    pub origin: Option<&'a str>,
    /// The header `Access-Control-Request-Method`, of a preflight.
    pub requested_method: Option<&'a str>,
    /// The header `Access-Control-Request-Headers`, of a preflight.
    pub requested_headers: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// A request without headers, of a client of whom nothing is known. `path` has no query.
    #[must_use]
    pub fn new(method: &'a str, path: &'a str, body: &'a [u8]) -> Request<'a> {
        Request {
            method,
            path,
            body,
            client: None,
            origin: None,
            requested_method: None,
            requested_headers: None,
        }
    }

    /// Says who asks.
    #[must_use]
    pub fn client(mut self, address: IpAddr) -> Request<'a> {
        self.client = Some(address);
        self
    }

    /// Takes what is needed of the headers; names are read in any case, others are passed over, and
    /// of one that is there twice the last counts.
    #[must_use]
    pub fn headers(mut self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Request<'a> {
        for (name, value) in headers {
            let field = if name.eq_ignore_ascii_case("origin") {
                &mut self.origin
            } else if name.eq_ignore_ascii_case("access-control-request-method") {
                &mut self.requested_method
            } else if name.eq_ignore_ascii_case("access-control-request-headers") {
                &mut self.requested_headers
            } else {
                continue;
            };
            *field = Some(value);
        }
        self
    }
}

/// A [`Request`] that owns what it says: to be handed to another thread.
#[derive(Clone, Debug)]
pub struct RequestBuf {
    method: String,
    path: String,
    body: Vec<u8>,
    client: Option<IpAddr>,
    origin: Option<String>,
    requested_method: Option<String>,
    requested_headers: Option<String>,
}

impl RequestBuf {
    /// As it is on the other side.
    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            body: &self.body,
            client: self.client,
            origin: self.origin.as_deref(),
            requested_method: self.requested_method.as_deref(),
            requested_headers: self.requested_headers.as_deref(),
        }
    }
}

impl From<Request<'_>> for RequestBuf {
    /// A copy. Of a body that is too long no more is taken than it is refused for.
    fn from(request: Request<'_>) -> RequestBuf {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        RequestBuf {
            method: request.method.to_owned(),
            path: request.path.to_owned(),
            body: request.body[..request.body.len().min(BODY_LEN_MAX + 1)].to_vec(),
            client: request.client,
            origin: owned(request.origin),
            requested_method: owned(request.requested_method),
            requested_headers: owned(request.requested_headers),
        }
    }
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 200, 400...
    pub status: u16,
    /// Every header but `Content-Length`, which is to be sent as well (the ESP32 client reads no
    /// other length): names as they are usually written, values without line breaks.
    pub headers: Vec<(&'static str, String)>,
    /// What `Content-Type` says, JSON but for what the original answers as text; or nothing.
    pub body: String,
    pub(super) is_for_another: bool,
}

impl Response {
    /// A response of the host's own, in the same form as those of signalling: for a server that has
    /// one way to write them.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Response {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Response { status, headers, body: body.into(), is_for_another: false }
    }

    /// Whether another endpoint may take what this one refused, because it is full or about to
    /// end; false when the refusal is the client's own doing. For whoever has several endpoints and
    /// asks the next.
    #[must_use]
    pub fn is_for_another(&self) -> bool {
        self.is_for_another
    }

    /// The value of a header, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let field = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name))?;
        Some(&field.1)
    }

    pub(super) fn json(status: u16, body: &Value) -> Response {
        Response::new(status, "application/json", body.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Response {
        Response::new(status, "text/plain; charset=utf-8", body)
    }

    pub(super) fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: String::new(), is_for_another: false }
    }
}

/// Names an answer that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What became of a request.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The response.
    Now(Response),
    /// It comes out of `poll_response` with this token: candidates are still being gathered.
    Later(Token),
}

/// A session that a request made: somebody has to serve it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Call {
    /// The session.
    pub id: SessionId,
    /// Its name in requests.
    pub pc_id: String,
    /// What the client sent along for the application: `request_data`, else `requestData`, else
    /// the `body` of its `/start`.
    pub request_data: Option<Value>,
    /// The session of `/start` by which it came (`sessionId`).
    pub session_id: Option<String>,
    /// The session whose place it took (`restart_pc`): the same caller goes on.
    pub replaces: Option<SessionId>,
}

/// What a request speaks of, as far as the request tells: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedCall {
    /// A `pc_id` or a `sessionId`, of the shape in which [`Signaling`](super::Signaling) gives
    /// them.
    pub name: String,
    /// The shard that it leads to (`Config::place`), below 4096; not always one that there is.
    pub shard: u16,
}
