//! Models of Pipecat's clients.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Browser, BrowserConfig, BrowserEvent, Kind, Packet};

/// How long candidates are collected (`smallWebRTCTransport.ts`).
const TRICKLE_AFTER: Duration = Duration::from_millis(200);

/// How long ICE hears nothing before it calls itself disconnected, as Chromium does.
const DISCONNECTED_AFTER: Duration = Duration::from_secs(5);

/// How long the JavaScript client stays disconnected before it makes a new connection.
const RECONNECT_AFTER: Duration = Duration::from_secs(5);

/// How long checks go unanswered before ICE has failed, as in Chromium.
const FAILED_AFTER: Duration = Duration::from_secs(15);

/// How long it waits after a request that failed.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// How often it tries.
const ATTEMPTS_MAX: u32 = 3;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ClientKind {
    /// `@pipecat-ai/small-webrtc-transport` in a browser.
    JavaScript,
    /// pipecat-client-ios-small-webrtc.
    Ios,
    /// pipecat-client-android-transports.
    Android,
    /// pipecat-esp32.
    Esp32,
}

impl ClientKind {
    /// All of them.
    pub const ALL: [ClientKind; 4] =
        [ClientKind::JavaScript, ClientKind::Ios, ClientKind::Android, ClientKind::Esp32];

    fn shape(self, config: &mut BrowserConfig) {
        config.camera = self != ClientKind::Esp32;
        config.screen = self == ClientKind::JavaScript;
        config.chatters = self == ClientKind::JavaScript;
        let label = match self {
            ClientKind::Ios => "rtvi-events",
            ClientKind::Esp32 => "rtvi-ai",
            ClientKind::JavaScript | ClientKind::Android => "chat",
        };
        config.channel = Some(label.to_owned());
    }

    /// The offer in this client's own words.
    fn words(self, browser: &str) -> String {
        let without_candidates = |sdp: &str| -> String {
            let kept = sdp.lines().filter(|line| !line.starts_with("a=candidate:"));
            kept.map(|line| format!("{line}\r\n")).collect()
        };
        match self {
            ClientKind::JavaScript => without_candidates(browser),
            ClientKind::Ios | ClientKind::Android => browser.to_owned(),
            ClientKind::Esp32 => renamed(browser, &mids(browser), &ESP32_MIDS)
                .replace("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP")
                .replace("a=setup:actpass", "a=setup:passive"),
        }
    }

    fn trickles(self) -> bool {
        self == ClientKind::JavaScript
    }

    fn renegotiates(self) -> bool {
        self != ClientKind::Esp32
    }
}

/// What libpeer calls its lines.
const ESP32_MIDS: [&str; 2] = ["audio", "datachannel"];

/// The names of the lines of a description, in order.
fn mids(sdp: &str) -> Vec<String> {
    sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(str::to_owned).collect()
}

/// The description with other names for its lines.
fn renamed<A: AsRef<str>, B: AsRef<str>>(sdp: &str, from: &[A], to: &[B]) -> String {
    let new = |word: &str| {
        let known = from.iter().position(|old| old.as_ref() == word);
        known.map_or_else(|| word.to_owned(), |place| to[place].as_ref().to_owned())
    };
    let line = |line: &str| match line.split_once("a=mid:").or(line.split_once("a=group:BUNDLE ")) {
        Some(("", names)) => {
            let named: Vec<String> = names.split(' ').map(new).collect();
            format!("{}{}\r\n", &line[..line.len() - names.len()], named.join(" "))
        }
        _ => format!("{line}\r\n"),
    };
    sdp.lines().map(line).collect()
}

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// It has not begun.
    Idle,
    /// It has asked, and the channel is not open yet.
    Connecting,
    /// The channel is open.
    Connected,
    /// It left, or the bot did.
    Left,
    /// A request was refused with this status, or all attempts failed (0).
    Failed(u16),
}

/// A request that a client makes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientRequest {
    /// Names the response.
    pub number: u64,
    /// POST or PATCH.
    pub method: &'static str,
    /// JSON.
    pub body: String,
}

/// One connection of a client.
#[derive(Debug)]
struct Pc {
    browser: Browser,
    /// What the lines of its last offer are called.
    mids: Vec<String>,
    answered_at: Option<Instant>,
    heard_at: Option<Instant>,
}

