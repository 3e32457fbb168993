//! A file whose bytes a player wants.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use smallrtc::media::FileRead;
use tracing::warn;

use crate::Disk;

/// The most that is read at once: two of what players ask for.
pub const READ_LEN_MAX: usize = 64 * 1024;

/// Bytes of a file, for `handle_read` of a player.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FilePart {
    /// From where, counted from the file's start.
    pub offset: u64,
    /// What stands there; none at the file's end.
    pub bytes: Bytes,
}

impl fmt::Debug for FilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePart({} bytes at {})", self.bytes.len(), self.offset)
    }
}

/// A file that is read while it is played.
pub struct FileReads {
    disk: Disk,
    file: Arc<File>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Where the read lies that is on its way.
    asked: Option<u64>,
    answer: SyncSender<io::Result<Bytes>>,
    answers: Receiver<io::Result<Bytes>>,
    error: Option<io::Error>,
}

impl FileReads {
    /// Opens a file. `wake` is called on the disk's thread whenever bytes have come: it must not
    /// wait, and who is woken calls [`FileReads::poll`].
    ///
    /// # Errors
    /// The system's, when the file cannot be opened; that it is a directory.
    pub fn open(
        disk: &Disk,
        path: &Path,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<FileReads> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (answer, answers) = sync_channel(1);
        Ok(FileReads {
            disk: disk.clone(),
            file: Arc::new(file),
            wake: Arc::new(wake),
            asked: None,
            answer,
            answers,
            error: None,
        })
    }

    /// Takes what a player wants (`AudioFile::wants`, `OpusPass::wants`) and gives bytes that have
    /// come, for its `handle_read`. Call it until it gives `None`, each time with what is wanted
    /// then; and again after each pull, after a seek, and when woken.
    pub fn poll(&mut self, wanted: Option<FileRead>) -> Option<FilePart> {
        if let Some(offset) = self.asked {
            let bytes = self.answers.try_recv().ok()?.unwrap_or_else(|error| {
                warn!(%error, offset, "a file that is played could not be read");
                self.error = Some(error);
                Bytes::new()
            });
            self.asked = None;
            return Some(FilePart { offset, bytes });
        }
        let FileRead { offset, len, .. } = wanted?;
        let (answer, wake) = (self.answer.clone(), Arc::clone(&self.wake));
        let done = Box::new(move |bytes| {
            // Nobody waits for it when the player is gone.
            let _ = answer.try_send(bytes);
            wake();
        });
        self.disk.read(Arc::clone(&self.file), offset, len.min(READ_LEN_MAX), done);
        self.asked = Some(offset);
        None
    }

    /// Why the file could not be read further, where it could not. Its player was told that it
    /// ends there.
    #[must_use]
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }
}

impl fmt::Debug for FileReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReads")
            .field("asked", &self.asked)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
