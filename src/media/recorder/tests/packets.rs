//! Recorders of packets.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::{Codec, EncodedFrame};

/// Hybrid, full band, one channel, 20 ms.
const TOC: u8 = 15 << 3;

fn frame(toc: u8, value: u8, time: Duration) -> EncodedFrame {
    EncodedFrame::new(Codec::Opus, time, true, Bytes::from(vec![toc, value]))
}

fn finished(mut recorder: PacketRecorder) -> (Vec<Vec<OggPacket>>, PacketCounters) {
    recorder.finish();
    let mut file = Vec::new();
    apply(&mut file, || recorder.poll_write());
    (streams(&file), recorder.counters())
}

#[test]
fn a_gap_is_filled_with_packets_of_one_byte() {
    let start = origin();
    let mut recorder = PacketRecorder::new(1, start);
    for n in [0u64, 1, 5] {
        recorder.write(&frame(TOC, n as u8, ms(20 * n)), start + ms(20 * (n + 1)));
    }
    let (streams, counters) = finished(recorder);
    let data: Vec<&[u8]> = streams[0].iter().map(|packet| &packet.data[..]).collect();
    let hole: &[u8] = &[TOC];
    assert_eq!(data, [&[TOC, 0], &[TOC, 1], hole, hole, hole, &[TOC, 5]]);
    assert_eq!((counters.written, counters.filled), (3, 3 * 960));
    assert_eq!(streams[0][5].position, 5 * 960);
}

#[test]
fn a_gap_that_is_no_whole_number_of_frames_is_filled_with_short_ones() {
    let start = origin();
    let mut recorder = PacketRecorder::new(2, start);
    // Three frames of 20 ms in one packet, two channels.
    let long = EncodedFrame::new(
        Codec::Opus,
        ms(0),
        true,
        Bytes::from_static(&[(31 << 3) | 4 | 3, 3, 9, 9, 9]),
    );
    recorder.write(&long, start + ms(60));
    recorder.write(&frame(TOC, 1, Duration::from_micros(117_500)), start + ms(140));
    let (streams, counters) = finished(recorder);
    let data: Vec<u8> = streams[0][1..].iter().map(|packet| packet.data[0]).collect();
    let short = |size: u8| (28 + size) << 3 | 4;
    // 57.5 ms: 20, 20, 10, 5 and 2.5.
    assert_eq!(data, [short(3), short(3), short(2), short(1), short(0), TOC]);
    assert_eq!(counters.filled, 2_760);
    assert_eq!(streams[0].last().unwrap().position, 5_640);
}

#[test]
fn files_of_both_directions_begin_at_one_moment() {
    let start = origin();
    let mut recorder = PacketRecorder::new(1, start);
    recorder.write(&frame(TOC, 1, ms(7_000)), start + ms(520));
    recorder.write(&frame(TOC, 2, ms(7_020)), start + ms(575));
    let (streams, _) = finished(recorder);
    let first = streams[0].iter().find(|packet| packet.data.len() == 2).unwrap();
    assert_eq!((first.position, played(&streams[0])), (500 * 48, 540 * 48));
}

#[test]
fn late_repeated_and_unreadable_packets_are_dropped_and_the_rest_goes_on() {
    let start = origin();
    let mut recorder = PacketRecorder::new(1, start);
    for n in [0u64, 1, 1, 3, 2, 4] {
        recorder.write(&frame(TOC, n as u8, ms(20 * n)), start + ms(20));
    }
    let empty = EncodedFrame::new(Codec::Opus, ms(100), true, Bytes::new());
    let picture = EncodedFrame::new(Codec::Vp8, ms(100), true, Bytes::from_static(&[TOC, 1]));
    recorder.write(&empty, start + ms(100));
    recorder.write(&picture, start + ms(100));
    recorder.write(&frame(TOC, 6, ms(120)), start + ms(100));
    let (streams, counters) = finished(recorder);
    assert_eq!((counters.late, counters.malformed, counters.written), (2, 2, 5));
    assert_eq!(played(&streams[0]), 7 * 960);
}

#[test]
fn a_minute_is_filled_and_more_begins_a_new_stream() {
    let start = origin();
    for (gap, count) in [(60_000, 1), (60_020, 2)] {
        let mut recorder = PacketRecorder::new(1, start);
        recorder.write(&frame(TOC, 0, ms(0)), start + ms(20));
        recorder.write(&frame(TOC, 1, ms(20 + gap)), start + ms(40 + gap));
        recorder.write(&frame(TOC, 2, ms(60 + gap)), start + ms(80 + gap));
        let (streams, counters) = finished(recorder);
        assert_eq!((streams.len(), counters.chained), (count, count as u64 - 1));
        let last = streams.last().unwrap();
        let positions: Vec<u64> =
            last.iter().filter(|it| it.data.len() == 2).map(|it| it.position).collect();
        let base = if count == 1 { (gap + 20) * 48 } else { 0 };
        assert_eq!(positions[positions.len() - 2..], [base, base + 1_920]);
    }
}

