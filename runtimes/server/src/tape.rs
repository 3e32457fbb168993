//! What is said in calls, as sound files: a call that is recorded, and the directory for it.
//!
//! A [`TapedPeer`] is a [`Peer`] for a bot, recorded or not. What passes through it is written by
//! the recorders of `smallrtc::media`: both directions from the moment at which the call is
//! connected, as long as the call, and readable up to the last second whatever becomes of the
//! process. The disk has a thread of its own (`smallrtc-files`).
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | one file | [`AudioRecordingOptions::len_max`] | its recording ends, the call goes on |
//! | files that grow | two for each call | `Config::max_sessions` |
//! | writes that wait for the disk | 1024, and 4 MiB for each file | silence instead of sound |
//! | a disk that is full, or fails | | the recording ends, is logged, and the call goes on |

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use smallrtc::media::{PacketRecorder, RecordLayout, Recorder};
use smallrtc::{
    AudioCleared, AudioFrame, AudioId, Codec, ConfigError, ConnectionState, EncodedFrame, Event,
    SendError, SessionId, TrackId,
};
use smallrtc_files::{Disk, FileWrites};
use smallrtc_smol::{Peer, PeerSender, Received};
use smol::Timer;
use tracing::warn;

/// How long the end of the program waits for the disk.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// What a recorder writes at its end: a second of two channels at 48 kHz, and headers. A file whose
/// limit is nearer than that is ended.
const END_LEN: u64 = 256 * 1024;

/// The least limit of a file: ten seconds of what it may hold at most.
const LEN_MIN: u64 = 2 * 1024 * 1024;

/// The rate of recordings: what browsers' sound has.
const RATE: u32 = 48_000;

/// Bits per second and channel of recordings in Opus: speech that nobody tells from the original.
const BITRATE: u32 = 32_000;

/// What a recording is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioFileKind {
    /// Ogg Opus, 32 kbit/s a channel: 29 MB an hour of both sides, and about a hundredth of a core.
    #[default]
    Ogg,
    /// WAV, 16 bits at 48 kHz: 691 MB an hour of both sides, and next to no work.
    Wav,
}

/// Who stands where in a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioSides {
    /// One file of two channels: the peer left, the bot right.
    #[default]
    Stereo,
    /// One file of one channel, both added up.
    Mixed,
    /// Two files: `-heard` has the peer, `-said` the bot.
    Separate,
}

/// How calls are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioRecordingOptions {
    /// What the files are; Ogg Opus by default.
    pub kind: AudioFileKind,
    /// Who stands where; both in one file of two channels by default.
    pub sides: AudioSides,
    /// How many bytes a file may have. 1 GiB by default: an hour and a half of WAV, and days of
    /// Opus. At least 2 MiB.
    pub len_max: u64,
    /// The calls' sound is coded both ways ([`pass_config`](crate::bots::pass_config)): each
    /// direction is written as it is coded, in an Ogg Opus file of its own, whatever stands above.
    pub is_coded: bool,
}

impl Default for AudioRecordingOptions {
    fn default() -> AudioRecordingOptions {
        AudioRecordingOptions {
            kind: AudioFileKind::default(),
            sides: AudioSides::default(),
            len_max: 1 << 30,
            is_coded: false,
        }
    }
}

impl AudioRecordingOptions {
    /// Ogg Opus, both sides in one file, 1 GiB at most.
    #[must_use]
    pub fn new() -> AudioRecordingOptions {
        AudioRecordingOptions::default()
    }

    fn recorder(self, layout: RecordLayout, now: Instant) -> Result<Recorder, ConfigError> {
        let channels = if layout == RecordLayout::Sides { 2 } else { 1 };
        match self.kind {
            AudioFileKind::Ogg => Recorder::ogg_opus(BITRATE * channels, layout, now),
            AudioFileKind::Wav => Recorder::wav(RATE, layout, now),
        }
    }

