//! Power cut: everything that was not synced is gone, and everything acknowledged is there. The long run is
//! `cargo run --release -p tests --features long --bin crash -- --power`.

use std::fs;

use tests::crash::{Options, run};
use tests::harness::{Cluster, ClusterOptions, Fragile, content};

use crate::support::{file, shoal, text};

const FILES: usize = 4;

#[test]
fn what_was_acknowledged_is_there_when_everything_unsynced_is_dropped() {
    let holder = tempfile::tempdir().unwrap();
    let Some(disk) = Fragile::new(1 << 30).unwrap() else { return };
    let options = ClusterOptions { servers: Some(disk.at()), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).unwrap();
    let work = holder.path().join("work");
    fs::create_dir(&work).unwrap();
    for number in 0..FILES {
        let large = file(&work, &format!("large{number}"), number as u64, 6_000_000);
        let small = file(&work, &format!("small{number}"), 100 + number as u64, 3_000);
        shoal(&cluster, 0, &["put", text(&large), text(&small), "/"]);
    }
    let unsynced = disk.at().join("unsynced");
    fs::write(&unsynced, "nobody waited for this").unwrap();
    cluster.cut_power(&disk).unwrap();
    assert!(!unsynced.exists(), "a cut drops what was not synced");

    cluster.serve_directory().unwrap();
    for number in 0..3 {
        cluster.serve_peer(number).unwrap();
    }
    cluster.wait_online(3).unwrap();
    let read_all = |cluster: &Cluster| {
        for number in 0..FILES {
            for name in [format!("large{number}"), format!("small{number}")] {
                let back = work.join("back");
                shoal(cluster, 0, &["get", &format!("/{name}"), text(&back)]);
                content::compare(&work.join(&name), &back).unwrap();
            }
        }
    };
    read_all(&cluster);
    // Each single peer has all of it.
    for alone in 0..3 {
        for number in (0..3).filter(|number| *number != alone) {
            if cluster.peers[number].is_some() {
                cluster.kill_peer(number).unwrap();
            }
        }
        if cluster.peers[alone].is_none() {
            cluster.serve_peer(alone).unwrap();
        }
        read_all(&cluster);
    }
    cluster.stop().unwrap();
}

#[test]
fn power_cuts_under_load_lose_nothing_that_was_acknowledged() {
    let options = Options { kills: 3, round: 2, workers: 2, power: true, ..Options::default() };
    match run(&options, &mut |_| {}) {
        Ok(report) => assert!(report.kills.cuts == 3 && report.done.files > 0, "{report:?}"),
        Err(error) if format!("{error:#}").contains("skipped") => eprintln!("{error:#}"),
        Err(error) => panic!("{error:#}"),
    }
}
