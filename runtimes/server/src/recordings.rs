//! Logs of calls as files, one for each call.
//!
//! A thread of its own writes them, so that a disk that is slow delays no packet. What waits for
//! it is bounded: at the limit the recording of the call whose bytes find no room ends, and the
//! call goes on. A file grows by appending only; a process that is killed leaves logs that can be
//! read up to their last second.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use smallrtc::record::{Archive, LogSink};
use tracing::warn;

/// Pieces that wait for the disk. 1024 of mostly 10 KB, one a second for each call: ten seconds of
/// a hundred calls.
const PIECES_MAX: usize = 1024;

/// How long the end of the program waits for the disk.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// A directory that logs are written to.
pub struct Recordings {
    directory: PathBuf,
    queue: SyncSender<Piece>,
}

/// Work for the thread.
enum Piece {
    Bytes(Arc<File>, Vec<u8>),
    /// Everything before it is written: tell so.
    Flush(SyncSender<()>),
}

impl Recordings {
    /// What files are called behind the dot.
    pub const EXTENSION: &str = "smallrtc";

    /// Makes the directory, where it is not there, and starts the thread.
    ///
    /// # Errors
    /// The system's, when either cannot be had.
    pub fn create(directory: &Path) -> io::Result<Arc<Recordings>> {
        fs::create_dir_all(directory)?;
        let (queue, pieces) = sync_channel(PIECES_MAX);
        thread::Builder::new().name("recordings".to_owned()).spawn(move || write(&pieces))?;
        Ok(Arc::new(Recordings { directory: directory.to_owned(), queue }))
    }

    /// Waits until everything is written that was recorded so far, at most five seconds. False
    /// when that was not enough.
    pub fn finish(&self) -> bool {
        let (done, is_done) = sync_channel(1);
        self.queue.send(Piece::Flush(done)).is_ok() && is_done.recv_timeout(FINISH_TIME_MAX).is_ok()
    }
}

impl fmt::Debug for Recordings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recordings({})", self.directory.display())
    }
}

impl Archive for Recordings {
    fn open(&self, name: &str) -> Option<Box<dyn LogSink>> {
        // The name has a dot of its own, so an extension is not to be set, but added.
        let path = self.directory.join(format!("{name}.{}", Recordings::EXTENSION));
        match File::create_new(&path) {
            Ok(file) => Some(Box::new(Sink { file: Arc::new(file), queue: self.queue.clone() })),
            Err(error) => {
                warn!(path = %path.display(), %error, "this call is not recorded");
                None
            }
        }
    }
}

/// One log.
struct Sink {
    file: Arc<File>,
    queue: SyncSender<Piece>,
}

impl LogSink for Sink {
    fn write(&mut self, bytes: &[u8]) -> bool {
        match self.queue.try_send(Piece::Bytes(self.file.clone(), bytes.to_vec())) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                warn!("the disk is too slow: the recording of a call ends");
                false
            }
        }
    }
}

/// Writes until nobody can send any more.
fn write(pieces: &Receiver<Piece>) {
    for piece in pieces {
        match piece {
            Piece::Bytes(file, bytes) => {
                if let Err(error) = (&*file).write_all(&bytes) {
                    warn!(%error, "a log could not be written");
                }
            }
            // Whoever waited may have given up.
            Piece::Flush(done) => drop(done.try_send(())),
        }
    }
}
