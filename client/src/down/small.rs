//! Small: files of one page at most, many at a time. Runs that lie together in one pack are read together.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use common::id::ChunkId;
use common::pass::SignedPass;
use common::proto::directory::SharedWant;
use common::proto::parts::Placement;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinSet, spawn_blocking};

use super::compare::{plain_len, run_is_there};
use super::manifest::{FirstPages, Run, Walk, first_pages};
use super::{Down, DownError, fetch, file};
use crate::local::write::{Durability, looks_like, settle_mode};
use crate::pack::PACK_FILE_MAX;
use crate::session::Read;
use crate::transfer::{GetDone, GetJob, Target};

/// Bytes of a pack that are read at once.
const READ_BYTES: u32 = 4 << 20;
/// Bytes of others' files between two wanted ones that are read along: about what a request of its own costs.
const GAP_BYTES: u32 = 16 << 10;
/// Versions whose pages are asked for in one request.
const VERSIONS_AT_ONCE: usize = 128;

/// A small file with its only run.
struct Wanted {
    job: GetJob,
    run: Run,
}

/// Whether a job is worth being grouped: one extent at most, into a file.
pub(super) fn is_small(job: &GetJob) -> bool {
    matches!(job.target, Target::File(_) | Target::Planned(_) | Target::Nowhere)
        && job.meta.extents <= 1
        && job.meta.size <= PACK_FILE_MAX as u64
}

/// Fetches a group of small files.
pub(super) async fn get(down: &Arc<Down>, jobs: Vec<GetJob>) -> Result<(), DownError> {
    let (empty, full): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.meta.pages == 0);
    finish_empty(down, empty).await?;
    let (mut wanted, mut full) = begin_with_what_is_there(down, full)?;
    let mut asking: JoinSet<Result<Vec<Wanted>, DownError>> = JoinSet::new();
    while !full.is_empty() {
        let part = full.drain(..full.len().min(VERSIONS_AT_ONCE)).collect();
        let down = Arc::clone(down);
        asking.spawn(async move { locate(&down, part).await });
    }
    while let Some(located) = asking.join_next().await {
        wanted.append(&mut located.map_err(|panic| DownError::Bug(panic.to_string()))??);
    }
    fetch_all(down, wanted).await
}

/// Locates the files whose page came with their look-up; hands back the others.
fn begin_with_what_is_there(down: &Down, jobs: Vec<GetJob>) -> Result<(Vec<Wanted>, Vec<GetJob>), DownError> {
    let (mut wanted, mut later) = (Vec::new(), Vec::with_capacity(jobs.len()));
    for mut job in jobs {
        let Some(manifest) = job.manifest.take() else {
            later.push(job);
            continue;
        };
        let mut first = Read::own(Arc::unwrap_or_clone(manifest)).into();
        let (mut located, mut left) = open_pages(down, vec![job], &mut first)?;
        wanted.append(&mut located);
        later.append(&mut left);
    }
    Ok((wanted, later))
}

/// Finds out where the only run of each of these files is.
async fn locate(down: &Down, mut jobs: Vec<GetJob>) -> Result<Vec<Wanted>, DownError> {
    let mut wanted = Vec::with_capacity(jobs.len());
    while !jobs.is_empty() {
        let asked = jobs.len();
        let wants = jobs.iter().map(|job| SharedWant { version: job.version, from: 0, at: job.at }).collect();
        let mut first = first_pages(down, wants).await?;
        let (mut located, later) = open_pages(down, jobs, &mut first)?;
        if later.len() == asked {
            return Err(DownError::Bug("the directory answered for no file".to_owned()));
        }
        wanted.append(&mut located);
        jobs = later;
    }
    Ok(wanted)
}

/// Empty files need no bytes.
async fn finish_empty(down: &Arc<Down>, jobs: Vec<GetJob>) -> Result<(), DownError> {
    for job in jobs {
        let shown = job.shown.clone();
        let result = file::get(down, job).await;
        down.counted(&shown, result)?;
    }
    Ok(())
}

