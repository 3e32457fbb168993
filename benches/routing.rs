//! What it costs to find the session of a datagram, among 10, 1,000 and 10,000 of them.
//!
//! `cargo bench --bench routing` prints nanoseconds per datagram and what they grow by; it fails
//! when routing is not flat within 1.5.
//!
//! All sessions are connected, over the scripted transport, because ten thousand real engines would
//! measure memory and not routing. There are three lanes:
//! - *routed*: the whole of `Endpoint::handle_datagram` and the polls after it;
//! - *forged*: a STUN request with a wrong password, from an address that nobody knows;
//! - *direct*: the datagrams of *routed*, given to sessions without an endpoint, by index.
//!
//! Each is run in two ways. When ten *talk*, and other ten in each round, sessions are equally warm
//! in the caches whatever their number, so what grows is what routing does: this is what must be
//! flat. When *all* talk, one after the other without a pattern, the memory of the sessions
//! themselves gets colder with their number, as the lane without an endpoint shows.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures the time that passes")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use bytes::Bytes;
use smallrtc::scripted::{Frame, encode, stun};
use smallrtc::{
    Config, Datagram, Endpoint, LocalCandidate, Offer, Routed, Seed, Session, TransportId,
};

const COUNTS: [usize; 3] = [10, 1_000, 10_000];
/// How many talk at a time, where not all do.
const TALKERS: usize = 10;
/// Datagrams of one round; the median of the rounds counts.
const DATAGRAMS: usize = 20_000;
const ROUNDS: usize = 41;
/// How much dearer routing may be among 10,000 sessions than among 10.
const RATIO_MAX: f64 = 1.5;

const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    a=mid:0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

fn local() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 3478))
}

fn peer(index: usize) -> SocketAddr {
    let index = u32::try_from(index).expect("there are few sessions");
    let host = Ipv4Addr::from(0x0a00_0000 | index.wrapping_mul(0x9e37_79b1) >> 8);
    SocketAddr::from((host, 50_000 + u16::try_from(index % 10_000).expect("below 10,000")))
}

fn datagram(source: SocketAddr, payload: Bytes) -> Datagram {
    Datagram::udp(TransportId(0), source, local(), payload)
}

fn check(answer: &str, pwd: Option<&str>) -> Bytes {
    let value = |name| answer.lines().find_map(|line| line.strip_prefix(name));
    let ufrag = value("a=ice-ufrag:").expect("answers have a ufrag");
    let pwd = pwd.or(value("a=ice-pwd:")).expect("answers have a password");
    stun::request([7; 12], ufrag, "page", pwd, true).into()
}

/// What takes datagrams.
trait Side {
    /// Makes a session; its answer.
    fn accept(&mut self, offer: &Offer, now: Instant) -> String;
    fn take(&mut self, index: usize, datagram: Datagram, now: Instant);
}

struct Behind(Endpoint);

impl Side for Behind {
    fn accept(&mut self, offer: &Offer, now: Instant) -> String {
        self.0.accept(offer, now).expect("there is room").1.sdp().to_owned()
    }

    fn take(&mut self, _index: usize, datagram: Datagram, now: Instant) {
        let routed = self.0.handle_datagram(datagram, now);
        assert!(matches!(routed, Routed::Session(_)), "{routed:?}");
        while self.0.poll_transmit().is_some() {}
        while self.0.poll_event().is_some() {}
        std::hint::black_box(self.0.poll_timeout());
    }
}

struct Alone(Vec<Session>);

impl Side for Alone {
    fn accept(&mut self, offer: &Offer, now: Instant) -> String {
        let seed = Seed::from_number(self.0.len() as u64);
        let mut session = Session::new(config(1), seed, now);
        let candidate = LocalCandidate::host(TransportId(0), local());
        session.add_local_candidate(candidate, now).expect("there is room");
        let answer = session.accept_offer(offer, now).expect("the offer is good");
        self.0.push(session);
        answer.sdp().to_owned()
    }

    fn take(&mut self, index: usize, datagram: Datagram, now: Instant) {
        let session = &mut self.0[index];
        session.handle_datagram(datagram, now);
        while session.poll_transmit().is_some() {}
        while session.poll_event().is_some() {}
        std::hint::black_box(session.poll_timeout());
    }
}

fn config(sessions: usize) -> std::sync::Arc<Config> {
    let config = Config::new().max_sessions(sessions);
    config.dangerous().scripted_transport(true).done().shared()
}

