//! Many calls at once: behind routers, through black-outs, with clocks that drift, drivers that
//! sleep and applications that read slowly, at every limit. Each scenario runs twice with equal
//! traces, and the log of each of its calls replays identical.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{ConnectionState, Event, Message};
use smallrtc_sim::{BrowserEvent, Kind, Trace, World, null_packet, repeat, run};

mod black_outs;
mod bots;
mod calls;
mod consumers;
mod drift;
mod drivers;
mod limits;
mod routers;
mod shards;
mod storms;

/// How long a channel may take to open over a bad link: a browser whose first packet of SCTP, or
/// the answer to it, is lost says it again after 6, 18 and 42 s.
const CONNECT_LIMIT: Duration = Duration::from_secs(60);

/// What browsers say in these tests: 20 ms of the null codec.
fn speech() -> Vec<u8> {
    null_packet(&[700, 700])
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Runs a scenario on both wires, with some seeds, and each of those twice.
fn on_both_wires(name: &str, wanted: u64, scenario: impl Fn(Kind, u64) -> Trace) {
    run(name, wanted, |seed| {
        for kind in Kind::ALL {
            repeat(|| scenario(kind, seed));
        }
    });
}

/// Adds browsers, lets all of them call, and waits until all are connected with a channel.
fn connect(world: &mut World, count: usize) -> Vec<usize> {
    let numbers: Vec<_> = (0..count).map(|_| world.add_browser(|_| {})).collect();
    for number in &numbers {
        world.call(*number).unwrap();
    }
    world.drive_until(CONNECT_LIMIT, "all are connected", |world| {
        numbers.iter().all(|number| is_open(world, *number))
    });
    numbers
}

fn is_open(world: &World, number: usize) -> bool {
    let outcome = world.outcome(number);
    let is_open = |event: &Event| matches!(event, Event::ChannelOpened { .. });
    outcome.page_told(&BrowserEvent::ChannelOpen)
        && outcome.told(&Event::StateChanged(ConnectionState::Connected))
        && outcome.events.iter().any(|(_, event)| is_open(event))
}

/// Both sides say a word, and both hear it within a while.
fn assert_they_hear_each_other(world: &mut World, number: usize, word: &str, within: Duration) {
    let now = world.now();
    assert!(world.browser(number).send_text(&format!("page {word}"), now));
    let message = Message::text(format!("bot {word}"));
    let mut session = world.session(number).expect("the call goes on");
    assert!(session.send_message(message, now).is_ok());
    drop(session);
    let (page, bot) = (Message::text(format!("page {word}")), format!("bot {word}"));
    world.drive_until(within, &format!("browser {number} and its bot say {word}"), |world| {
        let outcome = world.outcome(number);
        outcome.messages().contains(&&page) && outcome.browser_messages().contains(&bot)
    });
}

/// When sound reached a page after `since`: the longest pause, and how many frames.
fn pace(world: &World, number: usize, since: Duration) -> (Duration, usize) {
    let heard: Vec<_> =
        world.outcome(number).heard().into_iter().filter(|(at, _)| *at >= since).collect();
    let pause = heard.windows(2).map(|pair| pair[1].0 - pair[0].0).max();
    (pause.expect("two frames"), heard.len())
}

/// Sound reached the page every 20 ms since then, to the nanosecond: for links that only delay.
fn assert_paced(world: &World, number: usize, since: Duration) {
    let heard = world.outcome(number).heard();
    let heard: Vec<_> = heard.into_iter().filter(|(at, _)| *at >= since).collect();
    assert!(heard.len() > 20, "{} frames", heard.len());
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, milliseconds(20), "browser {number}");
        assert_eq!(pair[1].1 - pair[0].1, 960, "browser {number}");
    }
}
