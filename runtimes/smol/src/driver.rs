//! The loop that waits, feeds, flushes and hands over.
//!
//! One turn: read the clock once, take datagrams from the sockets that are readable, step the
//! [`Machine`], send. Each part has its budget; when one was used up the driver yields to other
//! tasks and goes on, otherwise it waits for whatever comes first: a socket that is readable, one
//! that is writable again while it is blocked, the deadline, a command.
//!
//! No wake-up is lost: a socket counts as readable until it was read empty; the deadline is read
//! after everything was sent; a bell that rings during a turn stays in its channel; and a wake-up
//! for nothing costs one turn.

use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::ops::Add;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use futures_lite::future;
use smallrtc::Config;
use smallrtc_udp::{RECEIVE_BUDGET, Sent, Socket, SocketStats, send_all};

use crate::alarm::Alarm;
use crate::crew::{Driver, Watch};
use crate::link::Caller;
use crate::machine::{Machine, Step};
use crate::reply::Queue;
use crate::{Handle, Options};

/// One endpoint and its sockets: a part of a [`Driver`] that was
/// [taken apart](Driver::into_shards), to be run on a thread of one's own choice.
#[derive(Debug)]
#[must_use = "shards must be run for I/O to occur"]
pub struct Shard {
    machine: Machine,
    ports: Vec<Port>,
    alarm: Alarm,
}

/// Opens the sockets and makes the driver.
///
/// Nothing happens before the driver runs:
///
/// ```
/// use smallrtc::Config;
/// use smallrtc_smol::{Options, bind};
///
/// let options = Options::new().udp("127.0.0.1:0".parse()?);
/// let (driver, handle) = bind(Config::new(), options)?;
/// smol::block_on(async {
///     let driver = smol::spawn(driver.run());
///     let response = handle.request("POST", "/api/offer", b"no JSON").await;
///     assert_eq!(response.status, 400);
///     handle.close().await;
///     driver.await
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What the operating system says of a socket, its address, the timer, the interfaces or its
/// randomness. `InvalidInput`: a number of shards that is not possible, one whose ports do not
/// fit, or more than one for a single call.
pub fn bind(config: Config, options: Options) -> io::Result<(Driver, Handle)> {
    let opened = options.open(&config)?;
    let addresses = opened.addresses();
    let (seed, candidates) = (&opened.seed, &opened.candidates);
    let (mut machines, handle) = Machine::shards(&config, seed, candidates, Instant::now())?;
    machines.iter_mut().for_each(|machine| machine.set_signaling(Arc::clone(&opened.signaling)));
    let shard = |(machine, sockets): (Machine, Vec<Socket>)| {
        let ports = sockets.into_iter().map(Port::new).collect::<io::Result<_>>()?;
        io::Result::Ok(Shard { machine, ports, alarm: Alarm::new()? })
    };
    let shards = machines.into_iter().zip(opened.sockets).map(shard).collect::<io::Result<_>>()?;
    Ok((Driver::new(shards), handle.at(addresses)))
}

impl Shard {
    /// Its number (`Config::place`).
    #[must_use]
    pub fn number(&self) -> u16 {
        self.machine.shard()
    }

    /// Runs until `Handle::close` has ended, or until every handle is gone and every call has
    /// ended, those of the other shards too. The future is `Send`.
    ///
    /// # Errors
    /// A socket or timer that cannot be waited for, or received from, any more; the calls end then,
    /// as `CloseReason::Internal`, and the other shards go on. A send that fails is packet loss and
    /// no error.
    pub async fn run(mut self) -> io::Result<()> {
        let ended = self.turns().await;
        if ended.is_err() {
            self.machine.fail();
        }
        ended
    }

    /// Runs, but no longer than the watch: its calls end as `CloseReason::Internal` when another
    /// shard has failed.
    pub(crate) async fn run_with(mut self, watch: Watch) -> io::Result<()> {
        let turns = async { Some(self.turns().await) };
        let ended = future::or(turns, async {
            watch.over().await;
            None
        })
        .await;
        if watch.has_failed() || matches!(ended, Some(Err(_))) {
            self.machine.fail();
        }
        ended.unwrap_or(Ok(()))
    }

