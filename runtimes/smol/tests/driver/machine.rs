//! The driver's inner step on virtual time, with a page that has no socket either.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};
use serde_json::{Value, json};
use smallrtc::{
    AudioFrame, AudioIdle, AudioParts, CloseReason, Config, ConnectionState, Datagram, Event,
    LocalCandidate, Message, Seed, SendError, TransportId,
};
use smallrtc_smol::{
    BACKLOG_MAX, Handle, INBOX_MAX, Machine, Peer, REQUESTS_BUDGET, Received, Step,
};

use crate::page::{Heard, PACKET_TIME, Stack};
use crate::plain::Plain;
use crate::tone::Microphone;

const TRANSPORT: TransportId = TransportId(0);

/// Turns that something may take which takes no time: far more than any needs.
const TURNS_MAX: usize = 10_000;

fn bot_address() -> SocketAddr {
    "192.0.2.1:7860".parse().unwrap()
}

fn page_address() -> SocketAddr {
    "198.51.100.7:40000".parse().unwrap()
}

/// A machine and a page, joined by a network that takes no time.
struct World {
    machine: Machine,
    handle: Handle,
    page: Plain,
    now: Instant,
    heard: Vec<Heard>,
    /// Nothing of the bot reaches the page.
    is_deaf: bool,
}

impl World {
    fn new(config: Config) -> World {
        let page = Plain::new(page_address());
        let now = Instant::now();
        let candidates = [LocalCandidate::host(TRANSPORT, bot_address())];
        let seed = Seed::from_number(1);
        let (machine, handle) = Machine::new(config.shared(), &seed, &candidates, now);
        World { machine, handle, page, now, heard: Vec::new(), is_deaf: false }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut quiet = self.machine.step(self.now) == Step::Idle;
            while let Some(transmit) = self.machine.poll_transmit() {
                assert_eq!(transmit.destination, page_address());
                if !self.is_deaf {
                    self.page.receive(transmit.source, &transmit.payload, self.now);
                }
                quiet = false;
            }
            if self.page.poll_timeout().is_some_and(|at| at <= self.now) {
                self.page.handle_timeout(self.now);
            }
            while let Some((destination, payload)) = self.page.poll_packet() {
                let datagram =
                    Datagram::udp(TRANSPORT, page_address(), destination, payload.into());
                self.machine.handle_datagram(datagram, self.now);
                quiet = false;
            }
            self.heard.extend(std::iter::from_fn(|| self.page.poll_heard()));
            let deadline = self.machine.end_turn(self.now);
            assert_eq!(deadline, self.machine.poll_timeout());
            if quiet {
                return;
            }
        }
        panic!("it does not come to rest");
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

    /// What a future gives that needs the machine, but no time.
    fn ask<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        for _ in 0..TURNS_MAX {
            if let Some(output) = block_on(poll_once(future.as_mut())) {
                return output;
            }
            self.settle();
        }
        panic!("no answer");
    }

    fn post(&mut self, sdp: &str) -> Value {
        let body = json!({ "type": "offer", "sdp": sdp }).to_string();
        let handle = self.handle.clone();
        let response = self.ask(handle.request("POST", "/api/offer", body.as_bytes()));
        assert_eq!(response.status, 200, "{}", response.body);
        serde_json::from_str(&response.body).unwrap()
    }

    /// Offers, and takes the answer.
    fn call(&mut self) {
        let offer = self.page.offer(self.now);
        let answer = self.post(&offer);
        self.page.accept_answer(answer["sdp"].as_str().unwrap(), self.now);
    }

    fn accept(&mut self) -> Peer {
        let handle = self.handle.clone();
        self.ask(handle.accept()).unwrap()
    }

    /// A call whose channel is open.
    fn connect(&mut self) -> Peer {
        self.call();
        let mut peer = self.accept();
        self.advance(Duration::from_secs(1));
        assert!(self.heard.contains(&Heard::Open));
        let received = received(&mut peer);
        let connected = Event::StateChanged(ConnectionState::Connected);
        assert!(received.contains(&Received::Event(connected)), "{received:?}");
        peer
    }

    fn send_texts(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            self.page.send_text(&text, self.now);
            self.advance(Duration::from_millis(1));
        }
    }

    fn sessions(&mut self) -> usize {
        let handle = self.handle.clone();
        self.ask(handle.stats()).unwrap().sessions
    }
}

