//! The mio adapter nested in an application that has a `Poll`, sockets and timers of its own.
//!
//! For whoever owns a readiness loop. The application here is a small web server: it accepts TCP
//! connections, and a timer of its own drops those that say nothing for long. It shows how the
//! calls move in: `Driver::register` takes some tokens, `Driver::on_ready` the events that are not
//! the application's, `Driver::timeout` bounds the wait, `Driver::turn` does a bounded piece of
//! work. All of it is on one thread; a second one waits for Ctrl-C, and for nothing else.
//!
//! Run: `cargo run --release -p smallrtc-server --example mio_app [ADDRESS]`, open the printed
//! address, talk; `/calls` tells what the application knows. ADDRESS is `127.0.0.1:7865` unless
//! given.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "an event loop is where clocks, threads and the terminal belong"
)]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use smallrtc::signaling::{Request, Response};
use smallrtc::{AudioFrame, Config, Endpoint, Event, SessionId};
use smallrtc_mio::{App, Driver, Options, Turn};
use smallrtc_server::page;

#[path = "common/http.rs"]
mod http;
#[path = "common/stop.rs"]
mod stop;

const LISTENER: Token = Token(0);

/// HTTP connections at a time, each with a token; beyond that a new one is not taken.
const CONNECTIONS: std::ops::Range<usize> = 1..33;

/// The driver's tokens begin here.
const CALLS: Token = Token(100);

/// How long a connection may take for its request and the answer to it.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

struct Echo {
    calls: u64,
}

impl App for Echo {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let Some(mut call) = core.session(id) else { return };
        match event {
            Event::AudioReadable(track) => {
                let mut samples = [0; 320];
                while let Some(block) = call.recv_audio(track, &mut samples) {
                    let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                    call.send_audio(heard, now).ok();
                }
            }
            Event::Message(message) => drop(call.send_message(message, now)),
            Event::ChannelOpened { .. } => self.calls += 1,
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7865".to_owned());
    let mut poll = Poll::new()?;
    let taken = |error| format!("cannot listen on {address}: {error}");
    let mut web = Web::bind(address.parse()?, poll.registry()).map_err(taken)?;
    let options = Options::new().udp((web.address.ip(), 0).into());
    let (mut driver, handle) = Driver::bind(Config::new(), options, Echo { calls: 0 })?;
    driver.register(poll.registry(), CALLS)?;
    let stopper = handle.clone();
    stop::on_interrupt(move || stopper.close());
    println!("listening on http://{}/", web.address);

    let mut events = Events::with_capacity(128);
    while driver.turn()? != Turn::Finished {
        // Whatever is due first: something of a call, or a connection's time.
        let own = web.timeout(Instant::now());
        let wait = driver.timeout().into_iter().chain(own).min();
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            if !driver.on_ready(event) {
                web.on_ready(event.token(), poll.registry(), &mut driver);
            }
        }
        web.drop_silent(Instant::now());
    }
    // As long as one handle is there, the driver waits for more calls.
    drop(handle);
    Ok(())
}

/// The application's own sockets and timers.
struct Web {
    listener: TcpListener,
    address: SocketAddr,
    connections: BTreeMap<Token, (Instant, http::Exchange<TcpStream>)>,
}

impl Web {
    fn bind(address: SocketAddr, registry: &Registry) -> io::Result<Web> {
        let mut listener = TcpListener::bind(address)?;
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let address = listener.local_addr()?;
        Ok(Web { listener, address, connections: BTreeMap::new() })
    }

    fn on_ready(&mut self, token: Token, registry: &Registry, driver: &mut Driver<Echo>) {
        if token == LISTENER {
            while let Some(stream) = http::accepted(self.listener.accept()) {
                if let Some(stream) = stream {
                    self.take(stream, registry);
                }
            }
        }
        let Some((_, connection)) = self.connections.get_mut(&token) else { return };
        if !connection.advance(|request| respond(driver, request)) {
            self.connections.remove(&token);
        }
    }

    /// What cannot be watched is dropped, which closes it.
    fn take(&mut self, (mut stream, client): (TcpStream, SocketAddr), registry: &Registry) {
        let free = CONNECTIONS.map(Token).find(|token| !self.connections.contains_key(token));
        let Some(token) = free else { return };
        let both = Interest::READABLE | Interest::WRITABLE;
        if registry.register(&mut stream, token, both).is_ok() {
            let until = Instant::now() + CONNECTION_TIME_MAX;
            self.connections.insert(token, (until, http::Exchange::new((stream, client))));
        }
    }

    /// How long until the first connection has taken too long.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let first = self.connections.values().map(|(until, _)| *until).min();
        first.map(|until| until.saturating_duration_since(now))
    }

    fn drop_silent(&mut self, now: Instant) {
        self.connections.retain(|_, (until, _)| now < *until);
    }
}

/// The page, what the application says of itself, and what the core says to a request.
fn respond(driver: &mut Driver<Echo>, request: Request<'_>) -> Response {
    if let Some(file) = page::asset(request.path) {
        return Response::new(200, file.content_type, file.body);
    }
    if request.path == "/calls" {
        let now = driver.with(|_, endpoint, _| endpoint.len());
        let text = format!("{now} calls now, {} since the start\n", driver.app().calls);
        return Response::new(200, "text/plain", text);
    }
    driver.serve(request)
}
