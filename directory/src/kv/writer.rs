//! Writer: the one thread that commits. Takes what waits, checks it, journals it, applies it, answers it, in this order.
//!
//! So nothing is visible before it is durable, nothing is acknowledged before it is visible, and concurrent commits share a
//! sync. After a failed sync, or a failed index, it acknowledges nothing any more: only a new start knows what is on the disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use common::size::ByteSize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::{error, warn};

use super::embedded::Shared;
use super::folder::{self, State};
use super::journal::append::{AppendError, Appender};
use super::journal::disk::Disk;
use super::journal::{BATCH_BYTES, BATCH_COMMITS, Position};
use super::open::{OpenError, index_path};
use super::reached::Reached;
use super::recent::{Recent, Versions};
use super::{Cause, Check, CommitError, Meta, StoreError, Write};

/// How long an answer about free space holds.
const SPACE_AGE: Duration = Duration::from_secs(1);

pub(crate) enum Job {
    Commit(Pending),
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// A commit that waits, and the room that it takes while it does.
pub(crate) struct Pending {
    pub(crate) checks: Vec<Check>,
    pub(crate) writes: Vec<Write>,
    pub(crate) meta: Meta,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Result<u64, CommitError>>,
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Pending {
    fn answer(self, outcome: Result<u64, CommitError>) {
        // Whoever asked may have gone away meanwhile.
        let _ = self.reply.send(outcome);
    }
}

pub(crate) struct Writer {
    pub(crate) dir: PathBuf,
    pub(crate) queue: mpsc::Receiver<Job>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) appender: Appender,
    pub(crate) reached: Reached,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) reserve: ByteSize,
    pub(crate) space: Option<(Instant, ByteSize)>,
    pub(crate) stopped: Option<String>,
    pub(crate) recent: Recent,
}

impl Writer {
    /// Until the store is closed or dropped.
    pub(crate) fn run(mut self) {
        while let Some(job) = self.queue.blocking_recv() {
            let (batch, close) = self.take(job);
            self.serve(batch);
            if let Some(reply) = close {
                self.queue.close(); // before the answer: who has it is refused, not left without one
                let _ = reply.send(self.close());
                return;
            }
        }
    }

