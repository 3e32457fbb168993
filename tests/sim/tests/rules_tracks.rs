//! The rules of tracks at their edges: two seconds that nobody reads, a page that stops to send, a
//! line that is held and taken up again.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{ConnectionState, Event, Offer, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_packet, null_words};

const MICROPHONE: TrackId = TrackId(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn speaking(kind: Kind) -> Pair {
    let mut pair = Pair::new(Setup::new(kind, 1));
    pair.connect();
    pair.drive_for(ms(100));
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair
}

/// How long what can be read is, at 16 kHz.
fn read(pair: &mut Pair) -> Duration {
    let (mut samples, mut buffer) = (0, [0; 4_800]);
    while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut buffer) {
        samples += info.samples;
    }
    ms(samples as u64 / 16)
}

#[test]
fn sound_that_nobody_reads_is_kept_for_just_under_two_seconds_and_gone_just_after() {
    for kind in Kind::ALL {
        for (unread, kept) in [(1_900, true), (2_200, false)] {
            let mut pair = speaking(kind);
            pair.drive_for(ms(unread));
            let waited = read(&mut pair);
            let whole = waited.abs_diff(ms(1_000)) < ms(60);
            assert!(if kept { whole } else { waited.is_zero() }, "{kind:?} {unread}: {waited:?}");
            pair.drive_for(ms(1_000));
            let fresh = read(&mut pair);
            assert!(fresh.abs_diff(ms(1_000)) < ms(60), "{kind:?} {unread}: {fresh:?}");
        }
    }
}

#[test]
fn a_page_that_spoke_and_stops_hears_the_bot_at_its_pace_and_stays_connected() {
    for kind in Kind::ALL {
        let mut pair = speaking(kind);
        for _ in 0..20 {
            pair.drive_for(ms(100));
            read(&mut pair);
        }
        pair.browser.hush();
        pair.drive_for(ms(500));
        read(&mut pair);
        pair.forget();
        for _ in 0..100 {
            pair.send_audio(&[900; 2_400], 24_000).unwrap();
            pair.drive_for(ms(100));
        }
        let words = pair.browser_events().filter_map(|event| match event {
            BrowserEvent::Media { line: 0, data, .. } => null_words(data),
            _ => None,
        });
        let spoken = words.filter(|words| words.iter().any(|word| *word != 0)).count();
        assert!((495..=502).contains(&spoken), "{kind:?}: {spoken} packets in 10 s");
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        let states = pair.events().filter(|event| matches!(event, Event::StateChanged(_))).count();
        assert_eq!(states, 0, "{kind:?}: nothing is told");
        // Speaking again is heard again.
        let now = pair.now();
        pair.browser.speak(null_packet(&[700, 700]), now);
        pair.drive_for(ms(200));
        read(&mut pair);
        pair.drive_for(ms(1_000));
        let heard = read(&mut pair);
        assert!(heard.abs_diff(ms(1_000)) < ms(60), "{kind:?}: {heard:?}");
    }
}

#[test]
fn a_line_that_is_held_and_taken_up_again_is_told_each_time() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).browser(|browser| browser.camera = true);
        let mut pair = Pair::new(setup);
        pair.connect();
        pair.drive_for(ms(500));
        let now = pair.now();
        let offer = pair.browser.offer(now);
        let camera = offer.find("m=video").expect("a camera");
        let held =
            format!("{}{}", &offer[..camera], offer[camera..].replacen("sendrecv", "inactive", 1));
        for (offer, flows) in [(&held, false), (&offer, true), (&held, false), (&offer, true)] {
            pair.forget();
            let now = pair.now();
            let _ = pair.session.accept_offer(&Offer::parse(offer).unwrap(), now).unwrap();
            pair.flush();
            let told: Vec<_> = pair
                .events()
                .filter_map(|event| match event {
                    Event::TrackStarted(track) => Some((track.id, track.receives, track.sends)),
                    _ => None,
                })
                .collect();
            assert_eq!(told, [(TrackId(1), flows, flows)], "{kind:?}");
            pair.drive_for(ms(200));
        }
    }
}
