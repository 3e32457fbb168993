//! One direction of a network path.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::trace::is_handshake;

/// Packets on their way at once in one direction. 65,536: ten seconds of 64 Mbit/s in packets of
/// full length, far more than a call has. What comes on top is lost, and counted.
const PACKETS_MAX: usize = 65_536;

/// A datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes to.
    pub destination: SocketAddr,
    /// What it holds.
    pub payload: Bytes,
}

/// What a link does to packets. Whoever names some of it takes the rest from
/// [`LinkConfig::clean`], which is the default: there may be more of it in another version.
///
/// ```
/// use smallrtc_sim::LinkConfig;
///
/// let lossy = LinkConfig { loss: 0.1, ..LinkConfig::clean() };
/// assert_eq!(lossy.delay, LinkConfig::default().delay);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkConfig {
    /// How long every packet takes.
    pub delay: Duration,
    /// Up to so much is added, evenly distributed; packets keep their order.
    pub jitter: Duration,
    /// The share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// The share of packets that come twice.
    pub duplicate: f64,
    /// The share of packets that are overtaken by those behind them.
    pub reorder: f64,
    /// How late packets are that are overtaken.
    pub reorder_by: Duration,
    /// Longer payloads are lost, in bytes.
    pub mtu: usize,
    /// Bits per second; faster than that, packets queue.
    pub rate: Option<u64>,
    /// Packets that would queue for longer are lost.
    pub queue: Duration,
}

impl LinkConfig {
    /// 10 ms and nothing else.
    #[must_use]
    pub fn clean() -> LinkConfig {
        LinkConfig {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Duration::from_millis(30),
            mtu: 1500,
            rate: None,
            queue: Duration::from_millis(200),
        }
    }

    /// A bad wireless link: everything that can happen does.
    #[must_use]
    pub fn bad() -> LinkConfig {
        LinkConfig {
            delay: Duration::from_millis(40),
            jitter: Duration::from_millis(30),
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.02,
            rate: Some(2_000_000),
            ..LinkConfig::clean()
        }
    }
}

impl Default for LinkConfig {
    fn default() -> LinkConfig {
        LinkConfig::clean()
    }
}

/// Says of a packet whether it is lost.
type Loses = Box<dyn FnMut(&Packet) -> bool + Send>;

/// A packet, and when it arrives. In this order, which Rust would not choose by itself: behind an
/// `Instant` and its padding a packet is copied in other pieces than it was written in, and the
/// processor waits until those are through (measured: a hundredth of a call's time).
#[repr(C)]
struct OnItsWay {
    packet: Packet,
    arrival: Instant,
}

/// One direction of a network path. The same seed and the same packets give the same outcome.
pub struct Link {
    config: LinkConfig,
    random: fastrand::Rng,
    /// By time of arrival, then by the order of sending. Nearly all come in at the back.
    packets: VecDeque<OnItsWay>,
    sent: u64,
    lost: u64,
    busy_until: Option<Instant>,
    newest_arrival: Option<Instant>,
    is_down: bool,
    down_until: Option<Instant>,
    loses: Option<Loses>,
    /// Most links are left as they are: what a packet meets there is decided once.
    only_delays: bool,
}

