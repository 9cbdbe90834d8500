//! What is lost is made anew from peer to peer, what is nobody's goes, and nothing else does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, shoal, text};

/// Dead after 2 s, repaired 1 s later, compared whenever something changes, and also so often that copies which a hurried client has left
/// with a third peer do not stay for an hour.
const SERVE: [&str; 12] = [
    "--heartbeat",
    "200ms",
    "--suspect-after",
    "800ms",
    "--dead-after",
    "2s",
    "--repair-rate",
    "off",
    "--audit-every",
    "200ms",
    "--compare-every",
    "10s",
];
const SOON: Duration = Duration::from_secs(60);

fn repairing(peers: usize, repair_after: &str) -> (Cluster, PathBuf) {
    let serve = SERVE.iter().chain(&["--repair-after", repair_after]).map(|text| (*text).to_owned()).collect();
    cluster(ClusterOptions { peers, serve, ..ClusterOptions::default() })
}

fn status(cluster: &Cluster) -> Value {
    cluster.status().unwrap()
}

/// Whether everything is there, and was looked at.
fn is_whole(status: &Value) -> bool {
    status["degraded"] == 0 && status["upkeep"]["verified"] == true
}

/// The same, when every chunk has exactly so many shards and all peers have said so.
fn has_each(status: &Value, shards: u64) -> bool {
    is_whole(status) && sum(status, "shards") == shards * status["chunks"].as_u64().unwrap()
}

fn wait_for(cluster: &Cluster, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let waited = eventually(what, SOON, || {
        last = status(cluster);
        is_so(&last)
    });
    if let Err(error) = waited {
        panic!("{error:#}: {last:#}\n{}", cluster.directory.as_ref().unwrap().read_log());
    }
    last
}

/// What a put in a hurry has left elsewhere than it belongs was moved, and its other copies are gone.
fn at_rest(cluster: &Cluster) -> Value {
    let (mut last, mut since) = ([None; 2], Instant::now());
    wait_for(cluster, "nothing moves any more", |status| {
        let now = [&status["upkeep"]["made"], &status["upkeep"]["dropped"]].map(Value::as_u64);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        has_each(status, 3) && since.elapsed() > Duration::from_secs(2)
    })
}

fn sum(status: &Value, field: &str) -> u64 {
    status["peers"].as_array().unwrap().iter().map(|peer| peer[field].as_u64().unwrap_or(0)).sum()
}

fn same(cluster: &Cluster, work: &Path, source: &Path, path: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", path, text(&back)]);
    content::compare(source, &back).unwrap();
    fs::remove_file(back).unwrap();
}

