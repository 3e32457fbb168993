//! Calls in which everything happens that a session knows, recorded and replayed.

mod differences;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::{Call, Crossing, Entry, Heard, Meaning, Path, Routing, Told, Value};
use super::{Archive, Detail, Log, LogSink, Recording, replay};
use crate::scripted::{Chunk, Content, Frame, Media, Tone, decode, encode, stun};
use crate::{
    AudioFrame, CloseReason, Codec, Config, Datagram, EncodedFrame, Event, LocalCandidate, Message,
    Offer, RemoteCandidate, Seed, Session, TrackId, TransportId,
};

const MS: Duration = Duration::from_millis(1);
const DETAILS: [Detail; 3] = [Detail::None, Detail::Sizes, Detail::Full];
const SOUND: TrackId = TrackId(0);
const CAMERA: TrackId = TrackId(1);

const SDP: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
    a=fingerprint:sha-256 00:11:22\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 110\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    a=rtpmap:110 telephone-event/48000\r\n\
    a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=sendrecv\r\na=rtpmap:96 VP8/90000\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\na=sctp-port:5000\r\n";

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Archive for Memory {
    fn open(&self, _: &str) -> Option<Box<dyn LogSink>> {
        Some(Box::new(self.clone()))
    }
}

impl LogSink for Memory {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().extend_from_slice(bytes);
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

/// Two of these fill the window of a channel whose round trip is not known.
fn large(byte: u8) -> Message {
    Message::Binary(vec![byte; 70_000].into())
}

/// How the call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Replaced,
    PeerLeft,
    HungUp,
    Fault,
}

const ENDINGS: [Ending; 5] =
    [Ending::Close, Ending::Replaced, Ending::PeerLeft, Ending::HungUp, Ending::Fault];

/// A session that is recorded, and its peer.
struct Rig {
    session: Session,
    now: Instant,
    ufrag: String,
    pwd: String,
    /// Where the peer is.
    port: u16,
    chunk: u32,
    /// One past the last chunk of the session's stream, and how far it was acknowledged.
    expected: u32,
    acknowledged: u32,
    /// How many calls were made that a log has to hold.
    calls: usize,
}

impl Rig {
    fn new(config: Config, recording: Recording) -> Rig {
        let now = origin();
        let config = config.dangerous().scripted_transport(true).null_codec(true).done();
        let config = config.record(recording).shared();
        let session = Session::new(config, Seed::from_number(5), now);
        Rig {
            session,
            now,
            ufrag: String::new(),
            pwd: String::new(),
            port: 5000,
            chunk: 0,
            expected: 0,
            acknowledged: 0,
            calls: 0,
        }
    }

    /// Makes a call that is always in the log.
    fn make<T>(&mut self, call: impl FnOnce(&mut Session, Instant) -> T) -> T {
        self.calls += 1;
        call(&mut self.session, self.now)
    }

