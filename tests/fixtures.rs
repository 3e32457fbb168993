//! Files that other programs made are heard as other programs hear them.
//!
//! `tests/fixtures/make` made them, with opusenc and ffmpeg, and wrote down what opusdec and ffmpeg
//! heard: all samples of WAV files, every 17th of Ogg Opus files, and the lengths of all.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use smallrtc::media::{AudioFile, AudioSource, FileRead, OpusPass, PassError};

/// Of what is heard in an Ogg Opus file each so manieth sample is kept.
const STEP: usize = 17;

/// How many times the difference to another decoder of Opus the sound is at least, in dB. Most
/// files are the same to the bit; one that is made softer by its header is rounded twice here, and
/// has 73 dB. What is off by a sample has 20 dB.
const SNR_DB: f64 = 70.0;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A file, and what another program heard in it.
struct Fixture {
    name: String,
    bytes: Vec<u8>,
    rate: u32,
    channels: u8,
    /// Samples per channel.
    len: usize,
    heard: Vec<i16>,
}

fn fixtures(kind: &str) -> Vec<Fixture> {
    let lengths = fs::read_to_string(folder(kind).join("lengths")).unwrap();
    let found: Vec<_> = lengths.lines().map(|line| fixture(kind, line)).collect();
    assert!(found.len() > 10, "{} files in {kind}", found.len());
    found
}

fn fixture(kind: &str, line: &str) -> Fixture {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, rate, channels, len] = words[..] else { panic!("{line}") };
    let heard = fs::read(folder(kind).join(format!("{name}.heard"))).unwrap_or_default();
    let sample = |pair: &[u8]| i16::from_le_bytes([pair[0], pair[1]]);
    Fixture {
        name: name.to_owned(),
        bytes: fs::read(folder(kind).join(name)).unwrap(),
        rate: rate.parse().unwrap(),
        channels: channels.parse().unwrap(),
        len: len.parse().unwrap(),
        heard: heard.chunks_exact(2).map(sample).collect(),
    }
}

fn part(bytes: &[u8], wanted: FileRead, step: usize) -> &[u8] {
    let start = bytes.len().min(wanted.offset as usize);
    &bytes[start..bytes.len().min(start + wanted.len.min(step))]
}

/// Plays a file that comes in pieces of at most `step` bytes, `count` samples at most.
fn play(file: &mut AudioFile, bytes: &[u8], step: usize, count: usize) -> Vec<i16> {
    let (mut heard, mut block) = (Vec::new(), [0; 1_000]);
    while heard.len() < count && !file.is_ended() {
        while let Some(wanted) = file.wants() {
            file.handle_read(wanted.offset, part(bytes, wanted, step));
        }
        let room = block.len().min(count - heard.len());
        let len = file.pull(&mut block[..room]);
        heard.extend_from_slice(&block[..len]);
    }
    heard
}

/// Plays all of it, and checks its form and its length.
fn whole(fixture: &Fixture, channels: u8) -> Vec<i16> {
    let mut file = AudioFile::new();
    let heard = play(&mut file, &fixture.bytes, 1_000, usize::MAX);
    let name = &fixture.name;
    assert_eq!(file.error(), None, "{name}");
    let format = file.format().unwrap();
    assert_eq!((format.rate, format.channels), (fixture.rate, channels), "{name}");
    assert_eq!(heard.len(), fixture.len * usize::from(channels), "{name}");
    heard
}

/// How many times the difference the sound is, in dB.
fn snr_db(ours: impl Iterator<Item = i16>, theirs: &[i16]) -> f64 {
    let (mut sound, mut noise, mut count) = (0.0, 0.0, 0);
    for (ours, &theirs) in ours.zip(theirs) {
        sound += f64::from(theirs).powi(2);
        noise += (f64::from(ours) - f64::from(theirs)).powi(2);
        count += 1;
    }
    assert_eq!(count, theirs.len());
    assert!(sound > 1_000_000.0, "there is something to be heard");
    10.0 * (sound / f64::max(noise, 1e-9)).log10()
}

