//! A socket, and what is known of its readiness.
//!
//! mio tells of changes only (edge-triggered): what it told must be remembered until the socket
//! said otherwise, and it may tell again of what is known.
//!
//! | to read \ event | readable | read empty | budget used up |
//! | --- | --- | --- | --- |
//! | unread | unread | quiet | unread, and the next turn comes at once |
//! | quiet | unread | | |
//!
//! | to send \ event | no room | writable | all sent |
//! | --- | --- | --- | --- |
//! | free | blocked, WRITABLE asked for | | free |
//! | blocked | blocked | a turn: what waits is tried | free, WRITABLE not asked for any more |
//!
//! A socket begins unread, and an error counts as readable, so that the socket itself is asked.
//! What waits for room is tried in every turn, so that `writable` needs no memory: it only ends a
//! wait. Asking for it tells at once if there is room already; an edge that came before is not
//! missed.

use std::io;

use mio::event::Event;
use mio::{Interest, Registry, Token};
use smallrtc::Datagram;
use smallrtc_udp::{RECEIVE_BUDGET, Socket};

use crate::watch::Watched;

/// A socket of a driver.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) socket: Socket,
    watched: Watched,
    /// It was not read empty since it last was readable.
    is_readable: bool,
    /// What it is registered for.
    interest: Option<Interest>,
}

impl Port {
    pub(crate) fn new(socket: Socket) -> io::Result<Port> {
        let watched = Watched::new(socket.io())?;
        Ok(Port { socket, watched, is_readable: true, interest: None })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.watched.register(registry, token, Interest::READABLE)?;
        self.interest = Some(Interest::READABLE);
        // What came before is told to nobody.
        self.is_readable = true;
        Ok(())
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self.interest.take() {
            Some(_) => self.watched.deregister(registry),
            None => Ok(()),
        }
    }

    pub(crate) fn on_ready(&mut self, event: &Event) {
        self.is_readable |= event.is_readable() || event.is_read_closed() || event.is_error();
    }

    /// Takes datagrams; true when there may be more.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(Datagram)) -> io::Result<bool> {
        // Nobody tells a socket that is not registered that it is ready: it is tried.
        if !self.is_readable && self.interest.is_some() {
            return Ok(false);
        }
        for _ in 0..RECEIVE_BUDGET {
            let Some(datagram) = self.socket.receive()? else {
                self.watched.was_exhausted();
                self.is_readable = false;
                return Ok(false);
            };
            take(datagram);
        }
        Ok(true)
    }

    /// Asks to be told of room while datagrams wait for it, and only then. To be called after all
    /// was sent.
    pub(crate) fn watch(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let Some(interest) = self.interest else { return Ok(()) };
        let wanted = if self.socket.is_blocked() {
            self.watched.was_exhausted();
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        if wanted == interest {
            return Ok(());
        }
        self.watched.reregister(registry, token, wanted)?;
        self.interest = Some(wanted);
        Ok(())
    }
}

