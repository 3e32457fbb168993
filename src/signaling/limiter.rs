//! How many requests each client address may make.
//!
//! The generic cell rate algorithm (ITU-T I.371): of each client one instant is kept, when all
//! that it used will be paid back. A request moves it on by the time that one request takes at the
//! allowed rate, and is refused when it would lie further ahead than a burst takes. A client whose
//! instant has passed is as one that was never seen, so it is forgotten.
//!
//! Shards of a node, each on a thread, share one [`Clients`]: a client's limit is one for all of
//! them, wherever its calls are. Their clocks may differ by a turn, and so may the instant at which
//! a client is let in again.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | requests of a client | [`RateLimit`] | 429, an offer 503; counted |
//! | clients that are known | [`CLIENTS_MAX`] | the one that used least goes, counted |

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::RateLimit;

/// Clients that are known at once. 4096: about half a mebibyte; who has more addresses than that is
/// not stopped by counting addresses.
pub const CLIENTS_MAX: usize = 4096;

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Client {
    V4([u8; 4]),
    V6([u16; 4]),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Client {
        match address.to_canonical() {
            IpAddr::V4(address) => Client::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Client::V6([a, b, c, d])
            }
        }
    }
}

/// What each client used.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: RateLimit,
    /// When each client has paid all back.
    paid: BTreeMap<Client, Instant>,
    /// The same, the first to be forgotten first.
    order: BTreeSet<(Instant, Client)>,
    evicted: u64,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Limiter {
        Limiter { limit, paid: BTreeMap::new(), order: BTreeSet::new(), evicted: 0 }
    }

    /// Counts a request; the error is how long until the next one may come.
    pub(super) fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some((burst, per_second)) = self.limit.limit else { return Ok(()) };
        let each = Duration::from_secs(1) / per_second.get();
        let room = each * (burst.get() - 1);
        self.forget_paid(now);
        let client = Client::from(address);
        let paid = self.paid.get(&client).map_or(now, |paid| now.max(*paid));
        let ahead = paid.saturating_duration_since(now);
        if let Some(early) = ahead.checked_sub(room).filter(|early| !early.is_zero()) {
            return Err(early);
        }
        self.forget(client);
        if self.paid.len() >= CLIENTS_MAX
            && let Some((_, least)) = self.order.first().copied()
        {
            self.evicted += 1;
            self.forget(least);
        }
        self.paid.insert(client, paid + each);
        self.order.insert((paid + each, client));
        Ok(())
    }

    /// Clients that are known.
    pub(super) fn len(&self) -> usize {
        self.paid.len()
    }

    /// Clients that made room for others.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn forget_paid(&mut self, now: Instant) {
        while let Some((paid, client)) = self.order.first().copied() {
            if paid > now {
                return;
            }
            self.forget(client);
        }
    }

    fn forget(&mut self, client: Client) {
        if let Some(paid) = self.paid.remove(&client) {
            self.order.remove(&(paid, client));
        }
    }
}

/// What each client used of a node: of one shard that is alone, or of all that share it.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    limiter: Arc<Mutex<Limiter>>,
    /// Another one tells of the figures.
    is_guest: bool,
}

impl Clients {
    pub(super) fn new(limit: RateLimit) -> Clients {
        Clients { limiter: Arc::new(Mutex::new(Limiter::new(limit))), is_guest: false }
    }

    /// The same clients, for a shard beside the one that tells of them.
    pub(super) fn share(&self) -> Clients {
        Clients { limiter: Arc::clone(&self.limiter), is_guest: true }
    }

    /// Takes another limit, for all that share it, and forgets what was used.
    pub(super) fn set_limit(&self, limit: RateLimit) {
        let mut limiter = self.limiter();
        if limiter.limit != limit {
            *limiter = Limiter::new(limit);
        }
    }

    /// Counts a request; the error is how long until the next one may come.
    pub(super) fn admit(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.limiter().admit(address, now)
    }

    /// Clients that are known, and those that made room for others: told by one shard alone.
    pub(super) fn known_and_evicted(&self) -> (u64, u64) {
        if self.is_guest {
            return (0, 0);
        }
        let limiter = self.limiter();
        (limiter.len() as u64, limiter.evicted())
    }

