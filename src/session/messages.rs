//! Messages on their way out and in.
//!
//! Out: a queue in front of the data channel, in order, with these rules.
//!
//! | channel | `push` | limit | what empties the queue |
//! | --- | --- | --- | --- |
//! | not open yet | `Queued` | [`QUEUED_MAX`] messages, [`QUEUED_BYTES_MAX`] | opening; or giving up after `Config::channel_timeout` |
//! | open | `Sent`, or `Queued` behind the write window | [`QUEUED_BYTES_MAX`] | acknowledgements |
//! | given up | refused with `NoChannel` | | a channel that opens after all |
//!
//! What the protocol itself says (`peerLeft`, `renegotiate`) has a place of its own behind the
//! limits. In: [`Inbox`] holds back what arrives until the application is ready and counts what it
//! has not polled; past the limit the session ends, because acknowledged data is never dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::transport::{ChannelId, ChannelWritten, Transport};
use crate::{Delivery, Message, SendError};

/// Messages before the channel opens. 50: Pipecat's `MAX_MESSAGE_QUEUE_SIZE` (`connection.py`).
pub(crate) const QUEUED_MAX: usize = 50;

/// Bytes that wait in front of the channel: four of the largest messages, or a second at 8 Mbit/s.
pub(crate) const QUEUED_BYTES_MAX: usize = 1024 * 1024;

/// Messages smaller than a packet are bounded by their number too, at what the bytes would allow
/// for messages of 256 bytes; else a million one-byte messages would cost 40 MB of headers.
pub(crate) const QUEUED_OPEN_MAX: usize = 4096;

/// The largest message, either way: what browsers advertise (`a=max-message-size:262144`).
pub(crate) const MESSAGE_LEN_MAX: usize = 256 * 1024;

/// Bytes of a channel's label that are kept; RFC 8832 allows 65535.
const LABEL_LEN_MAX: usize = 256;

/// Messages that arrived and were not polled: 20 s of a client that sends 50 a second.
pub(crate) const INBOUND_MAX: usize = 1024;

/// Bytes of messages that arrived and were not polled: sixteen of the largest.
pub(crate) const INBOUND_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The least that may be unacknowledged: at this the engine moves 100 MB/s at round trip zero
/// (measured), and ten times less with eight times the window.
const WINDOW_MIN: usize = 64 * 1024;

/// The most: the engine's own limit. What does not fit beside it waits for an acknowledgement.
const WINDOW_MAX: usize = 512 * 1024;

/// The window while no round trip was measured: right for 10 ms.
const WINDOW_UNKNOWN: usize = 128 * 1024;

/// How much a millisecond of round trip adds to the window: 80 Mbit/s at any distance up to 51 ms,
/// and at 50 ms what the engine's limit gives (`cargo bench -p smallrtc-sim --bench messages`).
const WINDOW_PER_MS: usize = 10 * 1024;

/// How much may be unacknowledged. The window's cost grows with its size, its use with the round
/// trip.
pub(crate) fn write_window(rtt: Option<Duration>) -> usize {
    match rtt {
        None => WINDOW_UNKNOWN,
        Some(rtt) => {
            let ms = usize::try_from(rtt.as_millis()).unwrap_or(usize::MAX);
            ms.saturating_mul(WINDOW_PER_MS).clamp(WINDOW_MIN, WINDOW_MAX)
        }
    }
}

/// The queue in front of the data channel.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// How many of them the protocol itself says.
    own: usize,
    channel: Option<ChannelId>,
    /// Channels that opened before it and are open still, the newest last. The transport bounds
    /// them.
    older: Vec<ChannelId>,
    /// What the peer takes at most, once it has said so.
    len_max: Option<usize>,
    gave_up: bool,
    owes_drained: bool,
}

#[derive(Debug)]
struct Outgoing {
    message: Message,
    /// Said by the protocol, not by the application: counted apart.
    own: bool,
}

impl Outgoing {
    /// Whether it is the protocol that says this.
    fn says(&self, text: &str) -> bool {
        self.own && self.message.as_bytes() == text.as_bytes()
    }
}

/// What a flush did.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flushed {
    /// Messages of the application that were handed to the channel.
    pub(crate) sent: u64,
    /// Messages of the application that are larger than the peer takes: dropped.
    pub(crate) too_large: usize,
    /// The application was refused before, and there is room again.
    pub(crate) drained: bool,
    /// The transport knows this channel no more.
    pub(crate) gone: Option<ChannelId>,
}

