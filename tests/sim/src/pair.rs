//! One session, one browser, two links, and time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fmt, mem};

use smallrtc::{
    AudioFrame, AudioId, CloseReason, ConnectionState, Datagram, Delivery, Event, LocalCandidate,
    Message, NegotiateError, Offer, Seed, SendError, Session, Transmit,
};

use crate::bot::Seat;
use crate::clock::earliest;
use crate::driver::Driver;
use crate::ledger::digest;
use crate::replays::Replays;
use crate::setup::BOT_TRANSPORT;
use crate::{
    Bot, Browser, BrowserEvent, Checks, Link, Packet, Setup, Trace, Watched, bot_address, start,
};

/// How long a call may take to connect, on any link that loses less than everything.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// A call between one session and one browser.
#[derive(Debug)]
pub struct Pair {
    /// The bot's side. Calls may go to it directly; the next step polls it.
    pub session: Watched,
    /// The page.
    pub browser: Browser,
    /// From the browser to the bot.
    pub up: Link,
    /// From the bot to the browser.
    pub down: Link,
    /// What happened.
    pub trace: Trace,
    /// What is checked.
    pub checks: Checks,
    /// The address that a 1:1 NAT maps to the bot's.
    advertised: Option<SocketAddr>,
    now: Instant,
    /// The time from the beginning to `now`: events of an instant share one subtraction.
    elapsed: Duration,
    bot: Seat<Session>,
    driver: Driver,
    stalled_until: Option<Instant>,
    polls: Option<fastrand::Rng>,
    /// Draws whether a drain is put off; never twice in a row.
    dawdles: Option<fastrand::Rng>,
    has_dawdled: bool,
    events: Vec<(Duration, Event)>,
    browser_events: Vec<(Duration, BrowserEvent)>,
    transmits: Vec<(Duration, Transmit)>,
    keeps_transmits: bool,
    /// Scratch: what the session says in one drain. Empty between drains.
    drained: Drained,
    /// Dropped after the session, which ends its log.
    replays: Option<Replays>,
    is_checked: bool,
}

/// Which side was called since both were drained.
#[derive(Clone, Copy, Debug)]
enum Touched {
    Session,
    Page,
}

/// When the two sides want to be called. It costs something to ask them, and changes only when they
/// are called.
#[derive(Clone, Copy, Debug)]
struct Dues {
    session: Option<Instant>,
    page: Option<Instant>,
}

/// When each part wants to be woken.
#[derive(Clone, Copy, Debug)]
struct Wakes {
    driver: Option<Instant>,
    down: Option<Instant>,
    dues: Dues,
}

impl Wakes {
    fn first(self) -> Option<Instant> {
        earliest([self.driver, self.down, self.dues.page])
    }
}

/// What a session says in one drain.
#[derive(Debug, Default)]
struct Drained {
    events: Vec<Event>,
    transmits: Vec<Transmit>,
}

impl Drained {
    fn poll(&mut self, session: &mut Watched) {
        while let Some(event) = session.poll_event() {
            self.events.push(event);
        }
        while let Some(transmit) = session.poll_transmit() {
            self.transmits.push(transmit);
        }
    }
}

impl Pair {
    /// Both sides, before the offer.
    #[must_use]
    pub fn new(setup: Setup) -> Pair {
        let now = start();
        let mut replays = setup.records.then(Replays::default);
        let config = match &mut replays {
            Some(replays) => {
                replays.session_made();
                replays.record(setup.config, setup.seed)
            }
            None => setup.config,
        };
        let mut session = Session::new(config.shared(), Seed::from_number(setup.seed), now);
        let local = match setup.advertised {
            Some(advertised) => LocalCandidate::mapped(BOT_TRANSPORT, advertised, bot_address()),
            None => LocalCandidate::host(BOT_TRANSPORT, bot_address()),
        };
        session.add_local_candidate(local, now).expect("a first candidate");
        if setup.starts {
            session.start(now);
        }
        let address = setup.browser.address;
        let mut browser = Browser::new(setup.browser, now);
        if setup.checks {
            let _from_now_on = browser.take_said();
        }
        Pair {
            session: Watched::new(session, setup.checks),
            browser,
            up: Link::new(setup.up, setup.seed ^ 0x1111),
            down: Link::new(setup.down, setup.seed ^ 0x2222),
            trace: Trace::of_scenario(setup.traces),
            checks: Checks::new(setup.mtu, &[bot_address()], address, now),
            advertised: setup.advertised,
            now,
            elapsed: Duration::ZERO,
            bot: Seat::new(),
            driver: Driver::new(setup.driver, setup.seed ^ 0x5555),
            stalled_until: None,
            polls: setup.shuffles.then(|| fastrand::Rng::with_seed(setup.seed ^ 0x3333)),
            dawdles: setup.dawdles.then(|| fastrand::Rng::with_seed(setup.seed ^ 0x4444)),
            has_dawdled: false,
            events: Vec::new(),
            browser_events: Vec::new(),
            transmits: Vec::new(),
            keeps_transmits: false,
            drained: Drained::default(),
            replays,
            is_checked: setup.checks,
        }
    }

