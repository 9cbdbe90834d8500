//! Verify: what cannot be read is found and named, from what the directory knows and by every byte.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tests::harness::process::eventually;
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, shoal, text};

fn verify(cluster: &Cluster, code: i32, line: &[&str]) -> (Vec<Value>, String) {
    let answer = shoal(cluster, code, &[&["--json", "verify"], line].concat());
    (answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(), answer.stderr)
}

fn start(redundancy: &str, peers: usize) -> Cluster {
    let redundancy = redundancy.to_owned();
    let (cluster, work) = cluster(ClusterOptions { peers, redundancy, ..ClusterOptions::default() });
    let tree = work.join("tree");
    fs::create_dir_all(tree.join("below")).unwrap();
    file(&tree, "empty", 1, 0);
    for number in 0..20 {
        file(&tree.join("below"), &format!("small{number}"), 10 + number, 5_000);
    }
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/"]);
    // Behind the pack of the small ones.
    let large = file(&work, "large", 1, 6_000_000);
    shoal(&cluster, 0, &["put", text(&large), "/tree/"]);
    cluster
}

#[test]
fn peers_that_are_away_are_named_and_too_many_of_them_are_an_error() {
    let mut cluster = start("1/2", 2);
    for line in [&[][..], &["--deep"], &["/tree/large"], &["/tree/below", "--deep"]] {
        let (events, said) = verify(&cluster, 0, line);
        assert!(!events.iter().any(|event| event["event"] == "doubted"), "{events:?} {said}");
    }
    cluster.kill_peer(0).unwrap();
    eventually("it is missed", Duration::from_secs(20), || cluster.count_peers("online") == 1).unwrap();
    let (events, _) = verify(&cluster, 0, &[]);
    let doubted = events.iter().find(|event| event["event"] == "doubted").expect("a peer in doubt");
    assert_eq!(doubted["files"], 21, "{doubted}");
    assert_eq!(events.iter().find(|event| event["event"] == "weak").unwrap()["files"], 21);
    cluster.kill_peer(1).unwrap();
    eventually("it is missed", Duration::from_secs(20), || cluster.count_peers("online") == 0).unwrap();
    let (events, said) = verify(&cluster, 14, &["/tree/below"]);
    assert_eq!(said.lines().filter(|line| line.contains("/tree/below/small")).count(), 20, "{said}");
    assert_eq!(events.last().unwrap()["failed"], 20);
    shoal(&cluster, 1, &["verify", "/nowhere"]);
}

#[test]
fn damaged_content_is_found_by_reading_every_byte_and_the_rest_is_good() {
    let mut cluster = start("1/1", 1);
    let mut peer = cluster.peers[0].take().unwrap();
    peer.stop(Signal::TERM, Duration::from_secs(5)).unwrap();
    for (path, mut bytes) in content::all_bytes(&cluster.peer_data(0)).unwrap() {
        if path.extension().is_some_and(|extension| extension == "seg") {
            // In the large file's chunks, behind the pack of small ones, which is short.
            for at in (2_000_000..bytes.len().min(5_000_000)).step_by(500_000) {
                bytes[at] ^= 1;
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    cluster.serve_peer(0).unwrap();
    cluster.wait_online(1).unwrap();
    let (events, said) = verify(&cluster, 14, &["--deep"]);
    assert!(said.contains("/tree/large") && !said.contains("small"), "{said}");
    let last = events.last().unwrap();
    assert_eq!((last["files"].as_u64(), last["failed"].as_u64(), last["code"].as_u64()), (Some(21), Some(1), Some(14)));
    verify(&cluster, 0, &["--deep", "/tree/below"]);
}
