//! A machine among the others of its node: what comes from them, what goes to them, and what all
//! know of each other.
//!
//! Machines share nothing but their letter boxes and the few numbers of [`Placing`]. A machine
//! that is alone has an exchange as well, without others.

use std::sync::Arc;
use std::time::Instant;

use async_channel::{Receiver, Sender};
use smallrtc::{Datagram, Endpoint};
use smallrtc_udp::{Forward, ForwardStats, POSTS_MAX, Placing, Post};

use crate::link::{Bell, Caller};
use crate::reply::Queue;

/// Posts of other shards taken in one step: as many as a socket is read for
/// (`smallrtc_udp::RECEIVE_BUDGET`).
pub const POSTS_BUDGET: usize = 128;

/// One machine's exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// The number of the node's first shard, and which one this is, counted from there.
    first: u16,
    index: usize,
    placing: Placing,
    forward: Forward,
    inbox: Receiver<Post>,
    boxes: Arc<[LetterBox]>,
    /// Calls that were last published.
    published: usize,
}

/// Where others put down what is for a machine.
#[derive(Debug)]
struct LetterBox {
    posts: Sender<Post>,
    bell: Bell,
}

/// A machine's place among the others, before it is made.
pub(crate) struct Seat {
    pub(crate) exchange: Exchange,
    /// Where the machine hears who rang.
    pub(crate) bells: Arc<Queue<Caller>>,
}

/// Seats for the machines of a node, the first of which has this number.
pub(crate) fn seats(first: u16, shards: u16) -> Vec<Seat> {
    let placing = Placing::new(usize::from(shards));
    let mut letters = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..shards {
        let (posts, inbox) = async_channel::bounded(POSTS_MAX);
        let bells = Queue::new();
        let bell = Bell::new(Caller::Shard, Arc::clone(&bells));
        letters.push(LetterBox { posts, bell });
        lines.push((inbox, bells));
    }
    let boxes: Arc<[LetterBox]> = letters.into();
    let seat = |(index, (inbox, bells))| {
        let (placing, boxes) = (placing.clone(), Arc::clone(&boxes));
        let forward = Forward::new(first..first + shards);
        let exchange = Exchange { first, index, placing, forward, inbox, boxes, published: 0 };
        Seat { exchange, bells }
    };
    lines.into_iter().enumerate().map(seat).collect()
}

impl Exchange {
    /// The shard's number.
    pub(crate) fn shard(&self) -> u16 {
        let index = u16::try_from(self.index).expect("there are at most 4096 shards");
        self.first + index
    }

    pub(crate) fn placing(&self) -> &Placing {
        &self.placing
    }

    /// Takes a datagram of one of the machine's own sockets.
    pub(crate) fn receive(&mut self, datagram: Datagram, endpoint: &mut Endpoint, now: Instant) {
        if let Some(post) = self.forward.receive(datagram, endpoint, now) {
            self.post(post);
        }
    }

    /// Answers the bell of the letter box; rings for itself when more is there.
    pub(crate) fn answer_bell(&mut self, endpoint: &mut Endpoint, now: Instant) {
        let boxes = Arc::clone(&self.boxes);
        let own = &boxes[self.index];
        own.bell.answer();
        self.take_posts(endpoint, now);
        if !self.inbox.is_empty() {
            own.bell.ring();
        }
    }

    /// Takes what others put down. Whoever did rings, or has rung, for what is left; so the bell is
    /// left to whom it wakes, or there would be more wake-ups queued than bells.
    pub(crate) fn take_posts(&mut self, endpoint: &mut Endpoint, now: Instant) {
        for _ in 0..POSTS_BUDGET {
            let Ok(post) = self.inbox.try_recv() else { return };
            if let Some(post) = self.forward.take(post, endpoint, now) {
                self.post(post);
            }
        }
    }

    /// Tells the others of the machine's load. Those that only wait for the last call of all to
    /// end are woken when this was the last one here.
    /// `promised` are calls that are likely to come here and to no other.
    pub(crate) fn publish(&mut self, endpoint: &Endpoint, promised: usize) {
        self.placing.promise(self.index, promised);
        self.tell(endpoint.len(), endpoint.room());
    }

    /// Whether no machine has a call. A machine stays as long as others have calls, whose
    /// datagrams may reach it first.
    pub(crate) fn is_quiet(&self) -> bool {
        self.placing.sessions() == 0
    }

    pub(crate) fn stats(&self) -> ForwardStats {
        self.forward.stats()
    }

    fn tell(&mut self, sessions: usize, room: usize) {
        self.placing.publish(self.index, sessions, room);
        let was_last = sessions == 0 && self.published > 0;
        self.published = sessions;
        if was_last {
            let others = self.boxes.iter().enumerate().filter(|(index, _)| *index != self.index);
            others.for_each(|(_, other)| other.bell.ring());
        }
    }

    fn post(&mut self, (to, post): (u16, Post)) {
        let addressee = self.boxes.get(usize::from(to - self.first));
        let addressee = addressee.expect("the forward knows which shards there are");
        match addressee.posts.try_send(post) {
            Ok(()) => addressee.bell.ring(),
            Err(_) => self.forward.note_dropped(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A machine that is gone has no calls, and nobody waits for it.
        self.tell(0, 0);
        self.inbox.close();
        while self.inbox.try_recv().is_ok() {}
    }
}
