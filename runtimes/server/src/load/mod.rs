//! Load: many model browsers that call a SmallWebRTC server, and what became of their calls.
//!
//! Each caller is a whole browser as far as the network can tell: an offer over HTTP, ICE, DTLS,
//! SRTP and a data channel over a UDP socket of its own, a tone in packets of 20 ms, a ping each
//! second, messages. Any server of the protocol can be called, ours or another. `smallrtc load` is
//! this from the command line; in a test of one's own it looks so:
//!
//! ```no_run
//! use smallrtc_server::load::Load;
//! use std::time::Duration;
//!
//! let load = Load::new("http://127.0.0.1:7860").calls(10).duration(Duration::from_secs(2));
//! let report = load.run()?;
//! assert!(report.is_success(), "{report}");
//! assert_eq!(report.total.audio.lost, 0);
//! # Ok::<(), smallrtc_server::load::LoadError>(())
//! ```
//!
//! What it never does: retry a call, send a burst after a stall of its own, or leave its own
//! lateness out of the report. Where it cannot keep up it says so: see
//! [`Audio::sent_late`] and [`Audio::slips`]. Who loads a server from the same machine shares
//! its cores with it.
//!
//! | limit | value | at the limit |
//! | --- | --- | --- |
//! | [`CALLS_MAX`] | 10,000 calls | refused |
//! | offers over HTTP at once | 16 | later ones wait; the waiting is measured |
//! | connecting | 15 s | the call counts as failed |
//! | leaving | 1 s | the call is dropped |

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a load is made of clocks, sockets and threads"
)]

mod arrivals;
mod caller;
mod clock;
mod crew;
mod echo;
mod engine;
mod offers;
mod plan;
mod probes;
mod report;
mod summary;
mod tone;
mod trust;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::OptionError;
use caller::{CONNECT_TIME_MAX, LEAVE_TIME_MAX};
use crew::{Crew, Inbound, Word};
use engine::Engines;
use offers::{POSTING_MAX, Target};
use plan::Plan;
pub use report::{
    Audio, CallReport, Connect, EarlyEnd, Echo, Failure, Figures, Messages, Outcome, Report, Spread,
};
use summary::Lasted;
use tone::Tone;

/// The most calls of a load: each has a port of its own, and there are 28,000 on one address
/// (`net.ipv4.ip_local_port_range` of Linux).
pub const CALLS_MAX: usize = 10_000;

/// The most threads of a load: more than machines have cores for it.
const THREADS_MAX: usize = 256;

/// The most calls that begin in a second: what one core can make offers for.
const RATE_MAX: u32 = 10_000;

/// The longest that calls last together: a day. What is left to find after it, a load that is
/// repeated finds.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most messages of a call in a second; beyond it the data channel is what is measured.
const MESSAGES_MAX: u32 = 1_000;

/// What a load may take beyond its own limits before it is given up: only a machine that stands
/// still takes as long.
const STALL_TIME_MAX: Duration = Duration::from_secs(30);

/// How often a load looks whether it is to stop. 50 ms: nobody who pressed Ctrl-C notices, and a
/// look costs nothing.
const STOP_LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Many calls to a server.
#[derive(Clone, Debug)]
#[must_use = "a load does nothing until it runs"]
#[non_exhaustive]
pub struct Load {
    /// The server: the address of its page, or of its signalling where that is not at
    /// `/api/offer`, as Pipecat's runner has it.
    pub url: String,
    /// How many calls; 1 by default, at most [`CALLS_MAX`].
    pub calls: usize,
    /// How long all calls last together, once the last of them has connected or failed; 10 s by
    /// default, which is five echoes of the tone's mark. At most a day.
    pub duration: Duration,
    /// How many calls begin in a second; 50 by default: connecting costs a server about 1 ms of
    /// a core, so that calls that are there already are not disturbed much.
    pub rate: u32,
    /// Threads that the callers share; 1 by default, which does for 1,000 calls. At most 256.
    pub threads: usize,
    /// Whether callers offer a microphone and speak; so by default.
    pub audio: bool,
    /// Messages that each call sends in a second; 1 by default, 0 for none, at most 1,000. Bots
    /// that return messages are measured by them, others leave them alone.
    pub messages: u32,
    /// Whether the bot is expected to return the sound. Then a load is a success only if it did;
    /// not by default. It is always told what came back.
    pub expects_echo: bool,
    /// One call of so many decodes what it hears, the first included; 50 by default: decoding
    /// costs about as much as the rest of a call.
    pub listen_every: usize,
    /// Whether callers go without a word in the end, as a phone whose battery is empty; they
    /// close the connection by default.
    pub abrupt: bool,
    /// Whether https takes any certificate; not by default. Without it https is refused, because
    /// no certificates are built in.
    pub insecure: bool,
}

/// Why a load could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An option that it cannot be run with.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The system has no threads, timers or readiness queues left.
    #[error("the system: {0}")]
    System(#[from] io::Error),
    /// The load did not end in time: the machine stood still, or a thread of it failed.
    #[error("the load stood still")]
    Stalled,
}

