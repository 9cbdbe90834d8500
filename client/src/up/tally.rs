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
    fatal: Option<UpError>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), failed: Notify::new() }
    }

    /// Counts one file, and tells the progress.
    pub(super) fn count(&self, progress: &dyn Progress, shown: &str, result: Result<PutDone, UpError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
