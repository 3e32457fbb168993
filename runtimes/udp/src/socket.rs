//! One UDP socket.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use quinn_udp::{UdpSockRef, UdpSocketState};
use smallrtc::{Datagram, LocalCandidate, Transmit, TransportId};
use tracing::debug;

use crate::candidates::{Bound, dual_stack, preferred_ipv4};
use crate::outgoing::{Attempt, Kernel, Outgoing};
use crate::receive::{Batch, Piece};
use crate::run::{RUN_SEGMENTS_MAX, Run};
use crate::strangers::Strangers;

/// How many datagrams a driver should take from one socket before it turns to its other work:
/// four full batches, about a millisecond of it.
pub const RECEIVE_BUDGET: usize = 128;

/// How many datagrams [`send_all`] sends in one turn. What a turn makes is bounded by the budgets
/// of what it takes in and of the calls that are due, but a thousand calls that are due at once are
/// more than sockets and other work should wait for.
pub const SEND_BUDGET: usize = 512;

/// What the kernel is asked to keep for us: 1 MiB each way holds 20 ms of audio from 5,000 calls.
/// All destinations share it: Linux holds back up to 208 KiB (`unres_qlen_bytes`) for a neighbour
/// that does not answer ARP, so that with what systems allow by default (416 KiB of its counting)
/// one that is flooded does not fill it, and three do. Callers that nobody ever heard from are held
/// back before (`STRANGERS_BURST`). The system may give less (`net.core.rmem_max`, `wmem_max`);
/// that is no error.
const KERNEL_BUFFER_LEN: usize = 1024 * 1024;

/// After how many errors in a row, without a datagram between them, a socket counts as broken.
/// Single ones are passing: memory was short.
const RECEIVE_ERRORS_MAX: u32 = 16;

smallrtc::figures! {
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
        /// System calls in which that was tried: fewer than datagrams, where many were alike.
        pub sends: u64,
        /// Datagrams that the kernel refused, other than for want of room: lost.
        pub send_errors: u64,
        /// How often a datagram had to wait for room.
        pub send_waits: u64,
        /// Datagrams lost because too many waited (`WAITING_MAX`).
        pub waiting_overflowed: u64,
        /// Datagrams lost because they waited too long (`WAITING_AGE_MAX`).
        pub waiting_expired: u64,
        /// Datagrams to addresses that were never heard from, lost because there were too many of
        /// them (`STRANGERS_BURST`).
        pub strangers_refused: u64,
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
    errors: Errors,
    outgoing: Outgoing,
    strangers: Strangers,
    joins: Joins,
    stats: SocketStats,
}

impl Socket {
    /// Binds a socket that the core is to know as `transport`. Port 0 takes a free one.
    ///
    /// # Errors
    /// What the operating system says: the address is in use, or not this machine's.
    pub fn bind(transport: TransportId, address: SocketAddr) -> io::Result<Socket> {
        let io = UdpSocket::bind(address)?;
        Socket::adopt(transport, io)
    }

