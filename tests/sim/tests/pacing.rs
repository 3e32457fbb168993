//! When audio leaves, seen at the datagrams: exact spacing, no burst, no drift.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{AudioIdle, Config, Event, PacketTime, SendError};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, kind_of};

const PACKET: Duration = Duration::from_millis(20);

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// When media left, with keeping on.
fn departures(pair: &Pair) -> Vec<Duration> {
    let media = pair
        .transmits()
        .iter()
        .filter(|(_, transmit)| matches!(kind_of(&transmit.payload).as_str(), "srtp" | "media"));
    media.map(|(at, _)| *at).collect()
}

/// RTP times of what the page heard, in samples at 48 kHz.
fn times(pair: &Pair) -> Vec<u64> {
    let time = |event: &BrowserEvent| match event {
        BrowserEvent::Media { line: 0, time, .. } => Some(*time),
        _ => None,
    };
    pair.browser_events().filter_map(time).collect()
}

fn gaps<T: Copy + std::ops::Sub<Output = T>>(values: &[T]) -> Vec<T> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The words in a null packet: the first sample of each 10 ms.
fn words(data: &[u8]) -> Vec<i16> {
    const HEADER: usize = 7;
    assert_eq!(data[0], b'N');
    data[HEADER..].chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Sound of `chunks` steps of 10 ms at 24 kHz, numbered from `first`.
fn steps(first: i16, chunks: i16) -> Vec<i16> {
    (first..first + chunks).flat_map(|step| [step; 240]).collect()
}

/// What the page heard, without silence.
fn heard(pair: &Pair) -> Vec<i16> {
    let of_event = |event: &BrowserEvent| match event {
        BrowserEvent::Media { line: 0, data, .. } => words(data),
        _ => Vec::new(),
    };
    pair.browser_events().flat_map(of_event).filter(|word| *word != 0).collect()
}

fn connected(setup: Setup) -> Pair {
    let mut pair = Pair::new(setup);
    pair.connect();
    pair.drive_for(milliseconds(500));
    pair.forget();
    pair.keep_transmits();
    pair
}

#[test]
fn packets_leave_exactly_twenty_milliseconds_apart() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        pair.send_audio(&steps(1, 300), 24_000).unwrap();
        pair.drive_for(Duration::from_secs(10));
        let departures = departures(&pair);
        assert!((499..=501).contains(&departures.len()), "{kind:?} {}", departures.len());
        assert!(gaps(&departures).iter().all(|gap| *gap == PACKET), "{kind:?}");
        assert!(gaps(&times(&pair)).iter().all(|gap| *gap == 960), "{kind:?}");
        assert_eq!(heard(&pair), (1..301).collect::<Vec<i16>>(), "{kind:?}");
    }
}

#[test]
fn packet_times_of_ten_forty_and_sixty_milliseconds_are_kept_as_exactly() {
    for (time, millis) in [(PacketTime::Ms10, 10), (PacketTime::Ms40, 40), (PacketTime::Ms60, 60)] {
        for kind in Kind::ALL {
            let setup = Setup::new(kind, 1).config(|config| config.audio_packet_time(time));
            let mut pair = connected(setup);
            pair.drive_for(Duration::from_secs(6));
            let departures = departures(&pair);
            assert!(departures.len() as u64 >= 6000 / millis - 1);
            assert!(gaps(&departures).iter().all(|gap| *gap == milliseconds(millis)), "{kind:?}");
            assert!(gaps(&times(&pair)).iter().all(|gap| *gap == millis * 48), "{kind:?}");
        }
    }
}

#[test]
fn the_clock_begins_with_the_first_packet_and_not_with_the_session() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.drive_for(Duration::from_secs(20));
        pair.keep_transmits();
        pair.connect();
        pair.drive_for(milliseconds(200));
        let departures = departures(&pair);
        assert!(gaps(&departures).iter().all(|gap| *gap == PACKET), "{kind:?}: a burst");
        assert!(departures.len() <= 16);
    }
}

#[test]
fn a_driver_that_comes_late_by_less_than_a_packet_leaves_the_grid_as_it_is() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        pair.drive_for(milliseconds(100));
        let grid = *departures(&pair).last().unwrap();
        pair.drive_to(grid + milliseconds(10));
        pair.stall(milliseconds(25));
        pair.drive_for(milliseconds(200));
        let departures = departures(&pair);
        let late = departures.iter().position(|at| *at == grid + milliseconds(35)).unwrap();
        assert_eq!(departures[late - 1], grid);
        assert_eq!(departures[late + 1], grid + milliseconds(40), "{kind:?}");
        assert_eq!(pair.session.stats().audio_slips, 0);
        assert!(gaps(&times(&pair)).iter().all(|gap| *gap == 960));
    }
}

