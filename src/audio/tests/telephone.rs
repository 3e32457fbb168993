//! The codecs of telephones: bit by bit beside ffmpeg's (`telephone/make`), and listened to through
//! both ends.

use proptest::prelude::*;

use super::resample::{decibels, fit};
use super::{input, ms, origin, out, sine};
use crate::audio::codec::audio_out;
use crate::audio::{AudioCodec, AudioReceiver, AudioSender, g711, g722};
use crate::config::{AudioIn, AudioOut};
use crate::{AudioFrame, AudioIdle, AudioOrigin, Codec, PacketTime};

const TELEPHONES: [(Codec, AudioCodec, u64); 3] = [
    (Codec::Pcmu, AudioCodec::Pcmu, 8_000),
    (Codec::Pcma, AudioCodec::Pcma, 8_000),
    (Codec::G722, AudioCodec::G722, 16_000),
];

const PACKET_TIMES: [PacketTime; 4] =
    [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60];

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.as_chunks::<2>().0.iter().map(|pair| i16::from_le_bytes(*pair)).collect()
}

#[test]
fn each_byte_of_g711_decodes_as_in_ffmpeg() {
    let ulaw: Vec<i16> = (0..=255).map(g711::from_ulaw).collect();
    assert_eq!(ulaw, samples(include_bytes!("telephone/all.ulaw.s16")));
    let alaw: Vec<i16> = (0..=255).map(g711::from_alaw).collect();
    assert_eq!(alaw, samples(include_bytes!("telephone/all.alaw.s16")));
}

/// ffmpeg takes the nearest level. The recommendation's decision values are not half-way between
/// two levels where a segment ends (G.711 tables 1 and 2): there the next one is right.
#[test]
fn a_voice_is_coded_to_g711_as_in_ffmpeg_or_to_a_level_as_near() {
    let voice = samples(include_bytes!("telephone/voice-8k.s16"));
    let ulaw = include_bytes!("telephone/voice.ulaw");
    let alaw = include_bytes!("telephone/voice.alaw");
    let near = |law: fn(i16) -> u8, back: fn(u8) -> i16, theirs: &[u8]| {
        assert_eq!(theirs.len(), voice.len());
        let mut equal = 0;
        for (sample, theirs) in voice.iter().zip(theirs) {
            let ours = law(*sample);
            equal += usize::from(ours == *theirs);
            let error = |byte: u8| (i32::from(back(byte)) - i32::from(*sample)).abs();
            let most = error(*theirs) + 4 + i32::from(sample.unsigned_abs()) / 50;
            assert!(error(ours) <= most, "{sample}: {ours:#x}, in ffmpeg {theirs:#x}");
        }
        equal * 100 / voice.len()
    };
    let equal = [near(g711::ulaw, g711::from_ulaw, ulaw), near(g711::alaw, g711::from_alaw, alaw)];
    assert!(equal.iter().all(|percent| *percent >= 97), "{equal:?} % are the same");
}

#[test]
fn g722_is_decoded_to_the_bit_as_in_ffmpeg() {
    let mut heard = Vec::new();
    g722::Decoder::new().decode(include_bytes!("telephone/voice.g722"), &mut heard);
    assert_eq!(heard, samples(include_bytes!("telephone/voice.g722.s16")));
    let mut state = 1u32;
    let noise: Vec<u8> = (0..4_096)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    heard.clear();
    g722::Decoder::new().decode(&noise, &mut heard);
    assert_eq!(heard, samples(include_bytes!("telephone/noise.g722.s16")));
}

#[test]
fn g722_is_coded_to_the_bit_as_in_ffmpeg() {
    let voice = samples(include_bytes!("telephone/voice-16k.s16"));
    let theirs = include_bytes!("telephone/voice.g722");
    let mut ours = Vec::new();
    g722::Encoder::new().encode(&voice, &mut ours);
    let differ = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs);
    assert_eq!((ours.len(), differ), (theirs.len(), None));
}

