//! What a driver is bound to.

use std::net::{IpAddr, SocketAddr};

use smallrtc::Seed;

/// Where a driver listens, what it tells peers, and where its randomness comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Addresses to bind UDP sockets to; port 0 takes a free one. Empty means `0.0.0.0:0`.
    /// On a wildcard address every usable address of the machine becomes a candidate.
    pub udp: Vec<SocketAddr>,
    /// Public addresses that a 1:1 NAT maps to this machine, told to peers before the local ones.
    /// An address of this machine that would be left out otherwise, as loopback is on a wildcard
    /// bind, is told as well when it stands here.
    pub advertise: Vec<IpAddr>,
    /// Where randomness comes from; the operating system's when `None`.
    pub seed: Option<Seed>,
    /// How many shards there are, each an endpoint with sockets and a thread of its own; 1 to
    /// [`SHARDS_MAX`](smallrtc_udp::SHARDS_MAX), 1 by default, and more only for
    /// `Driver::bind_shards`. Of an address of [`Options::udp`] with port P they take P, P + 1 and
    /// so on; with port 0 each a free one. The limits of `Config` are those of each shard,
    /// `max_sessions` too. They take the places from that of `Config::place` on.
    pub shards: u16,
}

impl Options {
    /// One socket on `0.0.0.0` with a free port, nothing advertised, the system's randomness, one
    /// shard.
    #[must_use]
    pub fn new() -> Options {
        Options { udp: Vec::new(), advertise: Vec::new(), seed: None, shards: 1 }
    }

    /// Adds a socket.
    #[must_use]
    pub fn udp(mut self, address: SocketAddr) -> Options {
        self.udp.push(address);
        self
    }

    /// Adds a public address.
    #[must_use]
    pub fn advertise(mut self, address: IpAddr) -> Options {
        self.advertise.push(address);
        self
    }

    /// Takes all randomness from `seed`: for tests only.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Options {
        self.seed = Some(seed);
        self
    }

    /// Divides the calls among so many threads; see [`Options::shards`].
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Options {
        self.shards = shards;
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}
