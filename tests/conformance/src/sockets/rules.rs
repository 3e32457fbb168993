//! The rules on real sockets, each a function that fails when a driver breaks it.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use smallrtc::{AudioIdle, CloseReason, Config, SessionId};
use smallrtc_sim::{BrowserEvent, Kind, Setup};
use smallrtc_udp::{Lateness, RECEIVE_BUDGET};

pub use super::replays::a_recorded_call_replays_identical_on_the_bare_loop;
use super::{PATIENCE, Page, Remote, Running, in_time};
use crate::suite::null_packet;
use crate::{Bot, Departure, RATE, Report, Told, speech};

/// One packet of 20 ms, in samples at 48 kHz.
const PACKET_SAMPLES: u64 = 960;

/// For how long the driver's thread is taken.
const STOP: Duration = Duration::from_secs(2);

/// The plain wire and the null codec; nothing is sent while nothing is to be said.
fn config(idle: AudioIdle) -> Config {
    let config = Setup::new(Kind::Scripted, 1).config;
    config.audio_idle(idle).audio_in(RATE, 1).expect("a usual rate")
}

/// Ends it all. A page that is gone without a word would be waited for.
pub(super) fn stop<D: Running>(driver: D, pages: impl IntoIterator<Item = Page>) {
    for mut page in pages {
        page.hang_up();
    }
    in_time("the end", driver.remote(), |remote| remote.close());
    driver.join();
}

/// Words and texts of a page come back.
pub fn a_page_hears_and_reads_its_echo<D: Running>() {
    let driver = D::start(config(AudioIdle::Silence), Bot::Echo);
    let mut page = Page::call(&driver, 1);
    let mut texts = Vec::new();
    for number in 0..25 {
        let word = 1 + 2 * i16::try_from(number).expect("a few");
        page.send_sound(number, &null_packet([word, word + 1]));
        texts.push(format!("text {number}"));
        page.send_text(&texts[texts.len() - 1]);
        page.go_on_for(Duration::from_millis(5));
    }
    page.go_on("the last word but one", |page| page.heard().contains(&49));
    page.go_on("the last text", |page| page.texts().len() >= 25);
    assert_eq!(page.texts(), texts);
    assert!(page.heard().is_sorted(), "{:?}", page.heard());
    page.hang_up();
    assert_eq!(end(&driver), CloseReason::HungUp);
    stop(driver, []);
}

/// A driver without calls has no deadline: a request whose wake-up were lost would wait for ever.
pub fn no_request_of_many_threads_is_lost<D: Running>() {
    const THREADS: usize = 6;
    const REQUESTS: usize = 2_000;
    let driver = D::start(config(AudioIdle::Silence), Bot::Silent);
    let (answered, answers) = channel();
    for _ in 0..THREADS {
        let (remote, answered) = (driver.remote(), answered.clone());
        thread::spawn(move || {
            for _ in 0..REQUESTS {
                let status = remote.request("GET", "/", b"").status;
                answered.send(status).expect("the test waits");
            }
        });
    }
    for _ in 0..THREADS * REQUESTS {
        assert_eq!(answers.recv_timeout(PATIENCE), Ok(404));
    }
    stop(driver, []);
}

/// Threads that command a call while its driver waits, each in its own order.
pub fn commands_of_many_threads_are_carried_out_in_the_order_of_each<D: Running>() {
    const THREADS: usize = 4;
    const TEXTS: usize = 50;
    let driver = D::start(config(AudioIdle::Nothing), Bot::Silent);
    let mut page = Page::call(&driver, 2);
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (remote, id) = (driver.remote(), page.id);
            thread::spawn(move || {
                for text in 0..TEXTS {
                    remote.send_text(id, &format!("{thread} {text}")).expect("the call goes on");
                }
            })
        })
        .collect();
    page.go_on("every text", |page| page.texts().len() == THREADS * TEXTS);
    for thread in threads {
        thread.join().expect("each was taken");
    }
    for thread in 0..THREADS {
        let of_thread = format!("{thread} ");
        let texts = page.texts();
        let texts: Vec<_> = texts.iter().filter(|text| text.starts_with(&of_thread)).collect();
        let expected: Vec<_> = (0..TEXTS).map(|text| format!("{thread} {text}")).collect();
        assert_eq!(texts, expected.iter().collect::<Vec<_>>());
    }
    stop(driver, [page]);
}

