//! What is written comes back, and what others write is read.

use proptest::prelude::*;

use super::*;

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let pad = if body.len() % 2 == 1 { &[0][..] } else { &[] };
    [&name[..], &(body.len() as u32).to_le_bytes(), body, pad].concat()
}

fn format(code: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let align = channels * (bits / 8);
    let mut body = Vec::new();
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&channels.to_le_bytes());
    body.extend_from_slice(&rate.to_le_bytes());
    body.extend_from_slice(&(rate * u32::from(align)).to_le_bytes());
    body.extend_from_slice(&align.to_le_bytes());
    body.extend_from_slice(&bits.to_le_bytes());
    body
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [&b"RIFF"[..], &(body.len() as u32 + 4).to_le_bytes(), b"WAVE", &body].concat()
}

fn file(code: u16, channels: u16, bits: u16, data: &[u8]) -> Vec<u8> {
    riff(&[chunk(b"fmt ", &format(code, channels, 48_000, bits)), chunk(b"data", data)])
}

/// All samples, and the error that there was.
fn read_in(file: &[u8], pieces: impl IntoIterator<Item = usize>) -> Result<Vec<i16>, WavError> {
    let (mut reader, mut all, mut rest) = (WavReader::new(), Vec::new(), file);
    let mut pieces = pieces.into_iter().chain(std::iter::repeat(5_000));
    let mut samples = [0; 1_000];
    loop {
        if rest.is_empty() {
            reader.finish();
        } else {
            let piece = pieces.next().unwrap().clamp(1, rest.len());
            rest = &rest[reader.push(&rest[..piece])..];
        }
        loop {
            match reader.read(&mut samples)? {
                0 => break,
                len => all.extend_from_slice(&samples[..len]),
            }
        }
        if reader.is_ended() {
            return Ok(all);
        }
    }
}

fn read(file: &[u8]) -> Result<Vec<i16>, WavError> {
    read_in(file, [])
}

fn written(rate: u32, channels: u8, samples: &[i16]) -> Vec<u8> {
    let (mut writer, mut file) = (WavWriter::new(rate, channels), Vec::new());
    writer.write(samples);
    writer.flush();
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    file
}

#[test]
fn every_width_is_read_with_its_extremes() {
    assert_eq!(read(&file(PCM, 1, 8, &[0, 128, 255, 129])), Ok(vec![-32_768, 0, 32_512, 256]));
    let bytes: Vec<u8> = [-32_768i16, 0, 32_767].iter().flat_map(|it| it.to_le_bytes()).collect();
    assert_eq!(read(&file(PCM, 1, 16, &bytes)), Ok(vec![-32_768, 0, 32_767]));
    let three = [-8_388_608, 8_388_607, 127, 128, -128, -129];
    let bytes: Vec<u8> = three.iter().flat_map(|it: &i32| it.to_le_bytes()[..3].to_vec()).collect();
    assert_eq!(read(&file(PCM, 1, 24, &bytes)), Ok(vec![-32_768, 32_767, 0, 1, 0, -1]));
    let bytes: Vec<u8> =
        [i32::MIN, i32::MAX, 1 << 15].iter().flat_map(|it| it.to_le_bytes()).collect();
    assert_eq!(read(&file(PCM, 1, 32, &bytes)), Ok(vec![-32_768, 32_767, 1]));
    let floats = [-1.0f32, 0.5, 1.0, -7.0, f32::INFINITY, f32::NAN];
    let bytes: Vec<u8> = floats.iter().flat_map(|it| it.to_le_bytes()).collect();
    let expected = vec![-32_768, 16_384, 32_767, -32_768, 32_767, 0];
    assert_eq!(read(&file(FLOAT, 1, 32, &bytes)), Ok(expected));
}

