//! Devices: many of them at one real directory, each with an identity, a certificate and a connection of its own.
//!
//! They live in this process, share a few UDP sockets, and use the client's own way of joining. First each asks at its own slow
//! pace, which shows the latency; then all ask as fast as they are answered, which shows the throughput. The figures include
//! this process's own work on the same cores.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use client::session::enroll::{EnrollError, enroll};
use common::id::{ClusterId, NameToken, NodeId, RequestId};
use common::identity::role::directory_name;
use common::identity::{Credentials, Trust};
use common::proto::Refusal;
use common::proto::directory::{GetMap, Hello, List, LookUp, MakeFolders, NewFolder};
use common::proto::parts::Label;
use common::ticket::Ticket;
use common::time::Clock;
use common::transport::{Backoff, CallError, Connection, Dialler, Endpoint, EndpointOptions, call};
use tests::harness::{Cluster, ClusterOptions, Running};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::figures::{float, mib};
use super::say;

const ANSWER: Duration = Duration::from_secs(30);
/// Entries in the folder that is listed.
const ENTRIES: usize = 16;

#[derive(Args)]
pub(crate) struct Options {
    /// How many devices
    #[arg(long, default_value_t = 1_000)]
    devices: usize,
    /// How many UDP sockets they share
    #[arg(long, default_value_t = 16)]
    endpoints: usize,
    /// How many join, or dial, at once
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// How long each of the two phases takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// In the first phase, how long a device waits between two requests, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    pause: u64,
    /// Where the cluster's folder is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

/// Limits how many things are done at once.
struct Room(Arc<Semaphore>);

impl Room {
    /// Runs all, so many at once, and returns what they made, in any order.
    async fn run<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
        &self,
        jobs: impl Iterator<Item = F>,
    ) -> Result<Vec<T>> {
        let mut running = JoinSet::new();
        for job in jobs {
            let room = Arc::clone(&self.0);
            running.spawn(async move {
                let _permit = room.acquire_owned().await?;
                job.await
            });
        }
        let mut made = Vec::with_capacity(running.len());
        while let Some(done) = running.join_next().await {
            made.push(done??);
        }
        Ok(made)
    }
}

/// An enrolled device and its connection.
struct Device {
    dialler: Dialler,
    endpoint: Endpoint,
    root: NodeId,
    cluster: ClusterId,
}

/// What a phase measured.
#[derive(Default)]
struct Phase {
    /// Microseconds, of every request that was answered.
    latencies: Vec<u64>,
    errors: Vec<String>,
}

impl Phase {
    fn merge(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.errors.extend(other.errors);
    }

    fn show(&mut self, name: &str, seconds: f64) -> String {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |percent: usize| {
            let place = (count * percent / 100).min(count.saturating_sub(1));
            self.latencies.get(place).map_or(0.0, |micros| float(*micros) / 1_000.0)
        };
        let rate = float(count as u64) / seconds;
        let (p50, p99, worst, errors) = (at(50), at(99), at(100), self.errors.len());
        format!(
            "{name:<28} {rate:>8.0} requests/s, p50 {p50:.2} ms, p99 {p99:.2} ms, slowest {worst:.1} ms, {errors} errors"
        )
    }
}

/// # Errors
/// When a device cannot join or connect, or a request fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions {
        peers: 0,
        below: Some(options.below.clone()),
        serve: Vec::new(),
        ..ClusterOptions::default()
    })?;
    let uses = options.devices.to_string();
    let ticket = cluster.ticket(&["--role", "client", "--account", "bench", "--uses", &uses])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let directory = cluster.directory.as_ref().context("a directory")?;
    runtime.block_on(measure(options, directory, &ticket.parse()?))?;
    drop(runtime);
    cluster.stop()
}

async fn measure(options: &Options, directory: &Running, ticket: &Ticket) -> Result<()> {
    let address: SocketAddr = directory.address.parse()?;
    let endpoints: Vec<Endpoint> = (0..options.endpoints.max(1))
        .map(|_| Endpoint::bind_any(EndpointOptions::client()))
        .collect::<Result<_, _>>()?;
    let room = Room(Arc::new(Semaphore::new(options.at_once.max(1))));
    let line = ticket.to_line();

    let (since, cpu) = (Instant::now(), directory.cpu_seconds());
    let joins = (0..options.devices).map(|number| {
        let endpoint = endpoints.get(number % endpoints.len()).cloned();
        let ticket = line.parse();
        async move { join(&ticket?, endpoint.context("an endpoint")?).await }
    });
    let devices = room.run(joins).await?;
    report(directory, &format!("{} devices joined", devices.len()), devices.len(), since, cpu)?;

    let before = directory.memory();
    let (since, cpu) = (Instant::now(), directory.cpu_seconds());
    let dials = devices.iter().map(|device| {
        let (dialler, endpoint, name) =
            (device.dialler.clone(), device.endpoint.clone(), directory_name(device.cluster));
        async move { greet(&endpoint, &dialler, address, &name).await }
    });
    let connections = room.run(dials).await?;
    report(directory, &format!("{} devices connected", connections.len()), connections.len(), since, cpu)?;
    show_memory(directory, before, connections.len())?;

    let root = devices.first().context("a device")?.root;
    let token = make_folders(connections.first().context("a connection")?, root).await?;
    let whole = Duration::from_secs(options.seconds);
    let mut failed = Vec::new();
    for (name, pause) in
        [("each at its own pace", Duration::from_millis(options.pause)), ("all as fast as they can", Duration::ZERO)]
    {
        let cpu = directory.cpu_seconds();
        let mut phase = ask_all(&connections, root, token, whole, pause).await?;
        let cpu = (directory.cpu_seconds() - cpu) / whole.as_secs_f64();
        say(&format!("{}; the directory used {cpu:.2} cores", phase.show(name, whole.as_secs_f64())))?;
        failed.append(&mut phase.errors);
    }
    show_memory(directory, before, connections.len())?;
    say(&format!("directory: {:.1} MiB resident at most", mib(directory.peak_memory())))?;
    connections.iter().for_each(Connection::close);
    for endpoint in endpoints {
        endpoint.close().await;
    }
    match failed.first() {
        Some(first) => bail!("{} requests failed; the first: {first}", failed.len()),
        None => say("no request failed"),
    }
}

