//! Our way into the DTLS library: one validated configuration for all sessions of an MTU.
//!
//! Building a `dimpl::Config` runs key exchanges and signatures to check the cryptographic
//! provider, about 0.9 ms: two thirds of what a connect costs. The engine's own provider builds
//! one for every session, ours one for every MTU.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider, from_feature_flags};

use super::bundle;
use super::keys::Keys;

/// The first resend of a lost flight. Half of what RFC 6347 section 4.2.4.1 proposes for unknown
/// paths: ICE has just measured this one, and a call that starts late is a call that is hung up.
const FLIGHT_RTO: Duration = Duration::from_millis(500);

/// Resends of one flight, the pause doubling: over two minutes, longer than
/// `Config::connecting_timeout` leaves, which is to be what ends a handshake.
const FLIGHT_RETRIES: usize = 8;

/// The library's own limit on a handshake, out of the way for the same reason.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What DTLS adds to an SCTP packet at most: header, explicit nonce and tag of AES-GCM in DTLS 1.2
/// (RFC 6347 section 4.1, RFC 5288 section 3). In DTLS 1.3 it is less.
const RECORD_OVERHEAD: usize = 13 + 8 + 16;

/// Datagrams that may wait inside DTLS; one more is an error that ends the call. The engine takes
/// out one for each SCTP packet that it hands in, which is too few when that was cut in two: at the
/// limit it is told to come again, and takes out those that wait before it does.
const QUEUE_MAX: usize = 10;

/// The MTU when the engine names none.
const MTU_DEFAULT: usize = 1148;

/// The provider for the engine: all of its cryptography, our DTLS.
pub(super) fn crypto_provider(seeded: bool) -> CryptoProvider {
    let mut provider = from_feature_flags();
    provider.dtls_provider = if seeded { &Seeded } else { &Shared };
    provider
}

/// Sessions share a configuration. Nonces and timer jitter come from the operating system.
#[derive(Debug)]
struct Shared;

/// A configuration for each session, with a seed drawn from the session's generator.
#[derive(Debug)]
struct Seeded;

impl DtlsProvider for Shared {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let mtu = whole_words(mtu);
        instance(shared_config(mtu)?, cert, now, (version, mtu))
    }
}

impl DtlsProvider for Seeded {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        Shared.generate_certificate()
    }

    #[expect(clippy::disallowed_methods, reason = "the session's generator is in place here")]
    fn new_dtls(
        &self,
        cert: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let seed = fastrand::u64(..);
        let mtu = whole_words(mtu);
        instance(Arc::new(config(mtu, Some(seed))?), cert, now, (version, mtu))
    }
}

/// One entry for each MTU that was asked for; `Config::mtu` takes 925 values, so the table is
/// bounded.
fn shared_config(mtu: usize) -> Result<Arc<dimpl::Config>, CryptoError> {
    static CONFIGS: Mutex<BTreeMap<usize, Arc<dimpl::Config>>> = Mutex::new(BTreeMap::new());
    let mut configs = CONFIGS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = configs.get(&mtu) {
        return Ok(config.clone());
    }
    let made = Arc::new(config(mtu, None)?);
    configs.insert(mtu, made.clone());
    Ok(made)
}

/// The engine's MTU is one byte above a whole number of words (`negotiate`), which may be one byte
/// above what a datagram may have.
fn whole_words(mtu: Option<usize>) -> usize {
    mtu.unwrap_or(MTU_DEFAULT) & !3
}

fn config(mtu: usize, seed: Option<u64>) -> Result<dimpl::Config, CryptoError> {
    let mut builder = dimpl::Config::builder()
        .mtu(mtu)
        // ICE has proved that the peer can be reached, so a cookie would only cost a round trip.
        .use_server_cookie(false)
        .flight_start_rto(FLIGHT_RTO)
        .flight_retries(FLIGHT_RETRIES)
        .handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_queue_tx(QUEUE_MAX)
        .with_crypto_provider(dimpl::crypto::CryptoProvider {
            key_provider: &Keys,
            ..dimpl::crypto::aws_lc_rs::default_provider()
        });
    if let Some(seed) = seed {
        builder = builder.dangerously_set_rng_seed(seed);
    }
    builder.build().map_err(|error| CryptoError::Other(format!("DTLS configuration: {error}")))
}

fn instance(
    config: Arc<dimpl::Config>,
    cert: &DtlsCert,
    now: Instant,
    (version, mtu): (DtlsVersion, usize),
) -> Result<Box<dyn DtlsInstance>, CryptoError> {
    let cert = dimpl::DtlsCertificate {
        certificate: cert.certificate.clone(),
        private_key: cert.private_key.clone(),
    };
    let dtls = match version {
        DtlsVersion::Dtls12 => dimpl::Dtls::new_12(config, cert, now),
        DtlsVersion::Dtls13 => dimpl::Dtls::new_13(config, cert, now),
        DtlsVersion::Auto => dimpl::Dtls::new_auto(config, cert, now),
        _ => return Err(CryptoError::Other(format!("unknown DTLS version {version}"))),
    };
    let sctp_max = mtu - RECORD_OVERHEAD;
    Ok(Box::new(Instance { dtls, inits: Inits::default(), sctp_max, queued: 0 }))
}

