//! Sizes: no datagram is longer than configured, whatever is sent. The pump checks each of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use bytes::Bytes;
use smallrtc::{Codec, EncodedFrame, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup};

/// Sends everything that a bot can send, and gives the longest datagram.
fn longest(kind: Kind, mtu: usize) -> usize {
    let setup = Setup::new(kind, 1).mtu(mtu).browser(|browser| browser.camera = true);
    let mut pair = Pair::new(setup);
    pair.keep_transmits();
    pair.connect();
    pair.say(&"x".repeat(200_000));
    for frame in 0..30_u64 {
        let time = Duration::from_millis(frame * 33);
        let len = usize::try_from(frame * 997 % 40_000).unwrap() + 1;
        let data = Bytes::from(vec![0; len]);
        let picture = EncodedFrame::new(Codec::Vp8, time, true, data);
        let now = pair.now();
        // Small MTUs carry no video: that is told, not sent too long.
        let _ = pair.session.send_encoded(TrackId(1), picture, now);
        pair.say(&"y".repeat(len));
        pair.drive_for(Duration::from_millis(33));
    }
    pair.drive_for(Duration::from_secs(60));
    assert_eq!(pair.browser_messages().len(), 31, "{kind:?} {mtu}");
    pair.transmits().iter().map(|(_, transmit)| transmit.payload.len()).max().unwrap()
}

#[test]
fn no_datagram_is_longer_than_the_mtu_and_the_mtu_is_used() {
    for kind in Kind::ALL {
        for mtu in [576, 577, 700, 1150, 1200] {
            let longest = longest(kind, mtu);
            assert!((mtu - 60..=mtu).contains(&longest), "{kind:?} {mtu}: {longest}");
        }
    }
}

#[test]
fn a_path_of_just_the_mtu_carries_a_call_with_big_messages_both_ways() {
    for kind in Kind::ALL {
        for mtu in [576, 1150] {
            let link = LinkConfig { mtu, ..LinkConfig::clean() };
            let setup =
                Setup::new(kind, 1).mtu(mtu).links(link).browser(|browser| browser.mtu = mtu);
            let mut pair = Pair::new(setup);
            pair.connect();
            let text = "z".repeat(100_000);
            pair.say(&text);
            let now = pair.now();
            assert!(pair.browser.send_text(&text, now));
            pair.drive_for(Duration::from_secs(30));
            assert_eq!(pair.browser_messages(), [text.as_str()], "{kind:?} {mtu}");
            assert_eq!(pair.messages().len(), 1, "{kind:?} {mtu}");
            assert_eq!(pair.down.lost(), 0);
        }
    }
}

#[test]
fn pictures_of_every_length_arrive_whole() {
    for kind in Kind::ALL {
        let mut pair =
            Pair::new(Setup::new(kind, 1).untraced().browser(|browser| browser.camera = true));
        pair.connect();
        pair.forget();
        let lengths: Vec<usize> =
            (1..60).chain(1050..1170).chain((1..20).map(|step| step * 1777)).collect();
        for (frame, len) in lengths.iter().enumerate() {
            let time = Duration::from_millis(frame as u64 * 33);
            let data = Bytes::from(vec![0; *len]);
            let picture = EncodedFrame::new(Codec::Vp8, time, true, data);
            let now = pair.now();
            pair.session.send_encoded(TrackId(1), picture, now).unwrap();
            pair.drive_for(Duration::from_millis(33));
        }
        pair.drive_for(Duration::from_millis(200));
        let heard: Vec<usize> = pair
            .browser_events()
            .filter_map(|event| match event {
                BrowserEvent::Media { line: 1, data, .. } => Some(data.len()),
                _ => None,
            })
            .collect();
        assert_eq!(heard, lengths, "{kind:?}");
    }
}

/// Messages that wait at once are bundled by an engine that counts them short
/// (`src/transport/real/bundle.rs`). Parts of a bundle that was cut get lost by
/// themselves, and what is sent again is bundled anew.
#[test]
fn many_short_messages_at_once_fit_their_datagrams_and_arrive_whatever_is_lost() {
    for mtu in [576, 1150] {
        for loss in [0.0, 0.25] {
            let mut pair = Pair::new(Setup::new(Kind::Real, 1).mtu(mtu));
            pair.connect();
            pair.drive_for(Duration::from_secs(1));
            pair.forget();
            pair.keep_transmits();
            // What is on its way is lost and waits to be sent again; each message is padded.
            pair.down.set_down(true);
            let texts: Vec<String> = (0..3000).map(|number| format!("{number:09}")).collect();
            texts.iter().for_each(|text| pair.say(text));
            pair.drive_for(Duration::from_secs(2));
            pair.down.set_config(LinkConfig { loss, ..LinkConfig::clean() });
            pair.down.set_down(false);
            pair.drive_for(Duration::from_secs(60));
            assert!(pair.browser_messages() == texts, "{mtu} {loss}: not all, or not in order");
            let lengths = pair.transmits().iter().map(|(_, transmit)| transmit.payload.len());
            let bundles = lengths.filter(|len| *len > mtu / 2).count();
            assert!(bundles > 10, "{mtu} {loss}: {bundles} bundles");
        }
    }
}

/// Every message travels alone and half of them are lost: an acknowledgement that told of each gap
/// would be longer than a datagram.
#[test]
fn acknowledgements_of_hundreds_of_gaps_fit_their_datagrams() {
    for mtu in [576, 1150] {
        let mut pair = Pair::new(Setup::new(Kind::Real, 1).mtu(mtu));
        pair.connect();
        // What the page may have on its way grows with what arrived.
        let now = pair.now();
        assert!(pair.browser.send_text(&"w".repeat(200_000), now));
        pair.drive_for(Duration::from_secs(20));
        pair.forget();
        pair.up.set_config(LinkConfig { loss: 0.5, ..LinkConfig::clean() });
        let texts: Vec<String> = (0..2000).map(|number| format!("{number}")).collect();
        for text in &texts {
            assert!(pair.browser.send_text(text, now));
            pair.flush();
        }
        let lost = pair.up.lost();
        assert!(lost > 700, "{mtu}: {lost} of two thousand datagrams were lost");
        pair.up.set_config(LinkConfig::clean());
        pair.drive_for(Duration::from_secs(120));
        let heard: Vec<_> = pair.messages().iter().map(|message| message.as_bytes()).collect();
        let said: Vec<_> = texts.iter().map(String::as_bytes).collect();
        assert!(heard == said, "{mtu}: not all, or not in order");
    }
}