    async fn turns(&mut self) -> io::Result<()> {
        let bells = self.machine.bells();
        loop {
            let now = Instant::now();
            let mut more = false;
            self.machine.take_posts(now);
            for port in &mut self.ports {
                more |= port.receive(&mut self.machine, now)?;
            }
            more |= self.machine.step(now) == Step::More;
            more |= self.send(now);
            let sockets = self.ports.iter().map(|port| port.socket.stats());
            self.machine.note_sockets(sockets.fold(SocketStats::default(), SocketStats::add));
            // What was just sent may have been what made the machine due.
            let deadline = self.machine.end_turn(now);
            if self.machine.is_finished() && !more {
                return Ok(());
            }
            if more || deadline.is_some_and(|deadline| deadline <= now) {
                future::yield_now().await;
                continue;
            }
            self.alarm.set(deadline)?;
            let (machine, ports, alarm) = (&mut self.machine, &mut self.ports, &mut self.alarm);
            poll_fn(|cx| {
                // All of them, so that each has this task's waker.
                let rang = poll_bells(&bells, machine, cx);
                let socket = poll_ports(ports, cx)?;
                let due = alarm.poll(cx)?;
                if rang || socket || due { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
            })
            .await?;
        }
    }

    /// Sends what waited and what there is; true when there is more.
    fn send(&mut self, now: Instant) -> bool {
        for port in &mut self.ports {
            port.flush(now);
        }
        send_all(&mut self.ports, now, || self.machine.poll_transmit()) == Sent::More
    }
}

#[cfg(all(test, unix))]
impl Shard {
    /// Puts a socket in place from which nothing can ever be received.
    pub(crate) fn break_socket(&mut self) -> io::Result<()> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let broken = UdpSocket::from(std::os::fd::OwnedFd::from(listener));
        let port = self.ports.first_mut().expect("a shard has a socket");
        port.socket = Socket::adopt(port.socket.transport(), broken)?;
        Ok(())
    }
}

/// Takes one bell; the machine takes the others in its next step.
fn poll_bells(bells: &Queue<Caller>, machine: &mut Machine, cx: &mut Context<'_>) -> bool {
    match bells.poll_pop(cx) {
        Poll::Ready(Some(caller)) => {
            machine.hear(caller);
            true
        }
        // The machine does not close it.
        Poll::Ready(None) | Poll::Pending => false,
    }
}

fn poll_ports(ports: &mut [Port], cx: &mut Context<'_>) -> io::Result<bool> {
    let mut ready = false;
    for port in ports {
        ready |= port.poll(cx)?;
    }
    Ok(ready)
}

/// A socket and what is known of its readiness.
#[derive(Debug)]
struct Port {
    socket: Socket,
    /// The same socket as the reactor knows it.
    watched: Async<Arc<UdpSocket>>,
    /// It was not read empty since it last was readable.
    is_readable: bool,
    /// It became writable since it was blocked.
    is_writable: bool,
}

impl Port {
    fn new(socket: Socket) -> io::Result<Port> {
        let watched = Async::new(socket.io())?;
        Ok(Port { socket, watched, is_readable: true, is_writable: false })
    }

    /// Feeds datagrams; true when there may be more.
    fn receive(&mut self, machine: &mut Machine, now: Instant) -> io::Result<bool> {
        if !self.is_readable {
            return Ok(false);
        }
        for _ in 0..RECEIVE_BUDGET {
            let Some(datagram) = self.socket.receive()? else {
                self.is_readable = false;
                return Ok(false);
            };
            machine.handle_datagram(datagram, now);
        }
        Ok(true)
    }

    fn flush(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_writable) {
            self.socket.flush(now);
        }
    }

    /// Whether it is ready for what is wanted of it.
    fn poll(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        self.is_readable |= is_ready(self.watched.poll_readable(cx))?;
        if self.socket.is_blocked() {
            self.is_writable |= is_ready(self.watched.poll_writable(cx))?;
        }
        Ok(self.is_readable || self.is_writable)
    }
}

impl AsMut<Socket> for Port {
    fn as_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

fn is_ready(polled: Poll<io::Result<()>>) -> io::Result<bool> {
    match polled {
        Poll::Ready(result) => result.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

// Drivers and shards move between the threads of an executor, as do the halves of a call.
const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Driver>();
    assert_send::<Shard>();
    assert_send::<Handle>();
    assert_send::<crate::Peer>();
    assert_send::<crate::PeerSender>();
};
