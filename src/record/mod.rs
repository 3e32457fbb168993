//! The log of a call: written while it goes on, read afterwards, and replayed.
//!
//! A session is a function of its configuration, of what is called from above and of what comes
//! through the two seams below it (transport and audio coders). A recording is exactly
//! that stream, with times. Replay feeds it to the same session code, over a transport and coders
//! that give what was recorded, and compares every call that the session makes, everything that
//! it returns and tells, and every deadline: the first difference is found where it arises.
//!
//! It never does I/O, reads no clock and starts no thread: finished bytes go to a [`LogSink`] of
//! the caller's. It never changes what a session does: a sink that fails or is full ends the
//! recording and not the call. Without [`Config::record`](crate::Config::record) nothing is
//! wrapped, and a call costs the check of one `Option`.
//!
//! # What is never in a log
//! - Keys, ICE passwords, certificates, and the session's seed. What is logged of randomness is
//!   the *public* child seed (`src/entropy.rs`): it gives what can be seen on the wire anyway and
//!   tells nothing of the rest. (With `dangerous().seeded_dtls`, DTLS is drawn from it as well:
//!   that switch gives the traffic away with or without a log.)
//! - Of an SDP the values that are not on a list of harmless ones (`src/record/mask.rs`):
//!   passwords, `a=crypto`, identities, whatever is unknown, stand as `x`. Addresses stay,
//!   because a log without them explains no failure to connect. Fingerprints stay too: a
//!   certificate's hash is public, and whoever has it can compare it and nothing else.
//! - The text of a refusal, which may quote an SDP: its kind is kept.
//!
//! No decision of a session depends on what is left out: it reads of an SDP m-lines and the ufrag,
//! and passwords it only passes on.
//!
//! # What is kept of media and messages
//! | [`Detail`] | of media | of messages |
//! | --- | --- | --- |
//! | `None` | how long sound is; the length of coded frames that the session queues, because a limit counts it | their lengths, because limits count them |
//! | `Sizes` | also levels, coded lengths and those of datagrams | also which are binary, and labels of channels |
//! | `Full` | also PCM that was sent and coded bytes that came in | also their bytes |
//!
//! At `None` and `Sizes` a replay proves the decisions. At media `Full` the real coders run (an
//! application's own have to be given: [`replay_with`]), and it
//! proves what they coded and the PCM that was given out, on a CPU of the same class: floating
//! point and the coders' vector code may differ on another one.
//!
//! # Format, version 4
//! ```text
//! log    = "smallrtc", version: u16, record*
//! record = length: u32, check: u32, body
//! body   = entry, crossing*
//! ```
//! Numbers of fixed width are little endian. The check covers length and body. Bodies are
//! [postcard](https://postcard.jamesmunns.com/wire-format): variants by number, integers in as few
//! bytes as they need. New variants go to the end; any other change is a new version.
//!
//! | entry | when | followed by |
//! | --- | --- | --- |
//! | header | first | nothing |
//! | call | a public call that may change something; polls only when they gave something | crossings in order: calls to the transport and coders with what they gave, events, the returned value, the next deadline if it moved |
//! | mark | every 4096 calls | nothing |
//! | end | last, with its cause: dropped session, limit | nothing |
//! | routing | the endpoint admitted this session, or bound, refused or freed an address of it; shown, and not proved by a replay, which has no endpoint | nothing |
//!
//! Marks and the end carry the number of calls and two digests: of the *decisions* (what the
//! session asked of the transport, returned and told, its deadlines) and of the *media* (coded
//! bytes and PCM that came out; at `Full` only).
//!
//! A log is only ever appended to. One that ends in the middle of a record (a crash, a full disk)
//! is read up to there, one with a changed byte up to the record that it stands in; [`Log::damage`]
//! gives the place. A record is written when the next one begins, because only then its deadline
//! is known.
//!
//! # Limits
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | a log | [`Recording::bytes_max`], 64 MiB by default | the end is marked, calls are counted as missed ([`Stats::calls_unrecorded`](crate::Stats)) |
//! | finished records that wait for the sink | 16 KiB, one second | they are handed over |
//! | refusals of the endpoint in a log | 256 | counted by the endpoint only: strangers must not fill a call's log |
//! | a record | 16 MiB | as for a log; a reader takes it for damage |
//! | a sink that takes no more | its own | the recording ends without a mark; counted |

mod coding;
mod entry;
mod figures;
mod log;
mod mask;
mod player;
mod recorder;
mod replay;
mod seams;
mod show;
mod tape;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole_calls;

use std::fmt;
use std::sync::Arc;

pub(crate) use entry::{Call, Path, Routing, Value};
pub use figures::{Figure, Figures};
pub use log::{Damage, Log, LogError};
pub(crate) use recorder::Recorder;
pub use replay::{Difference, Replay, replay, replay_with};
pub(crate) use replay::{of_audio, of_candidate, of_cleared, of_encoded, of_message, of_offer};
pub(crate) use tape::Tape;

