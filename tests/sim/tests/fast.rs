//! How fast a channel opens, counted in round trips, for everything that a peer may be able to do
//! (DTLS 1.2, 1.3; leaving out the SCTP handshake), and that the faster ways hold what the slow
//! one does: they fall back in silence, repeat, end, restart, and fit the path.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallrtc::{CloseReason, Config, ConnectionState, DtlsVersions, Event, NegotiateError, Offer};
use smallrtc_sim::{
    BrowserEvent, Dtls, Kind, LinkConfig, Packet, Pair, Setup, Trace, bot_address, kind_of, run,
};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// Everything that a peer may be able to do.
fn peers() -> impl Iterator<Item = (Dtls, bool)> {
    Dtls::ALL.into_iter().flat_map(|dtls| [(dtls, false), (dtls, true)])
}

fn setup(seed: u64, (dtls, snap): (Dtls, bool)) -> Setup {
    let link = LinkConfig { delay: ROUND_TRIP / 2, ..LinkConfig::clean() };
    Setup::new(Kind::Real, seed).links(link).browser(|browser| {
        (browser.dtls, browser.snap) = (dtls, snap);
    })
}

/// Negotiates with what `changed_offer` and `changed_answer` make of the texts.
fn negotiate(
    pair: &mut Pair,
    changed_offer: impl FnOnce(String) -> String,
    changed_answer: impl FnOnce(&str) -> String,
) -> Result<String, NegotiateError> {
    let now = pair.now();
    let offer = changed_offer(pair.browser.offer(now));
    let answer = pair.session.accept_offer(&Offer::parse(&offer)?, now)?;
    pair.browser.accept_answer(&changed_answer(answer.sdp()), now);
    Ok(answer.sdp().to_owned())
}

fn is_open(pair: &Pair) -> bool {
    let opened = |event: &Event| matches!(event, Event::ChannelOpened { .. });
    pair.browser.is_open() && pair.events().any(opened)
}

fn drive_until_open(pair: &mut Pair) {
    pair.drive_until(Duration::from_secs(30), "the channel is open", |pair| is_open(pair));
}

/// A message each way.
fn talk(pair: &mut Pair, text: &str) {
    let now = pair.now();
    assert!(pair.browser.send_text(&format!("[\"up {text}\"]"), now));
    pair.say(&format!("[\"down {text}\"]"));
    pair.drive_for(Duration::from_secs(5));
    let up = format!("[\"up {text}\"]");
    assert!(pair.messages().iter().any(|message| message.as_bytes() == up.as_bytes()), "{text}");
    assert!(pair.browser_messages().contains(&format!("[\"down {text}\"]")), "{text}");
}

/// Half round trips, printed as round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Halves(u64);

impl Halves {
    /// On virtual time, a clean link and an endless CPU everything falls on a whole half.
    fn at(elapsed: Duration, round_trip: Duration) -> Halves {
        let half = (round_trip / 2).as_nanos();
        assert_eq!(elapsed.as_nanos() % half, 0, "{elapsed:?} is not a multiple of half a trip");
        Halves(u64::try_from(elapsed.as_nanos() / half).expect("not many"))
    }

    fn since(self, earlier: Halves) -> Halves {
        Halves(self.0 - earlier.0)
    }
}

impl fmt::Display for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let half = if self.0.is_multiple_of(2) { "" } else { ".5" };
        write!(f, "{}{half}", self.0 / 2)
    }
}

/// A datagram as the bot met it: when, whether it came in, and what it was.
#[derive(Clone, Debug, PartialEq)]
struct Met {
    at: Duration,
    is_in: bool,
    kind: String,
}

/// What the bot met until the page's channel was open, sound left out.
fn met(pair: &Pair) -> Vec<Met> {
    let mut met = Vec::new();
    for line in pair.trace.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [at, _, ">", to, kind, ..] = words[..] else { continue };
        let (millis, nanos) = at.split_once('.').expect("milliseconds and nanoseconds");
        let at = Duration::from_millis(millis.parse().expect("a number"))
            + Duration::from_nanos(nanos.parse().expect("a number"));
        if !kind.starts_with("srt") {
            let is_in = to == bot_address().to_string();
            met.push(Met { at, is_in, kind: kind.to_owned() });
        }
    }
    met
}

