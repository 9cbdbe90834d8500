//! Keep: which points of an account's history are kept, and whether a record is visible at one of them.
//!
//! A record with the interval [since, until) is read by whoever looks at a sequence in it and gets there from the root: a folder that was removed
//! hides all below it without any of that being written. So the times at which a folder could be reached follow from its own records, each
//! of which names the folder it lay in, and theirs; that is [`spans`]. Files' records name their folder too, for this alone.

use common::id::{AccountId, NodeId};
use common::keep::KeepPolicy;
use common::proto::Refusal;
use common::proto::directory::{Moment, PlanPrune, PrunePlan, Retention};
use common::proto::refusal::What;
use common::time::Timestamp;

use super::history::at_time;
use super::{Context, snapshot};
use crate::authorize::Keeper;
use crate::schema::{Node, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Records looked at to find out when one folder could be reached; a folder that was moved more often than that is kept whole.
const BUDGET: usize = 4_096;
const DAY_MS: u64 = 86_400_000;

/// From one sequence (inclusive) to another (exclusive).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub since: u64,
    pub until: u64,
}

impl Span {
    pub const ALWAYS: Self = Self { since: 0, until: u64::MAX };

    #[must_use]
    pub fn within(self, other: Self) -> Option<Self> {
        let both = Self { since: self.since.max(other.since), until: self.until.min(other.until) };
        (both.since < both.until).then_some(both)
    }
}

/// The sequences that stay readable.
#[derive(Debug, Clone)]
pub struct Kept {
    /// In order.
    points: Vec<u64>,
    /// All from here on.
    from: u64,
}

impl Kept {
    /// What a plan keeps, and all snapshots.
    ///
    /// # Errors
    /// When the snapshots cannot be read.
    pub async fn of(txn: &Txn, account: AccountId, retention: &Retention) -> Result<Self, Stop> {
        let mut points = snapshot::pinned(txn, account).await?;
        points.extend_from_slice(&retention.points);
        // Read after the snapshots: whatever ended by now can only be pinned by one of these.
        Ok(Self::new(points, retention.from.min(txn.last_sequence())))
    }

    #[must_use]
    pub fn new(mut points: Vec<u64>, from: u64) -> Self {
        points.sort_unstable();
        points.dedup();
        Self { points, from }
    }

    #[must_use]
    pub fn holds(&self, span: Span) -> bool {
        let next = self.points.partition_point(|point| *point < span.since);
        span.until > self.from || self.points.get(next).is_some_and(|point| *point < span.until)
    }
}

/// When a folder could be reached from the root, as far as that matters to what is kept. With `rests` the commit rests on what is so now.
///
/// # Errors
/// When the store cannot be read.
pub async fn spans(
    txn: &mut Txn,
    account: AccountId,
    folder: NodeId,
    kept: &Kept,
    rests: bool,
) -> Result<Vec<Span>, Stop> {
    let (mut found, mut todo, mut budget) = (Vec::new(), vec![(folder, Span::ALWAYS)], BUDGET);
    while let Some((node, window)) = todo.pop() {
        let Some(records) = records_of(txn, account, node, rests).await? else { return Ok(vec![Span::ALWAYS]) };
        for (span, record) in records {
            let Some(left) = budget.checked_sub(1) else { return Ok(vec![Span::ALWAYS]) };
            budget = left;
            // At any one time folders lie in each other without a circle, so windows run empty before this goes round.
            let Some(both) = span.within(window).filter(|both| kept.holds(*both)) else { continue };
            match record {
                Node::Folder { parent: None } => found.push(both),
                Node::Folder { parent: Some(parent) } => todo.push((parent, both)),
                Node::File { .. } => {}
            }
        }
    }
    Ok(found)
}

/// Whether something in a folder with these spans is visible at a kept point.
#[must_use]
pub fn is_visible(spans: &[Span], span: Span, kept: &Kept) -> bool {
    spans.iter().filter_map(|reached| reached.within(span)).any(|both| kept.holds(both))
}

/// All that a node is and was, the oldest first; `None` when that is more than is read at once.
///
/// # Errors
/// When the store cannot be read.
pub async fn records_of(
    txn: &mut Txn,
    account: AccountId,
    node: NodeId,
    rests: bool,
) -> Result<Option<Vec<(Span, Node)>>, Stop> {
    let mut records = Vec::new();
    let id = key::node(account, node);
    let current = if rests { txn.read(&id).await? } else { txn.peek(&id).await? };
    let page = txn.scan(&key::node_history_of(account, node), crate::kv::SCAN_ENTRIES).await?;
    if page.more {
        return Ok(None);
    }
    for entry in &page.entries {
        let (_, since) = key::ids_of_node_history(&entry.key)?;
        records.push((Span { since, until: entry.version }, record::decode(&entry.value)?));
    }
    if let Some(current) = current {
        records.push((Span { since: current.version, until: u64::MAX }, current.record));
    }
    Ok(Some(records))
}

