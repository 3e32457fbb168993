//! The transport over the engine: ICE, DTLS, SRTP and SCTP as browsers speak them.
//!
//! It owns the engine and keeps the engine's rules, so that nothing above has to:
//! - every call puts the session's generator in place, makes one change and drains the engine to
//!   its next timeout, into the queues of [`output`];
//! - an offer that the engine might refuse halfway is tried on a shadow first ([`negotiate`]);
//! - STUN is verified here before the engine sees it, so that `Received::authenticated` means
//!   what it says;
//! - an error of the engine, or a panic in it, ends this session with `Fault` and no other.
//!
//! It never decides when a session is lost, and it has no timers of its own.
//!
//! | state | engine | ends with |
//! | --- | --- | --- |
//! | new | none: local addresses are collected | the first offer that is accepted |
//! | running | alive | `close`, `HungUp`, `Refused` or `Fault` |
//! | closing | drains its goodbye | the last transmit handed out |
//! | closed | gone or inert | |
//!
//! # Where the time of a connect goes
//!
//! What comes from the peer, and what leaves in the same instant, until the page's channel is open;
//! sound left out. We answer `actpass` as the side that listens: the browser's first check is the
//! first to find a way through its NAT, so its hello is the earliest that there can be. Nothing
//! waits for a nomination, for a timer or for a candidate: an offer without any is as fast. The
//! trips that are left are the peer's to save ([`Config::snap`](crate::Config::snap)).
//!
//! DTLS 1.2, and SCTP shakes hands:
//!
//! | round trips | came | left |
//! | --- | --- | --- |
//! | 0.5 | stun-request | stun-request, stun-response |
//! | 1.5 | handshake, stun-request, stun-response | handshake, stun-request, stun-response |
//! | 2.5 | handshake, stun-response | handshake |
//! | 3.5 | dtls | dtls |
//! | 4.5 | dtls | dtls |
//! | 5.5 | dtls | dtls |
//!
//! DTLS 1.3, and the SCTP handshake is left out:
//!
//! | round trips | came | left |
//! | --- | --- | --- |
//! | 0.5 | stun-request | stun-request, stun-response |
//! | 1.5 | handshake, stun-request, stun-response | handshake, stun-request, stun-response |
//! | 2.5 | handshake, stun-response | dtls |

mod bundle;
mod dtls;
pub(super) mod keys;
mod negotiate;
mod output;
mod rng;
mod sdp;
mod snap;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use str0m::media::{KeyframeRequestKind, MediaTime, TelephoneEvent};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output as EngineOutput, Rtc, RtcError};

use self::negotiate::{CHANNEL_BYTES_MAX, History, Settings};
use self::output::{Counters, LineState, Output};
use self::rng::SessionRng;
use self::sdp::REMOTE_CANDIDATES_MAX;
use super::stun::{self, Class};
use super::{
    ChannelId, ChannelWritten, IceCredentials, Line, MediaWrite, MediaWritten, Negotiated,
    NegotiatedLine, Received, ToneWrite, Transport, TransportEvent, TransportSetup,
};
use crate::{
    Answer, Config, Datagram, LocalCandidate, NegotiateError, Offer, Transmit, UdpCandidate,
};

/// How often the engine is asked at one instant before the turn ends; it wants to be called again
/// at once after a write or when a queue of its own is not empty. What is left comes with the
/// next `handle_timeout`, which is due immediately.
const TURNS_MAX: usize = 8;

/// Frames that cannot be put together or taken apart before the engine is taken for broken: one
/// drain meets at most the packets of one picture.
const BAD_FRAMES_MAX: usize = 1024;

/// Addresses that verified requests came from, in the life of one ICE generation. The engine
/// remembers each for good, and whoever knows the password, or replays a request, can show as many
/// as it likes. 256: a NAT that changes its mapping every minute for four hours; beyond it a new
/// address needs an ICE restart.
const SOURCES_MAX: usize = 256;

