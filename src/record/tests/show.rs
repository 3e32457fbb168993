//! A log in words: what a reader of `smallrtc show` has to go by.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use super::super::entry::{
    Call, Crossing, End, Entry, Heard, LineOutcome, Mark, Meaning, Negotiation, Path, Routing,
    Told, Value, Written,
};
use super::super::log::Record;
use super::{after, forged};
use crate::transport::TransportStats;

fn path() -> Path {
    let [source, destination] = [5000, 7860].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
    Path { transport: 3, source, destination }
}

/// Each value with the words that it must have.
fn assert_words<T: Display>(cases: Vec<(T, &str)>) {
    for (value, words) in cases {
        assert_eq!(value.to_string(), words);
    }
}

fn text(entry: Entry, crossings: Vec<Crossing>) -> String {
    Record { offset: 0, entry, crossings }.text(Duration::from_millis(1_250))
}

#[test]
fn a_record_begins_with_its_time_and_goes_on_below_in_one_column() {
    let steps = vec![Crossing::Timeout, Crossing::Deadline(Some(20_000_000))];
    let (entry, steps) = after(0, Call::HandleTimeout, steps);
    let words = "      1.250000  handle_timeout\n\
        \u{20}                > timeout\n\
        \u{20}                  due in 20.000 ms";
    assert_eq!(text(entry, steps), words);
}

#[test]
fn marks_ends_and_routing_are_told_beside_the_calls() {
    let mark = Mark { calls: 4096, decisions: 1, media: 2 };
    assert_eq!(text(Entry::Mark(mark), vec![]), "      1.250000  mark: 4096 calls");
    let end = |cause| text(Entry::End(cause, mark), vec![]);
    assert_eq!(end(End::Dropped), "      1.250000  end Dropped: 4096 calls");
    assert_eq!(end(End::Full), "      1.250000  end Full: 4096 calls");
    let routing = Entry::Routing { after: 0, routing: Routing::Released };
    assert_eq!(text(routing, vec![]), "      1.250000  endpoint freed all addresses");
    let header = Entry::Header(Box::new(forged(&[]).header));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(text(header, vec![]), format!("      1.250000  begin {version}"));
}

#[test]
fn offer_and_answer_stand_under_their_call_line_by_line() {
    let negotiation = Negotiation {
        answer: "v=0\r\na=ice-lite\r\n".to_owned(),
        ufrag: "ours".to_owned(),
        lines: vec![LineOutcome::Channels, LineOutcome::Rejected],
        message_max: 1,
    };
    let offer = Crossing::Offer { fresh: "new".to_owned(), outcome: Ok(negotiation) };
    let (entry, steps) =
        after(0, Call::AcceptOffer { sdp: "v=0\r\ns=-\r\n".to_owned() }, vec![offer]);
    let lines = [
        "      1.250000  accept_offer",
        "                 | v=0",
        "                 | s=-",
        "                 > offer: accepted, ufrag ours, channels, rejected",
        "                 | v=0",
        "                 | a=ice-lite",
    ];
    assert_eq!(text(entry, steps), lines.join("\n"));
}

