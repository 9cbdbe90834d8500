//! `shoal status`: peers, free space, redundancy, and what is degraded.

use common::plural::many;
use common::proto::directory::{AccountUsage, ClusterStatus, GetStatus, GetUsage};
use common::size::ByteSize;
use serde_json::{Value, json};

use super::args::Status;
use super::context::Context;
use super::exit::Exit;
use super::{Outcome, output};
use crate::names::Shown;

pub(super) async fn run(context: &mut Context, _: Status) -> Outcome {
    let session = context.session().await?;
    let status = session.call_directory(&GetStatus {}).await?;
    let usage = session.call_directory(&GetUsage {}).await?;
    if context.output.is_json() {
        context.output.object(&object(&status, &usage, session.account_name()))?;
        return Ok(Exit::Ok);
    }
    for line in lines(&status, &usage, session.account_name()) {
        context.output.line(line)?;
    }
    Ok(Exit::Ok)
}

/// Text that another program chose, harmless for a terminal.
fn shown(text: &str) -> String {
    Shown(text.as_bytes()).to_string()
}

fn lines(status: &ClusterStatus, usage: &AccountUsage, account: &str) -> Vec<String> {
    let free = status.peers.iter().fold(0_u64, |sum, peer| sum.saturating_add(peer.free));
    let mut lines = vec![
        format!("cluster     {}", status.cluster),
        format!("account     {}", shown(account)),
        format!("redundancy  {}", status.redundancy),
        format!("stored      {}, {}", many(status.chunks, "chunk"), ByteSize(status.sealed_bytes)),
        format!("used        {}", used(usage)),
        format!(
            "history     {}",
            usage.keep.map_or_else(|| "kept until it is pruned".to_owned(), |keep| format!("kept: {keep}"))
        ),
        format!("free        {} on all peers", ByteSize(free)),
        format!("degraded    {}", degraded(status)),
    ];
    if status.pending > 0 {
        lines.push(format!("uploads     {} under way", status.pending));
    }
    if status.peers.is_empty() {
        lines.push("peers       none; add one with: shoal-peer join TICKET --data DIR".to_owned());
        return lines;
    }
    lines.push(String::new());
    let head = ["PEER", "STATE", "ZONE", "USED", "FREE", "SHARDS", "LAST SEEN", "ADDRESS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.peers.iter().map(|peer| {
        let addresses: Vec<&str> = peer.addresses.iter().map(|address| &**address).collect();
        vec![
            if peer.label.is_empty() { peer.peer.short() } else { shown(&peer.label) },
            peer.state.to_string(),
            shown(&peer.zone),
            ByteSize(peer.used).to_string(),
            ByteSize(peer.free).to_string(),
            peer.shards.to_string(),
            peer.last_seen.map_or_else(|| "never".to_owned(), |seen| ago(status, seen)),
            shown(&addresses.join(" ")),
        ]
    }));
    lines.extend(output::table(&rows, &[3, 4, 5]));
    lines
}

fn ago(status: &ClusterStatus, seen: common::time::Timestamp) -> String {
    match status.now.since(seen).as_secs() {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7_199 => format!("{} min ago", seconds / 60),
        seconds => format!("{} h ago", seconds / 3_600),
    }
}

fn degraded(status: &ClusterStatus) -> String {
    match (status.degraded, status.unreadable) {
        (0, 0) => "nothing".to_owned(),
        (degraded, 0) => format!("{} without all shards; all can be read", many(degraded, "chunk")),
        (degraded, unreadable) => {
            let degraded = many(degraded, "chunk");
            format!("{degraded} without all shards; {unreadable} not to be read until a peer returns")
        }
    }
}

/// What the account uses, and of how much.
fn used(usage: &AccountUsage) -> String {
    let of = |most: Option<String>| most.map_or_else(String::new, |most| format!(" of {most}"));
    let bytes = of(usage.quota.bytes.map(|bytes| ByteSize(bytes).to_string()));
    let files = of(usage.quota.files.map(|files| files.to_string()));
    format!("{}{bytes} on peers, {}{files} versions of files", ByteSize(usage.bytes), usage.files)
}