/// How far a load is, for what else is to be measured at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Every call has connected or failed.
    Steady,
    /// The time is up, or every call is over: callers leave next.
    Ending,
}

/// Stops a load from another thread, as Ctrl-C does: calls that are there leave as they do at the
/// end, those that are not yet there are not made any more, and the report tells of what was done.
/// Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    is_asked: Arc<AtomicBool>,
}

impl Stop {
    /// Nothing is stopped yet.
    #[must_use]
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Stops every load that it was given to, within a tenth of a second. It cannot be taken back.
    pub fn stop(&self) {
        self.is_asked.store(true, Ordering::Release);
    }

    /// Whether it was asked for.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }
}

impl Load {
    /// One call for 10 s that speaks and sends a message a second.
    pub fn new(url: impl Into<String>) -> Load {
        Load {
            url: url.into(),
            calls: 1,
            duration: Duration::from_secs(10),
            rate: 50,
            threads: 1,
            audio: true,
            messages: 1,
            expects_echo: false,
            listen_every: 50,
            abrupt: false,
            insecure: false,
        }
    }

    /// Makes so many calls.
    pub fn calls(mut self, calls: usize) -> Load {
        self.calls = calls;
        self
    }

    /// Lets all calls last this long together.
    pub fn duration(mut self, duration: Duration) -> Load {
        self.duration = duration;
        self
    }

    /// Begins so many calls a second.
    pub fn rate(mut self, rate: u32) -> Load {
        self.rate = rate;
        self
    }

    /// Shares the callers between so many threads.
    pub fn threads(mut self, threads: usize) -> Load {
        self.threads = threads;
        self
    }

    /// Lets callers speak, or not.
    pub fn audio(mut self, audio: bool) -> Load {
        self.audio = audio;
        self
    }

    /// Lets each call send so many messages a second.
    pub fn messages(mut self, messages: u32) -> Load {
        self.messages = messages;
        self
    }

    /// Makes the sound's return a condition of success, or not.
    pub fn expects_echo(mut self, expects_echo: bool) -> Load {
        self.expects_echo = expects_echo;
        self
    }

    /// Listens to one call of so many.
    pub fn listen_every(mut self, calls: usize) -> Load {
        self.listen_every = calls;
        self
    }

    /// Lets callers go without a word, or not.
    pub fn abrupt(mut self, abrupt: bool) -> Load {
        self.abrupt = abrupt;
        self
    }

    /// Lets https take any certificate, or not.
    pub fn insecure(mut self, insecure: bool) -> Load {
        self.insecure = insecure;
        self
    }

    /// Makes the calls, waits for their end and tells what became of them. Blocks for as long as
    /// the calls need to begin and [`Load::duration`] after that.
    ///
    /// # Errors
    /// An option that cannot be used, a host that is not found, or a system without threads or
    /// timers. A server that is not there or refuses is no error: the report tells.
    pub fn run(&self) -> Result<Report, LoadError> {
        self.run_with(|_| {})
    }

    /// As [`Load::run`], and tells how far it is.
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn run_with(&self, on_phase: impl FnMut(Phase)) -> Result<Report, LoadError> {
        self.run_until(&Stop::new(), on_phase)
    }

    /// As [`Load::run_with`], and ends as soon as it is to stop: [`Report::is_stopped`].
    ///
    /// # Errors
    /// As [`Load::run`].
    pub fn run_until(&self, stop: &Stop, on_phase: impl FnMut(Phase)) -> Result<Report, LoadError> {
        self.check()?;
        let target = Arc::new(Target::find(&self.url, self.insecure)?);
        let (offers, waiting) = async_channel::bounded(self.calls);
        let plan = Arc::new(Plan {
            local_ip: target.local_ip()?,
            engines: Engines::new(),
            abrupt: self.abrupt,
            offers,
            tones: if self.audio { Tone::all().map_err(io::Error::other)? } else { Vec::new() },
            listen_every: self.listen_every,
            messages: (self.messages > 0).then(|| Duration::from_secs(1) / self.messages),
            pause: Duration::from_secs(1) / self.rate,
            start: Instant::now(),
        });
        for _ in 0..POSTING_MAX.min(self.calls) {
            let (target, waiting) = (Arc::clone(&target), waiting.clone());
            let post = move || offers::post_all(&target, &waiting);
            thread::Builder::new().name("load-http".to_owned()).spawn(post)?;
        }
        let (words, heard) = mpsc::channel();
        let run = Run::begin(&plan, self.threads.min(self.calls), self.calls, &words)?;
        drop((words, plan));
        run.conduct(self, &Words { heard, stop: stop.clone() }, on_phase)
    }

