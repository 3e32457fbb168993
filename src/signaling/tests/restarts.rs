//! The answer to the first candidates of a restarted call.

use super::*;
use crate::Datagram;
use crate::scripted::{Frame, encode, stun};
use crate::signaling::restarts::{HELD_AT_MOST, LEAD, LOOK_INTERVAL};

impl Rig {
    /// A call, and another that took its place: its name, and what the page needs to reach it.
    fn restarted(&mut self) -> (String, String) {
        let old = self.call(&offer(""));
        let (status, answer) = self.post(&named(&old, true));
        assert_eq!(status, 200);
        while self.signaling.poll_call().is_some() {}
        self.drain();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (text("pc_id"), text("sdp"))
    }

    fn patch_later(&mut self, pc_id: &str) -> Token {
        match self.reply("PATCH", "/api/offer", trickle(pc_id, &[CANDIDATE]).as_bytes()) {
            Reply::Later(token) => token,
            Reply::Now(response) => panic!("{response:?} instead of waiting"),
        }
    }

    /// Checks and shakes hands as the page does that has this answer.
    fn reach(&mut self, sdp: &str) {
        let value = |name| sdp.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let check = stun::request([7; 12], ufrag, "page", pwd, true);
        for payload in [check, encode(&[Frame::Hello])] {
            let (page, here) = ("192.0.2.7:50000", "198.51.100.1:7860");
            let (page, here) = (page.parse().unwrap(), here.parse().unwrap());
            let datagram = Datagram::udp(TransportId(0), page, here, payload.into());
            let _ = self.endpoint.handle_datagram(datagram, self.now);
        }
        self.drain();
    }

    /// Lets time pass as a driver does, until an answer comes; when that was.
    fn answered_after(&mut self, token: Token) -> Duration {
        let begun = self.now;
        for _ in 0..100 {
            self.endpoint.handle_timeout(self.now);
            self.drain();
            self.signaling.handle_timeout(&mut self.endpoint, self.now);
            if let Some((of, response)) = self.signaling.poll_response() {
                assert_eq!((of, read(&response)), (token, (200, json!({ "status": "success" }))));
                return self.now - begun;
            }
            let next = self.signaling.poll_timeout().expect("an answer waits");
            assert!(next > self.now, "it does not spin");
            self.now = next;
        }
        panic!("nothing is answered");
    }
}

#[test]
fn it_waits_until_sound_went_out() {
    let mut rig = Rig::new();
    let (pc_id, sdp) = rig.restarted();
    let token = rig.patch_later(&pc_id);
    rig.now += 100 * MS;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    assert!(rig.signaling.poll_response().is_none());
    rig.reach(&sdp);
    let after = rig.answered_after(token);
    assert!((LEAD..=LEAD + LOOK_INTERVAL).contains(&after), "{after:?}");
    assert_eq!(rig.signaling.stats().trickles_held, 1);
    // Those that come later have their answer at once.
    assert_eq!(rig.patch(&trickle(&pc_id, &[])).0, 200);
}

#[test]
fn it_waits_for_three_packets_of_sound_and_not_a_moment_longer() {
    let mut rig = Rig::new();
    let (pc_id, sdp) = rig.restarted();
    let _ = rig.patch_later(&pc_id);
    rig.reach(&sdp);
    for (after, answers) in [(Duration::ZERO, 0), (LEAD - MS, 0), (MS, 1)] {
        rig.now += after;
        rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
        let answered = std::iter::from_fn(|| rig.signaling.poll_response()).count();
        assert_eq!(answered, answers, "{after:?} later");
    }
}

#[test]
fn a_call_that_does_not_connect_is_answered_after_400_ms() {
    let mut rig = Rig::new();
    let (pc_id, _) = rig.restarted();
    let token = rig.patch_later(&pc_id);
    let after = rig.answered_after(token);
    assert!((HELD_AT_MOST..=HELD_AT_MOST + LOOK_INTERVAL).contains(&after), "{after:?}");
    assert_eq!(rig.signaling.poll_timeout(), None);
}

#[test]
fn a_call_that_ends_meanwhile_is_answered_at_once() {
    let mut rig = Rig::new();
    let (pc_id, _) = rig.restarted();
    let token = rig.patch_later(&pc_id);
    rig.endpoint.close(rig.now);
    assert!(rig.answered_after(token) <= LOOK_INTERVAL);
    rig.assert_nothing_is_left();
}

#[test]
fn a_client_that_does_not_wait_any_more_leaves_nothing() {
    let mut rig = Rig::new();
    let (pc_id, _) = rig.restarted();
    let token = rig.patch_later(&pc_id);
    rig.signaling.cancel(token);
    rig.now += LOOK_INTERVAL;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    assert_eq!((rig.signaling.poll_response(), rig.signaling.poll_timeout()), (None, None));
    assert_eq!(rig.signaling.stats().waits_cancelled, 1);
}

#[test]
fn an_answer_that_waited_names_the_page_that_asked() {
    let mut rig = Rig::new();
    let (pc_id, _) = rig.restarted();
    let page = "http://localhost:5173";
    let body = trickle(&pc_id, &[CANDIDATE]);
    let request = Request::new("PATCH", "/api/offer", body.as_bytes());
    let Reply::Later(_) = rig.handle(request.headers([("Origin", page)])) else {
        panic!("it does not wait")
    };
    rig.now += HELD_AT_MOST;
    rig.signaling.handle_timeout(&mut rig.endpoint, rig.now);
    let (_, response) = rig.signaling.poll_response().unwrap();
    assert_eq!(response.header("access-control-allow-origin"), Some(page));
}

#[test]
fn calls_that_ended_are_not_known_as_restarted_any_more() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let (pc_id, _) = rig.restarted();
        let id = rig.signaling.session_of(&pc_id).unwrap();
        assert!(rig.signaling.restarts.holds(id));
        rig.signaling.session_closed(id);
        assert!(!rig.signaling.restarts.holds(id));
    }
}

#[test]
fn a_call_that_took_no_place_is_answered_at_once() {
    let mut rig = Rig::new();
    let pc_id = rig.call(&offer(""));
    assert_eq!(rig.patch(&trickle(&pc_id, &[CANDIDATE])).0, 200);
    assert_eq!(rig.signaling.stats().trickles_held, 0);
}

#[test]
fn as_many_answers_wait_as_may_and_one_more_is_given_at_once() {
    let mut rig = Rig::new();
    let (pc_id, _) = rig.restarted();
    for _ in 0..WAITING_MAX {
        let _ = rig.patch_later(&pc_id);
    }
    assert_eq!(rig.patch(&trickle(&pc_id, &[])).0, 200);
    assert_eq!(rig.signaling.stats().trickles_held, 64);
}
