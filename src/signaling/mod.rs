//! The SmallWebRTC requests and answers.
//!
//! Clients that speak Pipecat's protocol make and steer a call with two HTTP requests (its
//! `request_handler.py`). This module turns them into calls of an [`Endpoint`], without any HTTP:
//! bytes come in, a status and JSON go out, and whoever owns the server moves them.
//!
//! | | `POST /api/offer` | `PATCH /api/offer` |
//! | --- | --- | --- |
//! | must have | `sdp`, `type` | `pc_id`, `candidates`, of each `candidate` |
//! | may have | `pc_id`, `restart_pc`, `request_data`, `requestData` | `sdp_mid` and its like |
//! | answer | 200 `sdp`, `type`, `pc_id` | 200 `{"status":"success"}` |
//!
//! | `pc_id` of an offer | `restart_pc` | what happens |
//! | --- | --- | --- |
//! | none, null, empty, unknown or of a call that ended | any | a new call, a new `pc_id` |
//! | of a call | no | a re-offer: the same session, the same `pc_id` |
//! | of a call | yes | a new session and `pc_id`; the old one is closed as replaced |
//!
//! Unknown fields are ignored. A request that is refused changes nothing: 400 with the field named,
//! 404 for a path or `pc_id` that is not there, 405, 413, and 503 at a limit. The body is always
//! JSON, and an error's is `{"detail":"..."}` as the original's.
//!
//! The protocol has no trickle towards the client, so an answer must hold all our candidates. While
//! they are being gathered an offer waits: [`Reply::Later`].
//!
//! A name carries the shard of its endpoint, so that whoever has several endpoints finds the one
//! that a request is for without a table: [`named_call`].
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | body | [`BODY_LEN_MAX`] | 413 |
//! | candidates of one request | [`CANDIDATES_MAX`] | 400 |
//! | offers that wait, or whose response does | [`WAITING_MAX`], [`GATHERING_TIMEOUT`] | 503 |
//! | names, calls not yet polled | one for each session | none is needed |

mod body;
mod names;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::entropy::Entropy;
use crate::{Answer, CandidateError, Endpoint, NegotiateError, Seed, SessionId};

use body::{OfferBody, PatchBody};
use names::Names;

/// The longest body in bytes: an offer of [`Offer::LEN_MAX`](crate::Offer::LEN_MAX), every second
/// byte escaped, or one with half as much `request_data`.
pub const BODY_LEN_MAX: usize = 128 * 1024;

/// Candidates of one PATCH: as many as a session takes in all.
pub const CANDIDATES_MAX: usize = 64;

/// Offers that wait for our candidates. 64: they hold at most 8 MiB of bodies, for 5 s at most.
pub const WAITING_MAX: usize = 64;

/// How long an offer waits for our candidates; then it is answered with those that there are.
/// 5 s: aioice's timeout for gathering (`ice.py`).
pub const GATHERING_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP request, as far as signalling needs it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// GET, POST, PATCH...
    pub method: &'a str,
    /// The path, without query.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// 200, 400...
    pub status: u16,
    /// Headers beside `Content-Type: application/json` and `Content-Length`.
    pub headers: Vec<(&'static str, String)>,
    /// JSON text.
    pub body: String,
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
    /// What the client sent along for the application (`request_data`, `requestData`).
    pub request_data: Option<Value>,
    /// The session whose place it took (`restart_pc`): the same caller goes on.
    pub replaces: Option<SessionId>,
}

/// The call that a request speaks of, as far as the request tells: nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedCall {
    /// The `pc_id`, of the shape in which [`Signaling`] gives them.
    pub pc_id: String,
    /// The shard that it leads to (`Config::place`), below 4096; not always one that there is.
    pub shard: u16,
}

