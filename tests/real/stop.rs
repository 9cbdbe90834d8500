//! Signals: servers end in good order, an interrupted command leaves nothing half visible, and SIGKILL loses nothing.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tests::harness::process::{eventually, signal_to};
use tests::harness::{Cluster, content};

use crate::support::{file, names, shoal, text, three_peers};

fn start(cluster: &Cluster, arguments: &[&str]) -> Child {
    let mut command = cluster.shoal_command("device", arguments).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn servers_end_on_sigint_and_sigterm_within_five_seconds() {
    let (mut cluster, _) = three_peers();
    for (number, signal) in [(0, Signal::INT), (1, Signal::TERM)] {
        let mut peer = cluster.peers[number].take().unwrap();
        let status = peer.stop(signal, Duration::from_secs(5)).unwrap();
        assert!(status.success(), "{status}: {}", peer.read_log());
    }
    let mut directory = cluster.directory.take().unwrap();
    let status = directory.stop(Signal::INT, Duration::from_secs(5)).unwrap();
    assert!(status.success(), "{status}: {}", directory.read_log());
}

#[test]
fn an_interrupted_put_is_not_visible_and_can_be_done_again() {
    let (cluster, work) = three_peers();
    let source = work.join("source");
    content::make_file(&source, 1, 400 << 20).unwrap();
    let child = start(&cluster, &["put", text(&source), "/file"]);
    eventually("it is under way", Duration::from_secs(20), || {
        cluster.status().is_ok_and(|status| status["chunks"].as_u64().unwrap_or(0) > 3)
    })
    .unwrap();
    signal_to(child.id(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(names(&cluster, "/").is_empty());
    eventually("the upload is abandoned", Duration::from_secs(5), || {
        cluster.status().is_ok_and(|status| status["uploads"] == 0)
    })
    .unwrap();

    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "/file", text(&back)]);
    content::compare(&source, &back).unwrap();
}

#[test]
fn an_interrupted_get_leaves_the_destination_as_it_was() {
    let (cluster, work) = three_peers();
    let source = work.join("source");
    content::make_file(&source, 2, 400 << 20).unwrap();
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    let target = work.join("target");
    fs::create_dir(&target).unwrap();
    file(&target, "file", 3, 1_000);
    let before = content::describe(&target).unwrap();
    let child = start(&cluster, &["get", "/file", text(&target)]);
    let arrived = || fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>();
    eventually("much has arrived", Duration::from_secs(20), || arrived() > 32 << 20).unwrap();
    signal_to(child.id(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(content::describe(&target).unwrap()[std::path::Path::new("file")], before[std::path::Path::new("file")]);
    // What has arrived waits beside it for the next get, which leaves nothing.
    let left = Cluster::names_in(&target).unwrap();
    assert!(left.len() == 2 && left[0].starts_with(".file.shoal-") && left[0].ends_with(".part"), "{left:?}");
    shoal(&cluster, 0, &["get", "/file", text(&target)]);
    content::compare(&source, &target.join("file")).unwrap();
    assert_eq!(Cluster::names_in(&target).unwrap(), ["file"]);
}

#[test]
fn killed_processes_lose_nothing_that_was_acknowledged() {
    let (mut cluster, work) = three_peers();
    for round in 0..5 {
        let source = file(&work, &format!("source{round}"), round, 3_000_000);
        shoal(&cluster, 0, &["put", text(&source), &format!("/file{round}")]);
        cluster.directory.as_mut().unwrap().kill().unwrap();
        for number in 0..3 {
            cluster.kill_peer(number).unwrap();
        }
        cluster.serve_directory().unwrap();
        for number in 0..3 {
            cluster.serve_peer(number).unwrap();
        }
        cluster.wait_online(3).unwrap();
    }
    for round in 0..5 {
        let back = work.join("back");
        shoal(&cluster, 0, &["get", &format!("/file{round}"), text(&back)]);
        content::compare(&work.join(format!("source{round}")), &back).unwrap();
    }
}
