//! Back in time: what was overwritten, removed or moved is seen, read and brought back; and two devices at one path.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use common::time::Timestamp;
use serde_json::Value;
use tests::harness::process::{eventually, run};
use tests::harness::{Answer, Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, names, shoal, text};

fn one_peer() -> (Cluster, std::path::PathBuf) {
    cluster(ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() })
}

/// The objects of an answer, one a line.
fn objects(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn versions(cluster: &Cluster, path: &str) -> Vec<Value> {
    objects(&shoal(cluster, 0, &["--json", "versions", path]))
}

/// The name of the n-th version, the newest first.
fn version(cluster: &Cluster, path: &str, number: usize) -> String {
    format!("{path}@{}", versions(cluster, path)[number]["version"])
}

fn column(states: &[Value], name: &str) -> Vec<String> {
    states.iter().map(|state| state[name].as_str().unwrap_or("-").to_owned()).collect()
}

/// This instant, to the millisecond, as it is typed.
fn instant() -> String {
    let now = Timestamp::from_system(SystemTime::now());
    now.to_string().replace('Z', &format!(".{:03}Z", now.0 % 1_000))
}

fn cat(cluster: &Cluster, line: &[&str], expected: &Path) {
    let answer = shoal(cluster, 0, &[&["cat"], line].concat());
    assert!(answer.stdout == fs::read(expected).unwrap(), "cat {line:?}");
}

fn refused(cluster: &Cluster, code: i32, line: &[&str], word: &str) {
    let answer = shoal(cluster, code, line);
    assert!(answer.stderr.contains(word), "{line:?}: {word} is missing in {}", answer.stderr);
}

#[test]
fn what_was_overwritten_and_removed_is_seen_and_brought_back() {
    let (cluster, work) = one_peer();
    let (a, b) = (file(&work, "a", 1, 3_000), file(&work, "b", 2, 700_000));
    shoal(&cluster, 0, &["put", text(&a), "/f"]);
    let between = instant();
    shoal(&cluster, 0, &["put", text(&b), "/f"]);

    let states = versions(&cluster, "/f");
    assert_eq!(column(&states, "ended"), ["-", "replaced"]);
    assert_eq!((&states[0]["size"], &states[1]["size"]), (&700_000.into(), &3_000.into()));
    assert_eq!((&states[0]["current"], &states[1]["until"]), (&true.into(), &states[0]["at"]));
    let old = version(&cluster, "/f", 1);
    cat(&cluster, &[&old], &a);
    cat(&cluster, &["/f", "--at", &between], &a);
    cat(&cluster, &["/f", "--at", "now"], &b);
    cat(&cluster, &["/f", "--at", &format!("@{}", states[1]["version"])], &a);
    assert_eq!(json(&cluster, &["stat", &old])["size"], 3_000);
    assert_eq!(json(&cluster, &["ls", &old])["version"], states[1]["version_id"]);
    let back = work.join("back");
    shoal(&cluster, 0, &["get", &old, text(&back)]);
    content::compare(&a, &back).unwrap();

    // Times and versions that are none.
    refused(&cluster, 1, &["cat", "/f@3"], "shoal versions /f");
    refused(&cluster, 1, &["get", "/f@3", text(&back)], "shoal versions /f");
    refused(&cluster, 1, &["cat", "/never@3"], "no version @3");
    refused(&cluster, 1, &["ls", "--at", "2001-01-01"], "the first change was at");
    refused(&cluster, 2, &["ls", "--at", "2999-01-01"], "in the future");
    refused(&cluster, 1, &["ls", "--at", "@99999999"], "the last one is @");
    refused(&cluster, 1, &["ls", "--at", "no-such-snapshot"], "no snapshot called no-such-snapshot");
    refused(&cluster, 2, &["ls", "--at", "2026-11-21T14:00:00"], "add Z for UTC");
    refused(&cluster, 1, &["versions", "/never"], "nothing is known of /never");

    // Over what is there: that stays in history.
    refused(&cluster, 2, &["restore", "/f"], "/f@VERSION");
    let said = json(&cluster, &["restore", &old]);
    assert_eq!((&said["files"], &said["path"]), (&1.into(), &"/f".into()));
    cat(&cluster, &["/f"], &a);
    cat(&cluster, &[&version(&cluster, "/f", 1)], &b);
    let states = versions(&cluster, "/f");
    assert_eq!(states.len(), 3);
    assert!(states.iter().all(|state| state["node"] == states[0]["node"]), "the same file all along");
    let so_already = format!("/f@{}", states[0]["version"]);
    assert_eq!(json(&cluster, &["restore", &so_already])["unchanged"], 1);
    assert_eq!(versions(&cluster, "/f").len(), 3);

    // A name that really ends like a version wins.
    let literal = format!("/f@{}", states[2]["version"]);
    shoal(&cluster, 0, &["put", text(&b), &literal]);
    cat(&cluster, &[&literal], &b);

    // Removed, brought back, removed.
    refused(&cluster, 11, &["undelete", "/f"], "was not removed");
    shoal(&cluster, 0, &["rm", "/f"]);
    shoal(&cluster, 1, &["cat", "/f"]);
    assert_eq!(column(&versions(&cluster, "/f"), "ended"), ["removed", "replaced", "replaced"]);
    shoal(&cluster, 0, &["undelete", "/f"]);
    cat(&cluster, &["/f"], &a);
    assert_eq!(column(&versions(&cluster, "/f"), "ended"), ["-", "removed", "replaced", "replaced"]);

    // Moved away is not removed, and something else may have the name then.
    shoal(&cluster, 0, &["mv", "/f", "/g"]);
    assert_eq!(versions(&cluster, "/f")[0]["ended"], "moved");
    refused(&cluster, 1, &["undelete", "/f"], "shoal restore /f@");
    shoal(&cluster, 0, &["mkdir", "/f"]);
    assert_eq!(versions(&cluster, "/f")[0]["kind"], "folder");
    let last = version(&cluster, "/f", 1);
    refused(&cluster, 11, &["restore", &last], "a folder is at /f now");
    shoal(&cluster, 0, &["restore", &last, "--to", "/f/"]);
    cat(&cluster, &["/f/f"], &a);
    refused(&cluster, 1, &["undelete", "/never"], "nothing is known of /never");
}

/// A folder with files of all kinds, and what it is like.
fn tree(work: &Path) -> std::path::PathBuf {
    let tree = work.join("tree");
    fs::create_dir_all(tree.join("sub/deep")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    file(&tree, "large", 1, 2_000_000);
    for (number, seed) in (0..20).zip(0_u64..) {
        file(&tree.join("sub"), &format!("{number}"), seed, 100 + 1_000 * number);
    }
    file(&tree.join("sub/deep"), "file", 77, 5_000);
    std::os::unix::fs::symlink("../large", tree.join("sub/link")).unwrap();
    tree
}

fn fetched(cluster: &Cluster, work: &Path, name: &str, line: &[&str]) -> std::path::PathBuf {
    let back = work.join(name);
    shoal(cluster, 0, &[&["get", "-r"], line, &[text(&back)]].concat());
    back
}

#[test]
fn a_folder_is_read_and_restored_as_it_was() {
    let (cluster, work) = one_peer();
    let tree = tree(&work);
    let like = content::describe(&tree).unwrap();
    shoal(&cluster, 0, &["put", "-r", text(&tree), "/t"]);
    let listed = shoal(&cluster, 0, &["ls", "-lr", "/t"]).stdout;
    let then = instant();

    let other = file(&work, "other", 9, 2_000_000);
    let touched = file(&work, "1", 1, 1_100);
    shoal(&cluster, 0, &["put", text(&other), "/t/large"]);
    shoal(&cluster, 0, &["put", text(&touched), "/t/sub/1"]); // the same content, put later
    shoal(&cluster, 0, &["put", text(&other), "/t/new"]);
    shoal(&cluster, 0, &["rm", "/t/sub/2"]);
    shoal(&cluster, 0, &["mv", "/t/sub/3", "/t/three"]);
    shoal(&cluster, 0, &["mv", "/t/sub/deep", "/t/deeper"]);
    shoal(&cluster, 0, &["rm", "-r", "/t/empty"]);

    assert!(shoal(&cluster, 0, &["ls", "-lr", "/t", "--at", &then]).stdout == listed, "as it was listed then");
    let back = fetched(&cluster, &work, "then", &["--at", &then, "/t"]);
    assert_eq!(content::describe(&back).unwrap(), like);

    let mut told: Vec<_> = objects(&shoal(&cluster, 0, &["--json", "diff", &then, "now", "/t"]));
    let end = told.pop().unwrap();
    let shown = |d: &Value| match d["from"].as_str() {
        Some(from) => format!("{} {from} {}", d["event"].as_str().unwrap(), d["path"].as_str().unwrap()),
        None => format!("{} {}", d["event"].as_str().unwrap(), d["path"].as_str().unwrap()),
    };
    let mut told: Vec<_> = told.iter().map(shown).collect();
    told.sort();
    let expected = [
        "added /t/new",
        "changed /t/large",
        "moved /t/sub/3 /t/three",
        "moved /t/sub/deep /t/deeper",
        "removed /t/empty",
        "removed /t/sub/2",
        "touched /t/sub/1",
    ];
    assert_eq!(told, expected);
    assert_eq!((&end["moved"], &end["moves_untold"]), (&2.into(), &false.into()));
    let now = shoal(&cluster, 0, &["diff", "now", "now"]);
    assert!(now.stdout.is_empty(), "{}", now.text());
    refused(&cluster, 2, &["diff", "/t", "/t", "/t"], "third argument");
    refused(&cluster, 1, &["diff", "/t/large", "/t"], "is a file");

    // Elsewhere it is exactly as it was, and no different from it.
    let said = json(&cluster, &["restore", "/t", "--at", &then, "--to", "/elsewhere"]);
    assert_eq!((&said["files"], &said["failed"]), (&23.into(), &0.into()));
    let back = fetched(&cluster, &work, "elsewhere", &["/elsewhere"]);
    assert_eq!(content::describe(&back).unwrap(), like);
    refused(&cluster, 0, &["diff", "/t", "/elsewhere"], "added");
    let made = format!("/t@{}", json(&cluster, &["stat", "/t"])["since"]);
    let listed = shoal(&cluster, 0, &["ls", &made]).text();
    assert!(listed.is_empty(), "nothing was in it when it was made: {listed}");

    // In its place old content comes back, and what came since stays.
    let said = json(&cluster, &["restore", "/t", "--at", &then]);
    assert_eq!((&said["failed"], &said["unchanged"]), (&0.into(), &18.into()));
    let left: Vec<_> = objects(&shoal(&cluster, 0, &["--json", "diff", &then, "now", "/t"]));
    let mut left: Vec<_> = left.iter().filter(|d| d["event"] != "end").map(shown).collect();
    left.sort();
    assert_eq!(left.iter().filter(|d| d.starts_with("changed") || d.starts_with("touched")).count(), 0, "{left:?}");
    assert!(names(&cluster, "/t").contains(&"new".to_owned()));

    // Gone with all in it, and back.
    let before = fetched(&cluster, &work, "before", &["/t"]);
    shoal(&cluster, 0, &["rm", "-r", "/t"]);
    shoal(&cluster, 0, &["undelete", "/t"]);
    let after = fetched(&cluster, &work, "after", &["/t"]);
    assert_eq!(content::describe(&before).unwrap(), content::describe(&after).unwrap());

    // One file out of a folder that is gone: the folders above it are made again.
    shoal(&cluster, 0, &["rm", "-r", "/t"]);
    assert_eq!(versions(&cluster, "/t/sub/link")[0]["ended"], "removed");
    shoal(&cluster, 0, &["undelete", "/t/sub/19"]);
    assert_eq!(names(&cluster, "/t"), ["sub/"]);
    cat(&cluster, &["/t/sub/19"], &tree.join("sub/19"));
    // The whole account as it was, into a folder.
    shoal(&cluster, 0, &["restore", "/", "--at", &then, "--to", "/all"]);
    let all = fetched(&cluster, &work, "all", &["/all/t"]);
    assert_eq!(content::describe(&all).unwrap(), like);
}

#[test]
fn a_snapshot_is_a_time_and_what_was_pruned_is_said_to_be_gone() {
    let (cluster, work) = one_peer();
    let (a, b) = (file(&work, "a", 1, 3_000), file(&work, "b", 2, 7_000));
    shoal(&cluster, 0, &["put", text(&a), "/f"]);
    shoal(&cluster, 0, &["snapshot", "create", "before"]);
    shoal(&cluster, 0, &["put", text(&b), "/f"]);
    shoal(&cluster, 0, &["put", text(&b), "/g"]);
    let second = version(&cluster, "/f", 0);
    shoal(&cluster, 0, &["put", text(&a), "/f"]);

    cat(&cluster, &["/f", "--at", "before"], &a);
    assert_eq!(names_at(&cluster, "before"), ["f"]);
    assert_eq!(json(&cluster, &["du", "/", "--at", "before"])["bytes"], 3_000);
    assert_eq!(json(&cluster, &["du", "/"])["bytes"], 10_000);
    let told = objects(&shoal(&cluster, 0, &["--json", "diff", "before", "now"]));
    let told: Vec<_> = told.iter().map(|d| d["event"].as_str().unwrap()).collect();
    assert_eq!(told, ["added", "end"], "/f is as it was");

    // What nothing keeps goes; what the snapshot pins and what is current stays.
    shoal(&cluster, 0, &["prune", "--keep-last", "1"]);
    let states = versions(&cluster, "/f");
    assert_eq!(column(&states, "ended"), ["-", "replaced"]);
    refused(&cluster, 1, &["cat", &second], "shoal versions /f");
    refused(&cluster, 1, &["restore", &second], "shoal versions /f");
    cat(&cluster, &["/f", "--at", "before"], &a);
    shoal(&cluster, 0, &["rm", "/f"]);
    shoal(&cluster, 0, &["restore", "/f", "--at", "before"]);
    cat(&cluster, &["/f"], &a);
}

fn names_at(cluster: &Cluster, when: &str) -> Vec<String> {
    shoal(cluster, 0, &["ls", "/", "--at", when]).text().lines().map(str::to_owned).collect()
}

/// Two devices of one account, the second one with the phrase of the first.
fn two_devices(cluster: &Cluster) {
    let joined = cluster.join_device("first", "anna").unwrap();
    let said = format!("{}\n{}", joined.text(), joined.stderr);
    let words = said.split(|c: char| !c.is_ascii_alphabetic());
    let words: Vec<&str> =
        words.filter(|word| word.len() >= 3 && word.chars().all(|c| c.is_ascii_lowercase())).collect();
    let mut phrases = words.windows(24).map(|words| words.join(" "));
    let phrase = phrases.find(|phrase| client::phrase::to_key(phrase).is_ok()).expect("24 words are shown");
    let ticket = cluster.ticket(&["--role", "client", "--account", "anna"]).unwrap();
    let recover = cluster.shoal_command("second", ["join", "--recover", &ticket]).unwrap();
    run(recover, Some(phrase.into_bytes())).unwrap().expect(0).unwrap();
}

#[test]
fn of_two_devices_that_write_one_path_at_once_both_versions_are_kept_and_both_are_told() {
    let (cluster, work) = one_peer();
    two_devices(&cluster);
    let shoal = |device: &str, line: &[&str]| cluster.shoal_as(device, line).unwrap().expect(0).unwrap();
    let (slow, quick) = (content::bytes(1, 9_000_000), file(&work, "quick", 2, 4_000));
    let mut writing = cluster.shoal_command("first", ["--json", "put", "-", "/f"]).unwrap();
    let mut writing = writing.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = writing.stdin.take().unwrap();
    input.write_all(&slow).unwrap();
    let begun = || cluster.status().unwrap()["uploads"].as_u64() > Some(0);
    eventually("the upload of the first", Duration::from_secs(20), begun).unwrap();
    // It has looked at the path by now, and the other one is done before it.
    let quicker = shoal("second", &["--json", "put", text(&quick), "/f"]);
    assert!(objects(&quicker).iter().all(|event| event["conflict"] != true));
    drop(input);
    let slower = writing.wait_with_output().unwrap();
    let said = String::from_utf8(slower.stdout).unwrap();
    assert!(slower.status.success(), "{said}");
    let mut told = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(told.any(|event| event["conflict"] == true), "the later one is told: {said}");

    // The one that had ended before is told with its next command, once; and nobody who does not see it.
    assert!(!shoal("second", &["--json", "ls"]).stderr.contains("two devices"));
    let news = shoal("second", &["ls"]).stderr;
    assert!(news.contains("/f was stored by two devices at the same time"), "{news}");
    assert!(news.contains("shoal versions /f"), "{news}");
    for device in ["second", "first"] {
        assert!(!shoal(device, &["ls"]).stderr.contains("two devices"), "{device}");
    }

    // Both have both, and each is told so by the history.
    for device in ["first", "second"] {
        let states = objects(&shoal(device, &["--json", "versions", "/f"]));
        assert_eq!(states.len(), 2);
        assert_eq!((&states[0]["size"], &states[1]["size"]), (&9_000_000.into(), &4_000.into()));
        assert_eq!(states[1]["ended"], "replaced");
        let of = |number: usize| format!("/f@{}", states[number]["version"]);
        assert!(shoal(device, &["cat", &of(0)]).stdout == slow);
        assert!(shoal(device, &["cat", &of(1)]).stdout == fs::read(&quick).unwrap());
        let lines = shoal(device, &["versions", "/f"]).text();
        assert!(lines.contains("current") && lines.contains("replaced"), "{lines}");
    }
}
