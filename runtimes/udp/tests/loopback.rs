//! Real sockets on loopback addresses. Each wait ends when the datagram is there or, at the
//! latest, after [`PATIENCE`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{Datagram, Transmit, TransportId};
use smallrtc_udp::{
    RUN_LEN_MAX, RUN_SEGMENTS_MAX, SEND_BUDGET, STRANGERS_BURST, Sent, Socket, interface_addresses,
    send_all,
};

const PATIENCE: Duration = Duration::from_secs(5);
const TRANSPORT: TransportId = TransportId(0);

/// Waits for a datagram without a reactor: a second handle of the socket peeks, with a timeout.
fn receive(socket: &mut Socket) -> Datagram {
    if let Some(datagram) = socket.receive().unwrap() {
        return datagram;
    }
    let io = socket.io();
    io.set_nonblocking(false).unwrap();
    io.set_read_timeout(Some(PATIENCE)).unwrap();
    io.peek_from(&mut [0; 1]).expect("a datagram in time");
    io.set_nonblocking(true).unwrap();
    socket.receive().unwrap().expect("the datagram that was peeked at")
}

fn peer() -> UdpSocket {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

fn transmit(source: SocketAddr, destination: SocketAddr, payload: &'static str) -> Transmit {
    Transmit::udp(TRANSPORT, source, destination, Bytes::from_static(payload.as_bytes()))
}

#[test]
fn a_wildcard_bind_tells_where_a_datagram_was_sent_to_and_answers_from_there() {
    let mut socket = Socket::bind(TRANSPORT, at("0.0.0.0", 0)).unwrap();
    let port = socket.local_address().port();
    let peer = peer();
    for ip in ["127.0.0.1", "127.0.0.7"] {
        peer.send_to(b"hello", at(ip, port)).unwrap();
        let datagram = receive(&mut socket);
        assert_eq!(datagram.destination, at(ip, port));
        assert_eq!(datagram.source, peer.local_addr().unwrap());
        assert_eq!(datagram.transport, TRANSPORT);

        socket.send(transmit(at(ip, port), datagram.source, "answer"), Instant::now());
        let mut buffer = [0; 64];
        let (len, source) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source), (&b"answer"[..], at(ip, port)));
    }
}

#[test]
fn a_dual_stack_socket_shows_ipv4_addresses_as_such() {
    let mut socket = match Socket::bind(TRANSPORT, "[::]:0".parse().unwrap()) {
        Ok(socket) => socket,
        // A machine without IPv6 has no such socket.
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => return,
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        Err(error) => panic!("{error}"),
    };
    let port = socket.local_address().port();
    let peer = peer();
    peer.send_to(b"hello", at("127.0.0.7", port)).unwrap();
    let datagram = receive(&mut socket);
    assert_eq!(datagram.destination, at("127.0.0.7", port));
    assert_eq!(datagram.source, peer.local_addr().unwrap());
    socket.send(transmit(datagram.destination, datagram.source, "answer"), Instant::now());
    let (_, source) = peer.recv_from(&mut [0; 64]).unwrap();
    assert_eq!(source, at("127.0.0.7", port));
}

#[test]
fn a_burst_is_received_in_order_and_a_joined_run_is_split() {
    let mut socket = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let peer = peer();
    let state = quinn_udp::UdpSocketState::new((&peer).into()).unwrap();
    // Where the system can, it sends ten datagrams as one run, and gives them to us as one.
    let run = state.max_gso_segments().min(10);
    let contents: Vec<u8> = (0..run * 100).map(|index| (index / 100) as u8).collect();
    let outgoing = quinn_udp::Transmit {
        destination: socket.local_address(),
        ecn: None,
        contents: &contents,
        segment_size: Some(100),
        src_ip: None,
    };
    state.try_send((&peer).into(), &outgoing).unwrap();
    for number in run..100 {
        peer.send_to(&[number as u8; 100], socket.local_address()).unwrap();
    }
    for number in 0..100 {
        assert_eq!(receive(&mut socket).payload, &[number; 100][..]);
    }
    assert_eq!(socket.receive().unwrap(), None);
    assert_eq!(socket.stats().received, 100);
}

/// Lets a socket hear from an address, so that it may send there as much as it wants.
fn introduce(socket: &mut Socket, other: &mut Socket) {
    let (own, its) = (other.local_address(), socket.local_address());
    other.send(transmit(own, its, "hello"), Instant::now());
    assert_eq!(receive(socket).source, own);
}

