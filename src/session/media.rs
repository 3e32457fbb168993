//! Sound and pictures, in and out.

use std::time::Instant;

use super::Session;
use super::timer::Timer;
use super::tracks::Slot;
use crate::audio::codec::audio_out;
use crate::audio::voice::Speech;
use crate::audio::{AudioPacket, AudioReceiver, AudioSender, Coder, Told};
use crate::offer::{LineKind, MediaLine};
use crate::record::{Call, of_audio, of_cleared, of_encoded};
use crate::transport::{
    Line, MediaPacket, MediaWrite, MediaWritten, NegotiatedLine, TRANSMIT_BYTES_MAX,
};
use crate::{
    AudioCleared, AudioFrame, AudioId, AudioInfo, AudioProgress, Codec, ConnectionState,
    EncodedFrame, Event, MediaKind, Offer, SendError, TrackId,
};

/// Pieces of audio whose `AudioFinished` is still to be polled; 60 s of 10 ms pieces are 6000.
const AUDIO_PIECES_MAX: usize = 8192;

/// The events that tell of a piece: `AudioStarted` and `AudioFinished`. A place for each is
/// reserved when the piece is accepted, so none is ever lost, and free again when the event was
/// polled or will never come.
const AUDIO_EVENTS: usize = 2;

impl Session {
    /// Queues sound to be sent on the call's first audio track, cut into packets and paced by the
    /// session's clock. Any block length, any of the usual rates, which may change from call to
    /// call. `AudioStarted` tells when its first sample has been handed to the wire,
    /// `AudioFinished` when its last one has.
    ///
    /// # Errors
    /// Nothing of refused sound is kept. `QueueFull` past 60 s, with the time until there is room,
    /// and past 8192 pieces whose `AudioFinished` was not polled; `Unsupported` for a piece longer
    /// than 60 s or of another form, with the field; `NoTrack` when no audio track sends PCM,
    /// `Empty`, `Closed`.
    pub fn send_audio(
        &mut self,
        frame: AudioFrame<'_>,
        now: Instant,
    ) -> Result<AudioId, SendError> {
        self.note(now, |recorder| Call::audio(&frame, recorder));
        let sent = self.queue_audio(frame, now);
        self.noted(|_| of_audio(&sent));
        sent
    }

