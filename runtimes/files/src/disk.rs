//! The thread that touches files.
//!
//! Work is done in the order in which it came, so a file's writes stand in their order. A disk that
//! hangs holds up every file of its thread and nothing else.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

/// Writes that wait. 1024: each of a hundred calls that are recorded writes ten pieces a second, so
/// this is a disk that stands still for a second. Reads need no limit: there is one for each file
/// that is played.
pub const WRITES_MAX: usize = 1024;

/// What is to be done with a file.
enum Work {
    Read {
        file: Arc<File>,
        offset: u64,
        len: usize,
        done: Done<io::Result<Bytes>>,
    },
    Write {
        file: Arc<File>,
        offset: u64,
        bytes: Bytes,
        failed: Done<io::Error>,
    },
    /// Everything before it is done: tell so.
    Flush(SyncSender<()>),
}

/// Takes what came of it, on the disk's thread.
pub(crate) type Done<T> = Box<dyn FnOnce(T) + Send>;

/// A thread that reads and writes files, for any number of calls. Cheap to clone; the thread ends
/// with the last clone, when all that was asked of it is done.
#[derive(Clone)]
pub struct Disk {
    work: Sender<Work>,
    /// Writes that wait.
    writes: Arc<AtomicUsize>,
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it gives none.
    pub fn start() -> io::Result<Disk> {
        let (work, all) = channel();
        let writes = Arc::new(AtomicUsize::new(0));
        let waiting = Arc::clone(&writes);
        thread::Builder::new().name("files".to_owned()).spawn(move || run(&all, &waiting))?;
        Ok(Disk { work, writes })
    }

    /// Waits until everything is done that was asked for so far, `at_most` for so long. False when
    /// that was not enough. It blocks: it belongs at the end of a program.
    #[must_use]
    pub fn flush(&self, at_most: Duration) -> bool {
        let (done, is_done) = sync_channel(1);
        self.work.send(Work::Flush(done)).is_ok() && is_done.recv_timeout(at_most).is_ok()
    }

    /// Asks for a read, of which a file has one at a time.
    pub(crate) fn read(
        &self,
        file: Arc<File>,
        offset: u64,
        len: usize,
        done: Done<io::Result<Bytes>>,
    ) {
        // The thread lives as long as there is a disk.
        let _ = self.work.send(Work::Read { file, offset, len, done });
    }

    /// Whether one more write has room.
    pub(crate) fn has_room(&self) -> bool {
        self.writes.load(Ordering::Relaxed) < WRITES_MAX
    }

    /// Asks for a write. Calls that find room at the same moment may be some more than the limit.
    pub(crate) fn write(
        &self,
        file: Arc<File>,
        offset: u64,
        bytes: Bytes,
        failed: Done<io::Error>,
    ) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let _ = self.work.send(Work::Write { file, offset, bytes, failed });
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({} writes wait)", self.writes.load(Ordering::Relaxed))
    }
}

/// Works until nobody can ask any more.
fn run(work: &Receiver<Work>, writes: &AtomicUsize) {
    for work in work {
        match work {
            Work::Read { file, offset, len, done } => done(read(&file, offset, len)),
            Work::Write { file, offset, bytes, failed } => {
                if let Err(error) = write(&file, offset, &bytes) {
                    failed(error);
                }
                writes.fetch_sub(1, Ordering::Relaxed);
            }
            // Whoever waited may have given up.
            Work::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// Fewer bytes than `len` only at the file's end.
fn read(mut file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(len);
    file.take(len as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

fn write(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}
