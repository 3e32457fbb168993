//! A bot that says tones when it is told to, for the browser tests.
//!
//! The tests listen to what a browser makes of our sound under every setting that sound has. Those
//! settings are an application's choices and no flags of the program, so here is an application
//! that has them as arguments: one server for each, all in one process.
//!
//! Run: `cargo run --release -p smallrtc-server --example speaker -- [--record DIR] SERVER...`,
//! where SERVER is `ADDRESS[,KEY=VALUE]...` with the keys of [`Speaker::set`]. What it is told
//! comes as JSON messages, see [`Command`]; it answers with JSON messages, see [`Answer`].

#![expect(clippy::print_stdout, reason = "a program says where it can be found")]

use std::collections::VecDeque;
use std::error::Error;
use std::f64::consts::TAU;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};
use serde::{Deserialize, Serialize};
use smallrtc::record::Recording;
use smallrtc::{AudioFrame, AudioId, AudioIdle, Config, Event, Message, PacketTime, SendError};
use smallrtc_server::{Options, Peer, Received, Recordings, Server};
use tracing::info;

/// A third of full scale, as the tone of the tests' microphone: far from clipping.
const AMPLITUDE: f64 = 0.33 * 32_767.0;

/// A tone fades in and out in so many seconds, so that whatever clicks is not its edge.
const EDGE_S: f64 = 0.005;

/// What a page may ask for.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
enum Command {
    Say(Tones),
    /// Barge-in.
    Clear,
    /// Keys of a telephone, how long each is, and the gap after each.
    Dial {
        keys: String,
        ms: u64,
        gap_ms: u64,
    },
    /// To tell whether the machine let the bot be in time.
    Stats,
}

/// Tones, one after the other with silence between them, as one stream of samples that is cut to
/// pieces.
#[derive(Clone, Debug, Deserialize)]
struct Tones {
    /// The frequency in each channel.
    hz: Vec<f64>,
    ms: u32,
    /// The samples per channel of each piece, and their rate, from the first again when there are
    /// no more. A piece without a length has all that is left.
    #[serde(default)]
    blocks: Vec<usize>,
    rates: Vec<u32>,
}

/// What is answered, and told without being asked.
#[derive(Debug, Serialize)]
#[serde(tag = "did", rename_all = "lowercase")]
enum Answer {
    /// Tones were queued.
    Say { first: u64, last: u64, samples: u64 },
    /// Their first sample went out.
    Started { first: u64 },
    /// Their last sample went out; how many went out of all.
    Finished { last: u64, samples: u64 },
    /// Sound was cleared, so many ms after the epoch.
    Clear { cleared_ms: f64, pieces: Vec<Piece> },
    /// All keys are over.
    Dial,
    /// How often packets left so late that their clock slipped, and by how much in all.
    Stats { slips: u64, slipped_ms: f64 },
}

#[derive(Debug, Serialize)]
struct Piece {
    id: u64,
    sent: u64,
    dropped: u64,
    confirmed: u64,
    played_estimate: u64,
}

/// What was queued, and how much of it has gone out since the last tones ended.
#[derive(Debug, Default)]
struct Speech {
    said: VecDeque<Said>,
    sent: u64,
}

/// Tones that are being said.
#[derive(Debug)]
struct Said {
    first: AudioId,
    last: AudioId,
    samples: u64,
}

impl Tones {
    /// The samples of a piece that begins `since` seconds after the first, interleaved.
    fn piece(&self, since: f64, rate: u32, length: usize) -> Vec<i16> {
        let end = f64::from(self.ms) / 1000.0;
        let sample = |index: usize, hz: &f64| {
            let at = since + index as f64 / f64::from(rate);
            let edge = (at.min(end - at) / EDGE_S).clamp(0.0, 1.0);
            (AMPLITUDE * edge * (TAU * hz * at).sin()).round() as i16
        };
        (0..length).flat_map(|index| self.hz.iter().map(move |hz| sample(index, hz))).collect()
    }

