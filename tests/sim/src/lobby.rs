//! A bot with its signalling, and who stands before it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use smallrtc::signaling::{Options, Reply, Request, Response, Signaling, Token};
use smallrtc::{
    AudioFrame, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TransportId,
};

use crate::pair::brief;
use crate::{
    BrowserEvent, Client, ClientKind, Kind, Link, LinkConfig, Packet, Trace, bot_address,
    bot_certificate, null_words, start,
};

/// How long a request or a response is on its way.
const HTTP_DELAY: Duration = Duration::from_millis(15);

/// How much the bot says at once, when it speaks without end.
const SPEECH: Duration = Duration::from_millis(100);
const SPEECH_LEN: usize = 2_400;
const SPEECH_RATE: u32 = 24_000;
const SPEECH_LEVEL: i16 = 900;

/// Turns at one instant before the run is taken for a livelock.
const TURNS_MAX: usize = 100_000;

/// A client with its ways to the bot, and what came of it.
struct Seat {
    client: Client,
    up: Link,
    down: Link,
    is_dark: bool,
    told: Vec<(Duration, BrowserEvent)>,
    responses: Vec<Answered>,
}

/// A response that a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answered {
    /// When, since the beginning.
    pub at: Duration,
    /// The request's method.
    pub method: &'static str,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Where a client is at home.
fn address_of(number: usize) -> SocketAddr {
    let host = u8::try_from(number + 1).expect("fewer than 255 clients");
    SocketAddr::from(([198, 51, 100, host], 40_000))
}

/// Where a response goes.
#[derive(Clone, Copy, Debug)]
struct Reader {
    seat: usize,
    number: u64,
    method: &'static str,
}

/// What is on its way.
enum Letter {
    Request(Reader, String),
    Response(Reader, u16, String),
}

/// A bot's whole front: signalling over an endpoint, and model clients that call it by requests,
/// over links, on virtual time.
///
/// A request and its response each take 15 ms, and are lost while their client is dark. The bot
/// starts every call, and if it is told to, speaks without end. What clients and calls were told is
/// kept.
///
/// ```
/// use smallrtc::Config;
/// use smallrtc::signaling::Options;
/// use smallrtc_sim::{ClientKind, ClientState, Kind, LinkConfig, Lobby};
/// use std::time::Duration;
///
/// let mut lobby = Lobby::new(Config::new(), Options::new(), Kind::Scripted, 1);
/// let number = lobby.add(ClientKind::Android, LinkConfig::clean());
/// lobby.connect(number);
/// lobby.drive_until(Duration::from_secs(5), "it is connected", |lobby| {
///     lobby.client(number).state() == ClientState::Connected
/// });
/// ```
pub struct Lobby {
    /// The bot's endpoint.
    pub endpoint: Endpoint,
    /// Its signalling.
    pub signaling: Signaling,
    /// What happened, in order.
    pub trace: Trace,
    wire: Kind,
    seed: u64,
    now: Instant,
    seats: Vec<Seat>,
    letters: BTreeMap<(Instant, u64), Letter>,
    sent: u64,
    later: BTreeMap<Token, Reader>,
    events: Vec<(Duration, SessionId, Event)>,
    speak_at: Option<Instant>,
}

impl fmt::Debug for Lobby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lobby").field("seats", &self.seats.len()).finish_non_exhaustive()
    }
}

