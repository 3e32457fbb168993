//! CPU time of calls with sockets: the program as it is, under load from this process.
//!
//! `cargo bench -p smallrtc-server --bench calls` starts the release program as a child, calls it
//! with so many model browsers, and reads the child's CPU time from the system while all calls
//! last. It prints the part of a core that a call takes, what that makes of calls on a core, and
//! from the same run what became of the sound: loss, and how late packets arrived.
//!
//! There are two baselines, children of the same kind:
//! - *bare udp*: receives datagrams and sends them back, with the standard library's sockets. As
//!   many as the audio packets of so many calls, and as long. What it takes is the kernel's.
//! - *raw engine*: the engine alone behind one such socket, as its own examples drive it, that
//!   gives packets back as `pass` does. What it takes more is what encryption costs; what the
//!   program takes more than that is ours.
//!
//! *pass on mio* is the program's `pass` on the other adapter, a child of the same kind too: what
//! it takes less is what tasks and channels cost, which a program of futures pays for its
//! convenience.
//!
//! In the rows of *echo* all threads of the program are kept on one core, that of `--core`, by
//! `taskset`. Beside the CPU of a call they tell how far apart its packets came (*between*), and
//! whether a packet was missing among them.
//!
//! The load runs on the same machine: with two cores it has one and the server the other. Where it
//! could not keep up itself, `sent late` and `slips` of a row say so. *Ready for more* is how long
//! the child wanted to run and could not, because something else did: on a machine that is busy
//! figures of lateness are the machine's, and those of CPU are those of cold caches.
//!
//! Options, after `--`: `--seconds N` each row lasts, `--calls N,N` for `pass` and the baselines,
//! `--echo-calls N,N`, `--core N` of the echo, `--rate N` calls that begin in a second, `--threads
//! N` of the load; after `--server` everything else goes to the program, to compare its settings.
//! `0` calls is no row.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures the time that passes")]
#![expect(clippy::disallowed_types, reason = "the baselines are made of plain sockets")]

mod bare;
mod child;
mod mio;
mod raw;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use smallrtc_server::load::{Load, Phase, Report};

use child::{Child, Cpu};

/// Calls on one core that are aimed at.
const PASS_GOAL: f64 = 1_000.0;
const ECHO_GOAL: f64 = 100.0;

/// The part of the packets that may be missing in a row that counts. What is on its way in a queue
/// of the bot, 100 ms or so, is less than this.
const UNRETURNED_MAX: f64 = 0.02;

/// What is measured.
#[derive(Debug)]
struct Options {
    time: Duration,
    calls: Vec<usize>,
    echo_calls: Vec<usize>,
    core: usize,
    rate: u32,
    threads: usize,
    server: Vec<String>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            time: Duration::from_secs(6),
            calls: vec![10, 100, 400],
            echo_calls: vec![50, 100],
            core: 0,
            rate: 50,
            threads: 1,
            server: Vec::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word}: expected a value"));
            match word.as_str() {
                "--seconds" => options.time = Duration::from_secs(number(&word, &value()?)?),
                "--calls" => options.calls = numbers(&word, &value()?)?,
                "--echo-calls" => options.echo_calls = numbers(&word, &value()?)?,
                "--core" => options.core = number(&word, &value()?)?,
                "--rate" => options.rate = number(&word, &value()?)?,
                "--threads" => options.threads = number(&word, &value()?)?,
                "--server" => options.server = words.by_ref().collect(),
                _ => return Err(format!("{word}: no such option")),
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{word} {value}: expected a number"))
}

fn numbers(word: &str, value: &str) -> Result<Vec<usize>, String> {
    if value == "0" {
        return Ok(Vec::new());
    }
    value.split(',').map(|part| number(word, part)).collect()
}

/// One row: how much of a core a call takes, in parts of one.
#[derive(Clone, Copy, Debug)]
struct Row {
    calls: usize,
    per_call: f64,
}

fn row(name: &str, calls: usize, cpu: Cpu, time: Duration) -> Row {
    let [core, waited] = [cpu.used, cpu.waited].map(|it| it.as_secs_f64() / time.as_secs_f64());
    let per_call = core / calls as f64;
    println!(
        "{name:<11} {calls:5} calls: {:5.1} % of a core (ready for {:.1} % more), {:7.1} us CPU \
         per call and second, {:5.0} calls on a core",
        core * 100.0,
        waited * 100.0,
        per_call * 1e6,
        1.0 / per_call
    );
    Row { calls, per_call }
}