    /// The files of a call: what stands behind the call's name, and what writes it.
    fn recorders(self, now: Instant) -> Result<Vec<(&'static str, Writer)>, ConfigError> {
        if self.is_coded {
            // Opus that one side takes for one channel may have two.
            let writer = |is_heard| Writer::Coded(is_heard, Box::new(PacketRecorder::new(2, now)));
            return Ok(vec![("-heard", writer(true)), ("-said", writer(false))]);
        }
        let layouts: &[_] = match self.sides {
            AudioSides::Stereo => &[("", RecordLayout::Sides)],
            AudioSides::Mixed => &[("", RecordLayout::Mixed)],
            AudioSides::Separate => {
                &[("-heard", RecordLayout::Heard), ("-said", RecordLayout::Said)]
            }
        };
        let sound =
            |&(suffix, layout)| Ok((suffix, Writer::Sound(Box::new(self.recorder(layout, now)?))));
        layouts.iter().map(sound).collect()
    }

    fn extension(self) -> &'static str {
        if self.kind == AudioFileKind::Wav && !self.is_coded { "wav" } else { "ogg" }
    }
}

/// A directory that calls are recorded in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AudioRecordings {
    directory: Arc<Path>,
    options: AudioRecordingOptions,
    disk: Disk,
}

impl AudioRecordings {
    /// Makes the directory, where it is not there.
    ///
    /// # Errors
    /// The system's, when it cannot be made; [`io::ErrorKind::InvalidInput`] for a limit below
    /// 2 MiB.
    pub fn create(
        directory: &Path,
        options: AudioRecordingOptions,
        disk: &Disk,
    ) -> io::Result<AudioRecordings> {
        if options.len_max < LEN_MIN {
            let text = format!("len_max: {} (expected {LEN_MIN} or more)", options.len_max);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        fs::create_dir_all(directory)?;
        Ok(AudioRecordings { directory: directory.into(), options, disk: disk.clone() })
    }

    /// Records a call. Its files are made when it is connected, and are named after what stands
    /// behind the `#` of its `pc_id`.
    #[must_use]
    pub fn record(&self, peer: Peer) -> TapedPeer {
        let name: String =
            peer.pc_id().rsplit('#').next().unwrap_or_default().chars().filter(is_plain).collect();
        let tape = Tape { recordings: self.clone(), name, lanes: None };
        TapedPeer { peer, tape: Some(tape) }
    }

    /// Waits until everything is written, at most five seconds; false when that was not enough. It
    /// blocks.
    #[must_use]
    pub fn finish(&self) -> bool {
        self.disk.flush(FINISH_TIME_MAX)
    }

    fn path(&self, name: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{name}{suffix}.{}", self.options.extension()))
    }
}

/// What may stand in the name of a file on every system.
fn is_plain(letter: &char) -> bool {
    letter.is_ascii_alphanumeric() || *letter == '-'
}

/// What the recorders' clock says: that of the calls they record.
#[expect(clippy::disallowed_methods, reason = "a file is as long as its call, on the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// What writes a file.
enum Writer {
    Sound(Box<Recorder>),
    /// Whether it is the direction that is heard.
    Coded(bool, Box<PacketRecorder>),
}

/// A file that grows.
struct Lane {
    writer: Writer,
    file: FileWrites,
}

impl Lane {
    fn deadline(&self) -> Option<Instant> {
        match &self.writer {
            Writer::Sound(recorder) => recorder.poll_timeout(),
            Writer::Coded(_, recorder) => recorder.poll_timeout(),
        }
    }

    fn see(&mut self, received: &Received, now: Instant) {
        match (&mut self.writer, received) {
            (Writer::Sound(recorder), Received::Audio(block)) => {
                recorder.heard(block.frame(), block.time, now);
            }
            (Writer::Sound(recorder), Received::Event(event)) => recorder.handle_event(event, now),
            (Writer::Coded(true, recorder), Received::Encoded { frame, .. })
                if frame.codec == Codec::Opus =>
            {
                recorder.write(frame, now);
            }
            _ => {}
        }
    }

    fn turn(&mut self, len_max: u64, now: Instant) {
        match &mut self.writer {
            Writer::Sound(recorder) => {
                recorder.handle_timeout(now);
                self.file.take(|| recorder.poll_write());
            }
            Writer::Coded(_, recorder) => {
                recorder.handle_timeout(now);
                self.file.take(|| recorder.poll_write());
            }
        }
        if self.file.len() + END_LEN > len_max {
            self.finish(now);
        }
    }

