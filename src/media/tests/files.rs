//! Files that are decoded.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::audio::AudioCodec;
use crate::config::{AudioIdle, AudioOut, PacketTime};
use crate::event::ClearedPiece;
use crate::{AudioCleared, AudioId, Event};

/// What libopus and its kin look ahead at 48 kHz: 6.5 ms.
const LOOKAHEAD: u16 = 312;

fn wav(rate: u32, channels: u8, samples: &[i16]) -> Vec<u8> {
    let mut writer = WavWriter::new(rate, channels);
    writer.write(samples);
    writer.flush();
    applied(|| writer.poll_write())
}

/// A second of a tone as an Ogg Opus file of exactly as many samples.
fn tone_file(samples: usize) -> Vec<u8> {
    let mut encoder = AudioCodec::OpusPure.encoder(AudioOut {
        rate: 48_000,
        channels: 1,
        packet_time: PacketTime::Ms20,
        idle: AudioIdle::Silence,
        bitrate: 64_000,
        complexity: 5,
        redundancy: crate::Redundancy::Off,
        encoded: false,
    });
    let mut sound = vec![0; samples];
    assert_eq!(Tone::new(440, 12, None).unwrap().pull(&mut sound), samples);
    let count = (samples + usize::from(LOOKAHEAD)).div_ceil(960);
    sound.resize(count * 960, 0);
    let mut coded = Vec::new();
    let packets: Vec<Vec<u8>> = sound
        .chunks(960)
        .map(|block| {
            encoder.encode(block, &mut coded);
            coded.clone()
        })
        .collect();
    let mut head = OpusHead::new(1);
    head.pre_skip = LOOKAHEAD;
    ogg(head, &packets, (count * 960 - samples) as u32 - u32::from(LOOKAHEAD))
}

/// Answers at most `step` bytes at a time.
fn serve(file: &mut AudioFile, bytes: &[u8], step: usize) {
    while let Some(wanted) = file.wants() {
        let found = part(bytes, wanted);
        file.handle_read(wanted.offset, &found[..found.len().min(step)]);
    }
}

fn pull(file: &mut AudioFile, bytes: &[u8], step: usize, count: usize) -> Vec<i16> {
    let mut heard = Vec::new();
    let mut block = [0; 700];
    while heard.len() < count && !file.is_ended() {
        serve(file, bytes, step);
        let room = block.len().min(count - heard.len());
        let len = file.pull(&mut block[..room]);
        heard.extend_from_slice(&block[..len]);
    }
    heard
}

fn all(bytes: &[u8], step: usize) -> Vec<i16> {
    pull(&mut AudioFile::new(), bytes, step, usize::MAX)
}

#[test]
fn a_wav_file_is_heard_to_the_sample() {
    let samples: Vec<i16> = (0..30_000).map(|n| n as i16).collect();
    let bytes = wav(44_100, 2, &samples);
    let mut file = AudioFile::new();
    assert_eq!((file.format(), file.pull(&mut [0; 10]), file.is_ended()), (None, 0, false));
    assert_eq!(pull(&mut file, &bytes, 10_000, usize::MAX), samples);
    assert_eq!(file.format(), Some(AudioFormat::new(44_100, 2)));
    assert_eq!((file.wants(), file.error()), (None, None));
}

#[test]
fn a_loop_goes_on_with_the_first_sample_after_the_last() {
    let samples: Vec<i16> = (0..1_001).collect();
    let bytes = wav(8_000, 1, &samples);
    let mut file = AudioFile::new();
    file.set_looped(true);
    let heard = pull(&mut file, &bytes, 999, 5_000);
    assert_eq!(heard, samples.iter().copied().cycle().take(5_000).collect::<Vec<_>>());
    file.set_looped(false);
    assert!(pull(&mut file, &bytes, 999, usize::MAX).len() < 4_000);
}

#[test]
fn an_ogg_file_of_ten_milliseconds_is_looped_and_a_shorter_one_is_not() {
    for (samples, is_looped) in [(480, true), (479, false)] {
        let bytes = tone_file(samples);
        let mut file = AudioFile::new();
        file.set_looped(true);
        let heard = pull(&mut file, &bytes, 999, 5_000);
        assert_eq!(
            (heard.len(), file.is_ended()),
            (if is_looped { 5_000 } else { 479 }, !is_looped)
        );
    }
}

#[test]
fn a_loop_over_nothing_ends() {
    for bytes in [wav(8_000, 1, &[]), ogg(OpusHead::new(1), &[], 0), b"noise".to_vec(), vec![]] {
        let mut file = AudioFile::new();
        file.set_looped(true);
        assert!(pull(&mut file, &bytes, 999, 1).is_empty());
        assert!(file.is_ended());
    }
}

