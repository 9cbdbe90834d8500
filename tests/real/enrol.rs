//! Joining: tickets good and bad, keys kept private, and a second device with the recovery phrase.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::ticket::Ticket;
use tests::harness::process::{command, run};
use tests::harness::{Cluster, ClusterOptions, content};

use crate::support::{cluster, file, shoal, text, three_peers};

fn one_peer() -> (Cluster, std::path::PathBuf) {
    cluster(ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() })
}

fn join(cluster: &Cluster, device: &str, ticket: &str) -> (Option<i32>, String) {
    let answer = cluster.shoal_as(device, ["join", ticket]).unwrap();
    (answer.status, answer.stderr)
}

#[test]
fn a_ticket_enrols_once_for_its_role_in_its_time_and_not_when_mangled() {
    let (cluster, _) = one_peer();
    let ticket = cluster.ticket(&["--role", "client", "--account", "anna"]).unwrap();
    assert_eq!(ticket.lines().count(), 1);
    assert_eq!(join(&cluster, "anna", &ticket).0, Some(0));

    let (code, said) = join(&cluster, "second", &ticket);
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("used"), "{said}");
    assert!(!cluster.home("second").exists(), "a refused join left something behind");

    let mut mangled = ticket.clone();
    mangled.replace_range(40..41, if &ticket[40..41] == "a" { "b" } else { "a" });
    let (code, said) = join(&cluster, "mangled", &mangled);
    assert!(matches!(code, Some(2 | 12)), "{code:?} {said}");
    assert!(said.contains("ticket"), "{said}");
    assert_eq!(join(&cluster, "half", &ticket[..60]).0, code);

    let for_peer = cluster.ticket(&["--role", "peer"]).unwrap();
    let (code, said) = join(&cluster, "wrong", &for_peer);
    assert!(matches!(code, Some(2 | 12)), "{code:?} {said}");
    assert!(said.contains("peer"), "{said}");

    let short = cluster.ticket(&["--role", "client", "--account", "bert", "--ttl", "1ms"]).unwrap();
    let (code, said) = join(&cluster, "late", &short);
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("expired"), "{said}");
}

#[test]
fn a_ticket_of_another_cluster_is_refused_by_its_fingerprint() {
    let (ours, _) = one_peer();
    let (theirs, _) = one_peer();
    let address = &ours.directory.as_ref().unwrap().address;
    // Their ticket, but with our directory's address: as if somebody stood in the middle.
    let ticket: Ticket = theirs.ticket(&["--role", "client", "--account", "anna"]).unwrap().parse().unwrap();
    let forged =
        Ticket::new(ticket.cluster(), ticket.role(), ticket.authority_fingerprint(), vec![address.clone()]).unwrap();
    let forged = forged.to_line().to_string();
    let (code, said) = join(&ours, "fooled", &forged);
    assert!(matches!(code, Some(12 | 13)), "{code:?} {said}");
    assert!(said.contains("another cluster"), "{said}");
    assert!(!ours.home("fooled").exists());
}

#[test]
fn nobody_overwrites_what_is_there_and_keys_are_private() {
    let (cluster, _) = one_peer();
    let ticket = cluster.ticket(&["--role", "client", "--account", "home"]).unwrap();
    let (code, said) = join(&cluster, "device", &ticket);
    assert_eq!(code, Some(11), "{said}");
    let again = run(cluster.directory_command("init").unwrap(), None).unwrap();
    assert_eq!(again.status, Some(11), "{}", again.stderr);
    let ticket = cluster.ticket(&["--role", "peer"]).unwrap();
    let mut peer = command("shoal-peer", ["join", &ticket, "--data"]).unwrap();
    peer.arg(cluster.peer_data(0));
    let again = run(peer, None).unwrap();
    assert_eq!(again.status, Some(11), "{}", again.stderr);

    let mut secrets = 0;
    for root in [cluster.directory_data(), cluster.peer_data(0), cluster.home("device")] {
        for (path, _) in content::all_bytes(&root).unwrap() {
            if path.extension().is_some_and(|extension| extension == "key") {
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", path.display());
                secrets += 1;
            }
        }
    }
    assert!(secrets >= 5, "only {secrets} keys were found");

    // A key that others can read is not used.
    let key = cluster.home("device").join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = cluster.shoal(["ls", "/"]).unwrap();
    assert_ne!(refused.status, Some(0));
    assert!(refused.stderr.contains("chmod 600"), "{}", refused.stderr);
}

