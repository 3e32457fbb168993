//! Offers, re-offers, restarts and refusals.

use std::time::Duration;

use super::pair::{BOT, BROWSER, Pair, address, audio, bot, credentials, epoch, video};
use crate::transport::real::negotiate::OFFERS_MAX;
use crate::transport::{NegotiatedLine, Transport, TransportEvent};
use crate::{
    Certificate, Codec, Config, LocalCandidate, MediaKind, NegotiateError, Offer, TransportId,
};

/// The offer of a small device: one audio line, nothing said that may be left out.
const ESP32: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=setup:actpass\r\n\
    a=fingerprint:sha-256 \
    00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\
    \r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    a=candidate:1 1 udp 2130706431 198.51.100.7 50000 typ host\r\n";

fn lines_with<'a>(sdp: &'a str, prefix: &str) -> Vec<&'a str> {
    sdp.lines().filter(|line| line.starts_with(prefix)).collect()
}

#[test]
fn a_call_connects_and_the_answer_is_in_the_order_of_the_offer() {
    let mut pair = Pair::new(&Config::new(), 1);
    let (offer, pending) = pair.browser.offer(|api| {
        api.add_channel("data".to_owned());
        audio(api);
        video(api);
    });
    let negotiated = pair.offered(&offer).unwrap();
    let answer = negotiated.answer.sdp();
    let kinds = |sdp: &str| -> Vec<String> {
        let lines = lines_with(sdp, "m=").into_iter();
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(answer), kinds(&offer));
    assert_eq!(lines_with(answer, "a=mid:"), lines_with(&offer, "a=mid:"));
    let media = |kind, codec| {
        let copies = false;
        NegotiatedLine::Media { kind, receives: true, sends: true, codec, copies }
    };
    let mut lines = negotiated.lines.clone();
    lines.sort_by_key(|line| format!("{line:?}"));
    assert_eq!(
        lines,
        [
            NegotiatedLine::Channels,
            media(MediaKind::Audio, Codec::Opus),
            media(MediaKind::Video, Codec::Vp8),
        ]
    );
    assert_eq!(negotiated.credentials, credentials(0));
    pair.browser.accept(pending, &negotiated);
    pair.browser_do(|_| ());
    pair.run_for(Duration::from_secs(1));
    let order: Vec<_> = pair
        .events
        .iter()
        .filter(|event| matches!(event, TransportEvent::IceConnected | TransportEvent::Connected))
        .collect();
    assert_eq!(order, [&TransportEvent::IceConnected, &TransportEvent::Connected]);
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::ChannelOpen(..))), 1);
}

#[test]
fn the_answer_to_a_small_device_is_small_and_complete() {
    let now = epoch();
    let mut bot = bot(&Config::new(), 1);
    for port in 0..8 {
        let address = format!("192.0.2.{port}:{}", 40_000 + port).parse().unwrap();
        bot.add_local_candidate(LocalCandidate::host(TransportId(port), address), now);
    }
    let negotiated = bot.accept_offer(&Offer::parse(ESP32).unwrap(), credentials(1), now).unwrap();
    let answer = negotiated.answer.sdp();
    assert!(answer.len() < 4096, "{} bytes", answer.len());
    assert_eq!(lines_with(answer, "a=fingerprint:").len(), 1);
    assert_eq!(lines_with(answer, "a=candidate:").len(), 8);
    assert_eq!(lines_with(answer, "a=end-of-candidates").len(), 1);
    assert_eq!(
        lines_with(answer, "a=ice-ufrag:"),
        [format!("a=ice-ufrag:{}", credentials(0).ufrag)]
    );
    assert_eq!(lines_with(answer, "a=group:"), ["a=group:BUNDLE 0"]);
    assert!(!answer.contains("transport-cc") && !answer.contains("transport-wide-cc"), "{answer}");
    for candidate in lines_with(answer, "a=candidate:") {
        assert!(candidate.ends_with(&format!(" ufrag {}", credentials(0).ufrag)), "{candidate}");
        assert_eq!(candidate.matches(" ufrag ").count(), 1);
    }
}

