//! Received coded frames, bounded in time and bytes.
//!
//! Delay is worse than loss: at the limit the oldest frames go. A picture without the ones that it
//! builds on is of no use, so with a dropped frame everything up to the next keyframe goes too,
//! and the session asks the peer for one.

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

/// After how many frames that were dropped for want of a keyframe one is asked for again, because
/// a request (PLI) may be lost like any packet: half a second at 30 a second.
const ASK_AGAIN_AFTER: u32 = 15;

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
    /// Frames are dropped until a keyframe comes.
    waits_for_keyframe: bool,
    /// How many were since one was asked for.
    unasked: u32,
}

impl EncodedInbox {
    pub(crate) fn new(video: bool) -> EncodedInbox {
        EncodedInbox {
            frames: VecDeque::new(),
            bytes: 0,
            video,
            waits_for_keyframe: false,
            unasked: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn push(&mut self, frame: EncodedFrame) -> Pushed {
        let mut pushed = Pushed::default();
        if self.waits_for_keyframe {
            if !frame.keyframe {
                self.unasked = (self.unasked + 1) % ASK_AGAIN_AFTER;
                return Pushed { dropped: 1, wants_keyframe: self.unasked == 0 };
            }
            (self.waits_for_keyframe, self.unasked) = (false, 0);
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
        let mut dropped = u64::from(self.pop().is_some());
        if self.video {
            while self.frames.front().is_some_and(|frame| !frame.keyframe) {
                dropped += u64::from(self.pop().is_some());
            }
            self.waits_for_keyframe = self.frames.is_empty();
        }
        dropped
    }

    pub(crate) fn pop(&mut self) -> Option<EncodedFrame> {
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
    fn two_seconds_wait_and_one_frame_more_drops_up_to_the_next_keyframe() {
        let mut inbox = EncodedInbox::new(true);
        for number in 0..=20 {
            let pushed = inbox.push(frame(number * 100, number == 0 || number == 10, 10));
            assert_eq!(pushed, Pushed::default(), "frame {number}");
        }
        let pushed = inbox.push(frame(2100, false, 10));
        assert_eq!(pushed, Pushed { dropped: 10, wants_keyframe: false });
        assert_eq!(inbox.pop().map(|frame| frame.time), Some(Duration::from_secs(1)));
    }

    #[test]
    fn without_a_keyframe_to_go_on_from_one_is_wanted_and_waited_for() {
        let mut inbox = EncodedInbox::new(true);
        assert_eq!(inbox.push(frame(0, true, BYTES_MAX)), Pushed::default());
        let pushed = inbox.push(frame(33, false, 1));
        assert_eq!(pushed, Pushed { dropped: 2, wants_keyframe: true });
        assert_eq!(inbox.push(frame(66, false, 1)), Pushed { dropped: 1, wants_keyframe: false });
        assert!(inbox.is_empty());
        assert_eq!(inbox.push(frame(99, true, 1)), Pushed::default());
        assert!(!inbox.is_empty());
    }

    #[test]
    fn a_keyframe_that_does_not_come_is_asked_for_again() {
        let mut inbox = EncodedInbox::new(true);
        assert_eq!(inbox.push(frame(0, true, BYTES_MAX)), Pushed::default());
        assert!(inbox.push(frame(33, false, 1)).wants_keyframe);
        let asked: Vec<u64> = (1..=40)
            .filter(|number| inbox.push(frame(33 + number * 33, false, 1)).wants_keyframe)
            .collect();
        assert_eq!(asked, [15, 30]);
        assert_eq!(inbox.push(frame(2_000, true, 1)), Pushed::default());
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
