//! Devices: many of them at one directory, each with an identity, a certificate and a connection of its own.
//!
//! They live in this process, share a few UDP sockets, and join as the client does. First each asks at its own slow pace, which
//! shows the latency; then all ask as fast as they are answered, which shows the throughput. The figures include this process's
//! own work on the same cores.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::id::{ClusterId, NameToken, NodeId, RequestId};
use common::identity::role::directory_name;
use common::identity::{Credentials, Trust};
use common::proto::Refusal;
use common::proto::directory::{GetMap, Hello, List, LookUp, MakeFolders, NewFolder};
use common::proto::parts::Label;
use common::redundancy::Redundancy;
use common::ticket::Ticket;
use common::time::Clock;
use common::transport::{Backoff, CallError, Connection, Dialler, Endpoint, EndpointOptions, call};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::cluster::{Cluster, Programs, Wanted};
use super::latency::milliseconds;
use super::measured::{float, percentile};
use super::{Bench, BenchError, usage};
use crate::session::enroll::{EnrollError, enroll};

const ANSWER: Duration = Duration::from_secs(30);
/// Entries in the folder that is listed.
const ENTRIES: usize = 16;
/// UDP sockets that the devices share.
const SOCKETS: usize = 16;
/// How many join, or dial, at once.
const AT_ONCE: usize = 32;
/// In the first phase each device asks once in so long a time.
const PAUSE: Duration = Duration::from_secs(1);
/// What all devices of the one account say of its key.
const KEY_CHECK: [u8; 32] = [7; 32];

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct Devices {
    pub count: usize,
    pub joins: Rate,
    pub handshakes: Rate,
    /// Bytes of the directory's memory: before the devices connected, with all connected, and after all their requests.
    pub memory: [u64; 3],
    /// Each asks once a second.
    pub paced: Phase,
    /// All as fast as they are answered.
    pub flat_out: Phase,
}

/// Something that was done many times.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub per_second: f64,
    /// For each second of the directory's CPU time.
    pub per_core: f64,
}

/// Requests of all devices for a while.
#[derive(Debug, Clone, Copy)]
pub struct Phase {
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Cores that the directory kept busy.
    pub cores: f64,
}

impl Devices {
    /// What a connection costs the directory: right after connecting, and when it has been used.
    #[must_use]
    pub fn bytes_each(&self) -> [u64; 2] {
        let [before, connected, used] = self.memory;
        [connected, used].map(|now| now.saturating_sub(before) / (self.count as u64).max(1))
    }

    #[must_use]
    pub fn object(&self) -> Value {
        let rate = |rate: &Rate| json!({ "per_second": rate.per_second, "per_second_and_core": rate.per_core });
        let phase = |phase: &Phase| {
            json!({
                "requests_per_second": phase.per_second,
                "p50_ms": phase.p50_ms,
                "p99_ms": phase.p99_ms,
                "directory_cores": phase.cores,
            })
        };
        let [connected, used] = self.bytes_each();
        json!({
            "event": "devices",
            "devices": self.count,
            "joins": rate(&self.joins),
            "handshakes": rate(&self.handshakes),
            "directory_memory_bytes": self.memory,
            "bytes_each": { "connected": connected, "used": used },
            "once_a_second": phase(&self.paced),
            "flat_out": phase(&self.flat_out),
        })
    }
}

