//! The mio driver's machine as a subject: its application is called back, and other threads reach
//! it through a handle.
//!
//! Everything is put down through the handle without waiting, on the suite's own thread, so that a
//! run is one order of events. What only a thread that waits can ask for (figures, the end) is
//! asked by a thread, which is waited for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use smallrtc::signaling::{Call, Response};
use smallrtc::{
    CloseReason, Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, Transmit,
};
use smallrtc_mio::{
    App, COMMANDS_BUDGET, EVENTS_BUDGET, Handle, Machine, PostError, REQUESTS_BUDGET, Step,
};

use crate::application::{Application, carry_out, gone, hold};
use crate::subject::{
    Bot, Budgets, Command, Figures, Order, Outcome, Report, Subject, Ticket, Told,
};

/// A [`Machine`] and a handle to it.
pub struct Mio {
    machine: Option<Machine<Called>>,
    handle: Option<Handle>,
    rung: Arc<AtomicBool>,
    told: Sender<Report>,
    reports: Receiver<Report>,
    answers: Vec<(Ticket, Receiver<Response>)>,
    /// Threads that ask and wait for the next step.
    asking: Vec<JoinHandle<()>>,
    /// Threads that wait for the end.
    closing: Vec<JoinHandle<()>>,
    now: Instant,
}

impl fmt::Debug for Mio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mio({:?})", self.machine)
    }
}

/// The application as the driver knows it. When it is dropped its calls have ended.
#[derive(Debug)]
pub(crate) struct Called {
    application: Application,
    /// Put down at the next deadline, which is at once.
    late: Option<(Handle, Order, Instant)>,
}

impl Called {
    pub(crate) fn new(bot: Bot, told: Sender<Report>) -> Called {
        Called { application: Application::new(bot, told), late: None }
    }
}

