//! What is lost of the bot's sound, and what of it the page has in time all the same: with copies
//! (RED), and without.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::time::Duration;

use smallrtc::{Config, Redundancy};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup};

const PACKET_TICKS: u64 = 960;
const RATE: u32 = 24_000;

/// What a listener keeps in store: two packets, as NetEq does on a link without jitter.
const STORE: Duration = Duration::from_millis(40);

const MODES: [Redundancy; 3] = [Redundancy::Off, Redundancy::ByLoss, Redundancy::Always];

/// How packets get lost: so many in a row on average.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pattern {
    Alone,
    Bursts,
}

/// Loses this share of all packets to the page, from now on.
fn lose(pair: &mut Pair, share: f64, pattern: Pattern, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut is_bad = false;
    pair.down.lose(move |_| {
        is_bad = match (pattern, is_bad) {
            (Pattern::Alone, _) => random.f64() < share,
            // Two in a row on average.
            (Pattern::Bursts, true) => random.f64() < 0.5,
            (Pattern::Bursts, false) => random.f64() < 0.5 * share / (1.0 - share),
        };
        is_bad
    });
}

/// Something like a voice: a gliding pitch with its harmonics, in syllables.
fn voice(frames: usize) -> Vec<i16> {
    let mut turn = 0.0;
    let sample = |at: usize| {
        let time = at as f64 / f64::from(RATE);
        turn += TAU * (130.0 + 40.0 * (time * 2.1).sin()) / f64::from(RATE);
        let tone: f64 = (1..=12).map(|n| (turn * f64::from(n)).sin() / f64::from(n)).sum();
        (tone * (time * TAU * 1.7).sin().abs() * 7_000.0) as i16
    };
    (0..frames).map(sample).collect()
}

/// What of the bot's sound the page had when it was to be played, in packets.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard {
    sent: u64,
    /// Packets that did not come themselves.
    lost: u64,
    /// Those that did not come in time either, as a copy.
    missing: u64,
    /// Those of them that in-band FEC did not bring back.
    concealed: u64,
    kbit_per_s: f64,
}

impl Heard {
    fn share(count: u64, of: u64) -> f64 {
        count as f64 * 100.0 / of as f64
    }
}

fn call(setup: Setup, mode: Redundancy, copies: bool) -> Pair {
    let setup = setup.config(|config: Config| config.audio_out_redundancy(mode));
    let mut pair = Pair::new(setup.browser(|browser| browser.copies = copies));
    pair.connect();
    pair.drive_for(Duration::from_secs(1));
    pair
}

/// Speaks for so many seconds over a link that loses, and listens to the last of them: the page has
/// told what it misses by then.
fn speak(pair: &mut Pair, seconds: usize, settled: usize) -> Heard {
    let sound = voice(seconds * RATE as usize);
    pair.send_audio(&sound, RATE).expect("less than a minute");
    pair.drive_for(Duration::from_secs(settled as u64));
    pair.forget();
    pair.keep_transmits();
    let (lost_before, sent_before) = (pair.down.lost(), pair.session.stats().audio_packets_sent);
    pair.drive_for(Duration::from_secs((seconds - settled) as u64));
    let sent = pair.session.stats().audio_packets_sent - sent_before;
    let lost = pair.down.lost() - lost_before;
    let bytes = pair.transmits().iter().map(|(_, sent)| sent.payload.len() + 28);
    let bits = bytes.sum::<usize>() as f64 * 8.0;
    let [missing, concealed] = missing(pair);
    Heard {
        sent,
        lost,
        missing,
        concealed,
        kbit_per_s: bits / (seconds - settled) as f64 / 1_000.0,
    }
}

/// Of how many packets nothing was there when they were to be played, not even what in-band FEC
/// gives, and how many there should have been: from the first to the last that came, the first
/// setting the pace.
fn missing(pair: &Pair) -> [u64; 2] {
    let mut came = BTreeMap::new();
    let mut first = None;
    for (at, event) in pair.timed_browser_events() {
        if let BrowserEvent::Media { line: 0, time, data, .. } = event {
            first.get_or_insert((*at, *time));
            came.entry(*time).or_insert((*at, data));
        }
    }
    let (first_at, first) = first.expect("something came");
    let newest = *came.keys().next_back().expect("something came");
    let is_there = |time: u64, due: Duration| came.get(&time).filter(|(at, _)| *at <= due);
    let (mut missing, mut concealed) = (0, 0);
    for time in (first..=newest).step_by(PACKET_TICKS as usize) {
        let due = first_at + STORE + Duration::from_nanos((time - first) * 1_000_000 / 48);
        let is_missing = is_there(time, due).is_none();
        let next = is_there(time + PACKET_TICKS, due);
        let is_repaired = next.is_some_and(|(_, data)| has_fec(data));
        missing += u64::from(is_missing);
        concealed += u64::from(is_missing && !is_repaired);
    }
    [missing, concealed]
}

