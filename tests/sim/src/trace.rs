//! What happened, as text that two runs can be compared by.

use std::fmt::{self, Write as _};
use std::hash::{Hash as _, Hasher as _};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallrtc::scripted::{self, Frame};

use crate::witness::{self, Digest};

/// What happened, a line each: virtual time, and a datagram's direction, kind, length and
/// addresses, or an event.
///
/// Events of an instant stand before its datagrams, so that the order in which an application
/// polls does not show. The lengths of DTLS handshake records are left out: signatures are
/// random and in DER, so they have 70 to 72 bytes.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
    is_off: bool,
    witness: Witness,
}

/// What is told of a trace when it ends, if anybody asks.
#[derive(Debug, Default)]
struct Witness {
    is_asked: bool,
    /// Whether it need not be the same in another process.
    is_local: bool,
    /// Of a trace that keeps no lines: how much it was told, and a digest of that.
    noted: u64,
    digest: Digest,
}

impl Clone for Witness {
    /// A copy of a trace is nobody's: a trace is told of once.
    fn clone(&self) -> Witness {
        Witness::default()
    }
}

impl Trace {
    /// A trace that keeps nothing, for long runs.
    #[must_use]
    pub fn off() -> Trace {
        Trace { lines: Vec::new(), is_off: true, witness: Witness::default() }
    }

    /// The trace of a pair or a world, which another run of it is compared by.
    pub(crate) fn of_scenario(keeps: bool) -> Trace {
        let witness = Witness { is_asked: witness::is_asked(), ..Witness::default() };
        Trace { lines: Vec::new(), is_off: !keeps, witness }
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A number that is the same for the same lines (FNV-1a).
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut digest = Digest::default();
        for line in &self.lines {
            digest.write(line.as_bytes());
            digest.write(b"\n");
        }
        digest.finish()
    }

    /// The first line in which another trace differs, with both sides.
    #[must_use]
    pub fn difference(&self, other: &Trace) -> Option<String> {
        let length = self.lines.len().max(other.lines.len());
        let line = |trace: &Trace, index: usize| {
            trace.lines.get(index).cloned().unwrap_or_else(|| "(the end)".to_owned())
        };
        (0..length).find_map(|index| {
            let (left, right) = (line(self, index), line(other, index));
            (left != right).then(|| format!("line {index}:\n  {left}\n  {right}"))
        })
    }

    /// Notes a datagram.
    #[inline]
    pub fn packet(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        if !self.is_unread() {
            self.write_packet(now, source, destination, payload);
        }
    }

    fn write_packet(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        if self.is_off {
            return self.digest_packet(now, source, destination, payload);
        }
        let mut line = self.begin(now);
        let kind = kind_of(payload);
        let written = match kind.as_str() {
            "handshake" => write!(line, "{source} > {destination} {kind}"),
            _ => write!(line, "{source} > {destination} {kind} {}", payload.len()),
        };
        written.expect("a String takes all text");
        self.lines.push(line);
    }

