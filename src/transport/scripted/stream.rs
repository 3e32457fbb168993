//! A reliable, ordered stream of messages, in place of SCTP.
//!
//! Chunks carry numbers and are acknowledged cumulatively. Lost ones are sent again after a
//! timeout, together with everything behind them, because the receiver keeps nothing that is out
//! of order (go-back-N): slow over bad links, and small enough to be seen through.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::wire::{CHUNK_OVERHEAD, Chunk, Content, Frame, HEADER_LEN, datagram};

/// What is taken and not yet acknowledged, in bytes of data: the figure that the real transport
/// gives SCTP.
pub const BUFFERED_BYTES_MAX: usize = 512 * 1024;
/// The longest message, in bytes: what the answer tells as `a=max-message-size`.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Chunks on their way at once. 64 of them are 70 KB, a round trip of 50 ms at 11 Mbit/s.
const WINDOW_MAX: usize = 64;
/// RTO.Min and RTO.Max of RFC 9260 section 16.
const RESEND_AFTER: Duration = Duration::from_secs(1);
const RESEND_AFTER_MAX: Duration = Duration::from_secs(60);

/// One direction of sending, one of receiving.
#[derive(Debug)]
pub struct Stream {
    datagram_max: usize,
    outgoing: VecDeque<Outgoing>,
    outgoing_bytes: usize,
    /// The number of the first of `outgoing`.
    first: u32,
    /// How many of `outgoing` are on their way.
    sent: usize,
    window: usize,
    resend_after: Duration,
    resend_at: Option<Instant>,
    /// The number of the chunk that is expected.
    expected: u32,
    ack_is_due: bool,
    message: Vec<u8>,
}

#[derive(Debug)]
struct Outgoing {
    channel: u16,
    content: Content,
    data: Vec<u8>,
}

/// What came out of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Arrival {
    /// The other side opened a channel.
    Opened {
        /// The channel.
        channel: u16,
        /// Its label.
        label: String,
    },
    /// The other side closed a channel.
    Closed {
        /// The channel.
        channel: u16,
    },
    /// A whole message.
    Message {
        /// The channel.
        channel: u16,
        /// Whether it was sent as binary.
        binary: bool,
        /// The bytes.
        data: Vec<u8>,
    },
}

impl Stream {
    /// A stream whose datagrams have at most `datagram_max` bytes.
    #[must_use]
    pub fn new(datagram_max: usize) -> Stream {
        Stream {
            datagram_max,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            first: 0,
            sent: 0,
            window: 1,
            resend_after: RESEND_AFTER,
            resend_at: None,
            expected: 0,
            ack_is_due: false,
            message: Vec::new(),
        }
    }

    /// Opens a channel.
    pub fn open(&mut self, channel: u16, label: &str) {
        self.push(channel, Content::Open, label.as_bytes());
    }

    /// Closes a channel.
    pub fn close(&mut self, channel: u16) {
        self.push(channel, Content::Close, &[]);
    }

    /// Sends a message. False, and nothing is taken, when too much waits already.
    pub fn write(&mut self, channel: u16, binary: bool, data: &[u8]) -> bool {
        if self.outgoing_bytes + data.len() > BUFFERED_BYTES_MAX {
            return false;
        }
        let mut pieces = data.chunks(self.piece_max()).peekable();
        while let Some(piece) = pieces.next() {
            let content = match (pieces.peek(), binary) {
                (Some(_), _) => Content::More,
                (None, true) => Content::Binary,
                (None, false) => Content::Text,
            };
            self.push(channel, content, piece);
        }
        true
    }

    /// Bytes of a channel that were taken and not yet acknowledged.
    #[must_use]
    pub fn buffered(&self, channel: u16) -> usize {
        let of_channel = self.outgoing.iter().filter(|outgoing| outgoing.channel == channel);
        of_channel.map(|outgoing| outgoing.data.len()).sum()
    }

    /// Takes a chunk.
    pub fn handle_chunk(&mut self, chunk: &Chunk<'_>) -> Option<Arrival> {
        self.ack_is_due = true;
        if chunk.number != self.expected {
            return None;
        }
        self.expected = self.expected.wrapping_add(1);
        let channel = chunk.channel;
        match chunk.content {
            Content::Open => {
                let label = String::from_utf8_lossy(chunk.data).into_owned();
                Some(Arrival::Opened { channel, label })
            }
            Content::Close => Some(Arrival::Closed { channel }),
            Content::More => {
                self.append(chunk.data);
                None
            }
            Content::Text | Content::Binary => {
                self.append(chunk.data);
                let data = std::mem::take(&mut self.message);
                let binary = chunk.content == Content::Binary;
                Some(Arrival::Message { channel, binary, data })
            }
        }
    }

    /// Takes an acknowledgement.
    pub fn handle_ack(&mut self, next: u32, now: Instant) {
        let acked = next.wrapping_sub(self.first) as usize;
        if acked == 0 || acked > self.outgoing.len() {
            return;
        }
        for outgoing in self.outgoing.drain(..acked) {
            self.outgoing_bytes -= outgoing.data.len();
        }
        self.first = next;
        // After a timeout the count restarted, so more may be acknowledged than counts as sent.
        self.sent = self.sent.saturating_sub(acked);
        self.window = (self.window + acked).min(WINDOW_MAX);
        self.resend_after = RESEND_AFTER;
        self.resend_at = (self.sent > 0).then(|| now + self.resend_after);
    }

