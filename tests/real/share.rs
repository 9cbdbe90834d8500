//! Sharing: what a link reads, for whom, until when, and what it never reads.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use client::session::{Session, SessionOptions};
use client::share::{Link, Reads};
use common::id::{NameToken, NodeId};
use common::proto::Refusal;
use common::proto::directory::{ListShared, OpenShare, ReadShared, SharedWant};
use common::proto::refusal::ShareFault;
use common::share;
use tests::harness::process::{eventually, run};
use tests::harness::{Answer, Cluster, ClusterOptions, content};

use crate::support::{cluster, file, json, shoal, text};

/// Two accounts: `device` is of one, `bert` of another.
fn two_accounts() -> (Cluster, PathBuf) {
    let options = ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() };
    let (cluster, work) = cluster(options);
    cluster.join_device("bert", "bert").unwrap();
    (cluster, work)
}

fn as_device(cluster: &Cluster, device: &str, code: i32, line: &[&str]) -> Answer {
    let answer = cluster.shoal_as(device, line).unwrap();
    let said = format!("{device}: {line:?}\nstdout: {}\nstderr: {}", answer.text(), answer.stderr);
    assert_eq!(answer.status, Some(code), "{said}");
    answer
}

/// Shares, and gives the link.
fn share_of(cluster: &Cluster, line: &[&str]) -> String {
    let made = json(cluster, &[&["share"], line].concat());
    made["link"].as_str().unwrap().to_owned()
}

fn refused(cluster: &Cluster, device: &str, link: &str, word: &str) {
    let answer = as_device(cluster, device, 12, &["cat", link]);
    assert!(answer.stdout.is_empty() && answer.stderr.contains(word), "{}", answer.stderr);
}

/// A folder with a large file, small ones that share a pack, and a folder in it.
fn tree(work: &Path) -> PathBuf {
    let root = work.join("Telltale-Album");
    fs::create_dir_all(root.join("inner")).unwrap();
    file(&root, "large", 1, 700_000);
    for number in 0..20 {
        file(&root, &format!("small-{number}"), 10 + number, 3_000);
    }
    file(&root.join("inner"), "deep", 2, 5_000);
    fs::write(root.join("empty"), "").unwrap();
    root
}

#[test]
fn a_link_of_a_file_reads_that_file_for_another_account_and_nothing_beside_it() {
    let (cluster, work) = two_accounts();
    let root = tree(&work);
    shoal(&cluster, 0, &["put", "-r", text(&root), "/"]);
    let link = share_of(&cluster, &["/Telltale-Album/small-3", "--expires", "1h"]);

    let read = as_device(&cluster, "bert", 0, &["cat", &link]);
    assert!(read.stdout == fs::read(root.join("small-3")).unwrap());
    let into = work.join("into");
    fs::create_dir(&into).unwrap();
    as_device(&cluster, "bert", 0, &["get", &link, text(&into)]);
    assert!(content::compare(&root.join("small-3"), &into.join("small-3")).is_ok());
    assert_eq!(Cluster::names_in(&into).unwrap(), ["small-3"]);
    assert!(as_device(&cluster, "bert", 0, &["ls", &link]).text().contains("small-3"));
    // The account's own devices read it, too; a path below a file is none.
    shoal(&cluster, 0, &["cat", &link]);
    as_device(&cluster, "bert", 1, &["cat", &format!("{link}/small-4")]);
    as_device(&cluster, "bert", 1, &["cat", "/Telltale-Album/small-3"]);
    as_device(&cluster, "bert", 2, &["get", &link, "/other", text(&into)]);

    // What the program does not ask for is refused, too: with the best that a holder of the link can make of it.
    let neighbour = json(&cluster, &["stat", "/Telltale-Album/small-4"]);
    let folder: NodeId = json(&cluster, &["stat", "/Telltale-Album"])["node"].as_str().unwrap().parse().unwrap();
    let version = neighbour["version"].as_str().unwrap().parse().unwrap();
    let (link, _) = Link::parse(&OsString::from(&link)).unwrap();
    let Reads::Version { node, .. } = &link.reads else { panic!("{:?}", link.reads) };
    let (id, node, home) = (link.id(), *node, cluster.home("bert"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let session = Session::open(home, SessionOptions::default()).await.unwrap();
        let proof = share::proof(&share::verifier(&link.secret), session.cluster(), session.device());
        for folder in [folder, node, NodeId([0; 16])] {
            let listed = session.call_directory(&ListShared { share: id, proof, folder, after: None }).await;
            assert_eq!(listed.unwrap_err().refusal(), Some(&Refusal::Forbidden));
        }
        for at in [None, Some((folder, NameToken([1; 16])))] {
            let wants = vec![SharedWant { version, from: 0, at }].try_into().unwrap();
            let read = session.call_directory(&ReadShared { share: id, proof, wants }).await.unwrap();
            assert!(read.manifests.pages.is_empty() && read.passes.is_empty());
            assert_eq!(*read.manifests.missing, [version]);
        }
        let forged = session.call_directory(&OpenShare { share: id, proof: [1; 32] }).await;
        assert_eq!(forged.unwrap_err().refusal(), Some(&Refusal::Share(ShareFault::Unknown)));
        session.close().await;
    });
}

