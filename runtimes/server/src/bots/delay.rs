//! How long an echo lags, and when it skips a block to lag less.
//!
//! The browser's clock fills the queue that ours empties. Where the browser's is faster (200 ppm
//! are 0.7 s an hour), or after it has sent a burst, the queue would only ever grow. So the least
//! that was queued within a window is watched: that much was of no use against jitter. When it is
//! more than [`EXCESS`], one block is skipped; when more than [`BACKLOG_MAX`] is queued, every
//! block is. A queue that ran empty needs no care: what comes next lags by as much as it was late.
//!
//! It reads no clock: a window is counted in sound.

use std::collections::VecDeque;
use std::time::Duration;

use smallrtc::AudioId;

/// Silence that goes ahead of the echo, against jitter: a late block finds the queue not yet
/// empty. Two packets; with the browser's own buffering the echo stays below 100 ms.
pub(crate) const LEAD: Duration = Duration::from_millis(40);

/// What may stay queued all the time: the lead and two packets more.
const EXCESS: Duration = Duration::from_millis(80);

/// The most that is queued: a quarter of a second late is where talking becomes hard (ITU-T G.114
/// gives 400 ms both ways as the limit).
const BACKLOG_MAX: Duration = Duration::from_millis(400);

/// How much sound is watched before a block is skipped: less, and a pause between two bursts
/// would not be seen.
const WINDOW: Duration = Duration::from_secs(2);

/// The pieces of an echo that have been queued and not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// At most `BACKLOG_MAX` of sound and one block, so its length is bounded by that.
    pieces: VecDeque<(AudioId, Duration)>,
    queued: Duration,
    least: Option<Duration>,
    watched: Duration,
    skipped: u64,
}

impl Backlog {
    /// Whether the next block, of this duration, is to be queued rather than skipped.
    pub(crate) fn takes(&mut self, block: Duration) -> bool {
        let least = self.least.map_or(self.queued, |least| least.min(self.queued));
        self.least = Some(least);
        self.watched += block;
        let mut takes = self.queued <= BACKLOG_MAX;
        if self.watched >= WINDOW {
            takes &= least <= EXCESS;
            self.watched = Duration::ZERO;
            self.least = None;
        }
        self.skipped += u64::from(!takes);
        takes
    }

    /// A piece was queued.
    pub(crate) fn queued(&mut self, id: AudioId, duration: Duration) {
        self.pieces.push_back((id, duration));
        self.queued += duration;
    }

    /// A piece, and so every one before it, has been sent.
    pub(crate) fn finished(&mut self, id: AudioId) {
        while let Some((first, duration)) = self.pieces.front().copied() {
            if first > id {
                break;
            }
            self.pieces.pop_front();
            self.queued -= duration;
        }
    }

    /// How many blocks were skipped.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Duration = Duration::from_millis(20);

    /// An echo whose queue is emptied by a clock that the test turns.
    #[derive(Default)]
    struct Echo {
        backlog: Backlog,
        ids: u64,
        sent: u64,
    }

    impl Echo {
        fn hear(&mut self) {
            if self.backlog.takes(BLOCK) {
                self.backlog.queued(AudioId(self.ids), BLOCK);
                self.ids += 1;
            }
        }

        fn send(&mut self) {
            if self.sent < self.ids {
                self.backlog.finished(AudioId(self.sent));
                self.sent += 1;
            }
        }
    }

    #[test]
    fn even_clocks_skip_nothing() {
        let mut echo = Echo::default();
        echo.backlog.queued(AudioId(0), LEAD);
        echo.ids = 1;
        for _ in 0..100_000 {
            echo.hear();
            echo.send();
        }
        assert_eq!(echo.backlog.skipped(), 0);
        assert_eq!(echo.backlog.queued, BLOCK);
    }

    #[test]
    fn a_faster_browser_does_not_make_the_echo_lag_more_and_more() {
        let mut echo = Echo::default();
        // 1000 ppm for an hour: 3.6 s too much in all.
        for block in 0..180_000u64 {
            echo.hear();
            if block % 1000 == 0 {
                echo.hear();
            }
            echo.send();
            assert!(echo.backlog.queued <= EXCESS + 2 * BLOCK, "{:?}", echo.backlog.queued);
        }
        assert!((170..=180).contains(&echo.backlog.skipped()), "{}", echo.backlog.skipped());
    }

    #[test]
    fn a_burst_is_cut_at_the_limit_and_the_rest_is_worked_off() {
        let mut echo = Echo::default();
        for _ in 0..20 {
            echo.hear();
        }
        assert_eq!((echo.backlog.queued, echo.backlog.skipped()), (BACKLOG_MAX, 0));
        echo.hear();
        assert_eq!((echo.backlog.queued, echo.backlog.skipped()), (BACKLOG_MAX + BLOCK, 0));
        echo.hear();
        assert_eq!((echo.backlog.queued, echo.backlog.skipped()), (BACKLOG_MAX + BLOCK, 1));
        // 17 blocks too many, one for each window of 2 s.
        for _ in 0..18 * 100 {
            echo.hear();
            echo.send();
        }
        assert!(echo.backlog.queued <= EXCESS + BLOCK, "{:?}", echo.backlog.queued);
    }

    #[test]
    fn jitter_within_the_lead_skips_nothing() {
        let mut echo = Echo::default();
        echo.backlog.queued(AudioId(0), LEAD);
        echo.ids = 1;
        for _ in 0..10_000 {
            // Six blocks at once, then none for as long.
            for _ in 0..6 {
                echo.hear();
            }
            for _ in 0..6 {
                echo.send();
            }
        }
        assert_eq!(echo.backlog.skipped(), 0);
    }

    #[test]
    fn pieces_whose_end_was_not_told_are_finished_by_a_later_one() {
        let mut backlog = Backlog::default();
        for id in 0..5 {
            backlog.queued(AudioId(id), BLOCK);
        }
        backlog.finished(AudioId(3));
        assert_eq!(backlog.queued, BLOCK);
        backlog.finished(AudioId(3));
        assert_eq!(backlog.queued, BLOCK);
    }
}
