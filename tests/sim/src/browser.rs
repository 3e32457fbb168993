//! A model browser: a page that behaves like Pipecat's JavaScript client.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::Codec;

use crate::Packet;
use crate::clock::{Clock, earliest};
use crate::peer::{self, Peer};

/// Every 1000 ms while the channel is open (`smallWebRTCTransport.ts`).
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A microphone's packet: 20 ms of Opus at 48 kHz, as browsers send it.
const SPEECH_INTERVAL: Duration = Duration::from_millis(20);
const SPEECH_TICKS: u64 = 960;

/// What a browser runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A plain `str0m` engine: ICE, DTLS, SRTP, SCTP.
    Real,
    /// The plain wire of [`smallrtc::scripted`].
    Scripted,
}

impl Kind {
    /// Both, for scenarios that must hold on either.
    pub const ALL: [Kind; 2] = [Kind::Real, Kind::Scripted];
}

/// Which versions of DTLS a browser speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dtls {
    /// 1.2 alone: what most of them speak today.
    #[default]
    V12,
    /// 1.3 alone.
    V13,
    /// Both: its hello offers 1.3, and the bot decides.
    Auto,
}

impl Dtls {
    /// All of them.
    pub const ALL: [Dtls; 3] = [Dtls::V12, Dtls::V13, Dtls::Auto];
}

/// What a browser is like. Made by [`BrowserConfig::new`], and changed field by field, as
/// [`Setup::browser`](crate::Setup::browser) lets one do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrowserConfig {
    /// What it runs on.
    pub kind: Kind,
    /// Where its random choices come from.
    pub seed: u64,
    /// The address that it sends from.
    pub address: SocketAddr,
    /// Whether it offers a microphone, both ways.
    pub audio: bool,
    /// What its microphone can be coded with, in its order, on the real wire; Opus alone by
    /// default. A script has no choice.
    pub sounds: Vec<Codec>,
    /// Whether it offers a camera, both ways.
    pub camera: bool,
    /// Whether it offers a screen, one way.
    pub screen: bool,
    /// The label of its data channel, if it offers one.
    pub channel: Option<String>,
    /// Whether it pings and tells track states, as the JavaScript client alone does.
    pub chatters: bool,
    /// The longest datagram that it sends, in bytes.
    pub mtu: usize,
    /// Which DTLS it speaks, on the real wire.
    pub dtls: Dtls,
    /// Whether it offers to leave out the SCTP handshake (SNAP, `a=sctp-init`), on the real wire.
    pub snap: bool,
    /// Whether it offers to take sound with copies of what was before it (RED, `audio/red`).
    pub copies: bool,
    /// Whether it takes the level of each packet (RFC 6464), on the scripted wire; the engine does.
    pub levels: bool,
    /// How much faster its clock runs than the bot's, in microseconds a second; less than 0 is
    /// slower. 0 by default; good quartz stays within 50, bad within 200.
    pub drift_ppm: i32,
}

impl BrowserConfig {
    /// The JavaScript client with a microphone and no camera.
    #[must_use]
    pub fn new(kind: Kind, seed: u64) -> BrowserConfig {
        BrowserConfig {
            kind,
            seed,
            address: SocketAddr::from(([198, 51, 100, 7], 40_000)),
            audio: true,
            sounds: vec![Codec::Opus],
            camera: false,
            screen: false,
            channel: Some("chat".to_owned()),
            chatters: true,
            mtu: 1150,
            dtls: Dtls::V12,
            snap: false,
            copies: false,
            levels: false,
            drift_ppm: 0,
        }
    }
}

/// Something that the page was told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrowserEvent {
    /// ICE and DTLS are done.
    Connected,
    /// The data channel is open.
    ChannelOpen,
    /// The bot closed the data channel.
    ChannelClosed,
    /// A message of the bot, signalling included.
    Message {
        /// Whether it came as binary.
        binary: bool,
        /// The bytes.
        data: Vec<u8>,
    },
    /// A coded frame.
    Media {
        /// The m-line's index.
        line: u8,
        /// The sequence number of its last packet, extended.
        seq: u64,
        /// In units of the codec's clock, extended.
        time: u64,
        /// The coded bytes.
        data: Bytes,
    },
    /// The bot wants a keyframe.
    KeyframeRequest {
        /// The m-line's index.
        line: u8,
    },
    /// The bot closed the connection.
    HungUp,
    /// The engine cannot go on: somebody broke the handshake.
    Failed,
}