/// More checks than a turn takes lie in the socket when the driver looks at it, and nothing comes
/// after them. All are answered before the driver's next deadline, which is a check of its own.
pub fn a_burst_past_the_budget_of_a_turn_is_answered_without_another_wake_up<D: Running>() {
    // As much as a page's socket holds of answers, should it be slow.
    const BURST: usize = RECEIVE_BUDGET + RECEIVE_BUDGET / 2;
    let driver = D::start(config(AudioIdle::Nothing), Bot::Silent);
    let mut page = Page::call(&driver, 3);
    page.go_on_to_rest();
    let before = (page.responses, page.checks);
    driver.remote().block(Duration::from_millis(200));
    page.send_checks(BURST, driver.address());
    page.go_on("every check is answered", |page| page.responses >= before.0 + BURST);
    // A check that was made in the same turn as the last answers is behind them.
    page.go_on_for(Duration::from_millis(100));
    assert_eq!(page.checks, before.1, "only the next deadline woke the driver");
    stop(driver, [page]);
}

/// A driver that waits for its next check, 3 s away, is given sound: all of it leaves before that
/// check does.
pub fn a_command_that_moves_the_deadline_nearer_is_served_before_the_old_one<D: Running>() {
    let driver = D::start(config(AudioIdle::Nothing), Bot::Silent);
    let mut page = Page::call(&driver, 4);
    page.go_on_to_rest();
    let checks = page.checks;
    say(&driver, page.id, speech(1..31));
    page.go_on("300 ms of words", |page| page.heard().len() == 30);
    assert_eq!(page.heard(), (1..31).collect::<Vec<i16>>());
    assert_eq!(page.checks, checks, "the old deadline came first");
    stop(driver, [page]);
}

/// Sound is dropped, and later the call ends: the deadlines that belonged to them are gone. A
/// driver that rests meets no deadline, and one that spins meets thousands.
pub fn a_deadline_that_moved_away_leaves_a_driver_that_rests<D: Running>() {
    let driver = D::start(config(AudioIdle::Nothing), Bot::Silent);
    let mut page = Page::call(&driver, 5);
    say(&driver, page.id, vec![1; 24_000 * 5]);
    page.go_on("it speaks", |page| page.heard().len() > 5);
    driver.remote().clear(page.id);
    // The fade, and 100 ms of zeros behind it.
    page.go_on_for(Duration::from_millis(400));
    let (packets, deadlines) = (page.watch().departures().len(), deadlines(&driver));
    page.go_on_for(Duration::from_millis(400));
    assert_eq!(page.watch().departures().len(), packets, "what was dropped is not sent");
    // Two turns for what was asked, and at most one check.
    let met = self::deadlines(&driver) - deadlines;
    assert!(met <= 5, "{met} deadlines in 400 ms of rest");

    page.hang_up();
    assert_eq!(end(&driver), CloseReason::HungUp);
    let deadlines = self::deadlines(&driver);
    page.go_on_for(Duration::from_millis(300));
    let met = self::deadlines(&driver) - deadlines;
    assert!(met <= 3, "{met} deadlines without a call");
    stop(driver, []);
}

/// Queues sound of the bot's own.
pub(super) fn say<D: Running>(driver: &D, id: SessionId, samples: Vec<i16>) {
    let sent = in_time("sound", driver.remote(), move |remote| remote.send_audio(id, &samples));
    sent.expect("the call goes on");
}

fn deadlines<D: Running>(driver: &D) -> u64 {
    lateness(driver).count()
}

fn lateness<D: Running>(driver: &D) -> Lateness {
    let figures = in_time("figures", driver.remote(), |remote| remote.figures());
    figures.expect("the driver runs").lateness
}

