//! `shoal bench`: every row is there, wrong input is named, and nothing is left behind, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::harness::process::{command, eventually, run, signal_to};
use tests::harness::{Answer, Cluster, binary};

use crate::support::{names, shoal, text, three_peers};

const SMALL: [&str; 12] =
    ["--size", "3MiB", "--small", "20", "--times", "1", "--gets", "20", "--devices", "5", "--seconds", "1"];

/// `shoal bench` without any home.
fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = command("shoal", ["bench"]).unwrap();
    command.args(arguments).arg("--below").arg(folder).env("SHOAL_HOME", folder.join("no-home"));
    command
}

fn rows(answer: &Answer) -> Vec<Value> {
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What each line is, in short.
fn kinds(rows: &[Value]) -> BTreeSet<String> {
    let name = |row: &Value| {
        let part = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{} {}{} {}", part("event"), part("row"), part("bar"), part("redundancy")).trim().to_owned()
    };
    rows.iter().map(name).collect()
}

fn number(row: &Value, pointer: &str) -> f64 {
    row.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {row}"))
}

/// Processes that were started with a path below this folder.
fn running_in(folder: &Path) -> usize {
    let has = |entry: fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text(folder))
    };
    fs::read_dir("/proc").unwrap().flatten().map(has).filter(|has| *has).count()
}

#[test]
fn a_cluster_that_is_started_is_measured_and_goes_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = bench(folder.path(), &SMALL);
    command.args(["--start", "--json"]);
    let answer = run(command, None).unwrap().expect(0).unwrap();
    let rows = rows(&answer);
    let wanted = [
        "machine",
        "bar naming",
        "bar sealing",
        "bar opening",
        "bar quic-up",
        "bar quic-down",
        "bar copy",
        "bar direct",
        "row put 1/1",
        "row get 1/1",
        "row put 1/3",
        "row get 1/3",
        "row again 1/3",
        "row put-small 1/3",
        "row get-small 1/3",
        "latency",
        "wire",
        "devices",
    ];
    assert_eq!(kinds(&rows), wanted.map(str::to_owned).into());
    for row in &rows {
        match row["event"].as_str().unwrap() {
            "bar" => assert!(number(row, "/mb_per_second") > 0.0, "{row}"),
            "row" => {
                assert!(number(row, "/mb_per_second") > 0.0 && number(row, "/cpu_seconds/all") >= 0.0, "{row}");
                for process in ["client", "directory", "peer"] {
                    assert!(number(row, &format!("/peak_memory_bytes/{process}")) > 1e6, "{row}");
                }
                let share = number(row, "/wire_share");
                let (least, most) = match (row["row"].as_str().unwrap(), row["redundancy"].as_str().unwrap()) {
                    ("again", _) => (0.0, 0.1),
                    ("put", "1/3") => (3.0, 3.5),
                    ("put" | "get", _) => (1.0, 1.5),
                    _ => (1.0, 100.0),
                };
                assert!((least..most).contains(&share), "{row}");
            }
            "latency" => assert!(number(row, "/p99_ms") >= number(row, "/p50_ms"), "{row}"),
            "wire" => assert!((0.0..0.2).contains(&number(row, "/put/beyond")), "{row}"),
            "devices" => assert!(number(row, "/flat_out/requests_per_second") > 0.0, "{row}"),
            _ => assert!(number(row, "/machine/cores") >= 1.0, "{row}"),
        }
    }
    assert_eq!(Cluster::names_in(folder.path()).unwrap(), [""; 0]);
    assert_eq!(running_in(folder.path()), 0);
}

#[test]
fn a_cluster_that_was_joined_is_measured_and_its_tree_is_as_before() {
    let (cluster, work) = three_peers();
    shoal(&cluster, 0, &["mkdir", "/measured"]);
    let ids: Vec<String> = cluster.processes().map(|process| process.id().to_string()).collect();
    let ids = ids.join(",");
    let more = ["--at", "/measured", "--below", text(&work), "--server-pid", &ids];
    let answer = shoal(&cluster, 0, &[&["bench", "--json"], &SMALL[..], &more].concat());
    let rows = rows(&answer);
    let found = kinds(&rows);
    for wanted in ["row put 1/3", "row again 1/3", "row get-small 1/3", "latency", "wire"] {
        assert!(found.contains(wanted), "{wanted} is not in {found:?}");
    }
    assert!(!found.contains("devices"));
    let put = rows.iter().find(|row| row["row"] == "put").unwrap();
    assert!(number(put, "/cpu_seconds/directory") >= 0.0 && number(put, "/peak_memory_bytes/peer") > 1e6, "{put}");
    assert!(number(&rows[0], "/left_bytes") > 9e6, "{}", rows[0]);
    assert_eq!(names(&cluster, "/measured"), [""; 0]);
    assert_eq!(Cluster::names_in(&work).unwrap(), [""; 0]);

    // The same for people, in lines that fit.
    let answer = shoal(&cluster, 0, &[&["bench", "--only", "put,get,small"], &SMALL[..], &more].concat());
    for words in ["put 1/3", "get 1/3", "MB/S", "FILES/S", "quic-up"] {
        assert!(answer.text().contains(words), "{words} is not in:\n{}", answer.text());
    }
    assert!(answer.text().lines().skip(1).all(|line| line.chars().count() <= 105), "{}", answer.text());
    assert!(answer.stderr.contains("history keeps"), "{}", answer.stderr);
}

