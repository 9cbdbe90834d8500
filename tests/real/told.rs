//! What operators and users are told, and how soon, when something cannot be done.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, ClusterOptions};

use crate::support::{cluster, file, shoal, text};

fn operator(cluster: &Cluster, arguments: &[&str]) -> String {
    let answer = run(cluster.directory_program(arguments).unwrap(), None).unwrap().expect(0).unwrap();
    format!("{}{}", answer.text(), answer.stderr)
}

fn peer_id(cluster: &Cluster, number: usize) -> String {
    let text = fs::read_to_string(cluster.peer_data(number).join("peer.toml")).unwrap();
    text.lines().find(|line| line.starts_with("peer")).unwrap().split('"').nth(1).unwrap().to_owned()
}

#[test]
fn emptying_a_peer_that_nobody_can_take_over_from_says_why_it_waits() {
    const WHY: &str = "no other peer can take them";
    let (mut cluster, work) = cluster(ClusterOptions::default());
    let source = file(&work, "source", 1, 300_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let (data, id) = (cluster.directory_data(), peer_id(&cluster, 1));
    let drain = ["peer", "drain", "--data", text(&data), &id];
    let mut draining = cluster.directory_program(drain).unwrap();
    let mut child = draining.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find(|line| line.contains(WHY));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.is_some_and(|line| line.contains("2 others are online") && line.contains("peer undrain")));
    let status = operator(&cluster, &["status", "--data", text(&data)]);
    assert!(status.contains(WHY), "{status}");
    operator(&cluster, &["peer", "undrain", "--data", text(&data), &id]);
    let status = operator(&cluster, &["status", "--data", text(&data)]);
    assert!(!status.contains(WHY), "{status}");
    cluster.stop().unwrap();
}

#[test]
fn accepting_a_store_that_is_not_old_changes_nothing_and_says_so() {
    let (mut cluster, _) = cluster(ClusterOptions { peers: 1, ..ClusterOptions::default() });
    let data = cluster.directory_data();
    for more in [&[][..], &["--yes"]] {
        let said = operator(&cluster, &[&["reconcile", "--data", text(&data)], more].concat());
        assert!(said.contains("nothing to accept"), "{said}");
    }
    cluster.stop().unwrap();
}

#[test]
fn a_pack_that_nobody_has_is_waited_for_once_and_not_for_each_of_its_files() {
    const FILES: usize = 40;
    let options = ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() };
    let (mut cluster, work) = cluster(options);
    let folder = work.join("small");
    fs::create_dir(&folder).unwrap();
    (0..FILES).for_each(|number| drop(file(&folder, &format!("f{number}"), number as u64, 2_000)));
    shoal(&cluster, 0, &["put", "-r", text(&folder), "/small"]);
    cluster.kill_peer(0).unwrap();
    eventually("the peer is missed", Duration::from_secs(20), || cluster.count_peers("online") == 0).unwrap();
    let since = Instant::now();
    let answer = cluster.shoal(["get", "-r", "/small", text(Path::new(&work.join("back")))]).unwrap();
    // It is waited 13 s for a chunk; once for each file would be minutes.
    assert!(since.elapsed() < Duration::from_secs(100), "{:?}", since.elapsed());
    assert_ne!(answer.status, Some(0));
    let failed = answer.stderr.lines().filter(|line| line.contains("/small/f")).count();
    assert_eq!(failed, FILES, "{}", answer.stderr);
    cluster.stop().unwrap();
}
