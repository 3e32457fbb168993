//! Applications that read slowly, or not at all.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use smallrtc::{CloseReason, Endpoint, Event, Message, SessionId, TrackId};
use smallrtc_sim::{Bot, Setup, World};

use crate::{
    assert_paced, assert_they_hear_each_other, connect, milliseconds, on_both_wires, seconds,
    speech,
};

/// Messages that a session keeps for an application that does not read.
const INBOUND_MAX: usize = 1024;

/// The page says so many words, as fast as its channel takes them.
fn pour(world: &mut World, number: usize, words: std::ops::Range<usize>) {
    for word in words {
        let now = world.now();
        while !world.browser(number).send_text(&format!("{word}"), now) {
            world.drive_for(milliseconds(100));
        }
        if word % 50 == 0 {
            world.drive_for(milliseconds(50));
        }
    }
    world.drive_for(seconds(3));
}

#[test]
fn who_reads_twice_a_second_gets_every_message_in_order() {
    on_both_wires("who_reads_twice_a_second_gets_every_message_in_order", 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let number = connect(&mut world, 1)[0];
        world.read_every(number, Some(milliseconds(500)));
        pour(&mut world, number, 0..3_000);
        let words: Vec<_> = (0..3_000).map(|word| Message::text(format!("{word}"))).collect();
        assert!(world.outcome(number).messages().into_iter().eq(&words), "{kind:?}");
        let since = world.outcome(number).events.last().unwrap().0;
        world.read_every(number, None);
        assert_they_hear_each_other(&mut world, number, "awake", seconds(1));
        assert!(world.elapsed() > since);
        world.trace
    });
}

#[test]
fn who_never_reads_is_closed_as_too_slow_one_past_the_limit_and_nobody_else_is() {
    let name = "who_never_reads_is_closed_as_too_slow_one_past_the_limit_and_nobody_else_is";
    on_both_wires(name, 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let [asleep, neighbour] = connect(&mut world, 2)[..] else { panic!("two calls") };
        let since = world.elapsed();
        world.read_every(asleep, Some(seconds(3_600)));
        pour(&mut world, asleep, 0..INBOUND_MAX);
        assert_eq!(world.outcome(asleep).closed(), None, "{kind:?}: at the limit it lives");
        assert_eq!(world.outcome(asleep).messages().len(), 0);
        pour(&mut world, asleep, INBOUND_MAX..INBOUND_MAX + 1);
        world.drive_for(seconds(3));
        let closed = world.outcome(asleep).closed();
        assert_eq!(closed, Some(CloseReason::ApplicationTooSlow), "{kind:?}");
        assert_eq!(world.outcome(neighbour).closed(), None);
        assert_they_hear_each_other(&mut world, neighbour, "still here", seconds(1));
        assert_paced(&world, neighbour, since);
        world.trace
    });
}

#[test]
fn sound_that_nobody_reads_is_dropped_and_counted_and_closes_nothing() {
    on_both_wires(
        "sound_that_nobody_reads_is_dropped_and_counted_and_closes_nothing",
        2,
        |kind, seed| {
            let mut world = World::new(Setup::new(kind, seed));
            let number = connect(&mut world, 1)[0];
            let now = world.now();
            world.browser(number).speak(speech(), now);
            world.drive_for(seconds(30));
            let mut session = world.session(number).unwrap();
            let stats = session.stats();
            let track = session.tracks()[0].id;
            let (mut samples, mut kept) = ([0; 5_760], 0.0);
            while let Some(info) = session.recv_audio(track, &mut samples) {
                kept += info.samples as f64 / f64::from(info.rate);
            }
            drop(session);
            assert!(stats.audio_dropped_samples > 28 * 48_000, "{kind:?}");
            // A first look wakes it, and gives nothing: all of it is too old to be answered.
            assert_eq!(kept, 0.0, "{kind:?}");
            world.drive_for(seconds(1));
            let mut session = world.session(number).unwrap();
            while let Some(info) = session.recv_audio(track, &mut samples) {
                kept += info.samples as f64 / f64::from(info.rate);
            }
            drop(session);
            assert!((0.9..1.1).contains(&kept), "{kind:?}: {kept} s of one came");
            assert_they_hear_each_other(&mut world, number, "aloud", seconds(1));
            world.trace
        },
    );
}

/// Looks for sound once a second, whether it was told of any or not.
#[derive(Default)]
struct Sleepy {
    call: Option<(SessionId, TrackId)>,
    next: Option<Instant>,
    read: Rc<Cell<u64>>,
}

impl Bot<Endpoint> for Sleepy {
    fn on_event(&mut self, id: SessionId, event: Event, _: &mut Endpoint, now: Instant) {
        if let (Event::AudioReadable(track), None) = (event, self.call) {
            (self.call, self.next) = (Some((id, track)), Some(now + seconds(1)));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn handle_timeout(&mut self, core: &mut Endpoint, now: Instant) {
        self.next = Some(now + seconds(1));
        let (id, track) = self.call.unwrap();
        let (mut samples, mut session) = ([0; 5_760], core.session(id).unwrap());
        while let Some(block) = session.recv_audio(track, &mut samples) {
            self.read.set(self.read.get() + block.samples as u64);
        }
    }
}

#[test]
fn a_bot_that_reads_sound_once_a_second_loses_what_is_older_and_nothing_else() {
    let name = "a_bot_that_reads_sound_once_a_second_loses_what_is_older_and_nothing_else";
    on_both_wires(name, 2, |kind, seed| {
        let mut world = World::new(Setup::new(kind, seed));
        let bot = Sleepy::default();
        let total = Rc::clone(&bot.read);
        world.set_bot(bot);
        let number = connect(&mut world, 1)[0];
        let now = world.now();
        world.browser(number).speak(speech(), now);
        world.drive_for(seconds(20));
        // 20 s at 16 kHz; the last second may wait still.
        let (read, stats) = (total.get(), world.session(number).unwrap().stats());
        assert!(read >= 18 * 16_000, "{kind:?}: {read} samples were read");
        let known = read + stats.audio_dropped_samples;
        assert!((304_000..=320_320).contains(&known), "{kind:?}: {known} were read or dropped");
        assert_eq!(stats.audio_concealed_samples, 0);
        assert_eq!(world.outcome(number).closed(), None, "{kind:?}");
        assert_they_hear_each_other(&mut world, number, "aloud", seconds(1));
        world.trace
    });
}
