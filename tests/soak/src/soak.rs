//! Rounds on all cores until the time is over, and what is told of them.

use std::cell::RefCell;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::tasks::Task;

/// Resident memory, in bytes. 2 GiB: a round keeps what its few calls said, some tens of MiB a
/// worker; what grows with the hours is a leak.
pub(crate) const MEMORY_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// The longest round. Ten minutes: the longest were seconds on a busy machine, and shrinking a
/// finding takes a few hundred calls more.
pub(crate) const ROUND_MAX: Duration = Duration::from_secs(600);

/// Findings that are told. 100: many seeds find the same fault, and who reads has enough.
pub(crate) const FINDINGS_MAX: usize = 100;

/// How often is told what was done.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How often the supervisor looks, when no round ends.
const WATCHED_EVERY: Duration = Duration::from_millis(500);

/// How much is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) duration: Duration,
    pub(crate) first_seed: u64,
    pub(crate) workers: usize,
    pub(crate) rounds_max: u64,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) rounds: Vec<u64>,
    pub(crate) call_time: Duration,
    pub(crate) findings: usize,
}

/// What a worker tells.
enum Told {
    Begins { worker: usize, task: usize, seed: u64 },
    Ends { worker: usize, lasted: Duration },
    Fails { worker: usize, cause: String },
}

thread_local! {
    /// Where the last panic of this thread was, and what it said.
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs rounds, and writes what there is to tell. Every task is given every seed of its turn: seeds
/// and tasks go on together, so that all seeds are fresh.
///
/// # Panics
/// When a thread cannot be started.
pub(crate) fn run(plan: &Plan, tasks: &'static [Task], out: &mut impl Write) -> Total {
    quiet_panics();
    let (sender, receiver) = mpsc::channel();
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let shared = std::sync::Arc::new((next, is_over));
    for worker in 0..plan.workers {
        let (shared, sender, plan) = (shared.clone(), sender.clone(), *plan);
        let work = move || work(worker, &plan, tasks, &shared, &sender);
        let thread = thread::Builder::new().name(WORKER.to_owned());
        thread.spawn(work).expect("the system starts as many threads as cores");
    }
    drop(sender);
    let mut watch = Watch::new(plan, tasks);
    watch.tell(out, &format!("seeds from {} on, {} workers", plan.first_seed, plan.workers));
    watch.listen(&receiver, &shared.1, out);
    watch.tell(out, &watch.summary("end"));
    watch.total
}

/// What the threads of workers are called.
const WORKER: &str = "soak";

/// Panics of workers are findings, which are told once and in order; while one is shrunk there are
/// hundreds.
fn quiet_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some(WORKER) {
            usual(info);
            return;
        }
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without words");
        let place = info.location().map_or_else(String::new, ToString::to_string);
        LAST_PANIC.with_borrow_mut(|last| *last = format!("{place}: {text}"));
    }));
}

fn work(
    worker: usize,
    plan: &Plan,
    tasks: &[Task],
    (next, is_over): &(AtomicU64, AtomicBool),
    sender: &Sender<Told>,
) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.rounds_max || is_over.load(Ordering::Relaxed) {
            return;
        }
        let task = usize::try_from(number % tasks.len() as u64).expect("fewer tasks than that");
        let seed = plan.first_seed.wrapping_add(number);
        let round = || (tasks[task].round)(seed);
        // Nobody listens any more when the supervisor has given up.
        if sender.send(Told::Begins { worker, task, seed }).is_err() {
            return;
        }
        let told = match panic::catch_unwind(AssertUnwindSafe(round)) {
            Ok(lasted) => Told::Ends { worker, lasted },
            Err(_) => Told::Fails { worker, cause: LAST_PANIC.take() },
        };
        if sender.send(told).is_err() {
            return;
        }
    }
}

/// What the supervisor knows.
struct Watch<'a> {
    plan: &'a Plan,
    tasks: &'a [Task],
    began: Instant,
    told: Instant,
    /// What each worker does, and since when.
    rounds: Vec<Option<(usize, u64, Instant)>>,
    total: Total,
}

