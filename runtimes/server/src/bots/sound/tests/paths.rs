//! Each path, and what an echo makes of it.

use super::*;

/// A path of packets.
#[derive(Clone, Copy)]
struct Path {
    block: Duration,
    /// Blocks of a packet.
    packet: u64,
    /// By how much the peer's clock is faster, in millionths.
    ppm: i64,
    /// The most that a packet is late.
    jitter: Duration,
}

impl Path {
    const fn new() -> Path {
        Path { block: PACKET_TIME, packet: 1, ppm: 0, jitter: Duration::ZERO }
    }

    /// By our clock, when so many blocks have been said by the peer's.
    fn said(self, blocks: u64) -> Duration {
        let nanos = (self.block.as_nanos() as u64 * blocks) as i64;
        Duration::from_nanos((nanos - nanos / 1_000_000 * self.ppm) as u64)
    }

    fn comes(self, block: u64) -> Comes {
        let packet = block / self.packet;
        let mixed = packet.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32;
        let jitter = self.jitter * (mixed % 1_000) as u32 / 1_000;
        Comes { at: self.said((packet + 1) * self.packet) + jitter, is_filler: false }
    }

    fn blocks(self, seconds: u64) -> impl Iterator<Item = Comes> {
        let count = 1_000 * seconds / self.block.as_millis() as u64;
        (0..count).map(move |block| self.comes(block))
    }
}

fn rig(rate: u32) -> Rig {
    Rig::new(rate, 1, PACKET_TIME)
}

#[test]
fn on_a_clean_path_an_echo_is_held_for_14_ms_and_not_touched() {
    for (rate, channels) in [(8_000, 1), (16_000, 1), (24_000, 1), (44_100, 1), (48_000, 2)] {
        let mut rig = Rig::new(rate, channels, PACKET_TIME);
        rig.run(Path::new().blocks(60), tone(rate));
        let slack = 24.0 * 1e3 / f64::from(rate);
        let (low, high) = rig.lags(0.0);
        assert!((low - 14.0 - slack).abs() < 0.01 && (high - low) < 0.01, "{low} to {high}");
        assert_eq!(rig.counters(), Counters { begun: 1, ..Counters::default() });
        assert!(rig.ear.step <= step_of_tone(rate), "a step of {}", rig.ear.step);
    }
}

#[test]
fn what_goes_out_on_a_clean_path_is_what_came_to_the_bit() {
    let mut rig = rig(16_000);
    let mut noise = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as i16;
    let (mut said, mut heard) = (Vec::new(), Vec::<i16>::new());
    for block in 0..500u64 {
        let samples: Vec<i16> = (block * 320..(block + 1) * 320).map(&mut noise).collect();
        rig.go_on(rig.start + PACKET_TIME * block as u32);
        let frame = AudioFrame::mono(&samples, 16_000);
        let piece = rig.echo.hear(frame, false, rig.now).map(|it| it.samples.to_vec());
        heard.extend(piece.iter().flatten());
        rig.send(piece);
        said.extend(samples);
    }
    // The first block waits in the echo.
    assert_eq!(heard, said[320..]);
}

#[test]
fn the_first_packet_is_whole_whatever_blocks_are() {
    for (block, packet) in [(10, 1), (10, 2), (20, 1), (20, 2), (20, 3)] {
        let block = block * MS;
        let mut rig = Rig::new(16_000, 1, block);
        rig.run(Path { block, packet, ..Path::new() }.blocks(20), tone(16_000));
        // The slack, the fade's beginning, and sound to the end.
        assert!(rig.ear.first[30..].iter().filter(|sample| **sample == 0).count() < 20);
        assert_eq!(rig.counters(), Counters { begun: 1, ..Counters::default() });
        assert!(rig.has_no_hole());
        // What comes in pieces is held from when it is a packet on; of what comes together the last
        // waits longest.
        let whole = ms(block * packet as u32);
        let (low, high) = rig.lags(0.0);
        assert!(low >= 15.5 + (20.0 - whole).max(0.0), "{low} of {whole} ms");
        assert!(high <= 15.5 + (20.0 - whole).abs().max(10.0) + 0.1, "{high} of {whole} ms");
        assert!(rig.ear.step <= step_of_tone(16_000), "a step of {}", rig.ear.step);
    }
}

#[test]
fn jitter_costs_as_many_packets_as_it_takes_and_makes_no_hole() {
    for (jitter, longest, bridged) in [(5, 16.0, 0), (10, 36.0, 0), (20, 36.0, 1), (30, 56.0, 1)] {
        for talks in [false, true] {
            let mut rig = rig(16_000);
            let path = Path { jitter: jitter * MS, ..Path::new() };
            match talks {
                true => rig.run(path.blocks(300), talk(16_000)),
                false => rig.run(path.blocks(300), tone(16_000)),
            };
            let (counters, (_, high)) = (rig.counters(), rig.lags(0.5));
            assert!(high <= longest, "a lag of {high} ms");
            assert!(counters.bridged <= bridged && counters.dry == 0, "{counters:?}");
            assert!(rig.ear.step <= step_of_tone(16_000) * 5 / 4, "a step of {}", rig.ear.step);
            if !talks {
                assert!(rig.has_no_hole());
            }
        }
    }
}

