//! Snapshot: times that have a name. The one place where a name becomes a sequence.

use super::PastError;
use crate::folder::snapshot;
use crate::names::Name;
use crate::session::Session;

/// The sequence that a snapshot pins.
///
/// # Errors
/// When there is none of this name, or the directory cannot be asked.
pub async fn sequence(session: &Session, name: &str) -> Result<u64, PastError> {
    let none = || PastError::NoSnapshot { name: name.to_owned() };
    let typed = Name::new(name.as_bytes()).map_err(|_| none())?;
    snapshot::resolve(session, &typed).await?.ok_or_else(none)
}
