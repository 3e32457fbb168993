//! Sound files, in any cut.

use std::time::Duration;

use smallrtc::media::{
    AudioFile, AudioSource, FileRead, OggItem, OggOpusReader, OpusPass, WavError, WavReader,
};

/// The most samples that are pulled in one run: a second of silence that a few bytes ask for is as
/// good as a minute of it.
const SAMPLES_MAX: usize = 100_000;

/// How many bytes come at a time, by the first byte of the input: one, or up to two thousand.
fn step(byte: u8) -> usize {
    1 + usize::from(byte) * 8
}

/// Reads an Ogg file that comes in pieces.
fn items(file: &[u8], step: usize) -> (Vec<OggItem>, u64) {
    let (mut reader, mut items, mut rest) = (OggOpusReader::new(), Vec::new(), file);
    loop {
        items.extend(std::iter::from_fn(|| reader.read()));
        if rest.is_empty() {
            break;
        }
        let taken = reader.push(&rest[..rest.len().min(step)]);
        assert!(taken > 0, "a reader that has given everything takes more");
        rest = &rest[taken..];
    }
    reader.finish();
    items.extend(std::iter::from_fn(|| reader.read()));
    (items, reader.counters().pages)
}

/// Reads the bytes behind the first as an Ogg file, in two cuts that have to be one file.
///
/// # Panics
/// When something does not hold.
pub fn ogg(data: &[u8]) {
    let Some((&cut, file)) = data.split_first() else { return };
    let (found, pages) = items(file, step(cut));
    let mut bytes = 0;
    for item in &found {
        if let OggItem::Packet(packet) = item {
            bytes += packet.data.len();
            assert!(packet.trim_start + packet.trim_end <= packet.samples);
            assert!(packet.position.checked_add(packet.samples.into()).is_some());
        }
    }
    assert!(bytes <= file.len(), "nothing is made up");
    assert!(pages as usize * 27 <= file.len());
    assert_eq!((found, pages), items(file, usize::MAX), "a cut is not seen");
}

/// Reads a WAV file that comes in pieces.
fn samples(file: &[u8], step: usize) -> Result<Vec<i16>, WavError> {
    let (mut reader, mut all, mut rest, mut block) = (WavReader::new(), Vec::new(), file, [0; 256]);
    loop {
        let len = reader.read(&mut block)?;
        all.extend_from_slice(&block[..len]);
        if reader.is_ended() {
            return Ok(all);
        }
        if len > 0 {
            continue;
        }
        if rest.is_empty() {
            reader.finish();
            continue;
        }
        let taken = reader.push(&rest[..rest.len().min(step)]);
        assert!(taken > 0, "a reader that gives nothing takes more");
        rest = &rest[taken..];
    }
}

/// Reads the bytes behind the first as a WAV file, in two cuts that have to be one file.
///
/// # Panics
/// When something does not hold.
pub fn wav(data: &[u8]) {
    let Some((&cut, file)) = data.split_first() else { return };
    let found = samples(file, step(cut));
    // A byte is a sample at least, and what has more channels becomes two.
    assert!(found.as_ref().map_or(0, Vec::len) <= file.len());
    assert_eq!(found, samples(file, usize::MAX), "a cut is not seen");
}

fn part(file: &[u8], wanted: FileRead, step: usize) -> &[u8] {
    let start = usize::try_from(wanted.offset).map_or(file.len(), |at| at.min(file.len()));
    &file[start..file.len().min(start.saturating_add(wanted.len.min(step)))]
}

/// How many bytes of the input say what is done.
const COMMANDS: usize = 8;

/// Does what the first bytes say with the file that the others are: pulls, seeks and loops.
///
/// # Panics
/// When something does not hold.
pub fn player(data: &[u8]) {
    let Some((commands, bytes)) = data.split_at_checked(COMMANDS) else { return };
    let step = 64 + step(commands[0]);
    let (mut file, mut block, mut count) = (AudioFile::new(), [0; 1_024], 0);
    for &command in &commands[1..] {
        let amount = u64::from(command >> 2);
        match command & 3 {
            0 => file.seek(Duration::from_millis(amount * amount)),
            1 => file.set_looped(amount & 1 == 1),
            // A seek whose bytes are on their way.
            2 => {
                let wanted = file.wants();
                file.seek(Duration::from_millis(amount));
                if let Some(wanted) = wanted {
                    file.handle_read(wanted.offset, part(bytes, wanted, step));
                }
            }
            _ => count += pull(&mut file, bytes, step, &mut block, amount as usize),
        }
    }
    file.set_looped(false);
    count += pull(&mut file, bytes, step, &mut block, usize::MAX);
    assert!(count >= SAMPLES_MAX || file.is_ended(), "it comes to an end");
    assert!(file.error().is_none() || file.is_ended());
    pass(bytes, step, commands[1] & 1 == 1);
}

/// Pulls `blocks` blocks at most; gives how many samples came.
fn pull(
    file: &mut AudioFile,
    bytes: &[u8],
    step: usize,
    block: &mut [i16],
    blocks: usize,
) -> usize {
    let mut count = 0;
    for _ in 0..blocks {
        // A loop reads a file of 10 ms 25 times for what is made ready at once, and a WAV file of
        // one sample as often as that has samples.
        let (mut reads, most) = (0, 32 * (bytes.len() + 100) + 1_000_000);
        while let Some(wanted) = file.wants() {
            assert!(wanted.len > 0);
            file.handle_read(wanted.offset, part(bytes, wanted, step));
            reads += 1;
            assert!(reads <= most, "no progress");
        }
        let len = file.pull(block);
        count += len;
        if file.is_ended() || count >= SAMPLES_MAX {
            break;
        }
        // A loop that has just begun anew gives nothing and wants its first bytes.
        assert!(len > 0 || file.wants().is_some(), "it gives, wants, or has ended");
    }
    count
}

/// Passes the file on, once or for some rounds.
fn pass(bytes: &[u8], step: usize, is_looped: bool) {
    let mut pass = OpusPass::new(2);
    pass.set_looped(is_looped);
    let mut now = super::origin();
    pass.start(now);
    for _ in 0..500 {
        while let Some(wanted) = pass.wants() {
            pass.handle_read(wanted.offset, part(bytes, wanted, step));
        }
        let Some(due) = pass.poll_timeout() else {
            assert!(pass.is_ended(), "what wants nothing and has not ended gives something");
            return;
        };
        assert!(due >= now, "deadlines do not fall");
        now = due;
        let frame = pass.handle_timeout(now).expect("one packet for each deadline");
        assert!(frame.data.len() <= bytes.len());
    }
}
