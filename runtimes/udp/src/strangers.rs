//! Destinations that were never heard from, and how much is sent to them.
//!
//! A socket has one send buffer for all destinations. What goes to a neighbour on the link whose
//! hardware address nobody tells stays in it until Linux gives the neighbour up, for three seconds.
//! Offers full of such candidates would fill it with connectivity checks, and every call of the
//! socket would fall silent. So checks that nobody has answered share a budget, and what is beyond
//! it is lost. That costs a caller nothing whose own checks come in, because they make it known.
//! Behind a NAT that lets in only who was sent to first, many calls that begin in the same second
//! begin later.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | datagrams at once to those never heard from | [`STRANGERS_BURST`] | the newest is lost |
//! | one more of them | every [`STRANGERS_INTERVAL`] | as above |
//! | addresses heard from | [`HEARD_MAX`], twice | the longest unheard are strangers again |

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Datagrams to strangers at once: the first checks of some thirty calls that begin together.
pub const STRANGERS_BURST: u32 = 128;

/// How often one more may be sent. With the burst these are 248 in the three seconds after which
/// Linux gives a neighbour up: as checks, less than half of the buffer that it gives by default
/// (768 bytes each, of 416 KiB).
pub const STRANGERS_INTERVAL: Duration = Duration::from_millis(25);

/// Addresses of one generation. The last two generations are known, and whoever is heard is of the
/// newest, as is who was heard once and is sent to since: an address is forgotten when as many
/// others were heard after both. More than a socket has callers, and a megabyte at most.
pub const HEARD_MAX: usize = 8192;

/// Who was heard, and the budget for the others.
#[derive(Debug)]
pub(crate) struct Strangers {
    heard: [HashSet<SocketAddr>; 2],
    left: u32,
    /// Since when `left` was not added to.
    since: Option<Instant>,
    refused: u64,
}

impl Strangers {
    pub(crate) fn new() -> Strangers {
        Strangers { heard: Default::default(), left: STRANGERS_BURST, since: None, refused: 0 }
    }

    /// A datagram came from there.
    pub(crate) fn hear(&mut self, source: SocketAddr) {
        let [newest, older] = &mut self.heard;
        if newest.contains(&source) {
            return;
        }
        if newest.len() >= HEARD_MAX {
            std::mem::swap(newest, older);
            newest.clear();
        }
        newest.insert(source);
    }

    /// Whether a datagram may be sent there.
    pub(crate) fn admit(&mut self, destination: SocketAddr, now: Instant) -> bool {
        let [newest, older] = &self.heard;
        if newest.contains(&destination) {
            return true;
        }
        if older.contains(&destination) {
            // Whoever sends from many ports would make strangers of callers that are spoken to and
            // say little, sooner than they say it.
            self.hear(destination);
            return true;
        }
        self.refill(now);
        if self.left == 0 {
            self.refused += 1;
            return false;
        }
        self.left -= 1;
        true
    }

    /// How many datagrams were lost to the budget.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_nanos();
        let more = passed / STRANGERS_INTERVAL.as_nanos();
        let more = u32::try_from(more).unwrap_or(STRANGERS_BURST).min(STRANGERS_BURST);
        self.left = (self.left + more).min(STRANGERS_BURST);
        // What is left of an interval counts for the next one, but a full budget saves nothing.
        self.since = Some(if self.left == STRANGERS_BURST {
            now.max(since)
        } else {
            since + STRANGERS_INTERVAL * more
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> SocketAddr {
        let [.., a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
        ([10, a, b, c], 9).into()
    }

    /// How many of so many datagrams may be sent to strangers.
    fn admitted(strangers: &mut Strangers, datagrams: usize, now: Instant) -> usize {
        (0..datagrams).filter(|_| strangers.admit(address(0), now)).count()
    }

    #[test]
    fn strangers_get_a_burst_and_one_past_it_is_lost_and_counted() {
        let (mut strangers, now) = (Strangers::new(), Instant::now());
        let burst = STRANGERS_BURST as usize;
        assert_eq!(admitted(&mut strangers, burst, now), burst);
        assert_eq!(strangers.refused(), 0);
        assert_eq!(admitted(&mut strangers, 1, now), 0);
        assert_eq!(strangers.refused(), 1);
    }

    #[test]
    fn the_budget_grows_by_one_an_interval_and_never_beyond_the_burst() {
        let (mut strangers, start) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, start);
        let just_before = STRANGERS_INTERVAL - Duration::from_nanos(1);
        assert_eq!(admitted(&mut strangers, 9, start + just_before), 0);
        assert_eq!(admitted(&mut strangers, 9, start + STRANGERS_INTERVAL), 1);
        let half = STRANGERS_INTERVAL / 2;
        assert_eq!(admitted(&mut strangers, 9, start + STRANGERS_INTERVAL * 2 + half), 1);
        assert_eq!(admitted(&mut strangers, 9, start + STRANGERS_INTERVAL * 3), 1, "halves count");
        let much_later = start + Duration::from_secs(1_000_000_000);
        assert_eq!(admitted(&mut strangers, 1000, much_later), STRANGERS_BURST as usize);
    }

    #[test]
    fn an_older_now_takes_nothing_away() {
        let (mut strangers, start) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, start + STRANGERS_INTERVAL);
        assert_eq!(admitted(&mut strangers, 9, start), 0);
        assert_eq!(admitted(&mut strangers, 9, start + STRANGERS_INTERVAL * 2), 1);
    }

    #[test]
    fn whoever_was_heard_is_no_stranger() {
        let (mut strangers, now) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, now);
        strangers.hear(address(7));
        assert!((0..10_000).all(|_| strangers.admit(address(7), now)));
        assert!(!strangers.admit(address(8), now));
    }

    #[test]
    fn an_address_is_known_until_as_many_others_were_heard_twice() {
        let (mut strangers, now) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, now);
        strangers.hear(address(1));
        for number in 2..=2 * HEARD_MAX {
            strangers.hear(address(number));
        }
        assert!(strangers.heard[1].contains(&address(1)));
        strangers.hear(address(2 * HEARD_MAX + 1));
        assert!(!strangers.admit(address(1), now));
        assert!(strangers.admit(address(HEARD_MAX + 1), now));
        assert!(strangers.heard.iter().all(|generation| generation.len() <= HEARD_MAX));
    }

    #[test]
    fn whoever_is_spoken_to_stays_known_while_others_are_heard() {
        let (mut strangers, now) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, now);
        strangers.hear(address(1));
        for number in 2..5 * HEARD_MAX {
            strangers.hear(address(number));
            if number % HEARD_MAX == 0 {
                assert!(strangers.admit(address(1), now), "{number}");
            }
        }
        assert!(strangers.heard.iter().all(|generation| generation.len() <= HEARD_MAX));
    }

    #[test]
    fn whoever_goes_on_talking_stays_known() {
        let (mut strangers, now) = (Strangers::new(), Instant::now());
        admitted(&mut strangers, 1000, now);
        for number in 2..5 * HEARD_MAX {
            strangers.hear(address(1));
            strangers.hear(address(number));
        }
        assert!(strangers.admit(address(1), now));
    }
}
