//! Chain: one copy of a chunk leaves this machine, and the peers pass it on to each other while it arrives.
//!
//! It goes to the first peer in rendezvous order with the next n - 1 behind it, so each chunk begins elsewhere. Copies that do not
//! get there are left to the caller, who offers them to peers itself. A first peer that fails as a whole is replaced by the next, a
//! few times.
//!
//! Guarantees: a copy counts as durable only on the word of the peer that holds it. What the first peer says of others is confirmed
//! with each of them, in a round trip of some hundred bytes, so that one peer that lies costs one copy, as it does without a chain.
//!
//! A chain that takes several times as long as others meanwhile is left for one with another first peer ([`Pace`](super::pace::Pace)),
//! and who was left out of one as slow or silent gets no new copies for a while.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use common::id::PeerId;
use common::proto::parts::ShardAt;
use common::proto::peer::{ChainOutcome, Chained, Onward, PutChain, PutShard, Stored};
use common::proto::refusal::Refusal;
use common::transport::CallError;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::Up;
use super::send::reason;
use crate::ahead::patience;
use crate::session::{Session, SessionError};

/// How long a peer may take to confirm that it has a copy.
const CONFIRM: Duration = Duration::from_secs(10);
/// How often it is looked whether others are faster.
const LOOK: Duration = Duration::from_millis(50);
/// First peers that are tried. Beyond that each copy is sent from here.
const FIRSTS: usize = 3;

/// What came of it.
#[derive(Default)]
pub(super) struct Along {
    pub(super) placed: Vec<ShardAt>,
    /// Bytes that went out from here and were kept by somebody.
    pub(super) bytes: u64,
    /// Who failed, and why.
    pub(super) why: Vec<String>,
    slow: Vec<PeerId>,
}

/// Sends copies along these peers; `put` is that of copy 0.
pub(super) async fn send_along(up: &Up, put: &PutShard, bytes: &Bytes, mut peers: VecDeque<PeerId>) -> Along {
    let mut along = Along::default();
    for _ in 0..FIRSTS {
        let Some(first) = peers.pop_front() else { break };
        let behind = peers.iter().take(put.redundancy.n().saturating_sub(1));
        let onward: Vec<_> = (1..).zip(behind).map(|(index, peer)| Onward { index, peer: *peer }).collect();
        let error = match ask_in_time(up, first, put, &onward, bytes).await {
            Ok(chained) => {
                let first = Onward { index: put.index, peer: first };
                let told = along.take(put, first, onward, chained);
                along.confirm(&up.session, put, told).await;
                along.slow.iter().for_each(|peer| up.pace().avoid(*peer, Instant::now()));
                return along;
            }
            Err(error) => error,
        };
        along.failed(first, &reason(&error));
        if matches!(error, CallError::Refused(Refusal::Grant(_))) {
            break; // whoever sends the copies one by one renews it
        }
    }
    along
}

/// Waits for the answer unless other chains are much faster meanwhile.
async fn ask_in_time(
    up: &Up,
    first: PeerId,
    put: &PutShard,
    onward: &[Onward],
    bytes: &Bytes,
) -> Result<Chained, CallError> {
    let (since, len) = (Instant::now(), u64::from(put.len));
    let mut asking = pin!(ask(&up.session, first, put, onward, bytes));
    loop {
        let asked = timeout(LOOK, &mut asking).await;
        let (mut pace, now) = (up.pace(), Instant::now());
        match asked {
            Ok(answer) => {
                if answer.is_ok() {
                    pace.done(first, len, since, now);
                }
                return answer;
            }
            Err(_) if pace.is_overdue(first, len, since, now) => {
                pace.avoid(first, now);
                return Err(CallError::TimedOut { what: "a chain, while others were faster,", after: now - since });
            }
            Err(_) => {}
        }
    }
}

async fn ask(
    session: &Session,
    first: PeerId,
    put: &PutShard,
    onward: &[Onward],
    bytes: &Bytes,
) -> Result<Chained, CallError> {
    let unknown = |error: SessionError| CallError::Unreachable { addresses: error.to_string(), source: None };
    let onward = onward.to_vec().try_into().unwrap_or_default(); // a redundancy has no more
    let request = PutChain { put: put.clone(), onward };
    let link = session.peer(first).map_err(unknown)?;
    Ok(link.call_once(&request, vec![bytes.clone()], patience(put.len.into())).await?.0)
}

