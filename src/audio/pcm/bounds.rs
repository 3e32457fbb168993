//! The queue at its limits, in stereo and behind pauses.

use super::*;

#[test]
fn a_pause_gives_room_until_all_of_it_was_read_and_not_longer() {
    let mut pcm = Pcm::new(8_000, 1);
    pcm.push_silence(16_000);
    pcm.push(&[1; 7_000], AudioOrigin::Decoded);
    assert_eq!(pcm.read(&mut [0; 100]).map(|info| info.samples), Some(100));
    pcm.push_silence(1);
    assert_eq!(pcm.dropped(), 0, "most of the pause still waits");

    let mut out = [0; 32_000];
    while pcm.read(&mut out).is_some() {}
    for _ in 0..81 {
        pcm.push_silence(100);
    }
    assert_eq!(pcm.dropped(), 0, "a second, and the longest pause of these");
    pcm.push_silence(100);
    assert_eq!(pcm.dropped(), 100);
}

#[test]
fn a_second_of_stereo_is_kept_and_the_oldest_pair_goes_for_one_more() {
    let mut pcm = Pcm::new(8_000, 2);
    let sound: Vec<i16> = (0..16_000).map(|at| at % 1_000).collect();
    pcm.push(&sound, AudioOrigin::Decoded);
    assert_eq!(pcm.dropped(), 0);
    pcm.push(&[7, 8], AudioOrigin::Decoded);
    assert_eq!(pcm.dropped(), 1);
    let mut out = vec![0; 20_000];
    let info = pcm.read(&mut out).unwrap();
    assert_eq!((info.samples, info.time), (8_000, Duration::from_micros(125)));
    assert_eq!(out[..15_998], sound[2..]);
    assert_eq!(out[15_998..16_000], [7, 8]);
    assert!(pcm.is_empty());
}
