//! Both ends with real Opus, listened to.

use std::time::Duration;

use proptest::prelude::*;

use super::resample::{decibels, fit};
use super::{OPUS, input, ms, origin, out, sine};
use crate::audio::{AudioReceiver, AudioSender};
use crate::config::{AudioIn, AudioOut};
use crate::{AudioFrame, AudioIdle, AudioOrigin, PacketTime};

pub(super) const PACKET_TIMES: [PacketTime; 4] =
    [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60];

/// Sends pieces at the given milliseconds through both ends, on a perfect network, and gives what
/// was heard.
fn call(
    config: AudioOut,
    listen: AudioIn,
    pieces: &[(u64, &[i16])],
    rate: u32,
    end: u64,
) -> Vec<i16> {
    let start = origin();
    let mut sender = AudioSender::new(config, OPUS);
    let mut receiver = AudioReceiver::new(listen, OPUS);
    let (mut heard, mut seq) = (Vec::new(), 0);
    let mut buffer = [0; 4_000];
    sender.start(start);
    for at in 0..end {
        let now = start + ms(at);
        for (_, piece) in pieces.iter().filter(|(due, _)| *due == at) {
            sender.send(AudioFrame::mono(piece, rate), now).unwrap();
        }
        while let Some(packet) = sender.handle_timeout(now) {
            receiver.handle_packet(seq, packet.rtp_time, 1, packet.data, now);
            seq += 1;
        }
        while let Some(info) = receiver.recv(&mut buffer) {
            assert!(matches!(info.origin, AudioOrigin::Decoded | AudioOrigin::Silence));
            heard.extend_from_slice(&buffer[..info.samples * usize::from(info.channels)]);
        }
    }
    assert_eq!(receiver.counters().malformed, 0);
    heard
}

#[test]
fn a_tone_comes_back_with_its_pitch_and_level() {
    for (from, coded, to) in
        [(24_000, 24_000, 16_000), (22_050, 48_000, 48_000), (48_000, 16_000, 8_000)]
    {
        let tone = sine(440.0, from, from as usize * 2);
        let heard = call(out(coded), input(to), &[(0, &tone)], from, 2_100);
        let middle = &heard[to as usize / 2..to as usize * 3 / 2];
        let (amplitude, rest) = fit(middle, 440.0, to);
        let gain = decibels(amplitude / 12_000.0);
        assert!(gain.abs() < 1.0, "{from} {coded} {to}: {gain:.2} dB");
        let noise = decibels(rest.sqrt() / (amplitude / 2f64.sqrt()));
        assert!(noise < -15.0, "{from} {coded} {to}: {noise:.1} dB");
    }
}

#[test]
fn coded_and_cached_packets_last_as_long_as_they_should() {
    for packet_time in PACKET_TIMES {
        for channels in [1, 2] {
            let config = AudioOut { packet_time, channels, ..out(48_000) };
            let mut encoder = OPUS.encoder(config);
            let mut decoder = OPUS.decoder(input(16_000));
            let frames = 480 * packet_time.chunks();
            let (mut packet, mut samples) = (vec![1; 9], Vec::new());
            encoder.silence(&mut packet);
            assert_eq!(decoder.duration(&packet), Some(frames));
            assert_eq!(decoder.decode(&packet, &mut samples), frames);
            assert!(samples.iter().all(|&sample| sample == 0));
            encoder.encode(&vec![100; frames * usize::from(channels)], &mut packet);
            assert_eq!(decoder.duration(&packet), Some(frames));
            assert_eq!(decoder.decode(&packet, &mut samples), frames);
            assert_eq!(samples.len(), 2 * frames);
        }
    }
}

#[test]
fn the_word_of_a_pause_has_at_most_two_bytes_and_is_silent_after_silence() {
    for packet_time in PACKET_TIMES {
        for channels in [1, 2] {
            let mut encoder = OPUS.encoder(AudioOut { packet_time, channels, ..out(48_000) });
            let mut decoder = OPUS.decoder(input(48_000));
            let frames = 480 * packet_time.chunks();
            let sound = sine(440.0, 48_000, frames * usize::from(channels));
            let (mut packet, mut samples) = (Vec::new(), Vec::new());
            encoder.encode(&sound, &mut packet);
            assert_eq!(decoder.decode(&packet, &mut samples), frames);
            // The first one still fades what came before out.
            for is_pause in [false, false, true, true] {
                samples.clear();
                match is_pause {
                    true => encoder.pause(&mut packet),
                    false => encoder.silence(&mut packet),
                }
                assert_eq!(packet.len() <= 2, is_pause, "{packet:?}");
                assert_eq!(decoder.duration(&packet), Some(frames));
                assert_eq!(decoder.decode(&packet, &mut samples), frames);
            }
            assert!(samples.iter().all(|&sample| sample == 0), "{packet_time:?} {channels}");
        }
    }
}