/// A model of one of Pipecat's clients: what it offers, when it asks and speaks, how it comes back.
///
/// A [`Client`] is a page or a program with one of Pipecat's transports in it. It asks by HTTP
/// ([`Client::poll_request`], [`Client::handle_response`]), sends and gets datagrams, and knows of
/// the bot what these bring. It opens no socket and reads no clock.
///
/// | | JavaScript | iOS | Android | ESP32 |
/// | --- | --- | --- | --- | --- |
/// | lines | microphone, camera, screen | microphone, camera | microphone, camera | microphone |
/// | channel | `chat` | `rtvi-events` | `chat` | `rtvi-ai` |
/// | in its SDP | | | | mids `audio`, `datachannel`; `UDP/TLS/RTP/SAVP`; `setup:passive` |
/// | its messages | text | binary | text | text |
/// | data for the bot | `requestData` | none | `request_data` | none |
/// | candidates | 200 ms after the answer, and an empty one, as Firefox's | in the offer | in the offer | in the offer |
/// | pings, track states | each second; when the channel opens | | | |
/// | a wish for an offer | is answered | is answered | is answered | |
/// | `peerLeft` | is told | is told | ends the call | is told |
/// | nothing heard for 5 s, and for 5 s more | a new connection (`restart_pc`) | | | |
/// | checks fail | a new connection at once | | | |
/// | a request that fails | again after 2 s, three times in all | ends it | ends it | ends it |
/// | a request that is refused (4xx) | ends it | ends it | ends it | ends it |
///
/// Sources: `smallWebRTCTransport.ts` 1.10.8, pipecat-client-ios-small-webrtc,
/// pipecat-client-android-transports, pipecat-esp32 `src/http.cpp` and its libpeer's `src/sdp.c`.
///
/// | state | what it waits for |
/// | --- | --- |
/// | idle | [`Client::connect`] |
/// | connecting | an answer, then the channel |
/// | connected | what may happen; [`Client::leave`] |
/// | left, failed | nothing |
#[derive(Debug)]
pub struct Client {
    kind: ClientKind,
    wire: Kind,
    seed: u64,
    address: SocketAddr,
    state: ClientState,
    pc: Option<Pc>,
    /// Connections that it has made, the next one's port behind the first's.
    made: u16,
    /// The one before a restart, until the answer to the new one's candidates.
    old: Option<Pc>,
    pc_id: Option<String>,
    /// The number of the offer that is not answered yet.
    asked: Option<u64>,
    next_number: u64,
    requests: VecDeque<ClientRequest>,
    trickles_early: bool,
    trickle_at: Option<Instant>,
    /// The number of the PATCH that the old connection waits for.
    trickled: Option<u64>,
    retry_at: Option<Instant>,
    attempts: u32,
    packets: VecDeque<Packet>,
    events: VecDeque<BrowserEvent>,
    restarts: u64,
}

impl Client {
    /// A client that has not called yet. Its first connection sends from `address`, each further
    /// one from the next port.
    #[must_use]
    pub fn new(kind: ClientKind, wire: Kind, seed: u64, address: SocketAddr) -> Client {
        Client {
            kind,
            wire,
            seed,
            address,
            state: ClientState::Idle,
            pc: None,
            made: 0,
            old: None,
            pc_id: None,
            asked: None,
            next_number: 0,
            requests: VecDeque::new(),
            trickles_early: false,
            trickle_at: None,
            trickled: None,
            retry_at: None,
            attempts: 0,
            packets: VecDeque::new(),
            events: VecDeque::new(),
            restarts: 0,
        }
    }

    /// Which client it is.
    #[must_use]
    pub fn kind(&self) -> ClientKind {
        self.kind
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.state
    }

    /// What the bot calls its call.
    #[must_use]
    pub fn pc_id(&self) -> Option<&str> {
        self.pc_id.as_deref()
    }

    /// How often it made a new connection in the place of one that had gone.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The browser of its newest connection.
    pub fn browser(&mut self) -> Option<&mut Browser> {
        self.pc.as_mut().map(|pc| &mut pc.browser)
    }

