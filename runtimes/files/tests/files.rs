//! Files of a disk, and disks that give trouble.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smallrtc::media::{AudioFile, AudioSource, FileWrite, WavWriter};
use smallrtc_files::{Disk, FileReads, FileWrites, READ_LEN_MAX, WRITES_MAX};

const PATIENCE: Duration = Duration::from_secs(10);

/// A directory for one test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("smallrtc-files-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory of ours");
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The writes of a WAV file that holds these samples.
fn wav(samples: &[i16]) -> Vec<FileWrite> {
    let mut writer = WavWriter::new(8_000, 1);
    let mut writes = Vec::new();
    for block in samples.chunks(1_000) {
        writer.write(block);
        writer.flush();
        writes.extend(std::iter::from_fn(|| writer.poll_write()));
    }
    writes
}

fn whole(writes: &[FileWrite]) -> Vec<u8> {
    let mut file = Vec::new();
    writes.iter().for_each(|write| write.apply(&mut file));
    file
}

/// Plays a file from its disk; gives what was heard.
fn heard(reads: &mut FileReads, woken: &Receiver<()>, file: &mut AudioFile) -> Vec<i16> {
    let (mut heard, mut samples) = (Vec::new(), [0; 700]);
    while !file.is_ended() {
        while let Some(part) = reads.poll(file.wants()) {
            file.handle_read(part.offset, &part.bytes);
        }
        let len = file.pull(&mut samples);
        heard.extend_from_slice(&samples[..len]);
        if len == 0 && !file.is_ended() {
            woken.recv_timeout(PATIENCE).expect("who waits for bytes is woken");
        }
    }
    heard
}

#[test]
fn a_file_that_was_recorded_is_played_to_the_sample_and_again_after_a_seek() {
    let directory = Directory::new("whole");
    let (disk, path) = (Disk::start().unwrap(), directory.0.join("a.wav"));
    let samples: Vec<i16> = (0..100_000).map(|n| (n % 30_000) as i16).collect();
    let writes = wav(&samples);
    let mut file = FileWrites::create(&disk, &path, 1 << 20).unwrap();
    assert!(file.is_empty());
    let mut queue = writes.clone().into_iter();
    file.take(|| queue.next());
    assert!(disk.flush(PATIENCE));
    assert_eq!(fs::read(&path).unwrap(), whole(&writes));
    assert_eq!((file.len(), file.is_ended()), (200_044, false));

    let (wake, woken) = sync_channel(1);
    let mut reads = FileReads::open(&disk, &path, move || wake.try_send(()).unwrap_or(())).unwrap();
    let mut player = AudioFile::new();
    assert_eq!(heard(&mut reads, &woken, &mut player), samples);
    // A read of another place is on its way when the seek comes.
    player.seek(Duration::from_secs(2));
    assert_eq!(reads.poll(player.wants()), None);
    player.seek(Duration::from_secs(5));
    assert_eq!(heard(&mut reads, &woken, &mut player), samples[40_000..]);
    assert!(reads.error().is_none());
}

/// Holds the disk's thread up until what is given is dropped.
fn gate(disk: &Disk, directory: &Directory) -> SyncSender<()> {
    let path = directory.0.join("gate");
    fs::write(&path, [0]).unwrap();
    let (open, closed) = sync_channel::<()>(0);
    let closed = Mutex::new(closed);
    let wake = move || closed.lock().unwrap().recv().unwrap_or(());
    let mut reads = FileReads::open(disk, &path, wake).unwrap();
    assert_eq!(reads.poll(AudioFile::new().wants()), None);
    open
}

