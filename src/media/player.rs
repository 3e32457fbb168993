//! Plays a source into a session, a little ahead of the wire.
//!
//! The session's clock is the only clock: `send_audio` queues, `AudioFinished` tells that a piece
//! went out, and the next one is queued. So nothing drifts, nothing is read ahead of its time, and
//! a pause, a seek and a clear act at once.
//!
//! | call | what happens |
//! | --- | --- |
//! | [`Player::feed`] | pieces of 20 ms are queued until 200 ms wait |
//! | [`Player::next_piece`], [`Player::queued`] | the same, where `send_audio` is awaited |
//! | [`Player::handle_event`] | a piece went out; feed again |
//! | [`Player::pause`] | nothing more is queued; 200 ms are still heard |
//! | `clear_audio`, [`Player::handle_cleared`] | they are not: what was dropped is kept, and is played first |
//! | [`Player::resume`] | goes on with the sample after the last that went out |
//!
//! It never reads a clock and holds 400 ms of sound at most.

use std::collections::VecDeque;
use std::time::Duration;

use super::{AudioFile, AudioFormat, AudioSource};
use crate::{AudioCleared, AudioFrame, AudioId, Event};

/// How far ahead of the wire sound is queued. 200 ms: an event loop that is late by less than that
/// leaves no gap.
const AHEAD: Duration = Duration::from_millis(200);

/// How long a piece is: one packet, so that events come as often as packets go.
const PIECE: Duration = Duration::from_millis(20);

/// A piece that the session has and that is not finished.
#[derive(Debug)]
struct Piece {
    id: AudioId,
    samples: Vec<i16>,
}

/// Plays a source into a session.
///
/// ```no_run
/// # use smallrtc::{Event, Session, SendError};
/// # use smallrtc::media::{Player, Tone};
/// # use std::time::Instant;
/// # fn example(session: &mut Session, event: Event, now: Instant) -> Result<(), SendError> {
/// let mut player = Player::new(Tone::new(440, 12, None).expect("within its range"));
/// player.feed(|piece| session.send_audio(piece, now))?;
/// // And again for each event of the session:
/// player.handle_event(&event);
/// player.feed(|piece| session.send_audio(piece, now))
/// # }
/// ```
#[derive(Debug)]
pub struct Player<S> {
    source: S,
    pieces: VecDeque<Piece>,
    /// What is offered to the session, until that has taken it.
    offered: Vec<i16>,
    /// What the session gave back: played before the source goes on.
    returned: VecDeque<i16>,
    /// Samples of all channels in `pieces`.
    ahead: usize,
    is_paused: bool,
    /// Samples per channel that went out since `start`, a time of the source.
    played: u64,
    start: Duration,
}

impl<S: AudioSource> Player<S> {
    /// A player of `source`, at its start.
    pub fn new(source: S) -> Player<S> {
        Player {
            source,
            pieces: VecDeque::new(),
            offered: Vec::new(),
            returned: VecDeque::new(),
            ahead: 0,
            is_paused: false,
            played: 0,
            start: Duration::ZERO,
        }
    }

    /// Queues what is to be queued now: hand each piece to `Session::send_audio`. Call it at the
    /// start, after each event, after [`Player::resume`], and when the source has something again.
    ///
    /// # Errors
    /// The first that `send` gives. Its piece is kept and is the first of the next call.
    pub fn feed<E>(
        &mut self,
        mut send: impl FnMut(AudioFrame<'_>) -> Result<AudioId, E>,
    ) -> Result<(), E> {
        while let Some(piece) = self.next_piece() {
            let id = send(piece)?;
            self.queued(id);
        }
        Ok(())
    }

    /// The next piece that is to be queued, where `feed` cannot be used because `send_audio` is
    /// awaited; `None` when enough is queued. The same piece is given again until
    /// [`Player::queued`] tells that it was taken.
    pub fn next_piece(&mut self) -> Option<AudioFrame<'_>> {
        let AudioFormat { rate, channels } = self.source.format()?;
        let samples = |duration: Duration| {
            (u128::from(rate) * duration.as_millis() / 1_000) as usize * usize::from(channels)
        };
        let len = samples(PIECE);
        if self.is_paused || self.ahead + len > samples(AHEAD) {
            return None;
        }
        if self.offered.is_empty() {
            let returned = len.min(self.returned.len());
            self.offered.extend(self.returned.drain(..returned));
            self.offered.resize(len, 0);
            let pulled = self.source.pull(&mut self.offered[returned..]);
            self.offered.truncate(returned + pulled);
        }
        let samples = self.offered.as_slice();
        (!samples.is_empty()).then_some(AudioFrame { samples, rate, channels })
    }

