//! Ogg (RFC 3533) with Opus in it (RFC 7845): read and written.
//!
//! The reader takes bytes in any cut and gives headers and packets with their times; the writer
//! takes packets and gives pages. Neither decodes, opens a file, or waits for more than a page.
//!
//! It is our own because the layers that exist pull from a `Read`: a file that arrives in pieces
//! would block them, and a damaged one ends them.
//!
//! What becomes of a file that is not as it should be:
//!
//! | what | becomes |
//! | --- | --- |
//! | bytes between pages | skipped, counted |
//! | a page with a wrong checksum | skipped, counted; the search goes on inside of it |
//! | a page that is missing | its time is a gap: the next packet's position is later |
//! | a packet whose start or end is missing | dropped, counted |
//! | a packet that is no Opus packet | dropped, counted; its time is a gap |
//! | pages of another stream beside ours | skipped, counted |
//! | a stream behind ours (a chain) | a new [`OggItem::Head`]; positions begin anew |
//! | more than two channels | the stream is skipped, counted |
//! | granule positions that go back | own count goes on, counted |
//!
//! Limits: a buffer of 128 KiB, a packet of 61440 bytes, the packets of one page.

mod head;
mod page;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use head::{OpusHead, OpusTags};
pub use reader::{OggCounters, OggItem, OggOpusReader, OggPacket};
pub use writer::OggOpusWriter;

/// The longest packet that is read or written, in bytes: what RFC 7845 section 6 asks of a
/// demultiplexer, and less than one page holds.
pub(super) const PACKET_BYTES_MAX: usize = 61_440;