/// A model browser with one page.
#[derive(Debug)]
pub struct Browser {
    config: BrowserConfig,
    peer: Box<dyn Peer>,
    address: SocketAddr,
    has_vanished: bool,
    is_open: bool,
    ping_at: Option<Instant>,
    pings: u64,
    /// Digests of the page's messages, where somebody reads them.
    said: Option<Vec<u64>>,
    clock: Clock,
    speech: Option<Speech>,
    /// Of the next packet of speech, in units of the codec's clock.
    speech_time: u64,
    events: VecDeque<BrowserEvent>,
}

/// A microphone that is on.
#[derive(Debug)]
struct Speech {
    packet: Vec<u8>,
    /// When the next packet leaves, as the browser's clock shows it.
    at: Instant,
}

impl Browser {
    /// A browser that has not offered yet.
    #[must_use]
    pub fn new(config: BrowserConfig, now: Instant) -> Browser {
        let clock = Clock::new(config.drift_ppm);
        Browser {
            peer: peer::new(&config, clock.shows(now)),
            address: config.address,
            has_vanished: false,
            is_open: false,
            ping_at: None,
            pings: 0,
            said: None,
            clock,
            speech: None,
            speech_time: 0,
            events: VecDeque::new(),
            config,
        }
    }

    /// Where it sends from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `candidate` attribute that it would trickle.
    #[must_use]
    pub fn candidate(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!("candidate:1 1 udp 2113937151 {ip} {port} typ host")
    }

    /// An offer: the first, or again in a call that goes on.
    #[must_use]
    pub fn offer(&mut self, now: Instant) -> String {
        let now = self.clock.shows(now);
        let offer = self.peer.offer(now);
        self.collect(now);
        offer
    }

    /// An offer that restarts ICE; from now on the browser sends from `address`, and what comes
    /// to the old one is lost.
    #[must_use]
    pub fn restart(&mut self, address: SocketAddr, now: Instant) -> String {
        let now = self.clock.shows(now);
        self.address = address;
        let offer = self.peer.restart(address, now);
        self.collect(now);
        offer
    }

    /// Takes the bot's answer.
    ///
    /// # Panics
    /// When it is no answer to the last offer.
    pub fn accept_answer(&mut self, sdp: &str, now: Instant) {
        let now = self.clock.shows(now);
        self.peer.accept_answer(sdp, now);
        self.collect(now);
    }

