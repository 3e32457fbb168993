//! A clock that jumps is a slip, never a burst.

use std::time::Duration;

use smallrtc::{CloseReason, ConnectionState, Event, PacketTime};

use super::{milliseconds, seconds, setup};
use crate::{Bot, Command, Departure, Subject, Told, World, speech};

const CALLS: usize = 5;

/// Words that wait when the clock jumps: 4 s.
const WORDS: i16 = 400;

/// A driver that comes 2 s late, with packets of 10, 20, 40 and 60 ms: one packet of each call at
/// that moment, each call's own grid again after it, RTP time that moved on by the time that
/// passed, and every word that was queued.
pub fn a_clock_that_jumps_two_seconds_slips_at_every_packet_time<S: Subject>() {
    for time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60] {
        jump::<S>(time, seconds(2));
    }
}

/// 10 s are below what a call may be without a sign of life: none ends, and no word is lost.
pub fn a_clock_that_jumps_ten_seconds_ends_no_call_and_loses_no_word<S: Subject>() {
    for time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms60] {
        jump::<S>(time, seconds(10));
    }
}

fn jump<S: Subject>(time: PacketTime, away: Duration) {
    let setup = setup(1).config(|config| config.audio_packet_time(time));
    let mut world = World::<S>::connected(setup, Bot::Silent, CALLS);
    for number in 0..CALLS {
        world.command(number, Command::Audio(speech(1..WORDS + 1)));
        world.watch(number).forget();
    }
    world.drive_for(milliseconds(333));
    let back = world.elapsed() + away;
    world.stall(away);
    world.drive_for(away + seconds(6));
    for number in 0..CALLS {
        let packet = time.duration();
        check_slip(world.watch(number).departures(), packet, back);
        assert_eq!(world.heard(number), (1..WORDS + 1).collect::<Vec<i16>>(), "no word is lost");
        assert_eq!(world.ends(number), [] as [CloseReason; 0]);
        let lost = Told::Event(Event::StateChanged(ConnectionState::Failed));
        assert!(!world.told(number).any(|told| *told == lost));
    }
}

/// One gap, up to when the driver came back. RTP time moves on in it by the time that passed, up to
/// the next point of the grid; the packet after it waits for its own point. Everything else is the
/// pace, in time and in RTP time.
fn check_slip(departures: &[Departure], packet: Duration, back: Duration) {
    let gap = |pair: &[Departure]| {
        let samples = pair[1].rtp_time - pair[0].rtp_time;
        (pair[1].at - pair[0].at, samples_at_48_khz(samples))
    };
    let late = departures.iter().position(|departure| departure.at == back);
    let late = late.expect("a packet leaves at the moment at which the driver is back");
    for (index, pair) in departures.windows(2).enumerate() {
        let (waited, media) = gap(pair);
        if index + 1 == late {
            assert!(waited > packet * 10, "it was away");
            assert_eq!(media, round_up(waited, packet), "{waited:?} passed");
            let next = departures.get(late + 1).expect("it speaks on").at;
            assert_eq!(next - pair[0].at, media + packet, "the grid is where it was");
            assert!(next - back >= packet, "no burst");
        } else if index == late {
            assert_eq!(media, packet);
        } else {
            assert_eq!((waited, media), (packet, packet), "packet {index}");
        }
    }
}

fn round_up(duration: Duration, unit: Duration) -> Duration {
    let units = duration.as_nanos().div_ceil(unit.as_nanos());
    unit * u32::try_from(units).expect("seconds")
}

/// A hundred calls that began one after another speak one after another again when their driver
/// was away for 50 ms: a stall that all share does not make them leave in one burst ever after.
pub fn calls_that_stall_together_keep_their_own_phases<S: Subject>() {
    const CALLS: usize = 100;
    let mut world = World::<S>::new(setup(3), Bot::Talker);
    for _ in 0..CALLS {
        let number = world.add_browser();
        world.call(number);
        world.drive_for(Duration::from_micros(10_200));
    }
    world.drive_for(seconds(1));
    let before = phases(&mut world, CALLS);
    let spread: std::collections::BTreeSet<Duration> = before.iter().copied().collect();
    assert!(spread.len() > CALLS / 2, "{} phases", spread.len());
    world.stall(milliseconds(50));
    world.drive_for(milliseconds(100));
    assert_eq!(phases(&mut world, CALLS), before);
}

/// Where within a packet time the packets of each call leave in the next second.
fn phases<S: Subject>(world: &mut World<S>, calls: usize) -> Vec<Duration> {
    const PACKET: Duration = Duration::from_millis(20);
    (0..calls).for_each(|number| world.watch(number).forget());
    world.drive_for(seconds(1));
    let phase = |at: Duration| Duration::from_nanos((at.as_nanos() % PACKET.as_nanos()) as u64);
    let of_call = |number: usize| {
        let departures = world.watch(number).departures();
        let first = phase(departures.first().expect("it speaks").at);
        assert!(departures.len() >= 49, "call {number}");
        assert!(departures.iter().all(|departure| phase(departure.at) == first), "call {number}");
        first
    };
    (0..calls).map(of_call).collect()
}

/// A driver that is in time says so, and one that was away for 2 s says that as well.
pub fn lateness_is_counted_from_the_deadline_and_reported<S: Subject>() {
    let mut world = World::<S>::connected(setup(2), Bot::Talker, 2);
    world.drive_for(seconds(1));
    let in_time = world.figures().lateness;
    assert!(in_time.count() > 50, "{in_time}");
    assert_eq!(in_time.max(), Duration::ZERO, "{in_time}");
    world.stall(seconds(2));
    world.drive_for(seconds(4));
    let late = world.figures().lateness;
    let max = late.max();
    assert!(max > milliseconds(1_900) && max < milliseconds(2_100), "{late}");
    assert!(late.count() > in_time.count() + 50, "{late}");
    assert_eq!(late.quantile(0.9), Duration::ZERO, "it was late once: {late}");
}

fn samples_at_48_khz(samples: u64) -> Duration {
    Duration::from_nanos(samples * 1_000_000_000 / 48_000)
}

/// A driver that is late by less than a packet: that packet is late, and the next is not.
pub fn a_clock_that_jumps_by_less_than_a_packet_leaves_the_grid_as_it_is<S: Subject>() {
    let mut world = World::<S>::connected(setup(1), Bot::Talker, 1);
    world.watch(0).forget();
    world.drive_for(milliseconds(100));
    let grid = world.watch(0).departures().last().expect("it speaks").at;
    let jump_at = grid + milliseconds(10) - world.elapsed().min(grid + milliseconds(10));
    world.drive_for(jump_at);
    world.stall(milliseconds(25));
    world.drive_for(milliseconds(200));
    let departures = world.watch(0).departures().to_vec();
    let late = departures.iter().position(|departure| departure.at == grid + milliseconds(35));
    let late = late.unwrap_or_else(|| panic!("nothing at {grid:?} and 35 ms: {departures:?}"));
    assert_eq!(departures[late - 1].at, grid);
    assert_eq!(departures[late + 1].at, grid + milliseconds(40));
    let times = departures.windows(2).map(|pair| pair[1].rtp_time - pair[0].rtp_time);
    assert!(times.into_iter().all(|time| time == 960), "RTP time keeps its pace");
}
