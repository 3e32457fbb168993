//! The figures of a recorded call are those of the call.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallrtc::ConnectionState::{Connected, Connecting};
use smallrtc::record::{Detail, Figure, Log};
use smallrtc::scripted::{Frame, datagram};
use smallrtc::{AudioIdle, Event};
use smallrtc_sim::{Kind, Packet, Pair, Setup, bot_address, tone};

const PACKET: Duration = Duration::from_millis(20);

/// The log of a call with this detail, driven by `script`.
fn recorded(setup: Setup, detail: Detail, script: impl FnOnce(&mut Pair)) -> Log {
    let log = Log::read(&smallrtc_sim::recorded(setup, detail, script)).unwrap();
    assert!(log.is_whole());
    log
}

/// What `of` makes of each figure, with its time.
fn pick<T>(log: &Log, of: impl Fn(Figure<'_>) -> Option<T>) -> Vec<(Duration, T)> {
    log.figures().filter_map(|(at, figure)| Some((at, of(figure)?))).collect()
}

fn waiting(log: &Log) -> Vec<(Duration, Duration)> {
    pick(log, |figure| match figure {
        Figure::AudioWaiting(waiting) => Some(waiting),
        _ => None,
    })
}

/// Milliseconds after its place on the grid, of each packet.
fn lateness(log: &Log) -> Vec<f64> {
    let late = pick(log, |figure| match figure {
        Figure::AudioPacket { late_ns, .. } => Some(late_ns as f64 / 1e6),
        _ => None,
    });
    late.into_iter().map(|(_, late)| late).collect()
}

#[test]
fn states_come_when_they_were_told_and_the_end_with_its_reason() {
    let mut told = Vec::new();
    let log = recorded(Setup::new(Kind::Scripted, 1), Detail::Sizes, |pair| {
        pair.connect();
        let now = pair.now();
        pair.session.close(now);
        pair.drive_until_closed(Duration::from_secs(5));
        told = pair.timed_events().to_vec();
    });
    let states = pick(&log, |figure| match figure {
        Figure::State(state) => Some(state),
        _ => None,
    });
    let expected = told.iter().filter_map(|(at, event)| match event {
        Event::StateChanged(state) => Some((*at, *state)),
        _ => None,
    });
    assert_eq!(states, expected.collect::<Vec<_>>());
    let names: Vec<_> = states.iter().map(|(_, state)| *state).collect();
    assert_eq!(names, [Connecting, Connected]);
    let ends: Vec<_> = log.figures().filter(|(_, it)| matches!(it, Figure::Closed(_))).collect();
    assert_eq!(ends, [(told.last().unwrap().0, Figure::Closed("closed by the application"))]);
}

#[test]
fn waiting_sound_rises_to_what_was_queued_and_falls_by_a_packet_at_a_time() {
    for kind in Kind::ALL {
        let log = recorded(Setup::new(kind, 2), Detail::None, |pair| {
            pair.connect();
            for _ in 0..2 {
                let _ = pair.send_audio(&tone(440.0, 24_000, 12_000), 24_000).unwrap();
            }
            pair.drive_for(Duration::from_secs(2));
        });
        let waiting = waiting(&log);
        let most = waiting.iter().max_by_key(|(_, depth)| *depth).unwrap();
        assert_eq!(most.1, Duration::from_secs(1));
        let falling: Vec<_> = waiting.iter().skip_while(|at| *at != most).collect();
        assert_eq!(falling.len(), 51, "the top and 50 packets");
        assert!(falling.windows(2).all(|pair| pair[0].1 - pair[1].1 == PACKET));
        assert_eq!(waiting.last().unwrap().1, Duration::ZERO);
    }
}

#[test]
fn a_clear_tells_what_it_dropped_and_leaves_nothing_waiting() {
    let mut dropped = 0;
    let log = recorded(Setup::new(Kind::Scripted, 3), Detail::Sizes, |pair| {
        pair.connect();
        let _ = pair.send_audio(&tone(440.0, 48_000, 96_000), 48_000).unwrap();
        pair.drive_for(Duration::from_millis(500));
        let now = pair.now();
        let cleared = pair.session.clear_audio(now);
        dropped = cleared.pieces.iter().map(|piece| piece.dropped).sum();
        pair.drive_for(Duration::from_millis(100));
    });
    let told = pick(&log, |figure| match figure {
        Figure::Cleared(dropped) => Some(dropped),
        _ => None,
    });
    assert_eq!(told.len(), 1);
    let counted = Duration::from_secs(dropped) / 48_000;
    assert!(told[0].1.abs_diff(counted) <= PACKET, "{:?} and {counted:?}", told[0].1);
    assert_eq!(waiting(&log).last().unwrap().1, Duration::ZERO);
}

#[test]
fn packets_of_a_driver_in_time_stand_on_their_grid_and_late_ones_do_not() {
    let calm = |pair: &mut Pair| pair.drive_for(Duration::from_secs(1));
    let log = recorded(Setup::new(Kind::Scripted, 4), Detail::Sizes, |pair| {
        pair.connect();
        calm(pair);
    });
    let late = lateness(&log);
    assert!(late.len() >= 50 && late.iter().all(|late| *late == 0.0), "{late:?}");

    let log = recorded(Setup::new(Kind::Scripted, 4), Detail::Sizes, |pair| {
        pair.connect();
        calm(pair);
        pair.drive_for(Duration::from_millis(10));
        pair.stall(Duration::from_millis(15));
        calm(pair);
        // The clock slips, and the packet at waking does not wait for its place.
        pair.stall(Duration::from_millis(75));
        calm(pair);
    });
    let late = lateness(&log);
    let is_off = |late: &&f64| late.abs() > 0.001;
    let off: Vec<_> = late.iter().filter(is_off).collect();
    assert_eq!(off.len(), 2, "{off:?}");
    assert!((0.0..20.0).contains(off[0]) && (-20.0..0.0).contains(off[1]), "{off:?}");
}

#[test]
fn pauses_do_not_move_the_grid() {
    let setup = Setup::new(Kind::Scripted, 5).config(|config| config.audio_idle(AudioIdle::Dtx));
    let log = recorded(setup, Detail::Sizes, |pair| {
        pair.connect();
        for _ in 0..5 {
            let _ = pair.send_audio(&tone(440.0, 24_000, 4_000), 24_000).unwrap();
            pair.drive_for(Duration::from_millis(1537));
        }
    });
    let late = lateness(&log);
    assert!(late.iter().all(|late| (0.0..0.021).contains(late)), "{late:?}");
}

#[test]
fn missing_sound_is_counted_where_it_is_missing() {
    let lost = Arc::new(Mutex::new(0));
    let counted = lost.clone();
    let log = recorded(Setup::new(Kind::Scripted, 6), Detail::None, |pair| {
        pair.connect();
        let mut turn = 0;
        pair.up.lose(move |packet| {
            turn += u32::from(packet.payload.len() > 100);
            let loses = packet.payload.len() > 100 && matches!(turn, 10 | 20 | 21);
            *counted.lock().unwrap() += u64::from(loses);
            loses
        });
        for time in 0..50u64 {
            let now = pair.now();
            assert!(pair.browser.send_media(0, time * 960, &[7; 120], now));
            pair.drive_for(PACKET);
        }
    });
    let missing = pick(&log, |figure| match figure {
        Figure::AudioMissing { line: 0, packets } => Some(packets),
        _ => None,
    });
    let missing: Vec<_> = missing.into_iter().map(|(_, packets)| packets).collect();
    assert_eq!(missing, [1, 2]);
    assert_eq!(*lost.lock().unwrap(), 3);
}

#[test]
fn what_the_transport_reports_is_told_and_nothing_that_it_does_not() {
    let log = recorded(Setup::new(Kind::Scripted, 7), Detail::None, |pair| {
        pair.connect();
        let mut payload = datagram();
        Frame::Report { rtt_ms: 80, lost_per_mille: 125, jitter_ms: 3 }.encode(&mut payload);
        let (source, destination) = (pair.browser.address(), bot_address());
        pair.inject(Packet { source, destination, payload: payload.into() });
    });
    let reports: Vec<_> = log.figures().map(|(_, figure)| figure).collect();
    let expected = Figure::Report {
        rtt: Some(Duration::from_millis(80)),
        loss_sent: Some(0.125),
        loss_received: None,
        jitter_received: Some(Duration::from_millis(3)),
    };
    assert_eq!(reports.iter().filter(|figure| **figure == expected).count(), 1);
}

#[test]
fn messages_wait_until_the_channel_opens_and_are_then_sent() {
    let log = recorded(Setup::new(Kind::Scripted, 8), Detail::None, |pair| {
        for text in ["one", "three", "a"] {
            pair.say(text);
        }
        assert!(pair.send_message(smallrtc::Message::text("")).is_err(), "empty ones are refused");
        pair.connect();
        let now = pair.now();
        assert!(pair.browser.send_text("a word", now));
        pair.drive_for(Duration::from_secs(1));
    });
    let waiting = pick(&log, |figure| match figure {
        Figure::MessagesWaiting { messages, bytes } => Some((messages, bytes)),
        _ => None,
    });
    let waiting: Vec<_> = waiting.into_iter().map(|(_, waiting)| waiting).collect();
    assert_eq!(waiting, [(1, 3), (2, 8), (3, 9), (2, 6), (1, 1), (0, 0)]);
    let sent = pick(&log, |figure| match figure {
        Figure::MessageSent { len } => Some(len),
        _ => None,
    });
    assert_eq!(sent.iter().map(|(_, len)| *len).take(3).collect::<Vec<_>>(), [3, 5, 1]);
    let received = pick(&log, |figure| match figure {
        Figure::MessageReceived { len, application: true } => Some(len),
        _ => None,
    });
    assert_eq!(received.iter().map(|(_, len)| *len).collect::<Vec<_>>(), [6]);
}

#[test]
fn lengths_of_datagrams_are_unknown_where_the_log_leaves_them_out() {
    for (detail, is_known) in [(Detail::None, false), (Detail::Sizes, true), (Detail::Full, true)] {
        let log = recorded(Setup::new(Kind::Scripted, 9), detail, Pair::connect);
        let lengths = pick(&log, |figure| match figure {
            Figure::DatagramReceived(len) | Figure::DatagramSent(len) => Some(len),
            _ => None,
        });
        assert!(lengths.len() > 5);
        assert!(lengths.iter().all(|(_, len)| len.is_some() == is_known), "{detail:?}");
    }
}
