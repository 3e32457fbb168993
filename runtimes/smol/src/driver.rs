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
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Add;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use async_channel::Receiver;
use async_io::{Async, Timer};
use futures_lite::{FutureExt, Stream, future};
use smallrtc::{Config, LocalCandidate, Seed, TransportId};
use smallrtc_udp::{RECEIVE_BUDGET, Socket, SocketStats, interface_addresses};
use tracing::info;

use crate::link::Caller;
use crate::machine::{Machine, Step};
use crate::{Handle, Options};

/// Datagrams sent in one turn. What a turn makes is bounded by the budgets of what it takes in and
/// of the calls that are due, but a thousand calls that are due at once are more than sockets and
/// other tasks should wait for.
pub const SEND_BUDGET: usize = 512;

/// Moves datagrams and time. Spawn [`Driver::run`]; when it is dropped every call ends, at once and
/// without a goodbye: use `Handle::close` before.
#[derive(Debug)]
#[must_use = "drivers must be spawned for I/O to occur"]
pub struct Driver {
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
/// What the operating system says of a socket, its address, the interfaces or its randomness.
pub fn bind(config: Config, options: Options) -> io::Result<(Driver, Handle)> {
    let seed = match options.seed {
        Some(seed) => seed,
        None => system_seed()?,
    };
    let wildcard = [SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))];
    let wanted = if options.udp.is_empty() { &wildcard[..] } else { &options.udp };
    let ports = (0..).map(TransportId).zip(wanted).map(|(id, address)| Port::bind(id, *address));
    let ports: Vec<Port> = ports.collect::<io::Result<_>>()?;
    let interfaces = interface_addresses()?;
    let candidates: Vec<LocalCandidate> = ports
        .iter()
        .flat_map(|port| port.socket.candidates(&interfaces, &options.advertise))
        .collect();
    for candidate in &candidates {
        info!(address = %candidate.advertised(), base = %candidate.base(), "candidate");
    }
    let (machine, handle) = Machine::new(config.shared(), &seed, &candidates, Instant::now());
    let addresses = ports.iter().map(|port| port.socket.local_address()).collect();
    Ok((Driver { machine, ports, alarm: Alarm::new() }, handle.at(addresses)))
}

impl Driver {
    /// Runs until `Handle::close` has ended, or until every handle is gone and every call has
    /// ended. The future is `Send`.
    ///
    /// # Errors
    /// A socket that cannot be waited for or received from any more; the calls end then, as
    /// `CloseReason::Internal`. A send that fails is packet loss and no error.
    pub async fn run(mut self) -> io::Result<()> {
        let ended = self.turns().await;
        if ended.is_err() {
            self.machine.fail();
        }
        ended
    }

    async fn turns(&mut self) -> io::Result<()> {
        let mut bells = pin!(self.machine.bells());
        loop {
            let now = Instant::now();
            let mut more = false;
            for port in &mut self.ports {
                more |= port.receive(&mut self.machine, now)?;
            }
            more |= self.machine.step(now) == Step::More;
            more |= self.send(now);
            let sockets = self.ports.iter().map(|port| port.socket.stats());
            self.machine.note_sockets(sockets.fold(SocketStats::default(), SocketStats::add));
            // What was just sent may have been what made the machine due.
            let deadline = self.machine.poll_timeout();
            if self.machine.is_finished() && !more {
                return Ok(());
            }
            if more || deadline.is_some_and(|deadline| deadline <= now) {
                future::yield_now().await;
                continue;
            }
            self.alarm.set(deadline);
            let (machine, ports, alarm) = (&mut self.machine, &mut self.ports, &mut self.alarm);
            poll_fn(|cx| {
                // All of them, so that each has this task's waker.
                let rang = poll_bells(bells.as_mut(), machine, cx);
                let socket = poll_ports(ports, cx)?;
                let due = alarm.poll(cx);
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
        for _ in 0..SEND_BUDGET {
            let Some(transmit) = self.machine.poll_transmit() else { return false };
            let port = self.ports.iter_mut().find(|port| {
                // Today one socket is one transport.
                port.socket.transport() == transmit.transport
            });
            debug_assert!(port.is_some(), "the core sends through what it was told of");
            if let Some(port) = port {
                port.socket.send(transmit, now);
            }
        }
        true
    }
}

/// Takes one bell; the machine takes the others in its next step.
fn poll_bells(
    bells: Pin<&mut Receiver<Caller>>,
    machine: &mut Machine,
    cx: &mut Context<'_>,
) -> bool {
    match bells.poll_next(cx) {
        Poll::Ready(Some(caller)) => {
            machine.hear(caller);
            true
        }
        // The machine holds a sender, so that the channel does not end before it.
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
    fn bind(transport: TransportId, address: SocketAddr) -> io::Result<Port> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("udp {address}: {error}"));
        let socket = Socket::bind(transport, address).map_err(named)?;
        let watched = Async::new(socket.io()).map_err(named)?;
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

fn is_ready(polled: Poll<io::Result<()>>) -> io::Result<bool> {
    match polled {
        Poll::Ready(result) => result.map(|()| true),
        Poll::Pending => Ok(false),
    }
}

/// One timer for the whole life of the driver, moved only when the deadline moves.
#[derive(Debug)]
struct Alarm {
    timer: Timer,
    at: Option<Instant>,
}

impl Alarm {
    fn new() -> Alarm {
        Alarm { timer: Timer::never(), at: None }
    }

    fn set(&mut self, at: Option<Instant>) {
        if self.at == at {
            return;
        }
        self.at = at;
        match at {
            Some(at) => self.timer.set_at(at),
            None => self.timer.clear(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let fired = self.timer.poll(cx).is_ready();
        if fired {
            self.at = None;
        }
        fired
    }
}

fn system_seed() -> io::Result<Seed> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Seed::new(bytes))
}

// A driver moves between the threads of an executor, as do the halves of a call.
const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Driver>();
    assert_send::<Handle>();
    assert_send::<crate::Peer>();
    assert_send::<crate::PeerSender>();
};
