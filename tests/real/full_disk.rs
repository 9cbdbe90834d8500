//! Full disks at peer, directory and download: a clear word, and nothing lost or left behind.

use std::fs;

use tests::harness::process::run;
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{Mounted, cluster, file, shoal, text, three_peers};

#[test]
fn a_full_peer_is_passed_over_and_with_too_few_left_the_put_says_why() {
    let (mut cluster, work) =
        cluster(ClusterOptions { peers: 2, redundancy: "1/2".to_owned(), ..ClusterOptions::default() });
    let number = cluster.add_peer(&["--capacity", "20MiB"]).unwrap();
    cluster.wait_online(3).unwrap();
    let source = work.join("source");
    content::make_file(&source, 1, 60 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "/file", text(&back)]);
    content::compare(&source, &back).unwrap();

    // Without one of the others, two of two are not to be had.
    cluster.kill_peer(0).unwrap();
    let other = work.join("other");
    content::make_file(&other, 2, 60 << 20).unwrap();
    let refused = shoal(&cluster, 13, &["put", text(&other), "/other"]);
    assert!(refused.stderr.contains("are needed"), "{}", refused.stderr);
    assert_eq!(refused.text(), "");
    assert!(cluster.peers[number].is_some());
    shoal(&cluster, 0, &["get", "/file", text(&back)]);
}

#[test]
fn a_peer_whose_disk_is_really_full_refuses_and_goes_on() {
    let options = ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).unwrap();
    // The same peer on a small disk; it keeps no reserve of its own here.
    cluster.stop().unwrap();
    let data = cluster.peer_data(0);
    let aside = cluster.root().join("aside");
    fs::rename(&data, &aside).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&data, "80m") else { return };
    let copy = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(&data).status().unwrap();
    assert!(copy.success());
    cluster.serve_directory().unwrap();
    cluster.serve_peer(0).unwrap();
    let outside = tempfile::tempdir().unwrap();
    let kept = file(outside.path(), "kept", 1, 2_000_000);
    shoal(&cluster, 0, &["put", text(&kept), "/kept"]);
    let big = file(outside.path(), "big", 2, 120 << 20);
    let refused = shoal(&cluster, 13, &["put", text(&big), "/big"]);
    assert!(refused.stderr.contains("space"), "{}", refused.stderr);
    shoal(&cluster, 1, &["stat", "/big"]);
    let back = outside.path().join("back");
    shoal(&cluster, 0, &["get", "/kept", text(&back)]);
    content::compare(&kept, &back).unwrap();
    cluster.stop().unwrap();
}

#[test]
fn a_directory_whose_disk_is_full_takes_no_writes_and_serves_reads() {
    let (mut cluster, work) = three_peers();
    let kept = file(&work, "kept", 3, 1_000_000);
    shoal(&cluster, 0, &["put", text(&kept), "/kept"]);
    cluster.stop().unwrap();
    // The same directory on a disk that has no room beyond its reserve.
    let data = cluster.directory_data();
    let aside = cluster.root().join("aside");
    fs::rename(&data, &aside).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&data, "60m") else { return };
    let copy = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(&data).status().unwrap();
    assert!(copy.success());
    cluster.serve_directory().unwrap();
    for number in 0..3 {
        cluster.serve_peer(number).unwrap();
    }
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "/kept", text(&back)]);
    content::compare(&kept, &back).unwrap();
    let refused = shoal(&cluster, 1, &["mkdir", "/folder"]);
    assert!(refused.stderr.contains("space"), "{}", refused.stderr);
    cluster.stop().unwrap();
}

#[test]
fn a_download_to_a_full_disk_fails_and_leaves_nothing_there() {
    let (cluster, work) = three_peers();
    let source = file(&work, "source", 4, 30 << 20);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let Some(small) = Mounted::tmpfs(&work.join("small"), "8m") else { return };
    let get = cluster.shoal_command("device", ["get", "/file"]).map(|mut get| {
        get.arg(small.0.join("file"));
        get
    });
    let failed = run(get.unwrap(), None).unwrap();
    assert_eq!(failed.status, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("no space left"), "{}", failed.stderr);
    assert!(Cluster::names_in(&small.0).unwrap().is_empty());
}