/// One codec from end to end on a perfect network: what is heard of two seconds of a tone.
fn through(coder: (Codec, AudioCodec), config: AudioOut, listen: AudioIn) -> Vec<i16> {
    let start = origin();
    let (codec, coder) = coder;
    let mut sender = AudioSender::new(config, coder);
    let mut receiver = AudioReceiver::with_decoder(listen, codec, coder.decoder(listen));
    let tone = sine(440.0, 24_000, 48_000);
    sender.start(start);
    sender.send(AudioFrame::mono(&tone, 24_000), start).unwrap();
    let (mut heard, mut buffer, mut seq) = (Vec::new(), [0; 8_000], 0);
    for at in 0..2_000 {
        let now = start + ms(at);
        while let Some(packet) = sender.handle_timeout(now) {
            let clock = u64::from(48_000 / codec.clock_rate());
            assert_eq!(packet.rtp_time % clock, 0, "whole units of the codec's clock");
            receiver.handle_packet(seq, packet.rtp_time, 1, packet.data, now);
            seq += 1;
        }
        while let Some(info) = receiver.recv(&mut buffer) {
            assert_eq!((info.origin, info.channels), (AudioOrigin::Decoded, listen.channels));
            heard.extend_from_slice(&buffer[..info.samples * usize::from(info.channels)]);
        }
    }
    assert_eq!((receiver.counters().malformed, receiver.counters().restarts), (0, 0));
    heard
}

#[test]
fn a_tone_comes_back_with_its_pitch_and_level_at_every_rate() {
    for (codec, coder, _) in TELEPHONES {
        for (coded, to) in [(24_000, 16_000), (8_000, 8_000), (16_000, 44_100), (48_000, 48_000)] {
            let heard = through((codec, coder), out(coded), input(to));
            assert_eq!(heard.len(), to as usize * 2, "{codec:?}: two seconds are two seconds");
            let middle = &heard[to as usize / 2..to as usize * 3 / 2];
            let (amplitude, rest) = fit(middle, 440.0, to);
            let gain = decibels(amplitude / 12_000.0);
            assert!(gain.abs() < 0.5, "{codec:?} {coded} {to}: {gain:.2} dB");
            let noise = decibels(rest.sqrt() / (amplitude / 2f64.sqrt()));
            assert!(noise < -30.0, "{codec:?} {coded} {to}: {noise:.1} dB");
        }
    }
}

#[test]
fn two_channels_are_sent_as_their_middle_and_heard_on_both_sides() {
    for (codec, coder, _) in TELEPHONES {
        let listen = AudioIn { channels: 2, ..input(16_000) };
        let heard = through((codec, coder), AudioOut { channels: 2, ..out(24_000) }, listen);
        assert_eq!(heard.len(), 64_000);
        assert!(heard.chunks_exact(2).all(|pair| pair[0] == pair[1]));
        let left: Vec<i16> = heard.iter().copied().step_by(2).collect();
        let (amplitude, _) = fit(&left[8_000..24_000], 440.0, 16_000);
        assert!(decibels(amplitude / 12_000.0).abs() < 0.5, "{codec:?}: {amplitude}");
    }
}

#[test]
fn packets_and_silence_are_as_long_as_their_time_says() {
    for (codec, coder, rate) in TELEPHONES {
        for packet_time in PACKET_TIMES {
            let config = AudioOut { packet_time, ..out(24_000) };
            let mut encoder = coder.encoder(config);
            let mut decoder = coder.decoder(input(16_000));
            let frames = rate as usize / 100 * packet_time.chunks();
            let (mut packet, mut heard) = (vec![1; 9], Vec::new());
            for _ in 0..2 {
                encoder.encode(&vec![0; 240 * packet_time.chunks()], &mut packet);
                assert_eq!(packet.len(), 80 * packet_time.chunks(), "{codec:?}: 64 kbit/s");
                assert_eq!(decoder.decode(&packet, &mut heard), frames);
                encoder.silence(&mut packet);
                assert_eq!(packet.len(), 80 * packet_time.chunks(), "{codec:?}: 64 kbit/s");
                assert_eq!(decoder.duration(&packet), Some(frames));
                assert_eq!(decoder.decode(&packet, &mut heard), frames);
            }
            assert_eq!(heard.len(), 4 * frames);
            assert!(heard.iter().all(|sample| sample.unsigned_abs() <= 8), "{codec:?}");
        }
    }
}

