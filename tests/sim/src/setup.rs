//! How a simulated call is set up.

use std::f64::consts::TAU;
use std::net::SocketAddr;

use smallrtc::{Certificate, Config, TransportId};

use crate::{BrowserConfig, DriverConfig, Kind, LinkConfig, NatConfig};

/// The socket that the bot listens with.
pub(crate) const BOT_TRANSPORT: TransportId = TransportId(5);

/// Where the bot listens.
#[must_use]
pub fn bot_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7860))
}

/// The bot's certificate in simulations: always the same, and its key known to everybody.
#[must_use]
pub fn bot_certificate() -> Certificate {
    let certificate = include_bytes!("../fixtures/bot.cert.der").to_vec();
    let key = include_bytes!("../fixtures/bot.key.der").to_vec();
    Certificate::from_der(certificate, key).expect("the fixture is a certificate")
}

/// A sine of half the full scale: `frames` samples of one channel.
#[must_use]
pub fn tone(hertz: f64, rate: u32, frames: usize) -> Vec<i16> {
    let step = TAU * hertz / f64::from(rate);
    (0..frames).map(|index| ((index as f64 * step).sin() * 16_384.0) as i16).collect()
}

/// A packet of the null codec: one sample for each 10 ms of one channel, as [`Browser::speak`] and
/// [`Browser::send_media`] take it.
///
/// [`Browser::speak`]: crate::Browser::speak
/// [`Browser::send_media`]: crate::Browser::send_media
///
/// # Panics
/// With more than 12 words: no packet is longer than 120 ms.
#[must_use]
pub fn null_packet(words: &[i16]) -> Vec<u8> {
    assert!(words.len() <= 12, "{} words in one packet", words.len());
    let chunks = u8::try_from(words.len()).expect("at most 12");
    // The sum after it is for those who listen; the codec does not read it.
    let mut packet = vec![b'N', 1, chunks, 0, 0, 0, 0];
    packet.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    packet
}

/// The words of a packet of the null codec, one for each 10 ms and channel, as a
/// [`BrowserEvent::Media`](crate::BrowserEvent::Media) has it: what of the bot's sound reaches the
/// page is the first sample of every 10 ms. `None` for bytes that are no such packet.
///
/// ```
/// use smallrtc_sim::{null_packet, null_words};
///
/// assert_eq!(null_words(&null_packet(&[7, -8])), Some(vec![7, -8]));
/// assert_eq!(null_words(b"something else"), None);
/// ```
#[must_use]
pub fn null_words(packet: &[u8]) -> Option<Vec<i16>> {
    let ([b'N', channels @ 1..=2, chunks @ 1..=12, _, _, _, _], body) =
        packet.split_at_checked(7)?
    else {
        return None;
    };
    let words = body.chunks_exact(2).map(|word| i16::from_le_bytes([word[0], word[1]]));
    let is_whole = body.len() == usize::from(*channels) * usize::from(*chunks) * 2;
    is_whole.then(|| words.collect())
}

/// A call: what both sides are, and what lies between them. Made by [`Setup::new`], and changed by
/// its methods or field by field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    /// Where every random choice comes from.
    pub seed: u64,
    /// The bot's configuration.
    pub config: Config,
    /// The MTU that is set in `config`.
    pub mtu: usize,
    /// The browser.
    pub browser: BrowserConfig,
    /// From the browser to the bot.
    pub up: LinkConfig,
    /// From the bot to the browser.
    pub down: LinkConfig,
    /// The public address that a 1:1 NAT maps to the bot's, and the only one that reaches it.
    pub advertised: Option<SocketAddr>,
    /// The router before each browser, if there is one; in a [`World`](crate::World).
    pub nat: Option<NatConfig>,
    /// How punctual the bot's driver is; each endpoint of a [`World`](crate::World) has one.
    pub driver: DriverConfig,
    /// The node and shard of each endpoint of a [`World`](crate::World).
    pub places: Vec<(u16, u16)>,
    /// Whether a balancer stands before the endpoints of a [`World`](crate::World), with one
    /// address for all: it hands a datagram to the endpoint that the last request from there named.
    pub balances: bool,
    /// Whether the bot calls `start` before it answers.
    pub starts: bool,
    /// Whether the bot polls in a random order, and more often than it has to.
    pub shuffles: bool,
    /// Whether the bot sometimes takes the next input before it has polled all output.
    pub dawdles: bool,
    /// Whether a trace is kept.
    pub traces: bool,
    /// Whether sessions are recorded, and the logs replayed at the end.
    pub records: bool,
    /// Whether the pump checks what always holds.
    pub checks: bool,
}

