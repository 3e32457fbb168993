//! A process that is measured.

use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Sub;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What Linux counts CPU time in for programs, whatever the kernel counts in (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Dropped, it ends.
pub(crate) struct Child {
    child: std::process::Child,
    address: String,
}

impl Child {
    /// The program.
    pub(crate) fn program(flags: &[&str], more: &[String]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_smallrtc"));
        command.args(flags).args(more);
        Child::start(command)
    }

    /// The program, all of its threads on one core (`taskset` of util-linux).
    pub(crate) fn program_on(core: usize, flags: &[&str], more: &[String]) -> Child {
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &core.to_string(), env!("CARGO_BIN_EXE_smallrtc")]);
        command.args(flags).args(more);
        Child::start(command)
    }

    /// This benchmark itself, in another part.
    pub(crate) fn baseline(part: &str) -> Child {
        let own = std::env::current_exe().expect("this program has a file");
        let mut command = Command::new(own);
        command.arg(part);
        Child::start(command)
    }

    fn start(mut command: Command) -> Child {
        // Lines of a log are no part of a call.
        command.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("it prints text");
        let address = line.trim_end().strip_prefix("open ").expect("it prints its address");
        Child { child, address: address.to_owned() }
    }

    /// The URL, or the address of plain UDP.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The CPU time of all its threads so far, of the program and of the kernel for it. The
    /// scheduler's own count is of nanoseconds; where the system gives none, ticks of 10 ms do.
    pub(crate) fn cpu(&self) -> Cpu {
        let own = format!("/proc/{}", self.child.id());
        scheduled(&own).unwrap_or_else(|| Cpu { used: ticks(&own), waited: Duration::ZERO })
    }
}

/// What a process had of the machine so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    pub(crate) used: Duration,
    /// How long its threads were ready to run while others did: on a machine that has nothing else
    /// to do, next to nothing.
    pub(crate) waited: Duration,
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu { used: self.used - earlier.used, waited: self.waited - earlier.waited }
    }
}

/// No thread of these programs ends while calls last, so that none is missing.
fn scheduled(own: &str) -> Option<Cpu> {
    let mut cpu = Cpu { used: Duration::ZERO, waited: Duration::ZERO };
    for thread in fs::read_dir(format!("{own}/task")).ok()? {
        let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        let mut nanos = schedstat.split_whitespace().map(str::parse);
        cpu.used += Duration::from_nanos(nanos.next()?.ok()?);
        cpu.waited += Duration::from_nanos(nanos.next()?.ok()?);
    }
    Some(cpu)
}

fn ticks(own: &str) -> Duration {
    let stat = fs::read_to_string(format!("{own}/stat"));
    let stat = stat.expect("Linux tells of a process that runs");
    // The name stands in parentheses and may hold anything; the fields are counted after it.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = [11, 12].map(|at| fields[at].parse::<u64>().expect("ticks")).iter().sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

impl Drop for Child {
    fn drop(&mut self) {
        // One that has ended by itself is ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
