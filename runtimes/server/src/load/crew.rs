//! A thread of callers: their sockets, their deadlines, and the loop that moves them on.
//!
//! All sockets of a crew are in one readiness queue, all deadlines in one heap. A caller has at
//! most one entry in the heap that counts ([`Member::armed`]); one that was overtaken by an earlier
//! one is dropped when it comes up. Datagrams are read into buffers that the crew shares, and sent
//! as the engine made them; what the system refuses to send is lost and counted, never kept.
//!
//! | limit | value | at the limit |
//! | --- | --- | --- |
//! | [`READS_MAX`] | 8 reads of a socket in a turn | the others come first, then the rest |
//! | [`TURNS_MAX`] | 8 deadlines of a caller in a turn, on average | sockets come first |

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};

use super::caller::{Caller, Now, Outbox};
use super::clock::Clock;
use super::offers::Offer;
use super::plan::Plan;
use super::report::Failure;

/// Buffers of one read. A call's packets come one by one, so that more would only be prepared for
/// nothing.
const BUFFERS: usize = 4;

/// The largest run of datagrams that the kernel joins.
const BUFFER_LEN: usize = 64 * 1024;

/// So that one caller that is flooded does not hold the others up.
const READS_MAX: usize = 8;

/// So that engines that always want to be called at once do not keep sockets from being read.
const TURNS_MAX: usize = 8;

/// Events of one wait; more come with the next.
const EVENTS: usize = 1024;

const WAKER: Token = Token(usize::MAX);
const ALARM: Token = Token(usize::MAX - 1);

/// What a crew is told.
pub(super) enum Inbound {
    /// What HTTP gave for a member's offer.
    Answer { member: usize, answer: Result<String, Failure>, at: Instant },
    /// All calls are settled: pacing counts from now on.
    Steady,
    /// The load ends.
    End,
}

/// What a crew tells.
#[derive(Debug)]
pub(super) enum Word {
    /// It is known whether a call comes about.
    Settled,
    /// A call is over.
    Ended,
}

/// One call's place.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) number: usize,
    pub(super) caller: Option<Caller>,
    /// Why there is no caller.
    pub(super) failure: Option<Failure>,
    pub(super) refused_sends: u64,
    socket: Option<(UdpSocket, UdpSocketState)>,
    armed: Option<Instant>,
    is_settled: bool,
    has_ended: bool,
}

/// What a crew leaves behind.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) members: Vec<Member>,
    /// Whether the kernel stamped every datagram.
    pub(super) kernel_timestamps: bool,
    /// When the load ended, on the clock of the stamps.
    pub(super) ended: Duration,
    plan: Arc<Plan>,
    poll: Poll,
    waker: Arc<Waker>,
    clock: Clock,
    inbox: Receiver<Inbound>,
    answers: Sender<Inbound>,
    words: Sender<Word>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    unread: Vec<usize>,
    buffers: Vec<Vec<u8>>,
    out: Outbox,
}

impl Now {
    pub(super) fn read() -> Now {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { instant: Instant::now(), stamp }
    }
}

