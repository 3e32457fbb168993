//! Datagrams that reach another shard than their own.
//!
//! Each shard has a port of its own and tells peers of no other, so this happens only when
//! something in front of the node, a load balancer or a NAT, maps one public port to several
//! shards. A STUN request names its shard by the ufrag, so any shard can hand it on. What carries
//! no name (DTLS, SRTP, STUN responses) follows the last request from the same address whose
//! password the other shard has **verified**: the shard that took a request says so to the one that
//! handed it on. Nobody can steer the datagrams of others by made up requests, nor fill the table
//! with them. Answers leave from the shard's own port.
//!
//! It is a table and its rules, without socket, clock or queue. A datagram is handed on once at
//! most.
//!
//! | a datagram from an address that is | with a name | without |
//! | --- | --- | --- |
//! | bound here | by its name | to the session here |
//! | proven at another shard | by its name | there |
//! | neither | by its name | dropped and counted by the endpoint |
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | addresses proven at other shards | [`FOLLOWED_MAX`] | the one proven longest ago goes, counted |
//! | how long one leads there unproven | [`FOLLOWED_AGE_MAX`] | forgotten |
//! | a datagram to be handed on | [`POST_LEN_MAX`] | lost, counted |
//! | posts that wait for a shard | [`POSTS_MAX`], kept by the driver | the newest is lost, counted |
//!
//! For another node nothing can be done here: counted and dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{Datagram, Endpoint, Routed, TransportId};

/// Posts of all other shards that wait for one. 256: what two sockets may be read for in one turn
/// ([`RECEIVE_BUDGET`](crate::RECEIVE_BUDGET)).
pub const POSTS_MAX: usize = 256;

/// Addresses that lead to other shards. 4096: four for each of the 1024 sessions that an endpoint
/// takes by default, about a mebibyte.
pub const FOLLOWED_MAX: usize = 4096;

/// How long an address leads to another shard after its last verified request. 30 s: consent to
/// send ends then at the latest (RFC 7675 section 5.1), and a call that is silent so long has
/// ended and freed its addresses.
pub const FOLLOWED_AGE_MAX: Duration = Duration::from_secs(30);

/// The longest datagram that is handed on, in bytes. No path carries more in one packet, so that
/// what is longer is no peer's; and [`POSTS_MAX`] of them take half a mebibyte at most.
pub const POST_LEN_MAX: usize = 2048;

/// How long no other shard takes an address over. 6 s: as long as endpoints hold addresses, the
/// longest pause between two consent checks of a peer that is there (RFC 7675 section 5.1: 5 s,
/// give or take a fifth).
const FOLLOWED_HELD: Duration = Duration::from_secs(6);

/// The peer's address as one of the transports sees it. Shards number their transports alike.
type Origin = (TransportId, SocketAddr);

/// What shards tell each other. Whoever carries it keeps at most [`POSTS_MAX`] for each shard, and
/// tells [`Forward::note_dropped`] of what it had to drop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Post {
    /// A datagram for a session of the shard.
    Datagram {
        /// The shard that received it.
        from: u16,
        /// As it was received.
        datagram: Datagram,
        /// Whether it names its session; otherwise it follows its address.
        is_named: bool,
    },
    /// An address was proven by a session of another shard.
    Proven {
        /// That shard.
        shard: u16,
        /// The transport.
        transport: TransportId,
        /// The peer's address.
        source: SocketAddr,
    },
}

smallrtc::figures! {
    /// What a shard counted of datagrams that were not its own.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ForwardStats {
        /// Datagrams given to other shards.
        pub handed: u64,
        /// Datagrams and proofs lost on the way, because the other shard had too many or is gone,
        /// or because they were too long.
        pub dropped: u64,
        /// Datagrams taken from other shards.
        pub taken: u64,
        /// Datagrams taken from other shards that no socket of this one could have received.
        pub misdirected: u64,
        /// Datagrams for another node, or for a shard that there is not: dropped.
        pub foreign: u64,
        /// Addresses that lead to other shards now.
        pub addresses: usize,
        /// Addresses that made room for a newer one.
        pub addresses_evicted: u64,
    }
}

/// One shard's part in handing datagrams on.
#[derive(Debug)]
pub struct Forward {
    shards: Range<u16>,
    routes: BTreeMap<Origin, Route>,
    /// The same by age, oldest first.
    ages: BTreeSet<(Instant, Origin)>,
    stats: ForwardStats,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    shard: u16,
    proven: Instant,
}

impl Forward {
    /// For a shard of a node whose shards are these.
    #[must_use]
    pub fn new(shards: Range<u16>) -> Forward {
        Forward {
            shards,
            routes: BTreeMap::new(),
            ages: BTreeSet::new(),
            stats: ForwardStats::default(),
        }
    }

