//! The rules of negotiation where they meet: offers that are refused while something else is on
//! its way, restarts within restarts, and wishes for an offer.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{ConnectionState, Event, NegotiateError, Offer, TrackId};
use smallrtc_sim::{BrowserConfig, BrowserEvent, Kind, Pair, Setup, null_packet};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn everything(browser: &mut BrowserConfig) {
    (browser.camera, browser.screen) = (true, true);
}

/// A video line with the credentials that an offer has in its first section.
fn video_line(offer: &str, mid: &str, direction: &str) -> String {
    let first = offer.split("m=").nth(1).expect("an offer has lines");
    let shared: String = first
        .lines()
        .filter(|line| {
            ["a=ice-", "a=fingerprint", "a=setup"].iter().any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=mid:{mid}\r\n\
         a={direction}\r\na=rtpmap:96 VP8/90000\r\n{shared}"
    )
}

/// The name of an offer's first line.
fn first_mid(offer: &str) -> String {
    let line = offer.lines().find_map(|line| line.strip_prefix("a=mid:"));
    line.expect("lines have names").to_owned()
}

/// The offer with lines added to its end and to its group.
fn with_lines(offer: &str, added: &[(&str, &str)]) -> String {
    let mut sdp = offer.to_owned();
    let group = sdp.lines().find(|line| line.starts_with("a=group:BUNDLE")).map(str::to_owned);
    if let Some(group) = group {
        let mids: String = added.iter().map(|(mid, _)| format!(" {mid}")).collect();
        sdp = sdp.replace(&group, &format!("{group}{mids}"));
    }
    for (mid, direction) in added {
        sdp.push_str(&video_line(offer, mid, direction));
    }
    sdp
}

fn media(pair: &Pair) -> usize {
    let media = |event: &&BrowserEvent| matches!(event, BrowserEvent::Media { line: 0, .. });
    pair.browser_events().filter(media).count()
}

/// The call goes on as if nothing had been asked: sound both ways, messages, and no event.
fn assert_untouched(pair: &mut Pair, name: &str) {
    pair.drive_for(seconds(1));
    pair.forget();
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair.say("[1]");
    let (mut samples, mut read) = ([0; 4_800], 0);
    for _ in 0..50 {
        pair.drive_for(Duration::from_millis(100));
        while let Some(info) = pair.session.recv_audio(TrackId(0), &mut samples) {
            read += info.samples;
        }
    }
    pair.browser.hush();
    assert_eq!(pair.session.state(), ConnectionState::Connected, "{name}");
    assert!((248..=252).contains(&media(pair)), "{name}: {}", media(pair));
    assert!(pair.browser_messages().contains(&"[1]".to_owned()), "{name}");
    assert!(read > 16_000 * 48 / 10, "{name}: {read} samples in 5 s");
    let changes = pair
        .events()
        .filter(|event| matches!(event, Event::StateChanged(_) | Event::TrackEnded(_)));
    assert_eq!(changes.count(), 0, "{name}");
}

#[test]
fn a_reoffer_that_cannot_be_answered_leaves_the_call_whatever_is_wrong_with_it() {
    type Break = fn(&str) -> String;
    let breaks: [(&str, Break); 6] = [
        ("no lines", |_| "v=0\r\n".to_owned()),
        ("twenty lines", |offer| {
            let mids: Vec<String> = (4..20).map(|mid| format!("m{mid}")).collect();
            let added: Vec<_> = mids.iter().map(|mid| (mid.as_str(), "sendonly")).collect();
            with_lines(offer, &added)
        }),
        ("a name that stands twice", |offer| with_lines(offer, &[(&first_mid(offer), "sendonly")])),
        ("another name", |offer| {
            let mid = first_mid(offer);
            let line = format!("a=mid:{mid}\r\n");
            offer.replace(&line, "a=mid:9\r\n").replace(&format!("BUNDLE {mid}"), "BUNDLE 9")
        }),
        ("another order", |offer| {
            let (head, rest) = offer.split_once("m=audio").unwrap();
            let (audio, rest) = rest.split_once("m=video").unwrap();
            format!("{head}m=video{rest}m=audio{audio}")
        }),
        ("no password", |offer| offer.replace("a=ice-pwd:", "a=ice-pwd:short\r\na=x-")),
    ];
    for kind in Kind::ALL {
        for (name, change) in breaks {
            for restarts in [false, true] {
                let mut pair = Pair::new(Setup::new(kind, 1).browser(everything));
                pair.connect();
                pair.drive_for(seconds(1));
                let now = pair.now();
                let mut offer = pair.browser.offer(now);
                if restarts {
                    offer = offer.replace("a=ice-ufrag:", "a=ice-ufrag:anew");
                }
                let broken = change(&offer);
                let refused = Offer::parse(&broken)
                    .and_then(|offer| pair.session.accept_offer(&offer, now).map(|_| ()));
                assert!(refused.is_err(), "{kind:?}: {name}");
                assert_untouched(&mut pair, name);
            }
        }
    }
}

#[test]
fn a_refused_offer_while_a_restart_looks_for_its_path_does_not_stop_it() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).browser(everything));
        pair.connect();
        pair.drive_for(seconds(2));
        pair.restart_from_port(41_000).unwrap();
        pair.drive_for(Duration::from_millis(5));
        let now = pair.now();
        let offer = pair.browser.offer(now);
        let broken = with_lines(&offer, &[(&first_mid(&offer), "sendonly")]);
        assert!(Offer::parse(&broken).is_err());
        let other = offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
        let refused = Offer::parse(&other).map(|offer| pair.session.accept_offer(&offer, now));
        assert!(matches!(refused, Ok(Err(NegotiateError::Incompatible { .. }))), "{refused:?}");
        assert_untouched(&mut pair, "restarted");
    }
}

