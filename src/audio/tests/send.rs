//! The pacing clock and the queue behind it.

use std::time::{Duration, Instant};

use super::{ms, origin, out, sine};
use crate::audio::{AudioCodec, AudioPacket, AudioSender, Told};
use crate::config::AudioOut;
use crate::{AudioFrame, AudioId, AudioIdle, SendError};

/// A packet, kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) data: Vec<u8>,
    pub(super) rtp_time: u64,
    pub(super) talkspurt: bool,
    pub(super) level: (u8, bool),
    pub(super) redundant: bool,
}

impl From<AudioPacket<'_>> for Sent {
    fn from(packet: AudioPacket<'_>) -> Sent {
        let AudioPacket { data, rtp_time, talkspurt, is_sound, level, redundant } = packet;
        let level = (level.expect("it was asked for"), is_sound);
        Sent { data: data.to_vec(), rtp_time, talkspurt, level, redundant }
    }
}

/// A sender on virtual time, and all that it gave.
pub(super) struct Rig {
    pub(super) sender: AudioSender,
    pub(super) now: Instant,
    pub(super) packets: Vec<(Instant, Sent)>,
    pub(super) started: Vec<AudioId>,
    pub(super) finished: Vec<(AudioId, u64)>,
}

impl Rig {
    pub(super) fn new(config: AudioOut) -> Rig {
        let now = origin();
        let mut sender = AudioSender::new(config, AudioCodec::Null);
        sender.set_takes_levels(true);
        let (started, finished) = (Vec::new(), Vec::new());
        Rig { sender, now, packets: Vec::new(), started, finished }
    }

    /// Serves every deadline up to `end`, on time.
    pub(super) fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.sender.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.serve();
        }
        self.now = end;
    }

    pub(super) fn run(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Serves what is due now, as a driver does.
    pub(super) fn serve(&mut self) {
        while let Some(packet) = self.sender.handle_timeout(self.now) {
            self.packets.push((self.now, Sent::from(packet)));
        }
        while let Some(told) = self.sender.poll_told() {
            match told {
                Told::Began(id) => self.started.push(id),
                Told::Ended(id, samples) => {
                    assert!(self.started.contains(&id), "{id:?} ends and never began");
                    self.finished.push((id, samples));
                }
            }
        }
    }

    pub(super) fn send(&mut self, samples: &[i16], rate: u32) -> Result<AudioId, SendError> {
        self.sender.send(AudioFrame::mono(samples, rate), self.now)
    }
}

#[test]
fn a_piece_goes_out_in_packets_at_exact_times_and_finishes() {
    let mut rig = Rig::new(out(24_000));
    let start = rig.now;
    rig.sender.start(start);
    let id = rig.send(&[7; 24_000], 24_000).unwrap();
    rig.run(ms(2_000));
    assert_eq!(rig.finished, [(id, 24_000)]);
    // 50 packets of sound, 100 ms of zeros, and two that begin the pause.
    assert_eq!(rig.packets.len(), 57);
    for (at, (time, packet)) in rig.packets.iter().enumerate() {
        assert_eq!(*time, start + ms(20) * at as u32);
        assert_eq!(packet.rtp_time, 960 * at as u64);
        assert_eq!(packet.talkspurt, at == 0);
        assert_eq!(packet.level.1, at < 50);
    }
    assert_eq!(rig.sender.poll_timeout(), None);
}

pub(super) fn steps(count: usize, rate: u32) -> Vec<i16> {
    // Each 10 ms at a level of its own: the null codec shows every one of them.
    (0..count).flat_map(|at| vec![at as i16 + 1; rate as usize / 100]).collect()
}

/// The steps that arrived, silence left out.
pub(super) fn heard(packets: &[(Instant, Sent)]) -> Vec<i16> {
    let mut decoder = AudioCodec::Null.decoder(super::input(48_000));
    let mut samples = Vec::new();
    for (_, packet) in packets {
        assert!(decoder.decode(&packet.data, &mut samples) > 0);
    }
    samples.chunks(480).map(|chunk| chunk[0]).filter(|&step| step != 0).collect()
}

