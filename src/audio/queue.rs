//! What waits to be spoken: pieces of PCM, each at its own rate, cut to the encoder's rate as
//! packets need it.
//!
//! Pieces are kept as they came (two channels become one at once where one is sent) and converted
//! when they are cut, so that taking a long piece costs a copy, and clearing the queue no work that
//! was done in vain. Pieces of one form (rate and channels) run through one resampler without a
//! seam; where the form changes, the old resampler is emptied first.
//!
//! Counts are exact in each piece's own samples: a sample has gone out when the output that lies at
//! its own time (the filter's delay included) has been cut.
//!
//! | a piece | how it comes there | what is told | what it leads to |
//! | --- | --- | --- | --- |
//! | waits | it was taken | | begun, or cleared with none sent |
//! | begun | its first sample was cut | [`Told::Began`] | ended, or cleared with some sent |
//! | ended | its last sample was cut | [`Told::Ended`] | |
//! | cleared | [`Queue::clear`] | what that returns, and nothing more | |
//!
//! So a piece is told of as begun if and only if any of it is told of as sent, and always before.

use std::collections::VecDeque;
use std::time::Duration;

use crate::audio::progress::Place;
use crate::audio::resample::{RATES, Resampler};
use crate::config::AudioOut;
use crate::{AudioCleared, AudioFrame, AudioId, ClearedPiece, SendError};

/// How much sound waits at most. 60 s: the longest that a speech synthesis that runs ahead of time
/// gives for one answer, and 3 MB at 24 kHz.
pub(super) const QUEUE_MAX: Duration = Duration::from_secs(60);

/// How many pieces wait at most. 8192: 60 s in pieces of 10 ms, the shortest that pipelines send,
/// are 6000; it bounds what is kept about pieces of one sample.
pub(crate) const PIECES_MAX: usize = 8_192;

/// How much room an empty queue keeps. 24,000: 1 s at the usual rate, so that a steady stream
/// allocates nothing and a long answer's memory is given back. 100: pieces of 10 ms in it.
const RETAINED_SAMPLES: usize = 24_000;
const RETAINED_PIECES: usize = 100;

/// Units in a second: the least common multiple of [`RATES`], so that durations of any mix of rates
/// add up exactly.
const TICKS_PER_SECOND: u64 = 14_112_000;

/// The largest number of samples fed to the resampler at once.
const FEED_MAX: usize = 960;

#[derive(Debug)]
struct Piece {
    id: AudioId,
    rate: u32,
    /// How it is kept: two channels only where two are sent.
    channels: u8,
    /// Samples per channel: all, and those that were fed to the resampler.
    len: u64,
    fed: u64,
    /// The run's sample that the first one became, once one was fed.
    start: u64,
    /// Its first sample was cut, and that is told.
    begun: bool,
}

impl Piece {
    fn is_fed(&self) -> bool {
        self.fed == self.len
    }
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its first sample was cut.
    Began(AudioId),
    /// Its last one was: so many in all.
    Ended(AudioId, u64),
}

/// Pieces of one rate on their way through one resampler.
#[derive(Debug)]
struct Run {
    rate: u32,
    /// Of one sample.
    ticks: u64,
    resampler: Resampler,
    /// Samples per channel fed so far, and up to where they belong to pieces; the rest are zeros.
    fed: u64,
    end: u64,
}

impl Run {
    /// Samples whose own time has been cut.
    fn passed(&self) -> u64 {
        self.resampler.passed().saturating_sub(self.resampler.delay())
    }

    /// Whether sound of a piece has not come out yet.
    fn owes(&self) -> bool {
        self.passed() < self.end
    }

    /// Whether nothing but zeros would come out.
    fn is_settled(&self) -> bool {
        self.fed == 0 || self.resampler.passed() >= self.end + self.resampler.settle()
    }
}

/// The queue of one outgoing stream.
#[derive(Debug)]
pub(super) struct Queue {
    rate: u32,
    channels: u8,
    pieces: VecDeque<Piece>,
    /// How many of `pieces`, the first ones, were fed whole.
    fed: usize,
    /// The pieces' samples that were not fed yet, in order.
    samples: VecDeque<i16>,
    run: Option<Run>,
    /// Whether the last cut ended within sound, so that silence next to it would click.
    flows: bool,
    /// The duration of `samples`.
    ticks: u64,
    next_id: u64,
    /// How far pieces were cut.
    place: Option<Place>,
    told: VecDeque<Told>,
    /// How many of `told` are ends.
    ended: usize,
    /// Scratch: what is fed.
    input: Vec<i16>,
}

