//! Whose turn it is.
//!
//! Sessions with output stand in a ring. One that gave something goes to the back, so of *n*
//! sessions with output each gives every *n*-th datagram or event, however much the others hold.
//! A slot stands in the ring at most once, so the ring never outgrows the slots.

use std::collections::VecDeque;

/// Slots in turn.
#[derive(Debug, Default)]
pub(super) struct Ring {
    order: VecDeque<u32>,
    member: Vec<bool>,
}

impl Ring {
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

    /// Takes the slot whose turn it is out of the ring.
    pub(super) fn next(&mut self) -> Option<u32> {
        let slot = self.order.pop_front()?;
        self.member[slot as usize] = false;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_joins_twice_has_one_turn() {
        let mut ring = Ring::default();
        for slot in [4, 2, 4, 4, 2] {
            ring.join(slot);
        }
        assert_eq!((ring.next(), ring.next(), ring.next()), (Some(4), Some(2), None));
        ring.join(4);
        assert_eq!(ring.next(), Some(4));
    }

    #[test]
    fn whoever_joins_again_stands_at_the_back() {
        let mut ring = Ring::default();
        ring.join(0);
        ring.join(1);
        let mut turns = Vec::new();
        for _ in 0..6 {
            let slot = ring.next().unwrap();
            turns.push(slot);
            ring.join(slot);
        }
        assert_eq!(turns, [0, 1, 0, 1, 0, 1]);
    }
}