/// What can be received now.
fn received(peer: &mut Peer) -> Vec<Received> {
    let next = || block_on(poll_once(peer.recv())).flatten();
    std::iter::from_fn(next).collect()
}

fn texts(received: &[Received]) -> Vec<&str> {
    let text = |received| match received {
        &Received::Message(Message::Text(ref text)) => Some(text.as_str()),
        _ => None,
    };
    received.iter().filter_map(text).collect()
}

/// So much silence.
fn silence(seconds: usize) -> Vec<i16> {
    vec![0; seconds * 16_000]
}

#[test]
fn a_call_is_made_accepted_and_echoed() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    assert_eq!(world.sessions(), 1);
    world.send_texts(["hello".to_owned()]);
    assert_eq!(texts(&received(&mut peer)), ["hello"]);
    world.ask(peer.send_message(Message::text("hello to you"))).unwrap();
    world.advance(Duration::from_millis(1));
    assert!(world.heard.contains(&Heard::Message("hello to you".to_owned())));
}

#[test]
fn one_step_answers_as_many_requests_as_its_budget_and_says_that_there_are_more() {
    let mut world = World::new(Config::new());
    let requests: Vec<_> = (0..=REQUESTS_BUDGET).collect();
    let handle = world.handle.clone();
    let mut requests: Vec<_> =
        requests.iter().map(|_| Box::pin(handle.request("GET", "/", b""))).collect();
    let answered = |requests: &mut Vec<_>| {
        let before = requests.len();
        requests.retain_mut(|request| block_on(poll_once(request)).is_none());
        before - requests.len()
    };
    assert_eq!(answered(&mut requests), 0);
    assert_eq!(world.machine.step(world.now), Step::More);
    assert_eq!(answered(&mut requests), REQUESTS_BUDGET);
    assert_eq!(world.machine.step(world.now), Step::Idle);
    assert_eq!(answered(&mut requests), 1);
}

#[test]
fn the_lateness_of_turns_is_told() {
    let mut world = World::new(Config::new());
    let _peer = world.connect();
    let handle = world.handle.clone();
    world.advance(Duration::from_millis(200));
    let punctual = world.ask(handle.stats()).unwrap().lateness;
    assert!(punctual.count() >= 10, "{punctual}");
    assert_eq!(punctual.max(), Duration::ZERO);

    let late = Duration::from_millis(50);
    world.now = world.machine.poll_timeout().unwrap() + late;
    world.settle();
    let lateness = world.ask(handle.stats()).unwrap().lateness;
    assert!(lateness.max() >= late && lateness.max() < late * 102 / 100, "{lateness}");
}

#[test]
fn a_command_moves_the_deadline_nearer() {
    let mut world = World::new(Config::new().audio_idle(AudioIdle::Nothing));
    let peer = world.connect();
    // Find a moment at which nothing is due for a while.
    let mut rest = Duration::ZERO;
    for _ in 0..100 {
        rest = world.machine.poll_timeout().unwrap().duration_since(world.now);
        if rest > Duration::from_millis(40) {
            break;
        }
        world.advance(rest + Duration::from_millis(1));
    }
    assert!(rest > Duration::from_millis(40), "never idle");
    let samples = silence(1);
    world.ask(peer.send_audio(AudioFrame::mono(&samples, 16_000))).unwrap();
    let due = world.machine.poll_timeout().unwrap().duration_since(world.now);
    assert!(due <= PACKET_TIME, "{due:?}");
}

#[test]
fn a_call_that_ended_is_told_once_and_nothing_of_it_is_kept() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let sender = peer.sender().clone();
    world.page.close(world.now);
    world.advance(Duration::from_millis(10));
    let received = received(&mut peer);
    assert_eq!(received.last(), Some(&Received::Closed(CloseReason::HungUp)));
    let ends = received.iter().filter(|received| matches!(received, Received::Closed(_)));
    assert_eq!(ends.count(), 1);
    assert_eq!(block_on(peer.recv()), None);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.machine.poll_timeout(), None);
    let late = world.ask(sender.send_message(Message::text("late")));
    assert_eq!(late, Err(SendError::Closed));
    assert_eq!(world.ask(sender.stats()), None);
    assert_eq!(world.ask(sender.clear_audio()).pieces, []);
}

