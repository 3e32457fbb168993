//! What happened, as text that two runs can be compared by.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallrtc::scripted::{self, Frame};

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
}

impl Trace {
    /// A trace that keeps nothing, for long runs.
    #[must_use]
    pub fn off() -> Trace {
        Trace { lines: Vec::new(), is_off: true }
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A number that is the same for the same lines (FNV-1a).
    #[must_use]
    pub fn hash(&self) -> u64 {
        let bytes = self.lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
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
    pub fn packet(
        &mut self,
        now: Instant,
        source: SocketAddr,
        destination: SocketAddr,
        payload: &[u8],
    ) {
        if self.is_off {
            return;
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
    pub fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        if self.is_off {
            return;
        }
        let mut line = self.begin(now);
        line.write_fmt(what).expect("a String takes all text");
        self.lines.push(line);
    }

    fn begin(&self, now: Instant) -> String {
        let elapsed: Duration = now.saturating_duration_since(crate::start());
        format!("{:>10}.{:06} ", elapsed.as_millis(), elapsed.subsec_nanos() % 1_000_000)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// What a datagram is, in a word (RFC 7983 section 7, RFC 5761 section 4).
#[must_use]
pub fn kind_of(payload: &[u8]) -> String {
    let word = match payload {
        [scripted::MAGIC, scripted::VERSION, ..] => return script(payload),
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
    word.to_owned()
}

fn script(payload: &[u8]) -> String {
    let Ok(frames) = scripted::decode(payload) else { return "other".to_owned() };
    let names = frames.iter().map(|frame| match frame {
        Frame::Hello => "hello",
        Frame::Goodbye => "goodbye",
        Frame::IceLost => "ice-lost",
        Frame::IceFound => "ice-found",
        Frame::Fault(_) => "fault",
        Frame::Keyframe { .. } => "keyframe",
        Frame::Report { .. } => "report",
        Frame::Ack { .. } => "ack",
        Frame::Chunk(_) => "chunk",
        Frame::Media(_) => "media",
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
