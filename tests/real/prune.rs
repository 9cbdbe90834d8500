//! Snapshots and pruning on real processes: what is kept is kept, what is not gives its space back, and nothing that happens meanwhile
//! harms what is there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, shoal, text};

const SOON: Duration = Duration::from_secs(60);
/// Large enough for chunks of its own.
const SIZE: usize = 3_000_000;

fn quick() -> (Cluster, PathBuf) {
    let serve = ["--heartbeat", "200ms", "--suspect-after", "1s", "--dead-after", "4s", "--compare-every", "1s"];
    let serve = serve.map(str::to_owned).to_vec();
    cluster(ClusterOptions { serve, ..ClusterOptions::default() })
}

fn put(cluster: &Cluster, work: &Path, seed: u64, path: &str) -> PathBuf {
    let source = file(work, &format!("source{seed}"), seed, SIZE);
    shoal(cluster, 0, &["put", text(&source), path]);
    source
}

fn same(cluster: &Cluster, work: &Path, source: &Path, path: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", path, text(&back)]);
    content::compare(source, &back).unwrap();
    std::fs::remove_file(back).unwrap();
}

fn used(cluster: &Cluster) -> u64 {
    json(cluster, &["status"])["used_bytes"].as_u64().unwrap()
}

fn held(du: &Value, by: &str) -> u64 {
    du[by]["stored"].as_u64().unwrap()
}

fn fsck(cluster: &Cluster) {
    let mut command = cluster.directory_command("fsck").unwrap();
    command.arg("--json");
    let answer = run(command, None).unwrap();
    assert_eq!(answer.status, Some(0), "{}{}", answer.text(), answer.stderr);
}

#[test]
fn a_snapshot_keeps_what_a_prune_would_end_and_its_space_comes_back_after_it() {
    let (mut cluster, work) = quick();
    let first = put(&cluster, &work, 1, "/file");
    shoal(&cluster, 0, &["snapshot", "create", "before"]);
    shoal(&cluster, 11, &["snapshot", "create", "before"]);
    let second = put(&cluster, &work, 2, "/file");
    put(&cluster, &work, 3, "/removed");
    shoal(&cluster, 0, &["rm", "/removed"]);
    // An upload that has ended lets go of its chunks step by step.
    let ended = || held(&json(&cluster, &["du"]), "uploads") == 0;
    eventually("what the uploads held is let go", SOON, ended).unwrap();
    let one = held(&json(&cluster, &["du"]), "current");
    let du = json(&cluster, &["du"]);
    assert_eq!((held(&du, "snapshots"), held(&du, "history")), (one, one), "{du}");
    assert_eq!(used(&cluster), 3 * one);

    // A dry run says what happens then, and changes nothing.
    let would = json(&cluster, &["prune", "--keep-last", "1", "--dry-run"]);
    assert_eq!((&would["versions"], would["dry_run"].as_bool()), (&1.into(), Some(true)), "{would}");
    assert_eq!(used(&cluster), 3 * one);
    let done = json(&cluster, &["prune", "--keep-last", "1"]);
    assert_eq!((&would["versions"], &would["entries"]), (&done["versions"], &done["entries"]));
    assert_eq!(would["sealed_bytes"], done["sealed_bytes"]);
    eventually("the space of what was removed is back", SOON, || used(&cluster) == 2 * one).unwrap();
    same(&cluster, &work, &second, "/file");
    let list = json(&cluster, &["snapshot", "list"]);
    assert_eq!(list["name"], "before");

    // Without the snapshot the next prune takes what it alone held.
    shoal(&cluster, 0, &["snapshot", "rm", "before"]);
    shoal(&cluster, 1, &["snapshot", "rm", "before"]);
    assert_eq!(json(&cluster, &["prune", "--keep-last", "1"])["versions"], 1);
    eventually("all that is left is current", SOON, || used(&cluster) == one).unwrap();
    // On the peers it goes to the trash: what they hold live is what is registered.
    eventually("the peers have put aside what is nobody's", SOON, || {
        let status = cluster.status().unwrap();
        let trash: u64 = status["peers"].as_array().unwrap().iter().map(|peer| peer["trash"].as_u64().unwrap()).sum();
        trash >= 2 * one
    })
    .unwrap();
    same(&cluster, &work, &second, "/file");
    assert!(first.exists());
    fsck(&cluster);
    cluster.stop().unwrap();
}

