//! Together: sealed chunks find the addresses of their shards in company, since SHA-1 of four messages takes one core little longer
//! than of one (the `lanes` crate: 0.51 ns a byte alone, 0.21 for each of four).
//!
//! A chunk that is sealed waits for others as long as enough chunks are on their way to peers: then the network has something to do
//! meanwhile. Whoever makes the group complete finds the addresses for all of it.
//!
//! Guarantees: nobody waits once fewer than `busy` chunks are on their way, whatever has become of the others; what nobody waits for any
//! more holds up nobody.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::redundancy::Redundancy;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use super::UpError;
use super::send::{Prepared, prepare};
use crate::seal::Sealed;

/// Chunks that are named together.
const GROUP: usize = 4;

/// All chunks of a put that are sealed, and not durable yet.
pub(super) struct Together {
    runtime: Handle,
    /// A permit for each core that computes.
    cores: Arc<Semaphore>,
    /// So many chunks on their way keep the network busy.
    busy: usize,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    waiting: Vec<Waiting>,
    on_their_way: usize,
}

struct Waiting {
    sealed: Sealed,
    wanted: Redundancy,
    reply: oneshot::Sender<Result<Named, UpError>>,
}

/// A chunk that can be sent. It counts as on its way until the second is dropped.
pub(super) struct Named {
    pub(super) prepared: Prepared,
    pub(super) on_its_way: OnItsWay,
}

pub(super) struct OnItsWay(Arc<Together>);

impl Together {
    /// Must be called within a runtime.
    pub(super) fn new(cores: Arc<Semaphore>, busy: usize) -> Arc<Self> {
        Arc::new(Self { runtime: Handle::current(), cores, busy, now: Mutex::default() })
    }

    /// Splits and addresses a chunk: now, or when there is company. CPU-bound: to be called on a core's permit.
    pub(super) fn name(
        self: &Arc<Self>,
        sealed: Sealed,
        wanted: Redundancy,
    ) -> oneshot::Receiver<Result<Named, UpError>> {
        let (reply, named) = oneshot::channel();
        self.now().waiting.push(Waiting { sealed, wanted, reply });
        self.name_all(self.due());
        named
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those whose turn it is, with the words that they are on their way.
    fn due(self: &Arc<Self>) -> Vec<(Waiting, OnItsWay)> {
        let mut now = self.now();
        if now.waiting.len() < GROUP && now.on_their_way >= self.busy {
            return Vec::new();
        }
        let due = std::mem::take(&mut now.waiting);
        now.on_their_way += due.len();
        due.into_iter().map(|one| (one, OnItsWay(Arc::clone(self)))).collect()
    }

    fn name_all(&self, due: Vec<(Waiting, OnItsWay)>) {
        let (mut all, mut replies) = (Vec::with_capacity(due.len()), Vec::with_capacity(due.len()));
        for (Waiting { sealed, wanted, reply }, on_its_way) in due {
            if !reply.is_closed() {
                all.push((sealed, wanted));
                replies.push((reply, on_its_way));
            }
        }
        for (prepared, (reply, on_its_way)) in prepare(all).into_iter().zip(replies) {
            drop(reply.send(prepared.map(|prepared| Named { prepared, on_its_way }))); // whoever has gone needs no answer
        }
    }
}

impl Drop for OnItsWay {
    /// Those who waited because of this one go on, if nothing else keeps the network busy.
    fn drop(&mut self) {
        let together = Arc::clone(&self.0);
        together.now().on_their_way -= 1;
        let due = together.due();
        if due.is_empty() {
            return;
        }
        let work = async move {
            let Ok(_core) = together.cores.acquire().await else { return };
            let naming = Arc::clone(&together);
            tokio::task::spawn_blocking(move || naming.name_all(due)).await.ok(); // a panic shows at those who wait for it
        };
        self.0.runtime.spawn(work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;
    use crate::seal::{Buffer, Compression, Plain, seal_as};
    use common::address::ShardAddress;

    type Pending = oneshot::Receiver<Result<Named, UpError>>;

    fn sealed(seed: u8, len: usize) -> Sealed {
        let content: Vec<u8> = (0..len).map(|i| (i % 251).to_le_bytes()[0] ^ seed).collect();
        seal_as(Plain::new(Buffer::from(content)), &MasterKey([7; 32]).derive(), Compression::Never).0
    }

    fn is_waiting(named: &mut Pending) -> bool {
        matches!(named.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[tokio::test]
    async fn chunks_wait_for_company_while_others_are_on_their_way_and_no_longer() {
        let together = Together::new(Arc::new(Semaphore::new(1)), 1);
        let name = |seed| together.name(sealed(seed, 5_000 + 999 * usize::from(seed)), Redundancy::DEFAULT);
        let first = name(0).await.unwrap().unwrap();
        // While that is on its way, a whole group is waited for.
        let mut group = [name(1), name(2), name(3)];
        assert!(group.iter_mut().all(is_waiting));
        let fourth = name(4).await.unwrap().unwrap();
        for (seed, named) in (1..).zip(group) {
            let named = named.await.unwrap().unwrap().prepared;
            let expected = sealed(seed, 5_000 + 999 * usize::from(seed));
            assert_eq!((named.chunk, named.addresses()), (expected.chunk(), vec![ShardAddress::of(expected.bytes())]));
        }
        // Of two that wait nobody waits for one any more; the other goes on when nothing is on its way.
        let (lost, mut last) = (name(5), name(6));
        drop((lost, first));
        assert!(is_waiting(&mut last));
        drop(fourth);
        last.await.unwrap().unwrap();
        assert_eq!(together.now().on_their_way, 0);
    }

    #[tokio::test]
    async fn shares_of_a_code_are_addressed_each_and_those_of_all_chunks_together() {
        let together = Together::new(Arc::new(Semaphore::new(1)), 1);
        let code = Redundancy::new(2, 4).unwrap();
        let held = together.name(sealed(1, 100_000), code).await.unwrap().unwrap();
        let all = [2, 3, 4, 5].map(|seed| together.name(sealed(seed, 100_000), code));
        for named in all {
            let addresses = named.await.unwrap().unwrap().prepared.addresses();
            assert!(addresses.len() == 4 && addresses != held.prepared.addresses());
        }
    }
}
