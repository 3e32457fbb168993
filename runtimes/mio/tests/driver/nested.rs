//! The driver in a loop that is not its own: beside the host's socket, waker and timer, in a loop
//! without a `Poll`, and moved from one to another.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use smallrtc::{CloseReason, Config, Endpoint, Event, SessionId};
use smallrtc_mio::{App, COMMANDS_MAX, Driver, Handle, Options, PostError, Turn};

use crate::echo::{Echo, Told};
use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;
use crate::tone::Microphone;

const HOST_SOCKET: Token = Token(0);
const HOST_WAKER: Token = Token(1);
const DRIVER: Token = Token(100);

/// Whether the host may have a waker of its own beside the driver's (`Driver::register`).
#[cfg(unix)]
const HOST_WAKES: bool = true;
#[cfg(not(unix))]
const HOST_WAKES: bool = false;

/// How often the host does something of its own.
const HOST_TICK: Duration = Duration::from_millis(5);

fn bind() -> (Driver<Echo>, Handle, Receiver<Told>) {
    let (tell, told) = channel();
    let options = Options::new().udp("127.0.0.1:0".parse().unwrap());
    let (driver, handle) = Driver::bind(Config::new(), options, Echo::new(tell)).unwrap();
    (driver, handle, told)
}

fn post(handle: &Handle, offer: &str) -> String {
    let response = handle.request("POST", "/api/offer", offer.as_bytes());
    assert_eq!(response.status, 200, "{}", response.body);
    response.body
}

/// One wait of a host, with nothing of its own; whether the wait brought anything.
fn wait(poll: &mut Poll, events: &mut Events, driver: &mut Driver<Echo>) -> bool {
    match poll.poll(events, driver.timeout().or(Some(PATIENCE))) {
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        waited => waited.unwrap(),
    }
    for event in events.iter() {
        assert!(driver.on_ready(event));
    }
    !events.is_empty()
}

/// What a host has done of its own.
#[derive(Default)]
struct Work {
    echoed: usize,
    woken: usize,
    ticks: usize,
}

/// A host with a socket that echoes, a waker, and a tick; and the driver among them.
fn host(driver: &mut Driver<Echo>, poll: &mut Poll, socket: &mut mio::net::UdpSocket) -> Work {
    let mut events = Events::with_capacity(16);
    let mut work = Work::default();
    let mut next_tick = Instant::now() + HOST_TICK;
    driver.register(poll.registry(), DRIVER).unwrap();
    while driver.turn().unwrap() != Turn::Finished {
        let mine = next_tick.saturating_duration_since(Instant::now());
        let timeout = driver.timeout().map_or(mine, |its| its.min(mine));
        match poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            waited => waited.unwrap(),
        }
        for event in &events {
            if driver.on_ready(event) {
                assert!(driver.tokens().contains(&event.token().0));
                continue;
            }
            match event.token() {
                HOST_SOCKET => {
                    let mut buffer = [0; 64];
                    while let Ok((len, source)) = socket.recv_from(&mut buffer) {
                        socket.send_to(&buffer[..len], source).unwrap();
                        work.echoed += 1;
                    }
                }
                HOST_WAKER => work.woken += 1,
                token => panic!("{token:?} is nobody's"),
            }
        }
        while next_tick <= Instant::now() {
            work.ticks += 1;
            next_tick += HOST_TICK;
        }
    }
    work
}