    fn offer(&mut self, sdp: &str) -> bool {
        let offer = Offer::parse(sdp).unwrap();
        let Ok(answer) = self.make(|session, now| session.accept_offer(&offer, now)) else {
            return false;
        };
        let value = |name: &str| {
            let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        (self.ufrag, self.pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        true
    }

    fn hear_from(&mut self, port: u16, payload: Vec<u8>) {
        let there = SocketAddr::from(([198, 51, 100, 7], port));
        let here = SocketAddr::from(([192, 0, 2, 1], 7860));
        let datagram = Datagram::udp(TransportId(0), there, here, Bytes::from(payload));
        self.make(|session, now| session.handle_datagram(datagram, now));
    }

    fn hear(&mut self, frame: Frame<'_>) {
        self.hear_from(self.port, encode(&[frame]));
    }

    fn check_from(&mut self, port: u16) {
        self.port = port;
        let request = stun::request([1; 12], &self.ufrag, "page", &self.pwd, true);
        self.hear_from(port, request);
    }

    fn chunk(&mut self, content: Content, data: &[u8]) {
        let number = self.chunk;
        self.chunk += 1;
        self.hear(Frame::Chunk(Chunk { number, channel: 1, content, data }));
    }

    /// Acknowledges what was sent, if something new was.
    fn acknowledge(&mut self) -> bool {
        self.drain();
        let next = self.expected;
        let is_new = next > self.acknowledged;
        if is_new {
            self.acknowledged = next;
            self.hear(Frame::Ack { next });
        }
        is_new
    }

    /// A packet of sound or a picture.
    fn media(&mut self, line: u8, (ssrc, seq): (u32, u64), data: &[u8]) {
        let (codec, step) = if line == 0 { (Codec::Opus, 960) } else { (Codec::Vp8, 3_000) };
        let (more, first, talkspurt, level) = (false, true, false, None);
        let keyframe = seq.is_multiple_of(10);
        let time = seq * step;
        let media =
            Media { line, codec, more, first, keyframe, talkspurt, level, ssrc, seq, time, data };
        self.hear(Frame::Media(media));
    }

    /// Keys of a telephone, both ways: two whose end comes, one that nobody ends, one that is none;
    /// some that are sent, some that are refused.
    fn keys(&mut self, turn: u8) {
        let code = if turn == 9 { 16 } else { turn };
        let (first, end) = (turn.is_multiple_of(3), turn == 0 || turn == 4);
        let (time, seq) = (u64::from(turn / 3) * 4_800, 1_000 + u64::from(turn));
        // A stream of their own: the one of the sound has its gaps in other places.
        let (rate, ssrc, ticks) = (48_000, 6, 960);
        if turn < 10 {
            let tone = Tone { line: 0, code, first, end, ticks, rate, ssrc, seq, time };
            self.hear(Frame::Tone(tone));
        }
        let keys = ["1,2", "12E", "#7", ""].get(usize::from(turn.wrapping_sub(5)));
        if let Some(keys) = keys {
            let _ = self.make(|session, now| session.send_dtmf(keys, 40 * MS, 30 * MS, now));
        }
        if turn == 30 {
            self.make(Session::clear_dtmf);
        }
    }

    /// Polls everything, and pulls what is told of.
    fn drain(&mut self) {
        let mut samples = [0; 700];
        loop {
            while let Some(transmit) = self.session.poll_transmit() {
                self.calls += 1;
                for frame in decode(&transmit.payload).into_iter().flatten() {
                    if let Frame::Chunk(chunk) = frame {
                        self.expected = self.expected.max(chunk.number + 1);
                    }
                }
            }
            let Some(event) = self.session.poll_event() else { break };
            self.calls += 1;
            match event {
                Event::AudioReadable(track) => {
                    while self.session.recv_audio(track, &mut samples).is_some() {
                        self.calls += 1;
                    }
                }
                Event::EncodedReadable(track) => {
                    while self.session.recv_encoded(track).is_some() {
                        self.calls += 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.drain();
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.make(Session::handle_timeout);
            self.drain();
        }
        self.now = until;
    }

    fn connect(&mut self) {
        let here = SocketAddr::from(([192, 0, 2, 1], 7860));
        let local = LocalCandidate::host(TransportId(0), here);
        for _ in 0..17 {
            let _ = self.make(|session, now| session.add_local_candidate(local, now));
        }
        self.make(Session::start);
        let refused = SDP.replace(" 9 UDP", " 0 UDP");
        assert!(!self.offer(&refused), "every line is stopped");
        assert!(self.offer(SDP));
        let line = "candidate:1 1 udp 1 198.51.100.7 5000 typ host";
        let usable = RemoteCandidate::parse(line).unwrap();
        for candidate in [usable, RemoteCandidate::Unusable, RemoteCandidate::EndOfCandidates] {
            self.make(|session, now| session.add_remote_candidate(&candidate, now)).unwrap();
        }
        self.pass(50 * MS);
        self.hear_from(5000, b"neither STUN nor a frame".to_vec());
        self.check_from(5000);
        self.hear(Frame::Hello);
        self.pass(50 * MS);
    }

    fn talk(&mut self) {
        let send = |rig: &mut Rig, message: Message| {
            let _ = rig.make(|session, now| session.send_message(message, now));
        };
        send(self, Message::text("before the channel"));
        self.chunk(Content::Open, "label \u{20ac}".as_bytes());
        for message in [Message::text(""), Message::text("a"), Message::Binary(vec![0, 159].into())]
        {
            send(self, message);
        }
        for turn in 0..4 {
            send(self, large(turn));
        }
        self.drain();
        while self.acknowledge() {}
        for text in [
            "hello",
            "ping: 1",
            r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":1,"enabled":false}}"#,
            r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":9,"enabled":true}}"#,
            r#"{"type":"signalling","message":{"type":"renegotiate"}}"#,
            r#"{"type":"signalling","message":0}"#,
        ] {
            self.chunk(Content::Text, text.as_bytes());
            self.drain();
        }
        self.chunk(Content::Binary, &[1, 2, 3]);
        self.chunk(Content::Binary, b"");
        self.chunk(Content::Text, &[0xff, 0xfe]);
        self.make(Session::request_renegotiation);
        self.pass(20 * MS);
    }

    fn speak(&mut self, channels: u8, is_coded: bool) {
        // The samples of both sides differ, and so do those of each packet.
        let packet = |value: u8| [b'N', 2, 2, 0, 0, 0, 0, value, 1, 9, 2, value, 3, 7, 4];
        let with_copy = |value: u8| {
            let mut packet = packet(value).to_vec();
            packet[0] = b'F';
            packet.extend([2, value, 1, 9, 2, value, 3, 7, 4]);
            packet
        };
        for turn in 0..40u8 {
            let seq = u64::from(turn);
            // Three packets are missing, of the last of which the next holds a copy, one comes
            // late, and then another stream begins.
            match turn {
                10..=12 => {}
                13 => self.media(0, (7, 13), &with_copy(13)),
                20 => self.media(0, (7, 21), &packet(21)),
                21 => self.media(0, (7, 20), &packet(20)),
                30.. => self.media(0, (8, seq), &packet(turn)),
                _ => self.media(0, (7, seq), &packet(turn)),
            }
            if turn != 15 {
                self.media(1, (9, seq), &[turn; 40]);
            }
            let block = vec![i16::from(turn) * 100; 480 * usize::from(channels)];
            let frame = AudioFrame { samples: &block, rate: 24_000, channels };
            let _ = self.make(|session, now| session.send_audio(frame, now));
            let data = Bytes::from(vec![turn; 30]);
            let time = u32::from(turn % 35) * 33 * MS;
            let picture = EncodedFrame::new(Codec::Vp8, time, turn == 0, data.clone());
            let _ = self.make(|session, now| session.send_encoded(CAMERA, picture, now));
            if is_coded {
                let sound = EncodedFrame::new(Codec::Opus, u32::from(turn) * 20 * MS, true, data);
                let _ = self.make(|session, now| session.send_encoded(SOUND, sound, now));
            }
            match turn {
                10 | 24 => self.make(Session::pause_audio),
                15 | 26 => self.make(Session::resume_audio),
                _ => {}
            }
            if turn == 25 {
                self.make(Session::clear_audio);
                self.make(|session, now| session.request_keyframe(CAMERA, now));
                self.make(|session, _| session.hold_events(true));
            }
            if turn == 27 {
                self.make(|session, _| session.hold_events(false));
            }
            self.keys(turn);
            self.pass(20 * MS);
        }
        let long = vec![0; 24_000 * 61];
        let _ = self.make(|session, now| session.send_audio(AudioFrame::mono(&long, 24_000), now));
    }

    /// What happens on the way, and is not sound.
    fn travel(&mut self) {
        self.hear(Frame::Keyframe { line: 1 });
        self.hear(Frame::Report { rtt_ms: 40, lost_per_mille: 10, jitter_ms: 3 });
        self.hear(Frame::IceLost);
        self.check_from(5001);
        self.hear(Frame::IceFound);
        assert!(self.offer(&SDP.replacen("a=sendrecv", "a=sendonly", 1)), "no sound");
        self.pass(100 * MS);
        assert!(!self.offer(&SDP.replace("00:11:22", "00:11:23")), "another certificate");
        assert!(self.offer(SDP));
        assert!(self.offer(&SDP.replace("page", "page2")), "an ICE restart");
        self.check_from(5002);
        self.pass(Duration::from_secs(9));
        self.check_from(5002);
        self.chunk(Content::Close, b"");
        self.drain();
        self.chunk(Content::Open, b"again");
        self.pass(100 * MS);
    }

    fn end(mut self, ending: Ending) -> usize {
        match ending {
            Ending::Close => self.make(Session::close),
            Ending::Replaced => {
                self.make(|session, now| session.close_for(CloseReason::Replaced, now));
            }
            Ending::PeerLeft => {
                self.chunk(Content::Text, crate::message::PEER_LEFT.as_bytes());
            }
            Ending::HungUp => self.hear(Frame::Goodbye),
            Ending::Fault => self.hear(Frame::Fault(&"why ".repeat(100))),
        }
        self.pass(Duration::from_secs(60));
        assert!(self.session.is_finished());
        self.calls
    }
}

/// One way to have a call.
#[derive(Clone, Copy, Debug)]
struct Kind {
    media: Detail,
    messages: Detail,
    channels: u8,
    is_coded: bool,
    ending: Ending,
}

/// A whole call: its log, and how many calls were made.
fn call(kind: Kind) -> (Vec<u8>, usize) {
    let Kind { media, messages, channels, is_coded, ending } = kind;
    let memory = Memory::default();
    let recording = Recording::new(Arc::new(memory.clone())).media(media).messages(messages);
    let config = Config::new().audio_in(48_000, channels).unwrap();
    let config = config.audio_out(24_000, channels).unwrap();
    let coded = |config: Config| config.audio_in_encoded().audio_out_encoded();
    let config = if is_coded { coded(config) } else { config };
    let mut rig = Rig::new(config, recording);
    rig.connect();
    rig.talk();
    rig.speak(channels, is_coded);
    rig.travel();
    let calls = rig.end(ending);
    let bytes = memory.0.lock().unwrap().clone();
    (bytes, calls)
}

#[test]
fn whatever_happens_in_a_call_its_log_replays_identical_at_every_detail() {
    let details = DETAILS.into_iter().flat_map(|media| DETAILS.map(|messages| (media, messages)));
    for (turn, (media, messages)) in details.enumerate() {
        // At each detail of media one call in stereo, and one whose sound is not decoded here.
        let (channels, is_coded) = [(1, false), (2, false), (2, true)][turn % 3];
        let ending = ENDINGS[turn % ENDINGS.len()];
        let kind = Kind { media, messages, channels, is_coded, ending };
        let (bytes, calls) = call(kind);
        let log = Log::read(&bytes).unwrap();
        assert!(log.is_whole() && !log.is_full(), "{kind:?}");
        assert_eq!(log.calls(), calls, "{kind:?}");
        let replay = replay(&log, origin()).unwrap();
        assert!(replay.is_identical(), "{kind:?}: {replay}");
        assert_eq!(replay.calls, calls as u64, "{kind:?}");
        assert_eq!(replay.crossings, steps(&log), "{kind:?}");
    }
}

/// The steps of a log that a replay takes: all but a deadline that nobody saw.
fn steps(log: &Log) -> u64 {
    let all = log.records.iter().flat_map(|record| &record.crossings);
    all.filter(|crossing| !matches!(crossing, Crossing::DeadlineUnseen)).count() as u64
}

fn plain(media: Detail, messages: Detail) -> Log {
    let kind = Kind { media, messages, channels: 1, is_coded: false, ending: Ending::Close };
    Log::read(&call(kind).0).unwrap()
}

fn crossings(log: &Log) -> impl Iterator<Item = &Crossing> {
    log.records.iter().flat_map(|record| &record.crossings)
}

fn calls(log: &Log) -> impl Iterator<Item = &Call> {
    log.records.iter().filter_map(|record| match &record.entry {
        Entry::Call { call, .. } => Some(call),
        _ => None,
    })
}

#[test]
fn what_is_kept_of_media_in_calls_follows_the_detail() {
    for detail in DETAILS {
        let log = plain(detail, Detail::Sizes);
        let (sizes, full) = (detail != Detail::None, detail == Detail::Full);
        let mut lens: BTreeSet<u32> = BTreeSet::new();
        for call in calls(&log) {
            match call {
                Call::HandleDatagram { len, .. } => {
                    assert_eq!(len.is_some(), sizes);
                    lens.extend(len);
                }
                Call::SendAudio { samples: 480, pcm, .. } => {
                    assert_eq!(pcm.len(), if full { 480 } else { 0 });
                }
                Call::SendEncoded { len, data, .. } => {
                    assert_eq!((*len, data.len()), (30, if full { 30 } else { 0 }));
                }
                _ => {}
            }
        }
        assert_eq!(lens.len() > 5 && lens.contains(&24), sizes, "{lens:?}");
    }
}

#[test]
fn what_is_kept_of_media_below_a_session_follows_the_detail() {
    for detail in DETAILS {
        let log = plain(detail, Detail::Sizes);
        let (sizes, full) = (detail != Detail::None, detail == Detail::Full);
        let mut seen = BTreeSet::new();
        for crossing in crossings(&log) {
            match crossing {
                Crossing::Heard(Heard::Media { line: 0, seq, len, data, .. }) => {
                    seen.insert("sound in");
                    let size = if *seq == 13 { 24 } else { 15 };
                    assert_eq!(*len, sizes.then_some(size));
                    assert_eq!(data.len(), if full { size as usize } else { 0 });
                }
                Crossing::Heard(Heard::Media { line: 1, len, data, .. }) => {
                    seen.insert("picture in");
                    assert_eq!(*len, Some(40), "pictures count towards a limit");
                    assert_eq!(data.len(), if full { 40 } else { 0 });
                }
                Crossing::Media { line: 0, level, voice, len, .. } => {
                    seen.insert("sound out");
                    assert_eq!((level.is_some(), len.is_some()), (sizes, sizes));
                    assert!(voice.is_some());
                }
                Crossing::Media { line: 1, level, voice, len, .. } => {
                    seen.insert("picture out");
                    assert_eq!((*level, *voice, *len), (None, None, sizes.then_some(30)));
                }
                Crossing::Encoded { len, digest, .. } => {
                    seen.insert("encoded");
                    assert_eq!((len.is_some(), digest.is_some()), (sizes, full));
                }
                Crossing::SilenceEncoded { len } => {
                    seen.insert("silence");
                    assert_eq!(len.is_some(), sizes);
                }
                Crossing::Repaired { digest, .. } => {
                    seen.insert("repaired");
                    assert_eq!(digest.is_some(), full);
                }
                Crossing::Decoded { digest, .. } | Crossing::Concealed { digest, .. } => {
                    seen.insert("decoded");
                    assert_eq!(digest.is_some(), full);
                }
                Crossing::Returned(Value::Audio { digest, .. }) => {
                    seen.insert("pulled sound");
                    assert_eq!(digest.is_some(), full);
                }
                Crossing::Returned(Value::Encoded { len, digest, .. }) => {
                    seen.insert("pulled picture");
                    assert_eq!((*len, digest.is_some()), (sizes.then_some(40), full));
                }
                Crossing::Transmit { len, .. } => {
                    seen.insert("transmit");
                    assert_eq!(len.is_some(), sizes);
                }
                _ => {}
            }
        }
        assert_eq!(seen.len(), 11, "{seen:?}");
    }
}

#[test]
fn what_is_kept_of_keys_follows_the_detail_and_their_number_and_commas_stay() {
    for detail in DETAILS {
        let log = plain(detail, Detail::Full);
        let is_full = detail == Detail::Full;
        let sent: Vec<&str> = calls(&log)
            .filter_map(|call| match call {
                Call::SendDtmf { keys, .. } => Some(keys.as_str()),
                _ => None,
            })
            .collect();
        let kept = if is_full { ["1,2", "12E", "#7", ""] } else { ["0,0", "00?", "00", ""] };
        assert_eq!(sent, kept);
        let (mut out, mut within, mut told) = (Vec::new(), BTreeSet::new(), Vec::new());
        for crossing in crossings(&log) {
            match crossing {
                Crossing::Tone { code, .. } => out.push(*code),
                Crossing::Heard(Heard::Tone { code, .. }) => drop(within.insert(*code)),
                Crossing::Returned(Value::Event(Told::Dtmf { digit, .. })) => told.push(*digit),
                _ => {}
            }
        }
        let [first, ..] = out[..] else { panic!("no key was sent") };
        assert_eq!(first, is_full.then_some(1));
        assert!(within.contains(&16), "what is no key is no secret: {within:?}");
        assert_eq!(within.len(), if is_full { 10 } else { 2 });
        assert!(told.len() > 2 && told.iter().all(|digit| digit.is_some() == is_full), "{told:?}");
    }
}

#[test]
fn what_is_kept_of_messages_follows_the_detail_and_their_lengths_and_meaning_stay() {
    for detail in DETAILS {
        let log = plain(Detail::Sizes, detail);
        let (sizes, full) = (detail != Detail::None, detail == Detail::Full);
        let sent: Vec<_> = calls(&log)
            .filter_map(|call| match call {
                Call::SendMessage { binary, len, data } => Some((*binary, *len, data.clone())),
                _ => None,
            })
            .collect();
        let kept = |data: &[u8]| if full { data.to_vec() } else { Vec::new() };
        let expected = [
            (sizes.then_some(false), 18, kept(b"before the channel")),
            (sizes.then_some(false), 0, Vec::new()),
            (sizes.then_some(false), 1, kept(b"a")),
            (sizes.then_some(true), 2, kept(&[0, 159])),
            (sizes.then_some(true), 70_000, kept(&[0; 70_000])),
        ];
        assert!(sent[..5] == expected, "{detail:?}");
        let results: Vec<_> = crossings(&log)
            .filter_map(|crossing| match crossing {
                Crossing::Returned(Value::Message { sent }) => Some(*sent),
                _ => None,
            })
            .collect();
        assert_eq!(results[..3], [false, true, true], "the first waited for the channel");

        let heard: Vec<_> = crossings(&log)
            .filter_map(|crossing| match crossing {
                Crossing::Heard(Heard::Message { binary, len, meaning, data, .. }) => {
                    assert_eq!((binary.is_some(), data.is_empty()), (sizes, !full || *len == 0));
                    Some((*len, *meaning))
                }
                _ => None,
            })
            .collect();
        let status = |receiver_index, enabled| Meaning::TrackStatus { receiver_index, enabled };
        let meanings = [
            Meaning::Application,
            Meaning::Ping,
            status(1, false),
            status(9, true),
            Meaning::Renegotiate,
            Meaning::Noise,
            Meaning::Application,
            Meaning::Unread,
            Meaning::Noise,
        ];
        assert_eq!(heard.iter().map(|(_, meaning)| *meaning).collect::<Vec<_>>(), meanings);
        assert_eq!((heard[0].0, heard[6].0, heard[7].0), (5, 3, 0));
        let told: Vec<_> = crossings(&log)
            .filter_map(|crossing| match crossing {
                Crossing::Returned(Value::Event(Told::Message { binary, len, digest })) => {
                    Some((*binary, *len, digest.is_some()))
                }
                _ => None,
            })
            .collect();
        let binary = |binary: bool| sizes.then_some(binary);
        assert_eq!(told, [(binary(false), 5, full), (binary(true), 3, full)]);
        let labels: Vec<_> = crossings(&log)
            .filter_map(|crossing| match crossing {
                Crossing::Heard(Heard::ChannelOpen { label, .. }) => Some(label.as_str()),
                _ => None,
            })
            .collect();
        let expected = if sizes { ["label \u{20ac}", "again"] } else { ["xxxxxxxxx", "xxxxx"] };
        assert_eq!(labels, expected);
    }
}
