//! One UDP socket.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Add;
use std::sync::Arc;
use std::time::Instant;

use quinn_udp::{UdpSockRef, UdpSocketState};
use smallrtc::{Datagram, LocalCandidate, Transmit, TransportId};
use tracing::debug;

use crate::candidates::{Bound, dual_stack, preferred_ipv4};
use crate::receive::{Batch, Piece};
use crate::waiting::{Attempt, Waiting};

/// How many datagrams a driver should take from one socket before it turns to its other work:
/// four full batches, about a millisecond of it.
pub const RECEIVE_BUDGET: usize = 128;

/// What the kernel is asked to keep for us: 1 MiB each way holds 20 ms of audio from 5,000 calls,
/// and keeps one neighbour that does not answer ARP, for which Linux holds back up to 208 KiB
/// (`unres_qlen_bytes`), from filling the buffer that all destinations share. The system may give
/// less (`net.core.rmem_max`, `wmem_max`); that is no error.
const KERNEL_BUFFER_LEN: usize = 1024 * 1024;

/// After how many errors in a row, without a datagram between them, a socket counts as broken.
/// Single ones are passing: memory was short, or a reset was reported that belongs to a peer.
const RECEIVE_ERRORS_MAX: u32 = 16;

/// What a socket counted since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams received.
    pub received: u64,
    /// Errors of the system while receiving.
    pub receive_errors: u64,
    /// Datagrams handed to the kernel.
    pub sent: u64,
    /// Datagrams that the kernel refused, other than for want of room: lost.
    pub send_errors: u64,
    /// How often a datagram had to wait for room.
    pub send_waits: u64,
    /// Datagrams lost because too many waited (`WAITING_MAX`).
    pub waiting_overflowed: u64,
    /// Datagrams lost because they waited too long (`WAITING_AGE_MAX`).
    pub waiting_expired: u64,
}

impl Add for SocketStats {
    type Output = SocketStats;

    /// The figures of two sockets together.
    fn add(self, other: SocketStats) -> SocketStats {
        SocketStats {
            received: self.received + other.received,
            receive_errors: self.receive_errors + other.receive_errors,
            sent: self.sent + other.sent,
            send_errors: self.send_errors + other.send_errors,
            send_waits: self.send_waits + other.send_waits,
            waiting_overflowed: self.waiting_overflowed + other.waiting_overflowed,
            waiting_expired: self.waiting_expired + other.waiting_expired,
        }
    }
}

/// A bound UDP socket that never blocks.
///
/// ```
/// use smallrtc::{Transmit, TransportId};
/// use smallrtc_udp::Socket;
/// use std::time::Instant;
///
/// let mut socket = Socket::bind(TransportId(0), "127.0.0.1:0".parse()?)?;
/// let own = socket.local_address();
/// socket.send(Transmit::udp(TransportId(0), own, own, "hello".into()), Instant::now());
/// let datagram = loop {
///     // A driver waits here until `socket.io()` is readable.
///     if let Some(datagram) = socket.receive()? {
///         break datagram;
///     }
/// };
/// assert_eq!((datagram.source, datagram.destination), (own, own));
/// assert_eq!(datagram.payload, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Socket {
    io: Arc<UdpSocket>,
    state: UdpSocketState,
    bound: Bound,
    batch: Batch,
    errors_in_a_row: u32,
    waiting: Waiting,
    stats: SocketStats,
}

