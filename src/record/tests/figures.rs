//! Figures of logs made by hand: each record in turn, and numbers that no call has.

use std::time::Duration;

use super::super::entry::{
    Call, Crossing, Entry, Heard, Meaning, Path, Routing, Told, Value, Written,
};
use super::{address, after, forged};
use crate::ConnectionState;
use crate::record::Figure;
use crate::transport::TransportStats;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A call in which the application is told something.
fn told(at: u64, told: Told) -> (Entry, Vec<Crossing>) {
    after(at, Call::PollEvent, vec![Crossing::Returned(Value::Event(told))])
}

/// A call in which the transport tells something.
fn heard(at: u64, heard: Heard) -> (Entry, Vec<Crossing>) {
    after(at, Call::HandleTimeout, vec![Crossing::Heard(heard)])
}

/// 20 ms of a call's sound on the wire.
fn packet(rtp_time: u64, sound: bool, written: Written) -> Crossing {
    let (voice, level, len) = (Some(sound), None, None);
    let (line, codec, talkspurt, redundant) = (0, 0, false, false);
    Crossing::Media { line, codec, rtp_time, talkspurt, voice, level, redundant, len, written }
}

fn speak(samples: u64, rate: u32, channels: u8, id: u64) -> (Entry, Vec<Crossing>) {
    let call = Call::SendAudio { rate, channels, samples, pcm: vec![] };
    after(0, call, vec![Crossing::Returned(Value::AudioId(id))])
}

/// What waits to be spoken after each record that changes it.
fn waiting(records: &[(Entry, Vec<Crossing>)]) -> Vec<Duration> {
    let log = forged(records);
    let waiting = log.figures().filter_map(|(_, figure)| match figure {
        Figure::AudioWaiting(waiting) => Some(waiting),
        _ => None,
    });
    waiting.collect()
}

#[test]
fn states_channel_and_end_come_with_their_times_and_unknown_states_are_left_out() {
    let log = forged(&[
        told(5, Told::State("connecting".to_owned())),
        told(10, Told::State("asleep".to_owned())),
        told(10, Told::ChannelOpened("chat".to_owned())),
        told(10, Told::ChannelClosed),
        told(10, Told::State("failed".to_owned())),
        told(0, Told::Closed("lost".to_owned())),
    ]);
    let figures: Vec<_> = log.figures().collect();
    assert_eq!(
        figures,
        [
            (ms(5), Figure::State(ConnectionState::Connecting)),
            (ms(25), Figure::ChannelOpened),
            (ms(35), Figure::ChannelClosed),
            (ms(45), Figure::State(ConnectionState::Failed)),
            (ms(45), Figure::Closed("lost")),
        ]
    );
}

#[test]
fn addresses_that_were_bound_are_figures_and_refused_ones_are_not() {
    let path = |port| Path { transport: 0, source: address(port), destination: address(9) };
    let routing = |routing| (Entry::Routing { after: 1_000_000, routing }, vec![]);
    let log = forged(&[
        routing(Routing::Admitted { sessions: 0, half_open: 0 }),
        routing(Routing::Bound(path(1))),
        routing(Routing::BoundInsteadOf(path(2))),
        routing(Routing::AddressRefused(path(3))),
        routing(Routing::Forged(path(4))),
        routing(Routing::Released),
    ]);
    let figures: Vec<_> = log.figures().collect();
    assert_eq!(figures, [(ms(2), Figure::Bound(address(1))), (ms(3), Figure::Bound(address(2)))]);
}

#[test]
fn sound_is_counted_at_its_own_rate_and_channels_until_packets_took_it() {
    let turn = |ms, rtp_time, sound| {
        after(ms, Call::HandleTimeout, vec![packet(rtp_time, sound, Written::Taken)])
    };
    let records = [
        speak(960, 24_000, 1, 0),
        // 20 ms in two channels.
        speak(1_920, 48_000, 2, 1),
        turn(0, 0, true),
        // Silence takes nothing.
        turn(20, 960, false),
        turn(20, 1_920, true),
        turn(20, 2_880, true),
        // What is empty stays so, and is no news.
        turn(20, 3_840, true),
    ];
    assert_eq!(waiting(&records), [ms(40), ms(60), ms(40), ms(20), ms(0)]);
}

#[test]
fn finished_pieces_set_right_what_waits_and_those_of_later_ones_stay() {
    let finish = |id| told(1, Told::AudioFinished { id, samples: 1 });
    let records = [
        speak(960, 48_000, 1, 0),
        speak(960, 48_000, 1, 1),
        speak(960, 48_000, 1, 2),
        finish(1),
        // Nothing is left of that one.
        finish(0),
        finish(2),
    ];
    assert_eq!(waiting(&records), [ms(20), ms(40), ms(60), ms(20), ms(0)]);
}

