//! Cluster: a directory and peers in this process, in a folder of their own, at an address of loopback of their own. Times are short: a peer
//! is suspect after 0.7 s, dead after 1.5 s, and lost 0.2 s later; longer by [`set_pace`] on a machine that is busy with other things, where a
//! peer would be taken for dead that only waits for its turn.
//!
//! Clocks are moved by hand, the directory's and each peer's; certificates alone go by the real one, since under a clock that is years off
//! no connection is made at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::id::{PeerId, RequestId};
use common::proto::directory::{CheckStore, ClusterStatus, DrainPeer, NewTicket, RemovePeer, StoreChecked, TicketRole};
use common::proto::parts::Label;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use common::ticket::Ticket;
use common::time::Clock;
use directory::admin::Desk;
use directory::config::Settings;
use directory::members::Times;
use directory::{InitOptions, work};
use peer::store::Reserve;
use tempfile::TempDir;
use tokio::time::timeout;

use super::node::{Node, Program};
use super::stone::Stone;
use crate::harness::dice::Dice;

const DIRECTORY_PORT: u16 = 20_000;
const ROUND: Duration = Duration::from_millis(50);
const AUDIT: Duration = Duration::from_millis(300);
/// How long an operator's question may take.
const ASK: Duration = Duration::from_secs(120);

/// By how much times are longer than usual.
static PACE: AtomicU32 = AtomicU32::new(1);

/// Makes the times of all clusters from now on longer by this factor.
pub fn set_pace(factor: u32) {
    PACE.store(factor.max(1), Ordering::Relaxed);
}

/// Clusters made by this process so far: each has another address.
static MADE: AtomicU32 = AtomicU32::new(0);

/// One peer.
pub struct Member {
    pub id: PeerId,
    pub node: Option<Node>,
    clock: Arc<AtomicU64>,
    pub draining: bool,
    /// It will not come back.
    pub gone: bool,
    /// What answers in its place.
    stone: Option<Stone>,
}

/// See the module.
pub struct Cluster {
    pub root: PathBuf,
    host: String,
    directory: Option<Node>,
    clock: Arc<AtomicU64>,
    compare_every: Duration,
    pub members: Vec<Member>,
    /// An operator's connection, as long as the directory runs.
    desk: Option<Desk>,
    /// Says where a peer that ended leaves silence.
    silent: Dice,
    _folder: TempDir,
}

fn manual() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(Clock::System.now().0))
}

/// Moves a clock by so many milliseconds.
fn turn(clock: &AtomicU64, by: i64) {
    let now = clock.load(Ordering::SeqCst);
    clock.store(now.saturating_add_signed(by), Ordering::SeqCst);
}

/// A temporary folder in memory where there is one.
fn folder() -> Result<TempDir> {
    let memory = Path::new("/dev/shm");
    let prefix = "shoal-model-";
    Ok(if memory.is_dir() { TempDir::with_prefix_in(prefix, memory)? } else { TempDir::with_prefix(prefix)? })
}

impl Cluster {
    /// Makes one of so many peers, and serves it.
    ///
    /// # Errors
    /// What would not start.
    pub async fn start(peers: usize, redundancy: Redundancy, compare_every: Duration, silent: Dice) -> Result<Self> {
        let folder = folder()?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let host = format!("127.{}.{}.{}", 64 + std::process::id() % 128, number / 200 % 256, 2 + number % 200);
        let root = folder.path().to_owned();
        let clock = manual();
        let mut cluster = Self {
            root,
            host,
            directory: None,
            clock,
            compare_every,
            members: Vec::new(),
            desk: None,
            silent,
            _folder: folder,
        };
        let listen = format!("{}:{DIRECTORY_PORT}", cluster.host);
        let options = InitOptions { listen, advertise: Vec::new(), redundancy };
        directory::init(&cluster.directory_data(), options, &Clock::System).await?;
        cluster.serve_directory().await?;
        let uses = u32::try_from(peers)?;
        let ticket = cluster.ticket(TicketRole::Peer, None, uses).await?;
        for number in 0..peers {
            let config = peer::join::JoinConfig {
                data: cluster.peer_data(number),
                listen: format!("{}:0", cluster.host),
                advertise: Vec::new(),
                label: format!("p{number}"),
                zone: String::new(),
                capacity: None,
            };
            let joined = peer::join::join(&ticket, config).await?;
            let member =
                Member { id: joined.peer, node: None, clock: manual(), draining: false, gone: false, stone: None };
            cluster.members.push(member);
            cluster.serve_peer(number).await?;
        }
        Ok(cluster)
    }

    fn directory_data(&self) -> PathBuf {
        self.root.join("directory")
    }

    fn peer_data(&self, number: usize) -> PathBuf {
        self.root.join(format!("peer{number}"))
    }

    /// How the directory is run.
    fn config(&self) -> directory::Config {
        let millis = |millis| Duration::from_millis(millis) * PACE.load(Ordering::Relaxed);
        let usual = directory::Config::new(self.directory_data());
        let mut store = usual.store.clone();
        (store.segment_bytes, store.index_cache) = (ByteSize::mib(1), ByteSize::mib(4));
        directory::Config {
            times: Times {
                heartbeat: millis(200),
                suspect_after: millis(700),
                dead_after: millis(1_500),
                lost_after: millis(1_700),
            },
            work: work::Settings {
                rate: None,
                compare_every: self.compare_every,
                audit_every: AUDIT,
                round: ROUND,
                ..work::Settings::default()
            },
            clock: Clock::Manual(self.clock.clone()),
            store,
            ..usual
        }
    }

    /// # Errors
    /// Why it does not serve.
    pub async fn serve_directory(&mut self) -> Result<()> {
        let program = Program::Directory(Box::new(self.config()));
        self.directory = Some(Node::start("directory".to_owned(), program).await?);
        Ok(())
    }