#[test]
fn a_packet_of_200_ms_is_decoded_and_a_longer_or_empty_one_is_malformed() {
    for (codec, coder, rate) in TELEPHONES {
        let decoder = coder.decoder(input(8_000));
        let longest = decoder.duration(&[0x55; 1_600]);
        assert_eq!(longest, Some(rate as usize / 5), "{codec:?}");
        for packet in [&[0x55; 1_601][..], &[]] {
            assert_eq!(decoder.duration(packet), None);
            let mut receiver =
                AudioReceiver::with_decoder(input(8_000), codec, coder.decoder(input(8_000)));
            receiver.handle_packet(0, 0, 1, packet, origin());
            assert_eq!(receiver.counters().malformed, 1);
            assert!(!receiver.is_readable());
        }
    }
}

#[test]
fn a_pause_of_a_telephone_is_silence_at_the_full_rate() {
    for (codec, ..) in TELEPHONES {
        let config = AudioOut { idle: AudioIdle::Dtx, ..out(24_000) };
        assert_eq!(audio_out(codec, config).idle, AudioIdle::Silence);
        let config = AudioOut { idle: AudioIdle::Nothing, ..config };
        assert_eq!(audio_out(codec, config).idle, AudioIdle::Nothing);
    }
    let config = AudioOut { idle: AudioIdle::Dtx, ..out(24_000) };
    assert_eq!(audio_out(Codec::Opus, config), config);
}

#[test]
fn another_codec_in_mid_call_takes_nothing_of_what_is_queued_and_no_time() {
    let start = origin();
    let config = AudioOut { channels: 2, ..out(48_000) };
    let mut sender = AudioSender::new(config, AudioCodec::Null);
    sender.start(start);
    let id = sender.send(AudioFrame::mono(&sine(300.0, 24_000, 12_000), 24_000), start).unwrap();
    let mut lens = Vec::new();
    for at in 0..30 {
        for (turn, coder) in [(5, AudioCodec::Pcma), (15, AudioCodec::G722)] {
            if at == turn {
                sender.set_encoder(coder.encoder(config), AudioIdle::Nothing);
            }
        }
        let now = start + ms(20 * at);
        let packet = sender.handle_timeout(now).expect("half a second, and what settles it");
        assert_eq!(packet.rtp_time, 960 * at);
        lens.push(packet.data.len());
        sender.written(0, true, now);
        let due = (480 * (at + 1)).min(12_000);
        let mut told = Vec::new();
        told.extend(std::iter::from_fn(|| sender.poll_told()));
        let sent = sender.progress(id, now).expect("it is known").sent;
        assert!(sent <= due && sent + 48 >= due, "{sent} of {due} samples at {at}");
    }
    assert!(lens[..5].iter().all(|len| *len == 7 + 2 * 2 * 2), "{lens:?}");
    assert!(lens[5..].iter().all(|len| *len == 160), "{lens:?}");
}

/// A listener that is told packets as a sender's payload types and clocks tell them.
struct Ear {
    receiver: AudioReceiver,
    listen: AudioIn,
    heard: Vec<i16>,
    parts: Vec<(AudioOrigin, usize)>,
    now: std::time::Instant,
}

impl Ear {
    fn new(rate: u32) -> Ear {
        let listen = input(rate);
        let decoder = AudioCodec::Null.decoder(listen);
        let receiver = AudioReceiver::with_decoder(listen, Codec::Opus, decoder);
        Ear { receiver, listen, heard: Vec::new(), parts: Vec::new(), now: origin() }
    }

    /// A packet whose time is told in the codec's own clock.
    fn packet(&mut self, codec: Codec, seq: u64, time: u64, data: &[u8]) {
        if !self.receiver.knows(codec) {
            let coder = TELEPHONES.iter().find(|known| known.0 == codec).unwrap().1;
            self.receiver.add(codec, self.listen, coder.decoder(self.listen));
        }
        self.receiver.switch(codec);
        let time = time * u64::from(48_000 / codec.clock_rate());
        self.receiver.handle_packet(seq, time, 1, data, self.now);
        self.read();
    }

    /// Lets the wait for what is missing end.
    fn wait(&mut self) {
        self.now += ms(100);
        self.receiver.handle_timeout(self.now);
        self.read();
    }

