//! Just enough of HTTP/1.1 for examples that have sockets of their own: one request a connection,
//! without a thread and without waiting. An application has a better one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::str;

use smallrtc::signaling::{BODY_LEN_MAX, Request, Response};

/// A request's head, in bytes. Browsers send less than one KiB.
const HEAD_LEN_MAX: usize = 8 * 1024;

/// One request and its answer, over a stream that does not block.
pub(crate) struct Exchange<S> {
    stream: S,
    client: IpAddr,
    request: Vec<u8>,
    response: Option<Vec<u8>>,
    written: usize,
}

impl<S: Read + Write> Exchange<S> {
    pub(crate) fn new((stream, client): (S, SocketAddr)) -> Exchange<S> {
        let client = client.ip();
        Exchange { stream, client, request: Vec::new(), response: None, written: 0 }
    }

    /// Reads and writes until the stream would block; asks for the answer in between. False when
    /// there is nothing more to be done: drop it then.
    pub(crate) fn advance(&mut self, answer: impl FnOnce(Request<'_>) -> Response) -> bool {
        if self.response.is_none() {
            let is_open = self.read();
            match parse(&self.request) {
                Ok(None) => return is_open,
                Ok(Some(request)) => {
                    self.response = Some(render(&answer(request.client(self.client))));
                }
                Err(status) => {
                    self.response = Some(render(&Response::new(status, "text/plain", "")))
                }
            }
        }
        self.write()
    }

    /// False when nothing more can come.
    fn read(&mut self) -> bool {
        let mut part = [0; 4096];
        // Whatever is longer than this is refused, read or not.
        while self.request.len() <= HEAD_LEN_MAX + BODY_LEN_MAX {
            match self.stream.read(&mut part) {
                Ok(0) => return false,
                Ok(len) => self.request.extend_from_slice(&part[..len]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// True while some of the response waits for room.
    fn write(&mut self) -> bool {
        let response = self.response.as_deref().unwrap_or_default();
        while self.written < response.len() {
            match self.stream.write(&response[self.written..]) {
                Ok(len) => self.written += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        false
    }
}

/// A whole request, `None` while more of it has to come, or the status that refuses it.
fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, u16> {
    let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
        return if bytes.len() > HEAD_LEN_MAX { Err(431) } else { Ok(None) };
    };
    let (head, body) = (&bytes[..end], &bytes[end + 4..]);
    let mut lines = str::from_utf8(head).map_err(|_| 400_u16)?.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Err(400) };
    let mut len = 0;
    let fields = lines.filter_map(|line| line.split_once(':'));
    for (name, value) in fields.clone() {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.trim().parse().map_err(|_| 400_u16)?,
            "transfer-encoding" => return Err(411),
            _ => {}
        }
    }
    if len > BODY_LEN_MAX {
        return Err(413);
    }
    let path = path.split('?').next().unwrap_or_default();
    let fields = fields.map(|(name, value)| (name, value.trim()));
    Ok(body.get(..len).map(|body| Request::new(method, path, body).headers(fields)))
}

fn render(response: &Response) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {} -\r\n", response.status);
    for (name, value) in &response.headers {
        text += &format!("{name}: {value}\r\n");
    }
    let (len, body) = (response.body.len(), &response.body);
    text += &format!("Content-Length: {len}\r\nConnection: close\r\n\r\n{body}");
    text.into_bytes()
}

/// What is there to be accepted; `None` when nothing is now. What went wrong with one caller is
/// that caller's.
pub(crate) fn accepted<S>(result: io::Result<(S, SocketAddr)>) -> Option<Option<(S, SocketAddr)>> {
    match result {
        Ok(accepted) => Some(Some(accepted)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => Some(None),
    }
}
