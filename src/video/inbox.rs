//! Received coded frames, bounded in time and bytes.
//!
//! Delay is worse than loss: at the limit the oldest frames go. A picture without the ones that it
//! builds on is of no use, so with a dropped frame everything up to the next keyframe goes too,
//! and the session asks the peer for one.
//!
//! | who reads | what is kept |
//! | --- | --- |
//! | fast enough | everything |
//! | slowly | the newest [`SPAN_MAX`] and [`BYTES_MAX`], from a keyframe on |
//! | nobody, for [`SPAN_MAX`] | nothing, until somebody does; then from the next keyframe on |
//!
//! Nobody is asked for keyframes of pictures that nobody wants.

use std::collections::VecDeque;
use std::time::Duration;

use crate::EncodedFrame;

/// The longest stretch of media that waits. 2 s: what Pipecat's idle discard lets pile up
/// (`SmallWebRTCTrack`).
pub(crate) const SPAN_MAX: Duration = Duration::from_secs(2);

/// The most bytes that wait: 2 s at 32 Mbit/s.
pub(crate) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most frames that wait, so that frames without bytes are bounded as well: 2 s of audio in
/// packets of 2.5 ms.
pub(crate) const FRAMES_MAX: usize = 800;

/// What `push` did.
#[must_use]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// Frames that were dropped, the new one perhaps among them.
    pub(crate) dropped: u64,
    /// Pictures are missing: a keyframe has to be asked for.
    pub(crate) wants_keyframe: bool,
}

/// The frames of one track that were not pulled yet.
#[derive(Debug)]
pub(crate) struct EncodedInbox {
    frames: VecDeque<EncodedFrame>,
    bytes: usize,
    /// Whether frames build on earlier ones.
    video: bool,
    /// Frames are dropped until a keyframe comes: at the beginning too, when the first was lost.
    waits_for_keyframe: bool,
    /// The time of the newest frame when one was pulled last, or of the first that waits.
    read_at: Duration,
    newest: Duration,
    /// Nobody pulls: nothing is kept.
    idle: bool,
}

