//! Tree: one folder of either side, as a sync looks at it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{SyncError, blocking};
use crate::folder::{Entry, FolderError, Listing, NodeId};
use crate::local::LocalError;
use crate::local::walk::{self, Item, Links};
use crate::names::Name;
use crate::session::Session;

/// Items that are looked at together.
pub(super) const PART: usize = 128;

/// All that is in a folder of the tree.
pub(super) async fn remote(session: &Session, folder: NodeId) -> Result<HashMap<Name, Entry>, FolderError> {
    let mut there = HashMap::new();
    let mut listing = Listing::new(session, folder);
    while let Some(page) = listing.next_page().await? {
        there.extend(page.into_iter().map(|entry| (entry.name.clone(), entry)));
    }
    Ok(there)
}

/// The names in a folder of this machine, in order.
pub(super) async fn local(folder: &Path) -> Result<Result<Vec<OsString>, LocalError>, SyncError> {
    let folder = folder.to_owned();
    blocking(move || walk::names(&folder)).await
}

/// What lies under these paths.
pub(super) async fn look_at(paths: Vec<PathBuf>) -> Result<Vec<Result<Item, LocalError>>, SyncError> {
    blocking(move || paths.iter().map(|path| walk::look(path, Links::Keep)).collect()).await
}
