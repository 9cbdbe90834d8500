//! `shoal-directory`: the command line of the directory.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
