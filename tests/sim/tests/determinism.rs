//! One seed, one run: every scenario of the suite leaves the same traces twice in a process and in
//! two processes; and a call does, with each flight lost, and in whatever order the application
//! polls.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use smallrtc::{Codec, EncodedFrame, Event, Message, TrackId};
use smallrtc_sim::{Kind, LinkConfig, Pair, Setup, Trace, World, kind_of, run, seeds, tone};

mod suite;

/// What each program leaves with one seed: traces that are compared between processes, at the
/// least, and such as need not be the same there, at the most. Fewer of those and more of these
/// mean that something gets lost, or excuses itself. Each is a tenth away from what there was.
const PROGRAMS: [(&str, usize, usize); 32] = [
    ("clients", 42, 9),
    ("coders", 7, 0),
    ("connect", 24, 0),
    ("determinism", 121, 20),
    ("ending", 64, 0),
    ("endings", 80, 0),
    ("endpoint", 15, 0),
    ("examples", 27, 0),
    ("fast", 720, 0),
    ("figures", 11, 0),
    ("fuzz", 211, 6),
    ("held", 4, 0),
    ("hostile", 11, 0),
    ("messages", 18, 0),
    ("mtu", 19, 0),
    ("pacing", 25, 0),
    ("phones", 11, 0),
    ("pictures", 5, 12),
    ("players", 9, 0),
    ("properties", 445, 10),
    ("replay", 10, 0),
    ("restart", 15, 0),
    ("rules_endings", 363, 1),
    ("rules_messages", 13, 0),
    ("rules_negotiation", 93, 0),
    ("rules_restart", 0, 0),
    ("rules_tracks", 8, 0),
    ("snap", 30, 0),
    ("sound", 20, 0),
    ("start", 8, 0),
    ("timers", 27, 0),
    ("world", 177, 0),
];

/// A call with everything in it.
fn whole_call(setup: Setup) -> Trace {
    let mut pair = Pair::new(setup.browser(|browser| browser.camera = true));
    pair.say("queued");
    pair.connect();
    for frame in 0..40_u64 {
        let now = pair.now();
        if frame % 4 == 0 {
            pair.say(&"m".repeat(usize::try_from(frame).unwrap() * 300 + 1));
            pair.browser.send_text(&format!("[{frame}]"), now);
        }
        if frame == 10 {
            pair.send_audio(&tone(440.0, 24_000, 12_000), 24_000).unwrap();
        }
        if frame == 30 {
            pair.session.clear_audio(now);
        }
        let (time, data) = (Duration::from_millis(frame * 33), Bytes::from(vec![0; 3_000]));
        let picture = EncodedFrame::new(Codec::Vp8, time, frame == 0, data);
        let _ = pair.session.send_encoded(TrackId(1), picture, now);
        pair.browser.send_media(0, frame * 960, &[b'N', 1, 2, 0, 0, 0, 0, 1, 0, 2, 0], now);
        pair.browser.send_media(1, frame * 3000, &[0; 2_000], now);
        pair.drive_for(Duration::from_millis(33));
        let mut samples = [0; 1600];
        while let Some(info) = pair.session.recv_audio(TrackId(0), &mut samples) {
            let sum: i64 = samples[..info.samples].iter().copied().map(i64::from).sum();
            let now = pair.now();
            pair.trace.note(now, format_args!("heard {} {sum} {:?}", info.samples, info.origin));
        }
    }
    pair.restart_from_port(41_000).unwrap();
    pair.drive_for(Duration::from_secs(2));
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(Duration::from_secs(3));
    let mut stats = pair.session.stats();
    // Signatures in the handshake vary by a few bytes.
    (stats.bytes_received, stats.bytes_sent) = (0, 0);
    let now = pair.now();
    pair.trace.note(now, format_args!("{stats:?}"));
    pair.trace
}

fn assert_same(left: &Trace, right: &Trace, what: &str) {
    if let Some(difference) = left.difference(right) {
        panic!("{what}: {difference}");
    }
    assert!(left.lines().len() > 100, "{what}: a trace of something");
}

#[test]
fn the_same_seed_gives_the_same_trace_twice() {
    run("the_same_seed_gives_the_same_trace_twice", 5, |seed| {
        for kind in Kind::ALL {
            for link in [LinkConfig::clean(), LinkConfig::bad()] {
                let setup = Setup::new(kind, seed).links(link);
                let (once, again) = (whole_call(setup.clone()), whole_call(setup));
                assert_same(&once, &again, &format!("{kind:?}"));
            }
        }
    });
}

