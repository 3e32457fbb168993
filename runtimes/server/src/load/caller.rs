//! One caller: the engine as a browser drives it, without socket, clock or thread.
//!
//! | stage | it ends with |
//! | --- | --- |
//! | waiting | its turn to call, by the rate |
//! | offering | the answer over HTTP; a refusal |
//! | connecting | the data channel's opening; [`CONNECT_TIME_MAX`] |
//! | open | the end of the load; the bot's leaving |
//! | finishing | the return of the last message; [`RETURN_TIME_MAX`] |
//! | leaving | the engine's last datagram; [`LEAVE_TIME_MAX`] |
//! | ended | never |
//!
//! What it says it says on time or not at all: after a stall longer than [`STALL_MAX`] its sound
//! goes on from where the clock is. It never retries a call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallrtc_udp::Lateness;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};

use super::arrivals::{Arrivals, Header};
use super::echo::Listener;
use super::engine::Engines;
use super::probes::Probes;
use super::report::{EarlyEnd, Failure, Outcome};
use super::tone::{PACKET_TIME, Tone};

/// How long a call may take from its offer to an open channel. Browsers give ICE up after 15 s
/// without a pair that works; the bot's side of a call waits longer.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);

/// How long leaving may take: `close_notify` and the end of the association are one datagram
/// each and need no answer, so only what is lost takes any time.
pub(super) const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// How long messages are waited for that are on their way when the load ends: nothing more is said
/// then, so that only what was lost takes this long.
const RETURN_TIME_MAX: Duration = Duration::from_millis(500);

/// From which age of its last datagram on a bot counts as silent. Connectivity checks are
/// answered every 3 s, whatever else is said, and one may be lost on the way.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// After a longer stall sound is left out instead of being sent at once: 5 packets are what a
/// browser's own pacing lets through in a burst.
const STALL_MAX: Duration = Duration::from_millis(100);

/// Every 1000 ms while the channel is open (`smallWebRTCTransport.ts`). Pipecat takes a client
/// that does not ping for gone after 3 s.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Frames of a packet at Opus' RTP clock.
const PACKET_TICKS: u32 = 960;

/// What a caller does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    /// What it says; nothing when `None`.
    pub(super) tone: Option<Arc<Tone>>,
    /// Whether it decodes what it hears.
    pub(super) listens: bool,
    /// The time between messages.
    pub(super) messages: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    Waiting,
    Offering { until: Instant },
    Connecting { until: Instant },
    Open,
    Finishing { until: Instant },
    Leaving { until: Instant },
    Ended,
}

/// When what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) posted: Option<Instant>,
    pub(super) answered: Option<Instant>,
    pub(super) connected: Option<Instant>,
    pub(super) open: Option<Instant>,
}

/// Where datagrams go until they are sent, in order.
pub(super) type Outbox = Vec<Transmit>;

/// A moment: for deadlines, and on the clock that arriving packets are stamped with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) stamp: Duration,
}

/// One call of a model browser.
#[derive(Debug)]
pub(super) struct Caller {
    rtc: Rtc,
    address: SocketAddr,
    script: Script,
    stage: Stage,
    mid: Option<Mid>,
    payload_type: Option<Pt>,
    pending: Option<SdpPendingOffer>,
    channel: Option<ChannelId>,
    engine_at: Option<Instant>,
    audio_at: Option<Instant>,
    ping_at: Option<Instant>,
    said: u64,
    last_heard: Option<Instant>,
    pub(super) times: Times,
    pub(super) outcome: Option<Outcome>,
    pub(super) sent: u64,
    pub(super) slips: u64,
    pub(super) sent_late: Lateness,
    pub(super) arrivals: Arrivals,
    pub(super) probes: Probes,
    pub(super) listener: Option<Listener>,
    pub(super) disconnects: u64,
    is_steady: bool,
}

