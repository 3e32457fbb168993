//! The bot's side of a browser call: a deterministic, poll-driven, sans-IO WebRTC session core.
//!
//! A [`Session`] is one call with one browser, an [`Endpoint`] is many of them behind shared
//! sockets, and [`signaling`] turns the HTTP requests of SmallWebRTC clients into calls. None of
//! them opens a socket, starts a thread, reads a clock or draws from the operating system's
//! randomness: datagrams and time are handed in, datagrams, events and deadlines are polled out.
//! The adapters `smallrtc-smol` and `smallrtc-udp` do the rest, or your own event loop.
//!
//! # The loop
//! 1. Wait for a datagram, but no longer than until `poll_timeout`.
//! 2. Feed it with `handle_datagram`, or let time pass with `handle_timeout`.
//! 3. Poll: `poll_event` until `None`, `poll_transmit` until `None`.
//!
//! The polls only pop. They may be called in any order, interleaved, as often as one likes; while
//! output is queued, `poll_timeout` is due at once, so nothing is forgotten.
//!
//! ```
//! use smallrtc::signaling::{Reply, Request, Signaling};
//! use smallrtc::{Config, Endpoint, LocalCandidate, Seed, TransportId};
//! use std::time::Instant;
//!
//! let now = Instant::now();
//! let mut endpoint = Endpoint::new(Config::new().shared(), Seed::from_number(1), now);
//! endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), "192.0.2.1:7860".parse()?));
//! let mut signaling = Signaling::new(Seed::from_number(2));
//!
//! // A request that cannot be answered says what is wrong, and leaves nothing behind.
//! let body = br#"{"type": "offer", "sdp": "hello"}"#;
//! let request = Request::new("POST", "/api/offer", body);
//! let Reply::Now(response) = signaling.handle(&mut endpoint, request, now) else { panic!() };
//! assert_eq!(response.status, 400);
//! assert!(response.body.contains("sdp"), "{}", response.body);
//! assert!(endpoint.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//! - The same build, configuration, [`Seed`] and inputs at the same instants give the same answers,
//!   events, deadlines and datagrams (time, kind, addresses).
//! - Every queue is bounded, with a policy at its limit and a counter in [`Stats`].
//! - Every session ends with exactly one [`Event::Closed`], its last event, within the time that
//!   its [`CloseReason`] names.
//! - What the network or signalling brings neither panics nor becomes an error of a datagram.
//!
//! A call can be written down while it goes on, and replayed: [`record`]. What Pipecat's clients
//! and bots say to each other is optional: [`rtvi`].
//!
//! # Features
//! `opus` (default): sound is coded and decoded, in pure Rust. Without it the core carries coded
//! frames only.
//!
//! `earshot`: [`Event::SpeechStarted`] and [`Event::SpeechStopped`] tell when the peer speaks.
//! Without it the same logs are read and replayed, by the scores that stand in them.

#![forbid(unsafe_code)]

mod audio;
mod candidate;
mod config;
mod datagram;
mod endpoint;
mod entropy;
mod error;
mod event;
pub mod figures;
pub mod media;
mod message;
mod offer;
pub mod record;
pub mod rtvi;
mod session;
pub mod signaling;
mod stats;
mod time;
mod transport;
mod ufrag;
mod video;

pub use audio::codec::{AudioCoder, AudioDecoder, AudioEncoder, DecoderSettings, EncoderSettings};
pub use audio::{AudioLevel, Redundancy, VoiceActivity};
pub use candidate::{LocalCandidate, RemoteCandidate, UdpCandidate};
pub use config::{AudioIdle, Config, DangerousConfig, DtlsVersions, FrameTime, PacketTime};
pub use datagram::{Datagram, Protocol, Transmit, TransportId};
pub use endpoint::{Endpoint, Routed, SessionGuard, SessionId};
pub use entropy::Seed;
pub use error::{CandidateError, ConfigError, NegotiateError, SendError};
pub use event::{
    AudioCleared, AudioId, AudioInfo, AudioOrigin, AudioParts, AudioProgress, ClearedPiece,
    CloseReason, ConnectionState, Delivery, Event, MediaKind, Source, Track, TrackId,
};
pub use media::frame::{AudioFrame, Codec, EncodedFrame};
pub use message::Message;
pub use offer::{Answer, Offer};
pub use session::Session;
pub use stats::{EndpointStats, Stats};
pub use time::Epoch;
pub use transport::Certificate;
pub use transport::scripted;
pub use ufrag::Ufrag;