/// Datagrams of one length with these numbers, from a source to a destination.
fn numbered(
    numbers: std::ops::Range<u16>,
    source: SocketAddr,
    destination: SocketAddr,
) -> impl Iterator<Item = Transmit> {
    numbers.map(move |number| {
        let mut payload = vec![0; 1200];
        payload[..2].copy_from_slice(&number.to_be_bytes());
        Transmit::udp(TRANSPORT, source, destination, payload.into())
    })
}

fn number(datagram: &Datagram) -> u16 {
    u16::from_be_bytes([datagram.payload[0], datagram.payload[1]])
}

/// How many datagrams one system call carries here.
fn segments_max() -> u64 {
    let state = quinn_udp::UdpSocketState::new((&peer()).into()).unwrap();
    state.max_gso_segments().min(RUN_SEGMENTS_MAX) as u64
}

#[test]
fn datagrams_that_are_alike_leave_in_few_calls_and_arrive_in_order() {
    let mut sockets = [Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap()];
    let mut receiver = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    introduce(&mut sockets[0], &mut receiver);
    let [source, destination] = [sockets[0].local_address(), receiver.local_address()];
    let mut frame = numbered(0..130, source, destination);
    assert_eq!(send_all(&mut sockets, Instant::now(), || frame.next()), Sent::All);
    let stats = sockets[0].stats();
    let run = segments_max().min((RUN_LEN_MAX / 1200) as u64);
    assert_eq!((stats.sent, stats.sends), (130, 130_u64.div_ceil(run)));
    for expected in 0..130 {
        let datagram = receive(&mut receiver);
        assert_eq!((number(&datagram), datagram.payload.len()), (expected, 1200));
    }
    assert_eq!(receiver.receive().unwrap(), None);
}

#[test]
fn a_turn_sends_as_much_as_its_budget_and_says_that_there_is_more() {
    let mut sockets = [Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap()];
    let mut receiver = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    introduce(&mut sockets[0], &mut receiver);
    let (own, other) = (sockets[0].local_address(), receiver.local_address());
    let budget = u16::try_from(SEND_BUDGET).unwrap();
    let mut transmits = numbered(0..budget, own, other);
    // Only by asking once more is it known that there is no more.
    assert_eq!(send_all(&mut sockets, Instant::now(), || transmits.next()), Sent::More);
    assert_eq!(sockets[0].stats().sent, u64::from(budget));
    assert_eq!(send_all(&mut sockets, Instant::now(), || transmits.next()), Sent::All);
    let mut transmits = numbered(0..budget + 1, own, other);
    assert_eq!(send_all(&mut sockets, Instant::now(), || transmits.next()), Sent::More);
    assert_eq!(number_of_the_next(transmits), Some(budget));
}

fn number_of_the_next(mut transmits: impl Iterator<Item = Transmit>) -> Option<u16> {
    transmits.next().map(|next| u16::from_be_bytes([next.payload[0], next.payload[1]]))
}

#[test]
fn each_of_several_sockets_sends_what_is_its_own() {
    let one = Socket::bind(TransportId(1), at("127.0.0.1", 0)).unwrap();
    let two = Socket::bind(TransportId(2), at("127.0.0.1", 0)).unwrap();
    let mut receiver = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let destination = receiver.local_address();
    let mut sockets = [one, two];
    let sources = [sockets[0].local_address(), sockets[1].local_address()];
    let mut turns = (0..10).map(|turn| {
        let (transport, source) = [(1, sources[0]), (2, sources[1])][turn % 2];
        Transmit::udp(TransportId(transport), source, destination, "sound".into())
    });
    assert_eq!(send_all(&mut sockets, Instant::now(), || turns.next()), Sent::All);
    assert_eq!(sockets.map(|socket| socket.stats().sent), [5, 5]);
    let mut counts = [0, 0];
    for _ in 0..10 {
        let source = receive(&mut receiver).source;
        counts[usize::from(source == sources[1])] += 1;
    }
    assert_eq!(counts, [5, 5]);
}

#[test]
fn who_was_never_heard_gets_a_burst_and_who_was_heard_gets_all() {
    let mut sockets = [Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap()];
    let mut receiver = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let (source, stranger) = (sockets[0].local_address(), peer().local_addr().unwrap());
    introduce(&mut sockets[0], &mut receiver);
    let burst = u16::try_from(STRANGERS_BURST).unwrap();
    let mut checks = numbered(0..burst + 1, source, stranger);
    let mut sound = numbered(0..burst + 1, source, receiver.local_address());
    let now = Instant::now();
    assert_eq!(send_all(&mut sockets, now, || checks.next().or_else(|| sound.next())), Sent::All);
    let stats = sockets[0].stats();
    assert_eq!((stats.sent, stats.strangers_refused), (2 * u64::from(burst) + 1, 1));
}

