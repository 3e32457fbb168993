//! The driver's inner step on virtual time, with a page that has no socket either.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::signaling::{BODY_LEN_MAX, Call, Request};
use smallrtc::{
    AudioFrame, AudioIdle, CloseReason, Config, ConnectionState, Datagram, Endpoint, Event,
    LocalCandidate, Message, Seed, SessionId, TransportId,
};
use smallrtc_mio::{
    App, COMMANDS_BUDGET, COMMANDS_MAX, EVENTS_BUDGET, Handle, Machine, PostError, REQUESTS_BUDGET,
    Step,
};

use crate::echo::Told;
use crate::page::{Heard, PACKET_TIME, PATIENCE, Stack};
use crate::plain::Plain;

const TRANSPORT: TransportId = TransportId(0);

/// Turns that something may take which takes no time: far more than any needs.
const TURNS_MAX: usize = 10_000;

const MILLI: Duration = Duration::from_millis(1);

fn bot_address() -> SocketAddr {
    "192.0.2.1:7860".parse().unwrap()
}

fn page_address() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

/// Writes everything down, and ticks as often as it is told to.
#[derive(Default)]
struct Bot {
    told: Vec<Told>,
    tick_at: Option<Instant>,
    ticks: Vec<Instant>,
}

impl App for Bot {
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        self.told.push(Told::Call(call.id));
        endpoint.session(call.id).unwrap().start(now);
    }

    fn on_event(&mut self, id: SessionId, event: Event, _: &mut Endpoint, _: Instant) {
        self.told.push(Told::Event(id, event));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.tick_at
    }

    fn handle_timeout(&mut self, _: &mut Endpoint, now: Instant) {
        self.ticks.push(now);
        self.tick_at = None;
    }
}

impl Bot {
    fn calls(&self) -> Vec<SessionId> {
        let call = |told: &Told| match told {
            Told::Call(id) => Some(*id),
            Told::Event(..) => None,
        };
        self.told.iter().filter_map(call).collect()
    }

    fn texts(&self) -> Vec<&str> {
        let text = |told| match told {
            &Told::Event(_, Event::Message(Message::Text(ref text))) => Some(text.as_str()),
            _ => None,
        };
        self.told.iter().filter_map(text).collect()
    }

    fn ends(&self) -> Vec<CloseReason> {
        self.told.iter().filter_map(Told::end).collect()
    }
}

/// What the thread that steps is told.
enum Signal {
    Rung,
    Answered,
}

/// A machine and a page, joined by a network that takes no time.
struct World<A> {
    machine: Machine<A>,
    handle: Handle,
    page: Plain,
    now: Instant,
    heard: Vec<Heard>,
    signals: (Sender<Signal>, Receiver<Signal>),
}

impl World<Bot> {
    fn new(config: Config) -> World<Bot> {
        World::with(config, Bot::default())
    }

    /// A call whose channel is open.
    fn connect(&mut self) -> SessionId {
        self.call();
        assert!(self.heard.contains(&Heard::Open));
        let id = *self.machine.app().calls().last().unwrap();
        let connected = Event::StateChanged(ConnectionState::Connected);
        assert!(self.machine.app().told.contains(&Told::Event(id, connected)));
        id
    }
}

