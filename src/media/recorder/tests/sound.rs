//! Recorders of decoded sound.

use proptest::prelude::*;

use super::*;
use crate::event::ClearedPiece;

const RATE: u32 = 16_000;
/// 20 ms.
const BLOCK: usize = 320;

/// A recorder whose driver wakes every 20 ms.
struct Call {
    recorder: Recorder,
    file: Vec<u8>,
    start: Instant,
    now: Instant,
}

impl Call {
    fn new(layout: RecordLayout) -> Call {
        let start = origin();
        let recorder = Recorder::wav(RATE, layout, start).unwrap();
        Call { recorder, file: Vec::new(), start, now: start }
    }

    /// 20 ms pass.
    fn tick(&mut self) {
        self.pass(20);
    }

    fn pass(&mut self, time_ms: u64) {
        self.now += ms(time_ms);
        self.recorder.handle_timeout(self.now);
        apply(&mut self.file, || self.recorder.poll_write());
    }

    fn hear(&mut self, value: i16, time: Duration) {
        self.recorder.heard(AudioFrame::mono(&[value; BLOCK], RATE), time, self.now);
    }

    fn say(&mut self, id: u64, samples: &[i16]) {
        self.recorder.said(AudioId(id), AudioFrame::mono(samples, RATE));
    }

    fn started(&mut self, id: u64) {
        self.recorder.handle_event(&Event::AudioStarted { id: AudioId(id) }, self.now);
    }

    /// Queues what starts at once.
    fn say_now(&mut self, id: u64, samples: &[i16]) {
        self.say(id, samples);
        self.started(id);
    }

    fn finished(&mut self, id: u64, samples: u64) {
        let event = Event::AudioFinished { id: AudioId(id), samples };
        self.recorder.handle_event(&event, self.now);
    }

    fn finish(mut self) -> (Vec<i16>, RecorderCounters) {
        self.recorder.finish(self.now);
        apply(&mut self.file, || self.recorder.poll_write());
        (wav(&self.file), self.recorder.counters())
    }

    /// Milliseconds since the start as samples.
    fn elapsed(&self) -> usize {
        self.now.duration_since(self.start).as_millis() as usize * 16
    }
}

/// Runs of one value and their lengths in milliseconds.
fn runs(samples: &[i16]) -> Vec<(i16, usize)> {
    samples.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() / 16)).collect()
}

#[test]
fn what_is_heard_stands_in_its_time_and_a_gap_is_silence() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..100u64 {
        call.now += ms(20);
        if !(20..50).contains(&n) {
            call.hear(n as i16 + 1, ms(20 * n));
        }
        call.recorder.handle_timeout(call.now);
    }
    let (samples, counters) = call.finish();
    assert_eq!(samples.len(), 100 * BLOCK);
    for (n, block) in samples.chunks(BLOCK).enumerate() {
        let value = if (20..50).contains(&n) { 0 } else { n as i16 + 1 };
        assert_eq!(block, [value; BLOCK], "block {n}");
    }
    assert_eq!((counters.filled, counters.written), (30 * BLOCK as u64, 100 * BLOCK as u64));
    assert_eq!(counters.late, 0);
}

#[test]
fn late_and_repeated_sound_is_dropped_and_the_rest_goes_on() {
    let mut call = Call::new(RecordLayout::Heard);
    let mut order = [0u64, 1, 1, 0, 2, 4, 3, 5];
    for n in order {
        call.tick();
        call.hear(n as i16 + 1, ms(20 * n));
    }
    let (samples, counters) = call.finish();
    assert_eq!(counters.late, 3 * BLOCK as u64, "the second 1, the second 0, and the 3");
    order.sort_unstable();
    assert_eq!(runs(&samples), [(1, 20), (2, 20), (3, 20), (0, 20), (5, 20), (6, 20), (0, 40)]);
}

