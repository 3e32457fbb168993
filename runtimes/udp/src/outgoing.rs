//! Transmits on their way to the kernel: gathered into runs, and waiting where there is no room.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallrtc::Transmit;

use crate::run::{RUN_SEGMENTS_MAX, Run, run_len};

/// How many transmits wait at most for room in the kernel's buffer: two seconds of one call's
/// audio, or one keyframe's burst. At the limit the oldest is dropped, because media that is
/// late is worth less than media that is not.
pub const WAITING_MAX: usize = 256;

/// How long a transmit waits at most. 200 ms: later than that a receiver's jitter buffer has given
/// the packet up, and ICE, DTLS and SCTP have sent it again.
pub const WAITING_AGE_MAX: Duration = Duration::from_millis(200);

/// What the kernel made of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It is the kernel's now, or lost: nothing more is to be done.
    Over,
    /// There is no room.
    NoRoom,
    /// It does not take this run in one piece. A run of one is never answered so.
    NotJoined,
}

/// What takes runs.
pub(crate) trait Kernel {
    /// How many datagrams a run may have now.
    fn segments_max(&self) -> usize;
    fn attempt(&mut self, run: Run<'_>) -> Attempt;
}

/// First in, first out, bounded in number and age.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    queue: VecDeque<(Instant, Transmit)>,
    /// The kernel had no room for the first of the queue.
    is_blocked: bool,
    /// A run in one piece, written anew for each.
    joined: Vec<u8>,
    waits: u64,
    overflowed: u64,
    expired: u64,
}

impl Outgoing {
    /// Takes a datagram as the last, to be sent by [`Outgoing::send`] or sooner.
    pub(crate) fn push(&mut self, transmit: Transmit, now: Instant, kernel: &mut impl Kernel) {
        // The first run is whole by now: the last one may still grow.
        if !self.is_blocked {
            self.shorten(RUN_SEGMENTS_MAX - 1, now, kernel);
        }
        self.waits += u64::from(self.is_blocked);
        while self.queue.len() >= WAITING_MAX {
            self.queue.pop_front();
            self.overflowed += 1;
        }
        self.queue.push_back((now, transmit));
    }

    /// Sends what was gathered, unless others wait for room: then it waits behind them.
    pub(crate) fn send(&mut self, now: Instant, kernel: &mut impl Kernel) {
        if !self.is_blocked {
            self.flush(now, kernel);
        }
    }

    /// Drops what waited too long, and sends the rest in order as far as there is room.
    pub(crate) fn flush(&mut self, now: Instant, kernel: &mut impl Kernel) {
        self.shorten(0, now, kernel);
    }

    /// Sends the first runs until no more than `len` datagrams are left or there is no room.
    fn shorten(&mut self, len: usize, now: Instant, kernel: &mut impl Kernel) {
        // How many of the first go one by one, because the kernel did not take them as a run.
        let mut singly = 0;
        while self.queue.len() > len {
            let (since, _) = &self.queue[0];
            if now.saturating_duration_since(*since) > WAITING_AGE_MAX {
                self.queue.pop_front();
                self.expired += 1;
                continue;
            }
            let segments_max = if singly > 0 { 1 } else { kernel.segments_max() };
            let segments = run_len(self.queue.iter().map(|(_, transmit)| transmit), segments_max);
            match self.attempt(segments, kernel) {
                Attempt::Over => {
                    self.queue.drain(..segments);
                    singly -= segments.min(singly);
                }
                Attempt::NotJoined => singly = segments,
                Attempt::NoRoom => {
                    if !self.is_blocked {
                        self.is_blocked = true;
                        self.waits += self.queue.len() as u64;
                    }
                    return;
                }
            }
        }
        self.is_blocked = false;
    }