#[test]
fn each_call_is_told_with_its_arguments_and_what_was_left_out_is_not() {
    let address = SocketAddr::from(([192, 0, 2, 1], 7860));
    assert_words(vec![
        (Call::Start, "start"),
        (Call::RequestRenegotiation, "request_renegotiation"),
        (Call::Close { replaced: false }, "close"),
        (Call::Close { replaced: true }, "close, replaced"),
        (Call::AddRemoteCandidate { line: None }, "add_remote_candidate that is no use"),
        (
            Call::AddRemoteCandidate { line: Some("candidate:1".to_owned()) },
            "add_remote_candidate candidate:1",
        ),
        (
            Call::AddLocalCandidate { transport: 1, base: address, advertised: address },
            "add_local_candidate 192.0.2.1:7860, 192.0.2.1:7860 on transport 1",
        ),
        (Call::HandleDatagram { path: None, len: None }, "handle_datagram"),
        (
            Call::HandleDatagram { path: Some(path()), len: Some(20) },
            "handle_datagram 20 bytes 192.0.2.1:5000 > 192.0.2.1:7860 on transport 3",
        ),
        (Call::SendMessage { binary: None, len: 7, data: vec![] }, "send_message 7 bytes"),
        (
            Call::SendMessage { binary: Some(true), len: 7, data: vec![] },
            "send_message 7 bytes, binary",
        ),
        (
            Call::SendMessage { binary: Some(false), len: 7, data: vec![] },
            "send_message 7 bytes, text",
        ),
        (
            Call::SendAudio { rate: 24_000, channels: 2, samples: 480, pcm: vec![] },
            "send_audio 480 samples, 24000 Hz, 2 ch",
        ),
        (Call::ClearAudio, "clear_audio"),
        (Call::PauseAudio, "pause_audio"),
        (Call::ResumeAudio, "resume_audio"),
        (
            Call::SendDtmf { keys: "00,0".to_owned(), duration: 100_000_000, gap: 70_000_000 },
            "send_dtmf 00,0, 0.100 s each, 0.070 s between",
        ),
        (Call::ClearDtmf, "clear_dtmf"),
        (Call::RecvAudio { track: 0, room: 960 }, "recv_audio track 0, room 960"),
        (Call::RecvEncoded { track: 2 }, "recv_encoded track 2"),
        (Call::RequestKeyframe { track: 2 }, "request_keyframe track 2"),
        (Call::HoldEvents(true), "hold_events true"),
        (Call::PollTransmit, "poll_transmit"),
        (Call::PollEvent, "poll_event"),
    ]);
}

#[test]
fn coded_frames_are_told_with_codec_time_and_what_they_are() {
    let sent = |codec, keyframe| {
        let call =
            Call::SendEncoded { track: 1, codec, time: 40_000_000, keyframe, len: 9, data: vec![] };
        call.to_string()
    };
    assert_eq!(sent(0, false), "send_encoded track 1 opus at 0.040 s, 9 bytes");
    assert_eq!(sent(1, true), "send_encoded track 1 vp8 at 0.040 s, 9 bytes, keyframe");
    assert_eq!(sent(2, false), "send_encoded track 1 h264 at 0.040 s, 9 bytes");
    assert_eq!(sent(5, false), "send_encoded track 1 g722 at 0.040 s, 9 bytes");
    assert_eq!(sent(6, false), "send_encoded track 1 unknown codec at 0.040 s, 9 bytes");
    let frame = |len| {
        let (keyframe, contiguous) = (true, true);
        Value::Encoded { codec: 1, time: 5_000_000, keyframe, contiguous, len, digest: None }
    };
    assert_words(vec![
        (frame(Some(900)), "vp8 at 0.005 s 900 bytes"),
        (frame(None), "vp8 at 0.005 s"),
    ]);
}

fn media(voice: Option<bool>, talkspurt: bool, level: Option<u8>, len: Option<u32>) -> Crossing {
    let written = Written::Taken;
    let redundant = talkspurt;
    Crossing::Media {
        line: 0,
        codec: 0,
        rtp_time: 960,
        talkspurt,
        voice,
        level,
        redundant,
        len,
        written,
    }
}

#[test]
fn media_that_goes_is_told_with_length_level_and_what_became_of_it() {
    let dropped = Crossing::Media {
        line: 2,
        codec: 1,
        rtp_time: 90,
        talkspurt: false,
        voice: None,
        level: None,
        redundant: false,
        len: Some(1000),
        written: Written::Full,
    };
    assert_words(vec![
        (media(None, false, None, None), "> media line 0 opus time 960: taken"),
        (
            media(Some(false), false, Some(127), Some(3)),
            "> media line 0 opus time 960 3 bytes -127 dB: taken",
        ),
        (
            media(Some(true), true, Some(0), Some(80)),
            "> media line 0 opus time 960 80 bytes 0 dB, sound, after a pause, with a copy: taken",
        ),
        (dropped, "> media line 2 vp8 time 90 1000 bytes: no room"),
    ]);
    assert_words(vec![
        (Written::TooLarge(1200), "too large, at most 1200 bytes"),
        (Written::Gone, "not possible"),
    ]);
}

