//! Whole clusters for tests, the demo and benchmarks: real processes, real QUIC on loopback, real disks, real signals.
//!
//! - [`harness::binaries`]: where the three programs are, built when they are not;
//! - [`harness::process`]: one of them running, with its address, its log, its CPU time and its memory;
//! - [`harness::cluster`]: a directory, peers and a device, enrolled with real tickets;
//! - [`harness::relay`]: a network with delay, loss and a rate in front of one of them;
//! - [`harness::content`]: files to store, and trees to compare;
//! - [`harness::dice`]: pseudo-random numbers from a seed;
//! - [`crash`]: load and SIGKILL at random moments, and what may be seen afterwards;
//! - [`model`]: clusters in this process, beside a reference;
//! - [`odds`]: how likely it is to lose anything, computed.

pub mod crash;
pub mod harness;
pub mod model;
pub mod odds;
