//! What crosses the seams is given again by a replay as it was: result by result, event by event.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::entry::{Call, Crossing, LineOutcome, Told};
use super::super::player::{Mismatch, Played, Player};
use super::super::recorder::Recorder;
use super::super::tape::{Tape, told};
use super::super::{Keep, seams};
use super::*;
use crate::audio::codec::AudioCodec;
use crate::config::{AudioIn, AudioOut};
use crate::session::messages::MESSAGE_LEN_MAX;
use crate::transport::{
    ChannelId, ChannelWritten, IceCredentials, Line, MediaPacket, MediaWrite, MediaWritten,
    Negotiated, NegotiatedLine, Received, ToneWrite, Transport, TransportEvent, TransportStats,
};
use crate::{
    Answer, AudioId, CloseReason, ConnectionState, MediaKind, RemoteCandidate, Source, Track,
    TrackId, Transmit, UdpCandidate,
};

/// A transport that gives what a test put into it.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    offers: VecDeque<Result<Negotiated, NegotiateError>>,
    received: VecDeque<Received>,
    media: VecDeque<MediaWritten>,
    channel: VecDeque<ChannelWritten>,
    buffered: usize,
    pub(super) events: VecDeque<TransportEvent>,
    transmits: VecDeque<Transmit>,
    timeout: Option<Instant>,
}

impl Transport for Prepared {
    fn add_local_candidate(&mut self, _: LocalCandidate, _: Instant) {}

    fn add_remote_candidate(&mut self, _: &UdpCandidate, _: Instant) {}

    fn accept_offer(
        &mut self,
        _: &Offer,
        _: IceCredentials,
        _: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        self.offers.pop_front().unwrap()
    }

    fn verifies(&self, payload: &[u8]) -> bool {
        payload == b"ours"
    }