impl Setup {
    /// A JavaScript client with a microphone, clean links, and a bot with the null codec.
    #[must_use]
    pub fn new(kind: Kind, seed: u64) -> Setup {
        let config = Config::new()
            .certificate(bot_certificate())
            .dangerous()
            .scripted_transport(kind == Kind::Scripted)
            .seeded_dtls(true)
            .null_codec(true)
            .done();
        Setup {
            seed,
            config,
            mtu: 1150,
            browser: BrowserConfig::new(kind, seed.wrapping_mul(3) + 1),
            up: LinkConfig::clean(),
            down: LinkConfig::clean(),
            advertised: None,
            nat: None,
            driver: DriverConfig::punctual(),
            places: vec![(0, 0)],
            balances: false,
            starts: true,
            shuffles: false,
            dawdles: false,
            traces: true,
            records: true,
            checks: true,
        }
    }

    /// Changes the bot's configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(Config) -> Config) -> Setup {
        self.config = change(self.config);
        self
    }

    /// Changes the browser.
    #[must_use]
    pub fn browser(mut self, change: impl FnOnce(&mut BrowserConfig)) -> Setup {
        change(&mut self.browser);
        self
    }

    /// Changes both links.
    #[must_use]
    pub fn links(mut self, config: LinkConfig) -> Setup {
        (self.up, self.down) = (config, config);
        self
    }

    /// Puts every browser of a [`World`](crate::World) behind a router.
    #[must_use]
    pub fn nat(mut self, config: NatConfig) -> Setup {
        self.nat = Some(config);
        self
    }

    /// Says how punctual the bot's driver is.
    #[must_use]
    pub fn driver(mut self, config: DriverConfig) -> Setup {
        self.driver = config;
        self
    }

    /// Lets each browser's clock gain so many microseconds in a second, or lose them.
    #[must_use]
    pub fn drift_ppm(mut self, drift_ppm: i32) -> Setup {
        self.browser.drift_ppm = drift_ppm;
        self
    }

    /// Has one endpoint for each node and shard, in a [`World`](crate::World).
    #[must_use]
    pub fn places(mut self, places: &[(u16, u16)]) -> Setup {
        self.places = places.to_vec();
        self
    }

    /// Lets only this public address reach the bot, which a 1:1 NAT maps to its own, in a
    /// [`Pair`](crate::Pair).
    #[must_use]
    pub fn advertised(mut self, address: SocketAddr) -> Setup {
        self.advertised = Some(address);
        self
    }

    /// Lets the bot poll in a random order, and more often than it has to.
    #[must_use]
    pub fn shuffled(mut self) -> Setup {
        self.shuffles = true;
        self
    }

    /// Puts a balancer before the endpoints of a [`World`](crate::World).
    #[must_use]
    pub fn balanced(mut self) -> Setup {
        self.balances = true;
        self
    }

    /// Sets the bot's MTU.
    ///
    /// # Panics
    /// Outside 576 to 1500 bytes.
    #[must_use]
    pub fn mtu(mut self, mtu: usize) -> Setup {
        self.mtu = mtu;
        self.config = self.config.mtu(mtu).expect("an MTU in range");
        self
    }

    /// Uses Opus instead of the null codec: that of libopus with the feature `libopus`.
    #[must_use]
    pub fn opus(self) -> Setup {
        #[cfg(feature = "libopus")]
        let setup = self.config(|config| config.libopus(true));
        #[cfg(not(feature = "libopus"))]
        let setup = self;
        setup.config(|config| config.dangerous().null_codec(false).done())
    }

    /// The bot calls `start` when the test does.
    #[must_use]
    pub fn held(mut self) -> Setup {
        self.starts = false;
        self
    }

    /// Keeps no trace.
    #[must_use]
    pub fn untraced(mut self) -> Setup {
        self.traces = false;
        self
    }

    /// Records nothing, for figures of speed and memory.
    #[must_use]
    pub fn unrecorded(mut self) -> Setup {
        self.records = false;
        self
    }

    /// Checks nothing, for figures of speed: neither what always holds ([`Checks`](crate::Checks))
    /// nor the books ([`Ledger`](crate::Ledger)). That a session ends once is seen nevertheless.
    #[must_use]
    pub fn unchecked(mut self) -> Setup {
        self.checks = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_null_packet_are_read_back_and_damaged_ones_are_not() {
        let packet = null_packet(&[1, -2, 3]);
        assert_eq!(null_words(&packet), Some(vec![1, -2, 3]));
        assert_eq!(null_words(&null_packet(&[9; 12])), Some(vec![9; 12]));
        for (at, with) in [(0, b'M'), (1, 0), (1, 2), (1, 3), (2, 0), (2, 4), (2, 13)] {
            let mut damaged = packet.clone();
            damaged[at] = with;
            assert_eq!(null_words(&damaged), None, "{with} at {at}");
        }
        assert_eq!(null_words(&packet[..6]), None);
        assert_eq!(null_words(&packet[..12]), None);
    }
}