#[test]
fn messages_that_are_not_read_wait_in_the_session_and_come_in_order() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let numbers: Vec<String> = (0..5 * INBOX_MAX).map(|number| number.to_string()).collect();
    world.send_texts(numbers.clone());
    let mut all = Vec::new();
    // The first reading gives what the inbox holds, and makes room for more.
    let first = received(&mut peer);
    assert_eq!(texts(&first).len(), INBOX_MAX);
    all.extend(first);
    for _ in 0..10 {
        world.settle();
        all.extend(received(&mut peer));
    }
    assert_eq!(texts(&all), numbers);
}

#[test]
fn messages_that_are_never_read_end_the_call_after_the_cores_limit() {
    const INBOUND_MAX: usize = 1024;
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    world.send_texts((0..INBOX_MAX + INBOUND_MAX).map(|number| number.to_string()));
    assert_eq!(world.sessions(), 1, "at the limit");
    world.send_texts(["one past it".to_owned()]);
    assert_eq!(world.sessions(), 0);
    let received = received(&mut peer);
    assert_eq!(texts(&received).len(), INBOX_MAX + INBOUND_MAX, "what was acknowledged is told");
    assert_eq!(received.last(), Some(&Received::Closed(CloseReason::ApplicationTooSlow)));
}

#[test]
fn sound_that_is_not_read_is_dropped_oldest_first_and_counted() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let mut microphone = Microphone::new(440.0);
    // The inbox is full after 1.3 s; two seconds more, and nobody is taken to read.
    for number in 0..150 {
        world.page.send_opus(number, &microphone.packet(), world.now);
        world.advance(PACKET_TIME);
    }
    let stats = world.ask(peer.stats()).unwrap();
    assert!(stats.audio_dropped_samples > 0);
    let mut blocks = Vec::new();
    for _ in 0..100 {
        blocks.extend(received(&mut peer).into_iter().filter_map(|received| match received {
            Received::Audio(block) => Some(block),
            _ => None,
        }));
        world.settle();
    }
    let heard: usize = blocks.iter().map(|block| block.samples.len()).sum();
    // The inbox holds 64 blocks of 20 ms, the session one second.
    let most = (INBOX_MAX * 320 + 16_000 + 2 * 5760) as f32;
    assert!((16_000.0..most).contains(&(heard as f32)), "{heard} samples");
    // What is left is the newest.
    let last = blocks.last().unwrap();
    let end = last.time + Duration::from_secs(last.samples.len() as u64) / 16_000;
    assert!(end > Duration::from_millis(2_900), "{end:?}");
}

#[test]
fn a_peer_that_is_dropped_closes_its_call_and_one_half_does_not() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    let sender = peer.sender().clone();
    drop(peer);
    world.send_texts((0..3 * INBOX_MAX).map(|number| number.to_string()));
    assert_eq!(world.sessions(), 1, "nobody reads, but somebody sends");
    drop(sender);
    world.advance(Duration::from_secs(3));
    assert_eq!(world.sessions(), 0);
    let peer_left = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;
    assert!(world.heard.contains(&Heard::Message(peer_left.to_owned())));
}

#[test]
fn sound_waits_while_the_queue_is_full_and_a_barge_in_passes_it() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    let samples = silence(1);
    let second = AudioFrame::mono(&samples, 16_000);
    let mut taken = 0;
    let mut waiting = Box::pin(peer.send_audio(second));
    while taken < 100 {
        world.settle();
        match block_on(poll_once(waiting.as_mut())) {
            Some(sent) => sent.map(|_| taken += 1).unwrap(),
            None => {
                world.settle();
                let Some(sent) = block_on(poll_once(waiting.as_mut())) else { break };
                sent.map(|_| taken += 1).unwrap();
            }
        }
        waiting = Box::pin(peer.send_audio(second));
    }
    assert!((59..=61).contains(&taken), "{taken} s are queued");
    world.advance(Duration::from_millis(1_100));
    assert!(block_on(poll_once(waiting.as_mut())).is_some(), "there is room after a second");

    let mut waiting = Box::pin(peer.send_audio(second));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.settle();
    assert!(block_on(poll_once(waiting.as_mut())).is_none(), "full again");
    drop(waiting);
    let cleared = world.ask(peer.clear_audio());
    assert!(cleared.pieces.len() >= 59, "{} pieces", cleared.pieces.len());
    world.advance(Duration::from_millis(100));
    let cleared = world.ask(peer.clear_audio());
    assert_eq!(cleared.pieces, [], "what was given up while it waited was not sent later");
}

