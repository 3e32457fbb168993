//! The same rules on real sockets of a loopback address, with the real drivers and clocks.
//!
//! Nothing here is judged by a clock as tight as a machine is that does other things at the same
//! time: rules are stated as orders, counts and media time, and waits end at [`PATIENCE`].
//!
//! What cannot be had here is a socket that is writable again: on loopback a datagram leaves its
//! sender's buffer the moment it is sent, so that no buffer fills, however small. That rule stands
//! in the suite on virtual time, and in smallrtc-udp, whose queue of what waits is tested against a
//! model of the kernel.

mod mio;
mod page;
mod replays;
pub mod rules;
mod smol;

use std::net::SocketAddr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use smallrtc::signaling::Response;
use smallrtc::{Config, SendError, SessionId};

use crate::subject::{Bot, Figures, Report};

pub use mio::MioDriver;
pub use page::Page;
pub use smol::SmolDriver;

/// How long something is waited for that must come: far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a driver on another thread answers, in time: a driver that sleeps for ever fails the test
/// and does not hang it.
pub(crate) fn in_time<R: Remote, T: Send + 'static>(
    what: &str,
    remote: R,
    ask: impl FnOnce(R) -> T + Send + 'static,
) -> T {
    let (answers, answered) = channel();
    thread::spawn(move || {
        // Nobody waits for an answer that is too late.
        let _ = answers.send(ask(remote));
    });
    let answer = answered.recv_timeout(PATIENCE);
    answer.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// A driver that runs on a thread of its own, with the suite's application on that thread.
pub trait Running: Sized {
    /// What other threads have of it.
    type Remote: Remote;

    /// Binds a free port of a loopback address and runs.
    fn start(config: Config, bot: Bot) -> Self;

    /// Where it listens.
    fn address(&self) -> SocketAddr;

    /// For any thread.
    fn remote(&self) -> Self::Remote;

    /// What the application has to tell.
    fn poll_report(&self) -> Option<Report>;

    /// Waits until the driver has ended.
    fn join(self);
}

/// What a thread has of a driver that runs on another. Each method waits until it is done.
pub trait Remote: Clone + Send + 'static {
    /// An HTTP request.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> Response;

    /// Sends a message.
    ///
    /// # Errors
    /// As `Session::send_message`.
    fn send_text(&self, id: SessionId, text: &str) -> Result<(), SendError>;

    /// Queues sound, one channel at [`RATE`](crate::RATE).
    ///
    /// # Errors
    /// As `Session::send_audio`.
    fn send_audio(&self, id: SessionId, samples: &[i16]) -> Result<(), SendError>;

    /// Drops the sound that is queued.
    fn clear(&self, id: SessionId);

    /// Figures; `None` when the driver is gone.
    fn figures(&self) -> Option<Figures>;

    /// Ends every call and the driver.
    fn close(&self);

    /// Has the application block the driver's thread for so long; returns when that has begun.
    fn block(&self, duration: Duration);
}

/// Makes the tests of one driver on real sockets: a module with a test for each rule.
///
/// ```
/// // In a file under `tests/`:
/// smallrtc_conformance::socket_suite!(mio, smallrtc_conformance::sockets::MioDriver);
/// ```
#[macro_export]
macro_rules! socket_suite {
    ($module:ident, $driver:ty) => {
        mod $module {
            $crate::socket_suite! { @tests $driver,
                a_page_hears_and_reads_its_echo
                no_request_of_many_threads_is_lost
                commands_of_many_threads_are_carried_out_in_the_order_of_each
                a_burst_past_the_budget_of_a_turn_is_answered_without_another_wake_up
                a_command_that_moves_the_deadline_nearer_is_served_before_the_old_one
                a_deadline_that_moved_away_leaves_a_driver_that_rests
                a_driver_that_was_stopped_slips_and_tells_how_late_it_was
                closing_tells_the_page_and_ends_the_driver
                a_recorded_call_replays_identical_on_the_bare_loop
            }
        }
    };
    (@tests $driver:ty, $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $crate::sockets::rules::$name::<$driver>();
            }
        )+
    };
}
