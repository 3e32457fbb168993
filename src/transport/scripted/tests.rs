//! The scripted transport with the wire in the test's hands.

mod words;

use super::*;

const OFFER: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:0123456789012345678901\r\n\
    a=fingerprint:sha-256 00:11:22:33\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\nm=application 9 UDP/DTLS/SCTP x\r\na=mid:2\r\n";
const PAGE_PWD: &str = "0123456789012345678901";

/// A transport that has accepted [`OFFER`].
struct Bench {
    transport: Scripted,
    now: Instant,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: name.into(), pwd: format!("the secret of {name}") }
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    fn new() -> Bench {
        let now = Instant::now();
        let setup = TransportSetup { credentials: credentials("bot"), public_seed: 1 };
        let mut transport = Scripted::new(&Config::new(), setup, now);
        let local = LocalCandidate::host(TransportId(3), address("192.0.2.1:7000"));
        transport.add_local_candidate(local, now);
        transport.accept_offer(&Offer::parse(OFFER).unwrap(), credentials("new"), now).unwrap();
        Bench { transport, now }
    }

    fn connected() -> Bench {
        let mut bench = Bench::new();
        assert!(bench.check("bot", "198.51.100.1:5000").authenticated);
        bench.say(&[Frame::Hello]);
        assert_eq!(bench.events(), [TransportEvent::IceConnected, TransportEvent::Connected]);
        bench.sent();
        bench
    }

    fn receive(&mut self, source: &str, payload: Vec<u8>) -> Received {
        let to = address("192.0.2.1:7000");
        let datagram = Datagram::udp(TransportId(3), address(source), to, payload.into());
        self.transport.handle_datagram(datagram, self.now)
    }

    fn check(&mut self, name: &str, source: &str) -> Received {
        let pwd = credentials(name).pwd;
        self.receive(source, stun::request([1; 12], name, "page", &pwd, true))
    }

    fn say(&mut self, frames: &[Frame<'_>]) -> Vec<TransportEvent> {
        let received = self.receive("198.51.100.1:5000", encode(frames));
        assert!(!received.malformed);
        if frames == [Frame::Hello] { Vec::new() } else { self.events() }
    }

    fn events(&mut self) -> Vec<TransportEvent> {
        std::iter::from_fn(|| self.transport.poll_event()).collect()
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.transport.poll_transmit()).collect()
    }

    fn open(&mut self, number: u32, channel: u16) -> Vec<TransportEvent> {
        let chunk = Chunk { number, channel, content: Content::Open, data: b"chat" };
        self.say(&[Frame::Chunk(chunk)])
    }
}

fn media(line: Line, seq: u64, first: bool, more: bool, data: &[u8]) -> Frame<'_> {
    let codec = if line == 0 { Codec::Opus } else { Codec::Vp8 };
    Frame::Media(Media { line, first, more, ..Media::whole(codec, seq, seq * 960, data) })
}