#[test]
fn nothing_goes_out_before_the_start_and_what_was_queued_goes_out_after_it() {
    let mut rig = Rig::new(out(16_000));
    rig.send(&steps(4, 16_000), 16_000).unwrap();
    rig.run(ms(5_000));
    assert_eq!(rig.packets, []);
    rig.sender.start(rig.now);
    rig.run(ms(60));
    assert_eq!(heard(&rig.packets), [1, 2, 3, 4]);
    assert_eq!(rig.packets[0].1.rtp_time, 0);
}

#[test]
fn a_remainder_is_padded_when_its_deadline_comes() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    let id = rig.send(&vec![9; 330], 16_000).unwrap();
    rig.run(ms(19));
    assert_eq!(rig.finished, []);
    rig.run(ms(1));
    assert_eq!(rig.finished, [(id, 330)]);
    assert_eq!(rig.sender.coded_samples()[..11], [9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0]);
}

#[test]
fn a_piece_has_not_finished_while_its_end_is_in_the_filter() {
    let mut rig = Rig::new(out(48_000));
    rig.sender.start(rig.now);
    let id = rig.send(&sine(440.0, 24_000, 480), 24_000).unwrap();
    rig.run(ms(19));
    assert_eq!((rig.packets.len(), rig.finished.len()), (1, 0));
    rig.run(ms(1));
    assert_eq!(rig.finished, [(id, 480)]);
    assert!(rig.packets[1].1.level.1, "the end of the piece is sound");
}

#[test]
fn a_piece_begins_with_the_packet_that_has_its_first_sample_and_each_once() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    for len in [320, 1, 319, 960] {
        rig.send(&vec![9; len], 16_000).unwrap();
    }
    let began = [vec![0], vec![0, 1, 2], vec![0, 1, 2, 3], vec![0, 1, 2, 3]];
    for ids in began {
        rig.run(ms(0));
        assert_eq!(rig.started, ids.into_iter().map(AudioId).collect::<Vec<_>>());
        rig.now += ms(20);
    }
}

#[test]
fn a_piece_has_not_begun_while_its_first_sample_is_in_the_filter() {
    let mut rig = Rig::new(out(48_000));
    rig.sender.start(rig.now);
    // The filter keeps 10 samples and more back, and the second piece has fewer than that left.
    rig.send(&sine(440.0, 24_000, 475), 24_000).unwrap();
    rig.send(&sine(440.0, 24_000, 480), 24_000).unwrap();
    rig.run(ms(0));
    assert_eq!(rig.started, [AudioId(0)]);
    rig.run(ms(20));
    assert_eq!((rig.started.len(), rig.finished.len()), (2, 1));
}

#[test]
fn a_remainder_is_joined_by_the_next_piece_without_a_seam() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&vec![1; 330], 16_000).unwrap();
    rig.send(&vec![2; 310], 16_000).unwrap();
    rig.run(ms(20));
    assert_eq!(rig.sender.coded_samples()[..10], [1; 10]);
    assert_eq!(rig.sender.coded_samples()[10..], [2; 310]);
    assert_eq!(rig.finished.len(), 2);
}

#[test]
fn spacing_is_exact_over_a_day_though_every_wake_up_is_late() {
    let config = AudioOut { idle: AudioIdle::Silence, ..out(24_000) };
    let mut sender = AudioSender::new(config, AudioCodec::Null);
    let start = origin();
    sender.start(start);
    let packets = 24 * 3_600 * 50u64;
    for at in 0..packets {
        let due = start + ms(20 * at);
        assert_eq!(sender.poll_timeout(), Some(due));
        let late = Duration::from_nanos(at * 7_919 % 19_999_999);
        let packet = sender.handle_timeout(due + late).unwrap();
        assert_eq!(packet.rtp_time, 960 * at);
        assert_eq!(packet.talkspurt, at == 0);
    }
    assert_eq!(sender.counters().slips, 0);
    assert_eq!(sender.counters().packets, packets);
}

