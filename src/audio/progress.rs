//! How far the sound that was sent has come: to the wire, to the peer, to the peer's ear.
//!
//! Pieces go out one after the other, so that how far all of them have come is one place: a piece,
//! and a number of its samples. There are three such places, and none of them ever goes back:
//!
//! | place | what lies before it | moves with |
//! | --- | --- | --- |
//! | sent | was handed to the wire | each packet with sound of a piece |
//! | confirmed | lies in packets up to the newest that the peer's reports name | each report |
//! | played | left for so long that the peer should have played it | time |
//!
//! A report names the newest packet that arrived; some before it may be lost, and count as
//! confirmed too. What was played is an estimate: nobody tells. It is what was sent but for the
//! last half of a round trip, [`PEER_DELAY`] and the packet in the making, to a packet; of what the
//! peer plays through after that (a driver, a headset) it knows nothing.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | packets that are waited for | [`MARKS_MAX`] | the oldest is forgotten: a report on it moves nothing, one on a later packet moves all |
//! | pieces that have ended | [`PAST_MAX`], [`PAST_TIME`] | nothing is told of the oldest any more |

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::transport::Line;
use crate::{AudioId, AudioProgress};

/// Packets with sound whose way is remembered. 512: 10 s at 20 ms, two of the reports that
/// browsers send every 5 s (libwebrtc's `kDefaultAudioReportInterval`).
const MARKS_MAX: usize = 512;

/// Pieces that have ended and can be asked for: 256, and for 10 s, which is as long as a word of
/// them may still come.
const PAST_MAX: usize = 256;
const PAST_TIME: Duration = Duration::from_secs(10);

/// How long sound lies in the peer's jitter buffer. 80 ms: where libwebrtc's NetEq begins
/// (`kStartDelayMs` in `delay_manager.cc`); on a calm path it comes down to half of that, so the
/// estimate is rather too low than too high.
const PEER_DELAY: Duration = Duration::from_millis(80);

/// How far pieces have come: those before `id` wholly, and so many samples of that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) id: AudioId,
    pub(super) samples: u64,
}

/// A packet that took sound with it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// A report that names so many packets names this one.
    packets: u64,
    at: Instant,
    place: Place,
}

/// A piece that has ended.
#[derive(Clone, Copy, Debug)]
struct Past {
    id: AudioId,
    sent: u64,
    at: Instant,
}

/// The places of one stream.
#[derive(Debug)]
pub(super) struct Progress {
    /// A packet and what the peer keeps, and with half a round trip what lies between the sending
    /// of a sample and its end.
    peer_delay: Duration,
    delay: Duration,
    /// The line that packets go to, and how many the transport took: in all, and of other lines
    /// before it.
    line: Line,
    packets: u64,
    before: u64,
    /// `None`: nothing yet. What was played is noted here when its mark goes, or when the round
    /// trip changes; until then its mark tells.
    sent: Option<Place>,
    confirmed: Option<Place>,
    played: Option<Place>,
    marks: VecDeque<Mark>,
    past: VecDeque<Past>,
    last: Option<Instant>,
}

impl Progress {
    pub(super) fn new(packet_time: Duration) -> Progress {
        Progress {
            peer_delay: packet_time + PEER_DELAY,
            delay: packet_time + PEER_DELAY,
            line: 0,
            packets: 0,
            before: 0,
            sent: None,
            confirmed: None,
            played: None,
            marks: VecDeque::new(),
            past: VecDeque::new(),
            last: None,
        }
    }

    /// A packet went to the transport, with sound up to `place` in it and before it.
    pub(super) fn packet(
        &mut self,
        (line, is_taken): (Line, bool),
        place: Option<Place>,
        now: Instant,
    ) {
        self.last = Some(now);
        if std::mem::replace(&mut self.line, line) != line {
            self.before = self.packets;
        }
        self.packets += u64::from(is_taken);
        let Some(place) = place.filter(|place| self.sent != Some(*place)) else { return };
        self.sent = Some(place);
        self.forget_marks(now);
        // Of one that was not taken the next one's report is the first that may tell.
        let packets = self.packets + u64::from(!is_taken);
        self.marks.push_back(Mark { packets, at: now, place });
    }

    /// A piece has ended, of which so many samples were sent.
    pub(super) fn ended(&mut self, id: AudioId, sent: u64) {
        let Some(at) = self.last.filter(|_| sent > 0) else { return };
        let is_old = |past: &Past| past.at + PAST_TIME < at;
        while self.past.len() >= PAST_MAX || self.past.front().is_some_and(is_old) {
            self.past.pop_front();
        }
        self.past.push_back(Past { id, sent, at });
    }

