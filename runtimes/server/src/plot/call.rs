//! What of a call is drawn: its figures, gathered once, in bounded form.

use std::time::Duration;

use smallrtc::ConnectionState;
use smallrtc::record::{Figure, Log};

use super::series::{Bars, Series};

/// Changes of the state that are drawn. 500: a call whose network comes and goes for an hour.
pub(super) const STATES_MAX: usize = 500;

/// Marks that are drawn; those that follow are counted. 200: more than there is room for.
pub(super) const MARKS_MAX: usize = 200;

/// The least time that an axis has, in seconds.
const END_MIN: f64 = 0.001;

/// Something that happened at one time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) at: f64,
    pub(super) text: String,
    /// Whether something is wrong there.
    pub(super) is_bad: bool,
}

/// A call in figures.
#[derive(Debug)]
pub(super) struct Call {
    /// Seconds that the time axis has.
    pub(super) end: f64,
    /// Each state with when it was told of, the first at the session's birth.
    pub(super) states: Vec<(f64, ConnectionState)>,
    /// Changes that are not in `states`.
    pub(super) states_more: u64,
    pub(super) marks: Vec<Mark>,
    /// Marks that are not in `marks`.
    pub(super) marks_more: u64,
    /// Milliseconds.
    pub(super) waiting: Series,
    /// Milliseconds after their place.
    pub(super) late: Series,
    /// Milliseconds between packets.
    pub(super) spacing: Series,
    /// Packets that the transport did not take.
    pub(super) refused: Series,
    /// Per cent.
    pub(super) loss_sent: Series,
    pub(super) loss_received: Series,
    /// Packets of sound that had not come.
    pub(super) missing: Bars,
    /// Milliseconds.
    pub(super) rtt: Series,
    pub(super) jitter: Series,
    pub(super) messages_in: Bars,
    /// Messages in that are the application's.
    pub(super) messages_in_own: u64,
    pub(super) messages_out: Bars,
    /// Bytes.
    pub(super) outbox: Series,
    pub(super) buffered: Series,
    /// Bytes.
    pub(super) datagrams_in: Bars,
    pub(super) datagrams_out: Bars,
    /// Datagrams whose lengths the log does not have: in, out.
    pub(super) unmeasured: (u64, u64),
}

impl Call {
    /// Gathers the figures of a log.
    pub(super) fn of(log: &Log) -> Call {
        let end = log.duration().as_secs_f64().max(END_MIN);
        let series = || Series::new(end);
        let bars = || Bars::new(end);
        let mut call = Call {
            end,
            states: vec![(0.0, ConnectionState::New)],
            states_more: 0,
            marks: Vec::new(),
            marks_more: 0,
            waiting: series(),
            late: series(),
            spacing: series(),
            refused: series(),
            loss_sent: series(),
            loss_received: series(),
            missing: bars(),
            rtt: series(),
            jitter: series(),
            messages_in: bars(),
            messages_in_own: 0,
            messages_out: bars(),
            outbox: series(),
            buffered: series(),
            datagrams_in: bars(),
            datagrams_out: bars(),
            unmeasured: (0, 0),
        };
        for (at, figure) in log.figures() {
            call.add(at.as_secs_f64(), figure);
        }
        call
    }

    /// Puts a mark. Where there are too many the last one goes at which nothing is wrong; when
    /// something is at all of them, the new one.
    pub(super) fn mark(&mut self, at: f64, text: impl Into<String>, is_bad: bool) {
        if self.marks.len() == MARKS_MAX {
            self.marks_more += 1;
            let good = self.marks.iter().rposition(|mark| !mark.is_bad);
            let Some(good) = good.filter(|_| is_bad) else { return };
            self.marks.remove(good);
        }
        self.marks.push(Mark { at, text: text.into(), is_bad });
    }

    fn add(&mut self, at: f64, figure: Figure<'_>) {
        match figure {
            Figure::State(state) => {
                self.state(at, state);
                // In the strip a short one has no room for its name.
                if matches!(state, ConnectionState::Disconnected | ConnectionState::Failed) {
                    self.mark(at, state.to_string(), true);
                }
            }
            Figure::Closed(reason) => {
                self.state(at, ConnectionState::Closed);
                self.mark(at, format!("closed: {reason}"), false);
            }
            Figure::ChannelOpened => self.mark(at, "channel opened", false),
            Figure::ChannelClosed => self.mark(at, "channel closed", false),
            Figure::Cleared(dropped) => {
                self.mark(at, format!("cleared {:.0} ms", milliseconds(dropped)), false);
            }
            Figure::Bound(address) => self.mark(at, format!("bound {address}"), false),
            Figure::AudioWaiting(waiting) => self.waiting.add(at, milliseconds(waiting)),
            Figure::AudioPacket { late_ns, since_last, taken, .. } => {
                self.late.add(at, late_ns as f64 / 1e6);
                if let Some(since_last) = since_last {
                    self.spacing.add(at, milliseconds(since_last));
                }
                if !taken {
                    self.refused.add(at, late_ns as f64 / 1e6);
                }
            }
            other => self.add_network(at, other),
        }
    }

    fn add_network(&mut self, at: f64, figure: Figure<'_>) {
        match figure {
            Figure::AudioMissing { packets, .. } => self.missing.add(at, packets as f64),
            Figure::Report { rtt, loss_sent, loss_received, jitter_received } => {
                let per_cent = |part: Option<f32>| part.map(|part| f64::from(part) * 100.0);
                for (series, value) in [
                    (&mut self.rtt, rtt.map(milliseconds)),
                    (&mut self.jitter, jitter_received.map(milliseconds)),
                    (&mut self.loss_sent, per_cent(loss_sent)),
                    (&mut self.loss_received, per_cent(loss_received)),
                ] {
                    if let Some(value) = value {
                        series.add(at, value);
                    }
                }
            }
            Figure::MessageReceived { application, .. } => {
                self.messages_in.add(at, 1.0);
                self.messages_in_own += u64::from(application);
            }
            Figure::MessageSent { .. } => self.messages_out.add(at, 1.0),
            Figure::MessagesWaiting { bytes, .. } => self.outbox.add(at, bytes as f64),
            Figure::ChannelBuffered(bytes) => self.buffered.add(at, bytes as f64),
            Figure::DatagramReceived(Some(len)) => self.datagrams_in.add(at, f64::from(len)),
            Figure::DatagramSent(Some(len)) => self.datagrams_out.add(at, f64::from(len)),
            Figure::DatagramReceived(None) => self.unmeasured.0 += 1,
            Figure::DatagramSent(None) => self.unmeasured.1 += 1,
            _ => {}
        }
    }

    /// A change of the state; those past the limit are counted.
    pub(super) fn state(&mut self, at: f64, state: ConnectionState) {
        if self.states.len() < STATES_MAX {
            self.states.push((at, state));
        } else {
            self.states_more += 1;
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