/// What RED adds to a frame and its copy: a header of 4 bytes for the copy and one of 1 (RFC 2198
/// section 3).
const RED_OVERHEAD: usize = 5;

/// How loud a key is said to be, in dB below full power (RFC 4733 section 2.3.4): what libwebrtc
/// says.
const TONE_VOLUME: u8 = 10;

/// The largest datagram that is read. Peers keep to 1500 bytes, an Ethernet frame, and less.
const DATAGRAM_MAX: usize = 2048;

/// The transport over the engine.
pub(crate) struct Real {
    settings: Settings,
    rng: SessionRng,
    credentials: IceCredentials,
    locals: Vec<LocalCandidate>,
    /// What the peer is told of `locals`, in their order.
    attributes: Vec<String>,
    /// Addresses of the peer's that the engine was given.
    remotes: Vec<SocketAddr>,
    /// Addresses that verified requests came from.
    sources: Vec<SocketAddr>,
    /// None before the first accepted offer, and after a panic.
    rtc: Option<Box<Rtc>>,
    history: History,
    /// The peer's `a=sctp-init`, once it was answered with ours.
    sctp_init: Option<String>,
    message_max: usize,
    closing: bool,
    out: Output,
}

impl fmt::Debug for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Real")
            .field("credentials", &self.credentials)
            .field("locals", &self.locals)
            .field("closing", &self.closing)
            .field("counters", &self.out.counters)
            .finish_non_exhaustive()
    }
}

impl Real {
    pub(super) fn new(config: &Config, setup: TransportSetup) -> Real {
        Real {
            settings: Settings::new(config),
            rng: SessionRng::new(setup.public_seed),
            credentials: setup.credentials,
            locals: Vec::new(),
            attributes: Vec::new(),
            remotes: Vec::new(),
            sources: Vec::new(),
            rtc: None,
            history: History::default(),
            sctp_init: None,
            message_max: 0,
            closing: false,
            out: Output::default(),
        }
    }

