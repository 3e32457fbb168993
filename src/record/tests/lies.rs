//! Logs that no session wrote: a replay says where they cannot be true, and believes no length.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::entry::{Call, Crossing, Entry, Heard, Meaning, Path, Routing, Value, Written};
use super::super::player::{Mismatch, Played, Player, moved};
use super::super::tape::Tape;
use super::seams::{finished, frame, keep, player};
use super::*;
use crate::audio::codec::AudioCodec;
use crate::transport::{
    ChannelId, ChannelWritten, IceCredentials, MediaWritten, Received, Transport, TransportEvent,
};

/// The longest Opus packet has so many samples at 48 kHz.
const PACKET_SAMPLES_MAX: u32 = 9_600;

/// What the log says and what the session did, at the first difference, with its record.
fn difference(records: &[(Entry, Vec<Crossing>)]) -> (usize, String, String) {
    let difference = replay(&forged(records), origin()).unwrap().difference.unwrap();
    (difference.record, difference.recorded, difference.replayed)
}

fn hold() -> (Entry, Vec<Crossing>) {
    after(1, Call::HoldEvents(true), Vec::new())
}

#[test]
fn a_log_of_calls_that_do_nothing_is_identical_but_for_the_deadline() {
    let (record, recorded, replayed) = difference(&[hold()]);
    // A session is due for its bound on connecting, and the log says of no deadline.
    assert_eq!((record, recorded.as_str()), (1, "nothing more in this call"));
    assert!(replayed.starts_with("Deadline(Some("), "{replayed}");
}

#[test]
fn a_second_header_is_a_difference() {
    let header = Entry::Header(Box::new(forged(&[]).header));
    let told = difference(&[(header, Vec::new())]);
    assert_eq!(told, (1, "one header".to_owned(), "another header in the middle".to_owned()));
}

#[test]
fn a_first_datagram_without_its_way_is_a_difference() {
    let told = difference(&[after(0, Call::HandleDatagram { path: None, len: None }, vec![])]);
    assert_eq!(told, (1, "a datagram without its path".to_owned(), "nothing".to_owned()));
}

#[test]
fn an_endpoint_that_freed_the_addresses_of_a_running_session_is_a_difference() {
    let routing = |routing| (Entry::Routing { after: 0, routing }, Vec::new());
    let admitted = routing(Routing::Admitted { sessions: 1, half_open: 1 });
    let told = difference(&[admitted, routing(Routing::Released)]);
    let words = ("the endpoint freed the addresses", "the session goes on");
    assert_eq!(told, (2, words.0.to_owned(), words.1.to_owned()));
}

#[test]
fn an_offer_that_is_none_is_a_difference_that_says_why() {
    let offer = Call::AcceptOffer { sdp: "v=1".to_owned() };
    let returned = vec![Crossing::Returned(Value::Done)];
    let (_, recorded, replayed) = difference(&[after(0, offer, returned)]);
    assert_eq!(recorded, "Returned(Done)");
    assert!(replayed.contains("the recorded offer is none: "), "{replayed}");
    assert!(replayed.contains("the first line is not `v=0`"), "{replayed}");
}

#[test]
fn a_step_too_many_is_a_difference_and_so_is_one_too_few() {
    let (_, recorded, replayed) =
        difference(&[after(0, Call::HoldEvents(true), vec![Crossing::Goodbye])]);
    assert_eq!(recorded, "Goodbye");
    assert!(replayed.starts_with("Deadline("), "{replayed}");
    let unseen = vec![Crossing::DeadlineUnseen, Crossing::Goodbye];
    let told = difference(&[after(0, Call::HoldEvents(true), unseen)]);
    assert_eq!(told, (1, "Goodbye".to_owned(), "nothing more in this call".to_owned()));
}

#[test]
fn settings_that_no_session_can_have_are_no_header() {
    let mut log = forged(&[]);
    log.header.settings.out_packet_ms = 30;
    let error = replay(&log, origin()).unwrap_err();
    assert_eq!(error, LogError::NoHeader("the settings are none".to_owned()));
    assert_eq!(error.to_string(), "the header cannot be read: the settings are none");
}

