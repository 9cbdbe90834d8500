//! The harness that real tests, the demo and the benchmarks share.

pub mod binaries;
pub mod cable;
pub mod cluster;
pub mod content;
pub mod dice;
pub mod fragile;
pub mod process;
pub mod relay;
mod turns;

pub use binaries::binary;
pub use cable::Cable;
pub use cluster::{Cluster, ClusterOptions};
pub use dice::Dice;
pub use fragile::Fragile;
pub use process::{Answer, Running};
pub use relay::{Conditions, Direction, Relay};
