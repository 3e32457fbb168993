//! What is counted of calls outlasts them.

use super::*;
use crate::figures::Kind;

const REASONS: [CloseReason; 9] = [
    CloseReason::HungUp,
    CloseReason::PeerLeft,
    CloseReason::Lost,
    CloseReason::NeverConnected,
    CloseReason::Application,
    CloseReason::Replaced,
    CloseReason::ApplicationTooSlow,
    CloseReason::Refused,
    CloseReason::Internal,
];

/// Every figure that must not fall, by name.
fn counters(figures: &impl Value) -> Vec<(String, f64)> {
    let mut counters = Vec::new();
    figures.tell("", "", Kind::Gauge, &mut |figure| {
        if figure.kind == Kind::Counter {
            counters.push((figure.name, figure.value.expect("what is counted is known")));
        }
    });
    counters
}

fn chunk(number: u32, content: Content, data: &[u8]) -> Vec<u8> {
    encode(&[Frame::Chunk(Chunk { number, channel: 1, content, data })])
}

/// A rig whose totals are looked at after each step.
struct Watched {
    rig: Rig,
    last: Vec<(String, f64)>,
}

impl Watched {
    fn new() -> Watched {
        let rig = Rig::new();
        let last = counters(&rig.endpoint.totals());
        Watched { rig, last }
    }

    fn step<T>(&mut self, step: impl FnOnce(&mut Rig) -> T) -> T {
        let done = step(&mut self.rig);
        let now = counters(&self.rig.endpoint.totals());
        for ((name, before), (_, after)) in self.last.iter().zip(&now) {
            assert!(after >= before, "{name} fell from {before} to {after}");
        }
        self.last = now;
        done
    }

    fn total(&self, name: &str) -> f64 {
        self.last.iter().find(|(known, _)| known == name).expect("a counter").1
    }
}

#[test]
fn totals_never_fall_whoever_comes_and_goes() {
    let mut watched = Watched::new();
    for round in 1..=20 {
        let caller = watched.step(|rig| rig.connected(round));
        watched.step(|rig| rig.endpoint.session(caller.id).unwrap().start(rig.now));
        let _ = watched.step(|rig| rig.send(round, chunk(0, Content::Open, b"chat")));
        let _ = watched.step(|rig| rig.send(round, chunk(1, Content::Text, &[0xff, 0xfe])));
        let _ = watched.step(|rig| rig.send(round, chunk(2, Content::Text, br#"{"type":"x"}"#)));
        watched.step(Rig::drain);
        match round % 4 {
            0 => drop(watched.step(|rig| rig.send(round, encode(&[Frame::Goodbye])))),
            1 | 2 => watched.step(|rig| {
                rig.now += Duration::from_secs(21);
                rig.endpoint.handle_timeout(rig.now);
            }),
            _ => watched.step(|rig| rig.endpoint.session(caller.id).unwrap().close(rig.now)),
        }
        // The end is polled first, then one datagram after the other.
        while watched.step(|rig| rig.endpoint.poll_event()).is_some() {}
        while watched.step(|rig| rig.endpoint.poll_transmit()).is_some() {}
    }
    watched.step(|rig| {
        while let Some(due) = rig.endpoint.poll_timeout() {
            rig.now = rig.now.max(due);
            rig.endpoint.handle_timeout(rig.now);
            rig.drain();
        }
    });
    watched.rig.assert_nothing_is_left();
    assert!(watched.total("messages_received") >= 20.0);
    assert!(watched.total("messages_noise") >= 20.0);
}

#[test]
fn totals_are_the_sum_by_hand_before_and_after_the_end() {
    let mut rig = Rig::new();
    let (mut came, mut went) = ((0, 0), (0, 0));
    let mut callers = Vec::new();
    for port in 1..=3 {
        let caller = rig.call();
        let open = chunk(0, Content::Open, b"chat");
        for datagram in [caller.check(), hello(), open] {
            came = (came.0 + 1, came.1 + datagram.len() as u64);
            assert_eq!(rig.send(port, datagram), Routed::Session(caller.id));
        }
        callers.push(caller);
    }
    let mut poll = |rig: &mut Rig| {
        while let Some(transmit) = rig.endpoint.poll_transmit() {
            went = (went.0 + 1, went.1 + transmit.payload.len() as u64);
        }
        went
    };
    let told = |totals: Stats| {
        let received = (totals.datagrams_received, totals.bytes_received);
        (received, (totals.datagrams_sent, totals.bytes_sent))
    };
    let went = poll(&mut rig);
    assert_eq!(told(rig.endpoint.totals()), (came, went));
    let mut sum = Stats::default();
    for caller in &callers {
        sum = sum + rig.endpoint.session(caller.id).unwrap().stats();
    }
    assert_eq!(rig.endpoint.totals(), sum, "while all are there");

    // Nobody acknowledges that they leave, so each stays for `Config::linger`.
    rig.endpoint.close(rig.now);
    let leaving = poll(&mut rig);
    rig.now += Duration::from_secs(2);
    rig.endpoint.handle_timeout(rig.now);
    while rig.endpoint.poll_event().is_some() {}
    assert!(rig.endpoint.is_empty());
    assert_eq!(told(rig.endpoint.totals()), (came, leaving), "their goodbyes still wait");
    let with_goodbyes = poll(&mut rig);
    assert!(with_goodbyes.0 >= leaving.0 + 3, "{leaving:?} {with_goodbyes:?}");
    assert_eq!(told(rig.endpoint.totals()), (came, with_goodbyes));
    rig.assert_nothing_is_left();
}

#[test]
fn a_measure_of_a_call_that_ended_is_none_of_those_that_go_on() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    let measured = Some(250 * MS);
    let report = Frame::Report { rtt_ms: 250, lost_per_mille: 0, jitter_ms: 0 };
    assert_eq!(rig.send(1, encode(&[report])), Routed::Session(caller.id));
    assert_eq!(rig.endpoint.totals().rtt, measured);
    rig.endpoint.session(caller.id).unwrap().close(rig.now);
    assert_eq!(rig.endpoint.totals().rtt, measured, "until its end was polled");
    while rig.endpoint.poll_event().is_some() {}
    assert_eq!(rig.endpoint.totals().rtt, None);
    rig.drain();
    assert_eq!(rig.endpoint.totals().rtt, None);
}

#[test]
fn each_end_is_counted_under_its_reason_and_no_other() {
    for (index, reason) in REASONS.into_iter().enumerate() {
        let mut rig = Rig::new();
        let caller = rig.call();
        rig.endpoint.session(caller.id).unwrap().close_for(reason, rig.now);
        rig.drain();
        let counted = counters(&rig.endpoint.stats());
        let closed: Vec<f64> = counted
            .iter()
            .filter(|(name, _)| name.starts_with("closed_"))
            .map(|(_, count)| *count)
            .collect();
        let expected: Vec<f64> = (0..9).map(|at| f64::from(u8::from(at == index))).collect();
        assert_eq!(closed, expected, "{reason}");
        assert_eq!(rig.endpoint.stats().sessions_closed, 1);
    }
}
