//! Calls between two machines, under every driver: over both families, through a wildcard bind, and
//! from an address that changes.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::bot::{Bot, DRIVERS, Start};
use crate::netns::Netns;
use crate::page::{Heard, Page, Stack};
use crate::plain::Plain;
use crate::tone::{self, Microphone, Speaker};

/// What a page may wait for its sound and its message after its address has changed: a restart is
/// one exchange of checks, and a second of sound has to be heard. The rest is for a busy machine.
const AFTER_CHANGE: Duration = Duration::from_secs(6);

/// Runs a test under every driver.
pub(crate) fn each_driver(test: impl Fn(Start)) {
    for (name, start) in DRIVERS {
        println!("under {name}");
        test(start);
    }
}

pub(crate) fn page_at(machine: &Netns, ip: &str) -> Page<Plain> {
    let ip: IpAddr = ip.parse().unwrap();
    Page::on(machine.on(|| UdpSocket::bind((ip, 0)).unwrap()), Plain::new)
}

/// The candidates of an answer.
fn candidates(sdp: &str) -> Vec<SocketAddr> {
    let host = |line: &str| {
        let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(4);
        let ip = words.next()?.parse::<IpAddr>().ok()?;
        Some((ip, words.next()?.parse().ok()?).into())
    };
    sdp.lines().filter_map(host).collect()
}

/// An answer with the candidates of one address alone.
fn only(sdp: &str, ip: IpAddr) -> String {
    let kept = |line: &&str| match candidates(line)[..] {
        [candidate] => candidate.ip() == ip,
        _ => true,
    };
    sdp.lines().filter(kept).map(|line| format!("{line}\r\n")).collect()
}

/// Calls the bot at one address, and waits for the channel.
pub(crate) fn call(page: &mut Page<Plain>, bot: &dyn Bot, ip: &str) {
    let ip: IpAddr = ip.parse().unwrap();
    let offered = |sdp: &str| {
        assert!(candidates(sdp).iter().any(|candidate| candidate.ip() == ip), "{sdp}");
        only(sdp, ip)
    };
    page.call_through(|offer| bot.post(offer), offered);
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
}

/// Says something, and hears it again; then a second of a tone, and hears that.
pub(crate) fn converse(page: &mut Page<Plain>, text: &str, frequency: f32) {
    page.stack.send_text(text, Instant::now());
    page.hear(text, |heard| *heard == Heard::Message(text.to_owned()));
    page.speaker = Speaker::new();
    page.speak(Microphone::new(frequency));
    page.go_on("a second of the tone comes back", |page| {
        while let Some(heard) = page.stack.poll_heard() {
            if let Heard::Audio(packet) = heard {
                page.speaker.play(&packet);
            }
        }
        page.speaker.last_second().is_some()
    });
    let heard = tone::frequency(page.speaker.last_second().unwrap());
    assert!((heard - frequency).abs() < 2.0, "{heard} Hz came back");
}

/// That everything came from one address.
fn heard_from(page: &Page<Plain>, ip: &str) {
    let ip: IpAddr = ip.parse().unwrap();
    assert!(!page.sources.is_empty());
    assert!(page.sources.iter().all(|source| source.ip() == ip), "{:?}", page.sources);
}

pub(crate) fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn a_call_goes_over_ipv6() {
    each_driver(|start| {
        let (server, client) = (Netns::new(), Netns::new());
        server.join("2001:db8::1/64", &client, "2001:db8::2/64");
        let bot = server.on(|| start(&[at("[2001:db8::1]:0")]));
        assert_eq!(bot.addresses()[0].ip(), at("[2001:db8::1]:0").ip());
        let mut page = page_at(&client, "2001:db8::2");
        call(&mut page, &*bot, "2001:db8::1");
        converse(&mut page, "over IPv6", 440.0);
        heard_from(&page, "2001:db8::1");
        assert_eq!(bot.sockets().send_errors, 0);
        bot.stop();
    });
}

#[test]
fn one_socket_carries_both_families() {
    each_driver(|start| {
        let (server, client) = (Netns::new(), Netns::new());
        let [near, far] = server.join("2001:db8::1/64", &client, "2001:db8::2/64");
        server.address("add", "192.0.2.1/24", &near);
        client.address("add", "192.0.2.2/24", &far);
        let bot = server.on(|| start(&[at("[::]:0")]));
        for (own, bots) in [("2001:db8::2", "2001:db8::1"), ("192.0.2.2", "192.0.2.1")] {
            let mut page = page_at(&client, own);
            call(&mut page, &*bot, bots);
            converse(&mut page, "over either", 440.0);
            heard_from(&page, bots);
            page.hang_up();
        }
        bot.stop();
    });
}

#[test]
fn a_wildcard_bind_answers_from_the_address_that_was_called() {
    each_driver(|start| {
        let (server, left, right) = (Netns::new(), Netns::new(), Netns::new());
        server.join("192.0.2.1/24", &left, "192.0.2.2/24");
        server.join("198.51.100.1/24", &right, "198.51.100.2/24");
        // Each client reaches the other cable's address as well, through its own cable. The system
        // by itself would answer from the address of the cable.
        left.ip("route add 198.51.100.0/24 via 192.0.2.1");
        right.ip("route add 192.0.2.0/24 via 198.51.100.1");
        let bot = server.on(|| start(&[at("0.0.0.0:0")]));
        let clients = [(&left, "192.0.2.2"), (&right, "198.51.100.2")];
        for bots in ["192.0.2.1", "198.51.100.1"] {
            for (client, own) in clients {
                let mut page = page_at(client, own);
                call(&mut page, &*bot, bots);
                converse(&mut page, "called there", 440.0);
                heard_from(&page, bots);
                page.hang_up();
            }
        }
        bot.stop();
    });
}

#[test]
fn a_call_goes_on_from_a_new_address() {
    each_driver(|start| {
        let (server, client) = (Netns::new(), Netns::new());
        let [_, far] = server.join("192.0.2.1/24", &client, "192.0.2.2/24");
        let bot = server.on(|| start(&[at("192.0.2.1:0")]));
        let mut page = page_at(&client, "192.0.2.2");
        call(&mut page, &*bot, "192.0.2.1");
        converse(&mut page, "before", 440.0);

        client.address("delete", "192.0.2.2/24", &far);
        client.address("add", "192.0.2.3/24", &far);
        let changed_at = Instant::now();
        let socket = client.on(|| UdpSocket::bind("192.0.2.3:0").unwrap());
        page.move_to(socket, Plain::restart, |offer| bot.post(offer));
        converse(&mut page, "after", 880.0);
        let took = changed_at.elapsed();
        assert!(took < AFTER_CHANGE, "{took:?}");
        println!("{took:?} until a second of sound from the new address was heard");
        bot.stop();
    });
}