    /// Takes a socket that is bound already, by a supervisor, say. It never blocks from now on.
    ///
    /// # Errors
    /// What the operating system says: it is no UDP socket.
    pub fn adopt(transport: TransportId, io: UdpSocket) -> io::Result<Socket> {
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
        let joins = Joins {
            segments_max: state.max_gso_segments().min(RUN_SEGMENTS_MAX),
            is_in_doubt: false,
        };
        Ok(Socket {
            io: Arc::new(io),
            state,
            bound,
            batch: Batch::new(),
            errors: Errors::default(),
            outgoing: Outgoing::default(),
            strangers: Strangers::new(),
            joins,
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

    /// The next datagram; `None` when there is really none: wait until readable. One that was
    /// sent to a wildcard bind carries the address it was really sent to.
    ///
    /// Takes no more than [`RECEIVE_BUDGET`] in one turn, if the caller counts.
    ///
    /// # Errors
    /// The socket is broken: the system gave an error many times in a row. No peer can cause that.
    pub fn receive(&mut self) -> io::Result<Option<Datagram>> {
        // An error says nothing of what lies behind it. Who is told of changes only is told of that
        // no second time, so it is read on until there is really nothing.
        for _ in 0..=RECEIVE_ERRORS_MAX {
            if !self.batch.is_empty() {
                break;
            }
            match self.batch.fill(&self.state, UdpSockRef::from(&*self.io)) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    self.errors.take(error)?;
                }
                filled => {
                    self.errors.in_a_row = 0;
                    if filled.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(self.batch.pop().map(|piece| self.datagram(piece)))
    }

    /// Sends a datagram, or lets it wait behind those that wait. What cannot be sent is lost, as
    /// on any network, and counted. `now` only ages what waits.
    ///
    /// A driver sends with [`send_all`], which takes fewer system calls.
    pub fn send(&mut self, transmit: Transmit, now: Instant) {
        self.gather(transmit, now);
        let (outgoing, mut kernel) = self.outgoing();
        outgoing.send(now, &mut kernel);
    }

    /// Sends what waits, in order, as far as there is room; to be called when the socket became
    /// writable. What waited too long is lost.
    pub fn flush(&mut self, now: Instant) {
        let (outgoing, mut kernel) = self.outgoing();
        outgoing.flush(now, &mut kernel);
    }

    /// Whether datagrams wait for room: wait until writable, then [`Socket::flush`].
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.outgoing.is_blocked()
    }

    /// The figures.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        SocketStats {
            receive_errors: self.errors.total,
            send_waits: self.outgoing.waits(),
            waiting_overflowed: self.outgoing.overflowed(),
            waiting_expired: self.outgoing.expired(),
            strangers_refused: self.strangers.refused(),
            ..self.stats
        }
    }

    fn gather(&mut self, transmit: Transmit, now: Instant) {
        debug_assert_eq!(transmit.transport, self.bound.transport, "sent through another socket");
        if self.strangers.admit(transmit.destination, now) {
            let (outgoing, mut kernel) = self.outgoing();
            outgoing.push(transmit, now, &mut kernel);
        }
    }

    fn outgoing(&mut self) -> (&mut Outgoing, System<'_>) {
        let Socket { io, state, outgoing, joins, stats, .. } = self;
        (outgoing, System { io, state, local: self.bound.address, joins, stats })
    }

    fn datagram(&mut self, piece: Piece) -> Datagram {
        self.stats.received += 1;
        let local = self.bound.address;
        let ip = piece.destination.unwrap_or(local.ip()).to_canonical();
        let source = SocketAddr::new(piece.source.ip().to_canonical(), piece.source.port());
        let destination = SocketAddr::new(ip, local.port());
        self.strangers.hear(source);
        Datagram::udp(self.bound.transport, source, destination, piece.payload)
    }
}

/// The errors of receiving.
#[derive(Debug, Default)]
struct Errors {
    in_a_row: u32,
    total: u64,
}

impl Errors {
    /// Counts one; gives it back when there were too many in a row.
    fn take(&mut self, error: io::Error) -> io::Result<()> {
        self.total += 1;
        debug!(%error, "receive");
        // Windows tells a socket that it receives from of every datagram that met a closed port:
        // any number of them is a peer's doing, and says nothing of the socket.
        let of_a_peer = [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
        ];
        if !of_a_peer.contains(&error.kind()) {
            self.in_a_row += 1;
        }
        if self.in_a_row > RECEIVE_ERRORS_MAX { Err(error) } else { Ok(()) }
    }
}

impl AsMut<Socket> for Socket {
    fn as_mut(&mut self) -> &mut Socket {
        self
    }
}

/// Whether all was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a driver that has more to send is to go on without waiting"]
#[non_exhaustive]
pub enum Sent {
    /// There is no more.
    All,
    /// The budget was used up.
    More,
}

/// Sends what `poll` gives, each datagram through the socket that it names, until there is no more
/// or the budget of a turn ([`SEND_BUDGET`]) is used up.
///
/// What waited for room goes first. Neighbours that are alike leave in one system call where the
/// system can do that: what a socket sends keeps its order, and nothing stays behind but what waits
/// for room.
///
/// ```
/// use smallrtc::{Transmit, TransportId};
/// use smallrtc_udp::{Sent, Socket, send_all};
/// use std::time::Instant;
///
/// let mut sockets = [Socket::bind(TransportId(0), "127.0.0.1:0".parse()?)?];
/// let own = sockets[0].local_address();
/// // In a driver this is what `Endpoint::poll_transmit` gives.
/// let mut frame = (0..9).map(|_| Transmit::udp(TransportId(0), own, own, "pixels".into()));
/// assert_eq!(send_all(&mut sockets, Instant::now(), || frame.next()), Sent::All);
/// assert_eq!(sockets[0].stats().sent, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn send_all<S: AsMut<Socket>>(
    sockets: &mut [S],
    now: Instant,
    mut poll: impl FnMut() -> Option<Transmit>,
) -> Sent {
    let mut sent = Sent::More;
    for _ in 0..SEND_BUDGET {
        let Some(transmit) = poll() else {
            sent = Sent::All;
            break;
        };
        let mut all = sockets.iter_mut().map(AsMut::as_mut);
        let socket = all.find(|socket| socket.transport() == transmit.transport);
        debug_assert!(socket.is_some(), "the core sends through what it was told of");
        if let Some(socket) = socket {
            socket.gather(transmit, now);
        }
    }
    for socket in sockets {
        // One that is blocked, too: Linux tells of room only when half the buffer is free, which a
        // neighbour that does not answer can prevent for seconds.
        socket.as_mut().flush(now);
    }
    sent
}

