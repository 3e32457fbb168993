//! A file that a recorder writes.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smallrtc::media::FileWrite;
use tracing::warn;

use crate::Disk;

/// A file that grows while it is recorded.
pub struct FileWrites {
    disk: Disk,
    file: Arc<File>,
    len: u64,
    len_max: u64,
    is_full: bool,
    has_failed: Arc<AtomicBool>,
}

impl FileWrites {
    /// Makes a file, which may grow to `len_max` bytes.
    ///
    /// # Errors
    /// The system's; that there is such a file already.
    pub fn create(disk: &Disk, path: &Path, len_max: u64) -> io::Result<FileWrites> {
        Ok(FileWrites {
            disk: disk.clone(),
            file: Arc::new(File::create_new(path)?),
            len: 0,
            len_max,
            is_full: false,
            has_failed: Arc::default(),
        })
    }

    /// Takes what a recorder has to write, as far as there is room: hand over its `poll_write`.
    /// What has no room stays with the recorder until the next call. After the end of the file
    /// ([`FileWrites::is_ended`]) everything is taken and nothing written.
    pub fn take(&mut self, mut poll: impl FnMut() -> Option<FileWrite>) {
        while self.disk.has_room() {
            let Some(write) = poll() else { return };
            let end = write.offset.saturating_add(write.bytes.len() as u64);
            self.is_full |= end > self.len_max;
            if !self.is_ended() {
                self.len = self.len.max(end);
                self.ask(write);
            }
        }
    }

    fn ask(&self, write: FileWrite) {
        let has_failed = Arc::clone(&self.has_failed);
        let failed = Box::new(move |error| {
            // What comes after it fails for the same reason, mostly.
            if !has_failed.swap(true, Ordering::Relaxed) {
                warn!(%error, "a recording could not be written further");
            }
        });
        self.disk.write(Arc::clone(&self.file), write.offset, write.bytes, failed);
    }

    /// How many bytes the file has, as soon as what was taken is written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was taken yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether nothing more is written: the file has reached its limit, or the system refused.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_full || self.has_failed.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for FileWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileWrites")
            .field("len", &self.len)
            .field("len_max", &self.len_max)
            .field("is_ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}
