//! Odds: how likely it is that a cluster loses at least one chunk within a time. A pure function of the redundancy, the number of
//! peers, how often they fail and how fast what they held is made again.
//!
//! One placement group (the chunks that lie on the same n peers) is a Markov chain in continuous time, as in Ford et al.,
//! "Availability in Globally Distributed Storage Systems" (OSDI 2010): its states are how many of its n shards are lost. Each shard that
//! is left is lost at the rate of its peer; one lost shard at a time is made again, after a wait, with the bandwidth of all peers that
//! are left; with fewer than k left the group is lost for good. For two losses this is the mean time to data loss of Patterson, Gibson
//! and Katz, "A Case for Redundant Arrays of Inexpensive Disks" (SIGMOD 1988), and a test holds the two equal.
//!
//! Latent errors (a shard that nobody can read, and nobody knows of before it is scrubbed) come on top as in later work on RAID: whoever
//! finds one with only k shards left has lost a chunk. How often: Bairavasundaram et al., "An Analysis of Latent Sector Errors in
//! Disk Drives" (SIGMETRICS 2007). A zone that is lost takes all its peers with it at once.
//!
//! From one group to all of them: `1 - (1 - P)^groups`. Groups share peers, so they are lost together rather than one by one, and this
//! errs on the safe side; that many groups mean small and frequent losses, and few mean large and rare ones, is Cidon et al.,
//! "Copysets" (ATC 2013).
//!
//! Non-goals: errors of people and programs, stolen keys, a site that burns down with all of its zones. No model knows their rate.

use common::redundancy::Redundancy;

mod chain;
#[cfg(test)]
mod tests;

use chain::Chain;

const HOURS_PER_YEAR: f64 = 8_766.0;

/// How a cluster is run. Times in hours.
#[derive(Debug, Clone, Copy)]
pub struct Cluster {
    pub peers: u32,
    /// The share of peers that are lost with all they hold within a year, above 0 and below 1.
    pub annual_failure_rate: f64,
    /// From a peer's end until it counts as lost.
    pub detection: f64,
    /// How much longer repair waits while more than k shards are left.
    pub grace: f64,
    /// From a peer's end until a new one stands in its place. Repair waits for it when fewer than n peers are left.
    pub replacement: f64,
    /// Bytes that each peer holds.
    pub stored: f64,
    /// Bytes a second that repair may read and write, on all peers together; `None` for what they can.
    pub rate: Option<f64>,
    /// Bytes a second that one peer can read and write.
    pub bandwidth: f64,
    /// The size of a chunk.
    pub chunk: f64,
    /// Shards of a peer that become unreadable in a year, without anybody noticing.
    pub latent: f64,
    /// Every shard is looked at once in this time.
    pub scrub: f64,
    pub zones: Option<Zones>,
}

/// Peers that are lost together. Shards are spread evenly over zones, as `common::place` does.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    pub count: u32,
    /// The share of zones that are lost with all their peers within a year.
    pub annual_failure_rate: f64,
}

impl Cluster {
    /// The probability that at least one chunk is lost within so many years; `None` where there are fewer peers than shards.
    #[must_use]
    pub fn loss(&self, redundancy: Redundancy, years: f64) -> Option<f64> {
        let chain = self.chain(redundancy)?;
        let one = chain.absorbed(years).clamp(0.0, 1.0);
        // 1 - (1 - P)^groups, exact for a P far below the precision of a double.
        Some(-(self.groups(redundancy)? * (-one).ln_1p()).exp_m1())
    }

    /// How many different sets of n peers hold chunks: all there are, or one a chunk where there are fewer chunks.
    #[must_use]
    pub fn groups(&self, redundancy: Redundancy) -> Option<f64> {
        let (k, n) = shape(redundancy)?;
        if n > self.peers {
            return None;
        }
        let sets: f64 = (0..n).map(|i| f64::from(self.peers - i) / f64::from(i + 1)).product();
        let chunks = f64::from(self.peers) * self.stored * f64::from(k) / (f64::from(n) * self.chunk);
        Some(sets.min(chunks.max(1.0)))
    }

    /// Hours from a loss to the end of its repair, with so many shards of a group lost by then.
    #[must_use]
    pub fn repair_time(&self, redundancy: Redundancy, lost: u32) -> Option<f64> {
        let (k, n) = shape(redundancy)?;
        let left = self.peers.checked_sub(lost)?;
        let grace = if n - lost > k { self.grace } else { 0.0 };
        let wait = self.detection + grace;
        let can = self.bandwidth * f64::from(left.max(1));
        let speed = self.rate.map_or(can, |rate| rate.min(can));
        // For each shard that is made, k are read and one is written. Who holds one shard of a chunk cannot take another.
        let moved = f64::from(k + 1) * self.stored / speed / 3_600.0;
        if left >= n {
            return Some(wait + moved);
        }
        Some(wait.max(self.replacement) + moved.max(self.stored / self.bandwidth / 3_600.0))
    }

    fn chain(&self, redundancy: Redundancy) -> Option<Chain> {
        let (k, n) = shape(redundancy)?;
        let groups = self.groups(redundancy)?;
        let margin = n - k;
        let lost = margin + 1;
        let peer = rate(self.annual_failure_rate);
        // What this group has of the unreadable shards of a peer.
        let unreadable = self.latent * f64::from(self.peers) / (f64::from(n) * groups);
        let found_late = -(-f64::from(k) * unreadable * self.scrub / 2.0 / HOURS_PER_YEAR).exp_m1();
        let mut chain = Chain::new(usize::try_from(lost).ok()? + 1);
        for state in 0..=margin {
            let left = n - state;
            let fails = f64::from(left) * peer;
            let risk = if state + 1 == margin { found_late } else { 0.0 };
            chain.add(state, state + 1, fails * (1.0 - risk));
            chain.add(state, lost, fails * risk);
            if state == margin {
                chain.add(state, lost, f64::from(left) * unreadable);
            }
            if let Some(zones) = self.zones {
                let takes = n.div_ceil(zones.count.max(1));
                chain.add(state, (state + takes).min(lost), f64::from(zones.count) * rate(zones.annual_failure_rate));
            }
            if state > 0 {
                chain.add(state, state - 1, HOURS_PER_YEAR / self.repair_time(redundancy, state)?);
            }
        }
        Some(chain)
    }
}

fn shape(redundancy: Redundancy) -> Option<(u32, u32)> {
    Some((u32::try_from(redundancy.k()).ok()?, u32::try_from(redundancy.n()).ok()?))
}

/// Losses a year, for a share that is lost within a year.
fn rate(share: f64) -> f64 {
    -(-share).ln_1p()
}
