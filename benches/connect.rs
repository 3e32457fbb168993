//! What a connect costs: a session of ours against the engine as it comes out of its box, in one
//! run, against the same browser, on virtual time. Counted is the bot's side only: from the offer
//! to the open data channel, without the browser's part and without any system call.
//!
//! `cargo bench --bench connect` prints both and their ratio.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures the time that passes")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{Config, Datagram, Event, LocalCandidate, Offer, Seed, Session, TransportId};
use str0m::change::{SdpAnswer, SdpOffer};
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};

const CONNECTS: u32 = 300;
/// One connect of each kind is made before counting: certificates and tables are made once in a
/// process.
const WARM_UP: u32 = 5;
const LATENCY: Duration = Duration::from_millis(10);
const BOT: &str = "192.0.2.1:3478";
const BROWSER: &str = "198.51.100.7:50000";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("a socket address")
}

/// The side that is measured.
trait Bot {
    fn answer(&mut self, offer: &str, now: Instant) -> String;
    fn datagram(&mut self, payload: Bytes, now: Instant);
    fn timeout(&mut self, now: Instant);
    /// Moves what is to be sent to `out` and says when to be called again.
    fn drain(&mut self, out: &mut Vec<Bytes>) -> Option<Instant>;
    fn is_open(&self) -> bool;
}

struct Ours {
    session: Session,
    open: bool,
}

impl Ours {
    fn new(config: &Arc<Config>, number: u32, now: Instant) -> Ours {
        let seed = Seed::from_number(u64::from(number));
        let mut session = Session::new(config.clone(), seed, now);
        let local = LocalCandidate::host(TransportId(0), address(BOT));
        session.add_local_candidate(local, now).expect("the first address");
        session.start(now);
        Ours { session, open: false }
    }
}

impl Bot for Ours {
    fn answer(&mut self, offer: &str, now: Instant) -> String {
        let offer = Offer::parse(offer).expect("an offer");
        let answer = self.session.accept_offer(&offer, now).expect("an answer");
        answer.sdp().to_owned()
    }

    fn datagram(&mut self, payload: Bytes, now: Instant) {
        let (source, destination) = (address(BROWSER), address(BOT));
        let datagram = Datagram::udp(TransportId(0), source, destination, payload);
        self.session.handle_datagram(datagram, now);
    }

    fn timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    fn drain(&mut self, out: &mut Vec<Bytes>) -> Option<Instant> {
        while let Some(transmit) = self.session.poll_transmit() {
            out.push(transmit.payload);
        }
        while let Some(event) = self.session.poll_event() {
            self.open |= matches!(event, Event::ChannelOpened { .. });
        }
        self.session.poll_timeout()
    }

    fn is_open(&self) -> bool {
        self.open
    }
}

/// The engine with its defaults; the browser, too.
struct Stock {
    rtc: Rtc,
    open: bool,
}

impl Stock {
    fn new(local: &str, now: Instant) -> Stock {
        let mut rtc = Rtc::new(now);
        rtc.add_local_candidate(Candidate::host(address(local), "udp").expect("a candidate"));
        Stock { rtc, open: false }
    }

    fn receive(&mut self, from: &str, to: &str, payload: &[u8], now: Instant) {
        let (from, to) = (address(from), address(to));
        let receive = Receive::new(Protocol::Udp, from, to, payload).expect("a datagram");
        self.rtc.handle_input(Input::Receive(now, receive)).expect("a peer that means well");
    }
}

impl Bot for Stock {
    fn answer(&mut self, offer: &str, _now: Instant) -> String {
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        self.rtc.sdp_api().accept_offer(offer).expect("an answer").to_sdp_string()
    }

    fn datagram(&mut self, payload: Bytes, now: Instant) {
        self.receive(BROWSER, BOT, &payload, now);
    }

    fn timeout(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
    }

    fn drain(&mut self, out: &mut Vec<Bytes>) -> Option<Instant> {
        loop {
            match self.rtc.poll_output().expect("a peer that means well") {
                Output::Timeout(at) => return Some(at),
                Output::Transmit(transmit) => out.push(Vec::from(transmit.contents).into()),
                Output::Event(event) => {
                    self.open |= matches!(event, str0m::Event::ChannelOpen(..));
                }
            }
        }
    }

