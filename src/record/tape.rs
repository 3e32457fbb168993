//! What a session holds while it is recorded or replayed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::entry::{Call, Crossing, Header, Path, Routing, Settings, Told, Value, coders};
use super::player::{self, Player};
use super::recorder::Recorder;
use super::{BEHAVIOUR, Detail, Keep, Recording, mask, seams};
use crate::audio::codec::{AudioDecoder, AudioEncoder, Coder};
use crate::audio::dtmf::{KEYS, TONES_MAX};
use crate::audio::voice::{self, VoiceDetector};
use crate::config::{AudioIn, AudioOut};
use crate::session::messages::shortened;
use crate::transport::Transport;
use crate::{
    AudioFrame, AudioInfo, Config, Datagram, EncodedFrame, Event, LocalCandidate, Message, Offer,
    RemoteCandidate, Ufrag,
};

/// A recorder or a player, which session, transport and coders share. They run on one thread, so
/// the lock is always free.
#[derive(Clone)]
pub(crate) enum Tape {
    Records(Arc<Mutex<Recorder>>),
    Plays(Arc<Mutex<Player>>),
}

/// The lock, which nobody holds across a call that could panic.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tape {
    /// A recorder for a session that begins, if the configuration asks for one and there is a
    /// place for its log.
    pub(crate) fn record(
        config: &Config,
        place: Ufrag,
        public_seed: [u8; 32],
        now: Instant,
    ) -> Option<Tape> {
        let Recording { archive, keep, bytes_max } = config.recording.as_ref()?;
        let Ufrag { node, shard, slot, generation, random } = place;
        let sink = archive.open(&format!("{slot}.{generation}-{random:012x}"))?;
        let header = Header {
            crate_version: env!("CARGO_PKG_VERSION").to_owned(),
            behaviour: BEHAVIOUR.to_owned(),
            media: number(keep.media),
            messages: number(keep.messages),
            node,
            shard,
            slot,
            generation,
            public_seed,
            settings: Settings::of(config),
            coders: coders(config),
        };
        let recorder = Recorder::new(header, *keep, *bytes_max, sink, now);
        Some(Tape::Records(Arc::new(Mutex::new(recorder))))
    }

    /// The transport that a session talks to: the one below, listened to, or what a log tells.
    pub(crate) fn transport(&self, below: Box<dyn Transport>) -> Box<dyn Transport> {
        match self {
            Tape::Records(recorder) => Box::new(seams::Tapped::new(below, recorder.clone())),
            Tape::Plays(_) => below,
        }
    }

    /// The encoder of the session's sound.
    pub(crate) fn encoder(
        &self,
        coder: impl Into<Coder>,
        config: AudioOut,
    ) -> Box<dyn AudioEncoder> {
        let coder = coder.into();
        match self {
            Tape::Records(recorder) => {
                Box::new(seams::TappedEncoder::new(coder.encoder(config), recorder.clone()))
            }
            Tape::Plays(player) => {
                Box::new(player::PlayedEncoder::new(coder, config, player.clone()))
            }
        }
    }

    /// The decoder of the session's sound.
    pub(crate) fn decoder(
        &self,
        coder: impl Into<Coder>,
        config: AudioIn,
    ) -> Box<dyn AudioDecoder> {
        let coder = coder.into();
        match self {
            Tape::Records(recorder) => {
                Box::new(seams::TappedDecoder::new(coder.decoder(config), recorder.clone()))
            }
            Tape::Plays(player) => {
                Box::new(player::PlayedDecoder::new(coder, config, player.clone()))
            }
        }
    }

    /// The detector of voices in the session's sound. A replay needs none in this build.
    pub(crate) fn detector(&self) -> Option<Box<dyn VoiceDetector>> {
        match self {
            Tape::Records(recorder) => {
                let inner = voice::detector()?;
                Some(Box::new(seams::TappedDetector::new(inner, recorder.clone())))
            }
            Tape::Plays(player) => Some(Box::new(player::PlayedDetector::new(player.clone()))),
        }
    }

    /// Calls that are missing in the log.
    pub(crate) fn missed(&self) -> u64 {
        match self {
            Tape::Records(recorder) => lock(recorder).missed(),
            Tape::Plays(_) => 0,
        }
    }

    /// A public call begins. `deadline` is the session's before it.
    pub(crate) fn call(
        &self,
        call: impl FnOnce(&mut Recorder) -> Call,
        deadline: Option<Instant>,
        now: Instant,
    ) {
        if let Tape::Records(recorder) = self {
            let mut recorder = lock(recorder);
            let call = call(&mut recorder);
            recorder.call(call, deadline, now);
        }
    }

    /// The call gave this.
    pub(crate) fn returned(&self, value: impl FnOnce(&mut Recorder) -> Value) {
        if let Tape::Records(recorder) = self {
            let mut recorder = lock(recorder);
            let value = value(&mut recorder);
            recorder.cross(&Crossing::Returned(value));
        }
    }

    /// The endpoint decided something for the session.
    pub(crate) fn routing(&self, routing: Routing, deadline: Option<Instant>, now: Instant) {
        if let Tape::Records(recorder) = self {
            lock(recorder).routing(routing, deadline, now);
        }
    }
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tape::Records(_) => "Tape(records)",
            Tape::Plays(_) => "Tape(plays)",
        })
    }
}

fn number(detail: Detail) -> u8 {
    match detail {
        Detail::None => 0,
        Detail::Sizes => 1,
        Detail::Full => 2,
    }
}

/// The detail of a number; `None` for one that no version knows.
pub(super) fn detail(number: u8) -> Option<Detail> {
    [Detail::None, Detail::Sizes, Detail::Full].get(usize::from(number)).copied()
}

