//! The recorder by itself, at its limits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::*;
use crate::record::entry::{Settings, coders};
use crate::record::{BEHAVIOUR, Log};
use crate::{Config, TransportId};

/// What a sink was given, one write after another.
pub(in crate::record) type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// A sink that takes so many writes and no more.
struct Shelf(Writes, usize);

impl LogSink for Shelf {
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut writes = self.0.lock().unwrap();
        let has_room = writes.len() < self.1;
        if has_room {
            writes.push(bytes.to_vec());
        }
        has_room
    }
}

/// A recorder that begins at `start`, and what it hands over.
pub(in crate::record) fn recorder(bytes_max: u64, start: Instant) -> (Recorder, Writes) {
    recorder_on(usize::MAX, bytes_max, start)
}

fn recorder_on(writes_max: usize, bytes_max: u64, start: Instant) -> (Recorder, Writes) {
    let writes = Writes::default();
    let config = Config::new().dangerous().null_codec(true).done();
    let header = Header {
        crate_version: "1".to_owned(),
        behaviour: BEHAVIOUR.to_owned(),
        media: 1,
        messages: 1,
        node: 0,
        shard: 0,
        slot: 0,
        generation: 0,
        public_seed: [0; 32],
        settings: Settings::of(&config),
        coders: coders(&config),
    };
    let sink = Box::new(Shelf(writes.clone(), writes_max));
    (Recorder::new(header, Keep::default(), bytes_max, sink, start), writes)
}

