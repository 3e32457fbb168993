//! The bots that the program can run.
//!
//! | bot | what it says |
//! | --- | --- |
//! | [`echo()`] | what it hears |
//! | [`pass()`] | what it hears, as it was coded |
//! | [`play()`] | a file, over and over |
//! | [`tone()`] | a tone |
//!
//! Messages and pictures come back from all of them. Each takes a `Peer`, or a
//! [`TapedPeer`](crate::TapedPeer), which is recorded.

mod alarm;
mod delay;
mod echo;
mod pass;
mod play;
mod playable;
mod sound;
mod splice;
mod tone;

pub use echo::echo;
pub use pass::{pass, pass_config};
pub use play::play;
pub use playable::{PlayError, Playable};
pub use sound::echo_config;
pub use tone::{tone, tone_config};
