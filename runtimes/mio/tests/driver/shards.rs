//! The machines of a node on virtual time: where calls go, and datagrams that go astray; and
//! drivers that run together on loopback.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc::signaling::{self, RateLimit, Request, Response};
use smallrtc::{CloseReason, Config, Datagram, LocalCandidate, Seed, SessionId, TransportId};
use smallrtc_mio::{Driver, Handle, HandleStats, Machine, Options, POSTS_BUDGET, Step, run_shards};
use smallrtc_udp::POSTS_MAX;

use crate::echo::{Echo, Told};
use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;

const TRANSPORT: TransportId = TransportId(0);

/// Turns that something may take which takes no time: far more than any needs.
const TURNS_MAX: usize = 10_000;

fn bot_address(shard: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 7860 + shard))
}

fn page_address(number: usize) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 40_000 + u16::try_from(number).unwrap()))
}

/// What the thread that steps is told.
enum Signal {
    Rung,
    Answered,
}

/// Pages and the machines of a node, joined by a network that takes no time.
struct Node {
    machines: Vec<Machine<Echo>>,
    handle: Handle,
    told: Vec<Receiver<Told>>,
    pages: Vec<Plain>,
    heard: Vec<Heard>,
    now: Instant,
    /// Every datagram of a page reaches this shard, whichever it was sent to.
    mapped_to: Option<usize>,
    signals: (Sender<Signal>, Receiver<Signal>),
}

/// A call: its shard, its session there, and its name.
#[derive(Clone, Debug, PartialEq)]
struct Made(u16, SessionId, String);

