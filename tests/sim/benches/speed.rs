//! How fast calls are simulated: seconds of call for each second of CPU, with 10 ms of sound each
//! way, and what that is beside the links alone.
//!
//! | lane | what runs |
//! | --- | --- |
//! | links alone | the baseline: two links, as many datagrams, nothing at either end |
//! | session alone | a connected session on the scripted wire, handed datagrams and time by a loop |
//! | no checks | a whole call in the pump, and nothing looked at: no books, no trace, no log |
//! | all checks | the same with what the pump checks on every datagram and event |
//! | checks, trace | and a trace that is kept |
//! | a minute, recorded | calls of a minute, traced and recorded, and each log replayed: what a test has |
//!
//! A call is one session and one model browser with a microphone and a channel, over links that
//! delay by 20 ms: the bot hands over a second of sound at a time and reads 10 ms at a time, the
//! page sends a packet every 10 ms.
//!
//! All lanes run in turns in one process, some seconds of call each, and the unit is the CPU time
//! of the process. The best and the median of the rounds are printed: what else a machine does
//! makes rounds slower, never faster. Goals are held against the best for that reason.
//!
//! ```sh
//! cargo bench -p smallrtc-sim --bench speed
//! cargo bench -p smallrtc-sim --bench speed -- scripted alone
//! ```
//!
//! Words behind `--` choose the lanes that hold one of them in their names.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cpu_time::ProcessTime;
use smallrtc::scripted::{Frame, Media, encode};
use smallrtc::{
    AudioFrame, Codec, Config, ConnectionState, Datagram, PacketTime, Session, TrackId, TransportId,
};
use smallrtc_sim::{
    BrowserConfig, Kind, Link, LinkConfig, Packet, Pair, Setup, bot_address, null_packet, tone,
};

/// Rounds of all lanes. The first fills caches and buffers, and does not count.
const ROUNDS: usize = 9;

/// CPU time of a lane in a round, about: a reading of the clock costs nothing beside it.
const ROUND: Duration = Duration::from_millis(150);

const PACKET: Duration = Duration::from_millis(10);

/// The bot's sound, as the codec takes it by default, and a second of it: nothing is resampled.
const OUT_RATE: u32 = 24_000;
const OUT_SECOND: usize = 24_000;

/// The page's sound, as the codec gives it.
const IN_RATE: u32 = 48_000;
const IN_SECOND: usize = 48_000;

/// What the baseline's datagrams hold: a packet of the null codec as the plain wire carries it.
const DATAGRAM_LEN: usize = 60;

const DELAY: Duration = Duration::from_millis(20);

/// Something that lets a second of call pass, or several.
trait Lane {
    fn second(&mut self);
    /// How many.
    fn seconds(&self) -> u32 {
        1
    }
    /// Checks that what was measured has worked.
    fn check(&self) {}
}

/// Two links, and nothing at either end.
struct Links {
    up: Link,
    down: Link,
    now: Instant,
    arrived: u64,
}

impl Lane for Links {
    fn second(&mut self) {
        let page = ([198, 51, 100, 7], 50_000).into();
        for _ in 0..100 {
            for link in [&mut self.up, &mut self.down] {
                let payload = Bytes::from(vec![0; DATAGRAM_LEN]);
                link.send(Packet { source: page, destination: bot_address(), payload }, self.now);
            }
            self.now += PACKET;
            for link in [&mut self.up, &mut self.down] {
                while link.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.arrived += u64::from(link.receive(self.now).is_some());
                }
            }
        }
    }

    fn check(&self) {
        assert!(self.arrived > 0, "the links carry");
    }
}

/// A connected session, called as a driver calls it. What comes in is written as it goes, by the
/// same coder that the page uses.
struct Alone {
    /// It holds the session; nothing else of it is used any more.
    pair: Pair,
    now: Instant,
    sound: Vec<i16>,
    sent: u64,
    read: u64,
    seconds: u64,
    seq: u64,
    /// The coded sound of 10 ms.
    packet: Vec<u8>,
}

impl Alone {
    fn connect(packet: Vec<u8>) -> Alone {
        let setup = Setup::new(Kind::Scripted, 1).untraced().unchecked().unrecorded();
        let mut pair = Pair::new(setup.config(sound));
        pair.connect();
        let (now, sound) = (pair.now(), tone(440.0, OUT_RATE, OUT_SECOND));
        Alone { pair, now, sound, sent: 0, read: 0, seconds: 0, seq: 0, packet }
    }