    fn queue_audio(&mut self, frame: AudioFrame<'_>, now: Instant) -> Result<AudioId, SendError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(SendError::Closed);
        }
        let sends = self.sends_audio();
        let Some(sender) = self.sender.as_mut().filter(|_| sends) else {
            let track = self.tracks.microphone().map_or(TrackId(0), |track| track.id);
            return Err(SendError::NoTrack { track, expected: "an audio track that sends PCM" });
        };
        let places = self.audio_places + AUDIO_EVENTS;
        let sent = if places > AUDIO_EVENTS * AUDIO_PIECES_MAX {
            Err(SendError::QueueFull { limit: AUDIO_PIECES_MAX, wait: None })
        } else {
            sender.send(frame, now)
        };
        self.stats.audio_refused += u64::from(matches!(sent, Err(SendError::QueueFull { .. })));
        let id = sent?;
        self.audio_places += AUDIO_EVENTS;
        self.follow_audio_timers();
        Ok(id)
    }

    /// Drops the sound that is queued (barge-in). No speech goes out in any packet after this
    /// call; the packet in the making is faded. Tells for each unfinished piece what of it went
    /// out; for these no `AudioFinished` comes. `AudioStarted` comes, or came, for those of which
    /// anything went out.
    pub fn clear_audio(&mut self, now: Instant) -> AudioCleared {
        self.note(now, |_| Call::ClearAudio);
        let cleared = self.drop_audio(now);
        self.noted(|_| of_cleared(&cleared));
        cleared
    }

    fn drop_audio(&mut self, now: Instant) -> AudioCleared {
        let now = self.clamp(now);
        let Some(sender) = &mut self.sender else { return AudioCleared::default() };
        let mut cleared = sender.clear();
        sender.judge(&mut cleared, now);
        let none = cleared.pieces.iter().filter(|piece| piece.sent == 0).count();
        self.audio_places -= cleared.pieces.len() + none;
        self.follow_audio_timers();
        cleared
    }

    /// How far a piece of sound has come, as of the newest time that the session was given: for
    /// pieces that wait or are being spoken, and for those of which anything was sent and that
    /// finished or were cleared in the last 10 s, at most 256 of them. `None` for any other, and
    /// after the end of the call.
    #[must_use]
    pub fn audio_progress(&self, id: AudioId) -> Option<AudioProgress> {
        self.sender.as_ref()?.progress(id, self.last_now)
    }

    /// Holds back the sound that is queued, until [`Session::resume_audio`]: nothing of it goes
    /// out, and the peer hears what it hears in any pause ([`AudioIdle`](crate::AudioIdle)).
    /// Pieces keep their places and ids, `send_audio` and `clear_audio` go on as before, and
    /// `QueueFull` names no time.
    ///
    /// Nothing clicks: what is being spoken goes out for 5 ms more, faded out, in the next packet,
    /// and the first 5 ms after the pause are faded in. Not a sample is lost or said twice; those
    /// of the fade count as sent.
    ///
    /// It holds over re-offers, and may be called before the call is connected. A second call does
    /// nothing.
    pub fn pause_audio(&mut self, now: Instant) {
        self.note(now, |_| Call::PauseAudio);
        self.clamp(now);
        self.audio_paused = true;
        if let Some(sender) = &mut self.sender {
            sender.hold();
            self.follow_audio_timers();
        }
    }

    /// Lets the sound go out that [`Session::pause_audio`] holds back, from where it stopped. Does
    /// nothing when nothing is held back.
    pub fn resume_audio(&mut self, now: Instant) {
        self.note(now, |_| Call::ResumeAudio);
        let now = self.clamp(now);
        self.audio_paused = false;
        let is_held = self.keys_out.is_busy();
        if let Some(sender) = self.sender.as_mut().filter(|_| !is_held) {
            sender.release(now);
            self.follow_audio_timers();
        }
    }

    /// Pulls a frame of the microphone track's sound into `samples`: exactly 20 ms at the rate and
    /// channels of `Config::audio_in`, or what `Config::audio_in_frames` says. With its media time
    /// and its origin; frames follow each other without a hole. `None` when no whole frame waits,
    /// for another track, or when the configuration decodes nothing.
    ///
    /// A buffer with less room gets the part of the frame that fits, and the next calls the rest of
    /// it; one without room for a sample of each channel gets nothing. With
    /// [`FrameTime::AsItComes`](crate::FrameTime::AsItComes) it is as much of one origin as fits.
    ///
    /// What nobody pulls for 2 s is discarded (Pipecat's `SmallWebRTCTrack`), and what comes after
    /// it is not decoded until the next call, which gives nothing. Times go on over it.
    pub fn recv_audio(&mut self, track: TrackId, samples: &mut [i16]) -> Option<AudioInfo> {
        if self.tracks.microphone()?.id != track {
            return None;
        }
        let room = samples.len() as u64;
        if self.receiver.as_ref()?.is_idle() {
            self.note(self.last_now, |_| Call::RecvAudio { track: track.0, room });
            self.receiver.as_mut()?.wake();
            return None;
        }
        let info = self.receiver.as_mut()?.recv(samples)?;
        self.note(self.last_now, |_| Call::RecvAudio { track: track.0, room });
        let read = &samples[..info.samples * usize::from(info.channels)];
        self.noted(|recorder| recorder.heard_audio(&info, read));
        Some(info)
    }

    /// Sends a coded frame: pictures on a video track, packets of sound on an audio track that is
    /// not fed with PCM (`Config::audio_out_encoded`). Nothing is paced: send when it is due.
    ///
    /// # Errors
    /// `NoTrack`, `Unsupported` for another codec than [`Session::send_codec`] says or for a time
    /// before the last one, `Empty`, `TooLarge` for a packet of sound that no datagram has room
    /// for, `QueueFull` when the transmits are at their limit, `Closed`.
    pub fn send_encoded(
        &mut self,
        track: TrackId,
        frame: EncodedFrame,
        now: Instant,
    ) -> Result<(), SendError> {
        self.note(now, |recorder| Call::encoded(track.0, &frame, recorder));
        let sent = self.pass_encoded(track, frame, now);
        self.noted(|_| of_encoded(&sent));
        sent
    }

    fn pass_encoded(
        &mut self,
        track: TrackId,
        frame: EncodedFrame,
        now: Instant,
    ) -> Result<(), SendError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(SendError::Closed);
        }
        let paced = self.sender.is_some();
        let no_track = |expected| Err(SendError::NoTrack { track, expected });
        let Some(slot) = self.tracks.slot_mut(track).filter(|slot| slot.track.sends) else {
            return no_track("a track that this side sends on");
        };
        if slot.track.kind == MediaKind::Audio && paced {
            return no_track("a video track, or audio with Config::audio_out_encoded");
        }
        if frame.data.is_empty() {
            return Err(SendError::Empty);
        }
        if slot.sent_time.is_some_and(|last| frame.time < last) {
            let value = u64::try_from(frame.time.as_millis()).unwrap_or(u64::MAX);
            let expected = "milliseconds not below those of the frame before";
            return Err(SendError::Unsupported { field: "time", value, expected });
        }
        let (sent_time, len) = (frame.time, frame.data.len());
        let written = self.write_frame(track, frame, now)?;
        if written != MediaWritten::NotReady
            && let Some(slot) = self.tracks.slot_mut(track)
        {
            slot.sent_time = Some(sent_time);
        }
        self.pump(now);
        match written {
            MediaWritten::Dropped => {
                Err(SendError::QueueFull { limit: TRANSMIT_BYTES_MAX, wait: None })
            }
            MediaWritten::TooLarge(limit) => Err(SendError::TooLarge { len, limit }),
            MediaWritten::Taken | MediaWritten::NotReady => Ok(()),
        }
    }

    fn write_frame(
        &mut self,
        track: TrackId,
        frame: EncodedFrame,
        now: Instant,
    ) -> Result<MediaWritten, SendError> {
        if self.tracks.send_codec(track) != Some(frame.codec) {
            let expected = "the codec that Session::send_codec names";
            return Err(SendError::Unsupported { field: "codec", value: 0, expected });
        }
        let units = frame.time.as_nanos() * u128::from(frame.codec.clock_rate()) / 1_000_000_000;
        let write = MediaWrite {
            line: track.0,
            codec: frame.codec,
            rtp_time: u64::try_from(units).unwrap_or(u64::MAX),
            talkspurt: false,
            voice: None,
            level: None,
            redundant: false,
            data: &frame.data,
        };
        let written = self.transport.write_media(&write, now);
        match written {
            MediaWritten::Taken => self.stats.encoded_sent += 1,
            MediaWritten::Dropped | MediaWritten::TooLarge(_) | MediaWritten::NotReady => {
                self.stats.media_dropped += 1;
            }
        }
        Ok(written)
    }

    /// Pulls the next coded frame of a track; `None` when nothing waits. What nobody pulls for 2 s
    /// is discarded (Pipecat's `SmallWebRTCTrack`), and so is all that comes until the next call:
    /// that one gives nothing, asks for a keyframe, and frames come again.
    pub fn recv_encoded(&mut self, track: TrackId) -> Option<EncodedFrame> {
        let inbox = &mut self.tracks.slot_mut(track)?.inbox;
        if inbox.is_idle() {
            self.note(self.last_now, |_| Call::RecvEncoded { track: track.0 });
            self.wake(track);
            return None;
        }
        let frame = inbox.pop()?;
        self.note(self.last_now, |_| Call::RecvEncoded { track: track.0 });
        self.noted(|recorder| recorder.pulled(&frame));
        Some(frame)
    }

    fn wake(&mut self, track: TrackId) {
        if let Some(slot) = self.tracks.slot_mut(track) {
            slot.inbox.wake();
        }
        if self.closing.is_none() {
            self.ask_for_keyframe(track, self.last_now);
            self.pump(self.last_now);
        }
    }

    /// Asks the peer for a keyframe on a track. Call when decoding fails, as often as it does: the
    /// peer is asked again only when 300 ms and a round trip have passed without a keyframe. On
    /// loss and at `start` the session asks by itself.
    pub fn request_keyframe(&mut self, track: TrackId, now: Instant) {
        self.note(now, |_| Call::RequestKeyframe { track: track.0 });
        let now = self.clamp(now);
        if self.closing.is_none() {
            self.ask_for_keyframe(track, now);
            self.pump(now);
        }
    }

    pub(super) fn ask_for_keyframe(&mut self, track: TrackId, now: Instant) {
        let rtt = self.stats.rtt;
        let slot = self.tracks.slot_mut(track);
        let is_incoming =
            |slot: &&mut Slot| slot.track.receives && slot.track.kind == MediaKind::Video;
        if let Some(slot) = slot.filter(is_incoming)
            && slot.wish.want(rtt, now)
        {
            self.request(track, now);
        }
    }

    fn request(&mut self, track: TrackId, now: Instant) {
        self.stats.keyframes_requested += 1;
        self.transport.request_keyframe(track.0, now);
    }

    /// Takes the outcome of a negotiation: tracks begin and end, coders are made.
    pub(super) fn apply_lines(&mut self, offer: &Offer, lines: &[NegotiatedLine], now: Instant) {
        let offered: Vec<_> = offer.media().iter().map(|line| line.kind).collect();
        if !hears(offer, lines) {
            self.end_speech();
        }
        for change in self.tracks.apply(&offered, lines) {
            self.events.push(change);
        }
        let microphone = self.tracks.microphone();
        let sent = microphone.and_then(|track| self.tracks.send_codec(track.id));
        let coder = sent.and_then(|sent| Coder::of(&self.config, sent).zip(Some(sent)));
        let sends = microphone.is_some_and(|track| track.sends) && !self.config.audio_out.encoded;
        match (coder, sends) {
            (Some((coder, codec)), true) => {
                self.speak_with(codec, &coder);
                let sender = self.sender.as_mut().expect("it was just made");
                let line = microphone.and_then(|track| offer.media().get(usize::from(track.id.0)));
                sender.set_repairs(line.is_some_and(MediaLine::repairs_opus));
                sender.set_takes_levels(line.is_some_and(MediaLine::takes_levels));
                let answered = microphone.and_then(|track| lines.get(usize::from(track.id.0)));
                let takes_copies =
                    matches!(answered, Some(NegotiatedLine::Media { copies: true, .. }));
                sender.set_takes_copies(takes_copies);
                if self.audio_paused {
                    sender.hold();
                }
                if self.state == ConnectionState::Connected {
                    sender.start(now);
                }
            }
            (_, false) => self.end_audio(),
            (None, true) => {}
        }
        let line = microphone.and_then(|track| offer.media().get(usize::from(track.id.0)));
        self.follow_offered_keys(line, now);
        if microphone.is_some_and(|track| track.receives) {
            let preferred = self.tracks.codec(microphone.map(|track| track.id));
            self.listen_to(preferred.unwrap_or(Codec::Opus));
        }
        self.follow_audio_timers();
    }

    /// Sound goes out through this codec from now on. The queue stays as it is.
    fn speak_with(&mut self, codec: Codec, coder: &Coder) {
        let audio_out = audio_out(codec, self.config.audio_out);
        match self.sender.take() {
            Some(sender) if self.speaks_with == Some(codec) => self.sender = Some(sender),
            Some(mut sender) => {
                sender.set_encoder(self.encoder(coder, audio_out), audio_out.idle);
                self.sender = Some(sender);
            }
            None => {
                let encoder = self.encoder(coder, audio_out);
                self.sender = Some(AudioSender::with_encoder(audio_out, encoder));
            }
        }
        self.speaks_with = Some(codec);
    }

    /// Sees to it that packets of this codec are decoded, where sound is decoded at all. Gives
    /// whether they are.
    fn listen_to(&mut self, codec: Codec) -> bool {
        if self.receiver.as_ref().is_some_and(|receiver| receiver.knows(codec)) {
            return true;
        }
        let audio_in = self.config.audio_in;
        let coder = Coder::of(&self.config, codec).filter(|_| audio_in.decode);
        let Some(coder) = coder else { return false };
        let decoder = self.decoder(&coder, audio_in);
        match &mut self.receiver {
            Some(receiver) => receiver.add(codec, audio_in, decoder),
            None => {
                let mut receiver = AudioReceiver::with_decoder(audio_in, codec, decoder);
                if let Some(activity) = self.config.voice_activity
                    && let Some(detector) = self.detector()
                {
                    receiver.find_speech(activity, detector);
                }
                self.receiver = Some(receiver);
            }
        }
        true
    }

    /// The peer takes no sound any more, or the call ends. What is queued is dropped, and told of
    /// as far as it went out. The sender stays: ids and RTP time go on when a later offer takes
    /// sound again.
    pub(super) fn end_audio(&mut self) {
        self.tell_pieces();
        let Some(sender) = &mut self.sender else { return };
        for piece in sender.abandon().pieces {
            self.audio_places -= usize::from(piece.sent == 0);
            self.events.push(Event::AudioFinished { id: piece.id, samples: piece.sent });
        }
    }

    /// Tells which pieces have begun and ended.
    fn tell_pieces(&mut self) {
        while let Some(told) = self.sender.as_mut().and_then(AudioSender::poll_told) {
            self.events.push(match told {
                Told::Began(id) => Event::AudioStarted { id },
                Told::Ended(id, samples) => Event::AudioFinished { id, samples },
            });
        }
    }

    /// Whether the peer takes sound from this side.
    pub(super) fn sends_audio(&self) -> bool {
        self.tracks.microphone().is_some_and(|track| track.sends)
    }

    /// A frame arrived.
    pub(super) fn on_media(&mut self, packet: &MediaPacket, now: Instant) {
        let track = TrackId(packet.line);
        let microphone = self.tracks.microphone().is_some_and(|mic| mic.id == track);
        if !self.tracks.slot(track).is_some_and(|slot| slot.track.receives) {
            return;
        }
        if microphone && !packet.codec.is_audio() {
            return;
        }
        if microphone
            && self.listen_to(packet.codec)
            && let Some(receiver) = &mut self.receiver
        {
            let quiet = !receiver.is_readable();
            let MediaPacket { seq, rtp_time, ssrc, codec, level, ref data, .. } = *packet;
            receiver.switch(codec);
            let rtp_time = rtp_time.wrapping_mul(codec.ticks());
            match packet.repaired {
                false => receiver.handle_leveled((seq, rtp_time), ssrc, data, level, now),
                true => receiver.handle_copy(seq, rtp_time, ssrc, data, now),
            }
            self.tell_audio(track, quiet);
            self.tell_speech(track);
            self.follow_audio_in();
            return;
        }
        let Some(slot) = self.tracks.slot_mut(track) else { return };
        let time = slot.time(packet);
        let quiet = slot.inbox.is_empty();
        let mut frame = EncodedFrame::new(packet.codec, time, packet.keyframe, packet.data.clone());
        frame.contiguous = packet.contiguous;
        let pushed = slot.inbox.push(frame);
        let readable = !slot.inbox.is_empty();
        let is_read = !slot.inbox.is_idle();
        // A request that is not made must not put off the one that a reader makes who comes back.
        let due = is_read && slot.wish.picture(packet.keyframe, self.stats.rtt, now);
        let broken = pushed.wants_keyframe || is_read && !packet.contiguous && !packet.keyframe;
        self.stats.encoded_received += 1;
        self.stats.encoded_dropped += pushed.dropped;
        if due {
            self.request(track, now);
        } else if broken {
            self.ask_for_keyframe(track, now);
        }
        if quiet && readable {
            self.events.push(Event::EncodedReadable(track));
        }
    }

    pub(super) fn tell_audio(&mut self, track: TrackId, quiet: bool) {
        let readable = self.receiver.as_ref().is_some_and(AudioReceiver::is_readable);
        if quiet && readable {
            self.events.push(Event::AudioReadable(track));
        }
    }

    /// Tells when the peer began and ended to speak.
    fn tell_speech(&mut self, track: TrackId) {
        while let Some(speech) = self.receiver.as_mut().and_then(AudioReceiver::poll_speech) {
            let event = match speech {
                Speech::Started(time) => Event::SpeechStarted { track, time },
                Speech::Stopped(time) => Event::SpeechStopped { track, time },
            };
            self.stats.speech_events_dropped += self.events.push_speech(event);
        }
    }

    /// Nothing is heard of the peer any more.
    pub(super) fn end_speech(&mut self) {
        let Some(track) = self.tracks.microphone().map(|track| track.id) else { return };
        if let Some(receiver) = &mut self.receiver {
            receiver.end_speech();
            self.tell_speech(track);
        }
    }

    /// The pacing clock says that a packet is due.
    pub(super) fn send_due_audio(&mut self, now: Instant) {
        let Some(track) = self.tracks.microphone() else { return };
        let (line, codec) = (track.id.0, self.tracks.codec(Some(track.id)));
        let codec = codec.unwrap_or(Codec::Opus);
        while let Some(packet) = self.sender.as_mut().and_then(|sender| sender.handle_timeout(now))
        {
            // An encoder that has nothing to say takes its time all the same.
            if packet.data.is_empty() {
                continue;
            }
            let write = audio_write(line, codec, packet);
            let written = self.transport.write_media(&write, now);
            if let Some(sender) = &mut self.sender {
                sender.written(line, written == MediaWritten::Taken, now);
            }
            match written {
                MediaWritten::Taken => self.stats.audio_packets_sent += 1,
                MediaWritten::Dropped | MediaWritten::TooLarge(_) | MediaWritten::NotReady => {
                    self.stats.media_dropped += 1;
                }
            }
        }
        self.tell_pieces();
        self.follow_audio_out();
    }

    /// Missing audio was waited for long enough.
    pub(super) fn give_up_on_missing_audio(&mut self, now: Instant) {
        let Some(track) = self.tracks.microphone() else { return };
        let Some(receiver) = &mut self.receiver else { return };
        let quiet = !receiver.is_readable();
        receiver.handle_timeout(now);
        let track = track.id;
        self.tell_audio(track, quiet);
        self.tell_speech(track);
        self.follow_audio_in();
    }

    pub(super) fn follow_audio_timers(&mut self) {
        self.follow_audio_out();
        self.follow_audio_in();
    }

    fn follow_audio_out(&mut self) {
        let deadline = self.sender.as_ref().and_then(AudioSender::poll_timeout);
        self.timers.follow(Timer::AudioOut, deadline);
    }

    fn follow_audio_in(&mut self) {
        let deadline = self.receiver.as_ref().and_then(AudioReceiver::poll_timeout);
        self.timers.follow(Timer::AudioIn, deadline);
    }
}

/// Whether the peer's microphone is heard after a negotiation.
fn hears(offer: &Offer, lines: &[NegotiatedLine]) -> bool {
    let microphone = offer.media().iter().position(|line| line.kind == LineKind::Audio);
    let line = microphone.and_then(|at| lines.get(at));
    matches!(line, Some(NegotiatedLine::Media { receives: true, .. }))
}

fn audio_write(line: Line, codec: Codec, packet: AudioPacket<'_>) -> MediaWrite<'_> {
    MediaWrite {
        line,
        codec,
        rtp_time: codec.units(packet.rtp_time),
        talkspurt: packet.talkspurt,
        voice: Some(packet.is_sound),
        level: packet.level,
        redundant: packet.redundant,
        data: packet.data,
    }
}
