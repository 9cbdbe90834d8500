//! Prune: ends history by a policy, and measures who holds the space; both in many small requests.
//!
//! Nothing is lost when it is broken off between two of them, or in the middle of one: what went is gone, and the rest goes next time.

use common::id::RequestId;
use common::keep::KeepPolicy;
use common::proto::directory::{MeasureSpace, PlanPrune, Prune, PruneCounts, PruneCursor, PrunePlan, Space};

use super::FolderError;
use crate::session::Session;

/// What a policy comes to now; the cluster's own policy where none is given.
///
/// # Errors
/// When the directory cannot be asked, or there is no policy at all.
pub async fn plan(session: &Session, policy: Option<KeepPolicy>) -> Result<PrunePlan, FolderError> {
    Ok(session.call_directory(&PlanPrune { policy }).await?)
}

/// Prunes to the end; `seen` is told after every step how far it is. A dry run changes nothing, and counts alike.
///
/// # Errors
/// When the directory cannot be asked, or refuses.
pub async fn prune(
    session: &Session,
    plan: &PrunePlan,
    dry_run: bool,
    mut seen: impl FnMut(&PruneCounts),
) -> Result<PruneCounts, FolderError> {
    let (mut counts, mut cursor) = (PruneCounts::default(), PruneCursor::default());
    loop {
        let retention = plan.retention.clone();
        let step = Prune { request: RequestId::random(), retention, dry_run, cursor };
        let done = session.call_directory(&step).await?;
        counts.add(&done.counts);
        seen(&counts);
        let Some(next) = done.next else { return Ok(counts) };
        cursor = next;
    }
}

/// Who holds the account's space.
///
/// # Errors
/// When the directory cannot be asked.
pub async fn measure(session: &Session, mut seen: impl FnMut(&Space)) -> Result<Space, FolderError> {
    let (mut space, mut cursor) = (Space::default(), PruneCursor::default());
    loop {
        let done = session.call_directory(&MeasureSpace { cursor }).await?;
        space.add(&done.space);
        seen(&space);
        let Some(next) = done.next else { return Ok(space) };
        cursor = next;
    }
}