#[test]
fn what_the_session_asked_of_the_transport_is_marked_with_an_arrow_down() {
    let refused = Crossing::Offer { fresh: String::new(), outcome: Err("TooLarge".to_owned()) };
    let datagram = |authenticated, malformed| Crossing::Datagram { authenticated, malformed };
    let message =
        |binary, written| Crossing::Message { channel: 1, binary, len: 5, digest: None, written };
    assert_words(vec![
        (Crossing::LocalCandidate, "> local candidate"),
        (Crossing::RemoteCandidate, "> remote candidate"),
        (refused, "> offer: refused, TooLarge"),
        (datagram(false, false), "> datagram"),
        (datagram(true, false), "> datagram, verified"),
        (datagram(false, true), "> datagram, malformed"),
        (datagram(true, true), "> datagram, verified, malformed"),
        (Crossing::Timeout, "> timeout"),
        (Crossing::Keyframe { line: 2 }, "> keyframe, line 2"),
        (message(Some(true), Written::Full), "> message channel 1, 5 bytes, binary: no room"),
        (message(None, Written::Taken), "> message channel 1, 5 bytes: taken"),
        (Crossing::Buffered { channel: 1, amount: 9 }, "> buffered on channel 1: 9 bytes"),
        (Crossing::Threshold { channel: 1, threshold: 8 }, "> threshold of channel 1: 8 bytes"),
        (Crossing::Goodbye, "> goodbye"),
    ]);
}

#[test]
fn what_the_transport_wants_and_gives_is_told_with_its_time_before_or_after_the_call() {
    let wants = |has_transmit, deadline| Crossing::Wants { has_transmit, deadline };
    assert_words(vec![
        (wants(true, Some(1_500_000)), "  transport: to send, due in 1.500 ms"),
        (wants(false, Some(-2_000_000)), "  transport: due in -2.000 ms"),
        (wants(false, None), "  transport: due never"),
        (Crossing::Deadline(None), "  due never"),
        (Crossing::DeadlineUnseen, "  (dropped)"),
        (Crossing::Transmit { path: None, len: None }, "< transmit"),
        (
            Crossing::Transmit { path: Some(path()), len: Some(9) },
            "< transmit 9 bytes 192.0.2.1:5000 > 192.0.2.1:7860 on transport 3",
        ),
        (Crossing::Heard(Heard::HungUp), "< hung up"),
        (Crossing::LossExpected { percent: 5 }, "  encoder expects 5 % loss"),
        (Crossing::Returned(Value::Done), "= done"),
    ]);
}

#[test]
fn the_work_of_coders_is_told_in_samples() {
    assert_words(vec![
        (Crossing::Encoded { samples: 480, len: None, digest: None }, "  encoded 480 samples"),
        (
            Crossing::Encoded { samples: 480, len: Some(60), digest: Some(1) },
            "  encoded 480 samples 60 bytes",
        ),
        (Crossing::SilenceEncoded { len: Some(3) }, "  encoded silence 3 bytes"),
        (Crossing::SilenceEncoded { len: None }, "  encoded silence"),
        (Crossing::Duration(Some(960)), "  a packet of 960 samples"),
        (Crossing::Duration(None), "  a packet that cannot be read"),
        (Crossing::Decoded { frames: 960, digest: None }, "  decoded 960 samples"),
        (Crossing::Concealed { frames: 120, digest: None }, "  concealed 120 samples"),
        (Crossing::DecoderReset, "  decoder reset"),
        (Crossing::Copied(0), "  a packet without a copy"),
        (Crossing::Copied(960), "  a packet with a copy of 960 samples"),
        (Crossing::Repaired { frames: 960, digest: None }, "  repaired 960 samples"),
    ]);
}

