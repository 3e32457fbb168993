//! Writes a log, record by record, within its limits.
//!
//! | state | a call | a crossing | who leaves it |
//! | --- | --- | --- | --- |
//! | running | closes the record before it, begins its own | goes to the open record | the limit, a sink that takes no more |
//! | stopped | is counted as missed | is forgotten | nobody |

#[cfg(test)]
pub(super) mod bounds;

use std::time::{Duration, Instant};

use super::coding::{Digest, append};
use super::entry::{Call, Crossing, End, Entry, Header, Mark, Path, Routing};
use super::{
    CHUNK_LEN, Detail, Keep, LogSink, MAGIC, MARK_INTERVAL, RECORD_LEN_MAX, REFUSALS_MAX, VERSION,
};
use crate::{Datagram, Transmit};

/// What stands in front of each record: length and check.
pub(super) const FRAME_LEN: usize = 8;

/// Room that is kept for the end: its record has at most 41 bytes.
pub(super) const END_LEN: u64 = 64;

/// Finished records wait no longer for the sink: this much is lost when the process is killed.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// What the transport wants: whether it has a datagram, and its deadline.
pub(super) type Wants = (bool, Option<Instant>);

/// What marks tell of: how many calls, and the digests of what came out.
#[derive(Clone, Copy, Debug)]
struct Standing {
    calls: u64,
    decisions: Digest,
    media: Digest,
}

/// The log of one session, on its way to a sink.
pub(crate) struct Recorder {
    keep: Keep,
    sink: Box<dyn LogSink>,
    bytes_max: u64,
    /// Bytes that were handed over, and the calls in them.
    handed: u64,
    handed_calls: u64,
    handed_at: Instant,
    buffer: Vec<u8>,
    /// Where the open record begins in `buffer`, and where the log stood before it.
    open: Option<(usize, Standing)>,
    is_stopped: bool,
    missed: u64,
    refusals: u32,
    /// The time of the last call.
    at: Instant,
    deadline: Option<Instant>,
    wants: Wants,
    path_in: Option<Path>,
    path_out: Option<Path>,
    standing: Standing,
    /// The line of the sound that is decoded: how long its packets are is left out at `None`.
    pub(super) microphone: Option<u8>,
}

impl Recorder {
    /// Begins a log.
    pub(super) fn new(
        header: Header,
        keep: Keep,
        bytes_max: u64,
        sink: Box<dyn LogSink>,
        now: Instant,
    ) -> Recorder {
        let mut recorder = Recorder {
            keep,
            sink,
            bytes_max,
            handed: 0,
            handed_calls: 0,
            handed_at: now,
            buffer: Vec::with_capacity(2 * CHUNK_LEN),
            open: None,
            is_stopped: false,
            missed: 0,
            refusals: 0,
            at: now,
            deadline: None,
            wants: (false, None),
            path_in: None,
            path_out: None,
            standing: Standing { calls: 0, decisions: Digest::START, media: Digest::START },
            microphone: None,
        };
        recorder.buffer.extend_from_slice(&MAGIC);
        recorder.buffer.extend_from_slice(&VERSION.to_le_bytes());
        recorder.begin(&Entry::Header(Box::new(header)));
        recorder.seal();
        recorder
    }

    pub(super) fn keep(&self) -> Keep {
        self.keep
    }

    /// Calls that are not in the log.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// A call begins. `deadline` is that of the session before it.
    pub(super) fn call(&mut self, call: Call, deadline: Option<Instant>, now: Instant) {
        if self.is_stopped {
            self.missed += 1;
            return;
        }
        self.close(Some(deadline));
        let calls = self.standing.calls;
        if calls > 0 && calls.is_multiple_of(MARK_INTERVAL) {
            self.begin(&Entry::Mark(self.mark()));
            self.seal();
        }
        self.hand_over_when_due(now);
        if self.is_stopped {
            self.missed += 1;
            return;
        }
        let after = self.after(now);
        self.begin(&Entry::Call { after, call });
        self.standing.calls += 1;
    }

    /// A step over a seam.
    pub(super) fn cross(&mut self, crossing: &Crossing) {
        if self.is_stopped || self.open.is_none() {
            return;
        }
        let start = self.buffer.len();
        append(crossing, &mut self.buffer);
        if crossing.is_decision() {
            self.standing.decisions.fold(&self.buffer[start..]);
        }
    }

    /// What the transport wants now, if that changed.
    pub(super) fn wants(&mut self, wants: Wants) {
        if self.wants != wants {
            self.wants = wants;
            let (has_transmit, deadline) = wants;
            let deadline = deadline.map(|deadline| offset(self.at, deadline));
            self.cross(&Crossing::Wants { has_transmit, deadline });
        }
    }

    /// What the endpoint decided, between calls.
    pub(super) fn routing(&mut self, routing: Routing, deadline: Option<Instant>, now: Instant) {
        let is_refusal = matches!(routing, Routing::Forged(_) | Routing::AddressRefused(_));
        if self.is_stopped || (is_refusal && self.refusals == REFUSALS_MAX) {
            return;
        }
        self.refusals += u32::from(is_refusal);
        self.close(Some(deadline));
        if self.is_stopped {
            return;
        }
        let after = self.after(now);
        self.begin(&Entry::Routing { after, routing });
        self.seal();
    }

