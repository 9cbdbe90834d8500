//! Pace: how fast each peer takes or gives shards, who is too slow by comparison, and how often that may be acted on.
//!
//! A shard is overdue when it takes a multiple of the time that others' shards of its size took *since it was sent*: 4 times, or
//! twice and half a second where even that is long, and 1.5 times at a peer that was overdue just before and has done nothing since. So what slows everybody, a
//! narrow line or a busy machine, makes nobody overdue: without faster peers in the same time there is no evidence. And it is
//! bounded: of ten shards about one may be offered twice, with a reserve for the moment when a peer falls silent.
//!
//! Times are arguments, so that tests need no clock.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use common::id::PeerId;
use tokio::time::Instant;

/// No shard is overdue before that, however fast the others are.
const FLOOR: Duration = Duration::from_millis(300);
/// How many times as long as others a shard may take ...
const TIMES: u32 = 4;
/// ... or, if that is sooner, twice as long and so much more. With many shards at once on a narrow line each takes seconds.
const TWICE_AND: Duration = Duration::from_millis(500);
/// Shards below it are taken for as long: round trips and syncs count more than bytes.
const LEAST_BYTES: u64 = 256 << 10;
/// Shards of others that must have ended meanwhile.
const EVIDENCE: usize = 2;
/// Shards that are remembered of each peer.
const REMEMBERED: usize = 16;
/// For how long a peer that was overdue gets no new shards, unless there is nobody else; doubles each time it is so again.
const AVOIDED: Duration = Duration::from_secs(10);
const AVOIDED_MOST: Duration = Duration::from_secs(120);
/// Shards that may be offered twice at once: all that were on their way to a peer when it fell silent.
const RESERVE: u32 = 32;
/// Shards that must arrive for one more to be offered twice.
const PRICE: u32 = 10;

#[derive(Debug, Default)]
struct OfPeer {
    /// When each ended, and how long it would have taken for [`LEAST_BYTES`].
    ended: VecDeque<(Instant, Duration)>,
    avoided_until: Option<Instant>,
    avoided_for: Duration,
}

/// What one transfer knows of its peers.
#[derive(Debug)]
pub(crate) struct Pace {
    peers: HashMap<PeerId, OfPeer>,
    /// In tenths of a shard.
    budget: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { peers: HashMap::new(), budget: RESERVE * PRICE }
    }
}

impl Pace {
    /// A shard has become durable at a peer, or arrived from it.
    pub(crate) fn done(&mut self, peer: PeerId, len: u64, since: Instant, now: Instant) {
        self.budget = (self.budget + 1).min(RESERVE * PRICE);
        let of_peer = self.peers.entry(peer).or_default();
        if of_peer.ended.len() >= REMEMBERED {
            of_peer.ended.pop_front();
        }
        let pieces = u32::try_from(len / LEAST_BYTES).unwrap_or(u32::MAX).max(1);
        of_peer.ended.push_back((now, now.saturating_duration_since(since) / pieces));
    }

    /// Whether a shard that a peer has had since then takes too long, compared with what others did meanwhile.
    pub(crate) fn is_overdue(&self, peer: PeerId, len: u64, since: Instant, now: Instant) -> bool {
        let waited = now.saturating_duration_since(since);
        if waited < FLOOR {
            return false;
        }
        let others = self.peers.iter().filter(|(other, _)| **other != peer).flat_map(|(_, of_peer)| &of_peer.ended);
        let mut meanwhile: Vec<Duration> = others.filter(|(end, _)| *end >= since).map(|(_, took)| *took).collect();
        if meanwhile.len() < EVIDENCE {
            return false;
        }
        meanwhile.sort_unstable();
        let Some(median) = meanwhile.get(meanwhile.len() / 2) else { return false };
        let pieces = u32::try_from(len / LEAST_BYTES).unwrap_or(u32::MAX).max(1);
        let usual = median.saturating_mul(pieces);
        let patient = usual.saturating_mul(TIMES);
        let limit = if self.has_done_since(peer, since) {
            patient // it works, and only this one is late
        } else if self.is_avoided(peer, now) {
            usual.saturating_mul(3) / 2
        } else {
            patient.min(usual.saturating_mul(2).saturating_add(TWICE_AND))
        };
        waited >= limit
    }

    /// Whether a peer has ended a shard since then.
    pub(crate) fn has_done_since(&self, peer: PeerId, since: Instant) -> bool {
        self.peers.get(&peer).and_then(|of_peer| of_peer.ended.back()).is_some_and(|(end, _)| *end >= since)
    }