impl App for Called {
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        self.application.on_call(&call);
        if let Some(mut session) = endpoint.session(call.id) {
            session.start(now);
        }
    }

    fn on_event(&mut self, id: SessionId, event: Event, endpoint: &mut Endpoint, now: Instant) {
        self.application.on_event(id, event, endpoint, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.late.as_ref().map(|(.., at)| *at)
    }

    fn handle_timeout(&mut self, _: &mut Endpoint, _: Instant) {
        if let Some((handle, Order::Command(id, ticket, command), _)) = self.late.take() {
            let promise = Promise::new(self.application.teller(), id, ticket, &command);
            post(&handle, move |endpoint, now| {
                promise.keep(carry_out(id, command, endpoint, now));
            });
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        // An application that is dropped before a call was told its end knows it by that.
        for id in self.application.calls() {
            let closed = Told::Closed(CloseReason::Application);
            self.application.report(Report::Told(id, closed));
        }
    }
}

impl Subject for Mio {
    const BUDGETS: Budgets =
        Budgets::new(REQUESTS_BUDGET, COMMANDS_BUDGET, COMMANDS_BUDGET, EVENTS_BUDGET);

    fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        bot: Bot,
        now: Instant,
    ) -> Mio {
        let (told, reports) = channel();
        let app = Called::new(bot, told.clone());
        let (machine, handle) = Machine::new(config, seed, candidates, app, now);
        let rung = Arc::new(AtomicBool::new(false));
        let rings = Arc::clone(&rung);
        machine.wake_with(move || rings.store(true, Ordering::SeqCst));
        Mio {
            machine: Some(machine),
            handle: Some(handle),
            rung,
            told,
            reports,
            answers: Vec::new(),
            asking: Vec::new(),
            closing: Vec::new(),
            now,
        }
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        self.machine().handle_datagram(datagram, now);
    }

    fn step(&mut self, now: Instant) -> bool {
        // The wake-up is consumed when the wait ends, before the turn.
        self.rung.store(false, Ordering::SeqCst);
        self.now = now;
        self.machine().step(now) == Step::More
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.machine().poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine.as_ref().and_then(Machine::poll_timeout)
    }

    fn end_turn(&mut self, now: Instant) -> Option<Instant> {
        self.machine().end_turn(now)
    }

    fn is_finished(&self) -> bool {
        self.machine.as_ref().is_none_or(Machine::is_finished)
    }

    fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    fn fail(&mut self, now: Instant) {
        self.machine().fail(now);
    }

    fn drop_machine(&mut self) {
        self.machine = None;
    }

    fn order(&mut self, order: Order) {
        self.put(order);
    }

    fn order_during_step(&mut self, order: Order) {
        let handle = self.handle.clone().expect("a handle");
        // The next step finds the application's time come, after it looked at the commands.
        let at = self.now;
        self.machine().app_mut().late = Some((handle, order, at));
    }

    fn run_application(&mut self) {
        if !self.is_rung() {
            for asked in self.asking.drain(..) {
                asked.join().expect("it only asks");
            }
        }
        if self.machine.is_none() {
            for closed in self.closing.drain(..) {
                closed.join().expect("it only closes");
            }
        }
        let told = &self.told;
        self.answers.retain(|(ticket, answer)| {
            let response = match answer.try_recv() {
                Ok(response) => response,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(_) => Response::unavailable("the driver is gone"),
            };
            told.send(Report::Answer(*ticket, response)).expect("this side receives");
            false
        });
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

impl Mio {
    fn machine(&mut self) -> &mut Machine<Called> {
        self.machine.as_mut().expect("a machine that was dropped is not driven")
    }

    /// Puts an order down. There is room: no test of the suite orders more than a queue's length
    /// between two steps.
    fn put(&mut self, order: Order) {
        let Some(handle) = self.handle.clone() else { return };
        match order {
            Order::Request { ticket, method, path, body } => {
                match handle.try_request(method, path, &body) {
                    Ok(answer) => self.answers.push((ticket, answer)),
                    Err(error) => {
                        assert_eq!(error, PostError::Gone, "there is room");
                        let gone = Response::unavailable("the driver is gone");
                        self.told.send(Report::Answer(ticket, gone)).expect("this side receives");
                    }
                }
            }
            Order::Command(id, ticket, command) => {
                let promise = Promise::new(self.told.clone(), id, ticket, &command);
                post(&handle, move |endpoint, now| {
                    promise.keep(carry_out(id, command, endpoint, now));
                });
            }
            Order::Hold(id, held) => post(&handle, move |endpoint, _| hold(id, held, endpoint)),
            Order::Figures(ticket) => self.ask(ticket, handle),
            Order::Close(ticket) => self.close(ticket, handle),
            Order::LetGo => self.handle = None,
        }
    }

    fn ask(&mut self, ticket: Ticket, handle: Handle) {
        let told = self.told.clone();
        self.asking.push(thread::spawn(move || {
            if let Some(stats) = handle.stats() {
                let figures = Figures::new(stats.sessions, stats.sockets, stats.lateness);
                told.send(Report::Figures(ticket, figures)).expect("this side receives");
            }
        }));
        self.wait_for_ring();
    }

    fn close(&mut self, ticket: Ticket, handle: Handle) {
        let told = self.told.clone();
        let closing = thread::spawn(move || {
            handle.close();
            // Only the end of this is waited for.
            let _ = told.send(Report::Ended(ticket));
        });
        if self.machine.is_some() {
            self.closing.push(closing);
            self.wait_for_ring();
        } else {
            closing.join().expect("it only closes");
        }
    }

    /// The thread that was started has put down what it asks for. Nothing else was put down since
    /// the last step, or this could not be told.
    fn wait_for_ring(&self) {
        let give_up = Instant::now() + crate::sockets::PATIENCE;
        while !self.is_rung() {
            assert!(Instant::now() < give_up, "nobody rings");
            thread::yield_now();
        }
    }
}

/// Leaves something to the machine, or drops it when the machine is gone.
fn post(handle: &Handle, task: impl FnOnce(&mut Endpoint, Instant) + Send + 'static) {
    if let Err(error) = handle.try_post(task) {
        assert_eq!(error, PostError::Gone, "there is room");
    }
}

/// Reports what became of a command when it is dropped: of one that nobody takes any more, that it
/// was refused.
struct Promise {
    told: Sender<Report>,
    id: SessionId,
    ticket: Option<Ticket>,
    outcome: Outcome,
}

impl Promise {
    fn new(
        told: Sender<Report>,
        id: SessionId,
        ticket: Option<Ticket>,
        command: &Command,
    ) -> Promise {
        Promise { told, id, ticket, outcome: gone(command) }
    }

    fn keep(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let done = Told::Done(ticket, self.outcome.clone());
            // The suite may have gone.
            let _ = self.told.send(Report::Told(self.id, done));
        }
    }
}
