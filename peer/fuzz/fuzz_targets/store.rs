//! The peer's disk: headers of segments and records, hints, and whole segments that are scanned.

#![no_main]

use libfuzzer_sys::fuzz_target;
use peer::store::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, rest)) => fuzzing::segment_header(rest),
        Some((1, rest)) => fuzzing::record(rest),
        Some((2, rest)) => fuzzing::hint(rest),
        Some((_, rest)) => fuzzing::segment(rest),
        None => {}
    }
});
