//! Loads on loopback: what is reported of good bots, bad bots, and no bots.

use std::time::Duration;

use crate::support::loopback;
use async_channel::Receiver;
use smallrtc::{CloseReason, Config};
use smallrtc_server::load::{EarlyEnd, Failure, Load, LoadError, Outcome, Phase, Report};
use smallrtc_server::{Options, Peer, Received, Server, Tls, bots};
use smol::net::TcpListener;

/// Long enough for two marks of the tone, which are 2 s apart.
const TWO_MARKS: Duration = Duration::from_millis(2_500);

const SHORT: Duration = Duration::from_millis(500);

/// A server that runs `bot` in each call. It ends with what is returned.
struct Running {
    url: String,
    /// How calls ended.
    ends: Receiver<Option<CloseReason>>,
    _serving: smol::Task<()>,
}

fn serve<F>(options: Options, bot: fn(Peer) -> F) -> Running
where
    F: Future<Output = Option<CloseReason>> + Send + 'static,
{
    let server = smol::block_on(Server::bind(options)).expect("loopback is free");
    let url = server.url().to_owned();
    let (ended, ends) = async_channel::unbounded();
    let serving = smol::spawn(async move {
        while let Some(peer) = server.accept().await {
            let ended = ended.clone();
            smol::spawn(async move {
                let reason = bot(peer).await;
                // A test that has seen enough does not listen any more.
                let _ = ended.send(reason).await;
            })
            .detach();
        }
    });
    Running { url, ends, _serving: serving }
}

fn run(load: &Load) -> Report {
    load.run().expect("loopback and its options are fine")
}

/// Reads the call and says nothing.
async fn mute(mut peer: Peer) -> Option<CloseReason> {
    loop {
        match peer.recv().await? {
            Received::Closed(reason) => return Some(reason),
            _ => continue,
        }
    }
}

/// Returns as much sound as it hears, and all of it silence.
async fn hush(mut peer: Peer) -> Option<CloseReason> {
    loop {
        match peer.recv().await? {
            Received::Closed(reason) => return Some(reason),
            Received::Audio(mut block) => {
                block.samples.fill(0);
                // The end of the call is told next.
                let _ = peer.send_audio(block.frame()).await;
            }
            _ => {}
        }
    }
}

/// Leaves at the first sound.
async fn leave(mut peer: Peer) -> Option<CloseReason> {
    loop {
        match peer.recv().await? {
            Received::Closed(reason) => return Some(reason),
            Received::Audio(_) => peer.close().await,
            _ => {}
        }
    }
}

#[test]
fn one_call_to_the_echo_bot_is_reported_whole() {
    let server = serve(loopback().config(bots::echo_config(Config::new())), bots::echo);
    let report = run(&Load::new(&server.url).duration(TWO_MARKS).messages(20).expects_echo(true));
    assert!(report.is_success(), "{report}");
    assert_eq!((report.connected(), report.calls.len()), (1, 1));
    let audio = &report.total.audio;
    assert!(audio.sent > 100, "{report}");
    assert!(audio.received > 100 && audio.expected == audio.received + audio.lost, "{report}");
    assert!(audio.lateness.count > 100 && audio.longest_gap.count == 1, "{report}");
    assert!(audio.longest_gap.max >= Duration::from_millis(20), "{report}");
    let messages = &report.total.messages;
    assert!(messages.sent > 20 && messages.returned == messages.sent, "{report}");
    let echo = &report.total.echo;
    assert!(echo.own > echo.silent + echo.other, "{report}");
    assert!((echo.heard_hz.unwrap() - echo.sent_hz.unwrap()).abs() < 10.0, "{report}");
    // The bot holds its first block for 14 ms, and coders take 6.5: less cannot be true.
    assert!(echo.delay.count >= 1 && echo.delay.p50 > Duration::from_millis(19), "{report}");
    let call = &report.calls[0];
    assert!(call.answered <= call.connected && call.connected <= call.open, "{call:?}");
    let reason = server.ends.recv_blocking().unwrap();
    assert_eq!(reason, Some(CloseReason::HungUp), "callers say goodbye");
}

#[test]
fn ten_calls_on_two_threads_get_their_own_packets_back_from_the_pass_bot() {
    let options = loopback().config(bots::pass_config(Config::new()));
    let server = serve(options, bots::pass);
    let load = Load::new(&server.url).calls(10).threads(2).rate(100).listen_every(1);
    let mut phases = Vec::new();
    let report = load.duration(TWO_MARKS).expects_echo(true).run_with(|at| phases.push(at));
    let report = report.expect("loopback and its options are fine");
    assert!(report.is_success(), "{report}");
    assert_eq!(phases, [Phase::Steady, Phase::Ending]);
    assert_eq!(report.total.echo.calls_with_own_tone, 10, "{report}");
    assert!(report.total.audio.lateness.count > 1_000, "{report}");
    // Callers next to each other have other pitches.
    let pitches = report.calls.iter().map(|call| call.figures.echo.heard_hz.unwrap().round());
    let mut pitches: Vec<f32> = pitches.collect();
    pitches.dedup();
    assert_eq!(pitches.len(), 10, "{pitches:?}");
    // No codec and no queue: nothing but the way.
    assert!(report.total.echo.delay.p50 < Duration::from_millis(40), "{report}");
    assert!(report.calls.iter().map(|call| call.number).eq(0..10));
}