fn object(status: &ClusterStatus, usage: &AccountUsage, account: &str) -> Value {
    let peers: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| {
            json!({
                "peer": peer.peer.to_string(),
                "label": &*peer.label,
                "zone": &*peer.zone,
                "state": peer.state.to_string(),
                "addresses": peer.addresses.iter().map(|address| address.to_string()).collect::<Vec<_>>(),
                "capacity": peer.capacity,
                "used": peer.used,
                "free": peer.free,
                "shards": peer.shards,
                "last_seen": peer.last_seen.map(|seen| seen.to_string()),
            })
        })
        .collect();
    json!({
        "cluster": status.cluster.to_string(),
        "account": account,
        "generation": status.generation,
        "sequence": status.sequence,
        "now": status.now.to_string(),
        "redundancy": status.redundancy.to_string(),
        "chunks": status.chunks,
        "sealed_bytes": status.sealed_bytes,
        "degraded": status.degraded,
        "unreadable": status.unreadable,
        "pending": status.pending,
        "used_bytes": usage.bytes,
        "used_files": usage.files,
        "quota_bytes": usage.quota.bytes,
        "quota_files": usage.quota.files,
        "keep": usage.keep.map(|keep| keep.to_string()),
        "peers": peers,
    })
}

#[cfg(test)]
mod tests {
    use common::bounded::{BoundedText, BoundedVec};
    use common::id::{ClusterId, PeerId};
    use common::map::PeerState;
    use common::proto::directory::PeerStatus;
    use common::redundancy::Redundancy;
    use common::time::Timestamp;

    use super::*;

    fn usage() -> AccountUsage {
        let quota = common::proto::directory::Quota { bytes: Some(1 << 30), files: None };
        AccountUsage { bytes: 15 << 20, files: 7, quota, keep: None }
    }

    fn sample(degraded: u64, unreadable: u64) -> ClusterStatus {
        let peer = PeerStatus {
            peer: PeerId([1; 16]),
            label: BoundedText::try_from("attic\x1b[31m").unwrap(),
            zone: BoundedText::try_from("home").unwrap(),
            state: PeerState::Suspect,
            addresses: BoundedVec::try_from(vec![BoundedText::try_from("10.0.0.7:7401").unwrap()]).unwrap(),
            capacity: 100 << 30,
            used: 3 << 20,
            free: 99 << 30,
            shards: 12,
            trash: 0,
            quarantined: 0,
            last_seen: Some(Timestamp(1_000)),
            draining: false,
            registered: None,
            compared: None,
            missing: 0,
            unknown: 0,
            audited: None,
            audits: 0,
            audits_failed: 0,
            scrubbed: None,
        };
        ClusterStatus {
            cluster: ClusterId([7; 16]),
            generation: 3,
            sequence: 99,
            now: Timestamp(13_000),
            redundancy: Redundancy::DEFAULT,
            peers: BoundedVec::try_from(vec![peer]).unwrap(),
            chunks: 4,
            sealed_bytes: 5 << 20,
            degraded,
            unreadable,
            pending: 0,
            accounts: 1,
            devices: 1,
            upkeep: None,
        }
    }

    #[test]
    fn people_see_a_table_without_control_characters() {
        let text = lines(&sample(2, 1), &usage(), "ann").join("\n");
        assert!(
            text.contains("attic\\x1b[31m  suspect  home  3.0 MiB  99.0 GiB      12  12 s ago   10.0.0.7:7401"),
            "{text}"
        );
        assert!(text.contains("used        15.0 MiB of 1.0 GiB on peers, 7 versions of files"), "{text}");
        assert!(text.contains("2 chunks without all shards; 1 not to be read"), "{text}");
        assert!(lines(&sample(0, 0), &usage(), "ann").join("\n").contains("degraded    nothing"));
    }

    #[test]
    fn programs_see_bytes_and_rfc_3339() {
        let object = object(&sample(0, 0), &usage(), "ann");
        assert_eq!(object["peers"][0]["free"], 99_u64 << 30);
        assert_eq!(object["now"], "1970-01-01T00:00:13Z");
    }
}
