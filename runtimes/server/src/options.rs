//! Where a server listens and what it is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use smallrtc::{Config, signaling};

use crate::Network;

/// Where a server listens, what it tells peers, and how it proves itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The address of HTTP; port 0 takes a free one. `127.0.0.1:7860` by default, as Pipecat's
    /// runner. UDP binds to the same IP address, so on a loopback address only this machine can
    /// call.
    pub listen: SocketAddr,
    /// The UDP port of all calls; 0 takes a free one. `None`, the default, takes the number of
    /// [`Options::listen`]'s port: one number to open in a firewall. N shards take this one and
    /// the N - 1 that follow it, or N free ones.
    pub udp_port: Option<u16>,
    /// Among how many threads the calls are divided, each with a UDP port of its own; 1 by
    /// default, at most [`SHARDS_MAX`](smallrtc_smol::SHARDS_MAX). `Config::max_sessions` holds for
    /// each. The first shares its thread with HTTP and the bots.
    pub shards: u16,
    /// Public addresses that a 1:1 NAT maps to this machine.
    pub advertise: Vec<IpAddr>,
    /// Reverse proxies that are trusted to say whom they took a request from
    /// (`X-Forwarded-For`), so that limits count for that client; none by default, and then the
    /// header means nothing. Each must overwrite or append to what the client sent.
    pub trusted_proxies: Vec<Network>,
    /// Whether HTTP is encrypted; not by default.
    pub tls: Tls,
    /// The settings of the calls.
    pub config: Config,
    /// What signalling may do: how many calls, pages from where, ICE servers for clients, requests
    /// of one client. One call alone is possible with one shard only.
    pub signaling: signaling::Options,
}

/// How HTTP is encrypted. Browsers give microphone and camera to https pages and to localhost
/// only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Plain HTTP.
    #[default]
    Off,
    /// A certificate that is made at the start, for the addresses that the server can be opened
    /// at. Browsers warn of it once.
    SelfSigned,
    /// A certificate chain and its key, PEM files.
    Files {
        /// The chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key: PKCS#8, PKCS#1 or SEC1.
        key: PathBuf,
    },
}

/// An option that a server cannot be started with, or a load be run with.
///
/// The text begins with the option's name as on the command line, without the dashes.
#[derive(Debug, thiserror::Error)]
#[error("{option} {value}: {reason}")]
pub struct OptionError {
    option: &'static str,
    value: String,
    reason: String,
}

impl Options {
    /// `http://127.0.0.1:7860`, for this machine only.
    #[must_use]
    pub fn new() -> Options {
        Options {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7860),
            udp_port: None,
            shards: 1,
            advertise: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: Tls::Off,
            config: Config::new(),
            signaling: signaling::Options::new(),
        }
    }

    /// Listens at another address.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Options {
        self.listen = address;
        self
    }

    /// Takes another UDP port; 0 for a free one.
    #[must_use]
    pub fn udp_port(mut self, port: u16) -> Options {
        self.udp_port = Some(port);
        self
    }

    /// Divides the calls among so many threads.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Options {
        self.shards = shards;
        self
    }

    /// Adds a public address.
    #[must_use]
    pub fn advertise(mut self, address: IpAddr) -> Options {
        self.advertise.push(address);
        self
    }

    /// Adds a reverse proxy, or a network of them, that is trusted.
    #[must_use]
    pub fn trusted_proxy(mut self, network: Network) -> Options {
        self.trusted_proxies.push(network);
        self
    }

    /// Encrypts HTTP.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Options {
        self.tls = tls;
        self
    }

    /// Sets up signalling.
    #[must_use]
    pub fn signaling(mut self, signaling: signaling::Options) -> Options {
        self.signaling = signaling;
        self
    }

    /// Sets up the calls.
    #[must_use]
    pub fn config(mut self, config: Config) -> Options {
        self.config = config;
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl OptionError {
    pub(crate) fn new(
        option: &'static str,
        value: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> OptionError {
        OptionError { option, value: value.to_string(), reason: reason.to_string() }
    }

    /// The option's name, as on the command line without the dashes: `listen`, `udp-port`,
    /// `shards`, `tls-cert`, `tls-key` or `tls-self-signed`; of a load `url` or the name of one of
    /// its flags.
    #[must_use]
    pub fn option(&self) -> &'static str {
        self.option
    }
}
