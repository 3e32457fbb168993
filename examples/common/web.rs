//! Requests and answers between tiny_http and the core, for examples that have it on a thread of
//! its own: the page, and all else for signalling.

use std::io::Read;
use std::net::SocketAddr;

use smallrtc::signaling::{BODY_LEN_MAX, Request, Response};
use smallrtc_server::page;

/// Answers a request: with a file of the page, or with what `ask` gives for it.
pub(crate) fn answer(
    mut request: tiny_http::Request,
    ask: impl FnOnce(Request<'_>) -> Option<Response>,
) {
    let mut body = Vec::new();
    let reader = request.as_reader();
    if reader.take(BODY_LEN_MAX as u64 + 1).read_to_end(&mut body).is_err() {
        return;
    }
    let path = request.url().split('?').next().unwrap_or_default();
    let response = match page::asset(path) {
        Some(file) => Some(Response::new(200, file.content_type, file.body)),
        None => {
            let fields = request.headers().iter();
            let fields = fields.map(|field| (field.field.as_str().as_str(), field.value.as_str()));
            let method = request.method().to_string();
            let asked = Request::new(&method, path, &body).headers(fields);
            // Its address is what limits are counted for.
            ask(match request.remote_addr().map(SocketAddr::ip) {
                Some(client) => asked.client(client),
                None => asked,
            })
        }
    };
    let Some(response) = response else { return };
    let fields = response.headers.iter();
    let fields = fields.filter_map(|(name, value)| {
        tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok()
    });
    let mut answer = tiny_http::Response::from_string(response.body);
    for field in fields {
        answer.add_header(field);
    }
    request.respond(answer.with_status_code(response.status)).ok();
}
