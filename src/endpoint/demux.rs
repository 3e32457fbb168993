//! Which session an address belongs to, and what a datagram says of itself.
//!
//! An address (of the peer, as one of our transports sees it) is bound to a session by a STUN
//! request that was made with that session's password, and by nothing else. From then on whatever
//! comes from there goes to that session without another look.
//!
//! | a verified request comes from an address that is | then |
//! | --- | --- |
//! | new | it is bound |
//! | new, and the session has [`ADDRESSES_MAX`] not all *held* | the stalest makes room for it |
//! | new, and the session has [`ADDRESSES_MAX`] *held* | refused |
//! | the session's own | it is held anew |
//! | another session's, *held* | refused |
//! | another session's, not held | it changes hands |
//!
//! An address is **held** for [`ADDRESS_HELD`] after each verified request. Two wrongs are kept out
//! by that: a caller who knows only its own password, but can forge source addresses, does not cut
//! a neighbour off; and requests that were overheard and are replayed from many places do not push
//! out the path that is in use. What they can do is fill the places that are free, for as long as
//! they go on. A caller who moves on from address to address is never stopped for longer than
//! [`ADDRESS_HELD`].
//!
//! A request that is replayed from elsewhere does bind that address, because STUN requests carry no
//! proof of freshness (RFC 8489 section 16.1.3). It wins nothing: what comes from a bound address
//! must still pass DTLS, SRTP or STUN integrity, and nothing is sent to it but answers to the
//! replayed request and our own checks, which it cannot answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::transport::stun::{self, Class};
use crate::{TransportId, Ufrag};

/// Addresses of one session. 16: a phone has few interfaces and a NAT gives each of our sockets
/// another port; real calls stay below 8.
pub(super) const ADDRESSES_MAX: usize = 16;

/// How long a verified request holds an address. 6 s: the longest pause between two consent checks
/// of a peer that is there (RFC 7675 section 5.1: 5 s, give or take a fifth).
pub(super) const ADDRESS_HELD: Duration = Duration::from_secs(6);

/// The peer's address as one of our transports sees it.
///
/// In numbers, because a tree compares its keys a dozen times for each datagram, and numbers
/// compare faster than the enums of `SocketAddr`. An IPv4 address is that of its IPv6 form, as
/// which sockets for both families show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    host: u128,
    port: u16,
    /// Of a link-local IPv6 address, which without it is not unique.
    scope: u32,
    transport: u32,
}

impl Address {
    pub(super) fn new(transport: TransportId, source: SocketAddr) -> Address {
        let (host, scope) = match source {
            SocketAddr::V4(source) => (source.ip().to_ipv6_mapped(), 0),
            SocketAddr::V6(source) => (*source.ip(), source.scope_id()),
        };
        Address { host: host.to_bits(), port: source.port(), scope, transport: transport.0 }
    }
}

/// What a datagram says of itself, to one who does not know its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A STUN request for the session that this names.
    Names(Ufrag),
    /// Something of a call, without a name: DTLS, SRTP, a STUN response, a stranger's request.
    Nameless,
    /// Nothing that WebRTC sends.
    Garbage,
}

impl Claim {
    /// Reads the first bytes (RFC 7983 section 7), and of a STUN request the user name.
    pub(super) fn of(payload: &[u8]) -> Claim {
        match payload.first() {
            Some(0..=3) => match stun::peek(payload) {
                Some(stun) if stun.class == Class::Request => {
                    stun.local_ufrag.and_then(Ufrag::parse).map_or(Claim::Nameless, Claim::Names)
                }
                Some(_) => Claim::Nameless,
                None => Claim::Garbage,
            },
            Some(20..=63 | 128..=191) => Claim::Nameless,
            _ => Claim::Garbage,
        }
    }
}

/// What a verified request did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vouched {
    /// The address is the session's.
    Bound,
    /// It is, and another address of the session's had to go.
    BoundInsteadOf(Address),
    /// The address is held by another session, or all the session's own are held.
    Refused,
}

/// The addresses that are bound.
#[derive(Debug, Default)]
pub(super) struct Demux {
    /// A tree, because peers choose their addresses and a tree has no bad keys;
    /// `benches/routing.rs` shows that it is flat enough.
    routes: BTreeMap<Address, Route>,
    /// The same by slot, in the order of binding.
    by_slot: Vec<Vec<Address>>,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    slot: u32,
    /// When a request was last verified.
    proven: Instant,
}

impl Route {
    fn is_held(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.proven) < ADDRESS_HELD
    }
}

impl Demux {
    /// The slot that the address is bound to.
    pub(super) fn slot_of(&self, address: Address) -> Option<u32> {
        self.routes.get(&address).map(|route| route.slot)
    }

