//! Deadlines, turns and the guard.

use super::*;
use proptest::prelude::*;

#[test]
fn a_flooded_session_does_not_keep_others_from_speaking() {
    let mut rig = Rig::new();
    let (loud, quiet) = (rig.connected(1), rig.connected(2));
    rig.drain();
    for _ in 0..500 {
        assert_eq!(rig.send(1, loud.check()), Routed::Session(loud.id));
    }
    assert_eq!(rig.send(2, quiet.check()), Routed::Session(quiet.id));
    let ports = rig.ports_sent_to();
    assert!(ports.len() > 100);
    let place = ports.iter().position(|port| *port == 2);
    assert_eq!(place, Some(Endpoint::TURN_DATAGRAMS_MAX), "the quiet one waits for one turn");
}

#[test]
fn a_session_that_speaks_in_anothers_turn_waits_for_the_rest_of_that_turn_only() {
    for given in 1..Endpoint::TURN_DATAGRAMS_MAX {
        let mut rig = Rig::new();
        let (loud, quiet) = (rig.connected(1), rig.connected(2));
        rig.drain();
        for _ in 0..50 {
            assert_eq!(rig.send(1, loud.check()), Routed::Session(loud.id));
        }
        for _ in 0..given {
            assert_eq!(rig.endpoint.poll_transmit().unwrap().destination.port(), 1);
        }
        // The loud one is touched as well: that gives it no second turn in front of the other.
        assert_eq!(rig.send(1, loud.check()), Routed::Session(loud.id));
        assert_eq!(rig.send(2, quiet.check()), Routed::Session(quiet.id));
        let place = rig.ports_sent_to().iter().position(|port| *port == 2);
        assert_eq!(place, Some(Endpoint::TURN_DATAGRAMS_MAX - given), "after {given} of a turn");
    }
}

#[test]
fn two_sessions_that_send_much_at_once_give_neighbours_of_a_turns_length() {
    let mut rig = Rig::new();
    let callers = [rig.connected(1), rig.connected(2)];
    rig.drain();
    for (port, caller) in (1..).zip(&callers) {
        for _ in 0..64 {
            assert_eq!(rig.send(port, caller.check()), Routed::Session(caller.id));
        }
    }
    let ports = rig.ports_sent_to();
    let runs: Vec<usize> = ports.chunk_by(|one, next| one == next).map(<[u16]>::len).collect();
    assert_eq!(runs, [Endpoint::TURN_DATAGRAMS_MAX; 16]);
}

#[test]
fn events_come_from_each_session_in_turn() {
    let mut rig = Rig::new();
    let callers: Vec<Caller> = (0..4).map(|port| rig.connected(port)).collect();
    for caller in &callers {
        rig.endpoint.session(caller.id).unwrap().start(rig.now);
        rig.endpoint.session(caller.id).unwrap().close(rig.now);
    }
    let first: Vec<SessionId> =
        (0..4).map(|_| rig.endpoint.poll_event().expect("each has several").0).collect();
    assert_eq!(first, callers.iter().map(|caller| caller.id).collect::<Vec<_>>());
}

#[test]
fn the_endpoint_is_due_at_once_while_output_waits_and_not_afterwards() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    assert!(rig.endpoint.poll_timeout().unwrap() <= rig.now);
    rig.drain();
    // The first consent check is sent at once as well.
    rig.endpoint.handle_timeout(rig.now);
    rig.drain();
    assert!(rig.endpoint.poll_timeout().unwrap() > rig.now);
    assert_eq!(rig.send(1, caller.check()), Routed::Session(caller.id));
    assert!(rig.endpoint.poll_timeout().unwrap() <= rig.now);
}

#[test]
fn a_guard_re_arms_the_endpoint_when_it_is_dropped() {
    let mut rig = Rig::new();
    let caller = rig.connected(1);
    rig.drain();
    rig.endpoint.session(caller.id).unwrap().close(rig.now);
    assert!(rig.endpoint.poll_timeout().unwrap() <= rig.now);
    assert!(rig.endpoint.poll_event().is_some());
}

#[test]
fn a_timeout_that_comes_early_late_or_twice_does_no_harm() {
    let mut rig = Rig::new();
    let caller = rig.call();
    rig.drain();
    let deadline = rig.endpoint.poll_timeout().unwrap();
    rig.endpoint.handle_timeout(rig.now);
    assert_eq!(rig.endpoint.poll_timeout(), Some(deadline));
    rig.endpoint.handle_timeout(deadline - MS);
    assert_eq!(rig.state(&caller), Some(ConnectionState::Connecting));
    rig.endpoint.handle_timeout(deadline + 1000 * MS);
    rig.endpoint.handle_timeout(deadline + 1000 * MS);
    assert_eq!(rig.state(&caller), Some(ConnectionState::Closed));
    rig.drain();
    rig.assert_nothing_is_left();
}

