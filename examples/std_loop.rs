//! The core in an event loop of one's own: one thread, one socket of the standard library, no
//! runtime. A small HTTP library takes the requests; any other would do.
//!
//! `cargo run --release -p smallrtc-server --example std_loop`, then call it from any SmallWebRTC
//! client at the printed address.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "an event loop is where clocks, sockets and the terminal belong"
)]

use std::error::Error;
use std::io::Read;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use smallrtc::signaling::{Reply, Request, Signaling};
use smallrtc::{
    AudioFrame, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TransportId,
};
use tiny_http::{Header, Response, Server};

/// Long enough to sleep through silence, short enough that a request is not kept waiting.
const WAIT_MAX: Duration = Duration::from_millis(10);
const WAIT_MIN: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let http = Server::http("127.0.0.1:7861")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let here = socket.local_addr()?;
    let mut endpoint = Endpoint::new(Config::new().shared(), random()?, Instant::now());
    endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), here));
    let mut signaling = Signaling::new(random()?);
    println!("POST offers to http://{}/api/offer", http.server_addr());

    let mut buffer = [0; 2048];
    loop {
        while let Some(request) = http.try_recv()? {
            answer(request, &mut signaling, &mut endpoint)?;
        }
        endpoint.handle_timeout(Instant::now());
        while let Some((id, event)) = endpoint.poll_event() {
            on_event(&mut endpoint, &mut signaling, id, event);
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            socket.send_to(&transmit.payload, transmit.destination).ok();
        }
        let wait = endpoint.poll_timeout().map_or(WAIT_MAX, |at| at - Instant::now());
        socket.set_read_timeout(Some(wait.clamp(WAIT_MIN, WAIT_MAX)))?;
        if let Ok((len, source)) = socket.recv_from(&mut buffer) {
            let payload = buffer[..len].to_vec().into();
            let datagram = Datagram::udp(TransportId(0), source, here, payload);
            let _ = endpoint.handle_datagram(datagram, Instant::now());
        }
    }
}

/// The bot: what it hears and reads, it says and writes.
fn on_event(endpoint: &mut Endpoint, signaling: &mut Signaling, id: SessionId, event: Event) {
    let now = Instant::now();
    if let Event::Closed { reason } = event {
        println!("{id} closed: {reason}");
        signaling.session_closed(id);
        return;
    }
    let Some(mut session) = endpoint.session(id) else { return };
    match event {
        Event::AudioReadable(track) => {
            let mut samples = [0; 320];
            while let Some(block) = session.recv_audio(track, &mut samples) {
                let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                session.send_audio(heard, now).ok();
            }
        }
        Event::Message(message) => {
            session.send_message(message, now).ok();
        }
        Event::StateChanged(state) => println!("{id} {state}"),
        _ => {}
    }
}

fn answer(
    mut request: tiny_http::Request,
    signaling: &mut Signaling,
    endpoint: &mut Endpoint,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut body = Vec::new();
    request.as_reader().take(128 * 1024).read_to_end(&mut body)?;
    let now = Instant::now();
    let (method, path) = (request.method().to_string(), request.url().to_owned());
    let asked = Request { method: &method, path: &path, body: &body };
    // The address is known from the start, so no answer has to wait.
    if let Reply::Now(answer) = signaling.handle(endpoint, asked, now) {
        let json = Header::from_bytes("content-type", "application/json").expect("valid");
        let response = Response::from_string(answer.body);
        request.respond(response.with_status_code(answer.status).with_header(json))?;
    }
    while let Some(call) = signaling.poll_call() {
        if let Some(mut session) = endpoint.session(call.id) {
            session.start(now);
        }
    }
    Ok(())
}

fn random() -> Result<Seed, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}