#[test]
fn one_read_is_on_its_way_at_a_time_and_is_as_long_as_its_limit() {
    let directory = Directory::new("reads");
    let (disk, path) = (Disk::start().unwrap(), directory.0.join("a"));
    fs::write(&path, vec![7; 2 * READ_LEN_MAX]).unwrap();
    let wakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&wakes);
    let wake = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let mut reads = FileReads::open(&disk, &path, wake).unwrap();
    let mut wanted = AudioFile::new().wants().expect("the first bytes");
    wanted.len = usize::MAX;
    for (n, len) in [READ_LEN_MAX, READ_LEN_MAX, 0].into_iter().enumerate() {
        wanted.offset = (n * READ_LEN_MAX) as u64;
        let gate = gate(&disk, &directory);
        assert!((0..5).all(|_| reads.poll(Some(wanted)).is_none()));
        drop(gate);
        assert!(disk.flush(PATIENCE));
        let part = reads.poll(None).expect("it came");
        assert_eq!((part.offset, part.bytes.len()), (wanted.offset, len));
        assert_eq!((reads.poll(None), wakes.load(Ordering::Relaxed)), (None, n + 1));
    }
}

#[test]
fn writes_wait_for_a_disk_that_hangs_up_to_their_limit_and_the_next_stays_where_it_was() {
    let directory = Directory::new("writes");
    let (disk, path) = (Disk::start().unwrap(), directory.0.join("a"));
    let mut file = FileWrites::create(&disk, &path, 1 << 30).unwrap();
    let all = wav(&vec![3; 400_000]);
    assert!(all.len() > WRITES_MAX + 1);
    let mut queue = all.iter().take(WRITES_MAX + 1).cloned();
    let gate = gate(&disk, &directory);
    file.take(|| queue.next());
    assert_eq!(queue.len(), 1, "one past the limit");
    assert!(!disk.flush(Duration::from_millis(10)));
    drop(gate);
    assert!(disk.flush(PATIENCE));
    assert_eq!(fs::read(&path).unwrap(), whole(&all[..WRITES_MAX]));
    file.take(|| queue.next());
    assert!(disk.flush(PATIENCE));
    assert_eq!(fs::read(&path).unwrap(), whole(&all[..WRITES_MAX + 1]));
}

#[test]
fn a_file_ends_at_its_limit_and_what_was_written_can_be_played() {
    let directory = Directory::new("limit");
    let disk = Disk::start().unwrap();
    let writes = wav(&[3; 10_000]);
    let end = whole(&writes).len() as u64;
    for (len_max, is_ended, heard_samples) in [(end, false, 10_000), (end - 1, true, 9_000)] {
        let path = directory.0.join(format!("{len_max}.wav"));
        let mut file = FileWrites::create(&disk, &path, len_max).unwrap();
        let mut queue = writes.clone().into_iter();
        file.take(|| queue.next());
        assert_eq!((file.is_ended(), queue.len()), (is_ended, 0), "everything was taken");
        assert!(disk.flush(PATIENCE));
        let (wake, woken) = sync_channel(1);
        let mut reads =
            FileReads::open(&disk, &path, move || wake.try_send(()).unwrap_or(())).unwrap();
        assert_eq!(heard(&mut reads, &woken, &mut AudioFile::new()).len(), heard_samples);
    }
}

#[test]
fn a_write_that_fails_ends_the_file() {
    let directory = Directory::new("fails");
    let (disk, path) = (Disk::start().unwrap(), directory.0.join("a"));
    let mut file = FileWrites::create(&disk, &path, u64::MAX).unwrap();
    let mut write = wav(&[]).pop().unwrap_or_else(|| wav(&[1]).remove(0));
    // No file is as long as this.
    write.offset = i64::MAX as u64 - 1;
    let mut queue = Some(write).into_iter();
    file.take(|| queue.next());
    assert!(disk.flush(PATIENCE));
    assert!(file.is_ended());
    let mut queue = wav(&[1]).into_iter();
    file.take(|| queue.next());
    assert_eq!(queue.len(), 0);
    assert!(disk.flush(PATIENCE));
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "nothing more is written");
}

#[test]
fn files_that_cannot_be_had_are_told_at_once() {
    let directory = Directory::new("errors");
    let disk = Disk::start().unwrap();
    let open = |path: &Path| FileReads::open(&disk, path, || ()).map(drop).unwrap_err().kind();
    assert_eq!(open(&directory.0.join("none")), ErrorKind::NotFound);
    assert_eq!(open(&directory.0), ErrorKind::IsADirectory);
    let path = directory.0.join("a");
    fs::write(&path, "precious").unwrap();
    let error = FileWrites::create(&disk, &path, 100).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}
