//! What a session adds to the codec and the resampler: sound in, sound out, and both, for 20 ms.
//!
//! Sessions run on the plain wire of `smallrtc::scripted`, which costs next to nothing and is
//! counted as theirs: no cipher hides what the way of sound costs. What comes in are packets of
//! Opus, read as frames of 20 ms at 16 kHz; what goes out are 20 ms at 24 kHz.
//!
//! | lane | what runs for 20 ms of each call |
//! | --- | --- |
//! | codec and resampler | decoding to 48 kHz, and from there to 16 kHz; coding at 24 kHz |
//! | session | a datagram in and its frame read; a frame taken, its timer, and a datagram out |
//!
//! With the feature `libopus` the same sessions run with it, and what those of pure Rust take is
//! told as a ratio to them.
//!
//! Both have the same coders with the same settings. All lanes run in one process, a second of each
//! in turn; the unit is the thread's CPU time, and a ratio is the median of the rounds' own ratios.
//!
//! ```sh
//! cargo bench --bench sound
//! cargo bench --bench sound --features libopus
//! ```

#![expect(clippy::print_stdout, reason = "a bench prints")]

mod common;
#[expect(dead_code, reason = "the bench needs the way that every packet goes, no more")]
#[path = "../src/audio/resample.rs"]
mod resample;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cpu_time::ThreadTime;
use smallrtc::scripted::{Frame, Media, encode, stun};
use smallrtc::{
    AudioFrame, AudioIdle, Codec, Config, ConnectionState, Datagram, LocalCandidate, Offer, Seed,
    Session, TrackId, TransportId,
};

use common::sound::{self, Coder};
use common::{PACKET_TIME, browser_address, median, server_address, verdict};
use resample::Resampler;

/// Calls in each lane: enough that a reading of the clock costs nothing beside them, and that the
/// caches are as cold as a server's.
const CALLS: usize = 20;

/// Rounds of one second of call. The first one fills caches, buffers and filters.
const ROUNDS: usize = 31;
const TURNS: usize = 50;

const IN_RATE: u32 = 16_000;
const IN_FRAME: usize = IN_RATE as usize / 50;

/// The most that a session may take of what the codec and the resampler take.
const GOAL: f64 = 1.05;

/// Which ways sound goes.
#[derive(Clone, Copy)]
struct Ways {
    receives: bool,
    sends: bool,
}

const WAYS: [(&str, Ways); 3] = [
    ("receive", Ways { receives: true, sends: false }),
    ("send", Ways { receives: false, sends: true }),
    ("both", Ways { receives: true, sends: true }),
];

/// What is said, both ways.
struct Said {
    frames: Vec<Vec<i16>>,
    packets: Vec<Vec<u8>>,
}

/// Something that is measured.
trait Lane {
    /// 20 ms of all calls; gives the CPU time.
    fn turn(&mut self, said: &Said, turn: usize) -> Duration;
    /// Checks that what was measured has worked.
    fn check(&self, turns: u64);
}

/// The codec and the resampler of each call, and nothing else.
struct Alone {
    ways: Ways,
    calls: Vec<(Coder, Resampler)>,
    /// Scratch: what was resampled.
    heard: Vec<i16>,
    samples: u64,
}

impl Alone {
    fn new(ways: Ways) -> Alone {
        let call = |_| (Coder::new(), Resampler::new(48_000, IN_RATE, 1));
        Alone { ways, calls: (0..CALLS).map(call).collect(), heard: Vec::new(), samples: 0 }
    }
}

impl Lane for Alone {
    fn turn(&mut self, said: &Said, turn: usize) -> Duration {
        let (packet, frame) = (&said.packets[turn], &said.frames[turn]);
        let begin = ThreadTime::now();
        for (coder, resampler) in &mut self.calls {
            if self.ways.receives {
                self.heard.clear();
                resampler.process(coder.decode(packet), &mut self.heard);
                self.samples += black_box(&self.heard).len() as u64;
            }
            if self.ways.sends {
                black_box(coder.encode(frame));
            }
        }
        begin.elapsed()
    }

    fn check(&self, turns: u64) {
        let heard = if self.ways.receives { turns * (CALLS * IN_FRAME) as u64 } else { 0 };
        assert_eq!(self.samples, heard, "all packets were decoded");
    }
}

