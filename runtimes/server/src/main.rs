//! The program `smallrtc`: options in, address out, a bot in each call, and an orderly end.
//!
//! Ctrl-C or SIGTERM drains: no new call is taken, those that there are go on for `--drain-timeout`
//! at most, then get their goodbye. A second one ends at once.
//!
//! Exit codes: 0 after Ctrl-C or SIGTERM, 2 when an option or a file of it cannot be used, 130
//! after a second signal, which waits for nothing. `smallrtc load` ends with 0 when all calls came
//! about and lasted, with 1 when not; a signal stops it, and it tells of what it did so far. For
//! `show` and `replay` see [`logs`].

#![forbid(unsafe_code)]

mod cli;
mod logs;
mod plot;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use async_signal::{Signal, Signals};
use clap::Parser;
use futures_lite::{StreamExt, future};
use smallrtc::{CloseReason, Config};
use smallrtc_server::bots::Playable;
use smallrtc_server::limits::CLOSE_TIME_MAX;
use smallrtc_server::load::{LoadError, Stop};
use smallrtc_server::{
    AudioRecordings, Disk, OptionError, Peer, Recordings, Server, TapedPeer, bots,
};
use smol::Timer;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::{Bot, Cli, Load, Serve, Task};

/// How long the bots may take, once all calls have ended, to see that: they have nothing left to
/// wait for.
const BOTS_TIME_MAX: Duration = Duration::from_secs(1);

const BAD_OPTION: u8 = 2;
/// What shells report of a program that Ctrl-C ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    match Cli::parse().task() {
        Task::Serve(serve) => logged(|| answer_calls(*serve)),
        Task::Load(options) => logged(|| load(options)),
        // What a replayed session would log is what it logged when it was recorded.
        Task::Show(file) => file.show(),
        Task::Replay(file) => file.replay(),
    }
}

fn logged(task: impl FnOnce() -> ExitCode) -> ExitCode {
    match log() {
        Ok(()) => task(),
        Err(error) => refuse(&format!("RUST_LOG: {error}")),
    }
}

fn answer_calls(serve: Serve) -> ExitCode {
    let files = match Files::open(&serve) {
        Ok(files) => files,
        Err(error) => return refuse(&error),
    };
    let record = serve.record().clone();
    let drain = serve.drain_timeout();
    let mut options = serve.options();
    let recordings = match record.apply(files.answering.config(options.config)) {
        Ok((config, recordings)) => {
            options.config = config;
            recordings
        }
        Err(error) => return refuse(&error),
    };
    smol::block_on(async {
        match run(options, files, drain, recordings).await {
            Ok(code) => code,
            Err(error) => refuse(&format!("--{error}")),
        }
    })
}

/// What answers, and where it is recorded.
#[derive(Clone, Debug)]
struct Files {
    disk: Disk,
    answering: Answering,
    tapes: Option<AudioRecordings>,
}

/// A bot that has what it needs.
#[derive(Clone, Debug)]
enum Answering {
    Echo,
    Pass,
    Play(Playable),
    Tone(u32),
}

impl Answering {
    fn config(&self, config: Config) -> Config {
        match self {
            Answering::Echo => bots::echo_config(config),
            Answering::Pass => bots::pass_config(config),
            Answering::Play(file) => file.config(config),
            Answering::Tone(_) => bots::tone_config(config),
        }
    }
}

impl Files {
    /// Looks at everything that is to be played, and makes what is to be recorded in. The error
    /// names the option.
    fn open(serve: &Serve) -> Result<Files, String> {
        let disk = Disk::start().map_err(|error| format!("no thread for files: {error}"))?;
        let tapes = serve.record_audio().open(serve.bot(), &disk)?;
        let answering = match serve.bot() {
            Bot::Echo => Answering::Echo,
            Bot::Pass => Answering::Pass,
            Bot::Tone(hz) => Answering::Tone(*hz),
            Bot::Play(path) => {
                let told = |error| format!("--bot play:{}: {error}", path.display());
                let file = Playable::open(path).map_err(told)?;
                // What passes undecoded has no samples that could be recorded.
                let file = if serve.record_audio().is_on() { file.decoded() } else { file };
                Answering::Play(file)
            }
        };
        Ok(Files { disk, answering, tapes })
    }

    /// Answers a call until it ends; gives the reason.
    async fn answer(&self, peer: Peer) -> Option<CloseReason> {
        let call = match &self.tapes {
            Some(tapes) => tapes.record(peer),
            None => TapedPeer::from(peer),
        };
        match &self.answering {
            Answering::Echo => bots::echo(call).await,
            Answering::Pass => bots::pass(call).await,
            Answering::Play(file) => match bots::play(call, file, &self.disk) {
                Ok(call) => call.await,
                Err(error) => {
                    warn!(%error, "the file can be played no more");
                    None
                }
            },
            Answering::Tone(hz) => {
                bots::tone(call, *hz).expect("its range was checked when it was read").await
            }
        }
    }
}

/// Logs to stderr what `RUST_LOG` asks for, `info` by default.
fn log() -> Result<(), tracing_subscriber::filter::FromEnvError> {
    let filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env()?;
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    log.with_writer(io::stderr).init();
    Ok(())
}

fn refuse(error: &str) -> ExitCode {
    // Where nobody reads it there is nobody to tell that it could not be written.
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(BAD_OPTION)
}

