//! The listener: takes connections in, within their number, and gives calls out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use futures_rustls::TlsAcceptor;
use smallrtc_smol::{Handle, Peer, SHARDS_MAX};
use smol::net::{TcpListener, TcpStream};
use smol::{Task, Timer};
use tracing::{debug, error, warn};

use crate::http::{Counters, Front, HttpStats, Times, serve, within};
use crate::limits::{HTTP_CONNECTIONS_MAX, TLS_TIME_MAX};
use crate::options::{OptionError, Options};
use crate::{Tls, tls};

/// The pause after a connection could not be taken, which happens when the process has too many
/// files open: long enough not to spin, short enough for nobody to notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running server. Dropping it ends HTTP and every call without a word to the clients;
/// [`Server::close`] tells them.
#[derive(Debug)]
pub struct Server {
    front: Arc<Front>,
    urls: Vec<String>,
    /// Never sent on: while it lives, connections live.
    open: Sender<()>,
    http: Task<()>,
    driver: Task<()>,
}

impl Server {
    /// Opens the sockets and begins to serve, on smol's global executor.
    ///
    /// # Errors
    /// The option that is to blame: an address or port that cannot be bound, a certificate that
    /// cannot be read.
    pub async fn bind(options: Options) -> Result<Server, OptionError> {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| OptionError::new("listen", options.listen, error))?;
        let listen = listener
            .local_addr()
            .map_err(|error| OptionError::new("listen", options.listen, error))?;
        let addresses = addresses(listen.ip(), &options.advertise);
        let acceptor = tls::acceptor(&options.tls, &addresses)?;
        let (driver, handle) = bind_calls(&options)?;
        let (open, closed) = async_channel::bounded(1);
        let driver = smol::spawn(async move {
            if let Err(error) = driver.run().await {
                error!(%error, "the UDP socket failed");
            }
        });
        let front = Front::new(handle, options.signaling).behind(options.trusted_proxies);
        let front = Arc::new(front);
        let http = smol::spawn(listen_on(listener, acceptor, Arc::clone(&front), closed));
        let urls = urls(listen, &addresses, options.tls != Tls::Off);
        Ok(Server { front, urls, open, http, driver })
    }

    /// Where a browser finds the page; on a wildcard address the first of [`Server::urls`].
    #[must_use]
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// Every address at which a browser finds the page, those of this machine first.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The UDP addresses of the calls.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        self.front.handle.udp_addresses()
    }

    /// The driver's handle: signalling and figures.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.front.handle
    }

    /// What was counted of HTTP.
    #[must_use]
    pub fn http_stats(&self) -> HttpStats {
        self.front.counters.stats()
    }

    /// The next call; `None` when the server is closed.
    pub async fn accept(&self) -> Option<Peer> {
        self.front.handle.accept().await
    }

    /// Takes no new call any more: such requests get 503, as does `/ready`. Calls that there are go
    /// on, and can be replaced, so that they are to be [accepted](Server::accept) meanwhile.
    /// Returns when the last has ended, at the latest after `at_most`: true when none is left.
    /// [`Server::close`] is the next step. It cannot be taken back.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.front.is_draining.store(true, Ordering::Relaxed);
        within(at_most, self.front.handle.drain()).await.is_some()
    }

    /// Ends every call, clients get `peerLeft`, and takes no new one; returns when all have
    /// ended, at the latest after `Config::linger`. HTTP ends with it.
    pub async fn close(self) {
        self.front.is_draining.store(true, Ordering::Relaxed);
        self.front.handle.close().await;
        self.http.cancel().await;
        self.open.close();
        self.driver.await;
    }
}

fn bind_calls(options: &Options) -> Result<(smallrtc_smol::Driver, Handle), OptionError> {
    if !(1..=SHARDS_MAX).contains(&options.shards) {
        let expected = format!("expected 1 to {SHARDS_MAX}");
        return Err(OptionError::new("shards", options.shards, expected));
    }
    let port = options.udp_port.unwrap_or(options.listen.port());
    let udp = SocketAddr::new(options.listen.ip(), port);
    if options.signaling.is_single() && options.shards > 1 {
        let expected = "expected 1 with a single call (mode)";
        return Err(OptionError::new("shards", options.shards, expected));
    }
    let sockets = smallrtc_smol::Options::new().udp(udp).shards(options.shards);
    let mut sockets = sockets.signaling(options.signaling.clone());
    for address in &options.advertise {
        if address.is_unspecified() || address.is_multicast() {
            let expected = "expected an address that clients reach";
            return Err(OptionError::new("advertise", address, expected));
        }
        sockets = sockets.advertise(*address);
    }
    smallrtc_smol::bind(options.config.clone(), sockets)
        .map_err(|error: io::Error| OptionError::new("udp-port", udp, error))
}