    fn handle_datagram(&mut self, _: Datagram, _: Instant) -> Received {
        self.received.pop_front().unwrap()
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn write_media(&mut self, _: &MediaWrite<'_>, _: Instant) -> MediaWritten {
        self.media.pop_front().unwrap()
    }

    fn write_tone(&mut self, _: &ToneWrite, _: Instant) -> MediaWritten {
        self.media.pop_front().unwrap()
    }

    fn request_keyframe(&mut self, _: Line, _: Instant) {}

    fn write_channel(&mut self, _: ChannelId, _: bool, _: &[u8], _: Instant) -> ChannelWritten {
        self.channel.pop_front().unwrap()
    }

    fn buffered_amount(&mut self, _: ChannelId) -> usize {
        self.buffered
    }

    fn set_buffered_amount_low_threshold(&mut self, _: ChannelId, _: usize) {}

    fn close(&mut self, _: Instant) {}

    fn poll_event(&mut self) -> Option<TransportEvent> {
        self.events.pop_front()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    fn has_transmit(&self) -> bool {
        !self.transmits.is_empty()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }
}

pub(super) fn keep(detail: Detail) -> Keep {
    Keep { media: detail, messages: detail }
}

/// What one call writes of what `act` does with a session's tape.
fn steps(keep: Keep, now: Instant, act: impl FnOnce(&Tape)) -> VecDeque<Crossing> {
    let memory = Memory::new(usize::MAX);
    let header = forged(&[]).header;
    let mut recorder = Recorder::new(header, keep, u64::MAX, Box::new(memory.clone()), now);
    recorder.call(Call::HandleTimeout, None, now);
    let tape = Tape::Records(Arc::new(Mutex::new(recorder)));
    act(&tape);
    drop(tape);
    let mut records = Log::read(&memory.bytes()).unwrap().records;
    let mut steps: VecDeque<_> = records.swap_remove(0).crossings.into();
    assert_eq!(steps.pop_back(), Some(Crossing::DeadlineUnseen));
    steps
}

/// A player with those steps of a call.
pub(super) fn player(
    keep: Keep,
    now: Instant,
    steps: impl IntoIterator<Item = Crossing>,
) -> Arc<Mutex<Player>> {
    let mut player = Player::new(keep, now);
    player.load(steps.into_iter().collect(), now);
    Arc::new(Mutex::new(player))
}

/// How the player's call ended.
pub(super) fn finished(player: &Mutex<Player>) -> Option<Mismatch> {
    let mut player = player.lock().unwrap();
    player.finish();
    player.mismatch().cloned()
}

/// What `act` gives over a transport while it is recorded; a replay must give the same, and find
/// no difference.
fn gives_again<T: PartialEq + Debug>(
    detail: Detail,
    below: Prepared,
    act: impl Fn(&mut dyn Transport, Instant) -> T,
) -> T {
    let now = origin();
    let mut recorded = None;
    let steps = steps(keep(detail), now, |tape| {
        let mut tapped = tape.transport(Box::new(below));
        recorded = Some(act(&mut *tapped, now));
    });
    let count = steps.len() as u64;
    let player = player(keep(detail), now, steps);
    let replayed = act(&mut Played::new(player.clone()), now);
    assert_eq!(finished(&player), None);
    assert_eq!(player.lock().unwrap().crossings(), count);
    assert_eq!(recorded.as_ref(), Some(&replayed), "{detail:?}");
    replayed
}

pub(super) fn frame(data: &[u8]) -> MediaWrite<'_> {
    MediaWrite {
        line: 0,
        codec: Codec::Opus,
        rtp_time: 960,
        talkspurt: true,
        voice: Some(true),
        level: Some(30),
        redundant: true,
        data,
    }
}

#[test]
fn a_replay_gives_what_became_of_each_frame_and_message() {
    let media = [
        MediaWritten::Taken,
        MediaWritten::Dropped,
        MediaWritten::TooLarge(1_180),
        MediaWritten::NotReady,
    ];
    let channel = [
        ChannelWritten::Taken,
        ChannelWritten::Full,
        ChannelWritten::TooLarge(65_536),
        ChannelWritten::Gone,
    ];
    for detail in DETAILS {
        let below =
            Prepared { media: media.into(), channel: channel.into(), ..Prepared::default() };
        let given = gives_again(detail, below, |transport, now| {
            let media = [0; 4].map(|_| transport.write_media(&frame(b"frame"), now));
            let channel =
                [0; 4].map(|_| transport.write_channel(ChannelId(1), true, b"message", now));
            (media, channel)
        });
        assert_eq!(given, (media, channel));
    }
}

#[test]
fn a_replay_gives_the_verdict_on_each_datagram_and_what_is_buffered() {
    let verdict = |authenticated, malformed| Received { authenticated, malformed };
    let received = [verdict(true, false), verdict(false, true), verdict(false, false)];
    let below = Prepared { received: received.into(), buffered: 70_000, ..Prepared::default() };
    let given = gives_again(Detail::Sizes, below, |transport, now| {
        let received = [0; 3].map(|_| transport.handle_datagram(datagram(b"bytes"), now));
        (received, transport.buffered_amount(ChannelId(2)))
    });
    assert_eq!(given, (received, 70_000));
}

#[test]
fn calls_that_give_nothing_are_steps_too() {
    let RemoteCandidate::Udp(remote) =
        RemoteCandidate::parse("candidate:1 1 udp 1 192.0.2.9 9 typ host").unwrap()
    else {
        panic!("a candidate of UDP");
    };
    gives_again(Detail::None, Prepared::default(), |transport, now| {
        transport.add_local_candidate(LocalCandidate::host(TransportId(0), address(1)), now);
        transport.add_remote_candidate(&remote, now);
        transport.handle_timeout(now);
        transport.request_keyframe(3, now);
        transport.set_buffered_amount_low_threshold(ChannelId(1), 9);
        transport.close(now);
    });
}

#[test]
fn a_recorded_transport_still_verifies_and_a_replayed_one_has_nothing_to_verify_with() {
    let now = origin();
    steps(Keep::default(), now, |tape| {
        let tapped = tape.transport(Box::new(Prepared::default()));
        assert!(tapped.verifies(b"ours") && !tapped.verifies(b"theirs"));
    });
    assert!(!Played::new(player(Keep::default(), now, [])).verifies(b"ours"));
}

#[test]
fn a_replay_accepts_and_refuses_offers_as_it_was_recorded() {
    let credentials = |pwd: &str| IceCredentials { ufrag: "ours".to_owned(), pwd: pwd.to_owned() };
    let media = |kind, codec| {
        let copies = kind == MediaKind::Audio;
        NegotiatedLine::Media { kind, receives: true, sends: false, codec, copies }
    };
    let accepted = Negotiated {
        answer: Answer::new("v=0\r\n".to_owned()),
        // A log has no passwords.
        credentials: credentials("not recorded"),
        lines: vec![
            media(MediaKind::Audio, Codec::Opus),
            media(MediaKind::Video, Codec::Vp8),
            media(MediaKind::Video, Codec::H264),
            NegotiatedLine::Channels,
            NegotiatedLine::Rejected,
        ],
        message_max: 65_536,
    };
    let offers = [Ok(accepted), Err(NegotiateError::NoUsableMedia), Err(NegotiateError::Closed)];
    let below = Prepared { offers: offers.clone().into(), ..Prepared::default() };
    let offer = Offer::parse(SDP).unwrap();
    let given = gives_again(Detail::Sizes, below, |transport, now| {
        [0; 3].map(|_| transport.accept_offer(&offer, credentials("drawn"), now))
    });
    assert_eq!(given, offers);
}

#[test]
fn datagrams_come_out_of_a_replay_with_their_lengths_and_ways() {
    let transmit = |port, payload: &'static [u8]| {
        Transmit::udp(TransportId(1), address(7860), address(port), Bytes::from_static(payload))
    };
    let transmits = [transmit(5000, &[0; 90]), transmit(5000, &[0; 20]), transmit(6000, &[0; 1])];
    let below = Prepared { transmits: transmits.clone().into(), ..Prepared::default() };
    let given = gives_again(Detail::Sizes, below, |transport, now| {
        transport.handle_timeout(now);
        let mut given = Vec::new();
        while transport.has_transmit() {
            given.extend(transport.poll_transmit());
        }
        (given, transport.poll_transmit())
    });
    assert_eq!(given, (transmits.to_vec(), None));
}