#[test]
fn offers_of_every_kind_in_every_order_within_a_few_milliseconds_leave_a_call_that_works() {
    for kind in Kind::ALL {
        for order in 0..27_u16 {
            let mut pair = Pair::new(Setup::new(kind, u64::from(order)));
            pair.connect();
            pair.drive_for(seconds(2));
            let mut acts = order;
            for turn in 0..3 {
                match acts % 3 {
                    0 => pair.negotiate().unwrap(),
                    1 => pair.restart_from_port(41_000 + order * 4 + turn).unwrap(),
                    _ => {
                        let now = pair.now();
                        pair.session.request_renegotiation(now);
                    }
                }
                acts /= 3;
                pair.drive_for(Duration::from_millis(7));
            }
            pair.drive_for(seconds(2));
            assert_untouched(&mut pair, &format!("{kind:?} {order}"));
        }
    }
}

/// A restart whose answer never reached the page: it asks again, with credentials of its own.
#[test]
fn a_restart_whose_answer_was_lost_is_asked_for_again_and_the_call_goes_on() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(seconds(2));
        let now = pair.now();
        let offer = pair.browser.offer(now);
        let lost = offer.replace("a=ice-ufrag:", "a=ice-ufrag:lost");
        let _lost = pair.session.accept_offer(&Offer::parse(&lost).unwrap(), now).unwrap();
        pair.flush();
        pair.drive_for(seconds(4));
        pair.restart_from_port(41_000).unwrap();
        pair.drive_for(seconds(2));
        assert_untouched(&mut pair, "asked again");
    }
}

