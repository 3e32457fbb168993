//! What arrived on one call's audio stream: how much, in which order, and how late.
//!
//! It reads the RTP header of a datagram, which SRTP leaves in the clear, at the time that the
//! kernel took the datagram in. So it sees what the network did, also where the engine would
//! drop a packet (a duplicate). It never opens a packet: what is in it is for
//! [`tone`](super::tone) to say.
//!
//! | limit | value | at the limit |
//! | --- | --- | --- |
//! | [`SEEN_MAX`] | 1024 sequence numbers | an older packet is reordered, never a duplicate |
//! | [`WINDOW`] | 256 packets | the lower envelope begins anew |

use std::time::Duration;

use smallrtc_udp::Lateness;

/// How far back duplicates are told from packets that came late: 20 s of audio.
pub(super) const SEEN_MAX: u64 = 1024;

/// Over how many packets the lower envelope is taken: 5 s. Two clocks that are 100 ppm apart, as
/// those of two machines may be, drift by half a millisecond in this time.
pub(super) const WINDOW: usize = 256;

/// Ticks of Opus' RTP clock in a second (RFC 7587 section 4.1).
const CLOCK_RATE: i64 = 48_000;

/// The header of an RTP packet, as far as it is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) seq: u16,
    pub(super) time: u32,
    pub(super) ssrc: u32,
}

impl Header {
    /// `None` for what is no RTP: STUN, DTLS, RTCP (RFC 7983, RFC 5761 section 4).
    pub(super) fn read(datagram: &[u8]) -> Option<Header> {
        let head = datagram.first_chunk::<12>()?;
        let is_rtcp = (192..=223).contains(&head[1]);
        if !(128..=191).contains(&head[0]) || is_rtcp {
            return None;
        }
        Some(Header {
            seq: u16::from_be_bytes([head[2], head[3]]),
            time: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        })
    }
}

/// The figures of a stream, and what is needed to go on with them.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    stream: Option<Stream>,
    /// Of streams before this one.
    expected_before: u64,
    pub(super) received: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    pacing: Option<Pacing>,
}

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    first: i64,
    highest: i64,
    highest_time: i64,
    /// A bit for each of the last [`SEEN_MAX`] sequence numbers, by their remainder.
    seen: [u64; (SEEN_MAX / 64) as usize],
}

/// Lateness and gaps, from when they are asked for.
#[derive(Debug)]
struct Pacing {
    lateness: Lateness,
    /// Arrival less media time, in nanoseconds, of the packets of a window.
    offsets: Vec<i64>,
    begun: Duration,
    last: Option<Duration>,
    gaps: Lateness,
    longest_gap: Duration,
}

/// What became of lateness and gaps.
#[derive(Debug)]
pub(super) struct Paced {
    pub(super) lateness: Lateness,
    /// From one packet to the next.
    pub(super) gaps: Lateness,
    /// The longest of them, or of the times before the first packet and after the last.
    pub(super) longest_gap: Duration,
}

impl Arrivals {
    /// From now on lateness and gaps count. `now` is of the clock that packets are stamped with.
    pub(super) fn begin_pacing(&mut self, now: Duration) {
        self.pacing = Some(Pacing {
            lateness: Lateness::new(),
            offsets: Vec::with_capacity(WINDOW),
            begun: now,
            last: None,
            gaps: Lateness::new(),
            longest_gap: Duration::ZERO,
        });
    }

    /// Takes note of a packet that arrived at `at`.
    pub(super) fn record(&mut self, header: Header, at: Duration) {
        self.received += 1;
        if self.stream.as_ref().is_some_and(|stream| stream.ssrc != header.ssrc) {
            self.expected_before = self.expected();
            self.stream = None;
            // The media time begins anew, and the envelope with it.
            if let Some(pacing) = &mut self.pacing {
                pacing.close_window();
            }
        }
        let stream = self.stream.get_or_insert_with(|| Stream::new(header));
        let (seq, time) = stream.extend(header);
        if stream.is_duplicate(seq) {
            self.duplicated += 1;
            return;
        }
        if seq < stream.highest {
            self.reordered += 1;
        }
        stream.take(seq, time);
        if let Some(pacing) = &mut self.pacing {
            pacing.record(time, at);
        }
    }

    /// Packets that were sent, as far as sequence numbers tell: from the first to the last that
    /// arrived.
    pub(super) fn expected(&self) -> u64 {
        let stream = self.stream.as_ref();
        let now = stream.map_or(0, |stream| (stream.highest - stream.first + 1).unsigned_abs());
        self.expected_before + now
    }