/// libpeer has room for ten, and writes an eleventh over what comes behind them.
#[test]
fn a_small_device_is_told_ten_addresses_at_most_and_those_that_it_can_use_first() {
    let answer = |offer: &str, count: u16| {
        let mut bot = bot(&Config::new(), 1);
        for number in 0..count {
            // IPv6 between IPv4, and the first is a mapping.
            let base = match number % 2 {
                0 => format!("192.0.2.{number}:40000"),
                _ => format!("[2001:db8::{number}]:40000"),
            };
            let (id, base) = (TransportId(number.into()), base.parse().unwrap());
            bot.add_local_candidate(
                match number {
                    0 => LocalCandidate::mapped(id, "203.0.113.1:40000".parse().unwrap(), base),
                    _ => LocalCandidate::host(id, base),
                },
                epoch(),
            );
        }
        let answer = bot.accept_offer(&Offer::parse(offer).unwrap(), credentials(1), epoch());
        let answer = answer.unwrap().answer.sdp().to_owned();
        let lines = lines_with(&answer, "a=candidate:");
        let address = |line: &&str| line.split(' ').nth(4).unwrap().to_owned();
        lines.iter().map(address).collect::<Vec<_>>()
    };
    let libpeer = ESP32.replace("t=0 0\r\n", "t=0 0\r\na=msid-semantic: iot\r\n");
    for (count, told) in [(9, 9), (10, 10), (11, 10), (16, 10)] {
        assert_eq!(answer(&libpeer, count).len(), told, "{count}");
        assert_eq!(answer(ESP32, count).len(), usize::from(count), "others are told all");
    }
    let even = (2..16).step_by(2).map(|number| format!("192.0.2.{number}"));
    let mut expected: Vec<String> = std::iter::once("203.0.113.1".to_owned()).chain(even).collect();
    expected.extend(["2001:db8::1".to_owned(), "2001:db8::3".to_owned()]);
    assert_eq!(answer(&libpeer, 16), expected);
}

#[test]
fn sound_and_pictures_are_answered_under_whichever_protocol_they_were_offered() {
    let own = "UDP/TLS/RTP/SAVPF";
    let video = ESP32.replace("audio", "video").replace("111 opus/48000/2", "111 VP8/90000");
    for protocol in [
        own,
        "UDP/TLS/RTP/SAVP",
        "TCP/TLS/RTP/SAVPF",
        "TCP/TLS/RTP/SAVP",
        "RTP/SAVPF",
        "RTP/SAVP",
        "RTP/AVPF",
        "RTP/AVP",
    ] {
        for (kind, sdp) in [("audio", ESP32), ("video", &video)] {
            let offer = Offer::parse(&sdp.replace(own, protocol)).unwrap();
            let mut bot = bot(&Config::new(), 1);
            let local = LocalCandidate::host(TransportId(3), address(BOT));
            bot.add_local_candidate(local, epoch());
            let negotiated = bot.accept_offer(&offer, credentials(1), epoch()).unwrap();
            let answer = negotiated.answer.sdp();
            let line = format!("m={kind} 9 {protocol} 111");
            assert_eq!(lines_with(answer, "m="), [line], "{answer}");
            // And again, as a later offer is tried on a shadow first.
            assert!(bot.accept_offer(&offer, credentials(2), epoch()).is_ok(), "{protocol}");
        }
    }
}

#[test]
fn congestion_feedback_is_for_video_only() {
    let mut pair = Pair::new(&Config::new(), 1);
    let negotiated = pair.negotiate(|api| {
        audio(api);
        video(api);
    });
    let (audio, video) = negotiated.answer.sdp().split_once("m=video").unwrap();
    assert!(!audio.contains("transport-wide-cc") && !audio.contains("transport-cc"), "{audio}");
    assert!(video.contains("transport-wide-cc") && video.contains("transport-cc"), "{video}");
}