impl<A: App> World<A> {
    fn with(config: Config, app: A) -> World<A> {
        let page = Plain::new(page_address());
        let now = Instant::now();
        let candidates = [LocalCandidate::host(TRANSPORT, bot_address())];
        let seed = Seed::from_number(1);
        let (machine, handle) = Machine::new(config.shared(), &seed, &candidates, app, now);
        let signals = channel();
        let rung = signals.0.clone();
        machine.wake_with(move || rung.send(Signal::Rung).unwrap_or(()));
        World { machine, handle, page, now, heard: Vec::new(), signals }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut quiet = self.machine.step(self.now) == Step::Idle;
            while let Some(transmit) = self.machine.poll_transmit() {
                assert_eq!(transmit.destination, page_address());
                self.page.receive(transmit.source, &transmit.payload, self.now);
            }
            if self.page.poll_timeout().is_some_and(|at| at <= self.now) {
                self.page.handle_timeout(self.now);
            }
            quiet &= !self.deliver();
            self.heard.extend(std::iter::from_fn(|| self.page.poll_heard()));
            let deadline = self.machine.end_turn(self.now);
            assert_eq!(deadline, self.machine.poll_timeout());
            if quiet && deadline.is_none_or(|deadline| deadline > self.now) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Hands the page's datagrams over; whether there were any.
    fn deliver(&mut self) -> bool {
        let mut any = false;
        while let Some((destination, payload)) = self.page.poll_packet() {
            let datagram = Datagram::udp(TRANSPORT, page_address(), destination, payload.into());
            self.machine.handle_datagram(datagram, self.now);
            any = true;
        }
        any
    }

    /// Lets time pass, from one wake-up to the next.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while self.now < end {
            let wake_ups = [self.machine.poll_timeout(), self.page.poll_timeout()];
            let next = wake_ups.into_iter().flatten().fold(end, Instant::min);
            self.now = self.now.max(next);
            self.settle();
        }
    }

    /// What another thread is answered, that asks and needs no time. The machine is stepped only
    /// when it rings.
    fn ask<T: Send>(&mut self, ask: impl FnOnce(&Handle) -> T + Send) -> T {
        let (handle, answered) = (self.handle.clone(), self.signals.0.clone());
        thread::scope(|scope| {
            let asking = scope.spawn(move || {
                let answer = ask(&handle);
                answered.send(Signal::Answered).unwrap();
                answer
            });
            while let Signal::Rung = self.signals.1.recv_timeout(PATIENCE).expect("it rings") {
                self.settle();
            }
            asking.join().unwrap()
        })
    }

    fn offer(&mut self) -> String {
        json!({ "type": "offer", "sdp": self.page.offer(self.now) }).to_string()
    }

    /// Offers, takes the answer, and has a second to connect.
    fn call(&mut self) {
        let body = self.offer();
        let response = self.ask(|handle| handle.request("POST", "/api/offer", body.as_bytes()));
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        self.page.accept_answer(answer["sdp"].as_str().unwrap(), self.now);
        self.advance(Duration::from_secs(1));
    }

    /// Waits for a moment at which nothing is due for so long.
    fn rest(&mut self, long: Duration) {
        for _ in 0..100 {
            let rest = self.machine.poll_timeout().unwrap().duration_since(self.now);
            if rest > long {
                return;
            }
            self.advance(rest + MILLI);
        }
        panic!("never idle");
    }
}

/// As many tasks as asked for, each of which counts.
fn post_counted(handle: &Handle, count: usize) -> Arc<AtomicUsize> {
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let done = Arc::clone(&done);
        let task = move |_: &mut Endpoint, _| assert!(done.fetch_add(1, Ordering::Relaxed) < count);
        handle.try_post(task).unwrap();
    }
    done
}

#[test]
fn a_call_is_told_before_its_client_is_answered_and_its_events_after_it() {
    let mut world = World::new(Config::new());
    let body = world.offer();
    let request = Request::new("POST", "/api/offer", body.as_bytes());
    let response = world.machine.request(request, world.now);
    assert_eq!(response.status, 200);
    assert_eq!(world.machine.app().calls().len(), 1);

    let mut world = World::new(Config::new());
    let id = world.connect();
    assert_eq!(world.machine.app().told[0], Told::Call(id));
    world.page.send_text("hello", world.now);
    world.settle();
    assert_eq!(world.machine.app().texts(), ["hello"]);
    let sent = world.ask(move |handle| {
        handle.run(move |endpoint, now| {
            let mut session = endpoint.session(id)?;
            session.send_message(Message::text("hello to you"), now).ok()
        })
    });
    assert!(sent.flatten().is_some());
    assert!(world.heard.contains(&Heard::Message("hello to you".to_owned())));
}

#[test]
fn an_app_that_says_nothing_of_calls_has_them_started() {
    struct Silent(Sender<Event>);
    impl App for Silent {
        fn on_event(&mut self, _: SessionId, event: Event, _: &mut Endpoint, _: Instant) {
            self.0.send(event).unwrap();
        }
    }
    let (tell, told) = channel();
    // In a box, as of a bot that is chosen while it runs.
    let app: Box<dyn App> = Box::new(Silent(tell));
    let mut world = World::with(Config::new(), app);
    world.call();
    // What a session that was not started keeps to itself.
    let connected = Event::StateChanged(ConnectionState::Connected);
    assert!(told.try_iter().any(|event| event == connected));
}