#[test]
fn odd_rates_do_not_drift() {
    for rate in [11_025, 22_050, 44_100] {
        let mut rig = Rig::new(out(24_000));
        rig.sender.start(rig.now);
        // 100 s in blocks of 441 samples, as they come.
        for _ in 0..100 * rate / 441 {
            rig.send(&[3; 441], rate).unwrap();
            rig.run(Duration::from_nanos(441 * 1_000_000_000 / u64::from(rate)));
        }
        rig.run(ms(100));
        let sent: u64 = rig.finished.iter().map(|(_, samples)| samples).sum();
        assert_eq!(sent, 100 * u64::from(rate));
        let sound = rig.packets.iter().filter(|(_, packet)| packet.level.1).count();
        assert!((5_000..=5_002).contains(&sound), "{rate}: {sound} packets");
        assert_eq!(rig.sender.counters().slips, 0);
    }
}

#[test]
fn a_stall_slips_the_clock_without_a_burst_and_drops_nothing() {
    for stall in [20, 1_000, 2_000] {
        let mut rig = Rig::new(out(16_000));
        rig.sender.start(rig.now);
        rig.send(&steps(100, 16_000), 16_000).unwrap();
        rig.run(ms(200));
        let before = rig.packets.len();
        // The driver sleeps over the deadline at 220 ms.
        rig.now += ms(20 + stall);
        rig.serve();
        assert_eq!(rig.packets.len(), before + 1, "one packet and no burst");
        let (at, packet) = rig.packets.last().unwrap().clone();
        assert!(packet.talkspurt);
        assert_eq!(packet.rtp_time, 48 * (220 + stall));
        rig.run(ms(2_000));
        for (n, pair) in rig.packets[before..].windows(2).enumerate() {
            assert_eq!(pair[1].0 - pair[0].0, ms(20), "packet {n} after the stall");
            assert_eq!(pair[1].1.rtp_time - pair[0].1.rtp_time, 960);
        }
        assert_eq!(rig.packets[before + 1].0, at + ms(20));
        assert_eq!(heard(&rig.packets), (1..=100).collect::<Vec<i16>>());
        let counters = rig.sender.counters();
        assert_eq!((counters.slips, counters.slipped), (1, ms(stall)));
    }
}

#[test]
fn a_stall_that_ends_between_two_points_of_the_grid_leaves_the_grid_as_it_was() {
    for (stall, slipped, next) in [
        (20_001, 40, 39_999),
        (30_000, 40, 30_000),
        (39_999, 40, 20_001),
        (1_013_000, 1_020, 27_000),
    ] {
        let mut rig = Rig::new(out(16_000));
        rig.sender.start(rig.now);
        rig.send(&steps(200, 16_000), 16_000).unwrap();
        rig.run(ms(200));
        let (grid, before) = (rig.now, rig.packets.len());
        rig.now += ms(20) + Duration::from_micros(stall);
        let back = rig.now;
        rig.serve();
        assert_eq!(rig.packets.len(), before + 1, "one packet and no burst");
        let packet = &rig.packets[before].1;
        assert_eq!((packet.rtp_time, packet.talkspurt), (48 * (220 + slipped), true));
        rig.run(ms(3_000));
        assert_eq!(rig.packets[before + 1].0 - back, Duration::from_micros(next));
        for (n, (at, packet)) in (1..).zip(&rig.packets[before + 1..]) {
            assert_eq!(*at, grid + ms(20 + slipped + 20 * n), "packet {n} after the stall");
            assert_eq!(packet.rtp_time, 48 * (220 + slipped + 20 * n));
        }
        assert_eq!(heard(&rig.packets), (1..=200).collect::<Vec<i16>>());
        assert_eq!(rig.sender.counters().slipped, ms(slipped));
    }
}

