//! How fast messages go: 16 KiB each, between a session and a model browser on one core, over links
//! without a limit.
//!
//! The engine may have so many bytes on their way that a long path is full, and what it does for
//! each packet costs more the more there are. So a session keeps a window in front, as wide as the
//! round trip asks for. The baseline is the engine without one, at its largest cap: what the
//! browser sends. Two questions:
//!
//! - At no round trip, where a wide window costs and gains nothing: megabytes for each second of
//!   CPU, both ends together. The goal is 100.
//! - At 50 ms, where a narrow one would starve the path: megabytes for each second of the call. The
//!   goal is 90 % of the baseline's.
//!
//! ```sh
//! cargo bench -p smallrtc-sim --bench messages
//! ```

use std::time::Duration;

use bytes::Bytes;
use cpu_time::ProcessTime;
use smallrtc::Message;
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup};

const MESSAGE_LEN: usize = 16 * 1024;

/// Rounds of both directions; the best counts, because what else a machine does only slows.
const ROUNDS: usize = 5;

/// What one round carries when CPU time is measured.
const ROUND_BYTES: usize = 32 * 1024 * 1024;

/// How long one round lasts when the call's time is measured.
const ROUND_TIME: Duration = Duration::from_secs(10);

const GOAL_MB_PER_CPU_S: f64 = 100.0;
const GOAL_SHARE: f64 = 0.9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// From the session, behind its window.
    Down,
    /// From the browser: the engine alone.
    Up,
}

struct Lane {
    pair: Pair,
    direction: Direction,
    message: Bytes,
    arrived: usize,
}

impl Lane {
    fn new(direction: Direction, delay: Duration) -> Lane {
        let link = LinkConfig { delay, ..LinkConfig::clean() };
        let setup = Setup::new(Kind::Real, 1).links(link).untraced().unrecorded().unchecked();
        let mut pair = Pair::new(setup.browser(|browser| browser.chatters = false));
        pair.connect();
        // A figure of the round trip is taken every second.
        pair.drive_for(Duration::from_secs(3));
        pair.forget();
        Lane { pair, direction, message: Bytes::from(vec![7; MESSAGE_LEN]), arrived: 0 }
    }

    /// Keeps the sender's queue full, and lets the next thing happen.
    fn step(&mut self) {
        match self.direction {
            Direction::Down => {
                let message = || Message::Binary(self.message.clone());
                while self.pair.send_message(message()).is_ok() {}
            }
            Direction::Up => {
                let now = self.pair.now();
                while self.pair.browser.send_binary(&self.message, now) {}
            }
        }
        self.pair.step().expect("a call always waits for something");
        self.arrived += match self.direction {
            Direction::Down => {
                let data = |event: &BrowserEvent| match event {
                    BrowserEvent::Message { data, .. } => data.len(),
                    _ => 0,
                };
                self.pair.browser_events().map(data).sum::<usize>()
            }
            Direction::Up => self.pair.messages().iter().map(|message| message.len()).sum(),
        };
        self.pair.forget();
    }

    fn mb_per_cpu_s(&mut self) -> f64 {
        let (start, end) = (ProcessTime::now(), self.arrived + ROUND_BYTES);
        let before = self.arrived;
        while self.arrived < end {
            self.step();
        }
        (self.arrived - before) as f64 / 1e6 / start.elapsed().as_secs_f64()
    }

    fn mb_per_call_s(&mut self) -> f64 {
        let (start, before) = (self.pair.elapsed(), self.arrived);
        while self.pair.elapsed() < start + ROUND_TIME {
            self.step();
        }
        let took = (self.pair.elapsed() - start).as_secs_f64();
        (self.arrived - before) as f64 / 1e6 / took
    }
}

fn best(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

fn compare(delay: Duration, measure: fn(&mut Lane) -> f64) -> (f64, f64) {
    let mut lanes = [Direction::Down, Direction::Up].map(|way| Lane::new(way, delay));
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (lane, figures) in lanes.iter_mut().zip(&mut figures) {
            figures.push(measure(lane));
        }
    }
    (best(&figures[0]), best(&figures[1]))
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

#[expect(clippy::print_stdout, reason = "printing figures is what this program is for")]
fn main() {
    let (ours, engine) = compare(Duration::ZERO, Lane::mb_per_cpu_s);
    println!("no round trip, MB for each second of CPU, both ends:");
    println!("  a session's window   {ours:8.1}   {:.2} of the engine's", ours / engine);
    println!("  the engine's cap     {engine:8.1}");
    println!("  goal {GOAL_MB_PER_CPU_S}: {}", verdict(ours >= GOAL_MB_PER_CPU_S));
    let (ours, engine) = compare(Duration::from_millis(25), Lane::mb_per_call_s);
    println!("a round trip of 50 ms, MB for each second of the call:");
    println!("  a session's window   {ours:8.2}   {:.3} of the engine's", ours / engine);
    println!("  the engine's cap     {engine:8.2}");
    println!("  goal {GOAL_SHARE} of it: {}", verdict(ours >= GOAL_SHARE * engine));
}
