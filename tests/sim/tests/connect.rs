//! How calls begin: on either wire, over good and bad links, with and without each m-line.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{Config, ConnectionState, Event, MediaKind, NegotiateError, Offer, Source};
use smallrtc_sim::{Browser, BrowserEvent, Kind, LinkConfig, Pair, Setup, run};

#[test]
fn a_browser_connects_and_the_channel_opens_in_half_a_second() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        assert!(pair.elapsed() < Duration::from_millis(500), "{kind:?} {:?}", pair.elapsed());
        let connecting = pair.entered(ConnectionState::Connecting);
        let connected = pair.entered(ConnectionState::Connected);
        assert!(connecting < connected, "{connecting:?} {connected:?}");
        let opened = Event::ChannelOpened { label: "chat".to_owned() };
        assert!(pair.events().any(|event| *event == opened));
    }
}

#[test]
fn a_call_connects_over_a_bad_link() {
    run("a_call_connects_over_a_bad_link", 5, |seed| {
        for kind in Kind::ALL {
            let mut pair = Pair::new(Setup::new(kind, seed).links(LinkConfig::bad()));
            pair.connect();
            pair.drive_for(Duration::from_secs(10));
            assert_eq!(pair.session.state(), ConnectionState::Connected);
        }
    });
}

#[test]
fn tracks_are_told_by_the_order_of_lines() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).browser(|browser| {
            browser.camera = true;
            browser.screen = true;
        });
        let mut pair = Pair::new(setup);
        pair.connect();
        let tracks: Vec<_> = pair.session.tracks().iter().map(|t| (t.kind, t.source)).collect();
        assert_eq!(
            tracks,
            [
                (MediaKind::Audio, Source::Microphone),
                (MediaKind::Video, Source::Camera),
                (MediaKind::Video, Source::ScreenVideo),
            ]
        );
        let directions: Vec<_> =
            pair.session.tracks().iter().map(|track| (track.receives, track.sends)).collect();
        assert_eq!(directions, [(true, true), (true, true), (true, false)]);
        let started = pair.events().filter(|event| matches!(event, Event::TrackStarted(_))).count();
        assert_eq!(started, 3);
    }
}

#[test]
fn a_call_of_audio_alone_and_a_call_of_messages_alone_connect() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.channel = None));
        pair.connect();
        pair.drive_for(Duration::from_secs(20));
        assert_eq!(pair.session.state(), ConnectionState::Connected);

        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.audio = false));
        pair.connect();
        assert!(pair.session.tracks().is_empty());
        pair.drive_for(Duration::from_secs(20));
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}

#[test]
fn a_browser_behind_a_silent_candidate_is_found_by_its_own_checks() {
    // Browsers hide their addresses behind names in `.local`: the offer then tells none.
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        let offer = pair.browser.offer(pair.now());
        let hidden: String =
            offer.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate")).collect();
        assert!(hidden.len() < offer.len());
        let (offer, now) = (Offer::parse(&hidden).unwrap(), pair.now());
        let answer = pair.session.accept_offer(&offer, now).unwrap();
        pair.browser.accept_answer(answer.sdp(), now);
        pair.drive_until(Duration::from_secs(3), "connected", |pair| {
            pair.session.state() == ConnectionState::Connected
        });
    }
}

#[test]
fn a_bot_behind_a_mapped_address_is_reached_there_alone() {
    for kind in Kind::ALL {
        let public = "203.0.113.80:17860".parse().unwrap();
        let mut pair = Pair::new(Setup::new(kind, 1).advertised(public));
        pair.connect();
        pair.drive_for(Duration::from_secs(10));
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
    }
}

#[test]
fn a_slow_and_narrow_path_connects() {
    let link = LinkConfig {
        delay: Duration::from_millis(400),
        rate: Some(100_000),
        queue: Duration::from_secs(2),
        ..LinkConfig::clean()
    };
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).links(link));
        pair.connect();
        pair.drive_for(Duration::from_secs(30));
        assert_eq!(pair.session.state(), ConnectionState::Connected, "{kind:?}");
        assert_eq!(pair.entered(ConnectionState::Disconnected), None, "{kind:?}");
        assert!(pair.session.stats().pings >= 29, "{kind:?}");
    }
}

#[test]
fn audio_and_messages_pass_both_ways() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let now = pair.now();
        assert!(pair.browser.send_text("{\"hello\":1}", now));
        assert!(pair.browser.send_binary(b"{\"hello\":2}", now));
        pair.say("[3]");
        pair.drive_for(Duration::from_millis(100));
        let heard: Vec<_> = pair
            .events()
            .filter_map(|event| match event {
                Event::Message(message) => Some((message.is_binary(), message.as_bytes())),
                _ => None,
            })
            .collect();
        assert_eq!(heard, [(false, &b"{\"hello\":1}"[..]), (true, b"{\"hello\":2}")]);
        assert!(pair.browser_messages().contains(&"[3]".to_owned()));
        let media = |event: &&BrowserEvent| matches!(event, BrowserEvent::Media { line: 0, .. });
        assert!(pair.browser_events().filter(media).count() >= 4, "auto-silence is heard");
    }
}

