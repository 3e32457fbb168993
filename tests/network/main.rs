//! Drivers and sockets between machines: network namespaces that each test makes for itself, joined
//! by virtual cables. Needs root and `ip`; `tests/network/run` runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "what was measured stands beside the test's name")]

mod bot;
mod calls;
mod flood;
mod netns;
#[path = "../support/page.rs"]
mod page;
#[path = "../support/plain.rs"]
mod plain;
#[path = "../support/tone.rs"]
mod tone;
