//! The browser's side of the scripted wire.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use smallrtc::Codec;
use smallrtc::scripted::{
    Arrival, Frame, HEADER_LEN, MEDIA_OVERHEAD, Media, Stream, encode, frames, lone_media, stun,
};

use super::Peer;
use crate::clock::earliest;
use crate::{BrowserConfig, BrowserEvent, Packet};

/// How long until a check or a hello is repeated: as the real engine, 250 ms doubling to 3 s.
const REPEAT_AFTER: Duration = Duration::from_millis(250);
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(3);
/// Numbers of sound that are remembered: more than a link can reorder.
const HEARD_MAX: usize = 64;
/// RFC 7675 section 5.1.
const CONSENT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Scripted {
    config: BrowserConfig,
    random: fastrand::Rng,
    address: SocketAddr,
    lines: Vec<Line>,
    ufrag: String,
    pwd: String,
    bot: Option<Bot>,
    transaction: stun::TransactionId,
    check_at: Option<Instant>,
    check_after: Duration,
    hello_at: Option<Instant>,
    path: Option<SocketAddr>,
    is_secure: bool,
    is_over: bool,
    stream: Stream,
    channels: u16,
    /// Of each line.
    next_seq: Vec<u64>,
    picture: Vec<u8>,
    /// The numbers of sound that came, the newest last: what has a copy comes twice.
    heard: VecDeque<(u8, u64)>,
    packets: VecDeque<Packet>,
    events: VecDeque<BrowserEvent>,
}

/// What the answer told.
#[derive(Debug)]
struct Bot {
    ufrag: String,
    pwd: String,
    candidates: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    name: &'static str,
    direction: &'static str,
    codec: Codec,
}

impl Scripted {
    pub(super) fn new(config: &BrowserConfig, _now: Instant) -> Scripted {
        let line = |name, direction, codec| Line { name, direction, codec };
        let lines = [
            (config.audio, line("audio", "sendrecv", Codec::Opus)),
            (config.camera, line("video", "sendrecv", Codec::Vp8)),
            (config.screen, line("video", "sendonly", Codec::Vp8)),
        ];
        let mut scripted = Scripted {
            random: fastrand::Rng::with_seed(config.seed),
            address: config.address,
            lines: lines.into_iter().filter_map(|(on, line)| on.then_some(line)).collect(),
            ufrag: String::new(),
            pwd: String::new(),
            bot: None,
            transaction: [0; 12],
            check_at: None,
            check_after: REPEAT_AFTER,
            hello_at: None,
            path: None,
            is_secure: false,
            is_over: false,
            stream: Stream::new(config.mtu),
            channels: 0,
            next_seq: vec![0; lines.len()],
            picture: Vec::new(),
            heard: VecDeque::new(),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            config: config.clone(),
        };
        scripted.draw_credentials();
        scripted
    }

    fn draw_credentials(&mut self) {
        self.ufrag = (0..8).map(|_| self.random.alphanumeric()).collect();
        self.pwd = (0..24).map(|_| self.random.alphanumeric()).collect();
    }

    fn write_offer(&self) -> String {
        let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
        let end = |mid: usize, direction: &str| {
            let (ufrag, pwd) = (&self.ufrag, &self.pwd);
            let (ip, port) = (self.address.ip(), self.address.port());
            format!(
                "a=mid:{mid}\r\na={direction}\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n\
                 a=fingerprint:sha-256 {:016X}\r\na=setup:actpass\r\n\
                 a=candidate:1 1 udp 2113937151 {ip} {port} typ host\r\n",
                self.config.seed
            )
        };
        for (mid, line) in self.lines.iter().enumerate() {
            let format = match line.codec {
                Codec::Opus if self.config.copies => {
                    "111 63\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:63 red/48000/2"
                }
                Codec::Opus => "111\r\na=rtpmap:111 opus/48000/2",
                _ => "96\r\na=rtpmap:96 VP8/90000",
            };
            let levels = if line.codec == Codec::Opus && self.config.levels {
                "\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level"
            } else {
                ""
            };
            let end = end(mid, line.direction);
            write!(sdp, "m={} 9 UDP/TLS/RTP/SAVPF {format}{levels}\r\n{end}", line.name)
                .expect("a String takes all text");
        }
        if self.config.channel.is_some() {
            sdp.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
            sdp.push_str(&end(self.lines.len(), "sendrecv"));
        }
        sdp
    }