    /// Ends the directory, by force or not.
    ///
    /// # Errors
    /// What it ended with.
    pub async fn end_directory(&mut self, kill: bool) -> Result<()> {
        if let Some(desk) = self.desk.take() {
            desk.close().await;
        }
        match self.directory.take() {
            Some(node) if kill => node.kill().await,
            Some(node) => node.stop().await,
            None => Ok(()),
        }
    }

    /// From its next start on the directory compares inventories so often.
    pub fn compare_every(&mut self, pause: Duration) {
        self.compare_every = pause;
    }

    /// # Errors
    /// Why it does not serve.
    pub async fn serve_peer(&mut self, number: usize) -> Result<()> {
        let (data, listen) = (self.peer_data(number), format!("{}:0", self.host));
        let member = self.members.get_mut(number).context("no such peer")?;
        if member.node.is_some() || member.gone {
            return Ok(());
        }
        let config = peer::ServeConfig {
            segment: Some(ByteSize::mib(32)),
            listen: Some(listen),
            reserve: Reserve::Bytes(ByteSize::mib(64)),
            clock: Clock::Manual(member.clock.clone()),
            ..peer::ServeConfig::new(data)
        };
        member.stone = None; // it has another port from now on
        member.node = Some(Node::start(format!("peer{number}"), Program::Peer(Box::new(config))).await?);
        Ok(())
    }

    /// Ends a peer, by force or not. One of eight leaves silence, and the others a [`Stone`].
    ///
    /// # Errors
    /// What it ended with.
    pub async fn end_peer(&mut self, number: usize, kill: bool) -> Result<()> {
        let data = self.peer_data(number);
        let Some(member) = self.members.get_mut(number) else { return Ok(()) };
        let Some(node) = member.node.take() else { return Ok(()) };
        let address = node.address;
        if kill {
            node.kill().await?
        } else {
            node.stop().await?
        }
        if self.silent.below(8) != 0 {
            member.stone = Some(Stone::put(address, &data)?);
        }
        Ok(())
    }

    /// Takes all shards from a peer that does not run.
    ///
    /// # Errors
    /// When its files cannot be deleted.
    pub fn wipe_peer(&self, number: usize) -> Result<()> {
        for part in ["store/segments", "store/hints"] {
            let folder = self.peer_data(number).join(part);
            if !folder.exists() {
                continue;
            }
            for entry in fs::read_dir(folder)? {
                fs::remove_file(entry?.path())?;
            }
        }
        Ok(())
    }

    /// Moves the directory's clock by so many milliseconds.
    pub fn turn_directory(&self, by: i64) {
        turn(&self.clock, by);
    }

    pub fn turn_peer(&self, number: usize, by: i64) {
        if let Some(member) = self.members.get(number) {
            turn(&member.clock, by);
        }
    }

    #[must_use]
    pub fn directory_time(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Peers that should have something, or run.
    pub fn present(&self) -> impl Iterator<Item = (usize, &Member)> {
        self.members.iter().enumerate().filter(|(_, member)| !member.gone)
    }

    async fn desk(&mut self) -> Result<&Desk> {
        if self.desk.is_none() {
            let desk = timeout(ASK, Desk::open(&self.config())).await.context("no operator's connection")??;
            ensure!(desk.is_serving(), "the directory does not serve");
            self.desk = Some(desk);
        }
        self.desk.as_ref().context("no operator's connection")
    }

    /// # Errors
    /// Why there is no ticket.
    pub async fn ticket(&mut self, role: TicketRole, account: Option<&str>, uses: u32) -> Result<Ticket> {
        let account = account.map(Label::try_from).transpose()?;
        let made = self.desk().await?.ticket(NewTicket { role, account, uses, ttl_ms: 3_600_000 }).await;
        Ok(made?.ticket.parse()?)
    }

    /// # Errors
    /// Why there is none.
    pub async fn status(&mut self) -> Result<ClusterStatus> {
        Ok(self.desk().await?.status().await?)
    }

    /// Checks the store against itself and against the peers.
    ///
    /// # Errors
    /// Why that could not be done.
    pub async fn check(&mut self) -> Result<StoreChecked> {
        Ok(self.desk().await?.check(&CheckStore { repair: false, deep: true }).await?)
    }

    /// # Errors
    /// Why it was refused.
    pub async fn drain(&mut self, number: usize, drain: bool) -> Result<()> {
        let peer = self.members.get(number).context("no such peer")?.id;
        self.desk().await?.drain(&DrainPeer { request: RequestId::random(), peer, drain }).await?;
        if let Some(member) = self.members.get_mut(number) {
            member.draining = drain;
        }
        Ok(())
    }

    /// Takes a peer out of the cluster.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn remove(&mut self, number: usize, lost: bool) -> Result<()> {
        let peer = self.members.get(number).context("no such peer")?.id;
        self.desk().await?.remove(&RemovePeer { request: RequestId::random(), peer, lost }).await?;
        if let Some(member) = self.members.get_mut(number) {
            member.gone = true;
        }
        Ok(())
    }

    /// The store of a directory that does not serve.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn store(&self) -> Result<Arc<directory::kv::embedded::Embedded>> {
        let settings = Settings::load(&self.directory_data())?;
        Ok(directory::serve::open_store(&self.config(), &settings).await?)
    }

    /// Ends everything in good order.
    ///
    /// # Errors
    /// The first thing that any node ended with.
    pub async fn end(mut self) -> Result<()> {
        for member in &mut self.members {
            if let Some(node) = member.node.take() {
                node.kill().await?;
            }
        }
        self.end_directory(true).await
    }
}