#[test]
fn a_hundred_clocks_that_stall_together_do_not_tick_together_afterwards() {
    let start = origin();
    let config = AudioOut { idle: AudioIdle::Silence, ..out(24_000) };
    let phase = |at: u32| Duration::from_micros(200) * at;
    let mut senders: Vec<AudioSender> =
        (0..100).map(|_| AudioSender::new(config, AudioCodec::Null)).collect();
    for (at, sender) in (0..).zip(&mut senders) {
        sender.start(start + phase(at));
        while let Some(due) = sender.poll_timeout().filter(|&due| due < start + ms(1_000)) {
            assert!(sender.handle_timeout(due).is_some());
        }
    }
    let back = start + ms(1_050);
    for (at, sender) in (0..).zip(&mut senders) {
        assert!(sender.handle_timeout(back).is_some(), "clock {at} is due");
        assert!(sender.handle_timeout(back).is_none(), "clock {at} sends one packet");
        let next = sender.poll_timeout().unwrap();
        assert!((ms(20)..ms(40)).contains(&(next - back)), "clock {at}");
        let since = (next - start - phase(at)).as_nanos();
        assert_eq!(since % ms(20).as_nanos(), 0, "clock {at} is on its own grid");
        let packet = sender.handle_timeout(next).unwrap();
        assert_eq!(u128::from(packet.rtp_time) * 1_000_000, since * 48, "clock {at}");
    }
}

#[test]
fn a_driver_that_is_late_each_time_sends_a_packet_at_every_wake_up() {
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Silence, ..out(24_000) });
    let start = rig.now;
    rig.sender.start(start);
    for turn in 1..=500 {
        rig.now += Duration::from_micros(41_300);
        rig.serve();
        assert_eq!(rig.packets.len(), turn);
    }
    for (at, packet) in &rig.packets {
        // The first wake-up, after 41.3 ms, made the packet of the point at 60 ms.
        let point = start + ms(60 + packet.rtp_time / 48);
        let off = at.max(&point).duration_since(*at.min(&point));
        assert!(off < ms(20), "{off:?} off the grid");
    }
}

#[test]
fn lateness_below_a_packet_time_does_not_slip() {
    let mut rig = Rig::new(out(16_000));
    let start = rig.now;
    rig.sender.start(start);
    rig.send(&steps(10, 16_000), 16_000).unwrap();
    rig.now += Duration::from_nanos(19_999_999);
    rig.serve();
    assert_eq!(rig.sender.poll_timeout(), Some(start + ms(20)));
    assert_eq!(rig.sender.counters().slips, 0);
    assert_eq!(rig.packets[0].1.rtp_time, 0);
}

#[test]
fn a_pause_that_is_not_sent_shows_in_rtp_time_and_anchors_the_clock_anew() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    rig.run(Duration::from_micros(3_000_123));
    assert_eq!(rig.packets.len(), 8);
    let resumed = rig.now;
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    rig.run(ms(100));
    let (at, packet) = &rig.packets[8];
    assert_eq!(*at, resumed);
    assert!(packet.talkspurt);
    // 3.000123 s at 48 kHz, rounded down.
    assert_eq!(packet.rtp_time, 144_005);
    assert_eq!(rig.packets[9].1.rtp_time, 144_965);
    assert!(!rig.packets[9].1.talkspurt);
}

#[test]
fn sound_right_after_a_pause_began_keeps_a_packet_time_of_distance() {
    let mut rig = Rig::new(out(16_000));
    let start = rig.now;
    rig.sender.start(start);
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    rig.run(ms(145));
    assert_eq!(rig.sender.poll_timeout(), None);
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    assert_eq!(rig.sender.poll_timeout(), Some(start + ms(160)));
    rig.run(ms(20));
    assert!(!rig.packets[8].1.talkspurt, "no time was left out");
}