impl Node {
    fn new(config: &Config, shards: u16) -> Node {
        let now = Instant::now();
        let candidate = |shard| vec![LocalCandidate::host(TRANSPORT, bot_address(shard))];
        let candidates: Vec<_> = (0..shards).map(candidate).collect();
        let (seed, signals) = (Seed::from_number(1), channel());
        let mut told = Vec::new();
        let app = |shard| {
            assert_eq!(usize::from(shard - config.shard()), told.len());
            let (tell, tells) = channel();
            told.push(tells);
            Echo::new(tell)
        };
        let (machines, handle) = Machine::shards(config, &seed, &candidates, app, now).unwrap();
        for machine in &machines {
            let rung = signals.0.clone();
            machine.wake_with(move || rung.send(Signal::Rung).unwrap_or(()));
        }
        let (pages, heard) = (Vec::new(), Vec::new());
        Node { machines, handle, told, pages, heard, now, mapped_to: None, signals }
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut quiet = true;
            for machine in &mut self.machines {
                quiet &= machine.step(self.now) == Step::Idle;
                while let Some(transmit) = machine.poll_transmit() {
                    assert_eq!(transmit.source, bot_address(machine.shard()));
                    let pages = self.pages.iter_mut().enumerate();
                    let mut page = pages.filter(|(n, _)| page_address(*n) == transmit.destination);
                    // A candidate may lead nowhere.
                    if let Some((_, page)) = page.next() {
                        page.receive(transmit.source, &transmit.payload, self.now);
                    }
                    quiet = false;
                }
            }
            quiet &= !self.carry_to_machines();
            if quiet {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Whether there was something.
    fn carry_to_machines(&mut self) -> bool {
        let mut carried = false;
        for (number, page) in self.pages.iter_mut().enumerate() {
            if page.poll_timeout().is_some_and(|at| at <= self.now) {
                page.handle_timeout(self.now);
            }
            while let Some((destination, payload)) = page.poll_packet() {
                let shard = usize::from(destination.port() - bot_address(0).port());
                let shard = self.mapped_to.unwrap_or(shard);
                let own = bot_address(u16::try_from(shard).unwrap());
                let datagram = Datagram::udp(TRANSPORT, page_address(number), own, payload.into());
                self.machines[shard].handle_datagram(datagram, self.now);
                carried = true;
            }
            self.heard.extend(std::iter::from_fn(|| page.poll_heard()));
        }
        carried
    }

    /// Lets time pass, from one wake-up to the next.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.settle();
        while self.now < end {
            let machines = self.machines.iter().map(Machine::poll_timeout);
            let pages = self.pages.iter_mut().map(Plain::poll_timeout);
            let next = machines.chain(pages).flatten().fold(end, Instant::min);
            self.now = self.now.max(next);
            self.settle();
        }
    }

    /// What another thread is answered, that asks and needs no time.
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

    fn request(&mut self, method: &str, body: &Value) -> Response {
        let body = body.to_string();
        self.ask(|handle| handle.request(method, "/api/offer", body.as_bytes()))
    }

    /// A call of a new page.
    fn call(&mut self, fields: &Value) -> Made {
        let mut page = Plain::new(page_address(self.pages.len()));
        let mut body = json!({ "type": "offer", "sdp": page.offer(self.now) });
        self.pages.push(page);
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let response = self.request("POST", &body);
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        let page = self.pages.last_mut().unwrap();
        page.accept_answer(answer["sdp"].as_str().unwrap(), self.now);
        let made = |(shard, told): (u16, &Receiver<Told>)| {
            let call = |told| if let Told::Call(id) = told { Some((shard, id)) } else { None };
            told.try_iter().filter_map(call).last()
        };
        let (shard, id) = (0..).zip(&self.told).find_map(made).expect("a call is told");
        Made(shard, id, answer["pc_id"].as_str().unwrap().to_owned())
    }

    fn new_call(&mut self) -> Made {
        self.call(&json!({}))
    }

    /// Hangs up from this side.
    fn close(&mut self, Made(shard, id, _): &Made) {
        let (handle, id) = (self.handle.of_shard(*shard).unwrap(), *id);
        let close = move |endpoint: &mut smallrtc::Endpoint, now| {
            endpoint.session(id).unwrap().close(now);
        };
        handle.try_post(close).unwrap();
        self.advance(Duration::from_secs(3));
    }

    fn stats(&mut self) -> Vec<HandleStats> {
        self.ask(Handle::shard_stats).into_iter().map(Option::unwrap).collect()
    }

    fn sessions(&mut self) -> Vec<usize> {
        self.stats().iter().map(|stats| stats.sessions).collect()
    }
}

#[test]
fn the_limit_of_a_client_is_one_for_all_shards_whatever_its_requests_name() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let limit = RateLimit::new(number(6), number(1));
    let client = "192.0.2.9".parse().unwrap();
    // Offers go to whichever shard has least to do, candidates to the one that has the call.
    for methods in [["POST"; 6], ["PATCH"; 6], ["PATCH", "POST", "PATCH", "POST", "POST", "PATCH"]]
    {
        let mut node = Node::new(&Config::new(), 2);
        for machine in &mut node.machines {
            machine.set_signaling(signaling::Options::new().rate_limit(limit).shared());
        }
        let calls = [node.new_call(), node.new_call()];
        let body = json!({ "pc_id": calls[1].2, "candidates": [] }).to_string();
        let mut ask = |method| {
            let body = if method == "POST" { "{}" } else { &body };
            let request = Request::new(method, "/api/offer", body.as_bytes()).client(client);
            node.ask(|handle| handle.serve(request)).status
        };
        for (number, method) in methods.into_iter().enumerate() {
            assert_eq!(ask(method), if method == "POST" { 400 } else { 200 }, "{number}");
        }
        assert_eq!(["POST", "PATCH"].map(&mut ask), [503, 429], "{methods:?}: and by no shard");
        let stats = node.stats();
        let refused: u64 = stats.iter().map(|stats| stats.signaling.refused_rate).sum();
        let known: u64 = stats.iter().map(|stats| stats.signaling.clients).sum();
        assert_eq!((refused, known), (2, 1), "asked once, and known once");
        drop(calls);
    }
}

#[test]
fn a_request_that_one_shard_after_the_other_refuses_counts_once_for_its_client() {
    let mut node = Node::new(&Config::new(), 2);
    let number = |number| NonZeroU32::new(number).unwrap();
    let options =
        signaling::Options::new().rate_limit(RateLimit::new(number(6), number(1))).shared();
    for machine in &mut node.machines {
        machine.set_signaling(options.clone());
        machine.drain();
    }
    let client = "192.0.2.9".parse().unwrap();
    let mut ask = || {
        let request = Request::new("POST", "/start", b"{}").client(client);
        node.ask(|handle| handle.serve(request)).status
    };
    assert_eq!([0; 7].map(|_| ask()), [503, 503, 503, 503, 503, 503, 429]);
    let stats = node.stats();
    assert!(stats.iter().all(|stats| stats.signaling.refused_draining == 6), "both were asked");
}

