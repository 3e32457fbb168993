//! What bots play and what is recorded of calls: the program, called by a model browser over real
//! sockets.

#![expect(clippy::disallowed_methods, reason = "calls last in real time, within their bounds")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use opus_pure::{Application, OpusEncoder};
use smallrtc::media::{AudioFile, AudioSource, OggOpusWriter, OpusHead, OpusTags, Tone, WavWriter};

use crate::page::{Heard, Page, Stack};
use crate::plain::Plain;
use crate::program::{end, serve, signal, smallrtc};
use crate::support::{ask, send};
use crate::tone::{Microphone, frequency};

/// How far the pitch of what was heard may be off, in Hz.
const PITCH_OFF: f32 = 2.0;

/// A directory for one test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("smallrtc-sound-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory of ours");
        Directory(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// The files of a directory in it, in the order of their names.
    fn files(&self, name: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join(name)).expect("the server has made it");
        entries
            .map(|it| it.expect("an entry").path())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A program that is ended with the test, however that ends.
struct Running(Option<Child>, String);

impl Running {
    fn start(flags: &[&str]) -> Running {
        let (child, line) = serve(flags);
        let address = line.trim_start_matches("open http://").trim_end_matches('/').to_owned();
        Running(Some(child), address)
    }

    fn call(&self) -> Page<Plain> {
        let address = self.1.parse().expect("an address");
        let mut page = Page::new(Plain::new);
        page.call(|offer| {
            let answer = smol::block_on(ask(address, send("POST", "/api/offer", offer)));
            assert_eq!(answer.status, 200);
            String::from_utf8(answer.body).expect("JSON")
        });
        page
    }

    /// An orderly end.
    fn stop(mut self) {
        let child = self.0.take().expect("it runs");
        signal(&child, "-INT");
        let (code, error) = end(child);
        assert_eq!(code, Some(0), "{error}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The pitch of a second of what is heard.
fn heard_pitch(page: &mut Page<Plain>) -> f32 {
    page.go_on("a second of loud sound is heard", |page| {
        while let Some(heard) = page.stack.poll_heard() {
            if let Heard::Audio(packet) = heard {
                page.speaker.play(&packet);
            }
        }
        page.speaker.last_second().is_some()
    });
    frequency(page.speaker.last_second().expect("it was heard"))
}

fn assert_pitch(found: f32, expected: f32) {
    assert!((found - expected).abs() < PITCH_OFF, "{found} Hz instead of {expected} Hz");
}

/// A tone that fits into itself: whole waves.
fn waves(rate: usize, pitch_hz: usize, seconds: f32) -> Vec<i16> {
    let sample = |n: usize| {
        let phase = (n * pitch_hz % rate) as f32 / rate as f32;
        ((std::f32::consts::TAU * phase).sin() * 9_000.0) as i16
    };
    (0..(rate as f32 * seconds) as usize).map(sample).collect()
}

fn wav(samples: &[i16], rate: u32) -> Vec<u8> {
    let (mut writer, mut file) = (WavWriter::new(rate, 1), Vec::new());
    writer.write(samples);
    writer.flush();
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    file
}

/// Packets of so many samples, and the file that holds them.
fn coded(pitch_hz: usize, packet: usize, count: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut opus = OpusEncoder::new(48_000, 1, Application::Audio).expect("48 kHz");
    let sound = waves(48_000, pitch_hz, (packet * count) as f32 / 48_000.0);
    let (mut writer, mut file) =
        (OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 1), Vec::new());
    let packets = sound.chunks_exact(packet).map(|samples| {
        let mut coded = vec![0; 1_275];
        let len = opus.encode_s16(samples, packet, &mut coded).expect("it codes");
        coded.truncate(len);
        assert!(writer.write(&coded));
        coded
    });
    let packets = packets.collect();
    writer.finish(0);
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    (packets, file)
}

/// A sound file, one channel after the other.
fn read(path: &Path) -> Vec<Vec<i16>> {
    let bytes = fs::read(path).expect("it was written");
    let (mut file, mut all, mut samples) = (AudioFile::new(), Vec::new(), [0; 9_600]);
    while !file.is_ended() {
        while let Some(wanted) = file.wants() {
            let start = bytes.len().min(wanted.offset as usize);
            let end = bytes.len().min(start + wanted.len);
            file.handle_read(wanted.offset, &bytes[start..end]);
        }
        let len = file.pull(&mut samples);
        all.extend_from_slice(&samples[..len]);
    }
    let format = file.format().unwrap_or_else(|| panic!("{path:?}: {:?}", file.error()));
    assert_eq!(format.rate, 48_000);
    let channels = usize::from(format.channels);
    (0..channels).map(|at| all.iter().skip(at).step_by(channels).copied().collect()).collect()
}

/// The pitch of the last second but half of one, which is loud.
fn recorded_pitch(samples: &[i16]) -> f32 {
    let end = samples.len() - 24_000;
    let second = &samples[end - 48_000..end];
    let loud = |part: &[i16]| part.iter().any(|sample| sample.unsigned_abs() > 2_000);
    assert!(second.chunks(960).all(loud), "it goes through the whole second");
    frequency(second)
}

#[test]
fn the_tone_bot_says_its_tone_and_answers_messages_as_echo_does() {
    for pitch in [440, 3_000] {
        let server = Running::start(&["--bot", &format!("tone:{pitch}")]);
        let mut page = server.call();
        page.hear("the data channel opens", |heard| *heard == Heard::Open);
        assert_pitch(heard_pitch(&mut page), pitch as f32);
        let ready = r#"{"label":"rtvi-ai","type":"client-ready","id":"1","data":{}}"#;
        page.stack.send_text(ready, Instant::now());
        page.hear(
            "bot-ready",
            |heard| matches!(heard, Heard::Message(text) if text.contains("bot-ready")),
        );
        page.hang_up();
        server.stop();
    }
}

#[test]
fn the_play_bot_plays_a_wav_file_over_and_over_without_a_gap() {
    let directory = Directory::new("wav");
    let file = directory.path("a:b.wav");
    // 0.3 s: a second of it has three seams.
    fs::write(&file, wav(&waves(16_000, 600, 0.3), 16_000)).expect("a file of ours");
    let server = Running::start(&["--bot", &format!("play:{file}")]);
    for _ in 0..2 {
        let mut page = server.call();
        assert_pitch(heard_pitch(&mut page), 600.0);
        page.hang_up();
    }
    server.stop();
}

#[test]
fn the_play_bot_passes_an_ogg_file_on_packet_by_packet_over_and_over() {
    let directory = Directory::new("pass");
    let (file, (packets, bytes)) = (directory.path("a.ogg"), coded(600, 960, 25));
    fs::write(&file, bytes).expect("a file of ours");
    let server = Running::start(&["--bot", &format!("play:{file}")]);
    let mut page = server.call();
    let mut heard = Vec::new();
    page.hear("three rounds", |it| {
        if let Heard::Audio(packet) = it {
            heard.push(packet.clone());
        }
        heard.len() >= 75
    });
    // The receiver may have dropped the first ones, before it was ready.
    let first = packets.iter().position(|packet| *packet == heard[0]).expect("one of the file's");
    let expected = packets.iter().cycle().skip(first).take(75).cloned();
    assert_eq!(heard[..75], expected.collect::<Vec<_>>());
    page.hang_up();
    server.stop();
}

#[test]
fn an_ogg_file_whose_packets_are_too_short_is_decoded_and_heard() {
    let directory = Directory::new("short");
    let (file, (_, bytes)) = (directory.path("a.ogg"), coded(800, 240, 200));
    fs::write(&file, bytes).expect("a file of ours");
    let server = Running::start(&["--bot", &format!("play:{file}")]);
    let mut page = server.call();
    assert_pitch(heard_pitch(&mut page), 800.0);
    page.hang_up();
    server.stop();
}

#[cfg(feature = "player-formats")]
#[test]
fn the_play_bot_plays_files_of_other_kinds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/formats");
    for name in ["mono.mp3", "stereo.flac", "stereo.m4a"] {
        let bot = format!("play:{}", folder.join(name).display());
        let server = Running::start(&["--bot", &bot]);
        let mut page = server.call();
        let mut loud = 0;
        page.hear("a second that is loud again and again", |heard| {
            // The file has a pause, so that no second of it is loud throughout.
            loud += usize::from(matches!(heard, Heard::Audio(packet) if packet.len() > 30));
            loud > 50
        });
        page.hang_up();
        server.stop();
    }
}

#[test]
fn what_cannot_be_played_or_recorded_is_named_with_its_flag_before_the_server_starts() {
    let directory = Directory::new("errors");
    let file = |name: &str, bytes: &[u8]| {
        fs::write(directory.0.join(name), bytes).expect("a file of ours");
        format!("play:{}", directory.path(name))
    };
    let (text, rate) = (file("a.txt", b"hello, world"), file("rate.wav", &wav(&[5; 99], 12_345)));
    let (empty, head) = (file("empty.wav", &wav(&[], 16_000)), file("head.ogg", b"OggS, said he"));
    let (mut wide, music) = (wav(&[5; 99], 16_000), file("a.wav", &wav(&[5; 99], 16_000)));
    wide[34] = 12;
    let wide = file("wide.wav", &wide);
    let (none, here) = (directory.path("none"), format!("play:{}", directory.path(".")));
    let missing = format!("play:{none}");
    let expected = |flags: &[&str], words: &[&str]| {
        let (code, error) = end(smallrtc(flags));
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        for word in words {
            assert!(error.contains(word), "{flags:?}: {error}");
        }
    };
    for (bot, words) in [
        (&text, &["neither a WAV nor an Ogg file"][..]),
        (&rate, &["rate: 12345 (expected 8000, "]),
        (&empty, &["it holds no sound"]),
        (&head, &["an Ogg file without Opus"]),
        (&wide, &["bits: 12 (expected 8, 16, 24 or 32)"]),
        (&missing, &["No such file"]),
        (&here, &["directory"]),
    ] {
        expected(&["--bot", bot], &[&["--bot play:"], words].concat());
    }
    expected(&["--record-audio", "/dev/null/no"], &["--record-audio /dev/null/no"]);
    let coded = ["--bot", "pass", "--record-audio", &none];
    expected(&[&coded[..], &["--record-audio-as", "wav"]].concat(), &["--record-audio-as wav"]);
    let sides = ["--record-audio-sides", "mixed"];
    expected(&[&coded[..], &sides].concat(), &["--record-audio-sides"]);
    // A flag that is wrong beside one that is right.
    expected(&["--bot", &music, "--listen", "203.0.113.1:0"], &["--listen"]);
}

/// A call of about three seconds in which both sides speak; gives how long it lasted at least.
fn speak(server: &Running, pitch: f32) -> Duration {
    let mut page = server.call();
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    page.speak(Microphone::new(pitch));
    let begun = Instant::now();
    page.go_on("three seconds", |page| {
        while page.stack.poll_heard().is_some() {}
        begun.elapsed() > Duration::from_secs(3)
    });
    let lasted = begun.elapsed();
    page.hang_up();
    lasted
}

fn assert_length(samples: &[i16], lasted: Duration) {
    let length = Duration::from_millis(samples.len() as u64 / 48);
    // It begins when the call is connected, a little before the channel opens; a machine that is
    // busy learns of it later than the page.
    let range = lasted - Duration::from_millis(50)..lasted + Duration::from_secs(2);
    assert!(range.contains(&length), "{length:?} of {lasted:?}");
}

#[test]
fn calls_are_recorded_as_files_that_hold_both_sides() {
    let directory = Directory::new("record");
    for (kind, sides) in [("ogg", "stereo"), ("wav", "stereo"), ("ogg", "separate")] {
        let folder = format!("{kind}-{sides}");
        let flags = ["--bot", "tone:700", "--record-audio", &directory.path(&folder)];
        let flags =
            [&flags[..], &["--record-audio-as", kind, "--record-audio-sides", sides]].concat();
        let server = Running::start(&flags);
        let lasted = speak(&server, 440.0);
        server.stop();
        let files = directory.files(&folder);
        assert!(files.iter().all(|file| file.extension().is_some_and(|it| it == kind)));
        let tracks: Vec<Vec<i16>> = files.iter().flat_map(|file| read(file)).collect();
        assert_eq!((files.len(), tracks.len()), (if sides == "separate" { 2 } else { 1 }, 2));
        for (track, pitch) in tracks.iter().zip([440.0, 700.0]) {
            assert_length(track, lasted);
            assert_pitch(recorded_pitch(track), pitch);
        }
    }
}

#[test]
fn a_mixed_recording_holds_what_both_sides_said_together() {
    let directory = Directory::new("mixed");
    let flags = ["--bot", "tone:700", "--record-audio", &directory.path("")];
    let server = Running::start(&[&flags[..], &["--record-audio-sides", "mixed"]].concat());
    let lasted = speak(&server, 440.0);
    server.stop();
    let files = directory.files("");
    let tracks = read(&files[0]);
    assert_eq!((files.len(), tracks.len()), (1, 1));
    assert_length(&tracks[0], lasted);
    let end = tracks[0].len() - 24_000;
    let second = &tracks[0][end - 48_000..end];
    let level = |pitch: f32| {
        let part = |turn: f32| {
            let wave =
                |n: usize| (std::f32::consts::TAU * pitch * n as f32 / 48_000.0 + turn).sin();
            let sum = second.iter().enumerate().map(|(n, sample)| f32::from(*sample) * wave(n));
            sum.sum::<f32>() / 24_000.0
        };
        part(0.0).hypot(part(std::f32::consts::FRAC_PI_2))
    };
    assert!(level(440.0) > 4_000.0 && level(700.0) > 4_000.0, "both tones");
    assert!(level(555.0) < 400.0, "and nothing between them");
}

#[test]
fn what_the_play_bot_says_is_recorded_and_what_passes_undecoded_is_recorded_as_it_is() {
    let directory = Directory::new("coded");
    let (file, (_, bytes)) = (directory.path("a.ogg"), coded(600, 960, 25));
    fs::write(&file, bytes).expect("a file of ours");
    let play = format!("play:{file}");
    for (folder, bot, said) in [("play", play.as_str(), 600.0), ("pass", "pass", 440.0)] {
        let flags = ["--bot", bot, "--record-audio", &directory.path(folder)];
        let server = Running::start(&[&flags[..], &["--record-audio-sides", "separate"]].concat());
        speak(&server, 440.0);
        server.stop();
        let files = directory.files(folder);
        assert_eq!(files.len(), 2);
        for (file, (suffix, pitch)) in files.iter().zip([("heard", 440.0), ("said", said)]) {
            let name = file.file_stem().and_then(|name| name.to_str()).expect("UTF-8");
            assert!(name.ends_with(suffix), "{name}");
            let tracks = read(file);
            assert_pitch(recorded_pitch(&tracks[0]), pitch);
        }
    }
}

#[test]
fn a_killed_program_leaves_files_that_are_readable_up_to_their_last_second() {
    let directory = Directory::new("killed");
    for kind in ["ogg", "wav"] {
        let flags = ["--record-audio", &directory.path(kind), "--record-audio-as", kind];
        let mut server = Running::start(&flags);
        let mut page = server.call();
        page.hear("the data channel opens", |heard| *heard == Heard::Open);
        page.speak(Microphone::new(440.0));
        let begun = Instant::now();
        page.go_on("four seconds", |page| {
            while page.stack.poll_heard().is_some() {}
            begun.elapsed() > Duration::from_secs(4)
        });
        let child = server.0.as_mut().expect("it runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("it is dead");
        let lasted = begun.elapsed();
        let tracks = read(&directory.files(kind)[0]);
        let length = Duration::from_millis(tracks[0].len() as u64 / 48);
        assert!(length + Duration::from_secs(1) > lasted, "{kind}: {length:?} of {lasted:?}");
        for track in &tracks {
            assert_pitch(recorded_pitch(track), 440.0);
        }
    }
}

/// What tests compare with is what the program generates.
#[test]
fn the_tone_of_the_tests_is_a_tone() {
    let mut tone = Tone::new(700, 12, None).expect("within its range");
    let mut samples = vec![0; 48_000];
    assert_eq!(tone.pull(&mut samples), 48_000);
    assert_pitch(frequency(&samples), 700.0);
}
