//! mp3, flac and aac files that ffmpeg made are heard as ffmpeg hears them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use smallrtc::media::AudioSource;
use smallrtc_files::{MEMORY_LEN_MAX, MemoryFile, MemoryFileError};

/// Of what ffmpeg heard each so manieth sample is kept: `tests/fixtures/make`.
const STEP: usize = 17;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/formats")
}

fn bytes(name: &str) -> Bytes {
    fs::read(folder().join(name)).unwrap().into()
}

fn pull(file: &mut MemoryFile, count: usize) -> Vec<i16> {
    let (mut heard, mut block) = (Vec::new(), [0; 1_000]);
    while heard.len() < count && !file.is_ended() {
        let room = block.len().min(count - heard.len());
        let len = file.pull(&mut block[..room]);
        heard.extend_from_slice(&block[..len]);
    }
    heard
}

/// How many times the difference the sound is, in dB, when ours is moved by so many samples.
fn snr_db(ours: &[i16], theirs: &[i16], channels: usize, lag: isize) -> f64 {
    let (mut sound, mut noise) = (0.0, 0.0);
    for (n, theirs) in theirs.chunks_exact(channels).enumerate() {
        for (channel, &theirs) in theirs.iter().enumerate() {
            let at = (n * STEP) as isize + lag;
            let at = usize::try_from(at).ok().map(|at| at * channels + channel);
            let ours = at.and_then(|at| ours.get(at)).copied().unwrap_or_default();
            sound += f64::from(theirs).powi(2);
            noise += (f64::from(ours) - f64::from(theirs)).powi(2);
        }
    }
    10.0 * (sound / f64::max(noise, 1e-9)).log10()
}

#[test]
fn files_of_ffmpeg_are_heard_as_ffmpeg_hears_them_and_a_loop_begins_anew() {
    let lengths = fs::read_to_string(folder().join("lengths")).unwrap();
    assert_eq!(lengths.lines().count(), 6);
    for line in lengths.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (name, len) = (words[0], words[3].parse::<usize>().unwrap());
        let mut file = MemoryFile::new(bytes(name)).unwrap();
        let format = file.format().unwrap();
        assert_eq!([format.rate.to_string(), format.channels.to_string()], words[1..3], "{name}");
        let channels = usize::from(format.channels);
        let heard = pull(&mut file, usize::MAX);
        let theirs = fs::read(folder().join(format!("{name}.heard"))).unwrap();
        let theirs: Vec<i16> =
            theirs.chunks_exact(2).map(|it| i16::from_le_bytes([it[0], it[1]])).collect();
        // What a coder puts before the sound and behind it is dropped by one and not by the other.
        let more = (heard.len() / channels) as isize - len as isize;
        assert!(more.abs() <= 2_400, "{name}: {more} samples more than {len}");
        let lags = [0, more, 529, 1_105, 1_024, -1_024, 2_048, 1_105 - 529];
        let best = lags.iter().map(|&lag| snr_db(&heard, &theirs, channels, lag));
        let best = best.fold(f64::MIN, f64::max);
        let least = if name.ends_with("flac") { 80.0 } else { 40.0 };
        assert!(best > least, "{name}: {best:.1} dB, {more} samples more");
        assert!(!name.ends_with("flac") || more == 0, "{name}: {more}");

        let mut file = MemoryFile::new(bytes(name)).unwrap();
        file.set_looped(true);
        let twice = pull(&mut file, 2 * heard.len());
        assert!(twice[..heard.len()] == heard && twice[heard.len()..] == heard, "{name}");
    }
}

#[test]
fn what_is_no_such_file_is_refused_and_a_damaged_one_ends() {
    let error = |bytes: Bytes| MemoryFile::new(bytes).map(drop).unwrap_err();
    let noise = error(Bytes::from_static(b"hello, world")).to_string();
    assert!(noise.starts_with("neither an mp3 nor a flac nor an aac file: "), "{noise}");
    assert!(matches!(error(Bytes::new()), MemoryFileError::Unreadable(_)));
    let long = Bytes::from(vec![0; MEMORY_LEN_MAX + 1]);
    assert_eq!(error(long.clone()), MemoryFileError::TooLong(MEMORY_LEN_MAX + 1));
    assert!(matches!(error(long.slice(1..)), MemoryFileError::Unreadable(_)));
    for name in ["mono.mp3", "stereo.flac", "mono.aac", "stereo.m4a"] {
        let whole = bytes(name);
        let len = pull(&mut MemoryFile::new(whole.clone()).unwrap(), usize::MAX).len();
        for at in (60..whole.len()).step_by(97) {
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0x55;
            damaged.truncate(whole.len() - at / 50);
            if let Ok(mut file) = MemoryFile::new(damaged.into()) {
                let heard = pull(&mut file, 10 * len);
                assert!(heard.len() <= 2 * len, "{name} at {at}");
            }
        }
    }
}