    fn send(&mut self, destination: SocketAddr, payload: Vec<u8>) {
        let packet = Packet { source: self.address, destination, payload: payload.into() };
        self.packets.push_back(packet);
    }

    #[inline]
    fn say(&mut self, frame: Frame<'_>) {
        if let Some(path) = self.path {
            self.send(path, encode(&[frame]));
        }
    }

    fn send_stream(&mut self, now: Instant) {
        let Some(path) = self.path.filter(|_| self.is_secure && !self.is_over) else { return };
        while let Some(bytes) = self.stream.poll_datagram(now) {
            self.send(path, bytes);
        }
    }

    /// Checks every candidate until one answers, then asks that one for consent.
    fn check(&mut self, now: Instant) {
        let Some(bot) = &self.bot else { return };
        self.random.fill(&mut self.transaction);
        let request = stun::request(self.transaction, &bot.ufrag, &self.ufrag, &bot.pwd, true);
        let targets = self.path.map_or_else(|| bot.candidates.clone(), |path| vec![path]);
        for target in targets {
            self.send(target, request.clone());
        }
        self.check_at = Some(now + self.check_after);
        self.check_after = (self.check_after * 2).min(REPEAT_AFTER_MAX);
    }

    fn handle_stun(&mut self, packet: &Packet, now: Instant) {
        let Some(binding) = stun::Binding::parse(&packet.payload) else { return };
        if binding.is_request {
            if binding.receiver == self.ufrag.as_bytes() && binding.verifies(&self.pwd) {
                let response = stun::response(binding.transaction, packet.source, &self.pwd);
                self.send(packet.source, response);
            }
            return;
        }
        let is_ours = self.bot.as_ref().is_some_and(|bot| binding.verifies(&bot.pwd));
        if !is_ours || binding.transaction != self.transaction {
            return;
        }
        self.check_at = Some(now + CONSENT_INTERVAL);
        self.check_after = REPEAT_AFTER;
        if self.path.is_none() {
            self.path = Some(packet.source);
            if !self.is_secure {
                self.hello(now);
            }
            self.send_stream(now);
        }
    }

    fn hello(&mut self, now: Instant) {
        self.say(Frame::Hello);
        self.hello_at = Some(now + REPEAT_AFTER);
    }

    fn handle_frame(&mut self, frame: Frame<'_>, now: Instant) {
        match frame {
            Frame::Hello if !self.is_secure => {
                self.is_secure = true;
                self.hello_at = None;
                self.events.push_back(BrowserEvent::Connected);
                if let Some(label) = self.config.channel.clone() {
                    self.open_channel(&label, now);
                }
            }
            Frame::Goodbye => {
                self.is_over = true;
                self.events.push_back(BrowserEvent::HungUp);
            }
            Frame::Keyframe { line } => {
                self.events.push_back(BrowserEvent::KeyframeRequest { line });
            }
            Frame::Ack { next } => self.stream.handle_ack(next, now),
            Frame::Chunk(chunk) => {
                let Some(arrival) = self.stream.handle_chunk(&chunk) else { return };
                if let Arrival::Message { binary, data, .. } = arrival {
                    self.events.push_back(BrowserEvent::Message { binary, data });
                }
            }
            Frame::Media(ref media) => self.handle_media(media),
            _ => {}
        }
    }

    fn handle_media(&mut self, media: &Media<'_>) {
        if self.is_news(media)
            && let Some(data) = self.assemble(media)
        {
            self.give(media, data);
        }
    }

    /// Whether it did not come before, on its own or as a copy.
    fn is_news(&mut self, media: &Media<'_>) -> bool {
        if self.config.copies && media.codec == Codec::Opus {
            let number = (media.line, media.seq);
            if self.heard.contains(&number) {
                return false;
            }
            self.heard.push_back(number);
            if self.heard.len() > HEARD_MAX {
                self.heard.pop_front();
            }
        }
        true
    }

    fn give(&mut self, media: &Media<'_>, data: Bytes) {
        let Media { line, seq, time, .. } = *media;
        self.events.push_back(BrowserEvent::Media { line, seq, time, data });
    }

    /// Puts a coded frame together. Sound comes in one piece, which has its room at once.
    fn assemble(&mut self, media: &Media<'_>) -> Option<Bytes> {
        if media.first && !media.more {
            self.picture.clear();
            return Some(Bytes::copy_from_slice(media.data));
        }
        if media.first {
            self.picture.clear();
        }
        self.picture.extend_from_slice(media.data);
        (!media.more).then(|| std::mem::take(&mut self.picture).into())
    }
}