/// Reads from a request which call it speaks of, for whoever has several endpoints and looks for
/// the one to hand it to. The method decides nothing, nor does the path, because every request
/// that names a call names it in its body.
///
/// `None` when it names none, when the name has another shape than those of [`Signaling`], and
/// when the body cannot be read: any endpoint refuses it then, or makes a new call of it.
///
/// The client may have made the name up. Ask the endpoint's [`Signaling::session_of`] before an
/// offer is left to it, or clients choose the shard of their calls, and fill it:
///
/// ```
/// use smallrtc::signaling::{Request, named_call};
///
/// let body = br#"{"pc_id":"SmallWebRTCConnection#8-00200112233445566778899aabbccdde"}"#;
/// let named = named_call(Request { method: "PATCH", path: "/api/offer", body }).unwrap();
/// assert_eq!(named.shard, 2);
/// ```
#[must_use]
pub fn named_call(request: Request<'_>) -> Option<NamedCall> {
    let pc_id = body::name_in(request.body)?;
    let shard = names::shard_of(&pc_id)?;
    Some(NamedCall { pc_id, shard })
}

/// The SmallWebRTC requests over an endpoint.
///
/// It must be told of two things: of each [`Event::Closed`](crate::Event::Closed), by
/// [`Signaling::session_closed`], and of gathering, by [`Signaling::set_gathering`].
///
/// ```
/// use smallrtc::signaling::{Reply, Request, Signaling};
/// use smallrtc::{Config, Endpoint, Seed};
/// use std::time::Instant;
///
/// let now = Instant::now();
/// let mut endpoint = Endpoint::new(Config::new().shared(), Seed::from_number(1), now);
/// let mut signaling = Signaling::new(Seed::from_number(2));
/// let request = Request { method: "POST", path: "/api/offer", body: br#"{"type":"offer"}"# };
/// let Reply::Now(response) = signaling.handle(&mut endpoint, request, now) else { panic!() };
/// assert_eq!(response.status, 400);
/// assert_eq!(response.body, r#"{"detail":"sdp: missing (expected a WebRTC offer)"}"#);
/// ```
#[derive(Debug)]
pub struct Signaling {
    names: Names,
    is_gathering: bool,
    waiting: VecDeque<Waiting>,
    responses: VecDeque<(Token, Response)>,
    calls: VecDeque<Call>,
    next_token: u64,
    last_now: Option<Instant>,
}

/// An offer that waits for our candidates.
#[derive(Debug)]
struct Waiting {
    token: Token,
    /// As it came, because what is read from it may take many times the room; it is read again.
    body: Vec<u8>,
    deadline: Instant,
}

impl Signaling {
    /// A signalling without calls. The names that it gives are drawn from the seed; who can guess
    /// them can disturb the calls.
    #[must_use]
    pub fn new(seed: Seed) -> Signaling {
        Signaling {
            names: Names::new(Entropy::new(&seed)),
            is_gathering: false,
            waiting: VecDeque::new(),
            responses: VecDeque::new(),
            calls: VecDeque::new(),
            next_token: 0,
            last_now: None,
        }
    }

    /// Handles a request. A session that it made comes out of [`Signaling::poll_call`] before the
    /// client has the answer.
    pub fn handle(&mut self, endpoint: &mut Endpoint, request: Request<'_>, now: Instant) -> Reply {
        self.tick(endpoint, now);
        let handled = match (request.path, request.method) {
            ("/api/offer", "POST") => return self.offer(endpoint, request.body, now),
            ("/api/offer", "PATCH") => self.patch(endpoint, request.body, now),
            ("/api/offer", _) => Err(Refusal::Method { allow: "POST, PATCH" }),
            _ => Err(Refusal::NotFound("Not Found")),
        };
        Reply::Now(handled.unwrap_or_else(Refusal::into_response))
    }

    /// Says whether our candidates are still being gathered: offers wait meanwhile. Without such
    /// words they wait only while the endpoint has no candidate at all.
    pub fn set_gathering(&mut self, endpoint: &mut Endpoint, gathering: bool, now: Instant) {
        self.is_gathering = gathering;
        self.tick(endpoint, now);
    }

    /// Must be told of each `Event::Closed`, so that its pc_id is freed.
    pub fn session_closed(&mut self, id: SessionId) {
        self.names.free(id);
        self.calls.retain(|call| call.id != id);
    }