impl Link {
    /// A link whose chances are drawn from `seed`.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Link {
        let mut link = Link {
            config,
            random: fastrand::Rng::with_seed(seed),
            packets: VecDeque::new(),
            sent: 0,
            lost: 0,
            busy_until: None,
            newest_arrival: None,
            is_down: false,
            down_until: None,
            loses: None,
            only_delays: false,
        };
        link.only_delays = link.only_delays();
        link
    }

    /// Changes the link; packets on their way are not touched.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
        self.only_delays = self.only_delays();
    }

    /// Loses everything from now on, or stops doing so. Packets on their way arrive.
    pub fn set_down(&mut self, is_down: bool) {
        self.is_down = is_down;
        self.only_delays = self.only_delays();
    }

    /// Loses everything that it is given before `until`. Packets on their way arrive. A second
    /// black-out makes the first no shorter.
    pub fn black_out(&mut self, until: Instant) {
        self.down_until = self.down_until.max(Some(until));
        self.only_delays = false;
    }

    /// Loses, besides, each packet that `loses` says.
    pub fn lose(&mut self, loses: impl FnMut(&Packet) -> bool + Send + 'static) {
        self.loses = Some(Box::new(loses));
        self.only_delays = false;
    }

    /// How many packets were given to it.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them were lost.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether packets are missed at its end: for a while, or for good.
    pub(crate) fn has_gaps(&self) -> bool {
        self.lost > 0 || self.config.loss > 0.0 || self.config.reorder > 0.0
    }

    /// Takes a packet.
    pub fn send(&mut self, packet: Packet, now: Instant) {
        self.sent += 1;
        if self.only_delays && packet.payload.len() <= self.config.mtu && self.has_room() {
            let arrival = self.in_order(now + self.config.delay);
            self.insert(OnItsWay { packet, arrival });
        } else {
            self.send_by_chance(packet, now);
        }
    }

    /// Whether nothing but its delay, its limit and the order of packets matters.
    fn only_delays(&self) -> bool {
        let LinkConfig { loss, duplicate, reorder, jitter, rate, .. } = self.config;
        let draws = loss > 0.0 || duplicate > 0.0 || reorder > 0.0 || jitter > Duration::ZERO;
        let loses = self.is_down || self.down_until.is_some() || self.loses.is_some();
        !draws && !loses && rate.is_none()
    }

    fn has_room(&self) -> bool {
        self.packets.len() < PACKETS_MAX
    }

    #[inline(never)]
    fn send_by_chance(&mut self, packet: Packet, now: Instant) {
        let chosen = self.loses.as_mut().is_some_and(|loses| loses(&packet));
        let by_chance = self.chance(self.config.loss);
        let too_long = packet.payload.len() > self.config.mtu;
        let is_down = self.is_down || self.down_until.is_some_and(|until| now < until);
        let Some(departure) = self.departure(&packet.payload, now) else {
            self.lost += 1;
            return;
        };
        let room = PACKETS_MAX - self.packets.len();
        if chosen || by_chance || too_long || is_down || room == 0 {
            self.lost += 1;
            return;
        }
        if self.chance(self.config.duplicate) && room > 1 {
            let arrival = self.arrival(departure);
            self.insert(OnItsWay { packet: packet.clone(), arrival });
        }
        let arrival = self.arrival(departure);
        self.insert(OnItsWay { packet, arrival });
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.packets.front().map(|first| first.arrival)
    }

    /// The next packet that has arrived by `now`.
    #[must_use]
    pub fn receive(&mut self, now: Instant) -> Option<Packet> {
        self.has_arrival(now).then(|| self.take_first())
    }

    /// Whether a packet has arrived by `now`.
    pub(crate) fn has_arrival(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|arrival| arrival <= now)
    }

    /// The packet that arrives first.
    ///
    /// # Panics
    /// When none is on its way.
    pub(crate) fn take_first(&mut self) -> Packet {
        self.packets.pop_front().expect("the caller has looked").packet
    }

    /// Behind those that arrive no later. Inlined where the packet is, so that it is copied once.
    #[inline(always)]
    fn insert(&mut self, on_its_way: OnItsWay) {
        if self.packets.back().is_none_or(|last| last.arrival <= on_its_way.arrival) {
            self.packets.push_back(on_its_way);
        } else {
            self.insert_before_others(on_its_way);
        }
    }

    #[inline(never)]
    fn insert_before_others(&mut self, on_its_way: OnItsWay) {
        let at = self.packets.partition_point(|other| other.arrival <= on_its_way.arrival);
        self.packets.insert(at, on_its_way);
    }

    fn chance(&mut self, share: f64) -> bool {
        // A link without chances draws nothing, so that turning one of them on changes no other.
        share > 0.0 && self.random.f64() < share
    }

    /// When the packet has left the bottleneck; `None` when the queue before it is full.
    fn departure(&mut self, payload: &[u8], now: Instant) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        self.queued(payload, rate, now)
    }

    #[inline(never)]
    fn queued(&mut self, payload: &[u8], rate: u64, now: Instant) -> Option<Instant> {
        let begins = self.busy_until.map_or(now, |busy| busy.max(now));
        if begins - now > self.config.queue {
            return None;
        }
        // IPv4 and UDP headers count.
        let bits = (billed_len(payload) as u64 + 28) * 8;
        let departure = begins + Duration::from_nanos(bits * 1_000_000_000 / rate.max(1));
        self.busy_until = Some(departure);
        Some(departure)
    }

    #[inline(always)]
    fn arrival(&mut self, departure: Instant) -> Instant {
        let mut arrival = departure + self.config.delay;
        if self.config.jitter > Duration::ZERO {
            arrival += self.config.jitter.mul_f64(self.random.f64());
        }
        if self.chance(self.config.reorder) {
            return arrival + self.config.reorder_by;
        }
        self.in_order(arrival)
    }

    /// No packet that is not reordered arrives before one that was sent before it.
    #[inline(always)]
    fn in_order(&mut self, arrival: Instant) -> Instant {
        let arrival = self.newest_arrival.map_or(arrival, |newest| newest.max(arrival));
        self.newest_arrival = Some(arrival);
        arrival
    }
}

