//! The driver, called by pages that are stacks of two makes: its inner step on virtual time, and
//! the whole of it on real sockets of a loopback address.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod independent;
mod loopback;
mod machine;
mod page;
mod plain;
mod tone;
