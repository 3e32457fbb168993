//! The bots that the program can run.

mod delay;
mod echo;
mod pass;

pub use echo::echo;
pub use pass::{pass, pass_config};
