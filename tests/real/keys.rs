//! The account's key on real devices: checked, carried, split, and brought back.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use std::os::unix::fs::OpenOptionsExt;

use tests::harness::process::run;
use tests::harness::{Answer, Cluster, ClusterOptions};

use crate::support::{cluster, file, text};
use crate::typist::Typist;

pub(crate) fn one_peer() -> (Cluster, PathBuf) {
    cluster(ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() })
}

/// Runs a line as a device, with something on standard input.
pub(crate) fn with_input(cluster: &Cluster, device: &str, line: &[&str], input: &str) -> Answer {
    run(cluster.shoal_command(device, line).unwrap(), Some(input.as_bytes().to_vec())).unwrap()
}

pub(crate) fn expect(cluster: &Cluster, device: &str, code: i32, line: &[&str]) -> Answer {
    cluster.shoal_as(device, line).unwrap().expect(code).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

/// A file that only its owner reads.
pub(crate) fn secret(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
    file.write_all(content.as_bytes()).unwrap();
    text(&path).to_owned()
}

pub(crate) fn phrase(cluster: &Cluster, device: &str) -> String {
    expect(cluster, device, 0, &["key", "phrase", "--yes"]).text().trim().to_owned()
}

fn ticket(cluster: &Cluster) -> String {
    cluster.ticket(&["--role", "client", "--account", "home"]).unwrap()
}

#[test]
fn a_phrase_that_was_written_down_right_is_told_from_a_wrong_one_and_not_which_word() {
    let (cluster, _) = one_peer();
    let whole = phrase(&cluster, "device");
    let words: Vec<&str> = whole.split(' ').collect();
    assert_eq!(words.len(), 24);
    with_input(&cluster, "device", &["key", "verify", "--phrase"], &whole).expect(0).unwrap();
    with_input(&cluster, "device", &["key", "verify"], &whole.to_uppercase().replace(' ', "\n")).expect(0).unwrap();

    // Whatever is wrong, the same is said.
    let mut said = Vec::new();
    for wrong in [vec!["nonsense"; 24], [&["nonsense"], &words[1..]].concat(), words[1..].to_vec(), Vec::new()] {
        let answer =
            with_input(&cluster, "device", &["key", "verify", "--phrase"], &wrong.join(" ")).expect(12).unwrap();
        assert!(answer.stderr.contains("shoal key phrase") && answer.stdout.is_empty(), "{}", answer.stderr);
        said.push(answer.stderr);
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");

    // Four words, as a program would give them.
    for right in [true, false] {
        let mut verify = cluster.shoal_command("device", ["key", "verify"]).unwrap();
        let mut child = verify.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut asked = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut asked).unwrap();
        let asked = asked.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
        let mut given: Vec<&str> = asked.map(|at| words[at - 1]).collect();
        assert_eq!(given.len(), 4);
        if !right {
            given.rotate_left(1);
        }
        // All four might be the same word: not in a lifetime of tests.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(format!("{}\n", given.join("\n")).as_bytes()).unwrap();
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(if right { 0 } else { 12 }), "{right}");
    }
}

#[test]
fn on_a_terminal_words_are_asked_for_one_after_another_and_may_be_wrong_once() {
    let (cluster, _) = one_peer();
    let whole = phrase(&cluster, "device");
    let words: Vec<&str> = whole.split(' ').collect();
    for rights in [&[true][..], &[false, true], &[false, false]] {
        let mut typist = Typist::start(&cluster.shoal_command("device", ["key", "verify"]).unwrap(), "{}");
        for right in rights {
            for _ in 0..4 {
                typist.waits_for("Word ");
                let position: usize = typist.waits_for(": ").parse().unwrap();
                let word = if *right { words[position - 1] } else { "wrong" };
                typist.types(&format!("{word}\n"));
            }
        }
        let (code, screen) = typist.ends();
        assert_eq!(code, Some(if rights.ends_with(&[true]) { 0 } else { 12 }), "{screen}");
        assert_eq!(screen.contains("Once more"), !rights[0], "{screen}");
    }
    let mut typist = Typist::start(&cluster.shoal_command("device", ["key", "phrase"]).unwrap(), "{}");
    typist.answers("nobody else can see it: ", "no");
    let (code, screen) = typist.ends();
    assert!(code == Some(1) && !screen.contains(&words[..6].join(" ")), "{code:?}: {screen}");
    let mut typist = Typist::start(&cluster.shoal_command("device", ["key", "phrase"]).unwrap(), "{}");
    typist.answers("nobody else can see it: ", "yes");
    let (code, screen) = typist.ends();
    assert!(code == Some(0) && screen.contains(&words[18..].join(" ")), "{code:?}: {screen}");
    let unasked = expect(&cluster, "device", 1, &["key", "phrase"]);
    assert!(unasked.stdout.is_empty() && unasked.stderr.contains("--yes"), "{}", unasked.stderr);
}

