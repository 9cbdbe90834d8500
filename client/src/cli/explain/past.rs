//! What errors about history mean: snapshots, pruning, quotas.

use common::proto::Refusal;

use super::{Exit, Verdict, judge_folder};
use crate::folder::snapshot::SnapshotError;

pub(super) fn judge_snapshot(error: &SnapshotError) -> Option<Verdict> {
    Some(match error {
        SnapshotError::Exists { name } => {
            Verdict::hint(Exit::Conflict, format!("take another name, or let it go first: shoal snapshot rm {name}"))
        }
        SnapshotError::NotFound { .. } => Verdict::hint(Exit::Failure, "see what there is with: shoal snapshot list"),
        SnapshotError::TooMany => {
            Verdict::hint(Exit::Failure, "let some go: shoal snapshot list, shoal snapshot rm NAME")
        }
        SnapshotError::Folder(error) => return judge_folder(error),
    })
}

pub(super) fn judge_refusal(refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::OverQuota { .. } => Verdict::hint(
            Exit::Quota,
            "see shoal du; make room with shoal rm and shoal prune, or ask the operator: shoal-directory account quota",
        ),
        Refusal::NoPolicy => Verdict::hint(
            Exit::Usage,
            "say what to keep, like: shoal prune --keep-within 30d --keep-daily 30 --keep-monthly 12 --dry-run",
        ),
        _ => Verdict::hint(Exit::Failure, "the operator must run shoal-directory reconcile first"),
    }
}
