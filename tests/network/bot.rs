//! Bots under each driver, behind one face.

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use smallrtc::{AudioFrame, Config, Endpoint, Event, SessionId};
use smallrtc_smol::{Handle, Options, Peer, Received, bind};
use smallrtc_udp::SocketStats;

/// What the bot answers with talk of its own.
pub(crate) const TALK: &str = r#"{"label":"rtvi-ai","type":"talk"}"#;

/// Samples of its talk: ten seconds of one channel, a humming.
const TALK_LEN: usize = 480_000;

/// A bot that sends back what it hears and reads.
pub(crate) trait Bot: Send {
    /// Takes the body of a `POST /api/offer`; gives the answer's body.
    fn post(&self, offer: &str) -> String;
    /// What its sockets are bound to.
    fn addresses(&self) -> Vec<SocketAddr>;
    /// The figures of its sockets.
    fn sockets(&self) -> SocketStats;
    /// Ends every call, and the driver.
    fn stop(self: Box<Self>);
}

/// Starts a bot on sockets, on the machine of the calling thread.
pub(crate) type Start = fn(&[SocketAddr]) -> Box<dyn Bot>;

/// Every driver, with its name.
pub(crate) const DRIVERS: [(&str, Start); 2] = [("smol", smol_bot), ("mio", mio_bot)];

fn talk() -> Vec<i16> {
    (0..TALK_LEN).map(|at| (at % 200) as i16 * 50).collect()
}

struct SmolBot {
    handle: Handle,
    thread: thread::JoinHandle<std::io::Result<()>>,
}

fn smol_bot(udp: &[SocketAddr]) -> Box<dyn Bot> {
    let options = udp.iter().fold(Options::new(), |options, address| options.udp(*address));
    let (driver, handle) = bind(Config::new(), options).unwrap();
    let calls = handle.clone();
    let thread = thread::spawn(move || {
        let executor = smol::Executor::new();
        let served = executor.spawn(driver.run());
        smol::block_on(executor.run(async {
            while let Some(peer) = calls.accept().await {
                executor.spawn(echo(peer)).detach();
            }
            served.await
        }))
    });
    Box::new(SmolBot { handle, thread })
}

async fn echo(mut peer: Peer) {
    while let Some(received) = peer.recv().await {
        match received {
            Received::Message(message) if message.as_bytes() == TALK.as_bytes() => {
                let _ = peer.send_audio(AudioFrame::mono(&talk(), 48_000)).await;
            }
            Received::Audio(block) => drop(peer.send_audio(block.frame()).await),
            Received::Message(message) => drop(peer.send_message(message).await),
            _ => {}
        }
    }
}

impl Bot for SmolBot {
    fn post(&self, offer: &str) -> String {
        let request = self.handle.request("POST", "/api/offer", offer.as_bytes());
        let response = smol::block_on(request);
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.handle.udp_addresses().to_vec()
    }

    fn sockets(&self) -> SocketStats {
        smol::block_on(self.handle.stats()).expect("the driver runs").sockets
    }

    fn stop(self: Box<Self>) {
        smol::block_on(self.handle.close());
        self.thread.join().unwrap().unwrap();
    }
}

struct MioBot {
    handle: smallrtc_mio::Handle,
    thread: thread::JoinHandle<std::io::Result<Echo>>,
}

fn mio_bot(udp: &[SocketAddr]) -> Box<dyn Bot> {
    let options = smallrtc_mio::Options::new();
    let options = udp.iter().fold(options, |options, address| options.udp(*address));
    let (driver, handle) = smallrtc_mio::Driver::bind(Config::new(), options, Echo).unwrap();
    Box::new(MioBot { handle, thread: thread::spawn(move || driver.run()) })
}

struct Echo;

impl smallrtc_mio::App for Echo {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let Some(mut call) = core.session(id) else { return };
        match event {
            Event::AudioReadable(track) => {
                let mut samples = [0; 5760];
                while let Some(block) = call.recv_audio(track, &mut samples) {
                    let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                    let _ = call.send_audio(heard, now);
                }
            }
            Event::Message(message) if message.as_bytes() == TALK.as_bytes() => {
                let _ = call.send_audio(AudioFrame::mono(&talk(), 48_000), now);
            }
            Event::Message(message) => drop(call.send_message(message, now)),
            _ => {}
        }
    }
}

impl Bot for MioBot {
    fn post(&self, offer: &str) -> String {
        let response = self.handle.request("POST", "/api/offer", offer.as_bytes());
        assert_eq!(response.status, 200, "{}", response.body);
        response.body
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.handle.udp_addresses().to_vec()
    }

    fn sockets(&self) -> SocketStats {
        self.handle.stats().expect("the driver runs").sockets
    }

    fn stop(self: Box<Self>) {
        self.handle.close();
        self.thread.join().unwrap().unwrap();
    }
}
