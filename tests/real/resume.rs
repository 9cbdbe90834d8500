//! Resume: after kill -9 or Ctrl-C the same put sends only what is missing, and the same get fetches only that; measured in bytes.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use client::up::CHUNKS_IN_FLIGHT;
use common::limits::CHUNK_BYTES;
use rustix::process::Signal;
use serde_json::Value;
use tests::harness::process::{eventually, run, signal_to};
use tests::harness::{Answer, Cluster, ClusterOptions, content};

use crate::support::{cluster, file, shoal, text};

const SIZE: u64 = 256 << 20;
/// Beside content: manifests, headers of packets, acknowledgements.
const OVERHEAD: u64 = 4 << 20;

fn one_peer() -> (Cluster, PathBuf) {
    cluster(ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() })
}

fn start(cluster: &Cluster, line: &[&str]) -> Child {
    let mut command = cluster.shoal_command("device", line).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What the peer has on its disk.
fn stored(cluster: &Cluster) -> u64 {
    let data = cluster.peer_data(0);
    let status = tests::harness::process::command("shoal-peer", ["status", "--json", "--data", text(&data)]).unwrap();
    let answer = run(status, None).unwrap().expect(0).unwrap();
    serde_json::from_slice::<Value>(&answer.stdout).unwrap()["used_bytes"].as_u64().unwrap()
}

fn last(answer: &Answer) -> Value {
    serde_json::from_str(answer.text().lines().last().unwrap()).unwrap()
}

fn sent(answer: &Answer) -> u64 {
    let lines = answer.text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["sent"].as_u64()).sum()
}

/// Ends a put in the middle with a signal; how many bytes of what the peer had then were sent once more by the next one.
fn put_again_after(signal: Signal) -> (u64, u64) {
    let (cluster, work) = one_peer();
    let source = work.join("source");
    content::make_file(&source, 1, SIZE).unwrap();
    let child = start(&cluster, &["put", text(&source), "/file"]);
    eventually("it is under way", Duration::from_secs(60), || stored(&cluster) > SIZE / 3).unwrap();
    signal_to(child.id(), signal).unwrap();
    child.wait_with_output().unwrap();
    let there = stored(&cluster);
    assert!(there < SIZE, "it was too quick to be interrupted");
    let again = sent(&shoal(&cluster, 0, &["--json", "put", text(&source), "/file"]));
    println!("{signal:?}: {there} bytes were stored, {again} of {SIZE} were sent by the next put");
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "/file", text(&back)]);
    content::compare(&source, &back).unwrap();
    ((there + again).saturating_sub(SIZE), there)
}

/// What was stored and not registered yet, or under way.
const LOST: u64 = (CHUNKS_IN_FLIGHT * CHUNK_BYTES) as u64;

#[test]
fn a_put_that_was_killed_sends_only_what_was_not_registered() {
    let (twice, there) = put_again_after(Signal::KILL);
    assert!(twice <= LOST.min(there) + OVERHEAD, "{twice} bytes were sent twice");
}

#[test]
fn a_put_that_was_stopped_sends_only_what_was_not_registered_though_its_upload_was_abandoned() {
    let (twice, there) = put_again_after(Signal::INT);
    assert!(twice <= LOST.min(there) + OVERHEAD, "{twice} bytes were sent twice");
}

#[test]
fn a_tree_that_was_stored_once_is_not_sent_again() {
    let (cluster, work) = one_peer();
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    file(&tree, "large", 1, 5_000_000);
    for number in 0..600 {
        file(&tree, &format!("small{number:03}"), number, 3_000);
    }
    let first = sent(&shoal(&cluster, 0, &["--json", "put", "-r", text(&tree), "/"]));
    assert!(first > 6_000_000, "{first}");
    let line = ["--json", "sync", text(&tree), "shoal:/tree"];
    let again = shoal(&cluster, 0, &line);
    assert_eq!(sent(&again), 0, "{}", again.text());
}

fn partials(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "part")).collect()
}