#[test]
fn silence_goes_out_at_full_rate_from_the_start_on() {
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Silence, ..out(16_000) });
    rig.sender.start(rig.now);
    rig.run(ms(990));
    assert_eq!(rig.packets.len(), 50);
    assert!(rig.packets.iter().all(|(_, packet)| packet.level == (127, false)));
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    rig.run(ms(1_000));
    assert_eq!(rig.packets.len(), 100);
    assert_eq!(heard(&rig.packets), [1, 2]);
    assert_eq!(rig.packets.iter().filter(|(_, packet)| packet.talkspurt).count(), 1);
}

#[test]
fn discontinuous_silence_goes_out_every_400_ms_and_sound_does_not_wait_for_it() {
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Dtx, ..out(16_000) });
    let start = rig.now;
    rig.sender.start(start);
    rig.run(ms(1_000));
    let times: Vec<Duration> = rig.packets.iter().map(|(at, _)| *at - start).collect();
    assert_eq!(times, [ms(0), ms(400), ms(800)]);
    assert_eq!(rig.packets[2].1.rtp_time, 38_400);
    rig.send(&steps(2, 16_000), 16_000).unwrap();
    rig.run(ms(1_000));
    let times: Vec<Duration> = rig.packets[3..].iter().map(|(at, _)| *at - start).collect();
    assert_eq!(
        times,
        [1_000, 1_020, 1_040, 1_060, 1_080, 1_100, 1_120, 1_140, 1_540, 1_940].map(ms)
    );
    let spurts: Vec<usize> =
        (0..rig.packets.len()).filter(|&at| rig.packets[at].1.talkspurt).collect();
    assert_eq!(spurts, [3]);
}

#[test]
fn a_stopped_clock_keeps_the_queue_and_goes_on_in_time() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&steps(8, 16_000), 16_000).unwrap();
    rig.run(ms(20));
    rig.sender.stop();
    assert_eq!(rig.sender.poll_timeout(), None);
    rig.run(ms(980));
    rig.sender.start(rig.now);
    rig.run(ms(200));
    assert_eq!(heard(&rig.packets), (1..=8).collect::<Vec<i16>>());
    assert_eq!(rig.packets[2].1.rtp_time, 48_000);
    assert!(rig.packets[2].1.talkspurt);
    assert_eq!(rig.sender.counters().slips, 0);
}

#[test]
fn every_packet_time_is_kept() {
    use crate::PacketTime::{Ms10, Ms20, Ms40, Ms60};
    for packet_time in [Ms10, Ms20, Ms40, Ms60] {
        let mut rig = Rig::new(AudioOut { packet_time, ..out(48_000) });
        rig.sender.start(rig.now);
        rig.send(&steps(24, 48_000), 48_000).unwrap();
        rig.run(ms(1_000));
        assert_eq!(heard(&rig.packets), (1..=24).collect::<Vec<i16>>());
        assert_eq!(
            rig.packets.len(),
            24 / packet_time.chunks() + 10usize.div_ceil(packet_time.chunks()) + 2
        );
        assert_eq!(rig.packets[1].0 - rig.packets[0].0, packet_time.duration());
    }
}

#[test]
fn rates_and_channels_may_change_between_pieces() {
    let mut rig = Rig::new(AudioOut { channels: 2, ..out(48_000) });
    rig.sender.start(rig.now);
    let mut ids = Vec::new();
    for rate in [8_000, 44_100, 22_050, 48_000, 16_000] {
        ids.push((rig.send(&sine(440.0, rate, rate as usize / 10), rate).unwrap(), rate / 10));
        let stereo = sine(440.0, rate, rate as usize / 5);
        let frame = AudioFrame::stereo(&stereo, rate);
        ids.push((rig.sender.send(frame, rig.now).unwrap(), rate / 10));
    }
    rig.run(ms(2_000));
    let expected: Vec<_> = ids.iter().map(|&(id, samples)| (id, u64::from(samples))).collect();
    assert_eq!(rig.finished, expected);
    let sound = rig.packets.iter().filter(|(_, packet)| packet.level.0 < 127).count();
    assert!((50..=51).contains(&sound), "one second and the filter's delay: {sound}");
}