/// Opens the pages that came. The jobs whose pages did not come yet are handed back.
fn open_pages(down: &Down, jobs: Vec<GetJob>, first: &mut FirstPages) -> Result<(Vec<Wanted>, Vec<GetJob>), DownError> {
    let (mut wanted, mut later) = (Vec::with_capacity(jobs.len()), Vec::new());
    for job in jobs {
        if first.missing.contains(&job.version) {
            down.failed(&job.shown, DownError::Gone { version: job.version })?;
            continue;
        }
        let Some(sealed) = first.pages.remove(&job.version) else {
            later.push(job);
            continue;
        };
        match only_run(down, &job, &sealed, first) {
            Ok(run) => wanted.push(Wanted { job, run }),
            Err(error) => down.failed(&job.shown, error)?,
        }
    }
    Ok((wanted, later))
}

fn only_run(down: &Down, job: &GetJob, sealed: &[u8], first: &FirstPages) -> Result<Run, DownError> {
    let mut walk = Walk::new(down, job.version, &job.meta).within(job.at);
    walk.accept(0, sealed, &first.placements)?;
    walk.take_only().ok_or(DownError::Gone { version: job.version })
}

/// Groups by chunk, and reads what lies together in one go.
async fn fetch_all(down: &Arc<Down>, wanted: Vec<Wanted>) -> Result<(), DownError> {
    let worker = Arc::clone(down);
    let looked = spawn_blocking(move || leave_out_what_is_there(&worker, wanted)).await;
    let wanted = looked.map_err(|panic| DownError::Bug(panic.to_string()))??;
    let mut chunks: HashMap<ChunkId, Vec<Wanted>> = HashMap::new();
    for file in wanted {
        chunks.entry(file.run.located.extent.chunk).or_default().push(file);
    }
    let mut tasks: JoinSet<Result<(), DownError>> = JoinSet::new();
    for mut files in chunks.into_values() {
        files.sort_by_key(|file| file.run.located.extent.offset);
        for group in neighbours(files) {
            let permit = down.ahead.permit().await;
            let down = Arc::clone(down);
            tasks.spawn(async move { fetch_group(&down, group, permit).await });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|panic| DownError::Bug(panic.to_string()))??;
    }
    Ok(())
}

/// What lies at its destination already, as it says itself and by its digest, is done: a get that is repeated fetches nothing twice.
/// Blocking.
fn leave_out_what_is_there(down: &Down, wanted: Vec<Wanted>) -> Result<Vec<Wanted>, DownError> {
    if down.options.durability != Durability::Relaxed {
        return Ok(wanted);
    }
    let mut left = Vec::with_capacity(wanted.len());
    for Wanted { job, run } in wanted {
        let there = match &job.target {
            Target::Planned(planned) => Some(planned.destination()).filter(|path| looks_like(path, &job.meta)),
            Target::File(_) | Target::Writer(_) | Target::Nowhere => None,
        };
        let digest = run.located.extent.digest;
        let is_it = |path: &Path| {
            File::open(path).is_ok_and(|file| run_is_there(&file, 0, plain_len(&run), &digest))
                && settle_mode(path, &job.meta).is_ok()
        };
        if there.is_some_and(is_it) {
            down.options.progress.read(job.meta.size);
            let GetJob { version, meta, shown, .. } = job;
            down.done(GetDone { shown, version, bytes: meta.size });
        } else {
            left.push(Wanted { job, run });
        }
    }
    Ok(left)
}

/// Splits files in order of their place in one chunk into groups that are read together.
fn neighbours(files: Vec<Wanted>) -> Vec<Vec<Wanted>> {
    let mut groups: Vec<Vec<Wanted>> = Vec::new();
    let (mut from, mut until) = (0, 0);
    for file in files {
        let extent = &file.run.located.extent;
        let (begins, ends) = (extent.offset, extent.offset.saturating_add(extent.len));
        match groups.last_mut() {
            Some(group) if begins.saturating_sub(until) <= GAP_BYTES && ends.saturating_sub(from) <= READ_BYTES => {
                until = until.max(ends);
                group.push(file);
            }
            _ => {
                (from, until) = (begins, ends);
                groups.push(vec![file]);
            }
        }
    }
    groups
}

