//! Faults of networks and disks, and many clients at once: what the user sees of them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::harness::process::eventually;
use tests::harness::{Cluster, ClusterOptions, Conditions, Direction, content};

use crate::support::{Mounted, cluster, file, json, names, shoal, text, three_peers};

fn start(cluster: &Cluster, arguments: &[&str]) -> Child {
    let mut command = cluster.shoal_command("device", arguments).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for its end: the code, and what it said.
fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn behind_relays(peers: usize) -> ClusterOptions {
    ClusterOptions { peers, relays: Some(Conditions::default()), ..ClusterOptions::default() }
}

fn read_back(cluster: &Cluster, work: &Path, source: &Path, remote: &str) {
    let back = work.join("back");
    shoal(cluster, 0, &["get", remote, text(&back)]);
    content::compare(source, &back).unwrap();
    fs::remove_file(&back).unwrap();
}

#[test]
fn a_network_that_reorders_doubles_and_loses_packets_costs_time_and_nothing_else() {
    let (mut cluster, work) = cluster(behind_relays(3));
    let bad = Direction {
        reordered_per_million: 100_000,
        doubled_per_million: 50_000,
        lost_per_million: 20_000,
        ..Direction::default()
    };
    cluster.relays.iter().for_each(|relay| relay.set(Conditions::both(bad)));
    let source = file(&work, "source", 1, 12 << 20);
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..40 {
        file(&tree, &format!("small{number}"), 100 + number, 3_000);
    }
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/tree"]);
    read_back(&cluster, &work, &source, "/file");
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "-r", "/tree", text(&back)]);
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&back).unwrap());
    let counts = cluster.relays.iter().map(tests::harness::Relay::counts);
    let [doubled, reordered, lost] = counts.fold([0; 3], |[doubled, reordered, lost], counts| {
        [doubled + counts.doubled, reordered + counts.reordered, lost + counts.lost]
    });
    assert!(doubled > 100 && reordered > 100 && lost > 100, "{doubled} doubled, {reordered} reordered, {lost} lost");
    cluster.relays.iter().for_each(|relay| relay.set(Conditions::default()));
    assert_eq!(json(&cluster, &["status"])["degraded"], 0, "a chunk lacks a shard");
    cluster.stop().unwrap();
}

#[test]
fn a_peer_that_nothing_reaches_any_more_is_replaced_in_the_middle_of_a_put() {
    const PEER: usize = 2;
    let (mut cluster, work) = cluster(behind_relays(4));
    let source = file(&work, "source", 2, 60 << 20);
    let slow = Direction { rate: Some(300_000_000), ..Direction::default() };
    cluster.relays.iter().skip(1).for_each(|relay| relay.set(Conditions::both(slow)));
    let child = start(&cluster, &["put", text(&source), "/file"]);
    let relay = &cluster.relays[PEER];
    eventually("the put is under way", Duration::from_secs(20), || relay.counts().bytes[0] > 4 << 20).unwrap();
    relay.set(Conditions::both(slow).deaf());
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
    // What the user has is whole without the one that nobody hears.
    assert!(cluster.relays[PEER].counts().stalled > 0);
    read_back(&cluster, &work, &source, "/file");
    cluster.relays[PEER].set(Conditions::default());
    cluster.stop().unwrap();
}

#[test]
fn a_directory_whose_answers_get_lost_is_waited_for_and_the_user_is_told() {
    let options = ClusterOptions {
        // Peers do not get its answers either; it is not the time until it gives them up that is looked at here.
        serve: ["--heartbeat", "200ms", "--suspect-after", "30s", "--dead-after", "60s"].map(str::to_owned).to_vec(),
        ..behind_relays(3)
    };
    let (mut cluster, work) = cluster(options);
    let slow = Direction { rate: Some(100_000_000), ..Direction::default() };
    cluster.relays.iter().skip(1).for_each(|relay| relay.set(Conditions::both(slow)));
    let source = file(&work, "source", 3, 60 << 20);
    let errors = work.join("errors");
    let mut command = cluster.shoal_command("device", ["put", text(&source), "/file"]).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let mut child = command.spawn().unwrap();
    eventually("the put is under way", Duration::from_secs(20), || cluster.relays[1].counts().bytes[0] > 2 << 20)
        .unwrap();
    cluster.relays[0].set(Conditions::default().mute());
    let said = || fs::read_to_string(&errors).unwrap();
    let told = eventually("it says what it waits for", Duration::from_secs(60), || {
        said().contains("waiting for the directory") || !matches!(child.try_wait(), Ok(None))
    });
    assert!(told.is_ok() && matches!(child.try_wait(), Ok(None)), "{told:?} {:?}: {}", child.try_wait(), said());
    cluster.relays.iter().for_each(|relay| relay.set(Conditions::default()));
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", said());
    assert!(said().contains("the directory is back"), "{}", said());
    read_back(&cluster, &work, &source, "/file");
    cluster.stop().unwrap();
}