    fn read(&mut self) {
        let mut buffer = [0; 48_000];
        while let Some(info) = self.receiver.recv(&mut buffer) {
            self.heard.extend_from_slice(&buffer[..info.samples]);
            match self.parts.last_mut() {
                Some((origin, samples)) if *origin == info.origin => *samples += info.samples,
                _ => self.parts.push((info.origin, info.samples)),
            }
        }
    }
}

/// 20 ms of something in each codec; of Opus in the null codec's words.
fn packet(codec: Codec) -> Vec<u8> {
    let mut packet = Vec::new();
    let coder =
        TELEPHONES.iter().find(|known| known.0 == codec).map_or(AudioCodec::Null, |it| it.1);
    coder.encoder(out(24_000)).encode(&sine(300.0, 24_000, 480), &mut packet);
    packet
}

#[test]
fn a_codec_that_changes_in_mid_stream_costs_no_time_at_any_rate() {
    use Codec::{G722, Opus, Pcma, Pcmu};
    for rate in [8_000, 12_000, 16_000, 24_000, 44_100, 48_000] {
        let mut ear = Ear::new(rate);
        let (mut seq, mut packets) = (0, 0);
        // Each clock goes on by itself, from where it likes.
        let mut times = [1 << 20, 77];
        for (codec, count) in
            [(Opus, 3), (Pcmu, 7), (G722, 1), (Pcma, 4), (Opus, 2), (G722, 5), (Opus, 1), (Pcmu, 2)]
        {
            if codec == Opus {
                // What is not sent with a clock does not let it stand still.
                times[1] += 123_456;
            }
            let clock = &mut times[usize::from(codec != Opus)];
            for _ in 0..count {
                ear.packet(codec, seq, *clock, &packet(codec));
                (seq, packets) = (seq + 1, packets + 1);
                *clock += if codec == Opus { 960 } else { 160 };
                let due = (packets * 20 * u64::from(rate)).div_ceil(1_000);
                assert_eq!(ear.heard.len() as u64, due, "{rate}: after {packets} packets");
            }
        }
        assert!(ear.parts.iter().all(|(origin, _)| *origin == AudioOrigin::Decoded));
        assert_eq!(ear.receiver.counters().restarts, 0);
    }
}

#[test]
fn packets_that_are_lost_where_the_codec_changes_are_concealed_for_as_long_as_they_were() {
    use Codec::{Opus, Pcma, Pcmu};
    let (decoded, concealed) = (AudioOrigin::Decoded, AudioOrigin::Concealed);
    // Of one clock: the times tell. Of two: the packets that are missing tell.
    for (to, time) in [(Pcma, 5 * 160), (Opus, 999_999)] {
        let mut ear = Ear::new(16_000);
        for seq in 0..2 {
            ear.packet(Pcmu, seq, seq * 160, &packet(Pcmu));
        }
        ear.packet(to, 5, time, &packet(to));
        ear.wait();
        assert_eq!(ear.parts, [(decoded, 640), (concealed, 960), (decoded, 320)], "{to:?}");
        // One of the missing ones comes too late, and nothing of it is heard.
        ear.packet(Pcmu, 3, 3 * 160, &packet(Pcmu));
        assert_eq!((ear.heard.len(), ear.receiver.counters().late), (1_920, 1));
    }
}

#[test]
fn what_is_overtaken_where_the_codec_changes_is_put_in_its_place() {
    use Codec::{G722, Opus};
    let mut ear = Ear::new(48_000);
    ear.packet(G722, 0, 0, &packet(G722));
    ear.packet(Opus, 2, 5, &packet(Opus));
    ear.packet(G722, 1, 160, &packet(G722));
    ear.packet(Opus, 3, 965, &packet(Opus));
    assert_eq!(ear.parts, [(AudioOrigin::Decoded, 4 * 960)]);
}