impl EncodedInbox {
    pub(crate) fn new(video: bool) -> EncodedInbox {
        EncodedInbox {
            frames: VecDeque::new(),
            bytes: 0,
            video,
            waits_for_keyframe: video,
            read_at: Duration::ZERO,
            newest: Duration::ZERO,
            idle: false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn push(&mut self, frame: EncodedFrame) -> Pushed {
        let mut pushed = Pushed::default();
        let is_waited_for = !self.waits_for_keyframe || frame.keyframe;
        if self.idle || !is_waited_for {
            return Pushed { dropped: 1, wants_keyframe: !self.idle };
        }
        self.waits_for_keyframe = false;
        if self.frames.is_empty() {
            self.read_at = frame.time;
        }
        self.newest = self.newest.max(frame.time);
        if frame.time.saturating_sub(self.read_at) > SPAN_MAX {
            return Pushed { dropped: 1 + self.rest(), wants_keyframe: false };
        }
        self.bytes += frame.data.len();
        self.frames.push_back(frame);
        while self.is_over() {
            pushed.dropped += self.drop_oldest();
            pushed.wants_keyframe = self.waits_for_keyframe;
        }
        pushed
    }

    fn is_over(&self) -> bool {
        let (Some(first), Some(last)) = (self.frames.front(), self.frames.back()) else {
            return false;
        };
        self.bytes > BYTES_MAX
            || self.frames.len() > FRAMES_MAX
            || last.time.saturating_sub(first.time) > SPAN_MAX
    }

    /// Drops the oldest frame, and of pictures all that build on it.
    fn drop_oldest(&mut self) -> u64 {
        let mut dropped = u64::from(self.take().is_some());
        if self.video {
            while self.frames.front().is_some_and(|frame| !frame.keyframe) {
                dropped += u64::from(self.take().is_some());
            }
            self.waits_for_keyframe = self.frames.is_empty();
        }
        dropped
    }

    /// Nobody has pulled for long: what waits is dropped, and what comes too, until
    /// [`EncodedInbox::wake`].
    fn rest(&mut self) -> u64 {
        self.idle = true;
        self.bytes = 0;
        let dropped = self.frames.len() as u64;
        self.frames.clear();
        dropped
    }

    /// Whether frames are dropped because nobody pulls.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle
    }

    /// Somebody pulls again. Pictures begin with the next keyframe, which has to be asked for.
    pub(crate) fn wake(&mut self) {
        self.idle = false;
        self.waits_for_keyframe = self.video;
    }

    pub(crate) fn pop(&mut self) -> Option<EncodedFrame> {
        let frame = self.take()?;
        self.read_at = self.newest;
        Some(frame)
    }

    fn take(&mut self) -> Option<EncodedFrame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.data.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Codec;

    fn frame(ms: u64, keyframe: bool, len: usize) -> EncodedFrame {
        let data = Bytes::from(vec![0; len]);
        EncodedFrame::new(Codec::Vp8, Duration::from_millis(ms), keyframe, data)
    }

    #[test]
    fn two_seconds_wait_for_a_slow_reader_and_one_frame_more_drops_up_to_the_next_keyframe() {
        let mut inbox = EncodedInbox::new(true);
        for number in 0..=20 {
            let pushed = inbox.push(frame(number * 100, number == 0 || number == 11, 10));
            assert_eq!(pushed, Pushed::default(), "frame {number}");
        }
        assert_eq!(inbox.pop().map(|frame| frame.time), Some(Duration::ZERO));
        assert_eq!(inbox.push(frame(2100, false, 10)), Pushed::default());
        let pushed = inbox.push(frame(2101, false, 10));
        assert_eq!(pushed, Pushed { dropped: 10, wants_keyframe: false });
        assert_eq!(inbox.pop().map(|frame| frame.time), Some(Duration::from_millis(1100)));
    }

    #[test]
    fn what_nobody_reads_for_two_seconds_is_discarded_and_asks_for_no_keyframe() {
        for video in [true, false] {
            let mut inbox = EncodedInbox::new(video);
            for number in 0..=20 {
                assert_eq!(inbox.push(frame(number * 100, number == 0, 10)), Pushed::default());
            }
            assert!(!inbox.is_idle());
            let pushed = inbox.push(frame(2001, false, 10));
            assert_eq!(pushed, Pushed { dropped: 22, wants_keyframe: false });
            assert!(inbox.is_idle() && inbox.is_empty());
            for number in 30..1000 {
                let pushed = inbox.push(frame(number * 100, number % 50 == 0, 10));
                assert_eq!(pushed, Pushed { dropped: 1, wants_keyframe: false });
            }
            inbox.wake();
            assert!(!inbox.is_idle());
            let pushed = inbox.push(frame(100_000, false, 10));
            assert_eq!(pushed, Pushed { dropped: u64::from(video), wants_keyframe: video });
            assert_eq!(inbox.push(frame(100_033, true, 10)), Pushed::default());
            let first = inbox.pop().map(|frame| frame.time.as_millis());
            assert_eq!(first, Some(if video { 100_033 } else { 100_000 }));
        }
    }

    #[test]
    fn a_reader_that_pulls_one_frame_every_two_seconds_is_one() {
        let mut inbox = EncodedInbox::new(true);
        for number in 0..100 {
            let _ = inbox.push(frame(number * 100, number % 5 == 0, 10));
            if number % 20 == 19 {
                assert!(inbox.pop().is_some(), "frame {number}");
            }
        }
    }

    #[test]
    fn a_pause_ends_with_the_reader_that_comes_back_however_much_was_read_before_it() {
        let mut inbox = EncodedInbox::new(true);
        for number in 0..10 {
            let _ = inbox.push(frame(number * 100, number == 0, 10));
            assert!(inbox.pop().is_some());
        }
        // The pause begins with the first picture that nobody takes.
        for number in 100..=120 {
            assert_eq!(inbox.push(frame(number * 100, false, 10)), Pushed::default());
        }
        assert!(inbox.push(frame(12_001, false, 10)).dropped == 22 && inbox.is_idle());
        inbox.wake();
        for number in 200..=220 {
            let keyframe = number == 200;
            assert_eq!(inbox.push(frame(number * 100, keyframe, 10)), Pushed::default());
        }
        assert!(!inbox.is_idle());
        assert_eq!(inbox.pop().map(|frame| frame.time), Some(Duration::from_secs(20)));
    }

    #[test]
    fn without_a_keyframe_to_go_on_from_one_is_wanted_and_waited_for() {
        let mut inbox = EncodedInbox::new(true);
        assert_eq!(inbox.push(frame(0, true, BYTES_MAX)), Pushed::default());
        let pushed = inbox.push(frame(33, false, 1));
        assert_eq!(pushed, Pushed { dropped: 2, wants_keyframe: true });
        assert_eq!(inbox.push(frame(66, false, 1)), Pushed { dropped: 1, wants_keyframe: true });
        assert!(inbox.is_empty());
        assert_eq!(inbox.push(frame(99, true, 1)), Pushed::default());
        assert!(!inbox.is_empty());
    }

    #[test]
    fn audio_loses_only_the_oldest() {
        let mut inbox = EncodedInbox::new(false);
        for number in 0..FRAMES_MAX as u64 {
            assert_eq!(inbox.push(frame(number, true, 0)), Pushed::default());
        }
        let pushed = inbox.push(frame(FRAMES_MAX as u64, true, 0));
        assert_eq!(pushed, Pushed { dropped: 1, wants_keyframe: false });
        assert_eq!(inbox.frames.len(), FRAMES_MAX);
    }
}
