//! smallrtc on virtual time: sessions, endpoints and model browsers over simulated links.
//!
//! A [`Pair`] is one session and one [`Browser`], a [`World`] is an endpoint and many of them.
//! Time jumps from one wake-up to the next, so an hour of call takes as long as its work does.
//! While they run, the pump checks what always holds, on every datagram and every event: sizes,
//! addresses, time, the life cycle, that nothing spins ([`Checks`]). Every session is recorded, and
//! when a pair or a world ends each log must replay identical ([`smallrtc::record`]).
//!
//! A browser is either a plain `str0m` engine that behaves like Pipecat's JavaScript client, or
//! the same behaviour over [`smallrtc::scripted`]'s plain wire, a hundred times cheaper: see
//! [`Kind`]. Everything random comes from one number, which a failing test prints and
//! takes back: see [`run`].
//!
//! ```
//! use smallrtc::{ConnectionState, Message};
//! use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup};
//! use std::time::Duration;
//!
//! let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
//! pair.connect();
//! assert_eq!(pair.session.state(), ConnectionState::Connected);
//! pair.send_message(Message::text("hello")).expect("the channel is open");
//! pair.drive_for(Duration::from_millis(100));
//! let hello = BrowserEvent::Message { binary: false, data: b"hello".to_vec() };
//! assert!(pair.browser_events().any(|event| *event == hello));
//! ```

#![forbid(unsafe_code)]

mod browser;
mod checks;
pub mod fuzz;
mod link;
mod pair;
mod peer;
mod replays;
mod seed;
mod setup;
mod trace;
mod world;

pub use browser::{Browser, BrowserConfig, BrowserEvent, Dtls, Kind};
pub use checks::Checks;
pub use link::{Link, LinkConfig, Packet};
pub use pair::Pair;
pub use seed::{run, seeds, start};
pub use setup::{Setup, bot_address, bot_certificate, tone};
pub use trace::{Trace, kind_of};
pub use world::{Outcome, World};
