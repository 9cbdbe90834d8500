//! Print: the status, for people and for programs.

use std::fmt::Write as _;

use common::proto::directory::ClusterStatus;
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
    line(&mut text, "accounts", format!("{} with {} devices", status.accounts, status.devices));
    line(&mut text, "chunks", format!("{} of {}", status.chunks, ByteSize(status.sealed_bytes)));
    line(&mut text, "degraded", format!("{}, {} of them unreadable", status.degraded, status.unreadable));
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
    }
    text.trim_end().to_owned()
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
        "peers": peers,
    })
    .to_string()
}