    /// Whether datagrams wait for room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// How often a datagram had to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.waits
    }

    /// How many were dropped because too many waited.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// How many were dropped because they waited too long.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }

    /// Offers the first `segments` to the kernel as one run. One alone is not copied.
    fn attempt(&mut self, segments: usize, kernel: &mut impl Kernel) -> Attempt {
        let (_, first) = &self.queue[0];
        let contents = if segments == 1 {
            &first.payload[..]
        } else {
            self.joined.clear();
            for (_, transmit) in self.queue.range(..segments) {
                self.joined.extend_from_slice(&transmit.payload);
            }
            &self.joined
        };
        kernel.attempt(Run {
            source: first.source,
            destination: first.destination,
            contents,
            segments,
            segment_len: first.payload.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smallrtc::TransportId;

    /// A kernel that has room for so many datagrams.
    #[derive(Default)]
    struct Fake {
        room: usize,
        segments_max: usize,
        /// It says that it joins, and does not.
        refuses: bool,
        calls: Vec<usize>,
        taken: Vec<u16>,
    }

    impl Fake {
        fn with_room(room: usize) -> Fake {
            Fake { room, segments_max: 1, ..Fake::default() }
        }

        fn joining(room: usize, segments_max: usize) -> Fake {
            Fake { room, segments_max, ..Fake::default() }
        }
    }

    impl Kernel for Fake {
        fn segments_max(&self) -> usize {
            self.segments_max
        }

        fn attempt(&mut self, run: Run<'_>) -> Attempt {
            self.calls.push(run.segments);
            if run.segments > 1 && self.refuses {
                return Attempt::NotJoined;
            }
            if self.room < run.segments {
                return Attempt::NoRoom;
            }
            self.room -= run.segments;
            let number = |segment: &[u8]| u16::from_be_bytes([segment[0], segment[1]]);
            let taken: Vec<u16> = run.contents.chunks(run.segment_len).map(number).collect();
            assert_eq!(taken.len(), run.segments);
            self.taken.extend(taken);
            Attempt::Over
        }
    }

    fn push(outgoing: &mut Outgoing, number: u16, now: Instant, kernel: &mut Fake) {
        let here = "127.0.0.1:1".parse().unwrap();
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        outgoing.push(Transmit::udp(TransportId(0), here, here, payload), now, kernel);
    }

    fn send(outgoing: &mut Outgoing, number: u16, now: Instant, kernel: &mut Fake) {
        push(outgoing, number, now, kernel);
        outgoing.send(now, kernel);
    }

    #[test]
    fn what_was_refused_waits_and_goes_out_first_and_in_order() {
        let now = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::with_room(1));
        for number in 0..4 {
            send(&mut outgoing, number, now, &mut kernel);
        }
        assert_eq!((kernel.taken.as_slice(), outgoing.waits()), (&[0][..], 3));
        kernel.room = 2;
        outgoing.flush(now, &mut kernel);
        assert!(outgoing.is_blocked());
        kernel.room = 9;
        // Room alone lets nobody overtake those that wait.
        send(&mut outgoing, 4, now, &mut kernel);
        assert_eq!(kernel.taken, [0, 1, 2]);
        outgoing.flush(now, &mut kernel);
        assert_eq!((kernel.taken.as_slice(), outgoing.waits()), (&[0, 1, 2, 3, 4][..], 4));
        assert!(!outgoing.is_blocked());
    }

    #[test]
    fn the_oldest_is_dropped_one_past_the_limit() {
        let now = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::with_room(0));
        let limit = u16::try_from(WAITING_MAX).unwrap();
        for number in 0..limit {
            send(&mut outgoing, number, now, &mut kernel);
        }
        assert_eq!(outgoing.overflowed(), 0);
        send(&mut outgoing, limit, now, &mut kernel);
        assert_eq!(outgoing.overflowed(), 1);
        kernel.room = WAITING_MAX + 1;
        outgoing.flush(now, &mut kernel);
        assert_eq!(kernel.taken, (1..=limit).collect::<Vec<_>>());
        assert_eq!(outgoing.waits(), u64::from(limit) + 1);
    }

    #[test]
    fn what_waited_longer_than_the_limit_is_dropped_and_what_waited_as_long_is_sent() {
        let start = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::with_room(0));
        send(&mut outgoing, 1, start, &mut kernel);
        send(&mut outgoing, 2, start + Duration::from_millis(1), &mut kernel);
        kernel.room = 9;
        let late = start + WAITING_AGE_MAX + Duration::from_millis(1);
        outgoing.flush(late, &mut kernel);
        assert_eq!((kernel.taken.as_slice(), outgoing.expired()), (&[2][..], 1));
    }

    #[test]
    fn what_is_gathered_goes_out_in_few_calls_and_in_order() {
        let now = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::joining(999, 64));
        for number in 0..150 {
            push(&mut outgoing, number, now, &mut kernel);
        }
        // More than a run is never gathered.
        assert_eq!(kernel.calls, [64, 64]);
        outgoing.send(now, &mut kernel);
        assert_eq!(kernel.calls, [64, 64, 22]);
        assert_eq!(kernel.taken, (0..150).collect::<Vec<_>>());
        assert_eq!(outgoing.waits(), 0);
    }

    #[test]
    fn what_is_gathered_is_cut_where_runs_end_and_not_where_the_gathering_does() {
        let now = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::joining(999, 50));
        for number in 0..150 {
            push(&mut outgoing, number, now, &mut kernel);
        }
        outgoing.send(now, &mut kernel);
        assert_eq!(kernel.calls, [50, 50, 50]);
    }

    #[test]
    fn a_run_for_which_there_is_no_room_waits_whole() {
        let now = Instant::now();
        let (mut outgoing, mut kernel) = (Outgoing::default(), Fake::joining(9, 64));
        for number in 0..10 {
            push(&mut outgoing, number, now, &mut kernel);
        }
        outgoing.send(now, &mut kernel);
        assert!(outgoing.is_blocked() && kernel.taken.is_empty());
        push(&mut outgoing, 10, now, &mut kernel);
        assert_eq!(outgoing.waits(), 11);
        kernel.room = 11;
        outgoing.flush(now, &mut kernel);
        assert_eq!((kernel.calls.as_slice(), kernel.room), (&[10, 11][..], 0));
        assert!(!outgoing.is_blocked());
    }

    #[test]
    fn a_run_that_is_not_taken_as_one_is_sent_one_by_one_and_nothing_is_lost() {
        let now = Instant::now();
        let mut outgoing = Outgoing::default();
        let mut kernel = Fake { refuses: true, ..Fake::joining(2, 3) };
        for number in 0..5 {
            push(&mut outgoing, number, now, &mut kernel);
        }
        outgoing.send(now, &mut kernel);
        assert_eq!(
            (kernel.calls.as_slice(), kernel.taken.as_slice()),
            (&[3, 1, 1, 1][..], &[0, 1][..])
        );
        assert!(outgoing.is_blocked());
        kernel.room = 9;
        // What quinn-udp does after the first refusal.
        kernel.segments_max = 1;
        outgoing.flush(now, &mut kernel);
        assert_eq!(kernel.taken, [0, 1, 2, 3, 4]);
        assert_eq!(kernel.calls, [3, 1, 1, 1, 1, 1, 1]);
    }
}
