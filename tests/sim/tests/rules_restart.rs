//! The rules of `restart_pc` where the network that asks for it is as bad as the one that made it
//! necessary: requests that are answered into the void, and asked again.

#[macro_use]
extern crate smallrtc_sim_twice;

#[path = "../../support/desk.rs"]
mod desk;

use std::time::Duration;

use serde_json::{Value, json};
use smallrtc::signaling::{Mode, Options};
use smallrtc::{CloseReason, Config, ConnectionState, Event, SessionId};
use smallrtc_sim::{Browser, Kind};

use desk::{Desk, page};

impl Desk {
    /// Posts a page's offer. The answer is not given to it: it may be lost.
    fn post(&mut self, page: &mut Browser, pc_id: Option<&str>, restarts: bool) -> (u16, Value) {
        let sdp = page.offer(self.now);
        let body = json!({ "sdp": sdp, "type": "offer", "pc_id": pc_id, "restart_pc": restarts });
        let (status, answer) = self.ask("POST", "/api/offer", &body.to_string());
        if let Some(call) = self.signaling.poll_call() {
            self.endpoint.session(call.id).expect("it has just begun").start(self.now);
        }
        (status, answer)
    }

    /// A page that calls and is connected; its name and its session.
    fn connected(&mut self, page: &mut Browser) -> (String, SessionId) {
        let (status, answer) = self.post(page, None, false);
        assert_eq!(status, 200, "{answer}");
        page.accept_answer(answer["sdp"].as_str().expect("SDP"), self.now);
        self.pass(&mut [page], 1_000);
        let name = answer["pc_id"].as_str().expect("a name").to_owned();
        let id = self.signaling.session_of(&name).expect("it has just begun");
        assert_eq!(self.state(id), Some(ConnectionState::Connected));
        (name, id)
    }

    fn state(&mut self, id: SessionId) -> Option<ConnectionState> {
        self.endpoint.session(id).map(|session| session.state())
    }

