//! The table of endings: wherever a call stands when its peer falls silent, `Closed` comes once,
//! within the bound that `CloseReason` gives, and nothing of the call is left in the endpoint.
//!
//! | where it stands | ends as | within |
//! | --- | --- | --- |
//! | answered, not a check has come | never connected | 15 s |
//! | checking, shaking hands (which the scripted wire does not) | never connected | 15 s after the last check |
//! | connected, with or without a channel, started or not, asked for a new offer, restarting ICE | lost | 20 s |
//! | disconnected | lost | 20 s from the beginning of the silence |
//! | back again | lost | 20 s |
//! | closing | closed by the application | 2 s |
//! | its place was taken | replaced | at once |

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{CloseReason, ConnectionState, Event, Message, Offer, TransportId};
use smallrtc_sim::{Kind, Setup, World, run};

/// The most that a check or a piece of sound may be younger than the silence: what was on its way.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

const SHAKING_HANDS: &str = "shaking hands";

struct Row {
    name: &'static str,
    /// Brings a call there and silences its browser.
    silence: fn(&mut World, usize),
    reason: CloseReason,
    within: Duration,
}

fn row(
    name: &'static str,
    reason: CloseReason,
    within_ms: u64,
    silence: fn(&mut World, usize),
) -> Row {
    Row { name, silence, reason, within: Duration::from_millis(within_ms) }
}

fn table() -> Vec<Row> {
    use CloseReason::{Application, Lost, NeverConnected, Replaced};
    vec![
        row("answered", NeverConnected, 15_000, vanish),
        row("checking", NeverConnected, 15_000, |world, number| after(world, number, 15)),
        row(SHAKING_HANDS, NeverConnected, 15_000, |world, number| after(world, number, 35)),
        row("connected", Lost, 20_000, |world, number| {
            connect(world, number);
            vanish(world, number);
        }),
        row("talking", Lost, 20_000, talking),
        row("asked for an offer", Lost, 20_000, asked),
        row("restarting", Lost, 20_000, restarting),
        row("disconnected", Lost, 15_000, disconnected),
        row("back again", Lost, 20_000, back_again),
        row("closing", Application, 2_000, |world, number| {
            connect(world, number);
            vanish(world, number);
            close(world, number);
        }),
        row("closing before it is connected", Application, 0, close),
        row("replaced", Replaced, 0, replaced),
    ]
}

fn vanish(world: &mut World, number: usize) {
    world.browser(number).vanish();
}

fn after(world: &mut World, number: usize, ms: u64) {
    world.drive_for(Duration::from_millis(ms));
    vanish(world, number);
}

fn state(world: &mut World, number: usize) -> ConnectionState {
    world.session(number).expect("the call is there").state()
}

fn reaches(world: &mut World, number: usize, wanted: ConnectionState) {
    for _ in 0..3_000 {
        if state(world, number) == wanted {
            return;
        }
        world.drive_for(Duration::from_millis(10));
    }
    panic!("the call is {} and never {wanted}", state(world, number));
}

fn connect(world: &mut World, number: usize) {
    reaches(world, number, ConnectionState::Connected);
    world.drive_for(Duration::from_secs(2));
}

fn talking(world: &mut World, number: usize) {
    connect(world, number);
    let now = world.now();
    let mut session = world.session(number).expect("the call goes on");
    for word in 0..200 {
        assert!(session.send_message(Message::text(format!("[{word}]")), now).is_ok());
    }
    drop(session);
    world.drive_for(Duration::from_millis(5));
    vanish(world, number);
}

fn asked(world: &mut World, number: usize) {
    connect(world, number);
    let now = world.now();
    world.session(number).expect("the call goes on").request_renegotiation(now);
    vanish(world, number);
}

fn restarting(world: &mut World, number: usize) {
    connect(world, number);
    let mut address = world.browser(number).address();
    address.set_port(41_000);
    world.restart(number, address).expect("a restart is answered");
    vanish(world, number);
}

/// The silence begins 5 s before this returns, so that 15 s are left.
fn disconnected(world: &mut World, number: usize) {
    connect(world, number);
    vanish(world, number);
    reaches(world, number, ConnectionState::Disconnected);
}

fn back_again(world: &mut World, number: usize) {
    connect(world, number);
    world.black_out(number, Duration::from_secs(8));
    reaches(world, number, ConnectionState::Disconnected);
    reaches(world, number, ConnectionState::Connected);
    vanish(world, number);
}