impl Queue {
    pub(super) fn new(config: AudioOut) -> Queue {
        Queue {
            rate: config.rate,
            channels: config.channels,
            pieces: VecDeque::new(),
            fed: 0,
            samples: VecDeque::new(),
            run: None,
            flows: false,
            ticks: 0,
            next_id: 0,
            place: None,
            told: VecDeque::new(),
            ended: 0,
            input: Vec::new(),
        }
    }

    /// Takes a piece whole or not at all.
    ///
    /// # Errors
    /// [`SendError::QueueFull`], `wait` being how much sound has to go out first; or what is
    /// wrong with the piece's form, its length included when it is longer than the queue.
    pub(super) fn push(&mut self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        check(frame)?;
        let len = (frame.samples.len() / usize::from(frame.channels)) as u64;
        self.check_room(ticks(frame.rate, len))?;
        let channels = frame.channels.min(self.channels);
        if channels < frame.channels {
            self.samples.extend(frame.samples.chunks_exact(2).map(middle));
        } else {
            self.samples.extend(frame.samples);
        }
        let id = AudioId(self.next_id);
        self.next_id += 1;
        self.ticks += ticks(frame.rate, len);
        self.pieces.push_back(Piece {
            id,
            rate: frame.rate,
            channels,
            len,
            fed: 0,
            start: 0,
            begun: false,
        });
        Ok(id)
    }

    /// Whether every piece has wholly gone out.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// How far pieces were cut.
    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// How many samples were cut of a piece that has not ended.
    pub(super) fn sent(&self, id: AudioId) -> Option<u64> {
        let at = id.0.checked_sub(self.pieces.front()?.id.0)?;
        (at < self.pieces.len() as u64).then_some(())?;
        Some(self.place.filter(|place| place.id == id).map_or(0, |place| place.samples))
    }

    /// Appends exactly `frames` samples per channel to `packet`: sound, then silence. Gives whether
    /// any of it is sound.
    pub(super) fn cut(&mut self, frames: usize, packet: &mut Vec<i16>) -> bool {
        let is_sound = !self.is_settled();
        let mut left = frames;
        while left > 0 {
            match self.cut_some(left, packet) {
                Some(cut) => left -= cut,
                None => break,
            }
        }
        packet.resize(packet.len() + left * usize::from(self.channels), 0);
        let is_within = |run: &Run| run.passed() <= run.end;
        self.flows = is_sound && left == 0 && self.run.as_ref().is_some_and(is_within);
        self.finish();
        self.give_back();
        is_sound
    }

    /// Appends the next `frames` samples per channel to `fade`, and they count as sent, when sound
    /// is being spoken that would go on. Gives whether any is left that goes on from there.
    pub(super) fn cut_fade(&mut self, frames: usize, fade: &mut Vec<i16>) -> bool {
        let goes_on = self.flows && !self.pieces.is_empty();
        if goes_on {
            self.cut(frames, fade);
        }
        // What follows is silence, whatever was cut.
        self.flows = false;
        goes_on && !self.pieces.is_empty()
    }

    /// Drops everything, after [`Queue::cut_fade`].
    pub(super) fn clear(&mut self, frames: usize, fade: &mut Vec<i16>) -> AudioCleared {
        let told = self.told.len();
        self.cut_fade(frames, fade);
        let mut cleared = AudioCleared::default();
        // A piece that ends within the fade is told of here, and not as ended.
        for told in self.told.split_off(told) {
            match told {
                Told::Began(_) => self.told.push_back(told),
                Told::Ended(id, len) => {
                    self.ended -= 1;
                    cleared.pieces.push(ClearedPiece::new(id, len, 0));
                }
            }
        }
        let passed = self.run.as_ref().map_or(0, Run::passed);
        for piece in self.pieces.drain(..) {
            let sent = passed.saturating_sub(piece.start).min(piece.fed);
            cleared.pieces.push(ClearedPiece::new(piece.id, sent, piece.len - sent));
        }
        self.samples.clear();
        (self.fed, self.ticks) = (0, 0);
        self.give_back();
        if let Some(run) = &mut self.run {
            run.resampler.reset();
            (run.fed, run.end) = (0, 0);
        }
        cleared
    }

    /// What became of pieces, in order.
    pub(super) fn poll_told(&mut self) -> Option<Told> {
        let told = self.told.pop_front()?;
        self.ended -= usize::from(matches!(told, Told::Ended(..)));
        Some(told)
    }

    /// Whether nothing is left, not even an echo in the filter.
    fn is_settled(&self) -> bool {
        self.pieces.is_empty() && self.run.as_ref().is_none_or(Run::is_settled)
    }