    /// A request from the address was verified by the session in the slot.
    pub(super) fn vouch(&mut self, address: Address, slot: u32, now: Instant) -> Vouched {
        let known = self.routes.get_mut(&address);
        if let Some(route) = known {
            if route.slot == slot {
                route.proven = now;
                return Vouched::Bound;
            }
            if route.is_held(now) {
                return Vouched::Refused;
            }
        }
        let Ok(evicted) = self.make_room(slot, now) else { return Vouched::Refused };
        self.unbind(address);
        self.routes.insert(address, Route { slot, proven: now });
        self.by_slot[slot as usize].push(address);
        evicted.map_or(Vouched::Bound, Vouched::BoundInsteadOf)
    }

    /// Frees all addresses of a slot. Gives whether there was one.
    pub(super) fn release(&mut self, slot: u32) -> bool {
        let Some(addresses) = self.by_slot.get_mut(slot as usize) else { return false };
        let had_some = !addresses.is_empty();
        for address in addresses.drain(..) {
            self.routes.remove(&address);
        }
        had_some
    }

    /// How many addresses are bound.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Room for one more address of the slot: the one that had to go for it, if any; an error when
    /// there is none to be had.
    fn make_room(&mut self, slot: u32, now: Instant) -> Result<Option<Address>, ()> {
        if slot as usize >= self.by_slot.len() {
            self.by_slot.resize_with(slot as usize + 1, Vec::new);
        }
        let addresses = &self.by_slot[slot as usize];
        if addresses.len() < ADDRESSES_MAX {
            return Ok(None);
        }
        let proven = |address: &&Address| self.routes.get(address).map(|route| route.proven);
        let oldest = *addresses.iter().min_by_key(proven).expect("a full list is not empty");
        if self.routes.get(&oldest).is_some_and(|route| route.is_held(now)) {
            return Err(());
        }
        self.unbind(oldest);
        Ok(Some(oldest))
    }

