//! What errors about keys mean: homes, their master key, passphrases, exported keys and shares; and the one next step.

use common::disk::DiskError;

use super::Verdict;
use crate::cli::exit::Exit;
use crate::cli::key::{KeyError, Whose};
use crate::keystore::HomeError;
use crate::keystore::export::ExportError;
use crate::keystore::unlocked::UnlockError;
use crate::keystore::wrap::{PassphraseError, WrapError};
use crate::phrase::shares::ShareError;

const IMPORT: &str = "bring the key back: shoal key import FILE, with what shoal key export wrote; or, with the recovery phrase, shoal \
                      key import --phrase";

/// `None` where the error is none of these.
pub(super) fn judge(error: &(dyn std::error::Error + 'static)) -> Option<Verdict> {
    if let Some(error) = error.downcast_ref::<HomeError>() {
        return Some(judge_home(error));
    }
    if let Some(error) = error.downcast_ref::<KeyError>() {
        return Some(judge_key(error));
    }
    if let Some(error) = error.downcast_ref::<ExportError>() {
        return Some(match error {
            ExportError::Foreign => Verdict::new(Exit::Authentication),
            ExportError::Wrap(error) => judge_wrap(error, Whose::Exported),
        });
    }
    if let Some(error) = error.downcast_ref::<UnlockError>() {
        return Some(judge_unlock(error));
    }
    if error.is::<ShareError>() {
        return Some(match error.downcast_ref() {
            Some(ShareError::Numbers { .. }) => Verdict::new(Exit::Usage),
            Some(ShareError::Count { found: crate::phrase::WORDS, .. }) => Verdict::hint(
                Exit::Authentication,
                "24 words are a whole recovery phrase, which nobody needs to combine",
            ),
            _ => Verdict::new(Exit::Authentication),
        });
    }
    match error.downcast_ref::<DiskError>() {
        Some(DiskError::TooOpen { .. }) => return Some(Verdict::new(Exit::Authentication)),
        Some(DiskError::Exists { .. } | DiskError::InUse { .. }) => return Some(Verdict::new(Exit::Conflict)),
        _ => {}
    }
    if error.is::<PassphraseError>() {
        return Some(Verdict::new(Exit::Authentication));
    }
    None
}

pub(super) fn judge_home(error: &HomeError) -> Verdict {
    match error {
        HomeError::NotJoined { .. } | HomeError::NoConfigFolder(_) => Verdict::new(Exit::NotInitialised),
        HomeError::AlreadyJoined { .. } | HomeError::NotEmpty { .. } => Verdict::new(Exit::Conflict),
        HomeError::NoKey { .. } | HomeError::KeyDamaged { .. } => Verdict::hint(Exit::Failure, IMPORT),
        HomeError::Locked { .. } => Verdict::hint(
            Exit::Authentication,
            "open it for a time: shoal unlock; or name a file with the passphrase: --passphrase-file FILE or SHOAL_PASSPHRASE_FILE",
        ),
        HomeError::Wrap { source, .. } => judge_wrap(source, Whose::Device),
        HomeError::Disk(DiskError::TooOpen { .. }) => Verdict::new(Exit::Authentication),
        HomeError::Disk(DiskError::InUse { .. }) => Verdict::new(Exit::Conflict),
        HomeError::Newer { .. } | HomeError::Damaged { .. } | HomeError::Disk(_) | HomeError::Io { .. } => {
            Verdict::new(Exit::Failure)
        }
    }
}

fn judge_wrap(error: &WrapError, whose: Whose) -> Verdict {
    match (error, whose) {
        (WrapError::WrongPassphrase, Whose::Device) => Verdict::hint(
            Exit::Authentication,
            "if it is forgotten, the recovery phrase still opens everything: shoal key import --phrase --replace",
        ),
        (WrapError::WrongPassphrase, Whose::Exported) => Verdict::hint(
            Exit::Authentication,
            "it is the passphrase that was chosen for the file, not that of a device",
        ),
        (WrapError::Damaged, Whose::Exported) => {
            Verdict::hint(Exit::Failure, "try another copy of the file, or use the recovery phrase")
        }
        (WrapError::NoMemory { .. }, _) => Verdict::hint(Exit::Failure, "end another program, and repeat the command"),
        (WrapError::Damaged | WrapError::Newer | WrapError::TooDear(_) | WrapError::Seal(_), _) => {
            Verdict::new(Exit::Failure)
        }
    }
}

/// What to do when the account's key is not this device's.
pub(super) const OTHER_KEY: &str = "if the key was rotated on another device, bring the new one here: shoal key import --phrase --replace; on the device \
     that rotated it, finish with: shoal key rotate; else name the home of this account with --home DIR";

fn judge_key(error: &KeyError) -> Verdict {
    match error {
        KeyError::NoNewPassphrase { whose: Whose::Device } => {
            Verdict::hint(Exit::Authentication, "name a file with it: --new-passphrase-file FILE")
        }
        KeyError::NoPassphrase | KeyError::NoNewPassphrase { whose: Whose::Exported } => {
            Verdict::hint(Exit::Authentication, "name a file with it: --export-passphrase-file FILE")
        }
        KeyError::DifferentPassphrases => Verdict::new(Exit::Authentication),
        KeyError::NotProtected => Verdict::hint(Exit::Failure, "give it one: shoal key passphrase --set"),
        KeyError::Protected => Verdict::hint(Exit::Conflict, "to give it another: shoal key passphrase --change"),
        KeyError::WrongPhrase => Verdict::hint(
            Exit::Authentication,
            "this device still has the key: show its phrase with shoal key phrase, and write that down",
        ),
        KeyError::OtherCluster { .. } | KeyError::OtherAccount { .. } | KeyError::OtherKey => Verdict::hint(
            Exit::Authentication,
            "take the key of this account, or name the home that this one belongs to with --home DIR",
        ),
        KeyError::HasKey => {
            Verdict::hint(Exit::Conflict, "if its passphrase was forgotten, repeat this with --replace")
        }
        KeyError::NotWritten => Verdict::hint(Exit::Failure, "repeat the command; the same phrase is shown again"),
        KeyError::Rotating => Verdict::hint(Exit::Conflict, "finish it first: shoal key rotate"),
        KeyError::NotConfirmed => Verdict::hint(Exit::Failure, "to have it shown without a question, add --yes"),
    }
}

fn judge_unlock(error: &UnlockError) -> Verdict {
    match error {
        UnlockError::NoKeeper { .. }
        | UnlockError::NoRuntimeFolder
        | UnlockError::NotInMemory { .. }
        | UnlockError::Keyring(_) => Verdict::hint(
            Exit::Failure,
            "name a file with the passphrase for each command instead: --passphrase-file FILE or SHOAL_PASSPHRASE_FILE",
        ),
        UnlockError::Look { .. } | UnlockError::Disk(_) | UnlockError::Seal(_) => Verdict::new(Exit::Failure),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{judge, text};
    use super::*;

    fn check(error: impl std::error::Error + Send + Sync + 'static, exit: Exit, says: &str) {
        let error = anyhow::Error::from(error);
        let said = text(error.as_ref(), None);
        assert_eq!(judge(error.as_ref()).exit, exit, "{said}");
        assert!(said.contains(says), "{says:?} is not in {said:?}");
    }

    #[test]
    fn every_error_about_keys_has_its_code_and_its_next_step() {
        let path = || PathBuf::from("/home/x/master.key");
        check(HomeError::Locked { path: path() }, Exit::Authentication, "SHOAL_PASSPHRASE_FILE");
        check(HomeError::NoKey { path: path() }, Exit::Failure, "shoal key import --phrase");
        check(HomeError::KeyDamaged { path: path() }, Exit::Failure, "shoal key import FILE");
        let wrong = HomeError::Wrap { path: path(), source: WrapError::WrongPassphrase };
        check(wrong, Exit::Authentication, "does not open: wrong passphrase\n  if it is forgotten");
        check(ExportError::Wrap(WrapError::WrongPassphrase), Exit::Authentication, "not that of a device");
        check(ExportError::Foreign, Exit::Authentication, "BEGIN SHOAL KEY");
        check(KeyError::WrongPhrase, Exit::Authentication, "shoal key phrase");
        check(KeyError::NotProtected, Exit::Failure, "--set");
        check(KeyError::HasKey, Exit::Conflict, "--replace");
        check(UnlockError::NoRuntimeFolder, Exit::Failure, "--passphrase-file");
        check(ShareError::Numbers { needed: 4, shares: 3 }, Exit::Usage, "4 of 3");
        check(PassphraseError::TooShort, Exit::Authentication, "8 characters");
    }
}
