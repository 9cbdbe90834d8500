//! Walk: goes over a range of the store again and again, a bounded part at a time, and rests in between.
//!
//! The rest is a multiple of what the walk took, so that a long list of what can only wait costs little. It is short where the walk has
//! begun something: what was passed over meanwhile, or came to nothing, is looked at as soon as all that has ended.

use std::time::Duration;

use tokio::time::Instant;

use crate::kv::Entry;
use crate::schema::key::Range;
use crate::service::Service;
use crate::status::CountError;

/// Records looked at in one round, of each kind.
const LOOKED_AT: usize = 2_000;
/// Pause between two walks over all chunks, as a multiple of what one took, and at least.
const WALK_PAUSE: u32 = 20;
const WALK_PAUSE_LEAST: Duration = Duration::from_secs(5);

/// Where a walk over a range goes on, or when it begins again.
#[derive(Debug)]
pub struct Walk {
    from: Option<Vec<u8>>,
    /// What this walk has taken so far.
    took: Duration,
    again: Instant,
    /// The soonest that another one may begin.
    soon: Instant,
    /// Entries seen in this walk.
    pub seen: u64,
    /// Something was begun in it, or passed over while it was in work.
    pub lively: bool,
}

impl Walk {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { from: None, took: Duration::ZERO, again: now, soon: now, seen: 0, lively: false }
    }

    /// A part of it was dealt with since then. Behind the last part there is a pause.
    pub fn dealt_with(&mut self, since: Instant, round: Duration) {
        self.took += since.elapsed();
        if self.from.is_none() {
            let least = if self.seen == 0 { Duration::ZERO } else { round.min(WALK_PAUSE_LEAST) };
            let now = Instant::now();
            (self.again, self.soon) = (now + (self.took * WALK_PAUSE).max(least), now + self.took.max(least));
        }
    }

    /// All that was begun has ended: what was in work then, did not fit, or came to nothing is looked at without the long pause.
    pub fn all_ended(&mut self) {
        if self.lively {
            self.changed();
        }
    }

    /// Another walk may begin then, if none is under way.
    pub fn not_later_than(&mut self, at: Instant) {
        self.again = self.again.min(at);
    }

    /// The rest of what was read is looked at another time, from this key on.
    pub fn stop_at(&mut self, key: Vec<u8>) {
        (self.from, self.lively) = (Some(key), true);
    }

    /// Whether it is in the middle of its range.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.from.is_some()
    }

    /// How things are has changed: what could only wait is looked at again without the long pause.
    pub fn changed(&mut self) {
        self.again = self.again.min(self.soon);
    }

    /// Reads the next part of a range; `None` while it is not time for another walk.
    pub async fn step<R>(
        &mut self,
        service: &Service,
        range: &Range<R>,
        now: Instant,
    ) -> Result<Option<Vec<Entry>>, CountError> {
        if self.from.is_none() {
            if now < self.again {
                return Ok(None);
            }
            (self.took, self.seen, self.lively) = (Duration::ZERO, 0, false);
        }
        let from = self.from.as_deref().unwrap_or(&range.from);
        let page = service.store.scan(from, &range.to, LOOKED_AT).await?;
        self.from = page.next();
        self.seen += page.entries.len() as u64;
        Ok(Some(page.entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_secs(3);
    const ROUND: Duration = Duration::from_secs(1);

    fn after_one(lively: bool) -> (Walk, Instant) {
        let now = Instant::now();
        let mut walk = Walk { took: TOOK, seen: 12, lively, ..Walk::new(now) };
        walk.dealt_with(now, ROUND);
        (walk, now)
    }

    #[test]
    fn what_a_walk_has_begun_and_what_has_changed_is_followed_by_another_without_the_long_pause() {
        let (mut waiting, now) = after_one(false);
        waiting.all_ended();
        assert!(waiting.again >= now + TOOK * WALK_PAUSE, "what can only wait costs little");
        waiting.changed();
        assert!(waiting.again < now + TOOK * 2);
        let (mut lively, now) = after_one(true);
        assert!(lively.again >= now + TOOK * WALK_PAUSE);
        lively.all_ended();
        assert!(lively.again < now + TOOK * 2 && lively.again >= now + TOOK, "at most half of the time");
    }
}
