//! Pack: small files, links and empty files. Many share a chunk, a question, a registration and a publication.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use common::id::VersionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::chunk::{known, on_a_core, store_sealed};
use super::file::{inline_page, metadata};
use super::publish::Ready;
use super::upload::Upload;
use super::{Up, UpError};
use crate::manifest::{Extent, ManifestKey, Totals, Writer};
use crate::pack::{PACK_FILE_MAX, PACK_TARGET_BYTES, Pack, PackBuilder};
use crate::transfer::{PutDone, PutJob, Source};

/// Files that are read, packed and published together.
const GROUP_FILES: usize = 512;
/// Groups under way: one is read and sealed while others are sent and published.
const GROUPS_AT_ONCE: usize = 8;
/// How long a group waits for more files while the walk finds them.
const GROUP_PATIENCE: Duration = Duration::from_millis(20);

/// A file with its place in the pack; links and empty files have none.
struct Packed {
    job: PutJob,
    extent: Option<Extent>,
}

/// What reading one group came to.
struct Group {
    pack: Option<Pack>,
    files: Vec<Packed>,
    failed: Vec<(String, UpError)>,
}

/// Takes small jobs until there are no more.
pub(super) async fn run(up: Arc<Up>, mut jobs: mpsc::Receiver<PutJob>) {
    let groups = Arc::new(Semaphore::new(GROUPS_AT_ONCE));
    let mut tasks: JoinSet<()> = JoinSet::new();
    let mut left = None;
    loop {
        let Some(first) = next(&mut left, &mut jobs).await else { break };
        let mut room = PACK_TARGET_BYTES.saturating_sub(weight(&first));
        let mut group = vec![first];
        while group.len() < GROUP_FILES && room > 0 {
            let Ok(Some(job)) = timeout(GROUP_PATIENCE, jobs.recv()).await else { break };
            if weight(&job) > room && weight(&job) > PACK_FILE_MAX / 2 {
                left = Some(job);
                break;
            }
            room = room.saturating_sub(weight(&job));
            group.push(job);
        }
        let Ok(permit) = Arc::clone(&groups).acquire_owned().await else { break };
        let up = Arc::clone(&up);
        tasks.spawn(async move {
            let _permit = permit;
            store(&up, group).await;
        });
        while tasks.try_join_next().is_some() {}
    }
    while let Some(done) = tasks.join_next().await {
        if let Err(panic) = done {
            up.tally.count(up.progress(), "", Err(UpError::Bug(panic.to_string())));
        }
    }
}

async fn next(left: &mut Option<PutJob>, jobs: &mut mpsc::Receiver<PutJob>) -> Option<PutJob> {
    match left.take() {
        Some(job) => Some(job),
        None => jobs.recv().await,
    }
}

fn weight(job: &PutJob) -> usize {
    super::size_of(&job.source).and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
}

/// Stores and publishes one group. What fails is told for each of its files.
async fn store(up: &Arc<Up>, jobs: Vec<PutJob>) {
    let all = |error: UpError, files: &[Packed]| {
        for file in files {
            up.tally.count(up.progress(), &file.job.shown, Err(error.clone()));
        }
    };
    let Ok(permit) = Arc::clone(&up.in_flight).acquire_owned().await else { return };
    let shown: Vec<String> = jobs.iter().map(|job| job.shown.clone()).collect();
    let reader = Arc::clone(up);
    let group = match on_a_core(up, move || read(&reader, jobs)).await {
        Ok(group) => group,
        Err(error) => {
            return shown.iter().for_each(|shown| up.tally.count(up.progress(), shown, Err(error.clone())));
        }
    };
    for (shown, error) in group.failed {
        up.tally.count(up.progress(), &shown, Err(error));
    }
    let upload = match up.shared().await {
        Ok(upload) => upload,
        Err(error) => return all(error, &group.files),
    };
    let (sent, degraded) = match group.pack {
        None => (0, false),
        Some(pack) => match store_pack(up, &upload, pack, permit).await {
            Ok(stored) => stored,
            Err(error) => return all(error, &group.files),
        },
    };
    publish(up, &upload, group.files, sent, degraded).await;
}

