//! Keys of a telephone: each press once, each key at its time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{ms, origin as epoch};
use crate::SendError;
use crate::audio::dtmf::{
    KEYS, Pressed, TONES_MAX, ToneDue, TonePacket, ToneReceiver, ToneSender, digit,
};

const RATE: u32 = 48_000;

/// The packets of a press, as RFC 4733 asks for them, and when they leave: one each 20 ms, segments
/// of 16 bits, the end three times.
fn packets(code: u8, start: Duration, duration: Duration) -> Vec<(Duration, TonePacket)> {
    let ticks = |time: Duration| time.as_millis() as u64 * 48;
    let (first, total) = (ticks(start), ticks(duration));
    let mut packets: Vec<(Duration, TonePacket)> = Vec::new();
    let mut segment = 0;
    let mut push = |at: Duration, segment: u64, ticks: u64, is_end: bool| {
        let packet = TonePacket {
            line: 0,
            seq: 0,
            rtp_time: first + segment,
            ssrc: 7,
            rate: RATE,
            code,
            is_first: packets.is_empty(),
            is_end,
            ticks: u16::try_from(ticks).unwrap(),
        };
        packets.push((at, packet));
    };
    let mut lasted = Duration::ZERO;
    while lasted < duration {
        lasted = (lasted + ms(20)).min(duration);
        while ticks(lasted) - segment > 0xffff {
            push(start + lasted, segment, 0xffff, false);
            segment += 0xffff;
        }
        push(start + lasted, segment, ticks(lasted) - segment, lasted == duration);
    }
    for again in 1..3 {
        push(start + duration + ms(20) * again, segment, total - segment, true);
    }
    packets
}

/// What a receiver tells of packets that come when they leave, and of 10 s without any.
fn told(packets: &[(Duration, TonePacket)]) -> Vec<Pressed> {
    let (mut receiver, start) = (ToneReceiver::default(), epoch());
    let mut told = Vec::new();
    let until = |receiver: &mut ToneReceiver, now: Instant, told: &mut Vec<Pressed>| {
        if receiver.poll_timeout().is_some_and(|at| at <= now) {
            told.extend(receiver.handle_timeout(now));
        }
    };
    for (at, packet) in packets {
        until(&mut receiver, start + *at, &mut told);
        told.extend(receiver.handle(*packet, start + *at).into_iter().flatten());
    }
    let end = packets.last().map_or(Duration::ZERO, |(at, _)| *at) + ms(10_000);
    until(&mut receiver, start + end, &mut told);
    assert_eq!(receiver.poll_timeout(), None);
    told
}

#[test]
fn each_key_is_told_once_with_its_duration() {
    let mut all = Vec::new();
    for code in 0..16 {
        all.extend(packets(code, ms(200 * u64::from(code)), ms(100)));
    }
    let told = told(&all);
    let digits: String = told.iter().map(|pressed| pressed.digit).collect();
    assert_eq!(digits, KEYS);
    assert!(told.iter().all(|pressed| pressed.duration == ms(100)));
}

#[test]
fn a_press_longer_than_a_segment_is_one_press() {
    let told = told(&packets(5, ms(1_000), ms(6_000)));
    assert_eq!(told, [Pressed { line: 0, digit: '5', duration: ms(6_000) }]);
}

/// The packets of a press as Chromium and Firefox send them: when a segment is full it says so, and
/// the next one begins now, though it says in its first packet how long it has lasted since then.
fn as_browsers_send(code: u8, duration: Duration) -> Vec<(Duration, TonePacket)> {
    let step = 20 * 48;
    let (mut segment, mut left) = (0, duration.as_millis() as u64 * 48);
    let mut packets: Vec<(Duration, TonePacket)> = Vec::new();
    for count in 1_u64.. {
        let lasted = count * step - segment;
        let is_end = lasted >= left;
        let mut push = |rtp_time: u64, ticks: u64| {
            let (is_first, ticks) = (packets.is_empty(), u16::try_from(ticks).unwrap());
            let packet = TonePacket {
                line: 0,
                seq: 0,
                rtp_time,
                ssrc: 7,
                rate: RATE,
                code,
                is_first,
                is_end,
                ticks,
            };
            for _ in 0..if is_end { 3 } else { 1 } {
                packets.push((ms(20 * count), packet));
            }
        };
        if lasted > 0xffff {
            push(segment, 0xffff);
            segment = count * step;
            push(segment, lasted - 0xffff);
            left -= 0xffff.min(left);
        } else {
            push(segment, lasted);
        }
        if is_end {
            break;
        }
    }
    packets
}