    /// What waits, up to the bounds of a batch.
    fn take(&mut self, first: Job) -> (Vec<Pending>, Option<oneshot::Sender<Result<(), StoreError>>>) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Close(reply) => return (batch, Some(reply)),
                Job::Commit(pending) => {
                    bytes += pending.bytes;
                    batch.push(pending);
                }
            }
            let room = bytes < BATCH_BYTES && batch.len() < BATCH_COMMITS;
            next = if room { self.queue.try_recv().ok() } else { None };
        }
        (batch, None)
    }

    fn serve(&mut self, batch: Vec<Pending>) {
        if batch.is_empty() {
            return;
        }
        let Some(batch) = self.admit(batch) else { return };
        let Decided { accepted, conflicts, changed } = match self.decide(batch) {
            Ok(decided) => decided,
            Err((batch, error)) => {
                let cause: Cause = Arc::new(error);
                self.stop("the index cannot be read", &cause);
                return answer_all(batch, &CommitError::Failed(cause));
            }
        };
        if let Err(refusal) = self.journal(&accepted) {
            answer_all(accepted, &refusal);
        } else if !accepted.is_empty() {
            self.publish(accepted, changed);
        }
        for (pending, check) in conflicts {
            pending.answer(Err(CommitError::Conflict { check }));
        }
    }

    /// What of a batch may be committed now; the rest is refused. Of the reserve, essential commits may use all but an eighth.
    fn admit(&mut self, batch: Vec<Pending>) -> Option<Vec<Pending>> {
        let free = match &self.stopped {
            Some(reason) => Err(CommitError::Stopped { reason: reason.clone() }),
            None => self.free().map_err(|error| CommitError::Failed(Arc::new(error))),
        };
        let free = match free {
            Ok(free) => free,
            Err(refusal) => {
                answer_all(batch, &refusal);
                return None;
            }
        };
        if free >= self.reserve {
            return Some(batch);
        }
        let all_but = ByteSize(self.reserve.0 / 8);
        let (admitted, refused): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|pending| pending.meta.essential && free >= all_but);
        answer_all(refused, &CommitError::StorageFull { free, reserve: self.reserve });
        (!admitted.is_empty()).then_some(admitted)
    }

    fn free(&mut self) -> io::Result<ByteSize> {
        if let Some((asked, free)) = self.space
            && asked.elapsed() < SPACE_AGE
        {
            return Ok(free);
        }
        let free = ByteSize(self.disk.free()?);
        self.space = Some((Instant::now(), free));
        Ok(free)
    }

    /// Compares every commit's checks with what is there and with the commits before it in the batch.
    fn decide(&self, batch: Vec<Pending>) -> Result<Decided, (Vec<Pending>, StoreError)> {
        let mut changed = Versions::new();
        let mut verdicts = Vec::with_capacity(batch.len());
        let mut next = self.appender.last().sequence + 1;
        for pending in &batch {
            let verdict = match self.first_conflict(&changed, &pending.checks, pending.meta.read_at) {
                Ok(verdict) => verdict,
                Err(error) => return Err((batch, error)),
            };
            if verdict.is_none() {
                for write in &pending.writes {
                    changed.insert(write.key().to_vec(), write.version_after(next));
                }
                next += 1;
            }
            verdicts.push(verdict);
        }
        let mut decided = Decided { accepted: Vec::new(), conflicts: Vec::new(), changed };
        for (pending, verdict) in batch.into_iter().zip(verdicts) {
            match verdict {
                None => decided.accepted.push(pending),
                Some(check) => decided.conflicts.push((pending, check)),
            }
        }
        Ok(decided)
    }

    fn first_conflict(
        &self,
        changed: &Versions,
        checks: &[Check],
        read_at: Option<u64>,
    ) -> Result<Option<usize>, StoreError> {
        for (place, check) in checks.iter().enumerate() {
            let known = changed.get(&check.key).copied();
            let version = match known.or_else(|| self.recent.version(&check.key, check.version, read_at)) {
                Some(version) => version,
                None => self.shared.index.version(&check.key)?,
            };
            if version != check.version {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn journal(&mut self, accepted: &[Pending]) -> Result<(), CommitError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let rolls = self.appender.is_full().then(|| self.appender.offset());
        match self.appender.append(accepted.iter().map(|pending| (&pending.meta, pending.writes.as_slice()))) {
            Ok(()) => {
                if let Err(error) = self.reached.note(self.appender.last().sequence) {
                    warn!(%error, "how far the journal has come could not be noted");
                }
                let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(full) = rolls {
                    counts.segments += 1;
                    counts.older_bytes += full;
                }
                counts.last_bytes = self.appender.offset();
                counts.last = self.appender.last();
                counts.syncs = self.appender.syncs();
                Ok(())
            }
            Err(AppendError::Refused(error)) => {
                self.space = None;
                warn!(%error, "a batch could not be appended to the journal and was refused");
                if error.kind() == io::ErrorKind::StorageFull {
                    let free = self.free().unwrap_or_default();
                    return Err(CommitError::StorageFull { free, reserve: self.reserve });
                }
                Err(CommitError::Failed(Arc::new(error)))
            }
            Err(AppendError::Poisoned(error)) => {
                let cause: Cause = Arc::new(error);
                self.stop("the journal could not be synced", &cause);
                Err(CommitError::Unknown(cause))
            }
        }
    }

    /// Makes a durable batch visible, and answers it.
    fn publish(&mut self, accepted: Vec<Pending>, changed: Versions) {
        let last = self.appender.last();
        let first = last.sequence + 1 - accepted.len() as u64;
        let mut commits = Vec::with_capacity(accepted.len());
        let mut replies = Vec::with_capacity(accepted.len());
        for (sequence, pending) in (first..).zip(accepted) {
            commits.push((sequence, pending.writes));
            replies.push((sequence, pending.reply));
        }
        let applied = self.shared.index.apply(commits, last);
        if applied.is_ok() {
            self.recent.add(changed, last.sequence);
            self.shared.last.store(last.sequence, Ordering::Release);
        }
        let failure = applied.err().map(|error| {
            let cause: Cause = Arc::new(error);
            self.stop("the index could not be written", &cause);
            CommitError::Unknown(cause)
        });
        for (sequence, reply) in replies {
            let _ = reply.send(failure.clone().map_or(Ok(sequence), Err));
        }
    }

    fn stop(&mut self, reason: &str, cause: &Cause) {
        let error: &dyn std::error::Error = cause.as_ref();
        error!(error, reason, "key-value store has stopped taking commits; restart the directory");
        self.stopped = Some(format!("{reason} ({cause})"));
    }

    fn close(&mut self) -> Result<(), StoreError> {
        if let Some(reason) = self.stopped.clone() {
            return Err(StoreError::Stopped { reason });
        }
        self.shared.index.close().map_err(|error| StoreError::Index(Arc::new(error)))?;
        mark_clean(&self.dir, self.appender.last()).map_err(|error| StoreError::Index(Arc::new(error)))
    }
}

struct Decided {
    accepted: Vec<Pending>,
    conflicts: Vec<(Pending, usize)>,
    /// By those that were accepted.
    changed: Versions,
}

fn answer_all(batch: Vec<Pending>, refusal: &CommitError) {
    for pending in batch {
        pending.answer(Err(refusal.clone()));
    }
}

fn mark_clean(dir: &std::path::Path, last: Position) -> Result<(), OpenError> {
    folder::sync_all(&index_path(dir))?;
    State { running: None, last }.write(dir)
}
