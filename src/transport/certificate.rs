//! The DTLS certificate and its key.

use std::fmt;
use std::sync::OnceLock;

use str0m::config::DtlsCert;
use str0m::crypto::from_feature_flags;

use super::real::keys;
use crate::ConfigError;

/// A DTLS certificate with its private key.
///
/// The peer learns the certificate's fingerprint from the answer and checks the handshake against
/// it, so nobody has to sign it.
#[derive(Clone)]
pub struct Certificate {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

impl Certificate {
    /// A new self-signed certificate: ECDSA on P-256, valid for a year.
    ///
    /// The key, the serial number and the validity come from the operating system's randomness
    /// and clock, inside the cryptographic library: production needs that. It is the one call of
    /// this crate whose result the seed does not decide; whoever wants the same answer twice makes
    /// one certificate and gives it to [`Config::certificate`](crate::Config::certificate).
    ///
    /// ```
    /// use smallrtc::{Certificate, Config};
    ///
    /// let config = Config::new().certificate(Certificate::generate()?);
    /// # Ok::<(), smallrtc::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Certificate`] when the library cannot make a key.
    pub fn generate() -> Result<Certificate, ConfigError> {
        let made = from_feature_flags().dtls_provider.generate_certificate();
        let made = made.ok_or_else(|| {
            ConfigError::Certificate("the cryptographic library made no key".to_owned())
        })?;
        Ok(Certificate { certificate: made.certificate, private_key: made.private_key })
    }

    /// A certificate that was made before: X.509 in DER, and its private key in PKCS#8 DER. The
    /// key must be ECDSA on P-256 or P-384, the curves that the DTLS library signs with.
    ///
    /// # Errors
    /// [`ConfigError::Certificate`] when either is not a DER sequence of its own length, or when
    /// the key is none that can sign. Whether the key fits the certificate shows in the first
    /// handshake only.
    pub fn from_der(
        certificate: Vec<u8>,
        private_key: Vec<u8>,
    ) -> Result<Certificate, ConfigError> {
        for (name, der) in [("certificate", &certificate), ("private key", &private_key)] {
            if !is_sequence(der) {
                return Err(ConfigError::Certificate(format!("the {name} is not DER")));
            }
        }
        if !keys::is_key(&private_key) {
            let reason = "the private key is not ECDSA on P-256 or P-384";
            return Err(ConfigError::Certificate(reason.to_owned()));
        }
        Ok(Certificate { certificate, private_key })
    }

    /// The SHA-256 fingerprint as it stands in the answer: 32 bytes in hex, with colons.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = from_feature_flags().sha256_provider.sha256(&self.certificate);
        let hex: Vec<String> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
        hex.join(":")
    }

    /// The process's own: made when the first session without a configured one needs it.
    pub(crate) fn of_process() -> &'static Certificate {
        static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
        CERTIFICATE.get_or_init(|| {
            Certificate::generate().expect("P-256 keys can be made wherever DTLS can run")
        })
    }

    pub(crate) fn for_engine(&self) -> DtlsCert {
        DtlsCert { certificate: self.certificate.clone(), private_key: self.private_key.clone() }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// Whether the bytes are one DER SEQUENCE (X.690 section 8.1) and nothing after it.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, first, rest @ ..] = der else { return false };
    if *first < 0x80 {
        return rest.len() == usize::from(*first);
    }
    let digits = usize::from(*first & 0x7f);
    if digits == 0 || digits > 4 || rest.len() < digits {
        return false;
    }
    let len = rest[..digits].iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte));
    rest.len() - digits == len
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_survives_its_way_through_der() {
        let made = Certificate::generate().unwrap();
        let read = Certificate::from_der(made.certificate.clone(), made.private_key.clone());
        assert_eq!(read.unwrap().fingerprint(), made.fingerprint());
        assert_eq!(made.fingerprint().len(), 32 * 3 - 1);
        assert_ne!(Certificate::generate().unwrap().fingerprint(), made.fingerprint());
    }

    #[test]
    fn what_is_not_der_is_refused_by_name() {
        let made = Certificate::generate().unwrap();
        for cut in [0, 1, 2, 3, made.certificate.len() - 1] {
            let cut = made.certificate[..cut].to_vec();
            let error = Certificate::from_der(cut, made.private_key.clone()).unwrap_err();
            assert!(error.to_string().contains("certificate is not DER"), "{error}");
        }
        let error = Certificate::from_der(made.certificate.clone(), b"key".to_vec()).unwrap_err();
        assert!(error.to_string().contains("private key is not DER"), "{error}");
        let error = Certificate::from_der(made.certificate.clone(), made.certificate).unwrap_err();
        assert!(error.to_string().contains("not ECDSA"), "{error}");
    }

    #[test]
    fn a_sequence_is_as_long_as_it_says_in_every_form_of_length() {
        let with = |head: &[u8], content: usize| is_sequence(&[head, &vec![7; content]].concat());
        for (head, content) in [
            (&[0x30, 0][..], 0),
            (&[0x30, 3], 3),
            (&[0x30, 0x7f], 127),
            (&[0x30, 0x81, 0], 0),
            (&[0x30, 0x82, 1, 2], 258),
            (&[0x30, 0x84, 0, 0, 0, 1], 1),
        ] {
            assert!(with(head, content), "{head:x?}");
            assert!(!with(head, content + 1), "{head:x?} and one byte more");
        }
        // Without an end, with a length of five bytes, and another type.
        for (head, content) in
            [(&[0x30, 0x80][..], 0), (&[0x30, 0x80], 128), (&[0x30, 0x85, 0, 0, 0, 0, 1], 1)]
        {
            assert!(!with(head, content), "{head:x?}");
        }
        assert!(!with(&[0x31, 3], 3));
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", Certificate::of_process()), "Certificate(..)");
    }
}
