//! A peer that is slow or falls silent in the middle of a transfer does not hold it up: others take over what it was offered, or give what it was
//! asked for. Where all are slow nothing goes over the wire twice.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tests::harness::process::eventually;
use tests::harness::{Cluster, ClusterOptions, Conditions, Direction, content};

use crate::support::{cluster, json, shoal, text};

const MBIT: u64 = 1_000_000;
const SIZE: u64 = 60 << 20;
/// A silent peer is noticed by QUIC after 7 seconds. Anything clearly below shows that it was not waited for.
const GRACE: Duration = Duration::from_secs(4);
/// What the client says, with debugging, of a shard that it offers twice.
const HEDGED: &str = "offered to the next";

fn line(mbit: u64) -> Conditions {
    Conditions::both(Direction { rate: Some(mbit * MBIT), ..Direction::default() })
}

/// Four peers for three shards, each behind a line of its own; the third in rendezvous order is as good as any.
fn four_peers(mbit: u64) -> (Cluster, PathBuf) {
    let (cluster, work) =
        cluster(ClusterOptions { peers: 4, relays: Some(Conditions::default()), ..ClusterOptions::default() });
    cluster.relays.iter().skip(1).for_each(|relay| relay.set(line(mbit)));
    (cluster, work)
}

/// Puts a new file, disturbs once a peer has got some of it, and says how long it took and what the client logged.
fn put(cluster: &Cluster, work: &std::path::Path, seed: u64, size: u64, disturb: impl FnOnce()) -> (Duration, String) {
    const PEER: usize = 2;
    let source = work.join(format!("source{seed}"));
    content::make_file(&source, seed, size).unwrap();
    let relay = cluster.relays.get(PEER).unwrap();
    let before = relay.counts().bytes[0];
    let since = Instant::now();
    let mut command = cluster.shoal_command("device", ["put", text(&source), &format!("/file{seed}")]).unwrap();
    let child = command
        .env("SHOAL_LOG", "client=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the put is under way", Duration::from_secs(20), || relay.counts().bytes[0] > before + size / 20)
        .unwrap();
    disturb();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    (since.elapsed(), said)
}

fn whole(cluster: &Cluster, work: &std::path::Path, seed: u64) {
    assert_eq!(json(cluster, &["status"])["degraded"], 0, "a chunk has fewer than three shards");
    let back = work.join(format!("back{seed}"));
    shoal(cluster, 0, &["get", &format!("/file{seed}"), text(&back)]);
    content::compare(&work.join(format!("source{seed}")), &back).unwrap();
}

#[test]
fn a_peer_that_falls_silent_in_the_middle_of_a_put_is_not_waited_for() {
    let (mut cluster, work) = four_peers(200);
    let (alone, _) = put(&cluster, &work, 1, SIZE, || ());
    let silent = cluster.relays.get(2).unwrap();
    let (took, said) = put(&cluster, &work, 2, SIZE, || silent.set(line(200).stalled()));
    eprintln!("put of {} MiB: {alone:.1?}, with a peer that falls silent {took:.1?}", SIZE >> 20);
    assert!(said.contains(HEDGED), "{said}");
    assert!(took < alone + GRACE, "{took:?} instead of {alone:?}: {said}");
    // It is back, and has what was registered of it.
    silent.set(Conditions::default());
    whole(&cluster, &work, 2);
    cluster.stop().unwrap();
}

#[test]
fn a_peer_on_a_thin_line_does_not_set_the_pace_of_a_put() {
    let (mut cluster, work) = four_peers(200);
    let (alone, _) = put(&cluster, &work, 3, SIZE, || ());
    let thin = cluster.relays.get(2).unwrap();
    let (took, said) = put(&cluster, &work, 4, SIZE, || thin.set(line(2)));
    eprintln!("put of {} MiB: {alone:.1?}, with a peer at 2 Mbit/s {took:.1?}", SIZE >> 20);
    assert!(said.contains(HEDGED), "{said}");
    assert!(took < alone + GRACE, "{took:?} instead of {alone:?}: {said}");
    thin.set(Conditions::default());
    whole(&cluster, &work, 4);
    cluster.stop().unwrap();
}

/// Gets a file and compares it: how long that took, and the bytes received for each of the file.
fn get(cluster: &Cluster, work: &std::path::Path, seed: u64) -> (Duration, f64) {
    let (source, back) = (work.join(format!("source{seed}")), work.join(format!("got{seed}")));
    let since = Instant::now();
    let answer = shoal(cluster, 0, &["--json", "get", &format!("/file{seed}"), text(&back)]);
    let took = since.elapsed();
    content::compare(&source, &back).unwrap();
    let last: serde_json::Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    let size = u32::try_from(std::fs::metadata(&source).unwrap().len()).unwrap();
    std::fs::remove_file(back).unwrap();
    (took, last["wire"]["received_bytes"].as_f64().unwrap() / f64::from(size))
}

#[test]
fn a_get_over_narrow_lines_asks_for_nothing_twice_and_one_with_a_slow_peer_does_not_wait_for_it() {
    let (mut cluster, work) = four_peers(200);
    put(&cluster, &work, 6, SIZE / 2, || ());
    // Each run is there after several seconds. What it costs beyond the file is headers.
    cluster.relays.iter().skip(1).for_each(|relay| relay.set(line(10)));
    let (narrow, received) = get(&cluster, &work, 6);
    assert!(received < 1.15, "{received} times the file came over the wire");
    // What one peer keeps, each chunk has with two others.
    cluster.relays.iter().skip(1).for_each(|relay| relay.set(line(200)));
    cluster.relays.get(2).unwrap().set(line(1));
    let (slow, received) = get(&cluster, &work, 6);
    eprintln!("get of {} MiB: over 10 Mbit/s each {narrow:.1?}, with a peer at 1 Mbit/s {slow:.1?}", SIZE >> 21);
    assert!(received < 1.7, "{received} times the file came over the wire");
    // A quarter of it would take a minute on that line.
    assert!(slow < Duration::from_secs(20), "{slow:?}");
    cluster.stop().unwrap();
}

#[test]
fn where_all_peers_are_slow_nothing_is_sent_twice() {
    let (mut cluster, work) = four_peers(30);
    let (took, said) = put(&cluster, &work, 5, 16 << 20, || ());
    eprintln!("put of 16 MiB over four lines of 30 Mbit/s: {took:.1?}");
    assert!(!said.contains(HEDGED), "{said}");
    whole(&cluster, &work, 5);
    cluster.stop().unwrap();
}
