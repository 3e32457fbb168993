//! One source, many sinks; and a sink that keeps nothing.
//!
//! What is published is given to each subscriber, through a queue of its own: one that is slow
//! loses its own items and holds up nobody. The relay has no thread and pulls nothing: the
//! application asks [`Relay::is_wanted`] before it makes the next item, and stops when nobody
//! listens.
//!
//! | state | publish | subscribe |
//! | --- | --- | --- |
//! | nobody listens | dropped, counted | listens from the next item on |
//! | somebody listens | into each queue | listens from the next item on |
//! | the last one left | dropped, counted; not wanted | listens again |
//! | ended | dropped, counted | refused |
//!
//! Items are cloned: give it what is cheap to clone, such as an `EncodedFrame` or an `Arc<[i16]>`.

use std::collections::{BTreeMap, VecDeque};

/// How many subscribers a relay has at most. 256: as many as a process has sessions on a core; who
/// needs more puts relays behind a relay.
const SUBSCRIBERS_MAX: usize = 256;

/// How many items a queue holds at most. 3000: a minute of 20 ms.
const ITEMS_MAX: usize = 3_000;

/// Names one subscriber of one relay. Ids rise by one and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(u64);

/// What is dropped when a queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DropPolicy {
    /// The oldest item: who listens to the present.
    #[default]
    Oldest,
    /// The item that comes: who wants no hole in what it has begun.
    Newest,
    /// All that wait, and then the queue begins with the item that comes: who would rather jump to
    /// the present than be late for good.
    All,
}

/// Why nobody was subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There are 256 subscribers.
    #[error("256 subscribers: no more are taken")]
    Full,
    /// The source ended.
    #[error("the source ended")]
    Ended,
    /// The queue's length is out of its range.
    #[error("queue length: {0} (expected 1 to 3000)")]
    Length(usize),
}

#[derive(Debug)]
struct Subscriber<T> {
    queue: VecDeque<T>,
    len_max: usize,
    policy: DropPolicy,
    dropped: u64,
}

impl<T> Subscriber<T> {
    fn push(&mut self, item: T) {
        if self.queue.len() >= self.len_max {
            match self.policy {
                DropPolicy::Oldest => drop(self.queue.pop_front()),
                DropPolicy::Newest => {
                    self.dropped += 1;
                    return;
                }
                DropPolicy::All => {
                    self.dropped += self.queue.len() as u64 - 1;
                    self.queue.clear();
                }
            }
            self.dropped += 1;
        }
        self.queue.push_back(item);
    }
}

/// What a relay counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayCounters {
    /// Items that were published.
    pub published: u64,
    /// Items that nobody listened to.
    pub unheard: u64,
    /// Items that were dropped from full queues, those of subscribers that left included.
    pub dropped: u64,
}

/// Gives what one source publishes to many subscribers.
///
/// ```
/// use smallrtc::media::{DropPolicy, Relay};
///
/// let mut relay = Relay::new();
/// assert!(!relay.is_wanted());
/// let id = relay.subscribe(2, DropPolicy::Oldest)?;
/// for number in 0..3 {
///     relay.publish(number);
/// }
/// assert_eq!(relay.pull(id), Some(1));
/// assert_eq!(relay.dropped(id), Some(1));
/// relay.unsubscribe(id);
/// assert!(!relay.is_wanted());
/// # Ok::<(), smallrtc::media::SubscribeError>(())
/// ```
#[derive(Debug)]
pub struct Relay<T> {
    subscribers: BTreeMap<SubscriberId, Subscriber<T>>,
    next: u64,
    is_ended: bool,
    counters: RelayCounters,
}

impl<T> Default for Relay<T> {
    fn default() -> Relay<T> {
        Relay {
            subscribers: BTreeMap::new(),
            next: 0,
            is_ended: false,
            counters: RelayCounters::default(),
        }
    }
}

impl<T: Clone> Relay<T> {
    /// A relay that nobody listens to.
    #[must_use]
    pub fn new() -> Relay<T> {
        Relay::default()
    }

    /// Listens from the next item on, through a queue of at most `len` items.
    ///
    /// # Errors
    /// [`SubscribeError`]: 256 listen already, the source ended, or `len` is not 1 to 3000.
    pub fn subscribe(
        &mut self,
        len: usize,
        policy: DropPolicy,
    ) -> Result<SubscriberId, SubscribeError> {
        if !(1..=ITEMS_MAX).contains(&len) {
            return Err(SubscribeError::Length(len));
        }
        if self.is_ended {
            return Err(SubscribeError::Ended);
        }
        if self.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(SubscribeError::Full);
        }
        let id = SubscriberId(self.next);
        self.next += 1;
        let subscriber = Subscriber { queue: VecDeque::new(), len_max: len, policy, dropped: 0 };
        self.subscribers.insert(id, subscriber);
        Ok(id)
    }

    /// Listens no more; what waits is dropped, and is not counted.
    pub fn unsubscribe(&mut self, id: SubscriberId) {
        if let Some(subscriber) = self.subscribers.remove(&id) {
            self.counters.dropped += subscriber.dropped;
        }
    }

    /// Whether anybody listens: when not, the source need not go on.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.subscribers.is_empty() && !self.is_ended
    }

    /// Gives an item to all who listen.
    pub fn publish(&mut self, item: T) {
        self.counters.published += 1;
        if !self.is_wanted() {
            self.counters.unheard += 1;
            return;
        }
        for subscriber in self.subscribers.values_mut() {
            subscriber.push(item.clone());
        }
    }

    /// The source has ended: what waits can still be pulled.
    pub fn end(&mut self) {
        self.is_ended = true;
    }

    /// The oldest item that waits for a subscriber.
    pub fn pull(&mut self, id: SubscriberId) -> Option<T> {
        self.subscribers.get_mut(&id)?.queue.pop_front()
    }

    /// Whether nothing will come for a subscriber: the source ended and its queue is empty, or it
    /// does not listen.
    #[must_use]
    pub fn is_ended(&self, id: SubscriberId) -> bool {
        let waits = |subscriber: &Subscriber<T>| !subscriber.queue.is_empty();
        let subscriber = self.subscribers.get(&id);
        subscriber.is_none_or(|subscriber| self.is_ended && !waits(subscriber))
    }

    /// How many items were dropped from a subscriber's queue; `None` when it does not listen.
    #[must_use]
    pub fn dropped(&self, id: SubscriberId) -> Option<u64> {
        Some(self.subscribers.get(&id)?.dropped)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> RelayCounters {
        let present: u64 = self.subscribers.values().map(|it| it.dropped).sum();
        RelayCounters { dropped: self.counters.dropped + present, ..self.counters }
    }
}

