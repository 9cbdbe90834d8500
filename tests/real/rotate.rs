//! Another master key for an account, with real devices: what reads on, what ends, and what a kill in the middle leaves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::harness::Cluster;

use crate::keys::{expect, one_peer, phrase, secret, with_input};
use crate::support::{file, text};
use crate::typist::Typist;

fn rotate(cluster: &Cluster) -> serde_json::Value {
    let answer = expect(cluster, "device", 0, &["--json", "key", "rotate", "--yes"]);
    let lines = answer.text();
    let last = lines.lines().last().unwrap();
    serde_json::from_str(last).unwrap()
}

fn second_device(cluster: &Cluster) {
    let ticket = cluster.ticket(&["--role", "client", "--account", "home"]).unwrap();
    with_input(cluster, "second", &["join", "--recover", &ticket], &phrase(cluster, "device")).expect(0).unwrap();
}

fn cat(cluster: &Cluster, device: &str, path: &str) -> Vec<u8> {
    expect(cluster, device, 0, &["cat", path]).stdout
}

#[test]
fn after_a_rotation_all_of_before_reads_and_the_old_key_opens_and_writes_nothing() {
    let (cluster, work) = one_peer();
    second_device(&cluster);
    let tree = work.join("tree");
    fs::create_dir_all(tree.join("inner")).unwrap();
    let large = file(&tree, "large", 1, 3_000_000);
    for number in 0..30 {
        file(&tree.join("inner"), &format!("small-{number}"), 10 + number, 3_000);
    }
    expect(&cluster, "device", 0, &["put", "-r", text(&tree), "/tree"]);
    expect(&cluster, "device", 0, &["snapshot", "create", "before"]);
    let first = cat(&cluster, "device", "/tree/large");
    let other = file(&work, "other", 2, 2_000_000);
    expect(&cluster, "device", 0, &["put", text(&other), "/tree/large"]);
    expect(&cluster, "device", 0, &["mv", "/tree/inner/small-3", "/tree/moved"]);
    expect(&cluster, "device", 0, &["rm", "/tree/inner/small-4"]);
    let share = |line: &[&str]| {
        let made = expect(&cluster, "device", 0, &[&["--json", "share"], line].concat()).text();
        serde_json::from_str::<serde_json::Value>(&made).unwrap()["link"].as_str().unwrap().to_owned()
    };
    let (fixed, follows) = (share(&["/tree/large"]), share(&["--follow", "/tree/large"]));
    let old_phrase = phrase(&cluster, "device");

    let done = rotate(&cluster);
    assert_eq!((done["event"].as_str(), done["shares_ended"].as_u64()), (Some("rotated"), Some(1)), "{done}");
    assert!(done["resealed"].as_u64().unwrap() > 60, "{done}");
    let new_phrase = phrase(&cluster, "device");
    assert_ne!(new_phrase, old_phrase);

    // All of before, on the device that has the new key.
    assert!(cat(&cluster, "device", "/tree/large") == fs::read(&other).unwrap());
    let at = expect(&cluster, "device", 0, &["cat", "--at", "before", "/tree/large"]).stdout;
    assert!(at == first && first == fs::read(&large).unwrap());
    let small = fs::read(tree.join("inner/small-3")).unwrap();
    assert!(cat(&cluster, "device", "/tree/moved") == small);
    assert!(expect(&cluster, "device", 0, &["cat", "--at", "before", "/tree/inner/small-3"]).stdout == small);
    expect(&cluster, "device", 0, &["undelete", "/tree/inner/small-4"]);
    assert!(cat(&cluster, "device", "/tree/inner/small-4") == fs::read(tree.join("inner/small-4")).unwrap());
    assert!(expect(&cluster, "device", 0, &["versions", "/tree/large"]).text().lines().count() >= 2);
    expect(&cluster, "device", 0, &["verify", "--deep"]);
    // The same content, large or small, is still found.
    let again = expect(&cluster, "device", 0, &["--json", "put", "-r", text(&tree), "/again"]).text();
    let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let sent: u64 = again.lines().filter_map(|line| event(line)["sent"].as_u64()).sum();
    assert_eq!(sent, 0, "{again}");

    // A device with the old key is told what to do; nothing is written with it.
    for line in [&["ls", "/"][..], &["put", text(&other), "/mine"]] {
        let refused = expect(&cluster, "second", 12, line);
        assert!(refused.stderr.contains("shoal key import --phrase --replace"), "{}", refused.stderr);
    }
    with_input(&cluster, "second", &["key", "import", "--phrase", "--replace"], &old_phrase).expect(12).unwrap();
    with_input(&cluster, "second", &["key", "import", "--phrase", "--replace"], &new_phrase).expect(0).unwrap();
    assert!(cat(&cluster, "second", "/tree/large") == fs::read(&other).unwrap());
    let ticket = cluster.ticket(&["--role", "client", "--account", "home"]).unwrap();
    with_input(&cluster, "third", &["join", "--recover", &ticket], &old_phrase).expect(12).unwrap();
    with_input(&cluster, "third", &["join", "--recover", &ticket], &new_phrase).expect(0).unwrap();
    assert!(cat(&cluster, "third", "/tree/moved") == small);

    // Links: to one version on, to whatever is current not any more; a new one works.
    cluster.join_device("bert", "bert").unwrap();
    assert!(expect(&cluster, "bert", 0, &["cat", &fixed]).stdout == fs::read(&other).unwrap());
    let ended = expect(&cluster, "bert", 12, &["cat", &follows]);
    assert!(ended.stderr.contains("revoked"), "{}", ended.stderr);
    assert!(
        expect(&cluster, "bert", 0, &["cat", &share(&["--follow", "/tree/large"])]).stdout == fs::read(&other).unwrap()
    );
    let listed = expect(&cluster, "device", 0, &["share", "ls"]).text();
    assert!(listed.matches("/tree/large").count() >= 2, "{listed}");

    // And once more, from the device that was brought along.
    let answer = expect(&cluster, "second", 0, &["key", "rotate", "--yes"]);
    assert_eq!(answer.text().split_whitespace().count(), 24, "the phrase alone is on standard output");
    assert!(expect(&cluster, "second", 0, &["cat", "--at", "before", "/tree/large"]).stdout == first);
}

