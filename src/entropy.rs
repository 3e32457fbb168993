//! Randomness, all of it from the caller's seed.
//!
//! A seed has two streams that never predict each other: *secret* (ICE passwords, child seeds)
//! and *public* (what can be seen on the wire: labels, ids, the engine's transaction ids). The
//! split is s2n-quic's; a leaked public value tells nothing of a secret one. The public stream has
//! a seed of its own, drawn from the first: with it the log of a call gives what was drawn, and
//! tells nothing of the rest.

use std::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Where all randomness of a session or an endpoint comes from: 32 bytes that nobody can guess.
///
/// In production take them from the operating system (the adapters do). In tests any number
/// serves: the same seed and the same inputs give the same run.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from 32 unguessable bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Seed {
        Seed(bytes)
    }

    /// A seed for tests and simulations: a number is easy to print and to type, and to guess.
    #[must_use]
    pub fn from_number(number: u64) -> Seed {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Seed(bytes)
    }

    /// Two seeds from one, for two parts that each want their own. Neither tells of the other, nor
    /// of this one.
    #[must_use]
    pub fn split(&self) -> (Seed, Seed) {
        let mut entropy = Entropy::new(self);
        (entropy.child(), entropy.child())
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The two streams of a seed.
pub(crate) struct Entropy {
    public_seed: [u8; 32],
    public: ChaCha20Rng,
    secret: ChaCha20Rng,
}

impl Entropy {
    pub(crate) fn new(seed: &Seed) -> Entropy {
        let stream = |number| {
            let mut rng = ChaCha20Rng::from_seed(seed.0);
            rng.set_stream(number);
            rng
        };
        let mut public_seed = [0; 32];
        stream(1).fill_bytes(&mut public_seed);
        let public = ChaCha20Rng::from_seed(public_seed);
        Entropy { public_seed, public, secret: stream(2) }
    }

    /// The public stream again, beside secrets that are none: for a replay, which uses none.
    pub(crate) fn replayed(public_seed: [u8; 32]) -> Entropy {
        let public = ChaCha20Rng::from_seed(public_seed);
        Entropy { public_seed, public, secret: ChaCha20Rng::from_seed([0; 32]) }
    }

    /// What the public stream is drawn from.
    pub(crate) fn public_seed(&self) -> [u8; 32] {
        self.public_seed
    }

    /// A number that may be seen on the wire.
    pub(crate) fn public_u64(&mut self) -> u64 {
        self.public.next_u64()
    }

    /// Fills `bytes` with what nobody may learn.
    pub(crate) fn fill_secret(&mut self, bytes: &mut [u8]) {
        self.secret.fill_bytes(bytes);
    }

    /// A seed for a part of its own.
    pub(crate) fn child(&mut self) -> Seed {
        let mut bytes = [0; 32];
        self.fill_secret(&mut bytes);
        Seed(bytes)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_streams_and_the_streams_differ() {
        let draw = || {
            let mut entropy = Entropy::new(&Seed::from_number(7));
            let mut secret = [0; 8];
            entropy.fill_secret(&mut secret);
            (entropy.public_u64(), u64::from_le_bytes(secret), entropy.child())
        };
        let (public, secret, child) = draw();
        assert_eq!((public, secret, child.clone()), draw());
        assert_ne!(public, secret);
        assert_ne!(child, Seed::from_number(7));
    }

    #[test]
    fn the_public_seed_gives_the_public_stream_and_no_secret() {
        let mut first = Entropy::new(&Seed::from_number(7));
        let mut again = Entropy::replayed(first.public_seed());
        let draw = |entropy: &mut Entropy| (entropy.public_u64(), entropy.public_u64());
        assert_eq!(draw(&mut first), draw(&mut again));
        assert_ne!(first.child(), again.child());
        assert_ne!(Seed::new(first.public_seed()), Seed::from_number(7));
    }

    #[test]
    fn a_split_gives_two_seeds_that_differ_from_each_other_and_from_the_first() {
        let seed = Seed::from_number(7);
        let (one, two) = seed.split();
        assert_ne!(one, two);
        assert_ne!(one, seed);
        assert_eq!((one, two), seed.split());
    }

    #[test]
    fn a_seed_does_not_print_itself() {
        assert_eq!(format!("{:?}", Seed::from_number(77)), "Seed(..)");
        assert_eq!(format!("{:?}", Entropy::new(&Seed::from_number(77))), "Entropy(..)");
    }
}
