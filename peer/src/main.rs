//! `shoal-peer`: a storage node of a Shoal cluster. Arguments, exit codes and signals; all else is the library's.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
