//! Calls with telephones: peers that speak G.711 or G.722, alone or beside Opus. As all calls of
//! the simulator they are recorded, and their logs replay identical.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{AudioOrigin, Codec, EncodedFrame, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_packet};

const MICROPHONE: TrackId = TrackId(0);
const PACKET: Duration = Duration::from_millis(20);
const TELEPHONES: [Codec; 3] = [Codec::Pcmu, Codec::Pcma, Codec::G722];

/// 20 ms of silence as this codec has it, and of Opus as the null codec does.
fn silence(codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Pcmu => vec![0xFF; 160],
        Codec::Pcma => vec![0xD5; 160],
        Codec::G722 => vec![0xFA; 160],
        _ => null_packet(&[0, 0]),
    }
}

fn call(sounds: &[Codec], setup: Setup) -> Pair {
    let mut pair = Pair::new(setup.browser(|browser| browser.sounds = sounds.to_vec()));
    pair.connect();
    pair
}

/// What came to the phone: times and bytes.
fn came(pair: &Pair) -> Vec<(u64, Vec<u8>)> {
    let media = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Media { line: 0, time, data, .. } => Some((*time, data.to_vec())),
        _ => None,
    });
    media.collect()
}

/// Lets the phone send these packets, one each 20 ms, and gives what the bot heard.
fn speak(
    pair: &mut Pair,
    packets: impl IntoIterator<Item = (Codec, u64, Vec<u8>)>,
) -> Vec<(AudioOrigin, Vec<i16>)> {
    let mut heard = Vec::new();
    let mut samples = [0; 4_800];
    for (codec, time, data) in packets {
        let now = pair.now();
        assert!(pair.browser.send_coded(0, Some(codec), time, &data, now));
        pair.drive_for(PACKET);
        while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
            heard.push((info.origin, samples[..info.samples].to_vec()));
        }
    }
    heard
}

fn loudness(samples: &[i16]) -> f64 {
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / samples.len() as f64).sqrt()
}

#[test]
fn a_phone_that_offers_one_codec_alone_is_heard_and_hears() {
    let voice = |codec| -> (&[u8], f64) {
        match codec {
            Codec::Pcmu => (include_bytes!("../../../src/audio/tests/telephone/voice.ulaw"), 9e3),
            Codec::Pcma => (include_bytes!("../../../src/audio/tests/telephone/voice.alaw"), 9e3),
            _ => (include_bytes!("../../../src/audio/tests/telephone/voice.g722"), 9e3),
        }
    };
    for (seed, codec) in (1..).zip(TELEPHONES) {
        let mut pair = call(&[codec], Setup::new(Kind::Real, seed));
        assert_eq!(pair.session.send_codec(MICROPHONE), Some(codec));
        let (coded, loud) = voice(codec);
        let packets = coded.chunks_exact(160).enumerate();
        let packets = packets.map(|(at, data)| (codec, 77 + 160 * at as u64, data.to_vec()));
        let heard = speak(&mut pair, packets);
        // Half a second, to the sample, and as loud as it was: the last tenth of it is silent.
        let samples: Vec<i16> = heard.iter().flat_map(|(_, samples)| samples.clone()).collect();
        assert!(heard.iter().all(|(origin, _)| *origin == AudioOrigin::Decoded), "{codec:?}");
        assert_eq!(samples.len(), 8_000, "{codec:?}");
        let level = loudness(&samples[..6_000]);
        assert!((loud / 2.0..loud * 2.0).contains(&level), "{codec:?}: {level}");
        assert!(loudness(&samples[7_400..]) < 60.0, "{codec:?}: {}", loudness(&samples[7_400..]));

        pair.forget();
        let tone: Vec<i16> =
            (0..24_000).map(|at| if at / 30 % 2 == 0 { 8_000 } else { -8_000 }).collect();
        pair.send_audio(&tone, 24_000).expect("there is room");
        pair.drive_for(Duration::from_secs(1));
        let came = came(&pair);
        assert!(came.len() >= 48, "{codec:?}: {} packets", came.len());
        assert!(came.iter().all(|(_, data)| data.len() == 160), "{codec:?}: 64 kbit/s");
        assert!(came.windows(2).all(|pair| pair[1].0 - pair[0].0 == 160), "{codec:?}: 8 kHz");
        let loud = came
            .iter()
            .filter(|(_, data)| data.iter().collect::<std::collections::BTreeSet<_>>().len() > 4);
        assert!(loud.count() >= 45, "{codec:?}: the tone is there");
    }
}