    /// Takes the id that `Session::send_audio` gave for the piece of [`Player::next_piece`].
    pub fn queued(&mut self, id: AudioId) {
        let samples = std::mem::take(&mut self.offered);
        self.ahead += samples.len();
        self.pieces.push_back(Piece { id, samples });
    }

    /// Takes an event of the session. Others than `AudioFinished` of a piece of this player do
    /// nothing.
    pub fn handle_event(&mut self, event: &Event) {
        let Event::AudioFinished { id, samples } = *event else { return };
        if let Some(piece) = self.take(id) {
            self.ahead -= piece.samples.len();
            self.played += samples;
        }
    }

    /// Takes what `Session::clear_audio` gave: the samples of this player that were dropped are
    /// kept, and are the first that the next [`Player::feed`] queues. Pause before, or go on, or
    /// [`Player::discard`] them.
    pub fn handle_cleared(&mut self, cleared: &AudioCleared) {
        let channels = self.source.format().map_or(1, |format| usize::from(format.channels));
        let mut kept = Vec::new();
        for part in &cleared.pieces {
            let Some(piece) = self.take(part.id) else { continue };
            self.ahead -= piece.samples.len();
            self.played += part.sent;
            let dropped = usize::try_from(part.dropped).unwrap_or(usize::MAX);
            let dropped = dropped.saturating_mul(channels).min(piece.samples.len());
            kept.extend_from_slice(&piece.samples[piece.samples.len() - dropped..]);
        }
        kept.append(&mut self.offered);
        kept.extend(self.returned.drain(..));
        self.returned = kept.into();
    }

    fn take(&mut self, id: AudioId) -> Option<Piece> {
        let at = self.pieces.iter().position(|piece| piece.id == id)?;
        self.pieces.remove(at)
    }

    /// Queues nothing more. What was queued is still heard: 200 ms, unless it is cleared.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Goes on, with the next [`Player::feed`].
    pub fn resume(&mut self) {
        self.is_paused = false;
    }

    /// Whether [`Player::pause`] was called last.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Forgets what was taken back, and what was offered and not queued.
    pub fn discard(&mut self) {
        self.offered.clear();
        self.returned.clear();
    }

    /// The time of the source that has gone to the wire.
    #[must_use]
    pub fn position(&self) -> Duration {
        let rate = self.source.format().map_or(1, |format| u64::from(format.rate));
        let nanos = self.played % rate * 1_000_000_000 / rate;
        self.start + Duration::new(self.played / rate, nanos as u32)
    }

    /// Whether the source ended and all of it went out.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        let is_empty = self.returned.is_empty() && self.offered.is_empty();
        self.source.is_ended() && is_empty && self.pieces.is_empty()
    }

    /// What is played.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// What is played, to be changed: a file wants its bytes.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }
}

impl Player<AudioFile> {
    /// Goes to a time of the file. What is queued is still heard unless it is cleared, and what was
    /// taken back is forgotten. Clear before: pieces that are finished after the seek count for the
    /// new position.
    pub fn seek(&mut self, time: Duration) {
        self.discard();
        self.source.seek(time);
        (self.start, self.played) = (time, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ClearedPiece;
    use crate::media::AudioFormat;

    /// Counts up, 1000 samples a second, two channels.
    struct Steps {
        next: i16,
        end: i16,
    }

    impl AudioSource for Steps {
        fn format(&self) -> Option<AudioFormat> {
            Some(AudioFormat::new(1_000, 2))
        }

        fn pull(&mut self, samples: &mut [i16]) -> usize {
            let len = samples.len().min((self.end - self.next) as usize);
            samples[..len].iter_mut().zip(self.next..).for_each(|(out, step)| *out = step);
            self.next += len as i16;
            len
        }

        fn is_ended(&self) -> bool {
            self.next == self.end
        }
    }

    /// A session's queue: gives ids, and refuses what is more than `room` pieces.
    #[derive(Default)]
    struct Queue {
        sent: Vec<Vec<i16>>,
    }

    impl Queue {
        fn feed(&mut self, player: &mut Player<Steps>, room: usize) -> Result<(), ()> {
            player.feed(|frame| {
                if self.sent.len() >= room {
                    return Err(());
                }
                self.sent.push(frame.samples.to_vec());
                Ok(AudioId(self.sent.len() as u64 - 1))
            })
        }
    }

    fn finished(id: u64, samples: u64) -> Event {
        Event::AudioFinished { id: AudioId(id), samples }
    }

    #[test]
    fn two_hundred_milliseconds_are_queued_and_a_piece_more_for_each_that_went_out() {
        let mut player = Player::new(Steps { next: 0, end: 10_000 });
        let mut queue = Queue::default();
        queue.feed(&mut player, 100).unwrap();
        assert_eq!((queue.sent.len(), queue.sent[0].len()), (10, 40));
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.len(), 10);
        player.handle_event(&finished(0, 20));
        player.handle_event(&finished(77, 20));
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.len(), 11, "a piece of somebody else does not count");
        assert_eq!(player.position(), Duration::from_millis(20));
        assert_eq!(queue.sent.concat(), (0..440).collect::<Vec<i16>>());
    }

