//! The driver, called by pages that are stacks of two makes: its inner step on virtual time, and
//! the whole of it on real sockets of a loopback address, alone and nested.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod echo;
#[path = "../../../../tests/support/independent.rs"]
mod independent;
mod loopback;
mod machine;
mod nested;
#[path = "../../../../tests/support/page.rs"]
mod page;
#[path = "../../../../tests/support/plain.rs"]
mod plain;
mod shards;
#[path = "../../../../tests/support/tone.rs"]
mod tone;
