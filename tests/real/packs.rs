//! Packs: equal small files share an extent, unchanged ones keep theirs, and packs that are mostly dead are rewritten.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use client::cancel::Cancel;
use client::meta::Mtime;
use client::names::{Name, RemotePath};
use client::seal::Compression;
use client::session::{Session, SessionOptions};
use client::transfer::{
    Fanout, FileError, GetDone, LocalKind, LocalMeta, Progress, PutDone, PutJob, PutOptions, PutReport, Source,
};
use common::id::NodeId;
use common::proto::directory::Expect;
use common::redundancy::Redundancy;
use serde_json::Value;
use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, content};

use crate::support::{file, json, shoal, text, three_peers};

const LEN: usize = 5_000;

/// Lines of `put --json`: bytes sent to peers, all together.
fn put_tree(cluster: &Cluster, tree: &Path, remote: &str) -> u64 {
    let answer = shoal(cluster, 0, &["--json", "put", "-r", text(tree), remote]);
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.iter().filter_map(|line| line["sent"].as_u64()).sum()
}

fn tree_of(work: &Path, name: &str, files: u64) -> PathBuf {
    let tree = work.join(name);
    fs::create_dir(&tree).unwrap();
    for number in 0..files {
        file(&tree, &format!("{number:05}"), number, LEN);
    }
    tree
}

fn survey(cluster: &Cluster) -> Value {
    json(cluster, &["repack", "--dry-run"])
}

fn comes_back(cluster: &Cluster, work: &Path, tree: &Path, remote: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", "-r", remote, text(&back)]);
    // A folder that was there before keeps the time that it was stored with.
    let [here, there] = [tree, &back].map(|of| {
        let mut all = content::describe(of).unwrap();
        all.remove(Path::new(""));
        all
    });
    assert_eq!(here, there);
    fs::remove_dir_all(back).unwrap();
}

#[test]
fn equal_small_files_of_one_put_share_an_extent() {
    let (cluster, work) = three_peers();
    let tree = tree_of(&work, "tree", 10);
    for number in 0..2_000 {
        file(&tree, &format!("copy-{number:05}"), 1, LEN);
    }
    let sent = put_tree(&cluster, &tree, "/tree");
    assert_eq!(sent, 10 * LEN as u64 * 3, "three copies of each content");
    comes_back(&cluster, &work, &tree, "/tree");
}

#[test]
fn what_is_unchanged_keeps_its_extent_wherever_it_is_put_again() {
    let (cluster, work) = three_peers();
    let tree = tree_of(&work, "tree", 1_500);
    assert_eq!(put_tree(&cluster, &tree, "/tree"), 1_500 * LEN as u64 * 3);
    let before = survey(&cluster);
    assert_eq!(put_tree(&cluster, &tree, "/elsewhere"), 0);
    file(&tree, "00007", 7_000, LEN);
    file(&tree, "new", 7_001, LEN);
    // Into the folder above, where the tree is already.
    assert_eq!(put_tree(&cluster, &tree, "/"), 2 * LEN as u64 * 3, "what changed, and nothing else");
    let after = survey(&cluster);
    // Each of the two is in a pack of its own, which is no different from a file's chunk; or both are in one.
    let packs = |survey: &Value| survey["packs"].as_u64().unwrap();
    assert!((packs(&before)..=packs(&before) + 1).contains(&packs(&after)), "{before} {after}");
    assert_eq!(after["dead_bytes"], 0);
    comes_back(&cluster, &work, &tree, "/tree");
    // Removed and put again it is found as well: history holds it.
    shoal(&cluster, 0, &["rm", "-r", "/tree"]);
    shoal(&cluster, 0, &["rm", "-r", "/elsewhere"]);
    assert_eq!(put_tree(&cluster, &tree, "/again"), 0);
    run(cluster.directory_command("fsck").unwrap(), None).unwrap().expect(0).unwrap();
}

struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn read(&self, _: u64) {}
    fn stored(&self, _: u64) {}
    fn put(&self, _: PutDone) {}
    fn got(&self, _: GetDone) {}
    fn failed(&self, _: &str, _: FileError) {}
    fn note(&self, _: &str) {}
}

