//! Manifest: which runs of which chunks a version is made of, in pages that are sealed with the version's manifest key.
//!
//! Guarantees: a page opens only for its version and its number; a reader notices a page that is missing, doubled or from
//! elsewhere, and a manifest that is shorter or longer than its version. All pages but the last are full, so an extent's
//! number tells its page. Layout: docs/FORMATS.md.
//!
//! Non-goals: fetching. Everything here is values in, values out.

mod page;
mod read;
mod write;

use std::ops::DerefMut;

use bytes::Bytes;
use common::id::ChunkId;
use common::limits::CHUNK_BYTES;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::{KEY_BYTES, random};
use crate::seal::{self, Codec, Digest, ExtentKey, IntegrityError, Secret, Verified};

pub use page::{Page, PageId};
pub use read::{Located, PageSearch, Reader, Searched};
pub use write::{NewPage, Totals, WriteError, Writer};

/// Seals the pages of one version, and is what sharing it hands on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct ManifestKey(pub [u8; KEY_BYTES]);

impl ManifestKey {
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }
}

impl std::fmt::Debug for ManifestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManifestKey(..)")
    }
}

/// A run of a file's content, sealed on its own: where it lies and what opens it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Extent {
    pub chunk: ChunkId,
    /// Where the run begins in the sealed chunk.
    pub offset: u32,
    /// Its length there, and (as long as every codec is plain) in the file.
    pub len: u32,
    pub codec: u8,
    pub key: ExtentKey,
    pub digest: Digest,
}

impl Extent {
    /// The extent that is a chunk of its own.
    #[must_use]
    pub fn whole(chunk: ChunkId, len: u32, digest: Digest, secret: &Secret) -> Self {
        Self { chunk, offset: 0, len, codec: secret.codec.number(), key: secret.key.clone(), digest }
    }

    /// Opens the run's sealed bytes: those from `offset` to `offset + len` of its chunk, and no others.
    ///
    /// # Errors
    /// When they are not the content that the extent stands for.
    pub fn open<B>(&self, sealed: B) -> Result<Verified, IntegrityError>
    where
        B: DerefMut<Target = [u8]> + Into<Bytes>,
    {
        if u32::try_from(sealed.len()) != Ok(self.len) {
            return Err(IntegrityError::Length { wanted: self.len, found: sealed.len() });
        }
        let secret = Secret { codec: Codec::from_number(self.codec)?, key: self.key.clone() };
        seal::open(sealed, &secret, &self.digest)
    }

    /// An extent is not empty and lies within the longest chunk.
    fn is_possible(&self) -> bool {
        let end = u64::from(self.offset) + u64::from(self.len);
        self.len > 0 && end <= CHUNK_BYTES as u64
    }
}

#[cfg(test)]
mod tests;