    /// Packets that did not arrive, between the first and the last that did.
    pub(super) fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received - self.duplicated)
    }

    /// Ends the figures of lateness: what of the last window is open is counted. The longest gap
    /// includes the time from the last packet to `now`.
    pub(super) fn end_pacing(&mut self, now: Duration) -> Option<Paced> {
        let mut pacing = self.pacing.take()?;
        pacing.close_window();
        if self.received > 0 {
            pacing.gap_until(now);
        }
        let Pacing { lateness, gaps, longest_gap, .. } = pacing;
        Some(Paced { lateness, gaps, longest_gap })
    }
}

impl Stream {
    fn new(header: Header) -> Stream {
        let seq = i64::from(header.seq);
        Stream {
            ssrc: header.ssrc,
            first: seq,
            highest: seq,
            highest_time: i64::from(header.time),
            seen: [0; (SEEN_MAX / 64) as usize],
        }
    }

    /// Sequence number and media time without wrapping, from the nearest to the highest.
    fn extend(&self, header: Header) -> (i64, i64) {
        let ahead = header.seq.wrapping_sub(self.highest as u16).cast_signed();
        let later = header.time.wrapping_sub(self.highest_time as u32).cast_signed();
        (self.highest + i64::from(ahead), self.highest_time + i64::from(later))
    }

    fn place(seq: i64) -> (usize, u64) {
        let bit = seq.rem_euclid(SEEN_MAX as i64) as usize;
        (bit / 64, 1 << (bit % 64))
    }

    fn is_duplicate(&self, seq: i64) -> bool {
        let (word, bit) = Stream::place(seq);
        self.highest - seq < SEEN_MAX as i64 && seq <= self.highest && self.seen[word] & bit != 0
    }

    fn take(&mut self, seq: i64, time: i64) {
        // Places between the old and the new highest belong to packets that have not come. A jump
        // by more than all places clears each of them once.
        let missing = (self.highest + 1).max(seq - SEEN_MAX as i64)..seq;
        for skipped in missing {
            let (word, bit) = Stream::place(skipped);
            self.seen[word] &= !bit;
        }
        if self.highest - seq < SEEN_MAX as i64 {
            let (word, bit) = Stream::place(seq);
            self.seen[word] |= bit;
        }
        self.first = self.first.min(seq);
        if seq > self.highest {
            (self.highest, self.highest_time) = (seq, time);
        }
    }
}

impl Pacing {
    fn record(&mut self, time: i64, at: Duration) {
        let media_ns = i128::from(time) * 1_000_000_000 / i128::from(CLOCK_RATE);
        let offset = at.as_nanos().cast_signed() - media_ns;
        self.offsets.push(i64::try_from(offset).unwrap_or(i64::MAX));
        if self.offsets.len() == WINDOW {
            self.close_window();
        }
        if let Some(last) = self.last {
            self.gaps.record(at.saturating_sub(last));
        }
        self.gap_until(at);
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
    }

    fn gap_until(&mut self, at: Duration) {
        let gap = at.saturating_sub(self.last.unwrap_or(self.begun));
        self.longest_gap = self.longest_gap.max(gap);
    }

