//! Pack: many small files in one chunk, each sealed on its own under the key of its own content.
//!
//! Guarantees: one file is read and verified alone by a range read, and its extent opens no neighbour. The id of a pack is keyed
//! and commits to the order, lengths, keys and digests of all that is in it, and so to its very bytes: one id, one sealed chunk.
//! Layout: docs/FORMATS.md.
//!
//! Non-goals: empty files, which need no chunk; and finding small files that are in another pack already.

use bytes::BytesMut;
use common::id::ChunkId;
use common::limits::CHUNK_BYTES;

use crate::keys::{KEY_BYTES, Keys};
use crate::manifest::Extent;
use crate::seal::{
    Buffer, Codec, Compression, Digest, ExtentKey, IntegrityError, Pool, Sealed, Secret, Verified, seal_behind,
};

/// Files of this length and longer are chunks of their own.
pub const PACK_FILE_MAX: usize = 256 << 10;
/// A pack of this length is sent; it never exceeds [`CHUNK_BYTES`].
pub const PACK_TARGET_BYTES: usize = 2 << 20;
/// Files in one pack.
pub const PACK_FILES: usize = 4_096;

const CONTEXT: &str = "shoal v1 pack";

const _: () = assert!(PACK_TARGET_BYTES + PACK_FILE_MAX <= CHUNK_BYTES, "the file that fills a pack fits in it");

/// Content that does not belong in this pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("an empty file has no extent")]
    Empty,
    #[error("{len} bytes are too many for a pack, which takes files below {PACK_FILE_MAX}")]
    TooLarge { len: usize },
    #[error("the pack is full")]
    Full,
}

/// Fills one pack.
#[derive(Debug)]
pub struct PackBuilder {
    buffer: Buffer,
    runs: Vec<Run>,
    compression: Compression,
}

/// One file's place.
#[derive(Debug)]
struct Run {
    offset: u32,
    size: u32,
    digest: Digest,
    secret: Secret,
}

/// A finished pack.
#[derive(Debug)]
pub struct Pack {
    pub sealed: Sealed,
    /// What is registered as the chunk's key: none, since each extent has its own.
    pub secret: Secret,
    /// One for each file, in the order in which they were added.
    pub extents: Vec<Extent>,
}

impl PackBuilder {
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        Self { buffer: pool.take(), runs: Vec::new(), compression: Compression::Auto }
    }

    /// The same, compressing as it is told.
    #[must_use]
    pub fn with(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether it should be finished and sent.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= PACK_TARGET_BYTES || self.runs.len() >= PACK_FILES
    }

    /// Seals the content of one file behind the others.
    ///
    /// # Errors
    /// When it is empty, too large or [`is_full`](Self::is_full); the pack is as it was.
    pub fn push(&mut self, content: &[u8], keys: &Keys) -> Result<(), PackError> {
        self.push_named(content, Digest::of(content), keys)
    }

    /// The same for content whose digest is known.
    pub(crate) fn push_named(&mut self, content: &[u8], digest: Digest, keys: &Keys) -> Result<(), PackError> {
        if content.is_empty() {
            return Err(PackError::Empty);
        }
        if content.len() >= PACK_FILE_MAX {
            return Err(PackError::TooLarge { len: content.len() });
        }
        if self.is_full() {
            return Err(PackError::Full);
        }
        let from = self.buffer.len();
        let (Ok(offset), Ok(size)) = (u32::try_from(from), u32::try_from(content.len())) else {
            return Err(PackError::Full);
        };
        let secret = seal_behind(&mut self.buffer, content, digest, keys, self.compression).ok_or(PackError::Full)?;
        self.runs.push(Run { offset, size, digest, secret });
        Ok(())
    }

    /// The pack, or `None` when nothing is in it.
    #[must_use]
    pub fn finish(self, keys: &Keys) -> Option<Pack> {
        if self.is_empty() {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        for Run { digest, secret, .. } in &self.runs {
            hasher.update(&secret.len.to_le_bytes());
            hasher.update(&[secret.codec.number()]);
            hasher.update(&secret.key.0);
            hasher.update(&digest.0);
        }
        let chunk = Digest(*hasher.finalize().as_bytes()).chunk_id(keys);
        let extents = self.runs.into_iter().map(|run| extent(chunk, run)).collect();
        let len = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX);
        let secret = Secret { codec: Codec::Plain, key: ExtentKey([0; KEY_BYTES]), len };
        Some(Pack { sealed: Sealed::pack(chunk, self.buffer), secret, extents })
    }
}