/// Whether the system takes runs.
///
/// quinn-udp's own figure falls for good with any datagram that the system calls invalid, and an
/// address that is invalid is a peer's doing. So a run that was refused only counts against runs
/// when its first datagram alone is taken.
#[derive(Debug)]
struct Joins {
    segments_max: usize,
    /// The last run was refused, and no datagram was offered since.
    is_in_doubt: bool,
}

impl Joins {
    fn note_taken(&mut self) {
        if std::mem::take(&mut self.is_in_doubt) {
            debug!("the system takes no runs: each datagram by itself from now on");
            self.segments_max = 1;
        }
    }

    fn note_refused(&mut self, run: &Run<'_>, error: &io::Error) {
        /// `EIO`, for which the standard library has no name.
        const IO_ERROR: Option<i32> = Some(5);
        let may_be_for_joining =
            error.kind() == io::ErrorKind::InvalidInput || error.raw_os_error() == IO_ERROR;
        self.is_in_doubt = run.segments > 1 && may_be_for_joining;
    }
}

/// The parts of a socket that sending needs.
struct System<'a> {
    io: &'a UdpSocket,
    state: &'a UdpSocketState,
    local: SocketAddr,
    joins: &'a mut Joins,
    stats: &'a mut SocketStats,
}

impl Kernel for System<'_> {
    fn segments_max(&self) -> usize {
        self.joins.segments_max
    }

    fn attempt(&mut self, run: Run<'_>) -> Attempt {
        let outgoing = quinn_udp::Transmit {
            destination: on_the_wire(self.local, run.destination),
            ecn: None,
            contents: run.contents,
            segment_size: (run.segments > 1).then_some(run.segment_len),
            src_ip: self.local.ip().is_unspecified().then(|| run.source.ip()),
        };
        self.stats.sends += 1;
        match self.state.try_send(UdpSockRef::from(self.io), &outgoing) {
            Ok(()) => {
                self.joins.note_taken();
                self.stats.sent += run.segments as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Attempt::NoRoom,
            Err(error) => {
                self.joins.note_refused(&run, &error);
                // An interface may not cut up what the kernel would.
                if run.segments > 1 {
                    return Attempt::NotJoined;
                }
                // No route, no such source any more, a firewall, too long: to the peer it is loss,
                // and ICE finds out whether another path is better.
                self.stats.send_errors += 1;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_broken_one_error_past_the_limit() {
        let mut errors = Errors::default();
        for _ in 0..RECEIVE_ERRORS_MAX {
            errors.take(io::ErrorKind::OutOfMemory.into()).expect("a passing error");
        }
        let broken = errors.take(io::ErrorKind::OutOfMemory.into()).unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::OutOfMemory);
        assert_eq!(errors.total, u64::from(RECEIVE_ERRORS_MAX) + 1);
    }

    fn run(segments: usize) -> Run<'static> {
        let here = SocketAddr::from(([127, 0, 0, 1], 9));
        let contents = &[7; 64][..segments];
        Run { source: here, destination: here, contents, segments, segment_len: 1 }
    }

    #[test]
    fn a_run_that_is_refused_and_whose_first_is_taken_is_the_last_run() {
        let errors =
            [io::Error::from(io::ErrorKind::InvalidInput), io::Error::from_raw_os_error(5)];
        for error in errors {
            let mut joins = Joins { segments_max: 64, is_in_doubt: false };
            joins.note_taken();
            joins.note_refused(&run(9), &error);
            assert_eq!(joins.segments_max, 64, "not yet");
            joins.note_taken();
            assert_eq!(joins.segments_max, 1);
        }
    }

    #[test]
    fn a_run_counts_for_runs_when_its_first_is_refused_too_or_the_error_is_another() {
        let invalid = io::Error::from(io::ErrorKind::InvalidInput);
        let mut joins = Joins { segments_max: 64, is_in_doubt: false };
        joins.note_refused(&run(9), &invalid);
        joins.note_refused(&run(1), &invalid);
        joins.note_taken();
        joins.note_refused(&run(9), &io::ErrorKind::PermissionDenied.into());
        joins.note_taken();
        assert_eq!(joins.segments_max, 64);
    }

    #[test]
    fn no_number_of_closed_ports_breaks_a_socket() {
        let mut errors = Errors::default();
        for _ in 0..10_000 {
            errors.take(io::ErrorKind::ConnectionReset.into()).expect("a peer's error");
        }
        assert_eq!((errors.total, errors.in_a_row), (10_000, 0));
    }
}