    /// The client does not wait for this answer any more. Its offer is dropped if it still waits;
    /// if it was answered already, the session ends by itself.
    pub fn cancel(&mut self, token: Token) {
        self.waiting.retain(|waiting| waiting.token != token);
        self.responses.retain(|(of, _)| *of != token);
    }

    /// Serves the offers that waited for candidates and have them now, or have waited too long.
    pub fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        self.tick(endpoint, now);
    }

    /// The next response to an offer that had to wait.
    #[must_use]
    pub fn poll_response(&mut self) -> Option<(Token, Response)> {
        self.responses.pop_front()
    }

    /// The next session that a request made, unless it ended meanwhile.
    #[must_use]
    pub fn poll_call(&mut self) -> Option<Call> {
        self.calls.pop_front()
    }

    /// When to call [`Signaling::handle_timeout`]; due at once while there is something to poll.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !(self.responses.is_empty() && self.calls.is_empty()) {
            return self.last_now;
        }
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// The session that a client calls so.
    #[must_use]
    pub fn session_of(&self, pc_id: &str) -> Option<SessionId> {
        self.names.session_of(pc_id)
    }

    /// What the client calls a session.
    #[must_use]
    pub fn pc_id_of(&self, id: SessionId) -> Option<&str> {
        self.names.name_of(id)
    }

    fn offer(&mut self, endpoint: &mut Endpoint, body: &[u8], now: Instant) -> Reply {
        match OfferBody::read(body) {
            Err(refusal) => Reply::Now(refusal.into_response()),
            Ok(_) if self.must_wait(endpoint) => self.wait(body, now),
            Ok(read) => Reply::Now(self.answer(endpoint, read, now)),
        }
    }

    fn must_wait(&self, endpoint: &Endpoint) -> bool {
        self.is_gathering || endpoint.local_candidates().is_empty()
    }

    fn wait(&mut self, body: &[u8], now: Instant) -> Reply {
        if self.waiting.len() + self.responses.len() >= WAITING_MAX {
            let detail = format!("{WAITING_MAX} offers wait, which is the limit");
            return Reply::Now(Refusal::Unavailable(detail).into_response());
        }
        let token = Token(self.next_token);
        self.next_token += 1;
        let deadline = now + GATHERING_TIMEOUT;
        self.waiting.push_back(Waiting { token, body: body.to_vec(), deadline });
        Reply::Later(token)
    }

    /// Offers wait equally long, so the first is the next whose time is over.
    fn tick(&mut self, endpoint: &mut Endpoint, now: Instant) {
        let now = self.last_now.map_or(now, |last| last.max(now));
        self.last_now = Some(now);
        while let Some(first) = self.waiting.front() {
            if self.must_wait(endpoint) && now < first.deadline {
                return;
            }
            let Some(Waiting { token, body, .. }) = self.waiting.pop_front() else { return };
            let response = match OfferBody::read(&body) {
                Ok(read) => self.answer(endpoint, read, now),
                Err(refusal) => refusal.into_response(),
            };
            self.responses.push_back((token, response));
        }
    }

    fn answer(&mut self, endpoint: &mut Endpoint, body: OfferBody, now: Instant) -> Response {
        let answered = match self.named(endpoint, &body) {
            Some(id) if !body.restart_pc => match self.reoffer(endpoint, id, &body, now) {
                // It is about to end: what the client wants is a call.
                Err(NegotiateError::Closed) => self.call(endpoint, body, None, now),
                other => other,
            },
            old => self.call(endpoint, body, old, now),
        };
        match answered {
            Ok((pc_id, answer)) => {
                let sdp = answer.sdp();
                Response::ok(&json!({ "sdp": sdp, "type": "answer", "pc_id": pc_id }))
            }
            Err(error) => Refusal::from(error).into_response(),
        }
    }

    /// The session that an offer is about, if it is still there.
    fn named(&self, endpoint: &mut Endpoint, body: &OfferBody) -> Option<SessionId> {
        let id = self.names.session_of(body.pc_id.as_deref()?)?;
        endpoint.session(id).map(|session| session.id())
    }

    fn reoffer(
        &self,
        endpoint: &mut Endpoint,
        id: SessionId,
        body: &OfferBody,
        now: Instant,
    ) -> Result<(String, Answer), NegotiateError> {
        let mut session = endpoint.session(id).ok_or(NegotiateError::Closed)?;
        let answer = session.accept_offer(&body.offer, now)?;
        let name = self.names.name_of(id).expect("it was found by its name");
        Ok((name.to_owned(), answer))
    }

    fn call(
        &mut self,
        endpoint: &mut Endpoint,
        body: OfferBody,
        replaces: Option<SessionId>,
        now: Instant,
    ) -> Result<(String, Answer), NegotiateError> {
        let (id, answer) = match replaces {
            Some(old) => endpoint.replace(old, &body.offer, now)?,
            None => endpoint.accept(&body.offer, now)?,
        };
        if let Some(old) = replaces {
            self.session_closed(old);
        }
        self.sweep(endpoint);
        let (_, shard) = endpoint.place();
        let pc_id = self.names.give(id, shard);
        let request_data = body.request_data;
        self.calls.push_back(Call { id, pc_id: pc_id.clone(), request_data, replaces });
        Ok((pc_id, answer))
    }

    /// Names must not outnumber sessions even when `session_closed` is never called.
    fn sweep(&mut self, endpoint: &mut Endpoint) {
        if self.names.len() < endpoint.len() {
            return;
        }
        for id in self.names.sessions() {
            if endpoint.session(id).is_none() {
                self.session_closed(id);
            }
        }
    }

    fn patch(
        &mut self,
        endpoint: &mut Endpoint,
        body: &[u8],
        now: Instant,
    ) -> Result<Response, Refusal> {
        let PatchBody { pc_id, candidates } = PatchBody::read(body)?;
        let unknown = || Refusal::NotFound("Peer connection not found");
        let id = self.names.session_of(&pc_id).ok_or_else(unknown)?;
        let mut session = endpoint.session(id).ok_or_else(unknown)?;
        for (index, candidate) in candidates.iter().enumerate() {
            match session.add_remote_candidate(candidate, now) {
                Ok(()) => {}
                Err(CandidateError::Closed) => return Err(unknown()),
                // Those before it stay: they are as good as any.
                Err(error) => return Err(body::bad_candidate(index, &error)),
            }
        }
        Ok(Response::ok(&json!({ "status": "success" })))
    }
}

