//! The baseline without any protocol: datagrams in, the same datagrams out.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use super::child::Cpu;

/// A packet of Opus at 32 kb/s with the headers of RTP and the tag of SRTP.
const DATAGRAM_LEN: usize = 110;

const PACKET_TIME: Duration = Duration::from_millis(20);

/// Echoes until it is killed.
pub(crate) fn echo() -> ! {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
    println!("open {}", socket.local_addr().expect("it is bound"));
    let mut buffer = [0; 2048];
    loop {
        if let Ok((len, source)) = socket.recv_from(&mut buffer) {
            // What cannot be sent is lost, as in the calls.
            let _ = socket.send_to(&buffer[..len], source);
        }
    }
}

/// Sends from as many sockets as there are calls, one after the other within each 20 ms; gives
/// the CPU time that was taken meanwhile.
pub(crate) fn load(
    address: &str,
    calls: usize,
    time: Duration,
    cpu: impl Fn() -> Cpu,
) -> (Cpu, Duration) {
    let sockets: Vec<UdpSocket> = (0..calls)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
            socket.connect(address).expect("an address of loopback");
            socket.set_nonblocking(true).expect("sockets can be told not to wait");
            socket
        })
        .collect();
    let mut buffer = [0; 2048];
    let (begin, before) = (Instant::now(), cpu());
    let mut due = begin;
    let mut returned = 0;
    while begin.elapsed() < time {
        for socket in &sockets {
            due += PACKET_TIME / u32::try_from(calls).expect("there are few calls");
            thread::sleep(due.saturating_duration_since(Instant::now()));
            returned += usize::from(socket.recv(&mut buffer).is_ok());
            let _ = socket.send(&[0; DATAGRAM_LEN]);
        }
    }
    let (spent, lasted) = (cpu() - before, begin.elapsed());
    let sent = lasted.as_secs_f64() / PACKET_TIME.as_secs_f64() * calls as f64;
    assert!(returned as f64 > 0.8 * sent, "{returned} of {sent:.0} datagrams came back");
    (spent, lasted)
}
