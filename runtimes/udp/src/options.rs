//! What a driver is bound to, and the sockets that come of it.
//!
//! Limits: those of a driver's shards ([`SHARDS_MAX`](crate::SHARDS_MAX)) and of a socket's
//! candidates ([`CANDIDATES_MAX`](crate::CANDIDATES_MAX)).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use smallrtc::{Config, LocalCandidate, Seed, TransportId, signaling};
use tracing::info;

use crate::{Socket, interface_addresses, shard_address, shard_configs};

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
    /// [`SHARDS_MAX`](crate::SHARDS_MAX), 1 by default; with mio more only for
    /// `Driver::bind_shards`. Of an address of [`Options::udp`] with port P they take P, P + 1 and
    /// so on; with port 0 each a free one. The limits of `Config` are those of each shard,
    /// `max_sessions` too. They take the places from that of `Config::place` on.
    pub shards: u16,
    /// What signalling may do. One call alone (`Mode::Single`) is possible with one shard only; the
    /// rate limit is one for all shards.
    pub signaling: signaling::Options,
}

impl Options {
    /// One socket on `0.0.0.0` with a free port, nothing advertised, the system's randomness, one
    /// shard, the default signalling.
    #[must_use]
    pub fn new() -> Options {
        let signaling = signaling::Options::new();
        Options { udp: Vec::new(), advertise: Vec::new(), seed: None, shards: 1, signaling }
    }

    /// Sets up signalling.
    #[must_use]
    pub fn signaling(mut self, options: signaling::Options) -> Options {
        self.signaling = options;
        self
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

    /// Opens the sockets of all shards, and finds out what else their endpoints are made of: for
    /// drivers.
    ///
    /// # Errors
    /// What the operating system says of a socket, its address, the interfaces or its randomness.
    /// `InvalidInput`: a number of shards that is not possible at the place of `config`, one whose
    /// ports do not fit, or more than one for one call.
    pub fn open(&self, config: &Config) -> io::Result<Opened> {
        let seed = match &self.seed {
            Some(seed) => seed.clone(),
            None => system_seed()?,
        };
        // Before a thousand sockets are opened for a number that was mistyped.
        shard_configs(config, self.shards)?;
        if self.signaling.is_single() && self.shards > 1 {
            let text = format!("shards: {} (expected 1 for a single call)", self.shards);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let sockets = (0..self.shards).map(|index| self.bind(index));
        let sockets: Vec<Vec<Socket>> = sockets.collect::<io::Result<_>>()?;
        let interfaces = interface_addresses()?;
        let candidates = sockets.iter().map(|own| self.candidates(own, &interfaces)).collect();
        let signaling = self.signaling.clone().shared();
        Ok(Opened { seed, sockets, candidates, signaling })
    }

    /// The sockets of one shard.
    fn bind(&self, index: u16) -> io::Result<Vec<Socket>> {
        let wildcard = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))];
        let wanted = if self.udp.is_empty() { &wildcard[..] } else { &self.udp };
        let bind = |(transport, address): (TransportId, &SocketAddr)| {
            let address = shard_address(*address, index, self.shards)?;
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("udp {address}: {error}"));
            Socket::bind(transport, address).map_err(named)
        };
        (0..).map(TransportId).zip(wanted).map(bind).collect()
    }

    fn candidates(&self, sockets: &[Socket], interfaces: &[IpAddr]) -> Vec<LocalCandidate> {
        let of = |socket: &Socket| socket.candidates(interfaces, &self.advertise);
        let candidates: Vec<LocalCandidate> = sockets.iter().flat_map(of).collect();
        for candidate in &candidates {
            info!(address = %candidate.advertised(), base = %candidate.base(), "candidate");
        }
        candidates
    }
}

/// What [`Options::open`] opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// [`Options::seed`], or what the operating system gave in its place.
    pub seed: Seed,
    /// Of each shard, those of [`Options::udp`], as `TransportId` 0 and so on.
    pub sockets: Vec<Vec<Socket>>,
    /// Of each shard, what peers are told.
    pub candidates: Vec<Vec<LocalCandidate>>,
    /// What the signalling of each shard is to be made with.
    pub signaling: Arc<signaling::Options>,
}

impl Opened {
    /// The local addresses of the sockets, shard by shard.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().flatten().map(Socket::local_address).collect()
    }
}

fn system_seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Seed::new(bytes))
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn open(options: &Options) -> Opened {
        options.open(&Config::new()).unwrap()
    }

    #[test]
    fn each_shard_has_a_socket_for_each_address_and_is_told_where_it_is() {
        let [one, two]: [SocketAddr; 2] =
            ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
        let opened = open(&Options::new().udp(one).udp(two).shards(2));
        let addresses = opened.addresses();
        let hosts: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
        assert_eq!(hosts, [one.ip(), two.ip(), one.ip(), two.ip()]);
        let told = opened.candidates.iter().flatten().map(|candidate| candidate.base());
        assert_eq!(told.collect::<Vec<_>>(), addresses);
        let transports = opened.sockets.iter().flatten().map(Socket::transport);
        assert_eq!(transports.collect::<Vec<_>>(), [0, 1, 0, 1].map(TransportId));
    }

    #[test]
    fn without_an_address_there_is_one_socket_on_all() {
        let addresses = open(&Options::new()).addresses();
        assert_eq!(addresses.len(), 1);
        assert!(addresses[0].ip().is_unspecified() && addresses[0].port() > 0);
    }

    #[test]
    fn an_address_that_is_taken_is_named() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Options::new().udp(address).open(&Config::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("udp {address}: ")), "{error}");
    }

    #[test]
    fn a_single_call_is_for_one_shard() {
        let single = signaling::Options::new().mode(signaling::Mode::Single);
        let options = Options::new().udp("127.0.0.1:0".parse().unwrap()).signaling(single);
        assert!(open(&options).signaling.is_single());
        let error = options.shards(2).open(&Config::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "shards: 2 (expected 1 for a single call)");
    }

    #[test]
    fn a_seed_is_taken_as_it_is_and_without_one_each_driver_has_another() {
        let seed = Seed::from_number(3);
        assert_eq!(open(&Options::new().seed(seed.clone())).seed, seed);
        assert_ne!(open(&Options::new()).seed, open(&Options::new()).seed);
    }
}
