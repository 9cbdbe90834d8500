//! Record: how a value of the store is written: one format byte, then the value in the common codec.
//!
//! A record of a format that this program does not know is a typed error and never misread.

use common::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value of the store.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it is called in errors.
    const NAME: &'static str;
    /// The format that is written, and the highest that is read.
    const FORMAT: u8 = 1;
}

/// Bytes in the store that are no record of this program.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("an empty {name} record")]
    Empty { name: &'static str },
    #[error("a {name} record of format {found}, and this program knows up to {known}: use a newer program")]
    Newer { name: &'static str, found: u8, known: u8 },
    #[error("a {name} record of format {found}, which never was")]
    Unknown { name: &'static str, found: u8 },
    #[error("a malformed {name} record")]
    Malformed {
        name: &'static str,
        #[source]
        source: CodecError,
    },
    #[error("a {name} record cannot be written")]
    Unencodable {
        name: &'static str,
        #[source]
        source: CodecError,
    },
    #[error("a key of the {table} table is malformed")]
    Key { table: &'static str },
}

/// # Errors
/// When it does not fit in a value.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, RecordError> {
    let body = codec::encode(record).map_err(|source| RecordError::Unencodable { name: R::NAME, source })?;
    let mut bytes = Vec::with_capacity(1 + body.len());
    bytes.push(R::FORMAT);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// # Errors
/// On anything but exactly one record of the type, in a known format.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, RecordError> {
    let (format, body) = bytes.split_first().ok_or(RecordError::Empty { name: R::NAME })?;
    if *format > R::FORMAT {
        return Err(RecordError::Newer { name: R::NAME, found: *format, known: R::FORMAT });
    }
    if *format == 0 {
        return Err(RecordError::Unknown { name: R::NAME, found: 0 });
    }
    codec::decode(body).map_err(|source| RecordError::Malformed { name: R::NAME, source })
}

/// Checks a record against its golden bytes, in hex, and that a newer format and truncation are refused.
#[cfg(test)]
pub(crate) fn golden<R: Record + std::fmt::Debug + PartialEq>(record: &R, expected: &str) {
    use std::fmt::Write as _;
    let bytes = encode(record).unwrap();
    let hex = bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(hex, expected, "{} was written differently", R::NAME);
    assert_eq!(&decode::<R>(&bytes).unwrap(), record);
    let mut newer = bytes.clone();
    newer[0] = R::FORMAT + 1;
    assert!(matches!(decode::<R>(&newer), Err(RecordError::Newer { .. })));
    for len in 0..bytes.len() {
        assert!(decode::<R>(&bytes[..len]).is_err(), "{} of {len} bytes was taken", R::NAME);
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode::<R>(&longer).is_err());
}