    /// Queues all of it.
    async fn say(&self, peer: &Peer) -> Result<Option<Said>, SendError> {
        let (mut said, mut since) = (None::<Said>, 0.0);
        let mut blocks = self.blocks.iter().copied().cycle();
        for rate in self.rates.iter().copied().cycle() {
            let left = (f64::from(self.ms) / 1000.0 - since) * f64::from(rate);
            let length = blocks.next().unwrap_or(usize::MAX).min(left.round() as usize);
            if length == 0 {
                break;
            }
            let samples = self.piece(since, rate, length);
            let channels = u8::try_from(self.hz.len()).unwrap_or(u8::MAX);
            let last = peer.send_audio(AudioFrame { samples: &samples, rate, channels }).await?;
            since += length as f64 / f64::from(rate);
            let said = said.get_or_insert(Said { first: last, last, samples: 0 });
            (said.last, said.samples) = (last, said.samples + length as u64);
        }
        Ok(said)
    }
}

/// One server of these.
#[derive(Debug)]
struct Speaker {
    options: Options,
}

impl Speaker {
    fn new(argument: &str) -> Result<Speaker, Box<dyn Error>> {
        let mut parts = argument.split(',');
        let address = parts.next().unwrap_or_default();
        let mut speaker = Speaker { options: Options::new().listen(address.parse()?) };
        for part in parts {
            let (key, value) = part.split_once('=').ok_or("expected KEY=VALUE")?;
            let config = Speaker::set(speaker.options.config.clone(), key, value);
            speaker.options.config = config.map_err(|error| format!("{argument}: {error}"))?;
        }
        Ok(speaker)
    }

    /// `packet` in ms; `out` as RATExCHANNELS; `bitrate`; `complexity`; `idle`.
    fn set(config: Config, key: &str, value: &str) -> Result<Config, Box<dyn Error>> {
        Ok(match (key, value) {
            ("packet", "10") => config.audio_packet_time(PacketTime::Ms10),
            ("packet", "20") => config.audio_packet_time(PacketTime::Ms20),
            ("packet", "40") => config.audio_packet_time(PacketTime::Ms40),
            ("packet", "60") => config.audio_packet_time(PacketTime::Ms60),
            ("idle", "silence") => config.audio_idle(AudioIdle::Silence),
            ("idle", "dtx") => config.audio_idle(AudioIdle::Dtx),
            ("idle", "nothing") => config.audio_idle(AudioIdle::Nothing),
            ("bitrate", bitrate) => config.audio_bitrate(bitrate.parse()?)?,
            ("complexity", complexity) => config.audio_complexity(complexity.parse()?)?,
            ("out", form) => {
                let (rate, channels) = form.split_once('x').ok_or("expected RATExCHANNELS")?;
                config.audio_out(rate.parse()?, channels.parse()?)?
            }
            _ => return Err(format!("{key}={value} is unknown").into()),
        })
    }
}

async fn tell(peer: &Peer, answer: &Answer) {
    if let Ok(text) = serde_json::to_string(answer) {
        // When it cannot be told the call is over, which comes next.
        let _ = peer.send_message(Message::text(text)).await;
    }
}

async fn obey(peer: &Peer, command: Command, speech: &mut Speech) {
    match command {
        Command::Say(tones) => {
            if let Ok(Some(more)) = tones.say(peer).await {
                let Said { first: AudioId(first), last: AudioId(last), samples } = more;
                speech.said.push_back(more);
                tell(peer, &Answer::Say { first, last, samples }).await;
            }
        }
        Command::Clear => {
            let cleared_ms = epoch_ms();
            let cleared = peer.clear_audio().await;
            *speech = Speech::default();
            let pieces = cleared.pieces.iter().map(|piece| Piece {
                id: piece.id.0,
                sent: piece.sent,
                dropped: piece.dropped,
                confirmed: piece.confirmed,
                played_estimate: piece.played_estimate,
            });
            tell(peer, &Answer::Clear { cleared_ms, pieces: pieces.collect() }).await;
        }
        Command::Dial { keys, ms, gap_ms } => {
            let (duration, gap) = (Duration::from_millis(ms), Duration::from_millis(gap_ms));
            if let Err(error) = peer.send_dtmf(&keys, duration, gap).await {
                info!(call = %peer.id(), %error, "no keys can be sent");
            }
        }
        Command::Stats => {
            if let Some(stats) = peer.stats().await {
                let slipped_ms = stats.audio_slipped.as_secs_f64() * 1000.0;
                tell(peer, &Answer::Stats { slips: stats.audio_slips, slipped_ms }).await;
            }
        }
    }
}

