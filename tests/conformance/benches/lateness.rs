//! How late packets of sound leave, under each driver, against a sender that has nothing else to
//! do.
//!
//! `cargo bench -p smallrtc-conformance --bench lateness` prints, for 1, 10 and 100 calls, and for
//! a code that costs nothing and for Opus, the median, the 99th percentile and the longest of the
//! lateness, what the driver says of itself, and the ratio to the bare sender of the same run.
//! Arguments choose: names of drivers, codes or numbers of calls.
//!
//! Every call's bot speaks without a pause. All callers share one socket, on which the kernel
//! stamps each datagram as it comes (`SO_TIMESTAMPNS`), so that the load of receiving counts as
//! little as it can. A packet's time of arrival less its media time is constant but for how late it
//! left; the smallest of a call counts as punctual. The bare senders are threads that wait for a
//! timer file descriptor every 20 ms and send one datagram to the same socket.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use serde_json::{Value, json};
use smallrtc::signaling::Call;
use smallrtc::{AudioFrame, Config, Endpoint, Event, SessionId};
use smallrtc_sim::{Browser, BrowserConfig, Kind, Packet};
use smallrtc_smol::{Handle, Options, Peer, Received};
use smallrtc_udp::Lateness;

const CALLS: [usize; 3] = [1, 10, 100];
/// Samples per second of what the bots say.
const RATE: u32 = 24_000;
const PACKET_TIME: Duration = Duration::from_millis(20);
/// What passes before counting, when all calls are there, and what is counted.
const SETTLING: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_secs(10);
/// Bare senders: their packets together give a 99th percentile of 20 samples.
const BARE: u8 = 4;
/// A session that cannot keep up slips: it sends less, and what it sends is on time by its own
/// clock. With fewer packets than this part the lateness says nothing.
const OVERLOADED: f64 = 0.98;
/// Far more than any call needs to connect.
const PATIENCE: Duration = Duration::from_secs(30);
/// One datagram or a run of them.
const BUFFER_LEN: usize = 64 * 1024;

/// Bots under a driver.
trait Bots {
    /// Takes the body of a `POST /api/offer`; gives the answer's body.
    fn post(&self, offer: &str) -> String;
    /// How late the driver says that it was.
    fn lateness(&self) -> Lateness;
    fn stop(self: Box<Self>);
}

type Start = fn(Config) -> Box<dyn Bots>;

/// Every driver, with its name.
const DRIVERS: [(&str, Start); 2] = [("smol", smol_bots), ("mio", mio_bots)];

struct SmolBots {
    handle: Handle,
    thread: JoinHandle<std::io::Result<()>>,
}

fn smol_bots(config: Config) -> Box<dyn Bots> {
    let options = Options::new().udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (driver, handle) = smallrtc_smol::bind(config, options).expect("loopback has a free port");
    let calls = handle.clone();
    let thread = thread::spawn(move || {
        let executor = smol::Executor::new();
        let served = executor.spawn(driver.run());
        smol::block_on(executor.run(async {
            while let Some(peer) = calls.accept().await {
                executor.spawn(speak(peer)).detach();
            }
            served.await
        }))
    });
    Box::new(SmolBots { handle, thread })
}

/// A second of sound.
fn second() -> Vec<i16> {
    (0..RATE).map(|at| (at % 150 * 60) as i16 - 4_500).collect()
}

/// Speaks without a pause: two seconds are always queued, or being queued.
async fn speak(mut peer: Peer) {
    let second = second();
    let frame = AudioFrame::mono(&second, RATE);
    for _ in 0..2 {
        let _ = peer.send_audio(frame).await;
    }
    while let Some(received) = peer.recv().await {
        if let Received::Event(Event::AudioFinished { .. }) = received {
            let _ = peer.send_audio(frame).await;
        }
    }
}

impl Bots for SmolBots {
    fn post(&self, offer: &str) -> String {
        let request = self.handle.request("POST", "/api/offer", offer.as_bytes());
        let response = smol::block_on(request);
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn lateness(&self) -> Lateness {
        smol::block_on(self.handle.stats()).expect("the driver runs").lateness
    }

    fn stop(self: Box<Self>) {
        smol::block_on(self.handle.close());
        self.thread.join().expect("the driver ends").expect("its sockets work");
    }
}

struct MioBots {
    handle: smallrtc_mio::Handle,
    thread: JoinHandle<std::io::Result<Speakers>>,
}

fn mio_bots(config: Config) -> Box<dyn Bots> {
    let options = smallrtc_mio::Options::new().udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let app = Speakers { second: second() };
    let (driver, handle) =
        smallrtc_mio::Driver::bind(config, options, app).expect("loopback has a free port");
    Box::new(MioBots { handle, thread: thread::spawn(move || driver.run()) })
}

struct Speakers {
    second: Vec<i16>,
}

impl smallrtc_mio::App for Speakers {
    fn on_call(&mut self, call: Call, core: &mut Endpoint, now: Instant) {
        let mut call = core.session(call.id).expect("it was made just now");
        call.start(now);
        for _ in 0..2 {
            let _ = call.send_audio(AudioFrame::mono(&self.second, RATE), now);
        }
    }

    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        if let (Event::AudioFinished { .. }, Some(mut call)) = (event, core.session(id)) {
            let _ = call.send_audio(AudioFrame::mono(&self.second, RATE), now);
        }
    }
}

