//! Peers and the directory come and go: nothing is lost, and the user hears only what matters.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tests::harness::process::eventually;
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, shoal, text, three_peers};

/// Bytes that a cluster's peers hold, about: enough to see that an upload is under way.
fn stored(cluster: &Cluster) -> u64 {
    (0..cluster.peers.len())
        .flat_map(|number| content::all_bytes(&cluster.peer_data(number)).unwrap_or_default())
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

/// Starts a command, does something once `ready` says so, and waits for the command's end.
fn during(
    cluster: &mut Cluster,
    arguments: &[&str],
    ready: impl Fn(&Cluster) -> bool,
    disturb: impl FnOnce(&mut Cluster),
) -> (Option<i32>, String) {
    let mut command = cluster.shoal_command("device", arguments).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the command is under way", Duration::from_secs(20), || ready(cluster)).unwrap();
    disturb(cluster);
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_peer_that_dies_in_the_middle_of_a_put_is_replaced() {
    let (mut cluster, work) = cluster(ClusterOptions { peers: 4, ..ClusterOptions::default() });
    let source = work.join("source");
    content::make_file(&source, 1, 200 << 20).unwrap();
    let (code, said) = during(
        &mut cluster,
        &["put", text(&source), "/file"],
        |cluster| stored(cluster) > 20 << 20,
        |cluster| cluster.kill_peer(2).unwrap(),
    );
    assert_eq!(code, Some(0), "{said}");
    read_back(&cluster, &work, &source);
}

fn read_back(cluster: &Cluster, work: &Path, source: &Path) {
    let back = work.join("back");
    let answer = shoal(cluster, 0, &["get", "/file", text(&back)]);
    assert!(!answer.stderr.to_lowercase().contains("error"), "{}", answer.stderr);
    content::compare(source, &back).unwrap();
}

#[test]
fn with_fewer_peers_a_put_goes_on_while_enough_are_left_and_says_so() {
    let (mut cluster, work) = three_peers();
    let source = file(&work, "source", 2, 5_000_000);
    cluster.kill_peer(0).unwrap();
    let put = shoal(&cluster, 0, &["put", text(&source), "/file"]);
    assert!(put.stderr.contains("repair") || put.stderr.contains("fewer"), "it did not say so: {}", put.stderr);
    assert!(json(&cluster, &["status"])["degraded"].as_u64().unwrap() > 0);
    read_back(&cluster, &work, &source);

    cluster.kill_peer(1).unwrap();
    let other = file(&work, "other", 3, 5_000_000);
    let refused = shoal(&cluster, 13, &["put", text(&other), "/other"]);
    assert!(refused.stderr.contains("2 are needed"), "{}", refused.stderr);
    shoal(&cluster, 1, &["stat", "/other"]);
    // One peer is left, and that is enough to read.
    read_back(&cluster, &work, &source);
}

#[test]
fn a_get_survives_the_loss_of_all_but_k_peers_in_its_middle() {
    let (mut cluster, work) = three_peers();
    let source = work.join("source");
    content::make_file(&source, 4, 200 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let back = work.join("back");
    let begun = work.clone();
    let (code, said) = during(
        &mut cluster,
        &["get", "/file", text(&back)],
        move |_| Cluster::names_in(&begun).unwrap().iter().any(|name| name.contains(".shoal-")),
        |cluster| {
            cluster.kill_peer(0).unwrap();
            cluster.kill_peer(1).unwrap();
        },
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.to_lowercase().contains("error"), "{said}");
    content::compare(&source, &back).unwrap();
}

#[test]
fn a_directory_that_restarts_in_the_middle_of_a_put_is_waited_for() {
    let (mut cluster, work) = three_peers();
    let source = work.join("source");
    content::make_file(&source, 5, 200 << 20).unwrap();
    let (code, said) = during(
        &mut cluster,
        &["put", text(&source), "/file"],
        |cluster| stored(cluster) > 20 << 20,
        |cluster| {
            cluster.directory.as_mut().unwrap().kill().unwrap();
            cluster.serve_directory().unwrap();
        },
    );
    assert_eq!(code, Some(0), "{said}");
    read_back(&cluster, &work, &source);
}

#[test]
fn peers_come_back_by_themselves_also_at_another_address() {
    let (mut cluster, work) = three_peers();
    let source = file(&work, "source", 6, 5_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let before: Vec<String> = cluster.peers.iter().flatten().map(|peer| peer.address.clone()).collect();
    for number in 0..3 {
        cluster.kill_peer(number).unwrap();
    }
    for number in 0..3 {
        cluster.serve_peer(number).unwrap(); // `:0`: another port
    }
    let after: Vec<String> = cluster.peers.iter().flatten().map(|peer| peer.address.clone()).collect();
    assert_ne!(before, after);
    cluster.wait_online(3).unwrap();
    read_back(&cluster, &work, &source);

    cluster.directory.as_mut().unwrap().kill().unwrap();
    cluster.serve_directory().unwrap();
    cluster.wait_online(3).unwrap();
    read_back(&cluster, &work, &source);
}

#[test]
fn the_directory_knows_who_is_suspect_and_who_is_dead() {
    let (mut cluster, work) = three_peers();
    let source = file(&work, "source", 7, 1_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    cluster.kill_peer(1).unwrap();
    eventually("it is suspect", Duration::from_secs(5), || cluster.count_peers("suspect") == 1).unwrap();
    eventually("it is dead", Duration::from_secs(10), || cluster.count_peers("dead") == 1).unwrap();
    let status = json(&cluster, &["status"]);
    assert_eq!(status["degraded"], 1, "{status}");
    cluster.serve_peer(1).unwrap();
    cluster.wait_online(3).unwrap();
    assert_eq!(json(&cluster, &["status"])["degraded"], 0);
    // One that ends in good order says so, and is not waited for.
    let mut leaving = cluster.peers[2].take().unwrap();
    leaving.stop(rustix::process::Signal::TERM, Duration::from_secs(5)).unwrap();
    eventually("it is suspect at once", Duration::from_millis(900), || cluster.count_peers("suspect") == 1).unwrap();
}

#[test]
fn damaged_shards_are_passed_over() {
    let (mut cluster, work) = three_peers();
    let source = file(&work, "source", 8, 6_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    for number in 0..2 {
        let mut peer = cluster.peers[number].take().unwrap();
        peer.stop(rustix::process::Signal::TERM, Duration::from_secs(5)).unwrap();
        for (path, mut bytes) in content::all_bytes(&cluster.peer_data(number)).unwrap() {
            if path.extension().is_some_and(|extension| extension == "seg") {
                // One bit in the middle of each shard's body.
                for at in (600_000..bytes.len()).step_by(500_000) {
                    bytes[at] ^= 1;
                }
                fs::write(&path, bytes).unwrap();
            }
        }
        cluster.serve_peer(number).unwrap();
    }
    cluster.wait_online(3).unwrap();
    read_back(&cluster, &work, &source);
}