#[test]
fn a_mapped_address_is_told_to_the_peer_and_its_base_is_used() {
    let mut pair = Pair::new(&Config::new(), 1);
    let (offer, pending) = pair.browser.offer(|api| {
        audio(api);
    });
    let mut mapped = bot(&Config::new(), 1);
    let outside = address("203.0.113.9:3478");
    let local = LocalCandidate::mapped(TransportId(3), outside, address(BOT));
    mapped.add_local_candidate(local, pair.now);
    pair.bot = mapped;
    let negotiated = pair.offered(&offer).unwrap();
    let candidates = lines_with(negotiated.answer.sdp(), "a=candidate:");
    assert!(matches!(candidates[..], [only] if only.contains(" 203.0.113.9 3478 typ srflx ")));
    // The browser here reaches the base: a NAT would have rewritten the destination.
    pair.browser.accept(pending, &negotiated);
    pair.browser_do(|_| ());
    pair.run_for(Duration::from_secs(2));
    assert!(pair.events.contains(&TransportEvent::Connected), "{:?}", pair.events);
    assert!(pair.sent.iter().all(|packet| packet.source == address(BOT)));
}

#[test]
fn a_restart_from_a_new_port_keeps_the_call_and_brings_fresh_credentials() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..10);
    pair.browser.address = address("198.51.100.7:61000");
    let new = str0m::Candidate::host(pair.browser.address, "udp").unwrap();
    let old = str0m::Candidate::host(address(BROWSER), "udp").unwrap();
    pair.browser_do(|rtc| {
        rtc.direct_api().invalidate_candidate(&old);
        rtc.add_local_candidate(new);
    });
    let (offer, pending) = pair.browser.offer(|api| {
        api.ice_restart(true);
    });
    let negotiated = pair.offered(&offer).unwrap();
    let fresh = credentials(2);
    assert_eq!(negotiated.credentials, fresh);
    let answer = negotiated.answer.sdp();
    assert!(!answer.contains(&credentials(0).ufrag) && !answer.contains(&credentials(0).pwd));
    for line in lines_with(answer, "a=ice-ufrag:") {
        assert_eq!(line, format!("a=ice-ufrag:{}", fresh.ufrag));
    }
    for line in lines_with(answer, "a=ice-pwd:") {
        assert_eq!(line, format!("a=ice-pwd:{}", fresh.pwd));
    }
    assert!(lines_with(answer, "a=candidate:")[0].ends_with(&format!("ufrag {}", fresh.ufrag)));
    pair.browser.accept(pending, &negotiated);
    pair.browser_do(|_| ());
    pair.run_for(Duration::from_secs(2));
    let before = pair.browser.media().len();
    pair.bot_speaks(150..160);
    assert_eq!(pair.browser.media().len(), before + 10);
    assert_eq!(pair.sent.last().unwrap().destination, pair.browser.address);
    assert_eq!(pair.count(|event| *event == TransportEvent::Connected), 1, "one handshake");
    // The next offer is none: the credentials stay.
    let negotiated = pair.negotiate(|api| {
        video(api);
    });
    assert_eq!(negotiated.credentials, fresh);
    assert!(negotiated.answer.sdp().contains(&fresh.ufrag));
}

#[test]
fn a_later_offer_adds_video_while_the_audio_goes_on() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..5);
    let negotiated = pair.negotiate(|api| {
        video(api);
    });
    assert_eq!(negotiated.lines.len(), 3);
    assert!(matches!(
        negotiated.lines[2],
        NegotiatedLine::Media { kind: MediaKind::Video, codec: Codec::Vp8, .. }
    ));
    let (_, video) = negotiated.answer.sdp().split_once("m=video").unwrap();
    assert!(video.contains("transport-wide-cc"), "{video}");
    pair.bot_speaks(5..10);
    let heard = pair.browser.media();
    assert_eq!(heard.len(), 10);
    assert_eq!(heard[9].0 - heard[0].0, 9 * 960, "the stream's time does not jump");
}

