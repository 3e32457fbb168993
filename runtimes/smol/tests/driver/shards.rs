//! The machines of a node on virtual time: where calls go, and datagrams that go astray.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};
use serde_json::{Value, json};
use smallrtc::signaling::{Options, RateLimit, Request, Response};
use smallrtc::{CloseReason, Config, Datagram, LocalCandidate, Message, Seed, TransportId};
use smallrtc_smol::{Handle, HandleStats, Machine, POSTS_BUDGET, Peer, Received, Step};
use smallrtc_udp::POSTS_MAX;

use crate::page::{Heard, Stack};
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

/// Pages and the machines of a node, joined by a network that takes no time.
struct Node {
    machines: Vec<Machine>,
    handle: Handle,
    pages: Vec<Plain>,
    heard: Vec<Heard>,
    now: Instant,
    /// Every datagram of a page reaches this shard, whichever it was sent to.
    mapped_to: Option<usize>,
}

impl Node {
    fn new(config: &Config, shards: u16) -> Node {
        let now = Instant::now();
        let candidate = |shard| vec![LocalCandidate::host(TRANSPORT, bot_address(shard))];
        let candidates: Vec<_> = (0..shards).map(candidate).collect();
        let seed = Seed::from_number(1);
        let (machines, handle) = Machine::shards(config, &seed, &candidates, now).unwrap();
        let (pages, heard) = (Vec::new(), Vec::new());
        Node { machines, handle, pages, heard, now, mapped_to: None }
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

    /// What a future gives that needs the machines, but no time.
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

    fn request(&mut self, method: &str, body: &Value) -> Response {
        let (handle, body) = (self.handle.clone(), body.to_string());
        self.ask(handle.request(method, "/api/offer", body.as_bytes()))
    }

    /// An offer of a page that is new.
    fn new_offer(&mut self) -> String {
        let mut page = Plain::new(page_address(self.pages.len()));
        let offer = page.offer(self.now);
        self.pages.push(page);
        offer
    }

    fn post(&mut self, fields: &Value) -> Response {
        let mut body = json!({ "type": "offer", "sdp": self.new_offer() });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.request("POST", &body)
    }

    /// A call of a new page; its peer.
    fn call(&mut self, fields: &Value) -> Peer {
        let response = self.post(fields);
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        let page = self.pages.last_mut().unwrap();
        page.accept_answer(answer["sdp"].as_str().unwrap(), self.now);
        let handle = self.handle.clone();
        let peer = self.ask(handle.accept()).unwrap();
        assert_eq!(answer["pc_id"], peer.pc_id());
        peer
    }

    fn new_call(&mut self) -> Peer {
        self.call(&json!({}))
    }

    fn stats(&mut self) -> Vec<HandleStats> {
        let handle = self.handle.clone();
        self.ask(handle.shard_stats()).into_iter().map(Option::unwrap).collect()
    }

    fn sessions(&mut self) -> Vec<usize> {
        self.stats().iter().map(|stats| stats.sessions).collect()
    }
}

/// What can be received now.
fn received(peer: &mut Peer) -> Vec<Received> {
    let next = || block_on(poll_once(peer.recv())).flatten();
    std::iter::from_fn(next).collect()
}

#[test]
fn calls_go_to_the_least_loaded_shard_and_do_so_each_time() {
    let run = || {
        let mut node = Node::new(&Config::new(), 3);
        let peers: Vec<Peer> = (0..9).map(|_| node.new_call()).collect();
        let shards: Vec<u16> = peers.iter().map(Peer::shard).collect();
        assert_eq!(shards, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        assert_eq!(node.sessions(), [3, 3, 3]);
        let handle = node.handle.clone();
        let stats = node.ask(handle.stats()).unwrap();
        assert_eq!((stats.sessions, stats.endpoint.sessions_accepted), (9, 9));
        peers.iter().map(|peer| peer.pc_id().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run(), "one seed, one run");
}

#[test]
fn a_call_that_ended_makes_its_shard_the_next_one() {
    let mut node = Node::new(&Config::new(), 3);
    let mut peers: Vec<Peer> = (0..6).map(|_| node.new_call()).collect();
    drop(peers.remove(1));
    node.advance(Duration::from_secs(3));
    assert_eq!(node.sessions(), [2, 1, 2]);
    assert_eq!(node.new_call().shard(), 1);
}

#[test]
fn requests_that_come_at_once_are_spread_and_none_is_refused_while_there_is_room() {
    let mut node = Node::new(&Config::new().max_sessions(3), 2);
    let offers: Vec<String> =
        (0..8).map(|_| json!({ "type": "offer", "sdp": node.new_offer() }).to_string()).collect();
    let handle = node.handle.clone();
    let request = |body: &'static str| handle.request("POST", "/api/offer", body.as_bytes());
    let mut requests: Vec<_> =
        offers.into_iter().map(|body| Box::pin(request(body.leak()))).collect();
    let mut statuses = Vec::new();
    for _ in 0..100 {
        requests.retain_mut(|request| match block_on(poll_once(request.as_mut())) {
            Some(response) => {
                statuses.push(response.status);
                false
            }
            None => true,
        });
        node.settle();
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 503, 503]);
    assert_eq!(node.sessions(), [3, 3]);
}

#[test]
fn a_request_that_names_a_call_reaches_it_wherever_it_lives() {
    let mut node = Node::new(&Config::new(), 2);
    let peers = [node.new_call(), node.new_call()];
    for peer in &peers {
        let pc_id = peer.pc_id();
        let candidate = "candidate:1 1 udp 2113937151 198.51.100.9 50000 typ host";
        let candidates = json!([{ "candidate": candidate, "sdp_mid": "0" }]);
        let body = json!({ "pc_id": pc_id, "candidates": candidates });
        assert_eq!(node.request("PATCH", &body).status, 200);

        let page = &mut node.pages[usize::from(peer.shard())];
        let body = json!({ "type": "offer", "sdp": page.offer(node.now), "pc_id": pc_id });
        let response = node.request("POST", &body);
        assert_eq!(response.status, 200, "{}", response.body);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        assert_eq!(answer["pc_id"], pc_id, "the same call");
    }
    assert_eq!(node.sessions(), [1, 1]);
}

#[test]
fn a_restart_takes_the_place_of_its_call_in_the_same_shard_even_when_that_is_full() {
    let mut node = Node::new(&Config::new().max_sessions(1), 2);
    let mut peers = [node.new_call(), node.new_call()];
    for peer in &mut peers {
        let restarted = node.call(&json!({ "pc_id": peer.pc_id(), "restart_pc": true }));
        assert_eq!(restarted.shard(), peer.shard());
        assert_eq!(restarted.replaces(), Some(peer.id()));
        node.settle();
        let last = received(peer).pop();
        assert_eq!(last, Some(Received::Closed(CloseReason::Replaced)));
        *peer = restarted;
    }
    assert_eq!(node.sessions(), [1, 1]);
}

#[test]
fn a_made_up_name_does_not_choose_the_shard_of_a_call() {
    let mut node = Node::new(&Config::new(), 2);
    let peers = [node.new_call(), node.new_call()];
    let made_up = |shard: u16| format!("SmallWebRTCConnection#0-{shard:03x}{}", "0".repeat(29));
    let mut shards = Vec::new();
    for shard in [1, 1, 1, 1, 2, 4095] {
        let fields = json!({ "pc_id": made_up(shard), "restart_pc": true });
        shards.push(node.call(&fields).shard());
        let patch = json!({ "pc_id": made_up(shard), "candidates": [] });
        assert_eq!(node.request("PATCH", &patch).status, 404);
    }
    assert_eq!(shards, [0; 6], "each is dropped at once, so the first is the least loaded");
    drop(peers);
}

#[test]
fn a_name_whose_call_has_ended_makes_a_new_call_where_there_is_room() {
    let mut node = Node::new(&Config::new(), 2);
    let peers = [node.new_call(), node.new_call(), node.new_call()];
    let [_first, second, third] = &peers;
    assert_eq!(third.shard(), 0);
    // The page of the third call comes back after its end, and finds the other shard.
    let gone = third.pc_id().to_owned();
    let sender = third.sender().clone();
    node.ask(sender.close());
    node.advance(Duration::from_secs(3));
    let other = node.new_call();
    assert_eq!((other.shard(), second.shard()), (0, 1));
    assert_eq!(node.call(&json!({ "pc_id": gone })).shard(), 1);
}

#[test]
fn calls_of_all_shards_are_accepted_in_turn() {
    let mut node = Node::new(&Config::new(), 2);
    for _ in 0..6 {
        assert_eq!(node.post(&json!({})).status, 200);
    }
    let handle = node.handle.clone();
    let peers: Vec<Peer> = (0..6).map(|_| node.ask(handle.accept()).unwrap()).collect();
    assert_eq!(peers.iter().map(Peer::shard).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
    // A wait that was given up takes nothing along.
    let mut waiting = Box::pin(handle.accept());
    assert!(block_on(poll_once(waiting.as_mut())).is_none());
    assert_eq!(node.post(&json!({})).status, 200);
    drop(waiting);
    assert_eq!(node.ask(handle.accept()).map(|peer| peer.shard()), Some(0));
}

#[test]
fn a_call_whose_datagrams_all_reach_the_wrong_shard_connects_and_talks() {
    for wrong in [0, 1] {
        let mut node = Node::new(&Config::new(), 2);
        let calls = [node.new_call(), node.new_call()];
        node.mapped_to = Some(wrong);
        node.advance(Duration::from_secs(2));
        let opened = node.heard.iter().filter(|heard| **heard == Heard::Open);
        assert_eq!(opened.count(), 2);
        for page in &mut node.pages {
            page.send_text("astray", node.now);
        }
        node.settle();
        for mut peer in calls {
            let expected = Received::Message(Message::Text("astray".to_owned()));
            assert!(received(&mut peer).contains(&expected), "shard {}", peer.shard());
        }
        let stats = node.stats();
        let (wrong, right) = (&stats[wrong], &stats[1 - wrong]);
        assert!(wrong.forward.handed > 10, "{:?}", wrong.forward);
        assert_eq!(wrong.forward.handed, right.forward.taken);
        assert_eq!((wrong.forward.addresses, wrong.forward.dropped), (1, 0));
        assert_eq!((right.forward.handed, right.forward.misdirected), (0, 0));
    }
}

#[test]
fn a_client_whose_datagrams_move_to_another_shard_goes_on() {
    let mut node = Node::new(&Config::new(), 2);
    let _first = node.new_call();
    let mut peer = node.new_call();
    node.advance(Duration::from_secs(1));
    assert_eq!(node.stats()[0].forward.handed, 0);
    // A balancer that was restarted maps the client anew. Its next check leads the rest.
    node.mapped_to = Some(0);
    node.advance(Duration::from_secs(4));
    node.pages[1].send_text("moved", node.now);
    node.settle();
    let expected = Received::Message(Message::Text("moved".to_owned()));
    assert!(received(&mut peer).contains(&expected));
    assert!(node.stats()[0].forward.handed > 0);
}

#[test]
fn as_many_posts_wait_for_a_shard_as_allowed_and_one_more_is_lost() {
    let mut node = Node::new(&Config::new(), 2);
    let _peers = [node.new_call(), node.new_call()];
    let mut packets = VecDeque::new();
    while packets.is_empty() {
        node.now += Duration::from_millis(50);
        node.pages[1].handle_timeout(node.now);
        packets.extend(std::iter::from_fn(|| node.pages[1].poll_packet()));
    }
    let (_, check) = packets.pop_front().unwrap();
    let now = node.now;
    let send = |node: &mut Node| {
        let datagram =
            Datagram::udp(TRANSPORT, page_address(1), bot_address(0), check.clone().into());
        node.machines[0].handle_datagram(datagram, now);
    };
    for _ in 0..POSTS_MAX {
        send(&mut node);
    }
    // The one that is flooded takes some in each step, and says that there are more.
    send(&mut node);
    assert_eq!(node.machines[1].step(now), Step::More);
    const { assert!(POSTS_BUDGET < POSTS_MAX) };
    let stats = node.stats();
    assert_eq!((stats[0].forward.dropped, stats[0].forward.handed), (1, POSTS_MAX as u64 + 1));
    assert_eq!(stats[1].forward.taken, POSTS_MAX as u64);
}

#[test]
fn closing_ends_all_shards_together() {
    let mut node = Node::new(&Config::new(), 2);
    let _idle = node.new_call();
    let mut peer = node.new_call();
    node.advance(Duration::from_secs(1));
    drop(_idle);
    node.advance(Duration::from_secs(3));
    assert_eq!(node.sessions(), [0, 1]);
    let handle = node.handle.clone();
    let mut closing = pin!(handle.close());
    assert!(block_on(poll_once(closing.as_mut())).is_none());
    for machine in &mut node.machines {
        let _ = machine.step(node.now);
    }
    let finished = |node: &Node| node.machines.iter().map(Machine::is_finished).collect::<Vec<_>>();
    assert_eq!(finished(&node), [false, false], "one waits for the other's last call");
    node.advance(Duration::from_secs(3));
    assert_eq!(finished(&node), [true, true]);
    assert_eq!(received(&mut peer).pop(), Some(Received::Closed(CloseReason::Application)));
    assert!(block_on(poll_once(closing.as_mut())).is_none(), "the last datagrams may be unsent");
    node.machines.clear();
    assert!(block_on(poll_once(closing.as_mut())).is_some());
    assert!(block_on(handle.accept()).is_none());
}

#[test]
fn a_shard_that_waits_for_the_last_call_of_another_is_woken_by_its_end() {
    let mut node = Node::new(&Config::new(), 2);
    drop(node.new_call());
    let peer = node.new_call();
    node.advance(Duration::from_secs(3));
    drop(peer);
    let empty = Node::new(&Config::new(), 1).handle;
    drop(std::mem::replace(&mut node.handle, empty));
    // Each is stepped as a driver does: only when it says so, or time has come.
    for _ in 0..TURNS_MAX {
        let [idle, busy] = &mut node.machines[..] else { unreachable!() };
        while idle.step(node.now) == Step::More {}
        if busy.is_finished() {
            assert!(idle.is_finished());
            return;
        }
        assert!(!idle.is_finished());
        node.now = busy.poll_timeout().map_or(node.now, |at| node.now.max(at));
        while busy.step(node.now) == Step::More {
            while busy.poll_transmit().is_some() {}
        }
    }
    panic!("the last call does not end");
}

#[test]
fn a_shard_that_is_dropped_gets_no_more_calls() {
    let mut node = Node::new(&Config::new(), 2);
    let first = node.new_call();
    let name = first.pc_id().to_owned();
    drop(node.machines.remove(0));
    assert!(received(&mut { first }).ends_with(&[Received::Closed(CloseReason::Application)]));
    for _ in 0..3 {
        assert_eq!(node.new_call().shard(), 1);
    }
    assert_eq!(node.call(&json!({ "pc_id": name })).shard(), 1);
    let handle = node.handle.clone();
    let stats = node.ask(handle.shard_stats());
    assert_eq!(stats.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
}

impl Node {
    fn serve(&mut self, method: &str, path: &str, body: &str) -> Response {
        let handle = self.handle.clone();
        self.ask(handle.request(method, path, body.as_bytes()))
    }

    /// A session of `/start`.
    fn session(&mut self) -> String {
        let response = self.serve("POST", "/start", r#"{"body":"kept"}"#);
        let answer: Value = serde_json::from_str(&response.body).unwrap();
        answer["sessionId"].as_str().unwrap().to_owned()
    }
}

#[test]
fn sessions_are_divided_before_they_are_calls_and_each_leads_to_its_shard() {
    let run = || {
        let mut node = Node::new(&Config::new(), 3);
        let ids: Vec<String> = (0..6).map(|_| node.session()).collect();
        let promised: Vec<u64> =
            node.stats().iter().map(|stats| stats.signaling.starts_waiting).collect();
        assert_eq!(promised, [2, 2, 2]);
        // The last one first, so that it is not the load that leads them.
        let mut peers = Vec::new();
        for (number, id) in ids.iter().enumerate().rev() {
            let body = json!({ "type": "offer", "sdp": node.new_offer() }).to_string();
            let path = format!("/sessions/{id}/api/offer");
            assert_eq!(node.serve("POST", &path, &body).status, 200);
            let handle = node.handle.clone();
            let peer = node.ask(handle.accept()).unwrap();
            assert_eq!(usize::from(peer.shard()), number % 3);
            assert_eq!(peer.session_id(), Some(id.as_str()));
            assert_eq!(peer.request_data(), Some(r#""kept""#));
            let trickle = json!({ "pc_id": peer.pc_id(), "candidates": [] }).to_string();
            assert_eq!(node.serve("PATCH", &path, &trickle).status, 200);
            peers.push(peer);
        }
        assert_eq!(node.sessions(), [2, 2, 2]);
        let made_up = "00100000-0000-4000-8000-000000000000";
        let path = format!("/sessions/{made_up}/api/offer");
        assert_eq!(node.serve("POST", &path, "{}").status, 404);
        ids
    };
    assert_eq!(run(), run(), "one seed, one run");
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
            machine.set_signaling(Options::new().rate_limit(limit).shared());
        }
        let calls = [node.new_call(), node.new_call()];
        let body = json!({ "pc_id": calls[1].pc_id(), "candidates": [] }).to_string();
        let mut ask = |method| {
            let body = if method == "POST" { "{}" } else { &body };
            let request = Request::new(method, "/api/offer", body.as_bytes()).client(client);
            let handle = node.handle.clone();
            node.ask(handle.serve(request)).status
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
    let options = Options::new().rate_limit(RateLimit::new(number(6), number(1))).shared();
    for machine in &mut node.machines {
        machine.set_signaling(options.clone());
    }
    let handle = node.handle.clone();
    let mut drain = Box::pin(handle.drain());
    assert!(block_on(poll_once(drain.as_mut())).is_none());
    node.settle();
    let client = "192.0.2.9".parse().unwrap();
    let mut ask = || {
        let request = Request::new("POST", "/start", b"{}").client(client);
        let handle = node.handle.clone();
        node.ask(handle.serve(request)).status
    };
    assert_eq!([0; 7].map(|_| ask()), [503, 503, 503, 503, 503, 503, 429]);
    let stats = node.stats();
    assert!(stats.iter().all(|stats| stats.signaling.refused_draining == 6), "both were asked");
}

#[test]
fn a_node_that_drains_takes_no_call_and_is_done_with_the_last() {
    let mut node = Node::new(&Config::new(), 2);
    let peers = [node.new_call(), node.new_call()];
    let handle = node.handle.clone();
    let mut drain = Box::pin(handle.drain());
    assert!(block_on(poll_once(drain.as_mut())).is_none());
    node.settle();
    assert_eq!(node.post(&json!({})).status, 503);
    assert_eq!(node.serve("POST", "/start", "{}").status, 503);
    let pc_id = peers[1].pc_id().to_owned();
    let trickle = json!({ "pc_id": pc_id, "candidates": [] }).to_string();
    assert_eq!(node.serve("PATCH", "/api/offer", &trickle).status, 200);
    assert!(node.stats().iter().all(|stats| stats.is_draining && stats.sessions == 1));
    for peer in peers {
        assert!(block_on(poll_once(drain.as_mut())).is_none(), "a call goes on");
        node.ask(peer.close());
        // They were never connected, so that no goodbye is waited for longer than this.
        node.advance(Duration::from_secs(3));
    }
    assert!(block_on(poll_once(drain.as_mut())).is_some(), "no call is left");
    assert!(!node.machines.iter().any(Machine::is_finished), "it waits to be closed");
    let refused: u64 = node.stats().iter().map(|stats| stats.signaling.refused_draining).sum();
    assert!(refused >= 2);
}