#[test]
fn a_line_of_an_answer_is_told_with_its_direction() {
    let line = |video: bool, receives, sends| {
        let copies = !video;
        LineOutcome::Media { video, receives, sends, codec: 1, copies }
    };
    assert_words(vec![
        (line(true, true, true), "video vp8 both ways"),
        (line(true, true, false), "video vp8 in"),
        (line(true, false, true), "video vp8 out"),
        (line(false, false, false), "audio vp8 off, takes copies"),
        (LineOutcome::Channels, "channels"),
        (LineOutcome::Rejected, "rejected"),
    ]);
}

fn heard_copy() -> Heard {
    match heard_media(true, None) {
        Heard::Media {
            line, codec, seq, rtp_time, ssrc, contiguous, keyframe, len, data, ..
        } => {
            let (repaired, level) = (true, Some((30, true)));
            Heard::Media {
                line,
                codec,
                seq,
                rtp_time,
                ssrc,
                contiguous,
                keyframe,
                repaired,
                level,
                len,
                data,
            }
        }
        other => other,
    }
}

fn heard_media(contiguous: bool, len: Option<u32>) -> Heard {
    Heard::Media {
        line: 0,
        codec: 0,
        seq: 7,
        rtp_time: 960,
        ssrc: 1,
        contiguous,
        keyframe: true,
        repaired: false,
        level: None,
        len,
        data: vec![],
    }
}

#[test]
fn what_the_transport_told_is_shown_in_words() {
    let message = Heard::Message {
        channel: 1,
        binary: Some(false),
        len: 4,
        meaning: Meaning::Ping,
        data: vec![],
    };
    let stats = TransportStats {
        rtt: Some(Duration::from_millis(42)),
        loss_sent: Some(0.25),
        loss_received: Some(0.5),
        ..TransportStats::default()
    };
    assert_words(vec![
        (Heard::IceConnected, "ICE connected"),
        (Heard::IceDisconnected, "ICE disconnected"),
        (Heard::Connected, "connected"),
        (heard_media(true, None), "media line 0 opus seq 7 time 960"),
        (heard_media(false, Some(80)), "media line 0 opus seq 7 time 960 80 bytes, after a loss"),
        (heard_copy(), "media line 0 opus seq 7 time 960 -30 dB, from a copy"),
        (Heard::KeyframeRequest(2), "keyframe wanted, line 2"),
        (Heard::ChannelOpen { channel: 1, label: "chat".to_owned() }, "channel 1 open: chat"),
        (message, "message channel 1, 4 bytes, text: Ping"),
        (Heard::ChannelClose(1), "channel 1 closed"),
        (Heard::BufferedAmountLow(1), "room on channel 1"),
        (Heard::Stats(TransportStats::default()), "stats"),
        (Heard::Stats(stats), "stats 42 ms round trip 0.25 of ours lost 0.5 of theirs lost"),
        (Heard::PeerReport { line: 1, packets: 9 }, "report on 9 packets, line 1"),
        (heard_tone(5, true, false), "key 5 line 1 seq 8 time 9, 4800 ticks, begins"),
        (heard_tone(16, false, true), "key ? line 1 seq 8 time 9, 4800 ticks, ends"),
        (Heard::HungUp, "hung up"),
        (Heard::Fault("no key".to_owned()), "fault: no key"),
    ]);
}

fn heard_tone(code: u8, is_first: bool, is_end: bool) -> Heard {
    let (line, seq, rtp_time, ssrc, rate, ticks) = (1, 8, 9, 7, 48_000, 4_800);
    Heard::Tone { line, seq, rtp_time, ssrc, rate, code, is_first, is_end, ticks }
}

#[test]
fn keys_that_were_sent_are_shown_where_they_are_known() {
    let tone = |code| Crossing::Tone {
        line: 1,
        code,
        rtp_time: 960,
        duration: 40_000_000,
        written: Written::Taken,
    };
    assert_words(vec![
        (tone(Some(11)), "> key # line 1 time 960, 0.040 s: taken"),
        (tone(None), "> key ? line 1 time 960, 0.040 s: taken"),
    ]);
}

