//! What moves a session: datagrams, time, and what the transport says.

use std::time::Instant;

use super::Session;
use super::messages::{MESSAGE_LEN_MAX, shortened};
use super::state::{self, Input};
use super::timer::Timer;
use crate::message::{Inbound, classify};
use crate::record::Call;
use crate::transport::{ChannelId, TransportEvent, TransportStats};
use crate::{CloseReason, ConnectionState, Datagram, Event, TrackId};

/// Timers that fire in one call. One of each kind and a repetition: a timer that sets itself
/// to the past would else spin for ever.
const TIMERS_PER_CALL_MAX: usize = Timer::ALL.len() * 2;

impl Session {
    /// Takes a datagram that a socket received. Whatever is in it, this neither fails nor panics:
    /// what cannot be read is counted.
    pub fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        self.note(now, |recorder| Call::datagram(&datagram, recorder));
        let now = self.clamp(now);
        if self.is_closed() {
            return;
        }
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += datagram.payload.len() as u64;
        let received = self.transport.handle_datagram(datagram, now);
        self.stats.datagrams_malformed += u64::from(received.malformed);
        if received.authenticated {
            self.alive(now);
        }
        self.pump(now);
    }

    /// Lets time pass. Call when `poll_timeout` says so; early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note(now, |_| Call::HandleTimeout);
        let now = self.clamp(now);
        for _ in 0..TIMERS_PER_CALL_MAX {
            let Some(timer) = self.timers.expire(now) else { break };
            self.fire(timer, now);
        }
        if self.is_closed() {
            return;
        }
        if self.transport.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.transport.handle_timeout(now);
        }
        self.pump(now);
    }

    fn fire(&mut self, timer: Timer, now: Instant) {
        if !matches!(timer, Timer::AudioOut | Timer::AudioIn | Timer::Liveness) {
            self.span.in_scope(|| tracing::debug!(timer = timer.name(), "timer fired"));
        }
        match timer {
            Timer::Connecting | Timer::Ice => self.fail(CloseReason::NeverConnected, now),
            Timer::ChannelOpen => self.give_up_messages(),
            Timer::Liveness => self.input(Input::Silence, now),
            Timer::Disconnected => self.fail(CloseReason::Lost, now),
            Timer::Linger => self.finish_now(now),
            Timer::AudioOut => self.send_due_audio(now),
            Timer::AudioIn => self.give_up_on_missing_audio(now),
            Timer::KeysOut => self.send_due_keys(now),
            Timer::KeysIn => self.give_up_key(now),
        }
    }

    /// Takes everything that the transport has to say, and hands it what it has room for.
    pub(super) fn pump(&mut self, now: Instant) {
        while let Some(event) = self.transport.poll_event() {
            if self.is_closed() {
                return;
            }
            self.on_transport_event(event, now);
        }
        self.flush_is_due = false;
        if self.is_closed() {
            return;
        }
        while self.outbox.channel().is_some() && !self.outbox.is_empty() {
            let flushed = self.outbox.flush(self.transport.as_mut(), self.stats.rtt, now);
            self.stats.messages_sent += flushed.sent;
            if flushed.too_large > 0 {
                self.dropped(flushed.too_large);
            }
            if flushed.drained {
                self.events.push(Event::MessagesDrained);
            }
            // There may be another channel.
            let Some(channel) = flushed.gone else { break };
            self.on_channel_close(channel, now);
        }
        self.finish_when_acknowledged(now);
    }

    fn on_transport_event(&mut self, event: TransportEvent, now: Instant) {
        match event {
            TransportEvent::Connected => self.on_connected(now),
            TransportEvent::IceConnected | TransportEvent::IceDisconnected => {
                // Liveness decides about states; the engine's own view comes 16 to 23 s late
                // (measured).
                self.span.in_scope(|| tracing::debug!(?event, "ice"));
            }
            TransportEvent::Media(packet) => {
                self.alive(now);
                self.on_media(&packet, now);
            }
            TransportEvent::Tone(packet) => {
                self.alive(now);
                self.on_tone(&packet, now);
            }
            TransportEvent::KeyframeRequest(line) => {
                self.alive(now);
                self.events.push(Event::KeyframeRequested(TrackId(line)));
            }
            TransportEvent::ChannelOpen(channel, label) => self.on_channel_open(channel, label),
            TransportEvent::ChannelData(channel, binary, data) => {
                self.alive(now);
                self.on_channel_data(channel, binary, data, now);
            }
            TransportEvent::ChannelClose(channel) => self.on_channel_close(channel, now),
            // Acknowledgements are authenticated traffic as well.
            TransportEvent::BufferedAmountLow(_) => self.alive(now),
            TransportEvent::Stats(stats) => self.on_stats(&stats, now),
            TransportEvent::PeerReport { line, packets } => {
                if let Some(sender) = &mut self.sender {
                    sender.report(line, packets);
                }
            }
            TransportEvent::HungUp => self.finish(CloseReason::HungUp, now),
            TransportEvent::Refused(why) => {
                self.span.in_scope(|| tracing::warn!(why, "the peer is not who the offer names"));
                self.fail(CloseReason::Refused, now);
            }
            TransportEvent::Fault(fault) => {
                self.span.in_scope(|| tracing::warn!(fault, "the engine cannot go on"));
                self.fail(CloseReason::Internal, now);
            }
        }
    }

    fn on_connected(&mut self, now: Instant) {
        self.alive(now);
        self.input(Input::TransportConnected, now);
    }

    pub(super) fn on_channel_open(&mut self, channel: ChannelId, label: String) {
        let label = shortened(label);
        self.span.in_scope(|| tracing::debug!(label, "channel open"));
        self.outbox.open(channel);
        self.channel_came();
        self.timers.clear(Timer::ChannelOpen);
        self.events.push(Event::ChannelOpened { label });
    }

    fn on_channel_close(&mut self, channel: ChannelId, now: Instant) {
        if self.outbox.close(channel) {
            self.events.push(Event::ChannelClosed);
            // A wish for a new offer may have gone with it; the next one counts again.
            self.negotiation.unwant();
            if self.closing.is_none() && self.outbox.channel().is_none() {
                self.timers.set(Timer::ChannelOpen, now + self.config.channel_timeout);
            }
        }
    }

    /// No channel opened in time, or the call ends: what waits is dropped and told of.
    pub(super) fn give_up_messages(&mut self) {
        let count = self.outbox.give_up();
        // A wish for a new offer was dropped with the rest; the next one counts again.
        self.negotiation.unwant();
        if count > 0 {
            self.dropped(count);
        }
    }

    /// Messages that were accepted will not be delivered.
    fn dropped(&mut self, count: usize) {
        self.span.in_scope(|| tracing::warn!(count, "messages dropped that no channel took"));
        self.stats.messages_dropped += count as u64;
        self.events.push(Event::MessagesDropped { count });
    }

    fn on_channel_data(&mut self, _: ChannelId, binary: bool, data: Vec<u8>, now: Instant) {
        if self.closing.is_some() {
            return;
        }
        if data.is_empty() || data.len() > MESSAGE_LEN_MAX {
            self.stats.messages_noise += 1;
            return;
        }
        match classify(binary, data) {
            Inbound::Ping => self.stats.pings += 1,
            Inbound::TrackStatus { receiver_index, enabled } => {
                match self.tracks.switch(receiver_index, enabled) {
                    Some(track) => self.events.push(Event::TrackStatus { track, enabled }),
                    None => self.stats.messages_noise += 1,
                }
            }
            Inbound::PeerLeft => self.finish(CloseReason::PeerLeft, now),
            Inbound::Renegotiate | Inbound::Noise => self.stats.messages_noise += 1,
            Inbound::Application(message) => {
                if !self.inbox.admit(message.len()) {
                    self.span.in_scope(|| tracing::warn!("messages are not polled"));
                    self.fail(CloseReason::ApplicationTooSlow, now);
                } else if self.started {
                    self.events.push(Event::Message(message));
                } else {
                    self.inbox.hold(message);
                }
            }
        }
    }

    fn on_stats(&mut self, stats: &TransportStats, now: Instant) {
        self.stats.rtt = stats.rtt.or(self.stats.rtt);
        if let (Some(rtt), Some(sender)) = (stats.rtt, &mut self.sender) {
            sender.set_round_trip(rtt, now);
        }
        if let (Some(loss), Some(sender)) = (stats.loss_sent, &mut self.sender) {
            sender.report_loss(loss);
        }
        self.stats.loss_sent = stats.loss_sent.or(self.stats.loss_sent);
        self.stats.loss_received = stats.loss_received.or(self.stats.loss_received);
        self.stats.jitter_received = stats.jitter_received.or(self.stats.jitter_received);
    }

    /// Something came that only the peer can have sent. The timer moves with it: left where it
    /// was it would wake an idle call 1200 times an hour to find that nothing is wrong.
    fn alive(&mut self, now: Instant) {
        self.last_alive = now;
        match self.state {
            ConnectionState::Connected if self.closing.is_none() => {
                self.timers.set(Timer::Liveness, now + self.config.liveness_timeout);
            }
            ConnectionState::Disconnected => self.input(Input::Traffic, now),
            ConnectionState::Connecting if self.closing.is_none() => self.await_checks(now),
            _ => {}
        }
    }

    /// The peer is there: the next check has its time from now on.
    pub(super) fn await_checks(&mut self, now: Instant) {
        self.timers.set(Timer::Ice, now + self.config.ice_timeout);
    }

    /// Feeds the state table, and does what belongs to entering the state that follows.
    pub(super) fn input(&mut self, input: Input, now: Instant) {
        let Some(to) = state::next(self.state, input) else { return };
        self.span.in_scope(|| tracing::info!(from = %self.state, %to, ?input, "state"));
        self.state = to;
        match to {
            ConnectionState::Connected => self.enter_connected(now),
            ConnectionState::Disconnected => {
                // From when it was noticed on: after a stall of the driver what the peer sent may
                // still wait in the socket.
                self.timers.set(Timer::Disconnected, now + self.config.disconnected_timeout);
            }
            ConnectionState::New
            | ConnectionState::Connecting
            | ConnectionState::Failed
            | ConnectionState::Closed => {}
        }
        let held = matches!(to, ConnectionState::Connected | ConnectionState::Disconnected)
            && !self.started;
        if !held && to != ConnectionState::Closed {
            self.events.push(Event::StateChanged(to));
        }
    }

    fn enter_connected(&mut self, now: Instant) {
        self.timers.clear(Timer::Connecting);
        self.timers.clear(Timer::Ice);
        self.timers.clear(Timer::Disconnected);
        if self.closing.is_some() {
            return;
        }
        self.timers.set(Timer::Liveness, self.last_alive + self.config.liveness_timeout);
        let sends = self.sends_audio();
        if let Some(sender) = self.sender.as_mut().filter(|_| sends) {
            sender.start(now);
        }
        self.follow_audio_timers();
        self.start_keys(now);
        // Traffic that returns gives no more time.
        let waits = self.outbox.is_waiting() && self.timers.deadline(Timer::ChannelOpen).is_none();
        if waits {
            self.timers.set(Timer::ChannelOpen, now + self.config.channel_timeout);
        }
    }
}