#[test]
fn a_seek_is_exact_before_and_after_the_first_bytes_came() {
    let samples: Vec<i16> = (0..30_000).map(|n| n as i16).collect();
    let bytes = wav(8_000, 1, &samples);
    let mut file = AudioFile::new();
    file.seek(Duration::from_secs(2));
    assert_eq!(pull(&mut file, &bytes, 50, 3), [16_000, 16_001, 16_002]);
    let stale = file.wants().unwrap();
    file.seek(Duration::from_millis(500));
    file.handle_read(stale.offset, part(&bytes, stale));
    assert_eq!(pull(&mut file, &bytes, 50, 2), [4_000, 4_001]);
    file.seek(Duration::from_secs(1_000));
    assert!(pull(&mut file, &bytes, 50, 2).is_empty());
    assert!(file.is_ended());
    file.seek(Duration::ZERO);
    assert_eq!(pull(&mut file, &bytes, 50, 2), [0, 1]);
}

#[test]
fn a_player_that_is_paused_cleared_and_sent_elsewhere_plays_each_sample_where_it_should() {
    let samples: Vec<i16> = (0..16_000).collect();
    let bytes = wav(8_000, 2, &samples);
    let mut player = Player::new(AudioFile::new());
    player.source_mut().set_looped(true);
    // A session's queue: what it took, and what of that has gone out.
    let mut queue: Vec<(AudioId, Vec<i16>)> = Vec::new();
    let mut ids = 0..;
    let mut heard: Vec<i16> = Vec::new();
    let mut feed = |player: &mut Player<AudioFile>, queue: &mut Vec<(AudioId, Vec<i16>)>| {
        serve(player.source_mut(), &bytes, 999);
        while let Some(piece) = player.next_piece() {
            let id = AudioId(ids.next().unwrap());
            queue.push((id, piece.samples.to_vec()));
            player.queued(id);
            serve(player.source_mut(), &bytes, 999);
        }
    };
    let play = |player: &mut Player<AudioFile>, queue: &mut Vec<(AudioId, Vec<i16>)>| {
        let (id, piece) = queue.remove(0);
        player.handle_event(&Event::AudioFinished { id, samples: piece.len() as u64 / 2 });
        piece
    };
    for _ in 0..30 {
        feed(&mut player, &mut queue);
        heard.extend(play(&mut player, &mut queue));
    }
    assert_eq!(player.position(), Duration::from_millis(600));
    // A pause with a clear: of the next piece 7 samples had gone out.
    player.pause();
    let (id, piece) = queue.remove(0);
    heard.extend(&piece[..14]);
    let mut pieces = vec![ClearedPiece::new(id, 7, 153)];
    pieces.extend(queue.drain(..).map(|(id, it)| ClearedPiece::new(id, 0, it.len() as u64 / 2)));
    player.handle_cleared(&AudioCleared { pieces });
    feed(&mut player, &mut queue);
    assert!(queue.is_empty() && player.position() == Duration::from_micros(600_875));
    player.resume();
    for _ in 0..50 {
        feed(&mut player, &mut queue);
        heard.extend(play(&mut player, &mut queue));
    }
    // The file is a second long, so the loop was passed.
    let expected: Vec<i16> = samples.iter().copied().cycle().take(heard.len()).collect();
    assert_eq!(heard.len(), 2 * (80 * 160 + 7));
    assert!(heard == expected, "no sample is missing, none is twice");
    let pieces = queue.drain(..).map(|(id, it)| ClearedPiece::new(id, 0, it.len() as u64 / 2));
    player.handle_cleared(&AudioCleared { pieces: pieces.collect() });
    player.seek(Duration::from_micros(999_875));
    feed(&mut player, &mut queue);
    assert_eq!(play(&mut player, &mut queue)[..6], [15_998, 15_999, 0, 1, 2, 3]);
    assert_eq!(player.position(), Duration::from_micros(1_019_875));
}

#[test]
fn files_that_cannot_be_played_end_and_say_why() {
    let error = |bytes: &[u8]| {
        let mut file = AudioFile::new();
        assert!(pull(&mut file, bytes, 999, 1).is_empty() && file.is_ended());
        file.error().map(|error| error.to_string())
    };
    let told = |text: &str| Some(text.to_owned());
    assert_eq!(error(b"noise"), told("neither a WAV nor an Ogg file"));
    assert_eq!(error(b"RI"), told("neither a WAV nor an Ogg file"));
    assert_eq!(error(b"RIFF1234WEBPmore"), told("not a WAV file"));
    let rates = "(expected 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000)";
    assert_eq!(error(&wav(12_345, 1, &[0; 9])), Some(format!("rate: 12345 {rates}")));
    assert_eq!(error(b"OggS and noise"), told("an Ogg file without Opus of one or two channels"));
}