#[test]
fn a_replayed_transport_is_due_when_the_recorded_one_was_also_when_that_is_past() {
    for offset in [Duration::from_millis(5), Duration::ZERO] {
        let now = origin();
        let timeout = Some(now + offset);
        let late = now + Duration::from_millis(3);
        let below = Prepared { timeout, ..Prepared::default() };
        let steps = steps(Keep::default(), late, |tape| {
            tape.transport(Box::new(below)).handle_timeout(late);
        });
        let player = player(Keep::default(), late, steps);
        let mut played = Played::new(player.clone());
        assert_eq!(played.poll_timeout(), None);
        played.handle_timeout(late);
        assert_eq!(played.poll_timeout(), timeout);
        assert_eq!(finished(&player), None);
    }
}

fn packet(line: u8, data: &[u8]) -> TransportEvent {
    TransportEvent::Media(MediaPacket {
        line,
        codec: Codec::Vp8,
        seq: 70_000,
        rtp_time: 1 << 33,
        ssrc: 9,
        contiguous: false,
        keyframe: true,
        repaired: true,
        level: None,
        data: bytes::Bytes::copy_from_slice(data),
    })
}

fn data(binary: bool, data: &[u8]) -> TransportEvent {
    TransportEvent::ChannelData(ChannelId(2), binary, data.to_vec())
}

