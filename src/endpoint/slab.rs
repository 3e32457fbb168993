//! Places for sessions, each with a generation.
//!
//! A place that becomes free is used again under the next generation, the one that has been free
//! the longest first, so an id names one session for ever and a place rests as long as possible.

use std::collections::VecDeque;

use crate::SessionId;

/// Values in numbered places.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    free: VecDeque<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: VecDeque::new() }
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The id that the next `insert` gives: who builds the value may need to know its name first.
    pub(super) fn next_id(&self) -> SessionId {
        match self.free.front() {
            Some(&slot) => self.id(slot),
            None => {
                let slot = u32::try_from(self.places.len()).expect("slots are fewer than 2^24");
                SessionId { slot, generation: 0 }
            }
        }
    }

    /// Takes the place that `next_id` named.
    pub(super) fn insert(&mut self, value: T) -> SessionId {
        let id = self.next_id();
        match self.free.pop_front() {
            Some(slot) => self.places[slot as usize].value = Some(value),
            None => self.places.push(Place { generation: 0, value: Some(value) }),
        }
        id
    }

    /// Frees a place. Its generation moves on, so the old id finds nothing from now on.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.places.get_mut(slot as usize)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push_back(slot);
        Some(value)
    }

    /// The id of whoever is, or will be next, in the place.
    pub(super) fn id(&self, slot: u32) -> SessionId {
        SessionId { slot, generation: self.places[slot as usize].generation }
    }

    pub(super) fn at(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.value.as_ref()
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.value.as_mut()
    }

    /// Ages a free place.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, slot: u32, generation: u32) {
        assert!(self.at(slot).is_none());
        self.places[slot as usize].generation = generation;
    }

    /// What the id names, if that is still there.
    pub(super) fn find(&self, id: SessionId) -> Option<&T> {
        let place = self.places.get(id.slot as usize)?;
        place.value.as_ref().filter(|_| place.generation == id.generation)
    }

    /// The places that are taken, in order.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.places).filter(|(_, place)| place.value.is_some()).map(|(slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_is_the_one_that_insert_gives() {
        let mut slab = Slab::new();
        for value in 0..3 {
            let announced = slab.next_id();
            assert_eq!(slab.insert(value), announced);
        }
        slab.remove(1);
        let announced = slab.next_id();
        assert_eq!(announced, SessionId { slot: 1, generation: 1 });
        assert_eq!(slab.insert(9), announced);
    }

    #[test]
    fn an_old_id_never_finds_the_next_value_of_its_place() {
        let mut slab = Slab::new();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old.slot), Some("old"));
        assert_eq!(slab.find(old), None);
        let new = slab.insert("new");
        assert_eq!(new.slot, old.slot);
        assert_eq!((slab.find(old), slab.find(new)), (None, Some(&"new")));
    }

    #[test]
    fn the_place_that_rested_longest_is_used_first_and_none_is_wasted() {
        let mut slab = Slab::new();
        for value in 0..4 {
            slab.insert(value);
        }
        slab.remove(2);
        slab.remove(0);
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.slots().collect::<Vec<_>>(), [1, 3]);
        assert_eq!((slab.insert(7).slot, slab.insert(8).slot, slab.insert(9).slot), (2, 0, 4));
    }

    #[test]
    fn removing_twice_or_what_was_never_there_changes_nothing() {
        let mut slab = Slab::new();
        let id = slab.insert(1);
        slab.remove(id.slot);
        assert_eq!(slab.remove(id.slot), None);
        assert_eq!(slab.remove(77), None);
        assert_eq!(slab.next_id(), SessionId { slot: 0, generation: 1 });
    }
}
