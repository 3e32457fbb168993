//! Holding the queue back: nothing is lost or said twice, and nothing clicks.

use super::send::{Rig, heard, steps};
use super::{ms, out, sine};
use crate::config::AudioOut;
use crate::{AudioCleared, AudioId, AudioIdle, SendError};

/// Serves packet after packet, `act` before each; the wave that was coded.
fn wave(rig: &mut Rig, mut act: impl FnMut(usize, &mut Rig)) -> Vec<i16> {
    let mut wave = Vec::new();
    for packet in 0.. {
        act(packet, rig);
        let Some(due) = rig.sender.poll_timeout() else { return wave };
        rig.now = due;
        rig.serve();
        wave.extend_from_slice(rig.sender.coded_samples());
    }
    unreachable!("sound ends")
}

#[test]
fn a_pause_takes_nothing_from_a_piece_and_says_nothing_twice() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    // No two samples are alike, and no fade makes one zero.
    let piece: Vec<i16> = (0..3_200).map(|at| 10_000 + at).collect();
    let id = rig.send(&piece, 16_000).unwrap();
    let said = wave(&mut rig, |packet, rig| match packet {
        3 => rig.sender.hold(),
        6 => rig.sender.release(rig.now),
        _ => {}
    });
    assert_eq!(rig.finished, [(id, 3_200)]);
    let said: Vec<i16> = said.into_iter().filter(|sample| *sample != 0).collect();
    assert_eq!(said.len(), piece.len());
    // Three packets, 5 ms faded out, 5 ms faded in.
    assert_eq!(said[..960], piece[..960]);
    assert_eq!(said[1_120..], piece[1_120..]);
    assert!(said[960..1_040].windows(2).all(|pair| pair[0] > pair[1]), "{:?}", &said[960..1_040]);
    assert!(said[1_040..1_120].windows(2).all(|pair| pair[0] < pair[1]));
    assert!(said[1_039] < 10 && said[1_040] < 10);
}

#[test]
fn a_held_queue_is_silent_as_any_pause_and_goes_on_in_order() {
    // Of 2 s: 100 ms of zeros are coded, and the rest is as it was asked for.
    for (idle, packets) in
        [(AudioIdle::Silence, 100), (AudioIdle::Dtx, 1 + 5 + 6), (AudioIdle::Nothing, 1 + 5 + 2)]
    {
        let mut rig = Rig::new(AudioOut { idle, ..out(16_000) });
        rig.sender.start(rig.now);
        rig.send(&steps(100, 16_000), 16_000).unwrap();
        rig.run(ms(95));
        rig.sender.hold();
        let before = rig.packets.len();
        rig.run(ms(2_000));
        let held = &rig.packets[before..];
        assert_eq!(held.len(), packets, "{idle:?}");
        let sound: Vec<bool> = held.iter().map(|(_, packet)| packet.level.1).collect();
        assert!(sound[0] && sound[1..].iter().all(|sound| !sound), "{idle:?}: the fade alone");
        assert_eq!(rig.started, [AudioId(0)]);
        assert!(rig.finished.is_empty());
        rig.sender.release(rig.now);
        rig.run(ms(2_000));
        assert_eq!(rig.finished, [(AudioId(0), 16_000)]);
        assert_eq!(heard(&rig.packets), (1..=100).collect::<Vec<i16>>(), "{idle:?}");
    }
}

#[test]
fn pausing_and_resuming_again_and_again_at_one_instant_changes_nothing() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    let id = rig.send(&vec![9_000; 1_600], 16_000).unwrap();
    let said = wave(&mut rig, |packet, rig| {
        if packet == 2 {
            for _ in 0..100 {
                rig.sender.hold();
                rig.sender.hold();
                rig.sender.release(rig.now);
                rig.sender.release(rig.now);
            }
        }
    });
    assert_eq!(rig.finished, [(id, 1_600)]);
    // One fade out, and the one in with the packet after it.
    assert_eq!(said.iter().filter(|sample| **sample != 0).count(), 1_600);
    assert_eq!(said.iter().filter(|sample| **sample == 9_000).count(), 1_600 - 160);
}