#[test]
fn a_long_loss_is_concealed_for_100_ms_and_then_silent_and_does_not_click() {
    for (codec, coder, rate) in TELEPHONES {
        let mut ear = Ear::new(rate as u32);
        let tone = sine(150.0, 24_000, 24_000);
        let mut encoder = coder.encoder(out(24_000));
        for (seq, samples) in (0..).zip(tone.chunks(480)) {
            let mut packet = Vec::new();
            encoder.encode(samples, &mut packet);
            if !(20..30).contains(&seq) {
                ear.packet(codec, seq, seq * 160, &packet);
                ear.wait();
            }
        }
        let frames = |ms: u64| (rate * ms / 1_000) as usize;
        let (decoded, concealed) = (AudioOrigin::Decoded, AudioOrigin::Concealed);
        let expected =
            [(decoded, 400), (concealed, 100), (AudioOrigin::Silence, 100), (decoded, 400)];
        assert_eq!(ear.parts, expected.map(|(origin, ms)| (origin, frames(ms))), "{codec:?}");
        let usual = ear.heard[..frames(400)].windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        let steepest = ear.heard.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max();
        let (steepest, usual) = (steepest.unwrap(), usual.unwrap());
        assert!(steepest < usual * 5 / 4 + 50, "{codec:?}: a step of {steepest}, {usual} before");
        assert!(ear.heard[frames(470)..frames(600)].iter().all(|sample| *sample == 0));
    }
}

#[test]
fn packets_that_are_lost_one_by_one_are_concealed_at_about_their_level() {
    for (codec, coder, rate) in TELEPHONES {
        let mut ear = Ear::new(rate as u32);
        let tone = sine(200.0, 24_000, 48_000);
        let mut encoder = coder.encoder(out(24_000));
        for (seq, samples) in (0..).zip(tone.chunks(480)) {
            let mut packet = Vec::new();
            encoder.encode(samples, &mut packet);
            if seq % 10 != 5 {
                ear.packet(codec, seq, seq * 160, &packet);
                ear.wait();
            }
        }
        let lost = (rate / 50) as usize;
        assert_eq!(ear.heard.len(), 100 * lost, "{codec:?}");
        let level = |heard: &[i16]| {
            let energy: f64 = heard.iter().map(|sample| f64::from(*sample).powi(2)).sum();
            decibels((energy / heard.len() as f64).sqrt() / (12_000.0 / 2f64.sqrt()))
        };
        for at in (5..100).step_by(10) {
            let level = level(&ear.heard[at * lost..(at + 1) * lost]);
            assert!((-6.0..1.0).contains(&level), "{codec:?} packet {at}: {level:.1} dB");
        }
    }
}

proptest! {
    /// Whatever is lost, doubled, overtaken or changes its codec: the sound lasts as long as the
    /// media did.
    #[test]
    fn the_sound_lasts_as_long_as_the_media_whatever_happens_to_packets(
        rate in prop::sample::select(vec![8_000, 16_000, 44_100, 48_000]),
        fates in prop::collection::vec((0..10u8, 0..3usize), 1..150),
    ) {
        let mut ear = Ear::new(rate);
        let mut held = None;
        let count = fates.len() as u64;
        let send = |ear: &mut Ear, seq: u64, codec: Codec| {
            ear.packet(codec, seq, seq * 160, &packet(codec));
        };
        send(&mut ear, 0, Codec::Pcmu);
        for (seq, (fate, codec)) in (1..).zip(&fates) {
            let codec = TELEPHONES[*codec].0;
            match fate {
                0..2 => ear.wait(),
                2 => held = held.or(Some((seq, codec))),
                _ => send(&mut ear, seq, codec),
            }
            if *fate == 3 {
                send(&mut ear, seq, codec);
            }
            if *fate == 4 && let Some((seq, codec)) = held.take() {
                send(&mut ear, seq, codec);
            }
        }
        send(&mut ear, count + 1, Codec::Pcma);
        ear.wait();
        let due = ((count + 2) * 20 * u64::from(rate)).div_ceil(1_000);
        prop_assert_eq!(ear.heard.len() as u64, due);
    }

    #[test]
    fn bytes_that_nobody_coded_do_no_harm(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..20),
        which in 0..3usize,
    ) {
        let mut ear = Ear::new(16_000);
        let mut time = 0;
        for (seq, data) in packets.iter().enumerate() {
            ear.packet(TELEPHONES[which].0, seq as u64, time, data);
            time += data.len() as u64;
        }
        prop_assert!(ear.heard.len() as u64 <= 2 * time);
    }
}