    /// The addresses that it sends from.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        [&self.pc, &self.old].into_iter().flatten().map(|pc| pc.browser.address()).collect()
    }

    /// From now on it sends its candidates right behind each offer, before the answer, as versions
    /// before 1.10.8 do: with the first offer it does not know yet what its call is called.
    pub fn trickle_early(&mut self) {
        self.trickles_early = true;
    }

    /// Calls the bot.
    ///
    /// # Panics
    /// When it has called before.
    pub fn connect(&mut self, now: Instant) {
        assert_eq!(self.state, ClientState::Idle, "a client calls once");
        self.state = ClientState::Connecting;
        self.make(now);
        self.offer(false, now);
    }

    /// Hangs up.
    pub fn leave(&mut self, now: Instant) {
        self.end(ClientState::Left, now);
    }

    /// Is gone without a word: the tab has crashed, the battery is empty.
    pub fn vanish(&mut self) {
        self.state = ClientState::Left;
        (self.pc, self.old, self.asked) = (None, None, None);
        (self.trickle_at, self.retry_at) = (None, None);
        self.requests.clear();
    }

    /// Says something over the channel, in its own manner; whether it was taken.
    pub fn say(&mut self, json: &Value, now: Instant) -> bool {
        let (text, is_binary) = (json.to_string(), self.kind == ClientKind::Ios);
        let Some(pc) = &mut self.pc else { return false };
        let taken = match is_binary {
            true => pc.browser.send_binary(text.as_bytes(), now),
            false => pc.browser.send_text(&text, now),
        };
        self.collect(now);
        taken
    }

    /// A new connection, as the first or in another's place.
    fn make(&mut self, now: Instant) {
        let mut config = BrowserConfig::new(self.wire, self.seed + u64::from(self.made));
        let mut address = self.address;
        address.set_port(address.port() + self.made);
        config.address = address;
        self.kind.shape(&mut config);
        self.made += 1;
        let browser = Browser::new(config, now);
        let pc = Pc { browser, mids: Vec::new(), answered_at: None, heard_at: None };
        self.old = self.pc.replace(pc);
    }

    /// Asks with an offer of the newest connection.
    fn offer(&mut self, restarts: bool, now: Instant) {
        let Some(pc) = &mut self.pc else { return };
        let browser = pc.browser.offer(now);
        pc.mids = mids(&browser);
        let sdp = self.kind.words(&browser);
        let mut body = json!({ "sdp": sdp, "type": "offer" });
        if self.kind != ClientKind::Esp32 {
            body["pc_id"] = json!(self.pc_id);
        }
        match self.kind {
            ClientKind::JavaScript => {
                body["restart_pc"] = json!(restarts);
                body["requestData"] = json!({ "of": "JavaScript" });
            }
            ClientKind::Android => body["request_data"] = json!({ "of": "Android" }),
            ClientKind::Ios | ClientKind::Esp32 => {}
        }
        self.asked = Some(self.ask("POST", &body));
        if self.trickles_early {
            self.trickle();
        }
        self.collect(now);
    }

    fn ask(&mut self, method: &'static str, body: &Value) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.requests.push_back(ClientRequest { number, method, body: body.to_string() });
        number
    }

    /// Takes a response; a status of 0 says that there was none.
    ///
    /// # Panics
    /// When a response of 200 to an offer holds no answer.
    pub fn handle_response(&mut self, number: u64, status: u16, body: &str, now: Instant) {
        if self.trickled.take_if(|asked| *asked == number).is_some() {
            // Whatever was said of them: the old connection is closed with it.
            self.close_old(now);
        }
        if self.asked.take_if(|asked| *asked == number).is_none() {
            return;
        }
        match status {
            200 => self.answered(body, now),
            400..=499 => self.end(ClientState::Failed(status), now),
            _ if self.kind == ClientKind::JavaScript && self.attempts < ATTEMPTS_MAX => {
                self.retry_at = Some(now + RETRY_AFTER);
            }
            _ => self.end(ClientState::Failed(status), now),
        }
    }

    fn answered(&mut self, body: &str, now: Instant) {
        let answer: Value = serde_json::from_str(body).expect("an answer is JSON");
        let (sdp, pc_id) = (answer["sdp"].as_str(), answer["pc_id"].as_str());
        let (sdp, pc_id) = (sdp.expect("an answer has SDP"), pc_id.expect("and a name"));
        self.pc_id = Some(pc_id.to_owned());
        let Some(pc) = &mut self.pc else { return };
        let sdp = match self.kind {
            ClientKind::Esp32 => renamed(sdp, &ESP32_MIDS, &pc.mids)
                .replace("UDP/TLS/RTP/SAVP ", "UDP/TLS/RTP/SAVPF "),
            _ => sdp.to_owned(),
        };
        pc.browser.accept_answer(&sdp, now);
        pc.answered_at = Some(now);
        if self.kind.trickles() && !self.trickles_early {
            self.trickle_at = Some(now + TRICKLE_AFTER);
        }
        self.collect(now);
    }

    /// Sends what was collected of candidates.
    fn trickle(&mut self) {
        let Some(pc) = &self.pc else { return };
        let candidate = json!({
            "candidate": pc.browser.candidate(), "sdp_mid": "0", "sdp_mline_index": 0,
        });
        let end = json!({ "candidate": "", "sdp_mid": "0", "sdp_mline_index": 0 });
        let body = json!({ "pc_id": self.pc_id, "candidates": [candidate, end] });
        self.trickled = Some(self.ask("PATCH", &body));
    }

    fn close_old(&mut self, now: Instant) {
        if let Some(mut old) = self.old.take() {
            old.browser.hang_up(now);
            while let Some(packet) = old.browser.poll_packet() {
                self.packets.push_back(packet);
            }
        }
    }

    /// A new connection in the place of this one.
    fn restart(&mut self, now: Instant) {
        self.attempts += 1;
        if self.attempts > ATTEMPTS_MAX {
            return self.end(ClientState::Failed(0), now);
        }
        self.restarts += 1;
        self.state = ClientState::Connecting;
        (self.trickle_at, self.retry_at) = (None, None);
        self.close_old(now);
        self.make(now);
        self.offer(true, now);
    }

    fn end(&mut self, state: ClientState, now: Instant) {
        if matches!(self.state, ClientState::Left | ClientState::Failed(_)) {
            return;
        }
        self.state = state;
        self.close_old(now);
        self.old = self.pc.take();
        self.close_old(now);
        (self.trickle_at, self.retry_at, self.asked) = (None, None, None);
        self.requests.clear();
    }

    /// Takes a datagram.
    pub fn handle_packet(&mut self, packet: Packet, now: Instant) {
        for pc in [&mut self.pc, &mut self.old].into_iter().flatten() {
            if pc.browser.address() == packet.destination {
                pc.heard_at = Some(now);
                pc.browser.handle_packet(packet.clone(), now);
            }
        }
        self.collect(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        for pc in [&mut self.pc, &mut self.old].into_iter().flatten() {
            if pc.browser.poll_timeout().is_some_and(|at| at <= now) {
                pc.browser.handle_timeout(now);
            }
        }
        if self.trickle_at.take_if(|at| *at <= now).is_some() {
            self.trickle();
        }
        let is_gone = self.gives_up_at().is_some_and(|at| at <= now);
        if self.retry_at.take_if(|at| *at <= now).is_some() || is_gone {
            self.restart(now);
        }
        self.collect(now);
    }

    /// When ICE has failed, or has been disconnected for so long, that the JavaScript client begins
    /// anew.
    fn gives_up_at(&self) -> Option<Instant> {
        let waits = self.asked.is_some() || self.retry_at.is_some();
        if self.kind != ClientKind::JavaScript || waits {
            return None;
        }
        let pc = self.pc.as_ref()?;
        match pc.heard_at {
            Some(heard_at) => Some(heard_at + DISCONNECTED_AFTER + RECONNECT_AFTER),
            None => Some(pc.answered_at? + FAILED_AFTER),
        }
    }

    /// When [`Client::handle_timeout`] is wanted.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let browsers = [&self.pc, &self.old].into_iter().flatten();
        let own = [self.trickle_at, self.retry_at, self.gives_up_at()];
        browsers.filter_map(|pc| pc.browser.poll_timeout()).chain(own.into_iter().flatten()).min()
    }

    /// The next request to send.
    #[must_use]
    pub fn poll_request(&mut self) -> Option<ClientRequest> {
        self.requests.pop_front()
    }

    /// The next datagram to send.
    #[must_use]
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    /// What the newest connection's page was told.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<BrowserEvent> {
        self.events.pop_front()
    }

    fn collect(&mut self, now: Instant) {
        for pc in [&mut self.pc, &mut self.old].into_iter().flatten() {
            while let Some(packet) = pc.browser.poll_packet() {
                self.packets.push_back(packet);
            }
        }
        let mut told = Vec::new();
        if let Some(pc) = &mut self.pc {
            while let Some(event) = pc.browser.poll_event() {
                told.push(event);
            }
        }
        for event in told {
            self.on_event(&event, now);
            self.events.push_back(event);
        }
    }

    fn on_event(&mut self, event: &BrowserEvent, now: Instant) {
        match event {
            BrowserEvent::ChannelOpen => {
                self.state = ClientState::Connected;
                self.attempts = 0;
            }
            BrowserEvent::Message { data, .. } => self.on_message(data, now),
            BrowserEvent::HungUp if self.kind != ClientKind::JavaScript => {
                self.end(ClientState::Left, now);
            }
            _ => {}
        }
    }

    fn on_message(&mut self, data: &[u8], now: Instant) {
        let Ok(message) = serde_json::from_slice::<Value>(data) else { return };
        if message["type"] != "signalling" {
            return;
        }
        match message["message"]["type"].as_str() {
            Some("renegotiate") if self.kind.renegotiates() => self.offer(false, now),
            Some("peerLeft") if self.kind == ClientKind::Android => {
                self.end(ClientState::Left, now);
            }
            _ => {}
        }
    }
}
