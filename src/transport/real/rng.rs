//! The engine's randomness, taken from the session's seed.
//!
//! The engine draws ids, SSRCs and transaction ids from the thread-local generator of `fastrand`.
//! Around every call the session's own generator stands in its place, so that sessions on one
//! thread do not disturb each other and one seed gives one run.

/// The state of a session's generator while it is not in place.
#[derive(Clone, Debug)]
pub(super) struct SessionRng(u64);

/// While it lives, the session's generator is the thread's. Dropped by unwinding too.
#[must_use]
pub(super) struct Entered<'a> {
    session: &'a mut SessionRng,
    outer: u64,
}

impl SessionRng {
    pub(super) fn new(seed: u64) -> SessionRng {
        SessionRng(seed)
    }

    pub(super) fn enter(&mut self) -> Entered<'_> {
        let outer = fastrand::get_seed();
        fastrand::seed(self.0);
        Entered { session: self, outer }
    }
}

impl Entered<'_> {
    /// A number that may be seen on the wire.
    #[expect(clippy::disallowed_methods, reason = "the session's generator is in place here")]
    pub(super) fn draw(&self) -> u64 {
        fastrand::u64(..)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.session.0 = fastrand::get_seed();
        fastrand::seed(self.outer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_generator_comes_back_after_a_call_and_after_a_panic() {
        fastrand::seed(42);
        let before = fastrand::get_seed();
        let mut rng = SessionRng::new(7);
        let first = rng.enter().draw();
        assert_eq!(fastrand::get_seed(), before);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let entered = rng.enter();
            let second = entered.draw();
            std::panic::resume_unwind(Box::new(second));
        }));
        assert_eq!(fastrand::get_seed(), before);
        let second = *panicked.unwrap_err().downcast::<u64>().unwrap();
        assert_ne!(first, second, "the session's generator moves on, panic or not");
    }

    #[test]
    fn two_sessions_on_a_thread_do_not_disturb_each_other() {
        let mut alone = SessionRng::new(1);
        let first = alone.enter().draw();
        let expected = [first, alone.enter().draw()];
        let (mut one, mut other) = (SessionRng::new(1), SessionRng::new(2));
        let first = one.enter().draw();
        let _ = other.enter().draw();
        assert_eq!([first, one.enter().draw()], expected);
    }
}
