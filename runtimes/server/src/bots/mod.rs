//! The bots that the program can run.

mod delay;
mod echo;
mod rtvi;

pub use echo::echo;
