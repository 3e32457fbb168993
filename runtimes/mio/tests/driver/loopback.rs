//! The driver alone on real sockets of a loopback address, called by two stacks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use smallrtc::{CloseReason, Config};
use smallrtc_mio::{Driver, Handle, Options};

use crate::echo::{Echo, Told};
use crate::independent::Independent;
use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;
use crate::tone::{self, Microphone};

/// A bot on a free port, and what its driver gives when it ends.
struct Bot {
    handle: Handle,
    told: Receiver<Told>,
    ended: Receiver<io::Result<Echo>>,
}

impl Bot {
    fn start() -> Bot {
        Bot::on(Options::new().udp("127.0.0.1:0".parse().unwrap()))
    }

    fn on(options: Options) -> Bot {
        let (tell, told) = channel();
        let (driver, handle) = Driver::bind(Config::new(), options, Echo::new(tell)).unwrap();
        let (end, ended) = channel();
        thread::spawn(move || end.send(driver.run()).unwrap_or(()));
        Bot { handle, told, ended }
    }

    /// Posts an offer; gives the answer.
    fn post(&self, offer: &str) -> String {
        let response = self.handle.request("POST", "/api/offer", offer.as_bytes());
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    /// How the next call ended.
    fn end(&self) -> CloseReason {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let patience = give_up.saturating_duration_since(Instant::now());
            let told = self.told.recv_timeout(patience).expect("the end of the call, in time");
            if let Some(reason) = told.end() {
                return reason;
            }
        }
    }

    fn stop(self) {
        self.handle.close();
        has_ended(&self.ended);
    }
}

fn has_ended(ended: &Receiver<io::Result<Echo>>) {
    ended.recv_timeout(PATIENCE).expect("the driver ends, in time").unwrap();
}

fn call_and_hang_up<S: Stack>(make: impl FnOnce(SocketAddr) -> S) {
    let bot = Bot::start();
    let mut page = Page::new(make);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);

    let message = r#"{"label":"rtvi-ai","type":"hello","data":{"number":7}}"#;
    page.stack.send_text(message, Instant::now());
    page.hear("the message comes back", |heard| *heard == Heard::Message(message.to_owned()));

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

    let stats = bot.handle.stats().unwrap();
    assert_eq!((stats.sessions, stats.sockets.send_errors), (1, 0));
    assert!(stats.sockets.received >= 50 && stats.sockets.sent >= 50, "{stats:?}");
    // A packet of sound is due every 20 ms, and a second of it was heard.
    assert!((10..5_000).contains(&stats.lateness.count()), "{}", stats.lateness);

    page.hang_up();
    assert_eq!(bot.end(), CloseReason::HungUp);
    bot.stop();
}

#[test]
fn a_browser_hears_its_echo_and_its_end_is_noticed() {
    call_and_hang_up(Plain::new);
}

#[test]
fn a_stack_of_another_make_hears_its_echo_and_its_end_is_noticed() {
    call_and_hang_up(Independent::new);
}

#[test]
fn closing_the_handle_tells_the_page_and_ends_the_driver() {
    let bot = Bot::start();
    let mut page = Page::new(Plain::new);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);

    let handle = bot.handle.clone();
    let closing = thread::spawn(move || handle.close());
    let peer_left = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;
    page.hear("peerLeft", |heard| *heard == Heard::Message(peer_left.to_owned()));
    page.hear("the end", |heard| *heard == Heard::Closed);
    closing.join().unwrap();
    assert_eq!(bot.end(), CloseReason::Application);

    assert_eq!(bot.handle.request("POST", "/api/offer", b"{}").status, 503);
    assert_eq!(bot.handle.run(|_, _| ()), None);
    bot.stop();
}

#[test]
fn a_driver_whose_handles_are_dropped_ends_after_its_last_call() {
    let bot = Bot::start();
    let mut page = Page::new(Plain::new);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    let Bot { handle, told, ended } = bot;
    drop(handle);
    page.stack.send_text("still there", Instant::now());
    page.hear("its echo", |heard| *heard == Heard::Message("still there".to_owned()));
    page.hang_up();
    has_ended(&ended);
    assert_eq!(told.try_iter().find_map(|told| told.end()), Some(CloseReason::HungUp));
}

#[test]
fn a_driver_of_several_sockets_answers_through_the_one_that_was_called() {
    let [one, two] = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| address.parse().unwrap());
    let bot = Bot::on(Options::new().udp(one).udp(two));
    let addresses = bot.handle.udp_addresses().to_vec();
    assert_eq!(addresses.iter().map(SocketAddr::ip).collect::<Vec<_>>(), [one.ip(), two.ip()]);
    // The page knows only the second one.
    let mut page = Page::new(Plain::new);
    page.call_through(
        |offer| bot.post(offer),
        |sdp| {
            let first = format!(" {} {} typ host", one.ip(), addresses[0].port());
            let keeps =
                |line: &&str| !line.ends_with(&first) && !line.contains(&format!("{first} "));
            sdp.lines().filter(keeps).map(|line| format!("{line}\r\n")).collect()
        },
    );
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    page.hang_up();
    assert_eq!(bot.end(), CloseReason::HungUp);
    bot.stop();
}

#[test]
fn no_command_of_many_threads_is_lost() {
    const THREADS: usize = 8;
    const COMMANDS: u64 = 500;
    let bot = Bot::start();
    let (done, count) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (ended, ends) = channel();
    for _ in 0..THREADS {
        let (handle, done, count) = (bot.handle.clone(), Arc::clone(&done), Arc::clone(&count));
        let ended = ended.clone();
        thread::spawn(move || {
            for _ in 0..COMMANDS {
                assert_eq!(handle.request("GET", "/", b"").status, 404);
                let done = Arc::clone(&done);
                let task = move |_: &mut _, _| {
                    done.fetch_add(1, Ordering::Relaxed);
                };
                handle.post(task).unwrap();
                let one = handle.run(|_, _| 1).unwrap();
                count.fetch_add(one, Ordering::Relaxed);
            }
            ended.send(()).unwrap();
        });
    }
    for _ in 0..THREADS {
        ends.recv_timeout(PATIENCE).expect("a wake-up was lost");
    }
    for counter in [done, count] {
        assert_eq!(counter.load(Ordering::Relaxed), THREADS as u64 * COMMANDS);
    }
    bot.stop();
}
