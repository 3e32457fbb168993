//! Real sockets on loopback addresses. Each wait ends when the datagram is there or, at the
//! latest, after [`PATIENCE`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{Datagram, Transmit, TransportId};
use smallrtc_udp::{Socket, interface_addresses};

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
