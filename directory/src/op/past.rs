//! Past: what a record was at a sequence.
//!
//! It is the current one where that was written by then, and else the one of history that began last by then, if it had not ended.
//! A sequence that has been given out never changes what it shows, so reads of one sequence belong together however long they take,
//! whatever is committed meanwhile; only pruning takes from it.

use std::collections::BTreeMap;

use common::id::{AccountId, NameToken, NodeId};

use crate::kv;
use crate::schema::{Entry, Node, Record, RecordError, key, record};
use crate::transact::{Found, Stop, Txn};

/// Records of history that one page of a listing reads, at most: what goes on behind them is another page.
const RECORDS: usize = 2_048;
/// Records read at once: few where names have long histories, of which only one record counts.
const FEWEST: usize = 8;
const MOST: usize = 256;

/// A record, and from when until when it was so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State<R> {
    pub record: R,
    pub since: u64,
    /// `None`: it is so now.
    pub until: Option<u64>,
}

impl<R> State<R> {
    #[must_use]
    pub fn holds(&self, at: u64) -> bool {
        self.since <= at && self.until.is_none_or(|until| at < until)
    }

    fn now(found: Found<R>) -> Self {
        Self { record: found.record, since: found.version, until: None }
    }
}

impl<R: Record> State<R> {
    fn past(entry: &kv::Entry) -> Result<Self, RecordError> {
        Ok(Self {
            record: record::decode(&entry.value)?,
            since: key::since_of_past(&entry.key)?,
            until: Some(entry.version),
        })
    }
}

/// What a name led to last among what began by a sequence; it may have ended by then.
///
/// # Errors
/// When the store cannot be read; likewise for those that follow.
pub async fn last_entry(
    txn: &mut Txn,
    account: AccountId,
    (folder, token): (NodeId, NameToken),
    at: u64,
) -> Result<Option<State<Entry>>, Stop> {
    if let Some(found) = txn.peek(&key::entry(account, folder, token)).await?
        && found.version <= at
    {
        return Ok(Some(State::now(found)));
    }
    let past = txn.scan_back(&key::entry_past(account, folder, token, at), 1).await?;
    Ok(past.entries.first().map(State::past).transpose()?)
}

/// What a name led to at a sequence.
///
/// # Errors
/// As above.
pub async fn entry(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    at: u64,
) -> Result<Option<State<Entry>>, Stop> {
    Ok(last_entry(txn, account, place, at).await?.filter(|state| state.holds(at)))
}

/// What a node was last among what began by a sequence.
///
/// # Errors
/// As above.
pub async fn last_node(txn: &mut Txn, account: AccountId, node: NodeId, at: u64) -> Result<Option<State<Node>>, Stop> {
    if let Some(found) = txn.peek(&key::node(account, node)).await?
        && found.version <= at
    {
        return Ok(Some(State::now(found)));
    }
    let past = txn.scan_back(&key::node_past(account, node, at), 1).await?;
    Ok(past.entries.first().map(State::past).transpose()?)
}

/// What a node was at a sequence.
///
/// # Errors
/// As above.
pub async fn node(txn: &mut Txn, account: AccountId, node: NodeId, at: u64) -> Result<Option<State<Node>>, Stop> {
    Ok(last_node(txn, account, node, at).await?.filter(|state| state.holds(at)))
}

/// Whether a node was anything from a sequence on.
///
/// # Errors
/// As above.
pub async fn lives_later(txn: &mut Txn, account: AccountId, node: NodeId, since: u64) -> Result<bool, Stop> {
    if txn.peek(&key::node(account, node)).await?.is_some() {
        return Ok(true);
    }
    Ok(!txn.scan(&key::node_later(account, node, since), 1).await?.entries.is_empty())
}

