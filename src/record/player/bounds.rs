//! What a log says is believed as far as it can be true.

use super::*;
use crate::Config;
use crate::audio::AudioCodec;

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

fn player(keep: Keep) -> Arc<Mutex<Player>> {
    Arc::new(Mutex::new(Player::new(keep, origin())))
}

#[test]
fn an_instant_is_moved_both_ways_by_as_much_as_is_said() {
    let now = origin();
    assert_eq!(moved(now, 7), now + Duration::from_nanos(7));
    assert_eq!(moved(now, -7), now - Duration::from_nanos(7));
    assert_eq!(moved(now, 0), now);
}

#[test]
fn lengths_that_no_record_can_have_take_no_more_memory_than_one_has() {
    assert_eq!(bounded(None), 1);
    assert_eq!(bounded(Some(0)), 0);
    assert_eq!(bounded(Some(1_200)), 1_200);
    let max = u32::try_from(RECORD_LEN_MAX).unwrap();
    assert_eq!([bounded(Some(max)), bounded(Some(max + 1))], [RECORD_LEN_MAX; 2]);
    assert_eq!(zeros(Some(3)), [0; 3][..]);
    assert_eq!(size(5), 5);
    assert_eq!(size(u64::from(u32::MAX)), u32::MAX as usize);
}

#[test]
fn what_stands_in_for_a_message_means_the_same_and_is_as_long() {
    use crate::message::{Inbound, classify};
    let read = |binary, len, meaning| classify(binary, stand_in(binary, len, meaning));
    assert!(matches!(read(false, 9, Meaning::Ping), Inbound::Ping));
    assert!(matches!(read(false, 9, Meaning::PeerLeft), Inbound::PeerLeft));
    assert!(matches!(read(false, 9, Meaning::Renegotiate), Inbound::Renegotiate));
    assert!(matches!(read(false, 9, Meaning::Noise), Inbound::Noise));
    let status = Meaning::TrackStatus { receiver_index: 3, enabled: true };
    let expected = Inbound::TrackStatus { receiver_index: 3, enabled: true };
    assert_eq!(read(false, 9, status), expected);
    for binary in [false, true] {
        for len in [0, 1, 9, MESSAGE_LEN_MAX, MESSAGE_LEN_MAX + 1] {
            assert_eq!(stand_in(binary, len, Meaning::Application).len(), len);
            assert_eq!(stand_in(binary, len, Meaning::Unread).len(), len);
        }
        // Too long is too long, however long it was.
        assert_eq!(stand_in(binary, usize::MAX, Meaning::Unread).len(), MESSAGE_LEN_MAX + 1);
        let Inbound::Application(message) = read(binary, 9, Meaning::Application) else {
            panic!("the application's")
        };
        assert_eq!((message.is_binary(), message.len()), (binary, 9));
    }
}

#[test]
fn sound_comes_back_at_its_length_in_every_channel_and_no_longer_than_a_packet() {
    for channels in [1, 2] {
        let config = AudioIn { channels, ..Config::new().audio_in };
        let player = player(Keep { media: Detail::Sizes, ..Keep::default() });
        let mut decoder = PlayedDecoder::new(AudioCodec::Null, config, player.clone());
        let mut samples = vec![1; 10];
        let give = |step: Crossing| lock(&player).load([step].into(), origin());

        give(Crossing::Decoded { frames: 960, digest: None });
        assert_eq!(decoder.decode(b"packet", &mut samples), 960);
        assert_eq!(samples.len(), 10 + 960 * usize::from(channels));
        assert_eq!(samples[..10], [1; 10], "what was there stays");

        samples.truncate(10);
        give(Crossing::Concealed { frames: 480, digest: None });
        decoder.conceal(480, &mut samples);
        assert_eq!(samples.len(), 10 + 480 * usize::from(channels));
        assert_eq!(samples[..10], [1; 10]);

        samples.truncate(10);
        give(Crossing::Copied(960));
        assert_eq!(decoder.copied(b"packet"), 960);
        give(Crossing::Repaired { frames: 960, digest: None });
        assert_eq!(decoder.repair(b"packet", &mut samples), 960);
        assert_eq!(samples.len(), 10 + 960 * usize::from(channels));
        assert_eq!(samples[..10], [1; 10]);

        for frames in [1, PACKET_SAMPLES_MAX] {
            give(Crossing::Duration(Some(frames)));
            assert_eq!(decoder.duration(b"packet"), Some(frames as usize));
        }
        assert!(lock(&player).mismatch().is_none());
        assert_eq!(lock(&player).crossings(), 6);

        give(Crossing::Duration(Some(PACKET_SAMPLES_MAX + 1)));
        assert_eq!(decoder.duration(b"packet"), None, "no packet is so long");
        assert!(lock(&player).mismatch().is_some());
    }
}

