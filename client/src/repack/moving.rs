//! Moving: the living extents of wasteful packs into new ones, and the pages of all versions that refer to them after them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::id::{ChunkId, RequestId};
use common::limits::SWAP_PAGES;
use common::proto::directory::{InlinePage, SwapPages, SwappedPage};
use common::redundancy::Redundancy;
use tokio::task::JoinSet;

use super::survey::{Small, Versions};
use super::{RepackError, RepackOptions, RepackReport, get_options};
use crate::content;
use crate::down::ExtentReader;
use crate::manifest::{Extent, Writer};
use crate::pack::PACK_TARGET_BYTES;
use crate::seal::{Digest, Verified};
use crate::session::Session;
use crate::up::Packer;

/// Moves all that is alive of these packs.
pub(super) async fn run(
    session: &Session,
    options: &RepackOptions,
    packs: &HashSet<ChunkId>,
    report: &mut RepackReport,
) -> Result<(), RepackError> {
    if packs.is_empty() {
        return Ok(());
    }
    let reader = ExtentReader::new(session, &get_options(options));
    let mut moving = Moving { session, options, reader, report, moved: HashMap::new(), by_redundancy: HashMap::new() };
    let done = moving.all(packs).await;
    for (_, of) in moving.by_redundancy {
        of.packer.end().await;
    }
    done
}

/// Where an extent was.
type Old = (ChunkId, u32);

struct Moving<'a> {
    session: &'a Session,
    options: &'a RepackOptions,
    reader: ExtentReader,
    report: &'a mut RepackReport,
    /// Where extents went: bounded by what one pass counts.
    moved: HashMap<Old, Extent>,
    by_redundancy: HashMap<Redundancy, OfRedundancy>,
}

/// What is on its way at one redundancy.
struct OfRedundancy {
    packer: Packer,
    waiting: Vec<Small>,
    /// Content that is to be packed for those that wait.
    bytes: usize,
    new: HashSet<Old>,
}

fn old(extent: &Extent) -> Old {
    (extent.chunk, extent.offset)
}

impl Moving<'_> {
    async fn all(&mut self, packs: &HashSet<ChunkId>) -> Result<(), RepackError> {
        let mut versions = Versions::new(self.session);
        while let Some((small, _)) = versions.next().await? {
            for small in small.into_iter().filter(|small| packs.contains(&small.extent.chunk)) {
                self.take(small).await?;
            }
        }
        let left: Vec<_> = self.by_redundancy.keys().copied().collect();
        for redundancy in left {
            self.flush(redundancy).await?;
        }
        Ok(())
    }

    async fn take(&mut self, small: Small) -> Result<(), RepackError> {
        let redundancy = small.placement.redundancy;
        if !self.by_redundancy.contains_key(&redundancy) {
            let progress = Arc::clone(&self.options.progress);
            let packer = Packer::begin(self.session, redundancy, &self.options.cancel, progress).await?;
            let of = OfRedundancy { packer, waiting: Vec::new(), bytes: 0, new: HashSet::new() };
            self.by_redundancy.insert(redundancy, of);
        }
        let Some(of) = self.by_redundancy.get_mut(&redundancy) else { return Ok(()) };
        let place = old(&small.extent);
        if !self.moved.contains_key(&place) && of.new.insert(place) {
            of.bytes += small.extent.size as usize;
        }
        of.waiting.push(small);
        if of.bytes >= PACK_TARGET_BYTES || of.waiting.len() >= SWAP_PAGES {
            self.flush(redundancy).await?;
        }
        Ok(())
    }

    /// Packs what is new among those that wait, and swaps all their pages.
    async fn flush(&mut self, redundancy: Redundancy) -> Result<(), RepackError> {
        let Some(of) = self.by_redundancy.get_mut(&redundancy) else { return Ok(()) };
        let (waiting, mut new) = (std::mem::take(&mut of.waiting), std::mem::take(&mut of.new));
        of.bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut first = HashSet::new();
        let wanted: Vec<&Small> = waiting.iter().filter(|small| new.remove(&old(&small.extent))).collect();
        if !wanted.is_empty() {
            let contents = read(&self.reader, &wanted).await?;
            let (extents, sent) = of.packer.store(contents).await?;
            self.report.sent += sent;
            for (small, extent) in wanted.into_iter().zip(extents) {
                self.options.progress.stored(small.extent.len.into());
                first.insert(small.version);
                self.moved.insert(old(&small.extent), extent);
            }
        }
        let mut pages = Vec::with_capacity(waiting.len());
        for small in waiting {
            let Some(extent) = self.moved.get(&old(&small.extent)) else { continue };
            pages.push(swapped(self.session, &small, extent, first.contains(&small.version))?);
        }
        let upload = of.packer.upload();
        let pages = pages.try_into().map_err(|_| RepackError::Misbehaved { what: "too many pages" })?;
        let answer = self.session.call_directory(&SwapPages { request: RequestId::random(), upload, pages }).await?;
        let moved = answer.swapped.iter().filter(|swapped| **swapped).count() as u64;
        self.report.moved += moved;
        self.report.changed += answer.swapped.len() as u64 - moved;
        Ok(())
    }
}

/// The contents of these, in order.
async fn read(reader: &ExtentReader, wanted: &[&Small]) -> Result<Vec<(Digest, Verified)>, RepackError> {
    let mut reading = JoinSet::new();
    for (number, small) in wanted.iter().enumerate() {
        let (reader, extent, placement) = (reader.clone(), small.extent.clone(), Arc::clone(&small.placement));
        reading.spawn(async move { (number, extent.digest, reader.read(extent, placement).await) });
    }
    let mut contents = Vec::with_capacity(wanted.len());
    while let Some(done) = reading.join_next().await {
        let (number, digest, content) = done.map_err(|panic| RepackError::Bug(panic.to_string().into()))?;
        contents.push((number, (digest, content?)));
    }
    contents.sort_by_key(|(number, _)| *number);
    Ok(contents.into_iter().map(|(_, content)| content).collect())
}

/// The version's page with its extent where it is now.
fn swapped(session: &Session, small: &Small, extent: &Extent, first: bool) -> Result<SwappedPage, RepackError> {
    let (account, keys) = (session.account(), session.keys());
    let mut writer = Writer::new(account, small.version, small.key.clone());
    writer.push(extent.clone())?;
    let too_long = |_| RepackError::Misbehaved { what: "a page of one extent that is too long" };
    let (Some(page), _) = writer.finish()? else { return Err(RepackError::Misbehaved { what: "no page" }) };
    let sealed = page.sealed.into_inner().try_into().map_err(too_long)?;
    let chunks = page.chunks.into_inner().try_into().map_err(|_| RepackError::Misbehaved { what: "many chunks" })?;
    Ok(SwappedPage {
        version: small.version,
        was: *blake3::hash(&small.sealed).as_bytes(),
        page: InlinePage { chunks, sealed },
        sealed_bytes: extent.len.into(),
        content: first.then(|| content::seal(keys, &account, extent)).transpose()?,
    })
}