#[test]
fn a_check_with_the_wrong_name_or_password_is_not_answered() {
    let mut bench = Bench::new();
    let forged = stun::request([1; 12], "bot", "page", "guess", true);
    assert!(!bench.transport.verifies(&forged));
    assert_eq!(bench.receive("198.51.100.1:5000", forged), Received::default());
    assert_eq!(bench.check("other", "198.51.100.1:5000"), Received::default());
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

#[test]
fn frames_from_an_address_without_a_check_do_nothing() {
    let mut bench = Bench::connected();
    for frame in [Frame::Goodbye, Frame::Fault("x"), Frame::IceLost] {
        assert_eq!(bench.receive("203.0.113.9:1", encode(&[frame])), Received::default());
    }
    assert!(bench.sent().is_empty() && bench.events().is_empty());
}

#[test]
fn the_peer_has_sixteen_addresses_and_no_more() {
    let mut bench = Bench::new();
    for port in 1..=ADDRESSES_MAX {
        assert!(bench.check("bot", &format!("198.51.100.1:{port}")).authenticated);
    }
    assert!(!bench.check("bot", "198.51.100.1:17").authenticated);
    assert!(bench.check("bot", "198.51.100.1:16").authenticated);
}

#[test]
fn consent_is_asked_for_and_its_loss_is_told() {
    let mut bench = Bench::connected();
    let mut lost_after = None;
    for _ in 0..20 {
        let at = bench.transport.poll_timeout().expect("the next check");
        bench.transport.handle_timeout(at);
        let request = bench.sent().remove(0);
        assert!(stun::Binding::parse(&request.payload).unwrap().verifies(PAGE_PWD));
        if bench.events() == [TransportEvent::IceDisconnected] {
            lost_after = Some(at - bench.now);
            break;
        }
    }
    assert_eq!(lost_after, Some(ICE_LOST_AFTER));
    let at = bench.transport.poll_timeout().expect("the next check");
    bench.transport.handle_timeout(at);
    let request = bench.sent().remove(0).payload;
    let transaction = stun::Binding::parse(&request).unwrap().transaction;
    let response = stun::response(transaction, address("192.0.2.1:7000"), PAGE_PWD);
    assert!(bench.receive("198.51.100.1:5000", response).authenticated);
    assert_eq!(bench.events(), [TransportEvent::IceConnected]);
}

#[test]
fn sixteen_channels_are_taken_and_no_more() {
    let mut bench = Bench::connected();
    for number in 0..CHANNELS_MAX as u32 {
        let opened = TransportEvent::ChannelOpen(ChannelId(number), "chat".into());
        assert_eq!(bench.open(number, number as u16), [opened]);
    }
    assert_eq!(bench.open(CHANNELS_MAX as u32, 99), []);
}

#[test]
fn messages_pass_both_ways_and_the_buffer_falls_with_the_acknowledgement() {
    let mut bench = Bench::connected();
    bench.open(0, 7);
    let (channel, now) = (ChannelId(0), bench.now);
    assert_eq!(bench.transport.write_channel(channel, false, b"hello", now), ChannelWritten::Taken);
    assert_eq!(bench.transport.buffered_amount(channel), 5);
    let low = TransportEvent::BufferedAmountLow(channel);
    assert_eq!(bench.say(&[Frame::Ack { next: 1 }]), [low]);
    assert_eq!(bench.transport.buffered_amount(channel), 0);
    let chunk = Chunk { number: 1, channel: 7, content: Content::Binary, data: b"hi" };
    let data = TransportEvent::ChannelData(channel, true, b"hi".to_vec());
    assert_eq!(bench.say(&[Frame::Chunk(chunk)]), [data]);
    let gone = bench.transport.write_channel(ChannelId(1), false, b"hello", now);
    assert_eq!(gone, ChannelWritten::Gone);
    let long = vec![0; MESSAGE_LEN_MAX + 1];
    let refused = bench.transport.write_channel(channel, false, &long, now);
    assert_eq!(refused, ChannelWritten::TooLarge(MESSAGE_LEN_MAX));
}

#[test]
fn pictures_are_put_together_and_a_lost_piece_loses_its_picture() {
    let mut bench = Bench::connected();
    assert_eq!(bench.say(&[media(1, 0, true, true, b"ab")]), []);
    let events = bench.say(&[media(1, 1, false, false, b"c")]);
    assert!(matches!(&events[..], [TransportEvent::Media(packet)]
        if *packet.data == *b"abc" && packet.contiguous && packet.seq == 1));
    assert_eq!(bench.say(&[media(1, 2, true, true, b"ab")]), []);
    assert_eq!(bench.say(&[media(1, 4, false, false, b"c")]), []);
    let events = bench.say(&[media(1, 7, true, false, b"d")]);
    assert!(matches!(&events[..], [TransportEvent::Media(packet)] if !packet.contiguous));
}

#[test]
fn a_picture_has_a_limit() {
    for (pieces, arrives) in
        [(PICTURE_LEN_MAX / 32_768, true), (PICTURE_LEN_MAX / 32_768 + 1, false)]
    {
        let mut bench = Bench::connected();
        let mut events = Vec::new();
        for piece in 0..pieces {
            let frame = media(1, piece as u64, piece == 0, piece + 1 < pieces, &[0; 32_768]);
            events = bench.say(&[frame]);
        }
        assert_eq!(!events.is_empty(), arrives, "{pieces}");
    }
}

#[test]
fn media_past_the_transmit_limit_is_dropped_and_within_the_datagram_limit() {
    let mut bench = Bench::connected();
    let zeros = vec![0; 100_000];
    let frame = |line, codec, len: usize| MediaWrite {
        line,
        codec,
        rtp_time: 0,
        talkspurt: false,
        voice: None,
        level: None,
        redundant: false,
        data: &zeros[..len],
    };
    let now = bench.now;
    let picture = frame(1, Codec::Vp8, 100_000);
    assert_eq!(bench.transport.write_media(&picture, now), MediaWritten::Taken);
    assert_eq!(bench.transport.write_media(&picture, now), MediaWritten::Taken);
    assert_eq!(bench.transport.write_media(&picture, now), MediaWritten::Dropped);
    assert_eq!(bench.transport.write_media(&frame(0, Codec::Vp8, 9), now), MediaWritten::NotReady);
    assert_eq!(bench.transport.write_media(&frame(7, Codec::Opus, 9), now), MediaWritten::NotReady);
    assert!(bench.sent().iter().all(|transmit| transmit.payload.len() <= 1150));
    assert_eq!(bench.transport.write_media(&picture, now), MediaWritten::Taken);
}

#[test]
fn a_restart_takes_the_fresh_credentials_and_another_certificate_is_refused() {
    let mut bench = Bench::connected();
    let now = bench.now;
    let again = Offer::parse(OFFER).unwrap();
    let same = bench.transport.accept_offer(&again, credentials("new"), now).unwrap();
    assert_eq!(same.credentials, credentials("bot"));
    let restart = Offer::parse(&OFFER.replace("ufrag:page", "ufrag:PAGE")).unwrap();
    let fresh = bench.transport.accept_offer(&restart, credentials("new"), now).unwrap();
    assert_eq!(fresh.credentials, credentials("new"));
    assert!(fresh.answer.sdp().contains("a=ice-ufrag:new\r\n"));
    let foreign = Offer::parse(&OFFER.replace("00:11", "00:12")).unwrap();
    let refused = bench.transport.accept_offer(&foreign, credentials("x"), now);
    assert!(matches!(refused, Err(NegotiateError::Incompatible { .. })));
}

#[test]
fn close_says_goodbye_once_and_is_silent_after_it() {
    let mut bench = Bench::connected();
    bench.transport.close(bench.now);
    bench.transport.close(bench.now);
    assert!(!bench.transport.is_closed());
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(decode(&sent[0].payload).unwrap(), [Frame::Goodbye]);
    assert!(bench.transport.is_closed());
    assert_eq!(bench.say(&[Frame::Hello, Frame::Fault("late")]), []);
    assert_eq!(bench.transport.poll_timeout(), None);
}

#[test]
fn no_bytes_whatever_make_it_panic_or_grow() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bench = Bench::connected();
    let seeds = [
        encode(&[media(1, 3, true, true, b"abc"), media(0, (1 << 48) - 1, true, false, b"x")]),
        encode(&[Frame::Chunk(Chunk {
            number: 0,
            channel: 1,
            content: Content::More,
            data: &[1; 99],
        })]),
        encode(&[
            Frame::Ack { next: 1 },
            Frame::Report { rtt_ms: 1, lost_per_mille: 2, jitter_ms: 3 },
        ]),
        stun::request([1; 12], "bot", "page", &credentials("bot").pwd, true),
    ];
    for _ in 0..20_000 {
        let mut bytes = seeds[random.usize(..seeds.len())].clone();
        for _ in 0..random.usize(..4) {
            let index = random.usize(..bytes.len());
            bytes[index] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        let _ = bench.receive("198.51.100.1:5000", bytes);
        bench.events();
        assert!(bench.transport.transmit_bytes <= TRANSMIT_BYTES_MAX);
        if random.u8(..) == 0 {
            bench.sent();
        }
    }
}

/// A bench whose page takes copies, and frames for its sound.
fn with_copies(offer: &str) -> Bench {
    let mut bench = Bench::connected();
    let offer = Offer::parse(offer).unwrap();
    bench.transport.accept_offer(&offer, credentials("bot"), bench.now).unwrap();
    bench.sent();
    bench
}

fn copy_offer() -> String {
    OFFER.replace("SAVPF 111\r\n", "SAVPF 111 63\r\na=rtpmap:63 red/48000/2\r\n")
}

/// The numbers of the frames in each datagram, oldest first.
fn numbers(sent: &[Transmit]) -> Vec<Vec<u64>> {
    let of = |transmit: &Transmit| {
        let frames = frames(&transmit.payload).unwrap();
        let media = frames.filter_map(|frame| match frame {
            Frame::Media(media) => Some((media.seq, media.time, media.data.len())),
            _ => None,
        });
        let media: Vec<_> = media.collect();
        media.iter().for_each(|(.., len)| assert_eq!(*len, 80));
        media.into_iter().map(|(seq, ..)| seq).collect()
    };
    sent.iter().map(of).collect()
}

fn sound(number: u64, redundant: bool, data: &[u8]) -> MediaWrite<'_> {
    MediaWrite {
        line: 0,
        codec: Codec::Opus,
        rtp_time: number * 960,
        talkspurt: false,
        voice: None,
        level: None,
        redundant,
        data,
    }
}

