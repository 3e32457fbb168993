//! The same inputs are the same outputs, under every driver.

use std::time::Duration;

use smallrtc::AudioIdle;
use smallrtc_sim::{Kind, LinkConfig, Setup};

use super::{milliseconds, null_packet, seconds, setup_of};
use crate::{Bare, Bot, Command, Subject, Told, World, speech};

const CALLS: usize = 4;

/// What came meanwhile is less than the budget of one turn. With more, an application of tasks
/// answers the first of it after the second was taken, and one of callbacks before: at the same
/// instant, in another order.
const STALL: Duration = Duration::from_millis(400);

/// With the same seed and the same browsers a driver sends, datagram by datagram, what a bare loop
/// over the endpoint sends: time, direction, kind, length and addresses of each, in their order.
pub fn it_sends_what_a_bare_loop_sends<S: Subject>() {
    for bot in [Bot::Silent, Bot::Echo, Bot::Talker] {
        for links in [LinkConfig::clean(), LinkConfig::bad()] {
            let setup = setup_of(Kind::Scripted, 11).links(links);
            compare(&scenario::<S>(setup.clone(), bot), &scenario::<Bare>(setup, bot), bot);
        }
    }
}

/// The same with DTLS, SRTP and SCTP.
pub fn it_sends_what_a_bare_loop_sends_with_the_real_engine<S: Subject>() {
    for bot in [Bot::Echo, Bot::Talker] {
        let setup = setup_of(Kind::Real, 12).links(LinkConfig::bad());
        compare(&scenario::<S>(setup.clone(), bot), &scenario::<Bare>(setup, bot), bot);
    }
}

/// Twice the same driver.
pub fn two_runs_of_one_seed_are_one_run<S: Subject>() {
    for bot in [Bot::Echo, Bot::Talker] {
        let setup = || setup_of(Kind::Scripted, 13).links(LinkConfig::bad());
        compare(&scenario::<S>(setup(), bot), &scenario::<S>(setup(), bot), bot);
    }
}

fn compare<A: Subject, B: Subject>(one: &World<A>, other: &World<B>, bot: Bot) {
    for number in 0..CALLS {
        let lines = one.trace(number).lines().len();
        assert!(lines > 300, "{lines} datagrams are no run");
        if let Some(difference) = one.trace(number).difference(other.trace(number)) {
            panic!("{bot:?}, call {number}, {difference}");
        }
        assert_eq!(events(one, number), events(other, number), "{bot:?}, call {number}");
    }
}

/// What was told, with times, without the sound: in how many blocks it is pulled is the driver's.
fn events<S: Subject>(world: &World<S>, number: usize) -> Vec<String> {
    let told = world.timed_told(number).iter();
    let others = told.filter(|(_, told)| !matches!(told, Told::Audio { .. }));
    others.map(|(at, told)| format!("{at:?} {told:?}")).collect()
}

/// A run in which everything happens: pages come one after another, speak, write, are cleared and
/// closed; the driver is late once.
fn scenario<S: Subject>(mut setup: Setup, bot: Bot) -> World<S> {
    setup.traces = true;
    // The echo of sound that comes in a pause would leave at once, as that of a message does, and
    // which is first is the application's.
    let idle = if bot == Bot::Echo { AudioIdle::Silence } else { AudioIdle::Dtx };
    let setup = setup.config(|config| config.audio_idle(idle));
    let mut world = World::<S>::new(setup, bot);
    for number in 0..CALLS {
        world.add_browser();
        world.call(number);
        world.drive_for(milliseconds(470));
    }
    world.drive_for(seconds(3));
    for packet in 0..300_u64 {
        for number in 0..CALLS {
            let now = world.now();
            let _ = world.browser(number).send_media(0, packet * 960, &null_packet([1, 2]), now);
            if packet % 9 == number as u64 {
                let now = world.now();
                let _ = world.browser(number).send_text(&format!("text {packet}"), now);
            }
            world.touched(number);
        }
        match packet {
            50 => drop(world.command(0, Command::Audio(speech(1..150)))),
            70 => drop(world.command(0, Command::Pause)),
            90 => drop(world.command(0, Command::Resume)),
            100 => drop(world.command(0, Command::Clear)),
            150 => world.stall(STALL),
            _ => {}
        }
        world.drive_for(milliseconds(20));
    }
    let now = world.now();
    world.browser(1).hang_up(now);
    world.touched(1);
    world.drive_for(milliseconds(500));
    let ticket = world.close();
    world.orders_may_wait = true;
    world.drive_for(seconds(5));
    assert!(world.has_ended(ticket));
    world
}
