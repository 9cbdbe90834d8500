//! Session: one device at work in its cluster: who it is, the way to the directory and to every peer, and the newest map.
//!
//! Guarantees: whoever is talked to has proven to be of this cluster; a map is believed only when signed, and replaced only by a
//! newer one; a directory that has forgotten what this device has seen is refused. Connections come back by themselves.
//!
//! A request to the directory is tried again until it is answered or the [patience](PATIENCE) is over, so each must be one that
//! may arrive twice: those that change something carry a request id.

mod directory;
pub mod enroll;
mod error;
pub mod guest;
mod map;
mod seen;
mod shared;

use common::boxed::Boxed;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::id::{AccountId, ClusterId, DeviceId, NodeId, PeerId};
use common::identity::role::peer_name;
use common::identity::{Credentials, StatementPublic};
use common::limits::ADDRESSES;
use common::map::{ClusterMap, PeerState};
use common::proto::Request;
use common::proto::directory::{Conflicts, GetMap, Renew, Welcome};
use common::proto::parts::{Addresses, Der};
use common::redundancy::Redundancy;
use common::transport::{Dialler, Endpoint, Link, Traffic};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::conflict::{self, Conflict};
use crate::keys::Keys;
use crate::keystore::Home;

pub use error::SessionError;
pub use map::MapError;
pub use seen::Seen;
pub use shared::{HeldPass, Read, Through};

use directory::Directory;
use map::MapKeeper;

/// How long the first request may take: whoever starts a command should soon know that nobody answers.
pub const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How long a request may take later on: a directory that is restarted in the middle of a transfer is waited for.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks for a newer map, when nothing calls for one sooner.
const MAP_EVERY: Duration = Duration::from_secs(10);
/// Two looks for a newer map are at least so far apart, however many call for one.
const MAP_PAUSE: Duration = Duration::from_millis(250);
/// From here on a round trip is worth dialling peers before it is known which.
const FAR: Duration = Duration::from_millis(10);
/// How many of them: a file is on some of them, a put begins with some.
const WARM: usize = 8;

/// How a session is opened.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Where the directory is reached, in place of where it was when this device joined.
    pub directory: Vec<String>,
    /// Whether a word on stderr about waiting is unwanted.
    pub quiet: bool,
}

/// A handle that is cheap to clone. One that was made for a link reads through that and nothing else.
#[derive(Clone)]
pub struct Session(Arc<Inner>, Option<Arc<Through>>);

struct Inner {
    cluster: ClusterId,
    account: AccountId,
    account_name: String,
    device: DeviceId,
    root: NodeId,
    authority_fingerprint: [u8; 32],
    redundancy: Redundancy,
    keys: Arc<Keys>,
    settled: bool,
    conflicts: Conflicts,
    endpoint: Endpoint,
    to_peers: Dialler,
    directory: Directory,
    maps: MapKeeper,
    look_for_map: Notify,
    peers: Mutex<HashMap<PeerId, Link>>,
    tasks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session of {} in {}", self.0.device.short(), self.0.cluster.short())
    }
}

impl Session {
    /// Opens the device's home and greets the directory.
    ///
    /// # Errors
    /// When this device has not joined, its home cannot be used, nobody answers within [`FIRST_CONTACT`], or who answers is not to
    /// be believed.
    pub async fn open(path: PathBuf, options: SessionOptions) -> Result<Self, SessionError> {
        Self::with_home(directory::open_home(path).await?, options).await
    }

