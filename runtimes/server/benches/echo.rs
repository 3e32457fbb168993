//! How long an echo takes over loopback, from tone in to tone out, and which part takes what.
//!
//! *Whole* is the release program with its echo bot as a child, called with Opus by model browsers
//! ([`smallrtc_server::load`]). A tone goes in with the first sample of a packet's 20 ms, which the
//! caller has to wait for: they are added to what the load tells, which counts from the sending.
//!
//! *Parts* are of the same driver in this process, with a bot that does as the echo bot does and
//! notes the time. A code that says what it holds stands in for Opus, so that each packet is known
//! again wherever it is. The rest of the whole, beyond these parts, is what Opus delays; and, on a
//! busy machine, what the bot's lag has grown by, because sound came late. The same again with a
//! first block that is held for less: what a network without jitter would allow.
//!
//! | part | from | to |
//! | --- | --- | --- |
//! | client's packet time | the first sample is said | its packet is full: 20 ms |
//! | way in | the packet is sent | the bot has its frame: network, decryption, receive wait, frame |
//! | bot | it has the frame | the frame is queued |
//! | send queue | the frame is queued | whole packets before it have left |
//! | pacing | from then on | its own packet is due and has left: as long as the first block was held |
//! | way out | it has left | the caller has it: packetising, encryption, network |
//!
//! *Network* is half of what a datagram takes there and back between two plain sockets. Callers
//! look at their sockets every 0.1 ms, which is in the ways.
//!
//! `cargo bench -p smallrtc-server --bench echo`

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures the time that passes")]
#![expect(clippy::disallowed_types, reason = "callers have plain sockets")]

#[expect(dead_code, reason = "CPU time is another benchmark's")]
#[path = "calls/child.rs"]
mod child;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::{AudioFrame, Config, Event};
use smallrtc_server::load::Load;
use smallrtc_server::{Handle, Peer, Received, bots};
use smallrtc_sim::{Browser, BrowserConfig, BrowserEvent, Kind, Packet, null_packet, null_words};
use smallrtc_smol::Options;

use child::Child;

/// From tone in to tone out, the median.
const GOAL: Duration = Duration::from_millis(45);

const PACKET_TIME: Duration = Duration::from_millis(20);
/// RTP units of a packet, and samples: sound keeps the code's own rate.
const PACKET_TICKS: u64 = 960;
const RATE: u32 = 48_000;

/// For how long the first block is held: what the echo bot does
/// (`runtimes/server/src/bots/delay.rs`), and the least margin that it leaves alone.
const HOLDS: [Duration; 2] = [Duration::from_millis(14), Duration::from_millis(4)];

/// Silence ahead of it, in samples, as the echo bot has it.
const SLACK: usize = 24;

/// Calls of the whole, all at once: few enough that none waits for another.
const WHOLE_CALLS: usize = 8;
const WHOLE_TIME: Duration = Duration::from_secs(12);

/// Calls of the parts, one after the other, and their packets.
const CALLS: u64 = 8;
const PACKETS: i16 = 100;
/// Packets at the beginning that are not counted: what a call needs to settle.
const SETTLING: i16 = 10;

/// How often a caller looks at its socket.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);
/// Far more than a call needs to connect.
const PATIENCE: Duration = Duration::from_secs(10);
/// A datagram of any length.
const BUFFER_LEN: usize = 64 * 1024;

/// When a packet was where.
#[derive(Clone, Copy, Default)]
struct Stamps {
    sent: Option<Instant>,
    read: Option<Instant>,
    queued: Option<Instant>,
    left: Option<Instant>,
    heard: Option<Instant>,
}

/// Of a call, by the number that its packets say.
type Marks = Arc<Mutex<BTreeMap<i16, Stamps>>>;

fn mark(marks: &Marks, number: i16, set: impl FnOnce(&mut Stamps)) {
    set(marks.lock().expect("nobody panics with it").entry(number).or_default());
}

/// What one packet's parts took.
struct Parts {
    way_in: Duration,
    bot: Duration,
    queue: Duration,
    pacing: Duration,
    way_out: Duration,
    all: Duration,
}

impl Parts {
    /// `None` for a packet that did not come back.
    fn of(stamps: &Stamps) -> Option<Parts> {
        let Stamps { sent, read, queued, left, heard } = *stamps;
        let (sent, read, queued, left, heard) = (sent?, read?, queued?, left?, heard?);
        let waited = left.saturating_duration_since(queued);
        let packets = waited.as_nanos() / PACKET_TIME.as_nanos();
        let queue = PACKET_TIME * u32::try_from(packets).unwrap_or(u32::MAX);
        Some(Parts {
            way_in: read - sent,
            bot: queued - read,
            queue,
            pacing: waited - queue,
            // The bot is told that it left a moment after it has.
            way_out: heard.saturating_duration_since(left),
            all: heard - sent,
        })
    }
}

