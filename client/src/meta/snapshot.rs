//! Snapshot: the name of a pinned point of history, sealed. It opens only under its own token.

use common::id::{AccountId, NameToken};
use common::proto::snapshot::SealedSnapshot;
use serde::{Deserialize, Serialize};

use crate::keys::Keys;
use crate::names::Name;
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

const FORMAT: u8 = 1;
const WHAT: &str = "a snapshot's name";
/// In front of a name; no name of a file contains a NUL, so no snapshot has the token of a file.
const KIND: &[u8] = b"\0snapshot\0";

/// A snapshot's name, opened or to be sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SnapshotName(pub Name);

impl SnapshotName {
    /// What the directory knows the snapshot by: a keyed hash, unlike that of a file of the same name.
    #[must_use]
    pub fn token(&self, keys: &Keys) -> NameToken {
        self.0.token_as(keys, KIND)
    }

    fn place(account: AccountId, token: NameToken) -> Place {
        Place::new(WHAT, "shoal v1 snapshot").with(account.as_bytes()).with(token.as_bytes())
    }

    /// # Errors
    /// Never for a name that fits; see [`SealError`].
    pub fn seal(&self, keys: &Keys, account: AccountId) -> Result<SealedSnapshot, SealError> {
        aead::seal_bounded(keys.metadata(), &Self::place(account, self.token(keys)), FORMAT, self)
    }

    /// # Errors
    /// When it was not sealed by this account for this token.
    pub fn open(
        keys: &Keys,
        account: AccountId,
        token: NameToken,
        sealed: &SealedSnapshot,
    ) -> Result<Self, IntegrityError> {
        let name: Self = aead::open(keys.metadata_of(WHAT, sealed)?, &Self::place(account, token), FORMAT, sealed)?;
        if name.token(keys) != token {
            return Err(IntegrityError::Inconsistent { what: WHAT, field: "its name is another one" });
        }
        Ok(name)
    }

    /// Seals it anew, under the account's key of now.
    ///
    /// # Errors
    /// When it was not sealed by this account for this token.
    pub(crate) fn reseal(
        keys: &Keys,
        account: AccountId,
        token: NameToken,
        sealed: &[u8],
    ) -> Result<Vec<u8>, IntegrityError> {
        aead::reseal(keys.metadata_of(WHAT, sealed)?, keys.metadata(), &Self::place(account, token), sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    fn name(text: &[u8]) -> SnapshotName {
        SnapshotName(Name::new(text).unwrap())
    }

    #[test]
    fn a_swapped_or_foreign_name_is_noticed() {
        let (keys, account) = (MasterKey([7; 32]).derive(), AccountId([1; 16]));
        let sealed = name(b"before").seal(&keys, account).unwrap();
        let token = name(b"before").token(&keys);
        assert_eq!(SnapshotName::open(&keys, account, token, &sealed).unwrap(), name(b"before"));
        assert!(SnapshotName::open(&keys, account, name(b"after").token(&keys), &sealed).is_err());
        assert!(SnapshotName::open(&keys, AccountId([2; 16]), token, &sealed).is_err());
        assert!(SnapshotName::open(&MasterKey([8; 32]).derive(), account, token, &sealed).is_err());
    }

    #[test]
    fn tokens_are_those_of_no_file_and_never_change() {
        let keys = MasterKey([7; 32]).derive();
        assert_ne!(name(b"report.pdf").token(&keys), Name::new(b"report.pdf").unwrap().token(&keys));
        assert_eq!(name(b"report.pdf").token(&keys).to_string(), "eb8be2d9e5587adea8c282c3b38153a4");
    }
}