struct Instance {
    dtls: dimpl::Dtls,
    inits: Inits,
    /// The longest SCTP packet that a datagram has room for.
    sctp_max: usize,
    /// How many datagrams wait inside, about: several records may share one, and what DTLS says of
    /// its own counts only when it leaves.
    queued: usize,
}

/// Which INIT chunks the engine is shown. One too many ends its association, and with it the
/// call: a resent one that comes late, or that of a peer which offered to do without (`snap`) and
/// then shakes hands all the same. Such a peer is left without a channel, not without the call;
/// and however many it sends, the engine remembers two.
#[derive(Debug, Default)]
struct Inits {
    /// An INIT was shown to the engine, and it has not answered.
    is_unanswered: bool,
    /// The engine has confirmed the peer's handshake.
    is_established: bool,
}

impl Inits {
    /// Whether the engine is to see what the peer sent.
    fn passes(&mut self, received: &[u8]) -> bool {
        if first_chunk(received) != Some(INIT) {
            return true;
        }
        !self.is_established && !std::mem::replace(&mut self.is_unanswered, true)
    }

    /// The engine sends this.
    fn note_sent(&mut self, sent: &[u8]) {
        match first_chunk(sent) {
            Some(INIT_ACK) => self.is_unanswered = false,
            Some(COOKIE_ACK) => self.is_established = true,
            _ => {}
        }
    }
}

/// Chunk types of RFC 9260 section 3.2.
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const COOKIE_ACK: u8 = 11;

/// The type of an SCTP packet's first chunk, behind the common header of 12 bytes.
fn first_chunk(packet: &[u8]) -> Option<u8> {
    packet.get(12).copied()
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instance(..)")
    }
}

impl Instance {
    fn send(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.queued += 1;
        match self.dtls.send_application_data(data) {
            // SCTP is not told of close_notify and may have an acknowledgement due at the same
            // instant: as an error it would turn the peer's goodbye into a fault of the engine.
            Err(DtlsImplError::ConnectionClosed) => Ok(data.len()),
            // Datagrams of its own were not counted: the engine comes again.
            Err(DtlsImplError::TransmitQueueFull) => Ok(0),
            sent => sent,
        }
    }

    /// As [`Instance::send`], of a packet that is too long.
    fn send_parts(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        let packets = bundle::cut(data, self.sctp_max);
        if self.queued + packets.len() > QUEUE_MAX {
            return Ok(0);
        }
        tracing::debug!(len = data.len(), packets = packets.len(), "an SCTP packet was too long");
        for packet in packets {
            // Nothing is taken before the handshake has found a version, and nothing at the limit.
            // A part that was taken goes again with the rest: TSNs that come twice do no harm.
            if self.send(&packet)? != packet.len() {
                return Ok(0);
            }
        }
        Ok(data.len())
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.dtls.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        match self.dtls.poll_output(buf) {
            // An empty packet: the engine drops it, and goes on polling.
            DtlsOutput::ApplicationData(data) if !self.inits.passes(data) => {
                DtlsOutput::ApplicationData(&[])
            }
            DtlsOutput::Connected => {
                tracing::debug!(version = ?self.dtls.protocol_version(), "DTLS is done");
                DtlsOutput::Connected
            }
            DtlsOutput::Packet(packet) => {
                self.queued = self.queued.saturating_sub(1);
                DtlsOutput::Packet(packet)
            }
            DtlsOutput::Timeout(at) => {
                self.queued = 0;
                DtlsOutput::Timeout(at)
            }
            output => output,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        if self.queued >= QUEUE_MAX {
            return Ok(0);
        }
        let fits = data.len() <= self.sctp_max;
        let sent = if fits { self.send(data)? } else { self.send_parts(data)? };
        if sent == data.len() {
            self.inits.note_sent(data);
        }
        Ok(sent)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_configuration_serves_all_sessions_of_an_mtu() {
        let one = shared_config(1150).unwrap();
        assert!(Arc::ptr_eq(&one, &shared_config(1150).unwrap()));
        let other = shared_config(1200).unwrap();
        assert_eq!((one.mtu(), other.mtu()), (1150, 1200));
        assert_eq!(one.rng_seed(), None, "nobody shares a seed");
    }

    fn packet(chunk: u8) -> [u8; 16] {
        let mut packet = [0; 16];
        packet[12] = chunk;
        packet
    }

    #[test]
    fn an_init_passes_when_the_one_before_was_answered_and_never_once_a_call_runs() {
        let mut inits = Inits::default();
        assert!(inits.passes(&packet(INIT)) && !inits.passes(&packet(INIT)));
        inits.note_sent(&packet(INIT_ACK));
        assert!(inits.passes(&packet(INIT)), "its answer was lost");
        inits.note_sent(&packet(INIT_ACK));
        inits.note_sent(&packet(COOKIE_ACK));
        assert!(!inits.passes(&packet(INIT)));
        for other in [0, 3, INIT_ACK, 10] {
            assert!(inits.passes(&packet(other)));
        }
        assert!(inits.passes(&[]) && inits.passes(&[INIT; 12]), "no chunk");
    }
}
