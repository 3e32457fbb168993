//! One endpoint on each of several threads: their number, places, seeds and ports.
//!
//! What drivers of both kinds must agree on, so that a node looks the same under either. Nothing
//! here opens a socket or starts a thread.

use std::io;
use std::net::SocketAddr;

use smallrtc::{Config, Seed, Ufrag};

/// The most shards of one driver. 256: more cores than machines have that carry calls. Each shard
/// costs a thread, and for each address a port and 2 MiB of the kernel's buffers.
pub const SHARDS_MAX: u16 = 256;

/// The settings of each shard: those given, at places that follow each other from the given one on
/// (`Config::place`).
///
/// # Errors
/// `InvalidInput`: no shards, more than [`SHARDS_MAX`], or places past the last one.
pub fn shard_configs(config: &Config, shards: u16) -> io::Result<Vec<Config>> {
    if !(1..=SHARDS_MAX).contains(&shards) {
        return Err(invalid(format!("shards: {shards} (expected 1 to {SHARDS_MAX})")));
    }
    let first = config.shard();
    let past_the_last = || {
        let last = Ufrag::NODES - 1;
        invalid(format!("shards: {shards} from place {first} on (expected none past {last})"))
    };
    let place = |index: u16| {
        let shard = first.checked_add(index).ok_or_else(past_the_last)?;
        config.clone().place(config.node(), shard).map_err(|_| past_the_last())
    };
    (0..shards).map(place).collect()
}

/// A seed for each shard. One alone takes the given seed; of several, each one's is the same
/// however many follow.
#[must_use]
pub fn shard_seeds(seed: &Seed, shards: u16) -> Vec<Seed> {
    if shards == 1 {
        return vec![seed.clone()];
    }
    let mut rest = seed.clone();
    let draw = |_| {
        let (own, others) = rest.split();
        rest = others;
        own
    };
    (0..shards).map(draw).collect()
}

/// The address of one of several shards: the ports follow each other from the given one on. Port 0
/// stays 0, so that each shard takes a free one.
///
/// # Errors
/// `InvalidInput`: the last shard would have a port past 65535.
pub fn shard_address(address: SocketAddr, index: u16, shards: u16) -> io::Result<SocketAddr> {
    if address.port() == 0 {
        return Ok(address);
    }
    let last = u32::from(address.port()) + u32::from(shards.saturating_sub(1).max(index));
    if last > u32::from(u16::MAX) {
        let text = format!("udp {address}: {shards} shards take ports up to {last}");
        return Err(invalid(format!("{text} (expected at most {})", u16::MAX)));
    }
    Ok(SocketAddr::new(address.ip(), address.port() + index))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn shards_follow_each_other_from_the_place_of_the_settings() {
        let places = |config: &Config, shards| {
            let configs = shard_configs(config, shards);
            configs.map(|all| all.iter().map(|one| (one.node(), one.shard())).collect::<Vec<_>>())
        };
        assert_eq!(places(&Config::new(), 2).unwrap(), [(0, 0), (0, 1)]);
        let elsewhere = Config::new().place(7, 4094).unwrap();
        assert_eq!(places(&elsewhere, 2).unwrap(), [(7, 4094), (7, 4095)]);
        let error = places(&elsewhere, 3).unwrap_err();
        assert_eq!(error.to_string(), "shards: 3 from place 4094 on (expected none past 4095)");
    }

    #[test]
    fn as_many_shards_as_allowed_are_made_and_one_more_or_none_is_an_error() {
        assert_eq!(shard_configs(&Config::new(), SHARDS_MAX).unwrap().len(), 256);
        for shards in [0, SHARDS_MAX + 1] {
            let error = shard_configs(&Config::new(), shards).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(error.to_string(), format!("shards: {shards} (expected 1 to 256)"));
        }
    }

    #[test]
    fn each_shard_has_a_seed_of_its_own_that_does_not_depend_on_their_number() {
        let seed = Seed::from_number(5);
        assert_eq!(shard_seeds(&seed, 1), std::slice::from_ref(&seed));
        let three = shard_seeds(&seed, 3);
        assert_eq!(three, shard_seeds(&seed, 3));
        assert_eq!(three[..2], shard_seeds(&seed, 2));
        for (index, own) in three.iter().enumerate() {
            assert!(*own != seed && !three[..index].contains(own), "{index}");
        }
    }

    #[test]
    fn ports_follow_each_other_and_a_free_one_stays_free() {
        let shown = |text, index| shard_address(address(text), index, 3).map(|a| a.to_string());
        assert_eq!(shown("127.0.0.1:7860", 0).unwrap(), "127.0.0.1:7860");
        assert_eq!(shown("[::1]:7860", 2).unwrap(), "[::1]:7862");
        assert_eq!(shown("127.0.0.1:0", 2).unwrap(), "127.0.0.1:0");
    }

    #[test]
    fn ports_up_to_the_last_fit_and_one_more_is_an_error_from_the_first_shard_on() {
        assert_eq!(shard_address(address("127.0.0.1:65534"), 1, 2).unwrap().port(), 65535);
        let error = shard_address(address("127.0.0.1:65534"), 0, 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "udp 127.0.0.1:65534: 3 shards take ports up to 65536 (expected at most 65535)"
        );
        assert!(shard_address(address("127.0.0.1:1"), u16::MAX, 1).is_err());
    }
}