#[test]
fn a_link_of_one_version_keeps_it_and_a_link_that_follows_reads_the_newest() {
    let (cluster, work) = two_accounts();
    let (first, second) = (file(&work, "first", 1, 400_000), file(&work, "second", 2, 300));
    shoal(&cluster, 0, &["put", text(&first), "/doc"]);
    let old = json(&cluster, &["stat", "/doc"])["version"].as_str().unwrap().to_owned();
    let (fixed, follows) = (share_of(&cluster, &["/doc"]), share_of(&cluster, &["/doc", "--follow"]));
    let reads = |link: &str, path: &Path| {
        assert!(as_device(&cluster, "bert", 0, &["cat", link]).stdout == fs::read(path).unwrap());
    };
    reads(&fixed, &first);
    reads(&follows, &first);
    shoal(&cluster, 0, &["put", text(&second), "/doc"]);
    reads(&fixed, &first);
    reads(&follows, &second);
    reads(&share_of(&cluster, &["/doc", "--version", &old]), &first);
    // Moving it changes nothing; removing it ends what follows, and not what is kept in history.
    shoal(&cluster, 0, &["mv", "/doc", "/elsewhere"]);
    reads(&follows, &second);
    shoal(&cluster, 0, &["rm", "/elsewhere"]);
    as_device(&cluster, "bert", 1, &["cat", &follows]);
    reads(&fixed, &first);
    shoal(&cluster, 2, &["share", "/doc", "--follow", "--version", &old]);
    shoal(&cluster, 1, &["share", "/nothing"]);
    shoal(&cluster, 1, &["share", "/"]);
}

#[test]
fn a_link_of_a_folder_reads_what_is_in_it_and_below_at_any_time() {
    let (cluster, work) = two_accounts();
    let root = tree(&work);
    shoal(&cluster, 0, &["put", "-r", text(&root), "/"]);
    shoal(&cluster, 0, &["mkdir", "/beside"]);
    let link = share_of(&cluster, &["/Telltale-Album"]);

    let into = work.join("into");
    fs::create_dir(&into).unwrap();
    as_device(&cluster, "bert", 0, &["get", &link, text(&into)]);
    let copy = into.join("Telltale-Album");
    assert_eq!(content::describe(&root).unwrap(), content::describe(&copy).unwrap());
    let listed = as_device(&cluster, "bert", 0, &["ls", "-r", &link]).text();
    assert!(listed.contains("/Telltale-Album/inner/deep"), "{listed}");
    let deep = as_device(&cluster, "bert", 0, &["cat", &format!("{link}/inner/deep")]);
    assert!(deep.stdout == fs::read(root.join("inner/deep")).unwrap());
    as_device(&cluster, "bert", 1, &["cat", &format!("{link}/inner/missing")]);

    // It is as it is when it is read: what comes is there, what goes out of it is not.
    shoal(&cluster, 0, &["put", text(&file(&work, "new", 9, 100)), "/Telltale-Album/inner/"]);
    as_device(&cluster, "bert", 0, &["cat", &format!("{link}/inner/new")]);
    shoal(&cluster, 0, &["mv", "/Telltale-Album/inner", "/beside/"]);
    as_device(&cluster, "bert", 1, &["cat", &format!("{link}/inner/new")]);
    shoal(&cluster, 0, &["mv", "/Telltale-Album", "/beside/Other"]);
    assert!(!as_device(&cluster, "bert", 0, &["ls", &link]).text().contains("inner"));

    // Whoever still has the moved folder's id and key gets no answer about it through this link.
    let inner: NodeId = json(&cluster, &["stat", "/beside/inner"])["node"].as_str().unwrap().parse().unwrap();
    let (link, _) = Link::parse(&OsString::from(&link)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let session = Session::open(cluster.home("bert"), SessionOptions::default()).await.unwrap();
        let proof = share::proof(&share::verifier(&link.secret), session.cluster(), session.device());
        let request = ListShared { share: link.id(), proof, folder: inner, after: None };
        let listed = session.call_directory(&request).await;
        assert!(matches!(listed.unwrap_err().refusal(), Some(Refusal::NotFound(_))));
        session.close().await;
    });
}