#[test]
fn a_prune_while_files_are_stored_harms_none_of_them() {
    let (mut cluster, work) = quick();
    let large = work.join("large");
    content::make_file(&large, 9, 48 << 20).unwrap();
    put(&cluster, &work, 1, "/old");
    let second = put(&cluster, &work, 2, "/old");
    std::thread::scope(|scope| {
        let up = scope.spawn(|| shoal(&cluster, 0, &["put", text(&large), "/large"]));
        // Others prune and store the same content at the same time, two of them at once.
        for _ in 0..4 {
            let two = [0, 1].map(|_| scope.spawn(|| shoal(&cluster, 0, &["prune", "--keep-last", "1"])));
            shoal(&cluster, 0, &["cp", "/old", "/copy"]);
            shoal(&cluster, 0, &["rm", "/copy"]);
            two.into_iter().for_each(|one| drop(one.join().unwrap()));
        }
        up.join().unwrap();
    });
    shoal(&cluster, 0, &["prune", "--keep-last", "1"]);
    same(&cluster, &work, &large, "/large");
    same(&cluster, &work, &second, "/old");
    eventually("nothing but what is there is held", SOON, || {
        let du = json(&cluster, &["du"]);
        held(&du, "history") + held(&du, "nobody") + held(&du, "uploads") == 0
    })
    .unwrap();
    fsck(&cluster);
    cluster.stop().unwrap();
}

#[test]
fn a_directory_that_is_killed_in_the_middle_of_a_prune_goes_on_with_the_next() {
    let (mut cluster, work) = quick();
    let tree = work.join("tree");
    std::fs::create_dir(&tree).unwrap();
    for round in 0..3 {
        for number in 0..60 {
            std::fs::write(tree.join(format!("file{number}")), content::bytes(round * 100 + number, 2_000)).unwrap();
        }
        shoal(&cluster, 0, &["put", "-r", text(&tree), "/"]);
    }
    let before = json(&cluster, &["status"])["used_files"].as_u64().unwrap();
    assert_eq!(before, 180);
    let command = cluster.shoal_command("device", ["prune", "--keep-last", "1"]).unwrap();
    std::thread::scope(|scope| {
        let prune = scope.spawn(move || run(command, None).unwrap());
        cluster.kill_directory().unwrap();
        cluster.serve_directory().unwrap();
        assert_eq!(prune.join().unwrap().status, Some(0), "it waits for the directory, and goes on");
    });
    shoal(&cluster, 0, &["prune", "--keep-last", "1"]);
    assert_eq!(json(&cluster, &["status"])["used_files"], 60);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "-r", "/tree", text(&back)]);
    for number in 0..60 {
        content::compare(&tree.join(format!("file{number}")), &back.join(format!("file{number}"))).unwrap();
    }
    fsck(&cluster);
    cluster.stop().unwrap();
}

#[test]
fn the_clusters_own_policy_is_shown_and_prunes_in_the_background() {
    let serve = ["--heartbeat", "200ms", "--suspect-after", "1s", "--dead-after", "4s", "--keep", "last=1"];
    let serve = serve.iter().chain(&["--prune-every", "300ms"]).map(|text| (*text).to_owned()).collect();
    let (mut cluster, work) = cluster(ClusterOptions { serve, ..ClusterOptions::default() });
    put(&cluster, &work, 1, "/file");
    let second = put(&cluster, &work, 2, "/file");
    assert_eq!(json(&cluster, &["status"])["keep"], "last=1");
    assert_eq!(json(&cluster, &["prune", "--dry-run"])["policy"], "last=1");
    eventually("the old version is gone", SOON, || json(&cluster, &["status"])["used_files"] == 1).unwrap();
    same(&cluster, &work, &second, "/file");
    cluster.stop().unwrap();
}

#[test]
fn without_a_policy_nothing_is_pruned_and_the_user_is_told_what_to_say() {
    let (mut cluster, _) = quick();
    let answer = shoal(&cluster, 2, &["prune"]);
    assert!(answer.stderr.contains("--keep-within 30d"), "{}", answer.stderr);
    cluster.stop().unwrap();
}