/// Hours of a clock that is off, and what the lag was.
fn hours(ppm: i64, hours: u64, talks: bool) -> Rig {
    let mut rig = rig(8_000);
    let path = Path { ppm, ..Path::new() };
    match talks {
        true => rig.run(path.blocks(hours * 3_600), talk(8_000)),
        false => rig.run(path.blocks(hours * 3_600), tone(8_000)),
    };
    let (low, high) = rig.lags(0.0);
    let begun = rig.lags[0];
    assert!(low >= begun - 20.0 && high <= begun + 20.0, "from {begun}: {low} to {high}");
    let counters = rig.counters();
    assert_eq!((counters.bridged, counters.dry, counters.cut), (0, 0, 0), "{counters:?}");
    assert!(counters.moved > 0);
    rig
}

#[test]
fn four_hours_of_loud_sound_at_200_ppm_lag_within_20_ms_and_have_no_seam() {
    for ppm in [-200, 200] {
        let rig = hours(ppm, 4, false);
        assert!(rig.has_no_hole());
        assert!(rig.ear.step <= step_of_tone(8_000) + 30, "a step of {}", rig.ear.step);
    }
}

#[test]
fn an_hour_of_loud_sound_at_450_ppm_lags_within_20_ms_and_has_no_seam() {
    for ppm in [-450, 450] {
        let rig = hours(ppm, 1, false);
        assert!(rig.has_no_hole());
        assert!(rig.ear.step <= step_of_tone(8_000) + 30, "a step of {}", rig.ear.step);
    }
}

#[test]
fn what_clocks_drift_is_put_in_and_left_out_of_pauses() {
    for ppm in [-450, -200, 200, 450] {
        let rig = hours(ppm, 1, true);
        assert!(rig.hole_ms() < 530.0, "{} ms", rig.hole_ms());
        assert!(rig.ear.step <= step_of_tone(8_000), "a step of {}", rig.ear.step);
    }
}

#[test]
fn a_stall_of_two_seconds_is_forgotten_five_seconds_later() {
    let mut rig = rig(16_000);
    let blocks = Path::new().blocks(60).enumerate().map(|(number, comes)| {
        let is_stalled = (500..600).contains(&number);
        Comes { at: if is_stalled { PACKET_TIME * 600 } else { comes.at }, ..comes }
    });
    rig.run(blocks, tone(16_000));
    let counters = rig.counters();
    // 400 ms and the block after which that is too much.
    assert!(rig.lags(0.0).1 <= 420.0, "{:?}", rig.lags(0.0));
    // 12 s at the stall's end, and 5 after it.
    assert!(rig.lags(17.0 / 60.0).1 <= 36.0, "{:?}", rig.lags(17.0 / 60.0));
    assert!(counters.bridged == 2 && counters.cut >= 80, "{counters:?}");
    assert!(rig.ear.step <= step_of_tone(16_000) * 5 / 4, "a step of {}", rig.ear.step);
}

#[test]
fn bursts_are_taken_as_jitter() {
    let mut rig = rig(16_000);
    // Three packets at once, each 60 ms.
    let blocks = (0..3_000u64).map(|block| Path::new().comes(block / 3 * 3 + 2));
    rig.run(blocks, tone(16_000));
    assert!(rig.has_no_hole());
    assert_eq!(rig.counters().cut, 0);
    assert_eq!(rig.counters().bridged, 0);
    assert!(rig.lags(0.5).1 <= 80.0, "{:?}", rig.lags(0.5));
}

#[test]
fn a_peer_that_is_silent_for_a_while_is_echoed_at_once_again() {
    let mut rig = rig(16_000);
    // A second of sound, then two without packets: their time is filled when sound comes again.
    let blocks = (0..3_000u64).map(|block| {
        let (round, place) = (block / 150, block % 150);
        let is_filler = round > 0 && place < 100;
        let at = if is_filler { round * 150 + 100 } else { block };
        Comes { at: Path::new().comes(at).at, is_filler }
    });
    rig.run(blocks, talk(16_000));
    let (counters, lags) = (rig.counters(), rig.lags(0.0));
    assert!(lags.1 <= 60.0, "{lags:?}");
    assert!(counters.begun >= 19 && counters.cut == 0, "{counters:?}");
    assert!(rig.ear.step <= step_of_tone(16_000) * 5 / 4, "a step of {}", rig.ear.step);
}

