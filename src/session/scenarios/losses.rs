//! What does not arrive is counted, and what is late ends no call.

use super::*;
use crate::Answer;
use crate::transport::{
    ChannelId, ChannelWritten, Line, MediaWrite, MediaWritten, Negotiated, Received, ToneWrite,
    Transport, TransportEvent,
};
use crate::{Transmit, UdpCandidate};

/// A transport that takes neither media nor messages: it says why instead.
#[derive(Debug)]
struct Refusing {
    media: MediaWritten,
    message: ChannelWritten,
}

impl Transport for Refusing {
    fn add_local_candidate(&mut self, _: LocalCandidate, _: Instant) {}
    fn add_remote_candidate(&mut self, _: &UdpCandidate, _: Instant) {}

    fn accept_offer(
        &mut self,
        _: &Offer,
        credentials: IceCredentials,
        _: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        let answer = Answer::new(String::new());
        Ok(Negotiated { answer, credentials, lines: Vec::new(), message_max: 1 })
    }

    fn verifies(&self, _: &[u8]) -> bool {
        false
    }

    fn handle_datagram(&mut self, _: Datagram, _: Instant) -> Received {
        Received::default()
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn write_media(&mut self, _: &MediaWrite<'_>, _: Instant) -> MediaWritten {
        self.media
    }

    fn write_tone(&mut self, _: &ToneWrite, _: Instant) -> MediaWritten {
        self.media
    }

    fn request_keyframe(&mut self, _: Line, _: Instant) {}

    fn write_channel(&mut self, _: ChannelId, _: bool, _: &[u8], _: Instant) -> ChannelWritten {
        self.message
    }

    fn buffered_amount(&mut self, _: ChannelId) -> usize {
        0
    }

    fn set_buffered_amount_low_threshold(&mut self, _: ChannelId, _: usize) {}
    fn close(&mut self, _: Instant) {}

    fn poll_event(&mut self) -> Option<TransportEvent> {
        None
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    fn has_transmit(&self) -> bool {
        false
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

/// A call that is connected, with a channel, above a transport that refuses from now on.
fn refused(media: MediaWritten, message: ChannelWritten) -> Rig {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    rig.session.transport = Box::new(Refusing { media, message });
    rig
}

#[test]
fn messages_that_are_longer_than_the_peer_takes_are_told_and_leave_their_room() {
    let mut rig = refused(MediaWritten::Taken, ChannelWritten::TooLarge(1));
    let before = rig.session.stats();
    assert_eq!((before.messages_sent, before.messages_dropped), (0, 0));
    for count in 1..=3 {
        let taken = rig.session.send_message(Message::text("too long"), rig.now);
        assert_eq!(taken, Ok(Delivery::Sent), "nothing of it waits");
        let stats = rig.session.stats();
        assert_eq!((stats.messages_sent, stats.messages_dropped), (0, count));
        assert_eq!(rig.events(), [Event::MessagesDropped { count: 1 }]);
    }
    // What the protocol says itself is no message of the application's.
    rig.session.request_renegotiation(rig.now);
    assert_eq!(rig.session.stats().messages_dropped, 3);
    assert!(rig.session.outbox.is_empty());
}

#[test]
fn packets_of_sound_that_find_no_room_are_a_counted_loss_and_none_counts_as_sent() {
    for media in [MediaWritten::Dropped, MediaWritten::TooLarge(1), MediaWritten::NotReady] {
        let mut rig = refused(media, ChannelWritten::Taken);
        let before = rig.session.stats();
        let mut due = 0;
        while due < 3 {
            rig.now = rig.session.poll_timeout().expect("sound goes on without end");
            due += u64::from(rig.session.timers.deadline(timer::Timer::AudioOut) == Some(rig.now));
            rig.session.handle_timeout(rig.now);
            let stats = rig.session.stats();
            assert_eq!(stats.media_dropped - before.media_dropped, due, "{media:?}");
            assert_eq!(stats.audio_packets_sent, before.audio_packets_sent, "{media:?}");
        }
    }
}

#[test]
fn whole_pictures_ask_for_nothing_and_one_behind_a_gap_for_a_keyframe() {
    let mut rig = Rig::connected();
    rig.send(media(1, Codec::Vp8, (0, 0), b"picture"));
    let asked = rig.session.stats().keyframes_requested;
    for number in 1..4 {
        rig.pass(SECOND);
        rig.send(media(1, Codec::Vp8, (number, number * 9_000), b"picture"));
        assert!(rig.session.recv_encoded(TrackId(1)).is_some());
        assert_eq!(rig.session.stats().keyframes_requested, asked, "picture {number}");
    }
    rig.pass(SECOND);
    rig.send(media(1, Codec::Vp8, (5, 45_000), b"picture"));
    assert_eq!(rig.session.stats().keyframes_requested, asked + 1, "the fifth is missing");
}

#[test]
fn a_keyframe_is_not_asked_for_while_nobody_reads_and_at_once_when_somebody_does() {
    let mut rig = Rig::connected();
    let picture = |rig: &mut Rig, number: u64| {
        rig.pass(SECOND / 10);
        rig.check();
        rig.send(media(1, Codec::Vp8, (number, number * 9_000), b"picture"));
    };
    let start = rig.session.stats().keyframes_requested;
    // The second is missing, and the keyframe that would mend it never comes.
    for number in (0..=21).filter(|number| *number != 1) {
        picture(&mut rig, number);
    }
    let asked = rig.session.stats().keyframes_requested;
    assert!(asked > start + 1, "while somebody may read it is asked for again and again");
    for number in 22..100 {
        picture(&mut rig, number);
    }
    let stats = rig.session.stats();
    assert_eq!((stats.keyframes_requested, stats.encoded_dropped), (asked, 99));
    assert_eq!(rig.session.recv_encoded(TrackId(1)), None);
    assert_eq!(rig.session.stats().keyframes_requested, asked + 1, "somebody reads again");
}

#[test]
fn pictures_that_are_pulled_too_slowly_are_dropped_counted_and_a_keyframe_is_asked_for() {
    let mut rig = Rig::connected();
    rig.pass(SECOND);
    let asked = rig.session.stats().keyframes_requested;
    // A keyframe, then pictures that build on it, each a tenth of a second after the last.
    for number in 0..=21 {
        rig.send(media(1, Codec::Vp8, (number, number * 9_000), b"picture"));
        if number == 10 {
            assert!(rig.session.recv_encoded(TrackId(1)).is_some_and(|frame| frame.keyframe));
        }
    }
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_received, stats.encoded_dropped), (22, 0), "two seconds wait");
    // One more: the oldest goes, and with it all that build on it.
    rig.send(media(1, Codec::Vp8, (22, 22 * 9_000), b"picture"));
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_received, stats.encoded_dropped), (23, 22));
    assert_eq!(stats.keyframes_requested, asked + 1);
    rig.send(media(1, Codec::Vp8, (23, 23 * 9_000), b"picture"));
    assert_eq!(rig.session.stats().encoded_dropped, 23, "there is no keyframe yet");
    assert_eq!(rig.session.recv_encoded(TrackId(1)), None);
}