#[test]
fn one_step_does_as_many_commands_as_its_budget_and_says_that_there_are_more() {
    let mut world = World::new(Config::new());
    let done = post_counted(&world.handle, COMMANDS_BUDGET + 1);
    assert_eq!(world.machine.step(world.now), Step::More);
    assert_eq!(done.load(Ordering::Relaxed), COMMANDS_BUDGET);
    assert_eq!(world.machine.step(world.now), Step::Idle);
    assert_eq!(done.load(Ordering::Relaxed), COMMANDS_BUDGET + 1);
}

#[test]
fn one_step_answers_as_many_requests_as_its_budget_and_says_that_there_are_more() {
    // Requests come from threads that wait for their answers, so that all are there at the first
    // step is likely, and not certain.
    for _ in 0..100 {
        let mut world = World::new(Config::new());
        let (body, about_to_ask) = (world.offer(), AtomicUsize::new(0));
        let first = thread::scope(|scope| {
            for _ in 0..=REQUESTS_BUDGET {
                scope.spawn(|| {
                    about_to_ask.fetch_add(1, Ordering::Relaxed);
                    let response = world.handle.request("POST", "/api/offer", body.as_bytes());
                    assert_eq!(response.status, 200);
                });
            }
            while about_to_ask.load(Ordering::Relaxed) <= REQUESTS_BUDGET {
                thread::yield_now();
            }
            (0..1_000).for_each(|_| thread::yield_now());
            let first = (world.machine.step(world.now), world.machine.app().calls().len());
            assert!(first.1 <= REQUESTS_BUDGET);
            while world.machine.app().calls().len() <= REQUESTS_BUDGET {
                let _ = world.machine.step(world.now);
            }
            first
        });
        if first.1 == REQUESTS_BUDGET {
            assert_eq!(first.0, Step::More);
            return;
        }
    }
    panic!("the requests never come together");
}

#[test]
fn one_step_tells_as_many_events_as_its_budget_and_says_that_there_are_more() {
    const MESSAGES: usize = EVENTS_BUDGET + 10;
    let mut world = World::new(Config::new());
    world.connect();
    let told_before = world.machine.app().told.len();
    for number in 0..MESSAGES {
        world.page.send_text(&number.to_string(), world.now);
        world.deliver();
    }
    // SCTP takes acknowledgements to send that much.
    for _ in 0..100 {
        world.page.handle_timeout(world.now);
        while let Some(transmit) = world.machine.poll_transmit() {
            world.page.receive(transmit.source, &transmit.payload, world.now);
        }
        world.deliver();
    }
    assert_eq!(world.machine.step(world.now), Step::More);
    assert_eq!(world.machine.app().told.len() - told_before, EVENTS_BUDGET);
    world.settle();
    let numbers: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(world.machine.app().texts(), numbers);
}

#[test]
fn a_queue_of_commands_takes_its_limit_and_one_past_it_is_refused_or_waits() {
    let mut world = World::new(Config::new());
    let done = post_counted(&world.handle, COMMANDS_MAX);
    assert_eq!(world.handle.try_post(|_, _| ()), Err(PostError::Full));
    // Whoever may wait gets in when there is room.
    let posted = world.ask(|handle| handle.post(|_, _| ()));
    assert_eq!(posted, Ok(()));
    assert_eq!(done.load(Ordering::Relaxed), COMMANDS_MAX);
}

#[test]
fn no_command_of_many_threads_is_lost_and_those_of_one_keep_their_order() {
    const THREADS: usize = 8;
    const COMMANDS: usize = 2_000;
    let mut world = World::new(Config::new());
    let done: Arc<Mutex<Vec<Vec<usize>>>> = Arc::new(Mutex::new(vec![Vec::new(); THREADS]));
    thread::scope(|scope| {
        for index in 0..THREADS {
            let (handle, done) = (world.handle.clone(), Arc::clone(&done));
            let answered = world.signals.0.clone();
            scope.spawn(move || {
                for number in 0..COMMANDS {
                    let done = Arc::clone(&done);
                    let task = move |_: &mut Endpoint, _| done.lock().unwrap()[index].push(number);
                    match number % 3 {
                        0 => handle.run(task).unwrap(),
                        _ => handle.post(task).unwrap(),
                    }
                }
                // Behind everything that this thread has put down.
                assert!(handle.stats().is_some());
                answered.send(Signal::Answered).unwrap();
            });
        }
        let mut working = THREADS;
        while working > 0 {
            // Steps only when it rings: a ring that is lost would be noticed.
            match world.signals.1.recv_timeout(PATIENCE).expect("it rings") {
                Signal::Rung => world.settle(),
                Signal::Answered => working -= 1,
            }
        }
    });
    let all: Vec<usize> = (0..COMMANDS).collect();
    assert!(done.lock().unwrap().iter().all(|numbers| *numbers == all));
}