#[test]
fn a_track_whose_time_is_set_anew_begins_a_new_stream() {
    let start = origin();
    for (back, chained) in [(10_000, 0), (10_020, 1)] {
        let mut recorder = PacketRecorder::new(1, start);
        let times = (0..600).map(|n| 20 * n).chain([12_000 - back, 12_020 - back]);
        for time in times {
            recorder.write(&frame(TOC, 1, ms(time)), start + ms(20));
        }
        let (streams, counters) = finished(recorder);
        assert_eq!((counters.chained, counters.late), (chained, 2 - 2 * chained));
        assert_eq!(streams.len() as u64, 1 + chained);
    }
}

#[test]
fn a_page_waits_for_half_a_second_at_most() {
    let start = origin();
    let mut recorder = PacketRecorder::new(1, start);
    let mut file = Vec::new();
    recorder.write(&frame(TOC, 0, ms(0)), start + ms(20));
    assert_eq!(recorder.poll_timeout(), Some(start + ms(520)));
    recorder.handle_timeout(start + ms(519));
    apply(&mut file, || recorder.poll_write());
    assert_eq!(streams(&file)[0].len(), 0);
    recorder.handle_timeout(start + ms(520));
    apply(&mut file, || recorder.poll_write());
    assert_eq!((streams(&file)[0].len(), recorder.poll_timeout()), (1, None));
}

#[test]
fn a_disk_that_hangs_costs_packets_and_no_time() {
    let start = origin();
    let mut recorder = PacketRecorder::new(1, start);
    let mut file = Vec::new();
    let long = |n: u64| {
        let mut data = vec![TOC; 1_200];
        data[1] = n as u8;
        EncodedFrame::new(Codec::Opus, ms(20 * n), true, data.into())
    };
    for n in 0..1_200 {
        recorder.write(&long(n), start + ms(20));
    }
    assert!(recorder.counters().unpolled > 200, "{:?}", recorder.counters());
    apply(&mut file, || recorder.poll_write());
    assert!(file.len() < 1_100_000);
    recorder.write(&long(1_200), start + ms(20));
    recorder.finish();
    apply(&mut file, || recorder.poll_write());
    assert_eq!(played(&streams(&file)[0]), 1_201 * 960);
    recorder.write(&long(1_201), start + ms(20));
    assert_eq!(recorder.counters().malformed, 1, "it is finished");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn the_file_is_as_long_as_the_media_whatever_is_lost(
        came in prop::collection::vec(any::<bool>(), 1..600),
        toc in prop::sample::select(vec![9u8, 13, 15, 17, 29, 30, 31]),
    ) {
        let start = origin();
        let mut recorder = PacketRecorder::new(1, start);
        let samples = u64::from(crate::media::toc::frame_samples(toc << 3));
        let time = |n: u64| Duration::from_nanos(n * samples * 62_500 / 3);
        let last = came.len() as u64;
        for n in (0..last).filter(|&n| came[n as usize]).chain([last]) {
            let first = came.iter().position(|&came| came).unwrap_or(came.len()) as u64;
            recorder.write(&frame(toc << 3, n as u8, time(n)), start + time(first + 1));
        }
        let (streams, counters) = finished(recorder);
        prop_assert_eq!(played(&streams[0]), (last + 1) * samples);
        prop_assert_eq!(counters.late + counters.malformed, 0);
        for packet in streams[0].iter().filter(|packet| packet.data.len() == 2) {
            prop_assert_eq!((packet.position / samples) as u8, packet.data[1]);
        }
    }

    #[test]
    fn anything_is_taken_without_a_panic(
        frames in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..6), any::<u64>(), 0..200_000u64),
            0..40,
        ),
    ) {
        let start = origin();
        let mut recorder = PacketRecorder::new(1, start);
        for (data, time, now) in frames {
            let time = Duration::from_nanos(time);
            let frame = EncodedFrame::new(Codec::Opus, time, true, data.into());
            recorder.write(&frame, start + ms(now));
        }
        let (streams, counters) = finished(recorder);
        let count: usize = streams.iter().map(Vec::len).sum();
        prop_assert!(count as u64 >= counters.written);
    }
}
