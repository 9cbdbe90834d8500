//! Upload: a pending version at the directory, which holds every chunk that was asked of or registered with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::grant::SignedGrant;
use common::id::{ChunkId, ContentId, RequestId, VersionId};
use common::limits::{ASK_CHUNKS, REGISTER_CHUNKS};
use common::proto::directory::{Ask, AskContents, Begin, Extend, KnownContent, NewChunk, NewPage, PutPages, Register};
use common::proto::parts::SealedKey;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::publish::Publisher;
use super::{Up, UpError};

/// What an upload of unknown length is granted at first, and each time it has used that up.
const GRANT_STEP_BYTES: u64 = 4 << 30;
/// How long a registration waits for others while chunks are under way: short beside what sending a few chunks takes.
const LINGER: Duration = Duration::from_millis(30);
/// Beyond what is known to be needed: replaced shards, padding.
const GRANT_SLACK_BYTES: u64 = 64 << 20;

type Reply<T> = oneshot::Sender<Result<T, UpError>>;

/// One pending version, with the two tasks that batch what is said of it.
pub(super) struct Upload {
    pub(super) version: VersionId,
    up: Arc<Up>,
    grant: Mutex<Granted>,
    used: AtomicU64,
    registrar: mpsc::Sender<(NewChunk, Reply<Option<SealedKey>>)>,
    registering: JoinHandle<()>,
    publisher: Publisher,
}

struct Granted {
    grant: SignedGrant,
    bytes: u64,
}

impl Upload {
    /// Begins one for a file of a known size, or for as much as comes.
    pub(super) async fn begin(up: &Arc<Up>, size: Option<u64>) -> Result<Self, UpError> {
        let bytes = size.map_or(GRANT_STEP_BYTES, |size| up.shards_of(size).saturating_add(GRANT_SLACK_BYTES));
        let version = VersionId::random();
        let begin = Begin { request: RequestId::random(), version, redundancy: up.redundancy, bytes };
        up.open_uploads().insert(version);
        let begun = up.session.call_directory(&begin).await?;
        let (registrar, queue) = mpsc::channel(REGISTER_CHUNKS);
        let registering = tokio::spawn(register_all(Arc::clone(up), version, queue));
        Ok(Self {
            version,
            up: Arc::clone(up),
            grant: Mutex::new(Granted { grant: begun.grant, bytes }),
            used: AtomicU64::new(0),
            registrar,
            registering,
            publisher: Publisher::start(up, version),
        })
    }

    pub(super) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// A grant with room for so many more bytes, counting them as used.
    pub(super) async fn grant(&self, bytes: u64) -> Result<SignedGrant, UpError> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let mut granted = self.grant.lock().await;
        if used > granted.bytes {
            self.extend(&mut granted, used.saturating_add(GRANT_STEP_BYTES)).await?;
        }
        Ok(granted.grant.clone())
    }

    /// Another grant in place of one that a peer did not take any more.
    pub(super) async fn renew(&self, refused: &SignedGrant) -> Result<SignedGrant, UpError> {
        let mut granted = self.grant.lock().await;
        if granted.grant == *refused {
            let bytes = granted.bytes.saturating_add(GRANT_STEP_BYTES);
            self.extend(&mut granted, bytes).await?;
        }
        Ok(granted.grant.clone())
    }

    async fn extend(&self, granted: &mut Granted, bytes: u64) -> Result<(), UpError> {
        let begun = self.up.session.call_directory(&Extend { version: self.version, bytes }).await?;
        *granted = Granted { grant: begun.grant, bytes };
        Ok(())
    }

    /// For each chunk its sealed key when it is stored already; the upload holds it from now on.
    pub(super) async fn ask(&self, chunks: Vec<ChunkId>) -> Result<Vec<Option<SealedKey>>, UpError> {
        debug_assert!(chunks.len() <= ASK_CHUNKS);
        let count = chunks.len();
        let Ok(chunks) = chunks.try_into() else { return Err(UpError::Bug("too many chunks asked".to_owned())) };
        let ask = Ask { version: self.version, redundancy: self.up.redundancy, chunks };
        let known = self.up.session.call_directory(&ask).await?.known.into_inner();
        if known.len() != count {
            return Err(UpError::Bug("the directory answered for another number of chunks".to_owned()));
        }
        Ok(known)
    }

    /// For each small content where it is when it is stored already; the upload holds its pack from now on.
    pub(super) async fn ask_contents(&self, contents: Vec<ContentId>) -> Result<Vec<Option<KnownContent>>, UpError> {
        let count = contents.len();
        let Ok(contents) = contents.try_into() else { return Err(UpError::Bug("too many contents asked".to_owned())) };
        let ask = AskContents { version: self.version, redundancy: self.up.redundancy, contents };
        let known = self.up.session.call_directory(&ask).await?.known.into_inner();
        if known.len() != count {
            return Err(UpError::Bug("the directory answered for another number of contents".to_owned()));
        }
        Ok(known)
    }

    /// Registers a chunk whose shards are durable; the sealed key of whoever was first, when that was somebody else.
    pub(super) async fn register(&self, chunk: NewChunk) -> Result<Option<SealedKey>, UpError> {
        let (reply, answer) = oneshot::channel();
        let gone = || UpError::Bug("the registrar is gone".to_owned());
        self.registrar.send((chunk, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Stores pages of the manifest of this very version.
    pub(super) async fn put_pages(&self, pages: Vec<NewPage>) -> Result<(), UpError> {
        let Ok(pages) = pages.try_into() else { return Err(UpError::Bug("too many pages".to_owned())) };
        self.up.session.call_directory(&PutPages { version: self.version, pages }).await?;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.registering.abort();
    }
}

impl Up {
    /// Bytes of all shards of so many sealed bytes, about.
    fn shards_of(&self, size: u64) -> u64 {
        let (k, n) = (self.redundancy.k() as u64, self.redundancy.n() as u64);
        (size / k).saturating_add(1).saturating_mul(n)
    }
}

/// Takes what has come, up to a request's worth, while the last request was under way; and, while more chunks are being sent, what
/// comes within [`LINGER`]. Each request is a commit at the directory with a sync of its own.
async fn register_all(
    up: Arc<Up>,
    version: VersionId,
    mut queue: mpsc::Receiver<(NewChunk, Reply<Option<SealedKey>>)>,
) {
    let mut batch = Vec::with_capacity(REGISTER_CHUNKS);
    while queue.recv_many(&mut batch, REGISTER_CHUNKS).await > 0 {
        let until = Instant::now() + LINGER;
        while batch.len() < REGISTER_CHUNKS && up.in_flight.available_permits() < up.chunks {
            let room = REGISTER_CHUNKS - batch.len();
            match timeout_at(until, queue.recv_many(&mut batch, room)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            }
        }
        let (chunks, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        let Ok(chunks) = chunks.try_into() else { return };
        match up.session.call_directory(&Register { version, chunks }).await {
            Ok(registered) => {
                for (reply, winner) in replies.into_iter().zip(registered.winners) {
                    reply.send(Ok(winner)).ok();
                }
            }
            Err(error) => {
                let error = UpError::from(error);
                for reply in replies {
                    reply.send(Err(error.clone())).ok();
                }
            }
        }
    }
}
