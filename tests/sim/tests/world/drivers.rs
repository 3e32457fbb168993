//! Drivers that wake late, too often, or with a burst of timeouts.

use std::time::Duration;

use smallrtc::AudioFrame;
use smallrtc_sim::{BrowserEvent, DriverConfig, Kind, LinkConfig, Setup, Trace, World};

use crate::{assert_they_hear_each_other, connect, milliseconds, on_both_wires, seconds, speech};

/// Two calls that talk for a while.
fn talk(kind: Kind, seed: u64, link: LinkConfig, driver: DriverConfig) -> Trace {
    let mut world = World::new(Setup::new(kind, seed).links(link).driver(driver));
    let numbers = connect(&mut world, 2);
    for number in numbers {
        let now = world.now();
        world.browser(number).speak(speech(), now);
        assert_they_hear_each_other(&mut world, number, &format!("[{number}]"), seconds(10));
    }
    world.drive_for(seconds(10));
    world.trace
}

#[test]
fn bursts_of_timeouts_change_not_a_single_datagram() {
    on_both_wires("bursts_of_timeouts_change_not_a_single_datagram", 3, |kind, seed| {
        let burst = DriverConfig { burst: 20, ..DriverConfig::punctual() };
        let punctual = talk(kind, seed, LinkConfig::bad(), DriverConfig::punctual());
        let trace = talk(kind, seed, LinkConfig::bad(), burst);
        assert_eq!(punctual.difference(&trace), None, "{kind:?}");
        trace
    });
}

#[test]
fn wake_ups_for_nothing_change_not_a_single_datagram() {
    on_both_wires("wake_ups_for_nothing_change_not_a_single_datagram", 3, |kind, seed| {
        let restless = DriverConfig { spurious: Some(milliseconds(7)), ..DriverConfig::punctual() };
        let punctual = talk(kind, seed, LinkConfig::bad(), DriverConfig::punctual());
        let trace = talk(kind, seed, LinkConfig::bad(), restless);
        assert_eq!(punctual.difference(&trace), None, "{kind:?}");
        trace
    });
}

/// Words of 10 ms each, from 1 on, that a page heard, and when packets reached it.
fn heard(world: &World, number: usize) -> (Vec<i16>, Vec<Duration>) {
    let (mut words, mut times) = (Vec::new(), Vec::new());
    for (at, event) in &world.outcome(number).browser_events {
        let BrowserEvent::Media { line: 0, data, .. } = event else { continue };
        times.push(*at);
        let pairs = data[7..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        words.extend(pairs.filter(|word| *word != 0));
    }
    (words, times)
}

/// Lets three bots speak 500 words with a driver that is late, and gives the world.
fn speak_late(kind: Kind, seed: u64, late: Duration) -> World {
    let driver = DriverConfig { late, ..DriverConfig::sloppy() };
    let mut world = World::new(Setup::new(kind, seed).driver(driver));
    let numbers = connect(&mut world, 3);
    let words: Vec<i16> = (1..=500).flat_map(|word| [word; 160]).collect();
    let (began, now) = (world.elapsed(), world.now());
    for number in &numbers {
        let mut session = world.session(*number).unwrap();
        session.send_audio(AudioFrame::mono(&words, 16_000), now).unwrap();
    }
    world.drive_for(seconds(10) + milliseconds(500));
    // What slipped is said later.
    let slipped = numbers.iter().map(|number| {
        world.endpoint.session(world.outcome(*number).id.unwrap()).unwrap().stats().audio_slipped
    });
    let slipped = slipped.max().unwrap();
    world.drive_for(slipped);
    let points = (world.elapsed() - began).as_millis() / 20 + 2;
    for number in numbers {
        let (words, times) = heard(&world, number);
        assert_eq!(words, (1..=500).collect::<Vec<i16>>(), "{kind:?}: no word is lost");
        let times: Vec<_> = times.into_iter().filter(|at| *at >= began).collect();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{kind:?}: a burst");
        assert!(times.len() as u128 <= points, "{} in {points} points", times.len());
    }
    world
}

#[test]
fn a_driver_that_is_late_by_less_than_a_packet_keeps_the_grid() {
    on_both_wires("a_driver_that_is_late_by_less_than_a_packet_keeps_the_grid", 3, |kind, seed| {
        let mut world = speak_late(kind, seed, milliseconds(15));
        for number in 0..3 {
            assert_eq!(world.session(number).unwrap().stats().audio_slips, 0, "{kind:?}");
        }
        world.trace
    });
}

#[test]
fn a_driver_that_is_late_by_many_packets_slips_and_never_bursts() {
    on_both_wires(
        "a_driver_that_is_late_by_many_packets_slips_and_never_bursts",
        3,
        |kind, seed| {
            let mut world = speak_late(kind, seed, milliseconds(150));
            for number in 0..3 {
                let stats = world.session(number).unwrap().stats();
                assert!(stats.audio_slips > 10, "{kind:?}: {} slips", stats.audio_slips);
            }
            world.trace
        },
    );
}

#[test]
fn a_sloppy_driver_and_bad_links_still_make_a_call() {
    on_both_wires("a_sloppy_driver_and_bad_links_still_make_a_call", 3, |kind, seed| {
        talk(kind, seed, LinkConfig::bad(), DriverConfig::sloppy())
    });
}

#[test]
fn a_pair_has_a_sloppy_driver_as_well() {
    use smallrtc_sim::Pair;
    on_both_wires("a_pair_has_a_sloppy_driver_as_well", 3, |kind, seed| {
        let mut pair = Pair::new(Setup::new(kind, seed).driver(DriverConfig::sloppy()));
        pair.connect();
        pair.say("late but here");
        pair.drive_for(seconds(1));
        assert!(pair.browser_messages().contains(&"late but here".to_owned()));
        pair.trace.clone()
    });
}