#[test]
fn silence_of_a_pause_that_comes_when_it_is_over_is_not_late() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..150u64 {
        call.tick();
        match n {
            0..50 => call.hear(1, ms(20 * n)),
            100 => (50..=100).for_each(|n| call.hear(i16::from(n == 100), ms(20 * n))),
            101.. => call.hear(1, ms(20 * n)),
            _ => {}
        }
    }
    let (samples, counters) = call.finish();
    assert_eq!(runs(&samples), [(1, 1_000), (0, 1_000), (1, 1_000)]);
    assert_eq!((counters.late, counters.restarts), (0, 0));
}

#[test]
fn sound_that_comes_when_its_time_was_written_is_late() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..150u64 {
        call.tick();
        match n {
            0..50 => call.hear(1, ms(20 * n)),
            // 50 blocks come at once, a second late and with the driver awake.
            99 => (50..100).for_each(|n| call.hear(2, ms(20 * n))),
            100.. => call.hear(3, ms(20 * n)),
            _ => {}
        }
    }
    let (samples, counters) = call.finish();
    let late = counters.late / 16;
    assert!((400..=600).contains(&late), "{late} ms");
    let expected = [(1, 1_000), (0, late as usize), (2, 1_000 - late as usize), (3, 1_000)];
    assert_eq!(runs(&samples), expected);
}

#[test]
fn a_clock_that_is_set_anew_does_not_end_the_recording() {
    let mut call = Call::new(RecordLayout::Heard);
    let jumps = [0, 100_000, 0, 1_000_000_000_000];
    for (value, jump) in (1..).zip(jumps) {
        for n in 0..50 {
            call.tick();
            call.hear(value, ms(jump) + ms(20 * n));
        }
    }
    call.now += ms(20);
    call.hear(9, Duration::MAX);
    let (samples, counters) = call.finish();
    assert_eq!((counters.restarts, counters.late, counters.dropped), (4, 0, 0));
    let expected = [(1, 1_000), (2, 1_000), (3, 1_000), (4, 1_000), (9, 20)];
    assert_eq!(runs(&samples), expected);
}

#[test]
fn a_stall_of_the_driver_loses_nothing() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..50u64 {
        call.now += ms(20);
        call.hear(n as i16 + 1, ms(20 * n));
        call.recorder.handle_timeout(call.now);
    }
    // Two seconds pass; the driver wakes the recorder before it hands the sound over.
    call.pass(2_000);
    for n in 50..150u64 {
        call.hear(n as i16 + 1, ms(20 * n));
    }
    call.tick();
    let (samples, counters) = call.finish();
    assert_eq!((counters.late, counters.filled), (0, 0));
    for (n, block) in samples.chunks(BLOCK).take(150).enumerate() {
        assert_eq!(block, [n as i16 + 1; BLOCK], "block {n}");
    }
}

#[test]
fn what_is_said_stands_where_it_was_said_and_a_clear_takes_the_rest_out() {
    let mut call = Call::new(RecordLayout::Sides);
    call.pass(100);
    call.say_now(0, &[5; 10 * BLOCK]);
    call.say(1, &[6; 10 * BLOCK]);
    for _ in 0..10 {
        call.tick();
    }
    call.finished(0, 10 * BLOCK as u64);
    call.started(1);
    for _ in 0..3 {
        call.tick();
    }
    let sent = 3 * BLOCK as u64 + 80;
    let cleared = ClearedPiece::new(AudioId(1), sent, 10 * BLOCK as u64 - sent);
    call.recorder.handle_cleared(&AudioCleared { pieces: vec![cleared] });
    call.pass(100);
    call.say_now(2, &[7; BLOCK]);
    call.pass(100);
    let elapsed = call.elapsed();
    let (samples, _) = call.finish();
    assert_eq!(samples.len(), 2 * elapsed);
    let said: Vec<i16> = samples.chunks(2).map(|pair| pair[1]).collect();
    assert_eq!(runs(&said), [(0, 100), (5, 200), (6, 65), (0, 95), (7, 20), (0, 80)]);
    assert!(samples.chunks(2).all(|pair| pair[0] == 0), "nothing was heard");
}

