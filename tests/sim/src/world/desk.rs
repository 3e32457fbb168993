//! What stands around one endpoint of a world: its socket and its driver.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::Packet;
use crate::driver::Driver;

/// Datagrams in a socket's receive buffer while the driver sleeps. 4096: what 4 MiB hold of
/// kilobytes, a usual bound of servers. What comes on top is lost, and counted.
pub(super) const SOCKET_PACKETS_MAX: usize = 4096;

/// An endpoint's socket and driver.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) address: SocketAddr,
    pub(super) driver: Driver,
    /// When the driver goes on, if it was stopped.
    pub(super) stalled_until: Option<Instant>,
    /// By the time of arrival.
    inbox: VecDeque<(Instant, Packet)>,
    lost: u64,
}

impl Desk {
    pub(super) fn new(address: SocketAddr, driver: Driver) -> Desk {
        Desk { address, driver, stalled_until: None, inbox: VecDeque::new(), lost: 0 }
    }

    /// A datagram arrived at the socket.
    pub(super) fn put(&mut self, packet: Packet, now: Instant) {
        if self.inbox.len() < SOCKET_PACKETS_MAX {
            self.inbox.push_back((now, packet));
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn take(&mut self) -> Option<Packet> {
        self.inbox.pop_front().map(|(_, packet)| packet)
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// When the driver runs, if `due` is what the core and the bot wait for.
    pub(super) fn wake_at(&mut self, due: Option<Instant>, now: Instant) -> Option<Instant> {
        let arrived = self.inbox.front().map(|(at, _)| *at);
        let due = [due, arrived].into_iter().flatten().min();
        let wake_at = self.driver.wake_at(due, now);
        wake_at.map(|at| self.stalled_until.map_or(at, |until| until.max(at)))
    }

    /// Whether the driver runs now, when it was to run at this time.
    pub(super) fn wakes(&mut self, wake_at: Option<Instant>, now: Instant) -> bool {
        let wakes = self.driver.wakes(wake_at, now);
        if wakes {
            self.stalled_until = None;
        }
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DriverConfig, bot_address, start};

    #[test]
    fn a_socket_holds_4096_datagrams_and_loses_one_more() {
        let mut desk = Desk::new(bot_address(), Driver::new(DriverConfig::punctual(), 1));
        let packet =
            Packet { source: bot_address(), destination: bot_address(), payload: vec![0].into() };
        for _ in 0..SOCKET_PACKETS_MAX {
            desk.put(packet.clone(), start());
        }
        assert_eq!(desk.lost(), 0);
        desk.put(packet, start());
        assert_eq!(desk.lost(), 1);
        assert_eq!(std::iter::from_fn(|| desk.take()).count(), SOCKET_PACKETS_MAX);
    }
}
