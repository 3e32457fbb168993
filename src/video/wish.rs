//! The wish for a keyframe: when to ask the peer, and when to ask again.
//!
//! A request (PLI, RFC 4585 section 6.3.1) may be lost like any packet, and so may the keyframe, so
//! a wish lives until a keyframe has come. Asking is not free: each request makes the peer send a
//! picture of many times the usual size, which on a path that is already full is lost again.
//!
//! | | a keyframe is wanted | a picture comes | a keyframe comes |
//! | --- | --- | --- | --- |
//! | no wish | ask | | |
//! | wish, asked lately | | | no wish |
//! | wish, asked [`ASK_AGAIN_AFTER`] and a round trip ago | ask | ask | no wish |
//!
//! It has no timer: while no picture comes there is nothing that a keyframe would mend, and a peer
//! whose camera is off is not asked every moment.

use std::time::{Duration, Instant};

/// How long a peer has, beyond the round trip, to answer with a keyframe. 300 ms: browsers send
/// none sooner after the last one (libwebrtc's least interval of keyframes).
pub(crate) const ASK_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// The round trip while none was measured: a phone on a slow network.
const RTT_UNKNOWN: Duration = Duration::from_millis(200);

/// The wish of one track.
#[derive(Debug, Default)]
pub(crate) struct KeyframeWish {
    is_open: bool,
    asked_at: Option<Instant>,
}

impl KeyframeWish {
    /// A keyframe is wanted. Whether to ask for it now.
    #[must_use]
    pub(crate) fn want(&mut self, rtt: Option<Duration>, now: Instant) -> bool {
        self.is_open = true;
        self.is_due(rtt, now)
    }

    /// A picture came. Whether to ask for a keyframe now.
    #[must_use]
    pub(crate) fn picture(&mut self, keyframe: bool, rtt: Option<Duration>, now: Instant) -> bool {
        self.is_open &= !keyframe;
        self.is_open && self.is_due(rtt, now)
    }

    fn is_due(&mut self, rtt: Option<Duration>, now: Instant) -> bool {
        let wait = ASK_AGAIN_AFTER + rtt.unwrap_or(RTT_UNKNOWN);
        let is_due = self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= wait);
        if is_due {
            self.asked_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
    fn origin() -> Instant {
        Instant::now()
    }

    const RTT: Option<Duration> = Some(Duration::from_millis(40));

    #[test]
    fn a_keyframe_is_asked_for_at_once_and_again_when_it_does_not_come() {
        let (start, mut wish) = (origin(), KeyframeWish::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!wish.picture(false, RTT, at(0)), "nothing is wanted");
        assert!(wish.want(RTT, at(0)));
        let asked: Vec<u64> = (1..1_000).filter(|ms| wish.picture(false, RTT, at(*ms))).collect();
        assert_eq!(asked, [340, 680]);
        assert!(!wish.picture(true, RTT, at(1_020)), "it has come");
        assert!(!wish.picture(false, RTT, at(9_999)));
    }

    #[test]
    fn many_wishes_in_a_row_are_one_request() {
        let (start, mut wish) = (origin(), KeyframeWish::default());
        let at = |ms| start + Duration::from_millis(ms);
        let asked: Vec<u64> = (0..700).filter(|ms| wish.want(RTT, at(*ms))).collect();
        assert_eq!(asked, [0, 340, 680]);
    }

    #[test]
    fn a_wish_right_after_a_keyframe_waits_its_turn_and_is_not_forgotten() {
        let (start, mut wish) = (origin(), KeyframeWish::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert!(wish.want(RTT, at(0)));
        assert!(!wish.picture(true, RTT, at(50)));
        assert!(!wish.want(RTT, at(60)), "asked 60 ms ago");
        assert!(!wish.picture(false, RTT, at(339)));
        assert!(wish.picture(false, RTT, at(340)));
    }

    #[test]
    fn without_a_round_trip_a_slow_one_is_taken() {
        let (start, mut wish) = (origin(), KeyframeWish::default());
        assert!(wish.want(None, start));
        assert!(!wish.want(None, start + Duration::from_millis(499)));
        assert!(wish.want(None, start + Duration::from_millis(500)));
    }
}
