//! Messages that are sent to come back, and how long they took.
//!
//! A message is of the envelope that Pipecat's clients use, under a label of its own, so that a
//! bot which answers what it knows leaves it alone. At most [`OUTSTANDING_MAX`] are waited for;
//! the return of an older one is counted without its time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallrtc_udp::Lateness;

/// How many messages may be on their way: a minute's at 60 a second.
pub(super) const OUTSTANDING_MAX: usize = 3_600;

/// Before a message's number.
const HEAD: &str = r#"{"label":"smallrtc-load","type":"probe","id":""#;
const TAIL: &str = r#"","data":{}}"#;

/// The messages of one call.
#[derive(Debug)]
pub(super) struct Probes {
    interval: Option<Duration>,
    due: Option<Instant>,
    /// The number of the oldest that is waited for, and when it and those after it were sent;
    /// `None` where one has returned.
    oldest: u64,
    outstanding: VecDeque<Option<Instant>>,
    pub(super) sent: u64,
    pub(super) refused: u64,
    pub(super) returned: u64,
    pub(super) round_trip: Lateness,
    is_steady: bool,
}

impl Probes {
    pub(super) fn new(interval: Option<Duration>) -> Probes {
        Probes {
            interval,
            due: None,
            oldest: 0,
            outstanding: VecDeque::new(),
            sent: 0,
            refused: 0,
            returned: 0,
            round_trip: Lateness::new(),
            is_steady: false,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.due = self.interval.map(|interval| now + interval);
    }

    pub(super) fn begin_steady(&mut self) {
        self.is_steady = true;
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether messages are on their way. A bot that has returned none will not return these.
    pub(super) fn is_waiting(&self) -> bool {
        self.returned > 0 && !self.outstanding.is_empty()
    }

    /// The next message, when it is due; [`Probes::sent`] must follow.
    pub(super) fn poll(&self, now: Instant) -> Option<String> {
        self.due.filter(|at| *at <= now)?;
        Some(format!("{HEAD}{}{TAIL}", self.sent))
    }

    pub(super) fn sent(&mut self, is_taken: bool, now: Instant) {
        // From now on, not from when it was due: after a stall there is no burst.
        self.due = self.interval.map(|interval| now + interval);
        if !is_taken {
            self.refused += 1;
            return;
        }
        self.sent += 1;
        self.outstanding.push_back(Some(now));
        if self.outstanding.len() > OUTSTANDING_MAX {
            self.outstanding.pop_front();
            self.oldest += 1;
        }
    }

    /// Takes a message of the bot, of which it may have said more.
    pub(super) fn returned(&mut self, message: &[u8], now: Instant) {
        let Some(number) = number(message).filter(|number| *number < self.sent) else { return };
        let place = number.checked_sub(self.oldest).and_then(|place| usize::try_from(place).ok());
        let Some(place) = place else {
            self.returned += 1;
            return;
        };
        if let Some(sent) = self.outstanding.get_mut(place).and_then(Option::take) {
            self.returned += 1;
            if self.is_steady {
                self.round_trip.record(now.saturating_duration_since(sent));
            }
        }
        while self.outstanding.front().is_some_and(Option::is_none) {
            self.outstanding.pop_front();
            self.oldest += 1;
        }
    }
}

fn number(message: &[u8]) -> Option<u64> {
    let rest = message.strip_prefix(HEAD.as_bytes())?.strip_suffix(TAIL.as_bytes())?;
    std::str::from_utf8(rest).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);

    fn probes(now: Instant) -> Probes {
        let mut probes = Probes::new(Some(INTERVAL));
        probes.begin(now);
        probes.begin_steady();
        probes
    }

    fn send(probes: &mut Probes, now: Instant) -> String {
        let message = probes.poll(now).expect("it is due");
        probes.sent(true, now);
        message
    }

    #[test]
    fn a_message_that_returns_tells_its_round_trip() {
        let start = Instant::now();
        let mut probes = probes(start);
        assert_eq!(probes.poll(start), None);
        let first = send(&mut probes, start + INTERVAL);
        let second = send(&mut probes, start + 2 * INTERVAL);
        probes.returned(second.as_bytes(), start + 3 * INTERVAL);
        probes.returned(first.as_bytes(), start + 3 * INTERVAL);
        assert_eq!((probes.sent, probes.returned), (2, 2));
        assert_eq!(probes.round_trip.count(), 2);
        assert!(probes.round_trip.max().abs_diff(2 * INTERVAL) < INTERVAL / 10);
    }

    #[test]
    fn what_was_not_sent_or_returned_before_does_not_count() {
        let start = Instant::now();
        let mut probes = probes(start);
        let message = send(&mut probes, start + INTERVAL);
        for _ in 0..2 {
            probes.returned(message.as_bytes(), start + INTERVAL);
        }
        for other in ["", "ping: 0", &message.replace('0', "1"), &message.replace('0', "x")] {
            probes.returned(other.as_bytes(), start + INTERVAL);
        }
        // Before all that is waited for, a second return cannot be told from a first one.
        assert_eq!(probes.returned, 2);
        assert_eq!(probes.round_trip.count(), 1);
    }

    #[test]
    fn a_full_channel_is_counted_and_tried_again() {
        let start = Instant::now();
        let mut probes = probes(start);
        let message = probes.poll(start + INTERVAL);
        probes.sent(false, start + INTERVAL);
        assert_eq!((probes.sent, probes.refused), (0, 1));
        assert_eq!(probes.poll(start + 2 * INTERVAL), message);
    }

    #[test]
    fn at_the_limit_all_are_waited_for_and_one_past_it_the_oldest_is_not() {
        let start = Instant::now();
        for (count, timed) in [(OUTSTANDING_MAX, 1), (OUTSTANDING_MAX + 1, 0)] {
            let mut probes = probes(start);
            let first = send(&mut probes, start + INTERVAL);
            let mut now = start + INTERVAL;
            for _ in 1..count {
                now += INTERVAL;
                send(&mut probes, now);
            }
            assert_eq!(probes.outstanding.len(), OUTSTANDING_MAX);
            probes.returned(first.as_bytes(), now);
            assert_eq!((probes.returned, probes.round_trip.count()), (1, timed));
        }
    }
}