impl<'a> Watch<'a> {
    fn new(plan: &'a Plan, tasks: &'a [Task]) -> Watch<'a> {
        let now = Instant::now();
        let total = Total { rounds: vec![0; tasks.len()], ..Total::default() };
        let rounds = vec![None; plan.workers];
        Watch { plan, tasks, began: now, told: now, rounds, total }
    }

    /// Listens until all workers have ended, or something never does.
    fn listen(&mut self, receiver: &Receiver<Told>, is_over: &AtomicBool, out: &mut impl Write) {
        loop {
            match receiver.recv_timeout(WATCHED_EVERY) {
                Ok(told) => self.hear(told, out),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.began.elapsed() >= self.plan.duration || self.total.findings >= FINDINGS_MAX {
                is_over.store(true, Ordering::Relaxed);
            }
            if self.has_stuck(out) || self.has_grown(resident_bytes(), out) {
                return;
            }
            if self.told.elapsed() >= TOLD_EVERY {
                self.told = Instant::now();
                self.tell(out, &self.summary("so far"));
            }
        }
    }

    fn hear(&mut self, told: Told, out: &mut impl Write) {
        match told {
            Told::Begins { worker, task, seed } => {
                self.rounds[worker] = Some((task, seed, Instant::now()));
            }
            Told::Ends { worker, lasted } => {
                self.total.call_time += lasted;
                self.end_round(worker);
            }
            Told::Fails { worker, cause } => {
                if let Some((task, seed)) = self.end_round(worker) {
                    self.find(out, task, seed, &cause);
                }
            }
        }
    }

    fn end_round(&mut self, worker: usize) -> Option<(usize, u64)> {
        let (task, seed, _) = self.rounds[worker].take()?;
        self.total.rounds[task] += 1;
        Some((task, seed))
    }

    fn find(&mut self, out: &mut impl Write, task: usize, seed: u64, cause: &str) {
        let Task { name, replay, .. } = self.tasks[task];
        self.total.findings += 1;
        let replay = replay.replacen("=SEED ", &format!("={seed} "), 1);
        self.tell(out, &format!("FINDING {name}, seed {seed}: {cause}\nreplay: {replay}"));
    }

    /// A round that does not end is a finding, and its worker is never heard of again.
    fn has_stuck(&mut self, out: &mut impl Write) -> bool {
        let stuck = self.rounds.iter().flatten().find(|(.., since)| since.elapsed() > ROUND_MAX);
        let Some((task, seed, _)) = stuck.copied() else { return false };
        self.find(out, task, seed, &format!("does not end within {ROUND_MAX:?}"));
        true
    }

    fn has_grown(&mut self, bytes: u64, out: &mut impl Write) -> bool {
        if bytes <= MEMORY_MAX {
            return false;
        }
        self.total.findings += 1;
        let running = self.rounds.iter().flatten();
        let running: Vec<_> =
            running.map(|(task, seed, _)| format!("{} {seed}", self.tasks[*task].name)).collect();
        let (mib, running) = (bytes / 1024 / 1024, running.join(", "));
        self.tell(out, &format!("FINDING memory: {mib} MiB are resident during {running}"));
        true
    }

    fn summary(&self, when: &str) -> String {
        let Total { rounds, call_time, findings } = &self.total;
        let of_tasks: Vec<_> = self
            .tasks
            .iter()
            .zip(rounds)
            .map(|(task, rounds)| format!("{} {rounds}", task.name))
            .collect();
        format!(
            "{when}: {:.0} call-minutes, {} seeds ({}), {findings} findings, {} MiB, {:.0} s",
            call_time.as_secs_f64() / 60.0,
            rounds.iter().sum::<u64>(),
            of_tasks.join(", "),
            resident_bytes() / 1024 / 1024,
            self.began.elapsed().as_secs_f64(),
        )
    }

    /// What nobody reads any more is no reason to stop: the exit code tells.
    fn tell(&self, out: &mut impl Write, text: &str) {
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }
}

