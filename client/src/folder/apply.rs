//! Apply: changes to entries that are at hand, where [`change`](super::change) begins with paths. Each is refused when somebody else
//! was faster.

use common::id::{NodeId, RequestId};
use common::limits::PUBLISH_FILES;
use common::proto::directory::{Remove, Rename};

use super::copy::{Copied, Touched};
use super::{Entry, FolderError, What};
use crate::cancel::Cancel;
use crate::meta::{self, EntryPlace, FolderAttributes};
use crate::names::Name;
use crate::session::Session;

/// Gives an entry another folder and name, where nothing is.
///
/// # Errors
/// When something is there, or somebody else was faster.
pub async fn rename(
    session: &Session,
    entry: &Entry,
    folder: NodeId,
    name: &Name,
    shown: &str,
) -> Result<(), FolderError> {
    let attributes = match &entry.what {
        What::Folder(attributes) => Some(*attributes),
        What::File(_) => None,
    };
    put_entry(session, entry, (folder, name), attributes, shown).await
}

/// Gives a folder another mode and time.
///
/// # Errors
/// When it has gone, or somebody else was faster.
pub async fn set_attributes(
    session: &Session,
    entry: &Entry,
    attributes: FolderAttributes,
    shown: &str,
) -> Result<(), FolderError> {
    put_entry(session, entry, (entry.folder, &entry.name), Some(attributes), shown).await
}

async fn put_entry(
    session: &Session,
    entry: &Entry,
    (folder, name): (NodeId, &Name),
    attributes: Option<FolderAttributes>,
    shown: &str,
) -> Result<(), FolderError> {
    let place = EntryPlace::of(session.keys(), session.account(), folder, name, entry.node);
    let request = Rename {
        request: RequestId::random(),
        from_folder: entry.folder,
        from_token: entry.token,
        node: entry.node,
        to_folder: folder,
        to_token: place.token,
        sealed: meta::Entry { name: name.clone(), folder: attributes }.seal(session.keys(), &place)?,
        replace: None,
    };
    session.call_directory(&request).await.map_err(FolderError::about(&shown))?;
    Ok(())
}

/// Takes an entry out of the tree, a folder with all that is in it.
///
/// # Errors
/// When it is not there any more.
pub async fn remove(session: &Session, entry: &Entry, shown: &str) -> Result<(), FolderError> {
    let request = Remove {
        request: RequestId::random(),
        folder: entry.folder,
        token: entry.token,
        node: entry.node,
        recursive: entry.is_folder(),
    };
    session.call_directory(&request).await.map_err(FolderError::about(&shown))?;
    Ok(())
}

/// Gives files another mode and time: new versions of the same content, which is neither read nor sent.
///
/// # Errors
/// Only what makes going on senseless; what fails of one file is in the answer.
pub async fn touch(session: &Session, files: Vec<Touched>, cancel: &Cancel) -> Result<Copied, FolderError> {
    let mut copied = Copied::default();
    let mut files = files.into_iter().peekable();
    while files.peek().is_some() {
        let part = files.by_ref().take(PUBLISH_FILES).collect();
        super::copy::touch(session, part, &mut copied, cancel).await?;
    }
    Ok(copied)
}
