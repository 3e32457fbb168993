//! smallrtc on virtual time: sessions, endpoints and model browsers over simulated links.
//!
//! For tests of bots: yours is called by a model browser, over a network as bad as you like. Time
//! jumps from one wake-up to the next, so an hour of call takes as long as its work does, and
//! everything random comes from one number, so a failure can be had again.
//!
//! # Write your bot
//!
//! A [`Bot`] is told each [`Event`](smallrtc::Event) with the core at hand, as an event loop tells
//! it in production; a closure is one too. It names types of `smallrtc` alone, so what is tested is
//! what runs. Time is `now` and what [`Bot::poll_timeout`] asks for: a bot that reads a clock of
//! its own cannot be repeated.
//!
//! # Call it
//!
//! A [`Pair`] is one session and one [`Browser`]; a [`World`] is one or more endpoints and many
//! browsers. A [`Setup`] says what lies between them.
//!
//! ```
//! use smallrtc::{ConnectionState, Event, Message, Session};
//! use smallrtc_sim::{Kind, LinkConfig, Pair, Setup};
//! use std::time::{Duration, Instant};
//!
//! /// The bot: says welcome, and says back what it hears.
//! fn polite(event: Event, session: &mut Session, now: Instant) {
//!     let reply = match event {
//!         Event::StateChanged(ConnectionState::Connected) => Message::text("welcome"),
//!         Event::Message(message) => message,
//!         _ => return,
//!     };
//!     session.send_message(reply, now).expect("room for two messages");
//! }
//!
//! // Each of ten seeds is another call over another bad network.
//! smallrtc_sim::run("who_says_hello_hears_it_back", 10, |seed| {
//!     let mut pair = Pair::new(Setup::new(Kind::Scripted, seed).links(LinkConfig::bad()));
//!     pair.set_bot(|(), event: Event, session: &mut Session, now: Instant| {
//!         polite(event, session, now);
//!     });
//!     pair.connect();
//!     let now = pair.now();
//!     assert!(pair.browser.send_text("hello", now));
//!     pair.drive_until(Duration::from_secs(10), "the page hears hello", |pair| {
//!         let heard = pair.browser_messages();
//!         heard.contains(&"welcome".to_owned()) && heard.contains(&"hello".to_owned())
//!     });
//! });
//! ```
//!
//! What may happen to a call:
//!
//! | what | how |
//! | --- | --- |
//! | delay, jitter, loss, duplicates, reordering, a rate, an MTU | [`LinkConfig`], and [`Link::lose`] for chosen packets |
//! | a link, or all of them, dark for a while | [`Link::set_down`], [`World::black_out`], [`World::black_out_all`] |
//! | a router that forgets, or another network | [`NatConfig`], [`Nat::rebind`], [`Nat::move_to`], [`World::restart`] |
//! | a browser's clock that runs fast or slow | [`Setup::drift_ppm`] |
//! | a driver that wakes late, too often, or not for a while | [`DriverConfig`], [`Pair::stall`], [`World::stall`] |
//! | an application that reads slowly | [`World::read_every`] |
//! | several nodes and shards, behind a balancer | [`Setup::places`], [`Setup::balanced`] |
//! | all of it at once, drawn from a seed | [`storm()`] |
//! | a script of acts, written down | [`script`] |
//!
//! A browser is either a plain `str0m` engine that behaves like Pipecat's JavaScript client, or
//! the same behaviour over [`smallrtc::scripted`]'s plain wire, many times cheaper: see [`Kind`].
//! A null codec, one word for each 10 ms of sound, stands in for Opus unless [`Setup::opus`] is
//! called: see [`null_packet`].
//!
//! # What is checked
//!
//! While they run, the pump checks what always holds, on every datagram and every event: sizes,
//! addresses, time, the life cycle, that nothing spins ([`Checks`]). In a [`Pair`] the books are
//! kept as well of what went in and came out ([`Ledger`]); what a seated bot sends is not on them.
//! Every session is recorded, and when a pair or a world ends each log must replay identical
//! ([`smallrtc::record`]). All of these panic, as an assertion of the test does. What your bot
//! should have done is for your test to say.
//!
//! A `Bot` that draws from a generator without a seed or walks a map in hash order is caught by
//! [`repeat`], which runs a scenario twice and compares the [`Trace`]s.
//!
//! # Replay a seed
//!
//! When a scenario of [`run`] fails, it tells the seed and the command that runs it alone:
//!
//! ```text
//! SEED=7
//! SMALLRTC_SEED=7 cargo test -p my-bot --test calls who_says_hello_hears_it_back
//! ```
//!
//! [`find`] gives the same as a value. The example `finds_a_bug` has a bot that works on every
//! good network and loses words on a bad one, the test that finds it, and the bot mended.

#![forbid(unsafe_code)]

mod bot;
mod browser;
mod checks;
mod clock;
mod driver;
mod fate;
pub mod fuzz;
mod ledger;
mod link;
mod nat;
mod pair;
mod peer;
mod replays;
pub mod script;
mod seed;
mod setup;
mod storm;
mod trace;
mod watched;
mod witness;
mod world;

pub use bot::{Bot, Core};
pub use browser::{Browser, BrowserConfig, BrowserEvent, Dtls, Kind};
pub use checks::Checks;
pub use driver::DriverConfig;
pub use ledger::{Ledger, Sound};
pub use link::{Link, LinkConfig, Packet};
pub use nat::{Nat, NatConfig, NatKind};
pub use pair::Pair;
pub use seed::{Failure, cases, find, run, seeds, start};
pub use setup::{Setup, bot_address, bot_certificate, null_packet, tone};
pub use storm::storm;
pub use trace::{Trace, kind_of, repeat};
pub use watched::{Watched, WatchedCall};
pub use witness::twice;
pub use world::{Outcome, World};
