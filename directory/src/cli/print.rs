//! Print: the status, for people and for programs.

use std::fmt::Write as _;

use common::map::PeerState;
use common::plural::many;
use common::proto::directory::{ClusterStatus, PeerStatus, Upkeep};
use common::size::ByteSize;
use serde_json::{Value, json};

/// For people.
pub(super) fn text(status: &ClusterStatus, serving: bool) -> String {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, value: String| {
        writeln!(text, "{name:<12}{value}").ok(); // writing to a string does not fail
    };
    line(&mut text, "cluster", status.cluster.to_string());
    line(&mut text, "serving", if serving { "yes" } else { "no" }.to_owned());
    line(&mut text, "generation", format!("{}, {} commits", status.generation, status.sequence));
    line(&mut text, "redundancy", status.redundancy.to_string());
    line(&mut text, "accounts", format!("{} with {}", status.accounts, many(status.devices, "device")));
    line(&mut text, "chunks", format!("{} of {}", status.chunks, ByteSize(status.sealed_bytes)));
    line(&mut text, "degraded", format!("{}, {} of them unreadable", status.degraded, status.unreadable));
    if let Some(upkeep) = &status.upkeep {
        line(&mut text, "health", health(status, upkeep, serving));
        line(&mut text, "repair", repair(upkeep));
    }
    line(&mut text, "uploads", format!("{} under way", status.pending));
    line(&mut text, "peers", status.peers.len().to_string());
    for peer in &status.peers {
        let addresses: Vec<_> = peer.addresses.iter().map(|address| &**address).collect();
        writeln!(
            text,
            "  {} {:<8} {:>10} used {:>10} free  {} {} {}",
            peer.peer,
            peer.state,
            ByteSize(peer.used),
            ByteSize(peer.free),
            &*peer.label,
            &*peer.zone,
            addresses.join(","),
        )
        .ok();
        writeln!(text, "    {}", verified(peer, status)).ok();
    }
    text.trim_end().to_owned()
}

/// Good is said of what was compared alone, never because nothing waits.
fn health(status: &ClusterStatus, upkeep: &Upkeep, serving: bool) -> String {
    if upkeep.fenced {
        "restored from an old copy: nothing is deleted until `shoal-directory reconcile` was run".to_owned()
    } else if status.unreadable > 0 {
        format!("{} not to be read until a peer returns", many(status.unreadable, "chunk"))
    } else if status.degraded > 0 {
        format!("{} with fewer pieces than there should be", many(status.degraded, "chunk"))
    } else if !serving {
        "not known: the directory does not serve".to_owned()
    } else if upkeep.verified {
        "good: every online peer's inventory was compared, and nothing is missing".to_owned()
    } else {
        "not verified yet: peers are still being compared, or something waits".to_owned()
    }
}

fn repair(upkeep: &Upkeep) -> String {
    let mut text = format!(
        "waiting {}, {} under way, {} made",
        many(upkeep.waiting, "chunk"),
        upkeep.under_way,
        many(upkeep.made, "piece")
    );
    if upkeep.rate > 0 {
        write!(text, ", {}/s", ByteSize(upkeep.rate)).ok();
    }
    if let Some(seconds) = upkeep.to_go_s {
        write!(text, ", about {} to go", humantime::format_duration(std::time::Duration::from_secs(seconds))).ok();
    }
    if upkeep.failed > 0 {
        write!(text, ", {} failed", many(upkeep.failed, "order")).ok();
    }
    if upkeep.collected + upkeep.dropped > 0 {
        let (collected, dropped) = (many(upkeep.collected, "chunk"), many(upkeep.dropped, "piece"));
        write!(text, "; {collected} collected, {dropped} dropped").ok();
    }
    text
}