#[test]
fn a_rotation_that_is_killed_goes_on_and_loses_nothing() {
    let (cluster, work) = one_peer();
    let tree = work.join("tree");
    fs::create_dir_all(&tree).unwrap();
    for number in 0..600 {
        fs::write(tree.join(format!("file-{number}")), format!("content {number}")).unwrap();
    }
    expect(&cluster, "device", 0, &["put", "-r", text(&tree), "/tree"]);
    let home = cluster.home("device");
    let next = home.join("master.next");
    let mut kills = 0;
    for pause in [0, 5, 10, 20, 40, 80, 160] {
        let mut child = cluster.shoal_command("device", ["key", "rotate", "--yes"]).unwrap().spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + pause));
        child.kill().unwrap();
        kills += u32::from(child.wait().unwrap().code().is_none());
        // Whatever it left: the directory's key is in this home, and everything reads.
        let seen = cluster.shoal_as("device", ["cat", "/tree/file-77"]).unwrap();
        if seen.status != Some(0) {
            assert!(next.exists() && seen.stderr.contains("shoal key rotate"), "{}", seen.stderr);
        } else {
            assert!(seen.stdout == b"content 77");
        }
    }
    assert!(kills > 0, "no rotation was caught in the middle");
    // Broken off after the directory was told and before this home was changed: at will, since the moment is short.
    let held = fs::read(home.join("master.key")).unwrap();
    expect(&cluster, "device", 0, &["key", "rotate", "--yes"]);
    let given = fs::read(home.join("master.key")).unwrap();
    if !held.eq(&given) {
        fs::write(&next, &given).unwrap();
        fs::write(home.join("master.key"), &held).unwrap();
        restrict(&next);
        let closed = expect(&cluster, "device", 12, &["ls", "/"]);
        assert!(closed.stderr.contains("finish with: shoal key rotate"), "{}", closed.stderr);
        let refused = expect(&cluster, "device", 11, &["key", "passphrase", "--set", "--new-passphrase-file", "x"]);
        assert!(refused.stderr.contains("shoal key rotate"), "{}", refused.stderr);
        expect(&cluster, "device", 0, &["key", "rotate", "--yes"]);
        assert!(fs::read(home.join("master.key")).unwrap() == given && !next.exists());
    }
    let back = work.join("back");
    expect(&cluster, "device", 0, &["get", "-r", "/tree", text(&back)]);
    for number in 0..600 {
        assert_eq!(fs::read_to_string(back.join(format!("file-{number}"))).unwrap(), format!("content {number}"));
    }
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn the_new_phrase_is_shown_before_anything_changes_and_a_passphrase_stays() {
    let (cluster, work) = one_peer();
    let source = file(&work, "source", 8, 100_000);
    expect(&cluster, "device", 0, &["put", text(&source), "/kept"]);
    let pass = secret(&work, "pass", "of this device\n");
    expect(&cluster, "device", 0, &["key", "passphrase", "--set", "--new-passphrase-file", &pass]);
    let unasked = expect(&cluster, "device", 12, &["key", "rotate", "--yes"]);
    assert!(unasked.stderr.contains("passphrase"), "{}", unasked.stderr);
    let line = ["--passphrase-file", &pass, "key", "rotate"];
    let unwritten = expect(&cluster, "device", 1, &line);
    assert!(unwritten.stderr.contains("was not rotated"), "{}", unwritten.stderr);
    let shown = unwritten.text();
    assert_eq!(shown.split_whitespace().count(), 24);
    let old = expect(&cluster, "device", 0, &["--passphrase-file", &pass, "cat", "/kept"]);
    assert!(old.stdout == fs::read(&source).unwrap());
    // Asked on a terminal; the phrase is the one that was shown.
    let mut typist = Typist::start(&cluster.shoal_command("device", line).unwrap(), "{}");
    typist.answers("when it is written down", "yes");
    let (code, screen) = typist.ends();
    assert_eq!(code, Some(0), "{screen}");
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(screen.contains(&words[18..].join(" ")), "{screen}");
    let locked = expect(&cluster, "device", 12, &["cat", "/kept"]);
    assert!(locked.stderr.contains("locked"), "{}", locked.stderr);
    let read = expect(&cluster, "device", 0, &["--passphrase-file", &pass, "cat", "/kept"]);
    assert!(read.stdout == old.stdout);
    let now = expect(&cluster, "device", 0, &["--passphrase-file", &pass, "key", "phrase", "--yes"]).text();
    assert_eq!(now.trim(), shown.trim());
}