impl Peer for Scripted {
    fn offer(&mut self, _now: Instant) -> String {
        self.write_offer()
    }

    fn restart(&mut self, address: SocketAddr, _now: Instant) -> String {
        self.address = address;
        self.draw_credentials();
        self.path = None;
        self.write_offer()
    }

    fn accept_answer(&mut self, sdp: &str, now: Instant) {
        let value = |name| sdp.lines().find_map(|line| line.strip_prefix(name)).map(String::from);
        let bot = Bot {
            ufrag: value("a=ice-ufrag:").expect("an answer has a ufrag"),
            pwd: value("a=ice-pwd:").expect("an answer has a password"),
            candidates: candidates(sdp),
        };
        self.bot = Some(bot);
        if self.path.is_none() {
            self.check_after = REPEAT_AFTER;
            self.check(now);
        }
    }

    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        if packet.destination != self.address || self.is_over {
            return;
        }
        if stun::is_stun(&packet.payload) {
            self.handle_stun(&packet, now);
        } else if let Some((media, start)) = lone_media(&packet.payload) {
            let mut data = packet.payload;
            data.advance(start);
            if self.is_news(&media) {
                self.give(&media, data);
            }
            self.send_stream(now);
        } else if let Ok(frames) = frames(&packet.payload) {
            for frame in frames {
                self.handle_frame(frame, now);
            }
            self.send_stream(now);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.is_over {
            return;
        }
        if self.check_at.is_some_and(|at| at <= now) {
            self.check(now);
        }
        if self.hello_at.is_some_and(|at| at <= now) {
            self.hello(now);
        }
        self.stream.handle_timeout(now);
        self.send_stream(now);
    }

    fn packets(&mut self) -> &mut VecDeque<Packet> {
        &mut self.packets
    }

    fn events(&mut self) -> &mut VecDeque<BrowserEvent> {
        &mut self.events
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        earliest([self.check_at, self.hello_at, self.stream.poll_timeout()])
    }

    fn open_channel(&mut self, label: &str, now: Instant) {
        self.channels += 1;
        self.stream.open(self.channels, label);
        self.events.push_back(BrowserEvent::ChannelOpen);
        self.send_stream(now);
    }

    fn write_message(&mut self, binary: bool, data: &[u8], now: Instant) -> bool {
        let taken = self.channels > 0 && self.stream.write(self.channels, binary, data);
        self.send_stream(now);
        taken
    }

    fn write_media(
        &mut self,
        line: u8,
        codec: Option<Codec>,
        time: u64,
        data: &[u8],
        _now: Instant,
    ) -> bool {
        let Some(agreed) = self.lines.get(usize::from(line)).map(|line| line.codec) else {
            return false;
        };
        let codec = codec.unwrap_or(agreed);
        if !self.is_secure || self.is_over {
            return false;
        }
        // VP8's first bit is clear in keyframes (RFC 6386 section 9.1).
        let keyframe = codec.is_audio() || data.first().is_some_and(|first| first & 1 == 0);
        let mut pieces = data.chunks(self.config.mtu - HEADER_LEN - MEDIA_OVERHEAD).peekable();
        let mut first = true;
        while let Some(data) = pieces.next() {
            let seq = self.next_seq[usize::from(line)];
            self.next_seq[usize::from(line)] += 1;
            self.say(Frame::Media(Media {
                line,
                first: std::mem::take(&mut first),
                more: pieces.peek().is_some(),
                keyframe,
                ssrc: u32::from(line) + 1,
                ..Media::whole(codec, seq, time, data)
            }));
        }
        true
    }

    fn request_keyframe(&mut self, line: u8, _now: Instant) {
        self.say(Frame::Keyframe { line });
    }

    fn hang_up(&mut self, _now: Instant) {
        self.say(Frame::Goodbye);
        self.is_over = true;
    }
}

/// The addresses of `a=candidate` lines, each once.
fn candidates(sdp: &str) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for line in sdp.lines().filter_map(|line| line.strip_prefix("a=candidate:")) {
        let mut words = line.split(' ').skip(4);
        let ip: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
        let port: Option<u16> = words.next().and_then(|word| word.parse().ok());
        if let (Some(ip), Some(port)) = (ip, port) {
            let address = SocketAddr::new(ip, port);
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}