/// Begins a get and ends it in the middle with a signal; what it has left.
fn interrupted_get(cluster: &Cluster, target: &Path, signal: Signal) -> u64 {
    let child = start(cluster, &["get", "/file", text(target)]);
    let folder = target.parent().unwrap();
    let length = || partials(folder).first().map_or(0, |path| fs::metadata(path).map_or(0, |meta| meta.len()));
    eventually("it is under way", Duration::from_secs(60), || length() > SIZE / 4).unwrap();
    signal_to(child.id(), signal).unwrap();
    child.wait_with_output().unwrap();
    let left = length();
    assert!(left > 0 && !target.exists(), "it was too quick to be interrupted");
    left
}

#[test]
fn a_get_that_was_interrupted_fetches_only_what_is_missing_and_believes_nothing_unseen() {
    let (cluster, work) = one_peer();
    let source = work.join("source");
    content::make_file(&source, 2, SIZE).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let folder = work.join("target");
    fs::create_dir(&folder).unwrap();
    let target = folder.join("file");
    let chunk = CHUNK_BYTES as u64;
    for (signal, damage) in [(Signal::KILL, None), (Signal::INT, None), (Signal::KILL, Some(5_000_000))] {
        let left = interrupted_get(&cluster, &target, signal);
        // Somebody wrote into what was left; one run has to be fetched once more.
        let found = partials(&folder);
        assert_eq!(found.len(), 1);
        if let Some(at) = damage {
            fs::File::options().write(true).open(&found[0]).unwrap().write_all_at(b"wrong", at).unwrap();
        }
        let answer = shoal(&cluster, 0, &["--json", "get", "/file", text(&target)]);
        let received = last(&answer)["wire"]["received_bytes"].as_u64().unwrap();
        let bound = SIZE - left + chunk + damage.map_or(0, |_| chunk) + OVERHEAD + SIZE / 50;
        println!("{signal:?}, damage {damage:?}: {left} bytes were left, {received} of {SIZE} were received");
        assert!(received <= bound, "{received} bytes for {} missing", SIZE - left);
        content::compare(&source, &target).unwrap();
        assert_eq!(Cluster::names_in(&folder).unwrap(), ["file"]);
        // Once more: it is there, and nothing is fetched.
        let answer = shoal(&cluster, 0, &["--json", "get", "/file", text(&target)]);
        assert!(last(&answer)["wire"]["received_bytes"].as_u64().unwrap() < 1 << 20, "{}", answer.text());
        fs::remove_file(&target).unwrap();
    }

    // What is left of another version is of no use, and goes.
    interrupted_get(&cluster, &target, Signal::KILL);
    content::make_file(&source, 3, 20 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    shoal(&cluster, 0, &["get", "/file", text(&target)]);
    content::compare(&source, &target).unwrap();
    assert_eq!(Cluster::names_in(&folder).unwrap(), ["file"]);
}

#[test]
fn a_tree_that_is_fetched_again_fetches_what_is_missing_or_wrong() {
    let (cluster, work) = one_peer();
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    file(&tree, "large", 1, 9_000_000);
    for number in 0..100 {
        file(&tree, &format!("small{number}"), number, 30_000);
    }
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/"]);
    let back = work.join("back");
    let received = || {
        let answer = shoal(&cluster, 0, &["--json", "get", "-r", "/tree/", text(&back)]);
        last(&answer)["wire"]["received_bytes"].as_u64().unwrap()
    };
    fs::create_dir(&back).unwrap();
    assert!(received() > 12_000_000);
    let back = back.join("tree");
    fs::remove_file(back.join("small7")).unwrap();
    // The same size and time, and wrong all the same.
    let time = fs::metadata(back.join("small8")).unwrap().modified().unwrap();
    fs::write(back.join("small8"), vec![0; 30_000]).unwrap();
    fs::File::options().write(true).open(back.join("small8")).unwrap().set_modified(time).unwrap();
    let again = received();
    assert!(again < 1_000_000, "{again}");
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&back).unwrap());
}
