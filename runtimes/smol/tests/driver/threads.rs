//! A driver of several shards on real sockets of a loopback address.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use smallrtc::{CloseReason, Config};
use smallrtc_smol::{HandleStats, Options, bind};

use crate::loopback::{Bot, within_patience};
use crate::page::{Heard, Page, Stack};
use crate::plain::Plain;
use crate::tone::{self, Microphone};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// How many threads of this process have that name.
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

fn shard_stats(bot: &Bot) -> Vec<HandleStats> {
    let stats = within_patience("figures", bot.handle.shard_stats());
    stats.into_iter().map(Option::unwrap).collect()
}

/// Speaks, and waits for a second of the tone to come back.
fn hears_its_echo<S: Stack>(page: &mut Page<S>) {
    page.speak(Microphone::new(440.0));
    page.go_on("a second of the tone comes back", |page| {
        while let Some(heard) = page.stack.poll_heard() {
            if let Heard::Audio(packet) = heard {
                page.speaker.play(&packet);
            }
        }
        page.speaker.last_second().is_some()
    });
    let frequency = tone::frequency(page.speaker.last_second().unwrap());
    assert!((frequency - 440.0).abs() < 2.0, "{frequency} Hz came back");
}

fn says_and_reads<S: Stack>(page: &mut Page<S>, text: &str) {
    page.stack.send_text(text, Instant::now());
    page.hear("the message comes back", |heard| *heard == Heard::Message(text.to_owned()));
}

#[test]
fn eight_calls_are_divided_among_two_threads_which_end_with_the_driver() {
    // Other tests have shards too; the place makes these threads' names their own.
    let config = Config::new().place(0, 700).unwrap();
    let bot = Bot::with(config, Options::new().udp(loopback()).shards(2));
    let addresses = bot.handle.udp_addresses().to_vec();
    assert!(addresses.len() == 2 && addresses[0] != addresses[1]);
    let mut pages = Vec::new();
    for number in 0..8 {
        let mut page = Page::new(Plain::new);
        page.call(|offer| bot.post(offer));
        pages.push((number, page));
    }
    let sessions: Vec<usize> = shard_stats(&bot).iter().map(|stats| stats.sessions).collect();
    assert_eq!(sessions, [4, 4]);
    assert_eq!(threads("smallrtc-701"), 1);
    let talks = pages.into_iter().map(|(number, mut page)| {
        thread::spawn(move || {
            page.hear("the data channel opens", |heard| *heard == Heard::Open);
            says_and_reads(&mut page, &format!("call {number}"));
            page
        })
    });
    let mut pages: Vec<_> = talks.collect::<Vec<_>>();
    let mut pages: Vec<_> = pages.drain(..).map(|talk| talk.join().unwrap()).collect();
    hears_its_echo(&mut pages[7]);
    for stats in shard_stats(&bot) {
        assert!(stats.sockets.received > 20 && stats.sockets.send_errors == 0, "{stats:?}");
        assert_eq!(stats.forward.handed, 0, "each port is known to its own callers alone");
    }
    pages.pop().unwrap().hang_up();
    assert_eq!(bot.end(), Some(CloseReason::HungUp));
    bot.stop();
    assert_eq!(threads("smallrtc-701"), 0);
    let free: Vec<_> = addresses.iter().map(UdpSocket::bind).collect();
    assert!(free.iter().all(Result::is_ok), "the ports are free again");
}

