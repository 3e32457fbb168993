//! The application of a simulated call: what a driver would call in production.

use std::fmt;
use std::time::Instant;

use smallrtc::{Endpoint, Event, Session, SessionId};

/// Events that a bot may be told at one instant. A bot that answers each event with something that
/// makes another event never lets time pass.
const EVENTS_MAX: usize = 100_000;

/// What a bot speaks to: a [`Session`] in a [`Pair`](crate::Pair), an [`Endpoint`] in a
/// [`World`](crate::World).
pub trait Core {
    /// What names a call of it: nothing, or a [`SessionId`].
    type Call: Copy + fmt::Debug;
}

impl Core for Session {
    type Call = ();
}

impl Core for Endpoint {
    type Call = SessionId;
}

/// A bot, in the shape in which drivers call it: told each event, with the core at hand.
///
/// It names types of `smallrtc` alone, so what is tested is what runs: the body of an event loop
/// over [`Endpoint`] fits as it is, and an `App` of `smallrtc-mio` by passing its calls on. A
/// closure `FnMut(call, event, &mut core, now)` is a bot as well.
///
/// | in production | in the simulation |
/// | --- | --- |
/// | a loop over one [`Session`] | [`Pair::set_bot`](crate::Pair::set_bot) |
/// | a loop over an [`Endpoint`], or an `App` of mio | [`World::set_bot`](crate::World::set_bot) |
///
/// A bot must take its time from `now` and its chances from a seed, or a run cannot be repeated.
/// Work that another thread does is modelled by the time at which its result is there:
/// [`Bot::poll_timeout`].
///
/// ```
/// use smallrtc::{Event, Session};
/// use smallrtc_sim::{Kind, Pair, Setup};
/// use std::time::{Duration, Instant};
///
/// let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
/// pair.set_bot(|(), event: Event, session: &mut Session, now: Instant| {
///     if let Event::Message(message) = event {
///         session.send_message(message, now).ok();
///     }
/// });
/// pair.connect();
/// let now = pair.now();
/// assert!(pair.browser.send_text("hello", now));
/// pair.drive_for(Duration::from_millis(100));
/// assert!(pair.browser_messages().contains(&"hello".to_owned()));
/// ```
///
/// An `App` of mio is hosted by passing its three calls on. An event loop of your own has the same
/// three places, whatever they are called there: what it does with an event, what it waits for
/// beside the core, and what it does when that is due.
///
/// ```
/// use smallrtc::{Endpoint, Event, Message, SessionId};
/// use smallrtc_mio::App;
/// use smallrtc_sim::{Bot, BrowserEvent, Kind, Setup, World};
/// use std::time::{Duration, Instant};
///
/// /// The application, as it runs in production.
/// struct Greeter;
///
/// impl App for Greeter {
///     fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
///         if let (Event::ChannelOpened { .. }, Some(mut call)) = (event, core.session(id)) {
///             call.send_message(Message::text("welcome"), now).ok();
///         }
///     }
/// }
///
/// struct Hosted<A>(A);
///
/// impl<A: App> Bot<Endpoint> for Hosted<A> {
///     fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
///         self.0.on_event(id, event, core, now);
///     }
///
///     fn poll_timeout(&self) -> Option<Instant> {
///         self.0.poll_timeout()
///     }
///
///     fn handle_timeout(&mut self, core: &mut Endpoint, now: Instant) {
///         self.0.handle_timeout(core, now);
///     }
/// }
///
/// let mut world = World::new(Setup::new(Kind::Scripted, 1));
/// world.set_bot(Hosted(Greeter));
/// let number = world.add_browser(|_| {});
/// world.call(number)?;
/// world.drive_for(Duration::from_secs(2));
/// assert_eq!(world.outcome(number).browser_messages(), ["welcome"]);
/// # Ok::<(), smallrtc::NegotiateError>(())
/// ```
pub trait Bot<C: Core> {
    /// Something happened in a call. [`Event::Closed`] is the last of each; an endpoint has no
    /// such session any more then.
    fn on_event(&mut self, call: C::Call, event: Event, core: &mut C, now: Instant);

    /// When [`Bot::handle_timeout`] is to be called; `None`, the default, is never. Asked for
    /// after everything else was done, so it may change in any call of the bot's.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time of [`Bot::poll_timeout`] has come; it has to move on here.
    fn handle_timeout(&mut self, _core: &mut C, _now: Instant) {}
}

impl<C: Core, F: FnMut(C::Call, Event, &mut C, Instant)> Bot<C> for F {
    fn on_event(&mut self, call: C::Call, event: Event, core: &mut C, now: Instant) {
        self(call, event, core, now);
    }
}

/// Where a bot sits, if there is one.
pub(crate) struct Seat<C: Core> {
    bot: Option<Box<dyn Bot<C>>>,
    told_at: Option<Instant>,
    told: usize,
}

impl<C: Core> Seat<C> {
    pub(crate) fn new() -> Seat<C> {
        Seat { bot: None, told_at: None, told: 0 }
    }

    pub(crate) fn take(&mut self, bot: impl Bot<C> + 'static) {
        self.bot = Some(Box::new(bot));
    }

    pub(crate) fn is_free(&self) -> bool {
        self.bot.is_none()
    }

    /// Tells the bot an event.
    ///
    /// # Panics
    /// When it was told [`EVENTS_MAX`] at this instant.
    pub(crate) fn tell(&mut self, call: C::Call, event: &Event, core: &mut C, now: Instant) {
        let Some(bot) = &mut self.bot else { return };
        if self.told_at != Some(now) {
            (self.told_at, self.told) = (Some(now), 0);
        }
        self.told += 1;
        assert!(self.told <= EVENTS_MAX, "the bot makes events without end, now {event:?}");
        bot.on_event(call, event.clone(), core, now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.bot.as_ref().and_then(|bot| bot.poll_timeout())
    }

    /// Wakes the bot if its time has come.
    ///
    /// # Panics
    /// When it wants to be woken at the same time again: its deadline stays where it is.
    pub(crate) fn wake(&mut self, core: &mut C, now: Instant) {
        let Some(bot) = &mut self.bot else { return };
        let Some(due) = bot.poll_timeout().filter(|due| *due <= now) else { return };
        bot.handle_timeout(core, now);
        assert_ne!(bot.poll_timeout(), Some(due), "the bot's deadline does not move on");
    }
}

impl<C: Core> fmt::Debug for Seat<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.bot.is_some() { "Seat(taken)" } else { "Seat(free)" })
    }
}

#[cfg(test)]
mod tests {
    use smallrtc::{Config, Seed};

    use super::*;
    use crate::start;

    fn told(times: usize) -> usize {
        let mut session = Session::new(Config::new().shared(), Seed::from_number(1), start());
        let told = std::rc::Rc::new(std::cell::Cell::new(0));
        let (mut seat, count) = (Seat::new(), told.clone());
        seat.take(move |(), _: Event, _: &mut Session, _: Instant| count.set(count.get() + 1));
        for _ in 0..times {
            seat.tell((), &Event::MessagesDrained, &mut session, start());
        }
        told.get()
    }

    #[test]
    fn a_bot_is_told_a_hundred_thousand_events_at_one_instant() {
        assert_eq!(told(EVENTS_MAX), EVENTS_MAX);
    }

    #[test]
    #[should_panic(expected = "events without end")]
    fn a_bot_that_is_told_one_more_spins() {
        told(EVENTS_MAX + 1);
    }
}
