//! Https, and options that a server cannot start with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::support::{address, ask_on, get, loopback};
use futures_rustls::TlsConnector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use smallrtc_server::{Options, Server, Tls};
use smol::net::{TcpStream, UdpSocket};

/// Files of one test, below the build directory.
fn write(test: &str, name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{name}"));
    std::fs::write(&path, text).expect("the build directory can be written");
    path
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

async fn refused(options: Options) -> (&'static str, String) {
    let error = Server::bind(options).await.expect_err("it was refused");
    (error.option(), error.to_string())
}

#[test]
fn the_certificate_of_the_files_is_shown() {
    smol::block_on(async {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let cert = write("shown", "cert.pem", &made.cert.pem());
        let key = write("shown", "key.pem", &made.signing_key.serialize_pem());
        let server = Server::bind(loopback().tls(Tls::Files { cert, key })).await.unwrap();
        assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address(&server)).await.unwrap();
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        assert_eq!(ask_on(stream, get("/")).await.status, 200);
    });
}

/// Takes any certificate and keeps nothing: the names in it are looked at by the test.
#[derive(Debug)]
struct Names(&'static [&'static str]);

impl ServerCertVerifier for Names {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let holds = |name: &[u8]| end_entity.windows(name.len()).any(|bytes| bytes == name);
        for name in self.0 {
            let found = match name.parse() {
                Ok(IpAddr::V4(ip)) => holds(&ip.octets()),
                Ok(IpAddr::V6(ip)) => holds(&ip.octets()),
                Err(_) => holds(name.as_bytes()),
            };
            assert!(found, "the certificate does not name {name}");
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_self_signed_certificate_names_every_address_of_the_server() {
    smol::block_on(async {
        let options = loopback().tls(Tls::SelfSigned).advertise("203.0.113.9".parse().unwrap());
        let server = Server::bind(options).await.unwrap();
        let names = Arc::new(Names(&["localhost", "127.0.0.1", "203.0.113.9"]));
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(names)
            .with_no_client_auth();
        let stream = TcpStream::connect(address(&server)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
        assert_eq!(ask_on(stream, get("/")).await.status, 200);
    });
}

#[test]
fn files_that_cannot_be_used_name_their_option_and_their_path() {
    smol::block_on(async {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let cert = write("bad", "cert.pem", &made.cert.pem());
        let key = write("bad", "key.pem", &made.signing_key.serialize_pem());
        let stranger = write("bad", "stranger.pem", &other.signing_key.serialize_pem());
        let text = write("bad", "text.pem", "not PEM");
        let none = PathBuf::from("no/such/file.pem");
        for (cert, key, option, word) in [
            (&none, &key, "tls-cert", "no/such/file.pem"),
            (&text, &key, "tls-cert", "no PEM section"),
            (&cert, &none, "tls-key", "no/such/file.pem"),
            (&cert, &text, "tls-key", "no PEM section"),
            (&cert, &stranger, "tls-key", "does not fit"),
        ] {
            let tls = Tls::Files { cert: cert.clone(), key: key.clone() };
            let (named, error) = refused(loopback().tls(tls)).await;
            assert_eq!(named, option, "{error}");
            assert!(error.contains(word), "{error}");
        }
    });
}

#[test]
fn addresses_that_are_taken_name_their_option() {
    smol::block_on(async {
        let server = Server::bind(loopback()).await.unwrap();
        let (option, error) = refused(loopback().listen(address(&server))).await;
        assert_eq!(option, "listen", "{error}");
        assert!(error.contains(&address(&server).to_string()), "{error}");

        let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let (option, error) = refused(loopback().udp_port(port)).await;
        assert_eq!(option, "udp-port", "{error}");
        assert!(error.contains(&port.to_string()), "{error}");
    });
}

#[test]
fn a_closed_server_takes_no_calls_and_no_connections() {
    smol::block_on(async {
        let server = Server::bind(loopback()).await.unwrap();
        let address = address(&server);
        let handle = server.handle().clone();
        server.close().await;
        assert!(handle.accept().await.is_none());
        assert!(TcpStream::connect(address).await.is_err());
    });
}