/// Takes the end of the disk under a file system away: the kernel answers EIO to whatever lies there.
fn break_off(image: &Path, keep: u64) {
    fs::File::options().write(true).open(image).unwrap().set_len(keep).unwrap();
    let listed = Command::new("losetup").arg("-j").arg(image).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let (device, _) = listed.split_once(':').unwrap();
    assert!(Command::new("losetup").args(["-c", device]).status().unwrap().success());
}

#[test]
fn a_peer_whose_disk_answers_with_errors_is_passed_over_and_nothing_is_lost() {
    let holder = tempfile::tempdir().unwrap();
    let image = holder.path().join("image");
    fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F", "-O", "^has_journal"]).arg(&image).output();
    if !made.is_ok_and(|made| made.status.success()) {
        eprintln!("skipped: no mkfs.ext4 on this machine");
        return;
    }
    let Some(disk) = Mounted::image(&image, &holder.path().join("disk")) else { return };
    let (mut cluster, work) = three_peers();
    cluster.kill_peer(0).unwrap();
    // The same peer on that disk.
    let data = cluster.peer_data(0);
    let copied = Command::new("cp").arg("-a").arg(&data).arg(disk.0.join("data")).status().unwrap();
    assert!(copied.success());
    fs::remove_dir_all(&data).unwrap();
    std::os::unix::fs::symlink(disk.0.join("data"), &data).unwrap();
    cluster.serve_peer(0).unwrap();
    cluster.wait_online(3).unwrap();
    let kept = file(&work, "kept", 1, 30 << 20);
    shoal(&cluster, 0, &["put", text(&kept), "/kept"]);

    break_off(&image, 12 << 20);
    let later = file(&work, "later", 2, 30 << 20);
    let put = shoal(&cluster, 0, &["put", text(&later), "/later"]);
    assert!(put.stderr.contains("marked for repair"), "it did not say so: {}", put.stderr);
    for (source, remote) in [(&later, "/later"), (&kept, "/kept")] {
        read_back(&cluster, &work, source, remote);
    }
    let peer = cluster.peers[0].as_ref().unwrap();
    let log = peer.read_log();
    assert!(log.contains("the store failed") && log.contains("Input/output error"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    cluster.stop().unwrap();
    drop(disk);
}

#[test]
fn many_clients_at_once_all_succeed_and_what_they_share_is_stored_once() {
    const CLIENTS: u64 = 8;
    let (mut cluster, work) = three_peers();
    let tree = |name: &str, seed: u64| {
        let folder = work.join(name);
        fs::create_dir(&folder).unwrap();
        file(&folder, "large", seed, 3_000_000);
        for number in 0..20 {
            file(&folder, &format!("small{number}"), seed * 1_000 + number, 2_000);
        }
        folder
    };
    let same = tree("same", 99);
    let own: Vec<_> = (0..CLIENTS).map(|client| tree(&format!("own{client}"), client)).collect();
    let stored = |cluster: &Cluster| cluster.status().unwrap()["chunks"].as_u64().unwrap();

    let all = |sources: Vec<(&Path, String)>| {
        let running: Vec<_> =
            sources.iter().map(|(source, remote)| start(&cluster, &["put", "-r", text(source), remote])).collect();
        for child in running {
            let (code, said) = end(child);
            assert_eq!(code, Some(0), "{said}");
        }
    };
    all(own.iter().zip(0..).map(|(own, client): (_, u64)| (own.as_path(), format!("/own{client}"))).collect());
    let before = stored(&cluster);
    all((0..CLIENTS).map(|client| (same.as_path(), format!("/same{client}"))).collect());
    let once = stored(&cluster) - before;
    assert!(once < CLIENTS, "{CLIENTS} equal trees became {once} chunks");
    // And all at the same place: each file is one of them, whole.
    all((0..CLIENTS).map(|_| (same.as_path(), "/".to_owned())).collect());
    assert_eq!(names(&cluster, "/").len() as u64, 2 * CLIENTS + 1);
    let back = work.join("back");
    for (source, remote) in own
        .iter()
        .zip((0..).map(|client: u64| format!("/own{client}")))
        .chain((0..CLIENTS).map(|client| (&same, format!("/same{client}"))))
        .chain([(&same, "/same".to_owned())])
    {
        shoal(&cluster, 0, &["get", "-r", &remote, text(&back)]);
        assert_eq!(content::describe(source).unwrap(), content::describe(&back).unwrap(), "{remote}");
        fs::remove_dir_all(&back).unwrap();
    }
    cluster.stop().unwrap();
}