/// The clock that a page has too (`Date.now()`).
#[expect(clippy::disallowed_methods, reason = "a program has clocks; the page compares them")]
fn epoch_ms() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64() * 1000.0
}

/// Adds up what goes out, and tells of the first and of the last piece of tones.
async fn see(peer: &Peer, event: &Event, Speech { said, sent }: &mut Speech) {
    match event {
        Event::AudioStarted { id } if said.iter().any(|said| said.first == *id) => {
            tell(peer, &Answer::Started { first: id.0 }).await;
        }
        Event::DtmfSent => tell(peer, &Answer::Dial).await,
        Event::AudioFinished { id, samples } => {
            *sent += samples;
            if said.front().is_some_and(|said| said.last == *id) {
                said.pop_front();
                tell(peer, &Answer::Finished { last: id.0, samples: std::mem::take(sent) }).await;
            }
        }
        _ => {}
    }
}

async fn speak(mut peer: Peer) {
    let mut speech = Speech::default();
    while let Some(received) = peer.recv().await {
        match received {
            Received::Message(message) => {
                if let Ok(command) = serde_json::from_slice(message.as_bytes()) {
                    obey(&peer, command, &mut speech).await;
                }
            }
            Received::Event(event) => see(&peer, &event, &mut speech).await,
            Received::Closed(reason) => info!(call = %peer.id(), %reason, "call ended"),
            _ => {}
        }
    }
}

async fn take_calls(server: &Server) {
    while let Some(peer) = server.accept().await {
        info!(call = %peer.id(), "call begins");
        smol::spawn(speak(peer)).detach();
    }
}

/// Ctrl-C, and a kill that asks. Windows knows Ctrl-C alone.
async fn interrupted(signals: io::Result<Signals>) {
    match signals {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => future::pending().await,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut recordings = None;
    if let [option, directory, ..] = words.as_slice()
        && option == "--record"
    {
        recordings = Some(Recordings::create(Path::new(directory))?);
        words.drain(..2);
    }
    let mut speakers =
        words.iter().map(|word| Speaker::new(word)).collect::<Result<Vec<_>, _>>()?;
    if let Some(recordings) = &recordings {
        for speaker in &mut speakers {
            let recording = Recording::new(recordings.clone());
            speaker.options.config = speaker.options.config.clone().record(recording);
        }
    }
    smol::block_on(run(speakers))?;
    if recordings.is_some_and(|recordings| !recordings.finish()) {
        return Err("the disk is too slow: the last seconds of recordings are lost".into());
    }
    Ok(())
}

async fn run(speakers: Vec<Speaker>) -> Result<(), Box<dyn Error>> {
    let signals = Signals::new([Signal::Int, Signal::Term]);
    let signals = signals.or_else(|_| Signals::new([Signal::Int]));
    let mut servers = Vec::new();
    for speaker in speakers {
        servers.push(Arc::new(Server::bind(speaker.options).await?));
    }
    let calls: Vec<_> = servers.iter().cloned().map(calls_of).collect();
    servers.iter().for_each(|server| println!("open {}", server.url()));
    interrupted(signals).await;
    for calls in calls {
        calls.cancel().await;
    }
    for server in servers.into_iter().filter_map(Arc::into_inner) {
        server.close().await;
    }
    Ok(())
}

/// A task that takes the calls of a server until it is cancelled.
fn calls_of(server: Arc<Server>) -> smol::Task<()> {
    smol::spawn(async move { take_calls(&server).await })
}