#[test]
fn what_was_not_said_by_the_end_is_not_in_the_file() {
    let mut call = Call::new(RecordLayout::Said);
    call.say_now(0, &[5; 100 * BLOCK]);
    call.say(1, &[6; BLOCK]);
    call.pass(300);
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(5, 300)]);
}

#[test]
fn a_piece_stands_where_it_started_however_long_it_waited() {
    let mut call = Call::new(RecordLayout::Said);
    call.say(0, &[5; 5 * BLOCK]);
    call.say(1, &[6; 5 * BLOCK]);
    call.say(2, &[7; 5 * BLOCK]);
    // The session holds everything for a second, and again after the second piece.
    call.pass(1_000);
    call.started(0);
    call.pass(100);
    call.finished(0, 5 * BLOCK as u64);
    call.started(1);
    call.pass(100);
    call.finished(1, 5 * BLOCK as u64);
    call.pass(70);
    call.started(2);
    call.pass(100);
    call.finished(2, 5 * BLOCK as u64);
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(0, 1_000), (5, 100), (6, 100), (0, 70), (7, 100)]);
}

#[test]
fn pieces_that_follow_each_other_leave_no_gap_though_their_packets_are_sent_early_and_late() {
    let mut call = Call::new(RecordLayout::Said);
    call.tick();
    // Pieces of 30 ms in packets of 20 ms, and a driver that is up to 15 ms late.
    let packet = |n: u64| 30 * n / 20 * 20;
    let late = [0, 15, 3, 0, 9, 15, 1, 0, 14, 0];
    for n in 0..10u64 {
        call.say(n, &[n as i16 + 1; 480]);
    }
    for n in 0..10u64 {
        call.now = call.start + ms(20 + packet(n) + late[n as usize]);
        if n > 0 {
            call.finished(n - 1, 480);
        }
        call.started(n);
    }
    call.pass(30);
    let (samples, _) = call.finish();
    assert_eq!(samples[..BLOCK], [0; BLOCK]);
    for (n, piece) in samples[BLOCK..].chunks_exact(480).take(9).enumerate() {
        assert_eq!(piece, [n as i16 + 1; 480], "piece {n}");
    }
}

#[test]
fn a_pause_between_pieces_is_as_long_as_it_was_to_the_sample() {
    let mut call = Call::new(RecordLayout::Said);
    call.say_now(0, &[5; BLOCK]);
    call.tick();
    call.finished(0, BLOCK as u64);
    // Less than two packets, and each begins when it is said.
    call.now += Duration::from_micros(33_000);
    call.say_now(1, &[6; BLOCK]);
    call.tick();
    call.finished(1, BLOCK as u64);
    call.now += Duration::from_micros(62_500);
    call.say_now(2, &[7; BLOCK]);
    call.tick();
    let (samples, _) = call.finish();
    let found: Vec<_> = samples.chunk_by(|a, b| a == b).map(|it| (it[0], it.len())).collect();
    assert_eq!(found, [(5, BLOCK), (0, 528), (6, BLOCK), (0, 1_000), (7, BLOCK)]);
}

#[test]
fn a_piece_whose_start_is_told_after_it_was_cleared_is_recorded_as_far_as_it_went() {
    let mut call = Call::new(RecordLayout::Said);
    call.say(0, &[5; 5 * BLOCK]);
    call.say(1, &[6; 5 * BLOCK]);
    let pieces = vec![
        ClearedPiece::new(AudioId(0), BLOCK as u64, 4 * BLOCK as u64),
        ClearedPiece::new(AudioId(1), 0, 5 * BLOCK as u64),
    ];
    call.recorder.handle_cleared(&AudioCleared { pieces });
    call.started(0);
    call.started(1);
    call.started(0);
    call.pass(100);
    call.say_now(2, &[7; BLOCK]);
    call.tick();
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(5, 20), (0, 80), (7, 20)]);
}