impl Along {
    /// Takes what the first peer answered for itself; returns who else has a copy by its word. What there is no answer for is not
    /// durable.
    fn take(&mut self, put: &PutShard, first: Onward, onward: Vec<Onward>, chained: Chained) -> Vec<Onward> {
        let mut told = Vec::with_capacity(onward.len());
        for (copy, outcome) in std::iter::once(first).chain(onward).zip(chained.outcomes) {
            match outcome {
                ChainOutcome::Stored(Stored { existed }) => {
                    if !existed {
                        self.bytes = u64::from(put.len);
                    }
                    if copy == first { self.placed.push(at(put, copy)) } else { told.push(copy) }
                }
                ChainOutcome::Refused(refusal) => self.failed(copy.peer, &refusal.to_string()),
                ChainOutcome::Unreachable => {
                    self.failed(copy.peer, "the peer before it could not pass the copy on");
                    self.slow.push(copy.peer);
                }
            }
        }
        told
    }

    /// Asks each of them: a put without a body is answered when the shard is there, and refused when it is not.
    async fn confirm(&mut self, session: &Session, put: &PutShard, told: Vec<Onward>) {
        let mut asking = JoinSet::new();
        for copy in told {
            let (link, put) = (session.peer(copy.peer), PutShard { index: copy.index, ..put.clone() });
            asking.spawn(async move {
                let Ok(link) = link else { return (copy, Err("it is not in the cluster map".to_owned())) };
                let answer = link.call_once(&put, Vec::new(), CONFIRM).await;
                (copy, answer.map(drop).map_err(|error| reason(&error)))
            });
        }
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok((copy, Ok(()))) => self.placed.push(at(put, copy)),
                Ok((copy, Err(why))) => self.failed(copy.peer, &format!("it does not confirm its copy: {why}")),
                Err(panic) => self.why.push(panic.to_string()),
            }
        }
    }

    fn failed(&mut self, peer: PeerId, why: &str) {
        tracing::debug!(peer = %peer.short(), why, "a copy did not get there along the chain");
        self.why.push(format!("peer {}: {why}", peer.short()));
    }
}

fn at(put: &PutShard, copy: Onward) -> ShardAt {
    ShardAt { index: copy.index, peer: copy.peer, address: put.address }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::address::ShardAddress;
    use common::grant::Grant;
    use common::id::{AccountId, ChunkId, ClusterId, DeviceId, VersionId};
    use common::identity::StatementKey;
    use common::redundancy::Redundancy;
    use common::signed::Signed;
    use common::time::Timestamp;

    #[test]
    fn what_a_first_peer_says_counts_for_itself_alone() {
        let grant = Grant {
            cluster: ClusterId([1; 16]),
            generation: 1,
            account: AccountId([2; 16]),
            device: DeviceId([3; 16]),
            upload: VersionId([4; 16]),
            bytes: 1,
            expires: Timestamp(1),
        };
        let put = PutShard {
            grant: Signed::sign(&grant, &StatementKey::generate().unwrap()).unwrap(),
            chunk: ChunkId([1; 20]),
            index: 0,
            redundancy: Redundancy::DEFAULT,
            sealed_len: 9,
            len: 9,
            address: ShardAddress([5; 20]),
        };
        let copy = |index| Onward { index, peer: PeerId([index; 16]) };
        let stored = |existed| ChainOutcome::Stored(Stored { existed });
        let check = |outcomes: Vec<ChainOutcome>, placed: &[u8], told: &[u8], bytes, failed| {
            let mut along = Along::default();
            let chained = Chained { outcomes: outcomes.try_into().unwrap() };
            let found = along.take(&put, copy(0), vec![copy(1), copy(2)], chained);
            assert_eq!(found.iter().map(|copy| copy.index).collect::<Vec<_>>(), told);
            assert_eq!(along.placed.iter().map(|shard| shard.index).collect::<Vec<_>>(), placed);
            assert_eq!((along.bytes, along.why.len()), (bytes, failed));
        };
        check(vec![stored(false), stored(false), stored(false)], &[0], &[1, 2], 9, 0);
        check(vec![stored(true), stored(true), stored(true)], &[0], &[1, 2], 0, 0);
        check(vec![stored(true), ChainOutcome::Unreachable, stored(false)], &[0], &[2], 9, 1);
        check(vec![ChainOutcome::Refused(Refusal::Internal), stored(false), stored(false)], &[], &[1, 2], 9, 1);
        check(vec![stored(false)], &[0], &[], 9, 0);
        check(vec![], &[], &[], 0, 0);
    }
}
