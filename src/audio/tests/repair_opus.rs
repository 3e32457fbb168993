//! In-band FEC of real Opus.

use opus_pure::{Application, Bandwidth, OpusEncoder};

use super::resample::decibels;
use super::{OPUS, input, ms, origin, sine};
use crate::AudioOrigin;
use crate::audio::AudioReceiver;
use crate::audio::codec::AudioDecoder;
use crate::config::AudioIn;

/// Something like a voice: harmonics of a pitch that moves, in syllables.
pub(super) fn voice(rate: u32, seconds: usize) -> Vec<i16> {
    let mut phase = 0.0;
    (0..rate as usize * seconds)
        .map(|at| {
            let time = at as f64 / f64::from(rate);
            phase += (120.0 + 30.0 * (time * 2.0).sin()) / f64::from(rate);
            let syllable = 0.55 + 0.45 * (time * 4.0 * std::f64::consts::TAU).sin();
            let wave: f64 = (1..20)
                .map(|harmonic| {
                    let harmonic = f64::from(harmonic);
                    (harmonic * phase * std::f64::consts::TAU).sin() / harmonic
                })
                .sum();
            (wave * syllable * 6_000.0) as i16
        })
        .collect()
}

/// Packets of so many milliseconds, coded for a network that loses a fifth.
pub(super) fn packets(
    speech: &[i16],
    rate: u32,
    time_ms: usize,
    is_protected: bool,
) -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new(rate as i32, 1, Application::Voip).unwrap();
    encoder.bitrate_bps = 32_000;
    encoder.complexity = 5;
    encoder.use_inband_fec = is_protected;
    encoder.packet_loss_perc = 20;
    encoder.max_bandwidth = Bandwidth::Wideband;
    let coded = speech.chunks_exact(rate as usize / 1_000 * time_ms).map(|samples| {
        let mut packet = vec![0; 2_000];
        let len = encoder.encode_s16(samples, samples.len(), &mut packet).unwrap();
        packet.truncate(len);
        packet
    });
    coded.collect()
}

fn decoder() -> Box<dyn AudioDecoder> {
    OPUS.decoder(input(48_000))
}

