//! The command line.

mod load;
mod record;
mod record_audio;
mod signal;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use smallrtc::Config;
use smallrtc::media::Tone;
use smallrtc_server::{Network, Options, Tls};
use smallrtc_smol::SHARDS_MAX;

pub(crate) use load::Load;

use crate::logs::LogFile;
pub(crate) use record::Record;
pub(crate) use record_audio::RecordAudio;
use signal::Signal;

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
    Serve(Box<Serve>),
    /// Calls a SmallWebRTC server many times over and tells what became of the calls.
    ///
    /// Exit code 0: every call connected, its data channel opened, and it lasted until the load
    /// ended; with --expect-echo every call that was listened to also heard its own tone. 1: not
    /// so, the report tells. 2: an option cannot be used. Ctrl-C ends the load before its time: the
    /// calls hang up, and the report tells of what was done; a second one ends at once, with 130.
    Load(Load),
    /// Prints the log of a call as a timeline.
    Show(LogFile),
    /// Runs the log of a call through the session again and compares.
    ///
    /// Exit code 0: identical, as far as the log goes. 1: not, the first difference is shown with
    /// what led to it; or the log is damaged. 2: it cannot be read.
    Replay(LogFile),
}

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Task {
    Serve(Box<Serve>),
    Load(Load),
    Show(LogFile),
    Replay(LogFile),
}

/// What `serve` takes.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address of HTTP; UDP binds to the same IP address. `0.0.0.0:7860` serves every network of
    /// the machine, a loopback address this machine only.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7860")]
    listen: SocketAddr,
    /// The one UDP port of all calls, 0 for a free one. Default: the number of the HTTP port.
    /// With `--shards N` these are N ports: this one and those that follow it.
    #[arg(long, value_name = "PORT")]
    udp_port: Option<u16>,
    /// Divides the calls among N threads, each with a UDP port of its own.
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(SHARDS_MAX)))]
    shards: u16,
    /// A public address that a 1:1 NAT maps to this machine (cloud machines); may be repeated.
    #[arg(long, value_name = "IP")]
    advertise: Vec<IpAddr>,
    /// A reverse proxy in front of the server, or a network of them (10.0.0.0/8): what it says in
    /// `X-Forwarded-For` is the client that limits count for. May be repeated. Without it the
    /// header means nothing.
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    trusted_proxy: Vec<Network>,
    /// What answers in the calls: `echo`, everybody hears, reads and sees themselves; `pass`, the
    /// same, but sound comes back as it was coded, without codec or pacing, for measuring;
    /// `play:FILE`, as echo, but what is heard is a WAV or Ogg Opus file, over and over (mp3, flac
    /// and aac too, when built with the feature `player-formats`);
    /// `tone:HZ`, as echo, but what is heard is a tone.
    #[arg(long, value_name = "BOT", default_value = "echo")]
    bot: Bot,
    /// The most calls at once in each shard; the next is refused with 503. An echo with Opus takes
    /// about a hundredth of a core.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    max_sessions: usize,
    /// The most calls in each shard that were answered and are not connected yet; the next is
    /// refused with 503.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = half_open)]
    max_half_open: usize,
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
    /// How long calls may go on after Ctrl-C or SIGTERM, while no new one is taken: `500ms`, `8s`,
    /// `2m`. Then they get their goodbye, which takes up to 2 s. A second signal ends at once.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = load::duration)]
    drain_timeout: Duration,
    #[command(flatten)]
    signal: Signal,
    #[command(flatten)]
    record: Record,
    #[command(flatten)]
    record_audio: RecordAudio,
}

/// What answers in the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bot {
    Echo,
    Pass,
    Play(PathBuf),
    /// In Hz.
    Tone(u32),
}

impl FromStr for Bot {
    type Err = String;

