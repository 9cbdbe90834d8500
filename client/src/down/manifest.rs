//! Manifest: pages of versions with the placements of their chunks, as many as fit in each answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use common::id::{ChunkId, VersionId};
use common::proto::directory::{ManifestWant, Manifests, ReadManifests};
use common::proto::parts::{PlacedChunk, Placement};

use super::{Down, DownError};
use crate::manifest::{Located, Page, PageId, Reader};
use crate::meta::VersionMeta;

/// Where the chunks of some pages are.
pub(super) type Placements = HashMap<ChunkId, Arc<Placement>>;

/// A run of a file and where its chunk is.
pub(super) struct Run {
    pub(super) located: Located,
    pub(super) placement: Arc<Placement>,
}

/// The first pages of many versions: each version's page 0 where it has one, as far as the answer had room.
pub(super) struct FirstPages {
    pub(super) pages: HashMap<VersionId, Vec<u8>>,
    pub(super) missing: Vec<VersionId>,
    pub(super) placements: Placements,
}

/// Asks for page 0 of these versions. Those that are neither in `pages` nor `missing` have to be asked for again.
pub(super) async fn first_pages(down: &Down, versions: &[VersionId]) -> Result<FirstPages, DownError> {
    let wants: Vec<_> = versions.iter().map(|version| ManifestWant { version: *version, from: 0 }).collect();
    let Ok(wants) = wants.try_into() else { return Err(DownError::Bug("too many versions asked".to_owned())) };
    Ok(down.session.call_directory(&ReadManifests { wants }).await?.into())
}

impl From<Manifests> for FirstPages {
    fn from(answer: Manifests) -> Self {
        let pages = answer.pages.into_iter().filter(|page| page.page == 0);
        Self {
            pages: pages.map(|page| (page.version, page.sealed.into_inner())).collect(),
            missing: answer.missing.into_inner(),
            placements: placements(answer.placements.into_inner()),
        }
    }
}

fn placements(placed: Vec<PlacedChunk>) -> Placements {
    placed.into_iter().map(|placed| (placed.chunk, Arc::new(placed.placement))).collect()
}

/// Walks all runs of one version.
pub(super) struct Walk<'a> {
    down: &'a Down,
    version: VersionId,
    meta: &'a VersionMeta,
    reader: Option<Reader>,
    ready: VecDeque<Run>,
    /// As much of the manifest as is there already.
    ahead: Option<Arc<Manifests>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(down: &'a Down, version: VersionId, meta: &'a VersionMeta) -> Self {
        Self { down, version, meta, reader: Some(Reader::new(meta.totals())), ready: VecDeque::new(), ahead: None }
    }

    /// Begins with these pages, as far as they are this version's.
    pub(super) fn with(self, ahead: Option<Arc<Manifests>>) -> Self {
        Self { ahead, ..self }
    }

    /// The next run in the order of the file; `None` once the whole manifest was seen and adds up.
    pub(super) async fn next(&mut self) -> Result<Option<Run>, DownError> {
        loop {
            if let Some(run) = self.ready.pop_front() {
                return Ok(Some(run));
            }
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let Some(from) = reader.wanted() else {
                if let Some(reader) = self.reader.take() {
                    reader.finish()?;
                }
                return Ok(None);
            };
            self.read(from).await?;
        }
    }

    async fn read(&mut self, from: u32) -> Result<(), DownError> {
        if let Some(ahead) = self.ahead.take()
            && self.accept_all(Arc::unwrap_or_clone(ahead))?
        {
            return Ok(());
        }
        let wants = vec![ManifestWant { version: self.version, from }];
        let Ok(wants) = wants.try_into() else { return Err(DownError::Bug("one version is too many".to_owned())) };
        let answer = self.down.session.call_directory(&ReadManifests { wants }).await?;
        if self.accept_all(answer)? { Ok(()) } else { Err(DownError::Gone { version: self.version }) }
    }

    /// Takes an answer's pages of this version; whether there were any.
    fn accept_all(&mut self, answer: Manifests) -> Result<bool, DownError> {
        let placements = placements(answer.placements.into_inner());
        let mut came = false;
        let version = self.version;
        for page in answer.pages.into_iter().filter(|page| page.version == version) {
            came = true;
            self.accept(page.page, &page.sealed, &placements)?;
        }
        Ok(came)
    }

    /// The run of a file that has just one; the manifest adds up then.
    pub(super) fn take_only(mut self) -> Option<Run> {
        let run = self.ready.pop_front()?;
        let whole = self.ready.is_empty() && self.reader.take()?.finish().is_ok();
        whole.then_some(run)
    }

    /// Takes the next page.
    pub(super) fn accept(&mut self, page: u32, sealed: &[u8], placements: &Placements) -> Result<(), DownError> {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let id = PageId { account: self.down.session.account(), version: self.version, page };
        let page = Page::open(&self.meta.manifest_key, &id, sealed)?;
        for located in reader.accept(&page)? {
            let chunk = located.extent.chunk;
            let placement = placements.get(&chunk).cloned().ok_or(DownError::Unplaced { chunk })?;
            self.ready.push_back(Run { located, placement });
        }
        Ok(())
    }
}