impl Bench<'_> {
    pub(super) fn devices(&mut self, programs: &Programs) -> Result<(), BenchError> {
        let below = self.scratch.path();
        let wanted = Wanted { programs, below, peers: 0, redundancy: Redundancy::DEFAULT };
        let cluster = Cluster::start(&wanted, self.cancel, self.say)?;
        let uses = self.plan.devices.to_string();
        let ticket = cluster.ticket(&["--role", "client", "--account", "many", "--uses", &uses], self.cancel)?;
        let ticket: Ticket = ticket.parse().map_err(BenchError::bug)?;
        let runtime = Builder::new_multi_thread().enable_all().build().map_err(BenchError::bug)?;
        let id = cluster.servers().directory.first().copied().unwrap_or_default();
        let address = cluster.address().parse().map_err(BenchError::bug)?;
        let measuring = self.cancel.guard(self.measure_devices(id, address, &ticket));
        let found = runtime.block_on(measuring).ok_or(crate::cancel::Interrupted)?;
        self.devices = Some(found?);
        Ok(())
    }

    async fn measure_devices(&self, id: u32, address: SocketAddr, ticket: &Ticket) -> Result<Devices, BenchError> {
        let (count, seconds) = (self.plan.devices, self.plan.seconds);
        let endpoints: Vec<Endpoint> = (0..SOCKETS)
            .map(|_| Endpoint::bind_any(EndpointOptions::client()).map_err(BenchError::request))
            .collect::<Result<_, _>>()?;
        self.say.step(&format!("{count} devices join"));
        let line = ticket.to_line();
        let (since, cpu) = (Instant::now(), usage::cpu_seconds(id));
        let joining = endpoints.iter().cycle().take(count).map(|endpoint| {
            let (endpoint, ticket) = (endpoint.clone(), line.parse());
            async move { join(&ticket.map_err(BenchError::request)?, endpoint).await }
        });
        let devices = at_once(joining).await?;
        let joins = rate(count, since, usage::cpu_seconds(id) - cpu);

        self.say.step(&format!("{count} devices connect"));
        let before = usage::memory(id);
        let (since, cpu) = (Instant::now(), usage::cpu_seconds(id));
        let dialling = devices.iter().map(|device| {
            let (dialler, endpoint) = (device.dialler.clone(), device.endpoint.clone());
            let name = directory_name(device.cluster);
            async move { greet(&endpoint, &dialler, address, &name).await }
        });
        let connections = at_once(dialling).await?;
        let handshakes = rate(count, since, usage::cpu_seconds(id) - cpu);
        let connected = usage::memory(id);

        let missing = || BenchError::bug("no device");
        let root = devices.first().ok_or_else(missing)?.root;
        let token = make_folders(connections.first().ok_or_else(missing)?, root).await?;
        let all = Asking { connections: &connections, root, token, id, whole: Duration::from_secs(seconds) };
        self.say.step(&format!("{count} devices ask once a second, for {seconds} s"));
        let paced = all.ask(PAUSE).await?;
        self.say.step(&format!("{count} devices ask as fast as they are answered, for {seconds} s"));
        let flat_out = all.ask(Duration::ZERO).await?;
        let memory = [before, connected, usage::memory(id)];
        connections.iter().for_each(Connection::close);
        for endpoint in endpoints {
            endpoint.close().await;
        }
        Ok(Devices { count, joins, handshakes, memory, paced, flat_out })
    }
}

fn rate(count: usize, since: Instant, cpu: f64) -> Rate {
    let count = float(count as u64);
    Rate { per_second: count / since.elapsed().as_secs_f64(), per_core: count / cpu }
}

/// Runs all, so many at once, and returns what they made, in any order.
async fn at_once<T: Send + 'static, F: Future<Output = Result<T, BenchError>> + Send + 'static>(
    jobs: impl Iterator<Item = F>,
) -> Result<Vec<T>, BenchError> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for job in jobs {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _permit = room.acquire_owned().await.map_err(BenchError::bug)?;
            job.await
        });
    }
    let mut made = Vec::with_capacity(running.len());
    while let Some(done) = running.join_next().await {
        made.push(done.map_err(BenchError::bug)??);
    }
    Ok(made)
}

/// An enrolled device.
struct Device {
    dialler: Dialler,
    endpoint: Endpoint,
    root: NodeId,
    cluster: ClusterId,
}

/// Joins as the client does, and again when too many do so with one ticket at once: its uses are counted in one record.
async fn join(ticket: &Ticket, endpoint: Endpoint) -> Result<Device, BenchError> {
    let mut backoff = Backoff::default();
    let identity = loop {
        match enroll(ticket, &[], label(), Some(KEY_CHECK)).await {
            Err(EnrollError::Refused(CallError::Refused(Refusal::Busy))) => {
                tokio::time::sleep(backoff.pause().max(Backoff::FIRST)).await;
            }
            joined => break joined?,
        }
    };
    let failed = BenchError::request;
    let certificate = identity.enrolled.certificate.into_inner().into();
    let own = Credentials::new(vec![certificate], &identity.key).map_err(failed)?;
    let trust = Trust::new(identity.authority, Clock::System).map_err(BenchError::request)?;
    let tls = trust.client(&own).map_err(BenchError::request)?;
    let dialler = endpoint.dialler_to_directory(tls).map_err(BenchError::request)?;
    let account = identity.enrolled.account.ok_or_else(|| BenchError::bug("a device without an account"))?;
    Ok(Device { dialler, endpoint, root: account.root, cluster: ticket.cluster() })
}

