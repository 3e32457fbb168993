//! The smol driver's machine as a subject: its application is futures, polled by hand.
//!
//! One task accepts, one reads each call, and each order is one more, so that orders of several
//! kinds wait beside each other as tasks of a real application do. All run on an executor of one
//! thread that only [`Subject::run_application`] turns, in the order in which they were woken.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use smallrtc::{
    AudioFrame, Config, Datagram, LocalCandidate, Seed, SendError, SessionId, Transmit,
};
use smallrtc_smol::{
    BELLS_BUDGET, EVENTS_BUDGET, Handle, LANE_BUDGET, Machine, Peer, PeerSender, REQUESTS_BUDGET,
    Received, Step,
};
use smol::{LocalExecutor, Task};

use crate::application::gone;
use crate::subject::{
    Bot, Budgets, Command, Figures, Mind, Order, Outcome, RATE, Report, Subject, Ticket, Told,
};

/// A [`Machine`] and tasks that use its handle.
pub struct Smol {
    machine: Option<Machine>,
    tasks: Tasks,
    executor: Rc<LocalExecutor<'static>>,
    reports: Receiver<Report>,
    late: Option<Waiting>,
}

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Smol({:?})", self.machine)
    }
}

impl Subject for Smol {
    const BUDGETS: Budgets =
        Budgets::new(REQUESTS_BUDGET, BELLS_BUDGET, LANE_BUDGET, EVENTS_BUDGET);

    fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        bot: Bot,
        now: Instant,
    ) -> Smol {
        let (machine, handle) = Machine::new(config, seed, candidates, now);
        let executor = Rc::new(LocalExecutor::new());
        let (told, reports) = channel();
        let tasks = Tasks::new(handle, bot, Rc::clone(&executor), told);
        let mut smol = Smol { machine: Some(machine), tasks, executor, reports, late: None };
        smol.run_application();
        smol
    }

    fn handle_datagram(&mut self, datagram: Datagram, now: Instant) {
        self.machine().handle_datagram(datagram, now);
    }

    fn step(&mut self, now: Instant) -> bool {
        let more = self.machine().step(now) == Step::More;
        self.take_late();
        more
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
        self.machine.as_ref().is_some_and(Machine::is_rung)
    }

    fn fail(&mut self, _: Instant) {
        self.machine().fail();
    }

    fn drop_machine(&mut self) {
        self.machine = None;
    }

    fn order(&mut self, order: Order) {
        self.tasks.order(order);
    }

    fn order_during_step(&mut self, order: Order) {
        let Order::Command(id, ticket, Command::Message(message)) = order else {
            panic!("a message is what this is for");
        };
        let sender = self.tasks.sender(id).expect("a call that goes on");
        let asked = sender.clone();
        let sending = async move { sender.send_message(message).await };
        let sending: Mutex<Option<Sending>> = Mutex::new(Some(Box::pin(sending)));
        let late = Arc::new(Late { sending, is_woken: AtomicBool::new(false) });
        // The machine answers this within its step, when it has looked at the messages of the call
        // already, and so wakes whoever waits for it.
        let asking = async move {
            // Long, so that its end does not have the machine look again.
            let _ = asked.send_audio(AudioFrame::mono(&[0; RATE as usize], RATE)).await;
        };
        let mut asking: Pin<Box<dyn Future<Output = ()>>> = Box::pin(asking);
        let waker = Waker::from(Arc::clone(&late));
        let asked = asking.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(asked.is_pending(), "nobody has answered yet");
        self.late = Some((asking, late, id, ticket));
    }

    fn run_application(&mut self) {
        while self.executor.try_tick() {}
    }

    fn poll_report(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }
}

/// A task that waits for an answer, what it does when it is woken, and who is to be told.
type Waiting = (Pin<Box<dyn Future<Output = ()>>>, Arc<Late>, SessionId, Option<Ticket>);

type Sending = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