impl Lobby {
    /// A bot before which nobody stands.
    #[must_use]
    pub fn new(config: Config, options: Options, wire: Kind, seed: u64) -> Lobby {
        let config = config.certificate(bot_certificate()).dangerous();
        let config = config.seeded_dtls(true).null_codec(true);
        let config = config.scripted_transport(wire == Kind::Scripted).done();
        let mut endpoint = Endpoint::new(config.shared(), Seed::from_number(seed), start());
        endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), bot_address()));
        let signaling = Signaling::with_options(Seed::from_number(seed + 1), options.shared());
        Lobby {
            endpoint,
            signaling,
            trace: Trace::of_scenario(false),
            wire,
            seed,
            now: start(),
            seats: Vec::new(),
            letters: BTreeMap::new(),
            sent: 0,
            later: BTreeMap::new(),
            events: Vec::new(),
            speak_at: None,
        }
    }

    /// From now on the bot speaks in every call, without end.
    pub fn speak(&mut self) {
        self.speak_at = Some(self.now);
    }

    /// Adds a client that has not called yet; its number.
    pub fn add(&mut self, kind: ClientKind, link: LinkConfig) -> usize {
        let number = self.seats.len();
        let seed = self.seed * 1_000_003 + number as u64 * 101;
        let address = address_of(number);
        self.seats.push(Seat {
            client: Client::new(kind, self.wire, seed, address),
            up: Link::new(link, seed + 11),
            down: Link::new(link, seed + 12),
            is_dark: false,
            told: Vec::new(),
            responses: Vec::new(),
        });
        number
    }

    /// A client.
    pub fn client(&mut self, number: usize) -> &mut Client {
        &mut self.seats[number].client
    }

    /// Lets a client call.
    pub fn connect(&mut self, number: usize) {
        self.seats[number].client.connect(self.now);
        self.settle();
    }

    /// Lets a client hang up.
    pub fn leave(&mut self, number: usize) {
        self.seats[number].client.leave(self.now);
        self.settle();
    }

    /// Nothing reaches a client and nothing comes from it while it is dark, requests included.
    pub fn set_dark(&mut self, number: usize, is_dark: bool) {
        let seat = &mut self.seats[number];
        seat.is_dark = is_dark;
        seat.up.set_down(is_dark);
        seat.down.set_down(is_dark);
    }

    /// The same for datagrams alone: requests go through.
    pub fn set_path_dark(&mut self, number: usize, is_dark: bool) {
        let seat = &mut self.seats[number];
        seat.up.set_down(is_dark);
        seat.down.set_down(is_dark);
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The same since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now - start()
    }

    /// The session of a client's newest call.
    #[must_use]
    pub fn session_of(&self, number: usize) -> Option<SessionId> {
        self.signaling.session_of(self.seats[number].client.pc_id()?)
    }

    /// What all calls told.
    #[must_use]
    pub fn events(&self) -> &[(Duration, SessionId, Event)] {
        &self.events
    }

    /// What a client's pages were told.
    #[must_use]
    pub fn told(&self, number: usize) -> &[(Duration, BrowserEvent)] {
        &self.seats[number].told
    }

    /// The responses that a client got.
    #[must_use]
    pub fn responses(&self, number: usize) -> &[Answered] {
        &self.seats[number].responses
    }

    /// When a client heard the bot speak.
    #[must_use]
    pub fn heard(&self, number: usize) -> Vec<Duration> {
        let speaks = |event: &BrowserEvent| match event {
            BrowserEvent::Media { line: 0, data, .. } => {
                null_words(data).is_some_and(|words| words.iter().any(|word| *word != 0))
            }
            _ => false,
        };
        let told = self.seats[number].told.iter();
        told.filter(|(_, event)| speaks(event)).map(|(at, _)| *at).collect()
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while let Some(next) = self.next_wake().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until something is so.
    ///
    /// # Panics
    /// When it is not so within `limit`.
    pub fn drive_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut Lobby) -> bool,
    ) {
        let end = self.now + limit;
        self.settle();
        while !is_so(self) {
            let next = self.next_wake().filter(|next| *next <= end);
            let next = next.unwrap_or_else(|| panic!("not within {limit:?}: {what}"));
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let letters = self.letters.keys().next().map(|(at, _)| *at);
        let bot = [self.endpoint.poll_timeout(), self.signaling.poll_timeout(), self.speak_at];
        let seats = self.seats.iter().flat_map(|seat| {
            [seat.client.poll_timeout(), seat.up.poll_timeout(), seat.down.poll_timeout()]
        });
        seats.chain(bot).chain([letters]).flatten().min()
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= now) {
            let letter = entry.remove();
            self.deliver(letter);
        }
        for number in 0..self.seats.len() {
            self.stays_here_if_it_must(number);
            while let Some(packet) = self.seats[number].up.receive(now) {
                let Packet { source, destination, payload } = packet;
                let datagram = Datagram::udp(TransportId(0), source, destination, payload);
                let _ = self.endpoint.handle_datagram(datagram, now);
            }
            while let Some(packet) = self.seats[number].down.receive(now) {
                self.seats[number].client.handle_packet(packet, now);
            }
            if self.seats[number].client.poll_timeout().is_some_and(|at| at <= now) {
                self.seats[number].client.handle_timeout(now);
            }
        }
        self.endpoint.handle_timeout(now);
        self.signaling.handle_timeout(&mut self.endpoint, now);
        if self.speak_at.is_some_and(|at| at <= now) {
            self.say();
        }
        self.settle();
    }

    /// As in a world: with video and gaps the engine's own clock shows.
    fn stays_here_if_it_must(&mut self, number: usize) {
        let Seat { client, up, down, .. } = &mut self.seats[number];
        let has_gaps = up.has_gaps() || down.has_gaps();
        if has_gaps && client.browser().is_some_and(|page| page.rounds_by_the_clock()) {
            self.trace.stays_here();
        }
    }

    fn say(&mut self) {
        self.speak_at = Some(self.now + SPEECH);
        let words = [SPEECH_LEVEL; SPEECH_LEN];
        for id in self.endpoint.session_ids() {
            if let Some(mut session) = self.endpoint.session(id) {
                // Refused by a call that is not connected yet, or is about to end.
                let _ = session.send_audio(AudioFrame::mono(&words, SPEECH_RATE), self.now);
            }
        }
    }

    /// Carries what everybody has to say at this instant.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            if !(self.settle_seats() | self.settle_bot()) {
                return;
            }
        }
        panic!("a livelock: something new is said for ever");
    }

    fn settle_seats(&mut self) -> bool {
        let (now, elapsed, mut moved) = (self.now, self.elapsed(), false);
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            while let Some(packet) = seat.client.poll_packet() {
                let Packet { source, destination, payload } = &packet;
                self.trace.packet(now, *source, *destination, payload);
                seat.up.send(packet, now);
                moved = true;
            }
            while let Some(event) = seat.client.poll_event() {
                self.trace.note(now, format_args!("client {number} {}", brief(&event)));
                seat.told.push((elapsed, event));
            }
            while let Some(request) = seat.client.poll_request() {
                let reader =
                    Reader { seat: number, number: request.number, method: request.method };
                let letter = match seat.is_dark {
                    true => Letter::Response(reader, 0, String::new()),
                    false => Letter::Request(reader, request.body),
                };
                self.letters.insert((now + HTTP_DELAY, self.sent), letter);
                self.sent += 1;
                moved = true;
            }
        }
        moved
    }

    fn settle_bot(&mut self) -> bool {
        let mut moved = false;
        while let Some(call) = self.signaling.poll_call() {
            if let Some(mut session) = self.endpoint.session(call.id) {
                session.start(self.now);
            }
            moved = true;
        }
        while let Some((token, response)) = self.signaling.poll_response() {
            if let Some(reader) = self.later.remove(&token) {
                self.post(reader, response);
            }
            moved = true;
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let (destination, payload) = (transmit.destination, transmit.payload);
            self.trace.packet(self.now, bot_address(), destination, &payload);
            let seat =
                self.seats.iter_mut().find(|seat| seat.client.addresses().contains(&destination));
            if let Some(seat) = seat {
                seat.down.send(Packet { source: bot_address(), destination, payload }, self.now);
            }
            moved = true;
        }
        while let Some((id, event)) = self.endpoint.poll_event() {
            if matches!(event, Event::Closed { .. }) {
                self.signaling.session_closed(id);
            }
            self.trace.note(self.now, format_args!("bot {id} {event:?}"));
            self.events.push((self.elapsed(), id, event));
            moved = true;
        }
        moved
    }

    fn deliver(&mut self, letter: Letter) {
        match letter {
            Letter::Request(reader, body) => {
                let request = Request::new(reader.method, "/api/offer", body.as_bytes());
                let request = request.client(address_of(reader.seat).ip());
                match self.signaling.handle(&mut self.endpoint, request, self.now) {
                    Reply::Now(response) => self.post(reader, response),
                    Reply::Later(token) => {
                        self.later.insert(token, reader);
                    }
                    _ => unreachable!("a reply is one of these"),
                }
            }
            Letter::Response(reader, status, body) => {
                let seat = &mut self.seats[reader.seat];
                let (status, body) = if seat.is_dark { (0, String::new()) } else { (status, body) };
                self.trace.note(self.now, format_args!("{reader:?} {status}"));
                seat.responses.push(Answered {
                    at: self.now - start(),
                    method: reader.method,
                    status,
                    body: body.clone(),
                });
                seat.client.handle_response(reader.number, status, &body, self.now);
            }
        }
    }

    fn post(&mut self, reader: Reader, response: Response) {
        let letter = Letter::Response(reader, response.status, response.body);
        self.letters.insert((self.now + HTTP_DELAY, self.sent), letter);
        self.sent += 1;
    }
}
