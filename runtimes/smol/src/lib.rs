//! The smol adapter of smallrtc: calls as async peers.
//!
//! [`bind`] opens the sockets and gives a [`Driver`], which must be spawned, and a [`Handle`],
//! through which HTTP requests go in and calls come out. A [`Peer`] is one call. This is a bot that
//! repeats what it hears and reads:
//!
//! ```no_run
//! use smallrtc::Config;
//! use smallrtc_smol::{Options, Received, bind};
//!
//! let (driver, handle) = bind(Config::new(), Options::new().udp("0.0.0.0:3478".parse()?))?;
//! smol::spawn(driver.run()).detach();
//! smol::block_on(async {
//!     // An HTTP server beside this passes requests on: `handle.request(method, path, body)`.
//!     while let Some(mut peer) = handle.accept().await {
//!         let bot = async move {
//!             while let Some(received) = peer.recv().await {
//!                 match received {
//!                     Received::Audio(sound) => drop(peer.send_audio(sound.frame()).await),
//!                     Received::Message(message) => drop(peer.send_message(message).await),
//!                     _ => {}
//!                 }
//!             }
//!         };
//!         smol::spawn(bot).detach();
//!     }
//! });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The crate only waits and moves: every rule of a call is the core's, and all state that the two
//! share is in a [`Machine`], which knows neither clock nor socket and so runs in a simulation.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | received, not read | [`INBOX_MAX`], [`INBOX_BYTES_MAX`] | waits in the session |
//! | sound to send | [`AUDIO_LANE_MAX`] | the sender waits |
//! | messages to send | [`MESSAGE_LANE_MAX`] | the sender waits |
//! | other commands | [`CONTROL_LANE_MAX`] | the sender waits |
//! | HTTP requests | [`REQUESTS_MAX`] | the caller waits |
//! | calls of a shard not accepted | [`BACKLOG_MAX`] | the newest is closed, counted |
//! | shards | [`SHARDS_MAX`] | [`bind`] refuses |
//! | datagrams of other shards that wait for one | `smallrtc_udp::POSTS_MAX` | the newest is lost, counted |
//!
//! With [`Options::shards`] the calls are divided among several endpoints, each with a thread and
//! ports of its own, behind the one handle. The threads share the wait for readiness, which is
//! async-io's, and nothing else of what they do.
//!
//! What waits in the session has the session's limits: sound and pictures that are too old are
//! dropped and counted, too many messages end the call. One turn of the driver is bounded by
//! [`BELLS_BUDGET`], [`REQUESTS_BUDGET`], [`POSTS_BUDGET`], [`LANE_BUDGET`], [`EVENTS_BUDGET`] and
//! [`SEND_BUDGET`]; the rest waits for the next turn, after other tasks.

#![forbid(unsafe_code)]

mod alarm;
mod crew;
mod deliver;
mod driver;
mod exchange;
mod handle;
mod link;
mod machine;
mod peer;
mod received;
mod reply;
mod serve;

pub use crew::Driver;
pub use driver::{Shard, bind};
pub use exchange::POSTS_BUDGET;
pub use handle::{BACKLOG_MAX, Handle, HandleStats, REQUESTS_MAX};
pub use link::{AUDIO_LANE_MAX, CONTROL_LANE_MAX, INBOX_BYTES_MAX, INBOX_MAX, MESSAGE_LANE_MAX};
pub use machine::{BELLS_BUDGET, EVENTS_BUDGET, LANE_BUDGET, Machine, REQUESTS_BUDGET, Step};
pub use peer::{Peer, PeerSender};
pub use received::{AudioBlock, Received};
pub use smallrtc_udp::{Options, SEND_BUDGET, SHARDS_MAX};