impl Crew {
    /// A crew of the calls with these numbers.
    pub(super) fn new(
        plan: &Arc<Plan>,
        numbers: impl Iterator<Item = usize>,
        (answers, inbox): (Sender<Inbound>, Receiver<Inbound>),
        words: Sender<Word>,
    ) -> io::Result<Crew> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let clock = Clock::new(poll.registry(), ALARM)?;
        let mut crew = Crew {
            members: numbers.map(Member::new).collect(),
            kernel_timestamps: true,
            ended: Duration::ZERO,
            plan: Arc::clone(plan),
            poll,
            waker,
            clock,
            inbox,
            answers,
            words,
            due: BinaryHeap::new(),
            unread: Vec::new(),
            buffers: vec![vec![0; BUFFER_LEN]; BUFFERS],
            out: Outbox::new(),
        };
        for index in 0..crew.members.len() {
            let at = crew.plan.begins(crew.members[index].number);
            crew.arm(index, Some(at));
        }
        Ok(crew)
    }

    /// Wakes the crew up after something was put into its inbox.
    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Runs until the load has ended and all callers have left.
    pub(super) fn run(mut self) -> io::Result<Crew> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            while let Ok(told) = self.inbox.try_recv() {
                self.obey(told);
            }
            self.run_due();
            for index in std::mem::take(&mut self.unread) {
                self.read(index);
            }
            if self.ended > Duration::ZERO && self.members.iter().all(|member| member.has_ended) {
                return Ok(self);
            }
            let next = self.due.peek().map(|Reverse((at, _))| *at);
            let next = if self.unread.is_empty() { next } else { Some(Instant::now()) };
            match self.clock.wait(&mut self.poll, &mut events, next) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                waited => waited?,
            }
            for event in &events {
                match event.token() {
                    WAKER | ALARM => {}
                    Token(index) => self.read(index),
                }
            }
        }
    }

    fn obey(&mut self, told: Inbound) {
        let now = Now::read();
        match told {
            Inbound::Answer { member: index, answer, at } => {
                if let Some(caller) = &mut self.members[index].caller {
                    caller.take_answer(answer, at, &mut self.out);
                }
                self.settle(index);
            }
            Inbound::Steady => {
                let callers = self.members.iter_mut().filter_map(|member| member.caller.as_mut());
                callers.for_each(|caller| caller.begin_steady(now));
            }
            Inbound::End => {
                self.ended = now.stamp;
                for index in 0..self.members.len() {
                    self.leave(index, now);
                }
            }
        }
    }

    fn leave(&mut self, index: usize, now: Now) {
        if let Some(caller) = &mut self.members[index].caller {
            caller.leave(self.plan.abrupt, now, &mut self.out);
        } else {
            self.members[index].failure.get_or_insert(Failure::Stopped);
        }
        self.settle(index);
    }

    fn run_due(&mut self) {
        for _ in 0..TURNS_MAX * self.members.len() {
            let now = Now::read();
            let Some(Reverse((at, index))) = self.due.peek().copied() else { return };
            if at > now.instant {
                return;
            }
            self.due.pop();
            let member = &mut self.members[index];
            if member.armed != Some(at) {
                continue;
            }
            member.armed = None;
            match &mut member.caller {
                Some(caller) => caller.handle_timeout(now, &mut self.out),
                None if member.failure.is_none() => self.begin(index, now.instant),
                None => {}
            }
            self.settle(index);
        }
    }

    /// Makes a call.
    fn begin(&mut self, index: usize, now: Instant) {
        let begun = self.open(index, now).and_then(|mut caller| {
            let offer = caller.offer(now, &mut self.out)?;
            self.members[index].caller = Some(caller);
            Ok(offer)
        });
        match begun {
            Ok(sdp) => self.post(index, sdp),
            Err(failure) => self.members[index].failure = Some(failure),
        }
    }

    fn open(&mut self, index: usize, now: Instant) -> Result<Caller, Failure> {
        let no_socket = |error: io::Error| Failure::Socket(error.to_string());
        let address = SocketAddr::new(self.plan.local_ip, 0);
        let mut socket = UdpSocket::bind(address).map_err(no_socket)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(no_socket)?;
        let registry = self.poll.registry();
        registry.register(&mut socket, Token(index), Interest::READABLE).map_err(no_socket)?;
        let address = socket.local_addr().map_err(no_socket)?;
        let member = &mut self.members[index];
        member.socket = Some((socket, state));
        Caller::new(&self.plan.engines, self.plan.script(member.number), address, now)
    }

    fn post(&mut self, index: usize, sdp: String) {
        let (answers, waker) = (self.answers.clone(), Arc::clone(&self.waker));
        let reply = Box::new(move |answer| {
            let told = Inbound::Answer { member: index, answer, at: Instant::now() };
            // A crew that is gone needs no answer.
            if answers.send(told).is_ok() {
                let _ = waker.wake();
            }
        });
        // There is room for an offer of every call; closed, the load is being given up.
        let _ = self.plan.offers.try_send(Offer { sdp, reply });
    }

    /// Sends what a member has to send, and looks at what has become of it.
    fn settle(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.send(&mut self.out);
        let (is_settled, has_ended) = match &member.caller {
            Some(caller) => (caller.is_settled(), caller.has_ended()),
            None => (member.failure.is_some(), member.failure.is_some()),
        };
        let at = member.caller.as_ref().and_then(Caller::poll_timeout);
        // Whoever gave the load up does not listen any more.
        if is_settled && !std::mem::replace(&mut member.is_settled, is_settled) {
            let _ = self.words.send(Word::Settled);
        }
        if has_ended && !std::mem::replace(&mut member.has_ended, has_ended) {
            member.socket = None;
            let _ = self.words.send(Word::Ended);
        }
        self.arm(index, at);
    }

    /// An earlier deadline takes the place of a later one; a later one waits for the earlier.
    fn arm(&mut self, index: usize, at: Option<Instant>) {
        let member = &mut self.members[index];
        let Some(at) = at else { return };
        if member.armed.is_none_or(|armed| at < armed) {
            member.armed = Some(at);
            self.due.push(Reverse((at, index)));
        }
    }

    /// Reads a socket until nothing is there, or [`READS_MAX`] times.
    fn read(&mut self, index: usize) {
        for _ in 0..READS_MAX {
            if !self.read_once(index) {
                return self.settle(index);
            }
        }
        self.unread.push(index);
        self.settle(index);
    }

    /// Whether there may be more.
    fn read_once(&mut self, index: usize) -> bool {
        let member = &mut self.members[index];
        let (Some(caller), Some((socket, state))) = (&mut member.caller, &member.socket) else {
            return false;
        };
        let mut meta = [RecvMeta::default(); BUFFERS];
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; BUFFERS] = std::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().expect("as many buffers as slices"))
        });
        let received = match state.recv(UdpSockRef::from(socket), &mut slices, &mut meta) {
            Ok(received) => received,
            // An error that a datagram of ours brought back stands before those that came.
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        };
        let now = Now::read();
        for (buffer, meta) in self.buffers.iter().zip(&meta).take(received) {
            self.kernel_timestamps &= meta.timestamp.is_some();
            let stamp = meta.timestamp.unwrap_or(now.stamp);
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                caller.receive(meta.addr, datagram, stamp, now, &mut self.out);
            }
        }
        // Fewer than there was room for: on Linux the socket was empty then, and the next
        // datagram is an event again.
        received == BUFFERS.min(BATCH_SIZE)
    }
}