    fn check_room(&self, ticks: u64) -> Result<(), SendError> {
        let limit = QUEUE_MAX.as_secs() * TICKS_PER_SECOND;
        let wait = if self.ticks + ticks > limit {
            duration(self.ticks + ticks - limit)
        } else if self.pieces.len() + self.ended >= PIECES_MAX {
            let first = self.pieces.front().map_or(0, |p| self::ticks(p.rate, p.len - p.fed));
            duration(first)
        } else {
            return Ok(());
        };
        Err(SendError::QueueFull { limit: QUEUE_MAX.as_millis() as usize, wait: Some(wait) })
    }

    /// Appends at most `frames` samples per channel and gives how many; none when it made a step
    /// towards them; `None` when all that is left is silence.
    fn cut_some(&mut self, frames: usize, packet: &mut Vec<i16>) -> Option<usize> {
        let next = self.pieces.get(self.fed).map(|piece| piece.rate);
        match (next, &self.run) {
            (Some(rate), Some(run)) if run.rate == rate => Some(self.feed_piece(frames, packet)),
            (Some(_), Some(run)) if run.owes() => {
                let owed = (run.end + run.resampler.delay()).saturating_sub(run.fed);
                Some(self.feed_zeros(frames, owed, packet))
            }
            (Some(rate), _) => {
                self.finish();
                let resampler = Resampler::new(rate, self.rate, self.channels);
                self.run = Some(Run { rate, ticks: ticks(rate, 1), resampler, fed: 0, end: 0 });
                Some(0)
            }
            (None, Some(run)) if !run.is_settled() => {
                Some(self.feed_zeros(frames, u64::MAX, packet))
            }
            (None, _) => None,
        }
    }

    fn feed_piece(&mut self, frames: usize, packet: &mut Vec<i16>) -> usize {
        let run = self.run.as_mut().expect("a run at the piece's rate was made before");
        let piece = self.pieces.get_mut(self.fed).expect("a piece is not fed whole");
        let wanted = run.resampler.inputs_for(frames).min(FEED_MAX) as u64;
        let feed = wanted.min(piece.len - piece.fed);
        if piece.fed == 0 {
            piece.start = run.fed;
        }
        let samples = feed as usize * usize::from(piece.channels);
        let goes_straight = run.resampler.passes_through() && piece.channels == self.channels;
        self.input.clear();
        for part in front(&self.samples, samples) {
            if goes_straight {
                packet.extend_from_slice(part);
            } else if piece.channels < self.channels {
                self.input.extend(part.iter().flat_map(|sample| [*sample, *sample]));
            } else {
                self.input.extend_from_slice(part);
            }
        }
        self.samples.drain(..samples);
        piece.fed += feed;
        run.fed += feed;
        run.end = run.fed;
        self.ticks -= run.ticks * feed;
        self.fed += usize::from(piece.is_fed());
        if goes_straight {
            // Counted as a whole: the ring may end between the two samples of an instant.
            run.resampler.pass(feed);
            return feed as usize;
        }
        run.resampler.process_at_most(&self.input, frames, packet)
    }

    /// Feeds zeros, at most `count` per channel.
    fn feed_zeros(&mut self, frames: usize, count: u64, packet: &mut Vec<i16>) -> usize {
        let run = self.run.as_mut().expect("only a run is fed zeros");
        let wanted = run.resampler.inputs_for(frames).min(FEED_MAX) as u64;
        let feed = wanted.min(count);
        self.input.clear();
        self.input.resize(feed as usize * usize::from(self.channels), 0);
        run.fed += feed;
        run.resampler.process_at_most(&self.input, frames, packet)
    }

    /// Tells of pieces that have begun, and puts those aside that have wholly gone out.
    fn finish(&mut self) {
        let Some(run) = &self.run else { return };
        while let Some(piece) = self.pieces.front_mut() {
            if piece.fed == 0 || run.passed() <= piece.start {
                return;
            }
            if !std::mem::replace(&mut piece.begun, true) {
                self.told.push_back(Told::Began(piece.id));
            }
            let samples = (run.passed() - piece.start).min(piece.fed);
            self.place = Some(Place { id: piece.id, samples });
            if samples < piece.len {
                return;
            }
            self.told.push_back(Told::Ended(piece.id, piece.len));
            self.ended += 1;
            self.pieces.pop_front();
            self.fed -= 1;
        }
    }