#[test]
fn a_guest_reads_without_joining_and_leaves_nothing_but_the_files() {
    let (cluster, work) = two_accounts();
    let root = tree(&work);
    shoal(&cluster, 0, &["put", "-r", text(&root), "/"]);
    let members = share_of(&cluster, &["/Telltale-Album"]);
    let said = as_device(&cluster, "nobody", 12, &["get", &members, text(&work)]).stderr;
    assert!(said.contains("--guest"), "{said}");

    let link = share_of(&cluster, &["/Telltale-Album", "--guest=3"]);
    let into = work.join("into");
    fs::create_dir(&into).unwrap();
    as_device(&cluster, "nobody", 0, &["get", &link, text(&into)]);
    assert_eq!(content::describe(&root).unwrap(), content::describe(&into.join("Telltale-Album")).unwrap());
    assert!(!cluster.home("nobody").exists(), "a guest has no home");
    as_device(&cluster, "nobody", 0, &["ls", &link]);
    // Into the folder where one is, when no other is named.
    let here = work.join("here");
    fs::create_dir(&here).unwrap();
    let mut command = cluster.shoal_command("nobody", ["get", &format!("{link}/large")]).unwrap();
    command.current_dir(&here);
    run(command, None).unwrap().expect(0).unwrap();
    assert!(content::compare(&root.join("large"), &here.join("large")).is_ok());
    refused(&cluster, "nobody", &format!("{link}/large"), "as many guests");
    // Members need no place among the guests.
    as_device(&cluster, "bert", 0, &["cat", &format!("{link}/large")]);
    // Nor is a guest a device of the account.
    assert_eq!(cluster.status().unwrap()["devices"], 2);
}

#[test]
fn an_expired_a_revoked_a_cut_off_and_a_foreign_link_are_refused() {
    let (cluster, work) = two_accounts();
    shoal(&cluster, 0, &["put", text(&file(&work, "doc", 1, 5_000)), "/doc"]);
    let short = share_of(&cluster, &["/doc", "--expires", "1s", "--guest"]);
    let gone = || cluster.shoal_as("bert", ["cat", &short]).unwrap().status == Some(12);
    eventually("a link of a second expires", Duration::from_secs(30), gone).unwrap();
    refused(&cluster, "bert", &short, "expired");
    refused(&cluster, "nobody", &short, "expired");

    let link = share_of(&cluster, &["/doc", "--guest"]);
    as_device(&cluster, "bert", 0, &["cat", &link]);
    for end in [11, 60, link.len() - 1] {
        refused(&cluster, "bert", &link[..end], "damaged");
    }
    refused(&cluster, "bert", "shoallinkX", "no link");

    let listed = shoal(&cluster, 0, &["share", "ls"]).text();
    assert!(listed.contains("/doc") && listed.lines().count() == 1, "{listed}");
    let id = json(&cluster, &["share", "ls"])["share"].as_str().unwrap().to_owned();
    // Another account's list has none of it, and it cannot end it.
    assert!(as_device(&cluster, "bert", 0, &["share", "ls", "--all"]).stdout.is_empty());
    as_device(&cluster, "bert", 1, &["share", "revoke", &id]);
    shoal(&cluster, 0, &["share", "revoke", &id[..8]]);
    refused(&cluster, "bert", &link, "revoked");
    refused(&cluster, "nobody", &link, "revoked");
    assert!(shoal(&cluster, 0, &["share", "ls"]).stdout.is_empty());
    assert_eq!(shoal(&cluster, 0, &["share", "ls", "--all"]).text().lines().count(), 2);
    shoal(&cluster, 1, &["share", "revoke", "0000"]);

    let (others, _) = two_accounts();
    let said = as_device(&others, "bert", 12, &["cat", &share_of(&cluster, &["/doc"])]).stderr;
    assert!(said.contains("joined cluster"), "{said}");
    // A store with shares in it is in order.
    let mut fsck = cluster.directory_command("fsck").unwrap();
    fsck.arg("--json");
    run(fsck, None).unwrap().expect(0).unwrap();
}