impl AsMut<Socket> for Port {
    fn as_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::slice;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};
    use smallrtc::{Transmit, TransportId};
    use smallrtc_udp::{STRANGERS_INTERVAL, Sent, send_all};

    const TOKEN: Token = Token(3);

    /// Far more than loopback takes.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// A datagram is this many bytes here.
    const LEN: usize = 1000;

    struct World {
        port: Port,
        poll: Poll,
        events: Events,
        now: Instant,
    }

    impl World {
        fn new(socket: Socket) -> World {
            let (poll, events) = (Poll::new().unwrap(), Events::with_capacity(8));
            let mut port = Port::new(socket).unwrap();
            port.register(poll.registry(), TOKEN).unwrap();
            World { port, poll, events, now: Instant::now() }
        }

        /// A port whose sends can fill a buffer, which those of a UDP socket on loopback never
        /// do: the bytes of a stream stay in it until the other end reads them.
        fn of_stream() -> (World, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let reader = listener.accept().unwrap().0;
            reader.set_nonblocking(true).unwrap();
            let io = UdpSocket::from(OwnedFd::from(stream));
            (World::new(Socket::adopt(TransportId(0), io).unwrap()), reader)
        }

        /// Tells the port of all events that come in that time; how many there were.
        fn wait(&mut self, patience: Duration) -> usize {
            self.poll.poll(&mut self.events, Some(patience)).unwrap();
            self.events.iter().for_each(|event| self.port.on_ready(event));
            self.events.iter().count()
        }

        fn watch(&mut self) {
            self.port.watch(self.poll.registry(), TOKEN).unwrap();
        }

        fn send(&mut self) {
            let own = self.port.socket.local_address();
            let transmit = Transmit::udp(TransportId(0), own, own, vec![7; LEN].into());
            // Nobody was heard from here, so that each takes its part of the budget of strangers.
            self.now += STRANGERS_INTERVAL;
            self.send_all(Some(transmit));
        }

        fn send_all(&mut self, mut transmit: Option<Transmit>) {
            let ports = slice::from_mut(&mut self.port);
            assert_eq!(send_all(ports, self.now, || transmit.take()), Sent::All);
        }

        /// Sends until there is no room; how many datagrams that were.
        fn fill(&mut self) -> usize {
            for sent in 0..1_000_000 {
                if self.port.socket.is_blocked() {
                    return sent;
                }
                self.send();
            }
            panic!("there is always room")
        }
    }

    fn drain(reader: &mut TcpStream) -> usize {
        let mut buffer = vec![0; 1 << 20];
        std::iter::from_fn(|| reader.read(&mut buffer).ok()).sum()
    }

    #[test]
    fn a_socket_is_unread_until_it_was_read_empty_however_often_that_is_told() {
        const DATAGRAMS: usize = RECEIVE_BUDGET + 10;
        let mut world =
            World::new(Socket::bind(TransportId(0), "127.0.0.1:0".parse().unwrap()).unwrap());
        // What a socket begins with is tried, and is nothing here.
        assert!(!world.port.receive(|_| panic!("nobody sent")).unwrap());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..DATAGRAMS {
            peer.send_to(b"hello", world.port.socket.local_address()).unwrap();
        }
        assert!(world.wait(PATIENCE) > 0);
        let mut received = 0;
        assert!(world.port.receive(|_| received += 1).unwrap(), "the budget was used up");
        assert_eq!(received, RECEIVE_BUDGET);
        // Nothing new is told of the rest, and it is not forgotten.
        world.wait(Duration::ZERO);
        assert!(!world.port.receive(|_| received += 1).unwrap());
        assert_eq!(received, DATAGRAMS);
        // What comes after that is told anew.
        peer.send_to(b"hello", world.port.socket.local_address()).unwrap();
        assert!(world.wait(PATIENCE) > 0);
        assert!(!world.port.receive(|_| received += 1).unwrap());
        assert_eq!(received, DATAGRAMS + 1);
    }

    #[test]
    fn exactly_a_budget_of_datagrams_costs_one_more_look_and_no_wait() {
        let mut world =
            World::new(Socket::bind(TransportId(0), "127.0.0.1:0".parse().unwrap()).unwrap());
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..RECEIVE_BUDGET {
            peer.send_to(b"hello", world.port.socket.local_address()).unwrap();
        }
        assert!(world.wait(PATIENCE) > 0);
        assert!(world.port.receive(|_| ()).unwrap());
        assert!(!world.port.receive(|_| panic!("that was all")).unwrap());
    }

    #[test]
    fn room_is_asked_for_only_while_there_is_none() {
        let (mut world, mut reader) = World::of_stream();
        assert_eq!(world.port.interest, Some(Interest::READABLE));
        world.watch();
        assert_eq!(world.port.interest, Some(Interest::READABLE));
        let sent = world.fill();
        world.watch();
        assert!(world.port.interest.unwrap().is_writable());
        world.wait(Duration::ZERO);
        world.send_all(None);
        assert!(world.port.socket.is_blocked(), "nobody has read");

        let mut read = drain(&mut reader);
        assert!(world.wait(PATIENCE) > 0, "room is told");
        world.send_all(None);
        assert!(!world.port.socket.is_blocked());
        world.watch();
        assert_eq!(world.port.interest, Some(Interest::READABLE));
        // A stream may have taken a part of a datagram; nothing else is missing.
        read += drain(&mut reader);
        assert!(read > (sent - 2) * LEN && read <= sent * LEN, "{read} bytes of {sent} datagrams");
    }

    #[test]
    fn room_that_comes_before_it_is_asked_for_is_told_all_the_same() {
        let (mut world, mut reader) = World::of_stream();
        world.wait(Duration::ZERO);
        world.send_all(None);
        world.fill();
        // Between the refused datagram and the asking.
        while drain(&mut reader) > 0 {}
        world.watch();
        assert!(world.wait(PATIENCE) > 0);
        world.send_all(None);
        assert!(!world.port.socket.is_blocked());
    }

    #[test]
    fn a_socket_that_gets_room_bit_by_bit_is_told_of_each() {
        let (mut world, mut reader) = World::of_stream();
        world.fill();
        for _ in 0..200 {
            world.send();
        }
        for _ in 0..10_000 {
            world.watch();
            if !world.port.socket.is_blocked() {
                return;
            }
            drain(&mut reader);
            assert!(world.wait(PATIENCE) > 0, "room is told");
            world.send_all(None);
        }
        panic!("it never gets through");
    }
}