/// One of each kind of event.
fn events() -> Vec<TransportEvent> {
    let stats = TransportStats {
        rtt: Some(Duration::from_millis(42)),
        bytes_sent: 7,
        bytes_received: 8,
        loss_sent: Some(0.5),
        loss_received: None,
        jitter_received: Some(Duration::from_micros(3)),
    };
    vec![
        TransportEvent::IceConnected,
        TransportEvent::IceDisconnected,
        TransportEvent::Connected,
        packet(1, b"a picture"),
        TransportEvent::KeyframeRequest(1),
        TransportEvent::ChannelOpen(ChannelId(2), "chat".to_owned()),
        data(true, b"binary"),
        data(false, b"text"),
        TransportEvent::ChannelClose(ChannelId(2)),
        TransportEvent::BufferedAmountLow(ChannelId(2)),
        TransportEvent::Stats(stats),
        TransportEvent::HungUp,
        TransportEvent::Fault("no key".to_owned()),
    ]
}

#[test]
fn at_full_a_replay_tells_the_session_exactly_what_the_transport_told() {
    let below = Prepared { events: events().into(), ..Prepared::default() };
    let given = gives_again(Detail::Full, below, |transport, _| {
        std::iter::from_fn(|| transport.poll_event()).collect::<Vec<_>>()
    });
    assert_eq!(given, events());
}

/// What a replay makes of one event that was recorded at this detail.
fn told_again(detail: Detail, event: TransportEvent) -> TransportEvent {
    let now = origin();
    let steps = steps(keep(detail), now, |tape| {
        let events = [event].into();
        let mut tapped = tape.transport(Box::new(Prepared { events, ..Prepared::default() }));
        assert!(tapped.poll_event().is_some());
    });
    Played::new(player(keep(detail), now, steps)).poll_event().unwrap()
}

#[test]
fn below_full_a_replay_tells_of_other_content_with_the_same_length_and_meaning() {
    for detail in [Detail::None, Detail::Sizes] {
        let blank = |binary: bool, text: &str| {
            // Which are binary is left out at `None`.
            data(binary && detail == Detail::Sizes, text.as_bytes())
        };
        assert_eq!(told_again(detail, data(false, b"secret")), data(false, b"xxxxxx"));
        let zeros = if detail == Detail::Sizes { "\0\0\0\0\0\0" } else { "xxxxxx" };
        assert_eq!(told_again(detail, data(true, b"secret")), blank(true, zeros));
        assert_eq!(told_again(detail, packet(1, b"a picture")), packet(1, &[0; 9]));
        for own in [
            r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":1,"enabled":true}}"#,
            r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":0,"enabled":false}}"#,
            r#"{"type":"signalling","message":{"type":"peerLeft"}}"#,
            r#"{"type":"signalling","message":{"type":"renegotiate"}}"#,
            r#"{"type":"signalling","message":0}"#,
            "ping",
        ] {
            assert_eq!(
                told_again(detail, data(false, own.as_bytes())),
                data(false, own.as_bytes())
            );
        }
        // Signalling with more in it means the same and is told without it.
        let wordy = data(false, b"ping: 12345678");
        assert_eq!(told_again(detail, wordy), data(false, b"ping"));
    }
}

#[test]
fn messages_that_are_not_read_keep_their_length_up_to_one_past_the_limit() {
    for (sent, told) in [
        (0, 0),
        (MESSAGE_LEN_MAX, MESSAGE_LEN_MAX),
        (MESSAGE_LEN_MAX + 1, MESSAGE_LEN_MAX + 1),
        (MESSAGE_LEN_MAX + 2, MESSAGE_LEN_MAX + 1),
    ] {
        let TransportEvent::ChannelData(_, _, data) =
            told_again(Detail::Sizes, data(true, &vec![7; sent]))
        else {
            panic!("a message stays one");
        };
        assert_eq!(data.len(), told);
    }
}