#[test]
fn opus_files_of_libopus_are_heard_as_opusdec_hears_them() {
    for fixture in fixtures("opus") {
        let heard = whole(&fixture, fixture.channels);
        let frames = heard.chunks(usize::from(fixture.channels)).step_by(STEP);
        let snr = snr_db(frames.flatten().copied(), &fixture.heard);
        assert!(snr > SNR_DB, "{}: {snr} dB", fixture.name);
    }
}

#[test]
fn wav_files_of_ffmpeg_are_heard_as_ffmpeg_hears_them() {
    let mut surround = 0;
    for fixture in fixtures("wav") {
        let heard = whole(&fixture, fixture.channels.min(2));
        if fixture.channels > 2 {
            surround += 1;
            assert!(heard.iter().any(|&sample| sample.unsigned_abs() > 1_000));
            continue;
        }
        assert_eq!(fixture.heard.len(), heard.len(), "{}", fixture.name);
        // What has more than 16 bits may be rounded the other way.
        let off = heard.iter().zip(&fixture.heard).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        let is_exact = !["24", "32"].iter().any(|bits| fixture.name.contains(bits));
        assert!(off <= u16::from(!is_exact), "{}: off by {off}", fixture.name);
    }
    assert_eq!(surround, 1);
}

#[test]
fn any_place_of_a_file_can_be_sought_to_the_sample_and_a_loop_has_no_seam() {
    for kind in ["opus", "wav"] {
        for fixture in fixtures(kind) {
            let channels = usize::from(fixture.channels.min(2));
            let all = whole(&fixture, fixture.channels.min(2));
            let mut file = AudioFile::new();
            file.set_looped(true);
            let twice = play(&mut file, &fixture.bytes, 700, 2 * all.len() + 10 * channels);
            let again: Vec<i16> = all.iter().cycle().take(twice.len()).copied().collect();
            assert!(twice == again, "{} in a loop", fixture.name);
            file.set_looped(false);
            for at in [0, 1, fixture.len / 3, fixture.len - 1, fixture.len, fixture.len + 99] {
                let nanos = (at as u128 * 1_000_000_000).div_ceil(u128::from(fixture.rate));
                file.seek(Duration::from_nanos(nanos as u64));
                let rest = play(&mut file, &fixture.bytes, 700, usize::MAX);
                let expected = &all[all.len().min(at * channels)..];
                assert_eq!(rest.len(), expected.len(), "{} from {at} on", fixture.name);
                assert_alike(&rest, expected, kind, &fixture.name);
            }
        }
    }
}

/// The same samples; of a decoder that came to itself before it nearly the same.
fn assert_alike(found: &[i16], expected: &[i16], kind: &str, name: &str) {
    let pairs = found.iter().zip(expected);
    let off = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap_or_default();
    let most = if kind == "wav" { 0 } else { 99 };
    assert!(off <= most, "{name}: off by {off}");
}

#[test]
fn opus_files_are_passed_on_with_the_time_that_they_have() {
    for fixture in fixtures("opus") {
        let (name, start) = (fixture.name.as_str(), origin());
        let mut pass = OpusPass::new(2);
        pass.start(start);
        let (mut packets, mut now) = (0, start);
        while !pass.is_ended() {
            while let Some(wanted) = pass.wants() {
                pass.handle_read(wanted.offset, part(&fixture.bytes, wanted, 700));
            }
            let Some(due) = pass.poll_timeout() else { continue };
            now = due;
            packets += usize::from(pass.handle_timeout(now).is_some());
        }
        let expected = match name {
            "mono-2.5ms.opus" => Some(PassError::PacketTime(120)),
            "mono-5ms.opus" => Some(PassError::PacketTime(240)),
            "gain.opus" => Some(PassError::Gain(-1_541)),
            _ => None,
        };
        assert_eq!(pass.error(), expected, "{name}");
        // The last packet is due less than its own length before the end.
        let length = Duration::from_millis(fixture.len as u64 / 48);
        let told = now.duration_since(start);
        let is_whole =
            told + Duration::from_millis(125) > length && told < length + Duration::from_millis(30);
        assert!(expected.is_some() || (packets > 4 && is_whole), "{name}: {told:?} of {length:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn origin() -> std::time::Instant {
    std::time::Instant::now()
}