#[test]
fn a_later_offer_that_fails_leaves_the_call_as_it_was() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..5);
    let (offer, _) = pair.browser.offer(|api| {
        video(api);
    });
    let broken = [
        // Another ufrag asks for a restart, and then the text makes no sense.
        offer.replacen("a=ice-ufrag:", "a=ice-ufrag:XX", 3).replace("BUNDLE", "BUNDLE nobody"),
        offer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:"),
        offer.replace("m=audio", "m=video"),
        offer.split_inclusive("m=").take(2).collect::<String>().trim_end_matches("m=").to_owned(),
    ];
    for (index, sdp) in broken.iter().enumerate() {
        let refused = pair.offered(sdp);
        assert!(
            matches!(
                refused,
                Err(NegotiateError::Incompatible { .. } | NegotiateError::InvalidSdp { .. })
            ),
            "{index}: {refused:?}"
        );
        let frames = 5 + 5 * index as u64..10 + 5 * index as u64;
        pair.bot_speaks(frames.clone());
        assert_eq!(pair.browser.media().len() as u64, frames.end);
    }
    pair.run_for(Duration::from_secs(30));
    assert_eq!(pair.count(|event| *event == TransportEvent::IceDisconnected), 0);
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::Fault(_))), 0);
}

#[test]
fn a_first_offer_that_fails_leaves_nothing_behind() {
    let now = epoch();
    let config = Config::new().certificate(Certificate::generate().unwrap());
    let answer = |failures: &[String]| {
        let mut bot = bot(&config, 5);
        bot.add_local_candidate(LocalCandidate::host(TransportId(3), address(BOT)), now);
        for sdp in failures {
            let refused = bot.accept_offer(&Offer::parse(sdp).unwrap(), credentials(1), now);
            assert!(refused.is_err());
        }
        bot.accept_offer(&Offer::parse(ESP32).unwrap(), credentials(1), now).unwrap()
    };
    let failures = [
        ESP32.replace("s=-", "s"),
        ESP32.replace("opus/48000/2", "G729/8000"),
        ESP32.replace("m=audio 9", "m=audio 0"),
        ESP32.replace("m=audio", "m=text"),
    ];
    assert_eq!(answer(&failures), answer(&[]));
}

#[test]
fn nothing_usable_is_said_so() {
    let mut pair = Pair::new(&Config::new(), 1);
    for sdp in [ESP32.replace("opus/48000/2", "G729/8000"), ESP32.replace("audio 9", "audio 0")] {
        assert_eq!(pair.offered(&sdp), Err(NegotiateError::NoUsableMedia));
    }
    let mut nowhere = bot(&Config::new(), 1);
    let offer = Offer::parse(ESP32).unwrap();
    let refused = nowhere.accept_offer(&offer, credentials(1), pair.now);
    assert_eq!(refused, Err(NegotiateError::NoLocalCandidate));
}

/// The formats that a telephone's offer is answered with, and what is sent with.
fn answered(config: &Config, formats: &str, names: &str) -> (String, Codec) {
    let sdp = ESP32
        .replace("SAVPF 111", &format!("SAVPF {formats}"))
        .replace("a=rtpmap:111 opus/48000/2\r\n", names);
    let mut pair = Pair::new(config, 1);
    let negotiated = pair.offered(&sdp).unwrap();
    let line = lines_with(negotiated.answer.sdp(), "m=audio")[0].to_owned();
    let [NegotiatedLine::Media { codec, .. }] = negotiated.lines[..] else { panic!("one line") };
    (line.split_once("SAVPF ").unwrap().1.to_owned(), codec)
}

