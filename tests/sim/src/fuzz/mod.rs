//! What the fuzz targets run. Each function takes any bytes, must neither panic nor run long, and
//! asserts what has to hold whatever the bytes are. `tests/fuzz.rs` runs them on the committed
//! corpora and on mutations of valid input.
//!
//! | target | what the bytes are |
//! | --- | --- |
//! | ogg, wav | how a file is cut into pieces, and the file |
//! | player | what is done with a file that is played, and the file |
//! | offer, signaling, log | the text, or the file, itself |
//! | candidate | an attribute, or lines of them for a session over the real engine |
//! | message | one message of the peer's data channel |
//! | datagram | datagrams of strangers and of the peer, into endpoints and sessions that live |
//! | reoffer | edits of an offer, made again and again on a call that runs |
//! | rtp | headers and payloads of media, with the null codec and with Opus |
//! | scripted | commands of the application, frames of the peer, and time |
//! | world | a network between two peers, and what both of them do |

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use smallrtc::{Config, Datagram, LocalCandidate, Offer, Seed, Session, TransportId};

mod datagram;
mod files;
mod message;
mod reoffer;
mod rtp;
mod script;
mod scripted;
mod subject;
mod text;
mod world;

pub use datagram::datagrams;
pub use files::{ogg, player, wav};
pub use message::message;
pub use reoffer::reoffer;
pub use rtp::rtp;
pub use scripted::scripted;
pub use text::{candidate, log, offer_text, signaling};
pub use world::world;

/// Takes the bytes of one run.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its corpus.
pub const TARGETS: [(&str, Target); 13] = [
    ("candidate", candidate),
    ("datagram", datagrams),
    ("log", log),
    ("message", message),
    ("offer", offer_text),
    ("ogg", ogg),
    ("player", player),
    ("reoffer", reoffer),
    ("rtp", rtp),
    ("scripted", scripted),
    ("signaling", signaling),
    ("wav", wav),
    ("world", world),
];

/// An offer as Chromium makes it: audio, a camera and a data channel.
pub const OFFER: &str = include_str!("../fixtures/offer.sdp");

/// Steps of a script in one run; more tell nothing new and slow the search.
const STEPS_MAX: usize = 256;

const HERE: ([u8; 4], u16) = ([192, 0, 2, 1], 7860);
const THERE: ([u8; 4], u16) = ([198, 51, 100, 7], 50_000);

fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    *ORIGIN.get_or_init(Instant::now)
}

fn local() -> LocalCandidate {
    LocalCandidate::host(TransportId(5), SocketAddr::from(HERE))
}

fn datagram_from(source: ([u8; 4], u16), payload: &[u8]) -> Datagram {
    let (source, here) = (SocketAddr::from(source), SocketAddr::from(HERE));
    Datagram::udp(TransportId(5), source, here, Bytes::copy_from_slice(payload))
}

fn offer() -> Offer {
    Offer::parse(OFFER).expect("the fixture is an offer")
}

/// A session over the real engine that has accepted the fixture and waits for its peer.
fn real_session(seed: u64) -> Session {
    let now = origin();
    let mut session = Session::new(config(false), Seed::from_number(seed), now);
    session.add_local_candidate(local(), now).expect("the first address is taken");
    session.accept_offer(&offer(), now).expect("the fixture is accepted");
    session
}

fn config(scripted: bool) -> Arc<Config> {
    Config::new().dangerous().scripted_transport(scripted).null_codec(true).done().shared()
}
