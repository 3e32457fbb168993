//! Digests stand in logs: what they are of known bytes is part of the format.

use super::*;

fn samples(samples: &[i16]) -> Digest {
    let mut digest = Digest::START;
    digest.fold_samples(samples);
    digest
}

#[test]
fn each_sample_counts_wherever_it_stands() {
    let plain = [1, -2, 3, -4, 5, -6, 7, -8, 9];
    for place in 0..plain.len() {
        let mut other = plain;
        other[place] ^= 1;
        assert_ne!(samples(&other), samples(&plain), "{place}");
        assert_ne!(samples(&other).short(), samples(&plain).short(), "{place}");
    }
}

#[test]
fn digests_of_known_input_are_those_of_version_1() {
    let mut digest = Digest::START;
    digest.fold(b"smallrtc writes a log");
    assert_eq!(digest.value(), 0xf795_abf2_43d8_2a28);
    assert_eq!(digest.short(), 0x43d8_2a28);
    assert_eq!(samples(&[1, -2, 3, -4, 5]).value(), 0x5fe0_98bc_d592_ec16);
}
