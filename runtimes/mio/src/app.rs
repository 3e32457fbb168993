//! The application's side: one object that lives on the driver's thread.

use std::time::Instant;

use smallrtc::signaling::Call;
use smallrtc::{Endpoint, Event, SessionId};

/// A bot, or many of them behind one object: the driver calls it, on its own thread, with the core
/// at hand. Nothing stands between the two, so the core's limits and counters hold as they are.
///
/// What it does must be quick: while it runs, no call is served. A block of sound or a message
/// costs microseconds; whatever takes longer belongs on another thread, which answers through
/// [`Handle::post`](crate::Handle::post).
///
/// ```
/// use smallrtc::{Endpoint, Event, SessionId};
/// use smallrtc_mio::App;
/// use std::time::Instant;
///
/// /// Writes back what it reads.
/// struct Echo;
///
/// impl App for Echo {
///     fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
///         if let (Event::Message(message), Some(mut call)) = (event, core.session(id)) {
///             call.send_message(message, now).ok();
///         }
///     }
/// }
/// ```
pub trait App {
    /// A call was made; its client does not have the answer yet. The app starts the session
    /// ([`Session::start`](smallrtc::Session::start)) when it is ready, here or later; until then
    /// neither `Connected` nor messages are told. By default it is started at once.
    ///
    /// A call that takes the place of another (`Call::replaces`) is told before the other's end.
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        if let Some(mut session) = endpoint.session(call.id) {
            session.start(now);
        }
    }

    /// Something happened in a call. Each event comes here, in order, and
    /// [`Event::Closed`] is the last of its call; the session is gone then.
    ///
    /// The endpoint's polls are the driver's: an event that is polled here is told to nobody.
    fn on_event(&mut self, id: SessionId, event: Event, endpoint: &mut Endpoint, now: Instant);

    /// When [`App::handle_timeout`] is to be called; `None`, the default, is never. Asked for
    /// after everything else was done, so it may change in any call of the app's.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time of [`App::poll_timeout`] has come. It must move on here: a deadline that stays in
    /// the past keeps the driver from ever waiting.
    fn handle_timeout(&mut self, _endpoint: &mut Endpoint, _now: Instant) {}
}

impl<A: App + ?Sized> App for Box<A> {
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        (**self).on_call(call, endpoint, now);
    }

    fn on_event(&mut self, id: SessionId, event: Event, endpoint: &mut Endpoint, now: Instant) {
        (**self).on_event(id, event, endpoint, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn handle_timeout(&mut self, endpoint: &mut Endpoint, now: Instant) {
        (**self).handle_timeout(endpoint, now);
    }
}
