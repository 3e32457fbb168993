//! Media of the peer: headers and payloads as it likes.

use std::time::Duration;

use smallrtc::scripted::{Frame, Media, encode};
use smallrtc::{Codec, Config, FrameTime, TrackId};

use super::script::Script;
use super::subject::Subject;
use super::{STEPS_MAX, config};

/// The microphone and the camera of the offer.
const MICROPHONE: TrackId = TrackId(0);
const CAMERA: TrackId = TrackId(1);

/// What waits of a track: 2 s, 800 frames, 8 MiB.
const SPAN_MAX: Duration = Duration::from_secs(2);
const FRAMES_MAX: usize = 800;
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// What waits of sound, in samples at 48 kHz: a second, and what one packet may add, the longest
/// gap that is filled and 120 ms.
const WAITING_MAX: u64 = 48_000 + 480_000 + 5_760;

/// Media into the receive path, over the null codec or Opus, by the first byte: any headers and
/// payloads, keys of a telephone among them, or a stream whose times are true and whose packets are
/// lost, late, twice or unreadable. Nothing panics, nothing grows; of a true stream, time never
/// shrinks: what is heard lasts as long as what was sent, to the sample, and what is told of as
/// dropped is none of it but where more than a second of sound was held behind a gap.
pub fn rtp(data: &[u8]) {
    let mut script = Script(data);
    let head = script.byte();
    let config = Config::clone(&config(true));
    let config = config.dangerous().null_codec(head & 1 == 0).done();
    let config = config.audio_in(48_000, 1 + (head >> 1 & 1)).expect("a rate that is usual");
    // What is less than a frame would wait for the rest of it, and each sample is counted here.
    let config = config.audio_in_frames(FrameTime::AsItComes);
    let mut subject = Subject::connected(config.shared());
    if head & 4 == 0 {
        anything(&mut subject, &mut script);
    } else {
        true_stream(&mut subject, &mut script, head);
    }
    subject.close();
}

/// Any headers, any payload.
fn anything(subject: &mut Subject, script: &mut Script<'_>) {
    let mut seq = 0;
    for _ in 0..STEPS_MAX {
        let Some(command) = script.command() else { break };
        let (frame, number) = if command & 64 == 0 {
            let media = script.media(seq);
            (Frame::Media(media), media.seq)
        } else {
            let tone = script.tone(seq);
            (Frame::Tone(tone), tone.seq)
        };
        seq = number.wrapping_add(1) & ((1 << 48) - 1);
        subject.hear(&encode(&[frame]));
        subject.drive_for(Duration::from_millis(u64::from(command >> 1 & 31)));
        if command & 1 == 1 {
            listen(subject);
            look(subject);
        }
    }
    listen(subject);
    look(subject);
}

/// Pulls all sound: samples of each channel.
fn listen(subject: &mut Subject) -> u64 {
    let mut samples = [0; 1_920];
    let mut heard = 0;
    while let Some(info) = subject.session.recv_audio(MICROPHONE, &mut samples) {
        assert!(info.samples > 0, "something is given or nothing");
        heard += info.samples as u64;
        assert!(heard <= WAITING_MAX, "{heard} samples waited");
    }
    heard
}

/// Pulls all pictures.
fn look(subject: &mut Subject) {
    let (mut count, mut bytes, mut first) = (0, 0, None);
    while let Some(frame) = subject.session.recv_encoded(CAMERA) {
        count += 1;
        bytes += frame.data.len();
        let first = *first.get_or_insert(frame.time);
        assert!(frame.time.saturating_sub(first) <= SPAN_MAX, "{count} frames are too far apart");
    }
    assert!(count <= FRAMES_MAX && bytes <= BYTES_MAX, "{count} frames, {bytes} bytes waited");
}

/// What may come in one step after a gap, at 48 kHz: so many packets that were held behind it, and
/// so much concealment. More than a second of sound is not kept, read at once or not.
const HELD_MAX: u64 = 32;
const CONCEAL_MAX: u64 = 4_800;
const SOUND_MAX: u64 = 48_000;

/// A packet that can be read, and how long it is at 48 kHz.
fn readable(opus: bool, chunks: u8, fill: &[u8]) -> (Vec<u8>, u64) {
    if opus {
        // One frame of CELT, full band (RFC 6716 section 3.1): 2.5, 5, 10 or 20 ms of anything.
        let long = chunks & 3;
        let mut packet = vec![(28 + long) << 3];
        packet.extend_from_slice(fill);
        return (packet, 120 << long);
    }
    let chunks = 1 + chunks % 12;
    let mut packet = vec![b'N', 1, chunks, 0, 0, 0, 0];
    for index in 0..chunks {
        packet.extend_from_slice(&i16::from(index).to_le_bytes());
    }
    (packet, u64::from(chunks) * 480)
}

/// One stream whose clock is true. Its first packet and its last arrive, in order.
fn true_stream(subject: &mut Subject, script: &mut Script<'_>, head: u8) {
    let opus = head & 1 == 1;
    let (mut seq, mut time, mut heard, mut late, mut longest) = (0, 0, 0, None, 0);
    let mut send = |subject: &mut Subject, seq: u64, time: u64, data: &[u8]| {
        let packet = Media::whole(Codec::Opus, seq, time, data);
        subject.hear(&encode(&[Frame::Media(packet)]));
        heard += listen(subject);
    };
    for index in 0..STEPS_MAX {
        let Some(command) = script.command() else { break };
        let (packet, len) = readable(opus, script.byte(), script.take());
        longest = longest.max(len);
        match command & 7 {
            // A packet is lost, one comes after its successor, one cannot be read.
            1 if index > 0 => {}
            2 if index > 0 && late.is_none() => late = Some((seq, time, packet)),
            3 if index > 0 => send(subject, seq, time, &[0xFF, 0xFF, 0xFF]),
            4 => {
                send(subject, seq, time, &packet);
                send(subject, seq, time, &packet);
            }
            _ => send(subject, seq, time, &packet),
        }
        if command & 7 != 2
            && let Some((seq, time, packet)) = late.take()
        {
            send(subject, seq, time, &packet);
        }
        seq += 1;
        time += len;
        if command & 128 != 0 {
            subject.drive_for(Duration::from_millis(u64::from(command >> 3 & 15)));
        }
    }
    if seq == 0 {
        return;
    }
    let (packet, len) = readable(opus, 0, &[1, 2, 3]);
    send(subject, seq, time, &packet);
    subject.drive_for(Duration::from_millis(60));
    let (packet, more) = readable(opus, 1, &[1, 2, 3]);
    send(subject, seq + 1, time + len, &packet);
    heard += listen(subject);
    let stats = subject.session.stats();
    let dropped = stats.audio_dropped_samples;
    let at_once = longest * (HELD_MAX + 2) + CONCEAL_MAX;
    assert!(dropped == 0 || at_once > SOUND_MAX, "{dropped} samples, and it was read at once");
    assert_eq!(heard + dropped, time + len + more, "time shrinks or grows: {stats:?}");
}
