//! Sync: one folder becomes like another, in both directions; what is alike costs nothing, what moved costs a rename, and nothing is removed
//! that should have stayed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use tests::harness::process::{eventually, run, signal_to};
use tests::harness::{Answer, Cluster, ClusterOptions, content};

use crate::support::{cluster, file, names, shoal, text};

/// A cluster of one peer: what is tested here does not depend on copies.
fn small() -> (Cluster, PathBuf) {
    cluster(ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() })
}

fn lines(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs a sync: the steps that it tells, as one line each, and its last words.
fn sync(cluster: &Cluster, code: i32, line: &[&str]) -> (Vec<String>, Value) {
    let answer = shoal(cluster, code, &[&["--json", "sync"], line].concat());
    let all = lines(&answer);
    let steps = all.iter().filter(|line| line["event"] == "step").map(|line| {
        let from = line["from"].as_str().map(|from| format!("{from} -> ")).unwrap_or_default();
        format!("{} {from}{}", line["step"].as_str().unwrap(), line["path"].as_str().unwrap())
    });
    let mut last = all.iter().find(|line| line["event"] == "synced").cloned().unwrap();
    let sent: u64 = all.iter().filter_map(|line| line["sent"].as_u64()).sum();
    last["sent"] = sent.into();
    last["wire"] = all.last().unwrap()["wire"].clone();
    (steps.collect(), last)
}

/// The dry run first; then the same for good, which does the very same steps.
fn twice(cluster: &Cluster, line: &[&str]) -> (Vec<String>, Value) {
    let (planned, _) = sync(cluster, 0, &[line, &["--dry-run"]].concat());
    let (done, last) = sync(cluster, 0, line);
    assert_eq!(planned, done);
    (done, last)
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Files large and small, a link, an empty folder, modes and times.
fn tree(root: &Path) {
    fs::create_dir_all(root.join("a/deep")).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    file(root, "large", 1, 3_000_000);
    for number in 0..20 {
        file(&root.join("a"), &format!("small{number}"), 10 + number, 2_000);
    }
    file(&root.join("a/deep"), "nothing", 0, 0);
    file(&root.join("a/deep"), "middle", 2, 400_000);
    symlink("../large", root.join("a/link")).unwrap();
    fs::set_permissions(root.join("large"), Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("empty"), Permissions::from_mode(0o700)).unwrap();
    for (at, path) in ["large", "a/small3", "a/deep", "empty", "a", "."].iter().enumerate() {
        set_time(&root.join(path), 1_000_000_000 + at as u64);
    }
}

fn same(a: &Path, b: &Path) {
    let (a, b): (BTreeMap<_, _>, BTreeMap<_, _>) = (content::describe(a).unwrap(), content::describe(b).unwrap());
    assert_eq!(a, b);
}

#[test]
fn both_ways_a_folder_becomes_like_the_other_and_what_is_alike_costs_nothing() {
    let (cluster, work) = small();
    let (here, back) = (work.join("here"), work.join("back"));
    tree(&here);
    let up = [text(&here), "shoal:/tree"];
    let (steps, _) = twice(&cluster, &up);
    assert_eq!(steps.len(), 3 + 1 + 23 + 1, "folders, the top one, files, a link: {steps:?}");
    let down = ["shoal:/tree", text(&back)];
    let (fetched, _) = twice(&cluster, &down);
    assert_eq!(fetched.len(), steps.len());
    same(&here, &back);

    // Content that changed behind the back of size and time is not seen, so it was not read; by digest it is.
    let hidden = here.join("a/small3");
    let time = fs::metadata(&hidden).unwrap().modified().unwrap();
    fs::write(&hidden, content::bytes(99, 2_000)).unwrap();
    fs::File::options().write(true).open(&hidden).unwrap().set_modified(time).unwrap();
    for line in [up, down] {
        let (steps, last) = twice(&cluster, &line);
        assert_eq!((steps.len(), last["unchanged"].as_u64()), (0, Some(24)), "{steps:?}");
        assert!(last["wire"]["received_bytes"].as_u64().unwrap() < 100_000, "{last}");
    }
    let (steps, _) = twice(&cluster, &[&up[..], &["--checksum"]].concat());
    assert_eq!(steps, ["file a/small3"]);
    let (steps, _) = sync(&cluster, 0, &down);
    assert!(steps.is_empty(), "the same size and time there, too: {steps:?}");
    let (steps, _) = twice(&cluster, &[&down[..], &["--checksum"]].concat());
    assert_eq!(steps, ["file a/small3"]);
    same(&here, &back);

    // Another time or mode alone costs no content, by digest and where only the mode differs.
    set_time(&here.join("large"), 1_200_000_000);
    fs::set_permissions(here.join("a/deep/middle"), Permissions::from_mode(0o600)).unwrap();
    let (steps, last) = twice(&cluster, &[&up[..], &["--checksum"]].concat());
    assert_eq!(steps, ["attributes large", "attributes a/deep/middle"]);
    assert_eq!(last["sent"], 0);
    let (steps, _) = twice(&cluster, &[&down[..], &["--checksum"]].concat());
    assert_eq!(steps, ["attributes large", "attributes a/deep/middle"]);
    same(&here, &back);
}

#[test]
fn what_has_gone_is_removed_on_demand_and_what_has_moved_is_renamed() {
    let (cluster, work) = small();
    let (here, back) = (work.join("here"), work.join("back"));
    tree(&here);
    file(&here, "gone", 50, 1_000);
    sync(&cluster, 0, &[text(&here), "shoal:/tree"]);
    sync(&cluster, 0, &["shoal:/tree", text(&back)]);

    fs::create_dir(here.join("new")).unwrap();
    fs::rename(here.join("large"), here.join("new/renamed")).unwrap();
    fs::rename(here.join("a/deep"), here.join("new/deep")).unwrap();
    fs::remove_file(here.join("gone")).unwrap();
    file(&here, "junk.o", 51, 900);
    shoal(&cluster, 0, &["mkdir", "/tree/kept"]);
    shoal(&cluster, 0, &["put", text(&here.join("junk.o")), "/tree/kept/x.o"]);
    shoal(&cluster, 0, &["put", text(&here.join("junk.o")), "/tree/kept/x.c"]);

    let line = [text(&here), "shoal:/tree", "--delete", "--exclude", "*.o"];
    let (steps, last) = twice(&cluster, &line);
    for step in [
        "move large -> new/renamed",
        "move a/deep/middle -> new/deep/middle",
        "delete gone",
        "delete a/deep",
        "delete kept/x.c",
        "folder new",
        "folder new/deep",
        "file new/deep/nothing",
    ] {
        assert!(steps.iter().any(|one| one == step), "{step} is missing: {steps:?}");
    }
    assert!(!steps.iter().any(|step| step.contains(".o") || step.ends_with(" kept")), "{steps:?}");
    assert_eq!(last["sent"], 0, "what moved was sent: {last}");
    assert_eq!(names(&cluster, "/tree/kept"), ["x.o"]);

    let inode = fs::metadata(back.join("large")).unwrap().ino();
    file(&back, "mine", 52, 100);
    file(&back, "mine.o", 52, 100);
    let line = ["shoal:/tree", text(&back), "--delete", "--exclude", "*.o"];
    let (without, _) = sync(&cluster, 0, &[&line[..2], &["--dry-run"]].concat());
    assert!(!without.iter().any(|step| step.starts_with("delete") || step.starts_with("move")), "{without:?}");
    let (steps, last) = twice(&cluster, &line);
    assert!(steps.contains(&"move large -> new/renamed".to_owned()) && steps.contains(&"delete mine".to_owned()));
    assert!(last["wire"]["received_bytes"].as_u64().unwrap() < 100_000, "{last}");
    assert_eq!(fs::metadata(back.join("new/renamed")).unwrap().ino(), inode);
    assert!(back.join("mine.o").exists() && !back.join("mine").exists() && !back.join("a/deep").exists());
    fs::remove_file(back.join("mine.o")).unwrap();
    fs::remove_dir(back.join("kept")).unwrap();
    fs::remove_file(here.join("junk.o")).unwrap();
    set_time(&here, 5);
    set_time(&back, 5);
    same(&here, &back);
}

#[test]
fn nothing_outside_dest_is_touched_and_one_kind_replaces_another_only_on_demand() {
    let (cluster, work) = small();
    let (here, outside, back) = (work.join("here"), work.join("outside"), work.join("back"));
    fs::create_dir_all(here.join("x")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    file(&here.join("x"), "inside", 1, 10);
    file(&here, "y", 2, 10);
    file(&outside, "precious", 3, 10);
    sync(&cluster, 0, &[text(&here), "shoal:/t"]);
    // Where SRC has a folder, DEST has a link that leads elsewhere; where it has a file, a folder.
    fs::create_dir_all(back.join("y")).unwrap();
    symlink(&outside, back.join("x")).unwrap();
    symlink(&outside, back.join("z")).unwrap();
    let before = content::describe(&outside).unwrap();
    let line = ["shoal:/t", text(&back)];
    let answer = shoal(&cluster, 1, &[&["sync"], &line[..]].concat());
    assert!(answer.stderr.contains("is a link in DEST and a folder in SRC"), "{}", answer.stderr);
    assert!(answer.stderr.contains("is a folder in DEST and a file in SRC"), "{}", answer.stderr);
    sync(&cluster, 0, &[&line[..], &["--delete"]].concat());
    assert_eq!(content::describe(&outside).unwrap(), before);
    same(&here, &back);
    // A SRC with nothing in it is more likely a mistake.
    let nothing = work.join("nothing");
    fs::create_dir(&nothing).unwrap();
    shoal(&cluster, 0, &["mkdir", "/nothing"]);
    for line in [[text(&nothing), "shoal:/t"], ["shoal:/nothing", text(&back)]] {
        let answer = shoal(&cluster, 1, &[&["sync", "--delete"], &line[..]].concat());
        assert!(answer.stderr.contains("SRC is empty"), "{}", answer.stderr);
    }
    assert_eq!(content::describe(&back).unwrap().len(), content::describe(&here).unwrap().len());
    assert_eq!(names(&cluster, "/t"), ["x/", "y"]);
    for (line, words) in [
        (["sync", text(&here), text(&back)], "shoal:/path"),
        (["sync", "shoal:/a", "shoal:/b"], "shoal cp -r"),
        (["sync", text(&here), "shoal:b"], "shoal:/path"),
    ] {
        let answer = shoal(&cluster, 2, &line);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
}

/// Runs `shoal` as somebody for whom permissions count.
fn without_rights(cluster: &Cluster, line: &[&str]) -> Answer {
    let mut command = cluster.shoal_command("device", line).unwrap();
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    run(command, None).unwrap()
}

const NOBODY: u32 = 65_534;

/// Makes it all somebody's who has no special rights.
fn give_away(path: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[test]
fn a_folder_that_cannot_be_read_keeps_what_is_stored_of_it() {
    let (cluster, work) = small();
    let here = work.join("here");
    for folder in ["open", "closed/below"] {
        fs::create_dir_all(here.join(folder)).unwrap();
        file(&here.join(folder), "file", 1, 1_000);
        file(&here.join(folder), "other", 2, 1_000);
    }
    fs::set_permissions(cluster.root(), Permissions::from_mode(0o755)).unwrap();
    give_away(&work);
    give_away(&cluster.home("device"));
    let line = ["--json", "sync", "--delete", text(&here), "shoal:/t"];
    assert_eq!(without_rights(&cluster, &line).status, Some(0));
    fs::remove_file(here.join("open/other")).unwrap();
    fs::set_permissions(here.join("closed"), Permissions::from_mode(0o000)).unwrap();
    let answer = without_rights(&cluster, &line);
    fs::set_permissions(here.join("closed"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(answer.status, Some(3), "{} {}", answer.text(), answer.stderr);
    assert!(answer.stderr.contains("closed"), "{}", answer.stderr);
    let left = without_rights(&cluster, &["ls", "-r", "/t"]).text();
    assert!(left.contains("/t/closed/below/other") && !left.contains("/t/open/other"), "{left}");
}

#[test]
fn a_watch_brings_what_changes_also_after_the_directory_was_away_and_ends_well() {
    let (mut cluster, work) = small();
    let here = work.join("here");
    fs::create_dir(&here).unwrap();
    file(&here, "first", 1, 1_000);
    let line = ["sync", "--watch", "--delete", "--every", "3600", text(&here), "shoal:/w"];
    let mut command = cluster.shoal_command("device", line).unwrap();
    let log = fs::File::create(work.join("log")).unwrap();
    let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let stands = |cluster: &Cluster, expected: &[&str]| {
        let is_so = || {
            let Ok(seen) = cluster.shoal(["ls", "-r", "/w"]) else { return false };
            let text = seen.text();
            let mut lines: Vec<_> = text.lines().collect();
            lines.sort_unstable(); // a folder's own content comes behind its neighbours
            lines == expected
        };
        if let Err(error) = eventually(&format!("{expected:?}"), Duration::from_secs(60), is_so) {
            panic!("{error}: {}", fs::read_to_string(work.join("log")).unwrap());
        }
    };
    stands(&cluster, &["/w/first"]);
    fs::create_dir(here.join("new")).unwrap();
    file(&here.join("new"), "second", 2, 300_000);
    stands(&cluster, &["/w/first", "/w/new/", "/w/new/second"]);
    fs::rename(here.join("new/second"), here.join("second")).unwrap();
    stands(&cluster, &["/w/first", "/w/new/", "/w/second"]);
    fs::remove_file(here.join("first")).unwrap();
    stands(&cluster, &["/w/new/", "/w/second"]);
    cluster.kill_directory().unwrap();
    file(&here.join("new"), "third", 3, 1_000);
    cluster.serve_directory().unwrap();
    stands(&cluster, &["/w/new/", "/w/new/third", "/w/second"]);
    signal_to(child.id(), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", fs::read_to_string(work.join("log")).unwrap());
}
