//! Calls with coders of the application's own: they are told what they are to code, their calls are
//! recorded, and replay with them.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::sync::Arc;
use std::time::Duration;

use smallrtc::record::{Detail, Log, LogError, replay, replay_with};
use smallrtc::{
    AudioCoder, AudioDecoder, AudioEncoder, AudioOrigin, Codec, Config, DecoderSettings,
    EncoderSettings, TrackId,
};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, recorded, start};

const MICROPHONE: TrackId = TrackId(0);
const PACKET: Duration = Duration::from_millis(20);

/// Keeps the upper half of each sample, and says nothing in pauses.
#[derive(Debug)]
struct Plain;

#[derive(Debug)]
struct PlainEncoder {
    len: usize,
}

#[derive(Debug)]
struct PlainDecoder {
    settings: DecoderSettings,
}

impl AudioCoder for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn encoder(&self, settings: EncoderSettings) -> Box<dyn AudioEncoder> {
        let frames = settings.rate as usize / 100 * settings.packet_time.chunks();
        Box::new(PlainEncoder { len: frames * usize::from(settings.channels) })
    }

    fn decoder(&self, settings: DecoderSettings) -> Box<dyn AudioDecoder> {
        Box::new(PlainDecoder { settings })
    }
}

impl AudioEncoder for PlainEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        assert_eq!(samples.len(), self.len, "exactly one packet time");
        packet.clear();
        packet.extend(samples.iter().map(|sample| (sample >> 8) as u8));
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
    }

    fn set_loss(&mut self, _percent: u8) {}
}

impl PlainDecoder {
    /// A byte is so many samples: of Opus 24 kHz are sent here, and 48 kHz given.
    fn samples(&self) -> usize {
        if self.settings.rate == 48_000 { 2 } else { 1 }
    }
}

impl AudioDecoder for PlainDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        let copies = self.samples() * usize::from(self.settings.channels);
        for byte in packet {
            samples.extend(vec![i16::from(*byte as i8) << 8; copies]);
        }
        packet.len() * self.samples()
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        samples.resize(samples.len() + frames * usize::from(self.settings.channels), 0);
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        Some(packet.len() * self.samples())
    }

    fn reset(&mut self) {}
}

fn with_plain(config: Config, codec: Codec) -> Config {
    config.audio_coder(codec, Arc::new(Plain)).expect("a codec of sound")
}

fn came(pair: &Pair) -> Vec<Vec<u8>> {
    let media = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Media { line: 0, data, .. } => Some(data.to_vec()),
        _ => None,
    });
    media.collect()
}

/// Half a second each way; a packet of 20 ms has so many bytes.
fn talk(pair: &mut Pair, bytes: usize, step: u64) {
    pair.connect();
    pair.forget();
    pair.send_audio(&[50 << 8; 12_000], 24_000).expect("there is room");
    let mut heard = Vec::new();
    let mut samples = [0; 960];
    for at in 0..25 {
        let now = pair.now();
        // One is lost: it is concealed as this decoder does it.
        if at != 20 {
            assert!(pair.browser.send_media(0, at * step, &vec![30; bytes], now));
        }
        pair.drive_for(PACKET);
        while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
            heard.push((info.origin, samples[..info.samples].to_vec()));
        }
    }
    pair.drive_for(PACKET * 20);
    let decoded = |part: &&(AudioOrigin, Vec<i16>)| part.0 == AudioOrigin::Decoded;
    let loud = heard.iter().filter(decoded).skip(1).flat_map(|(_, samples)| samples);
    // Next to the one that was lost, and to the beginning, the filter swings.
    let plain = loud.filter(|sample| (30 << 8) - 64 < **sample && **sample < (30 << 8) + 64);
    assert!(plain.count() > 22 * 320, "{} frames", heard.len());
    assert_eq!(heard.iter().map(|(_, samples)| samples.len()).sum::<usize>(), 24 * 320 + 320);
    let sent = came(pair);
    assert!(sent.iter().all(|data| data.len() == bytes), "the time of each is 20 ms");
    let words = sent.iter().filter(|data| data.iter().filter(|byte| **byte == 50).count() > 100);
    assert!((24..=26).contains(&words.count()), "{} packets", sent.len());
    // 500 ms of sound, 100 ms that bring both ends to rest; and then this encoder says nothing.
    assert!((30..=31).contains(&sent.len()), "{} packets", sent.len());
    assert_eq!(pair.session.stats().media_dropped, 0);
}

#[test]
fn coders_of_the_application_code_a_whole_call_and_replay_with_it() {
    for (codec, bytes, step) in [(Codec::Opus, 480, 960), (Codec::Pcmu, 160, 160)] {
        for detail in [Detail::None, Detail::Sizes, Detail::Full] {
            let setup = Setup::new(Kind::Real, 3)
                .browser(|browser| browser.sounds = vec![codec])
                .config(|config| with_plain(config, codec));
            let log = recorded(setup, detail, |pair| talk(pair, bytes, step));
            let log = Log::read(&log).expect("it is a log");
            let given = replay_with(&log, &with_plain(Config::new(), codec), start());
            let given = given.expect("its coders are given");
            assert!(given.is_identical(), "{codec:?} {detail:?}: {given}");
            // What runs no coders needs none.
            let without = replay(&log, start());
            match detail {
                Detail::Full => {
                    let error = without.expect_err("nobody has this coder");
                    assert_eq!(error, LogError::NoCoder("plain".to_owned()));
                }
                _ => assert!(without.expect("none is needed").is_identical(), "{detail:?}"),
            }
        }
    }
}

#[test]
fn a_call_whose_coders_were_built_in_replays_whatever_coders_are_given() {
    let script = |pair: &mut Pair| {
        pair.connect();
        pair.send_audio(&[9_000; 12_000], 24_000).expect("there is room");
        pair.drive_for(Duration::from_secs(1));
    };
    for sound in [Codec::G722, Codec::Opus] {
        let setup = Setup::new(Kind::Real, 4).browser(|browser| browser.sounds = vec![sound]);
        let log = Log::read(&recorded(setup, Detail::Full, script)).expect("it is a log");
        let coders = with_plain(with_plain(Config::new(), Codec::Opus), Codec::G722);
        let replay = replay_with(&log, &coders, start()).expect("they are built in");
        assert!(replay.is_identical(), "{sound:?}: {replay}");
    }
}
