//! Destinations that do not answer, beside others that must not notice.

use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use smallrtc::{Transmit, TransportId};
use smallrtc_udp::{Sent, Socket, send_all};

use crate::bot::TALK;
use crate::calls::{at, call, converse, each_driver, page_at};
use crate::netns::Netns;
use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;

const TRANSPORT: TransportId = TransportId(0);
/// How often a packet of sound is sent.
const PACKET_TIME: Duration = Duration::from_millis(20);
/// Longer than the three seconds after which Linux gives a neighbour up and drops what it kept for
/// it (`mcast_solicit` times `retrans_time_ms`).
const PACKETS: u32 = 250;
/// Datagrams a millisecond to where nobody answers.
const FLOOD: usize = 50;

/// What a packet of sound may take on a machine that is busy with other work. One that waits for a
/// neighbour takes a second at least.
const DELAY_MAX: Duration = Duration::from_millis(500);
/// What may lie between two packets of sound that went to a bot and back.
const GAP_MAX: Duration = Duration::from_millis(800);
/// Offers of one attacker: their checks fill a buffer of 2 MiB when nothing holds them back.
const OFFERS: usize = 100;

/// Takes packets of sound that carry when they were sent; gives how long each was on its way,
/// ascending.
fn listen(socket: &UdpSocket, start: Instant) -> Vec<Duration> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 2000];
    let mut delays = Vec::new();
    for number in 0..PACKETS {
        socket.recv(&mut buffer).expect("the next packet of sound");
        assert_eq!(buffer[..4], number.to_be_bytes(), "in order, and none is lost");
        let sent_at = u64::from_be_bytes(buffer[4..12].try_into().unwrap());
        delays.push(start.elapsed().saturating_sub(Duration::from_nanos(sent_at)));
    }
    delays.sort();
    delays
}

/// Sends sound to one destination and a flood to another, turn by turn of a millisecond.
fn speak(socket: Socket, live: SocketAddr, dead: SocketAddr, start: Instant) -> Socket {
    let mut sockets = [socket];
    let source = sockets[0].local_address();
    let noise = bytes::Bytes::from(vec![0; 1200]);
    let (mut number, mut next) = (0_u32, start);
    while number < PACKETS {
        let now = Instant::now();
        let flood = Transmit::udp(TRANSPORT, source, dead, noise.clone());
        let mut transmits = vec![flood; FLOOD];
        if next <= now {
            let mut payload = number.to_be_bytes().to_vec();
            payload.extend((start.elapsed().as_nanos() as u64).to_be_bytes());
            transmits.push(Transmit::udp(TRANSPORT, source, live, payload.into()));
            (number, next) = (number + 1, next + PACKET_TIME);
        }
        let mut transmits = transmits.into_iter();
        assert_eq!(send_all(&mut sockets, now, || transmits.next()), Sent::All);
        thread::park_timeout(Duration::from_millis(1));
    }
    let [socket] = sockets;
    socket
}

/// That a machine keeps datagrams for a neighbour that does not answer, or has given it up.
fn is_unreachable(machine: &Netns, ip: &str) -> bool {
    let neighbours = machine.ip("neighbour show");
    let mut states = neighbours.lines().filter(|line| line.starts_with(&format!("{ip} ")));
    states.any(|line| line.contains("INCOMPLETE") || line.contains("FAILED"))
}

#[test]
fn a_destination_that_does_not_answer_delays_no_other() {
    let (server, client) = (Netns::new(), Netns::new());
    let [near, far] = server.join("192.0.2.1/24", &client, "192.0.2.2/24");
    client.address("add", "192.0.2.77/24", &far);
    let ear = client.on(|| UdpSocket::bind("192.0.2.2:0").unwrap());
    let mut socket = server.on(|| Socket::bind(TRANSPORT, at("192.0.2.1:0")).unwrap());
    // Who is flooded was heard from before, and has gone since.
    let gone = client.on(|| UdpSocket::bind("192.0.2.77:0").unwrap());
    for known in [&gone, &ear] {
        known.send_to(b"hello", socket.local_address()).unwrap();
    }
    let give_up = Instant::now() + PATIENCE;
    while socket.stats().received < 2 {
        assert!(Instant::now() < give_up, "two datagrams come");
        let _ = socket.receive().unwrap();
    }
    client.address("delete", "192.0.2.77/24", &far);
    server.ip(&format!("neighbour delete 192.0.2.77 dev {near}"));
    let (live, start) = (ear.local_addr().unwrap(), Instant::now());
    let listener = thread::spawn(move || listen(&ear, start));
    let socket = speak(socket, live, gone.local_addr().unwrap(), start);
    assert!(is_unreachable(&server, "192.0.2.77"));
    let delays = listener.join().expect("every packet of sound came");
    let delay = |part: usize| delays[(delays.len() - 1) * part / 100];
    let (p50, p99, max) = (delay(50), delay(99), delay(100));
    println!("{PACKETS} packets of sound, delayed by p50 {p50:?}, p99 {p99:?}, max {max:?}");
    assert!(p50 < PACKET_TIME && max < DELAY_MAX, "p50 {p50:?}, max {max:?}");
    let stats = socket.stats();
    assert!(stats.sent > u64::from(PACKETS) * 100, "{stats:?}: a flood");
    assert_eq!((stats.send_waits, stats.waiting_expired), (0, 0), "{stats:?}");
}