fn label() -> Label {
    Label::try_from("bench").unwrap_or_default()
}

async fn greet(
    endpoint: &Endpoint,
    dialler: &Dialler,
    address: SocketAddr,
    name: &str,
) -> Result<Connection, BenchError> {
    let connection = endpoint.dial(dialler, address, name).await.map_err(BenchError::request)?;
    // The server judges a certificate only after `dial` has returned.
    let hello = Hello { program: label(), generation: 0, conflicts: 0 };
    call(&connection, &hello, Vec::new(), ANSWER).await.map_err(BenchError::request)?;
    Ok(connection)
}

/// A few folders to list; the name token of one of them.
async fn make_folders(connection: &Connection, root: NodeId) -> Result<NameToken, BenchError> {
    let token = NameToken::random();
    let new = |number: usize| NewFolder {
        folder: root,
        token: if number == 0 { token } else { NameToken::random() },
        node: NodeId::random(),
        sealed: vec![0; 100].try_into().unwrap_or_default(),
    };
    let folders: Vec<NewFolder> = (0..ENTRIES).map(new).collect();
    let folders = folders.try_into().map_err(|_| BenchError::bug("too many folders for a request"))?;
    let request = MakeFolders { request: RequestId::random(), folders };
    call(connection, &request, Vec::new(), ANSWER).await.map_err(BenchError::request)?;
    Ok(token)
}

/// All devices asking for a while.
struct Asking<'a> {
    connections: &'a [Connection],
    root: NodeId,
    token: NameToken,
    id: u32,
    whole: Duration,
}

impl Asking<'_> {
    async fn ask(&self, pause: Duration) -> Result<Phase, BenchError> {
        let (cpu, deadline) = (usage::cpu_seconds(self.id), Instant::now() + self.whole);
        let (root, token) = (self.root, self.token);
        let count = u32::try_from(self.connections.len()).unwrap_or(u32::MAX).max(1);
        let mut asking = JoinSet::new();
        for (connection, number) in self.connections.iter().cloned().zip(0_u32..) {
            asking.spawn(async move {
                tokio::time::sleep(pause * number / count).await; // spreads the devices over the pause
                ask_until(&connection, root, token, deadline, pause, number).await
            });
        }
        let mut latencies = Vec::new();
        while let Some(done) = asking.join_next().await {
            latencies.extend(done.map_err(BenchError::bug)?.map_err(BenchError::request)?);
        }
        latencies.sort_by(f64::total_cmp);
        let seconds = self.whole.as_secs_f64();
        Ok(Phase {
            per_second: float(latencies.len() as u64) / seconds,
            p50_ms: percentile(&latencies, 50).unwrap_or(f64::NAN),
            p99_ms: percentile(&latencies, 99).unwrap_or(f64::NAN),
            cores: (usage::cpu_seconds(self.id) - cpu) / seconds,
        })
    }
}

/// The milliseconds of every request.
async fn ask_until(
    connection: &Connection,
    root: NodeId,
    token: NameToken,
    deadline: Instant,
    pause: Duration,
    first: u32,
) -> Result<Vec<f64>, CallError> {
    let mut latencies = Vec::new();
    let mut kind = first;
    while Instant::now() < deadline {
        let since = Instant::now();
        match kind % 3 {
            0 => {
                let path = vec![token].try_into().unwrap_or_default();
                call(connection, &LookUp { start: root, path, manifest: false, at: None }, Vec::new(), ANSWER)
                    .await
                    .map(|_| ())?;
            }
            1 => {
                call(connection, &List { folder: root, after: None, at: None }, Vec::new(), ANSWER).await.map(|_| ())?
            }
            _ => call(connection, &GetMap { have: 0 }, Vec::new(), ANSWER).await.map(|_| ())?,
        }
        latencies.push(milliseconds(since.elapsed()));
        kind = kind.wrapping_add(1);
        if !pause.is_zero() {
            tokio::time::sleep(pause.saturating_sub(since.elapsed())).await;
        }
    }
    Ok(latencies)
}
