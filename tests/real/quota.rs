//! Quotas on real processes: a put that comes to its end says so, leaves what was there, and nothing half-visible.

use std::time::Duration;

use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, content};

use crate::support::{file, json, names, shoal, text, three_peers};

fn quota(cluster: &Cluster, bytes: &str, files: &str) {
    let mut command = cluster.directory_program(["account", "quota", "--data"]).unwrap();
    command.arg(cluster.directory_data()).args(["home", "--bytes", bytes, "--files", files]);
    run(command, None).unwrap().expect(0).unwrap();
}

#[test]
fn a_put_that_reaches_the_quota_fails_with_its_code_and_leaves_nothing_half_visible() {
    let (mut cluster, work) = three_peers();
    let (kept, large) = (file(&work, "kept", 1, 400_000), work.join("large"));
    content::make_file(&large, 2, 40 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&kept), "/kept"]);
    // Three copies of 40 MiB are 120: it is reached in the middle.
    quota(&cluster, "60MiB", "none");
    let answer = shoal(&cluster, 15, &["put", text(&large), "/large"]);
    assert!(answer.stderr.contains("quota of bytes is reached"), "{}", answer.stderr);
    assert!(answer.stderr.contains("shoal prune"), "{}", answer.stderr);
    assert_eq!(names(&cluster, "/"), ["kept"]);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "/kept", text(&back)]);
    content::compare(&kept, &back).unwrap();
    let status = json(&cluster, &["status"]);
    assert_eq!(status["quota_bytes"], 60 << 20);
    assert!(status["used_bytes"].as_u64() <= Some(60 << 20), "{status}");
    // What it had stored is given back, and with more room it goes.
    eventually("only what is visible counts", Duration::from_secs(60), || {
        json(&cluster, &["status"])["used_bytes"] == 1_200_000
    })
    .unwrap();
    quota(&cluster, "none", "none");
    shoal(&cluster, 0, &["put", text(&large), "/large"]);
    cluster.stop().unwrap();
}

#[test]
fn a_quota_of_files_stops_a_folder_and_keeps_what_was_published() {
    let (mut cluster, work) = three_peers();
    let first = file(&work, "first", 1, 1_000);
    shoal(&cluster, 0, &["put", text(&first), "/first"]);
    quota(&cluster, "none", "1");
    let second = file(&work, "second", 2, 1_000);
    let answer = shoal(&cluster, 15, &["put", text(&second), "/second"]);
    assert!(answer.stderr.contains("1 of 1 are used"), "{}", answer.stderr);
    assert_eq!(names(&cluster, "/"), ["first"]);
    let mut list = cluster.directory_program(["account", "list", "--json", "--data"]).unwrap();
    list.arg(cluster.directory_data());
    let answer = run(list, None).unwrap().expect(0).unwrap();
    let line: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&line["name"], &line["files"], &line["quota_files"]), (&"home".into(), &1.into(), &1.into()));
    cluster.stop().unwrap();
}