/// Fills the queue of a call, a second at a time; how many seconds it took.
fn fill(world: &mut World, peer: &Peer) -> usize {
    let samples = silence(1);
    let second = AudioFrame::mono(&samples, 16_000);
    (0..100).take_while(|_| world.ask(peer.try_send_audio(second)).is_ok()).count()
}

#[test]
fn sound_that_does_not_wait_is_told_how_long_there_will_be_no_room() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    assert_eq!(fill(&mut world, &peer), 60);
    let samples = silence(1);
    let second = AudioFrame::mono(&samples, 16_000);
    let Err(SendError::QueueFull { wait: Some(wait), .. }) = world.ask(peer.try_send_audio(second))
    else {
        panic!("there is no room, and the clock runs");
    };
    assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
    world.advance(wait);
    assert!(world.ask(peer.try_send_audio(second)).is_ok(), "that is how long it took");
}

#[test]
fn sound_that_does_not_wait_leaves_the_room_to_sound_that_does() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    fill(&mut world, &peer);
    let (second, short) = (silence(1), silence(1)[..160].to_vec());
    let mut waiting = Box::pin(peer.send_audio(AudioFrame::mono(&second, 16_000)));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.advance(Duration::from_millis(500));
    let sent = world.ask(peer.try_send_audio(AudioFrame::mono(&short, 16_000)));
    assert!(matches!(sent, Err(SendError::QueueFull { wait: Some(_), .. })), "{sent:?}");
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.advance(Duration::from_millis(600));
    assert!(block_on(poll_once(waiting.as_mut())).is_some_and(|sent| sent.is_ok()));
    // Who gave up waiting is in nobody's way.
    fill(&mut world, &peer);
    let mut waiting = Box::pin(peer.send_audio(AudioFrame::mono(&second, 16_000)));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.advance(Duration::from_millis(100));
    drop(waiting);
    assert!(world.ask(peer.try_send_audio(AudioFrame::mono(&short, 16_000))).is_ok());
}

#[test]
fn a_barge_in_makes_room_at_once() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    fill(&mut world, &peer);
    let samples = silence(30);
    let mut waiting = Box::pin(peer.send_audio(AudioFrame::mono(&samples, 16_000)));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.settle();
    let at = world.now;
    let _ = world.ask(peer.clear_audio());
    assert!(world.ask(waiting).is_ok());
    assert_eq!(world.now, at);
}

#[test]
fn sound_that_waits_while_the_queue_is_held_back_wakes_nothing_until_it_is_let_go() {
    let mut world = World::new(Config::new().audio_idle(AudioIdle::Nothing).stats_interval(None));
    let peer = world.connect();
    world.ask(async { peer.pause_audio().await });
    assert_eq!(fill(&mut world, &peer), 60);
    let samples = silence(1);
    let mut waiting = Box::pin(peer.send_audio(AudioFrame::mono(&samples, 16_000)));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.settle();
    // Pings and consent checks alone: 50 ms would be twenty times a second.
    let (end, mut wake_ups) = (world.now + Duration::from_secs(10), 0);
    while world.now < end {
        world.now = world.machine.poll_timeout().map_or(end, |at| at.min(end));
        wake_ups += 1;
        world.settle();
    }
    assert!(wake_ups < 100, "{wake_ups} wake-ups in ten seconds");
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    world.ask(async { peer.resume_audio().await });
    world.advance(Duration::from_millis(1_100));
    assert!(block_on(poll_once(waiting.as_mut())).is_some_and(|sent| sent.is_ok()));
}