/// Does as the echo bot does with sound.
async fn echo(mut peer: Peer, hold: Duration, marks: Marks) {
    let (mut ids, mut has_begun) = (BTreeMap::new(), false);
    while let Some(received) = peer.recv().await {
        match received {
            Received::Audio(block) => {
                let read = Instant::now();
                let number = block.samples.first().copied().unwrap_or_default();
                let mut samples = block.samples;
                if !std::mem::replace(&mut has_begun, true) {
                    smol::Timer::at(read + hold).await;
                    samples.splice(..0, [0; SLACK]);
                }
                if let Ok(id) = peer.send_audio(AudioFrame::mono(&samples, RATE)).await {
                    let queued = Instant::now();
                    mark(&marks, number, |it| (it.read, it.queued) = (Some(read), Some(queued)));
                    ids.insert(id, number);
                }
            }
            Received::Event(Event::AudioStarted { id }) => {
                let left = Instant::now();
                if let Some(number) = ids.remove(&id) {
                    mark(&marks, number, |it| it.left = Some(left));
                }
            }
            Received::Closed(_) => return,
            _ => {}
        }
    }
}

/// A server in this process.
struct Server {
    handle: Handle,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Server {
    fn start(hold: Duration, marks: &Marks) -> Server {
        let config = bots::echo_config(Config::new());
        let config = config.audio_in(RATE, 1).expect("a legal rate");
        let config = config.audio_out(RATE, 1).expect("a legal rate");
        let config = config.dangerous().null_codec(true).done();
        let options = Options::new().udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let (driver, handle) = smallrtc_smol::bind(config, options).expect("loopback has a port");
        let (calls, marks) = (handle.clone(), Arc::clone(marks));
        let thread = thread::spawn(move || {
            let executor = smol::Executor::new();
            let served = executor.spawn(driver.run());
            smol::block_on(executor.run(async {
                while let Some(peer) = calls.accept().await {
                    executor.spawn(echo(peer, hold, Arc::clone(&marks))).detach();
                }
                served.await
            }))
        });
        Server { handle, thread }
    }

    fn post(&self, offer: &str) -> String {
        let response = smol::block_on(self.handle.request("POST", "/api/offer", offer.as_bytes()));
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn stop(self) {
        smol::block_on(self.handle.close());
        self.thread.join().expect("the driver ends").expect("its sockets work");
    }
}

/// A model browser with a socket.
struct Caller {
    browser: Browser,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl Caller {
    fn connect(server: &Server, seed: u64) -> Caller {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_nonblocking(true).expect("a socket of this system");
        let now = Instant::now();
        let mut config = BrowserConfig::new(Kind::Real, seed);
        config.address = socket.local_addr().expect("it is bound");
        let mut browser = Browser::new(config, now);
        let body = json!({ "type": "offer", "sdp": browser.offer(now) }).to_string();
        let answer: Value = serde_json::from_str(&server.post(&body)).expect("an answer is JSON");
        let sdp = answer["sdp"].as_str().expect("an answer has SDP");
        browser.accept_answer(sdp, Instant::now());
        let mut caller = Caller { browser, socket, buffer: vec![0; BUFFER_LEN] };
        while !caller.browser.is_open() {
            assert!(now.elapsed() < PATIENCE, "the caller connects");
            caller.look(|_, _| {});
        }
        caller
    }

    /// Does what is due, then sleeps for a moment. Tells the words that came, and when.
    fn look(&mut self, mut heard: impl FnMut(i16, Instant)) {
        while let Ok((len, source)) = self.socket.recv_from(&mut self.buffer) {
            let (destination, now) = (self.browser.address(), Instant::now());
            let payload = self.buffer[..len].to_vec().into();
            self.browser.handle_packet(Packet { source, destination, payload }, now);
            while let Some(event) = self.browser.poll_event() {
                if let BrowserEvent::Media { data, .. } = event {
                    null_words(&data).into_iter().flatten().for_each(|word| heard(word, now));
                }
            }
        }
        let now = Instant::now();
        if self.browser.poll_timeout().is_some_and(|at| at <= now) {
            self.browser.handle_timeout(now);
        }
        self.send();
        thread::sleep(LOOK_INTERVAL);
    }

    fn send(&mut self) {
        while let Some(packet) = self.browser.poll_packet() {
            // What finds no room is lost, and sent again by whoever needs it.
            let _ = self.socket.send_to(&packet.payload, packet.destination);
        }
    }

    /// Says each number in a packet of its own, and listens.
    fn call(mut self, marks: &Marks) {
        let begin = Instant::now();
        for number in 1..=PACKETS {
            let due = begin + PACKET_TIME * u32::from(number.unsigned_abs());
            while Instant::now() < due {
                self.listen(marks);
            }
            let (now, time) = (Instant::now(), u64::from(number.unsigned_abs()) * PACKET_TICKS);
            mark(marks, number, |it| it.sent = Some(now));
            assert!(self.browser.send_media(0, time, &null_packet(&[number, number]), now));
            self.send();
        }
        let end = Instant::now() + 10 * PACKET_TIME;
        while Instant::now() < end {
            self.listen(marks);
        }
        self.browser.hang_up(Instant::now());
        self.send();
    }

    fn listen(&mut self, marks: &Marks) {
        self.look(|word, now| {
            if word > 0 {
                mark(marks, word, |it| it.heard = it.heard.or(Some(now)));
            }
        });
    }
}

/// The parts of every packet that came back, of all calls.
fn parts(hold: Duration) -> Vec<Parts> {
    let mut parts = Vec::new();
    for seed in 0..CALLS {
        let marks = Marks::default();
        let server = Server::start(hold, &marks);
        let caller = Caller::connect(&server, seed + 1);
        caller.call(&marks);
        server.stop();
        let marks = marks.lock().expect("nobody panics with it");
        let counted = marks.iter().filter(|(number, _)| **number > SETTLING);
        parts.extend(counted.filter_map(|(_, stamps)| Parts::of(stamps)));
    }
    parts
}

/// The median and the 99th percentile.
fn spread(mut values: Vec<Duration>) -> (Duration, Duration) {
    values.sort();
    let at = |percent: usize| values[(values.len() * percent / 100).min(values.len() - 1)];
    (at(50), at(99))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Prints the table; gives the median of all together, the client's packet time included.
fn tell(hold: Duration, parts: &[Parts], network: Duration) -> Duration {
    println!("parts with {} ms of hold, of {} packets", hold.as_millis(), parts.len());
    println!("  {:<22} {:>8} ms", "client's packet time", ms(PACKET_TIME));
    let show = |name: &str, part: fn(&Parts) -> Duration| {
        let (p50, p99) = spread(parts.iter().map(part).collect());
        println!("  {name:<22} {:8.3} ms   p99 {:8.3}", ms(p50), ms(p99));
        p50
    };
    show("way in", |it| it.way_in);
    println!("    of it network        {:8.3} ms", ms(network));
    show("bot", |it| it.bot);
    show("send queue", |it| it.queue);
    show("pacing", |it| it.pacing);
    show("way out", |it| it.way_out);
    show("all but client's", |it| it.all) + PACKET_TIME
}

/// Half of what a datagram takes there and back.
fn network() -> Duration {
    let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (near, far) = (bind(), bind());
    let address = far.local_addr().expect("it is bound");
    let count = 500;
    let echo = thread::spawn(move || {
        let mut buffer = [0; 1500];
        for _ in 0..count {
            let (len, from) = far.recv_from(&mut buffer).expect("loopback loses nothing");
            far.send_to(&buffer[..len], from).expect("loopback takes it");
        }
    });
    let mut buffer = [0; 1500];
    let ping = |_| {
        let begin = Instant::now();
        near.send_to(&[0; 60], address).expect("loopback takes it");
        near.recv_from(&mut buffer).expect("loopback loses nothing");
        begin.elapsed() / 2
    };
    let (half, _) = spread((0..count).map(ping).collect());
    echo.join().expect("it echoes to the end");
    half
}

/// The median with the program's own bot, the client's packet time included; `None` when calls
/// failed.
fn whole() -> Option<Duration> {
    let most = WHOLE_CALLS.to_string();
    let flags = ["--listen", "127.0.0.1:0", "--max-sessions", &most, "--rate-limit", "off"];
    let child = Child::program(&[&flags[..], &["--bot", "echo"]].concat(), &[]);
    let load = Load::new(child.address()).calls(WHOLE_CALLS).duration(WHOLE_TIME);
    let load = load.rate(9).expects_echo(true).listen_every(1);
    let report = load.run().expect("loopback takes calls");
    let delay = &report.total.echo.delay;
    println!("whole, Opus, {WHOLE_CALLS} calls to the echo bot: from sent to heard {delay}");
    report.is_success().then_some(delay.p50 + PACKET_TIME)
}

fn main() -> ExitCode {
    let network = network();
    let Some(whole) = whole() else {
        println!("FAILED: calls did not last, or heard no echo");
        return ExitCode::FAILURE;
    };
    let mut rest = None;
    for hold in HOLDS {
        let parts = parts(hold);
        if parts.is_empty() {
            println!("FAILED: nothing came back");
            return ExitCode::FAILURE;
        }
        let sum = ms(tell(hold, &parts, network));
        // What the code delays is the same however long a block is held.
        let rest = *rest.get_or_insert(ms(whole) - sum);
        println!("  {:<22} {rest:8.3} ms   of the whole beyond its parts", "Opus");
        println!("  {:<22} {:8.3} ms", "tone in to tone out", sum + rest);
    }
    let is_met = whole <= GOAL;
    let verdict = if is_met { "met" } else { "MISSED" };
    println!(
        "the echo bot, tone in to tone out: {:.1} ms (goal {}): {verdict}",
        ms(whole),
        ms(GOAL)
    );
    ExitCode::SUCCESS
}
