//! The report of what crews leave behind.

use std::collections::BTreeMap;
use std::time::Duration;

use smallrtc_udp::Lateness;

use super::Load;
use super::caller::{Caller, Times};
use super::crew::{Crew, Member};
use super::report::{
    Audio, CallReport, Connect, Failure, Figures, Messages, Outcome, Report, Spread,
};

/// What all calls have in common, while it is being added up.
#[derive(Debug, Default)]
struct Sum {
    total: Figures,
    sent_late: Lateness,
    lateness: Lateness,
    round_trip: Lateness,
    delay: Lateness,
    gaps: Lateness,
    longest_gaps: Vec<Duration>,
    answered: Vec<Duration>,
    connected: Vec<Duration>,
    open: Vec<Duration>,
    outcomes: BTreeMap<String, usize>,
}

/// How long a load went on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasted {
    /// All calls together.
    pub(super) steady: Duration,
    /// It was stopped.
    pub(super) is_stopped: bool,
}

/// Adds up what crews leave behind.
pub(super) fn report(load: &Load, lasted: Lasted, crews: Vec<Crew>) -> Report {
    let mut sum = Sum::default();
    let kernel_timestamps = crews.iter().all(|crew| crew.kernel_timestamps);
    let mut calls = Vec::with_capacity(load.calls);
    for crew in crews {
        for member in crew.members {
            calls.push(sum.take(member, crew.ended));
        }
    }
    calls.sort_by_key(|call| call.number);
    let mut total = sum.total;
    total.audio.sent_late = (&sum.sent_late).into();
    total.audio.lateness = (&sum.lateness).into();
    total.audio.gap = (&sum.gaps).into();
    total.audio.longest_gap = Spread::of(sum.longest_gaps);
    total.messages.round_trip = (&sum.round_trip).into();
    total.echo.delay = (&sum.delay).into();
    Report {
        url: load.url.clone(),
        steady: lasted.steady,
        kernel_timestamps,
        is_stopped: lasted.is_stopped,
        expects_echo: load.expects_echo,
        total,
        connect: Connect {
            post_to_answer: Spread::of(sum.answered),
            answer_to_connected: Spread::of(sum.connected),
            post_to_open: Spread::of(sum.open),
        },
        outcomes: sum.outcomes,
        calls,
    }
}

impl Sum {
    fn take(&mut self, mut member: Member, ended: Duration) -> CallReport {
        let times = member.caller.as_ref().map(|caller| caller.times).unwrap_or_default();
        let outcome = match (&mut member.caller, member.failure.take()) {
            (Some(caller), _) => caller.outcome.take(),
            (None, failure) => failure.map(Outcome::Failed),
        };
        // A load ends only after every call has settled.
        let outcome = outcome.unwrap_or(Outcome::Failed(Failure::NotConnected));
        *self.outcomes.entry(outcome.to_string()).or_default() += 1;
        let mut figures = Figures { refused_sends: member.refused_sends, ..Figures::default() };
        if let Some(caller) = &mut member.caller {
            self.add(caller, ended, &mut figures);
        }
        self.total += &figures;
        let since_post = |at| Some(at? - times.posted?);
        let (answered, open) = (since_post(times.answered), since_post(times.open));
        self.note(times, answered, open);
        let connected = since_post(times.connected);
        CallReport { number: member.number, outcome, answered, connected, open, figures }
    }

    fn note(&mut self, times: Times, answered: Option<Duration>, open: Option<Duration>) {
        self.answered.extend(answered);
        self.open.extend(open);
        if let (Some(answered), Some(connected)) = (times.answered, times.connected) {
            self.connected.push(connected - answered);
        }
    }

    fn add(&mut self, caller: &mut Caller, ended: Duration, figures: &mut Figures) {
        let arrivals = &mut caller.arrivals;
        let pacing = arrivals.end_pacing(ended);
        figures.audio = Audio {
            sent: caller.sent,
            sent_late: (&caller.sent_late).into(),
            slips: caller.slips,
            received: arrivals.received,
            expected: arrivals.expected(),
            lost: arrivals.lost(),
            duplicated: arrivals.duplicated,
            reordered: arrivals.reordered,
            lateness: Spread::default(),
            gap: Spread::default(),
            longest_gap: Spread::default(),
        };
        add(&mut self.sent_late, &caller.sent_late);
        if let Some(paced) = pacing.filter(|_| figures.audio.received > 0) {
            figures.audio.lateness = (&paced.lateness).into();
            figures.audio.gap = (&paced.gaps).into();
            figures.audio.longest_gap = Spread::of(vec![paced.longest_gap]);
            self.longest_gaps.push(paced.longest_gap);
            add(&mut self.gaps, &paced.gaps);
            add(&mut self.lateness, &paced.lateness);
        }
        let probes = &caller.probes;
        figures.messages = Messages {
            sent: probes.sent,
            returned: probes.returned,
            refused: probes.refused,
            round_trip: (&probes.round_trip).into(),
        };
        add(&mut self.round_trip, &probes.round_trip);
        if let Some(listener) = &caller.listener {
            let (echo, delay) = listener.report();
            figures.echo = echo;
            add(&mut self.delay, delay);
        }
        figures.disconnects = caller.disconnects;
    }
}

fn add(sum: &mut Lateness, more: &Lateness) {
    *sum = std::mem::take(sum) + more.clone();
}
