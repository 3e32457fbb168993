//! What state machines ask of a file: bytes at an offset, read or written.

use std::fmt;

use bytes::Bytes;

/// Bytes that belong at an offset of a file. Written in the order in which they come, a file is
/// whole after each of them: a process that is killed leaves what was written.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileWrite {
    /// Where the bytes go, from the file's start. Mostly its end; before it where a header is set
    /// right, and beyond it where zeros were left out.
    pub offset: u64,
    /// The bytes: at least one.
    pub bytes: Bytes,
}

impl FileWrite {
    pub(super) fn new(offset: u64, bytes: Bytes) -> FileWrite {
        FileWrite { offset, bytes }
    }

    /// Puts the bytes where they belong in a file that is held in memory.
    ///
    /// # Panics
    /// When the file would be larger than memory can address.
    pub fn apply(&self, file: &mut Vec<u8>) {
        let start = usize::try_from(self.offset).expect("a file in memory is addressed by usize");
        let end = start + self.bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(&self.bytes);
    }
}

impl fmt::Debug for FileWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileWrite({} bytes at {})", self.bytes.len(), self.offset)
    }
}

/// Bytes of a file that are wanted next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileRead {
    /// From where, counted from the file's start.
    pub offset: u64,
    /// How many at most. Fewer may be given, and none at the file's end.
    pub len: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replace_append_and_leave_zeros() {
        let mut file = b"RIFF".to_vec();
        FileWrite::new(4, Bytes::from_static(b"ab")).apply(&mut file);
        FileWrite::new(0, Bytes::from_static(b"r")).apply(&mut file);
        FileWrite::new(8, Bytes::from_static(b"z")).apply(&mut file);
        assert_eq!(file, b"rIFFab\0\0z");
        let write = FileWrite::new(8, Bytes::from_static(b"z"));
        assert_eq!(format!("{write:?}"), "FileWrite(1 bytes at 8)");
    }
}