fn close(world: &mut World, number: usize) {
    let now = world.now();
    world.session(number).expect("the call goes on").close(now);
}

/// The new call is closed at once: the table asks what is left of both.
fn replaced(world: &mut World, number: usize) {
    connect(world, number);
    let now = world.now();
    let offer = world.browser(number).offer(now);
    let old = world.outcome(number).id.expect("it called");
    let offer = Offer::parse(&offer).expect("a browser's offer");
    vanish(world, number);
    let (new, _) = world.endpoint.replace(old, &offer, now).expect("there is room");
    world.endpoint.session(new).expect("it has just begun").close(now);
}

fn assert_ends(row: &Row, setup: Setup) {
    let name = row.name;
    if name == SHAKING_HANDS && setup.browser.kind == Kind::Scripted {
        return;
    }
    let mut world = World::new(setup);
    let number = world.add_browser(|_| {});
    let address = world.browser(number).address();
    let room_before = world.endpoint.room();
    world.call(number).expect("there is room");
    (row.silence)(&mut world, number);
    let silent_at = world.elapsed();
    world.drive_for(Duration::from_secs(120));

    let (ended_at, reason) = world.outcome(number).ended().expect("every call ends");
    assert_eq!(reason, row.reason, "{name}");
    let took = ended_at.saturating_sub(silent_at);
    assert!(took <= row.within + ON_ITS_WAY, "{name}: {took:?}");
    let events = &world.outcome(number).events;
    let ends = events.iter().filter(|(_, event)| matches!(event, Event::Closed { .. }));
    assert_eq!(ends.count(), 1, "{name}");
    assert!(matches!(events.last(), Some((_, Event::Closed { .. }))), "{name}: it is the last");

    assert!(world.endpoint.is_empty(), "{name}");
    assert_eq!(world.endpoint.poll_timeout(), None, "{name}: nothing is due");
    assert!(!world.endpoint.is_bound(TransportId(0), address), "{name}: its address is free");
    let (stats, room) = (world.endpoint.stats(), world.endpoint.room());
    assert_eq!(stats.sessions_closed, stats.sessions_accepted, "{name}");
    assert_eq!(room, room_before, "{name}: its place is free");
}

#[test]
fn wherever_a_call_stands_silence_ends_it_once_and_in_time() {
    run("wherever_a_call_stands_silence_ends_it_once_and_in_time", 2, |seed| {
        for row in table() {
            for kind in Kind::ALL {
                assert_ends(&row, Setup::new(kind, seed));
            }
        }
    });
}

#[test]
fn it_ends_as_well_when_the_application_never_started_it() {
    for row in table() {
        for kind in Kind::ALL {
            assert_ends(&row, Setup::new(kind, 1).held());
        }
    }
}

#[test]
fn it_ends_as_well_without_a_channel_and_without_sound() {
    for row in table().into_iter().filter(|row| row.name != "talking") {
        for kind in Kind::ALL {
            let setup = Setup::new(kind, 1).browser(|browser| {
                browser.channel = None;
                browser.chatters = false;
            });
            // Without a channel nothing can be said before the end.
            let within = if row.name == "closing" { Duration::ZERO } else { row.within };
            assert_ends(&Row { within, ..row }, setup);
            if row.name != "closing" {
                let setup = Setup::new(kind, 1).browser(|browser| browser.audio = false);
                assert_ends(&row, setup);
            }
        }
    }
}

#[test]
fn an_hour_of_a_muted_client_without_sound_at_five_percent_loss_is_never_disconnected() {
    for kind in Kind::ALL {
        let link = smallrtc_sim::LinkConfig { loss: 0.05, ..smallrtc_sim::LinkConfig::clean() };
        let setup = Setup::new(kind, 1).links(link).untraced().unrecorded();
        let setup = setup.browser(|browser| browser.chatters = false);
        let mut world = World::new(setup);
        let number = world.add_browser(|_| {});
        world.call(number).expect("there is room");
        connect(&mut world, number);
        world.drive_for(Duration::from_secs(3_600));
        let states = &world.outcome(number).events;
        let gone = Event::StateChanged(ConnectionState::Disconnected);
        assert!(states.iter().all(|(_, event)| *event != gone), "{kind:?}");
        assert_eq!(state(&mut world, number), ConnectionState::Connected, "{kind:?}");
    }
}
