//! Which packets are to take a copy along.

use super::send::Rig;
use super::{ms, out};
use crate::config::AudioOut;
use crate::{AudioIdle, Redundancy};

const IDLE: AudioIdle = AudioIdle::Silence;

/// How many of fifty packets are redundant, after each of these reports.
fn redundant(redundancy: Redundancy, takes_copies: bool, reports: &[f32]) -> Vec<usize> {
    let mut rig = Rig::new(AudioOut { redundancy, idle: IDLE, ..out(16_000) });
    rig.sender.set_takes_copies(takes_copies);
    rig.sender.start(rig.now);
    let counts = reports.iter().map(|report| {
        rig.sender.report_loss(*report);
        let before = rig.packets.len();
        rig.run(ms(20 * 50));
        rig.packets[before..].iter().filter(|(_, sent)| sent.redundant).count()
    });
    let counts = counts.collect();
    assert!(rig.packets.len() > 40 * reports.len(), "the clock runs");
    counts
}

#[test]
fn a_peer_that_takes_no_copies_gets_none_whatever_is_lost() {
    for redundancy in [Redundancy::Off, Redundancy::ByLoss, Redundancy::Always] {
        assert_eq!(redundant(redundancy, false, &[0.0, 0.05, 1.0]), [0, 0, 0]);
    }
    assert_eq!(redundant(Redundancy::Off, true, &[0.0, 0.05, 1.0]), [0, 0, 0]);
}

#[test]
fn always_is_from_the_first_packet_on() {
    let counts = redundant(Redundancy::Always, true, &[0.0, 0.2]);
    assert!(counts[0] >= 50 && counts[1] == 50, "{counts:?}");
}

#[test]
fn by_loss_begins_with_the_first_report_of_some_and_ends_when_it_is_over() {
    let reports = [0.0, 0.01, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0];
    let counts = redundant(Redundancy::ByLoss, true, &reports);
    assert_eq!(counts[0], 0, "{counts:?}");
    assert_eq!(counts[1], 50, "half of a percent, smoothed, is where it begins");
    assert_eq!(counts[7], 0, "{counts:?}");
    // Once each way: it does not flicker.
    assert_eq!(counts.windows(2).filter(|pair| pair[0] != pair[1]).count(), 2, "{counts:?}");
    assert_eq!(redundant(Redundancy::ByLoss, true, &[0.004; 5]), [0; 5]);
}

#[test]
fn an_offer_that_takes_copies_back_ends_them_with_the_next_packet() {
    let mut rig = Rig::new(AudioOut { redundancy: Redundancy::Always, idle: IDLE, ..out(16_000) });
    rig.sender.set_takes_copies(true);
    rig.sender.start(rig.now);
    rig.run(ms(100));
    rig.sender.set_takes_copies(false);
    let before = rig.packets.len();
    rig.run(ms(100));
    assert!(rig.packets[..before].iter().all(|(_, sent)| sent.redundant));
    assert!(rig.packets[before..].iter().all(|(_, sent)| !sent.redundant));
}