#[test]
fn opus_gives_the_same_trace_twice() {
    let setup = Setup::new(Kind::Real, 1).opus();
    assert_same(&whole_call(setup.clone()), &whole_call(setup), "opus");
}

#[test]
fn another_seed_gives_another_trace() {
    for kind in Kind::ALL {
        let trace = |seed| whole_call(Setup::new(kind, seed).links(LinkConfig::bad()));
        assert_ne!(trace(1).hash(), trace(2).hash());
    }
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    for kind in Kind::ALL {
        let answer = || {
            let mut pair = Pair::new(Setup::new(kind, 7));
            let now = pair.now();
            let offer = smallrtc::Offer::parse(&pair.browser.offer(now)).unwrap();
            pair.session.accept_offer(&offer, now).unwrap().sdp().to_owned()
        };
        assert_eq!(answer(), answer());
    }
}

/// A call whose handshake loses the datagram with a number, in either direction. `None` when
/// there are not so many.
fn losing(seed: u64, number: usize, upwards: bool) -> Option<Trace> {
    let mut pair = Pair::new(Setup::new(Kind::Real, seed));
    let mut count = 0;
    let link = if upwards { &mut pair.up } else { &mut pair.down };
    link.lose(move |packet| {
        count += usize::from(kind_of(&packet.payload) == "handshake");
        kind_of(&packet.payload) == "handshake" && count == number + 1
    });
    pair.connect();
    pair.drive_for(Duration::from_secs(1));
    let lost = if upwards { pair.up.lost() } else { pair.down.lost() };
    (lost > 0).then_some(pair.trace)
}

#[test]
fn a_call_connects_in_the_same_way_twice_with_each_single_flight_lost() {
    run("a_call_connects_in_the_same_way_twice_with_each_single_flight_lost", 2, |seed| {
        let mut lost = 0;
        for upwards in [true, false] {
            for number in 0.. {
                let Some(once) = losing(seed, number, upwards) else { break };
                let again = losing(seed, number, upwards).expect("it was lost before");
                assert_same(&once, &again, &format!("datagram {number}, upwards {upwards}"));
                lost += 1;
            }
        }
        assert!(lost >= 4, "only {lost} datagrams of the handshake were lost");
    });
}