    fn give_back(&mut self) {
        if self.samples.is_empty() && self.samples.capacity() > 2 * RETAINED_SAMPLES {
            self.samples.shrink_to(RETAINED_SAMPLES);
        }
        if self.pieces.is_empty() && self.pieces.capacity() > 2 * RETAINED_PIECES {
            self.pieces.shrink_to(RETAINED_PIECES);
        }
    }
}

/// The first `len` of a queue's samples, in the two pieces that they lie in: whole slices are
/// copied at once, an iterator over the ring is not (measured: a tenth of a call's time).
fn front(queue: &VecDeque<i16>, len: usize) -> [&[i16]; 2] {
    let (first, second) = queue.as_slices();
    let from_first = len.min(first.len());
    [&first[..from_first], &second[..len - from_first]]
}

fn check(frame: AudioFrame<'_>) -> Result<(), SendError> {
    if !RATES.contains(&frame.rate) {
        return Err(SendError::Unsupported {
            field: "rate",
            value: u64::from(frame.rate),
            expected: "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000",
        });
    }
    if !(1..=2).contains(&frame.channels) {
        return Err(SendError::Unsupported {
            field: "channels",
            value: u64::from(frame.channels),
            expected: "1 or 2",
        });
    }
    if frame.samples.is_empty() {
        return Err(SendError::Empty);
    }
    if !frame.samples.len().is_multiple_of(usize::from(frame.channels)) {
        return Err(SendError::Unsupported {
            field: "samples",
            value: frame.samples.len() as u64,
            expected: "as many for the right channel as for the left",
        });
    }
    let len = (frame.samples.len() / usize::from(frame.channels)) as u64;
    if len > QUEUE_MAX.as_secs() * u64::from(frame.rate) {
        // Never `QueueFull`: whoever waits for room would wait for ever.
        return Err(SendError::Unsupported {
            field: "samples",
            value: frame.samples.len() as u64,
            expected: "at most 60 s of sound",
        });
    }
    Ok(())
}

/// The two channels' mean: a sum would clip where both are loud.
pub(super) fn middle(pair: &[i16]) -> i16 {
    ((i32::from(pair[0]) + i32::from(pair[1])) >> 1) as i16
}

fn ticks(rate: u32, samples: u64) -> u64 {
    samples * (TICKS_PER_SECOND / u64::from(rate))
}

fn duration(ticks: u64) -> Duration {
    // At most a few times the queue's 60 s: far from overflow.
    Duration::from_nanos((ticks * 1_000_000).div_ceil(TICKS_PER_SECOND / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_long_answer_is_given_back_and_a_short_one_keeps_its_room() {
        let config = crate::Config::new().audio_out;
        let mut queue = Queue::new(config);
        let mut packet = Vec::new();
        let mut speak = |queue: &mut Queue, pieces: usize| {
            let block = [1; 240];
            for _ in 0..pieces {
                queue.push(AudioFrame::mono(&block, 24_000)).expect("there is room");
            }
            let kept = (queue.samples.capacity(), queue.pieces.capacity());
            while !queue.is_empty() {
                packet.clear();
                queue.cut(480, &mut packet);
            }
            while queue.poll_told().is_some() {}
            (kept, (queue.samples.capacity(), queue.pieces.capacity()))
        };
        let (grown, kept) = speak(&mut queue, 1_000);
        assert!(grown.0 >= 240_000 && grown.1 >= 1_000);
        assert!(kept.0 < 2 * RETAINED_SAMPLES && kept.1 < 2 * RETAINED_PIECES, "{kept:?}");
        assert!(kept.0 >= RETAINED_SAMPLES && kept.1 >= RETAINED_PIECES, "{kept:?}");
        let (before, after) = speak(&mut queue, 100);
        assert_eq!(before, after);
    }

    /// Sound of one channel shifts the ring by odd numbers, so that its end falls between the left
    /// and the right of some instant of what follows.
    #[test]
    fn stereo_comes_out_as_it_went_in_wherever_the_ring_ends() {
        let config = crate::Config::new().audio_out(48_000, 2).expect("a rate that there is");
        let mut queue = Queue::new(config.audio_out);
        let both: Vec<i16> = (0..480).flat_map(|at| [at, -at]).collect();
        for round in 0..2_000 {
            let mut packet = Vec::new();
            queue.push(AudioFrame::mono(&[7; 479], 48_000)).expect("there is room");
            queue.push(AudioFrame::stereo(&both, 48_000)).expect("there is room");
            queue.cut(959, &mut packet);
            assert_eq!(packet.len(), 2 * 959, "round {round}");
            assert!(packet[..958].iter().all(|sample| *sample == 7), "round {round}");
            assert_eq!(packet[958..], both, "round {round}");
            assert!(queue.is_empty());
        }
    }
}
