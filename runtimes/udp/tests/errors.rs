//! What a socket makes of the system's errors.

#![cfg(unix)]

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
#[cfg(target_os = "linux")]
use std::thread;
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use smallrtc::Transmit;
use smallrtc::TransportId;
use smallrtc_udp::Socket;
#[cfg(target_os = "linux")]
use smallrtc_udp::{Sent, send_all};

#[cfg(target_os = "linux")]
/// Far more than a datagram takes from one loopback socket to another.
const PATIENCE: Duration = Duration::from_secs(5);

/// Only a connected socket is told that nobody is there, and not on every system.
#[cfg(target_os = "linux")]
#[test]
fn what_lies_behind_an_error_is_received_without_waiting_again() {
    let mut socket = Socket::bind(TransportId(0), "127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = peer.local_addr().unwrap();
    socket.io().connect(address).unwrap();
    drop(peer);
    socket.io().send(b"is anybody there").unwrap();
    let peer = UdpSocket::bind(address).unwrap();
    peer.send_to(b"now there is", socket.local_address()).unwrap();

    // Looks without touching the error.
    let give_up = Instant::now() + PATIENCE;
    while rustix::io::ioctl_fionread(socket.io()).unwrap() == 0 {
        assert!(Instant::now() < give_up, "not in time");
        thread::yield_now();
    }
    assert_eq!(socket.receive().unwrap().unwrap().payload, "now there is");
    assert_eq!(socket.stats().receive_errors, 1);
}

#[test]
fn a_socket_that_only_gives_errors_is_broken() {
    // Nothing can be received from one that listens for connections.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut socket =
        Socket::adopt(TransportId(0), UdpSocket::from(OwnedFd::from(listener))).unwrap();
    assert!(socket.receive().is_err());
    assert_eq!(socket.stats().receive_errors, 17, "one past the limit");
}

/// A peer says what addresses it has; nobody can be sent to at port 0.
#[cfg(target_os = "linux")]
#[test]
fn an_address_that_is_invalid_does_not_keep_others_from_being_sent_runs() {
    let mut sockets = [Socket::bind(TransportId(0), "127.0.0.1:0".parse().unwrap()).unwrap()];
    let own = sockets[0].local_address();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let nobody = "127.0.0.1:0".parse().unwrap();
    let mut send = |destination, datagrams: usize| {
        let transmit = || Transmit::udp(TransportId(0), own, destination, vec![7; 100].into());
        let mut transmits = (0..datagrams).map(|_| transmit());
        assert_eq!(send_all(&mut sockets, Instant::now(), || transmits.next()), Sent::All);
        let stats = sockets[0].stats();
        (stats.sends, stats.sent, stats.send_errors)
    };
    let peer = peer.local_addr().unwrap();
    assert_eq!(send(peer, 9), (1, 9, 0));
    assert_eq!(send(nobody, 1), (2, 9, 1), "one alone");
    assert_eq!(send(peer, 9), (3, 18, 1));
    // The run, and each of its datagrams.
    assert_eq!(send(nobody, 2), (6, 18, 3), "a run");
    assert_eq!(send(peer, 9), (7, 27, 3));
}