#[test]
fn opus_is_spoken_with_whoever_offers_it_wherever_it_stands() {
    for sounds in
        [&[Codec::Opus, Codec::Pcmu][..], &[Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus]]
    {
        let mut pair = call(sounds, Setup::new(Kind::Real, 7));
        assert_eq!(pair.session.send_codec(MICROPHONE), Some(Codec::Opus));
        pair.drive_for(Duration::from_millis(100));
        assert!(came(&pair).iter().all(|(_, data)| data[0] == b'N'), "the null codec is its Opus");
    }
    // Without Opus, what sounds best.
    let pair = call(&TELEPHONES, Setup::new(Kind::Real, 8));
    assert_eq!(pair.session.send_codec(MICROPHONE), Some(Codec::G722));
}

#[test]
fn the_order_of_codecs_is_the_applications() {
    let order = [Codec::Pcma, Codec::Opus];
    let setup = Setup::new(Kind::Real, 9);
    let setup = setup.config(|config| config.audio_codecs(&order).expect("two of sound"));
    let sounds = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];
    let pair = call(&sounds, setup);
    assert_eq!(pair.session.send_codec(MICROPHONE), Some(Codec::Pcma));
}

#[test]
fn a_phone_that_changes_its_codec_in_mid_call_is_heard_without_a_hole() {
    let sounds = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];
    let mut pair = call(&sounds, Setup::new(Kind::Real, 10));
    let mut packets = Vec::new();
    let mut times = [5_000, 70_000];
    for codec in [Codec::Opus, Codec::Pcmu, Codec::G722, Codec::Opus, Codec::Pcma, Codec::Opus] {
        for _ in 0..5 {
            let time = &mut times[usize::from(codec != Codec::Opus)];
            packets.push((codec, *time, silence(codec)));
            *time += if codec == Codec::Opus { 960 } else { 160 };
        }
    }
    let count = packets.len();
    let heard = speak(&mut pair, packets);
    assert!(heard.iter().all(|(origin, _)| *origin == AudioOrigin::Decoded));
    let samples: usize = heard.iter().map(|(_, samples)| samples.len()).sum();
    assert_eq!(samples, count * 320);
}

#[test]
fn coded_sound_passes_through_in_both_directions_whatever_it_is_coded_with() {
    for (seed, codec) in (11..).zip(TELEPHONES.into_iter().chain([Codec::Opus])) {
        let setup = Setup::new(Kind::Real, seed);
        let setup = setup.config(|config| config.audio_in_encoded().audio_out_encoded());
        let mut pair = call(&[codec], setup);
        let mut sent = Vec::new();
        let step = u64::from(codec.clock_rate()) / 50;
        for at in 0..10u8 {
            let (now, data) = (pair.now(), vec![at ^ 0x5A; 100]);
            assert!(pair.browser.send_coded(0, Some(codec), u64::from(at) * step, &data, now));
            sent.push(data);
            pair.drive_for(PACKET);
            while let Some(frame) = pair.session.recv_encoded(MICROPHONE) {
                assert_eq!((frame.codec, frame.keyframe), (codec, true));
                let (data, time) = (frame.data.clone(), frame.time);
                assert_eq!(time, u32::from(at) * PACKET, "{codec:?}");
                let frame = EncodedFrame::new(codec, time, true, data);
                let now = pair.now();
                pair.session.send_encoded(MICROPHONE, frame, now).expect("it is taken");
            }
        }
        pair.drive_for(PACKET * 5);
        let came = came(&pair);
        assert_eq!(came.iter().map(|(_, data)| data.clone()).collect::<Vec<_>>(), sent);
        assert!(came.windows(2).all(|pair| pair[1].0 - pair[0].0 == step), "{codec:?}");
    }
}
