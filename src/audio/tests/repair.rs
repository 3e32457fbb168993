//! What is missing and stands in another packet as well.

use std::time::{Duration, Instant};

use super::{input, ms, origin};
use crate::AudioOrigin;
use crate::audio::{AudioCodec, AudioReceiver};
use crate::config::AudioIn;

use AudioOrigin::{Concealed, Decoded, Repaired, Silence};

/// 20 ms at this level, with a copy of so many 10 ms before it, at the level below.
fn packet(level: u64, copied: usize) -> Vec<u8> {
    let sample = |level: u64| (level as i16).to_le_bytes();
    let mut packet = vec![if copied > 0 { b'F' } else { b'N' }, 1, 2, 0, 0, 0, 0];
    packet.extend(sample(level).repeat(2));
    if copied > 0 {
        packet.push(copied as u8);
        packet.extend(sample(level - 1).repeat(copied));
    }
    packet
}

struct Rig {
    receiver: AudioReceiver,
    now: Instant,
}

impl Rig {
    fn new() -> Rig {
        Rig { receiver: AudioReceiver::new(input(48_000), AudioCodec::Null), now: origin() }
    }

    /// A packet with a copy of the one before.
    fn packet(&mut self, seq: u64) {
        self.give(seq, &packet(seq, 2));
    }

    fn give(&mut self, seq: u64, data: &[u8]) {
        self.receiver.handle_packet(seq, seq * 960, 7, data, self.now);
    }

    /// What stood in another packet of packet `seq`.
    fn copy(&mut self, seq: u64, data: &[u8]) {
        self.receiver.handle_copy(seq, seq * 960, 7, data, self.now);
    }

    fn run(&mut self, duration: Duration) {
        self.now += duration;
        self.receiver.handle_timeout(self.now);
    }

    /// What waits: origin, samples and the first of them.
    fn heard(&mut self) -> Vec<(AudioOrigin, usize, i16)> {
        let mut buffer = vec![0; 96_000];
        let mut all = Vec::new();
        while let Some(info) = self.receiver.recv(&mut buffer) {
            all.push((info.origin, info.samples, buffer[0]));
        }
        all
    }
}

#[test]
fn a_missing_packet_is_repaired_from_the_next_in_the_call_that_brings_it() {
    let mut rig = Rig::new();
    rig.packet(5);
    rig.packet(7);
    assert_eq!(rig.receiver.poll_timeout(), None);
    assert_eq!(rig.heard(), [(Decoded, 960, 5), (Repaired, 960, 6), (Decoded, 960, 7)]);
    let counters = rig.receiver.counters();
    assert_eq!((counters.repaired_samples, counters.concealed_samples), (960, 0));
    rig.packet(6);
    assert_eq!(rig.receiver.counters().late, 1, "the original is not needed any more");
}

#[test]
fn a_copy_is_used_after_the_wait_where_packets_were_overtaken() {
    let mut rig = Rig::new();
    rig.packet(1);
    rig.packet(3);
    rig.run(ms(20));
    rig.packet(2);
    rig.heard();
    // The original is better than its copy, and worth 25 ms.
    rig.packet(5);
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(25)));
    rig.packet(4);
    assert_eq!(rig.heard(), [(Decoded, 1_920, 4)]);
    rig.packet(7);
    rig.run(ms(25));
    assert_eq!(rig.heard(), [(Repaired, 960, 6), (Decoded, 960, 7)]);
}

#[test]
fn of_several_that_are_missing_the_last_is_repaired_and_the_others_are_waited_for() {
    let mut rig = Rig::new();
    rig.packet(1);
    rig.packet(4);
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(10)));
    rig.run(ms(10));
    let expected = [(Decoded, 960, 1), (Concealed, 960, 1), (Repaired, 960, 3), (Decoded, 960, 4)];
    assert_eq!(rig.heard(), expected);
    rig.packet(24);
    rig.run(ms(10));
    let silence = 18 * 960 - 4_800;
    let gap = [(Concealed, 4_800, 4), (Silence, silence, 0), (Repaired, 960, 23)];
    assert_eq!(rig.heard()[..3], gap, "100 ms are concealed, as without a copy");
}

