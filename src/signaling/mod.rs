//! The SmallWebRTC requests and answers.
//!
//! Clients that speak Pipecat's protocol make and steer a call with a few HTTP requests (its
//! `request_handler.py` and `run.py`). This module turns them into calls of an [`Endpoint`],
//! without any HTTP: what matters of a request comes in, a status, headers and a body go out, and
//! whoever owns the server moves them. It opens no socket, reads no clock and draws no randomness
//! but from its seed.
//!
//! | request | body: must have | may have | answer |
//! | --- | --- | --- | --- |
//! | `POST /start` | | `transport`, `enableDefaultIceServers`, `body` | 200 `sessionId`, `iceConfig` |
//! | `POST /api/offer` | `sdp`, `type` | `pc_id`, `restart_pc`, `request_data`, `requestData` | 200 `sdp`, `type`, `pc_id` |
//! | `PATCH /api/offer` | `pc_id`, `candidates`, of each `candidate` | `sdp_mid` and its like | 200 `{"status":"success"}` |
//! | both under `/sessions/{sessionId}` | the same | the same | the same |
//! | anything else under `/sessions/{sessionId}/` | | | 200 without a body |
//! | `GET /status` | | | 200 `status`, `transports` |
//! | `OPTIONS` | | | 200: see [`Options::allowed_origins`] |
//!
//! | `pc_id` of an offer | `restart_pc` | what happens |
//! | --- | --- | --- |
//! | none, null, empty, unknown or of a call that ended | any | a new call, a new `pc_id` |
//! | of a call | no | a re-offer: the same session, the same `pc_id` |
//! | of a call | yes | a new session and `pc_id`; the old one is closed as replaced |
//! | of a call that was replaced by one that never connected | yes | the same for that one: its answer was lost |
//!
//! In [`Mode::Single`] the first line holds only while there is no call; beside one it is 400 with
//! the original's text.
//!
//! Unknown fields are ignored; candidates for TCP and names of mDNS are taken and not tried. A
//! request that is refused changes nothing: 400 with the field named, 404 for a path, `pc_id` or
//! session that is not there, 405, 413, 429 to a client that asks too often, and 503 when it does
//! so with an offer (after a 4xx the JavaScript client gives up for good), at a limit and while the
//! server is about to end; the last two with `Retry-After`. An error's body is
//! `{"detail":"..."}` as the original's, but for an unknown session, which gets the original's
//! text. Where the original answers every mistake under `/sessions` as `Invalid WebRTC request`,
//! the answers here are those of `/api/offer`. Each has a counter: [`SignalingStats`].
//!
//! The protocol has no trickle towards the client, so an answer must hold all our candidates. While
//! they are being gathered an offer waits: [`Reply::Later`]. So does the answer to the first
//! candidates of a call that took another's place, until sound has gone out, 400 ms at most:
//! Pipecat's JavaScript client tells its page of no sound that begins later. Candidates for a call
//! that is not there (yet) are not kept: clients send them after the answer.
//!
//! The names of calls and of sessions carry the shard of their endpoint, so that whoever has
//! several endpoints finds the one that a request is for without a table: [`named_call`].
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | body | [`BODY_LEN_MAX`] | 413 |
//! | candidates of one request | [`CANDIDATES_MAX`] | 400 |
//! | requests of one client, of all that share it | [`Options::rate_limit`] | 429, an offer 503 |
//! | clients whose requests are counted | [`RATE_CLIENTS_MAX`] | who used least is forgotten |
//! | sessions of `/start` that wait | [`Options::starts_max`], [`Options::start_timeout`] | 503; forgotten |
//! | `body` of `/start` | [`START_BODY_LEN_MAX`] | 413 |
//! | offers that wait, or whose response does | [`WAITING_MAX`], [`GATHERING_TIMEOUT`] | 503; answered |
//! | names, calls not yet polled | one for each session | none is needed |

mod body;
mod cors;
mod exchange;
mod limiter;
mod names;
mod options;
mod refusal;
mod restarts;
mod starts;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::entropy::Entropy;
use crate::{Answer, CandidateError, ConnectionState, Endpoint, NegotiateError, Seed, SessionId};

