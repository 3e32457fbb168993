//! A call in which the peer speaks, recorded and replayed.

use super::super::entry::{Call, Crossing, Entry};
use super::super::log::Log;
use super::super::{Detail, Recording, replay};
use super::{Memory, address, datagram, origin, wire};
use crate::audio::AudioCodec;
use crate::audio::voice::heard::speech;
use crate::scripted::{Frame, Media, stun};
use crate::{
    Codec, Config, Event, LocalCandidate, Offer, Seed, Session, TrackId, TransportId, VoiceActivity,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PACKET: usize = 320;

/// A session that looks for speech, and its peer.
struct Rig {
    session: Session,
    now: Instant,
    packets: Vec<Vec<u8>>,
    seq: usize,
    told: Vec<Event>,
}

impl Rig {
    fn new(recording: Option<Recording>, sound: &[i16]) -> Rig {
        let mut config = Config::new().voice_activity(Some(VoiceActivity::new()));
        config = config.audio_out(16_000, 1).unwrap();
        let mut encoder = AudioCodec::OpusPure.encoder(config.audio_out);
        let coded = sound.chunks_exact(PACKET).map(|samples| {
            let mut packet = Vec::new();
            encoder.encode(samples, &mut packet);
            packet
        });
        let packets = coded.collect();
        config = config.dangerous().scripted_transport(true).done();
        config.recording = recording;
        let now = origin();
        let mut session = Session::new(config.shared(), Seed::from_number(5), now);
        let local = LocalCandidate::host(TransportId(0), address(7860));
        session.add_local_candidate(local, now).unwrap();
        session.start(now);
        let answer = session.accept_offer(&Offer::parse(super::SDP).unwrap(), now).unwrap();
        let value = |name: &str| {
            let line = answer.sdp().lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().to_owned()
        };
        let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let check = stun::request([1; 12], &ufrag, "EEtu", &pwd, true);
        session.handle_datagram(datagram(&check), now);
        session.handle_datagram(datagram(&wire(Frame::Hello)), now);
        Rig { session, now, packets, seq: 0, told: Vec::new() }
    }

    fn drain(&mut self) {
        while self.session.poll_transmit().is_some() {}
        self.told.extend(std::iter::from_fn(|| self.session.poll_event()));
        let mut samples = [0; PACKET];
        while self.session.recv_audio(TrackId(0), &mut samples).is_some() {}
    }

    fn hear(&mut self, packets: usize) {
        for _ in 0..packets {
            self.now += Duration::from_millis(20);
            if self.session.poll_timeout().is_some_and(|due| due <= self.now) {
                self.session.handle_timeout(self.now);
            }
            let (seq, data) = (self.seq as u64, &self.packets[self.seq]);
            let media = Media::whole(Codec::Opus, seq, seq * 960, data);
            let media = Media { level: Some((20, true)), ssrc: 9, ..media };
            self.session.handle_datagram(datagram(&wire(Frame::Media(media))), self.now);
            self.seq += 1;
            self.drain();
        }
    }

    /// What was told of speech, and the last word of all.
    fn speech(&self) -> Vec<&'static str> {
        let words = self.told.iter().filter_map(|event| match event {
            Event::SpeechStarted { track: TrackId(0), .. } => Some("started"),
            Event::SpeechStopped { track: TrackId(0), .. } => Some("stopped"),
            Event::TrackStarted(track) if !track.receives => Some("track"),
            Event::Closed { .. } => Some("closed"),
            _ => None,
        });
        words.collect()
    }
}

/// Half a second of quiet, two seconds of speech, a second of quiet, and speech again.
fn sound() -> Vec<i16> {
    let speech = speech(32_000);
    [&[0; 8_000][..], &speech, &[0; 16_000], &speech].concat()
}

fn call(recording: Option<Recording>) -> Rig {
    let mut rig = Rig::new(recording, &sound());
    rig.hear(rig.packets.len());
    rig.session.close(rig.now);
    rig.now += Duration::from_secs(5);
    rig.session.handle_timeout(rig.now);
    rig.drain();
    rig
}

#[test]
fn speech_is_told_in_turn_and_its_end_before_that_of_the_call() {
    let rig = call(None);
    assert_eq!(rig.speech(), ["started", "stopped", "started", "stopped", "closed"]);
    let times: Vec<u128> = rig
        .told
        .iter()
        .filter_map(|event| match event {
            Event::SpeechStarted { time, .. } | Event::SpeechStopped { time, .. } => {
                Some(time.as_millis())
            }
            _ => None,
        })
        .collect();
    for (time, expected) in times.iter().zip([500, 2_500, 3_500, 5_500]) {
        // The detector is slow to believe a machine's first syllables.
        assert!(time.abs_diff(expected) < 700, "{times:?}");
    }
    assert_eq!(rig.session.stats().speech_events_dropped, 0);
}

#[test]
fn speech_ends_before_a_peer_that_sends_no_sound_any_more() {
    let mut rig = Rig::new(None, &sound());
    rig.hear(100);
    assert_eq!(rig.speech(), ["started"]);
    let silent = super::SDP.replacen("a=sendrecv", "a=recvonly", 1);
    rig.session.accept_offer(&Offer::parse(&silent).unwrap(), rig.now).unwrap();
    rig.drain();
    assert_eq!(rig.speech(), ["started", "stopped", "track"]);
}

#[test]
fn a_replay_tells_of_speech_what_was_told_at_every_detail() {
    let expected = call(None).told;
    for detail in [Detail::None, Detail::Sizes, Detail::Full] {
        let memory = Memory::new(usize::MAX);
        let rig = call(Some(Recording::new(Arc::new(memory.clone())).media(detail)));
        assert_eq!(rig.told, expected, "a recording changes nothing");
        drop(rig);
        let mut log = Log::read(&memory.bytes()).unwrap();
        let replayed = replay(&log, origin()).unwrap();
        assert!(replayed.is_identical(), "{detail:?}: {replayed}");
        assert_eq!(replayed.unproved, None);
        let text: Vec<String> = log.timeline().collect();
        let told = |word: &str| text.iter().filter(|line| line.contains(word)).count();
        assert_eq!(told("speech on track 0 from"), 2, "{detail:?}");
        assert_eq!(told("speech on track 0 until"), 2, "{detail:?}");
        // Another word of the detector's makes another call of it.
        for record in &mut log.records {
            for step in &mut record.crossings {
                if let Crossing::VoiceScored { score } = step {
                    *score = 0;
                }
            }
        }
        let replayed = replay(&log, origin()).unwrap();
        assert!(!replayed.is_identical(), "{detail:?}");
        let is_poll = |entry: &Entry| matches!(entry, Entry::Call { call: Call::PollEvent, .. });
        assert!(log.records.iter().any(|record| is_poll(&record.entry)));
    }
}
