//! A driver that loses things, for tests of what is checked.

use std::fmt;

use smallrtc::Event;

use super::World;
use crate::BrowserEvent;
use crate::replays::Replays;

/// What may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost<'a> {
    /// What a session tells.
    Told(&'a Event),
    /// What a page hears.
    Heard(&'a BrowserEvent),
}

/// Says of each thing whether it is lost.
type Takes = dyn FnMut(Lost<'_>) -> bool;

/// Who takes, if there is one.
#[derive(Default)]
pub(crate) struct Thief(Option<Box<Takes>>);

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
    pub(crate) fn replays_mut(&mut self) -> &mut Replays {
        self.replays.as_mut().expect("it is recorded")
    }

    /// From now on the driver loses what `loses` says.
    pub(crate) fn lose(&mut self, loses: impl FnMut(Lost<'_>) -> bool + 'static) {
        self.thief = Thief(Some(Box::new(loses)));
    }
}