/// A session, and what its page has sent.
struct Call {
    session: Session,
    offered: Credentials,
    answered: Credentials,
    seq: u64,
    frames: u64,
    sent: u64,
}

#[derive(Clone)]
struct Credentials {
    ufrag: String,
    pwd: String,
}

/// The offer of a page with a microphone, both ways.
fn offer(credentials: &Credentials) -> String {
    let Credentials { ufrag, pwd } = credentials;
    format!(
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\na=mid:0\r\n\
         a=sendrecv\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
         a=fingerprint:sha-256 0123456789ABCDEF\r\na=setup:actpass\r\n"
    )
}

fn datagram(payload: Vec<u8>) -> Datagram {
    Datagram::udp(TransportId(0), browser_address(0), server_address(), Bytes::from(payload))
}

impl Call {
    fn connect(config: &Arc<Config>, number: u64, now: Instant) -> Call {
        let mut session = Session::new(Arc::clone(config), Seed::from_number(number), now);
        let local: SocketAddr = server_address();
        let local = LocalCandidate::host(TransportId(0), local);
        session.add_local_candidate(local, now).expect("a first address");
        let offered = Credentials { ufrag: "page".to_owned(), pwd: "p".repeat(24) };
        let parsed = Offer::parse(&offer(&offered)).expect("the offer is good");
        let answer = session.accept_offer(&parsed, now).expect("the offer is good");
        let value = |name| answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        let value = |name| value(name).expect("an answer has it").to_owned();
        let answered = Credentials { ufrag: value("a=ice-ufrag:"), pwd: value("a=ice-pwd:") };
        session.start(now);
        let mut call = Call { session, offered, answered, seq: 0, frames: 0, sent: 0 };
        call.check_path(now);
        call.session.handle_datagram(datagram(encode(&[Frame::Hello])), now);
        call.drain(now);
        assert_eq!(call.session.state(), ConnectionState::Connected);
        call.sent = 0;
        call
    }

    /// The page shows that it is there.
    fn check_path(&mut self, now: Instant) {
        let (page, bot) = (&self.offered, &self.answered);
        let check = stun::request([7; 12], &bot.ufrag, &page.ufrag, &bot.pwd, true);
        self.session.handle_datagram(datagram(check), now);
        self.drain(now);
    }

    fn packet(&mut self, data: &[u8]) -> Datagram {
        self.seq += 1;
        let packet = Media::whole(Codec::Opus, self.seq, self.seq * 960, data);
        datagram(encode(&[Frame::Media(packet)]))
    }

    /// Does what is due, and takes everything that the session says, as a driver does.
    fn drain(&mut self, now: Instant) {
        loop {
            while self.session.poll_event().is_some() {}
            while self.session.poll_transmit().is_some() {
                self.sent += 1;
            }
            if self.session.poll_timeout().is_none_or(|at| at > now) {
                return;
            }
            self.session.handle_timeout(now);
        }
    }
}

/// Sessions.
struct Sessions {
    ways: Ways,
    calls: Vec<Call>,
    now: Instant,
    /// The datagrams of a turn, one for each call: who sends them is not measured.
    arrivals: Vec<Datagram>,
}

impl Sessions {
    fn new(config: Config, ways: Ways, now: Instant) -> Sessions {
        let config = config.audio_in(IN_RATE, 1).expect("a legal rate");
        let config = config.audio_idle(AudioIdle::Nothing);
        let config = config.dangerous().scripted_transport(true).done().shared();
        let calls = (0..CALLS as u64).map(|number| Call::connect(&config, number, now)).collect();
        Sessions { ways, calls, now, arrivals: Vec::new() }
    }
}

