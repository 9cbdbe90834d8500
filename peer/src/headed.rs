//! Headed: the head of a small durable file: magic 8, version 2, CRC32C of the content 4. What follows is the common codec's.

use common::codec::{self, CodecError};
use serde::Serialize;
use serde::de::DeserializeOwned;

const HEAD: usize = 8 + 2 + 4;

/// Bytes that are not such a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it has version {found}")]
    Newer { found: u16 },
    #[error("it is damaged")]
    Damaged(#[source] Option<CodecError>),
}

pub(crate) fn encode(magic: &[u8; 8], version: u16, content: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    let content = codec::encode(content)?;
    let mut bytes = Vec::with_capacity(HEAD + content.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

/// The version is believed before the checksum, since a later format may lay out the rest otherwise.
pub(crate) fn decode<T: DeserializeOwned>(magic: &[u8; 8], version: u16, bytes: &[u8]) -> Result<T, Unreadable> {
    let damaged = || Unreadable::Damaged(None);
    let (head, content) = bytes.split_at_checked(HEAD).ok_or_else(damaged)?;
    let (found, rest) = head.split_at_checked(magic.len()).ok_or_else(damaged)?;
    let &[v0, v1, c0, c1, c2, c3] = rest else { return Err(damaged()) };
    if found != magic {
        return Err(damaged());
    }
    let found = u16::from_le_bytes([v0, v1]);
    if found != version {
        return Err(Unreadable::Newer { found });
    }
    if crc32c::crc32c(content) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(damaged());
    }
    codec::decode(content).map_err(|source| Unreadable::Damaged(Some(source)))
}