#[test]
fn telephones_are_answered_by_the_numbers_that_need_no_name_and_opus_is_first_wherever_it_stands() {
    let opus = "a=rtpmap:111 opus/48000/2\r\n";
    let config = Config::new();
    for (formats, names, answer, codec) in [
        ("0", "", "0", Codec::Pcmu),
        ("8 18 101", "a=rtpmap:18 G729/8000\r\n", "8", Codec::Pcma),
        ("9", "", "9", Codec::G722),
        ("0 8 9 13", "", "9 0 8", Codec::G722),
        ("8 0", "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n", "0 8", Codec::Pcmu),
        ("96", "a=rtpmap:96 G722/8000\r\n", "96", Codec::G722),
        ("0 8 111 9", opus, "111 9 0 8", Codec::Opus),
    ] {
        assert_eq!(answered(&config, formats, names), (answer.to_owned(), codec), "{formats}");
    }
    let config = config.audio_codecs(&[Codec::Pcma, Codec::Opus]).unwrap();
    let found = answered(&config, "111 0 8 9", opus);
    assert_eq!(found, ("8 111".to_owned(), Codec::Pcma), "the application's order");
}

#[test]
fn keys_are_answered_at_the_clock_of_the_sound_alone_or_at_the_one_there_is() {
    let opus = "a=rtpmap:111 opus/48000/2\r\n";
    let fast = "a=rtpmap:110 telephone-event/48000\r\n";
    let slow = "a=rtpmap:126 telephone-event/8000\r\na=fmtp:126 0-15\r\n";
    for (formats, names, answer) in [
        ("111 0 110 126", format!("{opus}{fast}{slow}"), "111 0 110"),
        ("126 110 111", format!("{opus}{slow}{fast}"), "111 110"),
        ("0 110 126", format!("{fast}{slow}"), "0 126"),
        ("111 126", format!("{opus}{slow}"), "111 126"),
        ("8 110", fast.to_owned(), "8 110"),
    ] {
        let sdp = ESP32
            .replace("SAVPF 111", &format!("SAVPF {formats}"))
            .replace("a=rtpmap:111 opus/48000/2\r\n", &names);
        let mut pair = Pair::new(&Config::new(), 1);
        let text = pair.offered(&sdp).unwrap().answer.sdp().to_owned();
        let line = lines_with(&text, "m=audio")[0];
        assert_eq!(line.split_once("SAVPF ").unwrap().1, answer, "{formats}");
        for format in ["110", "126"] {
            let is_named = text.contains(&format!("a=rtpmap:{format} "));
            let is_answered = answer.split(' ').any(|known| known == format);
            assert_eq!(is_named, is_answered, "{formats}: {text}");
            assert!(is_answered || !text.contains(&format!("a=fmtp:{format} ")), "{text}");
        }
    }
}

#[test]
fn a_line_without_a_common_codec_is_refused_and_the_others_live() {
    let mut pair = Pair::new(&Config::new(), 1);
    let unknown = "m=video 9 UDP/TLS/RTP/SAVPF 45\r\nc=IN IP4 0.0.0.0\r\na=mid:v\r\n\
        a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:45 AV1/90000\r\n";
    let text = "m=text 9 UDP/TLS/RTP/SAVPF 98\r\nc=IN IP4 0.0.0.0\r\na=mid:t\r\n\
        a=rtpmap:98 t140/1000\r\n";
    let (head, audio) = ESP32.split_once("m=audio").unwrap();
    let offer =
        format!("{head}a=group:BUNDLE v t 0\r\n{unknown}a=ice-ufrag:abcd\r\n{text}m=audio{audio}");
    let negotiated = pair.offered(&offer).unwrap();
    assert!(
        matches!(
            negotiated.lines[..],
            [
                NegotiatedLine::Rejected,
                NegotiatedLine::Rejected,
                NegotiatedLine::Media { kind: MediaKind::Audio, .. }
            ]
        ),
        "{:?}",
        negotiated.lines
    );
    let answer = negotiated.answer.sdp();
    assert_eq!(lines_with(answer, "a=group:"), ["a=group:BUNDLE 0"]);
    assert_eq!(lines_with(answer, "a=mid:"), ["a=mid:v", "a=mid:t", "a=mid:0"]);
    assert!(lines_with(answer, "m=")[0].starts_with("m=video 0 UDP/TLS/RTP/SAVPF 0"));
    assert!(lines_with(answer, "m=")[1].starts_with("m=text 0 "));
    let (refused, live) = answer.split_once("m=audio").unwrap();
    assert_eq!(refused.matches("a=inactive").count(), 2);
    assert!(!refused.contains("a=candidate") && live.contains("a=candidate"), "{answer}");
}

