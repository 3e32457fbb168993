//! One suite that every driver passes.
//!
//! A driver's inner step is a [`Subject`]: its machine and the suite's application on top. The
//! [`suite`] drives any subject on virtual time in a [`World`], which models a driver's loop, its
//! socket, browsers and links, and checks at every wait that nothing due is left undone.
//! [`sockets`] has what of it makes sense on real ones. [`machine_suite`] and [`socket_suite`] make
//! the tests of one driver. [`Bare`] is a loop over the endpoint with nothing around it: every
//! driver sends what it sends.
//!
//! | what a driver must do | rules |
//! | --- | --- |
//! | leave nothing due undone, send in order | `src/suite/rest.rs` |
//! | lose no wake-up | `src/suite/wakeups.rs` |
//! | slip after a stop, never burst, and say how late it was | `src/suite/stalls.rs` |
//! | keep the pace of all calls while one is flooded | `src/suite/flood.rs` |
//! | behave as every other driver | `src/suite/same.rs` |
//! | tell each end once | `src/suite/closing.rs` |
//! | all that with real clocks and sockets | `src/sockets/rules.rs` |
//! | give a session nothing that its log does not have | `src/sockets/replays.rs` |

#![forbid(unsafe_code)]

mod application;
mod bare;
mod mio;
mod smol;
pub mod sockets;
mod subject;
pub mod suite;
mod watch;
mod world;

pub use bare::Bare;
pub use mio::Mio;
pub use smol::Smol;
pub use subject::{
    Bot, Budgets, Command, Figures, Order, Outcome, RATE, Report, Subject, Ticket, Told, speech,
};
pub use watch::{Departure, Watch, words};
pub use world::{Costs, Flood, Source, World, destination};