#[test]
fn a_data_folder_in_use_or_of_a_newer_format_is_refused() {
    let (mut cluster, _) = one_peer();
    let second = run(cluster.directory_command("serve").unwrap(), None).unwrap();
    assert_eq!(second.status, Some(11), "{}", second.stderr);
    assert!(second.stderr.contains("in use"), "{}", second.stderr);
    let mut peer = command("shoal-peer", ["serve", "--data"]).unwrap();
    peer.arg(cluster.peer_data(0));
    let second = run(peer, None).unwrap();
    assert_eq!(second.status, Some(11), "{}", second.stderr);

    cluster.stop().unwrap();
    let directory = cluster.directory_data();
    let peer = cluster.peer_data(0);
    for (data, file, ours, newer, program) in [
        (&directory, "directory.toml", "format = 1", "format = 99", "shoal-directory"),
        (&peer, "format", "peer 1", "peer 99", "shoal-peer"),
    ] {
        let path = data.join(file);
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(ours), "{before}");
        fs::write(&path, before.replace(ours, newer)).unwrap();
        let mut serve = command(program, ["serve", "--data"]).unwrap();
        serve.arg(data);
        let refused = run(serve, None).unwrap();
        assert_ne!(refused.status, Some(0));
        assert!(refused.stderr.contains("99"), "{program}: {}", refused.stderr);
        fs::write(&path, before).unwrap();
    }
}

#[test]
fn the_recovery_phrase_brings_a_second_device_to_the_same_files_and_another_key_is_refused() {
    let (cluster, work) = one_peer();
    let first = cluster.join_device("first", "anna").unwrap();
    let said = format!("{}\n{}", first.text(), first.stderr);
    let words: Vec<&str> = said
        .split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| word.len() >= 3 && word.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    let phrase = words
        .windows(24)
        .map(|window| window.join(" "))
        .find(|candidate| client::phrase::to_key(candidate).is_ok())
        .expect("24 words are shown");
    let source = file(&work, "source", 8, 100_000);
    cluster.shoal_as("first", ["put", text(&source), "/kept"]).unwrap().expect(0).unwrap();

    let ticket = cluster.ticket(&["--role", "client", "--account", "anna", "--uses", "2"]).unwrap();
    let (code, said) = join(&cluster, "stranger", &ticket);
    assert_eq!(code, Some(12), "another master key was taken: {said}");
    assert!(said.contains("--recover"), "{said}");

    let recover = cluster.shoal_command("second", ["join", "--recover", &ticket]).unwrap();
    run(recover, Some(phrase.into_bytes())).unwrap().expect(0).unwrap();
    let read = cluster.shoal_as("second", ["cat", "/kept"]).unwrap().expect(0).unwrap();
    assert!(read.stdout == fs::read(&source).unwrap());

    let recover = cluster.shoal_command("third", ["join", "--recover", &ticket]).unwrap();
    let wrong = run(recover, Some(b"abandon ability able".to_vec())).unwrap();
    assert_ne!(wrong.status, Some(0));
    assert!(!cluster.home("third").exists());
}

#[test]
fn without_joining_every_command_says_how_to() {
    let (cluster, _) = three_peers();
    let refused = cluster.shoal_as("nobody", ["ls", "/"]).unwrap();
    assert_eq!(refused.status, Some(10));
    assert!(refused.stderr.contains("shoal join"), "{}", refused.stderr);
    shoal(&cluster, 0, &["ls", "/"]);
    let mut serve = command("shoal-directory", ["serve", "--data"]).unwrap();
    serve.arg(cluster.root().join("none"));
    let refused = run(serve, None).unwrap();
    assert_eq!(refused.status, Some(10));
    assert!(refused.stderr.contains("shoal-directory init"), "{}", refused.stderr);
}
