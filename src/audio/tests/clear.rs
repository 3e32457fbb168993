//! Clearing what is queued: exact counts, and no click.

use proptest::prelude::*;

use super::send::{Rig, heard, steps};
use super::{ms, out, sine};
use crate::config::AudioOut;
use crate::{AudioCleared, AudioId, AudioIdle, ClearedPiece, PacketTime};

fn pieces(cleared: &AudioCleared) -> Vec<(u64, u64, u64)> {
    cleared.pieces.iter().map(|piece| (piece.id.0, piece.sent, piece.dropped)).collect()
}

#[test]
fn clearing_tells_of_each_piece_to_the_sample() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    for len in [500, 500, 16_000, 7] {
        rig.send(&vec![1; len], 16_000).unwrap();
    }
    rig.run(ms(40));
    assert_eq!(rig.finished, [(AudioId(0), 500)]);
    // Three packets went out: 960 samples. The fade takes 80 more.
    let cleared = rig.sender.clear();
    assert_eq!(pieces(&cleared), [(1, 500, 0), (2, 40, 15_960), (3, 0, 7)]);
    rig.run(ms(1_000));
    assert_eq!(rig.finished, [(AudioId(0), 500)], "each piece is told of once");
    assert_eq!(rig.started, [0, 1, 2].map(AudioId), "the third began within the fade");
    assert_eq!(rig.sender.clear(), AudioCleared::default());
}

#[test]
fn no_new_sound_follows_a_clear() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&steps(100, 16_000), 16_000).unwrap();
    rig.run(ms(95));
    assert_eq!(rig.packets.len(), 5);
    let _ = rig.sender.clear();
    rig.run(ms(1_000));
    // Packets 0 to 4 hold steps 1 to 10; the next begins with the fade of step 11.
    assert_eq!(heard(&rig.packets), (1..=11).collect::<Vec<i16>>());
    let sound = rig.packets.iter().filter(|(_, packet)| packet.level.1).count();
    assert_eq!(sound, 6);
}

#[test]
fn what_was_never_begun_is_dropped_without_a_sound() {
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Silence, ..out(16_000) });
    rig.sender.start(rig.now);
    rig.run(ms(35));
    rig.send(&steps(10, 16_000), 16_000).unwrap();
    assert_eq!(pieces(&rig.sender.clear()), [(0, 0, 1_600)]);
    rig.run(ms(500));
    assert!(heard(&rig.packets).is_empty());
}

#[test]
fn sound_that_is_sent_after_a_clear_goes_out_whole() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&vec![1_000; 16_000], 16_000).unwrap();
    rig.run(ms(90));
    let _ = rig.sender.clear();
    let id = rig.send(&steps(4, 16_000), 16_000).unwrap();
    rig.run(ms(500));
    let heard = heard(&rig.packets);
    assert_eq!(heard[heard.len() - 4..], [1, 2, 3, 4]);
    assert_eq!(rig.finished, [(id, 640)]);
}