/// Puts the files of a tree into the root, but only every tenth gets there: the folder of the others is not there when they are published, and
/// their extents are nobody's.
fn put_mostly_dead(cluster: &Cluster, tree: &Path) -> PutReport {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SessionOptions { directory: Vec::new(), quiet: true };
        let session = Session::open(cluster.home("device"), options).await.unwrap();
        let options = PutOptions {
            redundancy: Redundancy::DEFAULT,
            fanout: Fanout::Star,
            compression: Compression::Auto,
            cancel: Cancel::new(),
            progress: Arc::new(Silent),
        };
        let (send, jobs) = tokio::sync::mpsc::channel(64);
        let mut paths: Vec<PathBuf> = fs::read_dir(tree).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let root = session.root();
        let feed = async move {
            for (number, path) in paths.into_iter().enumerate() {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let job = PutJob {
                    source: Source::Path(path),
                    folder: if number.is_multiple_of(10) { root } else { NodeId::random() },
                    within: Arc::new(RemotePath::root()),
                    name: Name::new(name.as_bytes()).unwrap(),
                    meta: LocalMeta {
                        mode: 0o644,
                        modified: Mtime::from_system(std::time::SystemTime::now()),
                        kind: LocalKind::File,
                    },
                    expect: Expect::Nothing,
                    shown: name,
                };
                send.send(job).await.unwrap();
            }
        };
        let (report, ()) = tokio::join!(client::up::put_files(&session, jobs, &options), feed);
        session.close().await;
        report.unwrap()
    })
}

fn living_come_back(cluster: &Cluster, tree: &Path) {
    for number in (0..).step_by(10) {
        let name = format!("{number:05}");
        let Ok(expected) = fs::read(tree.join(&name)) else { break };
        assert!(shoal(cluster, 0, &["cat", &format!("/{name}")]).stdout == expected, "{name}");
    }
}

/// A cluster, and a tree of which every tenth file is alive in its packs.
fn wasted(files: u64) -> (Cluster, PathBuf) {
    let (cluster, work) = three_peers();
    let tree = tree_of(&work, "tree", files);
    let report = put_mostly_dead(&cluster, &tree);
    assert_eq!((report.files, report.failed), (files / 10, files - files / 10));
    (cluster, tree)
}

#[test]
fn packs_that_are_mostly_dead_are_rewritten_and_their_room_comes_back() {
    let (mut cluster, tree) = wasted(1_200);
    let before = survey(&cluster);
    let of = |value: &Value, key: &str| value[key].as_u64().unwrap();
    assert_eq!((of(&before, "bytes"), of(&before, "dead_bytes")), (1_200 * LEN as u64, 1_080 * LEN as u64));
    assert_eq!(of(&before, "wasteful_packs"), of(&before, "packs"));
    assert_eq!((of(&before, "moved"), of(&before, "sent")), (0, 0), "a dry run changes nothing");
    let chunks = cluster.status().unwrap()["sealed_bytes"].as_u64().unwrap();
    assert_eq!(chunks, 1_200 * LEN as u64);

    let done = json(&cluster, &["repack"]);
    assert_eq!((of(&done, "moved"), of(&done, "changed")), (120, 0));
    assert_eq!(of(&done, "sent"), 120 * LEN as u64 * 3);
    living_come_back(&cluster, &tree);
    let after = survey(&cluster);
    assert_eq!((of(&after, "dead_bytes"), of(&after, "wasteful_packs")), (0, 0));
    let is_back = || cluster.status().unwrap()["sealed_bytes"] == 120 * LEN as u64;
    eventually("what nothing needs is collected", Duration::from_secs(60), is_back).unwrap();
    living_come_back(&cluster, &tree);
    // What was moved is found again where it is now.
    let living = tree.parent().unwrap().join("living");
    fs::create_dir(&living).unwrap();
    for number in (0..1_200).step_by(10) {
        let name = format!("{number:05}");
        fs::copy(tree.join(&name), living.join(&name)).unwrap();
    }
    assert_eq!(put_tree(&cluster, &living, "/living"), 0);
    assert_eq!(json(&cluster, &["repack"])["moved"], 0);
    cluster.stop().unwrap();
}

#[test]
fn a_repack_that_is_killed_at_any_time_loses_nothing_and_goes_on_where_it_was() {
    let (mut cluster, tree) = wasted(3_000);
    for delay in [10, 40, 80, 120, 160, 200] {
        let mut command = cluster.shoal_command("device", ["repack"]).unwrap();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Nothing is waited for here: it is killed wherever it is by then.
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(shoal(&cluster, 0, &["cat", "/00000"]).stdout == fs::read(tree.join("00000")).unwrap());
    }
    living_come_back(&cluster, &tree);
    json(&cluster, &["repack"]);
    assert_eq!(survey(&cluster)["wasteful_packs"], 0);
    living_come_back(&cluster, &tree);
    cluster.stop().unwrap();
}
