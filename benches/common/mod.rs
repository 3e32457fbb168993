//! What the benches share: browsers in memory, both sides that answer them, and what is measured.
//!
//! Everything runs on virtual time and one thread: no socket, no sleep. A *side* is what answers
//! the browsers: the engine alone ([`raw`], the baseline) or this crate over it ([`ours`]). A
//! [`fleet`] is one side with its browsers; it drives both through the same script and measures
//! the side's calls only.
#![allow(dead_code, unreachable_pub, reason = "each bench uses its own part of this")]

pub mod browser;
pub mod fleet;
pub mod ours;
pub mod raw;
pub mod sound;

use std::net::SocketAddr;
use std::time::Duration;

/// What a packet holds everywhere here.
pub const PACKET_TIME: Duration = Duration::from_millis(20);

/// Where the server listens.
pub fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7860))
}

/// Where a browser sends from.
pub fn browser_address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index / 250) as u8, (index % 250) as u8], 50_000))
}

/// The browser that an address belongs to.
pub fn browser_at(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else { panic!("browsers have IPv4 addresses") };
    let [_, _, high, low] = address.ip().octets();
    usize::from(high) * 250 + usize::from(low)
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Says whether a goal is met.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
