//! Spot: what `PATH`, `PATH@VERSION` and `--at` lead to.
//!
//! `PATH@VERSION` is the version that began with this sequence, as `shoal versions` shows it: another number is an error, so that a slip of
//! the finger never brings another version. A file or folder whose own name ends like that wins where it exists.

use common::proto::Refusal;
use common::proto::refusal::What;

use super::{Moment, PastError, When, find};
use crate::folder::{Entry, FolderError, Resolved, resolve_at, resolve_to_read};
use crate::names::{Name, RemotePath};
use crate::session::Session;

/// A place in the tree, now or as it was.
#[derive(Debug)]
pub struct Spot {
    /// The path, without a version at its end.
    pub path: RemotePath,
    /// The sequence at which it is read; `None` for now.
    pub at: Option<u64>,
    pub resolved: Resolved,
    /// The moment that was found for `--at`.
    pub moment: Option<Moment>,
}

impl Spot {
    /// What is there; `None` for the root.
    ///
    /// # Errors
    /// When nothing is, or was then.
    pub fn target(&self) -> Result<Option<&Entry>, PastError> {
        self.resolved.target(&self.path).map_err(|source| match self.moment {
            None => source.into(),
            Some(moment) => PastError::Then { shown: moment.to_string(), source },
        })
    }
}

/// Finds what a path leads to; for who is going to `read` it with its manifest.
///
/// # Errors
/// When there is no such time or version. That nothing is at the path is no error here.
pub async fn spot(session: &Session, path: &RemotePath, at: Option<Moment>, read: bool) -> Result<Spot, PastError> {
    let sequence = at.map(|moment| moment.sequence);
    let resolved = look(session, path, sequence, read).await?;
    if at.is_none()
        && resolved.missing() > 0
        && let Some((path, version)) = split_version(path)
    {
        let resolved = look(session, &path, Some(version), read).await?;
        let since = (resolved.missing() == 0).then(|| resolved.since());
        if since != Some(version) {
            return Err(PastError::NoVersion { path: path.to_string(), version, instead: since });
        }
        return Ok(Spot { path, at: Some(version), resolved, moment: None });
    }
    Ok(Spot { path: path.clone(), at: sequence, resolved, moment: at })
}

async fn look(session: &Session, path: &RemotePath, at: Option<u64>, read: bool) -> Result<Resolved, PastError> {
    let resolved = if read { resolve_to_read(session, path, at).await } else { resolve_at(session, path, at).await };
    resolved.map_err(|error| match error {
        FolderError::Session(error) if error.refusal() == Some(&Refusal::NotFound(What::Version)) => {
            PastError::Pruned { path: path.to_string() }
        }
        error => error.into(),
    })
}

/// Finds the moment of `--at`, if it was given.
///
/// # Errors
/// As [`find`].
pub async fn moment(session: &Session, at: Option<&When>) -> Result<Option<Moment>, PastError> {
    match at {
        None => Ok(None),
        Some(when) => find(session, when).await.map(Some),
    }
}

/// `/notes.txt@1234` as a path and a version, if it can be that.
#[must_use]
pub fn split_version(path: &RemotePath) -> Option<(RemotePath, u64)> {
    let (folder, name) = path.split()?;
    let bytes = name.as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'@')?;
    let (base, version) = bytes.split_at_checked(at)?;
    let digits = version.get(1..)?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let version = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((folder.join(&Name::new(base).ok()?).ok()?, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_from_a_name() {
        let split = |text: &str| {
            let split = split_version(&RemotePath::parse(text.as_bytes()).unwrap());
            split.map(|(path, version)| (path.to_string(), version))
        };
        assert_eq!(split("/a/notes.txt@1234"), Some(("/a/notes.txt".to_owned(), 1_234)));
        assert_eq!(split("/a@b@7"), Some(("/a@b".to_owned(), 7)));
        for plain in ["/", "/a", "/@7", "/a@", "/a@7x", "/a@-7", "/a@99999999999999999999999", "/x@7/a"] {
            assert_eq!(split(plain), None, "{plain}");
        }
    }
}