    /// Greets the directory, from a home that is open.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`SessionError::OtherKey`] when the home's key is not the account's.
    pub fn with_home<'a>(home: Home, options: SessionOptions) -> Boxed<'a, Result<Self, SessionError>> {
        Box::pin(async move {
            let key = directory::key_of(&home)?;
            let own = Credentials::new(vec![home.credentials.certificate.clone().into()], &key)?;
            let endpoint = directory::endpoint()?;
            let authority = home.credentials.authority.clone().into();
            let (to_directory, to_peers) = directory::diallers(&endpoint, authority, &own)?;
            let device = &home.device;
            let reached = Directory::new(endpoint.clone(), to_directory, device.cluster, &device.directory, &options);
            let known = Seen::GENERATION.known(&home.path);
            let welcome = reached.greet(known, Seen::CONFLICT.known(&home.path)).await?;
            let maps = check_welcome(&home, &welcome, known)?;
            Seen::GENERATION.remember(&home.path, welcome.generation);
            warn_of_skew(&welcome);
            let ring = welcome.account.as_ref().and_then(|account| account.ring.as_ref());
            let keys = match ring {
                None => home.master.derive(),
                Some(ring) => Keys::open_ring(&home.master, home.device.account, ring)?,
            };
            let inner = Inner {
                cluster: home.device.cluster,
                account: home.device.account,
                account_name: home.device.account_name.clone(),
                device: home.device.device,
                root: home.device.root,
                authority_fingerprint: home.device.ca_fingerprint,
                redundancy: welcome.redundancy,
                settled: ring.is_none_or(|ring| ring.settled),
                conflicts: welcome.account.as_ref().map(|account| account.conflicts.clone()).unwrap_or_default(),
                keys: Arc::new(keys),
                endpoint,
                to_peers,
                directory: reached,
                maps,
                look_for_map: Notify::new(),
                peers: Mutex::default(),
                tasks: Mutex::default(),
            };
            let session = Self(Arc::new(inner), None);
            session.follow_directory();
            session.start(home, own, key);
            Ok(session)
        })
    }

    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    /// Whose tree is read.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.1.as_ref().map_or(self.0.account, |through| through.account)
    }

    #[must_use]
    pub fn account_name(&self) -> &str {
        &self.0.account_name
    }

    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.0.device
    }

    /// The account's root folder.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.0.root
    }

    #[must_use]
    pub fn keys(&self) -> &Arc<Keys> {
        &self.0.keys
    }

    /// Whether no rotation of the account's key is unfinished, as of when this session was opened.
    #[must_use]
    pub fn key_is_settled(&self) -> bool {
        self.0.settled
    }

    /// What this device's user was not told yet when this session was opened, and the number to [remember](conflict::remember) then.
    #[must_use]
    pub fn conflicts(&self) -> Option<(Vec<Conflict>, u64)> {
        let last = self.0.conflicts.last()?.sequence;
        Some((conflict::open(self.keys(), self.0.account, &self.0.conflicts), last))
    }

    /// BLAKE3 of the certificate of the cluster's authority.
    #[must_use]
    pub fn authority_fingerprint(&self) -> [u8; 32] {
        self.0.authority_fingerprint
    }

    /// Where the directory is reached, as far as is known.
    #[must_use]
    pub fn directory_addresses(&self) -> Vec<String> {
        let now = texts(&self.map().directory);
        if now.is_empty() { self.0.directory.base().to_vec() } else { now }
    }

    /// What a put uses that names none.
    #[must_use]
    pub fn redundancy(&self) -> Redundancy {
        self.0.redundancy
    }

    /// The newest cluster map.
    #[must_use]
    pub fn map(&self) -> Arc<ClusterMap> {
        self.0.maps.current()
    }

    /// Tells of every newer map.
    #[must_use]
    pub fn watch_map(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.0.maps.watch()
    }

    /// Asks for a newer map soon: to be called when a peer does not answer. Returns at once.
    pub fn look_for_map(&self) {
        self.0.look_for_map.notify_one();
    }

    /// Asks the directory, and waits for it if it is away.
    ///
    /// # Errors
    /// Its refusal, or that it could not be reached within [`PATIENCE`].
    pub async fn call_directory<R: Request>(&self, request: &R) -> Result<R::Response, SessionError> {
        self.0.directory.call(request, PATIENCE).await
    }

    /// The same with another patience: for what is done on the way out.
    ///
    /// # Errors
    /// As [`call_directory`](Self::call_directory).
    pub async fn call_directory_within<R: Request>(
        &self,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, SessionError> {
        self.0.directory.call(request, limit).await
    }

    /// The way to a peer; dialled at the first call, and following the peer to new addresses.
    ///
    /// # Errors
    /// [`SessionError::UnknownPeer`] for one that is not in the map.
    pub fn peer(&self, peer: PeerId) -> Result<Link, SessionError> {
        let map = self.map();
        let entry = map.peer(peer).ok_or(SessionError::UnknownPeer { peer })?;
        let mut peers = self.0.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let link = peers.entry(peer).or_insert_with(|| {
            let name = peer_name(self.0.cluster, peer);
            Link::new(self.0.endpoint.clone(), self.0.to_peers.clone(), name, texts(&entry.addresses))
        });
        Ok(link.clone())
    }

    /// Whether the directory's answers take long to come, and so probably those of peers.
    pub(crate) fn is_far(&self) -> bool {
        self.0.directory.round_trip().is_some_and(|round_trip| round_trip >= FAR)
    }

    /// Dials peers while the directory is asked what to ask them, where each answer takes long to come. Returns at once.
    pub fn warm_up(&self) {
        if !self.is_far() {
            return;
        }
        let map = self.map();
        let online = map.peers.iter().filter(|entry| entry.state == PeerState::Online);
        for link in online.take(WARM).filter_map(|entry| self.peer(entry.peer).ok()) {
            link.dial();
        }
    }

    /// What this session has sent and received so far, on all its connections.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.0.endpoint.traffic()
    }

    /// Ends all connections, so that the other ends know.
    pub fn close<'a>(&'a self) -> Boxed<'a, ()> {
        Box::pin(async move {
            let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            tasks.shutdown().await;
            self.0.endpoint.close().await;
        })
    }

    fn keep_map(&self) {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(keep_map(Arc::downgrade(&self.0)));
    }

    fn start(&self, home: Home, own: Credentials, key: common::identity::PrivateKey) {
        self.keep_map();
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if directory::should_renew(&home) {
            tasks.spawn(renew(Arc::downgrade(&self.0), home, own, key));
        }
    }

    /// Points the links to where the map says that directory and peers are now.
    fn follow_map(&self) {
        let map = self.map();
        for (peer, link) in self.0.peers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(entry) = map.peer(*peer) {
                link.set_addresses(texts(&entry.addresses));
            }
        }
        self.follow_directory();
    }

    fn follow_directory(&self) {
        self.0.directory.follow(&texts(&self.map().directory));
    }
}