    /// A shard that panicked here left nothing half done that matters: at worst a client is counted
    /// once too little.
    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "an instant can come from nowhere else")]
    fn start() -> Instant {
        Instant::now()
    }

    fn limiter(burst: u32, per_second: u32) -> Limiter {
        let number = |number| NonZeroU32::new(number).unwrap();
        Limiter::new(RateLimit::new(number(burst), number(per_second)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many of so many requests at one moment are admitted.
    fn admitted(limiter: &mut Limiter, address: IpAddr, requests: usize, now: Instant) -> usize {
        (0..requests).filter(|_| limiter.admit(address, now).is_ok()).count()
    }

    #[test]
    fn a_burst_is_admitted_and_one_more_is_not_until_its_time_has_come() {
        let (mut limiter, now, client) = (limiter(5, 2), start(), ip("192.0.2.1"));
        assert_eq!(admitted(&mut limiter, client, 5, now), 5);
        assert_eq!(limiter.admit(client, now), Err(SECOND / 2));
        assert_eq!(limiter.admit(client, now + SECOND / 4), Err(SECOND / 4));
        assert_eq!(limiter.admit(client, now + SECOND / 2), Ok(()));
        assert_eq!(limiter.admit(client, now + SECOND / 2), Err(SECOND / 2));
    }

    #[test]
    fn for_long_a_client_has_its_rate_and_no_more() {
        let (mut limiter, now, client) = (limiter(10, 4), start(), ip("192.0.2.1"));
        let all: usize = (0..60_000)
            .step_by(20)
            .map(|ms| admitted(&mut limiter, client, 1, now + Duration::from_millis(ms)))
            .sum();
        assert_eq!(all, 10 + 60 * 4 - 1, "the burst, then four a second up to 59.98 s");
    }

    #[test]
    fn clients_do_not_count_for_each_other_but_neighbours_in_a_64_do() {
        let (mut limiter, now) = (limiter(1, 1), start());
        for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"] {
            assert_eq!(admitted(&mut limiter, ip(client), 2, now), 1, "{client}");
        }
        for same in ["2001:db8::ffff:2", "::ffff:192.0.2.1"] {
            assert_eq!(admitted(&mut limiter, ip(same), 1, now), 0, "{same}");
        }
    }

    #[test]
    fn clients_that_have_paid_are_forgotten_and_at_the_limit_the_least_goes() {
        let (mut limiter, now) = (limiter(4, 1), start());
        let client = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let heavy = client(0);
        assert_eq!(admitted(&mut limiter, heavy, 4, now), 4);
        for n in 1..CLIENTS_MAX {
            assert_eq!(limiter.admit(client(n), now), Ok(()));
        }
        assert_eq!((limiter.len(), limiter.evicted()), (CLIENTS_MAX, 0));
        assert_eq!(limiter.admit(client(CLIENTS_MAX), now), Ok(()));
        assert_eq!((limiter.len(), limiter.evicted()), (CLIENTS_MAX, 1));
        assert!(limiter.admit(heavy, now).is_err(), "who used most is not forgotten");
        assert_eq!(limiter.admit(heavy, now + SECOND), Ok(()));
        assert_eq!((limiter.len(), limiter.order.len()), (1, 1), "the others have paid");
    }

    #[test]
    fn shards_that_share_their_clients_let_through_what_one_does_and_one_of_them_tells() {
        let limit = limiter(5, 2).limit;
        let (first, now, client) = (Clients::new(RateLimit::OFF), start(), ip("192.0.2.1"));
        let shards = [first.share(), first.share(), first];
        // Each is told the same, one after the other, and what was counted stays.
        shards[0].set_limit(limit);
        assert_eq!(shards[0].admit(client, now), Ok(()));
        shards.iter().for_each(|shard| shard.set_limit(limit));
        let admitted = (0..12).filter(|turn| shards[turn % 3].admit(client, now).is_ok());
        assert_eq!(admitted.count(), 4);
        assert_eq!(shards[1].admit(client, now), Err(SECOND / 2));
        let told = shards.each_ref().map(|shard| shard.known_and_evicted());
        assert_eq!(told, [(0, 0), (0, 0), (1, 0)]);
        shards[2].set_limit(RateLimit::OFF);
        assert_eq!(shards[1].admit(client, now), Ok(()));
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let (mut limiter, now) = (Limiter::new(RateLimit::OFF), start());
        assert_eq!(admitted(&mut limiter, ip("192.0.2.1"), 10_000, now), 10_000);
        assert_eq!(limiter.len(), 0);
    }
}
