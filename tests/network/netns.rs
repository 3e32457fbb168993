//! Network namespaces: machines of a test, with cables between them.
//!
//! A namespace is removed when it is dropped, and its interfaces with it. Addresses are those of
//! documentation (RFC 5737, RFC 3849), so that no interface of the machine is a candidate or a
//! target.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Runs a program to its end, which must be good.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program is there");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {error}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Netns {
    name: String,
    interfaces: AtomicU32,
}

impl Netns {
    /// A machine with loopback alone.
    pub(crate) fn new() -> Netns {
        // `tests/network/run` removes what a test that was killed left behind, by this name.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("smallrtc-net-{}-{number}", process::id());
        run("ip", &["netns", "add", &name]);
        let netns = Netns { name, interfaces: AtomicU32::new(0) };
        netns.ip("link set lo up");
        netns
    }

    /// What `ip` says in this namespace.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        run("ip", &all)
    }

    /// A cable to another machine, with an address at each end, each as `192.0.2.1/24`. Gives the
    /// names of the two ends.
    pub(crate) fn join(&self, address: &str, other: &Netns, other_address: &str) -> [String; 2] {
        let ends = [self, other].map(|netns| {
            let number = netns.interfaces.fetch_add(1, Ordering::Relaxed);
            format!("veth{number}")
        });
        let [here, there] = &ends;
        self.ip(&format!("link add {here} type veth peer name {there} netns {}", other.name));
        for (netns, end, address) in [(self, here, address), (other, there, other_address)] {
            netns.address("add", address, end);
            netns.ip(&format!("link set {end} up"));
        }
        ends
    }

    /// Adds or deletes an address, which can be used at once.
    pub(crate) fn address(&self, verb: &str, address: &str, interface: &str) {
        // Nobody else is there who could have the same one.
        let unchecked = if verb == "add" && address.contains(':') { " nodad" } else { "" };
        self.ip(&format!("address {verb} {address} dev {interface}{unchecked}"));
    }

    /// What `work` gives that is done on this machine. Sockets that it makes stay there.
    pub(crate) fn on<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        // A thread of its own, since one that has moved does not move back.
        let moved = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(moved).join()).unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic);
        })
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Whoever drops may be panicking already.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
