//! A model browser on a real socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::scripted::stun;
use smallrtc::{Event, SessionId};
use smallrtc_sim::{Browser, BrowserConfig, BrowserEvent, Kind, Packet};

use super::{PATIENCE, Remote, Running, in_time};
use crate::subject::{Report, Told};
use crate::watch::{Watch, words};

/// How long a page waits for one datagram before it looks at its clock again.
const LOOK: Duration = Duration::from_millis(1);

/// How long ago the bot's last check may be when it is to rest.
const REST: Duration = Duration::from_millis(500);

/// A page in a call.
#[derive(Debug)]
pub struct Page {
    browser: Browser,
    socket: UdpSocket,
    watch: Watch,
    /// Its call.
    pub id: SessionId,
    events: Vec<BrowserEvent>,
    /// Credentials of the bot and of the page.
    ufrags: (String, String),
    pwd: String,
    began: Instant,
    /// Checks of the bot that came so far.
    pub checks: usize,
    last_check: Instant,
    /// Responses of the bot that came so far.
    pub responses: usize,
}

impl Page {
    /// Calls a driver, and waits until the data channel is open. The page sends nothing by itself
    /// then but checks.
    ///
    /// # Panics
    /// When the call is not made in time.
    pub fn call<D: Running>(driver: &D, seed: u64) -> Page {
        Page::call_over(driver, Kind::Scripted, seed)
    }

    /// The same over the wire of this kind, which has to be the driver's.
    ///
    /// # Panics
    /// When the call is not made in time.
    pub fn call_over<D: Running>(driver: &D, kind: Kind, seed: u64) -> Page {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let mut config = BrowserConfig::new(kind, seed);
        (config.address, config.chatters) = (address, false);
        let began = Instant::now();
        let mut browser = Browser::new(config, began);
        let offer = browser.offer(began);
        let body = json!({ "type": "offer", "sdp": offer }).to_string();
        let response = in_time("an answer", driver.remote(), move |remote| {
            remote.request("POST", "/api/offer", body.as_bytes())
        });
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).expect("answers are JSON");
        let text = |field: &str| answer[field].as_str().expect("an answer has it").to_owned();
        let (sdp, name) = (text("sdp"), text("pc_id"));
        browser.accept_answer(&sdp, began);
        let ufrags = (attribute(&sdp, "a=ice-ufrag:"), attribute(&offer, "a=ice-ufrag:"));
        let mut page = Page {
            browser,
            socket,
            watch: Watch::default(),
            id: named(driver, &name),
            events: Vec::new(),
            ufrags,
            pwd: attribute(&sdp, "a=ice-pwd:"),
            began,
            checks: 0,
            last_check: began,
            responses: 0,
        };
        let id = page.id;
        page.go_on("the channel opens", |_| {
            // The page has it open one latency before the bot has.
            let opened = |report| match report {
                Report::Told(of, Told::Event(Event::ChannelOpened { .. })) => of == id,
                _ => false,
            };
            std::iter::from_fn(|| driver.poll_report()).any(opened)
        });
        page
    }

    /// Goes on until something is so.
    ///
    /// # Panics
    /// When it is not so in time.
    pub fn go_on(&mut self, what: &str, mut is_so: impl FnMut(&Page) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < give_up, "not in time: {what}");
            self.look();
        }
    }

    /// Goes on for so long.
    pub fn go_on_for(&mut self, duration: Duration) {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.look();
        }
    }

    /// Goes on until the bot has made a check a moment ago, so that its next deadline is nearly 3 s
    /// away.
    pub fn go_on_to_rest(&mut self) {
        self.go_on_for(Duration::from_millis(50));
        self.go_on("a check of the bot", |page| page.last_check.elapsed() < REST);
    }

    /// What is seen at its socket.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The words that it heard, without silence.
    #[must_use]
    pub fn heard(&self) -> Vec<i16> {
        let of_event = |event: &BrowserEvent| match event {
            BrowserEvent::Media { line: 0, data, .. } => words(data),
            _ => Vec::new(),
        };
        self.events.iter().flat_map(of_event).filter(|word| *word != 0).collect()
    }

    /// The texts that it read.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let text = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => String::from_utf8(data.clone()).ok(),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    /// Whether it was told this.
    #[must_use]
    pub fn was_told(&self, wanted: &BrowserEvent) -> bool {
        self.events.contains(wanted)
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the channel does not take it.
    pub fn send_text(&mut self, text: &str) {
        assert!(self.browser.send_text(text, Instant::now()), "the channel takes it");
        self.flush();
    }

    /// Sends a packet of sound, counted from zero.
    pub fn send_sound(&mut self, number: u64, packet: &[u8]) {
        assert!(self.browser.send_media(0, number * 960, packet, Instant::now()));
        self.flush();
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.browser.hang_up(Instant::now());
        self.flush();
    }

    /// Sends so many valid checks at once, each of which the bot answers.
    pub fn send_checks(&mut self, count: usize, to: SocketAddr) {
        for number in 0..count {
            let mut transaction = [0xbb; 12];
            transaction[..8].copy_from_slice(&number.to_be_bytes());
            let (bot, page) = &self.ufrags;
            let request = stun::request(transaction, bot, page, &self.pwd, true);
            self.socket.send_to(&request, to).expect("loopback takes it");
        }
    }

    /// Takes datagrams as they come, until none has come for a moment.
    fn look(&mut self) {
        let now = Instant::now();
        if self.browser.poll_timeout().is_some_and(|at| at <= now) {
            self.browser.handle_timeout(now);
        }
        self.flush();
        self.socket.set_read_timeout(Some(LOOK)).expect("a timeout that is not zero");
        let mut buffer = [0; 2000];
        match self.socket.recv_from(&mut buffer) {
            Ok((len, source)) => self.receive(source, &buffer[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The bot has ended.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("the page's socket: {error}"),
        }
        while let Some(event) = self.browser.poll_event() {
            self.events.push(event);
        }
    }

    fn receive(&mut self, source: SocketAddr, payload: &[u8]) {
        let now = Instant::now();
        match payload {
            [0, 1, ..] => (self.checks, self.last_check) = (self.checks + 1, now),
            [1, 1, ..] => self.responses += 1,
            _ => {}
        }
        self.watch.see(payload, now - self.began);
        let destination = self.browser.address();
        let payload = payload.to_vec().into();
        self.browser.handle_packet(Packet { source, destination, payload }, now);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(packet) = self.browser.poll_packet() {
            // A bot that is gone is no failure of the page.
            let _ = self.socket.send_to(&packet.payload, packet.destination);
        }
    }
}

fn attribute(sdp: &str, name: &str) -> String {
    let value = sdp.lines().find_map(|line| line.strip_prefix(name));
    value.expect("the attribute stands in every description").to_owned()
}

/// The call of this name.
fn named<D: Running>(driver: &D, name: &str) -> SessionId {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        match driver.poll_report() {
            Some(Report::Told(id, Told::Called { pc_id })) if pc_id == name => return id,
            Some(_) => {}
            None => std::thread::yield_now(),
        }
    }
    panic!("the application is not told of the call");
}