#[test]
fn what_a_call_gave_is_shown_in_words() {
    let audio =
        |origin| Value::Audio { samples: 480, time: 20_000_000, origin, level: None, digest: None };
    let (samples, time, level) = (480, 20_000_000, Some((30, true)));
    let spoken = Value::Audio { samples, time, origin: 0, level, digest: None };
    assert_words(vec![
        (Value::Done, "done"),
        (Value::Error("Closed".to_owned()), "error: Closed"),
        (Value::Message { sent: true }, "sent"),
        (Value::Message { sent: false }, "queued"),
        (Value::AudioId(4), "piece 4"),
        (Value::Cleared(vec![]), "cleared 0 pieces"),
        (Value::Cleared(vec![(4, 480, 20)]), "cleared 1 pieces, piece 4: 480 sent, 20 dropped"),
        (audio(0), "480 samples at 0.020 s, decoded"),
        (spoken, "480 samples at 0.020 s, decoded, the peer says -30 dB"),
        (audio(1), "480 samples at 0.020 s, repaired"),
        (audio(2), "480 samples at 0.020 s, concealed"),
        (audio(3), "480 samples at 0.020 s, silence"),
        (audio(4), "480 samples at 0.020 s, unknown"),
    ]);
}

#[test]
fn what_the_application_was_told_is_shown_in_words() {
    let started = |receives, sends| Told::TrackStarted {
        track: 1,
        source: "camera".to_owned(),
        receives,
        sends,
    };
    let pressed = |digit| Told::Dtmf { track: 1, digit, duration: 100_000_000 };
    assert_words(vec![
        (Told::State("connected".to_owned()), "state connected"),
        (Told::ChannelOpened("chat".to_owned()), "channel opened: chat"),
        (Told::ChannelClosed, "channel closed"),
        (Told::Message { binary: Some(true), len: 9, digest: None }, "message 9 bytes, binary"),
        (Told::MessagesDrained, "messages drained"),
        (Told::MessagesDropped(3), "3 messages dropped"),
        (started(true, true), "track 1 started: camera, both ways"),
        (started(true, false), "track 1 started: camera, in"),
        (started(false, true), "track 1 started: camera, out"),
        (started(false, false), "track 1 started: camera, off"),
        (Told::TrackEnded(1), "track 1 ended"),
        (Told::TrackStatus { track: 1, enabled: true }, "track 1 switched on"),
        (Told::TrackStatus { track: 1, enabled: false }, "track 1 switched off"),
        (Told::AudioReadable(0), "audio readable, track 0"),
        (Told::EncodedReadable(1), "coded frame readable, track 1"),
        (Told::AudioStarted { id: 2 }, "piece 2 begins"),
        (Told::AudioFinished { id: 2, samples: 480 }, "piece 2 out, 480 samples"),
        (Told::KeyframeRequested(1), "keyframe requested, track 1"),
        (pressed(Some('#')), "key # pressed for 0.100 s, track 1"),
        (pressed(None), "key ? pressed for 0.100 s, track 1"),
        (Told::DtmfSent, "keys sent"),
        (Told::Closed("lost".to_owned()), "closed: lost"),
    ]);
}

#[test]
fn what_the_endpoint_decided_is_shown_with_the_way_of_the_datagram() {
    let way = "192.0.2.1:5000 > 192.0.2.1:7860 on transport 3";
    let told = |routing: Routing| routing.to_string();
    let admitted = Routing::Admitted { sessions: 5, half_open: 2 };
    assert_eq!(told(admitted), "admitted beside 5 sessions, 2 never connected");
    assert_eq!(told(Routing::Bound(path())), format!("bound {way}"));
    let instead = format!("bound {way}, another address went");
    assert_eq!(told(Routing::BoundInsteadOf(path())), instead);
    assert_eq!(told(Routing::AddressRefused(path())), format!("refused the address {way}"));
    assert_eq!(told(Routing::Forged(path())), format!("refused a forged request {way}"));
    assert_eq!(told(Routing::Released), "freed all addresses");
}
