//! The queue at its limits, in stereo and behind pauses.

use super::*;

#[test]
fn a_pause_gives_room_until_all_of_it_was_read_and_not_longer() {
    let mut pcm = Pcm::new(8_000, 1, FrameTime::AsItComes);
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
    let mut pcm = Pcm::new(8_000, 2, FrameTime::AsItComes);
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

/// What was read, as samples and the origin of each block.
fn frames(pcm: &mut Pcm, room: usize) -> Vec<(usize, AudioOrigin, Duration)> {
    let mut out = vec![0; room];
    let mut all = Vec::new();
    while let Some(info) = pcm.read(&mut out) {
        all.push((info.samples, info.origin, info.time));
    }
    all
}

#[test]
fn a_frame_is_given_when_its_last_sample_is_there_and_not_before() {
    for (time, rate, expected) in [
        (FrameTime::Ms10, 8_000, 80),
        (FrameTime::Ms20, 8_000, 160),
        (FrameTime::Ms10, 44_100, 441),
        (FrameTime::Ms20, 44_100, 882),
        (FrameTime::Ms10, 12_000, 120),
        (FrameTime::Ms20, 48_000, 960),
    ] {
        let mut pcm = Pcm::new(rate, 1, time);
        let mut out = [0; 5_000];
        pcm.push(&vec![1; expected - 1], AudioOrigin::Decoded);
        assert!(!pcm.is_readable() && pcm.read(&mut out).is_none());
        pcm.push(&vec![1; expected + 1], AudioOrigin::Decoded);
        assert!(pcm.is_readable());
        let ms = |frames: u64| match time {
            FrameTime::Ms10 => Duration::from_millis(10 * frames),
            _ => Duration::from_millis(20 * frames),
        };
        let decoded = |at| (expected, AudioOrigin::Decoded, ms(at));
        assert_eq!(frames(&mut pcm, 5_000), [decoded(0), decoded(1)]);
        assert!(pcm.is_empty());
    }
}

#[test]
fn a_frame_is_marked_with_what_was_really_said_in_it_and_counts_the_rest() {
    use AudioOrigin::{Concealed, Decoded, Repaired, Silence};
    let mut pcm = Pcm::new(8_000, 1, FrameTime::Ms10);
    let cases: [(&[(usize, AudioOrigin)], AudioOrigin); 5] = [
        (&[(79, Silence), (1, Decoded)], Decoded),
        (&[(40, Repaired), (40, Concealed)], Repaired),
        (&[(20, Silence), (40, Concealed), (20, Silence)], Concealed),
        (&[(80, Silence)], Silence),
        (&[(20, Decoded), (20, Repaired), (20, Concealed), (20, Silence)], Decoded),
    ];
    for (parts, _) in &cases {
        for &(len, origin) in *parts {
            match origin {
                Silence => pcm.push_silence(len as u64),
                origin => pcm.push(&vec![3; len], origin),
            }
        }
    }
    let mut out = [9; 80];
    for (parts, expected) in cases {
        let info = pcm.read(&mut out).unwrap();
        assert_eq!((info.samples, info.origin), (80, expected));
        let count = |origin| parts.iter().filter(|it| it.1 == origin).map(|it| it.0).sum();
        let AudioParts { decoded, repaired, concealed, silence, .. } = info.parts;
        assert_eq!(
            [decoded, repaired, concealed, silence],
            [Decoded, Repaired, Concealed, Silence].map(count)
        );
        let zeros: usize = count(Silence);
        assert_eq!(out.iter().filter(|&&sample| sample == 0).count(), zeros);
    }
}

#[test]
fn a_frame_is_read_in_parts_where_there_is_less_room_and_no_part_crosses_its_end() {
    let mut pcm = Pcm::new(8_000, 2, FrameTime::Ms10);
    let sound: Vec<i16> = (0..330).collect();
    pcm.push(&sound, AudioOrigin::Decoded);
    let mut out = [0; 100];
    assert!(pcm.read(&mut out[..1]).is_none(), "no room for a sample of each channel");
    let mut read = Vec::new();
    for expected in [50, 30, 50, 30] {
        let info = pcm.read(&mut out).unwrap();
        assert_eq!(
            (info.samples, info.time),
            (expected, Duration::from_micros(read.len() as u64 * 125 / 2))
        );
        read.extend_from_slice(&out[..expected * 2]);
    }
    assert_eq!(read, sound[..320]);
    assert_eq!(pcm.read(&mut out), None);
}

#[test]
fn the_rest_of_a_frame_that_was_begun_goes_with_what_is_dropped() {
    for is_discarded in [true, false] {
        let mut pcm = Pcm::new(8_000, 1, FrameTime::Ms20);
        pcm.push(&[1; 8_000], AudioOrigin::Decoded);
        let mut out = [0; 200];
        assert_eq!(pcm.read(&mut out[..50]).unwrap().samples, 50);
        if is_discarded {
            pcm.discard();
            pcm.push(&[2; 160], AudioOrigin::Decoded);
        } else {
            // All but the last frame's time goes.
            pcm.push(&[2; 7_990], AudioOrigin::Decoded);
        }
        let info = pcm.read(&mut out).unwrap();
        let (dropped, position) = if is_discarded { (7_950, 8_000) } else { (7_940, 7_990) };
        assert_eq!((info.samples, pcm.dropped()), (160, dropped));
        assert_eq!(info.time, Duration::from_micros(125) * position);
    }
}
