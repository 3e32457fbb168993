//! The process's signing keys, parsed once.
//!
//! The DTLS library parses the private key anew for every session, twice where the first
//! ClientHello decides about the version, and each time checks that the public key is on its
//! curve: a fifth of what a connect costs. All sessions sign with one certificate, so the parsed
//! key is kept.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dimpl::CryptoError;
use dimpl::crypto::{Buf, HashAlgorithm, KeyProvider, SignatureAlgorithm, SigningKey};

/// Keys that are kept; the oldest gives way. A process has one, and two while it changes over.
const KEYS_MAX: usize = 4;

/// Loads keys through the library, or finds them loaded.
#[derive(Debug)]
pub(super) struct Keys;

/// Whether the library can sign with this key.
pub(in crate::transport) fn is_key(der: &[u8]) -> bool {
    load(der).is_ok()
}

fn load(der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
    dimpl::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(der)
}

impl KeyProvider for Keys {
    fn load_private_key(&self, der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        static KEYS: Mutex<Vec<SharedKey>> = Mutex::new(Vec::new());
        let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.iter().find(|key| *key.der == *der) {
            return Ok(Box::new(key.clone()));
        }
        let key = SharedKey::new(der)?;
        if keys.len() == KEYS_MAX {
            keys.remove(0);
        }
        keys.push(key.clone());
        Ok(Box::new(key))
    }
}

#[derive(Clone)]
struct SharedKey {
    der: Arc<[u8]>,
    key: Arc<Mutex<Box<dyn SigningKey>>>,
    algorithm: SignatureAlgorithm,
    hash: HashAlgorithm,
    hashes: Arc<[HashAlgorithm]>,
}

impl SharedKey {
    fn new(der: &[u8]) -> Result<SharedKey, CryptoError> {
        let key = load(der)?;
        Ok(SharedKey {
            der: der.into(),
            algorithm: key.algorithm(),
            hash: key.hash_algorithm(),
            hashes: key.supported_hash_algorithms().into(),
            key: Arc::new(Mutex::new(key)),
        })
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl SigningKey for SharedKey {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        match self.key.try_lock() {
            Ok(mut key) => key.sign(data, hash, out),
            // Another thread signs: parsing the key costs less than waiting can.
            Err(_) => load(&self.der)?.sign(data, hash, out),
        }
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.hash
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &self.hashes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Certificate;

    #[test]
    fn a_key_signs_alone_and_while_another_thread_signs() {
        let der = Certificate::generate().unwrap().for_engine().private_key;
        let mut key = SharedKey::new(&der).unwrap();
        let (hash, mut out) = (key.hash_algorithm(), Buf::new());
        key.sign(b"data", hash, &mut out).unwrap();
        assert!(!out.is_empty());
        let busy = key.key.clone();
        let _signing = busy.lock().unwrap();
        let mut second = Buf::new();
        key.sign(b"data", hash, &mut second).unwrap();
        assert!(!second.is_empty());
        assert_eq!(key.supported_hash_algorithms(), [hash]);
        assert_eq!(format!("{key:?}"), "SharedKey(..)");
    }

    #[test]
    fn more_keys_than_are_kept_all_work() {
        for _ in 0..=KEYS_MAX {
            let der = Certificate::generate().unwrap().for_engine().private_key;
            for _ in 0..2 {
                assert!(Keys.load_private_key(&der).is_ok());
            }
        }
        assert!(Keys.load_private_key(b"no key").is_err());
    }
}
