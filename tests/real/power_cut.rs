//! Power cut: everything that was not synced is gone, and everything acknowledged is there.
//!
//! Directory and peers lie on a file system in an image file. What a file system has not written out yet is not in its image; so a
//! copy of the image at any instant is what the disk would hold if the power failed then. The processes are killed, the copy
//! is mounted in place of the original, and everything is started again.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{Mounted, file, shoal, text};

const FILES: usize = 4;

fn image(path: &Path) -> bool {
    fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(path).output();
    made.is_ok_and(|made| made.status.success())
}

#[test]
fn what_was_acknowledged_is_there_when_everything_unsynced_is_dropped() {
    let holder = tempfile::tempdir().unwrap();
    let (before, cut, at) =
        (holder.path().join("before.img"), holder.path().join("cut.img"), holder.path().join("disk"));
    if !image(&before) {
        eprintln!("skipped: no mkfs.ext4 on this machine");
        return;
    }
    let Some(mounted) = Mounted::image(&before, &at) else { return };
    let options = ClusterOptions { below: Some(at.clone()), ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options).unwrap();
    // The device's home is not what is tested: it is made safe first.
    rustix::fs::sync();
    let work = holder.path().join("work");
    fs::create_dir(&work).unwrap();
    for number in 0..FILES {
        let large = file(&work, &format!("large{number}"), number as u64, 6_000_000);
        let small = file(&work, &format!("small{number}"), 100 + number as u64, 3_000);
        shoal(&cluster, 0, &["put", text(&large), text(&small), "/"]);
    }
    // The power fails: what the image holds now is all that is left.
    let copied = Command::new("cp").arg("--sparse=always").arg(&before).arg(&cut).status().unwrap();
    assert!(copied.success());
    cluster.directory.as_mut().unwrap().kill().unwrap();
    for number in 0..3 {
        cluster.kill_peer(number).unwrap();
    }
    drop(mounted);
    let Some(_mounted) = Mounted::image(&cut, &at) else { return };

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
