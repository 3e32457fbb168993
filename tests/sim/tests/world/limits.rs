//! Full queues: what is over a limit is refused and counted, and only there.

use smallrtc::{AudioFrame, Message, NegotiateError, SendError};
use smallrtc_sim::{Kind, Setup, World};

use crate::{
    assert_paced, assert_they_hear_each_other, connect, milliseconds, on_both_wires, seconds,
    speech,
};

#[test]
fn a_full_endpoint_refuses_and_counts_the_next_caller_until_one_leaves() {
    on_both_wires(
        "a_full_endpoint_refuses_and_counts_the_next_caller_until_one_leaves",
        2,
        |kind, seed| {
            let mut world =
                World::new(Setup::new(kind, seed).config(|config| config.max_sessions(4)));
            let numbers = connect(&mut world, 4);
            let since = world.elapsed();
            for count in 1..=3 {
                let late = world.add_browser(|_| {});
                assert_eq!(world.call(late).unwrap_err(), NegotiateError::Full { limit: 4 });
                assert_eq!(world.endpoint.stats().sessions_refused, count);
                world.drive_for(seconds(1));
            }
            for number in &numbers {
                assert_paced(&world, *number, since);
            }
            let now = world.now();
            world.browser(numbers[0]).hang_up(now);
            world.drive_for(seconds(1));
            connect(&mut world, 1);
            assert_eq!(world.endpoint.stats().sessions_refused, 3);
            world.trace
        },
    );
}

#[test]
fn fifty_messages_wait_for_the_channel_and_one_more_is_refused_to_that_call_alone() {
    let name = "fifty_messages_wait_for_the_channel_and_one_more_is_refused_to_that_call_alone";
    on_both_wires(name, 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let numbers = [world.add_browser(|_| {}), world.add_browser(|_| {})];
        for number in numbers {
            world.call(number).unwrap();
        }
        let now = world.now();
        let mut session = world.session(numbers[0]).unwrap();
        for word in 0..50 {
            assert!(session.send_message(Message::text(format!("{word}")), now).is_ok());
        }
        let refused = session.send_message(Message::text("50"), now).unwrap_err();
        assert_eq!(refused, SendError::QueueFull { limit: 50, wait: None });
        assert_eq!(session.stats().messages_refused, 1);
        drop(session);
        let mut other = world.session(numbers[1]).unwrap();
        assert!(other.send_message(Message::text("other"), now).is_ok());
        drop(other);
        world.drive_for(seconds(5));
        let words: Vec<_> = (0..50).map(|word| format!("{word}")).collect();
        assert!(world.outcome(numbers[0]).browser_messages().ends_with(&words), "{kind:?}");
        assert!(world.outcome(numbers[1]).browser_messages().contains(&"other".to_owned()));
        world.trace
    });
}

#[test]
fn a_minute_of_sound_is_taken_and_more_is_refused_with_the_time_until_there_is_room() {
    let name = "a_minute_of_sound_is_taken_and_more_is_refused_with_the_time_until_there_is_room";
    on_both_wires(name, 1, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let [full, neighbour] = connect(&mut world, 2)[..] else { panic!("two calls") };
        let (since, now) = (world.elapsed(), world.now());
        let second = [1; 16_000];
        let mut session = world.session(full).unwrap();
        for _ in 0..60 {
            session.send_audio(AudioFrame::mono(&second, 16_000), now).unwrap();
        }
        let refused = session.send_audio(AudioFrame::mono(&second, 16_000), now).unwrap_err();
        let SendError::QueueFull { wait: Some(wait), .. } = refused else { panic!("{refused}") };
        assert_eq!(session.stats().audio_refused, 1);
        drop(session);
        assert!(wait <= seconds(1) + milliseconds(20), "{kind:?}: {wait:?}");
        world.drive_for(wait);
        let now = world.now();
        let mut session = world.session(full).unwrap();
        session.send_audio(AudioFrame::mono(&second, 16_000), now).unwrap();
        drop(session);
        world.drive_for(seconds(3));
        assert_paced(&world, full, since);
        assert_paced(&world, neighbour, since);
        world.trace
    });
}

#[test]
fn a_socket_that_overflows_while_its_driver_sleeps_loses_sound_and_no_message() {
    let name = "a_socket_that_overflows_while_its_driver_sleeps_loses_sound_and_no_message";
    on_both_wires(name, 1, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let numbers = connect(&mut world, 30);
        for number in &numbers {
            let now = world.now();
            world.browser(*number).speak(speech(), now);
        }
        world.stall(0, seconds(4));
        world.drive_for(seconds(1));
        for number in &numbers {
            let now = world.now();
            assert!(world.browser(*number).send_text("are you there", now));
        }
        world.drive_for(seconds(10));
        assert!(world.socket_lost(0) > 0);
        for number in numbers {
            let outcome = world.outcome(number);
            assert_eq!(outcome.messages(), [&Message::text("are you there")], "{kind:?}");
            assert_eq!(outcome.closed(), None);
            assert_they_hear_each_other(&mut world, number, &format!("[{number}]"), seconds(2));
        }
        world.trace
    });
}

fn places(count: u16) -> Vec<(u16, u16)> {
    (0..count).map(|node| (node, 0)).collect()
}

#[test]
fn a_world_has_two_hundred_endpoints() {
    let setup = Setup::new(Kind::Scripted, 1).places(&places(200));
    let mut world = World::new(setup);
    let number = world.add_browser(|_| {});
    world.call_at(number, 199).unwrap();
    world.drive_for(seconds(1));
    assert_they_hear_each_other(&mut world, number, "from afar", seconds(1));
}

#[test]
#[should_panic(expected = "places: 201 of at most 200")]
fn a_world_has_no_endpoint_more() {
    let _ = World::new(Setup::new(Kind::Scripted, 1).places(&places(201)));
}
