//! What goes up comes down: every kind of file, every command.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use tests::harness::process::run;
use tests::harness::{ClusterOptions, content};

use crate::support::{cluster, file, json, names, shoal, text, three_peers};

#[test]
fn files_of_every_length_come_back_as_they_were() {
    let (cluster, work) = three_peers();
    for (number, len) in [0, 1, 4_095, 262_143, 262_144, 3_000_000, 13_000_000, 40_000_000].into_iter().enumerate() {
        let source = file(&work, "source", number as u64, len);
        let back = work.join("back");
        shoal(&cluster, 0, &["put", text(&source), "/file"]);
        shoal(&cluster, 0, &["get", "/file", text(&back)]);
        content::compare(&source, &back).unwrap();
        let printed = shoal(&cluster, 0, &["cat", "/file"]);
        assert!(printed.stdout == fs::read(&source).unwrap(), "cat of {len} bytes");
        assert_eq!(json(&cluster, &["stat", "/file"])["size"], len as u64);
    }
}

#[test]
fn streams_go_up_from_stdin_and_down_to_stdout() {
    let (cluster, _) = three_peers();
    for len in [0, 5, 20_000_000] {
        let input = content::bytes(9, len);
        let put = cluster.shoal_command("device", ["put", "-", "/stream"]).unwrap();
        run(put, Some(input.clone())).unwrap().expect(0).unwrap();
        assert!(shoal(&cluster, 0, &["get", "/stream", "-"]).stdout == input, "{len} bytes");
    }
}

#[test]
fn a_tree_keeps_times_modes_empty_folders_links_and_odd_names() {
    let (cluster, work) = three_peers();
    let tree = work.join("tree");
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    let mut odd =
        vec![OsString::from("with space"), OsString::from("ünïcode"), OsString::from("-dash"), "new\nline".into()];
    odd.push(OsString::from_vec(vec![b'b', b'a', b'd', 0xff, 0xfe]));
    for (number, name) in odd.iter().enumerate() {
        fs::write(tree.join("a").join(name), content::bytes(number as u64, number * 1_000)).unwrap();
    }
    file(&tree, "large", 5, 5_000_000);
    file(&tree.join("a/b/c"), "deep", 6, 300_000);
    symlink("../large", tree.join("a/link")).unwrap();
    symlink("/nowhere/at/all", tree.join("dangling")).unwrap();
    fs::set_permissions(tree.join("large"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o700)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(tree.join("large")).unwrap().set_modified(old).unwrap();
    fs::File::open(tree.join("empty")).unwrap().set_modified(old).unwrap();

    shoal(&cluster, 0, &["put", "-r", text(&tree), "/copy"]);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "-r", "/copy", text(&back)]);
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&back).unwrap());

    // Copying is done without data, and the copy is as good.
    shoal(&cluster, 0, &["cp", "-r", "/copy", "/again"]);
    let again = work.join("again");
    shoal(&cluster, 0, &["get", "-r", "/again", text(&again)]);
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&again).unwrap());

    // Moving a folder takes all that is in it along.
    shoal(&cluster, 0, &["mkdir", "-p", "/x/y"]);
    shoal(&cluster, 0, &["mv", "/copy", "/x/y/moved"]);
    shoal(&cluster, 1, &["ls", "/copy"]);
    let moved = work.join("moved");
    shoal(&cluster, 0, &["get", "-r", "/x/y/moved", text(&moved)]);
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&moved).unwrap());
}