/// When each step of a connect was done, since the answer.
#[derive(Clone, Copy, Debug)]
struct Steps {
    /// The page's first check came back: its first handshake datagram leaves.
    ice: Halves,
    /// The page's DTLS is done.
    dtls: Halves,
    /// The page says that it opens a channel.
    sctp: Halves,
    /// The page was told that it is open.
    dcep: Halves,
    /// The bot may send sound.
    sound: Halves,
    /// The bot may send messages.
    message: Halves,
}

fn steps(pair: &Pair, round_trip: Duration) -> Steps {
    let trips = |at: Duration| Halves::at(at, round_trip);
    let page = |wanted: BrowserEvent| {
        let found = pair.timed_browser_events().iter().find(|(_, event)| *event == wanted);
        trips(found.expect("the page was told").0)
    };
    let opened = |event: &Event| matches!(event, Event::ChannelOpened { .. });
    let message = pair.timed_events().iter().find(|(_, event)| opened(event));
    let message = trips(message.expect("the bot was told").0);
    let hello = met(pair).into_iter().find(|met| met.is_in && met.kind == "handshake");
    Steps {
        ice: trips(hello.expect("a handshake").at).since(Halves(1)),
        dtls: page(BrowserEvent::Connected),
        sctp: message.since(Halves(1)),
        dcep: page(BrowserEvent::ChannelOpen),
        sound: trips(pair.entered(ConnectionState::Connected).expect("the bot was told")),
        message,
    }
}

/// A line of the table in the documentation of `Config::snap`.
fn row((dtls, snap): (Dtls, bool), steps: Steps) -> String {
    let Steps { ice, dtls: secure, sctp, dcep, sound, message } = steps;
    let dtls = match dtls {
        Dtls::V12 => "1.2",
        Dtls::V13 => "1.3",
        _ => "1.2 and 1.3",
    };
    let snap = if snap { "yes" } else { "no" };
    let (of_dtls, of_sctp, of_dcep) = (secure.since(ice), sctp.since(secure), dcep.since(sctp));
    let sum = format!("{ice} + {of_dtls} + {of_sctp} + {of_dcep} = **{dcep}**");
    format!("| {dtls} | {snap} | {sum} | {sound} | {message} |")
}

