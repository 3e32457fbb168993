//! Pictures of simulated calls: what is in them, and that they are well-formed whatever a log is.

use std::time::Duration;

use smallrtc::record::{Detail, replay};
use smallrtc::scripted::{Frame, datagram};
use smallrtc_sim::{Kind, LinkConfig, Packet, Pair, Setup, bot_address, recorded, start, tone};

use super::call::{MARKS_MAX, STATES_MAX};
use super::*;

/// A second of sound, of which half a second is cleared; a stall; a message each way; the end.
fn talk(pair: &mut Pair) {
    pair.connect();
    let _ = pair.send_audio(&tone(440.0, 24_000, 24_000), 24_000).unwrap();
    pair.drive_for(Duration::from_millis(500));
    let now = pair.now();
    let _ = pair.session.clear_audio(now);
    pair.drive_for(Duration::from_millis(310));
    pair.stall(Duration::from_millis(15));
    pair.drive_for(Duration::from_millis(500));
    pair.say("a word");
    let now = pair.now();
    assert!(pair.browser.send_text("another", now));
    pair.drive_for(Duration::from_millis(500));
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(Duration::from_secs(5));
}

/// The picture, which is well-formed, and all its texts.
fn picture(log: &Log) -> (String, Vec<String>) {
    let svg = draw(log, "a.log", None).unwrap();
    let texts = texts(&svg);
    (svg, texts)
}

fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).expect("well-formed XML");
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let texts = document.descendants().filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| Some(node.text()?.trim().to_owned())).collect()
}

#[track_caller]
fn assert_says(texts: &[String], words: &[&str]) {
    for word in words {
        assert!(texts.iter().any(|text| text.contains(word)), "no {word:?} in {texts:#?}");
    }
}

#[test]
fn a_known_call_is_drawn_with_its_states_and_extremes() {
    for kind in Kind::ALL {
        let bytes = recorded(Setup::new(kind, 1), Detail::Sizes, talk);
        let log = Log::read(&bytes).unwrap();
        let (_, texts) = picture(&log);
        for state in ["connected", "a.log"] {
            assert!(texts.iter().any(|text| text == state), "{state} in {texts:?}");
        }
        assert_says(
            &texts,
            &[
                "media sizes, messages sizes",
                "at most 1000 ms at ",
                "the latest ",
                "apart ",
                "channel opened",
                // Half of a second of sound, half a second after its beginning.
                "cleared 500 ms",
                "closed: closed by the application",
                "received, ",
            ],
        );
        assert!(!texts.iter().any(|text| text.contains("drawn up to there")));
    }
}

#[test]
fn a_call_with_loss_shows_it() {
    let bytes = recorded(Setup::new(Kind::Scripted, 2), Detail::Sizes, |pair| {
        pair.connect();
        let mut sent = 0;
        pair.up.lose(move |packet| {
            sent += u32::from(packet.payload.len() > 100);
            packet.payload.len() > 100 && matches!(sent, 10 | 20 | 21)
        });
        for time in 0..50u64 {
            let now = pair.now();
            assert!(pair.browser.send_media(0, time * 960, &[7; 120], now));
            pair.drive_for(Duration::from_millis(20));
        }
        let mut payload = datagram();
        Frame::Report { rtt_ms: 80, lost_per_mille: 125, jitter_ms: 3 }.encode(&mut payload);
        let (source, destination) = (pair.browser.address(), bot_address());
        pair.inject(Packet { source, destination, payload: payload.into() });
        pair.drive_for(Duration::from_millis(100));
    });
    let (_, texts) = picture(&Log::read(&bytes).unwrap());
    assert_says(&texts, &["of ours at most 12.5% at ", "of theirs: not reported", "3 packets"]);
    assert_says(&texts, &["round trip at most 80 ms", "jitter at most 3 ms"]);
}

#[test]
fn a_network_that_goes_away_is_marked_where_it_does() {
    let mut at = Duration::ZERO;
    let bytes = recorded(Setup::new(Kind::Scripted, 11), Detail::Sizes, |pair| {
        pair.connect();
        pair.up.lose(|_| true);
        pair.drive_until(Duration::from_secs(30), "disconnected", |pair| {
            pair.session.state() == ConnectionState::Disconnected
        });
        at = pair.timed_events().last().unwrap().0;
    });
    let log = Log::read(&bytes).unwrap();
    let call = Call::of(&log);
    let bad: Vec<_> = call.marks.iter().filter(|mark| mark.is_bad).collect();
    assert_eq!((bad.len(), bad[0].text.as_str()), (1, "disconnected"));
    assert!((bad[0].at - at.as_secs_f64()).abs() < 1e-6, "{} and {at:?}", bad[0].at);
    assert_says(&picture(&log).1, &["disconnected"]);
}

#[test]
fn loss_that_the_engine_measures_is_drawn() {
    let mut link = LinkConfig::clean();
    link.loss = 0.1;
    let bytes = recorded(Setup::new(Kind::Real, 3).links(link), Detail::Sizes, |pair| {
        pair.connect();
        for time in 0..300u64 {
            let now = pair.now();
            let _ = pair.browser.send_media(0, time * 960, &[7; 120], now);
            pair.drive_for(Duration::from_millis(20));
        }
    });
    let log = Log::read(&bytes).unwrap();
    let call = Call::of(&log);
    assert!(call.loss_received.highest().is_some_and(|most| most.1 > 1.0), "{call:?}");
    assert_says(&picture(&log).1, &["of theirs at most "]);
}

