//! The parts together: files that are played, passed on and recorded.

#[cfg(feature = "opus")]
mod files;
mod pass;

use super::*;

/// A packet of 20 ms, CELT, full band, one channel, that says `value`.
fn packet(value: u8) -> Vec<u8> {
    vec![31 << 3, 0xFF, value]
}

fn applied(mut poll: impl FnMut() -> Option<FileWrite>) -> Vec<u8> {
    let mut file = Vec::new();
    while let Some(write) = poll() {
        write.apply(&mut file);
    }
    file
}

/// What of a file is wanted.
fn part(file: &[u8], wanted: FileRead) -> &[u8] {
    let start = file.len().min(wanted.offset as usize);
    &file[start..file.len().min(start + wanted.len)]
}

/// A file of these packets.
fn ogg(head: OpusHead, packets: &[Vec<u8>], trim: u32) -> Vec<u8> {
    let mut writer = OggOpusWriter::new(head, &OpusTags::new("test"), 1);
    for packet in packets {
        assert!(writer.write(packet));
    }
    writer.finish(trim);
    applied(|| writer.poll_write())
}