impl Caller {
    /// One that sends from `address`.
    pub(super) fn new(
        engines: &Engines,
        script: Script,
        address: SocketAddr,
        now: Instant,
    ) -> Result<Caller, Failure> {
        let mut rtc = engines.build(now);
        let candidate = Candidate::host(address, "udp").map_err(failed_offer)?;
        rtc.add_local_candidate(candidate);
        let listener = script.tone.as_ref().filter(|_| script.listens).map(Listener::new);
        Ok(Caller {
            rtc,
            address,
            stage: Stage::Waiting,
            mid: None,
            payload_type: None,
            pending: None,
            channel: None,
            engine_at: None,
            audio_at: None,
            ping_at: None,
            said: 0,
            last_heard: None,
            times: Times::default(),
            outcome: None,
            sent: 0,
            slips: 0,
            sent_late: Lateness::new(),
            arrivals: Arrivals::default(),
            probes: Probes::new(script.messages),
            listener: listener.transpose().map_err(failed_offer)?,
            disconnects: 0,
            is_steady: false,
            script,
        })
    }

    /// Makes the offer; its answer goes to [`Caller::take_answer`].
    pub(super) fn offer(&mut self, now: Instant, out: &mut Outbox) -> Result<String, Failure> {
        let mut api = self.rtc.sdp_api();
        if self.script.tone.is_some() {
            let direction = Direction::SendRecv;
            self.mid = Some(api.add_media(MediaKind::Audio, direction, None, None, None));
        }
        api.add_channel("chat".to_owned());
        let (offer, pending) = api.apply().ok_or_else(|| failed_offer("nothing to offer"))?;
        self.pending = Some(pending);
        self.stage = Stage::Offering { until: now + CONNECT_TIME_MAX };
        self.times.posted = Some(now);
        self.drain(now, out);
        Ok(offer.to_sdp_string())
    }

    /// Takes what HTTP gave.
    pub(super) fn take_answer(
        &mut self,
        answer: Result<String, Failure>,
        answered: Instant,
        out: &mut Outbox,
    ) {
        let Stage::Offering { until } = self.stage else { return };
        let taken = answer.and_then(|sdp| self.accept(&sdp));
        if let Err(failure) = taken {
            return self.end(Outcome::Failed(failure));
        }
        self.times.answered = Some(answered);
        self.stage = Stage::Connecting { until };
        self.drain(answered, out);
    }

