//! The log by itself: what is in it, what damage does to it, and its limits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

mod figures;
mod lies;
mod seams;
mod show;
#[cfg(all(feature = "earshot", feature = "opus"))]
mod speech;

use super::entry::{Call, Crossing, Entry};
use super::*;
use crate::scripted::{Chunk, Content, Frame, Media, stun};
use crate::{
    AudioFrame, Codec, Config, Datagram, Event, LocalCandidate, Message, NegotiateError, Offer,
    Seed, Session, TransportId,
};

/// A log in memory, with a limit.
#[derive(Clone)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    max: usize,
}

impl Memory {
    fn new(max: usize) -> Memory {
        Memory { bytes: Arc::default(), max }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Archive for Memory {
    fn open(&self, name: &str) -> Option<Box<dyn LogSink>> {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)));
        Some(Box::new(self.clone()))
    }
}

impl LogSink for Memory {
    fn write(&mut self, bytes: &[u8]) -> bool {
        let mut taken = self.bytes.lock().unwrap();
        let has_room = taken.len() + bytes.len() <= self.max;
        if has_room {
            taken.extend_from_slice(bytes);
        }
        has_room
    }
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
    Instant::now() + Duration::from_secs(24 * 3600)
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:EEtu\r\n\
    a=ice-pwd:thePasswordOfThisBrowser\r\na=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\n\
    a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\n\
    a=ice-ufrag:EEtu\r\na=ice-pwd:thePasswordOfThisBrowser\r\n\
    a=fingerprint:sha-256 00:11:22\r\na=setup:actpass\r\na=sctp-port:5000\r\n";

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn datagram(payload: &[u8]) -> Datagram {
    let payload = Bytes::copy_from_slice(payload);
    Datagram::udp(TransportId(0), address(5000), address(7860), payload)
}

/// The scripted bytes of one frame.
fn wire(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = crate::scripted::datagram();
    frame.encode(&mut bytes);
    bytes
}

/// 20 ms of the null codec's sound.
fn sound(number: u64) -> Media<'static> {
    let data = &[b'N', 1, 2, 0, 0, 0, 0, 200, 0, 100, 0];
    Media { ssrc: 9, ..Media::whole(Codec::Opus, number, number * 960, data) }
}

/// A call of two seconds on the scripted transport: sound both ways, messages, a close. Gives the
/// password that this side drew.
fn call(recording: Option<Recording>) -> String {
    labelled(recording, b"private-label")
}

