//! What befell a call, and which endings that explains.
//!
//! | ending | what explains it |
//! | --- | --- |
//! | `HungUp` | the page hung up, at most [`TOLD_WITHIN`] before |
//! | `Application` | the bot closed the call, at most [`CLOSED_WITHIN`] before |
//! | `Lost` | of the [`SILENCE`] before it, all but [`LULL`] were dark |
//! | `NeverConnected` | never connected, and of the [`CHECKS`] before it all but [`LULL`], or half of the [`CONNECTING`], were dark |
//! | `ApplicationTooSlow` | the bot took no events for a while |
//! | `PeerLeft`, `Replaced`, `Internal` | nothing: no page of a simulation does that |
//!
//! It is dark while a black-out lasts, while links are cut, and from the time on at which the page
//! vanished, hung up, moved with an offer that was refused, or gave up its handshake. That needs an
//! excuse too: of the [`HANDSHAKE`] before it, [`DARK_HANDSHAKE`] were dark. A stall of the driver
//! is not dark: a session that wakes finds what came meanwhile. It reckons with the timeouts that
//! a configuration has by default.

use std::time::Duration;

use smallrtc::CloseReason;

/// Until a session without a sign of life is lost: 5 s and 15 s (`Config::liveness_timeout`,
/// `Config::disconnected_timeout`).
const SILENCE: Duration = Duration::from_secs(20);

/// How much of that may have been light: a page says something each second, its word and the next
/// one may be lost, and after a black-out the first packets are.
const LULL: Duration = Duration::from_secs(5);

/// Until a session whose page does not check is given up (`Config::ice_timeout`).
const CHECKS: Duration = Duration::from_secs(15);

/// Until a session that does not connect is given up (`Config::connecting_timeout`).
const CONNECTING: Duration = Duration::from_secs(60);

/// Until the page's engine gives its DTLS handshake up (`dimpl::Config::handshake_timeout`).
const HANDSHAKE: Duration = Duration::from_secs(30);

/// How much of that is dark when a handshake fails: repetitions come after 1, 2, 4 and 8 s, and the
/// network loses one of them in twenty beside.
const DARK_HANDSHAKE: Duration = Duration::from_secs(3);

/// A goodbye takes as long as a packet, and may wait for a driver that is stopped: for 8 s.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// `Config::linger`, 2 s, and a driver that is stopped for 8 s.
const CLOSED_WITHIN: Duration = Duration::from_secs(11);

/// What befell a call; times are since the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    called: Duration,
    /// When nothing of the page's could reach the bot.
    dark: Vec<(Duration, Duration)>,
    /// From then on nothing could, whatever heals.
    gone: Option<Duration>,
    hung_up: Option<Duration>,
    closed: Option<Duration>,
    /// A bot that was seated may have closed the call when it liked.
    pub(crate) has_bot: bool,
    /// The bot took no events for a while.
    pub(crate) was_deaf: bool,
}

impl Fate {
    /// A call that is made at this time.
    pub(crate) fn new(called: Duration) -> Fate {
        Fate { called, ..Fate::default() }
    }

    /// Nothing of the page's reaches the bot.
    pub(crate) fn darkens(&mut self, from: Duration, until: Duration) {
        self.dark.push((from, until));
    }

    /// From now on nothing does, until the links heal.
    pub(crate) fn is_cut(&mut self, at: Duration) {
        self.darkens(at, Duration::MAX);
    }

    /// The page is gone, or where nobody looks for it.
    pub(crate) fn goes(&mut self, at: Duration) {
        self.gone.get_or_insert(at);
    }

    /// The page's engine gives the call up, which the bot is not told.
    ///
    /// # Panics
    /// When it was not dark for so long that a handshake fails.
    pub(crate) fn fails(&mut self, at: Duration) {
        let dark = self.darkness_before(at, HANDSHAKE);
        assert!(dark >= DARK_HANDSHAKE, "a page fails at {at:?} without an excuse: {self:?}");
        self.gone = Some(self.gone.map_or(at, |gone| gone.min(at)));
    }

    /// The links carry again.
    pub(crate) fn heals(&mut self, at: Duration) {
        self.dark.iter_mut().for_each(|(_, until)| *until = (*until).min(at));
    }

    /// The page hangs up.
    pub(crate) fn hangs_up(&mut self, at: Duration) {
        self.hung_up.get_or_insert(at);
        self.goes(at);
    }

    /// The bot closes the call.
    pub(crate) fn closes(&mut self, at: Duration) {
        self.closed.get_or_insert(at);
    }

    /// The call ended at this time.
    ///
    /// # Panics
    /// When nothing that befell it explains why.
    pub(crate) fn assert_explains(&self, at: Duration, reason: CloseReason, was_connected: bool) {
        let within = |since: Option<Duration>, limit: Duration| {
            since.is_some_and(|since| since <= at && at - since <= limit)
        };
        let is_explained = match reason {
            CloseReason::HungUp => within(self.hung_up, TOLD_WITHIN),
            CloseReason::Application => self.has_bot || within(self.closed, CLOSED_WITHIN),
            CloseReason::Lost => self.darkness_before(at, SILENCE) + LULL >= SILENCE,
            CloseReason::NeverConnected => {
                let lasted = at.saturating_sub(self.called);
                let unheard = self.darkness_before(at, CHECKS) + LULL >= CHECKS;
                let dark = self.darkness_before(at, CONNECTING);
                let late = lasted >= CONNECTING && dark * 2 >= CONNECTING;
                !was_connected && (late || lasted >= CHECKS && unheard)
            }
            CloseReason::ApplicationTooSlow => self.was_deaf,
            _ => false,
        };
        assert!(is_explained, "{reason:?} at {at:?}, and nothing explains it: {self:?}");
    }

