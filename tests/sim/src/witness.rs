//! Whether scenarios repeat: what every trace of a process comes to, for another process to
//! compare with, and what a scenario does when it runs a second time in the same process.
//!
//! Every pair and every world leaves its trace here when it ends, so no scenario has to be listed.
//! Nothing is kept and nothing is written unless the environment asks for it:
//!
//! | variable | what it asks for |
//! | --- | --- |
//! | `SMALLRTC_TRACES` | a file to which each trace adds a line: the thread's name, which is the test's, the trace's number in it, and how much it noted with a digest of that, or `local` |
//! | `SMALLRTC_TWICE` | that [`twice`] runs its scenario twice, compares, and adds a line to that file: the test's name, `twice`, and how many traces were equal |
//!
//! A trace is `local` when it is of a call with video and gaps on the real wire: there the engine
//! measures round trips through a pair of clocks that it reads once in a process.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;
use std::{env, fmt, mem, thread};

const TRACES_VARIABLE: &str = "SMALLRTC_TRACES";

const TWICE_VARIABLE: &str = "SMALLRTC_TWICE";

/// Whether a run on this thread is compared with another, here or in another process.
pub(crate) fn is_asked() -> bool {
    let is_here = |scene: &RefCell<Scene>| !matches!(scene.borrow().run, Run::Only);
    file().is_some() || SCENE.try_with(is_here).unwrap_or(false)
}

fn is_twice() -> bool {
    static IS_TWICE: OnceLock<bool> = OnceLock::new();
    *IS_TWICE.get_or_init(|| env::var_os(TWICE_VARIABLE).is_some())
}

fn file() -> Option<&'static File> {
    static FILE: OnceLock<Option<File>> = OnceLock::new();
    let open = || {
        let name = env::var_os(TRACES_VARIABLE)?;
        let file = OpenOptions::new().create(true).append(true).open(&name);
        Some(file.unwrap_or_else(|error| panic!("{TRACES_VARIABLE} {}: {error}", name.display())))
    };
    FILE.get_or_init(open).as_ref()
}

/// FNV-1a of what a trace was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let fold =
            |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, fold);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// What a trace came to.
#[derive(Debug)]
struct Seen {
    noted: u64,
    digest: u64,
    lines: Vec<String>,
    is_local: bool,
}

/// The scenario of this thread.
#[derive(Debug, Default)]
struct Scene {
    traces: usize,
    run: Run,
}

#[derive(Debug, Default)]
enum Run {
    /// The only one in this process.
    #[default]
    Only,
    First(Vec<Seen>),
    /// What the first one left, and what was found to differ first.
    Second(Vec<Seen>, Option<String>),
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::default();
}

/// A pair or a world has ended: how much its trace noted, the digest of that, and the lines that
/// it kept.
pub(crate) fn ended(noted: u64, digest: u64, lines: Vec<String>, is_local: bool) {
    let seen = Seen { noted, digest, lines, is_local };
    // A thread that ends may have lost its scene already; then nobody waits for its traces.
    let _ = SCENE.try_with(|scene| scene.borrow_mut().take(seen));
}

impl Scene {
    fn take(&mut self, seen: Seen) {
        let number = self.traces;
        self.traces += 1;
        match &mut self.run {
            Run::Only => tell(number, &seen),
            Run::First(kept) => {
                tell(number, &seen);
                kept.push(seen);
            }
            Run::Second(kept, difference) => {
                if difference.is_none() {
                    *difference = differ(number, kept.get(number), &seen);
                }
            }
        }
    }
}

fn differ(number: usize, first: Option<&Seen>, second: &Seen) -> Option<String> {
    let Some(first) = first else { return Some(format!("trace {number} is one more")) };
    if (first.noted, first.digest) == (second.noted, second.digest) {
        return None;
    }
    let ends = ["(the end)".to_owned()];
    let both = |seen: &Seen| seen.lines.iter().chain(&ends).cloned().collect::<Vec<_>>();
    let (left, right) = (both(first), both(second));
    let at = left.iter().zip(&right).position(|(left, right)| left != right);
    let shown = at.map_or_else(
        || "its lines were not kept".to_owned(),
        |at| format!("line {at}:\n  {}\n  {}", left[at], right[at]),
    );
    Some(format!("trace {number}: {shown}"))
}

fn tell(number: usize, seen: &Seen) {
    let what = match seen.is_local {
        true => "local".to_owned(),
        false => format!("{}\t{:016x}", seen.noted, seen.digest),
    };
    write(&format!("{number}\t{what}"));
}

/// Adds a line under the test's name.
fn write(text: &str) {
    let Some(mut file) = file() else { return };
    let thread = thread::current();
    let name = thread.name().unwrap_or("a thread without a name");
    let line = format!("{name}\t{text}\n");
    // One call, so that lines of different threads do not mix.
    file.write_all(line.as_bytes()).expect("traces can be written");
}

/// Runs a scenario, and when the environment names `SMALLRTC_TWICE`, a second time: then every
/// [`Pair`](crate::Pair) and [`World`](crate::World) of it must leave the trace that it left
/// before. A scenario that ends with a panic ends with the same one.
///
/// The simulator's own tests all go through here, by an attribute.
///
/// ```
/// smallrtc_sim::twice(|| {
///     let mut pair = smallrtc_sim::Pair::new(smallrtc_sim::Setup::new(
///         smallrtc_sim::Kind::Scripted,
///         1,
///     ));
///     pair.connect();
/// });
/// ```
///
/// # Panics
/// When the scenario does, and when the second run is another than the first.
pub fn twice(scenario: impl FnMut()) {
    run(scenario, is_twice());
}