#[test]
fn a_call_is_served_beside_the_hosts_own_socket_waker_and_timer() {
    const PINGS: usize = 50;
    let (mut driver, handle, told) = bind();
    let mut poll = Poll::new().unwrap();
    // It wakes nobody any more when it is dropped, so it lives as long as the host does.
    let waker = HOST_WAKES.then(|| Waker::new(poll.registry(), HOST_WAKER).unwrap()).map(Arc::new);
    let wake = waker.clone();
    let mut socket = mio::net::UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    poll.registry().register(&mut socket, HOST_SOCKET, Interest::READABLE).unwrap();
    let began = Instant::now();
    let host = thread::spawn(move || host(&mut driver, &mut poll, &mut socket));

    let pinging = thread::spawn(move || {
        let pinger = UdpSocket::bind("127.0.0.1:0").unwrap();
        pinger.set_read_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..PINGS {
            pinger.send_to(b"ping", address).unwrap();
            pinger.recv_from(&mut [0; 64]).unwrap();
            if let Some(wake) = &wake {
                wake.wake().unwrap();
            }
        }
    });
    let mut page = Page::new(Plain::new);
    page.call(|offer| post(&handle, offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    page.speak(Microphone::new(440.0));
    page.go_on("a second of the tone comes back", |page| {
        while let Some(heard) = page.stack.poll_heard() {
            if let Heard::Audio(packet) = heard {
                page.speaker.play(&packet);
            }
        }
        page.speaker.last_second().is_some()
    });
    pinging.join().unwrap();
    page.hang_up();
    handle.close();
    let work = host.join().unwrap();
    drop(waker);
    assert_eq!(work.echoed, PINGS);
    // Wake-ups that come together may be told as one.
    let woken = if HOST_WAKES { 1..=PINGS } else { 0..=0 };
    assert!(woken.contains(&work.woken), "{}", work.woken);
    let ticks = usize::try_from(began.elapsed().as_millis() / HOST_TICK.as_millis()).unwrap();
    assert!(work.ticks + 1 >= ticks.min(100), "{} of {ticks} ticks", work.ticks);
    assert!(told.try_iter().any(|told| told.end() == Some(CloseReason::HungUp)));
}

#[test]
fn a_loop_that_ticks_needs_no_poll() {
    const TICK: Duration = Duration::from_millis(10);
    let (mut driver, handle, _told) = bind();
    assert!(driver.tokens().is_empty());
    let game = thread::spawn(move || {
        let mut turns = Vec::new();
        loop {
            // What else a tick does takes its time.
            thread::park_timeout(TICK);
            // More is done in the same tick, and what is due later waits for the next.
            let mut turn = driver.turn().unwrap();
            while turn == Turn::More {
                assert_eq!(driver.timeout(), Some(Duration::ZERO));
                turn = driver.turn().unwrap();
            }
            turns.push(turn);
            if turn == Turn::Finished {
                return turns;
            }
        }
    });
    let mut page = Page::new(Plain::new);
    page.call(|offer| post(&handle, offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    page.stack.send_text("hello", Instant::now());
    page.hear("its echo", |heard| *heard == Heard::Message("hello".to_owned()));
    page.hang_up();
    handle.close();
    let turns = game.join().unwrap();
    assert!(turns[..turns.len() - 1].iter().all(|turn| *turn == Turn::Wait));
}

#[test]
fn a_driver_moves_from_one_poll_to_another_and_misses_nothing_between() {
    let (mut driver, handle, told) = bind();
    let own = |driver: &Driver<Echo>| driver.tokens().len() == driver.token_count();
    let (between, met) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (out, back) = (Arc::clone(&between), Arc::clone(&met));
    let host = thread::spawn(move || {
        let mut events = Events::with_capacity(16);
        let mut first = Poll::new().unwrap();
        assert_eq!(driver.register(first.registry(), Token(7)).unwrap(), 7..10);
        while !told.try_iter().any(|told| matches!(told, Told::Call(_))) {
            let _ = driver.turn().unwrap();
            wait(&mut first, &mut events, &mut driver);
        }
        driver.deregister().unwrap();
        assert!(!own(&driver));
        // While it is in no poll, datagrams and a command come.
        out.wait();
        back.wait();
        let mut second = Poll::new().unwrap();
        driver.register(second.registry(), DRIVER).unwrap();
        assert!(own(&driver));
        assert_eq!(driver.timeout(), Some(Duration::ZERO), "it looks once before it waits");
        // And if the host does not ask it, it is told.
        second.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(events.iter().any(|event| driver.on_ready(event)));
        while driver.turn().unwrap() != Turn::Finished {
            wait(&mut second, &mut events, &mut driver);
        }
        // The first one tells of nothing any more.
        first.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(events.is_empty());
    });
    let mut page = Page::new(Plain::new);
    page.call(|offer| post(&handle, offer));
    between.wait();
    page.flush();
    handle.post(|_, _| ()).unwrap();
    met.wait();
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    page.hang_up();
    handle.close();
    host.join().unwrap();
}

#[test]
fn tokens_that_there_are_not_are_refused_and_nothing_is_registered() {
    let (mut driver, _handle, _told) = bind();
    let poll = Poll::new().unwrap();
    let last = Token(usize::MAX - 1);
    let refused = driver.register(poll.registry(), last).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(driver.tokens().is_empty());
}

#[test]
fn nothing_waits_for_its_own_thread() {
    let (mut driver, handle, _told) = bind();
    let _ = driver.turn().unwrap();
    // Each of these would wait for the turn that this thread does not take meanwhile.
    assert_eq!(handle.request("GET", "/", b"").status, 503);
    assert_eq!(handle.run(|_, _| ()), None);
    assert_eq!(handle.stats(), None);
    let refused = (0..=COMMANDS_MAX).find_map(|_| handle.post(|_, _| ()).err());
    assert_eq!(refused, Some(PostError::Full));
    // The end finds a way although the queue is full.
    handle.close();
    assert_eq!(driver.request("GET", "/", b"").status, 404);
    while driver.turn().unwrap() != Turn::Finished {}
    assert_eq!(handle.post(|_, _| ()), Err(PostError::Gone));
}

#[test]
fn a_host_that_closes_its_driver_is_told_when_it_has_ended() {
    let (mut driver, handle, _told) = bind();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(16));
    driver.register(poll.registry(), DRIVER).unwrap();
    let waiting = thread::spawn(move || handle.close());
    driver.close();
    let give_up = Instant::now() + PATIENCE;
    while driver.turn().unwrap() != Turn::Finished {
        assert!(Instant::now() < give_up);
        wait(&mut poll, &mut events, &mut driver);
    }
    // Although the driver is kept.
    waiting.join().unwrap();
    assert_eq!(driver.turn().unwrap(), Turn::Finished);
    assert_eq!(driver.timeout(), None);
}

/// Takes turns until the driver waits for its poll.
fn settle<A: App>(driver: &mut Driver<A>, poll: &mut Poll, events: &mut Events) {
    loop {
        let turn = driver.turn().unwrap();
        poll.poll(events, Some(Duration::ZERO)).unwrap();
        let woken = events.iter().filter(|event| driver.on_ready(event)).count();
        if turn == Turn::Wait && woken == 0 {
            return;
        }
    }
}

#[test]
fn a_driver_that_waits_is_woken_when_its_last_handle_goes() {
    let (mut driver, handle, _told) = bind();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(16));
    driver.register(poll.registry(), DRIVER).unwrap();
    settle(&mut driver, &mut poll, &mut events);
    let other = handle.clone();
    drop(handle);
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    assert!(events.is_empty(), "one is left");
    drop(other);
    assert!(wait(&mut poll, &mut events, &mut driver), "it was not woken");
    assert_eq!(driver.turn().unwrap(), Turn::Finished);
}

/// Ticks once, and notes when.
struct Ticker {
    tick_at: Option<Instant>,
    ticked: Option<Instant>,
}

impl App for Ticker {
    fn on_event(&mut self, _: SessionId, _: Event, _: &mut Endpoint, _: Instant) {}

    fn poll_timeout(&self) -> Option<Instant> {
        self.tick_at
    }

    fn handle_timeout(&mut self, _: &mut Endpoint, now: Instant) {
        self.tick_at = None;
        self.ticked = Some(now);
    }
}

#[test]
fn a_driver_that_nothing_else_wakes_keeps_its_deadline_wherever_it_is_moved() {
    let options = Options::new().udp("127.0.0.1:0".parse().unwrap());
    let app = Ticker { tick_at: None, ticked: None };
    let (mut driver, _handle) = Driver::bind(Config::new(), options, app).unwrap();
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(16));
    driver.register(poll.registry(), DRIVER).unwrap();
    // Nearer and further than the one that was set before.
    for (first, then) in [(60_000, 20), (10, 40)] {
        let began = Instant::now();
        for millis in [first, then] {
            let tick_at = began + Duration::from_millis(millis);
            driver.with(|app, _, _| app.tick_at = Some(tick_at));
            settle(&mut driver, &mut poll, &mut events);
        }
        let give_up = began + PATIENCE;
        while driver.app().ticked.is_none() {
            poll.poll(&mut events, driver.timeout().or(Some(PATIENCE))).unwrap();
            assert!(Instant::now() < give_up, "nothing told of the deadline");
            assert!(events.iter().all(|event| driver.on_ready(event)));
            let _ = driver.turn().unwrap();
        }
        let ticked = driver.with(|app, _, _| app.ticked.take()).unwrap();
        assert!(ticked >= began + Duration::from_millis(then), "too early");
    }
}