#[test]
fn a_long_press_of_a_browser_is_one_press_with_any_packet_of_it_lost() {
    for duration in [1_360, 1_361, 1_365, 1_370, 1_380, 1_400, 2_745, 6_000] {
        let all = as_browsers_send(5, ms(duration));
        let whole = told(&all);
        // Of a rest that is told after the end nothing is known before.
        let [Pressed { digit: '5', duration: heard, .. }] = whole[..] else {
            panic!("{duration} ms: {whole:?}")
        };
        assert!(
            heard + ms(20) > ms(duration) && heard < ms(duration + 80),
            "{duration}: {heard:?}"
        );
        for lost in 0..all.len() {
            let mut some = all.clone();
            some.remove(lost);
            let told = told(&some);
            assert_eq!(
                told.len(),
                1,
                "{duration} ms, packet {lost} of {} lost: {told:?}",
                all.len()
            );
        }
    }
}

#[test]
fn a_key_after_a_gap_is_another_press_however_short_and_one_after_a_full_segment_too() {
    for (first, gap) in [(100, 30), (1_360, 30), (1_340, 30), (1_380, 40)] {
        let mut all = packets(5, ms(0), ms(first));
        // Nothing says that the first ended, nor that the second is another one.
        all.truncate(all.len() - 3);
        let ended = all.last().unwrap().0;
        all.extend(packets(5, ended + ms(gap), ms(100)).into_iter().skip(1));
        assert_eq!(told(&all).len(), 2, "{first} ms, {gap} ms apart");
    }
    let mut all = as_browsers_send(5, ms(1_370));
    all.extend(packets(6, ms(1_420), ms(100)).into_iter().skip(1));
    let digits: String = told(&all).iter().map(|pressed| pressed.digit).collect();
    assert_eq!(digits, "56");
}

#[test]
fn a_press_without_end_is_told_when_nothing_came_for_200_ms_and_what_comes_later_is_nothing() {
    let all = packets(5, ms(0), ms(3_000));
    // 1 s is lost in the middle, the end comes.
    let some: Vec<_> =
        all.iter().filter(|(at, _)| !(ms(1_000)..ms(2_000)).contains(at)).copied().collect();
    assert_eq!(told(&some), [Pressed { line: 0, digit: '5', duration: ms(980) }]);
    let (mut receiver, start) = (ToneReceiver::default(), epoch());
    assert_eq!(receiver.handle(all[0].1, start), [None; 2]);
    assert_eq!(receiver.handle_timeout(start + ms(199)), None);
    assert!(receiver.handle_timeout(start + ms(200)).is_some());
    assert_eq!(receiver.handle_timeout(start + ms(400)), None);
}

#[test]
fn a_press_that_begins_before_the_end_of_another_came_ends_it() {
    let mut all = packets(1, ms(0), ms(100));
    all.truncate(3);
    all.extend(packets(1, ms(150), ms(80)));
    let durations: Vec<_> = told(&all).iter().map(|pressed| pressed.duration).collect();
    assert_eq!(durations, [ms(60), ms(80)]);
}

#[test]
fn events_that_are_no_key_and_clocks_that_stand_are_counted() {
    let mut receiver = ToneReceiver::default();
    let (_, key) = packets(15, ms(0), ms(100))[0];
    assert_eq!(receiver.handle(TonePacket { code: 16, ..key }, epoch()), [None; 2]);
    assert_eq!(receiver.handle(TonePacket { rate: 0, ..key }, epoch()), [None; 2]);
    assert_eq!((receiver.ignored(), receiver.poll_timeout()), (2, None));
    assert_eq!((digit(15), digit(16)), (Some('D'), None));
}

