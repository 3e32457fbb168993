//! Links that are gone for a while, one or all at once.

use std::time::Duration;

use smallrtc::{CloseReason, ConnectionState, Event, Message};
use smallrtc_sim::{Setup, World};

use crate::{
    assert_paced, assert_they_hear_each_other, connect, milliseconds, on_both_wires, seconds,
};

const DISCONNECTED: Event = Event::StateChanged(ConnectionState::Disconnected);

/// The bot says words while nobody can hear it, and the page hears them in order afterwards.
fn assert_words_outlast(world: &mut World, number: usize, duration: Duration) {
    world.black_out(number, duration);
    let words: Vec<_> = (0..20).map(|word| format!("word {word}")).collect();
    for word in &words {
        let now = world.now();
        let mut session = world.session(number).unwrap();
        assert!(session.send_message(Message::text(word), now).is_ok());
        drop(session);
        world.drive_for(duration / 20);
    }
    world.drive_until(seconds(30), "all words are heard", |world| {
        let heard = world.outcome(number).browser_messages();
        heard.iter().filter(|message| message.starts_with("word")).eq(&words)
    });
}

#[test]
fn a_black_out_shorter_than_the_liveness_time_is_told_nobody() {
    on_both_wires("a_black_out_shorter_than_the_liveness_time_is_told_nobody", 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let [dark, neighbour] = connect(&mut world, 2)[..] else { panic!("two calls") };
        world.drive_for(seconds(1));
        let since = world.elapsed();
        assert_words_outlast(&mut world, dark, seconds(1));
        world.drive_for(seconds(1));
        assert!(!world.outcome(dark).told(&DISCONNECTED));
        assert_paced(&world, neighbour, since);
        world.trace
    });
}

#[test]
fn a_black_out_of_all_links_disconnects_all_and_closes_none() {
    on_both_wires("a_black_out_of_all_links_disconnects_all_and_closes_none", 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let numbers = connect(&mut world, 5);
        world.drive_for(seconds(1));
        world.black_out_all(seconds(10));
        world.drive_for(seconds(9));
        for number in &numbers {
            assert!(world.outcome(*number).told(&DISCONNECTED), "{kind:?}");
        }
        world.drive_for(seconds(6));
        for number in numbers {
            assert_eq!(world.session(number).unwrap().state(), ConnectionState::Connected);
            assert_they_hear_each_other(&mut world, number, &format!("[{number}]"), seconds(20));
            assert_eq!(world.outcome(number).closed(), None);
        }
        world.trace
    });
}

#[test]
fn a_black_out_that_lasts_loses_that_call_alone() {
    on_both_wires("a_black_out_that_lasts_loses_that_call_alone", 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let [dark, neighbour] = connect(&mut world, 2)[..] else { panic!("two calls") };
        world.drive_for(seconds(1));
        let since = world.elapsed();
        world.black_out(dark, seconds(60));
        // 5 s of silence are a disconnection, and 15 s more the end.
        world.drive_for(seconds(21));
        assert_eq!(world.outcome(dark).closed(), Some(CloseReason::Lost), "{kind:?}");
        assert_eq!(world.outcome(neighbour).closed(), None);
        assert_eq!(world.endpoint.len(), 1);
        assert_paced(&world, neighbour, since);
        world.trace
    });
}

#[test]
fn one_direction_that_is_dark_for_long_ends_the_call_as_lost_too() {
    on_both_wires(
        "one_direction_that_is_dark_for_long_ends_the_call_as_lost_too",
        2,
        |kind, seed| {
            let mut world = World::new(Setup::new(kind, seed));
            let number = connect(&mut world, 1)[0];
            world.drive_for(seconds(1));
            let until = world.now() + seconds(60);
            world.links(number).0.black_out(until);
            world.drive_for(seconds(21) + milliseconds(500));
            assert_eq!(world.outcome(number).closed(), Some(CloseReason::Lost), "{kind:?}");
            assert!(world.endpoint.is_empty());
            world.trace
        },
    );
}
