//! Pages from elsewhere (cross-origin resource sharing, the Fetch standard section 3.3).
//!
//! | a request | answer |
//! | --- | --- |
//! | with an origin that is allowed | it is named, with credentials: for those `*` is forbidden |
//! | with another | its usual answer, which the browser keeps from the page |
//! | a preflight from an allowed origin | 200, every method, the headers that it asks for |
//! | a preflight from another | 400, counted |
//!
//! This protects pages' visitors, not the server: what a browser keeps from a page was done all
//! the same. An origin says nothing of who asks when it is no browser.

use super::{Options, Origins, Request, Response};

/// Every method that a client of the protocol uses, now or with file uploads.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";

/// How long a browser may remember a preflight's answer, in seconds: Starlette's default, which the
/// original uses.
const PREFLIGHT_AGE_S: &str = "600";

/// The longest origin that is repeated, in bytes: a scheme, a host name (255) and a port.
pub(super) const ORIGIN_LEN_MAX: usize = 272;

/// The longest list of headers that is repeated, in bytes. 1024: ten times what clients send.
const REQUESTED_LEN_MAX: usize = 1024;

impl Options {
    /// The header fields that let a page from that origin read an answer, for whoever refuses a
    /// request before it comes to [`Signaling::handle`](super::Signaling::handle), whose answers
    /// have them.
    #[must_use]
    pub fn cors(&self, origin: Option<&str>) -> Vec<(&'static str, String)> {
        let mut fields = vec![("Vary", "Origin".to_owned())];
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            fields.push(("Access-Control-Allow-Origin", origin.to_owned()));
            fields.push(("Access-Control-Allow-Credentials", "true".to_owned()));
            fields.push(("Access-Control-Expose-Headers", "Retry-After".to_owned()));
        }
        fields
    }

    fn allows(&self, origin: &str) -> bool {
        let can_be_repeated = (1..=ORIGIN_LEN_MAX).contains(&origin.len())
            && origin.bytes().all(|byte| byte.is_ascii_graphic());
        can_be_repeated
            && match &self.origins {
                Origins::Any => true,
                Origins::Only(list) => list.iter().any(|allowed| allowed == origin),
            }
    }

    /// The answer to a browser that asks whether a page may send what it wants to send, which
    /// [`Options::cors`] completes; `None` when the page may not.
    pub(super) fn preflight(&self, request: &Request<'_>) -> Option<Response> {
        if !request.origin.is_none_or(|origin| self.allows(origin)) {
            return None;
        }
        let mut response = Response::empty(200);
        let mut field = |name, value: &str| response.headers.push((name, value.to_owned()));
        field("Access-Control-Allow-Methods", METHODS);
        field("Access-Control-Max-Age", PREFLIGHT_AGE_S);
        if let Some(asked) = request.requested_headers.filter(|asked| is_list(asked)) {
            field("Access-Control-Allow-Headers", asked);
        }
        Some(response)
    }
}

/// A list of header names, which can be repeated without harm.
fn is_list(text: &str) -> bool {
    let is_in_list =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~, \t".contains(&byte);
    (1..=REQUESTED_LEN_MAX).contains(&text.len()) && text.bytes().all(is_in_list)
}
