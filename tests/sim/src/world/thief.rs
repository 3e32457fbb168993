//! A driver that loses things, for tests of what is checked.

use std::fmt;

use smallrtc::Event;

use super::World;
use crate::BrowserEvent;

/// What may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost<'a> {
    /// What a session tells.
    Told(&'a Event),
    /// What a page hears.
    Heard(&'a BrowserEvent),
}

/// Says of each thing whether it is lost.
#[derive(Default)]
pub(crate) struct Thief(Option<Box<dyn FnMut(Lost<'_>) -> bool>>);

impl Thief {
    pub(super) fn takes(&mut self, what: Lost<'_>) -> bool {
        self.0.as_mut().is_some_and(|takes| takes(what))
    }
}

impl fmt::Debug for Thief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Thief")
    }
}

impl World {
    /// From now on the driver loses what `loses` says.
    pub(crate) fn lose(&mut self, loses: impl FnMut(Lost<'_>) -> bool + 'static) {
        self.thief = Thief(Some(Box::new(loses)));
    }
}