#[test]
fn two_channels_become_their_mean_where_one_is_sent_and_one_becomes_both() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    let pairs: Vec<i16> = (0..320).flat_map(|at| [at, at + 100]).collect();
    let id = rig.sender.send(AudioFrame::stereo(&pairs, 16_000), rig.now).unwrap();
    rig.run(ms(20));
    assert_eq!(rig.finished, [(id, 320)]);
    assert_eq!(rig.packets.len(), 2);
    assert_eq!(rig.packets.iter().filter(|(_, packet)| packet.level.1).count(), 1);

    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.sender.send(AudioFrame::stereo(&pairs, 16_000), rig.now).unwrap();
    rig.serve();
    assert_eq!(rig.sender.coded_samples(), (50..370).collect::<Vec<i16>>());

    let mut rig = Rig::new(AudioOut { channels: 2, ..out(16_000) });
    rig.sender.start(rig.now);
    rig.send(&[7, 8, 9], 16_000).unwrap();
    rig.serve();
    assert_eq!(rig.sender.coded_samples()[..8], [7, 7, 8, 8, 9, 9, 0, 0]);
    assert_eq!(rig.sender.coded_samples().len(), 640, "silence fills up both channels");
}

#[test]
fn a_converted_piece_is_sound_until_the_filter_has_settled_and_no_longer() {
    let mut rig = Rig::new(out(24_000));
    rig.sender.start(rig.now);
    rig.send(&sine(440.0, 16_000, 1_600), 16_000).unwrap();
    rig.run(ms(1_000));
    let sound = rig.packets.iter().filter(|(_, packet)| packet.level.1).count();
    assert!((6..=7).contains(&sound), "100 ms and less than 20 ms of the filter: {sound}");
    assert_eq!(rig.packets.len(), sound + 7, "and 100 ms of zeros, and the end");
}

#[test]
fn the_level_is_that_of_the_packet_below_full_scale() {
    // -10 log10 of the mean square: full scale, half of it, a tenth, and full scale half the time.
    let full = [i16::MIN; 320];
    let half = [16_384; 320];
    let tenth = [3_277; 320];
    let short = [i16::MIN; 160];
    for (samples, level) in [(&full[..], 0), (&half[..], 6), (&tenth[..], 20), (&short[..], 3)] {
        let mut rig = Rig::new(out(16_000));
        rig.sender.start(rig.now);
        rig.send(samples, 16_000).unwrap();
        rig.serve();
        assert_eq!(rig.packets[0].1.level, (level, true));
    }
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Silence, ..out(16_000) });
    rig.sender.start(rig.now);
    rig.run(ms(500));
    assert!(rig.packets.iter().all(|(_, packet)| packet.level == (127, false)));
    assert_eq!(rig.sender.counters().packets, rig.packets.len() as u64);
}

#[test]
fn every_piece_after_a_pause_is_told_of_as_soon_as_the_first_one_was() {
    // Zeros keep the filter going in the pauses; they belong to no piece.
    let mut rig = Rig::new(AudioOut { idle: AudioIdle::Silence, ..out(24_000) });
    rig.sender.start(rig.now);
    for round in 0..4 {
        let id = rig.send(&sine(440.0, 16_000, 1_600), 16_000).unwrap();
        rig.run(ms(79));
        assert_eq!(rig.finished.len(), round, "five packets hold it");
        rig.run(ms(41));
        assert_eq!(rig.finished.last(), Some(&(id, 1_600)));
        rig.run(ms(280));
    }
}

#[test]
fn two_channels_of_sixty_seconds_are_as_long_as_one() {
    let mut rig = Rig::new(out(16_000));
    let samples = vec![0; 8_000 * 60 * 2];
    assert!(rig.sender.send(AudioFrame::stereo(&samples, 8_000), rig.now).is_ok());
}

