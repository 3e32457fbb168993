//! Every session of a world is recorded, and replayed when the world ends.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use smallrtc::Config;
use smallrtc::record::{Archive, Detail, Log, LogSink, Recording, replay};

use crate::start;

/// The most of one log: hours of a quiet call, minutes of a flood.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The logs of a world's sessions. When it is dropped, after the sessions, each must replay
/// identical.
#[derive(Default)]
pub(crate) struct Replays {
    shelf: Shelf,
}

#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<(String, Page)>>>);

/// One log.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Replays {
    /// The configuration with a recording. What is kept goes by the seed, so that a suite of many
    /// seeds sees all of it.
    pub(crate) fn record(&self, config: Config, seed: u64) -> Config {
        let details = [Detail::Sizes, Detail::Full, Detail::None];
        let detail = |number: u64| details[usize::try_from(number % 3).expect("below three")];
        let recording = Recording::new(Arc::new(self.shelf.clone()))
            .media(detail(seed))
            .messages(detail(seed / 3))
            .bytes_max(LOG_BYTES_MAX);
        config.record(recording)
    }

    /// The logs so far, by their names. Calls of the last second may be missing in those of
    /// sessions that live.
    pub(crate) fn logs(&self) -> Vec<(String, Vec<u8>)> {
        let pages = self.shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |page: &Page| page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        pages.iter().map(|(name, page)| (name.clone(), bytes(page))).collect()
    }
}

impl Archive for Shelf {
    fn open(&self, name: &str) -> Option<Box<dyn LogSink>> {
        let page = Page::default();
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.push((name.to_owned(), page.clone()));
        Some(Box::new(page))
    }
}

impl LogSink for Page {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        true
    }
}

impl Drop for Replays {
    fn drop(&mut self) {
        // A scenario that has failed has told enough.
        if std::thread::panicking() {
            return;
        }
        for (name, bytes) in self.logs() {
            let log = Log::read(&bytes).unwrap_or_else(|error| panic!("log {name}: {error}"));
            assert_eq!(log.damage(), None, "log {name}");
            assert!(log.is_of_this_build(), "log {name}");
            let replay = replay(&log, start()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(replay.is_identical(), "log {name}: {replay}");
            assert_eq!(replay.calls, log.calls() as u64, "log {name}");
        }
    }
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replays")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "log forged")]
    fn a_log_that_cannot_be_read_fails_its_world() {
        let replays = Replays::default();
        let mut sink = replays.shelf.open("forged").expect("there is always room");
        assert!(sink.write(b"no log at all"));
    }
}
