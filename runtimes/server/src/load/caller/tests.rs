//! A caller and a plain engine as its bot, on virtual time.

use str0m::RtcConfig;
use str0m::change::SdpOffer;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The two, and what is between them. Everything arrives at once.
struct Pair {
    caller: Caller,
    bot: Rtc,
    bot_at: Instant,
    /// While false nothing of the bot arrives.
    is_reachable: bool,
    now: Now,
    begun: Instant,
    heard: u64,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Pair {
    fn new() -> Pair {
        let instant = Instant::now();
        let now = Now { instant, stamp: Duration::from_secs(1_000) };
        let tone = Tone::all().unwrap().remove(0);
        let script = Script { tone: Some(tone), listens: false, messages: None };
        let caller = Caller::new(&Engines::new(), script, address(1), instant).unwrap();
        let config = RtcConfig::new().clear_codecs().enable_opus(true, false).set_rtp_mode(true);
        let mut bot = config.build(instant);
        bot.add_local_candidate(Candidate::host(address(2), "udp").unwrap());
        Pair { caller, bot, bot_at: instant, is_reachable: true, now, begun: instant, heard: 0 }
    }

    /// One that has called and was answered.
    fn answered(is_reachable: bool) -> Pair {
        let mut pair = Pair::new();
        pair.is_reachable = is_reachable;
        let mut out = Outbox::new();
        let offer = pair.caller.offer(pair.now.instant, &mut out).unwrap();
        let offer = SdpOffer::from_sdp_string(&offer).unwrap();
        let answer = pair.bot.sdp_api().accept_offer(offer).unwrap().to_sdp_string();
        pair.caller.take_answer(Ok(answer), pair.now.instant, &mut out);
        pair.carry(out);
        pair
    }

    fn open() -> Pair {
        let mut pair = Pair::answered(true);
        while pair.caller.stage != Stage::Open {
            assert!(pair.now.instant < pair.begun + CONNECT_TIME_MAX, "it does not open");
            pair.go_on(MS);
        }
        pair
    }

    /// Lets time pass in steps, each of which both sides see.
    fn go_on(&mut self, time: Duration) {
        let until = self.now.instant + time;
        while self.now.instant < until {
            self.pass(MS.min(until - self.now.instant));
        }
    }

    /// Lets time pass that nobody sees until it is over.
    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.stamp += time;
        let mut out = Outbox::new();
        for _ in 0..100 {
            if self.caller.poll_timeout().is_some_and(|at| at <= self.now.instant) {
                self.caller.handle_timeout(self.now, &mut out);
            }
        }
        self.carry(out);
    }

    fn carry(&mut self, mut out: Outbox) {
        for _ in 0..100 {
            if self.bot_at <= self.now.instant {
                self.bot.handle_input(Input::Timeout(self.now.instant)).unwrap();
            }
            for transmit in std::mem::take(&mut out) {
                self.heard += u64::from(Header::read(&transmit.contents).is_some());
                let contents = DatagramRecv::try_from(&transmit.contents[..]).unwrap();
                let (source, destination) = (address(1), address(2));
                let receive = Receive { proto: Protocol::Udp, source, destination, contents };
                self.bot.handle_input(Input::Receive(self.now.instant, receive)).unwrap();
                self.drain(&mut out);
            }
            self.drain(&mut out);
            if out.is_empty() {
                return;
            }
        }
    }

    fn drain(&mut self, out: &mut Outbox) {
        while self.bot.is_alive() {
            match self.bot.poll_output().unwrap() {
                Output::Timeout(at) => return self.bot_at = at,
                Output::Transmit(transmit) if self.is_reachable => {
                    let (stamp, source) = (self.now.stamp, address(2));
                    self.caller.receive(source, &transmit.contents, stamp, self.now, out);
                }
                _ => {}
            }
        }
    }

    fn leave(&mut self, abrupt: bool) {
        let mut out = Outbox::new();
        self.caller.leave(abrupt, self.now, &mut out);
        self.carry(out);
    }
}

#[test]
fn an_offer_is_answered_within_the_limit_or_the_call_fails() {
    let mut pair = Pair::new();
    pair.caller.offer(pair.now.instant, &mut Outbox::new()).unwrap();
    pair.pass(CONNECT_TIME_MAX - MS);
    assert!(!pair.caller.is_settled());
    pair.pass(MS);
    assert!(pair.caller.has_ended());
    assert!(matches!(pair.caller.outcome, Some(Outcome::Failed(Failure::NoAnswer(_)))));
}

#[test]
fn a_bot_that_answers_and_is_not_there_fails_the_call_in_time() {
    let mut pair = Pair::answered(false);
    pair.go_on(CONNECT_TIME_MAX - MS);
    assert!(!pair.caller.is_settled());
    pair.go_on(MS);
    assert_eq!(pair.caller.outcome, Some(Outcome::Failed(Failure::NotConnected)));
}

