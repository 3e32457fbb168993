//! Two endpoints of a node over the scripted transport, without sockets or threads.

use bytes::Bytes;
use smallrtc::scripted::{Frame, encode, stun};
use smallrtc::{Config, LocalCandidate, Offer, Seed, SessionId, Ufrag};

use super::*;

const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n\
    a=mid:0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

const TRANSPORT: TransportId = TransportId(0);

struct Shard {
    endpoint: Endpoint,
    forward: Forward,
}

struct Rig {
    shards: [Shard; 2],
    now: Instant,
}

/// A call, as far as it is known to the network.
#[derive(Clone)]
struct Caller {
    shard: u16,
    id: SessionId,
    ufrag: String,
    pwd: String,
}

impl Caller {
    fn check(&self) -> Vec<u8> {
        stun::request([7; 12], &self.ufrag, "page", &self.pwd, true)
    }
}

fn own(shard: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 7860 + shard))
}

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn hello() -> Vec<u8> {
    encode(&[Frame::Hello])
}

fn datagram(port: u16, shard: u16, payload: impl Into<Bytes>) -> Datagram {
    Datagram::udp(TRANSPORT, source(port), own(shard), payload.into())
}

impl Rig {
    fn new() -> Rig {
        let now = Instant::now();
        let shard = |number: u16| {
            let config = Config::new().place(3, number).unwrap();
            let config = config.dangerous().scripted_transport(true).done().shared();
            let mut endpoint = Endpoint::new(config, Seed::from_number(number.into()), now);
            endpoint.add_local_candidate(LocalCandidate::host(TRANSPORT, own(number)));
            Shard { endpoint, forward: Forward::new(0..2) }
        };
        Rig { shards: [shard(0), shard(1)], now }
    }

    fn call(&mut self, shard: u16) -> Caller {
        let offer = Offer::parse(SDP).unwrap();
        let endpoint = &mut self.shards[usize::from(shard)].endpoint;
        let (id, answer) = endpoint.accept(&offer, self.now).unwrap();
        let value = |name: &str| {
            let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().to_owned()
        };
        Caller { shard, id, ufrag: value("a=ice-ufrag:"), pwd: value("a=ice-pwd:") }
    }

    /// What the shard that receives a datagram posts.
    fn receive(&mut self, shard: u16, port: u16, payload: Vec<u8>) -> Option<(u16, Post)> {
        let Shard { endpoint, forward } = &mut self.shards[usize::from(shard)];
        forward.receive(datagram(port, shard, payload), endpoint, self.now)
    }

    /// Carries posts until there are no more; how many there were.
    fn carry(&mut self, mut post: Option<(u16, Post)>) -> usize {
        let mut carried = 0;
        while let Some((to, what)) = post {
            carried += 1;
            assert!(carried <= 2, "posts go in circles");
            let Shard { endpoint, forward } = &mut self.shards[usize::from(to)];
            post = forward.take(what, endpoint, self.now);
        }
        carried
    }

    fn send(&mut self, shard: u16, port: u16, payload: Vec<u8>) -> usize {
        let post = self.receive(shard, port, payload);
        self.carry(post)
    }

    fn is_bound(&self, caller: &Caller, port: u16) -> bool {
        let endpoint = &self.shards[usize::from(caller.shard)].endpoint;
        endpoint.is_bound(TRANSPORT, source(port))
    }

    /// Datagrams that the call's session took.
    fn taken(&mut self, caller: &Caller) -> u64 {
        let endpoint = &mut self.shards[usize::from(caller.shard)].endpoint;
        endpoint.session(caller.id).unwrap().stats().datagrams_received
    }

    fn stats(&self, shard: usize) -> ForwardStats {
        self.shards[shard].forward.stats()
    }
}

