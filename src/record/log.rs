//! Reads a log: as far as it is whole, and where it is not.

#[cfg(test)]
mod bounds;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::entry::{Crossing, End, Entry, Header};
use super::recorder::{FRAME_LEN, check};
use super::tape::detail;
use super::{BEHAVIOUR, Detail, Keep, MAGIC, RECORD_LEN_MAX, VERSION};

/// The bytes before the first record.
const PREAMBLE_LEN: usize = MAGIC.len() + 2;

/// Why bytes are not a log that can be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The first bytes are not those of a log.
    #[error("not a log of a call: it does not begin with `smallrtc`")]
    NotALog,
    /// The format is of another version.
    #[error("format version {found}, this program reads version {known}")]
    UnknownVersion {
        /// The version of the log.
        found: u16,
        /// The one that is known here.
        known: u16,
    },
    /// A replay at full detail needs coders that are not at hand.
    #[error("sound was coded by `{0}`, which this program was not given")]
    NoCoder(String),
    /// The first record is not a header that can be used.
    #[error("the header cannot be read: {0}")]
    NoHeader(String),
}

/// Where a log cannot be read any further, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// It ends in the middle of a record: a crash, or a copy of a file that still grows.
    Cut {
        /// Where the record begins, in bytes.
        offset: u64,
    },
    /// The check of a record does not fit it, or its length cannot be.
    Changed {
        /// Where the record begins, in bytes.
        offset: u64,
    },
    /// The record is whole and means nothing here.
    Unreadable {
        /// Where the record begins, in bytes.
        offset: u64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Cut { offset } => write!(f, "cut in the record at byte {offset}"),
            Damage::Changed { offset } => write!(f, "damaged in the record at byte {offset}"),
            Damage::Unreadable { offset } => write!(f, "the record at byte {offset} means nothing"),
        }
    }
}

/// A log, read up to its end or to its first damage.
#[derive(Clone, Debug)]
pub struct Log {
    pub(super) header: Header,
    pub(super) keep: Keep,
    pub(super) records: Vec<Record>,
    damage: Option<Damage>,
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    pub(super) entry: Entry,
    pub(super) crossings: Vec<Crossing>,
}

impl Log {
    /// Reads a log. Damage is no error: what comes before it is read.
    ///
    /// # Errors
    /// When it is none, of a version that is unknown here, or without a header.
    pub fn read(bytes: &[u8]) -> Result<Log, LogError> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(LogError::NotALog)?;
        if *magic != MAGIC {
            return Err(LogError::NotALog);
        }
        let no_header = |why: &str| LogError::NoHeader(why.to_owned());
        let (version, _) = rest.split_first_chunk().ok_or_else(|| no_header("cut"))?;
        let found = u16::from_le_bytes(*version);
        if found != VERSION {
            return Err(LogError::UnknownVersion { found, known: VERSION });
        }
        let mut offset = PREAMBLE_LEN;
        let first = next(bytes, &mut offset).map_err(|damage| no_header(&damage.to_string()))?;
        let Some(Record { entry: Entry::Header(header), .. }) = first else {
            return Err(no_header("the first record is another one"));
        };
        let (Some(media), Some(messages)) = (detail(header.media), detail(header.messages)) else {
            return Err(no_header("a detail is unknown"));
        };
        let keep = Keep { media, messages };
        let (mut records, mut damage) = (Vec::new(), None);
        loop {
            match next(bytes, &mut offset) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(found) => {
                    damage = Some(found);
                    break;
                }
            }
        }
        Ok(Log { header: *header, keep, records, damage })
    }

    /// The version of the crate that wrote it.
    #[must_use]
    pub fn crate_version(&self) -> &str {
        &self.header.crate_version
    }

    /// Whether it was written by a build of these very sources and features, for which a replay is
    /// promised to be identical.
    #[must_use]
    pub fn is_of_this_build(&self) -> bool {
        self.header.behaviour == BEHAVIOUR
    }

    /// How much of media is in it.
    #[must_use]
    pub fn media(&self) -> Detail {
        self.keep.media
    }

    /// How much of messages is in it.
    #[must_use]
    pub fn messages(&self) -> Detail {
        self.keep.messages
    }

    /// Where it cannot be read any further.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// Whether its end was marked: the recording was neither killed nor cut.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.records.last(), Some(Record { entry: Entry::End(..), .. }))
    }

    /// Whether the recording ended because the log was at its limit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.records.last(), Some(Record { entry: Entry::End(End::Full, _), .. }))
    }

    /// How many public calls are in it.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.records.iter().filter(|record| matches!(record.entry, Entry::Call { .. })).count()
    }

    /// The time from the session's birth to the last call.
    #[must_use]
    pub fn duration(&self) -> Duration {
        let after = self.records.iter().map(Record::after);
        Duration::from_nanos(after.fold(0, u64::saturating_add))
    }

    /// The call as lines to be read: time, call, and what followed from it.
    pub fn timeline(&self) -> impl Iterator<Item = String> {
        let mut at = 0u64;
        self.records.iter().map(move |record| {
            at = at.saturating_add(record.after());
            record.text(Duration::from_nanos(at))
        })
    }
}

impl Record {
    /// Nanoseconds since the record before.
    pub(super) fn after(&self) -> u64 {
        match self.entry {
            Entry::Call { after, .. } | Entry::Routing { after, .. } => after,
            Entry::Header(_) | Entry::Mark(_) | Entry::End(..) => 0,
        }
    }
}

/// The record at `offset`, which moves past it; `None` at the end.
fn next(bytes: &[u8], offset: &mut usize) -> Result<Option<Record>, Damage> {
    let start = *offset as u64;
    let rest = &bytes[*offset..];
    if rest.is_empty() {
        return Ok(None);
    }
    let (cut, changed) = (Damage::Cut { offset: start }, Damage::Changed { offset: start });
    let Some((head, body)) = rest.split_first_chunk::<FRAME_LEN>() else { return Err(cut) };
    let [a, b, c, d, e, f, g, h] = *head;
    let (len, expected) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let body_len = usize::try_from(len).unwrap_or(usize::MAX);
    if body_len > RECORD_LEN_MAX {
        return Err(changed);
    }
    let body = body.get(..body_len).ok_or(cut)?;
    // A fuzzer would change bytes in vain.
    if check(len, body) != expected && !cfg!(fuzzing) {
        return Err(changed);
    }
    let (entry, crossings) = parse(body).ok_or(Damage::Unreadable { offset: start })?;
    *offset += FRAME_LEN + body_len;
    Ok(Some(Record { offset: start, entry, crossings }))
}

fn parse(body: &[u8]) -> Option<(Entry, Vec<Crossing>)> {
    let (entry, mut rest) = take::<Entry>(body)?;
    let mut crossings = Vec::new();
    while !rest.is_empty() {
        let (crossing, left) = take(rest)?;
        crossings.push(crossing);
        rest = left;
    }
    let is_plain = crossings.is_empty() || matches!(entry, Entry::Call { .. });
    is_plain.then_some((entry, crossings))
}

fn take<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<(T, &'a [u8])> {
    postcard::take_from_bytes(bytes).ok()
}
