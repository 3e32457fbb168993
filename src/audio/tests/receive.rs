//! Order, waiting, gaps and time of what arrives.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{input, ms, origin, out};
use crate::audio::codec::AudioEncoder;
use crate::audio::{AudioCodec, AudioReceiver};
use crate::config::AudioIn;
use crate::{AudioInfo, AudioOrigin};

use AudioOrigin::{Concealed, Decoded, Silence};

const SSRC: u32 = 7;

/// A receiver on virtual time, and all that was read from it.
struct Rig {
    receiver: AudioReceiver,
    encoder: Box<dyn AudioEncoder>,
    rate: u32,
    most: Duration,
    now: Instant,
    read: Vec<(AudioInfo, Vec<i16>)>,
}

impl Rig {
    fn new(config: AudioIn) -> Rig {
        Rig {
            receiver: AudioReceiver::new(config, AudioCodec::Null),
            encoder: AudioCodec::Null.encoder(out(8_000)),
            rate: config.rate,
            most: config.reorder_wait,
            now: origin(),
            read: Vec::new(),
        }
    }

    /// Hands the packet over that a sender without pauses numbers `seq`: 20 ms at level `seq`.
    fn packet(&mut self, seq: u64) {
        self.packet_at(seq, 960 * seq, SSRC);
    }

    fn packet_at(&mut self, seq: u64, rtp_time: u64, ssrc: u32) {
        let mut data = Vec::new();
        self.encoder.encode(&[seq as i16; 160], &mut data);
        self.receiver.handle_packet(seq, rtp_time, ssrc, &data, self.now);
        self.check();
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.receiver.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.receiver.handle_timeout(self.now);
            self.check();
        }
        self.now = end;
    }

    fn check(&self) {
        let waits = self.receiver.poll_timeout();
        assert!(waits.is_none_or(|due| due <= self.now + self.most));
    }

    fn read(&mut self) {
        let mut buffer = [0; 777];
        while let Some(info) = self.receiver.recv(&mut buffer) {
            assert_eq!((info.rate, info.channels), (self.rate, 1));
            self.read.push((info, buffer[..info.samples].to_vec()));
        }
        assert!(!self.receiver.is_readable());
    }

    /// How much of each origin was read, in order.
    fn origins(&mut self) -> Vec<(AudioOrigin, usize)> {
        self.read();
        let mut origins: Vec<(AudioOrigin, usize)> = Vec::new();
        for (info, _) in &self.read {
            match origins.last_mut() {
                Some((origin, samples)) if *origin == info.origin => *samples += info.samples,
                _ => origins.push((info.origin, info.samples)),
            }
        }
        origins
    }

    fn samples(&mut self) -> u64 {
        self.read();
        self.read.iter().map(|(info, _)| info.samples as u64).sum()
    }
}

#[test]
fn packets_in_order_are_readable_at_once() {
    for rate in [8_000, 16_000, 44_100, 48_000] {
        let mut rig = Rig::new(input(rate));
        for seq in 5..55 {
            rig.packet(seq);
            assert!(rig.receiver.is_readable());
            assert_eq!(rig.receiver.poll_timeout(), None);
            assert_eq!(rig.origins(), [(Decoded, (seq as usize - 4) * rate as usize / 50)]);
            rig.run(ms(20));
        }
    }
}

#[test]
fn each_block_tells_its_media_time() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.packet(1);
    let mut buffer = [0; 1_000];
    assert_eq!(rig.receiver.recv(&mut []), None);
    let first = rig.receiver.recv(&mut buffer).unwrap();
    assert_eq!((first.samples, first.time), (1_000, ms(0)));
    let second = rig.receiver.recv(&mut buffer).unwrap();
    assert_eq!((second.samples, second.time), (920, Duration::from_nanos(20_833_333)));
    assert_eq!(rig.receiver.recv(&mut buffer), None);
}

#[test]
fn a_packet_that_was_overtaken_takes_its_place() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.packet(2);
    rig.run(ms(9));
    assert_eq!(rig.origins(), [(Decoded, 960)]);
    rig.packet(1);
    assert_eq!(rig.origins(), [(Decoded, 2_880)]);
    assert_eq!(rig.read.last().unwrap().1.last(), Some(&2));
    assert_eq!(rig.receiver.poll_timeout(), None);
    assert_eq!(rig.receiver.counters().late, 0);
}