    /// The peer reports on the first `packets` that the transport took for a line.
    pub(super) fn report(&mut self, line: Line, packets: u64) {
        if line != self.line {
            return;
        }
        let packets = self.before.saturating_add(packets);
        let named = self.marks.partition_point(|mark| mark.packets <= packets);
        if let Some(mark) = named.checked_sub(1).and_then(|last| self.marks.get(last)) {
            self.confirmed = self.confirmed.max(Some(mark.place));
        }
    }

    /// The round trip is another one.
    pub(super) fn set_round_trip(&mut self, trip: Duration, now: Instant) {
        let delay = self.peer_delay + trip / 2;
        if self.delay != delay {
            // What was told by the old one stands.
            self.played = self.played_at(now);
            self.delay = delay;
        }
    }

    /// How far a piece has come of which so much was sent.
    pub(super) fn of(&self, id: AudioId, sent: u64, now: Instant) -> AudioProgress {
        let within = |place: Option<Place>| match place {
            Some(place) if place.id > id => sent,
            Some(place) if place.id == id => place.samples.min(sent),
            _ => 0,
        };
        AudioProgress::new(sent, within(self.confirmed), within(self.played_at(now)))
    }

    /// How much was sent of a piece that has ended.
    pub(super) fn past(&self, id: AudioId, now: Instant) -> Option<u64> {
        let past = self.past.iter().rev().find(|past| past.id == id)?;
        (past.at + PAST_TIME >= now).then_some(past.sent)
    }

    /// Makes room for one more mark: forgets those that were confirmed and played, and the oldest
    /// at the limit.
    fn forget_marks(&mut self, now: Instant) {
        while let Some(first) = self.marks.front() {
            let is_confirmed = self.confirmed.is_some_and(|confirmed| confirmed >= first.place);
            let is_full = self.marks.len() >= MARKS_MAX;
            let is_played = (is_confirmed || is_full) && self.was_played(first, now);
            if is_played {
                self.played = self.played.max(Some(first.place));
            } else if !is_full {
                return;
            }
            self.marks.pop_front();
        }
    }

    fn was_played(&self, mark: &Mark, now: Instant) -> bool {
        mark.at + self.delay <= now
    }