#[test]
fn a_share_that_is_revoked_while_it_is_read_answers_no_further_request() {
    let (cluster, work) = two_accounts();
    let first = file(&work, "first", 1, 1_000_000);
    shoal(&cluster, 0, &["mkdir", "/folder"]);
    shoal(&cluster, 0, &["put", text(&first), text(&file(&work, "second", 2, 1_000_000)), "/folder/"]);
    let link = share_of(&cluster, &["/folder"]);
    let mut command =
        cluster.shoal_command("bert", ["cat", &format!("{link}/first"), &format!("{link}/second")]).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut reading = command.spawn().unwrap();
    let mut out = reading.stdout.take().unwrap();
    let mut read = vec![0; 1_000];
    out.read_exact(&mut read).unwrap();
    // The rest of the first file waits for whoever reads; the second was not asked for yet.
    let id = json(&cluster, &["share", "ls"])["share"].as_str().unwrap().to_owned();
    shoal(&cluster, 0, &["share", "revoke", &id]);
    out.read_to_end(&mut read).unwrap();
    let ended = reading.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(12), "{said}");
    assert!(said.contains("revoked"), "{said}");
    assert!(read == fs::read(&first).unwrap(), "the first file is whole, and nothing of the second is there");
}

#[test]
fn the_directory_learns_neither_names_nor_keys_of_what_is_shared() {
    let (mut cluster, work) = two_accounts();
    let root = tree(&work);
    shoal(&cluster, 0, &["put", "-r", text(&root), "/"]);
    let folder = share_of(&cluster, &["/Telltale-Album", "--guest"]);
    let version = share_of(&cluster, &["/Telltale-Album/large"]);
    as_device(&cluster, "nobody", 0, &["ls", "-r", &folder]);
    as_device(&cluster, "bert", 0, &["cat", &version]);
    shoal(&cluster, 0, &["share", "ls"]);
    let id = Link::parse(&OsString::from(&version)).unwrap().0.id().to_string();
    shoal(&cluster, 0, &["share", "revoke", &id]);
    as_device(&cluster, "bert", 12, &["cat", &version]);
    cluster.stop().unwrap();

    let mut needles = vec![b"Telltale-Album".to_vec(), b"shoallink1".to_vec()];
    for link in [&folder, &version] {
        let (link, _) = Link::parse(&OsString::from(link)).unwrap();
        needles.push(link.secret.to_vec());
        needles.push(match &link.reads {
            Reads::Folder { key, .. } | Reads::File { key, .. } => key.0.to_vec(),
            Reads::Version { meta, .. } => meta.manifest_key.0.to_vec(),
        });
    }
    let log = fs::read_to_string(cluster.directory_log()).unwrap();
    for event in ["share made", "share opened", "guest enrolled", "share revoked", "share refused"] {
        assert!(log.contains(event), "{event} is not in the log");
    }
    let mut bytes = 0;
    for path in cluster.server_side() {
        for (path, held) in content::all_bytes(&path).unwrap() {
            bytes += held.len();
            for needle in &needles {
                let found = held.windows(needle.len()).any(|window| window == needle.as_slice());
                assert!(!found, "{} holds {}", path.display(), String::from_utf8_lossy(needle));
            }
        }
    }
    assert!(bytes > 1 << 20, "only {bytes} bytes were searched");
}
