//! Names: what people call files and folders, exactly as the platform has them, and the tokens that the directory sees instead.
//!
//! A name is bytes, not text: invalid UTF-8 is stored and returned as it was. [`RemotePath`] is a list of names from the
//! account's root. Display forms are for people and terminals: lossless, and free of control characters.

mod path;
mod show;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use common::bounded::BoundedBytes;
use common::id::NameToken;
use common::limits::NAME_BYTES;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use path::{PathError, RemotePath};
pub use show::Shown;

use crate::keys::Keys;

/// One name in a folder: 1 to 1,024 bytes, no `/`, no NUL, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

/// Bytes that cannot be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name cannot be empty")]
    Empty,
    #[error("a name of {len} bytes is too long: at most {NAME_BYTES} fit")]
    TooLong { len: usize },
    #[error("{} is no name; write the path without it", Shown(name))]
    Dots { name: Vec<u8> },
    #[error("a name cannot contain {what} (byte {at} of {})", Shown(name))]
    Forbidden { name: Vec<u8>, what: &'static str, at: usize },
}

impl Name {
    /// # Errors
    /// When these bytes cannot be one name in a folder.
    pub fn new(bytes: &[u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > NAME_BYTES {
            return Err(NameError::TooLong { len: bytes.len() });
        }
        if matches!(bytes, b"." | b"..") {
            return Err(NameError::Dots { name: bytes.to_owned() });
        }
        for (byte, what) in [(b'/', "a slash"), (0, "a NUL byte")] {
            if let Some(at) = bytes.iter().position(|b| *b == byte) {
                return Err(NameError::Forbidden { name: bytes.to_owned(), what, at });
            }
        }
        Ok(Self(bytes.to_owned()))
    }

    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_os(name: &OsStr) -> Result<Self, NameError> {
        Self::new(name.as_bytes())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn as_os(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    #[must_use]
    pub fn into_os(self) -> OsString {
        OsString::from_vec(self.0)
    }

    /// What the directory knows the name by: a keyed hash, the same in every folder of the account.
    #[must_use]
    pub fn token(&self, keys: &Keys) -> NameToken {
        self.token_as(keys, &[])
    }

    /// The token of the same text as a name of another kind, told apart by what stands in front of it.
    pub(crate) fn token_as(&self, keys: &Keys, kind: &[u8]) -> NameToken {
        let hash = blake3::Hasher::new_keyed(&keys.name).update(kind).update(&self.0).finalize();
        let mut token = [0; NameToken::LEN];
        for (to, from) in token.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        NameToken(token)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0).fmt(f)
    }
}

/// Names are secrets towards everything but the user's own terminal: they stay out of logs.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({} bytes)", self.0.len())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = BoundedBytes::<NAME_BYTES>::deserialize(deserializer)?;
        Self::new(&bytes).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;
    use common::codec;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_a_name_is_refused_with_the_reason() {
        for (bytes, text) in [
            (&b""[..], "a name cannot be empty"),
            (b".", ". is no name; write the path without it"),
            (b"..", ".. is no name; write the path without it"),
            (b"a/b", "a name cannot contain a slash (byte 1 of a/b)"),
            (b"ab\0", "a name cannot contain a NUL byte (byte 2 of ab\\x00)"),
            (&[b'x'; 1025], "a name of 1025 bytes is too long: at most 1024 fit"),
        ] {
            assert_eq!(Name::new(bytes).unwrap_err().to_string(), text);
        }
        assert!(Name::new(&[b'x'; 1024]).is_ok() && Name::new(b"...").is_ok());
    }

    #[test]
    fn a_name_of_invalid_utf_8_comes_back_byte_for_byte() {
        let name = Name::new(b"a\xff\xfeb").unwrap();
        let decoded: Name = codec::decode(&codec::encode(&name).unwrap()).unwrap();
        assert_eq!(decoded.into_os().as_bytes(), b"a\xff\xfeb");
        assert_eq!(Name::new(b"a\xff\\").unwrap().to_string(), "a\\xff\\\\");
        assert!(!format!("{:?}", Name::new(b"secret").unwrap()).contains("secret"));
    }

    #[test]
    fn tokens_are_keyed_and_never_change() {
        let name = Name::new(b"report.pdf").unwrap();
        let token = name.token(&MasterKey([7; 32]).derive());
        assert_eq!(token.to_string(), "d0603f2095af63b30e448a3daab6829f");
        assert_ne!(token, name.token(&MasterKey([8; 32]).derive()));
        assert_ne!(token, Name::new(b"report.pdg").unwrap().token(&MasterKey([7; 32]).derive()));
    }

    proptest! {
        #[test]
        fn a_decoded_name_is_a_valid_name(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(name) = codec::decode::<Name>(&bytes) {
                prop_assert!(Name::new(name.as_bytes()).is_ok());
            }
        }
    }
}