    fn finish(&mut self, now: Instant) {
        match &mut self.writer {
            Writer::Sound(recorder) => {
                recorder.finish(now);
                self.file.take(|| recorder.poll_write());
            }
            Writer::Coded(_, recorder) => {
                recorder.finish();
                self.file.take(|| recorder.poll_write());
            }
        }
    }
}

/// What records one call.
struct Tape {
    recordings: AudioRecordings,
    name: String,
    /// `None` until the call is connected.
    lanes: Option<Vec<Lane>>,
}

impl Tape {
    fn begin(&mut self, now: Instant) {
        let writers = self.recordings.options.recorders(now);
        let writers = writers.expect("the rate and the bitrates are constants within their ranges");
        let mut lanes = Vec::new();
        for (suffix, writer) in writers {
            let path = self.recordings.path(&self.name, suffix);
            let len_max = self.recordings.options.len_max;
            match FileWrites::create(&self.recordings.disk, &path, len_max) {
                Ok(file) => lanes.push(Lane { writer, file }),
                Err(error) => warn!(path = %path.display(), %error, "this call is not recorded"),
            }
        }
        self.lanes = Some(lanes);
    }

    fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        self.lanes.iter_mut().flatten()
    }

    fn deadline(&self) -> Option<Instant> {
        self.lanes.iter().flatten().filter_map(Lane::deadline).min()
    }

    fn see(&mut self, received: &Received, now: Instant) {
        let connected = Event::StateChanged(ConnectionState::Connected);
        if self.lanes.is_none() && matches!(received, Received::Event(event) if *event == connected)
        {
            self.begin(now);
        }
        self.lanes().for_each(|lane| lane.see(received, now));
        self.turn(now);
        if matches!(received, Received::Closed(_)) {
            self.finish(now);
        }
    }

    fn turn(&mut self, now: Instant) {
        let len_max = self.recordings.options.len_max;
        self.lanes().for_each(|lane| lane.turn(len_max, now));
    }

    fn said(&mut self, id: AudioId, frame: AudioFrame<'_>) {
        for lane in self.lanes() {
            if let Writer::Sound(recorder) = &mut lane.writer {
                recorder.said(id, frame);
            }
        }
    }

    fn said_coded(&mut self, frame: &EncodedFrame, now: Instant) {
        for lane in self.lanes() {
            if let Writer::Coded(false, recorder) = &mut lane.writer {
                recorder.write(frame, now);
            }
        }
    }

    fn cleared(&mut self, cleared: &AudioCleared) {
        for lane in self.lanes() {
            if let Writer::Sound(recorder) = &mut lane.writer {
                recorder.handle_cleared(cleared);
            }
        }
    }

    fn finish(&mut self, now: Instant) {
        self.lanes().for_each(|lane| lane.finish(now));
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // A bot that leaves before its call has ended; after the end it does nothing.
        self.finish(now());
    }
}

/// A call, recorded or not: what a bot is given. Its methods are those of [`Peer`]; what is sent
/// past it, through a [`PeerSender`], is recorded only as far as it is no sound.
pub struct TapedPeer {
    peer: Peer,
    tape: Option<Tape>,
}

impl From<Peer> for TapedPeer {
    /// A call that is not recorded.
    fn from(peer: Peer) -> TapedPeer {
        TapedPeer { peer, tape: None }
    }
}

impl fmt::Debug for TapedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapedPeer")
            .field("peer", &self.peer)
            .field("is_taped", &self.tape.is_some())
            .finish()
    }
}