#[test]
fn an_exported_key_brings_a_second_device_to_the_same_files_and_a_lost_key_back() {
    let (cluster, work) = one_peer();
    let source = file(&work, "source", 8, 100_000);
    expect(&cluster, "device", 0, &["put", text(&source), "/kept"]);
    let (pass, wrong) = (secret(&work, "pass", "of the exported key\n"), secret(&work, "wrong", "of another key\n"));
    let out = work.join("home.key");
    let export = ["key", "export", "--out", text(&out), "--export-passphrase-file", &pass];
    expect(&cluster, "device", 0, &export);
    let again = expect(&cluster, "device", 11, &export);
    assert!(again.stderr.contains("not overwritten"), "{}", again.stderr);
    let nobody = expect(&cluster, "device", 12, &["key", "export"]);
    assert!(nobody.stderr.contains("--export-passphrase-file"), "{}", nobody.stderr);
    let master = fs::read(cluster.home("device").join("master.key")).unwrap();
    let exported = fs::read(&out).unwrap();
    assert!(exported.is_ascii() && !exported.windows(32).any(|window| window == &master[8..]));

    // The second device.
    let ticket = ticket(&cluster);
    let join = |passphrase| ["join", "--recover-from", text(&out), "--export-passphrase-file", passphrase, &ticket];
    let refused = expect(&cluster, "second", 12, &join(&wrong));
    assert!(refused.stderr.contains("wrong passphrase"), "{}", refused.stderr);
    assert!(!cluster.home("second").exists(), "a refused join left something behind");
    let joined = expect(&cluster, "second", 0, &join(&pass));
    assert!(!joined.text().contains("Recovery phrase"), "{}", joined.text());
    let read = expect(&cluster, "second", 0, &["cat", "/kept"]);
    assert!(read.stdout == fs::read(&source).unwrap());
    expect(&cluster, "second", 0, &["put", text(&source), "/from-second"]);
    assert!(expect(&cluster, "device", 0, &["cat", "/from-second"]).stdout == read.stdout);

    // A key that is there stays; one that is lost or damaged comes back, and no other than the account's.
    let import = ["key", "import", text(&out), "--export-passphrase-file", &pass];
    let same = expect(&cluster, "second", 0, &import);
    assert!(same.text().contains("already"), "{}", same.text());
    cluster.join_device("anna", "anna").unwrap();
    let foreign = expect(&cluster, "anna", 12, &[&import[..], &["--replace"]].concat());
    assert!(foreign.stderr.contains("of account"), "{}", foreign.stderr);
    let annas = phrase(&cluster, "anna");
    let key = cluster.home("second").join("master.key");
    for damage in [&b"SHOALMK1 too short"[..], b""] {
        if damage.is_empty() {
            fs::remove_file(&key).unwrap();
        } else {
            fs::write(&key, damage).unwrap();
        }
        let refused = expect(&cluster, "second", 1, &["ls", "/"]);
        assert!(refused.stderr.contains("shoal key import FILE"), "{}", refused.stderr);
        let other = with_input(&cluster, "second", &["key", "import", "--phrase"], &annas).expect(12).unwrap();
        assert!(other.stderr.contains("not the key of this device's account"), "{}", other.stderr);
        if damage.is_empty() {
            with_input(&cluster, "second", &["key", "import", "--phrase"], &phrase(&cluster, "device"))
                .expect(0)
                .unwrap();
        } else {
            expect(&cluster, "second", 0, &import);
        }
        assert!(expect(&cluster, "second", 0, &["cat", "/kept"]).stdout == read.stdout);
        assert!(fs::read(&key).unwrap() == master);
    }

    // Through pipes, too: nothing but standard input and output.
    let printed = expect(&cluster, "device", 0, &["key", "export", "--export-passphrase-file", &pass]).text();
    let join = ["join", "--recover-from", "-", "--export-passphrase-file", &pass, &self::ticket(&cluster)];
    with_input(&cluster, "third", &join, &printed).expect(0).unwrap();
    assert!(expect(&cluster, "third", 0, &["cat", "/kept"]).stdout == read.stdout);
    let damaged = with_input(&cluster, "fourth", &join, &printed.replacen("AAAA", "AAAB", 1)).expect(1).unwrap();
    assert!(damaged.stderr.contains("damaged"), "{}", damaged.stderr);
    let foreign = with_input(&cluster, "fourth", &join, "no key at all").expect(12).unwrap();
    assert!(foreign.stderr.contains("no exported key"), "{}", foreign.stderr);
}