#[test]
fn a_driver_that_was_away_slips_without_a_burst_and_no_word_is_lost() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        pair.send_audio(&steps(1, 100), 24_000).unwrap();
        pair.drive_for(milliseconds(300));
        let before = *departures(&pair).last().unwrap();
        pair.stall(milliseconds(513));
        pair.drive_for(Duration::from_secs(3));
        let departures = departures(&pair);
        let late = departures.iter().position(|at| *at > before).unwrap();
        let away = departures[late] - before;
        assert!(away > milliseconds(500));
        // The packet at waking is that of the next point of the grid; the one after it waits for
        // its own.
        let points = u32::try_from(away.as_nanos().div_ceil(PACKET.as_nanos())).unwrap();
        assert_ne!(away, PACKET * points, "it wakes between two points");
        let next = before + PACKET * (points + 1);
        let long: Vec<_> = gaps(&departures).into_iter().filter(|gap| *gap != PACKET).collect();
        assert_eq!(long, [away, next - departures[late]], "{kind:?}: one slip, then the grid");

        let slipped: Vec<_> = gaps(&times(&pair)).into_iter().filter(|gap| *gap != 960).collect();
        let samples = 960 * u64::from(points);
        assert_eq!(slipped, [samples], "{kind:?}: RTP time moves on by the time that passed");
        assert_eq!(heard(&pair), (1..101).collect::<Vec<i16>>(), "{kind:?}");
        let stats = pair.session.stats();
        assert_eq!(stats.audio_slips, 1);
        assert_eq!(stats.audio_slipped, PACKET * (points - 1));
    }
}

/// Drives hour by hour and checks that every packet stands on one grid, in time and in RTP time.
fn assert_no_drift(time: PacketTime, hours: u32) {
    let setup =
        Setup::new(Kind::Scripted, 1).untraced().config(|config| config.audio_packet_time(time));
    let mut pair = connected(setup);
    let packet = time.duration();
    let (mut packets, mut last) = (0, None);
    for _ in 0..hours {
        pair.forget();
        pair.drive_for(Duration::from_secs(3600));
        let departures: Vec<_> = last.into_iter().chain(departures(&pair)).collect();
        assert!(gaps(&departures).iter().all(|gap| *gap == packet));
        assert!(gaps(&times(&pair)).iter().all(|gap| Duration::from_millis(gap / 48) == packet));
        packets += departures.len() - usize::from(last.is_some());
        last = departures.last().copied();
    }
    let expected = (Duration::from_secs(3600) * hours).as_millis() / packet.as_millis();
    assert_eq!(packets as u128, expected);
    assert_eq!(pair.session.stats().audio_slips, 0);
}

#[test]
fn an_hour_at_twenty_milliseconds_does_not_drift() {
    assert_no_drift(PacketTime::Ms20, 1);
}

#[test]
fn a_whole_day_does_not_drift() {
    // The arithmetic is the same at 20 ms, the packets are three times as many.
    assert_no_drift(PacketTime::Ms60, 24);
}

#[test]
fn dtx_sends_one_packet_in_400_milliseconds_and_sound_at_once_after_it() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).config(|config| config.audio_idle(AudioIdle::Dtx));
        let mut pair = connected(setup);
        pair.drive_for(Duration::from_secs(4));
        assert!((9..=11).contains(&departures(&pair).len()), "{kind:?}");
        pair.drive_for(milliseconds(130));
        pair.forget();
        let at = pair.elapsed();
        pair.send_audio(&steps(1, 10), 24_000).unwrap();
        pair.drive_for(milliseconds(300));
        assert_eq!(departures(&pair)[0], at, "{kind:?}: no wait for the idle clock");
        assert_eq!(heard(&pair), (1..11).collect::<Vec<i16>>());
    }
}

#[test]
fn nothing_is_sent_while_nothing_is_to_be_said_when_so_configured() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).config(|config| config.audio_idle(AudioIdle::Nothing));
        let mut pair = connected(setup);
        pair.drive_for(Duration::from_secs(5));
        assert!(departures(&pair).is_empty(), "{kind:?}");
        pair.send_audio(&steps(1, 4), 24_000).unwrap();
        pair.drive_for(Duration::from_secs(2));
        assert_eq!(heard(&pair), [1, 2, 3, 4]);
        pair.drive_for(Duration::from_secs(2));
        pair.forget();
        pair.drive_for(Duration::from_secs(2));
        assert!(departures(&pair).is_empty(), "{kind:?}");
    }
}

#[test]
fn a_piece_is_finished_when_its_last_sample_left() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        let first = pair.send_audio(&steps(1, 10), 24_000).unwrap();
        let second = pair.send_audio(&steps(11, 5), 24_000).unwrap();
        pair.drive_for(Duration::from_secs(1));
        let finished: Vec<_> = pair
            .timed_events()
            .iter()
            .filter_map(|(at, event)| match event {
                Event::AudioFinished { id, samples } => Some((*at, *id, *samples)),
                _ => None,
            })
            .collect();
        let start = finished[0].0;
        assert_eq!(
            finished,
            [(start, first, 2400), (start + milliseconds(60), second, 1200)],
            "{kind:?}"
        );
    }
}

