//! File: one file, run by run, in the order of the file, fetched ahead: onto the disk or into a pipe.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use common::id::VersionId;
use common::proto::directory::Manifests;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinHandle, spawn_blocking};

use super::manifest::Walk;
use super::{Down, DownError, RUNS_IN_FLIGHT, fetch};
use crate::folder::FileVersion;
use crate::local::LocalError;
use crate::local::write::Download;
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
}

/// Fetches one file.
pub(super) async fn get(down: &Arc<Down>, job: GetJob) -> Result<GetDone, DownError> {
    let GetJob { version, meta, manifest, target, shown, .. } = job;
    let what = What { version, meta, manifest };
    match target {
        Target::File(download) => to_file(down, &what, download).await?,
        Target::Planned(planned) => {
            let download = blocking(move || planned.begin()).await??;
            to_file(down, &what, download).await?;
        }
        Target::Writer(writer) => to_writer(down, &what, writer).await?,
    }
    Ok(GetDone { shown, version, bytes: what.meta.size })
}

/// Gives a finished file its mode, time and name. Blocking.
pub(super) fn finish(down: &Down, download: Download, meta: &VersionMeta) -> Result<(), DownError> {
    Ok(download.finish(meta.mode, meta.mtime, down.options.durability)?)
}

async fn to_file(down: &Arc<Down>, what: &What, download: Download) -> Result<(), DownError> {
    let size = what.meta.size;
    let opened = blocking(move || download.reserve(size).and_then(|()| Ok((download.in_order()?, download))));
    let (mut writer, download) = opened.await??;
    let failed = |error, download: &Download| LocalError::io("write", download.destination())(error);
    let mut runs = ordered(down, what);
    while let Some(next) = runs.recv().await {
        let (fetched, permit) = next?;
        let verified = fetched.await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        let len = verified.bytes().len() as u64;
        let (written, back) = blocking(move || (writer.append(verified.bytes()), writer)).await?;
        written.map_err(|error| failed(error, &download))?;
        writer = back;
        drop(permit);
        down.options.progress.read(len);
    }
    let (down, meta) = (Arc::clone(down), what.meta.clone());
    let finished = blocking(move || {
        writer.finish().map_err(|error| failed(error, &download))?;
        finish(&down, download, &meta)
    });
    finished.await?
}

async fn to_writer(down: &Arc<Down>, what: &What, mut writer: Box<dyn Write + Send>) -> Result<(), DownError> {
    let mut runs = ordered(down, what);
    while let Some(next) = runs.recv().await {
        let (fetched, permit) = next?;
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

type Ordered = Result<(Fetched, OwnedSemaphorePermit), DownError>;

/// The runs of a version in order, fetched ahead.
fn ordered(down: &Arc<Down>, what: &What) -> mpsc::Receiver<Ordered> {
    let (queue, runs) = mpsc::channel(RUNS_IN_FLIGHT);
    let (down, What { version, meta, manifest }) = (Arc::clone(down), what.clone());
    tokio::spawn(async move {
        let mut walk = Walk::new(&down, version, &meta).with(manifest);
        loop {
            let next = tokio::select! {
                next = start_next(&down, &mut walk) => next,
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

async fn start_next(
    down: &Arc<Down>,
    walk: &mut Walk<'_>,
) -> Result<Option<(Fetched, OwnedSemaphorePermit)>, DownError> {
    let Some(run) = walk.next().await? else { return Ok(None) };
    let permit = permit(down).await?;
    let down = Arc::clone(down);
    let task = tokio::spawn(async move { fetch::extent(&down, &run).await });
    Ok(Some((Fetched(task), permit)))
}

async fn permit(down: &Down) -> Result<OwnedSemaphorePermit, DownError> {
    Arc::clone(&down.in_flight).acquire_owned().await.map_err(|closed| DownError::Bug(closed.to_string()))
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
