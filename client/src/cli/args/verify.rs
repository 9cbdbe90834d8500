//! `shoal verify` as it is typed.

use std::ffi::OsString;

use clap::Args;

/// See that all of it could be read now
///
/// By itself it looks at what the directory knows: that every manifest is there and opens, and that enough shards of every chunk are
/// with peers that answer now. With --deep every byte is fetched and compared with its digest, and nothing is written. Ends with 14 when
/// something could not be read, and names it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal verify                     # everything, from what the directory knows
  shoal verify --deep /photos      # every byte of it")]
pub struct Verify {
    /// Remote file or folder
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: OsString,

    /// Fetch and open every byte
    #[arg(long)]
    pub deep: bool,
}
