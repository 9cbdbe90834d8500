//! Changes: requests that alter the tree, many at once, so that they share the directory's syncs.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{SyncError, Told};
use crate::folder::FolderError;

/// Requests under way.
const AT_ONCE: usize = 32;

/// Requests under way, and what became of those that ended.
pub(super) struct Changes {
    told: Arc<dyn Told>,
    tasks: JoinSet<(String, bool, Result<(), FolderError>)>,
    pub(super) failed: u64,
}

impl Changes {
    pub(super) fn new(told: Arc<dyn Told>) -> Self {
        Self { told, tasks: JoinSet::new(), failed: 0 }
    }

    /// Starts one more; `placed` says that a file is in its place afterwards.
    pub(super) async fn start(
        &mut self,
        shown: String,
        placed: bool,
        change: impl Future<Output = Result<(), FolderError>> + Send + 'static,
    ) -> Result<(), SyncError> {
        while self.tasks.len() >= AT_ONCE {
            self.one().await?;
        }
        self.tasks.spawn(async move { (shown, placed, change.await) });
        Ok(())
    }

    /// Waits for all.
    pub(super) async fn finish(&mut self) -> Result<(), SyncError> {
        while !self.tasks.is_empty() {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<(), SyncError> {
        let Some(done) = self.tasks.join_next().await else { return Ok(()) };
        let (shown, placed, result) = done.map_err(|panic| SyncError::Bug(panic.to_string()))?;
        match result.map_err(SyncError::from) {
            Ok(()) if placed => self.told.placed(&shown),
            Ok(()) => {}
            Err(error) if error.is_of_all() => return Err(error),
            Err(error) => {
                self.failed += 1;
                self.told.failed(&shown, &error);
            }
        }
        Ok(())
    }
}
