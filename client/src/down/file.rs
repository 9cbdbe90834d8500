//! File: one file, run by run, in the order of the file, fetched ahead: onto the disk or into a pipe.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::id::{NameToken, NodeId, VersionId};
use common::proto::directory::Manifests;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::compare::{plain_len, run_is_there, whole_is_there};
use super::manifest::{Run, Walk};
use super::{Down, DownError, fetch};
use crate::folder::FileVersion;
use crate::local::LocalError;
use crate::local::direct::DirectWriter;
use crate::local::write::{Download, Durability, looks_like, settle_mode};
use crate::meta::VersionMeta;
use crate::seal::Verified;
use crate::session::Session;
use crate::transfer::{GetDone, GetJob, GetOptions, Target};

/// The version that is fetched, and as much of its manifest as is there already.
#[derive(Clone)]
struct What {
    version: VersionId,
    meta: VersionMeta,
    manifest: Option<Arc<Manifests>>,
    at: Option<(NodeId, NameToken)>,
}

/// Fetches one file.
pub(super) async fn get(down: &Arc<Down>, job: GetJob) -> Result<GetDone, DownError> {
    let GetJob { version, meta, manifest, target, shown, at, .. } = job;
    let what = What { version, meta, manifest, at };
    match target {
        Target::File(download) => {
            if is_there(down, &what, download.destination()).await? {
                blocking(move || download.discard()).await?;
            } else {
                to_file(down, &what, download).await?;
            }
        }
        Target::Planned(planned) => {
            if !is_there(down, &what, planned.destination()).await? {
                let download = blocking(move || planned.begin()).await??;
                to_file(down, &what, download).await?;
            }
        }
        Target::Writer(writer) => to_writer(down, &what, writer).await?,
        Target::Nowhere => to_nowhere(down, &what).await?,
    }
    Ok(GetDone { shown, version, bytes: what.meta.size })
}

/// Whether the destination is this very version already: it says so itself, and every run of it has its digest. So a get that is
/// repeated fetches nothing twice.
async fn is_there(down: &Arc<Down>, what: &What, destination: &Path) -> Result<bool, DownError> {
    let meta = what.meta.clone();
    if meta.size == 0 || down.options.durability != Durability::Relaxed {
        return Ok(false);
    }
    let path = destination.to_owned();
    if !blocking(move || looks_like(&path, &meta)).await? {
        return Ok(false);
    }
    let walk = Walk::new(down, what.version, &what.meta).with(what.manifest.clone()).within(what.at);
    if !whole_is_there(walk, destination.to_owned()).await? {
        return Ok(false);
    }
    down.options.progress.read(what.meta.size);
    let (path, meta) = (destination.to_owned(), what.meta.clone());
    blocking(move || settle_mode(&path, &meta)).await??;
    Ok(true)
}

/// Gives a finished file its mode, time and name. Blocking.
pub(super) fn finish(down: &Down, download: Download, meta: &VersionMeta) -> Result<(), DownError> {
    Ok(download.finish(meta.mode, meta.mtime, down.options.durability)?)
}

async fn to_file(down: &Arc<Down>, what: &What, download: Download) -> Result<(), DownError> {
    let size = what.meta.size;
    let sweeper = Arc::clone(down);
    let opened = blocking(move || {
        sweeper.sweep(&download);
        download.reserve(size)?;
        let left = if download.left() > 0 { Some(download.reader()?) } else { None };
        let writer = if left.is_none() { Some(download.in_order(0)?) } else { None };
        Ok::<_, LocalError>((writer, left, download))
    });
    let (mut writer, left, mut download) = opened.await??;
    let failed = |error, download: &Download| LocalError::io("write", download.destination())(error);
    let mut runs = ordered(down, what, left.map(|file| (Arc::new(file), download.left())));
    let mut at = 0;
    while let Some(next) = runs.recv().await {
        let (fetched, permit) = match next? {
            Next::There(len) => {
                at += len;
                down.options.progress.read(len);
                continue;
            }
            Next::Fetched(fetched, permit) => (fetched, permit),
        };
        let verified = fetched.await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        let len = verified.bytes().len() as u64;
        if writer.is_none() && at + len <= download.left() {
            // Something in the middle of what was left is not what it should be.
            let mend = move || (download.write_at(verified.bytes(), at), download);
            let (written, back) = blocking(mend).await?;
            written?;
            download = back;
        } else {
            let mut own = match writer.take() {
                Some(writer) => writer,
                None => {
                    let begin = move || (download.in_order(at), download);
                    let (writer, back): (Result<DirectWriter, _>, _) = blocking(begin).await?;
                    download = back;
                    writer?
                }
            };
            let (written, back) = blocking(move || (own.append(verified.bytes()), own)).await?;
            written.map_err(|error| failed(error, &download))?;
            writer = Some(back);
        }
        at += len;
        drop(permit);
        down.options.progress.read(len);
    }
    let (down, meta) = (Arc::clone(down), what.meta.clone());
    let finished = blocking(move || {
        match writer {
            Some(writer) => writer.finish().map_err(|error| failed(error, &download))?,
            None => download.cut(meta.size)?,
        }
        finish(&down, download, &meta)
    });
    finished.await?
}

