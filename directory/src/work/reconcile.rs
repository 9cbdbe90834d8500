//! Reconcile: accepts a store that was restored from an old copy.
//!
//! Peers have seen commits that this store does not have. Until an operator accepts that they are lost, nothing is deleted: what the store
//! does not know of may be wanted by whoever finds a newer copy of it. Accepting compares all peers' inventories, takes back what belongs to
//! chunks that are known, and says how much belongs to nothing any more; that goes to the peers' trash afterwards, and stays there for its days.

use std::sync::Arc;

use common::map::PeerState;
use common::proto::Refusal;
use common::proto::directory::Reconciled;

use super::compare::{Look, compare};
use crate::authorize::OfAdmin;
use crate::op::note::AcceptHistory;
use crate::service::Service;

/// Looks at all peers, and, unless it is a dry run, accepts.
///
/// # Errors
/// [`Refusal::Internal`] when a peer that is online cannot be compared; or what the store says.
pub async fn reconcile(service: &Arc<Service>, who: OfAdmin, dry_run: bool) -> Result<Reconciled, Refusal> {
    let mut sum = Reconciled::default();
    for entry in service.members.roster().peers() {
        if entry.state != PeerState::Online {
            sum.absent += 1;
            continue;
        }
        let look = if dry_run { Look::Only } else { Look::AtDifferences };
        let compared = compare(service, entry.peer, look).await.map_err(|error| {
            tracing::error!(peer = entry.peer.short(), error = common::telemetry::chain(&error), "cannot compare");
            Refusal::Busy
        })?;
        sum.peers += 1;
        sum.adopted += compared.adopted;
        sum.unknown += compared.unknown;
        sum.unknown_bytes += compared.unknown_bytes;
        sum.missing += compared.missing;
    }
    if !dry_run {
        service.run(&AcceptHistory {}, who).await?;
        service.accept_history().await?;
    }
    Ok(sum)
}
