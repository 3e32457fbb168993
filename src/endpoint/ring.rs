//! Whose turn it is.
//!
//! Sessions with output stand in a ring. The first has its turn: it gives up to a quantum of
//! datagrams or events and goes to the back, or leaves when it has nothing more. So each of *n*
//! sessions with output waits for at most *n* - 1 quanta, however much the others hold. A slot
//! stands in the ring at most once, so the ring never outgrows the slots.

use std::collections::VecDeque;

/// Slots in turn.
#[derive(Debug)]
pub(super) struct Ring {
    order: VecDeque<u32>,
    member: Vec<bool>,
    /// How much one turn is.
    quantum: usize,
    /// How much the first has given in its turn: less than the quantum.
    given: usize,
}

impl Ring {
    /// Nobody stands in it. One turn is `quantum` datagrams or events, at least one.
    pub(super) fn new(quantum: usize) -> Ring {
        debug_assert!(quantum > 0, "a turn of nothing never comes to an end");
        Ring { order: VecDeque::new(), member: Vec::new(), quantum, given: 0 }
    }

    /// Puts a slot at the back, unless it already stands somewhere.
    pub(super) fn join(&mut self, slot: u32) {
        if slot as usize >= self.member.len() {
            self.member.resize(slot as usize + 1, false);
        }
        let member = &mut self.member[slot as usize];
        if !*member {
            *member = true;
            self.order.push_back(slot);
        }
    }

    /// The slot whose turn it is. It stays until [`Ring::gave`] or [`Ring::skip`] is told of it.
    pub(super) fn first(&self) -> Option<u32> {
        self.order.front().copied()
    }

    /// The first gave one. After a quantum of them it goes to the back.
    pub(super) fn gave(&mut self) {
        self.given += 1;
        if self.given >= self.quantum {
            self.given = 0;
            self.order.rotate_left(1.min(self.order.len()));
        }
    }

    /// The first has nothing: it leaves the ring.
    pub(super) fn skip(&mut self) {
        self.given = 0;
        if let Some(slot) = self.order.pop_front() {
            self.member[slot as usize] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose turn it is, so many times, when everyone always has more to give.
    fn turns(ring: &mut Ring, count: usize) -> Vec<u32> {
        let mut turns = Vec::new();
        for _ in 0..count {
            turns.extend(ring.first());
            ring.gave();
        }
        turns
    }

    #[test]
    fn a_slot_that_joins_twice_has_one_turn() {
        let mut ring = Ring::new(1);
        for slot in [4, 2, 4, 4, 2] {
            ring.join(slot);
        }
        assert_eq!(ring.first(), Some(4));
        ring.skip();
        assert_eq!(ring.first(), Some(2));
        ring.skip();
        assert_eq!(ring.first(), None);
        ring.skip();
        ring.join(4);
        assert_eq!(ring.first(), Some(4));
    }

    #[test]
    fn whoever_gave_a_quantum_stands_at_the_back() {
        let mut ring = Ring::new(1);
        ring.join(0);
        ring.join(1);
        assert_eq!(turns(&mut ring, 6), [0, 1, 0, 1, 0, 1]);
        let mut ring = Ring::new(3);
        ring.join(0);
        ring.join(1);
        assert_eq!(turns(&mut ring, 8), [0, 0, 0, 1, 1, 1, 0, 0]);
    }

    #[test]
    fn joining_in_its_own_turn_makes_no_turn_longer() {
        let mut ring = Ring::new(3);
        ring.join(0);
        assert_eq!(turns(&mut ring, 2), [0, 0]);
        ring.join(0);
        ring.join(1);
        assert_eq!(turns(&mut ring, 2), [0, 1]);
    }

    #[test]
    fn what_is_left_of_a_turn_is_not_the_next_ones() {
        let mut ring = Ring::new(3);
        ring.join(0);
        ring.join(1);
        assert_eq!(turns(&mut ring, 2), [0, 0]);
        ring.skip();
        ring.join(0);
        assert_eq!(turns(&mut ring, 4), [1, 1, 1, 0]);
    }
}