fn run(mut scenario: impl FnMut(), is_twice: bool) {
    begin(Run::Only);
    if !is_twice {
        return scenario();
    }
    begin(Run::First(Vec::new()));
    let first = panic::catch_unwind(AssertUnwindSafe(&mut scenario));
    let Run::First(kept) = begin(Run::Only) else { panic!("a scenario began within another") };
    let traces = kept.len();
    begin(Run::Second(kept, None));
    let second = panic::catch_unwind(AssertUnwindSafe(&mut scenario));
    let seen = SCENE.with_borrow(|scene| scene.traces);
    let Run::Second(_, difference) = begin(Run::Only) else {
        panic!("a scenario began within another")
    };
    assert_eq!(first.is_err(), second.is_err(), "only one of two runs failed: {difference:?}");
    if let Some(difference) = difference {
        panic!("the second run is another: {difference}");
    }
    assert_eq!(seen, traces, "the second run is another: traces");
    write(&format!("twice\t{traces}"));
    if let Err(cause) = first {
        panic::resume_unwind(cause);
    }
}

/// The next run begins; gives what was left of the one before.
fn begin(run: Run) -> Run {
    SCENE.with_borrow_mut(|scene| {
        scene.traces = 0;
        mem::replace(&mut scene.run, run)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    use smallrtc::{Event, Message, Session};

    use super::run;
    use crate::{Kind, Pair, Setup};

    /// A bot that says so many bytes for each message that it hears.
    fn call(mut lens: impl FnMut() -> Vec<usize> + 'static) {
        call_with(move || lens().into_iter().map(|len| "m".repeat(len)).collect());
    }

    /// A bot that says these words for each message that it hears.
    fn call_with(mut words: impl FnMut() -> Vec<String> + 'static) {
        let mut pair = Pair::new(Setup::new(Kind::Scripted, 1).unchecked());
        pair.set_bot(move |(), event: Event, session: &mut Session, now: Instant| {
            if let Event::Message(_) = event {
                for word in words() {
                    let text = Message::text(word);
                    let _delivery = session.send_message(text, now).expect("there is room");
                }
            }
        });
        pair.connect();
        for _ in 0..8 {
            let now = pair.now();
            assert!(pair.browser.send_text("[1]", now));
            pair.drive_for(Duration::from_millis(100));
        }
    }

    #[test]
    fn what_repeats_passes() {
        let runs = Cell::new(0);
        let scenario = || {
            runs.set(runs.get() + 1);
            call(|| vec![1, 2, 3]);
        };
        run(scenario, true);
        assert_eq!(runs.get(), 2);
        run(scenario, false);
        assert_eq!(runs.get(), 3);
    }

    #[test]
    #[should_panic(expected = "the second run is another: trace 0: line ")]
    fn a_bot_that_reads_the_clock_is_caught() {
        run(
            || {
                call(|| {
                    #[expect(clippy::disallowed_methods, reason = "planted, to be caught")]
                    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                    vec![1 + time.subsec_nanos() as usize % 1000]
                });
            },
            true,
        );
    }

    #[test]
    #[should_panic(expected = "the second run is another: trace 0: line ")]
    fn a_bot_that_walks_a_set_in_hash_order_is_caught() {
        run(
            || {
                call(|| {
                    let words: HashSet<usize> = (1..10).collect();
                    #[expect(clippy::iter_over_hash_type, reason = "planted, to be caught")]
                    let order = {
                        let mut order = Vec::new();
                        for word in words {
                            order.push(word);
                        }
                        order
                    };
                    order
                });
            },
            true,
        );
    }

    #[test]
    #[should_panic(expected = "the second run is another: trace 0: line ")]
    fn a_bot_that_says_other_words_of_the_same_length_is_caught() {
        let runs = Cell::new(0);
        run(
            || {
                runs.set(runs.get() + 1);
                let word = format!("word {}", runs.get());
                call_with(move || vec![word.clone()]);
            },
            true,
        );
    }

    #[test]
    #[should_panic(expected = "the second run is another: trace 1 is one more")]
    fn a_run_with_one_more_call_is_caught() {
        let runs = Cell::new(0);
        run(
            || {
                runs.set(runs.get() + 1);
                for _ in 0..runs.get() {
                    call(Vec::new);
                }
            },
            true,
        );
    }

    #[test]
    #[should_panic(expected = "only one of two runs failed")]
    fn a_test_that_fails_every_other_time_is_caught() {
        let runs = Cell::new(0);
        run(
            || {
                runs.set(runs.get() + 1);
                call(Vec::new);
                assert!(runs.get() == 1, "the second time");
            },
            true,
        );
    }

    #[test]
    #[should_panic(expected = "as it should")]
    fn a_test_that_is_to_panic_panics() {
        run(
            || {
                call(Vec::new);
                panic!("as it should");
            },
            true,
        );
    }

    /// A trace that keeps no lines tells two runs apart as well.
    #[test]
    #[should_panic(expected = "the second run is another: trace 0: its lines were not kept")]
    fn a_call_without_a_trace_is_compared() {
        let runs = Cell::new(0);
        run(
            || {
                runs.set(runs.get() + 1);
                let mut pair = Pair::new(Setup::new(Kind::Real, 1).untraced());
                pair.connect();
                pair.say(&"m".repeat(100 + runs.get()));
                pair.drive_for(Duration::from_secs(1));
            },
            true,
        );
    }
}