#[test]
fn settings_are_read_back_whatever_they_are_and_refused_where_they_cannot_be() {
    use crate::{AudioIdle, PacketTime};
    let times = [
        (PacketTime::Ms10, 10),
        (PacketTime::Ms20, 20),
        (PacketTime::Ms40, 40),
        (PacketTime::Ms60, 60),
    ];
    for (packet_time, number) in times {
        for (idle, kind) in [(AudioIdle::Silence, 0), (AudioIdle::Dtx, 1), (AudioIdle::Nothing, 2)]
        {
            let config = Config::new().audio_packet_time(packet_time).audio_idle(idle);
            let settings = entry::Settings::of(&config);
            assert_eq!((settings.out_packet_ms, settings.out_idle), (number, kind));
            assert_eq!(entry::Settings::of(&settings.config().unwrap()), settings);
        }
    }
    let good = || entry::Settings::of(&Config::new());
    for impossible in [
        entry::Settings { mtu: 1, ..good() },
        entry::Settings { mtu: u64::MAX, ..good() },
        entry::Settings { in_rate: 1, ..good() },
        entry::Settings { in_channels: 3, ..good() },
        entry::Settings { out_rate: 1, ..good() },
        entry::Settings { out_channels: 0, ..good() },
        entry::Settings { out_bitrate: 1, ..good() },
        entry::Settings { out_complexity: 11, ..good() },
        entry::Settings { out_packet_ms: 0, ..good() },
        entry::Settings { out_idle: 3, ..good() },
    ] {
        assert!(impossible.config().is_none(), "{impossible:?}");
    }
}

#[test]
fn a_header_with_an_unknown_detail_or_another_record_first_is_none() {
    let no_header = |why: &str| LogError::NoHeader(why.to_owned());
    let preamble = &recorded_header()[..FIRST];
    let read = |entry: &Entry| {
        let mut bytes = preamble.to_vec();
        write(entry, &[], &mut bytes);
        Log::read(&bytes).unwrap_err()
    };
    assert_eq!(read(&hold().0), no_header("the first record is another one"));
    for unknown in [(3, 0), (0, 3)] {
        let mut header = forged(&[]).header;
        (header.media, header.messages) = unknown;
        assert_eq!(read(&Entry::Header(Box::new(header))), no_header("a detail is unknown"));
    }
    assert_eq!(Log::read(preamble).unwrap_err(), no_header("the first record is another one"));
    assert_eq!(Log::read(&preamble[..FIRST - 1]).unwrap_err(), no_header("cut"));
}

#[test]
fn a_record_that_means_nothing_is_told_apart_from_a_damaged_one() {
    let mut bytes = recorded_header();
    let offset = bytes.len() as u64;
    // A mark is followed by nothing.
    write(&Entry::Mark(entry::Mark::default()), &[Crossing::Timeout], &mut bytes);
    assert_eq!(Log::read(&bytes).unwrap().damage(), Some(Damage::Unreadable { offset }));
    let mut bytes = recorded_header();
    bytes.extend((RECORD_LEN_MAX as u32 + 1).to_le_bytes());
    bytes.extend([0; 4]);
    assert_eq!(Log::read(&bytes).unwrap().damage(), Some(Damage::Changed { offset }));
    let len = bytes.len() - 8;
    bytes[len..len + 4].copy_from_slice(&(RECORD_LEN_MAX as u32).to_le_bytes());
    assert_eq!(Log::read(&bytes).unwrap().damage(), Some(Damage::Cut { offset }));
}

#[test]
fn times_beyond_all_calls_are_read_and_replayed_without_a_panic() {
    let now = origin();
    assert_eq!(moved(now, 5), now + Duration::from_nanos(5));
    assert_eq!(moved(now, -5), now - Duration::from_nanos(5));
    let far = Entry::Call { after: u64::MAX, call: Call::HoldEvents(true) };
    let log = forged(&[(far.clone(), vec![]), (far, vec![])]);
    assert_eq!(log.duration(), Duration::from_nanos(u64::MAX));
    assert!(!replay(&log, origin()).unwrap().is_identical());
}

fn over(mismatched: Vec<Crossing>) -> (Arc<Mutex<Player>>, Played) {
    let player = player(keep(Detail::Sizes), origin(), mismatched);
    (player.clone(), Played::new(player))
}

#[test]
fn after_the_first_difference_the_session_hears_nothing_and_is_refused_everything() {
    // The session closes where the log says that it let time pass.
    let way = Path { transport: 0, source: address(1), destination: address(2) };
    let (player, mut played) = over(vec![
        Crossing::Timeout,
        Crossing::Heard(Heard::Connected),
        Crossing::Transmit { path: Some(way), len: Some(3) },
    ]);
    let now = origin();
    played.close(now);
    let first = Mismatch { recorded: Some(Crossing::Timeout), replayed: Some(Crossing::Goodbye) };
    played.handle_timeout(now);
    assert_eq!(played.poll_event(), None);
    assert_eq!(played.poll_transmit(), None);
    assert_eq!(played.handle_datagram(datagram(b"x"), now), Received::default());
    assert_eq!(played.write_media(&frame(b"x"), now), MediaWritten::NotReady);
    assert_eq!(played.write_channel(ChannelId(0), false, b"x", now), ChannelWritten::Gone);
    assert_eq!(played.buffered_amount(ChannelId(0)), 0);
    let fresh = IceCredentials { ufrag: "ours".to_owned(), pwd: String::new() };
    let offer = Offer::parse(SDP).unwrap();
    assert_eq!(played.accept_offer(&offer, fresh, now), Err(NegotiateError::Closed));
    assert_eq!(finished(&player), Some(first), "the first one is kept");
    assert_eq!(player.lock().unwrap().crossings(), 0);
}

