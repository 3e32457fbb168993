//! smallrtc as a server: an HTTP(S) listener that serves a page and takes offers, and the calls
//! that come of them.
//!
//! [`Server::bind`] opens the sockets, [`Server::accept`] gives the calls. A bot that lets
//! everybody hear themselves:
//!
//! ```no_run
//! use smallrtc_server::{Options, Received, Server};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     smol::block_on(async {
//!         let server = Server::bind(Options::default()).await?;
//!         println!("open {}", server.url());
//!         while let Some(mut peer) = server.accept().await {
//!             smol::spawn(async move {
//!                 while let Some(received) = peer.recv().await {
//!                     match received {
//!                         Received::Audio(sound) => drop(peer.send_audio(sound.frame()).await),
//!                         Received::Message(message) => drop(peer.send_message(message).await),
//!                         _ => {}
//!                     }
//!                 }
//!             })
//!             .detach();
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! [`bots`] has the bots that the program `smallrtc` runs, [`load`] calls a server many times over
//! and tells what became of the calls.
//!
//! What it never does: touch a datagram (that is `smallrtc-smol`), keep state for each call, or
//! answer from anything but memory. Each connection is bounded in bytes and in time
//! ([`limits`]), and their number is bounded, too.
//!
//! # Life
//! | | `/health` | `/ready` | a new call | calls |
//! | --- | --- | --- | --- | --- |
//! | serving | 200 | 200, 503 while full | taken, 503 while full | go on |
//! | draining ([`Server::drain`]) | 200 | 503 | 503 with `Retry-After` | go on |
//! | closing ([`Server::close`]) | 200 | 503 | 503 | get `peerLeft`, end within `Config::linger` |
//!
//! Every refusal and every drop has a counter; `/metrics` tells them all.

#![forbid(unsafe_code)]

pub mod bots;
mod http;
pub mod limits;
pub mod load;
mod metrics;
mod options;
pub mod page;
mod proxies;
mod recordings;
mod server;
mod tape;
mod tls;

pub use http::HttpStats;
pub use options::{OptionError, Options, Tls};
pub use proxies::{Network, NetworkError};
pub use recordings::Recordings;
pub use server::Server;
pub use smallrtc_files::Disk;
pub use smallrtc_smol::{AudioBlock, Handle, Peer, PeerSender, Received};
pub use tape::{AudioFileKind, AudioRecordingOptions, AudioRecordings, AudioSides, TapedPeer};

/// The code blocks of README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