#[test]
fn a_piece_whose_start_nobody_handed_over_ends_when_its_end_is_told() {
    let mut call = Call::new(RecordLayout::Said);
    call.say(0, &[5; 2 * BLOCK]);
    call.pass(100);
    call.finished(0, 2 * BLOCK as u64);
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(0, 60), (5, 40)]);
}

#[test]
fn a_start_that_is_told_when_its_time_was_written_loses_nothing() {
    let mut call = Call::new(RecordLayout::Said);
    call.pass(1_000);
    call.pass(1_000);
    call.now -= ms(900);
    call.say_now(0, &[5; BLOCK]);
    call.now += ms(900);
    let (samples, counters) = call.finish();
    assert_eq!(samples.iter().filter(|&&sample| sample == 5).count(), BLOCK);
    assert_eq!((counters.late, counters.dropped, samples.len()), (0, 0, 32_000));
}

#[test]
fn the_oldest_of_too_many_pieces_is_forgotten_and_the_limit_holds_one_more_does_not() {
    for (count, lost) in [(PIECES_MAX as u64, 0), (PIECES_MAX as u64 + 1, 1)] {
        let mut call = Call::new(RecordLayout::Said);
        for id in 0..count {
            call.say(id, &[5; 16]);
        }
        for id in 0..count {
            call.started(id);
        }
        call.now += ms(20_000);
        let (samples, _) = call.finish();
        let said = samples.iter().filter(|&&sample| sample == 5).count() as u64;
        assert_eq!(said, 16 * (count - lost));
    }
}

#[test]
fn a_piece_that_ends_early_is_cut() {
    let mut call = Call::new(RecordLayout::Said);
    call.say_now(0, &[5; 5 * BLOCK]);
    call.now += ms(40);
    call.finished(0, 2 * BLOCK as u64);
    call.pass(60);
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(5, 40), (0, 60)]);
}

#[test]
fn both_sides_are_added_up_and_do_not_wrap() {
    let mut call = Call::new(RecordLayout::Mixed);
    call.say_now(0, &[30_000; 3 * BLOCK]);
    call.tick();
    call.hear(1_000, ms(0));
    call.tick();
    call.hear(10_000, ms(20));
    call.tick();
    let (samples, _) = call.finish();
    assert_eq!(runs(&samples), [(31_000, 20), (32_767, 20), (30_000, 20)]);
}

#[test]
fn a_file_that_is_cut_off_lacks_less_than_a_second() {
    let mut call = Call::new(RecordLayout::Mixed);
    for n in 0..500u64 {
        call.tick();
        if n % 100 < 50 {
            call.hear(1, ms(20 * n));
        }
        let whole = call.elapsed();
        if n > 10 {
            assert!(wav(&call.file).len() + 16_000 > whole, "after {n} blocks");
        }
    }
}

#[test]
fn other_rates_and_two_channels_are_converted_and_other_forms_dropped() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..50u64 {
        call.now += ms(20);
        let frame = AudioFrame::stereo(&[1_000, 3_000].repeat(960)[..], 48_000).samples.to_vec();
        call.recorder.heard(AudioFrame::stereo(&frame, 48_000), ms(20 * n), call.now);
        let odd = AudioFrame { samples: &[1; 60], rate: 12_345, channels: 1 };
        call.recorder.heard(odd, ms(20 * n), call.now);
        let many = AudioFrame { samples: &[1; 60], rate: 48_000, channels: 3 };
        call.recorder.heard(many, ms(10_000 + 20 * n), call.now);
        call.recorder.handle_timeout(call.now);
    }
    let (samples, counters) = call.finish();
    assert_eq!((samples.len(), counters.written), (16_000, 16_000));
    assert!(samples[320..15_680].iter().all(|sample| (1_990..2_010).contains(sample)));
}