/// A size, where sizes are kept.
pub(super) fn sized(detail: Detail, len: usize) -> Option<u32> {
    (detail != Detail::None).then(|| u32::try_from(len).unwrap_or(u32::MAX))
}

impl Keep {
    /// Whether a message is binary, where that is kept.
    pub(super) fn binary(self, binary: bool) -> Option<bool> {
        (self.messages != Detail::None).then_some(binary)
    }

    /// Content of messages, where it is kept.
    pub(super) fn message(self, data: &[u8]) -> Vec<u8> {
        if self.messages == Detail::Full { data.to_vec() } else { Vec::new() }
    }

    /// Content of media, where it is kept.
    pub(super) fn media(self, data: &[u8]) -> Vec<u8> {
        if self.media == Detail::Full { data.to_vec() } else { Vec::new() }
    }

    /// A short digest of a message, where its content is kept.
    pub(super) fn message_digest(self, data: &[u8]) -> Option<u32> {
        (self.messages == Detail::Full).then(|| {
            let mut digest = super::coding::Digest::START;
            digest.fold(data);
            digest.short()
        })
    }
}

/// Calls with what is kept of their arguments.
impl Call {
    pub(crate) fn offer(offer: &Offer) -> Call {
        Call::AcceptOffer { sdp: mask::mask(offer.sdp()) }
    }

    pub(crate) fn local_candidate(candidate: &LocalCandidate) -> Call {
        Call::AddLocalCandidate {
            transport: candidate.transport().0,
            base: candidate.base(),
            advertised: candidate.advertised(),
        }
    }

    pub(crate) fn remote_candidate(candidate: &RemoteCandidate) -> Call {
        let line = match candidate {
            RemoteCandidate::Udp(candidate) => Some(candidate.line().to_owned()),
            RemoteCandidate::Unusable | RemoteCandidate::EndOfCandidates => None,
        };
        Call::AddRemoteCandidate { line }
    }

    pub(crate) fn datagram(datagram: &Datagram, recorder: &mut Recorder) -> Call {
        let len = sized(recorder.keep().media, datagram.payload.len());
        Call::HandleDatagram { path: recorder.path_in(datagram), len }
    }

    pub(crate) fn message(message: &Message, recorder: &Recorder) -> Call {
        let keep = recorder.keep();
        Call::SendMessage {
            binary: keep.binary(message.is_binary()),
            len: message.len() as u64,
            data: keep.message(message.as_bytes()),
        }
    }

    pub(crate) fn audio(frame: &AudioFrame<'_>, recorder: &Recorder) -> Call {
        let is_full = recorder.keep().media == Detail::Full;
        Call::SendAudio {
            rate: frame.rate,
            channels: frame.channels,
            samples: frame.samples.len() as u64,
            pcm: if is_full { frame.samples.to_vec() } else { Vec::new() },
        }
    }

    pub(crate) fn dtmf(keys: &str, duration: Duration, gap: Duration, recorder: &Recorder) -> Call {
        let is_full = recorder.keep().media == Detail::Full;
        // What is refused is refused for the same reason: for its length, or for a character.
        let kept = keys.chars().take(TONES_MAX + 1).map(|key| match key {
            ',' => ',',
            key if is_full => key,
            key if KEYS.contains(key.to_ascii_uppercase()) => '0',
            _ => '?',
        });
        let (duration, gap) = (super::entry::nanos(duration), super::entry::nanos(gap));
        Call::SendDtmf { keys: kept.collect(), duration, gap }
    }

    pub(crate) fn encoded(track: u8, frame: &EncodedFrame, recorder: &Recorder) -> Call {
        Call::SendEncoded {
            track,
            codec: super::entry::codec_number(frame.codec),
            time: super::entry::nanos(frame.time),
            keyframe: frame.keyframe,
            len: frame.data.len() as u64,
            data: recorder.keep().media(&frame.data),
        }
    }
}

/// Returned values with what is kept of them.
impl Recorder {
    pub(crate) fn told(&self, event: &Event) -> Value {
        Value::Event(told(event, self.keep()))
    }

    pub(crate) fn heard_audio(&mut self, info: &AudioInfo, samples: &[i16]) -> Value {
        let digest = self.digest_samples(samples);
        Value::audio(info, self.keep().media, digest)
    }

    pub(crate) fn pulled(&mut self, frame: &EncodedFrame) -> Value {
        let digest = self.digest_bytes(&frame.data);
        Value::encoded(frame, sized(self.keep().media, frame.data.len()), digest)
    }
}

/// An event as it is logged.
pub(super) fn told(event: &Event, keep: Keep) -> Told {
    match event {
        Event::Message(message) => Told::new(
            event,
            keep.binary(message.is_binary()),
            keep.message_digest(message.as_bytes()),
        ),
        Event::ChannelOpened { label } => Told::ChannelOpened(kept_label(label, keep)),
        Event::Dtmf { track, digit, duration } => Told::Dtmf {
            track: track.0,
            digit: (keep.media == Detail::Full).then_some(*digit),
            duration: super::entry::nanos(*duration),
        },
        event => Told::new(event, None, None),
    }
}

/// A channel's label as far as the session keeps it, or as many `x` in its place. Cut before it is
/// masked: the session cuts between characters, and those of a mask are others.
pub(super) fn kept_label(label: &str, keep: Keep) -> String {
    let label = shortened(label.to_owned());
    match keep.messages {
        Detail::None => "x".repeat(label.len()),
        Detail::Sizes | Detail::Full => label,
    }
}

/// The address of a candidate is all that the log needs of it.
impl From<&Datagram> for Path {
    fn from(datagram: &Datagram) -> Path {
        let Datagram { transport, source, destination, .. } = *datagram;
        Path { transport: transport.0, source, destination }
    }
}