/// The driver's thread is taken for 2 s while it speaks. At the page's socket: no burst, one jump
/// of the RTP time by the time that passed, no word lost. The driver's own figures tell of it.
pub fn a_driver_that_was_stopped_slips_and_tells_how_late_it_was<D: Running>() {
    const WORDS: i16 = 100;
    let driver = D::start(config(AudioIdle::Silence), Bot::Silent);
    let mut page = Page::call(&driver, 6);
    say(&driver, page.id, speech(1..WORDS + 1));
    page.go_on("it speaks", |page| page.heard().len() > 20);
    driver.remote().block(STOP);
    page.go_on("every word", |page| page.heard().len() >= usize::from(WORDS.unsigned_abs()));
    assert_eq!(page.heard(), (1..WORDS + 1).collect::<Vec<i16>>(), "no word is lost");
    check_slips(page.watch().departures());
    let lateness = lateness(&driver);
    assert!(lateness.max() > STOP - Duration::from_millis(200), "{lateness}");
    assert!(lateness.count() > 30, "{lateness}");
    stop(driver, [page]);
}

/// One jump of nearly the length of the stop. A loaded machine may add small ones.
fn check_slips(departures: &[Departure]) {
    let gaps = departures.windows(2).map(|pair| pair[1].rtp_time - pair[0].rtp_time);
    let gaps: Vec<u64> = gaps.collect();
    let stop = u64::try_from(STOP.as_millis()).expect("2 s") * 48;
    let slips: Vec<u64> = gaps.iter().copied().filter(|gap| *gap != PACKET_SAMPLES).collect();
    // A driver that bursts has no jump: it sends a packet for each 20 ms that it missed.
    let large = slips.iter().filter(|gap| **gap > stop * 9 / 10).count();
    assert_eq!(large, 1, "slips of {slips:?} samples");
    assert!(slips.iter().all(|gap| *gap > PACKET_SAMPLES), "time falls: {slips:?}");
    // Media time does not run ahead of the clock: what is sent in so long is no more than that.
    let (Some(first), Some(last)) = (departures.first(), departures.last()) else {
        panic!("nothing was sent");
    };
    let media = Duration::from_nanos((last.rtp_time - first.rtp_time) * 1_000_000_000 / 48_000);
    let passed = last.at - first.at;
    assert!(media < passed + Duration::from_millis(500), "{media:?} of sound in {passed:?}");
}

/// The page is told, the call ends once, and what comes later is refused.
pub fn closing_tells_the_page_and_ends_the_driver<D: Running>() {
    let driver = D::start(config(AudioIdle::Silence), Bot::Talker);
    let mut page = Page::call(&driver, 7);
    let remote = driver.remote();
    let closing = thread::spawn(move || remote.close());
    let left = |page: &Page| page.texts().iter().any(|text| text.contains("peerLeft"));
    page.go_on("peerLeft", left);
    page.go_on("the end", |page| page.was_told(&BrowserEvent::HungUp));
    closing.join().expect("it only closes");
    assert_eq!(end(&driver), CloseReason::Application);
    let remote = driver.remote();
    assert_eq!(remote.request("GET", "/", b"").status, 503);
    assert!(remote.send_text(page.id, "late").is_err());
    assert_eq!(remote.figures(), None);
    assert_eq!(ends(&driver), 0, "the end was told once");
    driver.join();
}

/// How the next call ended.
pub(super) fn end<D: Running>(driver: &D) -> CloseReason {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        match driver.poll_report() {
            Some(Report::Told(_, Told::Closed(reason))) => return reason,
            Some(_) => {}
            None => thread::yield_now(),
        }
    }
    panic!("no call has ended");
}

/// How many ends are still to be told.
fn ends<D: Running>(driver: &D) -> usize {
    let reports = std::iter::from_fn(|| driver.poll_report());
    reports.filter(|report| matches!(report, Report::Told(_, Told::Closed(_)))).count()
}