#[test]
fn a_machine_that_slept_leaves_an_hour_out() {
    let mut call = Call::new(RecordLayout::Heard);
    for n in 0..50u64 {
        call.now += ms(20);
        call.hear(1, ms(20 * n));
        call.recorder.handle_timeout(call.now);
    }
    call.pass(3_600_000);
    call.tick();
    call.pass(200);
    call.hear(2, ms(0));
    let (samples, counters) = call.finish();
    assert_eq!(counters.cuts, 1);
    assert!(samples.len() < 3 * 16_000, "{} ms", samples.len() / 16);
    assert!(samples.ends_with(&[2; BLOCK]));
    assert_eq!(runs(&samples)[0], (1, 1_000));
}

#[test]
fn sixty_seconds_of_silence_are_written_and_a_millisecond_more_is_not() {
    for (more, cuts) in [(0, 0), (1, 1)] {
        let mut call = Call::new(RecordLayout::Heard);
        call.now += ms(60_400 + more);
        call.recorder.handle_timeout(call.now);
        call.pass(200);
        assert_eq!(call.recorder.counters().cuts, cuts);
    }
}

#[test]
fn a_disk_that_hangs_costs_sound_and_neither_time_nor_memory() {
    let start = origin();
    let mut recorder = Recorder::wav(48_000, RecordLayout::Sides, start).unwrap();
    let mut now = start;
    for n in 0..1_500u64 {
        now += ms(20);
        recorder.heard(AudioFrame::mono(&[9; 960], 48_000), ms(20 * n), now);
        recorder.handle_timeout(now);
    }
    // 4 MiB are 21.8 s.
    let counters = recorder.counters();
    assert!(counters.unpolled > 7 * 48_000 && counters.unpolled < 9 * 48_000, "{counters:?}");
    let mut file = Vec::new();
    apply(&mut file, || recorder.poll_write());
    assert!(file.len() < (4 << 20) + 48_000);
    recorder.finish(now);
    apply(&mut file, || recorder.poll_write());
    assert_eq!(wav(&file).len(), 2 * 1_500 * 960);
}

#[test]
fn sound_that_has_no_room_is_dropped_and_counted() {
    let mut call = Call::new(RecordLayout::Said);
    call.say(0, &vec![1; 60 * 16_000]);
    call.say(1, &[2; 16_000]);
    assert_eq!(call.recorder.counters().dropped, 0, "61 s");
    call.say(2, &[3; 1]);
    assert_eq!(call.recorder.counters().dropped, 1);
}

#[test]
fn a_clock_that_drifts_stays_in_its_place_and_speech_is_not_touched() {
    // The peer's clock runs 300 ppm fast, then slow; speech of 4 s, a pause of 1 s.
    for ppm in [300i64, -300] {
        let mut call = Call::new(RecordLayout::Heard);
        for n in 0..30_000u64 {
            let due = 20_000 * n as i64;
            call.now =
                call.start + Duration::from_micros((due - due * ppm / 1_000_000) as u64) + ms(40);
            call.hear(if n % 250 < 200 { 7_000 } else { 1 }, ms(20 * n));
            call.recorder.handle_timeout(call.now);
            apply(&mut call.file, || call.recorder.poll_write());
        }
        let len = call.elapsed();
        let (samples, counters) = call.finish();
        let shorter = len.abs_diff(samples.len()) / 16;
        assert!(shorter < 20, "ten minutes, and {shorter} ms of them are missing");
        let corrected = counters.corrected / 16;
        assert!((140..=185).contains(&corrected), "{corrected} ms of 180");
        assert_eq!(counters.late, 0);
        let loud = samples.iter().filter(|&&sample| sample == 7_000).count();
        assert_eq!(loud, 24_000 * BLOCK, "no word was touched");
    }
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let refused = Recorder::wav(11_000, RecordLayout::Heard, origin()).map(drop);
    assert!(refused.unwrap_err().to_string().starts_with("recorder rate: 11000 (expected 8000, "));
    let refused = Recorder::ogg_opus(1, RecordLayout::Heard, origin()).map(drop);
    assert_eq!(refused.unwrap_err().to_string(), "audio_bitrate: 1 (expected 6000 to 510000)");
}