fn texts(addresses: &Addresses) -> Vec<String> {
    addresses.iter().map(ToString::to_string).take(ADDRESSES).collect()
}

fn check_welcome(home: &Home, welcome: &Welcome, known: u64) -> Result<MapKeeper, SessionError> {
    let device = &home.device;
    if welcome.cluster != device.cluster {
        return Err(SessionError::OtherCluster { expected: device.cluster, found: welcome.cluster });
    }
    if welcome.generation < known {
        return Err(SessionError::OldGeneration { given: welcome.generation, known });
    }
    let Some(account) = &welcome.account else { return Err(SessionError::OtherAccount) };
    if account.account != device.account || account.root != device.root {
        return Err(SessionError::OtherAccount);
    }
    if account.key_check.is_some_and(|check| check != home.master.key_check()) {
        return Err(SessionError::OtherKey);
    }
    Ok(MapKeeper::new(device.cluster, StatementPublic(device.statement_key), &welcome.map)?)
}

fn warn_of_skew(welcome: &Welcome) {
    const TOLERATED: Duration = Duration::from_secs(300);
    let here = common::time::Clock::System.now();
    let skew = here.since(welcome.now).max(welcome.now.since(here));
    if skew > TOLERATED {
        warn!(here = %here, directory = %welcome.now, "the clocks of this machine and of the directory differ; set them right");
    }
}

/// Looks for newer maps until the session ends.
async fn keep_map(session: std::sync::Weak<Inner>) {
    loop {
        let Some(inner) = session.upgrade() else { return };
        tokio::select! {
            () = inner.look_for_map.notified() => {}
            () = tokio::time::sleep(MAP_EVERY) => {}
        }
        let session = Session(inner, None);
        let asked = session.0.directory.try_once(&GetMap { have: session.map().epoch }).await;
        match asked.map(|answer| answer.map.map(|signed| session.0.maps.accept(&signed))) {
            Ok(Some(Ok(true))) => session.follow_map(),
            Ok(Some(Ok(false)) | None) => {}
            Ok(Some(Err(error))) => warn!(%error, "a cluster map was not believed"),
            Err(error) => debug!(%error, "no newer map"),
        }
        drop(session);
        tokio::time::sleep(MAP_PAUSE).await;
    }
}

/// Gets a new certificate for the same key. Failing costs nothing: the old one is valid for weeks yet, and the next command
/// tries again.
async fn renew(session: std::sync::Weak<Inner>, mut home: Home, own: Credentials, key: common::identity::PrivateKey) {
    let Some(inner) = session.upgrade() else { return };
    let Ok(Ok(request)) = key.signing_request().map(Der::try_from) else { return };
    let renewed = match inner.directory.try_once(&Renew { request }).await {
        Ok(renewed) => renewed,
        Err(error) => return warn!(%error, "this device's certificate was not renewed"),
    };
    let certificate = renewed.certificate.into_inner();
    // Believed only when it is of the same identity; it fits the key or is refused.
    let same = Credentials::new(vec![certificate.clone().into()], &key)
        .is_ok_and(|new| new.identity() == own.identity() && new.valid_until() > own.valid_until());
    if !same {
        return warn!("the directory renewed this device's certificate for somebody else; it was not taken");
    }
    let saved = tokio::task::spawn_blocking(move || home.replace_certificate(certificate).map(|()| home)).await;
    match saved {
        Ok(Ok(home)) => {
            own.replace(vec![home.credentials.certificate.into()], &key).ok(); // it was tried above
        }
        Ok(Err(error)) => warn!(%error, "this device's new certificate was not saved"),
        Err(_) => {}
    }
}