#[test]
fn a_screen_that_is_added_later_is_the_screen_and_nothing_else_changes() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).browser(|browser| browser.camera = true);
        let mut pair = Pair::new(setup);
        pair.connect();
        pair.drive_for(seconds(1));
        pair.forget();
        let now = pair.now();
        let before = pair.browser.offer(now);
        let offer = with_lines(&before, &[("9", "sendonly")]);
        let answer = pair.session.accept_offer(&Offer::parse(&offer).unwrap(), now).unwrap();
        pair.flush();
        let sources: Vec<_> =
            pair.session.tracks().iter().map(|track| (track.id.0, track.source.name())).collect();
        assert_eq!(sources, [(0, "microphone"), (1, "camera"), (3, "screenVideo")], "{kind:?}");
        let started: Vec<_> = pair
            .events()
            .filter_map(|event| match event {
                Event::TrackStarted(track) => Some(track.source.name()),
                _ => None,
            })
            .collect();
        assert_eq!(started, ["screenVideo"], "{kind:?}");
        let mids = |sdp: &str| -> Vec<String> {
            sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(str::to_owned).collect()
        };
        let expected: Vec<_> = mids(&before).into_iter().chain(["9".to_owned()]).collect();
        assert_eq!(mids(answer.sdp()), expected, "{kind:?}");
        assert_eq!(answer.sdp().matches("a=recvonly").count(), 1, "{kind:?}");
        assert_untouched(&mut pair, "a screen was added");
    }
}

#[test]
fn a_channel_that_a_later_offer_brings_is_waited_for_and_used() {
    // On the scripted wire a channel needs no line of its own.
    let setup = Setup::new(Kind::Scripted, 1).browser(|browser| browser.channel = None);
    let mut pair = Pair::new(setup);
    pair.connect();
    pair.drive_for(seconds(30));
    assert!(pair.send_message(smallrtc::Message::text("early")).is_err());
    pair.negotiate().unwrap();
    let now = pair.now();
    pair.browser.open_channel("late", now);
    pair.drive_for(seconds(1));
    pair.say("[1]");
    pair.drive_for(seconds(1));
    assert_eq!(pair.browser_messages(), ["[1]"]);
}

/// The wish waits behind the channel; the offer that came meanwhile has fulfilled it.
#[test]
fn a_wish_that_an_offer_has_fulfilled_before_it_was_said_is_not_said() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    pair.negotiate().unwrap();
    let now = pair.now();
    pair.session.request_renegotiation(now);
    pair.negotiate().unwrap();
    pair.drive_for(seconds(3));
    let wishes = pair.browser_messages().iter().filter(|text| text.contains("renegotiate")).count();
    assert_eq!(wishes, 0);
    let now = pair.now();
    pair.session.request_renegotiation(now);
    pair.drive_for(seconds(1));
    let wishes = pair.browser_messages().iter().filter(|text| text.contains("renegotiate")).count();
    assert_eq!(wishes, 1);
}

/// The answer turns round what is offered, on every line: two lines that are offered both ways are
/// never answered `recvonly`, with nothing to send, and the screen is.
#[test]
fn microphone_and_camera_are_never_answered_recvonly_before_anything_is_sent() {
    for (offered, answered) in
        [("sendrecv", "sendrecv"), ("sendonly", "recvonly"), ("recvonly", "sendonly")]
    {
        let setup = Setup::new(Kind::Real, 1).browser(|browser| {
            (browser.camera, browser.channel) = (true, None);
        });
        let mut pair = Pair::new(setup);
        let now = pair.now();
        let offer = with_lines(&pair.browser.offer(now), &[("2", offered)]);
        let answer = pair.session.accept_offer(&Offer::parse(&offer).unwrap(), now).unwrap();
        let directions: Vec<&str> = answer
            .sdp()
            .lines()
            .filter_map(|line| line.strip_prefix("a="))
            .filter(|line| ["sendrecv", "recvonly", "sendonly", "inactive"].contains(line))
            .collect();
        assert_eq!(directions, ["sendrecv", "sendrecv", answered], "{offered}");
    }
}