#[test]
fn sixty_seconds_are_taken_and_not_a_sample_more() {
    for rate in [8_000, 22_050, 48_000] {
        let mut rig = Rig::new(out(16_000));
        rig.sender.start(rig.now);
        rig.send(&vec![0; rate as usize * 60], rate).unwrap();
        let Err(SendError::QueueFull { limit: 60_000, wait: Some(wait) }) = rig.send(&[1], rate)
        else {
            panic!("one sample too many was taken at {rate} Hz")
        };
        rig.run(wait);
        rig.send(&[1], rate).unwrap();
        let longer = vec![0; rate as usize * 60 + 1];
        let (value, expected) = (longer.len() as u64, "at most 60 s of sound");
        let never = SendError::Unsupported { field: "samples", value, expected };
        assert_eq!(rig.send(&longer, rate), Err(never), "waiting for room would not help");
    }
}

#[test]
fn the_wait_that_is_told_is_enough_and_not_longer_than_needed() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&vec![0; 16_000 * 60], 16_000).unwrap();
    let second = vec![0; 16_000];
    let Err(SendError::QueueFull { wait: Some(wait), .. }) = rig.send(&second, 16_000) else {
        panic!("61 s were taken")
    };
    rig.run(wait - Duration::from_nanos(1));
    assert!(rig.send(&second, 16_000).is_err());
    rig.run(Duration::from_nanos(1));
    rig.send(&second, 16_000).unwrap();
}

#[test]
fn eight_thousand_pieces_are_taken_and_not_one_more() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    for _ in 0..8_192 {
        rig.send(&[1], 16_000).unwrap();
    }
    let Err(SendError::QueueFull { wait: Some(wait), .. }) = rig.send(&[1], 16_000) else {
        panic!("one piece too many was taken")
    };
    rig.run(wait);
    rig.send(&[1], 16_000).unwrap();
}

#[test]
fn pieces_whose_end_nobody_polled_take_their_places_too() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    for _ in 0..8_192 {
        rig.send(&[1], 16_000).unwrap();
    }
    // A packet takes 320 of them.
    assert!(rig.sender.handle_timeout(rig.now).is_some());
    assert!(rig.send(&[1], 16_000).is_err());
    for id in (0..320).map(AudioId) {
        assert_eq!(rig.sender.poll_told(), Some(Told::Began(id)));
        assert!(rig.send(&[1], 16_000).is_err(), "its end takes the place, and not its beginning");
        assert_eq!(rig.sender.poll_told(), Some(Told::Ended(id, 1)));
        assert!(rig.send(&[1], 16_000).is_ok(), "{id:?} made room");
        assert!(rig.send(&[1], 16_000).is_err());
    }
}

#[test]
fn the_wait_for_a_place_is_what_is_left_of_the_first_piece() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    rig.send(&[1; 16_000], 16_000).unwrap();
    for _ in 1..8_192 {
        rig.send(&[1], 16_000).unwrap();
    }
    rig.run(ms(490));
    // 25 packets went out, the next is due in 10 ms; the last of 25 more takes the piece's end.
    let Err(SendError::QueueFull { wait: Some(wait), .. }) = rig.send(&[1], 16_000) else {
        panic!("one piece too many was taken")
    };
    assert_eq!(wait, ms(490));
    rig.run(wait);
    rig.send(&[1], 16_000).unwrap();
}

#[test]
fn what_is_no_sound_is_refused_and_leaves_nothing_behind() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    let mut refused = |samples: &[i16], rate, channels| {
        let frame = AudioFrame { samples, rate, channels };
        rig.sender.send(frame, rig.now).unwrap_err()
    };
    assert_eq!(refused(&[], 16_000, 1), SendError::Empty);
    let field = |error| match error {
        SendError::Unsupported { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(refused(&[1], 96_000, 1)), "rate");
    assert_eq!(field(refused(&[1], 16_000, 3)), "channels");
    assert_eq!(field(refused(&[1], 16_000, 0)), "channels");
    assert_eq!(field(refused(&[1, 2, 3], 16_000, 2)), "samples");
    assert_eq!(rig.sender.poll_timeout(), None);
    assert_eq!(rig.send(&[1], 16_000), Ok(AudioId(0)));
}
