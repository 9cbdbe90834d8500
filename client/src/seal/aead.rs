//! AEAD: small structured values, sealed so that they open only where they belong.
//!
//! AES-256-GCM-SIV with a random nonce; a repeated nonce would show only whether two values are equal. The associated data is a
//! context label and fields that name the place, each with its length in front, so no two places have the same encoding.
//! Layout: head ([`common::sealed`]: format 1, or 2 with the number of the account's key), 12 bytes nonce, ciphertext, 16 bytes tag.

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use common::bounded::{BoundedBytes, TooMany};
use common::codec::{self, CodecError};
use common::sealed::{FIRST, NUMBERED};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::IntegrityError;
use crate::keys::{KEY_BYTES, random};

const NONCE_BYTES: usize = 12;
/// By how much sealing lengthens.
pub const OVERHEAD_BYTES: usize = 1 + NONCE_BYTES + 16;

/// A key to seal with, and which of its account's keys it is or was derived from: 0 for the first, and for keys that are no account's.
#[derive(Clone, Copy)]
pub struct Under<'a> {
    pub number: u32,
    pub key: &'a [u8; KEY_BYTES],
}

impl<'a> From<&'a [u8; KEY_BYTES]> for Under<'a> {
    fn from(key: &'a [u8; KEY_BYTES]) -> Self {
        Self { number: 0, key }
    }
}

/// What a sealed value is and where it belongs.
#[derive(Clone)]
pub struct Place {
    what: &'static str,
    fields: Vec<u8>,
}

impl Place {
    /// `what` is the word for people, `context` the label that no other kind of value has.
    #[must_use]
    pub fn new(what: &'static str, context: &'static str) -> Self {
        Self { what, fields: Vec::with_capacity(128) }.with(context.as_bytes())
    }

    /// Adds a field. Every place of one kind has the same fields in the same order.
    #[must_use]
    pub fn with(mut self, field: &[u8]) -> Self {
        self.fields.extend_from_slice(&(field.len() as u64).to_le_bytes());
        self.fields.extend_from_slice(field);
        self
    }

    /// The word for people.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }

    /// Associated data of a value with this head.
    fn behind(&self, head: &[u8]) -> Vec<u8> {
        [head, &self.fields].concat()
    }
}

/// A value that cannot be sealed: it is longer than the field that it is for.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot encode {what}")]
    Encode {
        what: &'static str,
        #[source]
        source: CodecError,
    },
    #[error("{what} is too long")]
    TooLong {
        what: &'static str,
        #[source]
        source: TooMany,
    },
}

/// Encodes a value behind its format byte and seals it.
///
/// # Errors
/// When the value cannot be encoded.
pub fn seal<'a, T: Serialize>(
    key: impl Into<Under<'a>>,
    place: &Place,
    format: u8,
    value: &T,
) -> Result<Vec<u8>, SealError> {
    let encoded = codec::encode(value).map_err(|source| SealError::Encode { what: place.what, source })?;
    let encoded = Zeroizing::new(encoded);
    let mut plain = Zeroizing::new(Vec::with_capacity(encoded.len() + 1));
    plain.push(format);
    plain.extend_from_slice(&encoded);
    Ok(seal_bytes(key.into(), place, &plain, random()))
}

/// As [`seal`], into the bounded field of a message.
///
/// # Errors
/// When the value cannot be encoded or is longer than the field.
pub fn seal_bounded<'a, T: Serialize, const MAX: usize>(
    key: impl Into<Under<'a>>,
    place: &Place,
    format: u8,
    value: &T,
) -> Result<BoundedBytes<MAX>, SealError> {
    let sealed = seal(key, place, format, value)?;
    BoundedBytes::try_from(sealed).map_err(|source| SealError::TooLong { what: place.what, source })
}

/// Opens a sealed value.
///
/// # Errors
/// When it was not sealed with this key for this place, or has an unknown format.
pub fn open<T: DeserializeOwned>(
    key: &[u8; KEY_BYTES],
    place: &Place,
    known: u8,
    sealed: &[u8],
) -> Result<T, IntegrityError> {
    let what = place.what;
    let plain = open_bytes(key, place, sealed)?;
    let Some((found, encoded)) = plain.split_first() else {
        return Err(IntegrityError::Unauthentic { what });
    };
    if *found > known || *found == 0 {
        return Err(IntegrityError::NewerFormat { what, found: *found, known });
    }
    codec::decode(encoded).map_err(|source| IntegrityError::Malformed { what, source })
}

/// Seals anew, under another key, what was sealed for this place; whatever it is.
///
/// # Errors
/// When it was not sealed with the old key for this place.
pub fn reseal<'a>(
    old: &[u8; KEY_BYTES],
    new: impl Into<Under<'a>>,
    place: &Place,
    sealed: &[u8],
) -> Result<Vec<u8>, IntegrityError> {
    Ok(seal_bytes(new.into(), place, &open_bytes(old, place, sealed)?, random()))
}

#[expect(clippy::expect_used, reason = "the cipher refuses only above 64 GiB")]
fn seal_bytes(under: Under<'_>, place: &Place, plain: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    let cipher = Aes256GcmSiv::new(under.key.into());
    let mut sealed = common::sealed::head(under.number);
    let payload = Payload { msg: plain, aad: &place.behind(&sealed) };
    let body = cipher.encrypt(&Nonce::from(nonce), payload).expect("far below the cipher's limit");
    sealed.reserve_exact(NONCE_BYTES + body.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&body);
    sealed
}