fn report(directory: &Running, what: &str, count: usize, since: Instant, cpu: f64) -> Result<()> {
    let (seconds, count) = (since.elapsed().as_secs_f64(), float(count as u64));
    let each = (directory.cpu_seconds() - cpu) * 1_000.0 / count;
    say(&format!("{what} in {seconds:.1} s: {:.0}/s, {each:.2} ms of the directory's CPU each", count / seconds))
}

fn show_memory(directory: &Running, before: u64, connections: usize) -> Result<()> {
    let now = directory.memory();
    let each = float(now.saturating_sub(before)) / 1_024.0 / float(connections as u64);
    say(&format!(
        "directory: {:.1} MiB before the connections, {:.1} MiB now: {each:.1} KiB for each connection",
        mib(before),
        mib(now)
    ))
}

/// Joins as the client does, and again when too many do so with one ticket at once: its uses are counted in one record.
async fn join(ticket: &Ticket, endpoint: Endpoint) -> Result<Device> {
    let mut backoff = Backoff::default();
    let identity = loop {
        let label = Label::try_from("bench").unwrap_or_default();
        match enroll(ticket, &[], label, Some([7; 32])).await {
            Err(EnrollError::Refused(CallError::Refused(Refusal::Busy))) => {
                tokio::time::sleep(backoff.pause().max(Backoff::FIRST)).await;
            }
            joined => break joined?,
        }
    };
    let own = Credentials::new(vec![identity.enrolled.certificate.into_inner().into()], &identity.key)?;
    let dialler = endpoint.dialler(Trust::new(identity.authority, Clock::System)?.client(&own)?)?;
    let account = identity.enrolled.account.context("a device has an account")?;
    Ok(Device { dialler, endpoint, root: account.root, cluster: ticket.cluster() })
}

async fn greet(endpoint: &Endpoint, dialler: &Dialler, address: SocketAddr, name: &str) -> Result<Connection> {
    let connection = endpoint.dial(dialler, address, name).await?;
    let program = Label::try_from("bench").unwrap_or_default();
    // The server judges a certificate only after `dial` has returned.
    call(&connection, &Hello { program, generation: 0 }, Vec::new(), ANSWER).await?;
    Ok(connection)
}

/// A few folders to list; the name token of one of them.
async fn make_folders(connection: &Connection, root: NodeId) -> Result<NameToken> {
    let new = |_| NewFolder {
        folder: root,
        token: NameToken::random(),
        node: NodeId::random(),
        sealed: vec![0; 100].try_into().unwrap_or_default(),
    };
    let folders: Vec<NewFolder> = (0..ENTRIES).map(new).collect();
    let token = folders.first().context("a folder")?.token;
    let request = MakeFolders { request: RequestId::random(), folders: folders.try_into()? };
    call(connection, &request, Vec::new(), ANSWER).await?;
    Ok(token)
}

async fn ask_all(
    connections: &[Connection],
    root: NodeId,
    token: NameToken,
    whole: Duration,
    pause: Duration,
) -> Result<Phase> {
    let deadline = Instant::now() + whole;
    let count = u32::try_from(connections.len())?;
    let mut asking = JoinSet::new();
    for (connection, number) in connections.iter().cloned().zip(0_u32..) {
        let first = pause * number / count;
        asking.spawn(async move {
            let mut phase = Phase::default();
            tokio::time::sleep(first).await; // spreads the devices over the pause
            let mut kind = number;
            while Instant::now() < deadline {
                let since = Instant::now();
                match ask(&connection, kind % 3, root, token).await {
                    Ok(()) => phase.latencies.push(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)),
                    Err(error) => phase.errors.push(error.to_string()),
                }
                kind = kind.wrapping_add(1);
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            phase
        });
    }
    let mut all = Phase::default();
    while let Some(phase) = asking.join_next().await {
        all.merge(phase?);
    }
    Ok(all)
}

async fn ask(connection: &Connection, kind: u32, root: NodeId, token: NameToken) -> Result<(), CallError> {
    match kind {
        0 => {
            let path = vec![token].try_into().unwrap_or_default();
            call(connection, &LookUp { start: root, path }, Vec::new(), ANSWER).await.map(|_| ())
        }
        1 => call(connection, &List { folder: root, after: None }, Vec::new(), ANSWER).await.map(|_| ()),
        _ => call(connection, &GetMap { have: 0 }, Vec::new(), ANSWER).await.map(|_| ()),
    }
}