/// That a page hears sound for as long as it takes to give a neighbour up, and a second more.
fn goes_on(page: &mut Page<Plain>) {
    let until = Instant::now() + Duration::from_secs(4);
    let (mut last, mut gap, mut packets) = (Instant::now(), Duration::ZERO, 0);
    page.go_on("sound goes on", |page| {
        while let Some(heard) = page.stack.poll_heard() {
            if matches!(heard, Heard::Audio(_)) {
                gap = gap.max(last.elapsed());
                (last, packets) = (Instant::now(), packets + 1);
            }
        }
        Instant::now() >= until
    });
    println!("{packets} packets of sound, at most {gap:?} between two");
    assert!(packets > 150 && gap < GAP_MAX, "{packets} packets, {gap:?} between two");
}

#[test]
fn a_client_that_vanished_delays_no_other() {
    each_driver(|start| {
        let (server, client, vanishing) = (Netns::new(), Netns::new(), Netns::new());
        server.join("192.0.2.1/24", &client, "192.0.2.2/24");
        let [near, far] = server.join("198.51.100.1/24", &vanishing, "198.51.100.2/24");
        let bot = server.on(|| start(&[at("0.0.0.0:0")]));
        let mut lost = page_at(&vanishing, "198.51.100.2");
        call(&mut lost, &*bot, "198.51.100.1");
        lost.stack.send_text(TALK, Instant::now());
        lost.hear("the bot talks", |heard| matches!(heard, Heard::Audio(_)));
        let mut page = page_at(&client, "192.0.2.2");
        call(&mut page, &*bot, "192.0.2.1");
        converse(&mut page, "still alone", 440.0);

        vanishing.address("delete", "198.51.100.2/24", &far);
        server.ip(&format!("neighbour delete 198.51.100.2 dev {near}"));
        goes_on(&mut page);
        assert!(is_unreachable(&server, "198.51.100.2"));
        bot.stop();
    });
}

/// An offer whose candidates are on the link of the bot, and nobody's.
fn offer_of_nobody() -> String {
    let mut stranger = Plain::new(at("192.0.2.99:9"));
    let sdp = stranger.offer(Instant::now());
    let candidate = sdp.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
    let at_host = |host: u8| candidate.replace("192.0.2.99", &format!("192.0.2.{host}"));
    let candidates: String = (100..163).map(|host| format!("{}\r\n", at_host(host))).collect();
    let sdp = sdp.replace(&format!("{candidate}\r\n"), &candidates);
    json!({ "type": "offer", "sdp": sdp }).to_string()
}

#[test]
fn offers_full_of_dead_neighbours_silence_nobody() {
    each_driver(|start| {
        let (server, client) = (Netns::new(), Netns::new());
        server.join("192.0.2.1/24", &client, "192.0.2.2/24");
        let bot = server.on(|| start(&[at("192.0.2.1:0")]));
        let mut page = page_at(&client, "192.0.2.2");
        call(&mut page, &*bot, "192.0.2.1");
        converse(&mut page, "still alone", 440.0);
        for _ in 0..OFFERS {
            bot.post(&offer_of_nobody());
        }
        goes_on(&mut page);
        let dead = (100..163).filter(|host| is_unreachable(&server, &format!("192.0.2.{host}")));
        assert!(dead.count() > 30, "checks were sent to them");
        let stats = bot.sockets();
        assert!(stats.strangers_refused > 1000, "{stats:?}");
        assert_eq!((stats.send_waits, stats.waiting_overflowed), (0, 0), "{stats:?}");
        bot.stop();
    });
}
