//! Publish: makes files visible, many in one request, and sees to it that two who write one path both keep their version.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::bounded::BoundedVec;
use common::id::{NodeId, RequestId, VersionId};
use common::limits::{ANSWER_BYTES, PUBLISH_FILES};
use common::proto::directory::{Expect, FilePublished, InlinePage, NewContent, NewFile, Publish};
use common::proto::parts::NodeKind;
use common::telemetry;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tracing::warn;

use super::{Up, UpError};
use crate::conflict;
use crate::meta::{Entry, EntryPlace, VersionMeta, VersionPlace};
use crate::transfer::PutJob;

/// Requests under way: the directory decides on some while it commits others, several with one sync. All but the first start only when they
/// are full, so that a trickle of files still shares requests.
const PUBLISHING: usize = 4;
/// How often a path that others keep changing is tried.
const TRIES: u32 = 8;

type Reply = oneshot::Sender<Result<FilePublished, UpError>>;

/// Batches the files of one upload.
pub(super) struct Publisher {
    queue: mpsc::Sender<(NewFile, Reply)>,
    /// Conflicts that others were told of.
    told: AtomicUsize,
    running: JoinHandle<()>,
}

/// A file whose content is stored: all that publishing it takes.
pub(super) struct Ready {
    pub(super) version: VersionId,
    pub(super) meta: VersionMeta,
    pub(super) sealed_bytes: u64,
    pub(super) inline: Option<InlinePage>,
    /// How the content is found again.
    pub(super) content: Option<NewContent>,
}

impl Publisher {
    pub(super) fn start(up: &Arc<Up>, upload: VersionId) -> Self {
        let (queue, jobs) = mpsc::channel(PUBLISH_FILES * 2);
        Self { queue, told: AtomicUsize::new(0), running: tokio::spawn(publish_all(Arc::clone(up), upload, jobs)) }
    }

    async fn send(&self, file: NewFile) -> Result<FilePublished, UpError> {
        let gone = || UpError::Bug("the publisher is gone".to_owned());
        let (reply, answer) = oneshot::channel();
        self.queue.send((file, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Makes one file visible. When something else is there than was expected, it looks again and goes on: the other version
    /// becomes history. `true` when that happened.
    pub(super) async fn publish(&self, up: &Up, job: &PutJob, ready: &Ready) -> Result<bool, UpError> {
        let mut expect = job.expect;
        let mut node = job.node();
        let mut over = false;
        for attempt in 0..TRIES {
            match self.send(new_file(up, job, ready, node, expect)?).await? {
                FilePublished::Visible(_) => {
                    if over {
                        self.tell_others(up, job, ready.version).await;
                    }
                    return Ok(attempt > 0);
                }
                FilePublished::Refused(refusal) => return Err(UpError::Refused(refusal)),
                FilePublished::Changed(None) => (expect, node, over) = (Expect::Nothing, NodeId::random(), false),
                FilePublished::Changed(Some((there, NodeKind::File, Some(version)))) => {
                    (expect, node, over) = (Expect::File(there, version), there, true);
                }
                FilePublished::Changed(Some((_, NodeKind::Folder, _) | (_, NodeKind::File, None))) => {
                    return Err(UpError::FolderThere);
                }
            }
        }
        Err(UpError::Contended)
    }

    /// The file is stored, whatever comes of this.
    async fn tell_others(&self, up: &Up, job: &PutJob, version: VersionId) {
        if self.told.fetch_add(1, Ordering::Relaxed) >= conflict::TOLD {
            return;
        }
        let told = match conflict::note(&up.session, job, version) {
            Ok(Some(note)) => up.session.call_directory(&note).await.map(drop).map_err(UpError::from),
            Ok(None) => Ok(()),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = told {
            warn!(error = telemetry::chain(&error), "other devices are not told of a conflict");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Seals entry and metadata for the node that the file gets.
fn new_file(up: &Up, job: &PutJob, ready: &Ready, node: NodeId, expect: Expect) -> Result<NewFile, UpError> {
    let account = up.session.account();
    let place = EntryPlace::of(&up.keys, account, job.folder, &job.name, node);
    let entry = Entry { name: job.name.clone(), folder: None };
    let version = VersionPlace { account, node, version: ready.version };
    Ok(NewFile {
        folder: job.folder,
        token: place.token,
        node,
        version: ready.version,
        sealed: entry.seal(&up.keys, &place)?,
        meta: ready.meta.seal(&up.keys, &version)?,
        redundancy: up.redundancy,
        pages: ready.meta.pages,
        sealed_bytes: ready.sealed_bytes,
        inline: ready.inline.clone(),
        expect,
        content: ready.content.clone(),
    })
}

fn weight(file: &NewFile) -> usize {
    let inline = file.inline.as_ref().map_or(0, |page| page.sealed.len() + page.chunks.len() * 20);
    let content = file.content.as_ref().map_or(0, |content| content.sealed.len() + 24);
    256 + file.sealed.len() + file.meta.len() + inline + content
}

/// A request's worth of files.
#[derive(Default)]
struct Batch {
    files: Vec<NewFile>,
    replies: Vec<Reply>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.files.len() >= PUBLISH_FILES || self.bytes >= ANSWER_BYTES
    }

    fn push(&mut self, (file, reply): (NewFile, Reply)) {
        self.bytes += weight(&file);
        self.files.push(file);
        self.replies.push(reply);
    }

    /// Takes what is waiting.
    fn fill(&mut self, queue: &mut mpsc::Receiver<(NewFile, Reply)>) {
        while !self.is_full() {
            let Ok(next) = queue.try_recv() else { break };
            self.push(next);
        }
    }

    async fn publish(self, up: Arc<Up>, upload: VersionId) {
        let Ok(files): Result<BoundedVec<NewFile, PUBLISH_FILES>, _> = self.files.try_into() else { return };
        // With what is published last the upload ends, and is not to be abandoned.
        let own = files.iter().any(|file| file.version == upload);
        let done = own || up.tally.are_the_last(files.len());
        let publish = Publish { request: RequestId::random(), upload, files, done };
        match up.session.call_directory(&publish).await {
            Ok(published) => {
                if done && published.results.iter().all(|result| matches!(result, FilePublished::Visible(_))) {
                    up.open_uploads().remove(&upload);
                }
                for (reply, result) in self.replies.into_iter().zip(published.results) {
                    reply.send(Ok(result)).ok();
                }
            }
            Err(error) => {
                let error = UpError::from(error);
                for reply in self.replies {
                    reply.send(Err(error.clone())).ok();
                }
            }
        }
    }
}

/// Publishes what comes, up to a request's worth at once.
async fn publish_all(up: Arc<Up>, upload: VersionId, mut queue: mpsc::Receiver<(NewFile, Reply)>) {
    let mut publishing = JoinSet::new();
    while let Some(first) = queue.recv().await {
        let mut batch = Batch::default();
        batch.push(first);
        batch.fill(&mut queue);
        while publishing.len() >= PUBLISHING || (!batch.is_full() && !publishing.is_empty()) {
            publishing.join_next().await; // who published answers for itself
            batch.fill(&mut queue);
        }
        publishing.spawn(batch.publish(Arc::clone(&up), upload));
    }
    while publishing.join_next().await.is_some() {}
}