/// The configuration that a replay of a log with this one has.
#[cfg(all(test, feature = "opus", feature = "libopus"))]
pub(crate) fn settings_there_and_back(config: &crate::Config) -> crate::Config {
    entry::Settings::of(config).config().expect("it was one")
}

/// The first bytes of every log.
pub(crate) const MAGIC: [u8; 8] = *b"smallrtc";

/// The version of the format above.
pub(crate) const VERSION: u16 = 4;

/// Calls between two marks: about ten seconds of a call, so that a log that was cut proves all but
/// its last seconds by digests too.
pub(crate) const MARK_INTERVAL: u64 = 4096;

/// The longest record in bytes: the longest piece that `send_audio` takes, 60 s in stereo at
/// 48 kHz, has 11.5 MB at `Full`.
pub(crate) const RECORD_LEN_MAX: usize = 16 * 1024 * 1024;

/// Routing records of a refused address or a forged request in one log. 256: enough to see that
/// somebody tries; anybody can send them, at any rate.
pub(crate) const REFUSALS_MAX: u32 = 256;

/// How many bytes of finished records are handed over at once. 16 KiB: a second or two of a call,
/// so that a file is written every second and not 200 times.
pub(crate) const CHUNK_LEN: usize = 16 * 1024;

/// The default of [`Recording::bytes_max`]. 64 MiB: more than an hour of a call at `Sizes`.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The least of it: a header and an end, with room for a call in between.
const BYTES_MIN: u64 = 4 * 1024;

/// The number of this build: equal numbers promise an identical replay.
pub(crate) const BEHAVIOUR: &str = env!("SMALLRTC_BEHAVIOUR");

/// How much of media or messages is kept. See the table of the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Detail {
    /// What the limits count.
    None,
    /// Sizes and levels, no content.
    #[default]
    Sizes,
    /// Everything.
    Full,
}

impl Detail {
    /// The word for it: `none`, `sizes` or `full`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Detail::None => "none",
            Detail::Sizes => "sizes",
            Detail::Full => "full",
        }
    }
}

/// Takes the bytes of one log, in order.
///
/// It is called in the middle of calls to a session, so it must not block for long: hand the bytes
/// to a thread or to a file whose writes the system buffers. It is dropped when nothing more
/// comes.
pub trait LogSink: Send {
    /// Takes bytes. False when they could not be taken: the recording ends there.
    fn write(&mut self, bytes: &[u8]) -> bool;
}

/// Gives each new session a place for its log.
pub trait Archive: Send + Sync {
    /// A sink for the log of a session; `None` when this one is not to be recorded.
    ///
    /// `name` tells the sessions of one endpoint apart, also those of another run: slot and
    /// generation as in [`SessionId`](crate::SessionId), and the random part of the ufrag. It has
    /// digits, letters, `.` and `-` only.
    fn open(&self, name: &str) -> Option<Box<dyn LogSink>>;
}

/// What is recorded, and where to.
///
/// ```
/// use smallrtc::Config;
/// use smallrtc::record::{Archive, Detail, LogSink, Recording};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone, Default)]
/// struct Memory(Arc<Mutex<Vec<u8>>>);
///
/// impl Archive for Memory {
///     fn open(&self, _name: &str) -> Option<Box<dyn LogSink>> {
///         Some(Box::new(self.clone()))
///     }
/// }
///
/// impl LogSink for Memory {
///     fn write(&mut self, bytes: &[u8]) -> bool {
///         self.0.lock().unwrap().extend_from_slice(bytes);
///         true
///     }
/// }
///
/// let recording = Recording::new(Arc::new(Memory::default())).messages(Detail::None);
/// let config = Config::new().record(recording);
/// ```
#[derive(Clone)]
pub struct Recording {
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) keep: Keep,
    pub(crate) bytes_max: u64,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep {
    pub(crate) media: Detail,
    pub(crate) messages: Detail,
}

impl Recording {
    /// Sizes of media and messages, at most 64 MiB a log.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>) -> Recording {
        Recording { archive, keep: Keep::default(), bytes_max: BYTES_MAX }
    }

    /// How much of sound and pictures is kept; `Sizes` by default.
    #[must_use]
    pub fn media(mut self, detail: Detail) -> Recording {
        self.keep.media = detail;
        self
    }

    /// How much of messages is kept; `Sizes` by default.
    #[must_use]
    pub fn messages(mut self, detail: Detail) -> Recording {
        self.keep.messages = detail;
        self
    }

    /// The most bytes of one log; 64 MiB by default, more than an hour at `Sizes`. At the limit
    /// the recording ends with a mark and the call goes on. At least 4 KiB.
    #[must_use]
    pub fn bytes_max(mut self, bytes: u64) -> Recording {
        self.bytes_max = bytes.max(BYTES_MIN);
        self
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("keep", &self.keep)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}
