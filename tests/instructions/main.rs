//! A guard against regressions of speed that does not look at a clock: how many instructions each room takes for a fixed amount of
//! work, counted by callgrind, against what is recorded in `tests/baseline/instructions.toml`.
//!
//! - `cargo test --release -p tests --test instructions`: counts and compares; above `baseline::MARGIN` is a failure.
//! - `RECORD=1` in front of it: writes what was counted into the baseline instead. Say in the commit why it changed.
//!
//! The test runs itself under valgrind, which counts between two calls that stand around each room's work (`counted`). It is all on
//! one thread, without a disk, a socket or a clock, so the same binary counts the same to the last few instructions of a
//! hash table with a random seed, however busy the machine is.
//!
//! What it cannot see: waiting, cache misses, system calls, and instructions that valgrind does not know. It simulates a processor
//! with AVX2 and AES-NI, without SHA-NI, VAES and AVX-512: SHA-1 and AES are counted as what such a processor would run. That is not
//! what they cost here (`cargo bench` shows that), but our own code around them is counted as it is. A long copy counts as one
//! instruction a byte, far more than its time, so one too many stands out.
//!
//! Skipped, with a line that says so: without valgrind, in an unoptimised build, and where valgrind simulates another processor than
//! the one of the baseline.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod baseline;
// Both make bytes and ids with `blake3`.
#[path = "../../common/benches/rooms/inputs.rs"]
#[allow(dead_code, reason = "the benches use more of it")]
mod inputs;
mod rooms;
#[path = "../../directory/benches/rooms/world.rs"]
#[allow(dead_code, reason = "the benches use more of it")]
mod world;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use baseline::{Baseline, Recorded};

/// Set for the process that does the work, under valgrind.
const WORKING: &str = "SHOAL_ROOMS_AT_WORK";
/// Set by whoever wants to record.
const RECORD: &str = "RECORD";
/// In front of the name of each room in what the working process says, in the order of the counts.
const ROOM: &str = "room ";
const PROCESSOR: &str = "processor ";

/// callgrind is told to begin at zero when this is called. The body differs from the other one's, or the compiler would merge them.
#[inline(never)]
fn counting_begins() {
    black_box("begins");
}

/// callgrind is told to write down what it has when this is called.
#[inline(never)]
fn counting_ends() {
    black_box(["ends"]);
}

/// Counts the work, and all that it calls, as that of a room. Dropping what it made is not counted.
fn counted<T>(room: &str, work: impl FnOnce() -> T) -> T {
    say(&format!("{ROOM}{room}"));
    counting_begins();
    let made = black_box(work());
    counting_ends();
    made
}

/// Past the test harness, which keeps to itself what a passing test prints.
#[expect(clippy::explicit_write, reason = "the macro would be captured")]
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// What the code finds the processor to have, as far as it chooses instructions by it.
#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let features = [
        ("sse4.1", is_x86_feature_detected!("sse4.1")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("aes", is_x86_feature_detected!("aes")),
        ("vaes", is_x86_feature_detected!("vaes")),
        ("sha", is_x86_feature_detected!("sha")),
    ];
    let there: Vec<_> = features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    format!("x86_64 {}", there.join(" "))
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    env::consts::ARCH.to_owned()
}

/// First line of what a program says of its version.
fn version_of(program: &str) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

/// What the working process counted, room by room, and on what.
fn count(test: &str) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("counts");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(["--zero-before=*counting_begins*", "--dump-before=*counting_ends*"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(WORKING, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the rooms failed under valgrind:\n{said}");
    let mut instructions = BTreeMap::new();
    for (number, room) in (1..).zip(said.lines().filter_map(|line| line.strip_prefix(ROOM))) {
        instructions.insert(room.to_owned(), total(&folder.path().join(format!("counts.{number}"))));
    }
    assert!(!instructions.is_empty(), "callgrind counted nothing:\n{said}");
    let processor = said.lines().find_map(|line| line.strip_prefix(PROCESSOR)).unwrap().to_owned();
    let version = |program: &str| version_of(program).unwrap_or_default();
    Recorded { processor, rustc: version("rustc"), valgrind: version("valgrind"), instructions }
}

/// The sum of one dump of callgrind's.
fn total(dump: &Path) -> u64 {
    let text = fs::read_to_string(dump).unwrap_or_else(|error| panic!("{}: {error}", dump.display()));
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a dump ends with its sum");
    totals.trim().parse().unwrap()
}

#[test]
fn no_room_takes_more_instructions_than_recorded() {
    if env::var_os(WORKING).is_some() {
        say(&format!("{PROCESSOR}{}", processor()));
        return rooms::all();
    }
    if cfg!(debug_assertions) {
        return say("instructions: skipped, they are counted in release builds alone (cargo test --release)");
    }
    if version_of("valgrind").is_none() {
        return say("instructions: skipped, there is no valgrind");
    }
    let now = count("no_room_takes_more_instructions_than_recorded");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("baseline/instructions.toml");
    if env::var_os(RECORD).is_some() {
        fs::write(&path, baseline::text(&now)).unwrap();
        return say(&format!("instructions: recorded {} rooms", now.instructions.len()));
    }
    let recorded = Baseline::read(&fs::read_to_string(&path).unwrap_or_default()).expect("the baseline is malformed");
    if let Some(other) = recorded.processor().filter(|recorded| *recorded != now.processor) {
        return say(&format!("instructions: skipped, counted on {} and the baseline on {other}", now.processor));
    }
    let report = recorded.compare(&now);
    say(&report.text);
    assert!(!report.failed, "{}", report.text);
}