#[test]
fn a_clear_takes_what_waits_and_says_how_much() {
    let clear = || after(5, Call::ClearAudio, vec![Crossing::Returned(Value::Cleared(vec![]))]);
    let records = [speak(4_800, 48_000, 1, 0), clear(), clear()];
    let figures: Vec<_> =
        forged(&records).figures().map(|(at, figure)| (at, format!("{figure:?}"))).collect();
    let expected = [
        (ms(0), Figure::AudioWaiting(ms(100))),
        (ms(5), Figure::Cleared(ms(100))),
        (ms(5), Figure::AudioWaiting(ms(0))),
        (ms(10), Figure::Cleared(ms(0))),
        (ms(10), Figure::AudioWaiting(ms(0))),
    ];
    assert_eq!(figures, expected.map(|(at, figure)| (at, format!("{figure:?}"))));
}

#[test]
fn sound_of_an_impossible_form_is_counted_without_a_panic() {
    let longest = Duration::from_nanos(u64::MAX);
    let records = [speak(u64::MAX, 0, 0, 0), speak(u64::MAX, 0, 0, 1)];
    assert_eq!(waiting(&records), [longest, longest]);
}

#[test]
fn packets_are_late_by_what_they_miss_their_place_on_the_grid() {
    let turn = |ms, rtp_time, written| {
        after(ms, Call::HandleTimeout, vec![packet(rtp_time, true, written)])
    };
    let log = forged(&[
        turn(100, 960, Written::Taken),
        turn(20, 1_920, Written::Taken),
        turn(27, 2_880, Written::Full),
        // After a pause of a second only the RTP time counts.
        turn(1_000, 50_880, Written::Taken),
    ]);
    let packets: Vec<_> = log
        .figures()
        .filter_map(|(at, figure)| match figure {
            Figure::AudioPacket { late_ns, since_last, sound: true, taken } => {
                Some((at, late_ns, since_last, taken))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        packets,
        [
            (ms(100), 0, None, true),
            (ms(120), 0, Some(ms(20)), true),
            (ms(147), 7_000_000, Some(ms(27)), false),
            (ms(1_147), 7_000_000, Some(ms(1_000)), true),
        ]
    );
}

#[test]
fn a_first_packet_that_is_late_does_not_move_the_grid_of_those_that_follow_it() {
    let turn =
        |ms, rtp_time| after(ms, Call::HandleTimeout, vec![packet(rtp_time, true, Written::Taken)]);
    let log = forged(&[turn(105, 960), turn(15, 1_920), turn(21, 2_880)]);
    let late = log.figures().filter_map(|(_, figure)| match figure {
        Figure::AudioPacket { late_ns, .. } => Some(late_ns),
        _ => None,
    });
    assert_eq!(late.collect::<Vec<_>>(), [5_000_000, 0, 1_000_000]);
}

#[test]
fn rtp_times_beyond_all_time_are_late_by_the_most_that_can_be_said() {
    let turn =
        |rtp_time| after(1, Call::HandleTimeout, vec![packet(rtp_time, false, Written::Taken)]);
    let late = |first, second| {
        let log = forged(&[turn(first), turn(second)]);
        let late = log.figures().filter_map(|(_, figure)| match figure {
            Figure::AudioPacket { late_ns, .. } => Some(late_ns),
            _ => None,
        });
        late.collect::<Vec<_>>()
    };
    assert_eq!(late(0, u64::MAX), [0, i64::MIN]);
    assert_eq!(late(u64::MAX, 0), [0, i64::MAX]);
}

fn sound(at: u64, codec: u8, seq: u64, ssrc: u32) -> (Entry, Vec<Crossing>) {
    heard(
        at,
        Heard::Media {
            line: 0,
            codec,
            seq,
            rtp_time: 0,
            ssrc,
            contiguous: true,
            keyframe: true,
            repaired: false,
            level: None,
            len: None,
            data: vec![],
        },
    )
}

#[test]
fn packets_are_missing_where_numbers_of_a_stream_of_sound_leave_a_gap() {
    let log = forged(&[
        sound(0, 0, 10, 1),
        sound(20, 0, 11, 1),
        sound(20, 0, 14, 1),
        // One that is late closes no gap and makes none.
        sound(1, 0, 12, 1),
        sound(19, 0, 15, 1),
        // Another stream begins where it likes, and pictures do not count.
        sound(20, 0, 900, 2),
        sound(20, 1, 990, 2),
        sound(20, 0, 902, 2),
    ]);
    let missing = |packets| Figure::AudioMissing { line: 0, packets };
    let figures: Vec<_> = log.figures().collect();
    assert_eq!(figures, [(ms(40), missing(2)), (ms(120), missing(1))]);
}

#[test]
fn a_report_comes_as_the_transport_measured_it() {
    let stats = TransportStats {
        rtt: Some(ms(42)),
        loss_sent: Some(0.5),
        loss_received: None,
        jitter_received: Some(ms(3)),
        ..TransportStats::default()
    };
    let log = forged(&[heard(7, Heard::Stats(stats))]);
    let report = Figure::Report {
        rtt: Some(ms(42)),
        loss_sent: Some(0.5),
        loss_received: None,
        jitter_received: Some(ms(3)),
    };
    assert_eq!(log.figures().collect::<Vec<_>>(), [(ms(7), report)]);
}

#[test]
fn messages_that_came_say_whether_they_are_for_the_application() {
    let message = |len, meaning| {
        heard(0, Heard::Message { channel: 0, binary: None, len, meaning, data: vec![] })
    };
    let log = forged(&[message(4, Meaning::Ping), message(900, Meaning::Application)]);
    let figures: Vec<_> = log.figures().map(|(_, figure)| figure).collect();
    assert_eq!(
        figures,
        [
            Figure::MessageReceived { len: 4, application: false },
            Figure::MessageReceived { len: 900, application: true },
        ]
    );
}

fn say(len: u64, crossings: Vec<Crossing>) -> (Entry, Vec<Crossing>) {
    after(1, Call::SendMessage { binary: None, len, data: vec![] }, crossings)
}

fn wrote(len: u64, written: Written) -> Crossing {
    Crossing::Message { channel: 0, binary: None, len, digest: None, written }
}

/// What waits in front of the channel, after each record that changes it.
fn outbox(records: &[(Entry, Vec<Crossing>)]) -> Vec<(usize, u64)> {
    let log = forged(records);
    let waiting = log.figures().filter_map(|(_, figure)| match figure {
        Figure::MessagesWaiting { messages, bytes } => Some((messages, bytes)),
        _ => None,
    });
    waiting.collect()
}

#[test]
fn messages_wait_from_when_they_were_queued_until_the_channel_took_or_refused_them() {
    let queued = || vec![Crossing::Returned(Value::Message { sent: false })];
    let refused = || vec![Crossing::Returned(Value::Error("QueueFull".to_owned()))];
    let flush = |steps| after(1, Call::HandleTimeout, steps);
    let records = [
        say(100, queued()),
        say(20, queued()),
        say(7, refused()),
        say(3, queued()),
        // One of the protocol's own goes first, then there is no room.
        flush(vec![wrote(56, Written::Taken), wrote(100, Written::Full)]),
        flush(vec![wrote(100, Written::Taken), wrote(20, Written::TooLarge(10))]),
        told(1, Told::MessagesDropped(1)),
        // Nobody waits any more.
        told(1, Told::MessagesDropped(1)),
    ];
    assert_eq!(outbox(&records), [(1, 100), (2, 120), (3, 123), (2, 23), (1, 3), (0, 0)]);
}

#[test]
fn messages_that_are_given_up_are_news_only_where_there_were_any() {
    let given_up = || told(1, Told::MessagesDropped(1));
    assert_eq!(outbox(&[given_up()]), []);
    let queued = vec![Crossing::Returned(Value::Message { sent: false })];
    assert_eq!(outbox(&[say(100, queued), given_up()]), [(1, 100), (0, 0)]);
}

#[test]
fn a_message_that_is_sent_at_once_never_waits() {
    let sent = Crossing::Returned(Value::Message { sent: true });
    let log = forged(&[say(9, vec![wrote(9, Written::Taken), sent])]);
    let figures: Vec<_> = log.figures().map(|(_, figure)| figure).collect();
    assert_eq!(
        figures,
        [Figure::MessageSent { len: 9 }, Figure::MessagesWaiting { messages: 0, bytes: 0 },]
    );
}

#[test]
fn lengths_that_cannot_be_added_stay_at_the_most_that_can_be_said() {
    let queued = || vec![Crossing::Returned(Value::Message { sent: false })];
    let records = [say(u64::MAX, queued()), say(u64::MAX, queued())];
    assert_eq!(outbox(&records), [(1, u64::MAX), (2, u64::MAX)]);
}

#[test]
fn datagrams_and_what_is_buffered_come_with_their_lengths_where_those_are_kept() {
    let path = Some(Path { transport: 0, source: address(1), destination: address(2) });
    let log = forged(&[
        after(0, Call::HandleDatagram { path, len: Some(90) }, vec![]),
        after(0, Call::HandleDatagram { path: None, len: None }, vec![]),
        after(1, Call::HandleTimeout, vec![Crossing::Buffered { channel: 0, amount: 70_000 }]),
        after(0, Call::PollTransmit, vec![Crossing::Transmit { path, len: Some(1_200) }]),
    ]);
    let figures: Vec<_> = log.figures().collect();
    assert_eq!(
        figures,
        [
            (ms(0), Figure::DatagramReceived(Some(90))),
            (ms(0), Figure::DatagramReceived(None)),
            (ms(1), Figure::ChannelBuffered(70_000)),
            (ms(1), Figure::DatagramSent(Some(1_200))),
        ]
    );
}