    /// Hands a datagram of one of the shard's own sockets to its endpoint, or gives what is to be
    /// posted, and to which shard.
    pub fn receive(
        &mut self,
        datagram: Datagram,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Option<(u16, Post)> {
        let (node, own) = endpoint.place();
        match Kind::of(&datagram.payload) {
            Kind::Nameless => {
                let origin = (datagram.transport, datagram.source);
                let route = self.route(origin, now).filter(|route| route.shard != own);
                match route.filter(|_| !endpoint.is_bound(origin.0, origin.1)) {
                    Some(route) => self.hand(route.shard, own, datagram, false),
                    None => {
                        let _ = endpoint.handle_datagram(datagram, now);
                        None
                    }
                }
            }
            Kind::Other => {
                let _ = endpoint.handle_datagram(datagram, now);
                None
            }
            Kind::Request => match endpoint.handle_datagram(datagram.clone(), now) {
                Routed::NotMine { node: of, shard }
                    if of == node && self.shards.contains(&shard) =>
                {
                    self.hand(shard, own, datagram, true)
                }
                Routed::NotMine { .. } => {
                    self.stats.foreign += 1;
                    None
                }
                _ => None,
            },
        }
    }

    /// Takes a post of another shard, and gives what is to be posted in turn.
    ///
    /// A datagram reaches the session as if the shard's own socket had received it, because the
    /// session knows no other address than its own.
    pub fn take(
        &mut self,
        post: Post,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Option<(u16, Post)> {
        match post {
            Post::Proven { shard, transport, source } => {
                self.learn((transport, source), shard, now);
                None
            }
            Post::Datagram { from, mut datagram, is_named } => {
                self.stats.taken += 1;
                let (transport, source) = (datagram.transport, datagram.source);
                let candidates = endpoint.local_candidates();
                let own = candidates.iter().find(|own| own.transport() == transport);
                let Some(own) = own else {
                    self.stats.misdirected += 1;
                    return None;
                };
                datagram.destination.set_port(own.base().port());
                let (_, shard) = endpoint.place();
                let is_proven =
                    matches!(endpoint.handle_datagram(datagram, now), Routed::Session(_));
                (is_named && is_proven).then_some((from, Post::Proven { shard, transport, source }))
            }
        }
    }

    /// A post could not be carried.
    pub fn note_dropped(&mut self) {
        self.stats.dropped += 1;
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> ForwardStats {
        ForwardStats { addresses: self.routes.len(), ..self.stats }
    }

    fn hand(
        &mut self,
        to: u16,
        from: u16,
        mut datagram: Datagram,
        is_named: bool,
    ) -> Option<(u16, Post)> {
        if datagram.payload.len() > POST_LEN_MAX {
            self.note_dropped();
            return None;
        }
        // A slice would keep the whole buffer that it was received into from being used again.
        datagram.payload = Bytes::copy_from_slice(&datagram.payload);
        self.stats.handed += 1;
        Some((to, Post::Datagram { from, datagram, is_named }))
    }

    /// Where the address leads to, unless that is too long ago.
    fn route(&mut self, origin: Origin, now: Instant) -> Option<Route> {
        let route = *self.routes.get(&origin)?;
        if age(route, now) < FOLLOWED_AGE_MAX {
            return Some(route);
        }
        self.forget(origin);
        None
    }

    /// Another shard has verified a request that was handed to it.
    fn learn(&mut self, origin: Origin, shard: u16, now: Instant) {
        let known = self.route(origin, now);
        if known.is_some_and(|known| known.shard != shard && age(known, now) < FOLLOWED_HELD) {
            return;
        }
        self.forget(origin);
        while let Some((proven, oldest)) = self.ages.first().copied() {
            let is_over = now.saturating_duration_since(proven) >= FOLLOWED_AGE_MAX;
            if !is_over && self.routes.len() < FOLLOWED_MAX {
                break;
            }
            self.stats.addresses_evicted += u64::from(!is_over);
            self.forget(oldest);
        }
        self.routes.insert(origin, Route { shard, proven: now });
        self.ages.insert((now, origin));
    }

    fn forget(&mut self, origin: Origin) {
        if let Some(route) = self.routes.remove(&origin) {
            self.ages.remove(&(route.proven, origin));
        }
    }
}

fn age(route: Route, now: Instant) -> Duration {
    now.saturating_duration_since(route.proven)
}

/// What a datagram may be, by its first two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A STUN request, which may name its session.
    Request,
    /// Something of a call that names none: DTLS, SRTP, STUN that is no request.
    Nameless,
    /// Nothing that is worth handing on.
    Other,
}

impl Kind {
    /// RFC 7983 section 7 for the first byte; the class of STUN is in two bits of its type
    /// (RFC 8489 section 5), which are both 0 in a request.
    fn of(payload: &[u8]) -> Kind {
        match payload {
            [first @ 0..=3, second, ..] if first & 0x01 == 0 && second & 0x10 == 0 => Kind::Request,
            [0..=3, _, ..] | [20..=63 | 128..=191, ..] => Kind::Nameless,
            _ => Kind::Other,
        }
    }
}

#[cfg(test)]
mod tests;
