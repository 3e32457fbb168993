//! The mio driver on a thread of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smallrtc::signaling::Response;
use smallrtc::{Config, Message, SendError, SessionId};
use smallrtc_mio::{Driver, Handle, Options};

use super::{Remote, Running};
use crate::application::carry_out;
use crate::mio::Called;
use crate::smol::{UNPOISONED, block};
use crate::subject::{Bot, Command, Figures, Outcome, Report};

/// `smallrtc_mio::Driver` with its application.
#[derive(Debug)]
pub struct MioDriver {
    handle: Handle,
    reports: Mutex<Receiver<Report>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Running for MioDriver {
    type Remote = Handle;

    fn start(config: Config, bot: Bot) -> MioDriver {
        let options = Options::new().udp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (told, reports) = channel();
        let app = Called::new(bot, told);
        let (driver, handle) = Driver::bind(config, options, app).expect("a free port");
        let thread = thread::spawn(move || driver.run().map(drop));
        MioDriver { handle, reports: Mutex::new(reports), thread }
    }

    fn address(&self) -> SocketAddr {
        self.handle.udp_addresses()[0]
    }

    fn remote(&self) -> Handle {
        self.handle.clone()
    }

    fn poll_report(&self) -> Option<Report> {
        self.reports.lock().expect(UNPOISONED).try_recv().ok()
    }

    fn join(self) {
        self.thread.join().expect("the driver does not panic").expect("its sockets are whole");
    }
}

fn command(handle: &Handle, id: SessionId, command: Command) -> Result<(), SendError> {
    let outcome = handle.run(move |endpoint, now| carry_out(id, command, endpoint, now));
    match outcome {
        Some(Outcome::Sent(sent)) => sent,
        Some(_) => Ok(()),
        None => Err(SendError::Closed),
    }
}

impl Remote for Handle {
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        Handle::request(self, method, path, body)
    }

    fn send_text(&self, id: SessionId, text: &str) -> Result<(), SendError> {
        command(self, id, Command::Message(Message::text(text)))
    }

    fn send_audio(&self, id: SessionId, samples: &[i16]) -> Result<(), SendError> {
        command(self, id, Command::Audio(samples.to_vec()))
    }

    fn clear(&self, id: SessionId) {
        // A call that has ended has nothing to be dropped.
        let _ = command(self, id, Command::Clear);
    }

    fn figures(&self) -> Option<Figures> {
        let stats = self.stats()?;
        Some(Figures::new(stats.sessions, stats.sockets, stats.lateness))
    }

    fn close(&self) {
        Handle::close(self);
    }

    fn block(&self, duration: Duration) {
        let (begins, begun) = channel();
        let posted = self.post(move |_, _| {
            begins.send(()).expect("it is waited for");
            block(duration);
        });
        posted.expect("the driver runs");
        begun.recv().expect("the driver runs");
    }
}
