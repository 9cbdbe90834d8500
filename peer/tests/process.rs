//! The program itself: exit codes, the line that says that it is ready, and its end. Its directory is away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::disk;
use common::id::{ClusterId, PeerId};
use common::identity::certificate::{VALIDITY, save_certificate};
use common::identity::{Authority, Identity, PrivateKey, Role, StatementKey, Subject};
use common::ticket::Ticket;
use common::time::Clock;
use peer::folder::{FORMAT, FORMAT_NAME, Layout, Settings};
use peer::known::Durable;
use rustix::process::{Pid, Signal, kill_process};

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shoal-peer"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(words: &[&str], input: &str) -> Output {
    let mut child = command(words).spawn().unwrap();
    // Who refuses before it reads may be gone by now.
    if let Err(error) = child.stdin.take().unwrap().write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
    }
    child.wait_with_output().unwrap()
}

fn check(words: &[&str], input: &str, code: i32, says: &str) {
    let output = run(words, input);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
    assert!(stderr.contains(says), "{words:?}: {stderr}");
    assert!(output.stdout.is_empty());
}

/// Nobody is there: an address of this machine that was free a moment ago.
fn nowhere() -> String {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn ticket(role: Role) -> String {
    Ticket::new(CLUSTER, role, [1; 32], vec![nowhere()]).unwrap().to_line().to_string()
}

fn joined(data: &std::path::Path) {
    let now = Clock::System.now();
    let authority = Authority::create(CLUSTER, now).unwrap();
    let layout = Layout::new(data);
    disk::create_folder(data).unwrap();
    let key = PrivateKey::generate().unwrap();
    let who = Identity { cluster: CLUSTER, subject: Subject::Peer(PeerId([8; 16])) };
    key.save(&layout.key()).unwrap();
    save_certificate(&layout.authority(), authority.certificate()).unwrap();
    save_certificate(&layout.certificate(), &authority.issue_for(&key, &who, now, VALIDITY).unwrap()).unwrap();
    let settings = Settings {
        cluster: CLUSTER,
        peer: PeerId([8; 16]),
        statement_key: StatementKey::generate().unwrap().public(),
        directory: vec![nowhere()],
        listen: "127.0.0.1:0".to_owned(),
        advertise: vec![],
        label: String::new(),
        zone: String::new(),
        capacity: None,
    };
    settings.save(&layout.settings()).unwrap();
    Durable::default().save(&layout.known()).unwrap();
    disk::mark_format(data, FORMAT_NAME, FORMAT).unwrap();
}

#[test]
fn what_is_wrong_has_an_exit_code_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("peer");
    let data = place.to_str().unwrap();
    check(&["serve", "--data", data], "", 10, "shoal-peer join");
    check(&["status", "--data", data], "", 10, "shoal-peer join");
    check(&["join", "nonsense", "--data", data], "", 12, "no ticket");
    check(&["join", "-", "--data", data], &ticket(Role::Client), 12, "for a client");
    let peer = ticket(Role::Peer);
    check(&["join", &peer[..peer.len() - 4], "--data", data], "", 12, "damaged");
    check(&["join", "-", "--data", data, "--listen", "nowhere"], &peer, 2, "not an address");
    check(&["join", "-", "--data", data, "--advertise", "a:0"], &peer, 2, "not an address");
    check(&["join", "-", "--data", data, "--capacity", "much"], &peer, 2, "not a size");
    check(&["join", "-", "--data", folder.path().to_str().unwrap()], &peer, 13, "no directory answers");
    std::fs::write(folder.path().join("file"), "").unwrap();
    check(&["join", "-", "--data", folder.path().to_str().unwrap()], &peer, 11, "not empty");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

fn ready(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn it_says_once_that_it_is_ready_and_ends_cleanly_on_both_signals() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("peer");
    let data = place.to_str().unwrap();
    joined(&place);
    for signal in [Signal::TERM, Signal::INT] {
        let mut child = command(&["serve", "--data", data, "--log-format", "json"]).spawn().unwrap();
        let line = ready(&mut child);
        assert!(line.starts_with("listening on 127.0.0.1:"), "{line:?}");
        check(&["serve", "--data", data], "", 11, &format!("process {}", child.id()));
        let status = run(&["status", "--data", data, "--json"], "").stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        assert_eq!(status["serving"]["process"], child.id());
        let begun = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        assert!(log.lines().all(|line| line.starts_with('{')), "{log}");
    }
}