#[test]
fn coders_after_a_difference_give_nothing() {
    let player = player(keep(Detail::Sizes), origin(), [Crossing::Timeout]);
    let tape = Tape::Plays(player.clone());
    let config = Config::new();
    let mut decoder = tape.decoder(AudioCodec::Null, config.audio_in);
    let (mut packet, mut samples) = (vec![9; 9], Vec::new());
    assert_eq!(decoder.duration(b"N"), None);
    let first = finished(&player);
    assert_eq!(first.as_ref().unwrap().recorded, Some(Crossing::Timeout));
    assert_eq!(decoder.decode(b"N", &mut samples), 0);
    let mut encoder = tape.encoder(AudioCodec::Null, config.audio_out);
    encoder.encode(&[0; 480], &mut packet);
    assert_eq!(packet, [0]);
    encoder.silence(&mut packet);
    assert_eq!(packet, [0]);
    assert_eq!(finished(&player), first);
}

#[test]
fn a_packet_of_the_longest_duration_is_believed_and_one_sample_more_is_not() {
    for (frames, is_believed) in [(PACKET_SAMPLES_MAX, true), (PACKET_SAMPLES_MAX + 1, false)] {
        let steps = [Crossing::Duration(Some(frames)), Crossing::Decoded { frames, digest: None }];
        for step in steps {
            let player = player(keep(Detail::Sizes), origin(), [step.clone()]);
            let tape = Tape::Plays(player.clone());
            let mut decoder = tape.decoder(AudioCodec::Null, Config::new().audio_in);
            let longest = PACKET_SAMPLES_MAX as usize;
            if matches!(step, Crossing::Duration(_)) {
                assert_eq!(decoder.duration(b"N"), is_believed.then_some(longest));
            } else {
                assert_eq!(decoder.decode(b"N", &mut Vec::new()), longest);
            }
            assert_eq!(finished(&player).is_none(), is_believed, "{step:?}");
        }
    }
}

#[test]
fn lengths_of_what_came_are_bounded_by_what_a_record_can_hold() {
    let message = Heard::Message {
        channel: 0,
        binary: None,
        len: u64::MAX,
        meaning: Meaning::Application,
        data: vec![],
    };
    let media = Heard::Media {
        line: 0,
        codec: 9,
        seq: 0,
        rtp_time: 0,
        ssrc: 0,
        contiguous: true,
        keyframe: true,
        repaired: false,
        level: None,
        len: Some(u32::MAX),
        data: vec![],
    };
    let way = Path { transport: 0, source: address(1), destination: address(2) };
    let (player, mut played) = over(vec![
        Crossing::Heard(message),
        Crossing::Heard(media),
        Crossing::Transmit { path: Some(way), len: Some(u32::MAX) },
    ]);
    let Some(TransportEvent::ChannelData(_, false, data)) = played.poll_event() else {
        panic!("a message");
    };
    assert_eq!(data.len(), crate::session::messages::MESSAGE_LEN_MAX + 1);
    let Some(TransportEvent::Media(packet)) = played.poll_event() else { panic!("media") };
    assert_eq!((packet.codec, packet.data.len()), (Codec::H264, RECORD_LEN_MAX));
    assert_eq!(played.poll_transmit().unwrap().payload.len(), RECORD_LEN_MAX);
    assert_eq!(finished(&player), None);
}

#[test]
fn a_datagram_that_goes_without_any_way_does_not_come_out() {
    let (player, mut played) = over(vec![Crossing::Transmit { path: None, len: Some(3) }]);
    assert_eq!(played.poll_transmit(), None);
    assert!(finished(&player).is_some(), "what is left is a difference");
}

#[test]
fn a_recorded_refusal_with_a_limit_comes_back_with_it() {
    let message = |written| Crossing::Message {
        channel: 3,
        binary: Some(false),
        len: 1,
        digest: None,
        written,
    };
    let (player, mut played) = over(vec![message(Written::TooLarge(9)), message(Written::Full)]);
    let now = origin();
    assert_eq!(
        [0; 2].map(|_| played.write_channel(ChannelId(3), false, b"x", now)),
        [ChannelWritten::TooLarge(9), ChannelWritten::Full]
    );
    assert_eq!(finished(&player), None);
}
