//! A page: a stack, and a real socket for it.
//!
//! It knows no driver: whoever tests one says how an offer is posted to it.
//!
//! Nothing here sleeps: the page waits for a datagram, at most until its engine, its microphone or
//! [`PATIENCE`] wants something.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tone;

/// What a test waits at most for what must come: far more than a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How much sound a packet of the page's microphone holds.
pub(crate) const PACKET_TIME: Duration = Duration::from_millis(20);

/// What a page is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The data channel is open.
    Open,
    /// A message.
    Message(String),
    /// The payload of an audio packet.
    Audio(Vec<u8>),
    /// The bot closed the connection.
    Closed,
}

/// A WebRTC stack in the page's place, without socket or clock. It offers a microphone, both ways,
/// and a data channel.
pub(crate) trait Stack {
    fn offer(&mut self, now: Instant) -> String;
    fn accept_answer(&mut self, sdp: &str, now: Instant);
    fn receive(&mut self, source: SocketAddr, payload: &[u8], now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&mut self) -> Option<Instant>;
    fn poll_packet(&mut self) -> Option<(SocketAddr, Vec<u8>)>;
    fn poll_heard(&mut self) -> Option<Heard>;
    fn send_text(&mut self, text: &str, now: Instant);
    /// `number` counts packets of [`PACKET_TIME`].
    fn send_opus(&mut self, number: u64, payload: &[u8], now: Instant);
    fn close(&mut self, now: Instant);
}

/// A page that makes one call.
pub(crate) struct Page<S> {
    pub(crate) stack: S,
    socket: UdpSocket,
    /// The name of the call in signalling.
    pc_id: Option<String>,
    /// Where the handshake, sound and messages came from. Checks may come from anywhere.
    pub(crate) sources: BTreeSet<SocketAddr>,
    microphone: Option<tone::Microphone>,
    next_packet: (u64, Instant),
    pub(crate) speaker: tone::Speaker,
}

impl<S: Stack> Page<S> {
    /// A page on a free port of loopback, with the stack that `make` gives for its address.
    #[allow(dead_code, reason = "not every suite is on loopback")]
    pub(crate) fn new(make: impl FnOnce(SocketAddr) -> S) -> Page<S> {
        Page::on(UdpSocket::bind("127.0.0.1:0").unwrap(), make)
    }

    /// A page on a socket, with the stack that `make` gives for its address.
    pub(crate) fn on(socket: UdpSocket, make: impl FnOnce(SocketAddr) -> S) -> Page<S> {
        Page {
            stack: make(socket.local_addr().unwrap()),
            socket,
            pc_id: None,
            sources: BTreeSet::new(),
            microphone: None,
            next_packet: (0, Instant::now()),
            speaker: tone::Speaker::new(),
        }
    }

    /// Makes a call: `post` takes the body of a `POST /api/offer` and gives the answer's body.
    #[allow(dead_code, reason = "not every suite takes the answer as it is")]
    pub(crate) fn call(&mut self, post: impl FnOnce(&str) -> String) {
        self.call_through(post, str::to_owned);
    }

    /// Makes a call, and reads what `change` makes of the answer's SDP.
    pub(crate) fn call_through(
        &mut self,
        post: impl FnOnce(&str) -> String,
        change: impl FnOnce(&str) -> String,
    ) {
        let sdp = self.stack.offer(Instant::now());
        self.negotiate(&sdp, post, change);
    }

    /// Goes on from another socket, as a page does whose address has changed: with the offer of a
    /// restart, which `restart` gives.
    #[allow(dead_code, reason = "not every suite changes addresses")]
    pub(crate) fn move_to(
        &mut self,
        socket: UdpSocket,
        restart: impl FnOnce(&mut S, SocketAddr, Instant) -> String,
        post: impl FnOnce(&str) -> String,
    ) {
        self.socket = socket;
        let sdp = restart(&mut self.stack, self.socket.local_addr().unwrap(), Instant::now());
        self.negotiate(&sdp, post, str::to_owned);
    }

    fn negotiate(
        &mut self,
        sdp: &str,
        post: impl FnOnce(&str) -> String,
        change: impl FnOnce(&str) -> String,
    ) {
        let offer = json!({ "type": "offer", "sdp": sdp, "pc_id": self.pc_id });
        let answer: Value = serde_json::from_str(&post(&offer.to_string())).unwrap();
        self.pc_id = Some(answer["pc_id"].as_str().unwrap().to_owned());
        self.stack.accept_answer(&change(answer["sdp"].as_str().unwrap()), Instant::now());
    }

    /// Speaks into the microphone from now on.
    pub(crate) fn speak(&mut self, microphone: tone::Microphone) {
        self.microphone = Some(microphone);
        self.next_packet.1 = Instant::now();
    }

    /// Hangs up, as a tab does that is closed.
    pub(crate) fn hang_up(&mut self) {
        self.microphone = None;
        self.stack.close(Instant::now());
        self.flush();
    }

    /// Goes on until something was heard for which `wanted` holds. Sound goes to the speaker.
    pub(crate) fn hear(&mut self, what: &str, mut wanted: impl FnMut(&Heard) -> bool) -> Heard {
        let mut found = None;
        self.go_on(what, |page| {
            while let Some(heard) = page.stack.poll_heard() {
                if let Heard::Audio(packet) = &heard {
                    page.speaker.play(packet);
                }
                if wanted(&heard) {
                    found = Some(heard);
                    return true;
                }
            }
            false
        });
        found.unwrap()
    }

    /// Goes on until `done`.
    pub(crate) fn go_on(&mut self, what: &str, mut done: impl FnMut(&mut Page<S>) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        let mut buffer = [0; 2000];
        loop {
            let now = Instant::now();
            assert!(now < give_up, "not in time: {what}");
            self.send_due(now);
            if self.stack.poll_timeout().is_some_and(|at| at <= now) {
                self.stack.handle_timeout(now);
            }
            self.flush();
            if done(self) {
                self.flush();
                return;
            }
            let until = self.wake_at(give_up).saturating_duration_since(Instant::now());
            self.socket.set_read_timeout(Some(until.max(Duration::from_millis(1)))).unwrap();
            match self.socket.recv_from(&mut buffer) {
                Ok((len, source)) => {
                    // What is no STUN (RFC 7983).
                    if buffer[0] >= 20 {
                        self.sources.insert(source);
                    }
                    self.stack.receive(source, &buffer[..len], Instant::now());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn wake_at(&mut self, give_up: Instant) -> Instant {
        let packet = self.microphone.is_some().then_some(self.next_packet.1);
        [self.stack.poll_timeout(), packet].into_iter().flatten().fold(give_up, Instant::min)
    }

    fn send_due(&mut self, now: Instant) {
        let Some(microphone) = &mut self.microphone else { return };
        while self.next_packet.1 <= now {
            self.stack.send_opus(self.next_packet.0, &microphone.packet(), now);
            self.next_packet = (self.next_packet.0 + 1, self.next_packet.1 + PACKET_TIME);
        }
    }

    pub(crate) fn flush(&mut self) {
        while let Some((destination, payload)) = self.stack.poll_packet() {
            // A bot that is gone is no failure of the page.
            let _ = self.socket.send_to(&payload, destination);
        }
    }
}