impl Bots for MioBots {
    fn post(&self, offer: &str) -> String {
        let response = self.handle.request("POST", "/api/offer", offer.as_bytes());
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn lateness(&self) -> Lateness {
        self.handle.stats().expect("the driver runs").lateness
    }

    fn stop(self: Box<Self>) {
        self.handle.close();
        self.thread.join().expect("the driver ends").expect("its sockets work");
    }
}

/// One stream of packets: when each came, less its media time, in nanoseconds.
#[derive(Default)]
struct Stream {
    first: Option<u32>,
    offsets: Vec<i64>,
}

impl Stream {
    fn came(&mut self, arrival: Duration, rtp_time: u32) {
        let first = *self.first.get_or_insert(rtp_time);
        let media = i64::from(rtp_time.wrapping_sub(first)) * 1_000_000 / 48;
        self.offsets.push(arrival.as_nanos() as i64 - media);
    }

    fn add_to(&self, lateness: &mut Lateness) {
        let Some(punctual) = self.offsets.iter().min() else { return };
        for offset in &self.offsets {
            lateness.record(Duration::from_nanos((offset - punctual) as u64));
        }
    }
}

/// All callers, and the socket that they share: each has an address of its own on loopback.
struct Callers {
    io: UdpSocket,
    state: UdpSocketState,
    buffers: Vec<Vec<u8>>,
    browsers: BTreeMap<IpAddr, Browser>,
    streams: BTreeMap<IpAddr, Stream>,
    counts: bool,
}

impl Callers {
    fn new() -> Callers {
        let io = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let state = UdpSocketState::new(UdpSockRef::from(&io)).expect("a socket of this system");
        // More is given where the system allows it.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&io), 4 * 1024 * 1024);
        Callers {
            io,
            state,
            buffers: vec![vec![0; BUFFER_LEN]; BATCH_SIZE],
            browsers: BTreeMap::new(),
            streams: BTreeMap::new(),
            counts: false,
        }
    }

    fn port(&self) -> u16 {
        self.io.local_addr().expect("it is bound").port()
    }

    /// One more caller, whose channel is open.
    fn call(&mut self, number: u8, bots: &dyn Bots) {
        let ip = IpAddr::from([127, 0, 1, number + 1]);
        let now = Instant::now();
        let mut config = BrowserConfig::new(Kind::Real, u64::from(number) + 1);
        config.address = SocketAddr::new(ip, self.port());
        let mut browser = Browser::new(config, now);
        let body = json!({ "type": "offer", "sdp": browser.offer(now) }).to_string();
        let answer: Value = serde_json::from_str(&bots.post(&body)).expect("an answer is JSON");
        let sdp = answer["sdp"].as_str().expect("an answer has SDP");
        browser.accept_answer(sdp, Instant::now());
        self.browsers.insert(ip, browser);
        let give_up = now + PATIENCE;
        while !self.browsers[&ip].is_open() {
            assert!(Instant::now() < give_up, "caller {number} does not connect");
            self.turn();
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.turn();
        }
    }

    /// Does what is due, then waits for datagrams, at most a packet's time.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut packets = Vec::new();
        for browser in self.browsers.values_mut() {
            if browser.poll_timeout().is_some_and(|at| at <= now) {
                browser.handle_timeout(now);
            }
            packets.extend(std::iter::from_fn(|| browser.poll_packet()));
            while browser.poll_event().is_some() {}
        }
        for packet in packets {
            let outgoing = quinn_udp::Transmit {
                destination: packet.destination,
                ecn: None,
                contents: &packet.payload,
                segment_size: None,
                src_ip: Some(packet.source.ip()),
            };
            // What finds no room is lost, and sent again by whoever needs it.
            let _ = self.state.try_send(UdpSockRef::from(&self.io), &outgoing);
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let mut fds = [PollFd::new(&self.io, PollFlags::IN)];
        if poll(&mut fds, Some(&wait)).is_ok_and(|ready| ready > 0) {
            self.receive();
        }
    }

    fn receive(&mut self) {
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let mut buffers = std::mem::take(&mut self.buffers);
        let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let received = self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut meta);
        drop(slices);
        for (buffer, meta) in buffers.iter().zip(&meta).take(received.unwrap_or(0)) {
            for payload in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.take(payload, meta);
            }
        }
        self.buffers = buffers;
    }

    /// Sound is stamped and goes no further; everything else is the browser's.
    fn take(&mut self, payload: &[u8], meta: &RecvMeta) {
        let Some(ip) = meta.dst_ip else { return };
        if let Some(rtp_time) = rtp_time(payload) {
            if self.counts {
                let arrival = meta.timestamp.expect("the kernel stamps what it receives");
                self.streams.entry(ip).or_default().came(arrival, rtp_time);
            }
        } else if let Some(browser) = self.browsers.get_mut(&ip) {
            let destination = browser.address();
            let payload = payload.to_vec().into();
            let packet = Packet { source: meta.addr, destination, payload };
            browser.handle_packet(packet, Instant::now());
        }
    }
}

