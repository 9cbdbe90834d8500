//! Statement: Ed25519 signatures of the directory on what others check offline: cluster maps and grants.
//!
//! The key behind [`signed`](crate::signed), which also puts the kind of a statement under the signature.

use std::fmt;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::disk::{self, DiskError};
use crate::signed::{Signer, Verifier};

/// Length of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// A statement key that cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum StatementKeyError {
    #[error("the operating system gives no randomness")]
    Randomness,
    #[error("the statement key is malformed")]
    Malformed,
    #[error("the statement key in {} is malformed", path.display())]
    File { path: std::path::PathBuf },
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// Signs; the directory alone has it.
pub struct StatementKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

/// Verifies; everybody has it since enrolment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StatementPublic(pub [u8; 32]);

impl StatementKey {
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate() -> Result<Self, StatementKeyError> {
        let document =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| StatementKeyError::Randomness)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// # Errors
    /// Unless these bytes are an Ed25519 key in PKCS#8, version 2.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, StatementKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| StatementKeyError::Malformed)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// Saves it with mode 0600, as PKCS#8 DER.
    ///
    /// # Errors
    /// When there is such a file already, or the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), StatementKeyError> {
        Ok(disk::create_private(path, &self.pkcs8)?)
    }

    /// # Errors
    /// When the file is missing, readable by others or no key.
    pub fn load(path: &Path) -> Result<Self, StatementKeyError> {
        Self::from_pkcs8(&disk::read_private(path)?).map_err(|_| StatementKeyError::File { path: path.to_owned() })
    }

    #[must_use]
    pub fn public(&self) -> StatementPublic {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref()); // an Ed25519 public key always has 32 bytes
        StatementPublic(bytes)
    }
}

impl Signer for StatementKey {
    fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        bytes.copy_from_slice(self.pair.sign(message).as_ref()); // an Ed25519 signature always has 64 bytes
        bytes
    }
}

impl Verifier for StatementPublic {
    fn verify(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for StatementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementKey(secret of {:?})", self.public())
    }
}

impl fmt::Debug for StatementPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatementPublic({})", data_encoding::HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statement.key");
        let key = StatementKey::generate().unwrap();
        key.save(&path).unwrap();
        let key = StatementKey::load(&path).unwrap();
        let mut signature = key.sign(b"message");
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"massage", &signature));
        assert!(!StatementKey::generate().unwrap().public().verify(b"message", &signature));
        signature[0] ^= 1;
        assert!(!key.public().verify(b"message", &signature));
    }

    #[test]
    fn a_malformed_key_is_refused() {
        assert!(matches!(StatementKey::from_pkcs8(&[1, 2, 3]), Err(StatementKeyError::Malformed)));
    }
}
