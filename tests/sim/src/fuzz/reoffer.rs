//! Offers again, on a call that runs.

use std::time::Duration;

use smallrtc::{ConnectionState, Offer, RemoteCandidate, Source, Track, Transmit};

use super::script::Script;
use super::subject::Subject;
use super::{OFFER, config, origin, real_session};
use crate::{Kind, Pair, Setup};

/// Offers in one run.
const OFFERS_MAX: usize = 8;
/// Edits of one offer.
const EDITS_MAX: u8 = 16;
/// How long the call runs between two offers.
const BETWEEN: Duration = Duration::from_millis(100);
/// 20 ms at 48 kHz.
const PACKET_UNITS: u64 = 960;

/// Lines that mean something to one of the readers.
const LINES: [&str; 24] = [
    "a=sendrecv",
    "a=sendonly",
    "a=recvonly",
    "a=inactive",
    "a=ice-ufrag:Zzzz",
    "a=ice-pwd:0123456789012345678901",
    "a=mid:7",
    "a=mid:0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    "m=audio 0 UDP/TLS/RTP/SAVPF 111",
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "m=video 0 UDP/TLS/RTP/SAVPF 96",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "m=text 9 UDP/TLS/RTP/SAVPF 98",
    "a=rtpmap:96 H264/90000",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;stereo=1",
    "a=group:BUNDLE 0 1",
    "a=group:BUNDLE 0 1 2 3",
    "a=setup:active",
    "a=setup:passive",
    "a=sctp-init:AAAA",
    "a=max-message-size:0",
    "a=candidate:1 1 udp 2113937151 198.51.100.9 40000 typ host",
];

/// Edited offers on a running call: over the scripted wire, with the same ones on the engine of a
/// call that still connects, or over the real engine. A refused offer changes nothing; the sound
/// goes on, a packet every 20 ms, for as long as the peer takes sound.
pub fn reoffer(data: &[u8]) {
    if data.first().is_some_and(|first| first & 7 == 5) {
        on_real_call(&mut Script(&data[1..]));
        return;
    }
    let mut subject = Subject::connected(config(true));
    let mut real = None;
    if data.first().is_some_and(|first| first & 3 == 3) {
        real = Some(real_session(8));
    }
    let mut script = Script(data);
    let mut text = OFFER.to_owned();
    for _ in 0..OFFERS_MAX {
        let Some(head) = script.command() else { break };
        if head & 128 != 0 {
            OFFER.clone_into(&mut text);
        }
        text = edit(&text, head >> 2 & 15, &mut script);
        let Ok(offer) = Offer::parse(&text) else { continue };
        offer_again(&mut subject, &offer);
        if let Some(session) = &mut real {
            let before = session.tracks().to_vec();
            if session.accept_offer(&offer, origin()).is_err() {
                assert_eq!(session.tracks(), before, "a refused offer changes nothing");
            }
            drop(super::text::drain(session));
            assert_ne!(session.state(), ConnectionState::Closed, "an offer ended the call");
        }
    }
    subject.close();
}

/// Whether the session sends sound.
fn sends(tracks: &[Track]) -> bool {
    tracks.iter().any(|track| track.source == Source::Microphone && track.sends)
}

/// A connected call over the real engine. Its log replays identical.
fn on_real_call(script: &mut Script<'_>) {
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).untraced());
    pair.connect();
    pair.keep_transmits();
    pair.drive_for(BETWEEN);
    let now = pair.now();
    let original = pair.browser.offer(now);
    let mut text = original.clone();
    for _ in 0..OFFERS_MAX {
        let Some(head) = script.command() else { break };
        if head & 128 != 0 {
            text.clone_from(&original);
        }
        text = edit(&text, head >> 2 & 15, script);
        let Ok(offer) = Offer::parse(&text) else { continue };
        offer_on_real_call(&mut pair, &offer);
    }
    assert_eq!(pair.closed(), None, "an offer ended the call");
}

