//! The journal: bodies, headers, and whole segments with changed and torn records.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, rest)) => directory::fuzzing::body(rest),
        Some((1, rest)) => directory::fuzzing::header(rest),
        Some((_, rest)) => directory::fuzzing::journal(rest),
        None => {}
    }
});