#[test]
fn a_pause_is_silent_and_speech_after_it_is_whole() {
    for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
        for rate in [16_000, 24_000, 48_000] {
            let tone = sine(300.0, rate, rate as usize);
            let config = AudioOut { idle, ..out(rate) };
            let heard = call(config, input(48_000), &[(0, &tone), (1_900, &tone)], rate, 3_400);
            let pause = &heard[48 * 1_200..48 * 1_890];
            let loudest = pause.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!(loudest <= 8, "{idle:?} at {rate}: {loudest}");
            for at in [500, 2_400] {
                let (amplitude, rest) = fit(&heard[48 * at..48 * (at + 400)], 300.0, 48_000);
                let noise = decibels(rest.sqrt() / (amplitude / 2f64.sqrt()));
                assert!(noise < -15.0, "{idle:?} at {rate} from {at} ms: {noise:.1} dB");
            }
            // No jump where the tone begins, ends and begins again.
            let steepest = heard.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
            assert!(steepest < Some(1_000), "{idle:?} at {rate}: {steepest:?}");
        }
    }
}

#[test]
fn concealment_lasts_as_long_as_it_is_asked_for() {
    for channels in [1, 2] {
        let mut encoder = OPUS.encoder(out(48_000));
        let mut decoder = OPUS.decoder(AudioIn { channels, ..input(48_000) });
        let mut packet = Vec::new();
        encoder.encode(&sine(300.0, 48_000, 960), &mut packet);
        decoder.decode(&packet, &mut Vec::new());
        for frames in [1, 119, 120, 121, 840, 960, 1_080, 4_799, 4_800] {
            let mut samples = vec![1, 2, 3];
            decoder.conceal(frames, &mut samples);
            assert_eq!(samples.len(), 3 + frames * usize::from(channels));
        }
    }
}

#[test]
fn a_lost_packet_is_concealed_without_a_hole() {
    let start = origin();
    let mut encoder = OPUS.encoder(out(48_000));
    let mut receiver = AudioReceiver::new(input(48_000), OPUS);
    let tone = sine(200.0, 48_000, 48_000);
    let (mut packet, mut heard, mut buffer) = (Vec::new(), Vec::new(), [0; 4_800]);
    for (seq, samples) in tone.chunks(960).enumerate() {
        encoder.encode(samples, &mut packet);
        let now = start + ms(20 * seq as u64);
        receiver.handle_timeout(now);
        if seq != 25 {
            receiver.handle_packet(seq as u64, 960 * seq as u64, 1, &packet, now);
        }
        while let Some(info) = receiver.recv(&mut buffer) {
            heard.extend_from_slice(&buffer[..info.samples]);
        }
    }
    assert_eq!(heard.len(), 48_000);
    let lost = &heard[25 * 960..26 * 960];
    let energy: f64 = lost.iter().map(|&sample| f64::from(sample).powi(2)).sum();
    let level = decibels((energy / 960.0).sqrt() / (12_000.0 / 2f64.sqrt()));
    assert!(level > -6.0, "the concealed packet lies at {level:.1} dB");
}

#[test]
fn an_hour_of_silence_is_coded_a_few_times_only() {
    let start = origin();
    let mut sender = AudioSender::new(AudioOut { idle: AudioIdle::Silence, ..out(24_000) }, OPUS);
    sender.start(start);
    sender.send(AudioFrame::mono(&sine(300.0, 24_000, 2_400), 24_000), start).unwrap();
    let mut bytes = Vec::new();
    for at in 0..500 {
        let packet = sender.handle_timeout(start + Duration::from_millis(20) * at).unwrap();
        bytes.push(packet.data.len());
    }
    // 100 ms of sound and 100 ms of zeros, then three bytes each.
    assert!(bytes[..5].iter().all(|&len| len > 10), "{bytes:?}");
    assert!(bytes[10..].iter().all(|&len| len == 3), "{bytes:?}");
}

#[test]
fn two_channels_stay_apart() {
    let stereo: Vec<i16> =
        sine(300.0, 24_000, 24_000).iter().flat_map(|&sample| [sample, 0]).collect();
    let config = AudioOut { channels: 2, bitrate: 96_000, ..out(24_000) };
    let listen = AudioIn { channels: 2, ..input(16_000) };
    let start = origin();
    let mut sender = AudioSender::new(config, OPUS);
    let mut receiver = AudioReceiver::new(listen, OPUS);
    sender.start(start);
    sender.send(AudioFrame::stereo(&stereo, 24_000), start).unwrap();
    let (mut heard, mut buffer) = (Vec::new(), [0; 1_000]);
    for seq in 0..50 {
        let now = start + ms(20 * seq);
        let packet = sender.handle_timeout(now).unwrap();
        receiver.handle_packet(seq, packet.rtp_time, 1, packet.data, now);
        while let Some(info) = receiver.recv(&mut buffer) {
            assert_eq!(info.channels, 2);
            heard.extend_from_slice(&buffer[..info.samples * 2]);
        }
    }
    let energy = |channel: usize| -> f64 {
        heard.iter().skip(channel).step_by(2).map(|&sample| f64::from(sample).powi(2)).sum()
    };
    assert_eq!(heard.len(), 32_000);
    assert!(energy(1) < energy(0) / 100.0, "{} {}", energy(0), energy(1));
}

