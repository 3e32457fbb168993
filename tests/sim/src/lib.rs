//! smallrtc on virtual time: sessions, endpoints and model browsers over simulated links.
//!
//! For tests of bots: yours is called by a model browser, over a network as bad as you like. Time
//! jumps from one wake-up to the next, so an hour of call takes as long as its work does, and
//! everything random comes from one number, so a failure can be had again.
//!
//! # Take it up
//!
//! ```toml
//! [dev-dependencies]
//! smallrtc-sim = "0.1"
//!
//! # The engine, its cipher and the codec do most of a call's work; optimised they take a tenth of
//! # the time, and your own code stays as easy to debug as it was.
//! [profile.dev.package]
//! aws-lc-rs = { opt-level = 3 }
//! aws-lc-sys = { opt-level = 3 }
//! dimpl = { opt-level = 3 }
//! opus-pure = { opt-level = 3 }
//! sctp-proto = { opt-level = 3 }
//! smallrtc = { opt-level = 3 }
//! smallrtc-sim = { opt-level = 3 }
//! str0m = { opt-level = 3 }
//! ```
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
//! # Let it speak
//!
//! With the null codec a packet holds the first sample of each 10 ms, so what was said can be told
//! to the word: [`null_packet`] makes what a page says, [`null_words`] reads what it hears.
//!
//! ```
//! use smallrtc::{AudioFrame, ConnectionState, Event, Session};
//! use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_packet, null_words};
//! use std::time::{Duration, Instant};
//!
//! /// The bot: 100 ms of sound as a greeting, then whatever it hears.
//! fn parrot(event: Event, session: &mut Session, now: Instant) {
//!     match event {
//!         Event::StateChanged(ConnectionState::Connected) => {
//!             session.send_audio(AudioFrame::mono(&[500; 2_400], 24_000), now).expect("room");
//!         }
//!         Event::AudioReadable(track) => {
//!             let mut samples = [0; 5_760];
//!             while let Some(block) = session.recv_audio(track, &mut samples) {
//!                 let frame = AudioFrame::mono(&samples[..block.samples], block.rate);
//!                 session.send_audio(frame, now).expect("room");
//!             }
//!         }
//!         _ => {}
//!     }
//! }
//!
//! let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
//! pair.set_bot(|(), event: Event, session: &mut Session, now: Instant| {
//!     parrot(event, session, now);
//! });
//! pair.connect();
//! let now = pair.now();
//! pair.browser.speak(null_packet(&[700, 700]), now);
//! pair.drive_for(Duration::from_secs(2));
//!
//! let words = pair.browser_events().filter_map(|event| match event {
//!     BrowserEvent::Media { line: 0, data, .. } => null_words(data),
//!     _ => None,
//! });
//! let words: Vec<i16> = words.flatten().collect();
//! let (greeting, echo) = (|word: &&i16| **word == 500, |word: &&i16| **word == 700);
//! assert!((9..=10).contains(&words.iter().filter(greeting).count()), "{words:?}");
//! assert!(words.iter().filter(echo).count() > 100, "{words:?}");
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
//! addresses, time, the life cycle, that nothing spins ([`Checks`]). The books are kept of what
//! went in and came out of each call ([`Ledger`]); what a seated bot sends is not on them.
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
//! SMALLRTC_SEED=7 cargo test -p my-bot who_says_hello_hears_it_back
//! ```
//!
//! [`find`] gives the same as a value. The example `finds_a_bug` has a bot that works on every
//! good network and loses words on a bad one, the test that finds it, and the bot mended.

#![forbid(unsafe_code)]

mod bot;
mod browser;
mod checks;
mod client;
mod clock;
mod driver;
mod fate;
// For the fuzz targets and for tests beside this crate; it promises nothing to anybody else.
#[doc(hidden)]
pub mod fuzz;
mod ledger;
mod link;
mod lobby;
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
pub use client::{Client, ClientKind, ClientRequest, ClientState};
pub use driver::DriverConfig;
pub use ledger::{Ledger, Sound};
pub use link::{Link, LinkConfig, Packet};
pub use lobby::{Answered, Lobby};
pub use nat::{Nat, NatConfig, NatKind};
pub use pair::Pair;
pub use replays::recorded;
pub use seed::{Failure, cases, find, run, seeds, start};
pub use setup::{Setup, bot_address, bot_certificate, null_packet, null_words, tone};
pub use storm::storm;
pub use trace::{Trace, kind_of, repeat};
pub use watched::{Watched, WatchedCall};
// For the attribute of this crate's own tests.
#[doc(hidden)]
pub use witness::twice;
pub use world::{Outcome, World};
