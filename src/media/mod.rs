//! Players, recorders, relays: what goes on beside a call, as state machines.
//!
//! Nothing here opens a file, reads a clock or knows a session. Bytes of files come in by calls
//! and go out as [`FileWrite`]s; sound goes into a session, and comes from one, through the
//! application's hands.
//!
//! | part | in | out |
//! | --- | --- | --- |
//! | [`ogg`] | bytes, in any cut | Opus packets with their times, and back |
//! | [`wav`] | bytes, in any cut | samples, and back |

mod file;
pub(crate) mod frame;
pub mod ogg;
mod toc;

pub use file::{FileRead, FileWrite};
pub use ogg::{OggCounters, OggItem, OggOpusReader, OggOpusWriter, OggPacket, OpusHead, OpusTags};
