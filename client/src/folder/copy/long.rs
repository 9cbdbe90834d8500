//! Long: one file whose manifest is an upload of its own, page by page.

use common::bounded::BoundedVec;
use common::id::{RequestId, VersionId};
use common::limits::PAGES_PER_REQUEST;
use common::proto::directory::{self, ManifestWant, Publish, PutPages, ReadManifests};

use super::batch::{hold, judge, new_file};
use super::{FolderError, Job, abandon, begin};
use crate::cancel::{Cancel, Interrupted};
use crate::folder::FileVersion;
use crate::manifest::{ManifestKey, NewPage, Page, PageId, Reader, Writer};
use crate::meta::VersionMeta;
use crate::session::Session;

/// Copies one file; memory for a few pages, whatever its size.
pub(super) async fn copy(session: &Session, job: &Job, cancel: &Cancel) -> Result<(), FolderError> {
    let Some(file) = job.source.file() else { return Err(FolderError::IsAFolder { path: job.path.to_string() }) };
    let version = VersionId::random();
    begin(session, version, file.redundancy).await?;
    let work = copy_pages(session, job, file, version);
    let done = cancel.guard(work).await.unwrap_or_else(|| Err(Interrupted.into()));
    if done.is_err() {
        abandon(session, version).await;
    }
    done
}

async fn copy_pages(session: &Session, job: &Job, file: &FileVersion, version: VersionId) -> Result<(), FolderError> {
    let integrity = |source| FolderError::Integrity { what: "a manifest", source };
    let meta = VersionMeta { manifest_key: ManifestKey::random(), ..file.meta.clone() };
    let mut reader = Reader::new(file.meta.totals());
    let mut writer = Writer::new(session.account(), version, meta.manifest_key.clone());
    let mut pages = Vec::new();
    while let Some(from) = reader.wanted() {
        let want = ManifestWant { version: file.version, from };
        let wants =
            BoundedVec::try_from(vec![want]).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
        let answer = session.call_directory(&ReadManifests { wants }).await?;
        if answer.pages.is_empty() {
            return Err(FolderError::ContentGone { path: job.path.to_string() });
        }
        for view in answer.pages {
            let id = PageId { account: session.account(), version: file.version, page: view.page };
            let page = Page::open(&file.meta.manifest_key, &id, &view.sealed).map_err(integrity)?;
            for located in reader.accept(&page).map_err(integrity)? {
                pages.extend(writer.push(located.extent)?);
            }
            if pages.len() >= PAGES_PER_REQUEST {
                put_pages(session, job, version, std::mem::take(&mut pages)).await?;
            }
        }
    }
    reader.finish().map_err(integrity)?;
    let (last, _) = writer.finish()?;
    pages.extend(last);
    put_pages(session, job, version, pages).await?;
    let new = new_file(session, job, version, &meta, None)?;
    let files = BoundedVec::try_from(vec![new]).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
    let publish = Publish { request: RequestId::random(), upload: version, files, done: true };
    let published = session.call_directory(&publish).await?;
    let result = published.results.into_iter().next();
    judge(job, result.ok_or(FolderError::Misbehaved { what: "no answer for a file" })?)
}

async fn put_pages(session: &Session, job: &Job, version: VersionId, pages: Vec<NewPage>) -> Result<(), FolderError> {
    let chunks = pages.iter().flat_map(|page| page.chunks.iter().copied()).collect();
    if !hold(session, version, chunks).await?.is_empty() {
        return Err(FolderError::ContentGone { path: job.path.to_string() });
    }
    let mut pages = pages.into_iter().peekable();
    while pages.peek().is_some() {
        let batch = pages.by_ref().take(PAGES_PER_REQUEST);
        let batch: Vec<_> =
            batch.map(|NewPage { page, chunks, sealed }| directory::NewPage { page, chunks, sealed }).collect();
        let pages = BoundedVec::try_from(batch).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
        session.call_directory(&PutPages { version, pages }).await?;
    }
    Ok(())
}
