//! Many calls over the scripted transport: the whole endpoint, without cryptography.

mod lent;
mod life;
mod polls;
mod routing;
mod totals;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::TransportId;
use crate::scripted::{Chunk, Content, Frame, Media, encode, stun};

pub(crate) const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    a=mid:0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

const MS: Duration = Duration::from_millis(1);

/// A caller, as far as it is known to the network: its session, and what it sends checks with.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Caller {
    id: SessionId,
    ufrag: String,
    pwd: String,
}

impl Caller {
    fn check(&self) -> Vec<u8> {
        check(&self.ufrag, &self.pwd)
    }
}

struct Rig {
    endpoint: Endpoint,
    now: Instant,
}

#[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
fn start() -> Instant {
    Instant::now()
}

fn offer() -> Offer {
    Offer::parse(SDP).unwrap()
}

fn check(ufrag: &str, pwd: &str) -> Vec<u8> {
    stun::request([7; 12], ufrag, "page", pwd, true)
}

fn hello() -> Vec<u8> {
    encode(&[Frame::Hello])
}

fn local() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 7860))
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Config::new())
    }

    fn with(config: Config) -> Rig {
        let now = start();
        let config = config.dangerous().scripted_transport(true).done().shared();
        let mut endpoint = Endpoint::new(config, Seed::from_number(1), now);
        endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), local()));
        Rig { endpoint, now }
    }

    fn call(&mut self) -> Caller {
        self.try_call().unwrap()
    }

    fn try_call(&mut self) -> Result<Caller, NegotiateError> {
        let (id, answer) = self.endpoint.accept(&offer(), self.now)?;
        let value = |name: &str| {
            let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
            line.expect("answers have credentials").to_owned()
        };
        Ok(Caller { id, ufrag: value("a=ice-ufrag:"), pwd: value("a=ice-pwd:") })
    }

    /// A call whose peer is at this port and connected.
    fn connected(&mut self, port: u16) -> Caller {
        let caller = self.call();
        assert_eq!(self.send(port, caller.check()), Routed::Session(caller.id));
        assert_eq!(self.send(port, hello()), Routed::Session(caller.id));
        assert_eq!(self.state(&caller), Some(ConnectionState::Connected));
        caller
    }

    fn state(&mut self, caller: &Caller) -> Option<ConnectionState> {
        self.endpoint.session(caller.id).map(|session| session.state())
    }

    fn send(&mut self, port: u16, payload: impl Into<Bytes>) -> Routed {
        let source = SocketAddr::from(([192, 0, 2, 1], port));
        let datagram = Datagram::udp(TransportId(0), source, local(), payload.into());
        self.endpoint.handle_datagram(datagram, self.now)
    }

    /// Polls every datagram; the ports that they are for.
    fn ports_sent_to(&mut self) -> Vec<u16> {
        let transmits = std::iter::from_fn(|| self.endpoint.poll_transmit());
        transmits.map(|transmit| transmit.destination.port()).collect()
    }

    /// Polls everything there is; the events.
    fn drain(&mut self) -> Vec<(SessionId, Event)> {
        while self.endpoint.poll_transmit().is_some() {}
        let events = std::iter::from_fn(|| self.endpoint.poll_event()).collect();
        while self.endpoint.poll_transmit().is_some() {}
        events
    }

    /// Ends a call without leaving anything to be polled.
    fn hang_up(&mut self, caller: &Caller) {
        self.endpoint.session(caller.id).unwrap().close(self.now);
        self.drain();
        assert_eq!(self.state(caller), None);
    }

    fn assert_nothing_is_left(&mut self) {
        assert!(self.endpoint.is_empty());
        assert_eq!(self.endpoint.session_ids(), []);
        assert_eq!(self.endpoint.calls.len(), 0);
        assert_eq!(self.endpoint.demux.len(), 0);
        assert_eq!((self.endpoint.half_open, self.endpoint.gone), (0, 0));
        assert_eq!(self.endpoint.poll_timeout(), None);
        assert!(self.drain().is_empty());
    }
}