    fn from_str(text: &str) -> Result<Bot, String> {
        match text.split_once(':') {
            None if text == "echo" => Ok(Bot::Echo),
            None if text == "pass" => Ok(Bot::Pass),
            Some(("play", file)) if !file.is_empty() => Ok(Bot::Play(file.into())),
            Some(("tone", frequency)) => {
                let hz = frequency.parse().map_err(|_| {
                    format!("tone frequency: {frequency} (expected a whole number of Hz)")
                })?;
                let tone = Tone::new(hz, 0, None).map_err(|error| error.to_string());
                tone.map(|_| Bot::Tone(hz))
            }
            _ => Err("expected echo, pass, play:FILE or tone:HZ".to_owned()),
        }
    }
}

impl Cli {
    /// What is asked for: `smallrtc` alone is `smallrtc serve`.
    pub(crate) fn task(self) -> Task {
        match self.command {
            Some(Command::Serve(serve)) => Task::Serve(serve),
            Some(Command::Load(load)) => Task::Load(load),
            Some(Command::Show(file)) => Task::Show(file),
            Some(Command::Replay(file)) => Task::Replay(file),
            None => Task::Serve(Box::new(self.serve)),
        }
    }
}

impl Serve {
    pub(crate) fn bot(&self) -> &Bot {
        &self.bot
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn record_audio(&self) -> &RecordAudio {
        &self.record_audio
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        self.drain_timeout
    }

    pub(crate) fn options(self) -> Options {
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Tls::Files { cert, key },
            _ if self.tls_self_signed => Tls::SelfSigned,
            _ => Tls::Off,
        };
        let config = Config::new().max_sessions(self.max_sessions);
        let config = config.max_half_open(self.max_half_open);
        let config = config.expect("its range was checked when it was read");
        let mut options = Options::new().listen(self.listen).tls(tls).config(config);
        options.udp_port = self.udp_port;
        options.shards = self.shards;
        options.advertise = self.advertise;
        options.trusted_proxies = self.trusted_proxy;
        options.signaling = self.signal.options();
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

fn half_open(text: &str) -> Result<usize, String> {
    let number = at_least_one(text)?;
    let taken = Config::new().max_half_open(number);
    taken.map(|_| number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use smallrtc::signaling::{IceServer, Mode, Origins, RateLimit};

    fn options(words: &[&str]) -> Result<Options, String> {
        let words = std::iter::once("smallrtc").chain(words.iter().copied());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        match cli.task() {
            Task::Serve(serve) => Ok(serve.options()),
            Task::Load(_) | Task::Show(_) | Task::Replay(_) => Err("another task".to_owned()),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default_with_its_flags() {
        let plain = options(&[]).unwrap();
        assert_eq!(plain.listen, Options::new().listen);
        assert_eq!((plain.udp_port, plain.shards), (None, 1));
        for words in [&["serve", "--listen", "[::1]:80"][..], &["--listen", "[::1]:80"]] {
            assert_eq!(options(words).unwrap().listen, "[::1]:80".parse().unwrap());
        }
    }

    #[test]
    fn every_flag_arrives() {
        let words = "--udp-port 0 --shards 2 --advertise 203.0.113.1 --advertise 2001:db8::1 --bot echo \
            --tls-cert a.pem --tls-key b.pem --trusted-proxy 10.0.0.0/8 --trusted-proxy ::1";
        let options = options(&words.split_whitespace().collect::<Vec<_>>()).unwrap();
        assert_eq!((options.udp_port, options.shards), (Some(0), 2));
        assert_eq!(options.advertise.len(), 2);
        let proxies = options.trusted_proxies.iter().map(Network::to_string);
        assert_eq!(proxies.collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
        assert_eq!(options.tls, Tls::Files { cert: "a.pem".into(), key: "b.pem".into() });
    }

    #[test]
    fn signalling_is_set_up_by_flags_and_left_alone_without() {
        let plain = options(&[]).unwrap();
        assert_eq!(plain.signaling, smallrtc::signaling::Options::new());
        let words = ["--mode", "single", "--allowed-origins", "http://a,http://b:1"];
        let more = ["--ice-servers", "stun:x", "--rate-limit", "off"];
        let given = options(&[words, more].concat()).unwrap().signaling;
        let origins = Origins::Only(vec!["http://a".to_owned(), "http://b:1".to_owned()]);
        let expected = smallrtc::signaling::Options::new()
            .mode(Mode::Single)
            .allowed_origins(origins)
            .rate_limit(RateLimit::OFF)
            .ice_server(IceServer::new(["stun:x"]).unwrap());
        assert_eq!(given, expected.unwrap());
    }

    #[test]
    fn bots_are_named_with_what_they_say() {
        let bot = |text: &str| text.parse::<Bot>().unwrap();
        assert_eq!([bot("echo"), bot("pass")], [Bot::Echo, Bot::Pass]);
        assert_eq!(bot("play:a:b.wav"), Bot::Play("a:b.wav".into()), "names may have colons");
        assert_eq!([bot("tone:1"), bot("tone:20000")], [Bot::Tone(1), Bot::Tone(20_000)]);
    }

    #[test]
    fn calls_may_end_for_as_long_as_is_said() {
        let drain = |words: &[&str]| {
            let words = std::iter::once("smallrtc").chain(words.iter().copied());
            match Cli::try_parse_from(words).unwrap().task() {
                Task::Serve(serve) => serve.drain_timeout(),
                _ => panic!("another task"),
            }
        };
        assert_eq!(drain(&[]), smallrtc_server::limits::DRAIN_TIME);
        assert_eq!(drain(&["serve", "--drain-timeout", "2m"]), Duration::from_secs(120));
    }

    #[test]
    fn a_bad_value_names_its_flag() {
        for (words, flag) in [
            (&["--listen", "7860"][..], "--listen"),
            (&["--udp-port", "65536"], "--udp-port"),
            (&["--shards", "0"], "--shards"),
            (&["--shards", "257"], "--shards"),
            (&["--advertise", "example.org"], "--advertise"),
            (&["--trusted-proxy", "10.0.0.1/8"], "--trusted-proxy"),
            (&["--mode", "double"], "--mode"),
            (&["--allowed-origins", "example.org"], "--allowed-origins"),
            (&["--ice-servers", "http://x"], "--ice-servers"),
            (&["--rate-limit", "fast"], "--rate-limit"),
            (&["--drain-timeout", "soon"], "--drain-timeout"),
            (&["--bot", "parrot"], "--bot"),
            (&["--bot", "play"], "play:FILE"),
            (&["--bot", "play:"], "play:FILE"),
            (&["--bot", "tone:high"], "--bot"),
            (&["--bot", "tone:0"], "tone frequency: 0 (expected 1 to 20000)"),
            (&["--bot", "tone:20001"], "tone frequency: 20001 (expected 1 to 20000)"),
            (&["--record-audio-as", "wav"], "--record-audio"),
            (&["--record-audio", "x", "--record-audio-as", "mp3"], "--record-audio-as"),
            (&["--record-audio", "x", "--record-audio-sides", "left"], "--record-audio-sides"),
            (&["--record-audio", "x", "--record-audio-max", "1"], "--record-audio-max"),
            (&["--max-sessions", "0"], "--max-sessions"),
            (&["--max-sessions", "many"], "--max-sessions"),
            (&["--max-half-open", "0"], "--max-half-open"),
            (&["--max-half-open", "16777216"], "--max-half-open"),
            (&["--tls-cert", "a.pem"], "--tls-key"),
            (&["--tls-key", "a.pem"], "--tls-cert"),
            (&["--tls-self-signed", "--tls-cert", "a", "--tls-key", "b"], "--tls-self-signed"),
        ] {
            let error = options(words).unwrap_err();
            assert!(error.contains(flag), "{words:?}: {error}");
        }
    }
}
