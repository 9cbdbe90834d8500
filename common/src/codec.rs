//! Codec: the one module that knows bincode.
//!
//! Every structured header, message and record is a bincode 2 value in its standard configuration (little-endian, variable-length
//! integers), at most [`MESSAGE_BYTES`] long, with nothing behind it. Bodies of shards never pass through here.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use bincode::serde::{borrow_decode_from_slice, encode_to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::MESSAGE_BYTES;

/// Bytes that are not the value that they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("{len} bytes are more than the {MESSAGE_BYTES} that a value may have")]
    TooLong { len: usize },
    #[error("malformed value")]
    Malformed(#[source] Box<bincode::error::DecodeError>),
    #[error("{left} bytes left over behind a value")]
    Trailing { left: usize },
    #[error("value cannot be encoded")]
    Unencodable(#[source] Box<bincode::error::EncodeError>),
}

fn configuration() -> Configuration<LittleEndian, Varint, Limit<MESSAGE_BYTES>> {
    config::standard().with_limit::<MESSAGE_BYTES>()
}

/// # Errors
/// [`CodecError::TooLong`] when the value does not fit in a message.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = encode_to_vec(value, configuration()).map_err(|e| CodecError::Unencodable(Box::new(e)))?;
    if bytes.len() > MESSAGE_BYTES {
        return Err(CodecError::TooLong { len: bytes.len() });
    }
    Ok(bytes)
}

/// Decodes a whole value. Allocates no more than a small multiple of the input's length (tests/bounds.rs measures it): the borrowing
/// decoder cuts bytes and text out of the input, where the owning one allocates whatever length they claim before it reads them.
///
/// # Errors
/// On anything but exactly one value of the type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > MESSAGE_BYTES {
        return Err(CodecError::TooLong { len: bytes.len() });
    }
    let (value, used) =
        borrow_decode_from_slice(bytes, configuration()).map_err(|e| CodecError::Malformed(Box::new(e)))?;
    if used != bytes.len() {
        return Err(CodecError::Trailing { left: bytes.len() - used });
    }
    Ok(value)
}