fn connected(seed: u64, peer: (Dtls, bool), round_trip: Duration) -> Pair {
    let link = LinkConfig { delay: round_trip / 2, ..LinkConfig::clean() };
    let mut pair = Pair::new(setup(seed, peer).links(link));
    pair.say("first");
    pair.connect();
    pair
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what somebody runs this for")]
fn the_channel_opens_after_as_many_round_trips_as_the_table_says() {
    let documented = include_str!("../../../src/config.rs");
    for peer in peers() {
        let row_at = |millis| {
            let round_trip = Duration::from_millis(millis);
            row(peer, steps(&connected(1, peer, round_trip), round_trip))
        };
        let row = row_at(50);
        println!("{row}");
        assert_eq!([&row, &row], [&row_at(10), &row_at(200)], "whatever the round trip is");
        assert!(documented.contains(&format!("    /// {row}\n")), "not in src/config.rs: {row}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is what somebody runs this for")]
fn the_bot_answers_each_datagram_of_a_connect_at_once_as_the_timeline_says() {
    let documented = include_str!("../../../src/transport/real.rs");
    for peer in [(Dtls::V12, false), (Dtls::V13, true)] {
        let pair = connected(1, peer, ROUND_TRIP);
        let met = met(&pair);
        let mut times: Vec<Duration> = met.iter().map(|met| met.at).collect();
        times.dedup();
        for at in times {
            let kinds = |is_in| {
                let here = met.iter().filter(move |met| met.at == at && met.is_in == is_in);
                let mut kinds: Vec<&str> = here.map(|met| met.kind.as_str()).collect();
                kinds.sort_unstable();
                kinds.dedup();
                kinds.join(", ")
            };
            let (came, left) = (kinds(true), kinds(false));
            assert!(
                !came.is_empty(),
                "nothing that leaves waits for anything but the peer: {at:?}"
            );
            let row = format!("| {} | {came} | {left} |", Halves::at(at, ROUND_TRIP));
            println!("{peer:?} {row}");
            assert!(documented.contains(&format!("//! {row}\n")), "not in real.rs: {row}");
        }
    }
}

#[test]
fn the_first_message_of_the_bot_comes_with_the_open_channel() {
    for peer in peers() {
        let mut pair = connected(1, peer, ROUND_TRIP);
        let open = pair.elapsed();
        pair.drive_for(Duration::ZERO);
        let first = pair.timed_browser_events().iter().find(
            |(_, event)| matches!(event, BrowserEvent::Message { data, .. } if data == b"first"),
        );
        assert_eq!(first.expect("it was queued").0, open, "{peer:?}");
    }
}

#[test]
fn a_page_that_hides_its_address_is_as_fast() {
    for peer in peers() {
        let mut pair = Pair::new(setup(1, peer));
        let hidden = |offer: String| {
            let lines = offer.split_inclusive('\n');
            lines.filter(|line| !line.starts_with("a=candidate")).collect()
        };
        negotiate(&mut pair, hidden, str::to_owned).unwrap();
        drive_until_open(&mut pair);
        assert_eq!(pair.elapsed(), connected(1, peer, ROUND_TRIP).elapsed(), "{peer:?}");
    }
}

/// The role that the answer takes for each that an offer may give: the bot listens wherever it may
/// choose, which is never slower than the other way round.
#[test]
fn every_role_that_an_offer_gives_connects() {
    let roles =
        [("actpass", "passive"), ("active", "passive"), ("passive", "active"), ("", "passive")];
    for peer in peers() {
        for (offered, answered) in roles {
            let call = || {
                let mut pair = Pair::new(setup(1, peer));
                let changed = |offer: String| match offered {
                    "" => offer.replace("a=setup:actpass\r\n", ""),
                    role => offer.replace("a=setup:actpass", &format!("a=setup:{role}")),
                };
                let answer = negotiate(&mut pair, changed, str::to_owned).unwrap();
                assert!(answer.contains(&format!("a=setup:{answered}")), "{offered:?} {answer}");
                drive_until_open(&mut pair);
                let fastest = connected(1, peer, ROUND_TRIP).elapsed();
                assert!(pair.elapsed() >= fastest, "{peer:?}: no other role is faster");
                assert!(offered == "passive" || pair.elapsed() == fastest, "{peer:?} {offered}");
                talk(&mut pair, offered);
                pair.trace
            };
            assert_same(&call(), &call(), offered);
        }
    }
}

/// A ClientHello in two records of its own, as a browser sends it whose keys fill a datagram
/// (RFC 9147 section 5.5); the numbers of what follows stay free.
fn in_two(hello: &[u8]) -> [Vec<u8>; 2] {
    let (record, handshake) = hello.split_at(13);
    assert_eq!((record[0], handshake[0]), (22, 1), "a ClientHello");
    let (head, body) = handshake.split_at(12);
    assert_eq!(head[1..4], head[9..12], "in one piece");
    let cut = body.len() / 2;
    let piece = |sequence: u8, from: usize, to: usize| {
        let bytes = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let mut piece = record[..10].to_vec();
        piece.push(sequence);
        piece.extend(&bytes(12 + to - from)[2..]);
        piece.extend(&head[..6]);
        piece.extend(&bytes(from)[1..]);
        piece.extend(&bytes(to - from)[1..]);
        piece.extend(&body[from..to]);
        piece
    };
    [piece(0, 0, cut), piece(40, cut, body.len())]
}

#[test]
fn a_hello_in_two_pieces_connects_in_either_order() {
    for (dtls, snap) in peers() {
        for is_reversed in [false, true] {
            let mut pair = Pair::new(setup(1, (dtls, snap)));
            pair.negotiate().unwrap();
            let caught = catch(&mut pair, "handshake");
            let hello = drive_until_caught(&mut pair, &caught);
            let mut pieces = in_two(&hello.payload);
            if is_reversed {
                pieces.reverse();
            }
            for piece in pieces {
                pair.inject(Packet { payload: piece.into(), ..hello.clone() });
            }
            drive_until_open(&mut pair);
            let whole = connected(1, (dtls, snap), ROUND_TRIP).elapsed();
            assert_eq!(pair.elapsed(), whole, "{dtls:?} {snap} {is_reversed}");
            talk(&mut pair, "in two pieces");
        }
    }
}

#[test]
fn what_is_switched_off_is_not_answered_and_the_peer_notices_nothing() {
    let opens = |peer, change: fn(Config) -> Config| {
        let mut pair = Pair::new(setup(1, peer).config(change));
        let answer = negotiate(&mut pair, |offer| offer, str::to_owned).unwrap();
        drive_until_open(&mut pair);
        (pair.elapsed(), answer.contains("a=sctp-init"))
    };
    for (dtls, snap) in peers() {
        let slow = connected(1, (dtls, false), ROUND_TRIP).elapsed();
        assert_eq!(opens((dtls, snap), |config| config.snap(false)), (slow, false), "{dtls:?}");
    }
    for snap in [false, true] {
        let slow = connected(1, (Dtls::V12, snap), ROUND_TRIP).elapsed();
        let old = |config: Config| config.dtls(DtlsVersions::V12);
        assert_eq!(opens((Dtls::Auto, snap), old), (slow, snap));
    }
}

#[test]
fn a_peer_of_dtls_1_3_alone_and_a_bot_of_1_2_alone_end_in_time() {
    let setup = setup(1, (Dtls::V13, false));
    let mut pair = Pair::new(setup.config(|config| config.dtls(DtlsVersions::V12)));
    pair.negotiate().unwrap();
    let (at, reason) = pair.drive_until_closed(Duration::from_secs(61));
    assert_eq!(reason, CloseReason::NeverConnected);
    // The peer checks until its own handshake is given up.
    assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(&at), "{at:?}");
}

#[test]
fn a_peer_that_checks_for_a_while_and_vanishes_ends_after_the_time_for_checks() {
    let setup = setup(1, (Dtls::V13, false));
    let mut pair = Pair::new(setup.config(|config| config.dtls(DtlsVersions::V12)));
    pair.negotiate().unwrap();
    pair.drive_for(Duration::from_secs(20));
    pair.browser.vanish();
    let (at, reason) = pair.drive_until_closed(Duration::from_secs(16));
    assert_eq!(reason, CloseReason::NeverConnected);
    assert!(at > Duration::from_secs(25), "counted from the last check: {at:?}");
}

#[test]
fn a_peer_that_offers_to_skip_the_handshake_and_then_shakes_hands_keeps_its_call() {
    let mut pair = Pair::new(setup(1, (Dtls::V12, true)));
    pair.say("for nobody");
    let unheard = |answer: &str| {
        let lines = answer.split_inclusive('\n');
        lines.filter(|line| !line.starts_with("a=sctp-init")).collect()
    };
    negotiate(&mut pair, |offer| offer, unheard).unwrap();
    pair.drive_for(Duration::from_secs(60));
    // It has broken its own offer, so no channel opens; the rest of the call is as ever.
    assert!(!pair.browser.is_open());
    assert_eq!(pair.session.state(), ConnectionState::Connected);
    let sound = |event: &&BrowserEvent| matches!(event, BrowserEvent::Media { .. });
    assert!(pair.browser_events().filter(sound).count() > 2900);
    assert_eq!(pair.session.stats().messages_dropped, 1, "given up after 10 s");
    let now = pair.now();
    pair.session.close(now);
    let (_, reason) = pair.drive_until_closed(Duration::from_secs(3));
    assert_eq!(reason, CloseReason::Application);
}

#[test]
fn an_init_that_was_resent_and_comes_late_does_not_end_the_call() {
    let mut pair = Pair::new(setup(1, (Dtls::V12, false)));
    pair.negotiate().unwrap();
    let caught = catch(&mut pair, "dtls");
    let first = drive_until_caught(&mut pair, &caught);
    // The page has sent its INIT twice, in one datagram of two records.
    let (init, again) = first.payload.split_at(first.payload.len() / 2);
    assert_eq!((init[..3].as_ref(), init.len()), (again[..3].as_ref(), again.len()));
    pair.inject(Packet { payload: init.to_vec().into(), ..first.clone() });
    drive_until_open(&mut pair);
    pair.inject(Packet { payload: again.to_vec().into(), ..first });
    talk(&mut pair, "goes on");
    assert_eq!(pair.session.state(), ConnectionState::Connected);
}

/// Takes the page's first datagram of a kind off the wire.
fn catch(pair: &mut Pair, kind: &'static str) -> Arc<Mutex<Option<Packet>>> {
    let caught: Arc<Mutex<Option<Packet>>> = Arc::default();
    let place = caught.clone();
    pair.up.lose(move |packet| {
        let mut place = place.lock().unwrap();
        let is_first = place.is_none() && kind_of(&packet.payload) == kind;
        if is_first {
            *place = Some(packet.clone());
        }
        is_first
    });
    caught
}

/// Goes on until the time at which what was caught would have arrived.
fn drive_until_caught(pair: &mut Pair, caught: &Mutex<Option<Packet>>) -> Packet {
    pair.drive_until(Duration::from_secs(1), "it is sent", |_| caught.lock().unwrap().is_some());
    pair.drive_for(ROUND_TRIP / 2);
    caught.lock().unwrap().clone().unwrap()
}

/// Loses one datagram of a connect.
fn loses(pair: &mut Pair, number: u32, upwards: bool, counts: fn(&str) -> bool) {
    let mut count = 0;
    let link = if upwards { &mut pair.up } else { &mut pair.down };
    link.lose(move |packet| {
        let counts = counts(&kind_of(&packet.payload));
        count += u32::from(counts);
        counts && count == number + 1
    });
}

#[test]
fn a_channel_opens_with_each_single_datagram_lost() {
    for peer in peers() {
        for number in 0..20 {
            for upwards in [true, false] {
                let mut pair = Pair::new(setup(1, peer).untraced());
                loses(&mut pair, number, upwards, |_| true);
                pair.negotiate().unwrap();
                drive_until_open(&mut pair);
                let lost = if upwards { pair.up.lost() } else { pair.down.lost() };
                let late = pair.elapsed();
                talk(&mut pair, "through");
                assert!(late < Duration::from_secs(8), "{peer:?} {number} {upwards}: {late:?}");
                assert!(lost == 1 || late < ROUND_TRIP * 7, "{peer:?} {number} {upwards}");
            }
        }
    }
}

#[test]
fn what_comes_twice_counts_once() {
    for peer in peers() {
        let link = LinkConfig { duplicate: 1.0, ..LinkConfig::clean() };
        let mut pair = Pair::new(setup(1, peer).links(link));
        pair.connect();
        for number in 0..20 {
            let now = pair.now();
            assert!(pair.browser.send_text(&format!("[{number}]"), now));
            pair.say(&format!("[{number}]"));
            pair.drive_for(Duration::from_millis(7));
        }
        pair.drive_for(Duration::from_secs(5));
        let sent: Vec<String> = (0..20).map(|number| format!("[{number}]")).collect();
        let heard: Vec<&[u8]> =
            pair.messages().into_iter().map(|message| message.as_bytes()).collect();
        assert_eq!(heard, sent.iter().map(String::as_bytes).collect::<Vec<_>>(), "{peer:?}");
        let mut heard = pair.browser_messages();
        heard.retain(|message| message.starts_with('['));
        assert_eq!(heard, sent, "{peer:?}");
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}

fn assert_same(left: &Trace, right: &Trace, what: &str) {
    if let Some(difference) = left.difference(right) {
        panic!("{what}: {difference}");
    }
    assert!(left.lines().len() > 50, "{what}: a trace of something");
}

#[test]
fn a_connect_repeats_with_each_single_flight_lost() {
    run("a_connect_repeats_with_each_single_flight_lost", 2, |seed| {
        for peer in peers() {
            let mut lost = 0;
            for (number, upwards) in (0..12).flat_map(|number| [(number, true), (number, false)]) {
                let losing = || {
                    let mut pair = Pair::new(setup(seed, peer));
                    loses(&mut pair, number, upwards, |kind| kind == "handshake");
                    pair.connect();
                    pair.drive_for(Duration::from_secs(1));
                    lost += pair.up.lost() + pair.down.lost();
                    pair.trace
                };
                let mut losing = losing;
                let (once, again) = (losing(), losing());
                assert_same(&once, &again, &format!("{peer:?} {number} {upwards}"));
            }
            assert!(lost >= 6, "{peer:?}: only {lost} datagrams of two runs were lost");
        }
    });
}

/// A call in which everything is done once: messages, a re-offer, an ICE restart, a goodbye.
fn whole_call(seed: u64, peer: (Dtls, bool), link: LinkConfig) -> Trace {
    let mut pair = Pair::new(setup(seed, peer).links(link));
    pair.connect();
    talk(&mut pair, "connected");
    pair.negotiate().unwrap();
    talk(&mut pair, "offered again");
    pair.restart_from_port(41_000).unwrap();
    pair.drive_for(Duration::from_secs(3));
    talk(&mut pair, "restarted");
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(Duration::from_secs(3));
    pair.trace
}

#[test]
fn a_call_repeats_with_everything_that_a_peer_can_do() {
    run("a_call_repeats_with_everything_that_a_peer_can_do", 2, |seed| {
        for peer in peers() {
            for link in [LinkConfig::clean(), LinkConfig::bad()] {
                let (once, again) = (whole_call(seed, peer, link), whole_call(seed, peer, link));
                assert_same(&once, &again, &format!("{peer:?}"));
            }
        }
    });
}

/// The one thing of an answer that the seed does not decide (`Config::snap`).
#[test]
fn answers_repeat_except_for_the_value_of_sctp_init() {
    for peer in peers() {
        let answer = || {
            let mut pair = Pair::new(setup(7, peer));
            let answer = negotiate(&mut pair, |offer| offer, str::to_owned).unwrap();
            let lines = answer.lines();
            let lines = lines.map(|line| match line.strip_prefix("a=sctp-init:") {
                Some(init) => format!("a=sctp-init of {} bytes", init.len()),
                None => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let once = answer();
        assert_eq!(once, answer());
        assert_eq!(once.contains("a=sctp-init"), peer.1, "{once}");
    }
}

#[test]
fn both_sides_say_goodbye() {
    for peer in peers() {
        let mut pair = connected(1, peer, ROUND_TRIP);
        pair.drive_for(Duration::from_secs(1));
        let now = pair.now();
        pair.browser.hang_up(now);
        let (at, reason) = pair.drive_until_closed(Duration::from_secs(1));
        assert_eq!(reason, CloseReason::HungUp, "{peer:?} {at:?}");

        let mut pair = connected(1, peer, ROUND_TRIP);
        pair.drive_for(Duration::from_secs(1));
        let now = pair.now();
        pair.session.close(now);
        pair.drive_until_closed(Duration::from_secs(3));
        pair.drive_for(Duration::from_secs(1));
        let goodbyes = pair.browser_events().filter(|event| **event == BrowserEvent::HungUp);
        assert_eq!(goodbyes.count(), 1, "{peer:?}");
    }
}

#[test]
fn every_mtu_connects_over_a_path_that_carries_no_more() {
    for peer in peers() {
        for mtu in [576, 577, 620, 800, 1150, 1280, 1500] {
            let link = LinkConfig { mtu, ..LinkConfig::clean() };
            let setup = setup(1, peer).mtu(mtu).links(link);
            let mut pair = Pair::new(setup.browser(|browser| browser.mtu = mtu));
            pair.connect();
            assert!(pair.elapsed() < Duration::from_millis(200), "{peer:?} {mtu}");
            assert_eq!((pair.up.lost(), pair.down.lost()), (0, 0), "{peer:?} {mtu}");
            talk(&mut pair, &"z".repeat(5000));
        }
    }
}