/// Fetched and verified, and not kept.
async fn to_nowhere(down: &Arc<Down>, what: &What) -> Result<(), DownError> {
    let mut runs = ordered(down, what, None);
    while let Some(next) = runs.recv().await {
        let Next::Fetched(fetched, permit) = next? else { continue };
        let verified = fetched.await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        drop(permit);
        down.options.progress.read(verified.bytes().len() as u64);
    }
    Ok(())
}

async fn to_writer(down: &Arc<Down>, what: &What, mut writer: Box<dyn Write + Send>) -> Result<(), DownError> {
    let mut runs = ordered(down, what, None);
    while let Some(next) = runs.recv().await {
        let Next::Fetched(fetched, permit) = next? else { continue };
        let verified = fetched.await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        let len = verified.bytes().len() as u64;
        let written = blocking(move || writer.write_all(verified.bytes()).map(|()| writer)).await?;
        writer = written.map_err(|error| DownError::Write(Arc::new(error)))?;
        drop(permit);
        down.options.progress.read(len);
    }
    let flushed = blocking(move || writer.flush()).await?;
    flushed.map_err(|error| DownError::Write(Arc::new(error)))
}

/// A run that is being fetched; aborted when nobody waits for it any more.
struct Fetched(JoinHandle<Result<Verified, DownError>>);

impl Future for Fetched {
    type Output = Result<Result<Verified, DownError>, tokio::task::JoinError>;
    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A run in the order of the file.
enum Next {
    Fetched(Fetched, OwnedSemaphorePermit),
    /// So many bytes are where they belong already.
    There(u64),
}

/// What an interrupted download has left, and how much.
type Left = Option<(Arc<File>, u64)>;

/// The runs of a version in order, fetched ahead; not those that are left and good.
fn ordered(down: &Arc<Down>, what: &What, left: Left) -> mpsc::Receiver<Result<Next, DownError>> {
    let (queue, runs) = mpsc::channel(down.runs);
    let (down, What { version, meta, manifest, at }) = (Arc::clone(down), what.clone());
    tokio::spawn(async move {
        let mut walk = Walk::new(&down, version, &meta).with(manifest).within(at);
        loop {
            let next = tokio::select! {
                next = start_next(&down, &mut walk, &left) => next,
                () = queue.closed() => return,
            };
            let Some(next) = next.transpose() else { return };
            let failed = next.is_err();
            if queue.send(next).await.is_err() || failed {
                return;
            }
        }
    });
    runs
}

async fn start_next(down: &Arc<Down>, walk: &mut Walk<'_>, left: &Left) -> Result<Option<Next>, DownError> {
    let Some(run) = walk.next().await? else { return Ok(None) };
    if let Some((file, left)) = left
        && is_left(&run, file, *left).await?
    {
        return Ok(Some(Next::There(plain_len(&run).into())));
    }
    let permit = down.ahead.permit().await;
    let down = Arc::clone(down);
    let task = tokio::spawn(async move { fetch::extent(&down, &run).await });
    Ok(Some(Next::Fetched(Fetched(task), permit)))
}

async fn is_left(run: &Run, file: &Arc<File>, left: u64) -> Result<bool, DownError> {
    let (from, len, digest) = (run.located.offset, plain_len(run), run.located.extent.digest);
    if from + u64::from(len) > left {
        return Ok(false);
    }
    let file = Arc::clone(file);
    blocking(move || run_is_there(&file, from, len, &digest)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DownError> {
    spawn_blocking(work).await.map_err(|panic| DownError::Bug(panic.to_string()))
}

/// Reads a part of a version into memory: what lies in `from..from + len`, less where the file ends before. For small reads; a
/// whole file is better fetched by [`get_files`](super::get_files).
///
/// # Errors
/// As [`get_files`](super::get_files), of one file.
pub async fn read_range(
    session: &Session,
    file: &FileVersion,
    from: u64,
    len: u64,
    options: &GetOptions,
) -> Result<Bytes, DownError> {
    let down = Down::new(session, options);
    let until = from.saturating_add(len).min(file.meta.size);
    let mut walk = Walk::new(&down, file.version, &file.meta).with(file.manifest.clone());
    let mut bytes = bytes::BytesMut::new();
    while let Some(run) = walk.next().await? {
        let begins = run.located.offset;
        let ends = begins + u64::from(run.located.extent.size);
        if begins >= until {
            break;
        }
        if ends <= from {
            continue;
        }
        let verified = fetch::extent(&down, &run).await?;
        let start = usize::try_from(from.saturating_sub(begins)).unwrap_or(usize::MAX);
        let end = usize::try_from(until.min(ends) - begins).unwrap_or(usize::MAX);
        bytes.extend_from_slice(verified.bytes().get(start..end).unwrap_or_default());
    }
    Ok(bytes.freeze())
}