#[test]
fn a_redundant_frame_takes_the_one_before_along_if_that_was_redundant_too() {
    let mut bench = with_copies(&copy_offer());
    let frame = [1; 80];
    for (number, redundant) in [(0, true), (1, true), (2, false), (3, true), (4, true)] {
        let written = bench.transport.write_media(&sound(number, redundant, &frame), bench.now);
        assert_eq!(written, MediaWritten::Taken);
        let picture = MediaWrite { line: 1, codec: Codec::Vp8, ..sound(number, false, &[7; 80]) };
        assert_eq!(bench.transport.write_media(&picture, bench.now), MediaWritten::Taken);
    }
    let sent = bench.sent();
    let of_sound: Vec<_> = numbers(&sent).into_iter().step_by(2).collect();
    assert_eq!(of_sound, [vec![0], vec![0, 1], vec![2], vec![3], vec![3, 4]]);
}

#[test]
fn a_copy_has_the_limits_of_red_and_of_the_datagram() {
    let older = |number: u64| {
        let mut bench = with_copies(&copy_offer());
        for at in [0, number] {
            let _ = bench.transport.write_media(&sound(at, true, &[1; 80]), bench.now);
        }
        numbers(&bench.sent())[1].len()
    };
    // 17 packets of 20 ms are 16320 samples, and 16383 can be said.
    assert_eq!((older(17), older(18)), (2, 1));
    let lens = |first: usize, second: usize| {
        let mut bench = with_copies(&copy_offer());
        for (at, len) in [(0, first), (1, second)] {
            let data = vec![1; len];
            let written = bench.transport.write_media(&sound(at, true, &data), bench.now);
            assert_eq!(written, MediaWritten::Taken);
        }
        let sent = bench.sent();
        assert!(sent.iter().all(|transmit| transmit.payload.len() <= 1150));
        frames(&sent[1].payload).unwrap().count()
    };
    assert_eq!((lens(1023, 10), lens(1024, 10)), (2, 1));
    let room = 1150 - HEADER_LEN - 2 * MEDIA_OVERHEAD;
    assert_eq!((lens(500, room - 500), lens(500, room - 499)), (2, 1));
}

#[test]
fn a_page_that_takes_no_copies_gets_none() {
    let mut bench = with_copies(&copy_offer());
    let _ = bench.transport.write_media(&sound(0, true, &[1; 80]), bench.now);
    // It takes them back in the middle of the call.
    bench
        .transport
        .accept_offer(&Offer::parse(OFFER).unwrap(), credentials("bot"), bench.now)
        .unwrap();
    for number in 1..4 {
        let _ = bench.transport.write_media(&sound(number, true, &[1; 80]), bench.now);
    }
    assert_eq!(numbers(&bench.sent()), [[0], [1], [2], [3]]);
}
