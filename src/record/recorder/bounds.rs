//! The recorder by itself, at its limits.

use std::sync::{Arc, Mutex};

use super::*;
use crate::record::entry::{Settings, coder};
use crate::record::{BEHAVIOUR, Log};
use crate::{Config, TransportId};

/// What a sink was given, one write after another.
type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

struct Shelf(Writes);

impl LogSink for Shelf {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().push(bytes.to_vec());
        true
    }
}

/// A recorder that begins at `start`, and what it hands over.
fn recorder(bytes_max: u64, start: Instant) -> (Recorder, Writes) {
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
        coder: coder(&config),
    };
    let sink = Box::new(Shelf(writes.clone()));
    (Recorder::new(header, Keep::default(), bytes_max, sink, start), writes)
}

fn written(writes: &Writes) -> Log {
    Log::read(&writes.lock().unwrap().concat()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
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
