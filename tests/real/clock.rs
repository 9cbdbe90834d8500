//! Clocks ten years off: a word about the clock, no damage, and nothing lost once it is right again.

use std::path::Path;
use std::process::Command;

use tests::harness::process::run;

use crate::support::{file, shoal, text, three_peers};

/// Debian's libfaketime, where it is installed.
fn faketime() -> Option<&'static str> {
    let found = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("skipped: libfaketime is not installed");
    }
    found
}

fn shifted(command: &mut Command, library: &str, by: &str) {
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", by)
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

#[test]
fn a_device_whose_clock_is_ten_years_off_is_told_so() {
    let Some(library) = faketime() else { return };
    let (cluster, work) = three_peers();
    let source = file(&work, "source", 1, 2_000_000);
    shoal(&cluster, 0, &["put", text(&source), "/file"]);
    for by in ["+3650d", "-3650d"] {
        let mut list = cluster.shoal_command("device", ["ls", "/"]).unwrap();
        shifted(&mut list, library, by);
        let refused = run(list, None).unwrap();
        assert!(matches!(refused.status, Some(12 | 13)), "{by}: {:?} {}", refused.status, refused.stderr);
        assert!(refused.stderr.contains("clock"), "{by}: {}", refused.stderr);
    }
    shoal(&cluster, 0, &["cat", "/file"]);
}
