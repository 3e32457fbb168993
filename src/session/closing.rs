//! The end of a session.
//!
//! `close` says `peerLeft` over the data channel and waits, at most `Config::linger`, until that
//! and everything queued before it is acknowledged, also when messages still wait for the channel
//! to open; then the transport says goodbye (RTCP BYE, close_notify). Every other ending skips the
//! waiting, `Replaced` too. The goodbye is handed out once and not repeated: a peer that misses it
//! notices by consent.

use std::time::Instant;

use super::Session;
use super::state::Input;
use super::timer::Timer;
use crate::message::PEER_LEFT;
use crate::record::Call;
use crate::transport::ChannelId;
use crate::{CloseReason, ConnectionState, Event};

/// Why and since when the session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    reason: CloseReason,
    /// Messages were queued for a channel that may still open.
    awaits_channel: bool,
}

impl Session {
    /// Ends the call: the client is told with `peerLeft`, what was queued before is delivered
    /// first, and `Closed` comes at most `Config::linger` later. Audio stops at once. A second
    /// call does nothing.
    pub fn close(&mut self, now: Instant) {
        self.close_for(CloseReason::Application, now);
    }

    /// Ends the call in the same way, for another reason.
    pub(crate) fn close_for(&mut self, reason: CloseReason, now: Instant) {
        self.note(now, |_| Call::Close { replaced: reason == CloseReason::Replaced });
        let now = self.clamp(now);
        if self.closing.is_some() {
            return;
        }
        let awaits_channel =
            !self.outbox.is_empty() && self.timers.deadline(Timer::ChannelOpen).is_some();
        self.closing = Some(Closing { reason, awaits_channel });
        self.end_keys(now);
        self.end_audio();
        self.timers.clear_all();
        // A client that restarted its call has closed the old one itself, and would take
        // `peerLeft` for the end of the new one (Pipecat's server says nothing).
        let is_told = reason != CloseReason::Replaced
            && matches!(self.state, ConnectionState::Connected | ConnectionState::Disconnected);
        if is_told && (awaits_channel || self.outbox.channel().is_some()) {
            self.outbox.push_own(PEER_LEFT);
            self.timers.set(Timer::Linger, now + self.config.linger);
            self.pump(now);
        } else {
            self.finish(reason, now);
        }
    }

    /// Whether everything that `close` waits for is acknowledged.
    pub(super) fn finish_when_acknowledged(&mut self, now: Instant) {
        let Some(Closing { reason, awaits_channel }) = self.closing else { return };
        if self.is_closed() {
            return;
        }
        let waits = match self.outbox.channel() {
            None => awaits_channel,
            Some(_) => {
                let Session { outbox, transport, .. } = self;
                let unacknowledged = |channel: ChannelId| transport.buffered_amount(channel) > 0;
                !outbox.is_empty() || outbox.channels().any(unacknowledged)
            }
        };
        if !waits {
            self.finish(reason, now);
        }
    }

    /// The channel that `close` waited for is there.
    pub(super) fn channel_came(&mut self) {
        if let Some(closing) = &mut self.closing {
            closing.awaits_channel = false;
        }
    }

    /// The linger timer fired.
    pub(super) fn finish_now(&mut self, now: Instant) {
        if let Some(Closing { reason, .. }) = self.closing {
            self.finish(reason, now);
        }
    }

    /// The session cannot go on.
    pub(super) fn fail(&mut self, reason: CloseReason, now: Instant) {
        self.input(Input::Failure, now);
        self.finish(reason, now);
    }

    /// Says goodbye and ends. What is told as the reason is what ended the session first.
    pub(super) fn finish(&mut self, reason: CloseReason, now: Instant) {
        if self.is_closed() {
            return;
        }
        let reason = self.closing.get_or_insert(Closing { reason, awaits_channel: false }).reason;
        self.transport.close(now);
        while self.transport.poll_event().is_some() {}
        self.end_keys(now);
        self.timers.clear_all();
        self.end_audio();
        self.end_speech();
        self.give_up_messages();
        // What the sender counted stays.
        self.stats = self.stats();
        self.sender = None;
        self.input(Input::Ended, now);
        debug_assert!(self.is_closed(), "every state can end");
        self.span.in_scope(|| tracing::info!(%reason, "closed"));
        self.events.push(Event::Closed { reason });
    }
}