#[test]
fn the_text_of_a_fault_is_cut_and_a_label_is_masked_where_messages_are_not_kept() {
    let fault = |len: usize| TransportEvent::Fault("e".repeat(len));
    assert_eq!(told_again(Detail::Full, fault(256)), fault(256));
    assert_eq!(told_again(Detail::Full, fault(257)), fault(256));
    let open = |label: &str| TransportEvent::ChannelOpen(ChannelId(1), label.to_owned());
    assert_eq!(told_again(Detail::Sizes, open("chat")), open("chat"));
    assert_eq!(told_again(Detail::None, open("chat")), open("xxxx"));
}

/// What `act` makes of the coders of a tape, recorded and replayed.
fn coders_give_again<T: PartialEq + Debug>(detail: Detail, act: impl Fn(&Tape) -> T) -> (T, T) {
    let now = origin();
    let mut recorded = None;
    let steps = steps(keep(detail), now, |tape| recorded = Some(act(tape)));
    assert!(!steps.is_empty());
    let player = player(keep(detail), now, steps);
    let replayed = act(&Tape::Plays(player.clone()));
    assert_eq!(finished(&player), None, "{detail:?}");
    (recorded.unwrap(), replayed)
}

fn audio() -> (AudioIn, AudioOut) {
    let config = Config::new().audio_in(48_000, 2).unwrap().audio_out(24_000, 1).unwrap();
    (config.audio_in, config.audio_out)
}

#[test]
fn an_encoder_gives_packets_of_the_recorded_length_and_at_full_the_same_bytes() {
    for detail in DETAILS {
        let (recorded, replayed) = coders_give_again(detail, |tape| {
            let mut encoder = tape.encoder(AudioCodec::Null, audio().1);
            let mut packets = [vec![1, 2, 3], Vec::new()];
            encoder.encode(&[900; 480], &mut packets[0]);
            encoder.silence(&mut packets[1]);
            packets
        });
        match detail {
            // One byte stands for a length that is not there.
            Detail::None => assert_eq!(replayed, [vec![0], vec![0]]),
            Detail::Sizes => assert_eq!(replayed.map(|it| it.len()), recorded.map(|it| it.len())),
            Detail::Full => assert_eq!(replayed, recorded),
        }
    }
}

#[test]
fn a_decoder_gives_as_much_sound_as_was_recorded_and_at_full_the_same() {
    let mut packet = Vec::new();
    AudioCodec::Null.encoder(audio().1).encode(&[900; 480], &mut packet);
    // 10 ms and a copy of 10 ms before.
    let copy = [b'F', 1, 1, 0, 0, 0, 0, 5, 0, 1, 7, 0];
    for detail in DETAILS {
        let (recorded, replayed) = coders_give_again(detail, |tape| {
            let mut decoder = tape.decoder(AudioCodec::Null, audio().0);
            let mut samples = vec![5];
            let length = decoder.duration(&packet);
            let frames = decoder.decode(&packet, &mut samples);
            decoder.conceal(480, &mut samples);
            let repaired = (decoder.copied(&copy), decoder.repair(&copy, &mut samples));
            assert_eq!(repaired, (480, 480));
            assert_eq!((decoder.copied(&packet), decoder.repair(b"junk", &mut samples)), (0, 0));
            decoder.reset();
            let nothing = (decoder.duration(b"junk"), decoder.decode(b"junk", &mut samples));
            (length, frames, nothing, samples)
        });
        assert_eq!((recorded.0, recorded.1, recorded.2), (Some(960), 960, (None, 0)));
        assert_eq!(recorded.3.len(), 1 + 2 * (960 + 480 + 480));
        if detail == Detail::Full {
            assert_eq!(replayed, recorded);
        } else {
            assert_eq!((replayed.0, replayed.1, replayed.2), (recorded.0, recorded.1, recorded.2));
            assert_eq!(replayed.3[0], 5, "what stood there stays");
            assert_eq!(replayed.3[1..], vec![0; recorded.3.len() - 1]);
        }
    }
}