    /// The packet that was least late is taken for punctual, and the others are compared to it.
    fn close_window(&mut self) {
        let Some(envelope) = self.offsets.iter().min().copied() else { return };
        for offset in self.offsets.drain(..) {
            self.lateness.record(Duration::from_nanos(offset.abs_diff(envelope)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn header(number: u16) -> Header {
        Header { seq: number, time: u32::from(number).wrapping_mul(960), ssrc: 1 }
    }

    fn feed(arrivals: &mut Arrivals, packets: &[(u16, u64)]) {
        for (number, at_ms) in packets {
            arrivals.record(header(*number), Duration::from_millis(*at_ms));
        }
    }

    #[test]
    fn only_rtp_is_read() {
        let mut packet = [0; 12];
        (packet[0], packet[1]) = (0x90, 111);
        packet[2..4].copy_from_slice(&7u16.to_be_bytes());
        packet[4..8].copy_from_slice(&960u32.to_be_bytes());
        packet[8..].copy_from_slice(&5u32.to_be_bytes());
        assert_eq!(Header::read(&packet), Some(Header { seq: 7, time: 960, ssrc: 5 }));
        packet[1] |= 0x80;
        assert!(Header::read(&packet).is_some(), "with the marker");
        for (first, second) in [(0x80, 200), (0x80, 205), (0, 1), (22, 254), (0x40, 111)] {
            (packet[0], packet[1]) = (first, second);
            assert_eq!(Header::read(&packet), None, "{first} {second}");
        }
        assert_eq!(Header::read(&[0x80; 11]), None);
    }

    #[test]
    fn what_is_missing_twice_and_late_is_told_apart() {
        let mut arrivals = Arrivals::default();
        feed(&mut arrivals, &[(65_534, 0), (65_535, 20), (1, 60), (1, 61), (0, 62), (4, 120)]);
        assert_eq!(arrivals.received, 6);
        assert_eq!(arrivals.expected(), 7);
        assert_eq!((arrivals.lost(), arrivals.duplicated, arrivals.reordered), (2, 1, 1));
    }

    #[test]
    fn the_first_packet_twice_is_a_duplicate() {
        let mut arrivals = Arrivals::default();
        feed(&mut arrivals, &[(9, 0), (9, 1)]);
        assert_eq!((arrivals.expected(), arrivals.lost(), arrivals.duplicated), (1, 0, 1));
    }

    #[test]
    fn a_packet_from_beyond_the_window_counts_as_reordered() {
        let mut arrivals = Arrivals::default();
        let last = SEEN_MAX as u16;
        feed(&mut arrivals, &[(1, 0), (last, 20), (1, 21)]);
        assert_eq!((arrivals.duplicated, arrivals.reordered), (1, 0), "within it");
        feed(&mut arrivals, &[(last + 1, 40), (1, 41)]);
        assert_eq!((arrivals.duplicated, arrivals.reordered), (1, 1), "one past it");
    }

    #[test]
    fn a_bit_of_the_round_before_makes_no_duplicate() {
        let mut arrivals = Arrivals::default();
        let round = SEEN_MAX as u16;
        feed(&mut arrivals, &[(1, 0), (round, 20), (round + 2, 40), (round + 1, 41)]);
        assert_eq!((arrivals.duplicated, arrivals.reordered), (0, 1));
    }

    #[test]
    fn another_stream_is_counted_by_itself() {
        let mut arrivals = Arrivals::default();
        feed(&mut arrivals, &[(1, 0), (3, 40)]);
        arrivals.record(Header { ssrc: 2, ..header(500) }, 60 * MS);
        arrivals.record(Header { ssrc: 2, ..header(502) }, 100 * MS);
        assert_eq!((arrivals.expected(), arrivals.lost()), (6, 2));
    }

    #[test]
    fn lateness_is_the_distance_from_the_most_punctual_packet() {
        let mut arrivals = Arrivals::default();
        arrivals.begin_pacing(Duration::ZERO);
        // Each is 100 ms on its way, the third 103 ms and the fourth 101 ms.
        feed(&mut arrivals, &[(0, 100), (1, 120), (2, 143), (3, 161)]);
        let Paced { lateness, longest_gap, .. } = arrivals.end_pacing(165 * MS).unwrap();
        assert_eq!(lateness.count(), 4);
        assert!(lateness.quantile(0.5) < MS / 10);
        assert!(lateness.max().abs_diff(3 * MS) < MS / 10);
        assert_eq!(longest_gap, 100 * MS, "from the beginning to the first");
    }

    #[test]
    fn gaps_are_those_between_packets() {
        let mut arrivals = Arrivals::default();
        arrivals.begin_pacing(Duration::ZERO);
        feed(&mut arrivals, &[(0, 100), (1, 120), (2, 143), (3, 161)]);
        let gaps = arrivals.end_pacing(500 * MS).unwrap().gaps;
        assert_eq!(gaps.count(), 3);
        assert!(gaps.quantile(0.5).abs_diff(20 * MS) < MS / 4, "{gaps:?}");
        assert!(gaps.max().abs_diff(23 * MS) < MS / 4, "{gaps:?}");
    }

    #[test]
    fn silence_at_the_end_is_a_gap() {
        let mut arrivals = Arrivals::default();
        feed(&mut arrivals, &[(0, 0)]);
        arrivals.begin_pacing(5 * MS);
        feed(&mut arrivals, &[(1, 20), (2, 40)]);
        assert_eq!(arrivals.end_pacing(540 * MS).unwrap().longest_gap, 500 * MS);
    }

    #[test]
    fn the_envelope_follows_a_clock_that_drifts() {
        let mut arrivals = Arrivals::default();
        arrivals.begin_pacing(Duration::ZERO);
        // Four windows, 100 us later from packet to packet.
        for number in 0..4 * WINDOW as u16 {
            let at = u64::from(number) * 20_100;
            arrivals.record(header(number), Duration::from_micros(at));
        }
        let lateness = arrivals.end_pacing(Duration::from_secs(21)).unwrap().lateness;
        assert_eq!(lateness.count(), 4 * WINDOW as u64);
        let most = Duration::from_micros(100 * WINDOW as u64);
        assert!(lateness.max() <= most + MS, "{:?}", lateness.max());
    }
}
