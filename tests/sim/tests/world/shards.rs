//! Endpoints of several nodes and shards, alone and behind a balancer.

use smallrtc_sim::{Kind, LinkConfig, NatConfig, NatKind, Setup, World};

use crate::{
    assert_paced, assert_they_hear_each_other, connect, on_both_wires, pace, seconds, speech,
};

const PLACES: [(u16, u16); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

fn node(kind: Kind, seed: u64) -> Setup {
    Setup::new(kind, seed).places(&PLACES)
}

fn assert_own_words(world: &mut World, numbers: &[usize]) {
    for number in numbers {
        assert_they_hear_each_other(world, *number, &format!("[{number}]"), seconds(30));
    }
    for number in numbers {
        let messages = world.outcome(*number).messages();
        assert_eq!(messages.len(), 1, "browser {number} and no other: {messages:?}");
    }
}

#[test]
fn calls_are_shared_out_evenly_and_do_not_mix() {
    on_both_wires("calls_are_shared_out_evenly_and_do_not_mix", 2, |kind, seed| {
        let mut world = World::new(node(kind, seed).links(LinkConfig::bad()));
        let numbers = connect(&mut world, 12);
        for endpoint in 0..4 {
            assert_eq!(world.endpoint_at(endpoint).len(), 3);
            assert_eq!(world.endpoint_at(endpoint).stats().datagrams_not_mine, 0);
        }
        assert_own_words(&mut world, &numbers);
        world.trace
    });
}

#[test]
fn a_balancer_finds_the_endpoint_by_the_request_alone() {
    on_both_wires("a_balancer_finds_the_endpoint_by_the_request_alone", 2, |kind, seed| {
        let mut world = World::new(node(kind, seed).balanced());
        let numbers = connect(&mut world, 8);
        // Nine of twelve calls are not the first endpoint's, which sees every first request.
        assert!(world.endpoint.stats().datagrams_not_mine >= 6);
        assert_own_words(&mut world, &numbers);
        world.trace
    });
}

#[test]
fn a_balancer_finds_it_again_after_a_change_of_address() {
    on_both_wires("a_balancer_finds_it_again_after_a_change_of_address", 2, |kind, seed| {
        let setup = node(kind, seed).balanced().nat(NatConfig::new(NatKind::Symmetric));
        let mut world = World::new(setup);
        let numbers = connect(&mut world, 4);
        for number in &numbers {
            let now = world.now();
            world.browser(*number).speak(speech(), now);
            world.nat(*number).unwrap().rebind();
        }
        world.drive_for(seconds(22));
        let since = world.elapsed();
        world.drive_for(seconds(2));
        for number in &numbers {
            assert!(pace(&world, *number, since).1 >= 98, "{kind:?}: browser {number}");
        }
        assert_own_words(&mut world, &numbers);
        world.trace
    });
}

#[test]
fn a_shard_that_stops_for_three_seconds_slips_alone() {
    on_both_wires("a_shard_that_stops_for_three_seconds_slips_alone", 2, |kind, seed| {
        let mut world = World::new(node(kind, seed));
        let numbers = connect(&mut world, 8);
        world.drive_for(seconds(1));
        let since = world.elapsed();
        world.stall(2, seconds(3));
        world.drive_for(seconds(6));
        for number in &numbers {
            if world.outcome(*number).endpoint == 2 {
                let (pause, _) = pace(&world, *number, since);
                assert!(pause >= seconds(3), "{kind:?}: {pause:?}");
                assert_eq!(world.session(*number).unwrap().stats().audio_slips, 1);
            } else {
                assert_paced(&world, *number, since);
            }
        }
        assert_own_words(&mut world, &numbers);
        world.trace
    });
}