/// When a peer was last verified, and what was found.
fn verified(peer: &PeerStatus, status: &ClusterStatus) -> String {
    let at = |time: Option<common::time::Timestamp>| time.map_or("never".to_owned(), |time| time.to_string());
    let mut text =
        format!("compared {}, audited {}, scrubbed {}", at(peer.compared), at(peer.audited), at(peer.scrubbed));
    if peer.missing + peer.unknown > 0 {
        write!(text, "; {} missing, {} unknown", many(peer.missing, "piece"), peer.unknown).ok();
    }
    if peer.audits_failed > 0 {
        write!(text, "; {} of {} audits failed", peer.audits_failed, peer.audits).ok();
    }
    if peer.quarantined > 0 {
        write!(text, "; {} put aside", many(peer.quarantined, "damaged piece")).ok();
    }
    if peer.draining {
        let left = peer.registered.unwrap_or_default();
        write!(text, "; being emptied, {} left", many(left, "piece")).ok();
        if let Some(why) = why_stuck(peer, status) {
            write!(text, ": {why}").ok();
        }
    }
    text
}

/// Why the emptying of a peer does not go on, where it does not.
pub(super) fn why_stuck(peer: &PeerStatus, status: &ClusterStatus) -> Option<String> {
    let upkeep = status.upkeep?;
    if upkeep.waiting > 0 || upkeep.under_way > 0 || peer.registered.unwrap_or_default() == 0 {
        return None;
    }
    let takes = |other: &&PeerStatus| other.state == PeerState::Online && !other.draining && other.free > 0;
    let others = status.peers.iter().filter(takes).count() as u64;
    Some(format!(
        "waits, since no other peer can take them. A chunk's pieces lie on different peers, and only {} online with room: add a peer \
         (shoal-directory ticket peer), or take it back (shoal-directory peer undrain)",
        match others {
            1 => "1 other is".to_owned(),
            others => format!("{others} others are"),
        }
    ))
}

/// For programs: bytes as numbers, times as RFC 3339.
pub(super) fn json(status: &ClusterStatus, serving: bool) -> String {
    let peers: Vec<Value> = status
        .peers
        .iter()
        .map(|peer| {
            json!({
                "peer": peer.peer.to_string(),
                "label": &*peer.label,
                "zone": &*peer.zone,
                "state": peer.state.to_string(),
                "addresses": peer.addresses.iter().map(|address| &**address).collect::<Vec<_>>(),
                "capacity": peer.capacity,
                "used": peer.used,
                "free": peer.free,
                "shards": peer.shards,
                "last_seen": peer.last_seen.map(|at| at.to_string()),
                "trash": peer.trash,
                "quarantined": peer.quarantined,
                "draining": peer.draining,
                "registered": peer.registered,
                "compared": peer.compared.map(|at| at.to_string()),
                "missing": peer.missing,
                "unknown": peer.unknown,
                "audited": peer.audited.map(|at| at.to_string()),
                "audits": peer.audits,
                "audits_failed": peer.audits_failed,
                "scrubbed": peer.scrubbed.map(|at| at.to_string()),
            })
        })
        .collect();
    json!({
        "cluster": status.cluster.to_string(),
        "serving": serving,
        "generation": status.generation,
        "sequence": status.sequence,
        "now": status.now.to_string(),
        "redundancy": status.redundancy.to_string(),
        "accounts": status.accounts,
        "devices": status.devices,
        "chunks": status.chunks,
        "sealed_bytes": status.sealed_bytes,
        "degraded": status.degraded,
        "unreadable": status.unreadable,
        "uploads": status.pending,
        "upkeep": status.upkeep.map(|upkeep| json!({
            "waiting": upkeep.waiting,
            "under_way": upkeep.under_way,
            "made": upkeep.made,
            "made_bytes": upkeep.made_bytes,
            "failed": upkeep.failed,
            "rate": upkeep.rate,
            "to_go_s": upkeep.to_go_s,
            "collected": upkeep.collected,
            "dropped": upkeep.dropped,
            "verified": upkeep.verified,
            "fenced": upkeep.fenced,
        })),
        "peers": peers,
    })
    .to_string()
}
