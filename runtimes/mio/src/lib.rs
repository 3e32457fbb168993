//! The mio adapter of smallrtc: calls in a readiness loop, alone or nested in one's own.
//!
//! An [`App`] is the bot, or all of them: the driver calls it on its own thread, with the core at
//! hand. [`Driver::bind`] opens the sockets and gives the [`Driver`] and a [`Handle`], through
//! which other threads pass HTTP requests in and reach the calls. This is a bot that repeats what
//! it hears:
//!
//! ```no_run
//! use smallrtc::{AudioFrame, Config, Endpoint, Event, SessionId};
//! use smallrtc_mio::{App, Driver, Options};
//! use std::io::Read;
//! use std::time::Instant;
//!
//! struct Echo;
//!
//! impl App for Echo {
//!     fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
//!         let Event::AudioReadable(track) = event else { return };
//!         let Some(mut call) = core.session(id) else { return };
//!         let mut samples = [0; 320];
//!         while let Some(block) = call.recv_audio(track, &mut samples) {
//!             call.send_audio(AudioFrame::mono(&samples[..block.samples], block.rate), now).ok();
//!         }
//!     }
//! }
//!
//! let (driver, handle) = Driver::bind(Config::new(), Options::new(), Echo)?;
//! let http = tiny_http::Server::http("127.0.0.1:7860")?;
//! std::thread::spawn(move || {
//!     for mut request in http.incoming_requests() {
//!         let mut body = Vec::new();
//!         request.as_reader().take(128 * 1024).read_to_end(&mut body).ok();
//!         let answer = handle.request(request.method().as_str(), request.url(), &body);
//!         let response = tiny_http::Response::from_string(answer.body);
//!         request.respond(response.with_status_code(answer.status)).ok();
//!     }
//! });
//! driver.run()?;
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! # In a loop of one's own
//! A [`Driver`] is turned, too: [`Driver::register`] puts its sockets, its timer and what wakes it
//! into somebody else's `Poll`, [`Driver::on_ready`] takes the events that are its own, and
//! [`Driver::turn`] does a bounded piece of work and says whether it wants the next one without
//! waiting. A loop that ticks, and has no `Poll`, only takes turns. Beside [`Driver::timeout`]
//! there is nothing to remember; [`Driver`] shows the whole loop.
//!
//! The crate only waits and moves: every rule of a call is the core's, and all state that the two
//! share is in a [`Machine`], which knows neither clock nor socket and so runs in a simulation.
//!
//! # Limits
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | commands of handles on their way | [`COMMANDS_MAX`] | the caller waits; [`Handle::try_post`] is refused |
//! | body of a request | `BODY_LEN_MAX` of signalling | 413 |
//! | shards | `SHARDS_MAX` of smallrtc-udp | [`Driver::bind_shards`] refuses |
//! | datagrams of other shards that wait for one | `POSTS_MAX` of smallrtc-udp | the newest is lost, counted |
//! | datagrams of other shards in a turn | twice [`POSTS_BUDGET`] | the rest in the next turn |
//! | commands in a turn | [`COMMANDS_BUDGET`] | the rest in the next turn |
//! | requests in a turn | [`REQUESTS_BUDGET`] | as above |
//! | events in a turn | [`EVENTS_BUDGET`] | as above |
//! | datagrams received in a turn, of each socket | `RECEIVE_BUDGET` of smallrtc-udp | as above |
//! | datagrams sent in a turn | [`SEND_BUDGET`] | as above |
//! | datagrams that the kernel has no room for | `WAITING_MAX`, `WAITING_AGE_MAX` of smallrtc-udp | the oldest are lost, counted |
//!
//! Between core and application nothing is queued: what the application leaves in a session has the
//! session's own limits.
//!
//! # Threads
//! [`Driver::bind_shards`] divides the calls among several drivers, each with an endpoint, ports
//! and an application of its own, behind the one handle; [`run_shards`] gives each a thread. They
//! share nothing of what they do.
//!
//! # Precision
//! On Linux and Android deadlines are kept by a timer of nanoseconds; elsewhere the wait counts
//! milliseconds, rounded up. Each driver measures how late it was: [`HandleStats::lateness`].

#![forbid(unsafe_code)]

mod app;
mod bell;
mod crew;
mod driver;
mod exchange;
mod handle;
mod machine;
mod port;
mod timer;
mod wake;
mod watch;

pub use app::App;
pub use crew::run_shards;
pub use driver::{Driver, Turn};
pub use exchange::POSTS_BUDGET;
pub use handle::{COMMANDS_MAX, Handle, HandleStats, PostError};
pub use machine::{COMMANDS_BUDGET, EVENTS_BUDGET, Machine, REQUESTS_BUDGET, Step};
pub use smallrtc_udp::{Options, SEND_BUDGET};
