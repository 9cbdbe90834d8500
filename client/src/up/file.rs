//! File: a file that is cut into chunks of its own, or a stream of unknown length.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use common::id::{ChunkId, VersionId};
use common::limits::{INLINE_CHUNKS, INLINE_PAGE_BYTES, PAGES_PER_REQUEST};
use common::proto::directory::{InlinePage, NewPage as WirePage};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};

use super::chunk::{StoredChunk, known, store_plain};
use super::publish::Ready;
use super::upload::Upload;
use super::{INLINE_FILE_BYTES, Up, UpError};
use crate::cut::Cutter;
use crate::local::LocalError;
use crate::local::read::SourceFile;
use crate::manifest::{Extent, ManifestKey, NewPage, Totals, Writer};
use crate::meta::{Content, VersionMeta};
use crate::seal::{Digest, Plain};
use crate::transfer::{LocalKind, LocalMeta, PutDone, PutJob, Source};

/// Pages that are collected before they are sent.
const PAGES_AT_ONCE: usize = 8;
/// Chunks of this file whose secret is remembered, so that a repeated one is not even asked for. Then it starts anew.
const REMEMBERED: usize = 1 << 16;
/// Extents on their way from the question to the manifest; a known chunk costs nothing but its place here.
const EXTENTS_QUEUED: usize = 1_024;

