//! Ctrl-C, and a kill that asks: what no loop of the standard library can wait for.

use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};

/// Calls `then`, on a thread of its own, when the program is asked to end from now on.
pub(crate) fn on_interrupt(then: impl FnOnce() + Send + 'static) {
    // Windows knows Ctrl-C alone. Where there is neither, the system ends the program.
    let both = Signals::new([Signal::Int, Signal::Term]);
    let Ok(mut signals) = both.or_else(|_| Signals::new([Signal::Int])) else { return };
    std::thread::spawn(move || {
        if future::block_on(signals.next()).is_some() {
            then();
        }
    });
}