#[test]
fn a_command_moves_the_deadline_nearer() {
    let mut world = World::new(Config::new().audio_idle(AudioIdle::Nothing));
    let id = world.connect();
    world.rest(40 * MILLI);
    let samples = vec![0; 16_000];
    world
        .handle
        .try_post(move |endpoint, now| {
            let mut session = endpoint.session(id).unwrap();
            session.send_audio(AudioFrame::mono(&samples, 16_000), now).unwrap();
        })
        .unwrap();
    world.settle();
    let due = world.machine.poll_timeout().unwrap().duration_since(world.now);
    assert!(due <= PACKET_TIME, "{due:?}");
}

#[test]
fn the_app_is_called_at_its_own_deadline_and_not_before() {
    let mut world = World::new(Config::new());
    let tick_at = world.now + 25 * MILLI;
    world.machine.app_mut().tick_at = Some(tick_at);
    assert_eq!(world.machine.poll_timeout(), Some(tick_at));
    world.now = tick_at - Duration::from_nanos(1);
    world.settle();
    assert!(world.machine.app().ticks.is_empty());
    world.advance(100 * MILLI);
    assert_eq!(world.machine.app().ticks, [tick_at]);
    assert_eq!(world.machine.poll_timeout(), None);
    // It is moved nearer as well as further.
    let now = world.now;
    world.machine.app_mut().tick_at = Some(now + 100 * MILLI);
    world.machine.app_mut().tick_at = Some(now + 10 * MILLI);
    world.advance(50 * MILLI);
    assert_eq!(world.machine.app().ticks, [tick_at, now + 10 * MILLI]);
}

#[test]
fn a_call_that_ended_is_told_once_and_last_and_nothing_of_it_is_kept() {
    let mut world = World::new(Config::new());
    let id = world.connect();
    world.page.close(world.now);
    world.advance(10 * MILLI);
    let app = world.machine.app();
    assert_eq!(app.ends(), [CloseReason::HungUp]);
    let closed = Event::Closed { reason: CloseReason::HungUp };
    assert_eq!(app.told.last(), Some(&Told::Event(id, closed)));
    assert!(world.machine.endpoint().session(id).is_none());
    assert!(world.machine.endpoint().is_empty());
    assert_eq!(world.machine.poll_timeout(), None);
}

#[test]
fn the_lateness_of_turns_is_told() {
    let mut world = World::new(Config::new());
    world.connect();
    world.advance(200 * MILLI);
    let punctual = world.ask(Handle::stats).unwrap().lateness;
    assert!(punctual.count() >= 10, "{punctual}");
    assert_eq!(punctual.max(), Duration::ZERO);

    let late = 50 * MILLI;
    world.now = world.machine.poll_timeout().unwrap() + late;
    world.settle();
    let lateness = world.ask(Handle::stats).unwrap().lateness;
    assert!(lateness.max() >= late && lateness.max() < late * 102 / 100, "{lateness}");
}

#[test]
fn a_request_that_does_not_wait_is_answered_later_or_refused_at_once() {
    let mut world = World::new(Config::new());
    let answer = world.handle.try_request("GET", "/", b"").unwrap();
    assert!(answer.try_recv().is_err());
    world.settle();
    assert_eq!(answer.try_recv().unwrap().status, 404);
    post_counted(&world.handle, COMMANDS_MAX);
    assert_eq!(world.handle.try_request("GET", "/", b"").unwrap_err(), PostError::Full);
    world.settle();
    let unanswered = world.handle.try_request("GET", "/", b"").unwrap();
    let handle = world.handle.clone();
    drop(world);
    assert!(unanswered.recv().is_err());
    assert_eq!(handle.try_request("GET", "/", b"").unwrap_err(), PostError::Gone);
}