/// Takes connections in until it is cancelled.
async fn listen_on(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    front: Arc<Front>,
    closed: Receiver<()>,
) {
    let counters = &front.counters;
    loop {
        let (stream, client) = match listener.accept().await {
            Ok((stream, client)) => (stream, client.ip()),
            Err(error) => {
                Counters::count(&counters.accept_errors);
                warn!(%error, "a connection could not be taken");
                Timer::after(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Each connection holds one receiver, this function holds another.
        if closed.receiver_count() > HTTP_CONNECTIONS_MAX {
            Counters::count(&counters.connections_refused);
            warn!(limit = HTTP_CONNECTIONS_MAX, "too many HTTP connections: the newest is closed");
            continue;
        }
        Counters::count(&counters.connections);
        let connection = connection(stream, client, acceptor.clone(), Arc::clone(&front));
        let closed = closed.clone();
        let until_closed = async move {
            let _ = closed.recv().await;
        };
        smol::spawn(future::or(connection, until_closed)).detach();
    }
}

async fn connection(
    stream: TcpStream,
    client: IpAddr,
    acceptor: Option<TlsAcceptor>,
    front: Arc<Front>,
) {
    // Answers are written at once as a whole: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let times = Times::default();
    let Some(acceptor) = acceptor else { return serve(stream, client, front, times).await };
    match within(TLS_TIME_MAX, acceptor.accept(stream)).await {
        Some(Ok(stream)) => return serve(stream, client, front, times).await,
        Some(Err(error)) => debug!(%error, "a TLS handshake failed"),
        None => debug!("a TLS handshake took too long"),
    }
    Counters::count(&front.counters.handshakes_failed);
}

/// The addresses that the server can be opened at: the one that it listens on or, for a
/// wildcard, every one of the machine; then those that are advertised.
fn addresses(listen: IpAddr, advertise: &[IpAddr]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    if listen.is_unspecified() {
        addresses.push(match listen {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let usable = interfaces.iter().map(if_addrs::Interface::ip).filter(|ip| {
            // A link-local address needs a zone, which no browser takes.
            let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            !ip.is_loopback() && !link_local && (listen.is_ipv6() || ip.is_ipv4())
        });
        addresses.extend(usable);
    } else {
        addresses.push(listen);
    }
    for address in advertise {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses
}

fn urls(listen: SocketAddr, addresses: &[IpAddr], encrypted: bool) -> Vec<String> {
    let scheme = if encrypted { "https" } else { "http" };
    let url = |ip: &IpAddr| format!("{scheme}://{}/", SocketAddr::new(*ip, listen.port()));
    addresses.iter().map(url).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_url_names_scheme_address_and_port() {
        let listen = "[::1]:443".parse().unwrap();
        assert_eq!(urls(listen, &[ip("::1")], true), ["https://[::1]:443/"]);
        let listen = "0.0.0.0:7860".parse().unwrap();
        let addresses = [ip("127.0.0.1"), ip("192.0.2.1")];
        assert_eq!(
            urls(listen, &addresses, false),
            ["http://127.0.0.1:7860/", "http://192.0.2.1:7860/"]
        );
    }

    #[test]
    fn a_wildcard_is_opened_at_the_machines_addresses_and_those_advertised() {
        let found = addresses(ip("0.0.0.0"), &[ip("203.0.113.7"), ip("203.0.113.7")]);
        assert_eq!(found.first(), Some(&ip("127.0.0.1")));
        assert_eq!(found.last(), Some(&ip("203.0.113.7")));
        assert_eq!(found.iter().filter(|found| **found == ip("203.0.113.7")).count(), 1);
        assert_eq!(addresses(ip("192.0.2.1"), &[]), [ip("192.0.2.1")]);
    }
}