/// What pipecat-esp32 offers, over libpeer (`sdp.c`, `peer_connection.c`): credentials, certificate
/// and role before the first line, the profile without feedback, names that are words, and its
/// addresses behind the last line.
const DEVICE: &str = "v=0\r\no=- 1495799811084970 1495799811084970 IN IP4 0.0.0.0\r\ns=-\r\n\
    t=0 0\r\na=msid-semantic: iot\r\na=group:BUNDLE audio datachannel\r\n\
    a=ice-ufrag:QzLm\r\na=ice-pwd:HsVbTnQeRkWpXyCdFgJaMuZo\r\n\
    a=fingerprint:sha-256 \
    00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\
    \r\na=setup:passive\r\n\
    m=audio 9 UDP/TLS/RTP/SAVP 111\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\n\
    a=ssrc:6 cname:webrtc-opus\r\na=sendrecv\r\na=mid:audio\r\na=rtcp-mux\r\n\
    m=application 50712 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=mid:datachannel\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n\
    a=candidate:1 1 UDP 2122317823 198.51.100.9 40001 typ host\r\n";

/// The stream of the first line.
fn first_ssrc(sdp: &str) -> Option<&str> {
    let ssrc = sdp.lines().find_map(|line| line.strip_prefix("a=ssrc:"));
    Some(ssrc.expect("a line that sends names its stream").split(' ').next().expect("a number"))
}

#[test]
fn the_offer_of_an_esp32_is_answered_as_its_small_reader_needs_it() {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1));
    let now = pair.now();
    let answer = pair.session.accept_offer(&Offer::parse(DEVICE).unwrap(), now).unwrap();
    let sdp = answer.sdp();
    let lines = |prefix: &str| -> Vec<&str> {
        sdp.lines().filter_map(|line| line.strip_prefix(prefix)).collect()
    };
    let media = lines("m=");
    assert!(media[0].starts_with("audio ") && media[0].ends_with(" UDP/TLS/RTP/SAVP 111"), "{sdp}");
    assert!(media[1].starts_with("application "), "{sdp}");
    assert_eq!(lines("a=mid:"), ["audio", "datachannel"]);
    assert_eq!(lines("a=group:"), ["BUNDLE audio datachannel"]);
    assert!(lines("a=setup:").iter().all(|role| *role == "active"), "{sdp}");
    assert!(sdp.contains("\r\na=sendrecv\r\n"), "{sdp}");
    assert_eq!(lines("a=candidate:").len(), 1, "once");
    // What it hears is of the stream that the answer names, and of no other.
    assert!(lines("a=ssrc:").iter().all(|ssrc| ssrc.split(' ').next() == first_ssrc(sdp)), "{sdp}");
    // It copies each line into 256 bytes, the whole answer into 4096.
    assert!(sdp.lines().all(|line| line.len() < 256) && sdp.len() < 3_000, "{}", sdp.len());
}

#[test]
fn a_call_whose_lines_have_the_profile_of_small_devices_connects_and_goes_on() {
    for profile in ["UDP/TLS/RTP/SAVP", "RTP/SAVPF", "RTP/SAVP"] {
        let setup = Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true);
        let mut pair = Pair::new(setup);
        for turn in 0..2 {
            let now = pair.now();
            let offer = pair.browser.offer(now);
            let other = offer.replace("UDP/TLS/RTP/SAVPF", profile);
            assert_ne!(offer, other);
            let answer = pair.session.accept_offer(&Offer::parse(&other).unwrap(), now).unwrap();
            pair.flush();
            let words = |line: &str| line.split(' ').nth(2).map(str::to_owned);
            let profiles: Vec<_> = answer
                .sdp()
                .lines()
                .filter(|line| line.starts_with("m="))
                .filter_map(words)
                .collect();
            assert_eq!(profiles, [profile, profile, "UDP/DTLS/SCTP"]);
            let answer = answer.sdp().replace(&format!(" {profile} "), " UDP/TLS/RTP/SAVPF ");
            pair.browser.accept_answer(&answer, now);
            pair.drive_until(seconds(5), "the channel is open", |pair| pair.browser.is_open());
            assert_untouched(&mut pair, &format!("{profile}, offer {turn}"));
        }
    }
}