#[test]
fn a_call_connects_with_each_single_datagram_lost_on_either_wire() {
    for kind in Kind::ALL {
        for number in 0..24 {
            for upwards in [true, false] {
                let mut pair = Pair::new(Setup::new(kind, 1));
                let mut count = 0;
                let link = if upwards { &mut pair.up } else { &mut pair.down };
                link.lose(move |_| {
                    count += 1;
                    count == number + 1
                });
                pair.connect();
                pair.say("through");
                pair.drive_for(Duration::from_secs(10));
                let heard = pair.browser_messages().contains(&"through".to_owned());
                assert!(heard, "{kind:?} {number} upwards {upwards}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 12,
        rng_seed: RngSeed::Fixed(seeds(1)[0]),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_order_of_polls_does_not_show(seed in 0..10_000_u64, is_real: bool, is_bad: bool) {
        let kind = if is_real { Kind::Real } else { Kind::Scripted };
        let link = if is_bad { LinkConfig::bad() } else { LinkConfig::clean() };
        let setup = Setup::new(kind, seed).links(link);
        let in_order = whole_call(setup.clone());
        let shuffled = whole_call(setup.shuffled());
        prop_assert_eq!(in_order.difference(&shuffled), None);
    }
}

/// Calls through the guard between the endpoint's own, with or without a step in between.
fn mixed(seed: u64, kind: Kind) -> Trace {
    let mut world = World::new(Setup::new(kind, seed));
    let numbers: Vec<_> = (0..4).map(|_| world.add_browser(|_| {})).collect();
    for number in &numbers {
        world.call(*number).unwrap();
    }
    world.drive_for(Duration::from_secs(1));
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..60 {
        let now = world.now();
        let number = numbers[random.usize(..numbers.len())];
        let mut session = world.session(number).expect("nobody has left");
        match random.u8(..5) {
            0 => drop(session.send_message(Message::text(format!("[{round}]")), now)),
            1 => {
                drop(session.send_audio(
                    smallrtc::AudioFrame::mono(&tone(300.0, 16_000, 1_600), 16_000),
                    now,
                ))
            }
            2 => drop(session.clear_audio(now)),
            3 => session.request_renegotiation(now),
            _ => drop(session.stats()),
        }
        drop(session);
        match random.u8(..4) {
            0 => world.endpoint.handle_timeout(now),
            1 => drop(world.endpoint.poll_timeout()),
            2 => world.flush(),
            _ => {
                // The guard has told the endpoint: whatever is to be sent is due at once.
                let due = world.endpoint.poll_timeout();
                let sent = world.endpoint.poll_transmit();
                assert!(sent.is_none() || due.is_some_and(|at| at <= now), "{round}");
                if let Some(sent) = sent {
                    let payload = &sent.payload;
                    world.trace.packet(now, sent.source, sent.destination, payload);
                }
            }
        }
        world.drive_for(Duration::from_millis(random.u64(..30)));
    }
    world.close(0);
    world.drive_for(Duration::from_secs(3));
    assert!(world.endpoint.is_empty());
    for outcome in world.outcomes() {
        let ends = outcome.events.iter().filter(|(_, event)| matches!(event, Event::Closed { .. }));
        assert_eq!(ends.count(), 1);
    }
    world.trace
}

#[test]
fn direct_calls_and_calls_of_the_endpoint_mix_and_repeat() {
    run("direct_calls_and_calls_of_the_endpoint_mix_and_repeat", 5, |seed| {
        for kind in Kind::ALL {
            assert_same(&mixed(seed, kind), &mixed(seed, kind), &format!("{kind:?}"));
        }
    });
}

/// The programs of these tests run again in two processes, in the first of which each test runs
/// twice, with one seed and a few cases of each property.
#[test]
#[expect(clippy::print_stdout, reason = "the counts are what somebody runs this for")]
fn every_scenario_of_the_suite_repeats_in_a_process_and_in_two() {
    let (mut seen, mut differences, mut once_only) = (Vec::new(), Vec::new(), Vec::new());
    for program in suite::programs() {
        let (once, again) = program.run_in_two_processes();
        differences.extend(once.differences(&again));
        once_only.extend(once.unrepeated());
        let (name, local) = (program.name, once.local());
        println!("{name}: {} tests, {} traces, {local} local", once.tests(), once.len());
        seen.push((name, once.len() - local, local));
    }
    assert_eq!(differences, [""; 0], "in another process");
    assert_eq!(once_only, [""; 0], "twice in a process");
    assert_eq!(amiss(&seen), [""; 0], "another suite than it was");
}

/// What programs leave too little of, or excuse too much of, or do not exist.
fn amiss(seen: &[(String, usize, usize)]) -> Vec<String> {
    let of = |name: &str| seen.iter().find(|(of, ..)| of == name);
    let known = PROGRAMS.into_iter().filter_map(|(name, least, most)| match of(name) {
        None => Some(format!("{name}: no such program")),
        Some((_, traces, _)) if *traces < least => {
            Some(format!("{name}: {traces} traces to compare, at least {least}"))
        }
        Some((_, _, local)) if *local > most => {
            Some(format!("{name}: {local} traces of one process alone, at most {most}"))
        }
        Some(_) => None,
    });
    let is_known = |name: &str| PROGRAMS.iter().any(|(known, ..)| *known == name);
    let strange = seen.iter().filter(|(name, ..)| !is_known(name));
    known.chain(strange.map(|(name, ..)| format!("{name}: nobody says what it leaves"))).collect()
}

#[test]
fn programs_that_leave_less_or_excuse_more_are_told() {
    let whole: Vec<_> =
        PROGRAMS.iter().map(|(name, least, most)| ((*name).to_owned(), *least, *most)).collect();
    assert_eq!(amiss(&whole), [""; 0]);
    let with = |change: fn(&mut Vec<(String, usize, usize)>)| {
        let mut seen = whole.clone();
        change(&mut seen);
        amiss(&seen)
    };
    assert_eq!(with(|seen| seen[0].1 -= 1).len(), 1, "too few");
    assert_eq!(with(|seen| seen[0].2 += 1).len(), 1, "too many excused");
    assert_eq!(with(|seen| drop(seen.remove(0))).len(), 1, "missing");
    assert_eq!(with(|seen| seen.push(("new".to_owned(), 9, 0))).len(), 1, "strange");
}

#[test]
fn processes_that_differ_are_told_apart() {
    let parse = suite::Traces::parse;
    let one = parse("a\t0\t5\t01\na\t1\t5\t02\nb\t0\t1\t03\n");
    // Threads of different tests write when they are done.
    let same = parse("b\t0\t1\t03\na\t0\t5\t01\na\t1\t5\t02\n");
    assert_eq!((one.differences(&same), one.tests(), one.len()), (vec![], 2, 3));
    let another = one.differences(&parse("a\t0\t5\t01\na\t1\t5\t04\nb\t0\t1\t03\n"));
    assert_eq!(another, [r#"a: "1\t5\t02" and "1\t5\t04""#]);
    let fewer = one.differences(&parse("a\t0\t5\t01\n"));
    assert_eq!(fewer, ["a: 2 traces and 1", "b: 1 traces and 0"]);
    let twice = parse("a\t0\t5\t01\na\ttwice\t1\nb\t0\t1\t03\nc\t0\t1\t03\nc\ttwice\t0\n");
    assert_eq!(twice.unrepeated(), ["b", "c"]);
}

/// What a bot says that takes its words from a clock, or from a map in hash order: the same
/// throughout a process, so that only another process shows it. Without a plant it is in order.
fn planted_words() -> &'static [usize] {
    static WORDS: OnceLock<Vec<usize>> = OnceLock::new();
    WORDS.get_or_init(|| match std::env::var(suite::PLANT_VARIABLE).as_deref() {
        Ok("clock") => {
            #[expect(clippy::disallowed_methods, reason = "planted, to be caught")]
            let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            vec![1 + time.subsec_nanos() as usize % 10_000]
        }
        Ok("hash") => {
            let words: HashSet<usize> = (1..20).collect();
            words.into_iter().collect()
        }
        _ => (1..20).collect(),
    })
}

#[test]
fn a_bot_says_what_may_be_planted() {
    let mut pair = Pair::new(Setup::new(Kind::Scripted, 1));
    pair.connect();
    for len in planted_words() {
        pair.say(&"m".repeat(*len));
        pair.drive_for(Duration::from_millis(50));
    }
}

#[test]
fn what_is_planted_is_caught_between_processes() {
    let differences = |plant: &str| {
        let test = "a_bot_says_what_may_be_planted";
        let (once, again) = suite::Program::run_planted(test, plant);
        assert_eq!((once.tests(), once.len(), once.local()), (1, 1, 0), "{plant}: {once:?}");
        assert_eq!(once.unrepeated(), [""; 0], "{plant}: the same twice in a process");
        once.differences(&again)
    };
    assert_eq!(differences("nothing"), [""; 0]);
    for plant in ["clock", "hash"] {
        let found = differences(plant);
        assert!(
            matches!(&found[..], [one] if one.starts_with("a_bot_says_")),
            "{plant}: {found:?}"
        );
    }
}

/// A file that was changed so many seconds after the beginning.
fn changed(folder: &Path, name: &str, seconds: u64) -> PathBuf {
    let path = folder.join(name);
    let file = File::create(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    path
}

#[test]
fn a_program_that_is_older_than_what_it_is_made_of_is_not_taken() {
    let folder = format!("stale-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    let program = changed(&folder, "program", 1_000);
    let [older, same, newer] = [999, 1_000, 1_001].map(|at| changed(&folder, &at.to_string(), at));
    let newest_of = |sources: &[&PathBuf]| {
        let sources: Vec<_> = sources.iter().map(|source| source.to_path_buf()).collect();
        suite::newer_than(&program, &sources).unwrap()
    };
    assert_eq!(newest_of(&[&older, &same]), None);
    assert_eq!(newest_of(&[&older, &newer, &same]), Some(newer));
    let gone = folder.join("gone");
    assert_eq!(newest_of(&[&older, &gone]), Some(gone));
    assert!(suite::newer_than(&folder.join("no program"), &[older]).is_err());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_sources_of_this_program_are_known() {
    let here = std::env::current_exe().unwrap();
    let sources = suite::sources_in(&here.with_extension("d"));
    for name in ["determinism.rs", "mod.rs"] {
        let is_there = |source: &&PathBuf| source.ends_with(name) && source.is_file();
        assert_eq!(sources.iter().filter(is_there).count(), 1, "{name} in {sources:?}");
    }
}