    fn accept(&mut self, sdp: &str) -> Result<(), Failure> {
        let bad = |error: &dyn std::fmt::Display| Failure::BadAnswer(error.to_string());
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| bad(&error))?;
        let pending = self.pending.take().ok_or_else(|| bad(&"a second one"))?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| bad(&error))?;
        let Some(mid) = self.mid else { return Ok(()) };
        let media = self.rtc.media(mid).ok_or_else(|| bad(&"no audio in it"))?;
        let payload_type = media.remote_pts().first().copied();
        self.payload_type = Some(payload_type.ok_or_else(|| bad(&"no Opus in it"))?);
        Ok(())
    }

    /// Takes a datagram that arrived at `stamp`.
    pub(super) fn receive(
        &mut self,
        source: SocketAddr,
        datagram: &[u8],
        stamp: Duration,
        now: Now,
        out: &mut Outbox,
    ) {
        if matches!(self.stage, Stage::Waiting | Stage::Ended) {
            return;
        }
        self.last_heard = Some(now.instant);
        let is_over = matches!(self.stage, Stage::Finishing { .. } | Stage::Leaving { .. });
        if let Some(header) = Header::read(datagram).filter(|_| !is_over) {
            self.arrivals.record(header, stamp);
            if let Some(listener) = &mut self.listener {
                listener.arrived_at(stamp);
            }
        }
        let Ok(contents) = DatagramRecv::try_from(datagram) else { return };
        let destination = self.address;
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        self.feed(Input::Receive(now.instant, receive), out);
        if matches!(self.stage, Stage::Finishing { .. }) && !self.probes.is_waiting() {
            self.hang_up(now.instant, out);
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        match self.stage {
            Stage::Offering { until } if until <= now.instant => {
                let late = Failure::NoAnswer("not in time".to_owned());
                return self.end(Outcome::Failed(late));
            }
            Stage::Connecting { until } if until <= now.instant => {
                let is_connected = self.times.connected.is_some();
                let failure = if is_connected { Failure::NoChannel } else { Failure::NotConnected };
                return self.end(Outcome::Failed(failure));
            }
            Stage::Finishing { until } if until <= now.instant => {
                return self.hang_up(now.instant, out);
            }
            Stage::Leaving { until } if until <= now.instant => return self.stage = Stage::Ended,
            Stage::Waiting | Stage::Ended => return,
            _ => {}
        }
        if self.engine_at.is_some_and(|at| at <= now.instant) {
            self.feed(Input::Timeout(now.instant), out);
        }
        if self.stage == Stage::Open {
            self.speak(now, out);
            self.ping(now.instant, out);
            self.probe(now.instant, out);
        }
    }

    /// When [`Caller::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let until = match self.stage {
            Stage::Waiting | Stage::Ended => return None,
            Stage::Open => None,
            Stage::Offering { until }
            | Stage::Connecting { until }
            | Stage::Finishing { until }
            | Stage::Leaving { until } => Some(until),
        };
        let says = [self.audio_at, self.ping_at, self.probes.due()];
        let says = if self.stage == Stage::Open { says } else { [None; 3] };
        [until, self.engine_at].into_iter().chain(says).flatten().min()
    }

    /// From now on pacing, gaps and round trips count.
    pub(super) fn begin_steady(&mut self, now: Now) {
        self.is_steady = true;
        self.probes.begin_steady();
        if self.stage == Stage::Open {
            self.arrivals.begin_pacing(now.stamp);
        }
    }

    /// Hangs up, with a word or without.
    pub(super) fn leave(&mut self, abrupt: bool, now: Now, out: &mut Outbox) {
        match self.stage {
            Stage::Open => {}
            Stage::Connecting { .. } if self.times.connected.is_some() => {
                self.outcome = Some(Outcome::Failed(Failure::Stopped));
                return self.hang_up(now.instant, out);
            }
            Stage::Ended => return,
            _ => return self.end(Outcome::Failed(Failure::Stopped)),
        }
        let silent = now.instant.saturating_duration_since(self.last_heard.unwrap_or(now.instant));
        if silent >= SILENCE_MAX {
            return self.end(Outcome::EndedEarly(EarlyEnd::WentSilent));
        }
        self.outcome = Some(Outcome::Completed);
        if abrupt {
            self.rtc.disconnect();
            self.stage = Stage::Ended;
        } else if self.probes.is_waiting() {
            self.stage = Stage::Finishing { until: now.instant + RETURN_TIME_MAX };
        } else {
            self.hang_up(now.instant, out);
        }
    }

    fn hang_up(&mut self, now: Instant, out: &mut Outbox) {
        if self.rtc.close().is_err() {
            // Refused by an engine that is closed already: there is nobody to tell.
            return self.end(Outcome::Completed);
        }
        self.stage = Stage::Leaving { until: now + LEAVE_TIME_MAX };
        self.drain(now, out);
    }

    /// Whether it is known if the call comes about.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Offering { .. } | Stage::Connecting { .. })
    }

    /// Whether nothing more will happen.
    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    fn end(&mut self, outcome: Outcome) {
        self.rtc.disconnect();
        self.stage = Stage::Ended;
        self.outcome.get_or_insert(outcome);
    }

    fn end_early(&mut self, end: EarlyEnd) {
        match self.stage {
            Stage::Open => self.end(Outcome::EndedEarly(end)),
            Stage::Finishing { .. } | Stage::Leaving { .. } => self.stage = Stage::Ended,
            _ => self.end(Outcome::Failed(Failure::Ended(end))),
        }
    }

    fn speak(&mut self, now: Now, out: &mut Outbox) {
        while let Some(due) = self.audio_at.filter(|at| *at <= now.instant) {
            let late = now.instant - due;
            if late > STALL_MAX {
                self.slips += 1;
                let missed = (late.as_nanos() / PACKET_TIME.as_nanos()) as u32;
                // What was missed is not said; its mark may have been in it.
                if let Some(listener) = &mut self.listener {
                    listener.forget_marks();
                }
                self.said += u64::from(missed);
                self.audio_at = Some(due + PACKET_TIME * missed);
                continue;
            }
            if self.is_steady {
                self.sent_late.record(late);
            }
            self.say(now, out);
            self.said += 1;
            self.audio_at = Some(due + PACKET_TIME);
        }
    }

    fn say(&mut self, now: Now, out: &mut Outbox) {
        let (Some(tone), Some(mid), Some(pt)) = (&self.script.tone, self.mid, self.payload_type)
        else {
            return;
        };
        let payload = tone.packet(self.said);
        if let Some(listener) = self.listener.as_mut().filter(|_| Tone::is_first(self.said)) {
            listener.sent_at(now.stamp);
        }
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else { return };
        // The engine's clock of media is 32 bits wide and wraps, as in RTP.
        let time = (self.said as u32).wrapping_mul(PACKET_TICKS);
        let write = RtpWrite::new(pt, self.sent.into(), time, now.instant, payload);
        stream.write_rtp(write);
        self.sent += 1;
        self.drain(now.instant, out);
        // The engine makes datagrams of packets when time passes.
        self.feed(Input::Timeout(now.instant), out);
    }

    fn ping(&mut self, now: Instant, out: &mut Outbox) {
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = Some(now + PING_INTERVAL);
            self.write(b"ping: 0", now, out);
        }
    }

    fn probe(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(message) = self.probes.poll(now) {
            let is_taken = self.write(message.as_bytes(), now, out);
            self.probes.sent(is_taken, now);
        }
    }

    fn write(&mut self, message: &[u8], now: Instant, out: &mut Outbox) -> bool {
        let channel = self.channel.and_then(|id| self.rtc.channel(id));
        let Some(mut channel) = channel else { return false };
        let is_taken = channel.write(false, message).unwrap_or(false);
        self.drain(now, out);
        is_taken
    }

    fn feed(&mut self, input: Input<'_>, out: &mut Outbox) {
        let now = match &input {
            Input::Timeout(now) | Input::Receive(now, _) => *now,
        };
        match self.rtc.handle_input(input) {
            Ok(()) => self.drain(now, out),
            Err(error) => self.end_early(EarlyEnd::Engine(error.to_string())),
        }
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return self.engine_at = Some(at),
                Ok(Output::Transmit(transmit)) => out.push(transmit),
                Ok(Output::Event(event)) => self.handle_event(event, now),
                Err(error) => return self.end_early(EarlyEnd::Engine(error.to_string())),
            }
        }
        self.engine_at = None;
        if self.stage != Stage::Ended {
            self.end_early(EarlyEnd::Closed);
        }
    }

    fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Connected => self.times.connected = Some(now),
            Event::ChannelOpen(id, _) => self.open(id, now),
            Event::ChannelData(data) => {
                if is_goodbye(&data.data) {
                    self.end_early(EarlyEnd::BotLeft);
                } else {
                    self.probes.returned(&data.data, now);
                }
            }
            // What comes after the end was not noted with its time of arrival.
            Event::RtpPacket(packet) if self.stage == Stage::Open => {
                if let Some(listener) = &mut self.listener {
                    listener.listen(&packet.payload);
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.disconnects += 1;
            }
            Event::ChannelClose(id) if self.channel == Some(id) => {
                self.end_early(EarlyEnd::BotLeft);
            }
            Event::Closed => self.end_early(EarlyEnd::Closed),
            _ => {}
        }
    }

    fn open(&mut self, id: ChannelId, now: Instant) {
        if self.channel.is_some() {
            return;
        }
        self.channel = Some(id);
        self.times.open = Some(now);
        self.stage = Stage::Open;
        self.audio_at = self.payload_type.map(|_| now);
        self.ping_at = Some(now + PING_INTERVAL);
        self.probes.begin(now);
    }
}

/// What the bot says when it leaves.
fn is_goodbye(message: &[u8]) -> bool {
    // Short, and there is nothing else that means it; so no JSON is read per message.
    const LEN_MAX: usize = 128;
    message.len() <= LEN_MAX
        && message.windows(10).any(|word| word == b"\"peerLeft\"")
        && message.windows(12).any(|word| word == b"\"signalling\"")
}

fn failed_offer(error: impl std::fmt::Display) -> Failure {
    Failure::Offer(error.to_string())
}

#[cfg(test)]
mod tests;