fn peer_id(cluster: &Cluster, number: usize) -> String {
    let text = fs::read_to_string(cluster.peer_data(number).join("peer.toml")).unwrap();
    let line = text.lines().find(|line| line.starts_with("peer")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// A command of the directory beside the serving one; what it said.
fn govern(cluster: &Cluster, code: i32, arguments: &[&str]) -> String {
    let command = cluster.directory_program(arguments).unwrap();
    let answer = run(command, None).unwrap().expect(code).unwrap();
    format!("{}{}", answer.text(), answer.stderr)
}

#[test]
fn what_lost_peers_held_is_made_anew_whatever_the_redundancy() {
    let (mut cluster, work) = repairing(6, "1s");
    let source = work.join("source");
    content::make_file(&source, 1, 24 << 20).unwrap();
    let small = file(&work, "small", 2, 5_000);
    shoal(&cluster, 0, &["put", text(&source), "/copies"]);
    shoal(&cluster, 0, &["put", text(&source), "/code", "--redundancy", "2/4"]);
    shoal(&cluster, 0, &["put", text(&small), "/small", "--redundancy", "3/4"]);
    wait_for(&cluster, "all is verified", is_whole);
    // Two losses, one after the other, each repaired by those that are left: then two more at once.
    for number in [0, 1] {
        cluster.kill_peer(number).unwrap();
        wait_for(&cluster, "the peer is dead", |status| status["degraded"].as_u64() > Some(0));
        let whole = wait_for(&cluster, "all is made anew", is_whole);
        assert!(whole["upkeep"]["made"].as_u64() > Some(0), "{whole}");
    }
    cluster.kill_peer(2).unwrap();
    for (from, path) in [(&source, "/copies"), (&source, "/code"), (&small, "/small")] {
        same(&cluster, &work, from, path);
    }
    cluster.stop().unwrap();
}

#[test]
fn a_peer_that_comes_back_is_taken_back_and_what_is_too_many_goes() {
    let (mut cluster, work) = repairing(4, "1s");
    let source = work.join("source");
    content::make_file(&source, 3, 24 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    wait_for(&cluster, "all is verified", |status| has_each(status, 3));
    cluster.kill_peer(0).unwrap();
    wait_for(&cluster, "the peer is dead", |status| status["degraded"].as_u64() > Some(0));
    wait_for(&cluster, "all is made anew", is_whole);
    cluster.serve_peer(0).unwrap();
    let after = wait_for(&cluster, "there are three of each again", |status| {
        has_each(status, 3) && status["upkeep"]["dropped"].as_u64() > Some(0)
    });
    assert!(sum(&after, "trash") > 0, "what was dropped is kept for a while: {after}");
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

#[test]
fn a_peer_that_comes_and_goes_starts_no_storm() {
    let (mut cluster, work) = repairing(4, "60s");
    let source = file(&work, "source", 4, 9_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let before = at_rest(&cluster);
    for _ in 0..3 {
        cluster.kill_peer(0).unwrap();
        wait_for(&cluster, "it is dead", |status| status["peers"].to_string().contains("dead"));
        cluster.serve_peer(0).unwrap();
        wait_for(&cluster, "it is back", is_whole);
    }
    let after = status(&cluster);
    for what in ["made", "dropped"] {
        assert_eq!(after["upkeep"][what], before["upkeep"][what], "a chunk that can spare a copy waits: {after}");
    }
    cluster.stop().unwrap();
}

#[test]
fn what_a_peer_lost_from_its_disk_is_found_by_comparing_and_made_anew() {
    let (mut cluster, work) = repairing(4, "1s");
    let source = work.join("source");
    content::make_file(&source, 5, 24 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    wait_for(&cluster, "all is verified", is_whole);
    // Back before anybody misses it.
    cluster.kill_peer(1).unwrap();
    for folder in ["store/segments", "store/hints"] {
        for name in Cluster::names_in(&cluster.peer_data(1).join(folder)).unwrap() {
            fs::remove_file(cluster.peer_data(1).join(folder).join(name)).unwrap();
        }
    }
    cluster.serve_peer(1).unwrap();
    wait_for(&cluster, "it is noticed and made anew", |status| {
        is_whole(status) && status["upkeep"]["made"].as_u64() > Some(0)
    });
    // Only the repaired copies and one other are left for some chunks.
    cluster.kill_peer(0).unwrap();
    cluster.kill_peer(2).unwrap();
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

#[test]
fn what_was_put_aside_goes_once_it_was_made_anew() {
    let (mut cluster, work) = repairing(3, "1s");
    let source = file(&work, "source", 15, 6_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    wait_for(&cluster, "all is verified", is_whole);
    cluster.peers[1].take().unwrap().stop(Signal::TERM, Duration::from_secs(5)).unwrap();
    for (path, mut bytes) in content::all_bytes(&cluster.peer_data(1)).unwrap() {
        if path.extension().is_some_and(|extension| extension == "seg") {
            (600_000..bytes.len()).step_by(500_000).for_each(|at| bytes[at] ^= 1);
            fs::write(&path, bytes).unwrap();
        }
    }
    cluster.serve_peer(1).unwrap();
    wait_for(&cluster, "what is damaged is found, made anew, and gone", |status| {
        status["upkeep"]["made"].as_u64() > Some(0) && has_each(status, 3) && sum(status, "quarantined") == 0
    });
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

#[test]
fn an_upload_that_was_given_up_leaves_nothing_behind() {
    let (mut cluster, work) = repairing(3, "1s");
    let kept = file(&work, "kept", 6, 9_000_000);
    shoal(&cluster, 0, &["put", text(&kept), "/kept"]);
    let before = wait_for(&cluster, "all is verified", |status| has_each(status, 3));
    let source = work.join("source");
    content::make_file(&source, 7, 400 << 20).unwrap();
    let mut command = cluster.shoal_command("device", ["put", text(&source), "/file"]).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&cluster, "the put is under way", |status| status["chunks"].as_u64() > before["chunks"].as_u64());
    tests::harness::process::signal_to(child.id(), Signal::INT).unwrap();
    child.wait().unwrap();
    let after = wait_for(&cluster, "it is collected", |status| {
        status["uploads"] == 0
            && status["chunks"] == before["chunks"]
            && sum(status, "shards") == sum(&before, "shards")
    });
    assert!(after["upkeep"]["collected"].as_u64() > Some(0), "{after}");
    same(&cluster, &work, &kept, "/kept");
    cluster.stop().unwrap();
}

#[test]
fn a_peer_is_emptied_and_removed_and_nothing_has_fewer_copies_meanwhile() {
    let (mut cluster, work) = repairing(4, "1s");
    let source = work.join("source");
    content::make_file(&source, 8, 24 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    wait_for(&cluster, "all is verified", is_whole);
    let id = peer_id(&cluster, 0);
    let refused = govern(&cluster, 12, &["peer", "remove", "--data", text(&cluster.directory_data()), &id]);
    assert!(refused.contains("still registered") && refused.contains("drain"), "{refused}");
    let drained = govern(&cluster, 0, &["peer", "drain", "--data", text(&cluster.directory_data()), &id]);
    assert!(drained.contains("is empty"), "{drained}");
    assert_eq!(status(&cluster)["degraded"], 0);
    govern(&cluster, 0, &["peer", "remove", "--data", text(&cluster.directory_data()), &id]);
    assert_eq!(status(&cluster)["peers"].as_array().unwrap().len(), 3);
    cluster.kill_peer(0).unwrap();
    cluster.kill_peer(1).unwrap();
    same(&cluster, &work, &source, "/file");
    let unknown = govern(&cluster, 1, &["peer", "drain", "--data", text(&cluster.directory_data()), &"0".repeat(32)]);
    assert!(unknown.contains("no such peer"), "{unknown}");
    cluster.stop().unwrap();
}

#[test]
fn what_a_peer_held_that_will_not_come_back_is_made_anew_at_once() {
    let (mut cluster, work) = repairing(4, "600s");
    let source = work.join("source");
    content::make_file(&source, 15, 24 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    wait_for(&cluster, "all is verified", |status| has_each(status, 3));
    let id = peer_id(&cluster, 0);
    cluster.kill_peer(0).unwrap();
    govern(&cluster, 0, &["peer", "remove", "--data", text(&cluster.directory_data()), &id, "--lost"]);
    let after = wait_for(&cluster, "nobody waits for it", |status| has_each(status, 3));
    assert_eq!(after["peers"].as_array().unwrap().len(), 3);
    cluster.kill_peer(1).unwrap();
    cluster.kill_peer(2).unwrap();
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

/// In another code, and so as other bytes: what the first record places stays, since earlier versions are read from it.
#[test]
fn what_was_stored_anew_while_its_peers_were_gone_is_no_stranger_when_they_come_back() {
    let (mut cluster, work) = repairing(3, "600s");
    let source = work.join("source");
    content::make_file(&source, 16, 9 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file", "--redundancy", "2/3"]);
    wait_for(&cluster, "all is verified", |status| has_each(status, 3));
    cluster.kill_peer(0).unwrap();
    cluster.kill_peer(1).unwrap();
    wait_for(&cluster, "it cannot be read", |status| status["unreadable"].as_u64() > Some(0));
    shoal(&cluster, 0, &["put", text(&source), "/again", "--redundancy", "1/1"]);
    cluster.serve_peer(0).unwrap();
    cluster.serve_peer(1).unwrap();
    // Copies that were moved to those that came back are unknown for a moment.
    let is_back = |status: &Value| has_each(status, 4) && sum(status, "unknown") == 0;
    wait_for(&cluster, "both are back, and nothing is unknown", is_back);
    same(&cluster, &work, &source, "/file");
    same(&cluster, &work, &source, "/again");
    cluster.stop().unwrap();
}

#[test]
fn a_new_peer_is_filled_gradually() {
    let (mut cluster, work) = repairing(3, "1s");
    let source = work.join("source");
    content::make_file(&source, 9, 60 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file", "--redundancy", "1/2"]);
    wait_for(&cluster, "all is verified", is_whole);
    cluster.add_peer(&[]).unwrap();
    let id = peer_id(&cluster, 3);
    wait_for(&cluster, "the new peer has its share", |status| {
        let peers = status["peers"].as_array().unwrap();
        let new = peers.iter().find(|peer| peer["peer"] == id.as_str()).unwrap();
        is_whole(status) && new["shards"].as_u64() > Some(2)
    });
    same(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

#[test]
fn a_directory_restored_from_an_old_copy_deletes_nothing_until_that_is_accepted() {
    let (mut cluster, work) = repairing(3, "1s");
    let (old, new) = (file(&work, "old", 10, 9_000_000), file(&work, "new", 11, 9_000_000));
    shoal(&cluster, 0, &["put", text(&old), "/old"]);
    let (data, copy) = (cluster.directory_data(), work.join("copy"));
    // A copy of the middle of the first generation: the next start has the same number in both histories.
    cluster.directory.as_mut().unwrap().kill().unwrap();
    let mut cp = std::process::Command::new("cp");
    cp.arg("-a").arg(&data).arg(&copy);
    run(cp, None).unwrap().expect(0).unwrap();
    cluster.serve_directory().unwrap();
    cluster.wait_online(3).unwrap();
    shoal(&cluster, 0, &["put", text(&new), "/new"]);
    let before = wait_for(&cluster, "all is verified", |status| has_each(status, 3));
    cluster.directory.as_mut().unwrap().kill().unwrap();
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&copy, &data).unwrap();
    cluster.serve_directory().unwrap();
    wait_for(&cluster, "it is noticed", |status| status["upkeep"]["fenced"] == true);
    let said = cluster.directory.as_ref().unwrap().read_log();
    assert!(said.contains("restored from an old copy"), "{said}");
    // What all peers report, once each was heard: a shard that had been dropped would not come back.
    wait_for(&cluster, "inventories are compared, and nothing is dropped", |status| {
        sum(status, "unknown") > 0 && sum(status, "shards") == sum(&before, "shards")
    });
    let data = text(&data).to_owned();
    let dry = govern(&cluster, 0, &["reconcile", "--data", &data]);
    assert!(dry.contains("nothing was changed"), "{dry}");
    assert_eq!(status(&cluster)["upkeep"]["fenced"], true);
    let accepted = govern(&cluster, 0, &["reconcile", "--data", &data, "--yes"]);
    assert!(accepted.contains("nothing that this store knows"), "{accepted}");
    let after = wait_for(&cluster, "the unknown go to the trash", |status| {
        status["upkeep"]["fenced"] == false && sum(status, "shards") < sum(&before, "shards") && is_whole(status)
    });
    assert!(sum(&after, "trash") > 0, "{after}");
    same(&cluster, &work, &old, "/old");
    shoal(&cluster, 1, &["stat", "/new"]);
    shoal(&cluster, 0, &["put", text(&new), "/new"]);
    same(&cluster, &work, &new, "/new");
    cluster.stop().unwrap();
}

#[test]
fn a_check_of_the_store_finds_nothing_wrong_while_it_is_used() {
    let (mut cluster, work) = repairing(3, "1s");
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..40 {
        fs::write(tree.join(number.to_string()), content::bytes(number, 3_000)).unwrap();
    }
    let source = file(&work, "source", 12, 9_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let mut command = cluster.shoal_command("device", ["put", "-r", text(&tree), "/tree"]).unwrap();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let data = text(&cluster.directory_data()).to_owned();
    for _ in 0..3 {
        govern(&cluster, 0, &["fsck", "--data", &data]);
    }
    assert!(child.wait().unwrap().success());
    let said = govern(&cluster, 0, &["fsck", "--data", &data, "--deep", "--json"]);
    let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((said["found"].as_u64(), said["missing"].as_u64(), said["peers"].as_u64()), (Some(0), Some(0), Some(3)));
    cluster.directory.as_mut().unwrap().stop(Signal::TERM, SOON).unwrap();
    govern(&cluster, 0, &["fsck", "--data", &data]);
    let deep = govern(&cluster, 13, &["fsck", "--data", &data, "--deep"]);
    assert!(deep.contains("serve"), "{deep}");
}

#[test]
fn another_redundancy_is_made_from_peer_to_peer_and_a_folder_remembers_its_own() {
    let (mut cluster, work) = repairing(5, "1s");
    let source = work.join("source");
    content::make_file(&source, 13, 24 << 20).unwrap();
    shoal(&cluster, 0, &["mkdir", "/folder"]);
    shoal(&cluster, 0, &["put", text(&source), "/folder/file"]);
    wait_for(&cluster, "three copies are there", |status| has_each(status, 3));
    // A code of copies, another number of shares, and copies again; a look at what is kept in between.
    for (wanted, shards) in [("2/4", 4), ("3/5", 5), ("1/2", 2), ("1/4", 4)] {
        let asked = shoal(&cluster, 0, &["redundancy", "/folder", wanted]);
        assert!(asked.text().contains("1 file will be kept"), "{}", asked.text());
        wait_for(&cluster, wanted, |status| has_each(status, shards));
        same(&cluster, &work, &source, "/folder/file");
    }
    let small = file(&work, "small", 14, 300_000);
    shoal(&cluster, 0, &["put", text(&small), "/folder/small"]);
    let said = json(&cluster, &["redundancy", "/folder"]);
    assert_eq!((said["default"].as_str(), said["files"]["1/4"].as_u64()), (Some("1/4"), Some(2)), "{said}");
    shoal(&cluster, 2, &["redundancy", "/folder", "4/3"]);
    shoal(&cluster, 1, &["redundancy", "/nothing", "1/2"]);
    // The same content twice: what one of them needs is kept for both.
    shoal(&cluster, 0, &["cp", "/folder/small", "/other"]);
    shoal(&cluster, 0, &["redundancy", "/other", "1/1"]);
    wait_for(&cluster, "nothing becomes less safe for the other", |status| has_each(status, 4));
    cluster.stop().unwrap();
}
