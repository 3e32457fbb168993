//! Which shard a new call goes to: the one with the least to do.
//!
//! Each shard publishes how many calls it has and how many more it would take; whoever hands out
//! requests counts those that are on their way. These few numbers, and a queue of commands, are
//! all that shards share.
//!
//! | | first | then |
//! | --- | --- | --- |
//! | shards with room | fewest calls, promised calls and requests on their way | the lowest number |
//! | shards that are full, when no other is left | the same | the same |
//!
//! Two that choose at the same moment may choose the same shard; the next choice makes up for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is known of the shards' load. Cheap to clone: all clones see the same.
#[derive(Clone, Debug)]
pub struct Placing {
    loads: Arc<[Load]>,
}

#[derive(Debug, Default)]
struct Load {
    sessions: AtomicUsize,
    room: AtomicUsize,
    promised: AtomicUsize,
    on_way: AtomicUsize,
}

/// A request on its way to a shard; it counts until this is dropped.
#[derive(Debug)]
#[must_use = "a request counts as long as this is kept"]
pub struct OnWay {
    placing: Placing,
    index: usize,
}

impl Placing {
    /// Shards without calls, and without room until they say so.
    #[must_use]
    pub fn new(shards: usize) -> Placing {
        Placing { loads: (0..shards).map(|_| Load::default()).collect() }
    }

    /// A shard says what it has: `Endpoint::len` and `Endpoint::room`. A shard that is gone has
    /// neither.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn publish(&self, index: usize, sessions: usize, room: usize) {
        let load = &self.loads[index];
        load.sessions.store(sessions, Ordering::SeqCst);
        load.room.store(room, Ordering::SeqCst);
    }

    /// A shard says how many calls are likely to come to it and to no other
    /// (`Signaling::promised`): they count where calls are placed, and take no room.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn promise(&self, index: usize, calls: usize) {
        self.loads[index].promised.store(calls, Ordering::SeqCst);
    }

    /// How many more calls the shards would take, all together, as they last said.
    #[must_use]
    pub fn room(&self) -> usize {
        let rooms = self.loads.iter().map(|load| load.room.load(Ordering::SeqCst));
        rooms.fold(0, usize::saturating_add)
    }

    /// The calls of all shards, as they last said.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.loads.iter().map(|load| load.sessions.load(Ordering::SeqCst)).sum()
    }

    /// The shard for a new call; the request counts as on its way there. When that one refuses
    /// for want of room, having been overtaken, say so in `tried` and ask again: the next has room,
    /// or there is none.
    #[must_use]
    pub fn least_loaded(&self, tried: &[usize]) -> Option<OnWay> {
        let loads = self.loads.iter().map(Load::rank).enumerate();
        let loads = loads.filter(|(index, _)| !tried.contains(index));
        let (index, (is_full, _)) = loads.min_by_key(|(_, rank)| *rank)?;
        (tried.is_empty() || !is_full).then(|| self.send_to(index))
    }

    /// A request that must go to this shard.
    ///
    /// # Panics
    /// When there is no such shard.
    pub fn send_to(&self, index: usize) -> OnWay {
        self.loads[index].on_way.fetch_add(1, Ordering::SeqCst);
        OnWay { placing: self.clone(), index }
    }
}

impl Load {
    /// The least is chosen.
    fn rank(&self) -> (bool, usize) {
        let on_way = self.on_way.load(Ordering::SeqCst);
        let is_full = self.room.load(Ordering::SeqCst) <= on_way;
        let promised = self.promised.load(Ordering::SeqCst);
        (is_full, self.sessions.load(Ordering::SeqCst) + promised + on_way)
    }
}

impl OnWay {
    /// The shard that it goes to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Drop for OnWay {
    fn drop(&mut self) {
        self.placing.loads[self.index].on_way.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shards with as many calls as said and room for ten.
    fn placing(sessions: &[usize]) -> Placing {
        let placing = Placing::new(sessions.len());
        for (index, sessions) in sessions.iter().enumerate() {
            placing.publish(index, *sessions, 10 - sessions);
        }
        placing
    }

    fn chosen(placing: &Placing, tried: &[usize]) -> Option<usize> {
        placing.least_loaded(tried).map(|on_way| on_way.index())
    }

    #[test]
    fn the_shard_with_the_fewest_calls_is_chosen_and_of_equals_the_first() {
        assert_eq!(chosen(&placing(&[3, 1, 2]), &[]), Some(1));
        assert_eq!(chosen(&placing(&[3, 1, 1]), &[]), Some(1));
        assert_eq!(chosen(&placing(&[0, 0, 0]), &[]), Some(0));
        assert_eq!(placing(&[3, 1, 2]).sessions(), 6);
    }

    #[test]
    fn requests_on_their_way_count_until_they_are_answered() {
        let placing = placing(&[0, 0]);
        let ways: Vec<OnWay> = (0..4).map(|_| placing.least_loaded(&[]).unwrap()).collect();
        assert_eq!(ways.iter().map(OnWay::index).collect::<Vec<_>>(), [0, 1, 0, 1]);
        let named = placing.send_to(0);
        assert_eq!(chosen(&placing, &[]), Some(1));
        drop((named, ways));
        assert_eq!(chosen(&placing, &[]), Some(0));
    }

    #[test]
    fn promised_calls_count_and_take_no_room() {
        let placing = placing(&[0, 1]);
        placing.promise(0, 2);
        assert_eq!(chosen(&placing, &[]), Some(1));
        placing.promise(0, 100);
        placing.publish(1, 10, 0);
        assert_eq!(chosen(&placing, &[]), Some(0), "it is not full");
        assert_eq!((placing.sessions(), placing.room()), (10, 10));
    }

    #[test]
    fn a_shard_with_room_for_one_more_is_chosen_and_a_full_one_only_when_all_are() {
        let placing = Placing::new(2);
        placing.publish(0, 1, 1);
        placing.publish(1, 7, 2);
        let last = placing.least_loaded(&[]).unwrap();
        assert_eq!(last.index(), 0, "at the limit");
        assert_eq!(chosen(&placing, &[]), Some(1), "the last place may be taken by then");
        drop(last);
        placing.publish(0, 2, 0);
        assert_eq!(chosen(&placing, &[]), Some(1));
        placing.publish(1, 9, 0);
        assert_eq!(chosen(&placing, &[]), Some(0));
    }

    #[test]
    fn shards_that_were_tried_are_not_chosen_again() {
        let placing = placing(&[0, 1, 2]);
        assert_eq!(chosen(&placing, &[0]), Some(1));
        assert_eq!(chosen(&placing, &[0, 1]), Some(2));
        assert_eq!(chosen(&placing, &[0, 1, 2]), None);
    }

    #[test]
    fn after_a_refusal_only_a_shard_with_room_is_tried() {
        let placing = placing(&[10, 10, 9]);
        assert_eq!(chosen(&placing, &[]), Some(2));
        placing.publish(2, 10, 0);
        assert_eq!(chosen(&placing, &[2]), None);
        assert_eq!(chosen(&placing, &[]), Some(0), "somebody must say that all are full");
    }
}
