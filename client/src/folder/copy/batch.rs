//! Batch: many files whose manifests are short, in one upload.

use std::collections::{HashMap, HashSet};

use common::bounded::{BoundedBytes, BoundedVec};
use common::id::{ChunkId, NodeId, RequestId, VersionId};
use common::limits::{ASK_CHUNKS, INLINE_CHUNKS, MESSAGE_BYTES};
use common::proto::directory::{Ask, Expect, FilePublished, InlinePage, ManifestWant, NewFile, Publish, ReadManifests};
use common::proto::parts::SealedPage;
use common::redundancy::Redundancy;

use super::{Copied, FolderError, Job, abandon, begin, long};
use crate::cancel::{Cancel, Interrupted};
use crate::manifest::{ManifestKey, NewPage, Page, PageId, Reader, Writer};
use crate::meta::{self, EntryPlace, VersionMeta, VersionPlace};
use crate::session::Session;

/// A publication stays well below a message.
const PUBLISH_BYTES: usize = MESSAGE_BYTES / 2;

/// Copies these files. One that fails stops no other.
pub(super) async fn copy(
    session: &Session,
    jobs: Vec<Job>,
    copied: &mut Copied,
    cancel: &Cancel,
) -> Result<(), FolderError> {
    let (short, long): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| pages(job) <= 1);
    let mut too_wide = Vec::new();
    if let Some(redundancy) = short.iter().filter_map(|job| job.source.file()).map(|file| file.redundancy).max() {
        let upload = VersionId::random();
        begin(session, upload, redundancy).await?;
        let work = copy_short(session, upload, short, copied, &mut too_wide);
        match cancel.guard(work).await.unwrap_or_else(|| Err(Interrupted.into())) {
            Ok(()) => {}
            Err(error) => {
                abandon(session, upload).await;
                return Err(error);
            }
        }
    }
    for job in long.into_iter().chain(too_wide) {
        match long::copy(session, &job, cancel).await {
            Ok(()) => copied.files += 1,
            Err(error @ FolderError::Interrupted(_)) => return Err(error),
            Err(error) => copied.fail(error),
        }
    }
    Ok(())
}

fn pages(job: &Job) -> u32 {
    job.source.file().map_or(0, |file| file.meta.pages)
}

/// A file whose new metadata is ready.
struct Ready {
    job: Job,
    page: Option<NewPage>,
    meta: VersionMeta,
    version: VersionId,
}

async fn copy_short(
    session: &Session,
    upload: VersionId,
    jobs: Vec<Job>,
    copied: &mut Copied,
    too_wide: &mut Vec<Job>,
) -> Result<(), FolderError> {
    let mut sealed = read_pages(session, &jobs).await?;
    let mut ready = Vec::with_capacity(jobs.len());
    for job in jobs {
        let Some(file) = job.source.file() else { continue };
        let page = sealed.remove(&file.version);
        if file.meta.pages > 0 && page.is_none() {
            copied.fail(FolderError::ContentGone { path: job.path.to_string() });
            continue;
        }
        let version = VersionId::random();
        match reseal(session, &job, version, page) {
            Ok((_, page)) if page.as_ref().is_some_and(|page| inline(page).is_none()) => too_wide.push(job),
            Ok((meta, page)) => ready.push(Ready { job, page, meta, version }),
            Err(error) => copied.fail(error),
        }
    }
    let wanted: Vec<ChunkId> =
        ready.iter().flat_map(|file| file.page.iter()).flat_map(|page| page.chunks.iter().copied()).collect();
    let gone = hold(session, upload, wanted).await?;
    let mut files = Vec::new();
    let mut bytes = 0;
    for file in ready {
        if file.page.as_ref().is_some_and(|page| page.chunks.iter().any(|chunk| gone.contains(chunk))) {
            copied.fail(FolderError::ContentGone { path: file.job.path.to_string() });
            continue;
        }
        let new = new_file(session, &file.job, file.version, &file.meta, file.page.as_ref().and_then(inline))?;
        bytes += new.sealed.len()
            + new.meta.len()
            + new.inline.as_ref().map_or(0, |page| page.sealed.len() + page.chunks.len() * 20)
            + 256;
        files.push((file.job, new));
        if bytes > PUBLISH_BYTES {
            publish(session, upload, std::mem::take(&mut files), false, copied).await?;
            bytes = 0;
        }
    }
    publish(session, upload, files, true, copied).await
}

/// The only page of each version that has one.
async fn read_pages(session: &Session, jobs: &[Job]) -> Result<HashMap<VersionId, SealedPage>, FolderError> {
    let mut pages = HashMap::new();
    let mut wants: Vec<ManifestWant> = jobs
        .iter()
        .filter_map(|job| job.source.file())
        .filter(|file| file.meta.pages > 0)
        .map(|file| ManifestWant { version: file.version, from: 0 })
        .collect();
    while !wants.is_empty() {
        let asked =
            BoundedVec::try_from(wants.clone()).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
        let answer = session.call_directory(&ReadManifests { wants: asked }).await?;
        let before = wants.len();
        wants.retain(|want| !answer.missing.contains(&want.version));
        for view in answer.pages {
            if view.page == 0 {
                wants.retain(|want| want.version != view.version);
                pages.insert(view.version, view.sealed);
            }
        }
        if wants.len() == before {
            return Err(FolderError::Misbehaved { what: "manifests that do not come" });
        }
    }
    Ok(pages)
}