#[test]
fn a_stream_that_begins_anew_is_heard() {
    let (mut receiver, now) = (ToneReceiver::default(), epoch());
    let last = |at: u64, code| packets(code, ms(at), ms(100)).pop().unwrap().1;
    let pressed = |told: [Option<Pressed>; 2]| told.into_iter().flatten().count();
    assert_eq!(pressed(receiver.handle(last(60_000, 1), now)), 1);
    assert_eq!(pressed(receiver.handle(last(59_000, 2), now)), 0, "late");
    assert_eq!(pressed(receiver.handle(last(40_000, 3), now)), 1, "another clock");
    let other = TonePacket { ssrc: 8, ..last(10, 4) };
    assert_eq!(pressed(receiver.handle(other, now)), 1, "another stream");
}

prop_compose! {
    /// A key, how long it is pressed, the pause after it, and which of its packets arrive.
    fn press()(
        code in 0u8..16,
        duration in 2u64..300,
        gap in 3u64..30,
        lost in prop::collection::vec(any::<bool>(), 400),
        kept in 0usize..400,
    ) -> (u8, Duration, Duration, Vec<bool>, usize) {
        (code, ms(duration * 20), ms(gap * 20), lost, kept)
    }
}

proptest! {
    /// Whatever is lost of them but one packet, and whatever comes twice: one event a press, in
    /// order, no longer than it was, and exact where an end came in time.
    #[test]
    fn each_press_is_told_once_however_many_packets_are_lost_but_one(
        presses in prop::collection::vec(press(), 1..12),
        is_doubled in any::<bool>(),
    ) {
        let (mut at, mut arrived, mut expected) = (ms(0), Vec::new(), Vec::new());
        for (code, duration, gap, lost, kept) in presses {
            let all = packets(code, at, duration);
            let kept = kept % all.len();
            for (index, packet) in all.iter().enumerate() {
                if index == kept || !lost[index] {
                    arrived.push(*packet);
                    if is_doubled {
                        arrived.push(*packet);
                    }
                }
            }
            expected.push((digit(code).unwrap(), duration));
            at += duration + gap;
        }
        let told = told(&arrived);
        let digits: Vec<char> = told.iter().map(|pressed| pressed.digit).collect();
        let pressed: Vec<char> = expected.iter().map(|(digit, _)| *digit).collect();
        prop_assert_eq!(digits, pressed);
        for (pressed, (_, duration)) in told.iter().zip(expected) {
            prop_assert!(pressed.duration <= duration);
        }
    }

    /// Whatever a peer says: nothing panics, and each packet ends two presses at most.
    #[test]
    fn any_packets_are_taken(
        packets in prop::collection::vec(
            (any::<u64>(), any::<u32>(), any::<u8>(), any::<u8>(), any::<u16>(), 0u64..1 << 48),
            0..200,
        ),
    ) {
        let (mut receiver, mut now) = (ToneReceiver::default(), epoch());
        for (seq, rate, code, flags, ticks, rtp_time) in packets {
            now += ms(u64::from(flags));
            let _ = receiver.handle_timeout(now);
            let packet = TonePacket {
                line: 0,
                seq,
                rtp_time: if flags & 8 == 0 { rtp_time } else { u64::from(ticks) },
                ssrc: u32::from(flags & 4),
                rate: if flags & 16 == 0 { RATE } else { rate },
                code: code % 18,
                is_first: flags & 1 != 0,
                is_end: flags & 2 != 0,
                ticks,
            };
            let _ = receiver.handle(packet, now);
        }
    }
}

/// What a sender gives, and when, in milliseconds.
fn sent(sender: &mut ToneSender, start: Instant) -> Vec<(u128, ToneDue)> {
    let mut sent = Vec::new();
    while let Some(at) = sender.poll_timeout() {
        while let Some(due) = sender.handle_timeout(at) {
            sent.push(((at - start).as_millis(), due));
        }
    }
    sent
}