#[test]
fn every_event_of_a_session_is_logged_as_what_it_is() {
    let track = TrackId(1);
    let started = Track::new(track, MediaKind::Video, Source::Camera, true, false);
    let message = |message| Event::Message(message);
    let cases = [
        (Event::StateChanged(ConnectionState::Connected), Told::State("connected".to_owned())),
        (Event::ChannelOpened { label: "chat".to_owned() }, Told::ChannelOpened("chat".to_owned())),
        (Event::ChannelClosed, Told::ChannelClosed),
        (
            message(Message::text("four")),
            Told::Message { binary: Some(false), len: 4, digest: None },
        ),
        (
            message(Message::Binary(Bytes::from_static(b"five!"))),
            Told::Message { binary: Some(true), len: 5, digest: None },
        ),
        (Event::MessagesDrained, Told::MessagesDrained),
        (Event::MessagesDropped { count: 3 }, Told::MessagesDropped(3)),
        (
            Event::TrackStarted(started),
            Told::TrackStarted {
                track: 1,
                source: "camera".to_owned(),
                receives: true,
                sends: false,
            },
        ),
        (Event::TrackEnded(track), Told::TrackEnded(1)),
        (
            Event::TrackStatus { track, enabled: false },
            Told::TrackStatus { track: 1, enabled: false },
        ),
        (Event::AudioReadable(track), Told::AudioReadable(1)),
        (Event::EncodedReadable(track), Told::EncodedReadable(1)),
        (Event::AudioStarted { id: AudioId(7) }, Told::AudioStarted { id: 7 }),
        (
            Event::AudioFinished { id: AudioId(7), samples: 480 },
            Told::AudioFinished { id: 7, samples: 480 },
        ),
        (Event::KeyframeRequested(track), Told::KeyframeRequested(1)),
        (Event::Closed { reason: CloseReason::Lost }, Told::Closed("lost".to_owned())),
    ];
    for (event, expected) in cases {
        assert_eq!(told(&event, Keep::default()), expected);
    }
}

#[test]
fn a_line_of_an_answer_is_read_back_as_it_was_written() {
    for receives in [false, true] {
        for kind in [MediaKind::Audio, MediaKind::Video] {
            let (sends, codec) = (!receives, Codec::Vp8);
            let line = NegotiatedLine::Media { kind, receives, sends, codec, copies: receives };
            assert_eq!(NegotiatedLine::from(LineOutcome::from(line)), line);
        }
    }
    for line in [NegotiatedLine::Channels, NegotiatedLine::Rejected] {
        assert_eq!(NegotiatedLine::from(LineOutcome::from(line)), line);
    }
}

#[test]
fn what_holds_a_log_says_nothing_of_its_content_when_it_is_printed() {
    let now = origin();
    let (listen, speak) = audio();
    let printed = |tape: &Tape| {
        let encoder = format!("{:?}", tape.encoder(AudioCodec::Null, speak));
        let decoder = format!("{:?}", tape.decoder(AudioCodec::Null, listen));
        (format!("{tape:?}"), encoder, decoder)
    };
    steps(Keep::default(), now, |tape| {
        let (tape, encoder, decoder) = printed(tape);
        assert_eq!(tape, "Tape(records)");
        assert!(encoder.ends_with("recorder: Recorder }"), "{encoder}");
        assert!(decoder.ends_with("recorder: Recorder }"), "{decoder}");
    });
    let player = player(Keep::default(), now, []);
    let (tape, encoder, decoder) = printed(&Tape::Plays(player.clone()));
    assert_eq!(tape, "Tape(plays)");
    assert!(encoder.ends_with("player: Player }"), "{encoder}");
    assert!(decoder.ends_with("player: Player }"), "{decoder}");
    assert_eq!(format!("{:?}", Played::new(player)), "Played");
    let tapped = seams::Tapped::new(Box::new(Prepared::default()), {
        let sink = Box::new(Memory::new(usize::MAX));
        let recorder = Recorder::new(forged(&[]).header, Keep::default(), u64::MAX, sink, now);
        Arc::new(Mutex::new(recorder))
    });
    assert_eq!(format!("{tapped:?}"), format!("{:?}", Prepared::default()));
}
