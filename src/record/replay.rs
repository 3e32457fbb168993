//! Runs a log through the session code.

#[cfg(test)]
mod bounds;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::{Call, Crossing, End, Entry, Mark, Path, Routing, Value, codec_of};
use super::player::{Mismatch, Played, Player, moved};
use super::recorder::offset;
use super::tape::{lock, sized, told};
use super::{Detail, Keep, Log, LogError, Tape};
use crate::audio::Coder;
use crate::audio::codec::Absent;
use crate::transport::Transport;
use crate::{
    AudioFrame, AudioId, CandidateError, ClearedPiece, CloseReason, Config, Datagram, Delivery,
    EncodedFrame, LocalCandidate, Message, NegotiateError, Offer, RemoteCandidate, SendError,
    Session, TrackId, TransportId, Ufrag,
};

/// Samples or bytes of one argument, as far as a log can be believed: far beyond what a call
/// takes, so that it is refused in the same words.
const ARGUMENT_MAX: u64 = 1 << 26;

/// Records that are shown before the first difference.
const BEFORE_MAX: usize = 5;

/// What came of a replay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replay {
    /// Public calls that were replayed and gave the same.
    pub calls: u64,
    /// Steps over the seams that were the same.
    pub crossings: u64,
    /// The time of the last call that was replayed, since the session's birth.
    pub duration: Duration,
    /// The digest of all decisions.
    pub decisions: u64,
    /// The digest of coded bytes and PCM that came out; counts at media `Full` only.
    pub media: u64,
    /// The first difference.
    pub difference: Option<Difference>,
    /// What the log has and this build cannot prove: it was taken as it stands there.
    pub unproved: Option<&'static str>,
}

/// Where a replay left the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The record, counted from the header, which is 0.
    pub record: usize,
    /// Where it begins in the log, in bytes.
    pub offset: u64,
    /// Its time since the session's birth.
    pub at: Duration,
    /// What the log says.
    pub recorded: String,
    /// What the session did.
    pub replayed: String,
    /// The record itself and the last ones before it, as lines.
    pub before: Vec<String>,
}