    /// How much of the time before was dark.
    fn darkness_before(&self, at: Duration, span: Duration) -> Duration {
        let mut dark = self.dark.clone();
        dark.extend(self.gone.map(|gone| (gone, Duration::MAX)));
        dark.sort_unstable();
        let (mut sum, mut seen) = (Duration::ZERO, at.saturating_sub(span));
        for (from, until) in dark {
            let (from, until) = (from.max(seen), until.min(at));
            if from < until {
                sum += until - from;
                seen = until;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Whether what `befalls` a call of the tenth second explains an ending in the hundredth.
    fn explains(befalls: impl FnOnce(&mut Fate), reason: CloseReason) -> bool {
        let mut fate = Fate::new(seconds(10));
        befalls(&mut fate);
        let told = std::panic::catch_unwind(|| fate.assert_explains(seconds(100), reason, false));
        told.is_ok()
    }

    const REASONS: [CloseReason; 8] = [
        CloseReason::HungUp,
        CloseReason::PeerLeft,
        CloseReason::Lost,
        CloseReason::NeverConnected,
        CloseReason::Application,
        CloseReason::Replaced,
        CloseReason::ApplicationTooSlow,
        CloseReason::Internal,
    ];

    #[track_caller]
    fn assert_explains_only(befalls: impl Fn(&mut Fate), reasons: &[CloseReason]) {
        for reason in REASONS {
            assert_eq!(explains(&befalls, reason), reasons.contains(&reason), "{reason:?}");
        }
    }

    #[test]
    fn a_call_that_nothing_befalls_ends_for_no_reason() {
        assert_explains_only(|_| {}, &[]);
    }

    #[test]
    fn each_act_explains_its_own_ending_and_no_other() {
        use CloseReason::{Application, ApplicationTooSlow, HungUp, Lost, NeverConnected};
        assert_explains_only(|fate| fate.hangs_up(seconds(95)), &[HungUp]);
        assert_explains_only(|fate| fate.closes(seconds(95)), &[Application]);
        assert_explains_only(|fate| fate.has_bot = true, &[Application]);
        assert_explains_only(|fate| fate.was_deaf = true, &[ApplicationTooSlow]);
        assert_explains_only(|fate| fate.is_cut(seconds(80)), &[Lost, NeverConnected]);
        assert_explains_only(|fate| fate.is_cut(seconds(40)), &[Lost, NeverConnected]);
        let dark_once = |fate: &mut Fate| fate.darkens(seconds(45), seconds(76));
        assert_explains_only(dark_once, &[NeverConnected]);
    }

    #[test]
    fn a_page_that_fails_after_three_dark_seconds_is_gone_and_one_that_had_less_has_no_excuse() {
        let fails = |dark: u64| {
            move |fate: &mut Fate| {
                fate.darkens(seconds(60), seconds(60 + dark));
                fate.fails(seconds(80));
                fate.goes(seconds(98));
            }
        };
        assert!(explains(fails(3), CloseReason::Lost));
        assert!(!explains(fails(3), CloseReason::HungUp));
        let told = std::panic::catch_unwind(|| fails(2)(&mut Fate::new(seconds(10))));
        assert!(told.is_err());
    }

    #[test]
    fn a_hang_up_and_a_close_explain_no_ending_long_after_or_before_them() {
        use CloseReason::{Application, HungUp};
        assert!(!explains(|fate| fate.hangs_up(seconds(89)), HungUp));
        assert!(!explains(|fate| fate.hangs_up(seconds(101)), HungUp));
        assert!(!explains(|fate| fate.closes(seconds(88)), Application));
        assert!(!explains(|fate| fate.closes(seconds(101)), Application));
    }

    #[test]
    fn fifteen_dark_seconds_of_twenty_lose_a_call_and_one_less_does_not() {
        use CloseReason::Lost;
        assert!(explains(|fate| fate.darkens(seconds(83), seconds(98)), Lost));
        assert!(!explains(|fate| fate.darkens(seconds(83), seconds(97)), Lost));
        // What is dark twice is no longer dark, and what was dark before does not count.
        let twice = |fate: &mut Fate| {
            fate.darkens(seconds(84), seconds(94));
            fate.darkens(seconds(88), seconds(98));
            fate.darkens(seconds(11), seconds(79));
        };
        assert!(!explains(twice, Lost));
        let healed = |fate: &mut Fate| {
            fate.is_cut(seconds(80));
            fate.heals(seconds(94));
        };
        assert!(!explains(healed, Lost));
        let gone = |fate: &mut Fate| {
            fate.goes(seconds(80));
            fate.heals(seconds(94));
        };
        assert!(explains(gone, Lost));
    }

    #[test]
    fn a_call_is_never_connected_only_if_it_had_its_time_and_was_not_connected() {
        let mut fate = Fate::new(seconds(10));
        fate.is_cut(seconds(10));
        let ends = |at: u64, was_connected| {
            let reason = CloseReason::NeverConnected;
            let ends = || fate.assert_explains(seconds(at), reason, was_connected);
            std::panic::catch_unwind(ends).is_ok()
        };
        assert!(ends(25, false) && !ends(24, false) && !ends(25, true));
        // Checks that come and come to nothing take a minute, of which half is dark at least.
        let mut fate = Fate::new(seconds(10));
        fate.darkens(seconds(20), seconds(50));
        let ends = |at: u64| {
            let reason = CloseReason::NeverConnected;
            std::panic::catch_unwind(|| fate.assert_explains(seconds(at), reason, false)).is_ok()
        };
        assert!(ends(70) && !ends(69));
    }
}