    /// Notes anything else.
    #[inline]
    pub fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        if !self.is_unread() {
            self.write(now, what);
        }
    }

    fn write(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        if self.is_off {
            self.digest(now);
            self.witness.digest.write_fmt(what).expect("a digest takes all text");
            return;
        }
        let mut line = self.begin(now);
        line.write_fmt(what).expect("a String takes all text");
        self.lines.push(line);
    }

    /// This call has video and gaps, on the real wire: the engine measures round trips through its
    /// one pair of clocks, so when it asks for what is missing is the same in this process alone.
    pub(crate) fn stays_here(&mut self) {
        self.witness.is_local = true;
    }

    /// What of a datagram is in its line, without the line.
    fn digest_packet(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        self.digest(now);
        let word = word_for(payload).unwrap_or("script");
        let len = if word == "handshake" { 0 } else { payload.len() };
        (source, destination, word, len).hash(&mut self.witness.digest);
    }

    /// Something more is to be put to the digest, which begins with its time.
    fn digest(&mut self, now: Instant) {
        self.witness.noted += 1;
        now.saturating_duration_since(crate::start()).hash(&mut self.witness.digest);
    }

    /// Whether it keeps nothing and nobody asks for its digest.
    fn is_unread(&self) -> bool {
        self.is_off && !self.witness.is_asked
    }

    fn begin(&self, now: Instant) -> String {
        let elapsed: Duration = now.saturating_duration_since(crate::start());
        format!("{:>10}.{:06} ", elapsed.as_millis(), elapsed.subsec_nanos() % 1_000_000)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if !self.witness.is_asked {
            return;
        }
        let Witness { is_local, noted, digest, .. } = self.witness;
        if self.is_off {
            witness::ended(noted, digest.finish(), Vec::new(), is_local);
        } else {
            let digest = self.hash();
            let lines = mem::take(&mut self.lines);
            witness::ended(lines.len() as u64, digest, lines, is_local);
        }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Runs a scenario twice and compares what happened: one seed must give one run. Gives the trace.
///
/// A bot that reads a clock, draws from a generator without a seed or walks a map in hash order
/// fails here, and the message shows the first line that differs.
///
/// ```
/// use smallrtc_sim::{Kind, Pair, Setup, repeat};
///
/// let trace = repeat(|| {
///     let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
///     pair.connect();
///     pair.trace.clone()
/// });
/// assert!(trace.lines().len() > 10);
/// ```
///
/// # Panics
/// When the two differ, or when nothing happened.
pub fn repeat(mut scenario: impl FnMut() -> Trace) -> Trace {
    let first = scenario();
    assert!(!first.lines.is_empty(), "a scenario without a trace proves nothing");
    if let Some(difference) = first.difference(&scenario()) {
        panic!("the second run is another: {difference}");
    }
    first
}

/// What a datagram is, in a word (RFC 7983 section 7, RFC 5761 section 4).
#[must_use]
pub fn kind_of(payload: &[u8]) -> String {
    word_for(payload).map_or_else(|| script(payload), str::to_owned)
}

/// Whether a datagram is a DTLS handshake record, whose length varies from run to run.
pub(crate) fn is_handshake(payload: &[u8]) -> bool {
    word_for(payload) == Some("handshake")
}

/// `None` for a datagram of the plain wire, which holds many things.
fn word_for(payload: &[u8]) -> Option<&'static str> {
    let word = match payload {
        [scripted::MAGIC, scripted::VERSION, ..] => return None,
        [0, 1, ..] => "stun-request",
        [1, 1, ..] => "stun-response",
        [0..=3, ..] => "stun",
        [23, ..] => "dtls",
        // DTLS 1.3 hides what a record holds, but not its epoch: 2 is the handshake's, from 3 on
        // there is data (RFC 9147 sections 4 and 6.1). Keys are never changed in a simulation.
        [32..=63, ..] if payload[0] & 3 == 3 => "dtls",
        [20..=63, ..] => "handshake",
        [128..=191, 192..=223, ..] => "srtcp",
        [128..=191, ..] => "srtp",
        _ => "other",
    };
    Some(word)
}

fn script(payload: &[u8]) -> String {
    let Ok(frames) = scripted::decode(payload) else { return "other".to_owned() };
    let names = frames.iter().map(|frame| match frame {
        Frame::Hello => "hello",
        Frame::Goodbye => "goodbye",
        Frame::IceLost => "ice-lost",
        Frame::IceFound => "ice-found",
        Frame::Fault(_) => "fault",
        Frame::Refused(_) => "refused",
        Frame::Keyframe { .. } => "keyframe",
        Frame::Report { .. } => "report",
        Frame::Ack { .. } => "ack",
        Frame::Chunk(_) => "chunk",
        Frame::Media(_) => "media",
        Frame::Tone(_) => "tone",
        _ => "frame",
    });
    names.collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_and_shown() {
        let mut left = Trace::default();
        left.note(crate::start(), format_args!("one"));
        let mut right = left.clone();
        assert_eq!(left.hash(), right.hash());
        assert_eq!(left.difference(&right), None);
        right.note(crate::start() + Duration::from_micros(1_500), format_args!("two"));
        assert_ne!(left.hash(), right.hash());
        let difference = left.difference(&right).unwrap();
        assert!(difference.contains("(the end)") && difference.contains("1.500000 two"));
    }

    #[test]
    #[should_panic(expected = "the second run is another: line 0")]
    fn a_scenario_that_is_not_the_same_twice_is_caught() {
        let runs = std::cell::Cell::new(0);
        repeat(|| {
            runs.set(runs.get() + 1);
            let mut trace = Trace::default();
            trace.note(crate::start(), format_args!("run {}", runs.get()));
            trace
        });
    }

    #[test]
    fn datagrams_are_told_apart() {
        for (payload, kind) in [
            (&[0, 1, 0, 0][..], "stun-request"),
            (&[1, 1, 0, 0], "stun-response"),
            (&[22, 254, 253], "handshake"),
            (&[23, 254, 253], "dtls"),
            (&[0b0010_1110], "handshake"),
            (&[0b0010_1111], "dtls"),
            (&[0x90, 111], "srtp"),
            (&[0x81, 200], "srtcp"),
            (&[255], "other"),
            (&[], "other"),
        ] {
            assert_eq!(kind_of(payload), kind);
        }
        assert_eq!(kind_of(&scripted::encode(&[Frame::Hello, Frame::Goodbye])), "hello+goodbye");
    }
}