impl Response {
    /// 503, with why in the form of every error: for whoever cannot pass a request on.
    #[must_use]
    pub fn unavailable(detail: &str) -> Response {
        Refusal::Unavailable(detail.to_owned()).into_response()
    }

    fn ok(body: &Value) -> Response {
        Response { status: 200, headers: Vec::new(), body: body.to_string() }
    }
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    /// The text begins with the field.
    Invalid(String),
    NotFound(&'static str),
    Method {
        allow: &'static str,
    },
    TooLarge,
    Unavailable(String),
}

impl Refusal {
    fn into_response(self) -> Response {
        let mut headers = Vec::new();
        let (status, detail) = match self {
            Refusal::Invalid(detail) => (400, detail),
            Refusal::NotFound(detail) => (404, detail.to_owned()),
            Refusal::Method { allow } => {
                // RFC 9110 section 15.5.6: 405 must come with `Allow`.
                headers.push(("Allow", allow.to_owned()));
                (405, "Method Not Allowed".to_owned())
            }
            Refusal::TooLarge => (413, format!("body: the limit is {BODY_LEN_MAX} bytes")),
            Refusal::Unavailable(detail) => (503, detail),
        };
        tracing::debug!(status, detail, "request refused");
        Response { status, headers, body: json!({ "detail": detail }).to_string() }
    }
}

impl From<NegotiateError> for Refusal {
    fn from(error: NegotiateError) -> Refusal {
        match error {
            NegotiateError::Full { .. }
            | NegotiateError::NoLocalCandidate
            | NegotiateError::Closed => Refusal::Unavailable(error.to_string()),
            NegotiateError::InvalidSdp { .. }
            | NegotiateError::TooLarge { .. }
            | NegotiateError::NoUsableMedia
            | NegotiateError::Incompatible { .. } => Refusal::Invalid(error.to_string()),
        }
    }
}
