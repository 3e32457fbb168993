//! The certificate that HTTP is encrypted with.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use futures_rustls::TlsAcceptor;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{OptionError, Tls};

/// Reads or makes the certificate; `None` for plain HTTP. `addresses` are those that the server
/// can be opened at.
pub(crate) fn acceptor(
    tls: &Tls,
    addresses: &[IpAddr],
) -> Result<Option<TlsAcceptor>, OptionError> {
    let config = match tls {
        Tls::Off => return Ok(None),
        Tls::SelfSigned => self_signed(addresses)?,
        Tls::Files { cert, key } => from_files(cert, key)?,
    };
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn self_signed(addresses: &[IpAddr]) -> Result<ServerConfig, OptionError> {
    let mut names = vec!["localhost".to_owned()];
    names.extend(addresses.iter().map(IpAddr::to_string));
    let failed =
        |error: &dyn std::fmt::Display| OptionError::new("tls-self-signed", names.join(" "), error);
    let made = rcgen::generate_simple_self_signed(names.clone()).map_err(|e| failed(&e))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    config(vec![made.cert.der().clone()], key.into()).map_err(|e| failed(&e))
}

fn from_files(cert: &Path, key: &Path) -> Result<ServerConfig, OptionError> {
    let bad_cert =
        |reason: &dyn std::fmt::Display| OptionError::new("tls-cert", cert.display(), reason);
    let bad_key =
        |reason: &dyn std::fmt::Display| OptionError::new("tls-key", key.display(), reason);
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad_cert(&explain(&error)))?;
    if chain.is_empty() {
        return Err(bad_cert(&"no PEM section CERTIFICATE in it"));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad_key(&explain(&error)))?;
    config(chain, key).map_err(|error| bad_key(&format!("it does not fit --tls-cert: {error}")))
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn explain(error: &PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "no PEM section of that kind in it".to_owned(),
        other => format!("not PEM: {other}"),
    }
}
