//! A browser's clock that is not the bot's.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallrtc::media::{DriftCorrector, DropPolicy, Relay, SubscriberId};
use smallrtc::{AudioFrame, AudioId, Endpoint, Event, SendError, SessionGuard, SessionId, TrackId};
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

/// Says back what it hears, or to the other call of two what it hears of this one, at our clock.
struct Corrected {
    calls: Vec<Corrector>,
    /// Two calls hear each other through relays; one hears itself.
    relays: Vec<Relay<Arc<[i16]>>>,
    seen: Rc<RefCell<Vec<Level>>>,
}

/// One direction of sound.
struct Corrector {
    id: SessionId,
    drift: DriftCorrector,
    subscriber: SubscriberId,
    /// What the queue holds: ids and samples.
    queued: VecDeque<(AudioId, u64)>,
    has_begun: bool,
}

/// How much sound waited for one call, in samples, when more came: the means of a minute each, from
/// the tenth second on.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    spans: u64,
    first: u64,
    last: u64,
    least: u64,
    most: u64,
    begun: Option<Instant>,
    sum: u64,
    count: u64,
}

/// What a mean is of: the phase of blocks to packets drifts by more than one of them meanwhile, or
/// hardly at all.
const SPAN: Duration = Duration::from_secs(60);

impl Level {
    fn see(&mut self, waits: u64, now: Instant) {
        let begun = *self.begun.get_or_insert(now + seconds(10));
        if now < begun {
            return;
        }
        if now - begun > SPAN {
            let mean = self.sum / self.count.max(1);
            self.first = if self.spans == 0 { mean } else { self.first };
            self.least = if self.spans == 0 { mean } else { self.least.min(mean) };
            (self.last, self.most) = (mean, self.most.max(mean));
            (self.spans, self.sum, self.count) = (self.spans + 1, 0, 0);
            self.begun = Some(begun + SPAN);
        }
        (self.sum, self.count) = (self.sum + waits, self.count + 1);
    }
}

impl Corrected {
    fn hear(
        &mut self,
        at: usize,
        id: SessionId,
        track: TrackId,
        core: &mut Endpoint,
        now: Instant,
    ) {
        let Some(mut call) = core.session(id) else { return };
        let mut samples = [0; 5_760];
        let mut blocks = Vec::new();
        while let Some(block) = call.recv_audio(track, &mut samples) {
            let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
            let said = self.calls[at].drift.correct(heard, block.time, now);
            blocks.push((Arc::<[i16]>::from(said.samples), said.rate));
        }
        drop(call);
        for (block, rate) in blocks {
            self.relays[at].publish(block);
            self.say(at, rate, core, now);
        }
    }

    /// Says what one call has heard to whom it is for.
    fn say(&mut self, from: usize, rate: u32, core: &mut Endpoint, now: Instant) {
        let to = (from + 1) % self.calls.len();
        let listener = &mut self.calls[to];
        let Some(mut call) = core.session(listener.id) else { return };
        while let Some(block) = self.relays[from].pull(listener.subscriber) {
            if !std::mem::replace(&mut listener.has_begun, true) {
                let lead = vec![0; rate as usize / 20];
                let id =
                    call.send_audio(AudioFrame::mono(&lead, rate), now).expect("an empty queue");
                listener.queued.push_back((id, lead.len() as u64));
            }
            let waits = listener.waits(&mut call);
            self.seen.borrow_mut()[to].see(waits, now);
            let id = call.send_audio(AudioFrame::mono(&block, rate), now).expect("a short queue");
            listener.queued.push_back((id, block.len() as u64));
        }
    }
}

impl Corrector {
    /// How many samples wait.
    fn waits(&mut self, call: &mut SessionGuard<'_>) -> u64 {
        let sent =
            |call: &mut SessionGuard<'_>, id| call.audio_progress(id).map_or(0, |it| it.sent);
        while let Some((id, len)) = self.queued.front().copied() {
            if sent(call, id) < len {
                break;
            }
            self.queued.pop_front();
        }
        let Some((first, _)) = self.queued.front().copied() else { return 0 };
        self.queued.iter().map(|(_, len)| len).sum::<u64>() - sent(call, first)
    }
}

impl Bot<Endpoint> for Corrected {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let known = self.calls.iter().position(|call| call.id == id);
        let at = known.unwrap_or_else(|| {
            let mut relay = Relay::new();
            let subscribed = |relay: &mut Relay<_>| {
                relay.subscribe(50, DropPolicy::Oldest).expect("nobody listens yet")
            };
            // Each listens to the one before it, the first to the last.
            let subscriber = match self.relays.last_mut() {
                Some(before) => {
                    let own = self.calls[0].subscriber;
                    before.unsubscribe(own);
                    let first = subscribed(&mut relay);
                    let subscriber = subscribed(before);
                    self.calls[0].subscriber = first;
                    subscriber
                }
                None => subscribed(&mut relay),
            };
            self.relays.push(relay);
            self.seen.borrow_mut().push(Level::default());
            self.calls.push(Corrector {
                id,
                drift: DriftCorrector::new(),
                subscriber,
                queued: VecDeque::new(),
                has_begun: false,
            });
            self.calls.len() - 1
        });
        if let Event::AudioReadable(track) = event {
            self.hear(at, id, track, core, now);
        }
    }
}

/// Four hours; ten minutes in a process that only repeats what another one did, to be compared.
fn length() -> Duration {
    let is_repeated = std::env::var_os("SMALLRTC_TRACES").is_some();
    if is_repeated { seconds(600) } else { seconds(4 * 3_600) }
}

/// Four hours: what waits for each call is as much at the end as at the start, and at no time more
/// or less, to 20 ms. Nothing is refused, the queue never runs dry, no packet is early or late.
fn assert_four_hours(calls: usize, drift_ppm: i32, seed: u64) {
    let low = |config: smallrtc::Config| {
        config.audio_in(8_000, 1).and_then(|it| it.audio_out(8_000, 1)).expect("usual rates")
    };
    let mut world = World::new(long(seed, drift_ppm).config(low));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let bot = Corrected { calls: Vec::new(), relays: Vec::new(), seen: Rc::clone(&seen) };
    world.set_bot(bot);
    let numbers = connect(&mut world, calls);
    let now = world.now();
    for number in &numbers {
        world.browser(*number).speak(speech(), now);
    }
    world.drive_for(length());
    for (number, level) in seen.borrow().iter().enumerate() {
        let Level { spans, first, last, least, most, .. } = *level;
        assert_eq!(spans + 1, length().as_secs() / SPAN.as_secs(), "a mean for each minute");
        let range = format!("{first} samples, then {last}, from {least} to {most}");
        assert!(first.abs_diff(last) < 160, "call {number}: {range}");
        assert!(least > 80 && least + 160 > first && most < first + 160, "{range}");
    }
    for number in numbers {
        let stats = world.session(number).expect("the call goes on").stats();
        assert_eq!(
            (stats.audio_slips, stats.audio_refused, stats.audio_dropped_samples),
            (0, 0, 0)
        );
        assert_paced(&world, number, seconds(2));
    }
}

#[test]
fn the_echo_of_a_fast_browser_is_no_later_after_four_hours() {
    run("the_echo_of_a_fast_browser_is_no_later_after_four_hours", 1, |seed| {
        assert_four_hours(1, 200, seed);
    });
}

#[test]
fn two_slow_browsers_hear_each_other_without_delay_for_four_hours() {
    run("two_slow_browsers_hear_each_other_without_delay_for_four_hours", 1, |seed| {
        assert_four_hours(2, -200, seed);
    });
}