    /// Makes one change to the engine and drains it. None when there is no engine (any more).
    fn run<T>(&mut self, now: Instant, change: impl FnOnce(&mut Rtc) -> T) -> Option<T> {
        let rtc = self.rtc.as_mut()?;
        let (out, entered) = (&mut self.out, self.rng.enter());
        // A bulkhead: a bug of the engine that a peer's bytes reach ends one session, not the
        // process. The engine is never touched again, so its broken state cannot matter.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let value = change(rtc);
            settle(rtc, out, now);
            value
        }));
        drop(entered);
        if result.is_err() {
            self.rtc = None;
            self.out.fault("the engine panicked".to_owned());
        }
        result.ok()
    }

    fn first_offer(&mut self, offer: &Offer, now: Instant) -> Result<Negotiated, NegotiateError> {
        let init = snap::offered(offer).filter(|_| self.settings.snap);
        // An INIT that the engine does not take must not cost the call: then without it.
        let with_it = init.map(|_| self.first_engine(offer, init, now)).and_then(Result::ok);
        with_it.map_or_else(|| self.first_engine(offer, None, now), Ok)
    }

    fn first_engine(
        &mut self,
        offer: &Offer,
        init: Option<&str>,
        now: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        let parsed = negotiate::parse(offer, init)?;
        let Real { settings, credentials, locals, .. } = self;
        let mut rng = self.rng.clone();
        let entered = rng.enter();
        let (rtc, attributes, text, (lines, states)) = fenced(|| {
            let mut rtc = settings.engine(credentials, now);
            let attributes: Vec<String> =
                locals.iter().filter_map(|local| negotiate::add_local(&mut rtc, local)).collect();
            let accepted = rtc.sdp_api().accept_offer(parsed);
            let answer = accepted.map_err(|error| negotiate::refused(&error))?;
            let lines = negotiate::lines(&mut rtc, settings, offer, &[], Some(&entered));
            Ok((Box::new(rtc), attributes, answer.to_sdp_string(), lines))
        })?;
        negotiate::usable(&lines)?;
        drop(entered);
        // Nothing can fail from here on; before, nothing of ours has changed.
        self.rng = rng;
        self.rtc = Some(rtc);
        self.attributes = attributes;
        self.out.lines = states;
        Ok(self.negotiated(offer, &text, lines))
    }

    fn later_offer(
        &mut self,
        offer: &Offer,
        fresh: IceCredentials,
        now: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        let before = self.history.last().expect("an engine runs only after an accepted offer");
        sdp::compatible(before, offer)?;
        let restart =
            (before.ice_ufrag(), before.ice_pwd()) != (offer.ice_ufrag(), offer.ice_pwd());
        let agreed = self.sctp_init.clone();
        let init = snap::of_reoffer(agreed.as_deref(), offer)?.filter(|_| self.settings.snap);
        // Without an INIT that the engine does not take, unless an association stands on it.
        let init = match init.map(|_| self.allows(offer, init, now)) {
            Some(Ok(())) => init,
            Some(Err(error)) if agreed.is_some() => return Err(error),
            Some(Err(_)) | None => self.allows(offer, None, now).map(|()| None)?,
        };
        let parsed = negotiate::parse(offer, init)?;
        let accepted = self.run(now, |rtc| {
            let answer = rtc.sdp_api().accept_offer(parsed);
            if answer.is_ok() && restart {
                // The engine has made credentials of 64 bits that no router can read.
                rtc.direct_api().set_local_ice_credentials(negotiate::creds(&fresh));
            }
            answer
        });
        let answer = match accepted {
            Some(Ok(answer)) => answer.to_sdp_string(),
            // The shadow took it, the live engine did not: it is half changed now.
            Some(Err(error)) => {
                self.out.fault(format!("a re-offer was half applied: {error}"));
                let _ = self.run(now, Rtc::disconnect);
                return Err(negotiate::refused(&error));
            }
            None => return Err(NegotiateError::Closed),
        };
        if restart {
            self.credentials = fresh;
            self.remotes.clear();
            self.sources.clear();
        }
        let rtc = self.rtc.as_mut().expect("the change to it has just succeeded");
        let entered = self.rng.enter();
        let (lines, states) =
            negotiate::lines(rtc, &self.settings, offer, &self.out.lines, Some(&entered));
        drop(entered);
        self.out.lines = states;
        Ok(self.negotiated(offer, &answer, lines))
    }

    /// Tries a re-offer on a shadow.
    fn allows(
        &self,
        offer: &Offer,
        init: Option<&str>,
        now: Instant,
    ) -> Result<(), NegotiateError> {
        // The shadow draws from a copy: trying must not move the session's generator.
        let mut rng = self.rng.clone();
        let entered = rng.enter();
        let agreed = self.sctp_init.as_deref();
        let allowed = fenced(|| {
            self.history.allows(&self.settings, &self.credentials, agreed, (offer, init), now)
        });
        drop(entered);
        allowed
    }

    fn negotiated(
        &mut self,
        offer: &Offer,
        engine_answer: &str,
        lines: Vec<NegotiatedLine>,
    ) -> Negotiated {
        self.history.push(offer);
        self.message_max = sdp::message_max(offer).min(CHANNEL_BYTES_MAX);
        if self.sctp_init.is_none() && snap::is_taken_up(engine_answer) {
            tracing::debug!("the SCTP handshake is left out");
            self.sctp_init = snap::offered(offer).map(str::to_owned);
        }
        let rejected: Vec<bool> =
            lines.iter().map(|line| *line == NegotiatedLine::Rejected).collect();
        let ours = sdp::Ours {
            ufrag: &self.credentials.ufrag,
            pwd: &self.credentials.pwd,
            candidates: &self.attributes,
            rejected: &rejected,
            tells_sctp_init: snap::offered(offer).is_some(),
            takes_copies: self.settings.takes_copies,
        };
        let answer = Answer::new(sdp::answer(offer, engine_answer, &ours));
        let credentials = self.credentials.clone();
        Negotiated { answer, credentials, lines, message_max: self.message_max }
    }

    /// Whether a STUN message was made with the password of the side that reads it, or, for a
    /// response, of the side that answers (RFC 8445 section 7.2.2).
    fn stun_holds(&self, payload: &[u8]) -> Option<bool> {
        let peeked = stun::peek(payload)?;
        Some(match peeked.class {
            Class::Request => self.verifies(payload),
            Class::Success | Class::Failure => {
                self.history.last().is_some_and(|offer| stun::verifies(payload, offer.ice_pwd()))
            }
            // Carries no integrity, and only keeps NATs open (RFC 8445 section 11).
            Class::Indication => false,
        })
    }

    /// Checks what arrived before the engine sees it; `Err` when it must not.
    fn inspect(&mut self, datagram: &Datagram) -> Result<Received, Received> {
        let payload = &datagram.payload[..];
        let malformed = Received { authenticated: false, malformed: true };
        if payload.len() > DATAGRAM_MAX {
            return Err(malformed);
        }
        match demux(payload) {
            Kind::Stun => match self.stun_holds(payload) {
                Some(true) if !self.admits(datagram) => {
                    self.out.counters.sources_refused += 1;
                    Err(Received::default())
                }
                Some(true) => Ok(Received { authenticated: true, malformed: false }),
                Some(false) => {
                    self.out.counters.stun_refused += 1;
                    Err(Received::default())
                }
                None => Err(malformed),
            },
            Kind::Rtp(seq, ssrc) => {
                (self.out.seq, self.out.ssrc) = (seq, ssrc);
                Ok(Received::default())
            }
            Kind::Other => Ok(Received::default()),
            Kind::Malformed => Err(malformed),
        }
    }

    /// Whether a verified message comes from where the peer is known to be, or there is room for
    /// one more address.
    fn admits(&mut self, datagram: &Datagram) -> bool {
        let known = self.sources.contains(&datagram.source);
        let room = self.sources.len() < SOURCES_MAX;
        if !known && room {
            self.sources.push(datagram.source);
        }
        known || room
    }

    fn counted(&mut self, received: Received) -> Received {
        self.out.counters.malformed += u64::from(received.malformed);
        received
    }

    /// Whether the peer takes copies, and a datagram has room for a frame and the copy of the one
    /// before. The engine leaves the copy out by its own measure, which a small MTU is below.
    fn fits_with_copy(&self, frame: &MediaWrite<'_>) -> bool {
        let line = self.out.lines.get(usize::from(frame.line)).and_then(Option::as_ref);
        line.is_some_and(|line| {
            let copied_len = line.copied_len.unwrap_or_default();
            let len = RED_OVERHEAD + copied_len + frame.data.len();
            line.copies && len <= self.settings.audio_max()
        })
    }

    /// What was dropped or refused so far.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests and debuggers"))]
    pub(crate) fn counters(&self) -> Counters {
        self.out.counters
    }

    /// Whether the goodbye has been handed out and nothing more will come.
    #[cfg(test)]
    fn is_closed(&self) -> bool {
        let over = match &self.rtc {
            Some(rtc) => !rtc.is_alive(),
            None => self.closing || self.out.faulted,
        };
        over && !self.out.has_transmit()
    }
}