/// Sends a message, for the first time at the moment at which it is woken.
struct Late {
    sending: Mutex<Option<Sending>>,
    is_woken: AtomicBool,
}

impl Wake for Late {
    fn wake(self: Arc<Late>) {
        self.is_woken.store(true, Ordering::SeqCst);
        let mut sending = self.sending.lock().expect(UNPOISONED);
        if let Some(sending) = sending.as_mut() {
            let _ = sending.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl Smol {
    /// Has the executor wait for what was put down within a step.
    fn take_late(&mut self) {
        let Some((asking, late, id, ticket)) = self.late.take() else { return };
        let sending = late.sending.lock().expect(UNPOISONED).take();
        drop(asking);
        let (Some(sending), true) = (sending, late.is_woken.load(Ordering::SeqCst)) else {
            panic!("the step answered nobody");
        };
        self.tasks.spawn(move |desk| async move {
            let outcome = Outcome::Sent(sending.await);
            if let Some(ticket) = ticket {
                desk.report(Report::Told(id, Told::Done(ticket, outcome)));
            }
        });
    }

    fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("a machine that was dropped is not driven")
    }
}

/// The application: tasks of one executor, on whatever thread turns it.
#[derive(Debug)]
pub(crate) struct Tasks {
    handle: Option<Handle>,
    accepting: Option<Task<()>>,
    executor: Rc<LocalExecutor<'static>>,
    desk: Rc<Desk>,
}

/// The sending halves of the calls that go on, for whichever thread wants to speak.
pub(crate) type Senders = Arc<Mutex<BTreeMap<SessionId, PeerSender>>>;

/// Why a lock is there to be taken.
pub(crate) const UNPOISONED: &str = "nobody panics with it in hand";

/// What tasks share.
#[derive(Debug)]
struct Desk {
    bot: Bot,
    reports: Sender<Report>,
    senders: Senders,
    /// Calls that are not read, and how their reader is told to go on.
    gates: RefCell<BTreeMap<SessionId, smol::channel::Receiver<()>>>,
    /// Dropped to open a gate.
    holders: RefCell<BTreeMap<SessionId, smol::channel::Sender<()>>>,
}

impl Tasks {
    pub(crate) fn new(
        handle: Handle,
        bot: Bot,
        executor: Rc<LocalExecutor<'static>>,
        reports: Sender<Report>,
    ) -> Tasks {
        let desk = Rc::new(Desk {
            bot,
            reports,
            senders: Senders::default(),
            gates: RefCell::default(),
            holders: RefCell::default(),
        });
        let (calls, spawner, of_calls) = (handle.clone(), Rc::downgrade(&executor), desk.clone());
        // The executor owns its tasks, and so none of them owns the executor.
        let accepting = executor.spawn(async move {
            while let Some(peer) = calls.accept().await {
                let Some(executor) = spawner.upgrade() else { return };
                executor.spawn(read(peer, of_calls.clone())).detach();
            }
        });
        Tasks { handle: Some(handle), accepting: Some(accepting), executor, desk }
    }

    /// The sending halves, for other threads.
    pub(crate) fn senders(&self) -> Senders {
        Arc::clone(&self.desk.senders)
    }

    pub(crate) fn order(&mut self, order: Order) {
        match order {
            Order::Request { ticket, method, path, body } => {
                let Some(handle) = self.handle.clone() else { return };
                self.spawn(move |desk| async move {
                    let response = handle.request(method, path, &body).await;
                    desk.report(Report::Answer(ticket, response));
                });
            }
            Order::Command(id, ticket, command) => {
                let carried = carry_out(Rc::clone(&self.desk), id, ticket, command);
                self.executor.spawn(carried).detach();
            }
            Order::Hold(id, true) => {
                let (holder, gate) = smol::channel::bounded(1);
                self.desk.gates.borrow_mut().insert(id, gate);
                self.desk.holders.borrow_mut().insert(id, holder);
            }
            Order::Hold(id, false) => {
                self.desk.gates.borrow_mut().remove(&id);
                self.desk.holders.borrow_mut().remove(&id);
            }
            Order::Close(ticket) => {
                let Some(handle) = self.handle.clone() else { return };
                self.spawn(move |desk| async move {
                    handle.close().await;
                    desk.report(Report::Ended(ticket));
                });
            }
            Order::Figures(ticket) => {
                let Some(handle) = self.handle.clone() else { return };
                self.spawn(move |desk| async move {
                    let Some(stats) = handle.stats().await else { return };
                    let figures = Figures::new(stats.sessions, stats.sockets, stats.lateness);
                    desk.report(Report::Figures(ticket, figures));
                });
            }
            Order::LetGo => (self.handle, self.accepting) = (None, None),
        }
    }

    fn sender(&self, id: SessionId) -> Option<PeerSender> {
        self.desk.senders.lock().expect(UNPOISONED).get(&id).cloned()
    }

    fn spawn<F: Future<Output = ()> + 'static>(&self, task: impl FnOnce(Rc<Desk>) -> F) {
        self.executor.spawn(task(Rc::clone(&self.desk))).detach();
    }
}

/// Takes the thread for so long.
#[expect(clippy::disallowed_methods, reason = "it is what the suite wants: a driver that is late")]
pub(crate) fn block(duration: std::time::Duration) {
    std::thread::sleep(duration);
}

impl Desk {
    fn report(&self, report: Report) {
        // The suite may have gone.
        let _ = self.reports.send(report);
    }
}

/// Reads a call to its end. What the bot does by itself it does here, one thing after another.
async fn read(mut peer: Peer, desk: Rc<Desk>) {
    let id = peer.id();
    let mut mind = Mind::new(desk.bot);
    desk.senders.lock().expect(UNPOISONED).insert(id, peer.sender().clone());
    desk.report(Report::Told(id, Told::Called { pc_id: peer.pc_id().to_owned() }));
    while let Some(received) = peer.recv().await {
        let gate = desk.gates.borrow().get(&id).cloned();
        if let Some(gate) = gate {
            // Ends when the holder is dropped.
            let _ = gate.recv().await;
        }
        let Some(told) = told(received) else { continue };
        let commands = mind.react(&told);
        if matches!(told, Told::Closed(_)) {
            desk.senders.lock().expect(UNPOISONED).remove(&id);
        }
        desk.report(Report::Told(id, told));
        for command in commands {
            carry_out(Rc::clone(&desk), id, None, command).await;
        }
    }
}

fn told(received: Received) -> Option<Told> {
    Some(match received {
        Received::Audio(block) => {
            Told::Audio { samples: block.samples, rate: block.rate, channels: block.channels }
        }
        Received::Message(message) => Told::Message(message),
        Received::Event(event) => Told::Event(event),
        Received::Closed(reason) => Told::Closed(reason),
        _ => return None,
    })
}

async fn carry_out(desk: Rc<Desk>, id: SessionId, ticket: Option<Ticket>, command: Command) {
    let sender = desk.senders.lock().expect(UNPOISONED).get(&id).cloned();
    let outcome = match (sender, command) {
        (None, command) => gone(&command),
        (Some(sender), Command::Audio(samples)) => {
            let sent = sender.send_audio(AudioFrame::mono(&samples, RATE)).await;
            Outcome::Sent(sent.map(|_| ()))
        }
        (Some(sender), Command::Message(message)) => {
            Outcome::Sent(sender.send_message(message).await)
        }
        (Some(sender), Command::Clear) => Outcome::Cleared(sender.clear_audio().await),
        (Some(sender), Command::Pause) => {
            sender.pause_audio().await;
            Outcome::Told
        }
        (Some(sender), Command::Resume) => {
            sender.resume_audio().await;
            Outcome::Told
        }
        (Some(sender), Command::Close) => {
            sender.close().await;
            Outcome::Closing
        }
    };
    if let Some(ticket) = ticket {
        desk.report(Report::Told(id, Told::Done(ticket, outcome)));
    }
}