#[test]
fn a_pause_does_not_click_and_neither_does_the_sound_after_it() {
    for (from, to) in [(16_000, 16_000), (24_000, 48_000), (22_050, 24_000), (48_000, 16_000)] {
        // As one piece, and in pieces that end where packets do.
        for pieces in [1, 20, 50] {
            let mut rig = Rig::new(out(to));
            rig.sender.start(rig.now);
            let tone = sine(440.0, from, from as usize);
            for piece in tone.chunks(tone.len() / pieces) {
                rig.send(piece, from).unwrap();
            }
            let wave = wave(&mut rig, |packet, rig| match packet {
                4 | 20 => rig.sender.hold(),
                8 | 21 => rig.sender.release(rig.now),
                40 => drop(rig.sender.clear()),
                _ => {}
            });
            // Without the tone's own onset, at which the filter rings.
            let wave = &wave[to as usize / 200..];
            let steepest = 12_000.0 * std::f64::consts::TAU * 440.0 / f64::from(to) * 1.05 + 2.0;
            let worst = wave.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap();
            assert!(f64::from(worst) <= steepest, "{from} to {to}, {pieces} pieces: {worst}");
        }
    }
}

#[test]
fn what_is_cleared_while_held_is_told_of_and_leaves_no_fade() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&[9_000; 1_600], 16_000).unwrap();
    rig.send(&[9_000; 1_600], 16_000).unwrap();
    rig.run(ms(25));
    rig.sender.hold();
    rig.run(ms(500));
    let packets = rig.packets.len();
    let cleared = rig.sender.clear();
    let told = cleared.pieces.iter().map(|piece| (piece.id.0, piece.sent, piece.dropped));
    // Two packets and the fade.
    assert_eq!(told.collect::<Vec<_>>(), [(0, 720, 880), (1, 0, 1_600)]);
    rig.run(ms(500));
    rig.sender.release(rig.now);
    rig.run(ms(500));
    assert_eq!(rig.packets.len(), packets, "nothing is left to be said");
    assert_eq!(rig.sender.clear(), AudioCleared::default());
    // And what comes then begins without a fade.
    let id = rig.send(&[9_000; 320], 16_000).unwrap();
    rig.run(ms(0));
    assert_eq!(rig.sender.coded_samples(), [9_000; 320]);
    assert_eq!(rig.finished, [(id, 320)]);
}

#[test]
fn a_held_queue_takes_sound_and_says_it_when_it_is_released() {
    for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
        let mut rig = Rig::new(AudioOut { idle, ..out(16_000) });
        // Before the call is connected, too.
        rig.sender.hold();
        rig.sender.start(rig.now);
        rig.run(ms(100));
        let id = rig.send(&steps(4, 16_000), 16_000).unwrap();
        rig.run(ms(1_000));
        assert!(heard(&rig.packets).is_empty() && rig.started.is_empty());
        assert!(idle != AudioIdle::Nothing || rig.packets.is_empty());
        rig.sender.release(rig.now);
        rig.run(ms(80));
        assert_eq!(heard(&rig.packets), [1, 2, 3, 4], "{idle:?}: it begins without a fade");
        assert_eq!(rig.finished, [(id, 640)]);
    }
}

#[test]
fn sound_that_was_due_is_not_said_when_the_pause_comes_first() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&[1; 320], 16_000).unwrap();
    assert_eq!(rig.sender.poll_timeout(), Some(rig.now));
    rig.sender.hold();
    assert_eq!(rig.sender.poll_timeout(), None);
    rig.sender.release(rig.now);
    assert_eq!(rig.sender.poll_timeout(), Some(rig.now));
}

#[test]
fn a_held_queue_that_is_full_names_no_time() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&[1; 960_000], 16_000).unwrap();
    rig.sender.hold();
    let refused = rig.send(&[1], 16_000).unwrap_err();
    assert!(matches!(refused, SendError::QueueFull { wait: None, .. }), "{refused:?}");
    rig.sender.release(rig.now);
    let refused = rig.send(&[1], 16_000).unwrap_err();
    assert!(matches!(refused, SendError::QueueFull { wait: Some(_), .. }), "{refused:?}");
}