fn open_bytes(key: &[u8; KEY_BYTES], place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, IntegrityError> {
    let what = place.what;
    let refuse = || IntegrityError::Unauthentic { what };
    let found = *sealed.first().ok_or_else(refuse)?;
    if !matches!(found, FIRST | NUMBERED) {
        return Err(IntegrityError::NewerFormat { what, found, known: NUMBERED });
    }
    let head = common::sealed::head(common::sealed::key_of(sealed).ok_or_else(refuse)?);
    let rest = sealed.get(head.len()..).ok_or_else(refuse)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(refuse)?;
    let payload = Payload { msg: body, aad: &place.behind(&head) };
    let plain = Aes256GcmSiv::new(key.into()).decrypt(&Nonce::from(*nonce), payload).map_err(|_| refuse())?;
    Ok(Zeroizing::new(plain))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Seals with a nonce of sevens, for golden bytes.
    pub(crate) fn seal_fixed<T: Serialize>(key: &[u8; 32], place: &Place, format: u8, value: &T) -> Vec<u8> {
        let plain = [vec![format], codec::encode(value).unwrap()].concat();
        seal_bytes(key.into(), place, &plain, [7; NONCE_BYTES])
    }

    #[test]
    fn what_is_sealed_anew_opens_with_the_new_key_alone_and_its_number_is_bound_to_it() {
        let old = seal(&[1; 32], &place(), 1, &5_u8).unwrap();
        let new = reseal(&[1; 32], Under { number: 258, key: &[2; 32] }, &place(), &old).unwrap();
        assert_eq!((&new[..5], new.len()), (&[2, 2, 1, 0, 0][..], old.len() + 4));
        assert_eq!(open::<u8>(&[2; 32], &place(), 1, &new).unwrap(), 5);
        assert!(open::<u8>(&[1; 32], &place(), 1, &new).is_err());
        assert!(reseal(&[3; 32], &[4; 32], &place(), &old).is_err());
        let mut other = new;
        other[1] = 3;
        assert!(matches!(open::<u8>(&[2; 32], &place(), 1, &other), Err(IntegrityError::Unauthentic { .. })));
    }

    fn place() -> Place {
        Place::new("thing", "shoal test").with(b"ab").with(b"c")
    }

    #[test]
    fn the_cipher_is_aes_256_gcm_siv_of_rfc_8452() {
        // Appendix C.2: plaintext 0100000000000000, no associated data.
        let mut key = [0; 32];
        key[0] = 1;
        let mut nonce = [0; 12];
        nonce[0] = 3;
        let sealed =
            Aes256GcmSiv::new(&key.into()).encrypt(&Nonce::from(nonce), &[1, 0, 0, 0, 0, 0, 0, 0][..]).unwrap();
        let hex: String = sealed.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28");
    }

    #[test]
    fn fields_cannot_slide_into_each_other() {
        let sealed = seal(&[1; 32], &place(), 1, &5_u8).unwrap();
        assert_eq!(open::<u8>(&[1; 32], &place(), 1, &sealed).unwrap(), 5);
        assert_eq!(sealed.len(), 2 + OVERHEAD_BYTES);
        for other in [
            Place::new("thing", "shoal test").with(b"a").with(b"bc"),
            Place::new("thing", "shoal test").with(b"abc"),
            Place::new("thing", "shoal testab").with(b"c"),
            place().with(b""),
        ] {
            assert!(matches!(open::<u8>(&[1; 32], &other, 1, &sealed), Err(IntegrityError::Unauthentic { .. })));
        }
        assert!(open::<u8>(&[2; 32], &place(), 1, &sealed).is_err());
    }

    #[test]
    fn newer_formats_are_told_apart_from_forgeries() {
        let sealed = seal(&[1; 32], &place(), 2, &5_u8).unwrap();
        assert!(matches!(
            open::<u8>(&[1; 32], &place(), 1, &sealed),
            Err(IntegrityError::NewerFormat { found: 2, known: 1, .. })
        ));
        let mut outer = sealed;
        outer[0] = 9;
        assert!(matches!(open::<u8>(&[1; 32], &place(), 2, &outer), Err(IntegrityError::NewerFormat { found: 9, .. })));
    }

    proptest! {
        #[test]
        fn every_changed_byte_is_noticed_and_no_bytes_panic(
            value in any::<[u8; 20]>(), at in any::<prop::sample::Index>(), flip in 1_u8..,
            noise in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut sealed = seal(&[1; 32], &place(), 1, &value).unwrap();
            prop_assert_eq!(open::<[u8; 20]>(&[1; 32], &place(), 1, &sealed).unwrap(), value);
            let at = at.index(sealed.len());
            sealed[at] ^= flip;
            prop_assert!(open::<[u8; 20]>(&[1; 32], &place(), 1, &sealed).is_err());
            sealed[at] ^= flip;
            sealed.truncate(at);
            prop_assert!(open::<[u8; 20]>(&[1; 32], &place(), 1, &sealed).is_err());
            prop_assert!(open::<[u8; 20]>(&[1; 32], &place(), 1, &noise).is_err());
        }
    }
}