#[test]
fn how_far_a_piece_has_come_is_told_and_a_pause_stops_it() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    let samples = silence(2);
    let id = world.ask(peer.send_audio(AudioFrame::mono(&samples, 16_000))).unwrap();
    world.advance(Duration::from_millis(500));
    let sent = |world: &mut World| world.ask(peer.audio_progress(id)).map(|it| it.sent);
    let half = sent(&mut world).unwrap();
    assert!((7_000..9_000).contains(&half), "{half} samples in half a second");
    world.ask(async { peer.pause_audio().await });
    world.advance(Duration::from_millis(100));
    let held = sent(&mut world).unwrap();
    assert!(held <= half + 320, "{held} samples: a packet more than {half} at most");
    world.advance(Duration::from_secs(3));
    assert_eq!(sent(&mut world), Some(held));
    world.ask(async { peer.resume_audio().await });
    world.advance(Duration::from_secs(3));
    assert_eq!(sent(&mut world), Some(32_000));
    world.ask(peer.close());
    world.advance(Duration::from_secs(5));
    assert_eq!(world.ask(peer.audio_progress(id)), None, "the call has ended");
}

#[test]
fn keys_are_sent_and_told_of_and_refused_where_the_page_takes_none() {
    let (key, gap) = (Duration::from_millis(100), Duration::from_millis(70));
    let mut world = World::new(Config::new());
    let peer = world.connect();
    let refused = world.ask(peer.send_dtmf("1", key, gap));
    assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
    world.ask(peer.close());
    world.advance(Duration::from_secs(5));
    assert_eq!(world.ask(peer.send_dtmf("1", key, gap)), Err(SendError::Closed));

    let mut world = World::new(Config::new());
    let offer = world.page.offer(world.now);
    let (before, line) = offer.split_once("m=audio").unwrap();
    let (line, after) = line.split_once("\r\n").unwrap();
    let (connection, after) = after.split_once("\r\na=").unwrap();
    let keys = "a=rtpmap:110 telephone-event/48000";
    let lines = format!("m=audio{line} 110\r\n{connection}\r\n{keys}\r\na={after}");
    let answer = world.post(&format!("{before}{lines}"));
    let answer = answer["sdp"].as_str().unwrap();
    assert!(answer.contains(keys), "{answer}");
    world.page.accept_answer(answer, world.now);
    let mut peer = world.accept();
    world.advance(Duration::from_secs(1));
    received(&mut peer);
    world.ask(peer.send_dtmf("1,2", key, gap)).unwrap();
    world.advance(Duration::from_millis(500));
    world.ask(async { peer.clear_dtmf().await });
    world.advance(Duration::from_secs(3));
    assert!(received(&mut peer).contains(&Received::Event(Event::DtmfSent)));
    assert_eq!(world.ask(peer.stats()).unwrap().dtmf_sent, 1);
}

#[test]
fn a_block_tells_how_much_of_it_comes_from_where() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let mut microphone = Microphone::new(440.0);
    for number in 0..50 {
        let packet = microphone.packet();
        // One in ten is lost.
        if number % 10 != 5 {
            world.page.send_opus(number, &packet, world.now);
        }
        world.advance(PACKET_TIME);
    }
    let (mut decoded, mut others) = (0, 0);
    for received in received(&mut peer) {
        let Received::Audio(block) = received else { continue };
        let AudioParts { decoded: fresh, repaired, concealed, silence, .. } = block.parts;
        assert_eq!(fresh + repaired + concealed + silence, block.samples.len());
        decoded += fresh;
        others += repaired + concealed + silence;
    }
    assert!(decoded > 40 * 320 && (320..10 * 320).contains(&others), "{decoded}, {others}");
}

