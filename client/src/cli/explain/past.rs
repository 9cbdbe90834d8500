//! What errors about history mean: snapshots.

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
