//! Routers between browsers and bots: addresses that change under way.

use std::net::Ipv4Addr;
use std::time::Duration;

use smallrtc::{ConnectionState, Event, Message};
use smallrtc_sim::{Kind, LinkConfig, NatConfig, NatKind, Setup, Trace, World};

use crate::{
    assert_paced, assert_they_hear_each_other, connect, milliseconds, on_both_wires, pace, seconds,
    speech,
};

/// How long after a browser's address has changed, without an ICE restart, its bot speaks to the
/// new one. The browser's next check comes within 5 s and binds the address, so the bot hears from
/// then on. The engine goes on speaking to the old address until it gives that pair up: it
/// compares priorities, and the new pair has the same (`is`, `evaluate_nomination`).
fn speaks_again_within(kind: Kind) -> Duration {
    match kind {
        Kind::Real => seconds(22),
        _ => seconds(6),
    }
}

/// How long after it the bot does not hear its browser: until the next check, which browsers send
/// every 5 s at the latest, has bound the new address.
const HEARS_AGAIN_WITHIN: Duration = Duration::from_secs(6);

fn received(world: &mut World, number: usize) -> u64 {
    world.session(number).unwrap().stats().audio_packets_received
}

fn behind(kind: Kind, seed: u64, router: NatKind) -> World {
    World::new(Setup::new(kind, seed).nat(NatConfig::new(router)))
}

#[test]
fn calls_behind_routers_connect_and_come_from_the_router_alone() {
    on_both_wires(
        "calls_behind_routers_connect_and_come_from_the_router_alone",
        2,
        |kind, seed| {
            let mut trace = Trace::default();
            for router in NatKind::ALL {
                let mut world = behind(kind, seed, router);
                for number in connect(&mut world, 3) {
                    assert_they_hear_each_other(
                        &mut world,
                        number,
                        &format!("[{number}]"),
                        seconds(2),
                    );
                    assert_eq!(world.nat(number).unwrap().made(), 1, "{kind:?}, {router:?}");
                }
                let is_inside =
                    |line: &&String| line.contains(" 10.7.") && line.contains("> 192.0.2.1");
                assert_eq!(world.trace.lines().iter().find(is_inside), None);
                trace = world.trace;
            }
            trace
        },
    );
}

/// What a call survives that has spoken for a second when its addresses change.
fn moves_under_way(kind: Kind, seed: u64, router: NatKind, to: Option<Ipv4Addr>) -> World {
    let mut world = behind(kind, seed, router);
    let [mover, neighbour] = connect(&mut world, 2)[..] else { panic!("two calls") };
    let now = world.now();
    world.browser(mover).speak(speech(), now);
    world.drive_for(seconds(1));
    let (moved_at, made) = (world.elapsed(), world.nat(mover).unwrap().made());
    match to {
        Some(ip) => world.nat(mover).unwrap().move_to(ip),
        None => world.nat(mover).unwrap().rebind(),
    }
    // Packets that were on their way when the router forgot still arrive.
    world.drive_for(milliseconds(50));
    let before = received(&mut world, mover);
    world.drive_until(HEARS_AGAIN_WITHIN, "the bot hears its browser again", |world| {
        received(world, mover) > before
    });
    assert!(world.nat(mover).unwrap().made() > made);
    world.drive_for(speaks_again_within(kind) - (world.elapsed() - moved_at));
    let back = world.elapsed();
    world.drive_for(seconds(2));
    let (pause, frames) = pace(&world, mover, back);
    assert!(frames >= 98 && pause <= milliseconds(40), "{frames} frames, pauses of {pause:?}");
    assert_they_hear_each_other(&mut world, mover, "again", seconds(2));
    let disconnected = Event::StateChanged(ConnectionState::Disconnected);
    assert!(!world.outcome(mover).told(&disconnected), "its checks were heard all along");
    assert_eq!(world.outcome(mover).closed(), None);
    let lost = world.nat(mover).unwrap().lost();
    assert!(lost > 0, "what went to the old address is lost");
    assert_paced(&world, neighbour, moved_at);
    world
}