#[test]
fn coded_sound_is_no_picture_and_waits_for_no_keyframe_after_a_loss() {
    let config = Config::new().dangerous().null_codec(true).done().audio_in_encoded();
    let mut rig = Rig::with(config, SDP).started().connect();
    // Three seconds of packets of 20 ms, of which two wait at most.
    for number in 0..150 {
        let packet = Media::whole(Codec::Opus, number, number * 960, b"packet");
        rig.send(encode(&[Frame::Media(Media { keyframe: false, ..packet })]));
        if number == 100 {
            assert!(rig.session.recv_encoded(TrackId(0)).is_some());
        }
    }
    let stats = rig.session.stats();
    assert_eq!((stats.encoded_received, stats.encoded_dropped), (150, 48));
    let first = rig.session.recv_encoded(TrackId(0)).map(|frame| frame.time.as_millis());
    assert_eq!(first, Some(49 * 20));
    let left = std::iter::from_fn(|| rig.session.recv_encoded(TrackId(0))).count();
    assert_eq!(left, 100);
}

#[test]
fn a_call_that_lingers_is_ended_by_its_linger_time_and_not_by_silence() {
    let mut rig = Rig::connected();
    let linger = 60 * SECOND;
    rig.session.config = Config::new().linger(linger).shared();
    rig.chunk(Content::Open, b"chat");
    rig.acknowledge();
    rig.events();
    rig.session.close(rig.now);
    // The peer lives, and acknowledges nothing.
    rig.check();
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert_eq!(rig.pass(linger - Duration::from_millis(1)), []);
    let end = rig.pass(Duration::from_millis(1));
    assert_eq!(end, [Event::Closed { reason: CloseReason::Application }]);
}

#[test]
fn messages_that_wait_are_tried_again_as_soon_as_datagrams_are_out_and_then_once() {
    let mut rig = Rig::connected();
    rig.chunk(Content::Open, b"chat");
    rig.events();
    rig.session.handle_timeout(rig.now);
    rig.events();
    assert!(rig.session.poll_timeout() > Some(rig.now), "nothing is to be done");
    // Twice 64 KiB fill the window of a call whose round trip is not known.
    for delivery in [Delivery::Sent, Delivery::Sent, Delivery::Queued] {
        let message = Message::text("x".repeat(64 * 1024));
        assert_eq!(rig.session.send_message(message, rig.now), Ok(delivery));
    }
    while rig.session.poll_transmit().is_some() {}
    assert_eq!(rig.session.poll_timeout(), Some(rig.now), "there may be room");
    rig.session.handle_timeout(rig.now);
    while rig.session.poll_event().is_some() {}
    assert!(rig.session.poll_timeout() > Some(rig.now), "there was none");
}