#[test]
fn keys_are_due_one_after_another_and_a_comma_waits() {
    let (mut sender, start) = (ToneSender::default(), epoch());
    sender.push("1,#d", ms(100), ms(70), start).unwrap();
    assert_eq!(sender.poll_timeout(), None, "not yet connected");
    sender.start(start);
    let key = |code| ToneDue::Key(code, ms(100));
    let all = [(0, key(1)), (2_170, key(11)), (2_340, key(15)), (2_510, ToneDue::Done)];
    assert_eq!(sent(&mut sender, start), all);
    assert!(!sender.is_busy());
}

#[test]
fn a_gap_is_never_too_short_for_the_end_of_a_key_not_even_after_the_last() {
    let (mut sender, start) = (ToneSender::default(), epoch());
    sender.start(start);
    sender.push("12", ms(40), ms(30), start).unwrap();
    let key = |code| ToneDue::Key(code, ms(40));
    assert_eq!(sender.handle_timeout(start), Some(key(1)));
    assert_eq!(sender.poll_timeout(), Some(start + ms(90)));
    sender.clear();
    assert_eq!(sender.handle_timeout(start + ms(90)), Some(ToneDue::Done));
    sender.push("3", ms(40), ms(30), start + ms(10)).unwrap();
    assert_eq!(sender.poll_timeout(), Some(start + ms(90)));
}

#[test]
fn a_sender_that_is_late_sends_nothing_twice_as_fast() {
    let (mut sender, start) = (ToneSender::default(), epoch());
    sender.start(start);
    sender.push("12", ms(100), ms(70), start).unwrap();
    assert!(sender.handle_timeout(start).is_some());
    let late = start + ms(5_000);
    assert!(sender.handle_timeout(late).is_some());
    assert_eq!(sender.handle_timeout(late), None);
    assert_eq!(sender.poll_timeout(), Some(late + ms(170)));
}

#[test]
fn as_many_keys_wait_as_allowed_and_one_more_is_refused_with_all_of_its_kind() {
    let (mut sender, now) = (ToneSender::default(), epoch());
    let full = Err(SendError::QueueFull { limit: TONES_MAX, wait: None });
    assert_eq!(sender.push(&"1".repeat(TONES_MAX + 1), ms(100), ms(70), now), full);
    assert_eq!(sender.push(&"1".repeat(TONES_MAX), ms(100), ms(70), now), Ok(()));
    assert_eq!(sender.push(",", ms(100), ms(70), now), full);
    assert_eq!(sender.stop(), TONES_MAX);
    assert_eq!(sender.push(",", ms(100), ms(70), now), Ok(()));
}

#[test]
fn what_is_no_key_and_no_time_is_named() {
    let (mut sender, now) = (ToneSender::default(), epoch());
    let mut refused = |keys, duration, gap| {
        sender.push(keys, duration, gap, now).map_err(|error| error.to_string()).unwrap_err()
    };
    let place = "keys: 2 (expected 0 to 9, A to D, #, * or a comma at this place)";
    assert_eq!(refused("12E", ms(100), ms(70)), place);
    assert_eq!(refused("12é", ms(100), ms(70)), place);
    let long = "duration: 6000 (expected 40 to 6000 milliseconds)";
    assert_eq!(refused("1", Duration::from_micros(6_000_001), ms(70)), long);
    for duration in [ms(39), ms(6_001), Duration::MAX] {
        assert!(refused("1", duration, ms(70)).starts_with("duration: "));
    }
    for gap in [ms(29), ms(6_001)] {
        assert!(refused("1", ms(100), gap).starts_with("gap: "));
    }
    assert!(refused("", ms(100), ms(70)).starts_with("empty"));
    assert_eq!(sender.push("1", ms(40), ms(30), now), Ok(()));
    assert_eq!(sender.push("1", ms(6_000), ms(6_000), now), Ok(()));
}
