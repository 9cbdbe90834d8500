//! Path: one that the directory keeps for the account's own devices, sealed.

use common::bounded::BoundedText;
use common::limits::SEALED_ENTRY_BYTES;
use common::proto::parts::SealedEntry;

use crate::keys::Keys;
use crate::names::RemotePath;
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

const FORMAT: u8 = 1;
/// Of a longer path the end is kept.
const KEPT: usize = SEALED_ENTRY_BYTES - 128;

/// # Errors
/// When it cannot be sealed.
pub(crate) fn seal(keys: &Keys, place: &Place, path: &RemotePath) -> Result<SealedEntry, SealError> {
    let text = path.to_string();
    let from = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= KEPT).unwrap_or(text.len());
    let kept = BoundedText::<KEPT>::try_from(text.get(from..).unwrap_or_default()).unwrap_or_default();
    aead::seal_bounded(keys.metadata(), place, FORMAT, &kept)
}

/// # Errors
/// When it was not sealed by this account for this place.
pub(crate) fn open(keys: &Keys, place: &Place, sealed: &[u8]) -> Result<String, IntegrityError> {
    let key = keys.metadata_of(place.what(), sealed)?;
    Ok(aead::open::<BoundedText<KEPT>>(key, place, FORMAT, sealed)?.to_string())
}