/// An opened source.
pub(super) enum Reading {
    File(SourceFile),
    Stream(Box<dyn Read + Send>),
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

impl Reading {
    /// Whether a file stood still.
    pub(super) fn finish(&self) -> Result<(), LocalError> {
        match self {
            Self::File(file) => file.finish(),
            Self::Stream(_) => Ok(()),
        }
    }
}

/// A named chunk with its place in memory.
struct Cut {
    plain: Plain,
    permit: OwnedSemaphorePermit,
}

/// What the manifest is made of, in the order of the file.
enum Next {
    /// A chunk that is known, or on its way.
    Chunk { chunk: ChunkId, len: u32, digest: Digest, stored: oneshot::Receiver<Result<StoredChunk, UpError>> },
    /// A chunk that came before.
    Again { chunk: ChunkId, len: u32, digest: Digest },
    /// What came before is forgotten.
    Forget,
}

/// Stores and publishes one file.
pub(super) async fn put(up: &Arc<Up>, mut job: PutJob, size: Option<u64>) -> Result<PutDone, UpError> {
    let source = std::mem::replace(&mut job.source, Source::None);
    if size.is_some_and(|size| size <= INLINE_FILE_BYTES) {
        let upload = up.shared().await?;
        return store(up, &upload, VersionId::random(), &job, source).await;
    }
    let upload = Arc::new(Upload::begin(up, size).await?);
    store(up, &upload, upload.version, &job, source).await
}

async fn store(
    up: &Arc<Up>,
    upload: &Arc<Upload>,
    version: VersionId,
    job: &PutJob,
    source: Source,
) -> Result<PutDone, UpError> {
    let (cuts, cut) = mpsc::channel(up.chunks);
    let (nexts, next) = mpsc::channel(EXTENTS_QUEUED);
    let reader = {
        let up = Arc::clone(up);
        let runtime = Handle::current();
        spawn_blocking(move || read(&up, &runtime, source, &cuts))
    };
    let key = ManifestKey::random();
    let writer = Writer::new(up.session.account(), version, key.clone());
    // The first failure drops both, and with them the reader's queue: it ends by itself, even if only when its source does.
    let ((), written) = tokio::try_join!(ask(up, upload, cut, nexts), write(up, upload, version, writer, next))?;
    reader.await.map_err(|panic| UpError::Bug(panic.to_string()))??;
    let ready = Ready {
        version,
        meta: metadata(&job.meta, written.totals, key)?,
        sealed_bytes: written.sealed_bytes,
        inline: written.inline,
        content: None,
    };
    let conflict = upload.publisher().publish(up, job, &ready).await?;
    Ok(PutDone {
        shown: job.shown.clone(),
        version,
        bytes: written.totals.size,
        sent: written.sent,
        degraded: written.degraded,
        conflict,
    })
}

/// Sealed beside the content.
pub(super) fn metadata(meta: &LocalMeta, totals: Totals, manifest_key: ManifestKey) -> Result<VersionMeta, UpError> {
    let content = match &meta.kind {
        LocalKind::File => Content::File,
        LocalKind::Link(target) => {
            let too_long = |_| std::io::Error::other("the link's target is longer than Shoal keeps");
            Content::Link(target.clone().try_into().map_err(too_long).map_err(|e| UpError::Read(Arc::new(e)))?)
        }
    };
    let mtime = meta.modified;
    let Totals { size, extents, pages } = totals;
    Ok(VersionMeta { content, size, mtime, mode: meta.mode, pages, extents, manifest_key })
}

/// Cuts and names. Blocking; ends quietly when nobody takes chunks any more.
fn read(up: &Up, runtime: &Handle, source: Source, cuts: &mpsc::Sender<Cut>) -> Result<(), UpError> {
    let mut cutter = Cutter::new(super::open(source)?, &up.gear, up.pool.clone());
    loop {
        let Ok(permit) = runtime.block_on(Arc::clone(&up.in_flight).acquire_owned()) else { return Ok(()) };
        let Some(plain) = cutter.next() else { break };
        let plain = plain.map_err(|error| UpError::Read(Arc::new(error)))?;
        up.progress().read(plain.len() as u64);
        if cuts.blocking_send(Cut { plain, permit }).is_err() {
            return Ok(());
        }
    }
    Ok(cutter.into_reader().finish()?)
}

/// Asks for what has been cut meanwhile, in one question, and has sent what is new.
async fn ask(
    up: &Arc<Up>,
    upload: &Arc<Upload>,
    mut cuts: mpsc::Receiver<Cut>,
    nexts: mpsc::Sender<Next>,
) -> Result<(), UpError> {
    let mut seen: HashSet<ChunkId> = HashSet::new();
    let mut storing = JoinSet::new();
    let mut batch = Vec::with_capacity(up.chunks);
    while cuts.recv_many(&mut batch, up.chunks).await > 0 {
        if seen.len() >= REMEMBERED {
            seen.clear();
            if nexts.send(Next::Forget).await.is_err() {
                return Ok(());
            }
        }
        let cut: Vec<(ChunkId, bool, Cut)> = batch
            .drain(..)
            .map(|cut| {
                let chunk = cut.plain.chunk_id(&up.keys);
                (chunk, seen.insert(chunk), cut)
            })
            .collect();
        let new: Vec<ChunkId> = cut.iter().filter(|(_, new, _)| *new).map(|(chunk, ..)| *chunk).collect();
        let mut answers = if new.is_empty() { Vec::new() } else { upload.ask(new).await? }.into_iter();
        for (chunk, new, Cut { plain, permit }) in cut {
            let (len, digest) = (u32::try_from(plain.len()).unwrap_or(u32::MAX), plain.digest());
            let next = if new {
                let (reply, stored) = oneshot::channel();
                match answers.next().flatten() {
                    Some(key) => drop(reply.send(known(up, chunk, &key))),
                    None => {
                        let (up, upload) = (Arc::clone(up), Arc::clone(upload));
                        storing.spawn(async move { drop(reply.send(store_plain(&up, &upload, plain, permit).await)) });
                    }
                }
                Next::Chunk { chunk, len, digest, stored }
            } else {
                Next::Again { chunk, len, digest }
            };
            if nexts.send(next).await.is_err() {
                return Ok(());
            }
        }
        while storing.try_join_next().is_some() {}
    }
    drop(nexts);
    while storing.join_next().await.is_some() {}
    Ok(())
}

/// A file whose chunks and pages are all registered.
struct Written {
    totals: Totals,
    /// Bytes of all its sealed runs.
    sealed_bytes: u64,
    inline: Option<InlinePage>,
    sent: u64,
    degraded: u64,
}

/// Puts the extents into the manifest, in order, and its full pages to the directory.
async fn write(
    up: &Up,
    upload: &Upload,
    version: VersionId,
    mut writer: Writer,
    mut nexts: mpsc::Receiver<Next>,
) -> Result<Written, UpError> {
    let mut seen: HashMap<ChunkId, StoredChunk> = HashMap::new();
    let (mut sent, mut degraded, mut sealed_bytes) = (0, 0, 0_u64);
    let mut pages: Vec<WirePage> = Vec::new();
    while let Some(next) = nexts.recv().await {
        let (chunk, len, digest, stored) = match next {
            Next::Forget => {
                seen.clear();
                continue;
            }
            Next::Chunk { chunk, len, digest, stored } => {
                let stored = stored.await.map_err(|_| UpError::Interrupted)??;
                sent += stored.sent;
                degraded += u64::from(stored.degraded);
                seen.insert(chunk, stored.clone());
                (chunk, len, digest, stored)
            }
            Next::Again { chunk, len, digest } => {
                let stored = seen.get(&chunk).cloned();
                (chunk, len, digest, stored.ok_or_else(|| UpError::Bug("a repeated chunk came first".to_owned()))?)
            }
        };
        up.progress().stored(u64::from(len));
        sealed_bytes = sealed_bytes.saturating_add(stored.secret.len.into());
        if let Some(page) = writer.push(Extent::whole(chunk, len, digest, &stored.secret))? {
            pages.push(wire(page));
        }
        if pages.len() >= PAGES_AT_ONCE.min(PAGES_PER_REQUEST) {
            upload.put_pages(std::mem::take(&mut pages)).await?;
        }
    }
    let (last, totals) = writer.finish()?;
    let mut inline = None;
    if version == upload.version {
        pages.extend(last.map(wire));
        if !pages.is_empty() {
            upload.put_pages(pages).await?;
        }
    } else if let Some(page) = last {
        inline = Some(inline_page(page)?);
    }
    Ok(Written { totals, sealed_bytes, inline, sent, degraded })
}

fn wire(page: NewPage) -> WirePage {
    WirePage { page: page.page, chunks: page.chunks, sealed: page.sealed }
}

/// A page that travels with its file. One that is too long belongs to a file that has grown since it was looked at.
pub(super) fn inline_page(page: NewPage) -> Result<InlinePage, UpError> {
    let grown = || {
        let text =
            format!("its manifest has more than {INLINE_CHUNKS} chunks or {INLINE_PAGE_BYTES} bytes: it has grown");
        UpError::Read(Arc::new(std::io::Error::other(text)))
    };
    if page.page != 0 {
        return Err(grown());
    }
    let chunks = page.chunks.into_inner().try_into().map_err(|_| grown())?;
    let sealed = page.sealed.into_inner().try_into().map_err(|_| grown())?;
    Ok(InlinePage { chunks, sealed })
}