impl Outbox {
    pub(crate) fn channel(&self) -> Option<ChannelId> {
        self.channel
    }

    /// Every channel that is open: what was said over each may still be on its way.
    pub(crate) fn channels(&self) -> impl Iterator<Item = ChannelId> {
        self.older.iter().copied().chain(self.channel)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a channel is still to open.
    pub(crate) fn is_waiting(&self) -> bool {
        self.channel.is_none() && !self.gave_up
    }

    /// The channel that messages go through from now on: the newest that opened.
    pub(crate) fn open(&mut self, channel: ChannelId) {
        self.older.extend(self.channel.replace(channel));
        self.gave_up = false;
    }

    /// The largest message that the peer takes from now on.
    pub(crate) fn limit(&mut self, len_max: usize) {
        self.len_max = Some(len_max);
    }

    /// The channel is gone. Messages go through the one that opened before it, or wait for
    /// another; whether it was the one in use.
    pub(crate) fn close(&mut self, channel: ChannelId) -> bool {
        let ours = self.channel == Some(channel);
        if ours {
            self.channel = self.older.pop();
        } else {
            self.older.retain(|older| *older != channel);
        }
        ours
    }

    /// Whether one more message of this length would be taken.
    fn admit(&mut self, len: usize) -> Result<(), SendError> {
        if len == 0 {
            return Err(SendError::Empty);
        }
        let limit = self.len_max.map_or(MESSAGE_LEN_MAX, |peers| peers.min(MESSAGE_LEN_MAX));
        if len > limit {
            return Err(SendError::TooLarge { len, limit });
        }
        if self.gave_up {
            return Err(SendError::NoChannel);
        }
        let limit = if self.channel.is_some() { QUEUED_OPEN_MAX } else { QUEUED_MAX };
        if self.queue.len() - self.own >= limit {
            self.owes_drained = true;
            return Err(SendError::QueueFull { limit, wait: None });
        }
        if self.bytes + len > QUEUED_BYTES_MAX {
            self.owes_drained = true;
            return Err(SendError::QueueFull { limit: QUEUED_BYTES_MAX, wait: None });
        }
        Ok(())
    }

    /// Takes a message of the application. Call `flush` afterwards.
    pub(crate) fn push(&mut self, message: Message) -> Result<(), SendError> {
        self.admit(message.len())?;
        self.bytes += message.len();
        self.queue.push_back(Outgoing { message, own: false });
        Ok(())
    }

    /// Takes what the protocol itself says, unless the same still waits.
    pub(crate) fn push_own(&mut self, text: &'static str) {
        let waits = self
            .queue
            .iter()
            .any(|outgoing| outgoing.own && outgoing.message.as_bytes() == text.as_bytes());
        if !waits {
            self.bytes += text.len();
            self.own += 1;
            self.queue.push_back(Outgoing { message: Message::text(text), own: true });
        }
    }

    /// Whether the protocol itself is about to say this.
    pub(crate) fn holds(&self, text: &'static str) -> bool {
        self.own > 0 && self.queue.iter().any(|outgoing| outgoing.says(text))
    }

    /// Takes back what the protocol itself was about to say, because it says nothing new any more.
    pub(crate) fn take_back(&mut self, text: &'static str) {
        if self.own == 0 {
            return;
        }
        let Outbox { queue, bytes, own, .. } = self;
        queue.retain(|outgoing| {
            let is_it = outgoing.says(text);
            if is_it {
                *bytes -= text.len();
                *own -= 1;
            }
            !is_it
        });
    }

    /// Hands over what the write window has room for.
    pub(crate) fn flush(
        &mut self,
        transport: &mut dyn Transport,
        rtt: Option<Duration>,
        now: Instant,
    ) -> Flushed {
        let mut flushed = Flushed::default();
        let window = write_window(rtt);
        while let (Some(channel), Some(outgoing)) = (self.channel, self.queue.front()) {
            let len = outgoing.message.len();
            let buffered = transport.buffered_amount(channel);
            // A message that is larger than the window goes alone.
            if buffered > 0 && buffered + len > window {
                transport.set_buffered_amount_low_threshold(channel, window / 2);
                break;
            }
            let message = &outgoing.message;
            let counts = !outgoing.own;
            match transport.write_channel(channel, message.is_binary(), message.as_bytes(), now) {
                ChannelWritten::Taken => flushed.sent += u64::from(counts),
                ChannelWritten::TooLarge(_) => flushed.too_large += usize::from(counts),
                ChannelWritten::Full => {
                    transport.set_buffered_amount_low_threshold(channel, window / 2);
                    break;
                }
                ChannelWritten::Gone => {
                    flushed.gone = Some(channel);
                    break;
                }
            }
            self.own -= usize::from(outgoing.own);
            self.bytes -= len;
            self.queue.pop_front();
        }
        flushed.drained = self.has_drained();
        flushed
    }

    /// Half empty is room enough: an event for each message would be a storm.
    fn has_drained(&mut self) -> bool {
        let drained = self.owes_drained
            && self.channel.is_some()
            && self.bytes <= QUEUED_BYTES_MAX / 2
            && self.queue.len() <= QUEUED_OPEN_MAX / 2;
        if drained {
            self.owes_drained = false;
        }
        drained
    }

    /// No channel opened in time: what waits is dropped and counted, what comes is refused.
    pub(crate) fn give_up(&mut self) -> usize {
        self.gave_up = true;
        self.owes_drained = false;
        let dropped = self.queue.len() - self.own;
        self.queue.clear();
        self.own = 0;
        self.bytes = 0;
        dropped
    }

    /// `Sent` when nothing waits any more.
    pub(crate) fn delivery(&self) -> Delivery {
        if self.queue.is_empty() { Delivery::Sent } else { Delivery::Queued }
    }
}

/// What arrived and was not polled.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    held: VecDeque<Message>,
    count: usize,
    bytes: usize,
}

