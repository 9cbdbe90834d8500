//! Cancel: one flag that stops a whole command, and that every long wait listens to.
//!
//! Raised once, it stays raised. Whoever is told cleans up after itself: temporary files go, pending uploads are abandoned.

use std::sync::Arc;

use tokio::sync::watch;

/// The command was stopped by the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// A handle on the flag; clones share it.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Cancel {
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Raises the flag.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the flag is raised. Cancel-safe.
    pub async fn cancelled(&self) {
        let mut flag = self.0.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        flag.wait_for(|raised| *raised).await.ok();
    }

    /// Runs a future to its end, or `None` when the flag is raised first.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.cancelled() => None,
            output = future => Some(output),
        }
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn raised_once_everybody_is_told_also_who_asks_later() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        assert_eq!(other.guard(async { 7 }).await, Some(7));
        cancel.cancel();
        assert!(other.is_cancelled());
        assert_eq!(other.guard(std::future::pending::<()>()).await, None);
    }
}