impl Transport for Real {
    fn add_local_candidate(&mut self, candidate: LocalCandidate, now: Instant) {
        if self.locals.contains(&candidate) {
            return;
        }
        self.locals.push(candidate);
        self.out.bases.push((candidate.base(), candidate.transport()));
        let attribute = self.run(now, |rtc| negotiate::add_local(rtc, &candidate));
        self.attributes.extend(attribute.flatten());
    }

    fn add_remote_candidate(&mut self, candidate: &UdpCandidate, now: Instant) {
        // Every re-offer repeats the list; what is known takes no place, and may be what the
        // engine had given up.
        if !self.remotes.contains(&candidate.address()) {
            if self.remotes.len() >= REMOTE_CANDIDATES_MAX {
                self.out.counters.candidates_ignored += 1;
                return;
            }
            self.remotes.push(candidate.address());
        }
        // The engine's reader is stricter here and there; what it does not read is as if it had
        // not come, and the peer's own checks will show the address.
        let Ok(candidate) = Candidate::from_sdp_string(candidate.line()) else { return };
        let _ = self.run(now, |rtc| rtc.add_remote_candidate(candidate));
    }

    fn accept_offer(
        &mut self,
        offer: &Offer,
        fresh: IceCredentials,
        now: Instant,
    ) -> Result<Negotiated, NegotiateError> {
        if self.closing || self.out.faulted || self.rtc.as_ref().is_some_and(|rtc| !rtc.is_alive())
        {
            return Err(NegotiateError::Closed);
        }
        if self.locals.is_empty() {
            return Err(NegotiateError::NoLocalCandidate);
        }
        let negotiated = match self.rtc {
            None => self.first_offer(offer, now)?,
            Some(_) => self.later_offer(offer, fresh, now)?,
        };
        let _ = self.run(now, |_| ());
        for candidate in sdp::candidates(offer) {
            self.add_remote_candidate(&candidate, now);
        }
        Ok(negotiated)
    }

