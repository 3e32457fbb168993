//! What a call's two sides share: the application's [`Peer`](crate::Peer) and the
//! [`Machine`](crate::Machine).
//!
//! Towards the application one bounded inbox. While it is full the session's events are left
//! where they are, so that the core's own limits and counters hold: sound and pictures that are too
//! old are dropped there, messages never are. Towards the machine three bounded lanes, so that a
//! block of sound that waits for room delays neither messages nor a barge-in.
//!
//! No wake-up is lost: whoever puts something down rings the bell afterwards, and the machine
//! answers the bell before it looks. A bell that was rung and not answered yet is not rung again,
//! so there are never more wake-ups queued than there are bells.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use smallrtc::{
    AudioCleared, AudioId, AudioProgress, CloseReason, EncodedFrame, Message, SendError, SessionId,
    Stats, TrackId,
};

use crate::Received;
use crate::reply::{Answer, Queue};

/// Things received that wait for the application: more than a second of 20 ms blocks.
pub const INBOX_MAX: usize = 64;

/// Their bytes. 1 MiB: four messages of the largest size, or half a second of good video.
pub const INBOX_BYTES_MAX: usize = 1024 * 1024;

/// Blocks of sound on their way to the machine. The queue for sound is the session's; this only
/// spares a task that sends many blocks from being switched for each.
pub const AUDIO_LANE_MAX: usize = 4;

/// Messages on their way to the machine; as above.
pub const MESSAGE_LANE_MAX: usize = 16;

/// All other commands on their way to the machine; as above.
pub const CONTROL_LANE_MAX: usize = 16;

/// Who rang.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A handle.
    Handle,
    /// A peer or one of its senders.
    Peer(SessionId),
    /// Another shard.
    Shard,
}

/// Wakes the machine.
#[derive(Debug)]
pub(crate) struct Bell {
    caller: Caller,
    rung: AtomicBool,
    machine: Arc<Queue<Caller>>,
}

impl Bell {
    pub(crate) fn new(caller: Caller, machine: Arc<Queue<Caller>>) -> Bell {
        Bell { caller, rung: AtomicBool::new(false), machine }
    }

    /// To be called after something was put down.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // Without limit, but never more than one for each bell; and a machine that is gone
            // needs no waking.
            self.machine.push(self.caller);
        }
    }

    /// To be called before looking at what was put down. A swap and not a store, because it must
    /// see what was put down before the ring that it answers.
    pub(crate) fn answer(&self) {
        self.rung.swap(false, Ordering::SeqCst);
    }
}

/// A block of sound to be sent.
#[derive(Debug)]
pub(crate) struct AudioCommand {
    pub(crate) samples: Vec<i16>,
    pub(crate) rate: u32,
    pub(crate) channels: u8,
    pub(crate) answer: Answer<Result<AudioId, SendError>>,
}

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct MessageCommand {
    pub(crate) message: Message,
    pub(crate) answer: Answer<Result<(), SendError>>,
}

/// Anything else.
#[derive(Debug)]
pub(crate) enum ControlCommand {
    Start,
    /// Sound that does not wait for room.
    TryAudio(AudioCommand),
    ClearAudio(Answer<AudioCleared>),
    PauseAudio,
    ResumeAudio,
    AudioProgress(AudioId, Answer<Option<AudioProgress>>),
    /// Keys, how long each is, and the gap between them.
    SendDtmf(String, Duration, Duration, Answer<Result<(), SendError>>),
    ClearDtmf,
    SendEncoded(TrackId, EncodedFrame, Answer<Result<(), SendError>>),
    RequestKeyframe(TrackId),
    RequestRenegotiation,
    Stats(Answer<Stats>),
    Close,
}

/// What both sides touch.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bell: Bell,
    /// The session's events are held until the inbox is half empty.
    held: AtomicBool,
    /// Bytes in the inbox.
    bytes: AtomicUsize,
}

/// The machine's side.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) audio: Lane<AudioCommand>,
    pub(crate) messages: Lane<MessageCommand>,
    pub(crate) control: Lane<ControlCommand>,
    /// Tracks whose sound or frames are not all pulled yet, because the inbox was full.
    pub(crate) readable: Readable,
    /// The application holds its sound back: room comes only by what it does itself.
    pub(crate) is_paused: bool,
    inbox: Arc<Queue<Received>>,
    ended: bool,
}

/// Tracks that have something to be pulled.
#[derive(Debug, Default)]
pub(crate) struct Readable {
    pub(crate) audio: BTreeSet<TrackId>,
    pub(crate) encoded: BTreeSet<TrackId>,
}

/// The application's receiving side.
#[derive(Debug)]
pub(crate) struct Inbound {
    shared: Arc<Shared>,
    inbox: Arc<Queue<Received>>,
}

/// The application's sending side; when the last one goes, the call is closed.
#[derive(Debug)]
pub(crate) struct Outbound {
    pub(crate) shared: Arc<Shared>,
    pub(crate) audio: Sender<AudioCommand>,
    pub(crate) messages: Sender<MessageCommand>,
    pub(crate) control: Sender<ControlCommand>,
}

