//! What crosses the line between the core and a socket.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

/// Names one local transport: today a UDP socket, later also a TURN allocation or a TCP
/// connection. The number is the caller's own and means nothing to the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransportId(pub u32);

impl fmt::Display for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transport {}", self.0)
    }
}

/// The protocol that carried, or is to carry, a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
// What tells an `Option<Transmit>` from `None` is then kept here. It would be kept in the address,
// whose two parts were written one by one and then copied as one: the processor waits until both
// are through (measured: a fiftieth of a simulated call's time).
#[repr(u32)]
pub enum Protocol {
    /// One UDP datagram.
    #[default]
    Udp,
}

/// A datagram that a socket received.
///
/// `destination` must be the local address that the packet was sent to, not the wildcard that
/// the socket is bound to: ICE matches it against the local candidates (RFC 8445 section 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// The local transport that received it.
    pub transport: TransportId,
    /// The protocol that carried it.
    pub proto: Protocol,
    /// The peer's address, as seen here.
    pub source: SocketAddr,
    /// The local address that the packet was sent to.
    pub destination: SocketAddr,
    /// The bytes of the datagram.
    pub payload: Bytes,
}

impl Datagram {
    /// A UDP datagram.
    #[must_use]
    pub fn udp(
        transport: TransportId,
        source: SocketAddr,
        destination: SocketAddr,
        payload: Bytes,
    ) -> Datagram {
        Datagram { transport, proto: Protocol::Udp, source, destination, payload }
    }
}

/// A datagram that is to be sent. A send that fails is packet loss, not an error of the session.
#[must_use = "a transmit that is dropped is a lost packet"]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// The local transport to send it through.
    pub transport: TransportId,
    /// The protocol to send it with.
    pub proto: Protocol,
    /// The local address to send from; it is one of the local candidates' base addresses.
    pub source: SocketAddr,
    /// The peer's address.
    pub destination: SocketAddr,
    /// The bytes to send, at most `Config::mtu` of them.
    pub payload: Bytes,
}

impl Transmit {
    /// A UDP datagram to send.
    pub fn udp(
        transport: TransportId,
        source: SocketAddr,
        destination: SocketAddr,
        payload: Bytes,
    ) -> Transmit {
        Transmit { transport, proto: Protocol::Udp, source, destination, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_and_a_transmit_keep_which_end_is_which() {
        let [here, there] = [7860, 50_000].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let (transport, payload) = (TransportId(3), Bytes::from_static(b"bytes"));
        let came = Datagram::udp(transport, there, here, payload.clone());
        assert_eq!((came.source, came.destination), (there, here));
        let goes = Transmit::udp(transport, here, there, payload.clone());
        assert_eq!((goes.source, goes.destination), (here, there));
        assert_eq!((came.transport, goes.transport), (transport, transport));
        assert_eq!((came.proto, goes.proto), (Protocol::Udp, Protocol::Udp));
        assert_eq!((came.payload, goes.payload), (payload.clone(), payload));
        assert_eq!(transport.to_string(), "transport 3");
    }
}
