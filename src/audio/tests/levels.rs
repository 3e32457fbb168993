//! How loud what is given out is said to be.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{input, ms, origin, out, sine};
use crate::audio::level::{LEVEL_SILENCE, level};
use crate::audio::{AudioCodec, AudioReceiver};
use crate::config::AudioIn;
use crate::{AudioInfo, AudioLevel, AudioOrigin, FrameTime};

/// A packet: what its sender says of it, whether it comes, and how loud it is.
type Packet = (Option<(u8, bool)>, bool, i16);

/// Packets of the null codec, of so many samples, and what was read of them at 48 kHz.
fn read(packets: &[Packet], len: usize, frame: FrameTime) -> Vec<(AudioInfo, Vec<i16>)> {
    let config = AudioIn { frame, reorder_wait: Duration::ZERO, ..input(48_000) };
    let mut receiver = AudioReceiver::new(config, AudioCodec::Null);
    let mut encoder = AudioCodec::Null.encoder(out(48_000));
    let start: Instant = origin();
    let mut blocks = Vec::new();
    for (seq, (level, comes, sample)) in (0_u64..).zip(packets) {
        let mut data = Vec::new();
        encoder.encode(&vec![*sample; len], &mut data);
        let now = start + ms(20 * seq);
        if *comes {
            receiver.handle_leveled((seq, seq * len as u64), 7, &data, *level, now);
        }
        receiver.handle_timeout(now);
        let mut samples = [0; 960];
        while let Some(info) = receiver.recv(&mut samples) {
            blocks.push((info, samples[..info.samples].to_vec()));
        }
    }
    blocks
}

#[test]
fn what_the_sender_says_stands_on_each_frame_of_its_packet() {
    let said = [Some((30, true)), Some((31, false)), Some((0, true)), Some((127, false))];
    let packets: Vec<Packet> = said.iter().map(|level| (*level, true, 5_000)).collect();
    for (frame, each) in [(FrameTime::Ms20, 1), (FrameTime::Ms10, 2)] {
        let heard = read(&packets, 960, frame).into_iter();
        let heard: Vec<_> =
            heard.map(|(info, _)| info.sender_level.and_then(AudioLevel::of_sender)).collect();
        let expected: Vec<_> = said.iter().flat_map(|level| vec![*level; each]).collect();
        assert_eq!(heard, expected);
    }
}

#[test]
fn what_nobody_says_is_measured() {
    let loud = sine(440.0, 48_000, 960);
    let packets = [(None, true, 12_000), (None, true, 0), (None, true, i16::MIN)];
    let heard = read(&packets, 960, FrameTime::Ms20);
    let levels: Vec<_> = heard.iter().map(|(info, samples)| info.level(samples)).collect();
    assert!(levels.iter().all(|level| level.voice.is_none()));
    let levels: Vec<u8> = levels.iter().map(|level| level.below_full_scale_db).collect();
    assert_eq!(levels, [9, LEVEL_SILENCE, 0], "12000 of 32768 is 8.7 dB below");
    assert_eq!(level(&loud), 12, "and a sine is 3 dB below its peak");
}

#[test]
fn what_was_made_up_is_measured_and_silence_is_127() {
    let mut packets: Vec<Packet> = vec![(Some((20, true)), true, 3_000)];
    packets.extend([(Some((5, true)), false, 3_000); 10]);
    packets.push((Some((20, true)), true, 3_000));
    let heard = read(&packets, 960, FrameTime::Ms20);
    assert_eq!(heard.len(), 12);
    for (info, samples) in &heard {
        let loud = info.level(samples);
        match info.origin {
            AudioOrigin::Decoded => assert_eq!(loud.of_sender(), Some((20, true))),
            AudioOrigin::Silence => assert_eq!(loud.below_full_scale_db, LEVEL_SILENCE),
            _ => assert_eq!(loud.below_full_scale_db, level(samples)),
        }
        assert_eq!(info.sender_level.is_some(), info.origin == AudioOrigin::Decoded);
        assert_eq!(loud.voice.is_some(), info.origin == AudioOrigin::Decoded);
    }
    let origins = |of| heard.iter().filter(|(info, _)| info.origin == of).count();
    assert_eq!((origins(AudioOrigin::Concealed), origins(AudioOrigin::Silence)), (5, 5));
}

#[test]
fn sound_as_it_comes_is_not_cut_where_the_level_changes() {
    let packets = [(Some((40, false)), true, 9), (Some((30, true)), true, 9), (None, true, 9)];
    let config = input(48_000);
    let mut receiver = AudioReceiver::new(config, AudioCodec::Null);
    let mut encoder = AudioCodec::Null.encoder(out(48_000));
    for (seq, (level, _, sample)) in (0_u64..).zip(packets) {
        let mut data = Vec::new();
        encoder.encode(&[sample; 960], &mut data);
        receiver.handle_leveled((seq, seq * 960), 7, &data, level, origin());
    }
    let mut samples = [0; 4_800];
    let info = receiver.recv(&mut samples).unwrap();
    assert_eq!(info.level(&samples), info.level(&samples[..info.samples]));
    let loud = info.level(&samples).of_sender();
    assert_eq!((info.samples, loud), (3 * 960, Some((30, true))));
    assert!(!receiver.is_readable());
}

fn packet() -> impl Strategy<Value = Packet> {
    let level = proptest::option::of((0_u8..=127, any::<bool>()));
    (level, prop::bool::weighted(0.7), -20_000_i16..20_000)
}

proptest! {
    #[test]
    fn each_frame_has_the_level_of_the_loudest_packet_in_it_or_is_measured(
        mut packets in prop::collection::vec(packet(), 1..60),
        longer in any::<bool>(),
        len in prop::sample::select(vec![480, 960]),
    ) {
        // The first and the last come: what is lost before and behind is no gap.
        let last = packets.len() - 1;
        (packets[0].1, packets[last].1) = (true, true);
        let frame = if longer { FrameTime::Ms20 } else { FrameTime::Ms10 };
        let mut at = 0;
        for (info, samples) in read(&packets, len, frame) {
            prop_assert_eq!(info.time, Duration::from_nanos(at as u64 * 1_000_000 / 48));
            let within = &packets[at / len..(at + info.samples).div_ceil(len)];
            let came = within.iter().filter(|(_, comes, _)| *comes);
            let told = came.filter_map(|(level, ..)| *level);
            let loudest = told.clone().map(|(level, _)| level).min();
            let voice = told.clone().any(|(_, voice)| voice);
            let loud = info.level(&samples);
            prop_assert_eq!(loud.of_sender(), loudest.map(|level| (level, voice)));
            if loudest.is_none() {
                prop_assert_eq!(loud.below_full_scale_db, level(&samples));
            }
            at += info.samples;
        }
        let all = packets.len() * len;
        prop_assert!(at <= all && all - at < 960);
    }
}
