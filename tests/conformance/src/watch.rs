//! What is seen of a call at the driver's socket: order, pace and media time.

use std::collections::BTreeMap;
use std::time::Duration;

use smallrtc::scripted::{self, Frame};

/// An audio packet that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// When, since the beginning.
    pub at: Duration,
    /// Its RTP time, in samples at 48 kHz, since the first packet of its stream.
    pub rtp_time: u64,
}

/// The datagrams of one call, in the order in which they left.
#[derive(Debug, Default)]
pub struct Watch {
    last_seq: BTreeMap<u32, u64>,
    newest_chunk: Option<u32>,
    first_time: Option<u32>,
    departures: Vec<Departure>,
    datagrams: u64,
}

impl Watch {
    /// Sees a datagram.
    ///
    /// # Panics
    /// When it leaves out of order: sequence numbers of media rise by one, and pieces of messages
    /// are numbered without a gap, whatever is sent again.
    pub fn see(&mut self, payload: &[u8], at: Duration) {
        self.datagrams += 1;
        match payload {
            [scripted::MAGIC, scripted::VERSION, ..] => self.see_frames(payload, at),
            // RFC 7983 section 7; what is no RTCP (RFC 5761 section 4).
            [128..=191, second, ..] if !(192..=223).contains(second) => self.see_rtp(payload, at),
            _ => {}
        }
    }

    /// How many datagrams were seen.
    #[must_use]
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// The audio packets.
    #[must_use]
    pub fn departures(&self) -> &[Departure] {
        &self.departures
    }

    /// Forgets the audio packets, and goes on in their order.
    pub fn forget(&mut self) {
        self.departures.clear();
    }

    fn see_frames(&mut self, payload: &[u8], at: Duration) {
        let frames = scripted::decode(payload).expect("a session sends what can be read");
        for frame in frames {
            match frame {
                Frame::Media(media) => {
                    self.follows(u32::from(media.line), media.seq);
                    self.departures.push(Departure { at, rtp_time: media.time });
                }
                Frame::Chunk(chunk) => {
                    let next = self.newest_chunk.map_or(chunk.number, |newest| newest + 1);
                    assert!(chunk.number <= next, "chunk {} before {next}", chunk.number);
                    self.newest_chunk = self.newest_chunk.max(Some(chunk.number));
                }
                _ => {}
            }
        }
    }

    fn see_rtp(&mut self, payload: &[u8], at: Duration) {
        let word = |offset: usize| {
            let bytes = payload[offset..offset + 4].try_into().expect("four bytes");
            u32::from_be_bytes(bytes)
        };
        let (seq, time, ssrc) = (word(0) & 0xffff, word(4), word(8));
        let last = self.last_seq.get(&ssrc).map_or(u64::from(seq), |last| last + 1);
        assert_eq!(u64::from(seq), last & 0xffff, "a packet of {ssrc} is out of order");
        self.last_seq.insert(ssrc, last);
        let first = *self.first_time.get_or_insert(time);
        // The suite's runs end long before 32 bits of samples do.
        let rtp_time = u64::from(time.wrapping_sub(first));
        self.departures.push(Departure { at, rtp_time });
    }

    fn follows(&mut self, stream: u32, seq: u64) {
        if let Some(last) = self.last_seq.insert(stream, seq) {
            assert_eq!(seq, last + 1, "a packet of stream {stream} is out of order");
        }
    }
}

/// The words in a packet of the null codec: what is said in each 10 ms.
///
/// # Panics
/// When it is no such packet.
#[must_use]
pub fn words(data: &[u8]) -> Vec<i16> {
    const HEADER_LEN: usize = 7;
    assert_eq!(data[0], b'N', "a packet of the null codec");
    data[HEADER_LEN..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}