#[test]
fn a_call_of_which_nothing_is_known_is_drawn_as_nothing() {
    let bytes = recorded(Setup::new(Kind::Scripted, 4), Detail::Sizes, talk);
    let header = u32::from_le_bytes(bytes[10..14].try_into().unwrap()) as usize;
    let log = Log::read(&bytes[..18 + header]).unwrap();
    assert_eq!((log.calls(), log.damage()), (0, None));
    assert_says(
        &picture(&log).1,
        &[
            "without an end",
            "no sound was given",
            "no packet of PCM",
            "the transport reported none",
            "reported neither",
            "no message came",
            "no message waited",
            "no datagram",
        ],
    );
    let panels = panels(&Call::of(&log), log.media());
    assert!(panels.iter().all(|panel| panel.curves.is_empty()), "no line stands at zero");
}

#[test]
fn what_a_log_leaves_out_is_said_and_not_drawn_as_zero() {
    let bytes = recorded(Setup::new(Kind::Scripted, 5), Detail::None, talk);
    let log = Log::read(&bytes).unwrap();
    let left_out = "their lengths are not in this log: media none";
    assert_says(&picture(&log).1, &[left_out, "the transport reported none", "at most 1000 ms"]);
    let panels = panels(&Call::of(&log), log.media());
    for panel in panels {
        assert_eq!(panel.absent.is_some(), panel.curves.is_empty(), "{}", panel.title);
    }
}

#[test]
fn a_log_that_was_cut_or_damaged_is_drawn_up_to_there_and_says_so() {
    let bytes = recorded(Setup::new(Kind::Scripted, 6), Detail::Sizes, talk);
    let cut = Log::read(&bytes[..bytes.len() / 2]).unwrap();
    assert_says(&picture(&cut).1, &["cut in the record at byte", "the log is cut"]);
    assert_says(&picture(&cut).1, &["at most 1000 ms"]);
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    let damaged = Log::read(&changed).unwrap();
    assert_says(&picture(&damaged).1, &["damaged in the record at byte", "the log is damaged"]);
    for end in 0..200 {
        let end = bytes.len() * end / 200;
        if let Ok(log) = Log::read(&bytes[..end]) {
            picture(&log);
        }
    }
}

#[test]
fn a_replay_tells_its_outcome_in_the_picture() {
    let bytes = recorded(Setup::new(Kind::Scripted, 7), Detail::Sizes, talk);
    let log = Log::read(&bytes).unwrap();
    let replay = replay(&log, start()).unwrap();
    let identical = draw(&log, "a.log", Some(&replay)).unwrap();
    assert_says(&texts(&identical), &["replay identical"]);
}

#[test]
fn a_picture_does_not_grow_with_its_call() {
    let long = |seconds: u64| {
        let setup = Setup::new(Kind::Scripted, 8).links(LinkConfig::bad()).untraced();
        let bytes = recorded(setup, Detail::Sizes, |pair| {
            pair.connect();
            for second in 0..seconds {
                let _ = pair.send_audio(&tone(440.0, 24_000, 12_000), 24_000).unwrap();
                pair.say(&format!("second {second}"));
                pair.drive_for(Duration::from_secs(1));
            }
        });
        picture(&Log::read(&bytes).unwrap()).0.len()
    };
    let (minute, minutes) = (long(60), long(600));
    assert!(minutes < 3 * minute && minutes < 600_000, "{minute} and {minutes} bytes");
}

#[test]
fn states_and_marks_are_drawn_up_to_their_limits_and_counted_past_them() {
    let bytes = recorded(Setup::new(Kind::Scripted, 9), Detail::Sizes, talk);
    let log = Log::read(&bytes).unwrap();
    let mut call = Call::of(&log);
    while call.marks.len() < MARKS_MAX {
        call.mark(0.5, "a mark", false);
    }
    assert_eq!(call.marks_more, 0);
    call.mark(0.6, "one too many", false);
    assert_eq!((call.marks.len(), call.marks_more), (MARKS_MAX, 1));
    call.mark(0.7, "something wrong", true);
    assert_eq!((call.marks.len(), call.marks_more), (MARKS_MAX, 2));
    call.mark(0.75, "something else wrong", true);
    let last: Vec<_> = call.marks.iter().rev().take(2).map(|mark| mark.text.as_str()).collect();
    assert_eq!(last, ["something else wrong", "something wrong"]);
    while call.marks.iter().any(|mark| !mark.is_bad) {
        call.mark(0.76, "wrong again", true);
    }
    call.mark(0.77, "the last", true);
    assert_eq!(call.marks.len(), MARKS_MAX);
    assert_eq!(call.marks.last().unwrap().text, "wrong again");

    while call.states.len() < STATES_MAX {
        call.state(0.8, ConnectionState::Disconnected);
    }
    assert_eq!(call.states_more, 0);
    call.state(0.9, ConnectionState::Connected);
    assert_eq!((call.states.len(), call.states_more), (STATES_MAX, 1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, STRIP)).into_drawing_area();
        strip(&area, &call).unwrap();
        area.present().unwrap();
    }
    assert_says(&texts(&svg), &["1 more changes", "something wrong"]);
}

#[test]
fn no_text_of_a_log_breaks_the_picture() {
    let evil = "</text><script>&\"'\u{0}\u{1b}\u{ffff}]]>".repeat(100);
    let bytes = recorded(Setup::new(Kind::Scripted, 10), Detail::Sizes, talk);
    let log = Log::read(&bytes).unwrap();
    let svg = draw(&log, &evil, None).unwrap();
    let texts = texts(&svg);
    assert!(texts[0].starts_with("</text><script>&\"'\u{fffd}\u{fffd}\u{fffd}"), "{}", texts[0]);
    assert_eq!(texts[0].chars().count(), TEXT_MAX);
}