/// The media time of an RTP packet (RFC 3550 section 5.1); `None` for anything else.
fn rtp_time(payload: &[u8]) -> Option<u32> {
    let is_rtp = payload.len() >= 12 && payload[0] >> 6 == 2;
    // RTCP shares the port (RFC 5761 section 4).
    let is_rtcp = is_rtp && (64..96).contains(&(payload[1] & 0x7f));
    let time = payload.get(4..8)?.try_into().ok()?;
    (is_rtp && !is_rtcp).then(|| u32::from_be_bytes(time))
}

/// A thread that sends what looks like a packet of sound every 20 ms, and nothing else.
fn bare_sender(number: u8, port: u16, ends: Arc<AtomicBool>) -> JoinHandle<()> {
    thread::spawn(move || {
        let io = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)
            .expect("a timer of this system");
        let every = |nanos: i64| Timespec { tv_sec: 0, tv_nsec: nanos };
        // Each at its own time between two packets.
        let first = every(i64::from(number + 1) * 4_300_000);
        let every = every(PACKET_TIME.as_nanos() as i64);
        let value = Itimerspec { it_interval: every, it_value: first };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &value).expect("it is open");
        let mut tick = 0_u64;
        while !ends.load(Ordering::Relaxed) {
            let mut expired = [0; 8];
            rustix::io::read(&timer, &mut expired).expect("it is open");
            tick += u64::from_ne_bytes(expired);
            let mut packet = [0; 60];
            packet[0] = 0x80;
            packet[1] = 111;
            packet[4..8].copy_from_slice(&((tick * 960) as u32).to_be_bytes());
            let _ = io.send_to(&packet, (Ipv4Addr::new(127, 0, 2, number), port));
        }
    })
}

/// What one run gives: the lateness of all calls' packets, and of the bare senders'.
fn measure(calls: usize, start: Start, config: Config) -> (Lateness, Lateness, Lateness) {
    let bots = start(config);
    let mut callers = Callers::new();
    for number in 0..calls {
        callers.call(number as u8, &*bots);
    }
    let ends = Arc::new(AtomicBool::new(false));
    let senders = (0..BARE).map(|number| bare_sender(number, callers.port(), Arc::clone(&ends)));
    let senders: Vec<_> = senders.collect();
    callers.run_for(SETTLING);
    callers.counts = true;
    callers.run_for(MEASURED);
    ends.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().expect("a bare sender does not fail");
    }
    let (mut ours, mut bare) = (Lateness::new(), Lateness::new());
    for (ip, stream) in &callers.streams {
        let is_bare = !callers.browsers.contains_key(ip);
        stream.add_to(if is_bare { &mut bare } else { &mut ours });
    }
    let told = bots.lateness();
    bots.stop();
    (ours, bare, told)
}

fn show(name: &str, lateness: &Lateness) {
    let micros = |at: Duration| at.as_nanos() as f64 / 1000.0;
    let [p50, p99] = [0.5, 0.99].map(|part| micros(lateness.quantile(part)));
    let (max, count) = (micros(lateness.max()), lateness.count());
    println!("  {name:<18} p50 {p50:>8.1}  p99 {p99:>8.1}  max {max:>9.1} us  ({count} packets)");
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let choice = |names: &[String], name: &str| {
        let named: Vec<_> = wanted.iter().filter(|word| names.contains(word)).collect();
        named.is_empty() || named.iter().any(|word| *word == name)
    };
    let codes =
        [("null", Config::new().dangerous().null_codec(true).done()), ("opus", Config::new())];
    let drivers = DRIVERS.map(|(name, _)| name.to_owned());
    let code_names = ["null", "opus"].map(str::to_owned);
    let numbers = CALLS.map(|calls| calls.to_string());
    for (driver, start) in DRIVERS {
        for (code, config) in &codes {
            for calls in CALLS {
                let all = choice(&drivers, driver)
                    && choice(&code_names, code)
                    && choice(&numbers, &calls.to_string());
                if !all {
                    continue;
                }
                println!("{driver}, {code}, {calls} calls");
                let (ours, bare, told) = measure(calls, start, config.clone());
                show("packets", &ours);
                show("bare timerfd", &bare);
                show("the driver says", &told);
                let ratio =
                    |part| ours.quantile(part).as_secs_f64() / bare.quantile(part).as_secs_f64();
                println!("  to the bare sender: p50 {:.2}, p99 {:.2}", ratio(0.5), ratio(0.99));
                let due = calls as f64 * MEASURED.as_secs_f64() / PACKET_TIME.as_secs_f64();
                let came = ours.count() as f64 / due;
                if came < OVERLOADED {
                    println!("  overloaded: only {:.0} % of the packets came", came * 100.0);
                }
            }
        }
    }
}