#[test]
fn a_request_reaches_its_shard_and_what_has_no_name_follows_it() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    assert_eq!(rig.send(0, 5, hello()), 0, "nobody knows the address yet");
    assert_eq!(rig.send(0, 5, caller.check()), 2, "there, and the proof of it back");
    assert!(rig.is_bound(&caller, 5));
    assert_eq!(rig.send(0, 5, hello()), 1);
    assert_eq!(rig.taken(&caller), 2);
    let expected = ForwardStats { handed: 2, addresses: 1, ..ForwardStats::default() };
    assert_eq!(rig.stats(0), expected);
    assert_eq!(rig.stats(1), ForwardStats { taken: 2, ..ForwardStats::default() });
    assert_eq!(rig.shards[0].endpoint.stats().datagrams_unroutable, 1, "the first alone");
}

#[test]
fn the_session_answers_from_its_own_port_to_whoever_sent() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    rig.send(0, 5, caller.check());
    let endpoint = &mut rig.shards[1].endpoint;
    let sent: Vec<_> = std::iter::from_fn(|| endpoint.poll_transmit()).collect();
    assert!(!sent.is_empty());
    assert!(sent.iter().all(|sent| (sent.source, sent.destination) == (own(1), source(5))));
    assert!(rig.shards[0].endpoint.poll_transmit().is_none());
}

#[test]
fn a_request_that_is_not_verified_lets_nothing_follow_it() {
    let mut rig = Rig::new();
    let caller = Caller { pwd: "another password of 22".to_owned(), ..rig.call(1) };
    assert_eq!(rig.send(0, 5, caller.check()), 1, "there, and no proof");
    assert_eq!(rig.stats(0).addresses, 0);
    assert_eq!(rig.send(0, 5, hello()), 0);
    assert_eq!(rig.shards[1].endpoint.stats().requests_forged, 1);
}

#[test]
fn what_is_for_another_node_or_for_no_shard_is_counted_and_dropped() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    let ours = Ufrag::parse(caller.ufrag.as_bytes()).unwrap();
    for ufrag in [Ufrag { node: 4, ..ours }, Ufrag { shard: 2, ..ours }] {
        let caller = Caller { ufrag: ufrag.to_string(), ..caller.clone() };
        assert_eq!(rig.send(0, 5, caller.check()), 0);
    }
    assert_eq!(rig.stats(0), ForwardStats { foreign: 2, ..ForwardStats::default() });
}

#[test]
fn a_datagram_is_handed_on_once_at_most() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    let lost = Post::Datagram { from: 1, datagram: datagram(5, 1, caller.check()), is_named: true };
    assert_eq!(rig.carry(Some((0, lost))), 1, "it is not for the shard that it was handed to");
    assert_eq!((rig.stats(0).taken, rig.stats(0).handed), (1, 0));
    assert_eq!(rig.shards[0].endpoint.stats().datagrams_not_mine, 1);
}

#[test]
fn an_address_that_is_bound_here_wins() {
    let mut rig = Rig::new();
    let (here, there) = (rig.call(0), rig.call(1));
    rig.send(0, 5, there.check());
    assert_eq!(rig.send(0, 5, hello()), 1);
    assert_eq!(rig.send(0, 5, here.check()), 0);
    assert_eq!(rig.send(0, 5, hello()), 0);
    assert_eq!((rig.taken(&here), rig.taken(&there)), (2, 2));
}

#[test]
fn the_same_address_behind_another_transport_does_not_follow() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    rig.send(0, 5, caller.check());
    let Shard { endpoint, forward } = &mut rig.shards[0];
    let other = Datagram::udp(TransportId(1), source(5), own(0), hello().into());
    assert_eq!(forward.receive(other, endpoint, rig.now), None);
    let other = Datagram::udp(TransportId(1), source(5), own(0), caller.check().into());
    let post = forward.receive(other, endpoint, rig.now);
    assert_eq!(rig.carry(post), 1, "the other shard has no such transport");
    assert_eq!(rig.stats(1).misdirected, 1);
}

#[test]
fn an_address_is_forgotten_in_time_and_kept_by_each_verified_request() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    rig.send(0, 5, caller.check());
    rig.now += FOLLOWED_AGE_MAX - Duration::from_millis(1);
    assert_eq!(rig.send(0, 5, hello()), 1);
    rig.send(0, 5, caller.check());
    rig.now += FOLLOWED_AGE_MAX - Duration::from_millis(1);
    assert_eq!(rig.send(0, 5, hello()), 1);
    rig.now += Duration::from_millis(1);
    assert_eq!(rig.send(0, 5, hello()), 0);
    assert_eq!(rig.stats(0).addresses, 0);
}