async fn fetch_group(down: &Arc<Down>, group: Vec<Wanted>, _permit: OwnedSemaphorePermit) -> Result<(), DownError> {
    let Some(first) = group.first() else { return Ok(()) };
    let placement = Arc::clone(&first.run.placement);
    let pass = match first.run.pass(down).await {
        Err(error) if error.is_of_one_file() => return one_by_one(down, group).await,
        pass => pass?,
    };
    let from = group.first().map_or(0, |file| file.run.located.extent.offset);
    let until = group.iter().map(|file| file.run.located.extent.offset + file.run.located.extent.len).max();
    let len = until.unwrap_or(from) - from;
    let bytes = if group.len() > 1 { together(down, &placement, pass, from, len).await } else { None };
    let Some(bytes) = bytes else { return one_by_one(down, group).await };
    let worker = Arc::clone(down);
    let not_good = down.on_a_core(move || open_and_write(&worker, group, &bytes, from)).await??;
    one_by_one(down, not_good).await
}

/// The sealed bytes of a range, from a copy or from the whole rebuilt chunk.
async fn together(
    down: &Down,
    placement: &Placement,
    pass: Option<SignedPass>,
    from: u32,
    len: u32,
) -> Option<BytesMut> {
    if placement.redundancy.k() == 1 { fetch::range(down, placement, pass, from, len).await } else { None }
}

/// Opens each file's run and writes the file. Blocking. Files whose run did not open are handed back: another holder may have
/// a good one.
fn open_and_write(down: &Down, group: Vec<Wanted>, bytes: &BytesMut, from: u32) -> Result<Vec<Wanted>, DownError> {
    let mut not_good = Vec::new();
    for Wanted { job, run } in group {
        let extent = &run.located.extent;
        let begins = (extent.offset - from) as usize;
        let sealed = bytes.get(begins..begins + extent.len as usize).unwrap_or_default();
        match extent.open(BytesMut::from(sealed)) {
            Ok(verified) => {
                let shown = job.shown.clone();
                down.counted(&shown, write(down, job, verified.bytes()))?;
            }
            Err(_) => not_good.push(Wanted { job, run }),
        }
    }
    Ok(not_good)
}

fn write(down: &Down, job: GetJob, content: &[u8]) -> Result<GetDone, DownError> {
    let GetJob { version, meta, target, shown, .. } = job;
    let download = match target {
        Target::File(download) => download,
        Target::Planned(planned) => planned.begin()?,
        Target::Writer(_) => return Err(DownError::Bug("a small file into a pipe".to_owned())),
        Target::Nowhere => {
            down.options.progress.read(meta.size);
            return Ok(GetDone { shown, version, bytes: meta.size });
        }
    };
    download.write_at(content, 0)?;
    // All small files are synced together, at the end.
    down.sync_later(&download)?;
    download.finish(meta.mode, meta.mtime, Durability::Relaxed)?;
    down.options.progress.read(meta.size);
    Ok(GetDone { shown, version, bytes: meta.size })
}

/// The careful way: each file's run from whoever has a good one.
async fn one_by_one(down: &Arc<Down>, files: Vec<Wanted>) -> Result<(), DownError> {
    for Wanted { job, run } in files {
        let shown = job.shown.clone();
        let result = match fetch::extent(down, &run).await {
            Ok(verified) => {
                let down = Arc::clone(down);
                let written = spawn_blocking(move || write(&down, job, verified.bytes())).await;
                written.unwrap_or_else(|panic| Err(DownError::Bug(panic.to_string())))
            }
            Err(error) => Err(error),
        };
        down.counted(&shown, result)?;
    }
    Ok(())
}
