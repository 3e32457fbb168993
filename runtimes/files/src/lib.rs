//! Files for the players and recorders of `smallrtc::media`: one thread that reads and writes for
//! all calls.
//!
//! A [`Disk`] is that thread. [`FileReads`] answers what a player wants, [`FileWrites`] takes what
//! a recorder writes; neither ever waits. Who has to look again when bytes have come is told by a
//! function, so that any event loop will do: with smol it sends on a channel, with mio it is
//! `Handle::try_post`.
//!
//! ```
//! use smallrtc::media::{AudioFile, AudioSource, WavWriter};
//! use smallrtc_files::{Disk, FileReads, FileWrites};
//! use std::sync::mpsc::sync_channel;
//! use std::time::Duration;
//!
//! let path = std::env::temp_dir().join(format!("smallrtc-{}.wav", std::process::id()));
//! let disk = Disk::start()?;
//!
//! let mut file = FileWrites::create(&disk, &path, 1 << 20)?;
//! let mut writer = WavWriter::new(16_000, 1);
//! writer.write(&[5; 320]);
//! writer.flush();
//! file.take(|| writer.poll_write());
//! assert!(disk.flush(Duration::from_secs(5)));
//!
//! let (wake, woken) = sync_channel(1);
//! let mut reads = FileReads::open(&disk, &path, move || wake.try_send(()).unwrap_or(()))?;
//! let mut player = AudioFile::new();
//! let (mut samples, mut heard) = ([0; 100], 0);
//! while !player.is_ended() {
//!     while let Some(part) = reads.poll(player.wants()) {
//!         player.handle_read(part.offset, &part.bytes);
//!     }
//!     match player.pull(&mut samples) {
//!         // In an application, the event loop goes on and is woken.
//!         0 if !player.is_ended() => woken.recv()?,
//!         len => heard += len,
//!     }
//! }
//! assert_eq!(heard, 320);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | writes that wait for the disk | [`WRITES_MAX`] | the next stays with its recorder, which has a limit and a counter of its own |
//! | reads of one file | 1 at a time | the next waits for it |
//! | one read | [`READ_LEN_MAX`] | the rest is wanted again |
//! | a file that is written | what [`FileWrites::create`] is told | the recording ends there; what was written can be read |
//!
//! With the feature `player-formats` `MemoryFile` plays mp3, flac and aac.
//!
//! A read or a write that fails is logged, and ends the file: for a player it ends there, for a
//! recorder nothing more is taken.

#![forbid(unsafe_code)]

mod disk;
#[cfg(feature = "player-formats")]
mod formats;
mod reads;
mod source;
mod writes;

pub use disk::{Disk, WRITES_MAX};
#[cfg(feature = "player-formats")]
pub use formats::{MEMORY_LEN_MAX, MemoryFile, MemoryFileError};
pub use reads::{FilePart, FileReads, READ_LEN_MAX};
pub use source::FileSource;
pub use writes::FileWrites;