#[test]
fn frames_of_a_log_that_are_more_than_a_packet_has_are_cut() {
    let player = player(Keep { media: Detail::Sizes, ..Keep::default() });
    let config = AudioIn { channels: 2, ..Config::new().audio_in };
    let mut decoder = PlayedDecoder::new(AudioCodec::Null, config, player.clone());
    let most = PACKET_SAMPLES_MAX as usize;
    let step = Crossing::Decoded { frames: u32::MAX, digest: None };
    lock(&player).load([step].into(), origin());
    let mut samples = Vec::new();
    assert_eq!(decoder.decode(b"packet", &mut samples), most);
    assert_eq!(samples.len(), 2 * most);
    assert!(lock(&player).mismatch().is_some());
}

#[test]
fn copies_of_a_log_that_are_longer_than_a_packet_are_cut() {
    let config = AudioIn { channels: 2, ..Config::new().audio_in };
    let most = PACKET_SAMPLES_MAX as usize;
    for is_asked in [true, false] {
        let player = player(Keep { media: Detail::Sizes, ..Keep::default() });
        let mut decoder = PlayedDecoder::new(AudioCodec::Null, config, player.clone());
        let (copied, repaired) =
            (Crossing::Copied(u32::MAX), Crossing::Repaired { frames: u32::MAX, digest: None });
        lock(&player).load([if is_asked { copied } else { repaired }].into(), origin());
        if is_asked {
            assert_eq!(decoder.copied(b"packet"), most);
        } else {
            let mut samples = Vec::new();
            assert_eq!(decoder.repair(b"packet", &mut samples), most);
            assert_eq!(samples.len(), 2 * most);
        }
        assert!(lock(&player).mismatch().is_some());
    }
}

#[test]
fn after_a_difference_the_session_hears_nothing_and_is_refused_everything() {
    let player = player(Keep::default());
    let mut transport = Played::new(player.clone());
    let heard = Crossing::Heard(Heard::Connected);
    let path = Path {
        transport: 0,
        source: ([192, 0, 2, 1], 1).into(),
        destination: ([192, 0, 2, 2], 2).into(),
    };
    let sent = Crossing::Transmit { path: Some(path), len: Some(5) };
    let load = |steps: [Crossing; 2]| lock(&player).load(steps.into(), origin());

    load([heard.clone(), sent.clone()]);
    assert_eq!(transport.poll_event(), Some(TransportEvent::Connected));
    assert_eq!(transport.poll_event(), None, "the next step is no event");
    let transmit = transport.poll_transmit().unwrap();
    assert_eq!((transmit.destination, transmit.payload.len()), (path.destination, 5));
    assert_eq!(transport.poll_transmit(), None);
    assert_eq!(lock(&player).crossings(), 2);

    transport.close(origin());
    assert!(lock(&player).mismatch().is_some(), "nothing was recorded of a goodbye");
    load([heard, sent.clone()]);
    assert_eq!(transport.poll_event(), None);
    load([sent.clone(), sent]);
    assert_eq!(transport.poll_transmit(), None);
    assert_eq!(transport.buffered_amount(ChannelId(0)), 0);
    let written = transport.write_channel(ChannelId(0), false, b"text", origin());
    assert_eq!(written, ChannelWritten::Gone);
    assert_eq!(lock(&player).crossings(), 2);
    assert!(!transport.verifies(b"anything"));
}

#[test]
fn what_the_transport_wants_is_what_was_recorded_last() {
    let player = player(Keep::default());
    let mut transport = Played::new(player.clone());
    assert!(!transport.has_transmit());
    assert_eq!(transport.poll_timeout(), None);
    let now = origin();
    let wants = Crossing::Wants { has_transmit: true, deadline: Some(-3) };
    lock(&player).load([Crossing::Timeout, wants].into(), now);
    transport.handle_timeout(now);
    assert!(transport.has_transmit());
    assert_eq!(transport.poll_timeout(), Some(now - Duration::from_nanos(3)));
    assert_eq!(lock(&player).crossings(), 2);
    assert_eq!(lock(&player).front(), None);
}

#[test]
fn a_player_says_nothing_of_itself() {
    let player = player(Keep::default());
    assert_eq!(format!("{:?}", Played::new(player.clone())), "Played");
    assert_eq!(format!("{:?}", Shared(player)), "Player");
}