    /// Takes a datagram.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) {
        if !self.has_vanished {
            let now = self.clock.shows(now);
            self.peer.handle_packet(packet, now);
            self.collect(now);
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.has_vanished {
            return;
        }
        let now = self.clock.shows(now);
        self.speak_on(now);
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + PING_INTERVAL);
            self.pings += 1;
            let ping = format!("ping: {}", 1_790_000_000_000 + self.pings * 1000);
            self.peer.write_message(false, ping.as_bytes(), now);
        }
        if self.peer.poll_timeout().is_some_and(|at| at <= now) {
            self.peer.handle_timeout(now);
        }
        self.collect(now);
    }

    /// Ends the pings, as a browser does to a tab in the background; everything else goes on.
    pub fn stop_pinging(&mut self) {
        self.ping_at = None;
    }

    /// When [`Browser::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.has_vanished {
            return None;
        }
        let speech_at = self.speech.as_ref().map(|speech| speech.at);
        let shown = earliest([self.ping_at, speech_at, self.peer.poll_timeout()]);
        shown.map(|shown| self.clock.when(shown))
    }

    /// The next datagram that it sends.
    #[must_use]
    pub fn poll_packet(&mut self) -> Option<Packet> {
        if self.has_vanished { None } else { self.peer.packets().pop_front() }
    }

    /// Hands out all the datagrams that it sends.
    pub(crate) fn drain_packets(&mut self, mut each: impl FnMut(Packet)) {
        if self.has_vanished {
            return;
        }
        let packets = self.peer.packets();
        while let Some(packet) = packets.pop_front() {
            each(packet);
        }
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<BrowserEvent> {
        self.events.pop_front()
    }

    /// Whether it is an engine that offers video. Its times under loss are rounded by a clock that
    /// the engine reads once in a process.
    pub(crate) fn rounds_by_the_clock(&self) -> bool {
        self.config.kind == Kind::Real && (self.config.camera || self.config.screen)
    }

    /// Whether its offer has a data channel.
    #[must_use]
    pub fn offers_channel(&self) -> bool {
        self.config.channel.is_some()
    }

    /// Whether the data channel is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Opens one more channel.
    pub fn open_channel(&mut self, label: &str, now: Instant) {
        let now = self.clock.shows(now);
        self.peer.open_channel(label, now);
        self.collect(now);
    }

    /// Sends a text message. False when it was not taken.
    pub fn send_text(&mut self, text: &str, now: Instant) -> bool {
        self.send(false, text.as_bytes(), now)
    }

    /// Sends a binary message, as iOS does with JSON. False when it was not taken.
    pub fn send_binary(&mut self, data: &[u8], now: Instant) -> bool {
        self.send(true, data, now)
    }

    fn send(&mut self, binary: bool, data: &[u8], now: Instant) -> bool {
        let now = self.clock.shows(now);
        let taken = self.peer.write_message(binary, data, now);
        if let Some(said) = self.said.as_mut().filter(|_| taken) {
            said.push(crate::ledger::digest(data));
        }
        self.collect(now);
        taken
    }

    /// What the page said since the last call; kept from the first call on.
    pub(crate) fn take_said(&mut self) -> Vec<u64> {
        self.said.replace(Vec::new()).unwrap_or_default()
    }

    /// Sends a coded frame on an m-line. `time` is in units of the codec's clock: 48 kHz for
    /// Opus, 90 kHz for video. False when it was not taken: there is no such line, or no path yet.
    pub fn send_media(&mut self, line: u8, time: u64, data: &[u8], now: Instant) -> bool {
        self.send_coded(line, None, time, data, now)
    }

    /// The same for a frame of one of the codecs that were agreed on, and not the first of them.
    pub fn send_coded(
        &mut self,
        line: u8,
        codec: Option<Codec>,
        time: u64,
        data: &[u8],
        now: Instant,
    ) -> bool {
        let now = self.clock.shows(now);
        let taken = self.peer.write_media(line, codec, time, data, now);
        self.collect(now);
        taken
    }

    /// Turns the microphone on: from now on this packet is sent every 20 ms of the browser's clock,
    /// on the first m-line, which has to be the microphone's. [`null_packet`](crate::null_packet)
    /// makes one for the null codec.
    pub fn speak(&mut self, packet: Vec<u8>, now: Instant) {
        self.speech = Some(Speech { packet, at: self.clock.shows(now) });
    }

    /// Turns the microphone off.
    pub fn hush(&mut self) {
        self.speech = None;
    }

    /// Sends the packets whose time has come. What is not taken, because the call is not there yet
    /// or not any more, is time that passes all the same.
    fn speak_on(&mut self, now: Instant) {
        while let Some(speech) = self.speech.as_mut().filter(|speech| speech.at <= now) {
            speech.at += SPEECH_INTERVAL;
            self.peer.write_media(0, None, self.speech_time, &speech.packet, now);
            self.speech_time += SPEECH_TICKS;
        }
    }

    /// Asks for a keyframe of what the bot sends on an m-line.
    pub fn request_keyframe(&mut self, line: u8, now: Instant) {
        let now = self.clock.shows(now);
        self.peer.request_keyframe(line, now);
        self.collect(now);
    }

    /// Closes the connection as a page does that ends: the bot is told.
    pub fn hang_up(&mut self, now: Instant) {
        let now = self.clock.shows(now);
        self.peer.hang_up(now);
        (self.ping_at, self.speech) = (None, None);
        self.collect(now);
    }

    /// Is gone without a word, as a phone whose battery is empty.
    pub fn vanish(&mut self) {
        self.has_vanished = true;
    }

    /// Takes all that the engine tells.
    fn collect(&mut self, now: Instant) {
        while !self.peer.events().is_empty() {
            let known = self.events.len();
            if known == 0 {
                // Nearly always: what was just written is not copied.
                mem::swap(&mut self.events, self.peer.events());
            } else {
                self.events.append(self.peer.events());
            }
            for at in known..self.events.len() {
                self.act_on(at, now);
            }
        }
    }

    fn act_on(&mut self, at: usize, now: Instant) {
        match self.events[at] {
            BrowserEvent::ChannelOpen => self.on_open(now),
            BrowserEvent::ChannelClosed => self.ping_at = None,
            BrowserEvent::HungUp | BrowserEvent::Failed => {
                (self.ping_at, self.speech) = (None, None);
            }
            _ => {}
        }
    }

    fn on_open(&mut self, now: Instant) {
        self.is_open = true;
        if !self.config.chatters {
            return;
        }
        self.ping_at = Some(now + PING_INTERVAL);
        let states = [self.config.audio, self.config.camera, self.config.screen];
        for (index, enabled) in states.into_iter().enumerate() {
            let status = format!(
                r#"{{"type":"signalling","message":{{"type":"trackStatus","receiver_index":{index},"enabled":{enabled}}}}}"#
            );
            self.peer.write_message(false, status.as_bytes(), now);
        }
    }
}
