//! The core in an event loop of one's own, with nothing but the standard library.
//!
//! For whoever has a thread to spare and wants no runtime. It shows all that the core needs of a
//! loop: datagrams and time go in; events, datagrams and the next deadline come out. A datagram to
//! the own socket ends the wait when another thread wants something, so nothing is asked for in
//! intervals.
//!
//! How precisely it sends is up to the system: a socket's timeout is rounded up to its tick, on
//! Linux 1 to 10 ms. Where that is too coarse, smallrtc-mio and smallrtc-smol have a better timer.
//!
//! Run: `cargo run --release -p smallrtc-server --example std_loop [ADDRESS]`, open the printed
//! address, talk. ADDRESS (`127.0.0.1:7861`) must be one that the caller reaches, so not `0.0.0.0`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "an event loop is where clocks, sockets, threads and the terminal belong"
)]

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};
use std::{env, thread};

use smallrtc::signaling::{Reply, Request, RequestBuf, Response, Signaling};
use smallrtc::{
    AudioFrame, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TransportId,
};

#[path = "common/stop.rs"]
mod stop;
#[path = "common/web.rs"]
mod web;

/// How long to wait when nothing is due: as long as one likes, because every command ends it.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A timeout of zero would be none.
const WAIT_MIN: Duration = Duration::from_micros(1);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7861".to_owned());
    let taken = |error| format!("cannot listen on {address}: {error}");
    let http = tiny_http::Server::http(&address).map_err(taken)?;
    let listens = http.server_addr().to_ip().ok_or("listen on an IP address")?;
    let socket = UdpSocket::bind((listens.ip(), 0))?;
    let here = socket.local_addr()?;
    let mut endpoint = Endpoint::new(Config::new().shared(), random()?, Instant::now());
    endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), here));
    let signaling = Signaling::new(random()?);

    let (sender, commands) = mpsc::channel();
    let caller = Caller { commands: sender, waker: Arc::new(socket.try_clone()?), here };
    let stopper = caller.clone();
    stop::on_interrupt(move || stopper.send(Command::Stop));
    thread::spawn(move || serve(&http, &caller));
    println!("listening on http://{listens}/");
    Ok(run(endpoint, signaling, &socket, &commands)?)
}

/// The loop.
fn run(
    mut endpoint: Endpoint,
    mut signaling: Signaling,
    socket: &UdpSocket,
    commands: &Receiver<Command>,
) -> io::Result<()> {
    let here = socket.local_addr()?;
    let mut buffer = [0; 2048];
    let mut closing = false;
    loop {
        for command in commands.try_iter() {
            match command {
                Command::Request { request, answer } => {
                    let request = request.as_request();
                    answer.send(respond(&mut endpoint, &mut signaling, request)).ok();
                }
                Command::Stop => {
                    endpoint.close(Instant::now());
                    closing = true;
                }
            }
        }
        endpoint.handle_timeout(Instant::now());
        signaling.handle_timeout(&mut endpoint, Instant::now());
        while let Some((id, event)) = endpoint.poll_event() {
            on_event(&mut endpoint, &mut signaling, id, event);
        }
        while let Some(transmit) = endpoint.poll_transmit() {
            socket.send_to(&transmit.payload, transmit.destination).ok();
        }
        // Asked before the wait: nothing comes to an endpoint that is empty.
        if closing && endpoint.is_empty() {
            return Ok(());
        }
        let due = [endpoint.poll_timeout(), signaling.poll_timeout()].into_iter().flatten().min();
        let wait = due.map_or(IDLE_MAX, |at| at - Instant::now());
        socket.set_read_timeout(Some(wait.clamp(WAIT_MIN, IDLE_MAX)))?;
        let Ok((len, source)) = socket.recv_from(&mut buffer) else { continue };
        let payload = buffer[..len].to_vec().into();
        let datagram = Datagram::udp(TransportId(0), source, here, payload);
        let _ = endpoint.handle_datagram(datagram, Instant::now());
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

/// What other threads want of the loop.
enum Command {
    Request { request: RequestBuf, answer: Sender<Response> },
    Stop,
}

/// Brings commands, and wakes the loop for them.
#[derive(Clone)]
struct Caller {
    commands: Sender<Command>,
    waker: Arc<UdpSocket>,
    here: SocketAddr,
}

impl Caller {
    fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // To the core it is a datagram of nobody's.
            self.waker.send_to(&[], self.here).ok();
        }
    }
}

/// HTTP on a thread of its own, so that whoever sends slowly holds up no call: the page, and
/// requests to the core.
fn serve(http: &tiny_http::Server, caller: &Caller) {
    for request in http.incoming_requests() {
        web::answer(request, |request| {
            let (answer, answered) = mpsc::channel();
            caller.send(Command::Request { request: request.into(), answer });
            answered.recv().ok()
        });
    }
}

fn random() -> Result<Seed, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}