    fn check(&self) -> Result<(), OptionError> {
        let within = |option, value: u64, most: u64| {
            let reason = format!("expected 1 to {most}");
            let is_within = (1..=most).contains(&value);
            if is_within { Ok(()) } else { Err(OptionError::new(option, value, reason)) }
        };
        within("calls", self.calls as u64, CALLS_MAX as u64)?;
        within("rate", u64::from(self.rate), u64::from(RATE_MAX))?;
        within("threads", self.threads as u64, THREADS_MAX as u64)?;
        within("listen-every", self.listen_every as u64, CALLS_MAX as u64)?;
        if self.messages > MESSAGES_MAX {
            let reason = format!("expected 0 to {MESSAGES_MAX}");
            return Err(OptionError::new("messages", self.messages, reason));
        }
        if self.duration > DURATION_MAX {
            let value = format!("{} s", self.duration.as_secs());
            return Err(OptionError::new("duration", value, "expected at most a day"));
        }
        if self.expects_echo && !self.audio {
            let reason = "nothing is said, so nothing can come back";
            return Err(OptionError::new("expect-echo", "with --no-audio", reason));
        }
        Ok(())
    }
}

/// The threads of a load, and the ways to tell them something.
struct Run {
    crews: Vec<(Sender<Inbound>, Arc<mio::Waker>)>,
    ended: Receiver<io::Result<Crew>>,
}

impl Run {
    fn begin(
        plan: &Arc<Plan>,
        threads: usize,
        calls: usize,
        words: &Sender<Word>,
    ) -> Result<Run, LoadError> {
        let (done, ended) = mpsc::channel();
        let mut crews = Vec::with_capacity(threads);
        for thread in 0..threads {
            let (tell, inbox) = mpsc::channel();
            let numbers = (thread..calls).step_by(threads);
            let crew = Crew::new(plan, numbers, (tell.clone(), inbox), words.clone())?;
            crews.push((tell, crew.waker()));
            let done = done.clone();
            // Nobody listens to a load that was given up.
            let work = move || drop(done.send(crew.run()));
            thread::Builder::new().name("load".to_owned()).spawn(work)?;
        }
        Ok(Run { crews, ended })
    }

    fn tell(&self, what: impl Fn() -> Inbound) {
        for (inbox, waker) in &self.crews {
            // A crew that is gone has failed, and says so when it is waited for.
            if inbox.send(what()).is_ok() {
                let _ = waker.wake();
            }
        }
    }

    fn conduct(
        self,
        load: &Load,
        words: &Words,
        mut on_phase: impl FnMut(Phase),
    ) -> Result<Report, LoadError> {
        let begin = Duration::from_secs(1) * (load.calls as u32) / load.rate;
        let give_up = Instant::now() + begin + CONNECT_TIME_MAX + STALL_TIME_MAX;
        let (mut settled, mut ended, mut is_stopped) = (0, 0, false);
        while settled < load.calls && !is_stopped {
            match words.hear(give_up) {
                Heard::Word(Word::Settled) => settled += 1,
                Heard::Word(Word::Ended) => ended += 1,
                Heard::Stop => is_stopped = true,
                Heard::Nothing => return self.failed(),
            }
        }
        let steady = (!is_stopped).then(|| {
            self.tell(|| Inbound::Steady);
            on_phase(Phase::Steady);
            Instant::now()
        });
        while let Some(steady) = steady
            && ended < load.calls
            && !is_stopped
        {
            match words.hear(steady + load.duration) {
                Heard::Word(Word::Ended) => ended += 1,
                Heard::Word(Word::Settled) => {}
                Heard::Stop => is_stopped = true,
                Heard::Nothing => break,
            }
        }
        let steady = steady.map(|since| since.elapsed()).unwrap_or_default();
        let lasted = Lasted { steady, is_stopped };
        on_phase(Phase::Ending);
        self.tell(|| Inbound::End);
        let give_up = Instant::now() + LEAVE_TIME_MAX + STALL_TIME_MAX;
        let mut crews = Vec::with_capacity(self.crews.len());
        for _ in &self.crews {
            let left = give_up.saturating_duration_since(Instant::now());
            crews.push(self.ended.recv_timeout(left).map_err(|_| LoadError::Stalled)??);
        }
        Ok(summary::report(load, lasted, crews))
    }

    /// Gives the load up; tells why a crew is gone, as far as it said.
    fn failed(&self) -> Result<Report, LoadError> {
        self.tell(|| Inbound::End);
        match self.ended.try_recv() {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(LoadError::Stalled),
        }
    }
}

/// What crews tell, and who stops the load.
struct Words {
    heard: Receiver<Word>,
    stop: Stop,
}

/// What was heard.
enum Heard {
    Word(Word),
    /// The load is to stop.
    Stop,
    /// Nothing came in time, or nobody is left to say anything.
    Nothing,
}

impl Words {
    /// The next word until then.
    fn hear(&self, until: Instant) -> Heard {
        loop {
            if self.stop.is_asked() {
                return Heard::Stop;
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left.min(STOP_LOOK_INTERVAL)) {
                Ok(word) => return Heard::Word(word),
                Err(RecvTimeoutError::Timeout) if left > STOP_LOOK_INTERVAL => {}
                Err(_) => return Heard::Nothing,
            }
        }
    }
}
