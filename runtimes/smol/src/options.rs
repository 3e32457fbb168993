//! What a driver is bound to.

use std::net::{IpAddr, SocketAddr};

use smallrtc::Seed;

/// Where a driver listens, what it tells peers, and where its randomness comes from.
#[derive(Clone, Debug, Default)]
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
}

impl Options {
    /// One socket on `0.0.0.0` with a free port, nothing advertised, the system's randomness.
    #[must_use]
    pub fn new() -> Options {
        Options::default()
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
}
