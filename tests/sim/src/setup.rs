//! How a simulated call is set up.

use std::f64::consts::TAU;
use std::net::SocketAddr;

use smallrtc::{Certificate, Config, TransportId};

use crate::{BrowserConfig, Kind, LinkConfig};

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

/// A call: what both sides are, and what lies between them.
#[derive(Clone, Debug)]
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
            starts: true,
            shuffles: false,
            dawdles: false,
            traces: true,
            records: true,
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

    /// Uses Opus instead of the null codec.
    #[must_use]
    pub fn opus(self) -> Setup {
        self.config(|config| config.dangerous().null_codec(false).done())
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
}