/// What this process holds in memory, in bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn plan(rounds_max: u64) -> Plan {
        Plan { duration: Duration::from_secs(300), first_seed: 100, workers: 2, rounds_max }
    }

    const PLANTED: &[Task] = &[
        Task { name: "sound", round: |_| Duration::from_secs(90), replay: "SEED=SEED run it" },
        Task {
            name: "planted",
            round: |seed| {
                assert_ne!(seed % 10, 3, "threes are evil");
                Duration::ZERO
            },
            replay: "SMALLRTC_SEED=SEED cargo test planted",
        },
    ];

    const ALL_FAIL: &[Task] =
        &[Task { name: "broken", round: |_| panic!("always"), replay: "SMALLRTC_SEED=SEED again" }];

    fn told(plan: &Plan, tasks: &'static [Task]) -> (Total, String) {
        let mut out = Vec::new();
        let total = run(plan, tasks, &mut out);
        (total, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_finding_is_told_with_its_seed_and_the_line_that_runs_it_again() {
        let (total, text) = told(&plan(20), PLANTED);
        assert_eq!(total.rounds, [10, 10]);
        assert_eq!(total.call_time, Duration::from_secs(900));
        assert_eq!(total.findings, 2, "seeds 103 and 113");
        assert!(text.contains("FINDING planted, seed 103: "), "{text}");
        assert!(text.contains("soak.rs") && text.contains("threes are evil"), "{text}");
        assert!(text.contains("replay: SMALLRTC_SEED=113 cargo test planted\n"), "{text}");
        assert!(text.contains("end: 15 call-minutes, 20 seeds (sound 10, planted 10), 2 findings"));
    }

    #[test]
    fn nothing_found_is_nothing_told_and_time_ends_it() {
        let short = Plan { duration: Duration::ZERO, ..plan(u64::MAX) };
        let (total, text) = told(&short, &PLANTED[..1]);
        assert_eq!(total.findings, 0);
        assert!(!text.contains("FINDING") && text.contains(" 0 findings"), "{text}");
    }

    #[test]
    fn a_hundred_findings_are_enough() {
        let (total, _) = told(&plan(FINDINGS_MAX as u64 - 1), ALL_FAIL);
        assert_eq!(total.findings, FINDINGS_MAX - 1);
        // Rounds that are on their way when the limit is reached are told still.
        let (total, _) = told(&Plan { workers: 1, ..plan(u64::MAX) }, ALL_FAIL);
        assert!(total.findings >= FINDINGS_MAX, "{}", total.findings);
    }

    #[test]
    fn memory_at_the_limit_is_well_and_one_byte_more_is_a_finding() {
        let plan = plan(0);
        let (mut watch, mut out) = (Watch::new(&plan, PLANTED), Vec::new());
        assert!(!watch.has_grown(MEMORY_MAX, &mut out));
        assert!(watch.has_grown(MEMORY_MAX + 1, &mut out));
        assert_eq!(watch.total.findings, 1);
        assert!(String::from_utf8(out).unwrap().contains("FINDING memory: 2048 MiB"));
    }

    #[test]
    fn a_round_at_its_limit_goes_on_and_one_past_it_is_a_finding() {
        let plan = plan(0);
        let (mut watch, mut out) = (Watch::new(&plan, PLANTED), Vec::new());
        let now = Instant::now();
        watch.rounds[0] = Some((1, 42, now - ROUND_MAX + Duration::from_secs(5)));
        assert!(!watch.has_stuck(&mut out));
        watch.rounds[0] = Some((1, 42, now - ROUND_MAX - Duration::from_millis(1)));
        assert!(watch.has_stuck(&mut out));
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("FINDING planted, seed 42: does not end"), "{text}");
    }

    #[test]
    fn the_memory_that_is_told_is_some() {
        assert!(!cfg!(target_os = "linux") || resident_bytes() > 100_000);
    }
}