    fn is_open(&self) -> bool {
        self.open
    }
}

/// Times a call of the bot.
fn timed<T>(spent: &mut Duration, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = call();
    *spent += start.elapsed();
    value
}

/// One connect; what the bot's side and what both sides took.
fn connect(make: impl FnOnce(Instant) -> Box<dyn Bot>) -> (Duration, Duration) {
    let start = Instant::now();
    let (mut now, mut spent) = (start, Duration::ZERO);
    let mut browser = Stock::new(BROWSER, now);
    let mut api = browser.rtc.sdp_api();
    api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
    api.add_channel("data".to_owned());
    let (offer, pending) = api.apply().expect("an offer");
    let offer = offer.to_sdp_string();
    let mut bot = timed(&mut spent, || make(now));
    let answer = timed(&mut spent, || bot.answer(&offer, now));
    let answer = SdpAnswer::from_sdp_string(&answer).expect("an answer");
    browser.rtc.sdp_api().accept_answer(pending, answer).expect("an answer to this offer");

    let mut wire: VecDeque<(Instant, bool, Bytes)> = VecDeque::new();
    let mut out = Vec::new();
    for _ in 0..1000 {
        let bot_at = timed(&mut spent, || bot.drain(&mut out));
        wire.extend(out.drain(..).map(|payload| (now + LATENCY, false, payload)));
        let browser_at = browser.drain(&mut out);
        wire.extend(out.drain(..).map(|payload| (now + LATENCY, true, payload)));
        if bot.is_open() && browser.is_open() {
            return (spent, start.elapsed());
        }
        let arrival = wire.front().map(|(at, ..)| *at);
        let next = [bot_at, browser_at, arrival].into_iter().flatten().min();
        now = next.expect("something is to come").max(now);
        while wire.front().is_some_and(|(at, ..)| *at <= now) {
            let (_, to_bot, payload) = wire.pop_front().expect("it has just been looked at");
            if to_bot {
                timed(&mut spent, || {
                    bot.datagram(payload, now);
                    bot.drain(&mut out);
                });
                wire.extend(out.drain(..).map(|payload| (now + LATENCY, false, payload)));
            } else {
                browser.receive(BOT, BROWSER, &payload, now);
                browser.drain(&mut out);
                wire.extend(out.drain(..).map(|payload| (now + LATENCY, true, payload)));
            }
        }
        if bot_at.is_some_and(|at| at <= now) {
            timed(&mut spent, || bot.timeout(now));
        }
        if browser_at.is_some_and(|at| at <= now) {
            browser.timeout(now);
        }
    }
    panic!("no connect");
}

/// The middle of the values: a disturbance of the machine moves a mean, not this.
fn median(mut values: Vec<Duration>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2].as_secs_f64()
}

fn main() {
    let config = Config::new().shared();
    let (mut ours, mut stock) = (Vec::new(), Vec::new());
    // In turns, so that a busy machine slows both.
    for number in 0..WARM_UP + CONNECTS {
        let pair = (
            connect(|now| Box::new(Ours::new(&config, number, now))),
            connect(|now| Box::new(Stock::new(BOT, now))),
        );
        if number >= WARM_UP {
            ours.push(pair.0);
            stock.push(pair.1);
        }
    }
    let mut medians = Vec::new();
    for (name, connects) in [("smallrtc", ours), ("stock", stock)] {
        let (bot, both): (Vec<_>, Vec<_>) = connects.into_iter().unzip();
        let (bot, both) = (median(bot), median(both));
        println!(
            "{name:9} bot's side {:6.0} us, {:5.0} connects/s and core; both sides {:6.0} us",
            bot * 1e6,
            1.0 / bot,
            both * 1e6,
        );
        medians.push(bot);
    }
    println!("ratio     {:.2} (medians of {CONNECTS} connects)", medians[1] / medians[0]);
}