pub(in crate::record) fn written(writes: &Writes) -> Log {
    Log::read(&writes.lock().unwrap().concat()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
pub(in crate::record) fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

fn path(port: u16) -> Path {
    let source = ([192, 0, 2, 1], port).into();
    Path { transport: TransportId(0).0, source, destination: source }
}

/// How many records of the endpoint's decisions a log has, by whether they are refusals.
fn routings(log: &Log) -> (usize, usize) {
    let is_refusal =
        |routing: &Routing| matches!(routing, Routing::Forged(_) | Routing::AddressRefused(_));
    let of = |wanted: bool| {
        let entries = log.records.iter().map(|record| &record.entry);
        entries
            .filter(|entry| {
                matches!(entry, Entry::Routing { routing, .. } if is_refusal(routing) == wanted)
            })
            .count()
    };
    (of(true), of(false))
}

#[test]
fn a_log_has_as_many_refusals_as_its_limit_and_not_one_more() {
    for count in [REFUSALS_MAX - 1, REFUSALS_MAX, REFUSALS_MAX + 1, 3 * REFUSALS_MAX] {
        let now = origin();
        let (mut recorder, writes) = recorder(1 << 20, now);
        for number in 0..count {
            // Both kinds count for the one limit.
            let path = path(5000);
            let refusal = match number % 2 {
                0 => Routing::Forged(path),
                _ => Routing::AddressRefused(path),
            };
            recorder.routing(refusal, None, now);
        }
        recorder.routing(Routing::Bound(path(5001)), None, now);
        drop(recorder);
        let log = written(&writes);
        assert!(log.is_whole());
        assert_eq!(routings(&log), (count.min(REFUSALS_MAX) as usize, 1), "{count}");
    }
}

#[test]
fn what_is_bound_and_freed_is_no_refusal_and_has_no_limit_of_its_own() {
    let now = origin();
    let (mut recorder, writes) = recorder(1 << 20, now);
    for number in 0..u16::try_from(REFUSALS_MAX).unwrap() {
        recorder.routing(Routing::BoundInsteadOf(path(number)), None, now);
        recorder.routing(Routing::Released, None, now);
    }
    recorder.routing(Routing::Forged(path(5000)), None, now);
    drop(recorder);
    assert_eq!(routings(&written(&writes)), (1, 2 * REFUSALS_MAX as usize));
}

/// A call whose record has `len` bytes more than an empty one, less what the number takes.
fn message(len: usize) -> Call {
    Call::SendMessage { binary: None, len: 0, data: vec![7; len] }
}

#[test]
fn what_comes_between_two_records_does_not_get_into_the_log() {
    let now = origin();
    let (mut recorder, writes) = recorder(1 << 20, now);
    recorder.cross(&Crossing::Timeout);
    recorder.call(Call::Start, None, now);
    recorder.cross(&Crossing::Timeout);
    recorder.routing(Routing::Released, None, now);
    recorder.cross(&Crossing::Timeout);
    recorder.call(Call::ClearAudio, None, now);
    drop(recorder);
    let log = written(&writes);
    assert!(log.is_whole() && log.damage().is_none());
    let crossings: Vec<_> = log.records.iter().map(|record| record.crossings.len()).collect();
    // The call, the routing, the call whose deadline nobody saw, and the end.
    assert_eq!(crossings, [1, 0, 1, 0]);
}

#[test]
fn a_log_is_handed_over_after_a_second_and_not_before() {
    let start = origin();
    let (mut recorder, writes) = recorder(1 << 20, start);
    let count = || writes.lock().unwrap().len();
    recorder.call(Call::Start, None, start);
    recorder.call(Call::ClearAudio, None, start + WAIT_MAX - Duration::from_nanos(1));
    assert_eq!(count(), 0);
    let first = start + WAIT_MAX;
    recorder.call(Call::ClearAudio, None, first);
    assert_eq!(count(), 1);
    recorder.call(Call::ClearAudio, None, first + WAIT_MAX - Duration::from_nanos(1));
    assert_eq!(count(), 1);
    recorder.call(Call::ClearAudio, None, first + WAIT_MAX);
    assert_eq!(count(), 2);
    drop(recorder);
    assert_eq!(count(), 3);
    assert_eq!(written(&writes).calls(), 5);
}

#[test]
fn a_chunk_that_is_full_to_the_byte_is_handed_over_at_once_and_one_byte_less_is_not() {
    let now = origin();
    let (mut probe, writes) = recorder(1 << 20, now);
    probe.call(message(CHUNK_LEN / 2), None, now);
    drop(probe);
    let used = written(&writes).records[1].offset as usize;
    for (missing, expected) in [(0, 1), (1, 0)] {
        let (mut recorder, writes) = recorder(1 << 20, now);
        recorder.call(
            message(CHUNK_LEN / 2 + CHUNK_LEN - used + DEADLINE_UNSEEN - missing),
            None,
            now,
        );
        recorder.call(Call::ClearAudio, None, now);
        assert_eq!(writes.lock().unwrap().len(), expected);
        let len = recorder.buffer.len() + writes.lock().unwrap().concat().len();
        drop(recorder);
        let begins = written(&writes).records[1].offset as usize;
        assert_eq!(begins, CHUNK_LEN - missing, "{len}");
    }
}

/// What a record has at its end when the session was dropped before the next call.
const DEADLINE_UNSEEN: usize = 1;

#[test]
fn a_log_ends_at_its_limit_wherever_it_was_handed_over_before() {
    for pause in [Duration::ZERO, WAIT_MAX] {
        let fill = |bytes_max| {
            let mut now = origin();
            let (mut recorder, writes) = recorder(bytes_max, now);
            for _ in 0..50 {
                now += pause;
                recorder.call(message(100), None, now);
            }
            // Its record is closed by this.
            recorder.routing(Routing::Released, None, now);
            let missed = recorder.missed();
            drop(recorder);
            (written(&writes), missed)
        };
        let (whole, missed) = fill(1 << 20);
        assert_eq!((whole.calls(), missed, whole.is_full()), (50, 0, false));
        let last_call_ends = whole.records[50].offset;
        let (log, missed) = fill(last_call_ends + END_LEN);
        assert_eq!(
            (log.calls(), missed, log.is_full()),
            (50, 0, true),
            "there is room for the end"
        );
        let (log, missed) = fill(last_call_ends + END_LEN - 1);
        assert_eq!((log.calls(), missed, log.is_full()), (49, 1, true));
    }
}

#[test]
fn a_log_at_its_limit_takes_nothing_more_of_any_kind() {
    let mut now = origin();
    let (mut recorder, writes) = recorder(4_096, now);
    while recorder.missed() == 0 {
        recorder.call(message(100), None, now);
    }
    let before = writes.lock().unwrap().clone();
    recorder.routing(Routing::Released, None, now);
    recorder.routing(Routing::Forged(path(1)), None, now);
    recorder.cross(&Crossing::Timeout);
    recorder.wants((true, Some(now)));
    now += 2 * WAIT_MAX;
    recorder.call(Call::Start, None, now);
    drop(recorder);
    assert_eq!(*writes.lock().unwrap(), before);
    assert!(written(&writes).is_full());
}

#[test]
fn a_record_as_long_as_its_limit_is_taken_and_one_byte_more_ends_the_log() {
    let now = origin();
    // After the time, the variant and two numbers the content follows, with a length of four bytes.
    let around = 1 + 1 + 1 + 1 + 1 + 4;
    for (more, expected) in [(0, 2), (1, 1)] {
        let (mut recorder, writes) = recorder(1 << 26, now);
        recorder.call(Call::Start, None, now);
        recorder.call(message(RECORD_LEN_MAX - around + more), None, now);
        recorder.call(Call::ClearAudio, None, now);
        drop(recorder);
        let log = written(&writes);
        assert!(log.is_whole() && log.damage().is_none());
        assert_eq!(log.is_full(), more == 1);
        let large = |record: &&crate::record::log::Record| {
            matches!(record.entry, Entry::Call { call: Call::SendMessage { .. }, .. })
        };
        let larges = log.records.iter().filter(large).count();
        assert_eq!(larges + 1, expected, "{more}");
        if let Some([record, next]) =
            log.records.windows(2).find(|pair| large(&&pair[0])).map(|pair| [&pair[0], &pair[1]])
        {
            assert_eq!((next.offset - record.offset) as usize, FRAME_LEN + RECORD_LEN_MAX);
        }
    }
}

#[test]
fn each_call_is_in_the_log_or_counted_whenever_the_sink_takes_no_more() {
    for writes_max in 1..4 {
        let mut now = origin();
        let (mut recorder, writes) = recorder_on(writes_max, 1 << 20, now);
        for _ in 0..70 {
            now += WAIT_MAX / 10;
            recorder.call(Call::HandleTimeout, None, now);
        }
        let missed = recorder.missed();
        drop(recorder);
        let log = written(&writes);
        assert!(!log.is_whole());
        assert_eq!(log.calls() as u64 + missed, 70, "{writes_max}");
        assert_eq!(log.calls(), 10 * writes_max - 1, "a call is written when the next one begins");
    }
}

#[test]
fn marks_come_at_each_multiple_of_their_interval() {
    let now = origin();
    let (mut recorder, writes) = recorder(1 << 24, now);
    for _ in 0..=2 * MARK_INTERVAL {
        recorder.call(Call::HandleTimeout, None, now);
    }
    drop(recorder);
    let log = written(&writes);
    let is_mark = |(index, record): (usize, &crate::record::log::Record)| {
        matches!(record.entry, Entry::Mark(_)).then_some(index as u64)
    };
    let marks: Vec<_> = log.records.iter().enumerate().filter_map(is_mark).collect();
    assert_eq!(marks, [MARK_INTERVAL, 2 * MARK_INTERVAL + 1]);
}

#[test]
fn a_distance_in_time_is_exact_and_has_a_sign() {
    let now = origin();
    let later = now + Duration::new(5, 7);
    assert_eq!(offset(now, later), 5_000_000_007);
    assert_eq!(offset(later, now), -5_000_000_007);
    assert_eq!(offset(now, now), 0);
}

#[test]
fn a_path_is_noted_when_it_is_another_one_than_before_each_way_for_itself() {
    let now = origin();
    let (mut recorder, _) = recorder(1 << 20, now);
    let (here, there): (SocketAddr, SocketAddr) =
        (([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into());
    let came = |source| Datagram::udp(TransportId(3), source, here, bytes::Bytes::new());
    let goes = |to| Transmit::udp(TransportId(3), here, to, bytes::Bytes::new());
    let from_there = Path { transport: 3, source: there, destination: here };
    let to_there = Path { transport: 3, source: here, destination: there };
    assert_eq!(recorder.path_in(&came(there)), Some(from_there));
    assert_eq!(recorder.path_out(&goes(there)), Some(to_there));
    assert_eq!(recorder.path_in(&came(there)), None);
    assert_eq!(recorder.path_out(&goes(there)), None);
    assert_eq!(recorder.path_in(&came(here)), Some(Path { source: here, ..from_there }));
    assert_eq!(recorder.path_in(&came(there)), Some(from_there));
    assert_eq!(recorder.path_out(&goes(there)), None);
}