#[test]
fn a_packet_that_promises_more_than_it_holds_is_concealed() {
    let start = origin();
    let mut encoder = OPUS.encoder(out(48_000));
    let mut receiver = AudioReceiver::new(input(48_000), OPUS);
    let mut packet = Vec::new();
    encoder.encode(&sine(300.0, 48_000, 960), &mut packet);
    receiver.handle_packet(0, 0, 1, &packet, start);
    // Two frames of 20 ms and of one size (RFC 6716 section 3.2.3), in a single byte.
    receiver.handle_packet(1, 960, 1, &[31 << 3 | 1, 7], start);
    receiver.handle_packet(2, 960 * 3, 1, &packet, start);
    let mut buffer = [0; 4_000];
    let read = std::iter::from_fn(|| receiver.recv(&mut buffer));
    let blocks: Vec<_> = read.map(|info| (info.origin, info.samples)).collect();
    let (decoded, concealed) = (AudioOrigin::Decoded, AudioOrigin::Concealed);
    assert_eq!(blocks, [(decoded, 960), (concealed, 1_920), (decoded, 960)]);
}

#[test]
fn a_packet_of_one_byte_lasts_as_long_as_its_frame() {
    // What browsers send in a pause when DTX was negotiated: the TOC byte alone.
    let mut encoder = OPUS.encoder(out(48_000));
    let mut decoder = OPUS.decoder(input(48_000));
    let (mut packet, mut samples) = (Vec::new(), Vec::new());
    encoder.encode(&[0; 960], &mut packet);
    decoder.decode(&packet, &mut samples);
    packet.truncate(1);
    packet[0] &= 0xFC;
    samples.clear();
    assert_eq!(decoder.duration(&packet), Some(960));
    assert_eq!(decoder.decode(&packet, &mut samples), 960);
    assert_eq!(samples.len(), 960);
}

proptest! {
    #[test]
    fn bytes_that_are_no_opus_do_no_harm(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..20),
    ) {
        let start = origin();
        let mut receiver = AudioReceiver::new(input(16_000), OPUS);
        let mut time = 0;
        let decoder = OPUS.decoder(input(48_000));
        for (seq, packet) in packets.iter().enumerate() {
            receiver.handle_packet(seq as u64, time, 1, packet, start);
            time += decoder.duration(packet).unwrap_or(960) as u64;
        }
        let mut buffer = vec![0; 16_000];
        let mut heard = 0;
        while let Some(info) = receiver.recv(&mut buffer) {
            heard += info.samples as u64;
        }
        let dropped = receiver.counters().dropped_samples;
        prop_assert!(heard * 3 + dropped <= time + 3);
    }
}

#[test]
fn packets_that_are_no_opus_give_no_sound_and_have_no_duration() {
    let mut decoder = OPUS.decoder(input(48_000));
    // Nothing at all, no count behind a code of several frames, 63 frames of 20 ms.
    for packet in [&b""[..], &[0xff], &[0xfb, 63, 1, 2]] {
        let mut samples = vec![1, 2, 3];
        assert_eq!(decoder.duration(packet), None, "{packet:?}");
        assert_eq!(decoder.decode(packet, &mut samples), 0, "{packet:?}");
        assert_eq!(samples, [1, 2, 3]);
    }
}

#[test]
fn a_decoder_that_was_reset_decodes_as_a_new_one() {
    let mut encoder = OPUS.encoder(out(48_000));
    let tone = sine(300.0, 48_000, 4_800);
    let packets: Vec<Vec<u8>> = tone
        .chunks(960)
        .map(|samples| {
            let mut packet = Vec::new();
            encoder.encode(samples, &mut packet);
            packet
        })
        .collect();
    let mut used = OPUS.decoder(input(48_000));
    let mut heard = Vec::new();
    for packet in &packets {
        assert_eq!(used.decode(packet, &mut heard), 960);
    }
    let (mut again, mut kept) = (Vec::new(), Vec::new());
    used.decode(&packets[0], &mut kept);
    used.reset();
    used.decode(&packets[0], &mut again);
    assert_eq!(again, heard[..960]);
    assert_ne!(kept, again, "what went before is heard without a reset");
}