#[test]
fn candidates_that_cannot_be_used_are_harmless_and_only_64_are_kept() {
    let mut sdp = ESP32.to_owned();
    for line in [
        "a=candidate:1 1 udp 1 4fd1d3e8-4a2d-4a91-9b9b-2fd3c5a10b6b.local 5 typ host",
        "a=candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
        "a=candidate:garbage",
        "a=candidate:1 1 udp 1 fe80::1%eth0 5 typ host",
        "a=end-of-candidates",
    ] {
        sdp.push_str(line);
        sdp.push_str("\r\n");
    }
    let mut pair = Pair::new(&Config::new(), 1);
    assert!(pair.offered(&sdp).is_ok());
    assert_eq!(pair.bot.remotes.len(), 1);
    assert!(pair.offered(&sdp).is_ok());
    assert_eq!(pair.bot.remotes.len(), 1, "a re-offer repeats what is known");
    for number in 1..100 {
        let line = format!("candidate:1 1 udp 1 198.51.100.8 {number} typ host");
        let Ok(crate::RemoteCandidate::Udp(candidate)) = crate::RemoteCandidate::parse(&line)
        else {
            panic!("{line}")
        };
        pair.bot.add_remote_candidate(&candidate, pair.now);
        let over = (number + 1usize).saturating_sub(64) as u64;
        assert_eq!(pair.bot.counters().candidates_ignored, over, "{number}");
    }
}

#[test]
fn the_same_seed_gives_the_same_answer_and_the_same_datagrams() {
    let config = Config::new().certificate(Certificate::generate().unwrap());
    let config = config.dangerous().seeded_dtls(true).done();
    let run = |seed| {
        let mut pair = Pair::new(&config, seed);
        let negotiated = pair.negotiate(|api| {
            audio(api);
            api.add_channel("data".to_owned());
        });
        pair.run_for(Duration::from_secs(1));
        pair.bot_speaks(0..50);
        pair.run_for(Duration::from_secs(10));
        let trace: Vec<_> = pair
            .sent
            .iter()
            .map(|packet| {
                let first = packet.payload[0];
                // ECDSA signatures in DER differ in length by a byte or two, whatever the seed.
                let len = if (20..64).contains(&first) { 0 } else { packet.payload.len() };
                (packet.at - pair.start, first, len, packet.destination)
            })
            .collect();
        let events: Vec<_> = pair.events.iter().map(|event| format!("{event:?}")).collect();
        let events: Vec<_> = events.into_iter().filter(|e| !e.starts_with("Stats")).collect();
        (negotiated.answer.sdp().to_owned(), events, trace)
    };
    let (one, other) = (run(1), run(1));
    assert_eq!(one.0, other.0);
    assert_eq!(one.1, other.1);
    assert_eq!(one.2, other.2);
    assert_ne!(one.0, run(2).0);
}

#[test]
fn the_threads_generator_is_untouched_by_a_whole_call() {
    fastrand::seed(99);
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..5);
    assert_eq!(fastrand::get_seed(), {
        fastrand::seed(99);
        fastrand::get_seed()
    });
}

