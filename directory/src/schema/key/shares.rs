//! Keys of shares: by the id that a link has, and by the account whose they are.

use common::id::{AccountId, ShareId};

use super::{Key, Range, last, table};
use crate::schema::{Guests, Mark, RecordError, Share};

/// A share, by the id that its link has.
#[must_use]
pub fn share(share: ShareId) -> Key<Share> {
    Key::new(table::SHARE, &[&share.0])
}

#[must_use]
pub fn all_shares() -> Range<Share> {
    Range::within(table::SHARE, &[])
}

/// That a share is an account's.
#[must_use]
pub fn share_of(account: AccountId, share: ShareId) -> Key<Mark> {
    Key::new(table::SHARE_OF, &[&account.0, &share.0])
}

#[must_use]
pub fn shares_of(account: AccountId) -> Range<Mark> {
    Range::within(table::SHARE_OF, &[&account.0])
}

#[must_use]
pub fn all_shares_of() -> Range<Mark> {
    Range::within(table::SHARE_OF, &[])
}

/// How many guests a share has enrolled.
#[must_use]
pub fn share_guests(share: ShareId) -> Key<Guests> {
    Key::new(table::SHARE_GUESTS, &[&share.0])
}

/// The id of a share's key, also of one that is an account's.
///
/// # Errors
/// Unless it is a key of one of these tables.
pub fn id_of_share(key: &[u8]) -> Result<ShareId, RecordError> {
    last(key, "share").map(ShareId)
}
