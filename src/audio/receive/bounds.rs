//! Each limit of a receiver: at it, and one past it.

use super::*;
use crate::audio::Resampler;
use crate::audio::codec::AudioCodec;

const PACKET: u64 = 960;
const MS: Duration = Duration::from_millis(1);

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
    Instant::now()
}

fn receiver(rate: u32, channels: u8) -> AudioReceiver {
    let config = crate::Config::new().audio_in_frames(crate::FrameTime::AsItComes).audio_in;
    AudioReceiver::new(AudioIn { rate, channels, decode: true, ..config }, AudioCodec::Null)
}

/// 20 ms at this level.
fn packet(level: i16) -> Vec<u8> {
    let [low, high] = level.to_le_bytes();
    vec![b'N', 1, 2, 0, 0, 0, 0, low, high, low, high]
}

/// Packets in order, from number 0 on.
fn fed(count: u64, now: Instant) -> AudioReceiver {
    let mut receiver = receiver(48_000, 1);
    for seq in 0..count {
        receiver.handle_packet(seq, seq * PACKET, 7, &packet(1), now);
    }
    receiver
}

#[test]
fn a_packet_is_doubted_when_it_is_further_off_than_the_limits_and_not_at_them() {
    let now = origin();
    let next = 300;
    for (seq, expected) in [(next - 100, (1, 0)), (next - 101, (0, 1))] {
        let mut receiver = fed(next, now);
        receiver.handle_packet(seq, seq * PACKET, 7, &packet(1), now);
        let counters = receiver.counters();
        assert_eq!((counters.duplicates, counters.late), expected, "{seq}");
    }
    for (seq, is_held) in [(next + 3_000, true), (next + 3_001, false)] {
        let mut receiver = fed(next, now);
        receiver.handle_packet(seq, seq * PACKET, 7, &packet(1), now);
        assert_eq!(receiver.poll_timeout().is_some(), is_held, "{seq}");
        assert_eq!(receiver.counters().late, u64::from(!is_held), "{seq}");
    }
}

#[test]
fn a_packet_of_the_stream_before_is_late_for_60_ms_and_begins_it_anew_afterwards() {
    let start = origin();
    for (after, expected) in
        [(STRAGGLER_MAX - Duration::from_nanos(1), (1, 1)), (STRAGGLER_MAX, (0, 2))]
    {
        let mut receiver = fed(3, start);
        receiver.handle_packet(50, 0, 8, &packet(2), start);
        receiver.handle_packet(3, 3 * PACKET, 7, &packet(1), start + after);
        let counters = receiver.counters();
        assert_eq!((counters.late, counters.restarts), expected, "{after:?}");
    }
}

#[test]
fn a_held_packet_that_is_next_in_time_does_not_wait_for_a_number_that_never_was() {
    let now = origin();
    let mut receiver = fed(5, now);
    // Numbers 5 and 7 were used for something else: time goes on without them.
    receiver.handle_packet(8, 6 * PACKET, 7, &packet(3), now);
    assert_eq!(receiver.poll_timeout(), Some(now + reorder::WAIT_MIN));
    receiver.handle_packet(6, 5 * PACKET, 7, &packet(2), now);
    assert_eq!(receiver.poll_timeout(), None);
    assert_eq!(receiver.counters().concealed_samples, 0);
    let mut read = vec![0; 10 * PACKET as usize];
    let info = receiver.recv(&mut read).unwrap();
    assert_eq!(info.samples as u64, 7 * PACKET);
    assert_eq!([read[4 * 960], read[5 * 960], read[6 * 960]], [1, 2, 3]);
}

/// All that waits, whatever its origin, interleaved.
fn read(receiver: &mut AudioReceiver, channels: usize) -> Vec<i16> {
    let mut out = vec![0; 4_096];
    let mut all = Vec::new();
    while let Some(info) = receiver.recv(&mut out) {
        all.extend_from_slice(&out[..info.samples * channels]);
    }
    all
}

#[test]
fn a_pause_sounds_like_as_many_zeros_in_every_channel_however_short_or_long_it_is() {
    for channels in [1, 2] {
        // The filter has 144 taps: shorter than it, as long, longer.
        for pause in [1, 48, 143, 144, 145, 960, 4_000] {
            let mut receiver = receiver(16_000, channels);
            let now = origin();
            receiver.handle_packet(0, 0, 7, &packet(9_000), now);
            receiver.handle_packet(1, PACKET + pause, 7, &packet(-9_000), now + 20 * MS);
            let heard = read(&mut receiver, usize::from(channels));

            let mut resampler = Resampler::new(48_000, 16_000, channels);
            assert_eq!(resampler.settle(), 144);
            let mut expected = Vec::new();
            for (level, frames) in [(9_000, PACKET), (0, pause), (-9_000, PACKET)] {
                let samples = vec![level; frames as usize * usize::from(channels)];
                resampler.process(&samples, &mut expected);
            }
            assert!(heard == expected, "{channels} channels, a pause of {pause}");
        }
    }
}