    fn verifies(&self, payload: &[u8]) -> bool {
        let Some(peeked) = stun::peek(payload) else { return false };
        peeked.class == Class::Request
            && peeked.method == stun::BINDING
            && peeked.local_ufrag == Some(self.credentials.ufrag.as_bytes())
            && stun::verifies(payload, &self.credentials.pwd)
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) -> Received {
        // ICE pairs addresses: what was sent to none of ours belongs to no pair.
        if self.out.bases.iter().all(|(base, _)| *base != datagram.destination) {
            self.out.counters.misdirected += 1;
            return Received::default();
        }
        let mut received = match self.inspect(&datagram) {
            Ok(received) => received,
            Err(refused) => return self.counted(refused),
        };
        let (source, destination) = (datagram.source, datagram.destination);
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, &datagram.payload)
        else {
            return self.counted(Received { authenticated: false, malformed: true });
        };
        let taken = self.run(now, |rtc| rtc.handle_input(Input::Receive(now, receive)));
        if let Some(Err(error)) = taken {
            // What cannot be read or decrypted is the sender's affair, and anybody can send it.
            tracing::trace!(%error, "datagram refused");
            received.malformed = true;
            self.handle_timeout(now);
        }
        self.counted(received)
    }

    fn handle_timeout(&mut self, now: Instant) {
        let result = self.run(now, |rtc| rtc.handle_input(Input::Timeout(now)));
        if let (Some(Err(error)), Some(rtc)) = (result, &mut self.rtc) {
            failed(rtc, &mut self.out, &error);
        }
    }

    fn write_media(&mut self, frame: &MediaWrite<'_>, now: Instant) -> MediaWritten {
        let line = self.out.lines.get(usize::from(frame.line)).and_then(Option::as_ref);
        let Some(line) = line.filter(|line| line.sends && self.out.connected) else {
            return MediaWritten::NotReady;
        };
        let Some(&(_, pt)) = line.codecs.iter().find(|(codec, _)| *codec == frame.codec) else {
            return MediaWritten::NotReady;
        };
        // A packet of sound cannot be split over two of RTP.
        let audio = frame.codec.is_audio();
        if audio && frame.data.len() > self.settings.audio_max() {
            self.out.counters.media_refused += 1;
            return MediaWritten::TooLarge(self.settings.audio_max());
        }
        if self.out.is_full() {
            self.out.counters.media_refused += 1;
            return MediaWritten::Dropped;
        }
        let redundant = frame.redundant && self.fits_with_copy(frame);
        let clock = output::clock(frame.codec);
        let time = MediaTime::new(frame.rtp_time.wrapping_add(u64::from(line.time_offset)), clock);
        let mid = line.mid;
        let written = self.run(now, |rtc| {
            if audio {
                rtc.direct_api().set_red_send(mid, redundant);
            }
            let mut writer = rtc.writer(mid)?.start_of_talkspurt(frame.talkspurt);
            if let (Some(level), Some(voice)) = (frame.level, frame.voice) {
                let level = i8::try_from(level.min(127)).expect("127 fits");
                writer = writer.audio_level(-level, voice);
            }
            writer.write(pt, now, time, frame.data).ok()
        });
        if let Some(Some(line)) = self.out.lines.get_mut(usize::from(frame.line)) {
            line.copied_len = redundant.then_some(frame.data.len());
        }
        match written.flatten() {
            Some(()) => MediaWritten::Taken,
            None => MediaWritten::NotReady,
        }
    }

    fn write_tone(&mut self, tone: &ToneWrite, now: Instant) -> MediaWritten {
        let line = self.out.lines.get(usize::from(tone.line)).and_then(Option::as_ref);
        let is_ready = |line: &&LineState| line.sends && line.tone.is_some() && self.out.connected;
        let Some(line) = line.filter(is_ready) else { return MediaWritten::NotReady };
        // The engine finds the payload type by the clock of the sound.
        let Some(&(sound, pt)) = line.codecs.first() else { return MediaWritten::NotReady };
        if self.out.is_full() {
            self.out.counters.media_refused += 1;
            return MediaWritten::Dropped;
        }
        let time = tone.rtp_time.wrapping_add(u64::from(line.time_offset));
        let time = MediaTime::new(time, output::clock(sound));
        let (mid, duration) = (line.mid, tone.duration);
        let event = TelephoneEvent { event: tone.code, end: true, volume: TONE_VOLUME, duration };
        let written = self.run(now, |rtc| {
            let writer = rtc.writer(mid)?.telephone_event(event);
            let written = writer.write(pt, now, time, &[][..]);
            written.inspect_err(|error| tracing::debug!(%error, "a key is not sent")).ok()
        });
        match written.flatten() {
            Some(()) => MediaWritten::Taken,
            None => MediaWritten::NotReady,
        }
    }

    fn request_keyframe(&mut self, line: Line, now: Instant) {
        let Some(Some(line)) = self.out.lines.get(usize::from(line)) else { return };
        let mid = line.mid;
        // Without a stream yet there is nothing to ask; it begins with a keyframe anyway.
        let _ = self
            .run(now, |rtc| rtc.writer(mid)?.request_keyframe(None, KeyframeRequestKind::Pli).ok());
    }

    fn write_channel(
        &mut self,
        channel: ChannelId,
        binary: bool,
        data: &[u8],
        now: Instant,
    ) -> ChannelWritten {
        debug_assert!(!data.is_empty(), "an empty message would block the channel for good");
        let Some(engine_channel) = self.out.theirs(channel).filter(|_| !data.is_empty()) else {
            return ChannelWritten::Gone;
        };
        if data.len() > self.message_max {
            return ChannelWritten::TooLarge(self.message_max);
        }
        if self.out.is_full() {
            return ChannelWritten::Full;
        }
        let written = self.run(now, |rtc| Some(rtc.channel(engine_channel)?.write(binary, data)));
        match written.flatten() {
            Some(Ok(true)) => ChannelWritten::Taken,
            Some(Ok(false)) => {
                self.out.wait_for_engine(channel);
                ChannelWritten::Full
            }
            Some(Err(_)) | None => ChannelWritten::Gone,
        }
    }

    fn buffered_amount(&mut self, channel: ChannelId) -> usize {
        let engine_channel = self.out.theirs(channel);
        let (Some(engine_channel), Some(rtc)) = (engine_channel, &mut self.rtc) else { return 0 };
        rtc.channel(engine_channel).map_or(0, |mut channel| channel.buffered_amount())
    }

    fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, threshold: usize) {
        let engine_channel = self.out.theirs(channel);
        let (Some(engine_channel), Some(rtc)) = (engine_channel, &mut self.rtc) else { return };
        if let Some(mut channel) = rtc.channel(engine_channel) {
            channel.set_buffered_amount_low_threshold(threshold);
        }
    }

    fn close(&mut self, now: Instant) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let connected = self.out.connected;
        let _ = self.run(now, |rtc| {
            // Nobody to say goodbye to, or no way to say it.
            if !connected || rtc.close().is_err() {
                rtc.disconnect();
            }
        });
    }

    fn poll_event(&mut self) -> Option<TransportEvent> {
        self.out.pop_event()
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_transmit()
    }

    fn has_transmit(&self) -> bool {
        self.out.has_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.out.timeout
    }
}