#[test]
fn a_body_of_the_limit_is_read_and_one_past_it_is_refused() {
    let mut world = World::new(Config::new());
    for (len, status) in [(BODY_LEN_MAX, 400), (BODY_LEN_MAX + 1, 413), (BODY_LEN_MAX * 9, 413)] {
        let body = vec![b' '; len];
        let response = world.ask(|handle| handle.request("POST", "/api/offer", &body));
        assert_eq!(response.status, status, "{len} bytes");
    }
}

#[test]
fn an_offer_without_an_address_to_be_called_at_is_refused_at_once() {
    let (now, seed) = (Instant::now(), Seed::from_number(1));
    let (mut machine, _handle) =
        Machine::new(Config::new().shared(), &seed, &[], Bot::default(), now);
    let body = json!({ "type": "offer", "sdp": Plain::new(page_address()).offer(now) }).to_string();
    let request = Request::new("POST", "/api/offer", body.as_bytes());
    assert_eq!(machine.request(request, now).status, 503);
    // Nothing of it is left.
    assert_eq!(machine.poll_timeout(), None);
}

#[test]
fn closing_ends_every_call_and_takes_no_new_one() {
    let mut world = World::new(Config::new());
    world.connect();
    world.machine.close(world.now);
    assert!(!world.machine.is_finished(), "peerLeft is on its way");
    let body = world.offer();
    let response = world.ask(|handle| handle.request("POST", "/api/offer", body.as_bytes()));
    assert_eq!(response.status, 503);
    world.advance(Duration::from_secs(3));
    let peer_left = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;
    assert!(world.heard.contains(&Heard::Message(peer_left.to_owned())));
    assert_eq!(world.machine.app().ends(), [CloseReason::Application]);
    assert!(world.machine.is_finished());
}

#[test]
fn a_machine_is_finished_when_no_handle_and_no_call_is_left() {
    let mut world = World::new(Config::new());
    world.connect();
    let other = world.handle.clone();
    // Another world's, in the place of this one's.
    world.handle = World::new(Config::new()).handle;
    while world.signals.1.try_recv().is_ok() {}
    drop(other);
    assert!(world.signals.1.try_recv().is_ok(), "the last handle rings");
    world.settle();
    assert!(!world.machine.is_finished(), "a call goes on");
    world.page.close(world.now);
    world.advance(10 * MILLI);
    assert!(world.machine.is_finished());
    assert_eq!(world.machine.app().ends(), [CloseReason::HungUp]);
}

#[test]
fn a_machine_that_fails_tells_its_app_what_was_there_and_then_the_end_only_once() {
    let mut world = World::new(Config::new());
    let id = world.connect();
    world.page.send_text("the last word", world.now);
    world.deliver();
    world.machine.fail(world.now);
    let app = world.machine.app();
    assert_eq!(app.texts(), ["the last word"]);
    let closed = Event::Closed { reason: CloseReason::Internal };
    assert_eq!(app.told.last(), Some(&Told::Event(id, closed)));
    assert!(world.machine.is_finished());
    assert!(world.machine.endpoint().session(id).is_none());
    world.advance(Duration::from_secs(30));
    assert_eq!(world.machine.app().ends(), [CloseReason::Internal]);
}

#[test]
fn a_machine_that_is_dropped_tells_everybody_who_waits() {
    let world = World::new(Config::new());
    let (handle, waiting) = (world.handle.clone(), world.handle.clone());
    let waiting = thread::spawn(move || {
        let response = waiting.request("GET", "/", b"");
        (response.status, waiting.run(|_, _| ()))
    });
    let rung = world.signals.1.recv_timeout(PATIENCE);
    assert!(rung.is_ok());
    drop(world);
    assert_eq!(waiting.join().unwrap(), (503, None));
    assert_eq!(handle.request("GET", "/", b"").status, 503);
    assert_eq!(handle.run(|_, _| ()), None);
    assert_eq!(handle.stats(), None);
    assert_eq!(handle.post(|_, _| ()), Err(PostError::Gone));
    assert_eq!(handle.try_post(|_, _| ()), Err(PostError::Gone));
    handle.close();
}
