//! Transmits that the kernel had no room for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallrtc::Transmit;

/// How many transmits wait at most for room in the kernel's buffer: two seconds of one call's
/// audio, or one keyframe's burst. At the limit the oldest is dropped, because media that is
/// late is worth less than media that is not.
pub const WAITING_MAX: usize = 256;

/// How long a transmit waits at most. 200 ms: later than that a receiver's jitter buffer has given
/// the packet up, and ICE, DTLS and SCTP have sent it again.
pub const WAITING_AGE_MAX: Duration = Duration::from_millis(200);

/// What the kernel made of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It is the kernel's now, or lost: nothing more is to be done.
    Over,
    /// There is no room.
    NoRoom,
}

/// First in, first out, bounded in number and age.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    queue: VecDeque<(Instant, Transmit)>,
    waits: u64,
    overflowed: u64,
    expired: u64,
}

impl Waiting {
    /// Sends a datagram, unless others wait or there is no room: then it waits as the last.
    pub(crate) fn send(
        &mut self,
        transmit: Transmit,
        now: Instant,
        mut attempt: impl FnMut(&Transmit) -> Attempt,
    ) {
        if self.queue.is_empty() && attempt(&transmit) == Attempt::Over {
            return;
        }
        self.waits += 1;
        while self.queue.len() >= WAITING_MAX {
            self.queue.pop_front();
            self.overflowed += 1;
        }
        self.queue.push_back((now, transmit));
    }

    /// Drops what waited too long, and sends the rest in order as far as there is room.
    pub(crate) fn flush(&mut self, now: Instant, mut attempt: impl FnMut(&Transmit) -> Attempt) {
        while let Some((since, transmit)) = self.queue.front() {
            if now.saturating_duration_since(*since) > WAITING_AGE_MAX {
                self.expired += 1;
            } else if attempt(transmit) == Attempt::NoRoom {
                return;
            }
            self.queue.pop_front();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smallrtc::TransportId;

    /// A kernel that has room for so many datagrams.
    #[derive(Default)]
    struct Kernel {
        room: usize,
        taken: Vec<u16>,
    }

    impl Kernel {
        fn attempt(&mut self, transmit: &Transmit) -> Attempt {
            if self.room == 0 {
                return Attempt::NoRoom;
            }
            self.room -= 1;
            self.taken.push(u16::from_be_bytes([transmit.payload[0], transmit.payload[1]]));
            Attempt::Over
        }
    }

    fn send(waiting: &mut Waiting, number: u16, now: Instant, kernel: &mut Kernel) {
        let here = "127.0.0.1:1".parse().unwrap();
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        let transmit = Transmit::udp(TransportId(0), here, here, payload);
        waiting.send(transmit, now, |transmit| kernel.attempt(transmit));
    }

    #[test]
    fn what_was_refused_waits_and_goes_out_first_and_in_order() {
        let now = Instant::now();
        let (mut waiting, mut kernel) =
            (Waiting::default(), Kernel { room: 1, ..Kernel::default() });
        for number in 0..4 {
            send(&mut waiting, number, now, &mut kernel);
        }
        assert_eq!((kernel.taken.as_slice(), waiting.waits()), (&[0][..], 3));
        kernel.room = 2;
        waiting.flush(now, |transmit| kernel.attempt(transmit));
        assert!(!waiting.is_empty());
        kernel.room = 9;
        // Room alone lets nobody overtake those that wait.
        send(&mut waiting, 4, now, &mut kernel);
        waiting.flush(now, |transmit| kernel.attempt(transmit));
        assert_eq!(kernel.taken, [0, 1, 2, 3, 4]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn the_oldest_is_dropped_one_past_the_limit() {
        let now = Instant::now();
        let (mut waiting, mut kernel) = (Waiting::default(), Kernel::default());
        let limit = u16::try_from(WAITING_MAX).unwrap();
        for number in 0..limit {
            send(&mut waiting, number, now, &mut kernel);
        }
        assert_eq!(waiting.overflowed(), 0);
        send(&mut waiting, limit, now, &mut kernel);
        assert_eq!(waiting.overflowed(), 1);
        kernel.room = WAITING_MAX + 1;
        waiting.flush(now, |transmit| kernel.attempt(transmit));
        assert_eq!(kernel.taken, (1..=limit).collect::<Vec<_>>());
    }

    #[test]
    fn what_waited_longer_than_the_limit_is_dropped_and_what_waited_as_long_is_sent() {
        let start = Instant::now();
        let (mut waiting, mut kernel) = (Waiting::default(), Kernel::default());
        send(&mut waiting, 1, start, &mut kernel);
        send(&mut waiting, 2, start + Duration::from_millis(1), &mut kernel);
        kernel.room = 9;
        let late = start + WAITING_AGE_MAX + Duration::from_millis(1);
        waiting.flush(late, |transmit| kernel.attempt(transmit));
        assert_eq!((kernel.taken.as_slice(), waiting.expired()), (&[2][..], 1));
    }
}
