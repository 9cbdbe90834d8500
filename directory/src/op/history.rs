//! History: which sequence a time is, and what a name has led to. Nothing is changed; every answer is bounded.

use common::id::{AccountId, NameToken, NodeId};
use common::limits::{ANSWER_BYTES, HISTORY_STATES};
use common::proto::Refusal;
use common::proto::directory::{
    Ended, FindMoment, History, HowEnded, Moment, MomentFound, NameState, ReadHistory, When,
};
use common::proto::parts::{EntryView, NodeKind};
use common::proto::refusal::What;
use common::time::Timestamp;

use super::{Context, look, past};
use crate::authorize::OfAccount;
use crate::kv;
use crate::schema::{Entry, key};
use crate::transact::{Operation, Stop, Txn};

/// Two commits may be noted under times in another order than their own, by as much as a request is tried again for.
const OUT_OF_ORDER_MS: u64 = 5_000;
/// Changes within that time that are looked at.
const NEIGHBOURS: usize = 256;

impl Operation for FindMoment {
    const NAME: &'static str = "FindMoment";
    type Who = OfAccount;
    type Answer = MomentFound;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<MomentFound, Stop> {
        let (account, now, last) = (who.account(), context.now, txn.last_sequence());
        let asked = match self.when {
            When::Now | When::Sequence(_) => now,
            When::At(at) => at,
            When::Ago(span) => Timestamp(now.0.saturating_sub(span)),
        };
        let first = txn.scan(&key::changes(account), 1).await?;
        let first = first.entries.first().map(moment).transpose()?;
        let found = match self.when {
            When::Now => Some(Moment { sequence: last, at: now }),
            _ if asked > now => None,
            When::At(_) | When::Ago(_) => at_time(txn, account, asked).await?,
            When::Sequence(sequence) if sequence > last => None,
            When::Sequence(sequence) => {
                time_of(txn, account, sequence).await?.map(|Moment { at, .. }| Moment { sequence, at })
            }
        };
        Ok(MomentFound { moment: found, first, asked, now, last })
    }
}

fn moment(entry: &kv::Entry) -> Result<Moment, Stop> {
    Ok(Moment { sequence: entry.version, at: key::time_of_change(&entry.key)? })
}

/// The account's last change up to a time.
pub(super) async fn at_time(txn: &Txn, account: AccountId, at: Timestamp) -> Result<Option<Moment>, Stop> {
    let page = txn.scan_back(&key::changes_until(account, at), NEIGHBOURS).await?;
    let Some(newest) = page.entries.first().map(moment).transpose()? else { return Ok(None) };
    let mut sequence = newest.sequence;
    for entry in &page.entries {
        let near = moment(entry)?;
        if newest.at.0 - near.at.0 <= OUT_OF_ORDER_MS {
            sequence = sequence.max(near.sequence);
        }
    }
    Ok(Some(Moment { sequence, at: newest.at }))
}

/// The account's last change up to a sequence. Found by halving, since times rise with sequences where the clock was never set back; where it
/// was, the time may be another change's: it is for people, and nothing rests on it.
async fn time_of(txn: &Txn, account: AccountId, sequence: u64) -> Result<Option<Moment>, Stop> {
    let all = key::changes(account);
    let (first, last) = (txn.scan(&all, 1).await?, txn.scan_back(&all, 1).await?);
    let (Some(first), Some(last)) = (first.entries.first(), last.entries.first()) else { return Ok(None) };
    let (first, last) = (moment(first)?, moment(last)?);
    if last.sequence <= sequence {
        return Ok(Some(last));
    }
    if first.sequence > sequence {
        return Ok(None);
    }
    // The last change up to `low` is `best`, and one at `high` is later than it may be.
    let (mut best, mut low, mut high) = (first, first.at.0, last.at.0);
    while high.saturating_sub(low) > 1 {
        let middle = low + (high - low) / 2;
        let page = txn.scan_back(&key::changes_until(account, Timestamp(middle)), 1).await?;
        let Some(found) = page.entries.first().map(moment).transpose()? else { break };
        if found.sequence <= sequence {
            (best, low) = (found, middle);
        } else {
            high = found.at.0;
        }
    }
    Ok(Some(best))
}

