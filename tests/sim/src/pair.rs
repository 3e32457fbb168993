//! One session, one browser, two links, and time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallrtc::{
    AudioFrame, AudioId, CloseReason, ConnectionState, Datagram, Delivery, Event, LocalCandidate,
    Message, NegotiateError, Offer, Seed, SendError, Session, Transmit,
};

use crate::bot::Seat;
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
    /// Dropped after the session, which ends its log.
    replays: Option<Replays>,
    is_checked: bool,
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
        self.now - start()
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
        let next = self.next_wake()?;
        self.now = self.now.max(next);
        if self.browser.rounds_by_the_clock() && (self.up.has_gaps() || self.down.has_gaps()) {
            self.trace.stays_here();
        }
        if self.is_checked {
            self.checks.turn(self.now);
            self.session.settle();
        }
        let wake_at = self.driver_wake();
        if self.driver.wakes(wake_at, self.now) {
            self.stalled_until = None;
            while let Some(packet) = self.up.receive(self.now) {
                self.deliver(packet);
                self.flush();
            }
            self.session_timeout();
        }
        while let Some(packet) = self.down.receive(self.now) {
            self.browser.handle_packet(&packet, self.now);
            self.flush();
        }
        if self.browser.poll_timeout().is_some_and(|at| at <= self.now) {
            self.browser.handle_timeout(self.now);
            self.flush();
        }
        Some(self.now)
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
            let next = self.next_wake();
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
        while self.next_wake().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Polls everything that the two sides have to say.
    pub fn flush(&mut self) -> bool {
        let had_output = self.flush_session();
        while let Some(packet) = self.browser.poll_packet() {
            self.up.send(packet, self.now);
        }
        let at = self.elapsed();
        self.account_said();
        while let Some(event) = self.browser.poll_event() {
            self.account_heard(&event);
            self.trace.note(self.now, format_args!("page {}", brief(&event)));
            self.browser_events.push((at, event));
        }
        had_output
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

    fn next_wake(&mut self) -> Option<Instant> {
        let driver = self.driver_wake();
        let others = [driver, self.down.poll_timeout(), self.browser.poll_timeout()];
        others.into_iter().flatten().min()
    }

    /// When the session's driver runs next.
    fn driver_wake(&mut self) -> Option<Instant> {
        let due = [self.session.poll_timeout(), self.bot.poll_timeout(), self.up.poll_timeout()];
        let wake_at = self.driver.wake_at(due.into_iter().flatten().min(), self.now);
        wake_at.map(|at| self.stalled_until.map_or(at, |until| until.max(at)))
    }

    fn session_timeout(&mut self) {
        self.bot.wake(&mut self.session, self.now);
        self.flush();
        while self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
            let had_output = self.flush();
            if self.is_checked {
                self.checks.timeout_done(had_output, self.session.poll_timeout());
            }
        }
        for _ in 0..self.driver.too_many() {
            self.session.handle_timeout(self.now);
            self.flush();
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { source, mut destination, payload } = packet;
        if let Some(advertised) = self.advertised {
            if destination != advertised {
                return;
            }
            destination = bot_address();
        }
        self.trace.packet(self.now, source, destination, &payload);
        let datagram = Datagram::udp(BOT_TRANSPORT, source, destination, payload);
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
        let (mut events, mut transmits) = self.poll_session();
        let told = self.tell_bot(&events);
        events.extend(told.0);
        transmits.extend(told.1);
        let had_output = !events.is_empty() || !transmits.is_empty();
        let at = self.elapsed();
        for event in events {
            // Cheap, and who drives to the end asks it.
            self.checks.event(&event);
            self.trace.note(self.now, format_args!("bot {event:?}"));
            self.events.push((at, event));
        }
        for transmit in transmits {
            if self.is_checked {
                self.checks.transmit(&transmit);
            }
            let Transmit { source, destination, .. } = transmit;
            let source = self.advertised.unwrap_or(source);
            let payload: Bytes = transmit.payload.clone();
            self.trace.packet(self.now, source, destination, &payload);
            self.down.send(Packet { source, destination, payload }, self.now);
            if self.keeps_transmits {
                self.transmits.push((at, transmit));
            }
        }
        had_output
    }

    /// Tells the bot what happened, and what comes of its answers, until nothing more does. Gives
    /// what the session said meanwhile.
    fn tell_bot(&mut self, events: &[Event]) -> (Vec<Event>, Vec<Transmit>) {
        let (mut more, mut transmits) = (Vec::new(), Vec::new());
        if self.bot.is_free() {
            return (more, transmits);
        }
        let mut fresh = events.to_vec();
        while !fresh.is_empty() {
            for event in fresh.drain(..) {
                self.bot.tell((), &event, &mut self.session, self.now);
            }
            while let Some(event) = self.session.poll_event() {
                fresh.push(event);
            }
            while let Some(transmit) = self.session.poll_transmit() {
                transmits.push(transmit);
            }
            more.extend(fresh.iter().cloned());
        }
        (more, transmits)
    }

    fn poll_session(&mut self) -> (Vec<Event>, Vec<Transmit>) {
        let (mut events, mut transmits) = (Vec::new(), Vec::new());
        if let Some(random) = &mut self.polls {
            for _ in 0..random.usize(..12) {
                match random.u8(..3) {
                    0 => events.extend(self.session.poll_event()),
                    1 => transmits.extend(self.session.poll_transmit()),
                    _ => drop(self.session.poll_timeout()),
                }
            }
        }
        while let Some(event) = self.session.poll_event() {
            events.push(event);
        }
        while let Some(transmit) = self.session.poll_transmit() {
            transmits.push(transmit);
        }
        (events, transmits)
    }
}

/// What a page heard is told by its length and a digest, so that a trace stays readable.
pub(crate) fn brief(event: &BrowserEvent) -> String {
    match event {
        BrowserEvent::Media { line, time, data, .. } => {
            format!("Media line {line} time {time} {} bytes {:016x}", data.len(), digest(data))
        }
        BrowserEvent::Message { binary, data } => {
            format!("Message binary {binary} {} bytes {:016x}", data.len(), digest(data))
        }
        other => format!("{other:?}"),
    }
}
