//! Survey: all versions of an account that have one small extent, and how much of each pack they still want.

use std::collections::HashMap;
use std::sync::Arc;

use common::id::{ChunkId, VersionId};
use common::limits::READ_MANIFESTS;
use common::proto::directory::{ListVersions, ManifestWant, ReadManifests, VersionOfNode};
use common::proto::parts::{Placement, SealedPage};

use super::RepackError;
use crate::manifest::{Extent, ManifestKey, Page, PageId, Reader};
use crate::meta::{VersionMeta, VersionPlace};
use crate::pack::PACK_FILE_MAX;
use crate::session::Session;

/// A version of one small extent, as it was read.
pub(super) struct Small {
    pub(super) version: VersionId,
    pub(super) key: ManifestKey,
    pub(super) sealed: SealedPage,
    pub(super) extent: Extent,
    pub(super) placement: Arc<Placement>,
}

/// Versions of an account, a page of the directory's at a time.
pub(super) struct Versions<'a> {
    session: &'a Session,
    after: Option<VersionId>,
    more: bool,
}

impl<'a> Versions<'a> {
    pub(super) fn new(session: &'a Session) -> Self {
        Self { session, after: None, more: true }
    }

    /// Some more small ones, and how many versions were looked at for them; `None` when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<(Vec<Small>, usize)>, RepackError> {
        if !self.more {
            return Ok(None);
        }
        let listed = self.session.call_directory(&ListVersions { after: self.after }).await?;
        self.more = listed.more;
        self.after = listed.versions.last().map(|of| of.version.version);
        if self.more && self.after.is_none() {
            return Err(RepackError::Misbehaved { what: "a list without an end" });
        }
        let looked_at = listed.versions.len();
        let mut metas = HashMap::new();
        for VersionOfNode { node, version } in listed.versions {
            if version.pages != 1 || version.sealed_bytes >= PACK_FILE_MAX as u64 {
                continue;
            }
            let place = VersionPlace { account: self.session.account(), node, version: version.version };
            let meta = VersionMeta::open(self.session.keys(), &place, &version.meta)?;
            if meta.extents == 1 && meta.size < PACK_FILE_MAX as u64 {
                metas.insert(version.version, meta);
            }
        }
        Ok(Some((self.read(metas).await?, looked_at)))
    }

    /// The only extent of each; of those that are there no more nothing.
    async fn read(&self, mut metas: HashMap<VersionId, VersionMeta>) -> Result<Vec<Small>, RepackError> {
        let mut small = Vec::with_capacity(metas.len());
        while !metas.is_empty() {
            let wants: Vec<_> =
                metas.keys().take(READ_MANIFESTS).map(|id| ManifestWant { version: *id, from: 0 }).collect();
            let wants = wants.try_into().map_err(|_| RepackError::Misbehaved { what: "too many versions" })?;
            let answer = self.session.call_directory(&ReadManifests { wants }).await?;
            let before = metas.len();
            for missing in &answer.missing {
                metas.remove(missing);
            }
            let placements = answer.placements.into_iter().map(|placed| (placed.chunk, Arc::new(placed.placement)));
            let placements: HashMap<ChunkId, Arc<Placement>> = placements.collect();
            for view in answer.pages {
                let Some(meta) = metas.remove(&view.version) else { continue };
                let id = PageId { account: self.session.account(), version: view.version, page: 0 };
                let page = Page::open(&meta.manifest_key, &id, &view.sealed)?;
                let mut reader = Reader::new(meta.totals());
                let located = reader.accept(&page)?;
                reader.finish()?;
                let Some(extent) = located.into_iter().next().map(|located| located.extent) else { continue };
                let Some(placement) = placements.get(&extent.chunk).cloned() else { continue };
                let (version, key, sealed) = (view.version, meta.manifest_key.clone(), view.sealed);
                small.push(Small { version, key, sealed, extent, placement });
            }
            if metas.len() == before {
                return Err(RepackError::Misbehaved { what: "manifests that do not come" });
            }
        }
        Ok(small)
    }
}

/// What is known of one pack.
pub(super) struct PackUse {
    /// Of the sealed pack.
    pub(super) len: u32,
    /// Where living extents begin, and their lengths.
    extents: HashMap<u32, u32>,
}

impl PackUse {
    pub(super) fn live(&self) -> u64 {
        self.extents.values().map(|len| u64::from(*len)).sum()
    }

    pub(super) fn dead(&self) -> u64 {
        u64::from(self.len).saturating_sub(self.live())
    }

    /// Less than half of it is alive.
    pub(super) fn is_wasteful(&self) -> bool {
        self.live() * 2 < u64::from(self.len)
    }
}