    /// The short digest of coded bytes, where content counts.
    pub(super) fn digest_bytes(&mut self, bytes: &[u8]) -> Option<u32> {
        let is_kept = self.keep.media == Detail::Full;
        is_kept.then(|| {
            self.standing.media.fold(bytes);
            self.standing.media.short()
        })
    }

    /// The same of samples.
    pub(super) fn digest_samples(&mut self, samples: &[i16]) -> Option<u32> {
        let is_kept = self.keep.media == Detail::Full;
        is_kept.then(|| {
            self.standing.media.fold_samples(samples);
            self.standing.media.short()
        })
    }

    /// The path of a datagram that came, if it is another one than before.
    pub(super) fn path_in(&mut self, datagram: &Datagram) -> Option<Path> {
        let Datagram { transport, source, destination, .. } = *datagram;
        changed(&mut self.path_in, Path { transport: transport.0, source, destination })
    }

    /// The path of a datagram that goes.
    pub(super) fn path_out(&mut self, transmit: &Transmit) -> Option<Path> {
        let Transmit { transport, source, destination, .. } = *transmit;
        changed(&mut self.path_out, Path { transport: transport.0, source, destination })
    }

    fn mark(&self) -> Mark {
        let Standing { calls, decisions, media } = self.standing;
        Mark { calls, decisions: decisions.value(), media: media.value() }
    }

    /// Nanoseconds since the record before; time goes on to `now`.
    fn after(&mut self, now: Instant) -> u64 {
        let after = super::entry::nanos(now.saturating_duration_since(self.at));
        self.at = self.at.max(now);
        after
    }

    fn begin(&mut self, entry: &Entry) {
        self.open = Some((self.buffer.len(), self.standing));
        self.buffer.extend_from_slice(&[0; FRAME_LEN]);
        append(entry, &mut self.buffer);
    }

    /// Closes the call's record, with the deadline after it where that is known.
    fn close(&mut self, deadline: Option<Option<Instant>>) {
        if self.open.is_none() {
            return;
        }
        match deadline {
            None => self.cross(&Crossing::DeadlineUnseen),
            Some(deadline) if deadline != self.deadline => {
                self.deadline = deadline;
                let offset = deadline.map(|deadline| offset(self.at, deadline));
                self.cross(&Crossing::Deadline(offset));
            }
            Some(_) => {}
        }
        self.seal();
    }

    /// Writes length and check of the open record; takes it back when the log is at its limit.
    fn seal(&mut self) {
        let Some((start, before)) = self.open.take() else { return };
        let len = self.buffer.len() - start - FRAME_LEN;
        let whole = self.handed + self.buffer.len() as u64 + END_LEN;
        if whole > self.bytes_max || len > RECORD_LEN_MAX {
            self.buffer.truncate(start);
            self.missed += self.standing.calls - before.calls;
            self.standing = before;
            self.end(End::Full);
            return;
        }
        frame(&mut self.buffer[start..]);
    }

    /// The last record, and everything to the sink.
    fn end(&mut self, cause: End) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; FRAME_LEN]);
        append(&Entry::End(cause, self.mark()), &mut self.buffer);
        frame(&mut self.buffer[start..]);
        self.hand_over();
        self.is_stopped = true;
        self.buffer = Vec::new();
    }

    fn hand_over_when_due(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.handed_at);
        if self.buffer.len() >= CHUNK_LEN || (waited >= WAIT_MAX && !self.buffer.is_empty()) {
            self.hand_over();
            self.handed_at = now;
        }
    }

    fn hand_over(&mut self) {
        if self.sink.write(&self.buffer) {
            self.handed += self.buffer.len() as u64;
            self.handed_calls = self.standing.calls;
            self.buffer.clear();
        } else {
            tracing::warn!("the sink of a call's log takes no more: the recording ends");
            self.missed += self.standing.calls - self.handed_calls;
            self.is_stopped = true;
            self.buffer = Vec::new();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.is_stopped {
            self.close(None);
        }
        if !self.is_stopped {
            self.end(End::Dropped);
        }
    }
}

/// Nanoseconds from one instant to another, before or after it.
pub(super) fn offset(from: Instant, to: Instant) -> i64 {
    let ahead = to.saturating_duration_since(from);
    let behind = from.saturating_duration_since(to);
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    nanos(ahead) - nanos(behind)
}

/// Sets length and check in front of a body.
fn frame(record: &mut [u8]) {
    let (head, body) = record.split_at_mut(FRAME_LEN);
    let len = u32::try_from(body.len()).expect("a record is at most RECORD_LEN_MAX long");
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&check(len, body).to_le_bytes());
}

/// The check of a record.
pub(super) fn check(len: u32, body: &[u8]) -> u32 {
    let mut digest = Digest::START;
    digest.fold(&len.to_le_bytes());
    digest.fold(body);
    digest.short()
}

fn changed(last: &mut Option<Path>, path: Path) -> Option<Path> {
    (last.replace(path) != Some(path)).then_some(path)
}