    fn datagram(&mut self) -> Datagram {
        self.seq += 1;
        let media = Media::whole(Codec::Opus, self.seq, self.seq * 480, &self.packet);
        let page = BrowserConfig::new(Kind::Scripted, 1).address;
        let payload = encode(&[Frame::Media(media)]).into();
        Datagram::udp(TransportId(0), page, bot_address(), payload)
    }

    fn drain(session: &mut Session) -> u64 {
        while session.poll_event().is_some() {}
        let mut sent = 0;
        while session.poll_transmit().is_some() {
            sent += 1;
        }
        sent
    }
}

impl Lane for Alone {
    fn second(&mut self) {
        let frame = AudioFrame::mono(&self.sound, OUT_RATE);
        self.pair.session.send_audio(frame, self.now).expect("there is room");
        let mut samples = [0; IN_SECOND / 100];
        for _ in 0..100 {
            self.now += PACKET;
            let (now, datagram) = (self.now, self.datagram());
            let session: &mut Session = &mut self.pair.session;
            session.handle_datagram(datagram, now);
            self.sent += Alone::drain(session);
            while let Some(at) = session.poll_timeout().filter(|at| *at <= now) {
                session.handle_timeout(at);
                self.sent += Alone::drain(session);
            }
            while let Some(info) = session.recv_audio(TrackId(0), &mut samples) {
                self.read += info.samples as u64;
            }
        }
        self.seconds += 1;
    }

    fn check(&self) {
        assert!(self.sent >= self.seconds * 99, "the session sent {} datagrams", self.sent);
        assert!(self.read >= self.seconds * IN_SECOND as u64, "the session read {}", self.read);
    }
}

/// Calls of a minute, one after the other, each with all that a test has.
struct Minutes {
    packet: Vec<u8>,
    seed: u64,
}

impl Lane for Minutes {
    fn second(&mut self) {
        self.seed += 1;
        let setup = Setup::new(Kind::Scripted, self.seed);
        let mut call = Call::new(setup, self.packet.clone());
        for _ in 0..60 {
            call.second();
        }
        call.check();
        // The end of the pair replays its log.
    }

    fn seconds(&self) -> u32 {
        60
    }
}

/// A call.
struct Call {
    pair: Pair,
    packet: Vec<u8>,
    sound: Vec<i16>,
    /// In units of the codec's clock.
    time: u64,
    seconds: u64,
    heard: u64,
    read: u64,
}

fn sound(config: Config) -> Config {
    let config = config.audio_packet_time(PacketTime::Ms10);
    config.audio_in(IN_RATE, 1).expect("a rate that there is")
}

impl Call {
    /// A call without a log: one that goes on for as long as the bench does would need room for it.
    fn connect(setup: Setup, packet: Vec<u8>) -> Call {
        Call::new(setup.unrecorded(), packet)
    }

    fn new(setup: Setup, packet: Vec<u8>) -> Call {
        let link = LinkConfig { delay: DELAY, ..LinkConfig::clean() };
        let mut pair = Pair::new(setup.links(link).config(sound));
        pair.connect();
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        let sound = tone(440.0, OUT_RATE, OUT_SECOND);
        Call { pair, packet, sound, time: 0, seconds: 0, heard: 0, read: 0 }
    }
}

impl Lane for Call {
    fn second(&mut self) {
        let _id = self.pair.send_audio(&self.sound, OUT_RATE).expect("there is room");
        let mut samples = [0; IN_SECOND / 100];
        for _ in 0..100 {
            let now = self.pair.now();
            assert!(self.pair.browser.send_media(0, self.time, &self.packet, now));
            self.time += 480;
            self.pair.drive_for(PACKET);
            while let Some(info) = self.pair.session.recv_audio(TrackId(0), &mut samples) {
                self.read += info.samples as u64;
            }
        }
        self.heard += self.pair.browser_events().count() as u64;
        self.pair.forget();
        self.seconds += 1;
    }

    fn check(&self) {
        let expected = (self.seconds - 1) as f64;
        let (heard, read) = (self.heard as f64 / 100.0, self.read as f64 / IN_SECOND as f64);
        assert!(heard >= expected, "the page heard {heard} s of {expected}");
        assert!(read >= expected, "the bot read {read} s of {expected}");
    }
}

/// What a lane is called, and the goal in seconds of call for a second of CPU.
struct Row {
    name: &'static str,
    goal: Option<f64>,
    lane: Box<dyn Lane>,
    seconds: u32,
    speeds: Vec<f64>,
}

