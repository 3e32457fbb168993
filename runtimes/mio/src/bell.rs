//! What wakes a driver when a command came, and what keeps a thread from waiting for itself.
//!
//! No wake-up is lost: whoever puts something down rings afterwards, and the machine answers the
//! bell before it looks. A bell that was rung and not answered yet wakes nobody a second time, so
//! a burst of commands costs one wake-up.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};

type Wake = Box<dyn Fn() + Send + Sync>;

/// Shared by a machine and its handles.
#[derive(Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    /// The end was asked for by somebody who cannot wait, not even for room in a queue.
    close: AtomicBool,
    /// Nothing while nobody waits: a simulation, or a driver that is registered nowhere yet and
    /// looks by itself when it is.
    wake: Mutex<Option<Wake>>,
    /// The thread that drives.
    driver: Mutex<Option<ThreadId>>,
}

impl Bell {
    /// To be called after something was put down.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(wake) = &*self.wake.lock().unwrap_or_else(PoisonError::into_inner)
        {
            wake();
        }
    }

    /// To be called before looking at what was put down. A swap and not a store, because it must
    /// see what was put down before the ring that it answers.
    pub(crate) fn answer(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Asks for the end.
    pub(crate) fn close(&self) {
        self.close.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether the end was asked for; to be called after the bell was answered.
    pub(crate) fn is_to_close(&self) -> bool {
        self.close.load(Ordering::Acquire)
    }

    /// Whom to wake from now on. One who begins to wait looks once before it does.
    pub(crate) fn wakes(&self, wake: Option<Wake>) {
        *self.wake.lock().unwrap_or_else(PoisonError::into_inner) = wake;
    }

    /// Which thread drives, if any does.
    pub(crate) fn is_driven_by(&self, thread: Option<ThreadId>) {
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = thread;
    }

    /// Whether to wait for the driver would be to wait for oneself.
    pub(crate) fn is_own_thread(&self) -> bool {
        let driver = *self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        driver == Some(thread::current().id())
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("rung", &self.rung).finish_non_exhaustive()
    }
}

/// The side of those who ring: what is dropped last of them rings once more.
#[derive(Debug)]
pub(crate) struct RingOnDrop(pub(crate) Arc<Bell>);

impl Drop for RingOnDrop {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// The side of the one who is woken: when it is dropped there is nobody to wake.
#[derive(Debug)]
pub(crate) struct Hearing(pub(crate) Arc<Bell>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.wakes(None);
        self.0.is_driven_by(None);
    }
}