/// Takes everything and keeps nothing but a count.
///
/// Tracks that nobody reads are bounded by themselves; this is for who wants to see that something
/// comes.
///
/// ```
/// let mut hole = smallrtc::media::Blackhole::new();
/// hole.take(&[1, 2, 3]);
/// assert_eq!((hole.blocks(), hole.len()), (1, 3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blackhole {
    blocks: u64,
    len: u64,
}

impl Blackhole {
    /// One that has taken nothing.
    #[must_use]
    pub fn new() -> Blackhole {
        Blackhole::default()
    }

    /// Takes samples, or bytes.
    pub fn take<T>(&mut self, block: &[T]) {
        self.blocks += 1;
        self.len += block.len() as u64;
    }

    /// How many blocks were taken.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many samples or bytes were taken.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no sample and no byte was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(relay: &mut Relay<u32>, id: SubscriberId) -> Vec<u32> {
        std::iter::from_fn(|| relay.pull(id)).collect()
    }

    #[test]
    fn each_subscriber_hears_everything_from_now_on() {
        let mut relay = Relay::new();
        relay.publish(0);
        let early = relay.subscribe(10, DropPolicy::Oldest).unwrap();
        relay.publish(1);
        let late = relay.subscribe(10, DropPolicy::Oldest).unwrap();
        relay.publish(2);
        assert_eq!(pulled(&mut relay, early), [1, 2]);
        assert_eq!(pulled(&mut relay, late), [2]);
        assert_eq!(relay.counters(), RelayCounters { published: 3, unheard: 1, dropped: 0 });
    }

    #[test]
    fn a_queue_at_its_limit_holds_all_and_one_more_follows_the_policy() {
        let policies = [
            (DropPolicy::Oldest, vec![1, 2, 3], 1),
            (DropPolicy::Newest, vec![0, 1, 2], 1),
            (DropPolicy::All, vec![3], 3),
        ];
        for (policy, left, dropped) in policies {
            let mut relay = Relay::new();
            let slow = relay.subscribe(3, policy).unwrap();
            let other = relay.subscribe(9, policy).unwrap();
            (0..3).for_each(|item| relay.publish(item));
            assert_eq!(relay.dropped(slow), Some(0));
            relay.publish(3);
            assert_eq!(relay.dropped(slow), Some(dropped), "{policy:?}");
            assert_eq!(pulled(&mut relay, slow), left, "{policy:?}");
            assert_eq!(pulled(&mut relay, other), [0, 1, 2, 3], "a slow one holds up nobody");
            relay.unsubscribe(slow);
            assert_eq!((relay.dropped(slow), relay.counters().dropped), (None, dropped));
        }
    }

    #[test]
    fn it_is_wanted_until_the_last_one_leaves_and_by_the_next_one_again() {
        let mut relay: Relay<u32> = Relay::new();
        assert!(!relay.is_wanted());
        let ids = [0, 1].map(|_| relay.subscribe(1, DropPolicy::Oldest).unwrap());
        relay.unsubscribe(ids[0]);
        relay.unsubscribe(ids[0]);
        assert!(relay.is_wanted());
        relay.unsubscribe(ids[1]);
        assert!(!relay.is_wanted());
        let again = relay.subscribe(1, DropPolicy::Oldest).unwrap();
        assert!(relay.is_wanted() && !ids.contains(&again));
    }

    #[test]
    fn what_waits_at_the_end_can_still_be_pulled() {
        let mut relay = Relay::new();
        let id = relay.subscribe(5, DropPolicy::Oldest).unwrap();
        relay.publish(1);
        relay.end();
        relay.publish(2);
        assert!(!relay.is_ended(id) && !relay.is_wanted());
        assert_eq!(pulled(&mut relay, id), [1]);
        assert!(relay.is_ended(id));
        assert_eq!(relay.subscribe(5, DropPolicy::Oldest), Err(SubscribeError::Ended));
    }

    #[test]
    fn two_hundred_and_fifty_six_listen_and_one_more_is_refused() {
        let mut relay: Relay<u32> = Relay::new();
        for _ in 0..256 {
            relay.subscribe(3_000, DropPolicy::Oldest).unwrap();
        }
        assert_eq!(relay.subscribe(1, DropPolicy::Oldest), Err(SubscribeError::Full));
        assert_eq!(relay.subscribe(0, DropPolicy::Oldest), Err(SubscribeError::Length(0)));
        assert_eq!(relay.subscribe(3_001, DropPolicy::All), Err(SubscribeError::Length(3_001)));
    }

    #[test]
    fn a_black_hole_counts() {
        let mut hole = Blackhole::new();
        assert!(hole.is_empty());
        hole.take(&[0i16; 960]);
        hole.take(b"packet");
        assert_eq!((hole.blocks(), hole.len(), hole.is_empty()), (2, 966, false));
    }
}