#[test]
fn a_clear_does_not_click() {
    for (from, to) in [(16_000, 16_000), (24_000, 48_000), (22_050, 24_000), (48_000, 16_000)] {
        for packets in [1, 2, 5, 17] {
            let mut rig = Rig::new(out(to));
            rig.sender.start(rig.now);
            rig.send(&sine(440.0, from, from as usize), from).unwrap();
            let mut wave = Vec::new();
            for packet in 0.. {
                if packet == packets {
                    let _ = rig.sender.clear();
                }
                if rig.sender.poll_timeout().is_none() {
                    break;
                }
                rig.serve();
                wave.extend_from_slice(rig.sender.coded_samples());
                rig.now += ms(20);
            }
            assert_eq!(wave.len(), (packets + 8) * to as usize / 50);
            // The steepest step of the tone itself, and rounding; without the tone's own onset, at
            // which the filter rings.
            let wave = &wave[to as usize / 200..];
            let steepest = 12_000.0 * std::f64::consts::TAU * 440.0 / f64::from(to) * 1.02 + 2.0;
            let worst = wave.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
            assert!(
                f64::from(worst) <= steepest,
                "{from} to {to} after {packets} packets: {worst}"
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send { rate: usize, frames: usize, stereo: bool },
    Run(u64),
    Stall(u64),
    Clear,
    Stop,
    Hold,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..9, 1usize..5_000, any::<bool>())
            .prop_map(|(rate, frames, stereo)| Step::Send { rate, frames, stereo }),
        4 => (0u64..150_000).prop_map(Step::Run),
        1 => (0u64..100_000).prop_map(Step::Stall),
        1 => Just(Step::Clear),
        1 => Just(Step::Stop),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
    ]
}

proptest! {
    #[test]
    fn every_sample_that_was_taken_is_told_of_once(
        steps in prop::collection::vec(step(), 1..60),
        rate in prop::sample::select(vec![8_000, 12_000, 16_000, 24_000, 48_000]),
        channels in 1u8..=2,
        idle in prop::sample::select(vec![AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing]),
    ) {
        let mut rig = Rig::new(AudioOut { channels, idle, ..out(rate) });
        rig.sender.start(rig.now);
        let mut taken = Vec::new();
        // The first packet that must not have sound: the fade goes out in the one before.
        let mut held = None;
        let mut told: Vec<ClearedPiece> = Vec::new();
        for step in steps {
            match step {
                Step::Send { rate, frames, stereo } => {
                    let rate = crate::audio::resample::RATES[rate];
                    let channels = 1 + u8::from(stereo);
                    let samples = vec![5; frames * usize::from(channels)];
                    let frame = crate::AudioFrame { samples: &samples, rate, channels };
                    taken.push((rig.sender.send(frame, rig.now).unwrap(), frames as u64));
                }
                Step::Run(micros) => rig.run(std::time::Duration::from_micros(micros)),
                Step::Stall(micros) => {
                    rig.now += std::time::Duration::from_micros(micros);
                    rig.serve();
                }
                Step::Clear => told.extend(rig.sender.clear().pieces),
                Step::Stop => {
                    rig.sender.stop();
                    rig.sender.start(rig.now);
                }
                Step::Hold => {
                    rig.sender.hold();
                    held = Some(rig.packets.len() + 1);
                }
                Step::Release => {
                    rig.sender.release(rig.now);
                    held = None;
                }
            }
            let silent = held.and_then(|packet| rig.packets.get(packet..)).unwrap_or_default();
            prop_assert!(silent.iter().all(|(_, packet)| !packet.level.1), "held, and it speaks");
        }
        rig.sender.release(rig.now);
        rig.run(ms(20_000));
        rig.serve();
        let mut begun = rig.finished.clone();
        begun.extend(told.iter().map(|piece| (piece.id, piece.sent)).filter(|(_, sent)| *sent > 0));
        begun.sort_unstable();
        let begun: Vec<_> = begun.into_iter().map(|(id, _)| id).collect();
        prop_assert_eq!(&rig.started, &begun, "a piece begins once, and if any of it is sent");
        told.extend(rig.finished.iter().map(|&(id, sent)| ClearedPiece::new(id, sent, 0)));
        told.sort_by_key(|piece| piece.id);
        let whole = |piece: &ClearedPiece| (piece.id, piece.sent + piece.dropped);
        let told: Vec<_> = told.iter().map(whole).collect();
        prop_assert_eq!(told, taken);
        for pair in rig.packets.windows(2) {
            // Never faster than the packet time, in RTP time exactly, and never backwards.
            prop_assert!(pair[1].1.rtp_time >= pair[0].1.rtp_time + 960);
        }
    }
}

#[test]
fn the_fade_is_half_a_period_of_a_cosine_the_same_in_both_channels() {
    for channels in [1, 2] {
        let packet_time = PacketTime::Ms10;
        let mut rig = Rig::new(AudioOut { channels, packet_time, ..out(16_000) });
        rig.sender.start(rig.now);
        rig.send(&[10_000; 1_600], 16_000).unwrap();
        rig.serve();
        let _ = rig.sender.clear();
        rig.run(ms(10));
        let samples = rig.sender.coded_samples().to_vec();
        let width = usize::from(channels);
        assert_eq!(samples.len(), 160 * width);
        let frames: Vec<i16> = samples.chunks(width).map(|frame| frame[0]).collect();
        assert!(samples.chunks(width).all(|frame| frame.iter().all(|sample| *sample == frame[0])));
        // 5 ms are 80 samples.
        let (fade, rest) = frames.split_at(80);
        assert!(fade.windows(2).all(|pair| pair[0] > pair[1]), "{fade:?}");
        assert!(fade[0] > 9_990 && (1..10).contains(&fade[79]), "{fade:?}");
        let turned = fade.iter().rev();
        assert!(
            fade.iter().zip(turned).all(|(one, other)| (9_999..=10_001).contains(&(one + other)))
        );
        assert!(rest.iter().all(|sample| *sample == 0));
    }
}

#[test]
fn nothing_of_cleared_sound_is_left_in_the_filter() {
    let mut rig = Rig::new(out(24_000));
    rig.sender.start(rig.now);
    rig.send(&sine(440.0, 16_000, 16_000), 16_000).unwrap();
    rig.run(ms(45));
    let _ = rig.sender.clear();
    rig.send(&[0; 1_600], 16_000).unwrap();
    let before = rig.packets.len();
    rig.run(ms(300));
    // The first packet after it has the fade, the others nothing.
    let levels: Vec<u8> = rig.packets[before..].iter().map(|(_, packet)| packet.level.0).collect();
    assert!(levels[0] < 127 && levels[1..].iter().all(|level| *level == 127), "{levels:?}");
}