/// `combine` needs no home and no cluster: all of it on one that was never there.
fn combine(cluster: &Cluster, input: &str) -> Answer {
    with_input(cluster, "nobody", &["key", "combine"], input)
}

#[test]
fn any_subset_of_shares_that_is_large_enough_gives_the_phrase_and_no_other() {
    let (cluster, work) = one_peer();
    let whole = phrase(&cluster, "device");
    let split = expect(&cluster, "device", 0, &["key", "split", "--shares", "5", "--needed", "3"]);
    assert!(split.stderr.contains("any 3 of these 5"), "{}", split.stderr);
    let printed = split.text();
    let shares: Vec<&str> = printed.lines().collect();
    assert_eq!(shares.len(), 5);
    for mask in 0..1_u32 << shares.len() {
        let chosen: Vec<&str> = (0..5).filter(|at| mask >> at & 1 == 1).map(|at| shares[at]).collect();
        let answer = combine(&cluster, &chosen.join("\n"));
        if chosen.len() < 3 {
            let answer = answer.expect(12).unwrap();
            assert!(answer.stdout.is_empty(), "{mask:b}");
            let says = if chosen.is_empty() { "no shares" } else { "3 shares of set" };
            assert!(answer.stderr.contains(says), "{}", answer.stderr);
        } else {
            assert_eq!(answer.expect(0).unwrap().text().trim(), whole, "{mask:b}");
        }
    }

    let second = expect(&cluster, "device", 0, &["key", "split", "--shares", "3", "--needed", "2"]).text();
    let mixed = [shares[0], shares[1], second.lines().next().unwrap()].join("\n");
    let damaged = {
        let mut words: Vec<&str> = shares[2].split(' ').collect();
        words[1..].rotate_left(1);
        [shares[0], shares[1], &words.join(" ")].join("\n")
    };
    let mistyped = [shares[0], shares[1], &shares[2].replacen(": ", ": x", 1)].join("\n");
    let short = [shares[0], shares[1], shares[2].rsplit_once(' ').unwrap().0].join("\n");
    let label = shares[2].split(':').next().unwrap();
    for (input, says) in [
        (&mixed, "2 different sets"),
        (&damaged, &*format!("share {label} is damaged")),
        (&mistyped, &*format!("share {label}: word 1")),
        (&short, "29 words"),
        (&whole, "whole recovery phrase"),
    ] {
        let answer = combine(&cluster, input).expect(12).unwrap();
        assert!(answer.stdout.is_empty() && answer.stderr.contains(says), "{says}: {}", answer.stderr);
    }
    for line in
        [["--shares", "3", "--needed", "4"], ["--shares", "33", "--needed", "2"], ["--shares", "3", "--needed", "1"]]
    {
        expect(&cluster, "device", 2, &[&["key", "split"][..], &line].concat());
    }

    // What combine prints is what join and import take.
    let source = file(&work, "source", 3, 10_000);
    expect(&cluster, "device", 0, &["put", text(&source), "/kept"]);
    let again = combine(&cluster, &shares[2..].join("\n")).expect(0).unwrap().text();
    with_input(&cluster, "second", &["join", "--recover", &ticket(&cluster)], &again).expect(0).unwrap();
    assert!(expect(&cluster, "second", 0, &["cat", "/kept"]).stdout == fs::read(&source).unwrap());
    fs::remove_file(cluster.home("second").join("master.key")).unwrap();
    with_input(&cluster, "second", &["key", "import", "--phrase"], &again).expect(0).unwrap();
    assert!(expect(&cluster, "second", 0, &["cat", "/kept"]).stdout == fs::read(&source).unwrap());
}
