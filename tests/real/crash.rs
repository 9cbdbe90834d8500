//! Crash: a short run of what `cargo run --release -p tests --features long --bin crash -- --kills 1000` does for long.

use std::time::Duration;

use tests::crash::{self, Options};

/// Another seed with each build would test more; but a test that fails for some commits only helps nobody.
const SEED: u64 = 4;

#[test]
fn servers_that_are_killed_under_load_lose_nothing_and_come_back_by_themselves() {
    let options = Options {
        kills: 20,
        seed: SEED,
        peers: 4,
        workers: 3,
        round: 10,
        pause: Duration::from_millis(500),
        redundancies: vec!["1/3".to_owned(), "2/4".to_owned()],
        heal: Duration::from_secs(60),
        below: None,
        power: false,
    };
    let report = crash::run(&options, &mut |line| eprintln!("{line}")).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.kills.servers() >= 20 && report.kills.directory > 0 && report.kills.peers > 0, "{}", report.kills);
    assert!(report.done.files > 0 && report.done.looks >= 9, "{}", report.done);
}