/// What a socket counts that sends a run of 3 from an impossible source, then one of 20.
fn sends_after(impossible: &str) -> u64 {
    let mut sockets = [Socket::bind(TRANSPORT, at("0.0.0.0", 0)).unwrap()];
    let mut receiver = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let (port, destination) = (sockets[0].local_address().port(), receiver.local_address());
    let mut lost = numbered(0..3, at(impossible, port), destination);
    let mut kept = numbered(3..23, at("127.0.0.1", port), destination);
    let mut transmits = || lost.next().or_else(|| kept.next());
    assert_eq!(send_all(&mut sockets, Instant::now(), &mut transmits), Sent::All);
    let stats = sockets[0].stats();
    assert_eq!((stats.sent, stats.send_errors), (20, 3));
    for expected in 3..23 {
        assert_eq!(number(&receive(&mut receiver)), expected);
    }
    stats.sends
}

#[test]
fn a_run_that_the_system_refuses_is_tried_one_by_one_and_the_next_as_a_run_again() {
    // A source that is not this machine's (RFC 5737): no route.
    let run_of_20 = 20_u64.div_ceil(segments_max());
    assert_eq!(sends_after("192.0.2.77"), u64::from(segments_max() > 1) + 3 + run_of_20);
}

#[test]
fn the_error_that_may_mean_no_runs_does_not_when_each_datagram_alone_is_refused_too() {
    // A multicast source is invalid, which is also what a system says that cannot cut up a run.
    let run_of_20 = 20_u64.div_ceil(segments_max());
    assert_eq!(sends_after("224.0.0.1"), u64::from(segments_max() > 1) + 3 + run_of_20);
}

#[test]
fn in_steady_state_the_same_memory_is_received_into() {
    let mut socket = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let peer = peer();
    let mut places = Vec::new();
    for _ in 0..100 {
        peer.send_to(b"hello", socket.local_address()).unwrap();
        places.push(receive(&mut socket).payload.as_ptr() as usize);
    }
    places.dedup();
    assert_eq!(places.len(), 1);
}

#[test]
fn a_refused_send_is_loss_and_the_next_one_goes_out() {
    let mut socket = Socket::bind(TRANSPORT, at("0.0.0.0", 0)).unwrap();
    let port = socket.local_address().port();
    let peer = peer();
    let destination = peer.local_addr().unwrap();
    // A source that is not this machine's (RFC 5737), and a datagram longer than UDP can carry.
    socket.send(transmit(at("192.0.2.77", port), destination, "lost"), Instant::now());
    let long = Bytes::from(vec![0; 70_000]);
    let source = at("127.0.0.1", port);
    socket.send(Transmit::udp(TRANSPORT, source, destination, long), Instant::now());
    assert_eq!((socket.stats().send_errors, socket.stats().sent), (2, 0));
    assert!(!socket.is_blocked());

    socket.send(transmit(source, destination, "kept"), Instant::now());
    let mut buffer = [0; 64];
    let (len, _) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"kept");
}

#[test]
fn a_peer_that_is_gone_breaks_nothing() -> io::Result<()> {
    let mut socket = Socket::bind(TRANSPORT, at("127.0.0.1", 0))?;
    let own = socket.local_address();
    let gone = peer().local_addr()?;
    for _ in 0..100 {
        socket.send(transmit(own, gone, "hello"), Instant::now());
        assert_eq!(socket.receive()?, None);
    }
    socket.send(transmit(own, own, "still here"), Instant::now());
    assert_eq!(receive(&mut socket).payload, "still here");
    Ok(())
}

#[test]
fn loopback_is_among_the_machines_addresses_and_a_bound_socket_offers_its_own() {
    let interfaces = interface_addresses().unwrap();
    assert!(interfaces.contains(&"127.0.0.1".parse().unwrap()), "{interfaces:?}");
    let socket = Socket::bind(TRANSPORT, at("127.0.0.1", 0)).unwrap();
    let candidates = socket.candidates(&interfaces, &[]);
    assert_eq!(candidates.len(), 1);
    assert_eq!(candidates[0].advertised(), socket.local_address());
}