impl Row {
    fn new(name: &'static str, goal: Option<f64>, mut lane: Box<dyn Lane>) -> Row {
        let begin = ProcessTime::now();
        let mut seconds = 0;
        while begin.elapsed() < ROUND / 10 {
            lane.second();
            seconds += 1;
        }
        let one = begin.elapsed() / seconds;
        let seconds = (ROUND.as_secs_f64() / one.as_secs_f64()).ceil() as u32;
        Row { name, goal, lane, seconds, speeds: Vec::new() }
    }

    fn round(&mut self, counts: bool) {
        let begin = ProcessTime::now();
        for _ in 0..self.seconds {
            self.lane.second();
        }
        if counts {
            let seconds = f64::from(self.seconds * self.lane.seconds());
            self.speeds.push(seconds / begin.elapsed().as_secs_f64());
        }
    }

    /// The best and the median.
    fn figures(&mut self) -> (f64, f64) {
        self.lane.check();
        self.speeds.sort_by(f64::total_cmp);
        (self.speeds[self.speeds.len() - 1], self.speeds[self.speeds.len() / 2])
    }
}

/// 10 ms of a voice's loudness, in Opus: from a bot of its own, whose page hears coded packets.
fn opus_packet() -> Vec<u8> {
    let setup = Setup::new(Kind::Scripted, 1).opus().unrecorded();
    let mut pair = Pair::new(setup.config(|config| config.audio_packet_time(PacketTime::Ms10)));
    pair.connect();
    let _id = pair.send_audio(&tone(220.0, OUT_RATE, OUT_SECOND), OUT_RATE).expect("there is room");
    pair.drive_for(Duration::from_millis(800));
    let frames = pair.browser_events().filter_map(|event| match event {
        smallrtc_sim::BrowserEvent::Media { data, .. } => Some(data.to_vec()),
        _ => None,
    });
    frames.max_by_key(Vec::len).expect("the page heard the bot")
}

/// A lane's name and goal, and how it is made.
type Plan = (&'static str, Option<f64>, fn() -> Box<dyn Lane>);

const BASELINE: Plan = ("links alone", None, || {
    let link = || Link::new(LinkConfig { delay: DELAY, ..LinkConfig::clean() }, 1);
    Box::new(Links { up: link(), down: link(), now: smallrtc_sim::start(), arrived: 0 })
});

const PLANS: [Plan; 9] = [
    ("session alone, scripted", None, || Box::new(Alone::connect(null_packet(&[700])))),
    ("scripted, no checks", Some(20_000.0), || null_call(setup(Kind::Scripted).unchecked())),
    ("scripted, all checks", Some(5_000.0), || null_call(setup(Kind::Scripted))),
    ("scripted, checks, trace", None, || null_call(Setup::new(Kind::Scripted, 1))),
    ("scripted, a minute, recorded", None, || {
        Box::new(Minutes { packet: null_packet(&[700]), seed: 0 })
    }),
    ("real, all checks", Some(800.0), || null_call(setup(Kind::Real))),
    ("real, no checks", None, || null_call(setup(Kind::Real).unchecked())),
    ("scripted, Opus", None, || opus_call(setup(Kind::Scripted))),
    ("real, Opus", None, || opus_call(setup(Kind::Real))),
];

fn setup(kind: Kind) -> Setup {
    Setup::new(kind, 1).untraced()
}

fn null_call(setup: Setup) -> Box<dyn Lane> {
    Box::new(Call::connect(setup, null_packet(&[700])))
}

fn opus_call(setup: Setup) -> Box<dyn Lane> {
    Box::new(Call::connect(setup.opus(), opus_packet()))
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word));
    let wanted = PLANS.into_iter().filter(|(name, ..)| is_wanted(name));
    let row = |(name, goal, lane): Plan| Row::new(name, goal, lane());
    let mut rows: Vec<Row> = std::iter::once(BASELINE).chain(wanted).map(row).collect();
    for round in 0..=ROUNDS {
        for row in &mut rows {
            row.round(round > 0);
        }
    }
    println!("seconds of call for a second of CPU, 10 ms of sound each way, {ROUNDS} rounds");
    let (baseline, _) = rows[0].figures();
    for row in &mut rows {
        let (best, median) = row.figures();
        let verdict = row.goal.map_or_else(String::new, |goal| {
            let met = if best >= goal { "met" } else { "MISSED" };
            format!("   goal {goal:6.0}: {met}")
        });
        let ratio = baseline / best;
        let name = row.name;
        println!("  {name:<28} best {best:9.0}  median {median:9.0}  x{ratio:6.1}{verdict}");
    }
    println!("x: CPU beside the links alone");
}