fn extent(chunk: ChunkId, Run { offset, size, digest, secret }: Run) -> Extent {
    Extent { offset, ..Extent::whole(chunk, size, digest, &secret) }
}

/// Opens one file's sealed bytes, as a range read of the pack gave them.
///
/// # Errors
/// When they are not the content that the extent stands for.
pub fn open_extent(sealed: BytesMut, extent: &Extent) -> Result<Verified, IntegrityError> {
    extent.open(sealed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;
    use proptest::prelude::*;

    fn keys() -> Keys {
        MasterKey([7; 32]).derive()
    }

    fn pack(files: &[Vec<u8>]) -> Pack {
        let mut builder = PackBuilder::new(&Pool::new(0));
        for file in files {
            builder.push(file, &keys()).unwrap();
        }
        builder.finish(&keys()).unwrap()
    }

    #[test]
    fn golden_bytes_of_a_pack() {
        let pack = pack(&[b"one".to_vec(), b"two!".to_vec()]);
        let hex: String = pack.sealed.bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            (pack.sealed.chunk().to_string(), hex),
            ("92b7bd4711fabfd10e9566a22bb3594860824bb9".to_owned(), "59dc2aed60b37d".to_owned())
        );
        assert_eq!(pack.extents.iter().map(|e| (e.offset, e.len)).collect::<Vec<_>>(), [(0, 3), (3, 4)]);
    }

    #[test]
    fn the_id_commits_to_all_files_and_their_order() {
        let (a, b) = (b"a".to_vec(), b"b".to_vec());
        let ids = [
            pack(&[a.clone(), b.clone()]),
            pack(&[b.clone(), a.clone()]),
            pack(&[[a.clone(), b].concat()]),
            pack(&[a]),
        ]
        .map(|pack| pack.sealed.chunk());
        assert!(ids.iter().enumerate().all(|(i, id)| !ids[i + 1..].contains(id)));
    }

    #[test]
    fn what_does_not_belong_in_a_pack_is_refused_and_a_full_pack_says_so() {
        let mut builder = PackBuilder::new(&Pool::new(0));
        assert_eq!(builder.push(b"", &keys()), Err(PackError::Empty));
        let mut large = vec![0; PACK_FILE_MAX];
        blake3::Hasher::new().finalize_xof().fill(&mut large); // nothing of it compresses
        assert_eq!(builder.push(&large, &keys()), Err(PackError::TooLarge { len: PACK_FILE_MAX }));
        assert!(builder.is_empty());
        while !builder.is_full() {
            builder.push(&large[1..], &keys()).unwrap();
        }
        assert_eq!(builder.push(b"x", &keys()), Err(PackError::Full));
        assert!(builder.finish(&keys()).unwrap().sealed.bytes().len() <= PACK_TARGET_BYTES + PACK_FILE_MAX);
        assert!(PackBuilder::new(&Pool::new(0)).finish(&keys()).is_none());
    }

    proptest! {
        #[test]
        fn each_file_opens_alone_and_no_other_bytes_pass(
            mut files in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..99), 1..20), flip in 1_u8..,
        ) {
            files.extend(files.clone().iter().map(|file| file.repeat(9)));
            let pack = pack(&files);
            for (file, extent) in files.iter().zip(&pack.extents) {
                let range = extent.offset as usize..(extent.offset + extent.len) as usize;
                let mut run = BytesMut::from(&pack.sealed.bytes()[range]);
                let opened = open_extent(run.clone(), extent).unwrap();
                prop_assert_eq!(&opened.bytes()[..], &file[..]);
                run[0] ^= flip;
                prop_assert!(open_extent(run, extent).is_err());
            }
        }
    }
}