#[test]
fn requests_that_nobody_waits_for_are_divided_among_the_shards_too() {
    let mut node = Node::new(&Config::new(), 2);
    let answers: Vec<_> = (0..4)
        .map(|number| {
            let mut page = Plain::new(page_address(number));
            let body = json!({ "type": "offer", "sdp": page.offer(node.now) }).to_string();
            node.handle.try_request("POST", "/api/offer", body.as_bytes()).unwrap()
        })
        .collect();
    node.settle();
    assert!(answers.iter().all(|answer| answer.try_recv().unwrap().status == 200));
    assert_eq!(node.sessions(), [2, 2]);
    // Nothing is on its way any more: the next ones alternate.
    assert_eq!([node.new_call().0, node.new_call().0], [0, 1]);
}

#[test]
fn calls_go_to_the_least_loaded_shard_and_do_so_each_time() {
    let run = || {
        let mut node = Node::new(&Config::new(), 3);
        let calls: Vec<Made> = (0..9).map(|_| node.new_call()).collect();
        let shards: Vec<u16> = calls.iter().map(|made| made.0).collect();
        assert_eq!(shards, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(node.sessions(), [3, 3, 3]);
        let stats = node.ask(Handle::stats).unwrap();
        assert_eq!((stats.sessions, stats.endpoint.sessions_accepted), (9, 9));
        node.close(&calls[1]);
        assert_eq!(node.sessions(), [3, 2, 3]);
        assert_eq!(node.new_call().0, 1, "the one whose call ended is the next");
        calls
    };
    assert_eq!(run(), run(), "one seed, one run");
}

#[test]
fn a_shard_that_is_full_is_passed_over_and_the_refusal_is_of_all() {
    let mut node = Node::new(&Config::new().max_sessions(1), 2);
    let calls = [node.new_call(), node.new_call()];
    assert_eq!((calls[0].0, calls[1].0), (0, 1));
    let body = json!({ "type": "offer", "sdp": Plain::new(page_address(9)).offer(node.now) });
    assert_eq!(node.request("POST", &body).status, 503);
    // One that starts anew needs no room.
    let restarted = node.call(&json!({ "pc_id": calls[1].2, "restart_pc": true }));
    assert_eq!(restarted.0, 1);
}

#[test]
fn a_request_that_names_a_call_reaches_it_wherever_it_lives() {
    let mut node = Node::new(&Config::new(), 2);
    let calls = [node.new_call(), node.new_call()];
    for Made(shard, _, pc_id) in &calls {
        let candidate = "candidate:1 1 udp 2113937151 198.51.100.9 50000 typ host";
        let candidates = json!([{ "candidate": candidate, "sdp_mid": "0" }]);
        let body = json!({ "pc_id": pc_id, "candidates": candidates });
        assert_eq!(node.request("PATCH", &body).status, 200);

        let page = &mut node.pages[usize::from(*shard)];
        let body = json!({ "type": "offer", "sdp": page.offer(node.now), "pc_id": pc_id });
        let response = node.request("POST", &body);
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(answer["pc_id"], *pc_id, "the same call");
    }
    assert_eq!(node.sessions(), [1, 1]);
    // So does one that does not wait.
    let body = json!({ "pc_id": calls[1].2, "candidates": [] }).to_string();
    let answer = node.handle.try_request("PATCH", "/api/offer", body.as_bytes()).unwrap();
    node.settle();
    assert_eq!(answer.try_recv().unwrap().status, 200);
    let made_up = format!("SmallWebRTCConnection#0-001{}", "0".repeat(29));
    let body = json!({ "pc_id": made_up, "candidates": [] });
    assert_eq!(node.request("PATCH", &body).status, 404);
}

#[test]
fn a_call_whose_datagrams_all_reach_the_wrong_shard_connects_and_talks() {
    for wrong in [0, 1] {
        let mut node = Node::new(&Config::new(), 2);
        let _calls = [node.new_call(), node.new_call()];
        node.mapped_to = Some(wrong);
        node.advance(Duration::from_secs(2));
        let opened = node.heard.iter().filter(|heard| **heard == Heard::Open);
        assert_eq!(opened.count(), 2);
        for page in &mut node.pages {
            page.send_text("astray", node.now);
        }
        node.advance(Duration::from_millis(10));
        let echoes = node.heard.iter().filter(|heard| **heard == Heard::Message("astray".into()));
        assert_eq!(echoes.count(), 2);
        let stats = node.stats();
        let (wrong, right) = (&stats[wrong], &stats[1 - wrong]);
        assert!(wrong.forward.handed > 10, "{:?}", wrong.forward);
        assert_eq!(wrong.forward.handed, right.forward.taken);
        assert_eq!((wrong.forward.addresses, wrong.forward.dropped), (1, 0));
        assert_eq!((right.forward.handed, right.forward.misdirected), (0, 0));
    }
}

#[test]
fn as_many_posts_wait_for_a_shard_as_allowed_and_one_more_is_lost() {
    let mut node = Node::new(&Config::new(), 2);
    let _calls = [node.new_call(), node.new_call()];
    let mut packets = VecDeque::new();
    while packets.is_empty() {
        node.now += Duration::from_millis(50);
        node.pages[1].handle_timeout(node.now);
        packets.extend(std::iter::from_fn(|| node.pages[1].poll_packet()));
    }
    let (_, check) = packets.pop_front().unwrap();
    for _ in 0..=POSTS_MAX {
        let (page, bot) = (page_address(1), bot_address(0));
        let datagram = Datagram::udp(TRANSPORT, page, bot, check.clone().into());
        node.machines[0].handle_datagram(datagram, node.now);
    }
    // The one that is flooded takes some in each step, and says that there are more.
    assert_eq!(node.machines[1].step(node.now), Step::More);
    const { assert!(POSTS_BUDGET < POSTS_MAX) };
    // Or the question might overtake the posts.
    node.settle();
    let stats = node.stats();
    assert_eq!((stats[0].forward.dropped, stats[0].forward.handed), (1, POSTS_MAX as u64 + 1));
    assert_eq!(stats[1].forward.taken, POSTS_MAX as u64);
}

#[test]
fn a_shard_that_waits_for_the_last_call_of_another_is_woken_by_its_end() {
    let mut node = Node::new(&Config::new(), 2);
    let calls = [node.new_call(), node.new_call()];
    node.advance(Duration::from_secs(1));
    node.close(&calls[0]);
    let elsewhere = Node::new(&Config::new(), 1).handle;
    drop(std::mem::replace(&mut node.handle, elsewhere));
    node.settle();
    let finished = |node: &Node| node.machines.iter().map(Machine::is_finished).collect::<Vec<_>>();
    assert_eq!(finished(&node), [false, false], "the first waits for the other's call");
    while node.signals.1.try_recv().is_ok() {}
    node.pages[1].close(node.now);
    node.advance(Duration::from_millis(10));
    assert_eq!(finished(&node), [true, true]);
    assert!(matches!(node.signals.1.try_recv(), Ok(Signal::Rung)));
}

#[test]
fn a_shard_that_is_dropped_gets_no_more_calls() {
    let mut node = Node::new(&Config::new(), 2);
    let first = node.new_call();
    drop(node.machines.remove(0));
    for _ in 0..3 {
        assert_eq!(node.new_call().0, 1);
    }
    assert_eq!(node.call(&json!({ "pc_id": first.2 })).0, 1);
    let stats = node.ask(Handle::shard_stats);
    assert_eq!(stats.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_handle_of_one_shard_speaks_to_that_one_only() {
    let mut node = Node::new(&Config::new().place(7, 4094).unwrap(), 2);
    assert_eq!(node.handle.shards(), 2);
    for (number, index) in [(4094, 0), (4095, 1)] {
        let one = node.handle.of_shard(number).unwrap();
        assert_eq!(one.shards(), 1);
        let place = node.ask(move |_| one.run(|endpoint, _| endpoint.place()));
        assert_eq!(place, Some((7, number)));
        assert_eq!(node.machines[index].shard(), number);
    }
    for number in [0, 4093, 4096, u16::MAX] {
        assert!(node.handle.of_shard(number).is_none());
    }
    assert!(node.handle.of_shard(4094).unwrap().of_shard(4095).is_none());
}

fn bind(shards: u16) -> (Vec<Driver<Echo>>, Handle, Receiver<Told>) {
    let (tell, told) = channel();
    let options = Options::new().udp("127.0.0.1:0".parse().unwrap()).shards(shards);
    let app = |_| Echo::new(tell.clone());
    let (drivers, handle) = Driver::bind_shards(Config::new(), options, app).unwrap();
    (drivers, handle, told)
}

#[test]
fn two_calls_are_served_by_two_threads_and_close_ends_both() {
    let (drivers, handle, told) = bind(2);
    assert_eq!(drivers.iter().map(Driver::shard).collect::<Vec<_>>(), [0, 1]);
    let addresses = handle.udp_addresses().to_vec();
    assert_eq!(addresses.len(), 2);
    assert_eq!(handle.of_shard(1).unwrap().udp_addresses(), &addresses[1..]);
    let running = thread::spawn(move || run_shards(drivers).map(|apps| apps.len()));
    let mut pages = [Page::new(Plain::new), Page::new(Plain::new)];
    for page in &mut pages {
        page.call(|offer| {
            let response = handle.request("POST", "/api/offer", offer.as_bytes());
            assert_eq!(response.status, 200, "{}", response.body);
            response.body
        });
        page.hear("the data channel opens", |heard| *heard == Heard::Open);
        page.stack.send_text("hello", Instant::now());
        page.hear("its echo", |heard| *heard == Heard::Message("hello".to_owned()));
    }
    let sessions = handle.shard_stats().into_iter().map(|stats| stats.unwrap().sessions);
    assert_eq!(sessions.collect::<Vec<_>>(), [1, 1]);
    let names: Vec<Option<String>> = (0..2)
        .map(|number| {
            let shard = handle.of_shard(number).unwrap();
            shard.run(|_, _| thread::current().name().map(str::to_owned)).unwrap()
        })
        .collect();
    assert_eq!(names[1].as_deref(), Some("smallrtc-1"));
    assert_ne!(names[0], names[1]);
    for page in &mut pages {
        page.hang_up();
        let ended = std::iter::from_fn(|| told.recv_timeout(PATIENCE).ok());
        let end = ended.filter_map(|told| told.end()).next();
        assert_eq!(end, Some(CloseReason::HungUp));
    }
    handle.close();
    assert_eq!(running.join().unwrap().unwrap(), 2);
}

#[test]
fn a_number_of_shards_that_is_not_possible_is_refused() {
    let (tell, _told) = channel();
    let options = |shards| Options::new().udp("127.0.0.1:0".parse().unwrap()).shards(shards);
    let refused = Driver::bind(Config::new(), options(2), Echo::new(tell.clone())).unwrap_err();
    assert_eq!(refused.to_string(), "shards: 2 (expected 1; see bind_shards)");
    let app = |_| Echo::new(tell.clone());
    let refused = Driver::bind_shards(Config::new(), options(0), app).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn a_session_leads_to_its_shard_and_its_headers_come_along() {
    let mut node = Node::new(&Config::new(), 2);
    let origin = [("Origin", "https://example.com")];
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = Request::new("POST", "/start", b"{}").headers(origin);
        let response = node.ask(|handle| handle.serve(request));
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("https://example.com"));
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        ids.push(answer["sessionId"].as_str().unwrap().to_owned());
    }
    for (shard, id) in ids.iter().enumerate().rev() {
        let mut page = Plain::new(page_address(node.pages.len()));
        let body = json!({ "type": "offer", "sdp": page.offer(node.now) }).to_string();
        node.pages.push(page);
        let path = format!("/sessions/{id}/api/offer");
        let waits = Request::new("POST", &path, body.as_bytes());
        let answered = node.handle.try_serve(waits).unwrap();
        node.settle();
        assert_eq!(answered.try_recv().unwrap().status, 200);
        assert_eq!(node.sessions()[shard], 1);
    }
    let preflight = Request::new("OPTIONS", "/start", b"")
        .headers(origin.into_iter().chain([("Access-Control-Request-Method", "POST")]));
    let response = node.ask(|handle| handle.serve(preflight));
    assert_eq!((response.status, response.header("Vary")), (200, Some("Origin")));
}

#[test]
fn a_node_that_drains_takes_no_call_and_is_done_with_the_last() {
    let mut node = Node::new(&Config::new(), 2);
    let calls = [node.new_call(), node.new_call()];
    assert!(!node.ask(|handle| handle.drain(Duration::from_millis(1))), "calls go on");
    let body = json!({ "type": "offer", "sdp": Plain::new(page_address(9)).offer(node.now) });
    assert_eq!(node.request("POST", &body).status, 503);
    assert_eq!(
        node.request("PATCH", &json!({ "pc_id": calls[1].2, "candidates": [] })).status,
        200
    );
    assert!(node.stats().iter().all(|stats| stats.is_draining && stats.sessions == 1));
    for call in &calls {
        node.close(call);
    }
    assert!(node.ask(|handle| handle.drain(PATIENCE)), "no call is left");
    assert!(!node.machines.iter().any(Machine::is_finished), "it waits to be closed");
}
