//! The command line: what is asked, done, and said. Answers go to stdout, everything else to stderr.

mod account;
mod arguments;
mod explain;
mod govern;
mod print;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use common::id::{DeviceId, PeerId, RequestId};
use common::proto::Refusal;
use common::proto::directory::{NewTicket, Revoke, Revoked};
use common::telemetry;
use common::time::Clock;
use directory::admin::{AdminError, Desk};
use directory::{Config, InitOptions};
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, Command, Init, RevokeId, Role, Serve, Status, Ticket};
use explain::Failure;

pub(crate) fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok(); // help or a usage error; there is no one else to tell
            return ExitCode::from(if error.use_stderr() { explain::USAGE } else { 0 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return explain::tell(&Failure::Runtime(error)),
    };
    let done = runtime.block_on(run(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => explain::tell(&failure),
    }
}

/// Requests are answered on the network's threads. Reading a record seldom waits for the disk, and then the others go on: so there
/// are twice as many as cores.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).saturating_mul(2)
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (format, level) = match &arguments.command {
        Command::Serve(serve) => (serve.log_format, "info"),
        Command::Init(_) | Command::Ticket(_) | Command::Status(_) | Command::Revoke(_) => {
            (telemetry::LogFormat::Text, "warn")
        }
        Command::Peer(_) | Command::Account(_) | Command::Fsck(_) | Command::Reconcile(_) => {
            (telemetry::LogFormat::Text, "warn")
        }
    };
    telemetry::start(format, level)?;
    match arguments.command {
        Command::Init(command) => init(command).await,
        Command::Serve(command) => serve(command).await,
        Command::Ticket(command) => ticket(command).await,
        Command::Status(command) => status(command).await,
        Command::Revoke(command) => revoke(command).await,
        Command::Peer(command) => govern::peer(command).await,
        Command::Account(command) => account::run(command).await,
        Command::Fsck(command) => govern::fsck(command).await,
        Command::Reconcile(command) => govern::reconcile(command).await,
    }
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}

async fn init(command: Init) -> Result<(), Failure> {
    let Init { data, listen, advertise, redundancy } = command;
    let parsed =
        common::transport::endpoint::listen_address(&listen).await.map_err(directory::serve::ServeError::from)?;
    if parsed.ip().is_unspecified() && advertise.is_empty() {
        return Err(directory::serve::ServeError::Unspecified { listen: parsed }.into());
    }
    let cluster = directory::init(&data, InitOptions { listen, advertise, redundancy }, &Clock::System).await?;
    say(&format!("cluster {cluster} made in {}", data.display()))
}

async fn serve(command: Serve) -> Result<(), Failure> {
    let times = command.times();
    directory::serve::check_times(&times).map_err(Failure::Usage)?;
    let work = command.work();
    directory::work::check_settings(&work).map_err(Failure::Usage)?;
    let config = Config { listen: command.listen, times, work, ..Config::new(command.data) };
    let stop = |kind| signal(kind).map_err(Failure::Signal);
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    let shutdown = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("told to end");
    };
    let ready = |address| {
        if let Err(failure) = say(&format!("listening on {address}")) {
            tracing::warn!(error = telemetry::chain(&failure), "cannot say so on stdout");
        }
    };
    Ok(directory::run(config, shutdown, ready).await?)
}

async fn ticket(command: Ticket) -> Result<(), Failure> {
    if command.account.is_some() && matches!(command.role, Role::Peer) {
        return Err(Failure::Usage("--account is for --role client: a peer acts for no account"));
    }
    if command.ttl.is_zero() || command.ttl > directory::op::ticket::LONGEST {
        return Err(Failure::Usage("--ttl is more than nothing and at most 366 days"));
    }
    let account = command.account.map(|name| name.try_into().map_err(|_| Failure::AccountName)).transpose()?;
    let ttl_ms = u64::try_from(command.ttl.as_millis()).unwrap_or(u64::MAX);
    let request = NewTicket { role: command.role.into(), account, uses: command.uses, ttl_ms };
    let desk = Desk::open(&Config::new(command.data)).await?;
    let made = desk.ticket(request).await;
    desk.close().await;
    say(&made?.ticket)
}

async fn status(command: Status) -> Result<(), Failure> {
    let desk = Desk::open(&Config::new(command.data)).await?;
    let (status, serving) = (desk.status().await, desk.is_serving());
    desk.close().await;
    say(&if command.json { print::json(&status?, serving) } else { print::text(&status?, serving) })
}

async fn revoke(command: RevokeId) -> Result<(), Failure> {
    let bytes: DeviceId = command.id.parse().map_err(Failure::Id)?;
    let desk = Desk::open(&Config::new(command.data)).await?;
    let mut done = Err(AdminError::Refused(Refusal::Internal));
    for id in [Revoked::Device(bytes), Revoked::Peer(PeerId(bytes.0))] {
        done = desk.revoke(&Revoke { request: RequestId::random(), id }).await;
        if !matches!(done, Err(AdminError::Refused(Refusal::NotFound(_)))) {
            break;
        }
    }
    desk.close().await;
    done?;
    say(&format!("revoked {bytes}"))
}
