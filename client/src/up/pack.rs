//! Pack: small files, links and empty files. Many share a chunk, a question, a registration and a publication; and those that hold the
//! same share an extent, whether they are put together or were put before.

use std::sync::Arc;
use std::time::Duration;

use common::id::VersionId;
use common::proto::directory::KnownContent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::chunk::{known, on_a_core, store_sealed};
use super::claims::{self, Claim, Mine};
use super::file::{inline_page, metadata};
use super::group::{self, Group, Member};
use super::publish::Ready;
use super::upload::Upload;
use super::{Up, UpError};
use crate::content;
use crate::manifest::{Extent, ManifestKey, Totals, Writer};
use crate::pack::{PACK_FILE_MAX, PACK_TARGET_BYTES, Pack};
use crate::transfer::{PutDone, PutJob};

/// Files that are read, packed and published together.
const GROUP_FILES: usize = 512;
/// Groups under way: one is read and sealed while others are sent and published.
const GROUPS_AT_ONCE: usize = 8;
/// A pack up to this length is not asked for before it is sent: 20 ms on a line of 100 Mbit/s, less than a question takes on a long one.
const SHORT_PACK_BYTES: usize = 256 << 10;
/// How long a group waits for more files while the walk finds them.
const GROUP_PATIENCE: Duration = Duration::from_millis(20);

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

/// A small file and what is known of its content.
struct Stored {
    job: PutJob,
    extent: Option<Extent>,
    /// It is the first of its content, which was not stored before.
    first: bool,
}

/// Stores and publishes one group. What fails is told for each of its files.
async fn store(up: &Arc<Up>, jobs: Vec<PutJob>) {
    let Ok(permit) = Arc::clone(&up.in_flight).acquire_owned().await else { return };
    let shown: Vec<String> = jobs.iter().map(|job| job.shown.clone()).collect();
    let reader = Arc::clone(up);
    let mut group = match on_a_core(up, move || group::read(&reader, jobs)).await {
        Ok(group) => group,
        Err(error) => {
            return shown.iter().for_each(|shown| up.tally.count(up.progress(), shown, Err(error.clone())));
        }
    };
    for (shown, error) in group.failed.drain(..) {
        up.tally.count(up.progress(), &shown, Err(error));
    }
    match store_contents(up, &mut group, permit).await {
        Ok((upload, placed)) => publish(up, &upload, group.files, placed).await,
        Err(error) => {
            for file in &group.files {
                up.tally.count(up.progress(), &file.job.shown, Err(error.clone()));
            }
        }
    }
}

/// Where the contents of a group are.
struct Placed {
    extents: Vec<Result<Extent, UpError>>,
    /// Those that nobody had stored before.
    new: Vec<bool>,
    sent: u64,
    degraded: bool,
    /// Kept until the files are published.
    claims: Vec<Mine>,
}

impl Placed {
    fn set(&mut self, number: usize, result: Result<Extent, UpError>) {
        if let Some(extent) = self.extents.get_mut(number) {
            *extent = result;
        }
    }
}

/// Has every content stored: by whoever had it before, by another group, or in a pack of this one.
async fn store_contents(
    up: &Arc<Up>,
    group: &mut Group,
    permit: OwnedSemaphorePermit,
) -> Result<(Arc<Upload>, Placed), UpError> {
    let upload = up.shared().await?;
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    let claims = up.claims.claim(group.contents.iter().map(|content| content.digest));
    for (number, claim) in claims.into_iter().enumerate() {
        match claim {
            Claim::Mine(claim) => mine.push((number, claim)),
            Claim::Theirs(claim) => theirs.push((number, claim)),
        }
    }
    let nowhere = || Err(UpError::Interrupted);
    let count = group.contents.len();
    let extents = (0..count).map(|_| nowhere()).collect();
    let mut placed = Placed { extents, new: vec![false; count], sent: 0, degraded: false, claims: Vec::new() };
    if let Err(error) = store_mine(up, &upload, group, &mine, permit, &mut placed).await {
        // Whoever waits for one of these is to hear why.
        mine.iter().for_each(|(_, claim)| claim.settle(Err(error.clone())));
        return Err(error);
    }
    for (number, claim) in theirs {
        placed.set(number, claims::theirs(claim).await);
    }
    placed.claims = mine.into_iter().map(|(_, claim)| claim).collect();
    Ok((upload, placed))
}