#[test]
fn no_new_word_leaves_after_clear() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        let id = pair.send_audio(&steps(1, 200), 24_000).unwrap();
        pair.drive_for(milliseconds(510));
        let so_far = heard(&pair).into_iter().max().unwrap();
        let now = pair.now();
        let cleared = pair.session.clear_audio(now);
        assert_eq!(cleared.pieces.len(), 1);
        let piece = cleared.pieces[0];
        assert_eq!((piece.id, piece.sent + piece.dropped), (id, 48_000));
        pair.drive_for(Duration::from_secs(1));
        let end = heard(&pair).into_iter().max().unwrap();
        // One packet of two words was on its way, and the next word is faded out.
        assert!(end <= so_far + 3, "{kind:?}: {so_far} then {end}");
        assert!(gaps(&departures(&pair)).iter().all(|gap| *gap == PACKET), "silence goes on");
    }
}

#[test]
fn while_sound_is_paused_nothing_of_it_leaves_and_afterwards_every_word_is_heard() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        let id = pair.send_audio(&steps(1, 100), 24_000).unwrap();
        pair.drive_for(milliseconds(510));
        let now = pair.now();
        pair.session.pause_audio(now);
        pair.drive_for(Duration::from_secs(1));
        let paused = heard(&pair).into_iter().max().unwrap();
        pair.drive_for(Duration::from_secs(2));
        assert_eq!(heard(&pair).into_iter().max().unwrap(), paused, "{kind:?}");
        let is_end = |event: &Event| matches!(event, Event::AudioFinished { .. });
        assert!(!pair.events().any(is_end), "{kind:?}");
        let now = pair.now();
        pair.session.resume_audio(now);
        pair.drive_for(Duration::from_secs(2));
        let whole = Event::AudioFinished { id, samples: 24_000 };
        assert!(pair.events().any(|event| *event == whole), "{kind:?}");
        let mut words = heard(&pair);
        words.retain(|word| *word > 0);
        words.dedup();
        assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "{kind:?}: none is said twice");
        assert!(words.len() >= 99, "{kind:?}: {} words", words.len());
        assert!(gaps(&departures(&pair)).iter().all(|gap| *gap == PACKET), "silence goes on");
    }
}

#[test]
fn the_reports_of_a_page_confirm_every_sample_that_was_sent() {
    let mut pair = connected(Setup::new(Kind::Real, 1));
    let id = pair.send_audio(&steps(1, 100), 24_000).unwrap();
    pair.drive_for(milliseconds(500));
    let (mut confirmed, mut played) = (0, 0);
    for _ in 0..100 {
        pair.drive_for(milliseconds(100));
        let progress = pair.session.audio_progress(id).expect("it is not long over");
        assert!(progress.confirmed >= confirmed && progress.confirmed <= progress.sent);
        assert!(progress.played_estimate >= played && progress.played_estimate <= progress.sent);
        (confirmed, played) = (progress.confirmed, progress.played_estimate);
    }
    assert_eq!((confirmed, played), (24_000, 24_000));
}

#[test]
fn a_minute_of_sound_waits_and_a_second_more_is_refused_with_the_time_until_there_is_room() {
    for kind in Kind::ALL {
        let mut pair = connected(Setup::new(kind, 1));
        let second = vec![1; 24_000];
        for _ in 0..60 {
            pair.send_audio(&second, 24_000).unwrap();
        }
        let refused = pair.send_audio(&second, 24_000).unwrap_err();
        let SendError::QueueFull { wait: Some(wait), .. } = refused else {
            panic!("{refused:?}");
        };
        pair.drive_for(wait);
        pair.send_audio(&second, 24_000).unwrap();
    }
}

#[test]
fn what_the_microphone_sends_is_read_whole_and_in_time() {
    for kind in Kind::ALL {
        let config = |config: Config| config.audio_in(16_000, 1).unwrap();
        let mut pair = connected(Setup::new(kind, 1).config(config));
        let track = smallrtc::TrackId(0);
        let mut read = 0;
        for packet in 0..250_u64 {
            let now = pair.now();
            // Two steps of 10 ms, in the null code's own words.
            let data = [b'N', 1, 2, 0, 0, 0, 0, 7, 0, 7, 0];
            assert!(pair.browser.send_media(0, packet * 960, &data, now));
            pair.drive_for(PACKET);
            let mut samples = [0; 16_000];
            while let Some(info) = pair.session.recv_audio(track, &mut samples) {
                read += info.samples;
            }
        }
        // 5 s at 16 kHz, less the datagram on its way and the resampler's delay.
        assert!((79_300..=80_000).contains(&read), "{kind:?}: {read}");
        assert_eq!(pair.session.stats().audio_packets_late, 0);
    }
}