#[test]
fn a_call_survives_a_router_that_forgets_and_its_neighbour_keeps_the_pace() {
    let name = "a_call_survives_a_router_that_forgets_and_its_neighbour_keeps_the_pace";
    on_both_wires(name, 2, |kind, seed| {
        for router in NatKind::ALL {
            let world = moves_under_way(kind, seed, router, None);
            assert_eq!(world.endpoint.stats().requests_forged, 0);
        }
        moves_under_way(kind, seed, NatKind::Symmetric, None).trace
    });
}

#[test]
fn a_call_survives_a_change_of_network() {
    on_both_wires("a_call_survives_a_change_of_network", 2, |kind, seed| {
        moves_under_way(kind, seed, NatKind::Cone, Some(Ipv4Addr::new(100, 65, 9, 9))).trace
    });
}

#[test]
fn mappings_that_expire_between_two_checks_cost_addresses_and_no_call() {
    let name = "mappings_that_expire_between_two_checks_cost_addresses_and_no_call";
    on_both_wires(name, 2, |kind, seed| {
        let forgetful = NatConfig { lifetime: seconds(1), ..NatConfig::new(NatKind::Symmetric) };
        let setup = Setup::new(kind, seed).nat(forgetful).browser(|browser| {
            browser.chatters = false;
        });
        let mut world = World::new(setup);
        let number = connect(&mut world, 1)[0];
        world.drive_for(seconds(50));
        assert_eq!(world.outcome(number).closed(), None, "{kind:?}");
        assert!(world.nat(number).unwrap().made() > 8, "most checks have a new address");
        let evicted = world.endpoint.stats().addresses_evicted;
        assert_eq!(evicted > 0, world.nat(number).unwrap().made() > 16, "{evicted}");
        let now = world.now();
        assert!(world.browser(number).send_text("still here", now));
        world.drive_for(seconds(20));
        assert_eq!(world.outcome(number).messages(), [&Message::text("still here")]);
        world.trace
    });
}

#[test]
fn a_router_that_forgets_every_second_never_closes_the_call() {
    let name = "a_router_that_forgets_every_second_never_closes_the_call";
    on_both_wires(name, 2, |kind, seed| {
        let mut world = behind(kind, seed, NatKind::Cone);
        let number = connect(&mut world, 1)[0];
        let now = world.now();
        world.browser(number).speak(speech(), now);
        for _ in 0..40 {
            world.nat(number).unwrap().rebind();
            world.drive_for(seconds(1));
        }
        assert_eq!(world.outcome(number).closed(), None, "{kind:?}");
        world.drive_for(speaks_again_within(kind));
        assert_they_hear_each_other(&mut world, number, "at last", seconds(60));
        world.trace
    });
}

#[test]
fn an_ice_restart_from_another_address_works_through_a_router() {
    let name = "an_ice_restart_from_another_address_works_through_a_router";
    on_both_wires(name, 2, |kind, seed| {
        let mut world = behind(kind, seed, NatKind::Symmetric);
        let number = connect(&mut world, 1)[0];
        world.restart(number, "10.200.0.1:6000".parse().unwrap()).unwrap();
        world.drive_for(seconds(5));
        assert_they_hear_each_other(&mut world, number, "elsewhere", seconds(2));
        let disconnected = Event::StateChanged(ConnectionState::Disconnected);
        assert!(!world.outcome(number).told(&disconnected));
        world.trace
    });
}

#[test]
fn bad_links_and_a_router_that_forgets_lose_no_message() {
    on_both_wires("bad_links_and_a_router_that_forgets_lose_no_message", 2, |kind, seed| {
        let setup =
            Setup::new(kind, seed).nat(NatConfig::new(NatKind::Cone)).links(LinkConfig::bad());
        let mut world = World::new(setup);
        let number = connect(&mut world, 1)[0];
        for word in 0..3 {
            world.nat(number).unwrap().rebind();
            assert_they_hear_each_other(&mut world, number, &format!("{word}"), seconds(60));
        }
        world.trace
    });
}
