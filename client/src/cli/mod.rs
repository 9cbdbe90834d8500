//! Cli: the `shoal` command. One file a command; here is what they share.
//!
//! In reading order: [`args`] (what is typed), [`exit`] (how it ends), [`context`] (what a command works with), the commands,
//! [`destination`](crate::folder::destination) (what DEST means), [`output`] and [`progress`] (what is seen), [`explain`] (what an error means and what to do).
//!
//! Data goes to stdout and everything else to stderr. A reader that hangs up early ends a command in silence. The first Ctrl-C
//! stops a command so that nothing half-done is left, the second ends the process at once.

pub mod args;
pub mod context;
pub mod error;
pub mod exit;
pub mod explain;
pub mod output;
pub mod progress;
pub mod report;

mod bench;
mod cat;
mod cp;
mod diff;
mod du;
mod entry;
mod explain_past;
mod get;
mod get_tree;
mod join;
mod key;
mod link;
mod ls;
mod mkdir;
mod mv;
mod passphrase;
mod prune;
mod put;
mod put_tree;
mod redundancy;
mod repack;
mod restore;
mod rm;
mod share;
mod snapshot;
mod stat;
mod status;
mod stdout;
mod sync;
mod terminal;
mod ticker;
mod unlock;
mod verify;
mod versions;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use common::telemetry;
use tokio::runtime::{Builder, Runtime};

use self::args::{Cli, Command, Global};
use self::context::Context;
use self::exit::Exit;
use crate::cancel::{Cancel, Interrupted};

/// How a command ended well.
pub type Outcome = anyhow::Result<Exit>;

/// What is still running when the command is done gets this long to end.
const LINGER: Duration = Duration::from_millis(200);

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    common::heap::keep();
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            error.print().ok(); // help or usage; when nobody reads it there is nobody to tell
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    let global = cli.global.clone();
    let outcome = start(&global).and_then(|runtime| {
        let outcome = runtime.block_on(run(cli));
        runtime.shutdown_timeout(LINGER); // a read from standard input cannot be stopped otherwise
        outcome
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => explain::report(&error, global.json).into(),
    }
}

fn start(global: &Global) -> anyhow::Result<Runtime> {
    let filter = match global.verbose {
        _ if global.quiet => "error",
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    telemetry::start(global.log_format, filter)?;
    // One worker moves the packets; sealing and disks have threads of their own. More workers only steal from each other.
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

async fn run(cli: Cli) -> Outcome {
    let cancel = Cancel::new();
    let mut watch = tokio::task::JoinSet::new();
    watch.spawn(signals(cancel.clone(), cli.global.quiet || cli.global.json));
    let mut context = Context::new(cli.global, cancel.clone());
    let outcome = match cli.command {
        // These move content: they stop by themselves, and clean up.
        Command::Put(args) => put::run(&mut context, args).await,
        Command::Get(args) => get::run(&mut context, args).await,
        Command::Cat(args) => cat::run(&mut context, args).await,
        Command::Cp(args) => cp::run(&mut context, args).await,
        Command::Restore(args) => restore::run(&mut context, args).await,
        Command::Undelete(args) => restore::undelete(&mut context, args).await,
        Command::Sync(args) => sync::run(&mut context, args).await,
        Command::Verify(args) => verify::run(&mut context, args).await,
        Command::Repack(args) => repack::run(&mut context, args).await,
        Command::Bench(args) => bench::run(&mut context, args).await,
        // These are one step of the directory, which happens or not.
        Command::Join(args) => stoppable(&cancel, join::run(&mut context, args)).await,
        Command::Ls(args) => stoppable(&cancel, ls::run(&mut context, args)).await,
        Command::Stat(args) => stoppable(&cancel, stat::run(&mut context, args)).await,
        Command::Mkdir(args) => stoppable(&cancel, mkdir::run(&mut context, args)).await,
        Command::Mv(args) => stoppable(&cancel, mv::run(&mut context, args)).await,
        Command::Rm(args) => stoppable(&cancel, rm::run(&mut context, args)).await,
        Command::Share(args) => stoppable(&cancel, share::run(&mut context, args)).await,
        Command::Redundancy(args) => stoppable(&cancel, redundancy::run(&mut context, args)).await,
        Command::Key(args) => stoppable(&cancel, key::run(&mut context, args)).await,
        Command::Unlock(args) => stoppable(&cancel, unlock::unlock(&mut context, args)).await,
        Command::Lock(args) => stoppable(&cancel, unlock::lock(&mut context, args)).await,
        Command::Versions(args) => stoppable(&cancel, versions::run(&mut context, args)).await,
        Command::Diff(args) => stoppable(&cancel, diff::run(&mut context, args)).await,
        Command::Snapshot(args) => stoppable(&cancel, snapshot::run(&mut context, args)).await,
        Command::Prune(args) => stoppable(&cancel, prune::run(&mut context, args)).await,
        Command::Du(args) => stoppable(&cancel, du::run(&mut context, args)).await,
        Command::Status(args) => stoppable(&cancel, status::run(&mut context, args)).await,
    };
    let flushed = context.output.flush();
    context.close().await;
    let exit = outcome?;
    flushed?;
    Ok(exit)
}

async fn stoppable(cancel: &Cancel, command: impl Future<Output = Outcome>) -> Outcome {
    cancel.guard(command).await.unwrap_or_else(|| Err(Interrupted.into()))
}

/// Ctrl-C and SIGTERM: the first asks, the second does not.
#[expect(clippy::print_stderr, reason = "the user is told on stderr")]
async fn signals(cancel: Cancel, silent: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return; // then signals end the process at once, as they do by default
    };
    let mut asked = false;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            crate::bench::clean_up();
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
        asked = true;
        cancel.cancel();
        if !silent && std::io::stderr().is_terminal() {
            eprintln!("\nshoal: stopping and cleaning up; once more to stop at once");
        }
    }
}
