//! One call is flooded; the others do not notice.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use smallrtc::Codec;
use smallrtc::scripted::{Frame, Media, encode, stun};
use smallrtc_sim::Packet;
use smallrtc_udp::RECEIVE_BUDGET;

use super::{milliseconds, null_packet, seconds, setup};
use crate::{Bot, Costs, Departure, Flood, Subject, World, destination};

const CALLS: usize = 1_000;

/// 50,000 a second, in bursts of several turns' budget each.
const FLOOD_INTERVAL: Duration = Duration::from_millis(10);
const FLOOD_COUNT: usize = 500;

/// What a turn takes in the model: 2 us for each datagram that came, 5 us for each step, 3 us for
/// each datagram that leaves, 2 us for each thing that the application is told. So the flood's
/// arrival alone is 10 % of the driver's time, and the pace of the calls 15 %: a driver that does
/// nothing needless keeps up, and one that does each thing three times does not.
const COSTS: Costs = Costs {
    datagram: Duration::from_micros(2),
    step: Duration::from_micros(5),
    transmit: Duration::from_micros(3),
    told: Duration::from_micros(2),
};

/// How late a packet may leave. One that comes due just after a turn began waits for that turn,
/// which takes 256 us for a full budget of datagrams, and leaves in the next, which takes as long
/// before it sends; the rest is for what else the two turns do. A driver that took a whole burst
/// before it looked at the time would be late by more than a millisecond.
const LATE_MAX: Duration = Duration::from_micros(2 * 2 * RECEIVE_BUDGET as u64 + 200);

/// 1,000 calls at their pace, one of them under 50,000 datagrams a second: media that looks valid
/// from its own address, garbage, and checks with a wrong integrity. Time is charged for all that
/// the driver does; each packet of the others leaves within two turns of its deadline.
pub fn a_thousand_calls_keep_their_pace_while_one_is_flooded<S: Subject>() {
    let mut world = World::<S>::new(setup(1), Bot::Talker);
    world.probes = false;
    for _ in 0..CALLS {
        let number = world.add_browser();
        world.call(number);
        // Not all at one instant, as calls do not come.
        world.drive_for(Duration::from_micros(1_300));
    }
    world.drive_for(seconds(1));
    let victim = world.browser(0).address();
    let sdp = world.answer_sdp(0).lines();
    let ufrag = sdp.filter_map(|line| line.strip_prefix("a=ice-ufrag:")).next();
    let ufrag = ufrag.expect("it stands in every answer").to_owned();
    for number in 0..CALLS {
        world.watch(number).forget();
    }
    // While nothing costs anything each packet leaves at its deadline: what follows is held to it.
    world.drive_for(milliseconds(200));
    world.costs = COSTS;
    world.flood = Some(Flood {
        at: world.now(),
        interval: FLOOD_INTERVAL,
        count: FLOOD_COUNT,
        make: Box::new(move |number| flood_packet(victim, &ufrag, number)),
    });
    world.drive_for(seconds(2));
    assert_eq!(world.socket_overflowed(), 0, "the driver keeps up");
    for number in 1..CALLS {
        let departures = world.watch(number).departures();
        assert!((109..=111).contains(&departures.len()), "call {number}: {}", departures.len());
        let late = lateness(departures);
        assert!(late <= LATE_MAX, "call {number} is late by {late:?}");
    }
    let flooded = world.watch(0).departures().len();
    assert!(flooded >= 109, "the flooded one has its pace as well");
}

/// By how much the latest packet is later than the earliest, each against its media time: that
/// time is the deadline's own, wherever the packet went.
fn lateness(departures: &[Departure]) -> Duration {
    let base = |departure: &Departure| {
        let media = Duration::from_nanos(departure.rtp_time * 1_000_000_000 / 48_000);
        departure.at.saturating_sub(media)
    };
    let earliest = departures.iter().map(base).min().unwrap_or_default();
    let latest = departures.iter().map(base).max().unwrap_or_default();
    latest - earliest
}

/// A half of it is media of the flooded call; the rest is garbage from its address, and checks that
/// name it and were not made with its password, from its address and from elsewhere.
fn flood_packet(victim: SocketAddr, ufrag: &str, number: u64) -> Packet {
    let stranger = SocketAddr::from(([203, 0, 113, 9], 9_999));
    let forged = || stun::request([7; 12], ufrag, "page", "a wrong password", true);
    let (source, payload) = match number % 8 {
        0..=3 => (victim, media(number)),
        4 | 5 => (victim, vec![0xfe; 40]),
        6 => (victim, forged()),
        _ => (stranger, forged()),
    };
    Packet { source, destination: destination(), payload: Bytes::from(payload) }
}

fn media(number: u64) -> Vec<u8> {
    let data = null_packet([1, 2]);
    encode(&[Frame::Media(Media::whole(Codec::Opus, number, number * 960, &data))])
}
