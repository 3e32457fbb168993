//! How fast calls are simulated: seconds of call for each second of CPU, with 10 ms of sound each
//! way, and what that is beside the links alone.
//!
//! A call is one session and one model browser with a microphone and a channel, over links that
//! delay by 20 ms: the bot hands over a second of sound at a time and reads 10 ms at a time, the
//! page sends a packet every 10 ms. The baseline is the same loop with the same links and as
//! many datagrams of the same size, and nothing at either end.
//!
//! All lanes run in turns in one process, some seconds of call each, and the unit is the CPU time
//! of the process. The best and the median of the rounds are printed: what else a machine does
//! makes rounds slower, never faster. Goals are held against the best for that reason.
//!
//! ```sh
//! cargo bench -p smallrtc-sim --bench speed
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use cpu_time::ProcessTime;
use smallrtc::{Config, ConnectionState, PacketTime, TrackId};
use smallrtc_sim::{Kind, Link, LinkConfig, Packet, Pair, Setup, bot_address, null_packet, tone};

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

/// Something that lets a second of call pass.
trait Lane {
    fn second(&mut self);
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

impl Call {
    fn connect(setup: Setup, packet: Vec<u8>) -> Call {
        let link = LinkConfig { delay: DELAY, ..LinkConfig::clean() };
        let sound = |config: Config| {
            let config = config.audio_packet_time(PacketTime::Ms10);
            config.audio_in(IN_RATE, 1).expect("a rate that there is")
        };
        let mut pair = Pair::new(setup.links(link).config(sound).unrecorded());
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
    fn new(name: &'static str, goal: Option<f64>, mut lane: impl Lane + 'static) -> Row {
        let begin = ProcessTime::now();
        for _ in 0..5 {
            lane.second();
        }
        let one = begin.elapsed() / 5;
        let seconds = (ROUND.as_secs_f64() / one.as_secs_f64()).ceil() as u32;
        Row { name, goal, lane: Box::new(lane), seconds, speeds: Vec::new() }
    }

    fn round(&mut self, counts: bool) {
        let begin = ProcessTime::now();
        for _ in 0..self.seconds {
            self.lane.second();
        }
        if counts {
            self.speeds.push(f64::from(self.seconds) / begin.elapsed().as_secs_f64());
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
        smallrtc_sim::BrowserEvent::Media { data, .. } => Some(data.clone()),
        _ => None,
    });
    frames.max_by_key(Vec::len).expect("the page heard the bot")
}

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let null = || null_packet(&[700]);
    let setup = |kind| Setup::new(kind, 1).untraced();
    let call = |setup, packet| Call::connect(setup, packet);
    let link = || Link::new(LinkConfig { delay: DELAY, ..LinkConfig::clean() }, 1);
    let links = Links { up: link(), down: link(), now: smallrtc_sim::start(), arrived: 0 };
    let (real, scripted) = (Kind::Real, Kind::Scripted);
    let mut rows = [
        Row::new("links alone", None, links),
        Row::new("scripted, no checks", Some(20_000.0), call(setup(scripted).unchecked(), null())),
        Row::new("scripted, all checks", Some(5_000.0), call(setup(scripted), null())),
        Row::new("scripted, checks, trace", None, call(Setup::new(scripted, 1), null())),
        Row::new("real, all checks", Some(800.0), call(setup(real), null())),
        Row::new("real, no checks", None, call(setup(real).unchecked(), null())),
        Row::new("scripted, Opus", None, call(setup(scripted).opus(), opus_packet())),
        Row::new("real, Opus", None, call(setup(real).opus(), opus_packet())),
    ];
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
        println!("  {name:<24} best {best:9.0}  median {median:9.0}  x{ratio:6.1}{verdict}");
    }
    println!("x: CPU beside the links alone");
}