#[test]
fn a_copy_that_is_shorter_than_the_gap_fills_its_end_and_a_longer_one_is_not_used() {
    let mut rig = Rig::new();
    rig.packet(1);
    rig.give(3, &packet(3, 1));
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(10)));
    rig.run(ms(10));
    let end = [(Concealed, 480, 1), (Repaired, 480, 2), (Decoded, 960, 3)];
    assert_eq!(rig.heard()[1..], end);
    rig.give(5, &packet(5, 3));
    rig.run(ms(10));
    assert_eq!(rig.heard(), [(Concealed, 960, 3), (Decoded, 960, 5)]);
}

#[test]
fn a_packet_that_cannot_be_read_is_repaired_from_the_next() {
    let mut rig = Rig::new();
    rig.packet(1);
    rig.give(2, b"noise");
    rig.packet(3);
    assert_eq!(rig.heard(), [(Decoded, 960, 1), (Repaired, 960, 2), (Decoded, 960, 3)]);
}

#[test]
fn the_copy_that_comes_after_a_pause_is_of_what_was_heard() {
    let mut rig = Rig::new();
    rig.packet(1);
    rig.receiver.handle_packet(2, 20 * 960, 7, &packet(2, 2), rig.now);
    assert_eq!(rig.heard(), [(Decoded, 960, 1), (Silence, 18 * 960, 0), (Decoded, 960, 2)]);
    assert_eq!(rig.receiver.counters().repaired_samples, 0);
}

#[test]
fn a_copy_is_read_in_stereo_and_a_packet_whose_copy_is_cut_is_none() {
    let mut stereo = AudioCodec::Null.decoder(AudioIn { channels: 2, ..input(48_000) });
    let whole = [b'F', 2, 1, 0, 0, 0, 0, 9, 0, 8, 0, 1, 5, 0, 6, 0];
    assert_eq!((stereo.duration(&whole), stereo.copied(&whole)), (Some(480), 480));
    let mut samples = vec![1];
    assert_eq!(stereo.repair(&whole, &mut samples), 480);
    assert_eq!(samples[..5], [1, 5, 6, 5, 6]);
    for end in 0..whole.len() {
        let cut = &whole[..end];
        assert_eq!((stereo.duration(cut), stereo.copied(cut)), (None, 0), "{end}");
        assert_eq!(stereo.repair(cut, &mut samples), 0);
    }
    let too_many = [&whole[..11], &[13], &[0; 52]].concat();
    assert_eq!(stereo.duration(&too_many), None);
    assert_eq!(samples.len(), 961);
}

#[test]
fn the_copy_of_a_missing_packet_takes_its_place_and_is_told_as_repaired() {
    let mut rig = Rig::new();
    rig.give(1, &packet(1, 0));
    rig.copy(2, &packet(2, 0));
    rig.give(3, &packet(3, 0));
    assert_eq!(rig.receiver.poll_timeout(), None);
    assert_eq!(rig.heard(), [(Decoded, 960, 1), (Repaired, 960, 2), (Decoded, 960, 3)]);
    let counters = rig.receiver.counters();
    assert_eq!((counters.packets, counters.repaired_samples), (2, 960));
    // Two are missing; the copy of the second waits with its packet for the first.
    rig.copy(5, &packet(5, 0));
    rig.give(6, &packet(6, 0));
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(10)));
    rig.give(4, &packet(4, 0));
    assert_eq!(rig.heard(), [(Decoded, 960, 4), (Repaired, 960, 5), (Decoded, 960, 6)]);
}

#[test]
fn the_copy_of_a_packet_that_came_was_given_up_or_belongs_elsewhere_is_nothing() {
    let mut rig = Rig::new();
    rig.copy(1, &packet(1, 0));
    assert_eq!(rig.heard(), [], "it begins no stream");
    rig.give(1, &packet(1, 0));
    rig.copy(1, &packet(9, 0));
    rig.give(3, &packet(3, 0));
    rig.copy(3, &packet(9, 0));
    rig.run(ms(10));
    rig.copy(2, &packet(9, 0));
    rig.receiver.handle_copy(4, 4 * 960, 8, &packet(9, 0), rig.now);
    rig.copy(4_000, &packet(9, 0));
    rig.copy(4, b"noise");
    assert_eq!(rig.heard(), [(Decoded, 960, 1), (Concealed, 960, 1), (Decoded, 960, 3)]);
    let counters = rig.receiver.counters();
    assert_eq!((counters.packets, counters.repaired_samples), (2, 0));
    assert_eq!((counters.late, counters.duplicates, counters.malformed), (0, 0, 1));
    rig.give(4, &packet(4, 0));
    assert_eq!(rig.heard(), [(Decoded, 960, 4)]);
}