/// The two sides of a call, which ring this bell.
pub(crate) fn link(bell: Bell) -> (Link, Inbound, Outbound) {
    let shared =
        Arc::new(Shared { bell, held: AtomicBool::new(false), bytes: AtomicUsize::new(0) });
    // The bound is `Link::is_full`: bytes count too, and what the session still holds when it ends
    // goes in whole.
    let inbox = Queue::new();
    let received = Arc::clone(&inbox);
    let (audio, audio_lane) = lane(AUDIO_LANE_MAX);
    let (messages, message_lane) = lane(MESSAGE_LANE_MAX);
    let (control, control_lane) = lane(CONTROL_LANE_MAX);
    let inbound = Inbound { shared: Arc::clone(&shared), inbox: received };
    let outbound = Outbound { shared: Arc::clone(&shared), audio, messages, control };
    let link = Link {
        shared,
        audio: audio_lane,
        messages: message_lane,
        control: control_lane,
        readable: Readable::default(),
        is_paused: false,
        inbox,
        ended: false,
    };
    (link, inbound, outbound)
}

impl Link {
    /// Hands something over. The caller holds the session when the inbox is full then.
    pub(crate) fn push(&self, received: Received) {
        self.shared.bytes.fetch_add(received.byte_len(), Ordering::SeqCst);
        // Nobody may want it any more; then it goes nowhere.
        self.inbox.push(received);
    }

    /// Whether the session is to be held.
    pub(crate) fn is_full(&self) -> bool {
        let is_full =
            |len| len >= INBOX_MAX || self.shared.bytes.load(Ordering::SeqCst) >= INBOX_BYTES_MAX;
        self.inbox.open_len().is_some_and(is_full)
    }

    /// Says that the session is held; false when there is room again already.
    pub(crate) fn hold(&self) -> bool {
        self.shared.held.store(true, Ordering::SeqCst);
        // The application may have read everything before it could see that.
        if !self.has_room() {
            return true;
        }
        self.release();
        false
    }

    /// Says that the session is held no longer.
    pub(crate) fn release(&self) {
        self.shared.held.store(false, Ordering::SeqCst);
    }

    /// Whether a session that is held can go on.
    pub(crate) fn has_room(&self) -> bool {
        self.inbox.open_len().is_none_or(|len| self.shared.has_room(len))
    }

    /// When a command that waits for room is to be tried again.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        [self.audio.retry_at(), self.messages.retry_at()].into_iter().flatten().min()
    }

    /// Hands over the last thing.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        if !self.ended {
            self.ended = true;
            self.push(Received::Closed(reason));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Only a machine that is dropped lets go of a link that has not ended.
        self.end(CloseReason::Application);
        self.inbox.close();
    }
}

impl Shared {
    /// Half empty, so that a session is not held and released for each thing that is read.
    fn has_room(&self, len: usize) -> bool {
        len <= INBOX_MAX / 2 && self.bytes.load(Ordering::SeqCst) <= INBOX_BYTES_MAX / 2
    }
}

impl Inbound {
    pub(crate) async fn recv(&mut self) -> Option<Received> {
        let received = poll_fn(|cx| self.inbox.poll_pop(cx)).await?;
        self.shared.bytes.fetch_sub(received.byte_len(), Ordering::SeqCst);
        if self.shared.held.load(Ordering::SeqCst) && self.shared.has_room(self.inbox.len()) {
            self.shared.bell.ring();
        }
        Some(received)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.inbox.close();
        while self.inbox.pop().is_some() {}
        self.shared.bell.ring();
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.control.close();
        self.shared.bell.ring();
    }
}

/// Commands of one kind, in order.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    commands: Receiver<T>,
    /// The first one, when it waits for room in the session, and when to try it again; never, when
    /// [`Lane::retry_now`] is sure to come.
    parked: Option<(T, Option<Instant>)>,
}

/// A bounded lane and what fills it.
pub(crate) fn lane<T>(limit: usize) -> (Sender<T>, Lane<T>) {
    let (sender, commands) = async_channel::bounded(limit);
    (sender, Lane { commands, parked: None })
}

impl<T> Lane<T> {
    /// The next command, unless the first waits for room.
    pub(crate) fn next(&mut self, now: Instant) -> Option<T> {
        let waits = |at: &Option<Instant>| at.is_none_or(|at| at > now);
        if self.parked.as_ref().is_some_and(|(_, retry_at)| waits(retry_at)) {
            return None;
        }
        let parked = self.parked.take().map(|(command, _)| command);
        parked.or_else(|| self.commands.try_recv().ok())
    }

    /// Puts the first one back until there is room.
    pub(crate) fn park(&mut self, command: T, retry_at: Option<Instant>) {
        self.parked = Some((command, retry_at));
    }