pub use exchange::{Call, NamedCall, Reply, Request, RequestBuf, Response, Token};
pub use limiter::CLIENTS_MAX as RATE_CLIENTS_MAX;
pub use options::{
    ICE_SERVERS_MAX, ICE_URL_LEN_MAX, ICE_URLS_MAX, IceServer, IceServerError, Mode, Options,
    Origins, RateLimit,
};
pub use stats::SignalingStats;

use body::{OfferBody, PatchBody, StartBody};
use limiter::Clients;
use names::Names;
use refusal::Refusal;
use restarts::Restarts;
use starts::Starts;

/// The longest body in bytes: an offer of [`Offer::LEN_MAX`](crate::Offer::LEN_MAX), every second
/// byte escaped, or one with half as much `request_data`.
pub const BODY_LEN_MAX: usize = 128 * 1024;

/// The longest `body` of `/start`, in bytes of JSON, which is kept until its session's offer. 16
/// KiB: a prompt of several pages.
pub const START_BODY_LEN_MAX: usize = 16 * 1024;

/// Candidates of one PATCH: as many as a session takes in all.
pub const CANDIDATES_MAX: usize = 64;

/// Offers that wait for our candidates. 64: they hold at most 8 MiB of bodies, for 5 s at most.
pub const WAITING_MAX: usize = 64;

/// How long an offer waits for our candidates; then it is answered with those that there are.
/// 5 s: aioice's timeout for gathering (`ice.py`).
pub const GATHERING_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether signalling answers this path, whatever the method; for a server that has others as well.
#[must_use]
pub fn handles(path: &str) -> bool {
    Target::of(path) != Target::Other
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target<'a> {
    Offer,
    Start,
    Status,
    /// `/sessions/{id}/...api/offer`.
    SessionOffer(&'a str),
    /// Another path under a session.
    Session(&'a str),
    Other,
}

impl Target<'_> {
    fn of(path: &str) -> Target<'_> {
        match path {
            "/api/offer" => Target::Offer,
            "/start" => Target::Start,
            "/status" => Target::Status,
            _ => match path.strip_prefix("/sessions/").and_then(|rest| rest.split_once('/')) {
                // `path.endswith("api/offer")` in the original.
                Some((id, rest)) if rest.ends_with("api/offer") => Target::SessionOffer(id),
                Some((id, _)) => Target::Session(id),
                None => Target::Other,
            },
        }
    }

    fn methods(self) -> &'static str {
        match self {
            Target::Offer | Target::SessionOffer(_) => "POST, PATCH, OPTIONS",
            Target::Start => "POST, OPTIONS",
            Target::Status => "GET, HEAD, OPTIONS",
            Target::Session(_) => "GET, POST, PUT, PATCH, DELETE, OPTIONS",
            Target::Other => "OPTIONS",
        }
    }
}