fn labelled(recording: Option<Recording>, label: &[u8]) -> String {
    let mut now = origin();
    let mut config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
    config.recording = recording;
    let mut session = Session::new(config.shared(), Seed::from_number(5), now);
    let local = LocalCandidate::host(TransportId(0), address(7860));
    session.add_local_candidate(local, now).unwrap();
    session.start(now);
    let answer = session.accept_offer(&Offer::parse(SDP).unwrap(), now).unwrap();
    let value = |name: &str| {
        let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
    session.handle_datagram(datagram(&stun::request([1; 12], &ufrag, "EEtu", &pwd, true)), now);
    session.handle_datagram(datagram(&wire(Frame::Hello)), now);
    let open = Chunk { number: 0, channel: 1, content: Content::Open, data: label };
    session.handle_datagram(datagram(&wire(Frame::Chunk(open))), now);
    for turn in 0..100u32 {
        now += Duration::from_millis(20);
        let _ = session.send_audio(AudioFrame::mono(&[1000; 480], 24_000), now).unwrap();
        if turn == 50 {
            let said = Message::text("a secret of the bot");
            let _ = session.send_message(said, now).unwrap();
            let data = b"a secret of the browser";
            let text = Chunk { number: 1, channel: 1, content: Content::Text, data };
            session.handle_datagram(datagram(&wire(Frame::Chunk(text))), now);
        }
        // Two packets are missing: they are concealed.
        if turn != 30 && turn != 31 {
            session.handle_datagram(datagram(&wire(Frame::Media(sound(u64::from(turn))))), now);
        }
        session.handle_timeout(now);
        drain(&mut session);
    }
    session.close(now);
    for _ in 0..1000 {
        drain(&mut session);
        let Some(at) = session.poll_timeout() else { break };
        now = now.max(at);
        session.handle_timeout(now);
    }
    assert!(session.is_finished());
    pwd
}

fn drain(session: &mut Session) {
    while session.poll_transmit().is_some() {}
    let mut samples = [0; 480];
    while let Some(event) = session.poll_event() {
        if let Event::AudioReadable(track) = event {
            while session.recv_audio(track, &mut samples).is_some() {}
        }
    }
}

fn recorded(media: Detail, messages: Detail) -> Vec<u8> {
    let memory = Memory::new(usize::MAX);
    let recording = Recording::new(Arc::new(memory.clone())).media(media).messages(messages);
    call(Some(recording));
    memory.bytes()
}

fn replayed(bytes: &[u8]) -> Replay {
    replay(&Log::read(bytes).unwrap(), origin()).unwrap()
}

const DETAILS: [Detail; 3] = [Detail::None, Detail::Sizes, Detail::Full];

#[test]
fn a_call_replays_identical_at_every_detail() {
    for media in DETAILS {
        for messages in DETAILS {
            let bytes = recorded(media, messages);
            let log = Log::read(&bytes).unwrap();
            assert!(log.is_whole() && log.damage().is_none() && log.is_of_this_build());
            assert_eq!((log.media(), log.messages()), (media, messages));
            let replay = replay(&log, origin()).unwrap();
            assert!(replay.is_identical(), "{media:?} {messages:?}: {replay}");
            assert_eq!(replay.calls as usize, log.calls());
            assert!(replay.calls > 500 && replay.crossings > 1000, "{replay}");
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn no_secret_is_in_a_log_whatever_is_kept() {
    for media in DETAILS {
        for messages in DETAILS {
            let memory = Memory::new(usize::MAX);
            let recording = Recording::new(Arc::new(memory.clone()));
            let pwd = call(Some(recording.media(media).messages(messages)));
            let bytes = memory.bytes();
            assert!(!contains(&bytes, &pwd), "the password of this side");
            assert!(!contains(&bytes, "thePasswordOfThisBrowser"));
            // The seed is the number 5 and zeros.
            assert!(!bytes.windows(32).any(|window| window[0] == 5 && window[1..] == [0; 31]));
            assert_eq!(contains(&bytes, "a secret of the"), messages == Detail::Full);
            assert_eq!(contains(&bytes, "private-label"), messages != Detail::None);
            assert!(contains(&bytes, "00:11:22"), "fingerprints are no secret");
        }
    }
}

#[test]
fn a_log_that_is_cut_anywhere_is_read_up_to_there_and_says_where() {
    let bytes = recorded(Detail::Sizes, Detail::Sizes);
    let whole = Log::read(&bytes).unwrap();
    let header_len = whole.records[0].offset as usize;
    let mut next = 0;
    for len in 0..bytes.len() {
        let read = Log::read(&bytes[..len]);
        if len < header_len {
            assert!(matches!(read, Err(LogError::NotALog | LogError::NoHeader(_))), "{len}");
            continue;
        }
        let read = read.unwrap();
        while next < whole.records.len() && whole.records[next].offset as usize <= len {
            next += 1;
        }
        // The record that begins at or before the cut is whole only if the cut is where it ends.
        let begins = whole.records[next - 1].offset;
        let is_clean = begins as usize == len;
        assert_eq!(read.records[..], whole.records[..next - 1], "{len}");
        let expected = (!is_clean).then_some(Damage::Cut { offset: begins });
        assert_eq!(read.damage(), expected, "{len}");
        assert!(!read.is_whole());
    }
}

#[test]
fn what_is_left_of_a_cut_log_replays_identical() {
    let bytes = recorded(Detail::Sizes, Detail::Sizes);
    for tenth in 1..10 {
        let replay = replayed(&bytes[..bytes.len() * tenth / 10]);
        assert!(replay.is_identical(), "{tenth}: {replay}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_changed_byte_is_found_in_the_record_that_it_stands_in(
        place in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bytes = BYTES.get_or_init(|| recorded(Detail::Sizes, Detail::Sizes));
        let whole = Log::read(bytes).unwrap();
        let place = place.index(bytes.len());
        let mut changed = bytes.clone();
        changed[place] ^= 1 << bit;
        let Ok(read) = Log::read(&changed) else {
            prop_assert!(place < whole.records[0].offset as usize, "only the header is fatal");
            return Ok(());
        };
        let holds = whole.records.iter().rposition(|record| record.offset as usize <= place);
        let index = holds.unwrap();
        let offset = whole.records[index].offset;
        let found = read.damage();
        // A changed length may point behind the end.
        let expected = [Some(Damage::Changed { offset }), Some(Damage::Cut { offset })];
        prop_assert!(expected.contains(&found), "{:?}, expected {}", found, offset);
        prop_assert_eq!(&read.records[..], &whole.records[..index]);
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_neither_panic_nor_hang(
        junk in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = recorded_header();
        bytes.extend(junk);
        let log = Log::read(&bytes).unwrap();
        prop_assert!(log.damage().is_some() || bytes.len() == recorded_header().len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_log_that_was_forged_with_a_good_check_neither_panics_nor_hangs(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let bytes = BYTES.get_or_init(|| recorded(Detail::Sizes, Detail::Full));
        let mut forged = bytes.clone();
        for (place, byte) in places {
            let place = place.index(bytes.len() - FIRST) + FIRST;
            forged[place] = byte;
        }
        // Lengths are kept, so that records stay where they are.
        let mut at = FIRST;
        while at < bytes.len() {
            let (start, len) = (at + 8, u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
            forged[at..at + 4].copy_from_slice(&len.to_le_bytes());
            at = start + len as usize;
            let check = recorder::check(len, &forged[start..at]);
            forged[start - 4..start].copy_from_slice(&check.to_le_bytes());
        }
        let Ok(log) = Log::read(&forged) else { return Ok(()) };
        let _ = (log.timeline().count(), log.figures().count());
        if let Ok(replay) = replay(&log, origin()) {
            prop_assert!(replay.calls <= log.calls() as u64);
        }
    }
}

/// Where the first record begins.
const FIRST: usize = MAGIC.len() + 2;

/// The preamble and the header alone.
fn recorded_header() -> Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let header = || {
        let bytes = recorded(Detail::Sizes, Detail::Sizes);
        let first = Log::read(&bytes).unwrap().records[0].offset;
        bytes[..first as usize].to_vec()
    };
    BYTES.get_or_init(header).clone()
}

/// The log again, with one record changed by hand.
fn rewritten(log: &Log, bytes: &[u8], index: usize, change: impl Fn(&mut log::Record)) -> Vec<u8> {
    let mut out = bytes[..log.records[0].offset as usize].to_vec();
    for (place, record) in log.records.iter().enumerate() {
        let mut record = record.clone();
        if place == index {
            change(&mut record);
        }
        write(&record.entry, &record.crossings, &mut out);
    }
    out
}

/// Appends a record with a check that fits it.
fn write(entry: &Entry, crossings: &[Crossing], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    coding::append(entry, &mut body);
    crossings.iter().for_each(|crossing| coding::append(crossing, &mut body));
    let len = u32::try_from(body.len()).unwrap();
    out.extend(len.to_le_bytes());
    out.extend(recorder::check(len, &body).to_le_bytes());
    out.extend(body);
}

/// A log of these records behind a header.
fn forged(records: &[(Entry, Vec<Crossing>)]) -> Log {
    let mut bytes = recorded_header();
    for (entry, crossings) in records {
        write(entry, crossings, &mut bytes);
    }
    let log = Log::read(&bytes).unwrap();
    assert_eq!((log.damage(), log.records.len()), (None, records.len()));
    log
}

/// A call so many milliseconds after the record before it.
fn after(ms: u64, call: Call, crossings: Vec<Crossing>) -> (Entry, Vec<Crossing>) {
    (Entry::Call { after: ms * 1_000_000, call }, crossings)
}

#[test]
fn a_planted_difference_is_found_at_its_record_wherever_it_stands() {
    let bytes = recorded(Detail::Sizes, Detail::Sizes);
    let log = Log::read(&bytes).unwrap();
    assert_eq!(rewritten(&log, &bytes, usize::MAX, |_| {}), bytes, "nothing is lost in writing");
    let mut planted = 0;
    for index in (0..log.records.len()).step_by(3) {
        let steps = &log.records[index].crossings;
        let Some(step) = steps.iter().position(Crossing::is_decision) else { continue };
        let without = rewritten(&log, &bytes, index, |record| {
            record.crossings.remove(step);
        });
        let replay = replayed(&without);
        let difference = replay.difference.unwrap_or_else(|| panic!("{:?}", log.records[index]));
        // A deadline that is left out may show when the session is next asked.
        assert_eq!(difference.offset, log.records[index].offset, "{difference}");
        assert_eq!(difference.record, index + 1);
        assert!(difference.before.len() <= 5 && !difference.before.is_empty());
        planted += 1;
    }
    assert!(planted > 40, "{planted}");
}

#[test]
fn another_number_in_a_decision_is_a_difference_that_shows_both() {
    let bytes = recorded(Detail::Sizes, Detail::Sizes);
    let log = Log::read(&bytes).unwrap();
    let sends = |crossing: &Crossing| matches!(crossing, Crossing::Media { rtp_time: 1.., .. });
    let index = log.records.iter().position(|record| record.crossings.iter().any(sends));
    let index = index.unwrap();
    let changed = rewritten(&log, &bytes, index, |record| {
        for crossing in &mut record.crossings {
            if let Crossing::Media { rtp_time, .. } = crossing {
                *rtp_time += 1;
            }
        }
    });
    let difference = replayed(&changed).difference.unwrap();
    assert_eq!(difference.record, index + 1);
    assert!(difference.recorded.contains("rtp_time: 961"), "{difference}");
    assert!(difference.replayed.contains("rtp_time: 960"), "{difference}");
    assert!(difference.to_string().contains("what led to it"));
}

#[test]
fn another_version_is_refused_and_another_build_is_told() {
    let bytes = recorded(Detail::None, Detail::None);
    let mut newer = bytes.clone();
    newer[8] = u8::try_from(VERSION + 1).unwrap();
    let error = Log::read(&newer).unwrap_err();
    assert_eq!(error, LogError::UnknownVersion { found: VERSION + 1, known: VERSION });
    assert_eq!(error.to_string(), "format version 5, this program reads version 4");
    assert_eq!(Log::read(b"GIF89a..").unwrap_err(), LogError::NotALog);
    assert_eq!(Log::read(b"").unwrap_err(), LogError::NotALog);

    let mut log = Log::read(&bytes).unwrap();
    assert!(log.is_of_this_build());
    log.header.behaviour = "1".to_owned();
    assert!(!log.is_of_this_build());
    assert!(replay(&log, origin()).unwrap().is_identical(), "it is only a warning");
}

#[test]
fn a_log_goes_up_to_its_limit_and_not_a_byte_further() {
    let whole = recorded(Detail::Sizes, Detail::Sizes).len() as u64;
    for max in [BYTES_MIN, BYTES_MIN + 1, whole / 2, whole / 2 + 1, whole - 1] {
        let memory = Memory::new(usize::MAX);
        call(Some(Recording::new(Arc::new(memory.clone())).bytes_max(max)));
        let bytes = memory.bytes();
        assert!(bytes.len() as u64 <= max, "{} of {max}", bytes.len());
        assert!(bytes.len() as u64 + 256 > max, "{} of {max}: it is used", bytes.len());
        let log = Log::read(&bytes).unwrap();
        assert!(log.is_full() && log.is_whole(), "{max}");
        let replay = replay(&log, origin()).unwrap();
        assert!(replay.is_identical(), "{max}: {replay}");
    }
}

#[test]
fn a_log_as_long_as_its_limit_is_whole_and_one_byte_less_is_too_little() {
    let whole = recorded(Detail::Sizes, Detail::Sizes);
    let is_full = |max| {
        let memory = Memory::new(usize::MAX);
        call(Some(Recording::new(Arc::new(memory.clone())).bytes_max(max)));
        Log::read(&memory.bytes()).unwrap().is_full()
    };
    let log = Log::read(&whole).unwrap();
    let end = log.records.last().unwrap().offset;
    // Before the end, room is kept for the longest one.
    let least = end + recorder::END_LEN;
    assert!(!is_full(least));
    assert!(is_full(least - 1));
}

#[test]
fn a_sink_that_takes_no_more_ends_the_recording_and_not_the_call() {
    let max = recorded(Detail::Sizes, Detail::Sizes).len() * 3 / 4;
    let memory = Memory::new(max);
    call(Some(Recording::new(Arc::new(memory.clone()))));
    let bytes = memory.bytes();
    assert!((1..=max).contains(&bytes.len()), "{}", bytes.len());
    let log = Log::read(&bytes).unwrap();
    assert!(!log.is_whole() && log.damage().is_none(), "what was taken is whole records");
    assert!(replay(&log, origin()).unwrap().is_identical());
}

#[test]
fn a_long_label_is_cut_between_characters_and_replays_identical_at_every_detail() {
    // Three bytes a character: 256 is no multiple of them.
    let label = "\u{20ac}".repeat(100);
    for messages in DETAILS {
        let memory = Memory::new(usize::MAX);
        let recording = Recording::new(Arc::new(memory.clone())).messages(messages);
        labelled(Some(recording), label.as_bytes());
        let replay = replayed(&memory.bytes());
        assert!(replay.is_identical(), "{messages:?}: {replay}");
    }
}

#[test]
fn what_is_not_recorded_is_counted() {
    let memory = Memory::new(usize::MAX);
    let mut config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
    config.recording = Some(Recording::new(Arc::new(memory.clone())).bytes_max(BYTES_MIN));
    let now = origin();
    let mut session = Session::new(config.shared(), Seed::from_number(5), now);
    for _ in 0..1000 {
        session.hold_events(true);
    }
    let unrecorded = session.stats().calls_unrecorded;
    drop(session);
    let log = Log::read(&memory.bytes()).unwrap();
    assert!(log.is_full());
    assert_eq!(unrecorded + log.calls() as u64, 1000);
}

#[test]
fn a_killed_process_leaves_all_but_the_last_second() {
    let memory = Memory::new(usize::MAX);
    let mut config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
    config.recording = Some(Recording::new(Arc::new(memory.clone())));
    let start = origin();
    let mut session = Session::new(config.shared(), Seed::from_number(5), start);
    for second in 0..30 {
        session.handle_timeout(start + Duration::from_secs(second));
    }
    // The session is not dropped: nothing more comes.
    std::mem::forget(session);
    let log = Log::read(&memory.bytes()).unwrap();
    assert!(!log.is_whole());
    assert!(log.duration() >= Duration::from_secs(27), "{:?}", log.duration());
    assert!(replay(&log, origin()).unwrap().is_identical());
}

#[test]
fn a_session_without_a_place_for_its_log_is_not_recorded() {
    struct Nowhere;
    impl Archive for Nowhere {
        fn open(&self, _: &str) -> Option<Box<dyn LogSink>> {
            None
        }
    }
    call(Some(Recording::new(Arc::new(Nowhere))));
}

#[test]
fn a_timeline_has_a_line_for_each_record_with_its_time() {
    let log = Log::read(&recorded(Detail::Sizes, Detail::Sizes)).unwrap();
    let lines: Vec<String> = log.timeline().collect();
    assert_eq!(lines.len(), log.records.len());
    assert!(lines[0].contains("0.000000"), "{}", lines[0]);
    assert!(lines.iter().any(|line| line.contains("= closed: closed by the application")));
    assert!(log.duration() >= Duration::from_secs(2));
}

#[test]
fn marks_come_at_their_interval_and_prove_the_digests() {
    let memory = Memory::new(usize::MAX);
    let mut config = Config::new().dangerous().scripted_transport(true).null_codec(true).done();
    config.recording = Some(Recording::new(Arc::new(memory.clone())));
    let mut session = Session::new(config.shared(), Seed::from_number(5), origin());
    for _ in 0..=MARK_INTERVAL {
        session.hold_events(false);
    }
    drop(session);
    let bytes = memory.bytes();
    let log = Log::read(&bytes).unwrap();
    let marks: Vec<_> = log
        .records
        .iter()
        .enumerate()
        .filter_map(|(index, record)| matches!(record.entry, Entry::Mark(_)).then_some(index))
        .collect();
    assert_eq!(marks, [MARK_INTERVAL as usize]);
    assert!(replay(&log, origin()).unwrap().is_identical());
    let forged = rewritten(&log, &bytes, marks[0], |record| {
        let Entry::Mark(mark) = &mut record.entry else { panic!("a mark") };
        mark.decisions ^= 1;
    });
    let difference = replayed(&forged).difference.unwrap();
    assert_eq!(difference.record, marks[0] + 1, "{difference}");
}

#[test]
fn the_settings_come_back_as_they_were() {
    let config = Config::new().mtu(1200).unwrap().audio_in(8_000, 2).unwrap();
    let config = config.audio_out_encoded().linger(Duration::from_millis(3));
    let settings = entry::Settings::of(&config);
    assert_eq!(entry::Settings::of(&settings.config().unwrap()), settings);
    let impossible = entry::Settings { out_idle: 9, ..settings };
    assert!(impossible.config().is_none());
}

#[test]
fn a_call_is_the_same_with_and_without_a_log() {
    let memory = Memory::new(usize::MAX);
    let recording = Recording::new(Arc::new(memory));
    assert_eq!(call(None), call(Some(recording)));
}

#[test]
fn a_log_that_lies_about_lengths_takes_no_memory_for_it() {
    let bytes = recorded(Detail::Sizes, Detail::Sizes);
    let log = Log::read(&bytes).unwrap();
    let is_send = |record: &log::Record| {
        matches!(record.entry, Entry::Call { call: Call::SendAudio { .. }, .. })
    };
    let index = log.records.iter().position(is_send).unwrap();
    let lying = rewritten(&log, &bytes, index, |record| {
        if let Entry::Call { call: Call::SendAudio { samples, .. }, .. } = &mut record.entry {
            *samples = u64::MAX;
        }
    });
    assert_eq!(replayed(&lying).difference.unwrap().record, index + 1);
}

#[test]
fn what_a_log_says_in_a_word_is_read_back_as_the_same() {
    use super::entry::{codec_number, codec_of, refusal, refused};
    let reason = "as it was recorded".to_owned();
    for error in [
        NegotiateError::InvalidSdp { reason: reason.clone() },
        NegotiateError::TooLarge { len: 0, limit: 0 },
        NegotiateError::NoUsableMedia,
        NegotiateError::Incompatible { reason },
        NegotiateError::Closed,
        NegotiateError::Full { limit: 0 },
        NegotiateError::NoLocalCandidate,
    ] {
        assert_eq!(refused(refusal(&error)), error);
    }
    let telephones = [Codec::Pcmu, Codec::Pcma, Codec::G722];
    for codec in [Codec::Opus, Codec::Vp8, Codec::H264].into_iter().chain(telephones) {
        assert_eq!(codec_of(codec_number(codec)), codec);
    }
    let words = [Detail::None, Detail::Sizes, Detail::Full].map(Detail::name);
    assert_eq!(words, ["none", "sizes", "full"]);
}

#[test]
fn what_is_kept_of_a_message_follows_the_detail() {
    let keep = |messages| Keep { messages, ..Keep::default() };
    let [none, sizes, full] = [Detail::None, Detail::Sizes, Detail::Full].map(keep);
    for binary in [false, true] {
        let told = [none.binary(binary), sizes.binary(binary), full.binary(binary)];
        assert_eq!(told, [None, Some(binary), Some(binary)]);
    }
    assert_eq!([none.message_digest(b"one"), sizes.message_digest(b"one")], [None, None]);
    assert_ne!(full.message_digest(b"one"), full.message_digest(b"two"));
    assert_eq!(full.message_digest(b"one"), full.message_digest(b"one"));
}

#[test]
fn damage_and_recording_say_what_they_are() {
    let told = |damage: Damage| damage.to_string();
    assert_eq!(told(Damage::Cut { offset: 7 }), "cut in the record at byte 7");
    assert_eq!(told(Damage::Changed { offset: 7 }), "damaged in the record at byte 7");
    assert_eq!(told(Damage::Unreadable { offset: 7 }), "the record at byte 7 means nothing");
    let recording = Recording::new(Arc::new(Memory::new(usize::MAX))).bytes_max(5_000);
    let text = format!("{recording:?}");
    assert!(text.starts_with("Recording {") && text.contains("bytes_max: 5000"), "{text}");
}
