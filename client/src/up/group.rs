//! Group: small files that are read, named, asked for and packed together. Values in, values out; what reads and seals blocks.
//!
//! A content that several files of the group have is there once.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use super::{Up, UpError};
use crate::keys::Keys;
use crate::manifest::Extent;
use crate::pack::{PACK_FILE_MAX, PACK_TARGET_BYTES, Pack, PackBuilder, PackError};
use crate::seal::{Buffer, Compression, Digest, Pool};
use crate::transfer::{PutJob, Source};

/// A file with the number of its content; links and empty files have none.
pub(super) struct Member {
    pub(super) job: PutJob,
    pub(super) content: Option<usize>,
}

/// One content, in the group's buffer.
pub(super) struct Content {
    pub(super) digest: Digest,
    range: Range<usize>,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }
}

/// What reading came to.
pub(super) struct Group {
    pub(super) files: Vec<Member>,
    pub(super) contents: Vec<Content>,
    pub(super) failed: Vec<(String, UpError)>,
    plain: Buffer,
}

/// Reads and names. Blocking.
pub(super) fn read(up: &Up, jobs: Vec<PutJob>) -> Group {
    let plain = up.pool.take();
    let mut group = Group { files: Vec::with_capacity(jobs.len()), contents: Vec::new(), failed: Vec::new(), plain };
    let mut numbers = HashMap::with_capacity(jobs.len());
    let mut content = Vec::with_capacity(PACK_FILE_MAX);
    for mut job in jobs {
        content.clear();
        let source = std::mem::replace(&mut job.source, Source::None);
        match read_one(source, &mut content).and_then(|()| group.take(&content, &mut numbers)) {
            Ok(number) => {
                up.progress().read(content.len() as u64);
                group.files.push(Member { job, content: number });
            }
            Err(error) => group.failed.push((job.shown, error)),
        }
    }
    group
}

/// The whole of a small file, which must not have grown beyond a pack's files.
fn read_one(source: Source, content: &mut Vec<u8>) -> Result<(), UpError> {
    if matches!(source, Source::None) {
        return Ok(());
    }
    let mut reading = super::open(source)?;
    let limit = PACK_FILE_MAX as u64;
    reading.by_ref().take(limit).read_to_end(content).map_err(|error| UpError::Read(Arc::new(error)))?;
    Ok(reading.finish()?)
}

impl Group {
    /// The number of this content; none for an empty one.
    fn take(&mut self, content: &[u8], numbers: &mut HashMap<Digest, usize>) -> Result<Option<usize>, UpError> {
        if content.is_empty() {
            return Ok(None);
        }
        if content.len() >= PACK_FILE_MAX {
            return Err(PackError::TooLarge { len: content.len() }.into());
        }
        let digest = Digest::of(content);
        if let Some(number) = numbers.get(&digest) {
            return Ok(Some(*number));
        }
        if self.plain.len() >= PACK_TARGET_BYTES {
            return Err(PackError::Full.into());
        }
        let from = self.plain.len();
        self.plain.append(content);
        let number = self.contents.len();
        numbers.insert(digest, number);
        self.contents.push(Content { digest, range: from..self.plain.len() });
        Ok(Some(number))
    }

    /// Packs those contents that are wanted, each with its extent's place among them; and lets all content go. Blocking.
    pub(super) fn pack(
        plain: &Buffer,
        wanted: &[(Digest, Range<usize>)],
        (pool, keys, compression): (&Pool, &Keys, Compression),
    ) -> Result<Option<Pack>, PackError> {
        let mut builder = PackBuilder::new(pool).with(compression);
        for (digest, range) in wanted {
            builder.push_named(plain.get(range.clone()).unwrap_or_default(), *digest, keys)?;
        }
        Ok(builder.finish(keys))
    }

    /// Takes out the bytes, and where these contents lie in them.
    pub(super) fn hand_over(&mut self, numbers: impl Iterator<Item = usize>) -> (Buffer, Vec<(Digest, Range<usize>)>) {
        let contents = numbers.filter_map(|number| self.contents.get(number));
        let wanted = contents.map(|content| (content.digest, content.range.clone())).collect();
        (std::mem::replace(&mut self.plain, Buffer::with_room(0)), wanted)
    }
}

/// Whether what was found under a content's name can be it.
pub(super) fn fits(extent: &Extent, content: &Content) -> bool {
    extent.is_possible() && extent.size as usize == content.len()
}