/// Reads, names and seals. Blocking.
fn read(up: &Up, jobs: Vec<PutJob>) -> Group {
    let mut group = Group { pack: None, files: Vec::with_capacity(jobs.len()), failed: Vec::new() };
    let mut builder = PackBuilder::new(&up.pool);
    let mut packed = Vec::with_capacity(jobs.len());
    let mut content = Vec::with_capacity(PACK_FILE_MAX);
    for mut job in jobs {
        content.clear();
        let source = std::mem::replace(&mut job.source, Source::None);
        match read_one(source, &mut content).and_then(|()| push(up, &mut builder, &content)) {
            Ok(in_pack) => {
                up.progress().read(content.len() as u64);
                packed.push(in_pack);
                group.files.push(Packed { job, extent: None });
            }
            Err(error) => group.failed.push((job.shown, error)),
        }
    }
    group.pack = builder.finish(&up.keys);
    let mut extents = group.pack.as_mut().map(|pack| std::mem::take(&mut pack.extents)).unwrap_or_default().into_iter();
    for (file, in_pack) in group.files.iter_mut().zip(packed) {
        if in_pack {
            file.extent = extents.next();
        }
    }
    group
}

/// The whole of a small file, which must not have grown beyond a pack's files.
fn read_one(source: Source, content: &mut Vec<u8>) -> Result<(), UpError> {
    if matches!(source, Source::None) {
        return Ok(());
    }
    let mut reading = super::open(source)?;
    let limit = PACK_FILE_MAX as u64;
    reading.by_ref().take(limit).read_to_end(content).map_err(|error| UpError::Read(Arc::new(error)))?;
    Ok(reading.finish()?)
}

/// Whether the content takes a place in the pack.
fn push(up: &Up, builder: &mut PackBuilder, content: &[u8]) -> Result<bool, UpError> {
    if content.is_empty() {
        return Ok(false);
    }
    builder.push(content, &up.keys)?;
    Ok(true)
}

/// Bytes sent for the pack, and whether it has fewer shards than it should.
async fn store_pack(
    up: &Up,
    upload: &Upload,
    pack: Pack,
    permit: OwnedSemaphorePermit,
) -> Result<(u64, bool), UpError> {
    let chunk = pack.sealed.chunk();
    let stored = match upload.ask(vec![chunk]).await?.pop().flatten() {
        Some(key) => known(up, chunk, &key)?,
        None => store_sealed(up, upload, pack.sealed, pack.secret, permit).await?,
    };
    Ok((stored.sent, stored.degraded))
}

async fn publish(up: &Arc<Up>, upload: &Arc<Upload>, files: Vec<Packed>, sent: u64, degraded: bool) {
    let mut tasks = JoinSet::new();
    // What the pack cost is counted with its first file.
    let mut cost = Some((sent, u64::from(degraded)));
    for file in files {
        let (up, upload) = (Arc::clone(up), Arc::clone(upload));
        let (sent, degraded) = cost.take().unwrap_or_default();
        tasks.spawn(async move {
            let result = publish_one(&up, &upload, &file).await;
            let result = result.map(|done| PutDone { sent, degraded, ..done });
            up.tally.count(up.progress(), &file.job.shown, result);
        });
    }
    while tasks.join_next().await.is_some() {}
}

async fn publish_one(up: &Arc<Up>, upload: &Upload, file: &Packed) -> Result<PutDone, UpError> {
    let version = VersionId::random();
    let key = ManifestKey::random();
    let mut writer = Writer::new(up.session.account(), version, key.clone());
    if let Some(extent) = &file.extent {
        writer.push(extent.clone())?;
    }
    let (page, totals): (_, Totals) = writer.finish()?;
    let inline = page.map(inline_page).transpose()?;
    let meta = metadata(&file.job.meta, totals, key)?;
    let ready = Ready { version, meta, sealed_bytes: totals.size, inline };
    let conflict = upload.publisher().publish(up, &file.job, &ready).await?;
    up.progress().stored(totals.size);
    Ok(PutDone { shown: file.job.shown.clone(), version, bytes: totals.size, sent: 0, degraded: 0, conflict })
}
