//! The core in a loop of fixed ticks, as games have one: 100 a second, on one thread, no waiting
//! but the sleep at the end of a tick.
//!
//! For whoever already calls everything once a tick. It shows that the core needs no more: a tick
//! takes what came, lets time pass, lets the bots act, and sends what is to be sent. Datagrams wait
//! in the socket for half a tick on average, and packets of sound leave at most one tick late; over
//! a whole call not one is lost or added by it, because deadlines are absolute. A second thread
//! waits for Ctrl-C, and for nothing else.
//!
//! Run: `cargo run --release -p smallrtc-server --example tick_loop [ADDRESS]`, open the printed
//! address, talk. ADDRESS (`127.0.0.1:7864`) must be one that the caller reaches, so not `0.0.0.0`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "an event loop is where clocks, sockets, sleep and the terminal belong"
)]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use smallrtc::signaling::{Reply, Request, Response, Signaling};
use smallrtc::{
    AudioFrame, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TrackId,
    TransportId,
};
use smallrtc_server::page;

#[path = "common/http.rs"]
mod http;
#[path = "common/stop.rs"]
mod stop;

const TICK: Duration = Duration::from_millis(10);

/// Datagrams taken in one tick: 50 a second of each of a thousand calls, and half as many again.
/// What is more waits in the socket for the next tick.
const DATAGRAMS_MAX: usize = 768;

/// HTTP connections at a time. Beyond that the oldest is dropped: it may be one that says nothing.
const CONNECTIONS_MAX: usize = 32;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7864".to_owned());
    let taken = |error| format!("cannot listen on {address}: {error}");
    let listener = TcpListener::bind(&address).map_err(taken)?;
    let listens = listener.local_addr()?;
    let socket = UdpSocket::bind((listens.ip(), 0))?;
    listener.set_nonblocking(true)?;
    socket.set_nonblocking(true)?;
    let mut endpoint = Endpoint::new(Config::new().shared(), random()?, Instant::now());
    endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), socket.local_addr()?));
    let signaling = Signaling::new(random()?);
    let stopping = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stopping);
    stop::on_interrupt(move || stopper.store(true, Ordering::Relaxed));
    println!("listening on http://{listens}/");

    let mut world = World { endpoint, signaling, listener, socket, connections: VecDeque::new() };
    let mut bots = Bots::default();
    let mut next = Instant::now();
    while !(stopping.load(Ordering::Relaxed) && world.endpoint.is_empty()) {
        if stopping.load(Ordering::Relaxed) {
            world.endpoint.close(Instant::now());
        }
        world.tick(&mut bots);
        // By absolute time, so that ticks do not drift; a tick that took too long is not made up
        // for.
        next = (next + TICK).max(Instant::now());
        thread::sleep(next - Instant::now());
    }
    Ok(())
}

/// Everything that a tick looks at.
struct World {
    endpoint: Endpoint,
    signaling: Signaling,
    listener: TcpListener,
    socket: UdpSocket,
    connections: VecDeque<http::Exchange<TcpStream>>,
}

impl World {
    fn tick(&mut self, bots: &mut Bots) {
        self.take_requests();
        self.take_datagrams();
        self.endpoint.handle_timeout(Instant::now());
        self.signaling.handle_timeout(&mut self.endpoint, Instant::now());
        while let Some((id, event)) = self.endpoint.poll_event() {
            if let Event::Closed { .. } = event {
                self.signaling.session_closed(id);
            }
            bots.on_event(&mut self.endpoint, id, event);
        }
        bots.act(&mut self.endpoint);
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.socket.send_to(&transmit.payload, transmit.destination).ok();
        }
    }

    fn take_datagrams(&mut self) {
        let Ok(here) = self.socket.local_addr() else { return };
        let mut buffer = [0; 2048];
        for _ in 0..DATAGRAMS_MAX {
            let Ok((len, source)) = self.socket.recv_from(&mut buffer) else { return };
            let payload = buffer[..len].to_vec().into();
            let datagram = Datagram::udp(TransportId(0), source, here, payload);
            let _ = self.endpoint.handle_datagram(datagram, Instant::now());
        }
    }

    fn take_requests(&mut self) {
        while let Some(stream) = http::accepted(self.listener.accept()) {
            let stream = stream.filter(|(stream, _)| stream.set_nonblocking(true).is_ok());
            self.connections.extend(stream.map(http::Exchange::new));
            if self.connections.len() > CONNECTIONS_MAX {
                self.connections.pop_front();
            }
        }
        let World { endpoint, signaling, connections, .. } = self;
        connections.retain_mut(|connection| {
            connection.advance(|request| respond(endpoint, signaling, request))
        });
    }
}

/// The page, and what the core says to a request. A call that it makes is served at once.
fn respond(endpoint: &mut Endpoint, signaling: &mut Signaling, request: Request<'_>) -> Response {
    if let Some(file) = page::asset(request.path) {
        return Response::new(200, file.content_type, file.body);
    }
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

/// The bots: what they hear they say, once a tick; what they read they write at once.
#[derive(Default)]
struct Bots {
    hears: BTreeMap<SessionId, TrackId>,
}

impl Bots {
    fn on_event(&mut self, endpoint: &mut Endpoint, id: SessionId, event: Event) {
        match event {
            Event::AudioReadable(track) => drop(self.hears.insert(id, track)),
            Event::Message(message) => {
                if let Some(mut session) = endpoint.session(id) {
                    session.send_message(message, Instant::now()).ok();
                }
            }
            Event::Closed { .. } => drop(self.hears.remove(&id)),
            _ => {}
        }
    }

    fn act(&self, endpoint: &mut Endpoint) {
        let mut samples = [0; 320];
        for (id, track) in &self.hears {
            let Some(mut session) = endpoint.session(*id) else { continue };
            while let Some(block) = session.recv_audio(*track, &mut samples) {
                let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                session.send_audio(heard, Instant::now()).ok();
            }
        }
    }
}

fn random() -> Result<Seed, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Seed::new(bytes))
}
