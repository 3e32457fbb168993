//! A file on a disk as a source of sound.

use std::io;
use std::path::Path;
use std::time::Duration;

use smallrtc::media::{AudioFile, AudioFileError, AudioFormat, AudioSource};

use crate::{Disk, FileReads};

/// A WAV or Ogg Opus file that is read while it is played: an [`AudioFile`] and its [`FileReads`].
///
/// When it is woken, call [`FileSource::fetch`] and let the player go on.
#[derive(Debug)]
pub struct FileSource {
    file: AudioFile,
    reads: FileReads,
}

impl FileSource {
    /// Opens a file and asks for its first bytes; `wake` as in [`FileReads::open`].
    ///
    /// # Errors
    /// As [`FileReads::open`]. What cannot be played ends when its first bytes have come:
    /// [`FileSource::error`] tells why.
    pub fn open(
        disk: &Disk,
        path: &Path,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<FileSource> {
        let reads = FileReads::open(disk, path, wake)?;
        let mut source = FileSource { file: AudioFile::new(), reads };
        source.fetch();
        Ok(source)
    }

    /// Takes bytes that have come, and asks for those that are wanted.
    pub fn fetch(&mut self) {
        while let Some(part) = self.reads.poll(self.file.wants()) {
            self.file.handle_read(part.offset, &part.bytes);
        }
    }

    /// Whether the file begins again at its end: [`AudioFile::set_looped`].
    pub fn set_looped(&mut self, is_looped: bool) {
        self.file.set_looped(is_looped);
    }

    /// Goes to a time of the file's sound: [`AudioFile::seek`].
    pub fn seek(&mut self, time: Duration) {
        self.file.seek(time);
        self.fetch();
    }

    /// Why the file cannot be played, where it cannot.
    #[must_use]
    pub fn error(&self) -> Option<AudioFileError> {
        self.file.error()
    }

    /// Why the file could not be read further, where it could not.
    #[must_use]
    pub fn read_error(&self) -> Option<&io::Error> {
        self.reads.error()
    }
}

impl AudioSource for FileSource {
    fn format(&self) -> Option<AudioFormat> {
        self.file.format()
    }

    fn pull(&mut self, samples: &mut [i16]) -> usize {
        self.fetch();
        let len = self.file.pull(samples);
        self.fetch();
        len
    }

    fn is_ended(&self) -> bool {
        self.file.is_ended()
    }
}
