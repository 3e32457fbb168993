//! A session under a script: what the application does, what the peer says, and time.

use std::time::Duration;

use bytes::Bytes;
use smallrtc::scripted::encode;
use smallrtc::{
    AudioIdle, Codec, Config, EncodedFrame, Message, PacketTime, RemoteCandidate, TrackId,
};

use super::script::Script;
use super::subject::Subject;
use super::{STEPS_MAX, config, offer};
use crate::replays::Replays;

/// Shorter than by default: silence is what a run spends most of its time on.
const LIVENESS: Duration = Duration::from_secs(1);
const DISCONNECTED: Duration = Duration::from_secs(2);

/// The usual rates, and what is none.
const RATES: [u32; 8] = [8_000, 12_000, 16_000, 24_000, 44_100, 48_000, 0, 11_025];

/// A session over the scripted transport under an arbitrary script: commands, datagrams and
/// time, polled in any order and not always. After it, silence: the session ends, once, within its
/// bounds. Every other one is recorded, and its log replays identical.
pub fn scripted(data: &[u8]) {
    let mut script = Script(data);
    let head = script.byte();
    // Dropped after the session, which ends its log.
    let replays = Replays::default();
    let mut config = shape(Config::clone(&config(true)), head);
    if head & 1 == 1 {
        config = replays.record(config, u64::from(head >> 1));
    }
    let mut call = Call { subject: Subject::connected(config.shared()), number: 1, seq: 0 };
    for _ in 0..STEPS_MAX {
        let Some(command) = script.command() else { break };
        call.step(command & 31, &mut script);
        let polls = command >> 5;
        if polls < 6 {
            call.subject.drive_for(Duration::from_millis(u64::from(polls) * 7));
        }
    }
    call.subject.end();
}

fn shape(config: Config, head: u8) -> Config {
    let idles = [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing];
    let times = [PacketTime::Ms20, PacketTime::Ms10, PacketTime::Ms60];
    let config = config
        .liveness_timeout(LIVENESS)
        .disconnected_timeout(DISCONNECTED)
        .audio_idle(idles[usize::from(head >> 1 & 3) % 3])
        .audio_packet_time(times[usize::from(head >> 3 & 3) % 3]);
    match head >> 5 {
        6 => config.audio_out_encoded(),
        7 => config.audio_in_encoded(),
        _ => config,
    }
}

struct Call {
    subject: Subject,
    /// The numbers of the peer's chunk and of its media that follow.
    number: u32,
    seq: u64,
}

impl Call {
    fn step(&mut self, command: u8, script: &mut Script<'_>) {
        let now = self.subject.now;
        match command {
            0..=7 => self.frames(command, script),
            8 => self.subject.hear(script.take()),
            9 => self.subject.session.handle_timeout(now),
            // Whoever hands in an older time gets the newest.
            10 => {
                let back = Duration::from_millis(u64::from(script.short()));
                self.subject.session.handle_timeout(now.checked_sub(back).unwrap_or(now));
            }
            // The driver sleeps, and time jumps.
            11 => self.subject.now += Duration::from_millis(u64::from(script.short())),
            12 => self.subject.now += Duration::from_nanos(u64::from(script.short())),
            13..=15 => {
                let (len, form) = (usize::from(script.short()), script.byte());
                let rate = RATES[usize::from(form & 7)];
                self.subject.speak(len, rate, 1 + (form >> 7));
            }
            16 => self.subject.clear(),
            17 => self.subject.poll_some(script.byte()),
            18 => self.subject.settle(),
            _ => self.ask(command, script),
        }
    }

    /// What the application asks for, besides sound.
    fn ask(&mut self, command: u8, script: &mut Script<'_>) {
        let (session, now) = (&mut self.subject.session, self.subject.now);
        let track = TrackId(script.byte() & 3);
        match command {
            19 | 20 => {
                let bytes = Bytes::from(vec![b'x'; usize::from(script.short())]);
                let _ = session.send_message(Message::Binary(bytes), now);
            }
            21 => {
                let mut samples = vec![0; usize::from(script.byte()) * 4];
                while session.recv_audio(track, &mut samples).is_some() {}
                while session.recv_encoded(track).is_some() {}
            }
            22 => session.start(now),
            23 => session.request_renegotiation(now),
            24 => session.request_keyframe(track, now),
            25 => drop(session.accept_offer(&offer(), now)),
            26 => session.hold_events(script.byte() & 1 == 1),
            27 | 28 => {
                let codec = [Codec::Opus, Codec::Vp8, Codec::H264][usize::from(script.byte()) % 3];
                let time = Duration::from_millis(u64::from(script.short()));
                let data = Bytes::from(vec![1; usize::from(script.short())]);
                let _ =
                    session.send_encoded(track, EncodedFrame::new(codec, time, true, data), now);
            }
            29 => {
                let text = String::from_utf8_lossy(script.take()).into_owned();
                if let Ok(candidate) = RemoteCandidate::parse(&text) {
                    let _ = session.add_remote_candidate(&candidate, now);
                }
            }
            30 => session.close(now),
            _ => drop(session.stats()),
        }
    }

    /// Up to eight frames of the peer in one datagram.
    fn frames(&mut self, count: u8, script: &mut Script<'_>) {
        let frames: Vec<_> = (0..=count)
            .map(|_| {
                let frame = script.frame(self.number, self.seq);
                match frame {
                    smallrtc::scripted::Frame::Chunk(chunk) if chunk.number == self.number => {
                        self.number += 1;
                    }
                    smallrtc::scripted::Frame::Media(media) => {
                        self.seq = media.seq.wrapping_add(1) & ((1 << 48) - 1);
                    }
                    _ => {}
                }
                frame
            })
            .collect();
        self.subject.hear(&encode(&frames));
    }
}
