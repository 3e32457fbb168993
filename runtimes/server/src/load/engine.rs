//! The engines of callers: set up as a browser is, cheap to build many of.
//!
//! All callers have one certificate, and the engine hands RTP packets out as they are: this side
//! orders nothing and waits for nothing, so that figures are the bot's.

use std::time::Instant;

use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;
use str0m::{Rtc, RtcConfig};

/// What engines are built of.
#[derive(Debug)]
pub(super) struct Engines {
    certificate: Option<DtlsCert>,
}

impl Engines {
    pub(super) fn new() -> Engines {
        Engines { certificate: from_feature_flags().dtls_provider.generate_certificate() }
    }

    pub(super) fn build(&self, now: Instant) -> Rtc {
        let config = RtcConfig::new().clear_codecs().enable_opus(true, false).set_rtp_mode(true);
        let config = match &self.certificate {
            Some(certificate) => config.set_dtls_cert(certificate.clone()),
            None => config,
        };
        config.build(now)
    }
}