/// A part of all packs: those whose ids begin with numbers from one to another, both included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    from: u64,
    to: u64,
}

impl Part {
    pub(super) fn all() -> Self {
        Self { from: 0, to: u64::MAX }
    }

    fn number(chunk: &ChunkId) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = chunk.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn has(&self, chunk: &ChunkId) -> bool {
        (self.from..=self.to).contains(&Self::number(chunk))
    }

    /// The lower half of it.
    fn half(self) -> Self {
        Self { to: self.from + (self.to - self.from) / 2, ..self }
    }

    /// What follows it.
    pub(super) fn next(self) -> Option<Self> {
        Some(Self { from: self.to.checked_add(1)?, to: u64::MAX })
    }
}

/// What a pass came to.
pub(super) struct Counted {
    /// The part that was counted, from where it was to begin.
    pub(super) part: Part,
    pub(super) packs: HashMap<ChunkId, PackUse>,
    pub(super) versions: u64,
}

/// Counts the packs of a part, or of as much of it as has no more extents than that.
pub(super) async fn count(session: &Session, part: Part, most: usize) -> Result<Counted, RepackError> {
    let mut counting = Counting { part, packs: HashMap::new(), extents: 0, most };
    let (mut all, mut versions) = (Versions::new(session), 0);
    while let Some((small, looked_at)) = all.next().await? {
        versions += looked_at as u64;
        small.iter().for_each(|small| counting.add(&small.extent, &small.placement));
    }
    let Counting { part, mut packs, .. } = counting;
    // What is a chunk of its own is no pack: it is alive as a whole.
    packs.retain(|_, pack| !(pack.extents.len() == 1 && pack.dead() == 0));
    Ok(Counted { part, packs, versions })
}

struct Counting {
    part: Part,
    packs: HashMap<ChunkId, PackUse>,
    extents: usize,
    most: usize,
}

impl Counting {
    fn add(&mut self, extent: &Extent, placement: &Placement) {
        if !self.part.has(&extent.chunk) {
            return;
        }
        let new = || PackUse { len: placement.sealed_len, extents: HashMap::new() };
        let pack = self.packs.entry(extent.chunk).or_insert_with(new);
        if pack.extents.insert(extent.offset, extent.len).is_none() {
            self.extents += 1;
        }
        while self.extents > self.most && self.packs.len() > 1 {
            self.part = self.part.half();
            let part = self.part;
            self.packs.retain(|chunk, _| part.has(chunk));
            self.extents = self.packs.values().map(|pack| pack.extents.len()).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::{Digest, ExtentKey};
    use common::redundancy::Redundancy;

    fn extent(pack: u8, offset: u32, len: u32) -> Extent {
        let (chunk, key) = (ChunkId([pack; 20]), ExtentKey([1; 32]));
        Extent { chunk, offset, len, size: len, codec: 0, key, digest: Digest([2; 32]) }
    }

    fn placement() -> Placement {
        let shards = Vec::new().try_into().unwrap();
        Placement { sealed_len: 100, redundancy: Redundancy::DEFAULT, shards }
    }

    #[test]
    fn an_extent_that_many_versions_share_counts_once() {
        let mut counting = Counting { part: Part::all(), packs: HashMap::new(), extents: 0, most: 99 };
        for (pack, offset, len) in [(1, 0, 10), (1, 0, 10), (1, 50, 39), (2, 10, 50)] {
            counting.add(&extent(pack, offset, len), &placement());
        }
        let [one, two] = [1, 2].map(|pack| &counting.packs[&ChunkId([pack; 20])]);
        assert_eq!((one.live(), one.dead(), one.is_wasteful()), (49, 51, true));
        assert_eq!((two.live(), two.is_wasteful()), (50, false));
    }

    #[test]
    fn too_many_extents_are_counted_in_passes_and_each_in_one_of_them() {
        let packs: Vec<u8> = (0..=255).collect();
        let (mut part, mut passes, mut seen) = (Some(Part::all()), 0, Vec::new());
        while let Some(wanted) = part {
            let mut counting = Counting { part: wanted, packs: HashMap::new(), extents: 0, most: 40 };
            for offset in 0..3 {
                packs.iter().for_each(|pack| counting.add(&extent(*pack, offset, 1), &placement()));
            }
            assert!(counting.extents <= 40 && counting.packs.values().all(|pack| pack.extents.len() == 3));
            seen.extend(counting.packs.keys().map(|chunk| chunk.0[0]));
            passes += 1;
            part = counting.part.next();
        }
        seen.sort_unstable();
        assert!(seen == packs && passes > 10, "{passes} passes");
    }
}