    /// Seats the bot, in the place of one that sat there. It is told every event from now on, at
    /// once, and may do to the session what it likes. What it sends is not accounted for from
    /// then on ([`Ledger`](crate::Ledger)): what has to be heard is its test's to say.
    pub fn set_bot(&mut self, bot: impl Bot<Session> + 'static) {
        if let Some(ledger) = self.session.ledger_mut() {
            ledger.bot_sits();
        }
        self.bot.take(bot);
    }

    /// Virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What the session told.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().map(|(_, event)| event)
    }

    /// What the session told, with the time since the beginning.
    #[must_use]
    pub fn timed_events(&self) -> &[(Duration, Event)] {
        &self.events
    }

    /// What the page was told.
    pub fn browser_events(&self) -> impl Iterator<Item = &BrowserEvent> {
        self.browser_events.iter().map(|(_, event)| event)
    }

    /// What the page was told, with the time since the beginning.
    #[must_use]
    pub fn timed_browser_events(&self) -> &[(Duration, BrowserEvent)] {
        &self.browser_events
    }

    /// The application messages that the session told.
    #[must_use]
    pub fn messages(&self) -> Vec<&Message> {
        let mut messages = Vec::new();
        for event in self.events() {
            if let Event::Message(message) = event {
                messages.push(message);
            }
        }
        messages
    }

    /// The messages that the page got, signalling included, as text.
    #[must_use]
    pub fn browser_messages(&self) -> Vec<String> {
        let text = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => Some(String::from_utf8_lossy(data).into_owned()),
            _ => None,
        };
        self.browser_events().filter_map(text).collect()
    }

    /// When the session changed to a state, first.
    #[must_use]
    pub fn entered(&self, state: ConnectionState) -> Option<Duration> {
        let found = self.events.iter().find(|(_, event)| *event == Event::StateChanged(state));
        found.map(|(at, _)| *at)
    }

    /// Why and when the session ended.
    #[must_use]
    pub fn closed(&self) -> Option<(Duration, CloseReason)> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Closed { reason } => Some((*at, *reason)),
            _ => None,
        })
    }

    /// From now on, keeps what the session sends.
    pub fn keep_transmits(&mut self) {
        self.keeps_transmits = true;
    }

    /// What was kept, with the time since the beginning.
    pub fn transmits(&self) -> &[(Duration, Transmit)] {
        &self.transmits
    }

    /// The session's log as far as it was handed over; all of it but the last second.
    #[must_use]
    pub fn log(&self) -> Vec<u8> {
        let logs = self.replays.as_ref().map_or_else(Vec::new, Replays::logs);
        logs.into_iter().next().map_or_else(Vec::new, |(_, bytes)| bytes)
    }

    /// Forgets the events and datagrams so far.
    pub fn forget(&mut self) {
        self.events.clear();
        self.browser_events.clear();
        self.transmits.clear();
    }

    /// Carries the browser's offer to the session and the answer back, in no time.
    ///
    /// # Errors
    /// What the session says to the offer.
    pub fn negotiate(&mut self) -> Result<(), NegotiateError> {
        let offer = self.browser.offer(self.now);
        self.exchange(&offer)
    }

    /// Restarts ICE from another port of the browser's.
    ///
    /// # Errors
    /// What the session says to the offer.
    pub fn restart_from_port(&mut self, port: u16) -> Result<(), NegotiateError> {
        let mut address = self.browser.address();
        address.set_port(port);
        self.checks.allow(address);
        let offer = self.browser.restart(address, self.now);
        self.exchange(&offer)
    }

    fn exchange(&mut self, offer: &str) -> Result<(), NegotiateError> {
        let offer = Offer::parse(offer)?;
        let answer = self.session.accept_offer(&offer, self.now)?;
        self.flush();
        self.browser.accept_answer(answer.sdp(), self.now);
        self.flush();
        Ok(())
    }

    /// Negotiates and drives until both sides are connected and the channel, if there is one, is
    /// open on both.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn connect(&mut self) {
        self.negotiate().expect("the browser's offer is accepted");
        self.drive_until(CONNECT_LIMIT, "both sides are connected", |pair| {
            pair.session.state() == ConnectionState::Connected
                && pair.browser_events().any(|event| *event == BrowserEvent::Connected)
                && (!pair.browser.offers_channel()
                    || pair.browser.is_open()
                        && pair.events().any(|event| matches!(event, Event::ChannelOpened { .. })))
        });
    }

    /// Calls [`Session::send_message`].
    ///
    /// # Errors
    /// What the session says.
    pub fn send_message(&mut self, message: Message) -> Result<Delivery, SendError> {
        self.session.send_message(message, self.now)
    }

    /// Sends a text message that has to be taken.
    ///
    /// # Panics
    /// When it is not.
    pub fn say(&mut self, text: &str) {
        let sent = self.send_message(Message::text(text));
        assert!(sent.is_ok(), "{text}: {sent:?}");
    }

    /// Calls [`Session::send_audio`] with one channel.
    ///
    /// # Errors
    /// What the session says.
    pub fn send_audio(&mut self, samples: &[i16], rate: u32) -> Result<AudioId, SendError> {
        self.session.send_audio(AudioFrame::mono(samples, rate), self.now)
    }

    /// Hands a datagram to the session as if it came from the network just now.
    pub fn inject(&mut self, packet: Packet) {
        if let Some(ledger) = self.session.ledger_mut() {
            ledger.forged();
        }
        self.deliver(packet);
        self.flush();
    }

    /// Lets one datagram of a microphone through that is otherwise cut off upwards, and nothing
    /// after it. Gives the time at which it arrives, with a link that only delays: the last sign
    /// of life.
    ///
    /// # Panics
    /// When the browser is not connected.
    pub fn last_sign_of_life(&mut self) -> Duration {
        self.up.set_down(true);
        self.drive_for(Duration::from_secs(1));
        self.up.set_down(false);
        let now = self.now;
        assert!(self.browser.send_media(0, 0, &[0; 20], now), "the browser sends audio");
        self.flush();
        self.up.set_down(true);
        let arrival = self.up.poll_timeout().expect("the datagram is on its way");
        arrival - start()
    }

    /// Drives to this time since the beginning.
    ///
    /// # Panics
    /// When it has passed already.
    pub fn drive_to(&mut self, elapsed: Duration) {
        self.drive_for(elapsed.checked_sub(self.elapsed()).expect("a time that is to come"));
    }

    /// For so long, the session's driver does not run: datagrams and timeouts wait for it.
    pub fn stall(&mut self, duration: Duration) {
        self.stalled_until = Some(self.now + duration);
    }

    /// Goes to the next wake-up and does what is due there. `None` when nothing is left to do.
    pub fn step(&mut self) -> Option<Instant> {
        self.flush();
        let wakes = self.next_wakes();
        self.turn(wakes.first()?, wakes);
        Some(self.now)
    }

    /// Does what is due at `next`, the first of the wake-ups, and tells what is due after it.
    fn turn(&mut self, next: Instant, wakes: Wakes) -> Dues {
        let mut dues = wakes.dues;
        self.go_to(self.now.max(next));
        if self.browser.rounds_by_the_clock() && (self.up.has_gaps() || self.down.has_gaps()) {
            self.trace.stays_here();
        }
        if self.is_checked {
            self.checks.turn(self.now);
            self.session.settle();
        }
        if self.driver.wakes(wakes.driver, self.now) {
            self.stalled_until = None;
            while self.up.has_arrival(self.now) {
                let packet = self.up.take_first();
                self.deliver(packet);
                self.flush_after(Touched::Session);
            }
            dues.session = self.session_timeout();
        }
        while self.down.has_arrival(self.now) {
            let packet = self.down.take_first();
            self.browser.handle_packet(packet, self.now);
            self.flush_after(Touched::Page);
            dues.page = self.browser.poll_timeout();
        }
        if dues.page.is_some_and(|at| at <= self.now) {
            self.browser.handle_timeout(self.now);
            self.flush_after(Touched::Page);
            dues.page = self.browser.poll_timeout();
        }
        dues
    }

    /// Steps until something is so.
    ///
    /// # Panics
    /// When it is not so within `limit`.
    pub fn drive_until(
        &mut self,
        limit: Duration,
        what: &str,
        mut is_so: impl FnMut(&mut Pair) -> bool,
    ) {
        let end = self.now + limit;
        loop {
            self.flush();
            if is_so(self) {
                return;
            }
            let next = self.next_wakes().first();
            assert!(
                next.is_some_and(|next| next <= end),
                "not within {limit:?}: {what}; events so far: {:?}",
                self.events
            );
            self.step();
        }
    }

    /// Steps until a session has ended.
    ///
    /// # Panics
    /// When it does not end within `limit`, or not once.
    pub fn drive_until_closed(&mut self, limit: Duration) -> (Duration, CloseReason) {
        self.drive_until(limit, "the session ends", |pair| pair.checks.is_closed());
        assert!(self.session.is_finished(), "nothing is left after the end");
        assert_eq!(self.session.poll_timeout(), None, "nothing is due after the end");
        self.closed().expect("the checks saw it")
    }

    /// Lets so much time pass.
    pub fn drive_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.flush();
        let mut dues = self.dues();
        loop {
            let wakes = self.wakes(dues);
            let Some(next) = wakes.first().filter(|next| *next <= end) else { break };
            if self.polls_by_chance() {
                // Each drain draws, so that none may be left out.
                self.step();
                dues = self.dues();
            } else {
                dues = self.turn(next, wakes);
            }
        }
        self.go_to(end);
    }

    fn go_to(&mut self, now: Instant) {
        if now != self.now {
            (self.now, self.elapsed) = (now, now - start());
        }
    }

    /// Polls everything that the two sides have to say.
    pub fn flush(&mut self) -> bool {
        let had_output = self.flush_session();
        self.flush_page();
        had_output
    }

    /// Polls what one side has to say; the other was drained before, and has not been called.
    fn flush_after(&mut self, touched: Touched) -> bool {
        match touched {
            _ if self.polls_by_chance() => self.flush(),
            Touched::Session => self.flush_session(),
            Touched::Page => {
                self.flush_page();
                false
            }
        }
    }

    /// Whether a drain draws how much of it happens.
    fn polls_by_chance(&self) -> bool {
        self.dawdles.is_some() || self.polls.is_some()
    }

    fn flush_page(&mut self) {
        self.browser.drain_packets(|packet| self.up.send(packet, self.now));
        self.account_said();
        while let Some(event) = self.browser.poll_event() {
            self.account_heard(&event);
            self.trace.note(self.now, format_args!("page {}", brief(&event)));
            self.browser_events.push((self.elapsed, event));
        }
    }

    fn account_said(&mut self) {
        let Some(ledger) = self.session.ledger_mut() else { return };
        for digest in self.browser.take_said() {
            ledger.page_said(digest);
        }
    }

    fn account_heard(&mut self, event: &BrowserEvent) {
        let Some(ledger) = self.session.ledger_mut() else { return };
        match event {
            BrowserEvent::ChannelOpen | BrowserEvent::ChannelClosed => ledger.channel_changed(),
            BrowserEvent::Message { data, .. } => ledger.page_heard(data),
            _ => {}
        }
    }

    fn dues(&self) -> Dues {
        Dues { session: self.session.poll_timeout(), page: self.browser.poll_timeout() }
    }

    fn next_wakes(&mut self) -> Wakes {
        self.wakes(self.dues())
    }

    /// When each part wants to be woken if the two sides are due then. Beside them the bot is
    /// asked, who may change his mind at any time.
    #[inline(always)]
    fn wakes(&mut self, dues: Dues) -> Wakes {
        let due = [dues.session, self.bot.poll_timeout(), self.up.poll_timeout()];
        let wake_at = self.driver.wake_at(earliest(due), self.now);
        let driver = wake_at.map(|at| self.stalled_until.map_or(at, |until| until.max(at)));
        Wakes { driver, down: self.down.poll_timeout(), dues }
    }

    /// Calls the session while it is due, and tells when it is again.
    fn session_timeout(&mut self) -> Option<Instant> {
        if !self.bot.is_free() {
            self.bot.wake(&mut self.session, self.now);
        }
        if !self.bot.is_free() || self.polls_by_chance() {
            self.flush();
        }
        let mut due = self.session.poll_timeout();
        while due.is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            let had_output = self.flush_after(Touched::Session);
            due = self.session.poll_timeout();
            if self.is_checked {
                self.checks.timeout_done(had_output, due);
            }
        }
        for _ in 0..self.driver.too_many() {
            self.session.handle_timeout(self.now);
            self.flush_after(Touched::Session);
            due = self.session.poll_timeout();
        }
        due
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { source, destination, payload } = packet;
        let mut datagram = Datagram::udp(BOT_TRANSPORT, source, destination, payload);
        if let Some(advertised) = self.advertised {
            if datagram.destination != advertised {
                return;
            }
            datagram.destination = bot_address();
        }
        self.trace.packet(self.now, source, datagram.destination, &datagram.payload);
        self.session.handle_datagram(datagram, self.now);
    }

    fn flush_session(&mut self) -> bool {
        if let Some(random) = &mut self.dawdles {
            self.has_dawdled = !self.has_dawdled && random.bool();
            if self.has_dawdled {
                return false;
            }
        }
        self.checks.drain();
        if self.bot.is_free() && self.polls.is_none() {
            return self.pass_on();
        }
        let mut drained = mem::take(&mut self.drained);
        self.poll_at_random(&mut drained);
        drained.poll(&mut self.session);
        self.tell_bot(&mut drained);
        let had_output = !drained.events.is_empty() || !drained.transmits.is_empty();
        drained.events.drain(..).for_each(|event| self.keep(event));
        drained.transmits.drain(..).for_each(|transmit| self.send(transmit));
        self.drained = drained;
        had_output
    }

    /// Passes on what the session says as it says it: nobody answers meanwhile.
    fn pass_on(&mut self) -> bool {
        let mut had_output = false;
        while let Some(event) = self.session.poll_event() {
            had_output = true;
            self.keep(event);
        }
        while let Some(transmit) = self.session.poll_transmit() {
            had_output = true;
            self.send(transmit);
        }
        had_output
    }

    fn keep(&mut self, event: Event) {
        // Cheap, and who drives to the end asks it.
        self.checks.event(&event);
        self.trace.note(self.now, format_args!("bot {event:?}"));
        self.events.push((self.elapsed, event));
    }

    /// Puts a datagram of the session's on its way.
    fn send(&mut self, transmit: Transmit) {
        if self.is_checked {
            self.checks.transmit(&transmit);
        }
        if self.keeps_transmits {
            self.transmits.push((self.elapsed, transmit.clone()));
        }
        let Transmit { source, destination, payload, .. } = transmit;
        let mut packet = Packet { source, destination, payload };
        if let Some(advertised) = self.advertised {
            packet.source = advertised;
        }
        self.trace.packet(self.now, packet.source, packet.destination, &packet.payload);
        self.down.send(packet, self.now);
    }

    /// Tells the bot what happened, and what comes of its answers, until nothing more does. What
    /// the session says meanwhile is added.
    fn tell_bot(&mut self, drained: &mut Drained) {
        let mut told = 0;
        while !self.bot.is_free() && told < drained.events.len() {
            let fresh = told..drained.events.len();
            told = fresh.end;
            for event in &drained.events[fresh] {
                self.bot.tell((), event, &mut self.session, self.now);
            }
            drained.poll(&mut self.session);
        }
    }

    fn poll_at_random(&mut self, drained: &mut Drained) {
        let Some(random) = &mut self.polls else { return };
        for _ in 0..random.usize(..12) {
            match random.u8(..3) {
                0 => drained.events.extend(self.session.poll_event()),
                1 => drained.transmits.extend(self.session.poll_transmit()),
                _ => drop(self.session.poll_timeout()),
            }
        }
    }
}

/// What a page heard is told by its length and a digest, so that a trace stays readable. Nothing
/// is written, or digested, before somebody asks for the text.
pub(crate) fn brief(event: &BrowserEvent) -> Brief<'_> {
    Brief(event)
}

/// An event of the page's, in short.
pub(crate) struct Brief<'a>(&'a BrowserEvent);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            BrowserEvent::Media { line, time, data, .. } => {
                let (len, digest) = (data.len(), digest(data));
                write!(f, "Media line {line} time {time} {len} bytes {digest:016x}")
            }
            BrowserEvent::Message { binary, data } => {
                let (len, digest) = (data.len(), digest(data));
                write!(f, "Message binary {binary} {len} bytes {digest:016x}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}
