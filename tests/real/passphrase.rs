//! A passphrase on a device's key: locked, unlocked for a time, typed at a terminal, changed, and killed in between.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use tests::harness::process::{eventually, run};
use tests::harness::{Answer, Cluster, Dice};

use crate::keys::{expect, one_peer, phrase, secret, with_input};
use crate::support::{file, shoal, text};
use crate::typist::Typist;

const OLD: &str = "an old passphrase, nine words of it or so";
const NEW: &str = "another one: grüße, zu Hause";

/// A folder in memory, for who keeps an unlocked key in a file. `None`, with a word about it, where there is none.
fn in_memory() -> Option<tempfile::TempDir> {
    let made = tempfile::Builder::new().prefix("shoal-").tempdir_in("/dev/shm");
    made.inspect_err(|error| eprintln!("skipped: this machine has no /dev/shm: {error}")).ok()
}

fn locked(cluster: &Cluster, line: &[&str]) -> Answer {
    let answer = shoal(cluster, 12, line);
    assert!(
        answer.stderr.contains("shoal unlock") && answer.stderr.contains("SHOAL_PASSPHRASE_FILE"),
        "{}",
        answer.stderr
    );
    answer
}

#[test]
fn a_key_with_a_passphrase_opens_with_it_alone() {
    let (cluster, work) = one_peer();
    let source = file(&work, "source", 1, 10_000);
    shoal(&cluster, 0, &["put", text(&source), "/kept"]);
    let key = cluster.home("device").join("master.key");
    let plain = fs::read(&key).unwrap();
    let in_the_open = || fs::read(&key).unwrap().windows(32).any(|window| window == &plain[8..]);
    assert!(in_the_open());
    let (old, new) = (secret(&work, "old", &format!("{OLD}\nmore\n")), secret(&work, "new", NEW));
    let short = secret(&work, "short", "1234567");

    assert!(shoal(&cluster, 0, &["key", "passphrase"]).text().contains("no passphrase"));
    assert!(shoal(&cluster, 1, &["unlock"]).stderr.contains("--set"));
    assert!(shoal(&cluster, 1, &["lock"]).stderr.contains("--set"));
    assert!(shoal(&cluster, 12, &["key", "passphrase", "--set"]).stderr.contains("--new-passphrase-file"));
    shoal(&cluster, 12, &["key", "passphrase", "--set", "--new-passphrase-file", &short]);
    shoal(&cluster, 1, &["key", "passphrase", "--change", "--new-passphrase-file", &old]);
    shoal(&cluster, 2, &["key", "passphrase", "--set", "--remove"]);
    assert!(in_the_open());
    shoal(&cluster, 0, &["key", "passphrase", "--set", "--new-passphrase-file", &old]);
    assert!(!in_the_open() && fs::metadata(&key).unwrap().permissions().mode() & 0o777 == 0o600);
    assert!(shoal(&cluster, 0, &["key", "passphrase"]).text().contains("has a passphrase"));
    shoal(&cluster, 11, &["key", "passphrase", "--set", "--new-passphrase-file", &new]);

    // Every command that needs the key, without a terminal and without a file.
    for line in [&["ls", "/"][..], &["cat", "/kept"], &["status"], &["key", "verify"], &["key", "phrase", "--yes"]] {
        locked(&cluster, line);
    }
    let object = shoal(&cluster, 12, &["ls", "/", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&object.stderr).unwrap();
    assert_eq!(object["error"]["code"], 12);
    assert_eq!(shoal(&cluster, 0, &["cat", "/kept", "--passphrase-file", &old]).stdout, fs::read(&source).unwrap());
    let mut by_variable = cluster.shoal_command("device", ["cat", "/kept"]).unwrap();
    by_variable.env("SHOAL_PASSPHRASE_FILE", &old);
    assert_eq!(run(by_variable, None).unwrap().expect(0).unwrap().stdout, fs::read(&source).unwrap());
    let wrong = shoal(&cluster, 12, &["ls", "/", "--passphrase-file", &new]);
    assert!(wrong.stderr.contains("wrong passphrase") && wrong.stderr.contains("--replace"), "{}", wrong.stderr);
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(shoal(&cluster, 12, &["ls", "/", "--passphrase-file", &old]).stderr.contains("chmod 600"));
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();

    // Nothing secret is said, however much is said.
    let talked = shoal(&cluster, 0, &["-vv", "ls", "/", "--passphrase-file", &old]);
    assert!(!talked.stderr.contains(OLD) && !talked.stderr.contains(&plain[8..].escape_ascii().to_string()));

    shoal(&cluster, 12, &["key", "passphrase", "--change", "--passphrase-file", &new, "--new-passphrase-file", &new]);
    shoal(&cluster, 0, &["key", "passphrase", "--change", "--passphrase-file", &old, "--new-passphrase-file", &new]);
    shoal(&cluster, 12, &["ls", "/", "--passphrase-file", &old]);
    shoal(&cluster, 0, &["ls", "/", "--passphrase-file", &new]);

    // Forgotten: the phrase brings the key back, but not by accident.
    let phrase = shoal(&cluster, 0, &["key", "phrase", "--yes", "--passphrase-file", &new]).text();
    let kept = with_input(&cluster, "device", &["key", "import", "--phrase"], &phrase).expect(11).unwrap();
    assert!(kept.stderr.contains("--replace"), "{}", kept.stderr);
    with_input(&cluster, "device", &["key", "import", "--phrase", "--replace"], &phrase).expect(0).unwrap();
    assert!(fs::read(&key).unwrap() == plain);
    shoal(&cluster, 0, &["key", "passphrase", "--set", "--new-passphrase-file", &old]);
    shoal(&cluster, 0, &["key", "passphrase", "--remove", "--passphrase-file", &old]);
    assert!(fs::read(&key).unwrap() == plain);
    assert_eq!(shoal(&cluster, 0, &["cat", "/kept"]).stdout, fs::read(&source).unwrap());
}

#[test]
fn an_unlocked_key_is_open_until_its_time_is_over_or_it_is_locked() {
    let (cluster, work) = one_peer();
    let pass = secret(&work, "pass", OLD);
    shoal(&cluster, 0, &["key", "passphrase", "--set", "--new-passphrase-file", &pass]);
    let Some(memory) = in_memory() else { return };
    let shoal = |code, line: &[&str]| {
        let mut command = cluster.shoal_command("device", line).unwrap();
        command.env("XDG_RUNTIME_DIR", memory.path());
        run(command, None).unwrap().expect(code).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    };
    for keeper in ["kernel", "file"] {
        let unlock = |span| ["unlock", "--for", span, "--keeper", keeper, "--passphrase-file", &pass];
        let mut tried = cluster.shoal_command("device", unlock("1h")).unwrap();
        tried.env("XDG_RUNTIME_DIR", memory.path());
        let tried = run(tried, None).unwrap();
        if keeper == "kernel" && tried.status == Some(1) && tried.stderr.contains("not available") {
            eprintln!("skipped: {}", tried.stderr);
            continue;
        }
        let tried = tried.expect(0).unwrap();
        assert!(tried.text().contains("unlocked until"), "{}", tried.text());
        shoal(0, &["ls", "/"]);
        // What gives the key away asks all the same.
        shoal(12, &["key", "phrase", "--yes"]);
        shoal(12, &["key", "split", "--shares", "3", "--needed", "2"]);
        let left = fs::read_dir(memory.path().join("shoal")).map_or(0, Iterator::count);
        assert_eq!(left, usize::from(keeper == "file"));
        shoal(0, &["lock"]);
        shoal(12, &["ls", "/"]);
        assert!(shoal(0, &["lock"]).text().contains("already"));
        assert_eq!(fs::read_dir(memory.path().join("shoal")).map_or(0, Iterator::count), 0);

        shoal(0, &unlock("8s"));
        shoal(0, &["ls", "/"]);
        // The kernel may forget its half a moment before the other's time is over; the next command removes that.
        let left = cluster.home("device").join("unlocked");
        let is_locked = || cluster_is_locked(&cluster, memory.path()) && !left.exists();
        eventually("its time is over", Duration::from_secs(60), is_locked).unwrap();
        shoal(12, &["ls", "/"]);
        assert!(!cluster.home("device").join("unlocked").exists());
    }
    // Another passphrase locks.
    shoal(0, &["unlock", "--passphrase-file", &pass]);
    shoal(0, &["ls", "/"]);
    shoal(0, &["key", "passphrase", "--change", "--passphrase-file", &pass, "--new-passphrase-file", &pass]);
    shoal(12, &["ls", "/"]);
    // A folder that a restart does not empty keeps no keys.
    let mut on_disk =
        cluster.shoal_command("device", ["unlock", "--keeper", "file", "--passphrase-file", &pass]).unwrap();
    on_disk.env("XDG_RUNTIME_DIR", &work);
    let on_disk = run(on_disk, None).unwrap();
    let disk_is_memory = rustix::fs::statfs(&work).is_ok_and(|found| found.f_type == 0x0102_1994);
    assert!(
        disk_is_memory || on_disk.status == Some(1) && on_disk.stderr.contains("not in memory"),
        "{}",
        on_disk.stderr
    );
    for span in ["0s", "400ms", "100days", "soon"] {
        shoal(2, &["unlock", "--for", span]);
    }
}

fn cluster_is_locked(cluster: &Cluster, memory: &std::path::Path) -> bool {
    let mut ls = cluster.shoal_command("device", ["ls", "/"]).unwrap();
    ls.env("XDG_RUNTIME_DIR", memory);
    run(ls, None).unwrap().status == Some(12)
}

#[test]
fn a_terminal_is_asked_without_an_echo_and_left_as_it_was() {
    let (cluster, work) = one_peer();
    shoal(&cluster, 0, &["put", text(&file(&work, "source", 2, 100)), "/kept"]);
    let command = |line: &[&str]| cluster.shoal_command("device", line).unwrap();

    let mut typist = Typist::start(&command(&["key", "passphrase", "--set"]), "{}");
    typist.answers("New passphrase for this device's key: ", OLD);
    typist.answers("The same once more: ", NEW);
    let (code, screen) = typist.ends();
    assert!(code == Some(12) && screen.contains("not the same"), "{screen}");
    let mut typist = Typist::start(&command(&["key", "passphrase", "--set"]), "{}");
    typist.answers("New passphrase for this device's key: ", OLD);
    typist.answers("The same once more: ", OLD);
    let (code, screen) = typist.ends();
    assert!(code == Some(0) && !screen.contains(OLD), "{screen}");

    // Twice wrong, then right; typed to the terminal even while standard output is a pipe.
    let mut typist = Typist::start(&command(&["ls", "/"]), "{} | cat");
    for typed in [NEW, "wrong again", OLD] {
        typist.answers("Passphrase of this device's key: ", typed);
    }
    let (_, screen) = typist.ends();
    assert!(screen.contains("kept") && !screen.contains(OLD) && !screen.contains(NEW), "{screen}");
    let mut typist = Typist::start(&command(&["ls", "/"]), "{}");
    for _ in 0..3 {
        typist.answers("Passphrase of this device's key: ", NEW);
    }
    let (code, screen) = typist.ends();
    assert!(code == Some(12) && !screen.contains("kept"), "{screen}");

    // Answered, interrupted or ended from elsewhere: the terminal shows again what is typed.
    for (typed, code) in [("\n", "12"), ("half of it\x03", "130")] {
        let mut typist = Typist::start(&command(&["ls", "/"]), "trap : INT; {}; echo it ended with $?; stty -a");
        typist.waits_for("Passphrase of this device's key: ");
        typist.types(typed);
        let (_, screen) = typist.ends();
        assert!(screen.contains(&format!("it ended with {code}")) && !screen.contains("half of it"), "{screen}");
        assert!(screen.contains(" echo ") && !screen.contains("-echo "), "{screen}");
    }
}

#[test]
fn a_kill_in_the_middle_of_a_change_leaves_the_old_passphrase_or_the_new_one() {
    let (cluster, work) = one_peer();
    let phrase = phrase(&cluster, "device");
    let mut files = [secret(&work, "a", OLD), secret(&work, "b", NEW)];
    shoal(&cluster, 0, &["key", "passphrase", "--set", "--new-passphrase-file", &files[0]]);
    let opens = |with: &str| {
        let verify = ["key", "verify", "--phrase", "--passphrase-file", with];
        let answer = with_input(&cluster, "device", &verify, &phrase);
        assert!(matches!(answer.status, Some(0 | 12)), "{}", answer.stderr);
        answer.status == Some(0)
    };
    // How long a change takes here and now.
    let change = |files: &[String; 2]| {
        let line =
            ["key", "passphrase", "--change", "--passphrase-file", &files[0], "--new-passphrase-file", &files[1]];
        cluster.shoal_command("device", line).unwrap()
    };
    let whole = run(change(&files), None).unwrap().expect(0).unwrap().seconds;
    files.swap(0, 1);
    let mut dice = Dice::new(5);
    let mut survived = [0, 0];
    for round in 0..10 {
        let mut child = change(&files).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // At a time of its own each: what is to be found is in between, wherever that is.
        let after = whole * f64::from(u32::try_from(dice.below(1_300)).unwrap()) / 1000.0;
        std::thread::sleep(Duration::from_secs_f64(after));
        child.kill().ok();
        child.wait().unwrap();
        let [old, new] = [opens(&files[0]), opens(&files[1])];
        assert!(old != new, "round {round}, killed after {after:.2} s: old {old}, new {new}");
        survived[usize::from(new)] += 1;
        if new {
            files.swap(0, 1);
        }
    }
    eprintln!(
        "of 10 changes killed within {whole:.2} s, {} left the old passphrase and {} the new",
        survived[0], survived[1]
    );
    expect(&cluster, "device", 0, &["key", "passphrase", "--remove", "--passphrase-file", &files[0]]);
    let names = Cluster::names_in(&cluster.home("device")).unwrap();
    assert!(names.iter().all(|name| !name.contains(".new")), "{names:?}");
}

#[test]
fn a_key_file_that_asks_for_gigabytes_is_refused() {
    let (cluster, work) = one_peer();
    let pass = secret(&work, "pass", OLD);
    let mut hostile = b"SHOALMK2\x01".to_vec();
    for number in [4_u32 << 20, 3, 4] {
        hostile.extend_from_slice(&number.to_le_bytes());
    }
    hostile.extend_from_slice(&[7; 16 + 62]);
    hostile.extend_from_slice(&blake3::hash(&hostile).as_bytes()[..8]);
    fs::write(cluster.home("device").join("master.key"), hostile).unwrap();
    let refused = shoal(&cluster, 1, &["ls", "/", "--passphrase-file", &pass]);
    assert!(refused.stderr.contains("4096 MiB"), "{}", refused.stderr);
    assert!(refused.peak_memory < 64 << 20, "{} bytes", refused.peak_memory);
}
