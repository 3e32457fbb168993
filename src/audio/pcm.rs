//! What was received and waits to be read: samples, where they come from, and their time.
//!
//! Long silence is a number, not samples. Time is the count of all samples that were ever queued,
//! dropped ones included. It never waits, and never changes a sample.
//!
//! | read as | given at once | waits |
//! | --- | --- | --- |
//! | frames | exactly one frame, of whatever origins | what does not fill a frame yet |
//! | frames, into less room | the part of it that fits, then the rest of it | the same |
//! | it comes | as much of one origin as there is room for | nothing |
//!
//! How loud a frame is is what its packets' sender said; what nobody said is measured by whoever
//! asks ([`AudioLevel`]).
//!
//! A frame begins where the last one ended, or where the oldest sample is after some were dropped.

#[cfg(test)]
mod bounds;

use std::collections::VecDeque;
use std::time::Duration;

use crate::audio::level::louder;
use crate::audio::resample::per_channel;
use crate::{AudioInfo, AudioLevel, AudioOrigin, AudioParts, FrameTime};

/// How much sound waits to be read, and with silence how much besides the longest pause; the oldest
/// is dropped beyond either. 1 s: more than a reader that is alive needs (Pipecat's
/// `SmallWebRTCTrack` discards after 2 s), less than a listener takes for an answer to what was
/// just said.
pub(super) const PCM_MAX: Duration = Duration::from_secs(1);

/// Samples of one origin.
#[derive(Debug)]
struct Segment {
    origin: AudioOrigin,
    /// Samples per channel.
    len: u64,
    /// What the sender said of their packet.
    level: Option<(u8, bool)>,
    /// Whether they stand in `samples`; else they are zeros.
    is_stored: bool,
}

/// A queue of decoded sound.
#[derive(Debug)]
pub(super) struct Pcm {
    rate: u32,
    channels: usize,
    /// Samples per channel of a frame; `None` where sound is given as it comes.
    frame: Option<u64>,
    /// Where the frame ends of which something was read.
    frame_end: u64,
    segments: VecDeque<Segment>,
    /// Stored samples in one piece, and how many of them, the first ones, were given out: nearly
    /// always all of them are, so that nothing is ever moved.
    samples: Vec<i16>,
    given: usize,
    /// Samples per channel that are queued.
    len: u64,
    /// The longest pause that was queued since there was nothing to read. Its time passed in one
    /// step, before anybody could have read it, so it does not count for the limit.
    pause: u64,
    /// Samples per channel before the first queued one.
    position: u64,
    /// The second that was read last, and samples per channel before it: nearly all frames are in
    /// the same, and are spared a division.
    second: u64,
    second_at: u64,
    dropped: u64,
}

impl Pcm {
    pub(super) fn new(rate: u32, channels: u8, frame: FrameTime) -> Pcm {
        Pcm {
            rate,
            channels: usize::from(channels),
            frame: frame.samples(rate),
            frame_end: 0,
            segments: VecDeque::new(),
            samples: Vec::new(),
            given: 0,
            len: 0,
            pause: 0,
            position: 0,
            second: 0,
            second_at: 0,
            dropped: 0,
        }
    }

    /// Appends samples, interleaved, of which nobody said how loud they are.
    #[cfg(test)]
    pub(super) fn push(&mut self, samples: &[i16], origin: AudioOrigin) {
        self.push_leveled(samples, origin, None);
    }

    /// Appends samples, interleaved, and what the sender said of their packet.
    pub(super) fn push_leveled(
        &mut self,
        samples: &[i16],
        origin: AudioOrigin,
        level: Option<(u8, bool)>,
    ) {
        if self.given > self.samples.len() / 2 {
            // As many are moved as were given out since the last time, at most.
            self.samples.drain(..self.given);
            self.given = 0;
        }
        self.samples.extend_from_slice(samples);
        let len = per_channel(samples.len(), self.channels) as u64;
        self.append(Segment { origin, len, level, is_stored: true });
    }

    /// Appends zeros: `len` per channel.
    pub(super) fn push_silence(&mut self, len: u64) {
        self.pause = self.pause.max(len);
        let origin = AudioOrigin::Silence;
        self.append(Segment { origin, len, level: None, is_stored: false });
    }

    /// Moves the oldest samples to `out`: a frame, or as many of one origin as it has room for.
    pub(super) fn read(&mut self, out: &mut [i16]) -> Option<AudioInfo> {
        let ready = self.ready();
        let room = per_channel(out.len(), self.channels) as u64;
        let len = ready.min(room);
        if len == 0 {
            return None;
        }
        let (time, mut parts, mut left) = (self.time(), AudioParts::default(), len);
        self.frame_end = self.position + ready;
        let filled = len as usize * self.channels;
        let mut told = None;
        let mut rest = &mut out[..filled];
        while let Some(segment) = self.segments.front().filter(|_| left > 0) {
            let (origin, is_stored) = (segment.origin, segment.is_stored);
            told = louder(told, segment.level);
            let taken = segment.len.min(left);
            let (piece, behind) = rest.split_at_mut(taken as usize * self.channels);
            if is_stored {
                piece.copy_from_slice(&self.samples[self.given..][..piece.len()]);
            } else {
                piece.fill(0);
            }
            parts.add(origin, taken as usize);
            self.skip(taken);
            (rest, left) = (behind, left - taken);
        }
        if !self.is_readable() {
            self.pause = 0;
        }
        let (shape, level) = ((self.rate, self.channels as u8), told.map(AudioLevel::told));
        Some(AudioInfo::new(len as usize, shape, time, parts, level))
    }

