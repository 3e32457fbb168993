//! A loop over the endpoint with nothing around it: what every driver is measured against.
//!
//! It has the budgets of a driver, so that the suite can hold it to the same rules, and none of a
//! driver's machinery: no bells, no lanes, no inbox.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use smallrtc::signaling::{Reply, Request, Signaling};
use smallrtc::{CloseReason, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, Transmit};
use smallrtc_udp::{SocketStats, Turns};

use crate::application::{Application, carry_out, gone, hold};
use crate::subject::{Bot, Budgets, Figures, Order, Report, Subject, Ticket, Told};

/// An endpoint, its signalling and an application, and a queue of orders between them.
#[derive(Debug)]
pub struct Bare {
    endpoint: Endpoint,
    signaling: Signaling,
    application: Application,
    reports: Receiver<Report>,
    orders: VecDeque<Order>,
    turns: Turns,
    closer: Option<Ticket>,
    is_closing: bool,
    has_let_go: bool,
    is_gone: bool,
    late: Option<Order>,
    now: Instant,
}

impl Subject for Bare {
    const BUDGETS: Budgets = Budgets::new(4, 64, 16, 256);

    fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        bot: Bot,
        now: Instant,
    ) -> Bare {
        let (endpoint_seed, signaling_seed) = seed.split();
        let mut endpoint = Endpoint::new(config, endpoint_seed, now);
        for candidate in candidates {
            endpoint.add_local_candidate(*candidate);
        }
        let (told, reports) = channel();
        Bare {
            endpoint,
            signaling: Signaling::new(signaling_seed),
            application: Application::new(bot, told),
            reports,
            orders: VecDeque::new(),
            turns: Turns::new(),
            closer: None,
            is_closing: false,
            has_let_go: false,
            is_gone: false,
            late: None,
            now,
        }
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        let _ = self.endpoint.handle_datagram(datagram, now);
    }

    fn step(&mut self, now: Instant) -> bool {
        self.now = now;
        self.turns.begin(now);
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.endpoint.handle_timeout(now);
            self.signaling.handle_timeout(&mut self.endpoint, now);
        }
        self.take_orders(now);
        self.orders.extend(self.late.take());
        for _ in 0..Bare::BUDGETS.events {
            let Some((id, event)) = self.endpoint.poll_event() else { break };
            if matches!(event, Event::Closed { .. }) {
                self.signaling.session_closed(id);
            }
            self.application.on_event(id, event, &mut self.endpoint, now);
        }
        !self.orders.is_empty() || self.poll_timeout().is_some_and(|due| due <= now)
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [self.endpoint.poll_timeout(), self.signaling.poll_timeout()];
        deadlines.into_iter().flatten().min()
    }

    fn end_turn(&mut self, now: Instant) -> Option<Instant> {
        let deadline = self.poll_timeout();
        self.turns.end(deadline, now);
        deadline
    }

    fn is_finished(&self) -> bool {
        (self.is_closing || self.has_let_go) && self.endpoint.is_empty()
    }

    fn is_rung(&self) -> bool {
        !self.orders.is_empty()
    }

    fn fail(&mut self, _: Instant) {
        self.end(CloseReason::Internal);
    }

    fn drop_machine(&mut self) {
        self.end(CloseReason::Application);
        self.is_gone = true;
        while let Some(order) = self.orders.pop_front() {
            self.refuse(order);
        }
    }

    fn order(&mut self, order: Order) {
        if self.is_gone { self.refuse(order) } else { self.orders.push_back(order) }
    }

    fn order_during_step(&mut self, order: Order) {
        self.late = Some(order);
    }

    fn run_application(&mut self) {
        if self.is_finished()
            && let Some(ticket) = self.closer.take()
        {
            self.application.report(Report::Ended(ticket));
        }
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

impl Bare {
    fn take_orders(&mut self, now: Instant) {
        let (mut requests, mut calls, mut last, mut of_last) = (0, 0, None, 0);
        while let Some(order) = self.orders.front() {
            match order {
                Order::Request { .. } => requests += 1,
                Order::Command(id, ..) if last == Some(*id) => of_last += 1,
                Order::Command(id, ..) => (calls, last, of_last) = (calls + 1, Some(*id), 1),
                _ => {}
            }
            let Budgets { requests: requests_max, calls: calls_max, messages, .. } = Bare::BUDGETS;
            if requests > requests_max || calls > calls_max || of_last > messages {
                return;
            }
            if let Some(order) = self.orders.pop_front() {
                self.take(order, now);
            }
        }
    }

    fn take(&mut self, order: Order, now: Instant) {
        match order {
            Order::Request { ticket, method, path, body } => {
                let request = Request::new(method, path, &body);
                let reply = self.signaling.handle(&mut self.endpoint, request, now);
                let Reply::Now(response) = reply else { panic!("nothing has to be gathered") };
                while let Some(call) = self.signaling.poll_call() {
                    self.application.on_call(&call);
                    if let Some(mut session) = self.endpoint.session(call.id) {
                        session.start(now);
                    }
                }
                self.application.report(Report::Answer(ticket, response));
            }
            Order::Command(id, ticket, command) => {
                let outcome = carry_out(id, command, &mut self.endpoint, now);
                if let Some(ticket) = ticket {
                    self.application.report(Report::Told(id, Told::Done(ticket, outcome)));
                }
            }
            Order::Hold(id, held) => hold(id, held, &mut self.endpoint),
            Order::Close(ticket) => {
                (self.is_closing, self.closer) = (true, Some(ticket));
                self.endpoint.close(now);
            }
            Order::Figures(ticket) => {
                let lateness = self.turns.lateness().clone();
                let figures = Figures::new(self.endpoint.len(), SocketStats::default(), lateness);
                self.application.report(Report::Figures(ticket, figures));
            }
            Order::LetGo => self.has_let_go = true,
        }
    }

    fn end(&mut self, reason: CloseReason) {
        for id in self.application.calls() {
            let closed = Event::Closed { reason };
            // The application is told, and can do nothing any more.
            self.application.on_event(id, closed, &mut self.endpoint, self.now);
        }
    }

    fn refuse(&mut self, order: Order) {
        match order {
            Order::Request { ticket, .. } => {
                let gone = smallrtc::signaling::Response::unavailable("the loop is gone");
                self.application.report(Report::Answer(ticket, gone));
            }
            Order::Command(id, Some(ticket), command) => {
                let done = Told::Done(ticket, gone(&command));
                self.application.report(Report::Told(id, done));
            }
            Order::Close(ticket) => self.application.report(Report::Ended(ticket)),
            _ => {}
        }
    }
}
