//! The desk on the real wire, as the lines of the original ask for it.

#[path = "../support/desk.rs"]
mod support;

use serde_json::{Value, json};
use smallrtc::signaling::Options;
use smallrtc::{Config, SessionId};
use smallrtc_sim::{Browser, Kind};

pub(crate) use support::Desk;

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk::with(Config::new(), Options::new())
    }

    pub(crate) fn with(config: Config, options: Options) -> Desk {
        Desk::of(Kind::Real, config, options)
    }

    /// Posts a page's offer with further fields, and gives the answer to the page.
    pub(crate) fn offer(&mut self, page: &mut Browser, fields: &Value) -> (u16, Value) {
        let mut body = json!({ "sdp": page.offer(self.now), "type": "offer" });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, answer) = self.ask("POST", "/api/offer", &body.to_string());
        if let Some(sdp) = answer["sdp"].as_str() {
            page.accept_answer(sdp, self.now);
        }
        (status, answer)
    }

    /// Lets a page call, and starts its session.
    pub(crate) fn call(&mut self, page: &mut Browser, fields: &Value) -> (SessionId, String) {
        let (status, answer) = self.offer(page, fields);
        assert_eq!(status, 200, "{answer}");
        let pc_id = answer["pc_id"].as_str().unwrap().to_owned();
        let id = self.signaling.session_of(&pc_id).unwrap();
        self.endpoint.session(id).unwrap().start(self.now);
        (id, pc_id)
    }
}

/// A page on the real wire, with an address of its own.
pub(crate) fn page(number: u64) -> Browser {
    support::page(Kind::Real, number)
}
