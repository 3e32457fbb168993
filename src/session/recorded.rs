//! What a session tells its log: each public call before it does anything, and what it gave.
//!
//! Without a log it is the check of one `Option` for each. Calls that change nothing are not told:
//! polls that give nothing, figures, names.

use std::time::Instant;

use super::Session;
use crate::audio::Coder;
use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::voice::{self, VoiceDetector};
use crate::config::{AudioIn, AudioOut};
use crate::record::{Call, Recorder, Routing, Value};

impl Session {
    /// A call begins. To be told before time is taken from it.
    #[inline]
    pub(super) fn note(&mut self, now: Instant, call: impl FnOnce(&mut Recorder) -> Call) {
        if self.tape.is_some() {
            self.tell(now, call);
        }
    }

    /// Kept out of the calls that it is told of: one without a log would save and restore the
    /// registers that only this needs, with each datagram.
    #[inline(never)]
    fn tell(&self, now: Instant, call: impl FnOnce(&mut Recorder) -> Call) {
        if let Some(tape) = &self.tape {
            tape.call(call, self.poll_timeout(), self.last_now.max(now));
        }
    }

    /// A poll begins, if it will give something.
    pub(super) fn note_if(&mut self, gives: impl FnOnce(&Session) -> bool, call: fn() -> Call) {
        if self.tape.is_some() && gives(self) {
            self.note(self.last_now, |_| call());
        }
    }

    /// What the call gave.
    pub(super) fn noted(&self, value: impl FnOnce(&mut Recorder) -> Value) {
        if let Some(tape) = &self.tape {
            tape.returned(value);
        }
    }

    /// The endpoint decided something about this session.
    pub(crate) fn note_routing(&self, routing: impl FnOnce() -> Routing, now: Instant) {
        if let Some(tape) = &self.tape {
            tape.routing(routing(), self.poll_timeout(), self.last_now.max(now));
        }
    }

    pub(super) fn has_transmit(&self) -> bool {
        self.transport.has_transmit()
    }

    pub(super) fn encoder(&self, coder: &Coder, config: AudioOut) -> Box<dyn AudioEncoder> {
        match &self.tape {
            None => coder.encoder(config),
            Some(tape) => tape.encoder(coder.clone(), config),
        }
    }

    /// What finds voices in received sound; `None` when this build has nothing that does.
    pub(super) fn detector(&self) -> Option<Box<dyn VoiceDetector>> {
        match &self.tape {
            None => voice::detector(),
            Some(tape) => tape.detector(),
        }
    }

    pub(super) fn decoder(&self, coder: &Coder, config: AudioIn) -> Box<dyn AudioDecoder> {
        match &self.tape {
            None => coder.decoder(config),
            Some(tape) => tape.decoder(coder.clone(), config),
        }
    }
}