    fn reasons(&self) -> Vec<CloseReason> {
        let reason = |(_, _, event): &(Duration, SessionId, Event)| match event {
            Event::Closed { reason } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }
}

/// One place in all, the rule of one call alone, or neither.
fn limits() -> Vec<(Config, Options)> {
    vec![
        (Config::new(), Options::new()),
        (Config::new().max_sessions(1), Options::new()),
        (Config::new(), Options::new().mode(Mode::Single)),
    ]
}

#[test]
fn a_restart_whose_answer_was_lost_is_asked_for_again_and_takes_the_place_of_the_first() {
    for kind in Kind::ALL {
        for (config, options) in limits() {
            let mut desk = Desk::of(kind, config, options);
            let [mut old, mut lost, mut last] = [1, 2, 3].map(|number| page(kind, number));
            let (name, _) = desk.connected(&mut old);
            old.vanish();
            // The server has answered; the client has seen its request fail, and asks again after
            // two seconds, by the only name that it knows (`smallWebRTCTransport.ts`).
            assert_eq!(desk.post(&mut lost, Some(&name), true).0, 200);
            for number in 0..2 {
                desk.pass(&mut [], 2_000);
                let mut again = page(kind, 10 + number);
                let (status, answer) = desk.post(&mut again, Some(&name), true);
                assert_eq!(status, 200, "{kind:?}: {answer}");
            }
            desk.pass(&mut [], 2_000);
            let (status, answer) = desk.post(&mut last, Some(&name), true);
            assert_eq!(status, 200, "{kind:?}: {answer}");
            last.accept_answer(answer["sdp"].as_str().unwrap(), desk.now);
            desk.pass(&mut [&mut last], 1_000);
            let pc_id = answer["pc_id"].as_str().unwrap();
            let id = desk.signaling.session_of(pc_id).unwrap();
            assert_eq!(desk.state(id), Some(ConnectionState::Connected));
            assert_eq!(desk.endpoint.len(), 1, "no call of its own is left behind");
            assert_eq!(desk.reasons(), [CloseReason::Replaced; 4]);
            assert_eq!(desk.signaling.session_of(&name), None);
        }
    }
}

#[test]
fn a_late_copy_of_a_restart_does_not_end_the_call_that_has_connected_since() {
    for kind in Kind::ALL {
        let mut desk = Desk::of(kind, Config::new(), Options::new());
        let [mut old, mut new, mut copy] = [1, 2, 3].map(|number| page(kind, number));
        let (name, _) = desk.connected(&mut old);
        let (_, answer) = desk.post(&mut new, Some(&name), true);
        new.accept_answer(answer["sdp"].as_str().unwrap(), desk.now);
        desk.pass(&mut [&mut new], 1_000);
        let id = desk.signaling.session_of(answer["pc_id"].as_str().unwrap()).unwrap();
        assert_eq!(desk.state(id), Some(ConnectionState::Connected));
        let (status, answer) = desk.post(&mut copy, Some(&name), true);
        assert_eq!(status, 200);
        assert_ne!(desk.signaling.session_of(answer["pc_id"].as_str().unwrap()), Some(id));
        desk.pass(&mut [&mut new], 20_000);
        assert_eq!(desk.state(id), Some(ConnectionState::Connected));
        assert_eq!(desk.reasons(), [CloseReason::Replaced, CloseReason::NeverConnected]);
        assert_eq!(desk.endpoint.len(), 1);
    }
}

#[test]
fn the_name_before_a_restart_is_good_for_another_restart_and_for_nothing_else() {
    let mut desk = Desk::of(Kind::Scripted, Config::new(), Options::new());
    let [mut old, mut new, mut other] = [1, 2, 3].map(|number| page(Kind::Scripted, number));
    let (name, _) = desk.connected(&mut old);
    let (_, answer) = desk.post(&mut new, Some(&name), true);
    let id = desk.signaling.session_of(answer["pc_id"].as_str().unwrap()).unwrap();
    let patch = json!({ "pc_id": name, "candidates": [] });
    assert_eq!(desk.ask("PATCH", "/api/offer", &patch.to_string()).0, 404);
    let (status, answer) = desk.post(&mut other, Some(&name), false);
    assert_eq!(status, 200);
    assert_ne!(desk.signaling.session_of(answer["pc_id"].as_str().unwrap()), Some(id));
    assert!(desk.state(id).is_some(), "it was not touched");
}

/// Clients older than 1.10.8 send candidates before they know the name: they are refused, and the
/// call connects by its own checks.
#[test]
fn candidates_before_the_answer_are_refused_and_the_call_connects_all_the_same() {
    for kind in Kind::ALL {
        let mut desk = Desk::of(kind, Config::new(), Options::new());
        let mut early = page(kind, 1);
        let sdp: String = early
            .offer(desk.now)
            .lines()
            .filter(|line| !line.starts_with("a=candidate"))
            .map(|line| format!("{line}\r\n"))
            .collect();
        let candidate = json!({ "candidate": early.candidate(), "sdp_mid": "0" });
        for pc_id in [Value::Null, json!("SmallWebRTCConnection#0-unknown")] {
            let body = json!({ "pc_id": pc_id, "candidates": [candidate] });
            let (status, answer) = desk.ask("PATCH", "/api/offer", &body.to_string());
            assert!([400, 404].contains(&status), "{answer}");
        }
        let (status, answer) =
            desk.ask("POST", "/api/offer", &json!({ "sdp": sdp, "type": "offer" }).to_string());
        assert_eq!(status, 200, "{answer}");
        early.accept_answer(answer["sdp"].as_str().unwrap(), desk.now);
        desk.pass(&mut [&mut early], 1_000);
        let id = desk.signaling.session_of(answer["pc_id"].as_str().unwrap()).unwrap();
        assert_eq!(desk.state(id), Some(ConnectionState::Connected), "{kind:?}");
    }
}