    /// When [`Stream::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend_at
    }

    /// Sends again what was not acknowledged in time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.resend_at.is_some_and(|at| at <= now) {
            self.sent = 0;
            self.window = 1;
            self.resend_after = (self.resend_after * 2).min(RESEND_AFTER_MAX);
            self.resend_at = None;
        }
    }

    /// The next datagram that is to be sent.
    #[must_use]
    #[inline]
    pub fn poll_datagram(&mut self, now: Instant) -> Option<Vec<u8>> {
        // Asked after every datagram of sound, which leaves nothing to say here.
        let has_something = self.ack_is_due || self.sent < self.window.min(self.outgoing.len());
        if has_something { self.write_datagram(now) } else { None }
    }

    fn write_datagram(&mut self, now: Instant) -> Option<Vec<u8>> {
        let mut bytes = datagram();
        if std::mem::take(&mut self.ack_is_due) {
            Frame::Ack { next: self.expected }.encode(&mut bytes);
        }
        while self.sent < self.window.min(self.outgoing.len()) {
            let outgoing = &self.outgoing[self.sent];
            if bytes.len() + CHUNK_OVERHEAD + outgoing.data.len() > self.datagram_max {
                break;
            }
            // At most a window's length ahead, so the cast keeps the value.
            let number = self.first.wrapping_add(self.sent as u32);
            let Outgoing { channel, content, ref data } = *outgoing;
            Frame::Chunk(Chunk { number, channel, content, data }).encode(&mut bytes);
            self.sent += 1;
            self.resend_at.get_or_insert(now + self.resend_after);
        }
        (bytes.len() > HEADER_LEN).then_some(bytes)
    }

    fn push(&mut self, channel: u16, content: Content, data: &[u8]) {
        let data = data[..data.len().min(self.piece_max())].to_vec();
        self.outgoing_bytes += data.len();
        self.outgoing.push_back(Outgoing { channel, content, data });
    }

    fn append(&mut self, data: &[u8]) {
        let room = MESSAGE_LEN_MAX - self.message.len();
        self.message.extend(&data[..data.len().min(room)]);
    }

    /// The acknowledgement that may stand before a chunk leaves this many bytes for its data.
    fn piece_max(&self) -> usize {
        const ACK_LEN: usize = 3 + 4;
        self.datagram_max - HEADER_LEN - ACK_LEN - CHUNK_OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::decode;
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    /// Moves datagrams both ways until both are silent, dropping those that `loses` names by
    /// their count.
    fn exchange(
        sides: &mut [Stream; 2],
        now: Instant,
        loses: impl Fn(u32) -> bool,
    ) -> Vec<Arrival> {
        let (mut arrivals, mut count, mut now) = (Vec::new(), 0, now);
        for _step in 0..10_000 {
            let mut moved = false;
            for from in 0..2 {
                while let Some(bytes) = sides[from].poll_datagram(now) {
                    assert!(bytes.len() <= 576);
                    moved = true;
                    count += 1;
                    if !loses(count) {
                        arrivals.extend(receive(&mut sides[1 - from], &bytes, now));
                    }
                }
            }
            if !moved {
                match sides.iter().filter_map(Stream::poll_timeout).min() {
                    Some(at) => now = at,
                    None => return arrivals,
                }
                sides.iter_mut().for_each(|side| side.handle_timeout(now));
            }
        }
        panic!("the exchange does not end");
    }

    fn receive(to: &mut Stream, bytes: &[u8], now: Instant) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        for frame in decode(bytes).unwrap() {
            match frame {
                Frame::Chunk(chunk) => arrivals.extend(to.handle_chunk(&chunk)),
                Frame::Ack { next } => to.handle_ack(next, now),
                _ => panic!("{frame:?}"),
            }
        }
        arrivals
    }

    #[test]
    fn messages_of_any_length_arrive_whole_and_in_order_over_a_bad_link() {
        let mut sides = [Stream::new(576), Stream::new(576)];
        sides[0].open(1, "chat");
        let messages = [1, 555, 556, 557, 558, 5_000, MESSAGE_LEN_MAX].map(|len| vec![7; len]);
        for data in &messages {
            assert!(sides[0].write(1, true, data));
        }
        sides[0].close(1);
        let arrivals = exchange(&mut sides, start(), |count| count % 7 == 3);
        let mut expected = vec![Arrival::Opened { channel: 1, label: "chat".into() }];
        expected.extend(messages.map(|data| Arrival::Message { channel: 1, binary: true, data }));
        expected.push(Arrival::Closed { channel: 1 });
        assert_eq!(arrivals, expected);
        assert_eq!(sides[0].buffered(1), 0);
    }

    #[test]
    fn the_buffer_takes_its_limit_and_not_a_byte_more() {
        let mut stream = Stream::new(1150);
        assert!(stream.write(1, false, &vec![0; BUFFERED_BYTES_MAX - 1]));
        assert!(!stream.write(1, false, &[0; 2]));
        assert!(stream.write(1, false, &[0; 1]));
        assert_eq!(stream.buffered(1), BUFFERED_BYTES_MAX);
        assert_eq!(stream.buffered(2), 0);
    }

    #[test]
    fn a_message_without_end_is_cut_at_the_limit() {
        let mut stream = Stream::new(1150);
        let data = [0; 60_000];
        for number in 0..10 {
            let content = if number < 9 { Content::More } else { Content::Text };
            let arrival = stream.handle_chunk(&Chunk { number, channel: 1, content, data: &data });
            if let Some(Arrival::Message { data, .. }) = arrival {
                assert_eq!(data.len(), MESSAGE_LEN_MAX);
                return;
            }
        }
        panic!("no message");
    }

    #[test]
    fn an_ack_of_what_was_never_sent_is_ignored() {
        let mut stream = Stream::new(1150);
        assert!(stream.write(1, false, b"hello"));
        let now = start();
        for next in [2, 77, u32::MAX] {
            stream.handle_ack(next, now);
        }
        assert_eq!(stream.buffered(1), 5);
    }
}
