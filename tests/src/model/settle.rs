//! Settle: the end of a history. All peers come back, what was left open expires, and then everything that was acknowledged reads back bit for
//! bit, nothing else is visible, and peers hold what the directory's records name, no more and no less.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use common::id::PeerId;
use common::map::PeerState;
use common::proto::directory::ClusterStatus;
use directory::kv::Store;
use directory::schema::{Chunk, key, record};
use directory::status::each;
use tokio::time::sleep;

use super::history::History;

/// How long anything may take that comes by itself.
const LIMIT: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than an upload is kept without being used.
const EXPIRED: u64 = 25 * 3_600_000;
/// How long nothing moves before it is looked whether anything should have.
const REST: Duration = Duration::from_millis(500);
const COMPARE_EVERY: Duration = Duration::from_millis(200);

/// Starts every peer that is not gone for good.
pub(super) async fn all_back(history: &mut History) -> Result<()> {
    for number in 0..history.cluster.members.len() {
        history.cluster.serve_peer(number).await?;
    }
    Ok(())
}

/// Waits until the cluster is as it should be.
async fn until(
    history: &mut History,
    what: &str,
    is_so: impl Fn(&History, &ClusterStatus) -> bool,
) -> Result<ClusterStatus> {
    let begun = Instant::now();
    loop {
        let status = history.cluster.status().await?;
        if is_so(history, &status) {
            return Ok(status);
        }
        if begun.elapsed() > LIMIT {
            bail!("not so after {LIMIT:?}: {what}\n{}", show(&status));
        }
        sleep(PAUSE).await;
    }
}

fn show(status: &ClusterStatus) -> String {
    let mut text = format!(
        "chunks {} degraded {} unreadable {} uploads {} {:?}",
        status.chunks, status.degraded, status.unreadable, status.pending, status.upkeep
    );
    for peer in &*status.peers {
        text += &format!(
            "\n    {} {} draining {} shards {} registered {:?} missing {} unknown {} quarantined {}",
            &*peer.label,
            peer.state,
            peer.draining,
            peer.shards,
            peer.registered,
            peer.missing,
            peer.unknown,
            peer.quarantined
        );
    }
    text
}

fn is_whole(history: &History, status: &ClusterStatus) -> bool {
    let back = history
        .cluster
        .present()
        .all(|(_, member)| status.peers.iter().any(|peer| peer.peer == member.id && peer.state == PeerState::Online));
    back && status.degraded == 0 && status.upkeep.is_some_and(|upkeep| upkeep.verified && !upkeep.fenced)
}

/// Waits until the directory says that everything is there and was looked at.
pub(super) async fn whole(history: &mut History) -> Result<()> {
    until(history, "all is whole", is_whole).await.map(drop)
}

/// Waits until nothing is registered with a peer that is being emptied.
pub(super) async fn empty(history: &mut History, number: usize) -> Result<()> {
    let id = history.cluster.members.get(number).context("no such peer")?.id;
    let is_empty = move |_: &History, status: &ClusterStatus| {
        status.peers.iter().any(|peer| peer.peer == id && peer.registered == Some(0))
    };
    until(history, "the peer is empty", is_empty).await.map(drop)
}

/// Nothing is open, and each peer has what is registered with it and nothing else.
fn is_settled(history: &History, status: &ClusterStatus) -> bool {
    let exact = |(_, member): (usize, &super::cluster::Member)| {
        status.peers.iter().find(|peer| peer.peer == member.id).is_some_and(|peer| {
            // What only a record of before names is there beside what is registered.
            let all = peer.registered.is_some_and(|registered| registered <= peer.shards);
            all && peer.missing == 0 && peer.unknown == 0 && peer.quarantined == 0
        })
    };
    is_whole(history, status) && status.pending == 0 && history.cluster.present().all(exact)
}

/// See the module.
pub(super) async fn settle(history: &mut History) -> Result<()> {
    all_back(history).await?;
    // The directory starts once more: it looks at all inventories then, and nobody's request is under way any more.
    history.cluster.end_directory(false).await?;
    history.cluster.compare_every(COMPARE_EVERY);
    let ahead = history.latest.saturating_sub(history.cluster.directory_time()).saturating_add(EXPIRED);
    history.cluster.turn_directory(i64::try_from(ahead)?);
    history.cluster.serve_directory().await?;
    let begun = Instant::now();
    let mut wrong = None;
    while begun.elapsed() < LIMIT {
        history.say("all is to settle");
        let status = at_rest(history).await?;
        history.say("all is read");
        read_all(history).await?;
        let checked = history.cluster.check().await?;
        let present = u32::try_from(history.cluster.present().count())?;
        // A peer that was not to be had just now counts as a finding, and is looked at again. One that is gone without anybody having
        // told the directory stays absent.
        let is_had = checked.peers == present;
        ensure!(checked.found == 0 || !is_had, "the check found: {checked:?}");
        let is_exact = checked.missing + checked.unknown + checked.unreadable == 0 && is_had;
        let online = status.peers.iter().filter(|peer| peer.state == PeerState::Online);
        let live: u64 = online.map(|peer| peer.shards).sum();
        history.cluster.end_directory(false).await?;
        wrong = records(history, live).await?;
        history.cluster.serve_directory().await?;
        if is_exact && wrong.is_none() {
            if let Some(upkeep) = status.upkeep {
                history.tally.made += upkeep.made;
                history.tally.collected += upkeep.collected;
                history.tally.dropped += upkeep.dropped;
            }
            return survive(history).await;
        }
        let text = wrong.get_or_insert_with(|| format!("the check found: {checked:?}")).clone();
        history.say(format!("  {text}"));
    }
    bail!("storage does not become what is referenced: {}", wrong.unwrap_or_default())
}