#[test]
fn an_extensible_format_is_read_and_unknown_chunks_are_skipped() {
    let mut fmt = format(EXTENSIBLE, 3, 44_100, 16);
    fmt.extend_from_slice(&22u16.to_le_bytes());
    fmt.extend_from_slice(&16u16.to_le_bytes());
    fmt.extend_from_slice(&0b1011u32.to_le_bytes());
    fmt.extend_from_slice(&[1, 0, 0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113]);
    let data: Vec<u8> = [10i16, 20, 30].iter().flat_map(|it| it.to_le_bytes()).collect();
    let chunks = [
        chunk(b"LIST", b"odd"),
        chunk(b"fmt ", &fmt),
        chunk(b"junk", &[9; 9_001]),
        chunk(b"data", &data),
    ];
    // Left, right and bass.
    assert_eq!(read(&riff(&chunks)), Ok(vec![10, 20]));
    let mut reader = WavReader::new();
    let bytes = riff(&chunks);
    assert_eq!(reader.push(&bytes), bytes.len());
    assert_eq!((reader.format(), reader.frames()), (None, None));
    let mut samples = [0; 2];
    assert_eq!(reader.read(&mut samples), Ok(2));
    let format = reader.format().unwrap();
    assert_eq!((format.rate, format.channels, format.channels_out), (44_100, 3, 2));
    assert_eq!((format.bits, format.is_float, reader.frames()), (16, false, Some(1)));
    assert!(reader.is_ended());
}

#[test]
fn a_stream_without_a_size_is_read_to_its_end_and_what_stands_behind_data_is_not() {
    for size in [0, u32::MAX] {
        let mut bytes = file(PCM, 1, 16, &[]);
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&[1, 0, 2, 0, 3]);
        assert_eq!(read(&bytes), Ok(vec![1, 2]), "the last half sample is dropped");
    }
    let mut bytes = file(PCM, 1, 16, &[1, 0]);
    bytes.extend_from_slice(&chunk(b"LIST", &[7; 10]));
    assert_eq!(read(&bytes), Ok(vec![1]));
    let at = bytes.len() - 18 - 2 - 4;
    bytes[at..at + 4].copy_from_slice(&1_000u32.to_le_bytes());
    assert_eq!(read(&bytes).map(|samples| samples.len()), Ok(10), "a size beyond the file");
}

#[test]
fn a_file_that_cannot_be_played_says_why() {
    let with = |code, channels, bits| read(&file(code, channels, bits, &[0; 64]));
    let told = |error: WavError| error.to_string();
    assert_eq!(
        with(6, 1, 8).map_err(told),
        Err("format: 6 (expected 1 (PCM) or 3 (float))".into())
    );
    assert_eq!(with(PCM, 1, 12).map_err(told), Err("bits: 12 (expected 8, 16, 24 or 32)".into()));
    assert_eq!(with(FLOAT, 1, 64).map_err(told), Err("float bits: 64 (expected 32)".into()));
    assert_eq!(with(PCM, 0, 16).map_err(told), Err("channels: 0 (expected 1 to 64)".into()));
    assert!(with(PCM, 64, 16).is_ok());
    assert_eq!(with(PCM, 65, 16).map_err(told), Err("channels: 65 (expected 1 to 64)".into()));
    let at_rate =
        |rate| read(&riff(&[chunk(b"fmt ", &format(PCM, 1, rate, 8)), chunk(b"data", &[0; 2])]));
    assert_eq!(at_rate(768_000), Ok(vec![-32_768; 2]));
    assert_eq!(at_rate(768_001).map_err(told), Err("rate: 768001 (expected 1 to 768000)".into()));
    assert_eq!(at_rate(0).map_err(told), Err("rate: 0 (expected 1 to 768000)".into()));
    assert_eq!(read(b"OggS0123456789"), Err(WavError::NotWav));
    assert_eq!(read(b"RIFF"), Err(WavError::NotWav));
    assert_eq!(read(&riff(&[chunk(b"data", &[0; 2])])), Err(WavError::NoSound));
    assert_eq!(read(&riff(&[chunk(b"junk", &[0; 2])])), Err(WavError::NoSound));
    let mut short = format(PCM, 1, 8_000, 16);
    short[12] = 3;
    let expected = "block align: 3 (expected channels times bytes of a sample)";
    assert_eq!(read(&riff(&[chunk(b"fmt ", &short)])).map_err(told), Err(expected.into()));
    let expected = "fmt size: 15 (expected 16 bytes or more)";
    assert_eq!(read(&riff(&[chunk(b"fmt ", &short[..15])])).map_err(told), Err(expected.into()));
}