#[test]
fn an_answer_that_is_none_fails_the_call() {
    for sdp in ["", "v=0\r\n", "nonsense"] {
        let mut pair = Pair::new();
        let mut out = Outbox::new();
        pair.caller.offer(pair.now.instant, &mut out).unwrap();
        pair.caller.take_answer(Ok(sdp.to_owned()), pair.now.instant, &mut out);
        let outcome = &pair.caller.outcome;
        assert!(matches!(outcome, Some(Outcome::Failed(Failure::BadAnswer(_)))), "{outcome:?}");
    }
}

#[test]
fn an_open_call_speaks_every_20_ms() {
    let mut pair = Pair::open();
    // The first packet is due at once, the others are between two steps of the clock.
    pair.go_on(PACKET_TIME / 2);
    let before = (pair.caller.sent, pair.heard);
    pair.go_on(Duration::from_secs(2));
    assert_eq!(pair.caller.sent - before.0, 100);
    assert!(pair.heard - before.1 >= 100, "and so it is heard");
    assert_eq!(pair.caller.slips, 0);
}

#[test]
fn after_a_stall_within_the_limit_sound_catches_up_and_after_a_longer_one_it_slips() {
    let mut pair = Pair::open();
    pair.go_on(PACKET_TIME);
    let due = pair.caller.audio_at.unwrap();
    let stall = due + STALL_MAX - pair.now.instant;
    let sent = pair.caller.sent;
    pair.pass(stall);
    assert_eq!((pair.caller.sent - sent, pair.caller.slips), (6, 0));

    let due = pair.caller.audio_at.unwrap();
    let stall = due + STALL_MAX + MS - pair.now.instant;
    let (sent, said) = (pair.caller.sent, pair.caller.said);
    pair.pass(stall);
    assert_eq!((pair.caller.sent - sent, pair.caller.slips), (1, 1));
    assert_eq!(pair.caller.said - said, 6, "media time goes on with the clock");
}

#[test]
fn a_bot_is_silent_when_its_last_datagram_is_as_old_as_the_limit() {
    for (silence, outcome) in [
        (SILENCE_MAX - MS, Outcome::Completed),
        (SILENCE_MAX, Outcome::EndedEarly(EarlyEnd::WentSilent)),
    ] {
        let mut pair = Pair::open();
        pair.go_on(Duration::from_secs(1));
        let since = pair.caller.last_heard.unwrap();
        pair.is_reachable = false;
        pair.go_on(since + silence - pair.now.instant);
        pair.leave(false);
        assert_eq!(pair.caller.outcome, Some(outcome));
    }
}

#[test]
fn an_open_call_that_goes_on_never_looks_silent() {
    let mut pair = Pair::open();
    for _ in 0..30 {
        pair.go_on(Duration::from_secs(1));
        let age = pair.now.instant - pair.caller.last_heard.unwrap();
        assert!(age < SILENCE_MAX, "{age:?}");
    }
    assert_eq!(pair.caller.stage, Stage::Open);
}

#[test]
fn leaving_is_told_to_the_bot_and_over_within_the_limit() {
    let mut pair = Pair::open();
    pair.leave(false);
    pair.go_on(LEAVE_TIME_MAX);
    assert!(pair.caller.has_ended());
    assert_eq!(pair.caller.outcome, Some(Outcome::Completed));
    assert!(!pair.bot.is_alive(), "the bot was told");
}

#[test]
fn leaving_abruptly_says_nothing() {
    let mut pair = Pair::open();
    pair.leave(true);
    assert!(pair.caller.has_ended());
    assert_eq!(pair.caller.outcome, Some(Outcome::Completed));
    pair.go_on(LEAVE_TIME_MAX);
    assert!(pair.bot.is_alive(), "nobody told it");
}

#[test]
fn a_bot_that_closes_ends_the_call_early() {
    let mut pair = Pair::open();
    pair.bot.close().unwrap();
    pair.carry(Outbox::new());
    pair.go_on(Duration::from_secs(1));
    let ends = [EarlyEnd::Closed, EarlyEnd::BotLeft].map(Outcome::EndedEarly);
    assert!(ends.contains(pair.caller.outcome.as_ref().unwrap()), "{:?}", pair.caller.outcome);
}

#[test]
fn only_the_protocols_goodbye_is_one() {
    assert!(is_goodbye(br#"{"type":"signalling","message":{"type":"peerLeft"}}"#));
    for other in [
        &br#"{"type":"signalling","message":{"type":"renegotiate"}}"#[..],
        br#"{"type":"text","message":"peerLeft"}"#,
        b"",
    ] {
        assert!(!is_goodbye(other));
    }
}