impl Replay {
    /// Whether the session did what is in the log, as far as that can be read.
    #[must_use]
    pub fn is_identical(&self) -> bool {
        self.difference.is_none()
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_identical() { "identical" } else { "different" };
        write!(
            f,
            "{word}: {} calls, {} crossings, {:.3} s, decisions {:016x}, media {:016x}",
            self.calls,
            self.crossings,
            self.duration.as_secs_f64(),
            self.decisions,
            self.media
        )?;
        if let Some(unproved) = self.unproved {
            write!(f, "\nnot proved: {unproved}")?;
        }
        match &self.difference {
            Some(difference) => write!(f, "\n{difference}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        writeln!(f, "record {} at byte {}, {at:.6} s", self.record, self.offset)?;
        writeln!(f, "  recorded: {}", self.recorded)?;
        writeln!(f, "  replayed: {}", self.replayed)?;
        write!(f, "what led to it:")?;
        self.before.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// The configuration of a log with the coders that it was recorded with, or with what stands for
/// them where none run.
fn with_coders(
    mut config: Config,
    given: &Config,
    names: &[String],
    media: Detail,
) -> Result<Config, LogError> {
    config.audio_coders.clone_from(&given.audio_coders);
    if names.iter().all(String::is_empty) {
        // The build had none: it passed everything on as it was coded.
        config.audio_in.decode = false;
        config.audio_out.encoded = true;
        return Ok(config);
    }
    for (codec, name) in config.audio_codecs.clone().into_iter().zip(names) {
        let is_same = |config: &Config| {
            Coder::one(config, codec).is_some_and(|coder| coder.name() == name.as_str())
        };
        if is_same(&config) {
            continue;
        }
        // What is built in may have been used where the application brings its own by now.
        config.audio_coders.retain(|(of, _)| *of != codec);
        if is_same(&config) {
            continue;
        }
        if media == Detail::Full {
            return Err(LogError::NoCoder(name.clone()));
        }
        config.audio_coders.push((codec, Arc::new(Absent(name.clone()))));
    }
    Ok(config)
}

/// Runs the log through the session code and finds the first difference. `start` is when the
/// session is born; any instant gives the same result, a day after the process began leaves room
/// for deadlines that lie before the birth.
///
/// # Errors
/// [`LogError::NoHeader`] when the header's settings are none that a session can have,
/// [`LogError::NoCoder`] as [`replay_with`]. Whatever else is in a log, this neither fails nor
/// panics.
pub fn replay(log: &Log, start: Instant) -> Result<Replay, LogError> {
    replay_with(log, &Config::new(), start)
}

/// The same for a call with coders of the application's own: `coders` has them
/// ([`Config::audio_coder`]), and nothing else of it counts.
///
/// # Errors
/// As [`replay`]; [`LogError::NoCoder`] when media was kept in full, so that real coders run, and
/// one of them is of another name than in the log.
pub fn replay_with(log: &Log, coders: &Config, start: Instant) -> Result<Replay, LogError> {
    let header = &log.header;
    let config = header.settings.config();
    let config = config.ok_or_else(|| LogError::NoHeader("the settings are none".to_owned()))?;
    let config = with_coders(config, coders, &header.coders, log.keep.media)?;
    let player = Arc::new(Mutex::new(Player::new(log.keep, start)));
    let (node, shard, slot) = (header.node, header.shard, header.slot);
    let place = Ufrag { node, shard, slot, generation: header.generation, random: 0 };
    let below: Box<dyn Transport> = Box::new(Played::new(player.clone()));
    let below = (below, Tape::Plays(player.clone()));
    let session = Session::replayed(config.shared(), header.public_seed, place, below, start);
    let mut run = Run {
        session,
        player,
        keep: log.keep,
        at: start,
        expected: None,
        path: None,
        calls: 0,
        problem: None,
    };
    let mut stopped_at = None;
    for (index, record) in log.records.iter().enumerate() {
        run.at = moved_by(run.at, record.after());
        match &record.entry {
            Entry::Call { call, .. } => run.call(call, &record.crossings),
            Entry::Mark(mark) => run.mark(mark),
            Entry::End(End::Dropped | End::Full, mark) => run.mark(mark),
            Entry::Routing { routing, .. } => run.routing(routing),
            Entry::Header(_) => run.problem("one header", "another header in the middle"),
        }
        if run.has_differed() {
            stopped_at = Some(index);
            break;
        }
    }
    Ok(run.finish(log, stopped_at, start))
}

/// What of a log with content of media this build cannot prove.
fn unproved(log: &Log) -> Option<&'static str> {
    let has_scores = log.keep.media == Detail::Full && log.header.settings.voice.is_some();
    let is_missing = has_scores && !cfg!(feature = "earshot");
    is_missing.then_some("the scores of voices, because this build lacks the feature `earshot`")
}

/// An instant so many nanoseconds later.
fn moved_by(at: Instant, nanos: u64) -> Instant {
    moved(at, i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A session on its way through a log.
struct Run {
    session: Session,
    player: Arc<Mutex<Player>>,
    keep: Keep,
    at: Instant,
    /// The deadline that the log gave last.
    expected: Option<Instant>,
    path: Option<Path>,
    calls: u64,
    /// What differs beside the steps: recorded and replayed.
    problem: Option<(String, String)>,
}

impl Run {
    fn has_differed(&self) -> bool {
        self.problem.is_some() || lock(&self.player).mismatch().is_some()
    }

    fn problem(&mut self, recorded: impl Into<String>, replayed: impl Into<String>) {
        self.problem = Some((recorded.into(), replayed.into()));
    }

    fn call(&mut self, call: &Call, crossings: &[Crossing]) {
        lock(&self.player).load(crossings.iter().cloned().collect::<VecDeque<_>>(), self.at);
        if let Some(value) = self.act(call) {
            lock(&self.player).returned(value);
        }
        self.compare_deadline();
        let mut player = lock(&self.player);
        player.finish();
        self.calls += u64::from(player.mismatch().is_none());
    }

    /// After each call the session waits for what it waited for when it was recorded.
    fn compare_deadline(&mut self) {
        let deadline = self.session.poll_timeout();
        let mut player = lock(&self.player);
        let recorded = match player.front() {
            Some(Crossing::DeadlineUnseen) => {
                player.skip();
                return;
            }
            Some(Crossing::Deadline(recorded)) => recorded.map(|offset| moved(self.at, offset)),
            _ => self.expected,
        };
        if deadline != self.expected || recorded != self.expected {
            player.deadline(deadline.map(|deadline| offset(self.at, deadline)));
        }
        self.expected = recorded;
    }

    fn mark(&mut self, mark: &Mark) {
        let (decisions, media) = {
            let player = lock(&self.player);
            (player.decisions.value(), player.media.value())
        };
        let replayed = Mark { calls: self.calls, decisions, media };
        if *mark != replayed {
            self.problem(format!("{mark:?}"), format!("{replayed:?}"));
        }
    }

    /// The routing is the endpoint's: what of it the session can confirm is its place in life.
    fn routing(&mut self, routing: &Routing) {
        let is_over = self.session.state() == crate::ConnectionState::Closed;
        if *routing == Routing::Released && !is_over {
            self.problem("the endpoint freed the addresses", "the session goes on");
        }
    }

    /// Does what was done, and gives what is compared with the returned value.
    fn act(&mut self, call: &Call) -> Option<Value> {
        let now = self.at;
        let session = &mut self.session;
        match call {
            Call::Start => session.start(now),
            Call::RequestRenegotiation => session.request_renegotiation(now),
            Call::Close { replaced: false } => session.close(now),
            Call::Close { replaced: true } => session.close_for(CloseReason::Replaced, now),
            Call::HandleTimeout => session.handle_timeout(now),
            Call::RequestKeyframe { track } => session.request_keyframe(TrackId(*track), now),
            Call::HoldEvents(hold) => session.hold_events(*hold),
            Call::PauseAudio => session.pause_audio(now),
            Call::ResumeAudio => session.resume_audio(now),
            Call::ClearDtmf => session.clear_dtmf(now),
            Call::PollTransmit => drop(session.poll_transmit()),
            Call::HandleDatagram { path, len } => self.datagram(*path, *len),
            Call::AcceptOffer { sdp } => return Some(self.offer(sdp)),
            Call::AddLocalCandidate { transport, base, advertised } => {
                let transport = TransportId(*transport);
                let candidate = LocalCandidate::mapped(transport, *advertised, *base);
                return Some(of_candidate(&session.add_local_candidate(candidate, now)));
            }
            Call::AddRemoteCandidate { line } => {
                let candidate = line.as_deref().map(RemoteCandidate::parse);
                let candidate = candidate.and_then(Result::ok);
                let candidate = candidate.unwrap_or(RemoteCandidate::Unusable);
                return Some(of_candidate(&session.add_remote_candidate(&candidate, now)));
            }
            Call::SendMessage { binary, len, data } => {
                let message = message(binary.unwrap_or(false), *len, data);
                return Some(of_message(&session.send_message(message, now)));
            }
            Call::PollEvent => {
                let keep = self.keep;
                return session.poll_event().map(|event| Value::Event(told(&event, keep)));
            }
            Call::SendAudio { .. }
            | Call::SendDtmf { .. }
            | Call::ClearAudio
            | Call::RecvAudio { .. }
            | Call::SendEncoded { .. }
            | Call::RecvEncoded { .. } => return self.act_on_media(call),
        }
        None
    }

    fn act_on_media(&mut self, call: &Call) -> Option<Value> {
        let now = self.at;
        let session = &mut self.session;
        match call {
            Call::SendAudio { rate, channels, samples, pcm } => {
                let silence;
                let samples = if pcm.is_empty() {
                    silence = vec![0; argument(*samples)];
                    &silence
                } else {
                    pcm
                };
                let frame = AudioFrame { samples, rate: *rate, channels: *channels };
                Some(of_audio(&session.send_audio(frame, now)))
            }
            Call::ClearAudio => Some(of_cleared(&session.clear_audio(now))),
            Call::SendDtmf { keys, duration, gap } => {
                let time = Duration::from_nanos;
                Some(of_encoded(&session.send_dtmf(keys, time(*duration), time(*gap), now)))
            }
            Call::RecvAudio { track, room } => {
                let mut samples = vec![0; argument(*room)];
                let info = session.recv_audio(TrackId(*track), &mut samples)?;
                let len = info.samples * usize::from(info.channels);
                let detail = self.keep.media;
                let is_full = detail == Detail::Full;
                let mut player = lock(&self.player);
                let digest = if is_full { player.digest_samples(&samples[..len]) } else { None };
                Some(Value::audio(&info, detail, digest))
            }
            Call::SendEncoded { track, codec, time, keyframe, len, data } => {
                let data = content(*len, data);
                let time = Duration::from_nanos(*time);
                let frame = EncodedFrame::new(codec_of(*codec), time, *keyframe, data);
                Some(of_encoded(&session.send_encoded(TrackId(*track), frame, now)))
            }
            Call::RecvEncoded { track } => {
                let frame = session.recv_encoded(TrackId(*track))?;
                let digest = lock(&self.player).digest_frame(&frame.data);
                Some(Value::encoded(&frame, sized(self.keep.media, frame.data.len()), digest))
            }
            _ => None,
        }
    }

    fn datagram(&mut self, path: Option<Path>, len: Option<u32>) {
        self.path = path.or(self.path);
        let Some(Path { transport, source, destination }) = self.path else {
            return self.problem("a datagram without its path", "nothing");
        };
        let payload = content(u64::from(len.unwrap_or(1)), &[]);
        let datagram = Datagram::udp(TransportId(transport), source, destination, payload);
        self.session.handle_datagram(datagram, self.at);
    }

    fn offer(&mut self, sdp: &str) -> Value {
        match Offer::parse(sdp) {
            Ok(offer) => of_offer(&self.session.accept_offer(&offer, self.at)),
            Err(error) => Value::Error(format!("the recorded offer is none: {error}")),
        }
    }

    fn finish(self, log: &Log, stopped_at: Option<usize>, start: Instant) -> Replay {
        let player = lock(&self.player);
        let duration = self.at.saturating_duration_since(start);
        let difference = stopped_at.map(|index| {
            let (recorded, replayed) = match (&self.problem, player.mismatch()) {
                (Some(problem), _) => problem.clone(),
                (None, Some(mismatch)) => describe(mismatch),
                (None, None) => unreachable!("a replay stops at a difference only"),
            };
            let offset = log.records[index].offset;
            let before = before(log, index);
            Difference { record: index + 1, offset, at: duration, recorded, replayed, before }
        });
        Replay {
            calls: self.calls,
            crossings: player.crossings(),
            duration,
            decisions: player.decisions.value(),
            media: player.media.value(),
            difference,
            unproved: unproved(log),
        }
    }
}

/// The lines of the last records up to this one.
fn before(log: &Log, index: usize) -> Vec<String> {
    let skipped = (index + 1).saturating_sub(BEFORE_MAX);
    log.timeline().take(index + 1).skip(skipped).collect()
}

fn describe(mismatch: &Mismatch) -> (String, String) {
    let text = |crossing: &Option<Crossing>| match crossing {
        Some(crossing) => format!("{crossing:?}"),
        None => "nothing more in this call".to_owned(),
    };
    (text(&mismatch.recorded), text(&mismatch.replayed))
}

fn argument(len: u64) -> usize {
    usize::try_from(len.min(ARGUMENT_MAX)).unwrap_or(usize::MAX)
}

/// Content, or as many zeros.
fn content(len: u64, data: &[u8]) -> Bytes {
    if data.is_empty() { vec![0; argument(len)].into() } else { Bytes::copy_from_slice(data) }
}

fn message(binary: bool, len: u64, data: &[u8]) -> Message {
    let content = content(len, data);
    if binary {
        return Message::Binary(content);
    }
    match String::from_utf8(content.into()) {
        Ok(text) => Message::Text(text),
        Err(error) => Message::Binary(error.into_bytes().into()),
    }
}

/// What `accept_offer` gave. The answer is the transport's.
pub(crate) fn of_offer<T>(result: &Result<T, NegotiateError>) -> Value {
    match result {
        Ok(_) => Value::Done,
        Err(error) => Value::Error(super::entry::refusal(error).to_owned()),
    }
}

/// What adding a candidate gave.
pub(crate) fn of_candidate(result: &Result<(), CandidateError>) -> Value {
    result.as_ref().map_or_else(|error| Value::Error(format!("{error:?}")), |()| Value::Done)
}

/// What `send_message` gave.
pub(crate) fn of_message(result: &Result<Delivery, SendError>) -> Value {
    match result {
        Ok(delivery) => Value::Message { sent: *delivery == Delivery::Sent },
        Err(error) => Value::Error(format!("{error:?}")),
    }
}

/// What `send_audio` gave.
pub(crate) fn of_audio(result: &Result<AudioId, SendError>) -> Value {
    match result {
        Ok(id) => Value::AudioId(id.0),
        Err(error) => Value::Error(format!("{error:?}")),
    }
}

/// What `send_encoded` and `send_dtmf` gave.
pub(crate) fn of_encoded(result: &Result<(), SendError>) -> Value {
    result.as_ref().map_or_else(|error| Value::Error(format!("{error:?}")), |()| Value::Done)
}

/// What `clear_audio` gave.
pub(crate) fn of_cleared(cleared: &crate::AudioCleared) -> Value {
    let pieces = cleared.pieces.iter().map(|piece| {
        let ClearedPiece { id, sent, dropped, confirmed, played_estimate } = *piece;
        (id.0, sent, dropped, confirmed, played_estimate)
    });
    Value::ClearedPieces(pieces.collect())
}
