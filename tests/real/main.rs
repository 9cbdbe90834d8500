//! Whole clusters of real processes on loopback: what a user does, what goes wrong, and what must never happen.
//!
//! Each test makes its own cluster in a folder of its own, on free ports, and ends it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod authorise;
mod bad_input;
mod bench;
mod churn;
mod clock;
mod compress;
mod crash;
mod damage;
mod enrol;
mod fanout;
mod faults;
mod full_disk;
mod keys;
mod network;
mod packs;
mod passphrase;
mod power_cut;
mod prune;
mod quota;
mod repair;
mod resume;
mod rotate;
mod round_trip;
mod secrecy;
mod share;
mod slow_peer;
mod stop;
mod support;
mod sync;
mod time;
mod told;
mod typist;
mod verify;
