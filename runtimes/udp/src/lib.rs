//! The UDP sockets that smallrtc's drivers share.
//!
//! A [`Socket`] receives in batches and tells where each datagram was sent to, which a wildcard
//! bind otherwise hides and which ICE must know (RFC 8445 section 7.3). It sends what the core
//! hands out, many datagrams in one system call where they are alike ([`send_all`]), waits within
//! limits for a full kernel buffer, and takes every other refusal for packet loss.
//! [`interface_addresses`] and [`Socket::candidates`] tell what peers may send to, and
//! [`Options::open`] does for a driver what comes before its first turn.
//!
//! Several endpoints on a thread each share nothing but what is here: [`Placing`] says where a new
//! call goes, [`Forward`] what becomes of a datagram that reached the wrong one.
//!
//! An [`Alarm`] wakes a driver to the microsecond where the system can (Linux), and [`Turns`] tell
//! how late it was.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | datagrams taken in one turn | [`RECEIVE_BUDGET`] | the next turn goes on, without waiting |
//! | datagrams sent in one turn | [`SEND_BUDGET`] | the next turn goes on, without waiting |
//! | datagrams in one system call | [`RUN_SEGMENTS_MAX`], [`RUN_LEN_MAX`] | the next call |
//! | datagrams that wait for room | [`WAITING_MAX`], [`WAITING_AGE_MAX`] | the oldest is lost |
//! | datagrams to who was never heard | [`STRANGERS_BURST`], [`STRANGERS_INTERVAL`] | the newest is lost |
//! | addresses heard from | [`HEARD_MAX`], twice | the longest unheard are strangers |
//! | candidates of a socket | [`CANDIDATES_MAX`] | the last are not offered |
//! | lateness told apart | [`LATENESS_MAX`] | counts as this much |
//!
//! Nothing here waits or knows a runtime: a driver waits on [`Socket::io`] and [`Alarm::io`] with
//! whatever it waits with. The clock is the driver's, too; only [`Alarm::new`] looks at it, once.

#![forbid(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
mod alarm;
mod candidates;
mod forward;
mod lateness;
mod options;
mod outgoing;
mod placing;
mod receive;
mod run;
mod shards;
mod socket;
mod strangers;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use alarm::Alarm;
pub use candidates::{CANDIDATES_MAX, interface_addresses};
pub use forward::{
    FOLLOWED_AGE_MAX, FOLLOWED_MAX, Forward, ForwardStats, POST_LEN_MAX, POSTS_MAX, Post,
};
pub use lateness::{LATENESS_MAX, Lateness, Turns};
pub use options::{Opened, Options};
pub use outgoing::{WAITING_AGE_MAX, WAITING_MAX};
pub use placing::{OnWay, Placing};
pub use run::{RUN_LEN_MAX, RUN_SEGMENTS_MAX};
pub use shards::{SHARDS_MAX, shard_address, shard_configs, shard_seeds};
pub use socket::{RECEIVE_BUDGET, SEND_BUDGET, Sent, Socket, SocketStats, send_all};
pub use strangers::{HEARD_MAX, STRANGERS_BURST, STRANGERS_INTERVAL};
