//! `--fanout chain`: one copy leaves the device and the peers pass it on, with the same outcome as if the device had sent them all.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::harness::process::eventually;
use tests::harness::{Cluster, ClusterOptions, Conditions, Direction, content};

use crate::support::{cluster, file, json, shoal, text, three_peers};

const SIZE: u64 = 32 << 20;

/// What a put said last.
fn put(cluster: &Cluster, source: &Path, remote: &str, more: &[&str]) -> Value {
    let line = [&["--json", "put", text(source), remote], more].concat();
    let answer = shoal(cluster, 0, &line);
    serde_json::from_str(answer.text().lines().last().unwrap()).unwrap()
}

/// How often the content left the device.
fn copies(end: &Value) -> f64 {
    end["wire"]["sent_bytes"].as_f64().unwrap() / f64::from(u32::try_from(SIZE).unwrap())
}

fn degraded(cluster: &Cluster) -> u64 {
    json(cluster, &["status"])["degraded"].as_u64().unwrap()
}

fn same(cluster: &Cluster, work: &Path, source: &Path, remote: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", remote, text(&back)]);
    content::compare(source, &back).unwrap();
    std::fs::remove_file(back).unwrap();
}

#[test]
fn along_a_chain_one_copy_leaves_the_device_and_every_peer_has_its_own() {
    let (mut cluster, work) = three_peers();
    let (source, other) = (work.join("source"), work.join("other"));
    content::make_file(&source, 1, SIZE).unwrap();
    content::make_file(&other, 2, SIZE).unwrap();
    let chain = copies(&put(&cluster, &source, "/chain", &["--fanout", "chain"]));
    let star = copies(&put(&cluster, &other, "/star", &["--fanout", "star"]));
    eprintln!("copies that left the device: {chain:.2} along a chain, {star:.2} as a star");
    assert!((1.0..1.3).contains(&chain) && star > 2.9, "{chain} {star}");
    assert_eq!(degraded(&cluster), 0);

    // What is there is not stored again, and small files go the same way.
    let small = file(&work, "small", 3, 5_000);
    put(&cluster, &small, "/small", &["--fanout", "chain"]);
    assert!(copies(&put(&cluster, &source, "/again", &["--fanout", "chain"])) < 0.05);

    // Any one of the three has everything.
    cluster.kill_peer(0).unwrap();
    cluster.kill_peer(2).unwrap();
    same(&cluster, &work, &source, "/chain");
    same(&cluster, &work, &small, "/small");
    cluster.stop().unwrap();
}

#[test]
fn shards_that_differ_are_sent_by_the_device_whatever_the_fanout() {
    let (mut cluster, work) = three_peers();
    let source = work.join("source");
    content::make_file(&source, 4, SIZE).unwrap();
    let sent = copies(&put(&cluster, &source, "/file", &["--fanout", "chain", "--redundancy", "2/3"]));
    assert!((1.5..1.8).contains(&sent), "{sent}");
    assert_eq!(degraded(&cluster), 0);
    cluster.kill_peer(1).unwrap();
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

/// Chunks begin at each of the peers, so the one that is killed is first, in the middle and last.
fn killed_meanwhile(peers: usize, seed: u64) -> (Cluster, String) {
    let line = Conditions::both(Direction { rate: Some(200_000_000), ..Direction::default() });
    // A full line makes heartbeats wait: the living are not to be taken for dead.
    let serve = ["--heartbeat", "200ms", "--suspect-after", "4s", "--dead-after", "12s"].map(str::to_owned).to_vec();
    let (mut cluster, work) = cluster(ClusterOptions { peers, serve, relays: Some(line), ..ClusterOptions::default() });
    let source = work.join("source");
    content::make_file(&source, seed, 2 * SIZE).unwrap();
    let mut command = cluster.shoal_command("device", ["put", text(&source), "/file", "--fanout", "chain"]).unwrap();
    let child = command
        .env("SHOAL_LOG", "client=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let relay = cluster.relays.get(2).unwrap();
    eventually("the put is under way", Duration::from_secs(20), || relay.counts().bytes[0] > SIZE / 5).unwrap();
    cluster.kill_peer(1).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    same(&cluster, &work, &source, "/file");
    (cluster, said)
}

#[test]
fn a_peer_of_the_chain_that_dies_is_replaced_where_there_is_another() {
    let (mut cluster, said) = killed_meanwhile(4, 5);
    assert_eq!(degraded(&cluster), 0, "{said}");
    cluster.stop().unwrap();
}

#[test]
fn a_peer_of_the_chain_that_dies_leaves_fewer_copies_where_there_is_none_and_that_is_said() {
    let (mut cluster, said) = killed_meanwhile(3, 6);
    assert!(said.contains("fewer shards"), "{said}");
    assert!(degraded(&cluster) > 2, "{said}");
    cluster.stop().unwrap();
}

#[test]
fn a_peer_on_a_thin_line_does_not_hold_up_a_chain_for_long() {
    let line = |mbit: u64| Conditions::both(Direction { rate: Some(mbit * 1_000_000), ..Direction::default() });
    let (mut cluster, work) =
        cluster(ClusterOptions { peers: 4, relays: Some(line(200)), ..ClusterOptions::default() });
    cluster.relays.get(2).unwrap().set(line(2));
    let source = work.join("source");
    content::make_file(&source, 7, 2 * SIZE).unwrap();
    let since = Instant::now();
    let end = put(&cluster, &source, "/file", &["--fanout", "chain"]);
    let took = since.elapsed();
    eprintln!("a chain with a peer at 2 Mbit/s: {took:.1?}, {:.2} copies sent", copies(&end) / 2.0);
    // Its share at its own speed would take two minutes.
    assert!(took < Duration::from_secs(45), "{took:?}");
    cluster.relays.get(2).unwrap().set(line(200));
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}
