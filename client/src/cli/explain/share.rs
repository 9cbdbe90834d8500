//! What errors of shares and links mean for the user.

use std::error::Error;

use common::proto::refusal::ShareFault;

use super::{Exit, Verdict, judge_folder, judge_session};
use crate::session::enroll::EnrollError;
use crate::session::guest::GuestError;
use crate::share::{LinkError, ShareError};

pub(super) fn judge(error: &(dyn Error + 'static)) -> Option<Verdict> {
    if let Some(error) = error.downcast_ref::<ShareError>() {
        return judge_share(error);
    }
    if let Some(error) = error.downcast_ref::<GuestError>() {
        return match error {
            GuestError::Session(error) => judge_session(error),
            GuestError::Enroll(error) => Some(judge_enroll(error)),
        };
    }
    error.downcast_ref::<LinkError>().map(judge_link)
}

fn judge_share(error: &ShareError) -> Option<Verdict> {
    Some(match error {
        ShareError::Folder(error) => return judge_folder(error),
        ShareError::Session(error) => return judge_session(error),
        ShareError::Link(error) => judge_link(error),
        ShareError::FolderVersion => Verdict::hint(Exit::Usage, "leave --version away"),
        ShareError::NoSuchShare { .. } | ShareError::Ambiguous { .. } => {
            Verdict::hint(Exit::Failure, "see their ids with: shoal share ls --all")
        }
        ShareError::ForMembers { .. } => Verdict::hint(
            Exit::Authentication,
            "join the cluster with shoal join, or ask for a link that was made with --guest",
        ),
        ShareError::Misbehaved => Verdict::new(Exit::Integrity),
    })
}

fn judge_link(error: &LinkError) -> Verdict {
    match error {
        LinkError::Path(_) => Verdict::new(Exit::Usage),
        _ => Verdict::new(Exit::Authentication),
    }
}

fn judge_enroll(error: &EnrollError) -> Verdict {
    super::judge_enroll(error)
}

/// Why the directory does not answer through a link.
pub(super) fn judge_fault(fault: ShareFault) -> Verdict {
    match fault {
        ShareFault::Unknown | ShareFault::Expired(_) | ShareFault::Revoked(_) | ShareFault::GuestsUsed => {
            Verdict::hint(Exit::Authentication, "ask whoever shared it for a new link")
        }
        ShareFault::NoGuests => {
            Verdict::hint(Exit::Authentication, "join the cluster, or ask for a link that was made with --guest")
        }
    }
}