#[test]
fn an_ogg_file_is_heard_for_as_long_as_it_is_and_sounds_as_it_was() {
    let bytes = tone_file(48_321);
    let heard = all(&bytes, 5_000);
    assert_eq!(heard.len(), 48_321);
    let mut tone = vec![0; heard.len()];
    assert_eq!(Tone::new(440, 12, None).unwrap().pull(&mut tone), tone.len());
    // The lag at which both are most alike. The coder's high-pass filter turns the phase of 440 Hz
    // by a few samples; its lookahead would be 312.
    let alike = |lag: i64| -> i64 {
        let at = |n: i64| i64::from(heard[(n + lag) as usize]) * i64::from(tone[n as usize]);
        (4_800..43_200).map(at).sum()
    };
    let lag = (-50..50).max_by_key(|&lag| alike(lag)).unwrap();
    assert!(lag.abs() < 10, "{lag} samples");
}

#[test]
fn a_seek_in_an_ogg_file_is_exact_and_a_loop_has_its_length() {
    let bytes = tone_file(48_321);
    let whole = all(&bytes, 5_000);
    let mut file = AudioFile::new();
    file.seek(Duration::from_millis(700));
    let rest = pull(&mut file, &bytes, 5_000, usize::MAX);
    assert_eq!(rest.len(), 48_321 - 33_600);
    let worst =
        rest.iter().zip(&whole[33_600..]).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs());
    assert!(worst.max().unwrap() < 100, "160 ms were decoded before it");

    let mut file = AudioFile::new();
    file.set_looped(true);
    let heard = pull(&mut file, &bytes, 5_000, 3 * 48_321);
    assert_eq!(heard[..48_321], whole);
    assert_eq!(heard[48_321..2 * 48_321], whole);
}

#[test]
fn a_damaged_page_leaves_the_time_as_it_was() {
    let mut bytes = tone_file(48_000);
    let pages: Vec<usize> =
        (0..bytes.len() - 4).filter(|&at| bytes[at..].starts_with(b"OggS")).collect();
    bytes[pages[3] + 100] ^= 1;
    let heard = all(&bytes, 5_000);
    assert_eq!(heard.len(), 48_000);
    // The page holds 400 ms to 800 ms, and what is decoded lags by 6.5 ms.
    assert!(heard[25_000..37_000].iter().all(|&sample| sample == 0), "concealed, then silent");
    assert!(heard[40_000..].iter().any(|&sample| sample > 5_000));
}

#[test]
fn the_gain_of_the_header_is_heard() {
    let mut bytes = tone_file(9_600);
    let plain = all(&bytes, 5_000);
    // Minus 6 dB: byte 16 of the header, which begins after 28 bytes of the page.
    bytes[44..46].copy_from_slice(&(-1_541i16).to_le_bytes());
    let page = bytes.split_off(28 + 19);
    let head = OpusHead { gain: -1_541, pre_skip: LOOKAHEAD, ..OpusHead::new(1) };
    let mut file = ogg(head, &[], 0)[..28 + 19].to_vec();
    file.extend_from_slice(&page);
    let soft = all(&file, 5_000);
    assert_eq!(soft.len(), plain.len());
    for (soft, plain) in soft.iter().zip(&plain) {
        assert!((f64::from(*soft) - f64::from(*plain) / 2.0).abs() < 3.0);
    }
}

#[test]
fn no_more_is_asked_for_than_a_quarter_of_a_second_needs() {
    let bytes = tone_file(480_000);
    let mut file = AudioFile::new();
    let (mut read, mut heard) = (0, 0);
    for _ in 0..20 {
        while let Some(wanted) = file.wants() {
            read += part(&bytes, wanted).len();
            file.handle_read(wanted.offset, part(&bytes, wanted));
        }
        heard += file.pull(&mut [0; 960]);
    }
    assert_eq!(heard, 20 * 960);
    assert!(read <= 4_096 + 32 * 1_024, "{read} of {} bytes", bytes.len());
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    })]

    #[test]
    fn any_cut_of_a_file_gives_the_same_samples(
        samples in prop::collection::vec(any::<i16>(), 1..4_000),
        step in 1..5_000usize,
    ) {
        prop_assert_eq!(all(&wav(16_000, 1, &samples), step), samples);
    }

    #[test]
    fn any_cut_of_an_ogg_file_gives_the_same_samples(step in 1..5_000usize) {
        let bytes = tone_file(5_000);
        prop_assert_eq!(all(&bytes, step), all(&bytes, usize::MAX));
    }

    #[test]
    fn damaged_files_play_on(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        seek_ms in prop::option::of(0..300u64),
    ) {
        let mut bytes = tone_file(9_600);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let mut file = AudioFile::new();
        if let Some(time) = seek_ms {
            file.seek(Duration::from_millis(time));
        }
        let heard = pull(&mut file, &bytes, 777, usize::MAX);
        prop_assert!(heard.len() <= 9_600);
    }
}
