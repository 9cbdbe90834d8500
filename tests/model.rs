//! The model test's fixed histories: see `tests/src/model/`. The long run is `cargo run --release -p tests --features long --bin model`.

use std::sync::Mutex;

use tests::model;

/// How many of these seeds run here.
const SEEDS: u64 = 8;
const AT_ONCE: usize = 4;

#[test]
fn whatever_happens_what_was_acknowledged_reads_back_and_storage_becomes_what_is_referenced() {
    let failures = Mutex::new(Vec::new());
    model::run_many(1..=SEEDS, AT_ONCE, |outcome| {
        if outcome.failure.is_some() {
            failures.lock().unwrap().push(outcome.to_string());
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