impl Inbox {
    /// Counts a message that arrived; `false` past the limit.
    #[must_use]
    pub(crate) fn admit(&mut self, len: usize) -> bool {
        if self.count >= INBOUND_MAX || self.bytes + len > INBOUND_BYTES_MAX {
            return false;
        }
        self.count += 1;
        self.bytes += len;
        true
    }

    /// Keeps a message that was admitted until the application is ready.
    pub(crate) fn hold(&mut self, message: Message) {
        self.held.push_back(message);
    }

    /// Gives what was held, in order.
    pub(crate) fn release(&mut self) -> VecDeque<Message> {
        std::mem::take(&mut self.held)
    }

    /// Counts a message that was polled.
    pub(crate) fn polled(&mut self, len: usize) {
        debug_assert!(self.count > 0 && self.bytes >= len, "polled more than was admitted");
        self.count -= 1;
        self.bytes -= len;
    }
}

/// A channel's label as far as it is kept, cut between characters.
pub(crate) fn shortened(mut label: String) -> String {
    while label.len() > LABEL_LEN_MAX {
        label.pop();
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_as_large_as_the_peer_takes_is_taken_and_one_byte_more_is_not() {
        let mut outbox = Outbox::default();
        let text = |len| Message::text("x".repeat(len));
        assert_eq!(outbox.push(text(MESSAGE_LEN_MAX)), Ok(()));
        outbox.limit(65_536);
        assert_eq!(outbox.push(text(65_536)), Ok(()));
        let refused = SendError::TooLarge { len: 65_537, limit: 65_536 };
        assert_eq!(outbox.push(text(65_537)), Err(refused));
        outbox.limit(usize::MAX);
        let (len, limit) = (MESSAGE_LEN_MAX + 1, MESSAGE_LEN_MAX);
        assert_eq!(outbox.push(text(len)), Err(SendError::TooLarge { len, limit }));
    }

    #[test]
    fn fifty_messages_wait_and_one_more_is_refused() {
        let mut outbox = Outbox::default();
        for number in 0..QUEUED_MAX {
            assert_eq!(outbox.push(Message::text(number.to_string())), Ok(()));
        }
        let refused = outbox.push(Message::text("one more"));
        assert_eq!(refused, Err(SendError::QueueFull { limit: QUEUED_MAX, wait: None }));
        outbox.push_own("own");
        outbox.push_own("own");
        assert_eq!(outbox.queue.len(), QUEUED_MAX + 1);
        assert_eq!(outbox.give_up(), QUEUED_MAX);
        assert_eq!(outbox.push(Message::text("late")), Err(SendError::NoChannel));
        outbox.open(ChannelId(1));
        assert_eq!(outbox.push(Message::text("after all")), Ok(()));
    }

    #[test]
    fn room_is_told_of_once_and_only_where_a_channel_is_and_somebody_was_refused() {
        let mut outbox = Outbox::default();
        assert!(!outbox.has_drained());
        while outbox.push(Message::text("x")).is_ok() {}
        assert!(!outbox.has_drained(), "there is no channel");
        outbox.open(ChannelId(0));
        assert!(outbox.has_drained());
        assert!(!outbox.has_drained(), "it was told");
        while outbox.push(Message::text("x")).is_ok() {}
        outbox.queue.truncate(QUEUED_OPEN_MAX / 2 + 1);
        assert!(!outbox.has_drained());
        outbox.queue.truncate(QUEUED_OPEN_MAX / 2);
        assert!(outbox.has_drained());

        let mut outbox = Outbox::default();
        outbox.open(ChannelId(0));
        for _ in 0..4 {
            assert_eq!(outbox.push(Message::text("x".repeat(MESSAGE_LEN_MAX))), Ok(()));
        }
        assert!(outbox.push(Message::text("x")).is_err());
        outbox.bytes = QUEUED_BYTES_MAX / 2 + 1;
        assert!(!outbox.has_drained());
        outbox.bytes = QUEUED_BYTES_MAX / 2;
        assert!(outbox.has_drained());
    }

    #[test]
    fn what_the_protocol_says_takes_no_place_of_the_application_and_waits_once() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Message::text("bye")), Ok(()));
        for text in ["bye", "again", "bye", "again"] {
            outbox.push_own(text);
        }
        assert_eq!((outbox.queue.len(), outbox.own), (3, 2));
        for _ in 1..QUEUED_MAX {
            assert_eq!(outbox.push(Message::text("x")), Ok(()));
        }
        assert!(outbox.push(Message::text("x")).is_err());
    }

    #[test]
    fn what_was_given_up_takes_no_room_afterwards() {
        let mut outbox = Outbox::default();
        let large = || Message::text("x".repeat(MESSAGE_LEN_MAX));
        outbox.push_own("own");
        while outbox.push(large()).is_ok() {}
        outbox.give_up();
        outbox.open(ChannelId(0));
        for _ in 0..4 {
            assert_eq!(outbox.push(large()), Ok(()));
        }
    }

    #[test]
    fn bytes_are_bounded_to_the_last_one() {
        let mut outbox = Outbox::default();
        let message = |len: usize| Message::text("x".repeat(len));
        for _ in 0..4 {
            assert_eq!(outbox.push(message(MESSAGE_LEN_MAX)), Ok(()));
        }
        assert_eq!(outbox.bytes, QUEUED_BYTES_MAX);
        let full = SendError::QueueFull { limit: QUEUED_BYTES_MAX, wait: None };
        assert_eq!(outbox.push(message(1)), Err(full));
        let large = SendError::TooLarge { len: MESSAGE_LEN_MAX + 1, limit: MESSAGE_LEN_MAX };
        assert_eq!(outbox.push(message(MESSAGE_LEN_MAX + 1)), Err(large));
        assert_eq!(outbox.push(message(0)), Err(SendError::Empty));
    }

    #[test]
    fn an_open_channel_takes_more_messages_but_not_any_number() {
        let mut outbox = Outbox::default();
        outbox.open(ChannelId(0));
        for _ in 0..QUEUED_OPEN_MAX {
            assert_eq!(outbox.push(Message::text("x")), Ok(()));
        }
        let full = SendError::QueueFull { limit: QUEUED_OPEN_MAX, wait: None };
        assert_eq!(outbox.push(Message::text("x")), Err(full));
    }

    #[test]
    fn the_inbox_counts_to_its_limits_and_no_further() {
        let mut inbox = Inbox::default();
        for _ in 0..INBOUND_MAX {
            assert!(inbox.admit(1));
        }
        assert!(!inbox.admit(1));
        inbox.polled(1);
        assert!(inbox.admit(1));

        let mut inbox = Inbox::default();
        assert!(inbox.admit(INBOUND_BYTES_MAX));
        assert!(!inbox.admit(1));
        inbox.polled(INBOUND_BYTES_MAX);
        assert!(inbox.admit(INBOUND_BYTES_MAX), "what was polled takes no room");
    }

    #[test]
    fn the_window_grows_with_the_round_trip_between_its_bounds() {
        let window = |ms| write_window(Some(Duration::from_millis(ms)));
        assert_eq!(window(0), WINDOW_MIN);
        assert_eq!(window(6), WINDOW_MIN);
        assert_eq!(window(7), 7 * WINDOW_PER_MS);
        assert_eq!(window(51), 51 * WINDOW_PER_MS);
        assert_eq!(window(52), WINDOW_MAX);
        assert_eq!(window(5000), WINDOW_MAX);
        assert_eq!(write_window(None), WINDOW_UNKNOWN);
    }
}
