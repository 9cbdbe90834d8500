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
use crate::seal::{self, Buffer, Codec, Digest, ExtentKey, IntegrityError, Opening, Secret, Verified};

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
    /// Its length there.
    pub len: u32,
    /// Its length in the file.
    pub size: u32,
    pub codec: u8,
    pub key: ExtentKey,
    pub digest: Digest,
}

impl Extent {
    /// The extent that is a chunk of its own.
    #[must_use]
    pub fn whole(chunk: ChunkId, size: u32, digest: Digest, secret: &Secret) -> Self {
        let Secret { codec, key, len } = secret;
        Self { chunk, offset: 0, len: *len, size, codec: codec.number(), key: key.clone(), digest }
    }

    /// Opens the run's sealed bytes: those from `offset` to `offset + len` of its chunk, and no others.
    ///
    /// # Errors
    /// When they are not the content that the extent stands for.
    pub fn open<B>(&self, sealed: B) -> Result<Verified, IntegrityError>
    where
        B: DerefMut<Target = [u8]> + Into<Bytes>,
    {
        self.open_in(sealed, || Buffer::with_room(self.size as usize))
    }

    /// The same; what was compressed gets this room, which is a chunk at most.
    pub(crate) fn open_in<B>(&self, sealed: B, room: impl FnOnce() -> Buffer) -> Result<Verified, IntegrityError>
    where
        B: DerefMut<Target = [u8]> + Into<Bytes>,
    {
        let secret = self.secret()?;
        if u32::try_from(sealed.len()) != Ok(self.len) {
            return Err(IntegrityError::Length { wanted: self.len, found: sealed.len() });
        }
        self.of_its_size(seal::open_in(sealed, &secret, &self.digest, self.size as usize, room)?)
    }

    /// Begins to open the run, whose sealed bytes are still to come, into an empty buffer.
    ///
    /// # Errors
    /// When there is no such run, or this program does not know how it was made.
    pub(crate) fn opening(&self, room: Buffer) -> Result<Opening, IntegrityError> {
        Ok(Opening::new(self.secret()?, self.digest, room))
    }

    /// The content of what was begun with [`Extent::opening`] and has arrived; what was compressed gets this room.
    ///
    /// # Errors
    /// As [`Extent::open`].
    pub(crate) fn opened(&self, opening: Opening, room: impl FnOnce() -> Buffer) -> Result<Verified, IntegrityError> {
        self.of_its_size(opening.finish(self.size as usize, room)?)
    }

    fn secret(&self) -> Result<Secret, IntegrityError> {
        if !self.is_possible() {
            return Err(IntegrityError::Inconsistent { what: "an extent", field: "its lengths" });
        }
        Ok(Secret { codec: Codec::from_number(self.codec)?, key: self.key.clone(), len: self.len })
    }

    fn of_its_size(&self, opened: Verified) -> Result<Verified, IntegrityError> {
        match opened.bytes().len() {
            len if len == self.size as usize => Ok(opened),
            found => Err(IntegrityError::Length { wanted: self.size, found }),
        }
    }

    /// An extent is not empty, lies within the longest chunk, and stands for no more than that. Only what was compressed is shorter than
    /// what it stands for.
    pub(crate) fn is_possible(&self) -> bool {
        let end = u64::from(self.offset) + u64::from(self.len);
        let (most, plain) = (CHUNK_BYTES as u64, self.codec == Codec::Plain.number());
        self.len > 0
            && end <= most
            && self.size > 0
            && u64::from(self.size) <= most
            && (!plain || self.len == self.size)
    }
}

#[cfg(test)]
mod tests;
