//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use smallrtc::Config;
use smallrtc_server::{Options, Tls};

/// The bot's side of a browser call: serves a page and takes calls from it and from Pipecat's
/// SmallWebRTC clients.
#[derive(Debug, Parser)]
#[command(name = "smallrtc", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the page and runs a bot in each call (the default).
    Serve(Serve),
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address of HTTP; UDP binds to the same IP address. `0.0.0.0:7860` serves every network of
    /// the machine, a loopback address this machine only.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7860")]
    listen: SocketAddr,
    /// The one UDP port of all calls, 0 for a free one. Default: the number of the HTTP port.
    #[arg(long, value_name = "PORT")]
    udp_port: Option<u16>,
    /// A public address that a 1:1 NAT maps to this machine (cloud machines); may be repeated.
    #[arg(long, value_name = "IP")]
    advertise: Vec<IpAddr>,
    /// What answers in the calls.
    #[arg(long, value_enum, default_value_t = Bot::Echo)]
    bot: Bot,
    /// The most calls at once; the next is refused with 503. An echo with Opus takes about a
    /// hundredth of a core.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    max_sessions: usize,
    /// PEM file with the certificate chain for https.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Https with a certificate made at the start. Browsers warn of it once, but then give the
    /// microphone on every address, not on localhost alone.
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    tls_self_signed: bool,
}

/// What answers in the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bot {
    /// Everybody hears, reads and sees themselves.
    Echo,
}

impl Cli {
    /// What to serve: `smallrtc` alone is `smallrtc serve`.
    pub(crate) fn serve(self) -> Serve {
        match self.command {
            Some(Command::Serve(serve)) => serve,
            None => self.serve,
        }
    }
}

impl Serve {
    pub(crate) fn bot(&self) -> Bot {
        self.bot
    }

    pub(crate) fn options(self) -> Options {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Tls::Files { cert, key },
            _ if self.tls_self_signed => Tls::SelfSigned,
            _ => Tls::Off,
        };
        let config = Config::new().max_sessions(self.max_sessions);
        let mut options = Options::new().listen(self.listen).tls(tls).config(config);
        options.udp_port = self.udp_port;
        options.advertise = self.advertise;
        options
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a whole number, 1 or more".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn options(words: &[&str]) -> Result<Options, String> {
        let words = std::iter::once("smallrtc").chain(words.iter().copied());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(cli.serve().options())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_with_its_flags() {
        let plain = options(&[]).unwrap();
        assert_eq!(plain.listen, Options::new().listen);
        assert_eq!(plain.udp_port, None);
        for words in [&["serve", "--listen", "[::1]:80"][..], &["--listen", "[::1]:80"]] {
            assert_eq!(options(words).unwrap().listen, "[::1]:80".parse().unwrap());
        }
    }

    #[test]
    fn every_flag_arrives() {
        let words = "--udp-port 0 --advertise 203.0.113.1 --advertise 2001:db8::1 --bot echo \
            --tls-cert a.pem --tls-key b.pem";
        let options = options(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!(options.udp_port, Some(0));
        assert_eq!(options.advertise.len(), 2);
        assert_eq!(options.tls, Tls::Files { cert: "a.pem".into(), key: "b.pem".into() });
    }

    #[test]
    fn a_bad_value_names_its_flag() {
        for (words, flag) in [
            (&["--listen", "7860"][..], "--listen"),
            (&["--udp-port", "65536"], "--udp-port"),
            (&["--advertise", "example.org"], "--advertise"),
            (&["--bot", "parrot"], "--bot"),
            (&["--max-sessions", "0"], "--max-sessions"),
            (&["--max-sessions", "many"], "--max-sessions"),
            (&["--tls-cert", "a.pem"], "--tls-key"),
            (&["--tls-key", "a.pem"], "--tls-cert"),
            (&["--tls-self-signed", "--tls-cert", "a", "--tls-key", "b"], "--tls-self-signed"),
        ] {
            let error = options(words).unwrap_err();
            assert!(error.contains(flag), "{words:?}: {error}");
        }
    }
}
