//! A file is as long as its call, whatever came.

mod drift;
mod packets;
mod sound;

use std::time::{Duration, Instant};

use super::*;
use crate::media::{OggItem, OggOpusReader, OggPacket, WavReader};

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The samples of a WAV file.
fn wav(file: &[u8]) -> Vec<i16> {
    let (mut reader, mut samples, mut rest) = (WavReader::new(), Vec::new(), file);
    let mut block = [0; 4_096];
    while !reader.is_ended() {
        rest = &rest[reader.push(rest)..];
        let len = reader.read(&mut block).unwrap();
        samples.extend_from_slice(&block[..len]);
        if len == 0 {
            reader.finish();
        }
    }
    samples
}

/// The packets of each stream of an Ogg file.
fn streams(file: &[u8]) -> Vec<Vec<OggPacket>> {
    let (mut reader, mut streams, mut rest) = (OggOpusReader::new(), Vec::new(), file);
    loop {
        match reader.read() {
            Some(OggItem::Head(_)) => streams.push(Vec::new()),
            Some(OggItem::Packet(packet)) => streams.last_mut().unwrap().push(packet),
            Some(OggItem::Tags(_)) => {}
            None if rest.is_empty() => break,
            None => rest = &rest[reader.push(rest)..],
        }
    }
    reader.finish();
    assert_eq!(reader.read(), None);
    streams
}

/// Samples that a stream plays.
fn played(packets: &[OggPacket]) -> u64 {
    packets.iter().map(|it| u64::from(it.samples - it.trim_start - it.trim_end)).sum()
}

fn apply(file: &mut Vec<u8>, mut poll: impl FnMut() -> Option<FileWrite>) {
    while let Some(write) = poll() {
        write.apply(file);
    }
}
