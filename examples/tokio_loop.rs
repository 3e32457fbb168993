//! The core on tokio, without an adapter crate: the loop is 50 lines.
//!
//! For whoever runs tokio already. It shows the same loop as `std_loop`, as one task of a runtime:
//! `select!` waits for the socket, for the deadline, for requests and for the end, and everything
//! else is the core's. The task owns the endpoint and shares nothing, so it runs on any flavour of
//! runtime, beside other tasks; many cores are served by many such tasks, a socket and an endpoint
//! each.
//!
//! tokio's timer counts whole milliseconds, so packets leave up to 1 ms late; nothing builds up,
//! because deadlines are absolute.
//!
//! Run: `cargo run --release -p smallrtc-server --example tokio_loop [ADDRESS]`, open the printed
//! address, talk. ADDRESS (`127.0.0.1:7862`) must be one that the caller reaches, so not `0.0.0.0`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an event loop is where clocks, threads and the terminal belong"
)]

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};
use std::{env, thread};

use smallrtc::signaling::{Reply, Request, RequestBuf, Response, Signaling};
use smallrtc::{
    AudioFrame, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TransportId,
};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;

#[path = "common/stop.rs"]
mod stop;
#[path = "common/web.rs"]
mod web;

/// How long to wait when nothing is due: as long as one likes, because every request ends it.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// Requests on their way to the loop; one more waits in its thread.
const REQUESTS_MAX: usize = 16;

/// A request on its way to the loop.
struct Asked {
    request: RequestBuf,
    answer: oneshot::Sender<Response>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7862".to_owned());
    let taken = |error| format!("cannot listen on {address}: {error}");
    let http = tiny_http::Server::http(&address).map_err(taken)?;
    let listens = http.server_addr().to_ip().ok_or("listen on an IP address")?;
    let socket = UdpSocket::bind((listens.ip(), 0)).await?;
    let mut endpoint = Endpoint::new(Config::new().shared(), random()?, Instant::now());
    endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), socket.local_addr()?));
    let signaling = Signaling::new(random()?);

    let (ask, requests) = mpsc::channel(REQUESTS_MAX);
    let (stop, stopped) = oneshot::channel();
    stop::on_interrupt(move || stop.send(()).unwrap_or(()));
    thread::spawn(move || serve(&http, &ask));
    println!("listening on http://{listens}/");
    run(socket, endpoint, signaling, requests, stopped).await?;
    Ok(())
}

/// The loop.
async fn run(
    socket: UdpSocket,
    mut endpoint: Endpoint,
    mut signaling: Signaling,
    mut requests: mpsc::Receiver<Asked>,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let here = socket.local_addr()?;
    let mut buffer = [0; 2048];
    let mut closing = false;
    loop {
        endpoint.handle_timeout(Instant::now());
        signaling.handle_timeout(&mut endpoint, Instant::now());
        while let Some((id, event)) = endpoint.poll_event() {
            on_event(&mut endpoint, &mut signaling, id, event);
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            // What finds no room is lost, as on any network.
            socket.try_send_to(&transmit.payload, transmit.destination).ok();
        }
        // Looked at before the wait: when the last call has ended, nothing else may come.
        if closing && endpoint.is_empty() {
            return Ok(());
        }
        let due = [endpoint.poll_timeout(), signaling.poll_timeout()].into_iter().flatten().min();
        let due = due.unwrap_or_else(|| Instant::now() + IDLE_MAX);
        tokio::select! {
            received = socket.recv_from(&mut buffer) => if let Ok((len, source)) = received {
                let payload = buffer[..len].to_vec().into();
                let datagram = Datagram::udp(TransportId(0), source, here, payload);
                let _ = endpoint.handle_datagram(datagram, Instant::now());
            },
            () = sleep_until(due.into()) => {}
            Some(Asked { request, answer }) = requests.recv() => {
                let request = request.as_request();
                answer.send(respond(&mut endpoint, &mut signaling, request)).ok();
            }
            _ = &mut stopped, if !closing => {
                endpoint.close(Instant::now());
                closing = true;
            }
        }
    }
}

/// The bot: what it hears and reads, it says and writes.
fn on_event(endpoint: &mut Endpoint, signaling: &mut Signaling, id: SessionId, event: Event) {
    let now = Instant::now();
    if let Event::Closed { .. } = event {
        signaling.session_closed(id);
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
        _ => {}
    }
}

/// What the core says to a request. A call that it makes is served at once.
fn respond(endpoint: &mut Endpoint, signaling: &mut Signaling, request: Request<'_>) -> Response {
    let now = Instant::now();
    let reply = signaling.handle(endpoint, request, now);
    while let Some(call) = signaling.poll_call() {
        if let Some(mut session) = endpoint.session(call.id) {
            session.start(now);
        }
    }
    match reply {
        Reply::Now(response) => response,
        _ => unreachable!("no answer waits: all addresses are known from the start"),
    }
}

/// HTTP, in place of the server that the application has: the page, and requests to the core.
fn serve(http: &tiny_http::Server, requests: &mpsc::Sender<Asked>) {
    for request in http.incoming_requests() {
        web::answer(request, |request| {
            let (answer, answered) = oneshot::channel();
            requests.blocking_send(Asked { request: request.into(), answer }).ok();
            answered.blocking_recv().ok()
        });
    }
}

fn random() -> Result<Seed, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}