impl TapedPeer {
    /// See [`Peer::shard`].
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.peer.shard()
    }

    /// See [`Peer::id`].
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.peer.id()
    }

    /// See [`Peer::pc_id`].
    #[must_use]
    pub fn pc_id(&self) -> &str {
        self.peer.pc_id()
    }

    /// See [`Peer::sender`]. For messages and commands: sound that goes this way is not recorded.
    #[must_use]
    pub fn sender(&self) -> &PeerSender {
        self.peer.sender()
    }

    /// See [`Peer::recv`]. Safe to cancel. While it is not called, nothing is written either.
    pub async fn recv(&mut self) -> Option<Received> {
        let Some(tape) = &mut self.tape else { return self.peer.recv().await };
        loop {
            let due = tape.deadline();
            let next = async { Some(self.peer.recv().await) };
            let timer = async {
                match due {
                    Some(due) => drop(Timer::at(due).await),
                    None => future::pending().await,
                }
                None
            };
            match future::or(next, timer).await {
                Some(received) => {
                    let received = received?;
                    tape.see(&received, now());
                    return Some(received);
                }
                None => tape.turn(now()),
            }
        }
    }

    /// See [`PeerSender::send_audio`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_audio(&mut self, frame: AudioFrame<'_>) -> Result<AudioId, SendError> {
        let id = self.peer.send_audio(frame).await?;
        if let Some(tape) = &mut self.tape {
            tape.said(id, frame);
        }
        Ok(id)
    }

    /// See [`PeerSender::clear_audio`].
    pub async fn clear_audio(&mut self) -> AudioCleared {
        let cleared = self.peer.clear_audio().await;
        if let Some(tape) = &mut self.tape {
            tape.cleared(&cleared);
        }
        cleared
    }

    /// See [`PeerSender::send_encoded`].
    ///
    /// # Errors
    /// See there.
    pub async fn send_encoded(
        &mut self,
        track: TrackId,
        frame: EncodedFrame,
    ) -> Result<(), SendError> {
        let sound = self.tape.is_some() && frame.codec == Codec::Opus;
        let taped = sound.then(|| frame.clone());
        self.peer.send_encoded(track, frame).await?;
        if let (Some(tape), Some(frame)) = (&mut self.tape, taped) {
            tape.said_coded(&frame, now());
        }
        Ok(())
    }

    /// See [`PeerSender::request_keyframe`].
    pub async fn request_keyframe(&mut self, track: TrackId) {
        self.peer.request_keyframe(track).await;
    }

    /// See [`PeerSender::close`].
    pub async fn close(&mut self) {
        self.peer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallrtc::media::{AudioFile, AudioSource};

    /// How much sound per channel there is in a file.
    fn played(path: &Path) -> Duration {
        let bytes = fs::read(path).expect("it was written");
        let (mut file, mut samples, mut count) = (AudioFile::new(), [0; 9_600], 0);
        while !file.is_ended() {
            while let Some(wanted) = file.wants() {
                let start = bytes.len().min(wanted.offset as usize);
                let end = bytes.len().min(start + wanted.len);
                file.handle_read(wanted.offset, &bytes[start..end]);
            }
            count += file.pull(&mut samples);
        }
        let format = file.format().expect("it has sound");
        Duration::from_secs_f64(count as f64 / f64::from(format.rate) / f64::from(format.channels))
    }

    #[test]
    fn a_file_ends_before_its_limit_and_can_be_played_and_one_below_it_goes_on() {
        let folder = std::env::temp_dir().join(format!("smallrtc-tape-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let disk = Disk::start().unwrap();
        // Two channels of 16 bits at 48 kHz; the end is a second of them and some more.
        for (name, len_max, seconds) in [("limit", 2 << 20, 10), ("more", 4 << 20, 20)] {
            let mut options = AudioRecordingOptions::new();
            (options.kind, options.len_max) = (AudioFileKind::Wav, len_max);
            let recordings = AudioRecordings::create(&folder, options, &disk).unwrap();
            let path = recordings.path(name, "");
            let mut tape = Tape { recordings, name: name.to_owned(), lanes: None };
            let start = now();
            tape.begin(start);
            for n in 1..=100 {
                tape.turn(start + Duration::from_millis(200) * n);
                // Faster than time, so that the disk may be slower.
                assert!(disk.flush(FINISH_TIME_MAX));
            }
            assert_eq!(tape.deadline().is_none(), seconds == 10);
            tape.finish(start + Duration::from_secs(20));
            assert!(disk.flush(FINISH_TIME_MAX));
            let len = fs::metadata(&path).unwrap().len();
            assert!(len <= len_max, "{len} bytes");
            assert_eq!(played(&path).as_secs(), seconds);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_limit_that_is_too_low_is_refused_and_names_have_plain_letters() {
        let options = AudioRecordingOptions { len_max: LEN_MIN - 1, ..Default::default() };
        let error = AudioRecordings::create(Path::new("x"), options, &Disk::start().unwrap());
        let text = error.map(drop).unwrap_err().to_string();
        assert_eq!(text, "len_max: 2097151 (expected 2097152 or more)");
        assert!(!Path::new("x").exists());
        assert_eq!("0-a/../\\:b".chars().filter(is_plain).collect::<String>(), "0-ab");
    }
}
