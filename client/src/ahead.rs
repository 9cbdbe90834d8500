//! Ahead: how many runs are fetched at once, and how long one may take.
//!
//! On a fast line many, so that it is never idle; on a slow one they would only wait for each other, until the first that waited too long
//! is given up and asked for again. So it begins with a few, and there is one more for each that was quick.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// At first: enough for what a short file needs at once, and for a line of 100 Mbit/s.
const START: usize = 4;
/// Who took no longer was quick.
const QUICK: Duration = Duration::from_secs(1);

/// How long a shard of so many bytes may take before it is given up, with as much on its way before it as there may be on a slow line: so
/// much, and what it takes at so many bytes a second. A dead peer is noticed much sooner, by its silence, and a slow one by others.
pub(crate) fn patience(len: u64) -> Duration {
    const ANY: Duration = Duration::from_secs(60);
    const SLOWEST_BYTES: u64 = 8 << 10;
    ANY + Duration::from_secs(len / SLOWEST_BYTES)
}

/// Permits for what is in memory, first a few and then more.
pub(crate) struct Ahead {
    permits: Arc<Semaphore>,
    most: usize,
    now: Mutex<usize>,
}

impl Ahead {
    /// At most so many at once.
    pub(crate) fn new(most: usize) -> Self {
        let now = START.min(most);
        Self { permits: Arc::new(Semaphore::new(now)), most, now: Mutex::new(now) }
    }

    /// Waits for a permit. Cancel-safe.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        match Arc::clone(&self.permits).acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => std::future::pending().await, // nobody closes it
        }
    }

    /// One has arrived, so long after it was asked for.
    pub(crate) fn took(&self, time: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if time <= QUICK && *now < self.most {
            *now += 1;
            self.permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// All that are given out at once.
    fn all(ahead: &Ahead) -> Vec<OwnedSemaphorePermit> {
        let now = || match pin!(ahead.permit()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        };
        std::iter::from_fn(now).collect()
    }

    #[test]
    fn there_is_one_more_after_each_that_was_quick_up_to_what_is_allowed() {
        let ahead = Ahead::new(6);
        let some = all(&ahead);
        assert_eq!(some.len(), 4);
        ahead.took(QUICK * 2);
        assert_eq!(all(&ahead).len(), 0);
        ahead.took(QUICK);
        assert_eq!(all(&ahead).len(), 1);
        drop(some);
        (0..9).for_each(|_| ahead.took(QUICK));
        assert_eq!(all(&ahead).len(), 6);
        assert_eq!(all(&Ahead::new(1)).len(), 1);
    }

    #[test]
    fn patience_follows_the_length() {
        assert_eq!(patience(0), Duration::from_secs(60));
        // The last of as many as a put has under way on a long line, each for three peers, at 4 Mbit/s.
        let under_way = crate::up::CHUNKS_IN_FLIGHT_FAR as u64 * 3;
        assert!(patience(3 << 20) > Duration::from_secs(under_way * (3 << 20) * 8 / 4_000_000));
    }
}