#[test]
fn the_history_of_offers_is_bounded_and_still_lets_offers_through() {
    let mut pair = Pair::connected(&Config::new());
    for round in 0..20 {
        let mut added = None;
        pair.negotiate(|api| added = Some(video(api)));
        let mid = added.unwrap();
        let negotiated = pair.negotiate(|api| api.stop_media(mid));
        assert_eq!(negotiated.lines.last(), Some(&NegotiatedLine::Rejected), "round {round}");
        assert!(pair.bot.history.len() <= OFFERS_MAX);
        if pair.bot.history.last().unwrap().media().len() == Offer::MEDIA_LINES_MAX {
            break;
        }
    }
    assert_eq!(pair.bot.history.len(), OFFERS_MAX);
    pair.bot_speaks(0..5);
    assert_eq!(pair.browser.media().len(), 5);
}

#[test]
fn the_engine_reads_only_codecs_that_it_could_use() {
    let offer = ESP32
        .replace("SAVPF 111", "SAVPF 63 111 13 0")
        .replace("a=rtpmap:111", "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\na=rtpmap:111")
        .replace("m=audio", "a=group:BUNDLE 0 v\r\nm=audio")
        + "m=video 9 UDP/TLS/RTP/SAVPF 45 46 96 97 102 103\r\na=mid:v\r\na=sendrecv\r\n\
        a=rtpmap:45 AV1/90000\r\na=rtcp-fb:45 nack\r\na=rtpmap:46 rtx/90000\r\n\
        a=fmtp:46 apt=45\r\na=rtpmap:96 vp8/90000\r\na=rtcp-fb:96 nack\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:102 H264/90000\r\n\
        a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
        a=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\na=rtcp-fb:* nack pli\r\n";
    let offer = Offer::parse(&offer).unwrap();
    let read = crate::transport::real::sdp::for_engine(&offer, None);
    assert_eq!(
        lines_with(&read, "m="),
        ["m=audio 9 UDP/TLS/RTP/SAVPF 63 111 0", "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103",]
    );
    assert!(!read.contains(":45 ") && !read.contains(":46 "), "{read}");
    assert_eq!(lines_with(&read, "a=rtpmap:").len(), 6);
    assert_eq!(lines_with(&read, "a=fmtp:").len(), 4);
    assert_eq!(lines_with(&read, "a=rtcp-fb:"), ["a=rtcp-fb:96 nack", "a=rtcp-fb:* nack pli"]);
    // Copies of sound that is none of ours say nothing.
    let other = ESP32
        .replace("SAVPF 111", "SAVPF 63 111 0")
        .replace("a=rtpmap:111", "a=rtpmap:63 red/8000\r\na=fmtp:63 0/0\r\na=rtpmap:111");
    let read = crate::transport::real::sdp::for_engine(&Offer::parse(&other).unwrap(), None);
    assert!(read.contains("SAVPF 111 0\r\n") && !read.contains(":63 "), "{read}");
}

/// How long after the offer the channel opened.
fn opens(change: impl FnOnce(str0m::RtcConfig) -> str0m::RtcConfig) -> (Duration, String) {
    let mut pair = Pair::with_browser(&Config::new(), 1, change);
    let negotiated = pair.negotiate(|api| {
        audio(api);
        api.add_channel("data".to_owned());
    });
    for ms in 0..1000 {
        pair.run_for(Duration::from_millis(1));
        if pair.count(|event| matches!(event, TransportEvent::ChannelOpen(..))) == 1 {
            return (Duration::from_millis(ms), negotiated.answer.sdp().to_owned());
        }
    }
    panic!("{:?}", pair.events);
}

#[test]
fn newer_browsers_save_round_trips_and_older_ones_connect_too() {
    let (old, answer) = opens(|browser| browser);
    assert!(!answer.contains("a=sctp-init"));
    let (dtls13, _) = opens(|browser| browser.set_dtls_version(str0m::config::DtlsVersion::Dtls13));
    let (both, answer) = opens(|browser| {
        browser.set_dtls_version(str0m::config::DtlsVersion::Dtls13).set_snap_enabled(true)
    });
    assert!(answer.contains("a=sctp-init"));
    assert!(dtls13 + Duration::from_millis(20) <= old, "{dtls13:?} {old:?}");
    assert!(both + Duration::from_millis(40) <= dtls13, "{both:?} {dtls13:?}");
}