/// Waits until all is settled and nothing has moved for a while.
async fn at_rest(history: &mut History) -> Result<ClusterStatus> {
    let figures = |status: &ClusterStatus| {
        let upkeep = status.upkeep.unwrap_or_default();
        let shards: Vec<_> = status.peers.iter().map(|peer| peer.shards).collect();
        (shards, upkeep.made, upkeep.dropped, upkeep.collected)
    };
    let begun = Instant::now();
    let (mut last, mut since) = (until(history, "all is settled", is_settled).await?, Instant::now());
    while since.elapsed() < REST {
        sleep(PAUSE).await;
        let status = until(history, "all is settled", is_settled).await?;
        if figures(&status) != figures(&last) {
            (last, since) = (status, Instant::now());
        }
        ensure!(begun.elapsed() < LIMIT, "the cluster does not come to rest\n{}", show(&last));
    }
    Ok(last)
}

/// Every device's account is what the reference says, and every file has its bytes.
async fn read_all(history: &mut History) -> Result<()> {
    for account in 0..2 {
        let Some(device) = history.devices.iter().position(|(of, _)| *of == account) else { continue };
        let found = history.look(device).await?;
        let Some(reference) = history.accounts.get_mut(account) else { continue };
        let allowed = reference.after(&[]);
        ensure!(allowed.contains(&found), "there is\n    {found}\nand should be\n    {}", reference.tree);
        (reference.tree, reference.ghost) = (found, None);
        let paths: Vec<_> = reference.tree.files.keys().cloned().collect();
        for path in paths {
            history.read_now(device, &path).await?;
        }
    }
    Ok(())
}

/// Looks at the records of a directory that does not serve: what is not as it should be.
async fn records(history: &History, live: u64) -> Result<Option<String>> {
    let names: HashMap<_, _> = history.cluster.present().map(|(number, member)| (member.id, number)).collect();
    let store = history.cluster.store().await?;
    let checked = look_at(store.as_ref(), &names, live).await;
    store.close().await?;
    checked
}

/// With the numbers of the peers that should have something.
async fn look_at(store: &dyn Store, names: &HashMap<PeerId, usize>, live: u64) -> Result<Option<String>> {
    let (mut chunks, mut needed, mut placed, mut condemned) = (Vec::new(), 0, 0, 0_u64);
    let (mut odd, mut now) = (Vec::new(), HashSet::new());
    each(store, &key::chunks(), |key, value| {
        let chunk: Chunk = record::decode(value)?;
        let here = chunk.shards.iter().filter_map(|shard| Some((shard.index, *names.get(&shard.peer)?)));
        let here: Vec<_> = here.collect();
        if here.len() != chunk.redundancy.n() {
            odd.push(format!("{} has {here:?}", chunk.redundancy));
        }
        needed += chunk.redundancy.n() as u64;
        placed += here.len() as u64;
        condemned += u64::from(chunk.condemned);
        let (account, id) = key::ids_of_chunk(key)?;
        now.extend(chunk.shards.iter().map(|shard| (shard.peer, account, shard.address)));
        chunks.push((account, id));
        Ok(())
    })
    .await?;
    let mut former = HashSet::new();
    for (account, id) in &chunks {
        each(store, &key::chunk_histories(*account, *id), |_, value| {
            let chunk: Chunk = record::decode(value)?;
            let there = chunk.shards.iter().filter(|shard| names.contains_key(&shard.peer));
            former
                .extend(there.map(|shard| (shard.peer, *account, shard.address)).filter(|shard| !now.contains(shard)));
            Ok(())
        })
        .await?;
    }
    // One that was lost, or given up with its peer, is not made anew.
    let kept = former.len() as u64;
    let mut wrong = Vec::new();
    if needed != placed || live < needed || live > needed + kept {
        wrong
            .push(format!("{needed} shards are needed, {kept} kept, {placed} registered and {live} on peers: {odd:?}"));
    }
    if condemned > 0 {
        wrong.push(format!("{condemned} chunks are condemned"));
    }
    for (account, chunk) in chunks {
        let references = key::references(account, chunk);
        if store.scan(&references.from, &references.to, 1).await?.entries.is_empty() {
            wrong.push(format!("nothing references chunk {chunk}"));
        }
    }
    for (name, from, to) in [
        ("uploads", key::all_pending().from, key::all_pending().to),
        ("holds", key::all_holds().from, key::all_holds().to),
        ("repairs", key::repairs().from, key::repairs().to),
        ("collections", key::collects().from, key::collects().to),
    ] {
        let left = store.scan(&from, &to, 100).await?.entries.len();
        if left > 0 {
            wrong.push(format!("{left} {name} are left"));
        }
    }
    Ok((!wrong.is_empty()).then(|| wrong.join("; ")))
}

/// Now and then: whatever peer ends now, everything is still there.
async fn survive(history: &mut History) -> Result<()> {
    let up: Vec<_> = history.cluster.present().map(|(number, _)| number).collect();
    let Some(number) = history.draw_survivor(&up) else { return Ok(()) };
    history.say(format!("everything is read without peer {number}"));
    history.cluster.end_peer(number, false).await?;
    read_all(history).await
}