impl Member {
    fn new(number: usize) -> Member {
        Member {
            number,
            caller: None,
            failure: None,
            refused_sends: 0,
            socket: None,
            armed: None,
            is_settled: false,
            has_ended: false,
        }
    }

    fn send(&mut self, out: &mut Outbox) {
        for transmit in out.drain(..) {
            let Some((socket, _)) = &self.socket else { continue };
            if socket.send_to(&transmit.contents, transmit.destination).is_err() {
                self.refused_sends += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::load::engine::Engines;

    /// A crew of one, whose call has begun, and where its socket is.
    fn crew() -> (Crew, SocketAddr) {
        let (offers, _) = async_channel::bounded(1);
        let plan = Plan {
            local_ip: Ipv4Addr::LOCALHOST.into(),
            engines: Engines::new(),
            abrupt: false,
            offers,
            start: Instant::now(),
            pause: Duration::ZERO,
            tones: Vec::new(),
            listen_every: 1,
            messages: None,
        };
        // Nobody is told anything, and nobody listens.
        let mut crew = Crew::new(&Arc::new(plan), 0..1, channel(), channel().0).unwrap();
        crew.run_due();
        let (socket, _) = crew.members[0].socket.as_ref().expect("the call has begun");
        let address = socket.local_addr().unwrap();
        (crew, address)
    }

    #[test]
    fn a_socket_that_is_flooded_is_read_so_often_and_then_waits_its_turn() {
        let (mut crew, address) = crew();
        let flood = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let most = READS_MAX * BUFFERS;
        for (count, unread) in [(most - 1, &[][..]), (most, &[0]), (most + 1, &[0])] {
            for _ in 0..count {
                flood.send_to(&[0], address).unwrap();
            }
            crew.read(0);
            assert_eq!(crew.unread, unread, "{count} datagrams");
            for index in std::mem::take(&mut crew.unread) {
                crew.read(index);
            }
            assert!(crew.unread.is_empty(), "nothing is left");
        }
    }

    #[test]
    fn an_earlier_deadline_takes_the_place_of_a_later_one() {
        let (mut crew, _) = crew();
        crew.due.clear();
        crew.members[0].armed = None;
        let now = Instant::now();
        let at = |seconds| Some(now + Duration::from_secs(seconds));
        crew.arm(0, at(2));
        crew.arm(0, at(3));
        assert_eq!((crew.due.len(), crew.members[0].armed), (1, at(2)));
        crew.arm(0, at(1));
        crew.arm(0, None);
        assert_eq!((crew.due.len(), crew.members[0].armed), (2, at(1)));
    }
}
