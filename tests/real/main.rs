//! Whole clusters of real processes on loopback: what a user does, what goes wrong, and what must never happen.
//!
//! Each test makes its own cluster in a folder of its own, on free ports, and ends it.

mod authorise;
mod bad_input;
mod churn;
mod clock;
mod enrol;
mod full_disk;
mod power_cut;
mod round_trip;
mod secrecy;
mod stop;
mod support;