#[test]
fn a_gap_is_given_up_after_10_ms_where_nothing_was_overtaken_and_concealed() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.run(ms(20));
    rig.packet(2);
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(10)));
    rig.run(ms(9));
    assert_eq!(rig.origins(), [(Decoded, 960)]);
    rig.run(ms(1));
    assert_eq!(rig.origins(), [(Decoded, 960), (Concealed, 960), (Decoded, 960)]);
    rig.packet(1);
    assert_eq!(rig.receiver.counters().late, 1);
    rig.packet(1);
    assert_eq!(rig.receiver.counters().duplicates, 1);
}

#[test]
fn a_packet_that_came_too_late_teaches_how_long_the_next_gap_waits() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.packet(2);
    rig.run(ms(30));
    rig.packet(1);
    assert_eq!(rig.receiver.counters().late, 1, "it was given up after 10 ms");
    rig.packet(3);
    rig.packet(5);
    let noticed = rig.now;
    assert_eq!(rig.receiver.poll_timeout(), Some(noticed + ms(37) + ms(1) / 2));
    rig.run(ms(20));
    rig.packet(6);
    assert_eq!(rig.receiver.poll_timeout(), Some(noticed + ms(37) + ms(1) / 2));
    rig.run(ms(15));
    rig.packet(4);
    assert_eq!(rig.receiver.poll_timeout(), None);
    let counters = rig.receiver.counters();
    assert_eq!((counters.late, counters.concealed_samples), (1, 960), "this one was in time");
    rig.packet(8);
    assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(35) * 5 / 4));
}

#[test]
fn a_gap_waits_60_ms_at_most_or_what_the_configuration_says() {
    for most in [60, 25, 500] {
        let mut rig = Rig::new(AudioIn { reorder_wait: ms(most), ..input(48_000) });
        rig.packet(0);
        rig.packet(2);
        rig.run(ms(most));
        rig.packet(1);
        rig.packet(4);
        assert_eq!(rig.receiver.poll_timeout(), Some(rig.now + ms(most)));
        rig.run(ms(most) - Duration::from_nanos(1));
        assert_eq!(rig.receiver.counters().concealed_samples, 960);
        rig.run(Duration::from_nanos(1));
        assert_eq!(rig.receiver.counters().concealed_samples, 2 * 960);
    }
}

#[test]
fn where_no_wait_is_wanted_a_gap_is_filled_in_the_call_that_shows_it() {
    let mut rig = Rig::new(AudioIn { reorder_wait: ms(0), ..input(48_000) });
    for seq in [0, 2, 1, 5] {
        rig.packet(seq);
        assert_eq!(rig.receiver.poll_timeout(), None);
    }
    assert_eq!(rig.samples(), 6 * 960);
}

#[test]
fn packets_that_come_twice_are_counted_and_dropped() {
    let mut rig = Rig::new(input(48_000));
    for seq in [0, 0, 1, 0, 3, 3] {
        rig.packet(seq);
    }
    assert_eq!(rig.receiver.counters().duplicates, 3);
    rig.run(ms(60));
    assert_eq!(rig.samples(), 4 * 960);
}

#[test]
fn after_a_gap_that_is_longer_than_the_memory_nothing_of_it_counts_as_heard() {
    for gap in [127, 128, 129, 200, 256, 300] {
        let mut rig = Rig::new(input(48_000));
        rig.packet(0);
        rig.run(ms(20) * gap);
        rig.packet(u64::from(gap));
        rig.run(ms(100));
        for seq in u64::from(gap) - 90..u64::from(gap) {
            rig.packet(seq);
        }
        let counters = rig.receiver.counters();
        assert_eq!((counters.late, counters.duplicates), (90, 0), "{gap}");
    }
}

#[test]
fn a_long_gap_is_concealed_for_100_ms_and_then_silent() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.run(ms(500));
    rig.packet(25);
    rig.run(ms(60));
    assert_eq!(
        rig.origins(),
        [(Decoded, 960), (Concealed, 4_800), (Silence, 24 * 960 - 4_800), (Decoded, 960)],
    );
    let counters = rig.receiver.counters();
    assert_eq!((counters.concealed_samples, counters.silence_samples), (4_800, 18_240));
}

#[test]
fn a_pause_that_was_not_sent_is_silent_and_costs_no_wait() {
    let mut rig = Rig::new(input(16_000));
    rig.packet_at(0, 0, SSRC);
    rig.run(ms(400));
    rig.packet_at(1, 19_200, SSRC);
    assert_eq!(rig.origins(), [(Decoded, 320), (Silence, 380 * 16), (Decoded, 320)]);
}

