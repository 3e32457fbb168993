//! The whole driver on real sockets of a loopback address, called by two stacks.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use smallrtc::{CloseReason, Config};
use smallrtc_smol::{Handle, Options, Peer, Received, bind};

use crate::independent::Independent;
use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;
use crate::tone::{self, Microphone};

/// Everything that comes goes back; gives the reason of the end.
async fn echo(mut peer: Peer) -> Option<CloseReason> {
    while let Some(received) = peer.recv().await {
        match received {
            Received::Audio(block) => {
                let _ = peer.send_audio(block.frame()).await;
            }
            Received::Message(message) => {
                let _ = peer.send_message(message).await;
            }
            Received::Closed(reason) => return Some(reason),
            _ => {}
        }
    }
    None
}

/// A bot on a free port; its thread ends when the driver does, and tells how calls ended.
pub(crate) struct Bot {
    pub(crate) handle: Handle,
    ends: async_channel::Receiver<Option<CloseReason>>,
    thread: thread::JoinHandle<std::io::Result<()>>,
}

impl Bot {
    fn start() -> Bot {
        Bot::on(Options::new().udp("127.0.0.1:0".parse().unwrap()))
    }

    fn on(options: Options) -> Bot {
        Bot::with(Config::new(), options)
    }

    pub(crate) fn with(config: Config, options: Options) -> Bot {
        let (driver, handle) = bind(config, options).unwrap();
        let (ended, ends) = async_channel::unbounded();
        let calls = handle.clone();
        let thread = thread::spawn(move || {
            let executor = smol::Executor::new();
            let bots = async {
                while let Some(peer) = calls.accept().await {
                    let ended = ended.clone();
                    let bot = async move {
                        let reason = echo(peer).await;
                        ended.send(reason).await
                    };
                    executor.spawn(bot).detach();
                }
            };
            let served = executor.spawn(driver.run());
            smol::block_on(executor.run(async {
                bots.await;
                served.await
            }))
        });
        Bot { handle, ends, thread }
    }

    /// Posts an offer; gives the answer.
    pub(crate) fn post(&self, offer: &str) -> String {
        let request = self.handle.request("POST", "/api/offer", offer.as_bytes());
        let response = within_patience("an answer", request);
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    /// How the next call ended.
    pub(crate) fn end(&self) -> Option<CloseReason> {
        within_patience("the end of the call", async { self.ends.recv().await.unwrap() })
    }

    pub(crate) fn stop(self) {
        smol::block_on(self.handle.close());
        self.thread.join().unwrap().unwrap();
    }
}

pub(crate) fn within_patience<T>(what: &str, future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(PATIENCE).await;
        panic!("not in time: {what}")
    };
    smol::block_on(smol::future::or(future, late))
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

    let stats = within_patience("figures", bot.handle.stats()).unwrap();
    assert_eq!((stats.sessions, stats.sockets.send_errors), (1, 0));
    assert!(stats.sockets.received >= 50 && stats.sockets.sent >= 50, "{stats:?}");
    // A packet of sound is due every 20 ms, and a second of it was heard.
    assert!((10..5_000).contains(&stats.lateness.count()), "{}", stats.lateness);

    page.hang_up();
    assert_eq!(bot.end(), Some(CloseReason::HungUp));
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

#[cfg(target_os = "linux")]
#[test]
fn a_long_message_leaves_in_fewer_calls_than_datagrams() {
    let bot = Bot::start();
    let mut page = Page::new(Plain::new);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    let before = within_patience("figures", bot.handle.stats()).unwrap().sockets;
    let text =
        format!(r#"{{"label":"rtvi-ai","type":"hello","data":"{}"}}"#, "long".repeat(16_000));
    for _ in 0..4 {
        page.stack.send_text(&text, Instant::now());
        page.hear("the message comes back", |heard| *heard == Heard::Message(text.clone()));
    }
    let after = within_patience("figures", bot.handle.stats()).unwrap().sockets;
    let (sent, sends) = (after.sent - before.sent, after.sends - before.sends);
    // Its window opens little by little, so that a run is short: about ten datagrams here.
    assert!(sent > 200 && sends < sent / 2, "{sent} datagrams in {sends} calls");
}

#[test]
fn closing_the_handle_tells_the_page_and_ends_the_driver() {
    let bot = Bot::start();
    let mut page = Page::new(Plain::new);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);

    let handle = bot.handle.clone();
    let closing = thread::spawn(move || smol::block_on(handle.close()));
    let peer_left = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;
    page.hear("peerLeft", |heard| *heard == Heard::Message(peer_left.to_owned()));
    page.hear("the end", |heard| *heard == Heard::Closed);
    closing.join().unwrap();
    assert_eq!(bot.end(), Some(CloseReason::Application));

    let response = smol::block_on(bot.handle.request("POST", "/api/offer", b"{}"));
    assert_eq!(response.status, 503);
    assert!(smol::block_on(bot.handle.accept()).is_none());
    bot.stop();
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
    assert_eq!(bot.end(), Some(CloseReason::HungUp));
    bot.stop();
}

#[test]
fn no_request_of_many_threads_is_lost() {
    const THREADS: usize = 8;
    const REQUESTS: usize = 500;
    let bot = Bot::start();
    let (answered, answers) = async_channel::unbounded();
    for _ in 0..THREADS {
        let (handle, answered) = (bot.handle.clone(), answered.clone());
        thread::spawn(move || {
            for _ in 0..REQUESTS {
                let response = smol::block_on(handle.request("GET", "/", b""));
                answered.try_send(response.status).unwrap();
            }
        });
    }
    let all = async {
        for _ in 0..THREADS * REQUESTS {
            assert_eq!(answers.recv().await, Ok(404));
        }
    };
    within_patience("every answer", all);
    bot.stop();
}