#[test]
fn another_shard_takes_an_address_over_only_when_it_is_held_no_longer() {
    let mut forward = Forward::new(0..4);
    let (origin, start) = ((TRANSPORT, source(5)), Instant::now());
    forward.learn(origin, 1, start);
    let before = start + FOLLOWED_HELD - Duration::from_millis(1);
    forward.learn(origin, 2, before);
    assert_eq!(forward.route(origin, before).unwrap().shard, 1);
    forward.learn(origin, 2, start + FOLLOWED_HELD);
    assert_eq!(forward.route(origin, start + FOLLOWED_HELD).unwrap().shard, 2);
}

#[test]
fn as_many_addresses_as_allowed_are_kept_and_one_more_costs_the_oldest() {
    let mut forward = Forward::new(0..2);
    let start = Instant::now();
    let origin = |number: usize| (TRANSPORT, source(u16::try_from(number).unwrap()));
    let at = |number: usize| start + Duration::from_micros(number as u64);
    for number in 0..FOLLOWED_MAX {
        forward.learn(origin(number), 1, at(number));
    }
    // The first is proven anew, so the second is the oldest.
    forward.learn(origin(0), 1, at(FOLLOWED_MAX));
    assert_eq!(forward.stats().addresses, FOLLOWED_MAX);
    assert_eq!(forward.stats().addresses_evicted, 0);
    let now = at(FOLLOWED_MAX + 1);
    forward.learn(origin(FOLLOWED_MAX), 1, now);
    assert_eq!((forward.stats().addresses, forward.ages.len()), (FOLLOWED_MAX, FOLLOWED_MAX));
    assert_eq!(forward.stats().addresses_evicted, 1);
    let known = |forward: &mut Forward, number| forward.route(origin(number), now).is_some();
    assert!(known(&mut forward, 0) && !known(&mut forward, 1) && known(&mut forward, 2));
    // What is too old goes without being counted.
    forward.learn(origin(1), 1, now + FOLLOWED_AGE_MAX);
    assert_eq!((forward.stats().addresses, forward.stats().addresses_evicted), (1, 1));
}

#[test]
fn a_datagram_at_the_longest_is_handed_on_and_one_byte_more_is_lost() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    rig.send(0, 5, caller.check());
    let long = |len| [&[20][..], &vec![0; len - 1]].concat();
    assert_eq!(rig.send(0, 5, long(POST_LEN_MAX)), 1);
    assert_eq!(rig.stats(0).dropped, 0);
    assert_eq!(rig.send(0, 5, long(POST_LEN_MAX + 1)), 0);
    assert_eq!(rig.stats(0).dropped, 1);
}

#[test]
fn datagrams_are_told_apart_by_their_first_bytes() {
    for (bytes, kind) in [
        (&[0x00, 0x01][..], Kind::Request),
        (&[0x01, 0x01], Kind::Nameless),
        (&[0x01, 0x11], Kind::Nameless),
        (&[0x00, 0x11], Kind::Nameless),
        (&[0x00], Kind::Other),
        (&[4, 0], Kind::Other),
        (&[20], Kind::Nameless),
        (&[63], Kind::Nameless),
        (&[64], Kind::Other),
        (&[128], Kind::Nameless),
        (&[191], Kind::Nameless),
        (&[192], Kind::Other),
        (&[], Kind::Other),
    ] {
        assert_eq!(Kind::of(bytes), kind, "{bytes:?}");
    }
}

#[test]
fn any_bytes_to_any_shard_change_no_binding_and_go_nowhere() {
    let mut rig = Rig::new();
    let caller = rig.call(1);
    let check = caller.check();
    for len in 0..check.len() {
        rig.send(0, 5, check[..len].to_vec());
        let mut bent = check.clone();
        bent[len] ^= 0x40;
        rig.send(0, 6, bent);
    }
    assert!(!rig.is_bound(&caller, 5) && !rig.is_bound(&caller, 6));
    assert_eq!(rig.stats(0).addresses, 0);
}