/// Whether a packet of 20 ms, mono, in SILK or both layers (RFC 6716 section 3.1), holds a copy of
/// the sound before it: behind its TOC the flags of voice and of the copy (section 4.2.3).
fn has_fec(packet: &[u8]) -> bool {
    matches!(packet, [toc, flags, _, ..] if toc & 0x87 == 0 && flags & 0x40 != 0)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn of_what_is_lost_a_small_part_is_missing_with_copies() {
    println!("| lost | how | copies | packets lost | no copy in time | concealed |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for share in [0.0, 0.01, 0.05, 0.2] {
        for pattern in [Pattern::Alone, Pattern::Bursts] {
            for mode in MODES {
                let mut pair = call(Setup::new(Kind::Real, 7).opus(), mode, true);
                lose(&mut pair, share, pattern, 11);
                let heard = speak(&mut pair, 35, 10);
                println!(
                    "| {} % | {pattern:?} | {mode:?} | {:.1} % | {:.2} % | {:.2} % |",
                    share * 100.0,
                    Heard::share(heard.lost, heard.sent),
                    Heard::share(heard.missing, heard.sent),
                    Heard::share(heard.concealed, heard.sent),
                );
                assert!(share > 0.0 || heard.missing == 0, "{mode:?}: {heard:?}");
                if share > 0.0 {
                    check(heard, mode, pattern, share);
                }
            }
        }
    }
}

/// What is missing of what was lost, at the most.
fn check(heard: Heard, mode: Redundancy, pattern: Pattern, share: f64) {
    let of_lost = |count: u64| count as f64 / heard.lost as f64;
    let [missing, concealed] = [heard.missing, heard.concealed].map(of_lost);
    let (most_missing, most_concealed) = match (mode, pattern) {
        // Nothing comes back as it was; what is lost is not all sound.
        (Redundancy::Off, _) => (1.0, 1.0),
        // What is left are two in a row, by chance; of these FEC brings the first back.
        (_, Pattern::Alone) => (share * 1.5 + 0.02, share * share * 4.0 + 0.03),
        // Two in a row on average: the last of each comes back as a copy, one more with FEC.
        (_, Pattern::Bursts) => (0.62, if share < 0.03 { 0.62 } else { 0.35 }),
    };
    let told = format!("{share} {pattern:?} {mode:?}: {heard:?}");
    assert!(missing <= most_missing && concealed <= most_concealed, "{told}");
    assert!(mode != Redundancy::Off || missing > 0.7, "{told}");
}

#[test]
fn on_the_scripted_wire_copies_do_as_much() {
    for (pattern, most) in [(Pattern::Alone, 0.1), (Pattern::Bursts, 0.62)] {
        let mut pair = call(Setup::new(Kind::Scripted, 3), Redundancy::Always, true);
        lose(&mut pair, 0.05, pattern, 5);
        let heard = speak(&mut pair, 55, 5);
        assert!(heard.lost > 50, "{pattern:?}: {heard:?}");
        assert!(heard.missing as f64 <= heard.lost as f64 * most, "{pattern:?}: {heard:?}");
    }
}

#[test]
fn a_page_that_does_not_offer_copies_gets_none() {
    for kind in Kind::ALL {
        let bytes = |copies: bool, mode: Redundancy| {
            let mut pair = call(Setup::new(kind, 2), mode, copies);
            speak(&mut pair, 5, 1).kbit_per_s
        };
        let plain = bytes(false, Redundancy::Off);
        assert_eq!(bytes(false, Redundancy::Always), plain, "{kind:?}");
        assert_eq!(bytes(true, Redundancy::Off), plain, "{kind:?}");
        assert_eq!(bytes(true, Redundancy::ByLoss), plain, "{kind:?}: nothing is lost");
        assert!(bytes(true, Redundancy::Always) > plain * 1.05, "{kind:?}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn what_copies_cost_in_bytes() {
    println!("| lost | off | by loss | always | (kbit/s, with RTP, UDP and IPv4)");
    println!("| --- | --- | --- | --- |");
    for share in [0.0, 0.01, 0.05, 0.2] {
        let cost = MODES.map(|mode| {
            let mut pair = call(Setup::new(Kind::Real, 7).opus(), mode, true);
            lose(&mut pair, share, Pattern::Alone, 11);
            speak(&mut pair, 20, 10).kbit_per_s
        });
        let [off, by_loss, always] = cost;
        println!("| {} % | {off:.0} | {by_loss:.0} | {always:.0} |", share * 100.0);
        assert!(always < off * 2.0 && always > off * 1.3, "{cost:?}");
        match share {
            0.0 => assert!(by_loss < off * 1.01, "{cost:?}"),
            _ => assert!(by_loss > off * 1.3, "{cost:?}"),
        }
    }
}