/// The length that a rate is applied to. Handshake records vary by the bytes of a signature in
/// DER from run to run, so all of them count as full: time must not depend on that.
fn billed_len(payload: &[u8]) -> usize {
    if is_handshake(payload) { 1200 } else { payload.len() }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("config", &self.config)
            .field("on_their_way", &self.packets.len())
            .field("sent", &self.sent)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start;

    fn packet(number: u16, len: usize) -> Packet {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        Packet { source: address(number), destination: address(1), payload: vec![0; len].into() }
    }

    /// What arrives of `count` packets that are sent 1 ms apart, by number and time.
    fn arrivals(config: LinkConfig, seed: u64, count: u16) -> Vec<(u16, Duration)> {
        let mut link = Link::new(config, seed);
        for number in 0..count {
            link.send(packet(number, 100), start() + Duration::from_millis(u64::from(number)));
        }
        let mut arrivals = Vec::new();
        while let Some(at) = link.poll_timeout() {
            let packet = link.receive(at).unwrap();
            arrivals.push((packet.source.port(), at - start()));
        }
        arrivals
    }

    #[test]
    fn a_clean_link_only_delays() {
        let expected: Vec<_> =
            (0..50).map(|number| (number, Duration::from_millis(10 + u64::from(number)))).collect();
        assert_eq!(arrivals(LinkConfig::clean(), 1, 50), expected);
    }

    #[test]
    fn a_link_that_could_lose_and_does_not_is_as_one_that_only_delays() {
        let mut links = [(); 2].map(|()| Link::new(LinkConfig::clean(), 1));
        links[1].lose(|_| false);
        assert!(links[0].only_delays && !links[1].only_delays);
        let longest = LinkConfig::clean().mtu;
        let arrivals = links.map(|mut link| {
            for (number, len) in (0..).zip([1, longest, longest + 1, 30]) {
                // Sent earlier than the one before: it arrives no earlier.
                let at = start() + Duration::from_millis(10 - u64::from(number));
                link.send(packet(number, len), at);
            }
            let mut arrivals = Vec::new();
            while let Some(at) = link.poll_timeout() {
                arrivals.push((at, link.receive(at).map(|packet| packet.source)));
            }
            (arrivals, link.sent(), link.lost())
        });
        assert_eq!(arrivals[0], arrivals[1]);
        assert_eq!((arrivals[0].0.len(), arrivals[0].2), (3, 1));
    }

    #[test]
    fn what_changes_a_link_is_felt_by_the_next_packet() {
        let lost = |change: fn(&mut Link)| {
            let mut link = Link::new(LinkConfig::clean(), 1);
            change(&mut link);
            link.send(packet(0, 9), start());
            let is_lost = link.lost() == 1;
            link.set_config(LinkConfig { loss: 1.0, ..LinkConfig::clean() });
            link.send(packet(1, 9), start());
            assert_eq!(link.lost(), 1 + u64::from(is_lost));
            is_lost
        };
        assert!(!lost(|_| {}) && !lost(|link| (link.set_down(true), link.set_down(false)).1));
        assert!(lost(|link| link.set_down(true)));
        assert!(lost(|link| link.lose(|_| true)));
        assert!(lost(|link| link.black_out(start() + Duration::from_secs(1))));
    }

    #[test]
    fn the_same_seed_does_the_same_and_another_does_not() {
        let once = arrivals(LinkConfig::bad(), 1, 500);
        assert_eq!(once, arrivals(LinkConfig::bad(), 1, 500));
        assert_ne!(once, arrivals(LinkConfig::bad(), 2, 500));
    }

    #[test]
    fn loss_and_duplicates_have_their_share() {
        let config = LinkConfig { loss: 0.25, ..LinkConfig::clean() };
        let left = arrivals(config, 3, 4000).len();
        assert!((2800..3200).contains(&left), "{left} of 4000");
        let config = LinkConfig { duplicate: 0.25, ..LinkConfig::clean() };
        let left = arrivals(config, 3, 4000).len();
        assert!((4800..5200).contains(&left), "{left} of 4000");
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jitter = LinkConfig { jitter: Duration::from_millis(20), ..LinkConfig::clean() };
        assert!(arrivals(jitter, 4, 500).is_sorted_by_key(|(number, _)| *number));
        let reorder = LinkConfig { reorder: 0.1, ..LinkConfig::clean() };
        assert!(!arrivals(reorder, 4, 500).is_sorted_by_key(|(number, _)| *number));
    }

    #[test]
    fn a_rate_spaces_packets_and_drops_what_queues_too_long() {
        // 128 bytes with headers at 102,400 bit/s take 10 ms.
        let config = LinkConfig { rate: Some(102_400), ..LinkConfig::clean() };
        let arrivals = arrivals(config, 5, 100);
        assert!(arrivals.len() < 40);
        let gaps = arrivals.windows(2).map(|pair| pair[1].1 - pair[0].1);
        assert!(gaps.into_iter().all(|gap| gap >= Duration::from_millis(10)));
    }

    #[test]
    fn what_is_too_long_or_sent_while_down_is_lost() {
        let mut link = Link::new(LinkConfig { mtu: 100, ..LinkConfig::clean() }, 1);
        link.send(packet(1, 101), start());
        link.set_down(true);
        link.send(packet(2, 100), start());
        link.set_down(false);
        link.send(packet(3, 100), start());
        let at = link.poll_timeout().unwrap();
        assert_eq!(link.receive(start()), None);
        assert_eq!(link.receive(at).unwrap().source.port(), 3);
        assert_eq!((link.sent(), link.lost()), (3, 2));
    }

    #[test]
    fn a_link_carries_65536_packets_at_once_and_loses_one_more() {
        let mut link = Link::new(LinkConfig::clean(), 1);
        for _ in 0..PACKETS_MAX {
            link.send(packet(1, 1), start());
        }
        assert_eq!(link.lost(), 0);
        link.send(packet(1, 1), start());
        assert_eq!((link.lost(), link.packets.len()), (1, PACKETS_MAX));
    }

    #[test]
    fn a_black_out_ends_by_itself_and_a_shorter_one_does_not_end_it() {
        let mut link = Link::new(LinkConfig::clean(), 1);
        let (nanosecond, end) = (Duration::from_nanos(1), start() + Duration::from_secs(2));
        link.black_out(end);
        link.black_out(start() + Duration::from_secs(1));
        link.send(packet(1, 100), end - nanosecond);
        link.send(packet(2, 100), end);
        assert_eq!((link.sent(), link.lost()), (2, 1));
    }
}