    #[test]
    fn what_a_clear_dropped_is_played_first_after_the_pause() {
        let mut player = Player::new(Steps { next: 0, end: 10_000 });
        let mut queue = Queue::default();
        queue.feed(&mut player, 100).unwrap();
        player.handle_event(&finished(0, 20));
        player.pause();
        let pieces = (1..10).map(|id| {
            let sent = if id == 1 { 7 } else { 0 };
            ClearedPiece::new(AudioId(id), sent, 20 - sent)
        });
        player.handle_cleared(&AudioCleared { pieces: pieces.collect() });
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.len(), 10, "it is paused");
        assert_eq!(player.position(), Duration::from_millis(27));
        player.resume();
        assert!(!player.is_paused());
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent[10..].concat(), (54..454).collect::<Vec<i16>>());
    }

    #[test]
    fn a_piece_that_is_refused_is_the_next_one() {
        let mut player = Player::new(Steps { next: 0, end: 10_000 });
        let mut queue = Queue::default();
        assert_eq!(queue.feed(&mut player, 3), Err(()));
        assert_eq!(queue.feed(&mut player, 3), Err(()));
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.concat(), (0..400).collect::<Vec<i16>>());
    }

    #[test]
    fn a_piece_is_offered_until_it_is_queued_and_given_back_by_a_clear() {
        let mut player = Player::new(Steps { next: 0, end: 10_000 });
        for _ in 0..3 {
            let piece = player.next_piece().unwrap();
            assert_eq!((piece.samples, piece.rate), (&(0..40).collect::<Vec<i16>>()[..], 1_000));
        }
        player.queued(AudioId(0));
        assert_eq!(player.next_piece().unwrap().samples[0], 40);
        let cleared = ClearedPiece::new(AudioId(0), 5, 15);
        player.handle_cleared(&AudioCleared { pieces: vec![cleared] });
        let mut queue = Queue::default();
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.concat(), (10..410).collect::<Vec<i16>>());
        player.pause();
        player.handle_event(&finished(0, 20));
        assert!(player.next_piece().is_none(), "paused");
        player.resume();
        assert_eq!(player.next_piece().unwrap().samples[0], 410);
        player.discard();
        assert_eq!(player.next_piece().unwrap().samples[0], 450, "what was offered is forgotten");
    }

    #[test]
    fn it_ends_when_the_last_piece_went_out() {
        let mut player = Player::new(Steps { next: 0, end: 50 });
        let mut queue = Queue::default();
        queue.feed(&mut player, 100).unwrap();
        assert_eq!(queue.sent.iter().map(Vec::len).collect::<Vec<_>>(), [40, 10]);
        assert!(player.source().is_ended() && !player.is_ended());
        player.handle_event(&finished(0, 20));
        player.handle_event(&finished(1, 5));
        assert!(player.is_ended());
        assert_eq!(player.position(), Duration::from_millis(25));
    }

    #[test]
    fn what_was_taken_back_can_be_forgotten() {
        let mut player = Player::new(Steps { next: 0, end: 60 });
        let mut queue = Queue::default();
        queue.feed(&mut player, 100).unwrap();
        let pieces = [(0, 20), (1, 10)].map(|(id, len)| ClearedPiece::new(AudioId(id), 0, len));
        player.handle_cleared(&AudioCleared { pieces: pieces.into() });
        assert!(!player.is_ended());
        player.discard();
        assert!(player.is_ended());
    }
}