/// How far `heard` lies above its difference from `said`, in decibels.
fn fidelity(heard: &[i16], said: &[i16]) -> f64 {
    let energy = |samples: &mut dyn Iterator<Item = f64>| samples.map(|it| it * it).sum::<f64>();
    let signal = energy(&mut said.iter().map(|&sample| f64::from(sample)));
    let noise = energy(&mut heard.iter().zip(said).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    decibels((signal / noise.max(1.0)).sqrt())
}

#[test]
fn packets_that_were_coded_with_copies_tell_how_long_these_are() {
    let speech = voice(16_000, 2);
    for (time_ms, expected) in [(10, 480), (20, 960), (40, 1_920), (60, 2_880)] {
        let protected = packets(&speech, 16_000, time_ms, true);
        let mut decoder = decoder();
        let mut copies = 0;
        for packet in &protected {
            let copied = decoder.copied(packet);
            assert!(copied == 0 || copied == expected, "{time_ms} ms: {copied}");
            copies += usize::from(copied > 0);
            decoder.decode(packet, &mut Vec::new());
        }
        assert!(copies * 2 > protected.len(), "{time_ms} ms: {copies} of {}", protected.len());
        let plain = packets(&speech, 16_000, time_ms, false);
        assert!(plain.iter().all(|packet| decoder.copied(packet) == 0), "{time_ms} ms");
    }
    assert_eq!([&[][..], &[0x08], &[0x08, 0xff]].map(|odd| decoder().copied(odd)), [0, 0, 960]);
}

#[test]
fn sound_without_the_layer_of_speech_has_no_copies_and_none_are_read_behind_it() {
    let speech = voice(16_000, 1);
    let mut decoder = decoder();
    let mut protected = packets(&speech, 16_000, 20, true).into_iter();
    let with_copy = protected.find(|packet| decoder.copied(packet) > 0).unwrap();
    assert_eq!(decoder.copied(&with_copy), 960);
    // A frame of CELT: 20 ms, full band.
    let mut tone = OpusEncoder::new(48_000, 1, Application::RestrictedLowDelay).unwrap();
    let mut celt = vec![0; 1_000];
    let len = tone.encode_s16(&sine(900.0, 48_000, 960), 960, &mut celt).unwrap();
    celt.truncate(len);
    assert_eq!(decoder.copied(&celt), 0);
    decoder.decode(&celt, &mut Vec::new());
    assert_eq!(decoder.copied(&with_copy), 0);
    let mut samples = vec![1];
    assert_eq!((decoder.repair(&with_copy, &mut samples), samples.len()), (0, 1));
    decoder.reset();
    assert_eq!(decoder.repair(&with_copy, &mut samples), 960);
    assert_eq!(samples.len(), 961);
}

#[test]
fn a_repaired_packet_lies_nearer_to_what_was_said_than_a_concealed_one() {
    let speech = voice(16_000, 4);
    for channels in [1, 2] {
        let config = AudioIn { channels, ..input(48_000) };
        let protected = packets(&speech, 16_000, 20, true);
        let mut all = Vec::new();
        let mut decoder = OPUS.decoder(config);
        for packet in &protected {
            decoder.decode(packet, &mut all);
        }
        let listen = |copies: bool| {
            let mut decoder = OPUS.decoder(config);
            let (mut heard, mut said) = (Vec::new(), Vec::new());
            let mut may_be_lost = true;
            for (at, packet) in protected.iter().enumerate() {
                let mut samples = Vec::new();
                let next = protected.get(at + 1).map_or(0, |next| decoder.copied(next));
                if may_be_lost && at % 7 > 4 && next > 0 {
                    may_be_lost = false;
                    continue;
                }
                if !std::mem::replace(&mut may_be_lost, true) {
                    match copies {
                        true => assert_eq!(decoder.repair(packet, &mut samples), 960),
                        false => decoder.conceal(960, &mut samples),
                    }
                    let len = samples.len();
                    said.extend_from_slice(&all[(at - 1) * len..at * len]);
                    heard.append(&mut samples);
                }
                decoder.decode(packet, &mut samples);
            }
            assert!(heard.len() > 20 * 960, "{}", heard.len());
            fidelity(&heard, &said)
        };
        let (repaired, concealed) = (listen(true), listen(false));
        assert!(repaired > concealed + 6.0, "{repaired:.1} dB, {concealed:.1} dB");
    }
}

#[test]
fn a_lost_packet_of_real_opus_is_heard_as_repaired() {
    let protected = packets(&voice(16_000, 2), 16_000, 20, true);
    let (mut receiver, start) = (AudioReceiver::new(input(16_000), OPUS), origin());
    let (mut buffer, mut origins) = ([0; 320], Vec::new());
    for (seq, packet) in (0..).zip(&protected).filter(|(seq, _)| seq % 10 != 5) {
        let now = start + ms(20 * seq);
        receiver.handle_packet(seq, 960 * seq, 1, packet, now);
        receiver.handle_timeout(now + ms(10));
        while let Some(info) = receiver.recv(&mut buffer) {
            assert_eq!(info.samples, 320);
            origins.push(info.origin);
        }
    }
    assert_eq!(origins.len(), 100);
    let mut repaired = 0;
    for (at, origin) in origins.iter().enumerate() {
        // The encoder makes no copies of what is hardly a voice.
        let has_copy = protected.get(at + 1).is_some_and(|next| decoder().copied(next) > 0);
        let expected = match (at % 10 == 5, has_copy) {
            (true, true) => AudioOrigin::Repaired,
            (true, false) => AudioOrigin::Concealed,
            (false, _) => AudioOrigin::Decoded,
        };
        assert_eq!(*origin, expected, "{at}");
        repaired += u64::from(expected == AudioOrigin::Repaired);
    }
    assert!(repaired > 5, "{repaired}");
    assert_eq!(receiver.counters().repaired_samples, repaired * 960);
}
