//! One alarm for all echoes of a process.
//!
//! An echo wants to be woken when a block is late, and hardly any is: what it waits for moves on
//! with each block, fifty times a second. A timer of the runtime's that is set anew as often costs
//! system calls each time (measured: 8 % of an echo). Here it costs none to wait for a later time
//! than before: the alarm rings at the time that was the first when it last rang, finds who waits
//! for a time that has passed, and sets itself to the first of the others.
//!
//! | what | is |
//! | --- | --- |
//! | who waits | one entry for each echo, so as many as there are calls |
//! | an alarm that cannot be had, for want of a thread | no word of silence at first, no bridges, and an echo that begins with its second block |
//!
//! It has a thread of its own, which the first echo starts and which stays.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Instant;

use tracing::warn;

use crate::tape::now;

/// Who waits, and until when.
#[derive(Debug, Default)]
struct Waits {
    entries: BTreeMap<(Instant, u64), Waker>,
    /// How many alarms there were.
    ids: u64,
    /// When it rings next; `None` when nobody waits.
    rings_at: Option<Instant>,
}

impl Waits {
    /// Lets one wait. Gives whether that is before it would ring.
    fn add(&mut self, due: Instant, id: u64, waker: Waker) -> bool {
        self.entries.insert((due, id), waker);
        let is_first = self.rings_at.is_none_or(|at| due < at);
        if is_first {
            self.rings_at = Some(due);
        }
        is_first
    }

    /// Takes out whose time has passed, and sets it to the first of the others.
    fn ring(&mut self, now: Instant) -> Vec<Waker> {
        let later = self.entries.split_off(&(now, u64::MAX));
        let passed = std::mem::replace(&mut self.entries, later);
        self.rings_at = self.entries.first_key_value().map(|((due, _), _)| *due);
        passed.into_values().collect()
    }
}

/// The alarm of the process.
#[derive(Debug, Default)]
struct Bell {
    waits: Mutex<Waits>,
    moved: Condvar,
}

impl Bell {
    /// The one that there is; the first call starts its thread.
    fn of_process() -> &'static Arc<Bell> {
        static BELL: OnceLock<Arc<Bell>> = OnceLock::new();
        BELL.get_or_init(|| {
            let bell = Arc::new(Bell::default());
            let rung = Arc::clone(&bell);
            let name = thread::Builder::new().name("alarm".to_owned());
            if let Err(error) = name.spawn(move || rung.ring()) {
                warn!(%error, "no thread for an alarm: blocks that are late leave holes in echoes");
            }
            bell
        })
    }

    /// Nothing is left half done where somebody panics.
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let mut waits = self.waits();
        loop {
            let now = now();
            if waits.rings_at.is_some_and(|at| at <= now) {
                let wakers = waits.ring(now);
                drop(waits);
                wakers.into_iter().for_each(Waker::wake);
                waits = self.waits();
                continue;
            }
            waits = match waits.rings_at {
                Some(at) => {
                    let left = at.saturating_duration_since(now);
                    let waited = self.moved.wait_timeout(waits, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.moved.wait(waits).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// What wakes one echo.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// What it waits for, and who is woken.
    set: Option<(Instant, Waker)>,
    id: Option<u64>,
}

impl Alarm {
    /// Returns when this time has come. Safe to cancel.
    pub(super) async fn wait(&mut self, due: Instant) {
        poll_fn(|context| {
            if now() >= due {
                self.stop();
                return Poll::Ready(());
            }
            self.set(due, context.waker());
            Poll::Pending
        })
        .await;
    }

    fn set(&mut self, due: Instant, waker: &Waker) {
        if self.set.as_ref().is_some_and(|(at, who)| *at == due && who.will_wake(waker)) {
            return;
        }
        let bell = Bell::of_process();
        let mut waits = bell.waits();
        let id = *self.id.get_or_insert_with(|| {
            waits.ids += 1;
            waits.ids
        });
        if let Some((at, _)) = self.set.replace((due, waker.clone())) {
            waits.entries.remove(&(at, id));
        }
        let rings_sooner = waits.add(due, id, waker.clone());
        drop(waits);
        if rings_sooner {
            bell.moved.notify_one();
        }
    }

    fn stop(&mut self) {
        if let (Some((at, _)), Some(id)) = (self.set.take(), self.id) {
            Bell::of_process().waits().entries.remove(&(at, id));
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::time::Duration;

    use futures_lite::future;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> Waker {
        Arc::new(Count::default()).into()
    }

    #[test]
    fn it_is_set_sooner_only_for_a_time_before_the_first() {
        let (mut waits, start) = (Waits::default(), now());
        assert!(waits.add(start + 9 * MS, 1, waker()));
        assert!(!waits.add(start + 9 * MS, 2, waker()));
        assert!(!waits.add(start + 30 * MS, 3, waker()));
        assert!(waits.add(start + 8 * MS, 4, waker()));
        assert_eq!(waits.rings_at, Some(start + 8 * MS));
    }

    #[test]
    fn who_waited_for_what_has_passed_is_woken_and_it_is_set_to_the_first_of_the_others() {
        let (mut waits, start) = (Waits::default(), now());
        for (id, due) in [(1, 5), (2, 6), (3, 6), (4, 7)] {
            waits.add(start + due * MS, id, waker());
        }
        // Three of them moved on, as echoes do whose blocks are in time.
        for (id, due) in [(1, 5), (2, 6), (4, 7)] {
            waits.entries.remove(&(start + due * MS, id));
            waits.add(start + (20 + due) * MS, id, waker());
        }
        assert_eq!(waits.rings_at, Some(start + 5 * MS));
        assert!(waits.ring(start + 5 * MS).is_empty());
        assert_eq!(waits.rings_at, Some(start + 6 * MS));
        assert_eq!(waits.ring(start + 6 * MS).len(), 1);
        assert_eq!(waits.ring(start + 26 * MS).len(), 2);
        assert_eq!(waits.ring(start + 27 * MS).len(), 1);
        assert_eq!((waits.rings_at, waits.entries.len()), (None, 0));
    }

    #[test]
    fn an_alarm_rings_on_the_real_clock_and_leaves_nothing_behind() {
        let start = now();
        let (mut early, mut late) = (Alarm::default(), Alarm::default());
        let both = future::zip(early.wait(start + 3 * MS), late.wait(start + 5 * MS));
        future::block_on(both);
        assert!(now() >= start + 5 * MS);
        assert!(early.set.is_none() && late.set.is_none());
    }

    #[test]
    fn an_alarm_that_is_dropped_wakes_nobody() {
        let count = Arc::new(Count::default());
        let mut alarm = Alarm::default();
        alarm.set(now() + 60 * 60_000 * MS, &Waker::from(Arc::clone(&count)));
        let id = alarm.id;
        let waits = |id: Option<u64>| {
            let keys: Vec<_> = Bell::of_process().waits().entries.keys().copied().collect();
            keys.iter().any(|(_, known)| Some(*known) == id)
        };
        assert!(waits(id));
        drop(alarm);
        assert!(!waits(id));
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
    }
}
