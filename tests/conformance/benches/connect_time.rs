//! How long a call takes to begin on real sockets: from the request with the offer to the open
//! data channel, over loopback, for everything that a page may be able to do. A driver is a
//! closure that answers a request, so each driver is one more line of `main`.
//!
//! Loopback has no round trips to save, so what is seen here is what the faster ways cost or save
//! in work on both sides, with the driver's wake-ups; what they save on a path is counted in round
//! trips by `tests/sim/tests/fast.rs`.
//!
//! `cargo bench -p smallrtc-conformance --bench connect_time` prints the medians, and their ratio
//! to a page of DTLS 1.2 that lets SCTP shake hands.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::Config;
use smallrtc_sim::{Browser, BrowserConfig, BrowserEvent, Dtls, Kind, Packet};
use smallrtc_smol::{Handle, Options};

/// Calls of each kind; an odd number has a middle.
const CALLS: usize = 101;

/// Calls before counting: certificates, keys and tables are made once in a process.
const WARM_UP: usize = 5;

/// Far more than any call needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a page may be able to do; the first is what the others are compared to.
const PEERS: [(&str, Dtls, bool); 4] = [
    ("DTLS 1.2", Dtls::V12, false),
    ("DTLS 1.2, SNAP", Dtls::V12, true),
    ("DTLS 1.3", Dtls::Auto, false),
    ("DTLS 1.3, SNAP", Dtls::Auto, true),
];

/// Answers the body of a `POST /api/offer`.
type Ask<'a> = &'a dyn Fn(&str) -> String;

/// A page on a socket of its own, not yet connected.
struct Page {
    browser: Browser,
    socket: UdpSocket,
}

/// How long after the request the page was connected, and its channel open.
#[derive(Clone, Copy)]
struct Times {
    connected: Duration,
    open: Duration,
}

impl Page {
    fn new(number: usize, dtls: Dtls, snap: bool) -> Page {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
        let mut config = BrowserConfig::new(Kind::Real, number as u64 + 1);
        config.address = socket.local_addr().expect("it is bound");
        (config.dtls, config.snap) = (dtls, snap);
        Page { browser: Browser::new(config, Instant::now()), socket }
    }

    /// Calls, and hangs up once the channel is open.
    fn call(mut self, ask: Ask<'_>) -> Times {
        // A page gathers and writes its offer before it asks: that is not the server's time.
        let offer = self.browser.offer(Instant::now());
        let body = json!({ "type": "offer", "sdp": offer }).to_string();
        let begin = Instant::now();
        let answer: Value = serde_json::from_str(&ask(&body)).expect("an answer is JSON");
        let sdp = answer["sdp"].as_str().expect("an answer has a description");
        self.browser.accept_answer(sdp, Instant::now());
        let mut connected = None;
        let open = loop {
            while let Some(event) = self.browser.poll_event() {
                if event == BrowserEvent::Connected {
                    connected = Some(begin.elapsed());
                }
            }
            if self.browser.is_open() {
                break begin.elapsed();
            }
            assert!(begin.elapsed() < PATIENCE, "no channel");
            self.turn();
        };
        self.browser.hang_up(Instant::now());
        self.flush();
        Times { connected: connected.expect("a channel opens on a connection"), open }
    }

    fn turn(&mut self) {
        let now = Instant::now();
        if self.browser.poll_timeout().is_some_and(|at| at <= now) {
            self.browser.handle_timeout(now);
        }
        self.flush();
        let until = self.browser.poll_timeout().map_or(PATIENCE, |at| at - now);
        let until = until.clamp(Duration::from_millis(1), PATIENCE);
        self.socket.set_read_timeout(Some(until)).expect("longer than nothing");
        let mut buffer = [0; 2048];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, source)) => self.receive(source, &buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("loopback: {error}"),
        }
    }

    fn receive(&mut self, source: SocketAddr, payload: &[u8]) {
        let destination = self.socket.local_addr().expect("it is bound");
        let packet = Packet { source, destination, payload: payload.to_vec().into() };
        self.browser.handle_packet(packet, Instant::now());
    }

    fn flush(&mut self) {
        while let Some(packet) = self.browser.poll_packet() {
            // Loopback loses nothing before its buffers are full, and these are a few datagrams.
            let sent = self.socket.send_to(&packet.payload, packet.destination);
            sent.expect("loopback takes it");
        }
    }
}

/// The smol driver with a bot that listens and says nothing, on a thread of its own.
struct Smol {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Smol {
    fn start() -> Smol {
        let options = Options::new().udp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let bound = smallrtc_smol::bind(Config::new(), options).expect("loopback has a free port");
        let (driver, handle) = bound;
        let calls = handle.clone();
        let thread = thread::spawn(move || {
            let executor = smol::Executor::new();
            let bots = async {
                while let Some(mut peer) = calls.accept().await {
                    executor.spawn(async move { while peer.recv().await.is_some() {} }).detach();
                }
            };
            let served = executor.spawn(driver.run());
            smol::block_on(executor.run(async {
                bots.await;
                served.await.expect("the sockets work");
            }));
        });
        Smol { handle, thread }
    }

    fn ask(&self, body: &str) -> String {
        let asked = self.handle.request("POST", "/api/offer", body.as_bytes());
        let response = smol::block_on(asked);
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn stop(self) {
        smol::block_on(self.handle.close());
        self.thread.join().expect("the driver ends in order");
    }
}

/// The middle of the values: a disturbance of the machine moves a mean, not this.
fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn measure(driver: &str, ask: Ask<'_>) {
    let mut times: Vec<Vec<Times>> = vec![Vec::new(); PEERS.len()];
    for number in 0..WARM_UP + CALLS {
        // In turns, so that a busy machine slows all of them.
        for (times, (_, dtls, snap)) in times.iter_mut().zip(PEERS) {
            let call = Page::new(number, dtls, snap).call(ask);
            if number >= WARM_UP {
                times.push(call);
            }
        }
    }
    let mut baseline = None;
    for (times, (name, ..)) in times.into_iter().zip(PEERS) {
        let connected = median_ms(times.iter().map(|times| times.connected).collect());
        let open = median_ms(times.iter().map(|times| times.open).collect());
        let (first_connected, first_open) = *baseline.get_or_insert((connected, open));
        let (of_connected, of_open) = (connected / first_connected, open / first_open);
        println!(
            "{driver:5} {name:15} connected {connected:6.2} ms, ratio {of_connected:.2}; \
             channel open {open:6.2} ms, ratio {of_open:.2}",
        );
    }
}

fn main() {
    let smol = Smol::start();
    measure("smol", &|body| smol.ask(body));
    smol.stop();
}