/// Runs a load, and prints what it found out.
fn load(options: Load) -> ExitCode {
    let prints_json = options.prints_json();
    let stop = Stop::new();
    stop_on_signal(stop.clone());
    let report = match options.load().run_until(&stop, |_| {}) {
        Ok(report) => report,
        Err(LoadError::Option(error)) if error.option() == "url" => {
            return refuse(&error.to_string());
        }
        Err(LoadError::Option(error)) => return refuse(&format!("--{error}")),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if prints_json {
        serde_json::to_string_pretty(&report).unwrap_or_else(|error| error.to_string())
    } else {
        report.to_string()
    };
    let _ = writeln!(io::stdout(), "{text}");
    if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The first signal ends the calls of a load, which tells of them then; a second one waits for
/// nothing.
fn stop_on_signal(stop: Stop) {
    let mut signals = signals();
    smol::spawn(async move {
        interrupted(&mut signals).await;
        stop.stop();
        interrupted(&mut signals).await;
        std::process::exit(i32::from(INTERRUPTED));
    })
    .detach();
}

/// Ctrl-C and SIGTERM; Windows knows Ctrl-C alone, and refuses any other.
fn signals() -> Option<Signals> {
    let signals = Signals::new([Signal::Int, Signal::Term]);
    signals.or_else(|_| Signals::new([Signal::Int])).ok()
}

async fn run(
    options: smallrtc_server::Options,
    files: Files,
    drain: Duration,
    recordings: Option<Arc<Recordings>>,
) -> Result<ExitCode, OptionError> {
    // Before the address is printed, so that whoever waits for it may stop the program at once.
    let mut signals = signals();
    let server = Server::bind(options).await?;
    announce(&server);
    let (running, ended) = async_channel::bounded::<()>(1);
    let end = {
        let calls = take_calls(&server, &files, running);
        let drained = drained(&server, &mut signals, drain);
        future::or(drained, async {
            // The driver is gone.
            calls.await;
            End::Politely
        })
        .await
    };
    if end == End::AtOnce {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    info!("closing");
    let close = async {
        if within(CLOSE_TIME_MAX, server.close()).await.is_none() {
            warn!(limit = ?CLOSE_TIME_MAX, "the goodbye took too long: ended without it");
        }
        // Every bot holds a sender: this gives an error when the last one is gone.
        let _ = within(BOTS_TIME_MAX, ended.recv()).await;
        if let Some(recordings) = recordings
            && !smol::unblock(move || recordings.finish()).await
        {
            warn!("the disk is too slow: the last seconds of recordings are lost");
        }
        if let Some(tapes) = files.tapes
            && !smol::unblock(move || tapes.finish()).await
        {
            warn!("the disk is too slow: the last seconds of sound are lost");
        }
        ExitCode::SUCCESS
    };
    let again = async {
        interrupted(&mut signals).await;
        ExitCode::from(INTERRUPTED)
    };
    Ok(future::or(close, again).await)
}

/// How the end was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a goodbye to the calls that are left.
    Politely,
    /// By a second signal.
    AtOnce,
}

/// Waits for a signal, and then for the calls to end.
async fn drained(server: &Server, signals: &mut Option<Signals>, at_most: Duration) -> End {
    interrupted(signals).await;
    let (calls, _) = server.handle().load();
    info!(calls, ?at_most, "draining: no new call is taken");
    let drain = async {
        if !server.drain(at_most).await {
            info!("not all calls have ended in time");
        }
        End::Politely
    };
    let again = async {
        interrupted(signals).await;
        End::AtOnce
    };
    future::or(drain, again).await
}

fn announce(server: &Server) {
    let mut out = io::stdout().lock();
    for url in server.urls() {
        let _ = writeln!(out, "open {url}");
    }
    let _ = out.flush();
    // A microphone is what the page is for.
    if server.urls().iter().any(|url| needs_https(url)) {
        warn!("browsers give no microphone to plain http but on localhost: try --tls-self-signed");
    }
    for address in server.udp_addresses() {
        info!(%address, "calls come over UDP");
    }
}

fn needs_https(url: &str) -> bool {
    let local = ["http://127.", "http://[::1]:"].iter().any(|local| url.starts_with(local));
    url.starts_with("http://") && !local
}

async fn take_calls(server: &Server, files: &Files, running: Sender<()>) {
    while let Some(peer) = server.accept().await {
        let (running, files) = (running.clone(), files.clone());
        smol::spawn(async move {
            answer(peer, &files).await;
            drop(running);
        })
        .detach();
    }
}

async fn answer(peer: Peer, files: &Files) {
    let (shard, call) = (peer.shard(), peer.id());
    info!(shard, %call, pc_id = peer.pc_id(), "call begins");
    match files.answer(peer).await {
        Some(reason) => info!(shard, %call, %reason, "call ended"),
        None => info!(shard, %call, "call ended with its driver"),
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    future::or(async { Some(work.await) }, async {
        Timer::after(time).await;
        None
    })
    .await
}

async fn interrupted(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => drop(signals.next().await),
        // Without a handler the system ends the program by itself.
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::needs_https;

    #[test]
    fn only_plain_http_beyond_this_machine_needs_https() {
        assert!(needs_https("http://192.0.2.1:7860/"));
        assert!(needs_https("http://[2001:db8::1]:7860/"));
        for url in ["http://127.0.0.1:7860/", "http://[::1]:7860/", "https://192.0.2.1:7860/"] {
            assert!(!needs_https(url), "{url}");
        }
    }
}
