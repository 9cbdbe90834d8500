//! The command line: one match, data on stdout, all else on stderr.

mod args;
mod exit;

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use common::limits::TICKET_BYTES;
use common::telemetry;
use common::time::Timestamp;
use peer::config::{DISK_THREADS, ServeConfig, network_threads};
use peer::join::{JoinConfig, join, read_ticket};
use peer::status::{Status, status};
use peer::store::Reserve;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use args::{Cli, Command, JoinArgs, ServeArgs, StatusArgs};
use exit::Failure;

/// What work that is still on a thread gets when the program ends.
const LAST_WORK: Duration = Duration::from_secs(1);

pub(crate) fn main() -> ExitCode {
    common::heap::keep();
    let outcome = match Cli::parse().command {
        Command::Join(args) => run_join(args),
        Command::Serve(args) => run_serve(args),
        Command::Status(args) => run_status(&args),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            let mut stderr = std::io::stderr();
            writeln!(stderr, "shoal-peer: {}", failure.text()).ok(); // nobody is left to be told
            failure.code()
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(network_threads()).max_blocking_threads(DISK_THREADS).enable_all();
    builder.build().map_err(Failure::other)
}

/// The first of SIGINT and SIGTERM.
async fn ended() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await; // then signals end the process at once, as they do by default
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn run_join(args: JoinArgs) -> Result<ExitCode, Failure> {
    let ticket = read_ticket(&ticket_text(args.ticket)?)?;
    let label = args.label.unwrap_or_else(host_name);
    let config = JoinConfig {
        data: args.data.clone(),
        listen: args.listen,
        advertise: args.advertise,
        label,
        zone: args.zone,
        capacity: args.capacity,
    };
    let runtime = runtime()?;
    let joined = runtime.block_on(async {
        tokio::select! {
            joined = join(&ticket, config) => joined.map(Some).map_err(Failure::from),
            () = ended() => Ok(None),
        }
    });
    runtime.shutdown_timeout(LAST_WORK);
    let Some(new) = joined? else { return Ok(ExitCode::from(exit::INTERRUPTED)) };
    let mut stderr = std::io::stderr();
    writeln!(stderr, "peer {} has joined cluster {}", new.peer.short(), new.cluster.short()).ok();
    writeln!(stderr, "start it with: shoal-peer serve --data {}", args.data.display()).ok();
    Ok(ExitCode::SUCCESS)
}

fn ticket_text(given: String) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    let most = u64::try_from(TICKET_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin().take(most).read_to_string(&mut text).map_err(Failure::other)?;
    Ok(text)
}

/// What the machine calls itself, as far as it fits a label.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().filter(|c| c.is_ascii_graphic()).take(common::limits::LABEL_BYTES).collect()
}

fn run_serve(args: ServeArgs) -> Result<ExitCode, Failure> {
    telemetry::start(args.log_format, "info").map_err(Failure::usage)?;
    let config = ServeConfig {
        listen: args.listen,
        advertise: args.advertise,
        reserve: args.reserve.map_or(Reserve::Usual, Reserve::Bytes),
        directory: args.directory,
        scrub_rate: args.scrub_rate.0,
        scrub_every: args.scrub_every,
        keep_trash: args.trash_days.0,
        ..ServeConfig::new(args.data)
    };
    let runtime = runtime()?;
    let outcome = runtime.block_on(peer::run(config, ended(), |address| {
        let mut stdout = std::io::stdout();
        // Whoever started it may not be listening; it serves all the same.
        writeln!(stdout, "listening on {address}").and_then(|()| stdout.flush()).ok();
    }));
    runtime.shutdown_timeout(LAST_WORK);
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn run_status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let status = status(&args.data, Timestamp::from_system(std::time::SystemTime::now()))?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string(&status).map_err(Failure::other)?)
    } else {
        describe(&status)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::other(error)),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

fn describe(status: &Status) -> String {
    use common::size::ByteSize;
    let serving = match &status.serving {
        None => "no".to_owned(),
        Some(serving) => {
            let address = serving.address.as_deref().unwrap_or("an address not told yet");
            let process = serving.process.map_or_else(String::new, |id| format!(" (process {id})"));
            format!("on {address}{process}")
        }
    };
    let capacity = status.capacity_bytes.map_or_else(|| "the file system's".to_owned(), |b| ByteSize(b).to_string());
    let expired = if status.certificate_expired { ", which is over: join again" } else { "" };
    let scrub = match (&status.scrub_since, &status.scrub_ended) {
        (None, _) => "never begun".to_owned(),
        (Some(since), ended) => {
            let (shards, damaged) = (status.scrub_shards, status.scrub_damaged);
            let ended = ended.as_ref().map_or_else(String::new, |ended| format!("; a whole pass ended at {ended}"));
            format!("{shards} shards checked since {since}, {damaged} damaged{ended}")
        }
    };
    let lines = [
        ("peer", status.peer.clone()),
        ("cluster", status.cluster.clone()),
        ("label", status.label.clone()),
        ("zone", status.zone.clone()),
        ("serving", serving),
        ("directory", status.directory.join(", ")),
        ("listen", status.listen.clone()),
        ("advertise", status.advertise.join(", ")),
        ("capacity", capacity),
        ("used", ByteSize(status.used_bytes).to_string()),
        ("scrub", scrub),
        ("generation", status.generation.to_string()),
        ("certificate", format!("until {}{expired}", status.certificate_valid_until)),
    ];
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:<12} {value}\n")).collect()
}
