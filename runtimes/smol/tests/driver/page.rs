//! A page: a stack, and a real socket of a loopback address for it.
//!
//! Nothing here sleeps: the page waits for a datagram, at most until its engine, its microphone or
//! [`PATIENCE`] wants something.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc_smol::Handle;

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
    microphone: Option<tone::Microphone>,
    next_packet: (u64, Instant),
    pub(crate) speaker: tone::Speaker,
}

impl<S: Stack> Page<S> {
    /// A page on a free port, with the stack that `make` gives for its address.
    pub(crate) fn new(make: impl FnOnce(SocketAddr) -> S) -> Page<S> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Page {
            stack: make(socket.local_addr().unwrap()),
            socket,
            microphone: None,
            next_packet: (0, Instant::now()),
            speaker: tone::Speaker::new(),
        }
    }

    /// Offers over HTTP, or what stands for it here, and takes the answer.
    pub(crate) fn call(&mut self, handle: &Handle) {
        self.call_through(handle, str::to_owned);
    }

    /// Makes a call, and reads what `change` makes of the answer.
    pub(crate) fn call_through(&mut self, handle: &Handle, change: impl FnOnce(&str) -> String) {
        let offer = json!({ "type": "offer", "sdp": self.stack.offer(Instant::now()) });
        let body = offer.to_string();
        let response = smol::block_on(handle.request("POST", "/api/offer", body.as_bytes()));
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
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
                Ok((len, source)) => self.stack.receive(source, &buffer[..len], Instant::now()),
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

    fn flush(&mut self) {
        while let Some((destination, payload)) = self.stack.poll_packet() {
            // A bot that is gone is no failure of the page.
            let _ = self.socket.send_to(&payload, destination);
        }
    }
}
