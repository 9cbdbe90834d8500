//! Snapshot: times that have a name. The one place where a name becomes a sequence.

use super::PastError;
use crate::session::Session;

/// The sequence that a snapshot pins.
///
/// # Errors
/// When there is none of this name.
#[expect(clippy::unused_async, reason = "the directory is asked once it knows snapshots")]
pub async fn sequence(_: &Session, name: &str) -> Result<u64, PastError> {
    Err(PastError::NoSnapshot { name: name.to_owned() })
}
