//! `shoal`: the program with the keys. All of it is in the library; this is where the process begins and ends.

fn main() -> std::process::ExitCode {
    client::cli::main()
}