#[test]
fn a_short_break_is_bridged_and_the_lag_does_not_stay() {
    let mut rig = rig(16_000);
    let blocks = Path::new().blocks(120).enumerate().map(|(number, comes)| {
        let late = if number == 500 { 25 * MS } else { Duration::ZERO };
        Comes { at: comes.at + late, ..comes }
    });
    rig.run(blocks, tone(16_000));
    let counters = rig.counters();
    assert_eq!((counters.bridged, counters.dry, rig.has_no_hole()), (1, 0, true));
    assert!(rig.lags(0.9).1 <= 17.0, "{:?}", rig.lags(0.9));
    assert!(rig.ear.step <= step_of_tone(16_000) * 5 / 4, "a step of {}", rig.ear.step);
}

#[test]
fn a_driver_that_is_late_by_less_than_a_packet_makes_no_hole() {
    let mut rig = rig(16_000);
    rig.late = |packet| (packet * 7 % 18) as u32 * MS;
    rig.run(Path::new().blocks(120), tone(16_000));
    let counters = rig.counters();
    assert_eq!((counters.bridged, counters.dry, rig.has_no_hole()), (0, 0, true));
}

#[test]
fn a_rate_that_changes_in_mid_call_makes_no_hole_longer_than_a_packet() {
    let mut rig = rig(16_000);
    for rate in [16_000, 48_000, 8_000] {
        let samples: Vec<i16> = (0..u64::from(rate) / 50).map(tone(rate)).collect();
        for _ in 0..100 {
            rig.go_on(rig.now + PACKET_TIME);
            let frame = AudioFrame::mono(&samples, rate);
            let piece = rig.echo.hear(frame, false, rig.now);
            let piece = piece.map(|it| (it.samples.to_vec(), it.rate));
            if let Some((piece, rate)) = piece {
                // The model's queue has one rate.
                let len = piece.len() * 16_000 / rate as usize;
                let id = rig.pacer.send(&vec![9_000; len], rig.now);
                rig.echo.delay.queued(id, ticks(piece.len(), rate));
            }
        }
    }
    assert_eq!(rig.counters(), Counters { begun: 1, ..Counters::default() });
    assert!(rig.has_no_hole());
}

#[test]
fn who_sends_nothing_more_has_no_more_queued_than_400_ms() {
    let mut rig = rig(16_000);
    let samples = [9_000; 320];
    for block in 0..1_000 {
        rig.now = rig.start + PACKET_TIME * block;
        while rig.echo.due().is_some_and(|at| at <= rig.now) {
            let piece = rig.echo.turn(rig.now).map(|it| it.samples.to_vec());
            rig.send(piece);
        }
        let frame = AudioFrame::mono(&samples, 16_000);
        let piece = rig.echo.hear(frame, false, rig.now).map(|it| it.samples.to_vec());
        rig.send(piece);
    }
    let queued = rig.pacer.queue.len() / 16;
    assert!((400..=450).contains(&queued), "{queued} ms");
}

#[test]
fn while_somebody_pauses_it_an_echo_makes_up_two_packets_and_no_more() {
    let mut rig = rig(16_000);
    rig.run(Path::new().blocks(2), tone(16_000));
    rig.pacer.is_paused = true;
    rig.run(Path::new().blocks(7).skip(100), tone(16_000));
    assert_eq!(rig.counters().bridged, 2, "{:?}", rig.counters());
    assert!(rig.pacer.queue.len() < 16_000, "{} samples wait", rig.pacer.queue.len());
    // What goes on is sound again, and not for ever late.
    rig.pacer.is_paused = false;
    rig.pacer.deadline = Some(rig.now);
    let loud = rig.ear.loud;
    rig.run(Path::new().blocks(30).skip(350), tone(16_000));
    assert!(rig.ear.loud - loud > 22 * 16_000, "{} of 23 s", (rig.ear.loud - loud) / 16_000);
    let (_, lag) = rig.lags(0.9);
    assert!(lag < 60.0, "a lag of {lag} ms");
}

#[test]
fn an_echo_whose_sound_was_refused_begins_anew() {
    let mut rig = rig(16_000);
    rig.run(Path::new().blocks(1), tone(16_000));
    rig.echo.delay.refused();
    rig.run(Path::new().blocks(2).skip(50), tone(16_000));
    assert_eq!(rig.counters(), Counters { begun: 2, ..Counters::default() });
}

#[test]
fn an_empty_block_is_nothing() {
    let mut rig = rig(16_000);
    rig.run(Path::new().blocks(1).take(1), |_| 0);
    let empty = AudioFrame::mono(&[], 16_000);
    assert!(rig.echo.hear(empty, false, rig.now).is_none());
    rig.run(Path::new().blocks(1).skip(1), tone(16_000));
    assert_eq!(rig.counters().begun, 1);
}