#[test]
fn sequence_numbers_without_media_cost_no_wait() {
    let mut rig = Rig::new(input(48_000));
    rig.packet_at(0, 0, SSRC);
    rig.packet_at(5, 960, SSRC);
    assert_eq!(rig.origins(), [(Decoded, 1_920)]);
    // Packets behind it that were held lose their place.
    rig.packet_at(8, 960 * 4, SSRC);
    rig.packet_at(9, 960 * 2, SSRC);
    rig.run(ms(60));
    assert_eq!(rig.samples(), 3 * 960);
    assert_eq!(rig.receiver.counters().late, 1);
}

#[test]
fn what_nobody_reads_is_dropped_from_the_oldest_on() {
    let mut rig = Rig::new(input(16_000));
    for seq in 0..50 {
        rig.packet(seq);
    }
    assert_eq!(rig.receiver.counters().dropped_samples, 0, "one second is kept");
    rig.packet(50);
    assert_eq!(rig.receiver.counters().dropped_samples, 960);
    assert_eq!(rig.samples(), 16_000);
    assert_eq!(rig.read[0].0.time, ms(20));
}

#[test]
fn a_jump_of_ten_seconds_is_filled_within_bounds_and_one_sample_more_is_not() {
    let mut rig = Rig::new(input(16_000));
    rig.packet_at(0, 0, SSRC);
    rig.packet_at(1, 960 + 480_000, SSRC);
    // Two packets and the pause: nobody could have read it while it passed, so nothing is lost.
    assert_eq!(rig.samples(), 2 * 320 + 160_000);
    let last = rig.read.last().unwrap().0;
    let end = last.time + Duration::from_micros(last.samples as u64 * 1_000_000 / 16_000);
    assert_eq!(end, ms(10_040));
    assert_eq!(rig.receiver.counters().dropped_samples, 0);
    rig.packet_at(2, 2 * 960 + 480_000 + 480_001, SSRC);
    assert_eq!(rig.samples(), 3 * 320 + 160_000);
    assert_eq!(rig.receiver.counters().restarts, 1);
}

#[test]
fn a_pause_that_was_read_makes_no_room_for_sound() {
    let mut rig = Rig::new(input(48_000));
    let after = |seq: u64| seq * 960 + 480_000;
    rig.packet_at(0, 0, SSRC);
    rig.packet_at(1, after(1), SSRC);
    // All but the last packet is read, so the queue is never empty.
    let mut samples = vec![0; 480_000 + 960];
    let mut read = 0;
    while read < samples.len() {
        let info = rig.receiver.recv(&mut samples[read..]).expect("there is more");
        read += info.samples;
    }
    for seq in 2..51 {
        rig.packet_at(seq, after(seq), SSRC);
    }
    assert_eq!(rig.receiver.counters().dropped_samples, 0, "one second is kept");
    rig.packet_at(51, after(51), SSRC);
    assert_eq!(rig.receiver.counters().dropped_samples, 960);
    assert_eq!(rig.samples(), 48_000);
}

#[test]
fn a_pause_goes_as_a_whole_when_the_sound_behind_it_is_too_much() {
    let mut rig = Rig::new(input(48_000));
    let after = |seq: u64| seq * 960 + 480_000;
    rig.packet_at(0, 0, SSRC);
    // The packet before the pause is sound as well.
    for seq in 1..50 {
        rig.packet_at(seq, after(seq), SSRC);
    }
    assert_eq!(rig.receiver.counters().dropped_samples, 0);
    rig.packet_at(50, after(50), SSRC);
    assert_eq!(rig.receiver.counters().dropped_samples, 960, "that one is the oldest");
    rig.packet_at(51, after(51), SSRC);
    assert_eq!(rig.receiver.counters().dropped_samples, 960 + 480_000 + 960);
    assert_eq!(rig.samples(), 48_000);
}

#[test]
fn pauses_that_nobody_reads_do_not_add_up() {
    let mut rig = Rig::new(input(16_000));
    for number in 0..20 {
        rig.packet_at(number, number * (960 + 240_000), SSRC);
    }
    // One second, and the longest pause of five; some of it stands in the resampler as samples.
    assert!((95_000..=96_000).contains(&rig.samples()), "{}", rig.samples());
    assert!(rig.receiver.counters().dropped_samples > 0);
}

#[test]
fn a_clock_that_runs_backwards_is_followed_without_a_hole() {
    let mut rig = Rig::new(input(16_000));
    rig.packet_at(0, 960_000, SSRC);
    rig.packet_at(1, 0, SSRC);
    rig.packet_at(2, 960, SSRC);
    assert_eq!(rig.origins(), [(Decoded, 960)]);
    assert_eq!(rig.receiver.counters().restarts, 1);
}