/// Drains the engine, and again while it wants to be called at this instant.
fn settle(rtc: &mut Rtc, out: &mut Output, now: Instant) {
    drain(rtc, out, now);
    while let Some(channel) = out.surplus.pop() {
        rtc.direct_api().close_data_channel(channel);
        drain(rtc, out, now);
    }
    for _ in 0..TURNS_MAX {
        if out.timeout.is_none_or(|at| at > now) {
            return;
        }
        if let Err(error) = rtc.handle_input(Input::Timeout(now)) {
            failed(rtc, out, &error);
        }
        drain(rtc, out, now);
    }
}

fn drain(rtc: &mut Rtc, out: &mut Output, now: Instant) {
    let mut bad_frames = 0;
    loop {
        match rtc.poll_output() {
            Ok(EngineOutput::Timeout(at)) => return out.drained(at, now),
            Ok(EngineOutput::Transmit(transmit)) => out.transmit(&transmit),
            Ok(EngineOutput::Event(event)) => out.event(event, rtc),
            Err(RtcError::Packet(..)) if bad_frames < BAD_FRAMES_MAX => {
                bad_frames += 1;
                out.counters.bad_frames += 1;
            }
            // While the engine runs it says this of nothing but the certificate.
            Err(RtcError::RemoteSdp(why)) => {
                out.refused(why);
                rtc.disconnect();
            }
            // Inert from here on: the next poll gives a timeout that never comes.
            Err(error) => {
                out.fault(error.to_string());
                rtc.disconnect();
            }
        }
    }
}

