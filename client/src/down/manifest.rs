//! Manifest: pages of versions with the placements of their chunks, as many as fit in each answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use common::id::{ChunkId, NameToken, NodeId, VersionId};
use common::pass::SignedPass;
use common::proto::directory::{Manifests, SharedWant};
use common::proto::parts::{PlacedChunk, Placement};

use super::{Down, DownError};
use crate::manifest::{Located, Page, PageId, Reader};
use crate::meta::VersionMeta;
use crate::session::{HeldPass, Read};

/// Where the chunks of some pages are, and what lets us read them where they are another account's.
pub(super) type Placements = HashMap<ChunkId, Placed>;

/// Where one chunk is.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) placement: Arc<Placement>,
    pass: Option<Arc<HeldPass>>,
}

/// A run of a file and where its chunk is.
pub(super) struct Run {
    pub(super) located: Located,
    pub(super) placement: Arc<Placement>,
    /// Of a chunk that is somebody else's, with the page that names it.
    pass: Option<(Arc<HeldPass>, SharedWant)>,
}

impl Run {
    /// A run of a chunk of the account's own.
    pub(super) fn own(located: Located, placement: Arc<Placement>) -> Self {
        Self { located, placement, pass: None }
    }

    /// What a peer is shown so that it lets us read the chunk; `None` for the account's own. Asked for anew when its time is nearly over.
    pub(super) async fn pass(&self, down: &Down) -> Result<Option<SignedPass>, DownError> {
        let Some((held, page)) = &self.pass else { return Ok(None) };
        if let Some(pass) = held.fresh() {
            return Ok(Some(pass.clone()));
        }
        let read = down.session.read_manifests(vec![*page]).await?;
        let pass = read.passes().get(&self.located.extent.chunk).and_then(|held| held.fresh().cloned());
        pass.map(Some).ok_or(DownError::Gone { version: page.version })
    }
}

/// The first pages of many versions: each version's page 0 where it has one, as far as the answer had room.
pub(super) struct FirstPages {
    pub(super) pages: HashMap<VersionId, Vec<u8>>,
    pub(super) missing: Vec<VersionId>,
    pub(super) placements: Placements,
}

/// The first pages of versions of the own tree.
pub(super) fn first_of(versions: impl IntoIterator<Item = VersionId>) -> Vec<SharedWant> {
    versions.into_iter().map(|version| SharedWant { version, from: 0, at: None }).collect()
}

/// Asks for first pages. Versions that are neither in `pages` nor `missing` have to be asked for again.
pub(super) async fn first_pages(down: &Down, wants: Vec<SharedWant>) -> Result<FirstPages, DownError> {
    Ok(down.session.read_manifests(wants).await?.into())
}

impl From<Read> for FirstPages {
    fn from(read: Read) -> Self {
        let placements = placements(&read);
        let answer = read.manifests;
        let pages = answer.pages.into_iter().filter(|page| page.page == 0);
        Self {
            pages: pages.map(|page| (page.version, page.sealed.into_inner())).collect(),
            missing: answer.missing.into_inner(),
            placements,
        }
    }
}

fn placements(read: &Read) -> Placements {
    let passes = read.passes();
    let placed = |placed: &PlacedChunk| {
        let (placement, pass) = (Arc::new(placed.placement.clone()), passes.get(&placed.chunk).cloned());
        (placed.chunk, Placed { placement, pass })
    };
    read.manifests.placements.iter().map(placed).collect()
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
    /// Where the file is.
    at: Option<(NodeId, NameToken)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(down: &'a Down, version: VersionId, meta: &'a VersionMeta) -> Self {
        Self {
            down,
            version,
            meta,
            reader: Some(Reader::new(meta.totals())),
            ready: VecDeque::new(),
            ahead: None,
            at: None,
        }
    }

    /// Begins with these pages, as far as they are this version's.
    pub(super) fn with(self, ahead: Option<Arc<Manifests>>) -> Self {
        Self { ahead, ..self }
    }

    /// The file is there.
    pub(super) fn within(self, at: Option<(NodeId, NameToken)>) -> Self {
        Self { at, ..self }
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
            && self.accept_all(&Read::own(Arc::unwrap_or_clone(ahead)))?
        {
            return Ok(());
        }
        let want = SharedWant { version: self.version, from, at: self.at };
        let read = self.down.session.read_manifests(vec![want]).await?;
        if self.accept_all(&read)? { Ok(()) } else { Err(DownError::Gone { version: self.version }) }
    }

    /// Takes an answer's pages of this version; whether there were any.
    fn accept_all(&mut self, read: &Read) -> Result<bool, DownError> {
        let placements = placements(read);
        let mut came = false;
        let version = self.version;
        for page in read.manifests.pages.iter().filter(|page| page.version == version) {
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
        let opened = Page::open(&self.meta.manifest_key, &id, sealed)?;
        for located in reader.accept(&opened)? {
            let chunk = located.extent.chunk;
            let Placed { placement, pass } = placements.get(&chunk).cloned().ok_or(DownError::Unplaced { chunk })?;
            let page = SharedWant { version: self.version, from: page, at: self.at };
            let pass = pass.map(|pass| (pass, page));
            self.ready.push_back(Run { located, placement, pass });
        }
        Ok(())
    }
}