    /// How many samples per channel a reader with room enough gets now.
    fn ready(&self) -> u64 {
        match self.frame {
            None => {
                let Some(first) = self.segments.front() else { return 0 };
                let alike = |other: &&Segment| {
                    (other.origin, other.is_stored) == (first.origin, first.is_stored)
                };
                self.segments.iter().take_while(alike).map(|segment| segment.len).sum()
            }
            Some(_) if self.position < self.frame_end => self.frame_end - self.position,
            Some(frame) if self.len >= frame => frame,
            Some(_) => 0,
        }
    }

    /// Whether there is something to read.
    pub(super) fn is_readable(&self) -> bool {
        match self.frame {
            None => !self.segments.is_empty(),
            Some(_) => self.ready() > 0,
        }
    }

    /// Drops everything that waits.
    pub(super) fn discard(&mut self) {
        self.segments.clear();
        self.samples.clear();
        self.given = 0;
        self.position += self.len;
        self.dropped += self.len;
        (self.len, self.pause) = (0, 0);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Samples per channel that were dropped unread.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The first queued sample's time, rounded down to a nanosecond.
    fn time(&mut self) -> Duration {
        let rate = u64::from(self.rate);
        if self.position - self.second_at >= rate {
            self.second = self.position / rate;
            self.second_at = self.second * rate;
        }
        let nanos = (self.position - self.second_at) * 1_000_000_000 / rate;
        Duration::new(self.second, nanos as u32)
    }

    fn append(&mut self, segment: Segment) {
        let Segment { origin, len, level, is_stored } = segment;
        if len == 0 {
            return;
        }
        match self.segments.back_mut() {
            Some(last)
                if (last.origin, last.level, last.is_stored) == (origin, level, is_stored) =>
            {
                last.len += len;
            }
            _ => self.segments.push_back(segment),
        }
        self.len += len;
        // Less than a second is within both limits.
        if self.len > self.max() {
            self.keep_to_limits();
        }
    }

    /// How many samples per channel wait at most.
    fn max(&self) -> u64 {
        PCM_MAX.as_secs() * u64::from(self.rate)
    }

    /// Drops the oldest. A pause that has left makes no room for sound, and what is left of one
    /// goes as a whole when the sound behind it is too much.
    fn keep_to_limits(&mut self) {
        let max = self.max();
        loop {
            let stored = per_channel(self.samples.len() - self.given, self.channels) as u64;
            let sound = stored.saturating_sub(max);
            let all = self.len.saturating_sub(max + self.pause);
            let Some(first) = self.segments.front().filter(|_| sound.max(all) > 0) else { break };
            let wanted = if sound > 0 && !first.is_stored { first.len } else { sound.max(all) };
            let drop = first.len.min(wanted);
            self.skip(drop);
            self.dropped += drop;
        }
    }

    /// Takes `len` samples per channel from the first segment, which has as many.
    fn skip(&mut self, len: u64) {
        let segment = self.segments.front_mut().expect("the caller has looked at it");
        segment.len -= len;
        if segment.is_stored {
            self.given += len as usize * self.channels;
            if self.given == self.samples.len() {
                self.samples.clear();
                self.given = 0;
            }
        }
        if segment.len == 0 {
            self.segments.pop_front();
        }
        self.len -= len;
        self.position += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_sound_is_kept_behind_a_pause_and_one_sample_more_takes_the_pause_along() {
        let mut pcm = Pcm::new(8_000, 1, FrameTime::AsItComes);
        let mut out = [0; 64_000];
        pcm.push_silence(16_000);
        pcm.push(&[1; 8_000], AudioOrigin::Decoded);
        assert_eq!(pcm.dropped(), 0);
        pcm.push(&[1], AudioOrigin::Decoded);
        assert_eq!(pcm.dropped(), 16_001);
        while pcm.read(&mut out).is_some() {}
        assert!(pcm.is_empty());
        pcm.push(&[1; 8_000], AudioOrigin::Decoded);
        assert_eq!(pcm.dropped(), 16_001);
        pcm.push(&[1], AudioOrigin::Decoded);
        assert_eq!(pcm.dropped(), 16_002);
    }

    #[test]
    fn a_reader_that_never_catches_up_gets_each_sample_once_and_room_does_not_grow() {
        let mut pcm = Pcm::new(8_000, 1, FrameTime::Ms20);
        let mut numbers = (0..=i16::MAX).cycle();
        let mut expected = numbers.clone();
        let mut push = |pcm: &mut Pcm, len| {
            let samples: Vec<i16> = numbers.by_ref().take(len).collect();
            pcm.push(&samples, AudioOrigin::Decoded);
        };
        push(&mut pcm, 1_000);
        let mut room = 0;
        for round in 0..10_000 {
            push(&mut pcm, 160);
            let mut out = [0; 160];
            assert_eq!(pcm.read(&mut out).map(|info| info.samples), Some(160));
            assert!(expected.by_ref().take(160).eq(out), "round {round}");
            room = if round == 100 { pcm.samples.capacity() } else { room };
        }
        assert_eq!((pcm.samples.capacity(), pcm.dropped()), (room, 0));
    }
}
