//! A router that translates a browser's addresses.
//!
//! | a datagram | then |
//! | --- | --- |
//! | goes out, and has a mapping that lives | it leaves from there, and the mapping lives anew |
//! | goes out otherwise | a new mapping, with a port that was not used lately |
//! | goes out while [`MAPPINGS_MAX`] live | the one that was silent longest makes room |
//! | comes in for a mapping that lives | it goes in; that makes no mapping live longer |
//! | comes in otherwise | it is lost, and counted |
//!
//! It has no hairpin, no port prediction and no rules of its own for other protocols.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::Packet;

/// Mappings of one router. A browser has one for each address of the bot's that it speaks to; 64
/// are more than an answer can name, and ends that nobody uses go first.
const MAPPINGS_MAX: usize = 64;

/// Ports that are given out, one after the other, so that none is used again soon.
const PORT_FIRST: u16 = 20_000;
const PORT_LAST: u16 = 59_999;

/// Which datagrams share a mapping (RFC 4787 section 4.1), and who may use it from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatKind {
    /// All that come from one address inside, wherever they go; anybody may answer.
    Cone,
    /// All that come from one address inside and go to one outside; only that one may answer.
    Symmetric,
}

impl NatKind {
    /// Both.
    pub const ALL: [NatKind; 2] = [NatKind::Cone, NatKind::Symmetric];
}

/// What a router does. Whoever names some of it takes the rest from [`NatConfig::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// Which datagrams share a mapping.
    pub kind: NatKind,
    /// How long a mapping lives after the last datagram that went out through it.
    pub lifetime: Duration,
}

impl NatConfig {
    /// Mappings live for two minutes, the least that RFC 4787 section 4.3 allows.
    #[must_use]
    pub fn new(kind: NatKind) -> NatConfig {
        NatConfig { kind, lifetime: Duration::from_secs(120) }
    }
}

/// The address inside, and for a symmetric router the one outside.
type Key = (SocketAddr, Option<SocketAddr>);

/// A router with one public address.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    ip: Ipv4Addr,
    next_port: u16,
    mappings: BTreeMap<Key, Mapping>,
    lost: u64,
    made: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    port: u16,
    used: Instant,
}

impl Nat {
    /// A router with this public address.
    #[must_use]
    pub fn new(config: NatConfig, ip: Ipv4Addr) -> Nat {
        let mappings = BTreeMap::new();
        Nat { config, ip, next_port: PORT_FIRST, mappings, lost: 0, made: 0 }
    }

    /// Forgets all mappings, as a router that was switched off and on. What comes in is lost
    /// until something went out.
    pub fn rebind(&mut self) {
        self.mappings.clear();
    }

    /// Forgets all mappings and has another address, as a phone that changes networks.
    pub fn move_to(&mut self, ip: Ipv4Addr) {
        self.rebind();
        self.ip = ip;
    }

    /// From now on mappings live for so long after their last use.
    pub fn keep(&mut self, lifetime: Duration) {
        self.config.lifetime = lifetime;
    }