#[test]
fn what_cannot_be_measured_is_named_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(i32, &[&str], &str)] = &[
        (1, &["--start", "--size", "100TiB"], "free, and this takes about"),
        (1, &["--start", "--size", "16EiB", "--times", "100"], "name another folder with --below"),
        (2, &["--start", "--size", "much"], "not a size"),
        (2, &["--start", "--size", "0"], "--size 0"),
        (2, &["--start", "--times", "0"], "--times"),
        (2, &["--start", "--small", "0"], "--small"),
        (2, &["--start", "--only", "put,fast"], "fast"),
        (2, &["--start", "--redundancy", "3/1"], "3/1"),
        (2, &["--start", "--peers", "2"], "3 peers are needed"),
        (2, &["--peers", "2"], "--start"),
        (2, &["--start", "--at", "/x"], "--at"),
        (10, &[], "shoal bench --start"),
    ];
    for (code, arguments, words) in cases {
        let answer = run(bench(folder.path(), arguments), None).unwrap();
        assert_eq!(answer.status, Some(*code), "{arguments:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(words), "{arguments:?} does not say {words:?}: {}", answer.stderr);
        assert_eq!(Cluster::names_in(folder.path()).unwrap(), [""; 0], "{arguments:?}");
    }
    let nowhere = run(bench(&folder.path().join("nowhere"), &["--start"]), None).unwrap().expect(1).unwrap();
    assert!(nowhere.stderr.contains("nowhere"), "{}", nowhere.stderr);
}

#[test]
fn a_cluster_that_was_joined_is_asked_for_no_more_than_it_has() {
    let (cluster, work) = three_peers();
    let below = ["--below", text(&work)];
    let own = std::process::id().to_string();
    let cases: &[(i32, &[&str], &str)] = &[
        (2, &["--only", "devices"], "add --start"),
        (2, &["--server-pid", &own], "neither shoal-directory nor shoal-peer"),
        (2, &["--at", "/a/../b"], ".."),
        (1, &["--at", "/no/such"], "/no"),
        (13, &["--redundancy", "1/9", "--only", "put"], "needed"),
    ];
    for (code, arguments, words) in cases {
        let answer = shoal(&cluster, *code, &[&["bench"], *arguments, &SMALL[..], &below].concat());
        assert!(answer.stderr.contains(words), "{arguments:?} does not say {words:?}: {}", answer.stderr);
        assert_eq!(names(&cluster, "/"), [""; 0], "{arguments:?}");
        assert_eq!(Cluster::names_in(&work).unwrap(), [""; 0], "{arguments:?}");
    }
}

#[test]
fn servers_that_are_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("shoal");
    fs::copy(binary("shoal").unwrap(), &alone).unwrap();
    let mut command = Command::new(&alone);
    command.args(["bench", "--start", "--below"]).arg(folder.path()).env("PATH", "/no/such/folder");
    let answer = run(command, None).unwrap().expect(1).unwrap();
    assert!(answer.stderr.contains("shoal-directory is neither in"), "{}", answer.stderr);
    assert!(answer.stderr.contains("beside shoal"), "{}", answer.stderr);
}

/// Starts it and reads its progress until it says this; then sends so many signals, and waits for its end.
fn interrupted(folder: &Path, at: &str, signals: usize) -> Option<i32> {
    let mut command = bench(folder, &["--start", "--size", "64MiB", "--only", "put", "--redundancy", "1/2"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(at)), "it never says {at:?}");
    assert!(running_in(folder) > 3, "a directory and two peers run");
    for _ in 0..signals {
        signal_to(child.id(), rustix::process::Signal::TERM).unwrap();
    }
    lines.for_each(drop);
    child.wait().unwrap().code()
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    for at in ["by themselves", "putting it"] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(interrupted(folder.path(), at, 1), Some(130), "{at}");
        assert_eq!(Cluster::names_in(folder.path()).unwrap(), [""; 0], "{at}");
        assert_eq!(running_in(folder.path()), 0, "{at}");
    }
}

#[test]
fn a_second_interrupt_ends_it_at_once_and_its_servers_too() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(interrupted(folder.path(), "putting it", 2), Some(130));
    eventually("all processes have ended", Duration::from_secs(10), || running_in(folder.path()) == 0).unwrap();
}
