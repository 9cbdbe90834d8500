//! Explain past: what to do about errors of the past.

use super::exit::Exit;
use super::explain::{Verdict, judge};
use crate::past::PastError;

/// `None`: what is behind it decides.
pub(super) fn judge_past(error: &PastError) -> Option<Verdict> {
    Some(match error {
        PastError::Future { .. } => {
            Verdict::hint(Exit::Usage, "leave --at away for what is there now, or name an earlier time")
        }
        PastError::BeforeTheBeginning { first, .. } => {
            Verdict::hint(Exit::Failure, format!("name a later time; the earliest is --at @{}", first.sequence))
        }
        PastError::SequenceTooEarly { first, .. } => Verdict::hint(Exit::Failure, format!("the earliest is @{first}")),
        PastError::SequenceTooLate { .. } => Verdict::hint(Exit::Failure, "shoal versions PATH shows what there is"),
        PastError::Nothing => Verdict::hint(Exit::Failure, "store something first: shoal put FILE /"),
        PastError::NoSnapshot { .. } => Verdict::hint(
            Exit::Failure,
            "see shoal snapshot list; a time is written like 2026-11-21T14:00:00Z, an age like 2h",
        ),
        PastError::NoVersion { path, instead: Some(instead), .. } => Verdict::hint(
            Exit::Failure,
            format!("what was there then is {path}@{instead}; shoal versions {path} shows them all"),
        ),
        PastError::NoVersion { path, instead: None, .. } => {
            Verdict::hint(Exit::Failure, format!("shoal versions {path} shows those that it has"))
        }
        PastError::Pruned { path } => Verdict::hint(Exit::Failure, format!("shoal versions {path} shows what is left")),
        PastError::WhichState { path } => Verdict::hint(
            Exit::Usage,
            format!("write {path}@VERSION, as shoal versions {path} shows it, or add --at TIME"),
        ),
        PastError::NeverWas { path } => {
            let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
            let parent = if parent.is_empty() { "/" } else { parent };
            Verdict::hint(Exit::Failure, format!("shoal diff 7d now {parent} shows what was removed there lately"))
        }
        PastError::NotRemoved { path } => {
            Verdict::hint(Exit::Conflict, format!("for an older state see shoal versions {path}, and shoal restore"))
        }
        PastError::Moved { path, version } => {
            Verdict::hint(Exit::Failure, format!("for a copy of it here: shoal restore {path}@{version}"))
        }
        PastError::FolderInTheWay { .. } => {
            Verdict::hint(Exit::Conflict, "restore it elsewhere with --to DEST, or move the folder away first")
        }
        PastError::NotAFolder { .. } => Verdict::hint(Exit::Failure, "for a file see shoal versions"),
        PastError::Then { source, .. } => judge(source),
        PastError::Folder(error) => judge(error),
        PastError::Session(error) => judge(error),
    })
}