#[test]
fn a_file_is_whole_up_to_the_last_flush_when_its_process_is_killed() {
    let (mut writer, mut file) = (WavWriter::new(8_000, 1), Vec::new());
    let mut told = 0;
    for second in 1..=5u16 {
        writer.write(&[second as i16; 8_000]);
        writer.flush();
        while let Some(write) = writer.poll_write() {
            write.apply(&mut file);
            // Killed here: the header never promises what is not there.
            let size = u32::from_le_bytes(file[40..44].try_into().unwrap()) as usize;
            assert!(44 + size <= file.len());
            told = size;
        }
        assert_eq!((file.len(), told), (44 + usize::from(second) * 16_000, file.len() - 44));
        assert_eq!(read(&file).map(|samples| samples.len()), Ok(usize::from(second) * 8_000));
    }
    writer.flush();
    assert_eq!(writer.poll_write(), None, "nothing changed");
}

#[test]
fn sizes_that_were_not_polled_are_replaced_by_newer_ones() {
    let mut writer = WavWriter::new(8_000, 1);
    for _ in 0..100 {
        writer.write(&[1]);
        writer.flush();
    }
    let writes: Vec<u64> = std::iter::from_fn(|| writer.poll_write()).map(|it| it.offset).collect();
    assert_eq!(writes, [0, 4, 40]);
}

#[test]
fn a_seek_asks_for_the_bytes_of_its_sample_and_stops_at_the_end() {
    let samples: Vec<i16> = (0..2_000).collect();
    let bytes = written(8_000, 2, &samples);
    let mut reader = WavReader::new();
    reader.seek(5);
    let mut out = [0; 4];
    assert_eq!(reader.push(&bytes[..100]), 100);
    assert_eq!(reader.read(&mut out), Ok(4));
    for (frame, expected) in [(0, 0), (999, 1_998), (400, 800)] {
        reader.seek(frame);
        let wanted = reader.wants().unwrap();
        assert_eq!(wanted.offset, 44 + 4 * frame);
        let rest = &bytes[wanted.offset as usize..];
        assert_eq!(reader.push(rest), rest.len());
        assert_eq!(reader.read(&mut out[..2]), Ok(2));
        assert_eq!(out[0], expected);
    }
    reader.seek(u64::MAX);
    assert!(reader.is_ended() && reader.wants().is_none());
}

#[test]
fn no_more_is_held_than_the_buffer_has_room_for() {
    let mut bytes = file(PCM, 1, 8, &[]);
    bytes.resize(70_000, 1);
    let mut reader = WavReader::new();
    assert_eq!(reader.push(&bytes), 64 * 1024);
    assert_eq!(reader.push(&bytes), 0);
    assert_eq!(reader.wants(), None);
    assert_eq!(reader.read(&mut [0; 100]), Ok(100));
    assert_eq!(reader.push(&bytes[64 * 1024..]), 44 + 100);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn samples_come_back_to_the_bit_whatever_the_cut(
        samples in prop::collection::vec(any::<i16>(), 1..3_000),
        channels in 1..=2u8,
        pieces in prop::collection::vec(1..400usize, 0..50),
    ) {
        let whole = &samples[..samples.len() / usize::from(channels) * usize::from(channels)];
        prop_assume!(!whole.is_empty());
        let bytes = written(44_100, channels, whole);
        let found = read_in(&bytes, pieces);
        prop_assert_eq!(found.as_deref(), Ok(whole));
    }

    #[test]
    fn damage_never_panics_and_gives_no_more_than_the_file_holds(
        samples in prop::collection::vec(any::<i16>(), 1..300),
        damage in prop::collection::vec((0..60usize, any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = written(44_100, 1, &samples);
        for (at, value) in damage {
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(found) = read(&bytes) {
            prop_assert!(found.len() <= bytes.len() * 2);
        }
    }
}