fn offer_on_real_call(pair: &mut Pair, offer: &Offer) {
    for line in offer.sdp().lines() {
        if let Ok(RemoteCandidate::Udp(candidate)) = RemoteCandidate::parse(line) {
            pair.checks.allow(candidate.address());
        }
    }
    let (before, now) = (pair.session.tracks().to_vec(), pair.now());
    if pair.session.accept_offer(offer, now).is_err() {
        assert_eq!(pair.session.tracks(), before, "a refused offer changes nothing");
    }
    pair.forget();
    pair.drive_for(BETWEEN);
    if sends(&before) && sends(pair.session.tracks()) {
        let packets = pair.transmits().iter().filter(|(_, transmit)| is_sound(transmit));
        let times: Vec<_> = packets.map(|(at, _)| *at).collect();
        assert_eq!(times.len(), 5, "the sound goes on");
        let is_even = times.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(20));
        assert!(is_even, "the sound is even: {times:?}");
    }
}

/// RTP, and not RTCP (RFC 7983 section 7, RFC 5761 section 4); of pictures, none are sent.
fn is_sound(transmit: &Transmit) -> bool {
    let payload = &transmit.payload;
    payload.len() > 1 && payload[0] >> 6 == 2 && !(64..96).contains(&(payload[1] & 127))
}

fn offer_again(subject: &mut Subject, offer: &Offer) {
    let (before, did_send) = (subject.session.tracks().to_vec(), sends(subject.session.tracks()));
    let refused = subject.session.accept_offer(offer, subject.now).is_err();
    if refused {
        assert_eq!(subject.session.tracks(), before, "a refused offer changes nothing");
        assert!(subject.closed.is_none());
    }
    // Its own checks are what keeps the page alive here.
    subject.audio.clear();
    subject.hear(&smallrtc::scripted::encode(&[smallrtc::scripted::Frame::Report {
        rtt_ms: 20,
        lost_per_mille: 0,
        jitter_ms: 0,
    }]));
    subject.drive_for(BETWEEN);
    if !sends(subject.session.tracks()) {
        assert_eq!(subject.audio.len(), 0, "sound that nobody takes");
    } else if did_send {
        assert_eq!(subject.audio.len(), 5, "the sound goes on");
        for pair in subject.audio.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, Duration::from_millis(20), "the sound is even");
            assert_eq!(pair[1].1 - pair[0].1, PACKET_UNITS, "media time goes on");
        }
    }
}

/// Changes lines as the script says.
fn edit(text: &str, count: u8, script: &mut Script<'_>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..count.min(EDITS_MAX) {
        let (what, at) = (script.byte(), usize::from(script.byte()) % lines.len().max(1));
        let known = || LINES[usize::from(what >> 3) % LINES.len()].to_owned();
        match what & 7 {
            _ if lines.is_empty() => lines.push(known()),
            0 | 1 => lines[at] = known(),
            2 => lines.insert(at, known()),
            3 => drop(lines.remove(at)),
            4 => lines.insert(at, lines[at].clone()),
            5 => {
                let from = usize::from(script.byte()) % lines.len();
                lines.swap(at, from);
            }
            // A whole section once more at the end.
            6 if lines.len() < 512 => {
                let begins = lines[..=at].iter().rposition(|line| line.starts_with("m="));
                let begins = begins.unwrap_or(at);
                let mut section = lines[begins..].to_vec();
                let next = section.iter().skip(1).position(|line| line.starts_with("m="));
                section.truncate(next.map_or(section.len(), |next| next + 1));
                lines.append(&mut section);
            }
            _ => {
                let mut bytes = lines[at].clone().into_bytes();
                let place = usize::from(script.byte()) % (bytes.len() + 1);
                bytes.splice(place..place, script.take().iter().copied());
                lines[at] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    lines.join("\r\n") + "\r\n"
}
