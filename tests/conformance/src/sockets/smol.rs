//! The smol driver on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smallrtc::signaling::Response;
use smallrtc::{AudioFrame, Config, Message, SendError, SessionId};
use smallrtc_smol::{Handle, Options, PeerSender, bind};
use smol::LocalExecutor;
use smol::channel::{Sender, unbounded};

use super::{Remote, Running};
use crate::RATE;
use crate::smol::{Senders, Tasks, UNPOISONED, block};
use crate::subject::{Bot, Figures, Report};

/// For how long the driver's thread is to be taken, and who is told when it is.
type Block = (Duration, std::sync::mpsc::Sender<()>);

/// `smallrtc_smol::Driver`, its application, and the executor of both.
#[derive(Debug)]
pub struct SmolDriver {
    remote: SmolRemote,
    address: SocketAddr,
    reports: Mutex<Receiver<Report>>,
    thread: JoinHandle<io::Result<()>>,
}

/// A handle, and the sending halves of the calls.
#[derive(Clone, Debug)]
pub struct SmolRemote {
    handle: Handle,
    senders: Senders,
    blocks: Sender<Block>,
}

impl Running for SmolDriver {
    type Remote = SmolRemote;

    fn start(config: Config, bot: Bot) -> SmolDriver {
        let options = Options::new().udp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (driver, handle) = bind(config, options).expect("a free port");
        let (told, reports) = channel();
        let (blocks, blocked) = unbounded::<Block>();
        let (ready, started) = channel();
        let calls = handle.clone();
        let thread = thread::spawn(move || {
            let executor = Rc::new(LocalExecutor::new());
            let tasks = Tasks::new(calls, bot, Rc::clone(&executor), told);
            ready.send(tasks.senders()).expect("the starter waits");
            let blocking = executor.spawn(async move {
                while let Ok((duration, begins)) = blocked.recv().await {
                    begins.send(()).expect("it is waited for");
                    block(duration);
                }
            });
            let ended = smol::block_on(executor.run(driver.run()));
            drop((blocking, tasks));
            ended
        });
        let senders = started.recv().expect("the thread starts");
        let address = handle.udp_addresses()[0];
        let remote = SmolRemote { handle, senders, blocks };
        SmolDriver { remote, address, reports: Mutex::new(reports), thread }
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn remote(&self) -> SmolRemote {
        self.remote.clone()
    }

    fn poll_report(&self) -> Option<Report> {
        self.reports.lock().expect(UNPOISONED).try_recv().ok()
    }

    fn join(self) {
        self.thread.join().expect("the driver does not panic").expect("its sockets are whole");
    }
}

impl SmolRemote {
    fn sender(&self, id: SessionId) -> Result<PeerSender, SendError> {
        self.senders.lock().expect(UNPOISONED).get(&id).cloned().ok_or(SendError::Closed)
    }
}

impl Remote for SmolRemote {
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        smol::block_on(self.handle.request(method, path, body))
    }

    fn send_text(&self, id: SessionId, text: &str) -> Result<(), SendError> {
        smol::block_on(self.sender(id)?.send_message(Message::text(text)))
    }

    fn send_audio(&self, id: SessionId, samples: &[i16]) -> Result<(), SendError> {
        let sent = smol::block_on(self.sender(id)?.send_audio(AudioFrame::mono(samples, RATE)));
        sent.map(|_| ())
    }

    fn clear(&self, id: SessionId) {
        if let Ok(sender) = self.sender(id) {
            smol::block_on(sender.clear_audio());
        }
    }

    fn figures(&self) -> Option<Figures> {
        let stats = smol::block_on(self.handle.stats())?;
        Some(Figures::new(stats.sessions, stats.sockets, stats.lateness))
    }

    fn close(&self) {
        smol::block_on(self.handle.close());
    }

    fn block(&self, duration: Duration) {
        let (begins, begun) = channel();
        self.blocks.try_send((duration, begins)).expect("the driver runs");
        begun.recv().expect("the driver runs");
    }
}
