//! Every session of a pair or a world is recorded, and replayed when that ends; and a call can be
//! recorded for its log alone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use smallrtc::Config;
use smallrtc::record::{Archive, Detail, Log, LogSink, Recording, replay};

use crate::{Pair, Setup, start};

/// The most of one log: hours of a quiet call, minutes of a flood.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The logs of a world's sessions. When it is dropped, after the sessions, each must replay
/// identical.
#[derive(Default)]
pub(crate) struct Replays {
    shelf: Shelf,
    /// Sessions that were made: so many logs there are, at the least.
    sessions: usize,
}

/// The log of a call with this setup, driven by `script`: of media and of messages with this
/// detail, whole, and handed over when the call is dropped.
///
/// [`Pair::log`] gives the log of any call so far; this is for tests of what a log holds.
///
/// ```
/// use smallrtc::record::{Detail, Log, replay};
/// use smallrtc_sim::{Kind, Pair, Setup, recorded, start};
///
/// let bytes = recorded(Setup::new(Kind::Scripted, 1), Detail::Full, Pair::connect);
/// let log = Log::read(&bytes)?;
/// assert!(log.is_whole() && replay(&log, start())?.is_identical());
/// # Ok::<(), smallrtc::record::LogError>(())
/// ```
///
/// # Panics
/// When the script does.
#[must_use]
pub fn recorded(setup: Setup, detail: Detail, script: impl FnOnce(&mut Pair)) -> Vec<u8> {
    let shelf = Shelf::default();
    let recording = Recording::new(Arc::new(shelf.clone())).media(detail).messages(detail);
    let mut pair = Pair::new(setup.unrecorded().config(|config| config.record(recording)));
    script(&mut pair);
    drop(pair);
    let (_, log) = shelf.logs().pop().expect("a pair has a session, and that a log");
    log
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

    /// A session was made with that configuration.
    pub(crate) fn session_made(&mut self) {
        self.sessions += 1;
    }

    /// The logs so far, by their names. Calls of the last second may be missing in those of
    /// sessions that live.
    pub(crate) fn logs(&self) -> Vec<(String, Vec<u8>)> {
        self.shelf.logs()
    }
}

impl Shelf {
    fn logs(&self) -> Vec<(String, Vec<u8>)> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
        let (logs, sessions) = (self.logs(), self.sessions);
        assert!(logs.len() >= sessions, "{} logs of {sessions} sessions", logs.len());
        for (name, bytes) in logs {
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
    use crate::{Kind, World};

    #[test]
    #[should_panic(expected = "log forged")]
    fn a_log_that_cannot_be_read_fails_its_world() {
        let replays = Replays::default();
        let mut sink = replays.shelf.open("forged").expect("there is always room");
        assert!(sink.write(b"no log at all"));
    }

    #[test]
    #[should_panic(expected = "0 logs of 1 sessions")]
    fn a_session_without_a_log_fails_its_world() {
        let mut replays = Replays::default();
        replays.session_made();
    }

    #[test]
    #[should_panic(expected = "1 logs of 2 sessions")]
    fn a_world_with_one_log_too_few_fails() {
        let mut world = World::new(Setup::new(Kind::Scripted, 1));
        let number = world.add_browser(|_| {});
        world.call(number).unwrap();
        world.replays_mut().session_made();
    }
}