#[test]
fn a_bot_that_says_nothing_is_found_out() {
    let server = serve(loopback(), mute);
    let load = Load::new(&server.url).duration(Duration::from_secs(1)).messages(10);
    let report = run(&load);
    assert!(report.is_success(), "nobody asked for an echo: {report}");
    assert_eq!(report.total.echo.calls, 1);
    assert_eq!((report.total.echo.calls_with_own_tone, report.total.echo.own), (0, 0));
    assert_eq!(report.total.messages.returned, 0);
    assert!(report.total.messages.sent > 0);
    let text = report.to_string();
    assert!(text.contains("0 of 1 calls listened to heard their own tone"), "{text}");
    assert!(!run(&load.expects_echo(true)).is_success());
}

#[test]
fn a_bot_that_returns_silence_is_found_out() {
    let server = serve(loopback(), hush);
    let load = Load::new(&server.url).duration(Duration::from_secs(1)).expects_echo(true);
    let report = run(&load);
    assert!(!report.is_success(), "{report}");
    let echo = &report.total.echo;
    assert!(echo.silent > 30 && echo.silent == echo.packets, "{report}");
    assert_eq!((echo.calls_with_own_tone, echo.heard_hz, echo.delay.count), (0, None, 0));
}

#[test]
fn a_server_that_is_full_refuses_and_its_words_are_told() {
    let server = serve(loopback().config(Config::new().max_sessions(1)), bots::echo);
    let report = run(&Load::new(&server.url).calls(3).duration(SHORT));
    assert!(!report.is_success());
    assert_eq!(report.connected(), 1, "{report}");
    let refused = report.calls.iter().filter(|call| {
        matches!(&call.outcome, Outcome::Failed(Failure::Refused { status: 503, detail })
            if !detail.is_empty())
    });
    assert_eq!(refused.count(), 2, "{report}");
    assert_eq!(report.outcomes.values().sum::<usize>(), 3);
}

#[test]
fn a_server_that_is_not_there_fails_every_call_at_once() {
    let address = smol::block_on(async {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap()
    });
    let report = run(&Load::new(format!("http://{address}/")).calls(2));
    assert!(!report.is_success());
    assert_eq!(report.connected(), 0);
    for call in &report.calls {
        let is_told = matches!(&call.outcome, Outcome::Failed(Failure::NoAnswer(_)));
        assert!(is_told, "{:?}", call.outcome);
    }
    assert!(report.steady < Duration::from_secs(5), "nothing is waited for: {report}");
    assert!(report.to_string().contains("nothing measured"));
}

#[test]
fn what_answers_without_sdp_is_no_answer() {
    let server = serve(loopback(), bots::echo);
    let page = format!("{}app.js", server.url);
    let report = run(&Load::new(page));
    let outcome = &report.calls[0].outcome;
    let is_refused = matches!(outcome, Outcome::Failed(Failure::Refused { status: 405, .. }));
    assert!(is_refused, "a path of the URL is taken as it is: {outcome:?}");
}

#[test]
fn a_bot_that_leaves_early_is_told_from_one_that_stays() {
    let server = serve(loopback(), leave);
    let report = run(&Load::new(&server.url).duration(Duration::from_secs(10)));
    assert!(!report.is_success());
    assert_eq!(report.calls[0].outcome, Outcome::EndedEarly(EarlyEnd::BotLeft));
    assert_eq!(report.connected(), 1, "it had come about");
    assert!(report.steady < Duration::from_secs(10), "all calls are over: {report}");
}

#[test]
fn callers_that_leave_without_a_word_are_missed_by_the_server() {
    let brief = Duration::from_secs(1);
    let config = Config::new().liveness_timeout(brief).disconnected_timeout(brief);
    let server = serve(loopback().config(config), bots::echo);
    let report = run(&Load::new(&server.url).calls(2).duration(SHORT).abrupt(true));
    assert!(report.is_success(), "{report}");
    for _ in 0..2 {
        assert_eq!(server.ends.recv_blocking().unwrap(), Some(CloseReason::Lost));
    }
}

#[test]
fn https_is_called_with_whatever_certificate_it_has() {
    let server = serve(loopback().tls(Tls::SelfSigned), bots::echo);
    assert!(server.url.starts_with("https://"));
    let load = Load::new(&server.url).duration(SHORT);
    let Err(LoadError::Option(error)) = load.run() else { panic!("nobody signed it") };
    assert_eq!(error.option(), "insecure");
    let report = run(&load.insecure(true));
    assert!(report.is_success(), "{report}");
}

#[test]
fn without_audio_there_are_messages_only() {
    let server = serve(loopback(), bots::echo);
    let report = run(&Load::new(&server.url).audio(false).messages(10).duration(SHORT));
    assert!(report.is_success(), "{report}");
    assert_eq!((report.total.audio.sent, report.total.audio.received), (0, 0));
    assert!(report.total.messages.returned > 0);
}

#[test]
fn options_out_of_range_are_named() {
    let load = || Load::new("http://127.0.0.1:9");
    for (load, option) in [
        (load().calls(0), "calls"),
        (load().calls(smallrtc_server::load::CALLS_MAX + 1), "calls"),
        (load().rate(0), "rate"),
        (load().threads(0), "threads"),
        (load().listen_every(0), "listen-every"),
        (load().messages(1_001), "messages"),
        (load().duration(Duration::from_secs(24 * 60 * 60 + 1)), "duration"),
        (load().duration(Duration::MAX), "duration"),
        (load().audio(false).expects_echo(true), "expect-echo"),
        (Load::new("nowhere"), "url"),
    ] {
        let Err(LoadError::Option(error)) = load.run() else { panic!("{option} was taken") };
        assert_eq!(error.option(), option);
    }
}