/// Whether a folder is part of the tree now. With `rests` the commit rests on it.
///
/// # Errors
/// When the store cannot be read.
pub async fn is_there(txn: &mut Txn, account: AccountId, folder: NodeId, rests: bool) -> Result<bool, Stop> {
    let mut at = folder;
    for _ in 0..BUDGET {
        let id = key::node(account, at);
        let found = if rests { txn.read(&id).await? } else { txn.peek(&id).await? };
        match found.map(|found| found.record) {
            None | Some(Node::File { .. }) => return Ok(false),
            Some(Node::Folder { parent: None }) => return Ok(true),
            Some(Node::Folder { parent: Some(parent) }) => at = parent,
        }
    }
    Ok(true)
}

/// A plan, as whoever is allowed asks for it.
#[derive(serde::Serialize)]
pub struct Plan {
    pub policy: KeepPolicy,
}

impl Plan {
    /// # Errors
    /// When neither the request nor the cluster says what to keep.
    pub fn of(request: &PlanPrune, own: Option<KeepPolicy>) -> Result<Self, Refusal> {
        let policy = request.policy.or(own).ok_or(Refusal::NoPolicy)?;
        if policy.is_sound() { Ok(Self { policy }) } else { Err(Refusal::TooLarge(What::Request)) }
    }
}

impl Operation for Plan {
    const NAME: &'static str = "PlanPrune";
    type Who = Keeper;
    type Answer = PrunePlan;

    async fn decide(&self, txn: &mut Txn, who: Keeper, context: &Context) -> Result<PrunePlan, Stop> {
        let (policy, account) = (self.policy, who.account());
        let mut from = txn.last_sequence();
        if policy.within_ms > 0 {
            let start = Timestamp(context.now.0.saturating_sub(policy.within_ms));
            // What was there then is what the last change before it left.
            from = at_time(txn, account, start).await?.map_or(0, |moment| moment.sequence);
        }
        let mut points = Vec::new();
        let first_of: [(u32, FirstOf); 4] =
            [(policy.daily, day_of), (policy.weekly, week_of), (policy.monthly, month_of), (policy.yearly, year_of)];
        for (count, first) in first_of {
            let mut end = context.now;
            for _ in 0..count {
                let Some(Moment { sequence, at }) = at_time(txn, account, end).await? else { break };
                points.push(sequence);
                let Some(before) = first(at).0.checked_sub(1) else { break };
                end = Timestamp(before);
            }
        }
        points.sort_unstable();
        points.dedup();
        let points = points.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
        Ok(PrunePlan { policy, retention: Retention { from, points, last: policy.last } })
    }
}

/// Where a day, week, month or year begins that a time lies in.
type FirstOf = fn(Timestamp) -> Timestamp;

fn day_of(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0 % DAY_MS)
}

/// Weeks begin on Mondays; 1970 began on a Thursday.
fn week_of(at: Timestamp) -> Timestamp {
    let days = at.0 / DAY_MS;
    Timestamp(days.saturating_sub((days + 3) % 7) * DAY_MS)
}

fn month_of(at: Timestamp) -> Timestamp {
    beginning(at, 7, "-01")
}

fn year_of(at: Timestamp) -> Timestamp {
    beginning(at, 4, "-01-01")
}

/// The beginning of a month or year, by how its date is written.
fn beginning(at: Timestamp, digits: usize, rest: &str) -> Timestamp {
    let text = at.to_string();
    let first = text.get(..digits).map(|kept| format!("{kept}{rest}T00:00:00Z"));
    let first = first.and_then(|text| humantime::parse_rfc3339(&text).ok());
    first.map_or(Timestamp(0), Timestamp::from_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_kept_when_a_point_lies_in_it_or_it_reaches_beyond_the_end() {
        let kept = Kept::new(vec![20, 10], 100);
        for (since, until, is) in
            [(10, 11, true), (11, 20, false), (11, 21, true), (21, 100, false), (21, 101, true), (1, 10, false)]
        {
            assert_eq!(kept.holds(Span { since, until }), is, "{since} to {until}");
        }
    }

    #[test]
    fn days_weeks_months_and_years_begin_where_people_think() {
        let time = |text: &str| Timestamp::from_system(humantime::parse_rfc3339(text).unwrap());
        let at = time("2026-11-22T13:14:15Z"); // a Sunday
        assert_eq!(day_of(at), time("2026-11-22T00:00:00Z"));
        assert_eq!(week_of(at), time("2026-11-16T00:00:00Z"));
        assert_eq!(week_of(time("2026-11-23T00:00:00Z")), time("2026-11-23T00:00:00Z"));
        assert_eq!(month_of(at), time("2026-11-01T00:00:00Z"));
        assert_eq!(year_of(at), time("2026-01-01T00:00:00Z"));
    }
}
