//! When which session wants to be woken.
//!
//! A binary heap that knows where each slot stands in it, so a deadline moves in place: the heap
//! holds at most one entry for each slot, never a stale one, and allocates nothing once every slot
//! has been in it. Equal instants come in slot order, so a run repeats.

use std::time::Instant;

/// One deadline for each slot, the earliest at hand.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Instant, u32)>,
    /// Where the slot's entry stands in the heap.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// Sets, moves or removes the deadline of a slot.
    pub(super) fn set(&mut self, slot: u32, deadline: Option<Instant>) {
        match (self.place(slot), deadline) {
            (None, None) => {}
            (None, Some(at)) => {
                self.heap.push((at, slot));
                self.settle(self.heap.len() - 1);
            }
            // Most datagrams move no deadline.
            (Some(place), Some(at)) if self.heap[place].0 == at => {}
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
            (Some(place), None) => {
                self.heap.swap_remove(place);
                self.places[slot as usize] = None;
                if place < self.heap.len() {
                    self.settle(place);
                }
            }
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes out a slot whose deadline has come, the earliest first.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, slot) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.set(slot, None);
        Some(slot)
    }

    fn place(&self, slot: u32) -> Option<usize> {
        self.places.get(slot as usize).copied().flatten()
    }

    /// Moves the entry at `place` up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        while let Some(child) = self.smaller_child(place) {
            if self.heap[place] < self.heap[child] {
                break;
            }
            self.swap(place, child);
            place = child;
        }
        self.note(place);
    }

    fn smaller_child(&self, place: usize) -> Option<usize> {
        let (left, right) = (2 * place + 1, 2 * place + 2);
        if right < self.heap.len() && self.heap[right] < self.heap[left] {
            return Some(right);
        }
        (left < self.heap.len()).then_some(left)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.note(one);
        self.note(other);
    }

    fn note(&mut self, place: usize) {
        let slot = self.heap[place].1 as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, None);
        }
        self.places[slot] = Some(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn equal_deadlines_come_in_slot_order() {
        let now = start();
        let mut deadlines = Deadlines::default();
        for slot in [5, 1, 9, 0] {
            deadlines.set(slot, Some(now));
        }
        let order: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(now)).collect();
        assert_eq!(order, [0, 1, 5, 9]);
    }

    #[test]
    fn a_deadline_is_due_at_its_instant_and_not_before() {
        let now = start();
        let at = now + Duration::from_millis(10);
        let mut deadlines = Deadlines::default();
        deadlines.set(3, Some(at));
        assert_eq!(deadlines.first(), Some(at));
        assert_eq!(deadlines.pop_due(at - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.pop_due(at), Some(3));
        assert_eq!(deadlines.first(), None);
    }

    #[test]
    fn a_million_moves_leave_one_entry_for_each_slot() {
        let now = start();
        let mut deadlines = Deadlines::default();
        for turn in 0..1_000_000u32 {
            deadlines.set(turn % 8, Some(now + Duration::from_micros(u64::from(turn ^ 0x55))));
        }
        assert_eq!(deadlines.heap.len(), 8);
    }

    /// Calls `visit` with every order of `0..count`.
    fn each_order(count: u32, visit: &mut impl FnMut(&[u32])) {
        fn extend(order: &mut Vec<u32>, count: u32, visit: &mut impl FnMut(&[u32])) {
            if order.len() == count as usize {
                return visit(order);
            }
            for next in 0..count {
                if !order.contains(&next) {
                    order.push(next);
                    extend(order, count, visit);
                    order.pop();
                }
            }
        }
        extend(&mut Vec::new(), count, visit);
    }

    #[test]
    fn every_order_of_seven_deadlines_comes_out_in_order() {
        let now = start();
        let at = |millis: u32| now + Duration::from_millis(millis.into());
        let mut count = 0;
        each_order(7, &mut |order| {
            count += 1;
            let mut deadlines = Deadlines::default();
            for (slot, rank) in (0..).zip(order) {
                deadlines.set(slot, Some(at(*rank)));
            }
            let end = at(7);
            let popped: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(end)).collect();
            let ranks: Vec<u32> = popped.iter().map(|slot| order[*slot as usize]).collect();
            assert_eq!(ranks, [0, 1, 2, 3, 4, 5, 6], "set in the order {order:?}");
        });
        assert_eq!(count, 5_040);
    }

    proptest! {
        /// Against the plainest implementation there is: a sorted map of all slots.
        #[test]
        fn any_script_gives_what_a_sorted_list_would(
            script in proptest::collection::vec((0u32..12, proptest::option::of(0u64..40)), 0..200),
        ) {
            let now = start();
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            for (slot, millis) in script {
                let at = millis.map(|millis| now + Duration::from_millis(millis));
                deadlines.set(slot, at);
                match at {
                    Some(at) => model.insert(slot, at),
                    None => model.remove(&slot),
                };
                prop_assert_eq!(deadlines.first(), model.values().min().copied());
            }
            let end = now + Duration::from_secs(1);
            let popped: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(end)).collect();
            let mut expected: Vec<(Instant, u32)> = model.iter().map(|(s, at)| (*at, *s)).collect();
            expected.sort();
            prop_assert_eq!(popped, expected.into_iter().map(|(_, s)| s).collect::<Vec<_>>());
        }
    }
}