#[test]
fn another_ssrc_begins_a_stream_and_media_time_goes_on() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.packet(2);
    rig.packet_at(9_000, 77, 8);
    // A straggler of the stream that ended does not bring it back.
    rig.packet(3);
    rig.packet_at(9_001, 77 + 960, 8);
    assert_eq!(rig.origins(), [(Decoded, 960), (Concealed, 960), (Decoded, 3 * 960)]);
    let counters = rig.receiver.counters();
    assert_eq!((counters.restarts, counters.late), (1, 1));
    rig.run(ms(61));
    rig.packet(4);
    assert_eq!(rig.receiver.counters().restarts, 2, "it may come back for good");
}

#[test]
fn a_packet_far_off_in_sequence_is_believed_with_its_successor() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(10_000);
    rig.packet(20_000);
    assert_eq!(rig.samples(), 960);
    rig.packet(10_001);
    assert_eq!(rig.samples(), 1_920, "a stray packet changes nothing");
    rig.packet(20_001);
    assert_eq!(rig.samples(), 1_920, "nor does another one after it");
    rig.packet(50);
    rig.packet(51);
    rig.packet(52);
    assert_eq!(rig.samples(), 4 * 960);
    assert_eq!(rig.receiver.counters().late, 3);
}

#[test]
fn thirty_two_packets_wait_and_the_next_gives_the_gap_up() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    for seq in 2..34 {
        rig.packet(seq);
    }
    assert_eq!(rig.samples(), 960);
    rig.packet(34);
    assert_eq!(rig.samples(), 35 * 960);
    assert_eq!(rig.receiver.poll_timeout(), None);
}

#[test]
fn a_packet_that_cannot_be_read_is_concealed() {
    let mut rig = Rig::new(input(48_000));
    rig.packet(0);
    rig.receiver.handle_packet(1, 960, SSRC, b"noise", rig.now);
    rig.packet(2);
    assert_eq!(rig.origins(), [(Decoded, 960), (Concealed, 960), (Decoded, 960)]);
    rig.receiver.handle_packet(4, 960 * 4, SSRC, &[], rig.now);
    rig.packet(3);
    rig.packet(5);
    assert_eq!(rig.samples(), 6 * 960);
    assert_eq!(rig.receiver.counters().malformed, 2);
}

#[test]
fn extreme_numbers_do_no_harm() {
    let mut rig = Rig::new(input(44_100));
    for seq in [0, u64::MAX, u64::MAX - 1, 1 << 63, 0, 1, 2, u64::MAX - 5, u64::MAX - 4, u64::MAX] {
        for time in [0, u64::MAX, u64::MAX / 2] {
            rig.packet_at(seq, time, SSRC);
            rig.run(ms(30));
        }
    }
    rig.read();
}

/// The order in which packets arrive: each is lost, or delayed by so many steps.
fn network() -> impl Strategy<Value = Vec<Option<u8>>> {
    prop::collection::vec(prop::option::weighted(0.8, 0u8..6), 1..120)
}

proptest! {
    #[test]
    fn time_never_shrinks_whatever_is_lost_or_overtaken(
        network in network(),
        rate in prop::sample::select(vec![8_000u32, 12_000, 16_000, 24_000, 44_100, 48_000]),
    ) {
        let mut rig = Rig::new(input(rate));
        // Both ends arrive: only then is it known how much time passed.
        let last = network.len() as u64 + 1;
        let delayed = |(seq, delay): (u64, &Option<u8>)| Some((seq + u64::from((*delay)?), seq));
        let mut arrivals: Vec<(u64, u64)> =
            (1..).zip(&network).filter_map(delayed).chain([(0, 0), (last + 6, last)]).collect();
        arrivals.sort_unstable();
        let came: BTreeSet<u64> = arrivals.iter().map(|&(_, seq)| seq).collect();
        let mut step = 0;
        for (at, seq) in arrivals {
            rig.run(ms(20) * (at - step) as u32);
            step = at;
            rig.packet(seq);
            rig.read();
        }
        rig.run(ms(60));
        let elapsed = ((last + 1) * 960 * u64::from(rate)).div_ceil(48_000);
        prop_assert_eq!(rig.samples(), elapsed);
        let mut position = 0;
        for (info, _) in &rig.read {
            let time = position * 1_000_000_000 / u64::from(rate);
            prop_assert_eq!(info.time, Duration::from_nanos(time));
            position += info.samples as u64;
        }
        let counters = rig.receiver.counters();
        prop_assert_eq!(counters.dropped_samples, 0);
        prop_assert_eq!(counters.packets, came.len() as u64);
        let given = (last + 1) - (counters.concealed_samples + counters.silence_samples) / 960;
        prop_assert_eq!(given + counters.late, came.len() as u64);
    }
}