#[test]
fn the_commands_on_names_do_what_their_namesakes_do() {
    let (cluster, work) = three_peers();
    let a = file(&work, "a", 1, 1_000);
    let b = file(&work, "b", 2, 2_000);
    shoal(&cluster, 0, &["mkdir", "/folder"]);
    shoal(&cluster, 0, &["put", text(&a), text(&b), "/folder"]);
    assert_eq!(names(&cluster, "/folder"), ["a", "b"]);
    assert_eq!(names(&cluster, "/"), ["folder/"]);

    // Overwriting makes a new version of the same file.
    let before = json(&cluster, &["stat", "/folder/a"]);
    shoal(&cluster, 0, &["put", text(&b), "/folder/a"]);
    let after = json(&cluster, &["stat", "/folder/a"]);
    assert_eq!(before["node"], after["node"]);
    assert_ne!(before["version"], after["version"]);
    assert!(shoal(&cluster, 0, &["cat", "/folder/a"]).stdout == fs::read(&b).unwrap());

    shoal(&cluster, 0, &["mv", "/folder/a", "/folder/c"]);
    shoal(&cluster, 0, &["cp", "/folder/b", "/folder/d"]);
    shoal(&cluster, 0, &["rm", "/folder/b"]);
    assert_eq!(names(&cluster, "/folder"), ["c", "d"]);
    assert!(shoal(&cluster, 0, &["cat", "/folder/d"]).stdout == fs::read(&b).unwrap());

    shoal(&cluster, 1, &["rm", "/folder"]);
    shoal(&cluster, 0, &["rm", "-r", "/folder"]);
    assert!(names(&cluster, "/").is_empty());
    shoal(&cluster, 1, &["mkdir", "/no/parent"]);
    shoal(&cluster, 0, &["mkdir", "-p", "/no/parent"]);
    shoal(&cluster, 0, &["mkdir", "-p", "/no/parent"]);
    shoal(&cluster, 1, &["mv", "/no", "/no/parent/inside"]);
}

#[test]
fn what_is_stored_already_is_not_sent_again() {
    let (cluster, work) = three_peers();
    let source = file(&work, "source", 3, 30_000_000);
    let sent = |name: &str| {
        let answer = shoal(&cluster, 0, &["--json", "put", text(&source), name]);
        let lines = answer.text();
        let done: serde_json::Value = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|line: &serde_json::Value| line.get("sent").is_some())
            .unwrap_or_else(|| panic!("no line says what was sent: {lines}"));
        done["sent"].as_u64().unwrap()
    };
    let first = sent("/first");
    assert!((90_000_000..91_000_000).contains(&first), "three copies were {first} bytes");
    assert_eq!(sent("/second"), 0);
}

#[test]
fn shares_of_a_code_bring_files_back_with_as_many_lost_as_they_allow() {
    let (mut cluster, work) = cluster(ClusterOptions { peers: 5, ..ClusterOptions::default() });
    let source = file(&work, "source", 4, 9_000_000);
    let small = file(&work, "small", 5, 500);
    shoal(&cluster, 0, &["put", text(&source), text(&small), "/", "--redundancy", "3/5"]);
    let before = work.join("before");
    shoal(&cluster, 0, &["get", "/source", text(&before)]);
    content::compare(&source, &before).unwrap();
    cluster.kill_peer(1).unwrap();
    cluster.kill_peer(4).unwrap();
    for (name, original) in [("/source", &source), ("/small", &small)] {
        let back = work.join("back");
        shoal(&cluster, 0, &["get", name, text(&back)]);
        content::compare(original, &back).unwrap();
    }
}

#[test]
fn thousands_of_small_files_travel_in_packs() {
    let (cluster, work) = three_peers();
    let tree = work.join("tree");
    for folder in 0..4 {
        let folder = tree.join(format!("folder{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for number in 0..500 {
            file(&folder, &format!("{number}"), number, 4 << 10);
        }
    }
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/many"]);
    let status = cluster.status().unwrap();
    let chunks = status["chunks"].as_u64().unwrap();
    assert!(chunks < 40, "2000 small files became {chunks} chunks");
    let back = work.join("back");
    shoal(&cluster, 0, &["get", "-r", "/many", text(&back)]);
    assert_eq!(content::describe(&tree).unwrap(), content::describe(&back).unwrap());
}
