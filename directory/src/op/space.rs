//! Space: who holds an account's chunks, a part of them at a time. Nothing is changed.
//!
//! A chunk counts once, for the first of these that needs it: the tree as it is, an upload, a snapshot, other history, nobody.

use std::collections::HashMap;

use common::id::{AccountId, VersionId};
use common::proto::Refusal;
use common::proto::directory::{MeasureSpace, PruneCursor, Space, SpaceMeasured};
use common::proto::quota::Held;
use common::proto::refusal::What;

use super::keep::{Kept, is_there, is_visible, records_of, spans};
use super::{Context, snapshot};
use crate::authorize::OfAccount;
use crate::schema::{Chunk, Node, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Chunks looked at in one step.
const CHUNKS: usize = 256;
/// References of one chunk that are looked at; the rest of a chunk that thousands share changes little.
const REFERENCES: usize = 1_000;

/// Who needs a version, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Holder {
    Current,
    Upload,
    Snapshot,
    History,
    Nobody,
}

impl Operation for MeasureSpace {
    const NAME: &'static str = "MeasureSpace";
    type Who = OfAccount;
    type Answer = SpaceMeasured;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<SpaceMeasured, Stop> {
        let account = who.account();
        let mut range = key::chunks_of(account);
        if *self.cursor.key > *range.from {
            range.from = self.cursor.key.to_vec();
        }
        let snapshots = Kept::new(snapshot::pinned(txn, account).await?, u64::MAX);
        let page = txn.scan(&range, CHUNKS).await?;
        let (mut space, mut known) = (Space::default(), HashMap::new());
        for entry in &page.entries {
            let (_, chunk) = key::ids_of_chunk(&entry.key)?;
            let record: Chunk = record::decode(&entry.value)?;
            let mut holder = Holder::Nobody;
            for reference in &txn.scan(&key::references(account, chunk), REFERENCES).await?.entries {
                let (_, _, version) = key::ids_of_reference(&reference.key)?;
                let of = match known.get(&version) {
                    Some(of) => *of,
                    None => holder_of(txn, account, version, &snapshots).await?,
                };
                known.insert(version, of);
                holder = holder.min(of);
                if holder == Holder::Current {
                    break;
                }
            }
            let stored = u64::try_from(record.stored_bytes()).unwrap_or(0);
            let held = Held { chunks: 1, sealed: record.sealed_len.into(), stored };
            match holder {
                Holder::Current => space.current.add(&held),
                Holder::Upload => space.uploads.add(&held),
                Holder::Snapshot => space.snapshots.add(&held),
                Holder::History => space.history.add(&held),
                Holder::Nobody => space.nobody.add(&held),
            }
        }
        let next = page.next().map(|key| {
            let key = key.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
            Ok::<_, Stop>(PruneCursor { phase: 0, key })
        });
        Ok(SpaceMeasured { next: next.transpose()?, space })
    }
}

async fn holder_of(txn: &mut Txn, account: AccountId, version: VersionId, snapshots: &Kept) -> Result<Holder, Stop> {
    let Some(found) = txn.peek(&key::version(account, version)).await? else {
        let upload = txn.peek(&key::pending(account, version)).await?.is_some();
        return Ok(if upload { Holder::Upload } else { Holder::Nobody });
    };
    let Some(records) = records_of(txn, account, found.record.node, false).await? else { return Ok(Holder::History) };
    let mut holder = Holder::History;
    for (span, record) in records {
        let Node::File { version: its, parent } = record else { continue };
        if its != version {
            continue;
        }
        if span.until == u64::MAX && is_there(txn, account, parent, false).await? {
            return Ok(Holder::Current);
        }
        let reached = spans(txn, account, parent, snapshots, false).await?;
        if snapshots.holds(span) && is_visible(&reached, span, snapshots) {
            holder = Holder::Snapshot;
        }
    }
    if holder == Holder::History && txn.peek(&key::pending(account, version)).await?.is_some() {
        return Ok(Holder::Upload);
    }
    Ok(holder)
}