/// What a name led to next, from a sequence on.
///
/// # Errors
/// As above.
pub async fn next_entry(
    txn: &mut Txn,
    account: AccountId,
    (folder, token): (NodeId, NameToken),
    since: u64,
) -> Result<Option<Entry>, Stop> {
    let later = txn.scan(&key::entry_later(account, folder, token, since), 1).await?;
    if let Some(later) = later.entries.first() {
        return Ok(Some(record::decode(&later.value)?));
    }
    Ok(txn.peek(&key::entry(account, folder, token)).await?.map(|found| found.record))
}

/// Part of a folder as it was: in the order of the tokens, and the token behind which it goes on.
pub type Part = (Vec<(NameToken, Found<Entry>)>, Option<NameToken>);

/// What was in a folder at a sequence, behind a token: at most `limit` entries, and a bounded number of records read for them.
///
/// The current entries are read first: one that is replaced while this goes on is then found in history.
///
/// # Errors
/// As above.
pub async fn list(
    txn: &Txn,
    account: AccountId,
    folder: NodeId,
    after: Option<NameToken>,
    at: u64,
    limit: usize,
) -> Result<Part, Stop> {
    let mut range = key::entries(account, folder);
    if let Some(after) = after {
        range = range.behind(key::entry(account, folder, after).bytes());
    }
    let page = txn.scan(&range, limit).await?;
    let mut found = BTreeMap::new();
    let mut end = None;
    for entry in &page.entries {
        let token = key::token_of_entry(&entry.key)?;
        end = page.more.then_some(token);
        if entry.version <= at {
            found.insert(token, Found { record: record::decode(&entry.value)?, version: entry.version });
        }
    }
    if page.more && end.is_none() {
        return Err(Stop::Torn); // a page of nothing that goes on
    }
    if let Some(cut) = past_entries(txn, account, folder, (after, end), at, &mut found).await? {
        end = Some(cut);
        found.retain(|token, _| *token <= cut);
    }
    if found.len() > limit {
        end = found.keys().nth(limit - 1).copied();
    }
    Ok((found.into_iter().take(limit).collect(), end))
}

/// Adds what history has for the names from one to another; where it stopped reading, unless it came to the end.
async fn past_entries(
    txn: &Txn,
    account: AccountId,
    folder: NodeId,
    (after, end): (Option<NameToken>, Option<NameToken>),
    at: u64,
    found: &mut BTreeMap<NameToken, Found<Entry>>,
) -> Result<Option<NameToken>, Stop> {
    let whole = || {
        let range = key::entry_pasts(account, folder);
        match end {
            Some(end) => range.through(key::entry_history(account, folder, end, u64::MAX)),
            None => range,
        }
    };
    let behind = |token| whole().behind(key::entry_history(account, folder, token, u64::MAX).bytes());
    let mut range = after.map_or_else(whole, behind);
    let (mut read, mut portion) = (0, MOST / 4);
    loop {
        let page = txn.scan(&range, portion).await?;
        let mut last = None;
        for entry in &page.entries {
            let (token, state) = (key::token_of_past(&entry.key)?, State::<Entry>::past(entry)?);
            last = Some((token, state.since));
            if state.holds(at) {
                found.insert(token, Found { record: state.record, version: state.since });
            }
        }
        let Some((token, since)) = last.filter(|_| page.more) else { return Ok(None) };
        // The last name may have more records, of which at most one counts: that is looked up, and the others are passed over.
        if since <= at && !found.contains_key(&token) {
            let past = txn.scan_back(&key::entry_past(account, folder, token, at), 1).await?;
            let state = past.entries.first().map(State::<Entry>::past).transpose()?.filter(|state| state.holds(at));
            if let Some(state) = state {
                found.insert(token, Found { record: state.record, version: state.since });
            }
        }
        read += page.entries.len() + FEWEST;
        if read >= RECORDS {
            return Ok(Some(token));
        }
        let first = page.entries.first().map(|entry| key::token_of_past(&entry.key)).transpose()?;
        portion = if first == Some(token) { FEWEST } else { (portion * 2).min(MOST) };
        range = behind(token);
    }
}