impl Operation for ReadHistory {
    const NAME: &'static str = "ReadHistory";
    type Who = OfAccount;
    type Answer = History;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<History, Stop> {
        let (account, place) = (who.account(), (self.folder, self.token));
        let (mut states, mut bytes, mut more) = (Vec::new(), 0, false);
        let mut newest = self.before.map_or(Some(u64::MAX), |before| before.checked_sub(1));
        while let Some(at) = newest {
            let newer = states.last().map(|newer: &NameState| Moment { sequence: newer.entry.since, at: newer.at });
            let Some(state) = state(txn, account, place, at, newer).await? else { break };
            bytes += look::entry_bytes(&state.entry) + 64;
            more = states.len() >= HISTORY_STATES || (bytes > ANSWER_BYTES && !states.is_empty());
            if more {
                break;
            }
            newest = state.entry.since.checked_sub(1);
            states.push(state);
        }
        let states = states.try_into().map_err(|_| Refusal::TooLarge(What::Version))?;
        Ok(History { states, more })
    }
}

/// The last state of a name among those that began by a sequence; `newer` is where the one behind it begins. What was pruned is passed over.
async fn state(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    mut at: u64,
    newer: Option<Moment>,
) -> Result<Option<NameState>, Stop> {
    loop {
        let Some(entry) = past::last_entry(txn, account, place, at).await? else { return Ok(None) };
        let (mut since, mut until, mut version) = (entry.since, entry.until, None);
        let mut pruned = false;
        if entry.record.kind == NodeKind::File {
            // The node's last state within the entry's time.
            let within = entry.until.map_or(at, |until| at.min(until.saturating_sub(1)));
            let node = past::last_node(txn, account, entry.record.node, within).await?;
            match node.filter(|node| node.until.is_none_or(|until| until > entry.since)) {
                None => pruned = true,
                Some(node) => {
                    since = since.max(node.since);
                    until = [until, node.until].into_iter().flatten().min();
                    version = look::version_of(txn, account, node.record).await?;
                    pruned = version.is_none();
                }
            }
        }
        if pruned {
            let Some(before) = since.checked_sub(1) else { return Ok(None) };
            at = before;
            continue;
        }
        let Entry { node, kind, sealed } = entry.record;
        let (folder, token) = place;
        let ended = match until {
            None => None,
            Some(until) => match newer.filter(|newer| newer.sequence == until) {
                Some(moment) => Some(Ended { moment, how: HowEnded::Replaced }),
                None => Some(ended(txn, account, place, node, until).await?),
            },
        };
        let at = time_of(txn, account, since).await?.map_or(Timestamp(0), |moment| moment.at);
        let entry = EntryView { folder, token, node, kind, sealed, since, version };
        return Ok(Some(NameState { entry, at, until: ended }));
    }
}

async fn ended(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    node: NodeId,
    until: u64,
) -> Result<Ended, Stop> {
    let how = if past::entry(txn, account, place, until).await?.is_some() {
        HowEnded::Replaced
    } else if past::node(txn, account, node, until).await?.is_some() {
        HowEnded::Moved
    } else if past::lives_later(txn, account, node, until).await? {
        // What followed was pruned. A node that was removed never comes back, so it was not that.
        let later = past::next_entry(txn, account, place, until).await?;
        if later.is_some_and(|later| later.node == node) { HowEnded::Replaced } else { HowEnded::Moved }
    } else {
        HowEnded::Removed
    };
    let at = time_of(txn, account, until).await?.map_or(Timestamp(0), |moment| moment.at);
    Ok(Ended { moment: Moment { sequence: until, at }, how })
}