/// One public port in front of two shards. What comes from the client goes to the shard `to`, from
/// a port of its own for this client; what comes back there goes to the client, from the public
/// port.
struct Balancer {
    public: SocketAddr,
    inner: SocketAddr,
    to: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Balancer {
    fn start(client: SocketAddr, shards: Vec<SocketAddr>, to: usize) -> Balancer {
        let [public, inner] = [(); 2].map(|()| Arc::new(UdpSocket::bind(loopback()).unwrap()));
        let (to, stop) = (Arc::new(AtomicUsize::new(to)), Arc::new(AtomicBool::new(false)));
        let (chosen, stopped) = (Arc::clone(&to), Arc::clone(&stop));
        let (from, out) = (Arc::clone(&public), Arc::clone(&inner));
        let there = thread::spawn(move || {
            copy(&from, &out, &stopped, || shards[chosen.load(Ordering::SeqCst)]);
        });
        let (from, out) = (Arc::clone(&inner), Arc::clone(&public));
        let stopped = Arc::clone(&stop);
        let back = thread::spawn(move || copy(&from, &out, &stopped, || client));
        let [public, inner] = [public, inner].map(|socket| socket.local_addr().unwrap());
        Balancer { public, inner, to, stop, threads: vec![there, back] }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn copy(from: &UdpSocket, out: &UdpSocket, stop: &AtomicBool, to: impl Fn() -> SocketAddr) {
    from.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 2000];
    while !stop.load(Ordering::SeqCst) {
        match from.recv_from(&mut buffer) {
            Ok((len, _)) => drop(out.send_to(&buffer[..len], to())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_client_behind_a_balancer_that_chooses_the_wrong_shard_hears_its_echo() {
    let bot = Bot::with(Config::new(), Options::new().udp(loopback()).shards(2));
    let shards = bot.handle.udp_addresses().to_vec();
    let socket = UdpSocket::bind(loopback()).unwrap();
    let client = socket.local_addr().unwrap();
    // The first call goes to the first shard, so all of it is sent to the second.
    let balancer = Balancer::start(client, shards.clone(), 1);
    let mut page = Page::on(socket, Plain::new);
    // Each side knows only the balancer.
    let at = |address: SocketAddr| format!("{} {} ", address.ip(), address.port());
    let post = |offer: &str| bot.post(&offer.replace(&at(client), &at(balancer.inner)));
    page.call_through(post, |sdp| {
        assert!(sdp.contains(&at(shards[0])), "{sdp}");
        sdp.replace(&at(shards[0]), &at(balancer.public))
    });
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    says_and_reads(&mut page, "astray");
    hears_its_echo(&mut page);
    let stats = shard_stats(&bot);
    assert_eq!((stats[0].sessions, stats[1].sessions), (1, 0));
    assert_eq!(stats[0].sockets.received, 0, "nothing came straight");
    assert!(stats[1].forward.handed >= 50, "{:?}", stats[1].forward);
    assert_eq!((stats[1].forward.dropped, stats[1].forward.addresses), (0, 1));
    assert!(stats[1].sockets.sent == 0 && stats[0].sockets.sent >= 50, "it answers by itself");

    // The balancer has learnt the way.
    balancer.to.store(0, Ordering::SeqCst);
    says_and_reads(&mut page, "straight");
    let handed = shard_stats(&bot)[1].forward.handed;
    hears_its_echo(&mut page);
    let stats = shard_stats(&bot);
    assert_eq!(stats[1].forward.handed, handed);
    assert!(stats[0].sockets.received > 0);
    page.hang_up();
    assert_eq!(bot.end(), Some(CloseReason::HungUp));
    bot.stop();
}

#[test]
fn each_shard_takes_the_port_after_that_of_the_one_before() {
    let pair = || -> io::Result<Vec<SocketAddr>> {
        let first = UdpSocket::bind(loopback())?.local_addr()?;
        let (_driver, handle) = bind(Config::new(), Options::new().udp(first).shards(3))?;
        let expected = [0, 1, 2].map(|k| SocketAddr::new(first.ip(), first.port() + k));
        assert_eq!(handle.udp_addresses(), expected);
        assert_eq!(handle.shards(), 3);
        Ok(expected.to_vec())
    };
    // A neighbouring port may be somebody else's.
    let found = (0..50).find_map(|_| pair().ok());
    assert!(found.is_some());
}

#[test]
fn several_addresses_are_taken_by_every_shard() {
    let options = Options::new().udp(loopback()).udp("127.0.0.2:0".parse().unwrap()).shards(2);
    let (_driver, handle) = bind(Config::new(), options).unwrap();
    let addresses: Vec<String> =
        handle.udp_addresses().iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.2"]);
}

#[test]
fn shards_that_cannot_be_are_named() {
    let refused = |options: Options| {
        let error = bind(Config::new(), options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        error.to_string()
    };
    assert_eq!(refused(Options::new().shards(0)), "shards: 0 (expected 1 to 256)");
    assert_eq!(refused(Options::new().shards(257)), "shards: 257 (expected 1 to 256)");
    let last = Options::new().udp("127.0.0.1:65535".parse().unwrap());
    assert_eq!(
        refused(last.shards(2)),
        "udp 127.0.0.1:65535: 2 shards take ports up to 65536 (expected at most 65535)"
    );
}

#[test]
fn a_port_of_a_later_shard_that_is_taken_is_named() {
    let mut taken = None;
    for _ in 0..50 {
        let second = UdpSocket::bind(loopback()).unwrap();
        let address = second.local_addr().unwrap();
        let first = SocketAddr::new(address.ip(), address.port() - 1);
        if UdpSocket::bind(first).is_ok() {
            taken = Some((first, second));
            break;
        }
    }
    let (first, second) = taken.unwrap();
    let error = bind(Config::new(), Options::new().udp(first).shards(2)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let named = format!("udp {}: ", second.local_addr().unwrap());
    assert!(error.to_string().starts_with(&named), "{error}");
}