    fn unbind(&mut self, address: Address) {
        if let Some(route) = self.routes.remove(&address) {
            self.by_slot[route.slot as usize].retain(|bound| *bound != address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
    fn start() -> Instant {
        Instant::now()
    }

    fn address(port: u16) -> Address {
        Address::new(TransportId(0), SocketAddr::from(([192, 0, 2, 1], port)))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_a_session_that_had_an_address_gives_one_back() {
        let (mut demux, now) = (Demux::default(), start());
        assert!(!demux.release(3), "a slot that was never seen");
        assert_eq!(demux.vouch(address(1), 3, now), Vouched::Bound);
        assert!(demux.release(3));
        assert!(!demux.release(3), "it has none any more");
    }

    #[test]
    fn sixteen_addresses_lead_to_one_session_and_a_seventeenth_is_refused_while_all_are_held() {
        let (mut demux, now) = (Demux::default(), start());
        for port in 0..16 {
            assert_eq!(demux.vouch(address(port), 3, now), Vouched::Bound);
        }
        assert_eq!(demux.vouch(address(16), 3, now + ADDRESS_HELD - MS), Vouched::Refused);
        assert_eq!(demux.slot_of(address(16)), None);
        assert!((0..16).all(|port| demux.slot_of(address(port)) == Some(3)));
    }

    #[test]
    fn the_address_that_was_proven_longest_ago_makes_room() {
        let (mut demux, now) = (Demux::default(), start());
        for port in 0..16 {
            assert_eq!(demux.vouch(address(port), 3, now + u32::from(port) * MS), Vouched::Bound);
        }
        let later = now + ADDRESS_HELD;
        // The first one proves itself again, so the second is the stalest.
        assert_eq!(demux.vouch(address(0), 3, later), Vouched::Bound);
        let evicted = demux.vouch(address(16), 3, later + MS);
        assert_eq!(evicted, Vouched::BoundInsteadOf(address(1)));
        assert_eq!(demux.slot_of(address(1)), None);
        assert_eq!(demux.slot_of(address(16)), Some(3));
        assert_eq!(demux.len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_caller_that_roams_through_a_thousand_addresses_keeps_the_newest() {
        let (mut demux, mut now) = (Demux::default(), start());
        for port in 0..1000 {
            now += ADDRESS_HELD / 16;
            assert_ne!(demux.vouch(address(port), 0, now), Vouched::Refused, "{port}");
            assert_eq!(demux.slot_of(address(port)), Some(0));
            assert!(demux.len() <= ADDRESSES_MAX);
        }
    }

    #[test]
    fn an_address_changes_hands_only_when_its_session_has_not_proven_it_for_long() {
        let (mut demux, now) = (Demux::default(), start());
        assert_eq!(demux.vouch(address(1), 7, now), Vouched::Bound);
        assert_eq!(demux.vouch(address(1), 8, now + ADDRESS_HELD - MS), Vouched::Refused);
        assert_eq!(demux.slot_of(address(1)), Some(7));
        assert_eq!(demux.vouch(address(1), 8, now + ADDRESS_HELD), Vouched::Bound);
        assert_eq!(demux.slot_of(address(1)), Some(8));
        let _ = demux.release(7);
        assert_eq!(demux.slot_of(address(1)), Some(8), "it is no longer that of 7");
        let _ = demux.release(8);
        assert_eq!(demux.len(), 0);
    }

    #[test]
    fn a_refused_take_over_costs_nobody_an_address() {
        let (mut demux, now) = (Demux::default(), start());
        for port in 0..16 {
            assert_eq!(demux.vouch(address(port), 0, now), Vouched::Bound);
        }
        let later = now + ADDRESS_HELD;
        assert_eq!(demux.vouch(address(99), 1, later), Vouched::Bound);
        assert_eq!(demux.vouch(address(99), 0, later + MS), Vouched::Refused);
        assert_eq!(demux.len(), ADDRESSES_MAX + 1);
    }

    #[test]
    fn the_same_address_behind_another_transport_is_another_address() {
        let (mut demux, now) = (Demux::default(), start());
        let behind =
            |transport| Address::new(TransportId(transport), SocketAddr::from(([192, 0, 2, 1], 5)));
        assert_eq!(demux.vouch(behind(0), 0, now), Vouched::Bound);
        assert_eq!(demux.vouch(behind(1), 1, now), Vouched::Bound);
        assert_eq!([0, 1, 2].map(|n| demux.slot_of(behind(n))), [Some(0), Some(1), None]);
    }

    #[test]
    fn hosts_ports_and_links_are_told_apart_and_families_are_not() {
        let address = |text: &str| Address::new(TransportId(0), text.parse().unwrap());
        let texts =
            ["192.0.2.1:5", "192.0.2.1:6", "192.0.2.2:5", "[2001:db8::1]:5", "[fe80::1%2]:5"];
        let mut addresses = texts.map(address).to_vec();
        addresses.push(address("[fe80::1%3]:5"));
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), texts.len() + 1);
        assert_eq!(address("[::ffff:192.0.2.1]:5"), address("192.0.2.1:5"));
    }

    #[test]
    fn a_released_slot_leaves_nothing_behind() {
        let (mut demux, now) = (Demux::default(), start());
        for port in 0..10 {
            assert_eq!(demux.vouch(address(port), u32::from(port % 2), now), Vouched::Bound);
        }
        let _ = demux.release(0);
        let _ = demux.release(0);
        let _ = demux.release(77);
        assert_eq!(demux.len(), 5);
        assert!((0..10).all(|port| demux.slot_of(address(port)).is_some() == (port % 2 == 1)));
    }

    #[test]
    fn datagrams_are_told_apart_by_their_first_byte() {
        for (first, claim) in [
            (0, Claim::Garbage),
            (3, Claim::Garbage),
            (4, Claim::Garbage),
            (19, Claim::Garbage),
            (20, Claim::Nameless),
            (63, Claim::Nameless),
            (64, Claim::Garbage),
            (127, Claim::Garbage),
            (128, Claim::Nameless),
            (191, Claim::Nameless),
            (192, Claim::Garbage),
            (255, Claim::Garbage),
        ] {
            assert_eq!(Claim::of(&[first; 24]), claim, "{first}");
        }
        assert_eq!(Claim::of(&[]), Claim::Garbage);
    }

    #[test]
    fn only_a_request_with_a_user_name_of_our_layout_names_a_session() {
        let stun = |kind: u16, user: &str| {
            let padded = user.len().next_multiple_of(4);
            let mut message = kind.to_be_bytes().to_vec();
            message.extend(u16::try_from(padded + 4).unwrap().to_be_bytes());
            message.extend([0x21, 0x12, 0xa4, 0x42]);
            message.extend([7; 12]);
            message.extend([0, 6]);
            message.extend(u16::try_from(user.len()).unwrap().to_be_bytes());
            message.extend(user.bytes());
            message.resize(24 + padded, 0);
            message
        };
        let ufrag = Ufrag { node: 1, shard: 2, slot: 3, generation: 4, random: 5 };
        let (ours, request) = (format!("{ufrag}:peer"), 0x0001);
        assert_eq!(Claim::of(&stun(request, &ours)), Claim::Names(ufrag));
        assert_eq!(Claim::of(&stun(0x0101, &ours)), Claim::Nameless, "a response");
        assert_eq!(Claim::of(&stun(0x0011, &ours)), Claim::Nameless, "an indication");
        assert_eq!(Claim::of(&stun(request, "abcd:peer")), Claim::Nameless);
        assert_eq!(Claim::of(&stun(request, &ufrag.to_string())), Claim::Nameless, "no colon");
        assert_eq!(Claim::of(&stun(request, &ours)[..40]), Claim::Garbage, "cut");
    }
}