impl Socket {
    /// Binds a socket that the core is to know as `transport`. Port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says: the address is in use, or not this machine's.
    pub fn bind(transport: TransportId, address: SocketAddr) -> io::Result<Socket> {
        let io = UdpSocket::bind(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&io))?;
        for resized in [
            state.set_recv_buffer_size(UdpSockRef::from(&io), KERNEL_BUFFER_LEN),
            state.set_send_buffer_size(UdpSockRef::from(&io), KERNEL_BUFFER_LEN),
        ] {
            if let Err(error) = resized {
                debug!(%error, "the kernel's buffer keeps its size");
            }
        }
        let address = io.local_addr()?;
        let wildcard_v6 = address.is_ipv6() && address.ip().is_unspecified();
        let bound = Bound {
            transport,
            address,
            dual_stack: wildcard_v6 && dual_stack(),
            preferred: preferred_ipv4(),
        };
        Ok(Socket {
            io: Arc::new(io),
            state,
            bound,
            batch: Batch::new(),
            errors_in_a_row: 0,
            waiting: Waiting::default(),
            stats: SocketStats::default(),
        })
    }

    /// The socket itself, to wait on: until it is readable, and while [`Socket::is_blocked`] until
    /// it is writable.
    #[must_use]
    pub fn io(&self) -> Arc<UdpSocket> {
        Arc::clone(&self.io)
    }

    /// The name that the core knows it by.
    #[must_use]
    pub fn transport(&self) -> TransportId {
        self.bound.transport
    }

    /// What it is bound to; the port is never 0.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.bound.address
    }

    /// The addresses that peers may send to, at most [`CANDIDATES_MAX`](crate::CANDIDATES_MAX).
    ///
    /// `interfaces` are the machine's addresses, as
    /// [`interface_addresses`](crate::interface_addresses) lists them; a socket on a wildcard
    /// address gives those of its family, without link-local ones, and loopback only when nothing
    /// else is there. `advertise` are addresses that a 1:1 NAT maps to
    /// this machine: each is told to peers before the local ones. One that is the machine's own is
    /// given as it is, loopback too.
    #[must_use]
    pub fn candidates(&self, interfaces: &[IpAddr], advertise: &[IpAddr]) -> Vec<LocalCandidate> {
        self.bound.candidates(interfaces, advertise)
    }

    /// The next datagram; `None` when there is none now: wait until readable. One that was sent to
    /// a wildcard bind carries the address it was really sent to.
    ///
    /// Takes no more than [`RECEIVE_BUDGET`] in one turn, if the caller counts.
    ///
    /// # Errors
    /// The socket is broken: the system gave an error many times in a row. No peer can cause that.
    pub fn receive(&mut self) -> io::Result<Option<Datagram>> {
        if let Some(piece) = self.batch.pop() {
            return Ok(Some(self.datagram(piece)));
        }
        match self.batch.fill(&self.state, UdpSockRef::from(&*self.io)) {
            Ok(()) => self.errors_in_a_row = 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.errors_in_a_row = 0,
            Err(error) => {
                self.stats.receive_errors += 1;
                self.errors_in_a_row += 1;
                if self.errors_in_a_row > RECEIVE_ERRORS_MAX {
                    return Err(error);
                }
                debug!(%error, transport = %self.bound.transport, "receive");
            }
        }
        Ok(self.batch.pop().map(|piece| self.datagram(piece)))
    }

    /// Sends a datagram, or lets it wait behind those that wait. What cannot be sent is lost, as
    /// on any network, and counted. `now` only ages what waits.
    pub fn send(&mut self, transmit: Transmit, now: Instant) {
        debug_assert_eq!(transmit.transport, self.bound.transport, "sent through another socket");
        let mut kernel = Kernel { io: &self.io, state: &self.state, stats: &mut self.stats };
        let local = self.bound.address;
        self.waiting.send(transmit, now, |transmit| kernel.attempt(local, transmit));
    }

    /// Sends what waits, in order, as far as there is room; to be called when the socket became
    /// writable. What waited too long is lost.
    pub fn flush(&mut self, now: Instant) {
        let mut kernel = Kernel { io: &self.io, state: &self.state, stats: &mut self.stats };
        let local = self.bound.address;
        self.waiting.flush(now, |transmit| kernel.attempt(local, transmit));
    }

    /// Whether datagrams wait for room: wait until writable, then [`Socket::flush`].
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        SocketStats {
            send_waits: self.waiting.waits(),
            waiting_overflowed: self.waiting.overflowed(),
            waiting_expired: self.waiting.expired(),
            ..self.stats
        }
    }

    fn datagram(&mut self, piece: Piece) -> Datagram {
        self.stats.received += 1;
        let local = self.bound.address;
        let ip = piece.destination.unwrap_or(local.ip()).to_canonical();
        let source = SocketAddr::new(piece.source.ip().to_canonical(), piece.source.port());
        let destination = SocketAddr::new(ip, local.port());
        Datagram::udp(self.bound.transport, source, destination, piece.payload)
    }
}

/// The parts of a socket that sending needs.
struct Kernel<'a> {
    io: &'a UdpSocket,
    state: &'a UdpSocketState,
    stats: &'a mut SocketStats,
}

impl Kernel<'_> {
    fn attempt(&mut self, local: SocketAddr, transmit: &Transmit) -> Attempt {
        let outgoing = quinn_udp::Transmit {
            destination: on_the_wire(local, transmit.destination),
            ecn: None,
            contents: &transmit.payload,
            segment_size: None,
            src_ip: local.ip().is_unspecified().then(|| transmit.source.ip()),
        };
        match self.state.try_send(UdpSockRef::from(self.io), &outgoing) {
            Ok(()) => self.stats.sent += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Attempt::NoRoom,
            // No route, no such source any more, a firewall, too long: to the peer it is loss, and
            // ICE finds out whether another path is better.
            Err(_) => self.stats.send_errors += 1,
        }
        Attempt::Over
    }
}

/// A socket on `::` takes IPv4 addresses in their mapped form only.
fn on_the_wire(local: SocketAddr, destination: SocketAddr) -> SocketAddr {
    match (local, destination.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => {
            SocketAddr::new(ip.to_ipv6_mapped().into(), destination.port())
        }
        _ => destination,
    }
}