    fn played_at(&self, now: Instant) -> Option<Place> {
        let played = self.marks.partition_point(|mark| self.was_played(mark, now));
        let last = played.checked_sub(1).and_then(|last| self.marks.get(last));
        self.played.max(last.map(|mark| mark.place))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audio::tests::origin;

    const PACKET: Duration = Duration::from_millis(20);

    fn place(id: u64, samples: u64) -> Option<Place> {
        Some(Place { id: AudioId(id), samples })
    }

    fn figures(progress: &Progress, id: u64, sent: u64, now: Instant) -> (u64, u64, u64) {
        let AudioProgress { sent, confirmed, played_estimate, .. } =
            progress.of(AudioId(id), sent, now);
        (sent, confirmed, played_estimate)
    }

    #[test]
    fn a_report_confirms_what_lies_in_the_packets_that_it_names() {
        let (start, mut progress) = (origin(), Progress::new(PACKET));
        // A silent packet, two of the first piece, one with its end and the next one's beginning.
        for (at, place) in [None, place(0, 320), place(0, 640), place(1, 100)].iter().enumerate() {
            progress.packet((0, true), *place, start + PACKET * at as u32);
        }
        let confirmed = |progress: &Progress| {
            [(0, 700), (1, 100), (2, 0)].map(|(id, sent)| figures(progress, id, sent, start).1)
        };
        assert_eq!(confirmed(&progress), [0, 0, 0]);
        for (packets, expected) in [
            (1, [0, 0, 0]),
            (2, [320, 0, 0]),
            (3, [640, 0, 0]),
            (4, [700, 100, 0]),
            // An old report that was overtaken.
            (2, [700, 100, 0]),
            (u64::MAX, [700, 100, 0]),
        ] {
            progress.report(0, packets);
            assert_eq!(confirmed(&progress), expected, "{packets}");
        }
    }

    #[test]
    fn a_packet_that_was_not_taken_is_confirmed_with_the_next_one_only() {
        let (now, mut progress) = (origin(), Progress::new(PACKET));
        progress.packet((0, true), place(0, 320), now);
        progress.packet((0, false), place(0, 640), now);
        progress.packet((0, true), place(0, 960), now);
        progress.report(0, 1);
        assert_eq!(figures(&progress, 0, 960, now).1, 320);
        progress.report(0, 2);
        assert_eq!(figures(&progress, 0, 960, now).1, 960);
    }

    #[test]
    fn sound_counts_as_played_after_its_way_and_its_wait_and_never_less_than_before() {
        let (start, mut progress) = (origin(), Progress::new(PACKET));
        let ms = |ms| start + Duration::from_millis(ms);
        progress.set_round_trip(Duration::from_millis(40), start);
        progress.packet((0, true), place(0, 320), start);
        progress.packet((0, true), place(0, 640), start + PACKET);
        // Half a round trip, 80 ms, and the packet itself.
        let played = |progress: &Progress, at| figures(progress, 0, 640, ms(at)).2;
        assert_eq!((played(&progress, 119), played(&progress, 120)), (0, 320));
        assert_eq!((played(&progress, 139), played(&progress, 140)), (320, 640));
        progress.set_round_trip(Duration::from_millis(400), ms(120));
        assert_eq!(played(&progress, 120), 320);
        assert_eq!((played(&progress, 319), played(&progress, 320)), (320, 640));
        progress.set_round_trip(Duration::ZERO, ms(320));
        assert_eq!(played(&progress, 320), 640);
    }

    #[test]
    fn as_many_packets_are_waited_for_as_may_be_and_a_report_on_one_forgotten_moves_nothing() {
        let (now, mut progress) = (origin(), Progress::new(PACKET));
        for packet in 1..=512 {
            progress.packet((0, true), place(0, packet), now);
        }
        progress.report(0, 1);
        assert_eq!(figures(&progress, 0, 9_999, now).1, 1);
        let (now, mut progress) = (origin(), Progress::new(PACKET));
        for packet in 1..=513 {
            progress.packet((0, true), place(0, packet), now);
        }
        assert_eq!(progress.marks.len(), 512);
        progress.report(0, 1);
        assert_eq!(figures(&progress, 0, 9_999, now).1, 0);
        progress.report(0, 2);
        assert_eq!(figures(&progress, 0, 9_999, now).1, 2);
    }

    #[test]
    fn a_report_on_another_line_moves_nothing_and_each_line_counts_from_its_own_first() {
        let (now, mut progress) = (origin(), Progress::new(PACKET));
        for packet in 1..=10 {
            progress.packet((0, true), place(0, packet), now);
        }
        progress.packet((3, true), place(0, 11), now);
        progress.packet((3, true), place(0, 12), now);
        progress.report(0, 10);
        assert_eq!(figures(&progress, 0, 99, now).1, 0);
        progress.report(3, 1);
        assert_eq!(figures(&progress, 0, 99, now).1, 11);
    }

    #[test]
    fn packets_that_are_confirmed_and_played_are_forgotten() {
        let (start, mut progress) = (origin(), Progress::new(PACKET));
        for packet in 1..=1_000 {
            progress.packet((0, true), place(0, packet), start + PACKET * packet as u32);
            progress.report(0, packet);
        }
        assert!(progress.marks.len() < 10, "{}", progress.marks.len());
    }

    #[test]
    fn pieces_that_ended_are_known_for_ten_seconds_and_as_many_as_may_be() {
        let (start, mut progress) = (origin(), Progress::new(PACKET));
        progress.ended(AudioId(0), 1);
        assert_eq!(progress.past(AudioId(0), start), None, "nothing was ever sent");
        progress.packet((0, true), place(0, 1), start);
        for id in 0..257 {
            progress.ended(AudioId(id), id);
        }
        let known = |progress: &Progress, at| {
            (0..257).filter(|id| progress.past(AudioId(*id), at).is_some()).count()
        };
        // The first one has nothing to tell.
        assert_eq!(known(&progress, start), 256);
        assert_eq!(progress.past(AudioId(256), start), Some(256));
        assert_eq!(known(&progress, start + PAST_TIME), 256);
        assert_eq!(known(&progress, start + PAST_TIME + PACKET), 0);
        progress.ended(AudioId(257), 1);
        assert_eq!(known(&progress, start), 255, "one more than may be");
        progress.packet((0, true), place(258, 1), start + PAST_TIME + PACKET);
        progress.ended(AudioId(258), 1);
        assert_eq!(progress.past.len(), 1);
    }

    proptest! {
        #[test]
        fn what_was_played_is_the_most_that_any_moment_so_far_has_shown(
            steps in prop::collection::vec((0..60u64, 0..400u64, any::<bool>()), 1..300),
        ) {
            let (start, mut progress) = (origin(), Progress::new(PACKET));
            let (mut now, mut packets, mut played) = (start, Vec::new(), 0);
            let mut delay = PACKET + PEER_DELAY;
            for (number, (gap, trip, confirms)) in (1..).zip(steps) {
                now += Duration::from_millis(gap);
                let past = |packets: &[Instant], delay: Duration| {
                    packets.iter().take_while(|at| **at + delay <= now).count() as u64
                };
                if trip < 100 {
                    played = played.max(past(&packets, delay));
                    delay = PACKET + Duration::from_millis(trip) / 2 + PEER_DELAY;
                    progress.set_round_trip(Duration::from_millis(trip), now);
                }
                progress.packet((0, true), place(0, number), now);
                if confirms {
                    progress.report(0, number);
                }
                packets.push(now);
                played = played.max(past(&packets, delay));
                prop_assert_eq!(figures(&progress, 0, number, now).2, played);
            }
        }
    }
}
