//! Sound that comes in over links of every kind: time never shrinks, and nothing is heard twice.

#[macro_use]
extern crate smallrtc_sim_twice;

#[path = "sound/copies.rs"]
mod copies;

use std::time::Duration;

use smallrtc::{AudioOrigin, TrackId};
use smallrtc_sim::{Kind, LinkConfig, Pair, Setup, run};

const MICROPHONE: TrackId = TrackId(0);
const PACKET: Duration = Duration::from_millis(20);

/// A null packet of two steps of 10 ms.
fn packet(first: i16) -> Vec<u8> {
    let mut data = vec![b'N', 1, 2, 0, 0, 0, 0];
    data.extend(first.to_le_bytes());
    data.extend((first + 1).to_le_bytes());
    data
}

/// What was read of a microphone.
#[derive(Default)]
struct Heard {
    samples: usize,
    made_up: usize,
    /// The time of the newest block.
    end: Duration,
}

impl Heard {
    fn read(&mut self, pair: &mut Pair, rate: u32) {
        let mut samples = [0; 4_800];
        while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
            assert_eq!((info.rate, info.channels), (rate, 1));
            // Each block begins where the one before ended, dropped samples counted.
            let dropped = pair.session.stats().audio_dropped_samples as f64 / 48_000.0;
            let played = self.samples as f64 / f64::from(rate);
            let ends_at = Duration::from_secs_f64(played + dropped);
            let step = info.time.abs_diff(ends_at);
            assert!(step < Duration::from_micros(200), "a hole of {step:?} at {ends_at:?}");
            self.samples += info.samples;
            self.made_up += match info.origin {
                AudioOrigin::Decoded => 0,
                _ => info.samples,
            };
            self.end = info.time;
        }
    }
}

/// Speaks `packets` packets and reads what comes.
fn speak(pair: &mut Pair, packets: u64, rate: u32) -> Heard {
    let mut heard = Heard::default();
    for number in 0..packets {
        let now = pair.now();
        let step = i16::try_from(number % 10_000).unwrap_or_default() * 2 + 1;
        assert!(pair.browser.send_media(0, number * 960, &packet(step), now));
        pair.drive_for(PACKET);
        heard.read(pair, rate);
    }
    pair.drive_for(Duration::from_secs(2));
    heard.read(pair, rate);
    heard
}

#[test]
fn every_sample_of_a_clean_link_is_heard_as_it_was_sent() {
    for kind in Kind::ALL {
        for rate in [8_000, 16_000, 24_000, 48_000] {
            let config =
                |config: smallrtc::Config| config.audio_in(rate, 1).expect("a rate in range");
            let mut pair = Pair::new(Setup::new(kind, 1).config(config));
            pair.connect();
            let heard = speak(&mut pair, 250, rate);
            let expected = rate as usize * 5;
            // The resampler keeps back at most a few milliseconds.
            let missing = expected - heard.samples;
            assert!(missing * 100 <= rate as usize, "{kind:?} {rate}: {missing} are missing");
            assert_eq!(heard.made_up, 0, "{kind:?} {rate}");
        }
    }
}

#[test]
fn time_does_not_shrink_over_a_bad_link() {
    run("time_does_not_shrink_over_a_bad_link", 5, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed));
            pair.connect();
            pair.up.set_config(LinkConfig::bad());
            let heard = speak(&mut pair, 500, 16_000);
            // The last packets may be among the lost ones, the first may have been, too.
            let missing = 160_000_usize.saturating_sub(heard.samples);
            assert!(missing <= 16_000 / 50 * 5, "{kind:?}: {missing} are missing");
            assert!(heard.samples <= 160_000, "{kind:?}: time grew");
            assert!(heard.made_up > 0, "{kind:?}: nothing was lost?");
        }
    });
}

/// A page that is silent, and says so in its times, for so many packets after the hundredth.
fn with_pause(kind: Kind, lost: u64) -> (Pair, Heard) {
    let mut pair = Pair::new(Setup::new(kind, 1));
    pair.connect();
    let mut heard = Heard::default();
    for number in 0..300 + lost {
        let now = pair.now();
        if !(100..100 + lost).contains(&number) {
            assert!(pair.browser.send_media(0, number * 960, &packet(1), now));
        }
        pair.drive_for(PACKET);
        heard.read(&mut pair, 16_000);
    }
    pair.drive_for(Duration::from_secs(1));
    heard.read(&mut pair, 16_000);
    (pair, heard)
}

#[test]
fn a_pause_is_filled_to_its_length() {
    for kind in Kind::ALL {
        // Also one that is longer than what may wait unread.
        for lost in [1, 3, 10, 48, 200] {
            let (_, heard) = with_pause(kind, lost);
            let packets = |count: u64| usize::try_from(count * 320).expect("a few minutes");
            let missing = packets(300 + lost).abs_diff(heard.samples);
            assert!(missing <= 160, "{kind:?} {lost}: {missing} are missing");
            assert!(heard.made_up.abs_diff(packets(lost)) <= 320, "{kind:?} {lost}");
        }
    }
}

#[test]
fn sound_that_nobody_reads_is_bounded_and_the_newest_is_kept() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        // Longer, and nobody is taken to read.
        for number in 0..99_u64 {
            let now = pair.now();
            assert!(pair.browser.send_media(0, number * 960, &packet(1), now));
            pair.drive_for(PACKET);
        }
        let mut samples = [0; 48_000];
        let mut read = 0;
        while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
            read += info.samples;
        }
        assert!(read <= 16_000, "{kind:?}: one second waits, not {read} samples");
        assert!(read >= 15_000, "{kind:?}: {read}");
        assert!(pair.session.stats().audio_dropped_samples >= 44_000);
    }
}

#[test]
fn opus_carries_a_tone_there_and_back() {
    use smallrtc_sim::{BrowserEvent, tone};
    // What the bot says is given back by the page as it is: the bot hears its own tone.
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).opus());
    pair.connect();
    pair.drive_for(Duration::from_millis(500));
    pair.forget();
    pair.send_audio(&tone(440.0, 24_000, 48_000), 24_000).expect("two seconds fit");
    let (mut heard, mut echoed) = (Vec::new(), 0);
    for _ in 0..150 {
        pair.drive_for(PACKET);
        let packets: Vec<_> = pair.browser_events().cloned().collect();
        for event in &packets[echoed..] {
            if let BrowserEvent::Media { line: 0, time, data, .. } = event {
                let now = pair.now();
                pair.browser.send_media(0, *time, data, now);
            }
        }
        echoed = packets.len();
        let mut samples = [0; 4_800];
        while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
            heard.extend_from_slice(&samples[..info.samples]);
        }
    }
    // The tone, from the middle: 880 changes of sign a second, at half the full scale.
    let loud: Vec<i16> = heard.iter().copied().skip_while(|sample| sample.abs() < 8_000).collect();
    let second = &loud[4_000..20_000];
    let crossings = second.windows(2).filter(|pair| (pair[0] < 0) != (pair[1] < 0)).count();
    assert!((872..=888).contains(&crossings), "{crossings}");
    let peak = second.iter().map(|sample| sample.unsigned_abs()).max();
    assert!(peak.is_some_and(|peak| (14_000..20_000).contains(&peak)), "{peak:?}");
}