#[test]
fn an_older_now_counts_as_the_newest_that_was_seen() {
    let mut rig = Rig::new();
    let caller = rig.call();
    rig.drain();
    let (deadline, old) = (rig.endpoint.poll_timeout().unwrap(), rig.now);
    assert_eq!(rig.endpoint.replace(caller.id, &offer(), deadline).map(|_| ()), Ok(()));
    rig.drain();
    let second = rig.endpoint.poll_timeout().unwrap();
    assert_eq!(second - deadline, deadline - old);
    rig.call();
    rig.drain();
    rig.endpoint.handle_timeout(old);
    assert_eq!(rig.endpoint.poll_timeout(), Some(second), "the third was not born earlier");
}

#[test]
fn one_timeout_wakes_every_session_that_is_due() {
    let mut rig = Rig::new();
    for _ in 0..100 {
        rig.call();
    }
    rig.drain();
    let deadline = rig.endpoint.poll_timeout().unwrap();
    rig.endpoint.handle_timeout(deadline);
    assert_eq!(rig.drain().len(), 200, "Failed or Closed, and the state before it, from each");
    rig.assert_nothing_is_left();
}

/// What may happen to an endpoint, in any order.
#[derive(Clone, Debug)]
enum Step {
    Accept,
    Connect(usize, u16),
    Forge(usize, u16),
    Garbage(u16, Vec<u8>),
    Close(usize),
    Replace(usize),
    Wait(u64),
    PollEvent,
    PollTransmit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Accept),
        6 => (0usize..6, 0u16..24).prop_map(|(call, port)| Step::Connect(call, port)),
        2 => (0usize..6, 0u16..24).prop_map(|(call, port)| Step::Forge(call, port)),
        2 => (0u16..24, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(port, bytes)| Step::Garbage(port, bytes)),
        2 => (0usize..6).prop_map(Step::Close),
        1 => (0usize..6).prop_map(Step::Replace),
        3 => (0u64..9_000).prop_map(Step::Wait),
        4 => Just(Step::PollEvent),
        4 => Just(Step::PollTransmit),
    ];
    proptest::collection::vec(step, 0..120)
}

impl Rig {
    fn step(&mut self, step: Step, callers: &mut Vec<Caller>) {
        let caller = |index: usize| callers.get(callers.len().saturating_sub(index + 1)).cloned();
        match step {
            Step::Accept => callers.extend(self.try_call()),
            Step::Connect(index, port) => {
                let Some(caller) = caller(index) else { return };
                // A check reaches no other session than the one it names, while that is there.
                let state = self.state(&caller);
                let is_there = state.is_some_and(|state| state != ConnectionState::Closed);
                if let Routed::Session(id) = self.send(port, caller.check()) {
                    assert!(id == caller.id || !is_there);
                }
                let _ = self.send(port, hello());
            }
            Step::Forge(index, port) => {
                let Some(caller) = caller(index) else { return };
                let bound = self.endpoint.demux.len();
                let _ = self.send(port, check(&caller.ufrag, "guess"));
                assert_eq!(self.endpoint.demux.len(), bound);
            }
            Step::Garbage(port, bytes) => drop(self.send(port, bytes)),
            Step::Close(index) => {
                let Some(caller) = caller(index) else { return };
                if let Some(mut session) = self.endpoint.session(caller.id) {
                    session.close(self.now);
                }
            }
            Step::Replace(index) => {
                let Some(caller) = caller(index) else { return };
                let _ = self.endpoint.replace(caller.id, &offer(), self.now);
            }
            Step::Wait(millis) => {
                self.now += Duration::from_millis(millis);
                self.endpoint.handle_timeout(self.now);
            }
            Step::PollEvent => drop(self.endpoint.poll_event()),
            Step::PollTransmit => drop(self.endpoint.poll_transmit()),
        }
    }

    fn check_books(&self) {
        let endpoint = &self.endpoint;
        assert_eq!(endpoint.len(), endpoint.session_ids().len());
        assert!(endpoint.calls.len() <= endpoint.config.max_sessions + 1);
        assert!(endpoint.demux.len() <= 16 * endpoint.calls.len());
        let young = endpoint.calls.slots().filter(|slot| {
            let state = endpoint.calls.at(*slot).unwrap().session.state();
            matches!(state, ConnectionState::New | ConnectionState::Connecting)
        });
        assert_eq!(endpoint.half_open, young.count());
        let stats = endpoint.stats();
        assert_eq!(stats.sessions_accepted - stats.sessions_closed, endpoint.len() as u64);
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_books_are_right_and_every_session_ends_once(script in steps()) {
        let mut rig = Rig::with(Config::new().max_sessions(4));
        let mut callers = Vec::new();
        for step in script {
            rig.step(step, &mut callers);
            rig.check_books();
        }
        rig.endpoint.close(rig.now);
        rig.now += Duration::from_secs(3);
        rig.endpoint.handle_timeout(rig.now);
        rig.drain();
        rig.assert_nothing_is_left();
        let stats = rig.endpoint.stats();
        prop_assert_eq!(stats.sessions_accepted, stats.sessions_closed);
    }
}