#[test]
fn after_the_end_nothing_is_written() {
    let mut call = Call::new(RecordLayout::Heard);
    call.recorder.finish(call.now);
    apply(&mut call.file, || call.recorder.poll_write());
    call.pass(10_000);
    call.recorder.finish(call.now);
    assert_eq!((call.recorder.poll_timeout(), call.file.len()), (None, 44));
}

#[cfg(feature = "opus")]
#[test]
fn an_ogg_file_is_as_long_as_its_call_to_the_sample() {
    for (layout, time) in [(RecordLayout::Heard, 1_234), (RecordLayout::Sides, 40)] {
        let start = origin();
        let mut recorder = Recorder::ogg_opus(32_000, layout, start).unwrap();
        let mut file = Vec::new();
        for n in 0..time / 20 {
            let now = start + ms(20 * (n + 1));
            let sound: Vec<i16> = (0..960).map(|at| (at % 100) * 50).collect();
            recorder.heard(AudioFrame::mono(&sound, 48_000), ms(20 * n), now);
            recorder.handle_timeout(now);
            apply(&mut file, || recorder.poll_write());
        }
        recorder.finish(start + ms(time));
        apply(&mut file, || recorder.poll_write());
        let streams = streams(&file);
        assert_eq!(streams.len(), 1);
        assert_eq!(played(&streams[0]), time * 48, "{layout:?}");
    }
}

#[cfg(feature = "opus")]
#[test]
fn an_ogg_file_that_is_cut_off_lacks_less_than_a_second_and_sleep_begins_a_new_stream() {
    let start = origin();
    let mut recorder = Recorder::ogg_opus(16_000, RecordLayout::Heard, start).unwrap();
    let mut file = Vec::new();
    for n in 0..150 {
        recorder.handle_timeout(start + ms(20 * n));
        apply(&mut file, || recorder.poll_write());
        let whole = streams(&file).iter().map(|packets| played(packets)).sum::<u64>();
        assert!(whole + 48_000 > 960 * n, "after {n} packets");
    }
    recorder.handle_timeout(start + ms(100_000));
    recorder.handle_timeout(start + ms(100_200));
    recorder.finish(start + ms(100_400));
    apply(&mut file, || recorder.poll_write());
    assert_eq!(streams(&file).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(48)
    })]

    #[test]
    fn the_file_is_as_long_as_the_call_and_each_block_is_in_its_place(
        blocks in prop::collection::vec((0..8u64, 0..350u64, any::<bool>()), 1..150),
        layout in prop_oneof![Just(RecordLayout::Heard), Just(RecordLayout::Mixed)],
    ) {
        // Each block comes after a gap of some blocks, up to 350 ms late.
        let mut call = Call::new(layout);
        let (mut at, mut placed) = (0, Vec::new());
        let mut queue = Vec::new();
        for (n, (gap, late, wakes)) in blocks.into_iter().enumerate() {
            at += gap;
            let came = 20 * (at + 1) + if n == 0 { 0 } else { late };
            queue.push((came, at, n as i16 + 1, wakes));
            at += 1;
        }
        let first = queue[0].1;
        queue.sort_by_key(|&(came, at, ..)| (came.max(20 * (at + 1)), at));
        let mut next = first;
        for (came, at, value, wakes) in queue {
            call.now = call.now.max(call.start + ms(came));
            // A receiver never gives sound that lies before what it gave.
            if at < next {
                continue;
            }
            next = at + 1;
            call.hear(value, ms(20 * (at - first)));
            placed.push((at as usize, value));
            if wakes {
                call.recorder.handle_timeout(call.now);
                apply(&mut call.file, || call.recorder.poll_write());
            }
        }
        let elapsed = call.elapsed();
        let (samples, counters) = call.finish();
        prop_assert_eq!(samples.len(), elapsed);
        prop_assert_eq!(counters.late, 0);
        for (at, value) in placed {
            prop_assert_eq!(&samples[at * BLOCK..][..BLOCK], &[value; BLOCK]);
        }
    }
}