/// An error while time passes. A frame that its codec's packets cannot carry is lost, and the
/// stream goes on; anything else ends the session.
fn failed(rtc: &mut Rtc, out: &mut Output, error: &RtcError) {
    if let RtcError::Packet(..) = error {
        out.counters.bad_frames += 1;
        return;
    }
    out.fault(error.to_string());
    rtc.disconnect();
}

/// Runs the engine on text of the peer's; a panic in it is a refusal.
fn fenced<T>(negotiate: impl FnOnce() -> Result<T, NegotiateError>) -> Result<T, NegotiateError> {
    catch_unwind(AssertUnwindSafe(negotiate)).unwrap_or_else(|_| {
        Err(NegotiateError::InvalidSdp { reason: "the engine cannot read it".to_owned() })
    })
}

enum Kind {
    Stun,
    /// The sequence number and the stream.
    Rtp(u16, u32),
    /// DTLS or RTCP.
    Other,
    Malformed,
}

/// RFC 7983 section 7, and the least that each protocol's header needs.
fn demux(payload: &[u8]) -> Kind {
    match (payload.first(), payload.len()) {
        (Some(0..=3), 20..) => Kind::Stun,
        (Some(20..=63), 13..) => Kind::Other,
        // Unified headers of DTLS 1.3 are shorter (RFC 9147 section 4).
        (Some(32..=63), 3..) => Kind::Other,
        (Some(128..=191), 12..) if !(64..96).contains(&(payload[1] & 0x7f)) => {
            let seq = u16::from_be_bytes([payload[2], payload[3]]);
            Kind::Rtp(seq, u32::from_be_bytes([payload[8], payload[9], payload[10], payload[11]]))
        }
        (Some(128..=191), 8..) => Kind::Other,
        _ => Kind::Malformed,
    }
}