/// Reads from a request which call or session it speaks of, for whoever has several endpoints and
/// looks for the one to hand it to. Under `/sessions/` that is the session, whose calls are with
/// it; else it is the call that the body names. The method decides nothing.
///
/// `None` when it names none, when the name has another shape than those of [`Signaling`], and
/// when the body cannot be read: any endpoint refuses it then, or makes a new call of it.
///
/// The client may have made the name up. Ask the endpoint's [`Signaling::knows`] before an offer is
/// left to it, or clients choose the shard of their calls, and fill it:
///
/// ```
/// use smallrtc::signaling::{Request, named_call};
///
/// let body = br#"{"pc_id":"SmallWebRTCConnection#8-00200112233445566778899aabbccdde"}"#;
/// let named = named_call(Request::new("PATCH", "/api/offer", body)).unwrap();
/// assert_eq!(named.shard, 2);
/// let path = "/sessions/00312233-4455-4677-8899-aabbccddeeff/api/offer";
/// assert_eq!(named_call(Request::new("POST", path, b"")).unwrap().shard, 3);
/// ```
#[must_use]
pub fn named_call(request: Request<'_>) -> Option<NamedCall> {
    match Target::of(request.path) {
        Target::SessionOffer(id) | Target::Session(id) => {
            let shard = names::shard_of_start(id)?;
            Some(NamedCall { name: id.to_owned(), shard })
        }
        _ => {
            let name = body::name_in(request.body)?;
            let shard = names::shard_of(&name)?;
            Some(NamedCall { name, shard })
        }
    }
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
/// let request = Request::new("POST", "/api/offer", br#"{"type":"offer"}"#);
/// let Reply::Now(response) = signaling.handle(&mut endpoint, request, now) else { panic!() };
/// assert_eq!(response.status, 400);
/// assert_eq!(response.body, r#"{"detail":"sdp: missing (expected a WebRTC offer)"}"#);
/// ```
#[derive(Debug)]
pub struct Signaling {
    options: Arc<Options>,
    names: Names,
    starts: Starts,
    restarts: Restarts,
    clients: Clients,
    is_gathering: bool,
    is_draining: bool,
    waiting: VecDeque<Waiting>,
    responses: VecDeque<(Token, Response)>,
    calls: VecDeque<Call>,
    next_token: u64,
    last_now: Option<Instant>,
    stats: SignalingStats,
}

/// An offer that waits for our candidates.
#[derive(Debug)]
struct Waiting {
    token: Token,
    /// As it came, because what is read from it may take many times the room; it is read again.
    body: Vec<u8>,
    /// The session of `/start` by which it came.
    start: Option<String>,
    origin: Option<String>,
    deadline: Instant,
}

impl Signaling {
    /// A signalling without calls, with the default [`Options`]. The names that it gives are drawn
    /// from the seed; who can guess them can disturb the calls.
    #[must_use]
    pub fn new(seed: Seed) -> Signaling {
        Signaling::with_options(seed, Options::new().shared())
    }

    /// As [`Signaling::new`], with these options.
    #[must_use]
    pub fn with_options(seed: Seed, options: Arc<Options>) -> Signaling {
        Signaling {
            clients: Clients::new(options.rate_limit),
            options,
            names: Names::new(Entropy::new(&seed)),
            starts: Starts::default(),
            restarts: Restarts::default(),
            is_gathering: false,
            is_draining: false,
            waiting: VecDeque::new(),
            responses: VecDeque::new(),
            calls: VecDeque::new(),
            next_token: 0,
            last_now: None,
            stats: SignalingStats::default(),
        }
    }

    /// Takes other options. With another rate limit, which all take that share it, what was counted
    /// for it is forgotten; sessions of `/start` stay.
    pub fn set_options(&mut self, options: Arc<Options>) {
        self.clients.set_limit(options.rate_limit);
        self.options = options;
    }

    /// Counts the requests of clients together with another signalling of the node, on whatever
    /// thread that one is: a client's limit is one for both, and the other's
    /// [`Options::rate_limit`] holds. To be called before the first request.
    ///
    /// A request that is passed on to a second one, because the first had no room, is to come
    /// without its client (`Request::client`), or it counts twice.
    pub fn share_clients(&mut self, other: &Signaling) {
        self.clients = other.clients.share();
    }

    /// Handles a request. A session that it made comes out of [`Signaling::poll_call`] before the
    /// client has the answer.
    pub fn handle(&mut self, endpoint: &mut Endpoint, request: Request<'_>, now: Instant) -> Reply {
        let now = self.tick(endpoint, now);
        self.stats.requests += 1;
        match self.route(endpoint, &request, now) {
            Ok(Reply::Later(token)) => Reply::Later(token),
            Ok(Reply::Now(response)) => Reply::Now(self.share(response, request.origin)),
            Err(refusal) => {
                let response = self.refuse(refusal);
                Reply::Now(self.share(response, request.origin))
            }
        }
    }

    /// Says whether our candidates are still being gathered: offers wait meanwhile. Without such
    /// words they wait only while the endpoint has no candidate at all.
    pub fn set_gathering(&mut self, endpoint: &mut Endpoint, gathering: bool, now: Instant) {
        self.is_gathering = gathering;
        self.tick(endpoint, now);
    }

    /// Says whether the server is about to end: while it is, new calls and sessions are refused as
    /// 503. Calls that there are go on: they can renegotiate, trickle, and be replaced.
    pub fn set_draining(&mut self, draining: bool) {
        self.is_draining = draining;
    }

    /// Whether it is.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Must be told of each `Event::Closed`, so that its pc_id is freed.
    pub fn session_closed(&mut self, id: SessionId) {
        self.names.free(id);
        self.starts.leave(id);
        self.restarts.remove(id);
        self.calls.retain(|call| call.id != id);
    }

    /// The client does not wait for this answer any more. Its offer is dropped if it still waits;
    /// if it was answered already, the session ends by itself.
    pub fn cancel(&mut self, token: Token) {
        let before = self.waiting_responses();
        self.waiting.retain(|waiting| waiting.token != token);
        self.responses.retain(|(of, _)| *of != token);
        self.restarts.cancel(token);
        let after = self.waiting_responses();
        self.stats.waits_cancelled += (before - after) as u64;
    }

    /// Serves the requests that waited, when what they waited for is there or their time is over,
    /// and forgets the sessions of `/start` whose time is over.
    pub fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        self.tick(endpoint, now);
    }

    /// The next response to a request that had to wait.
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
        let offer = self.waiting.front().map(|waiting| waiting.deadline);
        let others = [self.starts.poll_timeout(), self.restarts.poll_timeout()];
        others.into_iter().chain([offer]).flatten().min()
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

    /// Whether a call or a session of `/start` has this name: see [`named_call`].
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        let names = &self.names;
        let is_call = names.session_of(name).or_else(|| names.successor_of(name)).is_some();
        is_call || self.starts.has(name)
    }

    /// How many sessions of `/start` wait for their offer: calls that are likely to come here.
    #[must_use]
    pub fn promised(&self) -> usize {
        self.starts.waiting()
    }

    /// What was counted since it was made, and what there is now.
    #[must_use]
    pub fn stats(&self) -> SignalingStats {
        let (clients, clients_evicted) = self.clients.known_and_evicted();
        SignalingStats {
            clients,
            clients_evicted,
            starts_waiting: self.starts.waiting() as u64,
            offers_waiting: self.waiting_responses() as u64,
            ..self.stats
        }
    }

    fn route(
        &mut self,
        endpoint: &mut Endpoint,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let target = Target::of(request.path);
        if request.method == "OPTIONS" {
            return self.options_of(target, request).map(Reply::Now);
        }
        if let (Some(client), "POST" | "PATCH") = (request.client, request.method) {
            let is_offer = request.method == "POST"
                && matches!(target, Target::Offer | Target::SessionOffer(_));
            let refusal = if is_offer { Refusal::RateOfOffers } else { Refusal::Rate };
            self.clients.admit(client, now).map_err(refusal)?;
        }
        let start = match target {
            Target::SessionOffer(id) | Target::Session(id) if !self.starts.has(id) => {
                return Err(Refusal::UnknownStart);
            }
            Target::SessionOffer(id) => Some(id),
            _ => None,
        };
        match (target, request.method) {
            (Target::Offer | Target::SessionOffer(_), "POST") => {
                self.offer(endpoint, request, start, now)
            }
            (Target::Offer | Target::SessionOffer(_), "PATCH") => {
                self.patch(endpoint, request, now)
            }
            (Target::Start, "POST") => self.start(endpoint, request.body, now).map(Reply::Now),
            (Target::Status, "GET" | "HEAD") => Ok(Reply::Now(self.status())),
            // What a bot's own routes would be in the original: nothing is there.
            (
                Target::SessionOffer(_) | Target::Session(_),
                "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
            ) => Ok(Reply::Now(Response::empty(200))),
            (Target::Other, _) => Err(Refusal::Path),
            _ => Err(Refusal::Method { allow: target.methods() }),
        }
    }

    fn options_of(
        &mut self,
        target: Target<'_>,
        request: &Request<'_>,
    ) -> Result<Response, Refusal> {
        if request.requested_method.is_some() {
            let response = self.options.preflight(request).ok_or(Refusal::Origin)?;
            self.stats.preflights += 1;
            return Ok(response);
        }
        if target == Target::Other {
            return Err(Refusal::Path);
        }
        let mut response = Response::empty(200);
        response.headers.push(("Allow", target.methods().to_owned()));
        Ok(response)
    }

    fn status(&self) -> Response {
        let status = if self.is_draining { "draining" } else { "ready" };
        Response::json(200, &json!({ "status": status, "transports": ["webrtc"] }))
    }

    fn start(
        &mut self,
        endpoint: &Endpoint,
        body: &[u8],
        now: Instant,
    ) -> Result<Response, Refusal> {
        let StartBody { default_ice_servers, body } = StartBody::read(body)?;
        if self.is_draining {
            return Err(Refusal::Draining);
        }
        if self.starts.waiting() >= self.options.starts_max {
            return Err(Refusal::Starts(self.options.starts_max));
        }
        let (_, shard) = endpoint.place();
        let id = self.names.give_start(shard);
        let mut answer = json!({ "sessionId": id });
        let servers = match &self.options.ice_servers {
            none if none.is_empty() && default_ice_servers => vec![IceServer::default_stun()],
            configured => configured.clone(),
        };
        if !servers.is_empty() {
            answer["iceConfig"] = json!({ "iceServers": servers });
        }
        self.starts.insert(id, body, now + self.options.start_timeout);
        self.stats.starts += 1;
        Ok(Response::json(200, &answer))
    }

    fn offer(
        &mut self,
        endpoint: &mut Endpoint,
        request: &Request<'_>,
        start: Option<&str>,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let read = OfferBody::read(request.body)?;
        if self.must_wait(endpoint) {
            return self.wait(request, start, now).map(Reply::Later);
        }
        self.answer(endpoint, read, start, now).map(Reply::Now)
    }

    fn must_wait(&self, endpoint: &Endpoint) -> bool {
        self.is_gathering || endpoint.local_candidates().is_empty()
    }

    fn wait(
        &mut self,
        request: &Request<'_>,
        start: Option<&str>,
        now: Instant,
    ) -> Result<Token, Refusal> {
        if self.waiting_responses() >= WAITING_MAX {
            return Err(Refusal::Waiting);
        }
        let token = self.token();
        self.stats.waits += 1;
        let deadline = now + GATHERING_TIMEOUT;
        let (body, start) = (request.body.to_vec(), start.map(str::to_owned));
        let origin = origin_of(request);
        self.waiting.push_back(Waiting { token, body, start, origin, deadline });
        Ok(token)
    }

    /// Lets time pass, and tells what time it is: it never goes back.
    fn tick(&mut self, endpoint: &mut Endpoint, now: Instant) -> Instant {
        let now = self.last_now.map_or(now, |last| last.max(now));
        self.last_now = Some(now);
        self.stats.starts_expired += self.starts.expire(now);
        // Offers wait equally long, so the first is the next whose time is over.
        while let Some(first) = self.waiting.front() {
            let is_late = self.must_wait(endpoint);
            if is_late && now < first.deadline {
                break;
            }
            let Some(Waiting { token, body, start, origin, .. }) = self.waiting.pop_front() else {
                break;
            };
            self.stats.waits_timed_out += u64::from(is_late);
            let response = match self.answer_late(endpoint, &body, start.as_deref(), now) {
                Ok(response) => response,
                Err(refusal) => self.refuse(refusal),
            };
            let response = self.share(response, origin.as_deref());
            self.responses.push_back((token, response));
        }
        for (token, origin) in self.restarts.due(endpoint, now) {
            let response = self.share(taken(), origin.as_deref());
            self.responses.push_back((token, response));
        }
        now
    }

    /// Requests whose response is still to come, or to be polled.
    fn waiting_responses(&self) -> usize {
        self.waiting.len() + self.responses.len() + self.restarts.len()
    }

    fn token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn answer_late(
        &mut self,
        endpoint: &mut Endpoint,
        body: &[u8],
        start: Option<&str>,
        now: Instant,
    ) -> Result<Response, Refusal> {
        let read = OfferBody::read(body)?;
        if start.is_some_and(|id| !self.starts.has(id)) {
            return Err(Refusal::UnknownStart);
        }
        self.answer(endpoint, read, start, now)
    }

    fn answer(
        &mut self,
        endpoint: &mut Endpoint,
        body: OfferBody,
        start: Option<&str>,
        now: Instant,
    ) -> Result<Response, Refusal> {
        let mut replaces = self.named(endpoint, &body);
        if let Some(id) = replaces.take_if(|_| !body.restart_pc) {
            match self.reoffer(endpoint, id, &body, now) {
                // It is about to end: what the client wants is a call.
                Err(NegotiateError::Closed) => {}
                Err(error) => return Err(error.into()),
                Ok((pc_id, answer)) => {
                    self.stats.renegotiations += 1;
                    return Ok(answered(&pc_id, &answer));
                }
            }
        }
        if replaces.is_none() {
            self.admit(endpoint, body.pc_id.as_deref())?;
        }
        let (pc_id, answer) = self.call(endpoint, body, replaces, start, now)?;
        Ok(answered(&pc_id, &answer))
    }

    /// Whether one more call may come beside those that there are, as far as the endpoint does not
    /// decide that.
    fn admit(&self, endpoint: &mut Endpoint, pc_id: Option<&str>) -> Result<(), Refusal> {
        if self.is_draining {
            return Err(Refusal::Draining);
        }
        let mut is_there = |id: &SessionId| {
            let session = endpoint.session(*id);
            session.is_some_and(|session| session.state() != ConnectionState::Closed)
        };
        if self.options.is_single() && self.names.sessions().iter().any(&mut is_there) {
            return Err(Refusal::Single(match pc_id {
                Some(_) => "PC ID mismatch with existing connection",
                None => "Cannot create new connection with existing connection active",
            }));
        }
        Ok(())
    }

    /// The session that an offer is about, if it is still there.
    fn named(&self, endpoint: &mut Endpoint, body: &OfferBody) -> Option<SessionId> {
        let name = body.pc_id.as_deref()?;
        if let Some(id) = self.names.session_of(name) {
            return endpoint.session(id).map(|session| session.id());
        }
        // Who asks again by the name before a restart never got the answer to that: what it wants
        // is the place of the call that nobody has ever reached.
        let id = self.names.successor_of(name).filter(|_| body.restart_pc)?;
        let session = endpoint.session(id)?;
        (session.state() == ConnectionState::Connecting).then(|| session.id())
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
        start: Option<&str>,
        now: Instant,
    ) -> Result<(String, Answer), NegotiateError> {
        let (id, answer) = match replaces {
            Some(old) => endpoint.replace(old, &body.offer, now)?,
            None => endpoint.accept(&body.offer, now)?,
        };
        // The caller goes on by the session by which it came, which ends with its last call.
        let session_id = start.or_else(|| self.starts.of_call(replaces?)).map(str::to_owned);
        let kept = session_id.as_deref().and_then(|start| self.starts.body_of(start));
        if let Some(start) = &session_id {
            self.starts.join(start, id);
        }
        if let Some(old) = replaces {
            self.session_closed(old);
            self.stats.calls_replaced += 1;
            self.restarts.add(id);
        }
        self.sweep(endpoint);
        let (_, shard) = endpoint.place();
        let pc_id = self.names.give(id, shard);
        if let Some(name) = body.pc_id.filter(|_| replaces.is_some()) {
            self.names.succeed(name, id);
        }
        let said = |data: &Value| !body::says_nothing(data) || kept.is_none();
        let request_data = body.request_data.filter(said).or(kept);
        self.calls.push_back(Call { id, pc_id: pc_id.clone(), request_data, session_id, replaces });
        self.stats.calls += 1;
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
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Reply, Refusal> {
        let PatchBody { pc_id, candidates } = PatchBody::read(request.body)?;
        let id = self.names.session_of(&pc_id).ok_or(Refusal::UnknownCall)?;
        let mut session = endpoint.session(id).ok_or(Refusal::UnknownCall)?;
        for (index, candidate) in candidates.iter().enumerate() {
            match session.add_remote_candidate(candidate, now) {
                Ok(()) => {}
                Err(CandidateError::Closed) => return Err(Refusal::UnknownCall),
                // Those before it stay: they are as good as any.
                Err(error) => return Err(body::bad_candidate(index, &error)),
            }
        }
        drop(session);
        self.stats.trickles += 1;
        if !self.restarts.holds(id) || self.waiting_responses() >= WAITING_MAX {
            return Ok(Reply::Now(taken()));
        }
        let token = self.token();
        self.stats.trickles_held += 1;
        self.restarts.hold(token, id, origin_of(request), now);
        Ok(Reply::Later(token))
    }

    fn refuse(&mut self, refusal: Refusal) -> Response {
        refusal.count(&mut self.stats);
        refusal.into_response()
    }

    /// Lets a page from that origin read the response, if it may.
    fn share(&self, mut response: Response, origin: Option<&str>) -> Response {
        response.headers.extend(self.options.cors(origin));
        response
    }
}

/// What candidates get.
fn taken() -> Response {
    Response::json(200, &json!({ "status": "success" }))
}

/// Where a response that waits is to be readable from. An origin that is too long is not repeated,
/// and need not be kept.
fn origin_of(request: &Request<'_>) -> Option<String> {
    let origin = request.origin.filter(|origin| origin.len() <= cors::ORIGIN_LEN_MAX);
    origin.map(str::to_owned)
}

fn answered(pc_id: &str, answer: &Answer) -> Response {
    Response::json(200, &json!({ "sdp": answer.sdp(), "type": "answer", "pc_id": pc_id }))
}
