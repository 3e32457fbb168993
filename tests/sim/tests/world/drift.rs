//! A browser's clock that is not the bot's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smallrtc::{AudioFrame, Endpoint, Event, SendError, SessionId};
use smallrtc_sim::{Bot, Kind, Setup, World, repeat, run};

use crate::{assert_paced, assert_they_hear_each_other, connect, on_both_wires, seconds, speech};

/// What an echo saw.
#[derive(Debug, Default)]
struct Seen {
    /// Pieces that are on their way to the wire: 20 ms each.
    waiting: usize,
    most_waiting: usize,
    refused: u64,
    read: u64,
}

/// Says back what it hears, as it comes.
struct Echo(Rc<RefCell<Seen>>);

impl Bot<Endpoint> for Echo {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let mut seen = self.0.borrow_mut();
        if let Event::AudioFinished { .. } = event {
            seen.waiting -= 1;
        }
        let (Event::AudioReadable(track), Some(mut call)) = (event, core.session(id)) else {
            return;
        };
        let mut samples = [0; 5_760];
        while let Some(block) = call.recv_audio(track, &mut samples) {
            seen.read += block.samples as u64;
            match call.send_audio(AudioFrame::mono(&samples[..block.samples], block.rate), now) {
                Ok(_) => seen.waiting += 1,
                Err(SendError::QueueFull { .. }) => seen.refused += 1,
                Err(error) => panic!("{error}"),
            }
            seen.most_waiting = seen.most_waiting.max(seen.waiting);
        }
    }
}

fn echo_for(duration: Duration, setup: Setup) -> (World, Rc<RefCell<Seen>>) {
    let mut world = World::new(setup);
    let seen = Rc::new(RefCell::new(Seen::default()));
    world.set_bot(Echo(Rc::clone(&seen)));
    let number = connect(&mut world, 1)[0];
    let now = world.now();
    world.browser(number).speak(speech(), now);
    world.drive_for(duration);
    (world, seen)
}

/// A long call: without trace and log, which the shorter ones keep.
fn long(seed: u64, drift_ppm: i32) -> Setup {
    Setup::new(Kind::Scripted, seed).drift_ppm(drift_ppm).untraced().unrecorded()
}

#[test]
fn an_echo_of_a_fast_browser_waits_for_what_its_clock_gains_and_no_more() {
    let name = "an_echo_of_a_fast_browser_waits_for_what_its_clock_gains_and_no_more";
    run(name, 1, |seed| {
        // 200 ppm are 120 ms in ten minutes: six packets, and two that any call has on their way.
        let (mut world, seen) = echo_for(seconds(600), long(seed, 200));
        let most = seen.borrow().most_waiting;
        assert!((6..=9).contains(&most), "{most} pieces wait");
        assert_eq!(seen.borrow().refused, 0);
        assert_eq!(world.session(0).unwrap().stats().audio_dropped_samples, 0);
        assert_paced(&world, 0, seconds(2));
    });
}

#[test]
fn an_echo_of_a_slow_browser_has_silence_between_and_keeps_the_pace() {
    on_both_wires(
        "an_echo_of_a_slow_browser_has_silence_between_and_keeps_the_pace",
        1,
        |kind, seed| {
            let (mut world, seen) = echo_for(seconds(60), Setup::new(kind, seed).drift_ppm(-200));
            assert!(seen.borrow().most_waiting <= 4, "{seen:?}");
            assert_eq!(world.session(0).unwrap().stats().audio_slips, 0);
            assert_paced(&world, 0, seconds(2));
            assert_they_hear_each_other(&mut world, 0, "[0]", seconds(1));
            world.trace
        },
    );
}

#[test]
fn both_clocks_count_the_same_samples_in_all_but_what_they_drift() {
    run("both_clocks_count_the_same_samples_in_all_but_what_they_drift", 1, |seed| {
        let read = |drift_ppm| echo_for(seconds(500), long(seed, drift_ppm)).1.borrow().read;
        let [even, fast, slow] = [0, 200, -200].map(read);
        // 200 ppm of 500 s are 100 ms: five packets of 20 ms at 16 kHz.
        let packets = |more: u64, less: u64| (more - less) / 320;
        assert!((4..=6).contains(&packets(fast, even)), "{fast} and {even} samples");
        assert!((4..=6).contains(&packets(even, slow)), "{even} and {slow} samples");
    });
}

#[test]
fn a_clock_that_is_far_too_fast_fills_the_queue_to_its_limit_and_there_it_stays() {
    let name = "a_clock_that_is_far_too_fast_fills_the_queue_to_its_limit_and_there_it_stays";
    run(name, 1, |seed| {
        repeat(|| {
            // Half as fast again: the 60 s of the queue are full after two minutes.
            let setup = Setup::new(Kind::Scripted, seed).drift_ppm(500_000);
            let (mut world, seen) = echo_for(seconds(150), setup);
            let seen = seen.borrow();
            assert!((2_990..=3_002).contains(&seen.most_waiting), "{}", seen.most_waiting);
            assert!(seen.refused > 100);
            assert_eq!(world.session(0).unwrap().stats().audio_refused, seen.refused);
            assert_eq!(world.outcome(0).closed(), None);
            assert_paced(&world, 0, seconds(2));
            world.trace
        });
    });
}
