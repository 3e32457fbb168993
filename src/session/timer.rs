//! Every timer of a session, in one table.

use std::time::Instant;

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// ICE and DTLS were not done in time: the session fails as never connected.
    Connecting,
    /// The peer does not check: the session fails as never connected. Moved by each check.
    Ice,
    /// No data channel opened in time: queued messages are given up, later ones refused.
    ChannelOpen,
    /// Nothing authenticated came for a while: the session is `Disconnected`. Moved by whatever
    /// comes.
    Liveness,
    /// Still nothing: the session fails as lost.
    Disconnected,
    /// `close` has waited long enough for acknowledgements: the goodbye goes out.
    Linger,
    /// The next audio packet is due.
    AudioOut,
    /// Missing audio was waited for long enough: the gap is filled.
    AudioIn,
    /// The next key of a telephone is due, or the last one is over.
    KeysOut,
    /// A key that the peer pressed is over, though nobody said so.
    KeysIn,
}

impl Timer {
    /// In the order in which they fire when several are due at once: endings first.
    pub(crate) const ALL: [Timer; 10] = [
        Timer::Connecting,
        Timer::Ice,
        Timer::ChannelOpen,
        Timer::Liveness,
        Timer::Disconnected,
        Timer::Linger,
        Timer::AudioOut,
        Timer::AudioIn,
        Timer::KeysOut,
        Timer::KeysIn,
    ];

    /// A word for logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Timer::Connecting => "connecting",
            Timer::Ice => "ice",
            Timer::ChannelOpen => "channel open",
            Timer::Liveness => "liveness",
            Timer::Disconnected => "disconnected",
            Timer::Linger => "linger",
            Timer::AudioOut => "audio out",
            Timer::AudioIn => "audio in",
            Timer::KeysOut => "keys out",
            Timer::KeysIn => "keys in",
        }
    }
}

/// When each timer fires, if it is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Instant>; Timer::ALL.len()],
    /// A bit for each that is set, which are two or three.
    set: u16,
    /// The earliest of them, with its deadline: asked for several times for each packet, and
    /// changed once or twice.
    first: Option<(Timer, Instant)>,
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.follow(timer, Some(deadline));
    }

    /// Sets or clears, as the part that owns the deadline says.
    #[inline]
    pub(crate) fn follow(&mut self, timer: Timer, deadline: Option<Instant>) {
        if self.deadlines[timer as usize] != deadline {
            self.change(timer, deadline);
        }
    }

    fn change(&mut self, timer: Timer, deadline: Option<Instant>) {
        self.deadlines[timer as usize] = deadline;
        let bit = 1 << timer as u16;
        self.set = if deadline.is_some() { self.set | bit } else { self.set & !bit };
        match (self.first, deadline) {
            (Some((first, at)), _) if first == timer && deadline != Some(at) => {
                self.first = self.earliest();
            }
            (Some((first, at)), Some(deadline)) if (deadline, timer) < (at, first) => {
                self.first = Some((timer, deadline));
            }
            (None, Some(deadline)) => self.first = Some((timer, deadline)),
            _ => {}
        }
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.follow(timer, None);
    }

    pub(crate) fn clear_all(&mut self) {
        *self = TimerTable::default();
    }

    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.deadlines[timer as usize]
    }

    /// The earliest timer with its deadline; of equal ones the first in [`Timer::ALL`].
    pub(crate) fn next(&self) -> Option<(Timer, Instant)> {
        self.first
    }

    fn earliest(&self) -> Option<(Timer, Instant)> {
        let mut first: Option<(Timer, Instant)> = None;
        let mut left = self.set;
        while left != 0 {
            let timer = Timer::ALL[left.trailing_zeros() as usize];
            if let Some(deadline) = self.deadline(timer)
                && first.is_none_or(|(_, earliest)| deadline < earliest)
            {
                first = Some((timer, deadline));
            }
            left &= left - 1;
        }
        first
    }

    /// Takes the earliest timer that is due. It is cleared; who handles it may set it again.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let (timer, deadline) = self.next()?;
        if deadline > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_is_the_earliest_whatever_was_set_moved_and_cleared(
            steps in prop::collection::vec((0..Timer::ALL.len(), prop::option::of(0..4u64)), 0..60),
        ) {
            let start = origin();
            let mut table = TimerTable::default();
            for (timer, seconds) in steps {
                let deadline = seconds.map(|seconds| start + Duration::from_secs(seconds));
                table.follow(Timer::ALL[timer], deadline);
                let set = Timer::ALL.into_iter().filter_map(|timer| {
                    Some((table.deadline(timer)?, timer))
                });
                let earliest = set.min().map(|(deadline, timer)| (timer, deadline));
                prop_assert_eq!(table.next(), earliest);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn each_timer_has_a_word_of_its_own() {
        let mut words: Vec<&str> = Timer::ALL.iter().map(|timer| timer.name()).collect();
        assert!(words.iter().all(|word| word.starts_with(char::is_lowercase)));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Timer::ALL.len());
    }

    #[test]
    fn timers_expire_in_order_of_time_then_of_the_table() {
        let start = origin();
        let at = |ms| start + Duration::from_millis(ms);
        let mut table = TimerTable::default();
        table.set(Timer::AudioIn, at(5));
        table.set(Timer::Linger, at(5));
        table.set(Timer::Connecting, at(9));
        assert_eq!(table.next(), Some((Timer::Linger, at(5))));
        assert_eq!(table.expire(at(4)), None);
        assert_eq!(table.expire(at(9)), Some(Timer::Linger));
        assert_eq!(table.expire(at(9)), Some(Timer::AudioIn));
        assert_eq!(table.expire(at(9)), Some(Timer::Connecting));
        assert_eq!(table.expire(at(99)), None);
    }

    #[test]
    fn the_table_has_a_place_for_each_timer() {
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, index, "{}", timer.name());
        }
    }

    #[test]
    fn a_cleared_timer_does_not_fire() {
        let start = origin();
        let mut table = TimerTable::default();
        table.set(Timer::Liveness, start);
        table.clear(Timer::Liveness);
        assert_eq!(table.deadline(Timer::Liveness), None);
        table.follow(Timer::AudioOut, Some(start));
        table.clear_all();
        assert_eq!(table.next(), None);
    }
}