#[test]
fn video_passes_both_ways_and_keyframes_are_asked_for_both_ways() {
    use smallrtc::{Codec, EncodedFrame, TrackId};
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1).browser(|browser| browser.camera = true));
        pair.connect();
        let picture = vec![0; 5_000];
        let camera = TrackId(1);
        for frame in 0..10_u64 {
            let now = pair.now();
            assert!(pair.browser.send_media(1, frame * 3000, &picture, now));
            let time = Duration::from_millis(frame * 33);
            let data = bytes::Bytes::from(picture.clone());
            let encoded = EncodedFrame::new(Codec::Vp8, time, frame == 0, data);
            pair.session.send_encoded(camera, encoded, now).unwrap();
            pair.drive_for(Duration::from_millis(33));
        }
        pair.drive_for(Duration::from_millis(100));
        let mut got = 0;
        while let Some(frame) = pair.session.recv_encoded(camera) {
            assert_eq!((frame.data.len(), frame.codec), (5_000, Codec::Vp8), "{kind:?}");
            got += 1;
        }
        assert_eq!(got, 10, "{kind:?}");
        let is_picture = |event: &&BrowserEvent| match event {
            BrowserEvent::Media { line: 1, data, .. } => data.len() == 5_000,
            _ => false,
        };
        assert_eq!(pair.browser_events().filter(is_picture).count(), 10, "{kind:?}");

        let now = pair.now();
        pair.browser.request_keyframe(1, now);
        pair.session.request_keyframe(camera, now);
        pair.drive_for(Duration::from_millis(500));
        assert!(pair.events().any(|event| *event == Event::KeyframeRequested(camera)), "{kind:?}");
        let asked = BrowserEvent::KeyframeRequest { line: 1 };
        assert!(pair.browser_events().any(|event| *event == asked), "{kind:?}");
    }
}

#[test]
fn the_datagrams_of_a_picture_are_alike_so_that_they_can_leave_as_one_run() {
    use smallrtc::{Codec, EncodedFrame, TrackId, Transmit};
    let mut pair = Pair::new(Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true));
    pair.connect();
    pair.drive_for(Duration::from_millis(500));
    let data = bytes::Bytes::from(vec![7; 50_000]);
    let encoded = EncodedFrame::new(Codec::Vp8, Duration::ZERO, true, data);
    let now = pair.now();
    pair.session.send_encoded(TrackId(1), encoded, now).unwrap();
    let sent: Vec<_> = std::iter::from_fn(|| pair.session.poll_transmit()).collect();
    let lens: Vec<usize> = sent.iter().map(|transmit| transmit.payload.len()).collect();
    let (last, others) = lens.split_last().unwrap();
    assert!(others.len() >= 40 && others.iter().all(|len| *len == lens[0]), "{lens:?}");
    assert!((1..=lens[0]).contains(last), "{lens:?}");
    let way = |transmit: &Transmit| (transmit.source, transmit.destination);
    assert!(sent.iter().all(|transmit| way(transmit) == way(&sent[0])));
}

#[test]
fn an_offer_that_cannot_be_answered_leaves_the_session_as_it_was() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        let now = pair.now();
        let mut other = Browser::new(Setup::new(kind, 2).browser.clone(), now);
        let foreign = other.offer(now).replace("m=audio", "m=text").replace("m=application", "m=x");
        let refused = pair.session.accept_offer(&Offer::parse(&foreign).unwrap(), now);
        assert!(
            matches!(
                refused,
                Err(NegotiateError::NoUsableMedia | NegotiateError::InvalidSdp { .. })
            ),
            "{refused:?}"
        );
        assert_eq!(pair.session.state(), ConnectionState::New);
        pair.connect();
    }
}

#[test]
fn a_reoffer_of_the_same_call_changes_nothing_that_is_heard() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        pair.drive_for(Duration::from_secs(2));
        pair.negotiate().unwrap();
        pair.forget();
        pair.drive_for(Duration::from_secs(2));
        assert_eq!(pair.session.state(), ConnectionState::Connected);
        let media = |event: &&BrowserEvent| matches!(event, BrowserEvent::Media { .. });
        assert!((98..=101).contains(&pair.browser_events().filter(media).count()));
    }
}

#[test]
fn the_browser_of_another_call_cannot_reoffer() {
    for kind in Kind::ALL {
        let mut pair = Pair::new(Setup::new(kind, 1));
        pair.connect();
        let now = pair.now();
        let setup = Setup::new(kind, 2).browser(|browser| browser.camera = true);
        let offer = Browser::new(setup.browser, now).offer(now);
        let refused = pair.session.accept_offer(&Offer::parse(&offer).unwrap(), now);
        assert!(matches!(refused, Err(NegotiateError::Incompatible { .. })), "{refused:?}");
        pair.drive_for(Duration::from_secs(10));
        assert_eq!(pair.session.state(), ConnectionState::Connected);
    }
}

#[test]
fn the_configuration_of_a_simulation_is_never_the_default() {
    let text = format!("{:?}", Config::new());
    assert!(text.contains("scripted_transport: false") && text.contains("seeded_dtls: false"));
}
