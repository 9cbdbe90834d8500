//! Transact: the only loop that reads, decides, commits and tries again.
//!
//! A decision reads through a [`Txn`], which remembers the version of everything that was read; the commit holds only if none of
//! it has changed, and is else decided anew. A request with a [`RequestId`] is recorded with its answer in the same commit: repeated,
//! also after an outcome that nobody knows, it is done once and answered alike.
//!
//! Range reads are not checked (the store is not phantom-safe): a decision that rests on the emptiness of a range reads its guard as well.

mod txn;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use common::codec;
use common::id::RequestId;
use common::proto::Refusal;
use common::proto::refusal::What;
use common::telemetry;
use common::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::authorize::Authorized;
use crate::kv::{CommitError, Meta, Store, StoreError};
use crate::op::Context;
use crate::schema::{Done, Mark, RecordError, key};
pub use txn::{Found, Txn};

/// With the pauses between them, attempts go on for about two seconds.
const ATTEMPTS: u32 = 12;
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// Why a decision came to no answer.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// Reads of different moments do not fit together: decide again.
    #[error("what was read changed meanwhile")]
    Torn,
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the store holds a record that cannot be read")]
    Record(#[from] RecordError),
}

/// What is asked, as a pure decision over what it reads.
pub trait Operation: Serialize + Send + Sync + 'static {
    const NAME: &'static str;
    /// Whether it is done even where a nearly full disk takes no other writes.
    const ESSENTIAL: bool = false;
    /// Who may ask: a type that only `authorize` makes.
    type Who: Authorized;
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// Its id, when its answer is to be recorded.
    fn request(&self) -> Option<RequestId> {
        None
    }

    /// Decides: what is read and written goes through `txn`, everything else comes from the arguments.
    fn decide(
        &self,
        txn: &mut Txn,
        who: Self::Who,
        context: &Context,
    ) -> impl Future<Output = Result<Self::Answer, Stop>> + Send;

    /// Puts the commit's sequence number into an answer that tells it.
    fn settle(_answer: &mut Self::Answer, _sequence: u64) {}
}

/// What one attempt came to.
enum Attempt<A> {
    Answered(A),
    Again,
}

/// Does what is asked, once, and answers when it is durable. Not cancel-safe: run it on a task of its own where the caller may go away
/// (what was committed stays committed).
///
/// # Errors
/// The decision's refusal; [`Refusal::Busy`] when others were always quicker; or what the store says.
pub async fn run<O: Operation>(
    store: &Arc<dyn Store>,
    operation: &O,
    who: O::Who,
    context: &Context,
) -> Result<O::Answer, Refusal> {
    let mut pause = FIRST_PAUSE;
    for _ in 0..ATTEMPTS {
        match attempt(store, operation, who, context).await? {
            Attempt::Answered(answer) => return Ok(answer),
            Attempt::Again => tokio::time::sleep(jittered(pause)).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    tracing::warn!(request = O::NAME, "given up after {ATTEMPTS} conflicts");
    Err(Refusal::Busy)
}

async fn attempt<O: Operation>(
    store: &Arc<dyn Store>,
    operation: &O,
    who: O::Who,
    context: &Context,
) -> Result<Attempt<O::Answer>, Refusal> {
    let mut txn = Txn::new(store.clone());
    let mut answer = match decide(&mut txn, operation, who, context).await {
        Ok(answer) => answer,
        Err(Stop::Torn) => return Ok(Attempt::Again),
        Err(Stop::Refused(refusal)) => return Err(refusal),
        Err(fault @ (Stop::Store(_) | Stop::Record(_))) => {
            tracing::error!(request = O::NAME, error = telemetry::chain(&fault), "cannot decide");
            return Err(Refusal::Internal);
        }
    };
    if !txn.changes() {
        return Ok(Attempt::Answered(answer));
    }
    let (actor, request, read_at) = (who.actor(), operation.request(), txn.read_at());
    let meta = Meta { actor, time: context.now, request, essential: O::ESSENTIAL, read_at: Some(read_at) };
    match commit(store, O::NAME, txn, meta).await? {
        Some(sequence) => {
            O::settle(&mut answer, sequence);
            Ok(Attempt::Answered(answer))
        }
        None => Ok(Attempt::Again),
    }
}

/// The sequence of the commit; `None` where it has to be decided anew. The same for all operations.
async fn commit(store: &Arc<dyn Store>, name: &'static str, txn: Txn, meta: Meta) -> Result<Option<u64>, Refusal> {
    let (checks, writes) = txn.into_commit();
    match store.commit(checks, writes, meta).await {
        Ok(sequence) => Ok(Some(sequence)),
        Err(CommitError::Conflict { .. }) => Ok(None),
        Err(fault @ CommitError::Unknown(_)) => {
            tracing::warn!(request = name, error = telemetry::chain(&fault), "asking again whether it happened");
            if meta.request.is_some() { Ok(None) } else { Err(Refusal::Internal) }
        }
        Err(CommitError::StorageFull { free, .. }) => Err(Refusal::Full { free: free.0 }),
        Err(CommitError::Limit(fault)) => {
            tracing::warn!(request = name, error = telemetry::chain(&fault), "too much for one commit");
            Err(Refusal::TooLarge(What::Request))
        }
        Err(fault @ CommitError::Failed(_)) => {
            tracing::error!(request = name, error = telemetry::chain(&fault), "cannot commit");
            Err(Refusal::Internal)
        }
        Err(CommitError::Stopped { reason }) => {
            tracing::error!(request = name, reason, "the store takes no commits");
            Err(Refusal::ReadOnly)
        }
    }
}

async fn decide<O: Operation>(txn: &mut Txn, operation: &O, who: O::Who, context: &Context) -> Result<O::Answer, Stop> {
    let Some(request) = operation.request() else { return operation.decide(txn, who, context).await };
    let caller = who.actor().id;
    let digest = digest(operation)?;
    if let Some(done) = txn.read(&key::done(caller, request)).await? {
        if done.record.digest != digest {
            return Err(Refusal::Exists(What::Request).into());
        }
        let mut answer = decode_answer::<O>(&done.record)?;
        O::settle(&mut answer, done.version);
        return Ok(answer);
    }
    let answer = operation.decide(txn, who, context).await?;
    remember(txn, caller, request, digest, &answer, context.now)?;
    Ok(answer)
}

fn digest<O: Operation>(operation: &O) -> Result<[u8; 16], Stop> {
    let bytes = codec::encode(operation).map_err(|_| Refusal::TooLarge(What::Request))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(O::NAME.as_bytes()).update(&[0]).update(&bytes);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    Ok(digest)
}

fn decode_answer<O: Operation>(done: &Done) -> Result<O::Answer, Stop> {
    codec::decode(&done.answer).map_err(|source| RecordError::Malformed { name: O::NAME, source }.into())
}

fn remember<A: Serialize>(
    txn: &mut Txn,
    caller: [u8; 16],
    request: RequestId,
    digest: [u8; 16],
    answer: &A,
    at: Timestamp,
) -> Result<(), Stop> {
    let answer = codec::encode(answer).map_err(|source| RecordError::Unencodable { name: "answer", source })?;
    let answer = answer.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
    txn.put(&key::done(caller, request), &Done { digest, answer, at })?;
    txn.put(&key::done_at(at, caller, request), &Mark {})
}

/// Between half and the whole of a pause, so that those who collided do not collide again.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    getrandom::fill(&mut byte).ok(); // without randomness the pause is merely not jittered
    let [byte] = byte;
    pause.mul_f64(0.5 + f64::from(byte) / 512.0)
}