#[test]
fn one_task_that_echoes_large_messages_does_not_lock_up() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let mut echo = Box::pin(async move {
        while let Some(received) = peer.recv().await {
            if let Received::Message(message) = received {
                peer.send_message(message).await.unwrap();
            }
        }
    });
    let mut expected = Vec::new();
    for number in 0..60 {
        let text = format!("{number:0>60000}");
        world.page.send_text(&text, world.now);
        expected.push(Heard::Message(text));
        assert!(block_on(poll_once(echo.as_mut())).is_none());
        world.advance(Duration::from_millis(2));
    }
    for _ in 0..2_000 {
        assert!(block_on(poll_once(echo.as_mut())).is_none());
        world.advance(Duration::from_millis(5));
    }
    world.heard.retain(|heard| matches!(heard, Heard::Message(_)));
    assert_eq!(world.heard.len(), expected.len());
    assert!(world.heard == expected);
}

#[test]
fn a_message_that_waits_for_room_goes_on_even_when_nothing_is_read() {
    let mut world = World::new(Config::new());
    let peer = world.connect();
    world.is_deaf = true;
    let large = Message::Text("x".repeat(200_000));
    let mut waiting = Box::pin(peer.send_message(large.clone()));
    let mut taken = 0;
    loop {
        assert!(taken < 100, "the session takes without limit");
        let first = block_on(poll_once(waiting.as_mut()));
        world.settle();
        match first.or_else(|| block_on(poll_once(waiting.as_mut()))) {
            Some(sent) => sent.unwrap(),
            None => break,
        }
        taken += 1;
        waiting = Box::pin(peer.send_message(large.clone()));
    }
    // The event that tells of room comes behind messages that nobody reads.
    world.send_texts((0..2 * INBOX_MAX).map(|number| number.to_string()));
    world.is_deaf = false;
    world.advance(Duration::from_secs(5));
    assert!(block_on(poll_once(waiting.as_mut())).is_some_and(|sent| sent.is_ok()));
}

#[test]
fn a_call_one_past_the_backlog_is_closed() {
    let mut world = World::new(Config::new());
    let offer = world.page.offer(world.now);
    for _ in 0..BACKLOG_MAX {
        world.post(&offer);
    }
    assert_eq!(world.sessions(), BACKLOG_MAX);
    world.post(&offer);
    let handle = world.handle.clone();
    let stats = world.ask(handle.stats()).unwrap();
    assert_eq!((stats.sessions, stats.calls_refused), (BACKLOG_MAX, 1));
    for _ in 0..BACKLOG_MAX {
        drop(world.accept());
    }
    world.settle();
    assert_eq!(world.sessions(), 0, "peers that are dropped close their calls");
}

#[test]
fn a_machine_that_is_dropped_tells_everybody() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let World { machine, handle, .. } = world;
    let sender = peer.sender().clone();
    let mut waiting = Box::pin(sender.send_message(Message::text("nobody takes it")));
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    let mut request = Box::pin(handle.request("GET", "/", b""));
    assert!(block_on(poll_once(request.as_mut())).is_none());
    drop(machine);
    assert_eq!(block_on(waiting), Err(SendError::Closed));
    assert_eq!(block_on(request).status, 503);
    let received = received(&mut peer);
    assert_eq!(received.last(), Some(&Received::Closed(CloseReason::Application)));
    assert_eq!(block_on(peer.recv()), None);
    assert!(block_on(handle.accept()).is_none());
    assert_eq!(block_on(handle.stats()), None);
    block_on(handle.close());
}

#[test]
fn a_machine_that_fails_tells_its_calls_so_and_only_once() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    world.machine.fail();
    drop(world);
    let ends = received(&mut peer);
    assert_eq!(ends.last(), Some(&Received::Closed(CloseReason::Internal)));
    assert_eq!(ends.iter().filter(|end| matches!(end, Received::Closed(_))).count(), 1);
}

#[test]
fn a_machine_is_finished_when_no_handle_and_no_call_is_left() {
    let mut world = World::new(Config::new());
    let mut peer = world.connect();
    let World { machine, handle, .. } = &mut world;
    assert!(!machine.is_finished());
    let other = handle.clone();
    *handle = World::new(Config::new()).handle;
    drop(other);
    world.settle();
    assert!(!world.machine.is_finished(), "a call goes on");
    world.page.close(world.now);
    world.advance(Duration::from_millis(10));
    assert!(world.machine.is_finished());
    assert_eq!(received(&mut peer).last(), Some(&Received::Closed(CloseReason::HungUp)));
}