/// Loads a child; `None` when calls failed, which the row tells.
fn load(name: &str, options: &Options, calls: usize, child: &Child) -> Option<Row> {
    let load = Load::new(child.address())
        .calls(calls)
        .duration(options.time)
        .rate(options.rate)
        .threads(options.threads)
        .expects_echo(true);
    let mut times = Vec::new();
    let report = load.run_with(|phase| {
        if matches!(phase, Phase::Steady | Phase::Ending) {
            times.push((child.cpu(), Instant::now()));
        }
    });
    let report = report.expect("loopback takes calls");
    let [(cpu_before, begin), (cpu_after, end)] = times[..] else {
        unreachable!("a load is steady and ends")
    };
    let row = row(name, calls, cpu_after - cpu_before, end - begin);
    tell(&report);
    (report.is_success() && keeps_up(&report)).then_some(row)
}

/// What is not returned costs nothing: the figures of a server that drops packets would flatter it.
fn keeps_up(report: &Report) -> bool {
    let audio = &report.total.audio;
    audio.unreturned() as f64 <= UNRETURNED_MAX * audio.sent as f64
}

fn tell(report: &Report) {
    let (audio, messages) = (&report.total.audio, &report.total.messages);
    println!(
        "           {} of {} packets lost, {} more sent than received, {} slips of the load",
        audio.lost,
        audio.expected,
        audio.unreturned(),
        audio.slips
    );
    println!("           round trip   {}", messages.round_trip);
    println!("           sent late    {}", audio.sent_late);
    println!("           arrived late {}", audio.lateness);
    println!("           between      {}", audio.gap);
    println!("           echo delay   {}", report.total.echo.delay);
    if !report.is_success() {
        println!("           FAILED: {:?}", report.outcomes);
    } else if !keeps_up(report) {
        println!("           FAILED: too many packets did not come back, the row does not count");
    }
}

/// The flags of the program with a bot.
fn flags<'a>(bot: &'a str, most: &'a str) -> Vec<&'a str> {
    let place = ["--listen", "127.0.0.1:0", "--max-sessions", most];
    // All calls come from one address, as fast as they are told to.
    [&place[..], &["--rate-limit", "off", "--bot", bot]].concat()
}

fn pass(options: &Options, calls: usize) -> Child {
    Child::program(&flags("pass", &calls.to_string()), &options.server)
}

fn echo(options: &Options, calls: usize) -> Child {
    Child::program_on(options.core, &flags("echo", &calls.to_string()), &options.server)
}

/// The cost at the most calls, beside a goal in calls on a core.
fn judge(name: &str, rows: &[Row], goal: f64) {
    let Some(row) = rows.last() else { return };
    let on_core = 1.0 / row.per_call;
    let verdict = if on_core >= goal { "met" } else { "MISSED" };
    println!("{name}: {on_core:.0} calls on a core, at {} (goal {goal}): {verdict}", row.calls);
}

fn compare(name: &str, rows: &[Row], baseline: &[Row], of: &str) {
    for row in rows {
        let same = baseline.iter().find(|other| other.calls == row.calls);
        if let Some(other) = same {
            println!("{name} / {of} at {} calls: {:.2}", row.calls, row.per_call / other.per_call);
        }
    }
}

fn measure(options: &Options) -> bool {
    let (mut bare, mut raw, mut on_mio) = (vec![], vec![], vec![]);
    let (mut passed, mut echoed) = (vec![], vec![]);
    let mut wanted = 0;
    for calls in options.calls.iter().copied() {
        let child = Child::baseline("--bare-udp");
        let (cpu, time) = bare::load(child.address(), calls, options.time, || child.cpu());
        bare.push(row("bare udp", calls, cpu, time));
        raw.extend(load("raw engine", options, calls, &Child::baseline("--raw-engine")));
        on_mio.extend(load("pass on mio", options, calls, &Child::baseline("--mio")));
        passed.extend(load("pass", options, calls, &pass(options, calls)));
        wanted += 3;
    }
    for calls in options.echo_calls.iter().copied() {
        echoed.extend(load("echo", options, calls, &echo(options, calls)));
        wanted += 1;
    }
    compare("raw engine", &raw, &bare, "bare udp");
    compare("pass", &passed, &bare, "bare udp");
    compare("pass on mio", &on_mio, &raw, "raw engine");
    compare("pass", &passed, &raw, "raw engine");
    judge("pass on mio", &on_mio, PASS_GOAL);
    judge("pass", &passed, PASS_GOAL);
    judge("echo", &echoed, ECHO_GOAL);
    raw.len() + on_mio.len() + passed.len() + echoed.len() == wanted
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("--bare-udp") => bare::echo(),
        Some("--raw-engine") => raw::serve(),
        Some("--mio") => mio::serve(),
        _ => {}
    }
    // cargo says, at the end, that it runs a benchmark.
    let words = words.into_iter().filter(|word| word != "--bench");
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    if measure(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