impl Lane for Sessions {
    fn turn(&mut self, said: &Said, turn: usize) -> Duration {
        self.now += PACKET_TIME;
        for call in &mut self.calls {
            if turn == 0 {
                call.check_path(self.now);
            }
            self.arrivals.push(call.packet(&said.packets[turn]));
        }
        let mut samples = [0; IN_FRAME];
        let frame = AudioFrame::mono(&said.frames[turn], sound::RATE);
        let begin = ThreadTime::now();
        for (call, arrival) in self.calls.iter_mut().zip(self.arrivals.drain(..)) {
            if self.ways.receives {
                call.session.handle_datagram(arrival, self.now);
                call.drain(self.now);
                while call.session.recv_audio(TrackId(0), &mut samples).is_some() {
                    call.frames += 1;
                }
            }
            if self.ways.sends {
                call.session.send_audio(frame, self.now).expect("there is room");
            }
            call.drain(self.now);
        }
        begin.elapsed()
    }

    fn check(&self, turns: u64) {
        for Call { session, frames, sent, .. } in &self.calls {
            let expected = if self.ways.receives { turns } else { 0 };
            assert_eq!(*frames, expected, "every packet was read as a frame");
            let stats = session.stats();
            assert_eq!((stats.audio_concealed_samples, stats.audio_slips), (0, 0));
            assert!(!self.ways.sends || *sent >= turns, "{sent} datagrams in {turns} turns");
        }
    }
}

/// What is measured, and what it is compared to.
struct Row {
    name: String,
    goal: Option<f64>,
    baseline: Box<dyn Lane>,
    sessions: Box<dyn Lane>,
    ratios: Vec<f64>,
    baseline_us: Vec<f64>,
    session_us: Vec<f64>,
}

impl Row {
    fn new(name: String, goal: Option<f64>, ways: Ways, of: Box<dyn Lane>, now: Instant) -> Row {
        Row {
            name,
            goal,
            baseline: of,
            sessions: Box::new(Sessions::new(Config::new(), ways, now)),
            ratios: Vec::new(),
            baseline_us: Vec::new(),
            session_us: Vec::new(),
        }
    }

    /// A session beside the codec and the resampler alone.
    fn beside_parts((name, ways): (&str, Ways), now: Instant) -> Row {
        let name = format!("{name}: codec and resampler");
        Row::new(name, Some(GOAL), ways, Box::new(Alone::new(ways)), now)
    }

    /// A session with the codec in pure Rust beside one with libopus.
    #[cfg(feature = "libopus")]
    fn beside_libopus((name, ways): (&str, Ways), now: Instant) -> Row {
        let other = Sessions::new(Config::new().libopus(true), ways, now);
        Row::new(format!("{name}: session with libopus"), None, ways, Box::new(other), now)
    }

    fn round(&mut self, said: &Said, counts: bool) {
        let (mut baseline, mut sessions) = (Duration::ZERO, Duration::ZERO);
        // Turn by turn: what else the machine does falls on both.
        for turn in 0..TURNS {
            baseline += self.baseline.turn(said, turn);
            sessions += self.sessions.turn(said, turn);
        }
        if counts {
            let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / (CALLS * TURNS) as f64;
            self.ratios.push(sessions.as_secs_f64() / baseline.as_secs_f64());
            self.baseline_us.push(micros(baseline));
            self.session_us.push(micros(sessions));
        }
    }

    fn tell(&mut self) {
        let turns = (TURNS * (ROUNDS + 1)) as u64;
        self.baseline.check(turns);
        self.sessions.check(turns);
        let (baseline, session) = (median(&mut self.baseline_us), median(&mut self.session_us));
        let ratio = median(&mut self.ratios);
        let verdict = self
            .goal
            .map_or_else(String::new, |goal| format!(" (goal {goal}): {}", verdict(ratio <= goal)));
        let name = &self.name;
        println!("  {name:<30} {baseline:8.2} us, session {session:8.2} us   {ratio:.3}{verdict}");
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
fn main() {
    let now = Instant::now();
    let said = Said { frames: sound::frames(), packets: sound::opus_packets() };
    let mut rows: Vec<Row> = WAYS.map(|ways| Row::beside_parts(ways, now)).into();
    #[cfg(feature = "libopus")]
    rows.extend(WAYS.map(|ways| Row::beside_libopus(ways, now)));
    for round in 0..=ROUNDS {
        for row in &mut rows {
            row.round(&said, round > 0);
        }
    }
    println!("CPU time for 20 ms with Opus, median of {ROUNDS} rounds, {CALLS} calls");
    rows.iter_mut().for_each(Row::tell);
}
