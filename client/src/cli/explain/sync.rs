//! What errors of a sync mean.

use super::{Exit, SyncError, Verdict, judge_down, judge_folder, judge_local};

/// `None` where the cause decides.
pub(super) fn judge(error: &SyncError) -> Option<Verdict> {
    Some(match error {
        SyncError::Interrupted => Verdict::new(Exit::Interrupted),
        SyncError::InTheWay { .. } => {
            Verdict::hint(Exit::Failure, "move it away; or add --delete, which removes what SRC does not have")
        }
        SyncError::NotAFolder { .. } => Verdict::hint(Exit::Failure, "for a single file use shoal put or shoal get"),
        SyncError::Glob { .. } => Verdict::new(Exit::Usage),
        SyncError::BothLocal => {
            Verdict::hint(Exit::Usage, "write shoal:/path for the one in the cluster; a local folder is cp -a's")
        }
        SyncError::BothRemote => {
            Verdict::hint(Exit::Usage, "write one without shoal: for the one on this machine; or use shoal cp -r")
        }
        SyncError::Side { .. } => {
            Verdict::hint(Exit::Usage, "write shoal:/path, and ./shoal:... for a local folder whose name begins so")
        }
        SyncError::KeptAll { .. } => Verdict::hint(Exit::Partly, "mend what was named above, and repeat the command"),
        SyncError::EmptySource => Verdict::hint(Exit::Failure, "if it is right, empty DEST with shoal rm -r, or rm -r"),
        SyncError::Watch { .. } | SyncError::Bug(_) => Verdict::new(Exit::Failure),
        SyncError::Name(_) | SyncError::Path(_) => Verdict::new(Exit::Usage),
        SyncError::Folder(error) => return judge_folder(error),
        SyncError::Local(error) => return judge_local(error),
        SyncError::Down(error) => return judge_down(error),
    })
}
