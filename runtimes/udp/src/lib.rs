//! The UDP sockets that smallrtc's drivers share.
//!
//! A [`Socket`] receives in batches and tells where each datagram was sent to, which a wildcard
//! bind otherwise hides and which ICE must know (RFC 8445 section 7.3). It sends what the core
//! hands out, waits within limits for a full kernel buffer, and takes every other refusal for
//! packet loss. [`interface_addresses`] and [`Socket::candidates`] tell what peers may send to.
//!
//! It never waits, never reads a clock, and knows no runtime: a driver waits on
//! [`Socket::io`] with whatever it waits with.

#![forbid(unsafe_code)]

#[cfg(any(target_os = "linux", target_os = "android"))]
mod alarm;
mod candidates;
mod lateness;
mod receive;
mod socket;
mod waiting;

#[cfg(any(target_os = "linux", target_os = "android"))]
pub use alarm::Alarm;
pub use candidates::{CANDIDATES_MAX, interface_addresses};
pub use lateness::{LATENESS_MAX, Lateness};
pub use socket::{RECEIVE_BUDGET, Socket, SocketStats};
pub use waiting::{WAITING_AGE_MAX, WAITING_MAX};