/// Settles all claims of this group.
async fn store_mine(
    up: &Arc<Up>,
    upload: &Upload,
    group: &mut Group,
    mine: &[(usize, Mine)],
    permit: OwnedSemaphorePermit,
    placed: &mut Placed,
) -> Result<(), UpError> {
    let mut unknown = Vec::new();
    for ((number, claim), known) in mine.iter().zip(known_contents(up, upload, group, mine).await?) {
        match known {
            Some(extent) => {
                claim.settle(Ok(extent.clone()));
                placed.set(*number, Ok(extent));
            }
            None => unknown.push((*number, claim)),
        }
    }
    let (plain, wanted) = group.hand_over(unknown.iter().map(|(number, _)| *number));
    if unknown.is_empty() {
        return Ok(());
    }
    let packer = Arc::clone(up);
    let pack = move || Group::pack(&plain, &wanted, (&packer.pool, &packer.keys, packer.options.compression));
    let Some(mut pack) = on_a_core(up, pack).await?? else { return Ok(()) };
    let extents = std::mem::take(&mut pack.extents);
    (placed.sent, placed.degraded) = store_pack(up, upload, pack, permit).await?;
    for ((number, claim), extent) in unknown.into_iter().zip(extents) {
        claim.settle(Ok(extent.clone()));
        placed.set(number, Ok(extent));
        if let Some(new) = placed.new.get_mut(number) {
            *new = true;
        }
    }
    Ok(())
}

/// For each content that is this group's to store the extent that it has already.
async fn known_contents(
    up: &Up,
    upload: &Upload,
    group: &Group,
    mine: &[(usize, Mine)],
) -> Result<Vec<Option<Extent>>, UpError> {
    let contents: Vec<_> = mine.iter().filter_map(|(number, _)| group.contents.get(*number)).collect();
    if contents.is_empty() {
        return Ok(Vec::new());
    }
    let account = up.session.account();
    let known =
        upload.ask_contents(contents.iter().map(|found| content::id(&found.digest, &up.keys)).collect()).await?;
    let open = |(wanted, known): (&&group::Content, Option<KnownContent>)| {
        let extent = content::open(&up.keys, &account, wanted.digest, &known?).ok()?;
        group::fits(&extent, wanted).then_some(extent)
    };
    Ok(contents.iter().zip(known).map(open).collect())
}

/// Bytes sent for the pack, and whether it has fewer shards than it should.
async fn store_pack(
    up: &Up,
    upload: &Upload,
    pack: Pack,
    permit: OwnedSemaphorePermit,
) -> Result<(u64, bool), UpError> {
    let chunk = pack.sealed.chunk();
    // It may be there: of a put that was interrupted before it published. A short one is sent sooner than that is asked.
    let is_short = pack.sealed.bytes().len() <= SHORT_PACK_BYTES;
    let known_key = if is_short { None } else { upload.ask(vec![chunk]).await?.pop().flatten() };
    let stored = match known_key {
        Some(key) => known(up, chunk, &key)?,
        None => store_sealed(up, upload, pack.sealed, pack.secret, permit).await?,
    };
    Ok((stored.sent, stored.degraded))
}

async fn publish(up: &Arc<Up>, upload: &Arc<Upload>, files: Vec<Member>, mut placed: Placed) {
    let mut tasks = JoinSet::new();
    // What the pack cost is counted with its first file.
    let mut cost = Some((placed.sent, u64::from(placed.degraded)));
    for Member { job, content } in files {
        let extent = match content.and_then(|number| placed.extents.get(number)) {
            Some(Err(error)) => {
                up.tally.count(up.progress(), &job.shown, Err(error.clone()));
                continue;
            }
            Some(Ok(extent)) => Some(extent.clone()),
            None => None,
        };
        let first = content.and_then(|number| placed.new.get_mut(number)).is_some_and(std::mem::take);
        let file = Stored { job, extent, first };
        let (up, upload) = (Arc::clone(up), Arc::clone(upload));
        let (sent, degraded) = cost.take().unwrap_or_default();
        tasks.spawn(async move {
            let result = publish_one(&up, &upload, &file).await;
            let result = result.map(|done| PutDone { sent, degraded, ..done });
            up.tally.count(up.progress(), &file.job.shown, result);
        });
    }
    while tasks.join_next().await.is_some() {}
    drop(placed.claims);
}

async fn publish_one(up: &Arc<Up>, upload: &Upload, file: &Stored) -> Result<PutDone, UpError> {
    let (version, account) = (VersionId::random(), up.session.account());
    let key = ManifestKey::random();
    let mut writer = Writer::new(account, version, key.clone());
    if let Some(extent) = &file.extent {
        writer.push(extent.clone())?;
    }
    let (page, totals): (_, Totals) = writer.finish()?;
    let inline = page.map(inline_page).transpose()?;
    let meta = metadata(&file.job.meta, totals, key)?;
    let sealed_bytes = file.extent.as_ref().map_or(0, |extent| extent.len.into());
    let noted = file.extent.as_ref().filter(|_| file.first);
    let content = noted.map(|extent| content::seal(&up.keys, &account, extent)).transpose()?;
    let ready = Ready { version, meta, sealed_bytes, inline, content };
    let conflict = upload.publisher().publish(up, &file.job, &ready).await?;
    up.progress().stored(totals.size);
    Ok(PutDone { shown: file.job.shown.clone(), version, bytes: totals.size, sent: 0, degraded: 0, conflict })
}
