//! Tally: what became of all files so far, and the first failure that ends everything.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::UpError;
use crate::transfer::{Progress, PutDone, PutReport};

pub(super) struct Tally {
    state: Mutex<State>,
    failed: Notify,
}

#[derive(Default)]
struct State {
    report: PutReport,
    taken: usize,
    counted: usize,
    /// No more will come.
    closed: bool,
    fatal: Option<UpError>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), failed: Notify::new() }
    }

    /// One more file has come.
    pub(super) fn take(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).taken += 1;
    }

    /// All have come.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    /// Whether so many files, none of which was counted yet, are all that are left.
    pub(super) fn are_the_last(&self, files: usize) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed && state.counted + files == state.taken
    }

    /// Counts one file, and tells the progress.
    pub(super) fn count(&self, progress: &dyn Progress, shown: &str, result: Result<PutDone, UpError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counted += 1;
        let report = &mut state.report;
        match result {
            Ok(done) => {
                report.files += 1;
                report.bytes += done.bytes;
                report.sent += done.sent;
                report.degraded += done.degraded;
                report.conflicts += u64::from(done.conflict);
                drop(state);
                progress.put(done);
            }
            Err(error) if error.is_of_one_file() => {
                report.failed += 1;
                drop(state);
                progress.failed(shown, Box::new(error));
            }
            Err(error) => {
                state.fatal.get_or_insert(error);
                drop(state);
                self.failed.notify_one();
            }
        }
    }

    /// Waits for a failure that ends everything.
    pub(super) async fn fatal(&self) -> UpError {
        loop {
            if let Some(error) = self.state.lock().unwrap_or_else(PoisonError::into_inner).fatal.clone() {
                return error;
            }
            self.failed.notified().await;
        }
    }

    pub(super) fn report(&self) -> PutReport {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::Silent;

    #[test]
    fn files_are_the_last_when_all_have_come_and_nothing_else_is_left() {
        let tally = Tally::new();
        (0..3).for_each(|_| tally.take());
        assert!(!tally.are_the_last(3), "more may come");
        tally.close();
        assert!(tally.are_the_last(3) && !tally.are_the_last(2));
        tally.count(&Silent, "one", Err(UpError::FolderThere));
        assert!(tally.are_the_last(2));
    }
}
