//! What is said no to, and how.

use std::time::Duration;

use serde_json::json;

use super::{BODY_LEN_MAX, Response, SignalingStats, WAITING_MAX};
use crate::NegotiateError;

/// What a client is told to wait, in seconds, when it is refused for want of room. 2: the
/// JavaScript client tries again after 2000 ms (`smallWebRTCTransport.ts`).
const RETRY_AFTER_S: u64 = 2;

/// What the original says to an unknown session (`run.py`), as text.
const UNKNOWN_START: &str = "Invalid or not-yet-ready session_id";

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The text begins with the field.
    Invalid(String),
    /// There is a call already (`Mode::Single`).
    Single(&'static str),
    /// A preflight from an origin that is not allowed.
    Origin,
    /// No such path.
    Path,
    /// No such call.
    UnknownCall,
    /// No such session of `/start`.
    UnknownStart,
    Method {
        allow: &'static str,
    },
    TooLarge {
        field: &'static str,
        limit: usize,
    },
    /// How long until the client may ask again.
    Rate(Duration),
    /// The same, of an offer.
    RateOfOffers(Duration),
    /// The endpoint has no room.
    Full(String),
    /// Too many offers wait for candidates.
    Waiting,
    /// Too many sessions of `/start` wait for their offer.
    Starts(usize),
    Draining,
}

impl Refusal {
    /// A body that is longer than any may be.
    pub(super) const BODY_TOO_LARGE: Refusal =
        Refusal::TooLarge { field: "body", limit: BODY_LEN_MAX };

    pub(super) fn count(&self, stats: &mut SignalingStats) {
        *match self {
            Refusal::Invalid(_) => &mut stats.refused_malformed,
            Refusal::Single(_) => &mut stats.refused_single,
            Refusal::Origin => &mut stats.origins_refused,
            Refusal::Path => &mut stats.refused_path,
            Refusal::UnknownCall | Refusal::UnknownStart => &mut stats.refused_unknown,
            Refusal::Method { .. } => &mut stats.refused_method,
            Refusal::TooLarge { .. } => &mut stats.refused_too_large,
            Refusal::Rate(_) | Refusal::RateOfOffers(_) => &mut stats.refused_rate,
            Refusal::Full(_) => &mut stats.refused_full,
            Refusal::Waiting => &mut stats.refused_waiting,
            Refusal::Starts(_) => &mut stats.refused_starts,
            Refusal::Draining => &mut stats.refused_draining,
        } += 1;
    }

    pub(super) fn into_response(self) -> Response {
        let status = self.status();
        let mut response = match &self {
            Refusal::UnknownStart => Response::text(status, UNKNOWN_START),
            other => Response::json(status, &json!({ "detail": other.detail() })),
        };
        response.is_for_another = self.is_for_another();
        match self {
            // RFC 9110 section 15.5.6: 405 must come with `Allow`.
            Refusal::Method { allow } => response.headers.push(("Allow", allow.to_owned())),
            Refusal::Rate(wait) | Refusal::RateOfOffers(wait) => {
                // Rounded up, or a client that waits so long would be too early.
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                response.headers.push(("Retry-After", seconds.max(1).to_string()));
            }
            _ if status == 503 => response.retry_after(RETRY_AFTER_S),
            _ => {}
        }
        tracing::debug!(status, body = response.body, "request refused");
        response
    }

    fn status(&self) -> u16 {
        match self {
            Refusal::Invalid(_) | Refusal::Single(_) | Refusal::Origin => 400,
            Refusal::Path | Refusal::UnknownCall | Refusal::UnknownStart => 404,
            Refusal::Method { .. } => 405,
            Refusal::TooLarge { .. } => 413,
            Refusal::Rate(_) => 429,
            // An offer beyond the rate as well: at any 4xx the JavaScript client gives up for good
            // (`smallWebRTCTransport.ts`), after a 5xx it offers again in 2 s; and behind one
            // address stand many who have done nothing.
            Refusal::RateOfOffers(_)
            | Refusal::Full(_)
            | Refusal::Waiting
            | Refusal::Starts(_)
            | Refusal::Draining => 503,
        }
    }

    /// Whether there is room with another endpoint, for all that this one knows.
    fn is_for_another(&self) -> bool {
        matches!(self, Refusal::Full(_) | Refusal::Waiting | Refusal::Starts(_) | Refusal::Draining)
    }

    fn detail(&self) -> String {
        match self {
            Refusal::Invalid(detail) | Refusal::Full(detail) => detail.clone(),
            Refusal::Single(detail) => (*detail).to_owned(),
            Refusal::Origin => "Origin: not allowed".to_owned(),
            Refusal::Path => "Not Found".to_owned(),
            Refusal::UnknownCall => "Peer connection not found".to_owned(),
            Refusal::UnknownStart => UNKNOWN_START.to_owned(),
            Refusal::Method { .. } => "Method Not Allowed".to_owned(),
            Refusal::TooLarge { field, limit } => format!("{field}: the limit is {limit} bytes"),
            Refusal::Rate(_) | Refusal::RateOfOffers(_) => {
                "too many requests from this address".to_owned()
            }
            Refusal::Waiting => format!("{WAITING_MAX} offers wait, which is the limit"),
            Refusal::Starts(limit) => {
                format!("{limit} sessions wait for their offer, which is the limit")
            }
            Refusal::Draining => "the server takes no new calls: it is about to end".to_owned(),
        }
    }
}

impl From<NegotiateError> for Refusal {
    fn from(error: NegotiateError) -> Refusal {
        match error {
            NegotiateError::Full { .. }
            | NegotiateError::NoLocalCandidate
            | NegotiateError::Closed => Refusal::Full(error.to_string()),
            NegotiateError::InvalidSdp { .. }
            | NegotiateError::TooLarge { .. }
            | NegotiateError::NoUsableMedia
            | NegotiateError::Incompatible { .. } => Refusal::Invalid(error.to_string()),
        }
    }
}

impl Response {
    /// 503, with why in the form of every error: for whoever cannot pass a request on. It says to
    /// try again after 2 s, when the JavaScript client does so anyhow.
    #[must_use]
    pub fn unavailable(detail: &str) -> Response {
        Refusal::Full(detail.to_owned()).into_response()
    }

    fn retry_after(&mut self, seconds: u64) {
        self.headers.push(("Retry-After", seconds.to_string()));
    }
}