/// The metadata and the page for the new version.
fn reseal(
    session: &Session,
    job: &Job,
    version: VersionId,
    sealed: Option<SealedPage>,
) -> Result<(VersionMeta, Option<NewPage>), FolderError> {
    let Some(file) = job.source.file() else { return Err(FolderError::IsAFolder { path: job.path.to_string() }) };
    let integrity = |source| FolderError::Integrity { what: "a manifest", source };
    let meta = VersionMeta { manifest_key: ManifestKey::random(), ..file.meta.clone() };
    let mut reader = Reader::new(file.meta.totals());
    let mut writer = Writer::new(session.account(), version, meta.manifest_key.clone());
    if let Some(sealed) = sealed {
        let id = PageId { account: session.account(), version: file.version, page: 0 };
        let page = Page::open(&file.meta.manifest_key, &id, &sealed).map_err(integrity)?;
        for located in reader.accept(&page).map_err(integrity)? {
            writer.push(located.extent)?;
        }
    }
    reader.finish().map_err(integrity)?;
    let (page, _) = writer.finish()?;
    Ok((meta, page))
}

/// As it is carried along with its file; `None` when it is too long for that.
fn inline(page: &NewPage) -> Option<InlinePage> {
    if page.chunks.len() > INLINE_CHUNKS {
        return None;
    }
    let chunks = BoundedVec::try_from(page.chunks.to_vec()).ok()?;
    let sealed = BoundedBytes::try_from(page.sealed.to_vec()).ok()?;
    Some(InlinePage { chunks, sealed })
}

/// Makes the upload hold these chunks; gives those that are not there any more.
pub(super) async fn hold(
    session: &Session,
    upload: VersionId,
    mut chunks: Vec<ChunkId>,
) -> Result<HashSet<ChunkId>, FolderError> {
    // Any copy will do: it is the same content, at whatever redundancy it is kept.
    let least = Redundancy::new(1, 1).unwrap_or(Redundancy::DEFAULT);
    chunks.sort_unstable();
    chunks.dedup();
    let mut gone = HashSet::new();
    for batch in chunks.chunks(ASK_CHUNKS) {
        let asked =
            BoundedVec::try_from(batch.to_vec()).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
        let answer = session.call_directory(&Ask { version: upload, redundancy: least, chunks: asked }).await?;
        if answer.known.len() != batch.len() {
            return Err(FolderError::Misbehaved { what: "another number of answers than of chunks" });
        }
        gone.extend(batch.iter().zip(answer.known).filter(|(_, known)| known.is_none()).map(|(chunk, _)| *chunk));
    }
    Ok(gone)
}

/// What is published of a job.
pub(super) fn new_file(
    session: &Session,
    job: &Job,
    version: VersionId,
    meta: &VersionMeta,
    inline: Option<InlinePage>,
) -> Result<NewFile, FolderError> {
    let (keys, account) = (session.keys(), session.account());
    let node = match job.expect {
        Expect::File(node, _) => node,
        Expect::Nothing => NodeId::random(),
    };
    let place = EntryPlace::of(keys, account, job.folder, &job.name, node);
    let file = job.source.file();
    Ok(NewFile {
        folder: job.folder,
        token: place.token,
        node,
        version,
        sealed: meta::Entry { name: job.name.clone(), folder: None }.seal(keys, &place)?,
        meta: meta.seal(keys, &VersionPlace { account, node, version })?,
        redundancy: file.map_or(Redundancy::DEFAULT, |file| file.redundancy),
        pages: meta.pages,
        sealed_bytes: file.map_or(0, |file| file.sealed_bytes),
        inline,
        expect: job.expect,
        content: None,
    })
}

async fn publish(
    session: &Session,
    upload: VersionId,
    files: Vec<(Job, NewFile)>,
    done: bool,
    copied: &mut Copied,
) -> Result<(), FolderError> {
    let (jobs, files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let files = BoundedVec::try_from(files).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
    let published = session.call_directory(&Publish { request: RequestId::random(), upload, files, done }).await?;
    if published.results.len() != jobs.len() {
        return Err(FolderError::Misbehaved { what: "another number of answers than of files" });
    }
    for (job, result) in jobs.iter().zip(published.results) {
        match judge(job, result) {
            Ok(()) => copied.files += 1,
            Err(error) => copied.fail(error),
        }
    }
    Ok(())
}

pub(super) fn judge(job: &Job, result: FilePublished) -> Result<(), FolderError> {
    let path = job.path.to_string();
    match result {
        FilePublished::Visible(_) => Ok(()),
        FilePublished::Changed(_) => Err(FolderError::Changed { path }),
        FilePublished::Refused(source) => Err(FolderError::Refused { path, source }),
    }
}
