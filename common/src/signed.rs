//! Signed: a statement of the directory, as bytes with an Ed25519 signature (RFC 8032), and how it is checked.
//!
//! What is signed is `context || 0 || bytes`, so that a signature over one kind of statement is worthless for another. The bytes
//! are kept as they were signed; nothing is re-encoded to be checked.

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounded::BoundedBytes;
use crate::codec::{self, CodecError};
use crate::limits::MESSAGE_BYTES;

/// A value that the directory signs.
pub trait Statement: Serialize + DeserializeOwned {
    /// What kind of statement it is, and its format's version.
    const CONTEXT: &'static str;
}

/// Whoever can sign: the directory's statement key.
pub trait Signer {
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// Whoever can check: the key's public half.
pub trait Verifier {
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool;
}

/// A statement that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("the signature under {context:?} is wrong")]
    Signature { context: &'static str },
    #[error("a signed {context:?} is malformed")]
    Malformed {
        context: &'static str,
        #[source]
        source: CodecError,
    },
}

/// A statement with its signature, not yet checked.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<T> {
    bytes: BoundedBytes<MESSAGE_BYTES>,
    signature: BoundedBytes<64>,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), signature: self.signature.clone(), kind: PhantomData }
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T: Statement> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({}, {} bytes)", T::CONTEXT, self.bytes.len())
    }
}

fn to_be_signed(context: &str, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(context.len() + 1 + bytes.len());
    message.extend_from_slice(context.as_bytes());
    message.push(0);
    message.extend_from_slice(bytes);
    message
}

impl<T: Statement> Signed<T> {
    /// # Errors
    /// When the statement does not fit in a message.
    pub fn sign(statement: &T, signer: &impl Signer) -> Result<Self, CodecError> {
        let bytes = codec::encode(statement)?;
        let signature = signer.sign(&to_be_signed(T::CONTEXT, &bytes)).to_vec();
        let too_long = |e: crate::bounded::TooMany| CodecError::TooLong { len: e.len };
        Ok(Self {
            bytes: BoundedBytes::try_from(bytes).map_err(too_long)?,
            signature: BoundedBytes::try_from(signature).map_err(too_long)?,
            kind: PhantomData,
        })
    }

    /// The statement, if the signature is the verifier's.
    ///
    /// # Errors
    /// [`SignedError::Signature`] before anything of the content is looked at.
    pub fn verify(&self, verifier: &impl Verifier) -> Result<T, SignedError> {
        let refuse = SignedError::Signature { context: T::CONTEXT };
        let Ok(signature) = <&[u8; 64]>::try_from(&*self.signature) else { return Err(refuse) };
        if !verifier.verify(&to_be_signed(T::CONTEXT, &self.bytes), signature) {
            return Err(refuse);
        }
        codec::decode(&self.bytes).map_err(|source| SignedError::Malformed { context: T::CONTEXT, source })
    }

    /// The bytes that were signed: a key for caches of checked statements, together with the signature.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.signature);
        hasher.update(&self.bytes);
        hasher.finalize().into()
    }
}
