//! Bad input: a clear error that names the thing and what to do, a non-zero exit, and nothing lost or left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, content};

use crate::support::{file, names, shoal, text, three_peers};

/// Runs a line and checks its code, and that what it says has all of the words.
fn says(cluster: &Cluster, code: i32, line: &[&str], words: &[&str]) {
    let answer = shoal(cluster, code, line);
    for word in words {
        assert!(answer.stderr.contains(word), "{line:?} does not say {word:?}: {}", answer.stderr);
    }
}

#[test]
fn wrong_paths_and_destinations_are_named() {
    let (cluster, work) = three_peers();
    let source = file(&work, "source", 1, 5_000);
    let folder = work.join("folder");
    fs::create_dir(&folder).unwrap();
    let source = text(&source);
    shoal(&cluster, 0, &["put", source, "/file"]);
    shoal(&cluster, 0, &["mkdir", "/folder"]);
    let x = work.join("x");
    let long = format!("/{}", "n".repeat(4_096));
    let cases: &[(i32, &[&str], &[&str])] = &[
        (1, &["put", "no/such/file", "/x"], &["no/such/file"]),
        (1, &["get", "/no/such", "."], &["/no"]),
        (1, &["cat", "/no"], &["/no"]),
        (1, &["cat", "/folder"], &["folder"]),
        (1, &["ls", "/no"], &["/no"]),
        (1, &["rm", "/no"], &["/no"]),
        (1, &["mv", "/no", "/x"], &["/no"]),
        (1, &["put", source, "/no/parent/x"], &["mkdir -p"]),
        (1, &["put", source, "/file/x"], &["/file"]),
        (2, &["put", source, "/a/../b"], &[".."]),
        (2, &["put", source, "/a//b"], &["//"]),
        (2, &["put", source, "relative"], &["relative", "/"]),
        (2, &["put", source, &long], &["1024"]),
        (2, &["ls", "/a/../b"], &[".."]),
        (1, &["put", text(&folder), "/x"], &["-r"]),
        (1, &["get", "/folder", text(&x)], &["-r"]),
        (1, &["rm", "/"], &["root"]),
        (2, &["put", source, "/x", "--redundancy", "4/3"], &["4/3"]),
        (13, &["put", source, "/x", "--redundancy", "1/9"], &["needed"]),
    ];
    for (code, line, words) in cases {
        says(&cluster, *code, line, words);
    }
    // A file put onto a folder goes into it.
    shoal(&cluster, 0, &["put", source, "/folder"]);
    assert_eq!(names(&cluster, "/folder"), ["source"]);
    assert_eq!(names(&cluster, "/"), ["file", "folder/"]);
    assert_eq!(Cluster::names_in(&work).unwrap(), ["folder", "source"]);
    // A get onto a folder goes into it; onto a folder of that very name it is refused.
    shoal(&cluster, 0, &["get", "/file", text(&folder)]);
    fs::create_dir(work.join("file")).unwrap();
    says(&cluster, 3, &["get", "/folder/source", "/file", text(&work)], &["file"]);
}

#[test]
fn names_that_are_no_utf_8_are_kept_exactly() {
    let (cluster, work) = three_peers();
    let name = OsString::from_vec(b"caf\xe9-\xff".to_vec());
    let source = work.join(&name);
    fs::write(&source, "content").unwrap();
    let arguments: [&OsStr; 3] = ["put".as_ref(), source.as_ref(), "/".as_ref()];
    cluster.shoal(arguments).unwrap().expect(0).unwrap();
    let target = work.join("target");
    fs::create_dir(&target).unwrap();
    let remote = OsString::from_vec([b"/".as_slice(), b"caf\xe9-\xff"].concat());
    let arguments: [&OsStr; 3] = ["get".as_ref(), remote.as_ref(), target.as_ref()];
    cluster.shoal(arguments).unwrap().expect(0).unwrap();
    assert_eq!(fs::read(target.join(&name)).unwrap(), b"content");
    // A terminal is shown nothing that it could take for a command.
    let listed = shoal(&cluster, 0, &["--json", "ls", "/"]).text();
    assert!(listed.contains("hex"), "{listed}");
}

#[test]
fn an_unreadable_file_in_a_folder_stops_no_other_and_the_exit_code_says_so() {
    let (cluster, work) = three_peers();
    let tree = work.join("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..5 {
        file(&tree, &format!("good{number}"), number, 1_000);
    }
    let bad = file(&tree, "bad", 9, 1_000);
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("pipe")).status().unwrap().success());
    let expected: Vec<String> = (0..5).map(|number| format!("good{number}")).collect();

    let put = cluster.shoal_command("device", ["put", "-r", text(&tree), "/tree"]).unwrap();
    let root_reads_all = fs::read(&bad).is_ok();
    let put = if root_reads_all { as_nobody(&cluster, put) } else { put };
    let answer = run(put, None).unwrap();
    assert_eq!(answer.status, Some(3), "{}", answer.stderr);
    assert!(answer.stderr.contains("bad") && answer.stderr.contains("pipe"), "{}", answer.stderr);
    assert_eq!(names(&cluster, "/tree"), expected);
}

/// The same command as a user who may not read everything, with the cluster's folder made its own.
fn as_nobody(cluster: &Cluster, command: Command) -> Command {
    const NOBODY: &str = "65534";
    fs::set_permissions(cluster.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let chown = Command::new("chown").args(["-R", NOBODY]).arg(cluster.home("device")).status().unwrap();
    assert!(chown.success());
    // The program may lie where only its owner may look.
    let program = cluster.root().join("shoal");
    fs::copy(command.get_program(), &program).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]).arg(program).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    other
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_published() {
    let (cluster, work) = three_peers();
    let chunks = || cluster.status().ok().and_then(|status| status["chunks"].as_u64()).unwrap_or(0);
    for (shrinks, name, seed) in [(false, "grows", 3), (true, "shrinks", 4)] {
        let source = work.join(name);
        content::make_file(&source, seed, 300 << 20).unwrap();
        eventually("what the last one left is collected", std::time::Duration::from_secs(20), || chunks() == 0)
            .unwrap();
        let mut put = cluster.shoal_command("device", ["put", text(&source), &format!("/{name}")]).unwrap();
        let child = put.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Chunks of it are registered: it was opened, and is far from its end.
        eventually("it is under way", std::time::Duration::from_secs(20), || chunks() > 0).unwrap();
        let mut changing = fs::File::options().append(true).open(&source).unwrap();
        if shrinks {
            changing.set_len(1 << 20).unwrap();
        } else {
            changing.write_all(b"more").unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(name), "{said}");
    }
    assert!(names(&cluster, "/").is_empty());
}

#[test]
fn a_directory_that_is_not_there_is_named_with_its_address() {
    let (mut cluster, _) = three_peers();
    let address = cluster.directory.as_ref().unwrap().address.clone();
    cluster.directory.as_mut().unwrap().kill().unwrap();
    let refused = run(cluster.shoal_command("device", ["ls", "/"]).unwrap(), None).unwrap();
    assert_eq!(refused.status, Some(13), "{}", refused.stderr);
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);
    assert!(refused.seconds < 15.0, "it took {} s to say so", refused.seconds);
}