    /// Takes from the budget what offering one shard twice costs; `false` when it is used up.
    pub(crate) fn may_hedge(&mut self) -> bool {
        let left = self.budget.checked_sub(PRICE);
        self.budget = left.unwrap_or(self.budget);
        left.is_some()
    }

    /// A peer was overdue.
    pub(crate) fn avoid(&mut self, peer: PeerId, now: Instant) {
        let of_peer = self.peers.entry(peer).or_default();
        // All that it had at the same time counts once.
        if of_peer.avoided_until.is_some_and(|until| now < until) {
            return;
        }
        of_peer.avoided_for = (of_peer.avoided_for * 2).clamp(AVOIDED, AVOIDED_MOST);
        of_peer.avoided_until = Some(now + of_peer.avoided_for);
    }

    pub(crate) fn is_avoided(&self, peer: PeerId, now: Instant) -> bool {
        self.peers.get(&peer).and_then(|of_peer| of_peer.avoided_until).is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: u64 = 3 << 20;

    fn peer(number: u8) -> PeerId {
        PeerId::from_slice(&[number; 16]).unwrap()
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Puts of two peers that both began at `since` and took so long.
    fn paced(since: Instant, took: Duration) -> Pace {
        let mut pace = Pace::default();
        for number in 1..=2 {
            pace.done(peer(number), SHARD, since, since + took);
        }
        pace
    }

    #[test]
    fn overdue_is_who_takes_several_times_as_long_as_others_did_meanwhile() {
        let since = Instant::now();
        for (others, len, not_yet, then) in [
            (ms(100), SHARD, ms(399), ms(401)),
            // Nobody is overdue before the floor.
            (ms(10), SHARD, ms(299), ms(301)),
            // A narrow line: everybody takes long.
            (ms(5_000), SHARD, ms(10_490), ms(10_510)),
            // A shard of half the size has half the time.
            (ms(400), SHARD / 2, ms(790), ms(810)),
        ] {
            let pace = paced(since, others);
            assert!(!pace.is_overdue(peer(0), len, since, since + not_yet), "{others:?}");
            assert!(pace.is_overdue(peer(0), len, since, since + then), "{others:?}");
        }
        // Who was overdue just before is given less.
        let mut pace = paced(since, ms(1_000));
        assert!(!pace.is_overdue(peer(0), SHARD, since, since + ms(1_600)));
        pace.avoid(peer(0), since + ms(1_000));
        assert!(pace.is_overdue(peer(0), SHARD, since, since + ms(1_600)));
    }

    #[test]
    fn without_faster_peers_in_the_same_time_nobody_is_overdue() {
        let since = Instant::now();
        let late = since + ms(60_000);
        assert!(!Pace::default().is_overdue(peer(0), SHARD, since, late));
        // They were fast before it was sent, which says nothing about now.
        let before = paced(since, ms(50));
        assert!(!before.is_overdue(peer(0), SHARD, since + ms(51), late));
        // A peer's own puts are no measure for it, and one put is none for anybody.
        let mut own = Pace::default();
        (0..5).for_each(|_| own.done(peer(0), SHARD, since, since + ms(50)));
        assert!(!own.is_overdue(peer(0), SHARD, since, late));
        own.done(peer(1), SHARD, since, since + ms(50));
        assert!(!own.is_overdue(peer(0), SHARD, since, late));
    }

    #[test]
    fn hedges_have_a_reserve_and_then_one_in_ten() {
        let now = Instant::now();
        let mut pace = Pace::default();
        let count = |pace: &mut Pace| (0..1_000).take_while(|_| pace.may_hedge()).count();
        assert_eq!(count(&mut pace), 32);
        (0..100).for_each(|_| pace.done(peer(1), SHARD, now, now));
        assert_eq!(count(&mut pace), 10);
        (0..10_000).for_each(|_| pace.done(peer(1), SHARD, now, now));
        assert_eq!(count(&mut pace), 32);
    }

    #[test]
    fn who_is_avoided_is_tried_again_later_and_avoided_longer() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for expected in [10, 20, 40, 80, 120, 120] {
            pace.avoid(peer(3), now);
            pace.avoid(peer(3), now + ms(50));
            assert!(pace.is_avoided(peer(3), now + ms(expected * 1_000 - 1)), "{expected}");
            now += ms(expected * 1_000);
            assert!(!pace.is_avoided(peer(3), now), "{expected}");
        }
        assert!(!pace.is_avoided(peer(1), now));
    }
}
