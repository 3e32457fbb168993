//! The RTP times of a stream whose codec changes: on one line, though two clocks tell them.
//!
//! Opus counts 48,000 in a second, the codecs of telephones 8,000, and where a sender changes from
//! one to the other within a stream it need not tell how its times go on (RFC 7160 section 4.1:
//! senders did as they liked). So the first packet on another clock is put where the packets before
//! it end: those that came, and as many as are missing, each as long as the last. Codecs of one
//! clock need none of this.

use crate::Codec;

/// Where the times of a stream lie. All of them count at 48 kHz.
#[derive(Debug)]
pub(super) struct Clock {
    /// The clocks by their codecs' kind, and what is added to the times of each.
    offsets: [u64; 2],
    now: usize,
    /// The first packet on this clock.
    since: u64,
    /// The newest packet: its number, its end, its duration.
    newest: (u64, u64, u64),
}

/// 0 for the clock of Opus, 1 for that of telephones.
fn kind(codec: Codec) -> usize {
    usize::from(matches!(codec, Codec::Pcmu | Codec::Pcma | Codec::G722))
}

impl Clock {
    pub(super) fn new(codec: Codec, seq: u64, rtp_time: u64) -> Clock {
        Clock { offsets: [0; 2], now: kind(codec), since: seq, newest: (seq, rtp_time, 0) }
    }

    /// The time of a packet that lasts `duration`, zero when that cannot be read.
    pub(super) fn time(&mut self, codec: Codec, seq: u64, rtp_time: u64, duration: u64) -> u64 {
        let (kind, (newest, end, last)) = (kind(codec), self.newest);
        // What comes late belongs to the clock before, whose offset is still known.
        if kind != self.now && seq > newest && seq > self.since {
            let missing = (seq - newest - 1).saturating_mul(last);
            let time = end.saturating_add(missing);
            self.offsets[kind] = time.wrapping_sub(rtp_time);
            (self.now, self.since) = (kind, seq);
        }
        let time = rtp_time.wrapping_add(self.offsets[kind]);
        if seq >= newest {
            let last = if duration == 0 { last } else { duration };
            self.newest = (seq, time.saturating_add(last), last);
        }
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_on_one_clock_keeps_its_times() {
        for codec in [Codec::Opus, Codec::Pcmu] {
            let mut clock = Clock::new(codec, 7, 500);
            for (seq, time) in [(7, 500), (9, 5_000), (8, 1_460), (8_000, 1), (10, u64::MAX)] {
                assert_eq!(clock.time(codec, seq, time, 960), time);
            }
        }
    }

    #[test]
    fn codecs_of_one_clock_change_nothing() {
        let mut clock = Clock::new(Codec::Pcmu, 0, 0);
        let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Pcmu];
        for (seq, codec) in codecs.into_iter().enumerate() {
            assert_eq!(clock.time(codec, seq as u64, 960 * seq as u64, 960), 960 * seq as u64);
        }
    }

    #[test]
    fn another_clock_goes_on_where_the_packets_before_end_and_what_was_lost_has_its_time() {
        let mut clock = Clock::new(Codec::Opus, 0, 10_000);
        assert_eq!(clock.time(Codec::Opus, 0, 10_000, 960), 10_000);
        // Two are missing in between.
        assert_eq!(clock.time(Codec::Pcma, 3, 77, 1_920), 10_960 + 2 * 960);
        assert_eq!(clock.time(Codec::Pcma, 4, 77 + 1_920, 1_920), 12_880 + 1_920);
        assert_eq!(clock.time(Codec::Opus, 2, 11_920, 960), 11_920, "one of them comes late");
        // And back again, at a time that has nothing to do with those before.
        assert_eq!(clock.time(Codec::Opus, 5, 3, 960), 12_880 + 2 * 1_920);
        assert_eq!(clock.time(Codec::Opus, 6, 963, 960), 12_880 + 2 * 1_920 + 960);
    }

    #[test]
    fn whatever_is_told_nothing_overflows() {
        let mut clock = Clock::new(Codec::Pcmu, u64::MAX - 1, u64::MAX);
        for seq in [0, u64::MAX - 1, u64::MAX] {
            for codec in [Codec::Opus, Codec::Pcmu] {
                for time in [0, u64::MAX, 1 << 40] {
                    clock.time(codec, seq, time, u64::MAX);
                }
            }
        }
    }
}