/// A side with its sessions connected, and the answers that they gave.
fn connect<S: Side>(mut side: S, count: usize, now: Instant) -> (S, Vec<String>) {
    let offer = Offer::parse(SDP).expect("the offer is good");
    let mut answers = Vec::new();
    for index in 0..count {
        let answer = side.accept(&offer, now);
        side.take(index, datagram(peer(index), check(&answer, None)), now);
        side.take(index, datagram(peer(index), encode(&[Frame::Hello]).into()), now);
        answers.push(answer);
    }
    (side, answers)
}

/// Which of `among` sessions is next: each equally often, and no prefetcher guesses it.
fn order(among: usize) -> impl Iterator<Item = usize> {
    let mut state = 1u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 33) as usize % among
    })
    .take(DATAGRAMS)
}

/// Nanoseconds for each datagram of each round.
#[derive(Default)]
struct Figures {
    routed: Vec<f64>,
    forged: Vec<f64>,
    direct: Vec<f64>,
}

/// One number of sessions.
struct Lanes {
    count: usize,
    behind: Behind,
    alone: Alone,
    forged: Vec<Datagram>,
    some: Figures,
    all: Figures,
}

impl Lanes {
    fn new(count: usize, now: Instant) -> Lanes {
        let mut endpoint = Endpoint::new(config(count), Seed::from_number(1), now);
        endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), local()));
        let (behind, answers) = connect(Behind(endpoint), count, now);
        let (alone, _) = connect(Alone(Vec::new()), count, now);
        let stranger = SocketAddr::from(([203, 0, 113, 9], 9));
        let forge = |answer: &String| datagram(stranger, check(answer, Some("guess")));
        let forged = answers.iter().map(forge).collect();
        Lanes { count, behind, alone, forged, some: Figures::default(), all: Figures::default() }
    }

    fn round(&mut self, round: usize, now: Instant) {
        let first = round * TALKERS % self.count;
        let some: Vec<usize> = order(TALKERS).map(|index| first + index).collect();
        // Once unmeasured, so that those whose turn it is are warm.
        self.measure(&some, now);
        let figures = self.measure(&some, now);
        self.some.push(figures);
        let all: Vec<usize> = order(self.count).collect();
        let figures = self.measure(&all, now);
        self.all.push(figures);
    }

    fn measure(&mut self, talkers: &[usize], now: Instant) -> [f64; 3] {
        let payload = Bytes::from(encode(&[]));
        let routed = nanos(talkers, |index| {
            self.behind.take(index, datagram(peer(index), payload.clone()), now);
        });
        let forged = nanos(talkers, |index| {
            let routed = self.behind.0.handle_datagram(self.forged[index].clone(), now);
            assert_eq!(routed, Routed::Refused);
        });
        let direct = nanos(talkers, |index| {
            self.alone.take(index, datagram(peer(index), payload.clone()), now);
        });
        [routed, forged, direct]
    }
}

impl Figures {
    fn push(&mut self, [routed, forged, direct]: [f64; 3]) {
        self.routed.push(routed);
        self.forged.push(forged);
        self.direct.push(direct);
    }

    fn medians(&self) -> [f64; 3] {
        [&self.routed, &self.forged, &self.direct].map(|rounds| {
            let mut rounds = rounds.clone();
            rounds.sort_by(f64::total_cmp);
            rounds[rounds.len() / 2]
        })
    }
}

fn nanos(talkers: &[usize], mut take: impl FnMut(usize)) -> f64 {
    let begin = Instant::now();
    talkers.iter().for_each(|index| take(*index));
    begin.elapsed().as_secs_f64() * 1e9 / talkers.len() as f64
}

fn print(title: &str, lanes: &[Lanes], of: fn(&Lanes) -> &Figures) -> [f64; 3] {
    println!("{title:<12}     routed     forged     direct   ns per datagram");
    for lane in lanes {
        let [routed, forged, direct] = of(lane).medians();
        println!("{:>6} calls {routed:10.0} {forged:10.0} {direct:10.0}", lane.count);
    }
    let (first, last) = (of(&lanes[0]).medians(), of(&lanes[lanes.len() - 1]).medians());
    let growth = [0, 1, 2].map(|lane| last[lane] / first[lane]);
    println!("      growth {:10.2} {:10.2} {:10.2}", growth[0], growth[1], growth[2]);
    growth
}

fn main() -> ExitCode {
    let now = Instant::now();
    let mut lanes: Vec<Lanes> = COUNTS.into_iter().map(|count| Lanes::new(count, now)).collect();
    for round in 0..ROUNDS {
        lanes.iter_mut().for_each(|lane| lane.round(round, now));
    }
    let [routed, forged, _] = print("ten talk", &lanes, |lane| &lane.some);
    print("all talk", &lanes, |lane| &lane.all);
    let growth = routed.max(forged);
    println!("routing grows by {growth:.2} from 10 to 10,000 calls (at most {RATIO_MAX})");
    if growth > RATIO_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