    /// When the first one is to be tried again, if it waits.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.parked.as_ref().and_then(|(_, retry_at)| *retry_at)
    }

    /// There may be room: `next` tries the first one again.
    pub(crate) fn retry_now(&mut self, now: Instant) {
        if let Some((_, retry_at)) = &mut self.parked {
            *retry_at = Some(now);
        }
    }

    /// Whether there is something that does not wait for room.
    pub(crate) fn is_ready(&self) -> bool {
        self.parked.is_none() && !self.commands.is_empty()
    }

    /// Whether nobody can put anything down any more, and nothing is left.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.commands.is_closed() && self.commands.is_empty()
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        // What nobody takes any more is dropped here, or its sender would wait for an answer for
        // as long as others keep the channel alive.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use smallrtc::Event;

    fn new() -> (Link, Inbound, Outbound, Arc<Queue<Caller>>) {
        let bells = Queue::new();
        let (link, inbound, outbound) = link(Bell::new(Caller::Handle, Arc::clone(&bells)));
        (link, inbound, outbound, bells)
    }

    fn message(len: usize) -> Received {
        Received::Message(Message::Text("x".repeat(len)))
    }

    #[test]
    fn a_bell_that_was_not_answered_is_not_rung_twice() {
        let (_link, _inbound, outbound, bells) = new();
        for _ in 0..1_000 {
            outbound.shared.bell.ring();
        }
        assert_eq!(bells.len(), 1);
        outbound.shared.bell.answer();
        outbound.shared.bell.ring();
        assert_eq!(bells.len(), 2);
    }

    #[test]
    fn an_inbox_is_full_at_its_limit_and_not_one_before() {
        let (link, mut inbound, _outbound, bells) = new();
        for _ in 1..INBOX_MAX {
            link.push(Received::Event(Event::ChannelClosed));
        }
        assert!(!link.is_full());
        link.push(Received::Event(Event::ChannelClosed));
        assert!(link.is_full() && link.hold());
        for _ in 1..INBOX_MAX / 2 {
            smol::block_on(inbound.recv());
        }
        assert!(!link.has_room() && bells.is_empty());
        smol::block_on(inbound.recv());
        assert!(link.has_room() && bells.len() == 1);
    }

    #[test]
    fn an_inbox_that_was_read_before_its_session_was_held_needs_no_bell() {
        let (link, mut inbound, _outbound, bells) = new();
        for _ in 0..INBOX_MAX {
            link.push(message(1));
        }
        assert!(link.is_full());
        for _ in 0..INBOX_MAX {
            smol::block_on(inbound.recv());
        }
        assert!(bells.is_empty(), "the reader could not know");
        assert!(!link.hold(), "nobody would ring for it");
    }

    #[test]
    fn an_inbox_is_full_of_bytes_at_its_limit_and_not_one_before() {
        let (link, mut inbound, _outbound, bells) = new();
        link.push(message(INBOX_BYTES_MAX - 1));
        assert!(!link.is_full());
        link.push(message(1));
        assert!(link.is_full() && link.hold());
        smol::block_on(inbound.recv());
        assert!(link.has_room() && bells.len() == 1);
    }

    #[test]
    fn an_inbox_that_nobody_reads_any_more_is_never_full() {
        let (link, inbound, _outbound, bells) = new();
        for _ in 0..INBOX_MAX {
            link.push(message(1));
        }
        assert!(link.is_full() && link.hold());
        drop(inbound);
        assert!(!link.is_full() && link.has_room());
        assert_eq!(bells.len(), 1, "it rings, so that its session is released");
    }

    #[test]
    fn a_lane_that_is_dropped_drops_what_is_in_it() {
        let (link, _inbound, outbound, _bells) = new();
        let (answer, mut answered) = crate::reply::answer();
        outbound.control.try_send(ControlCommand::Stats(answer)).expect("there is room");
        drop(link);
        assert!(smol::block_on(answered.wait()).is_none(), "nobody will answer");
    }

    /// The machine's side on one thread, the application's on another, as fast as they can: if a
    /// wake-up were lost, the inbox would stay full and empty for ever.
    #[test]
    fn no_wake_up_is_lost_between_a_full_inbox_and_an_empty_one() {
        const THINGS: usize = 200_000;
        let (link, mut inbound, _outbound, bells) = new();
        let reader = thread::spawn(move || {
            smol::block_on(async {
                for _ in 0..THINGS {
                    inbound.recv().await.expect("the link is there");
                }
                inbound
            })
        });
        let late = || async {
            smol::Timer::after(Duration::from_secs(20)).await;
            panic!("a wake-up was lost")
        };
        for _ in 0..THINGS {
            link.push(Received::Event(Event::ChannelClosed));
            if link.is_full() && link.hold() {
                while !link.has_room() {
                    let rang = async {
                        poll_fn(|cx| bells.poll_pop(cx)).await.expect("the bell is there");
                    };
                    smol::block_on(smol::future::or(rang, late()));
                    link.shared.bell.answer();
                }
                link.release();
            }
        }
        reader.join().expect("everything was read");
    }
}