    /// How many datagrams came in for no mapping that lived.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many mappings were made.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.made
    }

    /// A datagram goes out: as it looks outside.
    #[must_use]
    pub fn outbound(&mut self, packet: Packet, now: Instant) -> Packet {
        let outside = match self.config.kind {
            NatKind::Cone => None,
            NatKind::Symmetric => Some(packet.destination),
        };
        let key = (packet.source, outside);
        let living = self.mappings.get(&key).filter(|mapping| self.lives(mapping, now));
        let port = match living.map(|mapping| mapping.port) {
            Some(port) => port,
            None => self.make(key),
        };
        self.mappings.insert(key, Mapping { port, used: now });
        Packet { source: SocketAddr::from((self.ip, port)), ..packet }
    }

    /// A datagram comes in: as it looks inside, or `None` when it is lost.
    #[must_use]
    pub fn inbound(&mut self, packet: Packet, now: Instant) -> Option<Packet> {
        let found = self.mappings.iter().find(|((_, outside), mapping)| {
            packet.destination == SocketAddr::from((self.ip, mapping.port))
                && outside.is_none_or(|outside| outside == packet.source)
                && self.lives(mapping, now)
        });
        let Some(((inside, _), _)) = found else {
            self.lost += 1;
            return None;
        };
        Some(Packet { destination: *inside, ..packet })
    }

    fn lives(&self, mapping: &Mapping, now: Instant) -> bool {
        now.saturating_duration_since(mapping.used) < self.config.lifetime
    }

    /// Makes room for a mapping, and draws its port.
    fn make(&mut self, key: Key) -> u16 {
        self.mappings.remove(&key);
        if self.mappings.len() >= MAPPINGS_MAX {
            let oldest = self.mappings.iter().min_by_key(|(_, mapping)| mapping.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.mappings.remove(&oldest);
            }
        }
        self.made += 1;
        let port = self.next_port;
        self.next_port = if port == PORT_LAST { PORT_FIRST } else { port + 1 };
        port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start;

    const IP: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
    const SECOND: Duration = Duration::from_secs(1);

    fn inside(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 7, 0, 1], port))
    }

    fn outside(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn packet(source: SocketAddr, destination: SocketAddr) -> Packet {
        Packet { source, destination, payload: vec![0].into() }
    }

    /// Where the datagram seems to come from.
    fn seen(
        nat: &mut Nat,
        source: SocketAddr,
        destination: SocketAddr,
        now: Instant,
    ) -> SocketAddr {
        nat.outbound(packet(source, destination), now).source
    }

    #[test]
    fn a_cone_has_one_mapping_for_all_and_lets_everybody_answer() {
        let mut nat = Nat::new(NatConfig::new(NatKind::Cone), IP);
        let first = seen(&mut nat, inside(1), outside(1), start());
        assert_eq!(seen(&mut nat, inside(1), outside(2), start()), first);
        assert_ne!(seen(&mut nat, inside(2), outside(1), start()), first);
        let answer = nat.inbound(packet(outside(9), first), start()).unwrap();
        assert_eq!(answer.destination, inside(1));
    }

    #[test]
    fn a_symmetric_router_has_one_for_each_and_lets_only_that_one_answer() {
        let mut nat = Nat::new(NatConfig::new(NatKind::Symmetric), IP);
        let first = seen(&mut nat, inside(1), outside(1), start());
        assert_ne!(seen(&mut nat, inside(1), outside(2), start()), first);
        assert_eq!(seen(&mut nat, inside(1), outside(1), start()), first);
        assert_eq!(nat.inbound(packet(outside(2), first), start()), None);
        assert_eq!(nat.lost(), 1);
        assert!(nat.inbound(packet(outside(1), first), start()).is_some());
    }

    #[test]
    fn a_mapping_lives_as_long_as_something_goes_out_and_what_comes_in_does_not_help() {
        let config = NatConfig { lifetime: 10 * SECOND, ..NatConfig::new(NatKind::Cone) };
        let mut nat = Nat::new(config, IP);
        let first = seen(&mut nat, inside(1), outside(1), start());
        let kept = start() + 10 * SECOND - Duration::from_nanos(1);
        assert!(nat.inbound(packet(outside(1), first), kept).is_some());
        assert_eq!(nat.inbound(packet(outside(1), first), start() + 10 * SECOND), None);
        assert_ne!(seen(&mut nat, inside(1), outside(1), start() + 10 * SECOND), first);
    }

    #[test]
    fn mappings_that_live_longer_from_now_on_are_the_same_ones() {
        let config = NatConfig { lifetime: SECOND, ..NatConfig::new(NatKind::Cone) };
        let mut nat = Nat::new(config, IP);
        let first = seen(&mut nat, inside(1), outside(1), start());
        nat.keep(10 * SECOND);
        assert_eq!(seen(&mut nat, inside(1), outside(1), start() + 9 * SECOND), first);
    }

    #[test]
    fn a_router_that_forgets_or_moves_loses_what_comes_to_the_old_place() {
        let mut nat = Nat::new(NatConfig::new(NatKind::Cone), IP);
        let first = seen(&mut nat, inside(1), outside(1), start());
        nat.rebind();
        assert_eq!(nat.inbound(packet(outside(1), first), start()), None);
        let second = seen(&mut nat, inside(1), outside(1), start());
        assert_eq!((second.ip(), second == first), (first.ip(), false));
        let moved = Ipv4Addr::new(100, 65, 0, 1);
        nat.move_to(moved);
        assert_eq!(seen(&mut nat, inside(1), outside(1), start()).ip(), moved);
        assert_eq!(nat.made(), 3);
    }

    #[test]
    fn sixty_four_mappings_live_and_for_one_more_the_most_silent_goes() {
        let mut nat = Nat::new(NatConfig::new(NatKind::Cone), IP);
        let at = |port: u16| start() + Duration::from_millis(u64::from(port));
        let first = seen(&mut nat, inside(0), outside(1), at(0));
        for port in 1..64 {
            let _ = seen(&mut nat, inside(port), outside(1), at(port));
        }
        assert!(nat.inbound(packet(outside(1), first), at(64)).is_some());
        let _ = seen(&mut nat, inside(64), outside(1), at(64));
        assert_eq!(nat.inbound(packet(outside(1), first), at(64)), None);
        assert_eq!((nat.mappings.len(), nat.made()), (MAPPINGS_MAX, 65));
    }
}
