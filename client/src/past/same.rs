//! Same: whether two versions have the same content, by the digests of their manifests. No content is read.

use std::collections::HashMap;

use common::bounded::BoundedVec;
use common::id::VersionId;
use common::limits::READ_MANIFESTS;
use common::proto::directory::{ManifestWant, ReadManifests};
use common::proto::parts::SealedPage;

use crate::folder::{FileVersion, FolderError};
use crate::manifest::{Page, PageId, Reader};
use crate::seal::Digest;
use crate::session::Session;

/// First pages that were read ahead.
pub type Ahead = HashMap<VersionId, SealedPage>;

/// Reads the first pages of these versions in one request, as far as they fit in its answer.
///
/// # Errors
/// When the directory cannot be asked.
pub async fn read_ahead(session: &Session, files: &[&FileVersion]) -> Result<Ahead, FolderError> {
    let wants = files.iter().filter(|file| file.meta.pages > 0);
    let wants: Vec<_> =
        wants.take(READ_MANIFESTS).map(|file| ManifestWant { version: file.version, from: 0 }).collect();
    if wants.is_empty() {
        return Ok(Ahead::new());
    }
    let wants = BoundedVec::try_from(wants).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
    let answer = session.call_directory(&ReadManifests { wants }).await?;
    let first = answer.pages.into_iter().filter(|view| view.page == 0);
    Ok(first.map(|view| (view.version, view.sealed)).collect())
}

/// Whether two versions have the same content.
///
/// # Errors
/// When a manifest is gone, or is not what it should be.
pub async fn same_content(
    session: &Session,
    a: &FileVersion,
    b: &FileVersion,
    ahead: &mut Ahead,
) -> Result<bool, FolderError> {
    if a.version == b.version {
        return Ok(true);
    }
    if a.meta.size != b.meta.size || a.meta.content != b.meta.content || a.meta.extents != b.meta.extents {
        return Ok(false);
    }
    let (mut left, mut right) = (Digests::new(session, a), Digests::new(session, b));
    loop {
        match (left.next_page(ahead).await?, right.next_page(ahead).await?) {
            (None, None) => return Ok(true),
            (a, b) if a == b => {}
            _ => return Ok(false),
        }
    }
}

/// The digests of one version's runs, page by page.
struct Digests<'a> {
    session: &'a Session,
    file: &'a FileVersion,
    reader: Option<Reader>,
    ready: std::collections::VecDeque<SealedPage>,
}

impl<'a> Digests<'a> {
    fn new(session: &'a Session, file: &'a FileVersion) -> Self {
        Self { session, file, reader: Some(Reader::new(file.meta.totals())), ready: Default::default() }
    }

    async fn next_page(&mut self, ahead: &mut Ahead) -> Result<Option<Vec<Digest>>, FolderError> {
        let integrity = |source| FolderError::Integrity { what: "a manifest", source };
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let Some(page) = reader.wanted() else {
            if let Some(reader) = self.reader.take() {
                reader.finish().map_err(integrity)?;
            }
            return Ok(None);
        };
        let version = self.file.version;
        if page == 0 {
            self.ready.extend(ahead.remove(&version));
        }
        if self.ready.is_empty() {
            let wants = BoundedVec::try_from(vec![ManifestWant { version, from: page }])
                .map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
            let answer = self.session.call_directory(&ReadManifests { wants }).await?;
            self.ready.extend(answer.pages.into_iter().map(|view| view.sealed));
        }
        let gone = || FolderError::ContentGone { path: format!("version {version}") };
        let sealed = self.ready.pop_front().ok_or_else(gone)?;
        let id = PageId { account: self.session.account(), version, page };
        let opened = Page::open(&self.file.meta.manifest_key, &id, &sealed).map_err(integrity)?;
        let located = reader.accept(&opened).map_err(integrity)?;
        Ok(Some(located.into_iter().map(|located| located.extent.digest).collect()))
    }
}
